//! Ends the processes that a measurement left. Works because both processes of the benchmark are subreapers:
//! whatever their descendants leave becomes their own child. See PR_SET_CHILD_SUBREAPER(2const).

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Kills and reaps every child of this process, and those that they leave to it, until there is none.
pub(crate) fn end_children() {
    loop {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            // A child stays, at least as a zombie, until it is waited for here: its pid cannot be another's.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// The kernel lists children by the thread that made them.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

fn pid(word: &str) -> Option<Pid> {
    word.parse().ok().map(Pid::from_raw)
}
