//! docs/spec-status.md says what ketch does of the specification, and which tests show it. It is made from
//! rows.txt and from the names of all tests, which begin with the ids of their rows; `UPDATE=1` writes it anew.

mod rows;
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use rows::{Line, Row};
use tests::Test;

const ROWS: &str = include_str!("rows.txt");
const SPEC: &str = "https://github.com/opencontainers/runtime-spec/blob/main";

/// Tests that are named in a cell; of more only the number.
const SHOWN: usize = 3;

#[test]
fn every_row_has_a_test_or_a_reason_and_the_table_says_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let lines = rows::read(ROWS);
    let mut by_row: BTreeMap<String, Vec<Test>> = BTreeMap::new();
    for test in tests::all(root) {
        for id in &test.rows {
            by_row.entry(id.clone()).or_default().push(test.clone());
        }
    }
    let missing: Vec<String> = rows::of(&lines).filter_map(|row| lacks(row, &by_row)).collect();
    assert!(missing.is_empty(), "rows without tests and without a reason:\n{}", missing.join("\n"));

    let page = render(&lines, &by_row);
    let path = root.join("docs/spec-status.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/spec-status.md is out of date; UPDATE=1 writes it");
}

/// What a row lacks, if it gives no reason.
fn lacks(row: &Row, by_row: &BTreeMap<String, Vec<Test>>) -> Option<String> {
    let tests = by_row.get(row.id).map_or(&[][..], Vec::as_slice);
    let works = tests.iter().any(|test| !test.refusal);
    let refused = tests.iter().any(|test| test.refusal);
    let lack = match (works, refused) {
        (false, false) => "no test",
        (false, true) if row.refusable => "no test that it works",
        (true, false) if row.refusable => "no test that it is refused",
        _ => return None,
    };
    row.reason.is_none().then(|| format!("{}: {lack}: {}", row.id, row.what))
}

fn render(lines: &[Line<'_>], by_row: &BTreeMap<String, Vec<Test>>) -> String {
    let rows: Vec<&Row<'_>> = rows::of(lines).collect();
    let with_reason = rows.iter().filter(|row| row.reason.is_some()).count();
    let mut page = format!(
        "# What ketch does of the specification\n\n\
         {} rows, {with_reason} of them with a remark. The tests are named for the rows that they show; a test \
         generates this page from their names (`UPDATE=1 cargo test -p integration-tests --test spec_status`).\n\
         \"Refused\" are tests of the errors: bad configs with all their findings (`bad-...`), and operations that \
         fail as they should.\n",
        rows.len()
    );
    for line in lines {
        match line {
            Line::Section(title) => {
                let _infallible = write!(
                    page,
                    "\n## {title}\n\n| row | what | shown by | refused | remark |\n|---|---|---|---|---|\n"
                );
            }
            Line::Row(row) => {
                let tests = by_row.get(row.id).map_or(&[][..], Vec::as_slice);
                let (refused, works): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.refusal);
                let _infallible = writeln!(
                    page,
                    "| {} | {} | {} | {} | {} |",
                    row.id,
                    linked(row),
                    cell(&works),
                    cell(&refused),
                    row.reason.unwrap_or_default()
                );
            }
        }
    }
    page
}

fn linked(row: &Row<'_>) -> String {
    if row.clause == "-" {
        row.what.to_owned()
    } else {
        format!(
            "{} ([{}]({SPEC}/{}))",
            row.what,
            row.clause.split('#').next().unwrap_or_default(),
            row.clause
        )
    }
}

fn cell(tests: &[&Test]) -> String {
    let shown: Vec<String> =
        tests.iter().take(SHOWN).map(|test| format!("[{}](../{})", test.name, test.file)).collect();
    let mut text = shown.join("<br>");
    if tests.len() > SHOWN {
        let _infallible = write!(text, "<br>and {} more", tests.len() - SHOWN);
    }
    text
}
