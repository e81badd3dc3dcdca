//! TAP version 14: a test point for each clause. See testanything.org.

use std::io::{self, Write};

use super::{escape, untested};
use crate::outcome::{Mark, Outcome};
use crate::requirement::{Requirement, Verdict};

pub(super) fn write(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "TAP version 14\n1..{}", Requirement::all().count())?;
    for (at, requirement) in Requirement::all().enumerate() {
        let mark = outcome.mark(requirement);
        // A test point that is not ok and has something left to do is no failure.
        let (ok, directive) = match mark {
            Mark::Pass => ("ok", String::new()),
            Mark::Fail => ("not ok", String::new()),
            Mark::Skip => ("ok", format!(" # SKIP {}", needs(outcome, requirement.id))),
            Mark::Untested => ("not ok", format!(" # TODO {}", untested(requirement))),
            Mark::Waived => {
                ("ok", format!(" # SKIP {}", escape::tap(requirement.waived.unwrap_or_default())))
            }
        };
        let says = escape::tap(requirement.says);
        writeln!(out, "{ok} {} - {} {says}{directive}", at + 1, requirement.id)?;
        if mark == Mark::Fail {
            write_failures(outcome, requirement, out)?;
        }
    }
    Ok(())
}

fn needs(outcome: &Outcome, id: &str) -> String {
    let needs = outcome.verdicts(id).filter_map(|(_, verdict)| match verdict {
        Verdict::Skip { needs } => Some(escape::tap(needs)),
        Verdict::Pass | Verdict::Fail { .. } => None,
    });
    needs.collect::<Vec<_>>().join("; ")
}

/// A block of YAML, whose texts are JSON's: YAML has them too.
fn write_failures(outcome: &Outcome, requirement: &Requirement, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  ---\n  severity: {}\n  at: {}\n  failures:",
        requirement.level.word(),
        requirement.link()
    )?;
    for (case, verdict) in outcome.verdicts(requirement.id) {
        if let Verdict::Fail { expected, observed } = verdict {
            let (expected, observed) = (serde_json::to_string(expected)?, serde_json::to_string(observed)?);
            writeln!(out, "    - case: {case}\n      wanted: {expected}\n      found: {observed}")?;
        }
    }
    writeln!(out, "  ...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{FAILED, PASSED, SKIPPED, WAIVED, outcome};

    #[test]
    fn the_plan_has_a_line_for_each_clause_and_the_mark_decides_about_it() {
        let mut written = Vec::new();
        write(&outcome("r"), &mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("TAP version 14"));
        let points: Vec<&str> =
            text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
        assert_eq!(lines.next(), Some(format!("1..{}", points.len()).as_str()));
        for (at, point) in points.iter().enumerate() {
            assert!(point.contains(&format!("ok {} - ", at + 1)), "{point}");
        }
        let point = |id: &str| *points.iter().find(|point| point.contains(&format!("- {id} "))).unwrap();
        assert!(point(PASSED).starts_with("ok ") && !point(PASSED).contains('#'));
        assert!(point(FAILED).starts_with("not ok ") && !point(FAILED).contains('#'));
        assert!(
            point(SKIPPED).starts_with("ok ") && point(SKIPPED).ends_with("# SKIP a kernel with \\#sysfs")
        );
        assert!(point(WAIVED).starts_with("ok ") && point(WAIVED).contains(" # SKIP "));
        assert!(point("config.mounts.relative").starts_with("not ok ") && text.contains("# TODO"));
        assert!(text.contains(
            "      wanted: \"read-only, \\\"ro\\\" <&>\"\n      found: \"rw\\n# not ok\"\n  ...\n"
        ));
    }
}
