//! `delete` and `kill` of containers that do not make it easy: what holds the cgroup, and who is left to reap.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::{VERSION_2_ALONE, Wrapped, deadline, nothing_left, refused, runtime, waiting};
use serde_json::{Value, json};
use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, BundleBuilder, Exit, Runtime};

/// What `delete` needs if nobody keeps it waiting is a few milliseconds, or seconds in an emulated machine; it gives
/// up after ten.
const PROMPT: Duration = Duration::from_secs(9);

/// The runtime on both layouts that this host can show.
fn layouts() -> [Wrapped; 2] {
    [Wrapped::new("exec \"$@\""), Wrapped::new(&format!("exec {VERSION_2_ALONE}"))]
}

/// The directory of hierarchies in which this host's version 2 is.
fn unified() -> &'static Path {
    let mut mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
    mounts.find(|path| path.join("cgroup.procs").exists()).unwrap()
}

fn namespaces(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind})).collect()
}

/// A shell in the host's pid namespace, with the host's cgroups to write to.
fn at_home(script: &str) -> BundleBuilder {
    Bundle::new()
        .with_busybox()
        .args(["/bin/sh", "-c", script])
        .set("/linux/namespaces", namespaces(&["mount"]))
        .remove("/hostname")
        .remove("/linux/resources")
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .set(
            "/mounts",
            json!([
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/cgroups", "type": "none", "source": "/sys/fs/cgroup", "options": ["rbind"]},
            ]),
        )
}

fn delete_by_force(runtime: &Runtime, id: &str) {
    let begun = Instant::now();
    runtime.call(["delete", "--force", id]).unwrap().success().unwrap();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    nothing_left(runtime, id);
}

#[test]
fn l14_c33_c34_an_exec_that_nobody_reaps_does_not_hold_up_delete() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let bundle = Bundle::new().with_busybox().args(["/bin/probe", "wait"]).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let place = tempfile::tempdir().unwrap();
        let pid_file = place.path().join("pid");
        let mut exec = runtime.command(["exec", "--detach", "--pid-file"]);
        exec.arg(&pid_file).args([container.id(), "/bin/sleep", "1000"]);
        runtime.finish(exec).unwrap().success().unwrap();
        // This test is a subreaper, so the program is its child now, and it does not wait for it.
        let program = Pidfd::open(fs::read_to_string(&pid_file).unwrap().parse().unwrap()).unwrap();
        delete_by_force(runtime, container.id());
        assert!(program.wait(deadline()).unwrap());
        // The first process of the pid namespace waits in the kernel, for this test to reap the other.
        assert!(!container.process().wait(Deadline::after(Duration::ZERO)).unwrap());
        assert_eq!(program.reap(), Ok(Some(Exit::Signal(9))));
        assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    }
}

/// Shell words that set `own` to the payload's cgroup in version 2, and `legacy` to the one of pids, if there is any.
const OWN: &str = "top=/cgroups/unified; [ -d $top ] || top=/cgroups
    own=$top$(sed -n s/^0:://p /proc/self/cgroup)
    legacy=; [ -d /cgroups/pids ] && legacy=/cgroups/pids$(sed -n s/.*:pids://p /proc/self/cgroup)
";

#[test]
fn b36_g10_a_tree_of_cgroups_that_the_payload_made_goes_with_all_who_are_in_it() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let script = format!(
            "{OWN}
             for base in $own $legacy; do
                 deep=$base/a; mkdir $deep $base/b
                 for i in 1 2 3 4 5 6 7 8 9 10 11 12; do deep=$deep/below; mkdir $deep; done
                 sleep 1000 & echo $! > $deep/cgroup.procs; echo left $!
             done
             echo ready; exec /bin/probe wait"
        );
        let bundle = at_home(&script).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready\nready").unwrap();
        let said = container.stdout().unwrap();
        let left = said.lines().filter_map(|line| line.strip_prefix("left ")?.parse().ok());
        let left: Vec<Pidfd> = left.map(|pid| Pidfd::open(pid).unwrap()).collect();
        assert!(!left.is_empty(), "{said}");
        delete_by_force(runtime, container.id());
        for process in left {
            assert!(process.wait(deadline()).unwrap());
        }
    }
}

#[test]
fn r31_l14_a_frozen_container_and_one_that_froze_a_part_of_itself_are_deleted() {
    let files = [("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"), ("", "cgroup.freeze", "1")];
    for (wrapped, (mount, file, frozen)) in layouts().into_iter().zip(files) {
        let mount = if mount.is_empty() { unified() } else { Path::new(mount) };
        if !mount.is_dir() {
            // This host has version 2 alone, which the other layout shows.
            continue;
        }
        let runtime = wrapped.runtime();
        let bundle = waiting();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let directory = mount.join(container.id());
        let part = directory.join("part");
        fs::create_dir(&part).unwrap();
        fs::write(part.join("cgroup.procs"), container.pid().to_string()).unwrap();
        for place in [&directory, &part] {
            fs::write(place.join(file), frozen).unwrap();
        }
        delete_by_force(runtime, container.id());
        assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    }
}

/// Thaws a freezer when it is dropped, also by a test that fails.
struct Thawed(PathBuf);

impl Drop for Thawed {
    fn drop(&mut self) {
        drop(fs::write(self.0.join("freezer.state"), "THAWED"));
    }
}

#[test]
fn c3_r33_who_does_not_die_is_named_with_what_keeps_it_and_a_later_delete_goes_on() {
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    if !freezer.is_dir() {
        // Only version 1 keeps a process that is killed in a frozen cgroup.
        return;
    }
    let runtime = runtime();
    let id = runtime.fresh_id();
    let above = format!("above-{id}");
    let path = format!("/{above}/{id}");
    let bundle =
        Bundle::new().args(["/bin/probe", "wait"]).set("/linux/cgroupsPath", json!(path)).build().unwrap();
    fs::create_dir(freezer.join(&above)).unwrap();
    let mut container = runtime.create_as(&id, &bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    // Dropped before the container is.
    let thawed = Thawed(freezer.join(&above));
    fs::write(freezer.join(&above).join("freezer.state"), "FROZEN").unwrap();
    let failed = runtime.call(["delete", "--force", &id]).unwrap();
    refused(&failed, &format!("processes in it: {} (probe: D, ", container.pid()));
    refused(&failed, &format!("cgroup {} is frozen; thaw it", freezer.join(&above).display()));
    drop(thawed);
    runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    fs::remove_dir(freezer.join(&above)).unwrap();
    nothing_left(&runtime, &id);
}

#[test]
fn c2_r30_a_process_that_was_put_into_the_cgroup_dies_with_it() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let bundle = waiting();
        let container = runtime.create(&bundle).unwrap();
        let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
        let procs = unified().join(container.id()).join("cgroup.procs");
        fs::write(procs, stranger.id().to_string()).unwrap();
        delete_by_force(runtime, container.id());
        assert!(!stranger.wait().unwrap().success());
    }
}

#[test]
fn c5_r22_an_init_that_has_moved_to_another_cgroup_is_killed_all_the_same() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let elsewhere = unified().join(format!("elsewhere-{}", runtime.fresh_id()));
        fs::create_dir(&elsewhere).unwrap();
        let name = elsewhere.file_name().unwrap().to_str().unwrap();
        let script = format!("{OWN} echo $$ > $top/{name}/cgroup.procs; exec /bin/probe wait");
        let bundle = at_home(&script).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        assert_eq!(
            fs::read_to_string(elsewhere.join("cgroup.procs")).unwrap().trim(),
            container.pid().to_string()
        );
        delete_by_force(runtime, container.id());
        assert_eq!(container.wait().unwrap(), Exit::Signal(9));
        fs::remove_dir(&elsewhere).unwrap();
    }
}

#[test]
fn g10_a_threaded_cgroup_of_version_2_is_emptied_and_removed() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let script = format!(
            "{OWN} mkdir $own/threads && echo threaded > $own/threads/cgroup.type || exit 9
             echo $$ > $own/threads/cgroup.threads || exit 8
             exec /bin/probe wait"
        );
        let bundle = at_home(&script).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
        assert!(listed.stdout.contains(&container.pid().to_string()), "{}", listed.stdout);
        runtime.call(["kill", "--all", container.id(), "TERM"]).unwrap().success().unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Code(0));
        delete_by_force(runtime, container.id());
    }
}

#[test]
fn r35_a_cgroup_that_somebody_else_has_removed_is_no_error() {
    for wrapped in layouts() {
        let runtime = wrapped.runtime();
        let bundle = Bundle::new().args(["/bin/probe", "exit", "0"]).build().unwrap();
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Code(0));
        fs::remove_dir(unified().join(container.id())).unwrap();
        container.delete().unwrap().success().unwrap();
        nothing_left(runtime, container.id());
    }
}

/// The runtime, which makes no cgroups.
fn without_cgroups() -> Wrapped {
    Wrapped::new("ketch=$1; shift; exec $ketch --cgroup-manager=disabled \"$@\"")
}

#[test]
fn b30_a_container_that_has_no_cgroup_is_known_by_its_pid_namespace() {
    let wrapped = without_cgroups();
    let runtime = wrapped.runtime();
    let bundle = Bundle::new().args(["/bin/probe", "wait"]).remove("/linux/resources").build().unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for signal in ["TERM", "KILL"] {
        let mut container = runtime.create(&bundle).unwrap();
        container.start().unwrap().success().unwrap();
        container.wait_for_stdout("ready").unwrap();
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        assert_eq!(cgroups, own, "it is where its creator is");
        let exec = runtime.command(["exec", container.id(), "/bin/probe", "wait"]);
        let mut exec = { exec }.stdout(Stdio::piped()).spawn().unwrap();
        wait_for_ready(&mut exec);
        let listed = runtime.call(["ps", "--format", "json", container.id()]).unwrap().success().unwrap();
        let listed: Vec<i32> = serde_json::from_str(&listed.stdout).unwrap();
        assert!(listed.len() == 2 && listed.contains(&container.pid()), "{listed:?}");
        runtime.call(["kill", "--all", container.id(), signal]).unwrap().success().unwrap();
        exec.wait().unwrap();
        let ended = if signal == "TERM" { Exit::Code(0) } else { Exit::Signal(9) };
        assert_eq!(container.wait().unwrap(), ended);
        runtime.call(["kill", "--all", container.id(), "KILL"]).unwrap().success().unwrap();
        container.delete().unwrap().success().unwrap();
        nothing_left(runtime, container.id());
    }
}

fn wait_for_ready(child: &mut std::process::Child) {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
}

#[test]
fn b30_without_a_cgroup_delete_kills_and_does_not_wait_for_reapers() {
    let wrapped = without_cgroups();
    let runtime = wrapped.runtime();
    let bundle = Bundle::new().args(["/bin/probe", "fork", "3"]).remove("/linux/resources").build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let exec = runtime.command(["exec", container.id(), "/bin/probe", "wait"]);
    let mut exec = { exec }.stdout(Stdio::piped()).spawn().unwrap();
    wait_for_ready(&mut exec);
    // Stopped, so that it does not reap the program that it waits for.
    let parent = Pidfd::open(i32::try_from(exec.id()).unwrap()).unwrap();
    parent.send(nix::sys::signal::Signal::SIGSTOP).unwrap();
    delete_by_force(runtime, container.id());
    parent.send(nix::sys::signal::Signal::SIGCONT).unwrap();
    exec.wait().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
}

#[test]
fn b30_without_a_cgroup_and_a_pid_namespace_only_the_first_process_can_be_reached() {
    let wrapped = without_cgroups();
    let runtime = wrapped.runtime();
    let bundle = at_home("exec /bin/probe wait").build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let says = "has neither a cgroup nor a pid namespace";
    refused(&runtime.call(["kill", "--all", container.id(), "TERM"]).unwrap(), says);
    refused(&runtime.call(["ps", container.id()]).unwrap(), says);
    delete_by_force(runtime, container.id());
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
}

#[test]
fn b30_without_a_cgroup_limits_are_refused() {
    let wrapped = without_cgroups();
    let bundle =
        Bundle::new().set("/linux/resources", json!({"memory": {"limit": 1 << 26}})).build().unwrap();
    let id = wrapped.runtime().fresh_id();
    let failed = integration_tests::create(wrapped.runtime(), &bundle, &id);
    refused(
        &failed,
        "/linux/resources/memory/limit: needs a cgroup, and --cgroup-manager=disabled makes none",
    );
    nothing_left(wrapped.runtime(), &id);
}
