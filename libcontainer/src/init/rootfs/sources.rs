//! The sources of mounts that are opened before the mounts are made. Runs in the container's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::channel::{At, Channel, Failure};
use crate::plan::mounts::{Mount, What};
use crate::plan::options::{Propagation, SourceLink};
use crate::plan::step::Step;
use crate::sys::fs::CWD;
use crate::sys::mount::{self, Change};
use crate::sys::socket::DESCRIPTORS_MAX;
use crate::sys::{Call, Stop};

/// Sources in the order of their mounts. A few are here, and the runtime is asked for the others: a config may
/// have more mounts than a process may have descriptors.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Room for as many as are here at once.
    here: Vec<Option<OwnedFd>>,
    next: usize,
}

impl Sources {
    /// Begins with these, and has room for `room`, at least as many as one message takes.
    ///
    /// Allocates: called before the clone.
    pub(crate) fn new(first: Vec<OwnedFd>, room: usize) -> Sources {
        let mut here: Vec<_> = first.into_iter().map(Some).collect();
        here.resize_with(room.max(DESCRIPTORS_MAX), || None);
        Sources { here, next: 0 }
    }

    /// Opens the sources of bind mounts from mount `first` on, as far as there is room: in a copy of the host's mount
    /// namespace, or with `host` in that itself.
    pub(super) fn open(
        &mut self,
        mounts: &[Mount],
        first: u16,
        host: Option<Propagation>,
    ) -> Result<(), Failure> {
        let left = mounts.iter().zip(0..).skip(usize::from(first));
        let binds = left.filter(|(mount, _)| mount.is_bind());
        for (place, (mount, i)) in self.here.iter_mut().zip(binds) {
            let What::Bind { source, deep, link, .. } = &mount.what else { continue };
            let path = source.as_c_str();
            let opened = match host {
                Some(host) => clone_host_source(path, *deep, *link, host),
                None => Host::is_in_sight().clone_source(path, *deep, *link),
            };
            *place = Some(opened.at(Step::Mount(i))?);
        }
        Ok(())
    }

    /// Forgets what it has.
    pub(super) fn clear(&mut self) {
        self.here.fill_with(|| None);
    }

    /// The next one is not here.
    pub(super) fn is_empty(&self) -> bool {
        self.here.get(self.next).is_none_or(Option::is_none)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.here.iter().flatten().map(AsRawFd::as_raw_fd)
    }

    /// The source of this mount, the next that needs one. It is closed as soon as it is dropped.
    pub(super) fn take(&mut self, mount: u16, channel: &Channel) -> Result<OwnedFd, Stop> {
        let none = Stop::new(Call::Recv, Errno::EBADMSG);
        if self.is_empty() {
            channel.fetch_sources(mount, self.here.first_chunk_mut().ok_or(none)?)?;
            self.next = 0;
        }
        let source = self.here.get_mut(self.next).and_then(Option::take);
        self.next += 1;
        source.ok_or(none)
    }
}

/// The host's mounts are in sight, in a namespace that is a copy of its own. What looks something up there takes this.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host(());

impl Host {
    /// To be called where that is so.
    pub(super) fn is_in_sight() -> Host {
        Host(())
    }

    /// A detached copy of what is at `path`.
    pub(super) fn clone_tree(self, path: &CStr, deep: bool) -> Result<OwnedFd, Stop> {
        mount::clone_tree(CWD, path, deep)
    }

    /// A detached copy of the source of a bind mount.
    pub(super) fn clone_source(self, path: &CStr, deep: bool, link: SourceLink) -> Result<OwnedFd, Stop> {
        match link {
            SourceLink::Bound => mount::clone_unfollowed(CWD, path, deep),
            // A link to be copied has been by now; this is something else.
            SourceLink::Followed | SourceLink::Copied => mount::clone_tree(CWD, path, deep),
        }
    }
}

/// The plan lets nobody get here without it: a path of the host must not be taken for one of the container's.
pub(super) fn in_sight(host: Option<Host>) -> Result<Host, Stop> {
    host.ok_or(Stop::new(Call::OpenTree, Errno::EXDEV))
}

/// A detached copy of the source of a bind mount, by a process in the host's own mount namespace. It gets the propagation
/// that a namespace made for the container would have given its source: otherwise it would be a peer of the host's mount.
pub(crate) fn clone_host_source(
    path: &CStr,
    deep: bool,
    link: SourceLink,
    host: Propagation,
) -> Result<OwnedFd, Stop> {
    let tree = Host::is_in_sight().clone_source(path, deep, link)?;
    let change = Change { propagation: host.flags & !libc::MS_REC, ..Change::default() };
    mount::change(tree.as_fd(), deep, change).map(|()| tree)
}
