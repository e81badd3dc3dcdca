//! Prints the results as a table.

use std::io::Write;

use crate::error::{At, Error};
use crate::items::Unit;
use crate::results::{Conditions, Measured, Pace, REFERENCES, Results, Row};

/// Prints the conditions, above the table.
pub(crate) fn print_conditions(out: &mut impl Write, conditions: &Conditions) -> Result<(), Error> {
    let programs: Vec<_> =
        conditions.runtimes.iter().map(|program| format!("{}: {}", program.name, program.version)).collect();
    let mut text = format!(
        "Linux {}, {} processors, load {}; cgroup layout {}\n{} rounds, seed {}; pause {}\n{}\n",
        conditions.kernel,
        conditions.processors,
        conditions.load,
        conditions.layout,
        conditions.rounds,
        conditions.seed,
        conditions.pause,
        programs.join("; "),
    );
    for (item, reason) in &conditions.skipped {
        text += &format!("skipped {item}: {reason}\n");
    }
    writeln!(out, "{text}").and_then(|()| out.flush()).at("standard output")
}

/// Prints the table, then the first failure of each row that has one, then how noisy it was.
pub(crate) fn print(out: &mut impl Write, results: &Results) -> Result<(), Error> {
    let is_shown = |name: &&str| results.conditions.runtimes.iter().any(|program| program.name == **name);
    let shown: Vec<&str> = REFERENCES.iter().filter(|name| is_shown(name)).copied().collect();
    let mut text = format!("{:<17}{:<7}", "item", "runtime");
    for column in ["tight", "paused", "min", "p90"] {
        text += &format!("{column:>9}");
    }
    for name in &shown {
        text += &format!("{:>9}", format!("x {name}"));
    }
    text += "  failed\n";
    for item in &results.items {
        text += "\n";
        for row in &item.rows {
            text += &line(item, row, &shown);
        }
    }
    for item in &results.items {
        for row in &item.rows {
            if let Some(failure) = &row.failure {
                text += &format!("\n{} {}: {failure}", row.runtime, item.item);
            }
        }
    }
    text += &format!(
        "\ntight: median of rounds without a pause; paused: of rounds with one; ratios of medians of both\n{}",
        results.noise_text()
    );
    if let Some(others) = results.conditions.others {
        text += &format!("; others took {:.0} % of the processors", others * 100.0);
    }
    writeln!(out, "{text}").at("standard output")
}

fn line(item: &Measured, row: &Row, shown: &[&str]) -> String {
    let digits = item.unit.digits();
    let cell =
        |value: Option<f64>, digits| value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"));
    let name = match item.unit {
        Unit::Number => item.item.clone(),
        unit => format!("{}, {}", item.item, unit.sign()),
    };
    let mut line = format!("{name:<17}{:<7}", row.runtime);
    let (all, tight, paused) = (Pace::All, Pace::Tight, Pace::Paused);
    let values = [
        row.summary(tight).map(|summary| summary.median),
        row.summary(paused).map(|summary| summary.median),
        row.summary(all).map(|summary| summary.min),
        row.summary(all).map(|summary| summary.p90),
    ];
    for value in values {
        line += &format!("{:>9}", cell(value, digits));
    }
    for name in shown {
        let ratio = item.ratio(&row.runtime, name, all).map(|ratio| ratio.median);
        line += &format!("{:>9}", cell(ratio, 2));
    }
    let failed = if row.failures == 0 { "-".into() } else { row.failures.to_string() };
    line + &format!("{failed:>8}\n")
}
