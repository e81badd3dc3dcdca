//! The ids of an id-mapped mount: from properties of the mount, from its option, or the container's. Pure.

use oci_spec::runtime::LinuxIdMapping;

use super::IdMap;
use super::read::{Around, Listed};
use crate::plan::ids::{self, IdMaps, IdRange};
use crate::plan::invalid::Findings;
use crate::plan::options::{Change, Reach};

const SPEC_OPTIONS: &str = "config.md#linux-mount-options";
const SPEC_POSIX: &str = "config.md#posix-platform-mounts";

/// Decides how the ids of a mount are mapped, if they are.
pub(super) fn idmap(listed: &Listed<'_>, around: &Around<'_>, findings: &mut Findings) -> Option<IdMap> {
    let users = listed.mount.uid_mappings().as_deref().unwrap_or_default();
    let groups = listed.mount.gid_mappings().as_deref().unwrap_or_default();
    let deep = listed.options.idmap == Some(Reach::Tree);
    if let Some((i, text)) = listed.options.mappings {
        let at = listed.at(&format!("options/{i}"));
        if !users.is_empty() || !groups.is_empty() {
            let says = "gives mappings, and so do uidMappings and gidMappings; remove one of them";
            findings.error(at, says, SPEC_OPTIONS);
            return None;
        }
        let maps = inline(text, around).map_err(|says| findings.error(at, says, SPEC_OPTIONS));
        return Some(IdMap { maps: Some(maps.ok()?), deep });
    }
    match (users.is_empty(), groups.is_empty()) {
        (false, false) => {
            let users = ids::ranges(users, &listed.at("uidMappings"), findings);
            let groups = ids::ranges(groups, &listed.at("gidMappings"), findings);
            Some(IdMap { maps: Some(IdMaps { users, groups }), deep })
        }
        (true, true) => {
            listed.options.idmap?;
            if !around.entry.changes_user() {
                let (i, name) = listed.matching(|change| matches!(change, Some(Change::MapIds(_)))).last()?;
                let says = format!(
                    "{name} without uidMappings and gidMappings takes those of the container's user namespace, \
                     and it has none; add the mappings here or a user namespace"
                );
                findings.error(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
            }
            Some(IdMap { maps: None, deep })
        }
        (no_users, _) => {
            let (missing, other) =
                if no_users { ("uidMappings", "gidMappings") } else { ("gidMappings", "uidMappings") };
            let says = format!("is missing; it goes together with {other}");
            findings.error(listed.at(missing), says, SPEC_POSIX);
            None
        }
    }
}

/// Reads `uids=0-1000-1#1-2000-10;gids=@0-0-1`, which crun has and podman writes: first id in the file system,
/// first id on the host, how many. After an `@` the second one is an id of the container.
fn inline(text: &str, around: &Around<'_>) -> Result<IdMaps, String> {
    let linux = around.spec.linux().as_ref();
    let (mut users, mut groups) = (None, None);
    for part in text.split(';') {
        let (kind, list) = part.split_once('=').unwrap_or((part, ""));
        let (ranges, own) = match kind {
            "uids" => (&mut users, linux.and_then(|l| l.uid_mappings().as_deref())),
            "gids" => (&mut groups, linux.and_then(|l| l.gid_mappings().as_deref())),
            _ => return Err(format!("{kind:?} is neither uids nor gids; {FORM}")),
        };
        if ranges.is_some() {
            return Err(format!("{kind} is there twice"));
        }
        *ranges = Some(list_of_ranges(list, kind, own.unwrap_or_default())?);
    }
    match (users, groups) {
        (Some(users), Some(groups)) => Ok(IdMaps { users, groups }),
        (None, _) => Err(format!("lacks uids=; {FORM}")),
        (_, None) => Err(format!("lacks gids=; {FORM}")),
    }
}

const FORM: &str = "the form is uids=0-1000-1;gids=0-1000-1";

fn list_of_ranges(list: &str, kind: &str, own: &[LinuxIdMapping]) -> Result<Vec<IdRange>, String> {
    let mut ranges: Vec<IdRange> = Vec::new();
    for (i, text) in list.split('#').enumerate() {
        let place = |says: &str| format!("{kind}, mapping {i}, {text:?}: {says}");
        let (relative, numbers) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
        let numbers: Vec<_> = numbers.split('-').map(str::parse).collect();
        let [Ok(inside), Ok(outside), Ok(count)] = numbers[..] else {
            return Err(place(
                "is not three numbers joined by dashes: first id in the file system, first id on \
                              the host, how many",
            ));
        };
        let range = IdRange { inside, outside, count };
        range.check().map_err(place)?;
        let parts = if relative { absolute(range, own).map_err(|says| place(&says))? } else { vec![range] };
        for part in parts {
            if ranges.iter().any(|other| other.overlaps(part)) {
                return Err(place("overlaps one before it"));
            }
            ranges.push(part);
        }
    }
    // user_namespaces(7)
    if ranges.len() > 340 {
        Err(format!("{kind}: more than 340 mappings, which the kernel does not take"))
    } else {
        Ok(ranges)
    }
}

/// A range whose ids outside are those of the container, by ids of the host. Where it spans several mappings of
/// the container it falls into as many ranges.
fn absolute(range: IdRange, own: &[LinuxIdMapping]) -> Result<Vec<IdRange>, String> {
    let mut parts = Vec::new();
    let mut done = 0;
    while done < range.count {
        let id = range.outside + done;
        let holds = |m: &&LinuxIdMapping| id >= m.container_id() && id - m.container_id() < m.size();
        let Some(mapping) = own.iter().find(holds) else {
            return Err(format!("id {id} is not mapped in the container's user namespace"));
        };
        let skipped = id - mapping.container_id();
        let count = (mapping.size() - skipped).min(range.count - done);
        // A mapping that goes too far has been found where it stands.
        let outside = mapping.host_id().saturating_add(skipped);
        parts.push(IdRange { inside: range.inside + done, outside, count });
        done += count;
    }
    Ok(parts)
}
