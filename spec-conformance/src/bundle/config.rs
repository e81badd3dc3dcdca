//! The configuration of a test bundle: its default, changes by JSON pointer, and making a foreign one fit.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Error;

/// Where engines bind files rather than directories. The source's kind is unknown, as it is on another host.
const FILES: [&str; 5] =
    ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/dev/termination-log"];

/// The configuration that [`crate::Bundle::new`] starts from: what `runc spec` writes, with the probe as
/// program, no terminal, and a cgroup namespace.
pub fn default_config() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/probe", "report"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "conformance",
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ])
}

/// The tokens of a JSON pointer, unescaped. See RFC 6901.
fn tokens(pointer: &str) -> impl DoubleEndedIterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The value at a pointer; members of objects are made when absent (as null), elements of arrays are not.
pub(super) fn place<'a>(root: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    tokens(pointer).try_fold(root, |value, token| {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        match value {
            Value::Object(members) => Some(members.entry(token).or_insert(Value::Null)),
            Value::Array(elements) => elements.get_mut(token.parse::<usize>().ok()?),
            _ => None,
        }
    })
}

/// Removes the value at a pointer, if there is one.
pub(super) fn remove(root: &mut Value, pointer: &str) {
    let Some((parent, _)) = pointer.rsplit_once('/') else { return };
    let Some(last) = tokens(pointer).next_back() else { return };
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(&last)),
        Some(Value::Array(elements)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < elements.len()) {
                elements.remove(index);
            }
        }
        _ => {}
    }
}

/// Replaces [`crate::Bundle::HERE`] at the beginning of texts by the bundle's directory.
pub(super) fn place_here(value: &mut Value, bundle: &Path) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(crate::Bundle::HERE) {
                *text = format!("{}{rest}", bundle.display());
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| place_here(element, bundle)),
        Value::Object(members) => members.values_mut().for_each(|member| place_here(member, bundle)),
        _ => {}
    }
}

/// Makes a configuration from another host fit this one: its root and bind sources exist below `bundle`
/// afterwards, and namespaces to join that do not exist here are made anew.
pub(super) fn settle(config: &mut Value, bundle: &Path) -> Result<(), Error> {
    config["root"]["path"] = json!("rootfs");
    if let Some(mounts) = config.get_mut("mounts").and_then(Value::as_array_mut) {
        for (index, mount) in mounts.iter_mut().enumerate().filter(|(_, mount)| is_bind(mount)) {
            mount["source"] = json!(fresh_source(mount, bundle.join(format!("source-{index}")))?);
        }
    }
    if let Some(namespaces) = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut) {
        for namespace in namespaces.iter_mut().filter_map(Value::as_object_mut) {
            let exists = |path: &Value| path.as_str().is_some_and(|path| Path::new(path).exists());
            if namespace.get("path").is_some_and(|path| !exists(path)) {
                namespace.remove("path");
            }
        }
    }
    Ok(())
}

/// The host's ids for the container's root, when the configuration maps ids.
pub(super) fn mapped_root(config: &Value) -> Option<(u32, u32)> {
    let host_id = |kind| {
        let mappings = config.pointer(kind)?.as_array()?;
        let root = mappings.iter().find(|mapping| mapping["containerID"] == 0)?;
        u32::try_from(root["hostID"].as_u64()?).ok()
    };
    Some((host_id("/linux/uidMappings")?, host_id("/linux/gidMappings")?))
}

fn is_bind(mount: &Value) -> bool {
    let options = mount["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    options.iter().any(|option| option == "bind" || option == "rbind")
}

fn fresh_source(mount: &Value, path: PathBuf) -> Result<PathBuf, Error> {
    let destination = mount["destination"].as_str().unwrap_or_default();
    let made = if FILES.contains(&destination) {
        std::fs::write(&path, format!("{destination}\n"))
    } else {
        std::fs::create_dir(&path)
    };
    made.map_err(Error::file(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_configuration_loses_what_only_its_own_host_has() {
        let bundle = tempfile::tempdir().unwrap();
        let mut config = json!({
            "root": {"path": "/var/lib/engine/merged"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/etc/hosts", "source": "/run/engine/hosts", "options": ["rbind"]},
                {"destination": "/dev/shm", "source": "/run/engine/shm", "options": ["bind"]},
            ],
            "linux": {"namespaces": [
                {"type": "network", "path": "/run/netns/gone"},
                {"type": "uts", "path": "/proc/self/ns/uts"},
            ]},
        });
        settle(&mut config, bundle.path()).unwrap();
        assert_eq!(config["root"]["path"], "rootfs");
        assert_eq!(config["mounts"][0]["source"], "proc");
        assert!(Path::new(config["mounts"][1]["source"].as_str().unwrap()).is_file());
        assert!(Path::new(config["mounts"][2]["source"].as_str().unwrap()).is_dir());
        assert_eq!(config["linux"]["namespaces"][0], json!({"type": "network"}));
        assert_eq!(config["linux"]["namespaces"][1]["path"], "/proc/self/ns/uts");
    }

    #[test]
    fn texts_that_begin_with_the_bundle_get_its_path() {
        let mut config = json!({"mounts": [{"source": "$BUNDLE/a", "options": ["x=$BUNDLE", 1]}]});
        place_here(&mut config, Path::new("/b"));
        assert_eq!(config, json!({"mounts": [{"source": "/b/a", "options": ["x=$BUNDLE", 1]}]}));
    }

    #[test]
    fn the_root_file_system_belongs_to_whoever_is_root_inside() {
        let mapping = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 10}]);
        let config = json!({"linux": {"uidMappings": mapping(7), "gidMappings": mapping(8)}});
        assert_eq!(mapped_root(&config), Some((7, 8)));
        assert_eq!(mapped_root(&default_config()), None);
    }

    #[test]
    fn escaped_slashes_belong_to_the_name() {
        let mut config = json!({});
        *place(&mut config, "/annotations/a~1b~0c").unwrap() = json!("d");
        assert_eq!(config, json!({"annotations": {"a/b~c": "d"}}));
    }
}
