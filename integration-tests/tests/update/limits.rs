//! The limits that a container has, and flags of `update` that change them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use integration_tests::{Stage, UNIFIED};
use serde_json::Value;
use spec_conformance::{Finished, Runtime};

/// A file, and what it holds after each of two values; empty if another test looks at that.
pub(crate) type Held = (&'static str, [&'static str; 2]);

/// A flag, two values for it, and the files that may change, with what they hold then.
pub(crate) const FLAGS: &[(&str, [&str; 2], &[Held])] = &[
    (
        "--memory",
        ["96m", "64m"],
        &[("memory.limit_in_bytes", ["100663296", "67108864"]), ("memory.max", ["100663296", "67108864"])],
    ),
    (
        "--memory-reservation",
        ["4m", "-1"],
        &[
            ("memory.soft_limit_in_bytes", ["4194304", "9223372036854771712"]),
            ("memory.low", ["4194304", "max"]),
        ],
    ),
    (
        "--memory-swap",
        ["200m", "300m"],
        &[("memory.memsw.limit_in_bytes", ["209715200", "314572800"]), ("memory.swap.max", ["", ""])],
    ),
    ("--kernel-memory-tcp", ["8m", "9m"], &[("memory.kmem.tcp.limit_in_bytes", ["8388608", "9437184"])]),
    ("--cpu-share", ["512", "2048"], &[("cpu.shares", ["512", "2048"]), ("cpu.weight", ["59", "174"])]),
    ("--cpu-quota", ["60000", "70000"], &[("cpu.cfs_quota_us", ["60000", "70000"]), ("cpu.max", ["", ""])]),
    ("--cpu-period", ["90000", "80000"], &[("cpu.cfs_period_us", ["90000", "80000"]), ("cpu.max", ["", ""])]),
    ("--cpu-burst", ["1000", "0"], &[("cpu.cfs_burst_us", ["1000", "0"]), ("cpu.max.burst", ["1000", "0"])]),
    ("--cpuset-cpus", ["0", "0"], &[("cpuset.cpus", ["0", "0"])]),
    ("--cpuset-mems", ["0", "0"], &[("cpuset.mems", ["0", "0"])]),
    ("--pids-limit", ["500", "-1"], &[("pids.max", ["500", "max"])]),
    (
        "--blkio-weight",
        ["200", "300"],
        &[
            ("blkio.bfq.weight_device", ["", ""]),
            ("blkio.bfq.weight", ["200", "300"]),
            ("io.bfq.weight", ["", ""]),
            ("io.weight", ["default 1920", "default 2930"]),
        ],
    ),
];

pub(crate) fn update(runtime: &Runtime, id: &str, flags: &[&str]) -> Finished {
    runtime.call([&["update"], flags, &[id]].concat()).unwrap()
}

/// `update` with this document on its standard input.
pub(crate) fn update_with(runtime: &Runtime, id: &str, document: &Value) -> Finished {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), document.to_string()).unwrap();
    let mut command = runtime.command(["update", "--resources=-", id]);
    command.stdin(File::open(file.path()).unwrap());
    runtime.finish(command).unwrap()
}

/// The cgroup directories of a container, as the runtime remembers them.
pub(crate) fn directories(runtime: &Runtime, id: &str) -> Vec<PathBuf> {
    let text = fs::read(runtime.root().join(id).join("record.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    let path = |cgroup: &Value| PathBuf::from(cgroup["path"].as_str().unwrap());
    record["cgroups"].as_array().unwrap().iter().map(path).collect()
}

/// Every file of a container's cgroups that can be written and read: each limit, by its name. One is another name of a
/// second: cpu.weight.nice.
pub(crate) fn limits(stage: &Stage, runtime: &Runtime, id: &str) -> BTreeMap<String, String> {
    let list =
        directories(runtime, id).iter().map(|d| format!("'{}'", d.display())).collect::<Vec<_>>().join(" ");
    let script = format!(
        "grep -s '' $(find {list} -maxdepth 1 -type f -perm -600 \
         ! -name '*procs' ! -name tasks ! -name '*max_usage*' ! -name '*peak' ! -name '*usage*' ! -name '*failcnt' \
         ! -name '*pressure' ! -name '*stat' ! -name '*reset*' ! -name cpu.weight.nice) || true"
    );
    let mut held = BTreeMap::new();
    for line in stage.shell(&script).lines() {
        let (path, text) = line.split_once(':').unwrap();
        let (_, file) = path.rsplit_once('/').unwrap();
        let all: &mut String = held.entry(file.to_owned()).or_default();
        let separator = if all.is_empty() { "" } else { ";" };
        all.push_str(&format!("{separator}{text}"));
    }
    held
}

/// The hosts that this one can be.
pub(crate) fn stages() -> [Stage; 2] {
    [Stage::new(":"), Stage::new(UNIFIED)]
}

/// Limits for everything that the host has, to begin with.
pub(crate) fn limit_all(runtime: &Runtime, id: &str, have: &BTreeMap<String, String>) {
    let has = |v1: &str, v2: &str| have.contains_key(v1) || have.contains_key(v2);
    let mut flags = Vec::new();
    if has("memory.limit_in_bytes", "memory.max") {
        flags.extend(["--memory", "128m", "--memory-swap", "256m", "--memory-reservation", "8m"]);
    }
    if has("cpu.shares", "cpu.weight") {
        flags.extend(["--cpu-share", "333", "--cpu-quota", "50000", "--cpu-period", "100000"]);
    }
    if has("pids.max", "pids.max") {
        flags.extend(["--pids-limit", "99"]);
    }
    update(runtime, id, &flags).success().unwrap();
}

/// Which of the flags this host has files for.
pub(crate) fn usable(have: &BTreeMap<String, String>) -> Vec<usize> {
    let has = |i: &usize| FLAGS[*i].2.iter().any(|(file, _)| have.contains_key(*file));
    (0..FLAGS.len()).filter(has).collect()
}
