//! Waiting for events, never for time: deadlines, the end of a process, a file that appears.

mod pidfd;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::Error;

pub use pidfd::Pidfd;

/// A point in time after which waiting is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    /// This long from now.
    pub fn after(within: Duration) -> Deadline {
        Deadline { at: Instant::now() + within, within }
    }

    /// How long was granted.
    pub fn within(self) -> Duration {
        self.within
    }

    /// What is left, rounded up to a millisecond so that poll(2) does not spin at the end.
    fn timeout(self) -> PollTimeout {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return PollTimeout::ZERO;
        }
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }
}

/// Waits until one of the descriptors is ready; `false` when the deadline passed first.
pub(crate) fn ready(fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<bool, Error> {
    loop {
        match poll(fds, deadline.timeout()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::System { call: "poll", errno }),
        }
    }
}

/// Waits until `accept` likes the file's content, looking again whenever its directory changes. The file
/// need not exist yet, its directory must. Returns the content.
pub fn for_file(
    path: &Path,
    deadline: Deadline,
    mut accept: impl FnMut(&str) -> bool,
) -> Result<String, Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).map_err(Error::system("inotify_init"))?;
    let events = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
    changes
        .add_watch(directory, events | AddWatchFlags::IN_MODIFY)
        .map_err(Error::system("inotify_add_watch"))?;
    loop {
        // The watch is older than the look, so no change falls between the two.
        match std::fs::read_to_string(path) {
            Ok(text) if accept(&text) => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file(path)(error)),
        }
        if !for_events(&changes, deadline)? {
            return Err(Error::Deadline {
                awaited: path.display().to_string(),
                within: deadline.within(),
                stdout: String::new(),
                stderr: String::new(),
            });
        }
    }
}

/// Waits until something happens to what is watched, and takes note of it; `false` when the deadline passed first.
pub fn for_events(changes: &Inotify, deadline: Deadline) -> Result<bool, Error> {
    let happened = ready(&mut [PollFd::new(changes.as_fd(), PollFlags::POLLIN)], deadline)?;
    if happened {
        changes.read_events().map_err(Error::system("read of inotify"))?;
    }
    Ok(happened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_later_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "here").unwrap()
        });
        let text = for_file(&path, Deadline::after(Duration::from_secs(10)), |text| text == "here").unwrap();
        writer.join().unwrap();
        assert_eq!(text, "here");
    }

    #[test]
    fn a_file_that_never_appears_is_a_missed_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let never = for_file(&dir.path().join("never"), Deadline::after(Duration::ZERO), |_| true);
        assert!(matches!(never, Err(Error::Deadline { .. })));
    }
}
