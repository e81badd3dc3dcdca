//! What the agent that decides about a container's system calls is told of the container.

use crate::launch::listener::Agent;

use super::{Container, State, Status};

impl Container {
    /// The agent, if the container's filter asks one; it will be told that the container is in `status`.
    pub(super) fn agent(&self, status: Status) -> Option<Agent<'_>> {
        let record = &self.record;
        let listener = record.listener.as_ref()?;
        let state = serde_json::to_value(State::of(record, status)).ok()?;
        Some(Agent { listener, bundle: &record.bundle, oci_version: &record.oci_version, state })
    }
}
