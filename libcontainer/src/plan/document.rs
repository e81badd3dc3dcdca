//! Reads config.json, and if there is anything wrong with it says all of it. Pure.
//!
//! `walk` goes through the text beside the table of `schema`, and finds every mistake of form. A document without
//! any is read by serde, and that is all. For any other, `repair` makes one that can be read nevertheless, so that
//! compiling it finds the mistakes of meaning in the same pass.

mod repair;
mod schema;
mod walk;

use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::facts::Facts;
use super::invalid::{Finding, Invalid};
use super::{Choices, Plan};
use walk::{Seen, walk};

/// A document, as far as it can be read.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it says, with stand-ins for what is wrong.
    pub spec: Spec,
    /// What the specification wants a warning for.
    pub warnings: Vec<Finding>,
    /// What is wrong with its form.
    pub mistakes: Mistakes,
}

/// What is wrong with the form of a document.
#[derive(Debug, Clone, Default)]
pub struct Mistakes {
    findings: Vec<Finding>,
    /// Where stand-ins are.
    repaired: Vec<String>,
}

/// Reads a document that has to be right. Gives warnings beside it.
///
/// # Errors
/// Everything that is wrong with its form.
pub fn parse(text: &[u8]) -> Result<(Spec, Vec<Finding>), Invalid> {
    let document = read(text)?;
    Invalid::unless_empty(document.mistakes.findings)?;
    Ok((document.spec, document.warnings))
}

/// Reads a program by itself, as `exec` is given one. Its place is `/process`, as in a document.
///
/// # Errors
/// Everything that is wrong with its form.
pub fn parse_process(text: &[u8]) -> Result<(Process, Vec<Finding>), Invalid> {
    let wrong = |says| Invalid::from(Finding { at: "/process".to_owned(), says, spec: "config.md#process" });
    // What is no JSON by itself might be some inside of other JSON.
    let whole: Result<IgnoredAny, _> = serde_json::from_slice(text);
    whole.map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let (spec, warnings) = parse(&[br#"{"ociVersion": "1.0.0", "process": "#, text, b"}"].concat())?;
    let process = spec.process().clone().ok_or_else(|| wrong("is null; must be an object".to_owned()))?;
    Ok((process, warnings))
}

/// Reads limits by themselves, as `update` is given them. Their place is `/linux/resources`, as in a document.
///
/// # Errors
/// Everything that is wrong with their form.
pub fn parse_resources(text: &[u8]) -> Result<(LinuxResources, Vec<Finding>), Invalid> {
    const AROUND: (&[u8], &[u8]) = (br#"{"ociVersion": "1.0.0", "linux": {"resources": "#, b"}}");
    let wrong = |says| {
        let at = "/linux/resources".to_owned();
        Invalid::from(Finding { at, says, spec: "config-linux.md#control-groups" })
    };
    let whole: Result<IgnoredAny, _> = serde_json::from_slice(text);
    whole.map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let (spec, warnings) = parse(&[AROUND.0, text, AROUND.1].concat())?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    let resources = resources.ok_or_else(|| wrong("is null; must be an object".to_owned()))?;
    Ok((resources, warnings))
}

/// Reads and compiles a document.
///
/// # Errors
/// Everything that is wrong with it, in its form and in its meaning, in the document's order.
pub fn compile(text: &[u8], choices: &Choices, facts: &Facts) -> Result<Plan, Invalid> {
    let document = read(text)?;
    let compiled = Plan::compile(&document.spec, choices, facts);
    let mut plan = document.mistakes.beside(compiled, text)?;
    plan.warnings.splice(0..0, document.warnings);
    Ok(plan)
}

/// Reads a document as far as it can be read.
///
/// # Errors
/// It is no JSON object.
pub fn read(text: &[u8]) -> Result<Document, Invalid> {
    let mut seen = Seen::default();
    if let Err(error) = walk(text, &schema::DOCUMENT, &mut seen) {
        return Err(not_json(&error, seen));
    }
    let object = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let Seen { errors, warnings, .. } = seen;
    if !object {
        return Err(Invalid::of(errors));
    }
    if errors.is_empty()
        && warnings.is_empty()
        && let Ok(spec) = serde_json::from_slice(text)
    {
        return Ok(Document { spec, warnings, mistakes: Mistakes::default() });
    }
    // What is not in the table is left out: `oci-spec` has types for parts that are not ours.
    let whole = |error: &serde_json::Error| Invalid::of(vec![whole(format!("cannot be read: {error}"))]);
    let repaired = repair::repair(serde_json::from_slice(text).map_err(|e| whole(&e))?);
    let mut document = repaired.document;
    rename_scheduler_flags(&mut document);
    take_out_empty_affinity(&mut document);
    // As bytes once more, so that there is one reader of the types: a second one would be a quarter of a megabyte.
    let spec = serde_json::from_slice(document.to_string().as_bytes()).map_err(|e| whole(&e))?;
    let mistakes = Mistakes { findings: errors, repaired: repaired.places };
    Ok(Document { spec, warnings, mistakes })
}

/// A finding about the document as a whole.
fn whole(says: String) -> Finding {
    Finding { at: String::new(), says, spec: "config.md" }
}

/// What was found before the reader gave up, and where it did.
fn not_json(error: &serde_json::Error, seen: Seen) -> Invalid {
    let mut findings = seen.errors;
    let at = seen.stopped.unwrap_or_default();
    findings.push(Finding { at, ..whole(format!("is not JSON: {error}")) });
    Invalid::of(findings)
}

// oci-spec 0.10 spells two flags in ways of its own.
fn rename_scheduler_flags(document: &mut Value) {
    const NAMES: &[(&str, &str)] = &[
        ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
        ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ];
    let Some(Value::Array(flags)) = document.pointer_mut("/process/scheduler/flags") else { return };
    for flag in flags {
        if let Some((_, name)) = NAMES.iter().find(|(theirs, _)| flag == theirs) {
            *flag = (*name).into();
        }
    }
}

// oci-spec 0.10 takes no empty list of processors, which means the same as none.
fn take_out_empty_affinity(document: &mut Value) {
    if let Some(Value::Object(lists)) = document.pointer_mut("/process/execCPUAffinity") {
        lists.retain(|_, list| list != "");
    }
}

impl Mistakes {
    /// With what was found by others, who look at more than the text.
    #[must_use]
    pub fn and(mut self, findings: Vec<Finding>) -> Mistakes {
        self.findings.extend(findings);
        self
    }

    /// Joins what compiling the document came to with what was wrong with its form.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of `text`. What merely follows from a mistake of form is not said.
    pub fn beside(&self, compiled: Result<Plan, Invalid>, text: &[u8]) -> Result<Plan, Invalid> {
        let mut findings = self.findings.clone();
        match compiled {
            Ok(plan) if findings.is_empty() => return Ok(plan),
            Ok(_) => {}
            Err(invalid) => findings.extend(
                invalid.into_findings().into_iter().filter(|f| !repair::follows(&f.at, &self.repaired)),
            ),
        }
        sort(&mut findings, text);
        Err(Invalid::of(findings))
    }
}

/// Sorts by the order of the document. What is missing comes where its surroundings end.
fn sort(findings: &mut [Finding], text: &[u8]) {
    if findings.len() < 2 {
        return;
    }
    let mut seen = Seen { places: Some(Default::default()), ..Seen::default() };
    // The text has been read before.
    let _read = walk(text, &schema::Shape::Any, &mut seen);
    let places = seen.places.unwrap_or_default();
    findings.sort_by_cached_key(|finding| {
        if let Some((begin, _)) = places.get(&finding.at) {
            return (*begin, 1);
        }
        let mut at = finding.at.as_str();
        while let Some((parent, _)) = at.rsplit_once('/') {
            at = parent;
            if let Some((_, end)) = places.get(at) {
                return (*end, 0);
            }
        }
        (0, 0)
    });
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
        let document = json!({"ociVersion": "1.0.0", "mounts": [{"destination": 3}, {"destination": "/c", "options": "ro"}]});
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
    fn t12_a_key_twice_is_refused_wherever_it_is() {
        let text = br#"{"ociVersion": "1.0.0", "hostname": "a", "hostname": "b", "linux": {"sysctl": {"a": "1", "a": "1"}},
            "future": [{"x": 1, "x": 2}], "root": {"path": "r", "p\u0061th": "r"}}"#;
        let at: Vec<_> = parse(text).unwrap_err().into_findings().into_iter().map(|f| f.at).collect();
        assert_eq!(at, ["/hostname", "/linux/sysctl/a", "/future/0/x", "/root/path"]);
    }

    #[test]
    fn p18_an_empty_list_of_cpus_is_none() {
        let process = json!({"cwd": "/", "user": {}, "execCPUAffinity": {"initial": "", "final": "0-3,7"}});
        let (process, warnings) = parse_process(process.to_string().as_bytes()).unwrap();
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((affinity.initial(), warnings), (&None, vec![]));
        assert_eq!(affinity.cpu_affinity_final().as_deref(), Some("0-3,7"));
    }

    #[test]
    fn p11_p16_a_process_by_itself_is_read_as_leniently() {
        let process = json!({"cwd": "/", "user": {}, "capabilities": {"bounding": ["CAP_TIME_TRAVEL"]},
            "scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}});
        let (read, warnings) = parse_process(process.to_string().as_bytes()).unwrap();
        assert!(read.scheduler().as_ref().unwrap().flags().is_some());
        assert_eq!(warnings[0].at, "/process/capabilities/bounding/0");
    }

    #[test]
    fn t12_what_is_no_text_is_refused_with_its_place() {
        let cases: [(&[u8], &str); 6] = [
            (b"{\"hostname\": \"\xff\"}", "/hostname"),
            (b"{\"future\": [0, \"\xff\"]}", "/future/1"),
            (br#"{"process": {"cwd": "\ud800"}}"#, "/process/cwd"),
            (br#"{"process": {"cwd": "/", "oomScoreAdj": 1e999}}"#, "/process/oomScoreAdj"),
            (b"{\"mounts\": [{\"source\": \"a\nb\"}]}", "/mounts/0/source"),
            (b"{} {}", ""),
        ];
        for (text, at) in cases {
            let findings = read(text).unwrap_err().into_findings();
            assert_eq!(findings.last().unwrap().at, at);
        }
    }

    #[test]
    fn t12_no_depth_of_nesting_is_too_deep_for_the_stack() {
        for open in ["[", "{\"a\":"] {
            let text = format!("{{\"future\": {}", open.repeat(1_000_000));
            assert!(read(text.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
        }
    }

    #[test]
    fn t03_a_list_is_no_object() {
        let document = json!({"ociVersion": "1.0.0", "root": ["rootfs", true], "linux": {"seccomp": ["SCMP_ACT_ALLOW"]}});
        assert_eq!(places(document), ["/linux/seccomp", "/root"]);
    }

    #[test]
    fn t02_what_other_platforms_have_is_not_looked_at() {
        let document = json!({"ociVersion": "1.0.0", "windows": {"layerFolders": 7}, "vm": [], "zos": "x",
            "solaris": {"anet": 1}, "uidMappings": "x", "process": {"cwd": "/", "user": {}, "commandLine": 7}});
        let (spec, warnings) = parse(document.to_string().as_bytes()).unwrap();
        assert!(spec.windows().is_none() && warnings.is_empty());
    }

    #[test]
    fn e12_a_process_by_itself_is_read_like_one_of_a_document() {
        let at = |text: &str| -> Vec<String> {
            parse_process(text.as_bytes()).unwrap_err().into_findings().into_iter().map(|f| f.at).collect()
        };
        assert_eq!(
            at(r#"{"args": "sh", "user": {"uid": -1}}"#),
            ["/process/args", "/process/user/uid", "/process/cwd"]
        );
        assert_eq!(at(r#"{"cwd": "/", "cwd": "/", "user": {}}"#), ["/process/cwd"]);
        assert_eq!(at(r#"{"cwd": "/", "user": {}}, "root": {}"#), ["/process"]);
        assert_eq!(at("null"), ["/process"]);
        assert_eq!(at("[]"), ["/process"]);
        let (process, _) = parse_process(br#"{"args": ["x"], "cwd": "/", "user": {"uid": 7}}"#).unwrap();
        assert_eq!(process.user().uid(), 7);
    }

    #[test]
    fn null_is_as_good_as_missing() {
        let document =
            json!({"ociVersion": "1.0.0", "hostname": null, "process": {"cwd": "/", "user": {"uid": null}}});
        assert!(parse(document.to_string().as_bytes()).is_ok());
        let document = json!({"ociVersion": null, "process": {"cwd": "/", "user": {}, "args": ["a", null]}});
        assert_eq!(places(document), ["/ociVersion", "/process/args/1"]);
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
