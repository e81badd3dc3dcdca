//! ketch's targets beside what was measured, and all medians, in Markdown.

use std::fmt::Write as _;

use crate::items::{ITEMS, Unit};
use crate::results::{Measured, Pace, Program, Results};
use crate::runtimes::{FLOOR, NAMES};
use crate::samples::Ratio;

/// Whose targets they are.
pub(crate) const SUBJECT: &str = "ketch";
/// Beside whom.
pub(crate) const PEER: &str = "crun";

/// What an item may cost as a multiple of the floor's, and of crun's. For runs per second: what it must reach.
#[derive(Debug)]
struct Target {
    item: &'static str,
    floor: Option<f64>,
    peer: Option<f64>,
}

const fn target(item: &'static str, floor: f64, peer: f64) -> Target {
    Target { item, floor: Some(floor), peer: Some(peer) }
}

const TARGETS: &[Target] = &[
    target("version", 1.35, 0.25),
    target("state", 1.35, 0.25),
    target("start", 1.35, 0.25),
    target("delete", 1.35, 0.25),
    target("run", 1.25, 0.45),
    target("create", 1.35, 0.42),
    target("exec", 1.55, 0.37),
    target("docker-warm", 1.3, 0.43),
    target("docker-cold", 1.3, 0.22),
    target("userns", 1.3, 0.52),
    target("mounts-2000", 1.1, 0.65),
    target("beside-200", 1.3, 0.45),
    Target { item: "list-200", floor: None, peer: Some(0.22) },
    target("masks-256", 1.1, 0.87),
    target("binds-200", 1.4, 0.38),
    target("env-64k", 1.2, 0.47),
    target("parallel-4", 0.78, 2.2),
    target("cpu", 1.3, 0.48),
    Target { item: "peak", floor: None, peer: Some(0.55) },
    target("held", 1.8, 0.43),
    target("least", 1.2, 1.2),
    target("calls", 1.6, 0.30),
];

/// `run`, as a multiple of crun's, where there are version 1 hierarchies.
const RUN_V1: f64 = 0.27;
/// The binary, KiB; one static file.
const BINARY: f64 = 2048.0;
/// The least memory limit with version 2, KiB.
const LEAST_V2: f64 = 512.0;

/// What came of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
}

/// One target, and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// The item, for people.
    pub(crate) about: String,
    /// Beside whom; nobody for an absolute target.
    pub(crate) beside: Option<&'static str>,
    /// The target in words.
    pub(crate) wanted: String,
    /// What was measured, in words.
    pub(crate) measured: String,
    /// None if it could not be measured.
    pub(crate) verdict: Option<Verdict>,
    /// The target lies within what the measurement cannot tell apart.
    pub(crate) unsure: bool,
}

/// All targets of the layout and the items that were to be measured.
pub(crate) fn lines(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    let is_chosen =
        |item: &str| results.item(item).is_some() || results.conditions.skipped.contains_key(item);
    for target in TARGETS.iter().filter(|target| is_chosen(target.item)) {
        let measured = results.item(target.item);
        let peer = match target.item {
            "run" if results.conditions.layout != "v2" => Some(RUN_V1),
            _ => target.peer,
        };
        for (reference, bound) in [(FLOOR, target.floor), (PEER, peer)] {
            let Some(bound) = bound else { continue };
            lines.push(relative(target.item, measured, reference, bound));
        }
    }
    let absolute = [("binary", BINARY), ("least", LEAST_V2)];
    let on_v2 = |item: &&(&str, f64)| item.0 != "least" || results.conditions.layout == "v2";
    let absolute = absolute.iter().filter(on_v2).filter(|(item, _)| is_chosen(item));
    lines.extend(absolute.map(|(item, bound)| limit(results, item, *bound)));
    lines
}

fn relative(item: &str, measured: Option<&Measured>, reference: &'static str, bound: f64) -> Line {
    let ratio = measured.and_then(|measured| measured.ratio(SUBJECT, reference, Pace::All));
    let is_cost = measured.is_none_or(|measured| measured.unit.is_cost()) && item != "parallel-4";
    let is_varied = measured.is_some_and(|measured| measured.unit != Unit::Number);
    Line {
        about: about(item),
        beside: Some(reference),
        wanted: format!("{} {bound:.2}", if is_cost { "≤" } else { "≥" }),
        measured: ratio.map_or_else(|| "not measured".into(), |ratio| words(&ratio, is_cost, is_varied)),
        verdict: ratio.map(|ratio| judge(&ratio, bound, is_cost)),
        unsure: ratio
            .is_some_and(|ratio| ratio.low <= bound && bound <= ratio.high && ratio.low < ratio.high),
    }
}

fn about(name: &str) -> String {
    ITEMS.iter().find(|item| item.name == name).map_or(name, |item| item.about).to_owned()
}

/// The least number of runs per second is the worst one: minima tell of costs only.
fn judge(ratio: &Ratio, bound: f64, is_cost: bool) -> Verdict {
    let met = if is_cost { ratio.median <= bound && ratio.min <= bound } else { ratio.median >= bound };
    if met { Verdict::Met } else { Verdict::Missed }
}

fn words(ratio: &Ratio, is_cost: bool, is_varied: bool) -> String {
    let mut words = format!("{:.2}", ratio.median);
    if is_cost && is_varied {
        let _ = write!(words, ", minima {:.2}", ratio.min);
    }
    if ratio.low < ratio.high {
        let _ = write!(words, " [{:.2}, {:.2}]", ratio.low, ratio.high);
    }
    words
}

fn limit(results: &Results, item: &str, bound: f64) -> Line {
    let measured = results.item(item);
    let median = measured.and_then(|measured| Some(measured.row(SUBJECT)?.summary(Pace::All)?.median));
    let is_static = |name: &Program| name.name == SUBJECT && name.is_static;
    let stays = item != "binary" || results.conditions.runtimes.iter().any(is_static);
    let suffix = match (item, stays) {
        ("binary", true) => ", static",
        ("binary", false) => ", not static",
        _ => "",
    };
    let met = |median| if median <= bound && stays { Verdict::Met } else { Verdict::Missed };
    Line {
        about: about(item),
        beside: None,
        wanted: format!("≤ {bound:.0} KiB{}", if item == "binary" { ", static" } else { "" }),
        measured: median.map_or_else(|| "not measured".into(), |median| format!("{median:.0} KiB{suffix}")),
        verdict: median.map(met),
        unsure: false,
    }
}

/// What came of it, in words.
pub(crate) fn verdict_words(line: &Line) -> &'static str {
    match (line.verdict, line.unsure) {
        (None, _) => "not measured",
        (Some(Verdict::Met), false) => "met",
        (Some(Verdict::Met), true) => "met, within the noise",
        (Some(Verdict::Missed), false) => "not met",
        (Some(Verdict::Missed), true) => "not met, within the noise",
    }
}

/// Both tables, with the conditions above.
pub(crate) fn markdown(results: &Results) -> String {
    let conditions = &results.conditions;
    let programs: Vec<_> = conditions.runtimes.iter().map(|program| program.version.as_str()).collect();
    let mut text = format!(
        "{}, Linux {}, {} processors, cgroup layout {}; {} rounds; {}.\n{}\n\n{}.\n",
        conditions.date,
        conditions.kernel,
        conditions.processors,
        conditions.layout,
        conditions.rounds,
        programs.join("; "),
        others_text(results),
        results.noise_text(),
    );
    text += "\n| item | beside | target | measured | |\n|---|---|--:|---|---|\n";
    for line in lines(results) {
        let Line { about, beside, wanted, measured, .. } = &line;
        let _ = writeln!(
            text,
            "| {about} | {} | {wanted} | {measured} | {} |",
            beside.unwrap_or(""),
            verdict_words(&line)
        );
    }
    text += &medians(results);
    for (item, reason) in &conditions.skipped {
        let _ = writeln!(text, "\nNot measured: {item}: {reason}.");
    }
    text
}

/// What else ran, in a sentence.
pub(crate) fn others_text(results: &Results) -> String {
    match results.conditions.others {
        Some(part) => {
            let but = if results.conditions.realtime { ", after what was measured (SCHED_RR)" } else { "" };
            format!("Others took {:.0} % of the processors meanwhile{but}.", part * 100.0)
        }
        None => "It is not known what else ran.".into(),
    }
}

fn medians(results: &Results) -> String {
    let shown: Vec<&str> = NAMES.iter().copied().filter(|name| has_runtime(results, name)).collect();
    let mut text = format!("\n| median (least, p90) | pause | {} |\n", shown.join(" | "));
    text += &format!("|---|---|{}\n", "--:|".repeat(shown.len()));
    for item in &results.items {
        let paces: &[_] = if item.unit == Unit::Milliseconds { &Pace::APART } else { &[("", Pace::All)] };
        for (name, pace) in paces {
            if item.rows.iter().all(|row| row.samples(*pace).is_empty()) {
                continue;
            }
            let cells: Vec<String> = shown.iter().map(|runtime| cell(item, runtime, *pace)).collect();
            let pause = match *name {
                "tight" => "no",
                "paused" => "yes",
                _ => "",
            };
            let sign = item.unit.sign();
            let unit = if sign.is_empty() { String::new() } else { format!(", {sign}") };
            let _ = writeln!(text, "| {}{unit} | {pause} | {} |", item.about, cells.join(" | "));
        }
    }
    text
}

fn has_runtime(results: &Results, name: &str) -> bool {
    results.conditions.runtimes.iter().any(|program| program.name == name)
}

fn cell(item: &Measured, runtime: &str, pace: Pace) -> String {
    let Some(row) = item.row(runtime) else { return "-".into() };
    let Some(summary) = row.summary(pace) else { return "failed".into() };
    let digits = item.unit.digits();
    let mut cell = format!("{:.digits$}", summary.median);
    if summary.min < summary.p90 {
        let _ = write!(cell, " ({:.digits$}, {:.digits$})", summary.min, summary.p90);
    }
    if row.failures > 0 {
        let _ = write!(cell, ", {} failed", row.failures);
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(median: f64, min: f64) -> Ratio {
        Ratio { median, min, low: median, high: median }
    }

    #[test]
    fn every_target_is_of_an_item() {
        for target in TARGETS {
            assert!(ITEMS.iter().any(|item| item.name == target.item), "{}", target.item);
        }
    }

    #[test]
    fn a_cost_is_met_by_its_median_and_its_minimum() {
        assert_eq!(judge(&ratio(1.2, 1.2), 1.25, true), Verdict::Met);
        assert_eq!(judge(&ratio(1.25, 1.25), 1.25, true), Verdict::Met);
        assert_eq!(judge(&ratio(1.2, 1.3), 1.25, true), Verdict::Missed);
        assert_eq!(judge(&ratio(1.3, 1.2), 1.25, true), Verdict::Missed);
    }

    #[test]
    fn runs_per_second_are_met_from_above() {
        assert_eq!(judge(&ratio(2.3, 1.0), 2.2, false), Verdict::Met);
        assert_eq!(judge(&ratio(2.1, 9.0), 2.2, false), Verdict::Missed);
    }

    #[test]
    fn what_was_not_measured_is_neither() {
        let line = relative("run", None, FLOOR, 1.25);
        assert_eq!((line.verdict, verdict_words(&line)), (None, "not measured"));
    }
}
