//! Limits on every layout: tests of `plan/limits.rs`.

use serde_json::{Value, json};

use super::cpu::weight_of_shares;
use super::*;

fn hierarchy(version: CgroupVersion, controllers: &[&str]) -> Hierarchy {
    let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
    Hierarchy { version, mount: "/cg".into(), controllers, enable: Vec::new() }
}

pub(super) fn v1() -> Vec<Hierarchy> {
    let all = ["cpu", "cpuset", "blkio", "memory", "hugetlb", "pids", "net_cls", "net_prio", "rdma"];
    all.iter().map(|c| hierarchy(CgroupVersion::V1, &[c])).collect()
}

pub(super) fn v2() -> Vec<Hierarchy> {
    vec![hierarchy(CgroupVersion::V2, &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"])]
}

/// The writes as `file=value`, a `?` where the file may be absent; or where the errors are.
pub(super) fn compiled_on(hierarchies: &[Hierarchy], resources: Value) -> Result<Vec<String>, Vec<String>> {
    let mut findings = Findings::default();
    let resources = serde_json::from_value(resources).unwrap();
    let writes = compile(&resources, hierarchies, &["2MB".into(), "1GB".into()], &mut findings);
    match findings.finish() {
        Ok(_) => Ok(writes
            .iter()
            .map(|w| format!("{}{}={}", w.file, if w.may_be_absent { "?" } else { "" }, w.value))
            .collect()),
        Err(invalid) => Err(invalid
            .findings()
            .iter()
            .map(|f| f.at.trim_start_matches("/linux/resources/").into())
            .collect()),
    }
}

type Wanted<'a> = Result<&'a [&'a str], &'a str>;

/// Each case on a host of version 1 and on one of version 2: files written, or the place that is refused.
fn check(cases: &[(Value, Wanted, Wanted)]) {
    for (resources, on_v1, on_v2) in cases {
        for (hierarchies, wanted) in [(v1(), on_v1), (v2(), on_v2)] {
            let wanted = wanted
                .map(|files| files.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
                .map_err(|at| vec![at.to_owned()]);
            assert_eq!(
                compiled_on(&hierarchies, resources.clone()),
                wanted,
                "{resources} on {}",
                hierarchies.len()
            );
        }
    }
}

#[test]
fn c03_c05_memory_and_swap_convert() {
    check(&[
        (json!({"memory": {}}), Ok(&[]), Ok(&[])),
        (json!({"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0}}), Ok(&[]), Ok(&[])),
        (json!({"memory": {"limit": 100}}), Ok(&["memory.limit_in_bytes=100"]), Ok(&["memory.max=100"])),
        (
            json!({"memory": {"limit": 100, "swap": 300}}),
            Ok(&[
                "memory.memsw.limit_in_bytes=-1",
                "memory.limit_in_bytes=100",
                "memory.memsw.limit_in_bytes=300",
            ]),
            Ok(&["memory.max=100", "memory.swap.max=200"]),
        ),
        (
            json!({"memory": {"limit": 100, "swap": -1}}),
            Ok(&["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=100"]),
            Ok(&["memory.max=100", "memory.swap.max?=max"]),
        ),
        (
            json!({"memory": {"limit": -1}}),
            Ok(&["memory.memsw.limit_in_bytes?=-1", "memory.limit_in_bytes=-1"]),
            Ok(&["memory.max=max", "memory.swap.max?=max"]),
        ),
        (
            json!({"memory": {"limit": -1, "swap": -1}}),
            Ok(&["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"]),
            Ok(&["memory.max=max", "memory.swap.max?=max"]),
        ),
        (json!({"memory": {"limit": -2}}), Err("memory/limit"), Err("memory/limit")),
        (json!({"memory": {"swap": i64::MIN}}), Err("memory/swap"), Err("memory/swap")),
        (json!({"memory": {"limit": 100, "swap": 99}}), Err("memory/swap"), Err("memory/swap")),
    ]);
}

#[test]
fn c05_no_swap_is_written_as_zero() {
    let kubernetes = json!({"memory": {"limit": 67_108_864, "swap": 67_108_864}});
    assert_eq!(compiled_on(&v2(), kubernetes).unwrap(), ["memory.max=67108864", "memory.swap.max=0"]);
}

#[test]
fn c05_swap_without_a_memory_limit_has_no_words_in_version_2() {
    let memsw = ["memory.memsw.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=100"];
    check(&[(json!({"memory": {"swap": 100}}), Ok(&memsw), Err("memory/swap"))]);
    assert_eq!(
        compiled_on(&v2(), json!({"memory": {"limit": -1, "swap": 100}})).unwrap_err(),
        ["memory/swap"]
    );
}

#[test]
fn c04_a_reservation_is_a_soft_limit() {
    check(&[
        (json!({"memory": {"reservation": 5}}), Ok(&["memory.soft_limit_in_bytes=5"]), Ok(&["memory.low=5"])),
        (
            json!({"memory": {"reservation": -1}}),
            Ok(&["memory.soft_limit_in_bytes=-1"]),
            Ok(&["memory.low=max"]),
        ),
    ]);
}

#[test]
fn c06_to_c10_what_only_version_1_has_is_refused_by_version_2() {
    check(&[
        (json!({"memory": {"kernel": 7}}), Ok(&["memory.kmem.limit_in_bytes?=7"]), Err("memory/kernel")),
        (
            json!({"memory": {"kernelTCP": 7}}),
            Ok(&["memory.kmem.tcp.limit_in_bytes=7"]),
            Err("memory/kernelTCP"),
        ),
        (json!({"memory": {"swappiness": 60}}), Ok(&["memory.swappiness=60"]), Err("memory/swappiness")),
        (json!({"memory": {"swappiness": 101}}), Err("memory/swappiness"), Err("memory/swappiness")),
        (
            json!({"memory": {"disableOOMKiller": true}}),
            Ok(&["memory.oom_control=1"]),
            Err("memory/disableOOMKiller"),
        ),
        (json!({"memory": {"useHierarchy": true}}), Ok(&["memory.use_hierarchy=1"]), Ok(&[])),
    ]);
}

#[test]
fn c06_to_c10_what_asks_for_nothing_is_refused_by_nobody() {
    check(&[
        (json!({"memory": {"disableOOMKiller": false}, "blockIO": {}}), Ok(&[]), Ok(&[])),
        (json!({"memory": {"swappiness": 0}}), Ok(&["memory.swappiness=0"]), Ok(&[])),
        (json!({"memory": {"swappiness": u64::MAX}}), Ok(&[]), Ok(&[])),
        (
            json!({"memory": {"kernel": -1, "kernelTCP": -1}}),
            Ok(&["memory.kmem.tcp.limit_in_bytes=-1"]),
            Ok(&[]),
        ),
    ]);
}

#[test]
fn c12_shares_become_weight_by_the_new_curve() {
    let cases = [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (4096, 303),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in cases {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
    let weights: Vec<_> = (2..5000).map(weight_of_shares).collect();
    assert!(weights.is_sorted());
}

#[test]
fn c12_to_c15_cpu_time_converts() {
    check(&[
        (json!({"cpu": {"shares": 0, "quota": 0, "period": 0}}), Ok(&[]), Ok(&[])),
        (json!({"cpu": {"shares": 1024}}), Ok(&["cpu.shares=1024"]), Ok(&["cpu.weight=100"])),
        (
            json!({"cpu": {"quota": 50_000, "period": 100_000}}),
            Ok(&["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]),
            Ok(&["cpu.max=50000 100000"]),
        ),
        (json!({"cpu": {"quota": 50_000}}), Ok(&["cpu.cfs_quota_us=50000"]), Ok(&["cpu.max=50000"])),
        (json!({"cpu": {"quota": -1}}), Ok(&["cpu.cfs_quota_us=-1"]), Ok(&["cpu.max=max"])),
        (
            json!({"cpu": {"quota": -1, "period": 5000}}),
            Ok(&["cpu.cfs_period_us=5000", "cpu.cfs_quota_us=-1"]),
            Ok(&["cpu.max=max 5000"]),
        ),
        (json!({"cpu": {"period": 5000}}), Ok(&["cpu.cfs_period_us=5000"]), Ok(&["cpu.max=max 5000"])),
        (
            json!({"cpu": {"quota": 50, "burst": 50}}),
            Ok(&["cpu.cfs_quota_us=50", "cpu.cfs_burst_us=50"]),
            Ok(&["cpu.max=50", "cpu.max.burst=50"]),
        ),
        (json!({"cpu": {"burst": 0}}), Ok(&["cpu.cfs_burst_us?=0"]), Ok(&["cpu.max.burst?=0"])),
        (json!({"cpu": {"quota": 50, "burst": 51}}), Err("cpu/burst"), Err("cpu/burst")),
    ]);
}

#[test]
fn c16_realtime_is_version_1s_and_zeros_ask_for_nothing() {
    check(&[
        (json!({"cpu": {"realtimeRuntime": 0, "realtimePeriod": 0}}), Ok(&[]), Ok(&[])),
        (json!({"cpu": {"realtimeRuntime": 9}}), Ok(&["cpu.rt_runtime_us=9"]), Err("cpu/realtimeRuntime")),
        (json!({"cpu": {"realtimePeriod": 9}}), Ok(&["cpu.rt_period_us=9"]), Err("cpu/realtimePeriod")),
    ]);
}

#[test]
fn c17_cpusets_are_written_as_they_are() {
    let files: &[&str] = &["cpuset.cpus=0-3,7", "cpuset.mems=0"];
    check(&[
        (json!({"cpu": {"cpus": "0-3,7", "mems": "0"}}), Ok(files), Ok(files)),
        (json!({"cpu": {"cpus": "", "mems": ""}}), Ok(&[]), Ok(&[])),
    ]);
}

#[test]
fn c18_an_idle_cgroup_is_given_no_weight() {
    check(&[
        (json!({"cpu": {"idle": 1, "shares": 512}}), Ok(&["cpu.idle=1"]), Ok(&["cpu.idle=1"])),
        (
            json!({"cpu": {"idle": 0, "shares": 2}}),
            Ok(&["cpu.idle?=0", "cpu.shares=2"]),
            Ok(&["cpu.idle?=0", "cpu.weight=1"]),
        ),
        (json!({"cpu": {"idle": 2}}), Err("cpu/idle"), Err("cpu/idle")),
    ]);
}

#[test]
fn c19_c20_weights_of_block_devices_convert() {
    check(&[
        (json!({"blockIO": {"weight": 0, "leafWeight": 0}}), Ok(&[]), Ok(&[])),
        (
            json!({"blockIO": {"weight": 10}}),
            Ok(&["blkio.bfq.weight=10"]),
            Ok(&["io.bfq.weight?=10", "io.weight=1"]),
        ),
        (
            json!({"blockIO": {"weight": 500}}),
            Ok(&["blkio.bfq.weight=500"]),
            Ok(&["io.bfq.weight?=500", "io.weight=4950"]),
        ),
        (
            json!({"blockIO": {"weight": 1000}}),
            Ok(&["blkio.bfq.weight=1000"]),
            Ok(&["io.bfq.weight?=1000", "io.weight=10000"]),
        ),
        (json!({"blockIO": {"weight": 9}}), Err("blockIO/weight"), Err("blockIO/weight")),
        (json!({"blockIO": {"weight": 1001}}), Err("blockIO/weight"), Err("blockIO/weight")),
        (json!({"blockIO": {"leafWeight": 20}}), Ok(&["blkio.leaf_weight=20"]), Err("blockIO/leafWeight")),
    ]);
}

#[test]
fn c21_a_weight_may_be_for_one_device() {
    let entry = |entry: Value| json!({"blockIO": {"weightDevice": [entry]}});
    check(&[
        (
            entry(json!({"major": 8, "minor": 16, "weight": 1000})),
            Ok(&["blkio.bfq.weight_device=8:16 1000"]),
            Ok(&["io.bfq.weight?=8:16 1000", "io.weight=8:16 10000"]),
        ),
        (
            entry(json!({"major": 8, "minor": 0, "leafWeight": 30})),
            Ok(&["blkio.leaf_weight_device=8:0 30"]),
            Err("blockIO/weightDevice/0/leafWeight"),
        ),
        (
            entry(json!({"major": 8, "minor": 0})),
            Err("blockIO/weightDevice/0"),
            Err("blockIO/weightDevice/0"),
        ),
        (
            entry(json!({"major": -1, "weight": 10})),
            Err("blockIO/weightDevice/0"),
            Err("blockIO/weightDevice/0"),
        ),
    ]);
}

#[test]
fn c22_c23_rates_of_block_devices_convert() {
    let throttle = |kind: &str, rate: u64| json!({"blockIO": {(format!("throttle{kind}Device")): [{"major": 8, "minor": 0, "rate": rate}]}});
    check(&[
        (
            throttle("ReadBps", 600),
            Ok(&["blkio.throttle.read_bps_device=8:0 600"]),
            Ok(&["io.max=8:0 rbps=600"]),
        ),
        (
            throttle("WriteBps", 600),
            Ok(&["blkio.throttle.write_bps_device=8:0 600"]),
            Ok(&["io.max=8:0 wbps=600"]),
        ),
        (
            throttle("ReadIOPS", 6),
            Ok(&["blkio.throttle.read_iops_device=8:0 6"]),
            Ok(&["io.max=8:0 riops=6"]),
        ),
        (
            throttle("WriteIOPS", 6),
            Ok(&["blkio.throttle.write_iops_device=8:0 6"]),
            Ok(&["io.max=8:0 wiops=6"]),
        ),
        (throttle("ReadBps", 0), Ok(&["blkio.throttle.read_bps_device=8:0 0"]), Ok(&["io.max=8:0 rbps=max"])),
    ]);
}

#[test]
fn c24_reservations_of_huge_pages_are_limited_where_they_are_counted() {
    let limit = |size: &str, limit: i64| json!({"hugepageLimits": [{"pageSize": size, "limit": limit}]});
    check(&[
        (
            limit("2MB", 9),
            Ok(&["hugetlb.2MB.rsvd.limit_in_bytes?=9", "hugetlb.2MB.limit_in_bytes=9"]),
            Ok(&["hugetlb.2MB.rsvd.max?=9", "hugetlb.2MB.max=9"]),
        ),
        (limit("64KB", 9), Err("hugepageLimits/0/pageSize"), Err("hugepageLimits/0/pageSize")),
        (limit("../2MB", 9), Err("hugepageLimits/0/pageSize"), Err("hugepageLimits/0/pageSize")),
        (limit("2MB", -1), Err("hugepageLimits/0/limit"), Err("hugepageLimits/0/limit")),
    ]);
}

#[test]
fn c25_c26_marks_of_packets_are_version_1s() {
    let priority = |name: &str| json!({"network": {"priorities": [{"name": name, "priority": 5}]}});
    check(&[
        (json!({"network": {"classID": 0, "priorities": []}}), Ok(&[]), Ok(&[])),
        (
            json!({"network": {"classID": 1_048_577}}),
            Ok(&["net_cls.classid=1048577"]),
            Err("network/classID"),
        ),
        (priority("eth0"), Ok(&["net_prio.ifpriomap=eth0 5"]), Err("network/priorities/0")),
        (priority("a b"), Err("network/priorities/0/name"), Err("network/priorities/0/name")),
    ]);
}

#[test]
fn c27_no_task_is_a_limit_and_minus_one_is_none() {
    for (limit, written) in
        [(0, "pids.max=0"), (2048, "pids.max=2048"), (-1, "pids.max=max"), (i64::MIN, "pids.max=max")]
    {
        check(&[(json!({"pids": {"limit": limit}}), Ok(&[written]), Ok(&[written]))]);
    }
}

#[test]
fn c28_rdma_devices_are_limited_in_the_order_of_their_names() {
    let files: &[&str] = &["rdma.max=mlx4_0 hca_object=1000", "rdma.max=mlx5_1 hca_handle=3 hca_object=10"];
    let devices =
        json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "mlx4_0": {"hcaObjects": 1000}}});
    check(&[
        (devices, Ok(files), Ok(files)),
        (json!({"rdma": {"a/b": {}}}), Err("rdma/a~1b"), Err("rdma/a~1b")),
        (json!({"rdma": {"a b": {"hcaHandles": 3}}}), Err("rdma/a b"), Err("rdma/a b")),
    ]);
}

#[test]
fn c29_c31_unified_files_are_written_as_they_are_a_line_at_a_time() {
    let files = json!({"unified": {"memory.high": "max", "io.max": "8:0 rbps=1\n8:16 rbps=2", "misc.max": "sev 1",
        "cgroup.max.depth": "3", "cpuset.cpus": ""}});
    let written = [
        "cgroup.max.depth=3",
        "cpuset.cpus=",
        "io.max=8:0 rbps=1",
        "io.max=8:16 rbps=2",
        "memory.high=max",
        "misc.max=sev 1",
    ];
    assert_eq!(compiled_on(&v2(), files).unwrap(), written);
}

#[test]
fn c29_unified_wins_because_it_comes_last() {
    let both = json!({"unified": {"cpu.weight": "7"}, "cpu": {"shares": 1024}, "pids": {"limit": 1}});
    assert_eq!(compiled_on(&v2(), both).unwrap(), ["cpu.weight=100", "pids.max=1", "cpu.weight=7"]);
}

#[test]
fn e24_e25_unified_needs_its_controller_in_version_2() {
    let file = |name: &str| json!({"unified": {name: "1"}});
    check(&[
        (file("memory.high"), Err("unified/memory.high"), Ok(&["memory.high=1"])),
        (file("dmem.max"), Err("unified/dmem.max"), Err("unified/dmem.max")),
        (file("cgroup.freeze"), Err("unified/cgroup.freeze"), Ok(&["cgroup.freeze=1"])),
        (file("memory"), Err("unified/memory"), Err("unified/memory")),
        (file("../memory.high"), Err("unified/..~1memory.high"), Err("unified/..~1memory.high")),
        (file(""), Err("unified/"), Err("unified/")),
    ]);
}

#[test]
fn c34_on_a_hybrid_host_each_controller_is_spoken_to_where_it_is() {
    let hybrid = [
        hierarchy(CgroupVersion::V1, &["cpu", "cpuacct"]),
        hierarchy(CgroupVersion::V1, &["memory"]),
        hierarchy(CgroupVersion::V2, &["hugetlb"]),
    ];
    let resources = json!({"memory": {"limit": 5}, "cpu": {"shares": 3}, "hugepageLimits": [{"pageSize": "1GB", "limit": 4}],
        "unified": {"hugetlb.2MB.max": "1"}});
    let mut findings = Findings::default();
    let writes =
        compile(&serde_json::from_value(resources).unwrap(), &hybrid, &["1GB".into()], &mut findings);
    assert!(findings.finish().is_ok());
    let places: Vec<_> = writes.iter().map(|w| (w.hierarchy, w.file.as_str())).collect();
    let huge = [(2, "hugetlb.1GB.rsvd.max"), (2, "hugetlb.1GB.max"), (2, "hugetlb.2MB.max")];
    assert_eq!(
        places,
        [[(0, "cpu.shares"), (1, "memory.limit_in_bytes")].as_slice(), huge.as_slice()].concat()
    );
    assert_eq!(
        compiled_on(&hybrid, json!({"unified": {"memory.high": "1"}})).unwrap_err(),
        ["unified/memory.high"]
    );
}

#[test]
fn e12_a_missing_controller_is_named_once_for_each_property() {
    let mut findings = Findings::default();
    let resources =
        json!({"memory": {"limit": 5, "swap": 6}, "blockIO": {"weight": 100}, "pids": {"limit": 5}});
    let hierarchies = [hierarchy(CgroupVersion::V2, &["cpu"])];
    compile(&serde_json::from_value(resources).unwrap(), &hierarchies, &[], &mut findings);
    let invalid = findings.finish().unwrap_err();
    let at: Vec<_> =
        invalid.findings().iter().map(|f| f.at.trim_start_matches("/linux/resources/")).collect();
    assert_eq!(at, ["blockIO/weight", "memory/swap", "memory/limit", "pids/limit"]);
    assert!(invalid.findings()[3].says.contains("controller pids"));
}

#[test]
fn every_write_names_the_property_that_asks_for_it() {
    let mut findings = Findings::default();
    let resources = json!({"cpu": {"quota": 5}, "unified": {"memory.high": "1"}});
    let writes = compile(&serde_json::from_value(resources).unwrap(), &v2(), &[], &mut findings);
    let at: Vec<_> = writes.iter().map(|w| w.at.as_str()).collect();
    assert_eq!(at, ["/linux/resources/cpu/quota", "/linux/resources/unified/memory.high"]);
}
