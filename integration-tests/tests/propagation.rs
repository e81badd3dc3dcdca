//! How mounts travel between the host and a container: what each option and the root's own propagation make of it.
//! The host is a mount namespace of the test. Spec: config.md#linux-mount-options,
//! config-linux.md#rootfs-mount-propagation.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use integration_tests::{Stage, bind, mounted};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Report};

/// A shared tree of two mounts, a private one of two, and a mount whose directory is in the one that is shared.
const TREES: &str = "
    for tree in shared private; do
        mkdir $PLACE/$tree
        mount -t tmpfs tree $PLACE/$tree
        mount --make-$tree $PLACE/$tree
        mkdir $PLACE/$tree/below $PLACE/$tree/host $PLACE/$tree/inside
        mount -t tmpfs tree $PLACE/$tree/below
        mount --make-$tree $PLACE/$tree/below
        mkdir $PLACE/$tree/below/host $PLACE/$tree/below/inside
    done";

/// A container that waits, with the right to mount.
fn waiting(mounts: Vec<Value>) -> BundleBuilder {
    let caps = json!(["CAP_SYS_ADMIN"]);
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/probe", "wait"])
        .set("/process/capabilities", json!({"bounding": caps, "permitted": caps, "effective": caps}));
    mounted(bundle, mounts)
}

/// As a container of a user namespace.
fn mapped(bundle: BundleBuilder) -> BundleBuilder {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn start(container: &mut Container<'_>) {
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
}

fn report(container: &Container<'_>) -> Report {
    container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap()
}

/// What kind of propagation a mount has, without the numbers of its groups.
fn kind(report: &Report, point: &str) -> String {
    let mount = report.mount(point).unwrap_or_else(|| panic!("nothing on {point}: {:#?}", report.mounts));
    let names = mount.propagation.iter().map(|field| field.split(':').next().unwrap_or_default());
    names.filter(|name| *name != "propagate_from").collect::<Vec<_>>().join(" ")
}

#[test]
fn m16_m17_m18_m19_each_option_and_its_r_form_is_what_mountinfo_shows() {
    let stage = Stage::new(TREES);
    // With a root that is shared the host's mounts reach the container as they are.
    let kinds = [("private", ""), ("slave", "master"), ("shared", "shared"), ("unbindable", "unbindable")];
    let mounts = kinds.iter().flat_map(|(name, _)| {
        let recursive = format!("r{name}");
        let source = stage.path("shared");
        let top = bind(&source, &format!("/{name}"), &["rbind", name]);
        [top, bind(&source, &format!("/{recursive}"), &["rbind", &recursive])]
    });
    let other = [
        bind(&stage.path("private"), "/made-shared", &["rbind", "rshared"]),
        bind(&stage.path("shared"), "/both", &["bind", "slave", "shared"]),
        json!({"destination": "/new", "type": "tmpfs", "options": ["shared"]}),
        json!({"destination": "/new-unbindable", "type": "tmpfs", "options": ["unbindable"]}),
    ];
    let bundle = waiting(mounts.chain(other).collect()).set("/linux/rootfsPropagation", json!("shared"));
    let bundle = bundle.build().unwrap();
    let runtime = stage.runtime();
    let mut container = runtime.create(&bundle).unwrap();
    start(&mut container);
    let seen = report(&container);
    for (name, shown) in kinds {
        assert_eq!(kind(&seen, &format!("/{name}")), shown, "{name}");
        assert_eq!(kind(&seen, &format!("/{name}/below")), "shared", "below {name}");
        assert_eq!(kind(&seen, &format!("/r{name}")), shown, "r{name}");
        assert_eq!(kind(&seen, &format!("/r{name}/below")), shown, "below r{name}");
    }
    for point in ["/made-shared", "/made-shared/below", "/new"] {
        assert_eq!(kind(&seen, point), "shared", "{point}");
    }
    assert_eq!(kind(&seen, "/new-unbindable"), "unbindable");
    // mount_namespaces(7): a slave that is made shared passes on what it gets.
    assert_eq!(kind(&seen, "/both"), "shared master");
}

/// Mounts on `host` in the tree from the host, and on `inside` from the container, also below; where each is seen.
fn exchange(stage: &Stage, tree: &str, option: &str, root: &str) -> [bool; 4] {
    let mounts = vec![bind(&stage.path(tree), "/tree", &["rbind", option])];
    let bundle = waiting(mounts).set("/linux/rootfsPropagation", json!(root)).build().unwrap();
    let runtime = stage.runtime();
    let mut container = runtime.create(&bundle).unwrap();
    start(&mut container);
    let on_host = |point: &str| {
        let table = stage.shell("cat /proc/self/mountinfo");
        let point = stage.path(&format!("{tree}/{point}"));
        table.lines().any(|line| line.split(' ').nth(4) == Some(&point))
    };
    let places = ["", "below/"];
    stage.shell(&format!(
        "mount -t tmpfs late $PLACE/{tree}/host; mount -t tmpfs late $PLACE/{tree}/below/host"
    ));
    for place in places {
        let point = format!("/tree/{place}inside");
        let made = container.exec(["--cap", "CAP_SYS_ADMIN", "/bin/mount", "-t", "tmpfs", "late", &point]);
        made.unwrap().success().unwrap();
    }
    let seen = report(&container);
    let inwards = places.map(|place| seen.mount(&format!("/tree/{place}host")).is_some());
    let outwards = places.map(|place| on_host(&format!("{place}inside")));
    stage.shell(&format!(
        "umount $PLACE/{tree}/host $PLACE/{tree}/below/host; \
         umount $PLACE/{tree}/inside $PLACE/{tree}/below/inside 2>/dev/null || true"
    ));
    [inwards[0], inwards[1], outwards[0], outwards[1]]
}

#[test]
fn m17_rslave_is_host_to_container_at_every_depth() {
    let stage = Stage::new(TREES);
    for root in ["rslave", "rshared", "private"] {
        let arrives = root != "private";
        // A root that is private has left the host's groups before anything is bound.
        assert_eq!(exchange(&stage, "shared", "rslave", root), [arrives, arrives, false, false], "{root}");
    }
    assert_eq!(exchange(&stage, "shared", "slave", "rslave"), [true, true, false, false]);
    assert_eq!(exchange(&stage, "private", "rslave", "rslave"), [false; 4]);
}

#[test]
fn m18_rshared_is_bidirectional_at_every_depth() {
    let stage = Stage::new(TREES);
    assert_eq!(exchange(&stage, "shared", "rshared", "rshared"), [true; 4]);
    // Without `shared` for the root a peer of the host's group cannot be had: what comes, comes one way.
    assert_eq!(exchange(&stage, "shared", "rshared", "rslave"), [true, true, false, false]);
}

#[test]
fn m16_m19_rprivate_and_runbindable_let_nothing_pass() {
    let stage = Stage::new(TREES);
    for option in ["rprivate", "runbindable"] {
        assert_eq!(exchange(&stage, "shared", option, "rshared"), [false; 4], "{option}");
    }
    // Only the top: what is below stays in its group.
    assert_eq!(exchange(&stage, "shared", "private", "rshared"), [false, true, false, true]);
}

#[test]
fn m17_a_volume_that_comes_and_goes_after_the_start_comes_and_goes_inside() {
    let stage = Stage::new(TREES);
    let mounts = vec![bind(&stage.path("shared"), "/tree", &["rbind", "rslave", "ro"])];
    let runtime = stage.runtime();
    let bundle = waiting(mounts).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    start(&mut container);
    stage.shell("mount -t tmpfs volume $PLACE/shared/host; echo here > $PLACE/shared/host/file");
    let read = || container.exec(["/bin/cat", "/tree/host/file"]).unwrap();
    assert_eq!(read().success().unwrap().stdout, "here\n");
    stage.shell("umount $PLACE/shared/host");
    assert!(!read().exit.success());
    // An unmount by the container reaches nobody.
    let gone = container.exec(["--cap", "CAP_SYS_ADMIN", "/bin/umount", "/tree/below"]).unwrap();
    gone.success().unwrap();
    assert!(stage.shell("cat /proc/self/mountinfo").contains(&stage.path("shared/below")));
}

#[test]
fn n09_the_root_has_the_propagation_that_is_asked_for() {
    // The rootfs is on a shared mount here, as on a host where systemd shares everything.
    let stage = Stage::new(
        "for tree in host other; do
             mkdir $PLACE/$tree; mount -t tmpfs tree $PLACE/$tree; mount --make-shared $PLACE/$tree
         done",
    );
    let runtime = stage.runtime();
    let expected = [
        (None, "master"),
        (Some("private"), ""),
        (Some("rprivate"), ""),
        (Some("slave"), "master"),
        (Some("rslave"), "master"),
        (Some("shared"), "shared"),
        (Some("rshared"), "shared"),
        (Some("unbindable"), "unbindable"),
        (Some("runbindable"), "unbindable"),
    ];
    for (asked, shown) in expected {
        let mut bundle = waiting(vec![bind(&stage.path("other"), "/other", &["bind"])]);
        if let Some(asked) = asked {
            bundle = bundle.set("/linux/rootfsPropagation", json!(asked));
        }
        let bundle = bundle.build().unwrap();
        stage.shell(&format!("cp -a {} $PLACE/host/rootfs", bundle.rootfs().display()));
        let mut config = bundle.config().clone();
        config["root"]["path"] = json!(stage.path("host/rootfs"));
        let mut bundle = bundle;
        bundle.write(config).unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        start(&mut container);
        let seen = report(&container);
        assert_eq!(kind(&seen, "/"), shown, "{asked:?}");
        // An unbindable root leaves its mounts private, so that they can be bound.
        let others = if asked == Some("unbindable") { "" } else { shown };
        assert_eq!(kind(&seen, "/other"), others, "{asked:?}");
        drop(container);
        stage.shell("rm -r $PLACE/host/rootfs");
    }
}

#[test]
fn n09_the_hosts_mounts_are_as_before_whatever_the_root_is() {
    let stage = Stage::new(TREES);
    let runtime = stage.runtime();
    let table = || stage.shell("sort /proc/self/mountinfo");
    let before = table();
    for root in ["private", "rslave", "shared", "rshared", "unbindable"] {
        let mounts = vec![
            bind(&stage.path("shared"), "/tree", &["rbind", "rslave"]),
            bind("/", "/host", &["rbind", "rslave"]),
            bind("/dev/shm", "/dev/shm", &["rbind"]),
        ];
        let bundle = waiting(mounts).set("/linux/rootfsPropagation", json!(root)).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        start(&mut container);
        drop(container);
        assert_eq!(table(), before, "{root}");
    }
    // And if it fails after everything is mounted.
    let mounts = vec![bind("/", "/host", &["rbind", "rshared"])];
    let bundle = waiting(mounts).set("/linux/rootfsPropagation", json!("rshared")).args(["/missing"]);
    let finished = runtime.run(&bundle.build().unwrap()).unwrap();
    assert!(!finished.exit.success());
    assert_eq!(table(), before);
}

#[test]
fn n09_m24_what_the_runtime_opens_has_the_propagation_of_what_the_container_would() {
    let stage = Stage::new(TREES);
    let runtime = stage.runtime();
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let expected =
        [(None, "master"), (Some("private"), ""), (Some("rshared"), "shared"), (Some("unbindable"), "")];
    for (root, shown) in expected {
        let mut idmapped = bind(&stage.path("shared"), "/idmapped", &["bind", "idmap"]);
        idmapped["uidMappings"] = mapping.clone();
        idmapped["gidMappings"] = mapping.clone();
        let plain = || bind(&stage.path("shared"), "/tree", &["rbind"]);
        for bundle in [waiting(vec![plain(), idmapped]), mapped(waiting(vec![plain()]))] {
            let bundle = match root {
                Some(root) => bundle.set("/linux/rootfsPropagation", json!(root)),
                None => bundle,
            };
            let bundle = bundle.build().unwrap();
            let mut container = runtime.create(&bundle).unwrap();
            start(&mut container);
            let seen = report(&container);
            for mount in seen.mounts.iter().filter(|mount| mount.fstype == "tmpfs" && mount.source == "tree")
            {
                assert_eq!(kind(&seen, &mount.point), shown, "{} with {root:?}", mount.point);
            }
        }
    }
}

#[test]
fn m13_a_tree_in_which_a_mount_namespace_is_kept_can_be_bound() {
    // As snapd has them below /run/snapd/ns, and a container that sees the whole host is given them. The kernel keeps only
    // a namespace that is newer than the one it is kept in, and each processor numbers new ones in a range of its own.
    let stage = Stage::new(
        "mkdir $PLACE/tree; mount -t tmpfs tree $PLACE/tree; mount --make-private $PLACE/tree
         echo here > $PLACE/tree/file; touch $PLACE/tree/namespace
         for cpu in $(seq 0 $(($(nproc --all) - 1))); do
             taskset -c $cpu unshare --mount=$PLACE/tree/namespace true && break
         done
         grep -q \" $PLACE/tree/namespace \" /proc/self/mountinfo",
    );
    let runtime = stage.runtime();
    for bundle in [waiting, |mounts| mapped(waiting(mounts))] {
        let bundle = bundle(vec![bind(&stage.path("tree"), "/tree", &["rbind"])]);
        let bundle = bundle.args(["/bin/cat", "/tree/file"]).build().unwrap();
        assert_eq!(runtime.run(&bundle).unwrap().success().unwrap().stdout, "here\n");
    }
    stage.shell("umount $PLACE/tree/namespace");
}
