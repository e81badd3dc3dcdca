//! When each step of a command began and ended, in both processes: a file that a trace viewer shows.
//!
//! It is off unless [`start`] is called, and costs a look at one variable then. It is the process's: two commands at
//! the same time in one process are in one timeline.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::plan::step::Step;
use crate::sys::{Stop, timeline as notes};

/// What a command does beside the steps of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The start of the program, with the seal, up to the timeline's own.
    Seal,
    /// Understanding the command line.
    CommandLine,
    /// Reading config.json.
    Read,
    /// Looking at the host, and compiling the plan.
    Compile,
    /// Taking the id, and writing down what is going to be made.
    Reserve,
    /// Turning the plan into descriptors and bytes.
    Prepare,
    /// Waiting for what the container's process says.
    Wait,
    /// Writing the record for the time when the container exists.
    Draft,
    /// Letting the program start, until it is being executed.
    Start,
    /// Waiting for the program to end.
    Attend,
    /// Removing what was made for the container.
    Delete,
}

const PHASES: &[(Phase, &str)] = &[
    (Phase::Seal, "start, and seal the binary"),
    (Phase::CommandLine, "understand the command line"),
    (Phase::Read, "read config.json"),
    (Phase::Compile, "look at the host and compile the plan"),
    (Phase::Reserve, "reserve the id, write the first record"),
    (Phase::Prepare, "prepare descriptors and bytes"),
    (Phase::Wait, "wait for the container's process"),
    (Phase::Draft, "write config and record"),
    (Phase::Start, "start the program"),
    (Phase::Attend, "wait for the program to end"),
    (Phase::Delete, "remove the container"),
];

/// Codes of phases have this bit, those of steps do not.
const PHASE: u32 = 1 << 31;

/// What is known when the file is written and not when something is noted.
#[derive(Debug, Default)]
struct Known {
    words: Vec<(Step, String)>,
    children: Vec<i32>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { words: Vec::new(), children: Vec::new() });

/// Begins the timeline of this process. `started` is when its program began, if it was executed again since.
///
/// # Errors
/// There is no memory for it.
pub fn start(started: Option<u64>) -> Result<(), Stop> {
    notes::start()?;
    if let Some(started) = started {
        notes::begin(PHASE | Phase::Seal as u32).since(started).end();
    }
    Ok(())
}

/// Nanoseconds of the clock that the timeline has, CLOCK_MONOTONIC.
#[must_use]
pub fn now() -> u64 {
    notes::now()
}

/// Does `act`, and notes when.
pub fn during<T>(phase: Phase, act: impl FnOnce() -> T) -> T {
    let begun = notes::begin(PHASE | phase as u32);
    let result = act();
    begun.end();
    result
}

/// Does `act` as a step, and notes when; in either process.
pub(crate) fn step<T>(step: Step, act: impl FnOnce() -> T) -> T {
    let begun = notes::begin(step.code());
    let result = act();
    begun.end();
    result
}

/// The process is the container's from now on, or the second one.
pub(crate) fn be_child() {
    notes::be_child();
}

/// Remembers the pid of a child that takes notes too.
pub(crate) fn note_child(pid: i32) {
    if notes::is_on() {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).children.push(pid);
    }
}

/// Remembers what the steps of a plan are in words.
pub(crate) fn note_words(words: impl FnOnce() -> Vec<(Step, String)>) {
    if notes::is_on() {
        let words = words();
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).words.extend(words);
    }
}

/// Writes the timeline in the trace event format, as JSON: complete events (`X`) with microseconds of CLOCK_MONOTONIC,
/// and the names of the processes. What has not ended, such as a step that became the container's program, ends with
/// the timeline.
///
/// # Errors
/// It cannot be written.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    let until = notes::now();
    let (all, lost) = notes::notes();
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::process::id().cast_signed();
    let pid = |who: u32| match who {
        0 => own,
        // One of whom nobody has told has died before.
        who => known.children.get(who as usize - 1).copied().unwrap_or(-who.cast_signed()),
    };
    let mut events: Vec<Value> = Vec::with_capacity(all.len() + 3);
    for who in 0..3 {
        if all.iter().any(|note| note.who == who) {
            let name =
                ["the runtime", "the container's process", "the container's second process"][who as usize];
            events.push(json!({
                "ph": "M", "name": "process_name", "pid": pid(who), "tid": pid(who), "args": {"name": name},
            }));
        }
    }
    for note in &all {
        let (category, id, name) = describe(note.code, &known.words);
        let end = if note.end == 0 { until } else { note.end };
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        events.push(json!({
            "ph": "X", "cat": category, "name": name, "pid": pid(note.who), "tid": pid(note.who),
            "ts": microseconds(note.begin), "dur": microseconds(end.saturating_sub(note.begin)),
            "args": {category: id},
        }));
    }
    let document = json!({"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"lost": lost}});
    serde_json::to_writer(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn describe(code: u32, words: &[(Step, String)]) -> (&'static str, String, String) {
    if code & PHASE != 0 {
        let known = PHASES.iter().find(|(phase, _)| *phase as u32 == code & !PHASE);
        let (id, name) = known.map_or((String::new(), "?"), |(phase, name)| (format!("{phase:?}"), *name));
        return ("phase", id, name.to_owned());
    }
    let step = Step::from_code(code);
    let id = step.map_or_else(|| code.to_string(), |step| format!("{step:?}"));
    let name = step.and_then(|step| words.iter().find(|(known, _)| *known == step));
    let name = name.map_or_else(|| id.clone(), |(_, words)| words.clone());
    ("step", id, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_every_step_has_a_name_of_its_own() {
        for (phase, name) in PHASES {
            assert_eq!(
                describe(PHASE | *phase as u32, &[]),
                ("phase", format!("{phase:?}"), (*name).to_owned())
            );
        }
        let words = [(Step::Mount(1), "mounts[1]: x".to_owned())];
        let named = |step: Step| describe(step.code(), &words);
        assert_eq!(named(Step::Mount(1)), ("step", "Mount(1)".to_owned(), "mounts[1]: x".to_owned()));
        assert_eq!(named(Step::Mount(2)), ("step", "Mount(2)".to_owned(), "Mount(2)".to_owned()));
        assert_eq!(Step::from_code(PHASE | Phase::Seal as u32), None);
    }
}
