//! The kernel, as safe functions. The only unsafe code; runs in either process; knows no OCI word.
//!
//! Every function answers with a [`Stop`]: the call that failed and its errno. None of them allocates
//! unless it says so, because the container's process uses them between clone and exec.
#![allow(unsafe_code, reason = "this is where it lives: one system call a block, each with its argument")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel's structs want sizes, constants and descriptors in widths of their own"
)]

pub mod attributes;
pub mod bpf;
pub mod contents;
pub mod copy;
pub mod creds;
pub mod directory;
pub mod fs;
pub mod heap;
pub mod image;
pub mod listener;
pub mod mount;
pub mod netlink;
pub mod pattern;
pub mod process;
mod procfs;
pub mod root;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod timeline;

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

pub use procfs::Proc;
pub use root::{Nearby, Root};

macro_rules! calls {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// What failed: a system call, or how a program ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the manual page of that name")]
        pub enum Call { $($name),* }

        const CALLS: &[(Call, &str)] = &[$((Call::$name, $text)),*];
    };
}

calls! {
    Accept = "accept", Access = "faccessat", Bind = "bind", Bpf = "bpf", Capget = "capget",
    Capset = "capset", Chdir = "chdir", Chmod = "chmod", Chown = "chown", Chroot = "chroot",
    Clone3 = "clone3", CloseRange = "close_range", Closed = "closed", Connect = "connect", Dup = "dup3",
    Execve = "execve", Exit = "exit", Fsconfig = "fsconfig", Fsmount = "fsmount", Fsopen = "fsopen",
    Ftruncate = "ftruncate", GetAddr = "RTM_GETADDR", GetLink = "RTM_GETLINK", GetRoute = "RTM_GETROUTE",
    Getcwd = "getcwd", Getdents = "getdents64", Getrandom = "getrandom", Getxattr = "fgetxattr",
    Injected = "injected fault", Ioctl = "ioctl", IoprioSet = "ioprio_set", Keyctl = "keyctl",
    Kill = "kill", Killed = "killed", Listen = "listen", Listxattr = "flistxattr", Lseek = "lseek",
    Memfd = "memfd_create", Mkdir = "mkdir", Mknod = "mknod", Mmap = "mmap", Mount = "mount",
    MountSetattr = "mount_setattr", MoveMount = "move_mount", NewAddr = "RTM_NEWADDR",
    NewRoute = "RTM_NEWROUTE", Open = "open", OpenTree = "open_tree", Openat2 = "openat2",
    Personality = "personality", PidfdOpen = "pidfd_open", PivotRoot = "pivot_root", Poll = "poll",
    Prctl = "prctl", Read = "read", Readlink = "readlink", Recv = "recv", Remount = "mount(MS_REMOUNT)",
    Rmdir = "rmdir", SchedGetaffinity = "sched_getaffinity", SchedSetaffinity = "sched_setaffinity",
    SchedSetattr = "sched_setattr", Seccomp = "seccomp", Send = "send", SetLink = "RTM_SETLINK",
    SetMempolicy = "set_mempolicy", Setdomainname = "setdomainname", Setgroups = "setgroups",
    Sethostname = "sethostname", Setns = "setns", Setpgid = "setpgid", Setresgid = "setresgid",
    Setresuid = "setresuid", Setrlimit = "prlimit", Setsid = "setsid", Setxattr = "setxattr",
    Signal = "sigaction", Socket = "socket", Stat = "stat", Statfs = "statfs", Symlink = "symlink",
    TimedOut = "timed out", Umount = "umount", Unlink = "unlink", Unshare = "unshare",
    Utimens = "utimensat", Wait = "waitid", Write = "write",
}

impl Call {
    /// Its name, as in the manual.
    #[must_use]
    pub fn name(self) -> &'static str {
        CALLS.iter().find(|(call, _)| *call == self).map_or("?", |(_, name)| name)
    }

    /// Its number, for the way between the processes.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The call that has this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Call> {
        CALLS.get(usize::try_from(code).ok()?).map(|(call, _)| *call)
    }
}

/// Why something could not be done: the call, and its errno.
///
/// For [`Call::Exit`] the number is an exit status, for [`Call::Killed`] a signal, for [`Call::TimedOut`] the
/// seconds that were granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The call that failed.
    pub call: Call,
    /// Its errno.
    pub errno: i32,
}

impl Stop {
    /// A failure of `call` with `errno`.
    #[must_use]
    pub fn new(call: Call, errno: Errno) -> Stop {
        Stop { call, errno: errno as i32 }
    }

    /// The failure that `errno` holds now.
    fn last(call: Call) -> Stop {
        Stop { call, errno: Errno::last_raw() }
    }

    /// The call that failed, by name; none if it was no call but a program or a deadline.
    #[must_use]
    pub fn failed_call(self) -> Option<&'static str> {
        let none = [Call::Exit, Call::Killed, Call::TimedOut, Call::Closed].contains(&self.call);
        (!none).then(|| self.call.name())
    }

    /// The errno as such.
    #[must_use]
    pub fn errno(self) -> Errno {
        Errno::from_raw(self.errno)
    }

    /// Whether the call failed with `errno`.
    #[must_use]
    pub fn is(self, errno: Errno) -> bool {
        self.errno == errno as i32
    }

    /// The errno in words, without the call. Allocates. Clients look for the lower case: "no such process".
    #[must_use]
    pub fn reason(self) -> String {
        let text = self.errno().desc();
        let mut chars = text.chars();
        let first = chars.next().map(|c| c.to_ascii_lowercase());
        first.into_iter().chain(chars).collect()
    }

    /// The kernel does not have the call, or a filter hides it.
    #[must_use]
    pub fn is_missing(self) -> bool {
        self.is(Errno::ENOSYS) || self.is(Errno::EOPNOTSUPP)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            Call::Exit => write!(f, "exited with status {}", self.errno),
            Call::Killed => write!(f, "killed by signal {}", self.errno),
            Call::TimedOut => write!(f, "timed out after {} s and was killed", self.errno),
            Call::Closed => f.write_str("the other side is gone"),
            call => write!(f, "{}: {}", call.name(), self.reason()),
        }
    }
}

impl std::error::Error for Stop {}

impl From<Stop> for std::io::Error {
    fn from(stop: Stop) -> std::io::Error {
        std::io::Error::from_raw_os_error(stop.errno)
    }
}

/// Turns a system call's return value into a result.
fn check(call: Call, ret: libc::c_long) -> Result<libc::c_long, Stop> {
    if ret < 0 { Err(Stop::last(call)) } else { Ok(ret) }
}

/// As [`check`], for functions of libc that return an int.
fn check_int(call: Call, ret: libc::c_int) -> Result<libc::c_int, Stop> {
    if ret < 0 { Err(Stop::last(call)) } else { Ok(ret) }
}

/// Owns the descriptor that a system call has made.
///
/// # Safety
/// `fd` is what the call returned, and nobody else owns it.
unsafe fn own(fd: libc::c_long) -> OwnedFd {
    // The kernel's descriptors are ints.
    let fd = RawFd::try_from(fd).unwrap_or(RawFd::MAX);
    // SAFETY: as for this function.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A count of bytes that a system call has returned, which is not negative once it is checked.
fn size(count: libc::c_long) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// The path of a descriptor of this process in the host's procfs: the calls that take a path only.
fn own_descriptor(fd: BorrowedFd<'_>) -> [u8; 32] {
    let mut path = [0_u8; 32];
    let prefix = b"/proc/self/fd/";
    path[..prefix.len()].copy_from_slice(prefix);
    let mut digits = [0_u8; 10];
    let number = decimal(fd.as_raw_fd().unsigned_abs(), &mut digits);
    path[prefix.len()..prefix.len() + number.len()].copy_from_slice(number);
    path
}

/// Repeats `call` while a signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> Result<T, Stop>) -> Result<T, Stop> {
    loop {
        match call() {
            Err(stop) if stop.is(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// The result of a nix function in this module's words.
fn from_nix<T>(call: Call, result: nix::Result<T>) -> Result<T, Stop> {
    result.map_err(|errno| Stop::new(call, errno))
}

/// The decimal digits of `number`, without the heap.
#[must_use]
pub fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_without_the_heap() {
        let mut digits = [0; 10];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(decimal(1, &mut digits), b"1");
        assert_eq!(decimal(u32::MAX, &mut digits), b"4294967295");
    }

    #[test]
    fn a_call_survives_the_process_boundary() {
        for (call, name) in CALLS {
            assert_eq!(Call::from_code(call.code()), Some(*call));
            assert_eq!(call.name(), *name);
        }
        assert_eq!(Call::from_code(u32::MAX), None);
    }

    #[test]
    fn a_stop_reads_as_clients_expect() {
        let stop = Stop::new(Call::Execve, Errno::ENOENT);
        assert_eq!(stop.to_string(), "execve: no such file or directory");
        assert_eq!(Stop { call: Call::Exit, errno: 3 }.to_string(), "exited with status 3");
    }
}
