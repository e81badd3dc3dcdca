//! What a process has beside its credentials: names, limits, scheduling, keyring, and its network's loopback.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::libc;

use super::{Call, Stop, check, check_int};

/// sethostname(2)
///
/// # Errors
/// Those of the call.
pub fn set_hostname(name: &CStr) -> Result<(), Stop> {
    // SAFETY: the pointer is valid for `count_bytes` bytes.
    check_int(Call::Sethostname, unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }).map(drop)
}

/// setdomainname(2)
///
/// # Errors
/// Those of the call.
pub fn set_domainname(name: &CStr) -> Result<(), Stop> {
    // SAFETY: the pointer is valid for `count_bytes` bytes.
    check_int(Call::Setdomainname, unsafe { libc::setdomainname(name.as_ptr(), name.count_bytes()) })
        .map(drop)
}

/// Joins a new session keyring of this name. See keyctl(2), KEYCTL_JOIN_SESSION_KEYRING.
///
/// # Errors
/// ENOSYS without keys in the kernel, EDQUOT when the user has too many.
pub fn join_session_keyring(name: &CStr) -> Result<(), Stop> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is a NUL-terminated string.
    check(Call::Keyctl, unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(drop)
}

/// How many descriptors this process may have. See getrlimit(2), RLIMIT_NOFILE.
///
/// # Errors
/// Those of the call.
pub fn descriptor_limit() -> Result<u64, Stop> {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = ptr::null::<libc::rlimit64>();
    // SAFETY: `now` is valid for writing, and without a new limit nothing changes.
    let ret = unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, new, &raw mut now) };
    check(Call::Setrlimit, ret).map(|_| now.rlim_cur)
}

/// setrlimit(2) for a resource by number.
///
/// # Errors
/// EPERM for a hard limit above the present one without CAP_SYS_RESOURCE.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Stop> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let old = ptr::null_mut::<libc::rlimit64>();
    // SAFETY: `limit` is valid for reading; the old limit is not asked for.
    let ret = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) };
    check(Call::Setrlimit, ret).map(drop)
}

/// Scheduling attributes, struct sched_attr of sched_setattr(2).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the manual's")]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// sched_setattr(2) for this process.
///
/// # Errors
/// Those of the call.
pub fn set_scheduler(mut attr: SchedAttr) -> Result<(), Stop> {
    attr.size = size_of::<SchedAttr>() as u32;
    // SAFETY: `attr` is a struct of `size` bytes, valid for reading.
    check(Call::SchedSetattr, unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })
        .map(drop)
}

/// Words of a CPU mask as long as any kernel has it; it ignores what is longer than its own.
pub const CPU_WORDS: usize = 128;

/// sched_setaffinity(2) for this thread; `cpus` is a bit mask, lowest CPU first.
///
/// # Errors
/// EINVAL if it may use none of these.
pub fn set_cpus(cpus: &[u64]) -> Result<(), Stop> {
    // SAFETY: `cpus` is valid for reading as many bytes.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) };
    check(Call::SchedSetaffinity, ret).map(drop)
}

/// sched_getaffinity(2) for this thread.
///
/// # Errors
/// Those of the call.
pub fn cpus() -> Result<[u64; CPU_WORDS], Stop> {
    let mut cpus = [0_u64; CPU_WORDS];
    // SAFETY: the kernel writes at most the bytes that it is told are there.
    let ret = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&cpus), cpus.as_mut_ptr()) };
    check(Call::SchedGetaffinity, ret).map(|_| cpus)
}

/// ioprio_set(2) for this process's group.
///
/// # Errors
/// Those of the call.
pub fn set_io_priority(priority: u32) -> Result<(), Stop> {
    const WHO_PROCESS_GROUP: libc::c_int = 2;
    // SAFETY: takes integers only.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS_GROUP, 0, priority) };
    check(Call::IoprioSet, ret).map(drop)
}

/// personality(2)
///
/// # Errors
/// Those of the call.
pub fn set_personality(persona: u32) -> Result<(), Stop> {
    // SAFETY: takes an integer.
    check_int(Call::Personality, unsafe { libc::personality(libc::c_ulong::from(persona)) }).map(drop)
}

/// set_mempolicy(2); `nodes` is a bit mask, lowest node first.
///
/// # Errors
/// Those of the call.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Stop> {
    let mask = if nodes.is_empty() { ptr::null() } else { nodes.as_ptr() };
    // The kernel reads one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    // SAFETY: `mask` is null or valid for the bits that are read.
    check(Call::SetMempolicy, unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// Makes this process visible or not to others that may trace. See prctl(2), PR_SET_DUMPABLE.
///
/// # Errors
/// Those of the call.
pub fn set_dumpable(dumpable: bool) -> Result<(), Stop> {
    super::creds::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0)
}

/// Brings up the loopback device of this process's network namespace. See netdevice(7).
///
/// # Errors
/// Those of socket(2) and ioctl(2).
pub fn loopback_up() -> Result<(), Stop> {
    // SAFETY: takes integers only.
    let fd = check_int(Call::Socket, unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let ret =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) };
    check_int(Call::Ioctl, ret).map(drop)
}
