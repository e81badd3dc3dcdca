//! The forms in which the kernel writes numbers.

use std::collections::BTreeMap;

use super::{BlkioEntry, NetworkInterface, Pressure, PressureLine, Read};

/// One number; `max` is the greatest.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

/// The number in a file; 0 if there is none.
pub(super) fn count(read: Read<'_>, file: &str) -> u64 {
    read(file).and_then(|text| number(&text)).unwrap_or_default()
}

/// Lines such as `oom_kill 3`. What reads otherwise is left out.
pub(crate) fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.trim().rsplit_once(char::is_whitespace)?;
        Some((key.trim().to_owned(), number(value)?))
    };
    text.lines().filter_map(pair).collect()
}

/// Numbers in a row.
pub(super) fn row(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(number).collect()
}

/// A list such as `0-3,8`. One that is longer than any machine is no list.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; none if there is no such line.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut known = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let values = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *values = pressure_line(words);
        known = true;
    }
    known.then_some(pressure)
}

fn pressure_line<'t>(words: impl Iterator<Item = &'t str>) -> PressureLine {
    let mut line = PressureLine::default();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let average = || value.parse().ok().filter(|number: &f64| number.is_finite()).unwrap_or_default();
        match key {
            "avg10" => line.avg10 = average(),
            "avg60" => line.avg60 = average(),
            "avg300" => line.avg300 = average(),
            "total" => line.total = number(value).unwrap_or_default(),
            _ => {}
        }
    }
    line
}

/// `8:16` as major and minor.
pub(super) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines such as `8:16 Read 4096`, or without the word. The sum at the end belongs to no device.
pub(super) fn per_device(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (at, op, value) = match words[..] {
            [at, value] => (at, "", value),
            [at, op, value] => (at, op, value),
            _ => return None,
        };
        let (major, minor) = device(at)?;
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: number(value)? })
    };
    text.lines().filter_map(entry).collect()
}

/// Lines such as `mlx5_0 hca_handle=2 hca_object=max`: what is before the numbers, and these by name.
pub(super) fn named(text: &str) -> impl Iterator<Item = (&str, BTreeMap<&str, u64>)> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(' ')?;
        let pairs = rest.split_whitespace().filter_map(|word| word.split_once('='));
        Some((name, pairs.filter_map(|(key, value)| Some((key, number(value)?))).collect()))
    })
}

/// /proc/PID/net/dev, without `lo`. See proc_pid_net(5).
pub(crate) fn interfaces(text: &str) -> Vec<NetworkInterface> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers = row(numbers);
        let at = |i: usize| numbers.get(i).copied();
        Some(NetworkInterface {
            name: name.trim().to_owned(),
            rx_bytes: at(0)?,
            rx_packets: at(1)?,
            rx_errors: at(2)?,
            rx_dropped: at(3)?,
            tx_bytes: at(8)?,
            tx_packets: at(9)?,
            tx_errors: at(10)?,
            tx_dropped: at(11)?,
        })
    };
    text.lines().filter_map(interface).filter(|interface| interface.name != "lo").collect()
}
