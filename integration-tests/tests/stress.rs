//! Containers come and go by the hundred, one after the other and many at once, and the host is as before.
//!
//! One test, because the oracle looks at the whole host. Reliability rows.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use integration_tests::{HostState, runtime};
use spec_conformance::{Bundle, Exit, Runtime};

const IN_A_ROW: usize = 500;
const PARALLEL: usize = 8;
const EACH: usize = 50;

#[test]
fn five_hundred_runs_in_a_row_and_eight_times_fifty_at_once_all_succeed_and_leave_nothing() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "cat"]).build().unwrap();
    // The first run makes the state root, which stays.
    run(&runtime, &bundle, "first");
    let before = HostState::take(&runtime);
    for number in 0..IN_A_ROW {
        run(&runtime, &bundle, &format!("in a row: {number}"));
    }
    before.assert_unchanged(&runtime, "after the runs in a row");
    std::thread::scope(|scope| {
        for thread in 0..PARALLEL {
            let (runtime, bundle) = (&runtime, &bundle);
            scope.spawn(move || {
                for number in 0..EACH {
                    run(runtime, bundle, &format!("thread {thread}: {number}"));
                }
            });
        }
    });
    before.assert_unchanged(&runtime, "after the parallel runs");
}

/// Runs a container that says what it is told.
fn run(runtime: &Runtime, bundle: &Bundle, text: &str) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    drop(writer);
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg(runtime.fresh_id()).stdin(reader);
    let finished = runtime.finish(command).unwrap();
    assert_eq!(
        (finished.exit, finished.stdout.as_str(), finished.stderr.as_str()),
        (Exit::Code(0), text, ""),
        "{text}"
    );
}
