//! The verbs: what can be done with containers. Runs in the runtime's process.

mod agent;
mod create;
mod exec;
mod pause;
mod start;
mod update;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::libc;
use oci_spec::runtime::Spec;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::hooks::{self, Stage, StateText, Streams};
use crate::host;
use crate::launch::{cgroup, rdt};
use crate::plan::document;
use crate::plan::hooks::Hook;
use crate::state::{Entry, Identity, Record, Store};
use crate::sys::{Stop, process};

pub use create::{Options, Running, compile, create, run};
pub use exec::ExecOptions;
pub use update::Update;

/// How long `delete` waits for processes that it has killed.
const DEATH: Duration = Duration::from_secs(10);

/// Where in its life a container is. Looked up, never remembered. Spec: runtime.md#state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being created.
    Creating,
    /// Its program has not been started.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A container's state, as the specification has it, and what runc adds. Spec: runtime.md#state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are the specification's")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    pub rootfs: String,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    entry: Entry,
    record: Record,
}

/// The states of all containers in `store`, by id. One whose record cannot be read is left out, and so is one
/// that is deleted meanwhile.
///
/// ```no_run
/// use libcontainer::{Status, Store, list};
///
/// let running = list(&Store::new("/run/example"))?.into_iter().filter(|state| state.status == Status::Running);
/// println!("{} run", running.count());
/// # Ok::<(), libcontainer::Error>(())
/// ```
///
/// # Errors
/// The store cannot be read.
pub fn list(store: &Store) -> Result<Vec<State>, Error> {
    let containers = store.ids()?.into_iter().filter_map(|id| Container::open(store, &id).ok());
    Ok(containers.map(|container| container.state()).collect())
}

impl Container {
    /// Opens the container `id`.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is none.
    pub fn open(store: &Store, id: &str) -> Result<Container, Error> {
        let entry = store.open(id)?;
        let record = entry.record()?;
        Ok(Container { entry, record })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.entry.id()
    }

    /// Where in its life it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let Some(init) = self.record.process else {
            let created = self.entry.is_being_created();
            return if created { Status::Creating } else { Status::Stopped };
        };
        match host::look_at(init.pid) {
            Some(seen) if seen.start_time == init.start_time && !seen.is_zombie => {
                if self.entry.is_being_created() {
                    Status::Creating
                } else if cgroup::is_frozen(&self.record.cgroups) {
                    // Before created: whoever started it would wait for a process that cannot answer.
                    Status::Paused
                } else if self.entry.awaits_start() {
                    Status::Created
                } else {
                    Status::Running
                }
            }
            _ => Status::Stopped,
        }
    }

    /// Its state.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// println!("{}", container.state().status.word());
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        State::of(&self.record, self.status())
    }

    /// Sends a signal to the first process, or with `all` to every process of the container.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// const SIGTERM: i32 = 15;
    /// container.kill(SIGTERM, false)?;
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container has no such process any more, or the signal is none.
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), Error> {
        let failed =
            |stop: Stop| Error::new(ErrorKind::System, format!("unable to signal init: {}", stop.reason()));
        if all {
            cgroup::signal_all(&self.record.cgroups, signal).map_err(failed)?;
        } else {
            let status = self.status();
            let init =
                self.init().filter(|_| matches!(status, Status::Created | Status::Running | Status::Paused));
            let Some(pidfd) = init else { return Err(Error::new(ErrorKind::State, "container not running")) };
            process::send_signal(pidfd.as_fd(), signal).map_err(failed)?;
        }
        if signal == libc::SIGKILL {
            // Version 1 keeps a frozen process from dying.
            cgroup::thaw(&self.record.cgroups);
        }
        Ok(())
    }

    /// The first process, if it has not been reaped and its number given to another.
    fn init(&self) -> Option<OwnedFd> {
        let Identity { pid, start_time } = self.record.process?;
        let pidfd = process::pidfd_open(pid).ok()?;
        let seen = host::look_at(pid)?;
        (seen.start_time == start_time).then_some(pidfd)
    }

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
        self.destroy()
    }

    /// As [`Container::delete`] without force, of a container that is stopped and in no other state. Spec:
    /// runtime.md#delete.
    ///
    /// # Errors
    /// The container is not stopped.
    pub fn delete_stopped(self) -> Result<(), Error> {
        match self.status() {
            Status::Stopped => self.destroy(),
            status => Err(self.not_stopped(status)),
        }
    }

    fn not_stopped(&self, status: Status) -> Error {
        let (id, word) = (self.id(), status.word());
        let says =
            format!("cannot delete container {id} that is not stopped: {word}; kill it, or use --force");
        Error::new(ErrorKind::State, says)
    }

    fn destroy(&self) -> Result<(), Error> {
        let killed = cgroup::signal_all(&self.record.cgroups, libc::SIGKILL);
        cgroup::thaw(&self.record.cgroups);
        if let Some(pidfd) = self.init() {
            // Without a cgroup, or without the right to use it, the first process alone can be reached.
            let sent = process::send_signal(pidfd.as_fd(), libc::SIGKILL);
            if let (Err(stop), Err(_)) = (sent, killed) {
                return Err(Error::new(ErrorKind::System, format!("kill container {}: {stop}", self.id())));
            }
            let ended = process::has_ended(pidfd.as_fd(), DEATH);
            if ended != Ok(true) {
                let pid = self.record.process.map_or(0, |init| init.pid);
                return Err(Error::new(
                    ErrorKind::System,
                    format!(
                        "container {}: process {pid} does not die within {} s",
                        self.id(),
                        DEATH.as_secs()
                    ),
                ));
            }
        }
        let deadline = Instant::now() + DEATH;
        for directory in &self.record.cgroups {
            cgroup::remove(directory, deadline)?;
        }
        for group in self.record.resctrl.iter().flat_map(|resctrl| &resctrl.made) {
            rdt::remove(group).map_err(|stop| {
                Error::new(ErrorKind::System, format!("resctrl group {}: {stop}", group.display()))
            })?;
        }
        self.entry.remove()?;
        run_poststop(&self.record);
        Ok(())
    }

    /// The pids of all its processes, as the runtime sees them.
    ///
    /// # Errors
    /// The cgroup cannot be read, or there is none.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let directory = self.record.cgroups.last().ok_or_else(|| {
            Error::new(
                ErrorKind::State,
                format!("container {} has no cgroup to list processes from", self.id()),
            )
        })?;
        let mut pids = cgroup::processes(&directory.path).map_err(|stop| {
            Error::new(ErrorKind::System, format!("cgroup {}: {stop}", directory.path.display()))
        })?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// The config as it was when the container was created.
    fn config(&self) -> Result<Spec, Error> {
        let (spec, _) = document::parse(&self.entry.config()?)?;
        Ok(spec)
    }

    fn wrong_state(&self, verb: &str, status: Status) -> Error {
        let message = match (verb, status) {
            ("start", Status::Running) => "cannot start an already running container".to_owned(),
            ("start", Status::Stopped) => "cannot start a container that has stopped".to_owned(),
            _ => format!("cannot {verb} container {} in the {} state", self.id(), status.word()),
        };
        Error::new(ErrorKind::State, message)
    }
}

impl State {
    fn of(record: &Record, status: Status) -> State {
        let pid = record.process.filter(|_| status != Status::Stopped).map_or(0, |process| process.pid);
        State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid,
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: owner_name(record.owner),
        }
    }
}

/// Runs hooks of the runtime's namespaces, in the bundle's directory.
fn run_hooks(record: &Record, hooks: &[Hook], status: Status) -> Result<(), hooks::Failed> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = State::of(record, status);
    let unready = |stop| hooks::Failed { index: 0, stop, output: String::new() };
    let directory = create::open_directory(&record.bundle).map_err(unready)?;
    let streams = Streams::open(&record.hook_output).map_err(unready)?;
    let (text, pid) = (state_text(&state), state.pid);
    let stage = Stage { directory: directory.as_fd(), state: &text, pid, streams: &streams };
    hooks::run_all(hooks, stage)
}

/// Runs the hooks for a container that is gone: each failure is a warning, and the others still run. Spec:
/// runtime.md#lifecycle.
fn run_poststop(record: &Record) {
    for (i, hook) in record.poststop.iter().enumerate() {
        if let Err(failed) = run_hooks(record, std::slice::from_ref(hook), Status::Stopped) {
            let (id, path, stop) = (&record.id, &hook.path, failed.stop);
            tracing::warn!(id, output = failed.output, "poststop hook {i} ({path}): {stop}");
        }
    }
}

fn owner_name(uid: u32) -> String {
    match uid {
        0 => "root".to_owned(),
        // Looking names up would load modules into a static program (CVE-2019-14271 class); passwd is enough.
        uid => {
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let name = lines.find(|f| f.get(2).and_then(|n| n.parse::<u32>().ok()) == Some(uid));
            name.and_then(|f| f.first().map(|n| (*n).to_owned())).unwrap_or_default()
        }
    }
}

/// The state as hooks read it, cut where the pid goes.
fn state_text(state: &State) -> StateText {
    let text = serde_json::to_string(&State { pid: 0, ..state.clone() }).unwrap_or_default();
    match text.split_once("\"pid\":0") {
        Some((before, after)) => StateText {
            before_pid: format!("{before}\"pid\":").into_bytes(),
            after_pid: after.as_bytes().to_vec(),
        },
        None => StateText::default(),
    }
}
