//! A mount namespace that begins with the root file system (OPEN_TREE_NAMESPACE, since Linux 7.0), and what it must
//! not change: what an older kernel shows is shown here. Spec: config.md#root, config.md#mounts.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;

use integration_tests::{Stage, VERSION_2_ALONE, Wrapped, at, bind, facts, looking, mounted, runtime};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Runtime};

/// The step that only such a namespace takes, `EnterRoot` in libcontainer's `plan::step`.
const ENTER_ROOT: u32 = 73 << 16;

/// Whether the kernel makes such namespaces.
fn kernel_can() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap() >= 7
}

/// Whether the container's mount namespace begins with its root: then, and only then, this step can fail.
fn begins_with_root(runtime: &Runtime, bundle: BundleBuilder) -> bool {
    let (bundle, id) = (bundle.build().unwrap(), runtime.fresh_id());
    let path = bundle.path().to_str().unwrap();
    let finished =
        runtime.call(["run", "--fail-at", &ENTER_ROOT.to_string(), "--bundle", path, &id]).unwrap();
    assert!(finished.exit.success() || finished.stderr.contains("injected fault"), "{}", finished.stderr);
    !finished.exit.success()
}

fn quiet() -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "exit", "0"])
}

#[test]
fn m01_it_is_made_where_the_kernel_can_and_the_config_lets_it() {
    let runtime = runtime();
    let etc = || bind("/etc", "/host-etc", &["rbind", "ro"]);
    assert_eq!(begins_with_root(&runtime, quiet()), kernel_can());
    assert_eq!(begins_with_root(&runtime, mounted(quiet(), [etc()])), kernel_can());
    // A second process is the one that mounts.
    let offsets = json!({"monotonic": {"secs": 100}});
    let time = quiet().push("/linux/namespaces", json!({"type": "time"})).set("/linux/timeOffsets", offsets);
    assert_eq!(begins_with_root(&runtime, time), kernel_can());
    let hook = json!([{"path": "/bin/true"}]);
    assert_eq!(begins_with_root(&runtime, quiet().set("/hooks", json!({"poststop": hook}))), kernel_can());
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert!(!begins_with_root(&runtime, quiet().set("/hooks", json!({kind: hook}))), "{kind}");
    }
    let copied = bind("/proc/mounts", "/copied", &["bind", "copy-symlink"]);
    assert!(!begins_with_root(&runtime, mounted(quiet(), [copied])));
}

#[test]
fn m13_more_sources_than_are_open_at_once_come_in_their_order() {
    const COUNT: usize = 300;
    let place = tempfile::tempdir().unwrap();
    let mounts = (0..COUNT).map(|i| {
        let source = place.path().join(i.to_string());
        // Directories and files in turn.
        if i % 2 == 0 {
            fs::create_dir(&source).unwrap();
        } else {
            fs::write(&source, i.to_string()).unwrap();
        }
        bind(source.to_str().unwrap(), &format!("/at/{i}"), &["bind", "ro"])
    });
    let script = format!(
        "i=1; while [ $i -lt {COUNT} ]; do
             test $(cat /at/$i) = $i && test -d /at/$((i - 1)) || exit 1; i=$((i + 2))
         done"
    );
    let bundle = mounted(Bundle::new().with_busybox().args(["/bin/sh", "-c", &script]), mounts);
    // Some are opened by the one process, others by the other, where the host is left while mounts are still to come.
    let alone = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    for runtime in [&runtime(), alone.runtime()] {
        runtime.run(&bundle.clone().build().unwrap()).unwrap().success().unwrap();
        assert_eq!(begins_with_root(runtime, bundle.clone()), kernel_can());
    }
}

#[test]
fn m13_the_root_bound_below_itself_shows_what_was_mounted_there_before() {
    let runtime = runtime();
    let mut bundle = looking(&["/again/file"]).build().unwrap();
    let root = bundle.rootfs();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut config = bundle.config().clone();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"}));
    mounts.push(bind(file.path().to_str().unwrap(), "/data/file", &["bind"]));
    mounts.push(bind(root.join("data").to_str().unwrap(), "/again", &["rbind"]));
    bundle.write(config).unwrap();
    let report = runtime.observe(&bundle).unwrap();
    assert_eq!(at(&report, "/again").fstype, "tmpfs");
    assert!(facts(&report, "/again/file").kind == spec_conformance::report::Kind::File);
}

#[test]
fn m13_a_source_that_is_missing_is_named_and_nothing_is_left() {
    let runtime = runtime();
    let mounts = [bind("/etc", "/first", &["bind"]), bind("/missing", "/second", &["bind"])];
    let bundle = mounted(quiet(), mounts).build().unwrap();
    let id = runtime.fresh_id();
    let finished = runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert!(!finished.exit.success());
    let words = "bind /missing on /second: open_tree: no such file or directory";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
    assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn n09_what_the_container_does_to_its_mounts_reaches_no_shared_mount_of_the_host() {
    // The root file system is a shared mount of the host's, with another one below it.
    let stage = Stage::new(
        "mkdir $PLACE/host; mount -t tmpfs host $PLACE/host; mount --make-shared $PLACE/host
         mkdir -p $PLACE/host/rootfs; mount -t tmpfs rootfs $PLACE/host/rootfs; mount --make-shared $PLACE/host/rootfs
         mkdir $PLACE/host/rootfs/below; mount -t tmpfs below $PLACE/host/rootfs/below
         mount --make-shared $PLACE/host/rootfs/below",
    );
    let caps = json!(["CAP_SYS_ADMIN"]);
    let script =
        "mount -t tmpfs late /below/late && umount -l /below && mount -t tmpfs late /tmp && umount -l /";
    let mut bundle = Bundle::new()
        .with_busybox()
        .set("/process/capabilities", json!({"bounding": caps, "permitted": caps, "effective": caps}))
        .set("/root/readonly", json!(false))
        .args(["/bin/sh", "-c", script])
        .build()
        .unwrap();
    stage.shell(&format!(
        "cp -a {}/. $PLACE/host/rootfs; mkdir -p $PLACE/host/rootfs/tmp $PLACE/host/rootfs/below/late",
        bundle.rootfs().display()
    ));
    let mut config = bundle.config().clone();
    config["root"]["path"] = Value::from(stage.path("host/rootfs"));
    bundle.write(config).unwrap();
    let table = || stage.shell("sort /proc/self/mountinfo");
    let before = table();
    let runtime = stage.runtime();
    runtime.run(&bundle).unwrap().success().unwrap();
    assert_eq!(table(), before);
}
