//! Every option that `features` lists does in a container what it says. Spec: features.md#mountOptions.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use integration_tests::{Stage, runtime};
use serde_json::{Value, json};
use spec_conformance::report::proc_text::Mount;
use spec_conformance::report::{Content, Kind};
use spec_conformance::{Bundle, BundleBuilder, Report};
use tempfile::TempDir;

/// What an option has to bring about.
enum Promise {
    /// A new tmpfs with these options has the last of them in /proc/self/mountinfo, or not.
    Mounted(&'static [&'static str], &'static str, bool),
    /// So has its file system.
    Superblock(&'static [&'static str], &'static str, bool),
    /// A tree with a mount below, which has the second list from the host, has this option throughout, or nowhere.
    Tree(&'static [&'static str], &'static str, bool),
    /// Mounts below come along, or not.
    Below(bool),
    /// How mount events travel: the beginning of what mountinfo says, at the top and below.
    Travel(&'static [&'static str], Option<&'static str>, Option<&'static str>),
    /// It is accepted. The kernel shows it nowhere: a flag of the file system, or the default.
    Accepted,
    /// It has a test below.
    Special(fn(&str)),
}

use Promise::{Accepted, Below, Mounted, Special, Superblock, Travel, Tree};

/// Written down by hand, so that a new option needs a line here.
fn promise(name: &str) -> Promise {
    match name {
        "ro" => Mounted(&["ro"], "ro", true),
        "rw" => Mounted(&["ro", "rw"], "ro", false),
        "nosuid" => Mounted(&["nosuid"], "nosuid", true),
        "suid" => Mounted(&["nosuid", "suid"], "nosuid", false),
        "nodev" => Mounted(&["nodev"], "nodev", true),
        "dev" => Mounted(&["nodev", "dev"], "nodev", false),
        "noexec" => Mounted(&["noexec"], "noexec", true),
        "exec" => Mounted(&["noexec", "exec"], "noexec", false),
        "nodiratime" => Mounted(&["nodiratime"], "nodiratime", true),
        "diratime" => Mounted(&["nodiratime", "diratime"], "nodiratime", false),
        "nosymfollow" => Mounted(&["nosymfollow"], "nosymfollow", true),
        "symfollow" => Mounted(&["nosymfollow", "symfollow"], "nosymfollow", false),
        "noatime" => Mounted(&["noatime"], "noatime", true),
        "atime" => Mounted(&["noatime", "atime"], "noatime", false),
        "relatime" => Mounted(&["noatime", "relatime"], "relatime", true),
        "norelatime" => Mounted(&["noatime", "norelatime"], "noatime", true),
        "strictatime" => Mounted(&["strictatime"], "relatime", false),
        "nostrictatime" => Mounted(&["strictatime", "nostrictatime"], "relatime", true),
        "sync" | "rsync" => Superblock(&["sync"], "sync", true),
        "async" => Superblock(&["sync", "async"], "sync", false),
        "rasync" => Superblock(&["rsync", "rasync"], "sync", false),
        "dirsync" => Superblock(&["dirsync"], "dirsync", true),
        "rdirsync" => Superblock(&["rdirsync"], "dirsync", true),
        "lazytime" => Superblock(&["lazytime"], "lazytime", true),
        "nolazytime" => Superblock(&["lazytime", "nolazytime"], "lazytime", false),
        "mand" => Superblock(&["mand"], "mand", true),
        "rmand" => Superblock(&["rmand"], "mand", true),
        "nomand" => Superblock(&["mand", "nomand"], "mand", false),
        "rnomand" => Superblock(&["rmand", "rnomand"], "mand", false),
        "rro" => Tree(&["rw"], "ro", true),
        "rrw" => Tree(&["ro"], "ro", false),
        "rnosuid" => Tree(&["suid"], "nosuid", true),
        "rsuid" => Tree(&["nosuid"], "nosuid", false),
        "rnodev" => Tree(&["dev"], "nodev", true),
        "rdev" => Tree(&["nodev"], "nodev", false),
        "rnoexec" => Tree(&["exec"], "noexec", true),
        "rexec" => Tree(&["noexec"], "noexec", false),
        "rnodiratime" => Tree(&["diratime"], "nodiratime", true),
        "rdiratime" => Tree(&["nodiratime"], "nodiratime", false),
        "rnosymfollow" => Tree(&["rw"], "nosymfollow", true),
        "rsymfollow" => Tree(&["nosymfollow"], "nosymfollow", false),
        "rnoatime" => Tree(&["relatime"], "noatime", true),
        "ratime" => Tree(&["noatime"], "noatime", false),
        "rrelatime" => Tree(&["noatime"], "relatime", true),
        "rnorelatime" => Tree(&["noatime"], "noatime", false),
        "rstrictatime" => Tree(&["noatime"], "relatime", false),
        "rnostrictatime" => Tree(&["strictatime"], "relatime", true),
        "bind" => Below(false),
        "rbind" => Below(true),
        "shared" => Travel(&["shared"], Some("shared:"), None),
        "rshared" => Travel(&["rshared"], Some("shared:"), Some("shared:")),
        "slave" => Travel(&["rshared", "slave"], None, Some("shared:")),
        "rslave" => Travel(&["rshared", "rslave"], None, None),
        "private" => Travel(&["rshared", "private"], None, Some("shared:")),
        "rprivate" => Travel(&["rshared", "rprivate"], None, None),
        "unbindable" => Travel(&["unbindable"], Some("unbindable"), None),
        "runbindable" => Travel(&["runbindable"], Some("unbindable"), Some("unbindable")),
        "silent" | "loud" | "iversion" | "noiversion" | "defaults" => Accepted,
        "remount" => Special(remount),
        "idmap" | "ridmap" => Special(idmap),
        "tmpcopyup" => Special(copy_up),
        "copy-symlink" | "src-nofollow" => Special(link),
        "dest-nofollow" => Special(on_link),
        _ => panic!("{name} is listed, and nobody knows what it has to do"),
    }
}

#[test]
fn m47_every_listed_option_does_what_it_says() {
    let features = runtime().call(["features"]).unwrap().success().unwrap().stdout;
    let features: Value = serde_json::from_str(&features).unwrap();
    let names: Vec<&str> =
        features["mountOptions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.len() > 60 && names.is_sorted(), "{names:?}");
    for name in names {
        match promise(name) {
            Mounted(options, shown, expected) => {
                assert_eq!(tmpfs(options).has(shown), expected, "{name}");
            }
            Superblock(options, shown, expected) => {
                let mount = tmpfs(options);
                assert_eq!(
                    mount.super_options.iter().any(|option| option == shown),
                    expected,
                    "{name}: {mount:?}"
                );
            }
            Tree(from, shown, expected) => {
                let (top, below) = tree(&["rbind", name], from);
                assert_eq!((top.has(shown), below.unwrap().has(shown)), (expected, expected), "{name}");
            }
            Below(expected) => assert_eq!(tree(&[name], &["rw"]).1.is_some(), expected, "{name}"),
            Travel(options, top, below) => {
                let options: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
                let (at, sub) = tree(&options, &["rw"]);
                assert!(travels(&at, top), "{name}: {at:?}");
                assert!(travels(sub.as_ref().unwrap(), below), "{name}: {sub:?}");
            }
            Accepted => drop(tmpfs(&[name])),
            Special(test) => test(name),
        }
    }
}

fn travels(mount: &Mount, expected: Option<&str>) -> bool {
    // Shared ones that become slaves of nobody are private.
    match expected {
        Some(start) => mount.propagation.iter().any(|field| field.starts_with(start)),
        None => mount.propagation.is_empty(),
    }
}

fn with(mount: Value) -> BundleBuilder {
    Bundle::new()
        .set("/root/readonly", json!(false))
        .args(["/bin/probe", "report", "--stat", "/at"])
        .push("/mounts", mount)
}

fn report(bundle: &Bundle) -> Report {
    runtime().run(bundle).unwrap().success().unwrap().report().unwrap()
}

fn tmpfs(options: &[&str]) -> Mount {
    let mount = json!({"destination": "/at", "type": "tmpfs", "source": "tmpfs", "options": options});
    report(&with(mount).build().unwrap()).mount("/at").unwrap().clone()
}

/// A bind mount of a directory of the host, and what is mounted below it there with these options.
fn tree(options: &[&str], from: &[&str]) -> (Mount, Option<Mount>) {
    let host = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("sub")).unwrap();
    let place = host.path().display();
    let stage = Stage::new(&format!("mount -t tmpfs -o {} none {place}/sub", from.join(",")));
    let mount = json!({"destination": "/at", "source": host.path(), "options": options});
    let bundle = with(mount).build().unwrap();
    let report = stage.runtime().run(&bundle).unwrap().success().unwrap().report().unwrap();
    (report.mount("/at").unwrap().clone(), report.mount("/at/sub").cloned())
}

fn remount(name: &str) {
    let first = json!({"destination": "/at", "type": "tmpfs", "options": ["size=64k"]});
    let bundle = with(first).push("/mounts", json!({"destination": "/at", "options": [name, "ro"]}));
    let report = report(&bundle.build().unwrap());
    assert_eq!(report.mounts.iter().filter(|mount| mount.point == "/at").count(), 1);
    assert!(report.mount("/at").unwrap().has("ro"));
}

fn idmap(name: &str) {
    let ids = json!([{"containerID": 0, "hostID": 7, "size": 1}]);
    let mount = json!({"destination": "/at", "type": "tmpfs", "options": [name], "uidMappings": ids, "gidMappings": ids});
    let report = report(&with(mount).build().unwrap());
    assert_eq!(report.paths["/at"].present().unwrap().uid, 7);
}

fn copy_up(name: &str) {
    let mount = json!({"destination": "/at", "type": "tmpfs", "options": [name]});
    let report = report(&with(mount).file("/at/file", "").build().unwrap());
    let content = &report.paths["/at"].present().unwrap().content;
    assert_eq!(*content, Ok(Content::Names(vec!["file".into()])));
}

fn host_with_link() -> TempDir {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "").unwrap();
    symlink("file", host.path().join("link")).unwrap();
    host
}

fn link(name: &str) {
    let host = host_with_link();
    let mount = json!({"destination": "/at", "source": host.path().join("link"), "options": ["bind", name]});
    let report = report(&with(mount).build().unwrap());
    assert_eq!(report.paths["/at"].present().unwrap().kind, Kind::Symlink);
    assert_eq!(report.mount("/at").is_some(), name == "src-nofollow");
}

fn on_link(name: &str) {
    let host = host_with_link();
    let mount = json!({"destination": "/at", "source": host.path().join("file"), "options": ["bind", name]});
    let bundle = with(mount).build().unwrap();
    symlink(Path::new("tmp"), bundle.rootfs().join("at")).unwrap();
    assert_eq!(report(&bundle).paths["/at"].present().unwrap().kind, Kind::File);
}
