//! What is mounted, from where, and on what: order, sources, destinations, the root itself, /proc, very many.
//! Spec: config.md#mounts.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use integration_tests::{Stage, at, bind, facts, looking, mounted, runtime};
use serde_json::{Value, json};
use spec_conformance::report::{Content, Kind};
use spec_conformance::{Bundle, BundleBuilder, Exit, Report};

/// These mounts first, and then the default ones.
fn mounted_first(bundle: BundleBuilder, mounts: impl IntoIterator<Item = Value>) -> BundleBuilder {
    let defaults = spec_conformance::bundle::default_config()["mounts"].as_array().unwrap().clone();
    mounted(bundle.set("/mounts", json!([])), mounts.into_iter().chain(defaults))
}

fn text(report: &Report, path: &str) -> String {
    match &facts(report, path).content {
        Ok(Content::Bytes(text)) => text.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn m01_a_later_entry_lies_on_an_earlier_one() {
    let tmpfs =
        |name: &str, destination: &str| json!({"destination": destination, "type": "tmpfs", "source": name});
    let mounts = [tmpfs("one", "/t"), tmpfs("two", "/t/in"), tmpfs("three", "/t"), tmpfs("four", "/t/in")];
    let report = runtime().observe(&mounted(looking(&["/t"]), mounts).build().unwrap()).unwrap();
    let named = |name: &str| report.mounts.iter().find(|mount| mount.source == name).unwrap();
    assert_eq!(named("two").parent, named("one").id);
    assert_eq!(named("three").parent, named("one").id);
    assert_eq!(named("four").parent, named("three").id);
    assert_eq!(facts(&report, "/t").content, Ok(Content::Names(vec!["in".to_owned()])));
}

#[test]
fn m02_m03_a_destination_may_be_relative_and_a_source_missing() {
    let runtime = runtime();
    let bundle = mounted(Bundle::new(), [json!({"destination": "a/b", "type": "tmpfs"})]).build().unwrap();
    let report = runtime.observe(&bundle).unwrap();
    assert_eq!(
        (at(&report, "/a/b").fstype.as_str(), at(&report, "/a/b").source.as_str()),
        ("tmpfs", "tmpfs")
    );
}

#[test]
fn m03_m04_a_bind_whose_source_is_missing_fails_and_says_which() {
    let runtime = runtime();
    let mounts = [bind("/nowhere/at/all", "/t", &["bind"])];
    let finished = runtime.run(&mounted(Bundle::new(), mounts).build().unwrap()).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    let wanted = "mounts[7]: bind /nowhere/at/all on /t: open_tree: no such file or directory";
    assert!(finished.stderr.contains(wanted), "{finished:?}");
}

#[test]
fn m04_m05_m15_a_source_counts_from_the_bundle_and_a_bind_has_any_type() {
    let typed = |kind: &str, source: &str, destination: &str| {
        let mut mount = bind(source, destination, &["bind"]);
        mount["type"] = json!(kind);
        mount
    };
    let mounts = [
        typed("none", "data", "/from/bundle"),
        typed("nosuchfs", "./data/../data/file", "/from/file"),
        typed("tmpfs", "data", "/from/typed"),
        bind("data", "/from/untyped", &["rbind"]),
    ];
    let paths = ["/from/bundle/file", "/from/file", "/from/typed/file", "/from/untyped/file"];
    let bundle = mounted(looking(&paths), mounts).build().unwrap();
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/file"), "from the bundle").unwrap();
    let report = runtime().observe(&bundle).unwrap();
    for path in paths {
        assert_eq!(text(&report, path), "from the bundle", "{path}");
    }
}

#[test]
fn m06_destinations_are_made_as_what_the_source_is_and_behind_links_inside_the_root() {
    let stage = Stage::new(
        "mkdir $PLACE/directory; echo file > $PLACE/file; mkfifo $PLACE/fifo; ln -s file $PLACE/link
         perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un(shift)) or die' $PLACE/socket",
    );
    let mounts = ["directory", "file", "fifo", "socket", "link"]
        .map(|name| bind(&stage.path(name), &format!("/deep/down/below/{name}"), &["bind"]));
    let others = [
        bind(&stage.path("file"), "/way/new-file", &["bind"]),
        bind(&stage.path("directory"), "/way/dangling/new", &["bind"]),
        bind(&stage.path("file"), "/etc/link-to-a-file", &["bind"]),
    ];
    let names =
        ["directory", "file", "fifo", "socket", "link"].map(|name| format!("/deep/down/below/{name}"));
    let mut paths: Vec<&str> = names.iter().map(String::as_str).collect();
    paths.extend(["/deep/down", "/inside/new-file", "/nowhere/yet/new", "/etc/real", "/etc/link-to-a-file"]);
    let bundle = mounted(looking(&paths), mounts.into_iter().chain(others)).file("/etc/real", "hidden");
    let bundle = bundle.build().unwrap();
    let rootfs = bundle.rootfs();
    fs::create_dir(rootfs.join("inside")).unwrap();
    symlink("/inside", rootfs.join("way")).unwrap();
    symlink("../../../nowhere/yet", rootfs.join("inside/dangling")).unwrap();
    symlink("real", rootfs.join("etc/link-to-a-file")).unwrap();
    let report = stage.runtime().observe(&bundle).unwrap();
    let kinds = [Kind::Directory, Kind::File, Kind::Fifo, Kind::Socket, Kind::File];
    assert_eq!(names.each_ref().map(|name| facts(&report, name).kind), kinds);
    for path in ["/deep/down/below/file", "/deep/down/below/link", "/inside/new-file", "/etc/real"] {
        assert_eq!(text(&report, path), "file\n", "{path}");
    }
    assert_eq!(facts(&report, "/deep/down").mode, 0o755);
    assert_eq!(facts(&report, "/nowhere/yet/new").kind, Kind::Directory);
    // The link itself stays one.
    assert_eq!(facts(&report, "/etc/link-to-a-file").target.as_deref(), Some("real"));
}

#[test]
fn m06_e12_a_directory_on_a_file_and_a_file_on_a_directory_are_errors() {
    let stage = Stage::new("mkdir $PLACE/directory; echo file > $PLACE/file");
    let runtime = stage.runtime();
    for (source, destination) in
        [("directory", "/etc/file"), ("file", "/tmp"), ("directory", "/etc/file/below")]
    {
        let mounts = [bind(&stage.path(source), destination, &["bind"])];
        let bundle = mounted(Bundle::new(), mounts).file("/etc/file", "").build().unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1));
        assert!(finished.stderr.contains(&format!("on {destination}: ")), "{finished:?}");
        assert!(finished.stderr.contains("not a directory"), "{finished:?}");
    }
}

#[test]
fn n17_m42_default_file_systems_are_there_with_their_types_flags_and_modes() {
    let stage = Stage::new(":");
    let paths =
        ["/proc", "/sys", "/dev", "/dev/pts", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue", "/bare", "/given"];
    let mounts = [
        json!({"destination": "/bare", "type": "tmpfs", "source": "bare"}),
        json!({"destination": "/given", "type": "tmpfs", "source": "given"}),
    ];
    let bundle = mounted(looking(&paths), mounts).build().unwrap();
    fs::create_dir(bundle.rootfs().join("given")).unwrap();
    fs::set_permissions(bundle.rootfs().join("given"), fs::Permissions::from_mode(0o2710)).unwrap();
    // A caller's mask has no part in it.
    let report = stage.runtime_after("umask 077; exec").observe(&bundle).unwrap();
    let mounts = [
        ("/proc", "proc", 0o555, &[] as &[&str]),
        ("/sys", "sysfs", 0o555, &["ro", "nosuid", "nodev", "noexec"]),
        ("/dev", "tmpfs", 0o755, &["nosuid"]),
        ("/dev/pts", "devpts", 0o755, &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", 0o1777, &["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", 0o1777, &["nosuid", "nodev", "noexec"]),
        ("/bare", "tmpfs", 0o1777, &[]),
        // The permissions of a directory that is there are kept.
        ("/given", "tmpfs", 0o2710, &[]),
    ];
    for (point, fstype, mode, options) in mounts {
        let mount = at(&report, point);
        assert_eq!((mount.fstype.as_str(), facts(&report, point).mode), (fstype, mode), "{point}");
        assert!(options.iter().all(|option| mount.has(option)), "{point}: {mount:?}");
    }
    assert_eq!(facts(&report, "/dev/pts/ptmx").mode, 0o666);
}

#[test]
fn m44_a_tree_on_the_root_is_the_root() {
    let stage =
        Stage::new("mkdir $PLACE/other $PLACE/other/volume; mount -t tmpfs volume $PLACE/other/volume");
    for (options, readonly) in [(["rbind", "nosuid", "rnodev"], true), (["rbind", "rw", "rnoexec"], false)] {
        let first = bind(&stage.path("other"), "/", &options[..2]);
        let last = json!({"destination": "/", "options": ["remount", "bind", options[2]]});
        let mounts = [first, bind("/etc/hostname", "/made/later", &["bind"])];
        let paths = ["/marker", "/made/later", "/dev/null", "/volume"];
        let bundle = mounted_first(looking(&paths), mounts).set("/root/readonly", json!(readonly));
        let bundle = if readonly { bundle.push("/mounts", last) } else { bundle };
        let bundle = bundle.file("/marker", "the root below").build().unwrap();
        stage.shell(&format!(
            "cp -a {}/. $PLACE/other; echo above > $PLACE/other/marker",
            bundle.rootfs().display()
        ));
        let report = stage.runtime().observe(&bundle).unwrap();
        assert_eq!(text(&report, "/marker"), "above\n");
        assert_eq!(text(&report, "/made/later"), fs::read_to_string("/etc/hostname").unwrap());
        assert_eq!(facts(&report, "/dev/null").device, Some((1, 3)));
        assert_eq!(at(&report, "/volume").source, "volume");
        let root = at(&report, "/");
        assert!(root.root.ends_with("/other"), "{root:?}");
        assert_eq!((root.has("ro"), root.has("nosuid"), root.has("nodev")), (readonly, readonly, readonly));
        assert_eq!(at(&report, "/volume").has("nodev"), readonly);
        assert!(!bundle.rootfs().join("made").exists(), "a mount point was made below");
    }
}

#[test]
fn m44_an_empty_root_is_filled_by_what_follows_and_a_link_to_the_root_is_the_root() {
    let stage = Stage::new("mkdir $PLACE/bin");
    fs::copy(spec_conformance::bundle::probe_binary().unwrap(), stage.place().join("bin/probe")).unwrap();
    for destination in ["/", "/way", "/bin/../..", "/tmp/back"] {
        let options = ["noatime", "mode=711"];
        let mounts = [
            json!({"destination": destination, "type": "tmpfs", "source": "above", "options": options}),
            bind(&stage.path("bin"), "/bin", &["bind"]),
        ];
        let bundle = mounted_first(looking(&["/", "/etc"]), mounts).build().unwrap();
        symlink("/", bundle.rootfs().join("way")).unwrap();
        symlink("../../..", bundle.rootfs().join("tmp/back")).unwrap();
        let report = stage.runtime().observe(&bundle).unwrap();
        let root = at(&report, "/");
        assert_eq!((root.source.as_str(), root.has("noatime"), root.has("ro")), ("above", true, true));
        assert_eq!(facts(&report, "/").mode, 0o711);
        assert!(report.paths["/etc"].present().is_none(), "{destination}: the root below is seen");
    }
}

#[test]
fn m43_what_lxcfs_provides_is_mounted_and_other_files_of_proc_are_spared() {
    let stage = Stage::new("echo '7 7' > $PLACE/uptime; mkdir $PLACE/attr");
    let runtime = stage.runtime();
    let uptime = stage.path("uptime");
    let mounts = [
        bind(&uptime, "/proc/uptime", &["bind", "ro"]),
        // Another procfs is nobody's /proc.
        json!({"destination": "/other", "type": "proc"}),
        json!({"destination": "/other/sys", "type": "tmpfs"}),
        // What is on /proc is the config's to say.
        json!({"destination": "/proc", "options": ["remount", "bind", "nosuid"]}),
    ];
    let report = runtime.observe(&mounted(looking(&["/proc/uptime"]), mounts).build().unwrap()).unwrap();
    assert_eq!(text(&report, "/proc/uptime"), "7 7\n");
    assert_eq!(at(&report, "/other/sys").fstype, "tmpfs");
    assert!(at(&report, "/proc").has("nosuid"));
    let named = ["/proc/self/attr", "/proc/sys/kernel", "proc/1/status", "/proc/uptime/../version"];
    for destination in named {
        let source = if destination.ends_with("attr") { stage.path("attr") } else { uptime.clone() };
        let bundle = mounted(Bundle::new(), [bind(&source, destination, &["bind"])]).build().unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{destination}");
        if !destination.contains("..") {
            assert!(finished.stderr.contains("cannot be mounted because it is inside /proc"), "{finished:?}");
            assert!(finished.stderr.contains("/mounts/7/destination"), "{finished:?}");
        }
    }
}

#[test]
fn m43_a_link_of_the_image_does_not_lead_a_mount_into_proc() {
    let stage = Stage::new("echo fake > $PLACE/fake; mkdir $PLACE/attr");
    let runtime = stage.runtime();
    let tmpfs = |destination: &str| json!({"destination": destination, "type": "tmpfs"});
    let cases = [
        ("etc/mtab", "/proc/mounts", bind(&stage.path("fake"), "/etc/mtab", &["bind"])),
        ("etc/self", "../proc/self", bind(&stage.path("attr"), "/etc/self/attr", &["bind"])),
        ("etc/sys", "/proc/sys", tmpfs("/etc/sys/kernel")),
        ("etc/sys", "/proc/sys", json!({"destination": "/etc/sys/fs", "type": "cgroup"})),
    ];
    for (link, target, mount) in cases {
        let bundle = mounted(Bundle::new(), [mount.clone()]).build().unwrap();
        symlink(target, bundle.rootfs().join(link)).unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{mount}");
        assert!(
            finished.stderr.contains("the mount point is inside /proc, by a symbolic link"),
            "{finished:?}"
        );
    }
}

#[test]
fn r_mnt_8_m15_two_thousand_mounts_need_no_more_descriptors_than_one() {
    const COUNT: usize = 2000;
    let stage = Stage::new("mkdir $PLACE/source; echo here > $PLACE/source/file");
    let runtime = stage.runtime_after("ulimit -n 256; exec");
    let source = stage.path("source");
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    for own_users in [false, true] {
        let mounts = (0..COUNT).map(|i| {
            let mut mount = bind(&source, &format!("/many/{i}"), &["bind", "ro"]);
            if own_users && i % 50 == 0 {
                mount["options"] = json!(["bind", "ro", "idmap"]);
            }
            mount
        });
        let bundle = mounted(looking(&["/many/0/file", "/many/1/file", "/many/1999/file"]), mounts);
        let mut bundle = bundle.set("/process/rlimits", json!([]));
        if own_users {
            bundle = bundle
                .push("/linux/namespaces", json!({"type": "user"}))
                .set("/linux/uidMappings", maps.clone())
                .set("/linux/gidMappings", maps.clone());
        }
        let report = runtime.observe(&bundle.build().unwrap()).unwrap();
        let mounted = report.mounts.iter().filter(|mount| mount.point.starts_with("/many/"));
        assert_eq!(mounted.filter(|mount| mount.has("ro")).count(), COUNT);
        assert_eq!(text(&report, "/many/1999/file"), "here\n");
        assert_eq!(report.rlimits["RLIMIT_NOFILE"].soft, 256);
        if own_users {
            // Each source has come to its own mount: every fiftieth is mapped.
            assert_eq!((facts(&report, "/many/0/file").uid, facts(&report, "/many/1/file").uid), (0, 65534));
        }
    }
}

#[test]
fn r_mnt_8_e12_a_source_that_is_missing_late_in_a_long_list_is_named() {
    let stage = Stage::new("mkdir $PLACE/source");
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let source = |i: usize| if i == 99 { "missing" } else { "source" };
    let mounts = (0..120).map(|i| bind(&stage.path(source(i)), &format!("/many/{i}"), &["bind"]));
    let bundle = mounted(Bundle::new(), mounts)
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps);
    let runtime = stage.runtime();
    let (id, bundle) = (runtime.fresh_id(), bundle.build().unwrap());
    let finished = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
    let wanted = format!("mounts[106]: bind {} on /many/99: open_tree: no such file", stage.path("missing"));
    assert!(finished.stderr.contains(&wanted), "{finished:?}");
}
