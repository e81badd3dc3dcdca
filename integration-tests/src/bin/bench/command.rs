//! Runs one command to its end or its deadline, and times it. Runs in the inner process.

use std::fmt;
use std::io;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// Why a command does not count.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was killed at the deadline.
    Deadline(Duration),
    /// It ended, but not well.
    Status(ExitStatus),
    /// It could not be started, waited for, or understood.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(limit) => write!(f, "killed after {} s", limit.as_secs()),
            Self::Status(status) => write!(f, "{status}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl<E: Into<io::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// What the watchdog has to kill, and when.
#[derive(Debug)]
enum Watch {
    Idle,
    Until(Instant, Pid),
    Fired,
}

/// A thread that kills the watched process at its deadline. It looks once in a [`Watchdog::TICK`] and is
/// never woken, as waking it would take one of the processors that are being measured.
#[derive(Debug)]
pub(crate) struct Watchdog {
    watch: Arc<Mutex<Watch>>,
    /// Dropped with the watchdog; that ends the thread.
    _alive: Sender<()>,
}

impl Watchdog {
    const TICK: Duration = Duration::from_millis(500);

    /// Starts the thread.
    pub(crate) fn new() -> Self {
        let watch = Arc::new(Mutex::new(Watch::Idle));
        let (alive, ended) = mpsc::channel::<()>();
        let shared = Arc::clone(&watch);
        thread::spawn(move || {
            while ended.recv_timeout(Self::TICK) == Err(RecvTimeoutError::Timeout) {
                Self::look(&shared);
            }
        });
        Self { watch, _alive: alive }
    }

    fn look(watch: &Mutex<Watch>) {
        // Held while killing: the waiter reaps only after it has taken the lock, so the pid is still the
        // child's.
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Watch::Until(deadline, pid) = *watch
            && Instant::now() >= deadline
        {
            let _ = kill(pid, Signal::SIGKILL);
            *watch = Watch::Fired;
        }
    }

    fn set(&self, next: Watch) -> Watch {
        std::mem::replace(&mut *self.watch.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    /// Waits until a child has ended, without reaping it; gives the moment.
    pub(crate) fn await_end(&self, child: Pid, limit: Duration) -> Result<Instant, Failure> {
        self.set(Watch::Until(Instant::now() + limit, child));
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let waited = loop {
            match waitid(Id::Pid(child), flags) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        let end = Instant::now();
        match self.set(Watch::Idle) {
            Watch::Fired => Err(Failure::Deadline(limit)),
            Watch::Idle | Watch::Until(..) => Ok(waited.map(|_| end)?),
        }
    }

    /// Runs a command; gives the time from before its spawn until it has ended. Success is exit code 0.
    pub(crate) fn time(&self, command: &mut Command, limit: Duration) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let end = self.await_end(Pid::from_raw(pid), limit);
        let status = child.wait()?;
        let elapsed = end?.duration_since(begin);
        if status.success() { Ok(elapsed) } else { Err(Failure::Status(status)) }
    }
}
