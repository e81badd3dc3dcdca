//! System call filters: what becomes of a call that the container's program makes. Spec: config-linux.md#seccomp.

use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::call::Exit;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[ACTIONS, DEFAULTS, NAMES, COMPARISONS, ARCHITECTURES, INVALID];

/// A call that takes no argument, always succeeds, and that no program needs.
const CALL: i64 = libc::SYS_sched_yield;
const NAME: &str = "sched_yield";

/// Everything is allowed but what the rule says.
fn but(rule: Value) -> BundleBuilder {
    Bundle::new().set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
}

fn rule(action: &str) -> Value {
    json!({"names": [NAME], "action": action})
}

/// What calls of the container's program return: a number, or the errno's name.
fn returned(
    runtime: &Runtime,
    bundle: BundleBuilder,
    calls: &[String],
) -> Result<Vec<Option<String>>, Error> {
    let questions = calls.iter().flat_map(|call| ["--call".to_owned(), call.clone()]);
    let args = ["/bin/probe".to_owned(), "report".to_owned()].into_iter().chain(questions);
    let seen = runtime.observe(&bundle.args(args).build()?)?;
    Ok(calls.iter().map(|call| seen.calls.get(call).cloned()).collect())
}

/// What the call returns.
fn says(runtime: &Runtime, bundle: BundleBuilder) -> Result<Option<String>, Error> {
    Ok(returned(runtime, bundle, &[CALL.to_string()])?.remove(0))
}

/// What the probe prints when it makes the call in this way, and how it ends.
fn ends(runtime: &Runtime, bundle: BundleBuilder, way: &str) -> Result<(Exit, String), Error> {
    let bundle = bundle.args(["/bin/probe", way, &CALL.to_string()]).build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    let exit = container.wait()?;
    Ok((exit, container.stdout()?.trim().to_owned()))
}

const ACTIONS: Case = Case {
    id: "seccomp-actions",
    proves: &["config-linux.seccomp.action", "config-linux.seccomp.errno"],
    run: actions,
};

fn actions(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.seccomp.action";
    let killed = Exit::Signal(Signal::SIGSYS as i32);
    for (action, returns) in [
        ("SCMP_ACT_ERRNO", "EPERM"),
        ("SCMP_ACT_LOG", "0"),
        // Nobody traces.
        ("SCMP_ACT_TRACE", "ENOSYS"),
    ] {
        let returned = says(runtime, but(rule(action)))?;
        checks.equal(ID, (action, Some(returns)), (action, returned.as_deref()));
    }
    let allowed = Bundle::new().set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [rule("SCMP_ACT_ALLOW")]}),
    );
    checks.equal(ID, Some("0"), says(runtime, allowed)?.as_deref());
    let (exit, said) = ends(runtime, but(rule("SCMP_ACT_TRAP")), "call-catching")?;
    checks.equal(
        ID,
        ("SCMP_ACT_TRAP", "trapped"),
        ("SCMP_ACT_TRAP", if exit.success() { said.as_str() } else { "" }),
    );
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let (_, said) = ends(runtime, but(rule(action)), "call-in-thread")?;
        checks.equal(ID, (action, "killed"), (action, &said));
    }
    let (exit, _) = ends(runtime, but(rule("SCMP_ACT_KILL_PROCESS")), "call-in-thread")?;
    checks.equal(ID, ("SCMP_ACT_KILL_PROCESS", killed), ("SCMP_ACT_KILL_PROCESS", exit));
    let mut with_errno = rule("SCMP_ACT_ERRNO");
    with_errno["errnoRet"] = json!(libc::EXDEV);
    checks.equal("config-linux.seccomp.errno", Some("EXDEV"), says(runtime, but(with_errno))?.as_deref());
    Ok(())
}

const DEFAULTS: Case = Case {
    id: "seccomp-defaults",
    proves: &["config-linux.seccomp.default-action", "config-linux.seccomp.default-errno"],
    run: defaults,
};

/// What programs and the start of a container need. Its own calls, the runtime makes before or after.
const NEEDED: &str = "read write readv writev close fstat newfstatat stat lstat statx lseek mmap mprotect munmap brk \
    madvise rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack ioctl pread64 access faccessat faccessat2 execve \
    exit exit_group arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom poll \
    ppoll open openat openat2 futex uname gettid getpid getppid getuid geteuid getgid getegid tgkill \
    sched_getaffinity fcntl prctl capget capset setuid setgid setgroups setresuid setresgid chdir fchdir umask dup \
    dup2 dup3 close_range getdents64 clone clone3 wait4 pipe2 socket connect sendto sendmsg recvmsg recvfrom seccomp \
    epoll_create1 epoll_ctl epoll_pwait nanosleep clock_gettime clock_nanosleep fchown getcwd statfs fstatfs \
    eventfd2 kill tkill sysinfo accept accept4 listen bind shutdown unlink unlinkat getsockopt setsockopt getsockname \
    pwrite64 mkdirat setsid setrlimit getrlimit epoll_wait timerfd_create signalfd4";

fn defaults(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let needed: Vec<&str> = NEEDED.split_whitespace().collect();
    let with = |action: &str, errno: Option<i32>| {
        let allowed = json!({"names": needed, "action": "SCMP_ACT_ALLOW"});
        let mut filter = json!({"defaultAction": action, "syscalls": [allowed]});
        if let Some(errno) = errno {
            filter["defaultErrnoRet"] = json!(errno);
        }
        Bundle::new().set("/linux/seccomp", filter)
    };
    // The report asks for more than these calls, so the probe makes this one alone.
    let said = |bundle| ends(runtime, bundle, "call").map(|(_, said)| said);
    let refused = said(with("SCMP_ACT_ERRNO", None))?;
    checks.equal("config-linux.seccomp.default-action", "EPERM", &refused);
    checks.equal("config-linux.seccomp.default-errno", "EPERM", &refused);
    let other = said(with("SCMP_ACT_ERRNO", Some(libc::EXDEV)))?;
    checks.equal("config-linux.seccomp.default-errno", "EXDEV", &other);
    Ok(())
}

const NAMES: Case = Case { id: "seccomp-names", proves: &["config-linux.seccomp.names"], run: names };

fn names(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let calls = [CALL, libc::SYS_getpgid, libc::SYS_getpriority].map(|call| call.to_string());
    let both = json!({"names": [NAME, "getpgid"], "action": "SCMP_ACT_ERRNO"});
    let returned = returned(runtime, but(both), &calls)?;
    // None of them needs a permission.
    let is_ruled: Vec<bool> = returned.iter().map(|value| value.as_deref() == Some("EPERM")).collect();
    checks.equal("config-linux.seccomp.names", vec![true, true, false], is_ruled);
    Ok(())
}

const COMPARISONS: Case = Case {
    id: "seccomp-comparisons",
    proves: &[
        "config-linux.seccomp.index",
        "config-linux.seccomp.value",
        "config-linux.seccomp.value-two",
        "config-linux.seccomp.op",
    ],
    run: comparisons,
};

/// A value of more than 32 bits.
const HIGH: u64 = 5 << 32;

/// An operator, its values, arguments for which it holds, and others.
type Comparison = (&'static str, u64, u64, &'static [u64], &'static [u64]);

/// Each side shows another half of the argument.
#[rustfmt::skip]
const OPERATORS: [Comparison; 7] = [
    ("EQ", HIGH + 2, 0, &[HIGH + 2], &[2, HIGH, HIGH + 3, HIGH + 1]),
    ("NE", HIGH + 2, 0, &[2, HIGH, HIGH + 3], &[HIGH + 2]),
    ("GT", HIGH + 2, 0, &[HIGH + 3, HIGH * 2], &[HIGH + 2, HIGH, 3]),
    ("GE", HIGH + 2, 0, &[HIGH + 2, HIGH * 2], &[HIGH + 1, 2, 3]),
    ("LT", HIGH + 2, 0, &[HIGH + 1, 3, 0], &[HIGH + 2, HIGH * 2]),
    ("LE", HIGH + 2, 0, &[HIGH + 2, 3, 0], &[HIGH + 3, HIGH * 2]),
    ("MASKED_EQ", HIGH + 6, HIGH + 2, &[HIGH + 2, HIGH + 3], &[HIGH + 6, 2, HIGH]),
];

fn comparisons(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let with = |index: u32, value: u64, two: u64, op: &str| {
        let compare =
            json!({"index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")});
        but(json!({"names": [NAME], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV, "args": [compare]}))
    };
    for (op, value, two, hits, misses) in OPERATORS {
        let call = |argument: &u64| format!("{CALL} 0 0 0 {argument}");
        let calls: Vec<String> = hits.iter().chain(misses).map(call).collect();
        let returned = returned(runtime, with(3, value, two, op), &calls)?;
        for (at, (argument, returned)) in hits.iter().chain(misses).zip(returned).enumerate() {
            let expected = if at < hits.len() { "EXDEV" } else { "0" };
            let id = match op {
                "EQ" => "config-linux.seccomp.value",
                "MASKED_EQ" => "config-linux.seccomp.value-two",
                _ => "config-linux.seccomp.op",
            };
            let what = format!("{op} {value:#x} {two:#x} of {argument:#x}");
            checks.equal(id, (&what, Some(expected)), (&what, returned.as_deref()));
        }
    }
    let calls = [format!("{CALL} 7"), format!("{CALL} 0 7"), format!("{CALL} 0 0 0 0 0 7")];
    for (index, expected) in [(0, [true, false, false]), (1, [false, true, false]), (5, [false, false, true])]
    {
        let returned = returned(runtime, with(index, 7, 0, "EQ"), &calls)?;
        let hit: Vec<bool> = returned.iter().map(|value| value.as_deref() == Some("EXDEV")).collect();
        checks.equal("config-linux.seccomp.index", (index, expected.to_vec()), (index, hit));
    }
    Ok(())
}

const ARCHITECTURES: Case =
    Case { id: "seccomp-architectures", proves: &["config-linux.seccomp.architectures"], run: architectures };

/// A call by the 32-bit way of x86, whose numbers are others.
fn architectures(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.seccomp.architectures";
    const YIELD_OF_X86: &str = "158";
    if !cfg!(target_arch = "x86_64") {
        checks.skip(ID, "a processor with two ways to make system calls: x86-64");
        return Ok(());
    }
    let bundle = |architectures: Value| {
        but(json!({"names": [NAME], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV}))
            .set("/linux/seccomp/architectures", architectures)
            .args(["/bin/probe", "call32", YIELD_OF_X86])
    };
    let ran = runtime.run(&bundle(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])).build()?)?;
    if ran.stderr.contains("not understood") || ran.stdout.trim() == "ENOSYS" {
        checks.skip(ID, "a kernel that runs 32-bit programs");
        return Ok(());
    }
    checks.equal(ID, "EXDEV", ran.stdout.trim());
    Ok(())
}

const INVALID: Case = Case {
    id: "seccomp-invalid",
    proves: &[
        "config-linux.seccomp.no-errno",
        "config-linux.seccomp.no-names",
        "config-linux.seccomp.metadata-alone",
    ],
    run: invalid,
};

fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let idle = |bundle: BundleBuilder| bundle.args(["/bin/probe", "exit", "0"]);
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_ALLOW"] {
        let mut with_errno = rule(action);
        with_errno["errnoRet"] = json!(1);
        let what = format!("an errno for {action}");
        checks.refuses("config-linux.seccomp.no-errno", runtime, idle(but(with_errno)), &what)?;
    }
    let nameless = json!({"names": [], "action": "SCMP_ACT_ERRNO"});
    checks.refuses("config-linux.seccomp.no-names", runtime, idle(but(nameless)), "a rule without names")?;
    let told = but(rule("SCMP_ACT_ERRNO")).set("/linux/seccomp/listenerMetadata", json!("told"));
    let what = "listenerMetadata without listenerPath";
    checks.refuses("config-linux.seccomp.metadata-alone", runtime, idle(told), what)
}
