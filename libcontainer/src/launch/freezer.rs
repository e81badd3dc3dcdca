//! Freezes the container's processes, tells whether they are, and lets them run again. Runs in the runtime's process.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::cgroup::{read, read_value, stop, tree, write_value};
use crate::plan::facts::CgroupVersion;
use crate::state::CgroupDirectory;
use crate::sys::{Call, Stop, fs as sys_fs, process};

/// Why a container is not frozen, or stays so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A file of the cgroup cannot be used.
    #[error("{}: {stop}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        stop: Stop,
    },
    /// A process does not stop, and all run again.
    #[error("cgroup {}: not frozen within {} s: a process in it waits for something in the kernel; all run again", path.display(), limit.as_secs())]
    Late {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// It is frozen together with a cgroup above it.
    #[error("cgroup {}: a cgroup above it is frozen", path.display())]
    Above {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing to do it with.
    #[error("its cgroup has no freezer")]
    NoFreezer,
}

/// Stops all processes of the container where they are. If one does not stop within `limit`, all run on.
///
/// # Errors
/// It has no freezer, the kernel refuses, or a process does not stop.
pub(crate) fn freeze(directories: &[CgroupDirectory], limit: Duration) -> Result<(), Refused> {
    let unified = directories.iter().find(|d| d.version == CgroupVersion::V2);
    if let Some(directory) = unified {
        // Linux < 5.2 has no cgroup.freeze: version 1's freezer, if the host has it.
        match freeze_unified(&directory.path, limit) {
            Err(Refused::File { stop, .. }) if stop.is(Errno::ENOENT) => {}
            other => return other,
        }
    }
    let legacy = directories.iter().find(|d| d.freezer && d.version == CgroupVersion::V1);
    freeze_legacy(&legacy.ok_or(Refused::NoFreezer)?.path, limit)
}

/// Lets the container's processes run, whichever freezer has stopped them.
///
/// # Errors
/// The kernel refuses, or a cgroup above is frozen.
pub(crate) fn thaw(directories: &[CgroupDirectory]) -> Result<(), Refused> {
    for directory in directories.iter().filter(|d| d.freezer) {
        let (file, run) = match directory.version {
            CgroupVersion::V2 => ("cgroup.freeze", "0"),
            CgroupVersion::V1 => ("freezer.state", "THAWED"),
        };
        let path = directory.path.join(file);
        match write_value(&path, run) {
            Err(stop) if stop.is(Errno::ENOENT) => {}
            Err(stop) => return Err(Refused::File { path, stop }),
            Ok(()) if directory.version == CgroupVersion::V1 && state(&directory.path)? != "THAWED" => {
                return Err(Refused::Above { path: directory.path.clone() });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The container's cgroup is frozen, by whichever interface.
#[must_use]
pub(crate) fn is_frozen(directories: &[CgroupDirectory]) -> bool {
    directories.iter().filter(|d| d.freezer).any(|directory| {
        let file = if directory.version == CgroupVersion::V2 { "cgroup.freeze" } else { "freezer.state" };
        let state = read_value(directory.path.join(file)).unwrap_or_default();
        ["1", "FROZEN", "FREEZING"].contains(&state.trim())
    })
}

/// Lets the processes of a version 1 freezer run, wherever below the cgroup they are frozen, so that they can die;
/// version 2 kills frozen ones.
pub(crate) fn let_die(directories: &[CgroupDirectory]) {
    for directory in directories.iter().filter(|d| d.freezer && d.version == CgroupVersion::V1) {
        // Without it, the wait for the processes ends in an error that names them.
        let _gone = tree::from_leaves(&directory.path, |at, name| {
            // One that a payload has made may be frozen by itself.
            let file = tree::file(name, "freezer.state");
            let _gone = sys_fs::write_file(at, &file, b"THAWED");
            Ok(())
        });
    }
}

fn freeze_unified(directory: &Path, limit: Duration) -> Result<(), Refused> {
    let path = directory.join("cgroup.events");
    let refused = |path: &Path, stop| Refused::File { path: path.to_owned(), stop };
    let mut events = fs::File::open(&path).map_err(|e| refused(&path, stop(Call::Open, &e)))?;
    let switch = directory.join("cgroup.freeze");
    write_value(&switch, "1").map_err(|stop| refused(&switch, stop))?;
    let thawing = Thawing { path: &switch, word: "0" };
    let deadline = Instant::now() + limit;
    // What was read last is what poll(2) compares with, so nothing that happens between the two is missed.
    loop {
        let mut text = String::new();
        let again = events.rewind().and_then(|()| events.read_to_string(&mut text));
        again.map_err(|e| refused(&path, stop(Call::Read, &e)))?;
        if text.lines().any(|line| line == "frozen 1") {
            thawing.not();
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !process::ready(events.as_fd(), PollFlags::POLLPRI, left).map_err(|stop| refused(&path, stop))? {
            return Err(Refused::Late { path: directory.to_owned(), limit });
        }
    }
}

/// Version 1 tells nobody when all are frozen: it looks whenever its file is read. Processes that are born
/// meanwhile, or wait for one that is frozen already, may keep it from coming to an end; to write the word again
/// reaches the former, and to let all run for a moment the latter.
fn freeze_legacy(directory: &Path, limit: Duration) -> Result<(), Refused> {
    // Nothing wakes who waits for it, so this is the time between two looks.
    const LOOK: Duration = Duration::from_millis(1);
    const LOOKS: u32 = 100;
    let path = directory.join("freezer.state");
    let refused = |stop| Refused::File { path: path.clone(), stop };
    let file = fs::File::open(&path).map_err(|e| refused(stop(Call::Open, &e)))?;
    let deadline = Instant::now() + limit;
    let thawing = Thawing { path: &path, word: "THAWED" };
    for look in 1.. {
        write_value(&path, "FROZEN").map_err(refused)?;
        if state(directory)? == "FROZEN" {
            thawing.not();
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
        if look % LOOKS == 0 {
            write_value(&path, "THAWED").map_err(refused)?;
        }
        process::ready(file.as_fd(), PollFlags::POLLPRI, LOOK).map_err(refused)?;
    }
    Err(Refused::Late { path: directory.to_owned(), limit })
}

fn state(directory: &Path) -> Result<String, Refused> {
    let path = directory.join("freezer.state");
    read(&path).map(|text| text.trim().to_owned()).map_err(|stop| Refused::File { path, stop })
}

/// A cgroup that is being frozen; it runs again unless it is frozen in the end.
struct Thawing<'a> {
    path: &'a Path,
    word: &'static str,
}

impl Thawing<'_> {
    fn not(self) {
        std::mem::forget(self);
    }
}

impl Drop for Thawing<'_> {
    fn drop(&mut self) {
        // The error that leads here is the one to report.
        let _gone = write_value(self.path, self.word);
    }
}
