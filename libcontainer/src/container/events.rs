//! What happens to a container, told by the kernel: that its memory limit is hit, and that it ends. Runs in the
//! runtime's process.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Container;
use crate::error::{Error, ErrorKind};
use crate::plan::facts::CgroupVersion;
use crate::stats::keyed;

/// Descriptors to wait at, beside the caller's own.
#[derive(Debug)]
pub struct Events {
    init: OwnedFd,
    memory: Option<Memory>,
}

/// Where the kernel says that a memory limit is hit.
#[derive(Debug)]
enum Memory {
    /// A file that changes whenever one of its counters does.
    Unified { events: File, kills: u64 },
    /// A counter of its own.
    Legacy { counter: EventFd, directory: PathBuf },
}

impl Container {
    /// What happens to it from now on.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// let mut events = container.events()?;
    /// // Wait with poll(2) until one of `events.init()` and `events.memory()` is ready; then:
    /// println!("killed for its memory: {}", events.is_out_of_memory());
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container has stopped.
    pub fn events(&self) -> Result<Events, Error> {
        self.runs()?;
        let gone = || Error::new(ErrorKind::State, format!("container with id {} is not running", self.id()));
        let init = self.pidfd().ok_or_else(gone)?;
        let memory = self.record.cgroups.iter().find_map(|directory| {
            // A kernel for real-time does not tell of version 1; statistics are there all the same.
            Memory::watch(directory.version, &directory.path).unwrap_or_else(|error| {
                let path = directory.path.display();
                tracing::warn!("cgroup {path}: it will not be told that memory runs out: {error}");
                None
            })
        });
        Ok(Events { init, memory })
    }
}

impl Events {
    /// Readable when the first process has ended. Whoever sees that asks once more for what was before it:
    /// [`Events::is_out_of_memory`].
    #[must_use]
    pub fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// Ready when the memory has something to tell; none if nothing is known of the memory, or not any more.
    #[must_use]
    pub fn memory(&self) -> Option<PollFd<'_>> {
        self.memory.as_ref().map(|memory| match memory {
            Memory::Unified { events, .. } => PollFd::new(events.as_fd(), PollFlags::POLLPRI),
            Memory::Legacy { counter, .. } => PollFd::new(counter.as_fd(), PollFlags::POLLIN),
        })
    }

    /// Whether the memory ran out since this was last asked. Does not wait.
    pub fn is_out_of_memory(&mut self) -> bool {
        match self.memory.as_mut().map(Memory::ran_out) {
            Some(Some(ran_out)) => ran_out,
            // The cgroup is gone, and would be ready for ever.
            Some(None) => {
                self.memory = None;
                false
            }
            None => false,
        }
    }
}

impl Memory {
    /// Begins to watch the cgroup, if it has the memory controller.
    fn watch(version: CgroupVersion, directory: &Path) -> std::io::Result<Option<Memory>> {
        let name = match version {
            CgroupVersion::V2 => "memory.events",
            CgroupVersion::V1 => "memory.oom_control",
        };
        let mut file = match File::open(directory.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if version == CgroupVersion::V2 {
            let kills = kills(&mut file)?;
            return Ok(Some(Memory::Unified { events: file, kills }));
        }
        let counter = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        // In one write: the kernel reads a pair of descriptors.
        let pair = format!("{} {}", counter.as_fd().as_raw_fd(), file.as_raw_fd());
        File::options().write(true).open(control(directory))?.write_all(pair.as_bytes())?;
        Ok(Some(Memory::Legacy { counter, directory: directory.to_owned() }))
    }

    /// Whether the memory ran out since; none if the cgroup is gone.
    fn ran_out(&mut self) -> Option<bool> {
        match self {
            Memory::Unified { events, kills: before } => {
                let now = kills(events).ok()?;
                Some(std::mem::replace(before, now) < now)
            }
            Memory::Legacy { counter, directory } => match counter.read() {
                // The kernel counts the removal of the cgroup, too.
                Ok(_) => control(directory).exists().then_some(true),
                Err(Errno::EAGAIN | Errno::EINTR) => Some(false),
                Err(_) => None,
            },
        }
    }
}

fn control(directory: &Path) -> PathBuf {
    directory.join("cgroup.event_control")
}

fn kills(events: &mut File) -> std::io::Result<u64> {
    let mut text = String::new();
    events.rewind()?;
    events.read_to_string(&mut text)?;
    Ok(keyed(&text).get("oom_kill").copied().unwrap_or_default())
}
