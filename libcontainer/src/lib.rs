//! Turns an OCI bundle into a running Linux container.
//!
//! A bundle is compiled into a [`Plan`](plan::Plan): everything that will be done, decided before anything is
//! done, by pure functions that report all that is wrong with a config at once. Then the runtime's process
//! prepares what the plan needs, as open descriptors and bytes, and clones the container's process, which
//! carries the plan out in a straight line. See ARCHITECTURE.md.
//!
//! ```no_run
//! use libcontainer::{Bundle, Options, Store};
//!
//! let bundle = Bundle::load("/bundles/web".as_ref())?;
//! let store = Store::new("/run/example");
//! let container = libcontainer::create(&store, &bundle, &Options::new("web"))?;
//! container.start()?;
//! println!("{}", container.state().pid);
//! # Ok::<(), libcontainer::Error>(())
//! ```
//!
//! # For callers
//!
//! - Everything blocks; nothing here needs or starts a thread. It is safe to call from a process with threads:
//!   between clone and exec the container's process neither allocates nor locks.
//! - The crate changes nothing of the caller's process: not its working directory, environment, umask, signal
//!   dispositions, or loggers. It logs through `tracing`.
//! - The container's first process is a child of the calling process. Who does not wait for it leaves it to the
//!   nearest subreaper when it ends.
//! - A caller that puts processes into containers should be sealed first, see [`seal`].

pub mod bundle;
mod channel;
pub mod container;
pub mod error;
#[doc(hidden)]
pub mod fault;
mod hooks;
mod host;
mod init;
mod launch;
pub mod path;
pub mod plan;
pub mod seal;
pub mod state;
pub mod stats;
#[doc(hidden)]
pub mod sys;
pub mod timeline;

pub use bundle::Bundle;
pub use container::{
    CgroupBelow, Container, ExecOptions, Held, Options, Running, State, Status, Update, compile, create,
    hold, list, run,
};
pub use error::{Error, ErrorKind};
pub use host::is_privileged;
pub use launch::filter::{architectures as filter_architectures, library_version as filter_library_version};
pub use plan::Plan;
pub use state::Store;
pub use stats::Stats;
