//! The only way from a path of the container to a descriptor: resolved by the kernel inside the root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::fs::{self, openat2};
use super::{Call, Stop};
use crate::path::{PATH_MAX, RootPath};

/// A directory that is the root for every path looked up below it.
///
/// Symbolic links and `..` cannot lead out of it, and links of procfs that jump elsewhere are not followed.
/// See openat2(2), RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// What is made where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Directory,
    File,
}

/// Links followed before a path counts as a loop, as the kernel does it (path_resolution(7)).
const MAX_LINKS: usize = 40;

impl Root {
    /// Takes the directory `fd` as a root.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Root {
        Root { fd }
    }

    /// The directory itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What is mounted on this root by now; the root itself if nothing is.
    ///
    /// By `..`, which cannot leave the root, and ends on top of what is mounted there: no path of the host is
    /// looked up a second time.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn top(&self) -> Result<Root, Stop> {
        self.open_text(c"..", libc::O_PATH | libc::O_DIRECTORY, 0).map(Root::new)
    }

    /// Opens `path` with `flags` of open(2).
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open(&self, path: &RootPath, flags: i32) -> Result<OwnedFd, Stop> {
        self.open_text(path.as_c_str(), flags, 0)
    }

    /// Opens `path`, which the runtime itself chose, with `flags` of open(2).
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open_known(&self, path: &'static CStr, flags: i32) -> Result<OwnedFd, Stop> {
        self.open_text(path, flags, 0)
    }

    /// Opens `path`, and makes it and its parents as directories where they are missing.
    ///
    /// # Errors
    /// Those of openat2(2) and mkdirat(2).
    pub fn make_directory(&self, path: &RootPath) -> Result<OwnedFd, Stop> {
        self.make(path, Leaf::Directory)
    }

    /// As [`Root::make_directory`], but a symbolic link anywhere on the path is an error: procfs and sysfs
    /// mounted elsewhere than it says are how hostile images fool what comes after (CVE-2019-19921).
    ///
    /// # Errors
    /// ELOOP for a link, ENOTDIR for a file.
    pub fn make_plain_directory(&self, path: &RootPath) -> Result<OwnedFd, Stop> {
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
        let open = || openat2(self.fd(), path.as_c_str(), libc::O_PATH | libc::O_DIRECTORY, 0, resolve);
        match open() {
            Err(stop) if stop.is(Errno::ENOENT) => {
                self.make_directory(path)?;
                open()
            }
            other => other,
        }
    }

    /// Opens `path`; where it is missing makes an empty file, and its parents as directories.
    ///
    /// # Errors
    /// Those of openat2(2), mkdirat(2) and mknodat(2).
    pub fn make_file(&self, path: &RootPath) -> Result<OwnedFd, Stop> {
        self.make(path, Leaf::File)
    }

    /// The directory of `path`, made where it is missing, and the last component.
    ///
    /// # Errors
    /// As [`Root::make_directory`]; EISDIR for the root itself, EINVAL when the path ends in `..`.
    pub fn make_parent<'p>(&self, path: &'p RootPath) -> Result<(OwnedFd, &'p CStr), Stop> {
        let (directory, name) = Root::split(path)?;
        Ok((self.make_text(directory, Leaf::Directory)?, name))
    }

    /// The directory of `path`, as text, and the last component.
    ///
    /// # Errors
    /// EISDIR for the root itself, EINVAL when the path ends in `..`.
    fn split(path: &RootPath) -> Result<(&[u8], &CStr), Stop> {
        let text = path.as_c_str().to_bytes();
        let slash = text.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let name = &path.as_c_str()[slash + 1..];
        match name.to_bytes() {
            b"" => Err(Stop::new(Call::Openat2, Errno::EISDIR)),
            b".." => Err(Stop::new(Call::Openat2, Errno::EINVAL)),
            _ => Ok((&text[..slash], name)),
        }
    }

    /// As [`Root::make_directory`] or [`Root::make_file`], but where `path` ends in a symbolic link, that is opened.
    ///
    /// # Errors
    /// As those; ELOOP for a link where a directory is wanted.
    pub fn make_unfollowed(&self, path: &RootPath, directory: bool) -> Result<OwnedFd, Stop> {
        let leaf = if directory { Leaf::Directory } else { Leaf::File };
        if path.is_root() {
            return self.make(path, leaf);
        }
        let (parent, name) = self.make_parent(path)?;
        let open = || fs::open(parent.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0);
        let target = match open() {
            Err(stop) if stop.is(Errno::ENOENT) => {
                make_leaf(parent.as_fd(), name, leaf)?;
                open()?
            }
            other => other?,
        };
        if directory && fs::kind(target.as_fd())?.format() == libc::S_IFLNK {
            return Err(Stop::new(Call::Openat2, Errno::ELOOP));
        }
        Ok(target)
    }

    /// Opens or makes the empty file `path`, which the runtime itself chose.
    ///
    /// # Errors
    /// As [`Root::make_file`].
    pub fn make_known_file(&self, path: &'static CStr) -> Result<OwnedFd, Stop> {
        self.make_text(path.to_bytes(), Leaf::File)
    }

    fn make(&self, path: &RootPath, leaf: Leaf) -> Result<OwnedFd, Stop> {
        self.make_text(path.as_c_str().to_bytes(), leaf)
    }

    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    fn make_text(&self, path: &[u8], leaf: Leaf) -> Result<OwnedFd, Stop> {
        Walk::new(path)?.run(self, leaf)
    }

    fn open_text(&self, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Stop> {
        openat2(self.fd(), path, flags, mode, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
    }
}

/// A walk along a path, component by component, that makes what is missing.
///
/// Each prefix is looked up from the root again, so the kernel applies its own rules to links; only a link
/// that leads to nothing is followed here, by putting its text into the path.
struct Walk {
    text: [u8; PATH_MAX],
    len: usize,
    links: usize,
}

impl Walk {
    fn new(path: &[u8]) -> Result<Walk, Stop> {
        let mut walk = Walk { text: [0; PATH_MAX], len: path.len(), links: 0 };
        let room = walk.text.get_mut(..path.len()).ok_or(Stop::new(Call::Openat2, Errno::ENAMETOOLONG))?;
        room.copy_from_slice(path);
        Ok(walk)
    }

    fn run(&mut self, root: &Root, leaf: Leaf) -> Result<OwnedFd, Stop> {
        // Mostly it is all there.
        if self.len > 0 {
            match self.with_prefix(self.len, |path| root.open_text(path, libc::O_PATH, 0)) {
                Err(stop) if stop.is(Errno::ENOENT) => {}
                other => return other,
            }
            // Then but for the end. What cannot be made there is a link, perhaps, that leads nowhere.
            if self.make_last(root, leaf)? {
                return self.with_prefix(self.len, |path| root.open_text(path, libc::O_PATH, 0));
            }
        }
        let mut directory = root.open_text(c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let mut start = self.skip_slashes(0);
        while start < self.len {
            let end = self.component_end(start);
            let last = self.skip_slashes(end) == self.len;
            let flags = if last { libc::O_PATH } else { libc::O_PATH | libc::O_DIRECTORY };
            match self.with_prefix(end, |prefix| root.open_text(prefix, flags, 0)) {
                Ok(fd) => {
                    directory = fd;
                    start = self.skip_slashes(end);
                }
                Err(stop) if stop.is(Errno::ENOENT) => {
                    if self.follow_dangling_link(directory.as_fd(), start, end)? {
                        directory = root.open_text(c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
                        start = self.skip_slashes(0);
                    } else {
                        let kind = if last { leaf } else { Leaf::Directory };
                        let name = |name: &CStr| make_leaf(directory.as_fd(), name, kind);
                        self.with_component(start, end, name)?;
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(directory)
    }

    /// Makes the last component in a directory that is there; true if it did.
    fn make_last(&mut self, root: &Root, leaf: Leaf) -> Result<bool, Stop> {
        let (end, len) = (self.text[..self.len].iter().rposition(|b| *b == b'/').unwrap_or(0), self.len);
        if end == 0 || end + 1 == len {
            return Ok(false);
        }
        let open = |path: &CStr| root.open_text(path, libc::O_PATH | libc::O_DIRECTORY, 0);
        match self.with_prefix(end, open) {
            Ok(directory) => {
                let made = |name: &CStr| make_new(directory.as_fd(), name, leaf);
                self.with_component(end + 1, len, made).map_or(Ok(false), |()| Ok(true))
            }
            Err(_) => Ok(false),
        }
    }

    /// If the component is a link, which leads nowhere, puts its text in its place; true if it did.
    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    fn follow_dangling_link(&mut self, at: BorrowedFd<'_>, start: usize, end: usize) -> Result<bool, Stop> {
        let mut target = [0; PATH_MAX];
        let read = self.with_component(start, end, |name| fs::read_link(at, name, &mut target));
        let target = match read {
            Ok(len) => &target[..len],
            // Not a link (any more), or nothing there.
            Err(stop) if stop.is(Errno::EINVAL) || stop.is(Errno::ENOENT) => return Ok(false),
            Err(stop) => return Err(stop),
        };
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Stop::new(Call::Openat2, Errno::ELOOP));
        }
        // An absolute link counts from the root, another one from its own directory.
        let before = if target.first() == Some(&b'/') { 0 } else { start };
        let rest = self.len - end;
        let len = before + target.len() + rest;
        if len >= PATH_MAX {
            return Err(Stop::new(Call::Openat2, Errno::ENAMETOOLONG));
        }
        self.text.copy_within(end..end + rest, before + target.len());
        self.text[before..before + target.len()].copy_from_slice(target);
        self.len = len;
        Ok(true)
    }

    fn skip_slashes(&self, from: usize) -> usize {
        (from..self.len).find(|i| self.text[*i] != b'/').unwrap_or(self.len)
    }

    fn component_end(&self, from: usize) -> usize {
        (from..self.len).find(|i| self.text[*i] == b'/').unwrap_or(self.len)
    }

    fn with_prefix<T>(&mut self, end: usize, act: impl FnOnce(&CStr) -> T) -> T {
        self.with_component(0, end, act)
    }

    /// Calls `act` with the bytes from `start` to `end` as a NUL-terminated string.
    fn with_component<T>(&mut self, start: usize, end: usize, act: impl FnOnce(&CStr) -> T) -> T {
        // `end` is at most `len`, and a walk's text is shorter than its array, so there is room for the NUL.
        let after = std::mem::replace(&mut self.text[end], 0);
        let name = CStr::from_bytes_until_nul(&self.text[start..=end]).unwrap_or_default();
        let result = act(name);
        self.text[end] = after;
        result
    }
}

/// The directory of the last node that was made, kept open: most are in /dev.
#[derive(Debug, Default)]
pub struct Nearby<'p> {
    last: Option<(&'p [u8], OwnedFd)>,
}

impl<'p> Nearby<'p> {
    /// As [`Root::make_parent`].
    ///
    /// # Errors
    /// As there.
    pub fn parent(&mut self, root: &Root, path: &'p RootPath) -> Result<(BorrowedFd<'_>, &'p CStr), Stop> {
        let (directory, name) = Root::split(path)?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != directory) {
            self.last = Some((directory, root.make_text(directory, Leaf::Directory)?));
        }
        let opened = self.last.as_ref().map(|(_, opened)| opened.as_fd());
        opened.map(|opened| (opened, name)).ok_or(Stop::new(Call::Openat2, Errno::EBADF))
    }
}

fn make_new(at: BorrowedFd<'_>, name: &CStr, leaf: Leaf) -> Result<(), Stop> {
    match leaf {
        Leaf::Directory => fs::make_directory(at, name, 0o755),
        Leaf::File => fs::make_node(at, name, libc::S_IFREG | 0o644, 0),
    }
}

fn make_leaf(at: BorrowedFd<'_>, name: &CStr, leaf: Leaf) -> Result<(), Stop> {
    match make_new(at, name, leaf) {
        // Another runtime may make the same mount point in a shared root.
        Err(stop) if stop.is(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
