//! Mounts from the config to the plan: tests of `plan/mounts.rs`.

use super::*;
use crate::plan::facts::{CgroupFacts, CgroupVersion, HierarchyFacts};
use crate::plan::invalid::{Finding, Invalid};
use crate::plan::namespaces;
use crate::plan::tests::{FACTS, choices, spec};
use serde_json::{Value, json};

const NEW_CGROUP: &[&str] = &["mount", "pid", "cgroup"];

/// A config, compiled under facts and namespaces: the root file system and the warnings, or what is wrong.
fn compiled(part: Value, facts: &Facts, namespaces: &[&str]) -> Result<(Rootfs, Vec<Finding>), Invalid> {
    let mut part = part;
    let listed: Vec<Value> = namespaces.iter().map(|name| json!({"type": name})).collect();
    let linux = part["linux"].as_object().cloned().unwrap_or_default();
    part["linux"] = Value::Object(linux);
    part["linux"]["namespaces"] = Value::Array(listed);
    let spec = spec(part);
    let mut findings = Findings::default();
    let entry = namespaces::compile(&spec, facts, &mut Findings::default());
    let rootfs = compile(&spec, &choices(), facts, &entry, &cgroup(facts), &mut findings);
    findings.finish().map(|warnings| (rootfs, warnings))
}

/// A cgroup /box in all hierarchies of the host.
fn cgroup(facts: &Facts) -> Cgroup {
    let hierarchy = |h: &HierarchyFacts| crate::plan::limits::Hierarchy {
        version: h.version,
        mount: h.mount.clone(),
        controllers: h.controllers.clone(),
        enable: Vec::new(),
    };
    let hierarchies = facts.cgroup.hierarchies.iter().map(hierarchy).collect();
    Cgroup { path: "/box".into(), hierarchies, ..Cgroup::default() }
}

fn mount(mount: Value) -> Mount {
    let (rootfs, _) = compiled(json!({"mounts": [mount]}), &FACTS, NEW_CGROUP).unwrap();
    rootfs.mounts.into_iter().next().unwrap()
}

/// Where the errors of one mount are, below `/mounts/0/`.
fn wrong(mount: Value) -> Vec<String> {
    let invalid = compiled(json!({"mounts": [mount]}), &FACTS, NEW_CGROUP).unwrap_err();
    invalid.findings().iter().map(|f| f.at.replacen("/mounts/0/", "", 1)).collect()
}

fn warnings(mount: Value) -> Vec<String> {
    let (_, warnings) = compiled(json!({"mounts": [mount]}), &FACTS, NEW_CGROUP).unwrap();
    warnings.into_iter().map(|f| f.at.replacen("/mounts/0/", "", 1)).collect()
}

fn kernel(text: &str) -> KernelString {
    KernelString::new(text).unwrap()
}

/// (source, deep, attributes, recursive, by_runtime) of a bind.
fn bind(what: Value) -> (String, bool, Attributes, Attributes, bool) {
    let mount = mount(what);
    match mount.what {
        What::Bind { source, deep, attributes, by_runtime, .. } => {
            (source.to_string(), deep, attributes, mount.recursive, by_runtime)
        }
        other => panic!("{other:?} is not a bind"),
    }
}

/// (type, source, flags, data) of a new file system.
fn filesystem(mount: &Mount) -> (&str, &str, u64, &str) {
    match &mount.what {
        What::Filesystem { fstype, source, flags, data, .. } => {
            (fstype.as_str(), source.as_str(), *flags, data.as_str())
        }
        other => panic!("{other:?} is not a file system"),
    }
}

#[test]
fn m01_m03_m09_mounts_keep_their_order_and_the_source_defaults_to_the_type() {
    let (rootfs, _) = compiled(
        json!({"mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "", "size=64k"]}
        ]}),
        &FACTS,
        NEW_CGROUP,
    )
    .unwrap();
    assert_eq!(filesystem(&rootfs.mounts[0]), ("proc", "proc", 0xe, ""));
    assert_eq!(filesystem(&rootfs.mounts[1]), ("tmpfs", "tmpfs", 0x100_0002, "mode=755,size=64k"));
    assert_eq!(rootfs.mounts[1].to_string(), "tmpfs on /dev");
}

#[test]
fn m02_a_relative_destination_counts_from_the_root_with_a_warning() {
    let relative = json!({"destination": "data/x", "type": "tmpfs"});
    assert_eq!(mount(relative.clone()).destination.as_str(), "/data/x");
    assert_eq!(warnings(relative), ["destination"]);
    assert_eq!(wrong(json!({"destination": "", "type": "tmpfs"})), ["destination"]);
}

#[test]
fn m04_m05_a_bind_ignores_its_type_and_a_relative_source_is_in_the_bundle() {
    let none = Attributes::default();
    let what = json!({"destination": "/d", "type": "ext4", "source": "sub/x", "options": ["bind"]});
    assert_eq!(bind(what), ("/bundle/sub/x".into(), false, none, none, false));
    let what = json!({"destination": "/d", "source": "/x", "options": ["rbind", "rprivate"]});
    assert_eq!(bind(what), ("/x".into(), true, none, none, false));
    let by_type = json!({"destination": "/d", "type": "bind", "source": "/x"});
    assert_eq!(bind(by_type.clone()), ("/x".into(), false, none, none, false));
    assert_eq!(warnings(by_type), ["options"]);
}

#[test]
fn m10_rw_clears_read_only_on_a_bind_and_what_is_not_named_is_inherited() {
    let what = json!({"destination": "/d", "source": "/x", "options": ["rbind", "ro", "nosuid", "rw"]});
    assert_eq!(bind(what).2, Attributes { set: 2, clear: 1 });
}

#[test]
fn m24_a_recursive_change_reaches_the_tree_of_an_rbind_and_the_one_mount_of_a_bind() {
    let deep = bind(json!({"destination": "/d", "source": "/x", "options": ["rbind", "ro", "nodev", "rro"]}));
    assert_eq!((deep.2, deep.3), (Attributes { set: 4, clear: 0 }, Attributes { set: 1, clear: 0 }));
    let shallow = bind(json!({"destination": "/d", "source": "/x", "options": ["bind", "nodev", "rro"]}));
    assert_eq!((shallow.2, shallow.3), (Attributes { set: 5, clear: 0 }, Attributes::default()));
    let new = mount(json!({"destination": "/d", "type": "tmpfs", "options": ["rro", "rnosuid"]}));
    assert_eq!((filesystem(&new).2, new.recursive), (3, Attributes::default()));
}

#[test]
fn m07_an_unknown_option_on_a_bind_is_refused_and_one_of_the_file_system_has_no_effect() {
    let options = json!(["rbind", "sync", "mode=755", "async", "", "ro=x"]);
    assert_eq!(
        wrong(json!({"destination": "/d", "source": "/x", "options": options})),
        ["options/2", "options/5"]
    );
    let options = json!(["rbind", "sync", "async", "lazytime"]);
    assert_eq!(
        warnings(json!({"destination": "/d", "source": "/x", "options": options})),
        ["options/1", "options/3"]
    );
}

#[test]
fn m14_a_remount_needs_neither_source_nor_type() {
    let options = json!(["remount", "ro", "sync", "size=1m"]);
    let what = mount(json!({"destination": "/d", "options": options})).what;
    assert_eq!(
        what,
        What::Remount {
            attributes: Attributes { set: 1, clear: 0 },
            superblock: Some(0x10),
            data: kernel("size=1m")
        }
    );
    let what = mount(json!({"destination": "/d", "options": ["remount", "bind", "nosuid"]})).what;
    assert_eq!(
        what,
        What::Remount { attributes: Attributes { set: 2, clear: 0 }, superblock: None, data: kernel("") }
    );
}

#[test]
fn m16_to_m19_propagation_goes_with_any_mount_in_listed_order() {
    let flags = |what: Value| mount(what).propagation.iter().map(|p| p.flags).collect::<Vec<_>>();
    let options = json!(["rbind", "rslave", "shared"]);
    assert_eq!(
        flags(json!({"destination": "/d", "source": "/x", "options": options})),
        [1 << 19 | 1 << 14, 1 << 20]
    );
    assert_eq!(flags(json!({"destination": "/d", "type": "tmpfs", "options": ["unbindable"]})), [1 << 17]);
}

#[test]
fn m30_tmpcopyup_makes_a_detached_tmpfs_and_is_without_effect_elsewhere() {
    let copied = |options: Value| match mount(
        json!({"destination": "/d", "type": "tmpfs", "options": options}),
    )
    .what
    {
        What::Detached(Detached {
            copy_up: Some(copy_up),
            attributes,
            parameters,
            inherits_mode,
            readonly,
            ..
        }) => (copy_up, inherits_mode, readonly, attributes, parameters.len()),
        other => panic!("{other:?}"),
    };
    let all = CopyUp { uid: true, gid: true };
    assert_eq!(copied(json!(["tmpcopyup", "nosuid"])), (all, true, false, 2, 0));
    let some = CopyUp { uid: false, gid: true };
    assert_eq!(copied(json!(["ro", "tmpcopyup", "mode=755", "uid=7", "sync"])), (some, false, true, 0, 3));
    for options in [json!(["bind", "tmpcopyup"]), json!(["remount", "tmpcopyup"])] {
        assert_eq!(warnings(json!({"destination": "/d", "source": "/x", "options": options})), ["options/1"]);
    }
    assert_eq!(
        warnings(json!({"destination": "/d", "type": "ramfs", "options": ["tmpcopyup"]})),
        ["options/0"]
    );
}

#[test]
fn a_new_file_system_needs_a_type_and_a_bind_a_source() {
    assert_eq!(wrong(json!({"destination": "/d", "source": "/x"})), ["type"]);
    assert_eq!(wrong(json!({"destination": "/d", "source": "/x", "type": "none"})), ["type"]);
    assert_eq!(wrong(json!({"destination": "/d", "options": ["bind"]})), ["source"]);
    assert_eq!(wrong(json!({"destination": "/d", "source": "/a\0b", "options": ["bind"]})), ["source"]);
    assert_eq!(wrong(json!({"destination": "/d\0", "type": "tmpfs"})), ["destination"]);
    assert_eq!(wrong(json!({"destination": "/d", "type": "tmpfs", "options": ["a\0"]})), ["options"]);
    assert_eq!(
        wrong(json!({"destination": "/d", "type": "tmpfs", "options": ["x".repeat(4096)]})),
        ["options"]
    );
}

#[test]
fn m31_m33_m34_mappings_of_its_own_map_a_mount_with_or_without_the_option() {
    let ids = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    for (options, deep) in [(json!(["rbind"]), false), (json!(["rbind", "ridmap"]), true)] {
        let what = json!({"destination": "/d", "source": "/x", "options": options, "uidMappings": ids, "gidMappings": ids});
        let What::Bind { idmap: Some(idmap), by_runtime: true, .. } = mount(what).what else { panic!() };
        assert_eq!((idmap.deep, idmap.maps.map(|m| m.users[0].outside)), (deep, Some(200_000)));
    }
    for (fstype, kernel_can) in [("tmpfs", true), ("proc", false), ("mqueue", false), ("cgroup2", false)] {
        let what = json!({"destination": "/d", "type": fstype, "uidMappings": ids, "gidMappings": ids});
        if kernel_can {
            assert!(matches!(
                mount(what).what,
                What::Detached(Detached { idmap: Some(_), copy_up: None, .. })
            ));
        } else {
            assert_eq!(wrong(what), ["/mounts/0"], "{fstype}");
        }
    }
    let half = json!({"destination": "/d", "source": "/x", "options": ["bind", "idmap"], "uidMappings": ids});
    assert_eq!(wrong(half), ["gidMappings"]);
    let remount =
        json!({"destination": "/d", "options": ["remount"], "uidMappings": ids, "gidMappings": ids});
    assert_eq!(wrong(remount), ["/mounts/0"]);
}

#[test]
fn m32_e16_idmap_alone_takes_the_maps_of_the_container_and_needs_a_user_namespace() {
    let what = json!({"destination": "/d", "source": "/x", "options": ["bind", "ridmap"]});
    assert_eq!(wrong(what.clone()), ["options/1"]);
    let (rootfs, _) = compiled(json!({"mounts": [what]}), &FACTS, &["mount", "user"]).unwrap();
    let What::Bind { idmap, by_runtime: true, .. } = &rootfs.mounts[0].what else { panic!() };
    assert_eq!(idmap.as_ref(), Some(&IdMap { maps: None, deep: true }));
}

#[test]
fn a_bind_is_opened_by_a_privileged_runtime_when_the_container_changes_user() {
    let part = json!({"mounts": [{"destination": "/d", "source": "/x", "options": ["bind"]}]});
    let rootless = Facts { privileged: false, uid: 1000, ..FACTS.clone() };
    for (facts, namespaces, expected) in [
        (&*FACTS, ["mount", "user"], true),
        (&*FACTS, ["mount", "pid"], false),
        (&rootless, ["mount", "user"], false),
    ] {
        let (rootfs, _) = compiled(part.clone(), facts, &namespaces).unwrap();
        assert!(matches!(rootfs.mounts[0].what, What::Bind { by_runtime, .. } if by_runtime == expected));
        assert_eq!(rootfs.bind_devices, namespaces.contains(&"user"));
    }
}

#[test]
fn m39_a_unified_host_gives_the_containers_own_cgroup_and_a_directory_to_fall_back_on() {
    let what = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "rprivate", "nsdelegate"]});
    let mount = mount(what);
    let fallback = kernel("/sys/fs/cgroup/box");
    assert_eq!(mount.what, What::Cgroup { flags: 3, data: kernel("nsdelegate"), fallback });
    assert_eq!(mount.propagation.len(), 1);
}

#[test]
fn m39_version_2_is_the_hosts_own_mount_where_the_container_sees_what_the_host_does() {
    let part = json!({"mounts": [{"destination": "/c", "type": "cgroup2", "options": ["ro", "nosuid"]}]});
    let of = |namespaces: &[&str]| compiled(part.clone(), &FACTS, namespaces).unwrap().0.mounts.remove(0);
    let What::Bind { source, attributes, .. } = of(&["mount", "pid"]).what else { panic!() };
    assert_eq!((source.as_str(), attributes), ("/sys/fs/cgroup", Attributes { set: 3, clear: 0 }));
    for namespaces in [["mount", "cgroup"], ["mount", "user"]] {
        assert!(matches!(of(&namespaces).what, What::Cgroup { .. }), "{namespaces:?}");
    }
}

#[test]
fn m39_without_a_cgroup_for_the_container_the_runtimes_own_is_the_fallback() {
    let spec = spec(json!({"mounts": [{"destination": "/c", "type": "cgroup"}]}));
    let (entry, cgroup) = (Entry::default(), Cgroup::default());
    let facts = Facts { privileged: false, ..FACTS.clone() };
    let rootfs = compile(&spec, &choices(), &facts, &entry, &cgroup, &mut Findings::default());
    let What::Cgroup { fallback, .. } = &rootfs.mounts[0].what else { panic!() };
    assert_eq!(fallback.as_str(), "/sys/fs/cgroup/user.slice/session.scope");
}

fn hybrid() -> Facts {
    let hierarchy = |version, name: &str, controllers: &[&str]| HierarchyFacts {
        version,
        mount: format!("/sys/fs/cgroup/{name}"),
        controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        own: "/".into(),
    };
    let hierarchies = vec![
        hierarchy(CgroupVersion::V1, "cpu,cpuacct", &["cpu", "cpuacct"]),
        hierarchy(CgroupVersion::V1, "memory", &["memory"]),
        hierarchy(CgroupVersion::V1, "systemd", &["name=systemd"]),
        hierarchy(CgroupVersion::V2, "unified", &[]),
    ];
    Facts { cgroup: CgroupFacts { hierarchies, huge_page_sizes: vec![] }, ..FACTS.clone() }
}

fn tree(facts: &Facts, namespaces: &[&str]) -> Vec<TreeHierarchy> {
    let part =
        json!({"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "rnodev"]}]});
    let (rootfs, _) = compiled(part, facts, namespaces).unwrap();
    match rootfs.mounts.into_iter().next().map(|m| m.what) {
        Some(What::CgroupTree { flags: 5, hierarchies }) => hierarchies,
        other => panic!("{other:?}"),
    }
}

#[test]
fn m38_version_1_gives_a_tree_of_new_mounts_with_a_cgroup_namespace() {
    let tree = tree(&hybrid(), NEW_CGROUP);
    let of = |t: &TreeHierarchy| (t.destination.to_string(), t.data.to_string(), t.bind.is_some(), t.unified);
    let expected = [
        ("/sys/fs/cgroup/cpu,cpuacct".into(), "cpu,cpuacct".into(), false, false),
        ("/sys/fs/cgroup/memory".into(), "memory".into(), false, false),
        ("/sys/fs/cgroup/systemd".into(), "name=systemd".into(), false, false),
        ("/sys/fs/cgroup/unified".into(), String::new(), false, true),
    ];
    assert_eq!(tree.iter().map(of).collect::<Vec<_>>(), expected);
    let links: Vec<_> =
        tree.iter().flat_map(|t| &t.links).map(|l| (l.path.as_str(), l.target.as_str())).collect();
    assert_eq!(links, [("/sys/fs/cgroup/cpu", "cpu,cpuacct"), ("/sys/fs/cgroup/cpuacct", "cpu,cpuacct")]);
}

#[test]
fn m38_version_1_binds_the_containers_directories_without_a_cgroup_namespace() {
    let tree = tree(&hybrid(), &["mount", "pid"]);
    let binds: Vec<_> = tree.iter().map(|t| t.bind.as_ref().map(ToString::to_string)).collect();
    let directory = |name: &str| Some(format!("/sys/fs/cgroup/{name}/box"));
    assert_eq!(binds, ["cpu,cpuacct", "memory", "systemd", "unified"].map(directory));
}

#[test]
fn m38_a_host_without_cgroups_gives_an_empty_tree() {
    let facts =
        Facts { cgroup: CgroupFacts { hierarchies: vec![], huge_page_sizes: vec![] }, ..FACTS.clone() };
    assert!(tree(&facts, NEW_CGROUP).is_empty());
}

#[test]
fn m44_a_mount_onto_the_root_is_legal() {
    assert!(mount(json!({"destination": "/", "source": "/x", "options": ["rbind"]})).destination.is_root());
}

#[test]
fn a_read_only_dev_is_made_so_at_the_end() {
    let ids = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    for extra in [
        json!({"options": ["ro", "tmpcopyup"]}),
        json!({"options": ["ro"], "uidMappings": ids, "gidMappings": ids}),
    ] {
        let mut mount = json!({"destination": "/dev", "type": "tmpfs"});
        mount.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        let (rootfs, _) = compiled(json!({"mounts": [mount]}), &FACTS, NEW_CGROUP).unwrap();
        assert!(rootfs.readonly_dev);
        assert!(matches!(
            rootfs.mounts[0].what,
            What::Detached(Detached { attributes: 0, readonly: false, .. })
        ));
    }
    for (options, readonly) in [(json!(["ro"]), true), (json!(["rro"]), true), (json!(["nosuid"]), false)] {
        let part = json!({"mounts": [{"destination": "/dev/.", "type": "tmpfs", "options": options}]});
        let (rootfs, _) = compiled(part, &FACTS, NEW_CGROUP).unwrap();
        assert_eq!(rootfs.readonly_dev, readonly);
        assert_eq!(filesystem(&rootfs.mounts[0]).2 & 1, 0);
    }
}

#[test]
fn n09_the_propagation_of_the_root_is_the_hosts_too_unless_binding_would_be_impossible() {
    let of = |asked: Option<&str>| {
        let part = json!({"linux": {"rootfsPropagation": asked.unwrap_or_default()}});
        let (rootfs, _) = compiled(part, &FACTS, NEW_CGROUP).unwrap();
        (rootfs.host_propagation.flags, rootfs.propagation.map(|p| p.flags))
    };
    let (rec, unbindable, private, slave, shared) = (1 << 14, 1 << 17, 1 << 18, 1 << 19, 1 << 20);
    assert_eq!(of(None), (slave | rec, None));
    assert_eq!(of(Some("shared")), (shared | rec, Some(shared)));
    assert_eq!(of(Some("rslave")), (slave | rec, Some(slave | rec)));
    assert_eq!(of(Some("unbindable")), (private | rec, Some(unbindable)));
    let invalid = compiled(json!({"linux": {"rootfsPropagation": "bind"}}), &FACTS, NEW_CGROUP).unwrap_err();
    assert_eq!(invalid.findings()[0].at, "/linux/rootfsPropagation");
}

#[test]
fn n10_n11_paths_are_absolute_and_listed_once() {
    let linux = json!({"maskedPaths": ["/a", "/b/", "/a", "/b"], "readonlyPaths": ["/c", "//c"]});
    let (rootfs, _) = compiled(json!({"linux": linux}), &FACTS, NEW_CGROUP).unwrap();
    let text = |paths: &[RootPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (text(&rootfs.masked), text(&rootfs.readonly_paths)),
        (vec!["/a".into(), "/b".into()], vec!["/c".into()])
    );
    let linux = json!({"maskedPaths": ["a", ""], "readonlyPaths": ["/x\0"]});
    let invalid = compiled(json!({"linux": linux}), &FACTS, NEW_CGROUP).unwrap_err();
    let at: Vec<_> = invalid.findings().iter().map(|f| f.at.as_str()).collect();
    assert_eq!(at, ["/linux/maskedPaths/0", "/linux/maskedPaths/1", "/linux/readonlyPaths/0"]);
}

#[test]
fn n12_a_mount_label_is_added_where_a_file_system_takes_one_and_needs_selinux() {
    let part = json!({"linux": {"mountLabel": "u:r:t:s0:c1,c2"}, "mounts": [
        {"destination": "/a", "type": "tmpfs", "options": ["size=1k"]}, {"destination": "/b", "type": "devpts"},
        {"destination": "/c", "type": "proc"}, {"destination": "/d", "type": "tmpfs", "options": ["context=mine"]}
    ]});
    let invalid = compiled(part.clone(), &FACTS, NEW_CGROUP).unwrap_err();
    assert_eq!(invalid.findings()[0].at, "/linux/mountLabel");
    let (rootfs, _) = compiled(part, &Facts { selinux: true, ..FACTS.clone() }, NEW_CGROUP).unwrap();
    let data: Vec<_> = rootfs.mounts.iter().map(|m| filesystem(m).3).collect();
    assert_eq!(
        data,
        ["size=1k,context=\"u:r:t:s0:c1,c2\"", "context=\"u:r:t:s0:c1,c2\"", "", "context=mine"]
    );
}

#[test]
fn r01_r02_the_root_is_absolute_or_in_the_bundle_and_may_be_read_only() {
    let of = |root: Value| {
        let (rootfs, _) = compiled(json!({"root": root}), &FACTS, NEW_CGROUP).unwrap();
        (rootfs.path.to_string(), rootfs.readonly, rootfs.pivot)
    };
    assert_eq!(of(json!({"path": "rootfs"})), ("/bundle/rootfs".into(), false, true));
    assert_eq!(of(json!({"path": "/r", "readonly": true})), ("/r".into(), true, true));
    let invalid = compiled(json!({"root": {"path": ""}}), &FACTS, NEW_CGROUP).unwrap_err();
    assert_eq!(invalid.findings()[0].at, "/root/path");
}

#[test]
fn more_than_65535_mounts_are_refused() {
    let mounts = vec![json!({"destination": "/d", "type": "tmpfs"}); 65536];
    let invalid = compiled(json!({"mounts": mounts}), &FACTS, NEW_CGROUP).unwrap_err();
    assert_eq!(invalid.findings()[0].at, "/mounts");
}
