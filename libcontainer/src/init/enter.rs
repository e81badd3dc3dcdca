//! Gets into the namespaces and cgroups. Runs in the container's process.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::Orders;
use crate::channel::{At, Channel, Failure, Milestone};
use crate::fault::Fault;
use crate::path::KernelString;
use crate::plan::namespaces::{Entry, Namespace};
use crate::plan::step::Step;
use crate::sys::{attributes, creds, fs, process};

/// The way into the namespaces, with the descriptors it takes.
#[derive(Debug)]
pub(crate) struct Entering<'a> {
    /// What was decided.
    pub(crate) entry: &'a Entry,
    /// Namespaces to join, one for each of `entry.join`.
    pub(crate) joins: Vec<OwnedFd>,
    /// A container to join as a whole.
    pub(crate) target: Option<Target>,
    /// `tasks` files of version 1 cgroups to move into.
    pub(crate) tasks: Vec<KernelString>,
    /// The runtime has to finish something first: id maps of a cloned user namespace, or cgroups.
    pub(crate) waits: bool,
    /// Root exists in the user namespace.
    pub(crate) become_root: bool,
    /// A new network namespace needs its loopback device brought up.
    pub(crate) loopback: bool,
    /// CPUs to use from when the cgroups are joined.
    pub(crate) cpus: Cpus<'a>,
}

/// What is done about CPUs that may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cpus<'a> {
    /// All that the cgroup allows: since Linux 6.2 joining one keeps the restrictions of whoever called the runtime,
    /// such as systemd's.
    All,
    /// These, as a bit mask.
    These(&'a [u64]),
    /// Nothing.
    Unchanged,
}

/// A running process whose namespaces are joined.
#[derive(Debug)]
pub(crate) struct Target {
    /// The process.
    pub(crate) pidfd: OwnedFd,
    /// Which of its namespaces, as flags of setns(2).
    pub(crate) flags: i32,
}

impl Entering<'_> {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let joins = self.joins.iter().map(AsRawFd::as_raw_fd);
        joins.chain(self.target.iter().map(|t| t.pidfd.as_raw_fd()))
    }

    /// Other processes are in the namespaces that are entered.
    fn meets_others(&self) -> bool {
        self.target.is_some() || !self.entry.join.is_empty() || self.entry.step_in.is_some()
    }

    /// Rights and paths of the host go away on the way in, so cgroups are joined before that.
    fn leaves_host(&self) -> bool {
        self.entry.changes_user() || !self.entry.join.is_empty() || self.target.is_some()
    }
}

/// Enters everything that is not entered by the clone, in the order that the kernel wants.
pub(super) fn enter(orders: &mut Orders<'_>) -> Result<(), Failure> {
    let entering = &orders.enter;
    let entry = entering.entry;
    let cgroup_comes = orders.build.as_ref().is_some_and(|build| build.cgroup_comes);
    if entering.leaves_host() && !cgroup_comes {
        join_cgroups(entering, &orders.channel, orders.fault)?;
    }
    if entering.meets_others() {
        // Who is in there already must not look into a process that still has the host's files open, and will
        // soon have their user ids (CVE-2016-9962).
        attributes::set_dumpable(false).at(Step::Signals)?;
    }
    for (fd, i) in entering.joins.iter().zip(0..) {
        let kind = entry.join.get(usize::from(i)).map_or(0, |join| join.kind.flag());
        orders.fault.attempt(Step::Join(i), || process::setns(fd.as_fd(), kind))?;
    }
    if let Some(target) = &entering.target {
        process::setns(target.pidfd.as_fd(), target.flags).at(Step::Join(0))?;
    }
    if entry.unshare_user {
        orders.fault.attempt(Step::Unshare, || process::unshare(Namespace::User.flag()))?;
        orders.channel.reach(Milestone::Namespaces).at(Step::MapIds)?;
    }
    if entry.unshare.contains(Namespace::Time) {
        // Its offsets are written before the ids change, which takes this process's files in procfs away.
        orders.fault.attempt(Step::Unshare, || process::unshare(Namespace::Time.flag()))?;
        write_offsets(orders)?;
    }
    if entering.become_root {
        become_root(orders)?;
    }
    // Net and ipc come after the map: their files take the owner that is mapped when they are made.
    let mut early = entry.unshare.without(Namespace::Cgroup).without(Namespace::Time);
    if let Some(build) = &orders.build {
        if build.network_comes {
            early = early.without(Namespace::Network);
        }
        if build.leaves_host_early {
            early = early.without(Namespace::Mount);
        }
    }
    if !early.is_empty() {
        orders.fault.attempt(Step::Unshare, || process::unshare(early.flags()))?;
    }
    if entering.loopback {
        orders.fault.attempt(Step::Loopback, attributes::loopback_up)?;
    }
    if cgroup_comes {
        return Ok(());
    }
    if !entering.leaves_host() {
        join_cgroups(entering, &orders.channel, orders.fault)?;
    }
    make_cgroup_namespace(entering, orders.fault)
}

/// Waits until the process has been moved into its cgroup, and does what comes after that.
pub(super) fn settle(entering: &Entering<'_>, channel: &Channel, fault: Fault) -> Result<(), Failure> {
    join_cgroups(entering, channel, fault)?;
    make_cgroup_namespace(entering, fault)
}

/// The cgroup namespace shows the cgroup that one is in when it is made.
fn make_cgroup_namespace(entering: &Entering<'_>, fault: Fault) -> Result<(), Failure> {
    if entering.entry.unshare.contains(Namespace::Cgroup) {
        fault.attempt(Step::Unshare, || process::unshare(Namespace::Cgroup.flag()))?;
    }
    Ok(())
}

/// Moves into version 1 cgroups, which the runtime may still be making, and takes the CPUs that are free there.
fn join_cgroups(entering: &Entering<'_>, channel: &Channel, fault: Fault) -> Result<(), Failure> {
    if entering.waits {
        channel.await_go(Milestone::Cgroup).at(Step::Channel)?;
    }
    for (tasks, i) in entering.tasks.iter().zip(0..) {
        // "0" to `tasks`, by a process of one thread, is the one way that does not wait for an RCU grace
        // period: 0.07 ms where the pid to cgroup.procs takes 10.
        fault.attempt(Step::CgroupJoin(i), || fs::write_file(fs::CWD, tasks.as_c_str(), b"0"))?;
    }
    set_cpus(entering.cpus, fault)
}

fn set_cpus(cpus: Cpus<'_>, fault: Fault) -> Result<(), Failure> {
    match cpus {
        Cpus::These(cpus) => fault.attempt(Step::Affinity, || attributes::set_cpus(cpus)),
        Cpus::All => {
            match attributes::set_cpus(&[u64::MAX; attributes::CPU_WORDS]) {
                // Nobody has asked for it: where a filter forbids it, things stay as they are.
                Ok(()) | Err(_) => {}
            }
            Ok(())
        }
        Cpus::Unchanged => Ok(()),
    }
}

fn become_root(orders: &Orders<'_>) -> Result<(), Failure> {
    orders.fault.attempt(Step::BecomeRoot, || {
        match creds::set_groups(&[]) {
            // Denied where an unprivileged user made the map (user_namespaces(7)); the groups stay unmapped.
            Err(stop) if stop.is(Errno::EPERM) => {}
            other => other?,
        }
        creds::set_group(0)?;
        creds::set_user(0)
    })
}

fn write_offsets(orders: &Orders<'_>) -> Result<(), Failure> {
    for (offset, i) in orders.enter.entry.offsets.iter().zip(0..) {
        let line = offset.line.as_c_str().to_bytes();
        orders.fault.attempt(Step::TimeOffset(i), || orders.proc.write(c"self/timens_offsets", line))?;
    }
    Ok(())
}
