//! Opens the sources of mounts that the container's process may lack the rights for. Runs in the runtime's process.
//!
//! Not all of them at once: a config may have more mounts than a process may have descriptors. The first batch
//! is open when the process is cloned; it asks for the others when it has attached those.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;

use super::idmap;
use crate::channel::Failure;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::plan::mounts::{IdMap, Mount, What};
use crate::plan::namespaces::Namespace;
use crate::plan::step::Step;
use crate::sys::fs::CWD;
use crate::sys::mount::{self, Change};
use crate::sys::socket::DESCRIPTORS_MAX;
use crate::sys::{Call, Stop};

/// What is opened already, and what is left.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    plan: &'a Plan,
    /// The mount to begin the next batch at.
    next: usize,
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
        Supply { plan, next: 0, ids: joined.and_then(|fd| fd.try_clone().ok()), fault }
    }

    /// Opens the sources of the next mounts that need it, in their order. None if there are no more.
    pub(super) fn batch(&mut self) -> Result<Vec<OwnedFd>, Failure> {
        let plan = self.plan;
        let mut batch = Vec::new();
        for (mount, i) in plan.rootfs.mounts.iter().zip(0_u16..).skip(self.next) {
            if batch.len() == DESCRIPTORS_MAX {
                break;
            }
            self.next += 1;
            if mount.is_opened_by_runtime() {
                batch.push(self.open(mount, i)?);
            }
        }
        Ok(batch)
    }

    fn open(&mut self, mount: &Mount, i: u16) -> Result<OwnedFd, Failure> {
        let fault = self.fault;
        let What::Bind { source, deep, idmap, .. } = &mount.what else {
            return Err(Failure {
                step: Step::OpenSource(i),
                stop: Stop { call: Call::Open, errno: libc::EINVAL },
            });
        };
        let tree = fault.attempt(Step::OpenSource(i), || mount::clone_tree(CWD, source.as_c_str(), *deep))?;
        if let Some(map) = idmap {
            fault.attempt(Step::MapMount(i), || self.map(tree.as_fd(), map))?;
        }
        Ok(tree)
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
