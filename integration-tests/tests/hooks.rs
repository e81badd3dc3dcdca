//! Hooks run where, when and with what the specification says. Spec: config.md#posix-platform-hooks.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use integration_tests::{nothing_left, refused, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit, Runtime};
use tempfile::TempDir;

/// In the order in which they run.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// Those of the runtime's namespaces.
const OUTSIDE: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

/// A directory that every hook can write to, and the program.
struct Trace {
    place: TempDir,
}

impl Trace {
    fn new() -> Trace {
        Trace { place: tempfile::tempdir().unwrap() }
    }

    /// Where a hook of this kind finds the directory.
    fn seen_by(&self, kind: &str) -> String {
        let inside = kind == "startContainer";
        if inside { "/trace".to_owned() } else { self.place.path().to_str().unwrap().to_owned() }
    }

    /// A bundle whose hooks of every kind run a script, in which `$D` is the directory and `$K` the kind.
    fn bundle(&self, script: &str) -> BundleBuilder {
        let hook = |kind: &str| {
            let script = format!("D={} K={kind}; {script}", self.seen_by(kind));
            json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "GIVEN=1"]}])
        };
        let hooks: BTreeMap<&str, Value> = KINDS.iter().map(|kind| (*kind, hook(kind))).collect();
        Bundle::new()
            .with_busybox()
            .args(["/bin/sh", "-c", "echo program >> /trace/order"])
            .push(
                "/mounts",
                json!({"destination": "/trace", "source": self.place.path(), "options": ["bind"]}),
            )
            .set("/hooks", json!(hooks))
    }

    /// What was written into a file of the directory.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.place.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
}

/// Lives a whole life; gives the pid that the container had, and its id.
fn live(runtime: &Runtime, bundle: &Bundle) -> (i32, String) {
    let mut container = runtime.create(bundle).unwrap();
    let seen = (container.pid(), container.id().to_owned());
    start(&mut container);
    container.delete().unwrap().success().unwrap();
    nothing_left(runtime, &seen.1);
    seen
}

fn start(container: &mut Container<'_>) {
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0), "{}", container.stderr().unwrap());
}

#[test]
fn h01_to_h06_r52_hooks_run_in_the_specified_order_with_the_specified_states() {
    let runtime = runtime();
    let trace = Trace::new();
    let status = r#"echo $K $(sed 's/.*"status":"\([a-z]*\)".*/\1/') >> $D/order"#;
    let mut bundle = trace.bundle(status);
    // The listed order is that of running: a second one of each kind.
    for kind in KINDS {
        let script = format!("echo {kind} again >> {}/order", trace.seen_by(kind));
        bundle = bundle.push(
            &format!("/hooks/{kind}"),
            json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}),
        );
    }
    live(&runtime, &bundle.build().unwrap());
    let text = trace.read("order");
    let mut lines: Vec<&str> = text.lines().collect();
    // The program and poststart run side by side: poststart is after the program's execution began.
    let program = lines.iter().position(|line| *line == "program").unwrap();
    assert!((8..=10).contains(&program), "{lines:?}");
    lines.remove(program);
    let states = ["creating", "creating", "creating", "created", "running", "stopped"];
    let expected: Vec<String> = KINDS
        .iter()
        .zip(states)
        .flat_map(|(kind, state)| [format!("{kind} {state}"), format!("{kind} again")])
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn h01_h02_h03_h04_hooks_run_in_their_namespaces_before_or_after_the_change_of_the_root() {
    let runtime = runtime();
    let trace = Trace::new();
    let script = r#"pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/')
        for link in ns/mnt ns/uts cwd; do readlink /proc/self/$link; done > $D/$K.place
        case $K in prestart|createRuntime) cp /proc/$pid/mountinfo $D/$K.mounts;;
                   createContainer|startContainer) cat /proc/self/mountinfo > $D/$K.mounts; cat /proc/sys/kernel/hostname > $D/$K.host;;
        esac"#;
    let bundle = trace.bundle(script).build().unwrap();
    live(&runtime, &bundle);
    let own =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned();
    for kind in KINDS {
        let text = trace.read(&format!("{kind}.place"));
        let [mnt, uts, cwd] = text.lines().collect::<Vec<_>>()[..] else { panic!("{kind}: {text}") };
        let outside = OUTSIDE.contains(&kind);
        assert_eq!((mnt == own("mnt"), uts == own("uts")), (outside, outside), "{kind}");
        let expected = match kind {
            "createContainer" => bundle.rootfs(),
            "startContainer" => "/".into(),
            _ => bundle.path().to_owned(),
        };
        assert_eq!(PathBuf::from(cwd), expected, "{kind}");
    }
    // The mounts are made, and seen below the old root.
    let below = format!(" {}/dev/shm ", bundle.rootfs().display());
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert!(trace.read(&format!("{kind}.mounts")).contains(&below), "{kind}");
    }
    assert!(trace.read("startContainer.mounts").contains(" /dev/shm "));
    assert_eq!(trace.read("startContainer.host"), "conformance\n");
}

#[test]
fn h03_h04_paths_of_hooks_are_looked_up_where_the_specification_says() {
    // The probe is in the image only; the test's own file on the host only.
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("true");
    fs::copy("/bin/true", &outside).unwrap();
    let inside = json!([{"path": "/bin/probe", "args": ["probe", "exit", "0"]}]);
    let outside = json!([{"path": outside}]);
    assert!(!fs::exists("/bin/probe").unwrap());
    let created = |kind: &str, hook: &Value| {
        let bundle = Bundle::new()
            .args(["/bin/probe", "wait"])
            .set(&format!("/hooks/{kind}"), hook.clone())
            .build()
            .unwrap();
        let container = runtime.create(&bundle);
        // The image must outlive the start.
        container.map(|container| (container.start().unwrap(), bundle))
    };
    assert_eq!(created("createContainer", &outside).unwrap().0.exit, Exit::Code(0));
    assert_eq!(created("startContainer", &inside).unwrap().0.exit, Exit::Code(0));
    let refusal = created("createContainer", &inside).unwrap_err().to_string();
    assert!(refusal.contains("createContainer hook 0 (/bin/probe)"), "{refusal}");
    let (started, _) = created("startContainer", &outside).unwrap();
    refused(&started, "startContainer hook 0");
    refused(&started, "exited with status 127; it printed: execve: No such file or directory");
}

#[test]
fn h05_poststart_runs_when_the_program_has_been_executed() {
    let runtime = runtime();
    let trace = Trace::new();
    let script = r#"[ $K = poststart ] || exit 0; pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/')
        readlink /proc/$pid/exe > $D/exe; tr '\0' ' ' < /proc/$pid/cmdline > $D/cmdline"#;
    let bundle = trace.bundle(script).args(["/bin/probe", "wait"]).build().unwrap();
    let container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(
        (trace.read("exe").as_str(), trace.read("cmdline").as_str()),
        ("/bin/probe\n", "/bin/probe wait ")
    );
}

#[test]
fn h06_poststop_runs_when_everything_is_gone() {
    let runtime = runtime();
    let trace = Trace::new();
    let script = format!(
        r#"case $K in poststart|poststop) id=$(sed 's/.*"id":"\([^"]*\)".*/\1/')
        find {} /sys/fs/cgroup -name $id > $D/$K.left;; esac"#,
        runtime.root().display()
    );
    let (_, id) = live(&runtime, &trace.bundle(&script).build().unwrap());
    let before = trace.read("poststart.left");
    assert!(before.contains("/sys/fs/cgroup/") && before.contains(&format!("/root/{id}\n")), "{before}");
    assert_eq!(trace.read("poststop.left"), "");
}

#[test]
fn h07_h08_h09_t08_every_hook_reads_the_whole_state_with_its_own_view_of_the_pid() {
    let runtime = runtime();
    let shared =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"}]);
    for own_pids in [true, false] {
        let trace = Trace::new();
        // Read to its end by a reader that wants a whole line, as jq and python do.
        let bundle = trace
            .bundle("cat > $D/$K.json")
            .set("/ociVersion", json!("1.1.0"))
            .set("/annotations", json!({"org.example.empty": "", "org.example.text": "a \"b\" \\ ä\n"}));
        let bundle = if own_pids { bundle } else { bundle.set("/linux/namespaces", shared.clone()) };
        let bundle = bundle.build().unwrap();
        let (pid, id) = live(&runtime, &bundle);
        let states = ["creating", "creating", "creating", "created", "running", "stopped"];
        for (kind, status) in KINDS.iter().zip(states) {
            let state: Value = serde_json::from_str(&trace.read(&format!("{kind}.json"))).unwrap();
            let seen = match *kind {
                "createContainer" | "startContainer" if own_pids => 1,
                "poststop" => 0,
                _ => pid,
            };
            for (name, expected) in [
                ("status", json!(status)),
                ("pid", json!(seen)),
                ("ociVersion", json!("1.1.0")),
                ("id", json!(id)),
                ("bundle", json!(bundle.path())),
                ("annotations", bundle.config()["annotations"].clone()),
            ] {
                assert_eq!(state[name], expected, "{kind} {name}, own pids {own_pids}");
            }
        }
    }
}

#[test]
fn h10_h11_a_hook_has_the_environment_that_it_is_given_or_none() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    for given in [true, false] {
        let hook = |kind: &str| {
            // No shell, which would have variables of its own.
            let mut hook = json!({"path": "/bin/cat", "args": ["cat", "/proc/self/environ"]});
            if given {
                hook["env"] = json!([format!("GIVEN={kind}"), "PATH=/somewhere"]);
            }
            json!([hook])
        };
        let hooks: BTreeMap<&str, Value> = KINDS.iter().map(|kind| (*kind, hook(kind))).collect();
        let bundle = Bundle::new()
            .with_busybox()
            .set("/process/env", json!(["PROGRAM=1", "PATH=/bin"]))
            .set("/annotations", json!({"run.oci.hooks.stdout": out}))
            .set("/hooks", json!(hooks));
        live(&runtime, &bundle.build().unwrap());
        let seen = fs::read_to_string(&out).unwrap();
        let expected = KINDS.map(|kind| format!("GIVEN={kind}\0PATH=/somewhere\0")).concat();
        assert_eq!(seen, if given { expected } else { String::new() });
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn h18_a_hook_that_does_not_read_its_state_is_no_failure() {
    let runtime = runtime();
    let trace = Trace::new();
    // More than any pipe or socket would hold.
    let long = "x".repeat(1 << 20);
    let bundle = trace.bundle("exec 0<&-; echo $K >> $D/closed").set("/annotations", json!({"long": long}));
    live(&runtime, &bundle.build().unwrap());
    assert_eq!(trace.read("closed").lines().collect::<Vec<_>>(), KINDS);
}

#[test]
fn a08_h17_what_hooks_print_goes_to_the_files_that_annotations_name() {
    let runtime = runtime();
    let trace = Trace::new();
    let (out, err) = (trace.path("out"), trace.path("err"));
    fs::write(&out, "before\n").unwrap();
    let bundle = trace
        .bundle("echo $K; echo $K wrong >&2")
        .set("/annotations", json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}))
        .build()
        .unwrap();
    live(&runtime, &bundle);
    assert_eq!(trace.read("out"), format!("before\n{}\n", KINDS.join("\n")));
    assert_eq!(trace.read("err"), KINDS.map(|kind| format!("{kind} wrong\n")).concat());
}

#[test]
fn a08_h17_a_file_for_what_hooks_print_that_cannot_be_opened_is_an_error_before_anything_is_made() {
    let runtime = runtime();
    let annotations = json!({"run.oci.hooks.stderr": "/nonexistent/err"});
    let bundle = Trace::new().bundle("true").set("/annotations", annotations).build().unwrap();
    let id = runtime.fresh_id();
    let refusal = runtime.create_as(&id, &bundle).unwrap_err().to_string();
    assert!(refusal.contains("open the files for what hooks print: open: no such file"), "{refusal}");
    nothing_left(&runtime, &id);
}
