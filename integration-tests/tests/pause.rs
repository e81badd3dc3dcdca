//! Paused containers: frozen, seen as such, and still to be killed and removed. On each layout of cgroups.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use integration_tests::{
    LEGACY, Stage, UNIFIED, has_ended, nothing_left, refused, running, runtime, waiting,
};
use spec_conformance::{Bundle, Exit, Runtime};

/// The layouts of cgroups that this host can be seen with.
fn layouts() -> Vec<Stage> {
    let legacy = Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists();
    [":", UNIFIED].into_iter().chain(legacy.then_some(LEGACY)).map(Stage::new).collect()
}

fn well(runtime: &Runtime, verb: &str, id: &str) {
    assert_eq!(runtime.call([verb, id]).unwrap().success().unwrap().stdout, "");
}

fn status(runtime: &Runtime, id: &str) -> String {
    runtime.state(id).unwrap().status
}

/// How long a process has been on a processor, in ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

#[test]
fn k58_a_paused_container_stands_still_and_goes_on_when_it_is_resumed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        // One that does nothing but run, and others that come and go while they are being frozen.
        let script = "(while :; do (:) ; done) & echo ready; while :; do :; done";
        let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).build().unwrap();
        let container = running(&runtime, &bundle);
        let (id, pid) = (container.id(), container.pid());
        for _ in 0..3 {
            well(&runtime, "pause", id);
            let before = ticks(pid);
            // Calls take their time.
            for _ in 0..5 {
                assert_eq!(status(&runtime, id), "paused");
            }
            assert_eq!(ticks(pid), before);
            well(&runtime, "resume", id);
            assert_eq!(status(&runtime, id), "running");
            let deadline = Instant::now() + Duration::from_secs(20);
            while ticks(pid) == before {
                assert!(Instant::now() < deadline, "the container does not run on");
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn k58_what_is_not_running_is_not_paused_and_what_is_not_paused_is_not_resumed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let mut container = running(&runtime, &bundle);
        let id = container.id().to_owned();
        refused(&runtime.call(["resume", &id]).unwrap(), "container not paused");
        well(&runtime, "pause", &id);
        refused(&runtime.call(["pause", &id]).unwrap(), "container not running: paused");
        well(&runtime, "resume", &id);
        container.kill("KILL").unwrap().success().unwrap();
        container.wait().unwrap();
        for verb in ["pause", "resume"] {
            let words =
                if verb == "pause" { "container not running: stopped" } else { "container not paused" };
            refused(&runtime.call([verb, &id]).unwrap(), words);
            refused(&runtime.call([verb, "nobody"]).unwrap(), "container nobody does not exist");
        }
    }
}

#[test]
fn k58_a_created_container_is_paused_too_and_starts_once_it_is_resumed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let mut container = runtime.create(&bundle).unwrap();
        let id = container.id().to_owned();
        well(&runtime, "pause", &id);
        assert_eq!(status(&runtime, &id), "paused");
        // Its process could not answer: nobody waits for that.
        refused(&runtime.call(["start", &id]).unwrap(), "in the paused state");
        well(&runtime, "resume", &id);
        assert_eq!(status(&runtime, &id), "created");
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
    }
}

#[test]
fn r21_k55_nothing_is_executed_in_a_paused_container_unless_it_may_wait() {
    for stage in layouts() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        well(&runtime, "pause", id);
        let exec = container.exec(["/bin/probe", "report"]).unwrap();
        assert_eq!(exec.exit, Exit::Code(255));
        assert!(exec.stderr.contains("cannot exec in a paused container"), "{exec:?}");
        assert_eq!(status(&runtime, id), "paused");
        let mut exec = runtime.command(["exec", "--ignore-paused", id, "/bin/probe", "report"]);
        let mut exec = exec.stdout(Stdio::null()).spawn().unwrap();
        // Its process is there, and gets no further than into the cgroup.
        let children = format!("/proc/{0}/task/{0}/children", exec.id());
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&children).unwrap().is_empty() {
            assert!(Instant::now() < deadline, "no process comes");
        }
        assert_eq!(status(&runtime, id), "paused");
        assert!(exec.try_wait().unwrap().is_none(), "it has been executed");
        well(&runtime, "resume", id);
        assert!(exec.wait().unwrap().success());
        container.exec(["/bin/probe", "report"]).unwrap().success().unwrap();
    }
}

#[test]
fn k58_r31_a_paused_container_is_killed_and_removed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let mut container = running(&runtime, &bundle);
        let id = container.id().to_owned();
        well(&runtime, "pause", &id);
        refused(&runtime.call(["delete", &id]).unwrap(), "not stopped: paused");
        // As engines do it.
        container.kill("9").unwrap().success().unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Signal(9));
        runtime.call(["resume", &id]).unwrap();
        container.delete().unwrap().success().unwrap();
        nothing_left(&runtime, &id);

        let container = running(&runtime, &bundle);
        let (id, pid) = (container.id().to_owned(), container.pid());
        well(&runtime, "pause", &id);
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        has_ended(pid);
        nothing_left(&runtime, &id);
    }
}

#[test]
fn k58_a_signal_to_a_paused_container_arrives_when_it_is_resumed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        let script = "trap 'echo heard; exit 7' TERM; echo ready; while :; do :; done";
        let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).build().unwrap();
        let mut container = running(&runtime, &bundle);
        let id = container.id().to_owned();
        well(&runtime, "pause", &id);
        container.kill("15").unwrap().success().unwrap();
        assert_eq!(status(&runtime, &id), "paused");
        well(&runtime, "resume", &id);
        assert_eq!(container.wait().unwrap(), Exit::Code(7));
    }
}

#[test]
fn k58_several_that_pause_and_resume_at_once_leave_it_in_one_of_both() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    let calls: Vec<_> = (0..12).map(|i| if i % 2 == 0 { "pause" } else { "resume" }).collect();
    let children: Vec<_> = calls.iter().map(|verb| runtime.command([verb, id]).spawn().unwrap()).collect();
    for mut child in children {
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
    }
    if status(&runtime, id) == "paused" {
        well(&runtime, "resume", id);
    }
    assert_eq!(status(&runtime, id), "running");
    container.exec(["/bin/probe", "report"]).unwrap().success().unwrap();
}
