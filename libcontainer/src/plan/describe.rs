//! Says each step of a plan in words: for errors, and for `plan --steps`. Pure.

use std::fmt;

use super::process::Process;
use super::seccomp::Seccomp;
use super::step::Step;
use super::{Plan, hooks, rdt};
use crate::path::KernelString;

/// A step of a plan, in words.
pub(super) struct Described<'a> {
    pub(super) plan: &'a Plan,
    pub(super) step: Step,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        let hook = |list: &[hooks::Hook], kind: &str, i: u16, f: &mut fmt::Formatter<'_>| {
            let path = list.get(usize::from(i)).map_or("?", |h| h.path.as_str());
            write!(f, "{kind} hook {i} ({path})")
        };
        match self.step {
            Step::CgroupCreate(i) | Step::CgroupJoin(i) => {
                let verb = if matches!(self.step, Step::CgroupCreate(_)) { "create" } else { "join" };
                write!(f, "{verb} cgroup {}", plan.cgroup.directory(usize::from(i)))
            }
            Step::CgroupWrite(i) => match plan.cgroup.writes.get(usize::from(i)) {
                Some(write) => write!(f, "cgroup {}: {}", plan.cgroup.path, write),
                None => f.write_str("cgroup limit"),
            },
            Step::Unit => {
                let name = plan.cgroup.unit.as_ref().map_or("?", |unit| unit.name.name.as_str());
                write!(f, "systemd unit {name}")
            }
            Step::DeviceProgram => write!(f, "cgroup {}: device program", plan.cgroup.path),
            Step::RdtGroup | Step::RdtSchema(_) | Step::RdtMonitor | Step::RdtJoin => {
                rdt::describe(plan.rdt.as_ref(), self.step, f)
            }
            Step::OpenNamespace(i) | Step::Join(i) => {
                match plan.entry.join.get(usize::from(i)).or(plan.entry.step_in.as_ref()) {
                    Some(join) => write!(f, "join {} namespace {}", join.kind.name(), join.path),
                    None => f.write_str("join namespaces"),
                }
            }
            Step::TimeOffset(i) => {
                let line = plan.entry.offsets.get(usize::from(i)).map_or("?", |o| o.line.as_str().trim_end());
                write!(f, "time offset {line}")
            }
            Step::Mount(i) | Step::OpenSource(i) | Step::MapMount(i) => {
                match plan.rootfs.mounts.get(usize::from(i)) {
                    Some(mount) => write!(f, "mounts[{i}]: {mount}"),
                    None => write!(f, "mounts[{i}]"),
                }
            }
            Step::Device(i) => match plan.rootfs.devices.get(usize::from(i)) {
                Some(device) => write!(f, "device {}", device.path),
                None => f.write_str("device"),
            },
            Step::Link(i) => {
                let path = plan.rootfs.links.get(usize::from(i)).map_or("?", |l| l.path.as_str());
                write!(f, "symbolic link {path}")
            }
            Step::NetDevice(i) => match self.plan.net_devices.get(usize::from(i)) {
                Some(device) if device.host == device.name => write!(f, "network device {}", device.host),
                Some(device) => write!(f, "network device {} as {}", device.host, device.name),
                None => f.write_str("network device"),
            },
            Step::Mask(i) => write!(f, "maskedPaths[{i}]: {}", path_at(&plan.rootfs.masked, i)),
            Step::ReadonlyPath(i) => {
                write!(f, "readonlyPaths[{i}]: {}", path_at(&plan.rootfs.readonly_paths, i))
            }
            Step::Sysctl(i) => match plan.kernel.sysctls.get(usize::from(i)) {
                Some(sysctl) => write!(f, "sysctl {}", sysctl.key),
                None => f.write_str("sysctl"),
            },
            Step::Prestart(i) => hook(&plan.hooks.prestart, "prestart", i, f),
            Step::CreateRuntime(i) => hook(&plan.hooks.create_runtime, "createRuntime", i, f),
            Step::CreateContainer(i) => hook(&plan.hooks.create_container, "createContainer", i, f),
            Step::StartContainer(i) => hook(&plan.hooks.start_container, "startContainer", i, f),
            Step::Poststart(i) => hook(&plan.hooks.poststart, "poststart", i, f),
            Step::Poststop(i) => hook(&plan.hooks.poststop, "poststop", i, f),
            Step::Root => write!(f, "root file system {}", plan.rootfs.path),
            step => {
                ProcessStep { process: plan.process.as_ref(), seccomp: plan.seccomp.as_ref(), step }.fmt(f)
            }
        }
    }
}

/// A step that concerns the program alone, or that happens once.
pub(super) struct ProcessStep<'a> {
    pub(super) process: Option<&'a Process>,
    pub(super) seccomp: Option<&'a Seccomp>,
    pub(super) step: Step,
}

impl fmt::Display for ProcessStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Step::SendListener, Some(listener)) =
            (self.step, self.seccomp.and_then(|s| s.listener.as_ref()))
        {
            return write!(f, "send the seccomp listener to {}", listener.path);
        }
        let Some(process) = self.process else { return f.write_str(phrase(self.step)) };
        let name = || process.args.first().map_or("?", KernelString::as_str);
        match self.step {
            Step::Rlimit(i) => {
                write!(f, "rlimit {}", process.rlimits.get(usize::from(i)).map_or("?", |r| r.name))
            }
            Step::Cwd => write!(f, "working directory {}", process.cwd),
            Step::Exec => write!(f, "exec {:?}", name()),
            Step::FindProgram => write!(f, "look for {:?}", name()),
            step => f.write_str(phrase(step)),
        }
    }
}

fn path_at(paths: &[crate::path::RootPath], i: u16) -> &str {
    paths.get(usize::from(i)).map_or("?", |p| p.as_str())
}

/// The steps that happen once, in words.
fn phrase(step: Step) -> &'static str {
    match step {
        Step::Join(_) => "join the container's namespaces",
        Step::CgroupJoin(_) => "join the container's cgroup",
        Step::InitialAffinity => "take the initial CPUs",
        Step::Affinity => "take the final CPUs",
        Step::RdtJoin => "join the container's resctrl group",
        Step::CompileFilter => "compile the seccomp filter",
        Step::HookOutput => "open the files for what hooks print",
        Step::ConnectConsole => "connect to the console socket",
        Step::Clone => "create the container's process",
        Step::MapIds => "map the ids of the user namespace",
        Step::Unshare => "make the new namespaces",
        Step::Network => "make the network namespace",
        Step::Refork => "create the process of the new pid namespace",
        Step::CgroupOwner => "hand the cgroup over to the container's user",
        Step::BecomeRoot => "become root of the user namespace",
        Step::Loopback => "bring up the loopback device",
        Step::Propagation => "set the propagation of the host's mounts",
        Step::EnterRoot => "enter a mount namespace of the root file system",
        Step::Pivot => "change the root",
        Step::Console => "set up the terminal",
        Step::ReadonlyRoot => "make the root file system read-only",
        Step::Hostname => "set the host name",
        Step::Domainname => "set the domain name",
        Step::Keyring => "join a new session keyring",
        Step::OomScore => "set oom_score_adj",
        Step::Scheduler => "set the scheduling policy",
        Step::IoPriority => "set the I/O priority",
        Step::MemoryPolicy => "set the memory policy",
        Step::Personality => "set the personality",
        Step::Groups => "set the supplementary groups",
        Step::User => "set the user",
        Step::Capabilities => "set the capabilities",
        Step::NoNewPrivileges => "set no_new_privs",
        Step::Label => "set the security label",
        Step::CloseFiles => "close inherited files",
        Step::AwaitStart => "wait for start",
        Step::LoadFilter => "load the seccomp filter",
        Step::SendListener => "send the seccomp listener",
        Step::Record => "write the container's record",
        Step::Seal => "change to a sealed copy of the runtime's binary",
        Step::Signals => "reset signals",
        _ => "talk to the container's process",
    }
}
