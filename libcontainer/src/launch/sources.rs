//! Makes ready what the container's process may lack the rights for: sources of bind mounts, mounts with mapped
//! ids, links to copy. Runs in the runtime's process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::{Because, Broken, idmap};
use crate::channel::Failure;
use crate::fault::Fault;
use crate::init::{Source, clone_source, fill};
use crate::path::{KernelString, PATH_MAX};
use crate::plan::Plan;
use crate::plan::mounts::{IdMap, Mount, What};
use crate::plan::namespaces::Namespace;
use crate::plan::options::SourceLink;
use crate::plan::step::Step;
use crate::sys::fs::{self, CWD};
use crate::sys::mount::{self, Change, Context};
use crate::sys::{Call, Stop};

/// For each mount what has been made ready of it.
pub(super) fn prepare(plan: &Plan, joins: &[OwnedFd], fault: Fault) -> Result<Vec<Option<Source>>, Broken> {
    plan.rootfs.mounts.iter().zip(0..).map(|(mount, i)| source(mount, i, plan, joins, fault)).collect()
}

fn source(
    mount: &Mount,
    i: u16,
    plan: &Plan,
    joins: &[OwnedFd],
    fault: Fault,
) -> Result<Option<Source>, Broken> {
    if !mount.what.is_prepared() {
        return Ok(None);
    }
    // What the kernel has to say about a new file system that it refuses.
    let mut complaint = [0; 256];
    let opened = fault.attempt(Step::OpenSource(i), || open(&mount.what, &mut complaint));
    let source = opened.map_err(|failure| explain(failure, &complaint))?;
    if let (Some(Source::Tree(tree)), Some(map)) = (&source, mount.what.idmap()) {
        let mapped = fault.attempt(Step::MapMount(i), || map_ids(tree.as_fd(), map, plan, joins));
        mapped.map_err(|failure| advise(failure, &mount.what))?;
    }
    Ok(source)
}

fn open(what: &What, complaint: &mut [u8]) -> Result<Option<Source>, Stop> {
    match what {
        What::Bind { source, deep, link, by_runtime, .. } => {
            if *link == SourceLink::Copied {
                if let Some(text) = link_text(source)? {
                    return Ok(Some(Source::Link(text)));
                }
                if !by_runtime {
                    return Ok(None);
                }
            }
            clone_source(source.as_c_str(), *deep, *link).map(|tree| Some(Source::Tree(tree)))
        }
        What::Detached { fstype, source, parameters, attributes, .. } => {
            let context = Context::open(fstype.as_c_str())?;
            let made = fill(&context, source, parameters).and_then(|()| context.mount(*attributes));
            let tree = made.inspect_err(|_| context.complain(complaint))?;
            Ok(Some(Source::Tree(tree)))
        }
        What::Filesystem { .. } | What::Remount { .. } | What::Cgroup { .. } | What::CgroupTree { .. } => {
            Ok(None)
        }
    }
}

/// The text of a symbolic link; `None` if it is something else.
fn link_text(path: &KernelString) -> Result<Option<KernelString>, Stop> {
    let mut text = [0; PATH_MAX];
    match fs::read_link(CWD, path.as_c_str(), &mut text) {
        Err(stop) if stop.is(Errno::EINVAL) => Ok(None),
        // A link's text has no NUL byte.
        length => Ok(KernelString::new(text.get(..length?).unwrap_or_default()).ok()),
    }
}

fn map_ids(tree: BorrowedFd<'_>, map: &IdMap, plan: &Plan, joins: &[OwnedFd]) -> Result<(), Stop> {
    let ids = match &map.maps {
        Some(maps) => idmap::empty_namespace(maps)?,
        None => container_ids(plan, joins)?,
    };
    mount::change(tree, map.deep, Change { ids: Some(ids.as_fd()), ..Change::default() })
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
        What::Detached { fstype, .. } => Some(fstype.to_string()),
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
