//! Who owns the container's cgroup. Spec: config-linux.md#cgroup-ownership.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{TOP, at, is_unified};
use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

/// Who is the container's root on the host.
const ROOT: u32 = 10000;

/// A container of another user, with a cgroup mount that can be written or not.
fn owned(path: &str, writable: bool) -> BundleBuilder {
    let mounts = Bundle::new().push("/linux/namespaces", json!({"type": "user"}));
    let options = if writable { json!(["nosuid", "rw"]) } else { json!(["nosuid", "ro"]) };
    mounts
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": ROOT, "size": 2000}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": ROOT, "size": 2000}]))
        .set("/mounts/6/options", options)
}

fn owner(path: &Path) -> Result<u32, Error> {
    fs::metadata(path).map(|meta| meta.uid()).map_err(Error::file(path))
}

pub(super) const LEGACY: Case =
    Case { id: "cgroups-ownership-v1", proves: &["config-linux.cgroup-ownership.v1"], run: legacy };

fn legacy(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.cgroup-ownership.v1";
    if is_unified() {
        checks.skip(ID, "cgroup version 1");
        return Ok(());
    }
    let path = format!("/{}", runtime.fresh_id());
    let container = runtime.create(&owned(&path, true).build()?)?;
    let found = runtime.leftovers(&path[1..]);
    let directories: Vec<&PathBuf> = found.iter().filter(|place| place.starts_with(TOP)).collect();
    checks.holds(ID, "a cgroup", &found, !directories.is_empty());
    for directory in directories {
        checks.equal(ID, 0, owner(directory)?);
    }
    drop(container);
    Ok(())
}

pub(super) const UNIFIED: Case = Case {
    id: "cgroups-ownership-v2",
    proves: &[
        "config-linux.cgroup-ownership.read-write",
        "config-linux.cgroup-ownership.no-mount",
        "config-linux.cgroup-ownership.no-namespace",
        "config-linux.cgroup-ownership.delegated-files",
        "config-linux.cgroup-ownership.missing-files",
        "config-linux.cgroup-ownership.other-files",
    ],
    run: unified,
};

fn unified(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !is_unified() {
        UNIFIED.proves.iter().for_each(|id| checks.skip(id, "cgroup version 2 alone: --cgroup v2"));
        return Ok(());
    }
    let delegated = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let listed: Vec<&str> = delegated.lines().collect();
    let path = format!("/{}", runtime.fresh_id());
    let directory = Path::new(TOP).join(&path[1..]);
    {
        let _container = runtime.create(&owned(&path, true).build()?)?;
        checks.equal("config-linux.cgroup-ownership.read-write", ROOT, owner(&directory)?);
        let missing = listed.iter().any(|name| !directory.join(name).exists());
        match missing {
            true => checks.holds("config-linux.cgroup-ownership.missing-files", "no error", &missing, true),
            false => checks
                .skip("config-linux.cgroup-ownership.missing-files", "a listed file that a cgroup lacks"),
        }
        for entry in fs::read_dir(&directory).map_err(Error::file(&directory))? {
            let entry = entry.map_err(Error::file(&directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let found = owner(&entry.path())?;
            if listed.contains(&name.as_str()) {
                checks.equal("config-linux.cgroup-ownership.delegated-files", (&name, ROOT), (&name, found));
            } else {
                checks.equal("config-linux.cgroup-ownership.other-files", (&name, 0), (&name, found));
            }
        }
    }
    let owner_of = |bundle: BundleBuilder| -> Result<u32, Error> {
        let _container = runtime.create(&bundle.build()?)?;
        owner(&directory)
    };
    checks.equal("config-linux.cgroup-ownership.no-mount", 0, owner_of(owned(&path, false))?);
    let inherited = owned(&path, true).remove("/linux/namespaces/5");
    checks.equal("config-linux.cgroup-ownership.no-namespace", 0, owner_of(inherited)?);
    // Nobody else's container either.
    checks.equal("config-linux.cgroup-ownership.no-mount", 0, owner_of(at(&path).remove("/mounts/6"))?);
    Ok(())
}
