//! What a program says of itself reaches who waits at NOTIFY_SOCKET, and sockets that come with the call reach the
//! program. See sd_notify(3) and sd_listen_fds(3).
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use integration_tests::{has_ended, receive_with_descriptors, runtime, text_of};
use serde_json::json;
use spec_conformance::{Bundle, BundleBuilder, Exit, Runtime};
use tempfile::TempDir;

/// Who waits for notifications, as a service manager does.
struct Manager {
    socket: UnixDatagram,
    address: String,
    _place: Option<TempDir>,
}

impl Manager {
    fn new() -> Manager {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager::of(socket, text_of(&path).to_owned(), Some(place))
    }

    fn abstract_one() -> Manager {
        let name = format!("ketch-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Manager::of(socket, format!("@{name}"), None)
    }

    fn of(socket: UnixDatagram, address: String, _place: Option<TempDir>) -> Manager {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Manager { socket, address, _place }
    }

    /// The next message; descriptors that come with it are closed, which confirms a barrier.
    fn next(&self) -> String {
        receive_with_descriptors(&self.socket).unwrap().0
    }

    fn call(&self, runtime: &Runtime, args: &[&str]) -> Command {
        let mut command = runtime.command(args);
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }
}

/// Says things of itself and waits for its end.
fn talkative() -> BundleBuilder {
    let script = "probe notify 'STATUS=begins\nMAINPID=77' 'READY=1'; exec probe wait >/dev/null";
    Bundle::new().with_busybox().args(["/bin/sh", "-c", script])
}

fn pid_in(path: &Path) -> i32 {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn end(runtime: &Runtime, id: &str, pid: i32) {
    runtime.call(["kill", id, "KILL"]).unwrap().success().unwrap();
    has_ended(pid);
    runtime.call(["delete", id]).unwrap().success().unwrap();
}

#[test]
fn a_detached_run_and_start_end_when_the_program_is_ready_and_tell_its_pid() {
    let runtime = runtime();
    for manager in [Manager::new(), Manager::abstract_one()] {
        for user_namespace in [false, true] {
            let id = &runtime.fresh_id();
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            let bundle = if user_namespace {
                let mapped = talkative().push("/linux/namespaces", json!({"type": "user"}));
                mapped.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
            } else {
                talkative()
            };
            let bundle = bundle.build().unwrap();
            let pid_file = bundle.path().join("pid");
            let flags = ["--bundle", text_of(bundle.path()), "--pid-file", text_of(&pid_file), id];
            let calls = match user_namespace {
                false => vec![[&["run", "--detach"], &flags[..]].concat()],
                true => vec![[&["create"], &flags[..]].concat(), vec!["start", id]],
            };
            std::thread::scope(|scope| {
                // A barrier is confirmed while the call waits for it.
                let heard = scope.spawn(|| [(); 4].map(|()| manager.next()));
                for call in calls {
                    runtime.finish(manager.call(&runtime, &call)).unwrap().success().unwrap();
                }
                let pid = pid_in(&pid_file);
                let main = format!("MAINPID={pid}\n");
                assert_eq!(heard.join().unwrap(), ["STATUS=begins\n", "READY=1\n", &main, "BARRIER=1"]);
            });
            end(&runtime, id, pid_in(&pid_file));
            assert_eq!(runtime.leftovers(id), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn a_run_in_the_foreground_passes_on_all_that_is_said_up_to_the_end() {
    let runtime = runtime();
    let manager = Manager::new();
    let script = "probe notify READY=1 WATCHDOG=1; probe notify STOPPING=1; exit 3";
    let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).build().unwrap();
    let call = manager.call(&runtime, &["run", "--bundle", text_of(bundle.path()), &runtime.fresh_id()]);
    assert_eq!(runtime.finish(call).unwrap().exit, Exit::Code(3));
    assert_eq!([(); 3].map(|()| manager.next()), ["READY=1\n", "WATCHDOG=1\n", "STOPPING=1\n"]);
}

#[test]
fn a_program_that_ends_before_it_is_ready_holds_nobody_up() {
    let runtime = runtime();
    let manager = Manager::new();
    let bundle = Bundle::new().args(["/bin/probe", "exit", "0"]).build().unwrap();
    let id = &runtime.fresh_id();
    let pid_file = bundle.path().join("pid");
    let args = ["create", "--bundle", text_of(bundle.path()), "--pid-file", text_of(&pid_file), id];
    runtime.finish(manager.call(&runtime, &args)).unwrap().success().unwrap();
    runtime.finish(manager.call(&runtime, &["start", id])).unwrap().success().unwrap();
    has_ended(pid_in(&pid_file));
    runtime.call(["delete", id]).unwrap().success().unwrap();
}

#[test]
fn a_manager_that_is_gone_is_a_warning_and_no_container_sees_the_callers_socket() {
    let runtime = runtime();
    let script = "probe notify READY=1; echo $NOTIFY_SOCKET";
    let bundle = Bundle::new().with_busybox().args(["/bin/sh", "-c", script]).build().unwrap();
    let flags = ["--log-level", "warning", "run", "--bundle", text_of(bundle.path())];
    let mut call = runtime.command(flags);
    call.arg(runtime.fresh_id());
    call.env("NOTIFY_SOCKET", "/nonexistent/notify");
    let ran = runtime.finish(call).unwrap().success().unwrap();
    assert!(ran.stderr.contains("NOTIFY_SOCKET /nonexistent/notify"), "{ran:?}");
    assert_eq!(ran.stdout, "/run/notify/notify.sock\n");
    let plain = runtime.run(&bundle).unwrap().success().unwrap();
    assert_eq!(plain.stdout, "\n");
}

#[test]
fn k27_p22_sockets_that_come_with_the_call_are_the_programs_and_those_of_another_are_not() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "report"]).build().unwrap();
    let report = |script: &str, flags: &str| {
        let mut command = Command::new("sh");
        let script = format!(
            "exec 3</dev/null 4</dev/zero 5</dev/full; {script} exec \"$@\" {flags} {}",
            runtime.fresh_id()
        );
        command.args(["-c", &script, "sh"]).arg(integration_tests::ketch()).arg("--root").arg(runtime.root());
        command.arg("run").arg("--bundle").arg(bundle.path());
        runtime.finish(command).unwrap().success().unwrap().report().unwrap()
    };
    let variable = |report: &spec_conformance::Report, name: &str| {
        report.env.iter().find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let ours = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:db;";
    let activated = report(ours, "");
    let names = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"].map(|name| variable(&activated, name));
    assert_eq!(names, ["2", "1", "web:db"].map(|value| Some(value.to_owned())));
    assert_eq!(activated.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    // What is preserved comes behind them.
    assert_eq!(report(ours, "--preserve-fds 1").fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let foreign = report("export LISTEN_PID=1 LISTEN_FDS=2;", "");
    assert_eq!((variable(&foreign, "LISTEN_FDS"), foreign.fds.len()), (None, 3));
    // A hole stays one.
    let holed = report("exec 4<&-;", "--preserve-fds 3");
    assert_eq!(holed.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
    assert_eq!(report("", "--preserve-fds 6").fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}
