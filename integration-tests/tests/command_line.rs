//! What the command line has beyond the daily calls of engines: logs of other kinds, errors for programs, several
//! containers at once, other config files, and the commands that are refused.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use integration_tests::{Stage, ketch, runtime, text_of as path};
use serde_json::{Value, json};
use spec_conformance::{Bundle, Container, Exit, Finished, Runtime};

/// Calls the runtime with a JSON log, and gives the one line of it.
fn logged(runtime: &Runtime, args: &[&str]) -> Value {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let global = ["--log", path(&log), "--log-format", "json"];
    let finished = runtime.call([&global, args].concat()).unwrap();
    assert_ne!(finished.exit, Exit::Code(0), "{args:?}");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn k03_a_finding_is_told_with_its_place_and_its_clause() {
    let runtime = runtime();
    let bundle = Bundle::new().set("/process/cwd", json!("relative")).build().unwrap();
    let id = runtime.fresh_id();
    let line = logged(&runtime, &["create", "--bundle", path(bundle.path()), &id]);
    assert_eq!(line["code"], "invalid");
    let finding = &line["findings"][0];
    assert_eq!((&finding["at"], &finding["spec"]), (&json!("/process/cwd"), &json!("config.md#process")));
    assert!(line["msg"].as_str().unwrap().contains(finding["says"].as_str().unwrap()), "{line}");
}

#[test]
fn k03_a_refusal_of_the_kernel_is_told_with_step_call_and_errno() {
    let runtime = runtime();
    let id = runtime.fresh_id();
    let mount =
        json!({"destination": "/data", "type": "bind", "source": "/nonexistent", "options": ["bind"]});
    let bundle = Bundle::new().push("/mounts", mount).build().unwrap();
    let mounts = bundle.config()["mounts"].as_array().unwrap().len();
    let line = logged(&runtime, &["create", "--bundle", path(bundle.path()), &id]);
    let told = [&line["code"], &line["step"], &line["errno"], &line["call"]];
    let expected = [json!("system"), json!({"mount": mounts - 1}), json!("ENOENT"), json!("open_tree")];
    assert_eq!(told, expected.each_ref(), "{line}");
}

#[test]
fn k03_a_program_that_is_missing_has_a_code_of_its_own_and_a_hint_where_there_is_one() {
    let runtime = runtime();
    let script = |bundle: &Bundle, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let place = bundle.rootfs().join("script");
        fs::write(&place, text).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let bundle = Bundle::new().args(["/script"]).build().unwrap();
    script(&bundle, "#!/no/such/interpreter\n");
    let id = runtime.fresh_id();
    let line = logged(&runtime, &["run", "--bundle", path(bundle.path()), &id]);
    let told = [&line["code"], &line["step"], &line["errno"]];
    assert_eq!(told, [&json!("program-missing"), &json!("exec"), &json!("ENOENT")], "{line}");
    assert!(line["hint"].as_str().unwrap().contains("/no/such/interpreter"), "{line}");
}

#[test]
fn k04_k05_a_level_that_is_named_is_the_least_that_is_logged() {
    let runtime = runtime();
    let bundle = Bundle::new().set("/process/capabilities/ambient", json!(["CAP_KILL"])).build().unwrap();
    let place = tempfile::tempdir().unwrap();
    let lines = |level: &[&str]| {
        let log = place.path().join("log");
        let id = runtime.fresh_id();
        let create = ["--log", path(&log), "--log-format", "json"];
        let create = [&create, level, &["create", "--bundle", path(bundle.path()), &id]].concat();
        runtime.call(create).unwrap().success().unwrap();
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        let levels = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].clone());
        levels.collect::<Vec<_>>()
    };
    assert_eq!(lines(&[]), Vec::<Value>::new());
    assert_eq!(lines(&["--log-level=error"]), Vec::<Value>::new());
    assert_eq!(lines(&["--log-level", "warning"]), ["warning"]);
    assert!(lines(&["--log-level", "debug"]).contains(&json!("debug")));
    // The same by another name.
    assert!(lines(&["--debug"]).contains(&json!("debug")));
}

#[test]
fn k05_an_unknown_level_is_refused() {
    let refused = runtime().call(["--log-level", "loud", "list"]).unwrap();
    assert!(refused.exit == Exit::Code(1) && refused.stderr.contains("loud"), "{refused:?}");
}

#[test]
fn k08_without_roots_rights_state_is_in_the_users_directory() {
    let place = tempfile::tempdir().unwrap();
    let bundle = Bundle::new().build().unwrap();
    let id = format!("conformance-rootless-{}", std::process::id());
    let call = |rootless: &[&str], args: &[&str]| {
        let mut command = Command::new(ketch());
        command.args(rootless).args(args).env("XDG_RUNTIME_DIR", place.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success()
    };
    let here = place.path().join("ketch").join(&id);
    for form in
        [&["--rootless=true"][..], &["--rootless", "true"], &["--rootless", "false", "--rootless=true"]]
    {
        assert!(call(form, &["create", "--bundle", path(bundle.path()), &id]), "{form:?}");
        assert!(here.is_dir(), "{form:?}");
        // Root's state is elsewhere.
        assert!(!call(&["--rootless=false"], &["state", &id]), "{form:?}");
        assert!(!call(&[], &["state", &id]), "{form:?}");
        assert!(call(form, &["delete", "--force", &id]), "{form:?}");
        assert!(!here.exists(), "{form:?}");
    }
}

#[test]
fn k09_a_path_of_criu_is_taken_and_means_nothing() {
    let runtime = runtime();
    runtime.call(["--criu", "/nonexistent/criu", "list"]).unwrap().success().unwrap();
    let help = runtime.call(["--help"]).unwrap().success().unwrap();
    assert!(!help.stdout.contains("criu"), "{help:?}");
}

#[test]
fn k26_a_container_has_a_session_keyring_of_its_own_or_the_callers() {
    const CURRENT_SESSION: &str = "-3";
    let runtime = runtime();
    let number = nix::libc::SYS_keyctl;
    let script = format!("probe call {number} 0 {CURRENT_SESSION} 0; grep _ses /proc/keys");
    let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", &script]);
    // Where keys are listed is hidden otherwise.
    let bundle = bundle.set("/linux/maskedPaths", json!([])).build().unwrap();
    let seen = |flags: &[&str]| {
        let id = runtime.fresh_id();
        // A keyring of the caller's, which the runtime is in.
        let mut command = Command::new(runtime.program());
        command
            .arg("--root")
            .arg(runtime.root())
            .args([&["run", "--bundle", path(bundle.path())], flags, &[&id]].concat());
        let call = runtime.finish(command).unwrap();
        (call.stdout, format!("_ses.{id}"))
    };
    let own = |flags: &[&str]| {
        let (seen, name) = seen(flags);
        (seen.contains(&name), seen.lines().next().unwrap().to_owned())
    };
    let (first, second) = (own(&[]), own(&[]));
    assert!(first.0 && second.0 && first.1 != second.1, "{first:?} {second:?}");
    let (first, second) = (own(&["--no-new-keyring"]), own(&["--no-new-keyring"]));
    assert!(!first.0 && first == second, "{first:?} {second:?}");
}

/// A mount namespace with a socket of datagrams at `socket`, and what a failing call there with `--log` sends to it.
fn sent(setup: &str, socket: &str, log: &str) -> Vec<u8> {
    let stage = Stage::new(setup);
    let listener = UnixDatagram::bind(stage.place().join("socket")).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stage.shell(&format!("mkdir -p $(dirname {socket}); : >{socket}; mount --bind $PLACE/socket {socket}"));
    let finished = stage.runtime().call(["--log", log, "state", "nobody"]).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("does not exist"), "{finished:?}");
    let mut message = vec![0; 4096];
    let length = listener.recv(&mut message).unwrap();
    message.truncate(length);
    message
}

#[test]
fn k02_the_journal_gets_a_message_with_its_fields() {
    let message = sent("mount -t tmpfs none /run", "/run/systemd/journal/socket", "journald:box");
    let expected =
        "MESSAGE=container nobody does not exist\nPRIORITY=3\nSYSLOG_IDENTIFIER=box\nKETCH_CODE=missing\n";
    assert_eq!(String::from_utf8(message).unwrap(), expected);
}

#[test]
fn k02_the_system_log_gets_a_message_with_its_priority() {
    let message = sent("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3", "/dev/log", "syslog:box");
    let message = String::from_utf8(message).unwrap();
    // LOG_USER | LOG_ERR
    assert!(message.starts_with("<11>box["), "{message}");
    assert!(message.ends_with("]: container nobody does not exist"), "{message}");
}

#[test]
fn k02_that_nobody_listens_is_no_failure() {
    let stage =
        Stage::new("mount -t tmpfs none /run; mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3");
    for log in ["journald:box", "syslog:box"] {
        stage.runtime().call(["--log", log, "list"]).unwrap().success().unwrap();
    }
}

#[test]
fn k29_another_file_takes_the_place_of_config_json() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "exit", "7"]).build().unwrap();
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("other.json");
    fs::rename(bundle.config_path(), &config).unwrap();
    for flag in ["--config", "-f"] {
        let id = runtime.fresh_id();
        let run = ["run", flag, path(&config), "--bundle", path(bundle.path()), &id];
        assert_eq!(runtime.call(run).unwrap().exit, Exit::Code(7), "{flag}");
    }
    let id = runtime.fresh_id();
    let create =
        ["create", "--no-subreaper", "--bundle", path(bundle.path()), "--config", "/nonexistent", &id];
    let refused = runtime.call(create).unwrap();
    assert!(refused.exit == Exit::Code(1) && refused.stderr.contains("/nonexistent"), "{refused:?}");
}

/// Containers whose programs run.
fn running(runtime: &Runtime, number: usize) -> Vec<Container<'_>> {
    let bundle = Bundle::new().args(["/bin/probe", "trap", "TERM"]).build().unwrap();
    let run = |_| {
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        container
    };
    (0..number).map(run).collect()
}

fn listed(runtime: &Runtime) -> BTreeSet<String> {
    let listed = runtime.call(["list", "-q"]).unwrap().success().unwrap().stdout;
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn k39_k42_a_pattern_stands_for_all_containers_whose_ids_match() {
    let runtime = runtime();
    let containers = running(&runtime, 3);
    let [one, two, three] = [0, 1, 2].map(|i: usize| containers[i].id().to_owned());
    let pattern = format!("^({one}|{two}|nobody)$");
    runtime.call(["kill", "--regex", &pattern, "0"]).unwrap().success().unwrap();
    runtime.call(["delete", "--force", "--regex", &pattern]).unwrap().success().unwrap();
    assert_eq!(listed(&runtime), BTreeSet::from([three.clone()]));
    // Nobody matches, and that is fine.
    runtime.call(["kill", "-r", "^nobody"]).unwrap().success().unwrap();
    // Without the flag it is an id, and no id has such letters.
    assert_eq!(runtime.call(["kill", &format!("^{three}$")]).unwrap().exit, Exit::Code(1));
    for command in ["kill", "delete"] {
        let refused = runtime.call([command, "-r", "("]).unwrap();
        assert!(refused.exit == Exit::Code(1) && refused.stderr.contains("regex(7)"), "{refused:?}");
    }
    runtime.call(["delete", "-f", "-r", "."]).unwrap().success().unwrap();
    assert_eq!(listed(&runtime), BTreeSet::new());
}

#[test]
fn k42_what_cannot_be_deleted_keeps_no_other_from_it() {
    let runtime = runtime();
    let bundle = Bundle::new().build().unwrap();
    let created = [runtime.create(&bundle).unwrap(), runtime.create(&bundle).unwrap()];
    let running = running(&runtime, 1);
    let id = running[0].id();
    assert_eq!(listed(&runtime).len(), created.len() + 1);
    let partly = runtime.call(["delete", "--regex", "."]).unwrap();
    assert!(partly.exit == Exit::Code(1) && partly.stderr.contains(id), "{partly:?}");
    assert_eq!(listed(&runtime), BTreeSet::from([id.to_owned()]));
}

fn refused_by_name(finished: &Finished, command: &str) {
    assert_eq!(finished.exit, Exit::Code(1), "{finished:?}");
    assert_eq!(finished.stderr, format!("ketch: {command} is not supported by this runtime\n"));
    assert_eq!(finished.stdout, "");
}

#[test]
fn k72_to_k82_checkpoint_and_restore_are_understood_and_refused() {
    let runtime = runtime();
    // As containerd, podman, CRI-O and conmon spell them, and then whatever runc and crun have.
    let checkpoints: [&[&str]; 8] = [
        &["--image-path", "/i", "--work-path", "/w", "--leave-running", "--file-locks", "box"],
        &[
            "--image-path",
            "/i",
            "--work-path",
            "/w",
            "--parent-path",
            "/p",
            "--tcp-established",
            "--ext-unix-sk",
            "box",
        ],
        &["--shell-job", "--empty-ns", "network", "--empty-ns", "mount", "--image-path=/i", "box"],
        &["--leave-running", "--leave-running", "--pre-dump", "box"],
        &["--tcp-skip-in-flight", "--link-remap", "--lazy-pages", "--status-fd", "3", "box"],
        &[
            "--page-server",
            "127.0.0.1:1",
            "--auto-dedup",
            "--manage-cgroups-mode",
            "soft",
            "--network-lock",
            "box",
        ],
        &["--help"],
        &["-h"],
    ];
    for args in checkpoints {
        refused_by_name(&runtime.call([&["checkpoint"], args].concat()).unwrap(), "checkpoint");
    }
    let restores: [&[&str]; 4] = [
        &[
            "--image-path",
            "/i",
            "--work-path",
            "/w",
            "--detach",
            "--pid-file",
            "/f",
            "--console-socket",
            "/s",
            "--no-pivot",
            "-no-subreaper",
            "--bundle",
            "/b",
            "box",
        ],
        &["-d", "-b", "/b", "--no-new-keyring", "--tcp-established", "--tcp-close", "--file-locks", "box"],
        &["--lsm-profile", "selinux:x", "--lsm-mount-context", "y", "--ext-unix-sk", "--shell-job", "box"],
        &["--help"],
    ];
    for args in restores {
        refused_by_name(&runtime.call([&["restore"], args].concat()).unwrap(), "restore");
    }
    // podman asks like this whether there is such a flag.
    let asked = runtime.call(["restore", "--lsm-mount-context"]).unwrap();
    assert!(asked.stderr.contains("flag needs an argument"), "{asked:?}");
    for wrong in
        [&["checkpoint", "--no-such-flag", "box"][..], &["checkpoint"], &["restore", "--pre-dump", "box"]]
    {
        let refused = runtime.call(wrong.to_vec()).unwrap();
        assert!(refused.exit == Exit::Code(1) && !refused.stderr.contains("not supported"), "{refused:?}");
    }
}

#[test]
fn k48_a_terminal_is_asked_for_with_and_without_a_value() {
    let runtime = runtime();
    // Refused for the container, which is not there, and not for the flag.
    for tty in ["-t", "--tty", "--tty=true", "--tty=false"] {
        let refused = runtime.call(["exec", tty, "nobody", "true"]).unwrap();
        assert!(refused.stderr.contains("container nobody does not exist"), "{tty}: {refused:?}");
    }
}

#[test]
fn k83_spec_writes_the_file_that_is_named() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    runtime.call(["spec", "-b", path(place.path()), "-f", "other.json"]).unwrap().success().unwrap();
    let written: Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("other.json")).unwrap()).unwrap();
    assert!(written["process"].is_object());
    assert!(!place.path().join("config.json").exists());
}
