//! Layouts of cgroups: where a container's cgroup is on each, and what it limits there.
//! Spec: config-linux.md#cgroups-path.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use integration_tests::{UNIFIED, VERSION_2_ALONE, Wrapped, create, nothing_left, refused, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, Exit, Runtime};

/// The runtime sees version 1 alone.
const VERSION_1: &str = "unshare --mount --propagation private sh -ec \
                         '[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified; exec \"$@\"' sh \"$@\"";

fn is_hybrid() -> bool {
    Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() && Path::new("/sys/fs/cgroup/pids").is_dir()
}

/// The cgroups that the program of a container with this path sees itself in, a line for each hierarchy.
fn cgroups(runtime: &Runtime, path: Option<&str>, id: &str) -> Vec<String> {
    let mut builder = Bundle::new()
        .with_busybox()
        .args(["/bin/cat", "/proc/self/cgroup"])
        .set("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid"}]))
        .remove("/hostname")
        .remove("/linux/resources")
        .set(
            "/mounts",
            json!([{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]),
        );
    if let Some(path) = path {
        builder = builder.set("/linux/cgroupsPath", json!(path));
    }
    let bundle = builder.build().unwrap();
    let mut container = runtime.create_as(id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0), "{}", container.stderr().unwrap());
    let said = container.stdout().unwrap();
    container.delete().unwrap().success().unwrap();
    nothing_left(runtime, id);
    said.lines().map(str::to_owned).collect()
}

#[test]
fn g01_g02_g03_a_path_is_the_same_in_every_hierarchy_and_each_time() {
    let runtime = runtime();
    for (path, expected) in [(Some("/a-{}/b"), "/a-{}/b"), (Some("c-{}"), "/c-{}"), (None, "/{}")] {
        let id = runtime.fresh_id();
        let named = path.map(|path| path.replace("{}", &id));
        let first = cgroups(&runtime, named.as_deref(), &id);
        // A relative one is beside the runtime's own cgroup where there is version 2 alone.
        let expected = expected.replace("{}", &id);
        assert!(first.iter().filter(|line| line.ends_with(&expected)).count() >= 1, "{first:?}");
        assert_eq!(first, cgroups(&runtime, named.as_deref(), &id), "another place the second time");
        if is_hybrid() {
            assert!(first.iter().all(|line| line.ends_with(&expected)), "{first:?}");
        }
    }
}

#[test]
fn c33_c34_each_layout_is_used_as_it_is() {
    if !is_hybrid() {
        return;
    }
    for (script, one, two) in
        [(VERSION_1, true, false), (VERSION_2_ALONE, false, true), ("\"$@\"", true, true)]
    {
        let wrapped = Wrapped::new(&format!("exec {script}"));
        let id = wrapped.runtime().fresh_id();
        let inside = format!("/{id}");
        for line in cgroups(wrapped.runtime(), None, &id) {
            let wanted = if line.starts_with("0::") { two } else { one };
            assert_eq!(line.ends_with(&inside), wanted, "{script}: {line}");
        }
    }
}

#[test]
fn g02_in_a_cgroup_namespace_paths_count_from_what_can_be_seen() {
    // The runtime is in a cgroup of its own, which is the root of its namespace and of what it has mounted.
    let script = format!(
        "top=/sys/fs/cgroup; [ -d $top/unified ] && top=$top/unified
        mkdir -p $top/nested-runtime/leaf; echo $$ > $top/nested-runtime/leaf/cgroup.procs
        exec unshare --mount --cgroup --propagation private sh -ec '{UNIFIED}; exec \"$@\"' sh \"$@\""
    );
    let wrapped = Wrapped::new(&script);
    let id = wrapped.runtime().fresh_id();
    let lines = cgroups(wrapped.runtime(), None, &id);
    let mine = lines.iter().find(|line| line.starts_with("0::")).unwrap();
    // Seen from the host's namespace, in which the container's program is.
    assert!(mine.ends_with(&format!("/{id}")), "{mine}");
    let place = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|top| format!("{top}/nested-runtime"));
    for place in place {
        for directory in [format!("{place}/leaf"), place] {
            drop(std::fs::remove_dir(directory));
        }
    }
}

#[test]
fn e24_e25_c30_unified_files_that_the_layout_does_not_have_are_refused_by_name() {
    if !is_hybrid() {
        return;
    }
    for (script, says) in [
        (VERSION_1, "is for cgroup version 2, and this host has version 1 only"),
        ("\"$@\"", "needs the controller memory of cgroup version 2, which is in version 1 on this host"),
    ] {
        let wrapped = Wrapped::new(&format!("exec {script}"));
        let bundle = Bundle::new().set("/linux/resources", json!({"unified": {"memory.high": "max"}}));
        let id = wrapped.runtime().fresh_id();
        refused(&create(wrapped.runtime(), &bundle.build().unwrap(), &id), says);
        nothing_left(wrapped.runtime(), &id);
    }
}

#[test]
fn e23_paths_that_cannot_be_a_cgroup_are_refused() {
    let runtime = runtime();
    for (path, says) in [("/", "is the root cgroup"), ("/a/../b", "has a \"..\" in it"), ("a:b:c", "systemd")]
    {
        let bundle = Bundle::new().set("/linux/cgroupsPath", json!(path)).build().unwrap();
        let id = runtime.fresh_id();
        let failed = create(&runtime, &bundle, &id);
        refused(&failed, "/linux/cgroupsPath");
        refused(&failed, says);
        nothing_left(&runtime, &id);
    }
}

/// What a shell says that tries to start one more process, under this limit of tasks.
fn forks(limit: i64, namespaces: Value, offsets: Option<Value>) -> String {
    let runtime = runtime();
    let mut builder = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "echo one; /bin/true; echo $?"])
        .set("/linux/namespaces", namespaces)
        .remove("/hostname")
        .set("/linux/resources", json!({"pids": {"limit": limit}}));
    if let Some(offsets) = offsets {
        builder = builder.set("/linux/timeOffsets", offsets);
    }
    let finished = runtime.run(&builder.build().unwrap()).unwrap();
    format!("{}{}", finished.stdout, finished.stderr)
}

#[test]
fn c27_no_task_more_is_a_limit_under_which_a_container_can_be_made() {
    let plain = || json!([{"type": "mount"}, {"type": "pid"}]);
    // Its offsets take effect for children only, so that this one needs a second process.
    let second = || json!([{"type": "mount"}, {"type": "pid"}, {"type": "time"}]);
    let offsets = json!({"monotonic": {"secs": 10, "nanosecs": 0}});
    for limit in [0, 1] {
        for (namespaces, offsets) in [(plain(), None), (second(), Some(offsets.clone()))] {
            let said = forks(limit, namespaces, offsets);
            assert!(said.starts_with("one\n") && said.contains("can't fork"), "{limit}: {said}");
        }
    }
    for limit in [-1, 64] {
        assert_eq!(forks(limit, second(), Some(offsets.clone())), "one\n0\n");
    }
}
