//! Programs that decide about the devices of a cgroup. See bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, check};

/// One instruction: struct bpf_insn of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high one.
    pub registers: u8,
    /// Jump or memory offset.
    pub offset: i16,
    /// Constant.
    pub constant: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// The program replaces none of an ancestor, and others may be attached beside it.
const ALLOW_MULTI: u32 = 2;
/// The program takes the place of another, in one step.
const REPLACE: u32 = 4;

/// Loads a device program into the kernel.
///
/// # Errors
/// EINVAL or EACCES if the kernel's verifier refuses it, EPERM without CAP_BPF or CAP_SYS_ADMIN.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Stop> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
    }
    let load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // The kernel stops checking a program when a signal comes, were it only to stop this process and let it go on.
    for _ in 0..ATTEMPTS {
        // SAFETY: `load` is the attribute of PROG_LOAD; its pointers are to live memory of the length it says.
        let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
        match check(Call::Bpf, ret) {
            Err(stop) if stop.is(Errno::EAGAIN) => {}
            // SAFETY: the descriptor is new and nobody else owns it.
            other => return other.map(|fd| unsafe { super::own(fd) }),
        }
    }
    Err(Stop::new(Call::Bpf, Errno::EAGAIN))
}

/// How often a program is tried to be loaded.
const ATTEMPTS: usize = 128;

/// Attaches a loaded device program to the cgroup directory `cgroup`.
///
/// # Errors
/// Those of bpf(2), BPF_PROG_ATTACH.
pub fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Stop> {
    attach(program, cgroup, None)
}

/// Puts a loaded device program in the place of all that are attached to `cgroup` itself. Never is the cgroup
/// without one, and so open.
///
/// # Errors
/// Those of bpf(2).
pub fn replace_device_programs(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Stop> {
    let mut attached = attached_device_programs(cgroup)?.into_iter();
    let replaced = match attached.next() {
        Some(first) => attach(program, cgroup, Some(first.as_fd())).map(|()| None).or_else(|stop| {
            // Linux < 5.6 cannot replace, nor can what somebody attached in another way be replaced. Until the old
            // one is gone, both have to agree.
            if stop.is(Errno::EINVAL) {
                attach(program, cgroup, None).map(|()| Some(first))
            } else {
                Err(stop)
            }
        })?,
        None => attach(program, cgroup, None).map(|()| None)?,
    };
    replaced.into_iter().chain(attached).try_for_each(|old| detach(old.as_fd(), cgroup))
}

/// struct bpf_attr of PROG_ATTACH and PROG_DETACH.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

fn attach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> Result<(), Stop> {
    let attach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: if old.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI },
        replace_bpf_fd: old.map_or(0, |old| old.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: `attach` is the attribute of PROG_ATTACH.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    check(Call::Bpf, ret).map(drop)
}

fn detach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Stop> {
    let detach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: `detach` is the attribute of PROG_DETACH.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_DETACH, &raw const detach, size_of::<Attach>()) };
    check(Call::Bpf, ret).map(drop)
}

/// The device programs that are attached to `cgroup` itself.
///
/// # Errors
/// Those of bpf(2), BPF_PROG_QUERY and BPF_PROG_GET_FD_BY_ID.
pub fn attached_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Stop> {
    /// The kernel attaches no more to one cgroup (BPF_CGROUP_MAX_PROGS).
    const MOST: usize = 64;
    #[repr(C)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        // Padding is part of what the kernel demands to be zero.
        unused: u32,
    }
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(MOST).unwrap_or(0),
        unused: 0,
    };
    // SAFETY: `query` is the attribute of PROG_QUERY; its pointer is to `prog_cnt` writable words.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    check(Call::Bpf, ret)?;
    let count = usize::try_from(query.prog_cnt).unwrap_or(MOST).min(MOST);
    ids.iter().take(count).map(|id| program(*id)).collect()
}

fn program(id: u32) -> Result<OwnedFd, Stop> {
    let attribute = [id, 0, 0];
    let size = size_of_val(&attribute);
    // SAFETY: `attribute` is the one of PROG_GET_FD_BY_ID: id, next id and flags.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, attribute.as_ptr(), size) };
    let fd = check(Call::Bpf, ret)?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { super::own(fd) })
}
