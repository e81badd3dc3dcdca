//! Runs one more program in a container.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Process as SpecProcess;

use crate::error::{Error, ErrorKind};
use crate::host;
use crate::launch::{self, Joining};
use crate::plan::Plan;
use crate::plan::facts::Needs;
use crate::plan::step::Step;
use crate::sys::Call;

use super::placement::CgroupBelow;
use super::{Container, Running, Status, create, pidfd};

/// What the caller decides about one more program.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// How many descriptors from 3 on the program gets.
    pub preserved: u32,
    /// A connected stream socket, over which the master of its terminal is sent.
    pub console: Option<OwnedFd>,
    /// A connected stream socket, over which a pidfd of the program is sent when it is being executed.
    pub pidfd_receiver: Option<OwnedFd>,
    /// Cgroups below the container's own, to run it in; where none is named, it goes where the first process is.
    pub cgroups: Vec<CgroupBelow>,
    /// Run it although the container is paused: it waits for the container to be resumed.
    pub ignore_paused: bool,
}

impl Container {
    /// The config's own program, to be changed and given to [`Container::exec`].
    ///
    /// # Errors
    /// The config has none.
    pub fn process(&self) -> Result<SpecProcess, Error> {
        let missing = || Error::new(ErrorKind::Invalid, "config.json has no process to take defaults from");
        self.config()?.process().clone().ok_or_else(missing)
    }

    /// Runs `process` in the container. Returns when it is being executed.
    ///
    /// ```no_run
    /// use libcontainer::{Container, ExecOptions, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// let mut process = container.process()?;
    /// process.set_args(Some(vec!["ps".to_owned()]));
    /// println!("{:?}", container.exec(&process, ExecOptions::default())?.wait());
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container does not run, or the program cannot be executed.
    pub fn exec(&self, process: &SpecProcess, options: ExecOptions) -> Result<Running, Error> {
        let status = self.status();
        match status {
            Status::Created | Status::Running => {}
            Status::Paused if options.ignore_paused => {}
            Status::Paused => {
                return Err(Error::new(
                    ErrorKind::State,
                    "cannot exec in a paused container (use --ignore-paused to override)",
                ));
            }
            Status::Creating | Status::Stopped => {
                let says = "cannot exec in a container that is not running: container not running";
                return Err(Error::new(ErrorKind::State, format!("{says}{}", self.last_words())));
            }
        }
        let spec = self.config()?;
        let facts = host::probe(Needs::by_exec(spec, process));
        let plan =
            Plan::compile_exec(spec, process, &facts).map_err(|invalid| Error::invalid("exec", invalid))?;
        create::warn(&plan.warnings);
        let terminal = plan.process.terminal.is_some();
        if terminal != options.console.is_some() {
            let message =
                if terminal { "a terminal needs a console socket" } else { "a console socket needs --tty" };
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let exited = || {
            let says = format!("container not running: it has exited{}", self.last_words());
            Error::new(ErrorKind::State, says)
        };
        let target = self.pidfd().ok_or_else(exited)?;
        let pid = self.record.process.map_or(0, |init| init.pid);
        let joining = Joining {
            target,
            namespaces: self.record.namespaces,
            privileged: facts.privileged,
            // Where its first process is now: it may have moved.
            cgroups: self.cgroups_for(pid, &options.cgroups)?,
            unit: self.record.unit.as_ref(),
            resctrl: self.record.resctrl.as_ref().map_or(&[], |group| &group.join),
            process: &plan.process,
            seccomp: plan.seccomp.as_ref(),
            agent: self.agent(status),
            affinity: &plan.affinity,
            become_root: plan.become_root,
            console: options.console,
            preserved: options.preserved,
        };
        let child = launch::join(joining).map_err(|broken| {
            if self.status() == Status::Stopped {
                return exited();
            }
            match broken.failure.step {
                Step::FindProgram | Step::Exec => Error::program(&plan.process, &broken),
                step => {
                    let what = format_args!("exec in container {}: {}", self.id(), plan.describe(step));
                    match self.oom_killed().filter(|_| broken.failure.stop.call == Call::Closed) {
                        Some(killed) => Error::out_of_memory(&format!("{what}: the process"), killed),
                        None => Error::at_step(what, &broken),
                    }
                }
            }
        })?;
        let program = Running::new(child);
        match pidfd::send(options.pidfd_receiver.as_ref(), c"setns", Some(program.pidfd())) {
            Ok(()) => Ok(program),
            Err(error) => {
                program.give_up();
                Err(error)
            }
        }
    }
}
