//! What is remembered of a container, as record.json has it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::facts::CgroupVersion;
use crate::plan::hooks::{Hook, OutputFiles};
use crate::plan::seccomp::Listener;
use crate::plan::systemd::UnitName;

/// What is remembered about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The form of this record; a reader refuses one that it does not know.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// `ociVersion` of the config.
    pub oci_version: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root file system's directory.
    pub rootfs: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The user who created it.
    pub owner: u32,
    /// The config's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its cgroup directories.
    pub cgroups: Vec<CgroupDirectory>,
    /// The unit of systemd's whose cgroup it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// Its resctrl group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<ResctrlGroup>,
    /// Its namespaces that are not the runtime's, as flags of setns(2).
    pub namespaces: i32,
    /// Its first process; none while it is being created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Identity>,
    /// It has a program to start.
    pub startable: bool,
    /// Who decides about its system calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// Hooks to run when its program has been started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Hooks to run when it has been deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// Where these hooks print.
    #[serde(default, skip_serializing_if = "OutputFiles::is_empty")]
    pub hook_output: OutputFiles,
}

/// The form of [`Record`] that this version writes.
pub const VERSION: u32 = 1;

/// A process, told from a later one of the same number by the time it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its pid.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat: clock ticks since boot.
    pub start_time: u64,
}

/// A cgroup directory of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDirectory {
    /// Version 1 or 2.
    pub version: CgroupVersion,
    /// Its absolute path.
    pub path: PathBuf,
    /// How many of its parents were made for it, and go with it when nobody else uses them.
    pub parents: usize,
    /// It has the freezer.
    pub freezer: bool,
}

/// The resctrl group of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResctrlGroup {
    /// Directories whose `tasks` each of its processes is written to, in this order.
    pub join: Vec<PathBuf>,
    /// Directories that were made for it and go with it, in this order.
    pub made: Vec<PathBuf>,
}
