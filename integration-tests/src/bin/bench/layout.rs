//! The machine's cgroup hierarchies: which there are, and the parent cgroup of all containers in each.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{At, Error};

/// Where every layout mounts its hierarchies.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Changes nothing: the mount namespace is enough.
const ALL: &str = "exec \"$@\"";

/// Unmounts every hierarchy and mounts cgroup2 alone, in the mount namespace that unshare(1) made; `$0` are
/// the mount options of the machine's own cgroup2, as a mount with others would change them for everybody.
const ONLY_V2: &str =
    "umount -R /sys/fs/cgroup && mount -t cgroup2 -o \"$0\" cgroup2 /sys/fs/cgroup && exec \"$@\"";

/// Unmounts the machine's cgroup2, `$0`, in the same way. crun refuses a hybrid machine whose cgroup2 has
/// controllers.
const ONLY_V1: &str = "umount \"$0\" && exec \"$@\"";

/// The cgroup hierarchies that the runtimes see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As the machine has them.
    Host,
    /// The same, if there are version 1 and version 2.
    Hybrid,
    /// All but cgroup2, on a hybrid machine by a private mount namespace.
    V1,
    /// Only cgroup2, on a hybrid machine by a private mount namespace.
    V2,
}

impl Layout {
    /// Each by its word on the command line.
    pub(crate) const NAMES: &[(&str, Self)] =
        &[("host", Self::Host), ("hybrid", Self::Hybrid), ("v1", Self::V1), ("v2", Self::V2)];

    /// Its word on the command line.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, layout)| *layout == self).map_or("", |(name, _)| name)
    }

    /// A command that runs `program` in this layout, in the same process and a mount namespace of its own.
    pub(crate) fn command(self, mounted: &[Hierarchy], program: &OsStr) -> Result<Command, Error> {
        let v2 = mounted.iter().find(|hierarchy| hierarchy.v2);
        let alone = is_v2_alone(mounted);
        let nothing = OsStr::new("sh");
        let (script, subject) = match (self, v2) {
            (Self::Host, _) | (Self::V1, None) => (ALL, nothing),
            (Self::V2, Some(_)) if alone => (ALL, nothing),
            (Self::Hybrid, Some(_)) if !alone => (ALL, nothing),
            (Self::Hybrid, _) => {
                return Err(Error::new("--layout hybrid", "there is one version of cgroups here"));
            }
            (Self::V2, None) => return Err(Error::new("--layout v2", "cgroup2 is not mounted here")),
            (Self::V1, Some(_)) if alone => {
                return Err(Error::new("--layout v1", "only cgroup2 is mounted here"));
            }
            (Self::V1, Some(v2)) => (ONLY_V1, v2.path.as_os_str()),
            (Self::V2, Some(v2)) => (ONLY_V2, OsStr::new(&v2.options)),
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-c", script]).arg(subject).arg(program);
        Ok(command)
    }
}

/// True when the runtimes find cgroup2 where the default config mounts cgroups: then it has a cgroup
/// namespace.
pub(crate) fn is_v2() -> Result<bool, Error> {
    Ok(is_v2_alone(&mounted()?))
}

/// Whether the layout that this process sees has the memory controller.
pub(crate) fn has_memory() -> Result<bool, Error> {
    let has = |hierarchy: &Hierarchy| {
        if hierarchy.v2 { controls_memory(&hierarchy.path) } else { hierarchy.path.ends_with("memory") }
    };
    Ok(mounted()?.iter().any(has))
}

fn controls_memory(v2: &Path) -> bool {
    let controllers = fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|controller| controller == "memory")
}

/// Removes this cgroup, if it is there, from every hierarchy, with all below it.
pub(crate) fn remove(cgroup: &str) {
    for hierarchy in mounted().unwrap_or_default() {
        let directory = hierarchy.path.join(cgroup);
        if directory.is_dir() {
            remove_tree(&directory);
        }
    }
}

fn is_v2_alone(mounted: &[Hierarchy]) -> bool {
    mounted.iter().any(|hierarchy| hierarchy.v2 && hierarchy.path == Path::new(CGROUPS))
}

/// One mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    path: PathBuf,
    v2: bool,
    options: String,
}

/// The hierarchies mounted below `/sys/fs/cgroup`.
pub(crate) fn mounted() -> Result<Vec<Hierarchy>, Error> {
    const FILE: &str = "/proc/self/mountinfo";
    Ok(fs::read_to_string(FILE).at(FILE)?.lines().filter_map(hierarchy).collect())
}

/// See proc_pid_mountinfo(5): `ID PARENT DEV ROOT MOUNTPOINT OPTIONS TAG... - TYPE SOURCE SUPER-OPTIONS`.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, superblock) = line.split_once(" - ")?;
    let path = PathBuf::from(mount.split(' ').nth(4)?);
    let mut superblock = superblock.split(' ');
    let v2 = match superblock.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = superblock.nth(1)?.to_owned();
    path.starts_with(CGROUPS).then_some(Hierarchy { path, v2, options })
}

/// The parent cgroup in each hierarchy; removes it, and what failed containers left in it, when dropped.
#[derive(Debug)]
pub(crate) struct Parents {
    directories: Vec<PathBuf>,
    /// The root's controllers before: some runtimes switch on all.
    control: Option<(PathBuf, String)>,
}

impl Parents {
    /// Makes it, so that no runtime is measured making it. `name` is nobody else's.
    pub(crate) fn make(mounted: &[Hierarchy], name: &str) -> Result<Self, Error> {
        let mut parents = Self { directories: Vec::new(), control: None };
        for Hierarchy { path, v2, .. } in mounted {
            if *v2 {
                let file = path.join("cgroup.subtree_control");
                parents.control = Some((file.clone(), fs::read_to_string(&file).at(&file)?));
            }
            let directory = path.join(name);
            // There already: cpu and cpuacct are one hierarchy, by two names.
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).at(&directory)?,
                _ => parents.directories.push(directory.clone()),
            }
            if *v2 && controls_memory(path) {
                for cgroup in [path, &directory] {
                    let file = cgroup.join("cgroup.subtree_control");
                    fs::write(&file, "+memory").at(&file)?;
                }
            }
            if path.join("cpuset.cpus").exists() && !*v2 {
                inherit(path, &directory, "cpuset.cpus")?;
                inherit(path, &directory, "cpuset.mems")?;
            }
        }
        Ok(parents)
    }
}

/// Nothing can join a v1 cpuset until it has processors and memory.
fn inherit(from: &Path, to: &Path, file: &str) -> Result<(), Error> {
    let value = fs::read(from.join(file)).at(from.join(file))?;
    fs::write(to.join(file), value).at(to.join(file))
}

impl Drop for Parents {
    fn drop(&mut self) {
        for directory in &self.directories {
            remove_tree(directory);
        }
        let Some((file, before)) = &self.control else { return };
        let after = fs::read_to_string(file).unwrap_or_default();
        let before: Vec<_> = before.split_whitespace().collect();
        for controller in after.split_whitespace().filter(|name| !before.contains(name)) {
            let _ = fs::write(file, format!("-{controller}"));
        }
    }
}

/// Removes a cgroup with all below it; `remove_dir_all` would try to remove the kernel's files.
fn remove_tree(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroup_mounts_are_hierarchies() {
        let v2 =
            hierarchy("47 46 0:38 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate").unwrap();
        assert_eq!((v2.v2, v2.options.as_str()), (true, "rw,nsdelegate"));
        assert!(is_v2_alone(&[v2]));
        let v1 = hierarchy("30 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids").unwrap();
        assert!(!is_v2_alone(&[v1]));
        assert!(hierarchy("25 22 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755").is_none());
    }
}
