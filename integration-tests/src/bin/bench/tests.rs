//! What is kept of a measurement, and what is shown of it, from made-up samples.

use std::collections::BTreeMap;
use std::fs;

use crate::items::Unit;
use crate::results::{self, Conditions, Measured, Pace, Program, Results, Row};
use crate::{page, targets};

fn row(runtime: &str, tight: &[f64], paused: &[f64]) -> Row {
    Row {
        runtime: runtime.to_owned(),
        tight: tight.to_vec(),
        paused: paused.to_vec(),
        failures: 0,
        failure: None,
    }
}

/// Two items on three runtimes. The floor takes 2 ms, ketch 3 and crun 8, and more after a pause.
fn made_up() -> Results {
    let program = |name: &str, is_static| Program {
        name: name.to_owned(),
        version: format!("{name} <1.0>"),
        is_static,
    };
    let mut rows = vec![
        row("floor", &[2.0, 1.9, 2.1], &[4.0]),
        row("ketch", &[3.0, 2.9, 3.1], &[6.0]),
        row("crun", &[8.1234, 8.0, 8.2], &[]),
    ];
    rows[2].failures = 2;
    rows[2].failure = Some("exit status: 1 <script src=\"https://example.org\">".to_owned());
    let item = |name: &str, unit, rows| Measured {
        item: name.to_owned(),
        about: format!("about {name}"),
        unit,
        rows,
    };
    Results {
        conditions: Conditions {
            date: "2026-01-02".to_owned(),
            kernel: "6.18".to_owned(),
            processors: 2,
            load: "0.1".to_owned(),
            layout: "v2".to_owned(),
            rounds: 3,
            pause: "now & then".to_owned(),
            realtime: false,
            seed: 18_446_744_073_709_551_615,
            others: Some(0.1234),
            runtimes: vec![program("floor", true), program("ketch", true), program("crun", false)],
            skipped: BTreeMap::from([("least".to_owned(), "no memory controller".to_owned())]),
        },
        items: vec![
            item("run", Unit::Milliseconds, rows),
            item("binary", Unit::Kibibytes, vec![row("ketch", &[], &[2000.5])]),
        ],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.json");
    results::write(&file, &made_up()).unwrap();
    assert_eq!(results::read(&file).unwrap(), made_up());
}

#[test]
fn programs_find_medians_and_ratios_beside_the_samples() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.json");
    results::write(&file, &made_up()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let ketch = &value["items"][0]["rows"][1];
    assert_eq!(ketch["summary"]["tight"]["median"], 3.0);
    assert_eq!(ketch["summary"]["all"]["min"], 2.9);
    assert_eq!(ketch["ratios"]["floor"]["median"], 3.05 / 2.05);
    assert_eq!(value["items"][0]["unit"], "ms");
}

#[test]
fn paces_are_told_apart() {
    let results = made_up();
    let run = results.item("run").unwrap();
    assert_eq!(run.ratio("ketch", "floor", Pace::Tight).unwrap().median, 1.5);
    assert_eq!(run.ratio("ketch", "floor", Pace::Paused).unwrap().median, 1.5);
    assert_eq!(run.ratio("ketch", "crun", Pace::Paused), None);
    assert_eq!(run.row("ketch").unwrap().samples(Pace::All), [3.0, 2.9, 3.1, 6.0]);
}

#[test]
fn the_page_asks_for_nothing_from_elsewhere_and_runs_nothing() {
    let page = page::html(&made_up());
    for word in ["<script", "<link", "<img", "<iframe", "url(", "@import", "src=\"", "href=", "javascript:"] {
        assert!(!page.contains(word), "{word}");
    }
    // An address in what a runtime said is text.
    assert_eq!(page.matches("://").count(), 1);
    assert!(page.contains("&lt;script src=&quot;https://example.org&quot;&gt;"));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn the_page_closes_what_it_opens() {
    let page = page::html(&made_up());
    for name in [
        "svg", "div", "table", "tr", "td", "g", "text", "title", "p", "h2", "h3", "ul", "li", "style", "body",
    ] {
        let opened = page.matches(&format!("<{name}>")).count() + page.matches(&format!("<{name} ")).count();
        assert_eq!(opened, page.matches(&format!("</{name}>")).count(), "{name}");
    }
}

#[test]
fn targets_are_judged_by_what_was_measured() {
    let text = targets::markdown(&made_up());
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("| run, default bundle | floor |").contains("not met"));
    assert!(line("| run, default bundle | crun |").contains("| ≤ 0.45 | 0.38, minima 0.36 "));
    assert!(line("| size of the binary |").ends_with("| ≤ 2048 KiB, static | 2000 KiB, static | met |"));
    assert!(line("| least memory limit of a run | floor |").ends_with("| not measured | not measured |"));
    assert!(!text.contains("| exec | floor |"), "it was not asked for");
    assert!(
        line("| about run, ms | no |")
            .contains("| 2.00 (1.90, 2.10) | 3.00 (2.90, 3.10) | 8.12 (8.00, 8.20), 2 failed |")
    );
    assert!(text.contains("Not measured: least: no memory controller."));
}
