//! Runs hooks: in the runtime's process those of its namespaces, in the container's process those of its own.
//!
//! [`Program::run`] does not allocate, for the container's sake; [`run_all`] listens to what a hook says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollFlags;

use crate::plan::hooks::Hook;
use crate::sys::process::{self, Child, Strings};
use crate::sys::{Call, Stop, attributes, decimal, fs, signal};

/// How much of a hook's output goes into the error when it fails, in bytes.
const LAST_WORDS: usize = 4096;

/// A hook with its arguments and environment as execve(2) takes them.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    hook: &'a Hook,
    args: Strings<'a>,
    env: Strings<'a>,
}

/// The container's state as JSON, but for the pid, which a process of the container alone knows.
#[derive(Debug, Default, Clone)]
pub(crate) struct StateText {
    /// Everything before the pid.
    pub(crate) before_pid: Vec<u8>,
    /// Everything after it.
    pub(crate) after_pid: Vec<u8>,
}

impl StateText {
    /// The state with this pid in it, as a file to read. Does not allocate.
    fn open(&self, pid: i32) -> Result<OwnedFd, Stop> {
        let mut digits = [0_u8; 10];
        let number = decimal(pid.unsigned_abs(), &mut digits);
        fs::memory_file(&[&self.before_pid, number, &self.after_pid])
    }
}

impl<'a> Program<'a> {
    /// Makes `hook` ready. Allocates.
    #[must_use]
    pub(crate) fn new(hook: &'a Hook) -> Program<'a> {
        Program {
            hook,
            args: Strings::new(hook.args.iter().map(|s| s.as_c_str())),
            env: Strings::new(hook.env.iter().map(|s| s.as_c_str())),
        }
    }

    /// Runs the hook in `directory` and waits for it. It reads the state with the pid of this process, and
    /// what it prints is lost. Does not allocate.
    ///
    /// # Errors
    /// How it ended, if not with status 0 in time.
    pub(crate) fn run(&mut self, directory: BorrowedFd<'_>, state: &StateText) -> Result<(), Stop> {
        let stdin = state.open(process::pid())?;
        let null = fs::open(fs::CWD, c"/dev/null", libc::O_WRONLY, 0)?;
        let child = self.spawn(directory, stdin.as_fd(), null.as_fd())?;
        if !process::has_ended(child.pidfd.as_fd(), self.limit())? {
            return Err(kill(&child));
        }
        outcome(&child)
    }

    fn limit(&self) -> Duration {
        // A hook without a timeout may take its time: some days are as good as forever.
        Duration::from_secs(self.hook.timeout.map_or(1 << 20, u64::from))
    }

    fn spawn(
        &mut self,
        directory: BorrowedFd<'_>,
        stdin: BorrowedFd<'_>,
        out: BorrowedFd<'_>,
    ) -> Result<Child, Stop> {
        process::spawn(0, None, || match self.execute(directory, stdin, out) {
            stop if stop.errno == libc::ENOENT => 127,
            _ => 126,
        })
    }

    fn execute(&mut self, directory: BorrowedFd<'_>, stdin: BorrowedFd<'_>, out: BorrowedFd<'_>) -> Stop {
        let ready = || -> Result<(), Stop> {
            fs::change_directory(directory)?;
            process::install(stdin, 0)?;
            process::install(out, 1)?;
            process::install(out, 2)?;
            process::close_all_but(&[])?;
            attributes::set_dumpable(true)?;
            signal::reset_dispositions()?;
            signal::unblock_all()
        };
        match ready() {
            Ok(()) => process::exec(self.hook.path.as_c_str(), &self.args, &mut self.env, None),
            Err(stop) => stop,
        }
    }
}

fn kill(child: &Child) -> Stop {
    let killed = process::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
    match killed.and_then(|()| process::wait(child.pidfd.as_fd())) {
        Ok(_) => Stop { call: Call::TimedOut, errno: libc::ETIMEDOUT },
        Err(stop) => stop,
    }
}

fn outcome(child: &Child) -> Result<(), Stop> {
    match process::wait(child.pidfd.as_fd())? {
        process::Exit::Status(0) => Ok(()),
        other => Err(other.into()),
    }
}

/// A hook that failed: which, how, and the end of what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its index in the list.
    pub(crate) index: u16,
    /// How it ended.
    pub(crate) stop: Stop,
    /// The last of its output.
    pub(crate) output: String,
}

/// Runs hooks of the runtime's namespaces in turn, in `directory`, until one fails. Allocates.
///
/// # Errors
/// The hook that failed; those after it are not run.
pub(crate) fn run_all(
    hooks: &[Hook],
    directory: BorrowedFd<'_>,
    state: &StateText,
    pid: i32,
) -> Result<(), Failed> {
    for (hook, index) in hooks.iter().zip(0..) {
        let mut output = Vec::new();
        run_one(hook, directory, state, pid, &mut output).map_err(|stop| Failed {
            index,
            stop,
            output: String::from_utf8_lossy(&output).trim_end().to_owned(),
        })?;
    }
    Ok(())
}

fn run_one(
    hook: &Hook,
    directory: BorrowedFd<'_>,
    state: &StateText,
    pid: i32,
    output: &mut Vec<u8>,
) -> Result<(), Stop> {
    let stdin = state.open(pid)?;
    let (listen, out) = fs::pipe()?;
    let mut program = Program::new(hook);
    let child = program.spawn(directory, stdin.as_fd(), out.as_fd())?;
    drop(out);
    let deadline = Instant::now() + program.limit();
    // Its own end counts, not the end of its output: it may leave a daemon that holds the stream.
    while !process::either_ready(child.pidfd.as_fd(), listen.as_fd(), deadline)? {
        if Instant::now() >= deadline {
            return Err(kill(&child));
        }
        if !hear(listen.as_fd(), output)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if !process::has_ended(child.pidfd.as_fd(), left)? {
                return Err(kill(&child));
            }
        }
    }
    while process::ready(listen.as_fd(), PollFlags::POLLIN, Duration::ZERO)? && hear(listen.as_fd(), output)?
    {
    }
    outcome(&child)
}

/// Reads some output and keeps its end; false at the end of it.
fn hear(from: BorrowedFd<'_>, output: &mut Vec<u8>) -> Result<bool, Stop> {
    let mut buffer = [0; LAST_WORDS];
    let len = fs::read(from, &mut buffer)?;
    output.extend_from_slice(&buffer[..len]);
    let excess = output.len().saturating_sub(LAST_WORDS);
    output.drain(..excess);
    Ok(len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::KernelString;

    fn shell(script: &str, timeout: Option<u32>) -> Hook {
        let text = |text: &str| KernelString::new(text).unwrap();
        Hook { path: text("/bin/sh"), args: vec![text("sh"), text("-c"), text(script)], env: vec![], timeout }
    }

    fn run(script: &str, timeout: Option<u32>) -> Result<(), Failed> {
        let root = fs::open(fs::CWD, c"/", libc::O_PATH, 0).unwrap();
        let state = StateText { before_pid: b"{\"pid\":".to_vec(), after_pid: b"}".to_vec() };
        run_all(&[shell("true", None), shell(script, timeout)], root.as_fd(), &state, 42)
    }

    #[test]
    fn h07_a_hook_reads_the_state_and_has_an_empty_environment() {
        assert_eq!(run("read state; test \"$state\" = '{\"pid\":42}' && test -z \"$HOME\"", None), Ok(()));
    }

    #[test]
    fn a_failing_hook_is_named_with_its_last_words() {
        let failed = run("echo to stdout; echo to stderr >&2; exit 3", None).unwrap_err();
        assert_eq!(failed.index, 1);
        assert_eq!(failed.stop, Stop { call: Call::Exit, errno: 3 });
        assert_eq!(failed.output, "to stdout\nto stderr");
    }

    #[test]
    fn h12_a_hook_that_takes_too_long_is_killed() {
        assert_eq!(run("while :; do :; done", Some(1)).unwrap_err().stop.call, Call::TimedOut);
    }

    #[test]
    fn a_hook_that_floods_its_output_or_leaves_a_daemon_behind_does_not_hang() {
        let flood = run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1", None);
        assert!(flood.unwrap_err().output.ends_with("line 19999"));
        assert_eq!(run("sleep 60 & echo $! >&2; kill $!; exit 0", None), Ok(()));
    }
}
