//! Where a cgroup is and what it has: tests of `plan/cgroup.rs`.

use serde_json::{Value, json};

use super::super::tests::{FACTS, choices, spec};
use super::*;

fn own(hierarchies: &[(CgroupVersion, &str, &str)]) -> CgroupFacts {
    let hierarchy = |(version, controllers, own): &(CgroupVersion, &str, &str)| HierarchyFacts {
        version: *version,
        mount: format!("/sys/fs/cgroup/{controllers}"),
        controllers: controllers.split_whitespace().map(String::from).collect(),
        own: (*own).to_owned(),
    };
    CgroupFacts { hierarchies: hierarchies.iter().map(hierarchy).collect(), huge_page_sizes: Vec::new() }
}

fn unified(path: &str) -> CgroupFacts {
    own(&[(CgroupVersion::V2, "cpu memory", path)])
}

fn hybrid() -> CgroupFacts {
    let v1 = CgroupVersion::V1;
    own(&[
        (v1, "memory", "/a/b"),
        (v1, "devices", "/"),
        (v1, "pids", "/c"),
        (CgroupVersion::V2, "hugetlb", "/d/e"),
    ])
}

/// A host with these hierarchies, as root sees it: `v2`, or the name of one of version 1.
pub(super) fn facts_of(names: &[&str]) -> Facts {
    let hierarchy = |name: &&str| HierarchyFacts {
        version: if *name == "v2" { CgroupVersion::V2 } else { CgroupVersion::V1 },
        mount: match name.strip_prefix("name=").unwrap_or(name) {
            "v2" if names.len() == 1 => "/sys/fs/cgroup".into(),
            name => format!("/sys/fs/cgroup/{name}"),
        },
        controllers: vec![(*name).to_owned()],
        own: "/".into(),
    };
    let hierarchies = names.iter().map(hierarchy).collect();
    Facts { cgroup: CgroupFacts { hierarchies, huge_page_sizes: Vec::new() }, ..FACTS.clone() }
}

fn path_of(asked: &str, cgroup: CgroupFacts, privileged: bool) -> Result<String, String> {
    let facts = Facts { cgroup, privileged, ..FACTS.clone() };
    let mut findings = Findings::default();
    let path = path(asked, &choices(), &facts, &mut findings);
    findings.finish().map(|_| path).map_err(|invalid| invalid.findings()[0].says.clone())
}

#[test]
fn g01_an_absolute_path_is_the_same_everywhere() {
    for cgroup in [unified("/user.slice/x"), hybrid()] {
        assert_eq!(path_of("/docker/abc", cgroup.clone(), true).unwrap(), "/docker/abc");
        assert_eq!(path_of("//docker/./abc/", cgroup, false).unwrap(), "/docker/abc");
    }
}

#[test]
fn g02_a_relative_path_counts_from_the_parent_of_our_own_or_from_the_root() {
    assert_eq!(path_of("a/b", unified("/user.slice/run.scope"), true).unwrap(), "/user.slice/a/b");
    assert_eq!(path_of("a/b", unified("/"), true).unwrap(), "/a/b");
    assert_eq!(path_of("a/b", unified("/run"), true).unwrap(), "/a/b");
    assert_eq!(path_of("a/b", hybrid(), true).unwrap(), "/a/b");
}

#[test]
fn g03_without_a_path_the_id_is_one() {
    assert_eq!(path_of("", unified("/user.slice/x"), true).unwrap(), "/box");
    assert_eq!(path_of("", unified("/user.slice/x"), false).unwrap(), "/user.slice/box");
    assert_eq!(path_of("", hybrid(), false).unwrap(), "/d/box");
    assert_eq!(path_of("", unified("/../../x"), false).unwrap(), "/box");
    assert_eq!(path_of("", own(&[]), false).unwrap(), "/box");
}

#[test]
fn g04_e23_what_cannot_be_a_cgroup_is_refused() {
    let error = |asked: &str| path_of(asked, unified("/x"), true).unwrap_err();
    assert!(error("system.slice:docker:abc").contains("--systemd-cgroup"));
    assert!(error("/a/../b").contains(".."));
    assert!(error("..").contains(".."));
    assert!(error("/a\0b").contains("NUL"));
    assert!(error("/a\nb").contains("line feed"));
    assert!(error("/").contains("root cgroup"));
    assert!(error("//./").contains("root cgroup"));
    assert!(error(&format!("/{}", "a".repeat(256))).contains("255"));
    assert!(error(&"/a".repeat(2100)).contains("4095"));
    assert_eq!(path_of("/a:b:c", unified("/x"), true).unwrap(), "/a:b:c");
    assert_eq!(path_of("a:b", unified("/x"), true).unwrap(), "/a:b");
}

#[test]
fn g01_every_hierarchy_is_entered_and_version_2_turns_its_controllers_on() {
    let made = hierarchies(
        &own(&[
            (CgroupVersion::V1, "name=systemd", "/"),
            (CgroupVersion::V2, "cpuset cpu io memory hugetlb pids rdma misc dmem", "/"),
        ]),
        None,
    );
    assert_eq!(made.len(), 2);
    assert!(made[0].enable.is_empty());
    assert_eq!(made[1].enable, ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"]);
}

#[test]
fn c01_device_rules_are_lines_in_order() {
    let rule = |allow, kind, major, minor, access| DeviceRule { allow, kind, major, minor, access };
    let (char, block) = (Some(DeviceKind::Char), Some(DeviceKind::Block));
    let rules = [
        rule(false, None, None, None, Access::ALL),
        rule(true, char, Some(1), Some(3), Access::ALL),
        rule(true, char, None, None, Access::MKNOD),
        rule(true, block, Some(8), None, Access::READ),
        rule(false, None, Some(10), None, Access::WRITE),
    ];
    let lines: Vec<_> = device_writes(&rules, 4).iter().map(|w| format!("{} {}", w.file, w.value)).collect();
    let wanted = [
        "devices.deny a",
        "devices.allow c 1:3 rwm",
        "devices.allow c *:* m",
        "devices.allow b 8:* r",
        "devices.deny c 10:* w",
        "devices.deny b 10:* w",
    ];
    assert_eq!(lines, wanted);
}

fn compiled(linux: Value, facts: &Facts) -> (Cgroup, usize) {
    let mut findings = Findings::default();
    let cgroup = compile(&spec(json!({"linux": linux})), &choices(), facts, &mut findings);
    (cgroup, findings.finish().unwrap().len())
}

#[test]
fn c01_c02_device_rules_are_writes_or_a_program_or_nothing() {
    let one = json!({"resources": {"devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}});
    let (cgroup, _) = compiled(one.clone(), &FACTS);
    assert!(cgroup.writes.is_empty() && cgroup.devices.iter().any(|rule| rule.minor == Some(229)));
    let facts = Facts { cgroup: hybrid(), ..FACTS.clone() };
    let (cgroup, _) = compiled(one, &facts);
    assert!(cgroup.devices.is_empty());
    let lines: Vec<_> = cgroup.writes.iter().map(|w| (w.hierarchy, w.value.as_str())).collect();
    assert!(lines[0] == (1, "a") && lines.contains(&(1, "c 10:229 rw")));
    let all = json!({"resources": {"devices": [{"allow": true, "access": "rwm"}]}});
    for facts in [facts, FACTS.clone()] {
        let (cgroup, _) = compiled(all.clone(), &facts);
        assert!(cgroup.devices.is_empty() && cgroup.writes.is_empty());
    }
}

#[test]
fn c01_device_rules_that_nobody_can_apply_are_refused() {
    let facts = Facts { cgroup: own(&[(CgroupVersion::V1, "pids", "/")]), ..FACTS.clone() };
    let linux = json!({"linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}]}}});
    let mut findings = Findings::default();
    compile(&spec(linux), &choices(), &facts, &mut findings);
    assert_eq!(findings.finish().unwrap_err().findings()[0].at, "/linux/resources/devices");
    assert!(compiled(json!({}), &facts).0.devices.is_empty());
}

#[test]
fn b06_without_rights_a_cgroup_is_optional_only_if_nothing_is_asked_of_it() {
    let facts = Facts { privileged: false, cgroup: unified("/u/x"), ..FACTS.clone() };
    let nothing = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": {"disableOOMKiller": false}}});
    let (cgroup, _) = compiled(nothing.clone(), &facts);
    assert!(cgroup.optional && cgroup.devices.is_empty() && cgroup.writes.is_empty());
    assert!(!compiled(json!({"resources": {"memory": {"limit": 1}}}), &facts).0.optional);
    assert!(!compiled(nothing, &FACTS).0.optional);
}

#[test]
fn b06_podmans_default_limit_of_tasks_does_not_keep_it_from_hosts_of_version_1() {
    let facts = Facts { privileged: false, cgroup: hybrid(), ..FACTS.clone() };
    let pids = json!({"resources": {"pids": {"limit": 2048}}});
    let (cgroup, warnings) = compiled(pids.clone(), &facts);
    assert!(cgroup.optional && cgroup.writes.len() == 1 && warnings == 1);
    let mut asked = pids;
    asked["cgroupsPath"] = json!("/podman/x");
    assert!(!compiled(asked, &facts).0.optional);
}
