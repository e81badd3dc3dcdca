//! What the measurements stand on: the compiled C programs, a root file system, and a bundle for each case.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bundles::{Shape, make_dir};
use crate::error::{At, Error};
use crate::layout;

/// The C sources, part of this program so that it can be copied to another machine alone.
const SOURCES: &[(&str, &str)] = &[
    ("floor.h", include_str!("../../../bench/floor.h")),
    ("floor.c", include_str!("../../../bench/floor.c")),
    ("floor_cgroup.c", include_str!("../../../bench/floor_cgroup.c")),
    ("floor_init.c", include_str!("../../../bench/floor_init.c")),
    ("floor_root.c", include_str!("../../../bench/floor_root.c")),
    ("floor_filter.h", include_str!("../../../bench/floor_filter.h")),
    ("meter.c", include_str!("../../../bench/meter.c")),
    ("payload.c", include_str!("../../../bench/payload.c")),
];

/// Each program and what it is compiled from.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("floor", &["floor.c", "floor_cgroup.c", "floor_init.c", "floor_root.c"]),
    ("meter", &["meter.c"]),
    ("payload", &["payload.c"]),
];

/// The scratch directory, prepared.
#[derive(Debug)]
pub(crate) struct Stage {
    scratch: PathBuf,
    state: PathBuf,
    /// Name of the parent cgroup.
    parent: String,
    /// The machine, as the layout shows it.
    v2: bool,
}

impl Stage {
    /// Compiles the programs; both directories exist and are empty.
    pub(crate) fn new(scratch: PathBuf, state: PathBuf, parent: String) -> Result<Self, Error> {
        // A container in a new user namespace goes through it.
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755)).at(&scratch)?;
        match env::var_os("PROGRAMS") {
            None => compile_all(&scratch)?,
            Some(directory) => {
                for (program, _) in PROGRAMS {
                    let from = Path::new(&directory).join(program);
                    fs::copy(&from, scratch.join(program)).at(&from)?;
                }
            }
        }
        Ok(Self { scratch, state, parent, v2: layout::is_v2()? })
    }

    /// The cgroup that has the containers' ones.
    pub(crate) fn parent(&self) -> &str {
        &self.parent
    }

    /// A directory of its own for whoever asks.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let directory = self.scratch.join(name);
        make_dir(&directory)?;
        Ok(directory)
    }

    /// The floor's program.
    pub(crate) fn floor(&self) -> PathBuf {
        self.scratch.join("floor")
    }

    /// A program that tells how much memory another took.
    pub(crate) fn meter(&self) -> PathBuf {
        self.scratch.join("meter")
    }

    /// Where the meter writes.
    pub(crate) fn reading(&self) -> PathBuf {
        self.scratch.join("reading")
    }

    /// Where a runtime writes the pid of a created container: beside its state, as engines have it.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.state.join("pid")
    }

    /// A file that takes a runtime's standard error, to be read if it fails.
    pub(crate) fn stderr(&self) -> io::Result<File> {
        File::create(self.stderr_path())
    }

    /// The first line of what the last command wrote to standard error.
    pub(crate) fn complaint(&self) -> String {
        let text = fs::read_to_string(self.stderr_path()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn stderr_path(&self) -> PathBuf {
        self.scratch.join("stderr")
    }

    /// The state directory (`--root`) of a runtime, made at need.
    pub(crate) fn root(&self, runtime: &str) -> Result<PathBuf, Error> {
        let root = self.state.join(runtime);
        make_dir(&root)?;
        Ok(root)
    }

    /// Makes a bundle whose container runs `command` in the cgroup `PARENT/ID`.
    pub(crate) fn bundle(
        &self,
        name: &str,
        id: &str,
        command: &str,
        shape: &Shape,
    ) -> Result<PathBuf, Error> {
        let bundle = self.scratch.join(name);
        shape.build(&bundle, &self.scratch.join("payload"))?;
        self.configure(&bundle, id, command, shape)?;
        Ok(bundle)
    }

    /// Writes a bundle's config.json again, for this container.
    pub(crate) fn configure(
        &self,
        bundle: &Path,
        id: &str,
        command: &str,
        shape: &Shape,
    ) -> Result<(), Error> {
        let config = shape.config(bundle, command, &format!("{}/{id}", self.parent), self.v2)?;
        let file = bundle.join(CONFIG);
        fs::write(&file, config.to_string()).at(&file)
    }

    /// Changes one thing in the object `resources` or another of a bundle's config.json.
    pub(crate) fn amend(&self, bundle: &Path, pointer: &str, value: Value) -> Result<(), Error> {
        let mut config = read_config(bundle)?;
        let (above, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let object = config.pointer_mut(above).and_then(Value::as_object_mut);
        object.ok_or_else(|| Error::new(above, "not in config.json"))?.insert(name.to_owned(), value);
        let file = bundle.join(CONFIG);
        fs::write(&file, config.to_string()).at(&file)
    }

    /// The program in a bundle's config.json; nothing if there is none.
    pub(crate) fn command_of(&self, bundle: &Path) -> String {
        let config = read_config(bundle).unwrap_or_default();
        config["process"]["args"][0].as_str().unwrap_or_default().to_owned()
    }

    /// Removes what a failed container left in every hierarchy; its processes have ended.
    pub(crate) fn remove_cgroup(&self, id: &str) {
        layout::remove(&format!("{}/{id}", self.parent));
    }
}

const CONFIG: &str = "config.json";

fn read_config(bundle: &Path) -> Result<Value, Error> {
    let file = bundle.join(CONFIG);
    let text = fs::read_to_string(&file).at(&file)?;
    serde_json::from_str(&text).at(&file)
}

/// Writes the sources into a directory and compiles them there.
pub(crate) fn compile_all(directory: &Path) -> Result<(), Error> {
    for (name, text) in SOURCES {
        fs::write(directory.join(name), text).at(name)?;
    }
    PROGRAMS.iter().try_for_each(|(program, sources)| compile(directory, program, sources))
}

fn compile(scratch: &Path, program: &str, sources: &[&str]) -> Result<(), Error> {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o", program]).args(sources).current_dir(scratch).stdin(Stdio::null());
    let status = cc.status().at("cc")?;
    if status.success() { Ok(()) } else { Err(Error::new(program, format!("cc: {status}"))) }
}
