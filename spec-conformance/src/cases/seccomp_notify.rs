//! Filters that ask an agent: how the runtime introduces a container to it. Spec: config-linux.md#containerprocessstate.

use std::os::fd::{AsRawFd, OwnedFd};

use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::passed::{Passed, Receiver};
use crate::runtime::Runtime;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[INTRODUCTION, UNREACHABLE];

/// A filter that asks about calls that nothing makes, so that nobody has to answer.
fn asking(listener: &str) -> BundleBuilder {
    let rule = json!({"names": ["sched_yield"], "action": "SCMP_ACT_NOTIFY"});
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener, "syscalls": [rule]});
    Bundle::new().args(["/bin/probe", "wait"]).set("/linux/seccomp", filter)
}

const INTRODUCTION: Case = Case {
    id: "seccomp-listener",
    proves: &[
        "config-linux.seccomp.socket",
        "config-linux.seccomp.one-state",
        "config-linux.seccomp.closed",
        "config-linux.seccomp.descriptor",
        "config-linux.seccomp.metadata",
        "config-linux.the-container-process-state.payload",
        "config-linux.the-container-process-state.first-message",
        "config-linux.the-container-process-state.version",
        "config-linux.the-container-process-state.fds",
        "config-linux.the-container-process-state.pid",
        "config-linux.the-container-process-state.state",
    ],
    run: introduction,
};

fn introduction(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = asking(&format!("{}/agent", Bundle::HERE))
        .set("/linux/seccomp/listenerMetadata", json!("a \"word\"\n"))
        .set("/annotations", json!({"org.example.key": "value"}))
        .build()?;
    let receiver = Receiver::at(bundle.path().join("agent"))?;
    // Some introduce it only when it is started. Nobody waits for the agent's answer, so it may listen late.
    let container = runtime.create(&bundle)?;
    container.start()?.success()?;
    let met = receiver.receive(runtime.new_deadline(), |_| false)?;
    checks.holds("config-linux.seccomp.socket", "a message", &met.messages.len(), !met.messages.is_empty());
    checks.holds("config-linux.seccomp.closed", "the connection is closed", &met.closed, met.closed);
    let again = receiver.has_more()?;
    checks.holds("config-linux.seccomp.one-state", "one connection", &again, !again);
    let message = introduced(checks, &met)?;
    checks.equal("config-linux.seccomp.metadata", &json!("a \"word\"\n"), &message["metadata"]);
    let version = &message["ociVersion"];
    let is_version = version.as_str().is_some_and(|text| text.split('.').count() >= 3);
    checks.holds("config-linux.the-container-process-state.version", "a version", version, is_version);
    let id = "config-linux.the-container-process-state.pid";
    checks.equal(id, &json!(container.pid()), &message["pid"]);
    let state = &message["state"];
    let id = "config-linux.the-container-process-state.state";
    checks.equal(id, &json!(container.id()), &state["id"]);
    checks.equal(id, &json!(bundle.path()), &state["bundle"]);
    checks.equal(id, &json!("value"), &state["annotations"]["org.example.key"]);
    Ok(())
}

/// How the message comes, and what it says.
fn introduced(checks: &mut Checks, met: &Passed) -> Result<Value, Error> {
    let bytes: Vec<u8> = met.messages.iter().flat_map(|message| message.0.iter().copied()).collect();
    let text = String::from_utf8_lossy(&bytes);
    let message: Option<Value> = serde_json::from_str(&text).ok();
    checks.holds("config-linux.seccomp.one-state", "one JSON document", &text, message.is_some());
    let message = message.unwrap_or_default();
    let counts: Vec<usize> = met.messages.iter().map(|message| message.1).collect();
    let (first, rest) = counts.split_first().unwrap_or((&0, &[]));
    let id = "config-linux.the-container-process-state.payload";
    checks.holds(id, "JSON and a descriptor", &counts, message.is_object() && *first > 0);
    let later: usize = rest.iter().sum();
    checks.equal("config-linux.the-container-process-state.first-message", (true, 0), (*first > 0, later));
    checks.equal("config-linux.the-container-process-state.fds", &json!(["seccompFd"]), &message["fds"]);
    let kind = met.descriptors.first().map(described).transpose()?.unwrap_or_default();
    let is_listener = kind.contains("seccomp notify");
    checks.holds("config-linux.seccomp.descriptor", "the filter's listener", &kind, is_listener);
    Ok(message)
}

/// What procfs says of a descriptor.
fn described(descriptor: &OwnedFd) -> Result<String, Error> {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let target = std::fs::read_link(&link).map_err(Error::file(&link))?;
    Ok(target.to_string_lossy().into_owned())
}

const UNREACHABLE: Case =
    Case { id: "seccomp-listener-absent", proves: &["config-linux.seccomp.send-fails"], run: unreachable };

fn unreachable(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = asking(&format!("{}/nobody", Bundle::HERE)).args(["/bin/probe", "exit", "0"]);
    checks.refuses("config-linux.seccomp.send-fails", runtime, bundle, "a listener that nobody listens at")
}
