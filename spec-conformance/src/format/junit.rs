//! JUnit's XML, as continuous integrations read it: a suite for each area, a test case for each clause.

use std::io::{self, Write};

use super::escape::xml;
use super::untested;
use crate::outcome::{Mark, Outcome, Tally};
use crate::requirement::{AREAS, Area, Requirement, Verdict};

pub(super) fn write(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let seconds: f64 = outcome.cases.iter().map(|case| case.seconds).sum();
    let name = xml(&format!(
        "{} and the OCI runtime specification {}",
        outcome.run.runtime, outcome.run.specification
    ));
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"{name}\" {} time=\"{seconds:.3}\">", counts(&outcome.tally(|_| true)))?;
    for area in AREAS {
        write_area(outcome, area, out)?;
    }
    writeln!(out, "</testsuites>")
}

fn counts(tally: &Tally) -> String {
    let skipped = tally.of(Mark::Skip) + tally.of(Mark::Untested) + tally.of(Mark::Waived);
    let failures = tally.of(Mark::Fail);
    format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"",
        tally.of(Mark::Pass) + failures + skipped
    )
}

fn write_area(outcome: &Outcome, area: &Area, out: &mut dyn Write) -> io::Result<()> {
    let run = &outcome.run;
    writeln!(
        out,
        "  <testsuite name=\"{}\" {} timestamp=\"{}T00:00:00\">",
        xml(area.name),
        counts(&outcome.tally(|requirement| area.holds(requirement))),
        xml(&run.date),
    )?;
    writeln!(out, "    <properties>")?;
    for (name, value) in [("version", &run.version), ("host", &run.host)] {
        writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", xml(value))?;
    }
    writeln!(out, "    </properties>")?;
    for requirement in Requirement::all().filter(|requirement| area.holds(requirement)) {
        write_clause(outcome, requirement, out)?;
    }
    writeln!(out, "  </testsuite>")
}

fn write_clause(outcome: &Outcome, requirement: &Requirement, out: &mut dyn Write) -> io::Result<()> {
    let class = format!("{}.{}", requirement.level.word(), requirement.file());
    write!(out, "    <testcase classname=\"{}\" name=\"{}\"", xml(&class), xml(requirement.id))?;
    let reason = match outcome.mark(requirement) {
        Mark::Pass => return writeln!(out, "/>"),
        Mark::Fail => {
            writeln!(out, ">")?;
            write_failure(outcome, requirement, out)?;
            return writeln!(out, "    </testcase>");
        }
        Mark::Skip => {
            let needs = outcome.verdicts(requirement.id).filter_map(|(_, verdict)| match verdict {
                Verdict::Skip { needs } => Some(format!("needs {needs}")),
                Verdict::Pass | Verdict::Fail { .. } => None,
            });
            needs.collect::<Vec<_>>().join("; ")
        }
        Mark::Untested => untested(requirement).to_owned(),
        Mark::Waived => format!("waived: {}", requirement.waived.unwrap_or_default()),
    };
    writeln!(out, "><skipped message=\"{}\"/></testcase>", xml(&reason))
}

fn write_failure(outcome: &Outcome, requirement: &Requirement, out: &mut dyn Write) -> io::Result<()> {
    let level = requirement.level.word();
    writeln!(
        out,
        "      <failure type=\"{level}\" message=\"{}\">{}",
        xml(requirement.says),
        xml(&requirement.link())
    )?;
    for (case, verdict) in outcome.verdicts(requirement.id) {
        if let Verdict::Fail { expected, observed } = verdict {
            let text = format!("{case}\n  expected {expected}\n  observed {}", observed.trim_end());
            for line in text.lines() {
                writeln!(out, "{}", xml(line))?;
            }
        }
    }
    writeln!(out, "      </failure>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{FAILED, outcome};

    /// The elements of a document, in order, with their attributes; panics if they are not well nested.
    fn elements(document: &str) -> Vec<(String, String)> {
        let mut open: Vec<String> = Vec::new();
        let mut found = Vec::new();
        for tag in document.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').expect("a tag ends");
            assert!(!text.contains(['<', '>']), "{text}");
            let legal = text.split('&').skip(1).all(|entity| {
                ["amp;", "lt;", "gt;", "quot;", "#10;"].iter().any(|known| entity.starts_with(known))
            });
            assert!(legal, "{text}");
            if tag.starts_with('?') {
                assert!(found.is_empty());
            } else if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else {
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                let name = name.trim_end_matches('/').to_owned();
                assert_eq!(attributes.matches('"').count() % 2, 0, "{tag}");
                found.push((name.clone(), attributes.to_owned()));
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
        assert!(open.is_empty(), "{open:?}");
        found
    }

    fn number(attributes: &str, name: &str) -> usize {
        let (_, rest) = attributes
            .split_once(&format!(" {name}=\""))
            .or_else(|| attributes.split_once(&format!("{name}=\"")))
            .unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_document_is_well_formed_and_counts_what_it_holds() {
        let mut written = Vec::new();
        write(&outcome("<r> & \"s\""), &mut written).unwrap();
        let elements = elements(std::str::from_utf8(&written).unwrap());
        let count = |name: &str| elements.iter().filter(|element| element.0 == name).count();
        let whole = &elements[0].1;
        assert_eq!(number(whole, "tests"), Requirement::all().count());
        assert_eq!(number(whole, "tests"), count("testcase"));
        assert_eq!((number(whole, "failures"), count("failure")), (1, 1));
        assert_eq!(number(whole, "skipped"), count("skipped"));
        assert_eq!(count("testsuite"), AREAS.len());
        let suites = elements.iter().filter(|element| element.0 == "testsuite");
        let sum = |name| suites.clone().map(|suite| number(&suite.1, name)).sum::<usize>();
        assert_eq!((sum("tests"), sum("failures")), (count("testcase"), 1));
        assert_eq!(sum("skipped"), count("skipped"));
    }

    #[test]
    fn a_failure_tells_both_sides_and_where_to_read_the_clause() {
        let mut written = Vec::new();
        write(&outcome("r"), &mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        let (_, failed) = text.split_once(&format!("name=\"{FAILED}\"")).unwrap();
        let (failed, _) = failed.split_once("</testcase>").unwrap();
        assert!(failed.contains("expected read-only, &quot;ro&quot; &lt;&amp;&gt;\n"), "{failed}");
        assert!(
            failed.contains("observed rw\n# not ok\n") && failed.contains("v1.3.0/config.md#root"),
            "{failed}"
        );
    }
}
