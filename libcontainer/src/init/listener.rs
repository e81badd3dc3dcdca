//! Loads a filter whose calls an agent decides about, and hands out its listener. Runs in the container's process.
//!
//! From the moment that the filter is loaded any call may wait for the agent, which cannot know of it yet; so until
//! the program is executed, this process makes none but those that its pass opens, whatever the filter says. A filter
//! that refuses the calls by which a failure is told has a pass for those, too.

use crate::channel::{Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::plan::step::Step;
use crate::sys::Stop;
use crate::sys::listener::{self, Listener, Pass};

use super::Filter;

/// Loads the filter. When this returns, the agent has the listener; if it could not be loaded, nothing has changed.
pub(super) fn load(filter: &Filter, pass: Pass, channel: &Channel, fault: Fault) -> Result<(), Failure> {
    let listener = fault.attempt(Step::LoadFilter, || listener::load(&filter.instructions, filter.flags))?;
    match fault.attempt(Step::SendListener, || hand_out(listener, pass, channel)) {
        Ok(()) => Ok(()),
        Err(failure) => give_up(failure, &[], pass, channel),
    }
}

/// Sends the listener to the runtime, and waits until that has sent it on. Otherwise the program would run although
/// nobody knows of it.
fn hand_out(listener: Listener, pass: Pass, channel: &Channel) -> Result<(), Stop> {
    channel.send_by(pass, Message::Reached(Milestone::Listener), &listener)?;
    // Only the agent's is left from here on: if that goes away, calls that would ask it fail at once.
    pass.close(listener);
    channel.await_go_by(pass, Milestone::Listener)
}

/// Tells the other side why it ends here, and ends.
pub(super) fn give_up(failure: Failure, words: &[u8], pass: Pass, channel: &Channel) -> ! {
    let _nobody_listens = channel.send_failure_by(pass, failure, words);
    pass.exit(1)
}
