//! The three things that neither std nor nix offers: an entry point without std's start-up code, and two
//! system calls.
#![allow(unsafe_code, reason = "the only file of the probe with raw system calls")]

use std::ffi::{c_char, c_int};
use std::io;

use nix::errno::Errno;
use nix::libc;
use spec_conformance::report::{IoPriority, Scheduler};

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

/// The name of an I/O error's errno, such as `EROFS`.
pub(crate) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}
