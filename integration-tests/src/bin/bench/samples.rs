//! Arithmetic of samples: the shape of a series, ratios of two, and how far either can be trusted.

use serde::Serialize;

use crate::random::Random;

/// How often [`Ratio::of`] draws new series from the old ones.
const DRAWS: usize = 400;

/// The shape of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle sample, or the mean of the middle two.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The least that nine tenths of the samples do not exceed.
    pub(crate) p90: f64,
}

impl Summary {
    /// None if there are no samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, count) = (*sorted.first()?, sorted.len());
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        let p90 = sorted[(count * 9).div_ceil(10) - 1];
        Some(Self { median, min, p90 })
    }
}

/// One series as a multiple of another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Of the medians.
    pub(crate) median: f64,
    /// Of the least samples.
    pub(crate) min: f64,
    /// Where the ratio of medians is in nine of ten series drawn from these with repetition (the bootstrap).
    pub(crate) low: f64,
    /// The other end.
    pub(crate) high: f64,
}

impl Ratio {
    /// None if there are no samples, or if they are compared with zero.
    pub(crate) fn of(samples: &[f64], reference: &[f64]) -> Option<Self> {
        let (own, other) = (Summary::of(samples)?, Summary::of(reference)?);
        let mut random = Random(1);
        let drawn = (0..DRAWS)
            .filter_map(|_| Some(draw(samples, &mut random)?.median / draw(reference, &mut random)?.median));
        let mut drawn: Vec<f64> = drawn.collect();
        drawn.sort_by(f64::total_cmp);
        let ratio = Self {
            median: own.median / other.median,
            min: own.min / other.min,
            low: drawn[DRAWS / 20],
            high: drawn[DRAWS - 1 - DRAWS / 20],
        };
        (ratio.median.is_finite() && ratio.min.is_finite()).then_some(ratio)
    }
}

fn draw(samples: &[f64], random: &mut Random) -> Option<Summary> {
    let drawn: Vec<f64> = samples.iter().map(|_| samples[random.below(samples.len())]).collect();
    Summary::of(&drawn)
}

/// How far the medians of two halves of one series, every second sample each, are apart, as a part of the smaller
/// one. Whatever two runtimes differ by less than this, the machine can have done. None below six samples.
pub(crate) fn discord(samples: &[f64]) -> Option<f64> {
    let half = |first| samples.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
    let (one, other) = (Summary::of(&half(0))?.median, Summary::of(&half(1))?.median);
    let apart = one.max(other) / one.min(other) - 1.0;
    (samples.len() >= 6 && apart.is_finite()).then_some(apart)
}

/// What the JSON has: four digits after the point, as there is nothing behind them.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p90_of_ten_is_the_ninth() {
        let samples: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        assert_eq!(Summary::of(&samples), Some(Summary { median: 5.5, min: 1.0, p90: 9.0 }));
    }

    #[test]
    fn p90_of_eleven_is_the_tenth() {
        let samples: Vec<f64> = (1..=11).map(f64::from).collect();
        assert_eq!(Summary::of(&samples), Some(Summary { median: 6.0, min: 1.0, p90: 10.0 }));
    }

    #[test]
    fn one_sample_is_all_of_its_summary() {
        assert_eq!(Summary::of(&[3.0]), Some(Summary { median: 3.0, min: 3.0, p90: 3.0 }));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_ratio_is_of_medians_and_of_minima() {
        let ratio = Ratio::of(&[4.0, 2.0, 6.0], &[8.0, 1.0, 9.0]).unwrap();
        assert_eq!((ratio.median, ratio.min), (0.5, 2.0));
        assert!(ratio.low <= ratio.median && ratio.median <= ratio.high, "{ratio:?}");
    }

    #[test]
    fn steady_series_have_a_sure_ratio_and_wild_ones_do_not() {
        let steady = Ratio::of(&[2.0; 20], &[1.0; 20]).unwrap();
        assert_eq!((steady.low, steady.high), (2.0, 2.0));
        let wild: Vec<f64> = (0..20).map(|number| if number % 2 == 0 { 1.0 } else { 9.0 }).collect();
        let unsure = Ratio::of(&wild, &[1.0; 20]).unwrap();
        assert!(unsure.high - unsure.low > 3.0, "{unsure:?}");
    }

    #[test]
    fn nothing_is_a_multiple_of_zero_or_of_nothing() {
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
        assert_eq!(Ratio::of(&[1.0], &[]), None);
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }

    #[test]
    fn halves_of_a_series_that_do_not_agree_are_told() {
        assert_eq!(discord(&[1.0; 8]), Some(0.0));
        assert_eq!(discord(&[1.0, 1.5].repeat(4)), Some(0.5));
        assert_eq!(discord(&[1.0; 5]), None);
    }
}
