//! Why the benchmark itself ended. Nobody acts on the kind, so it is a sentence: the thing, then the cause.

use std::io;

/// A step that failed, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub(crate) struct Error {
    what: String,
    reason: String,
}

impl Error {
    /// An error that no system call reported.
    pub(crate) fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Names the step where it happens.
pub(crate) trait At<T> {
    /// Adds what was attempted, or on which thing.
    fn at(self, what: impl AsRef<std::ffi::OsStr>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, what: impl AsRef<std::ffi::OsStr>) -> Result<T, Error> {
        self.map_err(|error| Error::new(what.as_ref().to_string_lossy(), error.into().to_string()))
    }
}
