//! Limits of cpu time, and cpu sets. Pure.

use oci_spec::runtime::LinuxCpu;

use super::{CPU, CPUSET, Limits, Word, asked};

/// The range of `cpu.shares`; the kernel moves what is outside to its ends.
const SHARES: (u64, u64) = (2, 262_144);

/// Says what `cpu` asks for. Spec: config-linux.md#cpu.
pub(super) fn compile(cpu: &LinuxCpu, limits: &mut Limits) {
    idle_and_shares(cpu, limits);
    bandwidth(cpu, limits);
    realtime(cpu, limits);
    for (list, at, file) in [(cpu.cpus(), "cpu/cpus", "cpuset.cpus"), (cpu.mems(), "cpu/mems", "cpuset.mems")]
    {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            limits.say(&CPUSET, at, Word::write(file, list), Word::write(file, list));
        }
    }
}

/// An idle cgroup has the least weight there is, and the kernel refuses to give it another.
fn idle_and_shares(cpu: &LinuxCpu, limits: &mut Limits) {
    match cpu.idle() {
        None => {}
        // Linux < 5.15 has no idle cgroups, which is what 0 asks for.
        Some(0) => limits.say(&CPU, "cpu/idle", Word::maybe("cpu.idle", 0), Word::maybe("cpu.idle", 0)),
        Some(1) => limits.say(&CPU, "cpu/idle", Word::write("cpu.idle", 1), Word::write("cpu.idle", 1)),
        Some(other) => limits.error(&CPU, "cpu/idle", format!("{other} is neither 0 nor 1")),
    }
    let Some(shares) = asked(cpu.shares()) else { return };
    if cpu.idle() == Some(1) {
        return limits.warn(&CPU, "cpu/shares", "has no effect beside idle 1, which is the least share");
    }
    limits.say(
        &CPU,
        "cpu/shares",
        Word::write("cpu.shares", shares),
        Word::write("cpu.weight", weight_of_shares(shares)),
    );
}

/// The weight of version 2 for the shares of version 1.
///
/// Kubernetes, runc and crun agreed on a curve that takes the three points which matter to where they belong:
/// the least (2 to 1), the default (1024 to 100) and the most (262144 to 10000). In the logarithm of the shares
/// it is a parabola: weight = 10^((l² + 125 l) / 612 - 7/34), l = log2(shares), rounded up.
pub(super) fn weight_of_shares(shares: u64) -> u32 {
    let shares = shares.clamp(SHARES.0, SHARES.1);
    let l = u32::try_from(shares).map_or(1.0, f64::from).log2();
    let exact = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    // Rounding up must not turn 100.00000000000001 into 101.
    (1..=10_000).find(|weight| f64::from(*weight) >= exact - 1e-6).unwrap_or(10_000)
}

fn bandwidth(cpu: &LinuxCpu, limits: &mut Limits) {
    let (quota, period) = (asked(cpu.quota()), asked(cpu.period()));
    if let Some(period) = period {
        // In version 2 the period goes with the quota, unless there is none.
        let v2 =
            if quota.is_some() { Word::Needless } else { Word::write("cpu.max", format!("max {period}")) };
        limits.say(&CPU, "cpu/period", Word::write("cpu.cfs_period_us", period), v2);
    }
    if let Some(quota) = quota {
        let quota = quota.max(-1);
        let max = super::or_max(quota);
        // Without a period the kernel keeps the one it has: 100000 in a new cgroup.
        let max = period.map_or(max.clone(), |period| format!("{max} {period}"));
        limits.say(&CPU, "cpu/quota", Word::write("cpu.cfs_quota_us", quota), Word::write("cpu.max", max));
    }
    let Some(burst) = cpu.burst() else { return };
    if let Some(quota) = quota.and_then(|q| u64::try_from(q).ok())
        && burst > quota
    {
        return limits.error(&CPU, "cpu/burst", format!("{burst} is above the quota, {quota}; lower it"));
    }
    // Linux < 5.14 has no burst, which is what 0 asks for.
    let word = if burst == 0 { Word::maybe } else { Word::write };
    limits.say(&CPU, "cpu/burst", word("cpu.cfs_burst_us", burst), word("cpu.max.burst", burst));
}

/// nerdctl sends zeros for what is not asked, also to version 2, which has none of it.
fn realtime(cpu: &LinuxCpu, limits: &mut Limits) {
    if let Some(period) = asked(cpu.realtime_period()) {
        let v1 = Word::write("cpu.rt_period_us", period);
        limits.say(&CPU, "cpu/realtimePeriod", v1, Word::not_in_v2());
    }
    if let Some(runtime) = asked(cpu.realtime_runtime()) {
        let v1 = Word::write("cpu.rt_runtime_us", runtime);
        limits.say(&CPU, "cpu/realtimeRuntime", v1, Word::not_in_v2());
    }
}
