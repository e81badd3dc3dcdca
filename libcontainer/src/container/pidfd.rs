//! Hands a pidfd of a container's process to who wants it. Runs in the runtime's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Error, ErrorKind};
use crate::sys::socket;

/// Sends a pidfd to who wants it. The message has the words that runc has: "standard" for a container's first process,
/// "setns" for one of exec.
pub(super) fn send(
    receiver: Option<&OwnedFd>,
    words: &CStr,
    pidfd: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let Some((receiver, pidfd)) = receiver.zip(pidfd) else { return Ok(()) };
    socket::send_all(receiver.as_fd(), words.to_bytes(), pidfd)
        .map_err(|stop| Error::new(ErrorKind::System, format!("pidfd socket: {stop}")).because(stop))
}
