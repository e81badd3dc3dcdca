//! Tells the results: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use nix::sys::utsname::uname;
use serde::Serialize;

use crate::error::{At, Error};
use crate::items::{Case, Unit};
use crate::options::{Options, Pause};
use crate::runtimes::Runtime;
use crate::samples::{Series, Summary};

/// Whom the others are measured by; a column each, if it was measured.
const REFERENCES: [&str; 4] = ["floor", "crun", "runc", "youki"];

/// The conditions of the measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Header {
    kernel: String,
    processors: usize,
    load: String,
    layout: &'static str,
    rounds: u32,
    pause: String,
    seed: u64,
    runtimes: BTreeMap<&'static str, String>,
}

impl Header {
    /// Looks at the machine.
    pub(crate) fn new(options: &Options, runtimes: &[Runtime]) -> Self {
        Self {
            kernel: uname().map_or_else(|_| "?".into(), |name| name.release().to_string_lossy().into_owned()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
            layout: options.layout.name(),
            rounds: options.rounds,
            pause: match options.pause {
                Pause::Always(pause) => format!("{} ms before each command", pause.as_millis()),
                Pause::Mixed => {
                    "20 ms before each command in every second round, 0 in the others, told together".into()
                }
            },
            seed: options.seed,
            runtimes: runtimes.iter().map(|runtime| (runtime.name, runtime.version.clone())).collect(),
        }
    }

    /// Prints it above the table.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<(), Error> {
        let text = format!(
            "Linux {}, {} processors, load {}; cgroup layout {}\n{} rounds, seed {}; pause {}\n{}\n",
            self.kernel,
            self.processors,
            self.load,
            self.layout,
            self.rounds,
            self.seed,
            self.pause,
            self.runtimes
                .iter()
                .map(|(name, version)| format!("{name}: {version}"))
                .collect::<Vec<_>>()
                .join("; "),
        );
        writeln!(out, "{text}").and_then(|()| out.flush()).at("standard output")
    }
}

/// One item on one runtime.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    item: &'static str,
    unit: &'static str,
    runtime: &'static str,
    summary: Option<Summary>,
    /// This median as a multiple of another's, by the other's name.
    ratios: BTreeMap<&'static str, f64>,
    failures: u32,
    failure: Option<String>,
    samples: Vec<f64>,
}

/// The rows of the table, in the order of the cases.
pub(crate) fn rows(cases: &[Case<'_>], series: &[Series]) -> Vec<Row> {
    let mut rows: Vec<Row> = cases.iter().zip(series).map(|(case, series)| row(case, series)).collect();
    let medians: Vec<_> =
        rows.iter().filter_map(|row| Some((row.item, row.runtime, row.summary?.median))).collect();
    for row in &mut rows {
        let Some(own) = row.summary else { continue };
        let references =
            medians.iter().filter(|(item, name, _)| *item == row.item && REFERENCES.contains(name));
        row.ratios = references.map(|(_, name, median)| (*name, own.median / median)).collect();
    }
    rows
}

fn row(case: &Case<'_>, series: &Series) -> Row {
    Row {
        item: case.item.name,
        unit: match case.item.unit {
            Unit::Milliseconds => "ms",
            Unit::Kibibytes => "KiB",
        },
        runtime: case.runtime.name,
        summary: Summary::of(&series.samples),
        ratios: BTreeMap::new(),
        failures: series.failures,
        failure: series.reason.clone(),
        samples: series.samples.clone(),
    }
}

/// Prints the table, then the first failure of each row that has one.
pub(crate) fn print(out: &mut impl Write, rows: &[Row]) -> Result<(), Error> {
    let shown: Vec<_> =
        REFERENCES.into_iter().filter(|name| rows.iter().any(|row| row.runtime == *name)).collect();
    let mut text = format!("{:<16}{:<7}{:>9}{:>9}{:>9}", "item", "runtime", "median", "min", "p90");
    for name in &shown {
        text += &format!("{:>9}", format!("x {name}"));
    }
    text += "  failed\n";
    let mut item = "";
    for row in rows {
        if row.item != item {
            text += "\n";
        }
        item = row.item;
        text += &line(row, &shown);
    }
    for row in rows {
        if let Some(failure) = &row.failure {
            text += &format!("\n{} {}: {failure}", row.runtime, row.item);
        }
    }
    writeln!(out, "{text}").at("standard output")
}

fn line(row: &Row, shown: &[&str]) -> String {
    let digits = if row.unit == "ms" { 2 } else { 0 };
    let cell =
        |value: Option<f64>, digits| value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"));
    let mut line = format!("{:<16}{:<7}", format!("{}, {}", row.item, row.unit), row.runtime);
    for value in [row.summary.map(|s| s.median), row.summary.map(|s| s.min), row.summary.map(|s| s.p90)] {
        line += &format!("{:>9}", cell(value, digits));
    }
    for name in shown {
        line += &format!("{:>9}", cell(row.ratios.get(name).copied(), 2));
    }
    let failed = if row.failures == 0 { "-".into() } else { row.failures.to_string() };
    line + &format!("{failed:>8}\n")
}

/// Writes the conditions and all rows with their samples.
pub(crate) fn write_json(file: &Path, header: &Header, rows: &[Row]) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Document<'a> {
        conditions: &'a Header,
        rows: &'a [Row],
    }
    let text = serde_json::to_string_pretty(&Document { conditions: header, rows }).at("json")?;
    fs::write(file, text + "\n").at(file)
}
