//! Drives any runtime through the command line that runc defined, with a deadline on every call.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::call::{Finished, Pumped, Streams};
use crate::container::Container;
use crate::passed::Receiver;
use crate::profile::Profile;
use crate::report::Report;
use crate::wait::{Deadline, Pidfd};
use crate::{Bundle, Error};

/// How long a call may take unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A runtime binary with a state directory of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    profile: &'static Profile,
    directory: TempDir,
    deadline: Duration,
    next: AtomicU32,
}

/// The state of a container as the runtime tells it. Spec: runtime.md#state.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification that the state complies with.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// `creating`, `created`, `running`, `stopped`, or a word of the runtime's own.
    pub status: String,
    /// Host pid of the container's process; some runtimes say 0 once it has stopped.
    #[serde(default)]
    pub pid: Option<i32>,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Annotations of the configuration.
    #[serde(default)]
    pub annotations: Option<serde_json::Map<String, Value>>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, Value>,
}

impl Runtime {
    /// A runtime with an empty `--root`. Makes the calling process a child subreaper (prctl(2)), as every
    /// shim does, so that containers become its children and their exit status can be had.
    pub fn new(program: impl Into<PathBuf>, profile: &'static Profile) -> Result<Runtime, Error> {
        let program = std::path::absolute(program.into()).map_err(Error::file("the runtime's path"))?;
        std::fs::metadata(&program).map_err(|source| Error::Spawn { program: program.clone(), source })?;
        set_child_subreaper(true).map_err(Error::system("prctl(PR_SET_CHILD_SUBREAPER)"))?;
        let directory = tempfile::Builder::new()
            .prefix("conformance-")
            .tempdir()
            .map_err(Error::file("temporary directory"))?;
        let runtime = Runtime { program, profile, directory, deadline: DEADLINE, next: AtomicU32::new(0) };
        if profile.root_must_exist {
            std::fs::create_dir(runtime.root()).map_err(Error::file(runtime.root()))?;
        }
        Ok(runtime)
    }

    /// The same runtime with another deadline for each call and each wait.
    pub fn deadline(mut self, deadline: Duration) -> Runtime {
        self.deadline = deadline;
        self
    }

    /// The binary.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What is particular to it.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// Its state directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// An id that no other container on this host has: the state directory's unique name and a number.
    pub fn fresh_id(&self) -> String {
        // Of one width, so that no id is the beginning of another: see `leftovers`.
        format!("{}-{:05}", self.unique_name(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// What is on the host of the container with this [`Runtime::fresh_id`]: its state directory and its
    /// cgroups. Ask when there should be nothing. Spec: runtime.md#errors, runtime.md#delete.
    pub fn leftovers(&self, id: &str) -> Vec<PathBuf> {
        const DEPTH: usize = 6;
        let mut found = Vec::new();
        for place in [self.root(), PathBuf::from("/sys/fs/cgroup")] {
            named_below(&place, id, DEPTH, &mut found);
        }
        found
    }

    fn unique_name(&self) -> &str {
        self.directory.path().file_name().and_then(OsStr::to_str).unwrap_or("conformance")
    }

    /// A command with the global arguments and these, and `/dev/null` as standard input. Change what needs
    /// changing (environment, working directory, standard input), then [`Runtime::finish`] it.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.root()).args(self.profile.global_args).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end and captures its output. `Err` only if it cannot be executed or misses
    /// the deadline, when it is killed; a failure is a [`Finished`] like another.
    pub fn finish(&self, command: Command) -> Result<Finished, Error> {
        self.finish_with_streams(command).map(|(finished, _)| finished)
    }

    /// Any operation, finished.
    pub fn call<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Finished, Error> {
        self.finish(self.command(args))
    }

    /// Any operation, finished, of a runtime that is as strict as it can be.
    pub fn call_strictly<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Finished, Error> {
        let mut command = self.command(self.profile.strict_args);
        command.args(args);
        self.finish(command)
    }

    /// `run` of the bundle's process to its end under a fresh id; nothing is left of the container.
    pub fn run(&self, bundle: &Bundle) -> Result<Finished, Error> {
        let id = self.fresh_id();
        let bundle = bundle.path().as_os_str();
        let finished = self.call(["run".as_ref(), "--bundle".as_ref(), bundle, id.as_ref()]);
        if !finished.as_ref().is_ok_and(|finished| finished.exit.success()) {
            self.call(["delete", "--force", &id])?;
        }
        finished
    }

    /// Runs a bundle whose process is `probe report` and reads what it saw.
    pub fn observe(&self, bundle: &Bundle) -> Result<Report, Error> {
        self.run(bundle)?.success()?.report()
    }

    /// `create` under a fresh id; a refusal is [`Error::Refused`]. `start` it to run its process.
    pub fn create(&self, bundle: &Bundle) -> Result<Container<'_>, Error> {
        self.create_as(&self.fresh_id(), bundle)
    }

    /// `create` under this id.
    pub fn create_as(&self, id: &str, bundle: &Bundle) -> Result<Container<'_>, Error> {
        self.create_with(id, bundle, &[])
    }

    /// `create` of a bundle with a terminal, under a fresh id; the terminal comes with it.
    pub fn create_on_terminal(&self, bundle: &Bundle) -> Result<(Container<'_>, OwnedFd), Error> {
        let id = self.fresh_id();
        // The address of a socket is short: 108 bytes.
        let receiver = Receiver::at(self.directory.path().join(format!("tty{}", &id[id.len() - 5..])))?;
        let options = ["--console-socket".as_ref(), receiver.path().as_os_str()];
        let container = self.create_with(&id, bundle, &options)?;
        let passed = receiver.receive(self.new_deadline(), |passed| !passed.descriptors.is_empty())?;
        match passed.descriptors.into_iter().next() {
            Some(terminal) => Ok((container, terminal)),
            None => Err(Error::NoTerminal),
        }
    }

    fn create_with(&self, id: &str, bundle: &Bundle, options: &[&OsStr]) -> Result<Container<'_>, Error> {
        let pid_file = self.directory.path().join(format!("{id}.pid"));
        let mut command = self.command(["create"]);
        command.args(options).arg("--bundle").arg(bundle.path()).arg("--pid-file").arg(&pid_file).arg(id);
        let created = self.finish_with_streams(command);
        let opened = created.and_then(|(finished, streams)| {
            finished.success()?;
            Container::open(self, id, &pid_file, streams)
        });
        // A killed or half-successful create may have left something; a refused one must not have, and
        // deleting it would hide that from the caller.
        if opened.as_ref().is_err_and(|error| !matches!(error, Error::Refused { .. })) {
            self.call(["delete", "--force", id])?;
        }
        opened
    }

    /// `state`, parsed.
    pub fn state(&self, id: &str) -> Result<State, Error> {
        let printed = self.call(["state", id])?.success()?.stdout;
        serde_json::from_str(&printed).map_err(|source| Error::State { source, text: printed })
    }

    pub(crate) fn new_deadline(&self) -> Deadline {
        Deadline::after(self.deadline)
    }

    fn finish_with_streams(&self, mut command: Command) -> Result<(Finished, Streams), Error> {
        let spawn_error = |source| Error::Spawn { program: self.program.clone(), source };
        let (out, out_writer) = std::io::pipe().map_err(Error::file("pipe"))?;
        let (err, err_writer) = std::io::pipe().map_err(Error::file("pipe"))?;
        command.stdout(out_writer).stderr(err_writer);
        let call = line(&command);
        let started = Instant::now();
        let mut child = command.spawn().map_err(spawn_error)?;
        // The command holds our copies of the writing ends: without this the pipes would never close.
        drop(command);
        let mut streams = Streams::new(out, err);
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let process = Pidfd::open(pid).map_err(Error::system("pidfd_open"))?;
        let deadline = self.new_deadline();
        let pumped = streams.pump(Some(&process), deadline, |_| false)?;
        if pumped != Pumped::Exited {
            child.kill().map_err(spawn_error)?;
        }
        let exit = child.wait().map_err(spawn_error)?.into();
        let (stdout, stderr) = (streams.out.text(), streams.err.text());
        match pumped {
            Pumped::Exited => Ok((Finished { call, exit, stdout, stderr, took: started.elapsed() }, streams)),
            _ => Err(Error::Deadline { awaited: call, within: deadline.within(), stdout, stderr }),
        }
    }
}

impl Drop for Runtime {
    /// Deletes what has a state directory, then removes cgroups that the runtime forgot: there are some
    /// after calls that it refused, for example.
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.root()).into_iter().flatten().flatten() {
            drop(self.call(["delete".as_ref(), "--force".as_ref(), entry.file_name().as_os_str()]));
        }
        for path in self.leftovers(self.unique_name()).iter().rev() {
            // A cgroup with processes stays; a state directory goes with its parent.
            drop(std::fs::remove_dir(path));
        }
    }
}

/// Directories below `place` whose name holds `name`, parents before children.
fn named_below(place: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(entry.path());
        }
        if depth > 0 {
            named_below(&entry.path(), name, depth - 1, found);
        }
    }
}

/// The command line for messages: the program's name and the arguments as they are.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_never_ends_is_killed_at_its_deadline() {
        let runtime = Runtime::new("/bin/cat", &Profile::RUNC).unwrap().deadline(Duration::ZERO);
        let mut endless = Command::new("cat");
        let (_held, stdin) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
        endless.stdin(stdin);
        assert!(matches!(runtime.finish(endless), Err(Error::Deadline { .. })));
    }

    #[test]
    fn a_state_directory_that_stays_is_a_leftover() {
        let runtime = Runtime::new("/bin/false", &Profile::YOUKI).unwrap();
        let (gone, left) = (runtime.fresh_id(), runtime.fresh_id());
        std::fs::create_dir(runtime.root().join(&left)).unwrap();
        assert_eq!(runtime.leftovers(&left), [runtime.root().join(&left)]);
        assert!(runtime.leftovers(&gone).is_empty());
    }

    #[test]
    fn a_failing_call_is_finished_and_not_an_error() {
        let runtime = Runtime::new("/bin/false", &Profile::RUNC).unwrap();
        let finished = runtime.call(["state", "x"]).unwrap();
        assert!(!finished.exit.success());
        assert!(matches!(finished.success(), Err(Error::Refused { .. })));
    }
}
