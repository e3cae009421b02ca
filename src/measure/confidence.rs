//! How far a percentile can be trusted: the 95 % interval between two order statistics.
//!
//! Of n independent samples, the number B that lie at or below the true q-quantile is binomial
//! (n, q), whatever the distribution. So the l-th smallest sample lies above it with probability
//! P(B < l), and the u-th at or below it with P(B ≥ u): the largest l and the smallest u at which
//! each of these is at most 2.5 % span an interval that misses it in at most 5 % of runs. The
//! binomial sums are exact; the usual ±1.96·√(nq(1−q)) would leave p99 of 368 samples open.
//!
//! **n is messages.** The N receivers of one message got it from the same wake-up of the same
//! server: they are one observation of how the system was doing, not N. The interval of the relay
//! percentiles is therefore as wide as with one receiver per message, though the percentile
//! itself is taken over all deliveries.
//!
//! Messages that follow each other closely are not independent either (one stall delays all that
//! fall into it), so the interval says what more messages of *this* run would change, not how
//! another run would differ: for that, run again and compare.

use hdrhistogram::Histogram;

use super::percentile::ERROR_A_SIDE;

/// Where the true percentile lies in 95 % of runs, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Its lower end.
    pub low_ns: u64,
    /// Its upper end.
    pub high_ns: u64,
}

/// The 95 % interval of `percentile` (0 to 100) of the samples in `histogram`, which stem from
/// `messages` independent messages; `None` if these do not bound it on both sides.
#[must_use]
pub fn range(histogram: &Histogram<u64>, percentile: f64, messages: u64) -> Option<Range> {
    // Messages beyond the number of samples were not measured.
    let messages = messages.min(histogram.len());
    let (low, high) = ranks(messages, percentile / 100.0)?;
    // The middle of the rank's share; with as many samples as messages, that very sample.
    let value = |rank: u64| {
        let quantile = (rank as f64 - 0.5) / messages as f64;
        histogram.value_at_quantile(quantile)
    };
    Some(Range {
        low_ns: histogram.lowest_equivalent(value(low)),
        high_ns: value(high),
    })
}

/// The ranks (1 to n) of the two order statistics that enclose the `q`-quantile; `None` if n is
/// too small for either.
fn ranks(n: u64, q: f64) -> Option<(u64, u64)> {
    if n == 0 || !(q > 0.0 && q < 1.0) {
        return None;
    }
    let odds = q / (1.0 - q);
    let mode = (((n + 1) as f64 * q) as u64).min(n);
    // P(B = b) for b around the mode, relative to the mode's: each is its neighbour's times a
    // ratio, until the rest is negligible.
    let below = walk(mode, |b| b as f64 / ((n - b + 1) as f64 * odds));
    let above = walk(n - mode, |to_go| {
        to_go as f64 * odds / (n - to_go + 1) as f64
    });
    let total: f64 = 1.0 + below.iter().sum::<f64>() + above.iter().sum::<f64>();
    let error = ERROR_A_SIDE * total;

    // The largest l with P(B < l) ≤ error: summed from the far end of the lower tail.
    let steps_down = steps_inside(&below, error);
    let low = mode - steps_down as u64;
    // The smallest u with P(B ≥ u) ≤ error.
    let steps_up = steps_inside(&above, error);
    let high = mode + steps_up as u64 + 1;
    (low >= 1 && high <= n).then_some((low, high))
}

/// The weights of the terms beside the mode, which is 1: the `i`-th is the one before it times
/// `ratio(count − i)`, at most `count` of them.
fn walk(count: u64, ratio: impl Fn(u64) -> f64) -> Vec<f64> {
    let mut weights = Vec::new();
    let mut weight = 1.0;
    for left in (1..=count).rev() {
        weight *= ratio(left);
        if weight < 1e-12 {
            break;
        }
        weights.push(weight);
    }
    weights
}

/// How many of `weights` (the nearest to the mode first) must stay inside, so that those outside
/// come to at most `error`.
fn steps_inside(weights: &[f64], error: f64) -> usize {
    let mut outside = 0.0;
    let mut inside = weights.len();
    for weight in weights.iter().rev() {
        outside += weight;
        if outside > error {
            break;
        }
        inside -= 1;
    }
    inside
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::measure::histogram;
    use crate::measure::percentile::min_samples;

    /// P(B ≤ b), by adding up all of it.
    fn cumulative(n: u64, q: f64, b: u64) -> f64 {
        let mut term = (1.0 - q).powi(n as i32);
        let mut sum = term;
        for i in 1..=b {
            term *= (n - i + 1) as f64 / i as f64 * q / (1.0 - q);
            sum += term;
        }
        sum
    }

    proptest! {
        #[test]
        fn the_ranks_are_the_narrowest_that_err_in_two_and_a_half_percent_a_side(
            n in 1u64..150, // beyond, the brute force above underflows
            q in 0.05..0.95f64,
        ) {
            let below = |l: u64| l.checked_sub(1).map_or(0.0, |b| cumulative(n, q, b));
            let low = (1..=n).rev().find(|&l| below(l) <= ERROR_A_SIDE);
            let high = (1..=n).find(|&u| 1.0 - below(u) <= ERROR_A_SIDE);
            prop_assert_eq!(ranks(n, q), low.zip(high));
        }

        /// A percentile is shown if and only if its interval is closed.
        #[test]
        fn there_is_an_interval_exactly_where_there_is_a_percentile(
            n in 1u64..5_000,
            percentile in prop::sample::select(vec![10.0, 50.0, 90.0, 99.0, 99.9]),
        ) {
            let carried = n >= min_samples(percentile);
            prop_assert_eq!(ranks(n, percentile / 100.0).is_some(), carried);
        }
    }

    #[test]
    fn known_ranks() {
        // n, percentile, ranks: the first two by hand, the rest by the textbook's normal
        // approximation, which is good there.
        let table = [
            (6, 50.0, Some((1, 6))),
            (5, 50.0, None),
            (368, 99.0, Some((360, 368))),
            (367, 99.0, None),
            (100_000, 99.9, Some((99_880, 99_919))),
            (0, 50.0, None),
        ];
        for (n, percentile, expected) in table {
            let found = ranks(n, percentile / 100.0);
            match (found, expected) {
                (Some((l, u)), Some((el, eu))) if n > 1_000 => {
                    assert!(l.abs_diff(el) <= 2 && u.abs_diff(eu) <= 2, "{n}: {found:?}");
                }
                _ => assert_eq!(found, expected, "p{percentile} of {n}"),
            }
        }
        // As many messages as in a soak run: it must not take long, nor suffer from rounding.
        let n = 1_000_000_000;
        let (low, high) = ranks(n, 0.5).unwrap();
        let half_width = 1.96 * (n as f64 / 4.0).sqrt();
        assert!(((high - low) as f64 / 2.0 / half_width - 1.0).abs() < 0.001);
    }

    /// Five hundred runs of an exponential server, whose percentiles are known: the interval must
    /// hold the truth in 95 % of them, and with a fixed seed it is the same 500 every time.
    #[test]
    fn the_interval_holds_the_truth_in_95_of_100_runs() {
        const RUNS: usize = 500;
        let mut rng = Pcg64::seed_from_u64(1);
        for percentile in [50.0, 99.0_f64] {
            let truth_ns = -1e6 * (1.0 - percentile / 100.0).ln();
            let mut held = 0;
            for _ in 0..RUNS {
                let mut h = histogram();
                for _ in 0..1_000 {
                    let sample = -1e6 * (1.0 - rng.random::<f64>()).ln();
                    h.record(sample as u64).unwrap();
                }
                let range = range(&h, percentile, h.len()).unwrap();
                held +=
                    usize::from((range.low_ns as f64..=range.high_ns as f64).contains(&truth_ns));
            }
            let share = held as f64 / RUNS as f64;
            assert!((0.93..=0.99).contains(&share), "p{percentile}: {share}");
        }
    }

    #[test]
    fn a_hundred_receivers_of_a_message_do_not_narrow_its_interval() {
        let (mut messages, mut deliveries) = (histogram(), histogram());
        for i in 1..=1_000 {
            messages.record(i * 1_000).unwrap();
            deliveries.record_n(i * 1_000, 100).unwrap();
        }
        for percentile in [50.0, 99.0] {
            let one_each = range(&messages, percentile, 1_000);
            assert!(one_each.is_some());
            assert_eq!(range(&deliveries, percentile, 1_000), one_each);
        }
        assert_eq!(range(&deliveries, 99.9, 1_000), None, "1,000 are too few");
    }
}
