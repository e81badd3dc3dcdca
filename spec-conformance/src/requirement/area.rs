//! Areas that reports sum up: what belongs together for whoever writes a runtime.

use super::Requirement;

/// A part of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Its name in reports.
    pub name: &'static str,
    /// The beginnings of its requirements' ids.
    ids: &'static [&'static str],
}

/// All of them, in the order of reports. A requirement is of the first that it fits.
#[rustfmt::skip]
pub const AREAS: &[Area] = &[
    Area { name: "life cycle", ids: &["runtime.", "bundle."] },
    Area { name: "document", ids: &["config.specification-version.", "config.platform-specific-configuration.",
        "config.annotations.", "config.extensibility.", "config.valid-values."] },
    Area { name: "root and mounts", ids: &["config.root.", "config.mounts.", "config.posix-platform-mounts.",
        "config-linux.default-filesystems.", "config-linux.rootfs-mount-propagation.",
        "config-linux.masked-paths.", "config-linux.readonly-paths.", "config-linux.mount-label."] },
    Area { name: "mount options", ids: &["config.linux-mount-options."] },
    Area { name: "process", ids: &["config.process.", "config.posix-process.", "config.linux-process.",
        "config.posix-platform-user.", "config-linux.personality.", "config-linux.memory-policy.",
        "runtime-linux.file-descriptors."] },
    Area { name: "hooks", ids: &["config.posix-platform-hooks.", "config.prestart.", "config.createruntime-hooks.",
        "config.createcontainer-hooks.", "config.startcontainer-hooks.", "config.poststart.", "config.poststop."] },
    Area { name: "namespaces", ids: &["config-linux.namespaces.", "config-linux.user-namespace-mappings.",
        "config-linux.offset-for-time-namespace.", "config-linux.sysctl.", "config.hostname.", "config.domainname."] },
    Area { name: "devices", ids: &["config-linux.devices.", "config-linux.default-devices.",
        "runtime-linux.dev-symbolic-links."] },
    Area { name: "network devices", ids: &["config-linux.network-devices.",
        "config-linux.namespace-lifecycle-and-container-termination."] },
    Area { name: "cgroups", ids: &["config-linux.control-groups.", "config-linux.cgroups-path.",
        "config-linux.cgroup-ownership.", "config-linux.allowed-device-list."] },
    Area { name: "resources", ids: &["config-linux.memory.", "config-linux.cpu.", "config-linux.block-io.",
        "config-linux.huge-page-limits.", "config-linux.network.", "config-linux.pids.", "config-linux.rdma.",
        "config-linux.unified.", "config-linux.intelrdt."] },
    Area { name: "seccomp", ids: &["config-linux.seccomp.", "config-linux.the-container-process-state."] },
    Area { name: "features", ids: &["features.", "features-linux."] },
];

impl Area {
    /// Whether the requirement belongs to it.
    pub fn holds(&self, requirement: &Requirement) -> bool {
        self.ids.iter().any(|start| requirement.id.starts_with(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_of_one_area_and_every_beginning_is_of_some() {
        for requirement in Requirement::all() {
            let areas = AREAS.iter().filter(|area| area.holds(requirement)).count();
            assert_eq!(areas, 1, "{}", requirement.id);
        }
        for start in AREAS.iter().flat_map(|area| area.ids) {
            assert!(Requirement::all().any(|requirement| requirement.id.starts_with(start)), "{start}");
        }
    }
}
