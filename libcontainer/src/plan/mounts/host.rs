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
            What::Remount { .. } | What::Cgroup { .. } => false,
            What::Sysfs { .. } => true,
            What::CgroupTree { hierarchies, .. } => {
                hierarchies.iter().any(|hierarchy| hierarchy.bind.is_some())
            }
        }
    }

    /// Device nodes and links may be made before the mounts from `next` on: to go by their names, none of those hides
    /// one, or is on one.
    #[must_use]
    pub fn has_devices_before(&self, next: u16) -> bool {
        let devices = self.devices.iter().map(|device| device.path.as_str());
        let paths = || devices.clone().chain(self.links.iter().map(|link| link.path.as_str()));
        let is_in_dev =
            |path: &str| path.strip_prefix("/dev/").is_some_and(|name| !name.contains(['/', '.']));
        let is_apart = |mount: &Mount| {
            let point = mount.destination.as_str();
            let is_clear = match point.strip_prefix("/dev") {
                Some("") => false,
                Some(rest) if rest.starts_with('/') => {
                    paths().all(|path| !Path::new(point).starts_with(path))
                }
                _ => point != "/",
            };
            is_clear && !point.contains("..")
        };
        let left = self.mounts.get(usize::from(next)..).unwrap_or_default();
        left.iter().all(is_apart) && paths().all(is_in_dev)
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

    fn leaves_host_early(part: Value, choices: &Choices) -> bool {
        Plan::compile(&spec(part), choices, &FACTS).unwrap().leaves_host_early
    }

    fn with(mount: Value) -> Value {
        let namespaces: Value = NAMESPACES.iter().map(|kind| json!({"type": kind})).collect();
        json!({"linux": {"namespaces": namespaces}, "mounts": [mount]})
    }

    #[test]
    fn m01_the_host_is_left_early_if_nothing_is_looked_up_there_afterwards() {
        let plain = [
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}),
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}),
            json!({"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup"]}),
            json!({"destination": "/data", "source": "/srv/data", "options": ["rbind", "rslave"]}),
            json!({"destination": "/data", "source": "data", "options": ["bind", "src-nofollow"]}),
            json!({"destination": "/data", "source": "/bundle/rootfs-of-another", "options": ["bind"]}),
            json!({"destination": "/", "options": ["remount", "bind", "ro"]}),
            json!({"destination": "/data", "options": ["remount", "sync"]}),
        ];
        for mount in plain {
            assert!(leaves_host_early(with(mount.clone()), &choices()), "{mount}");
        }
        let of_the_host = [
            json!({"destination": "/data", "type": "ext4", "source": "/dev/sdb1"}),
            json!({"destination": "/data", "type": "overlay", "options": ["lowerdir=/srv/a:/srv/b"]}),
            json!({"destination": "/data", "source": "/bundle/rootfs/below", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/bundle//./rootfs", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/bundle/x/../rootfs", "options": ["bind"]}),
            json!({"destination": "/data", "source": "/srv/link", "options": ["bind", "copy-symlink"]}),
        ];
        for mount in of_the_host {
            assert!(!leaves_host_early(with(mount.clone()), &choices()), "{mount}");
        }
    }

    #[test]
    fn d01_devices_may_be_made_before_mounts_that_have_nothing_to_do_with_them() {
        let early = |part: Value, next| {
            Plan::compile(&spec(part), &choices(), &FACTS).unwrap().rootfs.has_devices_before(next)
        };
        let at = |point: &str| with(json!({"destination": point, "type": "tmpfs"}));
        for point in ["/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm", "/device", "/etc/dev"] {
            assert!(early(at(point), 0), "{point}");
        }
        for point in ["/", "/dev", "/dev/null", "/dev/fd", "/dev/fd/1", "/x/../dev", "/dev/../dev"] {
            assert!(!early(at(point), 0), "{point}");
            assert!(early(at(point), 1), "{point}");
        }
        let mut elsewhere = at("/sys");
        elsewhere["linux"]["devices"] = json!([{"path": "/data/null", "type": "c", "major": 1, "minor": 3}]);
        assert!(!early(elsewhere, 0));
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
            assert_eq!(leaves_host_early(config, &choices()), expected, "{hook}");
        }
        assert!(!leaves_host_early(proc(), &Choices { pivot: false, ..choices() }));
        let mut joined = proc();
        joined["linux"]["namespaces"][1]["path"] = json!("/run/namespace");
        assert!(!leaves_host_early(joined, &choices()));
        let mut mapped = proc();
        mapped["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for ids in ["uidMappings", "gidMappings"] {
            mapped["linux"][ids] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        }
        assert!(!leaves_host_early(mapped, &choices()));
    }
}
