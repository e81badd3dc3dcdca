//! Clauses and runtimes as a page of Markdown.

use std::io::{self, Write};

use super::{Notes, escape};
use crate::outcome::{Mark, Outcome, Tally, lasting};
use crate::requirement::{AREAS, Level, Requirement, SPEC_VERSION, Verdict};

/// What a mark looks like in a cell.
pub(super) const fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Pass => "✓",
        Mark::Fail => "✗",
        Mark::Skip => "–",
        Mark::Untested => "?",
        Mark::Waived => "·",
    }
}

/// A page about these runtimes: a summary, every failure with its note, every clause.
pub fn write(outcomes: &[Outcome], notes: &Notes, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# Conformance to the OCI runtime specification {SPEC_VERSION}\n")?;
    writeln!(
        out,
        "Made by `spec-conformance matrix` from results of `spec-conformance --report json=FILE`.\n"
    )?;
    write_summary(outcomes, out)?;
    write_areas(outcomes, out)?;
    write_failures(outcomes, notes, out)?;
    write_clauses(outcomes, out)
}

fn write_summary(outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| runtime | version | MUST passed | tested | SHOULD passed | tested | measured |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for outcome in outcomes {
        let level = |level| outcome.tally(|requirement| requirement.level == level);
        let (must, should) = (level(Level::Must), level(Level::Should));
        let run = &outcome.run;
        let cells = [
            format!("**{}**", escape::markdown(&run.runtime)),
            escape::markdown(&run.version),
            passed(&must),
            format!("{}%", must.coverage()),
            passed(&should),
            format!("{}%", should.coverage()),
            escape::markdown(&format!("{}, {}", run.date, run.host)),
        ];
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    writeln!(out, "\n\"Tested\" is the share of the clauses that can be tested and had a verdict.\n")
}

/// `12 of 13`; a dash if there is no verdict.
fn passed(tally: &Tally) -> String {
    match tally.of(Mark::Pass) + tally.of(Mark::Fail) {
        0 => "-".to_owned(),
        verdicts => format!("{} of {verdicts}", tally.of(Mark::Pass)),
    }
}

fn write_head(outcomes: &[Outcome], first: &str, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<String> = outcomes.iter().map(|outcome| escape::markdown(&outcome.run.runtime)).collect();
    writeln!(out, "| {first} | {} |", names.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(first.split('|').count() + outcomes.len()))
}

fn write_areas(outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Clauses passed, by area\n")?;
    write_head(outcomes, "area", out)?;
    for area in AREAS {
        let cell = |outcome: &Outcome| passed(&outcome.tally(|requirement| area.holds(requirement)));
        let cells: Vec<String> = outcomes.iter().map(cell).collect();
        writeln!(out, "| {} | {} |", area.name, cells.join(" | "))?;
    }
    writeln!(out)
}

fn write_failures(outcomes: &[Outcome], notes: &Notes, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Failures\n")?;
    if outcomes.iter().all(|outcome| outcome.marked(Mark::Fail).next().is_none()) {
        return writeln!(out, "There are none.\n");
    }
    writeln!(out, "| clause | runtime | expected | observed | explanation |\n|---|---|---|---|---|")?;
    for requirement in Requirement::all() {
        for outcome in outcomes {
            let runtime = &outcome.run.runtime;
            let Some((expected, observed)) = first_failure(outcome, requirement) else { continue };
            writeln!(
                out,
                "| [{}]({}) {} | {} | {} | {} | {} |",
                requirement.id,
                requirement.link(),
                requirement.level.word(),
                escape::markdown(runtime),
                escape::markdown(&shortened(expected)),
                escape::markdown(&shortened(observed)),
                escape::markdown(notes.about(requirement.id, runtime).unwrap_or_default()),
            )?;
        }
    }
    writeln!(out)
}

/// Both sides of the first failed check of a clause.
pub(super) fn first_failure<'a>(
    outcome: &'a Outcome,
    requirement: &Requirement,
) -> Option<(&'a str, &'a str)> {
    outcome.verdicts(requirement.id).find_map(|(_, verdict)| match verdict {
        Verdict::Fail { expected, observed } => Some((expected.as_str(), observed.as_str())),
        Verdict::Pass | Verdict::Skip { .. } => None,
    })
}

/// What fits a cell.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    lasting::shortened(&escape::line(text), LONGEST)
}

fn write_clauses(outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Clauses\n")?;
    let legend = Mark::ALL.map(|mark| format!("{} {}", sign(mark), mark.word()));
    writeln!(out, "{}. \"skip\" is what could not be tested on the host.\n", legend.join(", "))?;
    for area in AREAS {
        writeln!(out, "### {}\n", area.name)?;
        write_head(outcomes, "clause | | says", out)?;
        for requirement in Requirement::all().filter(|requirement| area.holds(requirement)) {
            let cell = |outcome: &Outcome| sign(outcome.mark(requirement));
            let cells: Vec<&str> = outcomes.iter().map(cell).collect();
            let Requirement { id, level, says, .. } = requirement;
            let (link, says) = (requirement.link(), escape::markdown(says));
            writeln!(out, "| [{id}]({link}) | {} | {says} | {} |", level.word(), cells.join(" | "))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "### Waived\n\n| clause | reason |\n|---|---|")?;
    for (requirement, reason) in Requirement::all().filter_map(|one| Some((one, one.waived?))) {
        writeln!(out, "| [{}]({}) | {} |", requirement.id, requirement.link(), escape::markdown(reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{FAILED, PASSED, outcome};

    fn page(outcomes: &[Outcome]) -> String {
        let mut written = Vec::new();
        let notes = format!(r#"[{{"clause": "{FAILED}", "runtimes": ["two"], "note": "a known | bug"}}]"#);
        write(outcomes, &serde_json::from_str(&notes).unwrap(), &mut written).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn each_clause_has_a_sign_for_each_runtime_and_each_failure_its_note() {
        let page = page(&[outcome("one"), outcome("two")]);
        let row = page.lines().find(|line| line.starts_with(&format!("| [{PASSED}]"))).unwrap();
        assert!(row.ends_with("| ✓ | ✓ |") && row.contains("v1.3.0/config.md#mounts"), "{row}");
        let failures: Vec<&str> = page.lines().filter(|line| line.contains("read-only, \"ro\"")).collect();
        assert_eq!(failures.len(), 2);
        assert!(failures[0].contains("| one |") && failures[0].ends_with("|  |"), "{}", failures[0]);
        assert!(
            failures[1].contains("| two |") && failures[1].ends_with("| a known \\| bug |"),
            "{}",
            failures[1]
        );
    }

    #[test]
    fn the_rows_of_a_table_have_the_columns_of_its_head() {
        let page = page(&[outcome("one"), outcome("two")]);
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        for table in page.split("\n\n").filter(|block| block.starts_with('|')) {
            let mut lines = table.lines().map(columns);
            let head = lines.next().unwrap();
            assert!(lines.all(|row| row == head), "{table}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(301)), format!("{}…", "ä".repeat(300)));
        assert_eq!(shortened("a\nb"), "a b");
    }
}
