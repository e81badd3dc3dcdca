//! Id maps of a user namespace. Pure.

use oci_spec::runtime::{LinuxIdMapping, Spec};
use serde::Serialize;

use super::invalid::Findings;
use super::namespaces::{Entry, Namespace};

const SPEC: &str = "config-linux.md#user-namespace-mappings";

/// One range of ids. See user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The maps of users and of groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

/// The user ids of a container, relative to the runtime's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ids {
    /// Written for a new user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<IdMaps>,
    /// Root exists in the user namespace, and the container's process becomes it.
    pub become_root: bool,
}

/// Decides the id maps of the container's user namespace.
pub fn compile(spec: &Spec, entry: &Entry, findings: &mut Findings) -> Ids {
    let linux = spec.linux().as_ref();
    let users = linux.and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
    let groups = linux.and_then(|l| l.gid_mappings().as_deref()).unwrap_or_default();
    let maps = IdMaps {
        users: ranges(users, "/linux/uidMappings", findings),
        groups: ranges(groups, "/linux/gidMappings", findings),
    };
    if entry.made().contains(Namespace::User) {
        for (ranges, at) in [(&maps.users, "/linux/uidMappings"), (&maps.groups, "/linux/gidMappings")] {
            if ranges.is_empty() {
                findings.error(at, "a new user namespace needs at least one mapping", SPEC);
            }
        }
        let become_root = maps.maps_root();
        Ids { maps: Some(maps), become_root }
    } else if entry.joins(Namespace::User) {
        // Kubernetes repeats the pod's maps beside the path; they are the namespace's already.
        Ids { maps: None, become_root: maps.users.is_empty() || maps.maps_root() }
    } else {
        for (ranges, at) in [(&maps.users, "/linux/uidMappings"), (&maps.groups, "/linux/gidMappings")] {
            if !ranges.is_empty() {
                findings.error(at, "id mappings need a user namespace in /linux/namespaces", SPEC);
            }
        }
        Ids::default()
    }
}

/// Reads a list of mappings found at `at`.
pub fn ranges(mappings: &[LinuxIdMapping], at: &str, findings: &mut Findings) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::with_capacity(mappings.len());
    for (i, mapping) in mappings.iter().enumerate() {
        let range =
            IdRange { inside: mapping.container_id(), outside: mapping.host_id(), count: mapping.size() };
        let at = format!("{at}/{i}");
        if let Err(says) = range.check() {
            findings.error(format!("{at}/size"), says, SPEC);
        } else if let Some(other) = ranges.iter().position(|r| r.overlaps(range)) {
            findings.error(at, format!("overlaps mapping {other}"), SPEC);
        }
        ranges.push(range);
    }
    // user_namespaces(7): at most 340 lines a map.
    if ranges.len() > 340 {
        findings.error(at, "more than 340 mappings, which the kernel does not take", SPEC);
    }
    ranges
}

impl IdRange {
    /// Whether there are as many ids.
    ///
    /// # Errors
    /// What is wrong with its size.
    pub fn check(self) -> Result<(), &'static str> {
        let last = |first: u32| first.checked_add(self.count.saturating_sub(1));
        if self.count == 0 {
            Err("must not be 0")
        } else if last(self.inside).is_none() || last(self.outside).is_none() {
            Err("the mapping goes past the last id, 4294967295")
        } else {
            Ok(())
        }
    }

    /// Whether an id is in both, on either side.
    #[must_use]
    pub fn overlaps(self, other: IdRange) -> bool {
        let meet = |a: u32, b: u32| {
            let (a, b) = (u64::from(a), u64::from(b));
            a < b + u64::from(other.count) && b < a + u64::from(self.count)
        };
        meet(self.inside, other.inside) || meet(self.outside, other.outside)
    }

    /// Whether `id` has a counterpart outside.
    #[must_use]
    pub fn contains(self, id: u32) -> bool {
        id >= self.inside && id - self.inside < self.count
    }
}

impl IdMaps {
    fn maps_root(&self) -> bool {
        self.users.iter().any(|r| r.contains(0)) && self.groups.iter().any(|r| r.contains(0))
    }
}

/// The text of a `uid_map` or `gid_map` file.
#[must_use]
pub fn map_text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_empty_and_overflowing_mappings_are_refused() {
        let mapping = |inside: u32, outside: u32, count: u32| {
            serde_json::from_value(
                serde_json::json!({"containerID": inside, "hostID": outside, "size": count}),
            )
            .unwrap()
        };
        let mut findings = Findings::default();
        let list =
            [mapping(0, 100_000, 10), mapping(5, 200_000, 10), mapping(50, 1, 0), mapping(u32::MAX, 1, 2)];
        ranges(&list, "/linux/uidMappings", &mut findings);
        let invalid = findings.finish().unwrap_err();
        let at: Vec<_> = invalid.findings().iter().map(|f| f.at.as_str()).collect();
        assert_eq!(at, ["/linux/uidMappings/1", "/linux/uidMappings/2/size", "/linux/uidMappings/3/size"]);
    }
}
