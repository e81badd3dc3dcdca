//! Makes, joins and removes resctrl groups. Runs in the runtime's process.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Because, Broken, cgroup};
use crate::channel::Failure;
use crate::fault::Fault;
use crate::plan::rdt::{self, Rdt};
use crate::plan::step::Step;
use crate::state::ResctrlGroup;
use crate::sys::{Call, Stop};

/// The resctrl group of a container that is being made; what is made for it goes again unless it is kept.
#[derive(Debug)]
pub(crate) struct Resctrl<'a> {
    plan: Option<&'a Rdt>,
    /// Directories, the outer one first.
    made: Vec<PathBuf>,
    fault: Fault,
}

impl<'a> Resctrl<'a> {
    /// No directories yet.
    #[must_use]
    pub(super) fn new(plan: Option<&'a Rdt>, fault: Fault) -> Resctrl<'a> {
        Resctrl { plan, made: Vec::new(), fault }
    }

    /// Makes the group, or finds that the one that is there is as configured; and the monitoring group.
    ///
    /// # Errors
    /// The kernel refuses, or the group is not as configured.
    pub(super) fn make(&mut self) -> Result<(), Broken> {
        let Some(plan) = self.plan else { return Ok(()) };
        let group = PathBuf::from(&plan.group);
        let is_new = plan.make && self.attempt(Step::RdtGroup, || make_directory(&group))?;
        if is_new {
            self.made.push(group.clone());
            for (line, i) in plan.schemata.iter().zip(0..) {
                self.attempt(Step::RdtSchema(i), || add_line(&group.join("schemata"), line))?;
            }
        } else {
            let current = self.attempt(Step::RdtGroup, || cgroup::read(group.join("schemata")))?;
            compare(plan, &current)?;
        }
        if let Some(monitor) = plan.monitor.as_deref().map(PathBuf::from) {
            let taken = Stop::new(Call::Mkdir, Errno::EEXIST);
            self.attempt(Step::RdtMonitor, || if make_directory(&monitor)? { Ok(()) } else { Err(taken) })?;
            self.made.push(monitor);
        }
        Ok(())
    }

    /// Moves a process into the group. Its children are born there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn join(&self, pid: i32) -> Result<(), Broken> {
        let Some(plan) = self.plan else { return Ok(()) };
        self.attempt(Step::RdtJoin, || join(&joined(plan), pid))
    }

    /// Does `act` as `step`; of a failure, resctrl keeps the reason in words.
    fn attempt<T>(&self, step: Step, act: impl FnOnce() -> Result<T, Stop>) -> Result<T, Broken> {
        self.fault.attempt(step, act).map_err(|failure| {
            let mount = self.plan.map_or("", |plan| plan.mount.as_str());
            let said = cgroup::read(Path::new(mount).join("info/last_cmd_status")).unwrap_or_default();
            match said.trim() {
                "" | "ok" => failure.into(),
                said => Broken {
                    failure,
                    because: Because::Found(format!("{}; the kernel says: {said}", failure.stop)),
                },
            }
        })
    }

    /// What is going to be made and joined for `plan`, to be remembered before it is. A directory that is there
    /// already is somebody else's.
    #[must_use]
    pub(crate) fn planned(plan: Option<&Rdt>) -> Option<ResctrlGroup> {
        plan.map(|plan| remembered(plan, |path| !path.exists()))
    }

    /// What has been made and joined.
    #[must_use]
    pub(super) fn remembered(&self) -> Option<ResctrlGroup> {
        self.plan.map(|plan| remembered(plan, |path| self.made.iter().any(|made| made == path)))
    }

    /// Keeps the directories.
    pub(super) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Resctrl<'_> {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The error that leads here is the one to report.
            let _busy = remove(path);
        }
    }
}

/// A group that is there has other containers in it: it is used as it is, or not at all.
fn compare(plan: &Rdt, current: &str) -> Result<(), Broken> {
    let granularity = granularity(Path::new(&plan.mount));
    let Some(difference) = rdt::difference(&plan.schemata, current, granularity) else { return Ok(()) };
    let failure = Failure { step: Step::RdtGroup, stop: Stop::new(Call::Mkdir, Errno::EEXIST) };
    Err(Broken { failure, because: Because::Found(format!("exists, and {difference}; use another closID")) })
}

/// The step of memory bandwidth, where resctrl is mounted.
pub(super) fn granularity(mount: &Path) -> Option<u32> {
    cgroup::read(mount.join("info/MB/bandwidth_gran")).ok()?.trim().parse().ok()
}

/// The directories whose `tasks` a process of the container is written to: a process enters a monitoring group
/// only from the group above it.
fn joined(plan: &Rdt) -> Vec<PathBuf> {
    std::iter::once(&plan.group).chain(&plan.monitor).map(PathBuf::from).collect()
}

fn remembered(plan: &Rdt, is_ours: impl Fn(&Path) -> bool) -> ResctrlGroup {
    // Of what is there on behalf of others too, nothing is removed. Spec: config-linux.md#intelrdt.
    let removable = plan.monitor.iter().chain(plan.own.then_some(&plan.group)).map(PathBuf::from);
    ResctrlGroup { join: joined(plan), made: removable.filter(|path| is_ours(path)).collect() }
}

/// Moves a process into groups, the outer one first.
///
/// # Errors
/// The kernel refuses, or a group is gone.
pub(super) fn join(groups: &[PathBuf], pid: i32) -> Result<(), Stop> {
    groups.iter().try_for_each(|group| add_line(&group.join("tasks"), &pid.to_string()))
}

/// Removes a group; that it is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn remove(group: &Path) -> Result<(), Stop> {
    plain::empty(group);
    match fs::remove_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cgroup::stop(Call::Rmdir, &e)),
        _ => Ok(()),
    }
}

/// Makes a group; false if there is one.
fn make_directory(group: &Path) -> Result<bool, Stop> {
    match fs::create_dir(group) {
        Ok(()) => {
            plain::populate(group);
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(cgroup::stop(Call::Mkdir, &e)),
    }
}

/// Writes one line in one call, with the end that the kernel demands.
pub(super) fn add_line(path: &Path, line: &str) -> Result<(), Stop> {
    let file = fs::File::options().append(true).open(path).map_err(|e| cgroup::stop(Call::Open, &e))?;
    crate::sys::fs::write(file.as_fd(), format!("{line}\n").as_bytes())
}

/// What the kernel does by itself in resctrl. Few machines have that, so tests give debug builds a plain directory
/// instead; in resctrl itself there is nothing left to do.
#[cfg(debug_assertions)]
mod plain {
    use std::fs;
    use std::path::Path;

    const FILES: [&str; 2] = ["schemata", "tasks"];

    pub(super) fn populate(group: &Path) {
        for file in FILES {
            let _there = fs::File::options().write(true).create_new(true).open(group.join(file));
        }
        let _there = fs::create_dir(group.join("mon_groups"));
    }

    pub(super) fn empty(group: &Path) {
        for file in FILES {
            let _kept = fs::remove_file(group.join(file));
        }
        let _kept = fs::remove_dir(group.join("mon_groups"));
    }
}

#[cfg(not(debug_assertions))]
mod plain {
    use std::path::Path;

    pub(super) fn populate(_: &Path) {}

    pub(super) fn empty(_: &Path) {}
}
