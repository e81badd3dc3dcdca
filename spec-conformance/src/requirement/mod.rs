//! What the specification demands of a runtime on Linux: one entry for each sentence that binds, in our own
//! short wording. No entry says by which cases it is covered: each case names what it proves.

mod area;
mod cgroups;
mod config;
mod features;
mod hooks;
mod linux;
mod mount_options;
mod reasons;
mod runtime;

use serde::{Deserialize, Serialize};

pub use area::{AREAS, Area};

use crate::case::Case;
use crate::cases::CASES;

/// The version of the specification that the registry was written from.
pub const SPEC_VERSION: &str = "1.3.0";

const CLAUSES: [&[Requirement]; 7] = [
    runtime::CLAUSES,
    config::CLAUSES,
    mount_options::CLAUSES,
    hooks::CLAUSES,
    linux::CLAUSES,
    cgroups::CLAUSES,
    features::CLAUSES,
];

/// How strongly a sentence binds. See RFC 2119.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Conformance depends on it: MUST, MUST NOT, SHALL, REQUIRED; and what a property means, since all of
    /// them must be applied (runtime.md#create).
    Must,
    /// Deviating needs a reason: SHOULD, SHOULD NOT, RECOMMENDED.
    Should,
}

impl Level {
    /// The word of RFC 2119.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
        }
    }
}

/// One clause: a sentence of the specification, or an entry of one of its lists and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// Public and stable. File and anchor in the specification and a word for what it says, between dots:
    /// `config.mounts.order` is in config.md#mounts.
    pub id: &'static str,
    /// How strongly it binds.
    pub level: Level,
    /// [`crate::spec_text::digest`] of the sentence.
    pub digest: u64,
    /// Our own short wording.
    pub says: &'static str,
    /// Why no case can test it, and what that would need.
    pub waived: Option<&'static str>,
}

/// Whether a clause is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// At least one case gives a verdict on it.
    Covered,
    /// Nothing can, for this reason.
    Waived(&'static str),
    /// Something could: it needs a case.
    Untested,
}

impl Requirement {
    /// Every clause, file by file in the order of the text.
    pub fn all() -> impl Iterator<Item = &'static Requirement> {
        CLAUSES.into_iter().flatten()
    }

    /// The clause with this id.
    pub fn find(id: &str) -> Option<&'static Requirement> {
        Requirement::all().find(|requirement| requirement.id == id)
    }

    /// File and anchor of its id: `config` and `mounts`.
    fn place(&self) -> (&'static str, &'static str) {
        let mut parts = self.id.split('.');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// The specification's file: `config.md`.
    pub fn file(&self) -> String {
        format!("{}.md", self.place().0)
    }

    /// The anchor in it: `mounts`.
    pub fn anchor(&self) -> &'static str {
        self.place().1
    }

    /// Where the clause can be read.
    pub fn link(&self) -> String {
        let (file, anchor) = self.place();
        format!("https://github.com/opencontainers/runtime-spec/blob/v{SPEC_VERSION}/{file}.md#{anchor}")
    }

    /// The cases that prove it.
    pub fn cases(&self) -> impl Iterator<Item = &'static Case> {
        CASES.iter().filter(|case| case.proves.contains(&self.id))
    }

    /// Whether it is tested.
    pub fn standing(&self) -> Standing {
        match self.waived {
            Some(reason) => Standing::Waived(reason),
            None if self.cases().next().is_some() => Standing::Covered,
            None => Standing::Untested,
        }
    }

    const fn waived(self, reason: &'static str) -> Requirement {
        Requirement { waived: Some(reason), ..self }
    }
}

const fn must(id: &'static str, digest: u64, says: &'static str) -> Requirement {
    Requirement { id, level: Level::Must, digest, says, waived: None }
}

const fn should(id: &'static str, digest: u64, says: &'static str) -> Requirement {
    Requirement { id, level: Level::Should, digest, says, waived: None }
}

/// What a case found out about a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// The runtime does as the specification says.
    Pass,
    /// It does not.
    Fail {
        /// What the specification demands here.
        expected: String,
        /// What was seen.
        observed: String,
    },
    /// It could not be tested here.
    Skip {
        /// What the test needs and this host has not.
        needs: String,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_id_stands_for_one_requirement_and_tells_where_it_is() {
        let mut seen = HashSet::new();
        for requirement in Requirement::all() {
            let id = requirement.id;
            assert!(seen.insert(id), "{id} twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            assert!(id.chars().all(plain) && id.split('.').count() == 3, "{id}");
            assert!(crate::spec_text::FILES.contains(&requirement.file().as_str()), "{id}");
        }
    }

    #[test]
    fn every_requirement_is_covered_or_waived() {
        for requirement in Requirement::all() {
            assert_ne!(
                requirement.standing(),
                Standing::Untested,
                "{} needs a case, or a reason",
                requirement.id
            );
        }
    }

    #[test]
    fn no_requirement_is_covered_and_waived() {
        for requirement in Requirement::all().filter(|requirement| requirement.waived.is_some()) {
            assert_eq!(requirement.cases().map(|case| case.id).next(), None, "{}", requirement.id);
        }
    }

    #[test]
    fn every_case_names_known_requirements() {
        for id in CASES.iter().flat_map(|case| case.proves) {
            assert!(Requirement::find(id).is_some(), "{id} is not in the registry");
        }
    }

    #[test]
    fn a_requirement_is_read_at_its_link() {
        let order = Requirement::find("config.mounts.order").unwrap();
        let link = "https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#mounts";
        assert_eq!(order.link(), link);
    }
}
