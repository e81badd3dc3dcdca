//! The root file system: mounts in listed order, masks, read-only paths. Pure.

mod cgroup;
mod host;
mod idmap;
mod instance;
mod owners;
mod read;

use std::collections::HashSet;
use std::fmt;

use nix::libc;
use oci_spec::runtime::Spec;
use serde::Serialize;

use super::Choices;
use super::cgroup::Cgroup;
use super::devices::{self, Device, Link};
use super::facts::Facts;
use super::ids::IdMaps;
use super::invalid::Findings;
use super::namespaces::Entry;
use super::options::{self, Attributes, Propagation, SourceLink, ms};
use crate::path::{KernelString, RootPath, Unusable};

pub use instance::{CopyUp, Detached, Parameter};
pub(super) use owners::check as check_owners;

const MS_RDONLY: u64 = ms(libc::MS_RDONLY);
const MS_PRIVATE: u64 = ms(libc::MS_PRIVATE);
const MS_REC: u64 = ms(libc::MS_REC);
const MS_SLAVE: u64 = ms(libc::MS_SLAVE);
const MS_UNBINDABLE: u64 = ms(libc::MS_UNBINDABLE);

/// The container's file system, as it will be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rootfs {
    /// The directory on the host, absolute.
    pub path: KernelString,
    /// The root is made read-only at the end.
    pub readonly: bool,
    /// /dev is made read-only at the end, when the devices are there.
    pub readonly_dev: bool,
    /// Propagation of the host's mounts as the container sees them, before anything is mounted.
    pub host_propagation: Propagation,
    /// Propagation of the finished root, if the config asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// Mounts, in listed order.
    pub mounts: Vec<Mount>,
    /// Device nodes.
    pub devices: Vec<Device>,
    /// Devices are bind mounts of the host's: the kernel refuses mknod(2) in a user namespace.
    pub bind_devices: bool,
    /// Symbolic links of /dev.
    pub links: Vec<Link>,
    /// Paths that cannot be read.
    pub masked: Vec<RootPath>,
    /// Paths that cannot be written.
    pub readonly_paths: Vec<RootPath>,
    /// Change the root with pivot_root(2).
    pub pivot: bool,
}

/// One entry of `mounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where, inside the container.
    pub destination: RootPath,
    /// A symbolic link at the destination is mounted on, not followed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nofollow: bool,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Propagation to set on it, in listed order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub propagation: Vec<Propagation>,
    /// The SELinux label to set on its root, of a file system that takes none as an option.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<KernelString>,
    /// Attributes to change on it and on everything below it.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub recursive: Attributes,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum What {
    /// A new instance of a file system.
    #[serde(rename_all = "camelCase")]
    Filesystem {
        /// Its type, as in /proc/filesystems.
        fstype: KernelString,
        /// Its source; for many types a mere name.
        source: KernelString,
        /// `MS_` flags of mount(2).
        flags: u64,
        /// Options that are the file system's own, separated by commas.
        data: KernelString,
        /// A directory that is there already gives its permissions to the file system, a tmpfs that is told none:
        /// otherwise everybody could write there. As all other runtimes do.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        inherits_mode: bool,
    },
    /// A new instance of a file system that is changed before it is attached.
    Detached(Detached),
    /// A new sysfs. A user namespace that does not own the network namespace gets none from the kernel, and the
    /// host's is bound instead, read-only, with everything below it.
    #[serde(rename_all = "camelCase")]
    Sysfs {
        /// A mere name.
        source: KernelString,
        /// `MS_` flags of mount(2).
        flags: u64,
        /// Options that are the file system's own.
        data: KernelString,
        /// The directory to bind when a new mount is refused.
        fallback: KernelString,
    },
    /// A part of the host's file system.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// Path in the runtime's mount namespace.
        source: KernelString,
        /// With all mounts below it.
        deep: bool,
        /// Attributes to change.
        #[serde(skip_serializing_if = "Attributes::is_empty")]
        attributes: Attributes,
        /// What becomes of a source that is a symbolic link.
        #[serde(skip_serializing_if = "SourceLink::is_followed")]
        link: SourceLink,
        /// The runtime's process opens it, because the container's may lack the rights.
        by_runtime: bool,
        /// Its ids are mapped.
        #[serde(skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
    },
    /// A change to what is mounted at the destination already.
    #[serde(rename_all = "camelCase")]
    Remount {
        /// Attributes of the mount to change; it keeps the others, as with mount(8).
        #[serde(skip_serializing_if = "Attributes::is_empty")]
        attributes: Attributes,
        /// `MS_` flags of the file system; `None` leaves it alone and changes this one mount (`remount,bind`).
        #[serde(skip_serializing_if = "Option::is_none")]
        superblock: Option<u64>,
        /// Options that are the file system's own.
        data: KernelString,
    },
    /// The container's cgroup, version 2. In a user namespace without a cgroup namespace the kernel refuses a new
    /// mount, and the container's own part of the host's is bound instead.
    #[serde(rename_all = "camelCase")]
    Cgroup {
        /// `MS_` flags of mount(2).
        flags: u64,
        /// Options that are the file system's own.
        data: KernelString,
        /// The directory to bind when a new mount is refused.
        fallback: KernelString,
    },
    /// The container's cgroups, version 1: a tmpfs with a directory for each hierarchy.
    #[serde(rename_all = "camelCase")]
    CgroupTree {
        /// `MS_` flags of mount(2).
        flags: u64,
        /// The hierarchies.
        hierarchies: Vec<TreeHierarchy>,
    },
}

impl What {
    /// How its ids are mapped, if they are.
    #[must_use]
    pub fn idmap(&self) -> Option<&IdMap> {
        match self {
            What::Bind { idmap, .. } | What::Detached(Detached { idmap, .. }) => idmap.as_ref(),
            _ => None,
        }
    }
}

/// A version 1 hierarchy in the container's `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeHierarchy {
    /// Its directory, such as `/sys/fs/cgroup/cpu,cpuacct`.
    pub destination: RootPath,
    /// Links to it for its controllers, such as `/sys/fs/cgroup/cpu`, when there are several.
    pub links: Vec<Link>,
    /// Mount options for a new mount, when the container has a cgroup namespace: `cpu,cpuacct`, `name=systemd`.
    pub data: KernelString,
    /// The container's cgroup on the host, bound when it has no cgroup namespace; `None` makes a new mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<KernelString>,
    /// Version 2, in a hybrid layout.
    pub unified: bool,
}

/// The ids of an id-mapped mount. See mount_setattr(2), ID-mapped mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdMap {
    /// Its own maps, or those of the container's user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<IdMaps>,
    /// For everything below it too.
    pub deep: bool,
}

impl Mount {
    /// Its source is a descriptor that the runtime's process hands over.
    #[must_use]
    pub fn is_opened_by_runtime(&self) -> bool {
        match &self.what {
            What::Bind { by_runtime, link, .. } => *by_runtime || *link == SourceLink::Copied,
            what => what.idmap().is_some(),
        }
    }

    /// It is a bind mount.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        matches!(self.what, What::Bind { .. })
    }

    /// What it shows may depend on the network namespace of who mounts it.
    #[must_use]
    pub fn is_of_network(&self) -> bool {
        match &self.what {
            What::Filesystem { fstype, .. } | What::Detached(Detached { fstype, .. }) => {
                !host::APART.contains(&fstype.as_str())
            }
            What::Sysfs { .. } => true,
            What::Bind { .. } | What::Remount { .. } | What::Cgroup { .. } | What::CgroupTree { .. } => false,
        }
    }

    /// What it shows depends on the cgroup, and the cgroup namespace, of who mounts it.
    #[must_use]
    pub fn is_of_cgroup(&self) -> bool {
        match &self.what {
            What::Filesystem { fstype, .. } => fstype.as_str().starts_with("cgroup"),
            What::Cgroup { .. } | What::CgroupTree { .. } => true,
            _ => false,
        }
    }

    /// Options that the file system is given as they are.
    #[must_use]
    pub fn data(&self) -> &str {
        match &self.what {
            What::Filesystem { data, .. }
            | What::Sysfs { data, .. }
            | What::Remount { data, .. }
            | What::Cgroup { data, .. } => data.as_str(),
            What::Detached(_) | What::Bind { .. } | What::CgroupTree { .. } => "",
        }
    }

    /// The destination says that it is inside /proc, so that compiling has looked whether it may be covered.
    #[must_use]
    pub fn is_inside_proc(&self) -> bool {
        is_inside_proc(&self.destination)
    }
}

/// What goes up again may be anywhere.
fn is_inside_proc(path: &RootPath) -> bool {
    let below = path.as_str().strip_prefix("/proc/");
    below.is_some_and(|below| below.split('/').all(|component| component != ".."))
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Filesystem { fstype, source, .. } | What::Detached(Detached { fstype, source, .. }) => {
                write!(f, "{fstype}")?;
                if fstype != source {
                    write!(f, " {source}")?;
                }
            }
            What::Bind { source, .. } => write!(f, "bind {source}")?,
            What::Sysfs { .. } => f.write_str("sysfs")?,
            What::Remount { .. } => f.write_str("remount")?,
            What::Cgroup { .. } | What::CgroupTree { .. } => f.write_str("cgroup")?,
        }
        write!(f, " on {}", self.destination)
    }
}

/// Decides how the root file system is built.
pub fn compile(
    spec: &Spec,
    choices: &Choices,
    facts: &Facts,
    entry: &Entry,
    cgroup: &Cgroup,
    findings: &mut Findings,
) -> Rootfs {
    let root = spec.root().as_ref();
    let linux = spec.linux().as_ref();
    let path = root.map_or("", |r| r.path().to_str().unwrap_or_default());
    let asked = linux.and_then(|l| l.rootfs_propagation().as_deref()).unwrap_or_default();
    let propagation = root_propagation(asked, findings);
    let label = mount_label(spec, facts, findings);
    let list = spec.mounts().as_deref().unwrap_or_default();
    fits(list.len(), "/mounts", findings);
    let around = read::Around { spec, choices, facts, entry, cgroup, label };
    let mut mounts: Vec<Mount> = list
        .iter()
        .enumerate()
        .filter_map(|(i, mount)| read::mount(mount, &format!("/mounts/{i}"), &around, findings))
        .collect();
    let readonly_dev = leave_dev_writable(&mut mounts);
    let (devices, links) = devices::compile(spec, findings);
    fits(devices.len(), "/linux/devices", findings);
    let masked = linux.and_then(|l| l.masked_paths().as_deref()).unwrap_or_default();
    let readonly_paths = linux.and_then(|l| l.readonly_paths().as_deref()).unwrap_or_default();
    Rootfs {
        path: root_path(path, root.is_some(), choices, findings),
        readonly: root.and_then(|r| r.readonly()).unwrap_or(false),
        readonly_dev,
        host_propagation: host_propagation(propagation),
        propagation,
        mounts,
        devices,
        // The kernel lets nobody make device nodes outside the initial user namespace.
        bind_devices: entry.changes_user() || !facts.privileged,
        links,
        masked: paths(masked, "/linux/maskedPaths", "config-linux.md#masked-paths", findings),
        readonly_paths: paths(
            readonly_paths,
            "/linux/readonlyPaths",
            "config-linux.md#readonly-paths",
            findings,
        ),
        pivot: choices.pivot,
    }
}

fn root_path(path: &str, given: bool, choices: &Choices, findings: &mut Findings) -> KernelString {
    let checked = match path {
        "" => Err(Unusable::Empty),
        path => KernelString::path(&read::from_bundle(path, choices)),
    };
    // A config without `root` has been refused already.
    let checked = if given { findings.check(checked, "/root/path", "config.md#root") } else { checked.ok() };
    checked.unwrap_or_default()
}

fn root_propagation(asked: &str, findings: &mut Findings) -> Option<Propagation> {
    let propagation = options::propagation(asked);
    if propagation.is_none() && !asked.is_empty() {
        findings.error(
            "/linux/rootfsPropagation",
            format!(
                "{asked:?} is not shared, slave, private, unbindable, or one of them with an r before it"
            ),
            "config-linux.md#rootfs-mount-propagation",
        );
    }
    propagation
}

/// What becomes of the host's mounts before anything is mounted. Shared ones stay shared when the root is to be
/// so, because a bind of one can only then be `shared` with the host (Kubernetes' Bidirectional).
fn host_propagation(root: Option<Propagation>) -> Propagation {
    let flags = match root {
        // An unbindable mount is a private one; but binding from the host has to work.
        Some(Propagation { flags }) if flags & MS_UNBINDABLE != 0 => MS_PRIVATE,
        Some(Propagation { flags }) => flags,
        None => MS_SLAVE,
    };
    Propagation { flags: flags | MS_REC }
}

fn mount_label<'a>(spec: &'a Spec, facts: &Facts, findings: &mut Findings) -> Option<&'a str> {
    let label = spec.linux().as_ref()?.mount_label().as_deref().filter(|label| !label.is_empty())?;
    let mut error = |says| findings.error("/linux/mountLabel", says, "config-linux.md#mount-label");
    if !facts.selinux {
        error(
            "SELinux is not enabled on this host, so no mount can be labelled; remove it or enable SELinux",
        );
    } else if label.contains(['"', '\0']) {
        error("contains a quotation mark or a NUL byte, which no SELinux context has");
    }
    Some(label)
}

/// Takes `ro` from what is mounted on /dev, because nodes and links have to be made there first. True if the
/// last one had it.
fn leave_dev_writable(mounts: &mut [Mount]) -> bool {
    let mut readonly = false;
    for mount in mounts.iter_mut().filter(|m| m.destination.as_str() == "/dev") {
        match &mut mount.what {
            What::Filesystem { flags, .. } => {
                readonly = *flags & MS_RDONLY != 0;
                *flags &= !MS_RDONLY;
            }
            What::Detached(new) => readonly = std::mem::take(&mut new.readonly),
            _ => readonly = false,
        }
    }
    readonly
}

fn paths(list: &[String], at: &str, clause: &'static str, findings: &mut Findings) -> Vec<RootPath> {
    fits(list.len(), at, findings);
    let mut seen = HashSet::new();
    let mut paths = Vec::with_capacity(list.len());
    for (i, text) in list.iter().enumerate() {
        let at = format!("{at}/{i}");
        if !text.starts_with('/') {
            findings.error(at, format!("{text:?} is not an absolute path"), clause);
        } else if let Some(path) = findings.check(RootPath::new(text), at, clause) {
            // Clients list a path once for each reason to hide it (kubernetes/kubernetes#138512).
            if seen.insert(path.clone()) {
                paths.push(path);
            }
        }
    }
    paths
}

/// The steps of a plan are counted in 16 bits.
fn fits(length: usize, at: &str, findings: &mut Findings) {
    if length > usize::from(u16::MAX) {
        findings.error(at, format!("{length} entries; there can be at most 65535"), "config.md");
    }
}

#[cfg(test)]
mod tests;
