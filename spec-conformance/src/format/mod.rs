//! Reports of what a run found out: for people, for continuous integration, and several runtimes side by side.

mod escape;
mod html;
mod junit;
mod markdown;
mod notes;
mod table;
mod tap;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

pub use html::write as write_html;
pub use markdown::write as write_markdown;
pub use notes::Notes;

use crate::Error;
use crate::outcome::Outcome;
use crate::requirement::Requirement;

/// A form of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal: what failed and why, and a summary by area
    Table,
    /// The results themselves, from which `matrix` makes the others
    Json,
    /// JUnit's XML, a test suite for each area
    Junit,
    /// TAP version 14, a test point for each clause
    Tap,
    /// A page with every clause
    Markdown,
    /// The same to look at, in one file
    Html,
}

/// A report that goes to a file: `junit=FILE` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its form.
    pub format: Format,
    /// Where it goes.
    pub file: PathBuf,
}

impl FromStr for Report {
    type Err = String;

    fn from_str(text: &str) -> Result<Report, String> {
        let (format, file) = text.split_once('=').ok_or("not of the form FORMAT=FILE")?;
        Ok(Report { format: Format::from_str(format, false)?, file: file.into() })
    }
}

impl Report {
    /// Writes it.
    pub fn write(&self, outcome: &Outcome) -> Result<(), Error> {
        let write = || {
            let mut out = BufWriter::new(File::create(&self.file)?);
            self.format.write(outcome, &mut out)?;
            out.flush()
        };
        write().map_err(Error::file(&self.file))
    }
}

impl Format {
    /// Writes a report of this form.
    pub fn write(self, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
        let alone = std::slice::from_ref(outcome);
        match self {
            Format::Table => table::write(outcome, out),
            Format::Json => outcome.write_json(out),
            Format::Junit => junit::write(outcome, out),
            Format::Tap => tap::write(outcome, out),
            Format::Markdown => markdown::write(alone, &Notes::default(), out),
            Format::Html => html::write(alone, &Notes::default(), out),
        }
    }
}

/// Why there is no verdict on a clause that could have one.
fn untested(requirement: &Requirement) -> &'static str {
    match requirement.cases().next() {
        Some(_) => "its cases were not run",
        None => "needs a case",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn a_report_is_told_by_its_form_and_its_file() {
        let report: Report = "junit=out/a=b.xml".parse().unwrap();
        assert_eq!(report, Report { format: Format::Junit, file: "out/a=b.xml".into() });
        assert!("junit".parse::<Report>().is_err() && "pdf=x".parse::<Report>().is_err());
    }

    #[test]
    fn every_form_can_be_written_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        for format in Format::value_variants() {
            let file = directory.path().join("report");
            Report { format: *format, file: file.clone() }.write(&outcome("r")).unwrap();
            let mut written = Vec::new();
            format.write(&outcome("r"), &mut written).unwrap();
            assert!(!written.is_empty());
            assert_eq!(std::fs::read(&file).unwrap(), written, "{format:?}");
        }
        let nowhere = Report { format: Format::Tap, file: directory.path().join("absent/report") };
        assert!(nowhere.write(&outcome("r")).is_err());
    }
}
