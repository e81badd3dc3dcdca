//! `ketch`: an OCI container runtime for Linux, on the command line that runc has.
#![forbid(unsafe_code)]

mod activation;
mod checkpoint;
mod cli;
mod commands;
mod duration;
mod events;
mod exec;
mod features;
mod foreground;
mod listing;
mod log;
mod notify;
mod outcome;
#[cfg(test)]
mod pages;
mod parse;
mod signals;
mod spec;
mod terminal;
mod update;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use libcontainer::sys::Stop;
use libcontainer::{seal, timeline};

use log::Log;
use outcome::Failure;

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: libcontainer::sys::heap::Heap = libcontainer::sys::heap::Heap::new();

fn main() -> ExitCode {
    let began = match seal() {
        Ok(began) => began,
        Err(stop) => return finish(Err(Failure::new(format!("seal the runtime's binary: {stop}"))), None),
    };
    let cli = match parse::parse(checkpoint::spelled_out(std::env::args_os()).collect()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if cli.global.version {
        return finish(commands::version(), None);
    }
    let Some(command) = cli.command else { return ExitCode::from(1) };
    let log = match Log::open(&cli.global) {
        Ok(log) => Arc::new(log),
        Err(error) => return finish(Err(Failure::io("open the log", &error)), None),
    };
    if tracing::subscriber::set_global_default(Arc::clone(&log)).is_err() {
        return finish(Err(Failure::new("a second log")), None);
    }
    let result = match &cli.global.trace {
        Some(file) => traced(file, began, || commands::run(&cli.global, command)),
        None => commands::run(&cli.global, command),
    };
    finish(result, Some(&log))
}

/// Keeps the binary out of the reach of containers, if the command may put a process of this program into one. Before
/// anything else is done, because it may execute this program again. A container of such a name, say, causes it too: that
/// costs a fraction of a millisecond, and reading the command line twice costs every container some.
fn seal() -> Result<Option<u64>, Stop> {
    let has = |word: &str| std::env::args_os().skip(1).any(|arg| arg == word);
    if has("exec") {
        seal::enter()
    } else if has("create") || has("run") {
        seal::prepare()
    } else {
        Ok(None)
    }
}

/// Does `act` with a timeline, and writes that whatever becomes of it. A command that is done stays so.
fn traced(
    file: &Path,
    began: Option<u64>,
    act: impl FnOnce() -> Result<i32, Failure>,
) -> Result<i32, Failure> {
    let failed = |error: io::Error| Failure::file("write", file, &error);
    // Before anything is done, because there would be no timeline of it.
    let mut out = BufWriter::new(File::create(file).map_err(failed)?);
    timeline::start(began).map_err(|stop| Failure::new(format!("timeline: {stop}")))?;
    let result = act();
    let written = timeline::write(&mut out).and_then(|()| out.flush());
    if let Err(error) = written {
        tracing::warn!("write {}: {error}", file.display());
    }
    result
}

/// Answers a command line that cannot be understood, or that asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    // The text is for people; if nobody listens, the status still tells.
    let _closed = error.print();
    if lacks_value(error) {
        // podman looks for these words to learn which flags there are.
        let _closed = writeln!(io::stderr(), "flag needs an argument");
    }
    let helped = !error.use_stderr();
    if helped { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Whether a flag stands there without the value that it takes.
fn lacks_value(error: &clap::Error) -> bool {
    let value = error.get(ContextKind::InvalidValue);
    error.kind() == ErrorKind::InvalidValue
        && matches!(value, Some(ContextValue::String(text)) if text.is_empty())
}

fn finish(result: Result<i32, Failure>, log: Option<&Log>) -> ExitCode {
    let status = match result {
        Ok(status) => status,
        Err(failure) => {
            match log {
                Some(log) => log.last_error(&failure.error),
                None => {
                    let _closed = writeln!(io::stderr(), "ketch: {}", failure.error);
                }
            }
            failure.status
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
