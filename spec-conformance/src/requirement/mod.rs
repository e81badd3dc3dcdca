//! What the specification demands, one entry for each testable statement, in our own short wording.

mod registry;

use serde::Serialize;

pub use registry::REQUIREMENTS;

/// How strongly a statement binds. See RFC 2119.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Conformance depends on it.
    Must,
    /// Deviating needs a reason.
    Should,
    /// Allowed.
    May,
}

/// One statement of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// Row of the feature map, with a suffix where a row holds several statements: `L-02.pid`.
    pub id: &'static str,
    /// How strongly it binds.
    pub level: Level,
    /// File and anchor in the specification: `config.md#mounts`.
    pub anchor: &'static str,
    /// Our own short wording.
    pub says: &'static str,
    /// [`crate::spec_text::digest`] of the statement in the specification.
    pub digest: u64,
    /// Why no case tests it; `None` if some case does.
    pub waived: Option<&'static str>,
}

impl Requirement {
    /// The requirement with this id.
    pub fn find(id: &str) -> Option<&'static Requirement> {
        REQUIREMENTS.iter().find(|requirement| requirement.id == id)
    }
}

/// What a case found out about a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    use crate::cases::CASES;

    #[test]
    fn every_id_stands_for_one_requirement() {
        let mut seen = HashSet::new();
        for requirement in REQUIREMENTS {
            assert!(seen.insert(requirement.id), "{} twice", requirement.id);
        }
    }

    #[test]
    fn every_requirement_is_either_covered_or_waived() {
        let covered: HashSet<&str> = CASES.iter().flat_map(|case| case.proves).copied().collect();
        for Requirement { id, waived, .. } in REQUIREMENTS {
            assert_ne!(covered.contains(id), waived.is_some(), "{id}: covered and waived, or neither");
        }
    }

    #[test]
    fn every_case_names_known_requirements() {
        for id in CASES.iter().flat_map(|case| case.proves) {
            assert!(Requirement::find(id).is_some(), "{id} is not in the registry");
        }
    }
}
