//! Files read whole, in as few calls as it takes: open, read to the end, close.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::libc;

use super::fs;
use super::{Call, Stop, check, retry, size};

/// Room for what most files of the kernel and of the store hold, so that one call reads it.
const MOST: usize = 2048;

/// What is in the file `path` of the host. Allocates.
///
/// # Errors
/// Those of openat(2) and read(2); ENAMETOOLONG or EINVAL for what is no path.
pub fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    rest_of(fs::open_path(path, libc::O_RDONLY)?.as_fd())
}

/// What is in the file `path` below `at`. Allocates.
///
/// # Errors
/// Those of openat(2) and read(2).
pub fn read_at(at: BorrowedFd<'_>, path: &CStr) -> Result<Vec<u8>, Stop> {
    // Not by std: its open(2) is musl's, which sets close-on-exec a second time, and its read asks for the size,
    // which files of the kernel do not have.
    rest_of(fs::open(at, path, libc::O_RDONLY, 0)?.as_fd())
}

/// As [`read_at`], of a file that one call reads to its end, if there is room for all of it: one on a disk, or one of the
/// kernel's that is no list. Allocates.
///
/// # Errors
/// Those of openat(2) and read(2).
pub fn read_record_at(at: BorrowedFd<'_>, path: &CStr) -> Result<Vec<u8>, Stop> {
    rest(fs::open(at, path, libc::O_RDONLY, 0)?.as_fd(), true)
}

/// As [`read_record_at`], of the host.
///
/// # Errors
/// As [`read`].
pub fn read_record(path: &Path) -> Result<Vec<u8>, Stop> {
    rest(fs::open_path(path, libc::O_RDONLY)?.as_fd(), true)
}

/// What is left to read of an open file. Allocates.
///
/// # Errors
/// Those of read(2).
pub fn rest_of(file: BorrowedFd<'_>) -> Result<Vec<u8>, Stop> {
    rest(file, false)
}

fn rest(file: BorrowedFd<'_>, is_record: bool) -> Result<Vec<u8>, Stop> {
    let mut text = Vec::new();
    loop {
        text.reserve(MOST);
        let room = text.spare_capacity_mut();
        let count = retry(|| {
            // SAFETY: `room` is valid for writing its length.
            let ret = unsafe { libc::read(file.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
            check(Call::Read, ret as libc::c_long).map(size)
        })?;
        let is_short = count < room.len();
        // SAFETY: the kernel has written `count` bytes, which is at most the room there was.
        unsafe { text.set_len(text.len() + count) };
        // A short read is no end of files that list things: they give whole lines.
        if count == 0 || is_record && is_short {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_length_are_read_to_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for len in [0, 1, MOST - 1, MOST, MOST + 1, 5 * MOST + 7] {
            let text: Vec<u8> = (0..len).map(|i| b'a' + (i % 26) as u8).collect();
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read(&path), Ok(text.clone()));
            assert_eq!(read_record(&path), Ok(text));
        }
        assert_eq!(
            read(&directory.path().join("none")).unwrap_err(),
            Stop::new(Call::Open, nix::Error::ENOENT)
        );
        assert!(read(Path::new("a\0b")).is_err());
    }

    #[test]
    fn a_list_of_the_kernel_longer_than_one_read_is_whole() {
        let read = read(Path::new("/proc/self/maps")).unwrap();
        assert!(read.ends_with(b"\n") && read.len() > MOST);
        assert!(String::from_utf8(read).unwrap().lines().any(|line| line.ends_with("[stack]")));
    }
}
