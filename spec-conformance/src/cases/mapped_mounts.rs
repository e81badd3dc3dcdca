//! Mounts that show the ids of a file system as others. Spec: config.md#linux-mount-options.

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::mount_trees::{bind, bundle_with_tree};
use crate::case::{Case, Checks};
use crate::report::{PathReport, Report};
use crate::runtime::Runtime;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[OWN, CONTAINER, NONE, HALF];

/// From 0 of the file system to 1000.
fn mapped(point: &str, options: &[&str]) -> Value {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let mut mount = bind(point, options);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    mount
}

/// Whether this kernel can map the ids of the stage's file systems, which are tmpfs; skips every clause if not.
fn can_map(checks: &mut Checks, case: &Case) -> Result<bool, Error> {
    let path = "/proc/sys/kernel/osrelease";
    let release = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    let can = (numbers.next(), numbers.next()) >= (Some(6), Some(3));
    if !can {
        for id in case.proves {
            checks.skip(id, "a kernel that maps the ids of tmpfs: Linux 6.3");
        }
    }
    Ok(can)
}

fn owner(seen: &Report, path: &str) -> Option<(u32, u32)> {
    seen.paths.get(path).and_then(PathReport::present).map(|facts| (facts.uid, facts.gid))
}

const OWN: Case = Case {
    id: "mapped-mounts-own",
    proves: &[
        "config.linux-mount-options.idmap",
        "config.linux-mount-options.idmap-own",
        "config.linux-mount-options.idmap-data",
        "config.linux-mount-options.ridmap",
    ],
    run: own,
};

fn own(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !can_map(checks, &OWN)? {
        return Ok(());
    }
    let files = ["/mnt/one/file", "/mnt/all/file", "/mnt/all/below/file", "/mnt/plain/file"];
    let bundle = Bundle::new()
        .looking_at(files)
        .push("/mounts", mapped("/mnt/one", &["bind", "idmap"]))
        .push("/mounts", mapped("/mnt/all", &["rbind", "ridmap"]))
        .push("/mounts", bind("/mnt/plain", &["bind"]));
    let seen = match runtime.observe(&bundle_with_tree(bundle, MsFlags::empty())?) {
        // Maps are not for every runtime, but an error then.
        Err(Error::Refused { stderr, .. }) => {
            for id in ["config.linux-mount-options.idmap", "config.linux-mount-options.ridmap"] {
                checks.fail(id, "a mount with another owner", stderr.trim());
            }
            for id in ["config.linux-mount-options.idmap-own", "config.linux-mount-options.idmap-data"] {
                checks.skip(id, "a runtime that maps the ids of mounts");
            }
            return Ok(());
        }
        seen => seen?,
    };
    let owners = files.map(|file| owner(&seen, file));
    let [one, all, below, plain] = owners;
    checks.differ("config.linux-mount-options.idmap", plain, one);
    checks.equal("config.linux-mount-options.idmap-own", Some((1000, 1000)), one);
    checks.equal("config.linux-mount-options.ridmap", [Some((1000, 1000)); 2], [all, below]);
    let mount = seen.mount("/mnt/one");
    let passed_on =
        mount.is_none_or(|mount| mount.super_options.iter().any(|option| option.contains("idmap")));
    checks.holds("config.linux-mount-options.idmap-data", "no option of the file system", &mount, !passed_on);
    Ok(())
}

const CONTAINER: Case = Case {
    id: "mapped-mounts-container",
    proves: &["config.linux-mount-options.idmap-container"],
    run: container,
};

/// The container's mapping, or an error.
fn container(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !can_map(checks, &CONTAINER)? {
        return Ok(());
    }
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = Bundle::new()
        .looking_at(["/mnt/file"])
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .push("/mounts", bind("/mnt", &["bind", "idmap"]));
    let id = "config.linux-mount-options.idmap-container";
    match runtime.observe(&bundle_with_tree(bundle, MsFlags::empty())?) {
        Ok(seen) => checks.equal(id, Some((0, 0)), owner(&seen, "/mnt/file")),
        Err(Error::Refused { .. }) => checks.equal(id, true, true),
        Err(error) => return Err(error),
    }
    Ok(())
}

const NONE: Case =
    Case { id: "mapped-mounts-none", proves: &["config.linux-mount-options.idmap-none"], run: none };

fn none(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let idle = |options: &[&str]| -> BundleBuilder {
        Bundle::new()
            .args(["/bin/probe", "exit", "0"])
            .file_beside("tree/file", "")
            .push("/mounts", bind("/mnt", options))
    };
    for options in [["bind", "idmap"], ["rbind", "ridmap"]] {
        let what = format!("{options:?} without any mapping");
        checks.refuses("config.linux-mount-options.idmap-none", runtime, idle(&options), &what)?;
    }
    Ok(())
}

const HALF: Case = Case {
    id: "mapped-mounts-half",
    proves: &["config.posix-platform-mounts.uid-alone", "config.posix-platform-mounts.gid-alone"],
    run: half,
};

fn half(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let alone = |name: &str| {
        let mut mount = bind("/mnt", &["bind", "idmap"]);
        mount[name] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let idle = Bundle::new().args(["/bin/probe", "exit", "0"]).file_beside("tree/file", "");
        idle.push("/mounts", mount)
    };
    let clauses = [
        ("config.posix-platform-mounts.uid-alone", "uidMappings"),
        ("config.posix-platform-mounts.gid-alone", "gidMappings"),
    ];
    for (id, name) in clauses {
        checks.refuses(id, runtime, alone(name), &format!("{name} alone"))?;
    }
    Ok(())
}
