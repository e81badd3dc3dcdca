//! What is published in docs/conformance: pages that are made from the results beside them, and explanations.
#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, as tests do")]

use std::path::{Path, PathBuf};

use spec_conformance::Requirement;
use spec_conformance::format::{Notes, write_html, write_markdown};
use spec_conformance::outcome::{Mark, Outcome};

/// In the order of the columns.
const RUNTIMES: [&str; 4] = ["ketch", "runc", "crun", "youki"];

fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance").join(name)
}

/// Results of a runtime are in NAME.json, and those from another host in NAME-HOST.json.
fn outcomes() -> Vec<Outcome> {
    let entries = std::fs::read_dir(published("")).unwrap();
    let mut files: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let outcome = |name: &str| {
        let mut outcome = Outcome::read(&published(&format!("{name}.json"))).unwrap();
        let elsewhere = files.iter().filter(|file| file.starts_with(&format!("{name}-")));
        elsewhere.for_each(|file| outcome.join(Outcome::read(&published(file)).unwrap()));
        outcome
    };
    RUNTIMES.iter().map(|name| outcome(name)).collect()
}

fn notes() -> Notes {
    Notes::read(&published("notes.json")).unwrap()
}

/// With `UPDATE` set, makes them.
#[test]
fn the_pages_are_made_from_the_results_and_the_notes() {
    let (outcomes, notes) = (outcomes(), notes());
    let (mut markdown, mut html) = (Vec::new(), Vec::new());
    write_markdown(&outcomes, &notes, &mut markdown).unwrap();
    write_html(&outcomes, &notes, &mut html).unwrap();
    for (name, made) in [("matrix.md", markdown), ("matrix.html", html)] {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(published(name), &made).unwrap();
        }
        let same = std::fs::read(published(name)).unwrap() == made;
        assert!(same, "{name} is old: UPDATE=1 cargo test -p spec-conformance --test published");
    }
}

#[test]
fn every_failure_is_explained_and_every_explanation_is_of_a_failure() {
    let (outcomes, notes) = (outcomes(), notes());
    for outcome in &outcomes {
        let runtime = &outcome.run.runtime;
        for requirement in outcome.marked(Mark::Fail) {
            let id = requirement.id;
            assert!(
                notes.about(id, runtime).is_some(),
                "{runtime} fails {id} and notes.json says nothing of it"
            );
        }
    }
    for note in notes.iter() {
        let requirement = Requirement::find(&note.clause).unwrap();
        for runtime in &note.runtimes {
            let outcome = outcomes.iter().find(|outcome| outcome.run.runtime == *runtime).unwrap();
            assert_eq!(outcome.mark(requirement), Mark::Fail, "{runtime} {}", note.clause);
        }
    }
}

#[test]
fn results_are_of_clauses_that_there_are() {
    for outcome in outcomes() {
        for found in outcome.cases.iter().flat_map(|case| &case.findings) {
            assert!(Requirement::find(&found.clause).is_some(), "{}: {}", outcome.run.runtime, found.clause);
        }
    }
}
