//! What it takes to copy files as they are: metadata, holes, extended attributes.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::fs::openat2;
use super::{Call, Stop, check, check_int, size};

/// Opens the entry `name` of a directory, itself if it is a symbolic link, with `flags` of open(2). Neither waits
/// for the other end of a fifo nor takes a terminal.
///
/// # Errors
/// Those of openat2(2); EXDEV if something is mounted on it.
pub fn open_entry(at: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<OwnedFd, Stop> {
    let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;
    let always = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    // With O_PATH there is nothing to wait for, and openat2(2) refuses what has no meaning.
    let flags = if flags & libc::O_PATH != 0 { flags | libc::O_NOFOLLOW } else { flags | always };
    openat2(at, name, flags, 0, resolve)
}

/// Sets the place in a file or directory from which it is read on.
///
/// # Errors
/// Those of lseek(2).
pub fn seek(fd: BorrowedFd<'_>, offset: i64) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor and integers.
    check(Call::Lseek, unsafe { libc::lseek64(fd.as_raw_fd(), offset, libc::SEEK_SET) }).map(drop)
}

/// The next part of a file, from `offset` on, that is not a hole: where it begins and ends. `None` behind the last.
///
/// # Errors
/// Those of lseek(2).
pub fn data(fd: BorrowedFd<'_>, offset: i64) -> Result<Option<(i64, i64)>, Stop> {
    let seek = |offset, whence| {
        // SAFETY: takes a live descriptor and integers.
        check(Call::Lseek, unsafe { libc::lseek64(fd.as_raw_fd(), offset, whence) })
    };
    match seek(offset, libc::SEEK_DATA) {
        Err(stop) if stop.is(Errno::ENXIO) => Ok(None),
        start => {
            let start = start?;
            Ok(Some((start, seek(start, libc::SEEK_HOLE)?)))
        }
    }
}

/// ftruncate(2)
///
/// # Errors
/// Those of the call.
pub fn set_length(fd: BorrowedFd<'_>, length: i64) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor and an integer.
    check_int(Call::Ftruncate, unsafe { libc::ftruncate64(fd.as_raw_fd(), length) }).map(drop)
}

/// A file's metadata, as far as it is copied.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    stat: libc::stat,
}

/// The metadata of an entry itself, or of what `at` is open for if `name` is empty. See fstatat(2).
///
/// # Errors
/// Those of the call.
pub fn status(at: BorrowedFd<'_>, name: &CStr) -> Result<Status, Stop> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    // SAFETY: all-zero is a valid stat struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is NUL-terminated and `stat` valid for writing.
    let ret = unsafe { libc::fstatat(at.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) };
    check_int(Call::Stat, ret).map(|_| Status { stat })
}

impl Status {
    /// Its type: `S_IFDIR`, `S_IFREG` and so on.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.stat.st_mode & libc::S_IFMT
    }

    /// Its type and permissions.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat.st_mode
    }

    /// Its owner and group.
    #[must_use]
    pub fn owner(&self) -> (u32, u32) {
        (self.stat.st_uid, self.stat.st_gid)
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> i64 {
        self.stat.st_size
    }

    /// The number of a device node.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.stat.st_rdev
    }

    /// The file system and the file in it.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

/// Sets the permissions of an entry that is no symbolic link. See fchmodat(2).
///
/// # Errors
/// Those of the call.
pub fn set_mode(at: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Stop> {
    // SAFETY: `name` is NUL-terminated.
    check_int(Call::Chmod, unsafe { libc::fchmodat(at.as_raw_fd(), name.as_ptr(), mode & 0o7777, 0) })
        .map(drop)
}

/// Gives an entry itself the times of access and of change in `status`. See utimensat(2).
///
/// # Errors
/// Those of the call.
pub fn set_times(at: BorrowedFd<'_>, name: &CStr, status: &Status) -> Result<(), Stop> {
    let stat = &status.stat;
    let times = [
        libc::timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec },
        libc::timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec },
    ];
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: `name` is NUL-terminated, and `times` are the two that the call reads.
    check_int(Call::Utimens, unsafe { libc::utimensat(at.as_raw_fd(), name.as_ptr(), times.as_ptr(), flags) })
        .map(drop)
}

/// The names of a file's extended attributes, each with its NUL; none if the file system has none.
///
/// # Errors
/// Those of flistxattr(2).
pub fn attribute_names<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], Stop> {
    // SAFETY: `buffer` is valid for writing its length.
    let ret = unsafe { libc::flistxattr(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    match check(Call::Listxattr, ret as libc::c_long) {
        Err(stop) if stop.is(Errno::EOPNOTSUPP) => Ok(&[]),
        length => Ok(buffer.get(..size(length?)).unwrap_or_default()),
    }
}

/// The value of an extended attribute.
///
/// # Errors
/// Those of fgetxattr(2).
pub fn attribute<'b>(fd: BorrowedFd<'_>, name: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Stop> {
    // SAFETY: `name` is NUL-terminated and `buffer` valid for writing its length.
    let ret =
        unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = size(check(Call::Getxattr, ret as libc::c_long)?);
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Sets an extended attribute.
///
/// # Errors
/// Those of fsetxattr(2).
pub fn set_attribute(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Stop> {
    let (raw, length) = (fd.as_raw_fd(), value.len());
    // SAFETY: `name` is NUL-terminated and `value` valid for its length.
    check_int(Call::Setxattr, unsafe {
        libc::fsetxattr(raw, name.as_ptr(), value.as_ptr().cast(), length, 0)
    })
    .map(drop)
}

/// Writes all of `bytes`, in as many calls as it takes.
///
/// # Errors
/// Those of write(2).
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Stop> {
    while !bytes.is_empty() {
        let written = super::retry(|| {
            // SAFETY: `bytes` is valid for its length.
            let ret = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            check(Call::Write, ret as libc::c_long)
        })?;
        bytes = bytes.get(size(written)..).unwrap_or_default();
    }
    Ok(())
}
