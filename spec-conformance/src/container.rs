//! A container that a runtime created: driven until it is dropped, and then gone.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::Error;
use crate::call::{Exit, Finished, Pumped, Streams};
use crate::runtime::{Runtime, State};
use crate::wait::Pidfd;

/// A created container. Dropping it deletes it by force and reaps its process.
#[derive(Debug)]
pub struct Container<'r> {
    runtime: &'r Runtime,
    id: String,
    pid: i32,
    process: Pidfd,
    streams: Streams,
    exit: Option<Exit>,
    deleted: bool,
}

impl<'r> Container<'r> {
    pub(crate) fn open(
        runtime: &'r Runtime,
        id: &str,
        pid_file: &Path,
        streams: Streams,
    ) -> Result<Container<'r>, Error> {
        let text = std::fs::read_to_string(pid_file).map_err(Error::file(pid_file))?;
        let invalid = |source| Error::file(pid_file)(std::io::Error::other(source));
        let pid = text.trim().parse::<i32>().map_err(invalid)?;
        let process = Pidfd::open(pid).map_err(Error::system("pidfd_open"))?;
        Ok(Container { runtime, id: id.to_owned(), pid, process, streams, exit: None, deleted: false })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Host pid of its process, from the pid file.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its process.
    pub fn process(&self) -> &Pidfd {
        &self.process
    }

    /// `start`.
    pub fn start(&self) -> Result<Finished, Error> {
        self.runtime.call(["start", &self.id])
    }

    /// `state`, parsed.
    pub fn state(&self) -> Result<State, Error> {
        self.runtime.state(&self.id)
    }

    /// `kill` with this signal, a name or a number.
    pub fn kill(&self, signal: &str) -> Result<Finished, Error> {
        self.runtime.call(["kill", &self.id, signal])
    }

    /// `delete` without force.
    pub fn delete(&mut self) -> Result<Finished, Error> {
        let finished = self.runtime.call(["delete", &self.id])?;
        self.deleted = finished.exit.success();
        Ok(finished)
    }

    /// A command `exec` with these arguments after the id.
    pub fn exec_command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.runtime.command(["exec", &self.id]);
        command.args(args);
        command
    }

    /// `exec` of a program in the container, to its end.
    pub fn exec<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Finished, Error> {
        self.runtime.finish(self.exec_command(args))
    }

    /// What the container and its `create` wrote to standard output so far.
    pub fn stdout(&mut self) -> Result<String, Error> {
        self.streams.drain()?;
        Ok(self.streams.out.text())
    }

    /// What the container and its `create` wrote to standard error so far.
    pub fn stderr(&mut self) -> Result<String, Error> {
        self.streams.drain()?;
        Ok(self.streams.err.text())
    }

    /// Waits until standard output contains this text.
    pub fn wait_for_stdout(&mut self, text: &str) -> Result<(), Error> {
        let deadline = self.runtime.new_deadline();
        let pumped = self.streams.pump(Some(&self.process), deadline, |seen| seen.out.contains(text))?;
        match pumped {
            Pumped::Done => Ok(()),
            Pumped::Exited | Pumped::Closed => Err(Error::Ended {
                awaited: text.to_owned(),
                stdout: self.streams.out.text(),
                stderr: self.streams.err.text(),
            }),
            Pumped::Expired => Err(self.expired(text)),
        }
    }

    /// Waits for the end of the container's process, reads what it wrote, reaps it.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        if self.streams.pump(Some(&self.process), self.runtime.new_deadline(), |_| false)? != Pumped::Exited {
            return Err(self.expired("the container's end"));
        }
        let exit = self.process.reap().map_err(Error::system("waitid"))?;
        let exit = exit.ok_or(Error::System { call: "waitid", errno: Errno::EAGAIN })?;
        self.exit = Some(exit);
        Ok(exit)
    }

    fn expired(&self, awaited: &str) -> Error {
        Error::Deadline {
            awaited: awaited.to_owned(),
            within: self.runtime.new_deadline().within(),
            stdout: self.streams.out.text(),
            stderr: self.streams.err.text(),
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Nothing can be reported from here; a container that survives shows up in the next state test.
        if !self.deleted {
            drop(self.runtime.call(["delete", "--force", &self.id]));
        }
        if self.exit.is_none() && self.process.send(Signal::SIGKILL).is_ok() {
            drop(self.wait());
        }
    }
}
