//! Builds the container's root file system and changes into it. Runs in the container's process.

mod copy_up;
mod cover;
mod devices;
mod instance;
mod mounts;
mod sources;

use std::ffi::CStr;
use std::os::fd::{AsFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::channel::{At, Channel, Failure};
use crate::fault::Fault;
use crate::hooks::{Program as Hook, StateText, Streams};
use crate::path::{PATH_MAX, RootPath};
use crate::plan::mounts::Rootfs;
use crate::plan::namespaces::Namespace;
use crate::plan::process::Kernel;
use crate::plan::step::Step;
use crate::sys::fs::{self, CWD, Proc};
use crate::sys::mount::{self, Change};
use crate::sys::{Call, Nearby, Root, Stop, attributes, process as sys_process};

pub(crate) use instance::make;
pub(crate) use mounts::clone_host_source;
pub(crate) use sources::Sources;

/// The container to build, with the descriptors it takes.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    /// The file system, as decided.
    pub(crate) rootfs: &'a Rootfs,
    /// Host name and kernel parameters.
    pub(crate) kernel: &'a Kernel,
    /// The sources of mounts that the runtime opens.
    pub(crate) sources: Sources,
    /// The network namespace comes from the runtime, and has not come yet.
    pub(crate) network_comes: bool,
    /// The runtime waits for the environment, to run hooks.
    pub(crate) announce: bool,
    /// Hooks to run before the root is changed.
    pub(crate) create_container: Vec<Hook<'a>>,
    /// Hooks to run before the program.
    pub(crate) start_container: Vec<Hook<'a>>,
    /// Where these hooks print.
    pub(crate) streams: Streams,
    /// The container's state for createContainer hooks.
    pub(crate) state: StateText,
    /// The container's state for startContainer hooks: it is created by then.
    pub(crate) start_state: StateText,
}

impl Build<'_> {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.sources.descriptors().chain(self.streams.descriptors())
    }
}

/// Builds everything below the new root, which is attached where the rootfs was.
pub(super) fn build(build: &mut Build<'_>, channel: &Channel, fault: Fault) -> Result<Root, Failure> {
    let rootfs = build.rootfs;
    fault.attempt(Step::Propagation, || mount::change_at(c"/", rootfs.host_propagation.flags))?;
    let mut root = fault.attempt(Step::Root, || attach_root(rootfs))?;
    for (entry, i) in rootfs.mounts.iter().zip(0..) {
        let is_supplied = entry.is_opened_by_runtime();
        if entry.is_of_network() || is_supplied {
            join_network(build, channel)?;
        }
        let added = fault.attempt(Step::Mount(i), || {
            let source = is_supplied.then(|| build.sources.take(channel)).transpose()?;
            mounts::add(&root, entry, source)
        });
        match added {
            Err(Failure { stop, .. })
                if is_supplied && stop.call == Call::MoveMount && stop.is(Errno::ELOOP) =>
            {
                let add = |source| mounts::add(&root, entry, Some(source));
                channel.fetch_again(i).and_then(add).at(Step::Mount(i))?;
            }
            other => other?,
        }
        // It may lie on the root, by a link too: what is looked up from here on is below it.
        root = root.top().at(Step::Mount(i))?;
    }
    join_network(build, channel)?;
    let mut nearby = Nearby::default();
    for (device, i) in rootfs.devices.iter().zip(0..) {
        let make = if rootfs.bind_devices { devices::bind } else { devices::make };
        fault.attempt(Step::Device(i), || make(&root, &mut nearby, device))?;
    }
    for (link, i) in rootfs.links.iter().zip(0..) {
        fault.attempt(Step::Link(i), || devices::link(&root, &mut nearby, link))?;
    }
    Ok(root)
}

/// Joins the network namespace that the runtime makes meanwhile, if it does and that has not been done.
fn join_network(build: &mut Build<'_>, channel: &Channel) -> Result<(), Failure> {
    if std::mem::take(&mut build.network_comes) {
        let namespace = channel.await_network().at(Step::Network)?;
        sys_process::setns(namespace.as_fd(), Namespace::Network.flag()).at(Step::Network)?;
    }
    Ok(())
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

/// pivot_root(2) refuses a root whose parent mount is shared; the events of all others stay as they are.
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

/// Changes into the new root and hides what is to be hidden there.
pub(super) fn change_root(
    build: &Build<'_>,
    root: Root,
    cwd: Option<&RootPath>,
    proc: &Proc,
    fault: Fault,
) -> Result<(), Failure> {
    let rootfs = build.rootfs;
    let root = fault.attempt(Step::Pivot, || if rootfs.pivot { pivot(root) } else { move_root(root) })?;
    set_kernel(build.kernel, proc, fault)?;
    for (path, i) in rootfs.readonly_paths.iter().zip(0..) {
        fault.attempt(Step::ReadonlyPath(i), || cover::make_read_only(&root, path))?;
    }
    let mut masks = cover::Masks::default();
    for (path, i) in rootfs.masked.iter().zip(0..) {
        fault.attempt(Step::Mask(i), || masks.cover(&root, path))?;
    }
    if let Some(cwd) = cwd {
        match root.make_directory(cwd) {
            // A read-only root lets nobody make it later. Why it could not be made is said to who wants to go there.
            Ok(_) | Err(_) => {}
        }
    }
    fault.attempt(Step::ReadonlyRoot, || seal(&root, rootfs))
}

fn pivot(root: Root) -> Result<Root, Stop> {
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

fn new_root() -> Result<Root, Stop> {
    let root = open_root(c"/")?;
    fs::change_directory(root.fd())?;
    Ok(root)
}

fn set_kernel(kernel: &Kernel, proc: &Proc, fault: Fault) -> Result<(), Failure> {
    if let Some(name) = &kernel.hostname {
        fault.attempt(Step::Hostname, || attributes::set_hostname(name.as_c_str()))?;
    }
    if let Some(name) = &kernel.domainname {
        fault.attempt(Step::Domainname, || attributes::set_domainname(name.as_c_str()))?;
    }
    for (sysctl, i) in kernel.sysctls.iter().zip(0..) {
        let value = sysctl.value.as_c_str().to_bytes();
        fault.attempt(Step::Sysctl(i), || proc.write(sysctl.file.as_c_str(), value))?;
    }
    if let Some(name) = &kernel.keyring {
        fault.attempt(Step::Keyring, || match attributes::join_session_keyring(name.as_c_str()) {
            // A kernel without keys, or a filter around the runtime, leaves nothing to separate.
            Err(stop) if stop.is_missing() || stop.is(Errno::EPERM) => Ok(()),
            other => other,
        })?;
    }
    Ok(())
}

/// Makes the root final: its propagation, and read-only if it is to be.
fn seal(root: &Root, rootfs: &Rootfs) -> Result<(), Stop> {
    let read_only = Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
    if rootfs.readonly_dev {
        mount::change(root.open_known(c"/dev", libc::O_PATH | libc::O_DIRECTORY)?.as_fd(), false, read_only)?;
    }
    if let Some(propagation) = rootfs.propagation {
        mount::change_at(c"/", propagation.flags)?;
    }
    if rootfs.readonly {
        mount::change(root.fd(), false, read_only)?;
    }
    Ok(())
}
