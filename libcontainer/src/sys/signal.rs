//! Signal dispositions and masks.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;

use super::{Call, Stop, check_int};

/// All signals blocked in this thread until it is dropped.
#[derive(Debug)]
pub struct BlockedSignals {
    old: libc::sigset_t,
}

impl BlockedSignals {
    /// Blocks every signal that can be blocked.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub fn all() -> Result<BlockedSignals, Stop> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is valid for writing.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` has been filled, `old` is valid for writing.
        let ret = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
        check_int(Call::Signal, if ret == 0 { 0 } else { -1 })?;
        // SAFETY: the call has stored the old mask.
        Ok(BlockedSignals { old: unsafe { old.assume_init() } })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: `old` is a mask that the kernel gave; setting it back cannot fail.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.old, ptr::null_mut()) };
    }
}

/// Sets every signal to its default. What a parent ignores would stay ignored over execve(2).
///
/// # Errors
/// None in practice: SIGKILL and SIGSTOP, which cannot be set, are skipped.
pub fn reset_dispositions() -> Result<(), Stop> {
    // SAFETY: all-zero is a valid sigaction, and means SIG_DFL with an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    for signal in (1..=64).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s)) {
        // libc keeps two real-time signals for itself and refuses them, so the kernel is asked directly.
        // SAFETY: the kernel's sigaction begins with the handler and is no larger than libc's; 8 is the
        // size of the kernel's signal set.
        let ret = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<u8>(), 8)
        };
        super::check(Call::Signal, ret)?;
    }
    Ok(())
}

/// Unblocks every signal.
///
/// # Errors
/// None in practice.
pub fn unblock_all() -> Result<(), Stop> {
    let empty: u64 = 0;
    // SAFETY: the kernel reads 8 bytes of mask; the old one is not asked for.
    let ret = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const empty, ptr::null_mut::<u8>(), 8)
    };
    super::check(Call::Signal, ret).map(drop)
}
