//! System calls that an agent decides about, up to all of them. Rows S-01, S-07, S-08, S-12, S-13, E-31, P-22.
//!
//! Spec: config-linux.md#seccomp and config-linux.md#containerprocessstate.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod agent;
mod unreachable;

use std::path::Path;
use std::time::Duration;

use agent::{Agent, Answer, Introduction, Keep};
use integration_tests::{Rootless, runtime};
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit, Finished, Runtime};

/// A filter that asks about these calls.
fn asking(path: &Path, names: &[&str]) -> Value {
    let rule = json!({"names": names, "action": "SCMP_ACT_NOTIFY"});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [rule]})
}

/// A filter that asks about everything.
fn asking_all(path: &Path) -> Value {
    json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": path, "architectures": ["SCMP_ARCH_NATIVE"]})
}

fn mkdir(path: &Path) -> Value {
    asking(path, &["mkdir", "mkdirat"])
}

fn shell(script: &str, seccomp: Value) -> BundleBuilder {
    Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).set("/linux/seccomp", seccomp)
}

fn probe(words: &[&str], seccomp: Value) -> BundleBuilder {
    let args = ["/bin/probe"].iter().chain(words).copied();
    Bundle::new().args(args).set("/linux/seccomp", seccomp)
}

fn compliant() -> Agent {
    Agent::new(Keep::Listener, |_| Answer::Continue)
}

fn started<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let mut container = runtime.create(bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container
}

fn ends(process: &Pidfd) {
    assert!(process.wait(Deadline::after(Duration::from_secs(20))).unwrap(), "the process lives on");
}

/// One connection, one descriptor, with the first part of the message.
fn assert_one_descriptor(introduction: &Introduction) {
    let (first, rest) = introduction.descriptors.split_first().unwrap();
    assert_eq!((*first, rest.iter().sum::<usize>()), (1, 0), "{introduction:?}");
    assert_eq!(introduction.message["fds"], json!(["seccompFd"]));
}

#[test]
fn s01_s07_a_rule_asks_the_agent_and_its_word_is_final() {
    let runtime = runtime();
    let mut answers = [Answer::Continue, Answer::Errno(libc::EPERM), Answer::Value(0)].into_iter();
    let agent = Agent::new(Keep::Listener, move |_| answers.next().unwrap());
    let script = "cd /dev/shm; for i in a b c; do mkdir $i; echo $i=$?; done; echo *";
    let bundle = shell(script, mkdir(&agent.path())).build().unwrap();
    let ran = runtime.run(&bundle).unwrap().success().unwrap();
    assert_eq!(ran.stdout, "a=0\nb=1\nc=0\na\n", "{ran:?}");
    assert!(ran.stderr.contains(Errno::EPERM.desc()), "{ran:?}");
    assert_eq!(agent.calls().len(), 3);
    assert_one_descriptor(&agent.introductions(1)[0]);
}

#[test]
fn s13_s08_the_agent_is_told_the_whole_state_of_the_process() {
    let runtime = runtime();
    let agent = compliant();
    let mut seccomp = mkdir(&agent.path());
    // More than a socket takes at once.
    let metadata = "x=\"y\"\n".repeat(100_000);
    seccomp["listenerMetadata"] = json!(metadata);
    let annotations = json!({"a.b/c": "d", "e": ""});
    let bundle = probe(&["wait"], seccomp).set("/annotations", annotations.clone()).build().unwrap();
    let container = started(&runtime, &bundle);
    let introduction = &agent.introductions(1)[0];
    assert_one_descriptor(introduction);
    assert!(introduction.descriptors.len() > 1, "it came in one part");
    let message = &introduction.message;
    assert_eq!(message["ociVersion"], bundle.config()["ociVersion"]);
    assert_eq!(message["pid"], container.pid());
    assert_eq!(message["metadata"], metadata);
    let state = &message["state"];
    assert_eq!(state["ociVersion"], bundle.config()["ociVersion"]);
    assert_eq!(state["id"], container.id());
    // All is created, and the program has not been executed. Spec: runtime.md#state.
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], container.pid());
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["annotations"], annotations);
}

#[test]
fn s12_s13_exec_is_under_the_filter_too_and_introduced_by_itself() {
    let runtime = runtime();
    let agent = Agent::new(Keep::Listener, |_| Answer::Errno(libc::EPERM));
    let bundle = probe(&["wait"], mkdir(&agent.path())).with_busybox().build().unwrap();
    let container = started(&runtime, &bundle);
    // Two at once, each with a listener of its own.
    let outcomes: Vec<Finished> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| container.exec(["/bin/sh", "-c", "echo $$; mkdir /dev/shm/x"]).unwrap());
        [one(), one()].map(|thread| thread.join().unwrap()).to_vec()
    });
    for outcome in &outcomes {
        assert!(outcome.stderr.contains(Errno::EPERM.desc()), "{outcome:?}");
    }
    let introductions = agent.introductions(3);
    introductions.iter().for_each(assert_one_descriptor);
    let pids: Vec<i64> = introductions.iter().map(|i| i.message["pid"].as_i64().unwrap()).collect();
    assert_eq!(pids[0], i64::from(container.pid()));
    assert!(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2], "{pids:?}");
    for introduction in &introductions[1..] {
        assert_eq!(introduction.message["state"]["status"], "running");
        assert_eq!(introduction.message["state"]["pid"], container.pid());
        assert_eq!(introduction.message.get("metadata"), None);
    }
}

#[test]
fn s01_r53_every_call_may_be_asked_about_in_run_create_start_and_exec() {
    let runtime = runtime();
    for new_privileges in [false, true] {
        let agent = compliant();
        let configure = |words: &[&str]| {
            probe(words, asking_all(&agent.path()))
                .set("/process/noNewPrivileges", json!(!new_privileges))
                .build()
                .unwrap()
        };
        let report = runtime.observe(&configure(&["report"])).unwrap();
        assert_eq!((report.seccomp, report.seccomp_filters), (2, 1));
        assert!(agent.calls().len() > 20, "{:?}", agent.calls());
        assert_eq!(i64::from(agent.calls()[0]), libc::SYS_execve, "what came before it needed no answer");
        let bundle = configure(&["wait"]);
        let mut container = started(&runtime, &bundle);
        container.exec(["/bin/probe", "exit", "7"]).map(|exec| assert_eq!(exec.exit, Exit::Code(7))).unwrap();
        container.kill("TERM").unwrap().success().unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Code(0));
        assert_eq!(agent.introductions(3).len(), 3);
    }
}

#[test]
fn s07_calls_that_the_runtime_makes_last_may_be_asked_about() {
    let runtime = runtime();
    let names =
        ["close", "sendmsg", "sendto", "write", "read", "recvfrom", "recvmsg", "exit_group", "execve"];
    let agent = compliant();
    let bundle = probe(&["exit", "3"], asking(&agent.path(), &names)).build().unwrap();
    assert_eq!(runtime.run(&bundle).unwrap().exit, Exit::Code(3));
    let calls: Vec<i64> = agent.calls().into_iter().map(i64::from).collect();
    // Of the runtime's own calls the first is asked about, of the program's the last.
    assert_eq!((calls.first(), calls.last()), (Some(&libc::SYS_execve), Some(&libc::SYS_exit_group)));
    // And those that the filter kills for do no harm before the program runs.
    let mut deadly = asking(&agent.path(), &["mkdir"]);
    let rule = json!({"names": ["sendmsg", "sendto", "recvfrom"], "action": "SCMP_ACT_KILL_PROCESS"});
    deadly["syscalls"].as_array_mut().unwrap().push(rule);
    let bundle = probe(&["exit", "4"], deadly).build().unwrap();
    assert_eq!(runtime.run(&bundle).unwrap().exit, Exit::Code(4));
}

#[test]
fn s05_s07_flags_go_together_with_a_listener() {
    let runtime = runtime();
    for flags in
        [json!(["TSYNC"]), json!(["WAIT_KILLABLE_RECV"]), json!(["TSYNC", "LOG", "WAIT_KILLABLE_RECV"])]
    {
        let named = |flag: &Value| json!(format!("SECCOMP_FILTER_FLAG_{}", flag.as_str().unwrap()));
        let flags: Vec<Value> = flags.as_array().unwrap().iter().map(named).collect();
        let agent = compliant();
        let mut seccomp = asking_all(&agent.path());
        seccomp["flags"] = json!(flags);
        let bundle = probe(&["exit", "5"], seccomp).build().unwrap();
        let ran = runtime.run(&bundle).unwrap();
        assert_eq!(ran.exit, Exit::Code(5), "{flags:?}: {ran:?}");
        // Without a question, nobody is waited for.
        let quiet = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags});
        assert_eq!(runtime.run(&probe(&["exit", "6"], quiet).build().unwrap()).unwrap().exit, Exit::Code(6));
    }
}

#[test]
fn s07_a_user_namespace_makes_no_difference() {
    let runtime = runtime();
    let agent = compliant();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = probe(&["wait"], asking_all(&agent.path()))
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .build()
        .unwrap();
    let container = started(&runtime, &bundle);
    container.exec(["/bin/probe", "exit", "0"]).unwrap().success().unwrap();
    assert_eq!(agent.introductions(2)[0].message["pid"], container.pid());
}

#[test]
fn s07_a_runtime_without_rights_hands_the_listener_out_too() {
    const USER: u32 = 100_000;
    let rootless = Rootless::new(USER, 65_536);
    let runtime = rootless.runtime();
    let agent = compliant();
    for path in [agent.place(), &agent.path()] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
    let bundle = probe(&["report"], asking_all(&agent.path()))
        .owned_by(USER, USER)
        .remove("/linux/resources")
        .build()
        .unwrap();
    let ran = runtime.run(&bundle).unwrap().success().unwrap();
    assert_eq!(ran.report().unwrap().seccomp, 2);
    agent.introductions(1);
}

#[test]
fn p22_s07_the_program_has_no_descriptor_of_the_listener() {
    let runtime = runtime();
    let agent = compliant();
    let bundle = probe(&["wait"], mkdir(&agent.path())).build().unwrap();
    let container = started(&runtime, &bundle);
    let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_eq!(exec.fds.keys().collect::<Vec<_>>(), [&0, &1, &2]);
    let report = runtime.observe(&probe(&["report"], asking_all(&agent.path())).build().unwrap()).unwrap();
    assert_eq!(report.fds.keys().collect::<Vec<_>>(), [&0, &1, &2]);
}

#[test]
fn s07_a_relative_path_counts_from_the_bundle() {
    let runtime = runtime();
    let agent = compliant();
    let bundle = probe(&["wait"], mkdir(Path::new("agent/agent.sock"))).build().unwrap();
    std::os::unix::fs::symlink(agent.place(), bundle.path().join("agent")).unwrap();
    let container = started(&runtime, &bundle);
    container.exec(["/bin/probe", "exit", "0"]).unwrap().success().unwrap();
    agent.introductions(2);
}

#[test]
fn s07_a_path_may_be_longer_than_an_address() {
    let runtime = runtime();
    let agent = compliant();
    let bundle = probe(&["exit", "0"], json!(null)).build().unwrap();
    let deep = bundle.path().join("d".repeat(150));
    std::fs::create_dir(&deep).unwrap();
    std::os::unix::fs::symlink(agent.place(), deep.join("agent")).unwrap();
    let bundle = probe(&["exit", "0"], mkdir(&deep.join("agent/agent.sock"))).build().unwrap();
    runtime.run(&bundle).unwrap().success().unwrap();
    agent.introductions(1);
}

#[test]
fn s07_r53_an_agent_that_closes_the_listener_holds_nobody_up() {
    let runtime = runtime();
    let agent = Agent::new(Keep::Nothing, |_| Answer::Continue);
    // The program's calls fail from then on, as seccomp_unotify(2) has it.
    let script = "echo ready; mkdir /dev/shm/x; read never";
    let bundle = shell(script, mkdir(&agent.path())).build().unwrap();
    let ran = runtime.run(&bundle).unwrap();
    assert!(ran.stderr.contains(Errno::ENOSYS.desc()), "{ran:?}");
    // And if even execve(2) is one of them, start says so.
    let bundle = probe(&["exit", "0"], asking_all(&agent.path())).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    let refused = container.start().unwrap();
    assert_ne!(refused.exit, Exit::Code(0));
    assert!(refused.stderr.contains("execve: function not implemented"), "{refused:?}");
    assert!(refused.stderr.contains("hint: the seccomp agent has closed the listener"), "{refused:?}");
    assert_eq!(container.wait().unwrap(), Exit::Code(1));
}

#[test]
fn s07_r53_a_program_that_cannot_be_executed_is_reported_without_the_agents_leave() {
    let runtime = runtime();
    let agent = Agent::new(Keep::Listener, |_| Answer::Silence);
    let mut seccomp = asking_all(&agent.path());
    seccomp["syscalls"] = json!([{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]);
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/script"])
        .file("script", "#!/no/such/interpreter\n")
        .set("/linux/seccomp", seccomp)
        .build()
        .unwrap();
    std::fs::set_permissions(
        bundle.rootfs().join("script"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let ran = runtime.run(&bundle).unwrap();
    assert_eq!(ran.exit, Exit::Code(127), "{ran:?}");
    assert!(ran.stderr.contains("hint: its interpreter"), "{ran:?}");
    let mut container = runtime.create(&bundle).unwrap();
    assert_eq!(container.start().unwrap().exit, Exit::Code(127));
    assert_eq!(container.wait().unwrap(), Exit::Code(1));
    assert_eq!(agent.calls(), Vec::<i32>::new());
}

#[test]
fn s07_r53_a_container_whose_agent_never_answers_can_be_killed_and_start_comes_back() {
    let runtime = runtime();
    for force in [false, true] {
        for flags in [json!([]), json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])] {
            let agent = Agent::new(Keep::Listener, |_| Answer::Silence);
            let mut seccomp = asking_all(&agent.path());
            seccomp["flags"] = flags;
            let bundle = probe(&["exit", "0"], seccomp).build().unwrap();
            let container = runtime.create(&bundle).unwrap();
            std::thread::scope(|scope| {
                let start = scope.spawn(|| container.start().unwrap());
                agent.await_questions(1);
                if force {
                    runtime.call(["delete", "--force", container.id()]).unwrap().success().unwrap();
                } else {
                    container.kill("KILL").unwrap().success().unwrap();
                }
                // Its own deadline would make an error of this.
                start.join().unwrap();
            });
            ends(container.process());
        }
    }
}

#[test]
fn s07_r53_an_exec_whose_agent_never_answers_goes_with_its_container() {
    let runtime = runtime();
    let mut first = true;
    // The container's own program is let go, and what comes after it is not.
    let agent = Agent::new(Keep::Listener, move |_| {
        if std::mem::take(&mut first) { Answer::Continue } else { Answer::Silence }
    });
    let bundle = probe(&["wait"], asking(&agent.path(), &["execve"])).build().unwrap();
    let container = started(&runtime, &bundle);
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| container.exec(["/bin/probe", "exit", "0"]).unwrap());
        agent.await_questions(2);
        container.kill("KILL").unwrap().success().unwrap();
        assert_ne!(exec.join().unwrap().exit, Exit::Code(0));
    });
}

#[test]
fn s07_a_runtime_that_is_under_a_listener_itself_says_so() {
    let runtime = runtime();
    let agent = compliant();
    let bundle = probe(&["exit", "0"], mkdir(&agent.path())).build().unwrap();
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg(runtime.fresh_id());
    agent::put_under_a_listener(&mut command);
    let ran = runtime.finish(command).unwrap();
    assert_eq!(ran.exit, Exit::Code(1));
    assert!(ran.stderr.contains("load the seccomp filter: seccomp: device or resource busy"), "{ran:?}");
    assert!(ran.stderr.contains("hint: the runtime itself is under a filter that has a listener"), "{ran:?}");
}

#[test]
fn s07_an_agent_that_is_dead_when_a_container_is_created_may_come_before_it_is_started() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("agent.sock");
    let bundle = probe(&["wait"], mkdir(&path)).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    let agent = compliant();
    std::os::unix::fs::symlink(agent.path(), &path).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    agent.introductions(1);
}
