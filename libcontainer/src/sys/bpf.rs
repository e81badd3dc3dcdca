//! Programs that decide about the devices of a cgroup. See bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

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
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// The program replaces none of an ancestor, and others may be attached beside it.
const ALLOW_MULTI: u32 = 2;

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
    // SAFETY: `load` is the attribute of PROG_LOAD; its pointers are to live memory of the length it says.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = check(Call::Bpf, ret)?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { super::own(fd) })
}

/// Attaches a loaded device program to the cgroup directory `cgroup`.
///
/// # Errors
/// Those of bpf(2), BPF_PROG_ATTACH.
pub fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Stop> {
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
        replace_bpf_fd: u32,
    }
    let attach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    // SAFETY: `attach` is the attribute of PROG_ATTACH.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    check(Call::Bpf, ret).map(drop)
}
