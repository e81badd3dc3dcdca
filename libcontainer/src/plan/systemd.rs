//! The unit that systemd makes for a container: its name, where its cgroup is, and its properties. Pure.
//!
//! Used with `--systemd-cgroup` only. The limits are those of the cgroup's files, said twice: systemd writes its
//! own again whenever it is told to reload, so it has to know the same.

mod annotations;
pub mod properties;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Choices;
use super::cgroup::Cgroup;
use super::devices::DeviceRule;
use super::facts::{Facts, SystemdFacts};
use super::invalid::Findings;
pub use annotations::PREFIX as ANNOTATIONS;
pub use value::Value;

const AT: &str = "/linux/cgroupsPath";
const SPEC: &str = "config-linux.md#cgroups-path";
/// What the names of units begin with if the config gives none.
const PREFIX: &str = "ketch";
/// The longest name of a unit (`UNIT_NAME_MAX` of systemd, without its NUL).
const NAME_MAX: usize = 255;

/// A scope or slice of systemd's, as it is going to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Its name, and who makes it.
    #[serde(flatten)]
    pub name: UnitName,
    /// Its cgroup, below each hierarchy's mount. The container's is that one, or below it.
    pub cgroup: String,
    /// What it is to be like, in the order in which it is said.
    pub properties: Vec<Property>,
}

/// A unit by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitName {
    /// As in `ketch-box.scope`.
    pub name: String,
    /// The instance of systemd that it belongs to.
    pub manager: Manager,
}

impl UnitName {
    /// It is a slice: a place for other units, that systemd puts no process into.
    #[must_use]
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// The way from the unit's cgroup to `path`, as in `/payload`, or nothing for the unit's own; `None` if `path` is
    /// not of this unit.
    #[must_use]
    pub fn way_to<'a>(&self, path: &'a str) -> Option<&'a str> {
        let own = format!("/{}", cgroup_name(&self.name));
        let behind = path.match_indices(&own).filter_map(|(at, _)| path.get(at + own.len()..));
        behind.into_iter().find(|way| way.is_empty() || way.starts_with('/'))
    }
}

/// An instance of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// The host's.
    System,
    /// That of the user who calls the runtime.
    User,
}

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    /// Its name on the bus.
    pub name: String,
    /// What it is to be.
    pub value: Value,
    /// What of the config asks for it, as a JSON pointer; empty if it is the driver's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// A systemd that does not know it can do without: the files say the same.
    #[serde(skip)]
    pub optional: bool,
}

impl Property {
    /// The driver's own.
    fn ours(name: &str, value: Value) -> Property {
        Property { name: name.into(), value, at: String::new(), optional: true }
    }

    /// What the config asks for.
    fn at(name: &str, value: Value, at: &str) -> Property {
        Property { name: name.into(), value, at: at.into(), optional: true }
    }

    /// What no unit can do without.
    fn required(name: &str, value: Value) -> Property {
        Property { optional: false, ..Property::ours(name, value) }
    }
}

/// Which unit, and where its cgroup is below each hierarchy's mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    name: UnitName,
    slice: String,
    pub(super) path: String,
}

/// Reads `asked`, a `slice:prefix:name`, each of which may be empty. `None`: something is wrong with it.
pub(super) fn place(asked: &str, choices: &Choices, facts: &Facts, findings: &mut Findings) -> Option<Place> {
    let Some(systemd) = &facts.systemd else {
        let says = "cannot be a unit of systemd, which does not run on this host; leave --systemd-cgroup out";
        findings.error(AT, says, SPEC);
        return None;
    };
    let placed = read(asked, &choices.id, systemd);
    placed.map_err(|says| findings.error(AT, says, SPEC)).ok()
}

fn read(asked: &str, id: &str, systemd: &SystemdFacts) -> Result<Place, String> {
    let parts: Vec<&str> = asked.split(':').collect();
    let (slice, prefix, name) = match parts.as_slice() {
        [""] => ("", PREFIX, escape(id)),
        [slice, prefix, name] => (*slice, *prefix, (*name).to_owned()),
        _ => {
            return Err(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {asked:?} \
                 instead; name a unit, such as system.slice:ketch:box, or leave --systemd-cgroup out"
            ));
        }
    };
    let slice = match (slice, systemd.manager) {
        ("", Manager::System) => "system.slice",
        ("", Manager::User) => "user.slice",
        // The root slice, in short.
        ("-", _) => "-.slice",
        (slice, _) => slice,
    };
    let above = expand_slice(slice)?;
    if name.is_empty() {
        return Err("has no name behind its second colon; give one, such as system.slice:ketch:box".into());
    }
    let (unit, path) = if name.ends_with(".slice") {
        let inner = expand_slice(&name)?;
        let parent = inner.rsplit_once('/').map_or("", |(parent, _)| parent);
        if inner.is_empty() || (!asked.starts_with(':') && parent != above) {
            return Err(format!("has the slice {name}, which is not in {slice}: its name says where it is"));
        }
        (name, inner)
    } else {
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        let path = format!("{above}/{}", cgroup_name(&unit));
        (unit, path)
    };
    check_name(&unit)?;
    let path = format!("{}{path}", systemd.root.trim_end_matches('/'));
    let name = UnitName { name: unit, manager: systemd.manager };
    Ok(Place { name, slice: slice.to_owned(), path })
}

/// Where a slice is: `a-b.slice` is in `a.slice`. See systemd.slice(5).
fn expand_slice(slice: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("has the slice {slice:?}, {why}"));
    check_name(slice)?;
    let Some(stem) = slice.strip_suffix(".slice") else {
        return wrong("whose name has to end in .slice, as in machine.slice");
    };
    if stem == "-" {
        return Ok(String::new());
    }
    if stem.split('-').any(str::is_empty) {
        return wrong("in whose name a dash stands at an end or beside another one");
    }
    let ends = stem.char_indices().filter(|(_, c)| *c == '-').map(|(i, _)| i).chain([stem.len()]);
    let names = ends.filter_map(|end| stem.get(..end)).map(|name| cgroup_name(&format!("{name}.slice")));
    Ok(names.map(|name| format!("/{name}")).collect())
}

/// Signs that the name of a unit may have. See systemd.unit(5).
fn is_of_unit(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_.\\@".contains(c)
}

fn check_name(unit: &str) -> Result<(), String> {
    if unit.len() > NAME_MAX {
        return Err(format!(
            "makes the unit's name {} bytes long, and systemd takes 255; shorten it",
            unit.len()
        ));
    }
    match unit.chars().find(|c| !is_of_unit(*c)) {
        Some(c) => Err(format!("has {c:?} in it, which no name of a unit can have; see systemd.unit(5)")),
        None => Ok(()),
    }
}

/// An id as part of a unit's name. An id may have a plus sign. See systemd-escape(1).
fn escape(id: &str) -> String {
    let sign = |c: char| if is_of_unit(c) { c.to_string() } else { format!("\\x{:02x}", u32::from(c)) };
    id.chars().map(sign).collect()
}

/// Beginnings of names that are the kernel's in a cgroup's directory, as far as systemd hands their controllers out.
const KERNELS: &[&str] =
    &["blkio.", "cgroup.", "cpu.", "cpuacct.", "cpuset.", "devices.", "io.", "memory.", "pids."];

/// The cgroup's name of a unit: systemd puts `_` before one that the kernel might take for its own.
fn cgroup_name(unit: &str) -> String {
    let taken = unit.starts_with(['_', '.']) || KERNELS.iter().any(|name| unit.starts_with(name));
    if taken { format!("_{unit}") } else { unit.to_owned() }
}

/// Decides the unit of a container whose `cgroup` is decided, with all device `rules` that hold in it.
pub(super) fn unit(
    place: Place,
    choices: &Choices,
    cgroup: &Cgroup,
    rules: Option<&[DeviceRule]>,
    annotations: Option<&HashMap<String, String>>,
    findings: &mut Findings,
) -> Unit {
    let mut properties =
        vec![Property::ours("Description", Value::text(format!("ketch container {}", choices.id)))];
    if place.name.is_slice() {
        // It is where its name says; to need the one above keeps that one there.
        properties.push(Property::required("Wants", Value::texts([place.slice.as_str()])));
    } else {
        properties.push(Property::required("Slice", Value::text(place.slice)));
        // What is below is ours: systemd hands all controllers down, and leaves alone what it did not make.
        properties.push(Property::required("Delegate", Value::Bool(true)));
    }
    properties.push(Property::required("DefaultDependencies", Value::Bool(false)));
    // Without it a unit whose processes were killed for memory stays, as failed.
    properties.push(Property::ours("CollectMode", Value::text("inactive-or-failed")));
    for accounting in ["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"] {
        properties.push(Property::ours(accounting, Value::Bool(true)));
    }
    properties.extend(properties::of_writes(&cgroup.writes));
    // Who lacks rights on the host has no device rules.
    properties.extend(rules.map(properties::of_devices).unwrap_or_default());
    if let Some(annotations) = annotations {
        annotations::add(annotations, &mut properties, findings);
    }
    Unit { name: place.name, cgroup: place.path, properties }
}
