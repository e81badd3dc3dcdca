//! Paused containers: frozen, seen as such, and still to be killed and removed. Rows K-58, R-21, R-31, E-12.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use integration_tests::{Stage, deadline, has_ended, refused, runtime, text_of, waiting};
use serde_json::json;
use spec_conformance::{Bundle, Container, Finished, Runtime};

/// A mount namespace with version 2 alone.
const UNIFIED: &str = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
/// One with version 1 alone, if this host has it.
const LEGACY: &str = "test ! -d /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified";

fn has_version_1() -> bool {
    Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists()
}

/// The layouts of cgroups that this host can be seen with.
fn layouts() -> Vec<Stage> {
    let mut setups = vec![":", UNIFIED];
    if has_version_1() {
        setups.push(LEGACY);
    }
    setups.into_iter().map(Stage::new).collect()
}

fn running<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let mut container = runtime.create(bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container
}

fn verb(runtime: &Runtime, verb: &str, id: &str) -> Finished {
    runtime.call([verb, id]).unwrap()
}

fn status(runtime: &Runtime, id: &str) -> String {
    runtime.state(id).unwrap().status
}

/// How far a process has come, in ticks of the processor.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

#[test]
fn k58_a_paused_container_stands_still_and_goes_on_when_it_is_resumed() {
    for stage in layouts() {
        let runtime = stage.runtime();
        // Processes that come and go while they are frozen, and one that does nothing but run.
        let bundle = Bundle::new()
            .with_busybox()
            .args(["/bin/sh", "-c", "(while :; do (:) ; done) & echo ready; while :; do :; done"])
            .build()
            .unwrap();
        let container = running(&runtime, &bundle);
        let (id, pid) = (container.id(), container.pid());
        for _ in 0..3 {
            assert_eq!(verb(&runtime, "pause", id).success().unwrap().stdout, "");
            assert_eq!(status(&runtime, id), "paused");
            let before = ticks(pid);
            // Many a tick of a process that ran.
            while deadline_of_ticks(before) {}
            assert_eq!(ticks(pid), before);
            verb(&runtime, "resume", id).success().unwrap();
            assert_eq!(status(&runtime, id), "running");
            let patience = deadline();
            while ticks(pid) == before {
                assert!(!patience.passed(), "the container does not run on");
                std::thread::yield_now();
            }
        }
    }
}
