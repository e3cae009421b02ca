//! Histograms in Prometheus's form: counts up to fixed bounds.
//!
//! The bounds are the same for every latency and never change, or two scrapes could not be
//! compared: six per decade from 10 µs, so that a percentile interpolated between two of them is
//! off by less than half. The exact histograms are in the result.

use hdrhistogram::Histogram;

/// Upper bounds in ns, inclusive: 10 µs to 1 min. Slower samples are in `+Inf` alone.
pub const BOUNDS_NS: [u64; 41] = bounds();

const fn bounds() -> [u64; 41] {
    const WITHIN_A_DECADE: [u64; 6] = [10, 15, 20, 30, 50, 70];
    let mut bounds = [0; 41];
    let mut i = 0;
    let mut unit_ns = 1_000;
    while i < 36 {
        bounds[i] = WITHIN_A_DECADE[i % 6] * unit_ns;
        if i % 6 == 5 {
            unit_ns *= 10;
        }
        i += 1;
    }
    const SECOND_NS: u64 = 1_000_000_000;
    let slowest_s = [10, 15, 20, 30, 60];
    while i < 41 {
        bounds[i] = slowest_s[i - 36] * SECOND_NS;
        i += 1;
    }
    bounds
}

/// How many samples of a histogram lie at or below each of [`BOUNDS_NS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// One count per bound; cumulative.
    pub up_to: [u64; BOUNDS_NS.len()],
    /// All samples.
    pub count: u64,
    /// Their sum in seconds, to the histogram's three digits.
    pub sum_s: f64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            up_to: [0; BOUNDS_NS.len()],
            count: 0,
            sum_s: 0.0,
        }
    }
}

impl Buckets {
    /// The samples of several histograms together.
    #[must_use]
    pub fn of_all<'a>(histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Self {
        histograms.map(Self::of).fold(Self::default(), |a, b| Self {
            up_to: std::array::from_fn(|i| a.up_to[i] + b.up_to[i]),
            count: a.count + b.count,
            sum_s: a.sum_s + b.sum_s,
        })
    }

    /// Sorts the samples of `histogram`, all of them ns. A sample up to 0.1 % beyond a bound may
    /// count as within it: the histogram has three digits.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let mut buckets = Self::default();
        let mut bucket = 0;
        let mut sum_ns = 0.0;
        for step in histogram.iter_recorded() {
            let value_ns = step.value_iterated_to();
            let least_ns = histogram.lowest_equivalent(value_ns);
            while bucket < BOUNDS_NS.len() && BOUNDS_NS[bucket] < least_ns {
                buckets.up_to[bucket] = buckets.count;
                bucket += 1;
            }
            buckets.count += step.count_at_value();
            sum_ns += histogram.median_equivalent(value_ns) as f64 * step.count_at_value() as f64;
        }
        buckets.up_to[bucket..].fill(buckets.count);
        buckets.sum_s = sum_ns / 1e9;
        buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::histogram;

    #[test]
    fn bounds_rise_from_ten_microseconds_to_a_minute() {
        assert!(BOUNDS_NS.is_sorted_by(|a, b| a < b));
        assert_eq!(BOUNDS_NS[..3], [10_000, 15_000, 20_000]);
        assert_eq!(BOUNDS_NS[35..37], [7_000_000_000, 10_000_000_000]);
        assert_eq!(BOUNDS_NS.last(), Some(&60_000_000_000));
    }

    #[test]
    fn a_sample_at_a_bound_is_within_it_and_one_past_the_last_is_only_counted() {
        let mut h = histogram();
        for ns in [0, 10_000, 10_100, 1_000_000_000, 90_000_000_000] {
            h.record(ns).unwrap();
        }
        let buckets = Buckets::of(&h);
        let at = |ns| buckets.up_to[BOUNDS_NS.iter().position(|&b| b == ns).unwrap()];
        assert_eq!((at(10_000), at(15_000)), (2, 3));
        assert_eq!((at(700_000_000), at(1_000_000_000)), (3, 4));
        assert_eq!((at(60_000_000_000), buckets.count), (4, 5));
        assert!((buckets.sum_s / 91.0 - 1.0).abs() < 0.002, "{buckets:?}");
    }

    #[test]
    fn of_nothing_all_are_zero() {
        assert_eq!(Buckets::of(&histogram()), Buckets::default());
    }

    proptest! {
        /// Counting one by one comes to the same, but for samples within 0.1 % of a bound.
        #[test]
        fn each_bound_has_what_lies_at_or_below_it(
            samples in prop::collection::vec(0u64..120_000_000_000, 0..200),
        ) {
            let mut h = histogram();
            for &ns in &samples {
                h.record(ns).unwrap();
            }
            let buckets = Buckets::of(&h);
            prop_assert_eq!(buckets.count, samples.len() as u64);
            for (&bound, &counted) in BOUNDS_NS.iter().zip(&buckets.up_to) {
                let within = |slack| samples.iter().filter(|&&ns| ns <= bound + slack).count() as u64;
                prop_assert!(within(0) <= counted && counted <= within(bound / 999 + 1));
            }
        }
    }
}
