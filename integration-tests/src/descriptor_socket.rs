//! A socket as engines have it for what the runtime sends: a terminal's master, or a pidfd.
#![expect(unsafe_code, reason = "a received descriptor is a number; nobody else owns it")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tempfile::TempDir;

use crate::terminal::readable;

/// A listening socket, and the directory that it is in, which goes with it.
#[derive(Debug)]
pub struct DescriptorSocket {
    listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    _place: TempDir,
}

impl DescriptorSocket {
    /// A new one.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new() -> DescriptorSocket {
        let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{error}"));
        DescriptorSocket { listener, path, _place: place }
    }

    /// Its path with so many directories in it that an address has no room for it.
    ///
    /// # Panics
    /// They cannot be made.
    #[must_use]
    pub fn long_path(&self) -> PathBuf {
        let name = "directory".repeat(12);
        let parent = self.path.parent().unwrap_or(Path::new("/")).join(name);
        std::fs::DirBuilder::new().create(&parent).unwrap_or_else(|error| panic!("{error}"));
        std::fs::hard_link(&self.path, parent.join("socket")).unwrap_or_else(|error| panic!("{error}"));
        parent.join("socket")
    }

    /// Waits for a connection, and the one descriptor that comes over it, with at least one byte; gives both.
    ///
    /// # Panics
    /// Nothing comes in time, or something else.
    #[must_use]
    pub fn receive(&self) -> (String, OwnedFd) {
        self.attempt().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    fn attempt(&self) -> io::Result<(String, OwnedFd)> {
        readable(&self.listener)?;
        let (stream, _) = self.listener.accept()?;
        readable(&stream)?;
        let (words, mut fds) = receive_with_descriptors(&stream)?;
        match (fds.pop(), fds.is_empty(), words.is_empty()) {
            (Some(fd), true, false) => Ok((words, fd)),
            other => Err(io::Error::other(format!("{other:?}: not one descriptor with words"))),
        }
    }
}

/// Receives one message, and the descriptors that come with it.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_with_descriptors(socket: &impl AsFd) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut bytes = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([i32; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(sent) = control {
            // SAFETY: the kernel has made them for this process in the message that was just received.
            fds.extend(sent.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = message.bytes;
    Ok((String::from_utf8_lossy(&bytes[..length]).into_owned(), fds))
}

impl Default for DescriptorSocket {
    fn default() -> DescriptorSocket {
        DescriptorSocket::new()
    }
}
