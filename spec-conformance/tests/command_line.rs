//! The command line: what it prints where, and how it exits. The runtime is a script that refuses everything. Needs root.
#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, as tests do")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use spec_conformance::Requirement;
use spec_conformance::outcome::{Mark, Outcome};
use tempfile::TempDir;

/// A case that gives verdicts on clauses of level MUST.
const CASE: &str = "process-user";

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let script = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'scripted 1.0'\nexit 1\n";
        std::fs::write(place.path("runtime"), script).unwrap();
        std::fs::set_permissions(place.path("runtime"), std::fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the harness here.
    fn harness(&self, args: &[&str]) -> Output {
        // Cargo names it in a variable with a hyphen, which a shell that wraps the compiler drops.
        let program = Path::new(env!("CARGO_BIN_EXE_probe")).with_file_name("spec-conformance");
        Command::new(program).args(args).current_dir(&self.0).stdin(Stdio::null()).output().unwrap()
    }

    fn measure(&self, args: &[&str]) -> Output {
        self.harness(&[&["--profile", "generic", "--runtime", "runtime", CASE], args].concat())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn one_run_makes_every_report_that_is_asked_for() {
    let place = Place::new();
    let reports = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "tap=r.tap"];
    let output = place.measure(&[&reports[..], &["--output", "r.txt"]].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{output:?}");
    let outcome = Outcome::read(&place.path("r.json")).unwrap();
    assert_eq!((outcome.run.runtime.as_str(), outcome.run.version.as_str()), ("runtime", "scripted 1.0"));
    let failed = outcome.marked(Mark::Fail).count();
    assert!(failed > 0);
    assert!(place.read("r.txt").ends_with(&format!("runtime: 0 passed, {failed} failed, 0 skipped\n")));
    assert_eq!(place.read("r.xml").matches("<failure ").count(), failed);
    let points = |line: &&str| line.starts_with("not ok") && !line.contains("# TODO");
    assert_eq!(place.read("r.tap").lines().filter(points).count(), failed);
}

#[test]
fn the_exit_status_is_for_the_failures_that_matter() {
    let place = Place::new();
    for (fail_on, status) in [("must", 1), ("should", 1), ("never", 0)] {
        assert_eq!(place.measure(&["--fail-on", fail_on]).status.code(), Some(status), "{fail_on}");
    }
    for wrong in [&["--report", "pdf=x"][..], &["--report", "tap=absent/x"], &["no-such-case"]] {
        assert_eq!(place.measure(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(place.harness(&[]).status.code(), Some(2));
}

#[test]
fn results_come_side_by_side_and_those_of_one_runtime_together() {
    let place = Place::new();
    for name in ["one", "two"] {
        let report = format!("json={name}.json");
        let output = place.measure(&["--name", name, "--fail-on", "never", "--report", &report]);
        assert!(output.status.success(), "{output:?}");
    }
    let page = place.harness(&["matrix", "two.json", "one.json", "one.json"]);
    assert!(page.status.success(), "{page:?}");
    assert!(text(&page.stdout).contains("\n| area | two | one |\n"));
    let clause = Requirement::all().find(|one| one.cases().any(|case| case.id == CASE)).unwrap();
    let row = text(&page.stdout).lines().find(|line| line.starts_with(&format!("| [{}]", clause.id)));
    assert!(row.unwrap().contains("| two |") || row.unwrap().ends_with("| ✗ | ✗ |"), "{row:?}");
    let notes = format!(r#"[{{"clause": "{}", "runtimes": ["one"], "note": "as it is"}}]"#, clause.id);
    std::fs::write(place.path("notes.json"), notes).unwrap();
    let output = place.harness(&[
        "matrix",
        "--format",
        "html",
        "--notes",
        "notes.json",
        "--output",
        "m.html",
        "one.json",
    ]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{output:?}");
    assert!(place.read("m.html").contains("as it is"));
    assert_eq!(place.harness(&["matrix", "absent.json"]).status.code(), Some(2));
}

#[test]
fn a_copy_of_the_specification_with_other_sentences_is_told() {
    let place = Place::new();
    assert_eq!(place.harness(&["--check-spec", "."]).status.code(), Some(2), "there is none");
    for file in spec_conformance::spec_text::FILES {
        std::fs::write(place.path(file), "# Later\n\nThis MUST be new.\n").unwrap();
    }
    let output = place.harness(&["--check-spec", "."]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("new      config.md#later 0x") && said.contains("vanished config.mounts.order: "),
        "{said}"
    );
    let all = Requirement::all().count();
    assert!(said.ends_with(&format!("{all} requirements, 7 new sentences, {all} gone\n")), "{said}");
}

#[test]
fn the_list_has_every_clause_with_its_cases_or_its_reason() {
    let output = Place::new().harness(&["--list"]);
    assert!(output.status.success());
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    for requirement in Requirement::all() {
        let head = format!("{:<6} {}", requirement.level.word(), requirement.id);
        let at = lines.iter().position(|line| *line == head).unwrap();
        assert!(
            lines[at + 2].starts_with("       covered by ") || lines[at + 2].starts_with("       waived: ")
        );
    }
}
