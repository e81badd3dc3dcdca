//! What a command hands out: its output, a pid file, a terminal's master, or the reason why it failed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use libcontainer::container::Container;
use libcontainer::error::{Error, ErrorKind};
use libcontainer::sys::socket::{self, Kind};

/// Why a command failed, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// The exit status.
    pub(crate) status: i32,
}

impl Failure {
    /// The caller asks for what cannot be.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Error::new(ErrorKind::Invalid, message).into()
    }

    /// The kernel or the file system does not let us.
    pub(crate) fn io(what: &str, error: &io::Error) -> Failure {
        Error::io(format!("{what}: {error}"), error).into()
    }

    /// What was done to which file, and why that failed.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::io(&format!("{verb} {}", path.display()), error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        // As a shell has it, for a program that cannot be executed.
        let status = match error.kind() {
            ErrorKind::ProgramMissing => 127,
            ErrorKind::ProgramUnusable => 126,
            _ => 1,
        };
        Failure { error, status }
    }
}

/// Prints `text` on stdout.
pub(crate) fn print(text: &str) -> Result<i32, Failure> {
    let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    written.map(|()| 0).map_err(|error| Failure::io("write to stdout", &error))
}

/// Prints `value` as JSON on stdout.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<i32, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    print(&format!("{text}\n"))
}

/// Connects to the socket that wants a terminal's master, or a pidfd, as `what` says.
pub(crate) fn connect(what: &str, path: &Path) -> Result<OwnedFd, Failure> {
    socket::connect_to(path, Kind::Stream).map_err(|stop| {
        let why = io::Error::from_raw_os_error(stop.errno);
        Error::io(format!("{what} socket {}: {stop}", path.display()), &why).into()
    })
}

/// Writes a pid file, whole or not at all: decimal, and nothing else. What had the name before, a link for example,
/// is replaced and not followed.
pub(crate) fn write_pid_file(path: Option<&Path>, pid: i32) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let failed = |error: io::Error| Failure::file("write pid file", path, &error);
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    // Of our own name: two runtimes may be told the same file.
    let new = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = File::create_new(&new).and_then(|mut file| file.write_all(pid.to_string().as_bytes()));
    written.and_then(|()| fs::rename(&new, path)).map_err(|error| {
        // The error that leads here is the one to report.
        let _never_made = fs::remove_file(&new);
        failed(error)
    })
}

/// The exit status that stands for SIGKILL.
pub(crate) const KILLED: i32 = 128 + 9;

/// Says of a program that was killed that it was for its memory, if the kernel has killed more than `before`.
pub(crate) fn tell_out_of_memory(container: &Container, before: u64) {
    if let Some(killed) = container.oom_killed().filter(|killed| killed.kills > before) {
        tracing::error!("container {}: OOM-killed: {killed}", container.id());
    }
}
