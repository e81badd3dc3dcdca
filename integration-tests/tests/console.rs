//! Terminals: made in the container, sent over the console socket, of the size that was asked for. Rows P-01, P-02.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::{DescriptorSocket, read_until, runtime};
use serde_json::json;
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Exit, Runtime};

fn terminal(script: &str) -> BundleBuilder {
    Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).set("/process/terminal", json!(true))
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
