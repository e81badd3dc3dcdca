//! The runtime called by way of another program, which first puts it into other circumstances.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec_conformance::{Profile, Runtime};
use tempfile::TempDir;

use crate::ketch;
use crate::stage::unified;

/// Words of a script for [`Wrapped`]: the runtime sees version 2 of cgroups alone, in a mount namespace of its own.
pub const VERSION_2_ALONE: &str =
    concat!("unshare --mount --propagation private sh -ec '", unified!(), "; exec \"$@\"' sh \"$@\"");

/// The runtime that a script calls. The file is written by another process: a thread of this one may be making a child
/// meanwhile, which has all files open that are, and the kernel executes nothing that is open for writing (ETXTBSY).
///
/// # Panics
/// The script cannot be written.
pub fn runtime_of(script: PathBuf, text: &str) -> Runtime {
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(&script).stdin(Stdio::piped());
    let written = command.spawn().and_then(|mut writer| {
        writer.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))?;
        writer.wait()
    });
    assert!(written.is_ok_and(|status| status.success()), "{} cannot be written", script.display());
    Runtime::new(script, &Profile::KETCH).unwrap_or_else(|error| panic!("{error}"))
}

/// A runtime of which every call goes through a shell script. The state directory may be given to another user.
#[derive(Debug)]
pub struct Wrapped {
    runtime: Runtime,
    _directory: TempDir,
}

impl Wrapped {
    /// The runtime as `script` calls it: shell words, in which `"$@"` is the binary with its arguments.
    ///
    /// # Panics
    /// The script cannot be written, or the runtime is missing.
    pub fn new(script: &str) -> Wrapped {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
        let file = directory.path().join("wrapped-ketch");
        let text = format!("#!/bin/sh\nset -e\nset -- {} \"$@\"\n{script}\n", ketch().display());
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .unwrap_or_else(|error| panic!("{}: {error}", directory.path().display()));
        Wrapped { runtime: runtime_of(file, &text), _directory: directory }
    }

    /// The same, with a state directory that belongs to `user`.
    ///
    /// # Panics
    /// It cannot be given away.
    pub fn owned_by(self, user: u32) -> Wrapped {
        let root = self.runtime.root();
        let place = root.parent().unwrap_or(Path::new("/nonexistent"));
        chown(place, Some(user), Some(user)).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        self
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}
