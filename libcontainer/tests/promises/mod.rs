//! What compiling promises of every text, however odd. Held by `property.rs`, and by the fuzz target.

use std::collections::HashMap;
use std::mem::discriminant;

use libcontainer::plan::cgroup::Driver;
use libcontainer::plan::facts::Facts;
use libcontainer::plan::invalid::{Finding, Invalid};
use libcontainer::plan::limits::Write;
use libcontainer::plan::step::Step;
use libcontainer::plan::{Choices, Plan, document};
use serde_json::Value;

/// What a container is asked for beside its config.
pub(crate) fn choices() -> Choices {
    Choices {
        id: "box".to_owned(),
        bundle: "/bundle".to_owned(),
        pivot: true,
        keyring: true,
        strict: false,
        driver: Driver::Files,
    }
}

/// Compiles `text` for a host, and holds what comes out against the promises.
///
/// # Errors
/// The promise that is broken.
pub(crate) fn check(text: &[u8], facts: &Facts) -> Result<Result<Plan, Invalid>, String> {
    let compiled = document::compile(text, &choices(), facts);
    match &compiled {
        Ok(plan) => {
            // A question mark of the config's own is no sign of a missing element.
            check_steps(plan, text.contains(&b'?'))?;
            check_findings(&plan.warnings, text)?;
        }
        Err(invalid) if invalid.findings().is_empty() => return Err("invalid without a finding".to_owned()),
        Err(invalid) => check_findings(invalid.findings(), text)?,
    }
    Ok(compiled)
}

/// Compiling again comes to the same.
///
/// # Errors
/// It does not.
pub(crate) fn check_again(text: &[u8], facts: &Facts, first: &Result<Plan, Invalid>) -> Result<(), String> {
    let second = document::compile(text, &choices(), facts);
    if second == *first { Ok(()) } else { Err(format!("{first:?}\nand then\n{second:?}")) }
}

fn check_findings(findings: &[Finding], text: &[u8]) -> Result<(), String> {
    let document: Option<Value> = serde_json::from_slice(text).ok();
    for finding in findings {
        let line = finding.to_string();
        if finding.says.is_empty() || line.contains(char::is_control) {
            return Err(format!("does not fit on a line: {line:?}"));
        }
        if !finding.spec.starts_with("config") {
            return Err(format!("names no clause: {line}"));
        }
        if finding.says.starts_with("cannot be read") {
            return Err(format!("the table and the types disagree: {line}"));
        }
        // Of a name that is there twice only the last is in `document`.
        let twice =
            findings.iter().any(|f| f.says.contains("more than once") && finding.at.starts_with(&f.at));
        if document.as_ref().is_some_and(|document| !twice && !points_into(document, &finding.at)) {
            return Err(format!("points at nothing: {line}"));
        }
    }
    Ok(())
}

/// What it is about is there; or it is a member that is missing, whose parent is there, or is missing as well.
fn points_into(document: &Value, at: &str) -> bool {
    let mut node = document;
    if !at.is_empty() && !at.starts_with('/') {
        return false;
    }
    for token in at.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let escapes = token.matches('~').count() == token.matches("~0").count() + token.matches("~1").count();
        let next = match node {
            Value::Object(members) => members.get(&name).unwrap_or(&Value::Null),
            // An element that is missing has no number.
            Value::Array(list) => match token.parse().ok().and_then(|i: usize| list.get(i)) {
                Some(element) => element,
                None => return false,
            },
            Value::Null => &Value::Null,
            _ => return false,
        };
        if !escapes {
            return false;
        }
        node = next;
    }
    true
}

/// What is written by two steps of the same words is the same.
fn written(plan: &Plan, step: Step) -> Option<Write> {
    let Step::CgroupWrite(i) = step else { return None };
    plan.cgroup.writes.get(usize::from(i)).map(|w| Write { at: String::new(), ..w.clone() })
}

/// Every step has words of its own; an index that misses its element would be said as a question mark.
fn check_steps(plan: &Plan, asks: bool) -> Result<(), String> {
    let mut said: HashMap<_, Step> = HashMap::new();
    for step in plan.steps() {
        let words = plan.describe(step).to_string();
        if words.trim().is_empty() || !asks && words.contains('?') {
            return Err(format!("{step} is {words:?}"));
        }
        if Step::from_code(step.code()) != Some(step) {
            return Err(format!("{step} does not survive its code"));
        }
        if let Some(other) = said.insert((discriminant(&step), words.clone()), step) {
            let same = written(plan, step).is_some_and(|w| Some(w) == written(plan, other));
            if !same || step == other {
                return Err(format!("{step} and {other} are both {words:?}"));
            }
        }
    }
    Ok(())
}
