//! The commands that make the probe do something: leave, wait, write, use memory, multiply.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};

use spec_conformance::Error;
use spec_conformance::wait::{self, Deadline};

use crate::{Outcome, sys};

/// PID 1 is shielded from its own signals by the kernel (pid_namespaces(7)): surviving is status 3.
pub(crate) fn signal_self(number: &str) -> Outcome {
    match signal_from(number) {
        Some(signal) => raise(signal).map(|()| 3).map_err(io::Error::from),
        None => Ok(2),
    }
}

pub(crate) fn wait() -> Outcome {
    announce_and_await(Signal::SIGTERM).map(|()| 0)
}

pub(crate) fn trap(name: &str) -> Outcome {
    let Some(signal) = signal_from(name) else { return Ok(2) };
    announce_and_await(signal)?;
    say(&format!("got {}", signal.as_str().trim_start_matches("SIG"))).map(|()| 0)
}

pub(crate) fn open_write(path: &str) -> Outcome {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => say("ok").map(|()| 0),
        Err(error) => say(&sys::errno_name(&error)).map(|()| 1),
    }
}

/// One write, so that lines of several processes do not mix.
pub(crate) fn append(path: &str, text: &str) -> Outcome {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{text}\n").as_bytes()).map(|()| 0)
}

/// Whoever writes to a hook may die of one that is gone before it has read.
pub(crate) fn hook(path: &str, text: &str, status: &str) -> Outcome {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    append(path, text).map(|_| status.parse().unwrap_or(2))
}

/// For something that should not happen: when it does, nobody waits.
pub(crate) fn await_file(path: &str, seconds: &str) -> Outcome {
    let Ok(seconds) = seconds.parse() else { return Ok(2) };
    let deadline = Deadline::after(Duration::from_secs(seconds));
    match wait::for_file(Path::new(path), deadline, |_| true) {
        Ok(_) | Err(Error::Deadline { .. }) => Ok(0),
        Err(error) => Err(io::Error::other(error)),
    }
}

pub(crate) fn descriptors() -> Outcome {
    let mut open = Vec::new();
    let refused = loop {
        match std::fs::File::open("/") {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
    };
    // The three standard streams are open too.
    let count = open.len() + 3;
    drop(open);
    say(&format!("{count} {}", sys::errno_name(&refused))).map(|()| 0)
}

pub(crate) fn raise_limit() -> Outcome {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard + 1, hard + 1) {
        Ok(()) => say(&format!("{hard} ok")).map(|()| 0),
        Err(errno) => say(&format!("{hard} {errno:?}")).map(|()| 0),
    }
}

pub(crate) fn notify(messages: &[&str]) -> Outcome {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(2) };
    let socket = UnixDatagram::unbound()?;
    for message in messages {
        socket.send_to(message.as_bytes(), &address)?;
    }
    Ok(0)
}

pub(crate) fn alloc(mib: &str, hold: bool) -> Outcome {
    let Ok(mib) = mib.parse::<usize>() else { return Ok(2) };
    let memory = std::hint::black_box(vec![1u8; mib << 20]);
    if hold {
        announce_and_await(Signal::SIGTERM)?
    } else {
        say("ready")?
    }
    drop(memory);
    Ok(0)
}

/// The copies end with the pid namespace; without one, whoever started the container must signal them.
pub(crate) fn fork(number: &str) -> Outcome {
    let Ok(number) = number.parse::<usize>() else { return Ok(2) };
    let program = std::env::args_os().next().unwrap_or_else(|| "/bin/probe".into());
    let quiet = || Command::new(&program).arg("wait").stdout(std::process::Stdio::null()).spawn();
    let copies = (0..number).map(|_| quiet()).collect::<io::Result<Vec<_>>>()?;
    announce_and_await(Signal::SIGTERM)?;
    drop(copies);
    Ok(0)
}

/// A number, its sign and `0x` allowed.
fn integer(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned)),
    }
}

fn outcome(result: i64) -> String {
    match i32::try_from(result) {
        Ok(errno @ -4095..0) => sys::errno_name(&io::Error::from_raw_os_error(-errno)),
        _ => result.to_string(),
    }
}

/// What a system call, given as its number and arguments, returned.
pub(crate) fn answer(call: &str) -> String {
    let numbers = call.split_whitespace().map(integer).collect::<Option<Vec<u64>>>().unwrap_or_default();
    let Some((number, given)) = numbers.split_first().filter(|(_, given)| given.len() <= 6) else {
        return "not understood".to_owned();
    };
    let mut args = [0; 6];
    args[..given.len()].copy_from_slice(given);
    outcome(sys::system_call(sys::Way::Native, number.cast_signed(), args))
}

pub(crate) fn call(numbers: &[&str], way: sys::Way) -> Outcome {
    let Some(numbers) = numbers.iter().map(|text| integer(text)).collect::<Option<Vec<u64>>>() else {
        return Ok(2);
    };
    let Some((number, given)) = numbers.split_first().filter(|(_, given)| given.len() <= 6) else {
        return Ok(2);
    };
    let mut args = [0; 6];
    args[..given.len()].copy_from_slice(given);
    say(&outcome(sys::system_call(way, number.cast_signed(), args))).map(|()| 0)
}

pub(crate) fn call_in_thread(number: &str) -> Outcome {
    let Some(number) = integer(number) else { return Ok(2) };
    let result = sys::system_call_in_thread(sys::Way::Native, number.cast_signed(), [0; 6]);
    say(&result.map_or_else(|| "killed".to_owned(), outcome)).map(|()| 0)
}

/// Blocks the signal before saying "ready", so that one sent in answer is never lost or fatal. Blocking
/// also makes the kernel keep it for PID 1, whose default dispositions are otherwise skipped.
fn announce_and_await(signal: Signal) -> io::Result<()> {
    let mut awaited = SigSet::empty();
    awaited.add(signal);
    awaited.thread_block()?;
    say("ready")?;
    awaited.wait()?;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Reads `TERM`, `SIGTERM` or `15`.
fn signal_from(name: &str) -> Option<Signal> {
    if let Ok(number) = name.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    Signal::from_str(name).or_else(|_| Signal::from_str(&format!("SIG{name}"))).ok()
}
