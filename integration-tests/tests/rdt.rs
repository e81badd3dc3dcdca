//! Resctrl groups: found or made as the config says, joined by every process, and nothing removed but what was
//! made. Rows I-01 to I-07, E-26 to E-29. The groups are in a plain directory, since few machines have the hardware.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use integration_tests::{Resctrl, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit, Runtime};

fn waiting(rdt: Value) -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "wait"]).set("/linux/intelRdt", rdt)
}

/// A container with this, and its bundle, which goes when it is dropped.
fn running(runtime: &Runtime, rdt: Value) -> (Container<'_>, Bundle) {
    let bundle = waiting(rdt).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    (container, bundle)
}

/// Why a container with this is not made; nothing is left of it.
fn refused(runtime: &Runtime, rdt: Value) -> String {
    let call = runtime.run(&waiting(rdt).build().unwrap()).unwrap();
    assert_eq!(call.exit, Exit::Code(1), "{call:?}");
    call.stderr
}

#[test]
fn i01_i02_i03_i06_a_group_of_its_own_is_made_filled_and_removed() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let before = resctrl.groups();
    let (mut container, _bundle) = running(
        &runtime,
        json!({"schemata": ["L3:0=ff", "MB:1=70"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f;1=1f"}),
    );
    let id = container.id().to_owned();
    assert_eq!(resctrl.lines(&format!("{id}/schemata")), ["L3:0=f;1=1f", "MB:0=20", "L3:0=ff", "MB:1=70"]);
    assert_eq!(resctrl.lines(&format!("{id}/tasks")), [container.pid().to_string()]);
    assert_eq!(resctrl.lines("tasks"), [""; 0]);
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    assert_eq!(resctrl.groups(), before);
}

#[test]
fn i01_without_schemata_none_are_written() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let (container, _bundle) = running(&runtime, json!({}));
    assert_eq!(resctrl.lines(&format!("{}/schemata", container.id())), [""; 0]);
    assert_eq!(resctrl.lines(&format!("{}/tasks", container.id())).len(), 1);
}

#[test]
fn i01_i06_a_named_group_is_made_shared_and_kept() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let gold = || json!({"closID": "gold", "l3CacheSchema": "L3:0=7f0;1=1f", "memBwSchema": "MB:0=20"});
    let (first, _first) = running(&runtime, gold());
    let (second, _second) = running(&runtime, gold());
    assert_eq!(resctrl.lines("gold/tasks"), [first.pid().to_string(), second.pid().to_string()]);
    // The second found it as it wants it, and wrote nothing.
    assert_eq!(resctrl.lines("gold/schemata"), ["L3:0=7f0;1=1f", "MB:0=20"]);
    for mut container in [first, second] {
        container.kill("KILL").unwrap().success().unwrap();
        container.wait().unwrap();
        container.delete().unwrap().success().unwrap();
        assert!(resctrl.groups().contains("gold"));
    }
}

#[test]
fn e27_i04_a_group_that_is_there_must_be_as_configured_in_any_spelling() {
    const CURRENT: &str = "    L3:0=0007f0;1=1f\n    MB:0= 20;1=100\n";
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    resctrl.group("gold", CURRENT);
    let before = resctrl.groups();
    let same = json!({"closID": "gold", "schemata": ["MB:1=100;0=15", "L3: 1=01F;0=7f0"]});
    drop(running(&runtime, same));
    for (rdt, says) in [
        (
            json!({"schemata": ["L3:0=7f1"]}),
            "exists, and has L3:0=0007f0, and 7f1 is wanted; use another closID",
        ),
        (json!({"memBwSchema": "MB:1=90"}), "exists, and has MB:1=100, and 90 is wanted"),
        (json!({"l3CacheSchema": "L3:2=f"}), "exists, and has no L3:2, and f is wanted"),
    ] {
        let mut rdt = rdt;
        rdt["closID"] = json!("gold");
        let why = refused(&runtime, rdt);
        let group = resctrl.path("gold");
        assert!(why.contains(&format!("resctrl group {}: {says}", group.display())), "{why}");
    }
    assert_eq!(resctrl.lines("gold/schemata").join("\n") + "\n", CURRENT);
    assert_eq!(resctrl.lines("gold/tasks").len(), 1);
    assert_eq!(resctrl.groups(), before);
}

#[test]
fn e28_i04_a_name_alone_is_of_a_group_that_is_there() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let before = resctrl.groups();
    let why = refused(&runtime, json!({"closID": "gold"}));
    assert!(why.contains("hint: a closID without schemata names a group that is there"), "{why}");
    assert_eq!(resctrl.groups(), before);
    resctrl.group("gold", "L3:0=1\n");
    let (mut container, _bundle) = running(&runtime, json!({"closID": "gold"}));
    assert_eq!(resctrl.lines("gold/tasks"), [container.pid().to_string()]);
    assert_eq!(resctrl.lines("gold/schemata"), ["L3:0=1"]);
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    assert!(resctrl.groups().contains("gold"));
}

#[test]
fn i01_i05_the_default_group_is_joined_compared_and_never_written_or_removed() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let (groups, schemata) = (resctrl.groups(), resctrl.lines("schemata"));
    let (mut container, _bundle) =
        running(&runtime, json!({"closID": "/", "enableMonitoring": true, "schemata": ["MB:0=100"]}));
    let monitor = format!("mon_groups/{}", container.id());
    assert_eq!(resctrl.lines("tasks"), [container.pid().to_string()]);
    assert_eq!(resctrl.lines(&format!("{monitor}/tasks")), [container.pid().to_string()]);
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    assert_eq!(resctrl.groups(), groups);
    let why = refused(&runtime, json!({"closID": "/", "schemata": ["MB:0=50"]}));
    assert!(why.contains("has MB:0=100, and 50 is wanted"), "{why}");
    assert_eq!((resctrl.groups(), resctrl.lines("schemata")), (groups, schemata));
}

#[test]
fn i05_i06_a_monitoring_group_goes_with_the_container_and_must_be_its_own() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    resctrl.group("gold", "");
    let before = resctrl.groups();
    let (mut container, _bundle) = running(&runtime, json!({"closID": "gold", "enableMonitoring": true}));
    assert!(resctrl.groups().contains(&format!("gold/mon_groups/{}", container.id())));
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    assert_eq!(resctrl.groups(), before);
    // The kernel tells why in words; here the hardware has no more.
    resctrl.write("info/last_cmd_status", "Out of RMIDs\n");
    std::fs::remove_dir(resctrl.path("gold/mon_groups")).unwrap();
    let why = refused(&runtime, json!({"closID": "gold", "enableMonitoring": true}));
    assert!(
        why.contains("resctrl monitoring group") && why.contains("the kernel says: Out of RMIDs"),
        "{why}"
    );
}

#[test]
fn i01_i05_a_program_of_exec_joins_too() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let (container, _bundle) = running(&runtime, json!({"enableMonitoring": true}));
    let id = container.id();
    let pid_file = resctrl.path("exec.pid");
    let mut command = runtime.command(["exec", "--pid-file"]);
    command.arg(&pid_file).args([id, "/bin/probe", "exit", "0"]);
    runtime.finish(command).unwrap().success().unwrap();
    let pids = [container.pid().to_string(), std::fs::read_to_string(pid_file).unwrap()];
    assert_eq!(resctrl.lines(&format!("{id}/tasks")), pids);
    assert_eq!(resctrl.lines(&format!("{id}/mon_groups/{id}/tasks")), pids);
}

#[test]
fn i01_a_second_process_is_moved_by_itself() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let bundle = waiting(json!({"closID": "/"}))
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 7}}));
    let bundle = bundle.build().unwrap();
    let container = runtime.create(&bundle).unwrap();
    assert!(resctrl.lines("tasks").contains(&container.pid().to_string()));
}

#[test]
fn i06_what_a_killed_runtime_had_made_is_removed_by_delete() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let before = resctrl.groups();
    // The hook's parent is the runtime.
    let kill = json!([{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]}]);
    let bundle =
        waiting(json!({"enableMonitoring": true})).set("/hooks/createRuntime", kill).build().unwrap();
    let id = runtime.fresh_id();
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(bundle.path()).arg(&id);
    assert_eq!(runtime.finish(command).unwrap().exit, Exit::Signal(9));
    assert!(resctrl.groups().contains(&id));
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    assert_eq!(resctrl.groups(), before);
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

#[test]
fn i06_a_named_group_that_was_made_goes_again_if_its_container_is_not_created() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let before = resctrl.groups();
    let rdt = json!({"closID": "gold", "enableMonitoring": true, "schemata": ["L3:0=1"]});
    let bundle = waiting(rdt).set("/hooks/createRuntime", json!([{"path": "/bin/false"}])).build().unwrap();
    assert_eq!(runtime.run(&bundle).unwrap().exit, Exit::Code(1));
    assert_eq!(resctrl.groups(), before);
}

#[test]
fn e26_i07_without_resctrl_nothing_is_made_and_the_fix_is_named() {
    if std::fs::read_to_string("/proc/mounts").unwrap().contains(" resctrl ") {
        return;
    }
    let runtime = runtime();
    let why = refused(&runtime, json!({"closID": "/"}));
    assert!(why.contains("/linux/intelRdt: no resctrl file system is mounted"), "{why}");
    assert!(why.contains("mount -t resctrl resctrl /sys/fs/resctrl"), "{why}");
}

#[test]
fn e29_i02_lines_that_are_malformed_are_all_found() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let before = resctrl.groups();
    let why = refused(&runtime, json!({"memBwSchema": "L3:0=1", "schemata": ["L2:0=1\nL2:1=1"]}));
    assert!(why.contains("/linux/intelRdt/memBwSchema: \"L3:0=1\" does not begin with MB:"), "{why}");
    assert!(why.contains("/linux/intelRdt/schemata/0: has more than one line"), "{why}");
    assert_eq!(resctrl.groups(), before);
}

#[test]
fn i01_i03_i05_f09_features_say_what_is_supported() {
    let features = runtime().call(["features"]).unwrap().success().unwrap().stdout;
    let features: Value = serde_json::from_str(&features).unwrap();
    assert_eq!(features["linux"]["intelRdt"], json!({"enabled": true, "schemata": true, "monitoring": true}));
}
