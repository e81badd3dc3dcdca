//! The options `uid=` and `gid=` of file systems: ids that have to exist in the container. Pure.

use oci_spec::runtime::Spec;

use crate::plan::ids::{IdRange, Ids};
use crate::plan::invalid::Findings;

/// Refuses owners that a new user namespace does not map: the kernel would say no more than "invalid argument".
pub(in crate::plan) fn check(spec: &Spec, ids: &Ids, findings: &mut Findings) {
    let Some(maps) = &ids.maps else { return };
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        for (k, option) in mount.options().iter().flatten().enumerate() {
            let (ranges, property) = match option.split_once('=') {
                Some(("uid", _)) => (&maps.users, "uidMappings"),
                Some(("gid", _)) => (&maps.groups, "gidMappings"),
                _ => continue,
            };
            let id = option.split_once('=').and_then(|(_, id)| id.parse().ok());
            if let Some(id) = id.filter(|id| !ranges.iter().any(|range: &IdRange| range.contains(*id))) {
                let says = format!(
                    "{option}: {id} is not mapped in the container's user namespace; \
                     choose one that is, or add it to /linux/{property}"
                );
                findings.error(format!("/mounts/{i}/options/{k}"), says, "config.md#linux-mount-options");
            }
        }
    }
}
