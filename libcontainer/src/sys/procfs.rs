//! The host's procfs, by one descriptor. See proc(5).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::fs::{CWD, change_directory, filesystem, kind, open, openat2, write};
use super::mount::mount;
use super::{Call, Stop, own_descriptor};

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

    /// Sets the permissions of what `fd` is open for, with O_PATH too. See chmod(2).
    ///
    /// # Errors
    /// Those of the call.
    pub fn change_mode(&self, fd: BorrowedFd<'_>, mode: u32) -> Result<(), Stop> {
        // Linux < 6.6 has no fchmodat2, and fchmod takes no O_PATH descriptor.
        let path = own_descriptor(fd);
        // SAFETY: the name is NUL-terminated.
        let ret = unsafe { libc::fchmodat(self.raw(), below_proc(&path).as_ptr(), mode, 0) };
        super::check_int(Call::Chmod, ret).map(drop)
    }

    /// As [`super::mount::mount`], with the mount that `fd` is the root of for the target. The working directory is then
    /// this procfs.
    ///
    /// # Errors
    /// Those of fchdir(2) and mount(2).
    pub(super) fn mount_at(
        &self,
        fd: BorrowedFd<'_>,
        source: &CStr,
        flags: u64,
        data: &CStr,
    ) -> Result<(), Stop> {
        change_directory(self.fd.as_fd())?;
        let path = own_descriptor(fd);
        mount(source, below_proc(&path), c"", flags, data)
    }
}

/// What a path of the host's procfs is below that.
fn below_proc(path: &[u8]) -> &CStr {
    let below = path.strip_prefix(b"/proc/").unwrap_or_default();
    CStr::from_bytes_until_nul(below).unwrap_or_default()
}
