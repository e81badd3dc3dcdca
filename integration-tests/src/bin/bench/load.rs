//! What else the machine did: processor time of all against that of this process and its children.

use std::fs;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Processor times at one moment, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Of all processors, doing something or not.
    all: f64,
    /// Of them, doing something.
    busy: f64,
    /// Of this process and those that it, and they, have waited for.
    own: f64,
}

impl Load {
    /// Now. None if the kernel does not tell.
    pub(crate) fn now() -> Option<Self> {
        let (all, busy) = total(&fs::read_to_string("/proc/stat").ok()?)?;
        let own = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| getrusage(who).map(spent));
        Some(Self { all, busy, own: own[0].ok()? + own[1].ok()? })
    }

    /// The part of all processor time since then that others took, 0 to 1.
    pub(crate) fn others_since(&self) -> Option<f64> {
        self.others_until(&Self::now()?)
    }

    fn others_until(&self, now: &Self) -> Option<f64> {
        let others = (now.busy - self.busy - (now.own - self.own)) / (now.all - self.all);
        others.is_finite().then(|| others.clamp(0.0, 1.0))
    }
}

fn spent(usage: Usage) -> f64 {
    let seconds = |time: TimeVal| Some(f64::from(u32::try_from(time.tv_sec()).ok()?) + micros(time)?);
    let micros_sum = seconds(usage.user_time()).zip(seconds(usage.system_time()));
    micros_sum.map_or(0.0, |(user, system)| user + system)
}

fn micros(time: TimeVal) -> Option<f64> {
    Some(f64::from(u32::try_from(time.tv_usec()).ok()?) / 1e6)
}

/// All and busy, from the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in
/// hundredths of a second. See proc_stat(5).
fn total(stat: &str) -> Option<(f64, f64)> {
    let words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times: Vec<f64> = words.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let all: f64 = times.iter().sum();
    Some((all / 100.0, (all - times.get(3)? - times.get(4)?) / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_is_not_busy() {
        assert_eq!(total("cpu  100 100 100 400 100 0 0 200 0 0\ncpu0 1 2\n"), Some((10.0, 5.0)));
        assert_eq!(total("cpu0 1 2"), None);
    }

    #[test]
    fn others_are_what_is_busy_and_not_own() {
        let before = Load { all: 0.0, busy: 0.0, own: 0.0 };
        let now = Load { all: 10.0, busy: 8.0, own: 3.0 };
        assert_eq!(before.others_until(&now), Some(0.5));
        assert_eq!(before.others_until(&before), None);
    }
}
