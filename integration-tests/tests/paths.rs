//! The root, and paths that are masked or read-only: whatever there is at the path.
//! Spec: config.md#root, config-linux.md#masked-paths, config-linux.md#readonly-paths.

use std::fs;
use std::os::unix::fs::symlink;

use integration_tests::{Stage, facts, looking, runtime};
use serde_json::{Value, json};
use spec_conformance::report::{Content, Kind, PathFacts};
use spec_conformance::{Bundle, BundleBuilder, Exit};

fn is_masked(facts: &PathFacts) -> bool {
    match facts.kind {
        Kind::Directory => {
            facts.content == Ok(Content::Names(Vec::new())) && facts.write == Err("EROFS".to_owned())
        }
        _ => facts.device == Some((1, 3)),
    }
}

#[test]
fn n10_every_kind_of_path_is_masked_and_a_missing_one_ignored() {
    let stage = Stage::new(
        "mkdir $PLACE/ro $PLACE/ro/directory; echo secret > $PLACE/ro/file; echo secret > $PLACE/ro/directory/file
         mkfifo $PLACE/ro/fifo",
    );
    let masked = [
        "/a/file",
        "/a/directory",
        "/ro/file",
        "/ro/directory",
        "/ro/fifo",
        "/proc/version",
        "/proc/sys/kernel",
        "/sys/kernel",
        "/dev/zero",
        "/b/real-file",
        "/b/real-directory",
    ];
    let listed = [
        &masked[..9],
        // By links: what they lead to is masked, inside the root.
        &["/b/link-to-file", "/b/absolute-link", "/b/link-out"],
        // Missing, in several ways, and twice.
        &["/missing", "/a/file/below", "/b/dangling", "/proc/no-such-file", "/proc/999999/stat", "/a/file"],
    ];
    let mut seen = masked.to_vec();
    seen.extend(["/a/free", "/a/another/file", "/b/link-to-file"]);
    let bundle = looking(&seen)
        .push("/mounts", json!({"destination": "/ro", "source": stage.path("ro"), "options": ["bind", "ro"]}))
        .set("/linux/maskedPaths", json!(listed.concat()))
        .file("/a/file", "secret")
        .file("/a/directory/file", "secret")
        .file("/a/another/file", "free")
        .file("/a/free", "free")
        .file("/b/real-file", "secret")
        .file("/b/real-directory/file", "secret")
        .build()
        .unwrap();
    let rootfs = bundle.rootfs();
    symlink("real-file", rootfs.join("b/link-to-file")).unwrap();
    symlink("/b/real-directory", rootfs.join("b/absolute-link")).unwrap();
    symlink("nothing", rootfs.join("b/dangling")).unwrap();
    symlink("/../../../../../../../../../../etc/hostname", rootfs.join("b/link-out")).unwrap();
    let report = stage.runtime().observe(&bundle).unwrap();
    for path in masked {
        assert!(is_masked(facts(&report, path)), "{path}: {:?}", facts(&report, path));
    }
    for path in ["/a/free", "/a/another/file"] {
        assert_eq!(facts(&report, path).content, Ok(Content::Bytes("free".to_owned())));
    }
    assert_eq!(facts(&report, "/b/link-to-file").kind, Kind::Symlink);
    // One tmpfs for all directories, which cannot be used for anything.
    let empty: Vec<_> =
        report.mounts.iter().filter(|m| m.point == "/a/directory" || m.point == "/sys/kernel").collect();
    assert_eq!((empty.len(), &empty[0].device), (2, &empty[1].device));
    assert!(
        empty.iter().all(|m| ["ro", "nosuid", "nodev", "noexec"].iter().all(|flag| m.has(flag))),
        "{empty:?}"
    );
}

#[test]
fn n10_five_hundred_masked_paths_are_one_file_system() {
    let paths: Vec<String> = (0..512).map(|i| format!("/many/{i}")).collect();
    let mut bundle = Bundle::new().set("/linux/maskedPaths", json!([paths.clone(), paths].concat()));
    for i in 0..256 {
        bundle = bundle.file(format!("/many/{}/file", 2 * i), "secret");
    }
    let report = runtime().observe(&bundle.build().unwrap()).unwrap();
    let masks: Vec<_> = report.mounts.iter().filter(|mount| mount.point.starts_with("/many/")).collect();
    assert_eq!(masks.len(), 256);
    assert!(masks.iter().all(|mask| mask.device == masks[0].device));
}

#[test]
fn n11_a_read_only_path_keeps_the_flags_of_what_it_covers_and_what_is_below_its_own() {
    let stage = Stage::new(
        "mkdir $PLACE/tree; mount -t tmpfs -o nosuid,noexec,nodev,noatime,nosymfollow tree $PLACE/tree
         mkdir $PLACE/tree/fixed $PLACE/tree/fixed/below $PLACE/tree/free; echo x > $PLACE/tree/file
         mount -t tmpfs below $PLACE/tree/fixed/below",
    );
    let paths = ["/tree/fixed", "/tree/fixed/below", "/tree/file", "/tree/free"];
    let bundle = looking(&paths)
        .push("/mounts", json!({"destination": "/tree", "source": stage.path("tree"), "options": ["rbind"]}))
        .set(
            "/linux/readonlyPaths",
            json!(["/tree/fixed", "/tree/file", "/proc/sys", "/missing", "/tree/file/x"]),
        );
    let report = stage.runtime().observe(&bundle.build().unwrap()).unwrap();
    for path in ["/tree/fixed", "/tree/file"] {
        let mount = report.mount(path).unwrap();
        for flag in ["ro", "nosuid", "noexec", "nodev", "noatime", "nosymfollow"] {
            assert!(mount.has(flag), "{path}: {flag}: {mount:?}");
        }
        assert_eq!(facts(&report, path).write, Err("EROFS".to_owned()));
    }
    // Not recursive, as in other runtimes: a volume below stays what the config makes it.
    assert_eq!(
        report.mount("/tree/fixed/below").map(|mount| (mount.source.as_str(), mount.has("ro"))),
        Some(("below", false))
    );
    assert_eq!(facts(&report, "/tree/fixed/below").write, Ok(()));
    assert_eq!(facts(&report, "/tree/free").write, Ok(()));
    assert!(report.mount("/proc/sys").unwrap().has("ro"));
}

#[test]
fn n11_a_read_only_path_behind_a_link_is_what_the_link_leads_to_inside_the_root() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "the host's").unwrap();
    let runtime = runtime();
    let bundle = looking(&["/real", "/real/file", "/free"])
        .set("/root/readonly", json!(false))
        .set("/linux/readonlyPaths", json!(["/link", "/up", "/out", "/loop", "/free/../dangling"]))
        .file("/real/file", "")
        .file("/free", "")
        .build()
        .unwrap();
    let rootfs = bundle.rootfs();
    symlink("real", rootfs.join("link")).unwrap();
    symlink(place.path(), rootfs.join("out")).unwrap();
    symlink("../../../../../../real/file", rootfs.join("up")).unwrap();
    let report = runtime.observe(&bundle).unwrap();
    for path in ["/real", "/real/file"] {
        assert_eq!(facts(&report, path).write, Err("EROFS".to_owned()), "{path}");
    }
    assert_eq!(facts(&report, "/free").write, Ok(()));
    fs::write(place.path().join("file"), "still writable").unwrap();
    // A loop is no missing path.
    symlink("loop", rootfs.join("loop")).unwrap();
    let finished = runtime.run(&bundle).unwrap();
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("/loop"), "{finished:?}");
}

/// The bundle's root file system under another path.
fn with_root(path: Value) -> BundleBuilder {
    looking(&["/marker"]).set("/root/path", path)
}

#[test]
fn r01_the_root_is_found_by_every_path_that_leads_to_a_directory() {
    let stage = Stage::new("mkdir $PLACE/elsewhere");
    let runtime = stage.runtime();
    for path in ["moved", "./moved/", "moved/../moved", "link", "ABSOLUTE", "."] {
        let absolute = stage.path("elsewhere/rootfs");
        let named = if path == "ABSOLUTE" { &absolute } else { path };
        let bundle = with_root(json!(named)).file("/marker", path).build().unwrap();
        let (rootfs, moved) = (bundle.rootfs(), bundle.path().join("moved"));
        match path {
            "ABSOLUTE" => {
                drop(stage.shell(&format!("rm -rf {absolute}; mv {} {absolute}", rootfs.display())))
            }
            "." => stage.shell(&format!("mv {}/* {}", rootfs.display(), bundle.path().display())).clear(),
            _ => fs::rename(rootfs, moved).unwrap(),
        }
        symlink("moved", bundle.path().join("link")).unwrap();
        let report = runtime.observe(&bundle).unwrap();
        assert_eq!(facts(&report, "/marker").content, Ok(Content::Bytes(path.to_owned())), "{path}");
    }
}

#[test]
fn r01_e12_a_root_that_is_missing_or_no_directory_is_an_error_that_names_it() {
    let runtime = runtime();
    for (path, why) in [
        ("missing", "no such file or directory"),
        ("file", "not a directory"),
        ("dangling", "no such file or directory"),
        ("/nowhere/at/all", "no such file or directory"),
        ("file/below", "not a directory"),
        ("loop", "too many symbolic links"),
    ] {
        let bundle = with_root(json!(path)).build().unwrap();
        fs::write(bundle.path().join("file"), "").unwrap();
        symlink("nothing", bundle.path().join("dangling")).unwrap();
        symlink("loop", bundle.path().join("loop")).unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{path}");
        let named = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", bundle.path().display())
        };
        assert!(finished.stderr.contains(&named) && finished.stderr.contains(why), "{path}: {finished:?}");
    }
}

#[test]
fn r02_a_read_only_root_leaves_its_mounts_as_they_are() {
    for readonly in [json!(true), json!(false), Value::Null] {
        let bundle = looking(&["/", "/volume", "/file"])
            .set("/root/readonly", readonly.clone())
            .push("/mounts", json!({"destination": "/volume", "type": "tmpfs"}))
            .file("/file", "");
        let bundle = if readonly.is_null() { bundle.remove("/root/readonly") } else { bundle };
        let report = runtime().observe(&bundle.build().unwrap()).unwrap();
        let wanted = if readonly == json!(true) { Err("EROFS".to_owned()) } else { Ok(()) };
        assert_eq!(
            (&facts(&report, "/").write, &facts(&report, "/file").write),
            (&wanted, &wanted),
            "{readonly}"
        );
        assert_eq!(facts(&report, "/volume").write, Ok(()));
    }
}

#[test]
fn r03_a_root_whose_path_is_another_directory_by_now_is_still_the_one_that_was_found() {
    let place = tempfile::tempdir().unwrap();
    let runtime = runtime();
    // The hooks run when the root is built, and before and while it is changed into.
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let trap = place.path().join(kind);
        fs::create_dir(&trap).unwrap();
        fs::write(trap.join("marker"), "a trap").unwrap();
        let bundle = looking(&["/marker", "/proc/self/exe"]).file("/marker", "the root").build().unwrap();
        let rootfs = bundle.rootfs();
        // In a namespace of the hook's own its mount is not in the way of the rename.
        let script = format!(
            "exec unshare -m sh -c 'umount -l {root} 2>/dev/null; mv {root} {root}.gone && ln -s {trap} {root}'",
            root = rootfs.display(),
            trap = trap.display()
        );
        let mut config = bundle.config().clone();
        config["hooks"] = json!({ kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}] });
        let mut bundle = bundle;
        bundle.write(config).unwrap();
        let report = runtime.observe(&bundle).unwrap();
        assert!(fs::symlink_metadata(&rootfs).unwrap().is_symlink(), "{kind}: the hook did nothing");
        assert_eq!(facts(&report, "/marker").content, Ok(Content::Bytes("the root".to_owned())), "{kind}");
        assert_eq!(fs::read_dir(&trap).unwrap().count(), 1, "{kind}: something was made in the trap");
    }
}
