//! Containers whose cgroup systemd makes: what it knows of them, what stays when it reloads, and that they go.
//!
//! They need a host with version 2 of cgroups and systemd as its first process, which `just vm` has. Elsewhere each
//! test says on standard error that it has not run.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod inner;
mod units;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{Wrapped, nothing_left, refused, text_of};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container};

const USER: u32 = 1000;

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

/// A bundle that this user can run: with a user namespace, and without what it takes root to make.
fn users_bundle() -> BundleBuilder {
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    Bundle::new()
        .args(["/bin/probe", "wait"])
        .owned_by(USER, USER)
        .set("/linux/namespaces", json!([{"type": "user"}, {"type": "pid"}, {"type": "mount"}]))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))
        .remove("/hostname")
}

/// The bundle, where the user can read it.
fn readable(bundle: BundleBuilder) -> Bundle {
    let bundle = bundle.build().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.path(), open).unwrap();
    bundle
}

/// Sees to it that the user has a systemd.
fn has_users_manager() {
    let has_manager = || Path::new(&format!("/run/user/{USER}/systemd/private")).exists();
    if !has_manager() {
        run("systemctl", &["start", &format!("user@{USER}.service")]);
    }
    assert!(has_manager(), "the user has no systemd");
}

/// One property of a unit, as systemctl shows it.
fn shown(unit: &str, property: &str) -> String {
    run("systemctl", &["show", "--value", "--property", property, unit]).trim().to_owned()
}

/// What systemd has loaded under this name; a unit that it does not know is said to be not-found.
fn is_known(unit: &str) -> bool {
    shown(unit, "LoadState") != "not-found"
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
    // Whoever asks for a slice makes systemd load it.
    let is_left =
        if unit.ends_with(".slice") { shown(unit, "ActiveState") == "active" } else { is_known(unit) };
    assert!(!is_left, "{unit} is left: {}", run("systemctl", &["show", unit]));
    assert!(run("systemctl", &["list-units", "--all", &format!("*{id}*")]).contains("0 loaded units"));
}

const LIMITS: &str = r#"{
    "memory": {"limit": 134217728, "reservation": 67108864, "swap": 201326592},
    "cpu": {"shares": 512, "quota": 15000, "period": 30000, "cpus": "0-1", "mems": "0"},
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
    ("cpu.max", "15000 30000"),
    ("cpu.weight", "59"),
    ("cpuset.cpus", "0-1"),
    ("cpuset.mems", "0"),
    ("pids.max", "77"),
    ("hugetlb.2MB.max", "2097152"),
];

#[test]
fn b20_b21_b24_c32_g04_k06_limits_are_in_the_files_and_in_the_unit_and_stay_when_systemd_reloads() {
    if !runs_here("b20_b21_b24_c32_g04_limits") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
        ("CPUQuotaPerSecUSec", "500ms"),
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
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
    let wrapped = driven();
    let runtime = wrapped.runtime();
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
fn b07_g05_a_user_has_the_unit_made_by_the_users_own_systemd() {
    if !runs_here("b07_g05_a_user") {
        return;
    }
    has_users_manager();
    let service = format!("/user.slice/user-{USER}.slice/user@{USER}.service");
    let bus = format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus");
    for environment in ["", &format!("XDG_RUNTIME_DIR=/run/user/{USER}"), &bus] {
        let users = users(environment);
        let runtime = users.runtime();
        let limits = json!({"pids": {"limit": 55}, "memory": {"limit": 134_217_728}});
        let bundle = readable(users_bundle().set("/linux/resources", limits));
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
