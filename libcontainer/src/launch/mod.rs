//! Prepares what a plan needs, makes the container's process, and talks to it until the container exists.
//! Runs in the runtime's process.

pub(crate) mod cgroup;
mod conversation;
mod devices;
pub(crate) mod filter;
mod idmap;
mod join;
pub(crate) mod listener;
pub(crate) mod rdt;
mod supply;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;

use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::{self, LastWords, StateText, Streams};
use crate::init::{self, Build, Cpus, Entering, Orders, Program, Sources, Start};
use crate::path::{KernelString, PATH_MAX};
use crate::plan::Plan;
use crate::plan::facts::CgroupVersion;
use crate::plan::namespaces::{Entry, Namespace};
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::state::{CgroupDirectory, ResctrlGroup};
use crate::sys::fs::{self, CWD, Proc};
use crate::sys::process::{self, Child, Leash, Strings};
use crate::sys::{Call, Stop, socket};

use cgroup::Group;
use conversation::{Conversation, died, gather};
pub(crate) use join::{Joining, join};
use rdt::Resctrl;
use supply::Supply;

/// What a launch needs beside the plan.
#[derive(Debug)]
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
    /// A step that is to fail, for tests.
    pub(crate) fault: Fault,
}

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
    /// The end of what a hook printed.
    Said(String),
    /// The program that could not be executed, where it was found, and the interpreter that it names.
    Program { path: String, interpreter: String },
    /// What is the matter, in better words than the errno's.
    Found(String),
    /// What to do about it.
    Hint(String),
    /// The container's memory limit was hit: the limit and the most that was used.
    OutOfMemory(String, String),
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
    // Dropped in this order: who waits for us ends, who does not is killed, and then the cgroup can be removed.
    channel: Channel,
    leash: Leash,
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

    /// Tells the process that the container exists from now on, and lets it be.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn commit(self) -> Result<(Child, Channel), Failure> {
        self.channel.send(Message::Go(Milestone::Created)).at(Step::Channel)?;
        let gone = Failure { step: Step::Clone, stop: Stop { call: Call::Closed, errno: libc::ESRCH } };
        let child = self.leash.release().ok_or(gone)?;
        self.group.keep();
        self.resctrl.keep();
        Ok((child, self.channel))
    }

    /// The cgroup directories, to be remembered: `delete` removes them.
    #[must_use]
    pub(crate) fn cgroups(&self) -> Vec<CgroupDirectory> {
        self.group.made()
    }

    /// The resctrl group, to be remembered: `exec` joins it, and `delete` removes what was made for it.
    #[must_use]
    pub(crate) fn resctrl(&self) -> Option<ResctrlGroup> {
        self.resctrl.remembered()
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
    group.make(CgroupVersion::V2)?;
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
    let (mut orders, supply) = prepare(plan, &settings, group.tasks(), theirs, &streams)?;
    let waits = orders.enter.waits;
    orders.list_descriptors();
    let child = fault.attempt(Step::Clone, || spawn(&plan.entry, &group, &mut orders))?;
    tracing::debug!(pid = child.pid, "container init is cloned");
    // Its end of the channel, among others, must not stay open here: that it closes tells that it died.
    drop(orders);
    let mut launched = Launched { leash: Leash::new(child), group, resctrl, channel, streams };
    let mut conversation = Conversation { plan, settings: &settings, supply, waits, reforked: false };
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
    let mut supply = Supply::new(plan, &joins, fault);
    let sources = Sources::new(supply.batch()?);
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
        waits: !tasks.is_empty() || plan.entry.clone.contains(Namespace::User),
        tasks,
        become_root: plan.ids.become_root,
        loopback: plan.kernel.loopback,
        cpus: Cpus::All,
    };
    let hooks = &plan.hooks;
    let build = Build {
        rootfs: &plan.rootfs,
        kernel: &plan.kernel,
        sources,
        announce: !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty(),
        create_container: hooks.create_container.iter().map(hooks::Program::new).collect(),
        start_container: hooks.start_container.iter().map(hooks::Program::new).collect(),
        streams: streams.again().at(Step::HookOutput)?,
        state: settings.creating.clone(),
        start_state: settings.created.clone(),
    };
    let (preserved, build) = (settings.preserved, Some(build));
    let (words, keep) = (LastWords::default(), Vec::new());
    let orders = Orders { channel, proc, enter, build, program, start, preserved, fault, words, keep };
    Ok((orders, supply))
}

fn program<'a>(
    process: &'a Process,
    plan: &'a Plan,
    settings: &Settings<'_>,
) -> Result<Program<'a>, Failure> {
    let filter =
        plan.seccomp.as_ref().map(|s| settings.fault.attempt(Step::CompileFilter, || listener::compile(s)));
    let console = settings.console.map(|socket| socket.try_clone_to_owned()).transpose();
    let console =
        console.map_err(|_| Stop { call: Call::Dup, errno: libc::EMFILE }).at(Step::ConnectConsole)?;
    Ok(ready_program(process, filter.transpose()?, console))
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

/// Makes the container's process, inside its version 2 cgroup if it has one.
fn spawn(entry: &Entry, group: &Group<'_>, orders: &mut Orders<'_>) -> Result<Child, Stop> {
    let cgroup = group.unified()?;
    let inside = entry.step_in.as_ref().map(|join| {
        let namespace = fs::open(CWD, join.path.as_c_str(), libc::O_RDONLY, 0)?;
        Inside::enter(namespace.as_fd(), join.kind.flag())
    });
    let inside = inside.transpose()?;
    let child = process::spawn(entry.clone.flags(), cgroup.as_ref().map(AsFd::as_fd), || init::run(orders));
    drop(inside);
    child
}

/// The calling thread's children are born in another pid namespace, until this is dropped.
struct Inside {
    own: OwnedFd,
}

impl Inside {
    fn enter(namespace: BorrowedFd<'_>, kind: i32) -> Result<Inside, Stop> {
        let own = process::own_namespace(c"/proc/thread-self/ns/pid_for_children")?;
        process::setns(namespace, kind)?;
        Ok(Inside { own })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Back to where this thread came from: it has the rights that it had then.
        let _back = process::setns(self.own.as_fd(), Namespace::Pid.flag());
    }
}

/// If the process has died without a word, finds out of what.
fn explain(broken: Broken, launched: &Launched<'_>) -> Broken {
    if broken.failure != died() {
        return broken;
    }
    let because = match launched.group.out_of_memory() {
        Some((limit, peak)) => Because::OutOfMemory(limit, peak),
        None => Because::Unknown,
    };
    Broken { because, ..broken }
}
