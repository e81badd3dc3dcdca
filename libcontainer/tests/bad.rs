//! Bad configs, and all that is said of each: the files of `bad/`.
//!
//! Every case changes `bad/base.json`, in which nothing is wrong, so a reader sees the mistakes alone:
//!
//! ```text
//! == n07-a-mapping-of-no-ids                     a name, row of the feature map first
//! facts = rootless                               the host, of facts/; v2 otherwise
//! /linux/uidMappings/0/size = 0                  a value that is put there, as JSON
//! /root -                                        one that is taken out
//! /mounts + {"destination": "/x"}                one more element of a list
//! text = "{}"                                    instead of all that, the whole text; \u00ff is byte 0xff
//! > /linux/uidMappings/0/size: must not be 0     what is found, in order
//! ```
//!
//! `UPDATE=1 cargo test -p libcontainer --test bad` rewrites what is found; read the diff.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::plan::cgroup::Driver;
use libcontainer::plan::facts::Facts;
use libcontainer::plan::{Choices, document};
use serde_json::Value;

/// As many cases there are at least, and as many of them with several mistakes.
const CASES: (usize, usize) = (200, 30);

#[derive(Debug)]
struct Case {
    name: String,
    /// Its lines but those about what is found.
    lines: Vec<String>,
    /// What is to be found.
    found: Vec<String>,
}

#[test]
fn every_mistake_is_found_in_one_pass() {
    let base = json("bad/base.json");
    let mut failures = Vec::new();
    for file in files() {
        let text = read(&file);
        let (head, cases) = split(&text);
        let mut updated = head;
        for case in &cases {
            let found = findings(case, &base);
            updated += &format!("\n== {}\n", case.name);
            for line in case.lines.iter().cloned().chain(found.iter().map(|f| format!("> {f}"))) {
                updated += &format!("{line}\n");
            }
            if found != case.found {
                failures.push(format!("{}\n  is to be {:#?}\n  but is {found:#?}", case.name, case.found));
            }
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, updated).unwrap();
            failures.clear();
        } else if failures.is_empty() && text != updated {
            failures.push(format!("{} is not in the form that UPDATE=1 writes", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn there_are_enough_cases_each_with_a_row_and_a_name_of_its_own() {
    let cases: Vec<Case> = files().iter().flat_map(|file| split(&read(file)).1).collect();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is there twice");
    for case in &cases {
        let row = case.name.as_bytes();
        let has_row = row.first().is_some_and(u8::is_ascii_lowercase)
            && row.get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
        assert!(has_row && !case.found.is_empty(), "{} has no row, or nothing is wrong with it", case.name);
    }
    let several = cases.iter().filter(|case| case.found.len() > 2).count();
    assert!(cases.len() >= CASES.0 && several >= CASES.1, "{} cases, {several} with several", cases.len());
}

#[test]
fn nothing_is_wrong_with_the_base() {
    let text = json("bad/base.json").to_string();
    let plan = compile(text.as_bytes(), "v2").unwrap_or_else(|lines| panic!("{}", lines.join("\n")));
    assert_eq!(plan, Vec::<String>::new());
}

/// What a case is compiled from.
struct Input {
    facts: String,
    document: Value,
    text: Option<Vec<u8>>,
}

/// Findings of a case, as they are printed.
fn findings(case: &Case, base: &Value) -> Vec<String> {
    let mut input = Input { facts: "v2".to_owned(), document: base.clone(), text: None };
    for line in &case.lines {
        apply(line, &mut input).unwrap_or_else(|| panic!("{}: cannot read {line:?}", case.name));
    }
    let text = input.text.unwrap_or_else(|| input.document.to_string().into_bytes());
    compile(&text, &input.facts).err().unwrap_or_default()
}

fn apply(line: &str, input: &mut Input) -> Option<()> {
    if let Some(at) = line.strip_suffix(" -") {
        return change(&mut input.document, at, None);
    }
    if let Some((at, json)) = line.split_once(" + ") {
        let list = input.document.pointer_mut(at)?.as_array_mut()?;
        list.push(serde_json::from_str(json).ok()?);
        return Some(());
    }
    match line.split_once(" = ")? {
        ("facts", name) => name.clone_into(&mut input.facts),
        ("text", json) => {
            let chars: String = serde_json::from_str(json).ok()?;
            input.text = Some(chars.chars().map(|c| u8::try_from(c).ok()).collect::<Option<_>>()?);
        }
        (at, json) => change(&mut input.document, at, Some(serde_json::from_str(json).ok()?))?,
    }
    Some(())
}

/// Puts `value` at a place, or takes out what is there.
fn change(document: &mut Value, at: &str, value: Option<Value>) -> Option<()> {
    let (parent, token) = at.rsplit_once('/')?;
    let name = token.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent)?, value) {
        (Value::Object(members), Some(value)) => drop(members.insert(name, value)),
        (Value::Object(members), None) => drop(members.remove(&name)?),
        (Value::Array(list), Some(value)) => *list.get_mut(token.parse::<usize>().ok()?)? = value,
        (Value::Array(list), None) => drop(list.remove(token.parse().ok().filter(|i| *i < list.len())?)),
        _ => return None,
    }
    Some(())
}

/// The warnings of a good document, or everything that is wrong with another.
fn compile(text: &[u8], facts: &str) -> Result<Vec<String>, Vec<String>> {
    let facts: Facts = serde_json::from_value(json(&format!("facts/{facts}.json"))).unwrap();
    let choices = Choices {
        id: "box".to_owned(),
        bundle: "/bundle".to_owned(),
        pivot: true,
        keyring: true,
        strict: false,
        driver: Driver::Files,
    };
    let lines = |findings: &[_]| findings.iter().map(ToString::to_string).collect();
    match document::compile(text, &choices, &facts) {
        Ok(plan) => Ok(lines(&plan.warnings)),
        Err(invalid) => Err(lines(invalid.findings())),
    }
}

/// What a file says before its first case, and its cases.
fn split(text: &str) -> (String, Vec<Case>) {
    let mut parts = text.split("\n== ");
    let head = parts.next().unwrap_or_default().to_owned();
    let cases = parts.map(|part| {
        let mut all = part.lines().map(str::to_owned);
        let name = all.next().unwrap_or_default();
        let (found, lines): (Vec<_>, Vec<_>) =
            all.filter(|line| !line.is_empty()).partition(|line| line.starts_with("> "));
        Case { name, lines, found: found.iter().map(|line| line[2..].to_owned()).collect() }
    });
    (head, cases.collect())
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory().join("bad")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn json(name: &str) -> Value {
    serde_json::from_str(&read(&directory().join(name))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
