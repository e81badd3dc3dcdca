//! Measures container runtimes against each other and against a floor, the bare kernel work in C.
//!
//! Two processes of the same program. The outer one makes what a measurement leaves in the machine (scratch
//! directories, a parent cgroup) and removes it however the inner one ends, with every process that is left.
//! The inner one measures; for `--layout v2` it lives in a mount namespace of its own with only cgroup2
//! mounted, for v1 with all but that.

mod command;
mod error;
mod items;
mod layout;
mod options;
mod report;
mod rounds;
mod runtimes;
mod samples;
mod stage;
mod supervise;
mod sweep;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use command::Watchdog;
use error::{At, Error};
use options::Options;
use stage::Stage;

/// The first argument of the inner process; its two directories follow, then the arguments of the outer one.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match words.as_slice() {
        [first, scratch, state, rest @ ..] if first == INSIDE => {
            supervise::enter().and_then(|()| measure(scratch.into(), state.into(), rest))
        }
        [word] if word == "--help" || word == "-h" => {
            writeln!(io::stdout(), "{}", options::HELP).at("standard output")
        }
        _ => Options::parse(&words).and_then(|options| supervise::run(&options, &words)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is gone too.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The inner process: measures, then prints the table.
fn measure(scratch: PathBuf, state: PathBuf, words: &[OsString]) -> Result<(), Error> {
    let options = Options::parse(words)?;
    let stage = Stage::new(scratch, state)?;
    let runtimes = runtimes::find(&stage, &options.runtimes)?;
    let cases = items::cases(&stage, &runtimes, &options.items)?;
    let watchdog = Watchdog::new();
    let header = report::Header::new(&options, &runtimes);
    header.print(&mut io::stdout().lock())?;
    let series = rounds::run(&options, &cases, &stage, &watchdog);
    let rows = report::rows(&cases, &series);
    report::print(&mut io::stdout().lock(), &rows)?;
    match &options.json {
        Some(file) => report::write_json(file, &header, &rows),
        None => Ok(()),
    }
}
