//! The cgroups that programs of exec go into. Rows B-31, K-54, R-22.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::{nothing_left, running, runtime};
use spec_conformance::{Bundle, Container, Exit, Runtime};

fn waiting() -> Bundle {
    Bundle::new().with_busybox().args(["/bin/probe", "wait"]).build().unwrap()
}

#[test]
fn b31_exec_follows_the_first_process_into_the_cgroup_it_has_moved_to() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = running(&runtime, &bundle);
    let membership = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let own = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let mut mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
    let mount = mounts.find(|path| path.join("cgroup.procs").exists()).unwrap();
    let inner = mount.join(own.trim_start_matches('/')).join("inner");
    fs::DirBuilder::new().create(&inner).unwrap();
    fs::write(inner.join("cgroup.procs"), container.pid().to_string()).unwrap();
    let ran = runtime.call(["exec", container.id(), "/bin/sh", "-c", "cat /proc/self/cgroup"]).unwrap();
    let unified =
        ran.stdout.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_else(|| panic!("{ran:?}"));
    assert!(unified.ends_with("/inner"), "{}", ran.stdout);
    runtime.call(["delete", "--force", container.id()]).unwrap().success().unwrap();
    assert!(!inner.exists());
    container.wait().unwrap();
}

/// The lines of /proc/PID/cgroup that a program of exec sees with these flags, or the error.
fn memberships(runtime: &Runtime, id: &str, flags: &[&str]) -> Result<Vec<String>, String> {
    let args = [&["exec"], flags, &[id, "/bin/sh", "-c", "cat /proc/self/cgroup"]].concat();
    let call = runtime.call(args).unwrap();
    if call.exit == Exit::Code(0) {
        Ok(call.stdout.lines().map(str::to_owned).collect())
    } else {
        Err(call.stderr)
    }
}

/// The container's own cgroups: their controllers and directories.
fn own_cgroups(container: &Container<'_>) -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let own = text.lines().filter(|line| line.ends_with(container.id())).map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mounts = match controllers {
            "" => vec!["unified", ""],
            names => vec![names.strip_prefix("name=").unwrap_or(names)],
        };
        let mut own = mounts.iter().map(|mount| Path::new("/sys/fs/cgroup").join(mount).join(&path[1..]));
        let own = own.find(|directory| directory.join("cgroup.procs").exists()).unwrap();
        (controllers.to_owned(), own)
    });
    own.collect()
}

/// Makes a cgroup `inner` below each of those of the container; gives the controllers of its hierarchies.
fn make_inner(container: &Container<'_>) -> Vec<String> {
    let made = own_cgroups(container).into_iter().map(|(controllers, own)| {
        fs::DirBuilder::new().create(own.join("inner")).unwrap();
        if controllers == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(own.join("inner").join(file), fs::read(own.join(file)).unwrap()).unwrap();
            }
        }
        controllers
    });
    made.collect()
}

#[test]
fn r22_exec_state_kill_and_delete_do_without_the_cgroups_that_the_container_was_made_in() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = running(&runtime, &bundle);
    let own = own_cgroups(&container);
    assert!(!own.is_empty());
    for (_, directory) in &own {
        let elsewhere = directory.parent().unwrap();
        fs::write(elsewhere.join("cgroup.procs"), container.pid().to_string()).unwrap();
        fs::remove_dir(directory).unwrap();
    }
    assert_eq!(container.state().unwrap().status, "running");
    let exec = container.exec(["/bin/echo", "here"]).unwrap().success().unwrap();
    assert_eq!(exec.stdout, "here\n");
    container.kill("KILL").unwrap().success().unwrap();
    container.wait().unwrap();
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, container.id());
}

#[test]
fn k54_exec_goes_into_cgroups_below_the_containers_own() {
    let runtime = runtime();
    let bundle = waiting();
    let container = running(&runtime, &bundle);
    let id = container.id();
    let made = make_inner(&container);
    let inside = |lines: &[String]| lines.iter().filter(|line| line.ends_with("/inner")).count();
    let of = |cgroups: &[&str]| {
        let flags: Vec<&str> = cgroups.iter().flat_map(|cgroup| ["--cgroup", cgroup]).collect();
        memberships(&runtime, id, &flags)
    };
    assert_eq!(of(&["/"]), of(&[]));
    assert_eq!(inside(&of(&["inner"]).unwrap()), made.len());
    let refused = [
        ("absent", "/absent does not exist"),
        ("../x", "not below the container's"),
        ("abacus:inner", "no version 1 hierarchy of \"abacus\""),
    ];
    for (cgroup, why) in refused {
        let says = of(&[cgroup]).unwrap_err();
        assert!(says.contains(why), "{says}");
    }
    let Some(legacy) = made.iter().find(|controllers| !controllers.is_empty()) else { return };
    let named = format!("{legacy}:inner");
    let one = of(&[&named]).unwrap();
    assert!(
        one.iter().any(|line| line.contains(&format!(":{legacy}:")) && line.ends_with("/inner")),
        "{one:?}"
    );
    assert_eq!(inside(&one), 1, "{one:?}");
    let twice = of(&["inner", &named]).unwrap_err();
    assert!(twice.contains("are both of"), "{twice}");
}
