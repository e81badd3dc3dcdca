//! What the kernel's documentation says is to be written, against what is: each example with the document it is of.
//! Paths are below Documentation/ of the kernel's sources.

use serde_json::{Value, json};

use super::tests::{compiled_on, v1, v2};

use Version::{One, Two};

enum Version {
    One,
    Two,
}

/// The document, what is asked for in its words or examples, and the files with what it writes into them.
type Vector = (&'static str, Version, Value, &'static [&'static str]);

fn check(vectors: Vec<Vector>) {
    for (document, version, resources, files) in vectors {
        let hierarchies = if matches!(version, One) { v1() } else { v2() };
        assert_eq!(compiled_on(&hierarchies, resources.clone()).unwrap(), files, "{document}: {resources}");
    }
}

const V2: &str = "admin-guide/cgroup-v2.rst";
const BANDWIDTH: &str = "scheduler/sched-bwc.rst";
const BLKIO: &str = "admin-guide/cgroup-v1/blkio-controller.rst";
const BFQ: &str = "block/bfq-iosched.rst";
const MEMORY: &str = "admin-guide/cgroup-v1/memory.rst";
const HUGETLB: &str = "admin-guide/cgroup-v1/hugetlb.rst";

#[test]
fn c12_to_c15_c17_c18_processor_time_is_as_documented() {
    let half = || json!({"cpu": {"quota": 20_000, "period": 50_000, "burst": 10_000}});
    check(vec![
        // Example 4: 40 % of one CPU, and 20 % more that were saved up.
        (
            BANDWIDTH,
            One,
            half(),
            &["cpu.cfs_period_us=50000", "cpu.cfs_quota_us=20000", "cpu.cfs_burst_us=10000"],
        ),
        // "$MAX $PERIOD", and a burst of at most $MAX.
        (V2, Two, half(), &["cpu.max=20000 50000", "cpu.max.burst=10000"]),
        // Example 1: one CPU's worth; example 2: two of them.
        (
            BANDWIDTH,
            One,
            json!({"cpu": {"quota": 250_000, "period": 250_000}}),
            &["cpu.cfs_period_us=250000", "cpu.cfs_quota_us=250000"],
        ),
        // A quota of -1 is no limit; "max" says so in version 2, and one number alone leaves the period.
        (BANDWIDTH, One, json!({"cpu": {"quota": -1}}), &["cpu.cfs_quota_us=-1"]),
        (V2, Two, json!({"cpu": {"quota": -1}}), &["cpu.max=max"]),
        (V2, Two, json!({"cpu": {"quota": 5000}}), &["cpu.max=5000"]),
        // The default of each is the default of the other, and the range is [1, 10000].
        (V2, Two, json!({"cpu": {"shares": 1024}}), &["cpu.weight=100"]),
        (V2, Two, json!({"cpu": {"shares": 2}}), &["cpu.weight=1"]),
        (V2, Two, json!({"cpu": {"shares": 262_144}}), &["cpu.weight=10000"]),
        (V2, Two, json!({"cpu": {"idle": 1}}), &["cpu.idle=1"]),
        // The documented ways to write a set.
        (V2, Two, json!({"cpu": {"cpus": "0-4,6,8-10"}}), &["cpuset.cpus=0-4,6,8-10"]),
        (V2, Two, json!({"cpu": {"mems": "0-1,3"}}), &["cpuset.mems=0-1,3"]),
    ]);
}

#[test]
fn c19_to_c23_block_io_is_as_documented() {
    let rate = |kind: &str, rate: u64| {
        let device = json!([{"major": 8, "minor": 16, "rate": rate}]);
        json!({"blockIO": {(format!("throttle{kind}Device")): device}})
    };
    check(vec![
        // 1 MB a second of reads.
        (BLKIO, One, rate("ReadBps", 1_048_576), &["blkio.throttle.read_bps_device=8:16 1048576"]),
        (BLKIO, One, rate("WriteIOPS", 120), &["blkio.throttle.write_iops_device=8:16 120"]),
        // "8:16 rbps=2097152 wiops=120", one key at a time; and "8:16 wiops=max", which lifts it.
        (V2, Two, rate("ReadBps", 2_097_152), &["io.max=8:16 rbps=2097152"]),
        (V2, Two, rate("WriteIOPS", 120), &["io.max=8:16 wiops=120"]),
        (V2, Two, rate("WriteIOPS", 0), &["io.max=8:16 wiops=max"]),
        // BFQ's weights are 1 to 1000 in either version, those of version 2 1 to 10000.
        (BFQ, One, json!({"blockIO": {"weight": 1000}}), &["blkio.bfq.weight=1000"]),
        (V2, Two, json!({"blockIO": {"weight": 1000}}), &["io.bfq.weight?=1000", "io.weight=10000"]),
        (V2, Two, json!({"blockIO": {"weight": 10}}), &["io.bfq.weight?=10", "io.weight=1"]),
        // "$MAJ:$MIN $WEIGHT"
        (
            V2,
            Two,
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}}),
            &["io.bfq.weight?=8:0 1000", "io.weight=8:0 10000"],
        ),
    ]);
}

#[test]
fn c03_to_c05_c08_c09_memory_is_as_documented() {
    const M: i64 = 1 << 20;
    check(vec![
        // Section 2.4: 2G of memory, and 3G of memory and swap together.
        (
            MEMORY,
            One,
            json!({"memory": {"limit": 2048 * M, "swap": 3072 * M}}),
            &[
                "memory.memsw.limit_in_bytes=-1",
                "memory.limit_in_bytes=2147483648",
                "memory.memsw.limit_in_bytes=3221225472",
            ],
        ),
        // memory.swap.max limits swap alone.
        (
            V2,
            Two,
            json!({"memory": {"limit": 2048 * M, "swap": 3072 * M}}),
            &["memory.max=2147483648", "memory.swap.max=1073741824"],
        ),
        // Section 3.2: 4M.
        (MEMORY, One, json!({"memory": {"limit": 4 * M}}), &["memory.limit_in_bytes=4194304"]),
        // "-1" resets a limit of version 1, "max" one of version 2.
        (
            MEMORY,
            One,
            json!({"memory": {"limit": -1}}),
            &["memory.memsw.limit_in_bytes?=-1", "memory.limit_in_bytes=-1"],
        ),
        (V2, Two, json!({"memory": {"limit": -1}}), &["memory.max=max", "memory.swap.max?=max"]),
        // Section 7: a soft limit is what is left to a cgroup when memory is short; so is memory.low.
        (MEMORY, One, json!({"memory": {"reservation": 256 * M}}), &["memory.soft_limit_in_bytes=268435456"]),
        (V2, Two, json!({"memory": {"reservation": 256 * M}}), &["memory.low=268435456"]),
        (MEMORY, One, json!({"memory": {"swappiness": 60}}), &["memory.swappiness=60"]),
        // Section 10: echo 1 disables the OOM killer.
        (MEMORY, One, json!({"memory": {"disableOOMKiller": true}}), &["memory.oom_control=1"]),
    ]);
}

#[test]
fn c24_to_c28_what_is_left_is_as_documented() {
    let huge = || json!({"hugepageLimits": [{"pageSize": "1GB", "limit": 1_073_741_824}]});
    let rdma = |name: &str, limits: Value| json!({"rdma": {name: limits}});
    let priority = json!({"network": {"priorities": [{"name": "eth0", "priority": 5}]}});
    check(vec![
        // "Reservation limits are superior to page fault limits": both are set, the superior one first.
        (
            HUGETLB,
            One,
            huge(),
            &["hugetlb.1GB.rsvd.limit_in_bytes?=1073741824", "hugetlb.1GB.limit_in_bytes=1073741824"],
        ),
        (V2, Two, huge(), &["hugetlb.1GB.rsvd.max?=1073741824", "hugetlb.1GB.max=1073741824"]),
        // A 10:1 handle.
        (
            "admin-guide/cgroup-v1/net_cls.rst",
            One,
            json!({"network": {"classID": 0x10_0001}}),
            &["net_cls.classid=1048577"],
        ),
        ("admin-guide/cgroup-v1/net_prio.rst", One, priority, &["net_prio.ifpriomap=eth0 5"]),
        ("admin-guide/cgroup-v1/pids.rst", One, json!({"pids": {"limit": 2}}), &["pids.max=2"]),
        ("admin-guide/cgroup-v1/pids.rst", One, json!({"pids": {"limit": 0}}), &["pids.max=0"]),
        (V2, Two, json!({"pids": {"limit": -1}}), &["pids.max=max"]),
        (
            "admin-guide/cgroup-v1/rdma.rst",
            One,
            rdma("mlx4_0", json!({"hcaHandles": 2, "hcaObjects": 2000})),
            &["rdma.max=mlx4_0 hca_handle=2 hca_object=2000"],
        ),
        (V2, Two, rdma("ocrdma1", json!({"hcaHandles": 3})), &["rdma.max=ocrdma1 hca_handle=3"]),
        (V2, Two, json!({"unified": {"misc.max": "res_a 1"}}), &["misc.max=res_a 1"]),
    ]);
}
