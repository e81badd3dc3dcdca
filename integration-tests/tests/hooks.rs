//! Hooks run where and when the specification says, and one that fails undoes what it belongs to. Rows.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::PathBuf;

use integration_tests::runtime;
use serde_json::json;
use spec_conformance::{Bundle, Exit, Finished, Runtime};

fn create(runtime: &Runtime, bundle: &Bundle, id: &str) -> Finished {
    let bundle = bundle.path().to_str().unwrap();
    runtime.call(["create", "--bundle", bundle, id]).unwrap()
}

fn refused(finished: Finished, words: &str) {
    assert_eq!(finished.exit, Exit::Code(1), "{finished:?}");
    assert!(finished.stderr.contains(words), "{finished:?}");
}

fn nothing_left(runtime: &Runtime, id: &str) {
    assert_eq!(runtime.leftovers(id), Vec::<PathBuf>::new());
}

#[test]
fn r51_a_failing_hook_of_create_undoes_it_and_poststop_still_runs() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let runtime = runtime();
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("poststop");
        let bundle = Bundle::new()
            .set("/hooks/poststop", json!([{"path": "/usr/bin/touch", "args": ["touch", mark]}]))
            .set(&format!("/hooks/{kind}"), json!([{"path": "/bin/true"}, {"path": "/bin/false"}]))
            .build()
            .unwrap();
        let id = runtime.fresh_id();
        let finished = create(&runtime, &bundle, &id);
        refused(finished.clone(), &format!("{kind} hook 1"));
        assert!(finished.stderr.contains("exited with status 1"), "{finished:?}");
        nothing_left(&runtime, &id);
        assert!(mark.exists(), "{kind}: poststop did not run");
    }
}

#[test]
fn r51_a_failing_start_hook_stops_the_container_and_removes_it() {
    let inside = json!([{"path": "/bin/probe", "args": ["probe", "exit", "3"]}]);
    let outside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
    for (kind, hook) in [("startContainer", inside), ("poststart", outside)] {
        let runtime = runtime();
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("poststop");
        let bundle = Bundle::new()
            .args(["/bin/probe", "wait"])
            .set("/hooks/poststop", json!([{"path": "/usr/bin/touch", "args": ["touch", mark]}]))
            .set(&format!("/hooks/{kind}"), hook)
            .build()
            .unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        let started = container.start().unwrap();
        refused(started.clone(), &format!("{kind} hook 0"));
        assert!(started.stderr.contains("exited with status 3"), "{started:?}");
        container.wait().unwrap();
        nothing_left(&runtime, container.id());
        assert!(mark.exists(), "{kind}: poststop did not run");
    }
}

#[test]
fn r52_hooks_run_in_the_specified_order_with_the_specified_states() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace");
    let outside = |kind: &str| {
        let script =
            format!("echo {kind} $(sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') >> {}", trace.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let script = "echo startContainer $(sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') >> /trace/trace";
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "echo program >> /trace/trace"])
        .push("/mounts", json!({"destination": "/trace", "source": place.path(), "options": ["bind"]}))
        .set(
            "/hooks",
            json!({
                "prestart": outside("prestart"), "createRuntime": outside("createRuntime"),
                "createContainer": outside("createContainer"),
                "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}],
                "poststart": outside("poststart"), "poststop": outside("poststop"),
            }),
        )
        .build()
        .unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0), "{}", container.stderr().unwrap());
    container.delete().unwrap().success().unwrap();
    let text = fs::read_to_string(&trace).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    // The program and poststart run side by side: poststart is after the program's execution began.
    let program = lines.iter().position(|line| *line == "program").unwrap();
    assert!((4..=5).contains(&program), "{lines:?}");
    lines.remove(program);
    assert_eq!(
        lines,
        [
            "prestart creating",
            "createRuntime creating",
            "createContainer creating",
            "startContainer created",
            "poststart running",
            "poststop stopped",
        ]
    );
}
