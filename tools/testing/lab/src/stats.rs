// SPDX-License-Identifier: GPL-2.0
//! What many measurements come to.

use serde::Serialize;

/// Middle value, or the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_by(f64::total_cmp);
    let at = |i: usize| v.get(i).copied().unwrap_or_default();
    if v.len() % 2 == 1 {
        at(v.len() / 2)
    } else {
        (at((v.len() / 2).saturating_sub(1)) + at(v.len() / 2)) / 2.0
    }
}

/// Middle and spread of one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Middle.
    pub median: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Sums them up; 0 where there are none.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            min: values.clone().reduce(f64::min).unwrap_or_default(),
            median: median(values.clone()),
            max: values.reduce(f64::max).unwrap_or_default(),
        }
    }
}

/// Percentiles of one figure, each a value that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranks {
    /// Middle.
    pub median: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 90th percentile.
    pub p90: f64,
    /// Most.
    pub max: f64,
}

impl Ranks {
    /// Sums them up; `None` where there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // Nearest rank: no figure that was not measured.
        let rank = |percent: usize| values.get((last * percent + 50) / 100).copied();
        Some(Self {
            median: rank(50)?,
            p10: rank(10)?,
            p90: rank(90)?,
            max: rank(100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn ranks_are_values_that_were_measured() {
        let ranks = Ranks::of((0..=10).map(f64::from).collect()).expect("eleven values");
        assert_eq!(
            (ranks.p10, ranks.median, ranks.p90, ranks.max),
            (1.0, 5.0, 9.0, 10.0)
        );
        assert_eq!(Ranks::of(vec![]), None);
    }
}
