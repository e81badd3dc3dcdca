//! What a stage has: a mount table of its own in which the host can only be read, its own `/proc`, `/dev`, `/run` and
//! place for temporary files, and those cgroup hierarchies that were asked for. Runs in the performer.

use std::fs::{DirBuilder, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};

use super::cgroups::{self, Hierarchy, Made};
use crate::Error;
use crate::bundle::probe_binary;
use crate::report::proc_text;

/// Turns the namespaces of a performer that has just started into a stage.
pub(super) fn furnish(directory: &Path, program: &Path, cgroups: &Made) -> Result<(), Error> {
    cgroups.join()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP).map_err(Error::system("unshare"))?;
    APART.store(true, Ordering::Relaxed);
    let nothing = None::<&Path>;
    mount(nothing, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
    read_only()?;
    mount_new("proc", Path::new("/proc"), MsFlags::empty(), "")?;
    temporary_files(directory, program)?;
    devices()?;
    hierarchies(&cgroups.hierarchies)?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Whether this process has a mount table of its own.
static APART: AtomicBool = AtomicBool::new(false);

/// mount(2), on a stage: elsewhere it is refused, so that no case changes the host.
#[expect(clippy::disallowed_methods, reason = "these paths are the harness's own, and no container's")]
pub(crate) fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    options: &str,
) -> Result<(), Error> {
    if !APART.load(Ordering::Relaxed) {
        return Err(Error::Host { needs: "a stage, which suite::Suite makes" });
    }
    let done = nix::mount::mount(source, target, kind, flags, Some(options));
    done.map_err(|errno| Error::Mount { target: target.to_owned(), errno })
}

fn mount_new(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<(), Error> {
    mount(Some(Path::new(kind)), target, Some(kind), flags, options)
}

/// Makes every mount but sysfs read-only and leaves its other flags alone. One that is hidden below another cannot be reached, by
/// the runtime either.
fn read_only() -> Result<(), Error> {
    const FLAGS: [(&str, MsFlags); 7] = [
        ("nosuid", MsFlags::MS_NOSUID),
        ("nodev", MsFlags::MS_NODEV),
        ("noexec", MsFlags::MS_NOEXEC),
        ("noatime", MsFlags::MS_NOATIME),
        ("nodiratime", MsFlags::MS_NODIRATIME),
        ("relatime", MsFlags::MS_RELATIME),
        ("ro", MsFlags::MS_RDONLY),
    ];
    let table = super::text(Path::new("/proc/self/mountinfo"))?;
    for own in proc_text::mountinfo(&table).unwrap_or_default() {
        // Who mounts sysfs in a user namespace may not be freer than whoever mounted it here: on hosts that is free.
        if own.fstype == "sysfs" {
            continue;
        }
        let kept = FLAGS.iter().filter(|(name, _)| own.has(name)).map(|(_, flag)| *flag);
        let flags = kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, MsFlags::union);
        match mount(None, Path::new(&own.point), None, flags, "") {
            Ok(()) | Err(Error::Mount { errno: Errno::EINVAL | Errno::ENOENT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An empty `/tmp` and an empty directory for the case. Programs that are in `/tmp` stay there, with what is beside them.
fn temporary_files(directory: &Path, program: &Path) -> Result<(), Error> {
    let temporary = Path::new("/tmp");
    let this = std::env::current_exe().map_err(Error::file("/proc/self/exe"))?;
    let mut kept = Vec::new();
    for path in [program.to_owned(), this, probe_binary()?] {
        let place = match path.parent() {
            Some(parent) if parent != temporary => parent.to_owned(),
            _ => path,
        };
        if place.starts_with(temporary) && !kept.iter().any(|(other, _)| *other == place) {
            let opened = File::open(&place).map_err(Error::file(&place))?;
            kept.push((place, opened));
        }
    }
    mount_new("tmpfs", temporary, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
    for (place, opened) in kept {
        make_place(&place, opened.metadata().map_err(Error::file(&place))?.is_dir())?;
        let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
        mount(Some(Path::new(&source)), &place, None, MsFlags::MS_BIND, "")?;
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None, &place, None, read_only, "")?;
    }
    if directory.starts_with(temporary) {
        make_place(directory, true)?;
    }
    mount_new("tmpfs", directory, MsFlags::empty(), "mode=755")
}

/// An empty file or directory to mount on, with the directories above it.
fn make_place(path: &Path, directory: bool) -> Result<(), Error> {
    let above = if directory { Some(path) } else { path.parent() };
    let above = above.unwrap_or(path);
    DirBuilder::new().recursive(true).create(above).map_err(Error::file(above))?;
    if !directory {
        File::create(path).map_err(Error::file(path))?;
    }
    Ok(())
}

/// A `/dev` as a host has it: what containers need, and nothing that leads to hardware.
fn devices() -> Result<(), Error> {
    const NODES: [(&str, u64, u64); 6] =
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    const LINKS: [(&str, &str); 5] = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    let dev = Path::new("/dev");
    mount_new("tmpfs", dev, MsFlags::MS_NOSUID, "mode=755")?;
    umask(Mode::empty());
    for (name, major, minor) in NODES {
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&dev.join(name), SFlag::S_IFCHR, mode, makedev(major, minor))
            .map_err(Error::system("mknod"))?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).map_err(Error::file(dev.join(name)))?;
    }
    let inside = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let mounts =
        [("pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5"), ("shm", "tmpfs", "mode=1777")];
    for (name, kind, options) in mounts {
        let target = dev.join(name);
        DirBuilder::new().create(&target).map_err(Error::file(&target))?;
        mount_new(kind, &target, inside, options)?;
    }
    Ok(())
}

/// Mounts the hierarchies where hosts have them. From a new cgroup namespace, each begins at the stage's own cgroup.
fn hierarchies(chosen: &[Hierarchy]) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let top = Path::new(cgroups::TOP);
    // A file system of its own is below: mount(2) refuses one where the same is mounted already.
    mount_new("tmpfs", top, flags, "mode=755")?;
    let legacy = chosen.iter().any(|hierarchy| !hierarchy.unified());
    for hierarchy in chosen {
        let target = match legacy {
            true => top.join(hierarchy.name()),
            false => top.to_owned(),
        };
        if legacy {
            DirBuilder::new().create(&target).map_err(Error::file(&target))?;
        }
        mount_new(hierarchy.kind(), &target, flags, hierarchy.options())?;
        for controller in hierarchy.aliases() {
            let link = top.join(controller);
            symlink(hierarchy.name(), &link).map_err(Error::file(&link))?;
        }
        if hierarchy.unified() {
            cgroups::step_aside(&target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_the_stage_nothing_is_mounted() {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount_new("tmpfs", directory.path(), MsFlags::empty(), "");
        assert!(matches!(mounted, Err(Error::Host { .. })));
    }
}
