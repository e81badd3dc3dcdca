//! The host's procfs, by one descriptor. See proc(5).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::fs::{CWD, filesystem, kind, open, openat2, write};
use super::{Call, Stop};

/// The host's procfs, checked to be one, so that nothing else can stand in for it.
///
/// It is opened before any namespace is entered: what a container puts on its own /proc has no part in it.
#[derive(Debug)]
pub struct Proc {
    fd: OwnedFd,
}

impl Proc {
    /// Opens and checks /proc.
    ///
    /// # Errors
    /// ENODEV if something else is mounted there.
    pub fn open() -> Result<Proc, Stop> {
        const PROC_ROOT_INODE: u64 = 1;
        let fd = open(CWD, c"/proc", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let magic = filesystem(fd.as_fd())?;
        if magic != libc::PROC_SUPER_MAGIC || kind(fd.as_fd())?.identity.1 != PROC_ROOT_INODE {
            return Err(Stop::new(Call::Open, Errno::ENODEV));
        }
        Ok(Proc { fd })
    }

    /// Its descriptor's number.
    #[must_use]
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Opens a file below it. Nothing mounted on top of a file of procfs is accepted, and no link followed
    /// but `self`.
    ///
    /// # Errors
    /// Those of openat2(2); EXDEV for a file that is hidden by a mount.
    pub fn open_file(&self, path: &CStr, flags: i32) -> Result<OwnedFd, Stop> {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;
        openat2(self.fd.as_fd(), path, flags, 0, resolve)
    }

    /// Writes a file below it.
    ///
    /// # Errors
    /// As [`Proc::open_file`], and those of write(2).
    pub fn write(&self, path: &CStr, bytes: &[u8]) -> Result<(), Stop> {
        write(self.open_file(path, libc::O_WRONLY)?.as_fd(), bytes)
    }
}
