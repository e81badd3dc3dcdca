//! Has systemd make and remove the unit of a container. Runs in the runtime's process.
//!
//! One call makes the unit, one stops it, and one changes it for `update`; `exec` asks only where it may not do itself
//! what it wants done. The end of a job is waited for, never asked for.

mod bus;
mod message;

use crate::channel::Failure;
use crate::host;
use crate::launch::{Because, Broken};
use crate::plan::cgroup::Cgroup;
use crate::plan::step::Step;
use crate::plan::systemd::{Property, Unit, UnitName, Value};
use crate::sys::{Call, Stop};

use bus::{Bus, Trouble};
use message::Arguments;
use nix::errno::Errno;

/// What is to happen to jobs of other units that are in the way: there are none for a new unit.
const MODE: &str = "replace";

/// A unit that was made, or may have been; it goes again unless it is kept.
#[derive(Debug)]
pub(crate) struct Made<'a>(Option<&'a UnitName>);

impl Made<'_> {
    /// There is no unit.
    #[must_use]
    pub(crate) fn nothing() -> Made<'static> {
        Made(None)
    }

    /// Keeps the unit.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if let Some(unit) = self.0.take() {
            // The error that leads here is the one to report.
            let _remains = stop(unit);
        }
    }
}

/// Has systemd make the unit; it does not exist, or is not ours, if that is refused.
fn make(bus: &mut Bus, unit: &Unit, mut properties: Vec<Property>) -> Result<(), Trouble> {
    let name = unit.name.name.as_str();
    let mut is_reset = false;
    loop {
        let arguments = Arguments::default().text(name).text(MODE).properties(&properties).alone();
        let Err(trouble) = bus.run_job("StartTransientUnit", name, &arguments) else { return Ok(()) };
        if trouble.is("UnitExists") && !is_reset {
            // It may be one that failed and was never cleaned up. One that is active stays, and is refused again.
            is_reset = true;
            match bus.call("ResetFailedUnit", &Arguments::default().text(name)) {
                Err(trouble) if !trouble.is("NoSuchUnit") => return Err(trouble),
                _ => {}
            }
        } else {
            properties = without_unknown(properties, trouble)?;
        }
    }
}

/// Has systemd make the unit of `cgroup`, with the process `pid` in it unless it is a slice.
///
/// # Errors
/// systemd refuses, fails or is not there, or puts the process elsewhere than planned.
pub(crate) fn start<'a>(unit: &'a Unit, cgroup: &Cgroup, pid: i32) -> Result<Made<'a>, Broken> {
    let mut bus = Bus::connect(unit.name.manager).map_err(broken)?;
    let mut properties = unit.properties.clone();
    if !unit.name.is_slice() {
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid.cast_unsigned())]);
        properties.push(Property { name: "PIDs".into(), value: pids, at: String::new(), optional: false });
    }
    let mut made = Made::nothing();
    let outcome = make(&mut bus, unit, properties);
    // What was asked for and not refused may still come.
    if !matches!(outcome, Err(Trouble::Refused { .. })) {
        made.0 = Some(&unit.name);
    }
    outcome.map_err(broken)?;
    if unit.name.is_slice() || is_inside(cgroup, pid) {
        return Ok(made);
    }
    let places: Vec<_> = host::cgroups_of(pid).iter().map(|(_, path)| path.display().to_string()).collect();
    let says = format!("systemd has put the process not into {} but into {}", unit.cgroup, places.join(", "));
    Err(found(says, Call::Stat))
}

/// The process is in the unit's cgroup, in one hierarchy at least: systemd uses only some of version 1.
fn is_inside(cgroup: &Cgroup, pid: i32) -> bool {
    let places = host::cgroups_of(pid);
    (0..cgroup.hierarchies.len())
        .map(|i| cgroup.top(i))
        .any(|directory| places.iter().any(|(_, path)| path.to_str() == Some(directory.as_str())))
}

/// Has systemd put the process `pid` into the cgroup at the end of `way` from that of the unit, for those who may not do
/// it themselves: a user whose session is not among what systemd has given to him.
///
/// # Errors
/// systemd refuses, or cannot be reached.
pub(crate) fn attach(unit: &UnitName, way: &str, pid: i32) -> Result<(), Broken> {
    Bus::connect(unit.manager).and_then(|mut bus| put(&mut bus, &unit.name, way, pid)).map_err(|trouble| {
        let broken = broken(trouble);
        Broken { failure: Failure { step: Step::CgroupJoin(0), ..broken.failure }, ..broken }
    })
}

fn put(bus: &mut Bus, name: &str, way: &str, pid: i32) -> Result<(), Trouble> {
    let arguments = Arguments::default().text(name).text(way).numbers(&[pid.cast_unsigned()]);
    bus.call("AttachProcessesToUnit", &arguments).map(drop)
}

/// Changes properties of a unit for as long as it lives, so that systemd writes the same limits as we do.
///
/// # Errors
/// systemd refuses, or cannot be reached.
pub(crate) fn change(unit: &UnitName, properties: Vec<Property>) -> Result<(), Broken> {
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = Bus::connect(unit.manager).map_err(broken)?;
    set(&mut bus, &unit.name, properties).map_err(broken)
}

fn set(bus: &mut Bus, name: &str, mut properties: Vec<Property>) -> Result<(), Trouble> {
    const RUNTIME: bool = true;
    while !properties.is_empty() {
        let arguments = Arguments::default().text(name).flag(RUNTIME).properties(&properties);
        let Err(trouble) = bus.call("SetUnitProperties", &arguments) else { break };
        properties = without_unknown(properties, trouble)?;
    }
    Ok(())
}

/// What is left to try if systemd has refused one of `properties` that it can do without.
fn without_unknown(mut properties: Vec<Property>, trouble: Trouble) -> Result<Vec<Property>, Trouble> {
    let Some(i) = unknown(&trouble, &properties) else { return Err(trouble) };
    let dropped = properties.remove(i);
    tracing::debug!(property = dropped.name, "this systemd does not know it; the cgroup's files say it");
    Ok(properties)
}

/// Which of `properties` systemd does not know and can do without.
fn unknown(trouble: &Trouble, properties: &[Property]) -> Option<usize> {
    let Trouble::Refused { name, says } = trouble else { return None };
    // "Cannot set property AllowedCPUs, or unknown property."
    if !name.ends_with(".PropertyReadOnly") {
        return None;
    }
    let words: Vec<&str> = says.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    properties.iter().position(|property| property.optional && words.contains(&property.name.as_str()))
}

/// Has systemd stop the unit, which removes it. That there is none is no error: it goes by itself with its last
/// process.
///
/// # Errors
/// What systemd says.
pub(crate) fn stop(unit: &UnitName) -> Result<(), String> {
    let name = unit.name.as_str();
    let arguments = Arguments::default().text(name).text(MODE);
    let stopped = Bus::connect(unit.manager).and_then(|mut bus| bus.run_job("StopUnit", name, &arguments));
    match stopped {
        Err(trouble) if trouble.is("NoSuchUnit") => Ok(()),
        other => other.map_err(|trouble| trouble.to_string()),
    }
}

fn broken(trouble: Trouble) -> Broken {
    let call = match &trouble {
        Trouble::Unreachable(_) => Call::Connect,
        Trouble::Late => Call::TimedOut,
        _ => Call::Recv,
    };
    let mut says = trouble.to_string();
    if trouble.is("UnitExists") {
        says.push_str("; another container of this name may run: systemctl status shows its processes");
    }
    found(says, call)
}

fn found(says: String, call: Call) -> Broken {
    let stop = Stop::new(call, Errno::EIO);
    Broken { failure: Failure { step: Step::Unit, stop }, because: Because::Found(says) }
}

#[cfg(test)]
mod tests;
