//! Limits in systemd's words, so that it writes the same into a cgroup's files as we do. Pure.

use super::{Property, Value};
use crate::plan::devices::{Access, DeviceKind, DeviceRule};
use crate::plan::limits::Write;

/// "No limit", as every property of a limit says it.
const INFINITY: u64 = u64::MAX;
/// The period of a new cgroup, in microseconds.
const PERIOD: u64 = 100_000;
/// Microseconds of a second.
const SECOND: u64 = 1_000_000;
/// A hundredth of it.
const PERCENT: u64 = SECOND / 100;

/// Files that are one number, or `max`, in the property as in the file.
const NUMBERS: &[(&str, &str)] = &[
    ("cpu.weight", "CPUWeight"),
    ("memory.min", "MemoryMin"),
    ("memory.low", "MemoryLow"),
    ("memory.high", "MemoryHigh"),
    ("memory.max", "MemoryMax"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.zswap.max", "MemoryZSwapMax"),
    ("pids.max", "TasksMax"),
    // Version 1.
    ("cpu.shares", "CPUShares"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("blkio.weight", "BlockIOWeight"),
];

/// Properties that systemd refuses to be zero. Of tasks one is as good as none: it is there by then.
const AT_LEAST_ONE: &[&str] = &["MemoryHigh", "MemoryMax", "TasksMax"];

/// Keys of `io.max`.
const RATES: &[(&str, &str)] = &[
    ("rbps", "IOReadBandwidthMax"),
    ("wbps", "IOWriteBandwidthMax"),
    ("riops", "IOReadIOPSMax"),
    ("wiops", "IOWriteIOPSMax"),
];

/// The properties for what is written into the cgroup's files. What systemd has no word for stays with the files.
#[must_use]
pub fn of_writes(writes: &[Write]) -> Vec<Property> {
    let mut properties = Properties::default();
    for write in writes {
        properties.write(write);
    }
    properties.bandwidth();
    properties.list
}

#[derive(Default)]
struct Properties {
    list: Vec<Property>,
    /// Microseconds of processor time for each period, and the period; and the place in the config.
    quota: Option<(u64, String)>,
    period: Option<(u64, String)>,
}

impl Properties {
    fn write(&mut self, write: &Write) {
        let (file, value, at) = (write.file.as_str(), write.value.as_str(), write.at.as_str());
        if let Some((_, name)) = NUMBERS.iter().find(|(known, _)| *known == file) {
            if let Some(number) = number(value) {
                let least = if AT_LEAST_ONE.contains(name) { 1 } else { 0 };
                self.set(name, Value::Uint64(number.max(least)), at);
            }
            return;
        }
        match file {
            "cpu.idle" if value == "1" => self.set("CPUWeight", Value::Uint64(0), at),
            "cpu.max" => {
                let mut words = value.split_whitespace();
                if let Some(quota) = words.next().and_then(number) {
                    self.quota = Some((quota, at.to_owned()));
                }
                if let Some(period) = words.next().and_then(number) {
                    self.period = Some((period, at.to_owned()));
                }
            }
            "cpu.cfs_quota_us" => self.quota = number(value).map(|quota| (quota, at.to_owned())),
            "cpu.cfs_period_us" => self.period = number(value).map(|period| (period, at.to_owned())),
            "cpuset.cpus" => self.mask("AllowedCPUs", value, at),
            "cpuset.mems" => self.mask("AllowedMemoryNodes", value, at),
            "io.weight" => match value.split_once(' ') {
                Some(("default", weight)) => self.weight(weight, at),
                Some((device, weight)) => self.device("IODeviceWeight", device, weight, at),
                None => self.weight(value, at),
            },
            "io.max" => {
                let (device, rates) = value.split_once(' ').unwrap_or_default();
                for (key, rate) in rates.split_whitespace().filter_map(|rate| rate.split_once('=')) {
                    if let Some((_, name)) = RATES.iter().find(|(known, _)| *known == key) {
                        self.device(name, device, rate, at);
                    }
                }
            }
            "memory.oom.group" => {
                let policy = if value == "1" { "kill" } else { "continue" };
                self.set("OOMPolicy", Value::text(policy), at);
            }
            _ => {}
        }
    }

    /// The last one that is said is the one that is in the file.
    fn set(&mut self, name: &str, value: Value, at: &str) {
        self.list.retain(|property| property.name != name);
        self.list.push(Property::at(name, value, at));
    }

    fn weight(&mut self, weight: &str, at: &str) {
        if let Some(weight) = number(weight) {
            self.set("IOWeight", Value::Uint64(weight), at);
        }
    }

    fn mask(&mut self, name: &str, list: &str, at: &str) {
        if let Some(mask) = mask(list) {
            self.set(name, Value::Array("y".into(), mask.into_iter().map(Value::Byte).collect()), at);
        }
    }

    /// One more device of a list.
    fn device(&mut self, name: &str, device: &str, value: &str, at: &str) {
        let Some(value) = number(value) else { return };
        let path = format!("/dev/block/{device}");
        let entry = Value::Struct(vec![Value::Text(path.clone()), Value::Uint64(value)]);
        let same = |entry: &Value| matches!(entry, Value::Struct(f) if f.first() == Some(&Value::Text(path.clone())));
        match self.list.iter_mut().find(|property| property.name == name) {
            Some(Property { value: Value::Array(_, entries), .. }) => {
                entries.retain(|entry| !same(entry));
                entries.push(entry);
            }
            _ => self.set(name, Value::Array("(st)".into(), vec![entry]), at),
        }
    }

    /// systemd counts the time of a second. It keeps it in whole percents before version 250, so that it is rounded
    /// up to one, as runc does: what systemd may write later is then never less than what was asked for.
    fn bandwidth(&mut self) {
        if let Some((quota, at)) = self.quota.take() {
            let period = self.period.as_ref().map_or(PERIOD, |(period, _)| *period).max(1);
            let of_second = match quota {
                INFINITY => INFINITY,
                quota => quota.saturating_mul(SECOND).div_ceil(period).next_multiple_of(PERCENT),
            };
            self.set("CPUQuotaPerSecUSec", Value::Uint64(of_second), &at);
        }
        if let Some((period, at)) = self.period.take() {
            self.set("CPUQuotaPeriodUSec", Value::Uint64(period), &at);
        }
    }
}

/// A number, or no limit: `max` in version 2, anything below zero in version 1. The kernel takes `1G` too.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" || text.starts_with('-') {
        return Some(INFINITY);
    }
    let units = [(['K', 'k'], 10), (['M', 'm'], 20), (['G', 'g'], 30), (['T', 't'], 40)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The highest number that a list may have: a mask of it is still small.
const HIGHEST: usize = 65_535;

/// A list such as `0-3,7` as a mask, least significant byte first. See cpuset(7), Formats.
fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last > HIGHEST {
            return None;
        }
        for bit in first..=last {
            if mask.len() <= bit / 8 {
                mask.resize(bit / 8 + 1, 0);
            }
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    (!mask.is_empty()).then_some(mask)
}

/// The device rules as systemd can say them: a list of what is allowed. It allows everything that the rules do, and
/// where they are finer than its words more: our own program is asked as well, and both have to agree.
pub(super) fn of_devices(rules: &[DeviceRule]) -> Vec<Property> {
    let policy = |word: &str| Property::ours("DevicePolicy", Value::text(word));
    let denies_first = rules.first().is_some_and(|rule| !rule.allow && rule.is_about_everything());
    if !denies_first {
        return vec![policy("auto")];
    }
    // systemd takes the last word about a device for the only one.
    let mut allowed: Vec<(String, u8)> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.allow) {
        let kinds: &[DeviceKind] = match &rule.kind {
            Some(kind) => std::slice::from_ref(kind),
            None => &[DeviceKind::Char, DeviceKind::Block],
        };
        for kind in kinds {
            let name = match kind {
                DeviceKind::Char => "char",
                DeviceKind::Block => "block",
            };
            let device = match (rule.major, rule.minor) {
                (Some(major), Some(minor)) => format!("/dev/{name}/{major}:{minor}"),
                (Some(major), None) => format!("{name}-{major}"),
                (None, _) => format!("{name}-*"),
            };
            match allowed.iter_mut().find(|(known, _)| *known == device) {
                Some((_, access)) => *access |= rule.access.0,
                None => allowed.push((device, rule.access.0)),
            }
        }
    }
    let entry =
        |(device, access)| Value::Struct(vec![Value::Text(device), Value::Text(letters(Access(access)))]);
    let allowed = allowed.into_iter().map(entry).collect();
    vec![policy("strict"), Property::ours("DeviceAllow", Value::Array("(ss)".into(), allowed))]
}

fn letters(access: Access) -> String {
    let all = [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')];
    all.iter().filter(|(bit, _)| access.0 & bit.0 != 0).map(|(_, letter)| *letter).collect()
}
