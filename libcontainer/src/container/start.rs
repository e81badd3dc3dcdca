//! The verb start: lets a created container run its program. Runs in the runtime's process.

use nix::libc;

use super::{Container, Status, create, run_hooks};
use crate::channel::{At, Channel, Message, Milestone};
use crate::error::{Error, ErrorKind};
use crate::launch::Broken;
use crate::launch::listener::Agent;
use crate::plan::step::Step;
use crate::state::START;
use crate::sys::{Call, Stop, socket};
use crate::timeline::{self, Phase};

impl Container {
    /// Runs the program of a container that is created. Returns when it is being executed.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// container.start()?;
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container is not created, the program cannot be executed, or a hook fails; then it is stopped.
    pub fn start(&self) -> Result<(), Error> {
        let status = self.status();
        if status != Status::Created {
            return Err(self.wrong_state("start", status));
        }
        if !self.record.startable {
            return Err(Error::new(ErrorKind::Invalid, "cannot start: config.json has no process"));
        }
        // Init takes one connection, so one at a time may make it. If we die before that, another may try; if we
        // die with it, init ends.
        let lost =
            || Error::new(ErrorKind::State, format!("container {} is being started already", self.id()));
        let _alone = self.entry.lock_start().map_err(|_| lost())?;
        let channel = socket::connect(self.entry.fd(), START, socket::Kind::Packets)
            .map(Channel::from_socket)
            .map_err(|_| self.wrong_state("start", self.status()))?;
        self.entry.take_start()?;
        self.go(&channel)
    }

    /// Tells init to go on, and hears what becomes of it.
    pub(super) fn go(&self, channel: &Channel) -> Result<(), Error> {
        timeline::during(Phase::Start, || self.let_go(channel))
    }

    fn let_go(&self, channel: &Channel) -> Result<(), Error> {
        let lost = |stop: Stop| {
            Error::new(ErrorKind::System, format!("start container {}: {stop}", self.id())).because(stop)
        };
        // If init has ended by now, it may have said why.
        let gone = channel.send(Message::Go(Milestone::Start)).err();
        let (agent, pid) = (self.agent(Status::Created), self.record.process.map_or(0, |init| init.pid));
        let heard = channel.receive_words().at(Step::Channel).and_then(|first| match first {
            Some((Message::Reached(Milestone::Start), _)) => {
                Agent::hear(agent.as_ref(), channel, pid).map(|last| (true, last))
            }
            first => Ok((false, first)),
        });
        match heard {
            // The channel closes by itself when the program is executed.
            Ok((true, None)) => self.poststart(),
            Ok((false, None)) => Err(self.died(gone.map(lost))),
            Ok((_, Some((Message::Failed(failure), words)))) => {
                Err(self.broken(&Broken::heard(failure, &words)))
            }
            Ok((_, Some(_))) => Err(lost(Stop { call: Call::Recv, errno: libc::EBADMSG })),
            Err(failure) => Err(self.broken(&failure.into())),
        }
    }

    /// It has ended without a word before its program ran.
    fn died(&self, gone: Option<Error>) -> Error {
        match self.oom_killed() {
            Some(killed) => Error::out_of_memory("container init", killed),
            None => gone.unwrap_or_else(|| self.wrong_state("start", Status::Stopped)),
        }
    }

    /// A step of starting it has failed.
    fn broken(&self, broken: &Broken) -> Error {
        // The plan is made again for its words; the config is the one that it was made from.
        let error = match create::recompile(self) {
            Ok(plan) => Error::launch(&plan, broken),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Hook {
            self.give_up();
        }
        error
    }

    fn poststart(&self) -> Result<(), Error> {
        run_hooks(&self.record, &self.record.poststart, Status::Running).map_err(|failed| {
            self.give_up();
            Error::hook("poststart", &self.record.poststart, &failed)
        })
    }

    /// A hook has failed: the container is stopped and removed. Spec: runtime.md#lifecycle.
    pub(super) fn give_up(&self) {
        if let Err(error) = self.destroy(self.status()) {
            tracing::warn!(id = self.id(), %error, "container could not be removed after a hook failed");
        }
    }
}
