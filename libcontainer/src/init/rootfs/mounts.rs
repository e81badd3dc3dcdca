//! Does the entries of `mounts`. Runs in the container's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::devices;
use crate::path::RootPath;
use crate::plan::mounts::{Mount, TreeHierarchy, What};
use crate::plan::options::Attributes;
use crate::sys::fs::{self, CWD};
use crate::sys::mount::{self, Change};
use crate::sys::{Root, Stop};

/// Does one entry of `mounts`.
pub(super) fn add(root: &Root, entry: &Mount, source: Option<&OwnedFd>) -> Result<(), Stop> {
    let destination = &entry.destination;
    match &entry.what {
        What::Filesystem { fstype, source, flags, data, .. } => {
            let target = if [c"proc", c"sysfs"].contains(&fstype.as_c_str()) {
                root.make_plain_directory(destination)?
            } else {
                root.make_directory(destination)?
            };
            mount_on(&target, source.as_c_str(), fstype.as_c_str(), *flags, data.as_c_str())?;
        }
        What::Sysfs { source, flags, data, fallback } => {
            let target = root.make_plain_directory(destination)?;
            match mount_on(&target, source.as_c_str(), c"sysfs", *flags, data.as_c_str()) {
                Err(stop) if stop.is(Errno::EPERM) => {
                    let tree = mount::clone_tree(CWD, fallback.as_c_str(), true)?;
                    change_attributes(tree.as_fd(), true, attributes_of(*flags | libc::MS_RDONLY))?;
                    mount::attach(tree.as_fd(), target.as_fd())?;
                }
                other => other?,
            }
        }
        What::Bind { source: path, deep, attributes, .. } => {
            let cloned;
            let tree = match source {
                Some(tree) => tree.as_fd(),
                None => {
                    cloned = mount::clone_tree(CWD, path.as_c_str(), *deep)?;
                    cloned.as_fd()
                }
            };
            attach_at(root, destination, tree)?;
            change_attributes(tree, false, *attributes)?;
        }
        What::Remount { flags, data, cleared } => {
            let mounted = root.open(destination, libc::O_PATH)?;
            mount::remount(mounted.as_fd(), *flags, *cleared, data.as_c_str())?;
        }
        What::Cgroup { flags, data, fallback } => {
            let target = root.make_directory(destination)?;
            match mount_on(&target, c"cgroup", c"cgroup2", *flags, data.as_c_str()) {
                Err(stop) if stop.is(Errno::EPERM) || stop.is(Errno::EBUSY) => {
                    let tree = mount::clone_tree(CWD, fallback.as_c_str(), false)?;
                    mount::attach(tree.as_fd(), target.as_fd())?;
                    change_attributes(tree.as_fd(), false, attributes_of(*flags))?;
                }
                other => other?,
            }
        }
        What::CgroupTree { flags, hierarchies } => add_cgroup_tree(root, destination, *flags, hierarchies)?,
    }
    finish(root, entry)
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

/// Attaches a tree on a directory or a file, as it is one itself, which is made where it is missing.
fn attach_at(root: &Root, destination: &RootPath, tree: BorrowedFd<'_>) -> Result<(), Stop> {
    let target = if fs::kind(tree)?.is_directory() {
        root.make_directory(destination)?
    } else {
        root.make_file(destination)?
    };
    mount::attach(tree, target.as_fd())
}

/// Changes what can be changed on a mount when it is there.
fn finish(root: &Root, entry: &Mount) -> Result<(), Stop> {
    if entry.recursive.is_empty() && entry.propagation.is_empty() {
        return Ok(());
    }
    let mounted = root.open(&entry.destination, libc::O_PATH)?;
    change_attributes(mounted.as_fd(), true, entry.recursive)?;
    for propagation in &entry.propagation {
        let deep = propagation.flags & libc::MS_REC != 0;
        let change = Change { propagation: propagation.flags & !libc::MS_REC, ..Change::default() };
        mount::change(mounted.as_fd(), deep, change)?;
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

/// Flags of mount(2) as attributes of a bind mount. These four have the same bits in both.
fn attributes_of(flags: u64) -> Attributes {
    let both = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    Attributes { set: flags & both, clear: 0 }
}

/// Mounts a tmpfs with a directory for each version 1 hierarchy.
fn add_cgroup_tree(
    root: &Root,
    destination: &RootPath,
    flags: u64,
    hierarchies: &[TreeHierarchy],
) -> Result<(), Stop> {
    let target = root.make_directory(destination)?;
    mount_on(&target, c"tmpfs", c"tmpfs", flags & !libc::MS_RDONLY, c"mode=755")?;
    for hierarchy in hierarchies {
        match &hierarchy.bind {
            Some(path) => {
                let tree = match mount::clone_tree(CWD, path.as_c_str(), false) {
                    // Without rights on the host there may be no cgroup of its own to show.
                    Err(stop) if stop.is(Errno::ENOENT) => {
                        root.make_directory(&hierarchy.destination)?;
                        continue;
                    }
                    other => other?,
                };
                attach_at(root, &hierarchy.destination, tree.as_fd())?;
                change_attributes(tree.as_fd(), false, attributes_of(flags))?;
            }
            None => {
                let fstype = if hierarchy.unified { c"cgroup2" } else { c"cgroup" };
                let target = root.make_directory(&hierarchy.destination)?;
                mount_on(&target, c"cgroup", fstype, flags, hierarchy.data.as_c_str())?;
            }
        }
        for link in &hierarchy.links {
            devices::link(root, link)?;
        }
    }
    if flags & libc::MS_RDONLY != 0 {
        let tree = root.open(destination, libc::O_PATH)?;
        change_attributes(tree.as_fd(), false, attributes_of(flags))?;
    }
    Ok(())
}
