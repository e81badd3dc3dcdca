//! Stays with a program until it ends: signals, the terminal and notifications go through, and its exit status is ours.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use libcontainer::container::Running;
use libcontainer::sys::socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::notify::Relay;
use crate::outcome::Failure;
use crate::terminal::Proxy;

/// The runtime, ready to stay: from here on signals wait to be passed on.
#[derive(Debug)]
pub(crate) struct Foreground {
    signals: SignalFd,
    console: Option<(OwnedFd, OwnedFd)>,
}

impl Foreground {
    /// Blocks signals before the program exists, so that none of them, and no quick end, is missed. With
    /// `terminal` the program gets one, and this process stands between it and its own.
    pub(crate) fn enter(terminal: bool, no_subreaper: bool) -> Result<Foreground, Failure> {
        let failed = |what: &str, error: nix::Error| Failure::new(format!("{what}: {error}"));
        let mut all = SigSet::all();
        // Faults of our own must not wait.
        for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT] {
            all.remove(fault);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).map_err(|e| failed("block signals", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&all, flags).map_err(|e| failed("signalfd", e))?;
        if !no_subreaper {
            // What the container's first process leaves behind without a pid namespace comes to us.
            nix::sys::prctl::set_child_subreaper(true).map_err(|e| failed("become subreaper", e))?;
        }
        let console = terminal.then(socket::pair).transpose();
        let console = console.map_err(|stop| Failure::new(format!("console: {stop}")))?;
        Ok(Foreground { signals, console })
    }

    /// The socket to which the program's terminal is sent, if it gets one from us.
    pub(crate) fn console(&mut self) -> Option<Result<OwnedFd, Failure>> {
        let (_, theirs) = self.console.as_ref()?;
        Some(theirs.try_clone().map_err(|error| Failure::new(format!("console: {error}"))))
    }

    /// Stays until the program has ended; its exit status, or 128 + n for signal n.
    pub(crate) fn attend(self, program: Running, relay: Option<Relay>) -> Result<i32, Failure> {
        let proxy = match self.console {
            Some((ours, theirs)) => {
                drop(theirs);
                let master = socket::receive_descriptor(ours.as_fd());
                let master = master.map_err(|stop| Failure::new(format!("console: {stop}")))?;
                let master = master.ok_or_else(|| Failure::new("the program came without its terminal"))?;
                Some(Proxy::new(master).map_err(|error| Failure::io("console", &error))?)
            }
            None => None,
        };
        let mut attendance = Attendance { signals: self.signals, proxy, relay, ended: false };
        attendance.stay(&program).map_err(|error| Failure::io("wait for the program", &error))?;
        let exit = program.wait().map_err(|stop| Failure::new(format!("wait for the program: {stop}")))?;
        Ok(exit.code())
    }
}

/// What there is to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The program has ended.
    End,
    /// A signal has come.
    Signal,
    /// The program says how it is.
    Notification,
    /// The program has printed something.
    Output,
    /// The program takes input.
    Room,
    /// The caller has typed something.
    Input,
    /// The caller takes output.
    CallerRoom,
}

struct Attendance {
    signals: SignalFd,
    proxy: Option<Proxy>,
    relay: Option<Relay>,
    ended: bool,
}

impl Attendance {
    /// Until the program has ended and what it printed last is passed on.
    fn stay(&mut self, program: &Running) -> io::Result<()> {
        loop {
            let events = self.wait(program)?;
            if self.ended && events.is_empty() {
                return Ok(());
            }
            for event in events {
                match (event, &mut self.proxy) {
                    (Event::End, _) => self.ended = true,
                    (Event::Signal, _) => {
                        if self.pass_signals(program)? == Wish::Leave {
                            return Ok(());
                        }
                    }
                    (Event::Notification, _) => {
                        if let Some(relay) = &self.relay {
                            relay.pass();
                        }
                    }
                    (Event::Output, Some(proxy)) => proxy.take_output(),
                    (Event::Room, Some(proxy)) => proxy.pass_input(),
                    (Event::Input, Some(proxy)) => proxy.take_input(),
                    (Event::CallerRoom, Some(proxy)) => proxy.pass_output(),
                    (_, None) => {}
                }
            }
        }
    }

    /// What has happened; when the program has ended, what is left to be done, which may be nothing.
    fn wait(&self, program: &Running) -> io::Result<Vec<Event>> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut watched = Vec::new();
        if !self.ended {
            // Before signals: one that comes after the end is for us.
            watched.push((Event::End, program.pidfd(), PollFlags::POLLIN));
        }
        watched.push((Event::Signal, self.signals.as_fd(), PollFlags::POLLIN));
        // What the program says last comes before its end.
        watched
            .extend(self.relay.as_ref().map(|relay| (Event::Notification, relay.as_fd(), PollFlags::POLLIN)));
        let mut owes_output = false;
        if let Some(proxy) = &self.proxy {
            watched.extend(proxy.awaited_output().map(|fd| (Event::Output, fd, PollFlags::POLLIN)));
            owes_output = proxy.has_output();
            if owes_output {
                watched.push((Event::CallerRoom, stdout.as_fd(), PollFlags::POLLOUT));
            }
            if !self.ended {
                watched.extend(proxy.awaited_room().map(|fd| (Event::Room, fd, PollFlags::POLLOUT)));
                if proxy.takes_input() {
                    watched.push((Event::Input, stdin.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let patience = if self.ended && !owes_output { PollTimeout::ZERO } else { PollTimeout::NONE };
        loop {
            match poll(&mut fds, patience) {
                Err(nix::Error::EINTR) => {}
                other => break other.map(drop)?,
            }
        }
        let happened = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
        let happened = watched.iter().zip(&fds).filter(|(_, fd)| happened(fd));
        Ok(happened.map(|((event, ..), _)| *event).collect())
    }

    fn pass_signals(&mut self, program: &Running) -> io::Result<Wish> {
        const CHILD: i32 = Signal::SIGCHLD as i32;
        const PIPE: i32 = Signal::SIGPIPE as i32;
        const RESIZED: i32 = Signal::SIGWINCH as i32;
        const CONTINUED: i32 = Signal::SIGCONT as i32;
        while let Some(info) = self.signals.read_signal()? {
            match (i32::from(u16::try_from(info.ssi_signo).unwrap_or_default()), &mut self.proxy) {
                (CHILD | PIPE, _) => {}
                (RESIZED, Some(proxy)) => proxy.resize(),
                (RESIZED | CONTINUED, _) if self.ended => {}
                // Nobody is there to get it, and somebody may wait for us who does not read what is left.
                _ if self.ended => return Ok(Wish::Leave),
                (signal, proxy) => {
                    if let (CONTINUED, Some(proxy)) = (signal, proxy) {
                        proxy.come_back();
                    }
                    // The program may have ended a moment ago; the next round sees that.
                    let _ended = program.signal(signal);
                }
            }
        }
        Ok(Wish::Stay)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Stay,
    Leave,
}
