//! Which devices a container may use, on each layout of cgroups: what runc lets through, and nothing else. Where runc is
//! installed the same bundles are run by it, and have to tell the same.
//! Spec: config-linux.md#allowed-device-list.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use integration_tests::{LEGACY, Stage, UNIFIED, VERSION_2_ALONE, Wrapped, nothing_left, text_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spec_conformance::Bundle;

/// Devices that the script tries: none whose driver refuses who lacks a capability. The block devices are of drivers
/// that nobody has, and nothing is written anywhere.
const TRIED: &[(&str, u32, u32)] = &[
    ("c", 1, 2),
    ("c", 1, 3),
    ("c", 1, 5),
    ("c", 1, 7),
    ("c", 1, 8),
    ("c", 1, 9),
    ("c", 4, 0),
    ("c", 5, 0),
    ("c", 5, 1),
    ("c", 5, 2),
    ("c", 10, 200),
    ("c", 10, 229),
    ("c", 10, 254),
    ("c", 136, 77),
    ("c", 200, 1),
    ("b", 1, 3),
    ("b", 200, 1),
    ("b", 200, 2),
];

/// A line for each device: what of making, reading and writing it is let through. What fails for want of a driver is.
fn script() -> String {
    let tries: String =
        TRIED.iter().map(|(kind, major, minor)| format!("try {kind} {major} {minor}\n")).collect();
    format!(
        "denied() {{ case $1 in *'not permitted'*) return 0 ;; *) return 1 ;; esac; }}
         try() {{
             node=/dev/tried-$1-$2-$3; can=
             error=$(mknod $node $1 $2 $3 2>&1); denied \"$error\" || can=m
             error=$( (exec 3<$node) 2>&1 ); denied \"$error\" || can=r$can
             error=$( (exec 3>>$node) 2>&1 ); denied \"$error\" || can=w$can
             echo $1 $2:$3 $can
         }}
         {tries}"
    )
}

fn bundle(rules: Option<&Value>) -> Bundle {
    let capability = |set: &str| format!("/process/capabilities/{set}");
    let mut builder = Bundle::new().with_busybox().args(["/bin/sh", "-c", &script()]);
    for set in ["bounding", "permitted", "effective"] {
        builder = builder.push(&capability(set), json!("CAP_MKNOD"));
    }
    builder = match rules {
        Some(rules) => builder.set("/linux/resources", json!({ "devices": rules })),
        None => builder.remove("/linux/resources"),
    };
    builder.build().unwrap()
}

fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> Value {
    json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access})
}

/// What every container may do beside mknod(2) of everything: the devices that it has, its terminals, and tun.
const DEFAULT: &[(u32, u32)] =
    &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200), (136, 77)];

/// The lines that the script is to print, with `more` that these rules let through.
fn expected(more: &[(&str, u32, u32, &str)]) -> String {
    let line = |&(kind, major, minor): &(&str, u32, u32)| {
        let default = kind == "c" && DEFAULT.contains(&(major, minor));
        let added = more.iter().find(|m| (m.0, m.1, m.2) == (kind, major, minor)).map_or("m", |m| m.3);
        format!("{kind} {major}:{minor} {}\n", if default { "wrm" } else { added })
    };
    TRIED.iter().map(line).collect()
}

/// The layouts that this host can be seen with.
fn layouts() -> Vec<(&'static str, Stage)> {
    let legacy = Path::new("/sys/fs/cgroup/devices/cgroup.procs").exists();
    let all = [("as it is", ":"), ("version 2", UNIFIED)].into_iter();
    let all = all.chain(legacy.then_some(("version 1", LEGACY)));
    all.map(|(name, setup)| (name, Stage::new(setup))).collect()
}

/// What the bundle says when runc runs it, if it is installed.
fn said_by_runc(stage: &Stage, bundle: &Bundle) -> Option<String> {
    Command::new("runc").arg("--version").output().ok()?;
    let id = format!("ketch-compared-{}", std::process::id());
    Some(stage.shell(&format!("runc --root $PLACE/runc run --bundle {} {id}", text_of(bundle.path()))))
}

#[test]
fn c01_c02_d07_what_is_let_through_is_what_runc_lets_through_on_every_layout() {
    let deny_all = || json!({"allow": false, "access": "rwm"});
    let every = TRIED.iter().map(|&(kind, major, minor)| (kind, major, minor, "wrm")).collect::<Vec<_>>();
    let lists = [
        (None, Vec::new()),
        (Some(json!([deny_all()])), Vec::new()),
        // What is denied of the default devices is allowed again.
        (
            Some(json!([deny_all(), rule(false, "c", 1, 3, "rwm"), rule(false, "c", 136, -1, "rwm")])),
            Vec::new(),
        ),
        (Some(json!([deny_all(), rule(true, "c", 10, 229, "r")])), vec![("c", 10, 229, "rm")]),
        (
            Some(json!([deny_all(), rule(true, "b", 200, -1, "w"), rule(true, "c", 200, 1, "rwm")])),
            vec![("b", 200, 1, "wm"), ("b", 200, 2, "wm"), ("c", 200, 1, "wrm")],
        ),
        (Some(json!([deny_all(), {"allow": true, "access": "rwm"}])), every),
    ];
    for (layout, stage) in layouts() {
        for (rules, more) in &lists {
            let bundle = bundle(rules.as_ref());
            let said = stage.runtime().run(&bundle).unwrap().success().unwrap().stdout;
            assert_eq!(said, expected(more), "{layout}: {rules:?}");
            if let Some(by_runc) = said_by_runc(&stage, &bundle) {
                assert_eq!(said, by_runc, "{layout}: {rules:?}: runc differs");
            }
        }
    }
}

#[test]
fn c02_a_runtime_that_is_stopped_again_and_again_makes_its_container() {
    // Any signal keeps the kernel from checking the program for devices: it has to be loaded again then.
    let alone = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    let runtime = alone.runtime();
    let bundle = Bundle::new().args(["/bin/probe", "wait"]).build().unwrap();
    for _ in 0..40 {
        let id = runtime.fresh_id();
        let mut command = runtime.command(["create", "--bundle", text_of(bundle.path()), &id]);
        // A pipe would be the container's too, and never end.
        let says = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(says.reopen().unwrap());
        let mut create = command.spawn().unwrap();
        let pid = Pid::from_raw(create.id().cast_signed());
        let ended = loop {
            // It has not been reaped, so the number is its own.
            kill(pid, Signal::SIGSTOP).unwrap();
            kill(pid, Signal::SIGCONT).unwrap();
            // It gets somewhere in between: some tenths of a millisecond.
            for _ in 0..30 {
                drop(std::fs::read(format!("/proc/{pid}/stat")));
            }
            if let Some(ended) = create.try_wait().unwrap() {
                break ended;
            }
        };
        assert!(ended.success(), "{}", std::fs::read_to_string(says.path()).unwrap());
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        nothing_left(runtime, &id);
    }
}
