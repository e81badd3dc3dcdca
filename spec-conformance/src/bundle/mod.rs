//! A fluent builder of test bundles: a root file system with the probe in it, and a configuration that
//! starts from a good default and is changed by JSON pointer. Spec: bundle.md.

mod config;
mod rootfs;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Error;

pub use config::default_config;
pub use rootfs::probe_binary;

/// A bundle on disk; removed when dropped.
#[derive(Debug)]
pub struct Bundle {
    directory: TempDir,
    config: Value,
}

/// A bundle to be: nothing is on disk until [`BundleBuilder::build`].
#[derive(Debug, Clone)]
pub struct BundleBuilder {
    config: Value,
    foreign: bool,
    busybox: bool,
    owner: Option<(u32, u32)>,
    files: Vec<(PathBuf, String)>,
    beside: Vec<(PathBuf, String)>,
    misplaced: Option<String>,
}

impl Bundle {
    /// A builder with the default configuration: `/bin/probe report` in new pid, network, ipc, uts, mount
    /// and cgroup namespaces.
    #[expect(clippy::new_ret_no_self, reason = "reads as it is used: Bundle::new().args(..).build()")]
    pub fn new() -> BundleBuilder {
        BundleBuilder::starting_from(default_config(), false)
    }

    /// A builder with someone else's configuration, such as one that an engine wrote. What it refers to on
    /// that other host is replaced when the bundle is built: `root.path` and the sources of bind mounts by
    /// fresh files and directories, paths of namespaces that do not exist by new namespaces.
    pub fn from_config(config: Value) -> BundleBuilder {
        BundleBuilder::starting_from(config, true)
    }

    /// What a text of a configuration begins with that is to begin with the bundle's directory.
    pub const HERE: &str = "$BUNDLE";

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root file system, as the host sees it.
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The configuration's file.
    pub fn config_path(&self) -> PathBuf {
        self.path().join("config.json")
    }

    /// The configuration as it was written.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Replaces config.json, for what must not follow later edits.
    pub fn write(&mut self, config: Value) -> Result<(), Error> {
        let path = self.config_path();
        std::fs::write(&path, format!("{config:#}\n")).map_err(Error::file(path))?;
        self.config = config;
        Ok(())
    }
}

impl BundleBuilder {
    fn starting_from(config: Value, foreign: bool) -> BundleBuilder {
        BundleBuilder {
            config,
            foreign,
            busybox: false,
            owner: None,
            files: Vec::new(),
            beside: Vec::new(),
            misplaced: None,
        }
    }

    /// Has the probe report, and look at these paths.
    pub fn looking_at<S: Into<String>>(self, paths: impl IntoIterator<Item = S>) -> BundleBuilder {
        let questions = paths.into_iter().flat_map(|path| ["--stat".to_owned(), path.into()]);
        self.args(["/bin/probe".to_owned(), "report".to_owned()].into_iter().chain(questions))
    }

    /// Sets `process.args`.
    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> BundleBuilder {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set("/process/args", json!(args))
    }

    /// Sets the value at a JSON pointer (RFC 6901), making objects on the way.
    pub fn set(mut self, pointer: &str, value: Value) -> BundleBuilder {
        match config::place(&mut self.config, pointer) {
            Some(place) => *place = value,
            None => self.misplace(pointer),
        }
        self
    }

    /// Appends to the array at a JSON pointer, making it if it is absent.
    pub fn push(mut self, pointer: &str, value: Value) -> BundleBuilder {
        match config::place(&mut self.config, pointer) {
            Some(Value::Array(array)) => array.push(value),
            Some(place @ Value::Null) => *place = json!([value]),
            _ => self.misplace(pointer),
        }
        self
    }

    /// Removes the value at a JSON pointer; it is no error if there is none.
    pub fn remove(mut self, pointer: &str) -> BundleBuilder {
        config::remove(&mut self.config, pointer);
        self
    }

    /// Puts busybox (Debian: busybox-static) into `/bin`, with links for its common applets.
    pub fn with_busybox(self) -> BundleBuilder {
        BundleBuilder { busybox: true, ..self }
    }

    /// Writes a file into the root file system, with the directories above it.
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<String>) -> BundleBuilder {
        self.files.push((path.into(), content.into()));
        self
    }

    /// Writes a file into the bundle's directory, beside the root file system. [`Bundle::HERE`] names that directory in
    /// the configuration.
    pub fn file_beside(mut self, path: impl Into<PathBuf>, content: impl Into<String>) -> BundleBuilder {
        self.beside.push((path.into(), content.into()));
        self
    }

    /// Gives the root file system to this user and group of the host. By default its owner is whoever the
    /// configuration maps to the container's root.
    pub fn owned_by(self, uid: u32, gid: u32) -> BundleBuilder {
        BundleBuilder { owner: Some((uid, gid)), ..self }
    }

    /// Makes the directory, the root file system and config.json.
    pub fn build(mut self) -> Result<Bundle, Error> {
        if let Some(pointer) = self.misplaced {
            return Err(Error::Pointer { pointer });
        }
        let directory = tempfile::Builder::new()
            .prefix("bundle-")
            // The container's root may be an unprivileged user of the host, who must get through.
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .map_err(Error::file("temporary directory"))?;
        let root = directory.path().join("rootfs");
        rootfs::populate(&root)?;
        if self.busybox {
            rootfs::add_busybox(&root)?;
        }
        for (path, content) in &self.files {
            rootfs::add_file(&root, path, content)?;
        }
        for (path, content) in &self.beside {
            rootfs::add_file(directory.path(), path, content)?;
        }
        config::place_here(&mut self.config, directory.path());
        if let Some((uid, gid)) = self.owner.or_else(|| config::mapped_root(&self.config)) {
            give(&root, uid, gid)?;
        }
        if self.foreign {
            config::settle(&mut self.config, directory.path())?;
        }
        let mut bundle = Bundle { directory, config: Value::Null };
        bundle.write(self.config)?;
        Ok(bundle)
    }

    fn misplace(&mut self, pointer: &str) {
        self.misplaced.get_or_insert_with(|| pointer.to_owned());
    }
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    let meta = std::fs::symlink_metadata(path).map_err(Error::file(path))?;
    if meta.is_symlink() {
        return std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::file(path));
    }
    chown(path, Some(uid), Some(gid)).map_err(Error::file(path))?;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).map_err(Error::file(path))? {
            give(&entry.map_err(Error::file(path))?.path(), uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_makes_the_objects_and_arrays_on_its_way() {
        let builder = Bundle::from_config(json!({}))
            .set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"))
            .push("/hooks/prestart", json!({"path": "/a"}))
            .push("/hooks/prestart", json!({"path": "/b"}))
            .set("/hooks/prestart/0/path", json!("/c"))
            .remove("/hooks/prestart/1")
            .remove("/no/such/thing");
        assert_eq!(
            builder.config,
            json!({
                "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
                "hooks": {"prestart": [{"path": "/c"}]},
            })
        );
    }

    #[test]
    fn a_pointer_through_a_string_is_an_error_and_not_a_silent_loss() {
        let built = Bundle::from_config(json!({"hostname": "a"})).set("/hostname/b", json!(1)).build();
        assert!(matches!(built, Err(Error::Pointer { pointer }) if pointer == "/hostname/b"));
    }

    #[test]
    fn the_default_configuration_has_each_default_namespace_once() {
        let config = default_config();
        let types: Vec<&str> = config["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| namespace["type"].as_str().unwrap())
            .collect();
        assert_eq!(types, ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
    }
}
