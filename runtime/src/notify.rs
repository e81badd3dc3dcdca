//! Passes on what a container's program says of itself, to whoever waits for that at `NOTIFY_SOCKET`. See sd_notify(3).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use libcontainer::container::{Container, NOTIFY_SOCKET};
use libcontainer::sys::socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::outcome::Failure;

/// What of a message is passed on. The rest is of pids and descriptors, which are others out here.
const PASSED: &[&str] = &[
    "READY",
    "RELOADING",
    "MONOTONIC_USEC",
    "STOPPING",
    "STATUS",
    "ERRNO",
    "BUSERROR",
    "EXIT_STATUS",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
];

/// How long whoever is told may take to confirm it, in milliseconds.
const CONFIRMATION: u16 = 5000;

/// Somebody waits for what the program says.
pub(crate) fn is_wanted() -> bool {
    address().is_some()
}

fn address() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|address| !address.is_empty())
}

/// The socket of a container, and that of who waits.
#[derive(Debug)]
pub(crate) struct Relay {
    ours: UnixDatagram,
    theirs: UnixDatagram,
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

impl Relay {
    /// Makes the container's socket, if somebody waits and the container has a place for it.
    pub(crate) fn new(container: &Container) -> Result<Option<Relay>, Failure> {
        let Some(address) = address() else { return Ok(None) };
        let Some(path) = container.notify_socket() else { return Ok(None) };
        let theirs = match reach(&address) {
            Ok(theirs) => theirs,
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET {address}: {error}; the container's notifications go nowhere");
                return Ok(None);
            }
        };
        let ours = listen(&path).map_err(|error| Failure::file("make notification socket", &path, &error))?;
        Ok(Some(Relay { ours, theirs }))
    }

    /// Passes one message on; whether it says that the program is ready.
    pub(crate) fn pass(&self) -> bool {
        let mut message = vec![0; 1 << 16];
        // Descriptors that come with a message are closed by the kernel: they are not asked for.
        let Ok(length) = self.ours.recv(&mut message) else { return false };
        let text = String::from_utf8_lossy(&message[..length]);
        let passed = passed(&text);
        if !passed.is_empty() {
            self.tell(passed.as_bytes());
        }
        passed.lines().any(|line| line == "READY=1")
    }

    /// Passes messages on until the program is ready or has ended, and tells its pid: it is the one to be watched.
    pub(crate) fn until_ready(&self, program: BorrowedFd<'_>, pid: i32) -> io::Result<()> {
        loop {
            let mut fds =
                [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(program, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                other => other?,
            };
            let [said, ended] = fds.map(|fd| fd.revents().is_some_and(|flags| !flags.is_empty()));
            if said && self.pass() {
                self.tell(format!("MAINPID={pid}\n").as_bytes());
                return self.confirm();
            }
            if ended && !said {
                return Ok(());
            }
        }
    }

    /// Waits until what was told is heard: what a process says that is gone may count for nothing. See
    /// sd_notify_barrier(3).
    fn confirm(&self) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        if socket::send_descriptor(self.theirs.as_fd(), b"BARRIER=1", writer.as_fd()).is_err() {
            return Ok(());
        }
        drop(writer);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLHUP)];
        if poll(&mut fds, PollTimeout::from(CONFIRMATION))? == 0 {
            tracing::warn!("NOTIFY_SOCKET: nobody has confirmed that the container is ready");
        }
        Ok(())
    }

    fn tell(&self, message: &[u8]) {
        if let Err(error) = self.theirs.send(message) {
            tracing::warn!("NOTIFY_SOCKET: {error}");
        }
    }
}

/// The lines of a message that are passed on.
fn passed(message: &str) -> String {
    let lines =
        message.lines().filter(|line| line.split_once('=').is_some_and(|(name, _)| PASSED.contains(&name)));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A socket that is connected to a path, or to an abstract name, which begins with `@`.
fn reach(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None if address.starts_with('/') => socket.connect(address)?,
        None => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name"));
        }
    }
    Ok(socket)
}

/// A socket at `path` that everybody may write to.
fn listen(path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // By its directory: an address has room for 107 bytes only.
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let socket = UnixDatagram::bind(format!("/proc/self/fd/{}/{NOTIFY_SOCKET}", directory.as_raw_fd()))?;
    fs::set_permissions(path, Permissions::from_mode(0o777))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_pids_and_descriptors_stays_in_the_container() {
        let said =
            "READY=1\nMAINPID=1\nSTATUS=well = fine\nFDSTORE=1\nBARRIER=1\nWATCHDOG=1\nREADY\n\nX=READY=1";
        assert_eq!(passed(said), "READY=1\nSTATUS=well = fine\nWATCHDOG=1\n");
        assert_eq!(passed("MAINPID=1"), "");
    }
}
