//! Keeps the runtime's binary out of a container's reach. Runs first thing in the runtime's process.
//!
//! A process that enters a container can be made to execute /proc/self/exe there, which is the host's binary,
//! and another one can then open and overwrite it (CVE-2019-5736). So whatever of the runtime gets into a container
//! executes something that nobody can write to: a mount of its binary that is read-only, or a copy.
//!
//! A process changes to the mount while it runs. The container's first process does so when it is cloned, as nobody is
//! with it; who joins others has to have done it before. Where the kernel has no such change, the runtime executes itself
//! again.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;

use crate::sys::image::{self, Image};
use crate::sys::mount::{self, Change};
use crate::sys::process::{self, Strings};
use crate::sys::{Call, Stop, fs, timeline};

/// Tells the second execution from the first. It is believed only if the binary really is sealed.
const MARK: &str = "_KETCH_SEALED";
const OWN_BINARY: &std::ffi::CStr = c"/proc/self/exe";

/// The seal of this process and its children, once there is one that took no second execution.
static SEALED: OnceLock<Sealed> = OnceLock::new();

#[derive(Debug)]
struct Sealed {
    /// What children change to, if this process has not.
    image: Option<Image>,
    /// Left open: the kernel would take its time to dissolve the mount now, and does so when the process ends.
    _mount: OwnedFd,
}

/// Has this process execute a sealed copy of its binary: for who joins processes that may look at it. Tells when it began
/// to, in nanoseconds of CLOCK_MONOTONIC.
///
/// The calling process must not have done anything yet, and has one thread: everything but open files may be lost, and
/// then all begins again.
///
/// # Errors
/// The binary can be sealed neither by a mount nor by a copy.
pub fn enter() -> Result<Option<u64>, Stop> {
    seal(true)
}

/// As [`enter`], for who makes containers: it is their first processes that change, and where the kernel has no such
/// change, this one.
///
/// # Errors
/// As [`enter`].
pub fn prepare() -> Result<Option<u64>, Stop> {
    seal(false)
}

/// What a child is to change to, if this process has not.
#[must_use]
pub(crate) fn image() -> Option<&'static Image> {
    SEALED.get()?.image.as_ref()
}

fn seal(at_once: bool) -> Result<Option<u64>, Stop> {
    let began = timeline::now();
    if let Some(mark) = std::env::var_os(MARK) {
        check()?;
        return Ok(mark.to_str().and_then(|mark| mark.parse().ok()));
    }
    // A mount costs a tenth of a copy. It takes the rights to mount, and Linux 5.12.
    let Ok(mount) = by_mount() else { return execute(&by_copy()?, began).map(Some) };
    let image = fs::reopen(mount.as_fd(), libc::O_RDONLY).and_then(Image::new);
    match image {
        Ok(image) if !at_once || image.take().is_ok() => {
            // One that is there already is as good.
            let _first = SEALED.set(Sealed { image: (!at_once).then_some(image), _mount: mount });
            Ok(Some(began))
        }
        _ => execute(&mount, began).map(Some),
    }
}

/// Executes this program from the beginning, by another file.
fn execute(sealed: &OwnedFd, began: u64) -> Result<u64, Stop> {
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Stop::new(Call::Execve, Errno::EINVAL));
    let args = std::env::args_os().map(|arg| text(arg.into_vec())).collect::<Result<Vec<_>, Stop>>()?;
    let variables =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let mut env = variables.map(text).collect::<Result<Vec<_>, Stop>>()?;
    env.push(text(format!("{MARK}={began}").into_bytes())?);
    let args = Strings::new(args.iter().map(CString::as_c_str));
    let env = Strings::new(env.iter().map(CString::as_c_str));
    Err(process::exec_fd(sealed.as_fd(), &args, &env))
}

fn check() -> Result<(), Stop> {
    let own = fs::open(fs::CWD, OWN_BINARY, libc::O_RDONLY, 0)?;
    let copied =
        fcntl(&own, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0);
    let mounted = nix::sys::statvfs::fstatvfs(&own)
        .is_ok_and(|stat| stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    if !copied && !mounted {
        return Err(Stop::new(Call::Execve, Errno::EPERM));
    }
    // A program that is executed by descriptor is named after its number.
    nix::sys::prctl::set_name(c"ketch").map_err(|errno| Stop::new(Call::Prctl, errno))
}

/// A read-only mount of the binary alone, in no namespace: when its descriptor is closed by the execve, nobody
/// can change its flags any more, for the kernel finds it in no namespace that they might have rights in.
fn by_mount() -> Result<OwnedFd, Stop> {
    let tree = mount::clone_tree(fs::CWD, OWN_BINARY, false)?;
    mount::change(tree.as_fd(), false, Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() })?;
    Ok(tree)
}

/// A copy of the binary in memory, sealed against every change. See memfd_create(2).
fn by_copy() -> Result<OwnedFd, Stop> {
    let own = fs::open(fs::CWD, OWN_BINARY, libc::O_RDONLY, 0)?;
    let copy = image::sealable_memory_file()?;
    let refused = |call| move |errno| Stop::new(call, errno);
    while nix::sys::sendfile::sendfile(&copy, &own, None, 1 << 30).map_err(refused(Call::Write))? > 0 {}
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(refused(Call::Memfd))?;
    // Executed through a descriptor that cannot write: the kernel refuses a file that is open for writing.
    fs::reopen(copy.as_fd(), libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x02_a_copy_of_the_binary_has_its_bytes_and_takes_no_others() {
        let copy = std::fs::File::from(by_copy().unwrap());
        let seals = fcntl(&copy, FcntlArg::F_GET_SEALS).unwrap();
        assert_eq!(seals & SealFlag::F_SEAL_WRITE.bits(), SealFlag::F_SEAL_WRITE.bits());
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
        let writing = std::fs::OpenOptions::new().write(true).open(&path);
        assert!(writing.and_then(|mut file| std::io::Write::write_all(&mut file, b"x")).is_err());
        assert!(std::fs::read(path).unwrap() == std::fs::read("/proc/self/exe").unwrap());
    }
}
