//! A call of `events` that goes on, and its lines as they come.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spec_conformance::wait::Pidfd;
use spec_conformance::{Exit, Runtime};

use crate::shape::{self, Event};

/// Slow machines are waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// `events`, running.
pub(crate) struct Watching {
    child: Child,
    out: BufReader<PipeReader>,
}

impl Watching {
    pub(crate) fn new(runtime: &Runtime, args: &[&str]) -> Watching {
        let (out, writer) = std::io::pipe().unwrap();
        Watching::into(runtime, args, out, writer)
    }

    /// With its lines going into this pipe.
    pub(crate) fn into(runtime: &Runtime, args: &[&str], out: PipeReader, writer: PipeWriter) -> Watching {
        let mut command = runtime.command(["events"]);
        command.args(args).stdout(writer).stderr(Stdio::piped());
        Watching { child: command.spawn().unwrap(), out: BufReader::new(out) }
    }

    /// The next line, read strictly; none at the end.
    pub(crate) fn next(&mut self) -> Option<Event> {
        if self.out.buffer().is_empty() {
            let mut fds = [PollFd::new(self.out.get_ref().as_fd(), PollFlags::POLLIN)];
            let count = poll(&mut fds, PollTimeout::try_from(WITHIN).unwrap()).unwrap();
            assert!(count > 0, "events prints nothing");
        }
        let mut line = String::new();
        let length = self.out.read_line(&mut line).unwrap();
        (length > 0).then(|| shape::read(line.strip_suffix('\n').unwrap()))
    }

    /// The next line of this type, with those before it left out.
    pub(crate) fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("events ends without {kind}"));
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Waits until signals are taken care of.
    pub(crate) fn is_ready(&self) {
        let deadline = Instant::now() + WITHIN;
        let status = format!("/proc/{}/status", self.child.id());
        loop {
            let text = std::fs::read_to_string(&status).unwrap();
            let blocked = text.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
            if u64::from_str_radix(blocked, 16).unwrap() & (1 << (Signal::SIGTERM as u64 - 1)) != 0 {
                return;
            }
            assert!(Instant::now() < deadline, "events never gets ready");
            std::thread::yield_now();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Nobody reads any more. What it says of that.
    pub(crate) fn stop_reading(self) -> (Exit, String) {
        let Watching { child, out } = self;
        drop(out);
        end_of(child)
    }

    /// How it ends, by itself, and what it has said on standard error.
    pub(crate) fn end(self) -> (Exit, String) {
        end_of(self.child)
    }
}

fn end_of(mut child: Child) -> (Exit, String) {
    let process = Pidfd::open(child.id().cast_signed()).unwrap();
    let ended = process.wait(spec_conformance::wait::Deadline::after(WITHIN)).unwrap();
    if !ended {
        child.kill().unwrap();
    }
    let exit = child.wait().unwrap().into();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(ended, "events does not end; {said}");
    (exit, said)
}
