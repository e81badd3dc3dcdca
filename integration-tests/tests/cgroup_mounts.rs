//! What a container sees on /sys/fs/cgroup, on each kind of host: version 1, version 2, and both (hybrid).
//! Hosts that this one is not are mount namespaces of the test. Spec: config-linux.md#cgroups-and-mounts.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use integration_tests::{LEGACY, Stage, UNIFIED};
use serde_json::json;
use spec_conformance::report::{Content, PathReport};
use spec_conformance::{Bundle, BundleBuilder, Report};

const POINT: &str = "/sys/fs/cgroup";

/// A container that waits, and writes into its cgroup; its cgroup namespace is one of its own or the host's.
fn waiting(own_namespace: bool, options: &[&str]) -> BundleBuilder {
    let mut config = spec_conformance::bundle::default_config();
    if !own_namespace {
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|namespace| namespace["type"] != "cgroup");
    }
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == POINT {
            mount["options"] = json!(options);
        }
    }
    let bundle = Bundle::new().args(["/bin/probe", "wait"]).set("/mounts", config["mounts"].clone());
    bundle.set("/linux/namespaces", config["linux"]["namespaces"].clone())
}

/// What the waiting container sees, and its host pid.
fn look(stage: &Stage, bundle: BundleBuilder, paths: &[String]) -> (Report, Vec<String>) {
    let runtime = stage.runtime();
    let bundle = bundle.build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let questions = paths.iter().flat_map(|path| ["--stat", path.as_str()]);
    let asked: Vec<&str> = ["/bin/probe", "report"].into_iter().chain(questions).collect();
    let report = container.exec(asked).unwrap().success().unwrap().report().unwrap();
    // Which of them have the container's first process in them, and nobody of the host.
    let processes = |path: &String| match &report.paths[path] {
        PathReport::Present(facts) => match &facts.content {
            Ok(Content::Bytes(text)) => text.lines().next().unwrap_or_default().to_owned(),
            other => format!("{other:?}"),
        },
        PathReport::Absent(errno) => errno.clone(),
    };
    let first = paths.iter().map(processes).collect();
    (report, first)
}

fn has_all(options: &[String], wanted: &[&str]) -> bool {
    wanted.iter().all(|name| options.iter().any(|own| own == name))
}

const READ_ONLY: [&str; 5] = ["ro", "nosuid", "nodev", "noexec", "nosymfollow"];

#[test]
fn m39_version_2_with_a_namespace_shows_the_containers_own_cgroup() {
    let stage = Stage::new(UNIFIED);
    let paths = own_files();
    let (report, first) = look(&stage, waiting(true, &READ_ONLY), &paths);
    let mount = report.mount(POINT).unwrap();
    assert_eq!((mount.fstype.as_str(), mount.root.as_str()), ("cgroup2", "/"));
    assert!(has_all(&mount.options, &READ_ONLY), "{mount:?}");
    assert_eq!(first[0], "1", "the container's process is not in what it sees");
    assert!(first[1].starts_with("populated "), "the root of all cgroups is seen");
    assert_eq!(report.paths[&paths[0]].present().unwrap().write, Err("EROFS".to_owned()));
    let (report, _) = look(&stage, waiting(true, &["rw"]), &paths);
    assert!(report.mount(POINT).unwrap().has("rw"));
    assert_eq!(report.paths[&paths[0]].present().unwrap().write, Ok(()));
}

#[test]
fn m39_version_2_without_a_namespace_shows_the_hosts_as_its_paths_say() {
    let stage = Stage::new(UNIFIED);
    let (report, _) = look(&stage, waiting(false, &READ_ONLY), &own_files());
    let mount = report.mount(POINT).unwrap();
    assert!(mount.fstype == "cgroup2" && has_all(&mount.options, &READ_ONLY), "{mount:?}");
    // What /proc/self/cgroup names is to be found there.
    let own = report.cgroups.iter().find(|membership| membership.hierarchy == 0).unwrap();
    let path = [format!("{POINT}{}/cgroup.procs", own.path)];
    let bundle = waiting(false, &READ_ONLY).set("/linux/cgroupsPath", json!(own.path));
    let (report, first) = look(&stage, bundle, &path);
    assert_eq!(first[0], "1");
    assert_eq!(report.paths[&path[0]].present().unwrap().write, Err("EROFS".to_owned()));
}

#[test]
fn m39_the_options_of_the_hosts_version_2_stay_as_they_are() {
    let options = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let of = |line: &str| line.split_once(" - cgroup2 ").map(|(_, rest)| rest.to_owned());
        table.lines().find_map(of)
    };
    // A new mount by the host's root, without them, would take them from everybody.
    let (stage, before) = (Stage::new(UNIFIED), options());
    assert_eq!(options(), before, "the stage");
    for private in [true, false] {
        look(&stage, waiting(private, &READ_ONLY), &own_files());
        assert_eq!(options(), before, "{private}");
    }
}

#[test]
fn m39_version_2_in_a_user_namespace_without_a_cgroup_namespace_is_the_own_part_of_the_hosts() {
    let stage = Stage::new(UNIFIED);
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = waiting(false, &READ_ONLY)
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps);
    let paths = own_files();
    let (report, first) = look(&stage, bundle, &paths);
    let mount = report.mount(POINT).unwrap();
    assert!(mount.fstype == "cgroup2" && has_all(&mount.options, &READ_ONLY), "{mount:?}");
    assert_eq!(first[0], "1", "the container's process is not in what it sees");
    assert!(first[1].starts_with("populated "), "the root of all cgroups is seen");
}

/// A file that every cgroup has, and one that all but the root have.
fn own_files() -> [String; 2] {
    [format!("{POINT}/cgroup.procs"), format!("{POINT}/cgroup.events")]
}

#[test]
fn m39_the_type_cgroup2_is_the_same_and_takes_its_own_options() {
    let stage = Stage::new(UNIFIED);
    let bundle = waiting(true, &[]).push(
        "/mounts",
        json!({"destination": "/cgroup", "type": "cgroup2", "source": "mine", "options": ["nosuid"]}),
    );
    let (report, first) = look(&stage, bundle, &["/cgroup/cgroup.procs".to_owned()]);
    assert_eq!((report.mount("/cgroup").unwrap().fstype.as_str(), first[0].as_str()), ("cgroup2", "1"));
    assert!(report.mount("/cgroup").unwrap().has("nosuid"));
}

/// The hierarchies of this host that a container's tree is to have: name, and whether it is version 2.
fn hierarchies(stage: &Stage) -> Vec<(String, bool)> {
    let table = stage.shell("cat /proc/self/mountinfo");
    let mounts = spec_conformance::report::proc_text::mountinfo(&table).unwrap();
    // A later mount on /sys/fs/cgroup hides those that were made before it.
    let last = mounts.iter().rposition(|mount| mount.point == POINT).unwrap();
    let below = mounts[last..].iter().filter_map(|mount| {
        let name = mount.point.strip_prefix("/sys/fs/cgroup/")?;
        mount.fstype.starts_with("cgroup").then(|| (name.to_owned(), mount.fstype == "cgroup2"))
    });
    below.collect()
}

fn tree_of(setup: &str, hybrid: bool) {
    for own in [true, false] {
        let stage = Stage::new(setup);
        let hierarchies = hierarchies(&stage);
        if !hierarchies.iter().any(|(_, unified)| !unified) {
            return; // This host has version 2 only: there is nothing to show.
        }
        assert_eq!(hierarchies.iter().any(|(_, unified)| *unified), hybrid);
        let paths: Vec<String> =
            hierarchies.iter().map(|(name, _)| format!("{POINT}/{name}/cgroup.procs")).collect();
        let (report, first) = look(&stage, waiting(own, &READ_ONLY), &paths);
        let top = report.mount(POINT).unwrap();
        assert_eq!(top.fstype, "tmpfs");
        assert!(has_all(&top.options, &READ_ONLY), "{top:?}");
        for ((name, unified), first) in hierarchies.iter().zip(&first) {
            let mount = report.mount(&format!("{POINT}/{name}")).unwrap();
            assert_eq!(mount.fstype, if *unified { "cgroup2" } else { "cgroup" }, "{name}");
            assert!(has_all(&mount.options, &READ_ONLY), "own namespace {own}: {mount:?}");
            assert_eq!(first, "1", "{name}, own namespace {own}");
        }
        // What is below the tree's root is what the host has, and nothing else.
        let shown = &report.mounts.iter().filter(|mount| mount.point.starts_with("/sys/fs/cgroup/")).count();
        assert_eq!(*shown, hierarchies.len());
    }
}

#[test]
fn m38_a_hybrid_host_shows_every_hierarchy_at_the_containers_own_cgroup() {
    let is_hybrid = std::path::Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
    if is_hybrid {
        tree_of(":", true);
    }
}

#[test]
fn m38_a_version_1_host_shows_every_hierarchy_at_the_containers_own_cgroup() {
    tree_of(LEGACY, false);
}

#[test]
fn m38_a_tree_that_is_not_read_only_can_be_written() {
    let stage = Stage::new(":");
    let hierarchies = hierarchies_or_none(&stage);
    let Some(name) = hierarchies else { return };
    let path = format!("{POINT}/{name}/cgroup.procs");
    for own in [true, false] {
        let (report, _) = look(&stage, waiting(own, &["nosuid"]), std::slice::from_ref(&path));
        assert_eq!(report.paths[&path].present().unwrap().write, Ok(()), "own namespace {own}");
        assert!(!report.mount(POINT).unwrap().has("ro"));
    }
}

/// A version 1 hierarchy of this host.
fn hierarchies_or_none(stage: &Stage) -> Option<String> {
    hierarchies(stage).into_iter().find(|(_, unified)| !unified).map(|(name, _)| name)
}
