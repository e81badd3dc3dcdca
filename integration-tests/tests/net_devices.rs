//! Network devices: moved into the container's namespace as they are, or not at all. config-linux.md#network-devices
//!
//! The runtime is called in a network namespace of its own, whose devices are those of "the host" here.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::Command;

use integration_tests::{Namespaces, Rootless, Wrapped};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Report, Runtime};

/// A network namespace, and the runtime in it.
struct Net {
    namespaces: Namespaces,
    runtime: Wrapped,
}

impl Net {
    fn new() -> Net {
        let namespaces = Namespaces::new(&["--net"]);
        let script = format!("exec nsenter --net={} \"$@\"", namespaces.path("net").display());
        Net { runtime: Wrapped::new(&script), namespaces }
    }

    /// With a pair `v0` and `v1`: `v0` is up and has addresses of all sorts, a route and an unusual length of packets.
    fn with_device() -> Net {
        let net = Net::new();
        net.ip("link add v0 mtu 1400 type veth peer name v1");
        net.ip("link set v1 up");
        net.ip("addr add 10.1.0.1/24 dev v0 label v0:web");
        net.ip("addr add 10.1.0.2/24 dev v0");
        net.ip("addr add 10.2.0.1/24 dev v0 scope link");
        net.ip("addr add fd00::1/64 dev v0 nodad");
        net.ip("addr add fd00::2/64 dev v0 nodad valid_lft 3000 preferred_lft 2000");
        net.ip("link set v0 up");
        net.ip("route add 10.9.0.0/16 via 10.1.0.9 dev v0");
        net
    }

    fn ip(&self, words: &str) -> String {
        ip(&self.namespaces.path("net"), words)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.runtime()
    }

    /// What there is to be seen of `v0`, without what moves by itself.
    fn look(&self) -> String {
        let link: Value = serde_json::from_str(&self.ip("-j link show v0")).unwrap();
        let names = ["ifname", "mtu", "address"].map(|name| link[0][name].clone());
        let up = link[0]["flags"].as_array().unwrap().contains(&json!("UP"));
        let addresses: Value = serde_json::from_str(&self.ip("-j addr show v0")).unwrap();
        let of = |address: &Value| {
            ["local", "prefixlen", "scope", "label"].map(|name| address[name].to_string()).join(" ")
        };
        let addresses = addresses[0]["addr_info"].as_array().unwrap().iter().map(of);
        // The kernel makes this one up itself, a while after the device is up.
        let mut addresses: Vec<String> = addresses.filter(|address| !address.contains("fe80::")).collect();
        addresses.sort();
        format!("{names:?} up {up}\n{}\n{}", addresses.join("\n"), self.ip("route show dev v0"))
    }
}

fn ip(namespace: &Path, words: &str) -> String {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace.display())).arg("ip").args(words.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn exists(namespace: &Path, device: &str) -> bool {
    ip(namespace, "-o link").contains(&format!(": {device}@"))
        || ip(namespace, "-o link").contains(&format!(": {device}:"))
}

fn taking(devices: Value) -> BundleBuilder {
    Bundle::new().set("/linux/netDevices", devices)
}

/// The addresses of a device and of its labels, without those that the kernel makes up itself.
fn own_addresses<'a>(report: &'a Report, device: &str) -> Vec<&'a str> {
    let named = |name: &str| name.split(':').next() == Some(device);
    let interfaces = report.interfaces.iter().filter(|(name, _)| named(name)).map(|(_, interface)| interface);
    let mut own: Vec<&str> = interfaces.flat_map(|i| i.addresses.iter()).map(String::as_str).collect();
    own.retain(|address| !address.starts_with("fe80::"));
    own.sort_unstable();
    own
}

fn refused(net: &Net, bundle: &Bundle, words: &[&str]) {
    let before = net.look();
    let id = net.runtime().fresh_id();
    let finished = net.runtime().call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert!(!finished.exit.success());
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is not in {:?}", finished.stderr);
    }
    assert_eq!(net.look(), before);
    assert_eq!(net.runtime().leftovers(&id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn d08_a_device_keeps_its_permanent_global_addresses_and_is_up() {
    for name in [None, Some("lan0")] {
        let net = Net::with_device();
        let entry = name.map_or(json!({}), |name| json!({"name": name}));
        let bundle = taking(json!({"v0": entry})).args(["/bin/probe", "report"]).build().unwrap();
        let report = net.runtime().observe(&bundle).unwrap();
        let name = name.unwrap_or("v0");
        let device = &report.interfaces[name];
        assert!(
            device.flags.contains(&"UP".into()) && device.flags.contains(&"RUNNING".into()),
            "{device:?}"
        );
        assert_eq!(own_addresses(&report, name), ["10.1.0.1", "10.1.0.2", "fd00::1"]);
        assert!(report.interfaces["lo"].flags.contains(&"UP".into()));
    }
}

#[test]
fn d08_a_device_keeps_its_other_attributes_and_is_gone_from_the_host() {
    let net = Net::with_device();
    let hardware = serde_json::from_str::<Value>(&net.ip("-j link show v0")).unwrap()[0]["address"].clone();
    let bundle = taking(json!({"v0": {"name": "lan0"}})).args(["/bin/probe", "wait"]).build().unwrap();
    let container = net.runtime().create(&bundle).unwrap();
    assert!(!exists(&net.namespaces.path("net"), "v0"));
    let inside = format!("/proc/{}/ns/net", container.pid());
    let link: Value = serde_json::from_str(&ip(Path::new(&inside), "-j link show lan0")).unwrap();
    assert_eq!((&link[0]["mtu"], &link[0]["address"]), (&json!(1400), &hardware));
}

#[test]
fn d08_a_device_goes_into_a_user_namespace_and_past_a_second_process() {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mapped = |bundle: BundleBuilder| {
        bundle
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
    };
    let pod = Namespaces::new(&["--uts"]);
    let joined = json!([
        {"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
        {"type": "uts", "path": pod.path("uts")},
    ]);
    let taking = || taking(json!({"v0": {"name": "lan0"}}));
    let offset = taking()
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 7}}));
    let forked = mapped(taking()).set("/linux/namespaces", joined).remove("/hostname");
    for bundle in [mapped(taking()), offset, forked] {
        let net = Net::with_device();
        let bundle = bundle.args(["/bin/probe", "report"]).build().unwrap();
        let report = net.runtime().observe(&bundle).unwrap();
        assert_eq!(own_addresses(&report, "lan0"), ["10.1.0.1", "10.1.0.2", "fd00::1"]);
    }
}

#[test]
fn d08_kernel_parameters_of_a_device_are_set_when_it_is_there() {
    let net = Net::with_device();
    let key = "net.ipv4.conf.lan0.rp_filter";
    let bundle = taking(json!({"v0": {"name": "lan0"}}))
        .set("/linux/sysctl", json!({key: "2"}))
        .args(["/bin/probe", "report", "--sysctl", key])
        .build()
        .unwrap();
    assert_eq!(net.runtime().observe(&bundle).unwrap().sysctls[key], Ok("2".into()));
}

#[test]
fn d09_e21_a_name_that_is_taken_is_refused_and_a_template_finds_another() {
    let net = Net::with_device();
    let pod = Namespaces::new(&["--net"]);
    ip(&pod.path("net"), "link add lan0 type veth peer name lan1");
    let join = |name: &str| {
        taking(json!({"v0": {"name": name}}))
            .set(
                "/linux/namespaces",
                json!([{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": pod.path("net")}]),
            )
            .remove("/hostname")
            .args(["/bin/probe", "report"])
            .build()
            .unwrap()
    };
    let words = ["network device v0 as lan0", "file exists", "give another, or one that ends in %d"];
    refused(&net, &join("lan0"), &words);
    refused(&net, &join("lo"), &["network device v0 as lo", "file exists"]);
    let report = net.runtime().observe(&join("lan%d")).unwrap();
    assert_eq!(own_addresses(&report, "lan2"), ["10.1.0.1", "10.1.0.2", "fd00::1"]);
}

#[test]
fn d09_devices_with_one_template_are_told_apart() {
    let net = Net::with_device();
    let bundle = taking(json!({"v0": {"name": "lan%d"}, "v1": {"name": "lan%d"}}));
    let report = net.runtime().observe(&bundle.args(["/bin/probe", "report"]).build().unwrap()).unwrap();
    let names: Vec<_> = report.interfaces.keys().map(String::as_str).collect();
    assert_eq!(names, ["lan0", "lan1", "lo"]);
}

#[test]
fn d10_a_device_is_neither_managed_nor_moved_back() {
    let net = Net::with_device();
    let pod = Namespaces::new(&["--net"]);
    let bundle = taking(json!({"v0": {}}))
        .set(
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": pod.path("net")}]),
        )
        .remove("/hostname")
        .args(["/bin/probe", "wait"])
        .build()
        .unwrap();
    let mut container = net.runtime().create(&bundle).unwrap();
    // What is changed from here on stays changed.
    ip(&pod.path("net"), "link set v0 down");
    ip(&pod.path("net"), "addr flush dev v0");
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container.kill("TERM").unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    container.delete().unwrap().success().unwrap();
    assert!(!exists(&net.namespaces.path("net"), "v0"));
    let left: Value = serde_json::from_str(&ip(&pod.path("net"), "-j addr show v0")).unwrap();
    assert_eq!((&left[0]["operstate"], &left[0]["addr_info"]), (&json!("DOWN"), &json!([])));
}

#[test]
fn d08_a_device_that_is_missing_or_bound_to_its_namespace_is_refused_by_name() {
    let net = Net::with_device();
    let missing = taking(json!({"v0": {"name": "lan0"}, "zz0": {}})).build().unwrap();
    refused(&net, &missing, &["network device zz0", "no such device", "has no device of this name"]);
    let bound = taking(json!({"v0": {"name": "lan0"}, "lo": {"name": "loop0"}})).build().unwrap();
    refused(&net, &bound, &["network device lo as loop0", "invalid argument", "keeps devices of this kind"]);
}

#[test]
fn b11_who_may_not_take_a_device_away_is_told_so() {
    let rootless = Rootless::new(100_000, 65_536);
    let map = json!([{"containerID": 0, "hostID": 1, "size": 60_000}]);
    let bundle = taking(json!({"eth-none": {}, "lo": {"name": "loop0"}}))
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .owned_by(100_001, 100_001)
        .build()
        .unwrap();
    let runtime = rootless.runtime();
    let finished =
        runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &runtime.fresh_id()]).unwrap();
    assert!(finished.stderr.contains("network device eth-none"), "{}", finished.stderr);
    assert!(finished.stderr.contains("operation not permitted"), "{}", finished.stderr);
    assert!(finished.stderr.contains("takes CAP_NET_ADMIN"), "{}", finished.stderr);
}

#[test]
fn d08_whatever_fails_after_the_move_the_device_is_where_and_how_it_was() {
    let net = Net::with_device();
    // The second one is down, and stays so.
    net.ip("link set v1 down");
    let bundle = taking(json!({"v0": {"name": "lan%d"}, "v1": {"name": "lan%d"}}))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}]}))
        .args(["/bin/probe", "exit", "0"])
        .build()
        .unwrap();
    let path = bundle.path().to_str().unwrap();
    let before = net.look();
    let plan = net.runtime().call(["plan", "--steps", "--bundle", path, "any"]).unwrap().success().unwrap();
    let codes = plan.stdout.lines().map(|line| line.trim().split(' ').next().unwrap());
    let mut failed = 0;
    for code in codes {
        let id = net.runtime().fresh_id();
        let created = net.runtime().call(["create", "--bundle", path, "--fail-at", code, &id]).unwrap();
        if created.exit.success() {
            // A step of start: the container has the devices for good.
            net.runtime().call(["delete", "--force", &id]).unwrap().success().unwrap();
            break;
        }
        failed += 1;
        assert_eq!(net.look(), before, "after step {code}: {}", created.stderr);
        assert!(!net.ip("-o link show v1").contains("UP"), "after step {code}");
    }
    assert!(failed > 40 && !exists(&net.namespaces.path("net"), "v0"), "{failed} steps failed");
}

#[test]
fn d08_features_say_that_devices_are_moved() {
    let features = integration_tests::runtime().call(["features"]).unwrap().success().unwrap().stdout;
    let features: Value = serde_json::from_str(&features).unwrap();
    assert_eq!(features["linux"]["netDevices"], json!({"enabled": true}));
}
