//! A bundle: a directory with config.json. Spec: bundle.md.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::plan::document::{self, Document, Mistakes};
use crate::plan::invalid::{Finding, Invalid};
use crate::sys::contents;
use crate::timeline::{self, Phase};

/// The name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";

/// A bundle that has been read.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Its directory, absolute.
    pub path: PathBuf,
    /// The configuration; with stand-ins for what is wrong with its form, for which nothing can be made of it.
    pub spec: Spec,
    /// The configuration as it stands in the file: it is kept, so that later edits have no effect.
    pub text: Vec<u8>,
    /// What the specification wants a warning for.
    pub warnings: Vec<Finding>,
    /// What is wrong with its form: it is said together with what is wrong with its meaning.
    pub(crate) mistakes: Mistakes,
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
    /// The file cannot be read, or is no JSON object.
    pub fn load(directory: &Path) -> Result<Bundle, Unreadable> {
        Bundle::load_with(directory, &directory.join(CONFIG))
    }

    /// Reads the bundle in `directory`, with another file for its config.json.
    ///
    /// # Errors
    /// The file cannot be read, or is no JSON object.
    pub fn load_with(directory: &Path, config: &Path) -> Result<Bundle, Unreadable> {
        timeline::during(Phase::Read, || Bundle::read(directory, config))
    }

    fn read(directory: &Path, config: &Path) -> Result<Bundle, Unreadable> {
        let unreadable = |path: &Path, source| Unreadable::File { path: path.to_owned(), source };
        let path = std::path::absolute(directory).map_err(|source| unreadable(directory, source))?;
        let text = contents::read(config).map_err(|stop| unreadable(config, stop.into()))?;
        let Document { spec, warnings, mistakes } = document::read(&text)?;
        Ok(Bundle { path, spec, text, warnings, mistakes })
    }
}
