//! Looks at the host: facts for compile, and who a process is. Runs in the runtime's process.

mod mounts;
mod process;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::path::KernelString;
use crate::plan::facts::{CgroupFacts, CgroupVersion, Facts, HierarchyFacts, Needs, SystemdFacts};
use crate::plan::systemd::Manager;
use crate::sys::{contents, creds, fs as sys_fs};

pub(crate) use mounts::resctrl;
pub(crate) use process::{describe, look_at, pid_namespace_of, process_of_thread};

/// Where cgroup hierarchies are mounted.
const CGROUP: &str = "/sys/fs/cgroup";
/// The initial user namespace's inode number in every kernel (include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Gathers the facts, as far as they are needed. What cannot be found out counts as not there; what needs it then
/// fails by name.
#[must_use]
pub(crate) fn probe(needs: Needs) -> Facts {
    Facts {
        privileged: is_privileged(),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        capabilities: creds::permitted().unwrap_or(0),
        last_capability: creds::last_capability(),
        cgroup: CgroupFacts {
            hierarchies: if needs.cgroups { hierarchies() } else { Vec::new() },
            huge_page_sizes: if needs.huge_pages { huge_page_sizes() } else { Vec::new() },
        },
        apparmor: needs.labels && read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
        selinux: needs.labels && Path::new("/sys/fs/selinux/enforce").exists(),
        resctrl: None,
        named: None,
        systemd: None,
    }
}

/// The instance of systemd that makes units for us, if systemd runs here: the host's for root, else the user's own.
/// See sd_booted(3).
#[must_use]
pub(crate) fn systemd() -> Option<SystemdFacts> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let (manager, root) = if is_privileged() {
        (Manager::System, root_of_units(&read("/proc/1/cgroup")))
    } else {
        (Manager::User, root_of_users_units(&read("/proc/self/cgroup"), own_uid()))
    };
    Some(SystemdFacts { manager, root })
}

/// Where the first process keeps its units: beside its own scope, and not at `/` if it is in a container.
fn root_of_units(cgroups: &str) -> String {
    let own = systemds_line(cgroups);
    let root = own.strip_suffix("/init.scope").unwrap_or_default();
    if root.is_empty() { "/".into() } else { root.into() }
}

/// Where the user's systemd keeps its units. We may be below it, or in a session beside it.
fn root_of_users_units(cgroups: &str, uid: u32) -> String {
    let service = format!("user@{uid}.service");
    let own = systemds_line(cgroups);
    match own.split_once(&format!("/{service}")) {
        Some((before, after)) if after.is_empty() || after.starts_with('/') => format!("{before}/{service}"),
        _ => format!("/user.slice/user-{uid}.slice/{service}"),
    }
}

/// The path in the hierarchy that systemd keeps its units in: version 2, or the named one.
fn systemds_line(cgroups: &str) -> &str {
    let line = |key: &str| cgroups.lines().find_map(|line| line.split_once(key).map(|(_, path)| path));
    line(":name=systemd:").or_else(|| line("0::")).unwrap_or_default()
}

/// Our user as the host counts, as far as our user namespace tells.
#[must_use]
pub(crate) fn own_uid() -> u32 {
    let inside = nix::unistd::geteuid().as_raw();
    let map = read("/proc/self/uid_map");
    let lines = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?, numbers.next()?))
    });
    let outside = |(first, host, count): (u32, u32, u32)| {
        let offset = inside.checked_sub(first).filter(|offset| *offset < count)?;
        host.checked_add(offset)
    };
    lines.into_iter().find_map(outside).unwrap_or(inside)
}

fn read(path: impl AsRef<Path>) -> String {
    String::from_utf8(contents::read(path.as_ref()).unwrap_or_default()).unwrap_or_default()
}

/// The runtime is root on the host, not just in a user namespace.
#[must_use]
pub fn is_privileged() -> bool {
    nix::unistd::geteuid().is_root() && in_initial_user_namespace()
}

// An identity map does not tell: systemd and others write one for namespaces below.
fn in_initial_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|file| file.ino() == INITIAL_USER_NAMESPACE)
}

/// The mounted hierarchies: those of /proc/self/cgroup that are found where they belong.
fn hierarchies() -> Vec<HierarchyFacts> {
    let mut found = hierarchies_in(&read("/proc/self/cgroup"), false);
    found.sort_by_key(|h| h.version == CgroupVersion::V2);
    found
}

/// The version 1 hierarchy `name=systemd`, also where version 2 is what the host uses: not part of [`probe`], since
/// few configs ask for it.
#[must_use]
pub(crate) fn named_hierarchy() -> Option<HierarchyFacts> {
    read("/proc/self/cgroup").lines().find(|line| line.contains(":name=systemd:")).and_then(hierarchy)
}

/// Reads a line such as `4:memory:/user.slice` (cgroups(7), /proc/PID/cgroup).
fn hierarchy(line: &str) -> Option<HierarchyFacts> {
    let mut fields = line.splitn(3, ':');
    let (_, names, own) = (fields.next()?, fields.next()?, fields.next()?);
    if names.is_empty() {
        let mount =
            [CGROUP, "/sys/fs/cgroup/unified"].into_iter().find(|p| is(p, libc::CGROUP2_SUPER_MAGIC))?;
        let controllers = read(format!("{mount}/cgroup.controllers"));
        return Some(HierarchyFacts {
            version: CgroupVersion::V2,
            mount: mount.into(),
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            own: own.into(),
        });
    }
    let controllers: Vec<String> = names.split(',').map(str::to_owned).collect();
    let directory = names.strip_prefix("name=").unwrap_or(names);
    let candidates = std::iter::once(directory).chain(names.split(','));
    let mut mounts = candidates.map(|name| format!("{CGROUP}/{name}"));
    let mount = mounts.find(|path| is(path, libc::CGROUP_SUPER_MAGIC))?;
    Some(HierarchyFacts { version: CgroupVersion::V1, mount, controllers, own: own.into() })
}

fn is(path: &str, magic: i64) -> bool {
    KernelString::path(path).is_ok_and(|path| sys_fs::path_filesystem(path.as_c_str()) == Ok(magic))
}

/// Sizes such as `2MB`, from directories such as `hugepages-2048kB`.
fn huge_page_sizes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut sizes: Vec<u64> =
        names.filter_map(|n| n.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()).collect();
    sizes.sort_unstable();
    sizes.into_iter().map(size_name).collect()
}

/// The name that the hugetlb controller gives to a size in KiB.
fn size_name(kib: u64) -> String {
    match kib {
        k if k >= 1 << 20 => format!("{}GB", k >> 20),
        k if k >= 1 << 10 => format!("{}MB", k >> 10),
        k => format!("{k}KB"),
    }
}

/// The cgroup directories that a process is in now, by hierarchy as [`probe`] finds them.
#[must_use]
pub(crate) fn cgroups_of(pid: i32) -> Vec<(CgroupVersion, PathBuf)> {
    hierarchies_of(pid, true).iter().map(|hierarchy| (hierarchy.version, hierarchy.directory())).collect()
}

/// The hierarchies as [`probe`] finds them, with the cgroup that a process is in now as its own; and, if it may be in
/// one, also where version 2 is alone, the one that has no controllers.
#[must_use]
pub(crate) fn hierarchies_of(pid: i32, named: bool) -> Vec<HierarchyFacts> {
    hierarchies_in(&read(format!("/proc/{pid}/cgroup")), named)
}

/// Those of a file /proc/PID/cgroup.
fn hierarchies_in(own: &str, named: bool) -> Vec<HierarchyFacts> {
    // Where version 2 is mounted there, version 1 ones may exist and are not to be found.
    let unified = is(CGROUP, libc::CGROUP2_SUPER_MAGIC);
    let counts =
        |line: &&str| !unified || line.starts_with("0::") || named && line.contains(":name=systemd:");
    own.lines().filter(counts).filter_map(hierarchy).collect()
}

/// The type of the file system that `path` is on, such as `nfs4`.
#[must_use]
pub(crate) fn filesystem_type(path: &str) -> Option<String> {
    let path = KernelString::path(path).ok()?;
    let file = sys_fs::open(sys_fs::CWD, path.as_c_str(), libc::O_PATH, 0).ok()?;
    let description = read(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
    let id = description.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    // proc(5), /proc/PID/mountinfo: the id of the mount comes first, the type after the dash.
    let mounts = read("/proc/self/mountinfo");
    let mount = mounts.lines().find(|line| line.split(' ').next() == Some(id))?;
    mount.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

/// Why no more namespaces can be made, if a limit that is reached or a switch that is off can be found.
#[must_use]
pub(crate) fn namespace_hint() -> Option<String> {
    const SWITCHES: &[(&str, &str, &str)] = &[
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "user namespaces are switched off for users"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor restricts user namespaces"),
    ];
    let off = SWITCHES.iter().find(|(file, value, _)| read(file).trim() == *value);
    if let Some((file, value, why)) = off {
        return Some(format!("{why}: {file} is {value}"));
    }
    let kinds = ["user", "pid", "net", "ipc", "uts", "mnt", "cgroup", "time"];
    let files = kinds.map(|kind| format!("/proc/sys/user/max_{kind}_namespaces"));
    files.into_iter().find(|file| read(file).trim() == "0").map(|file| format!("{file} is 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_named_as_the_kernel_names_them() {
        assert_eq!([64, 2048, 1 << 20].map(size_name), ["64KB", "2MB", "1GB"]);
    }

    #[test]
    fn m31_the_file_system_of_a_path_has_a_name() {
        assert_eq!(filesystem_type("/proc/self/status").as_deref(), Some("proc"));
        assert_eq!(filesystem_type("/proc/nothing"), None);
    }

    #[test]
    fn b20_units_are_where_the_manager_is_wherever_it_is() {
        assert_eq!(root_of_units("0::/init.scope\n"), "/");
        assert_eq!(root_of_units("4:memory:/x\n1:name=systemd:/lxc/a/init.scope\n0::/y\n"), "/lxc/a");
        assert_eq!(root_of_units("0::/\n"), "/");
        let below = "0::/a/user@7.service/app.slice/x.scope\n";
        assert_eq!(root_of_users_units(below, 7), "/a/user@7.service");
        let beside = "/user.slice/user-7.slice/user@7.service";
        assert_eq!(root_of_users_units("0::/user.slice/user-7.slice/session-1.scope\n", 7), beside);
        assert_eq!(root_of_users_units("0::/a/user@70.service\n", 7), beside);
    }

    #[test]
    fn facts_of_this_host_hold_together() {
        let facts = probe(Needs::EVERYTHING);
        assert!(facts.last_capability >= 37);
        for hierarchy in &facts.cgroup.hierarchies {
            assert!(Path::new(&hierarchy.mount).is_dir());
        }
    }
}
