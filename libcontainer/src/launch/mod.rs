//! Prepares what a plan needs, makes the container's process, and talks to it until the container exists.
//! Runs in the runtime's process.

pub(crate) mod cgroup;
mod devices;
pub(crate) mod filter;
mod idmap;
mod join;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;

use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::{self, StateText};
use crate::init::{self, Build, Entering, Orders, Program, Start};
use crate::path::{KernelString, PATH_MAX};
use crate::plan::Plan;
use crate::plan::facts::CgroupVersion;
use crate::plan::hooks::Hook;
use crate::plan::mounts::{Mount, What};
use crate::plan::namespaces::{Entry, Namespace};
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::state::CgroupDirectory;
use crate::sys::fs::{self, CWD, Proc};
use crate::sys::mount::{self, Change};
use crate::sys::process::{self, Child, Leash, Strings};
use crate::sys::{Call, Stop, socket};

use cgroup::Group;
pub(crate) use join::{Joining, join};

/// What a launch needs beside the plan.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    /// The container's directory in the store: where the start socket is made, unless the program runs at once.
    pub(crate) start_in: Option<BorrowedFd<'a>>,
    /// The bundle, in which hooks of the runtime's namespaces run.
    pub(crate) bundle: BorrowedFd<'a>,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<OwnedFd>,
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
    /// The container's memory limit was hit: the limit and the most that was used.
    OutOfMemory(String, String),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken { failure, because: Because::Unknown }
    }
}

/// A container's process that is ready to start, and its cgroups. Both go again unless they are kept.
#[derive(Debug)]
pub(crate) struct Launched<'a> {
    // Dropped in this order: a cgroup can be removed when the process is gone.
    leash: Leash,
    group: Group<'a>,
    channel: Channel,
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
        Ok((child, self.channel))
    }

    /// The cgroup directories, to be remembered: `delete` removes them.
    #[must_use]
    pub(crate) fn cgroups(&self) -> Vec<CgroupDirectory> {
        self.group.made()
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
    let mut orders = prepare(plan, &settings, group.tasks(), theirs)?;
    let waits = orders.enter.waits;
    orders.list_descriptors();
    let child = fault.attempt(Step::Clone, || spawn(&plan.entry, &group, &mut orders))?;
    tracing::debug!(pid = child.pid, "container init is cloned");
    // Its end of the channel, among others, must not stay open here: that it closes tells that it died.
    drop(orders);
    let mut launched = Launched { leash: Leash::new(child), group, channel };
    let conversation = Conversation { plan, settings: &settings, waits, reforked: false };
    match conversation.hold(&mut launched) {
        Ok(()) => Ok(launched),
        Err(broken) => Err(explain(broken, &launched)),
    }
}

/// Turns what the plan needs into descriptors and bytes.
fn prepare<'a>(
    plan: &'a Plan,
    settings: &Settings<'_>,
    tasks: Vec<KernelString>,
    channel: Channel,
) -> Result<Orders<'a>, Failure> {
    let fault = settings.fault;
    let proc = Proc::open().at(Step::Channel)?;
    let joins = open_namespaces(&plan.entry, fault)?;
    let sources = open_sources(plan, &joins, fault)?;
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
    };
    let hooks = &plan.hooks;
    let build = Build {
        rootfs: &plan.rootfs,
        kernel: &plan.kernel,
        sources,
        announce: !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty(),
        create_container: hooks.create_container.iter().map(hooks::Program::new).collect(),
        start_container: hooks.start_container.iter().map(hooks::Program::new).collect(),
        state: settings.creating.clone(),
        start_state: settings.created.clone(),
    };
    let (preserved, build) = (settings.preserved, Some(build));
    Ok(Orders { channel, proc, enter, build, program, start, preserved, fault, keep: Vec::new() })
}

fn program<'a>(
    process: &'a Process,
    plan: &'a Plan,
    settings: &Settings<'_>,
) -> Result<Program<'a>, Failure> {
    let filter =
        plan.seccomp.as_ref().map(|s| settings.fault.attempt(Step::CompileFilter, || filter::compile(s)));
    let console = settings.console.as_ref().map(OwnedFd::try_clone).transpose();
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

/// Opens the sources of mounts that the container's process may lack the rights for.
fn open_sources(plan: &Plan, joins: &[OwnedFd], fault: Fault) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let open = |mount: &Mount, i: u16| -> Result<Option<OwnedFd>, Failure> {
        let What::Bind { source, deep, by_runtime, idmap, .. } = &mount.what else { return Ok(None) };
        if !by_runtime && idmap.is_none() {
            return Ok(None);
        }
        let tree = fault.attempt(Step::OpenSource(i), || mount::clone_tree(CWD, source.as_c_str(), *deep))?;
        if let Some(map) = idmap {
            fault.attempt(Step::MapMount(i), || {
                let own;
                let ids = match &map.maps {
                    Some(maps) => {
                        own = idmap::empty_namespace(maps)?;
                        own.as_fd()
                    }
                    None => {
                        own = container_ids(plan, joins)?;
                        own.as_fd()
                    }
                };
                mount::change(tree.as_fd(), map.deep, Change { ids: Some(ids), ..Change::default() })
            })?;
        }
        Ok(Some(tree))
    };
    plan.rootfs.mounts.iter().zip(0..).map(|(mount, i)| open(mount, i)).collect()
}

/// A user namespace that maps ids as the container's does.
fn container_ids(plan: &Plan, joins: &[OwnedFd]) -> Result<OwnedFd, Stop> {
    if let Some(maps) = &plan.ids.maps {
        return idmap::empty_namespace(maps);
    }
    let position = plan.entry.join.iter().position(|join| join.kind == Namespace::User);
    let joined = position.and_then(|i| joins.get(i)).and_then(|fd| fd.try_clone().ok());
    joined.ok_or(Stop { call: Call::Open, errno: libc::EINVAL })
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

/// The runtime's side of the conversation.
struct Conversation<'a, 's> {
    plan: &'a Plan,
    settings: &'s Settings<'s>,
    /// The process waits for its cgroups or its ids.
    waits: bool,
    reforked: bool,
}

impl Conversation<'_, '_> {
    /// Talks to the container's process until it is ready to start.
    fn hold(mut self, launched: &mut Launched<'_>) -> Result<(), Broken> {
        let (plan, fault) = (self.plan, self.settings.fault);
        launched.group.make(CgroupVersion::V1)?;
        launched.group.limit()?;
        tracing::debug!(
            path = plan.cgroup.path,
            limits = plan.cgroup.writes.len(),
            "cgroup is made and limited"
        );
        if let (Some(maps), true) = (&plan.ids.maps, plan.entry.clone.contains(Namespace::User)) {
            fault.attempt(Step::MapIds, || idmap::write(launched.pid(), maps))?;
        }
        if self.waits {
            launched
                .channel
                .send(Message::Go(Milestone::Cgroup))
                .or_else(|stop| self.silence(launched, stop))?;
        }
        if !plan.cgroup.devices.is_empty() {
            fault.attempt(Step::DeviceProgram, || attach_program(plan, &launched.group))?;
        }
        let mut reached = None;
        while reached != Some(Milestone::Created) || self.reforked != plan.entry.refork {
            match launched.channel.receive().at(Step::Channel)? {
                Some(Message::Reached(milestone)) => {
                    reached = Some(milestone);
                    self.answer(milestone, launched)?;
                }
                Some(Message::Forked(pid)) => {
                    adopt(pid, &mut launched.leash)?;
                    self.reforked = true;
                }
                Some(Message::Failed(failure)) => {
                    self.await_first(launched);
                    return Err(failure.into());
                }
                Some(Message::Go(_)) => return Err(garbled().into()),
                None => return Err(Broken::from(died())),
            }
        }
        Ok(())
    }

    /// The second process may fail before the first has told of it: it is ours to reap all the same.
    fn await_first(&mut self, launched: &mut Launched<'_>) {
        while self.plan.entry.refork && !self.reforked {
            match launched.channel.receive() {
                Ok(Some(Message::Forked(pid))) => self.reforked = adopt(pid, &mut launched.leash).is_ok(),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The process is gone: it may have said why.
    fn silence(&self, launched: &Launched<'_>, stop: Stop) -> Result<(), Broken> {
        match launched.channel.receive() {
            Ok(Some(Message::Failed(failure))) => Err(failure.into()),
            _ => Err(Failure { step: Step::Channel, stop }.into()),
        }
    }

    fn answer(&mut self, milestone: Milestone, launched: &mut Launched<'_>) -> Result<(), Broken> {
        match milestone {
            Milestone::Namespaces => {
                if let Some(maps) = &self.plan.ids.maps {
                    self.settings.fault.attempt(Step::MapIds, || idmap::write(launched.pid(), maps))?;
                }
            }
            Milestone::Environment => {
                tracing::debug!("environment is built; prestart and createRuntime hooks run");
                self.run_hooks(launched)?;
            }
            // The caller answers when the record is written.
            Milestone::Created => return Ok(()),
            Milestone::Cgroup | Milestone::Start => return Err(garbled().into()),
        }
        launched.channel.send(Message::Go(milestone)).at(Step::Channel)?;
        Ok(())
    }

    fn run_hooks(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        let (plan, settings) = (self.plan, self.settings);
        let run = |hooks: &[Hook], step: fn(u16) -> Step| -> Result<(), Broken> {
            for i in (0..).take(hooks.len()) {
                settings.fault.attempt(step(i), || Ok(()))?;
            }
            hooks::run_all(hooks, settings.bundle, &settings.creating, launched.pid()).map_err(|failed| {
                Broken {
                    failure: Failure { step: step(failed.index), stop: failed.stop },
                    because: Because::Said(failed.output),
                }
            })
        };
        run(&plan.hooks.prestart, Step::Prestart)?;
        run(&plan.hooks.create_runtime, Step::CreateRuntime)
    }
}

/// Another process has taken over, a child of this one as well. The first one has nothing more to do.
fn adopt(pid: i32, leash: &mut Leash) -> Result<(), Failure> {
    // It cannot be another process's number by now: only we could have reaped it.
    let pidfd = process::pidfd_open(pid).at(Step::Refork)?;
    let first = std::mem::replace(leash, Leash::new(Child { pid, pidfd }));
    if let Some(first) = first.release() {
        process::wait(first.pidfd.as_fd()).at(Step::Refork)?;
    }
    tracing::debug!(pid, "a second process has taken over, for the namespaces that take effect for children");
    Ok(())
}

fn died() -> Failure {
    Failure { step: Step::Clone, stop: Stop { call: Call::Closed, errno: libc::EPIPE } }
}

fn garbled() -> Failure {
    Failure { step: Step::Channel, stop: Stop { call: Call::Recv, errno: libc::EBADMSG } }
}

fn attach_program(plan: &Plan, group: &Group<'_>) -> Result<(), Stop> {
    use crate::sys::bpf;
    let Some(cgroup) = group.unified()? else { return Ok(()) };
    let program = bpf::load_device_program(&devices::compile(&plan.cgroup.devices))?;
    bpf::attach_device_program(program.as_fd(), cgroup.as_fd())
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
