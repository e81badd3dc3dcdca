//! What neither std nor nix offers: an entry point without std's start-up code, and system calls, three by name and
//! any by number.
#![allow(unsafe_code, reason = "the only file of the probe with raw system calls")]

use std::ffi::{c_char, c_int, c_void};
use std::io;

use nix::errno::Errno;
use nix::libc;
use spec_conformance::report::{IoPriority, MemoryPolicy, Scheduler, WindowSize};

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

/// The size of the terminal on standard input; `None` if that is no terminal. See TIOCGWINSZ(2const).
pub(crate) fn window_size() -> Option<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` outlives the call, which writes one winsize.
    let done = unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &raw mut size) };
    (done == 0).then_some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// A system call as a program may make it: by the architecture's own way, or by the one of 32-bit x86.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Native,
    #[cfg(target_arch = "x86_64")]
    X86,
}

/// Makes any system call; what the kernel returns, an errno as a negative number.
pub(crate) fn system_call(way: Way, number: i64, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    match way {
        Way::Native => {
            // SAFETY: the caller, a test, asks for calls that touch no memory of this process, or fail.
            let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
            if result == -1 { -i64::from(Errno::last_raw()) } else { result }
        }
        #[cfg(target_arch = "x86_64")]
        Way::X86 => {
            let mut result = number;
            // SAFETY: as above. The kernel changes rax alone, and rbx, which the compiler keeps for itself, is put
            // back.
            unsafe {
                std::arch::asm!(
                    "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
                    first = inout(reg) a => _, inlateout("rax") result, in("rcx") b, in("rdx") c,
                    in("rsi") d, in("rdi") e, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            result << 32 >> 32
        }
    }
}

/// Makes a system call in a second thread and waits for that one's end, which need not be its own doing.
pub(crate) fn system_call_in_thread(way: Way, number: i64, args: [u64; 6]) -> Option<i64> {
    struct Order {
        way: Way,
        number: i64,
        args: [u64; 6],
        result: Option<i64>,
    }
    extern "C" fn obey(order: *mut c_void) -> *mut c_void {
        // SAFETY: `order` is the one below, which nobody else looks at until this thread has ended.
        let order = unsafe { &mut *order.cast::<Order>() };
        order.result = Some(system_call(order.way, order.number, order.args));
        std::ptr::null_mut()
    }
    let mut order = Order { way, number, args, result: None };
    let mut thread: libc::pthread_t = 0;
    // SAFETY: `order` outlives the thread, which is joined below.
    let status =
        unsafe { libc::pthread_create(&raw mut thread, std::ptr::null(), obey, (&raw mut order).cast()) };
    assert_eq!(status, 0, "no thread");
    // SAFETY: the thread exists and is joined once. The kernel tells of its end even if it was killed.
    unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    order.result
}

/// Makes SIGSYS print what the filter sent with it, and leave with status 0. See sigaction(2), SI_KERNEL.
pub(crate) fn catch_sigsys() {
    extern "C" fn caught(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel gives a valid siginfo to a handler that asks for one.
        let info = unsafe { &*info };
        let known = info.si_code == 1;
        let text: &[u8] = if known { b"trapped\n" } else { b"SIGSYS from elsewhere\n" };
        // SAFETY: write(2) and _exit(2) may be called in handlers; the buffer is valid.
        unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
        // SAFETY: takes an integer.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = caught as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is valid, and the old one is not asked for.
    unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
}

/// The name of an I/O error's errno, such as `EROFS`.
pub(crate) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}
