//! Introduces the container's process to the agent that decides about its system calls. Runs in the runtime's
//! process.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use serde::Serialize;

use super::filter;
use crate::channel::{At, Channel, Failure, Message, Milestone, Said};
use crate::init::Filter;
use crate::plan::seccomp::{Listener, Seccomp};
use crate::plan::step::Step;
use crate::sys::creds::Instruction;
use crate::sys::listener::Pass;
use crate::sys::socket::{self, Kind};
use crate::sys::{Call, Stop};

/// What a process without a pass does when its program cannot be executed.
const LAST_CALLS: [&str; 2] = ["sendto", "exit_group"];

/// The filter of `plan`, with room for its instructions, which come later.
///
/// # Errors
/// Those of getrandom(2).
pub(super) fn outline(plan: &Seccomp) -> Result<Filter, Stop> {
    Ok(filter_of(plan, pass(plan)?, Vec::with_capacity(filter::LONGEST), true))
}

/// A filter with a listener gets a way past it for the calls that hand the listener out, and one that may refuse the calls
/// by which a failure is told gets it for those.
fn pass(plan: &Seccomp) -> Result<Option<Pass>, Stop> {
    let is_needed = plan.listener.is_some() || !LAST_CALLS.iter().all(|call| plan.always_allows(call));
    is_needed.then(Pass::new).transpose()
}

fn filter_of(plan: &Seccomp, pass: Option<Pass>, instructions: Vec<Instruction>, comes: bool) -> Filter {
    Filter { instructions, comes, flags: plan.flags, listens: plan.listener.is_some(), pass }
}

/// Compiles what [`outline`] has room for.
///
/// # Errors
/// Those of [`filter::compile`].
pub(super) fn instructions(plan: &Seccomp, pass: Option<Pass>) -> Result<Vec<Instruction>, Stop> {
    let instructions = filter::compile(plan)?;
    let Some(pass) = pass else { return Ok(instructions) };
    let native = filter::native().ok_or(Stop::new(Call::Seccomp, Errno::EINVAL))?;
    let instructions = pass.before(&instructions, native);
    if instructions.len() > filter::LONGEST {
        Err(Stop::new(Call::Seccomp, Errno::E2BIG))
    } else {
        Ok(instructions)
    }
}

/// Compiles a filter that does not come later.
///
/// # Errors
/// Those of [`filter::compile`] and getrandom(2).
pub(super) fn compile(plan: &Seccomp) -> Result<Filter, Stop> {
    let pass = pass(plan)?;
    Ok(filter_of(plan, pass, instructions(plan, pass)?, false))
}

/// The agent, and what it is told.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    /// Where it listens.
    pub(crate) listener: &'a Listener,
    /// The bundle, from which a relative path counts.
    pub(crate) bundle: &'a Path,
    /// The version of the specification that the state is of.
    pub(crate) oci_version: &'a str,
    /// The container's state.
    pub(crate) state: serde_json::Value,
}

/// Spec: config-linux.md#containerprocessstate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a serde_json::Value,
}

impl Agent<'_> {
    /// What the process `pid` says next, in words if it has some, but for its listener: that goes to the agent, and the process goes on.
    ///
    /// # Errors
    /// The agent cannot be reached or does not take it, or those of the channel.
    pub(crate) fn hear(
        agent: Option<&Agent<'_>>,
        channel: &Channel,
        pid: i32,
    ) -> Result<Option<Said>, Failure> {
        let (said, descriptor) = channel.receive_with_descriptor().at(Step::Channel)?;
        if !matches!(said, Some((Message::Reached(Milestone::Listener), _))) {
            return Ok(said);
        }
        let missing = Stop::new(Call::Recv, Errno::EBADMSG);
        let (agent, descriptor) = agent.zip(descriptor).ok_or(missing).at(Step::Channel)?;
        agent.send(descriptor.as_fd(), pid).at(Step::SendListener)?;
        // Ours is gone before the process goes on: only the agent's keeps calls waiting.
        drop(descriptor);
        channel.send(Message::Go(Milestone::Listener)).at(Step::Channel)?;
        channel.receive_words().at(Step::Channel)
    }

    /// One connection for one state.
    fn send(&self, listener: BorrowedFd<'_>, pid: i32) -> Result<(), Stop> {
        let message = ProcessState {
            oci_version: self.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata: self.listener.metadata.as_deref(),
            state: &self.state,
        };
        let message = serde_json::to_vec(&message).map_err(|_| Stop::new(Call::Connect, Errno::EINVAL))?;
        let agent = socket::connect_to(&self.bundle.join(self.listener.path.as_str()), Kind::Stream)?;
        socket::send_all(agent.as_fd(), &message, listener)
    }
}
