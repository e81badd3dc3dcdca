//! Namespaces and what is named in them. Spec: config-linux.md#namespaces.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::report::proc_text::{IdMapping, namespace_inode};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[NEW, EACH, PATHS, INHERITED, INVALID, NAMES, MAPPINGS, TIME, SYSCTL];

/// Types of the configuration and their names in `/proc/PID/ns`, for those in the default bundle.
const TYPES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

/// The runtime namespaces, which are those of this process.
fn runtime_namespaces() -> Result<BTreeMap<String, u64>, Error> {
    let mut all = of(Path::new("/proc/self/ns"))?;
    all.retain(|name, _| TYPES.iter().any(|(_, known)| known == name));
    Ok(all)
}

/// The namespaces of a process by their names in this directory, `/proc/PID/ns`.
pub(super) fn of(directory: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(Error::file(directory))? {
        let entry = entry.map_err(Error::file(directory))?;
        let link = std::fs::read_link(entry.path()).map_err(Error::file(entry.path()))?;
        let inode = link.to_str().and_then(namespace_inode).unwrap_or_default();
        found.insert(entry.file_name().to_string_lossy().into_owned(), inode);
    }
    Ok(found)
}

const NEW: Case = Case { id: "namespaces-new", proves: &["config-linux.namespaces.new"], run: new };

fn new(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let ours = runtime_namespaces()?;
    let seen = runtime.observe(&Bundle::new().build()?)?;
    for (name, inode) in ours {
        checks.differ(
            "config-linux.namespaces.new",
            (&name, Some(inode)),
            (&name, seen.namespaces.get(&name).copied()),
        );
        checks.holds(
            "config-linux.namespaces.new",
            "a namespace of each type",
            &(&name, &seen.namespaces),
            seen.namespaces.contains_key(&name),
        );
    }
    checks.equal("config-linux.namespaces.new", 1, seen.pid);
    Ok(())
}

const INHERITED: Case =
    Case { id: "namespaces-inherited", proves: &["config-linux.namespaces.inherit"], run: inherited };

fn inherited(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let ours = runtime_namespaces()?;
    let bundle = Bundle::new()
        .set("/linux/namespaces", json!([{"type": "pid"}, {"type": "mount"}]))
        // The host name is not the container's to set, and these file systems belong to our namespaces.
        .remove("/hostname")
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let seen = runtime.observe(&bundle.build()?)?;
    for name in ["net", "ipc", "uts", "cgroup"] {
        checks.equal(
            "config-linux.namespaces.inherit",
            (name, ours.get(name)),
            (name, seen.namespaces.get(name)),
        );
    }
    Ok(())
}

const INVALID: Case = Case {
    id: "namespaces-invalid",
    proves: &[
        "config-linux.namespaces.path-absolute",
        "config-linux.namespaces.wrong-type",
        "config-linux.namespaces.twice",
    ],
    run: invalid,
};

fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let wrong = json!({"type": "network", "path": "/proc/self/ns/uts"});
    let bundle = Bundle::new().set("/linux/namespaces/1", wrong).build()?;
    checks.refused("config-linux.namespaces.wrong-type", &runtime.run(&bundle)?);
    // From the root and from the bundle it leads to the same.
    let relative = json!({"type": "network", "path": "proc/self/ns/net"});
    let bundle = Bundle::new().set("/linux/namespaces/1", relative).build()?;
    std::os::unix::fs::symlink("/proc", bundle.path().join("proc")).map_err(Error::file("proc"))?;
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg(runtime.fresh_id()).current_dir(bundle.path());
    checks.refused("config-linux.namespaces.path-absolute", &runtime.finish(command)?);
    let bundle = Bundle::new().push("/linux/namespaces", json!({"type": "ipc"})).build()?;
    checks.refused("config-linux.namespaces.twice", &runtime.run(&bundle)?);
    Ok(())
}

const NAMES: Case = Case {
    id: "uts-names",
    proves: &["config.hostname.hostname", "config.domainname.domainname"],
    run: names,
};

fn names(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().set("/hostname", json!("host.name")).set("/domainname", json!("domain.name"));
    let seen = runtime.observe(&bundle.build()?)?;
    checks.equal("config.hostname.hostname", "host.name", &seen.hostname);
    checks.equal("config.domainname.domainname", "domain.name", &seen.domainname);
    Ok(())
}

const EACH: Case = Case {
    id: "namespaces-each",
    proves: &["config-linux.namespaces.type", "config-linux.namespaces.types"],
    run: each,
};

/// Each type alone beside mount: of all namespaces, these two are new.
fn each(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let ours = of(Path::new("/proc/self/ns"))?;
    let all = TYPES.into_iter().chain([("user", "user"), ("time", "time")]);
    for (kind, name) in all.filter(|(kind, _)| *kind != "mount") {
        if !ours.contains_key(name) {
            checks.skip("config-linux.namespaces.types", &format!("a kernel with {kind} namespaces"));
            continue;
        }
        let mut bundle = Bundle::new()
            .set("/linux/namespaces", json!([{"type": "mount"}, {"type": kind}]))
            .remove("/hostname")
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths")
            .set("/mounts", json!([{"destination": "/proc", "source": "/proc", "options": ["rbind"]}]));
        if kind == "pid" {
            bundle =
                bundle.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
        }
        if kind == "user" {
            bundle = mapped(bundle);
        }
        let call = runtime.run(&bundle.build()?)?;
        if !call.exit.success() {
            checks.fail("config-linux.namespaces.types", kind, call.stderr.trim());
            continue;
        }
        let seen = call.report()?;
        let new = |name: &str| seen.namespaces.get(name) != ours.get(name);
        checks.holds("config-linux.namespaces.types", kind, &(kind, &seen.namespaces), new(name));
        for (_, other) in TYPES.iter().filter(|(_, other)| *other != "mnt" && *other != "pid") {
            checks.equal(
                "config-linux.namespaces.type",
                (kind, other, *other == name),
                (kind, other, new(other)),
            );
        }
    }
    Ok(())
}

/// With a user namespace in which the container's root is an ordinary user of the host.
fn mapped(bundle: BundleBuilder) -> BundleBuilder {
    bundle
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 10000, "size": 2000}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 20000, "size": 3000}]))
}

const PATHS: Case = Case { id: "namespaces-paths", proves: &["config-linux.namespaces.path"], run: paths };

/// A second container joins the first one's.
fn paths(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let first = runtime.create(&Bundle::new().build()?)?;
    let theirs = of(Path::new(&format!("/proc/{}/ns", first.pid())))?;
    let joined: Vec<_> = TYPES
        .iter()
        .filter(|(kind, _)| *kind != "mount")
        .map(|(kind, name)| json!({"type": kind, "path": format!("/proc/{}/ns/{name}", first.pid())}))
        .chain([json!({"type": "mount"})])
        .collect();
    let bundle = Bundle::new()
        .set("/linux/namespaces", json!(joined))
        .remove("/hostname")
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let seen = runtime.observe(&bundle.build()?)?;
    for (_, name) in TYPES.iter().filter(|(kind, _)| *kind != "mount") {
        let of = |all: &BTreeMap<String, u64>| (*name, all.get(*name).copied());
        checks.equal("config-linux.namespaces.path", of(&theirs), of(&seen.namespaces));
    }
    Ok(())
}

const MAPPINGS: Case = Case {
    id: "namespaces-user",
    proves: &[
        "config-linux.user-namespace-mappings.container-id",
        "config-linux.user-namespace-mappings.host-id",
        "config-linux.user-namespace-mappings.size",
        "config-linux.user-namespace-mappings.ownership",
    ],
    run: mappings,
};

/// One mapping of users, and then two.
fn mappings(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let map = |inside, outside, size| IdMapping { inside, outside, size };
    let groups = vec![map(0, 20000, 3000)];
    for users in [vec![map(0, 10000, 500)], vec![map(0, 10000, 500), map(1000, 0, 1)]] {
        let bundle = Bundle::new()
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", configured(&users))
            .set("/linux/gidMappings", configured(&groups))
            // What else may be mounted in a user namespace is not the matter here.
            .set(
                "/mounts",
                json!([
                    {"destination": "/proc", "type": "proc", "source": "proc"},
                    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                ]),
            )
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths")
            .file("/data/file", "")
            // Not the container's root.
            .owned_by(0, 0)
            .build()?;
        let before = owners(&bundle)?;
        let call = runtime.run(&bundle)?;
        if !call.exit.success() {
            for id in &MAPPINGS.proves[..3] {
                checks.fail(id, &format!("a container with {users:?}"), call.stderr.trim());
            }
            continue;
        }
        let seen = call.report()?;
        for (wanted, found) in [(&users, seen.uid_map), (&groups, seen.gid_map)] {
            let column =
                |of: fn(&IdMapping) -> u32, maps: &[IdMapping]| maps.iter().map(of).collect::<Vec<u32>>();
            checks.equal(
                MAPPINGS.proves[0],
                column(|map| map.inside, wanted),
                column(|map| map.inside, &found),
            );
            checks.equal(
                MAPPINGS.proves[1],
                column(|map| map.outside, wanted),
                column(|map| map.outside, &found),
            );
            checks.equal(MAPPINGS.proves[2], column(|map| map.size, wanted), column(|map| map.size, &found));
        }
        checks.equal("config-linux.user-namespace-mappings.ownership", before, owners(&bundle)?);
    }
    Ok(())
}

fn configured(maps: &[IdMapping]) -> Value {
    let entry = |map: &IdMapping| json!({"containerID": map.inside, "hostID": map.outside, "size": map.size});
    maps.iter().map(entry).collect()
}

/// Who owns some files of the root file system, on the host.
fn owners(bundle: &Bundle) -> Result<Vec<(&'static str, u32, u32)>, Error> {
    ["", "bin", "bin/probe", "etc", "data", "data/file"]
        .into_iter()
        .map(|name| {
            let path = bundle.rootfs().join(name);
            let meta = std::fs::metadata(&path).map_err(Error::file(&path))?;
            Ok((name, meta.uid(), meta.gid()))
        })
        .collect()
}

const TIME: Case = Case {
    id: "namespaces-time",
    proves: &[
        "config-linux.offset-for-time-namespace.seconds",
        "config-linux.offset-for-time-namespace.nanoseconds",
    ],
    run: time,
};

fn time(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !Path::new("/proc/self/ns/time").exists() {
        TIME.proves.iter().for_each(|id| checks.skip(id, "a kernel with time namespaces"));
        return Ok(());
    }
    let offsets =
        json!({"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 2000, "nanosecs": 7}});
    let bundle =
        Bundle::new().push("/linux/namespaces", json!({"type": "time"})).set("/linux/timeOffsets", offsets);
    let seen = runtime.observe(&bundle.build()?)?.time_offsets;
    for (clock, secs, nanos) in [("monotonic", 1000, 5), ("boottime", 2000, 7)] {
        let found = seen.get(clock).copied().unwrap_or_default();
        checks.equal(TIME.proves[0], (clock, secs), (clock, found.0));
        checks.equal(TIME.proves[1], (clock, nanos), (clock, found.1));
    }
    Ok(())
}

const SYSCTL: Case = Case { id: "sysctl", proves: &["config-linux.sysctl.value"], run: sysctl };

fn sysctl(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let values = [("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "4242"), ("fs.mqueue.msg_max", "11")];
    let asked = values.iter().flat_map(|(name, _)| ["--sysctl", name]);
    let wanted: serde_json::Map<String, Value> =
        values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let bundle = Bundle::new()
        .args(["/bin/probe", "report"].into_iter().chain(asked))
        .set("/linux/sysctl", Value::Object(wanted));
    let seen = runtime.observe(&bundle.build()?)?;
    for (name, value) in values {
        checks.equal("config-linux.sysctl.value", Some(&Ok(value.to_owned())), seen.sysctls.get(name));
    }
    Ok(())
}
