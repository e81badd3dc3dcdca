//! Symbolic links at either end of a bind mount: copied, bound, mounted on. What crun has and podman asks for.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use integration_tests::runtime;
use serde_json::{Value, json};
use spec_conformance::report::{Content, Kind, PathFacts};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished};
use tempfile::TempDir;

/// A directory of the host: a file, a directory, and links to both and to nothing.
fn host() -> TempDir {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "of the host").unwrap();
    fs::create_dir(host.path().join("directory")).unwrap();
    for target in ["file", "directory", "nowhere"] {
        symlink(target, host.path().join(format!("to-{target}"))).unwrap();
    }
    host
}

fn bind(source: &Path, options: &[&str]) -> BundleBuilder {
    Bundle::new()
        .set("/root/readonly", json!(false))
        .args(["/bin/probe", "report", "--stat", "/at", "--stat", "/inside"])
        .push("/mounts", json!({"destination": "/at", "source": source, "options": options}))
}

/// With a user namespace, and without.
fn both(builder: BundleBuilder) -> [BundleBuilder; 2] {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let user = json!({"type": "user"});
    let mapped = builder.clone().push("/linux/namespaces", user);
    [builder, mapped.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)]
}

fn run(bundle: &Bundle) -> Finished {
    let runtime = runtime();
    let id = runtime.fresh_id();
    let finished = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
    finished
}

/// What is at /at, and the last mount on it.
fn at(finished: Finished) -> (PathFacts, Option<String>) {
    let report = finished.success().unwrap().report().unwrap();
    let mount = report.mount("/at").map(|mount| mount.root.clone());
    (report.paths["/at"].present().unwrap().clone(), mount)
}

fn refused(bundle: &Bundle, words: &str) {
    let finished = run(bundle);
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("on /at") && finished.stderr.contains(words), "{finished:?}");
}

fn text(words: &str) -> Result<Content, String> {
    Ok(Content::Bytes(words.into()))
}

#[test]
fn m36_a_link_is_copied_whatever_it_leads_to_and_anything_else_is_bound() {
    let host = host();
    // Only root gets there: it is the runtime that looks.
    fs::set_permissions(host.path(), fs::Permissions::from_mode(0o700)).unwrap();
    for target in ["file", "directory", "nowhere"] {
        for builder in both(bind(&host.path().join(format!("to-{target}")), &["bind", "ro", "copy-symlink"]))
        {
            let bundle = builder.build().unwrap();
            // The second time it is there already.
            for _ in 0..2 {
                let (facts, mount) = at(run(&bundle));
                assert_eq!((facts.kind, facts.target.as_deref(), mount), (Kind::Symlink, Some(target), None));
            }
        }
    }
    for builder in both(bind(&host.path().join("file"), &["bind", "copy-symlink"])) {
        assert_eq!(at(run(&builder.build().unwrap())).0.content, text("of the host"));
    }
}

#[test]
fn m36_something_else_at_the_destination_is_an_error_and_stays() {
    let host = host();
    let bundle =
        bind(&host.path().join("to-file"), &["bind", "copy-symlink"]).file("/at", "of the image").build();
    let bundle = bundle.unwrap();
    refused(&bundle, "something else than this link");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("at")).unwrap(), "of the image");
    fs::remove_file(bundle.rootfs().join("at")).unwrap();
    symlink("file2", bundle.rootfs().join("at")).unwrap();
    refused(&bundle, "something else than this link");
    let missing = bind(&host.path().join("missing"), &["bind", "copy-symlink"]).build().unwrap();
    refused(&missing, "no such file or directory");
}

#[test]
fn m36_x_a_copied_link_is_made_inside_the_root() {
    let host = host();
    let canary = tempfile::tempdir().unwrap();
    let mount = json!({"destination": "/way/out", "source": host.path().join("to-file"), "options": ["bind", "copy-symlink"]});
    let bundle = Bundle::new().set("/root/readonly", json!(false)).push("/mounts", mount).build().unwrap();
    symlink(canary.path(), bundle.rootfs().join("way")).unwrap();
    run(&bundle).success().unwrap();
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
    let inside = bundle.rootfs().join(canary.path().strip_prefix("/").unwrap());
    assert_eq!(fs::read_link(inside.join("out")).unwrap(), Path::new("file"));
}

#[test]
fn m37_a_source_that_is_a_link_is_bound_itself() {
    let host = host();
    for target in ["file", "directory", "nowhere"] {
        let source = host.path().join(format!("to-{target}"));
        for builder in both(bind(&source, &["bind", "ro", "rprivate", "src-nofollow"])) {
            let (facts, mount) = at(run(&builder.build().unwrap()));
            assert_eq!((facts.kind, facts.target.as_deref()), (Kind::Symlink, Some(target)));
            assert!(mount.unwrap().ends_with(&format!("/to-{target}")));
        }
    }
    let (facts, _) = at(run(&bind(&host.path().join("to-file"), &["bind"]).build().unwrap()));
    assert_eq!(facts.content, text("of the host"), "without the option it is followed");
    let (facts, _) =
        at(run(&bind(&host.path().join("directory"), &["rbind", "src-nofollow"]).build().unwrap()));
    assert_eq!(facts.kind, Kind::Directory);
}

#[test]
fn m37_a_destination_that_is_a_link_is_mounted_on() {
    let host = host();
    for builder in
        both(bind(&host.path().join("file"), &["bind", "ro", "dest-nofollow"]).file("/inside", "untouched"))
    {
        let bundle = builder.build().unwrap();
        symlink("inside", bundle.rootfs().join("at")).unwrap();
        let report = run(&bundle).success().unwrap().report().unwrap();
        let of = |path: &str| report.paths[path].present().unwrap();
        assert_eq!((of("/at").kind, of("/at").content.clone()), (Kind::File, text("of the host")));
        assert_eq!(of("/inside").content, text("untouched"));
        assert!(report.mount("/at").unwrap().has("ro"), "{:?}", report.mount("/at"));
        assert_eq!(
            fs::read_link(bundle.rootfs().join("at")).unwrap(),
            Path::new("inside"),
            "the image has changed"
        );
    }
}

#[test]
fn m37_a_link_is_bound_on_a_link_and_a_missing_destination_is_made() {
    let host = host();
    let options = ["bind", "src-nofollow", "dest-nofollow"];
    let bundle = bind(&host.path().join("to-nowhere"), &options).build().unwrap();
    symlink("inside", bundle.rootfs().join("at")).unwrap();
    assert_eq!(at(run(&bundle)).0.target.as_deref(), Some("nowhere"));
    let bundle = bind(&host.path().join("file"), &options).build().unwrap();
    assert_eq!(at(run(&bundle)).0.content, text("of the host"));
    let bundle = bind(&host.path().join("directory"), &options).build().unwrap();
    assert_eq!(at(run(&bundle)).0.kind, Kind::Directory);
}

#[test]
fn m37_a_directory_does_not_go_on_a_link() {
    let host = host();
    let tmpfs: Value = json!({"destination": "/at", "type": "tmpfs", "options": ["dest-nofollow"]});
    let of_tmpfs = Bundle::new().set("/root/readonly", json!(false)).push("/mounts", tmpfs);
    for builder in [bind(&host.path().join("directory"), &["bind", "dest-nofollow"]), of_tmpfs] {
        let bundle = builder.build().unwrap();
        symlink("tmp", bundle.rootfs().join("at")).unwrap();
        refused(&bundle, "must be a directory, not a symbolic link");
    }
}
