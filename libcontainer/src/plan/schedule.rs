//! How the kernel treats the program: scheduling policy, I/O priority and NUMA memory policy. Pure.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Scheduler as SpecScheduler,
};
use serde::Serialize;

use super::invalid::Findings;
use super::list;

/// A scheduling policy. See sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs, reason = "the names are those of struct sched_attr in sched_setattr(2)")]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// A NUMA policy. See set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPolicy {
    /// Mode with its flags.
    pub mode: u32,
    /// Nodes as a bit mask, lowest first.
    pub nodes: Vec<u64>,
}

const SPEC: &str = "config.md#linux-process";
const SPEC_MEMORY: &str = "config-linux.md#memory-policy";

/// What a scheduling policy has use for.
#[derive(PartialEq, Eq)]
enum Uses {
    Nice,
    Priority,
    Deadline,
    Nothing,
}

/// The policies with their numbers in linux/sched.h. See sched(7).
const POLICIES: &[(LinuxSchedulerPolicy, u32, Uses)] = &[
    (LinuxSchedulerPolicy::SchedOther, 0, Uses::Nice),
    (LinuxSchedulerPolicy::SchedFifo, 1, Uses::Priority),
    (LinuxSchedulerPolicy::SchedRr, 2, Uses::Priority),
    (LinuxSchedulerPolicy::SchedBatch, 3, Uses::Nice),
    // Reserved, and in no released kernel, which says so itself.
    (LinuxSchedulerPolicy::SchedIso, 4, Uses::Nothing),
    (LinuxSchedulerPolicy::SchedIdle, 5, Uses::Nothing),
    (LinuxSchedulerPolicy::SchedDeadline, 6, Uses::Deadline),
];

/// The flags with their bits in linux/sched.h.
const FLAGS: &[(LinuxSchedulerFlag, u64)] = &[
    (LinuxSchedulerFlag::SchedResetOnFork, 0x01),
    (LinuxSchedulerFlag::SchedFlagReclaim, 0x02),
    (LinuxSchedulerFlag::SchedFlagDLOverrun, 0x04),
    (LinuxSchedulerFlag::SchedFlagKeepPolicy, 0x08),
    (LinuxSchedulerFlag::SchedFlagKeepParams, 0x10),
    (LinuxSchedulerFlag::SchedFlagUtilClampMin, 0x20),
    (LinuxSchedulerFlag::SchedFlagUtilClampMax, 0x40),
];

/// Reads a scheduling policy. Numbers that the policy has no use for are refused, as runc does.
pub(super) fn scheduler(spec: &SpecScheduler, findings: &mut Findings) -> Scheduler {
    let default = (LinuxSchedulerPolicy::SchedOther, 0, Uses::Nice);
    let (name, policy, uses) = POLICIES.iter().find(|row| row.0 == *spec.policy()).unwrap_or(&default);
    let (nice, priority) = (spec.nice().unwrap_or(0), spec.priority().unwrap_or(0));
    let [runtime, deadline, period] =
        [spec.runtime(), spec.deadline(), spec.period()].map(|time| time.unwrap_or(0));
    let mut error = |at: &str, says: String| {
        findings.error(format!("/process/scheduler/{at}"), says, SPEC);
    };
    if *uses == Uses::Nice && !(-20..=19).contains(&nice) {
        error("nice", format!("{nice} is not between -20 and 19"));
    } else if *uses != Uses::Nice && nice != 0 {
        error("nice", format!("has no meaning for {name}; use it with SCHED_OTHER or SCHED_BATCH"));
    }
    if *uses == Uses::Priority && !(1..=99).contains(&priority) {
        error("priority", format!("{priority} is not between 1 and 99, which {name} needs"));
    } else if *uses != Uses::Priority && priority != 0 {
        error("priority", format!("has no meaning for {name}; use it with SCHED_FIFO or SCHED_RR"));
    }
    if *uses == Uses::Deadline {
        // A period of 0 is the deadline's length, see sched_setattr(2).
        if runtime == 0 || runtime > deadline || (period != 0 && deadline > period) {
            error("runtime", format!("{name} needs 0 < runtime <= deadline <= period"));
        }
    } else {
        for (value, at) in [(runtime, "runtime"), (deadline, "deadline"), (period, "period")] {
            if value != 0 {
                error(at, format!("has no meaning for {name}; use it with SCHED_DEADLINE"));
            }
        }
    }
    let listed = spec.flags().as_deref().unwrap_or_default();
    let flags = FLAGS.iter().filter(|row| listed.contains(&row.0)).fold(0, |flags, row| flags | row.1);
    let priority = u32::try_from(priority).unwrap_or(0);
    Scheduler { policy: *policy, flags, nice, priority, runtime, deadline, period }
}

/// Reads an I/O priority: the class above bit 13, the level below. See ioprio_set(2).
pub(super) fn io_priority(spec: LinuxIOPriority, findings: &mut Findings) -> Option<u32> {
    let class: u32 = match spec.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let Some(level) = u32::try_from(spec.priority()).ok().filter(|level| *level <= 7) else {
        let says = format!("{} is not between 0 and 7", spec.priority());
        findings.error("/process/ioPriority/priority", says, SPEC);
        return None;
    };
    Some(class << 13 | level)
}

/// What a memory policy wants of its list of nodes.
#[derive(PartialEq, Eq)]
enum Nodes {
    None,
    Any,
    Some,
}

/// The modes with their numbers in linux/mempolicy.h. See set_mempolicy(2).
const MODES: &[(MemoryPolicyModeType, u32, Nodes)] = &[
    (MemoryPolicyModeType::MpolDefault, 0, Nodes::None),
    (MemoryPolicyModeType::MpolPreferred, 1, Nodes::Any),
    (MemoryPolicyModeType::MpolBind, 2, Nodes::Some),
    (MemoryPolicyModeType::MpolInterleave, 3, Nodes::Some),
    (MemoryPolicyModeType::MpolLocal, 4, Nodes::None),
    (MemoryPolicyModeType::MpolPreferredMany, 5, Nodes::Some),
    (MemoryPolicyModeType::MpolWeightedInterleave, 6, Nodes::Some),
];

const NUMA_BALANCING: u32 = 1 << 13;
const RELATIVE_NODES: u32 = 1 << 14;
const STATIC_NODES: u32 = 1 << 15;

/// The flags with their bits in linux/mempolicy.h.
const MODE_FLAGS: &[(MemoryPolicyFlagType, u32)] = &[
    (MemoryPolicyFlagType::MpolFNumaBalancing, NUMA_BALANCING),
    (MemoryPolicyFlagType::MpolFRelativeNodes, RELATIVE_NODES),
    (MemoryPolicyFlagType::MpolFStaticNodes, STATIC_NODES),
];

/// No kernel has more nodes (`CONFIG_NODES_SHIFT` is at most 10).
const MAX_NODES: u32 = 1024;

/// The modes by name, for `features`.
#[must_use]
pub fn memory_mode_names() -> Vec<String> {
    MODES.iter().map(|row| row.0.to_string()).collect()
}

/// The flags by name, for `features`.
#[must_use]
pub fn memory_flag_names() -> Vec<String> {
    MODE_FLAGS.iter().map(|row| row.0.to_string()).collect()
}

/// Reads a NUMA memory policy.
pub(super) fn memory_policy(spec: &LinuxMemoryPolicy, findings: &mut Findings) -> Option<MemoryPolicy> {
    let (name, mode, wanted) = MODES.iter().find(|row| row.0 == spec.mode())?;
    let listed = spec.flags().as_deref().unwrap_or_default();
    let flags = MODE_FLAGS.iter().filter(|row| listed.contains(&row.0)).fold(0, |flags, row| flags | row.1);
    let mut error = |at: &str, says: String| {
        findings.error(format!("/linux/memoryPolicy/{at}"), says, SPEC_MEMORY);
    };
    let nodes = match list::mask(spec.nodes().as_deref().unwrap_or_default(), MAX_NODES, "nodes") {
        Ok(nodes) => nodes,
        Err(says) => {
            error("nodes", says);
            return None;
        }
    };
    match wanted {
        Nodes::None if !nodes.is_empty() => error("nodes", format!("{name} takes no nodes")),
        Nodes::Some if nodes.is_empty() => error("nodes", format!("{name} needs at least one node")),
        _ => {}
    }
    let balances = matches!(name, MemoryPolicyModeType::MpolBind | MemoryPolicyModeType::MpolPreferredMany);
    if flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        error("flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".into());
    } else if flags & NUMA_BALANCING != 0 && !balances {
        error("flags", format!("MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not {name}"));
    } else if flags & (STATIC_NODES | RELATIVE_NODES) != 0 && nodes.is_empty() {
        error("flags", "say how to read a list of nodes, and there is none".into());
    }
    Some(MemoryPolicy { mode: mode | flags, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn scheduled(value: Value) -> Result<Scheduler, Vec<String>> {
        let mut findings = Findings::default();
        let scheduler = scheduler(&serde_json::from_value(value).unwrap(), &mut findings);
        at(findings).map(|()| scheduler)
    }

    fn policy(value: Value) -> Result<MemoryPolicy, Vec<String>> {
        let mut findings = Findings::default();
        let policy = memory_policy(&serde_json::from_value(value).unwrap(), &mut findings);
        at(findings).map(|()| policy.unwrap())
    }

    fn at(findings: Findings) -> Result<(), Vec<String>> {
        let last = |at: &String| at.rsplit('/').next().unwrap().to_owned();
        findings.finish().map(drop).map_err(|e| e.findings().iter().map(|f| last(&f.at)).collect())
    }

    #[test]
    fn p14_the_seven_policies_have_the_kernels_numbers() {
        let cases = [
            (json!({"policy": "SCHED_OTHER", "nice": -20}), 0),
            (json!({"policy": "SCHED_FIFO", "priority": 1}), 1),
            (json!({"policy": "SCHED_RR", "priority": 99}), 2),
            (json!({"policy": "SCHED_BATCH", "nice": 19}), 3),
            (json!({"policy": "SCHED_ISO"}), 4),
            (json!({"policy": "SCHED_IDLE"}), 5),
            (json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 2}), 6),
        ];
        for (value, number) in cases {
            assert_eq!(scheduled(value).unwrap().policy, number);
        }
    }

    #[test]
    fn p15_a_number_that_the_policy_has_no_use_for_is_refused() {
        let cases = [
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "nice"),
            (json!({"policy": "SCHED_FIFO", "priority": 1, "nice": 1}), "nice"),
            (json!({"policy": "SCHED_IDLE", "nice": -1}), "nice"),
            (json!({"policy": "SCHED_FIFO"}), "priority"),
            (json!({"policy": "SCHED_RR", "priority": 100}), "priority"),
            (json!({"policy": "SCHED_BATCH", "priority": 1}), "priority"),
            (json!({"policy": "SCHED_OTHER", "runtime": 1}), "runtime"),
            (json!({"policy": "SCHED_OTHER", "deadline": 1}), "deadline"),
            (json!({"policy": "SCHED_OTHER", "period": 1}), "period"),
            (json!({"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2, "period": 2}), "runtime"),
            (json!({"policy": "SCHED_DEADLINE"}), "runtime"),
        ];
        for (value, wrong) in cases {
            assert_eq!(scheduled(value).unwrap_err(), [wrong]);
        }
    }

    #[test]
    fn p16_flags_are_bits() {
        let flags = json!(["SCHED_FLAG_RECLAIM", "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
        assert_eq!(scheduled(json!({"policy": "SCHED_OTHER", "flags": flags})).unwrap().flags, 0x52);
        assert_eq!(FLAGS.iter().fold(0, |all, row| all | row.1), 0x7f);
    }

    #[test]
    fn p17_an_io_priority_is_a_class_and_a_level() {
        let read = |class: &str, level: i64| {
            let mut findings = Findings::default();
            let value = serde_json::from_value(json!({"class": class, "priority": level})).unwrap();
            io_priority(value, &mut findings)
        };
        assert_eq!(read("IOPRIO_CLASS_RT", 0), Some(1 << 13));
        assert_eq!(read("IOPRIO_CLASS_BE", 7), Some(2 << 13 | 7));
        assert_eq!(read("IOPRIO_CLASS_IDLE", 4), Some(3 << 13 | 4));
        assert_eq!(read("IOPRIO_CLASS_BE", 8), None);
        assert_eq!(read("IOPRIO_CLASS_BE", -1), None);
    }

    #[test]
    fn i09_a_node_that_no_kernel_has_is_refused() {
        let policy = |node: &str| policy(json!({"mode": "MPOL_BIND", "nodes": node}));
        assert_eq!(policy("1023").unwrap().nodes.len(), 16);
        assert_eq!(policy("1024").unwrap_err(), ["nodes"]);
    }

    #[test]
    fn i08_the_seven_modes_have_the_kernels_numbers() {
        let cases = [("DEFAULT", 0), ("PREFERRED", 1), ("BIND", 2), ("INTERLEAVE", 3), ("LOCAL", 4)];
        for (mode, number) in cases.into_iter().chain([("PREFERRED_MANY", 5), ("WEIGHTED_INTERLEAVE", 6)]) {
            let nodes = if ["DEFAULT", "LOCAL"].contains(&mode) { "" } else { "0" };
            let compiled = policy(json!({"mode": format!("MPOL_{mode}"), "nodes": nodes})).unwrap();
            assert_eq!(compiled.mode, number);
        }
    }

    #[test]
    fn i10_modes_nodes_and_flags_fit_together() {
        let bind = json!({"mode": "MPOL_BIND", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]});
        assert_eq!(policy(bind).unwrap().mode, 2 | 1 << 15 | 1 << 13);
        let both = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"];
        let cases = [
            (json!({"mode": "MPOL_BIND"}), "nodes"),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": ""}), "nodes"),
            (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "nodes"),
            (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "nodes"),
            (json!({"mode": "MPOL_BIND", "nodes": "x"}), "nodes"),
            (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": both}), "flags"),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}), "flags"),
            (json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}), "flags"),
        ];
        for (value, wrong) in cases {
            assert_eq!(policy(value).unwrap_err(), [wrong]);
        }
    }
}
