//! A tmpfs with `tmpcopyup` begins as the directory that it covers. Spec: config.md#linux-mount-options.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use integration_tests::{Rootless, runtime};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use spec_conformance::report::Content;
use spec_conformance::{Bundle, BundleBuilder, Exit, Report, Runtime};

fn covered(options: &[&str]) -> BundleBuilder {
    Bundle::new().set("/root/readonly", json!(false)).push(
        "/mounts",
        json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options}),
    )
}

fn mapped(builder: BundleBuilder) -> BundleBuilder {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let user = json!({"type": "user"});
    builder
        .push("/linux/namespaces", user)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

/// Every name below a directory, with what is copied of it.
fn look(place: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(name) = rest.pop() {
        let path = place.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match meta.is_file() {
            true => format!("{:?}", fs::read(&path).unwrap()),
            false => format!("{:?}", fs::read_link(&path).ok()),
        };
        let times = (meta.mtime(), meta.mtime_nsec());
        let facts = (meta.mode(), meta.uid(), meta.gid(), meta.rdev(), times);
        found.insert(name.clone(), format!("{facts:?} {content}"));
        if meta.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| name.join(entry.unwrap().file_name())));
        }
    }
    found
}

/// Of every kind of file one, with nothing as it would be by default.
fn furnish(data: &Path) {
    let (inner, canary) = (data.join("a/b/c"), "/etc/passwd");
    for directory in ["a", "a/b", "a/b/c"] {
        fs::create_dir(data.join(directory)).unwrap();
    }
    fs::write(inner.join("file"), "x".repeat(200_000)).unwrap();
    fs::write(data.join("empty"), "").unwrap();
    symlink(canary, data.join("absolute")).unwrap();
    symlink("../../nowhere", data.join("a/dangling")).unwrap();
    let mode = Mode::from_bits_truncate(0o640);
    mknod(&data.join("fifo"), SFlag::S_IFIFO, mode, 0).unwrap();
    mknod(&data.join("device"), SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    drop(UnixListener::bind(data.join("socket")).unwrap());
    for i in 0..500 {
        fs::write(data.join("a").join(format!("a-long-name-that-takes-room-in-a-buffer-{i}")), i.to_string())
            .unwrap();
    }
    for (i, name) in (0..).zip(["a/b", "a/b/c/file", "fifo", "device", "socket", "empty", "a", ""]) {
        chown(data.join(name), Some(100 + i), Some(200 + i)).unwrap();
    }
    std::os::unix::fs::lchown(data.join("absolute"), Some(7), Some(8)).unwrap();
    for (name, mode) in [("a/b/c/file", 0o4751), ("a/b", 0o2770), ("a", 0o1777), ("empty", 0), ("", 0o750)] {
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
    for name in ["a/b/c/file", "a/b/c", "a/b", "a", ""] {
        fs::File::open(data.join(name)).unwrap().set_modified(old).unwrap();
    }
}

/// Creates a container, and gives its /data as it is seen from the host.
fn create(runtime: &Runtime, bundle: &Bundle) -> (String, PathBuf) {
    let id = runtime.fresh_id();
    runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap().success().unwrap();
    let pid = runtime.state(&id).unwrap().pid.unwrap();
    (id, PathBuf::from(format!("/proc/{pid}/root/data")))
}

fn delete(runtime: &Runtime, id: &str) {
    runtime.call(["delete", "--force", id]).unwrap().success().unwrap();
    assert_eq!(runtime.leftovers(id), Vec::<PathBuf>::new());
}

fn report(runtime: &Runtime, bundle: &Bundle) -> Report {
    runtime.run(bundle).unwrap().success().unwrap().report().unwrap()
}

#[test]
fn m30_a_tmpfs_begins_with_everything_that_the_directory_has_and_leaves_it_alone() {
    let runtime = runtime();
    let bundle = covered(&["tmpcopyup", "nosuid"]).build().unwrap();
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    furnish(&data);
    let before = look(&data);
    let (id, inside) = create(&runtime, &bundle);
    assert_eq!(look(&inside), before);
    fs::write(inside.join("new"), "in the container").unwrap();
    fs::remove_file(inside.join("empty")).unwrap();
    assert_eq!(look(&data), before, "the image has changed");
    let mounts = fs::read_to_string(inside.ancestors().nth(2).unwrap().join("mountinfo")).unwrap();
    let mount = mounts.lines().find(|line| line.contains(" /data ")).unwrap();
    assert!(mount.contains(" rw,nosuid,relatime - tmpfs tmpfs "), "{mount}");
    delete(&runtime, &id);
}

#[test]
fn m30_a_sparse_file_may_be_larger_than_the_tmpfs() {
    let runtime = runtime();
    let bundle = covered(&["tmpcopyup", "size=1m"]).build().unwrap();
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    let file = fs::File::create(data.join("sparse")).unwrap();
    file.write_all_at(b"in the middle", 1 << 33).unwrap();
    file.set_len(1 << 40).unwrap();
    let (id, inside) = create(&runtime, &bundle);
    let copy = fs::File::open(inside.join("sparse")).unwrap();
    let mut middle = [0; 14];
    copy.read_exact_at(&mut middle, (1 << 33) - 1).unwrap();
    assert_eq!((&middle, copy.metadata().unwrap().len()), (b"\0in the middle", 1 << 40));
    delete(&runtime, &id);
}

#[test]
fn m30_a_read_only_tmpfs_has_the_content_and_options_win_over_the_directory() {
    let runtime = runtime();
    let args = ["/bin/probe", "report", "--stat", "/data", "--stat", "/data/file"];
    let bundle =
        covered(&["ro", "tmpcopyup", "mode=711", "uid=5"]).args(args).file("/data/file", "text").build();
    let bundle = bundle.unwrap();
    let data = bundle.rootfs().join("data");
    chown(&data, Some(50), Some(60)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let report = report(&runtime, &bundle);
    let top = report.paths["/data"].present().unwrap();
    assert_eq!((top.mode & 0o7777, top.uid, top.gid), (0o711, 5, 60));
    let file = report.paths["/data/file"].present().unwrap();
    assert_eq!(file.content, Ok(Content::Bytes("text".into())));
    assert_eq!(file.write, Err("EROFS".into()));
    assert!(report.mount("/data").unwrap().has("ro"));
}

#[test]
fn m30_x_links_of_the_image_lead_nowhere_else() {
    let runtime = runtime();
    let canary = tempfile::tempdir().unwrap();
    fs::write(canary.path().join("secret"), "of the host").unwrap();
    // The directory itself is a link to the host, which inside the root leads to another place.
    let bundle = covered(&["tmpcopyup"]).build().unwrap();
    symlink(canary.path(), bundle.rootfs().join("data")).unwrap();
    let (id, inside) = create(&runtime, &bundle);
    let names: Vec<_> = fs::read_dir(inside.parent().unwrap().join(canary.path().strip_prefix("/").unwrap()))
        .unwrap()
        .collect();
    assert!(names.is_empty(), "{names:?}");
    delete(&runtime, &id);
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 1);
}

#[test]
fn m30_what_is_mounted_below_is_not_copied() {
    let runtime = runtime();
    let args = ["/bin/probe", "report", "--stat", "/data/sub", "--stat", "/data/file"];
    let bind = |source: &Path, destination: &str| json!({"destination": destination, "source": source, "options": ["bind"]});
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("large"), "of the host").unwrap();
    let bundle = Bundle::new()
        .args(args)
        .set("/root/readonly", json!(false))
        .push("/mounts", bind(host.path(), "/data/sub"))
        .push("/mounts", bind(&host.path().join("large"), "/data/file"))
        .push("/mounts", json!({"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup"]}))
        .build()
        .unwrap();
    let report = report(&runtime, &bundle);
    let content = |path: &str| report.paths[path].present().unwrap().content.clone();
    assert_eq!(content("/data/sub"), Ok(Content::Names(vec![])));
    assert_eq!(content("/data/file"), Ok(Content::Bytes(String::new())));
}

#[test]
fn m30_what_cannot_be_copied_fails_the_create_and_says_why() {
    let runtime = runtime();
    let fails = |options: &[&str], prepare: &dyn Fn(&Path)| {
        let bundle = covered(options).build().unwrap();
        prepare(&bundle.rootfs());
        let id = runtime.fresh_id();
        let failed = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
        assert_eq!(failed.exit, Exit::Code(1));
        assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
        failed.stderr
    };
    let large = |rootfs: &Path| {
        fs::create_dir(rootfs.join("data")).unwrap();
        fs::write(rootfs.join("data/large"), "x".repeat(1 << 20)).unwrap();
    };
    let says = fails(&["tmpcopyup", "size=64k"], &large);
    assert!(says.contains("tmpfs on /data: write: no space left on device"), "{says}");
    assert!(says.contains("larger size="), "{says}");
    let deep = |rootfs: &Path| {
        (0..200)
            .for_each(|depth| fs::create_dir(rootfs.join(format!("data{}", "/d".repeat(depth)))).unwrap());
    };
    let says = fails(&["tmpcopyup"], &deep);
    assert!(says.contains("/data") && says.contains("nested deeper than 128"), "{says}");
}

#[test]
fn m30_in_a_user_namespace_devices_are_left_out_and_owners_are_mapped() {
    let runtime = runtime();
    let bundle = mapped(covered(&["tmpcopyup"])).build().unwrap();
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    furnish(&data);
    for (name, id) in
        [("", 100_000), ("a", 100_500), ("a/b", 100_000), ("a/b/c", 100_000), ("a/b/c/file", 100_009)]
    {
        chown(data.join(name), Some(id), Some(id)).unwrap();
    }
    let unmapped = |root: PathBuf| {
        let mut seen = look(&root);
        // It cannot be made, and the owners of these are not known inside.
        for name in ["device", "fifo", "socket", "empty", "absolute"] {
            assert_eq!(seen.remove(Path::new(name)).is_none(), name == "device" && root != data, "{name}");
        }
        seen.retain(|name, _| {
            !name.to_str().unwrap().contains("a-long-name") && name != Path::new("a/dangling")
        });
        seen
    };
    // Nothing may be read by a stranger, so the empty file needs an owner inside.
    chown(data.join("empty"), Some(100_000), Some(100_000)).unwrap();
    let (id, inside) = create(&runtime, &bundle);
    assert_eq!(unmapped(inside.clone()), unmapped(data.clone()));
    let stranger = fs::symlink_metadata(inside.join("fifo")).unwrap();
    assert_eq!((stranger.uid(), stranger.gid()), (100_000, 100_000));
    delete(&runtime, &id);
}

#[test]
fn m30_a_runtime_without_the_hosts_rights_copies_too() {
    let rootless = Rootless::new(100_000, 65_536);
    let runtime = rootless.runtime();
    let builder = covered(&["tmpcopyup", "idmap"]).remove("/linux/resources");
    let map: Value = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let bundle = builder
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .args(["/bin/probe", "report", "--stat", "/data/file"])
        .file("/data/file", "text")
        .owned_by(100_000, 100_000)
        .build()
        .unwrap();
    let report = report(&runtime, &bundle);
    let file = report.paths["/data/file"].present().unwrap();
    assert_eq!((file.content.clone(), file.uid), (Ok(Content::Bytes("text".into())), 0));
    assert!(report.mount("/data").unwrap().has("idmapped"));
}
