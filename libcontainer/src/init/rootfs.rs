//! Builds the container's root file system and changes into it. Runs in the container's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::channel::Failure;
use crate::fault::Fault;
use crate::hooks::{Program as Hook, StateText};
use crate::path::{PATH_MAX, RootPath};
use crate::plan::devices::{Device, Link};
use crate::plan::mounts::{Mount, Rootfs, TreeHierarchy, What};
use crate::plan::options::Attributes;
use crate::plan::process::Kernel;
use crate::plan::step::Step;
use crate::sys::fs::{self, CWD, Proc};
use crate::sys::mount::{self, Change};
use crate::sys::{Call, Root, Stop, attributes};

/// The container to build, with the descriptors it takes.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    /// The file system, as decided.
    pub(crate) rootfs: &'a Rootfs,
    /// Host name and kernel parameters.
    pub(crate) kernel: &'a Kernel,
    /// For each mount its source, if the runtime has opened it.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    /// The runtime waits for the environment, to run hooks.
    pub(crate) announce: bool,
    /// Hooks to run before the root is changed.
    pub(crate) create_container: Vec<Hook<'a>>,
    /// Hooks to run before the program.
    pub(crate) start_container: Vec<Hook<'a>>,
    /// The container's state for createContainer hooks.
    pub(crate) state: StateText,
    /// The container's state for startContainer hooks: it is created by then.
    pub(crate) start_state: StateText,
}

impl Build<'_> {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.sources.iter().flatten().map(AsRawFd::as_raw_fd)
    }
}

/// Builds everything below the new root, which is attached where the rootfs was.
pub(super) fn build(build: &Build<'_>, fault: Fault) -> Result<Root, Failure> {
    let rootfs = build.rootfs;
    fault.attempt(Step::Propagation, || mount::change_at(c"/", rootfs.host_propagation.flags))?;
    let mut root = fault.attempt(Step::Root, || attach_root(rootfs))?;
    for ((entry, source), i) in rootfs.mounts.iter().zip(&build.sources).zip(0..) {
        fault.attempt(Step::Mount(i), || add(&root, entry, source.as_ref()))?;
        if entry.destination.is_root() {
            // What is looked up from here on is below the new mount.
            root = fault.attempt(Step::Mount(i), || open_root(rootfs.path.as_c_str()))?;
        }
    }
    for (device, i) in rootfs.devices.iter().zip(0..) {
        let make = if rootfs.bind_devices { bind_device } else { make_device };
        fault.attempt(Step::Device(i), || make(&root, device))?;
    }
    for (link, i) in rootfs.links.iter().zip(0..) {
        fault.attempt(Step::Link(i), || make_link(&root, link))?;
    }
    Ok(root)
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

/// Does one entry of `mounts`.
fn add(root: &Root, entry: &Mount, source: Option<&OwnedFd>) -> Result<(), Stop> {
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
        What::Remount { flags, data } => {
            mount::remount(root.open(destination, libc::O_PATH)?.as_fd(), *flags, data.as_c_str())?;
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
fn mount_on(target: &OwnedFd, source: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<(), Stop> {
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
            make_link(root, link)?;
        }
    }
    if flags & libc::MS_RDONLY != 0 {
        let tree = root.open(destination, libc::O_PATH)?;
        change_attributes(tree.as_fd(), false, attributes_of(flags))?;
    }
    Ok(())
}

/// Makes a device node; one that is there already has to be the same.
fn make_device(root: &Root, device: &Device) -> Result<(), Stop> {
    let (parent, name) = root.make_parent(&device.path)?;
    let number = libc::makedev(device.major, device.minor);
    let made = match fs::make_node(parent.as_fd(), name, device.kind | device.mode, number) {
        Err(stop) if stop.is(Errno::EEXIST) => false,
        other => {
            other?;
            true
        }
    };
    let node = fs::open(parent.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    check_device(node.as_fd(), device)?;
    if made && (device.uid, device.gid) != (0, 0) {
        fs::change_owner(node.as_fd(), c"", device.uid, device.gid)?;
    }
    Ok(())
}

/// Binds the host's device node, where the kernel does not let the container have its own.
fn bind_device(root: &Root, device: &Device) -> Result<(), Stop> {
    if device.kind == libc::S_IFIFO {
        return make_device(root, device);
    }
    let tree = mount::clone_tree(CWD, device.source.as_c_str(), false)?;
    check_device(tree.as_fd(), device)?;
    mount::attach(tree.as_fd(), root.make_file(&device.path)?.as_fd())
}

fn check_device(node: BorrowedFd<'_>, device: &Device) -> Result<(), Stop> {
    let kind = fs::kind(node)?;
    let same_number = device.kind == libc::S_IFIFO || kind.device == (device.major, device.minor);
    if kind.format() == device.kind && same_number {
        Ok(())
    } else {
        Err(Stop::new(Call::Mknod, Errno::EEXIST))
    }
}

fn make_link(root: &Root, link: &Link) -> Result<(), Stop> {
    let (parent, name) = root.make_parent(&link.path)?;
    if link.replace {
        match fs::remove(parent.as_fd(), name, false) {
            Err(stop) if stop.is(Errno::ENOENT) => {}
            other => other?,
        }
    }
    match fs::make_link(parent.as_fd(), name, link.target.as_c_str()) {
        Err(stop) if stop.is(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Changes into the new root and hides what is to be hidden there.
pub(super) fn change_root(build: &Build<'_>, root: Root, proc: &Proc, fault: Fault) -> Result<(), Failure> {
    let rootfs = build.rootfs;
    let root = fault.attempt(Step::Pivot, || if rootfs.pivot { pivot(root) } else { move_root(root) })?;
    set_kernel(build.kernel, proc, fault)?;
    for (path, i) in rootfs.readonly_paths.iter().zip(0..) {
        fault.attempt(Step::ReadonlyPath(i), || make_read_only(&root, path))?;
    }
    let mut masks = Masks::default();
    for (path, i) in rootfs.masked.iter().zip(0..) {
        fault.attempt(Step::Mask(i), || masks.cover(&root, path))?;
    }
    fault.attempt(Step::ReadonlyRoot, || seal(&root, rootfs))
}

fn pivot(root: Root) -> Result<Root, Stop> {
    fs::change_directory(root.fd())?;
    mount::pivot_here()?;
    // The old root lies on top now. Its unmounting must not reach the host.
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

/// Covers a path with a read-only copy of itself; a path that is not there needs none.
fn make_read_only(root: &Root, path: &RootPath) -> Result<(), Stop> {
    let target = match root.open(path, libc::O_PATH) {
        Err(stop) if is_absent(stop) => return Ok(()),
        other => other?,
    };
    let tree = mount::clone_tree(target.as_fd(), c"", true)?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    mount::change(tree.as_fd(), false, Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() })
}

fn is_absent(stop: Stop) -> bool {
    stop.is(Errno::ENOENT) || stop.is(Errno::ENOTDIR)
}

/// What masked paths are covered with. One tmpfs serves all directories: superblocks are dear.
#[derive(Default)]
struct Masks {
    empty: Option<OwnedFd>,
    null: Option<OwnedFd>,
}

impl Masks {
    fn cover(&mut self, root: &Root, path: &RootPath) -> Result<(), Stop> {
        let target = match root.open(path, libc::O_PATH) {
            Err(stop) if is_absent(stop) => return Ok(()),
            other => other?,
        };
        if !fs::kind(target.as_fd())?.is_directory() {
            let null = match &self.null {
                Some(null) => null,
                None => self.null.insert(open_null(root)?),
            };
            return cover_with(null, &target);
        }
        if let Some(empty) = &self.empty {
            return cover_with(empty, &target);
        }
        // Two inodes: the kernel of Ubuntu 20.04 refuses one.
        let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount_on(&target, c"tmpfs", c"tmpfs", flags, c"mode=755,nr_blocks=1,nr_inodes=2")?;
        self.empty = Some(root.open(path, libc::O_PATH)?);
        fs::change_directory(root.fd())
    }
}

fn cover_with(source: &OwnedFd, target: &OwnedFd) -> Result<(), Stop> {
    let tree = mount::clone_tree(source.as_fd(), c"", false)?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// The container's null device, checked to be it: an image may have put something else there (CVE-2025-31133).
fn open_null(root: &Root) -> Result<OwnedFd, Stop> {
    let (parent, name) = (root.open_known(c"/dev", libc::O_PATH | libc::O_DIRECTORY)?, c"null");
    let null = fs::open(parent.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let kind = fs::kind(null.as_fd())?;
    if kind.format() == libc::S_IFCHR && kind.device == (1, 3) {
        Ok(null)
    } else {
        Err(Stop::new(Call::Open, Errno::ENODEV))
    }
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
