//! What the container sees of cgroups in its file system. Pure.

use super::TreeHierarchy;
use super::read::Around;
use crate::path::{KernelString, RootPath};
use crate::plan::devices::Link;
use crate::plan::facts::{CgroupVersion, HierarchyFacts};
use crate::plan::namespaces::Namespace;

/// The directory of the container's version 2 cgroup: the runtime's own if none is made for the container.
pub(super) fn own_cgroup(around: &Around<'_>) -> String {
    let made = around.cgroup.hierarchies.iter().position(|h| h.version == CgroupVersion::V2);
    let own = || around.facts.cgroup.hierarchies.first().map(|h| format!("{}{}", h.mount, h.own));
    match made {
        Some(i) => around.cgroup.directory(i),
        None => own().unwrap_or_default(),
    }
}

/// The hierarchies below `destination`, as on the host; without those in which the container has no cgroup.
pub(super) fn tree(destination: &RootPath, around: &Around<'_>) -> Vec<TreeHierarchy> {
    around.facts.cgroup.hierarchies.iter().filter_map(|host| hierarchy(host, destination, around)).collect()
}

fn hierarchy(host: &HierarchyFacts, destination: &RootPath, around: &Around<'_>) -> Option<TreeHierarchy> {
    let i = around.cgroup.hierarchies.iter().position(|h| h.mount == host.mount)?;
    let name = host.mount.rsplit('/').find(|component| !component.is_empty())?;
    let path = |name: &str| RootPath::new(&format!("{destination}/{name}")).ok();
    let unified = host.version == CgroupVersion::V2;
    // A namespace's root is the container's cgroup, and the kernel shows only what is below.
    let bind = if around.entry.private(Namespace::Cgroup) {
        None
    } else {
        Some(KernelString::path(&around.cgroup.directory(i)).ok()?)
    };
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
