//! A hook that fails undoes what it belongs to, and the error says which one, how, and what it printed.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use integration_tests::{create, has_ended, nothing_left, refused, runtime, text_of};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Runtime};

/// Those whose failure ends the container, and whether `create` calls them.
const KINDS: [(&str, bool); 5] = [
    ("prestart", true),
    ("createRuntime", true),
    ("createContainer", true),
    ("startContainer", false),
    ("poststart", false),
];

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// A bundle whose second hook of a kind is this one, and which tells when poststop has run.
fn failing(kind: &str, hook: &Value, mark: &Path) -> BundleBuilder {
    Bundle::new()
        .with_busybox()
        .args(["/bin/probe", "wait"])
        .set("/hooks/poststop", json!([{"path": "/usr/bin/touch", "args": ["touch", mark]}]))
        .set(&format!("/hooks/{kind}"), json!([shell("true"), hook]))
}

/// Creates and starts; gives what the failing one of the calls said. Nothing of the container may be left.
fn fail(runtime: &Runtime, bundle: &Bundle, by_create: bool) -> Finished {
    let id = runtime.fresh_id();
    if by_create {
        let finished = create(runtime, bundle, &id);
        nothing_left(runtime, &id);
        return finished;
    }
    let mut container = runtime.create_as(&id, bundle).unwrap();
    let finished = container.start().unwrap();
    container.wait().unwrap();
    refused(&runtime.call(["state", &id]).unwrap(), "does not exist");
    nothing_left(runtime, &id);
    finished
}

#[test]
fn h14_h15_e10_r51_a_failing_hook_stops_the_container_removes_it_and_is_told_to_its_caller() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    for (kind, by_create) in KINDS {
        let mark = place.path().join(kind);
        let hook = shell("echo some words; echo more >&2; exit 3");
        let bundle = failing(kind, &hook, &mark).build().unwrap();
        let words = format!("{kind} hook 1 (/bin/sh): exited with status 3; it printed: some words\nmore");
        refused(&fail(&runtime, &bundle, by_create), &words);
        assert!(mark.exists(), "{kind}: poststop did not run");
        fs::remove_file(&mark).unwrap();
        // And the same of `run`, which is create and start in one.
        let id = runtime.fresh_id();
        refused(&runtime.call(["run", "--bundle", text_of(bundle.path()), &id]).unwrap(), &words);
        assert!(mark.exists(), "{kind}: poststop did not run after run");
        nothing_left(&runtime, &id);
    }
}

#[test]
fn h14_a_killed_a_flooding_and_a_silent_hook_are_told_apart() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    for (kind, by_create) in KINDS {
        let say = |script: &str| {
            let bundle = failing(kind, &shell(script), &place.path().join("mark")).build().unwrap();
            fail(&runtime, &bundle, by_create)
        };
        let killed = say("kill -SEGV $$");
        refused(&killed, &format!("{kind} hook 1 (/bin/sh): killed by signal 11"));
        assert!(!killed.stderr.contains("printed"), "{killed:?}");
        // No more than the end is kept, and nobody waits for a reader.
        let flooding = say("yes | head -c 1000000; echo; echo the end; exit 1");
        refused(&flooding, "the end");
        assert!(flooding.stderr.len() < 4500, "{kind}: {} bytes", flooding.stderr.len());
        // An image does not get to write to the caller's terminal.
        let steering = say(r"printf 'a\033[31mred'; exit 1");
        refused(&steering, r"it printed: a\u{1b}[31mred");
    }
}

#[test]
fn h12_a_hook_that_takes_too_long_is_killed_with_what_it_started() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    for (kind, by_create) in KINDS {
        let child = place.path().join(format!("{kind}.child"));
        let told = if kind == "startContainer" { "/tmp/child".into() } else { child.clone() };
        let mut hook = shell(&format!("sleep 1000 & echo $! > {}; echo late; wait", told.display()));
        hook["timeout"] = json!(1);
        let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"});
        let bundle = failing(kind, &hook, &place.path().join("mark")).push("/mounts", tmp).build().unwrap();
        let finished = fail(&runtime, &bundle, by_create);
        let words = format!("{kind} hook 1 (/bin/sh): timed out after 1 s and was killed; it printed: late");
        refused(&finished, &words);
        if kind != "startContainer" && kind != "createContainer" {
            has_ended(fs::read_to_string(&child).unwrap().trim().parse().unwrap());
        }
    }
}

#[test]
fn h12_a_hook_that_keeps_its_time_may_leave_a_daemon() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let mut hook = shell(&format!("sleep 1000 & echo $! > {}; exit 0", pid.display()));
    hook["timeout"] = json!(20);
    let bundle = failing("createRuntime", &hook, &place.path().join("mark")).build().unwrap();
    let _container = runtime.create(&bundle).unwrap();
    let pid = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let daemon = spec_conformance::wait::Pidfd::open(pid).unwrap();
    daemon.send(nix::sys::signal::Signal::SIGKILL).unwrap();
    has_ended(pid);
}

#[test]
fn h16_e11_a_failing_poststop_hook_is_a_warning_and_the_others_run() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let (first, last, log) =
        (place.path().join("first"), place.path().join("last"), place.path().join("log"));
    let mut late = shell("echo slow; sleep 1000");
    late["timeout"] = json!(1);
    let hooks = json!([
        shell(&format!("touch {}", first.display())),
        shell("echo some words; exit 3"),
        {"path": "/nonexistent/hook"},
        late,
        shell(&format!("touch {}", last.display())),
    ]);
    let bundle =
        Bundle::new().args(["/bin/probe", "exit", "0"]).set("/hooks/poststop", hooks).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    let delete = runtime.call(["--log", text_of(&log), "delete", container.id()]).unwrap();
    assert_eq!((delete.exit, delete.stderr.as_str()), (Exit::Code(0), ""));
    nothing_left(&runtime, container.id());
    assert!(first.exists() && last.exists());
    let logged = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = logged.lines().collect();
    assert_eq!(lines.len(), 3, "{logged}");
    for (line, words) in lines.iter().zip([
        "poststop hook 1 (/bin/sh): exited with status 3",
        "poststop hook 2 (/nonexistent/hook): exited with status 127",
        "poststop hook 3 (/bin/sh): timed out after 1 s",
    ]) {
        assert!(line.contains("level=warning") && line.contains(words), "{line}");
    }
    assert!(lines[0].contains("some words"), "{logged}");
}

#[test]
fn h13_e17_a_relative_path_and_a_timeout_of_zero_are_refused_before_anything_is_made() {
    let runtime = runtime();
    for (hook, at) in [
        (json!({"path": "bin/true"}), "/hooks/poststop/1/path"),
        (json!({"path": "/bin/true", "timeout": 0}), "/hooks/poststop/1/timeout"),
        (json!({"path": "/bin/true", "timeout": -1}), "/hooks/poststop/1/timeout"),
    ] {
        let bundle =
            Bundle::new().set("/hooks/poststop", json!([{"path": "/bin/true"}, hook])).build().unwrap();
        let id = runtime.fresh_id();
        refused(&create(&runtime, &bundle, &id), at);
        nothing_left(&runtime, &id);
    }
}
