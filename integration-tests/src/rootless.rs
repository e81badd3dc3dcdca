//! A user namespace to call the runtime in, as rootless engines do: root inside, nobody in particular outside.

use std::os::unix::fs::chown;
use std::path::Path;

use spec_conformance::Runtime;
use tempfile::TempDir;

use crate::{Namespaces, ketch, runtime_of};

/// A user and a mount namespace that lasts over several calls of the runtime.
#[derive(Debug)]
pub struct Rootless {
    namespaces: Namespaces,
    directory: TempDir,
    first: u32,
}

impl Rootless {
    /// Maps `count` ids from 0 on to those of the host from `first` on.
    ///
    /// # Panics
    /// The namespaces cannot be made.
    pub fn new(first: u32, count: u32) -> Rootless {
        let namespaces = Namespaces::new(&["--user", "--mount"]);
        let process = namespaces.path("user");
        let process = process.ancestors().nth(2).unwrap_or(Path::new("/"));
        for file in ["uid_map", "gid_map"] {
            let path = process.join(file);
            let written = std::fs::write(&path, format!("0 {first} {count}\n"));
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
        Rootless { namespaces, directory, first }
    }

    /// The number of the user namespace.
    pub fn inode(&self) -> u64 {
        self.namespaces.inode("user")
    }

    /// The runtime, called as root of this namespace, with a state directory that it may write.
    ///
    /// # Panics
    /// The runtime is missing.
    pub fn runtime(&self) -> Runtime {
        let script = self.directory.path().join("rootless-ketch");
        let user = self.namespaces.path("user");
        let mount = self.namespaces.path("mnt");
        let text = format!(
            "#!/bin/sh\nexec nsenter --user={} --mount={} --setuid 0 --setgid 0 {} \"$@\"\n",
            user.display(),
            mount.display(),
            ketch().display()
        );
        let runtime = runtime_of(script, &text);
        let root = runtime.root();
        let place = root.parent().unwrap_or(Path::new("/nonexistent"));
        chown(place, Some(self.first), Some(self.first))
            .unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        runtime
    }
}
