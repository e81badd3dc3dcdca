//! The calls that engines were recorded to make, in their order, words and environments, are answered as they expect.
//! The sessions are in sessions.rs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod sessions;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration_tests::{deadline, ketch, runtime, text_of};
use serde_json::{Value, json};
use sessions::{Expect, Session, Step};
use spec_conformance::wait::{self, Pidfd};
use spec_conformance::{Bundle, Exit, Runtime};

/// What the container's program does: it ends with 5 when it is told to, and not before it could hear that.
const PROGRAM: &str = "trap 'exit 5' TERM; : >/ready; sleep 1000 & wait";

/// A session that is being played.
struct Stage<'a> {
    session: &'a Session,
    runtime: Runtime,
    bundle: Bundle,
    id: String,
    /// Takes the terminals; nobody reads them.
    _console: UnixListener,
}

/// What came of a call.
struct Answer {
    exit: Exit,
    stdout: String,
    stderr: String,
    /// What it appended to the log.
    logged: String,
}

impl Stage<'_> {
    fn new(session: &Session) -> Stage<'_> {
        let runtime = runtime();
        let program = if session.program.is_empty() { PROGRAM } else { session.program };
        let bundle = Bundle::new()
            .with_busybox()
            .args(["/bin/sh", "-c", program])
            .set("/process/terminal", json!(session.terminal))
            .set("/root/readonly", json!(false))
            .build()
            .unwrap();
        let process = |terminal: bool, script: &str| {
            json!({"terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"], "cwd": "/"})
        };
        for (name, text) in [
            ("process.json", process(false, "echo out; exit 3")),
            ("process-tty.json", process(true, "exit 3")),
            (
                "process-missing.json",
                json!({"args": ["/no/such/program"], "cwd": "/", "user": {"uid": 0, "gid": 0}}),
            ),
            (
                "resources.json",
                json!({"devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 67_108_864, "swap": 134_217_728}, "pids": {"limit": 2048}}),
            ),
        ] {
            fs::write(bundle.path().join(name), text.to_string()).unwrap();
        }
        let console = UnixListener::bind(bundle.path().join("console.sock")).unwrap();
        let id = runtime.fresh_id();
        Stage { session, runtime, bundle, id, _console: console }
    }

    /// The words of a call, with places and names instead of what stands for them.
    fn words(&self, line: &str) -> Vec<String> {
        let root = self.runtime.root();
        let (root, bundle) = (text_of(&root), text_of(self.bundle.path()));
        let line = line
            .replace("@SHIM", "--root @ROOT --log @BUNDLE/log.json --log-format json")
            .replace("@CONMON", "--log-format=json --log @BUNDLE/log.json")
            .replace("@ROOT", root)
            .replace("@BUNDLE", bundle)
            .replace("@ID", &self.id);
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(ketch());
        command.args(self.words(line)).env_clear().envs(self.session.environment.iter().copied());
        command.current_dir(if self.session.in_bundle { self.bundle.path() } else { Path::new("/") });
        command
    }

    /// Makes a call to its end. Its output goes to files: a container that it leaves behind would keep a pipe open.
    fn call(&self, line: &str, input: &str) -> Answer {
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        stdin.rewind().unwrap();
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let before = self.log();
        let mut child = self
            .command(line)
            .stdin(stdin)
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        let exit = end(&mut child, line);
        let logged =
            self.log().strip_prefix(&before).unwrap_or_else(|| panic!("{line}: the log was cut")).to_owned();
        Answer { exit, stdout: text(&mut out), stderr: text(&mut err), logged }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.bundle.path().join("log.json")).unwrap_or_default()
    }

    fn play(&self, step: &Step) {
        match step {
            Step::Call(line, expect) => self.check(line, &self.call(line, ""), expect),
            Step::Given(line, input, expect) => self.check(line, &self.call(line, input), expect),
            Step::Ready => self.ready(),
            Step::Ended(exit) => {
                assert_eq!(reap(&self.file(self.session.pid_file)), *exit, "{}", self.session.name);
            }
            Step::Killed(line, other, status) => {
                let mut child =
                    self.command(line).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
                self.ready();
                self.check(other, &self.call(other, ""), &Expect::Silence);
                assert_eq!(end(&mut child, line), Exit::Code(*status), "{line}");
            }
        }
    }

    fn ready(&self) {
        wait::for_file(&self.bundle.rootfs().join("ready"), deadline(), |_| true).unwrap();
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.bundle.path().join(name)).unwrap()
    }

    fn check(&self, line: &str, answer: &Answer, expect: &Expect) {
        let Answer { exit, stdout, stderr, logged } = answer;
        let context = format!(
            "{}: {line}: {exit:?}\nstdout: {stdout}\nstderr: {stderr}\nlog: {logged}",
            self.session.name
        );
        let silent = || {
            assert_eq!((exit, stderr.as_str(), logged.as_str()), (&Exit::Code(0), "", ""), "{context}");
        };
        match expect {
            Expect::Silence => {
                silent();
                assert_eq!(stdout, "", "{context}");
            }
            Expect::Anything => assert!(matches!(exit, Exit::Code(0 | 1)), "{context}"),
            Expect::PidFile(name) => {
                silent();
                let pid = self.file(name);
                // Go reads it with Atoi: digits and nothing else.
                assert!(
                    !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()),
                    "{context}: {pid:?}"
                );
                if *name != self.session.pid_file {
                    // What exec has started ends soon, and is the caller's to reap: until then init cannot end.
                    reap(&pid);
                }
            }
            Expect::Pids => {
                silent();
                let pids: Vec<i32> = serde_json::from_str(stdout).unwrap_or_else(|_| panic!("{context}"));
                assert!(pids.contains(&self.file(self.session.pid_file).parse().unwrap()), "{context}");
            }
            Expect::State(status) => {
                silent();
                let state: Value = serde_json::from_str(stdout).unwrap_or_else(|_| panic!("{context}"));
                assert_eq!(state["status"], *status, "{context}");
                assert_eq!(state["pid"] == 0, *status == "stopped", "{context}");
                assert!(state["created"].as_str().is_some_and(|time| time.contains('T')), "{context}");
            }
            Expect::Printed(words) => {
                silent();
                assert!(stdout.contains(words), "{context}");
            }
            Expect::Status(code) => {
                assert_eq!((exit, stdout.as_str()), (&Exit::Code(*code), "out\n"), "{context}")
            }
            Expect::Refusal(code, words) => {
                assert_eq!((exit, stdout.as_str()), (&Exit::Code(*code), ""), "{context}");
                assert!(stderr.contains(words), "{context}");
                if line.contains("@SHIM") || line.contains("@CONMON") {
                    let entry: BTreeMap<String, Value> =
                        serde_json::from_str(logged).unwrap_or_else(|_| panic!("{context}"));
                    assert_eq!((logged.lines().count(), &entry["level"]), (1, &json!("error")), "{context}");
                    assert!(entry["msg"].as_str().is_some_and(|msg| msg.contains(words)), "{context}");
                }
            }
            Expect::NoPidFile(code, words, name) => {
                self.check(line, answer, &Expect::Refusal(*code, words));
                assert!(!self.bundle.path().join(name).exists(), "{context}");
            }
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for root in [self.runtime.root(), PathBuf::from("/run/ketch")] {
            // What a failed session has left is not for the next one; there is nothing after a good one.
            let _nobody =
                Command::new(ketch()).arg("--root").arg(root).args(["delete", "--force", &self.id]).status();
        }
    }
}

/// How the child with this pid ends, soon.
fn reap(pid: &str) -> Exit {
    let process = Pidfd::open(pid.parse().unwrap()).unwrap();
    assert!(process.wait(deadline()).unwrap(), "process {pid} lives on");
    process.reap().unwrap().unwrap()
}

/// How a command ends, soon.
fn end(child: &mut Child, line: &str) -> Exit {
    let process = Pidfd::open(i32::try_from(child.id()).unwrap()).unwrap();
    if !process.wait(deadline()).unwrap() {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{line}: hangs");
    }
    child.wait().unwrap().into()
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn play(client: &str) {
    let sessions: Vec<&Session> = sessions::ALL.iter().filter(|session| session.client == client).collect();
    assert!(!sessions.is_empty(), "{client}");
    for session in sessions {
        let stage = Stage::new(session);
        session.steps.iter().for_each(|step| stage.play(step));
        assert_eq!(stage.runtime.leftovers(&stage.id), Vec::<PathBuf>::new(), "{}", session.name);
        assert!(!Path::new("/run/ketch").join(&stage.id).exists(), "{}", session.name);
    }
}

#[test]
fn k20_to_k65_docker_is_answered_as_it_expects() {
    play("docker");
}

#[test]
fn k30_k31_k33_buildkit_is_answered_as_it_expects() {
    play("buildkit");
}

#[test]
fn k38_k59_ctr_and_cri_are_answered_as_they_expect() {
    play("containerd");
}

#[test]
fn k07_k27_k65_podman_and_conmon_are_answered_as_they_expect() {
    play("podman");
}

#[test]
fn k35_k36_buildah_is_answered_as_it_expects() {
    play("buildah");
}

#[test]
fn k38_k57_cri_o_is_answered_as_it_expects() {
    play("cri-o");
}
