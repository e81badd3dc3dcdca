//! Descriptors that a runtime sends over a socket: the terminal of a container, the listener of a filter. See unix(7).

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::Error;
use crate::wait::{self, Deadline};

/// A stream socket in the file system on which descriptors are awaited.
#[derive(Debug)]
pub struct Receiver {
    listener: UnixListener,
    path: PathBuf,
}

/// What came over one connection, until its end.
#[derive(Debug)]
pub struct Passed {
    /// Each message: its bytes, and how many descriptors came with it.
    pub messages: Vec<(Vec<u8>, usize)>,
    /// The descriptors, in their order.
    pub descriptors: Vec<OwnedFd>,
    /// Whether the sender closed the connection before the deadline.
    pub closed: bool,
}

impl Receiver {
    /// Listens at a path that does not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Result<Receiver, Error> {
        let path = path.into();
        let listener = UnixListener::bind(&path).map_err(Error::file(&path))?;
        Ok(Receiver { listener, path })
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a connection and for what is sent over it. It is over when the sender closes it, or when `enough` likes
    /// what has come.
    pub fn receive(&self, deadline: Deadline, enough: impl Fn(&Passed) -> bool) -> Result<Passed, Error> {
        self.ready(self.listener.as_fd(), deadline, "a connection")?;
        let (stream, _) = self.listener.accept().map_err(Error::file(&self.path))?;
        let mut passed = Passed { messages: Vec::new(), descriptors: Vec::new(), closed: false };
        while !passed.closed && !enough(&passed) {
            self.ready(stream.as_fd(), deadline, "a message")?;
            read(&stream, &mut passed)?;
        }
        Ok(passed)
    }

    /// Whether somebody has connected and was not heard yet.
    pub fn has_more(&self) -> Result<bool, Error> {
        let now = Deadline::after(std::time::Duration::ZERO);
        wait::ready(&mut [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)], now)
    }

    fn ready(&self, fd: std::os::fd::BorrowedFd<'_>, deadline: Deadline, what: &str) -> Result<(), Error> {
        if wait::ready(&mut [PollFd::new(fd, PollFlags::POLLIN)], deadline)? {
            return Ok(());
        }
        Err(Error::Deadline {
            awaited: format!("{what} on {}", self.path.display()),
            within: deadline.within(),
            stdout: String::new(),
            stderr: String::new(),
        })
    }
}

#[allow(unsafe_code, reason = "nix hands out received descriptors as numbers")]
fn read(stream: &UnixStream, passed: &mut Passed) -> Result<(), Error> {
    let mut bytes = [0; 1 << 14];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([i32; 8]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        .map_err(Error::system("recvmsg"))?;
    let mut numbers = Vec::new();
    for control in message.cmsgs().map_err(Error::system("recvmsg"))? {
        if let ControlMessageOwned::ScmRights(sent) = control {
            numbers.extend(sent);
        }
    }
    let length = message.bytes;
    let count = numbers.len();
    for number in numbers {
        // SAFETY: the kernel has just made this descriptor for this process, so nobody else owns it.
        passed.descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    passed.closed = length == 0 && count == 0;
    if !passed.closed {
        passed.messages.push((bytes[..length].to_vec(), count));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;

    #[test]
    fn descriptors_come_with_their_message_and_the_end_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::at(directory.path().join("socket")).unwrap();
        let mut sender = UnixStream::connect(receiver.path()).unwrap();
        let rights = [0, 1];
        let control = [ControlMessage::ScmRights(&rights)];
        sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(b"a")], &control, MsgFlags::empty(), None).unwrap();
        sender.write_all(b"b").unwrap();
        drop(sender);
        let passed = receiver.receive(Deadline::after(Duration::from_secs(10)), |_| false).unwrap();
        assert!(passed.closed && !receiver.has_more().unwrap());
        assert_eq!(passed.descriptors.len(), 2);
        assert_eq!(passed.messages[0], (b"a".to_vec(), 2));
    }
}
