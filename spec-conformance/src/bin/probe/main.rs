//! The payload of every test container: usually PID 1, one static file, nothing else needed in its rootfs.
//!
//! ```text
//! probe report [OPTION]...  prints what is seen, as one JSON document
//!     --out PATH            to a file
//!     --stdin               with standard input; if that is a container's state, with that one's process
//!     --stat PATH, --sysctl NAME, --call "N [ARG]..."       what a path, a sysctl, a system call gives
//!     --read PATH, --write PATH, --node "c|b MAJOR MINOR"   whether a file can be opened, a device be made
//! probe log-wait PATH TEXT  adds a line to a file, prints "ready", leaves with 0 on TERM
//! probe stay PATH           adds its process id to a file, leaves with 0 on TERM
//! probe exit N              leaves with status N
//! probe signal N            sends itself signal N; the kernel shields PID 1 from it, which is status 3
//! probe wait                prints "ready", leaves with 0 on TERM
//! probe trap SIGNAL         prints "ready", on that signal "got SIGNAL", leaves with 0
//! probe cat                 copies standard input to standard output
//! probe write PATH TEXT     replaces a file's content
//! probe append PATH TEXT    adds a line to a file
//! probe hook PATH TEXT [N]  reads its standard input, adds a line to a file, leaves with status N or 0
//! probe await PATH SECONDS  leaves with 0 when there is such a file, or when the time is over
//! probe descriptors         opens files until it is refused, prints how many descriptors it then has
//! probe raise-limit         prints the hard RLIMIT_NOFILE, and whether it can be raised: "ok" or the errno's name
//! probe notify MESSAGE...   sends each to the socket that NOTIFY_SOCKET names, see sd_notify(3)
//! probe open-write PATH     prints "ok" or the errno's name of opening for writing
//! probe alloc MIB [hold]    touches that much memory, prints "ready"; with "hold", keeps it until TERM
//! probe call N [ARG]...     makes system call number N, prints what it returned or its errno's name
//! probe call32 N [ARG]...   the same as a 32-bit x86 program would
//! probe call-catching N     the same; prints "trapped" if SIGSYS comes instead
//! probe call-in-thread N    the same in a second thread; prints "killed" if only that one ends
//! probe fork N              starts N copies that wait, prints "ready", leaves with 0 on TERM
//! ```
//!
//! Status: 0 done, 1 the operation failed (its errno is on standard error), 2 not understood.

#![no_main]

mod collect;
mod obey;
mod paths;
mod sys;

use std::io::{self, Write};
use std::path::PathBuf;

use collect::{Question, Try};

/// How a command ends.
pub(crate) type Outcome = io::Result<u8>;

/// Entered from `sys::main`, without std's start-up: that would ignore SIGPIPE, catch SIGSEGV and open
/// missing standard streams, and the report would show std's doing instead of the runtime's.
fn run() -> u8 {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["report", options @ ..] => match question(options) {
            Some(question) => report(&question),
            None => Ok(2),
        },
        ["exit", status] => Ok(status.parse().unwrap_or(2)),
        ["signal", number] => obey::signal_self(number),
        ["wait"] => obey::wait(),
        ["trap", signal] => obey::trap(signal),
        ["cat"] => io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map(|_| 0),
        ["stay", path] => obey::append(path, &std::process::id().to_string()).and_then(|_| obey::wait()),
        ["log-wait", path, text] => obey::append(path, text).and_then(|_| obey::wait()),
        ["await", path, seconds] => obey::await_file(path, seconds),
        ["append", path, text] => obey::append(path, text),
        ["hook", path, text] => obey::hook(path, text, "0"),
        ["hook", path, text, status] => obey::hook(path, text, status),
        ["descriptors"] => obey::descriptors(),
        ["raise-limit"] => obey::raise_limit(),
        ["write", path, text] => std::fs::write(path, text).map(|()| 0),
        ["notify", messages @ ..] => obey::notify(messages),
        ["open-write", path] => obey::open_write(path),
        ["alloc", mib] => obey::alloc(mib, false),
        ["alloc", mib, "hold"] => obey::alloc(mib, true),
        ["call", numbers @ ..] => obey::call(numbers, sys::Way::Native),
        #[cfg(target_arch = "x86_64")]
        ["call32", numbers @ ..] => obey::call(numbers, sys::Way::X86),
        ["call-catching", numbers @ ..] => {
            sys::catch_sigsys();
            obey::call(numbers, sys::Way::Native)
        }
        ["call-in-thread", number] => obey::call_in_thread(number),
        ["fork", number] => obey::fork(number),
        _ => Ok(2),
    };
    // Nobody flushes for us after `run`, and a status must not hide a lost line.
    match outcome.and_then(|status| io::stdout().lock().flush().map(|()| status)) {
        Ok(2) => complain("not understood; see the head of src/bin/probe/main.rs", 2),
        Ok(status) => status,
        Err(error) => complain(&sys::errno_name(&error), 1),
    }
}

fn complain(text: &str, status: u8) -> u8 {
    match writeln!(io::stderr().lock(), "probe: {text}") {
        Ok(()) | Err(_) => status,
    }
}

fn question(options: &[&str]) -> Option<Question> {
    let mut question = Question::default();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            "--stdin" => question.stdin = true,
            "--out" => question.out = Some(PathBuf::from(rest.next()?)),
            "--sysctl" => question.sysctls.push((*rest.next()?).to_owned()),
            "--stat" => question.paths.push((*rest.next()?).to_owned()),
            "--call" => question.calls.push((*rest.next()?).to_owned()),
            "--read" => question.tries.push(Try::Read((*rest.next()?).to_owned())),
            "--write" => question.tries.push(Try::Write((*rest.next()?).to_owned())),
            "--node" => question.tries.push(Try::Node((*rest.next()?).to_owned())),
            _ => return None,
        }
    }
    Some(question)
}

fn report(question: &Question) -> Outcome {
    let document = serde_json::to_string(&collect::report(question)?)?;
    match &question.out {
        Some(path) => std::fs::write(path, document)?,
        None => writeln!(io::stdout().lock(), "{document}")?,
    }
    Ok(0)
}
