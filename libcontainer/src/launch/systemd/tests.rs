//! The driver against a systemd that says what a test wants.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message::theirs::{answer, refusal, removed};
use super::*;
use crate::plan::systemd::Manager;

const UNIT: &str = "box.scope";
const JOB: &str = "/job/1";

/// What is said to one call, given its number: messages.
type Script = fn(u32) -> Vec<u8>;

/// A systemd that says one script for each call, in order; it gives back all that it was told.
fn systemd(listener: UnixListener, scripts: Vec<Script>) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut told = Vec::new();
        const BEGIN: &[u8] = b"BEGIN\r\n";
        while !told.ends_with(BEGIN) {
            hear(&mut stream, &mut told);
        }
        stream.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
        let mut from = told.len();
        for (script, serial) in scripts.into_iter().zip(1..) {
            let length = loop {
                match message::read(&told[from..]).unwrap() {
                    Some((_, length)) => break length,
                    None => hear(&mut stream, &mut told),
                }
            };
            from += length;
            stream.write_all(&script(serial)).unwrap();
        }
        stream.read_to_end(&mut told).unwrap();
        String::from_utf8_lossy(&told).into_owned()
    })
}

fn hear(stream: &mut UnixStream, told: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk).unwrap();
    assert!(count > 0, "the driver has hung up: {:?}", String::from_utf8_lossy(told));
    told.extend_from_slice(&chunk[..count]);
}

/// Makes the unit with these answers: what comes of it, and what systemd was told.
fn made(properties: Vec<Property>, scripts: Vec<Script>) -> (Result<(), Trouble>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let systemd = systemd(UnixListener::bind(&path).unwrap(), scripts);
    let name = UnitName { name: UNIT.into(), manager: Manager::System };
    let unit = Unit { name, cgroup: format!("/{UNIT}"), properties: Vec::new() };
    let mut bus = Bus::at(&path, true, Duration::from_secs(10)).unwrap();
    let outcome = make(&mut bus, &unit, properties);
    drop(bus);
    (outcome, systemd.join().unwrap())
}

fn property(name: &str, optional: bool) -> Property {
    Property { name: name.into(), value: Value::Uint64(1), at: String::new(), optional }
}

const DONE: Script = |serial| {
    [answer(serial, JOB), removed("/job/other", UNIT, "failed"), removed(JOB, UNIT, "done")].concat()
};
const EXISTS: Script = |serial| refusal(serial, "org.freedesktop.systemd1.UnitExists", "exists");

#[test]
fn b25_one_call_makes_a_unit_and_its_own_jobs_end_is_what_counts() {
    let (outcome, told) = made(Vec::new(), vec![DONE]);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(told.matches("org.freedesktop.systemd1.Manager").count(), 1, "{told}");
    assert!(told.contains("StartTransientUnit"), "{told}");
}

#[test]
fn b25_a_job_that_fails_is_an_error_that_says_how() {
    let failed: Script = |serial| [answer(serial, JOB), removed(JOB, UNIT, "failed")].concat();
    let (outcome, _) = made(Vec::new(), vec![failed]);
    assert!(outcome.unwrap_err().to_string().contains("ended as \"failed\""));
}

#[test]
fn b25_a_unit_that_exists_is_reset_once_and_tried_once_more() {
    let reset: Script = |serial| answer(serial, "");
    let (outcome, told) = made(Vec::new(), vec![EXISTS, reset, DONE]);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!((told.matches("StartTransientUnit").count(), told.matches("ResetFailedUnit").count()), (2, 1));
    // It may be gone meanwhile; and it may be active.
    let gone: Script = |serial| refusal(serial, "org.freedesktop.systemd1.NoSuchUnit", "gone");
    assert!(made(Vec::new(), vec![EXISTS, gone, DONE]).0.is_ok());
    assert!(made(Vec::new(), vec![EXISTS, reset, EXISTS]).0.unwrap_err().is("UnitExists"));
}

#[test]
fn b21_what_an_older_systemd_does_not_know_is_left_out_if_the_files_say_it_too() {
    let unknown: Script = |serial| {
        let says = "Cannot set property AllowedCPUs, or unknown property.";
        refusal(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", says)
    };
    let properties = |optional| vec![property("TasksMax", true), property("AllowedCPUs", optional)];
    let (outcome, told) = made(properties(true), vec![unknown, DONE]);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!((told.matches("TasksMax").count(), told.matches("AllowedCPUs").count()), (2, 1));
    let refused = made(properties(false), vec![unknown]).0.unwrap_err().to_string();
    assert!(refused.contains("Cannot set property AllowedCPUs"), "{refused}");
}

#[test]
fn k71_b21_an_update_tells_systemd_what_it_knows_and_goes_on_without_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let unknown: Script = |serial| {
        let says = "Cannot set property AllowedCPUs, or unknown property.";
        refusal(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", says)
    };
    let done: Script = |serial| answer(serial, "");
    let systemd = systemd(UnixListener::bind(&path).unwrap(), vec![unknown, done]);
    let mut bus = Bus::at(&path, true, Duration::from_secs(10)).unwrap();
    set(&mut bus, UNIT, vec![property("TasksMax", true), property("AllowedCPUs", true)]).unwrap();
    drop(bus);
    let told = systemd.join().unwrap();
    assert_eq!((told.matches("SetUnitProperties").count(), told.matches("AllowedCPUs").count()), (2, 1));
}

#[test]
fn b32_a_process_is_put_into_a_unit_by_one_call_and_a_refusal_is_told() {
    let put = |script: Script| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("private");
        let systemd = systemd(UnixListener::bind(&path).unwrap(), vec![script]);
        let mut bus = Bus::at(&path, true, Duration::from_secs(10)).unwrap();
        let outcome = super::put(&mut bus, UNIT, "/payload", 7);
        drop(bus);
        (outcome, systemd.join().unwrap())
    };
    let (outcome, told) = put(|serial| answer(serial, ""));
    assert!(outcome.is_ok(), "{outcome:?}");
    for word in ["AttachProcessesToUnit", "ssau", UNIT, "/payload"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    let (outcome, _) = put(|serial| refusal(serial, "org.freedesktop.DBus.Error.AccessDenied", "not yours"));
    assert!(outcome.unwrap_err().to_string().contains("not yours"));
}

#[test]
fn b25_who_does_not_answer_is_given_up_at_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let _silent = UnixListener::bind(&path).unwrap();
    let refused = Bus::at(&path, true, Duration::from_millis(50)).unwrap_err();
    assert!(refused.to_string().contains("has not answered"), "{refused}");
}

#[test]
fn b25_on_a_bus_one_says_hello_and_listens_before_one_asks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus");
    // Hello and AddMatch have the numbers before; their answers are not waited for.
    let quiet: Script = |_| Vec::new();
    let systemd = systemd(UnixListener::bind(&path).unwrap(), vec![quiet, quiet, DONE]);
    let mut bus = Bus::at(&path, false, Duration::from_secs(10)).unwrap();
    bus.run_job("StopUnit", UNIT, &Arguments::default().text(UNIT).text(MODE)).unwrap();
    drop(bus);
    let told = systemd.join().unwrap();
    let at = |word: &str| told.find(word).unwrap_or_else(|| panic!("no {word} in {told}"));
    assert!(at("Hello") < at("AddMatch") && at("AddMatch") < at("StopUnit"));
    assert!(told.contains("member='JobRemoved',arg2='box.scope'"), "{told}");
}
