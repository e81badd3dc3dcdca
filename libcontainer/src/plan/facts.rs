//! What compile may know about the host: plain data, gathered by `host.rs`. Pure.
//!
//! A fact is here only if compiling branches on it. What the running kernel can do is never a fact:
//! `sys` falls back by itself.

use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

use super::systemd::Manager;

/// The host as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The runtime is root in the initial user namespace, so it may do on the host what root may.
    pub privileged: bool,
    /// The runtime's effective user id in its own user namespace.
    pub uid: u32,
    /// The runtime's effective group id in its own user namespace.
    pub gid: u32,
    /// Capabilities that the runtime can hand on: bit n stands for capability n (capabilities(7)).
    pub capabilities: u64,
    /// The highest capability number that this kernel knows.
    pub last_capability: u8,
    /// The cgroup hierarchies that are mounted.
    pub cgroup: CgroupFacts,
    /// AppArmor is the kernel's and enabled.
    pub apparmor: bool,
    /// SELinux is the kernel's and enabled.
    pub selinux: bool,
    /// Where resctrl is mounted. Looked for only if the config asks for it.
    #[serde(default)]
    pub resctrl: Option<String>,
    /// The version 1 hierarchy `name=systemd`. Looked for only if the config asks for it: where version 2 is alone
    /// otherwise, it is not among the hierarchies of the host.
    #[serde(default)]
    pub named: Option<HierarchyFacts>,
    /// The instance of systemd that makes units for the runtime. Looked for only if the caller asks for it.
    #[serde(default)]
    pub systemd: Option<SystemdFacts>,
}

/// Which facts a config needs, beside those that every plan does: each would cost every other container some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The cgroup hierarchies.
    pub(crate) cgroups: bool,
    /// The sizes of huge pages.
    pub(crate) huge_pages: bool,
    /// Whether there are security modules that label processes and mounts.
    pub(crate) labels: bool,
}

impl Needs {
    /// All of them.
    pub(crate) const EVERYTHING: Needs = Needs { cgroups: true, huge_pages: true, labels: true };

    /// What `process` needs, which is going to run in a container of `spec` that exists.
    #[must_use]
    pub(crate) fn by_exec(spec: &Spec, process: &Process) -> Needs {
        Needs { cgroups: false, huge_pages: false, ..Needs::by(spec, Some(process)) }
    }

    /// What `spec` needs, and `process`, which is going to run in its container.
    #[must_use]
    pub(crate) fn by(spec: &Spec, process: Option<&Process>) -> Needs {
        let linux = spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let labelled =
            |process: &Process| process.apparmor_profile().is_some() || process.selinux_label().is_some();
        Needs {
            cgroups: true,
            huge_pages: resources.is_some_and(|resources| resources.hugepage_limits().is_some()),
            labels: process.is_some_and(labelled) || linux.is_some_and(|linux| linux.mount_label().is_some()),
        }
    }
}

/// An instance of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemdFacts {
    /// The host's, or the user's own.
    pub manager: Manager,
    /// The cgroup in which its units are, below each hierarchy's mount: `/` for the host's.
    pub root: String,
}

/// Which cgroup hierarchies there are. See cgroups(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFacts {
    /// Every mounted hierarchy, version 1 ones in the order of /proc/self/cgroup, version 2 last.
    pub hierarchies: Vec<HierarchyFacts>,
    /// Sizes of huge pages as the hugetlb controller spells them, such as `2MB`.
    pub huge_page_sizes: Vec<String>,
}

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HierarchyFacts {
    /// Version 1, or the unified version 2.
    pub version: CgroupVersion,
    /// Where it is mounted, for example `/sys/fs/cgroup/memory`.
    pub mount: String,
    /// Its controllers; `name=systemd` for a named one. For version 2, those of `cgroup.controllers`.
    pub controllers: Vec<String>,
    /// The runtime's own cgroup in it, below the mount.
    pub own: String,
}

/// The two interfaces to cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

impl HierarchyFacts {
    /// The directory of the own cgroup.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(format!("{}{}", self.mount, self.own.trim_end_matches('/')))
    }
}

impl CgroupFacts {
    /// The version 2 hierarchy, if it is mounted.
    #[must_use]
    pub fn version_2(&self) -> Option<&HierarchyFacts> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == CgroupVersion::V2)
    }

    /// Only the version 2 hierarchy is mounted: limits go there.
    #[must_use]
    pub fn unified(&self) -> bool {
        self.hierarchies.iter().all(|h| h.version == CgroupVersion::V2)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_needs_what_it_names() {
        let needs = |linux: serde_json::Value, process: serde_json::Value| {
            let spec = serde_json::from_value(json!({"ociVersion": "1.3.0", "linux": linux})).unwrap();
            let process = serde_json::from_value(process).unwrap();
            let Needs { huge_pages, labels, .. } = Needs::by(&spec, Some(&process));
            (huge_pages, labels)
        };
        let plain = json!({"cwd": "/", "user": {"uid": 0, "gid": 0}});
        let with = |name: &str| {
            let mut process = plain.clone();
            process[name] = json!("x");
            process
        };
        assert_eq!(needs(json!({}), plain.clone()), (false, false));
        let huge = json!({"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}});
        assert_eq!(needs(huge, plain.clone()), (true, false));
        assert_eq!(needs(json!({"mountLabel": "x"}), plain.clone()), (false, true));
        assert_eq!(needs(json!({}), with("apparmorProfile")), (false, true));
        assert_eq!(needs(json!({}), with("selinuxLabel")), (false, true));
    }
}
