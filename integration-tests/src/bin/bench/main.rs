//! Measures container runtimes against each other and against a floor, the bare kernel work in C.
//!
//! Two processes of the same program. The outer one makes what a measurement leaves in the machine (scratch
//! directories, a parent cgroup) and removes it however the inner one ends, with every process that is left.
//! The inner one measures, in a mount namespace of its own; for `--layout v2` only cgroup2 is mounted there, for v1
//! all but that.

mod bundles;
mod case;
mod command;
mod error;
mod items;
mod layout;
mod load;
mod options;
mod page;
mod plot;
mod random;
mod report;
mod results;
mod rounds;
mod runtimes;
mod samples;
mod scenes;
mod stage;
mod supervise;
mod sweep;
mod targets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use command::Watchdog;
use error::{At, Error};
use items::{Item, Need, Scene};
use load::Load;
use options::Options;
use results::{Conditions, Results};
use stage::Stage;

/// The first argument of the inner process; two directories and a cgroup follow, then the arguments of the outer
/// one.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match words.as_slice() {
        [first, scratch, state, parent, rest @ ..] if first == INSIDE => {
            let parent = parent.to_string_lossy().into_owned();
            supervise::enter().and_then(|()| measure(scratch.into(), state.into(), parent, rest))
        }
        [word] if word == "--help" || word == "-h" => {
            writeln!(io::stdout(), "{}", options::HELP).at("standard output")
        }
        _ => Options::parse(&words).and_then(|options| match (&options.render, &options.compile) {
            (Some(file), _) => results::read(file).and_then(|results| write(&options, &results)),
            (None, Some(directory)) => stage::compile_all(directory),
            (None, None) => supervise::run(&options, &words),
        }),
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
fn measure(scratch: PathBuf, state: PathBuf, parent: String, words: &[OsString]) -> Result<(), Error> {
    let options = Options::parse(words)?;
    let mut skipped = BTreeMap::new();
    let mut items = Vec::new();
    for item in items::choose(&options.items)? {
        match reason_to_skip(item, &options)? {
            Some(reason) => drop(skipped.insert(item.name.to_owned(), reason.to_owned())),
            None => items.push(item),
        }
    }
    let stage = Stage::new(scratch, state, parent)?;
    let runtimes = runtimes::find(&stage, &options.runtimes)?;
    let mut conditions = Conditions::new(&options, &runtimes, skipped);
    report::print_conditions(&mut io::stdout().lock(), &conditions)?;
    let before = Load::now();
    let cases = case::cases(&stage, &runtimes, &items)?;
    let series = rounds::run(&options, &cases, &stage, &Watchdog::new())?;
    conditions.others = before.and_then(|before| before.others_since()).map(samples::rounded);
    let results = Results::new(conditions, &cases, series);
    report::print(&mut io::stdout().lock(), &results)?;
    write(&options, &results)
}

/// Why an item cannot be measured here, or is not to be.
fn reason_to_skip(item: &Item, options: &Options) -> Result<Option<&'static str>, Error> {
    let systemd = Path::new("/run/systemd/system").is_dir();
    Ok(match item.need {
        Some(Need::Memory) if !layout::has_memory()? => Some("no memory controller in this layout"),
        Some(Need::Systemd) if !systemd => Some("systemd does not manage this machine"),
        _ if options.quick && item.scene == Scene::Crowd => {
            Some("takes long to prepare, and --quick is given")
        }
        _ => None,
    })
}

/// Writes the files that are asked for.
fn write(options: &Options, results: &Results) -> Result<(), Error> {
    if let Some(file) = &options.json {
        results::write(file, results)?;
    }
    if let Some(file) = &options.html {
        fs::write(file, page::html(results)).at(file)?;
    }
    if let Some(file) = &options.markdown {
        fs::write(file, targets::markdown(results)).at(file)?;
    }
    Ok(())
}
