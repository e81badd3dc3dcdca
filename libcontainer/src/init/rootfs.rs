//! Builds the container's root file system and changes into it. Runs in the container's process.

mod copy_up;
mod cover;
mod devices;
mod instance;
mod mounts;
mod namespace;
mod sources;

use std::os::fd::{AsFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::enter::{self, Entering};
use crate::channel::{At, Channel, Failure};
use crate::fault::Fault;
use crate::hooks::{Program as Hook, StateText, Streams};
use crate::path::RootPath;
use crate::plan::mounts::Rootfs;
use crate::plan::namespaces::Namespace;
use crate::plan::process::Kernel;
use crate::plan::step::Step;
use crate::sys::mount::{self, Change};
use crate::sys::{Call, Nearby, Proc, Root, Stop, attributes, process as sys_process};

pub(crate) use instance::make;
use namespace::Site;
use sources::in_sight;
pub(crate) use sources::{Sources, clone_host_source};

/// The container to build, with the descriptors it takes.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    /// The file system, as decided.
    pub(crate) rootfs: &'a Rootfs,
    /// Host name and kernel parameters.
    pub(crate) kernel: &'a Kernel,
    /// The sources of mounts that are opened before.
    pub(crate) sources: Sources,
    /// The root may be changed before all mounts are made; there is no mount namespace yet.
    pub(crate) leaves_host_early: bool,
    /// The process is being moved into its cgroup, and its cgroup namespace is not made.
    pub(crate) cgroup_comes: bool,
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

/// What there is to build with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) entering: &'a Entering<'a>,
    pub(super) channel: &'a Channel,
    pub(super) proc: &'a Proc,
    pub(super) fault: Fault,
}

impl Build<'_> {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.sources.descriptors().chain(self.streams.descriptors())
    }
}

/// Builds everything below the new root.
pub(super) fn build(build: &mut Build<'_>, means: Means<'_>) -> Result<Site, Failure> {
    let (rootfs, Means { channel, proc, fault, .. }) = (build.rootfs, means);
    let sources = build.leaves_host_early.then_some(&mut build.sources);
    let mut site = namespace::enter(rootfs, sources, fault)?;
    // The /dev whose devices are made.
    let mut made_in = None;
    for (entry, i) in rootfs.mounts.iter().zip(0..) {
        let waits =
            build.network_comes && entry.is_of_network() || build.cgroup_comes && entry.is_of_cgroup();
        if waits && rootfs.has_devices_before(i) {
            // There is time for it now.
            make_devices(&site, rootfs, proc, fault)?;
            made_in = site.devices_directory().at(Step::Mount(i))?;
        }
        if waits || site.has_source(entry) && build.sources.is_empty() {
            meet_runtime(build, &mut site, i, means)?;
        }
        let has_source = site.has_source(entry);
        let added = fault.attempt(Step::Mount(i), || {
            let source = has_source.then(|| build.sources.take(i, channel)).transpose()?;
            mounts::add(&site, entry, source, proc)
        });
        match added {
            Err(Failure { stop, .. })
                if has_source && stop.call == Call::MoveMount && stop.is(Errno::ELOOP) =>
            {
                meet_runtime(build, &mut site, i, means)?;
                let add = |source| mounts::add(&site, entry, Some(source), proc);
                channel.fetch_again(i).and_then(add).at(Step::Mount(i))?;
            }
            other => other?,
        }
        site.rise().at(Step::Mount(i))?;
    }
    meet_runtime(build, &mut site, u16::MAX, means)?;
    // A mount by another name may have hidden it.
    if made_in.is_none() || made_in != site.devices_directory().at(Step::Device(0))? {
        make_devices(&site, rootfs, proc, fault)?;
    }
    Ok(site)
}

/// Makes device nodes and the links of /dev; those that are there already are looked at.
fn make_devices(site: &Site, rootfs: &Rootfs, proc: &Proc, fault: Fault) -> Result<(), Failure> {
    let (root, mut nearby) = (&site.root, Nearby::default());
    for (device, i) in rootfs.devices.iter().zip(0..) {
        fault.attempt(Step::Device(i), || match rootfs.bind_devices {
            true => devices::bind(root, &mut nearby, device, in_sight(site.host)?, proc),
            false => devices::make(root, &mut nearby, device, proc),
        })?;
    }
    for (link, i) in rootfs.links.iter().zip(0..) {
        fault.attempt(Step::Link(i), || devices::link(root, &mut nearby, link))?;
    }
    Ok(())
}

/// Waits for what the runtime does meanwhile, if there is such and that has not been done: joins the network namespace that
/// it makes, or takes its place in the cgroup. The mounts from `next` on are still to be made.
fn meet_runtime(build: &mut Build<'_>, site: &mut Site, next: u16, means: Means<'_>) -> Result<(), Failure> {
    let Means { entering, channel, fault, .. } = means;
    let [network, cgroup] = [&mut build.network_comes, &mut build.cgroup_comes].map(std::mem::take);
    if (network || cgroup) && build.leaves_host_early {
        // The kernel takes its time for that, too: at the end nobody else would use it.
        site.leave_host(&build.rootfs.mounts, next, &mut build.sources, fault)?;
    }
    if network {
        let namespace = channel.await_network().at(Step::Network)?;
        sys_process::setns(namespace.as_fd(), Namespace::Network.flag()).at(Step::Network)?;
    }
    if cgroup { enter::settle(entering, channel, fault) } else { Ok(()) }
}

/// Changes into the new root and hides what is to be hidden there.
pub(super) fn change_root(
    build: &Build<'_>,
    site: Site,
    cwd: Option<&RootPath>,
    proc: &Proc,
    fault: Fault,
) -> Result<(), Failure> {
    let rootfs = build.rootfs;
    let root = fault.attempt(Step::Pivot, || site.change_root(rootfs.pivot))?;
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
