//! Weights and rates of block devices. Pure.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::{BLOCK_IO, Limits, Word, asked};

/// Says what `blockIO` asks for. Spec: config-linux.md#block-io.
pub(super) fn compile(block_io: &LinuxBlockIo, limits: &mut Limits) {
    weight(block_io.weight(), "blockIO/weight", "", limits);
    leaf_weight(block_io.leaf_weight(), "blockIO/leafWeight", "blkio.leaf_weight", "", limits);
    for (i, device) in block_io.weight_device().iter().flatten().enumerate() {
        weight_device(device, &format!("blockIO/weightDevice/{i}"), limits);
    }
    let rates = [
        (block_io.throttle_read_bps_device(), "throttleReadBpsDevice", "read_bps", "rbps"),
        (block_io.throttle_write_bps_device(), "throttleWriteBpsDevice", "write_bps", "wbps"),
        (block_io.throttle_read_iops_device(), "throttleReadIOPSDevice", "read_iops", "riops"),
        (block_io.throttle_write_iops_device(), "throttleWriteIOPSDevice", "write_iops", "wiops"),
    ];
    for (devices, name, v1, v2) in rates {
        for (i, device) in devices.iter().flatten().enumerate() {
            throttle(device, &format!("blockIO/{name}/{i}"), v1, v2, limits);
        }
    }
}

/// A weight for every device, or for the one whose numbers are in `device`, as in `8:0 `.
fn weight(value: Option<u16>, at: &str, device: &str, limits: &mut Limits) {
    let Some(value) = asked(value) else { return };
    let Some(io_weight) = io_weight(value, at, limits) else { return };
    // Linux 5.0 dropped `blkio.weight` with its scheduler: BFQ's is the one there is.
    let file = if device.is_empty() { "blkio.bfq.weight" } else { "blkio.bfq.weight_device" };
    let v1 = Word::write(file, format!("{device}{value}"));
    // Whichever policy is in force on the disk reads its own file: BFQ if its module is there, or io.cost.
    limits.say(&BLOCK_IO, at, Word::Needless, Word::maybe("io.bfq.weight", format!("{device}{value}")));
    limits.say(&BLOCK_IO, at, v1, Word::write("io.weight", format!("{device}{io_weight}")));
}

/// The weight of version 2, 1 to 10000, for the one of the specification, 10 to 1000.
fn io_weight(value: u16, at: &str, limits: &mut Limits) -> Option<u32> {
    if !(10..=1000).contains(&value) {
        limits.error(&BLOCK_IO, at, format!("{value} is not between 10 and 1000"));
        return None;
    }
    Some(u32::from(value).saturating_sub(10) * 9999 / 990 + 1)
}

/// Only the CFQ scheduler knew it, in version 1 and before Linux 5.0.
fn leaf_weight(value: Option<u16>, at: &str, file: &str, device: &str, limits: &mut Limits) {
    if let Some(value) = asked(value) {
        limits.say(&BLOCK_IO, at, Word::write(file, format!("{device}{value}")), Word::not_in_v2());
    }
}

fn weight_device(device: &LinuxWeightDevice, at: &str, limits: &mut Limits) {
    let numbers = numbers(device.major(), device.minor(), at, limits).unwrap_or_default();
    if device.weight().is_none() && device.leaf_weight().is_none() {
        return limits.error(&BLOCK_IO, at, "has neither weight nor leafWeight; give at least one");
    }
    let prefix = format!("{numbers} ");
    weight(device.weight(), &format!("{at}/weight"), &prefix, limits);
    let file = "blkio.leaf_weight_device";
    leaf_weight(device.leaf_weight(), &format!("{at}/leafWeight"), file, &prefix, limits);
}

fn throttle(device: &LinuxThrottleDevice, at: &str, v1: &str, v2: &str, limits: &mut Limits) {
    let Some(numbers) = numbers(device.major(), device.minor(), at, limits) else { return };
    let rate = device.rate();
    // In version 1 a rate of 0 lifts the limit; version 2 has a word for that.
    let max = if rate == 0 { "max".into() } else { rate.to_string() };
    limits.say(
        &BLOCK_IO,
        at,
        Word::write(format!("blkio.throttle.{v1}_device"), format!("{numbers} {rate}")),
        Word::write("io.max", format!("{numbers} {v2}={max}")),
    );
}

fn numbers(major: i64, minor: i64, at: &str, limits: &mut Limits) -> Option<String> {
    if let (Ok(major), Ok(minor)) = (u32::try_from(major), u32::try_from(minor)) {
        return Some(format!("{major}:{minor}"));
    }
    limits.error(&BLOCK_IO, at, format!("{major}:{minor} are no device numbers"));
    None
}
