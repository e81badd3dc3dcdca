//! Terminals: made in the container, sent over the console socket, of the size that was asked for. Rows P-01, P-02.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use integration_tests::{DescriptorSocket, runtime};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use serde_json::json;
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Exit, Runtime};

const PATIENCE: u16 = 20_000;

fn terminal(script: &str) -> BundleBuilder {
    Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).set("/process/terminal", json!(true))
}

fn readable(fd: &impl AsFd) {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(PATIENCE)).unwrap(), 1, "nothing came in time");
}

/// Reads from a terminal's master until this text has come, or the terminal is closed.
fn read_until(master: &mut (impl Read + AsFd), wanted: &str) -> String {
    let mut seen = String::new();
    let mut chunk = [0; 1024];
    while !seen.contains(wanted) {
        readable(master);
        match master.read(&mut chunk) {
            Ok(length) if length > 0 => seen.push_str(&String::from_utf8_lossy(&chunk[..length])),
            // EIO: nobody has the other side open any more.
            Ok(_) | Err(_) => panic!("the terminal closed before {wanted:?}: {seen:?}"),
        }
    }
    seen
}

fn created<'a>(runtime: &Runtime, bundle: &Path, socket: &DescriptorSocket, id: &'a str) -> (&'a str, Pidfd) {
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(bundle).arg("--console-socket").arg(&socket.path).arg(id);
    runtime.finish(command).unwrap().success().unwrap();
    (id, Pidfd::open(runtime.state(id).unwrap().pid.unwrap()).unwrap())
}

fn ended(process: &Pidfd) -> Exit {
    assert!(process.wait(Deadline::after(Duration::from_secs(20))).unwrap());
    process.reap().unwrap().unwrap()
}

#[test]
fn d06_p01_p02_the_console_socket_gets_the_master_of_a_terminal_that_works_and_has_its_size() {
    let runtime = runtime();
    let socket = DescriptorSocket::new();
    let script = "tty; stty size; read line; echo got:$line; exec probe report --stat /dev/console";
    let bundle =
        terminal(script).set("/process/consoleSize", json!({"height": 33, "width": 111})).build().unwrap();
    let id = runtime.fresh_id();
    let (id, process) = created(&runtime, bundle.path(), &socket, &id);
    let mut master = File::from(socket.receive().1);
    runtime.call(["start", id]).unwrap().success().unwrap();
    let seen = read_until(&mut master, "33 111");
    assert!(seen.contains("/dev/pts/0") || seen.contains("/dev/console"), "{seen:?}");
    master.write_all(b"hello\n").unwrap();
    let seen = read_until(&mut master, "}\r\n");
    assert!(seen.contains("got:hello"), "{seen:?}");
    let json = seen.lines().find(|line| line.starts_with('{')).unwrap();
    let report = spec_conformance::Report::parse(json).unwrap();
    // Major 136 is a pseudo terminal; the program leads its session.
    assert_eq!((report.tty >> 8, report.sid), (136, 1));
    let console = report.paths["/dev/console"].present().unwrap();
    assert_eq!(console.device.unwrap().0, 136);
    assert_eq!(report.fds.len(), 3);
    assert_eq!(ended(&process), Exit::Code(0));
    runtime.call(["delete", id]).unwrap().success().unwrap();
    assert_eq!(runtime.leftovers(id), Vec::<PathBuf>::new());
}

#[test]
fn r56_the_terminal_belongs_to_the_programs_user_in_a_user_namespace_too() {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mapped = |builder: BundleBuilder| {
        builder
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
    };
    let plain = terminal("stat -c owner:%u /dev/console; echo done");
    for builder in [plain.clone(), mapped(plain)] {
        let runtime = runtime();
        let socket = DescriptorSocket::new();
        let bundle = builder.set("/process/user", json!({"uid": 1000, "gid": 1000})).build().unwrap();
        let id = runtime.fresh_id();
        let (id, process) = created(&runtime, bundle.path(), &socket, &id);
        let mut master = File::from(socket.receive().1);
        runtime.call(["start", id]).unwrap().success().unwrap();
        let seen = read_until(&mut master, "done");
        assert!(seen.contains("owner:1000"), "{seen:?}");
        ended(&process);
        runtime.call(["delete", id]).unwrap().success().unwrap();
    }
}

#[test]
fn p01_exec_sends_its_terminal_over_the_console_socket() {
    let runtime = runtime();
    let bundle = Bundle::new().with_busybox().args(["/bin/probe", "wait"]).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let socket = DescriptorSocket::new();
    let pid_file = bundle.path().join("exec.pid");
    let mut command = runtime.command(["exec", "--tty", "--detach", "--console-socket"]);
    command.arg(&socket.path).arg("--pid-file").arg(&pid_file);
    command.args([container.id(), "/bin/sh", "-c", "tty; read line; echo got:$line; exit 4"]);
    runtime.finish(command).unwrap().success().unwrap();
    let process = Pidfd::open(std::fs::read_to_string(pid_file).unwrap().parse().unwrap()).unwrap();
    let mut master = File::from(socket.receive().1);
    let seen = read_until(&mut master, "/dev/pts/");
    assert!(!seen.contains("not a tty"), "{seen:?}");
    master.write_all(b"again\n").unwrap();
    read_until(&mut master, "got:again");
    assert_eq!(ended(&process), Exit::Code(4));
}

#[test]
fn p01_a_terminal_and_a_console_socket_come_together_or_not_at_all() {
    let runtime = runtime();
    let socket = DescriptorSocket::new();
    let id = runtime.fresh_id();
    let bundle = terminal("true").build().unwrap();
    let create = runtime.call(["create", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
    assert_eq!(create.exit, Exit::Code(1));
    assert!(create.stderr.contains("console socket"), "{create:?}");
    let plain = Bundle::new().build().unwrap();
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(plain.path()).arg("--console-socket").arg(&socket.path).arg(&id);
    let create = runtime.finish(command).unwrap();
    assert_eq!(create.exit, Exit::Code(1));
    assert!(create.stderr.contains("console socket"), "{create:?}");
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(bundle.path()).args(["--console-socket", "/nonexistent/socket", &id]);
    assert_eq!(runtime.finish(command).unwrap().exit, Exit::Code(1));
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}

/// A terminal of this process, with ketch on the other side, as in front of a person.
fn in_a_terminal(runtime: &Runtime, args: &[&str]) -> (PtyMaster, Child) {
    let master = posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let other = File::options().read(true).write(true).open(ptsname_r(&master).unwrap()).unwrap();
    let mut command = runtime.command(args);
    command.stdin(Stdio::from(other.try_clone().unwrap())).stdout(Stdio::from(other.try_clone().unwrap()));
    let child = command.stderr(Stdio::from(other)).spawn().unwrap();
    (master, child)
}

#[test]
fn p01_a_foreground_run_stands_between_the_callers_terminal_and_the_programs() {
    let runtime = runtime();
    let bundle = terminal("echo out; tty; read line; echo got:$line; exit 5").build().unwrap();
    let id = runtime.fresh_id();
    let (mut master, mut child) =
        in_a_terminal(&runtime, &["run", "--bundle", bundle.path().to_str().unwrap(), &id]);
    let seen = read_until(&mut master, "/dev/");
    assert!(!seen.contains("not a tty"), "{seen:?}");
    master.write_all(b"typed\r").unwrap();
    read_until(&mut master, "got:typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
}
