//! A terminal as a person has it, and what comes out of one.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use spec_conformance::Runtime;

const PATIENCE: u16 = 20_000;

/// Waits until there is something to read.
pub(crate) fn readable(fd: &impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(PATIENCE))? {
        0 => Err(io::Error::from(io::ErrorKind::TimedOut)),
        _ => Ok(()),
    }
}

/// Reads from a terminal's master, or a pipe, until this text has come.
///
/// # Panics
/// It does not come in time, or the other side is closed before.
pub fn read_until(master: &mut (impl Read + AsFd), wanted: &str) -> String {
    let mut seen = String::new();
    let mut chunk = [0; 1024];
    while !seen.contains(wanted) {
        readable(master).unwrap_or_else(|error| panic!("{error}: no {wanted:?} in {seen:?}"));
        match master.read(&mut chunk) {
            Ok(length) if length > 0 => seen.push_str(&String::from_utf8_lossy(&chunk[..length])),
            // EIO: nobody has the other side open any more.
            Ok(_) | Err(_) => panic!("the terminal closed before {wanted:?}: {seen:?}"),
        }
    }
    seen
}

/// A terminal of this process, with the runtime on the other side, as in front of a person. Gives the master, the
/// other side, and the runtime.
///
/// # Panics
/// There is none to be had.
pub fn in_a_terminal(runtime: &Runtime, args: &[&str]) -> (PtyMaster, File, Child) {
    let attempt = || -> io::Result<(PtyMaster, File, Child)> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let other = File::options().read(true).write(true).open(ptsname_r(&master)?)?;
        let mut command = runtime.command(args);
        command.stdin(Stdio::from(other.try_clone()?)).stdout(Stdio::from(other.try_clone()?));
        let child = command.stderr(Stdio::from(other.try_clone()?)).spawn()?;
        Ok((master, other, child))
    };
    attempt().unwrap_or_else(|error| panic!("a terminal: {error}"))
}
