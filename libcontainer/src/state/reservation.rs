//! A place for a container that is being made. It goes again if that fails.

use std::os::fd::OwnedFd;

use nix::fcntl::Flock;

use super::Entry;

/// A container's directory that goes again unless it is committed.
#[derive(Debug)]
pub struct Reservation {
    entry: Option<Entry>,
    _lock: Flock<OwnedFd>,
}

impl Reservation {
    /// Of a directory that has just been made, and is locked.
    pub(super) fn new(entry: Entry, lock: Flock<OwnedFd>) -> Reservation {
        Reservation { entry: Some(entry), _lock: lock }
    }

    /// The directory.
    ///
    /// # Panics
    /// Never: only [`Reservation::commit`] takes it out.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        self.entry.as_ref().expect("a reservation holds its entry until it is committed")
    }

    /// Keeps the directory.
    #[must_use]
    pub fn commit(mut self) -> Entry {
        self.entry.take().expect("a reservation holds its entry until it is committed")
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // The error that leads here is the one to report.
            let _unremovable = entry.remove();
        }
    }
}
