//! The cgroup of version 2 and who owns it: handed over to a container's user, made by a user who is not root.
//! config-linux.md#cgroup-ownership
//!
//! The runtime sees version 2 alone, in a mount namespace of its own.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use integration_tests::{UNIFIED, Wrapped};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Report};

const USER: u32 = 1000;

/// With a user namespace and the container's cgroup on `/sys/fs/cgroup`.
fn shown(first: u32, count: u32, options: &[&str]) -> BundleBuilder {
    let map = json!([{"containerID": 0, "hostID": first, "size": count}]);
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/sys", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options},
    ]);
    Bundle::new()
        .set("/linux/namespaces", namespaces(&["user", "pid", "mount", "network", "cgroup"]))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/mounts", mounts)
        .remove("/hostname")
        .remove("/linux/resources")
}

fn namespaces(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind})).collect()
}

fn looking(paths: &[String]) -> Vec<String> {
    let stat = paths.iter().flat_map(|path| ["--stat".to_owned(), path.clone()]);
    ["/bin/probe".to_owned(), "report".to_owned()].into_iter().chain(stat).collect()
}

/// The owner of a file, as the container sees it; nothing for one that does not exist.
fn owner(report: &Report, path: &str) -> Option<u32> {
    report.paths[path].present().map(|facts| facts.uid)
}

#[test]
fn g08_e33_the_cgroup_and_what_the_kernel_lists_belong_to_the_containers_user() {
    const NOBODY: u32 = 65534;
    let wrapped = Wrapped::new(&format!(
        "exec unshare --mount --propagation private sh -ec '{UNIFIED}; exec \"$@\"' sh \"$@\""
    ));
    let delegated = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let others = ["cgroup.controllers", "cgroup.events", "cgroup.max.depth", "cgroup.freeze"];
    let path = |file: &str| format!("/sys/fs/cgroup/{file}");
    let mut paths: Vec<String> = delegated.lines().chain(others).map(path).collect();
    paths.push("/sys/fs/cgroup".into());
    for user in [0, 7] {
        let bundle = shown(100_000, 65_536, &["rw"])
            .set("/process/user", json!({"uid": user, "gid": 0}))
            .args(looking(&paths))
            .build()
            .unwrap();
        let report = wrapped.runtime().observe(&bundle).unwrap();
        assert_eq!(owner(&report, "/sys/fs/cgroup"), Some(user));
        let owners: Vec<Option<u32>> = delegated.lines().map(|file| owner(&report, &path(file))).collect();
        assert!(owners.iter().flatten().all(|owner| *owner == user), "{owners:?}");
        assert!(owners.iter().flatten().count() >= 3, "{owners:?}");
        // The memory controller is version 1's here, so that one of its files is listed and absent.
        for file in others {
            assert_eq!(owner(&report, &path(file)), Some(NOBODY), "{file}");
        }
    }
}

#[test]
fn g08_a_cgroup_that_is_not_writable_stays_the_runtimes() {
    let wrapped = Wrapped::new(&format!(
        "exec unshare --mount --propagation private sh -ec '{UNIFIED}; exec \"$@\"' sh \"$@\""
    ));
    let paths = ["/sys/fs/cgroup".to_owned(), "/sys/fs/cgroup/cgroup.procs".to_owned()];
    let bundle = shown(100_000, 65_536, &["ro"]).args(looking(&paths)).build().unwrap();
    let report = wrapped.runtime().observe(&bundle).unwrap();
    assert!(paths.iter().all(|path| owner(&report, path) == Some(65534)), "{:?}", report.paths);
}

#[test]
fn g08_a_hand_over_that_fails_is_named_and_leaves_nothing() {
    let wrapped = Wrapped::new(&format!(
        "exec unshare --mount --propagation private sh -ec '{UNIFIED}; exec \"$@\"' sh \"$@\""
    ));
    let runtime = wrapped.runtime();
    let bundle = shown(100_000, 65_536, &["rw"]).args(["/bin/probe", "exit", "0"]).build().unwrap();
    let (path, id) = (bundle.path().to_str().unwrap(), runtime.fresh_id());
    let steps = runtime.call(["plan", "--steps", "--bundle", path, &id]).unwrap().success().unwrap().stdout;
    let step = steps.lines().find(|line| line.contains("hand the cgroup over")).unwrap();
    let code = step.trim().split(' ').next().unwrap();
    let finished = runtime.call(["run", "--bundle", path, "--fail-at", code, &id]).unwrap();
    assert!(
        finished.stderr.contains("hand the cgroup over to the container's user: injected fault"),
        "{}",
        finished.stderr
    );
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

/// A cgroup of version 2 that has been given to a user, with a session in it; both go when this is dropped.
struct Delegated {
    path: PathBuf,
}

impl Delegated {
    fn new(name: &str) -> Delegated {
        let unified = Path::new("/sys/fs/cgroup/unified");
        let unified = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
        let path = unified.join(format!("ketch-{name}-{}", std::process::id()));
        let session = path.join("session");
        for directory in [&path, &session] {
            fs::DirBuilder::new().create(directory).unwrap();
            chown(directory, Some(USER), Some(USER)).unwrap();
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(directory.join(file), Some(USER), Some(USER)).unwrap();
            }
        }
        Delegated { path }
    }

    /// The runtime in the session, as the user, who sees version 2 alone.
    fn runtime(&self) -> Wrapped {
        let script = format!(
            "echo $$ > {}/session/cgroup.procs\n\
             exec unshare --mount --propagation private sh -ec \
             '{UNIFIED}; exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\"' sh \"$@\"",
            self.path.display()
        );
        Wrapped::new(&script).owned_by(USER)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for directory in [self.path.join("session"), self.path.clone()] {
            drop(fs::remove_dir(directory));
        }
    }
}

#[test]
fn b09_a_user_makes_limits_and_removes_cgroups_in_a_delegated_one() {
    let delegated = Delegated::new("b09");
    let wrapped = delegated.runtime();
    let path = "/sys/fs/cgroup/cgroup.max.depth";
    let bundle = shown(USER, 1, &["ro"])
        .set("/linux/resources", json!({"unified": {"cgroup.max.depth": "5"}}))
        .args(looking(&[path.to_owned()]))
        .build()
        .unwrap();
    let report = wrapped.runtime().observe(&bundle).unwrap();
    let seen = report.paths[path].present().unwrap();
    assert!(format!("{:?}", seen.content).contains("5\\n"), "{seen:?}");
    let left: Vec<_> = fs::read_dir(&delegated.path).unwrap().map(|entry| entry.unwrap()).collect();
    let left: Vec<_> =
        left.iter().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["session"]);
}

#[test]
fn b06_a_limit_that_a_user_may_not_set_is_an_error_and_no_limit_is_none() {
    let script = format!(
        "exec unshare --mount --propagation private sh -ec \
         '{UNIFIED}; exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\"' sh \"$@\""
    );
    let wrapped = Wrapped::new(&script).owned_by(USER);
    let bundle = || shown(USER, 1, &["ro"]).args(["/bin/probe", "report"]);
    wrapped.runtime().observe(&bundle().build().unwrap()).unwrap();
    let limited =
        bundle().set("/linux/resources", json!({"unified": {"cgroup.max.depth": "5"}})).build().unwrap();
    let id = wrapped.runtime().fresh_id();
    let finished =
        wrapped.runtime().call(["run", "--bundle", limited.path().to_str().unwrap(), &id]).unwrap();
    assert!(finished.stderr.contains("create cgroup"), "{}", finished.stderr);
    assert!(finished.stderr.contains("permission denied"), "{}", finished.stderr);
}

#[test]
fn b10_without_a_cgroup_namespace_a_users_container_cannot_write_the_runtimes_cgroup() {
    let delegated = Delegated::new("b10");
    let bundle = shown(USER, 1, &["rw"])
        .set("/linux/namespaces", namespaces(&["user", "pid", "mount", "network"]))
        .args(["/bin/probe", "open-write", "/sys/fs/cgroup/cgroup.procs"])
        .build()
        .unwrap();
    let finished = delegated.runtime().runtime().run(&bundle).unwrap();
    assert_eq!(finished.stdout.trim(), "EROFS", "{}", finished.stderr);
}
