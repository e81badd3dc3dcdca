//! What a container uses, in the form that runc gives to its clients. Runs nowhere: pure.
//!
//! The names and the nesting are runc's (types/events.go), so that what reads its `events` reads these. Fields that
//! it does not have are marked. Numbers are in bytes and nanoseconds.
#![allow(missing_docs, reason = "the fields are runc's, or named as the kernel's files are")]

mod legacy;
mod resctrl;
#[cfg(test)]
mod tests;
mod text;
mod unified;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use text::{interfaces, keyed};

/// The text of a kernel's file, by name; none if there is no such file.
pub(crate) type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By the size of a page, such as `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    pub intel_rdt: IntelRdt,
    /// Those of the container's own network namespace but `lo`, as the container sees them.
    pub network_interfaces: Vec<NetworkInterface>,
    /// By the name of the resource. Not runc's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub misc: BTreeMap<String, Misc>,
    /// By the name of the device. Not runc's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Time lost by waiting for a resource, see psi(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// Somebody waited.
    pub some: PressureLine,
    /// Everybody waited.
    pub full: PressureLine,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureLine {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    /// Microseconds, as the kernel and runc have it.
    pub total: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together, in version 2 as in version 1.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// All of memory.stat.
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
    pub event_count: MemoryEvents,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryEntry {
    /// The greatest number if there is none.
    pub limit: u64,
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

/// How often something happened to the memory, see memory.events in cgroup-v2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryEvents {
    pub low: u64,
    pub high: u64,
    pub max: u64,
    pub oom: u64,
    pub oom_kill: u64,
    /// Not runc's.
    pub oom_group_kill: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    pub current: u64,
    /// 0 if there is none.
    pub limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hugetlb {
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Misc {
    pub usage: u64,
    pub max: u64,
    pub events: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rdma {
    pub current: RdmaResources,
    pub max: RdmaResources,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RdmaResources {
    pub hca_handle: u64,
    pub hca_object: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntelRdt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MbmStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CmtStats>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L3CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemBwInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MbmStats {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CmtStats {
    pub llc_occupancy: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// How a memory limit was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomKilled {
    /// How many processes were killed.
    pub kills: u64,
    /// The limit; none if it is the limit of a cgroup above.
    pub limit: Option<u64>,
    /// The most that was used; unknown in version 2 before Linux 5.19.
    pub peak: Option<u64>,
}

impl OomKilled {
    /// Reads it off the files of a memory cgroup; none if nobody was killed.
    pub(crate) fn read(unified: bool, read: Read<'_>) -> Option<OomKilled> {
        let [events, limit, peak] = if unified {
            ["memory.events", "memory.max", "memory.peak"]
        } else {
            ["memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"]
        };
        let kills = *keyed(&read(events)?).get("oom_kill")?;
        let number = |file| read(file).and_then(|text| text::number(&text)).filter(|n| *n < legacy::NO_LIMIT);
        (kills > 0).then(|| OomKilled { kills, limit: number(limit), peak: number(peak) })
    }
}

impl fmt::Display for OomKilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "limit {limit}, peak ")?,
            None => f.write_str("limit of a cgroup above, peak ")?,
        }
        match self.peak {
            Some(peak) => write!(f, "{peak}"),
            None => f.write_str("?"),
        }
    }
}

impl Stats {
    /// Reads the files of a container's cgroups, version 1 and version 2; each controller is in one of them. Both
    /// come with the names of their files.
    pub(crate) fn of_cgroups(legacy: Files<'_>, unified: Files<'_>) -> Stats {
        let mut stats = Stats::default();
        legacy::fill(&mut stats, legacy);
        unified::fill(&mut stats, unified);
        stats
    }

    /// Reads the resctrl group in `group`, and what is above it in `root`.
    pub(crate) fn read_resctrl(&mut self, root: Read<'_>, group: Files<'_>) {
        self.intel_rdt = resctrl::read(root, group);
    }
}

/// The files of a directory, or of several that have no name in common that matters.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// Their names, in order.
    pub(crate) names: &'a [String],
    /// Their text.
    pub(crate) read: Read<'a>,
}
