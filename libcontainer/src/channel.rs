//! The conversation between the runtime and the container's process: one socket pair, one fixed frame.
//!
//! ```text
//! runtime                                  init
//!                <-- Reached(Namespaces)   only if the user namespace is made after the clone
//! Go(Namespaces) -->                       ids are mapped
//! Go(Cgroup)     -->                       only if init moves itself into version 1 cgroups, or ids were mapped
//!                <-- Forked(pid)           only if a second process is needed; the first one ends
//!                <-- Reached(Environment)  only if the config has network devices, prestart or createRuntime hooks
//! Go(Environment) -->
//!                <-- Reached(Created)
//! Go(Created)    -->                       the record is written: the container exists
//! Go(Start)      -->                       here for `run`, else over the start socket
//!                <-- Reached(Start)        nothing is left to do but the exec
//!                    end of file           the program is being executed
//! ```
//! Instead of any of its messages init may send `Failed(step, call, errno)`. End of file before `Created` means
//! that init died; end of file before `Go(Created)` tells init that the runtime did, and it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::plan::step::Step;
use crate::sys::{Call, Stop, socket};

/// A point of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Milestone {
    /// The user namespace exists.
    Namespaces = 1,
    /// The cgroup directories exist, and ids are mapped.
    Cgroup = 2,
    /// The environment is built, the root not changed.
    Environment = 3,
    /// Everything is ready to start.
    Created = 4,
    /// The program may run.
    Start = 5,
}

const MILESTONES: &[Milestone] =
    &[Milestone::Namespaces, Milestone::Cgroup, Milestone::Environment, Milestone::Created, Milestone::Start];

/// A step that failed, and why: twelve bytes between the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was being done.
    pub(crate) step: Step,
    /// What stopped it.
    pub(crate) stop: Stop,
}

/// Names the step at which something stopped.
pub(crate) trait At<T> {
    /// The result, with its step.
    ///
    /// # Errors
    /// The same failure, which now says at which step.
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Stop> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|stop| Failure { step, stop })
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Init has come this far, and waits.
    Reached(Milestone),
    /// The runtime has done its part; go on.
    Go(Milestone),
    /// The container's process is another one now, with this pid.
    Forked(i32),
    /// A step failed; the sender gives up.
    Failed(Failure),
}

const REACHED: u32 = 1;
const GO: u32 = 2;
const FORKED: u32 = 3;
const FAILED: u32 = 4;
const FRAME: usize = 16;

impl Message {
    fn encode(self) -> [u8; FRAME] {
        let words = match self {
            Message::Reached(milestone) => [REACHED, milestone as u32, 0, 0],
            Message::Go(milestone) => [GO, milestone as u32, 0, 0],
            Message::Forked(pid) => [FORKED, pid.cast_unsigned(), 0, 0],
            Message::Failed(Failure { step, stop }) => {
                [FAILED, step.code(), stop.call.code(), stop.errno.cast_unsigned()]
            }
        };
        let mut frame = [0; FRAME];
        for (bytes, word) in frame.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        frame
    }

    fn decode(frame: [u8; FRAME]) -> Option<Message> {
        let mut words = [0_u32; 4];
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().ok()?);
        }
        let milestone = |number: u32| MILESTONES.iter().copied().find(|m| *m as u32 == number);
        match words {
            [REACHED, number, ..] => milestone(number).map(Message::Reached),
            [GO, number, ..] => milestone(number).map(Message::Go),
            [FORKED, pid, ..] => Some(Message::Forked(pid.cast_signed())),
            [FAILED, step, call, errno] => {
                let stop = Stop { call: Call::from_code(call)?, errno: errno.cast_signed() };
                Some(Message::Failed(Failure { step: Step::from_code(step)?, stop }))
            }
            _ => None,
        }
    }
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Both ends: the runtime's, then init's.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(crate) fn pair() -> Result<(Channel, Channel), Stop> {
        let (ours, theirs) = socket::pair()?;
        Ok((Channel { socket: ours }, Channel { socket: theirs }))
    }

    /// An end that was connected elsewhere.
    #[must_use]
    pub(crate) fn from_socket(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// The socket.
    #[must_use]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends no more: the other side hears that this one is gone, and can still be heard.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub(crate) fn hang_up(&self) -> Result<(), Stop> {
        socket::end_sending(self.fd())
    }

    /// Sends one message.
    ///
    /// # Errors
    /// EPIPE if the other side is gone.
    pub(crate) fn send(&self, message: Message) -> Result<(), Stop> {
        socket::send(self.fd(), &message.encode())
    }

    /// Receives one message; `None` if the other side is gone.
    ///
    /// # Errors
    /// EBADMSG for something that is no message.
    pub(crate) fn receive(&self) -> Result<Option<Message>, Stop> {
        let mut frame = [0; FRAME];
        match socket::receive(self.fd(), &mut frame)? {
            0 => Ok(None),
            FRAME => match Message::decode(frame) {
                Some(message) => Ok(Some(message)),
                None => Err(Stop::new(Call::Recv, Errno::EBADMSG)),
            },
            _ => Err(Stop::new(Call::Recv, Errno::EBADMSG)),
        }
    }

    /// Waits for permission to go on past `milestone`.
    ///
    /// # Errors
    /// [`Call::Closed`] if the other side is gone.
    pub(crate) fn await_go(&self, milestone: Milestone) -> Result<(), Stop> {
        match self.receive()? {
            Some(Message::Go(m)) if m == milestone => Ok(()),
            None => Err(Stop::new(Call::Closed, Errno::EPIPE)),
            Some(_) => Err(Stop::new(Call::Recv, Errno::EBADMSG)),
        }
    }

    /// Says that `milestone` is reached, and waits for permission to go on.
    ///
    /// # Errors
    /// As [`Channel::await_go`].
    pub(crate) fn reach(&self, milestone: Milestone) -> Result<(), Stop> {
        self.send(Message::Reached(milestone))?;
        self.await_go(milestone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_way() {
        let failure = Failure { step: Step::Mount(3), stop: Stop::new(Call::Mount, Errno::EPERM) };
        let (ours, theirs) = Channel::pair().unwrap();
        let messages = MILESTONES.iter().flat_map(|m| [Message::Reached(*m), Message::Go(*m)]);
        for message in messages.chain([Message::Forked(7), Message::Failed(failure)]) {
            theirs.send(message).unwrap();
            assert_eq!(ours.receive(), Ok(Some(message)));
        }
        drop(theirs);
        assert_eq!(ours.receive(), Ok(None));
    }

    #[test]
    fn a_frame_of_noise_is_no_message() {
        assert_eq!(Message::decode([0xff; FRAME]), None);
        let (ours, theirs) = Channel::pair().unwrap();
        socket::send(theirs.fd(), b"short").unwrap();
        assert_eq!(ours.receive(), Err(Stop::new(Call::Recv, Errno::EBADMSG)));
    }
}
