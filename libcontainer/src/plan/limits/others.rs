//! Limits of huge pages, tasks, network and rdma, and the files of version 2 by name. Pure.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma};

use super::{HUGETLB, Limits, NET_CLS, NET_PRIO, PIDS, RDMA, UNIFIED, Word, or_max};
use crate::plan::facts::CgroupVersion;
use crate::plan::invalid::pointer_token;

/// Files of version 2 that belong to no controller begin with one of these.
const CORE: &[&str] = &["cgroup", "irq"];

/// Says how much of each size of huge pages may be used. Spec: config-linux.md#huge-page-limits.
pub(super) fn huge_pages(list: &[LinuxHugepageLimit], sizes: &[String], limits: &mut Limits) {
    for (i, entry) in list.iter().enumerate() {
        let at = format!("hugepageLimits/{i}");
        let (size, limit) = (entry.page_size(), entry.limit());
        let known = limits.find(&HUGETLB).is_none() || sizes.contains(size);
        if !known {
            let have = if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") };
            let says = format!("this host has no huge pages of {size:?}; it has {have}");
            limits.error(&HUGETLB, &format!("{at}/pageSize"), says);
        }
        if limit < 0 {
            limits.error(&HUGETLB, &format!("{at}/limit"), format!("{limit} is no number of bytes"));
        }
        if limit < 0 || !known {
            continue;
        }
        // Reservations are what the specification wants limited, where the kernel counts them (Linux >= 5.7);
        // the limit of use catches the pages that nobody reserved.
        for (file, word) in [(".rsvd", Word::maybe as fn(String, i64) -> Word), ("", Word::write)] {
            limits.say(
                &HUGETLB,
                &at,
                word(format!("hugetlb.{size}{file}.limit_in_bytes"), limit),
                word(format!("hugetlb.{size}{file}.max"), limit),
            );
        }
    }
}

/// Says how many tasks there may be. Spec: config-linux.md#pids.
///
/// Zero is a limit: what is there stays, and nothing can be forked.
pub(super) fn pids(pids: &LinuxPids, limits: &mut Limits) {
    let limit = or_max(pids.limit());
    limits.say(&PIDS, "pids/limit", Word::write("pids.max", &limit), Word::write("pids.max", &limit));
}

/// Says how packets are marked. Spec: config-linux.md#network.
pub(super) fn network(network: &LinuxNetwork, limits: &mut Limits) {
    // Zero is the mark of no class, which every host gives by itself.
    if let Some(class) = super::asked(network.class_id()) {
        let v1 = Word::write("net_cls.classid", class);
        limits.say(&NET_CLS, "network/classID", v1, Word::not_in_v2());
    }
    for (i, entry) in network.priorities().iter().flatten().enumerate() {
        let (name, at) = (entry.name(), format!("network/priorities/{i}"));
        if name.is_empty() || name.contains(char::is_whitespace) {
            limits.error(
                &NET_PRIO,
                &format!("{at}/name"),
                format!("{name:?} is not the name of an interface"),
            );
            continue;
        }
        let v1 = Word::write("net_prio.ifpriomap", format!("{name} {}", entry.priority()));
        limits.say(&NET_PRIO, &at, v1, Word::not_in_v2());
    }
}

/// Says how much of each rdma device may be used. Spec: config-linux.md#rdma.
pub(super) fn rdma(devices: &HashMap<String, LinuxRdma>, limits: &mut Limits) {
    let mut sorted: Vec<_> = devices.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, device) in sorted {
        let at = format!("rdma/{}", pointer_token(name));
        if name.is_empty() || name.contains(char::is_whitespace) {
            limits.error(&RDMA, &at, format!("{name:?} is not the name of a device"));
            continue;
        }
        let mut line = name.clone();
        for (key, value) in [("hca_handle", device.hca_handles()), ("hca_object", device.hca_objects())] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        if line.len() == name.len() {
            limits.error(&RDMA, &at, "has neither hcaHandles nor hcaObjects; give at least one");
            continue;
        }
        limits.say(&RDMA, &at, Word::write("rdma.max", &line), Word::write("rdma.max", &line));
    }
}

/// Says what files of version 2 are to hold, sorted by name. Spec: config-linux.md#unified.
pub(super) fn unified(files: &HashMap<String, String>, limits: &mut Limits) {
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort();
    for (file, value) in sorted {
        let at = format!("unified/{}", pointer_token(file));
        let name = file.split('.').next().unwrap_or_default();
        if file.contains(['/', '\0', '\n']) || name.is_empty() || name.len() == file.len() {
            limits.error(&UNIFIED, &at, format!("{file:?} is not the name of a file, as in memory.high"));
        } else if let Some(why) = not_in_unified(name, limits) {
            limits.error(&UNIFIED, &at, why);
        } else {
            // The kernel reads one line a write, as of io.max.
            let lines = if value.is_empty() { vec![""] } else { value.lines().collect() };
            for line in lines {
                write_unified(file, line, &at, limits);
            }
        }
    }
}

/// Why there is no file whose name begins with `name`, if there is none.
fn not_in_unified(name: &str, limits: &Limits) -> Option<String> {
    let mut hierarchies = limits.hierarchies.iter();
    let Some(unified) = hierarchies.find(|h| h.version == CgroupVersion::V2) else {
        return Some(
            "is for cgroup version 2, and this host has version 1 only; \
             say it with the other properties of resources"
                .into(),
        );
    };
    if CORE.contains(&name) || unified.controllers.iter().any(|c| c == name) {
        return None;
    }
    let v1 = limits.hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == name));
    let why =
        if v1 { "which is in version 1 on this host" } else { "which this host does not have turned on" };
    Some(format!("needs the controller {name} of cgroup version 2, {why}"))
}

fn write_unified(file: &str, line: &str, at: &str, limits: &mut Limits) {
    let unified = limits.hierarchies.iter().position(|h| h.version == CgroupVersion::V2);
    let Some(hierarchy) = unified.and_then(|i| u16::try_from(i).ok()) else { return };
    limits.push(hierarchy, file.to_owned(), line.to_owned(), at, false);
}
