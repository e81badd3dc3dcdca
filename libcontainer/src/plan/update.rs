//! What `update` writes: the limits that it names, in the words of `create`, in an order that the kernel takes
//! whatever the cgroup holds. Pure.

mod held;
#[cfg(test)]
mod tests;

use std::fmt;

use oci_spec::runtime::{LinuxMemoryBuilder, LinuxResources};

use super::facts::{CgroupVersion, HierarchyFacts};
use super::invalid::{Finding, Findings, Invalid};
use super::limits::{self, Hierarchy, Write};
use super::rdt;
use super::step::Step;

pub(crate) use held::{agrees, is_about_the_same, restoring};

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Limits, in the order in which they are written.
    pub(crate) writes: Vec<Write>,
    /// Lines for the `schemata` of the container's resctrl group.
    pub(crate) schemata: Vec<String>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Limits. Device rules among them are not looked at: engines send one that denies everything.
    pub(crate) resources: &'a LinuxResources,
    /// A line for the cache of level 3.
    pub(crate) l3_cache_schema: Option<&'a str>,
    /// A line for memory bandwidth.
    pub(crate) mem_bw_schema: Option<&'a str>,
    /// Refuse a limit of memory below what is used. Spec: config-linux.md#memory.
    pub(crate) check_usage: bool,
}

/// The container's cgroup as it is.
pub(crate) struct Now<'a> {
    /// The hierarchies that it is in.
    pub(crate) hierarchies: &'a [Hierarchy],
    /// Sizes of huge pages that the host has.
    pub(crate) huge_page_sizes: &'a [String],
    /// Reads a file of it, by hierarchy and name.
    pub(crate) read: &'a dyn Fn(u16, &str) -> Option<String>,
}

impl fmt::Debug for Now<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Now").field("hierarchies", &self.hierarchies).finish_non_exhaustive()
    }
}

const MEMORY: &str = "config-linux.md#memory";
const LIMIT: &str = "/linux/resources/memory/limit";
const SWAP: &str = "/linux/resources/memory/swap";
const QUOTA: &str = "/linux/resources/cpu/quota";
const PERIOD: &str = "/linux/resources/cpu/period";
const BURST: &str = "/linux/resources/cpu/burst";

/// Decides an update.
pub(crate) fn compile(asked: Asked<'_>, now: &Now<'_>, findings: &mut Findings) -> Update {
    let (resources, filled) = beside_limit(asked.resources, now);
    let mut writes = limits::compile(&resources, now.hierarchies, now.huge_page_sizes, findings);
    if filled {
        writes.retain(|write| write.at != LIMIT);
    }
    memory(asked, now, findings);
    keep_quota(&mut writes, now);
    order_bandwidth(&mut writes, now);
    order_realtime(&mut writes, now);
    let schemata = rdt::lines(asked.l3_cache_schema, asked.mem_bw_schema, findings);
    Update { writes, schemata }
}

impl Update {
    /// The hierarchy in which a step is taken.
    pub(crate) fn hierarchy(&self, step: Step) -> Option<usize> {
        let Step::CgroupWrite(i) = step else { return None };
        self.writes.get(usize::from(i)).map(|write| usize::from(write.hierarchy))
    }

    /// Names a step.
    pub(crate) fn describe(&self, step: Step) -> String {
        match step {
            Step::CgroupWrite(i) => {
                self.writes.get(usize::from(i)).map_or_else(|| step.to_string(), Write::to_string)
            }
            Step::RdtSchema(i) => {
                format!("schemata {}", self.schemata.get(usize::from(i)).map_or("?", String::as_str))
            }
            other => other.to_string(),
        }
    }
}

/// The hierarchies of a cgroup whose directories are known, in their order.
pub(crate) fn hierarchies<'a>(
    directories: impl Iterator<Item = (CgroupVersion, &'a str)>,
    facts: &[HierarchyFacts],
) -> Vec<Hierarchy> {
    let hierarchy = |(version, path): (CgroupVersion, &str)| {
        let holds = |h: &&HierarchyFacts| {
            h.version == version && path.strip_prefix(&h.mount).is_some_and(|rest| rest.starts_with('/'))
        };
        let found = facts.iter().filter(holds).max_by_key(|h| h.mount.len());
        Hierarchy {
            version,
            mount: found.map_or_else(String::new, |h| h.mount.clone()),
            controllers: found.map_or_else(Vec::new, |h| h.controllers.clone()),
            enable: Vec::new(),
        }
    };
    directories.map(hierarchy).collect()
}

/// The findings with places as the caller of `update` knows them: flags by their names, the rest from resources on.
pub(crate) fn in_words_of(names: &[(String, String)], findings: Vec<Finding>) -> Vec<Finding> {
    let renamed = |finding: Finding| {
        let named = names.iter().find(|(place, _)| is_at(&finding.at, place));
        let at = match named {
            Some((_, name)) => name.clone(),
            None => finding.at.strip_prefix("/linux/resources").unwrap_or(&finding.at).to_owned(),
        };
        Finding { at, ..finding }
    };
    findings.into_iter().map(renamed).collect()
}

fn is_at(at: &str, place: &str) -> bool {
    at.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As [`in_words_of`], of a refusal.
pub(crate) fn refusal_in_words_of(names: &[(String, String)], invalid: Invalid) -> Invalid {
    Invalid::of(in_words_of(names, invalid.into_findings()))
}

fn find(now: &Now<'_>, controller: &str) -> Option<(u16, CgroupVersion)> {
    let has = |h: &Hierarchy| h.controllers.iter().any(|c| c == controller);
    let i = now.hierarchies.iter().position(has)?;
    Some((u16::try_from(i).ok()?, now.hierarchies.get(i)?.version))
}

/// What a file of this controller holds, by its names in both versions.
fn holds(now: &Now<'_>, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let (hierarchy, version) = find(now, controller)?;
    let file = if version == CgroupVersion::V1 { v1 } else { v2 };
    (now.read)(hierarchy, file).map(|text| text.trim().to_owned())
}

/// A number of bytes that is held; -1 for no limit.
fn bytes(text: &str) -> Option<i64> {
    if held::is_unlimited(text) { Some(-1) } else { text.parse().ok() }
}

/// `memory.swap` limits memory and swap together, so what swap alone may use depends on the limit of memory. Where
/// that is not asked for it is the present one. True if it is, and is not to be written.
fn beside_limit(resources: &LinuxResources, now: &Now<'_>) -> (LinuxResources, bool) {
    let mut resources = resources.clone();
    let memory =
        resources.memory().unwrap_or_else(|| LinuxMemoryBuilder::default().build().unwrap_or_default());
    let alone = memory.swap().is_some_and(|swap| swap > 0) && memory.limit().unwrap_or(0) == 0;
    let held = alone.then(|| holds(now, "memory", "memory.limit_in_bytes", "memory.max")).flatten();
    let Some(limit) = held.and_then(|text| bytes(&text)) else { return (resources, false) };
    let mut memory = memory;
    memory.set_limit(Some(limit));
    resources.set_memory(Some(memory));
    (resources, true)
}

/// What is wrong with limits of memory for a cgroup that is in use.
fn memory(asked: Asked<'_>, now: &Now<'_>, findings: &mut Findings) {
    let (Some(memory), Some((hierarchy, version))) = (asked.resources.memory(), find(now, "memory")) else {
        return;
    };
    let read = |file: &str| (now.read)(hierarchy, file).and_then(|text| bytes(text.trim()));
    let limit = memory.limit().filter(|limit| *limit > 0);
    let swap = memory.swap().filter(|swap| *swap > 0);
    if version == CgroupVersion::V1 && swap.is_some() && limit.is_none() && memory.limit() != Some(-1) {
        // Version 2 says so by itself: there it could not be written.
        if read("memory.limit_in_bytes") == Some(-1) {
            let says = "limits memory and swap together, and memory alone has no limit; set limit too";
            findings.error(SWAP, says, MEMORY);
        }
    }
    if version == CgroupVersion::V1 && memory.swap().unwrap_or(0) == 0 {
        let both = read("memory.memsw.limit_in_bytes").filter(|both| *both >= 0);
        if let (Some(limit), Some(both)) = (limit, both)
            && limit > both
        {
            let says =
                format!("{limit} is above the limit of memory and swap together, {both}; set swap too");
            findings.error(LIMIT, says, MEMORY);
        }
    }
    if !asked.check_usage {
        return;
    }
    let used = |v1, v2| read(if version == CgroupVersion::V1 { v1 } else { v2 });
    let memory = used("memory.usage_in_bytes", "memory.current");
    let both = match version {
        CgroupVersion::V1 => read("memory.memsw.usage_in_bytes"),
        CgroupVersion::V2 => {
            memory.map(|memory| memory.saturating_add(read("memory.swap.current").unwrap_or(0)))
        }
    };
    for (limit, used, at, what) in [(limit, memory, LIMIT, "memory"), (swap, both, SWAP, "memory and swap")] {
        if let (Some(limit), Some(used)) = (limit, used)
            && limit < used
        {
            let says = format!(
                "{limit} is below the {what} that the container uses, {used}, and checkBeforeUpdate refuses that"
            );
            findings.error(at, says, MEMORY);
        }
    }
}

/// Version 2 has one file for quota and period: a period by itself leaves the quota as it is.
fn keep_quota(writes: &mut [Write], now: &Now<'_>) {
    let quota =
        || holds(now, "cpu", "", "cpu.max").and_then(|text| text.split(' ').next().map(str::to_owned));
    for write in writes.iter_mut().filter(|write| write.at == PERIOD && write.file == "cpu.max") {
        if let (Some(quota), Some(period)) = (quota(), write.value.strip_prefix("max ")) {
            write.value = format!("{quota} {period}");
        }
    }
}

/// The kernel compares quota, period and burst with each other, and with the cgroups around, at each write. No quota
/// is always right; so where more than the quota changes it is lifted first, and comes last.
fn order_bandwidth(writes: &mut Vec<Write>, now: &Now<'_>) {
    let is_part = |write: &Write| [QUOTA, PERIOD, BURST].contains(&write.at.as_str());
    let Some(first) = writes.iter().position(is_part) else { return };
    let mut parts: Vec<Write> = writes.extract_if(.., |write| is_part(write)).collect();
    parts.sort_by_key(|write| [PERIOD, BURST, QUOTA].iter().position(|at| write.at == **at));
    let burst = holds(now, "cpu", "cpu.cfs_burst_us", "cpu.max.burst").unwrap_or_default();
    let period = holds(now, "cpu", "cpu.cfs_period_us", "").unwrap_or_default();
    let other = |write: &Write| match write.at.as_str() {
        PERIOD => write.value != period,
        BURST => write.value != burst,
        _ => false,
    };
    let lift = parts.last().filter(|last| last.at == QUOTA && parts.iter().any(other)).map(|quota| {
        let word = if quota.file == "cpu.max" { "max" } else { "-1" };
        Write { value: word.to_owned(), ..quota.clone() }
    });
    writes.splice(first..first, lift.into_iter().chain(parts));
}

/// The kernel refuses a share of real time above the one of the cgroup above, at each write.
fn order_realtime(writes: &mut [Write], now: &Now<'_>) {
    let at = |name: &str| writes.iter().position(|write| write.file == name);
    let (Some(period), Some(runtime)) = (at("cpu.rt_period_us"), at("cpu.rt_runtime_us")) else { return };
    let held = holds(now, "cpu", "cpu.rt_period_us", "").and_then(|text| text.parse::<u64>().ok());
    let wanted = writes.get(period).and_then(|write| write.value.parse::<u64>().ok());
    // A shorter period makes the share that there is larger: the new time comes first.
    if wanted < held {
        writes.swap(period, runtime);
    }
}
