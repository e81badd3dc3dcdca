//! Loads a system call filter whose calls somebody else decides about, and makes the few calls that must not
//! wait for them. See seccomp_unotify(2).
//!
//! Once such a filter is loaded, each call of its process may wait for an answer, and nobody can give one before
//! the process has handed its listener out. So these calls carry a [`Pass`], which only their filter knows.

use std::fmt;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::libc;

use super::creds::{self, Instruction};
use super::{Call, Stop, check, retry, size, socket};

/// Random numbers in the registers behind a call's own arguments. The kernel looks at none of them, and a filter
/// sees them all. A program cannot find them out: they are gone from the registers and the memory of its process
/// when it begins to run, and a process cannot read the filter that it is under (ptrace(2)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pass([usize; 3]);

/// The first argument that is part of the pass: no call that needs one takes more than three of its own.
const FIRST: usize = 3;

/// The calls that may carry a pass.
const CALLS: [libc::c_long; 4] = [libc::SYS_sendmsg, libc::SYS_read, libc::SYS_close, libc::SYS_exit_group];

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(..)")
    }
}

impl Pass {
    /// One that nobody else has.
    ///
    /// # Errors
    /// Those of getrandom(2).
    pub fn new() -> Result<Pass, Stop> {
        let mut numbers = [0_usize; 3];
        let len = size_of_val(&numbers);
        let got = retry(|| {
            // SAFETY: the array is valid for writing its length, and every pattern of bits is a number.
            check(Call::Getrandom, unsafe { libc::getrandom(numbers.as_mut_ptr().cast(), len, 0) } as _)
        })?;
        // The kernel gives up to 256 bytes whole.
        if size(got) == len {
            Ok(Pass(numbers))
        } else {
            Err(Stop { call: Call::Getrandom, errno: libc::EIO })
        }
    }

    /// The filter `program`, which lets the calls with this pass through and decides about all others as before.
    /// `architecture` is the one of this process, as filters see it: `AUDIT_ARCH_` of linux/audit.h.
    /// Jumps of a filter are relative, so that it may begin anywhere. Allocates.
    #[must_use]
    pub fn before(self, program: &[Instruction], architecture: u32) -> Vec<Instruction> {
        let checks = 3 + CALLS.len();
        let end = checks + 4 * self.0.len() + 1;
        let mut guard = Vec::with_capacity(end + program.len());
        guard.push(load_word(offset_of!(libc::seccomp_data, arch)));
        guard.push(jump_if(architecture, 0, distance(1, end)));
        // Numbers first: where they are enough for an answer, the kernel remembers it and runs no filter.
        guard.push(load_word(offset_of!(libc::seccomp_data, nr)));
        for call in CALLS {
            let here = guard.len();
            let other = if here + 1 == checks { distance(here, end) } else { 0 };
            guard.push(jump_if(call as u32, distance(here, checks), other));
        }
        for (value, i) in self.0.into_iter().zip(FIRST..) {
            for (half, at) in halves(value as u64, i) {
                guard.push(load_word(at));
                guard.push(jump_if(half, 0, distance(guard.len(), end)));
            }
        }
        let allow = (libc::BPF_RET | libc::BPF_K) as u16;
        guard.push(Instruction { code: allow, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW });
        guard.extend(program);
        guard
    }

    /// sendmsg(2) of one message, with the listener if it is given.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send(
        self,
        socket: BorrowedFd<'_>,
        message: &[u8],
        listener: Option<&Listener>,
    ) -> Result<(), Stop> {
        let number = socket.as_raw_fd();
        let flags = libc::MSG_NOSIGNAL as usize;
        let sent = socket::with_envelope(message, listener.iter().map(|listener| listener.0), |envelope| {
            retry(|| {
                // SAFETY: the envelope and what it points to live until the call returns; nothing is written.
                let ret = unsafe { self.call(libc::SYS_sendmsg, number, envelope as usize, flags) };
                check(Call::Send, ret)
            })
        });
        sent.map(drop)
    }

    /// read(2) of one message from a socket; its length, 0 when the peer is gone.
    ///
    /// # Errors
    /// Those of the call.
    pub fn read(self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Stop> {
        let (number, at, len) = (socket.as_raw_fd(), buffer.as_mut_ptr() as usize, buffer.len());
        let read = retry(|| {
            // SAFETY: `buffer` is valid for writing its length.
            let ret = unsafe { self.call(libc::SYS_read, number, at, len) };
            check(Call::Recv, ret)
        });
        read.map(size)
    }

    /// Closes the listener. A process that keeps its own waits for ever when nobody else has it any more.
    pub fn close(self, listener: Listener) {
        // SAFETY: the descriptor is owned by `listener` alone, which ends here.
        unsafe { self.call(libc::SYS_close, listener.0, 0, 0) };
    }

    /// Ends this process at once.
    pub fn exit(self, status: i32) -> ! {
        loop {
            // SAFETY: takes an integer and does not return.
            unsafe { self.call(libc::SYS_exit_group, status, 0, 0) };
        }
    }

    /// # Safety
    /// As for the call with these arguments.
    unsafe fn call(self, number: libc::c_long, first: i32, second: usize, third: usize) -> libc::c_long {
        let [a, b, c] = self.0;
        // SAFETY: as for this function; the kernel does not look at the last three.
        unsafe { libc::syscall(number, first, second, third, a, b, c) }
    }
}

/// The descriptor by which calls are answered. Nothing closes it by itself: even that may be a call to answer.
#[derive(Debug)]
pub struct Listener(RawFd);

/// Loads a filter for this process; `flags` ask for a listener.
///
/// # Errors
/// As for [`creds::load_filter`], and EBUSY under a filter that has a listener.
pub fn load(program: &[Instruction], flags: u32) -> Result<Listener, Stop> {
    creds::set_filter(program, flags).map(|fd| Listener(RawFd::try_from(fd).unwrap_or(-1)))
}

/// The halves of argument `i` as a filter sees them, which loads 32 bits at a time, with their places.
fn halves(value: u64, i: usize) -> [(u32, usize); 2] {
    let at = offset_of!(libc::seccomp_data, args) + i * size_of::<u64>();
    let (low, high) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
    [(value as u32, low), ((value >> 32) as u32, high)]
}

fn load_word(at: usize) -> Instruction {
    Instruction { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: at as u32 }
}

fn jump_if(k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt, jf, k }
}

/// From the instruction at `from` to the one at `to`, as a jump counts.
fn distance(from: usize, to: usize) -> u8 {
    (to - from - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter answers to a call: the few instructions that `before` makes, carried out.
    fn answer(program: &[Instruction], number: i64, arch: u32, args: [u64; 6]) -> u32 {
        let mut seen = vec![0_u8; size_of::<libc::seccomp_data>()];
        seen[..4].copy_from_slice(&(number as u32).to_ne_bytes());
        seen[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (arg, bytes) in args.into_iter().zip(seen[16..].chunks_exact_mut(8)) {
            bytes.copy_from_slice(&arg.to_ne_bytes());
        }
        let (mut at, mut word) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) {
                0x20 => word = u32::from_ne_bytes(seen[k as usize..][..4].try_into().unwrap()),
                0x15 => at += usize::from(if word == k { jt } else { jf }),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn s07_a_pass_opens_its_four_calls_and_a_wrong_bit_opens_none() {
        const ASK: u32 = 0x7fc0_0000;
        const NATIVE: u32 = 0xc000_003e;
        let numbers = [usize::MAX - 1, 0x1234_5678, 7];
        let ask = Instruction { code: 0x06, jt: 0, jf: 0, k: ASK };
        let program = Pass(numbers).before(&[ask], NATIVE);
        let [a, b, c] = numbers.map(|n| n as u64);
        let right = [1, 2, 3, a, b, c];
        for call in CALLS {
            assert_eq!(answer(&program, call, NATIVE, right), libc::SECCOMP_RET_ALLOW, "{call}");
            assert_eq!(answer(&program, call, NATIVE ^ 1, right), ASK, "{call} of another architecture");
            for (register, bit) in (FIRST..6).flat_map(|i| (0..64).map(move |bit| (i, bit))) {
                let mut wrong = right;
                wrong[register] ^= 1 << bit;
                assert_eq!(answer(&program, call, NATIVE, wrong), ASK, "{call}: bit {bit} of {register}");
            }
        }
        for other in [libc::SYS_write, libc::SYS_execve, libc::SYS_sendmsg | 0x4000_0000] {
            assert_eq!(answer(&program, other, NATIVE, right), ASK, "{other}");
        }
    }

    #[test]
    fn s07_no_two_processes_have_the_same_pass() {
        assert_ne!(Pass::new().unwrap(), Pass::new().unwrap());
        assert_eq!(format!("{:?}", Pass::new().unwrap()), "Pass(..)");
    }
}
