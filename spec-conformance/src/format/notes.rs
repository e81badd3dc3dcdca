//! What people found out about failures: why a runtime differs, after reading the clause again.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::Error;

/// Explanations of failures, from a JSON list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Notes(Vec<Note>);

/// One explanation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The requirement's id.
    pub clause: String,
    /// The runtimes that it is about.
    pub runtimes: Vec<String>,
    /// What they do, and why that is a difference.
    pub note: String,
}

impl Notes {
    /// Reads a list.
    pub fn read(path: &Path) -> Result<Notes, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        serde_json::from_str(&text).map_err(|source| Error::file(path)(io::Error::other(source)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }

    /// What is known about this failure.
    pub fn about(&self, clause: &str, runtime: &str) -> Option<&str> {
        let is_about =
            |note: &&Note| note.clause == clause && note.runtimes.iter().any(|name| name == runtime);
        self.0.iter().find(is_about).map(|note| note.note.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_about_a_clause_and_some_runtimes() {
        let text = r#"[{"clause": "a.b.c", "runtimes": ["x", "y"], "note": "why"}]"#;
        let notes: Notes = serde_json::from_str(text).unwrap();
        assert_eq!(notes.about("a.b.c", "y"), Some("why"));
        assert_eq!((notes.about("a.b.c", "z"), notes.about("a.b.d", "x")), (None, None));
        assert!(serde_json::from_str::<Notes>(r#"[{"clause": "a", "runtime": "x", "note": ""}]"#).is_err());
    }
}
