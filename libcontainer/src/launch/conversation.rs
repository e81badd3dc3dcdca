//! The runtime's side of the conversation with the container's process. Runs in the runtime's process.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::poll::PollFlags;

use super::cgroup::Group;
use super::supply::Supply;
use super::{
    Because, Broken, Inside, Launched, OWN_NETWORK, Settings, devices, idmap, listener, net_devices, systemd,
};
use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::hooks::{self, Stage};
use crate::host;
use crate::plan::Plan;
use crate::plan::facts::CgroupVersion;
use crate::plan::hooks::Hook;
use crate::plan::namespaces::Namespace;
use crate::plan::step::Step;
use crate::plan::systemd::Unit;
use crate::sys::attributes;
use crate::sys::listener::Pass;
use crate::sys::process::{self, Child, Leash};
use crate::sys::{Call, Stop};
use crate::timeline::{self, Phase};

/// What is said, and what is done in between, until the container's process is ready to start.
pub(super) struct Conversation<'a, 's> {
    pub(super) plan: &'a Plan,
    pub(super) settings: &'s Settings<'s>,
    /// The sources of mounts that are to come.
    pub(super) supply: Supply<'a>,
    /// The process waits for its cgroups or its ids.
    pub(super) waits: bool,
    /// What goes before the filter.
    pub(super) pass: Option<Pass>,
    /// The second process has been told of.
    pub(super) reforked: bool,
}

impl<'a> Conversation<'a, '_> {
    /// Talks to the container's process until it is ready to start.
    pub(super) fn hold(&mut self, launched: &mut Launched<'a>) -> Result<(), Broken> {
        let (plan, fault) = (self.plan, self.settings.fault);
        if plan.lends_network {
            self.lend_network(launched)?;
        }
        self.make_cgroups(launched).map_err(|broken| self.first_cause(launched, broken))?;
        if self.waits {
            self.tell(launched, |channel| channel.send(Message::Go(Milestone::Cgroup)))?;
        }
        if !plan.cgroup.devices.is_empty() {
            fault
                .attempt(Step::DeviceProgram, || attach_program(plan, &launched.group))
                .map_err(|failure| self.first_cause(launched, failure.into()))?;
        }
        if !plan.entry.refork {
            self.draft(launched)?;
        }
        // Without a program nobody takes one.
        let filter = plan.process.as_ref().and(plan.seccomp.as_ref());
        let filter = filter
            .map(|seccomp| fault.attempt(Step::CompileFilter, || listener::instructions(seccomp, self.pass)))
            .transpose()?;
        let mut reached = None;
        while reached != Some(Milestone::Created) || self.reforked != plan.entry.refork {
            let heard = timeline::during(Phase::Wait, || launched.channel.receive_words());
            match heard.at(Step::Channel)? {
                Some((Message::Reached(Milestone::Namespaces), _)) => {
                    self.map_ids(launched)?;
                    self.tell(launched, |channel| channel.send(Message::Go(Milestone::Namespaces)))?;
                }
                Some((Message::Sources(mount), _)) => {
                    let sources = self.supply.batch(mount)?;
                    self.tell(launched, |channel| channel.send_sources(&sources))?;
                }
                Some((Message::Again(mount), _)) => {
                    let source = self.supply.again(mount)?;
                    self.tell(launched, |channel| channel.send_sources(&[source]))?;
                }
                // Created is answered by the caller, when the record is written.
                Some((Message::Reached(milestone @ (Milestone::Environment | Milestone::Created)), _)) => {
                    reached = Some(milestone);
                }
                Some((Message::Forked(pid), _)) => {
                    adopt(pid, &mut launched.leash)?;
                    self.reforked = true;
                    launched.group.limit_tasks()?;
                    // It may have been born before the first one was moved.
                    launched.resctrl.join(launched.pid())?;
                    self.draft(launched)?;
                }
                Some((Message::Failed(failure), words)) => return Err(Broken::heard(failure, &words)),
                Some((Message::Reached(_) | Message::Go(_), _)) => return Err(garbled().into()),
                None => return Err(Broken::from(died())),
            }
            // The second process may be heard before the first one has told of it.
            if reached == Some(Milestone::Environment) && self.reforked == plan.entry.refork {
                reached = None;
                self.complete_environment(launched)?;
                self.tell(launched, |channel| channel.send(Message::Go(Milestone::Environment)))?;
            }
        }
        if let Some(filter) = filter {
            self.tell(launched, |channel| channel.send_filter(&filter))?;
        }
        Ok(())
    }

    /// Makes the container's network namespace, which the process waits for.
    fn lend_network(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        let (plan, fault) = (self.plan, self.settings.fault);
        let made = fault.attempt(Step::Network, || {
            let inside = Inside::new_network()?;
            process::own_namespace(OWN_NETWORK).map(|network| (inside, network))
        });
        // This thread is in there until the end.
        let (_inside, network) = made.map_err(|failure| self.first_cause(launched, failure.into()))?;
        let complete = || {
            if plan.kernel.loopback { fault.attempt(Step::Loopback, attributes::loopback_up) } else { Ok(()) }
        };
        // The process does not wait for the loopback device, unless hooks are the first to use it: all others do when it
        // has been heard again.
        let is_used_at_once = !plan.hooks.create_container.is_empty();
        if is_used_at_once {
            complete()?;
        }
        self.tell(launched, |channel| channel.send_network(network))?;
        if is_used_at_once { Ok(()) } else { Ok(complete()?) }
    }

    /// Has the record prepared, as long as the process is busy anyway.
    fn draft(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        Ok(timeline::during(Phase::Draft, || (self.settings.draft)(launched.made())).at(Step::Record)?)
    }

    /// Makes what cgroups are left to make, and limits them.
    fn make_cgroups(&mut self, launched: &mut Launched<'a>) -> Result<(), Broken> {
        let plan = self.plan;
        if let Some(unit) = &plan.cgroup.unit {
            self.make_unit(unit, launched)?;
        }
        launched.group.make(CgroupVersion::V1)?;
        launched.group.limit()?;
        if !plan.entry.refork {
            launched.group.limit_tasks()?;
        }
        launched.resctrl.join(launched.pid())?;
        launched.group.hand_over()?;
        tracing::debug!(
            path = plan.cgroup.path,
            limits = plan.cgroup.writes.len(),
            "cgroup is made and limited"
        );
        if plan.entry.clone.contains(Namespace::User) {
            self.map_ids(launched)?;
        }
        Ok(())
    }

    /// Why something could not be done with the process's cgroups: one that has ended cannot be put anywhere, its unit
    /// goes with it, and it may have said why. One that ends when it has made a second one has said nothing of the kind.
    fn first_cause(&self, launched: &Launched<'_>, broken: Broken) -> Broken {
        let ended = host::look_at(launched.pid()).is_none_or(|seen| seen.is_zombie);
        if ended && !self.plan.entry.refork {
            self.hear_last_words(launched).err().unwrap_or(broken)
        } else {
            broken
        }
    }

    /// Has systemd make the cgroup with the process in it, and adds what systemd has no word for.
    fn make_unit(&self, unit: &'a Unit, launched: &mut Launched<'a>) -> Result<(), Broken> {
        let (cgroup, pid) = (&self.plan.cgroup, launched.pid());
        self.settings.fault.attempt(Step::Unit, || Ok(()))?;
        launched.unit = systemd::start(unit, cgroup, pid)?;
        launched.group.make(CgroupVersion::V2)?;
        launched.group.settle(pid).at(Step::Unit)?;
        tracing::debug!(unit = unit.name.name, "systemd has made the unit");
        Ok(())
    }

    /// Sends the process something. If it is gone, why that is so counts.
    fn tell(
        &self,
        launched: &Launched<'_>,
        send: impl FnOnce(&Channel) -> Result<(), Stop>,
    ) -> Result<(), Broken> {
        match send(&launched.channel) {
            Err(stop) if stop.is(Errno::EPIPE) => self.hear_last_words(launched),
            other => Ok(other.at(Step::Channel)?),
        }
    }

    /// The process is gone: it may have said why.
    fn hear_last_words(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        match launched.channel.receive_words() {
            Ok(Some((Message::Failed(failure), words))) => Err(Broken::heard(failure, &words)),
            _ => Err(died().into()),
        }
    }

    /// Maps the ids of the new user namespace.
    fn map_ids(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        let Some(maps) = &self.plan.ids.maps else { return Ok(()) };
        self.settings.fault.attempt(Step::MapIds, || Ok(()))?;
        idmap::write(launched.pid(), maps).map_err(|unmapped| Broken {
            failure: Failure { step: Step::MapIds, stop: unmapped.stop },
            because: Because::Said(unmapped.said),
        })
    }

    /// What the container's environment lacks when its own process has built its part.
    fn complete_environment(&self, launched: &mut Launched<'_>) -> Result<(), Broken> {
        let devices = &self.plan.net_devices;
        launched.devices = net_devices::take(devices, launched.pid(), self.settings.fault)?;
        tracing::debug!("environment is built; prestart and createRuntime hooks run");
        self.run_hooks(launched)
    }

    fn run_hooks(&self, launched: &Launched<'_>) -> Result<(), Broken> {
        let (plan, settings) = (self.plan, self.settings);
        let run = |hooks: &[Hook], step: fn(u16) -> Step| -> Result<(), Broken> {
            for i in (0..).take(hooks.len()) {
                settings.fault.attempt(step(i), || Ok(()))?;
            }
            let (directory, state, pid) = (settings.bundle, &settings.creating, launched.pid());
            let stage = Stage { directory, state, pid, streams: &launched.streams };
            hooks::run_all(hooks, stage).map_err(|failed| Broken {
                failure: Failure { step: step(failed.index), stop: failed.stop },
                because: Because::Said(failed.output),
            })
        };
        run(&plan.hooks.prestart, Step::Prestart)?;
        run(&plan.hooks.create_runtime, Step::CreateRuntime)
    }
}

/// Another process has taken over, a child of this one as well. The first one has nothing more to do.
pub(super) fn adopt(pid: i32, leash: &mut Leash) -> Result<(), Failure> {
    // It cannot be another process's number by now: only we could have reaped it.
    let pidfd = process::pidfd_open(pid).at(Step::Refork)?;
    timeline::note_child(pid);
    let first = std::mem::replace(leash, Leash::new(Child { pid, pidfd }));
    if let Some(first) = first.release() {
        process::wait(first.pidfd.as_fd()).at(Step::Refork)?;
    }
    tracing::debug!(pid, "a second process has taken over, for the namespaces that take effect for children");
    Ok(())
}

/// Gets hold of a second process that has not been told of yet, so that it ends like the first: it is ours to
/// reap, and the cgroup cannot be removed while it lives.
pub(super) fn gather(channel: &Channel, leash: &mut Leash) {
    // Whoever waits for us ends. The first process is not killed: it may just be making the second one.
    if channel.hang_up().is_err() {
        return;
    }
    while process::ready(channel.fd(), PollFlags::POLLIN, process::DEATH) == Ok(true) {
        match channel.receive() {
            Ok(Some(Message::Forked(pid))) => {
                // If it cannot be adopted, it is gone.
                let _gone = adopt(pid, leash);
                return;
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

pub(super) fn died() -> Failure {
    Failure { step: Step::Clone, stop: Stop { call: Call::Closed, errno: libc::EPIPE } }
}

pub(super) fn garbled() -> Failure {
    Failure { step: Step::Channel, stop: Stop { call: Call::Recv, errno: libc::EBADMSG } }
}

fn attach_program(plan: &Plan, group: &Group<'_>) -> Result<(), Stop> {
    use crate::sys::bpf;
    let Some(cgroup) = group.unified()? else { return Ok(()) };
    let program = bpf::load_device_program(&devices::compile(&plan.cgroup.devices))?;
    bpf::attach_device_program(program.as_fd(), cgroup.as_fd())
}
