//! User namespaces: who may map what, what the kernel withholds in one, and what is done instead.
//! config-linux.md#user-namespace-mappings
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use integration_tests::{Namespaces, Rootless, Wrapped, ketch, runtime};
use serde_json::{Value, json};
use spec_conformance::report::{IdMapping, Kind};
use spec_conformance::{Bundle, BundleBuilder, Report, Runtime};
use tempfile::TempDir;

const USER: u32 = 1000;

/// Ranges of ids, as inside, outside, count.
fn ranges(ranges: &[(u32, u32, u32)]) -> Value {
    let range = |(inside, outside, size): &(u32, u32, u32)| json!({"containerID": inside, "hostID": outside, "size": size});
    ranges.iter().map(range).collect()
}

fn seen(ranges: &[(u32, u32, u32)]) -> Vec<IdMapping> {
    let map = |(inside, outside, size): &(u32, u32, u32)| IdMapping {
        inside: *inside,
        outside: *outside,
        size: *size,
    };
    ranges.iter().map(map).collect()
}

/// A bundle with a user namespace, and of mounts only what everybody may have.
fn mapped(map: &[(u32, u32, u32)]) -> BundleBuilder {
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ]);
    Bundle::new()
        .set(
            "/linux/namespaces",
            json!([{"type": "user"}, {"type": "pid"}, {"type": "mount"}, {"type": "network"}]),
        )
        .set("/linux/uidMappings", ranges(map))
        .set("/linux/gidMappings", ranges(map))
        .set("/mounts", mounts)
        .remove("/hostname")
        .args(["/bin/probe", "report"])
}

fn observe(runtime: &Runtime, bundle: BundleBuilder) -> Report {
    runtime.observe(&bundle.build().unwrap()).unwrap()
}

fn refused(runtime: &Runtime, bundle: BundleBuilder, words: &[&str]) {
    let (bundle, id) = (bundle.build().unwrap(), runtime.fresh_id());
    let finished = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert!(!finished.exit.success());
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is not in {:?}", finished.stderr);
    }
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

/// A user of the host who is not root, with ids below it: files of its own are mounted over those of the machine.
struct User {
    runtime: Wrapped,
    _files: TempDir,
}

impl User {
    fn new(subordinate: &str, path: &str) -> User {
        let files = tempfile::tempdir().unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let passwd = format!("root:x:0:0::/root:/bin/sh\ntester:x:{USER}:{USER}::/:/bin/sh\n");
        let subordinate =
            if subordinate.is_empty() { String::new() } else { format!("tester:{subordinate}\n") };
        let mut script = "exec unshare --mount --propagation private sh -ec '".to_owned();
        for (name, text) in [("passwd", &passwd), ("subuid", &subordinate), ("subgid", &subordinate)] {
            fs::write(files.path().join(name), text).unwrap();
            script += &format!("mount --bind {0}/{name} /etc/{name}; ", files.path().display());
        }
        script += &format!(
            "exec setpriv --reuid {USER} --regid {USER} --clear-groups env PATH={path} \"$@\"' sh \"$@\""
        );
        User { runtime: Wrapped::new(&script).owned_by(USER), _files: files }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.runtime()
    }
}

const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

#[test]
fn n07_b03_a_user_maps_the_own_id_without_help() {
    let user = User::new("", "/nonexistent");
    let report = observe(user.runtime(), mapped(&[(0, USER, 1)]));
    assert_eq!((&report.uid_map, &report.gid_map), (&seen(&[(0, USER, 1)]), &seen(&[(0, USER, 1)])));
    assert_eq!((report.setgroups.as_str(), report.uid.effective), ("deny", 0));
    let other =
        observe(user.runtime(), mapped(&[(7, USER, 1)]).set("/process/user", json!({"uid": 7, "gid": 7})));
    assert_eq!((other.uid_map, other.uid.effective), (seen(&[(7, USER, 1)]), 7));
}

#[test]
fn n07_b03_a_user_maps_subordinate_ids_by_newuidmap_and_newgidmap() {
    let user = User::new("200000:65536", PATH);
    let map = [(0, USER, 1), (1, 200_000, 1000), (5000, 210_000, 10)];
    let bundle = mapped(&map).set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [5003]}));
    let report = observe(user.runtime(), bundle);
    assert_eq!((&report.uid_map, &report.gid_map), (&seen(&map), &seen(&map)));
    assert_eq!((report.uid.effective, report.gid.effective, report.groups), (5, 6, vec![5003]));
    assert_eq!(report.setgroups, "allow");
}

#[test]
fn n07_without_newuidmap_the_error_says_what_to_install() {
    let user = User::new("200000:65536", "/nonexistent");
    let words = [
        "map the ids of the user namespace: execve: no such file",
        "newuidmap",
        "install the package uidmap",
    ];
    refused(user.runtime(), mapped(&[(0, USER, 1), (1, 200_000, 1000)]), &words);
}

#[test]
fn n07_ids_that_are_not_the_users_are_refused_in_the_words_of_newgidmap() {
    let user = User::new("200000:65536", PATH);
    let words = [
        "map the ids of the user namespace: exited with status 1",
        "newgidmap: ",
        "/etc/subgid",
        "--add-subuids",
    ];
    refused(user.runtime(), mapped(&[(0, USER, 1), (1, 300_000, 1000)]), &words);
}

#[test]
fn b02_a_user_without_a_user_namespace_is_told_to_have_one() {
    let user = User::new("", PATH);
    let bundle = Bundle::new().args(["/bin/probe", "report"]);
    refused(
        user.runtime(),
        bundle,
        &["/linux/namespaces", "no user namespace is listed, and the runtime is not root"],
    );
}

#[test]
fn b04_an_owner_that_is_not_mapped_is_refused_by_its_option() {
    let user = User::new("", PATH);
    let bundle = mapped(&[(0, USER, 1)]).push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["gid=5"]}),
    );
    refused(user.runtime(), bundle, &["/mounts/2/options/0", "gid=5: 5 is not mapped"]);
    let bundle = mapped(&[(0, USER, 1)]).push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["gid=0"]}),
    );
    assert!(observe(user.runtime(), bundle).mount("/tmp").is_some());
}

#[test]
fn n07_many_ranges_up_to_the_kernels_limit() {
    let runtime = runtime();
    let short: Vec<_> = (0..340).map(|i| (i, i + 1, 1)).collect();
    let report = observe(&runtime, mapped(&short));
    assert_eq!((report.uid_map, report.gid_map), (seen(&short), seen(&short)));
    let more: Vec<_> = (0..341).map(|i| (i, i + 1, 1)).collect();
    refused(&runtime, mapped(&more), &["/linux/uidMappings", "more than 340 mappings"]);
    // As many, but longer than the page that the kernel takes.
    let long: Vec<_> = (0..340).map(|i| (i * 2, 1_000_000_000 + i * 2, 1)).collect();
    refused(
        &runtime,
        mapped(&long),
        &["map the ids of the user namespace: write: invalid argument", "a page"],
    );
}

#[test]
fn b01_b05_root_of_a_user_namespace_is_not_taken_for_the_hosts() {
    // The first is as systemd writes it, and looks like the host's.
    for (first, count) in [(0, u32::MAX), (100_000, 65_536)] {
        let rootless = Rootless::new(first, count);
        let bundle = mapped(&[]).set("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid"}]));
        let bundle = bundle.remove("/linux/uidMappings").remove("/linux/gidMappings").owned_by(first, first);
        let bundle = bundle.args(["/bin/probe", "report", "--stat", "/dev/null"]);
        let report = observe(&rootless.runtime(), bundle);
        assert_eq!(report.namespaces["user"], rootless.inode());
        let null = report.paths["/dev/null"].present().unwrap().clone();
        assert_eq!((null.kind, null.device, null.write), (Kind::Character, Some((1, 3)), Ok(())));
        assert!(report.mount("/dev/null").is_some(), "the kernel makes no node here, so it is the host's");
    }
}

#[test]
fn n01_b01_a_user_namespace_in_a_user_namespace() {
    let rootless = Rootless::new(100_000, 65_536);
    let report = observe(&rootless.runtime(), mapped(&[(0, 5000, 1000)]).owned_by(105_000, 105_000));
    assert_ne!(report.namespaces["user"], rootless.inode());
    assert_eq!((report.uid_map, report.uid.effective), (seen(&[(0, 5000, 1000)]), 0));
    refused(
        &rootless.runtime(),
        mapped(&[(0, 65_000, 1000)]).owned_by(105_000, 105_000),
        &[
            "map the ids of the user namespace: write: operation not permitted",
            "own user namespace does not have all",
        ],
    );
}

#[test]
fn n01_ketch_runs_in_a_container_of_ketch_with_a_user_namespace() {
    const FIRST: u32 = 100_000;
    let mut capabilities = vec!["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN"];
    capabilities.extend(["CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_NET_ADMIN"]);
    let inner = mapped(&[(0, 1000, 100)])
        .set(
            "/process/capabilities",
            json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}),
        )
        .remove("/process/rlimits")
        .build()
        .unwrap();
    let sets = json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    let outer = mapped(&[(0, FIRST, 65_536)])
        .set("/process/capabilities", sets)
        .set("/process/noNewPrivileges", json!(false))
        .set("/root/readonly", json!(false))
        // A procfs of which a part is hidden makes no other one: see mount_namespaces(7), restrictions.
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .push("/mounts", json!({"destination": "/inner", "source": inner.path(), "options": ["rbind"]}))
        .args(["/bin/ketch", "--root", "/tmp/state", "run", "--bundle", "/inner", "nested"])
        .build()
        .unwrap();
    fs::copy(ketch(), outer.rootfs().join("bin/ketch")).unwrap();
    give(inner.path(), FIRST + 1000);
    let report = runtime().observe(&outer).unwrap();
    assert_eq!((report.uid_map, report.pid), (seen(&[(0, 1000, 100)]), 1));
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}

#[test]
fn d01_b05_devices_of_a_user_namespace_are_the_hosts_own() {
    let runtime = runtime();
    let paths =
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse"];
    let numbers = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (10, 229)];
    let args = ["/bin/probe", "report"].into_iter().chain(paths.iter().flat_map(|path| ["--stat", path]));
    let bundle = mapped(&[(0, 100_000, 65_536)])
        .set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]))
        .args(args);
    let report = observe(&runtime, bundle);
    for (path, number) in paths.iter().zip(numbers) {
        let facts = report.paths[*path].present().unwrap();
        assert_eq!((facts.kind, facts.device), (Kind::Character, Some(number)), "{path}");
        assert!(report.mount(path).is_some(), "{path} is a mount");
    }
    assert_eq!(report.paths["/dev/null"].present().unwrap().write, Ok(()));
    let other = mapped(&[(0, 100_000, 65_536)])
        .set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 200}]));
    refused(&runtime, other, &["device /dev/fuse", "not this device"]);
}

/// The flags of a mount that tell it from others.
fn flags<'a>(report: &'a Report, point: &str) -> Vec<&'a str> {
    report.mount(point).unwrap().options.iter().map(String::as_str).collect()
}

/// The runtime in a mount namespace with a tmpfs at `place` whose flags tell it from others. As root of a `nested`
/// user and mount namespace, it has them locked.
fn beside_flags(place: &Path, nested: bool) -> Wrapped {
    let nest = if nested { "unshare --user --map-root-user --mount --propagation private" } else { "" };
    Wrapped::new(&format!(
        "exec unshare --mount --propagation private sh -ec \
         'mount -t tmpfs -o nosuid,nodev,noexec,noatime tmpfs {}; exec {nest} \"$@\"' sh \"$@\"",
        place.display()
    ))
}

#[test]
fn m45_a_remount_keeps_what_a_user_namespace_must_not_take_away() {
    let place = tempfile::tempdir().unwrap();
    let wrapped = beside_flags(place.path(), true);
    let bundle = |second: Value| {
        mapped(&[(0, 0, 1)])
            .push("/mounts", json!({"destination": "/data", "source": place.path(), "options": ["bind"]}))
            .push("/mounts", json!({"destination": "/data", "options": second}))
    };
    let report = observe(wrapped.runtime(), bundle(json!(["remount", "bind", "ro"])));
    let seen = flags(&report, "/data");
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(seen.contains(&flag), "{seen:?}");
    }
    let words =
        ["mounts[3]: remount on /data: mount_setattr: operation not permitted", "leave the option out"];
    refused(wrapped.runtime(), bundle(json!(["remount", "bind", "ro", "dev"])), &words);
}

#[test]
fn m45_a_bind_mount_keeps_the_flags_of_its_source_and_loses_none_on_demand() {
    let place = tempfile::tempdir().unwrap();
    let wrapped = beside_flags(place.path(), true);
    let bind = |options: Value| {
        mapped(&[(0, 0, 1)])
            .push("/mounts", json!({"destination": "/data", "source": place.path(), "options": options}))
    };
    let report = observe(wrapped.runtime(), bind(json!(["bind", "rw", "rprivate"])));
    let seen = flags(&report, "/data");
    for flag in ["rw", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(seen.contains(&flag), "{seen:?}");
    }
    for option in ["exec", "suid", "dev", "relatime"] {
        let words = ["on /data: mount_setattr: operation not permitted", "leave the option out"];
        refused(wrapped.runtime(), bind(json!(["bind", option])), &words);
    }
}

#[test]
fn m45_the_hosts_root_keeps_the_flags_of_a_source_too() {
    let place = tempfile::tempdir().unwrap();
    let wrapped = beside_flags(place.path(), false);
    let mount = json!({"destination": "/data", "source": place.path(), "options": ["rbind", "rro"]});
    let report = observe(wrapped.runtime(), mapped(&[(0, 100_000, 65_536)]).push("/mounts", mount));
    let seen = flags(&report, "/data");
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(seen.contains(&flag), "{seen:?}");
    }
}

#[test]
fn m41_without_a_network_of_its_own_a_user_namespace_sees_the_hosts_sys_read_only() {
    let sysfs = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]});
    let args = ["/bin/probe", "report", "--stat", "/sys/class/net/lo", "--stat", "/sys/kernel/mm/ksm/run"];
    let pod = Namespaces::new(&["--net"]);
    let rootless = Rootless::new(100_000, 65_536);
    let in_network = |network: Option<Value>, map: &[(u32, u32, u32)]| {
        let mut namespaces = vec![json!({"type": "user"}), json!({"type": "pid"}), json!({"type": "mount"})];
        namespaces.extend(network);
        mapped(map).set("/linux/namespaces", json!(namespaces)).push("/mounts", sysfs.clone()).args(args)
    };
    let joined = json!({"type": "network", "path": pod.path("net")});
    let host = [(0, 100_000, 65_536)];
    let cases = [
        (runtime(), in_network(None, &host)),
        (runtime(), in_network(Some(joined), &host)),
        (rootless.runtime(), in_network(None, &[(0, 5000, 1000)]).owned_by(105_000, 105_000)),
    ];
    for (runtime, bundle) in cases {
        let report = observe(&runtime, bundle);
        assert_eq!(report.mount("/sys").unwrap().fstype, "sysfs");
        // With all that is below it, which cannot be written either.
        for mount in report.mounts.iter().filter(|mount| mount.point.starts_with("/sys")) {
            for flag in ["ro", "nosuid", "noexec", "nodev"] {
                assert!(mount.options.iter().any(|option| option == flag), "{mount:?}");
            }
        }
        assert!(report.mounts.iter().any(|mount| mount.point.starts_with("/sys/fs/cgroup")));
        assert!(report.paths["/sys/class/net/lo"].present().is_some());
        let file = report.paths["/sys/kernel/mm/ksm/run"].present();
        assert!(file.is_none_or(|file| file.write.is_err()), "{file:?}");
    }
    let own = in_network(Some(json!({"type": "network"})), &host);
    let report = observe(&runtime(), own);
    assert!(flags(&report, "/sys").contains(&"rw"), "a new one is as it was asked for");
}
