//! Mounts with mapped ids: of new file systems and of parts of the host's. Spec: config.md#linux-mount-options.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use integration_tests::{Stage, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Report, Runtime};

fn map(inside: u32, outside: u32, size: u32) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": size}])
}

fn with(mount: Value) -> BundleBuilder {
    Bundle::new()
        .set("/root/readonly", json!(false))
        .args(["/bin/probe", "report", "--stat", "/at", "--stat", "/at/file", "--stat", "/at/sub"])
        .push("/mounts", mount)
}

fn mapped(builder: BundleBuilder) -> BundleBuilder {
    builder
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map(0, 100_000, 65_536))
        .set("/linux/gidMappings", map(0, 200_000, 65_536))
}

fn report(runtime: &Runtime, builder: BundleBuilder) -> Report {
    runtime.run(&builder.build().unwrap()).unwrap().success().unwrap().report().unwrap()
}

fn owner(report: &Report, path: &str) -> (u32, u32) {
    let facts = report.paths[path].present().unwrap();
    (facts.uid, facts.gid)
}

fn refused(builder: BundleBuilder) -> String {
    let (runtime, bundle) = (runtime(), builder.build().unwrap());
    let id = runtime.fresh_id();
    let failed = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert_eq!(failed.exit, Exit::Code(1));
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
    failed.stderr
}

/// A directory of root's with a file of 3:4 in it, which everybody may look at.
fn host() -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    fs::set_permissions(host.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(host.path().join("sub")).unwrap();
    fs::write(host.path().join("file"), "text").unwrap();
    chown(host.path().join("file"), Some(3), Some(4)).unwrap();
    host
}

#[test]
fn m31_m34_a_new_file_system_has_the_ids_of_its_mappings_with_and_without_the_option() {
    for options in [json!(["idmap", "uid=5", "size=64k", "nosuid"]), json!(["uid=5", "size=64k", "nosuid"])] {
        let mount = json!({"destination": "/at", "type": "tmpfs", "source": "mine", "options": options,
                           "uidMappings": map(0, 1000, 10), "gidMappings": map(0, 2000, 10)});
        let report = report(&runtime(), with(mount));
        assert_eq!(owner(&report, "/at"), (1005, 2000));
        let mount = report.mount("/at").unwrap();
        assert!(mount.has("idmapped") && mount.has("nosuid"), "{mount:?}");
        assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("tmpfs", "mine"));
        assert!(mount.super_options.contains(&"size=64k".to_owned()), "{mount:?}");
    }
}

#[test]
fn m31_a_new_file_system_is_read_only_if_it_is_to_be() {
    let mount = json!({"destination": "/at", "type": "tmpfs", "options": ["ro"],
                       "uidMappings": map(0, 0, 10), "gidMappings": map(0, 0, 10)});
    let report = report(&runtime(), with(mount));
    assert_eq!(report.paths["/at"].present().unwrap().write, Err("EROFS".into()));
    assert!(report.mount("/at").unwrap().has("ro"));
}

#[test]
fn m31_a_new_tmpfs_has_the_permissions_of_the_directory_that_is_there() {
    for (options, mode) in [(json!(["ro"]), 0o710), (json!(["mode=700"]), 0o700)] {
        let mount = json!({"destination": "/at", "type": "tmpfs", "options": options,
                           "uidMappings": map(0, 10, 9), "gidMappings": map(0, 10, 9)});
        let bundle = with(mount).file("/at/file", "").build().unwrap();
        fs::set_permissions(bundle.rootfs().join("at"), fs::Permissions::from_mode(0o710)).unwrap();
        let report = runtime().run(&bundle).unwrap().success().unwrap().report().unwrap();
        let top = report.paths["/at"].present().unwrap();
        assert_eq!((top.mode & 0o7777, top.uid), (mode, 10), "{options}");
    }
}

#[test]
fn m32_a_new_file_system_has_the_ids_of_the_container() {
    let script = "touch /at/new && stat -c '%u %g' /at /at/new; grep ' /at ' /proc/self/mountinfo";
    for options in
        [json!(["idmap", "mode=700"]), json!(["ridmap", "mode=700"]), json!(["idmap", "tmpcopyup"])]
    {
        let mount = json!({"destination": "/at", "type": "tmpfs", "options": options});
        let bundle = mapped(with(mount)).with_busybox().args(["/bin/sh", "-c", script]).build().unwrap();
        let printed = runtime().run(&bundle).unwrap().success().unwrap().stdout;
        assert!(printed.starts_with("0 0\n0 0\n") && printed.contains("idmapped"), "{options}: {printed}");
    }
}

#[test]
fn m31_m35_a_bind_mount_has_the_ids_that_its_option_gives() {
    let host = host();
    let bind =
        |options: Value| with(json!({"destination": "/at", "source": host.path(), "options": options}));
    let plain = report(&runtime(), bind(json!(["bind", "idmap=uids=0-10-3#3-77-1;gids=0-20-5"])));
    assert_eq!((owner(&plain, "/at"), owner(&plain, "/at/file")), ((10, 20), (77, 24)));
    // Relative to the container: 3 of the file system is 6 of it, whatever that is on the host.
    let relative = bind(json!(["bind", "idmap=uids=@0-0-1#@3-6-1;gids=@0-9-5"]));
    let relative = report(&runtime(), mapped(relative));
    assert_eq!((owner(&relative, "/at"), owner(&relative, "/at/file")), ((0, 9), (6, 13)));
    // By ids of the host that is 100006.
    let absolute = bind(json!(["bind", "idmap=uids=0-100000-1#3-100006-1;gids=0-200009-5"]));
    assert_eq!(owner(&report(&runtime(), mapped(absolute)), "/at/file"), (6, 13));
}

#[test]
fn m33_ridmap_maps_what_is_mounted_below_and_idmap_does_not() {
    let host = host();
    let stage = Stage::new(&format!("mount -t tmpfs none {}/sub", host.path().display()));
    for (option, below) in [("idmap", 0), ("ridmap", 10)] {
        let mount = json!({"destination": "/at", "source": host.path(), "options": ["rbind", option],
                           "uidMappings": map(0, 10, 9), "gidMappings": map(0, 10, 9)});
        let report = report(&stage.runtime(), with(mount));
        assert_eq!(
            (owner(&report, "/at"), owner(&report, "/at/sub")),
            ((10, 10), (below, below)),
            "{option}"
        );
    }
}

#[test]
fn m31_what_cannot_be_mapped_is_named_with_its_file_system_and_a_way_out() {
    let ids = |mount: Value| {
        let mut mount = mount;
        mount["uidMappings"] = map(0, 10, 9);
        mount["gidMappings"] = map(0, 10, 9);
        with(mount)
    };
    for (mount, place, fstype) in [
        (
            json!({"destination": "/at", "source": "/sys/kernel", "options": ["bind"]}),
            "bind /sys/kernel on /at",
            "sysfs",
        ),
        (
            json!({"destination": "/at", "source": "/proc/self", "options": ["rbind", "ridmap"]}),
            "bind /proc/self on /at",
            "proc",
        ),
        (json!({"destination": "/at", "type": "devpts"}), "devpts on /at", "devpts"),
    ] {
        let says = refused(ids(mount));
        assert!(says.contains(&format!("{place}: mount_setattr: ")), "{says}");
        assert!(
            says.contains(&format!("no id-mapped mounts of {fstype}")) && says.contains("chown"),
            "{says}"
        );
    }
}

#[test]
fn m31_an_option_that_a_new_file_system_refuses_is_named_by_the_kernel() {
    let mount = json!({"destination": "/at", "type": "tmpfs", "options": ["sise=1m"],
                       "uidMappings": map(0, 10, 9), "gidMappings": map(0, 10, 9)});
    let says = refused(with(mount));
    assert!(says.contains("tmpfs on /at: fsconfig: invalid argument"), "{says}");
    assert!(says.contains("Unknown parameter 'sise'"), "{says}");
}
