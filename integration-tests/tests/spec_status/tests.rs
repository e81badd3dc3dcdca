//! Finds all tests that carry ids of rows in their names: functions, and the cases of golden tests.

use std::path::Path;

/// A test, or a case of a golden test.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    /// Its name.
    pub(crate) name: String,
    /// Where it is, from the workspace.
    pub(crate) file: String,
    /// The rows it shows.
    pub(crate) rows: Vec<String>,
    /// It shows that something is refused, and not that something works.
    pub(crate) refusal: bool,
}

/// What the names of tests say where something is refused.
const REFUSALS: &[&str] = &[
    "refuse",
    "error",
    "fail",
    "cannot",
    "invalid",
    "unknown",
    "missing",
    "without",
    "wrong",
    "has_to",
    "must_not",
    "is_no_",
    "not_found",
    "taken",
];

/// Every one, sorted.
pub(crate) fn all(root: &Path) -> Vec<Test> {
    let mut found = Vec::new();
    for package in ["libcontainer", "runtime", "spec-conformance", "integration-tests"] {
        walk(root, &root.join(package), &mut found);
    }
    found.sort();
    found
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<Test>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = path.strip_prefix(root).expect("it is below the root").to_string_lossy().into_owned();
        if directory.ends_with("tests/plans") {
            found.extend(case(&name, &file));
        } else if directory.ends_with("tests/bad") {
            // Many cases a file, each below a line `== NAME`.
            let text = std::fs::read_to_string(&path).expect("cases can be read");
            let names = text.lines().filter_map(|line| line.strip_prefix("== "));
            found.extend(names.filter_map(|name| case(&format!("bad-{name}"), &file)));
        } else if path.is_dir() {
            walk(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).expect("sources can be read");
            found.extend(functions(&text, &file));
        }
    }
}

fn case(name: &str, file: &str) -> Option<Test> {
    let refusal = name.starts_with("bad-");
    let rows = ids(name.trim_start_matches("bad-").split('-'));
    (!rows.is_empty()).then(|| Test { name: name.to_owned(), file: file.to_owned(), rows, refusal })
}

fn functions(text: &str, file: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        marked |= line == "#[test]";
        let Some(rest) = line.strip_prefix("fn ").filter(|_| std::mem::take(&mut marked)) else {
            marked &= !line.starts_with("fn ");
            continue;
        };
        let name = rest.split('(').next().unwrap_or_default();
        let rows = ids(name.split('_'));
        if !rows.is_empty() {
            let refusal = REFUSALS.iter().any(|word| name.contains(word));
            tests.push(Test { name: name.to_owned(), file: file.to_owned(), rows, refusal });
        }
    }
    tests
}

/// The ids that the words begin with; `m16 to m19` are four.
fn ids<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ids: Vec<(char, u32)> = Vec::new();
    let mut up_to = false;
    for word in words {
        match (id(word), ids.last().copied()) {
            (Some((kind, number)), Some((before, from))) if up_to && kind == before => {
                ids.extend((from + 1..=number).map(|number| (kind, number)));
                up_to = false;
            }
            (Some(id), _) => ids.push(id),
            (None, Some(_)) if word == "to" && !up_to => up_to = true,
            _ => break,
        }
    }
    ids.into_iter().map(|(kind, number)| format!("{}-{number:02}", kind.to_ascii_uppercase())).collect()
}

fn id(word: &str) -> Option<(char, u32)> {
    let mut letters = word.chars();
    let kind = letters.next().filter(char::is_ascii_lowercase)?;
    let digits = letters.as_str();
    (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| Some((kind, digits.parse().ok()?)))?
}

#[test]
fn names_begin_with_ids_and_ranges_of_them() {
    let of = |name: &str| ids(name.split('_'));
    assert_eq!(of("m16_to_m19_propagation"), ["M-16", "M-17", "M-18", "M-19"]);
    assert_eq!(of("p01_p02_a_terminal"), ["P-01", "P-02"]);
    assert_eq!(of("a_test_of_m01"), [""; 0]);
    assert_eq!(of("v1_limits"), [""; 0]);
}

#[test]
fn only_tests_count_and_their_names_tell_refusals() {
    let text =
        "#[test]\nfn m01_order() {}\nfn m02_not_a_test() {}\n#[test]\n#[ignore]\nfn m03_is_refused() {}";
    let found = functions(text, "f.rs");
    let names: Vec<(&str, bool)> = found.iter().map(|test| (test.name.as_str(), test.refusal)).collect();
    assert_eq!(names, [("m01_order", false), ("m03_is_refused", true)]);
}
