//! Fills in the report: from system calls where they are enough, else from procfs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::utsname::uname;
use spec_conformance::report::proc_text::{self, status_field};
use spec_conformance::report::{Capabilities, Ids, Interface, Mask, Peer, Report, Rlimit, Signals};

use crate::{paths, sys};

/// What the command line asks for beyond the fixed fields.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) out: Option<PathBuf>,
    pub(crate) stdin: bool,
    pub(crate) sysctls: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) calls: Vec<String>,
    pub(crate) tries: Vec<Try>,
}

/// Something to be tried.
#[derive(Debug, Clone)]
pub(crate) enum Try {
    /// Opening a path for reading.
    Read(String),
    /// Opening a path for writing.
    Write(String),
    /// Making a device: its type, major and minor number.
    Node(String),
}

pub(crate) fn report(question: &Question) -> io::Result<Report> {
    let mut report = Report::default();
    let mut sources = Sources::default();
    // Descriptors first: nothing of ours is open yet.
    report.fds = sources.descriptors();
    identity(&mut report);
    from_status(&mut report, &mut sources);
    from_procfs(&mut report, &mut sources);
    system_calls(&mut report, &mut sources);
    for name in &question.sysctls {
        report.sysctls.insert(name.clone(), sysctl(name));
    }
    for path in &question.paths {
        report.paths.insert(path.clone(), paths::look(path));
    }
    for call in &question.calls {
        report.calls.insert(call.clone(), crate::obey::answer(call));
    }
    for attempt in &question.tries {
        let (name, result) = paths::attempt(attempt);
        report.tries.insert(name, result.map_err(|error| sys::errno_name(&error)));
    }
    if question.stdin {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        report.peer = peer(&text);
        report.stdin = Some(text);
    }
    report.unread = sources.unread;
    Ok(report)
}

/// Reads procfs, and keeps account of what could not be read.
#[derive(Debug, Default)]
struct Sources {
    unread: BTreeMap<String, String>,
}

impl Sources {
    fn failed(&mut self, source: &str, why: &str) {
        self.unread.insert(source.to_owned(), why.to_owned());
    }

    /// A file's text parsed; the default value, on record, where that fails.
    fn parsed<T: Default>(&mut self, path: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> T {
        let value = fs::read(path).map_err(|error| sys::errno_name(&error));
        match value.and_then(|bytes| parse(&bytes).ok_or_else(|| "malformed".to_owned())) {
            Ok(value) => value,
            Err(why) => {
                self.failed(path, &why);
                T::default()
            }
        }
    }

    fn text<T: Default>(&mut self, path: &str, parse: impl FnOnce(&str) -> Option<T>) -> T {
        self.parsed(path, |bytes| parse(std::str::from_utf8(bytes).ok()?))
    }

    /// The directory's own descriptor is in the listing, and is gone when its link is read.
    fn descriptors(&mut self) -> BTreeMap<i32, String> {
        const DIRECTORY: &str = "/proc/self/fd";
        let names = match fs::read_dir(DIRECTORY).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries.iter().map(fs::DirEntry::file_name).collect::<Vec<_>>(),
            Err(error) => {
                self.failed(DIRECTORY, &sys::errno_name(&error));
                return BTreeMap::new();
            }
        };
        let open = names.iter().filter_map(|name| {
            let target = fs::read_link(PathBuf::from(DIRECTORY).join(name)).ok()?;
            Some((name.to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
        });
        open.collect()
    }

    fn namespaces(&mut self) -> BTreeMap<String, u64> {
        const DIRECTORY: &str = "/proc/self/ns";
        namespaces(Path::new(DIRECTORY)).unwrap_or_else(|_| {
            self.failed(DIRECTORY, "unreadable");
            BTreeMap::new()
        })
    }
}

/// The process of the container whose state this is, as far as it can be seen from here.
fn peer(state: &str) -> Option<Peer> {
    let state: serde_json::Value = serde_json::from_str(state).ok()?;
    let pid = i32::try_from(state["pid"].as_i64()?).ok()?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    let args = fs::read(process.join("cmdline")).ok()?;
    let bundle = state["bundle"].as_str()?.trim_start_matches('/');
    Some(Peer {
        pid,
        args: proc_text::nul_separated(&args),
        namespaces: namespaces(&process.join("ns")).unwrap_or_default(),
        sees_bundle: process.join("root").join(bundle).exists(),
    })
}

fn namespaces(directory: &Path) -> io::Result<BTreeMap<String, u64>> {
    let inode = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().into_string().ok()?, proc_text::namespace_inode(link.to_str()?)?))
    };
    Ok(fs::read_dir(directory)?.flatten().filter_map(inode).collect())
}

fn identity(report: &mut Report) {
    report.pid = i32::try_from(std::process::id()).unwrap_or_default();
    report.cwd = std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    report.args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    report.groups =
        nix::unistd::getgroups().map(|all| all.iter().map(|gid| gid.as_raw()).collect()).unwrap_or_default();
    let mask = umask(Mode::empty());
    umask(mask);
    report.umask = mask.bits();
}

fn from_status(report: &mut Report, sources: &mut Sources) {
    const STATUS: &str = "/proc/self/status";
    let status: String = sources.text(STATUS, |text| Some(text.to_owned()));
    if status.is_empty() {
        return;
    }
    let mut field = |name: &str| match status_field(&status, name) {
        Some(value) => value,
        None => {
            sources.failed(&format!("{STATUS} {name}"), "absent");
            ""
        }
    };
    let mut mask = |name: &str| Mask::parse(field(name)).unwrap_or_default();
    report.capabilities = Capabilities {
        bounding: mask("CapBnd"),
        effective: mask("CapEff"),
        inheritable: mask("CapInh"),
        permitted: mask("CapPrm"),
        ambient: mask("CapAmb"),
    };
    report.signals = Signals { blocked: mask("SigBlk"), ignored: mask("SigIgn"), caught: mask("SigCgt") };
    report.uid = ids(field("Uid"));
    report.gid = ids(field("Gid"));
    report.no_new_privs = field("NoNewPrivs") == "1";
    report.seccomp = field("Seccomp").parse().unwrap_or_default();
    report.cpus = field("Cpus_allowed_list").to_owned();
    report.mems = field("Mems_allowed_list").to_owned();
    // Since Linux 5.9; without seccomp in the kernel there is none.
    report.seccomp_filters =
        status_field(&status, "Seccomp_filters").and_then(|n| n.parse().ok()).unwrap_or_default();
}

/// The four numbers of a `Uid` or `Gid` line.
fn ids(line: &str) -> Ids {
    let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap_or(u32::MAX));
    let mut next = || numbers.next().unwrap_or(u32::MAX);
    Ids { real: next(), effective: next(), saved: next(), filesystem: next() }
}

fn from_procfs(report: &mut Report, sources: &mut Sources) {
    if let Some(stat) = sources.text("/proc/self/stat", |text| proc_text::stat(text).map(Some)) {
        (report.ppid, report.pgid, report.sid, report.tty) = (stat.ppid, stat.pgid, stat.sid, stat.tty);
    }
    report.env = sources.parsed("/proc/self/environ", |bytes| Some(proc_text::nul_separated(bytes)));
    report.mounts = sources.text("/proc/self/mountinfo", proc_text::mountinfo);
    report.uid_map = sources.text("/proc/self/uid_map", proc_text::id_map);
    report.gid_map = sources.text("/proc/self/gid_map", proc_text::id_map);
    report.setgroups = sources.text("/proc/self/setgroups", |text| Some(text.trim().to_owned()));
    report.cgroups = sources.text("/proc/self/cgroup", proc_text::cgroups);
    report.oom_score_adj = sources.text("/proc/self/oom_score_adj", |text| text.trim().parse().ok());
    report.personality =
        sources.text("/proc/self/personality", |text| u32::from_str_radix(text.trim(), 16).ok());
    report.namespaces = sources.namespaces();
    // Since Linux 5.6; without time namespaces there is none.
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    report.time_offsets = proc_text::time_offsets(&offsets).unwrap_or_default();
    // Without an LSM that labels processes, reading fails with EINVAL: that is "no label", not a failure.
    report.label = fs::read_to_string("/proc/self/attr/current")
        .ok()
        .map(|label| label.trim_end_matches(['\0', '\n']).to_owned())
        .filter(|label| !label.is_empty());
}

fn system_calls(report: &mut Report, sources: &mut Sources) {
    match uname() {
        Ok(names) => {
            report.hostname = names.nodename().to_string_lossy().into_owned();
            report.domainname = names.domainname().to_string_lossy().into_owned();
            report.machine = names.machine().to_string_lossy().into_owned();
        }
        Err(errno) => sources.failed("uname(2)", &format!("{errno:?}")),
    }
    match sys::scheduler() {
        Ok(scheduler) => report.scheduler = scheduler,
        Err(errno) => sources.failed("sched_getattr(2)", &format!("{errno:?}")),
    }
    match sys::io_priority() {
        Ok(priority) => report.io_priority = priority,
        Err(errno) => sources.failed("ioprio_get(2)", &format!("{errno:?}")),
    }
    report.terminal = sys::window_size();
    report.memory_policy = sys::memory_policy().ok();
    for (name, resource) in RESOURCES {
        match getrlimit(resource) {
            Ok((soft, hard)) => {
                report.rlimits.insert(name.to_owned(), Rlimit { soft, hard });
            }
            Err(errno) => sources.failed(name, &format!("{errno:?}")),
        }
    }
    match getifaddrs() {
        Ok(addresses) => report.interfaces = interfaces(addresses),
        Err(errno) => sources.failed("getifaddrs(3)", &format!("{errno:?}")),
    }
}

fn interfaces(all: nix::ifaddrs::InterfaceAddressIterator) -> BTreeMap<String, Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for each in all {
        let entry = found.entry(each.interface_name).or_default();
        entry.flags =
            each.flags.iter_names().map(|(name, _)| name.trim_start_matches("IFF_").to_owned()).collect();
        let Some(address) = each.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            entry.addresses.push(v4.ip().to_string());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            entry.addresses.push(v6.ip().to_string());
        }
    }
    found
}

/// Accepts the dotted name or the path below `/proc/sys`, as sysctl(8) does.
fn sysctl(name: &str) -> Result<String, String> {
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    match fs::read_to_string(format!("/proc/sys/{path}")) {
        Ok(value) => Ok(value.trim().to_owned()),
        Err(error) => Err(sys::errno_name(&error)),
    }
}

const RESOURCES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::RLIMIT_AS),
    ("RLIMIT_CORE", Resource::RLIMIT_CORE),
    ("RLIMIT_CPU", Resource::RLIMIT_CPU),
    ("RLIMIT_DATA", Resource::RLIMIT_DATA),
    ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", Resource::RLIMIT_NICE),
    ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
    ("RLIMIT_RSS", Resource::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", Resource::RLIMIT_STACK),
];
