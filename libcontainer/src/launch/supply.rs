//! Makes ready what the container's process may lack the rights for, or cannot look up any more: sources of bind mounts,
//! mounts with mapped ids, links to copy. Runs in the runtime's process.
//!
//! Not all of them at once: a config may have more mounts than a process may have descriptors. The first batch is open
//! when the process is cloned, or opened by it; it asks for the others when it has attached those.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;

use super::{Because, Broken, idmap};
use crate::channel::{Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::init::{Sources, clone_host_source, make};
use crate::plan::Plan;
use crate::plan::mounts::{IdMap, Mount, What};
use crate::plan::namespaces::Namespace;
use crate::plan::options::SourceLink;
use crate::plan::step::Step;
use crate::sys::attributes;
use crate::sys::fs::{self, CWD};
use crate::sys::mount::{self, Change, Context};
use crate::sys::process::{self, Leash};
use crate::sys::socket::DESCRIPTORS_MAX;
use crate::sys::{Call, Stop};

/// Where sources come from.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    plan: &'a Plan,
    /// A user namespace that maps ids as the container's does, once it is needed.
    ids: Option<OwnedFd>,
    fault: Fault,
}

impl<'a> Supply<'a> {
    /// Nothing is opened so far. `joins` are the namespaces that the plan joins, in its order.
    pub(super) fn new(plan: &'a Plan, joins: &[OwnedFd], fault: Fault) -> Supply<'a> {
        let takes_ids =
            |mount: &Mount| matches!(&mount.what, What::Bind { idmap: Some(map), .. } if map.maps.is_none());
        let user = plan.entry.join.iter().position(|join| join.kind == Namespace::User);
        let joined = user.filter(|_| plan.rootfs.mounts.iter().any(takes_ids)).and_then(|i| joins.get(i));
        Supply { plan, ids: joined.and_then(|fd| fd.try_clone().ok()), fault }
    }

    /// What the process begins with: sources that are open, or room to open the first of them itself.
    pub(super) fn first(&mut self) -> Result<Sources, Broken> {
        if !self.plan.leaves_host_early {
            return Ok(Sources::new(self.batch(0)?, 0));
        }
        let count = self.plan.rootfs.mounts.len();
        Ok(Sources::new(Vec::new(), if count > DESCRIPTORS_MAX { count.min(most_at_once()) } else { count }))
    }

    /// Opens the sources of mounts that need it from this one on, in their order, as many as fit into one message.
    pub(super) fn batch(&mut self, first: u16) -> Result<Vec<OwnedFd>, Broken> {
        let plan = self.plan;
        let mounts = plan.rootfs.mounts.iter().zip(0_u16..).skip(usize::from(first));
        mounts
            .filter(|(mount, _)| mount.is_opened_by_runtime() || plan.leaves_host_early && mount.is_bind())
            .take(DESCRIPTORS_MAX)
            .map(|(mount, i)| self.open(mount, i))
            .collect()
    }

    /// Opens the source of this mount in another way: by a process in a copy of the mount namespace. There whatever keeps
    /// a mount namespace is left out, which the kernel lets nobody attach in a namespace that is newer.
    pub(super) fn again(&mut self, i: u16) -> Result<OwnedFd, Broken> {
        let (plan, fault) = (self.plan, self.fault);
        let missing = Failure { step: Step::Mount(i), stop: Stop { call: Call::Recv, errno: libc::EBADMSG } };
        let mount = plan.rootfs.mounts.get(usize::from(i)).ok_or(missing)?;
        let source = fault.attempt(Step::OpenSource(i), || open_in_copy(plan, mount))?;
        self.map_source(source.as_fd(), &mount.what, i)?;
        Ok(source)
    }

    fn open(&mut self, mount: &Mount, i: u16) -> Result<OwnedFd, Broken> {
        let fault = self.fault;
        // What the kernel has to say about a new file system that it refuses.
        let mut complaint = [0; 256];
        let opened = fault.attempt(Step::OpenSource(i), || open(self.plan, mount, &mut complaint));
        let source = opened.map_err(|failure| explain(failure, &complaint))?;
        self.map_source(source.as_fd(), &mount.what, i)?;
        Ok(source)
    }

    fn map_source(&mut self, source: BorrowedFd<'_>, what: &What, i: u16) -> Result<(), Broken> {
        let Some(map) = what.idmap() else { return Ok(()) };
        let mapped = self.fault.attempt(Step::MapMount(i), || self.map(source, map));
        mapped.map_err(|failure| advise(failure, what))
    }

    fn map(&mut self, tree: BorrowedFd<'_>, map: &IdMap) -> Result<(), Stop> {
        let own;
        let ids = match &map.maps {
            Some(maps) => {
                own = idmap::empty_namespace(maps)?;
                own.as_fd()
            }
            None => self.container_ids()?,
        };
        mount::change(tree, map.deep, Change { ids: Some(ids), ..Change::default() })
    }

    /// A user namespace that maps ids as the container's does.
    fn container_ids(&mut self) -> Result<BorrowedFd<'_>, Stop> {
        let ids = match (self.ids.take(), &self.plan.ids.maps) {
            (Some(ids), _) => ids,
            (None, Some(maps)) => idmap::empty_namespace(maps)?,
            (None, None) => return Err(Stop { call: Call::Open, errno: libc::EINVAL }),
        };
        let ids: &OwnedFd = self.ids.insert(ids);
        Ok(ids.as_fd())
    }
}

/// How many sources may be open at once: some of the descriptors that a process may have, and no more than are of use.
fn most_at_once() -> usize {
    let limit = attributes::descriptor_limit().unwrap_or_default();
    usize::try_from(limit / 2).unwrap_or(usize::MAX).clamp(DESCRIPTORS_MAX, 256)
}

/// Opens the source of a bind mount, or makes a new file system. Of a link to be copied the link itself; where it
/// turns out to be none, and the container's process binds, that is told by what is open.
fn open(plan: &Plan, mount: &Mount, complaint: &mut [u8]) -> Result<OwnedFd, Stop> {
    match &mount.what {
        What::Bind { source, deep, link, by_runtime, .. } => {
            let path = source.as_c_str();
            if *link == SourceLink::Copied {
                let found = fs::open(CWD, path, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
                if !by_runtime || fs::kind(found.as_fd())?.format() == libc::S_IFLNK {
                    return Ok(found);
                }
            }
            clone_host_source(path, *deep, *link, plan.rootfs.host_propagation)
        }
        What::Detached(new) => {
            let context = Context::open(new.fstype.as_c_str())?;
            make(&context, new).inspect_err(|_| context.complain(complaint))
        }
        // These are the container's process's to mount.
        What::Filesystem { .. }
        | What::Sysfs { .. }
        | What::Remount { .. }
        | What::Cgroup { .. }
        | What::CgroupTree { .. } => Err(Stop { call: Call::Open, errno: libc::EINVAL }),
    }
}

/// As [`open`], in a mount namespace of its own.
fn open_in_copy(plan: &Plan, mount: &Mount) -> Result<OwnedFd, Stop> {
    let (ours, theirs) = Channel::pair()?;
    let child = process::spawn(libc::CLONE_NEWNS, None, || {
        // Our copy of the runtime's end of another channel would keep that from closing.
        let opened =
            process::close_all_but(&[theirs.fd().as_raw_fd()]).and_then(|()| open(plan, mount, &mut []));
        let told = match opened {
            Ok(source) => theirs.send_sources(&[source]),
            Err(stop) => theirs.send(Message::Failed(Failure { step: Step::Channel, stop })),
        };
        i32::from(told.is_err())
    })?;
    let _child = Leash::new(child);
    drop(theirs);
    match ours.receive_with_descriptor()? {
        (Some((Message::Go(Milestone::Sources), _)), Some(source)) => Ok(source),
        (Some((Message::Failed(failure), _)), _) => Err(failure.stop),
        _ => Err(Stop { call: Call::Closed, errno: libc::EPIPE }),
    }
}

/// Hands on what the kernel says, which begins with a letter for how bad it is.
fn explain(failure: Failure, complaint: &[u8]) -> Broken {
    let text = String::from_utf8_lossy(complaint);
    let text = text.trim_end_matches(['\0', '\n']);
    let text = text.strip_prefix("e ").unwrap_or(text);
    if text.is_empty() { failure.into() } else { Broken { failure, because: Because::Hint(text.to_owned()) } }
}

/// Says which file system it is that cannot map ids.
fn advise(failure: Failure, what: &What) -> Broken {
    let fstype = match what {
        What::Detached(new) => Some(new.fstype.to_string()),
        What::Bind { source, .. } => crate::host::filesystem_type(source.as_str()),
        _ => None,
    };
    let Some(fstype) = fstype.filter(|_| failure.stop.call == Call::MountSetattr) else {
        return failure.into();
    };
    let below = if what.idmap().is_some_and(|map| map.deep) { ", or what is mounted below it," } else { "" };
    let hint = match failure.stop.errno {
        libc::EINVAL => format!(
            "this kernel has no id-mapped mounts of {fstype}{below} or its ids are mapped as asked already; \
             give the files the owners that the container needs (chown), and remove idmap and the mappings"
        ),
        libc::EPERM => format!(
            "mapping the ids of {fstype}{below} takes CAP_SYS_ADMIN in the user namespace that mounted it, and it \
             must not be mapped yet; run the runtime as root, or remove idmap and the mappings"
        ),
        libc::ENOSYS => "id-mapped mounts need Linux 5.12; remove idmap and the mappings".to_owned(),
        _ => return failure.into(),
    };
    Broken { failure, because: Because::Hint(hint) }
}
