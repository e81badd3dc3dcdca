//! Each namespace new, joined, inherited or refused, with and without a user namespace. config-linux.md#namespaces
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use integration_tests::{Namespaces, VERSION_2_ALONE, Wrapped, nothing_left, runtime};
use serde_json::{Value, json};
use spec_conformance::report::proc_text::namespace_inode;
use spec_conformance::{Bundle, BundleBuilder, Container, Report, Runtime};

/// Names in config.json and in /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

fn own(file: &str) -> u64 {
    inode(std::process::id().cast_signed(), file)
}

fn inode(pid: i32, file: &str) -> u64 {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
    namespace_inode(link.to_str().unwrap()).unwrap()
}

fn new(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind})).collect()
}

fn mapped(bundle: BundleBuilder) -> BundleBuilder {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// A bundle without the mounts that need a namespace of their own, nor names for one.
fn plain(namespaces: Value) -> BundleBuilder {
    let proc = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    // A new procfs shows a pid namespace; without one, the host's has to do for a user namespace.
    let host = json!([{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]);
    let has = |kind: &str| namespaces.as_array().unwrap().iter().any(|n| n["type"] == kind);
    let mounts = if has("user") && !has("pid") { host } else { proc };
    Bundle::new()
        .set("/linux/namespaces", namespaces)
        .set("/mounts", mounts)
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .remove("/hostname")
        .args(["/bin/probe", "report"])
}

fn report(runtime: &Runtime, bundle: BundleBuilder) -> Report {
    runtime.observe(&bundle.build().unwrap()).unwrap()
}

/// Calls `create`, which fails with all these words and leaves nothing.
fn refused(runtime: &Runtime, bundle: BundleBuilder, words: &[&str]) {
    let (bundle, id) = (bundle.build().unwrap(), runtime.fresh_id());
    let finished = runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert!(!finished.exit.success());
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is not in {:?}", finished.stderr);
    }
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

#[test]
fn n01_each_namespace_without_a_path_is_new() {
    let runtime = runtime();
    let all: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let without_user = &all[..7];
    for kinds in [without_user, &all] {
        let seen = report(&runtime, mapped_if(kinds.contains(&"user"), plain(new(kinds))));
        for (kind, file) in KINDS {
            assert_eq!(seen.namespaces[file] != own(file), kinds.contains(&kind), "{kind} of {kinds:?}");
        }
    }
}

fn mapped_if(user: bool, bundle: BundleBuilder) -> BundleBuilder {
    if user { mapped(bundle) } else { bundle }
}

#[test]
fn n01_each_namespace_can_be_the_only_new_one_beside_mount() {
    let runtime = runtime();
    for user in [false, true] {
        for (kind, file) in KINDS.into_iter().filter(|(kind, _)| !["mount", "user"].contains(kind)) {
            let kinds: Vec<&str> = if user { vec!["user", "mount", kind] } else { vec!["mount", kind] };
            let seen = report(&runtime, mapped_if(user, plain(new(&kinds))));
            let private: Vec<&str> =
                KINDS.iter().filter(|(_, f)| seen.namespaces[*f] != own(f)).map(|(kind, _)| *kind).collect();
            let mut expected: Vec<&str> = kinds.clone();
            expected.sort_by_key(|kind| KINDS.iter().position(|(k, _)| k == kind));
            assert_eq!(private, expected, "{file}");
        }
    }
}

#[test]
fn n05_a_namespace_that_is_not_listed_is_inherited() {
    let runtime = runtime();
    let seen = report(&runtime, plain(new(&["mount"])));
    for (_, file) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        assert_eq!(seen.namespaces[file], own(file), "{file}");
    }
    let seen = report(&runtime, mapped(plain(new(&["mount", "user"]))));
    for (_, file) in KINDS.into_iter().filter(|(kind, _)| !["mount", "user"].contains(kind)) {
        assert_eq!(seen.namespaces[file], own(file), "{file} beside a user namespace");
    }
}

/// A running container whose namespaces others join.
fn pod(runtime: &Runtime, user: bool) -> Container<'_> {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"];
    let mut namespaces = new(&kinds);
    if user {
        namespaces.as_array_mut().unwrap().push(json!({"type": "user"}));
    }
    let bundle = mapped_if(user, plain(namespaces)).args(["/bin/probe", "wait"]).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container
}

fn join(kind: &str, pid: i32) -> Value {
    let file = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
    json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")})
}

#[test]
fn n02_each_namespace_is_joined_by_its_path() {
    let runtime = runtime();
    for user in [false, true] {
        let pod = pod(&runtime, user);
        for (kind, file) in KINDS.into_iter().filter(|(kind, _)| !["mount", "user"].contains(kind)) {
            let mut namespaces = vec![json!({"type": "mount"}), join(kind, pod.pid())];
            if user {
                namespaces.push(join("user", pod.pid()));
            }
            // Only a new procfs shows the pid namespace, and its owner may mount one.
            let bundle = plain(json!(namespaces));
            let seen = report(&runtime, if user { bundle.owned_by(100_000, 100_000) } else { bundle });
            assert_eq!(seen.namespaces[file], inode(pod.pid(), file), "{kind}, user namespace {user}");
            let user_file = if user { inode(pod.pid(), "user") } else { own("user") };
            assert_eq!(seen.namespaces["user"], user_file, "{kind}");
        }
    }
}

#[test]
fn n02_a_pod_member_joins_all_that_the_pod_has() {
    let runtime = runtime();
    for user in [false, true] {
        let pod = pod(&runtime, user);
        let mut joined = vec!["network", "ipc", "uts", "pid", "cgroup", "time"];
        joined.extend(user.then_some("user"));
        let mut namespaces: Vec<Value> = joined.iter().map(|kind| join(kind, pod.pid())).collect();
        namespaces.push(json!({"type": "mount"}));
        let bundle = plain(json!(namespaces)).owned_by(if user { 100_000 } else { 0 }, 0);
        let seen = report(&runtime, bundle);
        for (kind, file) in KINDS.into_iter().filter(|(kind, _)| joined.contains(kind)) {
            assert_eq!(seen.namespaces[file], inode(pod.pid(), file), "{kind}, user namespace {user}");
        }
        assert!(seen.pid > 1, "the pod's own process is 1");
    }
}

#[test]
fn n02_a_new_user_namespace_beside_joined_ones() {
    let runtime = runtime();
    let pod = pod(&runtime, false);
    for kind in ["network", "ipc", "uts", "pid", "cgroup", "time"] {
        let namespaces = json!([{"type": "mount"}, {"type": "user"}, join(kind, pod.pid())]);
        // The pid namespace is the host's, so that its procfs is the host's to mount.
        let host = json!([{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]);
        let bundle = plain(namespaces);
        let bundle = if kind == "pid" { bundle.set("/mounts", host) } else { bundle };
        let bundle = mapped(bundle).build().unwrap();
        let finished = runtime.run(&bundle).unwrap().success().unwrap();
        let file = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
        // The host's procfs has no entry for a process of another pid namespace than its own.
        let seen = Report::parse_partial(&finished.stdout).unwrap();
        if kind != "pid" {
            assert_eq!(seen.namespaces[file], inode(pod.pid(), file), "{kind}");
            assert!(![own("user"), inode(pod.pid(), "user")].contains(&seen.namespaces["user"]), "{kind}");
        }
        assert!(seen.pid > 1 || kind != "pid", "{}", seen.pid);
    }
}

#[test]
fn n02_a_mount_namespace_is_joined_by_its_path() {
    let runtime = runtime();
    let holder = Namespaces::new(&["--mount"]);
    let bundle = plain(json!([{"type": "mount", "path": holder.path("mnt")}]));
    assert_eq!(report(&runtime, bundle).namespaces["mnt"], holder.inode("mnt"));
}

#[test]
fn n03_e18_a_path_of_another_type_is_refused_by_name() {
    let runtime = runtime();
    for (kind, _) in KINDS {
        let path = if kind == "uts" { "/proc/self/ns/ipc" } else { "/proc/self/ns/uts" };
        let mut namespaces = vec![json!({"type": kind, "path": path})];
        if kind != "mount" {
            namespaces.push(json!({"type": "mount"}));
        }
        let says = format!("join {kind} namespace {path}: setns: invalid argument");
        refused(&runtime, plain(json!(namespaces)), &[&says, "not a namespace of this type"]);
    }
}

#[test]
fn n03_e18_a_path_that_is_no_namespace_is_refused_by_name() {
    let runtime = runtime();
    for kind in ["network", "pid", "user"] {
        for (path, words) in
            [("/etc/passwd", "setns: invalid argument"), ("/no/such/file", "open: no such file")]
        {
            let namespaces = json!([{"type": "mount"}, {"type": kind, "path": path}]);
            refused(&runtime, plain(namespaces), &[&format!("join {kind} namespace {path}: {words}")]);
        }
    }
}

#[test]
fn n04_e19_a_type_twice_is_refused_by_name() {
    let runtime = runtime();
    let namespaces =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "uts", "path": "/proc/self/ns/uts"}]);
    refused(&runtime, plain(namespaces), &["/linux/namespaces/2/type", "namespace uts is listed twice"]);
}

#[test]
fn n06_loopback_is_up_in_a_new_network_namespace_and_left_alone_in_others() {
    let runtime = runtime();
    let is_up = |seen: &Report| seen.interfaces["lo"].flags.contains(&"UP".to_owned());
    assert!(is_up(&report(&runtime, plain(new(&["mount", "network"])))));
    assert!(is_up(&report(&runtime, mapped(plain(new(&["mount", "network", "user"]))))));
    let holder = Namespaces::new(&["--net"]);
    let joined = plain(json!([{"type": "mount"}, {"type": "network", "path": holder.path("net")}]));
    assert!(!is_up(&report(&runtime, joined)), "the namespace was not new");
    let script = format!("exec nsenter --net={} \"$@\"", holder.path("net").display());
    let wrapped = Wrapped::new(&script);
    assert!(!is_up(&report(wrapped.runtime(), plain(new(&["mount"])))), "the namespace was the runtime's");
}

#[test]
fn n06_where_the_runtime_makes_the_network_namespace_everything_in_it_is_the_containers() {
    // It does with version 2 of cgroups alone, while the container's process mounts.
    let wrapped = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    let bundle = Bundle::new()
        .with_busybox()
        .args([
            "/bin/sh",
            "-c",
            "echo /sys/class/net/*; cd /proc/sys/net/ipv4; cat ip_forward ip_default_ttl; ip link",
        ])
        .set("/linux/namespaces", new(&["mount", "pid", "network"]))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .remove("/hostname");
    // Before hooks, too: they configure it.
    let change = r#"pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/'); exec nsenter --net=/proc/$pid/ns/net sh -c 'echo 77 > /proc/sys/net/ipv4/ip_default_ttl'"#;
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", change], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]);
    for (bundle, ttl) in [(bundle.clone(), "64"), (bundle.set("/hooks/createRuntime", hook), "77")] {
        let bundle = bundle.build().unwrap();
        let id = wrapped.runtime().fresh_id();
        let call = ["run", "--bundle", bundle.path().to_str().unwrap(), &id];
        let said = wrapped.runtime().call(call).unwrap().success().unwrap().stdout;
        assert!(said.starts_with(&format!("/sys/class/net/lo\n1\n{ttl}\n")), "{said}");
        assert!(said.contains("LOOPBACK,UP"), "{said}");
    }
}

#[test]
fn n06_in_a_user_namespace_that_does_not_own_the_runtimes_network_a_container_gets_a_new_one() {
    // From there the runtime could leave its own, and not come back.
    let inside = |limit: &str, more: &str| {
        let script = format!(
            "exec unshare --user --map-root-user --mount --propagation private sh -ec '{limit} exec \"$@\"' sh {more} \"$@\""
        );
        let wrapped = Wrapped::new(&script);
        let bundle = plain(new(&["mount", "pid", "network"])).build().unwrap();
        let id = wrapped.runtime().fresh_id();
        let call = ["run", "--bundle", bundle.path().to_str().unwrap(), &id];
        let called = wrapped.runtime().call(call).unwrap();
        nothing_left(wrapped.runtime(), &id);
        called
    };
    let version_2 = "sh -ec 'mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; exec \"$@\"' sh";
    let hybrid = std::path::Path::new("/sys/fs/cgroup/unified").exists();
    for more in [Some(""), hybrid.then_some(version_2)].into_iter().flatten() {
        inside("", more).success().unwrap();
        let said = inside("echo 0 > /proc/sys/user/max_net_namespaces;", more).stderr;
        assert!(said.contains("hint: /proc/sys/user/max_net_namespaces is 0"), "{said}");
    }
}

#[test]
fn n13_kernel_parameters_are_set_in_the_containers_namespaces_only() {
    let runtime = runtime();
    let sysctls = json!({
        "net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/rp_filter": "2", "kernel.msgmax": "9000",
        "fs.mqueue.msg_max": "12", "kernel.domainname": "example", "kernel.shm_rmid_forced": "1",
    });
    let names = [
        "net.ipv4.ip_forward",
        "net.ipv4.conf.lo.rp_filter",
        "kernel.msgmax",
        "fs.mqueue.msg_max",
        "kernel.domainname",
        "kernel.shm_rmid_forced",
        "user.max_ipc_namespaces",
    ];
    let before: Vec<String> = names.iter().map(|name| host(name)).collect();
    for user in [false, true] {
        let mut kinds = vec!["mount", "pid", "network", "ipc", "uts"];
        kinds.extend(user.then_some("user"));
        let mut bundle = mapped_if(user, plain(new(&kinds)).set("/linux/sysctl", sysctls.clone()));
        if user {
            bundle = bundle.set("/linux/sysctl/user.max_ipc_namespaces", json!("77"));
        }
        let args =
            ["/bin/probe", "report"].into_iter().chain(names.iter().flat_map(|name| ["--sysctl", name]));
        let seen = report(&runtime, bundle.args(args));
        let read = |name: &str| seen.sysctls[name].clone().unwrap();
        assert_eq!(
            names[..6].iter().map(|name| read(name)).collect::<Vec<_>>(),
            ["1", "2", "9000", "12", "example", "1"]
        );
        assert_eq!(read(names[6]) == "77", user);
    }
    assert_eq!(names.iter().map(|name| host(name)).collect::<Vec<_>>(), before);
}

fn host(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap()
}

#[test]
fn n13_a_joined_namespace_that_is_the_runtimes_own_keeps_its_parameters() {
    let runtime = runtime();
    let cases = [
        ("network", "/proc/self/ns/net", "net.ipv4.ip_forward", "1"),
        ("ipc", "/proc/self/ns/ipc", "kernel.msgmax", "9000"),
    ];
    for (kind, path, key, value) in cases {
        let before = host(key);
        let bundle = plain(json!([{"type": "mount"}, {"type": kind, "path": path}]));
        let bundle = bundle.set("/linux/sysctl", json!({key: value}));
        refused(&runtime, bundle, &[&format!("sysctl {key}: setns: "), "would change the host"]);
        assert_eq!(host(key), before);
    }
    for (property, step) in [("hostname", "set the host name"), ("domainname", "set the domain name")] {
        let bundle = plain(json!([{"type": "mount"}, {"type": "uts", "path": "/proc/self/ns/uts"}]));
        let bundle = bundle.set(&format!("/{property}"), json!("example"));
        refused(&runtime, bundle, &[&format!("{step}: setns: "), "would change the host"]);
    }
    let holder = Namespaces::new(&["--net"]);
    let key = "net.ipv4.ip_forward";
    let bundle = plain(json!([{"type": "mount"}, {"type": "network", "path": holder.path("net")}]))
        .set("/linux/sysctl", json!({key: "1"}))
        .args(["/bin/probe", "report", "--sysctl", key]);
    assert_eq!(report(&runtime, bundle).sysctls[key], Ok("1".into()));
}

#[test]
fn n13_a_parameter_of_a_shared_namespace_is_refused() {
    let runtime = runtime();
    let cases =
        [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc"), ("user.max_user_namespaces", "user")];
    for (key, kind) in cases {
        let bundle = plain(new(&["mount"])).set("/linux/sysctl", json!({key: "1"}));
        refused(&runtime, bundle, &[&format!("/linux/sysctl/{key}"), &format!("private {kind} namespace")]);
    }
    let bundle = plain(new(&["mount", "network"])).set("/linux/sysctl", json!({"vm.swappiness": "1"}));
    refused(&runtime, bundle, &["vm.swappiness is not namespaced"]);
}
