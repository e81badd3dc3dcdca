//! The container's process, from the clone to the exec. Runs there and nowhere else.
//!
//! Nothing here allocates or frees memory, takes a lock, prints or panics: the process is a copy of one thread
//! of a caller who may have had others, and whatever they were holding stays held. Everything was made before.
//!
//! So what needs room has it on the stack. A function with a large array there is `#[inline(never)]`, here and in
//! `sys`: when a function begins, every page of its stack is touched, and then belongs to the container's memory.

mod enter;
mod interpreter;
mod listener;
mod process;
mod rootfs;

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::libc;

use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::{LastWords, Stage};
use crate::plan::step::Step;
use crate::sys::fs;
use crate::sys::image::Image;
use crate::sys::{Proc, Stop, attributes, process as sys_process, signal};
use crate::timeline;

pub(crate) use enter::{Cpus, Entering, Target};
pub(crate) use process::{Filter, Program};
use rootfs::Means;
pub(crate) use rootfs::{Build, Sources, clone_host_source, make};

/// All that the container's process has and does, made ready by the runtime.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    /// The conversation with the runtime.
    pub(crate) channel: Channel,
    /// What to change to before anything else is done; nothing if the runtime has.
    pub(crate) image: Option<&'static Image>,
    /// The host's procfs.
    pub(crate) proc: Proc,
    /// The way into the namespaces.
    pub(crate) enter: Entering<'a>,
    /// The container to build; nothing when a process joins one that exists.
    pub(crate) build: Option<Build<'a>>,
    /// The program to run.
    pub(crate) program: Option<Program<'a>>,
    /// What tells the process to go on; nothing if it does when everything is ready.
    pub(crate) start: Option<Start>,
    /// How many descriptors from 3 on are the program's.
    pub(crate) preserved: u32,
    /// A step that is to fail, for tests.
    pub(crate) fault: Fault,
    /// What there is to say of a failure beside its step: what a hook printed, or which program it was.
    pub(crate) words: LastWords,
    /// Descriptors that are kept from the beginning; sorted. See [`Orders::keep`].
    pub(crate) keep: Vec<RawFd>,
}

/// What tells the container's process to run its program.
#[derive(Debug)]
pub(crate) enum Start {
    /// The runtime that made it, right away.
    Runtime,
    /// Whoever connects to this listening socket.
    Socket(OwnedFd),
}

impl Orders<'_> {
    /// Lists the descriptors that the process needs, so that it can close all others, such as the runtime's
    /// locks and its end of the channel. Allocates: called before the clone.
    pub(crate) fn list_descriptors(&mut self) {
        let mut keep = vec![self.channel.fd().as_raw_fd(), self.proc.raw()];
        keep.extend((3..).take(self.preserved as usize));
        keep.extend(self.enter.descriptors());
        keep.extend(self.build.iter().flat_map(Build::descriptors));
        keep.extend(self.program.iter().flat_map(Program::descriptors));
        if let Some(Start::Socket(socket)) = &self.start {
            keep.push(socket.as_raw_fd());
        }
        keep.sort_unstable();
        keep.dedup();
        self.keep = keep;
    }
}

/// Runs the container's process; returns its exit status if its program could not be executed.
pub(crate) fn run(orders: &mut Orders<'_>) -> i32 {
    timeline::be_child();
    if let Err(failure) = arrive(orders) {
        return give_up(&orders.channel, failure, &orders.words);
    }
    if !orders.enter.entry.refork {
        return live(orders);
    }
    // The pid namespace takes effect for children, so a child goes on, as the runtime's: it is the one to reap.
    let fault = orders.fault;
    match fault.attempt(Step::Refork, || sys_process::spawn(libc::CLONE_PARENT, None, || live(orders))) {
        Ok(child) => match orders.channel.send(Message::Forked(child.pid)) {
            Ok(()) => 0,
            Err(_) => 1,
        },
        Err(failure) => give_up(&orders.channel, failure, &orders.words),
    }
}

/// Leaves the runtime's world behind: its binary, its signals, its files, its namespaces.
fn arrive(orders: &mut Orders<'_>) -> Result<(), Failure> {
    if let Some(image) = orders.image {
        orders.fault.attempt(Step::Seal, || image.take())?;
    }
    orders.fault.attempt(Step::Signals, signal::reset_dispositions)?;
    orders.fault.attempt(Step::CloseFiles, || sys_process::close_all_but(&orders.keep))?;
    if let Some(score) = orders.program.as_ref().and_then(|program| program.process.oom_score_adj.as_ref()) {
        // Before the ids change: from then on the files of this process are the host's root's (proc(5)).
        let score = score.as_c_str().to_bytes();
        orders.fault.attempt(Step::OomScore, || orders.proc.write(c"self/oom_score_adj", score))?;
    }
    enter::enter(orders)
}

/// The life of the container's first process, or of one that joins it.
fn live(orders: &mut Orders<'_>) -> i32 {
    if orders.enter.entry.refork {
        timeline::be_child();
    }
    match become_container(orders) {
        Ok(connection) => start(orders, connection.as_ref()),
        Err(failure) => give_up(&orders.channel, failure, &orders.words),
    }
}

/// Builds the container and everything around the program. Gives the connection over which `start` came.
fn become_container(orders: &mut Orders<'_>) -> Result<Option<Channel>, Failure> {
    // By now ids are mapped, which a runtime without rights could not do to a process that cannot be dumped. Hooks
    // and the program can look at this one from here on.
    attributes::set_dumpable(false).at(Step::Signals)?;
    let umask = fs::set_umask(0);
    if let Some(build) = &mut orders.build {
        let (channel, proc, fault) = (&orders.channel, &orders.proc, orders.fault);
        let site = rootfs::build(build, Means { entering: &orders.enter, channel, proc, fault })?;
        if build.announce {
            orders.channel.reach(Milestone::Environment).at(Step::Channel)?;
        }
        let (pid, streams) = (sys_process::pid(), &build.streams);
        let stage = Stage { directory: site.root.fd(), state: &build.state, pid, streams };
        for (hook, i) in build.create_container.iter_mut().zip(0..) {
            orders.fault.attempt(Step::CreateContainer(i), || hook.run(stage, &mut orders.words))?;
        }
        orders.words.clear();
        let cwd = orders.program.as_ref().map(|program| &program.process.cwd);
        rootfs::change_root(build, site, cwd, &orders.proc, orders.fault)?;
    }
    fs::set_umask(umask);
    if let Some(program) = &mut orders.program {
        let bind_console = orders.build.is_some();
        process::prepare(program, &orders.proc, bind_console, orders.fault)?;
    } else {
        orders.fault.attempt(Step::User, sys_process::setsid)?;
    }
    await_start(orders)
}

/// Says that everything is ready, and waits to be told to run the program, if anybody is to tell.
fn await_start(orders: &mut Orders<'_>) -> Result<Option<Channel>, Failure> {
    let Some(start) = &orders.start else { return Ok(None) };
    orders.channel.send(Message::Reached(Milestone::Created)).at(Step::Channel)?;
    let filter = orders.program.as_mut().and_then(|program| program.filter.as_mut());
    if let Some(filter) = filter.filter(|filter| filter.comes) {
        orders.channel.receive_filter(&mut filter.instructions).at(Step::Channel)?;
    }
    orders.fault.attempt(Step::AwaitStart, || match start {
        Start::Runtime => orders.channel.await_go(Milestone::Start).map(|()| None),
        Start::Socket(socket) => {
            orders.channel.await_go(Milestone::Created)?;
            if let Some(image) = orders.image {
                image.rest()?;
            }
            let connection = Channel::from_socket(crate::sys::socket::accept(socket.as_fd())?);
            connection.await_go(Milestone::Start).map(|()| Some(connection))
        }
    })
}

/// Runs the last hooks and the program. The connection closes by itself when that has worked.
fn start(orders: &mut Orders<'_>, connection: Option<&Channel>) -> i32 {
    let (build, fault) = (&mut orders.build, orders.fault);
    let failure = match &mut orders.program {
        Some(program) => {
            let channel = connection.unwrap_or(&orders.channel);
            process::execute(program, build.as_mut(), orders.preserved, channel, &mut orders.words, fault)
        }
        None => {
            Failure { step: Step::Exec, stop: Stop::new(crate::sys::Call::Execve, nix::errno::Errno::EINVAL) }
        }
    };
    give_up(connection.unwrap_or(&orders.channel), failure, &orders.words)
}

/// Tells the other side why it ends here; if that is gone too, nobody is left to know.
fn give_up(channel: &Channel, failure: Failure, words: &LastWords) -> i32 {
    match channel.send_failure(failure, words.as_bytes()) {
        Ok(()) | Err(_) => 1,
    }
}
