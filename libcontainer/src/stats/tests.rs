//! Texts as kernels wrote them, and texts as none should.

use std::collections::BTreeMap;

use super::text::{list, pressure};
use super::*;

/// Files with their text, as a directory has them.
struct Directory(BTreeMap<&'static str, &'static str>);

impl Directory {
    fn new(files: &[(&'static str, &'static str)]) -> Directory {
        Directory(files.iter().copied().collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }
}

fn read(legacy: &[(&'static str, &'static str)], unified: &[(&'static str, &'static str)]) -> Stats {
    let (legacy, unified) = (Directory::new(legacy), Directory::new(unified));
    let (legacy_names, unified_names) = (legacy.names(), unified.names());
    Stats::of_cgroups(
        Files { names: &legacy_names, read: &|name| legacy.text(name) },
        Files { names: &unified_names, read: &|name| unified.text(name) },
    )
}

const UNIFIED: &[(&str, &str)] = &[
    (
        "cpu.stat",
        "usage_usec 18014398509481985\nuser_usec 12000\nsystem_usec 34000\nnice_usec 0\ncore_sched.force_idle_usec 0\n\
         nr_periods 7\nnr_throttled 3\nthrottled_usec 250\nnr_bursts 0\nburst_usec 0\n",
    ),
    (
        "cpu.pressure",
        "some avg10=1.50 avg60=0.25 avg300=0.05 total=9007199254740993\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
    ("cpuset.cpus.effective", "0-1,5\n"),
    ("cpuset.mems.effective", "0\n"),
    ("memory.current", "4096000\n"),
    ("memory.max", "max\n"),
    ("memory.peak", "5000000\n"),
    ("memory.swap.current", "1000\n"),
    ("memory.swap.max", "2000\n"),
    ("memory.swap.events", "high 0\nmax 4\nfail 0\n"),
    ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 0\n"),
    ("memory.stat", "anon 100\nfile 9007199254740993\nkernel 300\nsock 40\n"),
    (
        "memory.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=11\n",
    ),
    ("pids.current", "3\n"),
    ("pids.max", "max\n"),
    ("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n259:0 rbytes=7 cost.usage=9\n8:32 \n"),
    ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"),
    ("hugetlb.2MB.current", "100\n"),
    ("hugetlb.2MB.rsvd.current", "2097152\n"),
    ("hugetlb.2MB.events", "max 8\n"),
    ("hugetlb.2MB.events.local", "max 7\n"),
    ("hugetlb.1GB.current", "0\n"),
    ("misc.current", "res_a 3\nsev 0\n"),
    ("misc.max", "res_a max\nsev 500\n"),
    ("misc.events", "res_a.max 2\n"),
    ("rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n"),
    ("rdma.max", "mlx4_0 hca_handle=3 hca_object=max\n"),
];

#[test]
fn k63_b35_all_of_version_2_is_read() {
    let stats = read(&[], UNIFIED);
    assert_eq!(
        stats.cpu.usage,
        CpuUsage {
            total: 18_014_398_509_481_985_000,
            user: 12_000_000,
            kernel: 34_000_000,
            ..CpuUsage::default()
        }
    );
    let throttling = Throttling { periods: 7, throttled_periods: 3, throttled_time: 250_000 };
    assert_eq!(stats.cpu.throttling, throttling);
    let psi = stats.cpu.psi.unwrap();
    assert_eq!((psi.some.avg10, psi.some.avg300, psi.some.total), (1.5, 0.05, 9_007_199_254_740_993));
    assert_eq!((stats.cpuset.cpus, stats.cpuset.mems), (vec![0, 1, 5], vec![0]));
    let memory = stats.memory;
    assert_eq!(memory.usage, MemoryEntry { limit: u64::MAX, usage: 4_096_000, max: 5_000_000, failcnt: 3 });
    // Together with memory, of which there is no limit; and it does not run over.
    assert_eq!(memory.swap, MemoryEntry { limit: u64::MAX, usage: 4_097_000, max: 0, failcnt: 4 });
    assert_eq!((memory.kernel.usage, memory.kernel_tcp.usage), (300, 40));
    assert_eq!((memory.cache, memory.raw["anon"], memory.raw.len()), (9_007_199_254_740_993, 100, 4));
    let events = MemoryEvents { low: 1, high: 2, max: 3, oom: 4, oom_kill: 5, oom_group_kill: 6 };
    assert_eq!((memory.event_count, memory.psi.unwrap().full.total), (events, 11));
    assert_eq!(stats.pids, Pids { current: 3, limit: 0 });
    let entry = |minor, op: &str, value| BlkioEntry { major: 8, minor, op: op.to_owned(), value };
    assert_eq!(stats.blkio.io_service_bytes_recursive.len(), 4);
    assert_eq!(
        stats.blkio.io_service_bytes_recursive[..3],
        [entry(16, "Read", 1), entry(16, "Write", 2), entry(16, "Discard", 5)]
    );
    assert_eq!(
        stats.blkio.io_serviced_recursive,
        [entry(16, "Read", 3), entry(16, "Write", 4), entry(16, "Discard", 6)]
    );
    assert_eq!(stats.blkio.psi.unwrap().some.total, 5);
    assert_eq!(stats.hugetlb["2MB"], Hugetlb { usage: 2_097_152, max: 0, failcnt: 8 });
    assert_eq!(stats.hugetlb.keys().collect::<Vec<_>>(), ["1GB", "2MB"]);
    assert_eq!(stats.misc["res_a"], Misc { usage: 3, max: u64::MAX, events: 2 });
    assert_eq!(stats.misc["sev"], Misc { usage: 0, max: 500, events: 0 });
    let rdma = stats.rdma["mlx4_0"];
    assert_eq!((rdma.current.hca_object, rdma.max.hca_handle, rdma.max.hca_object), (20, 3, u64::MAX));
}

const LEGACY: &[(&str, &str)] = &[
    ("cpuacct.usage", "46000000\n"),
    ("cpuacct.stat", "user 1\nsystem 3\n"),
    ("cpuacct.usage_percpu", "40000000 6000000 \n"),
    ("cpuacct.usage_percpu_sys", "30000000 1000000 \n"),
    ("cpuacct.usage_percpu_user", "10000000 5000000 \n"),
    ("cpu.stat", "nr_periods 7\nnr_throttled 3\nthrottled_time 250\nnr_bursts 0\nburst_time 0\n"),
    ("cpuset.cpus", "0-1\n"),
    ("cpuset.mems", "0\n"),
    ("cpuset.sched_load_balance", "1\n"),
    ("cpuset.sched_relax_domain_level", "-1\n"),
    ("memory.usage_in_bytes", "4096\n"),
    ("memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory.max_usage_in_bytes", "8192\n"),
    ("memory.failcnt", "2\n"),
    ("memory.memsw.usage_in_bytes", "5000\n"),
    ("memory.kmem.usage_in_bytes", "1000\n"),
    ("memory.kmem.tcp.failcnt", "1\n"),
    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
    ("memory.stat", "cache 123\nrss 456\n"),
    ("pids.current", "2\n"),
    ("pids.max", "77\n"),
    ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
    ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 4096\n254:0 Total 4096\nTotal 4096\n"),
    ("blkio.time_recursive", "8:0 12\n"),
    ("hugetlb.2MB.usage_in_bytes", "0\n"),
    ("hugetlb.2MB.max_usage_in_bytes", "2097152\n"),
    ("hugetlb.2MB.failcnt", "9\n"),
    ("hugetlb.2MB.limit_in_bytes", "4194304\n"),
];

#[test]
fn k63_all_of_version_1_is_read() {
    let stats = read(LEGACY, &[]);
    let usage = &stats.cpu.usage;
    assert_eq!((usage.total, usage.user, usage.kernel), (46_000_000, 10_000_000, 30_000_000));
    assert_eq!(usage.percpu, [40_000_000, 6_000_000]);
    assert_eq!((&usage.percpu_kernel[1], &usage.percpu_user[0]), (&1_000_000, &10_000_000));
    assert_eq!(stats.cpu.throttling.throttled_time, 250);
    assert_eq!((stats.cpuset.sched_load_balance, stats.cpuset.sched_relax_domain_level), (1, -1));
    let usage = stats.memory.usage;
    assert_eq!(usage, MemoryEntry { limit: 9_223_372_036_854_771_712, usage: 4096, max: 8192, failcnt: 2 });
    assert_eq!((stats.memory.swap.usage, stats.memory.kernel.usage), (5000, 1000));
    assert_eq!((stats.memory.kernel_tcp.failcnt, stats.memory.cache), (1, 123));
    assert_eq!(stats.memory.event_count.oom_kill, 1);
    assert_eq!(stats.pids, Pids { current: 2, limit: 77 });
    let bytes: Vec<_> =
        stats.blkio.io_service_bytes_recursive.iter().map(|e| (e.op.as_str(), e.value)).collect();
    // The first list that has something, and only what belongs to a device.
    assert_eq!(bytes, [("Read", 4096), ("Total", 4096)]);
    assert_eq!(
        (stats.blkio.io_time_recursive[0].op.as_str(), stats.blkio.io_time_recursive[0].value),
        ("", 12)
    );
    assert_eq!(stats.hugetlb["2MB"], Hugetlb { usage: 0, max: 2_097_152, failcnt: 9 });
    assert_eq!(stats.cpu.psi, None);
}

#[test]
fn k63_b35_of_a_hybrid_host_each_controller_is_read_where_it_is() {
    let unified = [
        ("cpu.stat", "usage_usec 5\nuser_usec 2\nsystem_usec 3\n"),
        ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"),
        ("hugetlb.1GB.current", "1073741824\n"),
    ];
    let stats = read(LEGACY, &unified);
    assert_eq!((stats.cpu.usage.total, stats.cpu.throttling.throttled_time), (46_000_000, 250));
    assert_eq!(stats.cpu.psi.unwrap().some.total, 7);
    assert_eq!((stats.memory.usage.usage, stats.pids.limit, stats.cpuset.cpus), (4096, 77, vec![0, 1]));
    assert_eq!(stats.hugetlb["1GB"].usage, 1 << 30);
    assert_eq!(read(&[], &unified).cpu.usage.total, 5000);
}

#[test]
fn k63_missing_files_and_odd_lines_are_no_numbers_and_no_failure() {
    assert_eq!(read(&[], &[]), Stats::default());
    let odd = read(
        &[
            ("memory.stat", "cache\n\n 5\ncache x\nrss -1\nrss 18446744073709551616\nok 1\n"),
            ("pids.max", ""),
        ],
        &[
            ("io.stat", "garbage\n8:x rbytes=1\n8: rbytes=1\n8:0 rbytes=x =3 wbytes\n"),
            ("cpu.pressure", "none avg10=1\n"),
            ("io.pressure", "full avg10=NaN avg60=inf total=-1\n"),
        ],
    );
    assert_eq!(odd.memory.raw, BTreeMap::from([("ok".to_owned(), 1)]));
    assert_eq!((odd.pids.limit, odd.cpu.psi), (0, None));
    assert_eq!(odd.blkio.psi, Some(Pressure::default()));
    assert!(odd.blkio.io_service_bytes_recursive.is_empty());
    assert_eq!(list(" \n"), Vec::<u16>::new());
    assert_eq!(list("3-1,70000,7,x-2"), [7]);
    assert_eq!(pressure(""), None);
    // JSON has no word for what is not a number.
    assert!(serde_json::to_string(&odd).unwrap().contains("\"avg60\":0.0"));
}

#[test]
fn k63_network_interfaces_are_read_as_the_container_sees_them() {
    let table = "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
         lo:       9       9    0    0    0     0          0         0        9       9    0    0    0     0       0          0\n\
         eth0:1000       2    3    4    0     0          0         0     5000       6    7    8    0     0       0          0\n\
         short: 1 2 3\n";
    let found = interfaces(table);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{"Name": "eth0", "RxBytes": 1000, "RxPackets": 2, "RxErrors": 3, "RxDropped": 4,
            "TxBytes": 5000, "TxPackets": 6, "TxErrors": 7, "TxDropped": 8}])
    );
}

#[test]
fn k63_resctrl_is_read_of_the_group_and_of_the_root() {
    let root = Directory::new(&[
        ("info/L3/cbm_mask", "7ff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("schemata", "    L3:0=7ff;1=7ff\n    MB:0= 100;1= 100\n"),
    ]);
    let group = Directory::new(&[
        ("schemata", "    L3:0=7f0;1=1f\n"),
        ("mon_data/mon_L3_00/llc_occupancy", "16234000\n"),
        ("mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n"),
        ("mon_data/mon_L3_01/llc_occupancy", "7\n"),
        ("mon_data/mon_L3_01/mbm_total_bytes", "9\n"),
        ("mon_data/mon_L3_01/mbm_local_bytes", "8\n"),
        ("mon_data/mon_MB_00/llc_occupancy", "1\n"),
    ]);
    let mut stats = Stats::default();
    let names = group.names();
    stats.read_resctrl(&|name| root.text(name), Files { names: &names, read: &|name| group.text(name) });
    let rdt = stats.intel_rdt;
    assert_eq!(
        (rdt.l3_cache_schema_root.as_str(), rdt.l3_cache_schema.as_str()),
        ("L3:0=7ff;1=7ff", "L3:0=7f0;1=1f")
    );
    assert_eq!((rdt.mem_bw_schema_root.as_str(), rdt.mem_bw_schema.as_str()), ("MB:0= 100;1= 100", ""));
    let info = L3CacheInfo { cbm_mask: "7ff".into(), min_cbm_bits: 1, num_closids: 16 };
    assert_eq!((rdt.l3_cache_info, rdt.mem_bw_info.unwrap().bandwidth_gran), (Some(info), 10));
    let mbm = |total, local| MbmStats { mbm_total_bytes: total, mbm_local_bytes: local };
    assert_eq!(rdt.mbm_stats.unwrap(), [mbm(0, 0), mbm(9, 8)]);
    assert_eq!(
        rdt.cmt_stats.unwrap().iter().map(|node| node.llc_occupancy).collect::<Vec<_>>(),
        [16_234_000, 7]
    );
    assert_eq!(serde_json::to_string(&IntelRdt::default()).unwrap(), "{}");
}

#[test]
fn k62_what_the_memory_ran_out_of_is_said_in_bytes() {
    let unified = |files: &[(&'static str, &'static str)]| {
        let directory = Directory::new(files);
        OomKilled::read(true, &|name| directory.text(name)).map(|killed| killed.to_string())
    };
    let events = ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n");
    let all = [events, ("memory.max", "524288\n"), ("memory.peak", "524288\n")];
    assert_eq!(unified(&all).as_deref(), Some("limit 524288, peak 524288"));
    let above = [events, ("memory.max", "max\n")];
    assert_eq!(unified(&above).as_deref(), Some("limit of a cgroup above, peak ?"));
    assert_eq!(unified(&[("memory.events", "oom 1\noom_kill 0\n"), all[1]]), None);
    assert_eq!(unified(&[]), None);
    let legacy = Directory::new(LEGACY);
    let killed = OomKilled::read(false, &|name| legacy.text(name));
    assert_eq!(killed, Some(OomKilled { kills: 1, limit: None, peak: Some(8192) }));
    // Before Linux 4.13 nobody counts.
    let old = Directory::new(&[("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")]);
    assert_eq!(OomKilled::read(false, &|name| old.text(name)), None);
}
