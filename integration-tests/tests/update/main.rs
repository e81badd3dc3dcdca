//! Limits that are changed: those that are named, all of them or none, and no others. Rows K-65 to K-71, B-34, E-22.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use integration_tests::{Resctrl, Stage, refused, running, runtime, waiting};
use limits::{FLAGS, limit_all, limits, stages, update, update_with, usable};
use serde_json::{Value, json};
use spec_conformance::{Bundle, Exit};

#[test]
fn k66_k67_k68_k69_c03_to_c27_each_flag_changes_its_limit_and_no_other() {
    for stage in stages() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        limit_all(&runtime, id, &limits(&stage, &runtime, id));
        let usable = usable(&limits(&stage, &runtime, id));
        for (i, (flag, values, files)) in FLAGS.iter().enumerate() {
            for (turn, value) in values.iter().enumerate() {
                let before = limits(&stage, &runtime, id);
                let done = update(&runtime, id, &[flag, value]);
                let after = limits(&stage, &runtime, id);
                if !usable.contains(&i) {
                    refused(&done, flag);
                    assert_eq!(after, before);
                    continue;
                }
                done.success().unwrap();
                for (file, text) in &after {
                    match files.iter().find(|(name, _)| name == file) {
                        None => assert_eq!(before.get(file), Some(text), "{flag} {value} changed {file}"),
                        Some((_, held)) if held[turn].is_empty() => {}
                        Some((_, held)) => {
                            assert_eq!(text.split(';').next().unwrap(), held[turn], "{flag} {file}")
                        }
                    }
                }
            }
        }
        // Both halves of the one file that has two.
        if let Some(max) = limits(&stage, &runtime, id).get("cpu.max") {
            assert_eq!(max, "70000 80000");
        }
    }
}

#[test]
fn k71_no_sequence_of_updates_changes_what_it_does_not_name() {
    for stage in stages() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        limit_all(&runtime, id, &limits(&stage, &runtime, id));
        let usable = usable(&limits(&stage, &runtime, id));
        if usable.is_empty() {
            continue; // This host has no controller in version 2.
        }
        // A generator of numbers that are the same in each run (Numerical Recipes).
        let mut seed = 7_u32;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(seed >> 16).unwrap() % below
        };
        for _ in 0..12 {
            let named: Vec<_> = (0..=next(3)).map(|_| (usable[next(usable.len())], next(2))).collect();
            let flags: Vec<_> =
                named.iter().flat_map(|(i, turn)| [FLAGS[*i].0, FLAGS[*i].1[*turn]]).collect();
            let before = limits(&stage, &runtime, id);
            update(&runtime, id, &flags).success().unwrap();
            let after = limits(&stage, &runtime, id);
            let may_change =
                |file: &String| named.iter().any(|(i, _)| FLAGS[*i].2.iter().any(|(f, _)| f == file));
            for (file, text) in &after {
                assert!(
                    may_change(file) || before.get(file) == Some(text),
                    "{flags:?} changed {file} to {text}"
                );
            }
        }
    }
}

#[test]
fn k65_k71_resources_come_from_a_file_and_from_stdin_and_name_everything_that_changes() {
    let (stage, runtime) = (Stage::new(":"), runtime());
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    let have = limits(&stage, &runtime, id);
    limit_all(&runtime, id, &have);
    let limited = limits(&stage, &runtime, id);
    // What asks for nothing: Docker 20.10 sends zeros, podman and CRI a denial of all devices.
    for nothing in [
        json!({}),
        json!({"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0},
               "cpu": {"shares": 0, "quota": 0, "period": 0}, "blockIO": {"weight": 0}}),
        json!({"devices": [{"allow": false, "access": "rwm"}]}),
    ] {
        update_with(&runtime, id, &nothing).success().unwrap();
        assert_eq!(limits(&stage, &runtime, id), limited, "{nothing}");
    }
    update(&runtime, id, &[]).success().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let forms =
        [vec!["-r", path], vec!["--resources", path], vec!["--resources", path, "--pids-limit", "55"]];
    for (flags, limit) in forms.iter().zip([51, 52, 55]) {
        fs::write(path, json!({"pids": {"limit": limit.min(52)}}).to_string()).unwrap();
        update(&runtime, id, flags).success().unwrap();
        assert_eq!(limits(&stage, &runtime, id).get("pids.max"), Some(&limit.to_string()));
    }
    update_with(&runtime, id, &json!({"pids": {"limit": 56}})).success().unwrap();
    let mut expected = limited;
    expected.insert("pids.max".to_owned(), "56".to_owned());
    assert_eq!(limits(&stage, &runtime, id), expected);
    // Devices are as they were, and so is what a program gets.
    container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
}

#[test]
fn k65_k66_what_is_wrong_is_said_with_its_place_and_nothing_changes() {
    let (stage, runtime) = (Stage::new(":"), runtime());
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    let before = limits(&stage, &runtime, id);
    for (document, words) in [
        (json!({"pids": {"limit": "x"}}), "stdin: /linux/resources/pids/limit: is the string \"x\""),
        (json!({"cpu": {"idle": 7}, "pids": {"limit": 3}}), "update: /cpu/idle: 7 is neither 0 nor 1"),
        (json!([]), "stdin: /linux/resources"),
    ] {
        refused(&update_with(&runtime, id, &document), words);
    }
    for (flags, words) in [
        (&["--blkio-weight", "7", "--pids-limit", "3"][..], "--blkio-weight: 7 is not between 10 and 1000"),
        (&["--cpu-quota", "5000", "--cpu-burst", "6000"], "--cpu-burst: 6000 is above the quota"),
        (&["--memory", "lots"], "is not a number of bytes"),
        (&["--resources", "/nowhere"], "read /nowhere"),
        (&["--l3-cache-schema", "L3:0=f", "--pids-limit", "3"], "has no resctrl group"),
    ] {
        refused(&update(&runtime, id, flags), words);
    }
    refused(&update(&runtime, "nobody", &[]), "container nobody does not exist");
    assert_eq!(limits(&stage, &runtime, id), before);
}

#[test]
fn k67_c16_c18_time_that_is_idle_or_real() {
    for stage in stages() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        let held = || limits(&stage, &runtime, id);
        let first = held();
        let weight = if first.contains_key("cpu.shares") { "cpu.shares" } else { "cpu.weight" };
        if !first.contains_key("cpu.idle") {
            refused(
                &update(&runtime, id, &["--cpu-idle", "1"]),
                "--cpu-idle: needs the cgroup controller cpu",
            );
            continue;
        }
        update(&runtime, id, &["--cpu-idle", "1"]).success().unwrap();
        assert_eq!(held().get("cpu.idle").map(String::as_str), Some("1"));
        // An idle cgroup has no weight to change, until it is not idle any more.
        let before = held();
        refused(&update(&runtime, id, &["--cpu-share", "512"]), &format!("{weight}: write"));
        assert_eq!(held(), before);
        update(&runtime, id, &["--cpu-idle", "0", "--cpu-shares", "512"]).success().unwrap();
        let changed: Vec<_> =
            held().into_iter().filter(|(file, text)| first.get(file) != Some(text)).collect();
        let changed: Vec<_> = changed.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        let weights = [(weight, if weight == "cpu.shares" { "512" } else { "59" })];
        assert!(
            changed.iter().all(|(file, _)| file.starts_with("cpu.weight") || *file == weight),
            "{changed:?}"
        );
        assert!(changed.contains(&weights[0]), "{changed:?}");
        let real = ["--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000"];
        let done = update(&runtime, id, &real);
        if !first.contains_key("cpu.rt_period_us") {
            refused(&done, "--cpu-rt-period: only cgroup version 1 has it");
            continue;
        }
        done.success().unwrap();
        update(&runtime, id, &["--cpu-rt-period", "5000", "--cpu-rt-runtime", "500"]).success().unwrap();
        let now = held();
        assert_eq!((now["cpu.rt_period_us"].as_str(), now["cpu.rt_runtime_us"].as_str()), ("5000", "500"));
        // More real time than there is.
        refused(
            &update(&runtime, id, &["--cpu-share", "7", "--cpu-rt-runtime", "5000"]),
            "cpu.rt_runtime_us: write \"5000\"",
        );
        assert_eq!(held(), now);
    }
}

#[test]
fn k69_c06_a_limit_of_kernel_memory_is_taken_where_there_is_one() {
    for stage in stages() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        let before = limits(&stage, &runtime, id);
        let log = tempfile::NamedTempFile::new().unwrap();
        let path = log.path().to_str().unwrap();
        let done = runtime.call(["--log", path, "update", "--kernel-memory", "10m", id]).unwrap();
        if before.contains_key("memory.limit_in_bytes") {
            done.success().unwrap();
            assert!(fs::read_to_string(path).unwrap().contains("--kernel-memory: is deprecated"));
        } else {
            refused(&done, "--kernel-memory: ");
        }
        assert_eq!(limits(&stage, &runtime, id).get("memory.max"), before.get("memory.max"));
    }
}

/// Updates of several limits, for what the host has.
fn several(have: &BTreeMap<String, String>) -> Value {
    let mut document = json!({});
    if have.keys().any(|file| file.starts_with("cpu.") && file != "cpu.stat") {
        document["cpu"] = json!({"shares": 700, "quota": 7000, "period": 70_000, "burst": 700});
    }
    if have.keys().any(|file| file.starts_with("memory.")) {
        document["memory"] = json!({"limit": 50 << 20, "swap": 90 << 20, "reservation": 7 << 20});
    }
    document
}

#[test]
fn b34_what_fails_in_the_middle_leaves_everything_as_it_was() {
    for stage in stages() {
        let runtime = stage.runtime();
        let bundle = waiting();
        let container = running(&runtime, &bundle);
        let id = container.id();
        limit_all(&runtime, id, &limits(&stage, &runtime, id));
        let before = limits(&stage, &runtime, id);
        let mut document = several(&before);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), document.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        // Each write in turn; the step's number is 2 and the write's.
        let mut failed = 0;
        for write in 0_u32.. {
            let code = (2 << 16 | write).to_string();
            let done = update(&runtime, id, &["--fail-at", &code, "--resources", path]);
            if done.exit.success() {
                break;
            }
            refused(&done, "injected fault");
            assert_eq!(limits(&stage, &runtime, id), before, "write {write}");
            failed += 1;
        }
        if document == json!({}) {
            continue; // No controller in version 2 on this host.
        }
        assert!(failed > 4, "{failed}");
        assert_ne!(limits(&stage, &runtime, id), before);
        // And what the kernel itself refuses: there are no so many tasks.
        let before = limits(&stage, &runtime, id);
        if before.contains_key("pids.max") {
            document["pids"] = json!({"limit": 99_999_999_999_i64});
            document["cpu"] = json!({"quota": 9000, "idle": 1});
            let done = update_with(&runtime, id, &document);
            refused(&done, "pids.max: write \"99999999999\": write: invalid argument");
            assert_eq!(limits(&stage, &runtime, id), before);
        }
    }
}

#[test]
fn e22_c11_a_limit_below_usage_is_refused_where_that_is_asked_for() {
    for stage in stages() {
        let runtime = stage.runtime();
        let careful = Bundle::new()
            .args(["/bin/probe", "wait"])
            .set("/linux/resources/memory/checkBeforeUpdate", json!(true))
            .build()
            .unwrap();
        for (bundle, said) in [(careful, json!({})), (waiting(), json!({"checkBeforeUpdate": true}))] {
            let container = running(&runtime, &bundle);
            let id = container.id();
            let before = limits(&stage, &runtime, id);
            if !before.keys().any(|file| file.starts_with("memory.")) {
                continue;
            }
            let with = |memory: Value| {
                let mut memory = memory;
                memory.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
                json!({ "memory": memory })
            };
            refused(
                &update_with(&runtime, id, &with(json!({"limit": 4096, "swap": 4096}))),
                "/memory/limit: 4096 is below the memory that the container uses",
            );
            assert_eq!(limits(&stage, &runtime, id), before);
            assert_eq!(runtime.state(id).unwrap().status, "running");
            update_with(&runtime, id, &with(json!({"limit": 64 << 20, "swap": 64 << 20}))).success().unwrap();
        }
    }
}

#[test]
fn k65_containers_in_every_state_are_updated_but_a_stopped_one() {
    let (stage, runtime) = (Stage::new(":"), runtime());
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    let id = container.id().to_owned();
    let max = || limits(&stage, &runtime, &id).get("pids.max").cloned();
    update(&runtime, &id, &["--pids-limit", "41"]).success().unwrap();
    assert_eq!(max().as_deref(), Some("41"));
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    assert_eq!(max().as_deref(), Some("41"));
    runtime.call(["pause", &id]).unwrap().success().unwrap();
    update(&runtime, &id, &["--pids-limit", "42"]).success().unwrap();
    assert_eq!(runtime.state(&id).unwrap().status, "paused");
    assert_eq!(max().as_deref(), Some("42"));
    runtime.call(["resume", &id]).unwrap().success().unwrap();
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    refused(&update(&runtime, &id, &["--pids-limit", "43"]), "container not running");
}

#[test]
fn k71_updates_at_once_all_happen_and_one_by_one() {
    let (stage, runtime) = (Stage::new(":"), runtime());
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    limit_all(&runtime, id, &limits(&stage, &runtime, id));
    let mut children = Vec::new();
    for i in 1..=6 {
        let (quota, period) = (format!("{}", 2000 * i), format!("{}", 10_000 * i));
        let (limit, both) = (format!("{}m", 50 + i), format!("{}m", 60 + i));
        let flags =
            ["--cpu-quota", &quota, "--cpu-period", &period, "--memory", &limit, "--memory-swap", &both];
        let words = [&["update"], &flags[..], &[id]].concat();
        children.push(runtime.command(words).stdout(Stdio::null()).spawn().unwrap());
    }
    children.push(runtime.command(["update", "--pids-limit", "61", id]).spawn().unwrap());
    children.push(runtime.command(["update", "--cpu-share", "62", id]).spawn().unwrap());
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let held = limits(&stage, &runtime, id);
    let number = |file: &str| held.get(file).map(|text| text.parse::<i64>().unwrap());
    assert_eq!(number("pids.max"), Some(61));
    // What came in one update is there together.
    if let Some((quota, period)) = number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")) {
        assert_eq!(quota * 5, period);
        assert_eq!(number("cpu.shares"), Some(62));
    }
    if let Some(max) = held.get("cpu.max") {
        let (quota, period) = max.split_once(' ').unwrap();
        assert_eq!(quota.parse::<i64>().unwrap() * 5, period.parse::<i64>().unwrap());
    }
    if let Some((limit, both)) = number("memory.limit_in_bytes").zip(number("memory.memsw.limit_in_bytes")) {
        assert_eq!(limit + (10 << 20), both);
    }
}

#[test]
fn k70_a_resctrl_group_of_its_own_is_changed_and_put_back_and_a_shared_one_is_not() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    let with =
        |rdt: Value| Bundle::new().args(["/bin/probe", "wait"]).set("/linux/intelRdt", rdt).build().unwrap();
    let bundle = with(json!({"l3CacheSchema": "L3:0=f;1=1f", "memBwSchema": "MB:0=20"}));
    let container = running(&runtime, &bundle);
    let id = container.id();
    let lines = || resctrl.lines(&format!("{id}/schemata"));
    let both = ["--l3-cache-schema", "L3:0=ff", "--mem-bw-schema", "MB:0=70"];
    update(&runtime, id, &both).success().unwrap();
    assert_eq!(lines()[2..], ["L3:0=ff", "MB:0=70"]);
    let before = lines();
    // The kernel has no plain file that is added to: what was said last counts.
    let second = (83_u32 << 16 | 1).to_string();
    let flags = ["--l3-cache-schema", "L3:0=1", "--mem-bw-schema", "MB:0=30", "--fail-at", &second];
    refused(&update(&runtime, id, &flags), "schemata MB:0=30");
    assert_eq!(
        lines().last(),
        before.iter().rfind(|line| line.starts_with("L3:0=f;1=1f") || line.starts_with("L3:0=ff"))
    );
    refused(&update(&runtime, id, &["--mem-bw-schema", "L3:0=1"]), "--mem-bw-schema: \"L3:0=1\"");
    resctrl.group("gold", "L3:0=1\n");
    let bundle = with(json!({"closID": "gold"}));
    let shared = running(&runtime, &bundle);
    let why = update(&runtime, shared.id(), &["--l3-cache-schema", "L3:0=ff"]);
    refused(&why, "alone; change its schemata there");
    assert_eq!(resctrl.lines("gold/schemata"), ["L3:0=1"]);
    assert_eq!(why.exit, Exit::Code(1));
}
