//! Execs by the thousand into one container, many at once, and into one whose first process ends among them. Rows K-56,
//! K-57; reliability rows.
//!
//! One test, because the oracle looks at the whole host.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use integration_tests::{HostState, has_ended, running, runtime};
use nix::sys::signal::Signal;
use spec_conformance::wait::Pidfd;
use spec_conformance::{Bundle, Container, Exit, Finished, Runtime};

const PARALLEL: usize = 8;

/// A container that waits for its end, and its bundle, which has to outlive it.
fn waiting(runtime: &Runtime) -> (Bundle, Container<'_>) {
    let bundle = Bundle::new().with_busybox().args(["/bin/probe", "trap", "TERM"]).build().unwrap();
    let container = running(runtime, &bundle);
    (bundle, container)
}

/// Execs until `count` have been, eight at once, and gives each result to `judge`, with how many came before.
fn execs(container: &Container<'_>, count: usize, judge: impl Fn(usize, Finished) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    judge(number, container.exec(["/bin/echo", &number.to_string()]).unwrap());
                }
            });
        }
    });
}

#[test]
fn k56_k57_r05_r25_execs_by_the_thousand_succeed_and_a_container_that_ends_among_them_hangs_none() {
    let runtime = runtime();
    all_succeed_and_leave_nothing(&runtime);
    an_end_is_named_as_the_reason(&runtime);
}

fn all_succeed_and_leave_nothing(runtime: &Runtime) {
    let (_bundle, container) = waiting(runtime);
    let before = HostState::take(runtime);
    execs(&container, 2000, |number, call| {
        let seen = (call.exit, call.stdout.trim_end(), call.stderr.as_str());
        assert_eq!(seen, (Exit::Code(0), number.to_string().as_str(), ""), "{number}: {call:?}");
    });
    before.assert_unchanged(runtime, "after the execs");
}

fn an_end_is_named_as_the_reason(runtime: &Runtime) {
    const KILLED_AT: usize = 100;
    let (_bundle, container) = waiting(runtime);
    let pid = container.state().unwrap().pid.unwrap();
    let init = Pidfd::open(pid).unwrap();
    let refused = AtomicUsize::new(0);
    execs(&container, 500, |number, call| {
        if number == KILLED_AT {
            init.send(Signal::SIGKILL).unwrap();
        }
        match call.exit {
            Exit::Code(0) => assert_eq!(call.stdout.trim_end(), number.to_string()),
            // It ran, and went down with the container.
            Exit::Code(137) => assert_eq!(call.stderr, "", "{call:?}"),
            _ => {
                let says = &call.stderr;
                assert_eq!(call.exit, Exit::Code(255), "{call:?}");
                assert!(says.contains("container") && says.contains("not running"), "{call:?}");
                assert!(!says.contains("no such process"), "{call:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(refused.into_inner() > 100, "the container went on running");
    has_ended(pid);
}
