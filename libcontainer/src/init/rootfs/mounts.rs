//! Does the entries of `mounts`. Runs in the container's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::namespace::Site;
use super::sources::{Host, in_sight};
use super::{devices, instance};
use crate::path::{KernelString, PATH_MAX, RootPath};
use crate::plan::mounts::{Mount, TreeHierarchy, What};
use crate::plan::options::{Attributes, SourceLink};
use crate::sys::fs;
use crate::sys::mount::{self, Change, Context};
use crate::sys::{Call, Nearby, Proc, Root, Stop};

/// Does one entry of `mounts`; `source` is what was opened for it before.
pub(super) fn add(site: &Site, entry: &Mount, source: Option<OwnedFd>, proc: &Proc) -> Result<(), Stop> {
    let (root, host) = (&site.root, site.host);
    let destination = &entry.destination;
    match &entry.what {
        What::Filesystem { fstype, source, flags, data, inherits_mode } => {
            let mode = if *inherits_mode { present_mode(root, destination)? } else { None };
            let target = if [c"proc", c"sysfs"].contains(&fstype.as_c_str()) {
                root.make_plain_directory(destination)?
            } else {
                directory(root, entry)?
            };
            check_target(site, entry, &target)?;
            let (source, fstype, data) = (source.as_c_str(), fstype.as_c_str(), data.as_c_str());
            match mode {
                None => mount_on(&target, source, fstype, *flags, data)?,
                Some(mode) => mount_with_mode(&target, source, fstype, *flags, data, mode)?,
            }
        }
        What::Sysfs { source, flags, data, fallback } => {
            let target = root.make_plain_directory(destination)?;
            check_target(site, entry, &target)?;
            match mount_on(&target, source.as_c_str(), c"sysfs", *flags, data.as_c_str()) {
                Err(stop) if stop.is(Errno::EPERM) => {
                    let host = host.ok_or(stop)?;
                    bind_instead(host, fallback, true, *flags | libc::MS_RDONLY, &target)?;
                }
                other => other?,
            }
        }
        What::Detached(new) => {
            let tree = match source {
                Some(tree) => tree,
                None => instance::make(&Context::open(new.fstype.as_c_str())?, new)?,
            };
            let present = present_mode(root, destination)?;
            let target = directory(root, entry)?;
            check_target(site, entry, &target)?;
            instance::furnish(tree.as_fd(), new, present, target.as_fd())?;
            mount::attach(tree.as_fd(), target.as_fd())?;
            return finish(tree.as_fd(), entry);
        }
        What::Bind { .. } => return bind(site, entry, source),
        What::Remount { attributes, superblock: None, .. } => {
            change_attributes(open(root, entry)?.as_fd(), false, *attributes)?;
        }
        What::Remount { attributes, superblock: Some(flags), data } => {
            let Attributes { set, clear } = *attributes;
            let change = Change { set, clear, ..Change::default() };
            mount::remount(proc, open(root, entry)?.as_fd(), change, *flags, data.as_c_str())?;
        }
        What::Cgroup { flags, data, fallback } => {
            let target = directory(root, entry)?;
            check_target(site, entry, &target)?;
            match mount_on(&target, c"cgroup", c"cgroup2", *flags, data.as_c_str()) {
                Err(stop) if stop.is(Errno::EPERM) || stop.is(Errno::EBUSY) => {
                    bind_instead(host.ok_or(stop)?, fallback, false, *flags, &target)?;
                }
                other => other?,
            }
        }
        What::CgroupTree { flags, hierarchies } => {
            let target = directory(root, entry)?;
            check_target(site, entry, &target)?;
            add_cgroup_tree(root, entry, &target, *flags, hierarchies, host)?;
        }
    }
    if entry.recursive.is_empty() && entry.propagation.is_empty() && entry.label.is_none() {
        return Ok(());
    }
    finish(open(&root.top()?, entry)?.as_fd(), entry)
}

fn bind(site: &Site, entry: &Mount, source: Option<OwnedFd>) -> Result<(), Stop> {
    let What::Bind { source: path, deep, attributes, link, by_runtime, .. } = &entry.what else {
        return Ok(());
    };
    let opened = match source {
        Some(file) if *link == SourceLink::Copied && is_link(&file)? => {
            return copy_link(&site.root, &entry.destination, &file);
        }
        // Only looked at: it is no link.
        Some(_) if *link == SourceLink::Copied && !by_runtime => None,
        other => other,
    };
    let tree = match opened {
        Some(tree) => tree,
        None => in_sight(site.host)?.clone_source(path.as_c_str(), *deep, *link)?,
    };
    let target = make_target(&site.root, entry, tree.as_fd())?;
    check_target(site, entry, &target)?;
    attach(tree.as_fd(), target.as_fd())?;
    change_attributes(tree.as_fd(), false, *attributes)?;
    // By the descriptor: looked up, a bound link would be followed.
    finish(tree.as_fd(), entry)
}

/// Binds a part of the host's instead of a mount that the kernel refuses.
fn bind_instead(
    host: Host,
    path: &KernelString,
    deep: bool,
    flags: u64,
    target: &OwnedFd,
) -> Result<(), Stop> {
    let tree = host.clone_tree(path.as_c_str(), deep)?;
    change_attributes(tree.as_fd(), deep, Attributes::of_flags(flags))?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// The directory to mount on, made where it is missing.
fn directory(root: &Root, entry: &Mount) -> Result<OwnedFd, Stop> {
    if entry.nofollow {
        root.make_unfollowed(&entry.destination, true)
    } else {
        root.make_directory(&entry.destination)
    }
}

/// What is mounted at the destination.
fn open(root: &Root, entry: &Mount) -> Result<OwnedFd, Stop> {
    let nofollow = if entry.nofollow { libc::O_NOFOLLOW } else { 0 };
    root.open(&entry.destination, libc::O_PATH | nofollow)
}

fn is_link(file: &OwnedFd) -> Result<bool, Stop> {
    fs::kind(file.as_fd()).map(|kind| kind.format() == libc::S_IFLNK)
}

/// Makes a symbolic link like `link`; one that is there already has to be the same.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
fn copy_link(root: &Root, destination: &RootPath, link: &OwnedFd) -> Result<(), Stop> {
    let mut text = [0; PATH_MAX];
    let length = fs::read_link(link.as_fd(), c"", &mut text)?;
    let (parent, name) = root.make_parent(destination)?;
    match fs::make_link(parent.as_fd(), name, CStr::from_bytes_until_nul(&text).unwrap_or_default()) {
        Err(stop) if stop.is(Errno::EEXIST) => {
            let mut present = [0; PATH_MAX];
            let same = fs::read_link(parent.as_fd(), name, &mut present) == Ok(length) && present == text;
            if same { Ok(()) } else { Err(stop) }
        }
        other => other,
    }
}

/// The permissions of what is at the destination; none if nothing is there yet.
fn present_mode(root: &Root, destination: &RootPath) -> Result<Option<u32>, Stop> {
    match root.open(destination, libc::O_PATH) {
        Ok(present) => fs::kind(present.as_fd()).map(|kind| Some(kind.mode & 0o7777)),
        Err(stop) if stop.is(Errno::ENOENT) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// Options of a file system with `mode=` and these permissions after them, written into `room`.
fn with_mode<'r>(data: &CStr, mode: u32, room: &'r mut [u8; PATH_MAX]) -> Result<&'r CStr, Stop> {
    let octal = [9, 6, 3, 0].map(|shift| b'0' + (mode >> shift & 7) as u8);
    let comma: &[u8] = if data.is_empty() { b"" } else { b"," };
    let mut len = 0;
    for part in [data.to_bytes(), comma, b"mode=", &octal, b"\0"] {
        let place = room.get_mut(len..len + part.len()).ok_or(Stop::new(Call::Mount, Errno::E2BIG))?;
        place.copy_from_slice(part);
        len += part.len();
    }
    Ok(CStr::from_bytes_until_nul(room).unwrap_or_default())
}

/// Mounts a new file system on a directory. It is mounted on ".", so that no path is looked up again.
pub(super) fn mount_on(
    target: &OwnedFd,
    source: &CStr,
    fstype: &CStr,
    flags: u64,
    data: &CStr,
) -> Result<(), Stop> {
    fs::change_directory(target.as_fd())?;
    mount::mount(source, c".", fstype, flags, data)
}

/// As [`mount_on`], with these permissions in the options.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
fn mount_with_mode(
    target: &OwnedFd,
    source: &CStr,
    fstype: &CStr,
    flags: u64,
    data: &CStr,
    mode: u32,
) -> Result<(), Stop> {
    let mut room = [0; PATH_MAX];
    mount_on(target, source, fstype, flags, with_mode(data, mode, &mut room)?)
}

/// Where to attach a tree: a directory or a file, as it is one itself, which is made where it is missing.
fn make_target(root: &Root, entry: &Mount, tree: BorrowedFd<'_>) -> Result<OwnedFd, Stop> {
    if !entry.nofollow {
        match root.open(&entry.destination, libc::O_PATH) {
            Err(stop) if stop.is(Errno::ENOENT) => {}
            other => return other,
        }
    }
    if fs::kind(tree)?.is_directory() {
        directory(root, entry)
    } else if entry.nofollow {
        root.make_unfollowed(&entry.destination, false)
    } else {
        root.make_file(&entry.destination)
    }
}

/// Attaches a tree; says so if it is a directory and the mount point is none, or the other way round.
fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Stop> {
    match mount::attach(tree, target) {
        Err(stop)
            if stop.is(Errno::EINVAL)
                && fs::kind(tree)?.is_directory() != fs::kind(target)?.is_directory() =>
        {
            Err(Stop::new(stop.call, Errno::ENOTDIR))
        }
        other => other,
    }
}

/// Takes note of a mount point that is the root, and refuses one inside the container's /proc that the config does not
/// name as such, and so has not been looked at: a link of the image leads there.
fn check_target(site: &Site, entry: &Mount, target: &OwnedFd) -> Result<(), Stop> {
    let here = fs::kind(target.as_fd())?.identity;
    let is_no_proc = || fs::filesystem(target.as_fd()).map(|magic| magic != libc::PROC_SUPER_MAGIC);
    if site.holds(here) || entry.is_inside_proc() || is_no_proc()? {
        return Ok(());
    }
    let proc = match site.root.open_known(c"/proc", libc::O_PATH) {
        Err(stop) if stop.is(Errno::ENOENT) => return Ok(()),
        other => fs::kind(other?.as_fd())?.identity,
    };
    if here.0 == proc.0 && here.1 != proc.1 { Err(Stop::new(Call::Statfs, Errno::EPERM)) } else { Ok(()) }
}

/// Changes what can be changed on a mount when it is there.
fn finish(mounted: BorrowedFd<'_>, entry: &Mount) -> Result<(), Stop> {
    if let Some(label) = &entry.label {
        fs::set_label(mounted, label.as_c_str())?;
    }
    change_attributes(mounted, true, entry.recursive)?;
    for propagation in &entry.propagation {
        let deep = propagation.flags & libc::MS_REC != 0;
        let change = Change { propagation: propagation.flags & !libc::MS_REC, ..Change::default() };
        mount::change(mounted, deep, change)?;
    }
    Ok(())
}

fn change_attributes(mounted: BorrowedFd<'_>, deep: bool, attributes: Attributes) -> Result<(), Stop> {
    if attributes.is_empty() {
        return Ok(());
    }
    let Attributes { set, clear } = attributes;
    mount::change(mounted, deep, Change { set, clear, ..Change::default() })
}

/// Mounts a tmpfs with a directory for each version 1 hierarchy.
fn add_cgroup_tree(
    root: &Root,
    entry: &Mount,
    target: &OwnedFd,
    flags: u64,
    hierarchies: &[TreeHierarchy],
    host: Option<Host>,
) -> Result<(), Stop> {
    mount_on(target, c"tmpfs", c"tmpfs", flags & !libc::MS_RDONLY, c"mode=755")?;
    for hierarchy in hierarchies {
        match &hierarchy.bind {
            Some(path) => {
                let tree = match in_sight(host)?.clone_tree(path.as_c_str(), false) {
                    // Without rights on the host there may be no cgroup of its own to show.
                    Err(stop) if stop.is(Errno::ENOENT) => {
                        root.make_directory(&hierarchy.destination)?;
                        continue;
                    }
                    other => other?,
                };
                mount::attach(tree.as_fd(), root.make_directory(&hierarchy.destination)?.as_fd())?;
                change_attributes(tree.as_fd(), false, Attributes::of_flags(flags))?;
            }
            None => {
                let fstype = if hierarchy.unified { c"cgroup2" } else { c"cgroup" };
                let target = root.make_directory(&hierarchy.destination)?;
                mount_on(&target, c"cgroup", fstype, flags, hierarchy.data.as_c_str())?;
            }
        }
        for link in &hierarchy.links {
            devices::link(root, &mut Nearby::default(), link)?;
        }
    }
    if flags & libc::MS_RDONLY != 0 {
        let tree = open(root, entry)?;
        change_attributes(tree.as_fd(), false, Attributes::of_flags(flags))?;
    }
    Ok(())
}
