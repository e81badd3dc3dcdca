//! Stays with a program until it ends: signals and the terminal go through, and its exit status is ours.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libcontainer::container::Running;
use libcontainer::sys::{socket, terminal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::outcome::Failure;

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
    pub(crate) fn attend(self, program: Running) -> Result<i32, Failure> {
        let proxy = match self.console {
            Some((ours, theirs)) => {
                drop(theirs);
                let master = socket::receive_descriptor(ours.as_fd());
                let master = master.map_err(|stop| Failure::new(format!("console: {stop}")))?;
                Some(Proxy::new(master.ok_or_else(|| Failure::new("the program came without its terminal"))?))
            }
            None => None,
        };
        let mut attendance = Attendance { signals: self.signals, proxy };
        attendance.stay(&program).map_err(|error| Failure::new(format!("wait for the program: {error}")))?;
        if let Some(proxy) = &mut attendance.proxy {
            proxy.drain();
        }
        let exit = program.wait().map_err(|stop| Failure::new(format!("wait for the program: {stop}")))?;
        Ok(exit.code())
    }
}

struct Attendance {
    signals: SignalFd,
    proxy: Option<Proxy>,
}

impl Attendance {
    fn stay(&mut self, program: &Running) -> io::Result<()> {
        loop {
            let (ended, signalled, input, output, room) = self.wait(program.pidfd())?;
            if signalled {
                self.pass_signals(program)?;
            }
            if let Some(proxy) = &mut self.proxy {
                if output {
                    proxy.pass_output();
                }
                if input {
                    proxy.take_input();
                }
                if room {
                    proxy.pass_input();
                }
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Waits for something to do: the end, a signal, input, output, room for more input.
    fn wait(&self, pidfd: BorrowedFd<'_>) -> io::Result<(bool, bool, bool, bool, bool)> {
        let stdin = io::stdin();
        let mut fds =
            vec![PollFd::new(pidfd, PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let (mut takes_input, mut has_master) = (false, false);
        if let Some(proxy) = &self.proxy {
            if let Some(master) = &proxy.master {
                let mut events = PollFlags::POLLIN;
                if !proxy.pending.is_empty() {
                    events |= PollFlags::POLLOUT;
                }
                fds.push(PollFd::new(master.as_fd(), events));
                has_master = true;
            }
            // No more is read than the program takes.
            takes_input = proxy.input_open && proxy.pending.is_empty();
        }
        if takes_input {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => return Ok((false, false, false, false, false)),
            other => other?,
        };
        let got = |i: usize, flags: PollFlags| {
            fds.get(i).and_then(PollFd::revents).is_some_and(|r| r.intersects(flags))
        };
        let any = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        let input = takes_input && got(if has_master { 3 } else { 2 }, any);
        let (output, room) = (has_master && got(2, any), has_master && got(2, PollFlags::POLLOUT));
        Ok((got(0, PollFlags::POLLIN), got(1, PollFlags::POLLIN), input, output, room))
    }

    fn pass_signals(&self, program: &Running) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::from(u16::try_from(info.ssi_signo).unwrap_or_default());
            if signal == Signal::SIGWINCH as i32
                && let Some(proxy) = &self.proxy
            {
                proxy.resize();
            } else if signal != Signal::SIGCHLD as i32 && signal != Signal::SIGPIPE as i32 {
                // The program may have ended a moment ago; the next round sees that.
                let _ended = program.signal(signal);
            }
        }
        Ok(())
    }
}

/// What stands between the program's terminal and ours.
struct Proxy {
    master: Option<OwnedFd>,
    pending: Vec<u8>,
    input_open: bool,
    _raw: Option<Raw>,
}

impl Proxy {
    fn new(master: OwnedFd) -> Proxy {
        let raw = Raw::enter();
        let proxy = Proxy { master: Some(master), pending: Vec::new(), input_open: true, _raw: raw };
        proxy.resize();
        proxy
    }

    /// Gives the program's terminal the size of ours, if ours has one.
    fn resize(&self) {
        if let (Some(master), Ok((rows, columns))) = (&self.master, terminal::size(io::stdin().as_fd())) {
            // A terminal that does not take a size keeps the one it has.
            let _same = terminal::set_size(master.as_fd(), rows, columns);
        }
    }

    fn pass_output(&mut self) {
        let mut buffer = [0; 8192];
        let Some(master) = &self.master else { return };
        match nix::unistd::read(master, &mut buffer) {
            // EIO: every process has closed the terminal.
            Ok(0) | Err(nix::Error::EIO) => self.master = None,
            Ok(len) => {
                // Output that nobody takes is lost, as it would be without us.
                let _closed = io::stdout().write_all(&buffer[..len]).and_then(|()| io::stdout().flush());
            }
            Err(_) => {}
        }
    }

    /// Passes on what the program printed last.
    fn drain(&mut self) {
        while let Some(master) = &self.master {
            let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(count) if count > 0 => self.pass_output(),
                _ => return,
            }
        }
    }

    fn take_input(&mut self) {
        let mut buffer = [0; 4096];
        match io::stdin().lock().read(&mut buffer) {
            Ok(0) => {
                self.input_open = false;
                // The end of input, as a terminal says it.
                self.pending.push(4);
            }
            Ok(len) => self.pending.extend_from_slice(&buffer[..len]),
            Err(_) => self.input_open = false,
        }
    }

    fn pass_input(&mut self) {
        let Some(master) = &self.master else { return };
        // A part, so that a full terminal does not hold us up.
        let part = &self.pending[..self.pending.len().min(256)];
        if let Ok(len) = nix::unistd::write(master, part) {
            self.pending.drain(..len);
        }
    }
}

/// Our terminal without echo and line editing, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Option<Raw> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _hung_up = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
