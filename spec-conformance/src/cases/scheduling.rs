//! How the container's process is scheduled, and what it is told of its machine.
//! Spec: config.md#linux-process, config-linux.md#memory-policy, config-linux.md#personality.

use serde_json::{Value, json};

use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::report::{IoPriority, MemoryPolicy, Report};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[SCHEDULER, IO_PRIORITY, AFFINITY, MEMORY_POLICY, PERSONALITY];

const SCHEDULER: Case = Case {
    id: "process-scheduler",
    proves: &["config.linux-process.scheduler", "config.linux-process.nice"],
    run: scheduler,
};

fn scheduler(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config.linux-process.scheduler";
    let with = |scheduler: Value| Bundle::new().set("/process/scheduler", scheduler).build();
    let seen = runtime.observe(&with(json!({"policy": "SCHED_BATCH", "nice": 5}))?)?.scheduler;
    checks.equal(ID, 3, seen.policy);
    checks.equal("config.linux-process.nice", 5, seen.nice);
    let seen = runtime.observe(&with(json!({"policy": "SCHED_OTHER"}))?)?.scheduler;
    checks.equal(ID, 0, seen.policy);
    checks.equal("config.linux-process.nice", 0, seen.nice);
    let seen = runtime.observe(&with(json!({"policy": "SCHED_IDLE"}))?)?.scheduler;
    checks.equal(ID, 5, seen.policy);
    Ok(())
}

const IO_PRIORITY: Case = Case {
    id: "process-io-priority",
    proves: &["config.linux-process.io-class", "config.linux-process.io-priority"],
    run: io_priority,
};

fn io_priority(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for (name, class, level) in
        [("IOPRIO_CLASS_BE", 2, 3), ("IOPRIO_CLASS_RT", 1, 6), ("IOPRIO_CLASS_IDLE", 3, 0)]
    {
        let wanted = json!({"class": name, "priority": level});
        let seen = runtime.observe(&Bundle::new().set("/process/ioPriority", wanted).build()?)?;
        let IoPriority { class: found, level: found_level } = seen.io_priority;
        checks.equal("config.linux-process.io-class", (name, class), (name, found));
        checks.equal("config.linux-process.io-priority", (name, level), (name, found_level));
    }
    Ok(())
}

const AFFINITY: Case = Case {
    id: "process-affinity",
    proves: &[
        "config.linux-process.affinity-exec-only",
        "config.linux-process.affinity-final",
        "config.linux-process.affinity-unset",
    ],
    run: affinity,
};

/// What the first process has, and then what exec runs.
fn affinity(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let all = runtime.observe(&Bundle::new().build()?)?.cpus;
    if !all.contains(['-', ',']) {
        for id in AFFINITY.proves {
            checks.skip(id, "two processors");
        }
        return Ok(());
    }
    let with = |affinity: Value| Bundle::new().set("/process/execCPUAffinity", affinity);
    let last = all.rsplit(['-', ',']).next().unwrap_or_default();
    let narrow = json!({"initial": "0", "final": last});
    let seen = runtime.observe(&with(narrow.clone()).build()?)?;
    checks.equal("config.linux-process.affinity-exec-only", &all, &seen.cpus);
    checks.equal("config.linux-process.affinity-final", last, &of_exec(runtime, with(narrow))?.cpus);
    let seen = of_exec(runtime, with(json!({"initial": all})))?;
    checks.equal("config.linux-process.affinity-unset", &all, &seen.cpus);
    Ok(())
}

/// What a second program in the container sees.
fn of_exec(runtime: &Runtime, bundle: BundleBuilder) -> Result<Report, Error> {
    let bundle = bundle.args(["/bin/probe", "wait"]).build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.exec(["/bin/probe", "report"])?.success()?.report()
}

const MEMORY_POLICY: Case = Case {
    id: "process-memory-policy",
    proves: &[
        "config-linux.memory-policy.mode",
        "config-linux.memory-policy.nodes",
        "config-linux.memory-policy.flags",
    ],
    run: memory_policy,
};

fn memory_policy(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const STATIC_NODES: u32 = 1 << 15;
    if runtime.observe(&Bundle::new().build()?)?.memory_policy.is_none() {
        for id in MEMORY_POLICY.proves {
            checks.skip(id, "a kernel with NUMA policies");
        }
        return Ok(());
    }
    for (name, mode) in [("MPOL_BIND", 2), ("MPOL_INTERLEAVE", 3), ("MPOL_PREFERRED", 1)] {
        let policy = json!({"mode": name, "nodes": "0"});
        let seen = runtime.observe(&Bundle::new().set("/linux/memoryPolicy", policy).build()?)?;
        let MemoryPolicy { mode: found, nodes } = seen.memory_policy.unwrap_or_default();
        checks.equal("config-linux.memory-policy.mode", (name, mode), (name, found));
        checks.equal("config-linux.memory-policy.nodes", vec![0], nodes);
    }
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let seen = runtime.observe(&Bundle::new().set("/linux/memoryPolicy", policy).build()?)?;
    let mode = seen.memory_policy.unwrap_or_default().mode;
    checks.equal("config-linux.memory-policy.flags", 2 | STATIC_NODES, mode);
    Ok(())
}

const PERSONALITY: Case =
    Case { id: "process-personality", proves: &["config-linux.personality.domain"], run: personality };

fn personality(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for (domain, number) in [("LINUX", 0), ("LINUX32", 8)] {
        let bundle = Bundle::new().set("/linux/personality", json!({"domain": domain}));
        let seen = runtime.observe(&bundle.build()?)?;
        // The lowest byte is the domain, the others are flags.
        checks.equal("config-linux.personality.domain", (domain, number), (domain, seen.personality & 0xff));
    }
    Ok(())
}
