//! Makes a document that has mistakes one that can be compiled, so that the mistakes of meaning are found along
//! with those of form; and says which of them merely follow from what was repaired. Pure.

use serde_json::{Map, Value, json};

use super::schema::{DOCUMENT, Field, NAMESPACES, Need, Shape};
use crate::plan::capability;
use crate::plan::invalid::pointer_token;

/// What cannot be judged when something else is wrong: a finding at the second place may follow from a mistake at
/// the first. A star is any one token, the same in both; two stars are whatever comes below.
const FOLLOWS: &[(&str, &[&str])] = &[
    ("/process/scheduler/policy", &["/process/scheduler/**"]),
    ("/linux/memoryPolicy/mode", &["/linux/memoryPolicy/**"]),
    ("/linux/memoryPolicy/nodes", &["/linux/memoryPolicy/flags"]),
    ("/linux/seccomp/defaultAction", &["/linux/seccomp/defaultErrnoRet"]),
    ("/linux/seccomp/syscalls/*/action", &["/linux/seccomp/syscalls/*/errnoRet"]),
    ("/linux/seccomp/listenerPath", &["/linux/seccomp/listenerMetadata"]),
    ("/linux/devices/*/type", &["/linux/devices/*/major", "/linux/devices/*/minor"]),
    ("/linux/resources/memory/limit", &["/linux/resources/memory/swap"]),
    ("/linux/resources/cpu/quota", &["/linux/resources/cpu/burst"]),
    ("/linux/uidMappings/**", &["/process/user/uid"]),
    ("/linux/gidMappings/**", &["/process/user/gid", "/process/user/additionalGids/**"]),
    ("/linux/uidMappings/*/containerID", &["/linux/uidMappings/*/size"]),
    ("/linux/uidMappings/*/hostID", &["/linux/uidMappings/*/size"]),
    ("/linux/gidMappings/*/containerID", &["/linux/gidMappings/*/size"]),
    ("/linux/gidMappings/*/hostID", &["/linux/gidMappings/*/size"]),
    ("/mounts/*/options/**", &["/mounts/*/type", "/mounts/*/source", "/mounts/*/options/**"]),
    ("/mounts/*/type", &["/mounts/*/source", "/mounts/*/options/**"]),
    ("/mounts/*/uidMappings/**", &["/mounts/*/gidMappings"]),
    ("/mounts/*/gidMappings/**", &["/mounts/*/uidMappings"]),
];

/// A document that `oci-spec` reads, made of one that may have mistakes.
#[derive(Debug)]
pub(super) struct Repaired {
    pub(super) document: Value,
    /// Where something was put in or taken out.
    pub(super) places: Vec<String>,
}

/// Keeps of `document` what the table knows and what is as it has to be.
pub(super) fn repair(document: Value) -> Repaired {
    let mut places = Vec::new();
    let mut document = fit(document, &DOCUMENT, "", &mut places).unwrap_or_default();
    if places.iter().any(|place| place == "/linux" || is_in(place, "/linux/namespaces")) {
        complete_namespaces(&mut document);
    }
    Repaired { document, places }
}

/// `at` is `place` or below it.
fn is_in(at: &str, place: &str) -> bool {
    at.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A finding at `at` may be there only because something was repaired at one of `places`.
pub(super) fn follows(at: &str, places: &[String]) -> bool {
    places.iter().any(|place| {
        let near = is_in(at, place) || is_in(place, at);
        near || FOLLOWS.iter().any(|(from, to)| {
            matched(from, place).is_some_and(|stars| {
                to.iter().any(|to| {
                    matched(to, at).is_some_and(|others| stars.iter().zip(others).all(|(a, b)| *a == b))
                })
            })
        })
    })
}

/// What the stars of `pattern` stand for, if `at` is of it.
fn matched<'a>(pattern: &str, at: &'a str) -> Option<Vec<&'a str>> {
    let (mut tokens, mut stars) = (at.split('/'), Vec::new());
    for want in pattern.split('/') {
        match (want, tokens.next()) {
            ("**", _) => return Some(stars),
            ("*", Some(token)) => stars.push(token),
            (want, Some(token)) if want == token => {}
            _ => return None,
        }
    }
    tokens.next().is_none().then_some(stars)
}

/// What of `value` is of this shape; nothing if it is something else altogether.
fn fit(value: Value, shape: &Shape, at: &str, places: &mut Vec<String>) -> Option<Value> {
    match (shape.named().1, value) {
        (Shape::Record(fields), Value::Object(members)) => Some(record(members, fields, at, places)),
        (Shape::Map(each), Value::Object(members)) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let at = format!("{at}/{}", pointer_token(&name));
                match fit(value, each, &at, places) {
                    Some(value) => drop(kept.insert(name, value)),
                    None => places.push(at),
                }
            }
            Some(Value::Object(kept))
        }
        (Shape::List(each), Value::Array(list)) => Some(self::list(list, each, at, places)),
        (shape, value) if shape.accepts(&value) => Some(value),
        _ => None,
    }
}

fn record(mut members: Map<String, Value>, fields: &[Field], at: &str, places: &mut Vec<String>) -> Value {
    let mut kept = Map::new();
    for (name, shape, need) in fields {
        let at = format!("{at}/{name}");
        let value = members.remove(*name).filter(|value| !value.is_null() || !matches!(need, Need::May));
        let given = value.is_some();
        let value = value.and_then(|value| fit(value, shape, &at, places));
        let wrong = value.is_none() && (given || !matches!(need, Need::May));
        let value = value.or_else(|| match need {
            Need::May => None,
            Need::Must(stand_in) => serde_json::from_slice(stand_in.as_bytes()).ok(),
            Need::Key => serde_json::from_slice(shape.blank().as_bytes()).ok(),
        });
        if wrong {
            places.push(at);
        }
        if let Some(value) = value {
            kept.insert((*name).to_owned(), value);
        }
    }
    Value::Object(kept)
}

/// An element that is wrong gets a stand-in, so that the others keep their numbers.
fn list(list: Vec<Value>, each: &Shape, at: &str, places: &mut Vec<String>) -> Value {
    let mut kept = Vec::with_capacity(list.len());
    for (i, value) in list.into_iter().enumerate() {
        let at = format!("{at}/{i}");
        if matches!(each, Shape::Capability) && !value.as_str().is_some_and(capability::is_known) {
            continue; // They have no order and no numbers.
        }
        let value = fit(value, each, &at, places).or_else(|| {
            places.push(at.clone());
            fit(serde_json::from_slice(each.blank().as_bytes()).ok()?, each, &at, places)
        });
        kept.extend(value);
    }
    if let Shape::Record(fields) = each {
        for (name, shape, _) in fields.iter().filter(|field| matches!(field.2, Need::Key)) {
            give_unused_words(&mut kept, name, shape);
        }
    }
    Value::Array(kept)
}

/// Gives every element without a word in `name` one that no other has; those for whom none is left go, from the end.
fn give_unused_words(list: &mut Vec<Value>, name: &str, shape: &Shape) {
    let Shape::Word(words) = shape else { return };
    for word in words.split(' ') {
        if list.iter().any(|element| element[name] == word) {
            continue;
        }
        if let Some(element) = list.iter_mut().find(|element| element[name] == "") {
            element[name] = word.into();
        }
    }
    list.retain(|element| element[name] != "");
}

/// Which namespaces there are is not known, so nothing shall be said to lack one.
fn complete_namespaces(document: &mut Value) {
    let maps_ids = |document: &Value| {
        let maps = document.pointer("/linux/uidMappings").and_then(Value::as_array);
        maps.is_some_and(|maps| !maps.is_empty())
    };
    // Without maps a user namespace would itself be a mistake.
    let wanted: Vec<_> = NAMESPACES.split(' ').filter(|kind| *kind != "user" || maps_ids(document)).collect();
    let list = &mut document["linux"]["namespaces"];
    if list.is_null() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    for kind in wanted {
        if !list.iter().any(|element| element["type"] == kind) {
            list.push(json!({"type": kind}));
        }
    }
}
