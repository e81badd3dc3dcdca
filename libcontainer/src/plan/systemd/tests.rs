//! Names, places and values of units.

use serde_json::{Value as Json, json};

use super::properties::of_writes;
use super::*;
use crate::plan::Plan;
use crate::plan::cgroup::Driver;
use crate::plan::limits::Write;
use crate::plan::tests::{FACTS, choices, spec};

fn facts(manager: Manager, root: &str) -> Facts {
    Facts { systemd: Some(SystemdFacts { manager, root: root.into() }), ..FACTS.clone() }
}

/// The unit's name and the cgroup's path, or what is wrong.
fn placed_by(asked: &str, id: &str, facts: &Facts) -> Result<(String, String), String> {
    let choices = Choices { id: id.into(), driver: Driver::Systemd, ..choices() };
    let mut findings = Findings::new(false);
    let place = place(asked, &choices, facts, &mut findings);
    match (place, findings.finish()) {
        (Some(place), Ok(_)) => Ok((place.name.name, place.path)),
        (_, Err(invalid)) => Err(invalid.to_string()),
        (None, Ok(_)) => panic!("no place and no finding"),
    }
}

fn placed(asked: &str) -> Result<(String, String), String> {
    placed_by(asked, "box", &facts(Manager::System, "/"))
}

fn pair(name: &str, path: &str) -> Result<(String, String), String> {
    Ok((name.into(), path.into()))
}

#[test]
fn g04_a_slice_a_prefix_and_a_name_make_a_scope_in_the_slice() {
    assert_eq!(placed("system.slice:docker:abc"), pair("docker-abc.scope", "/system.slice/docker-abc.scope"));
    assert_eq!(placed("system.slice::abc"), pair("abc.scope", "/system.slice/abc.scope"));
    let pod = "kubepods-burstable-pod1_2.slice:cri-containerd:abc";
    let path =
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope";
    assert_eq!(placed(pod), pair("cri-containerd-abc.scope", path));
}

#[test]
fn g05_what_is_left_out_has_a_default_for_root_and_for_users() {
    assert_eq!(placed(""), pair("ketch-box.scope", "/system.slice/ketch-box.scope"));
    assert_eq!(placed(":docker:abc"), pair("docker-abc.scope", "/system.slice/docker-abc.scope"));
    let users = facts(Manager::User, "/u/user@7.service");
    let path = "/u/user@7.service/user.slice/ketch-box.scope";
    assert_eq!(placed_by("", "box", &users), pair("ketch-box.scope", path));
    // An id may have a sign that a unit's name must not have.
    let escaped = placed_by("", "a+b", &facts(Manager::System, "/")).unwrap();
    assert_eq!(escaped.0, "ketch-a\\x2bb.scope");
}

#[test]
fn b32_the_way_from_a_unit_to_a_cgroup_below_it() {
    let way = |unit: &str, path: &str| {
        let name = UnitName { name: unit.into(), manager: Manager::User };
        name.way_to(path).map(str::to_owned)
    };
    assert_eq!(way("a.scope", "/sys/fs/cgroup/x.slice/a.scope").as_deref(), Some(""));
    assert_eq!(way("a.scope", "/sys/fs/cgroup/x.slice/a.scope/b/c").as_deref(), Some("/b/c"));
    assert_eq!(way("a.scope", "/x/a.scope-not/a.scope/b").as_deref(), Some("/b"));
    assert_eq!(way("a.scope", "/x/ba.scope"), None);
    // systemd puts a sign before what the kernel might take for its own.
    assert_eq!(way("cpu.scope", "/x/_cpu.scope/b").as_deref(), Some("/b"));
}

#[test]
fn g06_the_root_slice_and_units_that_are_slices() {
    for root in ["-:p:n", "-.slice:p:n"] {
        assert_eq!(placed(root), pair("p-n.scope", "/p-n.scope"));
    }
    assert_eq!(placed("a.slice::a-b.slice"), pair("a-b.slice", "/a.slice/a-b.slice"));
    assert_eq!(placed("::a-b.slice"), pair("a-b.slice", "/a.slice/a-b.slice"));
    assert!(placed("system.slice::a-b.slice").unwrap_err().contains("is not in system.slice"));
    assert!(placed("-::-.slice").unwrap_err().contains("is not in"));
}

#[test]
fn g06_names_that_the_kernel_might_take_for_its_own_have_a_sign_before_them() {
    assert_eq!(placed("a.slice::cpu.x").unwrap().1, "/a.slice/_cpu.x.scope");
    assert_eq!(placed("a.slice:_p:n").unwrap().1, "/a.slice/__p-n.scope");
    assert_eq!(placed("a.slice:cpu:n").unwrap().1, "/a.slice/cpu-n.scope");
}

#[test]
fn g04_g06_what_cannot_be_a_unit_is_refused_with_the_reason() {
    let cases = [
        (
            "/a/b",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\"",
        ),
        ("a.slice:b", "expected cgroupsPath"),
        ("a.slice:b:c:d", "expected cgroupsPath"),
        ("a:b:c", "has to end in .slice"),
        ("a--b.slice:b:c", "a dash stands at an end"),
        ("-a.slice:b:c", "a dash stands at an end"),
        (".slice:b:c", "a dash stands at an end"),
        ("a/b.slice:b:c", "has '/' in it"),
        ("a.slice:b:c/d", "has '/' in it"),
        ("a.slice:b:c d", "has ' ' in it"),
        ("a.slice:b:", "has no name"),
    ];
    for (asked, says) in cases {
        let refused = placed(asked).unwrap_err();
        assert!(refused.contains(says), "{asked}: {refused}");
    }
    assert!(placed(&format!("a.slice:b:{}", "c".repeat(250))).unwrap_err().contains("systemd takes 255"));
    assert!(placed_by("", "box", &FACTS).unwrap_err().contains("does not run on this host"));
}

fn write(file: &str, value: &str) -> Write {
    Write { hierarchy: 0, file: file.into(), value: value.into(), at: "/x".into(), may_be_absent: false }
}

/// The properties for these files, as text.
fn said(files: &[(&str, &str)]) -> Vec<String> {
    let writes: Vec<Write> = files.iter().map(|(file, value)| write(file, value)).collect();
    of_writes(&writes).iter().map(|property| format!("{}={}", property.name, property.value)).collect()
}

#[test]
fn b21_c32_every_file_that_systemd_has_a_property_for_is_said_to_it() {
    assert_eq!(said(&[("memory.max", "max")]), ["MemoryMax=uint64 18446744073709551615"]);
    assert_eq!(said(&[("memory.limit_in_bytes", "-1")]), ["MemoryLimit=uint64 18446744073709551615"]);
    assert_eq!(
        said(&[("memory.high", "2G"), ("pids.max", "0")]),
        ["MemoryHigh=uint64 2147483648", "TasksMax=uint64 1"]
    );
    assert_eq!(said(&[("cpu.idle", "1")]), ["CPUWeight=uint64 0"]);
    assert_eq!(said(&[("cpu.idle", "0")]), [""; 0]);
    assert_eq!(said(&[("cpuset.cpus", "0-2,9")]), ["AllowedCPUs=[byte 7, byte 2]"]);
    assert_eq!(said(&[("cpuset.cpus", "0-99999999")]), [""; 0]);
    assert_eq!(said(&[("memory.oom.group", "0")]), ["OOMPolicy=\"continue\""]);
    let weights = [("io.weight", "8:0 10"), ("io.weight", "100")];
    let expected = ["IODeviceWeight=[(\"/dev/block/8:0\", uint64 10)]", "IOWeight=uint64 100"];
    assert_eq!(said(&weights), expected);
    let rates = [("io.max", "8:0 rbps=1 wiops=max"), ("io.max", "8:16 rbps=2"), ("io.max", "8:0 rbps=3")];
    let expected = [
        "IOReadBandwidthMax=[(\"/dev/block/8:16\", uint64 2), (\"/dev/block/8:0\", uint64 3)]",
        "IOWriteIOPSMax=[(\"/dev/block/8:0\", uint64 18446744073709551615)]",
    ];
    assert_eq!(said(&rates), expected);
    assert_eq!(said(&[("hugetlb.2MB.max", "0"), ("cpu.max.burst", "5"), ("misc.max", "a 1")]), [""; 0]);
    // The last word about a file is the one that holds.
    assert_eq!(said(&[("pids.max", "1"), ("pids.max", "2")]), ["TasksMax=uint64 2"]);
}

#[test]
fn b21_systemd_never_writes_less_than_the_quota_that_was_asked_for() {
    let wholes = [(50_000_u64, 100_000_u64), (15_000, 30_000), (400_000, 100_000)];
    let others = [(10_000, 30_000), (1_000, 999_999), (33_333, 100_000), (12_500, 100_000)];
    for (quota, period) in wholes.into_iter().chain(others) {
        let said = said(&[("cpu.max", &format!("{quota} {period}"))]);
        assert_eq!(said[1], format!("CPUQuotaPeriodUSec=uint64 {period}"));
        let of_second: u64 = said[0].strip_prefix("CPUQuotaPerSecUSec=uint64 ").unwrap().parse().unwrap();
        assert_eq!(of_second % 10_000, 0, "a whole percent");
        // As cgroup_apply_unified_cpu_quota of systemd's does it.
        let written = of_second * period / 1_000_000;
        let most = if wholes.contains(&(quota, period)) { quota } else { quota + period / 100 };
        assert!((quota..=most).contains(&written), "{quota} {period}: {written}");
    }
    let infinity = "CPUQuotaPerSecUSec=uint64 18446744073709551615";
    assert_eq!(said(&[("cpu.max", "max 50000")]), [infinity, "CPUQuotaPeriodUSec=uint64 50000"]);
    assert_eq!(
        said(&[("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "25000")])[0],
        "CPUQuotaPerSecUSec=uint64 500000"
    );
}

/// The unit of a config, or what is wrong with it.
fn unit_of(part: Json) -> Result<Unit, String> {
    let choices = Choices { driver: Driver::Systemd, ..choices() };
    let mut document = json!({"linux": {"namespaces": [{"type": "mount"}]}});
    for (key, value) in part.as_object().unwrap() {
        document[key] = value.clone();
    }
    let plan = Plan::compile(&spec(document), &choices, &facts(Manager::System, "/"));
    plan.map(|plan| plan.cgroup.unit.unwrap()).map_err(|invalid| invalid.to_string())
}

/// A property that an annotation gives.
fn annotated(name: &str, text: &str) -> Result<String, String> {
    let unit = unit_of(json!({"annotations": {format!("org.systemd.property.{name}"): text}}))?;
    let at = format!("/annotations/org.systemd.property.{name}");
    let given = unit.properties.iter().find(|property| property.at == at).expect("the annotation gives one");
    assert!(!given.optional && unit.properties.iter().filter(|p| p.name == given.name).count() == 1);
    Ok(format!("{}={}", given.name, given.value))
}

#[test]
fn b22_b23_annotations_in_gvariant_text_are_properties() {
    let cases = [
        ("TimeoutStopUSec", "uint64 10000000", "TimeoutStopUSec=uint64 10000000"),
        ("TimeoutStopUSec", "10000000", "TimeoutStopUSec=uint64 10000000"),
        ("TimeoutStopSec", "10", "TimeoutStopUSec=uint64 10000000"),
        ("TimeoutStopSec", "uint32 10", "TimeoutStopUSec=uint64 10000000"),
        ("TimeoutStopSec", "0.25", "TimeoutStopUSec=uint64 250000"),
        ("KillSignal", "15", "KillSignal=15"),
        ("KillSignal", "int32 37", "KillSignal=37"),
        ("CollectMode", "'inactive-or-failed'", "CollectMode=\"inactive-or-failed\""),
        ("Description", "\"it\\'s\"", "Description=\"it's\""),
        ("SendSIGHUP", "boolean true", "SendSIGHUP=true"),
        ("After", "['a.service',  'b.service' ]", "After=[\"a.service\", \"b.service\"]"),
        ("After", "@as []", "After=@as []"),
        ("AllowedCPUs", "[byte 3, 4]", "AllowedCPUs=[byte 3, byte 4]"),
        ("IOReadBandwidthMax", "[('/dev/sda', 5)]", "IOReadBandwidthMax=[(\"/dev/sda\", uint64 5)]"),
        (
            "IPAddressDeny",
            "[(2, [10, 0, 0, 0], 8)]",
            "IPAddressDeny=[(2, [byte 10, byte 0, byte 0, byte 0], uint32 8)]",
        ),
    ];
    for (name, text, property) in cases {
        assert_eq!(annotated(name, text).as_deref(), Ok(property), "{name} {text}");
    }
}

#[test]
fn b22_malformed_annotations_are_refused_with_the_reason() {
    let cases = [
        ("KillSignal", "uint64 15", "is of the type \"t\", and systemd wants \"i\""),
        ("KillSignal", "TERM", "has \"TERM\""),
        ("KillSignal", "", "has no value"),
        ("KillSignal", "15 16", "has \"16\" after its value"),
        ("KillSignal", "3000000000", "no value of the type \"i\""),
        ("CollectMode", "inactive", "has \"inactive\""),
        ("CollectMode", "'inactive", "without a '"),
        ("CollectMode", "'\\q'", "escape \\q"),
        ("After", "'a.service'", "is of the type \"s\", and systemd wants \"as\""),
        ("After", "['a.service'", "no comma or ]"),
        ("After", "['a.service', 1]", "has a \"i\" in a list of \"s\""),
        ("After", "[[[[[[[[[[[['a']]]]]]]]]]]]", "too deep"),
        ("After", "<['a']>", "is a variant"),
        ("After", "{'a': 1}", "is a variant, a dictionary"),
        ("After", "b'a'", "a string of bytes"),
        ("TimeoutStopSec", "'10'", "is no number of seconds"),
        ("TimeoutStopSec", "-1", "is no number of seconds"),
        ("TimeoutStopSec", "uint64 18446744073709551615", "is no number of seconds"),
        ("TimeoutStopSec", "1e999", "has \"1e999\""),
        ("PIDs", "[uint32 1]", "which the runtime decides"),
        ("Slice", "'x.slice'", "which the runtime decides"),
        ("JobTimeoutAction", "'reboot'", "no property of a scope that a container may set"),
        ("ExecStart", "'x'", "no property of a scope that a container may set"),
        ("", "'x'", "no property of a scope that a container may set"),
    ];
    for (name, text, says) in cases {
        let refused = annotated(name, text).expect_err(name);
        assert!(refused.contains(says), "{name} {text}: {refused}");
        assert!(refused.contains(&format!("/annotations/org.systemd.property.{name}")), "{refused}");
    }
}

#[test]
fn b22_an_annotation_wins_over_a_default_and_not_over_the_config() {
    let both = json!({
        "annotations": {"org.systemd.property.TasksMax": "5"},
        "linux": {"namespaces": [{"type": "mount"}], "resources": {"pids": {"limit": 7}}},
    });
    assert!(unit_of(both).unwrap_err().contains("which /linux/resources/pids/limit says already"));
    assert_eq!(annotated("TasksAccounting", "false").unwrap(), "TasksAccounting=false");
    // Without the driver they are what any other annotation is.
    let annotated = json!({
        "annotations": {"org.systemd.property.KillSignal": "nonsense"},
        "linux": {"namespaces": [{"type": "mount"}]},
    });
    assert!(Plan::compile(&spec(annotated), &choices(), &FACTS).is_ok());
}

#[test]
fn b26_the_device_list_of_systemd_allows_all_that_the_rules_allow() {
    let allowed = |resources: Json| -> String {
        let linux = json!({"namespaces": [{"type": "mount"}], "resources": {"devices": resources}});
        let unit = unit_of(json!({"linux": linux})).unwrap();
        let value = |name: &str| unit.properties.iter().find(|p| p.name == name).map(|p| p.value.to_string());
        format!("{} {}", value("DevicePolicy").unwrap(), value("DeviceAllow").unwrap_or_default())
    };
    let everything = allowed(json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(everything, "\"auto\" ");
    let listed = allowed(json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"},
        {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "w"},
        {"allow": true, "type": "b", "major": 9, "access": "rw"},
        {"allow": true, "type": "c", "minor": 5, "access": "r"},
    ]));
    for entry in [
        "(\"/dev/block/8:0\", \"rw\")",
        "(\"block-9\", \"rw\")",
        "(\"char-*\", \"rm\")",
        "(\"/dev/char/1:3\", \"rwm\")",
    ] {
        assert!(listed.starts_with("\"strict\"") && listed.contains(entry), "{entry}: {listed}");
    }
}
