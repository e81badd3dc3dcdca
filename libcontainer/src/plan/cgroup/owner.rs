//! Whom the container's cgroup is handed over to. Pure.

use oci_spec::runtime::{Mount, Spec};

use crate::plan::facts::Facts;
use crate::plan::namespaces::{Entry, Namespace};

/// The runtime's id of the user who gets the container's cgroup: the one that its program runs as, if the program
/// sees the cgroup in a namespace of its own and may write there. `None` leaves the cgroup to the runtime's user.
///
/// Spec: config-linux.md#cgroup-ownership. Version 1 hands nothing over: a controller of it trusts whoever writes.
pub(in crate::plan) fn owner(spec: &Spec, entry: &Entry, facts: &Facts) -> Option<u32> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let unified = facts.cgroup.unified() && !facts.cgroup.hierarchies.is_empty();
    if !unified || !entry.made().contains(Namespace::Cgroup) || !mounts.iter().any(is_writable_cgroup) {
        return None;
    }
    let inside = spec.process().as_ref().map_or(0, |process| process.user().uid());
    let outside = if entry.changes_user() {
        let maps = spec.linux().as_ref().and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
        maps.iter().find_map(|map| {
            let offset = inside.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
            map.host_id().checked_add(offset)
        })?
    } else {
        inside
    };
    (outside != facts.uid).then_some(outside)
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    mount.source().as_deref().is_some_and(|source| source.as_os_str() == "cgroup")
        && mount.destination().to_str().is_some_and(|path| path.trim_end_matches('/') == "/sys/fs/cgroup")
        && !options.iter().any(|option| option == "ro")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::facts::CgroupVersion;
    use crate::plan::invalid::Findings;
    use crate::plan::namespaces;
    use crate::plan::tests::{FACTS, spec};
    use serde_json::{Value, json};

    /// A config that hands its cgroup over to the host's user 100000, with `change` made to it.
    fn owner_of(change: impl FnOnce(&mut Value), facts: &Facts) -> Option<u32> {
        let mut part = json!({
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}],
            "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}},
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "cgroup"}, {"type": "user"}],
                "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 50, "hostID": 7, "size": 1}],
            },
        });
        change(&mut part);
        let spec = spec(part);
        let entry = namespaces::compile(&spec, facts, &mut Findings::default());
        owner(&spec, &entry, facts)
    }

    #[test]
    fn g08_the_cgroup_goes_to_the_user_of_the_program_as_the_host_counts() {
        let user = |uid: u32| owner_of(|part| part["process"]["user"]["uid"] = json!(uid), &FACTS);
        assert_eq!([0, 9, 50].map(user), [Some(100_000), Some(100_009), Some(7)]);
        assert_eq!([10, 49, 51].map(user), [None; 3], "ids that are not mapped");
    }

    #[test]
    fn g08_nothing_is_handed_over_without_a_namespace_a_writable_mount_or_version_2() {
        assert_eq!(owner_of(|part| part["mounts"][0]["options"] = json!(["ro"]), &FACTS), None);
        assert_eq!(owner_of(|part| part["mounts"][0]["source"] = json!("cgroup2"), &FACTS), None);
        assert_eq!(owner_of(|part| part["mounts"][0]["destination"] = json!("/cgroup"), &FACTS), None);
        assert_eq!(owner_of(|part| part["mounts"] = json!([]), &FACTS), None);
        assert_eq!(owner_of(|part| part["linux"]["namespaces"][1] = json!({"type": "uts"}), &FACTS), None);
        let joined = json!({"type": "cgroup", "path": "/proc/1/ns/cgroup"});
        assert_eq!(owner_of(|part| part["linux"]["namespaces"][1] = joined, &FACTS), None);
        let mut v1 = FACTS.clone();
        v1.cgroup.hierarchies[0].version = CgroupVersion::V1;
        assert_eq!(owner_of(|_| (), &v1), None);
    }

    #[test]
    fn g08_without_a_user_namespace_ids_are_the_hosts_and_root_has_it_already() {
        let plain = |uid: u32| {
            owner_of(
                |part| {
                    part["linux"] = json!({"namespaces": [{"type": "mount"}, {"type": "cgroup"}]});
                    part["process"]["user"]["uid"] = json!(uid);
                },
                &FACTS,
            )
        };
        assert_eq!((plain(0), plain(1000)), (None, Some(1000)));
    }
}
