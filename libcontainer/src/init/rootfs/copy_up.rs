//! Copies a directory into the tmpfs that will cover it: `tmpcopyup`. Runs in the container's process.
//!
//! The image is hostile, so everything goes by descriptors, no link is followed and nothing is opened that could
//! wait or act. What is mounted somewhere below is not part of the directory: its mount point stays empty. Device
//! nodes are left out in a user namespace, where the kernel lets nobody make them; owners that are not mapped there
//! become the container's root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::path::PATH_MAX;
use crate::plan::mounts::CopyUp;
use crate::sys::copy::{self, Status};
use crate::sys::directory;
use crate::sys::fs;
use crate::sys::{Call, Stop};

/// How deep directories may be nested; each level takes two descriptors, of which a process has mostly 1024.
const DEPTH_MAX: usize = 128;

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
}

/// Room for what is read, since nothing may be allocated here. The lengths are the kernel's limits (xattr(7)).
struct Room {
    data: [u8; 65536],
    names: [u8; 65536],
}

/// Copies the content of `covered` into the root of `tree`, a detached tmpfs.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
pub(super) fn copy(covered: BorrowedFd<'_>, tree: BorrowedFd<'_>, copy_up: CopyUp) -> Result<(), Stop> {
    let mut room = Room { data: [0; 65536], names: [0; 65536] };
    let open = |at| fs::open(at, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0);
    let top = Level { from: open(covered)?, to: open(tree)? };
    let status = copy::status(top.from.as_fd(), c"")?;
    let (uid, gid) = status.owner();
    // -1 leaves it as it is (chown(2)).
    own(
        top.to.as_fd(),
        c"",
        if copy_up.uid { uid } else { u32::MAX },
        if copy_up.gid { gid } else { u32::MAX },
    )?;
    copy_below(top, &mut room)
}

/// Goes down into a directory as soon as it meets it: the open descriptors are the stack.
fn copy_below(top: Level, room: &mut Room) -> Result<(), Stop> {
    let mut levels = [const { None::<Level> }; DEPTH_MAX];
    levels[0] = Some(top);
    let mut depth = 0;
    while let Some(level) = levels.get(depth).and_then(Option::as_ref) {
        if let Some(below) = copy_until_directory(level, room)? {
            depth += 1;
            let free = levels.get_mut(depth).ok_or(Stop::new(Call::Getdents, Errno::ENAMETOOLONG))?;
            *free = Some(below);
            continue;
        }
        // Last, because every entry that was made has changed the time.
        let status = copy::status(level.from.as_fd(), c"")?;
        copy_attributes(level.from.as_fd(), level.to.as_fd(), room)?;
        copy::set_times(level.to.as_fd(), c".", &status)?;
        levels[depth] = None;
        match depth.checked_sub(1) {
            Some(above) => depth = above,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Copies entries up to the next directory, which is made and returned; `None` at the end.
fn copy_until_directory(level: &Level, room: &mut Room) -> Result<Option<Level>, Stop> {
    let (from, to) = (level.from.as_fd(), level.to.as_fd());
    loop {
        // Entries after a directory are not used: they are read again when it is done.
        let mut buffer = [0; 8192];
        let entries = directory::read(from, &mut buffer)?;
        if entries.is_empty() {
            return Ok(None);
        }
        for entry in entries {
            if [c".", c".."].contains(&entry.name) {
                continue;
            }
            if let Some(below) = copy_entry(from, to, entry.name, room)? {
                copy::seek(from, entry.next)?;
                return Ok(Some(below));
            }
        }
    }
}

/// Copies one entry; of a directory only itself, which is returned.
fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    room: &mut Room,
) -> Result<Option<Level>, Stop> {
    let found = match copy::open_entry(from, name, libc::O_PATH) {
        Err(stop) if stop.is(Errno::EXDEV) => return make_mount_point(from, to, name).map(|()| None),
        // Gone in the meantime.
        Err(stop) if stop.is(Errno::ENOENT) => return Ok(None),
        found => found?,
    };
    let status = copy::status(found.as_fd(), c"")?;
    let mode = status.mode();
    match status.format() {
        libc::S_IFDIR => {
            let below = open_same(from, name, libc::O_RDONLY | libc::O_DIRECTORY, &status)?;
            fs::make_directory(to, name, 0o700)?;
            finish(to, name, &status)?;
            let to = fs::open(to, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
            return Ok(Some(Level { from: below, to }));
        }
        libc::S_IFREG => {
            let file = open_same(from, name, libc::O_RDONLY, &status)?;
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            let copied = fs::open(to, name, flags, 0o600)?;
            copy_data(file.as_fd(), copied.as_fd(), status.length(), &mut room.data)?;
            finish(to, name, &status)?;
            copy_attributes(file.as_fd(), copied.as_fd(), room)?;
        }
        libc::S_IFLNK => {
            let mut target = [0; PATH_MAX];
            fs::read_link(found.as_fd(), c"", &mut target)?;
            fs::make_link(to, name, CStr::from_bytes_until_nul(&target).unwrap_or_default())?;
            let (uid, gid) = status.owner();
            own(to, name, uid, gid)?;
        }
        format => {
            let is_device = [libc::S_IFCHR, libc::S_IFBLK].contains(&format);
            match fs::make_node(to, name, mode, status.device()) {
                Err(stop) if is_device && stop.is(Errno::EPERM) => return Ok(None),
                made => made?,
            }
            finish(to, name, &status)?;
        }
    }
    copy::set_times(to, name, &status)?;
    Ok(None)
}

/// Opens an entry to read it, if it still is what it was when it was looked at.
fn open_same(at: BorrowedFd<'_>, name: &CStr, flags: i32, seen: &Status) -> Result<OwnedFd, Stop> {
    let file = copy::open_entry(at, name, flags)?;
    let same = copy::status(file.as_fd(), c"")?.identity() == seen.identity();
    if same { Ok(file) } else { Err(Stop::new(Call::Openat2, Errno::ESTALE)) }
}

/// Makes an empty directory or file for something that is mounted there.
fn make_mount_point(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Stop> {
    match copy::status(from, name)?.format() {
        libc::S_IFDIR => fs::make_directory(to, name, 0o755),
        _ => fs::make_node(to, name, libc::S_IFREG | 0o644, 0),
    }
}

/// Gives an entry that is no link its owner and permissions: in this order, since a new owner takes set-user-ID.
fn finish(to: BorrowedFd<'_>, name: &CStr, status: &Status) -> Result<(), Stop> {
    let (uid, gid) = status.owner();
    own(to, name, uid, gid)?;
    copy::set_mode(to, name, status.mode())
}

fn own(to: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<(), Stop> {
    match fs::change_owner(to, name, uid, gid) {
        // Not mapped.
        Err(stop) if stop.is(Errno::EINVAL) => Ok(()),
        other => other,
    }
}

/// Copies what a file holds, and leaves its holes: a sparse file may be longer than there is memory.
fn copy_data(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: i64, buffer: &mut [u8]) -> Result<(), Stop> {
    let mut done = 0;
    while let Some((start, end)) = copy::data(from, done)?.filter(|(start, _)| *start < length) {
        copy::seek(from, start)?;
        copy::seek(to, start)?;
        let mut left = usize::try_from(end.min(length) - start).unwrap_or(0);
        while left > 0 {
            let room = left.min(buffer.len());
            let part = buffer.get_mut(..room).unwrap_or_default();
            let read = fs::read(from, part)?;
            if read == 0 {
                break;
            }
            copy::write_all(to, part.get(..read).unwrap_or_default())?;
            left -= read;
        }
        done = end;
    }
    copy::set_length(to, length)
}

/// Copies the extended attributes that this process may see and a tmpfs can hold.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, room: &mut Room) -> Result<(), Stop> {
    let mut rest = copy::attribute_names(from, &mut room.names)?;
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = rest.get(name.count_bytes() + 1..).unwrap_or_default();
        let copied = copy::attribute(from, name, &mut room.data)
            .and_then(|value| copy::set_attribute(to, name, value));
        match copied {
            // Not known here, not allowed, not mapped, or gone.
            Err(stop)
                if [libc::EOPNOTSUPP, libc::EPERM, libc::EACCES, libc::EINVAL, libc::ENODATA]
                    .contains(&stop.errno) => {}
            other => other?,
        }
    }
    Ok(())
}
