//! The page: the results as one HTML file, which asks for nothing from anywhere.

use std::fmt::Write as _;

use crate::plot::{self, escaped};
use crate::results::Results;
use crate::targets::{self, Verdict};

const STYLE: &str = include_str!("../../../bench/page.css");

/// The whole page.
pub(crate) fn html(results: &Results) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Container runtimes beside the kernel's floor</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         {}{}{}{}</body>\n</html>\n",
        head(results),
        overview(results),
        targets(results),
        items(results),
    )
}

fn head(results: &Results) -> String {
    let conditions = &results.conditions;
    let mut text = String::from("<h1>Container runtimes beside the kernel's floor</h1>\n");
    let _ = write!(
        text,
        "<p>Every runtime did the same things, in interleaved rounds of shuffled order. The floor is a static C program \
         that does only the kernel's work of the same config. Only ratios mean anything on another machine.</p>\n\
         <p class=\"soft\">{}, Linux {}, {} processors, cgroup layout {}, {} rounds, pause {}. {} {}{}.</p>\n\
         <ul class=\"legend\">",
        conditions.date,
        escaped(&conditions.kernel),
        conditions.processors,
        conditions.layout,
        conditions.rounds,
        escaped(&conditions.pause),
        targets::others_text(results),
        results.noise_text().replacen("noise", "Noise", 1),
        if conditions.rounds < 10 { "; few rounds: take no ratio for sure" } else { "" },
    );
    for program in &conditions.runtimes {
        let linked = if program.is_static { "static" } else { "with shared libraries" };
        let _ = write!(
            text,
            "<li class=\"{}\"><i></i>{} <span class=\"soft\">{linked}</span></li>",
            program.name,
            escaped(&program.version)
        );
    }
    text + "</ul>\n"
}

fn overview(results: &Results) -> String {
    let measured = results.conditions.runtimes.iter().any(|program| program.name == crate::runtimes::FLOOR);
    if !measured {
        return String::new();
    }
    format!(
        "<h2>As a multiple of the floor</h2>\n<p class=\"soft\">Medians; further left is better. The axis is \
         logarithmic.</p>\n<div class=\"card\">{}</div>\n",
        plot::overview(results)
    )
}

fn targets(results: &Results) -> String {
    let lines = targets::lines(results);
    if lines.iter().all(|line| line.verdict.is_none()) {
        return String::new();
    }
    let count = |verdict| lines.iter().filter(|line| line.verdict == Some(verdict)).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    let mut text = format!(
        "<h2>ketch's targets: {met} met, {missed} not</h2>\n<p class=\"soft\">Ratios of medians and of minima; in \
         brackets where nine of ten repetitions of the rounds would have the ratio of medians.</p>\n\
         <div class=\"card scroll\"><table>\n\
         <tr><th>item</th><th>beside</th><th>target</th><th>measured</th><th></th></tr>\n"
    );
    for line in &lines {
        let class = match line.verdict {
            Some(Verdict::Met) => "met",
            Some(Verdict::Missed) => "missed",
            None => "soft",
        };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"{class}\">{}</td></tr>",
            escaped(&line.about),
            line.beside.unwrap_or(""),
            line.wanted,
            line.measured,
            targets::verdict_words(line)
        );
    }
    text + "</table></div>\n"
}

fn items(results: &Results) -> String {
    let mut text = String::from(
        "<h2>Every sample</h2>\n<p class=\"soft\">A dot is a measurement, the bar the median; beside it the median with \
         the least and the p90. Of two rows the first has no pause before the measurement, the second one of some \
         milliseconds, after which the kernel takes longer for some things. Hover for more.</p>\n\
         <div class=\"cards\">\n",
    );
    for item in &results.items {
        let unit = item.unit.sign();
        let unit =
            if unit.is_empty() { String::new() } else { format!(" <span class=\"soft\">{unit}</span>") };
        let about = escaped(&item.about);
        let _ = write!(text, "<div class=\"card\"><h3>{about}{unit}</h3>{}", plot::samples(item));
        for row in item.rows.iter().filter(|row| row.failures > 0) {
            let times = if row.failures == 1 { "once" } else { "more than once" };
            let _ = write!(text, "<p class=\"note\">{} failed {times}</p>", row.runtime);
        }
        text += "</div>\n";
    }
    text += "</div>\n";
    text += &failures(results);
    for (item, reason) in &results.conditions.skipped {
        let _ = writeln!(text, "<p class=\"soft\">Not measured: {}: {}.</p>", escaped(item), escaped(reason));
    }
    text
}

/// The first failure of each runtime, in its own words: the others mostly say the same.
fn failures(results: &Results) -> String {
    let mut text = String::new();
    for program in &results.conditions.runtimes {
        let mut failed =
            results.items.iter().filter_map(|item| Some((item, item.row(&program.name)?.failure.as_ref()?)));
        let Some((item, reason)) = failed.next() else { continue };
        let others = match failed.count() {
            0 => String::new(),
            count => format!(" It failed in {count} more items."),
        };
        let (name, about) = (escaped(&program.name), escaped(&item.about));
        let _ = writeln!(text, "<p class=\"soft\">{name}, {about}: {}.{others}</p>", escaped(reason));
    }
    text
}
