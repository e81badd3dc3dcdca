//! The bundles: how each differs from the default, in the words of config.json, on disk and for the floor.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{At, Error};

/// What `runc spec` writes, but for the terminal, the command and the cgroup.
const CONFIG: &str = include_str!("../../../bench/config.json");

/// What Docker hands to its runtime for `docker run`, recorded.
const DOCKER_CONFIG: &str = include_str!("../../../tests/clients/docker-default.json");

/// `masks-256`: half are files.
const MASKED: usize = 256;
const BOUND: usize = 200;
/// 512 variables of 128 bytes.
const VARIABLES: usize = 512;
const VARIABLE: usize = 128;

/// A kind of bundle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    base: &'static str,
    /// Edits the config; the bundle's directory is there.
    change: fn(&mut Value, &Path),
    /// Makes what the config names.
    furnish: fn(&Path) -> Result<(), Error>,
    /// Flags that tell the floor the same.
    pub(crate) floor: &'static [&'static str],
    /// The runtime is told to leave the cgroup to systemd.
    pub(crate) systemd: bool,
}

/// The config of `runc spec` as it is.
pub(crate) const DEFAULT: Shape =
    Shape { base: CONFIG, change: |_, _| (), furnish: |_| Ok(()), floor: &[], systemd: false };

/// Docker's.
pub(crate) const DOCKER: Shape = Shape {
    base: DOCKER_CONFIG,
    change: docker,
    furnish: |bundle| {
        for file in ["resolv.conf", "hostname", "hosts"] {
            write(&bundle.join(file), "")?;
            write(&bundle.join("rootfs/etc").join(file), "")?;
        }
        Ok(())
    },
    floor: &["--docker"],
    ..DEFAULT
};

/// With a new user namespace.
pub(crate) const USER: Shape = Shape { change: user, floor: &["--userns"], ..DEFAULT };

/// With [`MASKED`] more masked paths.
pub(crate) const MASKS: Shape = Shape {
    change: |config, _| {
        if let Some(paths) = config["linux"]["maskedPaths"].as_array_mut() {
            paths.extend((0..MASKED).map(|number| json!(format!("/masked/{}", masked(number)))));
        }
    },
    furnish: |bundle| {
        let directory = bundle.join("rootfs/masked");
        make_dir(&directory)?;
        (0..MASKED).try_for_each(|number| {
            let path = directory.join(masked(number));
            if number % 2 == 1 { make_dir(&path) } else { write(&path, "") }
        })
    },
    floor: &["--masks", "256"],
    ..DEFAULT
};

/// With [`BOUND`] bind mounts of a directory.
pub(crate) const BINDS: Shape = Shape {
    change: |config, bundle| {
        let source = bundle.join("source");
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.extend((0..BOUND).map(|number| {
                json!({"destination": format!("/bind/{number}"), "type": "bind", "source": source, "options": ["bind"]})
            }));
        }
    },
    furnish: |bundle| {
        make_dir(&bundle.join("source"))?;
        make_dir(&bundle.join("rootfs/bind"))?;
        (0..BOUND).try_for_each(|number| make_dir(&bundle.join(format!("rootfs/bind/{number}"))))
    },
    floor: &["--binds", "200"],
    ..DEFAULT
};

/// With 64 KiB of environment.
pub(crate) const VALUES: Shape = Shape {
    change: |config, _| {
        if let Some(env) = config["process"]["env"].as_array_mut() {
            env.extend(
                (0..VARIABLES).map(|number| json!(format!("{:x<VARIABLE$}", format!("V{number:04}=")))),
            );
        }
    },
    floor: &["--values", "512"],
    ..DEFAULT
};

/// With the cgroup left to systemd.
pub(crate) const SYSTEMD: Shape = Shape {
    change: |config, _| {
        let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
        let unit = path.trim_start_matches('/').replacen('/', ":", 1);
        config["linux"]["cgroupsPath"] = json!(format!("system.slice:{unit}"));
    },
    systemd: true,
    ..DEFAULT
};

fn masked(number: usize) -> String {
    format!("{}{number}", if number % 2 == 1 { "directory" } else { "file" })
}

fn docker(config: &mut Value, bundle: &Path) {
    config["root"] = json!({ "path": "rootfs" });
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "bind" {
            let name = mount["destination"].as_str().and_then(|path| path.rsplit('/').next());
            mount["source"] = json!(bundle.join(name.unwrap_or_default()));
        }
    }
    if let Some(resources) = config["linux"]["resources"].as_object_mut() {
        // They limit nothing, and crun asks for the controller of what is named.
        resources.remove("blockIO");
        resources.remove("memory");
    }
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        // It was recorded with version 1; with version 2 Docker adds this, as `runc spec` does.
        namespaces.push(json!({ "type": "cgroup" }));
    }
}

fn user(config: &mut Value, _: &Path) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "user" }));
    }
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

impl Shape {
    /// The config for this command in the cgroup `/CGROUP`. `v2`: with a cgroup namespace.
    pub(crate) fn config(
        &self,
        bundle: &Path,
        command: &str,
        cgroup: &str,
        v2: bool,
    ) -> Result<Value, Error> {
        let mut config: Value = serde_json::from_str(self.base).at("config.json")?;
        config["process"]["args"] = json!([command]);
        config["linux"]["cgroupsPath"] = json!(format!("/{cgroup}"));
        (self.change)(&mut config, bundle);
        if !v2 && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        Ok(config)
    }

    /// Makes the bundle's directories and files, but for config.json. `payload` is the container's program.
    pub(crate) fn build(&self, bundle: &Path, payload: &Path) -> Result<(), Error> {
        let rootfs = bundle.join("rootfs");
        make_dir(bundle)?;
        make_dir(&rootfs)?;
        for directory in ["proc", "dev", "sys", "etc"] {
            make_dir(&rootfs.join(directory))?;
        }
        for program in ["true", "pause"] {
            fs::hard_link(payload, rootfs.join(program)).at(rootfs.join(program))?;
        }
        (self.furnish)(bundle)
    }
}

/// Makes a directory that may be there.
pub(crate) fn make_dir(directory: &Path) -> Result<(), Error> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.at(directory),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).at(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(shape: &Shape, v2: bool) -> Value {
        shape.config(Path::new("/b"), "/true", "parent/id", v2).unwrap()
    }

    fn has_namespace(config: &Value, kind: &str) -> bool {
        config["linux"]["namespaces"].as_array().unwrap().iter().any(|namespace| namespace["type"] == kind)
    }

    #[test]
    fn a_cgroup_namespace_is_for_version_2() {
        for shape in [&DEFAULT, &DOCKER, &USER] {
            assert!(has_namespace(&config(shape, true), "cgroup"));
            assert!(!has_namespace(&config(shape, false), "cgroup"));
        }
        assert!(has_namespace(&config(&USER, false), "user"));
    }

    #[test]
    fn the_bundles_have_what_their_names_promise() {
        let count =
            |config: &Value, pointer: &str| config.pointer(pointer).unwrap().as_array().unwrap().len();
        let (plain, masks, binds) = (config(&DEFAULT, true), config(&MASKS, true), config(&BINDS, true));
        assert_eq!(count(&masks, "/linux/maskedPaths") - count(&plain, "/linux/maskedPaths"), 256);
        assert_eq!(count(&binds, "/mounts") - count(&plain, "/mounts"), 200);
        let values = config(&VALUES, true);
        let env = values["process"]["env"].as_array().unwrap();
        assert_eq!(env.iter().skip(2).map(|value| value.as_str().unwrap().len()).sum::<usize>(), 64 << 10);
        assert_eq!(config(&SYSTEMD, true)["linux"]["cgroupsPath"], "system.slice:parent:id");
    }

    #[test]
    fn nothing_of_the_recorded_docker_is_left_that_only_its_machine_has() {
        let text = config(&DOCKER, true).to_string();
        assert!(!text.contains("/var/lib/docker") && text.contains("\"/b/hosts\""), "{text}");
        assert!(text.contains("SCMP_ACT_ERRNO"));
    }
}
