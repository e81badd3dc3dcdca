//! Containers whose cgroup systemd makes: what it knows of them, what stays when it reloads, and that they go.
//!
//! They need a host with version 2 of cgroups and systemd as its first process, which `just vm` has. Elsewhere each
//! test says on standard error that it has not run.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::{Wrapped, ketch, nothing_left, refused, text_of};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit};

const USER: u32 = 1000;

/// How many containers the test of many makes. An emulated machine takes seconds for each.
fn many() -> usize {
    std::env::var("KETCH_SYSTEMD_CYCLES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// Whether there is what this test needs; says so if not.
fn runs_here(test: &str) -> bool {
    let systemd = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !(systemd && unified) {
        // Past the test harness, which shows nothing of tests that pass.
        let says =
            format!("{test}: NOT RUN: needs systemd as process 1 and cgroup version 2; see `just vm`\n");
        std::io::stderr().write_all(says.as_bytes()).unwrap();
    }
    systemd && unified
}

/// The runtime with systemd's driver.
fn driven() -> Wrapped {
    Wrapped::new("ketch=$1; shift; exec $ketch --systemd-cgroup \"$@\"")
}

/// The same, called by a user of the host.
fn users(environment: &str) -> Wrapped {
    let wrapped = Wrapped::new(&format!(
        "ketch=$1; shift; exec setpriv --reuid {USER} --regid {USER} --clear-groups \
         env -i PATH=/usr/bin:/bin {environment} $ketch --systemd-cgroup \"$@\""
    ));
    wrapped.owned_by(USER)
}

fn waiting(path: &str) -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "wait"]).set("/linux/cgroupsPath", json!(path))
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One property of a unit, as systemctl shows it.
fn shown(unit: &str, property: &str) -> String {
    run("systemctl", &["show", "--value", "--property", property, unit]).trim().to_owned()
}

/// What systemd has loaded under this name; a unit that it does not know is said to be not-found.
fn is_known(unit: &str) -> bool {
    shown(unit, "LoadState") != "not-found"
}

/// Waits until systemd has forgotten the unit.
fn is_forgotten(unit: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_known(unit) {
        assert!(Instant::now() < until, "{unit} is still there: {}", run("systemctl", &["show", unit]));
        std::thread::yield_now();
    }
}

fn file(directory: &str, name: &str) -> String {
    let path = PathBuf::from(format!("/sys/fs/cgroup{directory}")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// The cgroup of a process.
fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.trim().strip_prefix("0::").unwrap().to_owned()
}

fn end(mut container: Container<'_>, unit: &str) {
    let id = container.id().to_owned();
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    assert!(!is_known(unit), "{unit} is left: {}", run("systemctl", &["show", unit]));
    assert!(run("systemctl", &["list-units", "--all", &format!("*{id}*")]).contains("0 loaded units"));
}

const LIMITS: &str = r#"{
    "memory": {"limit": 134217728, "reservation": 67108864, "swap": 201326592},
    "cpu": {"shares": 512, "quota": 10000, "period": 30000, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 77},
    "blockIO": {"weight": 500},
    "unified": {"memory.high": "100663296", "memory.oom.group": "1", "hugetlb.2MB.max": "2097152"},
    "devices": [{"allow": false, "access": "rwm"}]
}"#;

/// The files that these limits are in, and what they hold.
const FILES: &[(&str, &str)] = &[
    ("memory.max", "134217728"),
    ("memory.low", "67108864"),
    ("memory.swap.max", "67108864"),
    ("memory.high", "100663296"),
    ("memory.oom.group", "1"),
    ("cpu.max", "10000 30000"),
    ("cpu.weight", "59"),
    ("cpuset.cpus", "0-1"),
    ("cpuset.mems", "0"),
    ("pids.max", "77"),
    ("hugetlb.2MB.max", "2097152"),
];

#[test]
fn b20_b21_b24_c32_g04_limits_are_in_the_files_and_in_the_unit_and_stay_when_systemd_reloads() {
    if !runs_here("b20_b21_b24_c32_g04_limits") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let limits: Value = serde_json::from_str(LIMITS).unwrap();
    let bundle =
        waiting(&format!("ketchtest-a.slice:engine:{id}")).set("/linux/resources", limits).build().unwrap();
    let container = runtime.create_as(&id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    let unit = format!("engine-{id}.scope");
    let directory = format!("/ketchtest.slice/ketchtest-a.slice/{unit}");
    assert_eq!(cgroup_of(container.pid()), directory);
    let plan: Value = {
        let mut command = runtime.command(["plan", "--bundle"]);
        command.arg(bundle.path()).arg(&id);
        serde_json::from_str(&runtime.finish(command).unwrap().success().unwrap().stdout).unwrap()
    };
    assert_eq!(plan["cgroup"]["path"], directory.as_str());
    let check = |when: &str| {
        for (name, value) in FILES {
            assert_eq!(file(&directory, name), *value, "{when}: {name}");
        }
    };
    check("after create");
    let properties = [
        ("Slice", "ketchtest-a.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("CollectMode", "inactive-or-failed"),
        ("MemoryAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("MemoryMax", "134217728"),
        ("MemoryLow", "67108864"),
        ("MemorySwapMax", "67108864"),
        ("MemoryHigh", "100663296"),
        ("OOMPolicy", "kill"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "333.334ms"),
        ("CPUQuotaPeriodUSec", "30ms"),
        ("AllowedCPUs", "0-1"),
        ("AllowedMemoryNodes", "0"),
        ("TasksMax", "77"),
        ("IOWeight", "4950"),
        ("DevicePolicy", "strict"),
        ("ControlGroup", &directory),
    ];
    for (name, value) in properties {
        assert_eq!(shown(&unit, name), value, "{name}");
    }
    run("systemctl", &["daemon-reload"]);
    check("after daemon-reload");
    // A property that changes makes systemd write all of them again.
    run("systemctl", &["set-property", "--runtime", &unit, "TasksMax=77"]);
    check("after set-property");
    end(container, &unit);
    for slice in ["ketchtest-a.slice", "ketchtest.slice"] {
        run("systemctl", &["stop", slice]);
    }
}

#[test]
fn g05_without_a_cgroups_path_the_unit_is_in_system_slice_and_named_for_the_container() {
    if !runs_here("g05_without_a_cgroups_path") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let bundle = Bundle::new().args(["/bin/probe", "wait"]).build().unwrap();
    let container = runtime.create(&bundle).unwrap();
    let unit = format!("ketch-{}.scope", container.id());
    assert_eq!(cgroup_of(container.pid()), format!("/system.slice/{unit}"));
    assert_eq!(shown(&unit, "Description"), format!("ketch container {}", container.id()));
    end(container, &unit);
}

#[test]
fn g06_the_root_slice_and_a_unit_that_is_a_slice_itself() {
    if !runs_here("g06_the_root_slice") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let container = runtime.create_as(&id, &waiting(&format!("-:ketchtest:{id}")).build().unwrap()).unwrap();
    let unit = format!("ketchtest-{id}.scope");
    assert_eq!(cgroup_of(container.pid()), format!("/{unit}"));
    end(container, &unit);
    let unit = "ketchroot-inner.slice";
    let container = runtime.create(&waiting(&format!("ketchroot.slice::{unit}")).build().unwrap()).unwrap();
    assert_eq!(cgroup_of(container.pid()), "/ketchroot.slice/ketchroot-inner.slice");
    assert_eq!(shown(unit, "ActiveState"), "active");
    end(container, unit);
    run("systemctl", &["stop", "ketchroot.slice"]);
}

#[test]
fn g04_a_path_is_refused_with_the_driver_and_a_unit_without_it() {
    if !runs_here("g04_a_path_is_refused") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    for path in ["/a/b", "a/b", "a.slice:b"] {
        let id = runtime.fresh_id();
        let bundle = waiting(path).build().unwrap();
        let create = runtime.call(["create", "--bundle", text_of(bundle.path()), &id]).unwrap();
        refused(&create, "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups");
        nothing_left(runtime, &id);
    }
}

/// The device /dev/full, which the default rules do not let everybody write, and a device that they do not have.
fn opens(container: &Container<'_>, device: &str) -> String {
    container.exec(["/bin/probe", "open-write", device]).unwrap().stdout.trim().to_owned()
}

#[test]
fn b26_devices_can_be_opened_again_after_systemd_reloads_and_others_cannot() {
    if !runs_here("b26_devices") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let device = |path: &str, major: u32, minor: u32| json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666});
    let bundle = waiting(&format!(":ketchtest:{id}"))
        .push("/linux/devices", device("/dev/allowed", 10, 229))
        .push("/linux/devices", device("/dev/denied", 1, 11))
        .push(
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}),
        )
        .push(
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "m"}),
        )
        .build()
        .unwrap();
    let container = runtime.create_as(&id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    let unit = format!("ketchtest-{id}.scope");
    let check = |when: &str| {
        assert_eq!(opens(&container, "/dev/null"), "ok", "{when}");
        assert_ne!(opens(&container, "/dev/allowed"), "EPERM", "{when}");
        assert_eq!(opens(&container, "/dev/denied"), "EPERM", "{when}");
    };
    check("before");
    let allowed = shown(&unit, "DeviceAllow");
    for entry in ["/dev/char/10:229 rwm", "char-136 rwm", "char-* m", "/dev/char/1:11 m"] {
        assert!(allowed.contains(entry), "no {entry:?} in {allowed:?}");
    }
    for _ in 0..3 {
        run("systemctl", &["daemon-reload"]);
        run("systemctl", &["set-property", "--runtime", &unit, "TasksMax=infinity"]);
        check("after daemon-reload");
    }
    end(container, &unit);
}

#[test]
fn b22_b23_annotations_reach_the_unit() {
    if !runs_here("b22_b23_annotations") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let bundle = waiting(&format!("system.slice:ketchtest:{id}"))
        .set(
            "/annotations",
            json!({
                "org.systemd.property.TimeoutStopUSec": "uint64 12000000",
                "org.systemd.property.RuntimeMaxSec": "3600.5",
                "org.systemd.property.KillSignal": "37",
                "org.systemd.property.CollectMode": "'inactive'",
                "org.systemd.property.After": "['crio.service', \"local-fs.target\"]",
                "org.systemd.property.SendSIGHUP": "true",
                "org.systemd.property.IOReadBandwidthMax": "@a(st) []",
                "org.example.other": "stays",
            }),
        )
        .build()
        .unwrap();
    let container = runtime.create_as(&id, &bundle).unwrap();
    let unit = format!("ketchtest-{id}.scope");
    let properties = [
        ("TimeoutStopUSec", "12s"),
        ("RuntimeMaxUSec", "1h 500ms"),
        ("KillSignal", "37"),
        ("CollectMode", "inactive"),
        ("SendSIGHUP", "yes"),
    ];
    for (name, value) in properties {
        assert_eq!(shown(&unit, name), value, "{name}");
    }
    let after = shown(&unit, "After");
    assert!(after.contains("crio.service") && after.contains("local-fs.target"), "{after}");
    end(container, &unit);
}

#[test]
fn b25_a_failed_unit_of_the_same_name_is_reset_and_an_active_one_is_left_alone() {
    if !runs_here("b25_a_failed_unit") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let unit = format!("ketchtest-{id}.scope");
    let bundle = waiting(&format!("system.slice:ketchtest:{id}")).build().unwrap();
    // A scope whose time is over has failed, and stays.
    let mut other = Command::new("systemd-run")
        .args(["--scope", "--quiet", "--unit", &unit, "--property=RuntimeMaxSec=1", "sleep", "1000"])
        .spawn()
        .unwrap();
    other.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while shown(&unit, "ActiveState") != "failed" {
        assert!(Instant::now() < until, "{}", run("systemctl", &["show", &unit]));
    }
    let container = runtime.create_as(&id, &bundle).unwrap();
    assert_eq!(shown(&unit, "ActiveState"), "active");
    // Another one of this name: of another state directory, since ids are taken once.
    let second = self::driven();
    let create = second.runtime().call(["create", "--bundle", text_of(bundle.path()), &id]).unwrap();
    refused(&create, "UnitExists");
    nothing_left_but(second.runtime(), &id);
    assert_eq!(shown(&unit, "ActiveState"), "active");
    assert_eq!(container.state().unwrap().status, "created");
    end(container, &unit);
}

/// The cgroup of this id is another runtime's; the state directory has to be empty.
fn nothing_left_but(runtime: &spec_conformance::Runtime, id: &str) {
    let left: Vec<_> = runtime.leftovers(id).into_iter().filter(|path| !path.starts_with("/sys")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn b20_whatever_fails_after_the_unit_is_made_takes_it_away_again() {
    if !runs_here("b20_whatever_fails") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let limits: Value = serde_json::from_str(LIMITS).unwrap();
    let bundle = waiting("system.slice:ketchtest:failing").set("/linux/resources", limits).build().unwrap();
    let mut command = runtime.command(["plan", "--steps", "--bundle"]);
    command.arg(bundle.path()).arg("failing");
    let printed = runtime.finish(command).unwrap().success().unwrap().stdout;
    let steps: Vec<(u32, &str)> = printed
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(code, words)| (code.parse().unwrap(), words.trim()))
        .collect();
    assert!(steps.iter().any(|(_, words)| *words == "systemd unit ketchtest-failing.scope"), "{steps:?}");
    // One step of each kind, in the runtime's process and in the container's.
    for kind in [90, 1, 2, 4, 10, 13, 19, 20, 26, 43] {
        let Some((code, words)) = steps.iter().find(|(code, _)| code >> 16 == kind) else {
            panic!("no step of kind {kind} in {steps:?}");
        };
        let create = runtime
            .call(["create", "--bundle", text_of(bundle.path()), "--fail-at", &code.to_string(), "failing"])
            .unwrap();
        refused(&create, "injected fault");
        assert!(!is_known("ketchtest-failing.scope"), "{words}: the unit is left");
        nothing_left(runtime, "ketchtest-failing");
        nothing_left(runtime, "failing");
    }
}

#[test]
fn b25_many_containers_come_and_go_four_at_a_time_and_leave_no_unit() {
    if !runs_here("b25_many_containers") {
        return;
    }
    const PARALLEL: usize = 4;
    let driven = driven();
    let runtime = driven.runtime();
    let each = many().div_ceil(PARALLEL);
    std::thread::scope(|scope| {
        for thread in 0..PARALLEL {
            scope.spawn(move || {
                for number in 0..each {
                    let id = format!("{}-{thread}-{number}", runtime.fresh_id());
                    let bundle = waiting(&format!("system.slice:ketchmany:{id}")).build().unwrap();
                    let path = text_of(bundle.path());
                    let create = runtime.call(["create", "--bundle", path, &id]).unwrap();
                    assert_eq!((create.exit, create.stderr.as_str()), (Exit::Code(0), ""), "{id}");
                    let delete = runtime.call(["delete", "--force", &id]).unwrap();
                    assert_eq!((delete.exit, delete.stderr.as_str()), (Exit::Code(0), ""), "{id}");
                }
            });
        }
    });
    let left = run("systemctl", &["list-units", "--all", "--no-legend", "ketchmany-*"]);
    assert_eq!(left.trim(), "", "units are left");
}

#[test]
fn b25_exec_state_kill_and_a_dead_container_do_without_systemd() {
    if !runs_here("b25_exec_state_kill") {
        return;
    }
    let driven = driven();
    let runtime = driven.runtime();
    let id = runtime.fresh_id();
    let bundle = waiting(&format!("system.slice:ketchtest:{id}")).build().unwrap();
    let mut container = runtime.create_as(&id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    let unit = format!("ketchtest-{id}.scope");
    // In a mount namespace without systemd's sockets, whoever needs them fails. And without the flag: the record
    // has what is needed.
    let cut_off = |verb: &[&str]| {
        let script = "mount -t tmpfs none /run/systemd && mount -t tmpfs none /run/dbus && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).arg(ketch());
        command.arg("--root").arg(runtime.root()).args(verb);
        command.output().unwrap()
    };
    assert!(cut_off(&["state", &id]).status.success());
    assert_eq!(cut_off(&["exec", &id, "/bin/probe", "exit", "7"]).status.code(), Some(7));
    assert!(cut_off(&["kill", &id, "KILL"]).status.success());
    container.wait().unwrap();
    let delete = cut_off(&["delete", &id]);
    let says = String::from_utf8_lossy(&delete.stderr);
    assert!(!delete.status.success() && says.contains("systemd cannot be reached"), "{says}");
    // What could not be deleted can be deleted later. By now systemd has noticed itself that nobody is left.
    is_forgotten(&unit);
    let mut command = Command::new(ketch());
    assert!(command.arg("--root").arg(runtime.root()).args(["delete", &id]).status().unwrap().success());
    nothing_left(runtime, &id);
    // A host without systemd.
    let id = runtime.fresh_id();
    let create = cut_off(&["--systemd-cgroup", "create", "--bundle", text_of(bundle.path()), &id]);
    let says = String::from_utf8_lossy(&create.stderr);
    assert!(!create.status.success() && says.contains("systemd, which does not run on this host"), "{says}");
}

#[test]
fn b07_g05_a_user_has_the_unit_made_by_the_users_own_systemd() {
    if !runs_here("b07_g05_a_user") {
        return;
    }
    let has_manager = || Path::new(&format!("/run/user/{USER}/systemd/private")).exists();
    if !has_manager() {
        run("systemctl", &["start", &format!("user@{USER}.service")]);
    }
    assert!(has_manager(), "the user has no systemd");
    let service = format!("/user.slice/user-{USER}.slice/user@{USER}.service");
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    let bus = format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus");
    for environment in ["", &format!("XDG_RUNTIME_DIR=/run/user/{USER}"), &bus] {
        let users = users(environment);
        let runtime = users.runtime();
        let bundle = Bundle::new()
            .args(["/bin/probe", "wait"])
            .owned_by(USER, USER)
            .set("/linux/namespaces", json!([{"type": "user"}, {"type": "pid"}, {"type": "mount"}]))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
            .set("/linux/resources", json!({"pids": {"limit": 55}, "memory": {"limit": 134_217_728}}))
            .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))
            .remove("/hostname")
            .build()
            .unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bundle.path(), open).unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        let unit = format!("ketch-{}.scope", container.id());
        let directory = format!("{service}/user.slice/{unit}");
        assert_eq!(cgroup_of(container.pid()), directory, "{environment}");
        assert_eq!(file(&directory, "pids.max"), "55");
        assert_eq!(file(&directory, "memory.max"), "134217728");
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        container.kill("KILL").unwrap().success().unwrap();
        container.wait().unwrap();
        container.delete().unwrap().success().unwrap();
        let left = Path::new("/sys/fs/cgroup").join(directory.trim_start_matches('/'));
        assert!(!left.exists(), "{}", left.display());
        nothing_left(runtime, container.id());
    }
}
