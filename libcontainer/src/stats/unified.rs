//! The files of version 2. See Documentation/admin-guide/cgroup-v2.rst of the kernel.

use super::legacy::{limit, reserved, sizes};
use super::text::{count, device, keyed, list, named, number, pressure};
use super::{BlkioEntry, Files, Hugetlb, MemoryEntry, MemoryEvents, RdmaResources, Read, Stats};

/// Fills in what is there; what version 1 has told of a controller stays.
pub(super) fn fill(stats: &mut Stats, files: Files<'_>) {
    let read = files.read;
    processor(stats, read);
    if let Some(cpus) = read("cpuset.cpus.effective") {
        stats.cpuset.cpus = list(&cpus);
        stats.cpuset.mems = list(&read("cpuset.mems.effective").unwrap_or_default());
    }
    memory(stats, read);
    if let Some(current) = read("pids.current") {
        stats.pids.current = number(&current).unwrap_or_default();
        stats.pids.limit = limit(read, "pids.max");
    }
    block_io(stats, read);
    huge_pages(stats, files);
    misc(stats, read);
    rdma(stats, read);
    let of = |file: &str| read(file).and_then(|text| pressure(&text));
    (stats.cpu.psi, stats.memory.psi, stats.blkio.psi) =
        (of("cpu.pressure"), of("memory.pressure"), of("io.pressure"));
}

/// Times are counted in every cgroup, the controller's own numbers only where it is.
fn processor(stats: &mut Stats, read: Read<'_>) {
    let values = keyed(&read("cpu.stat").unwrap_or_default());
    let nanoseconds = |key: &str| values.get(key).map(|micro| micro.saturating_mul(1000));
    let usage = &mut stats.cpu.usage;
    if usage.total == 0 {
        usage.total = nanoseconds("usage_usec").unwrap_or_default();
        usage.user = nanoseconds("user_usec").unwrap_or_default();
        usage.kernel = nanoseconds("system_usec").unwrap_or_default();
    }
    if let Some(periods) = values.get("nr_periods") {
        let throttling = &mut stats.cpu.throttling;
        throttling.periods = *periods;
        throttling.throttled_periods = values.get("nr_throttled").copied().unwrap_or_default();
        throttling.throttled_time = nanoseconds("throttled_usec").unwrap_or_default();
    }
}

fn memory(stats: &mut Stats, read: Read<'_>) {
    let Some(usage) = read("memory.current") else { return };
    let memory = &mut stats.memory;
    let events = keyed(&read("memory.events").unwrap_or_default());
    let of = |key: &str| events.get(key).copied().unwrap_or_default();
    memory.event_count = MemoryEvents {
        low: of("low"),
        high: of("high"),
        max: of("max"),
        oom: of("oom"),
        oom_kill: of("oom_kill"),
        oom_group_kill: of("oom_group_kill"),
    };
    memory.usage = MemoryEntry {
        limit: count(read, "memory.max"),
        usage: number(&usage).unwrap_or_default(),
        max: count(read, "memory.peak"),
        // How often the limit was about to be exceeded: what version 1 calls so.
        failcnt: of("max"),
    };
    // Version 1 counts memory and swap together, and clients subtract. The two peaks need not be of one moment.
    if let Some(swap) = read("memory.swap.current") {
        let swap_limit = count(read, "memory.swap.max");
        memory.swap = MemoryEntry {
            limit: memory.usage.limit.saturating_add(swap_limit),
            usage: memory.usage.usage.saturating_add(number(&swap).unwrap_or_default()),
            max: 0,
            failcnt: keyed(&read("memory.swap.events").unwrap_or_default())
                .get("max")
                .copied()
                .unwrap_or_default(),
        };
    }
    memory.raw = keyed(&read("memory.stat").unwrap_or_default());
    let raw = |key: &str| memory.raw.get(key).copied().unwrap_or_default();
    memory.cache = raw("file");
    // Version 2 has one limit for all; the numbers are there.
    memory.kernel = MemoryEntry { limit: u64::MAX, usage: raw("kernel"), max: 0, failcnt: 0 };
    memory.kernel_tcp = MemoryEntry { limit: u64::MAX, usage: raw("sock"), max: 0, failcnt: 0 };
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn block_io(stats: &mut Stats, read: Read<'_>) {
    const KEYS: &[(&str, &str)] = &[
        ("rbytes", "Read"),
        ("wbytes", "Write"),
        ("dbytes", "Discard"),
        ("rios", "Read"),
        ("wios", "Write"),
        ("dios", "Discard"),
    ];
    let text = read("io.stat").unwrap_or_default();
    for (at, values) in named(&text) {
        let Some((major, minor)) = device(at) else { continue };
        for (key, op) in KEYS {
            let Some(value) = values.get(key).copied() else { continue };
            let entry = BlkioEntry { major, minor, op: (*op).to_owned(), value };
            if key.ends_with("bytes") {
                stats.blkio.io_service_bytes_recursive.push(entry);
            } else {
                stats.blkio.io_serviced_recursive.push(entry);
            }
        }
    }
}

fn huge_pages(stats: &mut Stats, files: Files<'_>) {
    for size in sizes(files, ".current") {
        let read = files.read;
        let prefix = reserved(read, &size, "current");
        let usage = count(read, &format!("{prefix}.current"));
        // Version 2 keeps no peak, and counts refusals for both kinds in one place.
        let events = keyed(&read(&format!("hugetlb.{size}.events")).unwrap_or_default());
        let failcnt = events.get("max").copied().unwrap_or_default();
        stats.hugetlb.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
}

fn misc(stats: &mut Stats, read: Read<'_>) {
    for (name, usage) in keyed(&read("misc.current").unwrap_or_default()) {
        stats.misc.entry(name).or_default().usage = usage;
    }
    for (name, max) in keyed(&read("misc.max").unwrap_or_default()) {
        stats.misc.entry(name).or_default().max = max;
    }
    for (name, events) in keyed(&read("misc.events").unwrap_or_default()) {
        let name = name.strip_suffix(".max").unwrap_or(&name);
        stats.misc.entry(name.to_owned()).or_default().events = events;
    }
}

fn rdma(stats: &mut Stats, read: Read<'_>) {
    let resources = |text: &str| -> Vec<(String, RdmaResources)> {
        let one = |(name, values): (&str, std::collections::BTreeMap<&str, u64>)| {
            let of = |key: &str| values.get(key).copied().unwrap_or_default();
            (name.to_owned(), RdmaResources { hca_handle: of("hca_handle"), hca_object: of("hca_object") })
        };
        named(text).map(one).collect()
    };
    for (device, current) in resources(&read("rdma.current").unwrap_or_default()) {
        stats.rdma.entry(device).or_default().current = current;
    }
    for (device, max) in resources(&read("rdma.max").unwrap_or_default()) {
        stats.rdma.entry(device).or_default().max = max;
    }
}
