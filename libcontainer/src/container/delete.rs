//! Ends containers: signals to all their processes, and `delete`. A container is known by its cgroup; one without is
//! known by its pid namespace.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use oci_spec::runtime::LinuxNamespaceType;

use crate::error::{Error, ErrorKind};
use crate::host;
use crate::launch::{cgroup, freezer, rdt, systemd};
use crate::sys::{Stop, process};
use crate::timeline::{self, Phase};

use super::{Container, Status, run_poststop};

/// How long `delete` waits for processes that it has killed.
const DEATH: Duration = Duration::from_secs(10);

/// The kernel tells no more often than this of changes in a cgroup; of the end of a process it tells at once.
const EVENTS: Duration = Duration::from_millis(10);

impl Container {
    /// Removes the container and everything made for it. One that runs is refused unless `force` says to kill
    /// it; one that was never started is killed in any case, as clients expect.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// container.delete(true)?;
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container runs, or a process of it does not die.
    pub fn delete(self, force: bool) -> Result<(), Error> {
        let status = self.status();
        if !force && !matches!(status, Status::Stopped | Status::Created) {
            return Err(self.not_stopped(status));
        }
        self.destroy(status)
    }

    /// As [`Container::delete`] without force, of a container that is stopped and in no other state. Spec:
    /// runtime.md#delete.
    ///
    /// # Errors
    /// The container is not stopped.
    pub fn delete_stopped(self) -> Result<(), Error> {
        match self.status() {
            status @ Status::Stopped => self.destroy(status),
            status => Err(self.not_stopped(status)),
        }
    }

    fn not_stopped(&self, status: Status) -> Error {
        let (id, word) = (self.id(), status.word());
        let says =
            format!("cannot delete container {id} that is not stopped: {word}; kill it, or use --force");
        Error::new(ErrorKind::State, says)
    }

    /// Removes the container, which was in this state a moment ago.
    pub(super) fn destroy(&self, status: Status) -> Result<(), Error> {
        timeline::during(Phase::Delete, || self.remove(status))
    }

    fn remove(&self, status: Status) -> Result<(), Error> {
        let deadline = Instant::now() + DEATH;
        let unused = self.record.unit.is_none() && cgroup::remove_unused(&self.record.cgroups);
        let killed = if unused { Ok(()) } else { cgroup::signal_all(&self.record.cgroups, libc::SIGKILL) };
        if !unused {
            freezer::let_die(&self.record.cgroups);
        }
        // Nobody is left in the cgroup, and the first process had ended before, wherever it was.
        let is_over = unused && status == Status::Stopped;
        let init = if is_over { None } else { self.pidfd() };
        if let Some(pidfd) = &init {
            // Without the right to use the cgroup, or when it has left it, the first process alone can be reached.
            let sent = process::send_signal(pidfd.as_fd(), libc::SIGKILL);
            if let (Err(stop), Err(_)) = (sent, killed) {
                return Err(Error::new(ErrorKind::System, format!("kill container {}: {stop}", self.id()))
                    .because(stop));
            }
        }
        if let Some(unit) = &self.record.unit {
            systemd::stop(unit).map_err(|says| {
                Error::new(ErrorKind::System, format!("systemd unit {}: {says}", unit.name))
            })?;
        }
        if let Some(pidfd) = &init {
            // Mostly all others end with it, and the cgroup can be removed. If not, its events will tell.
            let _sooner = process::has_ended(pidfd.as_fd(), EVENTS);
        }
        cgroup::remove_all(&self.record.cgroups, deadline)?;
        if let Some(pidfd) = &init {
            self.await_end(pidfd.as_fd(), deadline)?;
        }
        for group in self.record.resctrl.iter().flat_map(|resctrl| &resctrl.made) {
            rdt::remove(group).map_err(|stop| {
                Error::new(ErrorKind::System, format!("resctrl group {}: {stop}", group.display()))
                    .because(stop)
            })?;
        }
        self.entry.remove()?;
        run_poststop(&self.record);
        Ok(())
    }

    /// Waits until the first process is dead, wherever it is. It need not be reaped, and nor need others: the first
    /// one of a pid namespace stays in the kernel as long as somebody outside leaves one of that namespace unreaped,
    /// as who runs a program by `exec` and does not wait for it.
    fn await_end(&self, init: BorrowedFd<'_>, deadline: Instant) -> Result<(), Error> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let pid = self.record.process.map_or(0, |init| init.pid);
        let others = || self.living().unwrap_or_default().into_iter().find(|other| *other != pid);
        // With a cgroup all others are known to be dead.
        if self.record.cgroups.is_empty() {
            while let Some(other) = others() {
                let ended = match process::pidfd_open(other) {
                    Err(stop) if stop.is(Errno::ESRCH) => Ok(true),
                    other => other.and_then(|pidfd| process::has_ended(pidfd.as_fd(), left())),
                };
                if ended != Ok(true) {
                    return Err(self.immortal(other));
                }
            }
        }
        let is_dead = || host::look_at(pid).is_none_or(|seen| seen.is_ending);
        if is_dead() || process::has_ended(init, left()) == Ok(true) || is_dead() {
            return Ok(());
        }
        Err(self.immortal(pid))
    }

    fn immortal(&self, pid: i32) -> Error {
        let (id, seconds) = (self.id(), DEATH.as_secs());
        let what = host::describe(pid).unwrap_or_else(|| pid.to_string());
        let says = format!("container {id}: process {what} does not die within {seconds} s");
        Error::new(ErrorKind::System, says)
    }

    /// Sends a signal to every process of the container; the kernel's refusal is the inner result.
    ///
    /// # Errors
    /// There is neither a cgroup nor a pid namespace to find them by.
    pub(super) fn signal_all(&self, signal: i32) -> Result<Result<(), Stop>, Error> {
        if !self.record.cgroups.is_empty() {
            return Ok(cgroup::signal_all(&self.record.cgroups, signal));
        }
        if self.living().is_none() {
            let says = "its first process alone can be signalled; leave --all out";
            return Err(self.without_cgroup(says));
        }
        Ok(cgroup::signal_each(signal, || Ok(self.living().unwrap_or_default())))
    }

    /// The living processes of a container without a cgroup: those of its pid namespace. `None` if it has none of
    /// its own.
    pub(super) fn living(&self) -> Option<Vec<i32>> {
        let Some(init) = self.pidfd() else {
            // The first process of a pid namespace is reaped last of all.
            return self.makes_pid_namespace().then(Vec::new);
        };
        let living = host::pid_namespace_of(self.record.process.map_or(0, |init| init.pid));
        drop(init);
        living
    }

    fn makes_pid_namespace(&self) -> bool {
        let spec = self.config().ok();
        let linux = spec.as_ref().and_then(|spec| spec.linux().as_ref());
        let mut namespaces = linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
        namespaces.any(|ns| ns.typ() == LinuxNamespaceType::Pid && ns.path().is_none())
    }

    pub(super) fn without_cgroup(&self, says: &str) -> Error {
        let id = self.id();
        Error::new(
            ErrorKind::State,
            format!("container {id} has neither a cgroup nor a pid namespace: {says}"),
        )
    }
}
