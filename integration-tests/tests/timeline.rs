//! `--trace FILE`: every step of a command with its time, from both processes, as JSON that trace viewers show.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use integration_tests::{VERSION_2_ALONE, Wrapped, bind, mounted, runtime, text_of};
use serde::Deserialize;
use serde_json::json;
use spec_conformance::{Bundle, Finished, Runtime};
use tempfile::TempDir;

/// The trace event format, as far as it is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Timeline {
    trace_events: Vec<Event>,
    display_time_unit: String,
    other_data: Other,
}

#[derive(Debug, Deserialize)]
struct Other {
    lost: u32,
}

#[derive(Debug, Deserialize)]
struct Event {
    ph: String,
    name: String,
    #[serde(default)]
    cat: String,
    pid: i32,
    tid: i32,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
    args: serde_json::Map<String, serde_json::Value>,
}

impl Timeline {
    fn read(file: &Path) -> Timeline {
        let timeline: Timeline = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!((timeline.display_time_unit.as_str(), timeline.other_data.lost), ("ms", 0));
        assert!(timeline.trace_events.iter().all(|event| event.pid == event.tid && event.pid > 0));
        assert!(timeline.complete().all(|event| event.ts > 0.0 && event.dur >= 0.0));
        timeline
    }

    fn complete(&self) -> impl Iterator<Item = &Event> {
        self.trace_events.iter().filter(|event| event.ph == "X")
    }

    /// What was done, in words; `pid` did it.
    fn steps_of(&self, pid: i32) -> BTreeSet<&str> {
        let steps = self.complete().filter(|event| event.cat == "step" && event.pid == pid);
        steps.map(|event| event.name.as_str()).collect()
    }

    fn phases(&self) -> BTreeSet<&str> {
        let phases = self.complete().filter(|event| event.cat == "phase");
        phases.filter_map(|event| event.args["phase"].as_str()).collect()
    }

    /// The pid of the process of this name.
    fn process(&self, name: &str) -> Option<i32> {
        let named = |event: &&Event| event.name == "process_name" && event.args["name"] == name;
        self.trace_events.iter().find(named).map(|event| event.pid)
    }
}

const RUNTIME: &str = "the runtime";
const CONTAINER: &str = "the container's process";

fn traced(runtime: &Runtime, args: &[&str]) -> (Finished, Timeline) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trace.json");
    let finished = runtime.call([&["--trace", text_of(&file)], args].concat()).unwrap();
    (finished, Timeline::read(&file))
}

/// The steps that `plan --steps` lists, in words.
fn planned(runtime: &Runtime, bundle: &Bundle, id: &str) -> Vec<String> {
    let listed = runtime.call(["plan", "--steps", "--bundle", text_of(bundle.path()), id]).unwrap();
    let listed = listed.success().unwrap().stdout;
    listed.lines().map(|line| line.trim().split_once(' ').unwrap().1.to_owned()).collect()
}

fn bundle(args: &[&str]) -> Bundle {
    Bundle::new()
        .args(args.iter().copied())
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .build()
        .unwrap()
}

#[test]
fn a_timeline_of_run_has_every_step_of_the_plan_and_both_processes() {
    let runtime = runtime();
    let bundle = bundle(&["/bin/probe", "exit", "0"]);
    let id = runtime.fresh_id();
    let planned = planned(&runtime, &bundle, &id);
    let (finished, timeline) = traced(&runtime, &["run", "--bundle", text_of(bundle.path()), &id]);
    finished.success().unwrap();
    let (ours, theirs) = (timeline.process(RUNTIME).unwrap(), timeline.process(CONTAINER).unwrap());
    assert_ne!(ours, theirs);
    let done = &timeline.steps_of(ours) | &timeline.steps_of(theirs);
    let missing: Vec<_> = planned.iter().filter(|step| !done.contains(step.as_str())).collect();
    assert!(missing.is_empty(), "{missing:#?} of {done:#?}");
    assert!(timeline.steps_of(ours).contains("create the container's process"), "{timeline:#?}");
    assert!(timeline.steps_of(theirs).contains("mounts[0]: proc on /proc"), "{timeline:#?}");
    let phases =
        ["Attend", "Compile", "Delete", "Draft", "Prepare", "Read", "Reserve", "Seal", "Start", "Wait"];
    assert_eq!(timeline.phases(), BTreeSet::from(phases));
}

#[test]
fn times_are_of_one_clock_in_the_order_of_what_happened() {
    let runtime = runtime();
    let bundle = bundle(&["/bin/probe", "exit", "0"]);
    let (_, timeline) = traced(&runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    let find = |id: &str| timeline.complete().find(|event| event.args.values().any(|it| it == id)).unwrap();
    let (seal, read, clone) = (find("Seal"), find("Read"), find("Clone"));
    let (mount, pivot, attend, delete) = (find("Mount(0)"), find("Pivot"), find("Attend"), find("Delete"));
    for [before, after] in [[seal, read], [read, clone], [mount, pivot], [attend, delete]] {
        assert!(before.ts + before.dur <= after.ts, "{before:?} is not before {after:?}");
    }
    assert!(clone.ts < mount.ts && pivot.ts + pivot.dur < attend.ts, "{clone:?} {mount:?} {attend:?}");
}

#[test]
fn n06_the_root_is_changed_while_the_network_is_made_and_no_mount_waits_for_that() {
    let alone = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    let bundle = mounted(Bundle::new().args(["/bin/probe", "exit", "0"]), [bind("/etc", "/etc", &["bind"])]);
    let bundle = bundle.build().unwrap();
    let runtime = alone.runtime();
    let (finished, timeline) =
        traced(runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    finished.success().unwrap();
    let first = |id: &str| timeline.complete().find(|event| event.args.values().any(|it| it == id));
    // On Linux 7.0 and later it is the process's from the beginning.
    let changed = first("EnterRoot").or_else(|| first("Pivot")).unwrap();
    let sysfs = timeline.complete().find(|event| event.name.ends_with("sysfs on /sys")).unwrap();
    assert!(changed.ts + changed.dur <= sysfs.ts, "{changed:?} {sysfs:?}");
}

#[test]
fn create_start_exec_and_delete_have_timelines_of_their_own() {
    let runtime = runtime();
    let bundle = Bundle::new().with_busybox().args(["/bin/sleep", "600"]).build().unwrap();
    let id = runtime.fresh_id();
    let after = ["execute ", "wait to be started"];
    let planned = planned(&runtime, &bundle, &id);
    let (finished, created) = traced(&runtime, &["create", "--bundle", text_of(bundle.path()), &id]);
    finished.success().unwrap();
    let theirs = created.process(CONTAINER).unwrap();
    assert_eq!(Some(theirs), runtime.state(&id).unwrap().pid);
    let done = &created.steps_of(created.process(RUNTIME).unwrap()) | &created.steps_of(theirs);
    let missing: Vec<_> = planned.iter().filter(|step| !done.contains(step.as_str())).collect();
    // What is left is done when it is started.
    let late = |step: &&&String| !after.iter().any(|late| step.starts_with(late));
    let early: Vec<_> = missing.iter().filter(late).collect();
    assert!(early.len() <= 3 && missing.len() < planned.len() / 2, "{missing:#?}");
    assert!(!created.phases().contains("Start"), "{:?}", created.phases());

    let (finished, started) = traced(&runtime, &["start", &id]);
    finished.success().unwrap();
    assert_eq!(started.phases(), BTreeSet::from(["Start"]));

    let (finished, executed) = traced(&runtime, &["exec", &id, "/bin/probe", "exit", "0"]);
    finished.success().unwrap();
    let inside = executed.process(CONTAINER).unwrap();
    assert!(inside != theirs && executed.steps_of(inside).contains("FindProgram"), "{executed:#?}");

    let (finished, deleted) = traced(&runtime, &["delete", "--force", &id]);
    finished.success().unwrap();
    assert_eq!(deleted.phases(), BTreeSet::from(["Delete"]));
    assert_eq!(deleted.process(CONTAINER), None);
}

#[test]
fn a_command_that_fails_leaves_a_timeline_up_to_the_step_that_failed() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/no-such-program"]).build().unwrap();
    let (finished, timeline) =
        traced(&runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    assert!(!finished.exit.success());
    let theirs = timeline.process(CONTAINER).unwrap();
    let of_theirs = timeline.complete().filter(|event| event.pid == theirs);
    assert_eq!(of_theirs.last().unwrap().args["step"], "FindProgram");
    assert!(timeline.phases().contains("Prepare") && !timeline.phases().contains("Start"));
}

#[test]
fn a_timeline_that_cannot_be_written_is_an_error_before_anything_is_done() {
    let runtime = runtime();
    let bundle = bundle(&["/bin/probe", "exit", "0"]);
    let id = runtime.fresh_id();
    let args = ["--trace", "/proc/no/such/file", "create", "--bundle", text_of(bundle.path()), &id];
    let finished = runtime.call(args).unwrap();
    assert!(!finished.exit.success() && finished.stderr.contains("/proc/no/such/file"), "{finished:?}");
    assert!(runtime.leftovers(&id).is_empty());
}
