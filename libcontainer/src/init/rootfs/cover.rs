//! Covers what the container is not to see, or not to change. Runs in the container's process.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::mounts::mount_on;
use crate::path::RootPath;
use crate::sys::mount::{self, Change};
use crate::sys::{Call, Root, Stop, fs};

/// Covers a path with a read-only copy of itself; a path that is not there needs none.
pub(super) fn make_read_only(root: &Root, path: &RootPath) -> Result<(), Stop> {
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
pub(super) struct Masks {
    empty: Option<OwnedFd>,
    null: Option<OwnedFd>,
}

impl Masks {
    /// Covers one path, if it is there.
    pub(super) fn cover(&mut self, root: &Root, path: &RootPath) -> Result<(), Stop> {
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
