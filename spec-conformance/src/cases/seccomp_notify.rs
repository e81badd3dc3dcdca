//! Filters that ask an agent: how the runtime introduces a container to it. Spec: config-linux.md#containerprocessstate.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::wait::{self, Deadline};
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[INTRODUCTION, UNREACHABLE];

/// All that came over one connection, until the runtime closed it.
#[derive(Debug, Default)]
struct Introduction {
    text: String,
    /// How many descriptors came with each part of the text.
    descriptors: Vec<usize>,
    /// What the first of them is.
    kind: String,
    /// Somebody has connected a second time.
    again: bool,
}

/// A filter that asks about calls that nothing makes, so that nobody has to answer.
fn asking(listener: &str) -> BundleBuilder {
    let rule = json!({"names": ["sched_yield"], "action": "SCMP_ACT_NOTIFY"});
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener, "syscalls": [rule]});
    Bundle::new().args(["/bin/probe", "wait"]).set("/linux/seccomp", filter)
}

fn system(call: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    Error::file(call)
}

/// Waits for a connection and reads it to its end.
fn meet(listener: &UnixListener, deadline: Deadline) -> Result<Introduction, Error> {
    let awaited = |fd: &dyn AsFd| wait::ready(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], deadline);
    let late = || Error::Deadline {
        awaited: "the container process state, and the end of its connection".to_owned(),
        within: deadline.within(),
        stdout: String::new(),
        stderr: String::new(),
    };
    if !awaited(listener)? {
        return Err(late());
    }
    let (stream, _) = listener.accept().map_err(system("accept"))?;
    let (mut introduction, mut bytes) = (Introduction::default(), Vec::new());
    loop {
        if !awaited(&stream)? {
            return Err(late());
        }
        let (part, descriptors) = receive(&stream)?;
        if part.is_empty() {
            break;
        }
        if let Some(first) = descriptors.first().filter(|_| introduction.kind.is_empty()) {
            let link = Path::new("/proc/self/fd").join(first.to_string());
            let target = std::fs::read_link(&link).map_err(Error::file(&link))?;
            introduction.kind = target.to_string_lossy().into_owned();
        }
        introduction.descriptors.push(descriptors.len());
        bytes.extend(part);
    }
    introduction.text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(introduction)
}

/// One part of a message, and the descriptors with it. They stay open as long as the case.
fn receive(stream: &UnixStream) -> Result<(Vec<u8>, Vec<i32>), Error> {
    let mut part = vec![0; 4096];
    let mut parts = [IoSliceMut::new(&mut part)];
    let mut space = nix::cmsg_space!([i32; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)
        .map_err(Error::system("recvmsg"))?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs().map_err(Error::system("recvmsg"))? {
        if let ControlMessageOwned::ScmRights(sent) = control {
            descriptors.extend(sent);
        }
    }
    let length = message.bytes;
    part.truncate(length);
    Ok((part, descriptors))
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
    let socket = bundle.path().join("agent");
    let listener = UnixListener::bind(&socket).map_err(Error::file(&socket))?;
    let deadline = runtime.new_deadline();
    let (met, created) = std::thread::scope(|scope| {
        let agent = scope.spawn(|| meet(&listener, deadline));
        // The container is made; some introduce it only when it is started.
        let created = runtime.create(&bundle).and_then(|container| {
            container.start()?.success()?;
            Ok(container)
        });
        let met = agent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (met, created)
    });
    let container = created?;
    let mut met = met?;
    met.again = wait::ready(
        &mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)],
        Deadline::after(std::time::Duration::ZERO),
    )?;
    checks.equal("config-linux.seccomp.socket", true, true);
    // It came to an end, and nothing came after the state.
    checks.holds("config-linux.seccomp.closed", "one connection, closed", &met.again, !met.again);
    let message: Option<Value> = serde_json::from_str(&met.text).ok();
    checks.holds("config-linux.seccomp.one-state", "one JSON document", &met.text, message.is_some());
    let message = message.unwrap_or_default();
    let (first, rest) = met.descriptors.split_first().unwrap_or((&0, &[]));
    let id = "config-linux.the-container-process-state.payload";
    checks.holds(id, "JSON and a descriptor", &met.descriptors, message.is_object() && *first > 0);
    let later: usize = rest.iter().sum();
    checks.equal("config-linux.the-container-process-state.first-message", (true, 0), (*first > 0, later));
    checks.equal("config-linux.the-container-process-state.fds", &json!(["seccompFd"]), &message["fds"]);
    let is_listener = met.kind.contains("seccomp notify");
    checks.holds("config-linux.seccomp.descriptor", "the filter's listener", &met.kind, is_listener);
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

const UNREACHABLE: Case =
    Case { id: "seccomp-listener-absent", proves: &["config-linux.seccomp.send-fails"], run: unreachable };

fn unreachable(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = asking(&format!("{}/nobody", Bundle::HERE)).args(["/bin/probe", "exit", "0"]);
    checks.refuses("config-linux.seccomp.send-fails", runtime, bundle, "a listener that nobody listens at")
}
