//! What is wrong with a config, all of it at once. Pure.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or worth a warning, in a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a JSON pointer (RFC 6901) into config.json.
    pub at: String,
    /// What is wrong, why, and what to do about it if we know.
    pub says: String,
    /// The clause of the runtime specification that asks for it, as `file.md#anchor`.
    pub spec: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "/" } else { &self.at };
        write!(f, "{}: {}", OneLine(at), OneLine(&self.says))?;
        if self.spec.is_empty() { Ok(()) } else { write!(f, " ({})", self.spec) }
    }
}

/// Text of a config, in which there may be anything: it stays on its line and does nothing to a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(char::is_control) {
            match piece.char_indices().next_back() {
                Some((i, last)) if last.is_control() => write!(f, "{}{}", &piece[..i], last.escape_debug())?,
                _ => f.write_str(piece)?,
            }
        }
        Ok(())
    }
}

/// A config that cannot be compiled: every finding, a line for each when printed. In the order of the document, if
/// it was compiled from text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invalid(Vec<Finding>);

impl Invalid {
    /// The findings; there is at least one.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The findings.
    #[must_use]
    pub fn into_findings(self) -> Vec<Finding> {
        self.0
    }

    /// A line for each finding, which begins with the name of what was read.
    #[must_use]
    pub fn lines(&self, file: &str) -> String {
        let lines: Vec<_> = self.0.iter().map(|finding| format!("{file}: {finding}")).collect();
        lines.join("\n")
    }

    /// All of `findings`, of which there has to be one.
    pub(super) fn of(findings: Vec<Finding>) -> Invalid {
        debug_assert!(!findings.is_empty());
        Invalid(findings)
    }

    /// # Errors
    /// There are `findings`.
    pub(super) fn unless_empty(findings: Vec<Finding>) -> Result<(), Invalid> {
        if findings.is_empty() { Ok(()) } else { Err(Invalid(findings)) }
    }
}

impl From<Finding> for Invalid {
    fn from(finding: Finding) -> Invalid {
        Invalid(vec![finding])
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines("config.json"))
    }
}

impl std::error::Error for Invalid {}

/// Collects findings while the config is compiled, so that one mistake does not hide the next.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    strict: bool,
}

impl Findings {
    /// No findings yet. With `strict` nothing is tolerated.
    #[must_use]
    pub fn new(strict: bool) -> Findings {
        Findings { strict, ..Findings::default() }
    }

    /// Notes an error. The plan will not be made, but compiling goes on to find the others.
    pub fn error(&mut self, at: impl Into<String>, says: impl Into<String>, spec: &'static str) {
        self.errors.push(Finding { at: at.into(), says: says.into(), spec });
    }

    /// Notes something that the specification wants a warning for.
    pub fn warn(&mut self, at: impl Into<String>, says: impl Into<String>, spec: &'static str) {
        self.warnings.push(Finding { at: at.into(), says: says.into(), spec });
    }

    /// Notes what a strict reader of the specification refuses. For the sake of clients that write it, it is a
    /// warning unless the caller is strict.
    pub fn tolerate(&mut self, at: impl Into<String>, says: impl Into<String>, spec: &'static str) {
        if self.strict { self.error(at, says, spec) } else { self.warn(at, says, spec) }
    }

    /// Takes the value out of a parse; a failure becomes an error at `at`, and nothing is returned.
    pub fn check<T, E: fmt::Display>(
        &mut self,
        parsed: Result<T, E>,
        at: impl Into<String>,
        spec: &'static str,
    ) -> Option<T> {
        parsed.map_err(|e| self.error(at, e.to_string(), spec)).ok()
    }

    /// Ends the collection: the warnings, or everything that is wrong.
    ///
    /// # Errors
    /// All errors that were noted, if any.
    pub fn finish(self) -> Result<Vec<Finding>, Invalid> {
        if self.errors.is_empty() { Ok(self.warnings) } else { Err(Invalid(self.errors)) }
    }
}

/// Escapes a key for use in a JSON pointer (RFC 6901, section 3).
#[must_use]
pub fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
