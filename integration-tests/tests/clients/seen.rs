//! What the probe reports, compared with what the config asks, area by area.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use spec_conformance::Report;
use spec_conformance::report::proc_text::{self, namespace_inode, status_field};
use spec_conformance::report::{Ids, Kind, Mask, Mount, PathReport, Rlimit};

pub(crate) const DEFAULT_DEVICES: [(&str, (u64, u64)); 6] = [
    ("/dev/null", (1, 3)),
    ("/dev/zero", (1, 5)),
    ("/dev/full", (1, 7)),
    ("/dev/random", (1, 8)),
    ("/dev/urandom", (1, 9)),
    ("/dev/tty", (5, 0)),
];

pub(crate) const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// The namespaces of a config, of `/proc/PID/ns`, and of unshare(2).
pub(crate) const NAMESPACES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// What the config does not say: what is so outside.
pub(crate) struct Outside {
    pub(crate) namespaces: BTreeMap<String, u64>,
    pub(crate) hostname: String,
    /// The host's id for id 0 of the runtime's user namespace.
    pub(crate) first_id: u64,
}

impl Outside {
    /// As this process sees it.
    pub(crate) fn own() -> Outside {
        let inode = |name: &str| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            (name.to_owned(), namespace_inode(link.to_str().unwrap()).unwrap())
        };
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
        Outside {
            namespaces: NAMESPACES.iter().map(|(_, name)| inode(name)).collect(),
            hostname,
            first_id: 0,
        }
    }
}

pub(crate) fn kernel_name(kind: &str) -> &'static str {
    NAMESPACES.iter().find(|(name, _)| *name == kind).unwrap().1
}

pub(crate) fn strings<'a>(config: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = config.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
}

pub(crate) fn list<'a>(config: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    config.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The limits that can be read in the cgroup's files, as this host has them: all in the one hierarchy of version 2,
/// or each in that of its version 1 controller.
pub(crate) fn limits(config: &Value, pid: i32) {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let membership = proc_text::cgroups(&membership).unwrap();
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let read = |controller: &str, file: &str| {
        let path = if unified {
            format!("/sys/fs/cgroup{}/{file}", membership[0].path)
        } else {
            let found = membership.iter().find(|m| m.controllers.iter().any(|c| c == controller)).unwrap();
            format!("/sys/fs/cgroup/{controller}{}/{file}", found.path)
        };
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    };
    let resources = &config["linux"]["resources"];
    let asked = |pointer: &str| resources.pointer(pointer).map(Value::to_string);
    if unified {
        let period = asked("/cpu/period");
        let cpu =
            asked("/cpu/quota").map(|quota| format!("{quota} {}", period.as_deref().unwrap_or("100000")));
        let files =
            [(asked("/memory/limit"), "memory.max"), (cpu, "cpu.max"), (asked("/pids/limit"), "pids.max")];
        for (value, file) in files {
            assert!(value.is_none_or(|value| value == read("", file)), "{file}: {}", read("", file));
        }
    } else {
        let files = [
            ("/memory/limit", "memory", "memory.limit_in_bytes"),
            ("/cpu/shares", "cpu", "cpu.shares"),
            ("/cpu/quota", "cpu", "cpu.cfs_quota_us"),
            ("/cpu/period", "cpu", "cpu.cfs_period_us"),
            ("/pids/limit", "pids", "pids.max"),
        ];
        for (pointer, controller, file) in files {
            assert!(asked(pointer).is_none_or(|value| value == read(controller, file)), "{pointer}");
        }
    }
    if config["linux"].get("cgroupsPath").is_none() {
        return;
    }
    let path = config["linux"]["cgroupsPath"].as_str().unwrap();
    for own in &membership {
        assert!(own.path.ends_with(path), "{own:?} is not {path}");
    }
    if unified {
        // Its devices are ruled by a program, which shows no list.
        return;
    }
    // Each rule allows or denies what came before: what is last about a device counts.
    let allows_all = list(config, "/linux/resources/devices")
        .filter(|rule| rule.get("type").is_none_or(|kind| kind == "a") && rule.get("major").is_none())
        .last()
        .is_some_and(|rule| rule["allow"] == true);
    let listed = read("devices", "devices.list");
    assert_eq!(listed.contains("a *:* rwm"), allows_all, "{listed}");
    assert!(allows_all || listed.contains("c 1:3 rwm"), "{listed}");
}

/// What the process is: credentials, limits, environment.
pub(crate) fn process(config: &Value, report: &Report) {
    let process = &config["process"];
    let user = &process["user"];
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap_or(0)).unwrap();
    assert_eq!(report.pid, 1);
    assert_eq!(report.uid, Ids::all(number(&user["uid"])));
    assert_eq!(report.gid, Ids::all(number(&user["gid"])));
    let groups: BTreeSet<u32> = list(config, "/process/user/additionalGids").map(number).collect();
    assert_eq!(report.groups, groups.into_iter().collect::<Vec<_>>());
    assert_eq!(report.umask, user.get("umask").map_or(0o022, number));
    assert_eq!(report.cwd, process["cwd"].as_str().unwrap());
    let asked = strings(config, "/process/env");
    assert_eq!(report.env[..asked.len()], asked);
    let added: Vec<&String> = report.env[asked.len()..].iter().collect();
    let brings_home = asked.iter().any(|entry| entry.starts_with("HOME="));
    assert!(added.len() == usize::from(!brings_home), "{added:?}");
    assert!(added.iter().all(|entry| entry.starts_with("HOME=/")), "{added:?}");
    capabilities(config, report);
    assert_eq!(report.no_new_privs, process["noNewPrivileges"] == true);
    let filtered = config["linux"].get("seccomp").is_some();
    assert_eq!((report.seccomp, report.seccomp_filters), if filtered { (2, 1) } else { (0, 0) });
    for limit in list(config, "/process/rlimits") {
        let expected =
            Rlimit { soft: limit["soft"].as_u64().unwrap(), hard: limit["hard"].as_u64().unwrap() };
        assert_eq!(report.rlimits[limit["type"].as_str().unwrap()], expected);
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let score = process.get("oomScoreAdj").map_or(own.trim().to_owned(), Value::to_string);
    assert_eq!(report.oom_score_adj.to_string(), score);
    assert_eq!(report.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{:?}", report.fds);
    assert_eq!(report.signals.blocked, Mask(0));
    assert_eq!(report.signals.ignored, Mask(0));
    assert_eq!(report.sid, 1);
}

fn capabilities(config: &Value, report: &Report) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    // In a new user namespace, a process has those too that it lacks outside.
    let own = match config["linux"].get("uidMappings") {
        Some(_) => Mask(u64::MAX),
        None => Mask::parse(status_field(&status, "CapBnd").unwrap()).unwrap(),
    };
    let asked = |set: &str| {
        let names = strings(config, &format!("/process/capabilities/{set}"));
        Mask(Mask::of_capabilities(&names).unwrap().0 & own.0)
    };
    assert_eq!(report.capabilities.bounding, asked("bounding"));
    assert_eq!(report.capabilities.effective, asked("effective"));
    assert_eq!(report.capabilities.permitted, asked("permitted"));
    assert_eq!(report.capabilities.inheritable, asked("inheritable"));
    assert_eq!(report.capabilities.ambient, asked("ambient"));
}

pub(crate) fn namespaces(config: &Value, report: &Report, outside: &Outside) {
    for (kind, file) in NAMESPACES {
        let own = report.namespaces[file];
        match list(config, "/linux/namespaces").find(|namespace| namespace["type"] == kind) {
            None => assert_eq!(own, outside.namespaces[file], "{kind} is not the caller's"),
            Some(namespace) => match namespace.get("path").and_then(Value::as_str) {
                None => assert_ne!(own, outside.namespaces[file], "{kind} is the caller's"),
                Some(path) => {
                    let link = fs::read_link(path).unwrap();
                    assert_eq!(Some(own), namespace_inode(link.to_str().unwrap()), "{kind} is not {path}");
                }
            },
        }
    }
    let hostname = config["hostname"].as_str().unwrap_or(&outside.hostname);
    assert_eq!(report.hostname, hostname);
    for (name, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let seen = report.sysctls[name].as_ref().unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(seen), words(value.as_str().unwrap()), "{name}");
    }
    for (pointer, seen) in [("/linux/uidMappings", &report.uid_map), ("/linux/gidMappings", &report.gid_map)]
    {
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let map = |map: &Value| (number(&map["containerID"]), number(&map["hostID"]), number(&map["size"]));
        let asked: Vec<_> = list(config, pointer).map(map).collect();
        if !asked.is_empty() {
            assert_eq!(seen.iter().map(|m| (m.inside, m.outside, m.size)).collect::<Vec<_>>(), asked);
        }
    }
}

pub(crate) fn mounts(config: &Value, report: &Report, outside: &Outside) {
    for mount in list(config, "/mounts") {
        let point = mount["destination"].as_str().unwrap();
        let seen = report.mount(point).unwrap_or_else(|| panic!("nothing is mounted on {point}"));
        let options: Vec<&str> = list(mount, "/options").map(|option| option.as_str().unwrap()).collect();
        let is_bind = options.iter().any(|option| ["bind", "rbind"].contains(option));
        match mount["type"].as_str() {
            _ if is_bind => {}
            // A tree of version 1 hierarchies stands on a tmpfs.
            Some("cgroup") => assert!(["tmpfs", "cgroup2"].contains(&seen.fstype.as_str()), "{seen:?}"),
            kind => assert_eq!(Some(seen.fstype.as_str()), kind, "{point}"),
        }
        for option in &options {
            match option.strip_prefix("gid=") {
                // The kernel prints the host's number.
                Some(gid) => {
                    let gid = outside.first_id + host_gid(config, gid.parse().unwrap());
                    assert!(seen.super_options.contains(&format!("gid={gid}")), "{option}: {seen:?}");
                }
                None => check_option(option, seen),
            }
        }
        let read_only = options.contains(&"ro");
        assert_eq!(seen.has("ro"), read_only, "{seen:?}");
    }
}

/// The id outside of the container for a group inside.
fn host_gid(config: &Value, gid: u64) -> u64 {
    let number = |map: &Value, key: &str| map[key].as_u64().unwrap();
    let maps: Vec<&Value> = list(config, "/linux/gidMappings").collect();
    let holds = |map: &Value| {
        (number(map, "containerID")..number(map, "containerID") + number(map, "size")).contains(&gid)
    };
    match maps.iter().find(|map| holds(map)) {
        Some(map) => gid - number(map, "containerID") + number(map, "hostID"),
        None => gid,
    }
}

fn check_option(option: &str, seen: &Mount) {
    let has = |wanted: &str| seen.super_options.iter().any(|own| own == wanted);
    match option.split_once('=').unwrap_or((option, "")) {
        ("nosuid" | "nodev" | "noexec" | "relatime", _) => assert!(seen.has(option), "{option}: {seen:?}"),
        ("strictatime", _) => assert!(!seen.has("relatime") && !seen.has("noatime"), "{seen:?}"),
        ("rprivate" | "private", _) => assert!(seen.propagation.is_empty(), "{seen:?}"),
        ("size", size) => {
            let kib = size.strip_suffix('k').map(str::to_owned);
            let kib = kib.unwrap_or_else(|| (size.parse::<u64>().unwrap() / 1024).to_string());
            assert!(has(&format!("size={kib}k")), "{option}: {seen:?}");
        }
        // Printed without a leading zero, and not at all where it is what a tmpfs has anyway.
        ("mode" | "ptmxmode", "1777") => {
            assert!(!seen.super_options.iter().any(|o| o.starts_with("mode=")), "{seen:?}")
        }
        (name @ ("mode" | "ptmxmode"), value) => {
            assert!(has(&format!("{name}={}", value.trim_start_matches('0'))), "{option}: {seen:?}");
        }
        ("ro" | "rw" | "bind" | "rbind" | "newinstance", _) => {}
        other => panic!("the test does not know the option {other:?}"),
    }
}

pub(crate) fn devices(config: &Value, report: &Report) {
    let number = |device: &Value, key: &str| device[key].as_u64().unwrap();
    let listed = list(config, "/linux/devices").map(|device| {
        let kind = if device["type"] == "b" { Kind::Block } else { Kind::Character };
        (
            device["path"].as_str().unwrap(),
            kind,
            (number(device, "major"), number(device, "minor")),
            Some(device),
        )
    });
    let default = DEFAULT_DEVICES.iter().map(|(path, numbers)| (*path, Kind::Character, *numbers, None));
    // Of its own devpts, as every runtime has it, whatever the config lists.
    let all = listed.chain(default).filter(|(path, ..)| *path != "/dev/ptmx");
    for (path, kind, numbers, asked) in all {
        let seen = report.paths[path].present().unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!((seen.kind, seen.device), (kind, Some(numbers)), "{path}");
        if let Some(asked) = asked {
            let owner = (u64::from(seen.uid), u64::from(seen.gid));
            assert_eq!(owner, (number(asked, "uid"), number(asked, "gid")), "{path}");
            assert_eq!(u64::from(seen.mode), number(asked, "fileMode") & 0o7777, "{path}");
        }
    }
    for (path, target) in LINKS {
        assert_eq!(report.paths[path].present().unwrap().target.as_deref(), Some(target), "{path}");
    }
    assert_eq!(report.paths["/dev/ptmx"].present().unwrap().target.as_deref(), Some("pts/ptmx"));
}

pub(crate) fn hidden(config: &Value, report: &Report) {
    for path in strings(config, "/linux/maskedPaths") {
        if let PathReport::Present(seen) = &report.paths[path] {
            assert!(seen.reveals_nothing(), "{path}: {seen:?}");
        }
    }
    for path in strings(config, "/linux/readonlyPaths") {
        if report.paths[path].present().is_some() {
            let mount = report.mount(path).unwrap_or_else(|| panic!("{path} is no mount of its own"));
            assert!(mount.has("ro"), "{mount:?}");
        }
    }
    // The configs would prove little on a host where none of their paths exists.
    let present = strings(config, "/linux/maskedPaths")
        .iter()
        .filter(|p| report.paths[**p].present().is_some())
        .count();
    assert!(present > 2 || config["linux"].get("maskedPaths").is_none(), "only {present} masked paths exist");
}
