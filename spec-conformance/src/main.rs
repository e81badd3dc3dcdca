//! Runs the conformance cases against a runtime: `spec-conformance --runtime /usr/bin/runc`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use spec_conformance::cases::CASES;
use spec_conformance::format::{self, Format, Notes, Report};
use spec_conformance::outcome::{Outcome, Run};
use spec_conformance::requirement::{Level, Requirement, Standing};
use spec_conformance::spec_text::{self, Drift};
use spec_conformance::stage::{self, CgroupMode};
use spec_conformance::suite::{self, Interruption, Progress, Suite};
use spec_conformance::{Case, Error, Profile};

/// Measure an OCI runtime against the runtime specification, clause by clause.
#[derive(Debug, Parser)]
#[command(name = "spec-conformance", args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The runtime's binary
    #[arg(long, value_name = "PATH", required_unless_present_any = ["list", "check_spec"])]
    runtime: Option<PathBuf>,
    /// How to drive it: ketch, runc, crun, youki or generic; by default told from its name or `--version`
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Option<&'static Profile>,
    /// Which cgroup hierarchies the runtime sees: auto (all that the host has), v1, v2 or hybrid
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = cgroup_mode)]
    cgroup: CgroupMode,
    /// How many cases run at once; by default as many as there are processors
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// How long a case may take before it is ended and has failed; a machine that is emulated needs more
    #[arg(long, value_name = "SECONDS", default_value_t = suite::WITHIN.as_secs())]
    within: u64,
    /// What reports call the runtime; by default its profile's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How to print the results
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Where to print them, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A report besides, any number of times: `--report junit=FILE --report html=FILE`
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    reports: Vec<Report>,
    /// What makes the exit status 1: a clause that failed, of this level or of a stronger one
    #[arg(long, value_enum, default_value = "must", value_name = "LEVEL")]
    fail_on: FailOn,
    /// List the requirements and the cases that cover them
    #[arg(long)]
    list: bool,
    /// Compare the registry with this copy of the specification: fails if it says more, less or other
    #[arg(long, value_name = "DIR")]
    check_spec: Option<PathBuf>,
    /// Cases to run; those whose name starts like this; all by default
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put results of several runtimes side by side: what `--report json=FILE` wrote
    Matrix {
        /// The form of the page
        #[arg(long, value_enum, default_value = "markdown")]
        format: Page,
        /// Where to print it, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Explanations of failures: a JSON list of {clause, runtimes, note}
        #[arg(long, value_name = "FILE")]
        notes: Option<PathBuf>,
        /// The results, in the order of the columns; those of a runtime on several hosts are one column
        #[arg(value_name = "RESULTS", required = true)]
        results: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    Markdown,
    Html,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailOn {
    Must,
    Should,
    Never,
}

/// Why nothing could be measured or printed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Drive(#[from] Error),
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("no case starts with {0:?}; --list shows them")]
    NoCase(String),
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        format!("not one of {}", known.join(", "))
    })
}

fn cgroup_mode(word: &str) -> Result<CgroupMode, &'static str> {
    CgroupMode::parse(word).ok_or("not one of auto, v1, v2, hybrid")
}

fn main() -> ExitCode {
    if let Some(status) = stage::backstage() {
        return status;
    }
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // As a shell has it of a program that SIGINT ended.
        Err(Failure::Drive(Error::Interrupted)) => ExitCode::from(130),
        Err(failure) => match writeln!(io::stderr().lock(), "spec-conformance: {failure}") {
            Ok(()) | Err(_) => ExitCode::from(2),
        },
    }
}

/// Whether all is well: no clause failed that matters, no drift.
fn run(cli: &Cli) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    if let Some(Command::Matrix { format, output, notes, results }) = &cli.command {
        return matrix(*format, output.as_deref(), notes.as_deref(), results);
    }
    match (&cli.check_spec, &cli.runtime) {
        (Some(directory), _) => drift(&mut out, directory),
        (None, Some(program)) if !cli.list => measure(cli, program),
        _ => list(&mut out),
    }
}

fn measure(cli: &Cli, program: &Path) -> Result<bool, Failure> {
    let cases = chosen(&cli.cases)?;
    // A bare name is a file here, and would be looked up in PATH.
    let place = std::path::absolute(program);
    let program = &place.map_err(|source| Error::File { path: program.into(), source })?;
    let profile = cli.profile.unwrap_or_else(|| Profile::for_program(program));
    // Told once here rather than by every case.
    spec_conformance::bundle::probe_binary()?;
    std::fs::metadata(program).map_err(|source| Error::Spawn { program: program.clone(), source })?;
    let suite = Suite {
        harness: PathBuf::from("/proc/self/exe"),
        program: program.clone(),
        profile,
        cgroup: cli.cgroup,
        jobs: cli.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        within: Duration::from_secs(cli.within),
    };
    let interruption = Interruption::by_signal()?;
    let cases = suite.run(&cases, &interruption, &show);
    if io::stderr().is_terminal() {
        write!(io::stderr().lock(), "\r\x1b[K")?;
    }
    let cases = cases?;
    let outcome = Outcome::new(Run::of(&name(cli, profile, program), program), program, &cases);
    for report in &cli.reports {
        report.write(&outcome)?;
    }
    print(cli.output.as_deref(), |out| cli.format.write(&outcome, out))?;
    Ok(match cli.fail_on {
        FailOn::Must => !outcome.fails(Level::Must),
        FailOn::Should => !outcome.fails(Level::Should),
        FailOn::Never => true,
    })
}

/// What reports call the runtime.
fn name(cli: &Cli, profile: &Profile, program: &Path) -> String {
    match (&cli.name, program.file_stem().and_then(OsStr::to_str)) {
        (Some(name), _) => name.clone(),
        (None, Some(stem)) if *profile == Profile::GENERIC => stem.to_owned(),
        (None, _) => profile.name.to_owned(),
    }
}

/// Prints a document to a file, or to standard output.
fn print(file: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out: Box<dyn Write> = match file {
        Some(file) => {
            Box::new(File::create(file).map_err(|source| Error::File { path: file.into(), source })?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut buffer = BufWriter::new(&mut out);
    write(&mut buffer)?;
    Ok(buffer.flush()?)
}

fn matrix(
    format: Page,
    output: Option<&Path>,
    notes: Option<&Path>,
    results: &[PathBuf],
) -> Result<bool, Failure> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for path in results {
        let outcome = Outcome::read(path)?;
        match outcomes.iter_mut().find(|own| own.run.runtime == outcome.run.runtime) {
            Some(own) => own.join(outcome),
            None => outcomes.push(outcome),
        }
    }
    let notes = notes.map_or_else(|| Ok(Notes::default()), Notes::read)?;
    print(output, |out| match format {
        Page::Markdown => format::write_markdown(&outcomes, &notes, out),
        Page::Html => format::write_html(&outcomes, &notes, out),
    })?;
    Ok(true)
}

/// One line on a terminal, written over with each case that ends.
fn show(Progress { case, done, all }: Progress) {
    let mut terminal = io::stderr().lock();
    if terminal.is_terminal() {
        // A terminal that is gone has nobody to be told.
        drop(write!(terminal, "\r\x1b[K[{done:>3}/{all}] {case}").and_then(|()| terminal.flush()));
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Case>, Failure> {
    if let Some(unknown) =
        names.iter().find(|name| !CASES.iter().any(|case| case.id.starts_with(name.as_str())))
    {
        return Err(Failure::NoCase(unknown.clone()));
    }
    let wanted =
        |case: &&Case| names.is_empty() || names.iter().any(|name| case.id.starts_with(name.as_str()));
    Ok(CASES.iter().filter(wanted).collect())
}

fn list(out: &mut impl Write) -> Result<bool, Failure> {
    let (mut covered, mut waived, mut untested) = (0, 0, 0);
    for requirement in Requirement::all() {
        let Requirement { id, level, says, .. } = requirement;
        writeln!(out, "{:<6} {id}\n       {says}", level.word())?;
        match requirement.standing() {
            Standing::Covered => {
                covered += 1;
                let cases: Vec<&str> = requirement.cases().map(|case| case.id).collect();
                writeln!(out, "       covered by {}", cases.join(", "))?;
            }
            Standing::Waived(reason) => {
                waived += 1;
                writeln!(out, "       waived: {reason}")?;
            }
            Standing::Untested => {
                untested += 1;
                writeln!(out, "       needs a case")?;
            }
        }
    }
    writeln!(out, "{covered} covered by {} cases, {waived} waived, {untested} without a case", CASES.len())?;
    Ok(true)
}

/// What has to be looked at, with the digests that the registry wants.
fn drift(out: &mut impl Write, directory: &Path) -> Result<bool, Failure> {
    let drift = spec_text::drift(directory)?;
    let Drift { new, gone } = &drift;
    for (file, sentence) in new {
        let (section, digest) = (sentence.section(), sentence.digest());
        writeln!(out, "new      {file}#{section} {digest:#018x} {}", sentence.text)?;
    }
    for (requirement, successors) in gone {
        let word = if successors.is_empty() { "vanished" } else { "changed " };
        writeln!(out, "{word} {}: {}", requirement.id, requirement.says)?;
    }
    writeln!(
        out,
        "{} requirements, {} new sentences, {} gone",
        Requirement::all().count(),
        new.len(),
        gone.len()
    )?;
    Ok(drift.is_none())
}
