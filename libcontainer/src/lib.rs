//! Turns an OCI bundle into a running Linux container.

pub mod bundle;
pub mod channel;
pub mod container;
pub mod error;
pub mod fault;
pub mod hooks;
pub mod host;
pub mod init;
pub mod launch;
pub mod path;
pub mod plan;
pub mod seal;
pub mod state;
pub mod sys;
