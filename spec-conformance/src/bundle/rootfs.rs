//! The root file system of a test bundle: a few directories, the probe, and on request busybox.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

const DIRECTORIES: [&str; 8] = ["", "proc", "sys", "dev", "tmp", "etc", "root", "bin"];

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Applets that tests use, linked to busybox.
#[rustfmt::skip]
const APPLETS: [&str; 38] = [
    "sh", "true", "false", "id", "sleep", "cat", "ls", "echo", "mount", "umount", "env", "kill", "ps", "stat",
    "touch", "mkdir", "rm", "ln", "cp", "mv", "grep", "sed", "head", "tail", "wc", "test", "printf", "pwd",
    "hostname", "uname", "readlink", "mknod", "chmod", "chown", "dd", "tty", "stty", "ip",
];

/// Finds the probe: `KETCH_PROBE`, else next to the current executable or, for a test, one directory up.
pub fn probe_binary() -> Result<PathBuf, Error> {
    let mut looked = Vec::new();
    if let Some(named) = std::env::var_os("KETCH_PROBE") {
        looked.push(PathBuf::from(named));
    } else if let Ok(this) = std::env::current_exe() {
        looked.extend(this.ancestors().skip(1).take(2).map(|directory| directory.join("probe")));
    }
    match looked.iter().find(|path| path.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(Error::NoProbe { looked }),
    }
}

pub(super) fn populate(root: &Path) -> Result<(), Error> {
    for name in DIRECTORIES {
        let path = root.join(name);
        DirBuilder::new().create(&path).map_err(Error::file(&path))?;
    }
    // A copy and not a hard link: a container that damages its rootfs must not damage the next one's.
    copy(&probe_binary()?, &root.join("bin/probe"))
}

pub(super) fn add_busybox(root: &Path) -> Result<(), Error> {
    copy(Path::new(BUSYBOX), &root.join("bin/busybox"))?;
    for applet in APPLETS {
        let link = root.join("bin").join(applet);
        symlink("busybox", &link).map_err(Error::file(&link))?;
    }
    Ok(())
}

pub(super) fn add_file(root: &Path, path: &Path, content: &str) -> Result<(), Error> {
    let path = root.join(path.strip_prefix("/").unwrap_or(path));
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent).map_err(Error::file(parent))?;
    }
    fs::write(&path, content).map_err(Error::file(&path))
}

/// Another process copies. If this one had the program open for writing, so would one that another thread starts at
/// that moment, and the kernel executes nothing that somebody may write to (execve(2), ETXTBSY).
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let status = Command::new("cp").arg("-p").arg(from).arg(to).status();
    let status = status.map_err(|source| Error::Spawn { program: "cp".into(), source })?;
    let failed = || io::Error::other(format!("cp to {}: {status}", to.display()));
    if status.success() { Ok(()) } else { Err(Error::file(from)(failed())) }
}
