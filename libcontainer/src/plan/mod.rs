//! The plan: everything that will be done for a container, decided before anything is done.
//!
//! Runs nowhere: pure functions from the config, the caller's options and facts about the host to data. No
//! I/O, no clock, no environment. What the config repeats is a list; what the kernel orders is a field.

pub mod affinity;
pub mod capability;
pub mod cgroup;
mod describe;
pub mod devices;
pub mod document;
pub mod facts;
pub mod hooks;
pub mod ids;
pub mod invalid;
pub mod limits;
pub(crate) mod list;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod options;
pub mod process;
pub mod rdt;
pub mod rlimit;
pub mod schedule;
pub mod seccomp;
pub mod step;
pub mod sysctl;
pub mod systemd;
pub(crate) mod update;
pub mod version;

use std::fmt;

use oci_spec::runtime::{Process as SpecProcess, Spec};
use serde::Serialize;

use affinity::Affinity;
use cgroup::{Cgroup, Driver};
use describe::{Described, ProcessStep};
use facts::Facts;
use hooks::Hooks;
use ids::Ids;
use invalid::{Finding, Findings, Invalid};
use mounts::Rootfs;
use namespaces::Entry;
use net_devices::NetDevice;
use process::{Kernel, Process};
use rdt::Rdt;
use seccomp::Seccomp;
use step::Step;

/// What the caller decides beside the config: it changes the plan, so it is an input of compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// The container's id; names the default cgroup and the session keyring.
    pub id: String,
    /// The bundle's directory, absolute: relative paths of the config count from it.
    pub bundle: String,
    /// Change the root with pivot_root(2); otherwise move the mount and chroot (`--no-pivot`).
    pub pivot: bool,
    /// Give the container a session keyring of its own (not with `--no-new-keyring`).
    pub keyring: bool,
    /// Refuse what is tolerated for the sake of clients (`--strict`).
    pub strict: bool,
    /// Who makes the container's cgroup (`--cgroup-manager`).
    pub driver: Driver,
}

/// A container, decided. In the order in which it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its namespaces.
    pub entry: Entry,
    /// The runtime makes the new network namespace and hands it over, while the container's process mounts: the one takes
    /// as long as the other.
    #[serde(skip)]
    pub lends_network: bool,
    /// The process mounts what it can while its unit is made; it waits for that no sooner than a mount of cgroups does.
    #[serde(skip)]
    pub mounts_beside_unit: bool,
    /// Its root may be changed before all mounts are made: what they take from the host can be opened before.
    #[serde(skip)]
    pub leaves_host_early: bool,
    /// Its user ids.
    pub ids: Ids,
    /// Its cgroup and limits.
    pub cgroup: Cgroup,
    /// Its share of caches and memory bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdt: Option<Rdt>,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// Network devices that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net_devices: Vec<NetDevice>,
    /// Host name and kernel parameters.
    pub kernel: Kernel,
    /// Its program; a container without one can be created, not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Its system call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// Programs to run along the way.
    pub hooks: Hooks,
    /// What the specification wants a warning for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Finding>,
}

/// A program to run in a container that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecPlan {
    /// Root exists in the container's user namespace.
    pub become_root: bool,
    /// The program.
    pub process: Process,
    /// The CPUs that it runs on.
    #[serde(skip_serializing_if = "Affinity::is_unset")]
    pub affinity: Affinity,
    /// The container's system call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// What the specification wants a warning for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Finding>,
}

impl ExecPlan {
    /// Names a step of this plan, as [`Plan::describe`] does.
    pub fn describe(&self, step: Step) -> impl fmt::Display + '_ {
        ProcessStep { process: Some(&self.process), seccomp: self.seccomp.as_ref(), step }
    }
}

impl Plan {
    /// Compiles a config into a plan.
    ///
    /// # Errors
    /// Everything that is wrong with the config, each with a JSON pointer and a clause of the specification.
    pub fn compile(spec: &Spec, choices: &Choices, facts: &Facts) -> Result<Plan, Invalid> {
        let mut findings = Findings::new(choices.strict);
        check_document(spec, &mut findings);
        let entry = namespaces::compile(spec, facts, &mut findings);
        let ids = ids::compile(spec, &entry, &mut findings);
        let owner = cgroup::owner(spec, &entry, facts);
        let cgroup = Cgroup { owner, ..cgroup::compile(spec, choices, facts, &mut findings) };
        let rdt = rdt::compile(spec, choices, facts, &mut findings);
        mounts::check_owners(spec, &ids, &mut findings);
        let rootfs = mounts::compile(spec, choices, facts, &entry, &cgroup, &mut findings);
        let net_devices = net_devices::compile(spec, &entry, facts, &mut findings);
        let kernel = process::kernel(spec, choices, &entry, &mut findings);
        let process = process::compile(spec, facts, &entry, &ids, &mut findings);
        let seccomp = seccomp::compile(spec, &mut findings);
        let hooks = hooks::compile(spec, &mut findings);
        let warnings = findings.finish()?;
        let lends_network = lends_network(&entry, &cgroup, facts);
        let mounts_beside_unit = mounts_beside_unit(&entry, &cgroup);
        let leaves_host_early = leaves_host_early(&entry, &rootfs, &hooks, facts);
        Ok(Plan {
            entry,
            lends_network,
            mounts_beside_unit,
            leaves_host_early,
            ids,
            cgroup,
            rdt,
            rootfs,
            net_devices,
            kernel,
            process,
            seccomp,
            hooks,
            warnings,
        })
    }

    /// Compiles one more program for a container that exists: it gets everything that the container's own
    /// program has, unless `process` says otherwise.
    ///
    /// # Errors
    /// Everything that is wrong with `process`.
    pub fn compile_exec(spec: &Spec, process: &SpecProcess, facts: &Facts) -> Result<ExecPlan, Invalid> {
        // The container exists, so what its config says has been accepted before.
        let entry = namespaces::compile(spec, facts, &mut Findings::default());
        let ids = ids::compile(spec, &entry, &mut Findings::default());
        let seccomp = seccomp::compile(spec, &mut Findings::default());
        let mut findings = Findings::default();
        let affinity = affinity::compile(process, &mut findings);
        let process = process::compile_process(process, spec, facts, &entry, &ids, &mut findings);
        let warnings = findings.finish()?;
        let process =
            process.ok_or_else(|| Finding { at: "/process".into(), says: "is missing".into(), spec: "" })?;
        Ok(ExecPlan { become_root: ids.become_root, process, affinity, seccomp, warnings })
    }

    /// Every step of this plan that can fail by itself, about in the order in which they are taken.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut each = |step: fn(u16) -> Step, count: usize| steps.extend((0..).take(count).map(step));
        let (rootfs, hooks) = (&self.rootfs, &self.hooks);
        each(Step::RdtSchema, self.rdt.as_ref().map_or(0, |rdt| rdt.schemata.len()));
        let joined = self.entry.join.len() + usize::from(self.entry.step_in.is_some());
        each(Step::OpenNamespace, joined);
        each(Step::CgroupCreate, self.cgroup.hierarchies.len());
        each(Step::CgroupWrite, self.cgroup.writes.len());
        // Version 1 comes first; version 2 is entered by the clone.
        each(Step::CgroupJoin, self.cgroup.legacy().count());
        each(Step::Join, joined);
        each(Step::TimeOffset, self.entry.offsets.len());
        each(Step::Mount, rootfs.mounts.len());
        each(Step::Device, rootfs.devices.len());
        each(Step::Link, rootfs.links.len());
        each(Step::NetDevice, self.net_devices.len());
        each(Step::Prestart, hooks.prestart.len());
        each(Step::CreateRuntime, hooks.create_runtime.len());
        each(Step::CreateContainer, hooks.create_container.len());
        each(Step::Sysctl, self.kernel.sysctls.len());
        each(Step::ReadonlyPath, rootfs.readonly_paths.len());
        each(Step::Mask, rootfs.masked.len());
        each(Step::Rlimit, self.process.as_ref().map_or(0, |p| p.rlimits.len()));
        each(Step::StartContainer, hooks.start_container.len());
        for (mount, i) in rootfs.mounts.iter().zip(0..) {
            steps.extend(mount.is_opened_by_runtime().then_some(Step::OpenSource(i)));
            steps.extend(mount.what.idmap().map(|_| Step::MapMount(i)));
        }
        let process = self.process.as_ref();
        let has = |want: fn(&Process) -> bool| process.is_some_and(want);
        let once = [
            (Step::Record, true),
            (Step::CompileFilter, self.process.is_some() && self.seccomp.is_some()),
            (Step::HookOutput, !self.hooks.output.is_empty()),
            (Step::RdtGroup, self.rdt.is_some()),
            (Step::RdtMonitor, self.rdt.as_ref().is_some_and(|rdt| rdt.monitor.is_some())),
            (Step::RdtJoin, self.rdt.is_some()),
            (Step::Clone, true),
            (Step::Seal, true),
            (Step::Signals, true),
            (Step::CloseFiles, true),
            (Step::Unshare, !self.entry.unshare.is_empty() || self.entry.unshare_user),
            (Step::MapIds, self.ids.maps.is_some()),
            (Step::BecomeRoot, self.ids.become_root),
            (Step::Network, self.lends_network),
            (Step::Loopback, self.kernel.loopback),
            (Step::Refork, self.entry.refork),
            (Step::Unit, self.cgroup.unit.is_some()),
            (Step::CgroupOwner, self.cgroup.owner.is_some()),
            (Step::DeviceProgram, !self.cgroup.devices.is_empty()),
            (Step::Propagation, true),
            (Step::Root, true),
            (Step::Pivot, true),
            (Step::Hostname, self.kernel.hostname.is_some()),
            (Step::Domainname, self.kernel.domainname.is_some()),
            (Step::Keyring, self.kernel.keyring.is_some()),
            (Step::ReadonlyRoot, true),
            (Step::Console, has(|p| p.terminal.is_some())),
            (Step::OomScore, has(|p| p.oom_score_adj.is_some())),
            (Step::Personality, has(|p| p.personality.is_some())),
            (Step::MemoryPolicy, has(|p| p.memory_policy.is_some())),
            (Step::Scheduler, has(|p| p.scheduler.is_some())),
            (Step::IoPriority, has(|p| p.io_priority.is_some())),
            (Step::Cwd, process.is_some()),
            (Step::Label, has(|p| p.label.is_some())),
            (Step::Capabilities, process.is_some()),
            (Step::Groups, process.is_some()),
            (Step::User, process.is_some()),
            (Step::NoNewPrivileges, has(|p| p.no_new_privileges)),
            (Step::FindProgram, process.is_some()),
            (Step::AwaitStart, true),
            (Step::LoadFilter, self.seccomp.is_some()),
            (Step::SendListener, self.seccomp.as_ref().is_some_and(|s| s.listener.is_some())),
            (Step::Exec, process.is_some()),
        ];
        steps.extend(once.into_iter().filter(|(_, taken)| *taken).map(|(step, _)| step));
        steps
    }

    /// Names a step of this plan in the config's words, such as `mounts[3]: proc on /proc`.
    pub fn describe(&self, step: Step) -> impl fmt::Display + '_ {
        Described { plan: self, step }
    }
}

/// Not if the process waits for cgroups meanwhile, or another user namespace is to own it; and not without the host's
/// rights: the runtime's own network namespace may be one that it could leave and not come back to.
fn lends_network(entry: &Entry, cgroup: &Cgroup, facts: &Facts) -> bool {
    let waits = cgroup.legacy().next().is_some() || cgroup.unit.is_some();
    let is_new = entry.unshare.contains(namespaces::Namespace::Network);
    is_new && facts.privileged && !entry.changes_user() && !waits
}

/// Not with version 1 cgroups, whose files are to be found while the host is; nor if ids are mapped by then; nor for a
/// second process, which has to be born where the first one has been moved.
fn mounts_beside_unit(entry: &Entry, cgroup: &Cgroup) -> bool {
    cgroup.unit.is_some() && cgroup.legacy().next().is_none() && !entry.changes_user() && !entry.refork
}

/// Not for another user namespace, nor without the host's rights: the kernel lets a new procfs be mounted only beside
/// another one there. Nor for hooks that are to find the host in the container's namespace, before its root is changed.
fn leaves_host_early(entry: &Entry, rootfs: &Rootfs, hooks: &Hooks, facts: &Facts) -> bool {
    let is_new = entry.unshare.contains(namespaces::Namespace::Mount);
    is_new && facts.privileged && !entry.changes_user() && !hooks.any_before_root() && !rootfs.needs_host()
}

fn check_document(spec: &Spec, findings: &mut Findings) {
    version::check(spec.version(), findings);
    if spec.root().is_none() {
        findings.error("/root", "is required on Linux", "config.md#root");
    }
    if spec.annotations().as_ref().is_some_and(|annotations| annotations.contains_key("")) {
        findings.error(
            "/annotations/",
            "is a key without a name; remove it or name it",
            "config.md#annotations",
        );
    }
}

/// How the names of crun's annotations begin, of which this runtime understands some.
pub const ANNOTATIONS: &str = "run.oci.";

/// What the annotation `name` says, if it says anything.
#[must_use]
pub fn annotation<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str).filter(|says| !says.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::facts::{CgroupFacts, CgroupVersion, HierarchyFacts};
    use super::*;
    use std::sync::LazyLock;

    /// A privileged runtime on a host with the unified hierarchy.
    pub(crate) static FACTS: LazyLock<Facts> = LazyLock::new(|| Facts {
        privileged: true,
        uid: 0,
        gid: 0,
        capabilities: (1 << 41) - 1,
        last_capability: 40,
        cgroup: CgroupFacts {
            hierarchies: vec![HierarchyFacts {
                version: CgroupVersion::V2,
                mount: "/sys/fs/cgroup".into(),
                controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"].map(String::from).to_vec(),
                own: "/user.slice/session.scope".into(),
            }],
            huge_page_sizes: vec!["2MB".into(), "1GB".into()],
        },
        apparmor: false,
        selinux: false,
        resctrl: None,
        named: None,
        systemd: None,
    });

    /// Choices as `ketch create` makes them.
    pub(crate) fn choices() -> Choices {
        let (id, bundle) = ("box".into(), "/bundle".into());
        Choices { id, bundle, pivot: true, keyring: true, strict: false, driver: Driver::Files }
    }

    /// A document with the parts that are required, overlaid with `part`.
    pub(crate) fn spec(part: serde_json::Value) -> Spec {
        let mut document = serde_json::json!({"ociVersion": "1.2.0", "root": {"path": "rootfs"}});
        for (key, value) in part.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }
}
