//! What a runtime says that it can, held to it. Spec: features.md, features-linux.md.

use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::report::Mask;
use crate::runtime::Runtime;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] =
    &[VERSIONS, HOOKS, OPTIONS, NAMESPACES, CAPABILITIES, SECCOMP, POLICIES, IDMAP];

/// The features structure; `None`, and every clause skipped, if the runtime prints none.
fn features(runtime: &Runtime, checks: &mut Checks, case: &Case) -> Result<Option<Value>, Error> {
    let operation = runtime.profile().features;
    let printed = if operation.is_empty() { None } else { Some(runtime.call(operation)?) };
    match printed.filter(|call| call.exit.success()) {
        Some(call) => {
            let structure = serde_json::from_str(&call.stdout);
            Ok(Some(structure.map_err(|source| Error::State { source, text: call.stdout })?))
        }
        None => {
            for id in case.proves {
                checks.skip(id, "a runtime that prints its features");
            }
            Ok(None)
        }
    }
}

/// The texts of a list; none if it is absent or null, which says that nothing is known.
fn texts<'a>(features: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A container that does nothing.
fn idle() -> BundleBuilder {
    Bundle::new().args(["/bin/probe", "exit", "0"])
}

/// Checks that a container which uses all elements of a list can be made, and names those that cannot be used if it
/// cannot. Skips an empty list.
fn recognized(
    runtime: &Runtime,
    checks: &mut Checks,
    (id, elements): (&'static str, &[&str]),
    using: impl Fn(&[&str]) -> BundleBuilder,
) -> Result<(), Error> {
    if elements.is_empty() {
        checks.skip(id, "a runtime that lists any");
        return Ok(());
    }
    if runtime.run(&using(elements).build()?)?.exit.success() {
        checks.equal(id, true, true);
        return Ok(());
    }
    for element in elements {
        let alone = runtime.run(&using(&[*element]).build()?)?;
        let said = (element, alone.exit, alone.stderr);
        checks.holds(id, "what is listed can be used", &said, alone.exit.success());
    }
    Ok(())
}

const VERSIONS: Case = Case {
    id: "features-versions",
    proves: &[
        "features.specification-version.version-min",
        "features.specification-version.version-max",
        "features.specification-version.version-accepted",
        "features.specification-version.version-order",
        "features.specification-version.undefined",
        "features.mount-options.data",
        "features.annotations.map",
    ],
    run: versions,
};

fn versions(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let Some(features) = features(runtime, checks, &VERSIONS)? else { return Ok(()) };
    let (min, max) = (&features["ociVersionMin"], &features["ociVersionMax"]);
    let (least, greatest) = (min.as_str().and_then(version), max.as_str().and_then(version));
    checks.holds("features.specification-version.version-min", "a version", min, least.is_some());
    checks.holds("features.specification-version.version-max", "a version", max, greatest.is_some());
    let order = "features.specification-version.version-order";
    checks.holds(order, "least and greatest version in order", &(min, max), least <= greatest);
    for own in [min, max] {
        let made = runtime.run(&idle().set("/ociVersion", own.clone()).build()?)?;
        let accepted = "features.specification-version.version-accepted";
        checks.holds(accepted, "its own version in config.json", &(own, &made.stderr), made.exit.success());
    }
    let later = properties(&features, greatest.unwrap_or_default());
    let undefined = "features.specification-version.undefined";
    checks.holds(undefined, &format!("what {max} defines"), &later, later.is_empty());
    let data = texts(&features, "/mountOptions").into_iter().filter(|option| option.contains('='));
    checks.equal("features.mount-options.data", Vec::<&str>::new(), data.collect());
    let annotations = &features["annotations"];
    let is_map = annotations.as_object().is_some_and(|map| map.values().all(Value::is_string));
    checks.holds("features.annotations.map", "texts", annotations, annotations.is_null() || is_map);
    Ok(())
}

/// Major and minor; what is between two releases counts as the later one. See semver.org.
fn version(text: &str) -> Option<(u32, u32)> {
    let between = text.ends_with("+dev");
    let mut numbers = text.split(['.', '-', '+']).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let _patch: u32 = numbers.next()?.ok()?;
    Some((major, minor + u32::from(between)))
}

/// Properties that the structure has and this version of the specification does not define.
fn properties(features: &Value, version: (u32, u32)) -> Vec<String> {
    // The structure came with 1.1.
    const OF_1_1: &[&str] = &[
        "/ociVersionMin",
        "/ociVersionMax",
        "/hooks",
        "/mountOptions",
        "/annotations",
        "/linux",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/cgroup",
        "/linux/seccomp",
        "/linux/apparmor",
        "/linux/selinux",
        "/linux/intelRdt",
    ];
    const OF_1_2: &[&str] = &["/potentiallyUnsafeConfigAnnotations", "/linux/mountExtensions"];
    const OF_1_3: &[&str] = &["/linux/netDevices", "/linux/memoryPolicy"];
    let names = |prefix: &str, value: &Value| -> Vec<String> {
        let properties = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        properties.map(|(name, _)| format!("{prefix}/{name}")).collect()
    };
    let defined = [((1, 1), OF_1_1), ((1, 2), OF_1_2), ((1, 3), OF_1_3)];
    let is_defined = |name: &String| {
        defined.iter().any(|(since, names)| *since <= version && names.contains(&name.as_str()))
    };
    let mut found = names("", features);
    found.extend(names("/linux", &features["linux"]));
    found.retain(|name| !is_defined(name));
    found
}

const HOOKS: Case = Case { id: "features-hooks", proves: &["features.hooks.hooks"], run: hooks };

/// Each hook leaves its name in a file beside the root.
fn hooks(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let Some(features) = features(runtime, checks, &HOOKS)? else { return Ok(()) };
    for name in texts(&features, "/hooks") {
        let mut bundle =
            Bundle::new().args(["/bin/probe", "exit", "0"]).set("/root/readonly", json!(false)).build()?;
        let in_container = name == "startContainer";
        let (mark, probe) = match in_container {
            true => ("/mark".into(), "/bin/probe".into()),
            false => (bundle.path().join("mark"), bundle.rootfs().join("bin/probe")),
        };
        let mut config = bundle.config().clone();
        config["hooks"] = json!({name: [{"path": probe, "args": ["probe", "write", mark, name]}]});
        bundle.write(config)?;
        let ran = runtime.run(&bundle)?;
        let mark = if in_container { bundle.rootfs().join("mark") } else { mark };
        let left = std::fs::read_to_string(mark).ok();
        let holds = ran.exit.success() && left.as_deref() == Some(name);
        checks.holds("features.hooks.hooks", "each listed hook runs", &(name, left, ran.stderr), holds);
    }
    Ok(())
}

const OPTIONS: Case =
    Case { id: "features-mount-options", proves: &["features.mount-options.recognized"], run: options };

fn options(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    // These do not stand alone: they want a mount to change, a mapping, and a place for temporary files on the host.
    const OTHERS: [&str; 4] = ["remount", "idmap", "ridmap", "tmpcopyup"];
    let Some(features) = features(runtime, checks, &OPTIONS)? else { return Ok(()) };
    let mut elements = texts(&features, "/mountOptions");
    elements.retain(|option| !OTHERS.contains(option));
    recognized(runtime, checks, ("features.mount-options.recognized", &elements), |options| {
        let add = |bundle: BundleBuilder, (number, option): (usize, &&str)| {
            let place = format!("/mnt/{number}");
            let options = ["bind", option];
            let mount =
                json!({"destination": place, "type": "bind", "source": "/usr/bin", "options": options});
            bundle.file(format!("{place}/file"), "").push("/mounts", mount)
        };
        options.iter().enumerate().fold(idle(), add)
    })
}

const NAMESPACES: Case =
    Case { id: "features-namespaces", proves: &["features-linux.namespaces.recognized"], run: namespaces };

fn namespaces(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let Some(features) = features(runtime, checks, &NAMESPACES)? else { return Ok(()) };
    let elements = texts(&features, "/linux/namespaces");
    recognized(runtime, checks, ("features-linux.namespaces.recognized", &elements), |types| {
        // A container without these two has the host's processes and mounts.
        let wanted = ["pid", "mount"]
            .into_iter()
            .chain(types.iter().copied().filter(|kind| !matches!(*kind, "pid" | "mount")));
        let list: Vec<Value> = wanted.map(|kind| json!({"type": kind})).collect();
        let mut bundle = idle().set("/linux/namespaces", json!(list)).remove("/hostname");
        if types.contains(&"user") {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
            bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        }
        if !types.contains(&"network") || !types.contains(&"cgroup") || !types.contains(&"ipc") {
            // These file systems belong to namespaces that the container then has from its runtime.
            bundle =
                bundle.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
        }
        bundle
    })
}

const CAPABILITIES: Case = Case {
    id: "features-capabilities",
    proves: &["features-linux.capabilities.recognized"],
    run: capabilities,
};

fn capabilities(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "features-linux.capabilities.recognized";
    let Some(features) = features(runtime, checks, &CAPABILITIES)? else { return Ok(()) };
    let elements = texts(&features, "/linux/capabilities");
    if elements.is_empty() {
        checks.skip(ID, "a runtime that lists any");
        return Ok(());
    }
    let bundle = Bundle::new().set("/process/capabilities", json!({"bounding": elements}));
    let seen = runtime.observe(&bundle.build()?)?.capabilities.bounding;
    // What this process cannot give away, nobody can.
    let status = std::fs::read_to_string("/proc/self/status").map_err(Error::file("/proc/self/status"))?;
    let own =
        crate::report::proc_text::status_field(&status, "CapBnd").and_then(Mask::parse).unwrap_or_default();
    let own = own.capabilities();
    let missing: Vec<&&str> =
        elements.iter().filter(|name| own.contains(name) && !seen.capabilities().contains(name)).collect();
    checks.holds(ID, "each listed capability can be had", &missing, missing.is_empty());
    Ok(())
}

const SECCOMP: Case = Case {
    id: "features-seccomp",
    proves: &[
        "features-linux.seccomp.actions",
        "features-linux.seccomp.operators",
        "features-linux.seccomp.archs",
        "features-linux.seccomp.known-flags",
        "features-linux.seccomp.supported-flags",
    ],
    run: seccomp,
};

/// Calls that no program makes.
const CALLS: [&str; 10] = [
    "kexec_load",
    "swapon",
    "swapoff",
    "acct",
    "init_module",
    "delete_module",
    "quotactl",
    "lookup_dcookie",
    "bpf",
    "reboot",
];

fn seccomp(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let Some(features) = features(runtime, checks, &SECCOMP)? else { return Ok(()) };
    let filter = |filter: Value| idle().set("/linux/seccomp", filter);
    // One that asks a listener needs one; its clauses have cases of their own.
    let mut actions = texts(&features, "/linux/seccomp/actions");
    actions.retain(|action| *action != "SCMP_ACT_NOTIFY");
    recognized(runtime, checks, ("features-linux.seccomp.actions", &actions), |actions| {
        let rule = |(action, call): (&&str, &str)| match *action {
            // A rule that does what is done without it is refused by some.
            "SCMP_ACT_ALLOW" => json!({"names": [call], "action": "SCMP_ACT_ERRNO"}),
            action => json!({"names": [call], "action": action}),
        };
        let rules: Vec<Value> = actions.iter().zip(CALLS).map(rule).collect();
        filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    })?;
    let operators = texts(&features, "/linux/seccomp/operators");
    recognized(runtime, checks, ("features-linux.seccomp.operators", &operators), |operators| {
        let rule = |(op, call): (&&str, &str)| {
            let comparison = json!({"index": 0, "value": 7, "valueTwo": 1, "op": op});
            json!({"names": [call], "action": "SCMP_ACT_ERRNO", "args": [comparison]})
        };
        let rules: Vec<Value> = operators.iter().zip(CALLS).map(rule).collect();
        filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    })?;
    let mut archs = texts(&features, "/linux/seccomp/archs");
    archs.retain(|arch| !of_another_order(arch));
    recognized(runtime, checks, ("features-linux.seccomp.archs", &archs), |archs| {
        let rule = json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"});
        filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": [rule]}))
    })?;
    flags(runtime, checks, &features)
}

/// Whether an architecture has another order of bytes than this one: no filter holds both. See seccomp_arch_add(3).
fn of_another_order(arch: &str) -> bool {
    const LARGEST_FIRST: [&str; 11] = [
        "SCMP_ARCH_MIPS",
        "SCMP_ARCH_MIPS64",
        "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_PPC",
        "SCMP_ARCH_PPC64",
        "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_PARISC",
        "SCMP_ARCH_PARISC64",
        "SCMP_ARCH_M68K",
        "SCMP_ARCH_SHEB",
    ];
    LARGEST_FIRST.contains(&arch) == cfg!(target_endian = "little")
}

fn flags(runtime: &Runtime, checks: &mut Checks, features: &Value) -> Result<(), Error> {
    let using = |flags: &[&str]| {
        let rule = json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"});
        idle().set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": [rule]}),
        )
    };
    // This one is only for filters with a listener. See seccomp(2).
    let alone = |flag: &&str| *flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    let supported: Vec<&str> =
        texts(features, "/linux/seccomp/supportedFlags").into_iter().filter(alone).collect();
    recognized(runtime, checks, ("features-linux.seccomp.supported-flags", &supported), using)?;
    // One that is known and not supported is an error, as one that is not known is.
    let mut known = texts(features, "/linux/seccomp/knownFlags");
    known.retain(|flag| supported.contains(flag));
    recognized(runtime, checks, ("features-linux.seccomp.known-flags", &known), using)
}

const POLICIES: Case = Case {
    id: "features-memory-policy",
    proves: &["features-linux.memorypolicy.modes", "features-linux.memorypolicy.flags"],
    run: policies,
};

/// Each alone: a program has one policy.
fn policies(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const WITHOUT_NODES: [&str; 2] = ["MPOL_DEFAULT", "MPOL_LOCAL"];
    let Some(features) = features(runtime, checks, &POLICIES)? else { return Ok(()) };
    let lists =
        [("features-linux.memorypolicy.modes", "modes"), ("features-linux.memorypolicy.flags", "flags")];
    for (id, list) in lists {
        let elements = texts(&features, &format!("/linux/memoryPolicy/{list}"));
        if elements.is_empty() {
            checks.skip(id, "a runtime that lists any");
        } else if !std::path::Path::new("/sys/devices/system/node").exists() {
            checks.skip(id, "a kernel with NUMA");
        } else {
            for element in elements {
                let policy = match list {
                    "modes" if WITHOUT_NODES.contains(&element) => json!({"mode": element}),
                    "modes" => json!({"mode": element, "nodes": "0"}),
                    // The only flag that is for one mode alone.
                    _ if element == "MPOL_F_NUMA_BALANCING" => {
                        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [element]})
                    }
                    _ => json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": [element]}),
                };
                let made = runtime.run(&idle().set("/linux/memoryPolicy", policy).build()?)?;
                checks.holds(id, "what is listed can be used", &(element, &made.stderr), made.exit.success());
            }
        }
    }
    Ok(())
}

const IDMAP: Case =
    Case { id: "features-idmap", proves: &["features-linux.mountextensions.enabled"], run: idmap };

fn idmap(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "features-linux.mountextensions.enabled";
    let Some(features) = features(runtime, checks, &IDMAP)? else { return Ok(()) };
    let enabled = features.pointer("/linux/mountExtensions/idmap/enabled");
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
    let mount = json!({"destination": "/mnt", "type": "bind", "source": "/bin", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map});
    let made = runtime.run(&idle().push("/mounts", mount).build()?)?;
    match enabled.and_then(Value::as_bool) {
        None => checks.skip(ID, "a runtime that says whether it knows idmap"),
        Some(true) if made.exit.success() => checks.equal(ID, true, true),
        Some(true) => checks.skip(ID, "a kernel and a file system that can map ids"),
        Some(false) => checks.holds(ID, "true of a runtime that maps", &enabled, !made.exit.success()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order() {
        assert!(version("1.0.2-dev") < version("1.1.0") && version("1.1.0+dev") == version("1.2.0"));
        assert_eq!([version("1.0"), version(""), version("a.b.c")], [None; 3]);
    }

    #[test]
    fn a_property_is_defined_since_some_version() {
        let features =
            json!({"hooks": [], "annotations": null, "later": 1, "linux": {"netDevices": {}, "cgroup": {}}});
        assert_eq!(properties(&features, (1, 2)), ["/later", "/linux/netDevices"]);
        assert_eq!(properties(&features, (1, 3)), ["/later"]);
    }
}
