//! Limits: each value that the plan writes is what the kernel has, and nothing is dropped on the way.
//! Spec: config-linux.md#control-groups.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use integration_tests::runtime;
use serde_json::{Value, json};
use spec_conformance::Bundle;

/// Values of every controller that this host may have, all different from the kernel's defaults.
fn resources() -> Value {
    json!({
        "memory": { "limit": 128 << 20, "reservation": 64 << 20, "swap": 192 << 20, "swappiness": 7 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
        "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1 << 20 }] },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }],
    })
}

/// The plan's own list of what is written, by absolute path; without files that this host may lack, and does.
fn writes(runtime: &spec_conformance::Runtime, bundle: &Bundle, id: &str) -> Vec<(String, String)> {
    let finished = runtime.call(["plan", "--bundle", bundle.path().to_str().unwrap(), id]).unwrap();
    let plan: Value = serde_json::from_str(&finished.success().unwrap().stdout).unwrap();
    let cgroup = &plan["cgroup"];
    let path = |write: &Value| {
        let hierarchy = usize::try_from(write["hierarchy"].as_u64().unwrap()).unwrap();
        let mount = cgroup["hierarchies"][hierarchy]["mount"].as_str().unwrap();
        format!("{mount}{}/{}", cgroup["path"].as_str().unwrap(), write["file"].as_str().unwrap())
    };
    let is_there = |write: &&Value| write["mayBeAbsent"] != true || Path::new(&path(write)).exists();
    let limits = cgroup["writes"].as_array().unwrap().iter().filter(is_there);
    limits.map(|write| (path(write), write["value"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn c03_to_c24_each_limit_of_the_plan_reads_back_from_the_kernel() {
    let runtime = runtime();
    // A controller that this host does not have is refused by name; the others are what is tested then.
    let mut bundle =
        Bundle::new().set("/linux/resources", resources()).args(["/bin/probe", "wait"]).build().unwrap();
    let mut left_out = Vec::new();
    for part in ["memory", "cpu", "pids", "blockIO", "hugepageLimits"] {
        let only = Bundle::new().set("/linux/resources", json!({ part: resources()[part] })).build().unwrap();
        let plan = runtime.call(["plan", "--bundle", only.path().to_str().unwrap()]).unwrap();
        if !plan.exit.success() {
            assert!(plan.stderr.contains(&format!("/linux/resources/{part}")), "{plan:?}");
            let mut config = bundle.config().clone();
            config["linux"]["resources"].as_object_mut().unwrap().remove(part);
            bundle.write(config).unwrap();
            left_out.push(part);
        }
    }
    assert!(left_out.len() < 5, "this host has no controller to say anything with");
    let container = runtime.create(&bundle).unwrap();
    let mut compared = 0;
    let all = writes(&runtime, &bundle, container.id());
    for (i, (path, value)) in all.iter().enumerate() {
        // The last write to a file is the one that stays; rules about devices are read otherwise.
        let last = all[i + 1..].iter().all(|(later, _)| later != path);
        if last && !path.contains("/devices.") && Path::new(path).exists() {
            let read = fs::read_to_string(path).unwrap();
            if path.ends_with("/io.max") {
                // It shows the limits beside it too, which are none.
                assert!(
                    value.split(' ').all(|word| read.split_whitespace().any(|r| r == word)),
                    "{path}: {read}"
                );
            } else {
                assert_eq!(read.trim(), value, "{path}");
            }
            compared += 1;
        }
    }
    assert!(compared >= 5 - left_out.len(), "only {compared} limits were compared: {all:?}");
}

/// Limits that are tried one by one: hosts differ in which of them they have.
fn single_limits() -> Vec<Value> {
    let device = |rate: u64| json!([{"major": 254, "minor": 0, "rate": rate}]);
    vec![
        json!({"memory": {"kernelTCP": 64 << 20}}),
        json!({"memory": {"disableOOMKiller": true}}),
        json!({"memory": {"useHierarchy": true}}),
        json!({"cpu": {"quota": 50_000, "burst": 20_000}}),
        json!({"cpu": {"idle": 1}}),
        json!({"cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}}),
        json!({"blockIO": {"weight": 300}}),
        json!({"blockIO": {"leafWeight": 300}}),
        json!({"blockIO": {"weightDevice": [{"major": 254, "minor": 0, "weight": 300}]}}),
        json!({"blockIO": {"throttleWriteBpsDevice": device(1 << 20)}}),
        json!({"blockIO": {"throttleReadIOPSDevice": device(500)}}),
        json!({"blockIO": {"throttleWriteIOPSDevice": device(500)}}),
        json!({"network": {"classID": 0x10_0001}}),
        json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
        json!({"pids": {"limit": 0}}),
        json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
        json!({"unified": {"cgroup.max.depth": "7"}}),
        json!({"unified": {"misc.max": "sev 2"}}),
    ]
}

#[test]
fn c07_c09_c10_c15_c16_c18_to_c23_c25_to_c31_each_limit_by_itself_is_applied_or_refused_by_its_place() {
    let runtime = runtime();
    let mut applied = 0;
    for resources in single_limits() {
        let controller = resources.as_object().unwrap().keys().next().unwrap().clone();
        let bundle = Bundle::new()
            .set("/linux/resources", resources.clone())
            .args(["/bin/probe", "wait"])
            .build()
            .unwrap();
        let id = runtime.fresh_id();
        let mut container = match runtime.create_as(&id, &bundle) {
            Ok(container) => container,
            // What this kernel does not have, or has no device for, is an error that names it, and leaves nothing.
            Err(error) => {
                let (says, at) = (error.to_string(), format!("/linux/resources/{controller}"));
                let named = says.contains(&at) || says.contains("cgroup /");
                assert!(named, "{resources}: {says}");
                assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
                eprintln!("not on this host: {resources}: {says}");
                continue;
            }
        };
        // Rules about devices are read otherwise.
        for (path, value) in
            writes(&runtime, &bundle, &id).into_iter().filter(|(path, _)| !path.contains("/devices."))
        {
            let read = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let words: Vec<&str> = read.split_whitespace().collect();
            assert!(value.split(' ').all(|word| words.contains(&word)), "{path}: {value} is {read}");
        }
        applied += 1;
        container.delete().unwrap().success().unwrap();
    }
    assert!(applied >= 3, "only {applied} limits were applied");
}

#[test]
fn c01_what_no_rule_allows_cannot_be_opened() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .with_busybox()
        .set("/root/readonly", json!(false))
        .push("/process/capabilities/bounding", json!("CAP_MKNOD"))
        .push("/process/capabilities/permitted", json!("CAP_MKNOD"))
        .push("/process/capabilities/effective", json!("CAP_MKNOD"))
        .set(
            "/linux/resources",
            json!({ "devices": [
            { "allow": false, "access": "rwm" },
            // No driver has it: what is let through fails otherwise than what is not.
            { "allow": true, "type": "c", "major": 200, "minor": 1, "access": "r" },
        ] }),
        )
        .args([
            "/bin/sh",
            "-c",
            "mknod /dev/listed c 200 1 && mknod /dev/disk b 254 0 || exit 9
             open() { (true < $1) 2>&1 | sed 's/.*: //'; }
             open /dev/listed
             (true > /dev/listed) 2>&1 | sed 's/.*: //'
             open /dev/disk
             open /dev/zero && echo default",
        ])
        .build()
        .unwrap();
    let seen = runtime.run(&bundle).unwrap();
    let expected = "No such device or address\nOperation not permitted\nOperation not permitted\ndefault\n";
    assert_eq!(seen.stdout, expected, "{seen:?}");
}

#[test]
fn g07_a_cgroup_with_processes_is_refused_and_they_are_left_alone() {
    let runtime = runtime();
    let id = runtime.fresh_id();
    // The hierarchy in which this test is somewhere itself, whichever layout the host has.
    let mut mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
    let mount = mounts.find(|path| path.join("cgroup.procs").exists()).unwrap();
    let directory = mount.join(&id);
    let below = directory.join("below");
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&below).unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let bundle = Bundle::new().set("/linux/cgroupsPath", json!(format!("/{id}"))).build().unwrap();
    for place in [&directory, &below] {
        fs::write(place.join("cgroup.procs"), stranger.id().to_string()).unwrap();
        let refused = runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
        assert!(!refused.exit.success() && refused.stderr.contains("has processes already"), "{refused:?}");
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    fs::remove_dir(&below).unwrap();
    fs::remove_dir(&directory).unwrap();
}

#[test]
fn g07_a_cgroup_that_is_frozen_or_in_one_that_is_is_refused_and_not_waited_for() {
    let runtime = runtime();
    let version_2 = (["/sys/fs/cgroup/unified", "/sys/fs/cgroup"], "cgroup.freeze", ["1", "0"]);
    let version_1 = (["/sys/fs/cgroup/freezer"; 2], "freezer.state", ["FROZEN", "THAWED"]);
    for (mounts, file, [freeze, thaw]) in [version_2, version_1] {
        let Some(mount) = mounts.into_iter().map(Path::new).find(|path| path.join("cgroup.procs").exists())
        else {
            continue;
        };
        for is_above in [false, true] {
            let id = runtime.fresh_id();
            let frozen = mount.join(&id);
            fs::create_dir(&frozen).unwrap();
            fs::write(frozen.join(file), freeze).unwrap();
            let path = if is_above { format!("/{id}/box") } else { format!("/{id}") };
            let bundle = Bundle::new().set("/linux/cgroupsPath", json!(path)).build().unwrap();
            let refused = integration_tests::create(&runtime, &bundle, &id);
            fs::write(frozen.join(file), thaw).unwrap();
            assert!(
                !refused.exit.success() && refused.stderr.contains("is frozen"),
                "{is_above}: {refused:?}"
            );
            drop(fs::remove_dir(&frozen));
            integration_tests::nothing_left(&runtime, &id);
        }
    }
}

#[test]
fn c17_cpus_that_the_cgroup_above_does_not_have_are_refused_not_replaced_by_others() {
    let mount = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    if !controllers.contains("cpuset") || online.trim() == "0" {
        // Version 1 refuses them itself, and of one CPU there is no other.
        return;
    }
    let runtime = runtime();
    let id = runtime.fresh_id();
    let above = mount.join(format!("above-{id}"));
    fs::write(mount.join("cgroup.subtree_control"), "+cpuset").unwrap();
    fs::create_dir(&above).unwrap();
    fs::write(above.join("cpuset.cpus"), "0").unwrap();
    let create = |cpus: &str| {
        let bundle = Bundle::new()
            .set("/linux/cgroupsPath", json!(format!("/above-{id}/{id}")))
            .set("/linux/resources", json!({"cpu": {"cpus": cpus}}))
            .args(["/bin/probe", "wait"])
            .build()
            .unwrap();
        integration_tests::create(&runtime, &bundle, &id)
    };
    let refused = create("1");
    assert!(refused.stderr.contains("cpuset.cpus: write \"1\""), "{refused:?}");
    assert!(refused.stderr.contains("the cgroup above has none of them"), "{refused:?}");
    assert!(!above.join(&id).exists());
    create("0").success().unwrap();
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    fs::remove_dir(&above).unwrap();
}
