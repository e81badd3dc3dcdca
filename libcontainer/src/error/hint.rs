//! What to do about a step that failed, where that is known.

use nix::libc;

use crate::plan::step::Step;
use crate::sys::{Call, Stop};

/// What is known about it.
pub(super) fn of(step: Step, stop: Stop) -> Option<String> {
    match (step, stop.errno) {
        (Step::Clone | Step::Unshare | Step::Network, libc::ENOSPC | libc::EUSERS | libc::EPERM) => {
            crate::host::namespace_hint()
        }
        (Step::MapIds, _) => about_ids(stop).map(str::to_owned),
        (Step::Mount(_) | Step::Device(_) | Step::Mask(_), _) => about_files(step, stop).map(str::to_owned),
        _ => about(step, stop).map(str::to_owned),
    }
}

fn about(step: Step, stop: Stop) -> Option<&'static str> {
    Some(match (step, stop.errno) {
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
        (Step::CgroupCreate(_), libc::EBUSY) => "the cgroup has processes already",
        (Step::CgroupCreate(_), libc::EDEADLK) => "the cgroup or one above it is frozen",
        (Step::CgroupWrite(_), libc::EBUSY) => "the limit is below current usage",
        (Step::CgroupWrite(_), libc::ENOENT) => {
            "this kernel does not have it, or the controller is not enabled in the cgroup above"
        }
        (Step::CgroupWrite(_), libc::ERANGE) => {
            "the cgroup above has none of them; see its cpuset.*.effective"
        }
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
        _ => return None,
    })
}

/// How files are made by `tmpcopyup`.
const COPYING: &[Call] = &[Call::Open, Call::Write, Call::Mkdir, Call::Mknod, Call::Symlink, Call::Setxattr];

fn about_files(step: Step, stop: Stop) -> Option<&'static str> {
    Some(match (step, stop.errno) {
        (Step::Mount(_), libc::EPERM) if [Call::MountSetattr, Call::Remount].contains(&stop.call) => {
            "in a user namespace no mount loses the ro, nosuid, nodev, noexec or access time that it has outside; \
             leave the option out that takes one away"
        }
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
        _ => return None,
    })
}

fn about_ids(stop: Stop) -> Option<&'static str> {
    Some(match (stop.call, stop.errno) {
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
        _ => return None,
    })
}
