//! Prepares what a plan needs, makes the container's process, and talks to it until the container exists.
//! Runs in the runtime's process.

pub(crate) mod cgroup;
mod conversation;
mod devices;
pub(crate) mod filter;
pub(crate) mod freezer;
mod idmap;
mod join;
pub(crate) mod listener;
mod net_devices;
pub(crate) mod rdt;
mod supply;
pub(crate) mod systemd;
pub(crate) mod update;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;

use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::{self, LastWords, StateText, Streams};
use crate::init::{self, Build, Cpus, Entering, Orders, Program, Start};
use crate::path::{KernelString, PATH_MAX};
use crate::plan::Plan;
use crate::plan::facts::CgroupVersion;
use crate::plan::namespaces::{Entry, Namespace};
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::seal;
use crate::state::{CgroupDirectory, ResctrlGroup};
use crate::stats::OomKilled;
use crate::sys::fs::{self, CWD};
use crate::sys::process::{self, Child, Leash, Strings};
use crate::sys::{Call, Proc, Stop, socket};
use crate::timeline::{self, Phase};

use cgroup::Group;
use conversation::{Conversation, died, gather};
pub(crate) use join::{Joining, join};
use net_devices::Moved;
use rdt::Resctrl;
use supply::Supply;

/// What a launch needs beside the plan.
pub(crate) struct Settings<'a> {
    /// The container's directory in the store: where the start socket is made, unless the program runs at once.
    pub(crate) start_in: Option<BorrowedFd<'a>>,
    /// The bundle, in which hooks of the runtime's namespaces run.
    pub(crate) bundle: BorrowedFd<'a>,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<BorrowedFd<'a>>,
    /// How many descriptors from 3 on are the program's.
    pub(crate) preserved: u32,
    /// The state while it is being created.
    pub(crate) creating: StateText,
    /// The state once it is created.
    pub(crate) created: StateText,
    /// Prepares the record.
    pub(crate) draft: Draft<'a>,
    /// A step that is to fail, for tests.
    pub(crate) fault: Fault,
}

/// What exists by the time the container's process builds its part.
#[derive(Debug)]
pub(crate) struct Made {
    /// The process that the container will have.
    pub(crate) pid: i32,
    /// The cgroup directories: `delete` removes them.
    pub(crate) cgroups: Vec<CgroupDirectory>,
    /// The resctrl group: `exec` joins it, and `delete` removes what was made for it.
    pub(crate) resctrl: Option<ResctrlGroup>,
}

/// Takes note of what has been made. It is called while the container's process works.
pub(crate) type Draft<'a> = &'a dyn Fn(Made) -> Result<(), Stop>;

/// Why a launch failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// The step, and what stopped it.
    pub(crate) failure: Failure,
    /// What else is known.
    pub(crate) because: Because,
}

/// What is known beside the errno.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// Nothing.
    Unknown,
    /// The end of what a hook or another program printed.
    Said(String),
    /// The program that could not be executed, where it was found, and the interpreter that it names.
    Program { path: String, interpreter: String },
    /// What is the matter, in better words than the errno's.
    Found(String),
    /// What to do about it.
    Hint(String),
    /// A memory limit was hit.
    OutOfMemory(OomKilled),
}

impl Broken {
    /// A failure that init has told of, with the words that came with it.
    pub(crate) fn heard(failure: Failure, words: &[u8]) -> Broken {
        let because = match (failure.step, words) {
            (_, []) => Because::Unknown,
            (Step::Exec, words) => {
                let mut parts = words.split(|byte| *byte == 0).map(hooks::readable);
                let mut part = || parts.next().unwrap_or_default();
                Because::Program { path: part(), interpreter: part() }
            }
            (_, words) => Because::Said(hooks::readable(words)),
        };
        Broken { failure, because }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken { failure, because: Because::Unknown }
    }
}

/// A container's process that is ready to start, and its cgroups. Both go again unless they are kept.
#[derive(Debug)]
pub(crate) struct Launched<'a> {
    // First of all: devices come back from a namespace that may go with the process.
    devices: Moved,
    // Dropped in this order: who waits for us ends, who does not is killed, and then the cgroup can be removed.
    channel: Channel,
    leash: Leash,
    unit: systemd::Made<'a>,
    group: Group<'a>,
    /// Where hooks print.
    streams: Streams,
    resctrl: Resctrl<'a>,
}

impl<'a> Launched<'a> {
    /// The process.
    #[must_use]
    pub(crate) fn pid(&self) -> i32 {
        self.leash.child().map_or(0, |child| child.pid)
    }

    /// A pidfd of the process.
    #[must_use]
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.leash.child().map(|child| child.pidfd.as_fd())
    }

    /// Tells the process that the container exists from now on, and lets it be. To one that does not wait to be
    /// started by somebody else this is said when it is started.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn commit(self, waits: bool) -> Result<(Child, Channel), Broken> {
        // It may have been killed in the meantime, for want of memory as at any time before.
        if waits && self.channel.send(Message::Go(Milestone::Created)).is_err() {
            return Err(explain(died().into(), &self));
        }
        let gone = Failure { step: Step::Clone, stop: Stop { call: Call::Closed, errno: libc::ESRCH } };
        let child = self.leash.release().ok_or(gone)?;
        self.unit.keep();
        self.group.keep();
        self.resctrl.keep();
        self.devices.keep();
        Ok((child, self.channel))
    }

    fn made(&self) -> Made {
        Made { pid: self.pid(), cgroups: self.group.made(), resctrl: self.resctrl.remembered() }
    }
}

/// Makes the container's process and everything around it, up to the point where only `start` is missing.
///
/// # Errors
/// The step that failed. Nothing is left of what was made.
pub(crate) fn launch<'a>(plan: &'a Plan, settings: Settings<'_>) -> Result<Launched<'a>, Broken> {
    let fault = settings.fault;
    let (channel, theirs) = Channel::pair().at(Step::Channel)?;
    let mut group = Group::new(&plan.cgroup, fault);
    if plan.cgroup.unit.is_none() {
        // A unit takes a process that is there already.
        group.make(CgroupVersion::V2)?;
    }
    if plan.cgroup.optional {
        // Only what could be made can be joined; otherwise the making waits until the child works beside us.
        group.make(CgroupVersion::V1)?;
    }
    let mut resctrl = Resctrl::new(plan.rdt.as_ref(), fault);
    resctrl.make()?;
    let streams = match &plan.hooks.output {
        files if files.is_empty() => Streams::default(),
        files => fault.attempt(Step::HookOutput, || Streams::open(files))?,
    };
    let tasks = group.tasks();
    let (mut orders, supply) =
        timeline::during(Phase::Prepare, || prepare(plan, &settings, tasks, theirs, &streams))?;
    let waits = orders.enter.waits;
    let pass = orders.program.as_ref().and_then(|program| program.filter.as_ref()?.pass);
    orders.list_descriptors();
    let child = spawn(&plan.entry, &group, &mut orders)?;
    tracing::debug!(pid = child.pid, "container init is cloned");
    timeline::note_child(child.pid);
    // Its end of the channel, among others, must not stay open here: that it closes tells that it died.
    drop(orders);
    let (devices, unit, leash) = (Moved::default(), systemd::Made::nothing(), Leash::new(child));
    let mut launched = Launched { devices, leash, unit, group, resctrl, channel, streams };
    let mut conversation = Conversation { plan, settings: &settings, supply, waits, pass, reforked: false };
    match conversation.hold(&mut launched) {
        Ok(()) => Ok(launched),
        Err(broken) => {
            if plan.entry.refork && !conversation.reforked {
                gather(&launched.channel, &mut launched.leash);
            }
            Err(explain(broken, &launched))
        }
    }
}

/// Turns what the plan needs into descriptors and bytes.
fn prepare<'a>(
    plan: &'a Plan,
    settings: &Settings<'_>,
    tasks: Vec<KernelString>,
    channel: Channel,
    streams: &Streams,
) -> Result<(Orders<'a>, Supply<'a>), Broken> {
    let fault = settings.fault;
    let proc = Proc::open().at(Step::Channel)?;
    let joins = open_namespaces(&plan.entry, fault)?;
    spare_own(plan, &joins, fault)?;
    let mut supply = Supply::new(plan, &joins, fault);
    let sources = supply.first()?;
    let program = match &plan.process {
        Some(process) => Some(program(process, plan, settings)?),
        None => None,
    };
    let start = match settings.start_in {
        Some(directory) => {
            let listening = socket::listen(directory, crate::state::START);
            Start::Socket(listening.at(Step::AwaitStart)?)
        }
        None => Start::Runtime,
    };
    let enter = Entering {
        entry: &plan.entry,
        joins,
        target: None,
        waits: !tasks.is_empty() || plan.cgroup.unit.is_some() || plan.entry.clone.contains(Namespace::User),
        tasks,
        become_root: plan.ids.become_root,
        loopback: plan.kernel.loopback && !plan.lends_network,
        cpus: Cpus::All,
    };
    let hooks = &plan.hooks;
    let build = Build {
        rootfs: &plan.rootfs,
        kernel: &plan.kernel,
        sources,
        leaves_host_early: plan.leaves_host_early,
        cgroup_comes: plan.mounts_beside_unit,
        network_comes: plan.lends_network,
        announce: !hooks.prestart.is_empty()
            || !hooks.create_runtime.is_empty()
            || !plan.net_devices.is_empty(),
        create_container: hooks.create_container.iter().map(hooks::Program::new).collect(),
        start_container: hooks.start_container.iter().map(hooks::Program::new).collect(),
        streams: streams.again().at(Step::HookOutput)?,
        state: settings.creating.clone(),
        start_state: settings.created.clone(),
    };
    let (preserved, build) = (settings.preserved, Some(build));
    let (start, words, keep) = (Some(start), LastWords::default(), Vec::new());
    // Who is born among others finds the runtime changed.
    let image = if plan.entry.step_in.is_some() { None } else { seal::image() };
    let orders = Orders { channel, image, proc, enter, build, program, start, preserved, fault, words, keep };
    Ok((orders, supply))
}

fn program<'a>(
    process: &'a Process,
    plan: &'a Plan,
    settings: &Settings<'_>,
) -> Result<Program<'a>, Failure> {
    // Compiled when the process works beside us.
    let filter = plan.seccomp.as_ref().map(listener::outline).transpose().at(Step::CompileFilter)?;
    let console = settings.console.map(|socket| socket.try_clone_to_owned()).transpose();
    let console =
        console.map_err(|_| Stop { call: Call::Dup, errno: libc::EMFILE }).at(Step::ConnectConsole)?;
    Ok(ready_program(process, filter, console))
}

/// Arranges a program's arguments and environment as execve(2) takes them.
fn ready_program(process: &Process, filter: Option<init::Filter>, console: Option<OwnedFd>) -> Program<'_> {
    Program {
        process,
        args: Strings::new(process.args.iter().map(KernelString::as_c_str)),
        env: Strings::new(process.env.iter().map(KernelString::as_c_str)),
        filter,
        console,
        home: Box::new([0; PATH_MAX]),
        found: 0,
    }
}

fn open_namespaces(entry: &Entry, fault: Fault) -> Result<Vec<OwnedFd>, Failure> {
    let open = |path: &KernelString, i| {
        fault.attempt(Step::OpenNamespace(i), || fs::open(CWD, path.as_c_str(), libc::O_RDONLY, 0))
    };
    entry.join.iter().zip(0..).map(|(join, i)| open(&join.path, i)).collect()
}

/// A namespace that is joined may be the runtime's own by another name, and its names and parameters the host's.
fn spare_own(plan: &Plan, joins: &[OwnedFd], fault: Fault) -> Result<(), Failure> {
    let kernel = &plan.kernel;
    let names = [(Step::Hostname, &kernel.hostname), (Step::Domainname, &kernel.domainname)];
    let names = names.into_iter().filter(|(_, name)| name.is_some()).map(|(step, _)| (step, Namespace::Uts));
    let sysctls = kernel.sysctls.iter().zip(0..).map(|(sysctl, i)| (Step::Sysctl(i), sysctl.owner));
    for (step, owner) in names.chain(sysctls) {
        let joined = plan.entry.join.iter().position(|join| join.kind == owner);
        let Some(joined) = joined.and_then(|position| joins.get(position)) else { continue };
        let own = KernelString::new(format!("/proc/thread-self/ns/{}", owner.file())).unwrap_or_default();
        fault.attempt(step, || {
            let same = fs::kind(joined.as_fd())?.identity == fs::path_kind(own.as_c_str())?.identity;
            if same { Err(Stop { call: Call::Setns, errno: libc::EPERM }) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Makes the container's process, inside its version 2 cgroup if it has one.
fn spawn(entry: &Entry, group: &Group<'_>, orders: &mut Orders<'_>) -> Result<Child, Failure> {
    let fault = orders.fault;
    let inside = step_in(entry, fault)?;
    let child = fault.attempt(Step::Clone, || {
        let cgroup = group.home()?;
        process::spawn(entry.clone.flags(), cgroup.as_ref().map(AsFd::as_fd), || init::run(orders))
    });
    drop(inside);
    child
}

/// Steps into the pid namespace that is to be joined. It counts as the last of those that are.
fn step_in(entry: &Entry, fault: Fault) -> Result<Option<Inside>, Failure> {
    let Some(join) = &entry.step_in else { return Ok(None) };
    if let Some(image) = seal::image() {
        fault.attempt(Step::Seal, || image.take())?;
    }
    let last = u16::try_from(entry.join.len()).unwrap_or(u16::MAX);
    let open = || fs::open(CWD, join.path.as_c_str(), libc::O_RDONLY, 0);
    let namespace = fault.attempt(Step::OpenNamespace(last), open)?;
    fault.attempt(Step::Join(last), || Inside::enter(namespace.as_fd(), join.kind)).map(Some)
}

/// The network namespace of the calling thread.
const OWN_NETWORK: &CStr = c"/proc/thread-self/ns/net";

/// The calling thread is in another network namespace, or its children are born in another pid namespace, until
/// this is dropped.
struct Inside {
    own: OwnedFd,
    kind: Namespace,
}

impl Inside {
    fn enter(namespace: BorrowedFd<'_>, kind: Namespace) -> Result<Inside, Stop> {
        let inside = Inside::ready(kind)?;
        process::setns(namespace, kind.flag())?;
        Ok(inside)
    }

    /// In a new network namespace.
    fn new_network() -> Result<Inside, Stop> {
        let inside = Inside::ready(Namespace::Network)?;
        process::unshare(Namespace::Network.flag())?;
        Ok(inside)
    }

    /// Where it is, and sure of the way back.
    fn ready(kind: Namespace) -> Result<Inside, Stop> {
        let file = match kind {
            Namespace::Pid => c"/proc/thread-self/ns/pid_for_children",
            _ => OWN_NETWORK,
        };
        let inside = Inside { own: process::own_namespace(file)?, kind };
        // Who may not come back does not go.
        process::setns(inside.own.as_fd(), kind.flag())?;
        Ok(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Back to where this thread came from: it has the rights that it had then.
        let _back = process::setns(self.own.as_fd(), self.kind.flag());
    }
}

/// If the process has died without a word, finds out of what.
fn explain(broken: Broken, launched: &Launched<'_>) -> Broken {
    if broken.failure != died() {
        return broken;
    }
    let because = match launched.group.out_of_memory() {
        Some(killed) => Because::OutOfMemory(killed),
        None => Because::Unknown,
    };
    Broken { because, ..broken }
}
