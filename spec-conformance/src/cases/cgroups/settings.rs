//! The limits that are tried: how each is configured, and which file of the kernel then says what.

use std::fs;

use serde_json::{Value, json};

/// A setting, and what a file then says, in either version.
pub(super) struct Setting {
    pub(super) id: &'static str,
    pub(super) resources: Value,
    pub(super) controller: (&'static str, &'static str),
    pub(super) legacy: Option<(&'static str, String)>,
    pub(super) unified: Option<(&'static str, String)>,
}

impl Setting {
    fn new(
        id: &'static str,
        resources: Value,
        controller: &'static str,
        legacy: (&'static str, &str),
        unified: (&'static str, &str),
    ) -> Setting {
        let file = |(name, text): (&'static str, &str)| (!name.is_empty()).then(|| (name, text.to_owned()));
        let names = match controller {
            "blkio" => ("blkio", "io"),
            same => (same, same),
        };
        Setting { id, resources, controller: names, legacy: file(legacy), unified: file(unified) }
    }
}

const NONE: (&str, &str) = ("", "");

/// All of them.
pub(super) fn settings() -> Vec<Setting> {
    let mut all = vec![
        Setting::new(
            "config-linux.memory.limit",
            json!({"memory": {"limit": 67_108_864}}),
            "memory",
            ("memory.limit_in_bytes", "67108864"),
            ("memory.max", "67108864"),
        ),
        Setting::new(
            "config-linux.memory.reservation",
            json!({"memory": {"reservation": 33_554_432}}),
            "memory",
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.low", "33554432"),
        ),
        Setting::new(
            "config-linux.memory.swap",
            json!({"memory": {"limit": 67_108_864, "swap": 100_663_296}}),
            "memory",
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.swap.max", "33554432"),
        ),
        Setting::new(
            "config-linux.memory.swappiness",
            json!({"memory": {"swappiness": 30}}),
            "memory",
            ("memory.swappiness", "30"),
            NONE,
        ),
        Setting::new(
            "config-linux.memory.oom-killer",
            json!({"memory": {"disableOOMKiller": true}}),
            "memory",
            ("memory.oom_control", "oom_kill_disable 1"),
            NONE,
        ),
        Setting::new(
            "config-linux.pids.limit",
            json!({"pids": {"limit": 117}}),
            "pids",
            ("pids.max", "117"),
            ("pids.max", "117"),
        ),
        Setting::new(
            "config-linux.pids.limit",
            json!({"pids": {"limit": -1}}),
            "pids",
            ("pids.max", "max"),
            ("pids.max", "max"),
        ),
    ];
    all.extend(cpu());
    all.extend(devices());
    all
}

fn cpu() -> Vec<Setting> {
    let quota = json!({"cpu": {"quota": 20000, "period": 40000}});
    let burst = json!({"cpu": {"quota": 20000, "period": 40000, "burst": 10000}});
    vec![
        // Version 2 counts in another unit; the default there is 100.
        Setting::new(
            "config-linux.cpu.shares",
            json!({"cpu": {"shares": 512}}),
            "cpu",
            ("cpu.shares", "512"),
            ("cpu.weight", "not 100"),
        ),
        Setting::new(
            "config-linux.cpu.quota",
            quota.clone(),
            "cpu",
            ("cpu.cfs_quota_us", "20000"),
            ("cpu.max", "20000 40000"),
        ),
        Setting::new(
            "config-linux.cpu.period",
            quota,
            "cpu",
            ("cpu.cfs_period_us", "40000"),
            ("cpu.max", "20000 40000"),
        ),
        Setting::new(
            "config-linux.cpu.burst",
            burst,
            "cpu",
            ("cpu.cfs_burst_us", "10000"),
            ("cpu.max.burst", "10000"),
        ),
        Setting::new(
            "config-linux.cpu.idle",
            json!({"cpu": {"idle": 1}}),
            "cpu",
            ("cpu.idle", "1"),
            ("cpu.idle", "1"),
        ),
        Setting::new(
            "config-linux.cpu.cpus",
            json!({"cpu": {"cpus": "0"}}),
            "cpuset",
            ("cpuset.cpus", "0"),
            ("cpuset.cpus", "0"),
        ),
        Setting::new(
            "config-linux.cpu.mems",
            json!({"cpu": {"mems": "0"}}),
            "cpuset",
            ("cpuset.mems", "0"),
            ("cpuset.mems", "0"),
        ),
    ]
}

/// What is about block devices, huge pages and the network.
fn devices() -> Vec<Setting> {
    let mut all = vec![
        Setting::new(
            "config-linux.block-io.group-weight",
            json!({"blockIO": {"weight": 300}}),
            "blkio",
            ("blkio.weight", "300"),
            ("io.weight", "not default 100"),
        ),
        Setting::new(
            "config-linux.network.class",
            json!({"network": {"classID": 1_048_577}}),
            "net_cls",
            ("net_cls.classid", "1048577"),
            NONE,
        ),
    ];
    for id in ["config-linux.network.name", "config-linux.network.priority"] {
        let priorities = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
        all.push(Setting::new(id, priorities, "net_prio", ("net_prio.ifpriomap", "lo 5"), NONE));
    }
    all.extend(block_device().into_iter().flat_map(throttles));
    let page = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
    for id in ["config-linux.huge-page-limits.size", "config-linux.huge-page-limits.limit"] {
        all.push(Setting::new(
            id,
            page.clone(),
            "hugetlb",
            ("hugetlb.2MB.limit_in_bytes", "4194304"),
            ("hugetlb.2MB.max", "4194304"),
        ));
    }
    all
}

/// What is about one block device.
fn throttles((major, minor): (u64, u64)) -> Vec<Setting> {
    let name = format!("{major}:{minor}");
    let (legacy, rate) = (format!("{name} 1048576"), 1_048_576);
    let throttle = |id, property: &str, file, word: &str| {
        let entry = json!({"major": major, "minor": minor, "rate": rate});
        let config = json!({"blockIO": {property: [entry]}});
        Setting::new(id, config, "blkio", (file, &legacy), ("io.max", word))
    };
    let word = |name: &str| format!("{name}={rate}");
    let (bytes, operations) = ("config-linux.block-io.bytes", "config-linux.block-io.operations");
    let weight = json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 400}]}});
    let weighted = format!("{name} 400");
    vec![
        throttle(bytes, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", &word("rbps")),
        throttle(bytes, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", &word("wbps")),
        throttle(operations, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", &word("riops")),
        throttle(operations, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", &word("wiops")),
        throttle(
            "config-linux.block-io.device",
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            &name,
        ),
        Setting::new(
            "config-linux.block-io.weight",
            weight,
            "blkio",
            ("blkio.weight_device", &weighted),
            ("io.bfq.weight", &weighted),
        ),
    ]
}

/// A block device of this host.
fn block_device() -> Option<(u64, u64)> {
    let numbers = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(numbers)
}
