//! One call of a runtime: its output while it runs, and what it left when it ended.

use std::fmt;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::Error;
use crate::report::Report;
use crate::wait::{self, Deadline, Pidfd};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended with status 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Exit {
        match status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.signal().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(out, "status {code}"),
            Exit::Signal(signal) => write!(out, "signal {signal}"),
        }
    }
}

/// A call of a runtime that ended by itself, well or not.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line.
    pub call: String,
    /// How it ended.
    pub exit: Exit,
    /// Standard output, made valid UTF-8; for `run` and `exec` it is the container's too.
    pub stdout: String,
    /// Standard error, made valid UTF-8.
    pub stderr: String,
    /// From spawn to exit.
    pub took: Duration,
}

impl Finished {
    /// Demands status 0.
    pub fn success(self) -> Result<Finished, Error> {
        if self.exit.success() {
            return Ok(self);
        }
        Err(Error::Refused { call: self.call, exit: self.exit, stderr: self.stderr })
    }

    /// Reads standard output as the probe's report.
    pub fn report(&self) -> Result<Report, Error> {
        Ok(Report::parse(&self.stdout)?)
    }
}

/// Why [`Streams::pump`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// The caller's condition holds.
    Done,
    /// The process ended; all that it had written is read.
    Exited,
    /// Nobody can write any more.
    Closed,
    /// The deadline passed.
    Expired,
}

/// Standard output and error of a process, read as they come. A container inherits them from the `create`
/// call, so their end is not the end of that call.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) out: Stream,
    pub(crate) err: Stream,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pipe: Option<PipeReader>,
    seen: Vec<u8>,
}

impl Streams {
    pub(crate) fn new(out: PipeReader, err: PipeReader) -> Streams {
        let stream = |pipe| Stream { pipe: Some(pipe), seen: Vec::new() };
        Streams { out: stream(out), err: stream(err) }
    }

    /// Reads both streams until `done` likes what was seen, the process ends, both close, or time is up.
    pub(crate) fn pump(
        &mut self,
        process: Option<&Pidfd>,
        deadline: Deadline,
        mut done: impl FnMut(&Streams) -> bool,
    ) -> Result<Pumped, Error> {
        loop {
            if done(self) {
                return Ok(Pumped::Done);
            }
            let mut fds = Vec::with_capacity(3);
            fds.extend(process.map(|process| PollFd::new(process.as_fd(), PollFlags::POLLIN)));
            fds.extend([&self.out, &self.err].into_iter().filter_map(Stream::poll));
            if fds.is_empty() {
                return Ok(Pumped::Closed);
            }
            if !wait::ready(&mut fds, deadline)? {
                return Ok(Pumped::Expired);
            }
            let exited = process.is_some() && fds[0].any() == Some(true);
            drop(fds);
            self.drain()?;
            if exited {
                return Ok(if done(self) { Pumped::Done } else { Pumped::Exited });
            }
        }
    }

    /// Reads what is there, without waiting.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        self.out.drain()?;
        self.err.drain()
    }
}

impl Stream {
    fn poll(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
    }

    fn drain(&mut self) -> Result<(), Error> {
        while let Some(mut pipe) = self.pipe.as_ref() {
            let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
            if !wait::ready(&mut fds, Deadline::after(Duration::ZERO))? {
                return Ok(());
            }
            let mut chunk = [0; 1 << 14];
            match pipe.read(&mut chunk).map_err(Error::file("pipe"))? {
                0 => self.pipe = None,
                length => self.seen.extend_from_slice(&chunk[..length]),
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub(crate) fn contains(&self, needle: &str) -> bool {
        needle.is_empty() || self.seen.windows(needle.len()).any(|window| window == needle.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn streams() -> (Streams, std::io::PipeWriter, std::io::PipeWriter) {
        let (out, out_writer) = std::io::pipe().unwrap();
        let (err, err_writer) = std::io::pipe().unwrap();
        (Streams::new(out, err), out_writer, err_writer)
    }

    #[test]
    fn pumping_stops_at_the_awaited_text_while_the_writer_lives_on() {
        let (mut streams, mut out, _err) = streams();
        out.write_all(b"ready\n").unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        let pumped = streams.pump(None, deadline, |seen| seen.out.contains("ready")).unwrap();
        assert_eq!(pumped, Pumped::Done);
    }

    #[test]
    fn pumping_ends_when_both_streams_close() {
        let (mut streams, out, mut err) = streams();
        err.write_all(b"last words").unwrap();
        drop((out, err));
        let pumped = streams.pump(None, Deadline::after(Duration::from_secs(10)), |_| false).unwrap();
        assert_eq!((pumped, streams.err.text()), (Pumped::Closed, "last words".to_owned()));
    }

    #[test]
    fn a_silent_writer_is_a_missed_deadline() {
        let (mut streams, _out, _err) = streams();
        let pumped = streams.pump(None, Deadline::after(Duration::ZERO), |_| false).unwrap();
        assert_eq!(pumped, Pumped::Expired);
    }
}
