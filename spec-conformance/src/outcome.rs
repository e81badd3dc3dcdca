//! The results of a run, as a table for people and as JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::case::{CaseOutcome, Finding};
use crate::requirement::{Requirement, Verdict};

/// What all cases found about one runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Name of the runtime's profile.
    pub runtime: String,
    /// In the order in which they ran.
    pub cases: Vec<CaseOutcome>,
}

/// How many findings there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The runtime does as specified.
    pub passed: usize,
    /// It does not.
    pub failed: usize,
    /// Not testable on this host.
    pub skipped: usize,
}

impl Outcome {
    /// Counts the findings.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for finding in self.cases.iter().flat_map(|case| &case.findings) {
            match finding.verdict {
                Verdict::Pass => count.passed += 1,
                Verdict::Fail { .. } => count.failed += 1,
                Verdict::Skip { .. } => count.skipped += 1,
            }
        }
        count
    }

    /// One line for each requirement of each case, and below it each failure with both sides.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        for case in &self.cases {
            writeln!(out, "{} ({} ms)", case.case, case.took.as_millis())?;
            let mut written = Vec::new();
            for Finding { requirement, .. } in &case.findings {
                if !written.contains(&requirement) {
                    written.push(requirement);
                    write_requirement(out, case, requirement)?;
                }
            }
        }
        let Count { passed, failed, skipped } = self.count();
        writeln!(out, "{}: {passed} passed, {failed} failed, {skipped} skipped", self.runtime)
    }

    /// One JSON document.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}

/// A requirement passes if all its findings do.
fn write_requirement(out: &mut impl Write, case: &CaseOutcome, id: &str) -> io::Result<()> {
    let verdicts = || case.findings.iter().filter(|finding| finding.requirement == id).map(|f| &f.verdict);
    let word = if verdicts().any(|verdict| matches!(verdict, Verdict::Fail { .. })) {
        "FAIL"
    } else if verdicts().any(|verdict| matches!(verdict, Verdict::Skip { .. })) {
        "skip"
    } else {
        "pass"
    };
    let says = Requirement::find(id).map(|requirement| requirement.says).unwrap_or_default();
    writeln!(out, "  {word}  {id:<16} {says}")?;
    for verdict in verdicts() {
        match verdict {
            Verdict::Pass => {}
            Verdict::Fail { expected, observed } => {
                writeln!(out, "        expected {expected}\n        observed {}", observed.trim_end())?;
            }
            Verdict::Skip { needs } => writeln!(out, "        needs {needs}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome() -> Outcome {
        let fail = Verdict::Fail { expected: "1".into(), observed: "2".into() };
        let finding = |requirement, verdict| Finding { requirement, verdict };
        let findings = vec![finding("A", Verdict::Pass), finding("B", Verdict::Pass), finding("A", fail)];
        let case = CaseOutcome { case: "case", took: Duration::from_millis(5), findings };
        Outcome { runtime: "r".into(), cases: vec![case] }
    }

    #[test]
    fn one_failure_among_passes_fails_the_requirement() {
        let mut table = Vec::new();
        outcome().write_table(&mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert_eq!(table.matches("FAIL  A").count(), 1, "{table}");
        assert!(
            table.contains("pass  B") && table.contains("expected 1") && table.contains("2 passed, 1 failed")
        );
    }

    #[test]
    fn json_keeps_each_verdict_with_its_sides() {
        let mut json = Vec::new();
        outcome().write_json(&mut json).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["cases"][0]["findings"][2]["verdict"], "fail");
        assert_eq!(value["cases"][0]["findings"][2]["observed"], "2");
    }
}
