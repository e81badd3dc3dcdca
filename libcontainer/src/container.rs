//! The verbs: what can be done with containers. Runs in the runtime's process.

mod additions;
mod agent;
mod create;
mod delete;
mod events;
mod exec;
mod pause;
mod pidfd;
mod placement;
mod start;
mod stats;
mod update;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::libc;
use oci_spec::runtime::Spec;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::hooks::{self, Stage, StateText, Streams};
use crate::host;
use crate::launch::{cgroup, freezer};
use crate::plan::document;
use crate::plan::hooks::Hook;
use crate::state::{Entry, Identity, Record, Store};
use crate::stats::OomKilled;
use crate::sys::{Stop, process};

pub use additions::NOTIFY_SOCKET;
pub use create::{Held, Options, Running, compile, create, hold, run};
pub use events::Events;
pub use exec::ExecOptions;
pub use placement::CgroupBelow;
pub use update::Update;

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
    /// Of a container that has stopped: a memory limit was hit. Not the specification's, and not runc's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<OomKilled>,
}

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    entry: Entry,
    record: Record,
    /// The config, once it has been read.
    config: OnceLock<Spec>,
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
        Ok(Container { entry, record, config: OnceLock::new() })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.entry.id()
    }

    /// Its first process's pid, as it was when the container was created; 0 if it came to none.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.record.process.map_or(0, |process| process.pid)
    }

    /// Where in its life it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let Some(init) = self.record.process else {
            let created = self.entry.is_being_created();
            return if created { Status::Creating } else { Status::Stopped };
        };
        match host::look_at(init.pid) {
            Some(seen) if seen.start_time == init.start_time && !seen.is_ending => {
                if freezer::is_frozen(&self.record.cgroups) {
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
        let status = self.status();
        let oom_killed = if status == Status::Stopped { self.oom_killed() } else { None };
        State { oom_killed, ..State::of(&self.record, status) }
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
        let failed = |stop: Stop| {
            Error::new(ErrorKind::System, format!("unable to signal init: {}", stop.reason())).because(stop)
        };
        if all {
            self.signal_all(signal)?.map_err(failed)?;
        } else {
            let status = self.status();
            let init =
                self.pidfd().filter(|_| matches!(status, Status::Created | Status::Running | Status::Paused));
            let Some(pidfd) = init else { return Err(Error::new(ErrorKind::State, "container not running")) };
            process::send_signal(pidfd.as_fd(), signal).map_err(failed)?;
        }
        if signal == libc::SIGKILL {
            // Version 1 keeps a frozen process from dying.
            freezer::let_die(&self.record.cgroups);
        }
        Ok(())
    }

    /// Where the host has to make the socket, for messages of sd_notify(3), that its program is told of; `None` if it
    /// was created without [`Options::notify`]. Whoever is to hear the program makes it before that runs.
    #[must_use]
    pub fn notify_socket(&self) -> Option<PathBuf> {
        self.entry.notify_directory().map(|directory| directory.join(NOTIFY_SOCKET))
    }

    /// A pidfd of its first process, which is readable when that has ended; `None` if it has been reaped. See
    /// pidfd_open(2).
    #[must_use]
    pub fn pidfd(&self) -> Option<OwnedFd> {
        let Identity { pid, start_time } = self.record.process?;
        let pidfd = process::pidfd_open(pid).ok()?;
        let seen = host::look_at(pid)?;
        (seen.start_time == start_time).then_some(pidfd)
    }

    /// The pids of all its processes, as the runtime sees them.
    ///
    /// # Errors
    /// The cgroup cannot be read, or there is none.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let pids = match self.record.cgroups.last() {
            Some(directory) => cgroup::processes(&directory.path).map_err(|stop| {
                Error::new(ErrorKind::System, format!("cgroup {}: {stop}", directory.path.display()))
                    .because(stop)
            })?,
            None => self.living().ok_or_else(|| self.without_cgroup("its processes cannot be listed"))?,
        };
        Ok(pids)
    }

    /// The config as it was when the container was created.
    fn config(&self) -> Result<&Spec, Error> {
        if let Some(spec) = self.config.get() {
            return Ok(spec);
        }
        let (spec, _) = document::parse(&self.entry.config()?)?;
        Ok(self.config.get_or_init(|| spec))
    }

    fn wrong_state(&self, verb: &str, status: Status) -> Error {
        let message = match (verb, status) {
            ("start", Status::Running) => "cannot start an already running container".to_owned(),
            ("start", Status::Stopped) => {
                format!("cannot start a container that has stopped{}", self.last_words())
            }
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
            oom_killed: None,
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
