//! Namespaces and what is named in them. Spec: config-linux.md#namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::proc_text::namespace_inode;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

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
fn runtime_namespaces() -> Result<BTreeMap<&'static str, u64>, Error> {
    let inode = |(_, name): (&str, &'static str)| {
        let path = Path::new("/proc/self/ns").join(name);
        let link = std::fs::read_link(&path).map_err(Error::file(&path))?;
        Ok((name, link.to_str().and_then(namespace_inode).unwrap_or_default()))
    };
    TYPES.into_iter().map(inode).collect()
}

pub(super) const NEW: Case = Case { id: "namespaces-new", proves: &["N-01"], run: new };

fn new(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let ours = runtime_namespaces()?;
    let seen = runtime.observe(&Bundle::new().build()?)?;
    for (name, inode) in ours {
        checks.differ("N-01", (name, Some(inode)), (name, seen.namespaces.get(name).copied()));
        checks.holds(
            "N-01",
            "a namespace of each type",
            &(name, &seen.namespaces),
            seen.namespaces.contains_key(name),
        );
    }
    checks.equal("N-01", 1, seen.pid);
    Ok(())
}

pub(super) const INHERITED: Case = Case { id: "namespaces-inherited", proves: &["N-05"], run: inherited };

fn inherited(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let ours = runtime_namespaces()?;
    let bundle = Bundle::new()
        .set("/linux/namespaces", json!([{"type": "pid"}, {"type": "mount"}]))
        // The host name is not the container's to set, and these file systems belong to our namespaces.
        .remove("/hostname")
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let seen = runtime.observe(&bundle.build()?)?;
    for name in ["net", "ipc", "uts", "cgroup"] {
        checks.equal("N-05", (name, ours.get(name)), (name, seen.namespaces.get(name)));
    }
    Ok(())
}

pub(super) const INVALID: Case = Case { id: "namespaces-invalid", proves: &["N-03", "N-04"], run: invalid };

fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let wrong = json!({"type": "network", "path": "/proc/self/ns/uts"});
    let bundle = Bundle::new().set("/linux/namespaces/1", wrong).build()?;
    checks.refused("N-03", &runtime.run(&bundle)?);
    let bundle = Bundle::new().push("/linux/namespaces", json!({"type": "ipc"})).build()?;
    checks.refused("N-04", &runtime.run(&bundle)?);
    Ok(())
}

pub(super) const NAMES: Case = Case { id: "uts-names", proves: &["T-09", "T-10"], run: names };

fn names(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().set("/hostname", json!("host.name")).set("/domainname", json!("domain.name"));
    let seen = runtime.observe(&bundle.build()?)?;
    checks.equal("T-09", "host.name", &seen.hostname);
    checks.equal("T-10", "domain.name", &seen.domainname);
    Ok(())
}
