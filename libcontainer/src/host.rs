//! Looks at the host: facts for compile, and who a process is. Runs in the runtime's process.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::CapSet;
use nix::libc;

use crate::path::KernelString;
use crate::plan::facts::{CgroupFacts, CgroupVersion, Facts, HierarchyFacts, SystemdFacts};
use crate::plan::systemd::Manager;
use crate::sys::fs as sys_fs;

/// Where cgroup hierarchies are mounted.
const CGROUP: &str = "/sys/fs/cgroup";
/// The initial user namespace's inode number in every kernel (include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Gathers the facts. What cannot be found out counts as not there; what needs it then fails by name.
#[must_use]
pub(crate) fn probe() -> Facts {
    Facts {
        privileged: is_privileged(),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        capabilities: permitted_capabilities(),
        last_capability: read("/proc/sys/kernel/cap_last_cap").trim().parse().unwrap_or(40),
        cgroup: CgroupFacts { hierarchies: hierarchies(), huge_page_sizes: huge_page_sizes() },
        apparmor: read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
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

/// Where resctrl is mounted, for the few configs that need it: not part of [`probe`], since the mount table is long.
#[must_use]
pub(crate) fn resctrl() -> Option<String> {
    let mounts = procfs::process::Process::myself().and_then(|own| own.mountinfo()).ok()?;
    mounts.into_iter().filter_map(resctrl_at).find(|path| is(path, libc::RDTGROUP_SUPER_MAGIC))
}

/// Where this mount shows resctrl, if it does, and from its root on.
fn resctrl_at(mount: procfs::process::MountInfo) -> Option<String> {
    let whole = mount.fs_type == "resctrl" && mount.root == "/";
    mount.mount_point.into_os_string().into_string().ok().filter(|_| whole)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
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

fn permitted_capabilities() -> u64 {
    let set = caps::read(None, CapSet::Permitted).unwrap_or_default();
    set.iter().fold(0, |bits, capability| bits | capability.bitmask())
}

/// The mounted hierarchies: those of /proc/self/cgroup that are found where they belong.
fn hierarchies() -> Vec<HierarchyFacts> {
    let own = read("/proc/self/cgroup");
    // Where version 2 is mounted there, version 1 ones may exist and are not to be found.
    let unified = is(CGROUP, libc::CGROUP2_SUPER_MAGIC);
    let lines = own.lines().filter(|line| !unified || line.starts_with("0::"));
    let mut found: Vec<HierarchyFacts> = lines.filter_map(hierarchy).collect();
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
    let Ok(directory) = fs::File::open(path) else { return false };
    sys_fs::filesystem(directory.as_fd()) == Ok(magic)
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

/// A process as /proc/PID/stat tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When it started, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// It has ended, and waits to be reaped.
    pub(crate) is_zombie: bool,
    /// It is ending: nothing of its program runs any more. The first process of a pid namespace stays so until
    /// all others in there have been reaped, also by parents outside.
    pub(crate) is_ending: bool,
}

/// Looks at a process; `None` if there is none of this number.
#[must_use]
pub(crate) fn look_at(pid: i32) -> Option<Seen> {
    /// PF_EXITING of include/linux/sched.h; the flags are field 9 of /proc/PID/stat.
    const ENDING: u32 = 4;
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
    let is_zombie = matches!(stat.state, 'Z' | 'X' | 'x');
    Some(Seen { start_time: stat.starttime, is_zombie, is_ending: is_zombie || stat.flags & ENDING != 0 })
}

/// A process for an error that names it: its number, its name and what keeps it; `None` if it is gone.
#[must_use]
pub(crate) fn describe(pid: i32) -> Option<String> {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
    let state = match stat.state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting in the kernel for a device or file system",
        'T' => "stopped",
        't' => "stopped by a debugger",
        'Z' => "dead and not reaped",
        _ => "in a state of its own",
    };
    Some(format!("{pid} ({}: {}, {state})", stat.comm, stat.state))
}

/// The process that a thread belongs to.
#[must_use]
pub(crate) fn process_of_thread(thread: i32) -> Option<i32> {
    let status = read(format!("/proc/{thread}/status"));
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// The living processes of the pid namespace whose first process is `pid`. `None` if it is not such a one, or if
/// the namespace is the runtime's own: then others are in there too.
#[must_use]
pub(crate) fn pid_namespace_of(pid: i32) -> Option<Vec<i32>> {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|file| file.ino());
    let status = read(format!("/proc/{pid}/status"));
    let mut numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace();
    let wanted = namespace(&pid.to_string())?;
    if numbers.next_back() != Some("1") || namespace("self") == Some(wanted) {
        return None;
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let inside = names.filter(|name| name.parse::<i32>().is_ok() && namespace(name) == Some(wanted));
    let pids = inside.filter_map(|name| name.parse().ok());
    Some(pids.filter(|pid| look_at(*pid).is_some_and(|seen| !seen.is_zombie)).collect())
}

/// The cgroup directories that a process is in now, by hierarchy as [`probe`] finds them.
#[must_use]
pub(crate) fn cgroups_of(pid: i32) -> Vec<(CgroupVersion, PathBuf)> {
    hierarchies_of(pid).iter().map(|hierarchy| (hierarchy.version, hierarchy.directory())).collect()
}

/// The hierarchies as [`probe`] finds them, with the cgroup that a process is in now as its own.
#[must_use]
pub(crate) fn hierarchies_of(pid: i32) -> Vec<HierarchyFacts> {
    read(format!("/proc/{pid}/cgroup")).lines().filter_map(hierarchy).collect()
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
    fn this_process_is_seen_and_no_process_is_not() {
        let own = look_at(std::process::id().cast_signed()).unwrap();
        assert!(own.start_time > 0 && !own.is_zombie);
        assert_eq!(look_at(i32::MAX), None);
    }

    #[test]
    fn i07_resctrl_is_found_by_its_type_and_from_its_root_on() {
        let at = |line: &str| resctrl_at(procfs::process::MountInfo::from_line(line).unwrap());
        let line = "24 20 0:21 / /mnt/rdt rw,relatime shared:7 - resctrl resctrl rw,mba_MBps";
        assert_eq!(at(line).as_deref(), Some("/mnt/rdt"));
        assert_eq!(at("25 20 0:21 /gold /mnt/gold rw,relatime - resctrl resctrl rw"), None);
        assert_eq!(at("26 20 0:22 / /sys/fs/resctrl rw,relatime - tmpfs resctrl rw"), None);
        // What another file system covers is not resctrl any more.
        assert!(resctrl().is_none_or(|path| Path::new(&path).join("schemata").exists()));
    }

    #[test]
    fn facts_of_this_host_hold_together() {
        let facts = probe();
        assert!(facts.last_capability >= 37);
        for hierarchy in &facts.cgroup.hierarchies {
            assert!(Path::new(&hierarchy.mount).is_dir());
        }
    }
}
