//! The container's share of caches and memory bandwidth: its resctrl group. Pure. Spec: config-linux.md#intelrdt.

use std::fmt;

use oci_spec::runtime::{LinuxIntelRdt, Spec};
use serde::Serialize;

use super::Choices;
use super::facts::Facts;
use super::invalid::Findings;
use super::step::Step;

/// A group of resctrl, and what is asked of it. See Documentation/filesystems/resctrl.rst of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rdt {
    /// Where resctrl is mounted.
    pub mount: String,
    /// The group's directory.
    pub group: String,
    /// It is made if there is none; otherwise it must be there.
    pub make: bool,
    /// It belongs to this container alone: if it is made, it goes with the container.
    pub own: bool,
    /// Lines for a new group's `schemata`, in the order in which they are written; one that is there must be so.
    pub schemata: Vec<String>,
    /// The monitoring group's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
}

const SPEC: &str = "config-linux.md#intelrdt";

/// What the kernel itself has in the root of resctrl, beside groups.
const TAKEN: &[&str] =
    &[".", "..", "cpus", "cpus_list", "info", "mode", "mon_data", "mon_groups", "schemata", "size", "tasks"];

/// Reads `linux.intelRdt`.
pub(super) fn compile(spec: &Spec, choices: &Choices, facts: &Facts, findings: &mut Findings) -> Option<Rdt> {
    let rdt = spec.linux().as_ref()?.intel_rdt().as_ref()?;
    let named = rdt.clos_id().as_deref().filter(|name| !name.is_empty());
    check_name(named, &choices.id, findings);
    let schemata = schemata(rdt, findings);
    let Some(mount) = &facts.resctrl else {
        let says = "no resctrl file system is mounted; \
                    mount it (mount -t resctrl resctrl /sys/fs/resctrl), or remove intelRdt";
        findings.error("/linux/intelRdt", says, SPEC);
        return None;
    };
    let group = match named {
        Some("/") => mount.clone(),
        name => format!("{mount}/{}", name.unwrap_or(&choices.id)),
    };
    let monitored = rdt.enable_monitoring().unwrap_or(false);
    Some(Rdt {
        monitor: monitored.then(|| format!("{group}/mon_groups/{}", choices.id)),
        mount: mount.clone(),
        group,
        make: named.is_none() || named != Some("/") && !schemata.is_empty(),
        own: named.is_none(),
        schemata,
    })
}

/// A name becomes a directory of the host's.
fn check_name(named: Option<&str>, id: &str, findings: &mut Findings) {
    let at = "/linux/intelRdt/closID";
    let name = named.unwrap_or(id);
    if name == "/" {
        return;
    }
    if TAKEN.contains(&name) {
        findings.error(
            at,
            format!("{name:?} is not a group of resctrl but a name of its own; use another"),
            SPEC,
        );
    } else if name.len() > 255 {
        findings.error(at, "is longer than a file name can be, 255 bytes; use a shorter one", SPEC);
    } else if name.contains(['/', '\n', '\0']) {
        findings.error(
            at,
            format!("{name:?} is not one file name; groups are directly below resctrl, or its root, \"/\""),
            SPEC,
        );
    }
}

/// All lines, in the order in which they are written: of what is said twice the last counts.
fn schemata(rdt: &LinuxIntelRdt, findings: &mut Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for (line, name, prefix) in
        [(rdt.l3_cache_schema(), "l3CacheSchema", "L3:"), (rdt.mem_bw_schema(), "memBwSchema", "MB:")]
    {
        let Some(line) = line.as_deref().filter(|line| !line.is_empty()) else { continue };
        let at = format!("/linux/intelRdt/{name}");
        if prefix == "MB:" && !line.starts_with(prefix) {
            findings.error(at.as_str(), format!("{line:?} does not begin with {prefix}"), SPEC);
        } else if check_line(line, &at, findings) && !line.starts_with(prefix) {
            findings.warn(
                at,
                format!("{line:?} does not begin with {prefix}; /linux/intelRdt/schemata is for others"),
                SPEC,
            );
        }
        lines.push(line.to_owned());
    }
    for (i, line) in rdt.schemata().iter().flatten().enumerate() {
        check_line(line, &format!("/linux/intelRdt/schemata/{i}"), findings);
        lines.push(line.clone());
    }
    lines
}

/// The lines that a change of these two comes to.
pub(super) fn lines(l3_cache: Option<&str>, mem_bw: Option<&str>, findings: &mut Findings) -> Vec<String> {
    let mut rdt = LinuxIntelRdt::default();
    rdt.set_l3_cache_schema(l3_cache.map(str::to_owned));
    rdt.set_mem_bw_schema(mem_bw.map(str::to_owned));
    schemata(&rdt, findings)
}

fn check_line(line: &str, at: &str, findings: &mut Findings) -> bool {
    let says = if line.contains('\n') {
        "has more than one line; give each as an element of /linux/intelRdt/schemata".to_owned()
    } else if read_line(line).is_none() {
        format!("{line:?} is not of the form NAME:ID=VALUE;ID=VALUE")
    } else {
        return true;
    };
    findings.error(at, says, SPEC);
    false
}

/// A line such as `L3:0=7ff;1=1f`: the resource, and what each domain has. The kernel pads its own with blanks.
fn read_line(line: &str) -> Option<(&str, Vec<(u32, &str)>)> {
    let (name, domains) = line.split_once(':')?;
    let name = name.trim();
    let domains: Option<Vec<_>> = domains.split(';').map(read_domain).collect();
    (!name.is_empty()).then_some((name, domains?))
}

/// What one domain has, as in `0=7ff`.
fn read_domain(text: &str) -> Option<(u32, &str)> {
    let (id, value) = text.split_once('=')?;
    let (id, value) = (id.trim(), value.trim());
    let fine = id.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty();
    Some((fine.then(|| id.parse().ok()).flatten()?, value))
}

/// What a group that is there has other than it is wanted, if anything: an existing group is never changed.
///
/// `granularity` is the step of memory bandwidth, to which the kernel rounds up. Domains that are not mentioned may
/// have anything.
#[must_use]
pub fn difference(wanted: &[String], current: &str, granularity: Option<u32>) -> Option<String> {
    let current: Vec<_> = current.lines().filter_map(read_line).collect();
    let mut last: Vec<(&str, u32, &str)> = Vec::new();
    for (name, domains) in wanted.iter().filter_map(|line| read_line(line)) {
        for (id, value) in domains {
            last.retain(|(other, number, _)| (*other, *number) != (name, id));
            last.push((name, id, value));
        }
    }
    last.into_iter().find_map(|(name, id, value)| {
        let resource = current.iter().find(|(other, _)| *other == name);
        let domain = resource.and_then(|(_, domains)| domains.iter().find(|(other, _)| *other == id));
        match domain {
            None => Some(format!("has no {name}:{id}, and {value} is wanted")),
            Some((_, is)) if is_same(name, is, value, granularity) => None,
            Some((_, is)) => Some(format!("has {name}:{id}={is}, and {value} is wanted")),
        }
    })
}

fn is_same(name: &str, is: &str, wanted: &str, granularity: Option<u32>) -> bool {
    // Bandwidths are decimal, masks of a cache hexadecimal.
    let bandwidth = matches!(name, "MB" | "SMBA");
    let number = |text: &str| match bandwidth {
        true => text.parse::<u64>().ok(),
        false => u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok(),
    };
    let (Some(is), Some(wanted)) = (number(is), number(wanted)) else { return is == wanted };
    let step = granularity.filter(|step| bandwidth && *step > 0).map_or(1, u64::from);
    is == wanted || Some(is) == wanted.checked_next_multiple_of(step)
}

/// Names a step of this group.
pub(super) fn describe(rdt: Option<&Rdt>, step: Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(rdt) = rdt else { return f.write_str("join the container's resctrl group") };
    match step {
        Step::RdtSchema(i) => {
            let line = rdt.schemata.get(usize::from(i)).map_or("?", String::as_str);
            write!(f, "resctrl group {}: schemata {line}", rdt.group)
        }
        Step::RdtMonitor => write!(f, "resctrl monitoring group {}", rdt.monitor.as_deref().unwrap_or("?")),
        Step::RdtJoin => write!(f, "join resctrl group {}", rdt.group),
        _ => write!(f, "resctrl group {}", rdt.group),
    }
}

#[cfg(test)]
mod tests;
