//! Writes the id maps of user namespaces. Runs in the runtime's process.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::libc;

use crate::channel::{Channel, Milestone};
use crate::plan::ids::{IdMaps, IdRange, map_text};
use crate::sys::{Call, Stop, process};

/// Why ids could not be mapped, and what the program that was to do it said.
#[derive(Debug)]
pub(super) struct Unmapped {
    pub(super) stop: Stop,
    pub(super) said: String,
}

impl From<Stop> for Unmapped {
    fn from(stop: Stop) -> Unmapped {
        Unmapped { stop, said: String::new() }
    }
}

/// Maps the ids of the new user namespace that process `pid` is in.
///
/// A runtime with the rights writes the maps itself. Without them, it may map its own ids; for more there
/// are newuidmap(1) and newgidmap(1), which look at /etc/subuid and /etc/subgid.
///
/// # Errors
/// The kernel or the helper refuses.
pub(super) fn write(pid: i32, maps: &IdMaps) -> Result<(), Unmapped> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if uid == 0 {
        put(pid, "uid_map", &map_text(&maps.users))?;
        return Ok(put(pid, "gid_map", &map_text(&maps.groups))?);
    }
    if maps_only(&maps.groups, gid) {
        // user_namespaces(7): who may not set groups may write the map.
        put(pid, "setgroups", "deny")?;
        put(pid, "gid_map", &map_text(&maps.groups))?;
    } else {
        help("newgidmap", pid, &maps.groups)?;
    }
    if maps_only(&maps.users, uid) {
        Ok(put(pid, "uid_map", &map_text(&maps.users))?)
    } else {
        help("newuidmap", pid, &maps.users)
    }
}

fn maps_only(ranges: &[IdRange], id: u32) -> bool {
    matches!(ranges, [IdRange { outside, count: 1, .. }] if *outside == id)
}

fn put(pid: i32, file: &str, text: &str) -> Result<(), Stop> {
    fs::write(format!("/proc/{pid}/{file}"), text)
        .map_err(|e| Stop { call: Call::Write, errno: e.raw_os_error().unwrap_or(libc::EIO) })
}

fn help(helper: &str, pid: i32, ranges: &[IdRange]) -> Result<(), Unmapped> {
    let numbers = ranges.iter().flat_map(|r| [r.inside, r.outside, r.count]).map(|n| n.to_string());
    // A helper with more rights than ours gets nothing of our environment but where programs are.
    let mut command = Command::new(helper);
    command.arg(pid.to_string()).args(numbers).stdin(Stdio::null()).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Unmapped {
            stop: Stop { call: Call::Exit, errno: output.status.code().unwrap_or(-1) },
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
        Err(e) => Err(Stop { call: Call::Execve, errno: e.raw_os_error().unwrap_or(libc::EIO) }.into()),
    }
}

/// A user namespace with these maps and nobody in it, to map the ids of a mount by.
///
/// # Errors
/// The kernel refuses.
pub(super) fn empty_namespace(maps: &IdMaps) -> Result<OwnedFd, Stop> {
    let (ours, theirs) = Channel::pair()?;
    let child = process::spawn(libc::CLONE_NEWUSER, None, || {
        // Our copy of the runtime's end would keep the wait from ending.
        let keep = [std::os::fd::AsRawFd::as_raw_fd(&theirs.fd())];
        let waited = process::close_all_but(&keep).and_then(|()| theirs.await_go(Milestone::Start));
        i32::from(waited.is_err())
    })?;
    let child = process::Leash::new(child);
    let pid = child.child().map_or(0, |child| child.pid);
    write(pid, maps).map_err(|unmapped| unmapped.stop)?;
    let path = format!("/proc/{pid}/ns/user");
    let namespace = fs::File::open(path)
        .map_err(|e| Stop { call: Call::Open, errno: e.raw_os_error().unwrap_or(libc::EIO) })?;
    ours.send(crate::channel::Message::Go(Milestone::Start))?;
    if let Some(child) = child.release() {
        process::wait(child.pidfd.as_fd())?;
    }
    Ok(namespace.into())
}
