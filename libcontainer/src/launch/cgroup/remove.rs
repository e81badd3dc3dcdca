//! Removes a container's cgroups, as soon as their processes are gone. Runs in the runtime's process.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::poll::PollFlags;

use super::processes::processes;
use super::{read, stop, tree};
use crate::host;
use crate::plan::facts::CgroupVersion;
use crate::state::CgroupDirectory;
use crate::sys::{self, Call, Stop, process};

/// What keeps a cgroup from being removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cgroup {}: {stop}{}", path.display(), Survivors(survivors))]
pub(crate) struct Busy {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Why the kernel refuses.
    pub(crate) stop: Stop,
    /// Processes in it, each as its number, its name and what it does.
    pub(crate) survivors: Vec<String>,
    /// The frozen cgroup above it, which is not the container's to thaw.
    pub(crate) frozen_by: Option<PathBuf>,
}

impl Busy {
    fn new(directory: &CgroupDirectory, stop: Stop) -> Busy {
        let path = directory.path.clone();
        let pids = processes(&path).unwrap_or_default();
        let survivors: Vec<String> = pids.into_iter().filter_map(host::describe).collect();
        Busy { path, stop, survivors, frozen_by: None }
    }
}

/// How many of the processes are named.
const NAMED: usize = 8;

struct Survivors<'a>(&'a [String]);

impl fmt::Display for Survivors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (named, more) = self.0.split_at(self.0.len().min(NAMED));
        if !named.is_empty() {
            write!(f, "; processes in it: {}", named.join(", "))?;
        }
        if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
    }
}

/// The version 1 freezer above the container that keeps its processes from dying. Version 2 kills frozen ones.
fn frozen_above(directory: &CgroupDirectory) -> Option<PathBuf> {
    let frozen = |path: &&Path| read(path.join("freezer.self_freezing")).is_ok_and(|text| text.trim() == "1");
    if directory.version == CgroupVersion::V2 || !directory.freezer {
        return None;
    }
    directory.path.ancestors().skip(1).find(frozen).map(Path::to_owned)
}

/// Removes the cgroup of a container that has one alone, of version 2, if nobody is in it or below it; true if it did.
/// Then there is nobody to kill: the kernel keeps a cgroup as long as a process lives in it.
#[must_use]
pub(crate) fn remove_unused(directories: &[CgroupDirectory]) -> bool {
    match directories {
        [one] if one.version == CgroupVersion::V2 => fs::remove_dir(&one.path).is_ok(),
        _ => false,
    }
}

/// Removes all cgroup directories of a container, as soon as its processes are gone.
///
/// # Errors
/// They are not gone at the deadline.
pub(crate) fn remove_all(directories: &[CgroupDirectory], deadline: Instant) -> Result<(), Busy> {
    // Version 2 comes last in a plan, and first here: it tells when everybody is gone.
    directories.iter().rev().try_for_each(|directory| remove(directory, deadline)).map_err(|busy| {
        let frozen_by = directories.iter().find_map(frozen_above);
        Busy { frozen_by, ..busy }
    })
}

/// Removes a cgroup directory with everything below it, as soon as its processes are gone.
///
/// # Errors
/// They are not gone at the deadline.
fn remove(directory: &CgroupDirectory, deadline: Instant) -> Result<(), Busy> {
    let path = &directory.path;
    loop {
        // What most containers need.
        match fs::remove_dir(path) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Busy::new(directory, stop(Call::Rmdir, &e)));
            }
            _ => break,
        }
        await_empty(directory, deadline).map_err(|stop| Busy::new(directory, stop))?;
        match remove_tree(path) {
            Ok(()) => break,
            Err(stop) if stop.is(Errno::EBUSY) && Instant::now() < deadline => {
                // Somebody has come back, or one who is dead has not let go: in version 1 that is a moment in
                // which no list has him and no event tells.
                std::thread::yield_now();
            }
            Err(stop) => return Err(Busy::new(directory, stop)),
        }
    }
    for parent in path.ancestors().skip(1).take(directory.parents) {
        if fs::remove_dir(parent).is_err() {
            // Somebody else uses it by now.
            break;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), Stop> {
    tree::from_leaves(path, |at, name| match sys::fs::remove(at, name, true) {
        Err(stop) if stop.is(Errno::ENOENT) => Ok(()),
        other => other,
    })
}

/// Waits until no process is in the cgroup or below it. The dead do not count, reaped or not.
fn await_empty(directory: &CgroupDirectory, deadline: Instant) -> Result<(), Stop> {
    match directory.version {
        CgroupVersion::V2 => await_unpopulated(&directory.path, deadline),
        CgroupVersion::V1 => await_ends(&directory.path, deadline),
    }
}

fn timed_out() -> Stop {
    Stop::new(Call::Rmdir, Errno::EBUSY)
}

/// Version 2 tells: a change of cgroup.events wakes who polls it. See cgroups(7), Release notification.
fn await_unpopulated(path: &Path, deadline: Instant) -> Result<(), Stop> {
    let file = match fs::File::open(path.join("cgroup.events")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| stop(Call::Open, &e))?,
    };
    let mut text = [0; 256];
    loop {
        let length = match sys::fs::read_at(file.as_fd(), &mut text, 0) {
            Err(stop) if stop.is(Errno::ENODEV) => return Ok(()),
            other => other?,
        };
        let populated =
            text.get(..length).unwrap_or_default().split(|b| *b == b'\n').any(|line| line == b"populated 1");
        if !populated {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !process::ready(file.as_fd(), PollFlags::POLLPRI, left)? {
            return Err(timed_out());
        }
    }
}

/// Version 1 has no such event: each process tells of its own end.
fn await_ends(path: &Path, deadline: Instant) -> Result<(), Stop> {
    // So many at once, and not a list for each, but no more than there are descriptors for.
    const AT_ONCE: usize = 64;
    loop {
        let pids = processes(path)?;
        if pids.is_empty() {
            return Ok(());
        }
        let opened = pids.into_iter().take(AT_ONCE).map(process::pidfd_open);
        for pidfd in opened.collect::<Vec<_>>() {
            let left = deadline.saturating_duration_since(Instant::now());
            match pidfd {
                Err(stop) if stop.is(Errno::ESRCH) => {}
                other => {
                    if !process::has_ended(other?.as_fd(), left)? {
                        return Err(timed_out());
                    }
                }
            }
        }
        if Instant::now() >= deadline {
            return Err(timed_out());
        }
    }
}
