//! What clients of runc read: its own structures (types/events.go) and those of go-runc, which refuse what has another
//! type. Beside them only what we add by intention may be there.
#![expect(dead_code, reason = "most fields are read for their names and types only")]

use std::collections::BTreeMap;

use serde::Deserialize;

/// A line. `data` is there exactly if it is of the type `stats`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: Option<Stats>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stats {
    pub(crate) cpu: Cpu,
    pub(crate) cpuset: BTreeMap<String, NumberOrList>,
    pub(crate) memory: Memory,
    pub(crate) pids: Pids,
    pub(crate) blkio: BTreeMap<String, EntriesOrPressure>,
    pub(crate) hugetlb: BTreeMap<String, Hugetlb>,
    pub(crate) intel_rdt: IntelRdt,
    pub(crate) network_interfaces: Vec<NetworkInterface>,
    /// Ours.
    #[serde(default)]
    pub(crate) misc: BTreeMap<String, BTreeMap<String, u64>>,
    /// Ours.
    #[serde(default)]
    pub(crate) rdma: BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cpu {
    pub(crate) usage: CpuUsage,
    pub(crate) throttling: Throttling,
    pub(crate) psi: Option<Pressure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CpuUsage {
    pub(crate) total: u64,
    #[serde(default)]
    pub(crate) percpu: Vec<u64>,
    #[serde(default)]
    pub(crate) percpu_kernel: Vec<u64>,
    #[serde(default)]
    pub(crate) percpu_user: Vec<u64>,
    pub(crate) kernel: u64,
    pub(crate) user: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Throttling {
    pub(crate) periods: u64,
    pub(crate) throttled_periods: u64,
    pub(crate) throttled_time: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pressure {
    pub(crate) some: PressureLine,
    pub(crate) full: PressureLine,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PressureLine {
    pub(crate) avg10: f64,
    pub(crate) avg60: f64,
    pub(crate) avg300: f64,
    pub(crate) total: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum NumberOrList {
    Number(i64),
    List(Vec<u16>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub(crate) cache: u64,
    pub(crate) usage: MemoryEntry,
    pub(crate) swap: MemoryEntry,
    pub(crate) kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub(crate) kernel_tcp: MemoryEntry,
    pub(crate) raw: BTreeMap<String, u64>,
    pub(crate) psi: Option<Pressure>,
    pub(crate) event_count: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemoryEntry {
    pub(crate) limit: u64,
    pub(crate) usage: u64,
    pub(crate) max: u64,
    pub(crate) failcnt: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pids {
    pub(crate) current: u64,
    pub(crate) limit: u64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EntriesOrPressure {
    Entries(Vec<BlkioEntry>),
    Pressure(Pressure),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlkioEntry {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    #[serde(default)]
    pub(crate) op: String,
    pub(crate) value: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hugetlb {
    pub(crate) usage: u64,
    pub(crate) max: u64,
    pub(crate) failcnt: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntelRdt {
    pub(crate) l3_cache_info: Option<L3CacheInfo>,
    pub(crate) l3_cache_schema_root: Option<String>,
    pub(crate) l3_cache_schema: Option<String>,
    pub(crate) mem_bw_info: Option<BTreeMap<String, u64>>,
    pub(crate) mem_bw_schema_root: Option<String>,
    pub(crate) mem_bw_schema: Option<String>,
    pub(crate) mbm_stats: Option<Vec<BTreeMap<String, u64>>>,
    pub(crate) cmt_stats: Option<Vec<BTreeMap<String, u64>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct L3CacheInfo {
    pub(crate) cbm_mask: String,
    pub(crate) min_cbm_bits: u64,
    pub(crate) num_closids: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct NetworkInterface {
    pub(crate) name: String,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_errors: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_errors: u64,
    pub(crate) tx_dropped: u64,
}

/// The names that runc gives to the lists of block devices, and to the switches of cpuset.
const BLKIO: [&str; 9] = [
    "ioServiceBytesRecursive",
    "ioServicedRecursive",
    "ioQueueRecursive",
    "ioServiceTimeRecursive",
    "ioWaitTimeRecursive",
    "ioMergedRecursive",
    "ioTimeRecursive",
    "sectorsRecursive",
    "psi",
];
const CPUSET: [&str; 11] = [
    "cpus",
    "cpu_exclusive",
    "mems",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];
/// The last one is ours.
const EVENTS: [&str; 6] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill"];

/// Reads a line as a strict client does.
pub(crate) fn read(line: &str) -> Event {
    let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(["stats", "oom"].contains(&event.kind.as_str()), "{line}");
    assert_eq!(event.data.is_some(), event.kind == "stats", "{line}");
    if let Some(stats) = &event.data {
        known(stats.blkio.keys(), &BLKIO);
        known(stats.cpuset.keys(), &CPUSET);
        known(stats.memory.event_count.keys(), &EVENTS);
    }
    event
}

fn known<'n>(names: impl Iterator<Item = &'n String>, all: &[&str]) {
    for name in names {
        assert!(all.contains(&name.as_str()), "{name} is not one of {all:?}");
    }
}
