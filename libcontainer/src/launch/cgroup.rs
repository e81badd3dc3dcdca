//! Makes and limits the container's cgroups. Runs in the runtime's process.

mod processes;
mod remove;
pub(super) mod tree;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use crate::channel::Failure;
use crate::fault::Fault;
use crate::path::KernelString;
use crate::plan::cgroup::Cgroup;
use crate::plan::facts::CgroupVersion;
use crate::plan::limits::{Hierarchy, Write};
use crate::plan::list;
use crate::plan::step::Step;
use crate::state::CgroupDirectory;
use crate::stats::OomKilled;
use crate::sys::{self, Call, Stop, contents};

pub(crate) use processes::{processes, signal_all, signal_each};
pub(crate) use remove::{Busy, remove_all, remove_unused};

/// What /sys/kernel/cgroup/delegate lists, before Linux 4.15 had it. Spec: config-linux.md#cgroup-ownership.
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// What makes a cgroup of version 1 somebody's who may move his processes in it.
const NAMED: &str = "cgroup.procs\ntasks\n";

/// The limit of tasks, in either version.
const TASKS: &str = "pids.max";

/// The cgroups of a container that is being made; they go again unless they are kept.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    plan: &'a Cgroup,
    /// One for each hierarchy of the plan, once it is made.
    made: Vec<Option<CgroupDirectory>>,
    fault: Fault,
}

impl<'a> Group<'a> {
    /// No directories yet.
    #[must_use]
    pub(crate) fn new(plan: &'a Cgroup, fault: Fault) -> Group<'a> {
        Group { plan, made: plan.hierarchies.iter().map(|_| None).collect(), fault }
    }

    /// Makes the directories in the hierarchies of one version.
    ///
    /// # Errors
    /// The kernel refuses, or the cgroup has processes already.
    pub(crate) fn make(&mut self, version: CgroupVersion) -> Result<(), Failure> {
        for (i, hierarchy) in self.plan.hierarchies.iter().enumerate() {
            if hierarchy.version != version || self.made[i].is_some() {
                continue;
            }
            let step = Step::CgroupCreate(u16::try_from(i).unwrap_or(u16::MAX));
            let (directory, home) = (PathBuf::from(self.plan.directory(i)), PathBuf::from(self.plan.home(i)));
            // systemd has made it by now, and put the container's process there.
            let units = self.plan.unit.as_ref().map(|_| PathBuf::from(self.plan.top(i)));
            let units = units.as_deref();
            match self.fault.attempt(step, || make_directory(hierarchy, &directory, units)) {
                Ok(made) => {
                    self.made[i] = Some(made);
                    self.fault.attempt(step, || make_home(hierarchy, &directory, &home, units))?;
                }
                // Without rights on the host one may do without a cgroup, if nothing is asked of it.
                Err(failure) if self.plan.optional && is_refusal(failure.stop) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Writes all limits but that of tasks.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub(crate) fn limit(&self) -> Result<(), Failure> {
        self.write(|file| file != TASKS)
    }

    /// Writes the limit of tasks, which could keep the container from being made if it came before its processes.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(crate) fn limit_tasks(&self) -> Result<(), Failure> {
        self.write(|file| file == TASKS)
    }

    fn write(&self, concerned: impl Fn(&str) -> bool) -> Result<(), Failure> {
        for (write, i) in self.plan.writes.iter().zip(0..) {
            if !concerned(&write.file) {
                continue;
            }
            let Some(Some(directory)) = self.made.get(usize::from(write.hierarchy)) else { continue };
            let path = directory.path.join(&write.file);
            self.fault.attempt(Step::CgroupWrite(i), || match write_value(&path, &write.value) {
                Err(stop) if stop.is(Errno::ENOENT) && write.may_be_absent => Ok(()),
                Ok(()) if directory.version == CgroupVersion::V2 => check_set(&directory.path, write),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Moves the process `pid`, which systemd has put into its unit's cgroup if that is no slice, to where it belongs
    /// in version 2, and hands controllers down, which the kernel refuses while somebody is above.
    ///
    /// # Errors
    /// The kernel refuses to move it.
    pub(crate) fn settle(&self, pid: i32) -> Result<(), Stop> {
        let unified = |hierarchy: &Hierarchy| hierarchy.version == CgroupVersion::V2;
        let Some(i) = self.plan.hierarchies.iter().position(unified) else { return Ok(()) };
        let is_slice = self.plan.unit.as_ref().is_some_and(|unit| unit.name.is_slice());
        let (top, home) = (self.plan.top(i), self.plan.home(i));
        if top == home && !is_slice {
            return Ok(());
        }
        write_value(&Path::new(&home).join("cgroup.procs"), &pid.to_string())?;
        for above in between(Path::new(&top), Path::new(&home)) {
            enable_controllers(above, &self.plan.hierarchies[i].enable);
        }
        Ok(())
    }

    /// Hands what the container's processes are in over to the container's user: of version 2 as far as the kernel
    /// means that to be done, see cgroups(7), Cgroups delegation; and of version 1 where it has no controllers.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn hand_over(&self) -> Result<(), Failure> {
        let Some(owner) = self.plan.owner else { return Ok(()) };
        self.fault.attempt(Step::CgroupOwner, || {
            if let Some(home) = self.home()? {
                let listed = read("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATED.to_owned());
                give(home.as_fd(), &listed, owner)?;
            }
            if let Some(named) = self.named()? {
                give(named.as_fd(), NAMED, owner)?;
            }
            Ok(())
        })
    }

    /// The container's version 2 directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn unified(&self) -> Result<Option<OwnedFd>, Stop> {
        let unified = self.made.iter().flatten().find(|made| made.version == CgroupVersion::V2);
        unified.map(|made| open_directory(&made.path)).transpose()
    }

    /// The version 2 directory to be born into.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn home(&self) -> Result<Option<OwnedFd>, Stop> {
        let is_unified = |made: &Option<CgroupDirectory>| {
            made.as_ref().is_some_and(|made| made.version == CgroupVersion::V2)
        };
        let i = self.made.iter().position(is_unified);
        i.map(|i| open_directory(Path::new(&self.plan.home(i)))).transpose()
    }

    /// The directory in a version 1 hierarchy without controllers, if the host uses version 2 alone otherwise.
    fn named(&self) -> Result<Option<OwnedFd>, Stop> {
        let mut legacy = self.made.iter().flatten().filter(|made| made.version == CgroupVersion::V1);
        // Its owner is only decided where this is the only one.
        legacy.next().map(|made| open_directory(&made.path)).transpose()
    }

    /// The files by which a process moves itself into the version 1 directories. They are going to be made,
    /// unless the container may have to do without.
    #[must_use]
    pub(crate) fn tasks(&self) -> Vec<KernelString> {
        let hierarchies = self.plan.hierarchies.iter().zip(&self.made).enumerate();
        let legacy = hierarchies.filter(|(_, (hierarchy, made))| {
            hierarchy.version == CgroupVersion::V1 && (made.is_some() || !self.plan.optional)
        });
        legacy
            .filter_map(|(i, _)| KernelString::path(&format!("{}/tasks", self.plan.directory(i))).ok())
            .collect()
    }

    /// The directories that are going to be made for `plan`, to be remembered before they are. One that has
    /// processes is refused later, and must not be remembered: whoever deletes the container would kill them.
    #[must_use]
    pub(crate) fn directories(plan: &Cgroup) -> Vec<CgroupDirectory> {
        let is_free = |i: &usize| processes(Path::new(&plan.top(*i))).is_ok_and(|pids| pids.is_empty());
        let each = plan.hierarchies.iter().enumerate().filter(|(i, _)| is_free(i));
        each.map(|(i, hierarchy)| planned(hierarchy, PathBuf::from(plan.directory(i)))).collect()
    }

    /// The directories that have been made.
    #[must_use]
    pub(crate) fn made(&self) -> Vec<CgroupDirectory> {
        self.made.iter().flatten().cloned().collect()
    }

    /// Keeps the directories.
    pub(crate) fn keep(mut self) {
        self.made.clear();
    }

    /// How a memory limit was hit, if one was.
    #[must_use]
    pub(crate) fn out_of_memory(&self) -> Option<OomKilled> {
        self.made.iter().flatten().find_map(out_of_memory)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        // The error that leads here is the one to report.
        let _busy = remove_all(&self.made(), deadline);
    }
}

fn is_refusal(stop: Stop) -> bool {
    [Errno::EACCES, Errno::EPERM, Errno::EROFS, Errno::ENOENT].iter().any(|errno| stop.is(*errno))
}

pub(super) fn stop(call: Call, error: &io::Error) -> Stop {
    Stop { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

pub(crate) fn read(path: impl AsRef<Path>) -> Result<String, Stop> {
    text(contents::read(path.as_ref()))
}

/// As [`read`], of a file that is no list.
pub(super) fn read_value(path: impl AsRef<Path>) -> Result<String, Stop> {
    text(contents::read_record(path.as_ref()))
}

fn text(bytes: Result<Vec<u8>, Stop>) -> Result<String, Stop> {
    String::from_utf8(bytes?).map_err(|_| Stop::new(Call::Read, Errno::EILSEQ))
}

/// Writes a file of the kernel in one call, without creating it.
pub(super) fn write_value(path: &Path, value: &str) -> Result<(), Stop> {
    let file = fs::File::options().write(true).open(path).map_err(|e| stop(Call::Open, &e))?;
    // Nothing at all would not reach the kernel.
    let value = if value.is_empty() { "\n" } else { value };
    crate::sys::fs::write(file.as_fd(), value.as_bytes())
}

/// Version 2 takes any set of CPUs or memory nodes, and uses what the cgroup above has if that has none of them: a
/// container would run where it must not. All other files refuse what they cannot do.
fn check_set(directory: &Path, write: &Write) -> Result<(), Stop> {
    if !["cpuset.cpus", "cpuset.mems"].contains(&write.file.as_str()) || write.value.is_empty() {
        return Ok(());
    }
    let used = read(directory.join(format!("{}.effective", write.file)))?;
    let within = list::is_within(used.trim(), &write.value);
    if within { Ok(()) } else { Err(Stop::new(Call::Write, Errno::ERANGE)) }
}

/// Gives a directory and these files in it to a user.
fn give(directory: BorrowedFd<'_>, files: &str, owner: u32) -> Result<(), Stop> {
    for file in std::iter::once("").chain(files.lines()) {
        let name = KernelString::new(file).unwrap_or_default();
        match crate::sys::fs::change_user(directory, name.as_c_str(), owner) {
            // Not every cgroup has every file. And who may not give it away is not asked to.
            Err(stop) if stop.is(Errno::ENOENT) || stop.is(Errno::EPERM) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The directories from `top` on that have `home` below them, `top` first.
fn between<'a>(top: &Path, home: &'a Path) -> Vec<&'a Path> {
    let above = home.ancestors().skip(1);
    let mut all: Vec<&Path> = above.take_while(|path| path.starts_with(top)).collect();
    all.reverse();
    all
}

/// Makes what is between the container's version 2 directory and that of its processes, which takes controllers too.
fn make_home(hierarchy: &Hierarchy, directory: &Path, home: &Path, units: Option<&Path>) -> Result<(), Stop> {
    let mut levels = between(directory, home);
    if levels.is_empty() {
        return Ok(());
    }
    levels.push(home);
    for (above, level) in levels.iter().zip(levels.iter().skip(1)) {
        hand_down(hierarchy, above, units);
        match fs::create_dir(level) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => check_unused(level)?,
            other => other.map_err(|e| stop(Call::Mkdir, &e))?,
        }
    }
    Ok(())
}

fn open_directory(path: &Path) -> Result<OwnedFd, Stop> {
    sys::fs::open_path(path, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Directories that have been made, outer ones first; they go again unless they are kept.
struct New<'a>(Vec<&'a Path>);

impl New<'_> {
    /// Keeps them; how many of them are parents of the last.
    fn keep(mut self) -> usize {
        std::mem::take(&mut self.0).len().saturating_sub(1)
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // Somebody else may use it by now.
            let _stays = fs::remove_dir(directory);
        }
    }
}

/// Makes a cgroup directory and the parents that are missing, and lets them hand on their controllers.
/// That of a unit, which is in `units`, is there already.
fn make_directory(hierarchy: &Hierarchy, path: &Path, units: Option<&Path>) -> Result<CgroupDirectory, Stop> {
    let mount = Path::new(&hierarchy.mount);
    let mut chain: Vec<&Path> = path.ancestors().take_while(|p| *p != mount).collect();
    chain.reverse();
    let mut new = New(Vec::new());
    let mut above = mount;
    for level in chain {
        hand_down(hierarchy, above, units);
        match fs::create_dir(level) {
            Ok(()) => new.0.push(level),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && units == Some(level) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && level == path => check_unused(level)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(stop(Call::Mkdir, &e)),
        }
        if hierarchy.controllers.iter().any(|c| c == "cpuset") && hierarchy.version == CgroupVersion::V1 {
            inherit_cpuset(above, level)?;
        }
        above = level;
    }
    let made = planned(hierarchy, path.to_owned());
    if made.freezer {
        check_thawed(path, hierarchy.version)?;
    }
    Ok(CgroupDirectory { parents: new.keep(), ..made })
}

fn planned(hierarchy: &Hierarchy, path: PathBuf) -> CgroupDirectory {
    let freezer =
        hierarchy.version == CgroupVersion::V2 || hierarchy.controllers.iter().any(|c| c == "freezer");
    CgroupDirectory { version: hierarchy.version, path, parents: 0, freezer }
}

/// Turns on in `above` what children are to have, but not yet from a unit's cgroup on: with a process in there the
/// kernel would take what threads can share, and thereby keep all processes out of what is below (cgroups(7), Threaded
/// mode).
fn hand_down(hierarchy: &Hierarchy, above: &Path, units: Option<&Path>) {
    if hierarchy.version == CgroupVersion::V2 && !units.is_some_and(|top| above.starts_with(top)) {
        enable_controllers(above, &hierarchy.enable);
    }
}

/// Turns on what children are to have. Where that is not allowed, the limit that needs it fails by name.
fn enable_controllers(directory: &Path, controllers: &[String]) {
    let file = directory.join("cgroup.subtree_control");
    let on = read_value(&file).unwrap_or_default();
    let missing = |c: &&String| !on.split_whitespace().any(|have| have == c.as_str());
    let wanted: Vec<String> = controllers.iter().filter(missing).map(|c| format!("+{c}")).collect();
    if !wanted.is_empty() && write_value(&file, &wanted.join(" ")).is_err() {
        for one in wanted {
            let _unavailable = write_value(&file, &one);
        }
    }
}

/// Processes that are there already, or below it, would get the limits, and be killed with the container.
fn check_unused(directory: &Path) -> Result<(), Stop> {
    if processes(directory)?.is_empty() { Ok(()) } else { Err(Stop::new(Call::Mkdir, Errno::EBUSY)) }
}

/// A process that is born frozen would never answer.
fn check_thawed(directory: &Path, version: CgroupVersion) -> Result<(), Stop> {
    let (file, word) = match version {
        CgroupVersion::V2 => ("cgroup.events", "frozen 1"),
        CgroupVersion::V1 => ("freezer.state", "FROZEN"),
    };
    let state = read_value(directory.join(file)).unwrap_or_default();
    let frozen = state.lines().any(|line| line.trim() == word);
    if frozen { Err(Stop::new(Call::Mkdir, Errno::EDEADLK)) } else { Ok(()) }
}

/// A version 1 cpuset is born empty, and takes no process until it has processors and memory.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<(), Stop> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(child.join(file))?.trim().is_empty() {
            write_value(&child.join(file), read(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// How a memory limit was hit, as the memory cgroup tells it, if that is in this directory.
#[must_use]
pub(crate) fn out_of_memory(directory: &CgroupDirectory) -> Option<OomKilled> {
    let unified = directory.version == CgroupVersion::V2;
    OomKilled::read(unified, &|file| read(directory.path.join(file)).ok())
}
