//! Reads config.json, and if it cannot be read says everything that is wrong with it. Pure.

use oci_spec::runtime::{Capability, Process, Spec};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::affinity;
use super::invalid::{Finding, Findings, Invalid, pointer_token};

/// Mistakes after which no more are looked for.
const ENOUGH: usize = 100;

/// Reads a document. Gives warnings beside it.
///
/// # Errors
/// Every value that is not of its type, each with its place.
pub fn parse(text: &[u8]) -> Result<(Spec, Vec<Finding>), Invalid> {
    check_object(text)?;
    match serde_json::from_slice(text) {
        Ok(spec) => Ok((spec, Vec::new())),
        Err(first) => diagnose(value(text)?, &first),
    }
}

/// Reads a process object that stands by itself, as exec gets one. Gives warnings beside it. Pointers begin with
/// `/process`, as in a whole document.
///
/// # Errors
/// Every value that is not of its type, each with its place.
pub fn parse_process(text: &[u8]) -> Result<(Process, Vec<Finding>), Invalid> {
    check_object(text)?;
    match serde_json::from_slice(text) {
        Ok(process) => Ok((process, Vec::new())),
        Err(first) => {
            let document = serde_json::json!({"ociVersion": "1.0.0", "process": value(text)?});
            let (spec, warnings) = diagnose(document, &first)?;
            let process = spec.process().clone().ok_or_else(|| whole(first.to_string()))?;
            Ok((process, warnings))
        }
    }
}

/// A list would be taken for the fields in order.
fn check_object(text: &[u8]) -> Result<(), Invalid> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') { Ok(()) } else { Err(whole("is not a JSON object".into()).into()) }
}

fn value(text: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice(text).map_err(|e| whole(format!("is not JSON: {e}")).into())
}

/// A finding about the document as a whole.
fn whole(says: String) -> Finding {
    Finding { at: String::new(), says, spec: "config.md" }
}

/// Looks for all mistakes: each time one is found it is taken out, and the rest is read again.
fn diagnose(mut document: Value, first: &serde_json::Error) -> Result<(Spec, Vec<Finding>), Invalid> {
    let mut findings = Findings::default();
    let renamed = rename_scheduler_flags(&mut document);
    let unset = take_out_affinity(&mut document, &mut findings);
    let lenient = drop_unknown_capabilities(&mut document, &mut findings) || renamed || unset;
    let mut removed = Vec::new();
    for _ in 0..ENOUGH {
        match serde_path_to_error::deserialize(&document) {
            Ok(spec) => {
                let warnings = findings.finish()?;
                // What reads well as a tree but not as text has a key twice.
                return if lenient { Ok((spec, warnings)) } else { Err(whole(first.to_string()).into()) };
            }
            Err(error) => {
                let at = pointer(error.path());
                let says = error.inner().to_string();
                if !missing_because_removed(&says, &at, &removed) && !in_stand_in(&at, &removed) {
                    findings.error(&at, says, "config.md");
                }
                if at.is_empty() || !remove(&mut document, &at) {
                    break;
                }
                removed.push(at);
            }
        }
    }
    Err(findings.finish().err().unwrap_or_else(|| whole(first.to_string()).into()))
}

/// The specification wants capabilities that are not known to be warned about, not refused.
fn drop_unknown_capabilities(document: &mut Value, findings: &mut Findings) -> bool {
    let mut dropped = false;
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        let at = format!("/process/capabilities/{set}");
        let Some(Value::Array(names)) = document.pointer_mut(&at) else { continue };
        let mut index = 0;
        names.retain(|name| {
            let known = !name.is_string() || serde_json::from_value::<Capability>(name.clone()).is_ok();
            if !known {
                findings.warn(
                    format!("{at}/{index}"),
                    format!("{name} is no known capability; it is left out"),
                    "config.md#linux-process",
                );
                dropped = true;
            }
            index += 1;
            known
        });
    }
    dropped
}

// oci-spec 0.10 spells two flags in ways of its own.
fn rename_scheduler_flags(document: &mut Value) -> bool {
    const NAMES: &[(&str, &str)] = &[
        ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
        ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ];
    let Some(Value::Array(flags)) = document.pointer_mut("/process/scheduler/flags") else { return false };
    let mut renamed = false;
    for flag in flags {
        if let Some((_, name)) = NAMES.iter().find(|(theirs, _)| flag == theirs) {
            *flag = (*name).into();
            renamed = true;
        }
    }
    renamed
}

// oci-spec 0.10 takes no empty list, which means the same as none, and says little about a malformed one.
fn take_out_affinity(document: &mut Value, findings: &mut Findings) -> bool {
    let Some(Value::Object(lists)) = document.pointer_mut("/process/execCPUAffinity") else { return false };
    let before = lists.len();
    lists.retain(|name, list| match (name.as_str(), list.as_str()) {
        ("initial" | "final", Some("")) => false,
        ("initial" | "final", Some(list)) => affinity::check(list, name, findings).is_some(),
        _ => true,
    });
    lists.len() < before
}

/// A field that was taken out because it is wrong is not also missing.
fn missing_because_removed(says: &str, at: &str, removed: &[String]) -> bool {
    let Some(field) = says.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) else {
        return false;
    };
    let field = format!("{at}/{}", pointer_token(field));
    removed.contains(&field)
}

/// What is wrong with a neighbour that stands in for an element is wrong, and said, at the neighbour's own place.
fn in_stand_in(at: &str, removed: &[String]) -> bool {
    removed
        .iter()
        .any(|r| at.strip_prefix(r.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => pointer_token(key),
            Segment::Enum { variant } => pointer_token(variant),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&token);
    }
    pointer
}

/// Takes out what is at `at`. An element of a list becomes null, so that the others keep their numbers; if it
/// is null already, the list goes.
fn remove(document: &mut Value, at: &str) -> bool {
    let Some((parent, _)) = at.rsplit_once('/') else { return false };
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            let key = at[parent.len() + 1..].replace("~1", "/").replace("~0", "~");
            members.remove(&key).is_some()
        }
        Some(Value::Array(_)) => remove_element(document, parent, at),
        _ => false,
    }
}

fn remove_element(document: &mut Value, list: &str, at: &str) -> bool {
    let Ok(index) = at[list.len() + 1..].parse::<usize>() else { return false };
    let Some(Value::Array(elements)) = document.pointer_mut(list) else { return false };
    if index >= elements.len() {
        return false;
    }
    // A neighbour that reads well stands in, where there is one.
    let stand_in = (0..elements.len())
        .filter(|i| *i != index)
        .map(|i| elements[i].clone())
        .find(|e| *e != elements[index]);
    match stand_in {
        Some(neighbour) => elements[index] = neighbour,
        None => elements.clear(),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(document: Value) -> Vec<String> {
        let invalid = parse(document.to_string().as_bytes()).unwrap_err();
        invalid.findings().iter().map(|f| f.at.clone()).collect()
    }

    #[test]
    fn every_wrong_type_is_found_at_once() {
        let document = json!({
            "ociVersion": 1, "root": {"path": "r", "readonly": "yes"}, "hostname": 7,
            "mounts": [{"destination": "/a"}, {"destination": 3}, {"destination": "/c", "options": "ro"}],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "moon"}]},
        });
        assert_eq!(
            places(document),
            [
                "/hostname",
                "/linux/namespaces/1/type",
                "/mounts/1/destination",
                "/mounts/2/options",
                "/ociVersion",
                "/root/readonly"
            ]
        );
    }

    #[test]
    fn a_mistake_is_said_once_also_when_its_neighbour_is_wrong_too() {
        let document = json!({"mounts": [{"destination": 3}, {"destination": "/c", "options": "ro"}]});
        assert_eq!(places(document), ["/mounts/0/destination", "/mounts/1/options"]);
    }

    #[test]
    fn p11_an_unknown_capability_is_a_warning() {
        let document = json!({"ociVersion": "1.0.2", "process": {
            "cwd": "/", "user": {}, "capabilities": {"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"]},
        }});
        let (spec, warnings) = parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(warnings[0].at, "/process/capabilities/bounding/1");
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap().len(), 1);
    }

    #[test]
    fn p16_flags_have_the_names_of_the_specification() {
        let document = json!({"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {}, "scheduler": {
            "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"],
        }}});
        assert!(parse(document.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn p18_an_empty_list_of_cpus_is_none_and_a_malformed_one_is_found() {
        let document = |affinity: Value| {
            json!({"ociVersion": "1.2.1", "hostname": 7, "process":
            {"cwd": "/", "user": {}, "execCPUAffinity": affinity}})
        };
        let bad = document(json!({"initial": "0-", "final": "1,,2"}));
        assert_eq!(
            places(bad),
            ["/process/execCPUAffinity/final", "/process/execCPUAffinity/initial", "/hostname"]
        );
        let mut good = document(json!({"initial": "", "final": "0-3,7"}));
        good["hostname"] = json!("box");
        let (spec, warnings) = parse(good.to_string().as_bytes()).unwrap();
        let process = spec.process().as_ref().unwrap();
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((affinity.initial(), warnings), (&None, vec![]));
        assert_eq!(affinity.cpu_affinity_final().as_deref(), Some("0-3,7"));
    }

    #[test]
    fn p11_p16_p18_a_process_by_itself_is_read_as_leniently() {
        let process = json!({"cwd": "/", "user": {}, "execCPUAffinity": {"initial": ""},
            "capabilities": {"bounding": ["CAP_TIME_TRAVEL"]},
            "scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}});
        let (read, warnings) = parse_process(process.to_string().as_bytes()).unwrap();
        assert!(read.scheduler().as_ref().unwrap().flags().is_some());
        assert_eq!(warnings[0].at, "/process/capabilities/bounding/0");
        let wrong = parse_process(br#"{"cwd": 1, "user": {}, "args": 2}"#).unwrap_err();
        assert_eq!(
            wrong.findings().iter().map(|f| f.at.as_str()).collect::<Vec<_>>(),
            ["/process/args", "/process/cwd"]
        );
        for bad in [&b"[]"[..], b"{", b"null", br#"{"cwd": "/", "cwd": "/", "user": {}}"#] {
            assert!(parse_process(bad).is_err());
        }
    }

    #[test]
    fn t12_a_key_twice_is_refused_with_its_line() {
        let invalid = parse(br#"{"ociVersion": "1.0.0", "hostname": "a", "hostname": "b"}"#).unwrap_err();
        assert!(invalid.to_string().contains("duplicate field `hostname` at line 1"), "{invalid}");
    }

    #[test]
    fn what_is_not_json_says_where() {
        assert!(parse(b"{\"ociVersion\": }").unwrap_err().to_string().contains("line 1 column 16"));
        assert!(parse(b"").is_err());
        assert!(parse(b"[]").is_err());
        assert!(parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn t02_unknown_properties_are_ignored() {
        assert!(
            parse(br#"{"ociVersion": "1.0.0", "future": {"x": 1}, "windows": {"y": 1, "layerFolders": []}}"#)
                .is_ok()
        );
    }
}
