//! What the probe sees from inside a container: one typed document, written by the `probe` binary and
//! read by the tests. Everything is plain data, and every field is what the kernel said, not what a
//! configuration asked for.

mod mask;
pub mod proc_text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use mask::{CAPABILITIES, Mask};
pub use proc_text::{CgroupMembership, IdMapping, Mount};

/// Everything the probe saw, in one document.
///
/// What can only be read from procfs keeps its default value when `/proc` is not mounted, and `unread`
/// says so: [`Report::parse`] refuses such a document, so that no test passes on a default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Process id in the container's pid namespace.
    pub pid: i32,
    /// Parent's process id; 0 when the parent is outside of the pid namespace.
    pub ppid: i32,
    /// Process group id.
    pub pgid: i32,
    /// Session id; 0 when the session's leader is outside of the pid namespace.
    pub sid: i32,
    /// Device number of the controlling terminal, 0 for none. See proc_pid_stat(5), `tty_nr`.
    pub tty: i32,
    /// The argument vector, program name included.
    pub args: Vec<String>,
    /// The environment exactly as it was passed to execve(2): order, duplicates and malformed entries kept.
    pub env: Vec<String>,
    /// Working directory; empty when it cannot be named from the process's root.
    pub cwd: String,
    /// User ids.
    pub uid: Ids,
    /// Group ids.
    pub gid: Ids,
    /// Supplementary groups, in the kernel's order (ascending).
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// The `no_new_privs` attribute. See prctl(2).
    pub no_new_privs: bool,
    /// Seccomp mode: 0 disabled, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Number of seccomp filters attached.
    pub seccomp_filters: u32,
    /// All resource limits by their `RLIMIT_` name.
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Host name of the UTS namespace.
    pub hostname: String,
    /// NIS domain name of the UTS namespace.
    pub domainname: String,
    /// Inode of each namespace by its name in `/proc/self/ns`.
    pub namespaces: BTreeMap<String, u64>,
    /// User id map of the user namespace.
    pub uid_map: Vec<IdMapping>,
    /// Group id map of the user namespace.
    pub gid_map: Vec<IdMapping>,
    /// `allow` or `deny`: whether setgroups(2) is permitted in the user namespace.
    pub setgroups: String,
    /// The mount table, in the kernel's order.
    pub mounts: Vec<Mount>,
    /// Open descriptors and what they refer to.
    pub fds: BTreeMap<i32, String>,
    /// Signal dispositions and mask.
    pub signals: Signals,
    /// OOM killer's score adjustment.
    pub oom_score_adj: i32,
    /// LSM label (AppArmor or SELinux); `None` where no module answers.
    pub label: Option<String>,
    /// Membership in each cgroup hierarchy.
    pub cgroups: Vec<CgroupMembership>,
    /// CPU scheduling attributes.
    pub scheduler: Scheduler,
    /// I/O priority.
    pub io_priority: IoPriority,
    /// Execution domain and flags. See personality(2).
    pub personality: u32,
    /// Hardware name, which depends on the execution domain. See uname(2).
    pub machine: String,
    /// NUMA policy; `None` where the kernel has none, or a filter hides it.
    pub memory_policy: Option<MemoryPolicy>,
    /// CPUs that the process may run on, in list format. See cpuset(7).
    pub cpus: String,
    /// Memory nodes that the process may allocate from, in list format.
    pub mems: String,
    /// Network interfaces of the network namespace.
    pub interfaces: BTreeMap<String, Interface>,
    /// Values of the sysctls asked for, by dotted name; `Err` carries the errno's name.
    pub sysctls: BTreeMap<String, Result<String, String>>,
    /// The paths asked for.
    pub paths: BTreeMap<String, PathReport>,
    /// What the system calls asked for returned: a number or the errno's name.
    pub calls: BTreeMap<String, String>,
    /// How attempts went, by their words (`read PATH`, `write PATH`, `node c MAJOR MINOR`); `Err` carries the errno's name.
    pub tries: BTreeMap<String, Result<(), String>>,
    /// Offsets of the time namespace by clock: seconds and nanoseconds; empty where the kernel has none.
    pub time_offsets: BTreeMap<String, (i64, i64)>,
    /// Size of the terminal on standard input; `None` if that is no terminal.
    pub terminal: Option<WindowSize>,
    /// What was on standard input, when asked for; a hook gets the container's state there.
    pub stdin: Option<String>,
    /// The process that the state on standard input names, if there is one.
    pub peer: Option<Peer>,
    /// Sources that could not be read, with the errno's name.
    pub unread: BTreeMap<String, String>,
}

impl Report {
    /// Reads a report, refusing one with unread sources: its defaults are not observations.
    pub fn parse(json: &str) -> Result<Report, ReportError> {
        let report = Report::parse_partial(json)?;
        match report.unread.iter().next() {
            Some((path, errno)) => Err(ReportError::Unread { path: path.clone(), errno: errno.clone() }),
            None => Ok(report),
        }
    }

    /// Reads a report that may have unread sources, for containers without `/proc`.
    pub fn parse_partial(json: &str) -> Result<Report, ReportError> {
        serde_json::from_str(json)
            .map_err(|source| ReportError::Malformed { source, text: json.chars().take(400).collect() })
    }

    /// The mount that covers `point`: the last one in the table, as a later mount hides an earlier one.
    pub fn mount(&self, point: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == point)
    }

    /// The facts about a path that was asked for, when there is a file.
    pub fn facts(&self, path: &str) -> Option<&PathFacts> {
        self.paths.get(path).and_then(PathReport::present)
    }

    /// Value of an environment variable; the first wins, as in getenv(3).
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v)
    }
}

/// Why a report cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The text is not a report.
    #[error("not a probe's report: {source}: {text:?}")]
    Malformed {
        /// What the JSON parser said.
        source: serde_json::Error,
        /// The beginning of the text.
        text: String,
    },
    /// The probe could not read one of its sources.
    #[error("the probe could not read {path}: {errno}")]
    Unread {
        /// The source.
        path: String,
        /// Name of the errno.
        errno: String,
    },
}

/// User or group ids of a process. See credentials(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ids {
    /// Who started the process.
    pub real: u32,
    /// Whose permissions count.
    pub effective: u32,
    /// What the process may switch back to.
    pub saved: u32,
    /// Used for file access.
    pub filesystem: u32,
}

impl Ids {
    /// All four ids equal, as they are after a container runtime switched user.
    pub const fn all(id: u32) -> Ids {
        Ids { real: id, effective: id, saved: id, filesystem: id }
    }
}

/// The capability sets of a thread. See capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Limit of what execve(2) can grant.
    pub bounding: Mask,
    /// What permission checks look at.
    pub effective: Mask,
    /// What survives execve(2) of a file with inheritable capabilities.
    pub inheritable: Mask,
    /// Limit of the effective set.
    pub permitted: Mask,
    /// What survives execve(2) of an ordinary file.
    pub ambient: Mask,
}

/// A resource limit; `u64::MAX` means unlimited. See getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The limit that is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

/// Signal state of the process; bit n-1 stands for signal n. See proc_pid_status(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// Held back until unblocked.
    pub blocked: Mask,
    /// Thrown away.
    pub ignored: Mask,
    /// Handled by a function; always empty right after execve(2).
    pub caught: Mask,
}

/// CPU scheduling attributes. See sched_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduler {
    /// Number of the policy: 0 OTHER, 1 FIFO, 2 RR, 3 BATCH, 5 IDLE, 6 DEADLINE.
    pub policy: u32,
    /// `SCHED_FLAG_` bits.
    pub flags: u64,
    /// Nice value of the ordinary policies.
    pub nice: i32,
    /// Static priority of the real-time policies.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub period: u64,
}

/// I/O priority. See ioprio_get(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IoPriority {
    /// 0 none, 1 real time, 2 best effort, 3 idle.
    pub class: u32,
    /// 0 highest to 7 lowest.
    pub level: u32,
}

/// A NUMA policy. See get_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// Number of the mode, with its `MPOL_F_` bits.
    pub mode: u32,
    /// The nodes that it names.
    pub nodes: Vec<u32>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Height in characters.
    pub rows: u16,
    /// Width in characters.
    pub columns: u16,
}

/// A container's process as a hook sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its process id, from the state.
    pub pid: i32,
    /// The argument vector that it has at this moment.
    pub args: Vec<String>,
    /// Inode of each of its namespaces by its name in `/proc/PID/ns`.
    pub namespaces: BTreeMap<String, u64>,
    /// Whether the bundle's path leads from its root to something, as it does until that root is changed.
    pub sees_bundle: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Interface {
    /// `IFF_` names, without the prefix.
    pub flags: Vec<String>,
    /// Internet addresses.
    pub addresses: Vec<String>,
}

/// What kind of file a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; it is not followed.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What the probe found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathReport {
    /// lstat(2) failed; the errno's name.
    Absent(String),
    /// There is a file.
    Present(PathFacts),
}

impl PathReport {
    /// The facts, when there is a file.
    pub fn present(&self) -> Option<&PathFacts> {
        match self {
            PathReport::Present(facts) => Some(facts),
            PathReport::Absent(_) => None,
        }
    }
}

/// Facts about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFacts {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Owner, in the container's user namespace.
    pub uid: u32,
    /// Group, in the container's user namespace.
    pub gid: u32,
    /// Major and minor number of a device.
    pub device: Option<(u64, u64)>,
    /// Size in bytes.
    pub size: u64,
    /// Target of a symbolic link.
    pub target: Option<String>,
    /// First bytes of a file or names in a directory, sorted; or the errno's name.
    pub content: Result<Content, String>,
    /// Whether access(2) grants writing; or the errno's name (`EROFS` on a read-only mount).
    pub write: Result<(), String>,
}

/// What reading a path gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Not read: a device, pipe, socket or link, where reading can block or has effects.
    Unread,
    /// The first bytes of a file, made valid UTF-8.
    Bytes(String),
    /// The names in a directory.
    Names(Vec<String>),
}

impl PathFacts {
    /// Whether nothing can be learnt by reading: an empty file or directory, the null device, or an error.
    pub fn reveals_nothing(&self) -> bool {
        match &self.content {
            Err(_) => true,
            Ok(Content::Bytes(text)) => text.is_empty(),
            Ok(Content::Names(names)) => names.is_empty(),
            Ok(Content::Unread) => self.device == Some((1, 3)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_round_trip_through_json() {
        let mut report = Report { pid: 1, hostname: "h".into(), ..Report::default() };
        report.sysctls.insert("kernel.msgmax".into(), Err("ENOENT".into()));
        report.capabilities.bounding = Mask(u64::MAX);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(Report::parse(&json).unwrap(), report);
    }

    #[test]
    fn a_report_with_an_unread_source_is_refused() {
        let mut report = Report::default();
        report.unread.insert("/proc/self/status".into(), "ENOENT".into());
        let json = serde_json::to_string(&report).unwrap();
        assert!(matches!(Report::parse(&json), Err(ReportError::Unread { .. })));
        assert!(Report::parse_partial(&json).is_ok());
    }

    #[test]
    fn the_first_of_two_equal_variables_wins() {
        let report = Report { env: vec!["A".into(), "B=1".into(), "B=2".into()], ..Report::default() };
        assert_eq!(report.variable("B"), Some("1"));
        assert_eq!(report.variable("A"), None);
    }
}
