//! Processes and namespaces: clone, wait, signals by pidfd, exec.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::signal::BlockedSignals;
use super::{Call, Stop, check, check_int, retry};

/// A child process: its number and a descriptor that stays its own when the number is used again.
#[derive(Debug)]
pub struct Child {
    /// Its pid, as the parent sees it.
    pub pid: i32,
    /// See pidfd_open(2).
    pub pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// A signal killed it.
    Signal(i32),
}

impl Exit {
    /// The status that a shell would give: 128 + n for signal n.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// The exit as a reason why something failed.
impl From<Exit> for Stop {
    fn from(exit: Exit) -> Stop {
        match exit {
            Exit::Status(errno) => Stop { call: Call::Exit, errno },
            Exit::Signal(errno) => Stop { call: Call::Killed, errno },
        }
    }
}

/// Not libc's constant, which is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Aborts the process when a panic unwinds past it: the parent's frames above are not the child's.
struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Makes a child by clone3(2) that runs `body` and exits with its result. It is born in `cgroup` if given.
///
/// The child is a copy of this thread alone, so `body` must not allocate, lock, or use what another thread
/// may have been changing. All signals are blocked in it, so no handler of the caller's runs there.
///
/// # Errors
/// Those of clone3(2).
pub fn spawn(flags: i32, cgroup: Option<BorrowedFd<'_>>, body: impl FnOnce() -> i32) -> Result<Child, Stop> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args, which has only integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned()) | libc::CLONE_PIDFD.cast_unsigned() as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    // With CLONE_PARENT the child signals as its creator does, and naming a signal is an error.
    if flags & libc::CLONE_PARENT == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let blocked = BlockedSignals::all()?;
    // SAFETY: no stack and no CLONE_VM, so the child continues on its own copy of this one; `args` and
    // `pidfd` live until the call returns.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    if ret == 0 {
        let guard = NoUnwind;
        let status = body();
        std::mem::forget(guard);
        exit(status);
    }
    drop(blocked);
    let pid = i32::try_from(check(Call::Clone3, ret)?).unwrap_or_default();
    // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Ends this process at once, without the destructors and buffers of libc.
pub fn exit(status: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// pidfd_open(2)
///
/// # Errors
/// ESRCH if there is no such process.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Stop> {
    // SAFETY: takes integers only.
    let fd = check(Call::PidfdOpen, unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { super::own(fd) })
}

/// Sends `signal` to the process of `pidfd`.
///
/// # Errors
/// ESRCH if it is gone, EINVAL for a number that is no signal, EPERM without the right.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Stop> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means the one of kill(2).
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    check(Call::Kill, ret).map(drop)
}

/// Waits until the process of `pidfd`, a child of this one, has ended, and reaps it.
///
/// # Errors
/// ECHILD if it is not a child of this process.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit, Stop> {
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = pidfd.as_raw_fd().cast_unsigned();
    retry(|| {
        // SAFETY: `info` is valid for writing during the call.
        check_int(Call::Wait, unsafe {
            libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::__WALL)
        })
    })?;
    // SAFETY: waitid has filled in the fields of a child's siginfo.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Exit::Status(status) } else { Exit::Signal(status) })
}

/// Waits until the process of `pidfd` has ended; true if it has within `limit`.
///
/// # Errors
/// Those of poll(2).
pub fn has_ended(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool, Stop> {
    ready(pidfd, PollFlags::POLLIN, limit)
}

/// Waits until `fd` is ready for `events`; true if it is within `limit`.
///
/// # Errors
/// Those of poll(2).
pub fn ready(fd: BorrowedFd<'_>, events: PollFlags, limit: Duration) -> Result<bool, Stop> {
    let mut fds = [PollFd::new(fd, events)];
    wait_for(&mut fds, Instant::now() + limit)
}

/// Waits for the end of the process of `pidfd`, or for something to read from `other`, or for the deadline;
/// true if the process has ended.
///
/// # Errors
/// Those of poll(2).
pub fn either_ready(pidfd: BorrowedFd<'_>, other: BorrowedFd<'_>, deadline: Instant) -> Result<bool, Stop> {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
    wait_for(&mut fds, deadline)?;
    Ok(fds[0].any().unwrap_or(false))
}

fn wait_for(fds: &mut [PollFd<'_>], deadline: Instant) -> Result<bool, Stop> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a rest of less than a millisecond must not become a busy loop.
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(fds, timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(Stop::new(Call::Poll, errno)),
        }
    }
}

/// unshare(2)
///
/// # Errors
/// Those of the call.
pub fn unshare(flags: i32) -> Result<(), Stop> {
    // SAFETY: takes an integer; callers hold no references that depend on the namespaces.
    check_int(Call::Unshare, unsafe { libc::unshare(flags) }).map(drop)
}

/// setns(2): `fd` is a namespace's file or a pidfd.
///
/// # Errors
/// EINVAL if `fd` is not of the kind that `flags` says.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor and an integer.
    check_int(Call::Setns, unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

/// This process's pid, asked from the kernel: a child of clone3(2) has no use for what libc may remember.
#[must_use]
pub fn pid() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

/// Closes every descriptor from 3 on that is not in `keep`, which is sorted.
///
/// # Errors
/// Those of close_range(2).
pub fn close_all_but(keep: &[RawFd]) -> Result<(), Stop> {
    let mut first: u32 = 3;
    for fd in keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= 3) {
        if first < fd {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor from `first` on as to be closed by execve(2). Those of this crate are so from the
/// start; this is for any that is not.
///
/// # Errors
/// Those of close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), Stop> {
    match close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
        // Linux < 5.11 has no such flag.
        Err(stop) if stop.is(Errno::EINVAL) => Ok(()),
        other => other,
    }
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> Result<(), Stop> {
    // SAFETY: in the container's process no owner of these descriptors runs on: it executes or exits.
    check(Call::CloseRange, unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// A null-terminated array of strings, as execve(2) takes it.
#[derive(Debug)]
pub struct Strings<'a> {
    pointers: Vec<*const libc::c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> Strings<'a> {
    /// An array of `strings`, with room for one more. Allocates.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> Strings<'a> {
        let mut pointers: Vec<_> = strings.map(CStr::as_ptr).collect();
        pointers.extend([ptr::null(), ptr::null()]);
        Strings { pointers, strings: PhantomData }
    }
}

/// Executes `program`, with `more` at the end of its environment; returns only if that failed.
#[must_use]
pub fn exec(program: &CStr, args: &Strings<'_>, env: &mut Strings<'_>, more: Option<&CStr>) -> Stop {
    if let [.., room, _] = env.pointers.as_mut_slice() {
        *room = more.map_or(ptr::null(), CStr::as_ptr);
    }
    // SAFETY: both arrays end in a null pointer, and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    let stop = Stop::last(Call::Execve);
    if let [.., room, _] = env.pointers.as_mut_slice() {
        *room = ptr::null();
    }
    stop
}

/// execveat(2) of the file itself; returns only if that failed.
#[must_use]
pub fn exec_fd(program: BorrowedFd<'_>, args: &Strings<'_>, env: &Strings<'_>) -> Stop {
    let (args, env) = (args.pointers.as_ptr(), env.pointers.as_ptr());
    let fd = program.as_raw_fd();
    // SAFETY: as for `exec`; the path is an empty string, which AT_EMPTY_PATH allows.
    unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args, env, libc::AT_EMPTY_PATH) };
    Stop::last(Call::Execve)
}

/// Descriptors 0, 1 and 2, each of which may be closed. The handles of std would allocate, and lock.
#[must_use]
pub fn standard_streams() -> [BorrowedFd<'static>; 3] {
    // SAFETY: a number that is no open descriptor is an error of the call that it is used in, and these stay
    // what they are: only `install` replaces one, by another file for the same use.
    [0, 1, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Makes `fd` the descriptor `number`, which stays open over execve(2).
///
/// # Errors
/// Those of dup3(2).
pub fn install(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Stop> {
    if fd.as_raw_fd() == number {
        // SAFETY: the descriptor is live; the flag word is an integer.
        return check_int(Call::Dup, unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: in the container's process `number` is one of its own standard streams.
    check_int(Call::Dup, unsafe { libc::dup3(fd.as_raw_fd(), number, 0) }).map(drop)
}

/// setsid(2)
///
/// # Errors
/// EPERM for a process group leader.
pub fn setsid() -> Result<(), Stop> {
    // SAFETY: takes nothing.
    check_int(Call::Setsid, unsafe { libc::setsid() }).map(drop)
}

/// Makes this process the leader of a process group of its own. See setpgid(2).
///
/// # Errors
/// EPERM for a session's leader.
pub fn lead_group() -> Result<(), Stop> {
    // SAFETY: takes integers only.
    check_int(Call::Setpgid, unsafe { libc::setpgid(0, 0) }).map(drop)
}

/// Sends `signal` to a process group. Its number is its leader's, and nobody else's until that one is reaped.
///
/// # Errors
/// ESRCH if there is no such group.
pub fn kill_group(leader: i32, signal: i32) -> Result<(), Stop> {
    // What 0 and -1 mean to kill(2) is never meant here.
    if leader <= 1 {
        return Err(Stop::new(Call::Kill, Errno::ESRCH));
    }
    // SAFETY: takes integers only.
    check_int(Call::Kill, unsafe { libc::kill(-leader, signal) }).map(drop)
}

/// How long a killed child may take to be gone.
pub const DEATH: Duration = Duration::from_secs(10);

/// Kills and reaps the child when it is dropped, unless it is released.
#[derive(Debug)]
pub struct Leash {
    child: Option<Child>,
}

impl Leash {
    /// Holds `child`.
    #[must_use]
    pub fn new(child: Child) -> Leash {
        Leash { child: Some(child) }
    }

    /// The child that is held.
    #[must_use]
    pub fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    /// Lets the child live on.
    #[must_use]
    pub fn release(mut self) -> Option<Child> {
        self.child.take()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill, only to reap.
            let _gone = send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            // One that hangs in the kernel is left to whoever is its parent next.
            if has_ended(child.pidfd.as_fd(), DEATH) == Ok(true) {
                let _reaped = wait(child.pidfd.as_fd());
            }
        }
    }
}

/// Opens a namespace of this process, such as "pid_for_children", to come back to it later.
///
/// # Errors
/// Those of openat(2).
pub fn own_namespace(file: &CStr) -> Result<OwnedFd, Stop> {
    super::fs::open(super::fs::CWD, file, libc::O_RDONLY, 0)
}
