//! For a terminal: each failure with both sides, what was not tested, and a summary by area.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::escape;
use crate::outcome::{Mark, Outcome, Run, Tally};
use crate::requirement::{AREAS, Level, Requirement, Verdict};

pub(super) fn write(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for requirement in outcome.marked(Mark::Fail) {
        write_failure(outcome, requirement, out)?;
    }
    write_skipped(outcome, out)?;
    writeln!(out, "{:18}{:^31}   {:^31}", "", "MUST", "SHOULD")?;
    let head = format!("{:>6}{:>6}{:>6}{:>6}{:>7}", "pass", "fail", "skip", "none", "tested");
    writeln!(out, "{:18}{head}   {head}", "")?;
    for area in AREAS {
        let row = |level| {
            tally(&outcome.tally(|requirement| requirement.level == level && area.holds(requirement)))
        };
        writeln!(out, "{:18}{}   {}", area.name, row(Level::Must), row(Level::Should))?;
    }
    let row = |level| tally(&outcome.tally(|requirement| requirement.level == level));
    writeln!(out, "{:18}{}   {}", "all", row(Level::Must), row(Level::Should))?;
    let Run { runtime, version, specification, host, .. } = &outcome.run;
    let all = outcome.tally(|_| true);
    writeln!(out, "\n{version} and the OCI runtime specification {specification}, on {host}")?;
    writeln!(out, "{} clauses are waived, and not in the table: --list says why", all.of(Mark::Waived))?;
    let (passed, failed, skipped) = (all.of(Mark::Pass), all.of(Mark::Fail), all.of(Mark::Skip));
    writeln!(out, "{runtime}: {passed} passed, {failed} failed, {skipped} skipped")
}

/// In as many columns as the head of the table.
fn tally(tally: &Tally) -> String {
    let counts = [Mark::Pass, Mark::Fail, Mark::Skip, Mark::Untested].map(|mark| match tally.of(mark) {
        0 => format!("{:>6}", "-"),
        count => format!("{count:>6}"),
    });
    let coverage = if tally.testable() > 0 { format!("{}%", tally.coverage()) } else { "-".to_owned() };
    format!("{}{coverage:>7}", counts.concat())
}

fn write_failure(outcome: &Outcome, requirement: &Requirement, out: &mut dyn Write) -> io::Result<()> {
    let Requirement { id, level, says, .. } = requirement;
    writeln!(out, "FAIL {} {id}: {says}\n     {}", level.word(), requirement.link())?;
    for (case, verdict) in outcome.verdicts(id) {
        if let Verdict::Fail { expected, observed } = verdict {
            writeln!(out, "     {case}: expected {}", escape::line(expected))?;
            writeln!(out, "     {:1$}  observed {2}", "", case.len(), escape::line(observed))?;
        }
    }
    writeln!(out)
}

/// What is needed, and by which clauses.
fn write_skipped(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let mut needed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for requirement in Requirement::all() {
        for (_, verdict) in outcome.verdicts(requirement.id) {
            if let Verdict::Skip { needs } = verdict {
                let ids = needed.entry(needs).or_default();
                if !ids.contains(&requirement.id) {
                    ids.push(requirement.id);
                }
            }
        }
    }
    for (needs, ids) in needed {
        writeln!(out, "skip {} needs {needs}\n", ids.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn failures_come_with_both_sides_and_the_rows_add_up() {
        let mut table = Vec::new();
        write(&outcome("r"), &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert_eq!(table.matches("FAIL MUST config.root.readonly").count(), 1, "{table}");
        assert!(
            table.contains("     case: expected read-only, \"ro\" <&>\n           observed rw # not ok\n"),
            "{table}"
        );
        assert!(table.contains("skip config-linux.default-filesystems.available needs a kernel with #sysfs"));
        let numbers = |name: &str| -> Vec<usize> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line[18..]
                .split_whitespace()
                .map(|word| word.trim_end_matches('%').parse().unwrap_or(0))
                .collect()
        };
        let all = numbers("all ");
        assert_eq!((all[0], all[1], all[7]), (1, 1, 1), "{table}");
        for column in [0, 1, 2, 3, 5, 6, 7, 8] {
            assert_eq!(AREAS.iter().map(|area| numbers(area.name)[column]).sum::<usize>(), all[column]);
        }
    }
}
