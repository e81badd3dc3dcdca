//! Measures any OCI runtime against the runtime specification, clause by clause.
//!
//! A *case* builds a [`Bundle`], drives a [`Runtime`] with it, and looks at what came out: usually the
//! [`Report`] of the `probe`, a static program that is PID 1 of the container and says what it sees. Each
//! case gives a [`Verdict`] on the [`Requirement`]s that it names; a requirement that no case names is
//! waived with a reason, or counted as untested.
//!
//! ```no_run
//! use serde_json::json;
//! use spec_conformance::{Bundle, Profile, Runtime};
//!
//! # fn main() -> Result<(), spec_conformance::Error> {
//! let runtime = Runtime::new("/usr/bin/runc", &Profile::RUNC)?;
//! let bundle = Bundle::new().set("/hostname", json!("box")).build()?;
//! assert_eq!(runtime.observe(&bundle)?.hostname, "box");
//!
//! let bundle = Bundle::new().args(["/bin/probe", "trap", "USR1"]).build()?;
//! let mut container = runtime.create(&bundle)?;
//! container.start()?.success()?;
//! container.wait_for_stdout("ready")?;
//! container.kill("USR1")?.success()?;
//! assert!(container.wait()?.success());
//! # Ok(())
//! # }
//! ```
//!
//! Three rules keep it honest and quick. Nothing sleeps: every wait is for an event (a pidfd, the end of a
//! pipe, inotify) and has a deadline. Nothing stays behind: dropping a [`Container`], a [`Bundle`] or a
//! [`Runtime`] removes what it made. Nothing passes silently: a case that says nothing about a requirement
//! it names has failed it, and a report with an unreadable source is refused.
//!
//! | module | what it holds |
//! |---|---|
//! | [`bundle`] | the builder of bundles, and the configuration that it starts from |
//! | [`report`] | what the probe sees, and parsers for procfs |
//! | [`runtime`] | the driver of runtimes |
//! | [`profile`] | what is particular to each runtime |
//! | [`container`] | a created container, until it is dropped |
//! | [`call`] | what a finished call left: exit and output |
//! | [`passed`] | descriptors that a runtime sends: a terminal, the listener of a filter |
//! | [`wait`] | deadlines, pidfds, waiting for a file |
//! | [`requirement`] | what the specification demands: the registry |
//! | [`case`](mod@case), [`cases`] | how requirements are tested: the runner and the cases by area |
//! | [`suite`], [`stage`] | a run of many cases, and the place of its own that each has on the host |
//! | [`spec_text`] | whether the specification's wording moved since the registry was written |
//! | [`outcome`] | the results: one JSON document, and what it comes to |
//! | [`mod@format`] | reports: table, JUnit, TAP, Markdown, HTML, several runtimes side by side |

pub mod bundle;
pub mod call;
pub mod case;
pub mod cases;
pub mod container;
mod error;
pub mod format;
pub mod outcome;
pub mod passed;
pub mod profile;
pub mod report;
pub mod requirement;
pub mod runtime;
pub mod spec_text;
pub mod stage;
pub mod suite;
pub mod wait;

pub use bundle::{Bundle, BundleBuilder};
pub use call::{Exit, Finished};
pub use case::Case;
pub use container::Container;
pub use error::Error;
pub use profile::Profile;
pub use report::Report;
pub use requirement::{Requirement, Verdict};
pub use runtime::{Runtime, State};
