//! Text that the kernel is handed as it is: NUL-terminated once, in whichever process parses it.

use std::ffi::{CStr, CString};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kernel's limit on a path, its NUL included (`PATH_MAX`, limits.h).
pub const PATH_MAX: usize = 4096;

/// Text without a NUL byte, stored the way system calls take it.
///
/// Everything that the container's process passes to the kernel is one of these, made before the clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelString(CString);

/// Why a text cannot be handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has a NUL byte, where the kernel would stop reading.
    #[error("contains a NUL byte")]
    Nul,
    /// It is empty where a path is needed.
    #[error("is empty")]
    Empty,
    /// It is longer than the kernel's `PATH_MAX`.
    #[error("is longer than 4095 bytes")]
    TooLong,
}

impl KernelString {
    /// Takes `text` over.
    ///
    /// # Errors
    /// [`Unusable::Nul`] if it has a NUL byte.
    pub fn new(text: impl Into<Vec<u8>>) -> Result<KernelString, Unusable> {
        CString::new(text).map(KernelString).map_err(|_| Unusable::Nul)
    }

    /// Takes `path` over as a path of the runtime's own mount namespace.
    ///
    /// # Errors
    /// It must be non-empty, without NUL bytes and short enough for the kernel.
    pub fn path(path: &str) -> Result<KernelString, Unusable> {
        match path.len() {
            0 => Err(Unusable::Empty),
            PATH_MAX.. => Err(Unusable::TooLong),
            _ => KernelString::new(path),
        }
    }

    /// The text as system calls take it.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// The text as it was read: JSON strings are UTF-8, so nothing is lost.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Debug for KernelString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for KernelString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for KernelString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KernelString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KernelString, D::Error> {
        KernelString::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A path inside the container, absolute, not yet resolved.
///
/// Symbolic links on it are the container's to set, so a `RootPath` is never joined to a host path:
/// only [`crate::sys::Root`] turns one into a descriptor, inside the container's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RootPath(KernelString);

impl RootPath {
    /// Reads a path of the container. A relative one counts from `/`; empty and `.` components go,
    /// `..` stays, because only the kernel knows what it means behind a symbolic link.
    ///
    /// # Errors
    /// It must be non-empty, without NUL bytes and short enough for the kernel.
    pub fn new(path: &str) -> Result<RootPath, Unusable> {
        if path.is_empty() {
            return Err(Unusable::Empty);
        }
        let mut clean = String::with_capacity(path.len() + 1);
        for component in path.split('/').filter(|c| !c.is_empty() && *c != ".") {
            clean.push('/');
            clean.push_str(component);
        }
        if clean.is_empty() {
            clean.push('/');
        }
        KernelString::path(&clean).map(RootPath)
    }

    /// The path as system calls take it; it begins with a slash.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        self.0.as_c_str()
    }

    /// The path as text; it begins with a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether this is the container's root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.as_str() == "/"
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_path_is_absolute_and_keeps_dot_dot() {
        let clean = |path| RootPath::new(path).map(|p| p.as_str().to_owned());
        assert_eq!(clean("/a//b/./c/").as_deref(), Ok("/a/b/c"));
        assert_eq!(clean("a/b").as_deref(), Ok("/a/b"));
        assert_eq!(clean("/a/../../b").as_deref(), Ok("/a/../../b"));
        assert_eq!(clean("//.").as_deref(), Ok("/"));
        assert_eq!(clean(""), Err(Unusable::Empty));
        assert_eq!(clean("/a\0b"), Err(Unusable::Nul));
        assert_eq!(clean(&"/a".repeat(2100)), Err(Unusable::TooLong));
    }
}
