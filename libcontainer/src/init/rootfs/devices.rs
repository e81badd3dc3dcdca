//! Makes device nodes and the links of /dev. Runs in the container's process.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;

use super::sources::Host;
use crate::plan::devices::{Device, Link};
use crate::sys::fs::{self, Kind};
use crate::sys::{Call, Nearby, Proc, Root, Stop, mount};

/// Makes a device node; one that is there already has to be the same.
pub(super) fn make<'d>(
    root: &Root,
    nearby: &mut Nearby<'d>,
    device: &'d Device,
    proc: &Proc,
) -> Result<(), Stop> {
    let (parent, name) = nearby.parent(root, &device.path)?;
    let number = libc::makedev(device.major, device.minor);
    let made = match fs::make_node(parent, name, device.kind | device.mode, number) {
        Err(stop) if stop.is(Errno::EEXIST) => false,
        other => {
            other?;
            true
        }
    };
    let kind = check(fs::kind_at(parent, name)?, device)?;
    let finished = kind.owner == (device.uid, device.gid) && kind.mode & 0o7777 == device.mode;
    if !made || finished {
        return Ok(());
    }
    let node = fs::open(parent, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let kind = check(fs::kind(node.as_fd())?, device)?;
    // A directory can give what is made in it a group and permissions (setgid, acl(5)).
    if kind.owner != (device.uid, device.gid) {
        fs::change_owner(node.as_fd(), c"", device.uid, device.gid)?;
    }
    // After the owner, because changing that takes the set-id bits away.
    if fs::kind(node.as_fd())?.mode & 0o7777 != device.mode {
        proc.change_mode(node.as_fd(), device.mode)?;
    }
    Ok(())
}

/// Binds the host's device node, where the kernel does not let the container have its own.
pub(super) fn bind<'d>(
    root: &Root,
    nearby: &mut Nearby<'d>,
    device: &'d Device,
    host: Host,
    proc: &Proc,
) -> Result<(), Stop> {
    if device.kind == libc::S_IFIFO {
        return make(root, nearby, device, proc);
    }
    let tree = host.clone_tree(device.source.as_c_str(), false)?;
    check(fs::kind(tree.as_fd())?, device)?;
    mount::attach(tree.as_fd(), root.make_file(&device.path)?.as_fd())
}

fn check(kind: Kind, device: &Device) -> Result<Kind, Stop> {
    let same_number = device.kind == libc::S_IFIFO || kind.device == (device.major, device.minor);
    if kind.format() == device.kind && same_number {
        Ok(kind)
    } else {
        Err(Stop::new(Call::Mknod, Errno::EEXIST))
    }
}

/// Makes a symbolic link, unless one is there.
pub(super) fn link<'l>(root: &Root, nearby: &mut Nearby<'l>, link: &'l Link) -> Result<(), Stop> {
    let (parent, name) = nearby.parent(root, &link.path)?;
    if link.replace {
        match fs::remove(parent, name, false) {
            Err(stop) if stop.is(Errno::ENOENT) => {}
            other => other?,
        }
    }
    match fs::make_link(parent, name, link.target.as_c_str()) {
        Err(stop) if stop.is(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
