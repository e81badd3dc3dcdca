//! Changes limits of a container that exists, all of them or none. Runs in the runtime's process.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::cgroup::{read, write_value};
use super::{Because, Broken, rdt, systemd};
use crate::channel::Failure;
use crate::fault::Fault;
use crate::plan::facts::CgroupVersion;
use crate::plan::limits::Write;
use crate::plan::rdt::difference;
use crate::plan::step::Step;
use crate::plan::systemd::{UnitName, properties};
use crate::plan::update::{Update, agrees, is_about_the_same, restoring};
use crate::state::CgroupDirectory;
use crate::sys::{Call, Stop};

/// Where it is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The container's cgroup, in the order of the plan's hierarchies.
    pub(crate) directories: &'a [CgroupDirectory],
    /// Its resctrl group.
    pub(crate) resctrl: Option<&'a Path>,
    /// Its unit, if systemd has made the cgroup: it would write the old limits again some day.
    pub(crate) unit: Option<&'a UnitName>,
}

/// Writes everything, and looks whether it is so. What was there before is put back if anything fails.
///
/// # Errors
/// The kernel refuses a value, or holds another one afterwards.
pub(crate) fn apply(update: &Update, target: Target<'_>, fault: Fault) -> Result<(), Broken> {
    let mut undo = Undo::default();
    for (write, i) in update.writes.iter().zip(0..) {
        let Some(directory) = target.directories.get(usize::from(write.hierarchy)) else { continue };
        fault.attempt(Step::CgroupWrite(i), || undo.write(directory, write))?;
    }
    if let Some(group) = target.resctrl {
        change_schemata(update, group, &mut undo, fault)?;
    }
    if let Some(unit) = target.unit {
        fault.attempt(Step::Unit, || Ok(()))?;
        systemd::change(unit, properties::of_writes(&update.writes))?;
    }
    check(update, target, fault)?;
    undo.not();
    Ok(())
}

/// What was there before, for as long as it may have to be put back.
#[derive(Debug, Default)]
struct Undo(Vec<Before>);

#[derive(Debug)]
struct Before {
    path: PathBuf,
    value: String,
    /// It is a line to add to a resctrl group's schemata.
    is_line: bool,
}

impl Undo {
    /// Writes a file, and notes what it held.
    fn write(&mut self, directory: &CgroupDirectory, write: &Write) -> Result<(), Stop> {
        let path = directory.path.join(&write.file);
        let before = match read(&path) {
            Err(stop) if stop.is(Errno::ENOENT) && write.may_be_absent => return Ok(()),
            Err(stop) if stop.is(Errno::ENOENT) => return Err(Stop { call: Call::Open, ..stop }),
            // A file that cannot be read holds nothing.
            other => other.ok(),
        };
        let beside = beside(directory, write, before.as_deref());
        write_value(&path, &write.value)?;
        self.0.extend(beside);
        let value = before.map(|text| restoring(&write.file, &write.value, &text));
        self.0.extend(value.map(|value| Before { path, value, is_line: false }));
        Ok(())
    }

    fn not(mut self) {
        self.0.clear();
    }
}

/// What the kernel changes beside the file itself: an idle cgroup has the least weight, and when it is not idle any
/// more the default one.
fn beside(directory: &CgroupDirectory, write: &Write, before: Option<&str>) -> Option<Before> {
    if write.file != "cpu.idle" || before.map(str::trim) != Some("0") {
        return None;
    }
    let file = if directory.version == CgroupVersion::V1 { "cpu.shares" } else { "cpu.weight" };
    let path = directory.path.join(file);
    let value = read(&path).ok()?.trim().to_owned();
    Some(Before { path, value, is_line: false })
}

impl Drop for Undo {
    // The same way back: what the kernel took on the way there, it takes again.
    fn drop(&mut self) {
        for Before { path, value, is_line } in self.0.drain(..).rev() {
            let put_back = if is_line { rdt::add_line(&path, &value) } else { write_value(&path, &value) };
            if let Err(stop) = put_back {
                tracing::warn!(
                    "{}: {value:?}, which was there before, cannot be put back: {stop}",
                    path.display()
                );
            }
        }
    }
}

fn change_schemata(update: &Update, group: &Path, undo: &mut Undo, fault: Fault) -> Result<(), Broken> {
    let path = group.join("schemata");
    for (line, i) in update.schemata.iter().zip(0..) {
        let name = line.split(':').next().unwrap_or_default().trim();
        fault.attempt(Step::RdtSchema(i), || {
            let before = read(&path)?;
            rdt::add_line(&path, line)?;
            let lines = before.lines().filter(|old| old.split(':').next().is_some_and(|n| n.trim() == name));
            undo.0.extend(lines.rev().map(|old| Before {
                path: path.clone(),
                value: old.trim().to_owned(),
                is_line: true,
            }));
            Ok(())
        })?;
    }
    Ok(())
}

/// The kernel may take a value and hold another: a limit that is not in force is worse than an error.
fn check(update: &Update, target: Target<'_>, fault: Fault) -> Result<(), Broken> {
    for (at, i) in (0..update.writes.len()).zip(0..) {
        let Some((write, later)) = update.writes.get(at..).and_then(<[Write]>::split_first) else { break };
        let Some(directory) = target.directories.get(usize::from(write.hierarchy)) else { continue };
        if later.iter().any(|other| is_about_the_same(write, other)) {
            continue;
        }
        let Ok(text) = read(directory.path.join(&write.file)) else { continue };
        if !agrees(&write.file, &write.value, &text) {
            return Err(other_than(Step::CgroupWrite(i), &format!("{:?}", text.trim())));
        }
    }
    let Some(group) = target.resctrl.filter(|_| !update.schemata.is_empty()) else { return Ok(()) };
    let step = Step::RdtSchema(0);
    let text = fault.attempt(step, || read(group.join("schemata")))?;
    // Of a plain directory, which tests take for resctrl, the last line counts.
    let lines: Vec<_> = text.lines().rev().collect();
    match difference(&update.schemata, &lines.join("\n"), group.parent().and_then(rdt::granularity)) {
        None => Ok(()),
        Some(difference) => Err(other_than(step, &difference)),
    }
}

fn other_than(step: Step, held: &str) -> Broken {
    let failure = Failure { step, stop: Stop::new(Call::Write, Errno::EIO) };
    Broken { failure, because: Because::Found(format!("the kernel took it, and holds {held}")) }
}
