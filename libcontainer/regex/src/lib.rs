//! The crate `regex`, as far as `oci-spec` uses it, by way of `regex-lite`.
//!
//! `oci-spec` has one pattern, for `execCPUAffinity`. The machinery that `regex` brings along to be fast with any
//! pattern, and its tables of Unicode, would be a sixth of the runtime's binary.
#![forbid(unsafe_code)]

pub use regex_lite::{Captures, Error, Regex, RegexBuilder};
