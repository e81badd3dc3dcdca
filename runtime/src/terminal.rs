//! What stands between a program's terminal and the caller's standard streams.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libcontainer::sys::terminal;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

/// How much is read at once.
const CHUNK: usize = 8192;

/// How much is written to the caller at once: a pipe that has room has room for this.
const PART: usize = 4096;

/// The end of input, as one types it.
const END: u8 = 4;

/// Passes bytes both ways. Of each way no more is taken than the other end has room for, so nothing is lost and nothing
/// waits but what has to.
pub(crate) struct Proxy {
    /// `None` when no process has the terminal open any more.
    master: Option<OwnedFd>,
    to_program: Vec<u8>,
    to_caller: Vec<u8>,
    input_open: bool,
    /// The last byte that came in: the end of input means one only at the start of a line.
    last_input: u8,
    raw: Option<Raw>,
}

impl Proxy {
    /// Between the terminal of this master and the standard streams. The caller's terminal, if it is one, is raw until
    /// this is dropped.
    pub(crate) fn new(master: OwnedFd) -> io::Result<Proxy> {
        let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL)?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let proxy = Proxy {
            master: Some(master),
            to_program: Vec::new(),
            to_caller: Vec::new(),
            input_open: true,
            last_input: b'\n',
            raw: Raw::enter(),
        };
        proxy.resize();
        Ok(proxy)
    }

    /// Gives the program's terminal the size of the caller's, if that has one.
    pub(crate) fn resize(&self) {
        if let (Some(master), Ok((rows, columns))) = (&self.master, terminal::size(io::stdin().as_fd())) {
            // A terminal that does not take a size keeps the one it has.
            let _same = terminal::set_size(master.as_fd(), rows, columns);
        }
    }

    /// The caller goes on after a stop: its shell may have changed its terminal.
    pub(crate) fn come_back(&mut self) {
        // What the terminal was before counts, not what it is now.
        if let Some(raw) = &self.raw {
            raw.apply();
        }
        self.resize();
    }

    /// Where output of the program can be read, if there is room for it.
    pub(crate) fn awaited_output(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().filter(|_| self.to_caller.is_empty()).map(AsFd::as_fd)
    }

    /// The terminal's master, if there is something for the program.
    pub(crate) fn awaited_room(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().filter(|_| !self.to_program.is_empty()).map(AsFd::as_fd)
    }

    /// There may be more input, and there is room for it.
    pub(crate) fn takes_input(&self) -> bool {
        self.input_open && self.to_program.is_empty() && self.master.is_some()
    }

    /// There is output that the caller has not taken yet.
    pub(crate) fn has_output(&self) -> bool {
        !self.to_caller.is_empty()
    }

    /// Reads what the program prints.
    pub(crate) fn take_output(&mut self) {
        let mut chunk = [0; CHUNK];
        let Some(master) = &self.master else { return };
        match read(master, &mut chunk) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // EIO: every process has closed the terminal.
            Ok(0) | Err(_) => self.master = None,
            Ok(length) => self.to_caller.extend_from_slice(&chunk[..length]),
        }
    }

    /// Gives the caller a part of what the program has printed.
    pub(crate) fn pass_output(&mut self) {
        match write(io::stdout(), &self.to_caller[..self.to_caller.len().min(PART)]) {
            Ok(length) => drop(self.to_caller.drain(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Output that nobody takes is lost, as it would be without us.
            Err(_) => self.to_caller.clear(),
        }
    }

    /// Reads what the caller types.
    pub(crate) fn take_input(&mut self) {
        let mut chunk = [0; CHUNK];
        match read(io::stdin(), &mut chunk) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(length) if length > 0 => {
                self.last_input = chunk[length - 1];
                self.to_program.extend_from_slice(&chunk[..length]);
            }
            // It hung up, or is another's at the moment.
            Ok(_) | Err(_) => {
                self.input_open = false;
                // Behind a part of a line the first one ends that part only.
                let count = if self.last_input == b'\n' { 1 } else { 2 };
                self.to_program.extend_from_slice(&[END; 2][..count]);
            }
        }
    }

    /// Gives the program a part of what the caller has typed.
    pub(crate) fn pass_input(&mut self) {
        let Some(master) = &self.master else { return };
        match write(master, &self.to_program) {
            Ok(length) => drop(self.to_program.drain(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.to_program.clear(),
        }
    }
}

/// The caller's terminal without echo and line editing, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Option<Raw> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let raw = Raw { before: tcgetattr(io::stdin()).ok()? };
        raw.apply();
        Some(raw)
    }

    fn apply(&self) {
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        // The terminal may be gone; then there is nothing to be read either.
        let _hung_up = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // As above.
        let _hung_up = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
