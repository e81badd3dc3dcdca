//! A container's life: what each operation does in each state, and what it refuses. Spec: runtime.md#lifecycle.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use integration_tests::{create, deadline, nothing_left, refused, runtime, waiting};
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use spec_conformance::wait::Pidfd;
use spec_conformance::{Bundle, Error, Exit, Finished, Report};

#[test]
fn l07_l02_l13_a_container_is_created_then_runs_then_is_stopped_then_gone() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    let state = container.state().unwrap();
    assert_eq!((state.status.as_str(), state.pid), ("created", Some(container.pid())));
    assert_eq!((state.id.as_str(), state.bundle.as_path()), (container.id(), bundle.path()));
    assert_eq!((state.oci_version.as_str(), state.annotations), ("1.2.0", None));
    assert_eq!(container.stdout().unwrap(), "", "the program ran before start");
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    assert_eq!(container.state().unwrap().status, "running");
    // A signal that does not end it leaves it what it is.
    container.kill("USR1").unwrap().success().unwrap();
    assert_eq!(container.state().unwrap().status, "running");
    container.kill("TERM").unwrap().success().unwrap();
    // Not reaped yet, and reaped: both are stopped.
    assert!(container.process().wait(deadline()).unwrap());
    let state = container.state().unwrap();
    assert_eq!((state.status.as_str(), state.pid), ("stopped", Some(0)));
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    assert_eq!(container.state().unwrap().status, "stopped");
    container.delete().unwrap().success().unwrap();
    let gone = runtime.call(["state", container.id()]).unwrap();
    refused(&gone, "does not exist");
    nothing_left(&runtime, container.id());
}

#[test]
fn e06_l08_a_second_start_is_refused_and_changes_nothing() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    refused(&container.start().unwrap(), "cannot start an already running container");
    assert_eq!(container.state().unwrap().status, "running");
    container.kill("KILL").unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    refused(&container.start().unwrap(), "cannot start a container that has stopped");
}

#[test]
fn t06_a_document_without_mounts_runs() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .args(["/bin/probe", "exit", "0"])
        .remove("/mounts")
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .build()
        .unwrap();
    runtime.run(&bundle).unwrap().success().unwrap();
}

#[test]
fn l08_of_many_starts_at_once_exactly_one_wins() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    let id = container.id().to_owned();
    let won = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..6).map(|_| scope.spawn(|| runtime.call(["start", &id]).unwrap().exit)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).filter(|exit| exit.success()).count()
    });
    assert_eq!(won, 1);
    container.wait_for_stdout("ready").unwrap();
    assert_eq!(container.stdout().unwrap(), "ready\n");
}

#[test]
fn l08_a_starter_that_dies_before_it_reaches_init_leaves_the_container_to_the_next() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    // What a starter holds while it is at work, and what goes with it when it dies.
    let kept = fs::File::open(runtime.root().join(container.id()).join("config.json")).unwrap();
    let starter = Flock::lock(kept, FlockArg::LockExclusive).unwrap();
    refused(&container.start().unwrap(), "is being started already");
    assert_eq!(container.state().unwrap().status, "created");
    drop(starter);
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
}

#[test]
fn e08_l11_kill_of_a_stopped_container_is_refused_in_the_words_that_clients_know() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "exit", "0"]).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    refused(&container.kill("KILL").unwrap(), "container not running");
    refused(&runtime.call(["kill", "nobody", "KILL"]).unwrap(), "does not exist");
    // What is left in the cgroup may be signalled all the same: here nothing is.
    runtime.call(["kill", "--all", container.id(), "9"]).unwrap().success().unwrap();
}

#[test]
fn e09_l14_delete_of_a_running_container_is_refused_and_force_kills_it() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    refused(&container.delete().unwrap(), "not stopped");
    assert_eq!(container.state().unwrap().status, "running");
    runtime.call(["delete", "--force", container.id()]).unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    nothing_left(&runtime, container.id());
}

#[test]
fn l16_delete_by_force_of_an_unknown_id_is_silent_and_succeeds() {
    let runtime = runtime();
    let finished = runtime.call(["delete", "--force", "nobody"]).unwrap();
    assert_eq!((finished.exit, finished.stdout.as_str(), finished.stderr.as_str()), (Exit::Code(0), "", ""));
    refused(&runtime.call(["delete", "nobody"]).unwrap(), "container nobody does not exist");
}

#[test]
fn l14_delete_of_a_created_container_kills_it() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.delete().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    nothing_left(&runtime, container.id());
}

#[test]
fn e04_l03_an_id_in_use_is_refused_without_touching_its_owner_and_is_free_after_delete() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    let id = container.id().to_owned();
    refused(&create(&runtime, &bundle, &id), "already exists");
    assert_eq!(container.state().unwrap().status, "created");
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container.kill("TERM").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    let again = runtime.create_as(&id, &bundle).unwrap();
    assert_eq!(again.state().unwrap().status, "created");
}

#[test]
fn e04_l04_an_id_that_is_no_file_name_is_refused() {
    let runtime = runtime();
    let bundle = waiting();
    for id in ["", ".", "..", "a/b", "a b", "../a", "ä"] {
        refused(&create(&runtime, &bundle, id), "invalid container id");
    }
}

#[test]
fn r06_of_many_creates_of_one_id_exactly_one_wins() {
    let runtime = runtime();
    let bundle = waiting();
    let id = runtime.fresh_id();
    let finished: Vec<Finished> = std::thread::scope(|scope| {
        let creates: Vec<_> = (0..6).map(|_| scope.spawn(|| create(&runtime, &bundle, &id))).collect();
        creates.into_iter().map(|create| create.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = finished.into_iter().partition(|finished| finished.exit.success());
    assert_eq!(won.len(), 1);
    for loser in lost {
        refused(&loser, "already exists");
    }
    let state = runtime.state(&id).unwrap();
    assert_eq!(state.status, "created");
    let process = Pidfd::open(state.pid.unwrap()).unwrap();
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    assert_eq!(process.reap(), Ok(Some(Exit::Signal(9))));
    nothing_left(&runtime, &id);
}

#[test]
fn t11_editing_config_json_after_create_has_no_effect() {
    let runtime = runtime();
    let poststop = tempfile::tempdir().unwrap();
    let mark = |name: &str| poststop.path().join(name);
    let hook = |path: &Path| json!([{"path": "/usr/bin/touch", "args": ["touch", path]}]);
    let mut bundle = Bundle::new()
        .args(["/bin/probe", "report"])
        .set("/hooks", json!({"poststart": hook(&mark("start")), "poststop": hook(&mark("stop"))}))
        .build()
        .unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    let mut edited = bundle.config().clone();
    edited["process"]["args"] = json!(["/bin/probe", "exit", "7"]);
    edited["process"]["env"] = json!(["EDITED=1"]);
    edited["hooks"] = json!({"poststart": hook(&mark("edited")), "poststop": hook(&mark("edited"))});
    bundle.write(edited).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    let report = Report::parse(&container.stdout().unwrap()).unwrap();
    assert_eq!(report.variable("EDITED"), None);
    container.delete().unwrap().success().unwrap();
    assert!(mark("start").exists() && mark("stop").exists() && !mark("edited").exists());
}

#[test]
fn t11_exec_takes_its_defaults_from_the_config_as_it_was_created() {
    let runtime = runtime();
    let mut bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let mut edited = bundle.config().clone();
    edited["process"]["env"] = json!(["EDITED=1"]);
    edited["process"]["cwd"] = json!("/tmp");
    bundle.write(edited).unwrap();
    let report = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_eq!((report.variable("EDITED"), report.cwd.as_str()), (None, "/"));
}

#[test]
fn l18_a_pid_file_holds_the_pid_and_nothing_else_and_there_is_none_after_a_failure() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let pid_file = place.path().join("pid");
    let create = |bundle: &Bundle, id: &str| {
        let mut command = runtime.command(["create", "--bundle"]);
        command.arg(bundle.path()).arg("--pid-file").arg(&pid_file).arg(id);
        runtime.finish(command).unwrap()
    };
    let broken = Bundle::new().set("/process/cwd", json!("/bin/probe")).build().unwrap();
    let id = runtime.fresh_id();
    assert_eq!(create(&broken, &id).exit, Exit::Code(1));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    nothing_left(&runtime, &id);
    create(&waiting(), &id).success().unwrap();
    let pid = runtime.state(&id).unwrap().pid.unwrap();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let process = Pidfd::open(pid).unwrap();
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    assert_eq!(process.reap(), Ok(Some(Exit::Signal(9))));
}

#[test]
fn k24_l06_a_pid_file_that_cannot_be_written_undoes_the_create() {
    let runtime = runtime();
    let id = runtime.fresh_id();
    let bundle = waiting();
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(bundle.path()).args(["--pid-file", "/nonexistent/pid", &id]);
    refused(&runtime.finish(command).unwrap(), "/nonexistent/pid");
    nothing_left(&runtime, &id);
}

#[test]
fn l10_start_reports_that_the_program_vanished_after_create() {
    let runtime = runtime();
    let bundle =
        Bundle::new().args(["/bin/vanishing"]).file("/bin/vanishing", "#!/bin/probe\n").build().unwrap();
    let program = bundle.rootfs().join("bin/vanishing");
    make_executable(&program);
    let mut container = runtime.create(&bundle).unwrap();
    fs::remove_file(&program).unwrap();
    let started = container.start().unwrap();
    assert_eq!(started.exit, Exit::Code(127), "{started:?}");
    let says = started.stderr.to_lowercase();
    assert!(says.contains("/bin/vanishing") && says.contains("no such file or directory"), "{says}");
    assert_eq!(container.wait().unwrap(), Exit::Code(1));
    assert_eq!(container.state().unwrap().status, "stopped");
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, container.id());
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn l15_delete_removes_only_the_cgroups_that_create_made() {
    let runtime = runtime();
    let (id, above) = (runtime.fresh_id(), runtime.fresh_id());
    let hierarchy = Path::new("/sys/fs/cgroup");
    let unified = hierarchy.join("cgroup.controllers").exists();
    let parent = if unified { hierarchy.to_owned() } else { hierarchy.join("pids") }.join(&above);
    fs::create_dir(&parent).unwrap();
    let path = format!("/{above}/made/{id}");
    let bundle =
        Bundle::new().args(["/bin/probe", "wait"]).set("/linux/cgroupsPath", json!(path)).build().unwrap();
    let mut container = runtime.create_as(&id, &bundle).unwrap();
    assert!(parent.join("made").join(&id).is_dir());
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, &id);
    assert!(parent.is_dir(), "a cgroup that was there before is gone");
    assert!(!parent.join("made").exists(), "a parent that create made is left");
    fs::remove_dir(&parent).unwrap();
    nothing_left(&runtime, &above);
}

#[test]
fn r30_a_container_in_the_hosts_pid_namespace_is_killed_as_a_whole_after_its_init_died() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "sleep 1000 & echo child $!; exit 0"])
        .set("/linux/namespaces", json!([{"type": "mount"}]))
        .remove("/hostname")
        .set(
            "/mounts",
            json!([{"destination": "/proc", "type": "proc", "source": "proc"},
                               {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]),
        )
        .build()
        .unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0), "{}", container.stderr().unwrap());
    let said = container.stdout().unwrap();
    let child = said.trim().strip_prefix("child ").unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    let child = Pidfd::open(child).unwrap();
    assert_eq!(container.state().unwrap().status, "stopped");
    runtime.call(["kill", "--all", container.id(), "9"]).unwrap().success().unwrap();
    assert!(child.wait(deadline()).unwrap());
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, container.id());
}

#[test]
fn e05_l05_l06_a_create_that_is_refused_is_an_error_and_leaves_nothing() {
    let runtime = runtime();
    let bundle =
        Bundle::new().push("/mounts", json!({"destination": "/x", "type": "no-such-type"})).build().unwrap();
    let id = runtime.fresh_id();
    let refused = runtime.create_as(&id, &bundle).unwrap_err();
    assert!(
        matches!(&refused, Error::Refused { stderr, .. } if stderr.contains("no-such-type")),
        "{refused}"
    );
    nothing_left(&runtime, &id);
}
