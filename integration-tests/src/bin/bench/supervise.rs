//! The outer process: starts the inner one, passes signals on, cleans up after it however it ends.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{Pid, Uid};

use crate::INSIDE;
use crate::error::{At, Error};
use crate::layout::{self, Parents};
use crate::options::Options;
use crate::sweep;

/// Ends the inner process, so that the outer one gets to clean up.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Where state may lie: runtimes use the first by default, which is a tmpfs where systemd has started the machine.
const STATE: [&str; 2] = ["/run", "/dev/shm"];

/// Runs the inner process to its end; `words` is its command line.
pub(crate) fn run(options: &Options, words: &[OsString]) -> Result<(), Error> {
    if !Uid::effective().is_root() {
        return Err(Error::new("bench", "needs root"));
    }
    let signals = signals();
    signals.thread_block().at("block signals")?;
    set_child_subreaper(true).at("become a subreaper")?;

    // Its own, so that two benchmarks do not meet.
    let name = format!("ketch-bench-{}", std::process::id());
    let prefix = format!("{name}-");
    // Dropped in reverse order, after `Swept` has ended every process that uses them.
    let scratch = tempfile::Builder::new().prefix(&prefix).tempdir().at("scratch directory")?;
    let state = state_directory();
    let state = tempfile::Builder::new().prefix(&prefix).tempdir_in(state).at(state)?;
    let mounted = layout::mounted()?;
    let _parents = Parents::make(&mounted, &name)?;
    let _swept = Swept;

    let program = env::current_exe().at("own program")?;
    let mut command = options.layout.command(&mounted, program.as_os_str())?;
    if options.realtime {
        let mut prior = Command::new("chrt");
        prior.args(["--rr", "1"]).arg(command.get_program()).args(command.get_args());
        command = prior;
    }
    command.arg(INSIDE).args([scratch.path(), state.path()]).arg(&name).args(words);
    let mut inner = command.spawn().at("start the inner process")?;
    loop {
        let signal = signals.wait().at("wait for a signal")?;
        if let Some(status) = inner.try_wait().at("wait for the inner process")? {
            // Its own words explain an exit; a signal would go by unseen.
            return match (status.success(), status.signal()) {
                (true, _) => Ok(()),
                (false, None) => Err(Error::new("measurement", "did not finish")),
                (false, Some(number)) => Err(Error::new("measurement", format!("ended by signal {number}"))),
            };
        }
        if signal != Signal::SIGCHLD {
            let pid = i32::try_from(inner.id()).map_err(|_| Error::new("pid", "out of range"))?;
            kill(Pid::from_raw(pid), Signal::SIGTERM).at("end the inner process")?;
        }
    }
}

/// The inner process's first act: undoes what it inherited, and becomes the reaper of its containers.
pub(crate) fn enter() -> Result<(), Error> {
    signals().thread_unblock().at("unblock signals")?;
    set_child_subreaper(true).at("become a subreaper")
}

/// The first that is a tmpfs, as on most machines: that a directory is made and removed costs a disk's file system much.
fn state_directory() -> &'static str {
    let is_tmpfs = |path: &&&str| statfs(**path).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC);
    STATE.iter().find(is_tmpfs).copied().unwrap_or(STATE[0])
}

fn signals() -> SigSet {
    ENDING.into_iter().chain([Signal::SIGCHLD]).collect()
}

/// Ends all that is left of the inner process when dropped.
#[derive(Debug)]
struct Swept;

impl Drop for Swept {
    fn drop(&mut self) {
        sweep::end_children(&[]);
    }
}
