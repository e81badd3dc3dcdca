//! A runtime that is killed while it creates a container leaves nothing that `delete` does not remove. Rows L-20, R-01.
//!
//! Alone in its process: every child that it has is a container's.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use integration_tests::{HostState, has_ended, nothing_left, runtime, text_of};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use spec_conformance::{Bundle, Runtime};

/// At how many system calls of a create its runtime is killed.
const KILLS: usize = 90;

#[test]
fn l20_r01_a_runtime_killed_at_any_system_call_of_create_leaves_what_delete_removes() {
    let runtime = runtime();
    let id_map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let hooked = Bundle::new()
        .args(["/bin/probe", "wait"])
        .set("/hooks/createRuntime", json!([{"path": "/bin/true"}]))
        .set("/linux/resources/memory", json!({"limit": 64 << 20}));
    let mapped = hooked
        .clone()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", id_map.clone())
        .set("/linux/gidMappings", id_map);
    for (name, builder) in [("plain", hooked), ("user namespace", mapped)] {
        let bundle = builder.build().unwrap();
        let before = HostState::take(&runtime);
        let calls = create(&runtime, &bundle, &runtime.fresh_id(), None);
        clean_up(&runtime);
        assert!(calls > KILLS, "{name}: only {calls} system calls");
        let mut states = std::collections::BTreeMap::<String, usize>::new();
        for at in (0..calls).step_by(calls.div_ceil(KILLS)) {
            let id = runtime.fresh_id();
            create(&runtime, &bundle, &id, Some(at));
            settle(&runtime, &id);
            let state = runtime.state(&id).map_or("none".to_owned(), |state| state.status);
            *states.entry(state.clone()).or_default() += 1;
            // Without force too, where there is something to delete.
            let plain = state != "none" && at % 2 == 0;
            let flag: &[&str] = if plain { &[] } else { &["--force"] };
            let deleted = runtime.call([&["delete"], flag, &[&id]].concat()).unwrap();
            assert!(deleted.exit.success(), "{name}: killed at {at} of {calls}, {state}: {deleted:?}");
            reap();
            nothing_left(&runtime, &id);
            before.assert_unchanged(&runtime, &format!("{name}: killed at {at} of {calls}, {state}"));
        }
        // The kills are spread over the whole of it.
        assert_eq!(states.len(), 3, "{name}: {states:?}");
    }
}

/// Creates a container, and kills the runtime at the entry of a system call. Gives how many it has made.
#[expect(clippy::zombie_processes, reason = "who traces a process reaps it by waiting for its stops")]
fn create(runtime: &Runtime, bundle: &Bundle, id: &str, kill_at: Option<usize>) -> usize {
    let mut tracee = waiting(runtime, &["create", "--bundle", text_of(bundle.path()), id]);
    let pid = Pid::from_raw(i32::try_from(tracee.id()).unwrap());
    // It is a shell by now, and not about to become one.
    let mut line = String::new();
    BufReader::new(tracee.stdout.take().unwrap()).read_line(&mut line).unwrap();
    ptrace::attach(pid).unwrap();
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(pid, Signal::SIGSTOP));
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC).unwrap();
    tracee.stdin.take().unwrap().write_all(b"go\n").unwrap();
    // The shell executes the runtime; from there on it counts.
    let (mut programs, mut stops) = (0, 0);
    ptrace::syscall(pid, None).unwrap();
    loop {
        let pass = match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceEvent(_, Signal::SIGTRAP, _) => {
                programs += 1;
                None
            }
            WaitStatus::PtraceSyscall(_) if programs == 1 => {
                stops += 1;
                // Entry and exit are a stop each.
                if kill_at.is_some_and(|at| stops > 2 * at) {
                    kill(pid, Signal::SIGKILL).unwrap();
                    assert_eq!(
                        waitpid(pid, None).unwrap(),
                        WaitStatus::Signaled(pid, Signal::SIGKILL, false)
                    );
                    return stops / 2;
                }
                None
            }
            WaitStatus::PtraceSyscall(_) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            WaitStatus::Exited(_, status) => {
                assert_eq!(status, 0, "create was not killed and failed");
                return stops / 2;
            }
            other => panic!("{other:?}"),
        };
        ptrace::syscall(pid, pass).unwrap();
    }
}

/// The runtime to be: a shell that waits for a line before it becomes it.
fn waiting(runtime: &Runtime, args: &[&str]) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo ready; read line; exec \"$@\" < /dev/null > /dev/null", "sh"])
        .arg(runtime.program());
    command.arg("--root").arg(runtime.root()).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the runtime's lock is gone: init has it too, from its birth until it closes what it does not need.
fn settle(runtime: &Runtime, id: &str) {
    if let Ok(directory) = fs::File::open(runtime.root().join(id)) {
        drop(Flock::lock(directory, FlockArg::LockShared).map_err(|(_, errno)| errno).unwrap());
    }
}

/// Deletes all containers.
fn clean_up(runtime: &Runtime) {
    for entry in fs::read_dir(runtime.root()).unwrap() {
        let id = entry.unwrap().file_name().into_string().unwrap();
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    }
    reap();
}

/// Waits for everybody that became our child when the runtime died, who must end by themselves or be dead.
fn reap() {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        for pid in children.split_whitespace() {
            has_ended(pid.parse().unwrap());
        }
    }
}
