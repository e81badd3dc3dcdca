//! System call filters, as the kernel applies them to the container's program. Rows S-01 to S-11.
//! Spec: config-linux.md#seccomp.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration_tests::runtime;
use nix::libc;
use serde_json::{Value, json};
use spec_conformance::{Bundle, Exit, Finished};

/// Runs the probe under a filter.
fn run(seccomp: Value, args: &[String]) -> Finished {
    let args = std::iter::once("/bin/probe".to_owned()).chain(args.iter().cloned());
    let bundle = Bundle::new().set("/linux/seccomp", seccomp).args(args).build().unwrap();
    runtime().run(&bundle).unwrap()
}

/// A command of the probe about a system call.
fn command(what: &str, call: i64, args: &[u64]) -> Vec<String> {
    let args = args.iter().map(u64::to_string);
    [what.to_owned(), call.to_string()].into_iter().chain(args).collect()
}

/// Everything is allowed but what `rule` says.
fn but(rule: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule]})
}

/// What the probe prints of a call under a filter.
fn says(seccomp: Value, what: &str, call: i64, args: &[u64]) -> String {
    let finished = run(seccomp, &command(what, call, args)).success().unwrap();
    finished.stdout.trim().to_owned()
}

/// A call that nothing else makes, and which succeeds without a filter: the first process of a pid namespace has no parent in it.
const CALL: i64 = libc::SYS_getppid;

fn act(action: &str) -> Value {
    but(json!({"names": ["getppid"], "action": format!("SCMP_ACT_{action}")}))
}

#[test]
fn s01_s02_each_action_does_what_it_says() {
    let allowed = says(act("ALLOW"), "call", CALL, &[]);
    assert_eq!(allowed, "0");
    assert_eq!(says(act("LOG"), "call", CALL, &[]), allowed);
    assert_eq!(says(act("ERRNO"), "call", CALL, &[]), "EPERM");
    let errno = but(json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}));
    assert_eq!(says(errno, "call", CALL, &[]), "EXDEV");
    // Nobody traces.
    assert_eq!(says(act("TRACE"), "call", CALL, &[]), "ENOSYS");
    assert_eq!(says(act("TRAP"), "call-catching", CALL, &[]), "trapped");
    assert_eq!(says(act("KILL"), "call-in-thread", CALL, &[]), "killed");
    assert_eq!(says(act("KILL_THREAD"), "call-in-thread", CALL, &[]), "killed");
    for action in ["TRAP", "KILL_PROCESS"] {
        let finished = run(act(action), &command("call-in-thread", CALL, &[]));
        assert_eq!(finished.exit, Exit::Code(128 + libc::SIGSYS), "{action}: {finished:?}");
    }
}

#[test]
fn s01_s02_the_default_action_is_for_every_call_that_no_rule_names() {
    let profile = |action: &str, errno: Value| {
        let everything: Vec<&str> = EVERYTHING.split_whitespace().collect();
        let rule = json!({"names": everything, "action": "SCMP_ACT_ALLOW"});
        let mut seccomp = json!({"defaultAction": action, "syscalls": [rule]});
        if errno.is_number() {
            seccomp["defaultErrnoRet"] = errno;
        }
        seccomp
    };
    assert_eq!(says(profile("SCMP_ACT_ERRNO", json!(null)), "call", CALL, &[]), "EPERM");
    assert_eq!(says(profile("SCMP_ACT_ERRNO", json!(18)), "call", CALL, &[]), "EXDEV");
    assert_eq!(says(profile("SCMP_ACT_TRAP", json!(null)), "call-catching", CALL, &[]), "trapped");
    assert_eq!(says(profile("SCMP_ACT_TRACE", json!(null)), "call", CALL, &[]), "ENOSYS");
    let killed = run(profile("SCMP_ACT_KILL", json!(null)), &command("call", CALL, &[]));
    assert_eq!(killed.exit, Exit::Code(128 + libc::SIGSYS));
}

#[test]
fn s11_calls_newer_than_the_profile_do_not_exist() {
    let everything: Vec<&str> = EVERYTHING.split_whitespace().collect();
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let rule = json!({"names": everything, "action": "SCMP_ACT_ALLOW"});
        let seccomp = json!({"defaultAction": default, "syscalls": [rule]});
        // The newest that is named is faccessat2.
        assert_eq!(says(seccomp.clone(), "call", 440, &[]), "ENOSYS", "{default}");
        assert_eq!(says(seccomp, "call", 100_000, &[]), "ENOSYS", "{default}");
    }
}

#[test]
fn s09_every_operator_in_both_halves_of_an_argument() {
    let high = 5u64 << 32;
    /// An operator, its two values, arguments that it holds for, and others.
    type Case<'a> = (&'a str, u64, u64, &'a [u64], &'a [u64]);
    let cases: [Case<'_>; 7] = [
        ("EQ", high + 2, 0, &[high + 2], &[2, high, high + 3, high + 1]),
        ("NE", high + 2, 0, &[2, high, high + 3], &[high + 2]),
        ("GT", high + 2, 0, &[high + 3, high * 2], &[high + 2, high, 3]),
        ("GE", high + 2, 0, &[high + 2, high * 2], &[high + 1, 2, 3]),
        ("LT", high + 2, 0, &[high + 1, 3, 0], &[high + 2, high * 2]),
        ("LE", high + 2, 0, &[high + 2, 3, 0], &[high + 3, high * 2]),
        ("MASKED_EQ", high + 6, high + 2, &[high + 2, high + 3], &[high + 6, 2, high]),
    ];
    for (op, value, two, hits, misses) in cases {
        let arg = json!({"index": 3, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")});
        let rule = json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18, "args": [arg]});
        for (arguments, expected) in [(hits, "EXDEV"), (misses, "0")] {
            for argument in arguments {
                let found = says(but(rule.clone()), "call", CALL, &[0, 0, 0, *argument]);
                assert_eq!(found, expected, "{op} {value:#x} of {argument:#x}");
            }
        }
    }
}

#[test]
fn s04_s10_other_architectures_have_rules_only_if_they_are_listed() {
    // Of 32-bit x86: getppid is 64. 102 is socketcall, whose first subcall is socket.
    assert_eq!(says(act("ERRNO"), "call32", 64, &[]), "EPERM");
    assert_eq!(says(act("ALLOW"), "call32", 64, &[]), "0");
    let socket =
        but(json!({"names": ["socket", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}));
    assert_eq!(says(socket.clone(), "call32", 359, &[1, 1]), "EXDEV");
    assert_eq!(says(socket.clone(), "call32", 102, &[1]), "EXDEV");
    assert_ne!(says(socket, "call32", 102, &[2]), "EXDEV");
    let unlisted = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    assert_eq!(run(unlisted.clone(), &command("call32", 64, &[])).exit, Exit::Code(128 + libc::SIGSYS));
    // x32 calls, too: the kernel does not tell them from native ones.
    let x32 = run(unlisted, &command("call", 0x4000_0000 | CALL, &[]));
    assert_eq!(x32.exit, Exit::Code(128 + libc::SIGSYS));
}

#[test]
fn s04_an_architecture_that_the_library_does_not_know_is_refused_by_name() {
    let features = runtime().call(["features"]).unwrap().success().unwrap().stdout;
    let features: Value = serde_json::from_str(&features).unwrap();
    let known = features["linux"]["seccomp"]["archs"].as_array().unwrap().clone();
    for name in ["SCMP_ARCH_M68K", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_X32"] {
        let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]});
        let finished = run(seccomp, &["exit".to_owned(), "0".to_owned()]);
        assert_eq!(finished.exit.success(), known.contains(&json!(name)), "{name}: {finished:?}");
        if !finished.exit.success() {
            let says = format!("/linux/seccomp/architectures: {name} is not known to libseccomp ");
            assert!(finished.stderr.contains(&says), "{finished:?}");
        }
    }
}

#[test]
fn s05_s06_filters_load_with_each_flag_and_with_none() {
    for flags in [json!(["TSYNC"]), json!(["LOG"]), json!(["SPEC_ALLOW"]), json!(["TSYNC", "LOG"]), json!([])]
    {
        let mut seccomp = act("ERRNO");
        let names = flags.as_array().unwrap().iter();
        let names = names.map(|flag| format!("SECCOMP_FILTER_FLAG_{}", flag.as_str().unwrap()));
        seccomp["flags"] = json!(names.collect::<Vec<_>>());
        assert_eq!(says(seccomp, "call", CALL, &[]), "EPERM", "{flags}");
    }
}

#[test]
fn s03_e30_an_errno_with_an_action_that_takes_none_is_refused() {
    let seccomp = but(json!({"names": ["getppid"], "action": "SCMP_ACT_KILL", "errnoRet": 1}));
    let finished = run(seccomp, &["exit".to_owned(), "0".to_owned()]);
    assert!(!finished.exit.success(), "{finished:?}");
    assert!(finished.stderr.contains("/linux/seccomp/syscalls/0/errnoRet: "), "{finished:?}");
}

/// What the probe needs, and calls to be asked for.
const EVERYTHING: &str = "read write close fstat newfstatat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask \
    rt_sigreturn ioctl pread64 access execve exit exit_group arch_prctl set_tid_address set_robust_list rseq prlimit64 \
    readlink getrandom sigaltstack poll openat futex uname gettid getpid tgkill writev sched_getaffinity fcntl \
    faccessat2";

#[test]
fn s02_a_program_that_cannot_be_executed_is_told_of_whatever_the_filter_refuses() {
    let last = ["sendto", "sendmsg", "exit_group", "open", "openat", "close", "read"];
    let refusals = [
        json!({"names": last, "action": "SCMP_ACT_ERRNO"}),
        json!({"names": last, "action": "SCMP_ACT_KILL_PROCESS"}),
        json!({"names": ["sendto"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_GE"}]}),
    ];
    let runtime = runtime();
    for rule in refusals {
        let bundle =
            Bundle::new().set("/linux/seccomp", but(rule.clone())).args(["/garbage"]).build().unwrap();
        let garbage = bundle.path().join("rootfs/garbage");
        fs::write(&garbage, [0; 64]).unwrap();
        fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755)).unwrap();
        let told = |call: Finished| {
            assert_eq!((call.exit, call.stdout.as_str()), (Exit::Code(126), ""), "{rule}: {call:?}");
            assert!(call.stderr.contains("exec format error"), "{rule}: {call:?}");
        };
        told(runtime.run(&bundle).unwrap());
        let mut container = runtime.create(&bundle).unwrap();
        told(container.start().unwrap());
        container.wait().unwrap();
    }
    // Not what the program itself is let do, either.
    let rule = json!({"names": ["getppid", "sendto"], "action": "SCMP_ACT_ERRNO"});
    assert_eq!(says(but(rule), "call", CALL, &[]), "EPERM");
}
