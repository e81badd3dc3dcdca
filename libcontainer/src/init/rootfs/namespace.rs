//! The mount namespace of the container, and its root: how they are made, and how it is changed into. Runs in the
//! container's process.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;

use super::sources::{Host, Sources};
use crate::channel::{At, Failure};
use crate::fault::Fault;
use crate::path::PATH_MAX;
use crate::plan::mounts::{Mount, Rootfs};
use crate::plan::namespaces::Namespace;
use crate::plan::step::Step;
use crate::sys::fs::{self, CWD};
use crate::sys::{Root, Stop, mount, process};

/// Where the container's mounts are made.
#[derive(Debug)]
pub(in crate::init) struct Site {
    /// The root file system, by now.
    pub(in crate::init) root: Root,
    /// The host's mounts, if they are in sight. Otherwise the root is the process's, but for what is mounted on it.
    pub(super) host: Option<Host>,
    /// The root's file system and its file in that.
    identity: (u64, u64),
    /// Something may have been mounted on the root.
    is_covered: Cell<bool>,
}

/// Gets the process a place where the container's mounts can be made and nobody else sees them.
///
/// With `sources` there is no mount namespace yet; and they may be opened, and the host left out of it.
pub(super) fn enter(rootfs: &Rootfs, sources: Option<&mut Sources>, fault: Fault) -> Result<Site, Failure> {
    let Some(sources) = sources else {
        return Site::new(attach_root(rootfs, fault)?, Some(Host::is_in_sight()));
    };
    if let Some(root) = enter_root(rootfs, sources, fault)? {
        return Site::new(root, None);
    }
    fault.attempt(Step::Unshare, || process::unshare(Namespace::Mount.flag()))?;
    Site::new(attach_root(rootfs, fault)?, Some(Host::is_in_sight()))
}

/// Enters a mount namespace that begins with the root file system. None where there can be none; why, the other way
/// tells, if it is not for the kernel's age.
fn enter_root(rootfs: &Rootfs, sources: &mut Sources, fault: Fault) -> Result<Option<Root>, Failure> {
    let namespace = mount::namespace_of(rootfs.path.as_c_str());
    let Some(namespace) = namespace.filter(|_| mount::is_changed_by_descriptor()) else { return Ok(None) };
    let opened = sources.open(&rootfs.mounts, 0, Some(rootfs.host_propagation)).is_ok();
    let enter = || Ok(opened && process::setns(namespace.as_fd(), Namespace::Mount.flag()).is_ok());
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

/// Has the host's mounts keep to themselves, and mounts the rootfs onto itself: the root has to be a mount.
fn attach_root(rootfs: &Rootfs, fault: Fault) -> Result<Root, Failure> {
    fault.attempt(Step::Propagation, || mount::change_at(c"/", rootfs.host_propagation.flags))?;
    fault.attempt(Step::Root, || clone_onto_itself(rootfs))
}

fn clone_onto_itself(rootfs: &Rootfs) -> Result<Root, Stop> {
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
    fn new(root: Root, host: Option<Host>) -> Result<Site, Failure> {
        let identity = fs::kind(root.fd()).at(Step::Root)?.identity;
        Ok(Site { root, host, identity, is_covered: Cell::new(false) })
    }

    /// Changes the root, with the mounts from `first` on still to be made, whose sources are opened before.
    pub(super) fn leave_host(
        &mut self,
        mounts: &[Mount],
        first: u16,
        sources: &mut Sources,
        fault: Fault,
    ) -> Result<(), Failure> {
        // Otherwise paths of the host's procfs will be needed.
        if self.host.is_some() && mount::is_changed_by_descriptor() {
            sources.open(mounts, first, None)?;
            fault.attempt(Step::Pivot, || pivot_root(&self.root))?;
            self.host = None;
        }
        Ok(())
    }

    /// The source of a mount is not looked up any more, but open.
    pub(super) fn has_source(&self, entry: &Mount) -> bool {
        entry.is_opened_by_runtime() || entry.is_bind() && self.host.is_none()
    }

    /// Which directory /dev is by now; none if there is none.
    pub(super) fn devices_directory(&self) -> Result<Option<(u64, u64)>, Stop> {
        match self.root.open_known(c"/dev", libc::O_PATH) {
            Err(stop) if stop.is(Errno::ENOENT) => Ok(None),
            other => Ok(Some(fs::kind(other?.as_fd())?.identity)),
        }
    }

    /// Whether a mount point is in the root's file system. It is taken note of if it is the root itself.
    pub(super) fn holds(&self, mount_point: (u64, u64)) -> bool {
        if mount_point == self.identity {
            self.is_covered.set(true);
        }
        mount_point.0 == self.identity.0
    }

    /// Takes what has been mounted on the root for the root: what is looked up from here on is below it.
    pub(super) fn rise(&mut self) -> Result<(), Stop> {
        if self.is_covered.get() {
            self.root = self.root.top()?;
            self.identity = fs::kind(self.root.fd())?.identity;
        }
        Ok(())
    }

    /// Makes the root the process's own, if it is not.
    pub(super) fn change_root(self, pivot: bool) -> Result<Root, Stop> {
        match self.host {
            Some(_) if pivot => pivot_root(&self.root),
            Some(_) => move_root(&self.root),
            None if self.is_covered.get() => match pivot_root(&self.root) {
                // It is still the same: the mount point only shows the same directory.
                Err(stop) if stop.is(Errno::EBUSY) => new_root(),
                other => other,
            },
            None => new_root(),
        }
    }
}

fn pivot_root(root: &Root) -> Result<Root, Stop> {
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
fn move_root(root: &Root) -> Result<Root, Stop> {
    fs::change_directory(root.fd())?;
    mount::mount(c".", c"/", c"", libc::MS_MOVE, c"")?;
    mount::chroot_here()?;
    new_root()
}

fn new_root() -> Result<Root, Stop> {
    let root = open_root(c"/")?;
    fs::change_directory(root.fd())?;
    Ok(root)
}
