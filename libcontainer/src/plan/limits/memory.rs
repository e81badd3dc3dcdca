//! Limits of memory and swap. Pure.

use oci_spec::runtime::LinuxMemory;

use super::{Limits, MEMORY, Word, asked, or_max};

/// Linux takes a swappiness of 0 to 100 for a cgroup.
const MAX_SWAPPINESS: u64 = 100;

/// Says what `memory` asks for. Spec: config-linux.md#memory.
pub(super) fn compile(memory: &LinuxMemory, limits: &mut Limits) {
    // Whether memory is charged to parents is decided before there is any.
    if let Some(on) = memory.use_hierarchy() {
        // Version 2 is always hierarchical, and `false` is what clients send who mean nothing by it.
        limits.say(
            &MEMORY,
            "memory/useHierarchy",
            Word::write("memory.use_hierarchy", u8::from(on)),
            Word::Needless,
        );
    }
    limit_and_swap(memory, limits);
    if let Some(reservation) = bytes(memory.reservation(), "memory/reservation", limits) {
        limits.say(
            &MEMORY,
            "memory/reservation",
            Word::write("memory.soft_limit_in_bytes", reservation),
            Word::write("memory.low", or_max(reservation)),
        );
    }
    kernel(memory, limits);
    swappiness(memory, limits);
    // `false` is the default of every cgroup, and Docker sends it to hosts of both versions.
    if memory.disable_oom_killer() == Some(true) {
        limits.say(
            &MEMORY,
            "memory/disableOOMKiller",
            Word::write("memory.oom_control", 1),
            Word::not_in_v2(),
        );
    }
}

/// `swap` counts memory and swap together, as version 1 does; version 2 has a file for swap alone.
fn limit_and_swap(memory: &LinuxMemory, limits: &mut Limits) {
    let limit = bytes(memory.limit(), "memory/limit", limits);
    let swap = bytes(memory.swap(), "memory/swap", limits);
    if let (Some(limit), Some(swap @ 0..)) = (limit, swap)
        && swap < limit
    {
        let says = format!(
            "{swap} is below the memory limit, {limit}: it limits memory and swap together. \
             Set it to {limit} for no swap, or to -1 for as much as there is"
        );
        return limits.error(&MEMORY, "memory/swap", says);
    }
    // Version 1 refuses a memory limit above the one of memory and swap, and the other way round. To raise the
    // latter out of the way first is right whatever the cgroup had before.
    let unlimited = limit == Some(-1);
    if swap.is_some() || unlimited {
        let at = if swap.is_some() { "memory/swap" } else { "memory/limit" };
        let raise = if swap.is_some() { Word::write } else { Word::maybe };
        limits.say(&MEMORY, at, raise("memory.memsw.limit_in_bytes", -1), Word::Needless);
    }
    if let Some(limit) = limit {
        limits.say(
            &MEMORY,
            "memory/limit",
            Word::write("memory.limit_in_bytes", limit),
            Word::write("memory.max", or_max(limit)),
        );
    }
    match swap {
        Some(swap) => {
            let v1 = if swap < 0 { Word::Needless } else { Word::write("memory.memsw.limit_in_bytes", swap) };
            limits.say(&MEMORY, "memory/swap", v1, swap_alone(swap, limit));
        }
        // Without a limit of memory there is none of both; without swap accounting there is none anyway.
        None if unlimited => {
            limits.say(&MEMORY, "memory/limit", Word::Needless, Word::maybe("memory.swap.max", "max"));
        }
        None => {}
    }
}

/// What `memory.swap.max` is for a limit of memory and swap. Zero is written: it means no swap.
fn swap_alone(swap: i64, limit: Option<i64>) -> Word {
    match limit {
        _ if swap < 0 => Word::maybe("memory.swap.max", "max"),
        Some(limit @ 0..) => Word::write("memory.swap.max", swap.saturating_sub(limit)),
        _ => Word::Refused(
            "limits memory and swap together, which cgroup version 2 cannot without a memory limit; \
             set limit too"
                .into(),
        ),
    }
}

/// The two limits of kernel memory, which the specification does not recommend.
fn kernel(memory: &LinuxMemory, limits: &mut Limits) {
    // "Unlimited" is true of version 2 as it is.
    let v2 = |value: i64| if value < 0 { Word::Needless } else { Word::not_in_v2() };
    #[allow(deprecated, reason = "deprecated, yet part of the specification: refused where it has no effect")]
    let kernel = memory.kernel();
    if let Some(value) = bytes(kernel, "memory/kernel", limits) {
        // Linux >= 5.16 takes no write of it, not even of "unlimited", which it is.
        let v1 = if value < 0 {
            Word::Needless
        } else {
            limits.warn(&MEMORY, "memory/kernel", "is deprecated; Linux 5.16 and later do not enforce it");
            Word::maybe("memory.kmem.limit_in_bytes", value)
        };
        limits.say(&MEMORY, "memory/kernel", v1, v2(value));
    }
    if let Some(value) = bytes(memory.kernel_tcp(), "memory/kernelTCP", limits) {
        let v1 = Word::write("memory.kmem.tcp.limit_in_bytes", value);
        limits.say(&MEMORY, "memory/kernelTCP", v1, v2(value));
    }
}

fn swappiness(memory: &LinuxMemory, limits: &mut Limits) {
    const AT: &str = "memory/swappiness";
    match memory.swappiness() {
        // Docker's command line says -1 for "not set", which arrives here without its sign.
        None | Some(u64::MAX) => {}
        Some(value @ ..=MAX_SWAPPINESS) => {
            let v2 = if value == 0 { Word::Needless } else { Word::not_in_v2() };
            limits.say(&MEMORY, AT, Word::write("memory.swappiness", value), v2);
        }
        Some(value) => limits.error(&MEMORY, AT, format!("{value} is not between 0 and {MAX_SWAPPINESS}")),
    }
}

/// A number of bytes, or -1 for no limit.
fn bytes(value: Option<i64>, at: &str, limits: &mut Limits) -> Option<i64> {
    let value = asked(value)?;
    if value < -1 {
        limits.error(&MEMORY, at, format!("{value} is neither a number of bytes nor -1 for no limit"));
        return None;
    }
    Some(value)
}
