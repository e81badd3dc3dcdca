//! Cgroups below a unit's, and programs that systemd puts there for a user who may not.

use integration_tests::{has_ended, nothing_left, text_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spec_conformance::{Container, Runtime};

use super::{FILES, LIMITS, USER, cgroup_of, driven, end, file, has_users_manager, run, runs_here, shown};
use super::{readable, users, users_bundle, waiting};

/// A program in the container, and the cgroup that it is in.
fn place_of_exec(runtime: &Runtime, id: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let pid_file = directory.path().join("pid");
    let exec = ["exec", "--detach", "--pid-file", text_of(&pid_file), id, "/bin/probe", "wait"];
    runtime.call(exec).unwrap().success().unwrap();
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let place = cgroup_of(pid);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // The first process of its namespace stays until it is reaped.
    has_ended(pid);
    place
}

/// Freezes and thaws, and reads what is used.
fn verbs_work(runtime: &Runtime, container: &Container<'_>) {
    let id = container.id();
    runtime.call(["pause", id]).unwrap().success().unwrap();
    assert_eq!(container.state().unwrap().status, "paused");
    runtime.call(["resume", id]).unwrap().success().unwrap();
    let stats = runtime.call(["events", "--stats", id]).unwrap().success().unwrap().stdout;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["data"]["pids"]["limit"], 77, "{stats}");
}

#[test]
fn b28_b29_a09_limits_are_in_the_subgroup_and_processes_in_the_delegated_cgroup() {
    if !runs_here("b28_b29_a09_limits_are_in_the_subgroup") {
        return;
    }
    let wrapped = driven();
    let runtime = wrapped.runtime();
    let limits: Value = serde_json::from_str(LIMITS).unwrap();
    let subgroup = ("run.oci.systemd.subgroup", "container");
    let delegated = ("run.oci.delegate-cgroup", "payload");
    for (annotations, with_limits, home) in [
        (vec![subgroup], "/container", "/container"),
        (vec![subgroup, delegated], "/container", "/container/payload"),
        (vec![delegated], "", "/payload"),
    ] {
        let id = runtime.fresh_id();
        let annotations: Value =
            annotations.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let bundle = waiting(&format!("system.slice:ketchtest:{id}"))
            .set("/annotations", annotations)
            .set("/linux/resources", limits.clone())
            .build()
            .unwrap();
        let mut container = runtime.create_as(&id, &bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let unit = format!("ketchtest-{id}.scope");
        let top = format!("/system.slice/{unit}");
        assert_eq!(cgroup_of(container.pid()), format!("{top}{home}"));
        let check = |when: &str| {
            for (name, value) in FILES {
                assert_eq!(file(&format!("{top}{with_limits}"), name), *value, "{when}: {name}");
            }
        };
        check("after create");
        // Nothing limits the payload's own, which has every controller.
        if home != with_limits {
            assert_eq!(file(&format!("{top}{home}"), "memory.max"), "max");
        }
        assert_eq!(shown(&unit, "TasksMax"), "77");
        run("systemctl", &["daemon-reload"]);
        run("systemctl", &["set-property", "--runtime", &unit, "TasksMax=77"]);
        check("after systemd has written its own again");
        let update = ["update", "--memory", "200m", "--memory-swap", "250m", &id];
        runtime.call(update).unwrap().success().unwrap();
        assert_eq!(file(&format!("{top}{with_limits}"), "memory.max"), "209715200");
        assert_eq!(shown(&unit, "MemoryMax"), "209715200");
        assert_eq!(place_of_exec(runtime, &id), format!("{top}{home}"));
        verbs_work(runtime, &container);
        end(container, &unit);
        nothing_left(runtime, &id);
    }
}

#[test]
fn b32_a_users_exec_from_outside_of_what_is_the_users_is_put_into_the_unit_by_systemd() {
    if !runs_here("b32_a_users_exec") {
        return;
    }
    has_users_manager();
    // As from a login that root's systemd keeps: the cgroup that they have in common is not the user's.
    let users = users(&format!("XDG_RUNTIME_DIR=/run/user/{USER}"));
    let runtime = users.runtime();
    for annotations in [json!({}), json!({"run.oci.systemd.subgroup": "a", "run.oci.delegate-cgroup": "b"})] {
        let bundle = readable(users_bundle().set("/annotations", annotations));
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let home = cgroup_of(container.pid());
        assert_eq!(place_of_exec(runtime, container.id()), home);
        assert_eq!(
            container.exec(["/bin/probe", "exit", "7"]).unwrap().exit,
            spec_conformance::Exit::Code(7)
        );
        let id = container.id().to_owned();
        runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        container.wait().unwrap();
        nothing_left(runtime, &id);
    }
}
