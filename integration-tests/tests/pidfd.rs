//! A pidfd goes to who asks for it, of the container's first process and of one of exec. Rows K-22, K-23, K-47, A-07.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use integration_tests::{DescriptorSocket, has_ended, running, runtime, waiting};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use spec_conformance::{Bundle, Exit};

/// The process that a pidfd is of, as proc(5) tells it.
fn process_of(pidfd: &OwnedFd) -> i32 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

fn ends(pidfd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20_000u16)).unwrap() == 1
}

#[test]
fn k22_k23_create_sends_one_of_the_first_process_and_a_long_path_is_no_trouble() {
    let runtime = runtime();
    let bundle = waiting();
    let socket = DescriptorSocket::new();
    for path in [socket.path.clone(), socket.long_path()] {
        let id = runtime.fresh_id();
        let mut command = runtime.command(["create", "--bundle"]);
        command.arg(bundle.path()).arg("--pidfd-socket").arg(path).arg(&id);
        runtime.finish(command).unwrap().success().unwrap();
        let (words, pidfd) = socket.receive();
        assert_eq!(words, "standard");
        assert_eq!(Some(process_of(&pidfd)), runtime.state(&id).unwrap().pid);
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        assert!(ends(&pidfd));
    }
}

#[test]
fn a07_the_annotation_says_it_too_and_the_flag_goes_before_it() {
    let runtime = runtime();
    let (annotated, flagged) = (DescriptorSocket::new(), DescriptorSocket::new());
    let bundle = Bundle::new()
        .args(["/bin/probe", "exit", "0"])
        .set("/annotations", json!({"run.oci.pidfd_receiver": &annotated.path}))
        .build()
        .unwrap();
    runtime.run(&bundle).unwrap().success().unwrap();
    assert_eq!(annotated.receive().0, "standard");
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg("--pidfd-socket").arg(&flagged.path).arg(runtime.fresh_id());
    runtime.finish(command).unwrap().success().unwrap();
    assert!(ends(&flagged.receive().1));
}

#[test]
fn k47_exec_sends_one_of_its_program() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = running(&runtime, &bundle);
    let socket = DescriptorSocket::new();
    let pid_file = bundle.path().join("pid");
    let mut command = runtime.command(["exec", "--detach", "--pid-file"]);
    command.arg(&pid_file).arg("--pidfd-socket").arg(&socket.path);
    command.args([container.id(), "/bin/probe", "wait"]);
    runtime.finish(command).unwrap().success().unwrap();
    let (words, pidfd) = socket.receive();
    assert_eq!(words, "setns");
    assert_eq!(process_of(&pidfd).to_string(), fs::read_to_string(pid_file).unwrap());
    runtime.call(["kill", "--all", container.id(), "KILL"]).unwrap().success().unwrap();
    assert!(ends(&pidfd));
    has_ended(process_of(&pidfd));
    container.wait().unwrap();
}

#[test]
fn k23_k47_a_socket_at_which_nobody_listens_is_an_error_and_nothing_is_left() {
    let runtime = runtime();
    let bundle = waiting();
    let deaf = bundle.path().join("deaf");
    drop(UnixListener::bind(&deaf).unwrap());
    let missing = Path::new("/nonexistent/socket");
    for (path, why) in [(deaf.as_path(), "connection refused"), (missing, "no such file or directory")] {
        let id = runtime.fresh_id();
        let mut command = runtime.command(["create", "--bundle"]);
        command.arg(bundle.path()).arg("--pidfd-socket").arg(path).arg(&id);
        let refused = runtime.finish(command).unwrap();
        assert_eq!(refused.exit, Exit::Code(1));
        assert!(refused.stderr.contains(&format!("pidfd socket {}", path.display())), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
        assert_eq!(runtime.leftovers(&id), Vec::<PathBuf>::new());
    }
    let container = running(&runtime, &bundle);
    let mut command = runtime.command(["exec", "--pidfd-socket"]);
    command.arg(deaf).args([container.id(), "/bin/probe", "wait"]);
    let refused = runtime.finish(command).unwrap();
    assert_eq!(refused.exit, Exit::Code(255), "{refused:?}");
}

#[test]
fn k47_a_program_whose_pidfd_nobody_takes_is_an_error_and_does_not_run_on() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let listener = UnixListener::bind(bundle.path().join("socket")).unwrap();
    // Frozen, the program comes no further until the socket has been closed.
    runtime.call(["pause", container.id()]).unwrap().success().unwrap();
    let mut command = runtime.command(["exec", "--ignore-paused", "--pidfd-socket"]);
    command.arg(bundle.path().join("socket")).args([container.id(), "/bin/probe", "wait"]);
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| runtime.finish(command).unwrap());
        drop(listener.accept().unwrap());
        runtime.call(["resume", container.id()]).unwrap().success().unwrap();
        let refused = exec.join().unwrap();
        assert_eq!(refused.exit, Exit::Code(255), "{refused:?}");
        assert!(refused.stderr.contains("pidfd socket: "), "{refused:?}");
    });
    let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
    assert_eq!(serde_json::from_str::<Vec<i32>>(&listed.stdout).unwrap(), [container.pid()]);
}
