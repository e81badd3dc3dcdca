//! Runs one more program in a container that exists. Runs in the runtime's process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;

use super::conversation::{adopt, died, garbled, gather};
use super::listener::Agent;
use super::{Because, Broken, Inside, rdt, ready_program, systemd};
use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::LastWords;
use crate::init::{self, Cpus, Entering, Orders, Start};
use crate::path::KernelString;
use crate::plan::affinity::Affinity;
use crate::plan::facts::CgroupVersion;
use crate::plan::namespaces::{Entry, Namespace};
use crate::plan::process::Process;
use crate::plan::seccomp::Seccomp;
use crate::plan::step::Step;
use crate::plan::systemd::UnitName;
use crate::sys::attributes::{self, CPU_WORDS};
use crate::sys::fs::{self, CWD};
use crate::sys::process::{self, Child, Leash};
use crate::sys::{Call, Proc, Stop};
use crate::timeline;

/// A program to run in a container.
#[derive(Debug)]
pub(crate) struct Joining<'a> {
    /// The container's first process.
    pub(crate) target: OwnedFd,
    /// Its namespaces that are not the runtime's, as flags of setns(2).
    pub(crate) namespaces: i32,
    /// The runtime may enter the pid namespace itself, being root on the host.
    pub(crate) privileged: bool,
    /// The cgroup directories that the process goes into.
    pub(crate) cgroups: Vec<(CgroupVersion, PathBuf)>,
    /// The unit that these are of, if systemd has made them.
    pub(crate) unit: Option<&'a UnitName>,
    /// The resctrl groups that the process goes into, the outer one first.
    pub(crate) resctrl: &'a [PathBuf],
    /// The program.
    pub(crate) process: &'a Process,
    /// The container's system call filter.
    pub(crate) seccomp: Option<&'a Seccomp>,
    /// Who decides about its system calls.
    pub(crate) agent: Option<Agent<'a>>,
    /// CPUs that it may use.
    pub(crate) affinity: &'a Affinity,
    /// Root exists in the container's user namespace.
    pub(crate) become_root: bool,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<OwnedFd>,
    /// How many descriptors from 3 on are the program's.
    pub(crate) preserved: u32,
}

/// Runs the program; it is being executed when this returns.
///
/// # Errors
/// The step that failed; the process is gone again.
pub(crate) fn join(joining: Joining<'_>) -> Result<Child, Broken> {
    let (channel, theirs) = Channel::pair().at(Step::Channel)?;
    let unified = unified_directory(&joining)?;
    let pid_flag = Namespace::Pid.flag();
    let enters_pid = joining.namespaces & pid_flag != 0;
    // The pid namespace takes effect for children: the runtime enters it if it may, and comes back.
    let step_in = enters_pid && joining.privileged;
    let entry = Entry { refork: enters_pid && !step_in, ..Entry::default() };
    let inside = step_in.then(|| Inside::enter(joining.target.as_fd(), Namespace::Pid));
    let inside = inside.transpose().at(Step::Join(0))?;
    let flags = if step_in { joining.namespaces & !pid_flag } else { joining.namespaces };
    let target = init::Target { pidfd: joining.target, flags };
    let filter = joining.seccomp.map(super::listener::compile).transpose().at(Step::CompileFilter)?;
    let mut orders = Orders {
        channel: theirs,
        // It is born among others, so the runtime itself has to have changed.
        image: None,
        proc: Proc::open().at(Step::Channel)?,
        enter: Entering {
            entry: &entry,
            joins: Vec::new(),
            target: (flags != 0).then_some(target),
            tasks: tasks(&joining.cgroups),
            waits: false,
            become_root: joining.become_root,
            loopback: false,
            cpus: cpus(joining.affinity),
        },
        build: None,
        program: Some(ready_program(joining.process, filter, joining.console)),
        // A resctrl group is joined from outside, when there is the last process.
        start: (!joining.resctrl.is_empty()).then_some(Start::Runtime),
        preserved: joining.preserved,
        fault: Fault::default(),
        words: LastWords::default(),
        keep: Vec::new(),
    };
    orders.list_descriptors();
    let initial = joining.affinity.initial.as_deref();
    let confined = initial.map(Confined::to).transpose().at(Step::InitialAffinity)?;
    let (child, outside) = spawn(unified.as_ref(), joining.unit.is_some(), &mut orders).at(Step::Clone)?;
    timeline::note_child(child.pid);
    drop(confined);
    drop(inside);
    drop(orders);
    let mut leash = Leash::new(child);
    if let (Some(unit), true) = (joining.unit, outside) {
        attach(unit, &joining.cgroups, &leash)?;
        channel.send(Message::Go(Milestone::Cgroup)).at(Step::Channel)?;
    }
    let mut reforked = !entry.refork;
    converse(&channel, joining.agent.as_ref(), &mut leash, joining.resctrl, &mut reforked).inspect_err(
        |_| {
            if !reforked {
                gather(&channel, &mut leash);
            }
        },
    )?;
    let gone = Failure { step: Step::Clone, stop: Stop { call: Call::Closed, errno: libc::ESRCH } };
    Ok(leash.release().ok_or(gone)?)
}

/// What was asked for; else all that the cgroup allows. With `initial` alone the kernel decides about the rest.
fn cpus(affinity: &Affinity) -> Cpus<'_> {
    match &affinity.last {
        Some(cpus) => Cpus::These(cpus),
        None if affinity.is_unset() => Cpus::All,
        None => Cpus::Unchanged,
    }
}

/// The calling thread uses certain CPUs only, and so do its children from their birth on, until this is dropped.
struct Confined {
    before: [u64; CPU_WORDS],
}

impl Confined {
    fn to(cpus: &[u64]) -> Result<Confined, Stop> {
        let before = attributes::cpus()?;
        attributes::set_cpus(cpus)?;
        Ok(Confined { before })
    }

    /// A thread that had all its cpuset has gets what the cpuset will have later, too.
    fn undo(&self) -> Result<(), Stop> {
        attributes::set_cpus(&[u64::MAX; CPU_WORDS])?;
        if attributes::cpus()? == self.before { Ok(()) } else { attributes::set_cpus(&self.before) }
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // These were allowed a moment ago; if none is by now, the kernel has chosen others for us.
        let _back = self.undo();
    }
}

/// Makes the process in the cgroup; or outside of it, where it waits to be put there, if that is not allowed and
/// somebody else can do it.
fn spawn(
    cgroup: Option<&OwnedFd>,
    may_be_outside: bool,
    orders: &mut Orders<'_>,
) -> Result<(Child, bool), Stop> {
    match process::spawn(0, cgroup.map(AsFd::as_fd), || init::run(orders)) {
        Err(stop) if may_be_outside && (stop.is(Errno::EACCES) || stop.is(Errno::EPERM)) => {
            orders.enter.waits = true;
            process::spawn(0, None, || init::run(orders)).map(|child| (child, true))
        }
        other => other.map(|child| (child, false)),
    }
}

/// Has systemd put the process where the container's first one is.
fn attach(unit: &UnitName, cgroups: &[(CgroupVersion, PathBuf)], leash: &Leash) -> Result<(), Broken> {
    let unified = cgroups.iter().find(|(version, _)| *version == CgroupVersion::V2);
    let path = unified.and_then(|(_, path)| path.to_str()).unwrap_or_default();
    let Some(way) = unit.way_to(path) else {
        let says =
            format!("{path} is not of the unit {}, which systemd would put the process into", unit.name);
        let failure = Failure { step: Step::CgroupJoin(0), stop: Stop::new(Call::Clone3, Errno::EACCES) };
        return Err(Broken { failure, because: Because::Found(says) });
    };
    systemd::attach(unit, way, leash.child().map_or(0, |child| child.pid))
}

/// The version 2 directory to be born into; a container may have lost it.
fn unified_directory(joining: &Joining<'_>) -> Result<Option<OwnedFd>, Failure> {
    let unified = joining.cgroups.iter().find(|(version, _)| *version == CgroupVersion::V2);
    let Some(path) = unified.and_then(|(_, path)| KernelString::path(path.to_str()?).ok()) else {
        return Ok(None);
    };
    match fs::open(CWD, path.as_c_str(), libc::O_PATH | libc::O_DIRECTORY, 0) {
        Err(stop) if stop.is(Errno::ENOENT) => Ok(None),
        other => other.map(Some).at(Step::CgroupJoin(0)),
    }
}

fn tasks(cgroups: &[(CgroupVersion, PathBuf)]) -> Vec<KernelString> {
    let legacy = cgroups.iter().filter(|(version, _)| *version == CgroupVersion::V1);
    legacy.filter_map(|(_, path)| KernelString::path(path.join("tasks").to_str()?).ok()).collect()
}

/// Talks to the process until its program is being executed.
fn converse(
    channel: &Channel,
    agent: Option<&Agent<'_>>,
    leash: &mut Leash,
    resctrl: &[PathBuf],
    reforked: &mut bool,
) -> Result<(), Broken> {
    let mut started = false;
    loop {
        let pid = leash.child().map_or(0, |child| child.pid);
        match Agent::hear(agent, channel, pid)? {
            Some((Message::Forked(pid), _)) => {
                adopt(pid, leash)?;
                *reforked = true;
            }
            Some((Message::Reached(Milestone::Created), _)) => {
                // Whoever makes a process from outside is not in the group, so nor is that process.
                let pid = leash.child().map_or(0, |child| child.pid);
                rdt::join(resctrl, pid).at(Step::RdtJoin)?;
                channel.send(Message::Go(Milestone::Start)).at(Step::Channel)?;
            }
            Some((Message::Reached(Milestone::Start), _)) => started = true,
            Some((Message::Failed(failure), words)) => return Err(Broken::heard(failure, &words)),
            Some(_) => return Err(garbled().into()),
            None if started => return Ok(()),
            None => return Err(died().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_the_calling_thread_keeps_its_cpus() {
        let before = attributes::cpus().unwrap();
        let (word, bits) = before.iter().copied().enumerate().find(|(_, bits)| *bits != 0).unwrap();
        let mut first = [0; CPU_WORDS];
        first[word] = 1 << bits.trailing_zeros();
        let confined = Confined::to(&first).unwrap();
        assert_eq!(attributes::cpus(), Ok(first));
        drop(confined);
        assert_eq!(attributes::cpus(), Ok(before));
        // A thread that was confined by somebody else stays so.
        attributes::set_cpus(&first).unwrap();
        drop(Confined::to(&first).unwrap());
        assert_eq!(attributes::cpus(), Ok(first));
        assert!(Confined::to(&[0; CPU_WORDS]).is_err());
        assert_eq!(attributes::cpus(), Ok(first));
    }
}
