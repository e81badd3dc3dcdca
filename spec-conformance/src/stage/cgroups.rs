//! The cgroups of a stage: one in each hierarchy that the runtime is to see, made before the case and removed with all
//! that is below it. See cgroups(7), cgroup_namespaces(7).

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::report::proc_text;

/// Where hosts mount cgroups.
pub(super) const TOP: &str = "/sys/fs/cgroup";

/// Which cgroup hierarchies a runtime sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// All that the host has.
    #[default]
    Auto,
    /// Those of version 1 alone.
    V1,
    /// That of version 2 alone, with the controllers that it has here.
    V2,
    /// Those of version 1, and version 2 at `unified`.
    Hybrid,
}

impl CgroupMode {
    /// Reads the word of a command line.
    pub fn parse(word: &str) -> Option<CgroupMode> {
        Some(match word {
            "auto" => CgroupMode::Auto,
            "v1" => CgroupMode::V1,
            "v2" => CgroupMode::V2,
            "hybrid" => CgroupMode::Hybrid,
            _ => return None,
        })
    }

    fn wants(self, hierarchy: &Hierarchy) -> bool {
        match self {
            CgroupMode::Auto | CgroupMode::Hybrid => true,
            CgroupMode::V1 => !hierarchy.unified(),
            CgroupMode::V2 => hierarchy.unified(),
        }
    }
}

/// A cgroup hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Its options for mount(2), which name its controllers; `None` for version 2.
    legacy: Option<String>,
}

impl Hierarchy {
    pub(super) fn unified(&self) -> bool {
        self.legacy.is_none()
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.unified() { "cgroup2" } else { "cgroup" }
    }

    pub(super) fn options(&self) -> &str {
        self.legacy.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &OsStr {
        self.point.file_name().unwrap_or_default()
    }

    /// The names by which one of several controllers is found too, where they share a hierarchy.
    pub(super) fn aliases(&self) -> Vec<&str> {
        let controllers: Vec<&str> =
            self.options().split(',').filter(|word| *word != "none" && !word.contains('=')).collect();
        match controllers.len() {
            0 | 1 => Vec::new(),
            _ => controllers.into_iter().filter(|word| self.name() != OsStr::new(word)).collect(),
        }
    }
}

/// The hierarchies of the host. Each counts once, however often it is mounted.
fn of_host() -> Result<Vec<Hierarchy>, Error> {
    let table = super::text(Path::new("/proc/self/mountinfo"))?;
    Ok(hierarchies(&table))
}

fn hierarchies(table: &str) -> Vec<Hierarchy> {
    let mut found: Vec<(String, Hierarchy)> = Vec::new();
    for mount in proc_text::mountinfo(table).unwrap_or_default() {
        let legacy = match mount.fstype.as_str() {
            "cgroup2" => None,
            "cgroup" => Some(legacy_options(&mount.super_options)),
            _ => continue,
        };
        let known = found.iter().any(|(device, _)| *device == mount.device);
        if !known && mount.point.starts_with(TOP) {
            found.push((mount.device, Hierarchy { point: mount.point.into(), legacy }));
        }
    }
    found.into_iter().map(|(_, hierarchy)| hierarchy).collect()
}

fn legacy_options(all: &[String]) -> String {
    const OTHERS: [&str; 6] = ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"];
    let kept: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|word| !OTHERS.contains(word) && !word.starts_with("release_agent="))
        .collect();
    match kept.as_slice() {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        _ => kept.join(","),
    }
}

/// The mode, if this host has what it needs; otherwise what is missing.
pub fn available(mode: CgroupMode) -> Result<(), Error> {
    chosen(mode).map(drop)
}

fn chosen(mode: CgroupMode) -> Result<Vec<Hierarchy>, Error> {
    let all = of_host()?;
    let (legacy, unified) = (all.iter().any(|each| !each.unified()), all.iter().any(Hierarchy::unified));
    let missing = match mode {
        CgroupMode::V1 if !legacy => Some("cgroup version 1"),
        CgroupMode::V2 if !unified => Some("cgroup version 2"),
        CgroupMode::Hybrid if !(legacy && unified) => Some("both versions of cgroups"),
        CgroupMode::Auto if !(legacy || unified) => Some("cgroups"),
        _ => None,
    };
    match missing {
        Some(needs) => Err(Error::Host { needs }),
        None => Ok(all.into_iter().filter(|hierarchy| mode.wants(hierarchy)).collect()),
    }
}

/// The cgroups of one stage. Dropping it removes them and all that is below.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    /// Those in which there is one.
    pub(super) hierarchies: Vec<Hierarchy>,
    name: PathBuf,
}

impl Made {
    /// Makes a cgroup of this name in each hierarchy.
    pub(super) fn new(mode: CgroupMode, name: &OsStr) -> Result<Made, Error> {
        let mut made = Made { hierarchies: Vec::new(), name: name.into() };
        for hierarchy in chosen(mode)? {
            let path = hierarchy.point.join(name);
            DirBuilder::new().create(&path).map_err(Error::file(&path))?;
            made.hierarchies.push(hierarchy);
            inherit_cpuset(&path)?;
        }
        Ok(made)
    }

    fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.point.join(&self.name))
    }

    /// Moves the calling process into them.
    pub(super) fn join(&self) -> Result<(), Error> {
        self.places().try_for_each(|place| write(&place.join("cgroup.procs"), "0"))
    }

    /// Thaws whatever is frozen by version 1.
    pub(super) fn thaw(&self) {
        for place in self.places() {
            below(&place, &mut |cgroup| {
                let state = cgroup.join("freezer.state");
                if state.exists() {
                    drop(fs::write(state, "THAWED"));
                }
            });
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for place in self.places() {
            below(&place, &mut |cgroup| drop(fs::remove_dir(cgroup)));
        }
    }
}

/// The top of a version 2 hierarchy must have no processes, if controllers are to be handed down: goes to a cgroup
/// below it. Runs in the performer, for which the top is the stage's own cgroup.
pub(super) fn step_aside(top: &Path) -> Result<(), Error> {
    let aside = top.join("harness");
    DirBuilder::new().create(&aside).map_err(Error::file(&aside))?;
    write(&aside.join("cgroup.procs"), "0")
}

/// Controllers of version 2 that hosts leave to themselves, handed down to the stages until this is dropped.
#[derive(Debug)]
pub struct Controllers {
    enabled: Vec<(PathBuf, String)>,
}

impl Controllers {
    /// Hands down all that the host has.
    pub fn handed_down() -> Result<Controllers, Error> {
        let mut enabled = Vec::new();
        for hierarchy in of_host()?.into_iter().filter(Hierarchy::unified) {
            let file = hierarchy.point.join("cgroup.subtree_control");
            let given = super::text(&file)?;
            let has = super::text(&hierarchy.point.join("cgroup.controllers"))?;
            for name in
                has.split_whitespace().filter(|name| !given.split_whitespace().any(|own| own == *name))
            {
                // One that refuses, as cpu does beside real-time processes, is missing on the stage too.
                if fs::write(&file, format!("+{name}")).is_ok() {
                    enabled.push((file.clone(), name.to_owned()));
                }
            }
        }
        Ok(Controllers { enabled })
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        for (file, name) in &self.enabled {
            drop(fs::write(file, format!("-{name}")));
        }
    }
}

/// A new cpuset of version 1 has no processors and no memory, and so takes no process.
fn inherit_cpuset(path: &Path) -> Result<(), Error> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let (own, parent) = (path.join(name), path.parent().unwrap_or(path).join(name));
        if own.exists() && parent.exists() && super::text(&own)?.trim().is_empty() {
            write(&own, super::text(&parent)?.trim())?;
        }
    }
    Ok(())
}

/// Visits cgroups, the lowest first.
fn below(top: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), visit);
        }
    }
    visit(top);
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        1 0 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        2 1 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        3 1 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/a,name=systemd\n\
        4 1 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
        5 1 0:3 / /sys/fs/cgroup/again rw - cgroup cgroup rw,cpu,cpuacct\n\
        6 0 0:6 / /elsewhere rw - cgroup cgroup rw,pids\n";

    #[test]
    fn each_hierarchy_counts_once_with_the_options_that_mount_it_again() {
        let found = hierarchies(HYBRID);
        let options: Vec<(&str, &str)> = found.iter().map(|each| (each.kind(), each.options())).collect();
        assert_eq!(options, [("cgroup", "cpu,cpuacct"), ("cgroup", "none,name=systemd"), ("cgroup2", "")]);
        assert_eq!(found[0].aliases(), ["cpu", "cpuacct"]);
        assert!(found[1].aliases().is_empty());
    }

    #[test]
    fn a_mode_shows_the_hierarchies_of_its_version() {
        let shown = |mode: CgroupMode| {
            let all = hierarchies(HYBRID).into_iter().filter(|each| mode.wants(each));
            all.map(|each| each.unified()).collect::<Vec<_>>()
        };
        assert_eq!(shown(CgroupMode::V1), [false, false]);
        assert_eq!(shown(CgroupMode::V2), [true]);
        assert_eq!(shown(CgroupMode::Hybrid), [false, false, true]);
        assert_eq!(CgroupMode::parse("v3"), None);
    }
}
