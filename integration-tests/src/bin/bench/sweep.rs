//! Ends the processes that a measurement left. Works because both processes of the benchmark are subreapers:
//! whatever their descendants leave becomes their own child. See PR_SET_CHILD_SUBREAPER(2const).

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Kills and reaps every child of this process but the `kept`, and those that they leave to it, until there is
/// none.
pub(crate) fn end_children(kept: &[Pid]) {
    loop {
        let children: Vec<Pid> = children().into_iter().filter(|child| !kept.contains(child)).collect();
        if children.is_empty() {
            return;
        }
        for child in &children {
            // A child stays, at least as a zombie, until it is waited for here: its pid cannot be another's.
            let _ = kill(*child, Signal::SIGKILL);
        }
        for child in children {
            let _ = waitpid(child, None);
        }
    }
}

/// The children of this process.
pub(crate) fn children() -> Vec<Pid> {
    children_of("self").into_iter().map(Pid::from_raw).collect()
}

/// All processes below one.
pub(crate) fn descendants(process: u32) -> Vec<i32> {
    let mut found = children_of(&process.to_string());
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let below = children_of(&pid.to_string());
        found.extend(below);
        next += 1;
    }
    found
}

/// The kernel lists children by the thread that made them.
fn children_of(process: &str) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}
