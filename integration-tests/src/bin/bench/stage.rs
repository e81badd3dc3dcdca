//! What the measurements stand on: the compiled C programs, a root file system, and a bundle for each case.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::error::{At, Error};
use crate::layout;

/// The C sources, part of this program so that it can be copied to another machine alone.
const SOURCES: &[(&str, &str)] = &[
    ("floor.h", include_str!("../../../bench/floor.h")),
    ("floor.c", include_str!("../../../bench/floor.c")),
    ("floor_cgroup.c", include_str!("../../../bench/floor_cgroup.c")),
    ("floor_init.c", include_str!("../../../bench/floor_init.c")),
    ("meter.c", include_str!("../../../bench/meter.c")),
    ("payload.c", include_str!("../../../bench/payload.c")),
];

/// Each program and what it is compiled from.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("floor", &["floor.c", "floor_cgroup.c", "floor_init.c"]),
    ("meter", &["meter.c"]),
    ("payload", &["payload.c"]),
];

/// What `runc spec` writes, but for the terminal, the command and the cgroup.
const CONFIG: &str = include_str!("../../../bench/config.json");

/// The scratch directory, prepared.
#[derive(Debug)]
pub(crate) struct Stage {
    scratch: PathBuf,
    state: PathBuf,
    config: Value,
}

impl Stage {
    /// Compiles the programs; both directories exist and are empty.
    pub(crate) fn new(scratch: PathBuf, state: PathBuf) -> Result<Self, Error> {
        for (name, text) in SOURCES {
            fs::write(scratch.join(name), text).at(name)?;
        }
        for (program, sources) in PROGRAMS {
            compile(&scratch, program, sources)?;
        }
        Ok(Self { scratch, state, config: default_config()? })
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

    /// Where a runtime writes the pid of a created container.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.scratch.join("pid")
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

    /// Makes a bundle whose container runs `command` in the cgroup `ketch-bench/ID`; `change` edits its
    /// config.
    pub(crate) fn bundle(
        &self,
        name: &str,
        id: &str,
        command: &str,
        change: fn(&mut Value),
    ) -> Result<PathBuf, Error> {
        let bundle = self.scratch.join(name);
        let rootfs = bundle.join("rootfs");
        for directory in [&bundle, &rootfs, &rootfs.join("proc"), &rootfs.join("dev"), &rootfs.join("sys")] {
            make_dir(directory)?;
        }
        for program in ["true", "pause"] {
            fs::hard_link(self.scratch.join("payload"), rootfs.join(program)).at(rootfs.join(program))?;
        }
        let mut config = self.config.clone();
        config["process"]["args"] = json!([command]);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", layout::PARENT));
        change(&mut config);
        let file = bundle.join("config.json");
        fs::write(&file, config.to_string()).at(&file)?;
        Ok(bundle)
    }
}

fn make_dir(directory: &Path) -> Result<(), Error> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.at(directory),
    }
}

fn compile(scratch: &Path, program: &str, sources: &[&str]) -> Result<(), Error> {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o", program]).args(sources).current_dir(scratch).stdin(Stdio::null());
    let status = cc.status().at("cc")?;
    if status.success() { Ok(()) } else { Err(Error::new(program, format!("cc: {status}"))) }
}

/// `runc spec` adds a cgroup namespace where the machine has v2; the file has it.
fn default_config() -> Result<Value, Error> {
    let mut config: Value = serde_json::from_str(CONFIG).at("config.json")?;
    if !layout::is_v2()?
        && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
    {
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
    Ok(config)
}
