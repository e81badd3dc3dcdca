//! `features` says what this runtime does: no more than works, and no less. Spec: features.md, features-linux.md.
//!
//! With SPEC_DIR, a copy of the specification, the document is held against its JSON schema too.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{ketch, runtime, text_of};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Runtime};

fn features() -> Value {
    let done = Command::new(ketch()).arg("features").env_clear().output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The names that are listed at a place.
fn names(pointer: &str) -> Vec<String> {
    let features = features();
    let list = features.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// What `plan` says of a bundle: the plan, or the findings.
fn plan(runtime: &Runtime, builder: BundleBuilder) -> Result<Value, String> {
    let bundle = builder.build().unwrap();
    let done = runtime.call(["plan", "--bundle", text_of(bundle.path())]).unwrap();
    if done.exit.success() { Ok(serde_json::from_str(&done.stdout).unwrap()) } else { Err(done.stderr) }
}

fn planned(runtime: &Runtime, builder: BundleBuilder) -> Value {
    plan(runtime, builder).unwrap_or_else(|findings| panic!("{findings}"))
}

#[test]
fn f01_to_f14_f08_f09_f11_f13_the_document_has_every_property_with_its_type() {
    let features = features();
    let is = |pointer: &str, fits: fn(&Value) -> bool| {
        let value = features.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        assert!(fits(value), "{pointer}: {value}");
    };
    let list = |value: &Value| {
        value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
    };
    for pointer in ["/ociVersionMin", "/ociVersionMax"] {
        is(pointer, |value| {
            value.as_str().is_some_and(|text| text.starts_with("1.") && text.split('.').count() == 3)
        });
    }
    for pointer in [
        "/hooks",
        "/mountOptions",
        "/potentiallyUnsafeConfigAnnotations",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
        "/linux/seccomp/knownFlags",
        "/linux/seccomp/supportedFlags",
        "/linux/memoryPolicy/modes",
        "/linux/memoryPolicy/flags",
    ] {
        is(pointer, list);
    }
    for pointer in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/cgroup/rdma",
        "/linux/seccomp/enabled",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/netDevices/enabled",
        "/linux/mountExtensions/idmap/enabled",
    ] {
        is(pointer, Value::is_boolean);
    }
    for name in [
        "ketch.version",
        "ketch.commit",
        "io.github.seccomp.libseccomp.version",
        "org.opencontainers.runc.checkpoint.enabled",
    ] {
        assert!(features["annotations"][name].as_str().is_some_and(|text| !text.is_empty()), "f13: {name}");
    }
    let properties: BTreeSet<&str> = features.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ];
    assert_eq!(properties, BTreeSet::from(known));
}

#[test]
fn f01_both_versions_are_accepted_and_those_beyond_are_not() {
    let runtime = runtime();
    let features = features();
    for version in [&features["ociVersionMin"], &features["ociVersionMax"]] {
        let plan = planned(&runtime, Bundle::new().set("/ociVersion", version.clone()));
        assert_eq!(plan.get("warnings"), None, "{version}");
    }
    for version in ["0.9.0", "2.0.0"] {
        assert!(
            plan(&runtime, Bundle::new().set("/ociVersion", json!(version)))
                .unwrap_err()
                .contains("/ociVersion")
        );
    }
}

#[test]
fn f02_every_hook_that_is_listed_is_planned() {
    let runtime = runtime();
    let kinds = names("/hooks");
    assert_eq!(kinds.len(), 6);
    for kind in kinds {
        let plan =
            planned(&runtime, Bundle::new().set(&format!("/hooks/{kind}"), json!([{"path": "/bin/x"}])));
        assert_eq!(plan["hooks"][&kind][0]["path"], "/bin/x");
    }
}

#[test]
fn f03_every_mount_option_that_is_listed_is_known_and_no_other() {
    let runtime = runtime();
    let options = names("/mountOptions");
    // What containerd, moby, cri-o and podman look for, or send.
    for wanted in ["ro", "rro", "rbind", "nosuid", "strictatime", "rslave", "idmap", "ridmap", "nosymfollow"]
    {
        assert!(options.iter().any(|option| option == wanted), "{wanted} is not listed");
    }
    assert!(options.is_sorted());
    let mapped = Bundle::new()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 10}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 10}]));
    // A bind mount takes no option that is not known.
    let with = |option: &str| {
        let mount = json!({"destination": "/x", "source": "/etc", "options": ["rbind", option]});
        plan(&runtime, mapped.clone().push("/mounts", mount))
    };
    for option in options {
        let outcome = with(&option);
        assert!(outcome.is_ok(), "{option}: {outcome:?}");
    }
    assert!(with("xyz").unwrap_err().contains("is not a known option"));
}

#[test]
fn f04_f05_namespaces_and_capabilities_that_are_listed_are_known_and_no_others() {
    let runtime = runtime();
    let namespaces = names("/linux/namespaces");
    assert_eq!(namespaces, ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    let list: Vec<Value> = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}]);
    let all = Bundle::new()
        .set("/linux/namespaces", json!(list))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    planned(&runtime, all);
    let moon = Bundle::new().push("/linux/namespaces", json!({"type": "moon"}));
    assert!(plan(&runtime, moon).unwrap_err().contains("/linux/namespaces/6/type"));
    let unknown = |names: &[String]| {
        let plan = planned(&runtime, Bundle::new().set("/process/capabilities/bounding", json!(names)));
        plan["warnings"].to_string().matches("is no known capability").count()
    };
    let capabilities = names("/linux/capabilities");
    assert!(capabilities.len() >= 41 && capabilities.iter().all(|name| name.starts_with("CAP_")));
    assert_eq!((unknown(&capabilities), unknown(&["CAP_TIME_TRAVEL".to_owned()])), (0, 1));
}

#[test]
fn f06_f08_f12_what_is_said_to_be_enabled_is_planned() {
    let runtime = runtime();
    let features = features();
    for pointer in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/rdma",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/mountExtensions/idmap/enabled",
    ] {
        assert_eq!(features.pointer(pointer), Some(&json!(true)), "{pointer}");
    }
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let mount = json!({"destination": "/x", "source": "/etc", "options": ["bind"], "uidMappings": map, "gidMappings": map});
    let plan = planned(&runtime, Bundle::new().push("/mounts", mount));
    assert!(plan["rootfs"]["mounts"].to_string().contains("5000"), "{plan}");
}

#[test]
fn f07_every_word_of_the_filter_that_is_listed_is_known_and_no_other() {
    let runtime = runtime();
    let filter = |part: Value| {
        let mut filter = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        filter.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        plan(&runtime, Bundle::new().set("/linux/seccomp", filter))
    };
    let rule = |action: &str, operator: &str| {
        json!({"syscalls": [{"names": ["swapon"], "action": action,
                             "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]}]})
    };
    // NOTIFY is of no use without somebody who is notified.
    for action in names("/linux/seccomp/actions").iter().filter(|action| *action != "SCMP_ACT_NOTIFY") {
        filter(rule(action, "SCMP_CMP_EQ")).unwrap();
    }
    for operator in names("/linux/seccomp/operators") {
        filter(rule("SCMP_ACT_LOG", &operator)).unwrap();
    }
    filter(json!({"architectures": names("/linux/seccomp/archs")})).unwrap();
    let known = names("/linux/seccomp/knownFlags");
    for flag in names("/linux/seccomp/supportedFlags") {
        assert!(known.contains(&flag));
        filter(json!({"flags": [flag]})).unwrap();
    }
    filter(rule("SCMP_ACT_DANCE", "SCMP_CMP_EQ")).unwrap_err();
    filter(rule("SCMP_ACT_LOG", "SCMP_CMP_ISH")).unwrap_err();
    filter(json!({"architectures": ["SCMP_ARCH_ABACUS"]})).unwrap_err();
    filter(json!({"flags": ["SECCOMP_FILTER_FLAG_WAVE"]})).unwrap_err();
}

#[test]
fn f10_every_memory_policy_that_is_listed_is_known() {
    let runtime = runtime();
    for mode in names("/linux/memoryPolicy/modes") {
        let nodes = !["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str());
        let policy = if nodes { json!({"mode": mode, "nodes": "0"}) } else { json!({"mode": mode}) };
        planned(&runtime, Bundle::new().set("/linux/memoryPolicy", policy));
    }
    for flag in names("/linux/memoryPolicy/flags") {
        let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
        planned(&runtime, Bundle::new().set("/linux/memoryPolicy", policy));
    }
    plan(&runtime, Bundle::new().set("/linux/memoryPolicy", json!({"mode": "MPOL_GUESS", "nodes": "0"})))
        .unwrap_err();
}

#[test]
fn f14_annotations_that_change_what_is_done_are_listed() {
    let runtime = runtime();
    let unsafe_ones = names("/potentiallyUnsafeConfigAnnotations");
    let hooked = Bundle::new().set("/hooks/poststop", json!([{"path": "/bin/x"}]));
    let plain = planned(&runtime, hooked.clone());
    let changes = |name: &str| {
        planned(&runtime, hooked.clone().set("/annotations", json!({name: "/x"})))["hooks"] != plain["hooks"]
    };
    // A name that ends with a dot stands for all that begin so.
    assert_eq!(unsafe_ones, ["org.systemd.property.", "run.oci."]);
    for name in ["run.oci.hooks.stdout", "run.oci.hooks.stderr"] {
        assert!(changes(name), "{name} changes nothing");
    }
    assert!(!changes("org.example.anything"));
    // What the others change is shown elsewhere: b22, a02, a03, a07, a09.
}

#[test]
fn f15_the_document_describes_the_runtime_and_not_the_host() {
    // A host without anything in /sys and with another /proc, and a caller without rights.
    let script = "mount -t tmpfs none /sys && mount -t tmpfs none /proc && exec setpriv --reuid 65534 --clear-groups \"$0\" features";
    let place = tempfile::tempdir().unwrap();
    let copy = reachable(place.path());
    let done = Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(copy).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap(), features());
}

/// A copy of the runtime that everybody may execute.
fn reachable(place: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.join("ketch");
    std::fs::copy(ketch(), &copy).unwrap();
    copy
}

#[test]
fn f01_to_f14_the_document_fits_the_schema_of_the_specification() {
    let Some(directory) = std::env::var_os("SPEC_DIR") else { return };
    let schemas = Path::new(&directory).join("schema");
    let mut complaints = Vec::new();
    Schema::open(&schemas, "features-schema.json").hold(&features(), "", &mut complaints);
    assert!(complaints.is_empty(), "{complaints:#?}");
    // The validator can say no.
    let mut wrong = features();
    wrong["linux"]["namespaces"][0] = json!("moon");
    wrong["linux"]["capabilities"][0] = json!("chown");
    wrong["linux"]["cgroup"]["v1"] = json!("yes");
    wrong.as_object_mut().unwrap().remove("ociVersionMin");
    Schema::open(&schemas, "features-schema.json").hold(&wrong, "", &mut complaints);
    assert_eq!(complaints.len(), 4, "{complaints:#?}");
}

/// A JSON schema (draft 4), as far as the specification's use it.
struct Schema {
    directory: PathBuf,
    document: Value,
    node: Value,
}

impl Schema {
    fn open(directory: &Path, file: &str) -> Schema {
        let text =
            std::fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let document: Value = serde_json::from_str(&text).unwrap();
        Schema { directory: directory.to_owned(), node: document.clone(), document }
    }

    fn below(&self, node: &Value) -> Schema {
        let Some(reference) = node["$ref"].as_str() else {
            return Schema {
                directory: self.directory.clone(),
                document: self.document.clone(),
                node: node.clone(),
            };
        };
        let (file, pointer) = reference.split_once('#').unwrap();
        let mut schema = match file {
            "" => self.below(&Value::Null),
            file => Schema::open(&self.directory, file),
        };
        schema.node = schema.document.pointer(pointer).unwrap_or_else(|| panic!("{reference}")).clone();
        let again = schema.node.clone();
        if again.get("$ref").is_some() { schema.below(&again) } else { schema }
    }

    fn hold(&self, value: &Value, at: &str, complaints: &mut Vec<String>) {
        let mut wrong = |why: String| complaints.push(format!("{at}: {why}"));
        for (keyword, demand) in self.node.as_object().unwrap() {
            match keyword.as_str() {
                "type" if !is_of_type(value, demand.as_str().unwrap()) => wrong(format!("is no {demand}")),
                "enum" if !demand.as_array().unwrap().contains(value) => {
                    wrong(format!("{value} is none of {demand}"))
                }
                "pattern" => {
                    assert_eq!(demand, "^CAP_[A-Z_]+$", "a pattern that this validator does not know");
                    let rest = value.as_str().and_then(|text| text.strip_prefix("CAP_")).unwrap_or_default();
                    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                    {
                        wrong(format!("{value} is not of the form {demand}"));
                    }
                }
                "required" => {
                    for name in demand.as_array().unwrap().iter().filter_map(Value::as_str) {
                        if value.get(name).is_none() {
                            wrong(format!("{name} is missing"));
                        }
                    }
                }
                "type" | "enum" | "description" | "$schema" | "properties" | "items"
                | "patternProperties" => {}
                other => panic!("a keyword that this validator does not know: {other}"),
            }
        }
        for (name, node) in self.node["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(name) {
                self.below(node).hold(value, &format!("{at}/{name}"), complaints);
            }
        }
        for node in self.node["patternProperties"].as_object().into_iter().flat_map(|map| map.values()) {
            for (name, value) in value.as_object().into_iter().flatten() {
                self.below(node).hold(value, &format!("{at}/{name}"), complaints);
            }
        }
        if let Some(node) = self.node.get("items") {
            for (i, value) in value.as_array().into_iter().flatten().enumerate() {
                self.below(node).hold(value, &format!("{at}/{i}"), complaints);
            }
        }
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        other => panic!("a type that this validator does not know: {other}"),
    }
}
