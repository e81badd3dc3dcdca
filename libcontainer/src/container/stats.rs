//! What a container uses, and why it was killed: read off its cgroups. Runs in the runtime's process.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Container, Status};
use crate::error::{Error, ErrorKind};
use crate::launch::cgroup;
use crate::plan::facts::CgroupVersion;
use crate::plan::namespaces::Namespace;
use crate::stats::{self, Files, OomKilled, Stats};

impl Container {
    /// What its processes use and have used.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// println!("{} bytes", container.stats()?.memory.usage.usage);
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container has stopped, or has no cgroup.
    pub fn stats(&self) -> Result<Stats, Error> {
        let legacy = self.cgroup_files(CgroupVersion::V1);
        let unified = self.cgroup_files(CgroupVersion::V2);
        if legacy.is_empty() && unified.is_empty() {
            let says = format!("container {} has no cgroup to read statistics from", self.id());
            return Err(Error::new(ErrorKind::State, says));
        }
        let (in_legacy, in_unified) = (|name: &str| first(&legacy, name), |name: &str| first(&unified, name));
        let (legacy_names, unified_names) = (names(&legacy), names(&unified));
        let mut stats = Stats::of_cgroups(
            Files { names: &legacy_names, read: &in_legacy },
            Files { names: &unified_names, read: &in_unified },
        );
        if self.record.namespaces & Namespace::Network.flag() != 0 {
            let pid = self.record.process.map_or(0, |init| init.pid);
            let table = fs::read_to_string(format!("/proc/{pid}/net/dev"));
            stats.network_interfaces = stats::interfaces(&table.unwrap_or_default());
        }
        self.read_resctrl(&mut stats);
        // Looked at last: what was read before is the container's only if it is still there.
        self.runs()?;
        Ok(stats)
    }

    /// How many of its processes were killed because a memory limit was hit, and which; none if none was, or
    /// nothing is known of it. The cgroup keeps this until the container is deleted.
    #[must_use]
    pub fn oom_killed(&self) -> Option<OomKilled> {
        self.record.cgroups.iter().find_map(cgroup::out_of_memory)
    }

    /// For the end of a sentence that says that it has stopped: the memory limit that was hit, if one was.
    pub(super) fn last_words(&self) -> String {
        self.oom_killed().map_or_else(String::new, |killed| format!("; OOM-killed: {killed}"))
    }

    /// Demands that it has processes.
    pub(super) fn runs(&self) -> Result<(), Error> {
        match self.status() {
            Status::Created | Status::Running | Status::Paused => Ok(()),
            // Clients know these words.
            Status::Creating | Status::Stopped => {
                Err(Error::new(ErrorKind::State, format!("container with id {} is not running", self.id())))
            }
        }
    }

    fn cgroup_files(&self, version: CgroupVersion) -> Vec<&Path> {
        let of_version = self.record.cgroups.iter().filter(|directory| directory.version == version);
        of_version.map(|directory| directory.path.as_path()).collect()
    }

    fn read_resctrl(&self, stats: &mut Stats) {
        let Some(directories) = self.record.resctrl.as_ref().map(|group| &group.join) else { return };
        let (Some(group), Some(own)) = (directories.first(), directories.last()) else { return };
        // The default group is the root itself; others are right below it.
        let is_root = |path: &&Path| path.join("info").is_dir();
        let Some(root) = group.ancestors().take(2).find(is_root) else { return };
        // A monitoring group has no schemata of its own, and its numbers are what it is there for.
        let in_group = |name: &str| first(&[own, group], name);
        let monitors = monitors(own);
        let in_root = |name: &str| first(&[root], name);
        stats.read_resctrl(&in_root, Files { names: &monitors, read: &in_group });
    }
}

/// The text of a file, from the first directory that has it.
fn first(directories: &[impl AsRef<Path>], name: &str) -> Option<String> {
    directories.iter().find_map(|directory| fs::read_to_string(directory.as_ref().join(name)).ok())
}

/// The names of all files, sorted: what is printed does not depend on the order of a directory.
fn names(directories: &[&Path]) -> Vec<String> {
    let entries = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The files of a group that count, as paths below it, sorted.
fn monitors(group: &Path) -> Vec<String> {
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let domains = below(group.join("mon_data")).map(|entry| entry.path());
    let files = domains.flat_map(below).map(|entry| entry.path());
    let name = |path: PathBuf| Some(path.strip_prefix(group).ok()?.to_str()?.to_owned());
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort();
    names
}
