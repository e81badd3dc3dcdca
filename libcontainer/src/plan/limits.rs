//! Limits: what `linux.resources` asks for, as writes into cgroup files, in the words of each version. Pure.
//!
//! Each controller is looked up in the hierarchy that has it, and spoken to in that hierarchy's version, so a
//! hybrid host needs no case of its own. `create` and `update` share this: a write never undoes what the config
//! does not name. Zeros mean "not asked", as Docker's `update` sends them; where zero is a limit, it says so.

mod block_io;
mod cpu;
mod memory;
mod others;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::fmt;

use oci_spec::runtime::LinuxResources;
use serde::Serialize;

use super::facts::CgroupVersion;
use super::invalid::Findings;

/// A hierarchy that the container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hierarchy {
    /// Version 1 or 2.
    pub version: CgroupVersion,
    /// Where it is mounted.
    pub mount: String,
    /// Its controllers; `name=systemd` for a named one.
    pub controllers: Vec<String>,
    /// Controllers to turn on in every parent (`cgroup.subtree_control`), version 2 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enable: Vec<String>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Index of its hierarchy.
    pub hierarchy: u16,
    /// The file.
    pub file: String,
    /// What is written into it.
    pub value: String,
    /// The property of the config that asks for it, as a JSON pointer.
    pub at: String,
    /// The file may be missing: then another write says the same, or the kernel does it anyway.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_be_absent: bool,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: write {:?}", self.file, self.value)
    }
}

/// Converts `resources` for a cgroup that lives in `hierarchies`, in the order in which they are written:
/// cpu, cpuset, block I/O, memory, huge pages, pids, network, rdma; `unified` last, so that it wins.
///
/// `huge_page_sizes` are the sizes that the host has, see [`super::facts::CgroupFacts`]. Device rules are not
/// among the writes: they have types of their own, see [`super::cgroup::device_writes`].
pub fn compile(
    resources: &LinuxResources,
    hierarchies: &[Hierarchy],
    huge_page_sizes: &[String],
    findings: &mut Findings,
) -> Vec<Write> {
    let mut limits = Limits { hierarchies, findings, writes: Vec::new(), refused: Vec::new() };
    if let Some(cpu) = resources.cpu() {
        cpu::compile(cpu, &mut limits);
    }
    if let Some(block_io) = resources.block_io() {
        block_io::compile(block_io, &mut limits);
    }
    if let Some(memory) = resources.memory() {
        memory::compile(memory, &mut limits);
    }
    others::huge_pages(
        resources.hugepage_limits().as_deref().unwrap_or_default(),
        huge_page_sizes,
        &mut limits,
    );
    if let Some(pids) = resources.pids() {
        others::pids(pids, &mut limits);
    }
    if let Some(network) = resources.network() {
        others::network(network, &mut limits);
    }
    if let Some(rdma) = resources.rdma() {
        others::rdma(rdma, &mut limits);
    }
    if let Some(unified) = resources.unified() {
        others::unified(unified, &mut limits);
    }
    for write in &limits.writes {
        if write.value.contains(['\0', '\n']) {
            let says =
                format!("{:?} has a line feed or NUL, where the kernel would stop reading", write.value);
            limits.findings.error(&write.at, says, "config-linux.md#control-groups");
        }
    }
    limits.writes
}

/// A controller, by its name in each version.
struct Controller {
    v1: &'static str,
    /// Empty if version 2 has no such controller.
    v2: &'static str,
    /// The section of the specification about its limits.
    spec: &'static str,
}

const CPU: Controller = Controller { v1: "cpu", v2: "cpu", spec: "config-linux.md#cpu" };
const CPUSET: Controller = Controller { v1: "cpuset", v2: "cpuset", spec: "config-linux.md#cpu" };
const BLOCK_IO: Controller = Controller { v1: "blkio", v2: "io", spec: "config-linux.md#block-io" };
const MEMORY: Controller = Controller { v1: "memory", v2: "memory", spec: "config-linux.md#memory" };
const HUGETLB: Controller =
    Controller { v1: "hugetlb", v2: "hugetlb", spec: "config-linux.md#huge-page-limits" };
const PIDS: Controller = Controller { v1: "pids", v2: "pids", spec: "config-linux.md#pids" };
const NET_CLS: Controller = Controller { v1: "net_cls", v2: "", spec: "config-linux.md#network" };
const NET_PRIO: Controller = Controller { v1: "net_prio", v2: "", spec: "config-linux.md#network" };
const RDMA: Controller = Controller { v1: "rdma", v2: "rdma", spec: "config-linux.md#rdma" };

/// No controller: files of version 2 by name, whatever their controller.
const UNIFIED: Controller = Controller { v1: "", v2: "", spec: "config-linux.md#unified" };

/// How a property is said to one version of cgroups.
enum Word {
    /// This value, into this file.
    Write(String, String),
    /// The same, but the file may be missing: then another write says it, or nothing needs to be said.
    Maybe(String, String),
    /// Nothing needs to be said: it is so already.
    Needless,
    /// It cannot be said, for this reason.
    Refused(String),
}

impl Word {
    fn write(file: impl Into<String>, value: impl ToString) -> Word {
        Word::Write(file.into(), value.to_string())
    }

    fn maybe(file: impl Into<String>, value: impl ToString) -> Word {
        Word::Maybe(file.into(), value.to_string())
    }

    /// The answer of version 2 to a property that only version 1 has: to leave it out would be a lie.
    fn not_in_v2() -> Word {
        Word::Refused(
            "only cgroup version 1 has it, and this host's controller is version 2; remove it".into(),
        )
    }
}

/// The writes so far.
struct Limits<'a> {
    hierarchies: &'a [Hierarchy],
    findings: &'a mut Findings,
    writes: Vec<Write>,
    /// Properties whose controller is missing.
    refused: Vec<String>,
}

impl Limits<'_> {
    /// Says a property to the hierarchy that has `controller`. `at` is its place below `/linux/resources`.
    fn say(&mut self, controller: &Controller, at: &str, v1: Word, v2: Word) {
        let Some((hierarchy, version)) = self.find(controller) else {
            return self.missing(controller, at);
        };
        let word = if version == CgroupVersion::V1 { v1 } else { v2 };
        let (file, value, may_be_absent) = match word {
            Word::Write(file, value) => (file, value, false),
            Word::Maybe(file, value) => (file, value, true),
            Word::Needless => return,
            Word::Refused(why) => return self.error(controller, at, why),
        };
        self.push(hierarchy, file, value, at, may_be_absent);
    }

    fn push(&mut self, hierarchy: u16, file: String, value: String, at: &str, may_be_absent: bool) {
        self.writes.push(Write { hierarchy, file, value, at: pointer(at), may_be_absent });
    }

    /// The hierarchy that has `controller`, and its version.
    fn find(&self, controller: &Controller) -> Option<(u16, CgroupVersion)> {
        let has = |h: &Hierarchy| {
            let name = if h.version == CgroupVersion::V1 { controller.v1 } else { controller.v2 };
            h.controllers.iter().any(|c| c == name)
        };
        let i = self.hierarchies.iter().position(has)?;
        Some((u16::try_from(i).ok()?, self.hierarchies.get(i)?.version))
    }

    /// Some properties are two writes, but one mistake.
    fn missing(&mut self, controller: &Controller, at: &str) {
        if self.refused.iter().any(|other| other == at) {
            return;
        }
        self.refused.push(at.to_owned());
        let only_v1 = if controller.v2.is_empty() { ", which only cgroup version 1 has" } else { "" };
        let says = format!(
            "needs the cgroup controller {}{only_v1}; this host does not have it turned on. \
             Turn it on, or remove the property",
            controller.v1
        );
        self.error(controller, at, says);
    }

    fn error(&mut self, controller: &Controller, at: &str, says: impl Into<String>) {
        self.findings.error(pointer(at), says, controller.spec);
    }

    fn warn(&mut self, controller: &Controller, at: &str, says: impl Into<String>) {
        self.findings.tolerate(pointer(at), says, controller.spec);
    }
}

fn pointer(at: &str) -> String {
    format!("/linux/resources/{at}")
}

/// What was asked, if it was: zero is how clients say that they ask for nothing.
fn asked<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|v| *v != T::default())
}

/// A limit in the words of version 2, where everything below zero is `max`.
fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}
