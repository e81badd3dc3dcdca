//! Cgroups below the container's own, and the one beside it that an old systemd wants: what the annotations of crun
//! ask for. The runtime sees version 2 alone, in a mount namespace of its own; units are tested in `systemd`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::{Stage, UNIFIED, create, nothing_left, refused, running, text_of};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Finished, Runtime};

/// Where this host has version 2.
fn unified() -> PathBuf {
    let mut mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(PathBuf::from);
    mounts.find(|path| path.join("cgroup.procs").exists()).unwrap()
}

/// The line of a hierarchy in a process's list.
fn membership(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.split_once(key).map(|(_, path)| path.to_owned())).unwrap()
}

/// With the container's cgroup on `/sys/fs/cgroup`, where it may be written.
fn bundle(annotations: Value, script: &str) -> BundleBuilder {
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]},
    ]);
    let namespaces = ["pid", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", script])
        .set("/annotations", annotations)
        .set("/linux/namespaces", json!(namespaces))
        .set("/mounts", mounts)
        .remove("/hostname")
        .remove("/linux/resources")
}

fn delegated(name: &str) -> Value {
    json!({"run.oci.delegate-cgroup": name})
}

fn shell(container: &Container<'_>, script: &str) -> String {
    container.exec(["/bin/sh", "-c", script]).unwrap().success().unwrap().stdout
}

/// All verbs that find the container by its cgroup.
fn verbs_work(runtime: &Runtime, container: &Container<'_>, processes: usize) {
    let call = |args: &[&str]| -> Finished { runtime.call(args).unwrap().success().unwrap() };
    let id = container.id();
    let listed: Vec<i32> = serde_json::from_str(&call(&["ps", "--format", "json", id]).stdout).unwrap();
    assert!(listed.contains(&container.pid()) && listed.len() == processes, "{listed:?}");
    let stats: Value = serde_json::from_str(&call(&["events", "--stats", id]).stdout).unwrap();
    assert_eq!(stats["type"], "stats");
    call(&["pause", id]);
    assert_eq!(container.state().unwrap().status, "paused");
    call(&["resume", id]);
    assert_eq!(container.state().unwrap().status, "running");
}

#[test]
fn b29_a09_limits_are_above_the_cgroup_that_the_payload_manages() {
    let stage = Stage::new(UNIFIED);
    let runtime = stage.runtime();
    // Nobody in there can be told to end by a signal that its shell passes on.
    let bundle = bundle(delegated("/payload"), "echo ready; exec sleep 1000")
        .set("/linux/resources", json!({"unified": {"cgroup.max.descendants": "5"}}))
        .build()
        .unwrap();
    let mut container = running(&runtime, &bundle);
    let id = container.id().to_owned();
    assert_eq!(membership(container.pid(), "0::"), format!("/{id}/payload"));
    let limit = |directory: &str| {
        fs::read_to_string(unified().join(&id).join(directory).join("cgroup.max.descendants")).unwrap()
    };
    assert_eq!((limit("."), limit("payload")), ("5\n".to_owned(), "max\n".to_owned()));
    // The payload's is the root of what it sees, and it has the controllers of the one above.
    assert_eq!(shell(&container, "cat /proc/self/cgroup | grep 0::"), "0::/\n");
    let script = "cd /sys/fs/cgroup; cat cgroup.controllers; mkdir own; echo $$ > own/cgroup.procs; \
                  echo 3 > own/cgroup.max.descendants; grep 0:: /proc/self/cgroup";
    let handed = fs::read_to_string(unified().join(&id).join("cgroup.controllers")).unwrap();
    assert_eq!(shell(&container, script), format!("{handed}0::/own\n"));
    assert_eq!((limit("."), limit("payload/own")), ("5\n".to_owned(), "3\n".to_owned()));
    let resources = bundle.path().join("resources.json");
    fs::write(&resources, r#"{"unified": {"cgroup.max.descendants": "7"}}"#).unwrap();
    runtime.call(["update", "--resources", text_of(&resources), &id]).unwrap().success().unwrap();
    assert_eq!((limit("."), limit("payload/own")), ("7\n".to_owned(), "3\n".to_owned()));
    verbs_work(&runtime, &container, 1);
    runtime.call(["kill", "--all", &id, "KILL"]).unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, &id);
    assert!(!unified().join(&id).exists());
}

#[test]
fn b29_b31_a_payload_that_hands_its_controllers_on_can_be_joined_and_removed() {
    let stage = Stage::new(UNIFIED);
    let runtime = stage.runtime();
    // As systemd does: a cgroup with controllers below it cannot have processes.
    let script = "cd /sys/fs/cgroup; mkdir init.scope; echo 1 > init.scope/cgroup.procs; \
                  for name in $(cat cgroup.controllers); do echo +$name > cgroup.subtree_control || exit 1; done; \
                  echo ready; exec sleep 1000";
    for annotations in [json!({}), delegated("a/b")] {
        let bundle = bundle(annotations.clone(), script).build().unwrap();
        let mut container = running(&runtime, &bundle);
        let id = container.id().to_owned();
        let below = if annotations == json!({}) { "" } else { "/a/b" };
        assert_eq!(membership(container.pid(), "0::"), format!("/{id}{below}/init.scope"));
        let inner = unified().join(format!("{id}{below}"));
        let handed_on = |file: &str| fs::read_to_string(inner.join(file)).unwrap();
        assert_eq!(handed_on("cgroup.subtree_control"), handed_on("cgroup.controllers"));
        assert_eq!(shell(&container, "grep 0:: /proc/self/cgroup"), "0::/init.scope\n");
        verbs_work(&runtime, &container, 1);
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        container.wait().unwrap();
        nothing_left(&runtime, &id);
    }
}

#[test]
fn b29_whatever_fails_takes_all_of_its_cgroups_away_again() {
    let stage = Stage::new(UNIFIED);
    let runtime = stage.runtime();
    let bundle = bundle(delegated("payload"), "echo ready")
        .set("/linux/resources", json!({"unified": {"cgroup.max.descendants": "5"}}))
        .build()
        .unwrap();
    let steps = runtime.call(["plan", "--steps", "--bundle", text_of(bundle.path()), "steps"]).unwrap();
    let wanted = ["cgroup", "clone", "pivot", "execute"];
    let steps = steps.success().unwrap().stdout;
    let codes = steps.lines().filter(|line| wanted.iter().any(|word| line.contains(word)));
    let codes: Vec<&str> = codes.map(|line| line.trim().split(' ').next().unwrap()).collect();
    assert!(codes.len() >= 3, "{steps}");
    for code in codes {
        let id = runtime.fresh_id();
        let run = ["run", "--bundle", text_of(bundle.path()), "--fail-at", code, &id];
        assert!(runtime.call(run).unwrap().stderr.contains("injected fault"), "{code}");
        nothing_left(&runtime, &id);
    }
    // A cgroup that somebody is in is left alone, also one below.
    let id = runtime.fresh_id();
    let theirs = unified().join(&id);
    fs::DirBuilder::new().recursive(true).create(theirs.join("payload")).unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(theirs.join("payload/cgroup.procs"), stranger.id().to_string()).unwrap();
    refused(&create(&runtime, &bundle, &id), "has processes already");
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for directory in [theirs.join("payload"), theirs] {
        drop(fs::remove_dir(directory));
    }
}

/// In version 2 the hierarchy that an old systemd wants, as an administrator mounts it.
const NAMED: &str =
    "mkdir -p /sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd";

/// Removes the directory that this needs, which is a cgroup.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn b33_a09_an_old_systemd_finds_its_hierarchy_and_a_cgroup_of_its_own_there() {
    let directory = Directory(unified().join("systemd"));
    assert!(!directory.0.exists(), "{}: somebody's", directory.0.display());
    let stage = Stage::new(&format!("{UNIFIED}\n{NAMED}"));
    let runtime = stage.runtime();
    let script = "ls /sys/fs/cgroup; cd /sys/fs/cgroup/systemd; mkdir init.scope; echo 1 > init.scope/tasks; \
                  grep name=systemd /proc/self/cgroup; echo ready; exec sleep 1000";
    let annotations = json!({"run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup"});
    let bundle = bundle(annotations, script).build().unwrap();
    let mut container = running(&runtime, &bundle);
    let id = container.id().to_owned();
    let shown = container.stdout().unwrap();
    assert!(shown.starts_with("systemd\n") && shown.contains(":name=systemd:/init.scope\n"), "{shown}");
    assert_eq!(membership(container.pid(), "name=systemd:"), format!("/{id}/init.scope"));
    assert_eq!(membership(container.pid(), "0::"), format!("/{id}"));
    let seen = shell(&container, "cat /proc/self/cgroup; ls -d /sys/fs/cgroup/systemd/init.scope");
    assert!(seen.contains(":name=systemd:/init.scope\n") && seen.contains("0::/\n"), "{seen}");
    verbs_work(&runtime, &container, 1);
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, &id);
    assert_eq!(stage.shell(&format!("find /sys/fs/cgroup -maxdepth 2 -name {id}")), "");
    // Others, which do not ask for it, are not in it.
    let bundle = plain();
    let container = running(&runtime, &bundle);
    assert!(!membership(container.pid(), "name=systemd:").contains(container.id()));
    container.exec(["/bin/true"]).unwrap().success().unwrap();
}

fn plain() -> Bundle {
    bundle(json!({}), "echo ready; exec sleep 1000").build().unwrap()
}

#[test]
fn b33_without_that_hierarchy_it_is_refused_with_the_way_to_mount_it() {
    let stage = Stage::new(UNIFIED);
    let runtime = stage.runtime();
    let annotations = json!({"run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup"});
    let bundle = bundle(annotations, "echo ready").build().unwrap();
    let id = runtime.fresh_id();
    let failed = create(&runtime, &bundle, &id);
    if !Path::new("/sys/fs/cgroup/systemd").exists() || unified() != Path::new("/sys/fs/cgroup") {
        refused(&failed, "/annotations/run.oci.systemd.force_cgroup_v1");
        refused(&failed, "mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd");
    }
    nothing_left(&runtime, &id);
}
