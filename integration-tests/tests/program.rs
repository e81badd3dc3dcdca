//! A program that cannot be executed: whoever asked for it hears so, with its path, the reason, and the status that
//! a shell would give. Spec: runtime.md#start.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration_tests::{create, nothing_left, runtime, text_of};
use serde_json::json;
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished};

/// What stands in the way, as `process.args` name it.
struct Obstacle {
    program: &'static str,
    /// As a shell has it: 127 for what is missing, 126 for what cannot be used.
    status: i32,
    words: &'static [&'static str],
    /// Found out before `start`.
    early: bool,
}

const OBSTACLES: [Obstacle; 9] = [
    Obstacle {
        program: "absent",
        status: 127,
        words: &["\"absent\"", "executable file not found"],
        early: true,
    },
    Obstacle {
        program: "/bin/absent",
        status: 127,
        words: &["\"/bin/absent\"", "no such file"],
        early: true,
    },
    Obstacle {
        program: "/etc/data/under",
        status: 127,
        words: &["\"/etc/data/under\"", "not a directory"],
        early: true,
    },
    Obstacle {
        program: "/etc/data",
        status: 126,
        words: &["\"/etc/data\"", "permission denied"],
        early: true,
    },
    Obstacle { program: "/etc", status: 126, words: &["\"/etc\"", "is a directory"], early: true },
    Obstacle {
        program: "/bin/text",
        status: 126,
        words: &["\"/bin/text\"", "exec format error"],
        early: false,
    },
    // Looked up in PATH: which file it was is said too.
    Obstacle {
        program: "text",
        status: 126,
        words: &["\"text\" (/bin/text)", "exec format error"],
        early: false,
    },
    Obstacle {
        program: "/bin/script",
        status: 127,
        words: &["\"/bin/script\"", "no such file", "interpreter /absent/sh"],
        early: false,
    },
    Obstacle {
        program: "/bin/dynamic",
        status: 127,
        words: &["\"/bin/dynamic\"", "no such file", "interpreter /lib64/ld-linux-x86-64.so.2"],
        early: false,
    },
];

/// A bundle with all the obstacles in its image.
fn image(builder: BundleBuilder) -> Bundle {
    let bundle = builder
        .file("/etc/data", "")
        .file("/bin/text", "no program\n")
        .file("/bin/script", "#! /absent/sh -e\n")
        .build()
        .unwrap();
    let program = |name: &str| bundle.rootfs().join("bin").join(name);
    // Debian's is linked dynamically, and the image has no libraries.
    fs::copy("/bin/true", program("dynamic")).unwrap();
    for name in ["text", "script"] {
        fs::set_permissions(program(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bundle
}

fn assert_told(finished: &Finished, status: i32, words: &[&str]) {
    assert_eq!(finished.exit, Exit::Code(status), "{finished:?}");
    for word in words {
        assert!(finished.stderr.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in {finished:?}");
    }
}

#[test]
fn l10_l05_l06_p06_create_or_start_tells_why_the_program_cannot_be_executed() {
    let runtime = runtime();
    for Obstacle { program, status, words, early } in OBSTACLES {
        let bundle = image(Bundle::new().args([program]));
        let id = runtime.fresh_id();
        if early {
            assert_told(&create(&runtime, &bundle, &id), status, words);
        } else {
            let mut container = runtime.create_as(&id, &bundle).unwrap();
            assert_told(&container.start().unwrap(), status, words);
            assert_eq!(container.wait().unwrap(), Exit::Code(1));
            assert_eq!(container.state().unwrap().status, "stopped");
            container.delete().unwrap().success().unwrap();
        }
        nothing_left(&runtime, &id);
    }
}

#[test]
fn l10_run_tells_why_the_program_cannot_be_executed_and_leaves_nothing() {
    let runtime = runtime();
    for Obstacle { program, status, words, .. } in OBSTACLES {
        let bundle = image(Bundle::new().args([program]));
        let id = runtime.fresh_id();
        assert_told(&runtime.call(["run", "--bundle", text_of(bundle.path()), &id]).unwrap(), status, words);
        nothing_left(&runtime, &id);
    }
}

#[test]
fn l10_exec_tells_why_the_program_cannot_be_executed_with_the_status_that_clients_expect() {
    let runtime = runtime();
    let bundle = image(Bundle::new().args(["/bin/probe", "wait"]));
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    for Obstacle { program, words, .. } in OBSTACLES {
        // 126 and 127 are a program's own; clients tell 255 from them and read the words.
        assert_told(&container.exec([program]).unwrap(), 255, words);
    }
    assert_eq!(container.state().unwrap().status, "running");
}

#[test]
fn l10_arguments_that_are_too_long_are_told_by_start_run_and_exec() {
    let runtime = runtime();
    // One argument may have 128 KiB (execve(2)).
    let long = "x".repeat(140_000);
    let bundle = Bundle::new().args(["/bin/probe", "report", &long]).build().unwrap();
    let words = ["\"/bin/probe\"", "argument list too long"];
    let mut container = runtime.create(&bundle).unwrap();
    assert_told(&container.start().unwrap(), 126, &words);
    container.wait().unwrap();
    let id = runtime.fresh_id();
    assert_told(&runtime.call(["run", "--bundle", text_of(bundle.path()), &id]).unwrap(), 126, &words);
    nothing_left(&runtime, &id);
    let mut process = bundle.config()["process"].clone();
    let running = Bundle::new().args(["/bin/probe", "wait"]).build().unwrap();
    let file = running.path().join("process.json");
    process["args"] = json!(["/bin/probe", "report", long]);
    fs::write(&file, process.to_string()).unwrap();
    let container = runtime.create(&running).unwrap();
    let exec = runtime.call(["exec", "--process", text_of(&file), container.id()]).unwrap();
    assert_told(&exec, 255, &words);
}

#[test]
fn l10_start_tells_that_a_hook_has_taken_the_right_to_execute_the_program() {
    let runtime = runtime();
    let hook = json!([{"path": "/bin/busybox", "args": ["chmod", "644", "/bin/text"]}]);
    let builder = Bundle::new().with_busybox().args(["/bin/text"]).set("/root/readonly", json!(false));
    let bundle = image(builder.set("/hooks/startContainer", hook));
    let mut container = runtime.create(&bundle).unwrap();
    assert_told(&container.start().unwrap(), 126, &["\"/bin/text\"", "execve: permission denied"]);
    container.wait().unwrap();
}

#[test]
fn e07_l09_t07_a_container_without_a_process_can_be_created_and_not_started() {
    let runtime = runtime();
    // A filter is of the programs that join.
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = Bundle::new().remove("/process").set("/linux/seccomp", filter).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    let started = container.start().unwrap();
    assert_told(&started, 1, &["config.json has no process"]);
    // No effect: it waits as before, and can be entered and deleted.
    assert_eq!(container.state().unwrap().status, "created");
    let seen = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_eq!(seen.hostname, "conformance");
    container.delete().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    nothing_left(&runtime, container.id());
    let id = runtime.fresh_id();
    let ran = runtime.call(["run", "--bundle", text_of(bundle.path()), &id]).unwrap();
    assert!(!ran.exit.success(), "{ran:?}");
    nothing_left(&runtime, &id);
}
