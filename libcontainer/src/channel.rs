//! The conversation between the runtime and the container's process: one socket pair, one fixed frame.
//!
//! ```text
//! runtime                                  init
//!                <-- Reached(Namespaces)   only if the user namespace is made after the clone
//! Go(Namespaces) -->                       ids are mapped
//! Go(Cgroup)     -->                       only if init moves itself into version 1 cgroups, or ids were mapped
//! Go(Network)    -->                       only if the runtime makes the network namespace, which comes with it
//!                <-- Forked(pid)           only if a second process is needed; the first one ends
//!                <-- Sources(mount)        only for more mounts than sources are open for, with the first; repeated
//! Go(Sources)    -->                       with the next of them
//!                <-- Again(mount)          only if its source cannot be attached as it was opened
//! Go(Sources)    -->                       with one that can
//!                <-- Reached(Environment)  only if the config has network devices, prestart or createRuntime hooks
//! Go(Environment) -->
//!                <-- Reached(Created)      not in `exec`, but for a resctrl group: nobody has anything to do then
//! a filter       -->                       only if the config has one: as the kernel takes it, without a frame
//! Go(Created)    -->                       only if somebody else starts it: the record is written, the container exists
//! Go(Start)      -->                       here for `run`, and for `exec` if it was told, else over the start socket
//!                <-- Reached(Start)        nothing is left to do but the exec
//!                <-- Reached(Listener)     only if the filter has one, which comes with it
//! Go(Listener)   -->                       the agent has it
//!                    end of file           the program is being executed
//! ```
//! Instead of any of its messages init may send `Failed(step, call, errno)`, with words behind the frame: the end of
//! what a hook printed, or the program that could not be executed and its interpreter, with a NUL between. End of
//! file before `Created` means that init died; end of file before it is told to go on tells init that the runtime did,
//! and it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::plan::step::Step;
use crate::sys::listener::{Listener, Pass};
use crate::sys::{
    Call, Stop,
    creds::{self, Instruction},
    socket,
};

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
    /// Sources of mounts are open.
    Sources = 6,
    /// The filter is loaded, and whoever answers its calls has the listener.
    Listener = 7,
    /// The new network namespace exists.
    Network = 8,
}

const MILESTONES: &[Milestone] = &[
    Milestone::Namespaces,
    Milestone::Cgroup,
    Milestone::Environment,
    Milestone::Created,
    Milestone::Start,
    Milestone::Sources,
    Milestone::Listener,
    Milestone::Network,
];

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
    /// The sources of mounts from this one on are wanted.
    Sources(u16),
    /// The source of this mount cannot be attached: somewhere in it a mount namespace is kept.
    Again(u16),
    /// A step failed; the sender gives up.
    Failed(Failure),
}

const REACHED: u32 = 1;
const GO: u32 = 2;
const FORKED: u32 = 3;
const FAILED: u32 = 4;
const AGAIN: u32 = 5;
const SOURCES: u32 = 6;
const FRAME: usize = 16;
/// How many bytes of words a failure may come with.
const WORDS: usize = 4096;

impl Message {
    fn encode(self) -> [u8; FRAME] {
        let words = match self {
            Message::Reached(milestone) => [REACHED, milestone as u32, 0, 0],
            Message::Go(milestone) => [GO, milestone as u32, 0, 0],
            Message::Forked(pid) => [FORKED, pid.cast_unsigned(), 0, 0],
            Message::Again(mount) => [AGAIN, u32::from(mount), 0, 0],
            Message::Sources(mount) => [SOURCES, u32::from(mount), 0, 0],
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
            [AGAIN, mount, ..] => u16::try_from(mount).ok().map(Message::Again),
            [SOURCES, mount, ..] => u16::try_from(mount).ok().map(Message::Sources),
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
        let length = socket::receive(self.fd(), &mut frame)?;
        understand(frame, length)
    }

    /// Sends a failure, and the first 4096 bytes of what else there is to say, in one message: somebody else may be
    /// sending too.
    ///
    /// # Errors
    /// EPIPE if the other side is gone.
    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    pub(crate) fn send_failure(&self, failure: Failure, words: &[u8]) -> Result<(), Stop> {
        let (message, length) = in_words(failure, words);
        socket::send(self.fd(), &message[..length])
    }

    /// Receives one message, and the words that a failure may come with; `None` if the other side is gone.
    ///
    /// # Errors
    /// EBADMSG for something that is no message.
    pub(crate) fn receive_words(&self) -> Result<Option<Said>, Stop> {
        let mut message = [0; FRAME + WORDS];
        let length = socket::receive(self.fd(), &mut message)?;
        understand_words(&message[..length])
    }

    /// As [`Channel::receive_words`], with the descriptor that may come with the message.
    ///
    /// # Errors
    /// As [`Channel::receive_words`].
    pub(crate) fn receive_with_descriptor(&self) -> Result<(Option<Said>, Option<OwnedFd>), Stop> {
        let mut message = [0; FRAME + WORDS];
        let mut descriptors = [const { None }; socket::DESCRIPTORS_MAX];
        let length = socket::receive_descriptors(self.fd(), &mut message, &mut descriptors)?;
        Ok((understand_words(&message[..length])?, descriptors.into_iter().next().flatten()))
    }

    /// Sends one message from under a filter that lets calls with `pass` through, and the filter's listener.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub(crate) fn send_by(&self, pass: Pass, message: Message, listener: &Listener) -> Result<(), Stop> {
        pass.send(self.fd(), &message.encode(), Some(listener))
    }

    /// As [`Channel::send_failure`], from under such a filter.
    ///
    /// # Errors
    /// As [`Channel::send`].
    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    pub(crate) fn send_failure_by(&self, pass: Pass, failure: Failure, words: &[u8]) -> Result<(), Stop> {
        let (message, length) = in_words(failure, words);
        pass.send(self.fd(), &message[..length], None)
    }

    /// As [`Channel::await_go`], from under such a filter.
    ///
    /// # Errors
    /// As [`Channel::await_go`].
    pub(crate) fn await_go_by(&self, pass: Pass, milestone: Milestone) -> Result<(), Stop> {
        let mut frame = [0; FRAME];
        let length = pass.read(self.fd(), &mut frame)?;
        is_go(understand(frame, length)?, milestone)
    }

    /// Waits for permission to go on past `milestone`.
    ///
    /// # Errors
    /// [`Call::Closed`] if the other side is gone.
    pub(crate) fn await_go(&self, milestone: Milestone) -> Result<(), Stop> {
        is_go(self.receive()?, milestone)
    }

    /// Waits for the network namespace.
    ///
    /// # Errors
    /// As [`Channel::await_go`].
    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    pub(crate) fn await_network(&self) -> Result<OwnedFd, Stop> {
        let (mut frame, mut namespace) = ([0; FRAME], [const { None }; socket::DESCRIPTORS_MAX]);
        let length = socket::receive_descriptors(self.fd(), &mut frame, &mut namespace)?;
        is_go(understand(frame, length)?, Milestone::Network)?;
        let [namespace, ..] = namespace;
        namespace.ok_or(Stop::new(Call::Recv, Errno::EBADMSG))
    }

    /// Hands over the network namespace.
    ///
    /// # Errors
    /// EPIPE if the other side is gone.
    pub(crate) fn send_network(&self, namespace: OwnedFd) -> Result<(), Stop> {
        socket::send_descriptors(self.fd(), &Message::Go(Milestone::Network).encode(), &[namespace])
    }

    /// Waits for the filter. `room` is empty, and has room for the longest.
    ///
    /// # Errors
    /// Those of recv(2).
    pub(crate) fn receive_filter(&self, room: &mut Vec<Instruction>) -> Result<(), Stop> {
        creds::receive_program(self.fd(), room)
    }

    /// Hands over the filter.
    ///
    /// # Errors
    /// EPIPE if the other side is gone.
    pub(crate) fn send_filter(&self, filter: &[Instruction]) -> Result<(), Stop> {
        creds::send_program(self.fd(), filter)
    }

    /// Asks for the sources of mounts from `mount` on, and waits for them.
    ///
    /// # Errors
    /// As [`Channel::await_go`].
    pub(crate) fn fetch_sources(
        &self,
        mount: u16,
        sources: &mut [Option<OwnedFd>; socket::DESCRIPTORS_MAX],
    ) -> Result<(), Stop> {
        self.fetch(Message::Sources(mount), sources)
    }

    /// Asks for the source of a mount again, as one that can be attached, and waits for it.
    ///
    /// # Errors
    /// As [`Channel::await_go`].
    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    pub(crate) fn fetch_again(&self, mount: u16) -> Result<OwnedFd, Stop> {
        let mut sources = [const { None }; socket::DESCRIPTORS_MAX];
        self.fetch(Message::Again(mount), &mut sources)?;
        let [source, ..] = sources;
        source.ok_or(Stop::new(Call::Recv, Errno::EBADMSG))
    }

    // Its array is not to be on the stack of whoever may call it: see init/mod.rs.
    #[inline(never)]
    fn fetch(
        &self,
        wanted: Message,
        sources: &mut [Option<OwnedFd>; socket::DESCRIPTORS_MAX],
    ) -> Result<(), Stop> {
        self.send(wanted)?;
        let mut frame = [0; FRAME];
        let length = socket::receive_descriptors(self.fd(), &mut frame, sources)?;
        is_go(understand(frame, length)?, Milestone::Sources)
    }

    /// Sends the sources that were asked for, at most as many as one message takes.
    ///
    /// # Errors
    /// EPIPE if the other side is gone.
    pub(crate) fn send_sources(&self, sources: &[OwnedFd]) -> Result<(), Stop> {
        socket::send_descriptors(self.fd(), &Message::Go(Milestone::Sources).encode(), sources)
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

/// The message in `len` bytes of a frame.
fn understand(frame: [u8; FRAME], len: usize) -> Result<Option<Message>, Stop> {
    let message = Message::decode(frame).filter(|_| len == FRAME);
    if len > 0 && message.is_none() { Err(Stop::new(Call::Recv, Errno::EBADMSG)) } else { Ok(message) }
}

/// A message, and the words that a failure may come with.
pub(crate) type Said = (Message, Vec<u8>);

/// A failure as it is sent with its words, and the length of that.
fn in_words(failure: Failure, words: &[u8]) -> ([u8; FRAME + WORDS], usize) {
    let mut message = [0; FRAME + WORDS];
    let length = FRAME + words.len().min(WORDS);
    message[..FRAME].copy_from_slice(&Message::Failed(failure).encode());
    message[FRAME..length].copy_from_slice(&words[..length - FRAME]);
    (message, length)
}

/// The message in `bytes`, and the words behind it.
fn understand_words(bytes: &[u8]) -> Result<Option<Said>, Stop> {
    let Some((frame, words)) = bytes.split_first_chunk::<FRAME>() else {
        return if bytes.is_empty() { Ok(None) } else { Err(Stop::new(Call::Recv, Errno::EBADMSG)) };
    };
    match Message::decode(*frame) {
        Some(message) if words.is_empty() || matches!(message, Message::Failed(_)) => {
            Ok(Some((message, words.to_vec())))
        }
        _ => Err(Stop::new(Call::Recv, Errno::EBADMSG)),
    }
}

fn is_go(message: Option<Message>, milestone: Milestone) -> Result<(), Stop> {
    match message {
        Some(Message::Go(m)) if m == milestone => Ok(()),
        None => Err(Stop::new(Call::Closed, Errno::EPIPE)),
        Some(_) => Err(Stop::new(Call::Recv, Errno::EBADMSG)),
    }
}

#[cfg(test)]
mod tests;
