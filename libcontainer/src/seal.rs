//! Keeps the runtime's binary out of a container's reach. Runs first thing in the runtime's process.
//!
//! A process that enters a container can be made to execute /proc/self/exe there, which is the host's binary,
//! and another one can then open and overwrite it (CVE-2019-5736). So a runtime that is about to put a process
//! into a container executes itself again from something that nobody can write to.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::libc;

use crate::sys::mount::{self, Change};
use crate::sys::process::{self, Strings};
use crate::sys::{Call, Stop, fs, timeline};

/// Tells the second execution from the first. It is believed only if the binary really is sealed.
const MARK: &str = "_KETCH_SEALED";
const OWN_BINARY: &std::ffi::CStr = c"/proc/self/exe";

/// Executes this program again from a sealed copy of its binary; returns if this is that copy, with the time when it
/// began, in nanoseconds of CLOCK_MONOTONIC.
///
/// The calling process must not have done anything yet: everything but open files is lost.
///
/// # Errors
/// The binary can be sealed neither by a mount nor by a copy.
pub fn enter() -> Result<Option<u64>, Stop> {
    let began = timeline::now();
    if let Some(mark) = std::env::var_os(MARK) {
        check()?;
        return Ok(mark.to_str().and_then(|mark| mark.parse().ok()));
    }
    // A mount costs a tenth of a copy. It takes the rights to mount, and Linux 5.12.
    let sealed = match by_mount() {
        Err(_) => by_copy()?,
        Ok(sealed) => sealed,
    };
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
    let copy = fs::sealable_memory_file()?;
    let refused = |call| move |errno| Stop::new(call, errno);
    while nix::sys::sendfile::sendfile(&copy, &own, None, 1 << 30).map_err(refused(Call::Write))? > 0 {}
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(refused(Call::Memfd))?;
    // Executed through a descriptor that cannot write: the kernel refuses a file that is open for writing.
    let path = CString::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy)));
    let path = path.map_err(|_| Stop::new(Call::Open, Errno::EINVAL))?;
    fs::open(fs::CWD, &path, OFlag::O_RDONLY.bits(), 0)
}
