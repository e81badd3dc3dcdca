//! A bundle: a directory with config.json. Spec: bundle.md.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::plan::document;
use crate::plan::invalid::{Finding, Invalid};

/// The name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";

/// A bundle that has been read.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Its directory, absolute.
    pub path: PathBuf,
    /// The configuration.
    pub spec: Spec,
    /// The configuration as it stands in the file: it is kept, so that later edits have no effect.
    pub text: Vec<u8>,
    /// What the specification wants a warning for.
    pub warnings: Vec<Finding>,
}

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file cannot be read.
    #[error("read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no valid document.
    #[error(transparent)]
    Document(#[from] Invalid),
}

impl Bundle {
    /// Reads the bundle in `directory`.
    ///
    /// # Errors
    /// The file cannot be read, or is no document of the specification.
    pub fn load(directory: &Path) -> Result<Bundle, Unreadable> {
        let absolute = std::path::absolute(directory);
        let path = absolute.map_err(|source| Unreadable::File { path: directory.to_owned(), source })?;
        let config = path.join(CONFIG);
        let text = fs::read(&config).map_err(|source| Unreadable::File { path: config, source })?;
        let (spec, warnings) = document::parse(&text)?;
        Ok(Bundle { path, spec, text, warnings })
    }
}
