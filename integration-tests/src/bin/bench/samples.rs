//! The samples of one item on one runtime, and what is told of them.

use serde::Serialize;

/// What a runtime did in one item.
#[derive(Debug, Default, Clone)]
pub(crate) struct Series {
    /// One value for each success, in the order of the rounds.
    pub(crate) samples: Vec<f64>,
    /// How many commands failed.
    pub(crate) failures: u32,
    /// The first failure in words.
    pub(crate) reason: Option<String>,
}

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
        let median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0;
        let p90 = sorted[(count * 9).div_ceil(10) - 1];
        Some(Self { median, min, p90 })
    }
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
    fn one_sample_is_all_of_its_summary() {
        assert_eq!(Summary::of(&[3.0]), Some(Summary { median: 3.0, min: 3.0, p90: 3.0 }));
        assert_eq!(Summary::of(&[]), None);
    }
}
