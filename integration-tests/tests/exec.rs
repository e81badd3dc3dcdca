//! A program that is run by exec gets what the container's own program has. Rows K-43 to K-60, X-18.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::time::Duration;

use integration_tests::{running, runtime};
use serde_json::{Value, json};
use spec_conformance::report::{Ids, Mask};
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit, Report};

/// A process with something other than the default everywhere.
fn particular() -> BundleBuilder {
    Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "probe report; exec probe wait"])
        .set("/process/env", json!(["PATH=/bin", "A=1", "B=two words", "EMPTY="]))
        .set("/process/cwd", json!("/tmp"))
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 9], "umask": 0o37}))
        .set("/process/oomScoreAdj", json!(321))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
        .set(
            "/process/capabilities",
            json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                   "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
        )
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 5}))
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_PREFERRED", "nodes": "0"}))
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW",
             "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]}))
}

fn waiting() -> Bundle {
    Bundle::new().with_busybox().args(["/bin/probe", "wait"]).build().unwrap()
}

/// What must be the same of two processes of a container.
fn assert_alike(own: &Report, other: &Report) {
    assert_eq!(other.uid, own.uid);
    assert_eq!(other.gid, own.gid);
    assert_eq!(other.groups, own.groups);
    assert_eq!(other.umask, own.umask);
    assert_eq!(other.capabilities, own.capabilities);
    assert_eq!(other.no_new_privs, own.no_new_privs);
    assert_eq!((other.seccomp, other.seccomp_filters), (own.seccomp, own.seccomp_filters));
    assert_eq!(other.rlimits, own.rlimits);
    assert_eq!(other.oom_score_adj, own.oom_score_adj);
    assert_eq!(other.cwd, own.cwd);
    assert_eq!(other.namespaces, own.namespaces);
    assert_eq!(other.cgroups, own.cgroups);
    assert_eq!(other.mounts, own.mounts);
    assert_eq!(other.signals, own.signals);
    assert_eq!(other.scheduler, own.scheduler);
    assert_eq!((other.personality, &other.machine), (own.personality, &own.machine));
    assert_eq!((other.io_priority, &other.memory_policy), (own.io_priority, &own.memory_policy));
    assert_eq!((&other.cpus, &other.mems), (&own.cpus, &own.mems));
    assert_eq!(other.label, own.label);
    assert_eq!(other.fds.keys().collect::<Vec<_>>(), [&0, &1, &2]);
}

fn own_report(container: &mut Container<'_>) -> Report {
    let said = container.stdout().unwrap();
    Report::parse(said.lines().next().unwrap()).unwrap()
}

#[test]
fn x18_p14_i11_exec_gives_what_create_gave() {
    let runtime = runtime();
    let bundle = particular().build().unwrap();
    let mut container = running(&runtime, &bundle);
    let own = own_report(&mut container);
    let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_alike(&own, &exec);
    // The shell adds PWD and the like to its own.
    assert_eq!(exec.env[..4], ["PATH=/bin", "A=1", "B=two words", "EMPTY="]);
    assert_eq!((exec.seccomp, own.seccomp), (2, 2));
    assert_eq!(exec.capabilities.ambient, Mask::of_capabilities(&["CAP_KILL"]).unwrap());
}

#[test]
fn exec_gives_what_create_gave_in_a_container_with_a_user_namespace() {
    let runtime = runtime();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = particular()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .build()
        .unwrap();
    let mut container = running(&runtime, &bundle);
    let own = own_report(&mut container);
    let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_alike(&own, &exec);
    assert_eq!(exec.uid_map, own.uid_map);
}

#[test]
fn k43_a_process_file_describes_the_program_completely() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let file = bundle.path().join("process.json");
    let process = json!({
        "args": ["probe", "report"], "cwd": "/etc", "env": ["PATH=/bin", "X=y"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [8], "umask": 63},
        "capabilities": {"bounding": ["CAP_CHOWN"]}, "noNewPrivileges": true, "oomScoreAdj": 700,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
    });
    fs::write(&file, process.to_string()).unwrap();
    let call = runtime.call(["exec", "--process", file.to_str().unwrap(), container.id()]).unwrap();
    let report = call.success().unwrap().report().unwrap();
    assert_eq!((report.uid, report.gid, report.groups.clone()), (Ids::all(5), Ids::all(6), vec![8]));
    assert_eq!((report.umask, report.cwd.as_str(), report.oom_score_adj), (63, "/etc", 700));
    assert_eq!(report.env[..2], ["PATH=/bin", "X=y"]);
    assert_eq!(report.capabilities.bounding, Mask::of_capabilities(&["CAP_CHOWN"]).unwrap());
    assert_eq!(report.capabilities.effective, Mask(0));
    assert_eq!((report.rlimits["RLIMIT_NOFILE"].soft, report.rlimits["RLIMIT_NOFILE"].hard), (50, 60));
    assert!(report.no_new_privs);
}

#[test]
fn k49_k50_k51_k52_flags_of_exec_change_what_they_name_and_never_the_inheritable_set() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let mut command =
        runtime.command(["exec", "--user", "12:34", "-g", "56", "--cwd", "/etc", "-e", "ADDED=1"]);
    command.args(["--cap", "CAP_NET_RAW", container.id(), "/bin/probe", "report"]);
    let report = runtime.finish(command).unwrap().success().unwrap().report().unwrap();
    assert_eq!((report.uid, report.gid, report.groups.clone()), (Ids::all(12), Ids::all(34), vec![56]));
    assert_eq!((report.cwd.as_str(), report.variable("ADDED")), ("/etc", Some("1")));
    let raw = Mask::of_capabilities(&["CAP_NET_RAW"]).unwrap().0;
    assert_eq!(report.capabilities.bounding.0 & raw, raw);
    // CVE-2022-29162.
    assert_eq!((report.capabilities.inheritable, report.capabilities.ambient), (Mask(0), Mask(0)));
}

#[test]
fn k51_k54_a_capability_or_cgroup_that_cannot_be_is_refused_by_name() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    for (flag, why) in [("--cap=CAP_FLY", "CAP_FLY"), ("--cgroup=..", "not below the container's")] {
        let call = runtime.call(["exec", flag, container.id(), "/bin/probe", "report"]).unwrap();
        assert_eq!((call.exit, call.stdout.as_str()), (Exit::Code(255), ""), "{call:?}");
        assert!(call.stderr.contains(why), "{call:?}");
    }
}

#[test]
fn k49_x12_a_user_that_is_no_number_is_refused_and_never_root() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let wrong = [
        "",
        ":",
        "1:",
        ":1",
        " 1",
        "1 ",
        "0x1",
        "+1",
        "-1",
        "root",
        "1:2:3",
        "1,2",
        "4294967295",
        "4294967296",
        "18446744073709551616",
    ];
    for user in wrong {
        let call = runtime
            .call(["exec", &format!("--user={user}"), container.id(), "/bin/probe", "report"])
            .unwrap();
        assert_eq!(call.exit, Exit::Code(255), "{user:?}: {call:?}");
        assert_eq!(call.stdout, "", "{user:?}");
    }
    for (user, uid, gid) in [("1", 1, 0), ("1:2", 1, 2), ("01", 1, 0), ("4294967294", u32::MAX - 1, 0)] {
        let call = runtime.call(["exec", "--user", user, container.id(), "/bin/probe", "report"]).unwrap();
        let report = call.success().unwrap().report().unwrap();
        assert_eq!((report.uid, report.gid), (Ids::all(uid), Ids::all(gid)), "{user:?}");
    }
}

#[test]
fn exec_ends_with_the_programs_status_and_255_when_it_cannot_start() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let exit = |args: &[&str]| container.exec(args).unwrap();
    assert_eq!(exit(&["/bin/probe", "exit", "0"]).exit, Exit::Code(0));
    assert_eq!(exit(&["/bin/probe", "exit", "42"]).exit, Exit::Code(42));
    // Unlike PID 1, it is not shielded from its own signals.
    assert_eq!(exit(&["/bin/probe", "signal", "9"]).exit, Exit::Code(137));
    let absent = exit(&["absent"]);
    assert_eq!(absent.exit, Exit::Code(255));
    assert!(absent.stderr.contains("executable file not found in $PATH"), "{absent:?}");
    let directory = exit(&["/etc"]);
    assert_eq!(directory.exit, Exit::Code(255));
    assert!(directory.stderr.contains("is a directory"), "{directory:?}");
    assert_eq!(exit(&[]).exit, Exit::Code(255));
}

#[test]
fn k44_k45_a_detached_exec_returns_with_its_pid_in_the_file_and_is_the_callers_child() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let pid_file = bundle.path().join("exec.pid");
    let mut command = runtime.command(["exec", "--detach", "--pid-file"]);
    command.arg(&pid_file).args([container.id(), "/bin/probe", "wait"]);
    // It outlives the call, and would have nobody to read what it says.
    let null = std::process::Stdio::null;
    assert!(command.stdout(null()).stderr(null()).status().unwrap().success());
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let process = Pidfd::open(pid).unwrap();
    let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
    let pids: Vec<i32> = serde_json::from_str(&listed.stdout).unwrap();
    assert!(pids.contains(&pid), "{pids:?} without {pid}");
    process.send(nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(process.wait(Deadline::after(Duration::from_secs(20))).unwrap());
    assert_eq!(process.reap(), Ok(Some(Exit::Signal(9))));
}

#[test]
fn a_foreground_exec_passes_signals_and_standard_input_on() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let mut command = container.exec_command(["/bin/probe", "cat"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"through").unwrap();
    drop(writer);
    command.stdin(reader);
    assert_eq!(runtime.finish(command).unwrap().success().unwrap().stdout, "through");
    let mut command = container.exec_command(["/bin/probe", "trap", "USR1"]);
    let mut exec = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(exec.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(exec.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!((line.as_str(), exec.wait().unwrap().code()), ("ready\ngot USR1\n", Some(0)));
}

#[test]
fn a_hundred_execs_eight_at_a_time_all_succeed() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let runtime = &runtime;
            scope.spawn(move || {
                for number in 0..13 {
                    let text = format!("{thread}.{number}");
                    let call = runtime.call(["exec", id, "/bin/echo", &text]).unwrap();
                    assert_eq!(
                        (call.exit, call.stdout.trim(), call.stderr.as_str()),
                        (Exit::Code(0), text.as_str(), "")
                    );
                }
            });
        }
    });
    let listed = runtime.call(["ps", "--format", "json", id]).unwrap().success().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&listed.stdout).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn exec_works_in_a_created_container_and_is_refused_in_a_stopped_one() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.exec(["/bin/probe", "exit", "0"]).unwrap().success().unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container.kill("KILL").unwrap().success().unwrap();
    // A process that has ended and is not yet reaped is gone already.
    assert!(container.process().wait(Deadline::after(Duration::from_secs(20))).unwrap());
    for _ in 0..2 {
        let call = container.exec(["/bin/probe", "exit", "0"]).unwrap();
        assert_eq!(call.exit, Exit::Code(255));
        assert!(call.stderr.contains("container not running"), "{call:?}");
        container.wait().unwrap();
    }
    let unknown = runtime.call(["exec", "nobody", "true"]).unwrap();
    assert_eq!(unknown.exit, Exit::Code(255));
    assert!(unknown.stderr.contains("does not exist"), "{unknown:?}");
}

#[test]
fn r25_exec_enters_namespaces_that_the_container_itself_had_joined() {
    let runtime = runtime();
    let pod = integration_tests::Namespaces::new(&["--net", "--uts", "--ipc"]);
    let join = |kind: &str, file: &str| json!({"type": kind, "path": pod.path(file)});
    let bundle = Bundle::new()
        .args(["/bin/probe", "wait"])
        .remove("/hostname")
        .set(
            "/linux/namespaces",
            json!([{"type": "pid"}, {"type": "mount"}, join("network", "net"), join("uts", "uts"), join("ipc", "ipc")]),
        )
        .build()
        .unwrap();
    let container = running(&runtime, &bundle);
    let report = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    for kind in ["net", "uts", "ipc"] {
        assert_eq!(report.namespaces[kind], pod.inode(kind), "{kind}");
    }
}

#[test]
fn n08_exec_has_the_offsets_of_the_containers_time_namespace() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", "cat /proc/uptime; exec probe wait"])
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}))
        .build()
        .unwrap();
    let container = running(&runtime, &bundle);
    let seconds = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let inside = container.exec(["/bin/cat", "/proc/uptime"]).unwrap().success().unwrap().stdout;
    let outside = seconds(&fs::read_to_string("/proc/uptime").unwrap());
    assert!(seconds(&inside) >= 1_000_000, "{inside}, outside {outside}");
    assert!(seconds(&inside) <= outside + 1_000_000);
}

#[test]
fn a_step_of_exec_that_fails_is_named_in_words() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let file = bundle.path().join("process.json");
    // No process may have more open files than fs.nr_open says, whatever its rights.
    let process = json!({
        "args": ["/bin/probe", "exit", "0"], "cwd": "/", "user": {},
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1_u64 << 40, "soft": 1024 }],
    });
    fs::write(&file, process.to_string()).unwrap();
    let refused = runtime.call(["exec", "--process", file.to_str().unwrap(), container.id()]).unwrap();
    assert_eq!(refused.exit, Exit::Code(255), "{refused:?}");
    assert!(refused.stderr.contains("rlimit RLIMIT_NOFILE: prlimit: operation not permitted"), "{refused:?}");
}

#[test]
fn k45_a_program_whose_pid_file_cannot_be_written_does_not_run_on() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let mut command = runtime.command(["exec", "--detach", "--pid-file", "/nowhere/pid"]);
    command.args([container.id(), "/bin/probe", "wait"]);
    let refused = runtime.finish(command).unwrap();
    assert_eq!(refused.exit, Exit::Code(255), "{refused:?}");
    let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
    let pids: Vec<i32> = serde_json::from_str(&listed.stdout).unwrap();
    // What was killed may not be reaped yet; what runs on would not be a zombie.
    let alive = |pid: &&i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    assert_eq!(pids.iter().filter(alive).collect::<Vec<_>>(), [&container.pid()]);
}
