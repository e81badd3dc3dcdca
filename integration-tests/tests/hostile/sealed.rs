//! What the runtime's part of a container executes: something that nobody can write to, whatever the kernel lets the
//! runtime do for that.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use integration_tests::ketch;
use spec_conformance::{Bundle, Runtime};

/// How the binary that a process executes is kept from being written to.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    ByMount,
    ByCopy,
    Not,
}

fn kept(pid: i32) -> Kept {
    let file = File::open(format!("/proc/{pid}/exe")).unwrap();
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map_or(0, |seals| seals & SealFlag::F_SEAL_WRITE.bits());
    match fstatvfs(&file).unwrap().flags().contains(FsFlags::ST_RDONLY) {
        true => Kept::ByMount,
        false if seals != 0 => Kept::ByCopy,
        false => Kept::Not,
    }
}

/// Creates a container, looks at its first process, and lets it live and end.
fn created(runtime: &Runtime) -> Kept {
    let bundle = Bundle::new().build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    let pid = container.pid();
    let kept = kept(pid);
    // Its memory is as it was: what it is called, and that it goes on.
    let called = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words: Vec<&[u8]> = called.split(|byte| *byte == 0).collect();
    assert!(words.contains(&b"create".as_slice()) && words.contains(&container.id().as_bytes()), "{words:?}");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.contains(ketch().to_str().unwrap()), "the host's binary is mapped: {maps}");
    container.start().unwrap().success().unwrap();
    assert!(container.wait().unwrap().success(), "{}", container.stderr().unwrap());
    container.delete().unwrap().success().unwrap();
    kept
}

/// Runs `act` where PR_SET_MM is refused, as by a kernel that does not have it.
fn without_new_images<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const PR_SET_MM: u64 = 35;
    let confined = || {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        filter.set_ctl_nnp(false).unwrap();
        let prctl = ScmpSyscall::from_name("prctl").unwrap();
        let refused = [ScmpArgCompare::new(0, ScmpCompareOp::Equal, PR_SET_MM)];
        filter.add_rule_conditional(ScmpAction::Errno(Errno::EINVAL as i32), prctl, &refused).unwrap();
        // Of this thread, and of the processes that it makes.
        filter.load().unwrap();
        act()
    };
    thread::scope(|scope| scope.spawn(confined).join().unwrap())
}

#[test]
fn x02_whatever_the_kernel_can_the_binary_is_kept() {
    let runtime = integration_tests::runtime();
    assert_eq!(created(&runtime), Kept::ByMount);
    assert_eq!(without_new_images(|| created(&runtime)), Kept::ByMount);
}

#[test]
fn a_container_that_waits_holds_few_pages_of_the_runtime() {
    let runtime = integration_tests::runtime();
    let container = runtime.create(&Bundle::new().build().unwrap()).unwrap();
    let held = |pid: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss_File:")).unwrap().trim().to_owned();
        line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    // It lets go of them when it has been told that it exists, which create does not wait for.
    let deadline = Instant::now() + Duration::from_secs(10);
    while held(container.pid()) > 2048 && Instant::now() < deadline {
        thread::yield_now();
    }
    assert!(held(container.pid()) <= 2048, "{} kB", held(container.pid()));
}
