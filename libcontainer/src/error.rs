//! The one error of this crate, and how it reads.

use std::fmt;

use nix::libc;

use crate::bundle::Unreadable;
use crate::hooks::Failed;
use crate::launch::cgroup::Busy;
use crate::launch::{Because, Broken};
use crate::plan::Plan;
use crate::plan::hooks::Hook;
use crate::plan::invalid::Invalid;
use crate::plan::mounts::Mount;
use crate::plan::process::Process;
use crate::plan::step::Step;
use crate::state::Refused;
use crate::sys::{Call, Stop};

/// Why a verb could not do its work. It has left nothing behind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What kind of failure it is, for a caller that acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The config or the caller's wish is wrong.
    Invalid,
    /// There is no such container.
    Missing,
    /// There is such a container already.
    Exists,
    /// The container is not in the state that this needs.
    State,
    /// The program does not exist; a shell would exit with 127.
    ProgramMissing,
    /// The program exists and cannot be executed; a shell would exit with 126.
    ProgramUnusable,
    /// A hook failed.
    Hook,
    /// Anything else that the kernel or the file system refused.
    System,
}

impl Error {
    /// A failure of this kind that reads as `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What broke while a plan was carried out, in the plan's words.
    pub(crate) fn launch(plan: &Plan, broken: &Broken) -> Error {
        let failure = broken.failure;
        if let (Step::FindProgram | Step::Exec, Some(process)) = (failure.step, &plan.process) {
            return Error::program(process, broken);
        }
        let mut error = Error::step(plan.describe(failure.step), broken);
        if let (Step::Mount(i), libc::EINVAL) = (failure.step, failure.stop.errno) {
            let data = plan.rootfs.mounts.get(usize::from(i)).map_or("", Mount::data);
            if !data.is_empty() {
                error
                    .message
                    .push_str(&format!("\nhint: the file system was given {data:?}; it may not know that"));
            }
        }
        error
    }

    /// What broke at a step, described by whoever knows the step.
    pub(crate) fn step(what: impl fmt::Display, broken: &Broken) -> Error {
        let failure = broken.failure;
        let kind = if is_hook(failure.step) { ErrorKind::Hook } else { ErrorKind::System };
        let message = match &broken.because {
            Because::OutOfMemory(limit, peak) => {
                format!("container init was OOM-killed: limit {limit}, peak {peak}; raise the memory limit")
            }
            Because::Unknown if failure.stop.call == Call::Closed => {
                "container init died while it was being set up".to_owned()
            }
            Because::Said(output) if !output.is_empty() => {
                format!("{what}: {}; it printed: {output}{}", failure.stop, hint(failure.step, failure.stop))
            }
            Because::Found(reason) => format!("{what}: {reason}"),
            Because::Hint(text) => format!("{what}: {}\nhint: {text}", failure.stop),
            _ => format!("{what}: {}{}", failure.stop, hint(failure.step, failure.stop)),
        };
        Error { kind, message }
    }

    /// A program that cannot be executed, in the words that clients look for.
    pub(crate) fn program(process: &Process, broken: &Broken) -> Error {
        let stop = broken.failure.stop;
        let name = process.args.first().map_or("", |arg| arg.as_str());
        let (path, interpreter) = match &broken.because {
            Because::Program { path, interpreter } => (path.as_str(), interpreter.as_str()),
            _ => (name, ""),
        };
        // Where it was found, if it had to be looked for.
        let found = if path == name { String::new() } else { format!(" ({path})") };
        let kind = match stop.errno {
            libc::ENOENT | libc::ENOTDIR => ErrorKind::ProgramMissing,
            _ => ErrorKind::ProgramUnusable,
        };
        let searched = !name.contains('/');
        let message = match (kind, stop.call) {
            (ErrorKind::ProgramMissing, Call::Access) if searched => {
                format!("exec: {name:?}: executable file not found in $PATH")
            }
            // The file is there, so it is its interpreter that is not.
            (ErrorKind::ProgramMissing, Call::Execve) if !interpreter.is_empty() => {
                format!(
                    "exec: {name:?}{found}: {stop}\nhint: its interpreter {interpreter}, or what that one needs, does not exist"
                )
            }
            // No kernel is without this call, but one whose answer nobody is left to give fails like this.
            (_, Call::Execve) if stop.errno == libc::ENOSYS => {
                format!("exec: {name:?}: {stop}\nhint: the seccomp agent has closed the listener")
            }
            _ => format!("exec: {name:?}{found}: {stop}"),
        };
        Error { kind, message }
    }

    pub(crate) fn hook(kind: &str, hooks: &[Hook], failed: &Failed) -> Error {
        let (i, stop) = (failed.index, failed.stop);
        let path = hooks.get(usize::from(i)).map_or("?", |hook| hook.path.as_str());
        let printed =
            if failed.output.is_empty() { String::new() } else { format!("; it printed: {}", failed.output) };
        Error::new(ErrorKind::Hook, format!("{kind} hook {i} ({path}): {stop}{printed}"))
    }
}

fn is_hook(step: Step) -> bool {
    matches!(
        step,
        Step::Prestart(_)
            | Step::CreateRuntime(_)
            | Step::CreateContainer(_)
            | Step::StartContainer(_)
            | Step::Poststart(_)
    )
}

/// How files are made by `tmpcopyup`.
const COPYING: &[Call] = &[Call::Open, Call::Write, Call::Mkdir, Call::Mknod, Call::Symlink, Call::Setxattr];

/// What to do about it, where that is known.
fn hint(step: Step, stop: Stop) -> String {
    let text = match (step, stop.errno) {
        (Step::Clone | Step::Unshare, libc::ENOSPC | libc::EUSERS | libc::EPERM) => {
            match crate::host::namespace_hint() {
                Some(hint) => return format!("\nhint: {hint}"),
                None => return String::new(),
            }
        }
        (Step::MapIds, _) => return map_hint(stop),
        (Step::NetDevice(_), libc::ENODEV) => "the runtime's network namespace has no device of this name",
        (Step::NetDevice(_), libc::EEXIST) => {
            "the container's network namespace has a device of this name; give another, or one that ends in %d"
        }
        (Step::NetDevice(_), libc::EINVAL) => "the kernel keeps devices of this kind in their namespace",
        (Step::NetDevice(_), libc::EPERM) => {
            "to take a device away takes CAP_NET_ADMIN in the user namespace that owns the network namespace it is in"
        }
        (Step::Hostname | Step::Domainname | Step::Sysctl(_), libc::EPERM) if stop.call == Call::Setns => {
            "the namespace that the container joins is the runtime's own: to set it would change the host"
        }
        (Step::Mount(_), libc::EPERM) if [Call::MountSetattr, Call::Remount].contains(&stop.call) => {
            "in a user namespace no mount loses the ro, nosuid, nodev, noexec or access time that it has outside; \
             leave the option out that takes one away"
        }
        (Step::CgroupCreate(_), libc::EBUSY) => "the cgroup has processes already",
        (Step::CgroupCreate(_), libc::EDEADLK) => "the cgroup or one above it is frozen",
        (Step::CgroupWrite(_), libc::EBUSY) => "the limit is below current usage",
        (Step::CgroupWrite(_), libc::ENOENT) => "the controller is not enabled in the cgroup above",
        (Step::CgroupWrite(_), libc::EINVAL) => "the kernel does not take this value",
        (Step::HookOutput, libc::ENXIO) => "nobody reads this fifo",
        (Step::Scheduler, libc::EPERM) => {
            "this takes CAP_SYS_NICE; of a version 1 cgroup, a real-time policy takes a share by \
             /linux/resources/cpu/realtimeRuntime"
        }
        (Step::InitialAffinity | Step::Affinity, libc::EINVAL) => "none of the CPUs may be used here",
        (Step::RdtGroup, libc::ENOENT) => {
            "a closID without schemata names a group that is there: make it, or say what it is to have"
        }
        (Step::RdtMonitor, libc::EEXIST) => "a group of this name is there already; remove it",
        (Step::RdtJoin, libc::ENOENT) => "the group is gone",
        (Step::Join(_), libc::EINVAL) => "the file is not a namespace of this type",
        (Step::Mount(_), libc::EEXIST) if stop.call == Call::Symlink => {
            "something else than this link is at the destination; remove it or copy-symlink"
        }
        (Step::Mount(_), libc::ENOSPC) if COPYING.contains(&stop.call) => {
            "what tmpcopyup copies does not fit in; give it a larger size= or nr_inodes=, or remove tmpcopyup"
        }
        (Step::Mount(_), libc::ENAMETOOLONG) if stop.call == Call::Getdents => {
            "directories are nested deeper than 128, which is all that tmpcopyup copies; remove it"
        }
        (Step::Mount(_), libc::EOVERFLOW) if COPYING.contains(&stop.call) => {
            "the container's root is not among the ids of the mount, so tmpcopyup cannot make files in it"
        }
        (Step::Mount(_), libc::ENOSYS) if stop.call == Call::MountSetattr => {
            "options for the mounts below, such as rro, need Linux 5.12"
        }
        (Step::Mount(_), libc::EPERM) if stop.call == Call::Statfs => {
            "the mount point is inside /proc, by a symbolic link of the image"
        }
        (Step::Mount(_), libc::ELOOP) => "the mount point must be a directory, not a symbolic link",
        (Step::Mount(_), libc::ENOTDIR) if stop.call == Call::MoveMount => {
            "of source and destination one is a directory, and the other is not"
        }
        (Step::Mount(_), libc::ENODEV) => "this kernel does not know the type of file system",
        (Step::Device(_), libc::EEXIST) => "there is a file that is not this device",
        (Step::Mask(_), libc::ENODEV | libc::ENOENT) => "the container's /dev/null is not the null device",
        (Step::OomScore | Step::Rlimit(_), libc::EACCES | libc::EPERM) => "this takes CAP_SYS_RESOURCE",
        (Step::User | Step::Groups | Step::BecomeRoot, libc::EINVAL) => {
            "the id is not mapped in the user namespace"
        }
        (Step::LoadFilter, libc::EBUSY) => "the runtime itself is under a filter that has a listener",
        (Step::SendListener, libc::ENOENT | libc::ECONNREFUSED) => {
            "the seccomp agent has to listen there before the program is started"
        }
        (Step::SendListener, libc::ETIMEDOUT) => {
            "the seccomp agent does not take the connection or what is sent"
        }
        (Step::CompileFilter, libc::E2BIG) => {
            "the filter is longer than the kernel takes; list fewer conditions or architectures"
        }
        (Step::LoadFilter, libc::EINVAL) => "this kernel does not know one of the flags or actions",
        (Step::Cwd, libc::ENOENT) => "the working directory is not inside the container's root",
        (Step::Console, libc::ENODEV | libc::ENOENT) => {
            "the container needs a devpts file system on /dev/pts"
        }
        _ => return String::new(),
    };
    format!("\nhint: {text}")
}

fn map_hint(stop: Stop) -> String {
    let text = match (stop.call, stop.errno) {
        (Call::Execve, libc::ENOENT) => {
            "newuidmap and newgidmap are not found, and without them a user who is not root maps no more than the \
             own id; install the package uidmap (Debian) or shadow-utils (Fedora)"
        }
        (Call::Exit, _) => {
            "/etc/subuid and /etc/subgid have to give these ids to the user who calls the runtime: see \
             usermod(8), --add-subuids and --add-subgids"
        }
        (_, libc::EPERM) => "the runtime's own user namespace does not have all of these ids",
        (_, libc::EINVAL) => {
            "the kernel takes no map that is longer than a page, which is 4096 bytes; merge ranges"
        }
        _ => return String::new(),
    };
    format!("\nhint: {text}")
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        let kind = match &refused {
            Refused::Id(_) => ErrorKind::Invalid,
            Refused::Exists(_) => ErrorKind::Exists,
            Refused::Missing(_) => ErrorKind::Missing,
            Refused::File { .. } | Refused::Record { .. } => ErrorKind::System,
        };
        Error::new(kind, refused.to_string())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Error {
        Error::new(ErrorKind::Invalid, invalid.to_string())
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Error {
        let kind = match unreadable {
            Unreadable::File { .. } => ErrorKind::System,
            Unreadable::Document(_) => ErrorKind::Invalid,
        };
        Error::new(kind, unreadable.to_string())
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Error {
        Error::new(ErrorKind::System, busy.to_string())
    }
}
