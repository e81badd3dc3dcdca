//! What files of cgroups hold: how to put it back, and whether it is what was written. Pure.
//!
//! See Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel for the forms.

use std::collections::BTreeSet;

use crate::plan::limits::Write;

/// The largest page that Linux has: a limit of memory is rounded down to pages.
const PAGE: u64 = 64 << 10;

/// Files with a line for each of several things, which is named by its first word. Those of block devices are
/// recognized by the word itself.
const KEYED: &[&str] = &["rdma.max", "misc.max", "net_prio.ifpriomap"];

/// What of a file the value is about, if not all of it: the first word of a line.
fn key<'a>(file: &str, value: &'a str) -> Option<&'a str> {
    let first = value.split_whitespace().next()?;
    let is_device = first.split_once(':').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    });
    (is_device || KEYED.contains(&file)).then_some(first)
}

/// The line of this key, without the key.
fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    lines.find(|(first, _)| *first == key).map(|(_, rest)| rest.trim())
}

/// What is held beside other things, where the file has a line or a name for it.
fn own<'a>(file: &str, text: &'a str) -> &'a str {
    match file {
        "memory.oom_control" => line(text, "oom_kill_disable").unwrap_or("0"),
        // The weight of all devices that have none of their own.
        _ if file.ends_with("weight") => line(text, "default").unwrap_or(text).trim(),
        _ => text.trim(),
    }
}

/// Whether the later write says something else about what the earlier one was about.
pub(crate) fn is_about_the_same(one: &Write, other: &Write) -> bool {
    (one.hierarchy, &one.file) == (other.hierarchy, &other.file)
        && key(&one.file, &one.value) == key(&other.file, &other.value)
}

/// The value that puts a file back that holds `text` now, as far as writing `value` changes it.
pub(crate) fn restoring(file: &str, value: &str, text: &str) -> String {
    let Some(key) = key(file, value) else { return own(file, text).to_owned() };
    match line(text, key) {
        Some(held) => format!("{key} {held}"),
        // Not listed: without a limit.
        None => format!("{key} {}", unlisted(file)),
    }
}

fn unlisted(file: &str) -> &'static str {
    match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.latency" => "target=0",
        "rdma.max" => "hca_handle=max hca_object=max",
        "misc.max" => "max",
        _ if file.contains("weight") => "default",
        _ => "0",
    }
}

/// Whether a file that holds `text` says what was written as `value`, as far as both can be understood.
pub(crate) fn agrees(file: &str, value: &str, text: &str) -> bool {
    // Linux >= 5.16 takes it and does nothing, of which there is a warning.
    if file == "memory.kmem.limit_in_bytes" {
        return true;
    }
    let Some(key) = key(file, value) else { return is_same(file, value.trim(), own(file, text)) };
    let wanted = value.split_whitespace().skip(1);
    match line(text, key) {
        Some(held) => {
            let held: Vec<_> = held.split_whitespace().collect();
            wanted.into_iter().all(|word| held.contains(&word) || !is_plain(word))
        }
        None => wanted.into_iter().all(|word| {
            matches!(word.rsplit_once('=').map_or(word, |(_, limit)| limit), "max" | "0" | "default")
                || !is_plain(word)
        }),
    }
}

/// A number, or a word of the kernel's: nothing with a unit, or in another base.
fn is_plain(word: &str) -> bool {
    let value = word.rsplit_once('=').map_or(word, |(_, value)| value);
    value == "max" || value.parse::<i64>().is_ok()
}

fn is_same(file: &str, wanted: &str, held: &str) -> bool {
    match file {
        "cpu.max" => {
            let mut words = held.split_whitespace();
            wanted.split_whitespace().all(|word| words.next() == Some(word) || !is_plain(word))
        }
        "cpuset.cpus" | "cpuset.mems" => match (set(wanted), set(held)) {
            (Some(wanted), Some(held)) => wanted == held,
            _ => true,
        },
        _ if is_unlimited(wanted) || is_unlimited(held) => {
            is_unlimited(wanted) == is_unlimited(held) || !is_plain(wanted)
        }
        _ => match (wanted.parse::<u64>(), held.parse::<u64>()) {
            // The kernel moves what is outside of the range to its ends.
            (Ok(wanted), Ok(held)) if file == "cpu.shares" => wanted.clamp(2, 262_144) == held,
            (Ok(wanted), Ok(held)) => held <= wanted && wanted - held < unit(file),
            _ => true,
        },
    }
}

/// To how much the kernel rounds down.
fn unit(file: &str) -> u64 {
    match file.split_once('.') {
        Some(("memory", "swappiness" | "use_hierarchy" | "oom_control" | "oom.group")) => 1,
        Some(("memory", _)) => PAGE,
        // As in hugetlb.2MB.max.
        Some(("hugetlb", rest)) => rest.split('.').next().and_then(size).unwrap_or(1),
        _ => 1,
    }
}

fn size(name: &str) -> Option<u64> {
    let units = [("KB", 10), ("MB", 20), ("GB", 30)];
    units.iter().find_map(|(unit, shift)| Some(name.strip_suffix(unit)?.parse::<u64>().ok()? << shift))
}

/// A limit that is none. Version 1 shows the most pages that a counter can count.
pub(super) fn is_unlimited(text: &str) -> bool {
    const MOST: u64 = i64::MAX.unsigned_abs() - PAGE;
    text == "max" || text == "-1" || text.parse::<u64>().is_ok_and(|number| number >= MOST)
}

/// The numbers of a list such as `0-2,7`.
fn set(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        // More than any machine has: what the kernel makes of it is its business.
        if last.checked_sub(first)? > 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}
