//! An agent that cannot be told of a container is an error, and nothing is left behind. Row E-31.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use integration_tests::runtime;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use serde_json::{Value, json};
use spec_conformance::{Exit, Finished, Runtime};

use super::{asking_all, compliant, mkdir, probe, started};

/// Whatever verb needs the agent says why it fails, and the container is gone or stopped.
fn assert_unreachable(runtime: &Runtime, path: &Path, why: &str) {
    let bundle = probe(&["write", "/dev/shm/ran", "yes"], asking_all(path)).build().unwrap();
    let says = |call: &Finished| {
        let words = format!("send the seccomp listener to {}: {why}", path.display());
        assert!(!call.exit.success() && call.stderr.contains(&words), "{call:?}");
    };
    let id = runtime.fresh_id();
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg(&id);
    says(&runtime.finish(command).unwrap());
    assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
    let mut container = runtime.create(&bundle).unwrap();
    says(&container.start().unwrap());
    assert_eq!(container.wait().unwrap(), Exit::Code(1));
    assert_eq!(container.state().unwrap().status, "stopped");
    container.delete().unwrap().success().unwrap();
}

#[test]
fn e31_an_agent_that_is_not_there_is_an_error_of_run_and_start() {
    let place = tempfile::tempdir().unwrap();
    let runtime = runtime();
    assert_unreachable(&runtime, &place.path().join("none"), "connect: no such file or directory");
    let dead = place.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    assert_unreachable(&runtime, &dead, "connect: connection refused");
    let packets = place.path().join("packets");
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(&packets).unwrap()).unwrap();
    listen(&socket, Backlog::new(1).unwrap()).unwrap();
    assert_unreachable(&runtime, &packets, "connect: protocol wrong type for socket");
}

#[test]
fn e31_r53_an_agent_that_accepts_nobody_is_given_up() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("busy");
    let unix = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let (listening, first) = (unix(), unix());
    let address = UnixAddr::new(&path).unwrap();
    bind(listening.as_raw_fd(), &address).unwrap();
    listen(&listening, Backlog::new(0).unwrap()).unwrap();
    // The one that may wait to be accepted.
    connect(first.as_raw_fd(), &address).unwrap();
    assert_given_up(mkdir(&path), "connect: connection timed out");
}

#[test]
fn e31_r53_an_agent_that_reads_nothing_is_given_up() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("deaf");
    let _listening = UnixListener::bind(&path).unwrap();
    let mut seccomp = mkdir(&path);
    // More than a socket takes at once.
    seccomp["listenerMetadata"] = json!("x".repeat(1 << 20));
    assert_given_up(seccomp, "send: connection timed out");
}

fn assert_given_up(seccomp: Value, why: &str) {
    // It has ten seconds to take the connection, and ten more for each part of the message.
    let runtime = runtime().deadline(Duration::from_secs(60));
    let ran = runtime.run(&probe(&["exit", "0"], seccomp).build().unwrap()).unwrap();
    assert_eq!(ran.exit, Exit::Code(1));
    assert!(
        ran.stderr.contains(why) && ran.stderr.contains("hint: the seccomp agent does not take"),
        "{ran:?}"
    );
}

#[test]
fn e31_exec_fails_when_the_agent_is_gone_and_leaves_no_process() {
    let runtime = runtime();
    let agent = compliant();
    let bundle = probe(&["wait"], mkdir(&agent.path())).build().unwrap();
    let container = started(&runtime, &bundle);
    std::fs::remove_file(agent.path()).unwrap();
    let refused = container.exec(["/bin/probe", "exit", "0"]).unwrap();
    assert_eq!(refused.exit, Exit::Code(255));
    let words = format!("send the seccomp listener to {}: connect: no such file", agent.path().display());
    assert!(refused.stderr.contains(&words), "{refused:?}");
    let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
    assert_eq!(serde_json::from_str::<Vec<i32>>(&listed.stdout).unwrap(), [container.pid()]);
    assert_eq!(container.state().unwrap().status, "running");
}
