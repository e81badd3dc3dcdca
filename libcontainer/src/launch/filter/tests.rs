//! Filters are run here, by a machine of our own, and compared with libseccomp's.

mod machine;
mod numbers;
mod oracle;
mod profiles;
mod program;
mod rules;

use crate::plan::seccomp::{Action, Rule, Seccomp};

/// A filter for the native architecture.
fn plan(default: Action, rules: Vec<Rule>) -> Seccomp {
    Seccomp { default, architectures: vec![], flags: 0, rules, listener: None }
}
