//! Device nodes, listed and default, and the links of /dev: what is made, and what may be there before.
//! Spec: config-linux.md#devices, config-linux.md#default-devices, runtime-linux.md#dev-symbolic-links.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use integration_tests::{Stage, VERSION_2_ALONE, Wrapped, facts, looking, mounted};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use spec_conformance::report::{Content, Kind};
use spec_conformance::{Bundle, BundleBuilder, Exit};

/// Path, major and minor number of what every container has.
const DEFAULT: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes something at a path.
type Make<'a> = &'a dyn Fn(&Path);

fn listing(bundle: BundleBuilder, devices: &[Value]) -> BundleBuilder {
    bundle.set("/linux/devices", json!(devices))
}

/// The default mounts without those on or below /dev.
fn without_dev(bundle: BundleBuilder) -> BundleBuilder {
    let config = spec_conformance::bundle::default_config();
    let mounts = config["mounts"].as_array().unwrap().iter();
    let kept: Vec<_> =
        mounts.filter(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev")).cloned().collect();
    bundle.set("/mounts", json!(kept))
}

fn make_node(path: &Path, kind: SFlag, major: u64, minor: u64) {
    mknod(path, kind, Mode::from_bits_truncate(0o640), makedev(major, minor)).unwrap();
}

#[test]
fn d01_d02_d03_every_type_is_made_anywhere_with_its_mode_and_owner() {
    let stage = Stage::new(":");
    let devices = [
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 5, "gid": 6}),
        json!({"path": "/opt/new/block", "type": "b", "major": 7, "minor": 250, "fileMode": 0o060_660, "gid": 6}),
        json!({"path": "/opt/unbuffered", "type": "u", "major": 1, "minor": 5}),
        json!({"path": "/opt/fifo", "type": "p", "fileMode": 0o602, "uid": 7}),
        json!({"path": "/opt/set-id", "type": "c", "major": 1, "minor": 3, "fileMode": 0o6751, "uid": 5, "gid": 6}),
        json!({"path": "/opt/large", "type": "c", "major": 4095, "minor": 1_048_575, "fileMode": 0}),
        json!({"path": "/given/by/directory", "type": "c", "major": 1, "minor": 3}),
        json!({"path": "/link/behind", "type": "c", "major": 1, "minor": 3}),
    ];
    let paths = devices.iter().map(|device| device["path"].as_str().unwrap()).chain(["/real/behind"]);
    let paths: Vec<&str> = paths.collect();
    let bundle = listing(looking(&paths), &devices).file("/given/by/file", "").file("/real/file", "");
    let bundle = bundle.build().unwrap();
    // What is made in a directory with the set-group-id bit would get its group.
    chown(bundle.rootfs().join("given/by"), Some(0), Some(77)).unwrap();
    fs::set_permissions(bundle.rootfs().join("given/by"), fs::Permissions::from_mode(0o2777)).unwrap();
    symlink("/real", bundle.rootfs().join("link")).unwrap();
    let report = stage.runtime_after("umask 077; exec").observe(&bundle).unwrap();
    let seen = |path| {
        let facts = facts(&report, path);
        (facts.kind, facts.device, facts.mode, facts.uid, facts.gid)
    };
    assert_eq!(seen("/dev/fuse"), (Kind::Character, Some((10, 229)), 0o600, 5, 6));
    assert_eq!(seen("/opt/new/block"), (Kind::Block, Some((7, 250)), 0o660, 0, 6));
    assert_eq!(seen("/opt/unbuffered"), (Kind::Character, Some((1, 5)), 0o666, 0, 0));
    assert_eq!(seen("/opt/fifo"), (Kind::Fifo, None, 0o602, 7, 0));
    assert_eq!(seen("/opt/set-id"), (Kind::Character, Some((1, 3)), 0o6751, 5, 6));
    assert_eq!(seen("/opt/large"), (Kind::Character, Some((4095, 1_048_575)), 0, 0, 0));
    assert_eq!(seen("/given/by/directory"), (Kind::Character, Some((1, 3)), 0o666, 0, 0));
    assert_eq!(seen("/real/behind"), (Kind::Character, Some((1, 3)), 0o666, 0, 0));
}

#[test]
fn d04_what_is_there_already_and_matches_stays_as_it_is() {
    let stage = Stage::new(":");
    let devices = [
        json!({"path": "/opt/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 5}),
        json!({"path": "/opt/block", "type": "b", "major": 7, "minor": 250}),
        json!({"path": "/opt/fifo", "type": "p"}),
    ];
    let bundle = listing(looking(&["/opt/null", "/opt/block", "/opt/fifo"]), &devices).file("/opt/file", "");
    let bundle = bundle.build().unwrap();
    let place = bundle.rootfs().join("opt");
    make_node(&place.join("null"), SFlag::S_IFCHR, 1, 3);
    make_node(&place.join("block"), SFlag::S_IFBLK, 7, 250);
    make_node(&place.join("fifo"), SFlag::S_IFIFO, 0, 0);
    chown(place.join("null"), Some(9), Some(9)).unwrap();
    let runtime = stage.runtime();
    // The second time, too, on what is left from the first.
    for _ in 0..2 {
        let report = runtime.observe(&bundle).unwrap();
        assert_eq!(facts(&report, "/opt/null").device, Some((1, 3)));
        assert_eq!((facts(&report, "/opt/null").uid, facts(&report, "/opt/null").gid), (9, 9));
        assert_eq!(
            (facts(&report, "/opt/block").kind, facts(&report, "/opt/fifo").kind),
            (Kind::Block, Kind::Fifo)
        );
    }
}

#[test]
fn d05_e20_what_is_there_already_and_is_something_else_is_an_error() {
    let stage = Stage::new(":");
    let runtime = stage.runtime();
    let character = json!({"path": "/opt/node", "type": "c", "major": 1, "minor": 3});
    let fifo = json!({"path": "/opt/node", "type": "p"});
    let null = |path: &Path| make_node(path, SFlag::S_IFCHR, 1, 3);
    let cases: [(&str, &Value, Make<'_>); 9] = [
        ("another type", &character, &|path| make_node(path, SFlag::S_IFBLK, 1, 3)),
        ("another number", &character, &|path| make_node(path, SFlag::S_IFCHR, 1, 5)),
        ("a file", &character, &|path| fs::write(path, "").unwrap()),
        ("a directory", &character, &|path| fs::create_dir(path).unwrap()),
        ("a dangling link", &character, &|path| symlink("nothing", path).unwrap()),
        ("a fifo", &character, &|path| make_node(path, SFlag::S_IFIFO, 0, 0)),
        ("a device for a fifo", &fifo, &null),
        ("a file for a fifo", &fifo, &|path| fs::write(path, "").unwrap()),
        ("a link to the device itself", &character, &|path| {
            null(&path.with_file_name("real"));
            symlink("real", path).unwrap();
        }),
    ];
    for (what, device, make) in cases {
        let bundle =
            listing(Bundle::new(), std::slice::from_ref(device)).file("/opt/file", "").build().unwrap();
        make(&bundle.rootfs().join("opt/node"));
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{what}: {finished:?}");
        assert!(finished.stderr.contains("/opt/node: mknod: file exists"), "{what}: {finished:?}");
        assert!(finished.stderr.contains("there is a file that is not this device"), "{what}: {finished:?}");
    }
    // A path that cannot be: below a file, and the root itself.
    for path in ["/etc/file/node", "/", "/etc/.."] {
        let device = json!({"path": path, "type": "c", "major": 1, "minor": 3});
        let finished =
            runtime.run(&listing(Bundle::new(), &[device]).file("/etc/file", "").build().unwrap()).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{path}: {finished:?}");
    }
}

#[test]
fn d06_n16_default_devices_and_links_are_everybodys_and_no_console_without_a_terminal() {
    let stage = Stage::new(":");
    let paths: Vec<&str> =
        DEFAULT.iter().map(|device| device.0).chain(LINKS.iter().map(|link| link.0)).collect();
    let with_console = [paths.as_slice(), &["/dev/console", "/dev/fd/0"]].concat();
    for bundle in [looking(&with_console), without_dev(looking(&with_console))] {
        let report = stage.runtime_after("umask 077; exec").observe(&bundle.build().unwrap()).unwrap();
        for (path, major, minor) in DEFAULT {
            let seen = facts(&report, path);
            assert_eq!((seen.kind, seen.device), (Kind::Character, Some((major, minor))), "{path}");
            assert_eq!((seen.mode, seen.uid, seen.gid), (0o666, 0, 0), "{path}");
        }
        for (path, target) in LINKS {
            assert_eq!(facts(&report, path).target.as_deref(), Some(target), "{path}");
        }
        assert!(report.paths["/dev/fd/0"].present().is_some(), "/dev/fd leads nowhere");
        assert!(report.paths["/dev/console"].present().is_none());
    }
}

#[test]
fn n16_files_in_the_places_of_links_stay_and_only_ptmx_is_replaced() {
    let stage = Stage::new(":");
    let paths = ["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/ptmx"];
    let bundle = without_dev(looking(&paths)).file("/dev/fd", "a file").build().unwrap();
    let dev = bundle.rootfs().join("dev");
    symlink("elsewhere", dev.join("stdin")).unwrap();
    fs::create_dir(dev.join("stdout")).unwrap();
    make_node(&dev.join("ptmx"), SFlag::S_IFCHR, 5, 2);
    let report = stage.runtime().observe(&bundle).unwrap();
    assert_eq!(facts(&report, "/dev/fd").content, Ok(Content::Bytes("a file".to_owned())));
    assert_eq!(facts(&report, "/dev/stdin").target.as_deref(), Some("elsewhere"));
    assert_eq!(facts(&report, "/dev/stdout").kind, Kind::Directory);
    assert_eq!(facts(&report, "/dev/stderr").target.as_deref(), Some("/proc/self/fd/2"));
    // The image's node would be the host's multiplexer.
    assert_eq!(facts(&report, "/dev/ptmx").target.as_deref(), Some("pts/ptmx"));
}

#[test]
fn n16_without_proc_the_links_are_there_for_whoever_mounts_it() {
    let stage = Stage::new(":");
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "readlink /dev/fd; readlink /dev/stdin"])
        .set("/mounts", json!([{"destination": "/dev", "type": "tmpfs"}]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let finished = stage.runtime().run(&bundle.build().unwrap()).unwrap().success().unwrap();
    assert_eq!(finished.stdout, "/proc/self/fd\n/proc/self/fd/0\n");
}

#[test]
fn d06_a_default_device_may_be_listed_with_a_mode_of_its_own() {
    let stage = Stage::new(":");
    let device =
        json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o440, "gid": 8});
    let report =
        stage.runtime().observe(&listing(looking(&["/dev/zero"]), &[device]).build().unwrap()).unwrap();
    assert_eq!((facts(&report, "/dev/zero").mode, facts(&report, "/dev/zero").gid), (0o440, 8));
}

#[test]
fn d07_no_rule_takes_the_default_devices_away() {
    let stage = Stage::new(":");
    let runtime = stage.runtime();
    let deny = |kind: &str, major: u64, minor: u64| json!({"allow": false, "type": kind, "major": major, "minor": minor, "access": "rwm"});
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(DEFAULT.iter().map(|(_, major, minor)| deny("c", *major, *minor)));
    // The multiplexer of terminals and the terminals.
    rules.extend([deny("c", 5, 2), json!({"allow": false, "type": "c", "major": 136, "access": "rwm"})]);
    let script = "for name in null zero full random urandom tty ptmx; do echo $name $(probe open-write /dev/$name); done
                  echo fuse $(probe open-write /opt/fuse)";
    let fuse = json!({"path": "/opt/fuse", "type": "c", "major": 10, "minor": 229});
    let bundle = listing(Bundle::new(), &[fuse])
        .with_busybox()
        .args(["/bin/sh", "-c", script])
        .set("/linux/resources/devices", json!(rules));
    let finished = runtime.run(&bundle.build().unwrap()).unwrap().success().unwrap();
    // There is no terminal for /dev/tty to be, which is not the same as not being allowed.
    let wanted = "null ok\nzero ok\nfull ok\nrandom ok\nurandom ok\ntty ENXIO\nptmx ok\nfuse EPERM\n";
    assert_eq!(finished.stdout, wanted);
}

#[test]
fn d02_a_bound_dev_is_left_alone_and_devices_elsewhere_are_made() {
    let stage = Stage::new("mkdir $PLACE/dev; mknod -m 644 $PLACE/dev/null c 1 3");
    let devices = [
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}),
        json!({"path": "/opt/fuse", "type": "c", "major": 10, "minor": 229}),
    ];
    let dev = json!({"destination": "/dev", "source": stage.path("dev"), "options": ["bind"]});
    let bundle = listing(without_dev(looking(&["/dev", "/opt/fuse"])), &devices).push("/mounts", dev);
    let report = stage.runtime().observe(&bundle.build().unwrap()).unwrap();
    assert_eq!(facts(&report, "/dev").content, Ok(Content::Names(vec!["null".to_owned()])));
    assert_eq!(facts(&report, "/opt/fuse").device, Some((10, 229)));
}

#[test]
fn d06_devices_are_in_the_dev_that_is_seen_whatever_was_mounted_on_it_by_another_name() {
    // Where the network is made beside the mounts, devices are made before those that wait for it.
    let alone = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    let paths: Vec<_> = DEFAULT.iter().map(|(path, ..)| *path).chain(["/dev/second"]).collect();
    for (link, to) in [("again", "/dev"), ("whole", "/")] {
        let mounts = [
            json!({"destination": format!("/{link}"), "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
            json!({"destination": "/dev/second", "type": "tmpfs", "source": "tmpfs"}),
        ];
        let bundle = mounted(looking(&paths), mounts).build().unwrap();
        symlink(to, bundle.rootfs().join(link)).unwrap();
        let runtime = alone.runtime();
        if to == "/" {
            // The program is not on what is the root now.
            let id = runtime.fresh_id();
            let finished =
                runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
            assert!(finished.stderr.contains("\"/bin/probe\""), "{}", finished.stderr);
            continue;
        }
        let report = runtime.observe(&bundle).unwrap();
        for (path, major, minor) in DEFAULT {
            assert_eq!(facts(&report, path).device, Some((major, minor)), "{path}");
        }
        assert_eq!(facts(&report, "/dev/second").kind, Kind::Directory);
    }
}
