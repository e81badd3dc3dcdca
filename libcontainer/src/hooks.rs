//! Runs hooks: in the runtime's process those of its namespaces, in the container's process those of its own.
//!
//! One way to run them for both: it does not allocate, for the container's sake, and keeps the end of what a hook
//! prints in room that was made before.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollFlags;

use crate::path::KernelString;
use crate::plan::hooks::{Hook, OutputFiles};
use crate::sys::process::{self, Child, Strings};
use crate::sys::{Call, Stop, attributes, decimal, fs, signal};

/// How much of a hook's output goes into the error when it fails, in bytes.
const LAST_WORDS: usize = 4096;

/// The end of what a program printed, or what else there is to say of a step that failed.
#[derive(Debug, Clone)]
pub(crate) struct LastWords {
    bytes: [u8; LAST_WORDS],
    len: usize,
}

impl Default for LastWords {
    fn default() -> LastWords {
        LastWords { bytes: [0; LAST_WORDS], len: 0 }
    }
}

impl LastWords {
    /// The bytes that are kept.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds to the end; what does not fit any more goes at the front.
    pub(crate) fn add(&mut self, more: &[u8]) {
        let more = &more[more.len().saturating_sub(LAST_WORDS)..];
        let excess = (self.len + more.len()).saturating_sub(LAST_WORDS);
        self.bytes.copy_within(excess..self.len, 0);
        self.len -= excess;
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    /// As text for a message. Allocates.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        readable(self.as_bytes())
    }
}

/// Bytes as text for a message: they may be an image's, so nothing in them may steer a terminal. Allocates.
#[must_use]
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).trim_end().chars() {
        match c {
            '\n' | '\t' => text.push(c),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// Where hooks print, if not to us: files that annotations of the config name.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Streams {
    /// Opens the files at their ends, and makes those that are missing.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn open(files: &OutputFiles) -> Result<Streams, Stop> {
        let open = |path: &KernelString| {
            // A fifo that nobody reads is refused rather than waited for.
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NOCTTY | libc::O_NONBLOCK;
            let file = fs::open(fs::CWD, path.as_c_str(), flags, 0o600)?;
            fs::set_status(file.as_fd(), libc::O_APPEND).map(|()| file)
        };
        let stdout = files.stdout.as_ref().map(open).transpose()?;
        Ok(Streams { stdout, stderr: files.stderr.as_ref().map(open).transpose()? })
    }

    /// The same files once more, for the other process.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(crate) fn again(&self) -> Result<Streams, Stop> {
        let copy =
            |file: &OwnedFd| file.try_clone().map_err(|_| Stop { call: Call::Dup, errno: libc::EMFILE });
        let stdout = self.stdout.as_ref().map(copy).transpose()?;
        Ok(Streams { stdout, stderr: self.stderr.as_ref().map(copy).transpose()? })
    }

    /// The descriptors that are open.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.stdout.iter().chain(&self.stderr).map(AsRawFd::as_raw_fd)
    }
}

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
    /// The state with this pid in it, as a file to read: a hook that does not read it harms nobody. Does not
    /// allocate.
    fn open(&self, pid: i32) -> Result<OwnedFd, Stop> {
        let mut digits = [0_u8; 10];
        let number = decimal(pid.unsigned_abs(), &mut digits);
        fs::memory_file(&[&self.before_pid, number, &self.after_pid])
    }
}

/// What the hooks of one moment have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// Where they run.
    pub(crate) directory: BorrowedFd<'a>,
    /// What they read.
    pub(crate) state: &'a StateText,
    /// The pid of the container's process, as they see it.
    pub(crate) pid: i32,
    /// Where they print.
    pub(crate) streams: &'a Streams,
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

    /// Runs the hook and waits for it. Does not allocate.
    ///
    /// # Errors
    /// How it ended, if not with status 0 in time; `output` has the end of what it printed.
    pub(crate) fn run(&mut self, stage: Stage<'_>, output: &mut LastWords) -> Result<(), Stop> {
        output.clear();
        let stdin = stage.state.open(stage.pid)?;
        let (listen, out) = fs::pipe()?;
        let child = self.spawn(stage, stdin.as_fd(), out.as_fd())?;
        drop(out);
        let deadline = Instant::now() + self.limit();
        // Its own end counts, not the end of its output: it may leave a daemon that holds the stream.
        while !process::either_ready(child.pidfd.as_fd(), listen.as_fd(), deadline)? {
            if Instant::now() >= deadline {
                return Err(self.kill(&child));
            }
            if !hear(listen.as_fd(), output)? {
                let left = deadline.saturating_duration_since(Instant::now());
                if !process::has_ended(child.pidfd.as_fd(), left)? {
                    return Err(self.kill(&child));
                }
            }
        }
        // A daemon may print faster than anybody reads: what a pipe holds is enough.
        for _ in 0..PIPE / LAST_WORDS {
            if !process::ready(listen.as_fd(), PollFlags::POLLIN, Duration::ZERO)?
                || !hear(listen.as_fd(), output)?
            {
                break;
            }
        }
        outcome(&child)
    }

    fn limit(&self) -> Duration {
        // A hook without a timeout may take its time: some days are as good as forever.
        Duration::from_secs(self.hook.timeout.map_or(1 << 20, u64::from))
    }

    fn spawn(&mut self, stage: Stage<'_>, stdin: BorrowedFd<'_>, out: BorrowedFd<'_>) -> Result<Child, Stop> {
        process::spawn(0, None, || {
            if take_streams(stage.streams, stdin, out).is_err() {
                return 126;
            }
            let stop = self.execute(stage.directory);
            // Where its errors go is what we listen to, unless the config wants them elsewhere.
            for part in [stop.call.name(), ": ", stop.errno().desc(), "\n"] {
                let _told = fs::write(process::standard_streams()[2], part.as_bytes());
            }
            if stop.errno == libc::ENOENT { 127 } else { 126 }
        })
    }

    fn execute(&mut self, directory: BorrowedFd<'_>) -> Stop {
        let ready = || -> Result<(), Stop> {
            // So that its children die with it when it takes too long.
            process::lead_group()?;
            fs::change_directory(directory)?;
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

    /// Kills a hook that takes too long, and what it has started. Whoever left its process group has a life of
    /// its own, as a daemon does.
    fn kill(&self, child: &Child) -> Stop {
        // The number is still the hook's: it has not been reaped. It may have no group yet, or be another user's.
        let _nobody = process::kill_group(child.pid, libc::SIGKILL);
        let killed = process::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        match killed.and_then(|()| process::wait(child.pidfd.as_fd())) {
            Ok(_) => {
                let seconds = self.hook.timeout.unwrap_or(u32::MAX);
                Stop { call: Call::TimedOut, errno: i32::try_from(seconds).unwrap_or(i32::MAX) }
            }
            Err(stop) => stop,
        }
    }
}

fn take_streams(streams: &Streams, stdin: BorrowedFd<'_>, out: BorrowedFd<'_>) -> Result<(), Stop> {
    process::install(stdin, 0)?;
    process::install(streams.stdout.as_ref().map_or(out, AsFd::as_fd), 1)?;
    process::install(streams.stderr.as_ref().map_or(out, AsFd::as_fd), 2)
}

/// What a pipe holds, in bytes (pipe(7)).
const PIPE: usize = 1 << 16;

fn outcome(child: &Child) -> Result<(), Stop> {
    match process::wait(child.pidfd.as_fd())? {
        process::Exit::Status(0) => Ok(()),
        other => Err(other.into()),
    }
}

/// Reads some output and keeps its end; false at the end of it.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
fn hear(from: BorrowedFd<'_>, output: &mut LastWords) -> Result<bool, Stop> {
    let mut buffer = [0; LAST_WORDS];
    let len = fs::read(from, &mut buffer)?;
    output.add(&buffer[..len]);
    Ok(len > 0)
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

/// Runs hooks of the runtime's namespaces in turn, until one fails. Allocates.
///
/// # Errors
/// The hook that failed; those after it are not run.
pub(crate) fn run_all(hooks: &[Hook], stage: Stage<'_>) -> Result<(), Failed> {
    let mut output = LastWords::default();
    for (hook, index) in hooks.iter().zip(0..) {
        let run = Program::new(hook).run(stage, &mut output);
        run.map_err(|stop| Failed { index, stop, output: output.text() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u32>) -> Hook {
        let text = |text: &str| KernelString::new(text).unwrap();
        Hook { path: text("/bin/sh"), args: vec![text("sh"), text("-c"), text(script)], env: vec![], timeout }
    }

    fn run_hook(hook: Hook, files: &OutputFiles) -> Result<(), Failed> {
        let root = fs::open(fs::CWD, c"/", libc::O_PATH, 0).unwrap();
        let state = StateText { before_pid: b"{\"pid\":".to_vec(), after_pid: b"}".to_vec() };
        let streams = Streams::open(files).unwrap();
        let stage = Stage { directory: root.as_fd(), state: &state, pid: 42, streams: &streams };
        run_all(&[shell("true", None), hook], stage)
    }

    fn run(script: &str, timeout: Option<u32>) -> Result<(), Failed> {
        run_hook(shell(script, timeout), &OutputFiles::default())
    }

    #[test]
    fn h07_h11_a_hook_reads_the_state_and_has_an_empty_environment() {
        assert_eq!(run("read state; test \"$state\" = '{\"pid\":42}' && test -z \"$HOME\"", None), Ok(()));
    }

    #[test]
    fn h14_a_failing_hook_is_named_with_its_last_words() {
        let failed = run("echo to stdout; echo to stderr >&2; exit 3", None).unwrap_err();
        assert_eq!(failed.index, 1);
        assert_eq!(failed.stop, Stop { call: Call::Exit, errno: 3 });
        assert_eq!(failed.output, "to stdout\nto stderr");
    }

    #[test]
    fn h14_a_hook_that_cannot_be_executed_says_why() {
        let absent = Hook { path: KernelString::path("/absent").unwrap(), ..shell("", None) };
        let failed = run_hook(absent, &OutputFiles::default()).unwrap_err();
        assert_eq!(failed.stop, Stop { call: Call::Exit, errno: 127 });
        assert_eq!(failed.output, "execve: No such file or directory");
    }

    #[test]
    fn h12_a_hook_that_takes_too_long_is_killed_with_its_children() {
        let mut pid = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 1000 & echo $! > {}; echo late; wait", pid.path().display());
        let hook =
            Hook { env: vec![KernelString::new("PATH=/bin:/usr/bin").unwrap()], ..shell(&script, Some(1)) };
        let failed = run_hook(hook, &OutputFiles::default()).unwrap_err();
        assert_eq!((failed.stop, failed.output.as_str()), (Stop { call: Call::TimedOut, errno: 1 }, "late"));
        assert_eq!(failed.stop.to_string(), "timed out after 1 s and was killed");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut pid, &mut text).unwrap();
        if let Ok(child) = process::pidfd_open(text.trim().parse().unwrap()) {
            assert_eq!(process::has_ended(child.as_fd(), Duration::from_secs(10)), Ok(true));
        }
    }

    #[test]
    fn h14_a_hook_that_floods_its_output_or_leaves_a_daemon_behind_does_not_hang() {
        let flood = run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1", None);
        assert!(flood.unwrap_err().output.ends_with("line 19999"));
        assert_eq!(run("sleep 60 & echo $! >&2; kill $!; exit 0", None), Ok(()));
    }

    #[test]
    fn h17_output_goes_to_the_end_of_the_files_that_are_named() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| place.path().join(name);
        std::fs::write(file("out"), "before\n").unwrap();
        let path = |name: &str| KernelString::path(file(name).to_str().unwrap()).ok();
        let files = OutputFiles { stdout: path("out"), stderr: path("err") };
        let failed = run_hook(shell("echo out; echo err >&2; exit 1", None), &files).unwrap_err();
        assert_eq!(failed.output, "");
        assert_eq!(std::fs::read_to_string(file("out")).unwrap(), "before\nout\n");
        assert_eq!(std::fs::read_to_string(file("err")).unwrap(), "err\n");
        let half = OutputFiles { stdout: path("out"), stderr: None };
        let failed = run_hook(shell("echo out; echo err >&2; exit 1", None), &half).unwrap_err();
        assert_eq!(failed.output, "err");
    }

    #[test]
    fn h17_a_fifo_that_nobody_reads_is_refused_and_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let files = OutputFiles { stdout: KernelString::path(fifo.to_str().unwrap()).ok(), stderr: None };
        assert_eq!(Streams::open(&files).unwrap_err(), Stop { call: Call::Open, errno: libc::ENXIO });
    }

    #[test]
    fn last_words_keep_the_end_and_steer_no_terminal() {
        let mut words = LastWords::default();
        words.add(b"\x1b[31mred\r\tone\n");
        assert_eq!(words.text(), "\\u{1b}[31mred\\r\tone");
        words.add(&[b'x'; LAST_WORDS - 1]);
        words.add(b"yz");
        assert_eq!(words.as_bytes().len(), LAST_WORDS);
        assert!(words.text().ends_with("xyz"));
        words.add(&[b'a'; 2 * LAST_WORDS]);
        assert_eq!(words.as_bytes(), [b'a'; LAST_WORDS]);
    }
}
