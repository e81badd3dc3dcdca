//! Faults in what a runtime does for an operation, and in what it prints.

use std::fs;
use std::io;

use serde_json::{Value, json};

use crate::Call;
use crate::Fault::{self, Call as Does, Print};

/// By name.
pub(crate) const FAULTS: &[(&str, Fault)] = &[
    ("state-without-pid", Print("state", |state| drop(state["pid"].take()))),
    ("state-always-running", Print("state", |state| state["status"] = json!("running"))),
    ("state-of-another-bundle", Print("state", |state| state["bundle"] = json!("/"))),
    ("state-without-annotations", Print("state", without_annotations)),
    ("state-of-another-id", Print("state", |state| state["id"] = json!("another"))),
    ("state-of-anything", Does(|call| succeeding(call, "state"))),
    ("features-undefined", Print("features", |features| features["linux"]["undefined"] = json!(true))),
    ("features-of-more-hooks", Print("features", more_hooks)),
    ("create-starts", Does(create_starts)),
    ("create-replaces", Does(create_replaces)),
    ("create-leaves-things", Does(create_leaves_things)),
    ("start-always-succeeds", Does(|call| succeeding(call, "start"))),
    ("start-does-nothing", Does(|call| Ok(call.is("start").then_some(0)))),
    ("run-always-succeeds", Does(|call| succeeding(call, "run"))),
    ("kill-does-nothing", Does(|call| Ok(call.is("kill").then_some(0)))),
    ("kill-always-terminates", Does(kill_always_terminates)),
    ("delete-does-nothing", Does(|call| Ok(call.is("delete").then_some(0)))),
    ("delete-always-forces", Does(delete_always_forces)),
    ("delete-takes-the-bundle", Does(delete_takes_the_bundle)),
];

fn without_annotations(state: &mut Value) {
    if let Some(members) = state.as_object_mut() {
        members.remove("annotations");
    }
}

fn more_hooks(features: &mut Value) {
    if let Some(hooks) = features["hooks"].as_array_mut() {
        hooks.push(json!("poststroll"));
    }
}

/// Whatever became of it.
fn succeeding(call: &Call, verb: &str) -> io::Result<Option<u8>> {
    if !call.is(verb) {
        return Ok(None);
    }
    call.pass()?;
    Ok(Some(0))
}

fn create_starts(call: &Call) -> io::Result<Option<u8>> {
    if !call.is("create") {
        return Ok(None);
    }
    let created = call.pass()?;
    if created == 0 {
        call.instead(&["start", call.id()])?;
    }
    Ok(Some(created))
}

fn create_replaces(call: &Call) -> io::Result<Option<u8>> {
    if call.is("create") {
        call.instead(&["delete", "--force", call.id()])?;
    }
    Ok(None)
}

/// A directory in the root, where a container's would be.
fn create_leaves_things(call: &Call) -> io::Result<Option<u8>> {
    if !call.is("create") {
        return Ok(None);
    }
    let status = call.pass()?;
    if let (true, Some(root)) = (status != 0, call.after("--root")) {
        fs::DirBuilder::new().recursive(true).create(root.join(call.id()))?;
    }
    Ok(Some(status))
}

/// Whatever the signal is: its last argument.
fn kill_always_terminates(call: &Call) -> io::Result<Option<u8>> {
    let id = call.args.get(call.verb + 1).filter(|_| call.is("kill"));
    id.map(|id| call.instead(&["kill", id, "KILL"])).transpose()
}

fn delete_always_forces(call: &Call) -> io::Result<Option<u8>> {
    if !call.is("delete") {
        return Ok(None);
    }
    call.instead(&["delete", "--force", call.id()]).map(Some)
}

/// What the container did not make goes with it.
fn delete_takes_the_bundle(call: &Call) -> io::Result<Option<u8>> {
    if !call.is("delete") {
        return Ok(None);
    }
    let global = call.args.iter().take(call.verb).map(String::as_str);
    let words: Vec<&str> = global.chain(["state", call.id()]).collect();
    let state = call.command(&words).output()?;
    let state: Value = serde_json::from_slice(&state.stdout).unwrap_or_default();
    let status = call.pass()?;
    if let (0, Some(bundle)) = (status, state["bundle"].as_str()) {
        // Without one there is nothing to take.
        drop(fs::remove_dir_all(format!("{bundle}/kept")));
    }
    Ok(Some(status))
}
