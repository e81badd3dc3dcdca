//! The CPUs of a program: those that exec is told, else all that the container may use. Row P-18.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::process::Command;

use integration_tests::{ketch, running, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Runtime};

/// CPUs of this machine that a program may use, and the first and the last of them.
fn machine() -> (String, String, String) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let ends = list.split([',', '-']).collect::<Vec<_>>();
    let (first, last) = (ends[0].to_owned(), ends[ends.len() - 1].to_owned());
    assert_ne!(first, last, "this test needs two CPUs");
    (list.to_owned(), first, last)
}

fn waiting() -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "wait"])
}

/// `exec --process` of the probe with this affinity.
fn exec(runtime: &Runtime, bundle: &Bundle, id: &str, affinity: &Value) -> Finished {
    let process =
        json!({"args": ["/bin/probe", "report"], "cwd": "/", "user": {}, "execCPUAffinity": affinity});
    let file = bundle.path().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    runtime.call(["exec", "--process", file.to_str().unwrap(), id]).unwrap()
}

#[test]
fn p18_a_program_of_exec_runs_on_the_cpus_that_it_is_told_to() {
    let (all, first, last) = machine();
    let runtime = runtime();
    let bundle = waiting().build().unwrap();
    let container = running(&runtime, &bundle);
    let cases = [
        (json!({"initial": last, "final": first}), &first),
        (json!({"final": last}), &last),
        (json!({"initial": "", "final": last}), &last),
        // What the kernel makes of it since Linux 6.2, and all that it does not forbid before.
        (json!({"initial": last}), &last),
        (json!({"initial": last, "final": ""}), &last),
        (json!({}), &all),
        (json!({"initial": "", "final": ""}), &all),
    ];
    for (affinity, cpus) in cases {
        let report = exec(&runtime, &bundle, container.id(), &affinity).success().unwrap().report().unwrap();
        assert_eq!(&report.cpus, cpus, "{affinity}");
    }
}

#[test]
fn p18_cpus_beyond_the_machines_are_passed_over_and_none_at_all_is_refused() {
    let (_, first, last) = machine();
    let runtime = runtime();
    let bundle = waiting().build().unwrap();
    let container = running(&runtime, &bundle);
    let beyond = json!({"initial": format!("{last},1024-8191"), "final": format!("{first},5000")});
    let report = exec(&runtime, &bundle, container.id(), &beyond).success().unwrap().report().unwrap();
    assert_eq!(report.cpus, first);
    for (affinity, step) in [
        (json!({"final": "5000"}), "take the final CPUs"),
        (json!({"initial": "8191"}), "take the initial CPUs"),
    ] {
        let refused = exec(&runtime, &bundle, container.id(), &affinity);
        assert_eq!((refused.exit, refused.stdout.as_str()), (Exit::Code(255), ""), "{refused:?}");
        let words = format!("{step}: sched_setaffinity: invalid argument");
        assert!(refused.stderr.contains(&words), "{refused:?}");
        assert!(refused.stderr.contains("hint: none of the CPUs may be used here"), "{refused:?}");
    }
}

#[test]
fn p18_a_malformed_list_is_refused_with_its_place() {
    let runtime = runtime();
    let bundle = waiting().build().unwrap();
    let container = running(&runtime, &bundle);
    for (affinity, place) in [
        (json!({"initial": "0-"}), "initial"),
        (json!({"final": "2-1"}), "final"),
        (json!({"final": "8192"}), "final"),
        (json!({"initial": " 0"}), "initial"),
        (json!({"final": 0}), "final"),
    ] {
        let refused = exec(&runtime, &bundle, container.id(), &affinity);
        assert_eq!(refused.exit, Exit::Code(255), "{refused:?}");
        assert!(refused.stderr.contains(&format!("/process/execCPUAffinity/{place}: ")), "{refused:?}");
    }
}

#[test]
fn p18_the_configs_affinity_is_for_exec_and_not_for_the_first_process() {
    let (all, _, last) = machine();
    let runtime = runtime();
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "probe report; exec probe wait"])
        .set("/process/execCPUAffinity", json!({"initial": "", "final": last}))
        .build()
        .unwrap();
    let mut container = running(&runtime, &bundle);
    let said = container.stdout().unwrap();
    assert_eq!(spec_conformance::Report::parse(said.lines().next().unwrap()).unwrap().cpus, all);
    let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_eq!(exec.cpus, last);
}

#[test]
fn p18_initial_comes_before_the_containers_cgroup_and_final_after() {
    let (_, first, last) = machine();
    let runtime = runtime();
    let bundle = waiting().set("/linux/resources/cpu", json!({"cpus": first})).build().unwrap();
    let container = running(&runtime, &bundle);
    // In the cgroup there is no such CPU, so this works before only.
    let report = exec(&runtime, &bundle, container.id(), &json!({"initial": last}));
    assert_eq!(report.success().unwrap().report().unwrap().cpus, first);
    let both = json!({"initial": last, "final": format!("{first},{last}")});
    let report = exec(&runtime, &bundle, container.id(), &both).success().unwrap().report().unwrap();
    assert_eq!(report.cpus, first);
    // After, there is nothing left of it.
    let refused = exec(&runtime, &bundle, container.id(), &json!({"final": last}));
    assert!(refused.stderr.contains("take the final CPUs"), "{refused:?}");
}

#[test]
fn p18_c7_r57_the_callers_own_restriction_does_not_reach_the_container() {
    let (all, first, _) = machine();
    let runtime = runtime();
    let confined = |args: &[&str]| {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &first]).arg(ketch()).arg("--root").arg(runtime.root()).args(args);
        runtime.finish(command).unwrap().success().unwrap().report().unwrap().cpus
    };
    let bundle = Bundle::new().build().unwrap();
    assert_eq!(confined(&["run", "--bundle", bundle.path().to_str().unwrap(), &runtime.fresh_id()]), all);
    let bundle = waiting().build().unwrap();
    let container = running(&runtime, &bundle);
    assert_eq!(confined(&["exec", container.id(), "/bin/probe", "report"]), all);
}
