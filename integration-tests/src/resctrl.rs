//! A plain directory that looks like resctrl, which few machines have; debug builds can be pointed at it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use spec_conformance::Runtime;
use tempfile::TempDir;

use crate::{ketch, runtime_of};

/// A directory with the files of a machine with two caches.
#[derive(Debug)]
pub struct Resctrl {
    directory: TempDir,
}

impl Resctrl {
    /// Makes the directory.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new() -> Resctrl {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
        let resctrl = Resctrl { directory };
        resctrl.group("", "    L3:0=7ff;1=7ff\n    MB:0= 100;1= 100\n");
        resctrl.write("info/MB/bandwidth_gran", "10\n");
        resctrl
    }

    /// Makes a group with these schemata, as an administrator would. The empty name is the default group's.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn group(&self, name: &str, schemata: &str) {
        self.write(&format!("{name}/schemata"), schemata);
        self.write(&format!("{name}/tasks"), "");
        let monitors = self.path(&format!("{name}/mon_groups"));
        fs::create_dir(&monitors).unwrap_or_else(|error| panic!("{}: {error}", monitors.display()));
    }

    /// Writes a file below it, with the directories above.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let parent = path.parent().unwrap_or(Path::new("/"));
        let written =
            fs::DirBuilder::new().recursive(true).create(parent).and_then(|()| fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A path below it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    /// The lines of a file below it; none if there is no such file.
    pub fn lines(&self, path: &str) -> Vec<String> {
        fs::read_to_string(self.path(path)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The names of all directories below it.
    pub fn groups(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut rest = vec![self.directory.path().to_owned()];
        while let Some(directory) = rest.pop() {
            let below = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in below.filter(|path| path.is_dir()) {
                let name = path.strip_prefix(self.directory.path()).unwrap_or(&path);
                found.insert(name.display().to_string());
                rest.push(path);
            }
        }
        found
    }

    /// The runtime, which takes this for resctrl.
    ///
    /// # Panics
    /// The runtime is missing.
    pub fn runtime(&self) -> Runtime {
        let script = self.directory.path().join("ketch");
        let place = self.directory.path().display();
        let text = format!("#!/bin/sh\nexec {} --resctrl {place} \"$@\"\n", ketch().display());
        runtime_of(script, &text)
    }
}

impl Default for Resctrl {
    fn default() -> Resctrl {
        Resctrl::new()
    }
}
