//! Who is in a cgroup: lists processes and signals them. Runs in the runtime's process.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::{tree, write_value};
use crate::host;
use crate::plan::facts::CgroupVersion;
use crate::state::CgroupDirectory;
use crate::sys::{Call, Stop, fs, process};

/// All processes in a cgroup and below it.
///
/// # Errors
/// The directory cannot be read; that it is gone means there are none.
pub(crate) fn processes(directory: &Path) -> Result<Vec<i32>, Stop> {
    let mut pids = Vec::new();
    tree::from_leaves(directory, |at, name| {
        match listed(at, name, "cgroup.procs") {
            // A threaded cgroup has threads only, and their processes may be anywhere (cgroups(7), Thread mode).
            Err(stop) if stop.is(Errno::EOPNOTSUPP) => {
                let threads = listed(at, name, "cgroup.threads")?;
                pids.extend(threads.into_iter().filter_map(host::process_of_thread));
            }
            other => pids.extend(other?),
        }
        Ok(())
    })?;
    pids.sort_unstable();
    pids.dedup();
    // From outside of the reader's pid namespace a process is number 0.
    pids.retain(|pid| *pid != 0);
    Ok(pids)
}

/// The numbers in a file of a cgroup, none if it is gone.
fn listed(at: BorrowedFd<'_>, name: &CStr, file: &str) -> Result<Vec<i32>, Stop> {
    let gone = |stop: &Stop| stop.is(Errno::ENOENT) || stop.is(Errno::ENODEV);
    let text = fs::open(at, &tree::file(name, file), libc::O_RDONLY, 0)
        .and_then(|file| io::read_to_string(File::from(file)).map_err(|e| super::stop(Call::Read, &e)));
    match text {
        Err(stop) if gone(&stop) => Ok(Vec::new()),
        other => Ok(other?.lines().filter_map(|line| line.parse().ok()).collect()),
    }
}

/// Sends a signal to every process of the container's cgroups.
///
/// # Errors
/// The cgroup cannot be read, or the signal is none.
pub(crate) fn signal_all(directories: &[CgroupDirectory], signal: i32) -> Result<(), Stop> {
    let unified = directories.iter().find(|d| d.version == CgroupVersion::V2);
    if let (Some(directory), libc::SIGKILL) = (unified, signal) {
        match write_value(&directory.path.join("cgroup.kill"), "1") {
            // Linux < 5.14 has no such file, and a threaded cgroup refuses the write: signal each.
            Err(stop) if stop.is(Errno::ENOENT) || stop.is(Errno::EOPNOTSUPP) => {}
            other => return other,
        }
    }
    let Some(directory) = unified.or_else(|| directories.iter().find(|d| d.freezer)).or(directories.first())
    else {
        return Ok(());
    };
    signal_each(signal, || processes(&directory.path))
}

/// Signals whoever `list` gives, until no new ones turn up: a process may fork while the list is made.
///
/// # Errors
/// The list cannot be made, or the signal is none.
pub(crate) fn signal_each(signal: i32, mut list: impl FnMut() -> Result<Vec<i32>, Stop>) -> Result<(), Stop> {
    let mut seen = std::collections::HashSet::new();
    loop {
        let new: Vec<i32> = list()?.into_iter().filter(|pid| seen.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            match process::pidfd_open(pid).and_then(|pidfd| process::send_signal(pidfd.as_fd(), signal)) {
                Err(stop) if stop.is(Errno::ESRCH) => {}
                other => other?,
            }
        }
    }
}
