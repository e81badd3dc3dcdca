//! Takes the samples: in each round every case once, in an order of its own, so that no runtime has the quiet
//! minutes.

use std::io::{self, IsTerminal, Write};

use crate::command::Watchdog;
use crate::items::{Case, Clock};
use crate::options::Options;
use crate::samples::Series;
use crate::stage::Stage;
use crate::sweep;

/// Measures all cases; the series are in their order. A first round fills the page cache and does not count.
pub(crate) fn run(options: &Options, cases: &[Case<'_>], stage: &Stage, watchdog: &Watchdog) -> Vec<Series> {
    let mut series = vec![Series::default(); cases.len()];
    let mut order: Vec<usize> = (0..cases.len()).collect();
    let mut random = Random(options.seed);
    for round in 0..=options.rounds {
        random.shuffle(&mut order);
        let clock = Clock { pause: options.pause.in_round(round), deadline: options.deadline };
        for &index in &order {
            sample(&cases[index], &mut series[index], stage, watchdog, clock);
        }
        if round == 0 {
            series.fill(Series::default());
        }
        progress(round, options.rounds);
    }
    series
}

fn sample(case: &Case<'_>, series: &mut Series, stage: &Stage, watchdog: &Watchdog, clock: Clock) {
    let outcome = case.measure(stage, watchdog, clock);
    // Also after a success: the container's process is ours to reap.
    sweep::end_children();
    match outcome {
        Ok(sample) => series.samples.push(sample),
        Err(failure) => {
            series.failures += 1;
            series.reason.get_or_insert_with(|| format!("{failure} {}", stage.complaint()));
            case.forget();
        }
    }
}

/// Shows somebody who waits that it goes on.
fn progress(round: u32, rounds: u32) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let end = if round == rounds { "\r\x1b[K" } else { "" };
        let _ = write!(stderr, "\rround {round} of {rounds}{end}");
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere for the same seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher and Yates. The remainder favours small numbers, by less than 2^-50 here.
    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.next() % bound).unwrap_or(last);
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let orders: Vec<Vec<u32>> = [7, 7, 8]
            .map(|seed| {
                let mut order: Vec<u32> = (0..50).collect();
                Random(seed).shuffle(&mut order);
                order
            })
            .to_vec();
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }

    #[test]
    fn a_shuffled_list_has_the_same_elements() {
        let mut order: Vec<u32> = (0..50).collect();
        Random(1).shuffle(&mut order);
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
