//! The one error of this crate, and how it reads.

mod hint;

use std::fmt;
use std::io;

use nix::libc;

use crate::bundle::{CONFIG, Unreadable};
use crate::hooks::Failed;
use crate::launch::cgroup::Busy;
use crate::launch::{Because, Broken};
use crate::plan::Plan;
use crate::plan::hooks::Hook;
use crate::plan::invalid::{Finding, Invalid};
use crate::plan::mounts::Mount;
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::state::Refused;
use crate::stats::OomKilled;
use crate::sys::{Call, Stop};

/// Why a verb could not do its work. It has left nothing behind. Displayed, it is a sentence or a line for each
/// finding, and maybe a hint on a line of its own.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    step: Option<Step>,
    call: Option<&'static str>,
    errno: Option<i32>,
    findings: Vec<Finding>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Error {}

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

impl ErrorKind {
    /// A word for it that stays as it is, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::Missing => "missing",
            ErrorKind::Exists => "exists",
            ErrorKind::State => "state",
            ErrorKind::ProgramMissing => "program-missing",
            ErrorKind::ProgramUnusable => "program-unusable",
            ErrorKind::Hook => "hook",
            ErrorKind::System => "system",
        }
    }
}

impl Error {
    /// A failure of this kind that reads as `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let message = message.into();
        Error { kind, message, hint: None, step: None, call: None, errno: None, findings: Vec::new() }
    }

    /// A failure of the file system that reads as `message`.
    pub fn io(message: impl Into<String>, source: &io::Error) -> Error {
        Error { errno: source.raw_os_error(), ..Error::new(ErrorKind::System, message) }
    }

    /// What is wrong with a document that is called `name`.
    #[must_use]
    pub fn invalid(name: &str, invalid: Invalid) -> Error {
        let message = invalid.lines(name);
        Error { findings: invalid.into_findings(), ..Error::new(ErrorKind::Invalid, message) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The step of the plan that failed.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// The system call that failed, by the name of its manual page.
    #[must_use]
    pub fn call(&self) -> Option<&'static str> {
        self.call
    }

    /// Its errno.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// What is wrong with the config, if that is what is wrong.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The same, because of `stop`.
    pub(crate) fn because(self, stop: Stop) -> Error {
        match stop.failed_call() {
            Some(call) => Error { call: Some(call), errno: Some(stop.errno), ..self },
            None => self,
        }
    }

    /// The same, and what to do about it.
    pub(crate) fn advise(self, hint: Option<impl Into<String>>) -> Error {
        Error { hint: hint.map(Into::into), ..self }
    }

    /// What broke while a plan was carried out, in the plan's words.
    pub(crate) fn launch(plan: &Plan, broken: &Broken) -> Error {
        let failure = broken.failure;
        if let (Step::FindProgram | Step::Exec, Some(process)) = (failure.step, &plan.process) {
            return Error::program(process, broken);
        }
        let error = Error::at_step(plan.describe(failure.step), broken);
        let (Step::Mount(i), libc::EINVAL) = (failure.step, failure.stop.errno) else { return error };
        let data = plan.rootfs.mounts.get(usize::from(i)).map_or("", Mount::data);
        if data.is_empty() {
            return error;
        }
        error.advise(Some(format!("the file system was given {data:?}; it may not know that")))
    }

    /// What broke at a step, described by whoever knows the step.
    pub(crate) fn at_step(what: impl fmt::Display, broken: &Broken) -> Error {
        let failure = broken.failure;
        let kind = if is_hook(failure.step) { ErrorKind::Hook } else { ErrorKind::System };
        let known = hint::of(failure.step, failure.stop);
        let (message, hint) = match &broken.because {
            Because::OutOfMemory(killed) => return Error::out_of_memory("container init", *killed),
            Because::Unknown if failure.stop.call == Call::Closed => {
                ("container init died while it was being set up".to_owned(), None)
            }
            Because::Said(output) if !output.is_empty() => {
                (format!("{what}: {}; it printed: {output}", failure.stop), known)
            }
            Because::Found(reason) => (format!("{what}: {reason}"), None),
            Because::Hint(text) => (format!("{what}: {}", failure.stop), Some(text.clone())),
            _ => (format!("{what}: {}", failure.stop), known),
        };
        let error = Error::new(kind, message).because(failure.stop).advise(hint);
        Error { step: Some(failure.step), ..error }
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
            _ => format!("exec: {name:?}{found}: {stop}"),
        };
        let hint = match (kind, stop.call) {
            // The file is there, so it is its interpreter that is not.
            (ErrorKind::ProgramMissing, Call::Execve) if !interpreter.is_empty() => {
                Some(format!("its interpreter {interpreter}, or what that one needs, does not exist"))
            }
            // Nobody could look, or there was nothing to look at any more.
            (ErrorKind::ProgramMissing, Call::Execve) => {
                Some("its interpreter does not exist, or it has just gone itself".to_owned())
            }
            // No kernel is without this call, but one whose answer nobody is left to give fails like this.
            (_, Call::Execve) if stop.errno == libc::ENOSYS => {
                Some("the seccomp agent has closed the listener".to_owned())
            }
            _ => None,
        };
        let error = Error::new(kind, message).because(stop).advise(hint);
        Error { step: Some(broken.failure.step), ..error }
    }

    pub(crate) fn hook(kind: &str, hooks: &[Hook], failed: &Failed) -> Error {
        let (i, stop) = (failed.index, failed.stop);
        let path = hooks.get(usize::from(i)).map_or("?", |hook| hook.path.as_str());
        let printed =
            if failed.output.is_empty() { String::new() } else { format!("; it printed: {}", failed.output) };
        Error::new(ErrorKind::Hook, format!("{kind} hook {i} ({path}): {stop}{printed}")).because(stop)
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
            Refused::Pattern { .. } => ErrorKind::Invalid,
            Refused::File { source, .. } => return Error::io(refused.to_string(), source),
            Refused::Record { .. } => ErrorKind::System,
        };
        Error::new(kind, refused.to_string())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Error {
        Error::invalid(CONFIG, invalid)
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Error {
        match unreadable {
            Unreadable::File { ref source, .. } => Error::io(unreadable.to_string(), source),
            Unreadable::Document(invalid) => invalid.into(),
        }
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Error {
        let hint =
            busy.frozen_by.as_ref().map(|path| format!("cgroup {} is frozen; thaw it", path.display()));
        Error::new(ErrorKind::System, busy.to_string()).because(busy.stop).advise(hint)
    }
}
