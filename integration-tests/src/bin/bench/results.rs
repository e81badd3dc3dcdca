//! The results, as they are kept: JSON that can be read back, with what follows from the samples beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::error::{At, Error};
use crate::items::Unit;
use crate::options::{Options, Pause};
use crate::rounds::Series;
use crate::runtimes::{self, Runtime};
use crate::samples::{Ratio, Summary, discord, rounded};

/// Whom the others are measured by; a column each, if it was measured.
pub(crate) const REFERENCES: [&str; 4] = [runtimes::FLOOR, "crun", "runc", "youki"];

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Under which conditions.
    pub(crate) conditions: Conditions,
    /// In the order of the table of items.
    pub(crate) items: Vec<Measured>,
}

/// The conditions of the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// The day, UTC.
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) processors: usize,
    /// What /proc/loadavg said before.
    pub(crate) load: String,
    pub(crate) layout: String,
    pub(crate) rounds: u32,
    pub(crate) pause: String,
    /// Before all ordinary programs.
    pub(crate) realtime: bool,
    pub(crate) seed: u64,
    /// The part of all processor time that others took meanwhile, 0 to 1.
    pub(crate) others: Option<f64>,
    pub(crate) runtimes: Vec<Program>,
    /// Items that were left out, and why.
    pub(crate) skipped: BTreeMap<String, String>,
}

/// One runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The first line of its `--version`.
    pub(crate) version: String,
    /// It is one file, without an interpreter.
    pub(crate) is_static: bool,
}

/// One item on all runtimes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) item: String,
    pub(crate) about: String,
    pub(crate) unit: Unit,
    pub(crate) rows: Vec<Row>,
}

/// One item on one runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) runtime: String,
    /// Samples of the rounds without a pause.
    pub(crate) tight: Vec<f64>,
    /// Samples of the rounds with one.
    pub(crate) paused: Vec<f64>,
    pub(crate) failures: u32,
    pub(crate) failure: Option<String>,
}

/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    All,
    Tight,
    Paused,
}

impl Pace {
    /// The two that are told apart, with their names.
    pub(crate) const APART: [(&'static str, Self); 2] = [("tight", Self::Tight), ("paused", Self::Paused)];
}

impl Row {
    /// Its samples at this pace.
    pub(crate) fn samples(&self, pace: Pace) -> Vec<f64> {
        match pace {
            Pace::All => [self.tight.as_slice(), &self.paused].concat(),
            Pace::Tight => self.tight.clone(),
            Pace::Paused => self.paused.clone(),
        }
    }

    /// Their shape.
    pub(crate) fn summary(&self, pace: Pace) -> Option<Summary> {
        Summary::of(&self.samples(pace))
    }
}

impl Measured {
    /// What this runtime did.
    pub(crate) fn row(&self, runtime: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.runtime == runtime)
    }

    /// One runtime as a multiple of another.
    pub(crate) fn ratio(&self, runtime: &str, reference: &str, pace: Pace) -> Option<Ratio> {
        Ratio::of(&self.row(runtime)?.samples(pace), &self.row(reference)?.samples(pace))
    }
}

impl Results {
    /// The results of these cases, in their order.
    pub(crate) fn new(conditions: Conditions, cases: &[Case<'_>], series: Vec<Series>) -> Self {
        let mut items: Vec<Measured> = Vec::new();
        for (case, series) in cases.iter().zip(series) {
            if items.last().is_none_or(|last| last.item != case.item.name) {
                items.push(Measured {
                    item: case.item.name.to_owned(),
                    about: case.item.about.to_owned(),
                    unit: case.item.gauge.unit(),
                    rows: Vec::new(),
                });
            }
            let row = Row {
                runtime: case.runtime.name.to_owned(),
                tight: series.tight.into_iter().map(rounded).collect(),
                paused: series.paused.into_iter().map(rounded).collect(),
                failures: series.failures,
                failure: series.reason,
            };
            items.last_mut().into_iter().for_each(|item| item.rows.push(row.clone()));
        }
        Self { conditions, items }
    }

    /// What was measured for this item.
    pub(crate) fn item(&self, name: &str) -> Option<&Measured> {
        self.items.iter().find(|item| item.item == name)
    }

    /// How far apart the medians of two halves of the same series are, in the middle and for the worst tenth of
    /// the series of times: [`discord`].
    pub(crate) fn noise(&self) -> Option<Summary> {
        let timed = self.items.iter().filter(|item| item.unit == Unit::Milliseconds);
        let rows = timed.flat_map(|item| &item.rows);
        let apart = rows.flat_map(|row| [discord(&row.tight), discord(&row.paused)]).flatten();
        Summary::of(&apart.collect::<Vec<_>>())
    }

    /// The noise in a sentence.
    pub(crate) fn noise_text(&self) -> String {
        let Some(noise) = self.noise() else { return "noise: too few samples to tell".into() };
        format!(
            "noise: medians of two halves of the same samples differ by {:.0} % (one series in ten: by {:.0} % or more)",
            noise.median * 100.0,
            noise.p90 * 100.0
        )
    }
}

impl Conditions {
    /// Looks at the machine.
    pub(crate) fn new(options: &Options, runtimes: &[Runtime], skipped: BTreeMap<String, String>) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let program = |runtime: &Runtime| Program {
            name: runtime.name.to_owned(),
            version: runtime.version.clone(),
            is_static: runtimes::is_static(&runtime.path).unwrap_or_default(),
        };
        Self {
            date: day(seconds / 86400),
            kernel: uname().map_or_else(|_| "?".into(), |name| name.release().to_string_lossy().into_owned()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
            layout: options.layout.name().to_owned(),
            rounds: options.rounds,
            pause: match options.pause {
                Pause::Always(pause) => format!("{} ms before each command", pause.as_millis()),
                Pause::Mixed => "20 ms before each command in every second round, 0 in the others".into(),
            },
            realtime: options.realtime,
            seed: options.seed,
            others: None,
            runtimes: runtimes.iter().map(program).collect(),
            skipped,
        }
    }
}

/// The date of a day after the first of January 1970 (Hinnant, "chrono-compatible low-level date algorithms").
fn day(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Writes everything, a line for each row, with the summaries and ratios that follow.
pub(crate) fn write(file: &Path, results: &Results) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        row: &'a Row,
        summary: BTreeMap<&'static str, Summary>,
        /// By whom it is divided.
        ratios: BTreeMap<&'static str, Ratio>,
    }
    let mut text = format!("{{\n\"conditions\": {},\n\"items\": [", json(&results.conditions)?);
    for (index, item) in results.items.iter().enumerate() {
        let unit = json(&item.unit)?;
        text += if index == 0 { "\n" } else { ",\n" };
        text += &format!("{{\"item\": {}, \"about\": {}, ", json(&item.item)?, json(&item.about)?);
        text += &format!("\"unit\": {unit}, \"rows\": [");
        for (index, row) in item.rows.iter().enumerate() {
            let paces = [("all", Pace::All), Pace::APART[0], Pace::APART[1]];
            let summary =
                paces.into_iter().filter_map(|(name, pace)| Some((name, row.summary(pace)?))).collect();
            let ratios = REFERENCES
                .into_iter()
                .filter_map(|name| Some((name, item.ratio(&row.runtime, name, Pace::All)?)))
                .collect();
            text += if index == 0 { "\n " } else { ",\n " };
            text += &json(&Written { row, summary, ratios })?;
        }
        text += "]}";
    }
    fs::write(file, text + "\n]\n}\n").at(file)
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).at("json")
}

/// Reads back what [`write`] wrote. What follows from the samples is not read, but found again.
pub(crate) fn read(file: &Path) -> Result<Results, Error> {
    serde_json::from_str(&fs::read_to_string(file).at(file)?).at(file)
}
