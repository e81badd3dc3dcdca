//! A mount namespace to call the runtime in: sources and hierarchies can be mounted for a test, and go with it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use spec_conformance::Runtime;
use tempfile::TempDir;

use crate::{Namespaces, ketch, runtime_of};

/// [`UNIFIED`], as a literal.
macro_rules! unified {
    () => {
        "options=$(sed -n \"s/^[^ ]* [^ ]* cgroup2 \\([^ ]*\\) .*/\\1/p\" /proc/self/mounts | head -n 1)
         mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 -o \"${options:-rw}\" none /sys/fs/cgroup"
    };
}
pub(crate) use unified;

/// A script for a [`Stage`], or for a shell in a mount namespace of its own, that has cgroup version 2 alone. A file
/// system of its own is below it, since nothing is mounted by mount(2) where it is already. The options are the host's:
/// there is one such file system, and a mount with others would change them for everybody.
pub const UNIFIED: &str = unified!();

/// A script for a [`Stage`] that has the version 1 hierarchies of this host alone; nothing if it has none.
pub const LEGACY: &str = "
    mkdir $PLACE/old; mount --rbind /sys/fs/cgroup $PLACE/old
    mount -t tmpfs legacy /sys/fs/cgroup
    for old in $PLACE/old/*; do
        name=${old##*/}
        [ $(stat -f -c %T $old) = cgroupfs ] || continue
        mkdir /sys/fs/cgroup/$name; mount --bind $old /sys/fs/cgroup/$name
    done";

/// A private mount namespace that lasts over several calls of the runtime, and a directory for what is mounted.
#[derive(Debug)]
pub struct Stage {
    namespaces: Namespaces,
    directory: TempDir,
}

impl Stage {
    /// Makes the namespace, and runs a script of the shell in it. `$PLACE` is the directory.
    ///
    /// # Panics
    /// The namespace cannot be made, or the script fails.
    pub fn new(setup: &str) -> Stage {
        let namespaces = Namespaces::new(&["--mount", "--propagation", "private"]);
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
        let open = std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755));
        open.unwrap_or_else(|error| panic!("{}: {error}", directory.path().display()));
        let stage = Stage { namespaces, directory };
        stage.shell(setup);
        stage
    }

    /// The directory.
    pub fn place(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory, as configs have it.
    ///
    /// # Panics
    /// It is not UTF-8.
    pub fn path(&self, name: &str) -> String {
        let path = self.place().join(name);
        path.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", path.display())).to_owned()
    }

    /// Runs a script of the shell in the namespace; what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn shell(&self, script: &str) -> String {
        let mut command = Command::new("nsenter");
        command.arg(self.option()).args(["sh", "-euc", script]).env("PLACE", self.place());
        let output = command.output().unwrap_or_else(|error| panic!("nsenter(1): {error}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{}: {error}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The runtime, called in the namespace.
    ///
    /// # Panics
    /// The runtime is missing.
    pub fn runtime(&self) -> Runtime {
        self.runtime_after("exec")
    }

    /// The runtime, called in the namespace by a shell, with these words before its command: a limit to set, say.
    ///
    /// # Panics
    /// The runtime is missing.
    pub fn runtime_after(&self, words: &str) -> Runtime {
        let wrapper = self.place().join(format!("ketch-on-stage-{}", words.len()));
        let (option, ketch) = (self.option(), ketch());
        let inner = format!("{words} {} \"$@\"", ketch.display());
        let text = format!("#!/bin/sh\nexec nsenter {option} sh -c '{inner}' sh \"$@\"\n");
        runtime_of(wrapper, &text)
    }

    fn option(&self) -> String {
        format!("--mount={}", self.namespaces.path("mnt").display())
    }
}
