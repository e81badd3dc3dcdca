//! A new file system that is made and changed before it is attached. Runs in the container's process; with mapped
//! ids the runtime's process makes it.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::copy_up;
use crate::path::KernelString;
use crate::plan::mounts::{Detached, Parameter};
use crate::sys::mount::{self, Change, Context};
use crate::sys::{Stop, copy};

/// Makes it, as a detached mount.
pub(crate) fn make(context: &Context, new: &Detached) -> Result<OwnedFd, Stop> {
    context.set(c"source", Some(new.source.as_c_str()))?;
    for Parameter { key, value } in &new.parameters {
        context.set(key.as_c_str(), value.as_ref().map(KernelString::as_c_str))?;
    }
    context.mount(new.attributes)
}

/// Gives it what the directory that it will cover has; `present` are the permissions of one that was there before.
pub(super) fn furnish(
    tree: BorrowedFd<'_>,
    new: &Detached,
    present: Option<u32>,
    covered: BorrowedFd<'_>,
) -> Result<(), Stop> {
    if let Some(mode) = present.filter(|_| new.inherits_mode) {
        match copy::set_mode(tree, c".", mode) {
            // Its ids are mapped to some that are not the container's.
            Err(stop) if stop.is(Errno::EPERM) => {}
            other => other?,
        }
    }
    if let Some(copy_up) = new.copy_up {
        copy_up::copy(covered, tree, copy_up)?;
    }
    if new.readonly {
        mount::change(tree, false, Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() })?;
    }
    Ok(())
}
