//! The files of resctrl. See Documentation/filesystems/resctrl.rst of the kernel.

use super::text::{count, number};
use super::{CmtStats, Files, IntelRdt, L3CacheInfo, MbmStats, MemBwInfo, Read};

/// Reads the group, and what holds for all groups. A group's names are paths below it.
pub(super) fn read(root: Read<'_>, group: Files<'_>) -> IntelRdt {
    let mask = root("info/L3/cbm_mask");
    let bandwidth = root("info/MB/bandwidth_gran");
    let (all, own) = (root("schemata").unwrap_or_default(), (group.read)("schemata").unwrap_or_default());
    IntelRdt {
        l3_cache_info: mask.map(|mask| L3CacheInfo {
            cbm_mask: mask.trim().to_owned(),
            min_cbm_bits: count(root, "info/L3/min_cbm_bits"),
            num_closids: count(root, "info/L3/num_closids"),
        }),
        l3_cache_schema_root: line(&all, "L3"),
        l3_cache_schema: line(&own, "L3"),
        mem_bw_info: bandwidth.map(|granularity| MemBwInfo {
            bandwidth_gran: number(&granularity).unwrap_or_default(),
            delay_linear: count(root, "info/MB/delay_linear"),
            min_bandwidth: count(root, "info/MB/min_bandwidth"),
            num_closids: count(root, "info/MB/num_closids"),
        }),
        mem_bw_schema_root: line(&all, "MB"),
        mem_bw_schema: line(&own, "MB"),
        mbm_stats: monitored(group, "mbm_total_bytes", |node| MbmStats {
            mbm_total_bytes: count(group.read, &format!("{node}/mbm_total_bytes")),
            mbm_local_bytes: count(group.read, &format!("{node}/mbm_local_bytes")),
        }),
        cmt_stats: monitored(group, "llc_occupancy", |node| CmtStats {
            llc_occupancy: count(group.read, &format!("{node}/llc_occupancy")),
        }),
    }
}

/// The line of a resource in schemata, which is indented.
fn line(schemata: &str, resource: &str) -> String {
    let mut lines = schemata.lines().map(str::trim);
    lines.find(|line| line.split(':').next() == Some(resource)).unwrap_or_default().to_owned()
}

/// What is read off each domain of the third cache that has this file; none if none has.
fn monitored<T>(group: Files<'_>, file: &str, read: impl Fn(&str) -> T) -> Option<Vec<T>> {
    let node = |name: &String| Some(name.strip_suffix(file)?.strip_suffix('/')?.to_owned());
    let nodes = group.names.iter().filter_map(node).filter(|node| node.starts_with("mon_data/mon_L3_"));
    let all: Vec<T> = nodes.map(|node| read(&node)).collect();
    (!all.is_empty()).then_some(all)
}
