//! The sources of mounts that the runtime opens. Runs in the container's process.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::channel::Channel;
use crate::sys::socket::DESCRIPTORS_MAX;
use crate::sys::{Call, Stop};

/// Sources in the order of their mounts. A few are here, and the runtime is asked for the others: a config may
/// have more mounts than a process may have descriptors.
#[derive(Debug)]
pub(crate) struct Sources {
    here: [Option<OwnedFd>; DESCRIPTORS_MAX],
    next: usize,
}

impl Sources {
    /// Begins with these, at most as many as fit into one message.
    pub(crate) fn new(first: Vec<OwnedFd>) -> Sources {
        let mut sources = Sources { here: [const { None }; DESCRIPTORS_MAX], next: 0 };
        for (place, source) in sources.here.iter_mut().zip(first) {
            *place = Some(source);
        }
        sources
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.here.iter().flatten().map(AsRawFd::as_raw_fd)
    }

    /// The next source. It is closed as soon as it is dropped.
    pub(super) fn take(&mut self, channel: &Channel) -> Result<OwnedFd, Stop> {
        if self.here.get(self.next).is_none_or(Option::is_none) {
            channel.fetch_sources(&mut self.here)?;
            self.next = 0;
        }
        let source = self.here.get_mut(self.next).and_then(Option::take);
        self.next += 1;
        source.ok_or(Stop::new(Call::Recv, Errno::EBADMSG))
    }
}
