//! Clauses and runtimes as a page to look at: one file that needs nothing else.

use std::io::{self, Write};

use super::escape::xml;
use super::markdown::{first_failure, shortened, sign};
use super::{Notes, escape, untested};
use crate::outcome::{Mark, Outcome, Tally};
use crate::requirement::{AREAS, Level, Requirement, SPEC_VERSION, Verdict};

/// A page about these runtimes: a summary, every failure with its note, every clause.
pub fn write(outcomes: &[Outcome], notes: &Notes, out: &mut dyn Write) -> io::Result<()> {
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.run.runtime.as_str()).collect();
    let names = xml(&names.join(", "));
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>OCI runtime specification {SPEC_VERSION}: {names}</title>\n<style>\n{style}</style>\n\
         <header><h1>OCI runtime specification <span>{SPEC_VERSION}</span>, clause by clause</h1>\n\
         <button id=\"theme\" type=\"button\" title=\"Light or dark\">◐</button></header>\n<main>"
    )?;
    write_cards(outcomes, out)?;
    write_areas(outcomes, out)?;
    write_failures(outcomes, notes, out)?;
    write_clauses(outcomes, notes, out)?;
    writeln!(out, "</main>\n<script>\n{script}</script>\n</html>")
}

fn write_cards(outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section class=\"cards\">")?;
    for (column, outcome) in outcomes.iter().enumerate() {
        let run = &outcome.run;
        writeln!(out, "<article><h2>{}</h2>", xml(&run.runtime))?;
        writeln!(
            out,
            "<p class=\"version\">{}<br>{}, {}</p>",
            xml(&run.version),
            xml(&run.date),
            xml(&run.host)
        )?;
        for level in [Level::Must, Level::Should] {
            let tally = outcome.tally(|requirement| requirement.level == level);
            let class = level.word().to_lowercase();
            writeln!(
                out,
                "<p class=\"share {class}\"><b>{}<small>%</small></b><span>{} of {} {} passed<br>{}% tested</span></p>{}",
                tally.passing(),
                tally.of(Mark::Pass),
                tally.of(Mark::Pass) + tally.of(Mark::Fail),
                level.word(),
                tally.coverage(),
                bar(&tally),
            )?;
        }
        // Filled from the table below: a square for each clause.
        writeln!(out, "<div class=\"squares\" data-column=\"{column}\"></div></article>")?;
    }
    write!(
        out,
        "</section><p class=\"legend\">A square is a clause of level MUST, a circle one of level SHOULD:"
    )?;
    for mark in Mark::ALL {
        write!(out, " <i class=\"{0}\"></i> {0}", mark.word())?;
    }
    writeln!(out, "</p>")
}

/// How the clauses that can be tested divide.
fn bar(tally: &Tally) -> String {
    let part = |mark: Mark| match tally.of(mark) {
        0 => String::new(),
        count => {
            let word = mark.word();
            format!("<i class=\"{word}\" style=\"flex-grow:{count}\" title=\"{count} {word}\"></i>")
        }
    };
    let parts = [Mark::Pass, Mark::Fail, Mark::Skip, Mark::Untested].map(part);
    format!("<div class=\"bar\">{}</div>", parts.concat())
}

fn write_areas(outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section><h2>By area</h2><div class=\"wide\"><table class=\"areas\"><tr><th></th>")?;
    for outcome in outcomes {
        write!(out, "<th>{}</th>", xml(&outcome.run.runtime))?;
    }
    writeln!(out, "</tr>")?;
    for area in AREAS {
        write!(out, "<tr><th><a href=\"#clauses\" data-area=\"{0}\">{0}</a></th>", xml(area.name))?;
        for outcome in outcomes {
            let tally = outcome.tally(|requirement| area.holds(requirement));
            let (passed, failed) = (tally.of(Mark::Pass), tally.of(Mark::Fail));
            write!(out, "<td>{}<small>{passed} of {}</small></td>", bar(&tally), passed + failed)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div></section>")
}

fn write_failures(outcomes: &[Outcome], notes: &Notes, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section><h2>Failures</h2>")?;
    if outcomes.iter().all(|outcome| outcome.marked(Mark::Fail).next().is_none()) {
        return writeln!(out, "<p>There are none.</p></section>");
    }
    writeln!(out, "<div class=\"failures\">")?;
    for requirement in Requirement::all() {
        let failed: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| outcome.mark(requirement) == Mark::Fail).collect();
        if failed.is_empty() {
            continue;
        }
        let (id, link, level) = (requirement.id, requirement.link(), requirement.level.word());
        writeln!(
            out,
            "<details><summary><em class=\"{}\">{level}</em> <code>{id}</code> {}",
            level.to_lowercase(),
            xml(requirement.says),
        )?;
        for outcome in &failed {
            write!(out, " <b>{}</b>", xml(&outcome.run.runtime))?;
        }
        writeln!(out, "</summary><p><a href=\"{link}\">the clause</a></p>")?;
        // Runtimes of which the same is to be said.
        let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
        for outcome in failed {
            let runtime = outcome.run.runtime.as_str();
            let (expected, observed) = first_failure(outcome, requirement).unwrap_or_default();
            let (expected, observed) = (xml(&shortened(expected)), xml(&shortened(observed)));
            let note = xml(notes.about(id, runtime).unwrap_or_default());
            let text = format!(
                "<dd><i>expected</i> {expected}</dd><dd><i>observed</i> {observed}</dd><dd class=\"note\">{note}</dd>"
            );
            match alike.iter_mut().find(|(other, _)| *other == text) {
                Some((_, runtimes)) => runtimes.push(runtime),
                None => alike.push((text, vec![runtime])),
            }
        }
        for (text, runtimes) in alike {
            writeln!(out, "<dl><dt>{}</dt>{text}</dl>", xml(&runtimes.join(", ")))?;
        }
        writeln!(out, "</details>")?;
    }
    writeln!(out, "</div></section>")
}

fn write_clauses(outcomes: &[Outcome], notes: &Notes, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section id=\"clauses\"><h2>Clauses <small id=\"shown\"></small></h2><form class=\"filters\">"
    )?;
    writeln!(
        out,
        "<input type=\"search\" name=\"text\" placeholder=\"id or words\" aria-label=\"id or words\">"
    )?;
    write!(out, "<select name=\"area\" aria-label=\"area\"><option value=\"\">every area</option>")?;
    for area in AREAS {
        write!(out, "<option>{}</option>", xml(area.name))?;
    }
    writeln!(out, "</select>")?;
    for level in [Level::Must, Level::Should] {
        let word = level.word();
        writeln!(
            out,
            "<label><input type=\"checkbox\" name=\"level\" value=\"{word}\" checked>{word}</label>"
        )?;
    }
    for mark in Mark::ALL {
        let (word, sign) = (mark.word(), sign(mark));
        writeln!(
            out,
            "<label class=\"{word}\"><input type=\"checkbox\" name=\"mark\" value=\"{word}\" checked>{sign} {word}</label>"
        )?;
    }
    writeln!(
        out,
        "<label><input type=\"checkbox\" name=\"differ\">only where runtimes differ</label></form>"
    )?;
    writeln!(
        out,
        "<div class=\"wide\"><table class=\"clauses\"><thead><tr><th>clause</th><th></th><th>says</th>"
    )?;
    for outcome in outcomes {
        write!(out, "<th>{}</th>", xml(&outcome.run.runtime))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for area in AREAS {
        for requirement in Requirement::all().filter(|requirement| area.holds(requirement)) {
            write_clause(outcomes, notes, (area.name, requirement), out)?;
        }
    }
    writeln!(out, "</tbody></table></div></section>")
}

fn write_clause(
    outcomes: &[Outcome],
    notes: &Notes,
    (area, requirement): (&str, &Requirement),
    out: &mut dyn Write,
) -> io::Result<()> {
    let (id, link, level) = (requirement.id, requirement.link(), requirement.level.word());
    write!(
        out,
        "<tr id=\"{id}\" data-area=\"{area}\" data-level=\"{level}\"><td><a href=\"{link}\">{id}</a></td>\
         <td><em class=\"{}\">{level}</em></td><td>{}</td>",
        level.to_lowercase(),
        xml(requirement.says),
    )?;
    for outcome in outcomes {
        let mark = outcome.mark(requirement);
        let (word, sign) = (mark.word(), sign(mark));
        let hover = xml(&hover(outcome, requirement, notes));
        write!(out, "<td class=\"{word}\" title=\"{hover}\">{sign}</td>")?;
    }
    writeln!(out, "</tr>")
}

/// What there is to know about a cell.
fn hover(outcome: &Outcome, requirement: &Requirement, notes: &Notes) -> String {
    let said = |(case, verdict): (&str, &Verdict)| match verdict {
        Verdict::Pass => format!("{case}: pass"),
        Verdict::Fail { expected, observed } => {
            format!("{case}\nexpected {}\nobserved {}", shortened(expected), shortened(observed))
        }
        Verdict::Skip { needs } => format!("{case}: needs {}", escape::line(needs)),
    };
    let mut lines: Vec<String> = outcome.verdicts(requirement.id).map(said).collect();
    match (lines.is_empty(), requirement.waived) {
        (true, Some(reason)) => lines.push(format!("waived: {reason}")),
        (true, None) => lines.push(untested(requirement).to_owned()),
        (false, _) => {}
    }
    lines.extend(notes.about(requirement.id, &outcome.run.runtime).map(str::to_owned));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{FAILED, WAIVED, outcome};

    fn page() -> String {
        let mut written = Vec::new();
        let notes =
            format!(r#"[{{"clause": "{FAILED}", "runtimes": ["<two>"], "note": "a \"known\" <bug>"}}]"#);
        write(&[outcome("one"), outcome("<two>")], &serde_json::from_str(&notes).unwrap(), &mut written)
            .unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn the_page_needs_no_other_file() {
        let page = page();
        let addresses = page.matches("://").count();
        let links = page.matches("href=\"https://github.com/opencontainers/runtime-spec/blob/").count();
        assert_eq!(addresses, links, "only links to the specification");
        for reference in [" src=", "<link", "@import", "url(", "fetch(", "import(", "XMLHttpRequest"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn every_clause_is_a_row_with_a_cell_for_each_runtime() {
        let page = page();
        for requirement in Requirement::all() {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("<tr id=\"{}\"", requirement.id)))
                .unwrap();
            assert_eq!(row.matches("<td class=").count(), 2, "{row}");
            assert!(row.contains(&format!("href=\"{}\"", requirement.link())), "{row}");
        }
    }

    #[test]
    fn what_runtimes_say_is_text_and_seen_when_hovered() {
        let page = page();
        assert!(!page.contains("<two>") && !page.contains("<bug>") && page.contains("<b>&lt;two&gt;</b>"));
        let row = |id: &str| page.lines().find(|line| line.starts_with(&format!("<tr id=\"{id}\""))).unwrap();
        let both = "expected read-only, &quot;ro&quot; &lt;&amp;&gt;&#10;observed rw # not ok";
        assert_eq!(row(FAILED).matches(both).count(), 2);
        assert!(row(FAILED).contains("&#10;a &quot;known&quot; &lt;bug&gt;"));
        assert!(row(WAIVED).contains("title=\"waived: "));
    }
}
