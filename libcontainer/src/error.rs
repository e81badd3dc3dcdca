//! The one error of this crate, and how it reads.

mod hint;

use std::fmt;

use nix::libc;

use crate::bundle::Unreadable;
use crate::hooks::Failed;
use crate::launch::cgroup::Busy;
use crate::launch::{Because, Broken};
use crate::plan::Plan;
use crate::plan::hooks::Hook;
use crate::plan::invalid::Invalid;
use crate::plan::mounts::Mount;
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::state::Refused;
use crate::stats::OomKilled;
use crate::sys::Call;

/// Why a verb could not do its work. It has left nothing behind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What kind of failure it is, for a caller that acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The config or the caller's wish is wrong.
    Invalid,
    /// There is no such container.
    Missing,
    /// There is such a container already.
    Exists,
    /// The container is not in the state that this needs.
    State,
    /// The program does not exist; a shell would exit with 127.
    ProgramMissing,
    /// The program exists and cannot be executed; a shell would exit with 126.
    ProgramUnusable,
    /// A hook failed.
    Hook,
    /// Anything else that the kernel or the file system refused.
    System,
}

impl Error {
    /// A failure of this kind that reads as `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What broke while a plan was carried out, in the plan's words.
    pub(crate) fn launch(plan: &Plan, broken: &Broken) -> Error {
        let failure = broken.failure;
        if let (Step::FindProgram | Step::Exec, Some(process)) = (failure.step, &plan.process) {
            return Error::program(process, broken);
        }
        let mut error = Error::step(plan.describe(failure.step), broken);
        if let (Step::Mount(i), libc::EINVAL) = (failure.step, failure.stop.errno) {
            let data = plan.rootfs.mounts.get(usize::from(i)).map_or("", Mount::data);
            if !data.is_empty() {
                error
                    .message
                    .push_str(&format!("\nhint: the file system was given {data:?}; it may not know that"));
            }
        }
        error
    }

    /// What broke at a step, described by whoever knows the step.
    pub(crate) fn step(what: impl fmt::Display, broken: &Broken) -> Error {
        let failure = broken.failure;
        let kind = if is_hook(failure.step) { ErrorKind::Hook } else { ErrorKind::System };
        let message = match &broken.because {
            Because::OutOfMemory(killed) => return Error::out_of_memory("container init", *killed),
            Because::Unknown if failure.stop.call == Call::Closed => {
                "container init died while it was being set up".to_owned()
            }
            Because::Said(output) if !output.is_empty() => {
                format!(
                    "{what}: {}; it printed: {output}{}",
                    failure.stop,
                    hint::line(failure.step, failure.stop)
                )
            }
            Because::Found(reason) => format!("{what}: {reason}"),
            Because::Hint(text) => format!("{what}: {}\nhint: {text}", failure.stop),
            _ => format!("{what}: {}{}", failure.stop, hint::line(failure.step, failure.stop)),
        };
        Error { kind, message }
    }

    /// A process of a container was killed for its memory.
    pub(crate) fn out_of_memory(who: &str, killed: OomKilled) -> Error {
        Error::new(ErrorKind::System, format!("{who} was OOM-killed: {killed}; raise the memory limit"))
    }

    /// A program that cannot be executed, in the words that clients look for.
    pub(crate) fn program(process: &Process, broken: &Broken) -> Error {
        let stop = broken.failure.stop;
        let name = process.args.first().map_or("", |arg| arg.as_str());
        let (path, interpreter) = match &broken.because {
            Because::Program { path, interpreter } => (path.as_str(), interpreter.as_str()),
            _ => (name, ""),
        };
        // Where it was found, if it had to be looked for.
        let found = if path == name { String::new() } else { format!(" ({path})") };
        let kind = match stop.errno {
            libc::ENOENT | libc::ENOTDIR => ErrorKind::ProgramMissing,
            _ => ErrorKind::ProgramUnusable,
        };
        let searched = !name.contains('/');
        let message = match (kind, stop.call) {
            (ErrorKind::ProgramMissing, Call::Access) if searched => {
                format!("exec: {name:?}: executable file not found in $PATH")
            }
            // The file is there, so it is its interpreter that is not.
            (ErrorKind::ProgramMissing, Call::Execve) if !interpreter.is_empty() => {
                format!(
                    "exec: {name:?}{found}: {stop}\nhint: its interpreter {interpreter}, or what that one needs, does not exist"
                )
            }
            // Nobody could look, or there was nothing to look at any more.
            (ErrorKind::ProgramMissing, Call::Execve) => {
                format!(
                    "exec: {name:?}{found}: {stop}\nhint: its interpreter does not exist, or it has just gone itself"
                )
            }
            // No kernel is without this call, but one whose answer nobody is left to give fails like this.
            (_, Call::Execve) if stop.errno == libc::ENOSYS => {
                format!("exec: {name:?}: {stop}\nhint: the seccomp agent has closed the listener")
            }
            _ => format!("exec: {name:?}{found}: {stop}"),
        };
        Error { kind, message }
    }

    pub(crate) fn hook(kind: &str, hooks: &[Hook], failed: &Failed) -> Error {
        let (i, stop) = (failed.index, failed.stop);
        let path = hooks.get(usize::from(i)).map_or("?", |hook| hook.path.as_str());
        let printed =
            if failed.output.is_empty() { String::new() } else { format!("; it printed: {}", failed.output) };
        Error::new(ErrorKind::Hook, format!("{kind} hook {i} ({path}): {stop}{printed}"))
    }
}

fn is_hook(step: Step) -> bool {
    matches!(
        step,
        Step::Prestart(_)
            | Step::CreateRuntime(_)
            | Step::CreateContainer(_)
            | Step::StartContainer(_)
            | Step::Poststart(_)
    )
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        let kind = match &refused {
            Refused::Id(_) => ErrorKind::Invalid,
            Refused::Exists(_) => ErrorKind::Exists,
            Refused::Missing(_) => ErrorKind::Missing,
            Refused::File { .. } | Refused::Record { .. } => ErrorKind::System,
        };
        Error::new(kind, refused.to_string())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Error {
        Error::new(ErrorKind::Invalid, invalid.to_string())
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Error {
        let kind = match unreadable {
            Unreadable::File { .. } => ErrorKind::System,
            Unreadable::Document(_) => ErrorKind::Invalid,
        };
        Error::new(kind, unreadable.to_string())
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Error {
        Error::new(ErrorKind::System, busy.to_string())
    }
}
