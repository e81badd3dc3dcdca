//! A process by its descriptor: never mistaken for another one that got its number. See pidfd_open(2).
#![allow(unsafe_code, reason = "nix wraps neither pidfd_open nor pidfd_send_signal")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::Deadline;
use crate::Error;
use crate::call::Exit;

/// A descriptor of a process.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this number now; `ESRCH` if none has.
    pub fn open(pid: i32) -> Result<Pidfd, Errno> {
        // SAFETY: the call takes two integers and touches no memory of ours.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel just made this descriptor for us, so nobody else owns it.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal; `ESRCH` once the process has been reaped.
    pub fn send(&self, signal: Signal) -> Result<(), Errno> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo asks the kernel to fill it in, as kill(2) does; nothing else is a pointer.
        let done = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as i32, no_info, 0)
        };
        Errno::result(done).map(drop)
    }

    /// Waits for the end of the process; `false` when the deadline passed first. Does not reap.
    pub fn wait(&self, deadline: Deadline) -> Result<bool, Error> {
        super::ready(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], deadline)
    }

    /// Reaps an ended child and says how it ended; `None` while it runs. `ECHILD` if it is no child of ours.
    pub fn reap(&self) -> Result<Option<Exit>, Errno> {
        match waitid(Id::PIDFd(self.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)? {
            WaitStatus::Exited(_, code) => Ok(Some(Exit::Code(code))),
            WaitStatus::Signaled(_, signal, _) => Ok(Some(Exit::Signal(signal as i32))),
            _ => Ok(None),
        }
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaping it through the descriptor is what is tested")]
    fn a_signalled_child_is_seen_to_end_and_reaped_once() {
        let child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Pidfd::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!process.wait(Deadline::after(Duration::ZERO)).unwrap());
        assert_eq!(process.reap(), Ok(None));
        process.send(Signal::SIGKILL).unwrap();
        assert!(process.wait(Deadline::after(Duration::from_secs(10))).unwrap());
        assert_eq!(process.reap(), Ok(Some(Exit::Signal(9))));
        assert_eq!(process.reap(), Err(Errno::ECHILD));
    }
}
