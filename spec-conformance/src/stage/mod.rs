//! A place of its own on the host for each case: whatever the runtime does to mounts, devices, cgroups, names or the
//! network, it does to the stage, and all of it is gone when the case is over, however it ended.
//!
//! Two processes of the harness's binary share the work, so that nothing depends on the case ending well:
//!
//! ```text
//! suite ──▶ stagehand            on the host: makes the stage's cgroups and directory, and removes them
//!             └──▶ performer     PID 1 of new pid, mount, network, ipc, uts and cgroup namespaces: runs the case
//! ```
//!
//! The stagehand ends the performer, and with it every process on the stage, when the case has had its time or when
//! its standard input closes: the suite was interrupted, or is no more. See pid_namespaces(7).

mod cgroups;
mod furnish;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::wait::{self, Deadline, Pidfd};
use crate::{Error, Profile, Runtime};

pub use cgroups::{CgroupMode, Controllers, available};
pub(crate) use furnish::mount;

/// First argument of the harness's binary when it is to be the stagehand.
pub(crate) const HOLD: &str = "--hold-stage";
const PERFORM: &str = "--perform-on-stage";

/// The exit status of a stagehand whose performer missed its deadline.
pub(crate) const LATE: i32 = 3;
/// The exit status of a stagehand or performer that could not make the stage: the host's fault, and not the runtime's.
pub(crate) const UNMADE: i32 = 2;

/// What a stage is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Play {
    /// The case's id.
    pub(crate) case: String,
    /// The runtime's binary.
    pub(crate) program: PathBuf,
    /// Name of the runtime's profile.
    pub(crate) profile: String,
    /// Which cgroup hierarchies the runtime sees.
    pub(crate) cgroup: CgroupMode,
    /// How long the case may take.
    pub(crate) within: Duration,
}

/// A play and where its stagehand made room for it.
#[derive(Debug, Serialize, Deserialize)]
struct Performance {
    play: Play,
    directory: PathBuf,
    cgroups: cgroups::Made,
}

/// Does what this process was started for, if that is a part in a play; `None` if it is not. Call it first in `main`.
pub fn backstage() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let done = match (args.next()?.as_str(), args.next()) {
        (HOLD, Some(play)) => serde_json::from_str(&play).map(hold),
        (PERFORM, Some(performance)) => serde_json::from_str(&performance).map(perform),
        _ => return None,
    };
    Some(match done {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => complain(&error),
        Err(error) => complain(&error),
    })
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    match writeln!(io::stderr().lock(), "{error}") {
        Ok(()) | Err(_) => ExitCode::from(2),
    }
}

/// The stagehand.
fn hold(play: Play) -> Result<ExitCode, Error> {
    // A key pressed at the terminal is the suite's to hear: it closes our standard input.
    SigSet::all().thread_block().map_err(Error::system("sigprocmask"))?;
    let directory = tempfile::Builder::new()
        .prefix("conformance-")
        .tempdir()
        .map_err(Error::file("temporary directory"))?;
    let name = directory.path().file_name().unwrap_or_default();
    let cgroups = cgroups::Made::new(play.cgroup, name)?;
    let deadline = Deadline::after(play.within);
    let apart = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(apart).map_err(Error::system("unshare"))?;
    let performance = Performance { play, directory: directory.path().to_owned(), cgroups };
    let spelled = serde_json::to_string(&performance).map_err(|source| Error::Play { source })?;
    let this = PathBuf::from("/proc/self/exe");
    let mut performer = Command::new(&this)
        .args([PERFORM, &spelled])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| Error::Spawn { program: this, source })?;
    let process = Pidfd::open(i32::try_from(performer.id()).unwrap_or_default())
        .map_err(Error::system("pidfd_open"))?;
    let late = watch(&process, deadline, &performance.cgroups)?;
    let status = performer.wait().map_err(Error::file("the performer"))?;
    drop(performance);
    Ok(match (late, status.code()) {
        (true, _) => ExitCode::from(3),
        (false, code) => ExitCode::from(u8::try_from(code.unwrap_or(2)).unwrap_or(2)),
    })
}

/// Waits for the performer's end, and brings it about when nobody waits for the stagehand any more or when time is
/// up, which is what it returns.
fn watch(performer: &Pidfd, deadline: Deadline, cgroups: &cgroups::Made) -> Result<bool, Error> {
    let stdin = io::stdin();
    let mut fds =
        [PollFd::new(performer.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let late = !wait::ready(&mut fds, deadline)?;
    if fds[0].any() == Some(true) {
        return Ok(false);
    }
    match performer.send(Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(Error::System { call: "pidfd_send_signal", errno }),
    }
    // A process frozen by cgroup version 1 does not even die, and its namespace waits for it.
    cgroups.thaw();
    Ok(late)
}

/// The performer.
fn perform(performance: Performance) -> Result<ExitCode, Error> {
    let Performance { play, directory, cgroups } = performance;
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(Error::system("sigprocmask"))?;
    furnish::furnish(&directory, &play.program, &cgroups)?;
    // Removing the cgroups is the stagehand's.
    std::mem::forget(cgroups);
    let case = Case::find(&play.case).ok_or(Error::NoCase { id: play.case })?;
    let profile = Profile::named(&play.profile).unwrap_or(&Profile::GENERIC);
    let runtime = Runtime::new(play.program, profile)?;
    let outcome = case.conduct(&runtime);
    drop(runtime);
    let spelled = serde_json::to_string(&outcome.findings).map_err(|source| Error::Play { source })?;
    writeln!(io::stdout().lock(), "{spelled}").map_err(Error::file("standard output"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the whole of a small file of the kernel's.
fn text(path: &std::path::Path) -> Result<String, Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(Error::file(path))?;
    file.take(1 << 20).read_to_string(&mut text).map_err(Error::file(path))?;
    Ok(text)
}
