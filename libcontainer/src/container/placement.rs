//! The cgroups that one more program of a container goes into. Runs in the runtime's process.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::host;
use crate::plan::facts::{CgroupVersion, HierarchyFacts};

use super::Container;

/// A cgroup below the container's own, which exists, in one hierarchy or in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupBelow {
    /// Controllers of version 1 whose hierarchies it is in; all hierarchies if there are none.
    pub controllers: Vec<String>,
    /// Its path from the container's cgroup, which `/` is itself.
    pub path: PathBuf,
}

impl FromStr for CgroupBelow {
    type Err = Error;

    /// Reads `[CONTROLLER,...:]PATH`, as runc has it.
    fn from_str(text: &str) -> Result<CgroupBelow, Error> {
        let (controllers, path) = text.split_once(':').unwrap_or(("", text));
        let controllers: Vec<String> = match controllers {
            "" if !text.starts_with(':') => Vec::new(),
            names => names.split(',').map(str::to_owned).collect(),
        };
        if controllers.iter().any(String::is_empty) {
            return Err(invalid(format!(
                "cgroup {text:?}: a controller without a name; give CONTROLLER:PATH"
            )));
        }
        let path = Path::new(path.trim_start_matches('/'));
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(invalid(format!("cgroup {text:?} is not below the container's")));
        }
        Ok(CgroupBelow { controllers, path: path.to_owned() })
    }
}

impl CgroupBelow {
    fn is_of(&self, hierarchy: &HierarchyFacts) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|name| is_legacy(hierarchy, name))
    }
}

impl Container {
    /// The cgroups that process `pid` of this container is in, or those of `below`.
    pub(super) fn cgroups_for(
        &self,
        pid: i32,
        below: &[CgroupBelow],
    ) -> Result<Vec<(CgroupVersion, PathBuf)>, Error> {
        if self.record.cgroups.is_empty() {
            if let Some(asked) = below.first() {
                let says = format!("cgroup {}: the container has no cgroup", asked.path.display());
                return Err(invalid(says));
            }
            return Ok(Vec::new());
        }
        let is_in_legacy = self.record.cgroups.iter().any(|made| made.version == CgroupVersion::V1);
        let hierarchies = host::hierarchies_of(pid, is_in_legacy);
        check(below, &hierarchies)?;
        let mut cgroups = Vec::new();
        for hierarchy in &hierarchies {
            let mut made = self.record.cgroups.iter().filter(|made| made.version == hierarchy.version);
            match below.iter().find(|below| below.is_of(hierarchy)) {
                // A hierarchy in which the container has none is not entered: there its first process is anywhere.
                None => cgroups.extend(made.next().map(|_| (hierarchy.version, hierarchy.directory()))),
                Some(below) => {
                    let Some(own) = made.find(|made| made.path.starts_with(&hierarchy.mount)) else {
                        continue;
                    };
                    let path = own.path.join(&below.path);
                    if !path.is_dir() {
                        return Err(invalid(format!("cgroup {} does not exist", path.display())));
                    }
                    cgroups.push((hierarchy.version, path));
                }
            }
        }
        Ok(cgroups)
    }
}

/// Every controller exists, and no hierarchy is spoken of twice.
fn check(below: &[CgroupBelow], hierarchies: &[HierarchyFacts]) -> Result<(), Error> {
    for controller in below.iter().flat_map(|below| &below.controllers) {
        if !hierarchies.iter().any(|known| is_legacy(known, controller)) {
            let says = format!("cgroup: the container is in no version 1 hierarchy of {controller:?}");
            return Err(invalid(says));
        }
    }
    for hierarchy in hierarchies {
        if let [first, second, ..] =
            below.iter().filter(|below| below.is_of(hierarchy)).collect::<Vec<_>>().as_slice()
        {
            let says = format!(
                "cgroup: {} and {} are both of {}",
                first.path.display(),
                second.path.display(),
                hierarchy.mount
            );
            return Err(invalid(says));
        }
    }
    Ok(())
}

fn is_legacy(hierarchy: &HierarchyFacts, controller: &String) -> bool {
    hierarchy.version == CgroupVersion::V1 && hierarchy.controllers.contains(controller)
}

fn invalid(says: String) -> Error {
    Error::new(ErrorKind::Invalid, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k54_a_cgroup_below_has_controllers_before_the_colon_and_does_not_leave_the_containers() {
        let read = |text: &str| text.parse::<CgroupBelow>().map_err(|error| error.to_string());
        let below = |controllers: &[&str], path: &str| {
            let controllers = controllers.iter().map(ToString::to_string).collect();
            Ok(CgroupBelow { controllers, path: path.into() })
        };
        assert_eq!(read("inner"), below(&[], "inner"));
        assert_eq!(read("/inner/most"), below(&[], "inner/most"));
        assert_eq!(read("/"), below(&[], ""));
        assert_eq!(read("cpu:inner"), below(&["cpu"], "inner"));
        assert_eq!(read("cpu,cpuacct:/inner"), below(&["cpu", "cpuacct"], "inner"));
        assert_eq!(read("cpu:a:b"), below(&["cpu"], "a:b"));
        for text in ["..", "a/../../b", "./a", "cpu:../a"] {
            assert!(read(text).unwrap_err().contains("not below the container's"), "{text}");
        }
        for text in [":a", "cpu,:a", ",cpu:a"] {
            assert!(read(text).unwrap_err().contains("controller without a name"), "{text}");
        }
    }
}
