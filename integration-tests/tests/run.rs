//! `run` stays with its program: its status, its signals, its files, and nothing of the caller's besides.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Stdio};
use std::time::Duration;

use integration_tests::{ketch, runtime, text_of};
use serde_json::json;
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Runtime};

#[test]
fn k33_run_in_the_foreground_ends_with_the_programs_status_and_128_plus_a_signal() {
    let runtime = runtime();
    let status = |args: &[&str]| {
        let bundle = Bundle::new().with_busybox().args(args.iter().copied()).build().unwrap();
        let id = runtime.fresh_id();
        let exit = runtime.call(["run", "--bundle", text_of(bundle.path()), &id]).unwrap().exit;
        assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
        exit
    };
    assert_eq!(status(&["/bin/probe", "exit", "0"]), Exit::Code(0));
    assert_eq!(status(&["/bin/probe", "exit", "42"]), Exit::Code(42));
    // The first process is shielded from its own signals: a child of it is not, and a shell tells in the same way.
    assert_eq!(status(&["/bin/sh", "-c", "sh -c 'kill -9 $$'; exit $?"]), Exit::Code(137));
}

#[test]
fn k33_a_foreground_run_passes_signals_on() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "trap", "USR2"]).build().unwrap();
    let id = runtime.fresh_id();
    let mut command = runtime.command(["run", "--bundle", text_of(bundle.path()), &id]);
    let mut run = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(run.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR2).unwrap();
    line.clear();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "got USR2\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn k33_a_foreground_run_ends_with_137_when_its_program_is_killed() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "wait"]).build().unwrap();
    let id = runtime.fresh_id();
    let mut command = runtime.command(["run", "--bundle", text_of(bundle.path()), &id]);
    let mut run = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(run.stdout.take().unwrap()), &mut line).unwrap();
    runtime.call(["kill", &id, "KILL"]).unwrap().success().unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(137));
}

#[test]
fn k30_k31_a_detached_run_returns_while_the_program_runs_and_keep_keeps_a_foreground_one() {
    let runtime = runtime();
    let (waiting, leaving) = (
        Bundle::new().args(["/bin/probe", "wait"]).build().unwrap(),
        Bundle::new().args(["/bin/probe", "exit", "3"]).build().unwrap(),
    );
    let id = runtime.fresh_id();
    // Not into a pipe that closes when the runtime is gone: the program writes there after that.
    let mut command = runtime.command(["run", "--detach", "--bundle", text_of(waiting.path()), &id]);
    let mut detached = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let process = Pidfd::open(i32::try_from(detached.id()).unwrap()).unwrap();
    assert!(process.wait(Deadline::after(Duration::from_secs(20))).unwrap(), "run --detach stays");
    assert!(detached.wait().unwrap().success());
    assert_eq!(runtime.state(&id).unwrap().status, "running");
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    let kept = runtime.fresh_id();
    let finished = runtime.call(["run", "--keep", "--bundle", text_of(leaving.path()), &kept]).unwrap();
    assert_eq!(finished.exit, Exit::Code(3));
    assert_eq!(runtime.state(&kept).unwrap().status, "stopped");
    runtime.call(["delete", &kept]).unwrap().success().unwrap();
}

#[test]
fn p22_inherited_descriptors_reach_the_program_only_if_they_are_preserved() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "report"]).build().unwrap();
    // The shell leaks 3, 4 and 7, as shims and buildah do.
    let fds = |flags: &str| {
        let script = format!("exec 3</dev/null 4</dev/zero 7</dev/null; exec \"$@\" {flags}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(ketch()).arg("--root").arg(runtime.root());
        command.args(["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
        let finished: Finished = runtime.finish(with_null(command)).unwrap().success().unwrap();
        finished.report().unwrap().fds
    };
    assert_eq!(fds("").keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let preserved = fds("--preserve-fds 2");
    assert_eq!(preserved.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((preserved[&3].as_str(), preserved[&4].as_str()), ("/dev/null", "/dev/zero"));
}

fn with_null(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    command
}

#[test]
fn r50_signals_that_the_caller_ignores_or_blocks_are_default_in_the_container() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "report"]).build().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' PIPE CHLD USR1 TERM; exec \"$@\"", "sh"])
        .arg(ketch())
        .arg("--root")
        .arg(runtime.root());
    command.args(["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    let report = runtime.finish(with_null(command)).unwrap().success().unwrap().report().unwrap();
    assert_eq!(report.signals, spec_conformance::report::Signals::default());
}

#[test]
fn r12_relative_bundles_and_roots_work() {
    let runtime = runtime();
    let relative = |builder: BundleBuilder, root: &str, bundle: &str| {
        let built = builder.set("/root/path", json!(root)).build().unwrap();
        let mut command = runtime.command(["run", "--bundle", bundle, &runtime.fresh_id()]);
        command.current_dir(built.path());
        succeed(&runtime, command);
    };
    relative(Bundle::new(), "rootfs", ".");
    relative(Bundle::new(), "./rootfs/../rootfs", "rootfs/..");
}

fn succeed(runtime: &Runtime, command: Command) {
    let report = runtime.finish(command).unwrap().success().unwrap().report().unwrap();
    assert_eq!(report.pid, 1);
}
