//! Credentials: ids, groups, capabilities, and the bits that guard them.
//!
//! Raw system calls: libc's setuid family tells every thread it knows of, and after a clone those are gone.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, check, check_int};

/// prctl(2) with two arguments.
pub(super) fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> Result<(), Stop> {
    // SAFETY: the options used here take integers.
    check_int(Call::Prctl, unsafe { libc::prctl(option, first, second, 0, 0) }).map(drop)
}

/// setresuid(2): real, effective and saved.
///
/// # Errors
/// EINVAL if the id has no mapping in the user namespace.
pub fn set_user(uid: u32) -> Result<(), Stop> {
    // SAFETY: takes integers only.
    check(Call::Setresuid, unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// setresgid(2): real, effective and saved.
///
/// # Errors
/// EINVAL if the id has no mapping in the user namespace.
pub fn set_group(gid: u32) -> Result<(), Stop> {
    // SAFETY: takes integers only.
    check(Call::Setresgid, unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// setgroups(2)
///
/// # Errors
/// EPERM where /proc/PID/setgroups says deny.
pub fn set_groups(groups: &[u32]) -> Result<(), Stop> {
    // SAFETY: the array is valid for `len` ids.
    check(Call::Setgroups, unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
        .map(drop)
}

/// Keeps capabilities over a change of user id. See prctl(2), PR_SET_KEEPCAPS.
///
/// # Errors
/// Those of the call.
pub fn keep_capabilities(keep: bool) -> Result<(), Stop> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0)
}

/// Drops every capability from the bounding set that is not in `keep`.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn limit_bounding_set(keep: u64) -> Result<(), Stop> {
    for capability in (0..64).filter(|c| keep & (1 << c) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            // The kernel does not know this one, nor any above.
            Err(stop) if stop.errno == libc::EINVAL => break,
            other => other?,
        }
    }
    Ok(())
}

/// Three capability sets, each in two halves, the lower one first. See capset(2).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// Version 3, which takes two data structs, and this process.
const CAPABILITY_HEADER: CapabilityHeader = CapabilityHeader { version: 0x2008_0522, pid: 0 };

/// The half of a set that belongs into data struct `i`.
fn half(set: u64, i: usize) -> u32 {
    u32::try_from(if i == 0 { set & 0xffff_ffff } else { set >> 32 }).unwrap_or(0)
}

fn capset(data: [CapabilityData; 2]) -> Result<(), Stop> {
    let header = CAPABILITY_HEADER;
    // SAFETY: version 3 takes a header and two data structs, which are these.
    check(Call::Capset, unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
        .map(drop)
}

/// capset(2)
///
/// # Errors
/// EPERM for capabilities that the process cannot have.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Stop> {
    capset([0, 1].map(|i| CapabilityData {
        effective: half(effective, i),
        permitted: half(permitted, i),
        inheritable: half(inheritable, i),
    }))
}

/// The permitted set of this process. See capget(2).
///
/// # Errors
/// None in practice.
pub fn permitted() -> Result<u64, Stop> {
    let [low, high] = capget()?;
    Ok(u64::from(low.permitted) | u64::from(high.permitted) << 32)
}

fn capget() -> Result<[CapabilityData; 2], Stop> {
    let mut header = CAPABILITY_HEADER;
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 takes a header and two data structs, which are these.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(Call::Capget, ret).map(|_| data)
}

/// The highest capability that the kernel knows.
#[must_use]
pub fn last_capability() -> u8 {
    /// That of Linux 5.9 and later.
    const USUAL: u8 = 40;
    let known = |capability: u8| prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability), 0).is_ok();
    let mut last = USUAL;
    while last > 0 && !known(last) {
        last -= 1;
    }
    while last < 63 && known(last + 1) {
        last += 1;
    }
    last
}

/// capset(2) of the inheritable set alone.
///
/// # Errors
/// EPERM for capabilities that are neither in the bounding set nor inheritable already.
pub fn set_inheritable(set: u64) -> Result<(), Stop> {
    let mut data = capget()?;
    for (i, data) in data.iter_mut().enumerate() {
        data.inheritable = half(set, i);
    }
    capset(data)
}

/// Makes the ambient set be `set`.
///
/// # Errors
/// EPERM for a capability that is not both permitted and inheritable.
pub fn set_ambient(set: u64) -> Result<(), Stop> {
    match prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0) {
        Err(stop) if stop.errno == libc::EINVAL && set == 0 => return Ok(()),
        other => other?,
    }
    for capability in (0..64).filter(|c| set & (1 << c) != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability)?;
    }
    Ok(())
}

/// Sets the no_new_privs bit. See prctl(2), PR_SET_NO_NEW_PRIVS.
///
/// # Errors
/// Those of the call.
pub fn set_no_new_privileges() -> Result<(), Stop> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// One instruction of a system call filter: struct sock_filter of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the kernel's")]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Sends a program as one message, for [`receive_program`].
///
/// # Errors
/// Those of send(2).
pub fn send_program(socket: BorrowedFd<'_>, program: &[Instruction]) -> Result<(), Stop> {
    // SAFETY: as many bytes as the instructions have, which are without padding.
    let bytes = unsafe { std::slice::from_raw_parts(program.as_ptr().cast::<u8>(), size_of_val(program)) };
    super::socket::send(socket, bytes)
}

/// Receives a program into the room that `program` has, which is empty.
///
/// # Errors
/// Those of recv(2); EPIPE if the other side is gone.
pub fn receive_program(socket: BorrowedFd<'_>, program: &mut Vec<Instruction>) -> Result<(), Stop> {
    let room = program.spare_capacity_mut();
    let size = size_of_val(room);
    // SAFETY: the bytes of the room, of which every value is one of an instruction.
    let bytes = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size) };
    let len = super::socket::receive_into(socket, bytes)?;
    if len == 0 || len % size_of::<Instruction>() != 0 {
        return Err(Stop::new(Call::Recv, Errno::EPIPE));
    }
    // SAFETY: the kernel has written so many, which is at most the room there was.
    unsafe { program.set_len(len / size_of::<Instruction>()) };
    Ok(())
}

/// Loads a system call filter for this process. See seccomp(2), SECCOMP_SET_MODE_FILTER.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN or no_new_privs, EINVAL for a program or flag that the kernel refuses.
pub fn load_filter(program: &[Instruction], flags: u32) -> Result<(), Stop> {
    set_filter(program, flags).map(drop)
}

/// As [`load_filter`]; the listener's number if `flags` ask for one.
pub(super) fn set_filter(program: &[Instruction], flags: u32) -> Result<libc::c_long, Stop> {
    #[repr(C)]
    struct Program {
        len: libc::c_ushort,
        filter: *const Instruction,
    }
    let too_long = Stop { call: Call::Seccomp, errno: libc::E2BIG };
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| too_long)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `program` is a sock_fprog whose filter is valid for `len` instructions.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(Call::Seccomp, ret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_what_caps_and_the_kernel_say() {
        let set = caps::read(None, caps::CapSet::Permitted).unwrap();
        assert_eq!(permitted(), Ok(set.iter().fold(0, |bits, capability| bits | capability.bitmask())));
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last.trim(), last_capability().to_string());
    }
}
