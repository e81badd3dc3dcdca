//! What a run does to the host: nothing, whatever the runtime does and however the run ends. Needs root.
#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, as tests do")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use spec_conformance::wait::{self, Deadline, Pidfd};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(30);

/// The one question that is put to a runtime outside of any stage.
const VERSION: &str = "[ \"$1\" = --version ] && exec echo scripted 1.0";

/// A directory with a script as runtime in it, and one for temporary files.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new(script: &str) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let host = Host { directory };
        std::fs::create_dir(host.path("tmp")).unwrap();
        mkfifo(&host.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        let program = host.path("runtime");
        let text = format!("#!/bin/sh\n{VERSION}\nHOST={}\n{script}\n", host.directory.path().display());
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn harness(&self, cases: &[&str]) -> Command {
        // Cargo names it in a variable with a hyphen, which a shell that wraps the compiler drops.
        let program = Path::new(env!("CARGO_BIN_EXE_probe")).with_file_name("spec-conformance");
        let mut command = Command::new(program);
        command
            .args(["--profile", "generic", "--jobs", "1", "--runtime"])
            .arg(self.path("runtime"))
            .args(cases);
        command.env("TMPDIR", self.path("tmp")).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }

    /// The names of the stages that there are: each has a directory.
    fn stages(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Starts a run and returns when the runtime has been called: it has written to the fifo.
    fn playing(&self) -> Child {
        let child = self.harness(&["process-user"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(std::fs::File::open(self.path("fifo")).unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "called\n");
        child
    }
}

/// Cgroups with this name, in any hierarchy.
fn cgroups(name: &str) -> Vec<PathBuf> {
    fn look(place: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str() == Some(name) {
                    found.push(entry.path());
                }
                if depth > 0 {
                    look(&entry.path(), name, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), name, 1, &mut found);
    found
}

const ENDLESS: &str = "[ -e $HOST/tmp ] && echo called > $HOST/fifo; exec sleep infinity";

#[test]
fn an_interrupted_run_ends_at_once_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let host = Host::new(ENDLESS);
        let mut child = host.playing();
        let stages = host.stages();
        assert!(!stages.is_empty() && !cgroups(&stages[0]).is_empty(), "{stages:?} has no cgroups");
        let pid = i32::try_from(child.id()).unwrap();
        let process = Pidfd::open(pid).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        assert!(process.wait(Deadline::after(WITHIN)).unwrap(), "it did not end");
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(host.stages(), Vec::<String>::new());
        assert_eq!(cgroups(&stages[0]), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_run_that_is_killed_leaves_nothing_either() {
    let host = Host::new(ENDLESS);
    let mut child = host.playing();
    let stages = host.stages();
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    changes.add_watch(&host.path("tmp"), AddWatchFlags::IN_DELETE).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody is left to be waited for; the stage's directory is the last to go.
    let deadline = Deadline::after(WITHIN);
    while !host.stages().is_empty() {
        assert!(wait::for_events(&changes, deadline).unwrap(), "{:?} is left", host.stages());
    }
    assert_eq!(cgroups(&stages[0]), Vec::<PathBuf>::new());
}

#[test]
fn a_hostile_runtime_finds_nothing_of_the_host_that_it_can_change() {
    let attempts = "
        mount -t tmpfs evil $HOST/tmp
        mknod /dev/evil-conformance c 1 3
        hostname evil-conformance
        ip link add evil type dummy 2>/dev/null
        mkdir /sys/fs/cgroup/evil-conformance /sys/fs/cgroup/*/evil-conformance 2>/dev/null
        touch $HOST/evil 2>/dev/null
        echo '#' >> $HOST/runtime
        exit 1";
    let host = Host::new(attempts);
    let before = std::fs::read_to_string(host.path("runtime")).unwrap();
    // What is the host's to it is not the machine's: a harness with a hole costs a test only.
    let look = "hostname outer-conformance; \"$@\" >&2; code=$?; hostname; cat /proc/self/mountinfo /proc/net/dev; exit $code";
    let harness = host.harness(&["process-user"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--uts", "--net", "sh", "-c", look, "sh"]);
    command.arg(harness.get_program()).args(harness.get_args()).env("TMPDIR", host.path("tmp"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let seen = String::from_utf8(output.stdout).unwrap();
    assert!(seen.starts_with("outer-conformance\n") && !seen.contains("evil"), "{seen}");
    assert!(!host.path("evil").exists());
    assert_eq!(std::fs::read_to_string(host.path("runtime")).unwrap(), before);
    assert!(!Path::new("/dev/evil-conformance").exists());
    assert_eq!(cgroups("evil-conformance"), Vec::<PathBuf>::new());
    assert_eq!(host.stages(), Vec::<String>::new());
}

#[test]
fn what_the_host_has_not_is_said_before_anything_runs() {
    let host = Host::new("exit 1");
    let output = host.harness(&["--cgroup", "v3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("auto, v1, v2, hybrid"), "{output:?}");
}

#[test]
fn who_is_not_root_is_told_so_and_nothing_is_said_of_the_runtime() {
    use std::os::unix::process::CommandExt;
    let host = Host::new("exit 1");
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    open(host.directory.path());
    open(&host.path("tmp"));
    // Where the harness was built, others may not look.
    for name in ["spec-conformance", "probe"] {
        let built = Path::new(env!("CARGO_BIN_EXE_probe")).with_file_name(name);
        std::fs::copy(built, host.path(name)).unwrap();
    }
    let mut command = Command::new(host.path("spec-conformance"));
    command.args(host.harness(&["process-user"]).get_args());
    command.env("TMPDIR", host.path("tmp")).uid(1000).gid(1000);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs root"), "{output:?}");
    assert_eq!(host.stages(), Vec::<String>::new());
}
