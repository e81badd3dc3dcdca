//! Updates of cgroups that hold something: tests of `plan/update.rs`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The files of a cgroup, all of it in one hierarchy of this version.
struct Cgroup {
    hierarchies: [Hierarchy; 1],
    files: BTreeMap<String, String>,
}

impl Cgroup {
    fn new(version: CgroupVersion, files: &[(&str, &str)]) -> Cgroup {
        let v1 = ["cpu", "cpuset", "blkio", "memory", "pids", "hugetlb"];
        let v2 = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
        let controllers = if version == CgroupVersion::V1 { v1 } else { v2 };
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        Cgroup {
            hierarchies: [Hierarchy { version, mount: "/cg".into(), controllers, enable: vec![] }],
            files,
        }
    }

    fn v1(files: &[(&str, &str)]) -> Cgroup {
        Cgroup::new(CgroupVersion::V1, files)
    }

    fn v2(files: &[(&str, &str)]) -> Cgroup {
        Cgroup::new(CgroupVersion::V2, files)
    }

    fn compile(&self, resources: &Value, check_usage: bool) -> Result<Vec<Write>, Vec<Finding>> {
        let read = |_: u16, file: &str| self.files.get(file).cloned();
        let sizes = ["2MB".to_owned()];
        let now = Now { hierarchies: &self.hierarchies, huge_page_sizes: &sizes, read: &read };
        let resources = serde_json::from_value(resources.clone()).unwrap();
        let asked = Asked { resources: &resources, l3_cache_schema: None, mem_bw_schema: None, check_usage };
        let mut findings = Findings::default();
        let update = compile(asked, &now, &mut findings);
        findings.finish().map(|_| update.writes).map_err(Invalid::into_findings)
    }

    /// The writes as `file=value`.
    fn writes(&self, resources: Value) -> Vec<String> {
        let writes = self.compile(&resources, false).unwrap_or_else(|e| panic!("{resources}: {e:?}"));
        writes.into_iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    /// Where the mistakes are, and what they say.
    fn refusal(&self, resources: Value, check_usage: bool) -> (String, String) {
        let findings = self.compile(&resources, check_usage).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:?}");
        (findings[0].at.clone(), findings[0].says.clone())
    }
}

const UNLIMITED: &str = "9223372036854771712\n";

#[test]
fn k71_nothing_named_is_nothing_written() {
    for cgroup in [Cgroup::v1(&[]), Cgroup::v2(&[])] {
        for nothing in [
            json!({}),
            json!({"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0},
                "cpu": {"shares": 0, "quota": 0, "period": 0}, "blockIO": {"weight": 0}}),
            json!({"memory": {"checkBeforeUpdate": true}, "cpu": {"cpus": "", "mems": ""}}),
            json!({"devices": [{"allow": false, "access": "rwm"}]}),
        ] {
            assert_eq!(cgroup.writes(nothing), [""; 0]);
        }
    }
}

#[test]
fn c13_c14_a_period_alone_leaves_the_quota() {
    let limited = Cgroup::v2(&[("cpu.max", "50000 100000\n")]);
    assert_eq!(limited.writes(json!({"cpu": {"period": 200_000}})), ["cpu.max=50000 200000"]);
    let free = Cgroup::v2(&[("cpu.max", "max 100000\n")]);
    assert_eq!(free.writes(json!({"cpu": {"period": 200_000}})), ["cpu.max=max 200000"]);
    assert_eq!(limited.writes(json!({"cpu": {"quota": -1}})), ["cpu.max=max"]);
    assert_eq!(limited.writes(json!({"cpu": {"quota": 7000}})), ["cpu.max=7000"]);
    assert_eq!(limited.writes(json!({"cpu": {"quota": 7000, "period": 10_000}})), ["cpu.max=7000 10000"]);
}

#[test]
fn c13_c14_c15_what_depends_on_the_quota_changes_while_there_is_none() {
    let v1 = Cgroup::v1(&[("cpu.cfs_period_us", "100000\n"), ("cpu.cfs_burst_us", "0\n")]);
    assert_eq!(
        v1.writes(json!({"cpu": {"quota": 5000, "period": 10_000, "burst": 1000}})),
        ["cpu.cfs_quota_us=-1", "cpu.cfs_period_us=10000", "cpu.cfs_burst_us=1000", "cpu.cfs_quota_us=5000"]
    );
    // As it is already: nothing to lift the quota for.
    assert_eq!(
        v1.writes(json!({"cpu": {"quota": 5000, "period": 100_000}})),
        ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=5000"]
    );
    let v2 = Cgroup::v2(&[("cpu.max.burst", "0\n")]);
    assert_eq!(
        v2.writes(json!({"cpu": {"quota": 5000, "period": 10_000, "burst": 1000}})),
        ["cpu.max=max", "cpu.max.burst=1000", "cpu.max=5000 10000"]
    );
    assert_eq!(v2.writes(json!({"cpu": {"burst": 1000}})), ["cpu.max.burst=1000"]);
}

#[test]
fn c16_of_real_time_the_share_never_grows_on_the_way() {
    let v1 = Cgroup::v1(&[("cpu.rt_period_us", "1000000\n")]);
    let both = |period: u64| json!({"cpu": {"realtimePeriod": period, "realtimeRuntime": 9000}});
    assert_eq!(v1.writes(both(2_000_000)), ["cpu.rt_period_us=2000000", "cpu.rt_runtime_us=9000"]);
    assert_eq!(v1.writes(both(10_000)), ["cpu.rt_runtime_us=9000", "cpu.rt_period_us=10000"]);
}

#[test]
fn c05_swap_alone_counts_from_the_limit_that_there_is() {
    let v2 = Cgroup::v2(&[("memory.max", "1000000\n")]);
    assert_eq!(v2.writes(json!({"memory": {"swap": 1_500_000}})), ["memory.swap.max=500000"]);
    assert_eq!(v2.writes(json!({"memory": {"swap": 1_000_000}})), ["memory.swap.max=0"]);
    assert_eq!(v2.writes(json!({"memory": {"swap": -1}})), ["memory.swap.max=max"]);
    assert_eq!(v2.refusal(json!({"memory": {"swap": 999_999}}), false).0, SWAP);
    let free = Cgroup::v2(&[("memory.max", "max\n")]);
    assert!(free.refusal(json!({"memory": {"swap": 1}}), false).1.contains("set limit too"));
    let v1 = Cgroup::v1(&[("memory.limit_in_bytes", "1000000\n")]);
    assert_eq!(
        v1.writes(json!({"memory": {"swap": 1_500_000}})),
        ["memory.memsw.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=1500000"]
    );
    assert_eq!(v1.refusal(json!({"memory": {"swap": 999_999}}), false).0, SWAP);
    let free = Cgroup::v1(&[("memory.limit_in_bytes", UNLIMITED)]);
    assert!(free.refusal(json!({"memory": {"swap": 1}}), false).1.contains("set limit too"));
}

#[test]
fn c03_c05_a_limit_alone_stays_below_memory_and_swap_together() {
    let v1 = |both| Cgroup::v1(&[("memory.memsw.limit_in_bytes", both)]);
    let limit = json!({"memory": {"limit": 2_000_000}});
    assert_eq!(v1("2000000\n").writes(limit.clone()), ["memory.limit_in_bytes=2000000"]);
    assert_eq!(v1(UNLIMITED).writes(limit.clone()), ["memory.limit_in_bytes=2000000"]);
    assert_eq!(Cgroup::v1(&[]).writes(limit.clone()), ["memory.limit_in_bytes=2000000"]);
    let (at, says) = v1("1999999\n").refusal(limit.clone(), false);
    assert_eq!(at, LIMIT);
    assert!(says.contains("set swap too"), "{says}");
    // Version 2 limits swap alone: there is nothing to stay below.
    assert_eq!(Cgroup::v2(&[("memory.swap.max", "5\n")]).writes(limit), ["memory.max=2000000"]);
}

#[test]
fn e22_c11_a_limit_below_usage_is_refused_if_asked_to() {
    let v2 = Cgroup::v2(&[("memory.current", "700\n"), ("memory.swap.current", "300\n")]);
    let v1 = Cgroup::v1(&[("memory.usage_in_bytes", "700\n"), ("memory.memsw.usage_in_bytes", "1000\n")]);
    for cgroup in [v1, v2] {
        for (memory, at) in [
            (json!({"limit": 699}), Some(LIMIT)),
            (json!({"limit": 700}), None),
            (json!({"limit": -1}), None),
            // Swap is counted once: 700 and 300 are 1000.
            (json!({"limit": 700, "swap": 999}), Some(SWAP)),
            (json!({"limit": 700, "swap": 1000}), None),
            (json!({"limit": 700, "swap": -1}), None),
        ] {
            let resources = json!({ "memory": memory });
            match at {
                Some(at) => {
                    let (found, says) = cgroup.refusal(resources.clone(), true);
                    assert_eq!(found, at, "{resources}");
                    assert!(says.contains("checkBeforeUpdate"), "{says}");
                }
                None => assert!(cgroup.compile(&resources, true).is_ok(), "{resources}"),
            }
            assert!(cgroup.compile(&resources, false).is_ok(), "{resources}");
        }
    }
}

#[test]
fn k66_findings_have_the_names_that_the_caller_uses() {
    let names = [("/linux/resources/memory/swap".to_owned(), "--memory-swap".to_owned())];
    let finding = |at: &str| Finding { at: at.into(), says: String::new(), spec: "" };
    let places = ["/linux/resources/memory/swap", "/linux/resources/memory/limit", "/linux/intelRdt/closID"];
    let renamed = in_words_of(&names, places.map(finding).to_vec());
    let places: Vec<_> = renamed.into_iter().map(|finding| finding.at).collect();
    assert_eq!(places, ["--memory-swap", "/memory/limit", "/linux/intelRdt/closID"]);
}

#[test]
fn k70_lines_for_resctrl_are_checked() {
    let mut findings = Findings::default();
    assert_eq!(rdt::lines(Some("L3:0=ff"), Some("MB:0=50"), &mut findings), ["L3:0=ff", "MB:0=50"]);
    rdt::lines(Some("L3"), Some("L3:0=1"), &mut findings);
    let at: Vec<_> = findings.finish().unwrap_err().into_findings().into_iter().map(|f| f.at).collect();
    assert_eq!(at, ["/linux/intelRdt/l3CacheSchema", "/linux/intelRdt/memBwSchema"]);
}

#[test]
fn a_directory_belongs_to_the_hierarchy_that_is_mounted_above_it() {
    let facts = |version, mount: &str, controller: &str| HierarchyFacts {
        version,
        mount: mount.into(),
        controllers: vec![controller.into()],
        own: "/".into(),
    };
    let facts = [
        facts(CgroupVersion::V1, "/cg/cpu", "cpu"),
        facts(CgroupVersion::V1, "/cg/cpuset", "cpuset"),
        facts(CgroupVersion::V2, "/cg/unified", "pids"),
    ];
    let directories = [
        (CgroupVersion::V1, "/cg/cpuset/box"),
        (CgroupVersion::V2, "/cg/unified/box"),
        (CgroupVersion::V1, "/gone/box"),
    ];
    let found: Vec<_> =
        hierarchies(directories.into_iter(), &facts).into_iter().map(|h| h.controllers).collect();
    assert_eq!(found, [vec!["cpuset".to_owned()], vec!["pids".to_owned()], vec![]]);
}

#[test]
fn b34_what_a_file_held_can_be_written_back() {
    for (file, value, text, back) in [
        ("memory.max", "1", "max\n", "max"),
        ("memory.limit_in_bytes", "1", UNLIMITED, "9223372036854771712"),
        ("cpu.max", "max 5", "7 100000\n", "7 100000"),
        ("cpuset.cpus", "0", "\n", ""),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
        ("io.weight", "50", "default 100\n8:0 7\n", "100"),
        ("io.bfq.weight", "50", "default 100\n", "100"),
        ("blkio.bfq.weight", "50", "100\n", "100"),
        ("io.weight", "8:0 50", "default 100\n8:0 7\n", "8:0 7"),
        ("io.weight", "8:1 50", "default 100\n8:0 7\n", "8:1 default"),
        (
            "io.max",
            "8:0 rbps=1",
            "8:0 rbps=9 wbps=max riops=max wiops=max\n",
            "8:0 rbps=9 wbps=max riops=max wiops=max",
        ),
        (
            "io.max",
            "8:16 rbps=1",
            "8:0 rbps=9 wbps=max riops=max wiops=max\n",
            "8:16 rbps=max wbps=max riops=max wiops=max",
        ),
        ("blkio.throttle.read_bps_device", "8:0 1", "8:0 9\n", "8:0 9"),
        ("blkio.throttle.read_bps_device", "8:0 1", "\n", "8:0 0"),
        (
            "rdma.max",
            "mlx hca_handle=1",
            "mlx hca_handle=max hca_object=3\n",
            "mlx hca_handle=max hca_object=3",
        ),
        ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 1\n", "eth0 1"),
    ] {
        assert_eq!(restoring(file, value, text), back, "{file}: {value} over {text:?}");
    }
}

#[test]
fn b34_a_value_that_the_kernel_rounds_is_the_value_and_another_is_not() {
    for (file, value, text, same) in [
        ("memory.max", "1000001", "999424\n", true),
        ("memory.max", "1000001", "900000\n", false),
        ("memory.max", "1000001", "1003520\n", false),
        ("memory.max", "max", "max\n", true),
        ("memory.max", "max", "4096\n", false),
        ("memory.limit_in_bytes", "-1", UNLIMITED, true),
        ("memory.limit_in_bytes", "-1", "4096\n", false),
        ("memory.swappiness", "7", "60\n", false),
        ("memory.swappiness", "60", "7\n", false),
        ("memory.high", "64M", "67108864\n", true),
        ("hugetlb.2MB.max", "4194305", "4194304\n", true),
        ("hugetlb.2MB.max", "6291456", "4194304\n", false),
        ("pids.max", "5", "5\n", true),
        ("pids.max", "5", "4\n", false),
        ("pids.max", "max", "4\n", false),
        ("cpu.shares", "1", "2\n", true),
        ("cpu.shares", "512", "1024\n", false),
        ("cpu.max", "max", "max 100000\n", true),
        ("cpu.max", "5000 10000", "5000 10000\n", true),
        ("cpu.max", "5000 10000", "5000 100000\n", false),
        ("cpu.cfs_quota_us", "-1", "5000\n", false),
        ("cpuset.cpus", "0,1,2", "0-2\n", true),
        ("cpuset.cpus", "0-1", "0\n", false),
        ("memory.oom_control", "1", "oom_kill_disable 1\nunder_oom 0\n", true),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", false),
        ("io.weight", "50", "default 50\n", true),
        ("io.weight", "50", "default 100\n", false),
        ("io.max", "8:0 rbps=5", "8:0 rbps=5 wbps=max riops=max wiops=max\n", true),
        ("io.max", "8:0 rbps=5", "8:0 rbps=6 wbps=max riops=max wiops=max\n", false),
        ("io.max", "8:0 rbps=5", "", false),
        ("io.max", "8:0 rbps=max", "", true),
        ("blkio.throttle.read_bps_device", "8:0 0", "\n", true),
        ("blkio.throttle.read_bps_device", "8:0 5", "\n", false),
    ] {
        assert_eq!(agrees(file, value, text), same, "{file}: {value} and then {text:?}");
    }
}

/// A limit that is asked for, the file of each version that it may change, and whether it takes others with it.
const NAMED: &[(&str, &[&str])] = &[
    ("/memory/limit", &["memory.limit_in_bytes", "memory.max"]),
    ("/memory/swap", &["memory.memsw.limit_in_bytes", "memory.swap.max"]),
    ("/memory/reservation", &["memory.soft_limit_in_bytes", "memory.low"]),
    ("/cpu/shares", &["cpu.shares", "cpu.weight"]),
    ("/cpu/quota", &["cpu.cfs_quota_us", "cpu.max"]),
    ("/cpu/period", &["cpu.cfs_period_us", "cpu.max"]),
    ("/cpu/burst", &["cpu.cfs_burst_us", "cpu.max.burst"]),
    ("/cpu/cpus", &["cpuset.cpus"]),
    ("/pids/limit", &["pids.max"]),
    ("/blockIO/weight", &["blkio.bfq.weight", "io.weight", "io.bfq.weight"]),
];

fn value(at: &str, number: u32) -> Value {
    match at {
        "/memory/limit" => json!(10_000_000 + number),
        "/memory/swap" => json!(100_000_000 + number),
        "/cpu/cpus" => json!(format!("0-{}", number % 4 + 1)),
        "/blockIO/weight" => json!(10 + number % 990),
        "/cpu/quota" => json!(50_000 + number),
        "/cpu/burst" => json!(number % 1000),
        _ => json!(2000 + number),
    }
}

/// What a kernel would hold after these writes.
fn carry_out(cgroup: &mut Cgroup, writes: &[Write]) {
    for write in writes {
        let held = cgroup.files.entry(write.file.clone()).or_default();
        *held = match (write.file.as_str(), write.value.contains(' ')) {
            ("cpu.max", false) => {
                format!("{} {}", write.value, held.trim().split(' ').nth(1).unwrap_or("100000"))
            }
            _ => write.value.clone(),
        };
    }
}

proptest! {
    #[test]
    fn k71_no_sequence_of_updates_changes_what_it_does_not_name(
        sequence in prop::collection::vec(prop::collection::btree_map(0..NAMED.len(), any::<u16>(), 0..4), 1..8),
        v1 in any::<bool>(),
    ) {
        let version = if v1 { CgroupVersion::V1 } else { CgroupVersion::V2 };
        let mut cgroup = Cgroup::new(version, &[
            ("memory.max", "5000000"), ("memory.limit_in_bytes", "5000000"), ("memory.swap.max", "77"),
            ("memory.memsw.limit_in_bytes", "90000000"), ("cpu.max", "30000 100000"), ("cpu.weight", "33"),
            ("cpu.cfs_quota_us", "30000"), ("cpu.cfs_period_us", "100000"), ("pids.max", "9"),
        ]);
        for update in sequence {
            let mut resources = json!({});
            let mut wanted = Vec::new();
            for (i, number) in &update {
                let at = NAMED[*i].0;
                let (_, part) = at.rsplit_once('/').unwrap();
                let whole = at.split('/').nth(1).unwrap();
                resources[whole][part] = value(at, u32::from(*number));
                wanted.extend(NAMED[*i].1);
            }
            let before = cgroup.files.clone();
            let writes = cgroup.compile(&resources, false).unwrap();
            carry_out(&mut cgroup, &writes);
            for (file, text) in &cgroup.files {
                prop_assert!(wanted.contains(&file.as_str()) || before.get(file) == Some(text), "{resources}: {file} {text}");
            }
            // Of the one file that is two limits, the half that is not named stays.
            let half = |files: &BTreeMap<String, String>, i: usize| {
                files.get("cpu.max").and_then(|text| text.split(' ').nth(i).map(str::to_owned))
            };
            for (at, i) in [("/cpu/quota", 0), ("/cpu/period", 1)] {
                if !update.keys().any(|named| NAMED[*named].0 == at) {
                    prop_assert_eq!(half(&cgroup.files, i), half(&before, i));
                }
            }
            for write in &writes {
                let last = writes.iter().rfind(|other| other.file == write.file).unwrap();
                prop_assert!(agrees(&last.file, &last.value, &cgroup.files[&last.file]));
            }
        }
    }
}
