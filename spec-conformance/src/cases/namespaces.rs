//! Namespaces and what is named in them. Spec: config-linux.md#namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::proc_text::namespace_inode;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[NEW, INHERITED, INVALID, NAMES];

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
    proves: &["config-linux.namespaces.wrong-type", "config-linux.namespaces.twice"],
    run: invalid,
};

fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let wrong = json!({"type": "network", "path": "/proc/self/ns/uts"});
    let bundle = Bundle::new().set("/linux/namespaces/1", wrong).build()?;
    checks.refused("config-linux.namespaces.wrong-type", &runtime.run(&bundle)?);
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
