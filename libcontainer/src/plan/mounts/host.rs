//! What of a container's mounts has to be looked up on the host while they are made. Pure.

use std::path::{Component, Path};

use super::{Detached, Mount, Rootfs, What};

/// File systems whose source is a mere name, and whose options are none: neither the host's files nor its network
/// devices have a part in them.
pub(super) const APART: [&str; 7] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "ramfs", "tmpfs"];

impl Rootfs {
    /// The container's mounts cannot all be made where the host's are out of sight, with the sources of bind mounts
    /// opened before.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        // A root that cannot be pivoted away cannot be taken out of its place either.
        !self.pivot || self.bind_devices || self.mounts.iter().any(|mount| self.has_on_host(mount))
    }

    fn has_on_host(&self, mount: &Mount) -> bool {
        let is_apart = |fstype: &str| fstype == "sysfs" || APART.contains(&fstype);
        match &mount.what {
            What::Filesystem { fstype, .. } | What::Detached(Detached { fstype, .. }) => {
                !is_apart(fstype.as_str()) || mount.is_opened_by_runtime()
            }
            // What is mounted there by the time it is bound is a part of it.
            What::Bind { source, .. } => mount.is_opened_by_runtime() || self.may_hold(source.as_str()),
            // The file system is named by a path in procfs.
            What::Remount { superblock, .. } => superblock.is_some(),
            What::Sysfs { .. } => true,
            What::Cgroup { .. } => false,
            What::CgroupTree { hierarchies, .. } => {
                hierarchies.iter().any(|hierarchy| hierarchy.bind.is_some())
            }
        }
    }

    /// The path may lead into the root file system.
    fn may_hold(&self, path: &str) -> bool {
        let (root, path) = (Path::new(self.path.as_str()), Path::new(path));
        let goes_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
        path.starts_with(root) || goes_up(root) || goes_up(path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::plan::tests::{FACTS, choices, spec};
    use crate::plan::{Choices, Plan};

    const NAMESPACES: [&str; 4] = ["pid", "mount", "network", "ipc"];

    fn begins_with_root(part: Value, choices: &Choices) -> bool {
        Plan::compile(&spec(part), choices, &FACTS).unwrap().begins_with_root
    }

    fn with(mount: Value) -> Value {
        let namespaces: Value = NAMESPACES.iter().map(|kind| json!({"type": kind})).collect();
        json!({"linux": {"namespaces": namespaces}, "mounts": [mount]})
    }

    #[test]
    fn m01_a_namespace_begins_with_the_root_if_nothing_is_looked_up_in_it() {
        let plain = [
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}),
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}),
            json!({"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup"]}),
            json!({"destination": "/data", "source": "/srv/data", "options": ["rbind", "rslave"]}),
            json!({"destination": "/data", "source": "data", "options": ["bind", "src-nofollow"]}),
            json!({"destination": "/data", "source": "/bundle/rootfs-of-another", "options": ["bind"]}),
            json!({"destination": "/", "options": ["remount", "bind", "ro"]}),
        ];
        for mount in plain {
            assert!(begins_with_root(with(mount.clone()), &choices()), "{mount}");
        }
        let of_the_host = [
            json!({"destination": "/data", "type": "ext4", "source": "/dev/sdb1"}),
            json!({"destination": "/data", "type": "overlay", "options": ["lowerdir=/srv/a:/srv/b"]}),
            json!({"destination": "/data", "source": "/bundle/rootfs/below", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/bundle//./rootfs", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/bundle/x/../rootfs", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/srv/link", "options": ["bind", "copy-symlink"]}),
            json!({"destination": "/data", "options": ["remount", "sync"]}),
        ];
        for mount in of_the_host {
            assert!(!begins_with_root(with(mount.clone()), &choices()), "{mount}");
        }
    }

    #[test]
    fn m01_not_for_hooks_that_look_around_nor_for_another_user() {
        let proc = || with(json!({"destination": "/proc", "type": "proc"}));
        for (hook, expected) in [
            ("prestart", false),
            ("createRuntime", false),
            ("createContainer", false),
            ("startContainer", true),
            ("poststart", true),
            ("poststop", true),
        ] {
            let mut config = proc();
            config["hooks"] = json!({hook: [{"path": "/bin/hook"}]});
            assert_eq!(begins_with_root(config, &choices()), expected, "{hook}");
        }
        assert!(!begins_with_root(proc(), &Choices { pivot: false, ..choices() }));
        let mut joined = proc();
        joined["linux"]["namespaces"][1]["path"] = json!("/run/namespace");
        assert!(!begins_with_root(joined, &choices()));
        let mut mapped = proc();
        mapped["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for ids in ["uidMappings", "gidMappings"] {
            mapped["linux"][ids] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        }
        assert!(!begins_with_root(mapped, &choices()));
    }
}
