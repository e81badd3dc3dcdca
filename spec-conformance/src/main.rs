//! Runs the conformance cases against a runtime: `spec-conformance --runtime /usr/bin/runc`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use spec_conformance::cases::CASES;
use spec_conformance::outcome::Outcome;
use spec_conformance::requirement::{REQUIREMENTS, Requirement};
use spec_conformance::{Case, Error, Profile, Runtime, spec_text};

/// Measure an OCI runtime against the runtime specification, clause by clause.
#[derive(Debug, Parser)]
#[command(name = "spec-conformance")]
struct Cli {
    /// The runtime's binary
    #[arg(long, value_name = "PATH", required_unless_present_any = ["list", "spec"])]
    runtime: Option<PathBuf>,
    /// How to drive it: ketch, runc, crun or youki; by default told from the binary's name
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Option<&'static Profile>,
    /// How to print the results
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// List the requirements and the cases that cover them
    #[arg(long)]
    list: bool,
    /// Compare the registry with this copy of the specification
    #[arg(long, value_name = "DIR")]
    spec: Option<PathBuf>,
    /// With --spec: print the statements of one section and their digests
    #[arg(long, value_name = "FILE#ANCHOR", requires = "spec")]
    statements: Option<String>,
    /// Cases to run; those whose name starts like this; all by default
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
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

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => match writeln!(io::stderr().lock(), "spec-conformance: {failure}") {
            Ok(()) | Err(_) => ExitCode::from(2),
        },
    }
}

/// Whether all is well: no failed case, no drift.
fn run(cli: &Cli) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match (&cli.spec, &cli.statements, &cli.runtime) {
        (Some(directory), Some(anchor), _) => statements(&mut out, directory, anchor),
        (Some(directory), None, _) => drift(&mut out, directory),
        (None, _, Some(program)) if !cli.list => measure(&mut out, cli, program),
        _ => list(&mut out),
    }
}

fn measure(out: &mut impl Write, cli: &Cli, program: &Path) -> Result<bool, Failure> {
    let cases = chosen(&cli.cases)?;
    let profile = cli.profile.unwrap_or_else(|| Profile::for_program(program));
    let runtime = Runtime::new(program, profile)?;
    // Told once here rather than by every case.
    spec_conformance::bundle::probe_binary()?;
    let cases = cases.into_iter().map(|case| case.conduct(&runtime)).collect();
    let outcome = Outcome { runtime: profile.name.to_owned(), cases };
    match cli.format {
        Format::Table => outcome.write_table(out)?,
        Format::Json => outcome.write_json(out)?,
    }
    Ok(outcome.count().failed == 0)
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
    for Requirement { id, level, anchor, says, waived, .. } in REQUIREMENTS {
        let level = format!("{level:?}").to_uppercase();
        writeln!(out, "{id:<16} {level:<6} {says} ({anchor})")?;
        for case in CASES.iter().filter(|case| case.proves.contains(id)) {
            writeln!(out, "{:23} covered by {}", "", case.id)?;
        }
        if let Some(reason) = waived {
            writeln!(out, "{:23} waived: {reason}", "")?;
        }
    }
    writeln!(out, "{} requirements, {} cases", REQUIREMENTS.len(), CASES.len())?;
    Ok(true)
}

fn drift(out: &mut impl Write, directory: &Path) -> Result<bool, Failure> {
    let drifted = spec_text::drifted(directory)?;
    for Requirement { id, anchor, says, .. } in &drifted {
        writeln!(out, "{id}: no statement of {anchor} has its digest any more: {says}")?;
    }
    writeln!(out, "{} of {} requirements drifted", drifted.len(), REQUIREMENTS.len())?;
    Ok(drifted.is_empty())
}

fn statements(out: &mut impl Write, directory: &Path, place: &str) -> Result<bool, Failure> {
    let (file, anchor) = place.split_once('#').unwrap_or((place, ""));
    let path = directory.join(file);
    let markdown = std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let found = spec_text::statements(&markdown, anchor);
    for statement in &found {
        writeln!(out, "{:#018x} {statement}", spec_text::digest(statement))?;
    }
    Ok(!found.is_empty())
}
