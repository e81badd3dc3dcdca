//! The mount namespace of the container, and its root: how they are made, and how it is changed into. Runs in the
//! container's process.

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;

use super::sources::{Host, Sources};
use crate::channel::Failure;
use crate::fault::Fault;
use crate::path::PATH_MAX;
use crate::plan::mounts::Rootfs;
use crate::plan::namespaces::Namespace;
use crate::plan::step::Step;
use crate::sys::fs::{self, CWD};
use crate::sys::{Root, Stop, mount, process};

/// Where the container's mounts are made.
#[derive(Debug)]
pub(in crate::init) struct Site {
    /// The root file system, by now.
    pub(in crate::init) root: Root,
    /// The host's mounts, if they are in sight.
    pub(super) host: Option<Host>,
}

/// Gets the process a place where the container's mounts can be made and nobody else sees them.
///
/// With `sources` it may begin with the root file system; then there is no namespace yet.
pub(super) fn enter(rootfs: &Rootfs, sources: Option<&mut Sources>, fault: Fault) -> Result<Site, Failure> {
    if let Some(sources) = sources {
        if let Some(root) = enter_root(rootfs, sources, fault)? {
            return Ok(Site { root, host: None });
        }
        fault.attempt(Step::Unshare, || process::unshare(Namespace::Mount.flag()))?;
    }
    fault.attempt(Step::Propagation, || mount::change_at(c"/", rootfs.host_propagation.flags))?;
    let root = fault.attempt(Step::Root, || attach_root(rootfs))?;
    Ok(Site { root, host: Some(Host::is_in_sight()) })
}

/// Enters a mount namespace that begins with the root file system. None where there can be none; why, the other way
/// tells, if it is not for the kernel's age.
fn enter_root(rootfs: &Rootfs, sources: &mut Sources, fault: Fault) -> Result<Option<Root>, Failure> {
    let Some(namespace) = mount::namespace_of(rootfs.path.as_c_str()) else { return Ok(None) };
    // As long as the host is in sight.
    sources.open(&rootfs.mounts, rootfs.host_propagation)?;
    let enter = || Ok(process::setns(namespace.as_fd(), Namespace::Mount.flag()).is_ok());
    if !fault.attempt(Step::EnterRoot, enter)? {
        sources.clear();
        return Ok(None);
    }
    let propagation = rootfs.host_propagation.flags;
    fault.attempt(Step::Propagation, || {
        mount::change_at(c"/", propagation)?;
        // What will be mounted on the root itself stays in here.
        if propagation & libc::MS_SHARED != 0 { mount::change_at(c"/", libc::MS_PRIVATE) } else { Ok(()) }
    })?;
    fault.attempt(Step::Root, || open_root(c"/")).map(Some)
}

fn open_root(path: &CStr) -> Result<Root, Stop> {
    fs::open(CWD, path, libc::O_PATH | libc::O_DIRECTORY, 0).map(Root::new)
}

/// Mounts the rootfs onto itself: the root has to be a mount.
fn attach_root(rootfs: &Rootfs) -> Result<Root, Stop> {
    let path = rootfs.path.as_c_str();
    if rootfs.host_propagation.flags & libc::MS_SHARED != 0 {
        make_parent_private(path)?;
    }
    let below = open_root(path)?;
    let tree = mount::clone_tree(below.fd(), c"", true)?;
    mount::attach(tree.as_fd(), below.fd())?;
    Ok(Root::new(tree))
}

/// pivot_root(2) refuses a root whose parent mount is shared, and what is mounted on the root is not to come out there;
/// the events of all others stay as they are.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
fn make_parent_private(path: &CStr) -> Result<(), Stop> {
    let mut text = [0_u8; PATH_MAX];
    let mut len = path.count_bytes();
    text[..len].copy_from_slice(path.to_bytes());
    loop {
        let candidate = CStr::from_bytes_until_nul(&text[..=len]).unwrap_or(c"/");
        match mount::change_at(candidate, libc::MS_PRIVATE) {
            // Not a mount: one of its parents is.
            Err(stop) if stop.is(Errno::EINVAL) && len > 1 => {}
            other => return other,
        }
        let slash = text[..len].iter().rposition(|b| *b == b'/').unwrap_or(0);
        len = slash.max(1);
        text[len] = 0;
    }
}

impl Site {
    /// Makes the root the process's own.
    pub(super) fn change_root(self, pivot: bool) -> Result<Root, Stop> {
        match self.host {
            Some(_) if pivot => pivot_root(self.root),
            Some(_) => move_root(self.root),
            // It is, but for what has been mounted on it.
            None => take_root(self.root),
        }
    }
}

fn pivot_root(root: Root) -> Result<Root, Stop> {
    let old = open_root(c"/")?;
    fs::change_directory(root.fd())?;
    mount::pivot_here()?;
    // The old root lies on top now. Its unmounting must not reach the host; and it is from inside of it that this
    // is said, because the new root has the old one below it, and its own mounts stay as they are.
    fs::change_directory(old.fd())?;
    mount::change_at(c".", libc::MS_SLAVE | libc::MS_REC)?;
    mount::detach(c".")?;
    new_root()
}

// The root of an initramfs cannot be pivoted away; it is covered instead.
fn move_root(root: Root) -> Result<Root, Stop> {
    fs::change_directory(root.fd())?;
    mount::mount(c".", c"/", c"", libc::MS_MOVE, c"")?;
    mount::chroot_here()?;
    new_root()
}

fn take_root(root: Root) -> Result<Root, Stop> {
    fs::change_directory(root.fd())?;
    mount::chroot_here()?;
    new_root()
}

fn new_root() -> Result<Root, Stop> {
    let root = open_root(c"/")?;
    fs::change_directory(root.fd())?;
    Ok(root)
}
