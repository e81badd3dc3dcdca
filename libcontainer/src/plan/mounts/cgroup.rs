//! What the container sees of cgroups in its file system. Pure.

use super::TreeHierarchy;
use crate::path::{KernelString, RootPath};
use crate::plan::cgroup::Cgroup;
use crate::plan::devices::Link;
use crate::plan::facts::{CgroupVersion, Facts, HierarchyFacts};

/// The container's directory in `host`: the runtime's own if none is made for the container, or perhaps none
/// can be. `None` if the container is not in that hierarchy.
fn directory(host: &HierarchyFacts, cgroup: &Cgroup) -> Option<String> {
    let i = cgroup.hierarchies.iter().position(|h| h.mount == host.mount)?;
    Some(if cgroup.optional { format!("{}{}", host.mount, host.own) } else { cgroup.home(i) })
}

/// The directory of the container's version 2 cgroup: the runtime's own if none is made for the container.
pub(super) fn own_cgroup(cgroup: &Cgroup, facts: &Facts) -> String {
    let own = |host: &HierarchyFacts| format!("{}{}", host.mount, host.own);
    facts
        .cgroup
        .version_2()
        .map(|host| directory(host, cgroup).unwrap_or_else(|| own(host)))
        .unwrap_or_default()
}

/// The hierarchies below `destination`, as on the host; without those in which the container has no cgroup.
/// With a `private` cgroup namespace they are new mounts, otherwise parts of the host's.
pub(super) fn tree(
    destination: &RootPath,
    cgroup: &Cgroup,
    facts: &Facts,
    private: bool,
) -> Vec<TreeHierarchy> {
    facts.cgroup.hierarchies.iter().filter_map(|host| hierarchy(host, destination, cgroup, private)).collect()
}

/// The same for the version 1 hierarchy `name=systemd` alone.
pub(super) fn named(
    destination: &RootPath,
    cgroup: &Cgroup,
    facts: &Facts,
    private: bool,
) -> Vec<TreeHierarchy> {
    facts.named.iter().filter_map(|host| hierarchy(host, destination, cgroup, private)).collect()
}

fn hierarchy(
    host: &HierarchyFacts,
    destination: &RootPath,
    cgroup: &Cgroup,
    private: bool,
) -> Option<TreeHierarchy> {
    let directory = directory(host, cgroup)?;
    let name = host.mount.rsplit('/').find(|component| !component.is_empty())?;
    let path = |name: &str| RootPath::new(&format!("{destination}/{name}")).ok();
    let unified = host.version == CgroupVersion::V2;
    // A namespace's root is the container's cgroup, and the kernel shows only what is below.
    let bind = if private { None } else { Some(KernelString::path(&directory).ok()?) };
    let co_mounted: &[String] = if unified || host.controllers.len() < 2 { &[] } else { &host.controllers };
    let links = co_mounted.iter().filter(|controller| *controller != name).filter_map(|controller| {
        let target = KernelString::path(name).ok()?;
        Some(Link { path: path(controller)?, target, replace: false })
    });
    let data = if unified { String::new() } else { host.controllers.join(",") };
    Some(TreeHierarchy {
        destination: path(name)?,
        links: links.collect(),
        data: KernelString::new(data).ok()?,
        bind,
        unified,
    })
}
