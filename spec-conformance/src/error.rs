//! The crate's error: why a bundle could not be made or a runtime could not be driven.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::call::Exit;
use crate::report::ReportError;

/// Why a bundle could not be made, or a runtime could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The probe binary was not found.
    #[error(
        "no probe binary: set KETCH_PROBE, or build it with `cargo build -p spec-conformance --bin probe` (looked at {looked:?})"
    )]
    NoProbe {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A file of the bundle or of the driver could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON pointer leads through something that is neither an object nor an array.
    #[error("config.json has no place for {pointer}")]
    Pointer {
        /// The pointer.
        pointer: String,
    },
    /// The runtime could not be executed.
    #[error("cannot execute {}: {source}", program.display())]
    Spawn {
        /// The runtime.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was waited for did not happen in time.
    #[error("{awaited}: nothing within {within:?}; stdout {stdout:?}, stderr {stderr:?}")]
    Deadline {
        /// The call or the event.
        awaited: String,
        /// How long was waited.
        within: Duration,
        /// Standard output so far.
        stdout: String,
        /// Standard error so far.
        stderr: String,
    },
    /// A call that had to succeed failed.
    #[error("{call}: {exit}: {stderr}")]
    Refused {
        /// The call.
        call: String,
        /// How it ended.
        exit: Exit,
        /// What it said.
        stderr: String,
    },
    /// The container ended before what was waited for.
    #[error("the container ended before {awaited:?}; stdout {stdout:?}, stderr {stderr:?}")]
    Ended {
        /// What was waited for.
        awaited: String,
        /// Standard output.
        stdout: String,
        /// Standard error.
        stderr: String,
    },
    /// The runtime's state is no JSON of the specified shape.
    #[error("not a container state: {source}: {text:?}")]
    State {
        /// What the JSON parser said.
        source: serde_json::Error,
        /// What the runtime printed.
        text: String,
    },
    /// The probe's report cannot be used.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// This host has not what the run needs.
    #[error("this host has not {needs}")]
    Host {
        /// What is missing.
        needs: &'static str,
    },
    /// A case has no stage on this host.
    #[error("no stage can be made, which needs root: {why}")]
    Stage {
        /// What the stagehand said.
        why: String,
    },
    /// Somebody ended the run early.
    #[error("interrupted")]
    Interrupted,
    /// No case has this name.
    #[error("no case is called {id:?}")]
    NoCase {
        /// The name.
        id: String,
    },
    /// What the processes of a stage tell each other is not understood.
    #[error("not a play: {source}")]
    Play {
        /// What the JSON parser said.
        source: serde_json::Error,
    },
    /// The runtime connected to the console's socket and sent no terminal.
    #[error("no terminal came over the console's socket")]
    NoTerminal,
    /// A mount of the stage could not be made.
    #[error("mount on {}: {errno}", target.display())]
    Mount {
        /// Where.
        target: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A system call of the driver failed.
    #[error("{call}: {errno}")]
    System {
        /// The system call.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }

    pub(crate) fn system(call: &'static str) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::System { call, errno }
    }
}
