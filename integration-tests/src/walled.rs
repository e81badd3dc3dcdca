//! The runtime in a mount namespace of its own, so that tests can mount things for it and leave nothing.

use std::os::unix::fs::PermissionsExt;

use spec_conformance::{Profile, Runtime};
use tempfile::TempDir;

use crate::ketch;

/// Each call of the runtime has a new private mount namespace, in which a command of the shell has run.
#[derive(Debug)]
pub struct Walled {
    runtime: Runtime,
    _directory: TempDir,
}

impl Walled {
    /// `prepare` is what the shell does before each call of the runtime.
    ///
    /// # Panics
    /// The wrapper cannot be written, or the runtime is missing.
    pub fn new(prepare: &str) -> Walled {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
        let wrapper = directory.path().join("walled-ketch");
        let inner = directory.path().join("inner");
        let outer =
            format!("#!/bin/sh\nexec unshare --mount --propagation private {} \"$@\"\n", inner.display());
        let text = format!("#!/bin/sh\nset -e\n{prepare}\nexec {} \"$@\"\n", ketch().display());
        for (path, text) in [(&wrapper, outer), (&inner, text)] {
            let written = std::fs::write(path, text)
                .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)));
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let runtime = Runtime::new(wrapper, &Profile::KETCH).unwrap_or_else(|error| panic!("{error}"));
        Walled { runtime, _directory: directory }
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}
