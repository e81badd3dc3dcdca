//! A foreground `run` or `exec` stands between the caller's standard streams and the program's terminal: every byte goes
//! through however slow either side is, and the caller's terminal is afterwards what it was. Rows K-30, K-33, P-01.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use integration_tests::{deadline, in_a_terminal, read_until, running, runtime, text_of};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::json;
use spec_conformance::wait::{Pidfd, for_file};
use spec_conformance::{Bundle, Runtime};

fn terminal(script: &str) -> Bundle {
    let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", script]);
    bundle.set("/process/terminal", json!(true)).build().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// A run whose standard streams are pipes, but whose program has a terminal.
fn piped(runtime: &Runtime, bundle: &Bundle, stdout: impl Into<Stdio>) -> Child {
    let mut command = runtime.command(["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    command.stdin(Stdio::piped()).stdout(stdout).spawn().unwrap()
}

#[test]
fn p01_a_foreground_run_stands_between_the_callers_terminal_and_the_programs() {
    let runtime = runtime();
    let bundle = terminal("echo out; tty; read line; echo got:$line; exit 5");
    let id = runtime.fresh_id();
    let (mut master, _other, mut child) =
        in_a_terminal(&runtime, &["run", "--bundle", text_of(bundle.path()), &id]);
    let seen = read_until(&mut master, "/dev/");
    assert!(!seen.contains("not a tty"), "{seen:?}");
    master.write_all(b"typed\r").unwrap();
    read_until(&mut master, "got:typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

#[test]
fn k33_the_programs_terminal_has_the_size_of_the_callers_from_the_first_moment_and_when_it_changes() {
    let runtime = runtime();
    let bundle =
        terminal("trap 'stty size; exit 0' WINCH; stty size; echo ready; while read line; do :; done");
    let (mut master, other, mut child) =
        in_a_terminal(&runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    read_until(&mut master, "ready");
    let mut resize = std::process::Command::new("stty");
    assert!(resize.args(["rows", "17", "cols", "71"]).stdin(Stdio::from(other)).status().unwrap().success());
    signal(&child, Signal::SIGWINCH);
    read_until(&mut master, "17 71");
    master.write_all(b"\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn k33_the_callers_terminal_is_what_it_was_however_the_call_ends() {
    let runtime = runtime();
    let bundle = terminal("trap 'exit 6' TERM; echo ready; while :; do read line; done");
    let missing = Bundle::new().args(["/absent"]).set("/process/terminal", json!(true)).build().unwrap();
    let waiting = Bundle::new().with_busybox().args(["/bin/probe", "wait"]).build().unwrap();
    let container = running(&runtime, &waiting);
    let flags = |bundle: &Bundle| {
        ["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()].map(str::to_owned).to_vec()
    };
    let exec = |args: &[&str]| {
        [&["exec", "--tty", container.id()], args].concat().into_iter().map(str::to_owned).collect()
    };
    let ready = "trap 'exit 6' TERM; echo ready; while :; do read line; done";
    let calls: [(Vec<String>, Option<Signal>, Option<i32>); 4] = [
        (flags(&bundle), Some(Signal::SIGTERM), Some(6)),
        (flags(&missing), None, Some(127)),
        (exec(&["/bin/sh", "-c", ready]), Some(Signal::SIGTERM), Some(6)),
        (exec(&["/absent"]), None, Some(255)),
    ];
    for (args, ends_by, status) in calls {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (mut master, other, mut child) = in_a_terminal(&runtime, &args);
        if let Some(ends_by) = ends_by {
            read_until(&mut master, "ready");
            // Nothing that is typed is for the shell in front of it now.
            assert!(!tcgetattr(&other).unwrap().local_flags.contains(LocalFlags::ICANON));
            signal(&child, ends_by);
        }
        assert_eq!(child.wait().unwrap().code(), status, "{args:?}");
        let flags = tcgetattr(&other).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "{args:?}: {flags:?}");
    }
}

#[test]
fn k33_a_terminal_that_was_changed_during_a_stop_is_raw_again_afterwards() {
    let runtime = runtime();
    let bundle =
        terminal("trap 'exit 0' TERM; trap 'echo back' CONT; echo ready; while :; do read line; done");
    let (mut master, other, mut child) =
        in_a_terminal(&runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    read_until(&mut master, "ready");
    let mut cooked = tcgetattr(&other).unwrap();
    cooked.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO;
    nix::sys::termios::tcsetattr(&other, nix::sys::termios::SetArg::TCSANOW, &cooked).unwrap();
    signal(&child, Signal::SIGCONT);
    read_until(&mut master, "back");
    assert!(!tcgetattr(&other).unwrap().local_flags.contains(LocalFlags::ICANON));
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn p01_no_byte_of_the_input_is_lost_and_its_end_is_one_for_the_program_too() {
    let runtime = runtime();
    // Much more than is read at once.
    let script =
        "stty raw -echo; echo ready; head -c 100000 | busybox md5sum; stty sane; echo cooked; cat; echo end";
    let bundle = terminal(script);
    let mut child = piped(&runtime, &bundle, Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    read_until(&mut stdout, "ready");
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| b'a' + u8::try_from(i * 7 % 26).unwrap()).collect();
    stdin.write_all(&bytes).unwrap();
    // Nothing more comes, and there is no end yet.
    let seen = read_until(&mut stdout, "cooked");
    let sum = sum_of(&bytes);
    assert!(seen.contains(&sum), "{} bytes without {sum}: {seen:.200}", seen.len());
    stdin.write_all(b"a part of a line").unwrap();
    drop(stdin);
    let seen = read_until(&mut stdout, "end");
    assert!(seen.contains("a part of a line"), "{seen:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What md5sum(1) says of these.
fn sum_of(bytes: &[u8]) -> String {
    let mut child =
        std::process::Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
}

#[test]
fn p01_no_byte_of_the_output_is_lost_to_a_slow_caller_or_one_that_does_not_block() {
    const LINES: usize = 20_000;
    let runtime = runtime();
    let bundle = terminal("stty -opost; busybox seq 20000");
    for nonblocking in [false, true] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        if nonblocking {
            fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        let mut child = piped(&runtime, &bundle, OwnedFd::from(writer));
        let (mut seen, mut part) = (Vec::new(), [0; 97]);
        loop {
            let length = reader.read(&mut part).unwrap();
            if length == 0 {
                break;
            }
            seen.extend_from_slice(&part[..length]);
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let expected: Vec<u8> = (1..=LINES).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        assert!(seen == expected, "{nonblocking}: {} of {} bytes", seen.len(), expected.len());
    }
}

#[test]
fn k33_a_caller_that_reads_nothing_does_not_keep_the_run_from_being_ended() {
    let runtime = runtime();
    // Less than the terminal, the runtime and the pipe have room for, and more than the pipe has.
    let bundle = terminal("busybox seq 1500");
    let (_unread, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let id = runtime.fresh_id();
    let pid_file = bundle.path().join("pid");
    let mut command = runtime.command(["run", "--bundle", text_of(bundle.path()), "--pid-file"]);
    let child = command.arg(&pid_file).arg(&id).stdin(Stdio::piped()).stdout(OwnedFd::from(writer));
    let mut child = child.spawn().unwrap();
    let text = for_file(&pid_file, deadline(), |text| !text.is_empty()).unwrap();
    // It may have ended by now.
    if let Ok(program) = Pidfd::open(text.parse().unwrap()) {
        assert!(program.wait(deadline()).unwrap());
    }
    signal(&child, Signal::SIGTERM);
    let run = Pidfd::open(i32::try_from(child.id()).unwrap()).unwrap();
    assert!(run.wait(deadline()).unwrap(), "it waits for somebody to read");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

#[test]
fn k33_output_that_nobody_can_ever_read_does_not_keep_the_run_from_ending() {
    let runtime = runtime();
    let bundle = terminal("busybox seq 20000");
    let mut child = piped(&runtime, &bundle, OwnedFd::from(std::io::pipe().unwrap().1));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
