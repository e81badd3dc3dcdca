//! What is written about a container: whole or not at all, true at every moment, and no way to somebody else.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration_tests::{deadline, has_ended, nothing_left, refused, runtime, text_of, waiting};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use spec_conformance::wait::{Pidfd, for_file};
use spec_conformance::{Bundle, Exit, Runtime};

/// What happened in a directory since it was watched: the event, and the file's name.
struct Watch(Inotify);

impl Watch {
    fn new(directory: &Path) -> Watch {
        let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        events.add_watch(directory, AddWatchFlags::IN_ALL_EVENTS).unwrap();
        Watch(events)
    }

    fn seen(&self, name: &str) -> BTreeSet<&'static str> {
        let kinds = [
            (AddWatchFlags::IN_MODIFY, "modify"),
            (AddWatchFlags::IN_CREATE, "create"),
            (AddWatchFlags::IN_MOVED_TO, "moved to"),
            (AddWatchFlags::IN_CLOSE_WRITE, "written"),
        ];
        let mut seen = BTreeSet::new();
        while let Ok(events) = self.0.read_events() {
            for event in events.into_iter().filter(|event| event.name.as_deref() == Some(name.as_ref())) {
                seen.extend(
                    kinds.iter().filter(|(kind, _)| event.mask.contains(*kind)).map(|(_, word)| *word),
                );
            }
        }
        seen
    }
}

/// A hook that tells that it runs, and stays until its standard input, a fifo, is closed or it is killed.
struct Held {
    place: tempfile::TempDir,
}

impl Held {
    fn new() -> Held {
        let place = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&place.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        Held { place }
    }

    fn hook(&self) -> Value {
        let place = self.place.path().display();
        let script = format!(
            "cat > {place}/new; echo $$ > {place}/pid; mv {place}/new {place}/state; exec cat < {place}/fifo"
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    }

    /// Starts a create and waits until its hook is held. Gives the state that the hook has read.
    fn create(&self, runtime: &Runtime, bundle: &Bundle, id: &str) -> (Child, Value) {
        let mut command = runtime.command(["create", "--bundle", text_of(bundle.path()), id]);
        let create = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let text =
            for_file(&self.place.path().join("state"), deadline(), |text| text.ends_with('}')).unwrap();
        (create, serde_json::from_str(&text).unwrap())
    }

    fn release(&self) {
        drop(fs::File::options().write(true).open(self.place.path().join("fifo")).unwrap());
    }

    /// Kills a hook of the runtime's namespaces that has lost its runtime: it is ours, who are the subreaper.
    fn kill(&self) {
        let pid = fs::read_to_string(self.place.path().join("pid")).unwrap().trim().parse().unwrap();
        Pidfd::open(pid).unwrap().send(Signal::SIGKILL).unwrap();
        has_ended(pid);
    }

    /// Whether the hook is there no more: nobody reads the fifo.
    fn is_gone(&self) -> bool {
        let open = fs::File::options()
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(self.place.path().join("fifo"));
        open.is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENXIO))
    }
}

#[test]
fn l17_the_record_is_replaced_and_never_written_in_place() {
    let runtime = runtime();
    let held = Held::new();
    let bundle =
        Bundle::new().args(["/bin/probe", "wait"]).set("/hooks/createRuntime", held.hook()).build().unwrap();
    let id = runtime.fresh_id();
    let (mut create, _) = held.create(&runtime, &bundle, &id);
    let directory = runtime.root().join(&id);
    let record =
        || -> Value { serde_json::from_slice(&fs::read(directory.join("record.json")).unwrap()).unwrap() };
    // From the start there is one that reads well; the process comes into it later, by another file.
    assert_eq!(record()["process"], Value::Null);
    let watch = Watch::new(&directory);
    held.release();
    assert!(create.wait().unwrap().success());
    assert_eq!(watch.seen("record.json"), BTreeSet::from(["moved to"]));
    assert_eq!(record()["process"]["pid"], json!(runtime.state(&id).unwrap().pid));
    let names = |directory: &Path| -> BTreeSet<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names(&directory), ["config.json", "record.json", "start"].map(String::from).into());
    // Neither does start write to it, nor anything else.
    let watch = Watch::new(&directory);
    runtime.call(["start", &id]).unwrap().success().unwrap();
    assert_eq!(watch.seen("record.json"), BTreeSet::new());
    delete(&runtime, &id);
}

/// Deletes by force, and reaps what was the container's process.
fn delete(runtime: &Runtime, id: &str) {
    let process = Pidfd::open(runtime.state(id).unwrap().pid.unwrap()).unwrap();
    runtime.call(["delete", "--force", id]).unwrap().success().unwrap();
    assert_eq!(process.reap(), Ok(Some(Exit::Signal(9))));
    nothing_left(runtime, id);
}

fn create_with_pid_file(
    runtime: &Runtime,
    bundle: &Bundle,
    pid_file: &Path,
    id: &str,
) -> spec_conformance::Finished {
    let bundle = text_of(bundle.path());
    runtime.call(["create", "--bundle", bundle, "--pid-file", text_of(pid_file), id]).unwrap()
}

#[test]
fn l18_a_pid_file_is_replaced_and_never_written_in_place() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let pid_file = place.path().join("pid");
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let bundle = waiting();
    let kinds: [(&str, &dyn Fn()); 5] = [
        ("nothing", &|| {}),
        ("a file", &|| fs::write(&pid_file, "99999999999").unwrap()),
        ("a link", &|| std::os::unix::fs::symlink(elsewhere.path(), &pid_file).unwrap()),
        ("a fifo", &|| nix::unistd::mkfifo(&pid_file, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", &|| drop(UnixListener::bind(&pid_file).unwrap())),
    ];
    for (kind, make) in kinds {
        make();
        let id = runtime.fresh_id();
        let watch = Watch::new(place.path());
        create_with_pid_file(&runtime, &bundle, &pid_file, &id).success().unwrap();
        assert_eq!(watch.seen("pid"), BTreeSet::from(["moved to"]), "{kind}");
        assert!(fs::symlink_metadata(&pid_file).unwrap().file_type().is_file(), "{kind}");
        assert_eq!(
            fs::read_to_string(&pid_file).unwrap(),
            runtime.state(&id).unwrap().pid.unwrap().to_string()
        );
        delete(&runtime, &id);
        fs::remove_file(&pid_file).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{kind}");
    }
    assert_eq!(fs::read_to_string(elsewhere.path()).unwrap(), "");
}

#[test]
fn l18_l06_a_pid_file_that_cannot_be_replaced_undoes_the_create_and_leaves_none_beside_it() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let pid_file = place.path().join("pid");
    fs::create_dir(&pid_file).unwrap();
    let id = runtime.fresh_id();
    refused(&create_with_pid_file(&runtime, &waiting(), &pid_file, &id), "write pid file");
    nothing_left(&runtime, &id);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    // What waits under the name that is written first is not followed either.
    let victim = place.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    let other = place.path().join("other");
    let id = runtime.fresh_id();
    let script = format!("ln -s {} {}/.other.$$; exec \"$@\"", victim.display(), place.path().display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(runtime.program()).arg("--root").arg(runtime.root());
    let bundle = waiting();
    command.args(["create", "--bundle", text_of(bundle.path()), "--pid-file", text_of(&other), &id]);
    runtime.finish(command).unwrap().success().unwrap();
    delete(&runtime, &id);
    assert!(fs::symlink_metadata(&other).unwrap().file_type().is_file());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn l19_a_container_that_is_being_created_is_seen_as_creating_and_cannot_be_used() {
    let runtime = runtime();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let held = Held::new();
        let bundle = Bundle::new()
            .args(["/bin/probe", "wait"])
            .set(&format!("/hooks/{kind}"), held.hook())
            .build()
            .unwrap();
        let id = runtime.fresh_id();
        let (mut create, told) = held.create(&runtime, &bundle, &id);
        assert_eq!(told["status"], "creating");
        let state = runtime.state(&id).unwrap();
        assert_eq!((state.status.as_str(), state.bundle.as_path()), ("creating", bundle.path()), "{kind}");
        let listed = runtime.call(["list", "--format", "json"]).unwrap().success().unwrap().stdout;
        assert!(listed.contains("\"creating\""), "{listed}");
        refused(&runtime.call(["start", &id]).unwrap(), "in the creating state");
        refused(&runtime.call(["kill", &id, "KILL"]).unwrap(), "container not running");
        refused(&runtime.call(["delete", &id]).unwrap(), "not stopped: creating");
        refused(
            &runtime
                .call(["exec", &id, "true"])
                .map(|done| spec_conformance::Finished { exit: Exit::Code(1), ..done })
                .unwrap(),
            "container not running",
        );
        held.release();
        assert!(create.wait().unwrap().success());
        assert_eq!(runtime.state(&id).unwrap().status, "created");
        delete(&runtime, &id);
    }
}

/// A process that began in a later tick of the clock, as one does that gets a number again: so many have come between.
fn later_than(start_time: &Value) -> Child {
    loop {
        let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
        // proc(5): behind the name, which is in parentheses, it is the twentieth.
        let began = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        if json!(began.parse::<u64>().unwrap()) != *start_time {
            return other;
        }
        drop(other.stdin.take());
        other.wait().unwrap();
    }
}

#[test]
fn l12_a_process_that_has_got_the_number_of_the_containers_is_left_alone() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container.kill("KILL").unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Signal(9));
    // Somebody else has the number now.
    let path = runtime.root().join(container.id()).join("record.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut other = later_than(&record["process"]["startTime"]);
    record["process"]["pid"] = json!(other.id());
    fs::write(&path, record.to_string()).unwrap();
    let state = container.state().unwrap();
    assert_eq!((state.status.as_str(), state.pid), ("stopped", Some(0)));
    refused(&container.kill("KILL").unwrap(), "container not running");
    runtime.call(["kill", "--all", container.id(), "KILL"]).unwrap().success().unwrap();
    refused(&container.start().unwrap(), "cannot start a container that has stopped");
    container.delete().unwrap().success().unwrap();
    nothing_left(&runtime, container.id());
    assert!(other.try_wait().unwrap().is_none(), "somebody else's process was killed");
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

#[test]
fn l20_a_create_whose_runtime_is_killed_in_a_hook_can_be_deleted() {
    let runtime = runtime();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for force in [true, false] {
            let held = Held::new();
            let bundle = Bundle::new().set(&format!("/hooks/{kind}"), held.hook()).build().unwrap();
            let id = runtime.fresh_id();
            let (mut create, told) = held.create(&runtime, &bundle, &id);
            create.kill().unwrap();
            create.wait().unwrap();
            if kind != "createContainer" {
                // Nobody has to do anything for init to end.
                has_ended(i32::try_from(told["pid"].as_i64().unwrap()).unwrap());
            }
            assert_eq!(runtime.state(&id).unwrap().status, "stopped", "{kind}");
            let flags: &[&str] = if force { &["--force"] } else { &[] };
            let delete = runtime.call([&["delete"], flags, &[&id]].concat()).unwrap();
            assert_eq!((delete.exit, delete.stderr.as_str()), (Exit::Code(0), ""), "{kind}");
            nothing_left(&runtime, &id);
            // What runs in the container's cgroup went with it; a hook of the runtime's is nobody's now.
            if kind != "createContainer" {
                held.kill();
            }
            assert!(held.is_gone(), "{kind}");
            // The id is free.
            let again = runtime.create_as(&id, &waiting()).unwrap();
            assert_eq!(again.state().unwrap().status, "created");
        }
    }
}

fn make_directory(path: &Path) {
    // Its parent is there if a container has been made.
    let _exists = fs::create_dir(path.parent().unwrap());
    fs::create_dir(path).unwrap();
}

#[test]
fn l20_a_directory_without_a_record_can_be_deleted() {
    // All that there is when the runtime dies right after it took the id.
    let runtime = runtime();
    let (id, other) = (runtime.fresh_id(), runtime.fresh_id());
    for arguments in [&["delete", &id][..], &["delete", "--force", &id]] {
        make_directory(&runtime.root().join(&id));
        runtime.call(arguments).unwrap().success().unwrap();
        nothing_left(&runtime, &id);
    }
    // One that is unreadable may be of a container that lives: without force it stays.
    let place: PathBuf = runtime.root().join(&other);
    make_directory(&place);
    fs::write(place.join("record.json"), "{\"version\": 1, \"id\"").unwrap();
    refused(&runtime.call(["delete", &other]).unwrap(), "unreadable");
    runtime.call(["delete", "--force", &other]).unwrap().success().unwrap();
    nothing_left(&runtime, &other);
}
