//! Walks a cgroup and everything below it, by descriptor. Runs in the runtime's process.
//!
//! A payload that may make cgroups can nest them deeper than a path reaches, and than there are descriptors.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use crate::sys::Stop;
use crate::sys::directory;
use crate::sys::fs::{self, CWD};

/// Visits each cgroup after those below it, as a directory and a name in it. What goes away meanwhile is left out.
///
/// # Errors
/// Those of the visits, and of opening a directory.
pub(crate) fn from_leaves(
    root: &Path,
    mut visit: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let parent = root.parent().and_then(name).unwrap_or_default();
    let name = root.file_name().map(Path::new).and_then(name).unwrap_or_default();
    // Where we are, the names on the way here, and at each level the names that are still to be entered.
    let Some(mut here) = open(CWD, &parent)? else { return Ok(()) };
    let mut way = Vec::new();
    let mut pending = vec![vec![name]];
    while let Some(names) = pending.last_mut() {
        if let Some(name) = names.pop() {
            if let Some(inside) = open(here.as_fd(), &name)? {
                pending.push(children(inside.as_fd())?);
                way.push(name);
                here = inside;
            }
            continue;
        }
        pending.pop();
        let Some(name) = way.pop() else { break };
        // Cgroups do not move, so this is where we came from.
        let Some(above) = open(here.as_fd(), c"..")? else { break };
        here = above;
        visit(here.as_fd(), &name)?;
    }
    Ok(())
}

/// The path of a file in the cgroup `name`.
pub(crate) fn file(name: &CStr, file: &str) -> CString {
    CString::new([name.to_bytes(), b"/", file.as_bytes()].concat()).unwrap_or_default()
}

fn name(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

/// Opens a directory; `None` if it is not there.
fn open(at: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>, Stop> {
    match fs::open(at, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
        Err(stop) if stop.is(Errno::ENOENT) || stop.is(Errno::ENODEV) => Ok(None),
        other => other.map(Some),
    }
}

fn children(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Stop> {
    let mut names = Vec::new();
    let mut buffer = vec![0; 8192];
    loop {
        let entries = match directory::read(directory, &mut buffer) {
            // It has just been removed.
            Err(stop) if stop.is(Errno::ENOENT) => return Ok(names),
            other => other?,
        };
        if entries.is_empty() {
            return Ok(names);
        }
        let below =
            entries.filter(|entry| entry.is_directory && !matches!(entry.name.to_bytes(), b"." | b".."));
        names.extend(below.map(|entry| entry.name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b36_leaves_come_first_and_depth_costs_neither_paths_nor_descriptors() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        std::fs::DirBuilder::new().create(&root).unwrap();
        // Longer than PATH_MAX, and more levels than a process has descriptors by default.
        let mut at = open(CWD, &name(&root).unwrap()).unwrap().unwrap();
        for _ in 0..1100 {
            fs::make_directory(at.as_fd(), c"below", 0o755).unwrap();
            at = open(at.as_fd(), c"below").unwrap().unwrap();
        }
        drop(at);
        for name in ["beside", "aside"] {
            std::fs::DirBuilder::new().create(root.join(name)).unwrap();
        }
        std::fs::write(root.join("file"), "").unwrap();
        let (mut seen, mut most) = (Vec::new(), 0);
        from_leaves(&root, |at, name| {
            seen.push(name.to_owned());
            if seen.len() % 100 == 0 {
                most = most.max(open_files());
            }
            if name == c"root" { Ok(()) } else { fs::remove(at, name, true) }
        })
        .unwrap();
        assert_eq!((seen.len(), seen.last().unwrap().as_c_str()), (1103, c"root"));
        assert!(most < 500, "{most} open files");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1, "the file alone is left");
        from_leaves(&place.path().join("nothing/at/all"), |_, _| panic!("visited")).unwrap();
    }
}
