//! The command line is the one that engines speak: flags, output, exit statuses, logs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use integration_tests::{ketch, runtime, text_of as path};
use serde_json::{Value, json};
use spec_conformance::{Bundle, Exit};

/// ketch with these arguments and no others, in an empty environment.
fn bare<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    output(Command::new(ketch()).args(args).env_clear())
}

/// Runs a command. Its output goes to files: a container that it leaves behind would keep a pipe open.
fn output(command: &mut Command) -> Output {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let status = command.status().unwrap();
    let read = |file: &mut fs::File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    Output { status, stdout: read(&mut out), stderr: read(&mut err) }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn k01_global_flags_are_taken_with_a_space_with_an_equals_sign_and_twice() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (place.path().join("one/deep"), place.path().join("two"));
    let bundle = Bundle::new().build().unwrap();
    let (root, other) = (path(&one), path(&two));
    let assigned = format!("--root={root}");
    let forms: [&[&str]; 3] = [
        &["--root", root],
        &[&assigned, "--log-format=json", "--log-format", "json", "--debug", "--debug"],
        // The last one counts.
        &["--root", other, "--root", root],
    ];
    for (number, form) in forms.iter().enumerate() {
        let id = format!("conformance-cli-{}-{number}", std::process::id());
        let created = bare(&[form, &["create", "--bundle", path(bundle.path()), &id][..]].concat());
        assert!(created.status.success(), "{form:?}: {}", text(&created.stderr));
        assert!(one.join(&id).is_dir() && !two.exists(), "{form:?}");
        let state: Value = serde_json::from_slice(&bare(&["--root", root, "state", &id]).stdout).unwrap();
        assert_eq!(state["status"], "created");
        assert!(bare(&["--root", root, "delete", "--force", "--force", &id]).status.success());
        assert!(!one.join(&id).exists());
    }
}

#[test]
fn flags_of_a_command_come_in_any_order_and_both_forms() {
    let runtime = runtime();
    let bundle = Bundle::new().build().unwrap();
    let pid_file = bundle.path().join("pid");
    let assigned = format!("--bundle={}", path(bundle.path()));
    let orders: [&[&str]; 3] = [
        &["--pid-file", path(&pid_file), &assigned],
        &["-b", path(bundle.path()), "--no-new-keyring", "--pid-file", path(&pid_file)],
        &[
            "--no-pivot",
            "--bundle",
            "/nonexistent",
            "--bundle",
            path(bundle.path()),
            "--pid-file",
            path(&pid_file),
        ],
    ];
    for order in orders {
        let id = runtime.fresh_id();
        runtime.call([&["create"], order, &[&id]].concat()).unwrap().success().unwrap();
        let pid = runtime.state(&id).unwrap().pid.unwrap();
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
        runtime.call(["delete", "-f", &id]).unwrap().success().unwrap();
    }
}

#[test]
fn k02_k03_a_failure_is_one_line_of_json_in_the_log_and_the_same_words_on_stderr() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log.json");
    let root = place.path().join("root");
    let finished =
        bare(&["--root", path(&root), "--log", path(&log), "--log-format", "json", "state", "nobody"]);
    assert_eq!(finished.status.code(), Some(1));
    let logged = fs::read_to_string(&log).unwrap();
    assert_eq!(logged.lines().count(), 1, "{logged}");
    assert!(logged.ends_with('\n'));
    let line: Value = serde_json::from_str(&logged).unwrap();
    let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["code", "level", "msg", "time"]));
    assert_eq!((&line["level"], &line["code"]), (&json!("error"), &json!("missing")));
    assert_eq!(line["msg"], "container nobody does not exist");
    assert!(text(&finished.stderr).contains("container nobody does not exist"));
    assert_rfc3339(line["time"].as_str().unwrap());
    // Appended, never cut.
    bare(&["--root", path(&root), "--log", path(&log), "--log-format", "json", "state", "nobody"]);
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

/// As Go reads `time.RFC3339`: `2006-01-02T15:04:05`, maybe a fraction, and a zone.
fn assert_rfc3339(time: &str) {
    let (date, clock) = time.split_once('T').unwrap_or_else(|| panic!("{time}"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fields =
        |text: &str, by: char| text.split(by).map(|f| f.len() * usize::from(digits(f))).collect::<Vec<_>>();
    assert_eq!(fields(date, '-'), [4, 2, 2], "{time}");
    let clock = clock.strip_suffix('Z').unwrap_or_else(|| panic!("{time}: not in UTC"));
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    assert_eq!(fields(seconds, ':'), [2, 2, 2], "{time}");
    assert!(digits(fraction) && !fraction.is_empty(), "{time}");
}

#[test]
fn a_success_is_silent_and_leaves_an_empty_log() {
    let place = tempfile::tempdir().unwrap();
    let (log, root) = (place.path().join("log.json"), place.path().join("root"));
    // A config that the specification wants a warning for: podman takes the whole log as one object.
    let bundle = Bundle::new().set("/process/capabilities/ambient", json!(["CAP_KILL"])).build().unwrap();
    let id = format!("conformance-log-{}", std::process::id());
    let global = ["--root", path(&root), "--log", path(&log), "--log-format", "json"];
    let operations: [&[&str]; 4] = [
        &["create", "--bundle", path(bundle.path()), &id],
        &["kill", &id, "0"],
        &["kill", &id, "KILL"],
        &["delete", "--force", &id],
    ];
    for operation in operations {
        let finished = bare(&[&global, operation].concat());
        assert!(finished.status.success(), "{operation:?}: {}", text(&finished.stderr));
        assert_eq!((text(&finished.stdout), text(&finished.stderr)), ("", ""), "{operation:?}");
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}

#[test]
fn k36_k37_kill_takes_every_spelling_of_a_signal_and_term_without_one() {
    let runtime = runtime();
    let cases: [(&[&str], &str); 6] = [
        (&[], "TERM"),
        (&["15"], "TERM"),
        (&["USR1"], "USR1"),
        (&["SIGUSR1"], "USR1"),
        (&["sigusr1"], "USR1"),
        (&["10"], "USR1"),
    ];
    for (signal, trapped) in cases {
        let bundle = Bundle::new().args(["/bin/probe", "trap", trapped]).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        runtime.call([&["kill", container.id()], signal].concat()).unwrap().success().unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Code(0));
        assert_eq!(container.stdout().unwrap(), format!("ready\ngot {trapped}\n"), "{signal:?}");
    }
    for wrong in ["NOSUCH", "", "SIG", "9x"] {
        let finished = runtime.call(["kill", "nobody", wrong]).unwrap();
        assert!(finished.stderr.contains("unknown signal"), "{finished:?}");
    }
}

#[test]
fn k10_the_version_has_the_lines_that_docker_looks_for() {
    for flag in ["--version", "-v"] {
        let finished = bare(&[flag]);
        assert!(finished.status.success());
        let lines: Vec<&str> = text(&finished.stdout).lines().collect();
        assert!(lines[0].starts_with("ketch version "), "{lines:?}");
        for start in ["commit: ", "spec: ", "libseccomp: "] {
            assert!(
                lines.iter().any(|line| line.starts_with(start) && line.len() > start.len()),
                "{lines:?}"
            );
        }
    }
}

#[test]
fn k11_help_of_every_command_succeeds_and_an_unknown_flag_or_command_does_not() {
    // As clap lists them.
    let listed = bare(&["--help"]);
    let commands = text(&listed.stdout).split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<&str> = commands
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 16, "{commands:?}");
    for command in commands.into_iter().filter(|name| !["checkpoint", "restore"].contains(name)) {
        let helped = bare(&[command, "--help"]);
        assert!(helped.status.success() && !helped.stdout.is_empty(), "{command}");
        let refused = bare(&[command, "--no-such-flag"]);
        assert!(!refused.status.success(), "{command}");
        assert!(text(&refused.stderr).contains("--no-such-flag"), "{command}: {}", text(&refused.stderr));
    }
    for args in
        [&["no-such-command"][..], &["--no-such-flag", "list"], &[], &["state"], &["checkpoint", "--help"]]
    {
        let refused = bare(args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(!refused.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn plan_prints_a_stable_document_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    let bundle = Bundle::new().build().unwrap();
    let names = || {
        let names = fs::read_dir(bundle.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let before = names();
    let plan = |more: &[&str]| {
        let id = format!("conformance-plan-{}", std::process::id());
        let finished =
            bare(&[&["--root", path(&root), "plan", "--bundle", path(bundle.path())], more, &[&id]].concat());
        assert!(finished.status.success(), "{}", text(&finished.stderr));
        text(&finished.stdout).to_owned()
    };
    let document: Value = serde_json::from_str(&plan(&[])).unwrap();
    assert!(document.is_object());
    assert_eq!(plan(&[]), plan(&[]));
    let steps = plan(&["--steps"]);
    assert!(steps.lines().any(|line| line.ends_with("mounts[0]: proc on /proc")), "{steps}");
    assert!(!root.exists(), "plan made the state root");
    assert_eq!(names(), before);
}

#[test]
fn spec_writes_a_config_that_runs_and_overwrites_none() {
    let runtime = runtime();
    let mut bundle = Bundle::new().with_busybox().build().unwrap();
    fs::remove_file(bundle.config_path()).unwrap();
    runtime.call(["spec", "--bundle", path(bundle.path())]).unwrap().success().unwrap();
    let again = runtime.call(["spec", "--bundle", path(bundle.path())]).unwrap();
    assert_eq!(again.exit, Exit::Code(1));
    let mut config: Value = serde_json::from_str(&fs::read_to_string(bundle.config_path()).unwrap()).unwrap();
    // nothing is inherited that was not asked for.
    assert!(config["process"]["capabilities"].get("inheritable").is_none());
    assert_eq!(config["process"]["args"], json!(["sh"]));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/probe", "report"]);
    bundle.write(config).unwrap();
    let report = runtime.observe(&bundle).unwrap();
    assert_eq!((report.hostname.as_str(), report.pid), ("ketch", 1));
    assert_eq!(report.capabilities.inheritable.to_string(), "0000000000000000");
}

#[test]
fn all_that_is_wrong_with_a_config_stands_in_one_error() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .set("/ociVersion", json!("2.0.0"))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]))
        .set("/process/cwd", json!("relative"))
        .set("/linux/maskedPaths", json!(["relative"]))
        .build()
        .unwrap();
    let id = runtime.fresh_id();
    let finished = runtime.call(["create", "--bundle", path(bundle.path()), &id]).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    for pointer in ["/ociVersion", "/process/rlimits/0", "/process/cwd", "/linux/maskedPaths/0"] {
        assert!(finished.stderr.contains(pointer), "{pointer} is not in {}", finished.stderr);
    }
    assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_bundle_that_cannot_be_read_is_an_error_that_names_the_file() {
    let runtime = runtime();
    let finished = runtime.call(["create", "--bundle", "/nonexistent", "x"]).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("/nonexistent/config.json"), "{finished:?}");
    let bundle = Bundle::new().build().unwrap();
    fs::write(bundle.config_path(), "{").unwrap();
    let finished = runtime.call(["create", "--bundle", path(bundle.path()), "x"]).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("config.json"), "{finished:?}");
}

#[test]
fn list_shows_containers_as_a_table_as_json_and_as_ids() {
    let runtime = runtime();
    let empty = runtime.call(["list", "--quiet"]).unwrap().success().unwrap();
    assert_eq!(empty.stdout, "");
    let bundle = Bundle::new().set("/annotations", json!({"a": "b"})).build().unwrap();
    let container = runtime.create(&bundle).unwrap();
    let quiet = runtime.call(["list", "-q"]).unwrap().success().unwrap();
    assert_eq!(quiet.stdout, format!("{}\n", container.id()));
    let listed = runtime.call(["list", "--format", "json"]).unwrap().success().unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["status"]), (&json!(container.id()), &json!("created")));
    assert_eq!(listed[0]["annotations"], json!({"a": "b"}));
    let table = runtime.call(["list"]).unwrap().success().unwrap().stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(rows[1][..3], [container.id(), &container.pid().to_string(), "created"]);
}

#[test]
fn k59_k60_ps_shows_the_containers_processes_as_json_and_as_a_table() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "fork", "2"]).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
    let pids: Vec<i32> = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(pids.len(), 3);
    assert!(pids.contains(&container.pid()));
    let table = runtime.call(["ps", container.id()]).unwrap().success().unwrap().stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(&container.pid().to_string()));
    for form in ["json", "table"] {
        let missing = runtime.call(["ps", "--format", form, "nobody"]).unwrap();
        assert!(missing.stderr.contains("container nobody does not exist"), "{missing:?}");
        assert_eq!((missing.exit, missing.stdout.as_str()), (Exit::Code(1), ""));
    }
}

#[test]
fn the_default_root_is_found_with_an_empty_runtime_directory_as_podman_calls() {
    // Nothing but an empty XDG_RUNTIME_DIR, once for create and once for the others: the same place.
    let id = format!("conformance-default-{}", std::process::id());
    let bundle = Bundle::new().build().unwrap();
    let call = |args: &[&str], name: &str| {
        let mut command = Command::new(ketch());
        output(command.args(args).env_clear().env(name, ""))
    };
    let created = call(&["create", "--bundle", path(bundle.path()), &id], "IRRELEVANT");
    assert!(created.status.success(), "{}", text(&created.stderr));
    let state = call(&["state", &id], "XDG_RUNTIME_DIR");
    let deleted = call(&["delete", "--force", &id], "XDG_RUNTIME_DIR");
    assert!(state.status.success() && deleted.status.success());
    assert!(!Path::new("/run/ketch").join(&id).exists());
}
