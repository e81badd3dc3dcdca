//! The entries of a directory. See getdents64(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::{Call, Stop, check, size};

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// It is a directory, and the file system tells so without being asked for more.
    pub is_directory: bool,
    /// Where the directory is read on after it; see [`super::copy::seek`].
    pub next: i64,
}

/// The entries that one [`read`] has brought.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

/// Reads as many entries of a directory as fit; none at its end. See getdents64(2).
///
/// # Errors
/// Those of the call.
pub fn read<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<Entries<'b>, Stop> {
    // SAFETY: `buffer` is valid for writing its length.
    let ret =
        unsafe { libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    let length = size(check(Call::Getdents, ret)?);
    Ok(Entries { rest: buffer.get(..length).unwrap_or_default() })
}

impl Entries<'_> {
    /// The directory is at its end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    // struct linux_dirent64: inode, offset, length of this record, type, name.
    fn next(&mut self) -> Option<Entry<'a>> {
        let rest = self.rest;
        let next = i64::from_ne_bytes(rest.get(8..16)?.try_into().ok()?);
        let length = u16::from_ne_bytes(rest.get(16..18)?.try_into().ok()?);
        let is_directory = *rest.get(18)? == libc::DT_DIR;
        let name = CStr::from_bytes_until_nul(rest.get(19..usize::from(length))?).ok()?;
        self.rest = rest.get(usize::from(length)..)?;
        Some(Entry { name, is_directory, next })
    }
}
