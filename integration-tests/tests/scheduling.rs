//! How the kernel treats the program, and what it lets it see: scheduler, I/O priority, memory policy, personality,
//! clocks. The same for the container's own program and for one of exec. Rows P-14 to P-17, N-08, N-14, N-15, I-08 to
//! I-11.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::time::Duration;

use integration_tests::runtime;
use serde_json::{Value, json};
use spec_conformance::report::{IoPriority, MemoryPolicy, Scheduler};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Report};

fn ran(bundle: BundleBuilder) -> Finished {
    runtime().run(&bundle.build().unwrap()).unwrap()
}

fn refused(bundle: BundleBuilder) -> String {
    let call = ran(bundle);
    assert_eq!((call.exit, call.stdout.as_str()), (Exit::Code(1), ""), "{call:?}");
    call.stderr
}

/// What the container's own program sees, and then one that exec runs.
fn seen_by_both(bundle: BundleBuilder) -> [Report; 2] {
    let runtime = runtime();
    let script = ["/bin/sh", "-c", "probe report; exec probe wait"];
    let bundle = bundle.with_busybox().args(script).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let said = container.stdout().unwrap();
    let own = Report::parse(said.lines().next().unwrap()).unwrap();
    let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    [own, exec]
}

fn scheduled(scheduler: Value) -> BundleBuilder {
    Bundle::new().set("/process/scheduler", scheduler)
}

const RESET_ON_FORK: u64 = 1;

#[test]
fn p14_p15_p16_every_policy_is_the_kernels_with_all_its_numbers() {
    let idle = Scheduler { policy: 5, ..Scheduler::default() };
    let cases = [
        (json!({"policy": "SCHED_OTHER", "nice": -7}), Scheduler { nice: -7, ..Scheduler::default() }),
        (
            json!({"policy": "SCHED_BATCH", "nice": 19}),
            Scheduler { policy: 3, nice: 19, ..Scheduler::default() },
        ),
        (
            json!({"policy": "SCHED_FIFO", "priority": 3}),
            Scheduler { policy: 1, priority: 3, ..Scheduler::default() },
        ),
        (
            json!({"policy": "SCHED_RR", "priority": 99}),
            Scheduler { policy: 2, priority: 99, ..Scheduler::default() },
        ),
        (json!({"policy": "SCHED_IDLE"}), idle),
        (
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            Scheduler { flags: RESET_ON_FORK, ..Scheduler::default() },
        ),
    ];
    // What is idle or has a share waits for all others, and they may be many.
    let patient = runtime().deadline(Duration::from_secs(120));
    for (config, expected) in cases {
        let call = patient.run(&with_realtime(scheduled(config.clone())).build().unwrap()).unwrap();
        let seen = call.success().unwrap().report().unwrap().scheduler;
        // For ordinary policies newer kernels tell the length of a slice as the runtime.
        assert_eq!(Scheduler { runtime: 0, ..seen }, expected, "{config}");
    }
}

/// Whether real-time policies need a share of the cgroup's, as with `CONFIG_RT_GROUP_SCHED` and version 1.
fn has_realtime_shares() -> bool {
    fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap_or(false)
}

/// With a share of real time, where one is needed.
fn with_realtime(bundle: BundleBuilder) -> BundleBuilder {
    if !has_realtime_shares() {
        return bundle;
    }
    // Enough that a slow machine is not throttled for seconds, little enough for several at once.
    bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 100_000, "realtimePeriod": 1_000_000}))
}

#[test]
fn p14_a_real_time_policy_without_a_share_is_refused_with_the_fix() {
    let call = ran(scheduled(json!({"policy": "SCHED_FIFO", "priority": 3})));
    if has_realtime_shares() {
        assert!(
            call.stderr.contains("set the scheduling policy: sched_setattr: operation not permitted"),
            "{call:?}"
        );
        assert!(call.stderr.contains("/linux/resources/cpu/realtimeRuntime"), "{call:?}");
    } else {
        assert_eq!(call.success().unwrap().report().unwrap().scheduler.policy, 1);
    }
}

#[test]
fn p14_p15_p16_a_deadline_has_its_three_numbers_and_flags() {
    let numbers = json!({"policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 50_000_000, "period": 100_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]});
    let seen = ran(scheduled(numbers)).success().unwrap().report().unwrap().scheduler;
    let expected = Scheduler {
        policy: 6,
        flags: 7,
        nice: 0,
        priority: 0,
        runtime: 2_000_000,
        deadline: 50_000_000,
        period: 100_000_000,
    };
    assert_eq!(seen, expected);
}

#[test]
fn p14_a_policy_that_the_kernel_lacks_is_refused_by_name() {
    let why = refused(scheduled(json!({"policy": "SCHED_ISO"})));
    assert!(why.contains("set the scheduling policy: sched_setattr: invalid argument"), "{why}");
}

#[test]
fn p16_flags_that_keep_or_clamp_reach_the_kernel() {
    let keep = json!(["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]);
    let kept = ran(scheduled(json!({"policy": "SCHED_IDLE", "flags": keep}))).success().unwrap();
    assert_eq!(kept.report().unwrap().scheduler.policy, 0);
    let clamp = json!(["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
    let clamped = ran(scheduled(json!({"policy": "SCHED_OTHER", "flags": clamp})));
    // Without CONFIG_UCLAMP_TASK the kernel knows the flags, and says that it cannot.
    if !clamped.exit.success() {
        let words = "set the scheduling policy: sched_setattr: operation not supported";
        assert!(clamped.stderr.contains(words), "{clamped:?}");
    }
}

#[test]
fn p15_numbers_that_do_not_belong_to_the_policy_are_all_found() {
    let why = refused(scheduled(json!({"policy": "SCHED_OTHER", "priority": 1, "runtime": 1, "nice": 20})));
    for place in ["nice", "priority", "runtime"] {
        assert!(why.contains(&format!("/process/scheduler/{place}: ")), "{why}");
    }
    let upside_down = json!({"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2, "period": 1});
    let why = refused(scheduled(upside_down));
    assert!(why.contains("needs 0 < runtime <= deadline <= period"), "{why}");
}

#[test]
fn p17_every_class_and_level_of_io_priority() {
    let with = |class: &str, level: i64| {
        Bundle::new().set("/process/ioPriority", json!({"class": class, "priority": level}))
    };
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2)] {
        for level in [0, 7] {
            let seen = ran(with(class, level)).success().unwrap().report().unwrap().io_priority;
            assert_eq!(seen, IoPriority { class: number, level: u32::try_from(level).unwrap() });
        }
    }
    assert_eq!(ran(with("IOPRIO_CLASS_IDLE", 0)).success().unwrap().report().unwrap().io_priority.class, 3);
    for level in [8, -1] {
        let why = refused(with("IOPRIO_CLASS_BE", level));
        assert!(why.contains("/process/ioPriority/priority: "), "{why}");
    }
    let why = refused(with("IOPRIO_CLASS_NONE", 0));
    assert!(why.contains("/process/ioPriority/class: "), "{why}");
}

#[test]
fn p14_p17_n14_i11_exec_is_treated_as_the_container_is() {
    let bundle = scheduled(json!({"policy": "SCHED_BATCH", "nice": 4}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}))
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    let [own, exec] = seen_by_both(bundle);
    assert_eq!((own.scheduler.policy, own.scheduler.nice, own.io_priority.level), (3, 4, 6));
    assert_eq!(own.memory_policy, Some(MemoryPolicy { mode: 2, nodes: vec![0] }));
    assert_eq!(exec.scheduler, own.scheduler);
    assert_eq!(exec.io_priority, own.io_priority);
    assert_eq!((exec.personality, &exec.machine), (own.personality, &own.machine));
    assert_eq!(exec.memory_policy, own.memory_policy);
}

#[test]
fn n14_the_machine_of_linux32_is_a_narrow_one() {
    let with = |domain: &str| Bundle::new().set("/linux/personality", json!({"domain": domain}));
    for (domain, persona, x86) in [("LINUX", 0, "x86_64"), ("LINUX32", 8, "i686")] {
        for report in seen_by_both(with(domain)) {
            assert_eq!(report.personality, persona);
            if cfg!(target_arch = "x86_64") {
                assert_eq!(report.machine, x86);
            }
        }
    }
    let why = refused(with("LINUX64"));
    assert!(why.contains("/linux/personality/domain: "), "{why}");
}

#[test]
fn n15_a_flag_of_personality_is_refused() {
    let flags = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]});
    let why = refused(Bundle::new().set("/linux/personality", flags));
    assert!(why.contains("/linux/personality/flags/0: \"ADDR_NO_RANDOMIZE\" is not supported"), "{why}");
}

fn placed(policy: Value) -> BundleBuilder {
    Bundle::new().set("/linux/memoryPolicy", policy)
}

#[test]
fn i08_i09_i11_every_mode_is_the_kernels_for_both_programs() {
    let cases = [
        ("MPOL_DEFAULT", None, 0),
        ("MPOL_PREFERRED", Some("0"), 1),
        ("MPOL_BIND", Some("0"), 2),
        ("MPOL_INTERLEAVE", Some("0"), 3),
        ("MPOL_LOCAL", Some(""), 4),
        ("MPOL_PREFERRED_MANY", Some("0"), 5),
        ("MPOL_WEIGHTED_INTERLEAVE", Some("0"), 6),
        // To prefer no node is to prefer the local one.
        ("MPOL_PREFERRED", None, 4),
    ];
    for (mode, nodes, number) in cases {
        let mut policy = json!({ "mode": mode });
        if let Some(nodes) = nodes {
            policy["nodes"] = json!(nodes);
        }
        let named = nodes.filter(|nodes| !nodes.is_empty()).map_or(vec![], |_| vec![0]);
        for report in seen_by_both(placed(policy)) {
            assert_eq!(
                report.memory_policy,
                Some(MemoryPolicy { mode: number, nodes: named.clone() }),
                "{mode}"
            );
        }
    }
}

#[test]
fn i09_a_node_that_the_machine_lacks_is_refused_by_the_kernel() {
    let why = refused(placed(json!({"mode": "MPOL_BIND", "nodes": "1000"})));
    assert!(why.contains("set the memory policy: set_mempolicy: invalid argument"), "{why}");
    let why = refused(placed(json!({"mode": "MPOL_BIND", "nodes": "0-"})));
    assert!(why.contains("/linux/memoryPolicy/nodes: \"0-\" is not a list of nodes such as 0-3,7"), "{why}");
}

#[test]
fn i10_flags_are_the_kernels_and_those_that_exclude_each_other_are_refused() {
    let with = |flags: Value| placed(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags}));
    for (flag, bit) in [
        ("MPOL_F_STATIC_NODES", 1 << 15),
        ("MPOL_F_RELATIVE_NODES", 1 << 14),
        ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ] {
        let seen = ran(with(json!([flag]))).success().unwrap().report().unwrap();
        assert_eq!(seen.memory_policy, Some(MemoryPolicy { mode: 2 | bit, nodes: vec![0] }), "{flag}");
    }
    let why = refused(with(json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"])));
    assert!(why.contains("/linux/memoryPolicy/flags: "), "{why}");
    let why = refused(with(json!(["MPOL_F_MOON"])));
    assert!(why.contains("/linux/memoryPolicy/flags/0: "), "{why}");
    let nowhere = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]});
    assert!(refused(placed(nowhere)).contains("MPOL_F_NUMA_BALANCING is for MPOL_BIND"));
}

#[test]
fn n08_both_clocks_have_their_offsets_and_need_a_namespace() {
    let clocks = || {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        uptime.split('.').next().unwrap().parse::<i64>().unwrap()
    };
    let offsets =
        json!({"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 5_000_000, "nanosecs": 7}});
    let timed = |offsets: &Value| Bundle::new().with_busybox().set("/linux/timeOffsets", offsets.clone());
    let bundle = timed(&offsets).push("/linux/namespaces", json!({"type": "time"})).args([
        "/bin/sh",
        "-c",
        "cat /proc/uptime /proc/self/timens_offsets",
    ]);
    let before = clocks();
    let said = ran(bundle).success().unwrap().stdout;
    let words: Vec<&str> = said.split_whitespace().collect();
    let uptime: i64 = words[0].split('.').next().unwrap().parse().unwrap();
    assert!((before..=clocks()).contains(&(uptime - 5_000_000)), "{said}");
    assert_eq!(words[2..], ["monotonic", "1000", "5", "boottime", "5000000", "7"]);
    let why = refused(timed(&offsets));
    assert!(why.contains("/linux/timeOffsets"), "{why}");
}
