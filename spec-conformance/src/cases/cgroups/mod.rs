//! The container's cgroup: where it is, who owns it, which devices it allows, what limits it.
//! Spec: config-linux.md#control-groups.

mod devices;
mod ownership;
mod resources;
mod settings;
mod unified;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::report::proc_text;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[
    PLACE,
    devices::RULES,
    ownership::LEGACY,
    ownership::UNIFIED,
    resources::MEMORY,
    resources::CPU,
    resources::BLOCK_IO,
    resources::OTHERS,
    resources::PIDS_ZERO,
    resources::BELOW_USAGE,
    resources::NO_RESCTRL,
    unified::FILES,
    unified::CONVERSION,
];

const TOP: &str = "/sys/fs/cgroup";

/// Whether the runtime sees version 2 alone.
fn is_unified() -> bool {
    Path::new(TOP).join("cgroup.controllers").exists()
}

/// Where a cgroup is in the hierarchy that has this controller, of which each version has its own name; `None` if there is no
/// such hierarchy.
fn place(controller: (&str, &str), path: &str) -> Option<PathBuf> {
    let path = path.trim_start_matches('/');
    if !is_unified() {
        let hierarchy = Path::new(TOP).join(controller.0);
        return hierarchy.is_dir().then(|| hierarchy.join(path));
    }
    let all = fs::read_to_string(Path::new(TOP).join("cgroup.controllers")).unwrap_or_default();
    all.split_whitespace().any(|name| name == controller.1).then(|| Path::new(TOP).join(path))
}

/// What a skipped test of a controller needs.
fn needs(controller: (&str, &str)) -> String {
    match is_unified() {
        true => format!("the controller {} in cgroup version 2", controller.1),
        false => format!("the controller {} in cgroup version 1", controller.0),
    }
}

/// A bundle of which the container's process stays created, in the cgroup of this name.
fn at(path: &str) -> BundleBuilder {
    Bundle::new().set("/linux/cgroupsPath", json!(path))
}

const PLACE: Case = Case {
    id: "cgroups-path",
    proves: &["config-linux.cgroups-path.absolute", "config-linux.cgroups-path.same-place"],
    run: paths,
};

fn paths(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let absolute = format!("/conformance/{}", runtime.fresh_id());
    let relative = format!("conformance/{}", runtime.fresh_id());
    for path in [&absolute, &relative] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let container = runtime.create(&at(path).build()?)?;
            seen.push(memberships(container.pid())?);
        }
        checks.equal("config-linux.cgroups-path.same-place", &seen[0], &seen[1]);
        // A path that nobody asked for is the default, which is not this one.
        let named = seen[0].iter().any(|(_, own)| own.contains(path.trim_start_matches('/')));
        checks.holds("config-linux.cgroups-path.same-place", path, &seen[0], named);
        if path.starts_with('/') {
            for (controllers, own) in &seen[0] {
                let there = own == path || own.starts_with(&format!("{path}/"));
                let expected = format!("{path} for {controllers:?}");
                checks.holds("config-linux.cgroups-path.absolute", &expected, own, there);
            }
        }
    }
    Ok(())
}

/// The cgroups of a process in the hierarchies that limit something.
fn memberships(pid: i32) -> Result<Vec<(Vec<String>, String)>, Error> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let all = proc_text::cgroups(&text).unwrap_or_default().into_iter();
    let limits = |controllers: &[String]| match is_unified() {
        true => controllers.is_empty(),
        false => controllers.iter().any(|name| Path::new(TOP).join(name).is_dir() && !name.contains('=')),
    };
    Ok(all.filter(|each| limits(&each.controllers)).map(|each| (each.controllers, each.path)).collect())
}
