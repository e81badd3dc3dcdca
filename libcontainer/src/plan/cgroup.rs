//! The container's cgroup: where it is and what is written into it, on every layout. Pure.

mod absent;
pub mod below;
pub mod named;
mod owner;

use oci_spec::runtime::Spec;
use serde::Serialize;

use super::Choices;
use super::devices::{self, Access, DeviceKind, DeviceRule};
use super::facts::{CgroupFacts, CgroupVersion, Facts, HierarchyFacts};
use super::invalid::Findings;
use super::limits::{self, Hierarchy, Write};
use super::systemd::{self, Unit};
use crate::path::PATH_MAX;

pub(super) use owner::owner;

const SPEC_DEVICES: &str = "config-linux.md#allowed-device-list";
const SPEC_PATH: &str = "config-linux.md#cgroups-path";

/// Who makes the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// The runtime, as directories.
    #[default]
    Files,
    /// systemd, with a unit.
    Systemd,
    /// Nobody: the container has none of its own, and no limits.
    Nobody,
}

/// The container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    /// Its path below each hierarchy's mount, absolute, as in `/docker/abc`.
    pub path: String,
    /// From there to the version 2 cgroup that its processes are in, as in `/payload`: one that is theirs to manage.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub delegated: String,
    /// The hierarchies it is made in.
    pub hierarchies: Vec<Hierarchy>,
    /// Limits, in the order in which they are written.
    pub writes: Vec<Write>,
    /// Device rules for the program of version 2; empty when everything is allowed or version 1 writes do it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// The user, as the runtime counts, who owns it once it is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Nothing was asked of it, and the runtime may lack the rights: then do without.
    pub optional: bool,
    /// The unit whose cgroup it is, if systemd makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Cgroup {
    /// Its version 1 hierarchies.
    pub(super) fn legacy(&self) -> impl Iterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|hierarchy| hierarchy.version == CgroupVersion::V1)
    }

    /// The container's directory in hierarchy `i`.
    #[must_use]
    pub fn directory(&self, i: usize) -> String {
        self.at(i, &self.path)
    }

    /// The directory in hierarchy `i` that its processes are in.
    #[must_use]
    pub fn home(&self, i: usize) -> String {
        let is_delegated = self.hierarchies.get(i).is_some_and(|h| h.version == CgroupVersion::V2);
        format!("{}{}", self.directory(i), if is_delegated { &self.delegated } else { "" })
    }

    /// The topmost directory in hierarchy `i` that is the container's alone: its unit's, if systemd has made one.
    #[must_use]
    pub fn top(&self, i: usize) -> String {
        self.at(i, self.unit.as_ref().map_or(&self.path, |unit| &unit.cgroup))
    }

    fn at(&self, i: usize, path: &str) -> String {
        format!("{}{path}", self.hierarchies.get(i).map_or("", |hierarchy| &hierarchy.mount))
    }
}

/// Controllers that are turned on for a container when the host has them. It costs a write for each parent, once;
/// `docker stats`, containerd and the kubelet read the files that appear, whether or not a limit is set.
const ENABLED: &[&str] = &["cpuset", "cpu", "io", "memory", "pids", "hugetlb", "rdma", "misc"];

/// The longest name of a file (`NAME_MAX`, limits.h).
const NAME_MAX: usize = 255;

/// Decides the cgroup of `spec`.
///
/// The writes come in the order of [`limits::compile`], with the device rules of version 1 before them.
pub fn compile(spec: &Spec, choices: &Choices, facts: &Facts, findings: &mut Findings) -> Cgroup {
    let linux = spec.linux().as_ref();
    let asked = linux.and_then(|l| l.cgroups_path().as_deref()).and_then(|p| p.to_str()).unwrap_or_default();
    let systemd = choices.driver == Driver::Systemd;
    let place = if systemd { systemd::place(asked, choices, facts, findings) } else { None };
    let below = below::compile(spec, choices.driver, facts, findings);
    let path = match &place {
        Some(place) => format!("{}{}", place.path, below.subgroup),
        // What is wrong with it has been said.
        None if systemd => String::new(),
        None => path(asked, choices, facts, findings),
    };
    let named = named::compile(spec, choices.driver, facts, findings);
    if choices.driver == Driver::Nobody {
        return absent::compile(spec, facts, findings);
    }
    let hierarchies = hierarchies(&facts.cgroup, named.as_ref());
    // Read even when they are not applied: what is wrong is wrong.
    let rules = devices::effective(&devices::rules(spec, findings));
    // Without rights on the host devices are bind mounts, and nothing else can be opened.
    let rules = if facts.privileged && !allows_everything(&rules) { rules } else { Vec::new() };
    let rules_for_systemd = facts.privileged.then(|| rules.clone());
    let unified = hierarchies.iter().any(|h| h.version == CgroupVersion::V2);
    let (mut writes, devices) = match device_hierarchy(&hierarchies) {
        Some(i) => (device_writes(&rules, i), Vec::new()),
        None if unified => (Vec::new(), rules),
        None => {
            let listed = linux.and_then(|l| l.resources().as_ref()).and_then(|r| r.devices().as_ref());
            if !rules.is_empty() && listed.is_some_and(|l| !l.is_empty()) {
                let says =
                    "needs the cgroup controller devices of version 1, or version 2; this host has neither";
                findings.error("/linux/resources/devices", says, SPEC_DEVICES);
            }
            (Vec::new(), Vec::new())
        }
    };
    if let Some(resources) = linux.and_then(|l| l.resources().as_ref()) {
        writes.extend(limits::compile(resources, &hierarchies, &facts.cgroup.huge_page_sizes, findings));
    }
    let unprivileged_v1 = |w: &Write| asked.is_empty() && is_version_1(&hierarchies, w);
    let optional = !facts.privileged
        && !systemd
        && named.is_none()
        && below.delegated.is_empty()
        && writes.iter().all(|w| unprivileged_v1(w) && w.at == PIDS_LIMIT);
    if optional && !writes.is_empty() {
        findings.tolerate(
            PIDS_LIMIT,
            "is not applied if the runtime may not make cgroups: version 1 gives that right to root only",
            "config-linux.md#pids",
        );
    }
    let delegated = below.delegated;
    let mut cgroup =
        Cgroup { path, delegated, hierarchies, writes, devices, owner: None, optional, unit: None };
    cgroup.unit = place.map(|place| {
        let annotations = spec.annotations().as_ref();
        systemd::unit(place, choices, &cgroup, rules_for_systemd.as_deref(), annotations, findings)
    });
    cgroup
}

/// Podman sends its default of this limit to hosts where nobody but root can set it, and counts on a container.
const PIDS_LIMIT: &str = "/linux/resources/pids/limit";

/// What a new cgroup does by itself, as far as its parent does.
fn allows_everything(rules: &[DeviceRule]) -> bool {
    matches!(rules, [rule] if rule.allow && rule.is_about_everything())
}

fn is_version_1(hierarchies: &[Hierarchy], write: &Write) -> bool {
    hierarchies.get(usize::from(write.hierarchy)).is_some_and(|h| h.version == CgroupVersion::V1)
}

/// Where the container's cgroup is, one path for all hierarchies.
///
/// A relative path counts from the parent of the runtime's own cgroup on a unified host, because a cgroup that has
/// processes of its own cannot have children with controllers there. With version 1 the runtime's own cgroup
/// differs from one hierarchy to the next, so the path counts from the root.
fn path(asked: &str, choices: &Choices, facts: &Facts, findings: &mut Findings) -> String {
    let id = choices.id.as_str();
    let joined = match asked {
        "" if facts.privileged => format!("/{id}"),
        "" => format!("{}/{id}", parent_of_own(&facts.cgroup)),
        _ if asked.starts_with('/') => asked.to_owned(),
        _ if facts.cgroup.unified() => format!("{}/{asked}", parent_of_own(&facts.cgroup)),
        _ => format!("/{asked}"),
    };
    if let Some(wrong) = wrong_with(asked) {
        findings.error("/linux/cgroupsPath", wrong, SPEC_PATH);
    }
    let mut clean = String::with_capacity(joined.len());
    for component in components(&joined) {
        clean.push('/');
        clean.push_str(component);
    }
    if clean.is_empty() {
        // Its limits would be the host's, and to kill the container would be to kill the host.
        let says = "is the root cgroup, which is the host's; name one below it, such as /ketch/box";
        findings.error("/linux/cgroupsPath", says, SPEC_PATH);
    } else if clean.len() >= PATH_MAX {
        findings.error("/linux/cgroupsPath", "is longer than 4095 bytes", SPEC_PATH);
    }
    clean
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".")
}

fn wrong_with(asked: &str) -> Option<&'static str> {
    if !asked.contains('/') && asked.matches(':').count() == 2 {
        Some(
            "is a name for systemd, slice:prefix:name, and needs the systemd driver: use --systemd-cgroup, \
             or give a path such as /machine/box",
        )
    } else {
        wrong_with_names(asked)
    }
}

/// What keeps the components of a path from being names of cgroups.
fn wrong_with_names(asked: &str) -> Option<&'static str> {
    if components(asked).any(|c| c == "..") {
        Some("has a \"..\" in it; give the path that is meant")
    } else if asked.contains(['\0', '\n']) {
        Some("has a NUL byte or a line feed in it, which no cgroup's name can have")
    } else if components(asked).any(|c| c.len() > NAME_MAX) {
        Some("has a name longer than 255 bytes in it")
    } else {
        None
    }
}

/// The parent of the runtime's own cgroup, without a slash at the end; version 2's if there is any.
fn parent_of_own(facts: &CgroupFacts) -> &str {
    let own = facts
        .hierarchies
        .iter()
        .max_by_key(|h| h.version == CgroupVersion::V2)
        .map_or("", |h| h.own.as_str());
    // "/../x" is how the kernel names a cgroup outside of the runtime's cgroup namespace: it cannot be reached.
    if own.split('/').any(|c| c == "..") {
        return "";
    }
    own.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Every hierarchy is entered, also one whose controllers are not used: a cgroup is what a container is known by.
/// And so is `named`, which may not be among those of the host.
fn hierarchies(facts: &CgroupFacts, named: Option<&HierarchyFacts>) -> Vec<Hierarchy> {
    let hierarchy = |h: &HierarchyFacts| {
        let enable = |c: &&String| h.version == CgroupVersion::V2 && ENABLED.contains(&c.as_str());
        Hierarchy {
            version: h.version,
            mount: h.mount.clone(),
            controllers: h.controllers.clone(),
            enable: h.controllers.iter().filter(enable).cloned().collect(),
        }
    };
    let named = named.filter(|named| facts.hierarchies.iter().all(|h| h.mount != named.mount));
    // Version 1 first.
    named.into_iter().chain(&facts.hierarchies).map(hierarchy).collect()
}

/// The version 1 hierarchy with the devices controller; version 2 has none and takes a program instead.
fn device_hierarchy(hierarchies: &[Hierarchy]) -> Option<u16> {
    let has = |h: &Hierarchy| h.version == CgroupVersion::V1 && h.controllers.iter().any(|c| c == "devices");
    u16::try_from(hierarchies.iter().position(has)?).ok()
}

/// Device rules in the words of version 1, in order. See cgroup-v1/devices.rst of the kernel's documentation.
#[must_use]
pub fn device_writes(rules: &[DeviceRule], hierarchy: u16) -> Vec<Write> {
    let mut writes = Vec::with_capacity(rules.len());
    for rule in rules {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        for value in device_lines(rule) {
            let at = "/linux/resources/devices".to_owned();
            writes.push(Write { hierarchy, file: file.to_owned(), value, at, may_be_absent: false });
        }
    }
    writes
}

/// The kernel reads nothing behind an `a`, so a rule about both kinds that is not about everything is two lines.
fn device_lines(rule: &DeviceRule) -> Vec<String> {
    let kinds: &[&str] = match rule.kind {
        Some(DeviceKind::Char) => &["c"],
        Some(DeviceKind::Block) => &["b"],
        None if rule.access == Access::ALL && rule.major.is_none() && rule.minor.is_none() => {
            return vec!["a".to_owned()];
        }
        None => &["c", "b"],
    };
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    let access: String = [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')]
        .iter()
        .filter(|(bit, _)| rule.access.0 & bit.0 != 0)
        .map(|(_, letter)| *letter)
        .collect();
    let numbers = format!("{}:{}", number(rule.major), number(rule.minor));
    kinds.iter().map(|kind| format!("{kind} {numbers} {access}")).collect()
}

#[cfg(test)]
mod tests;
