//! The files of version 1. See Documentation/admin-guide/cgroup-v1 of the kernel.

use super::text::{count, keyed, list, number, per_device, row};
use super::{BlkioEntry, Files, Hugetlb, MemoryEntry, Read, Stats};

/// From here on a limit is none: the kernel's greatest is a little below 2^63, depending on the size of a page.
pub(super) const NO_LIMIT: u64 = (i64::MAX as u64) & !0xffff;
/// cpuacct.stat counts in ticks of user space, of which each architecture has 100 a second.
const TICK: u64 = 10_000_000;

/// Fills in what is there.
pub(super) fn fill(stats: &mut Stats, files: Files<'_>) {
    let read = files.read;
    processor(stats, read);
    cpuset(stats, read);
    memory(stats, read);
    pids(stats, read);
    block_io(stats, read);
    huge_pages(stats, files);
}

fn processor(stats: &mut Stats, read: Read<'_>) {
    let usage = &mut stats.cpu.usage;
    usage.total = count(read, "cpuacct.usage");
    let times = keyed(&read("cpuacct.stat").unwrap_or_default());
    let time = |key: &str| times.get(key).map_or(0, |ticks| ticks.saturating_mul(TICK));
    (usage.user, usage.kernel) = (time("user"), time("system"));
    usage.percpu = row(&read("cpuacct.usage_percpu").unwrap_or_default());
    usage.percpu_kernel = row(&read("cpuacct.usage_percpu_sys").unwrap_or_default());
    usage.percpu_user = row(&read("cpuacct.usage_percpu_user").unwrap_or_default());
    let throttled = keyed(&read("cpu.stat").unwrap_or_default());
    let of = |key: &str| throttled.get(key).copied().unwrap_or_default();
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = of("nr_periods");
    throttling.throttled_periods = of("nr_throttled");
    throttling.throttled_time = of("throttled_time");
}

fn cpuset(stats: &mut Stats, read: Read<'_>) {
    let set = &mut stats.cpuset;
    set.cpus = list(&read("cpuset.cpus").unwrap_or_default());
    set.mems = list(&read("cpuset.mems").unwrap_or_default());
    set.cpu_exclusive = count(read, "cpuset.cpu_exclusive");
    set.mem_hardwall = count(read, "cpuset.mem_hardwall");
    set.mem_exclusive = count(read, "cpuset.mem_exclusive");
    set.memory_migrate = count(read, "cpuset.memory_migrate");
    set.memory_spread_page = count(read, "cpuset.memory_spread_page");
    set.memory_spread_slab = count(read, "cpuset.memory_spread_slab");
    set.memory_pressure = count(read, "cpuset.memory_pressure");
    set.sched_load_balance = count(read, "cpuset.sched_load_balance");
    let level = read("cpuset.sched_relax_domain_level");
    set.sched_relax_domain_level = level.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
}

fn memory(stats: &mut Stats, read: Read<'_>) {
    let memory = &mut stats.memory;
    memory.usage = entry(read, "memory");
    memory.swap = entry(read, "memory.memsw");
    memory.kernel = entry(read, "memory.kmem");
    memory.kernel_tcp = entry(read, "memory.kmem.tcp");
    memory.raw = keyed(&read("memory.stat").unwrap_or_default());
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    let events = keyed(&read("memory.oom_control").unwrap_or_default());
    memory.event_count.oom_kill = events.get("oom_kill").copied().unwrap_or_default();
}

fn entry(read: Read<'_>, prefix: &str) -> MemoryEntry {
    let of = |file: &str| count(read, &format!("{prefix}.{file}"));
    MemoryEntry {
        limit: of("limit_in_bytes"),
        usage: of("usage_in_bytes"),
        max: of("max_usage_in_bytes"),
        failcnt: of("failcnt"),
    }
}

fn pids(stats: &mut Stats, read: Read<'_>) {
    stats.pids.current = count(read, "pids.current");
    stats.pids.limit = limit(read, "pids.max");
}

/// A limit that is 0 if there is none.
pub(super) fn limit(read: Read<'_>, file: &str) -> u64 {
    read(file).and_then(|text| number(&text)).filter(|limit| *limit != u64::MAX).unwrap_or_default()
}

/// What is known depends on the scheduler of the devices: BFQ and, before Linux 5.0, CFQ count more than throttling.
fn block_io(stats: &mut Stats, read: Read<'_>) {
    let first = |what: &str| -> Vec<BlkioEntry> {
        let files = [format!("blkio.bfq.{what}"), format!("blkio.{what}"), format!("blkio.throttle.{what}")];
        let lists = files.iter().filter_map(|file| read(file)).map(|text| per_device(&text));
        lists.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default()
    };
    let blkio = &mut stats.blkio;
    blkio.io_service_bytes_recursive = first("io_service_bytes_recursive");
    blkio.io_serviced_recursive = first("io_serviced_recursive");
    blkio.io_queue_recursive = first("io_queued_recursive");
    blkio.io_service_time_recursive = first("io_service_time_recursive");
    blkio.io_wait_time_recursive = first("io_wait_time_recursive");
    blkio.io_merged_recursive = first("io_merged_recursive");
    blkio.io_time_recursive = first("time_recursive");
    blkio.sectors_recursive = first("sectors_recursive");
}

fn huge_pages(stats: &mut Stats, files: Files<'_>) {
    for size in sizes(files, ".usage_in_bytes") {
        let read = files.read;
        let prefix = reserved(read, &size, "usage_in_bytes");
        let of = |file: &str| count(read, &format!("{prefix}.{file}"));
        let pages =
            Hugetlb { usage: of("usage_in_bytes"), max: of("max_usage_in_bytes"), failcnt: of("failcnt") };
        stats.hugetlb.insert(size, pages);
    }
}

/// The sizes of pages that have a file `hugetlb.SIZE` with this end.
pub(super) fn sizes(files: Files<'_>, end: &str) -> Vec<String> {
    let size = |name: &String| Some(name.strip_prefix("hugetlb.")?.strip_suffix(end)?.to_owned());
    files.names.iter().filter_map(size).filter(|size| !size.contains('.')).collect()
}

/// The files of reservations where there are any, which are what a limit is on, as clients are told by runc.
pub(super) fn reserved(read: Read<'_>, size: &str, file: &str) -> String {
    let reserved = format!("hugetlb.{size}.rsvd");
    if read(&format!("{reserved}.{file}")).is_some() { reserved } else { format!("hugetlb.{size}") }
}
