//! What neither std nor nix offers: an entry point without std's start-up code, and three system calls.
#![allow(unsafe_code, reason = "the only file of the probe with raw system calls")]

use std::ffi::{c_char, c_int};
use std::io;

use nix::errno::Errno;
use nix::libc;
use spec_conformance::report::{IoPriority, MemoryPolicy, Scheduler};

/// Called by the C start-up code, which has already stored argc and argv where std finds them.
// SAFETY: no other object of this binary defines `main`, as the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    c_int::from(crate::run())
}

/// The calling process's I/O priority. See ioprio_get(2).
pub(crate) fn io_priority() -> Result<IoPriority, Errno> {
    const WHO_PROCESS: c_int = 1;
    // SAFETY: the call takes two integers and touches no memory of ours.
    let value = Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) })?;
    let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
    Ok(IoPriority { class: value >> 13, level: value & 7 })
}

/// `struct sched_attr` in its first published size. See sched_setattr(2).
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The calling process's scheduling attributes. See sched_getattr(2).
pub(crate) fn scheduler() -> Result<Scheduler, Errno> {
    const SIZE: usize = size_of::<SchedAttr>();
    let mut attr = SchedAttr::default();
    // SAFETY: `attr` outlives the call and is SIZE bytes long; the kernel writes at most the size it is
    // given, and every bit pattern is a valid SchedAttr.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, SIZE, 0) })?;
    Ok(Scheduler {
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    })
}

/// The calling thread's NUMA policy. See get_mempolicy(2).
pub(crate) fn memory_policy() -> Result<MemoryPolicy, Errno> {
    const NODES: u32 = 1024;
    let mut mode: c_int = 0;
    let mut mask = [0_u64; NODES.div_ceil(u64::BITS) as usize];
    let (mode_at, mask_at) = (&raw mut mode, mask.as_mut_ptr());
    let address = std::ptr::null::<u8>();
    // The kernel writes one bit less than it is told.
    // SAFETY: both places outlive the call, and the mask has room for the bits that are written.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_get_mempolicy, mode_at, mask_at, NODES + 1, address, 0)
    })?;
    let named = |node: &u32| mask[(node / u64::BITS) as usize] >> (node % u64::BITS) & 1 == 1;
    Ok(MemoryPolicy { mode: mode.cast_unsigned(), nodes: (0..NODES).filter(named).collect() })
}

/// The name of an I/O error's errno, such as `EROFS`.
pub(crate) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}
