//! Memory limits that are hit: whoever asks is told that it was the limit, and which.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;

use integration_tests::{create, nothing_left, refused, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Runtime};

const LIMIT: u64 = 32 << 20;

fn limited(bundle: BundleBuilder, limit: u64) -> Bundle {
    bundle.set("/linux/resources", json!({"memory": {"limit": limit, "swap": limit}})).build().unwrap()
}

fn greedy() -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "alloc", "100"])
}

fn patient() -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "wait"])
}

/// The numbers of a sentence such as `limit 4096, peak 4096`.
fn numbers(text: &str) -> (u64, u64) {
    let (_, after) = text.split_once("OOM-killed: limit ").unwrap_or_else(|| panic!("no limit in {text:?}"));
    let (limit, after) = after.split_once(", peak ").unwrap();
    let peak: String = after.chars().take_while(char::is_ascii_digit).collect();
    (limit.parse().unwrap(), peak.parse().unwrap())
}

fn state(runtime: &Runtime, id: &str) -> Value {
    serde_json::from_str(&runtime.call(["state", id]).unwrap().success().unwrap().stdout).unwrap()
}

#[test]
fn r09_create_under_a_limit_that_is_too_low_names_it_and_leaves_nothing() {
    let runtime = runtime();
    let id = runtime.fresh_id();
    let created = create(&runtime, &limited(patient(), 16 << 10), &id);
    refused(&created, "container init was OOM-killed");
    let (limit, peak) = numbers(&created.stderr);
    assert!(limit == 16 << 10 && peak > 0, "{created:?}");
    nothing_left(&runtime, &id);
}

#[test]
fn r09_a_container_runs_under_half_a_mebibyte() {
    let runtime = runtime();
    let bundle = limited(patient(), 512 << 10);
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    assert_eq!(container.state().unwrap().status, "running");
}

#[test]
fn r09_run_says_of_what_the_program_died_and_keeps_its_status() {
    let runtime = runtime();
    let finished = runtime.run(&limited(greedy(), LIMIT)).unwrap();
    assert_eq!(finished.exit, Exit::Code(137), "{finished:?}");
    let (limit, peak) = numbers(&finished.stderr);
    assert!(limit == LIMIT && peak <= LIMIT && peak > LIMIT / 2, "{finished:?}");
    // Nothing is said of a program that was killed otherwise, or ended as if it was.
    let shell = |script: &str| Bundle::new().args(["/bin/sh", "-c", script]).with_busybox();
    let finished = runtime.run(&limited(shell("exit 137"), LIMIT)).unwrap();
    assert_eq!((finished.exit, finished.stderr.as_str()), (Exit::Code(137), ""));
}

#[test]
fn r09_state_says_of_what_a_stopped_container_died_and_its_status_is_the_specifications() {
    let runtime = runtime();
    let bundle = limited(greedy(), LIMIT);
    let mut container = runtime.create(&bundle).unwrap();
    assert_eq!(state(&runtime, container.id()).get("oomKilled"), None);
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    let state = state(&runtime, container.id());
    assert_eq!(state["status"], "stopped");
    assert_eq!((&state["oomKilled"]["kills"], &state["oomKilled"]["limit"]), (&json!(1), &json!(LIMIT)));
    assert!(state["oomKilled"]["peak"].as_u64().is_some_and(|peak| peak > LIMIT / 2), "{state}");
}

#[test]
fn r09_exec_says_of_what_its_program_died_and_keeps_its_status() {
    let runtime = runtime();
    let bundle = limited(patient(), LIMIT);
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let killed = container.exec(["/bin/probe", "alloc", "100"]).unwrap();
    assert_eq!(killed.exit, Exit::Code(137), "{killed:?}");
    assert_eq!(numbers(&killed.stderr).0, LIMIT);
    // What was killed before is not what this one died of; and nobody says that a running container died.
    let other = container.exec(["/bin/probe", "signal", "9"]).unwrap();
    assert_eq!((other.exit, other.stderr.as_str()), (Exit::Code(137), ""));
    let state = state(&runtime, container.id());
    assert_eq!((&state["status"], state.get("oomKilled")), (&json!("running"), None));
}

#[test]
fn r09_start_and_exec_say_of_what_a_created_container_died() {
    let runtime = runtime();
    // The kernel is to choose init, and not the program of exec, which takes memory that it does not have mapped.
    let bundle = limited(patient().with_busybox().set("/process/oomScoreAdj", json!(1000)), LIMIT);
    let mut container = runtime.create(&bundle).unwrap();
    let fill = ["/bin/dd", "if=/dev/zero", "of=/dev/full-of-zeros", "bs=64k", "count=1600"];
    let greedy = json!({"cwd": "/", "args": fill, "user": {"uid": 0, "gid": 0}});
    let process = bundle.path().join("process.json");
    fs::write(&process, greedy.to_string()).unwrap();
    let process = process.to_str().unwrap();
    let execed = runtime.call(["exec", "--process", process, container.id()]).unwrap();
    assert_eq!(numbers(&execed.stderr).0, LIMIT, "{execed:?}");
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    let started = container.start().unwrap();
    refused(&started, "cannot start a container that has stopped; OOM-killed");
    assert_eq!(numbers(&started.stderr).0, LIMIT);
    let execed = container.exec(["/bin/probe"]).unwrap();
    assert!(execed.stderr.contains("container not running; OOM-killed"), "{execed:?}");
}
