//! Percentiles for which there are enough samples.
//!
//! The p99 of fifty samples is just their maximum, and varies like one. A percentile is therefore
//! given only if its confidence interval is finite on both sides.
//!
//! That interval is spanned by two order statistics and assumes nothing about the distribution. Of
//! n samples, all lie below the true q-quantile with probability qⁿ: then no sample bounds it from
//! above. All lie above it with probability (1−q)ⁿ. At 95 %, each side may err in 2.5 % of cases,
//! so the least n is that with
//!
//! ```text
//! max(q, 1−q)ⁿ ≤ 0.025   ⇔   n ≥ ln 0.025 / ln max(q, 1−q)
//! ```
//!
//! which is 6 for the median, 36 for p90, 368 for p99, 3,688 for p99.9 and 36,887 for p99.99.

use hdrhistogram::Histogram;

/// The probability with which the true percentile may lie beyond one end of its interval.
pub(super) const ERROR_A_SIDE: f64 = 0.025;

/// The least number of samples that is enough for a percentile (0 to 100).
///
/// 0 and 100 name the least and the greatest sample, not a property of the distribution: one
/// sample is enough.
#[must_use]
pub fn min_samples(percentile: f64) -> u64 {
    let q = percentile / 100.0;
    let far = q.max(1.0 - q);
    if far >= 1.0 {
        return 1;
    }
    (ERROR_A_SIDE.ln() / far.ln()).ceil() as u64
}

/// The value at a percentile (0 to 100), in ns; `None` if there are too few samples for it.
#[must_use]
pub fn percentile(histogram: &Histogram<u64>, percentile: f64) -> Option<u64> {
    (histogram.len() >= min_samples(percentile))
        .then(|| histogram.value_at_quantile(percentile / 100.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::histogram;

    #[test]
    fn the_documented_constants_follow_from_the_formula() {
        let table = [
            (50.0, 6),
            (90.0, 36),
            (10.0, 36),
            (99.0, 368),
            (99.9, 3_688),
            (99.99, 36_887),
            (0.0, 1),
            (100.0, 1),
        ];
        for (percentile, samples) in table {
            assert_eq!(min_samples(percentile), samples, "p{percentile}");
        }
    }

    proptest! {
        /// The definition, by multiplying out instead of taking logarithms.
        #[test]
        fn the_least_n_is_the_first_whose_error_is_small_enough(percentile in 0.5..99.5f64) {
            let far = (percentile / 100.0).max(1.0 - percentile / 100.0);
            let mut error = 1.0;
            let mut n = 0;
            while error > ERROR_A_SIDE {
                error *= far;
                n += 1;
            }
            prop_assert_eq!(min_samples(percentile), n);
        }
    }

    #[test]
    fn one_sample_short_of_enough_there_is_no_percentile() {
        let mut h = histogram();
        for ns in 1..=367 {
            h.record(ns).unwrap();
        }
        assert_eq!(percentile(&h, 99.0), None);
        assert_eq!(percentile(&h, 50.0), Some(184));
        h.record(368).unwrap();
        assert_eq!(percentile(&h, 99.0), Some(365));
        assert_eq!(
            percentile(&histogram(), 100.0),
            None,
            "the greatest of no samples"
        );
    }
}
