//! `events`: a line of JSON for whatever happens to a container, until it ends.

use std::io;
use std::os::fd::AsFd;

use libcontainer::container::{Container, Events as Source};
use libcontainer::error::ErrorKind;
use libcontainer::state::Store;
use libcontainer::stats::Stats;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};
use serde::Serialize;

use crate::cli::Events;
use crate::outcome::Failure;

/// A line, as runc has it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// What a pipe that is ready takes without waiting. See pipe(7).
const PIECE: usize = 4096;

/// `events`
pub(crate) fn events(store: &Store, args: &Events) -> Result<i32, Failure> {
    let container = Container::open(store, &args.id)?;
    let mut printer = Printer::new(container.id())?;
    if args.stats {
        return printer.print("stats", Some(container.stats()?)).map(|_| 0);
    }
    let mut source = container.events()?;
    let timer = timer(args)?;
    loop {
        let ready = wait(&source, &printer, &timer)?;
        if ready.asked_to_end {
            return Ok(0);
        }
        // Before the end is: the memory may be what the container ended of.
        if (ready.memory || ready.ended) && source.is_out_of_memory() && !printer.print("oom", None)? {
            return Ok(0);
        }
        if ready.ended {
            return Ok(0);
        }
        if ready.tick {
            timer.wait().map_err(|error| failed("timer", error))?;
            match container.stats() {
                Ok(stats) => {
                    if !printer.print("stats", Some(stats))? {
                        return Ok(0);
                    }
                }
                // It has ended just now, and says so next.
                Err(error) if error.kind() == ErrorKind::State => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn failed(what: &str, error: nix::Error) -> Failure {
    Failure::new(format!("{what}: {error}"))
}

fn timer(args: &Events) -> Result<TimerFd, Failure> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC);
    let timer = timer.map_err(|error| failed("timerfd", error))?;
    let every = Expiration::Interval(TimeSpec::from_duration(args.interval));
    timer.set(every, TimerSetTimeFlags::empty()).map_err(|error| failed("timerfd", error))?;
    Ok(timer)
}

/// What there is to do.
struct Ready {
    ended: bool,
    memory: bool,
    tick: bool,
    /// By a signal, or because nobody reads any more.
    asked_to_end: bool,
}

fn wait(source: &Source, printer: &Printer<'_>, timer: &TimerFd) -> Result<Ready, Failure> {
    let stdout = io::stdout();
    let mut fds = vec![
        PollFd::new(source.init(), PollFlags::POLLIN),
        PollFd::new(printer.signals.as_fd(), PollFlags::POLLIN),
        // That its reader has gone is told unasked.
        PollFd::new(stdout.as_fd(), PollFlags::empty()),
        PollFd::new(timer.as_fd(), PollFlags::POLLIN),
    ];
    fds.extend(source.memory());
    wait_for(&mut fds)?;
    let is_ready = |i: usize| fds.get(i).is_some_and(|fd| fd.any() == Some(true));
    Ok(Ready {
        ended: is_ready(0),
        asked_to_end: is_ready(1) || is_ready(2),
        tick: is_ready(3),
        memory: is_ready(4),
    })
}

fn wait_for(fds: &mut [PollFd<'_>]) -> Result<(), Failure> {
    loop {
        match poll(fds, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => {}
            other => return other.map(drop).map_err(|error| failed("poll", error)),
        }
    }
}

/// Prints lines, and can be ended while a reader is slow.
struct Printer<'a> {
    id: &'a str,
    signals: SignalFd,
}

impl Printer<'_> {
    fn new(id: &str) -> Result<Printer<'_>, Failure> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).map_err(|e| failed("block signals", e))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC);
        Ok(Printer { id, signals: signals.map_err(|error| failed("signalfd", error))? })
    }

    /// Prints a line; false if nobody reads, or a signal says that it is enough.
    fn print(&mut self, kind: &'static str, data: Option<Stats>) -> Result<bool, Failure> {
        let event = Event { kind, id: self.id, data };
        let mut line = serde_json::to_vec(&event).map_err(|error| Failure::new(error.to_string()))?;
        line.push(b'\n');
        let stdout = io::stdout();
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            let mut fds = [
                PollFd::new(stdout.as_fd(), PollFlags::POLLOUT),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            wait_for(&mut fds)?;
            if fds[1].any() == Some(true) {
                return Ok(false);
            }
            match nix::unistd::write(&stdout, &rest[..rest.len().min(PIECE)]) {
                Ok(written) => rest = &rest[written..],
                Err(nix::Error::EPIPE) => return Ok(false),
                Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
                Err(error) => return Err(failed("write to stdout", error)),
            }
        }
        Ok(true)
    }
}
