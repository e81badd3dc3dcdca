//! Units come and go: also those that failed, that somebody else made, and that nobody can reach.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::{ketch, nothing_left, refused, text_of};
use serde_json::{Value, json};
use spec_conformance::Exit;

use super::{LIMITS, driven, end, is_known, run, runs_here, shown, waiting};

/// How many containers the test of many makes. An emulated machine takes seconds for each.
fn many() -> usize {
    std::env::var("KETCH_SYSTEMD_CYCLES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// Waits until systemd has forgotten the unit.
fn is_forgotten(unit: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_known(unit) {
        assert!(Instant::now() < until, "{unit} is still there: {}", run("systemctl", &["show", unit]));
        std::thread::yield_now();
    }
}

#[test]
fn b25_a_failed_unit_of_the_same_name_is_reset_and_an_active_one_is_left_alone() {
    if !runs_here("b25_a_failed_unit") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let id = runtime.fresh_id();
    let unit = format!("ketchtest-{id}.scope");
    let bundle = waiting(&format!("system.slice:ketchtest:{id}")).build().unwrap();
    // A scope whose time is over has failed, and stays.
    let mut other = Command::new("systemd-run")
        .args(["--scope", "--quiet", "--unit", &unit, "--property=RuntimeMaxSec=1", "sleep", "1000"])
        .spawn()
        .unwrap();
    other.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while shown(&unit, "ActiveState") != "failed" {
        assert!(Instant::now() < until, "{}", run("systemctl", &["show", &unit]));
    }
    let container = runtime.create_as(&id, &bundle).unwrap();
    assert_eq!(shown(&unit, "ActiveState"), "active");
    // Another one of this name: of another state directory, since ids are taken once.
    let second = driven();
    let create = second.runtime().call(["create", "--bundle", text_of(bundle.path()), &id]).unwrap();
    refused(&create, "UnitExists");
    nothing_left_but(second.runtime(), &id);
    assert_eq!(shown(&unit, "ActiveState"), "active");
    assert_eq!(container.state().unwrap().status, "created");
    end(container, &unit);
}

/// The cgroup of this id is another runtime's; the state directory has to be empty.
fn nothing_left_but(runtime: &spec_conformance::Runtime, id: &str) {
    let left: Vec<_> = runtime.leftovers(id).into_iter().filter(|path| !path.starts_with("/sys")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn b20_whatever_fails_after_the_unit_is_made_takes_it_away_again() {
    if !runs_here("b20_whatever_fails") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let limits: Value = serde_json::from_str(LIMITS).unwrap();
    let bundle = waiting("system.slice:ketchtest:failing").set("/linux/resources", limits).build().unwrap();
    let mut command = runtime.command(["plan", "--steps", "--bundle"]);
    command.arg(bundle.path()).arg("failing");
    let printed = runtime.finish(command).unwrap().success().unwrap().stdout;
    let steps: Vec<(u32, &str)> = printed
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(code, words)| (code.parse().unwrap(), words.trim()))
        .collect();
    assert!(steps.iter().any(|(_, words)| *words == "systemd unit ketchtest-failing.scope"), "{steps:?}");
    // One step of each kind, in the runtime's process and in the container's.
    for kind in [90, 1, 2, 4, 10, 13, 19, 20, 26, 43] {
        let Some((code, words)) = steps.iter().find(|(code, _)| code >> 16 == kind) else {
            panic!("no step of kind {kind} in {steps:?}");
        };
        let create = runtime
            .call(["create", "--bundle", text_of(bundle.path()), "--fail-at", &code.to_string(), "failing"])
            .unwrap();
        refused(&create, "injected fault");
        assert!(!is_known("ketchtest-failing.scope"), "{words}: the unit is left");
        nothing_left(runtime, "ketchtest-failing");
        nothing_left(runtime, "failing");
    }
}

#[test]
fn b20_a_container_mounts_while_its_unit_is_made_and_sees_its_own_cgroup() {
    if !runs_here("b20_a_container_mounts") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let hook = json!([{"path": "/bin/true"}]);
    let plain = |id: &str| {
        waiting(&format!("system.slice:ketchtest:{id}")).with_busybox().args(["/bin/sleep", "1000"])
    };
    // With hooks that are to find the host, its root is changed at the end.
    for hooks in [json!({}), json!({"createContainer": hook})] {
        let id = runtime.fresh_id();
        let bundle = plain(&id).set("/hooks", hooks).build().unwrap();
        let call = ["--trace", text_of(trace.path()), "create", "--bundle", text_of(bundle.path()), &id];
        runtime.call(call).unwrap().success().unwrap();
        let timeline: Value = serde_json::from_slice(&std::fs::read(trace.path()).unwrap()).unwrap();
        let events = timeline["traceEvents"].as_array().unwrap();
        let last = |about: &dyn Fn(&Value) -> bool| {
            let event = events.iter().rfind(|event| event["ph"] == "X" && about(event));
            event.unwrap_or_else(|| panic!("{timeline:#}"))["ts"].as_f64().unwrap()
        };
        let step = |id: &str| last(&|event| event["args"]["step"] == id);
        // The last namespace is that of cgroups, when it has been moved.
        let moved = step("Unshare");
        let cgroups = last(&|event| event["name"].as_str().unwrap().ends_with("cgroup on /sys/fs/cgroup"));
        assert!(step("Mount(0)") < moved && moved < cgroups, "{timeline:#}");
        runtime.call(["start", &id]).unwrap().success().unwrap();
        let exec = |program: &[&str]| {
            let finished = runtime.call([&["exec", &id], program].concat()).unwrap();
            finished.success().unwrap().stdout
        };
        assert_eq!(exec(&["/bin/cat", "/proc/1/cgroup"]), "0::/\n");
        assert!(exec(&["/bin/cat", "/sys/fs/cgroup/cgroup.procs"]).starts_with("1\n"));
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        nothing_left(runtime, &id);
        is_forgotten(&format!("ketchtest-{id}.scope"));
    }
}

#[test]
fn b25_many_containers_come_and_go_four_at_a_time_and_leave_no_unit() {
    if !runs_here("b25_many_containers") {
        return;
    }
    const PARALLEL: usize = 4;
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let each = many().div_ceil(PARALLEL);
    std::thread::scope(|scope| {
        for thread in 0..PARALLEL {
            scope.spawn(move || {
                for number in 0..each {
                    let id = format!("{}-{thread}-{number}", runtime.fresh_id());
                    let bundle = waiting(&format!("system.slice:ketchmany:{id}")).build().unwrap();
                    let path = text_of(bundle.path());
                    let create = runtime.call(["create", "--bundle", path, &id]).unwrap();
                    assert_eq!((create.exit, create.stderr.as_str()), (Exit::Code(0), ""), "{id}");
                    let delete = runtime.call(["delete", "--force", &id]).unwrap();
                    assert_eq!((delete.exit, delete.stderr.as_str()), (Exit::Code(0), ""), "{id}");
                }
            });
        }
    });
    let left = run("systemctl", &["list-units", "--all", "--no-legend", "ketchmany-*"]);
    assert_eq!(left.trim(), "", "units are left");
}

#[test]
fn b25_exec_state_kill_and_a_dead_container_do_without_systemd() {
    if !runs_here("b25_exec_state_kill") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let id = runtime.fresh_id();
    let bundle = waiting(&format!("system.slice:ketchtest:{id}")).build().unwrap();
    let mut container = runtime.create_as(&id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    let unit = format!("ketchtest-{id}.scope");
    // In a mount namespace without systemd's sockets, whoever needs them fails. And without the flag: the record
    // has what is needed.
    let cut_off = |verb: &[&str]| {
        let script = "mount -t tmpfs none /run/systemd && mount -t tmpfs none /run/dbus && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).arg(ketch());
        command.arg("--root").arg(runtime.root()).args(verb);
        command.output().unwrap()
    };
    assert!(cut_off(&["state", &id]).status.success());
    assert_eq!(cut_off(&["exec", &id, "/bin/probe", "exit", "7"]).status.code(), Some(7));
    assert!(cut_off(&["kill", &id, "KILL"]).status.success());
    container.wait().unwrap();
    let delete = cut_off(&["delete", &id]);
    let says = String::from_utf8_lossy(&delete.stderr);
    assert!(!delete.status.success() && says.contains("systemd cannot be reached"), "{says}");
    // What could not be deleted can be deleted later. By now systemd has noticed itself that nobody is left.
    is_forgotten(&unit);
    let mut command = Command::new(ketch());
    assert!(command.arg("--root").arg(runtime.root()).args(["delete", &id]).status().unwrap().success());
    nothing_left(runtime, &id);
    // A host without systemd.
    let id = runtime.fresh_id();
    let create = cut_off(&["--systemd-cgroup", "create", "--bundle", text_of(bundle.path()), &id]);
    let says = String::from_utf8_lossy(&create.stderr);
    assert!(!create.status.success() && says.contains("systemd, which does not run on this host"), "{says}");
}
