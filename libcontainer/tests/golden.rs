//! Whole plans, reviewable in a diff: what each config under `plans/` compiles to.
//!
//! A case is a directory: `config.json`; `plan.json` or `findings.txt`, what comes out of it. Optional are
//! `config`, which names another case to share its config with, and `facts`, which names a host of `facts/`
//! other than `v2`, and two empty files: `strict`, which lets nothing be
//! tolerated, and `systemd`, which has systemd make the cgroup. `UPDATE=1 cargo test -p libcontainer --test golden` rewrites what comes out.

use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::plan::cgroup::Driver;
use libcontainer::plan::facts::Facts;
use libcontainer::plan::invalid::Invalid;
use libcontainer::plan::{Choices, Plan, document};

/// What a compile may come to.
const OUTCOMES: [&str; 2] = ["plan.json", "findings.txt"];

/// The longest diff that is shown of one case, in lines.
const DIFF_MAX: usize = 40;

/// Lines around a change that are shown.
const CONTEXT: usize = 2;

#[test]
fn every_config_compiles_to_what_its_case_says() {
    let failures: Vec<String> = cases().iter().filter_map(|case| failure(case)).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases differ; if that is right, UPDATE=1 rewrites them\n\n{}",
        failures.len(),
        cases().len(),
        failures.join("\n")
    );
}

#[test]
fn every_case_has_one_config_and_one_outcome() {
    if updates() {
        return; // The other test is about to write what this one looks at.
    }
    let cases = cases();
    let has = |case: &Path, names: [&str; 2]| names.iter().filter(|name| case.join(name).exists()).count();
    let odd: Vec<_> = cases
        .iter()
        .filter(|case| has(case, OUTCOMES) != 1 || has(case, ["config.json", "config"]) != 1)
        .map(|case| case.display().to_string())
        .collect();
    assert!(odd.is_empty(), "not one config and one outcome each: {odd:#?}");
    let bad = cases.iter().filter(|case| case.join("findings.txt").exists()).count();
    assert!(cases.len() >= 60 && bad >= 25, "{} cases, {bad} of them bad configs", cases.len());
}

/// Every case, sorted.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory("plans")).expect("tests/plans can be listed");
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("tests/plans can be listed").path()).collect();
    cases.sort();
    cases
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The caller wants what comes out to be written.
fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Why a case fails, if it does.
fn failure(case: &Path) -> Option<String> {
    let (outcome, text) = outcome(case);
    let file = case.join(outcome);
    let other = OUTCOMES.iter().map(|name| case.join(name)).find(|path| *path != file && path.exists());
    if updates() {
        fs::write(&file, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        if let Some(path) = other {
            fs::remove_file(path).expect("the stale outcome can be removed");
        }
        return None;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let name = case.file_name().unwrap_or_default().display();
    match other {
        Some(_) => Some(format!("{name}: comes out as {outcome}\n{}", diff("", &text))),
        None if expected != text => Some(format!("{name}: {outcome}\n{}", diff(&expected, &text))),
        None => None,
    }
}

/// Compiles the config of a case: the file that the outcome belongs into, and its text.
fn outcome(case: &Path) -> (&'static str, String) {
    match compile(case) {
        Ok(plan) => {
            let json = serde_json::to_string_pretty(&plan).expect("a plan can be serialized");
            ("plan.json", json + "\n")
        }
        Err(invalid) => {
            ("findings.txt", invalid.findings().iter().map(|finding| format!("{finding}\n")).collect())
        }
    }
}

fn compile(case: &Path) -> Result<Plan, Invalid> {
    let name = |file: &str| fs::read_to_string(case.join(file)).ok().map(|text| text.trim().to_owned());
    let config = name("config").map_or(case.to_owned(), |other| directory("plans").join(other));
    let facts = name("facts").unwrap_or_else(|| "v2".to_owned());
    let facts = read(&directory("facts").join(format!("{facts}.json")));
    let facts: Facts = serde_json::from_str(&facts).expect("the facts are facts");
    let (strict, systemd) = (case.join("strict").exists(), case.join("systemd").exists());
    let driver = if systemd { Driver::Systemd } else { Driver::Files };
    let (id, bundle) = ("box".to_owned(), "/bundle".to_owned());
    let choices = Choices { id, bundle, pivot: true, keyring: true, strict, driver };
    document::compile(read(&config.join("config.json")).as_bytes(), &choices, &facts)
}

/// The lines that differ, each with its sign, and some lines around them.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = compare(&old, &new);
    let changed = |i: usize| lines.get(i).is_some_and(|(sign, _)| *sign != ' ');
    let mut shown = String::new();
    let mut count = 0;
    for (i, (sign, line)) in lines.iter().enumerate() {
        if !(i.saturating_sub(CONTEXT)..=i + CONTEXT).any(changed) {
            continue;
        }
        if count == DIFF_MAX {
            return shown + "    ...\n";
        }
        shown.push_str(&format!("    {sign} {line}\n"));
        count += 1;
    }
    shown
}

/// Both texts as one, by their longest common subsequence of lines.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let longest = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if a == b { common[i + 1][j + 1] + 1 } else { longest };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len().max(new.len()));
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}
