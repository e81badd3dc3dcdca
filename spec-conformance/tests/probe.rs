//! The probe outside of any container: each command does what its help says. Needs no privileges.
#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, as tests do")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spec_conformance::report::{Kind, Report};

fn probe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(args).stdout(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    probe(args).output().unwrap()
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_report_shows_what_was_passed_and_nothing_of_the_probes_own_start_up() {
    let mut command =
        probe(&["report", "--stat", "/dev/null", "--stat", "/absent", "--sysctl", "kernel.ostype"]);
    let seen = command.env_clear().env("A", "b").current_dir("/").output().unwrap();
    let seen = Report::parse(std::str::from_utf8(&seen.stdout).unwrap()).unwrap();
    assert_eq!(seen.args[1..3], ["report", "--stat"]);
    assert_eq!((seen.env, seen.cwd.as_str()), (vec!["A=b".to_owned()], "/"));
    assert_eq!(seen.rlimits.len(), 16);
    assert_eq!(seen.sysctls["kernel.ostype"], Ok("Linux".to_owned()));
    let null = seen.paths["/dev/null"].present().unwrap();
    assert_eq!((null.kind, null.device), (Kind::Character, Some((1, 3))));
    assert!(seen.paths["/absent"].present().is_none());
    assert_eq!(seen.signals.caught.to_string(), "0000000000000000");
}

#[test]
fn the_report_can_go_to_a_file_and_carry_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let mut child =
        probe(&["report", "--stdin", "--out", path.to_str().unwrap()]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"state").unwrap();
    assert!(child.wait().unwrap().success());
    let seen = Report::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(seen.stdin.as_deref(), Some("state"));
}

#[test]
fn a_trapped_signal_is_announced_and_ends_the_probe_well() {
    let mut child = probe(&["trap", "USR1"]).spawn().unwrap();
    assert_eq!(line(&mut child), "ready\n");
    send(&child, Signal::SIGUSR1);
    assert_eq!(line(&mut child), "got USR1\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn waiting_ends_with_term() {
    for args in [&["wait"][..], &["alloc", "2", "hold"]] {
        let mut child = probe(args).spawn().unwrap();
        assert_eq!(line(&mut child), "ready\n");
        send(&child, Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn exits_and_signals_are_the_ones_asked_for() {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output(&["exit", "42"]).status.code(), Some(42));
    assert_eq!(output(&["signal", "USR2"]).status.signal(), Some(Signal::SIGUSR2 as i32));
    assert_eq!(output(&["dance"]).status.code(), Some(2));
}

#[test]
fn writing_says_which_error_it_met() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let file = file.to_str().unwrap();
    assert_eq!(output(&["open-write", file]).stdout, b"ENOENT\n");
    assert!(output(&["write", file, "text"]).status.success());
    assert_eq!(output(&["open-write", file]).stdout, b"ok\n");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "text");
}
