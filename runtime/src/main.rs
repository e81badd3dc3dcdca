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
mod signals;
mod spec;
mod terminal;
mod update;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use cli::Cli;
use log::Log;
use outcome::Failure;

/// musl's own asks the kernel for every few allocations, which is most of what it costs to read a config.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Commands that put a process of this program into a container.
const ENTERING: [&str; 3] = ["create", "exec", "run"];

fn main() -> ExitCode {
    // Before anything else is done, because it executes this program again. A container of such a name, say,
    // causes it too: that costs a millisecond, and reading the command line twice costs every container some.
    if std::env::args_os().skip(1).any(|arg| ENTERING.iter().any(|name| arg == *name))
        && let Err(stop) = libcontainer::seal::enter()
    {
        return finish(Err(Failure::new(format!("seal the runtime's binary: {stop}"))), None);
    }
    let cli = match Cli::try_parse_from(checkpoint::spelled_out(std::env::args_os())) {
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
    finish(commands::run(&cli.global, command), Some(&log))
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
