//! Whether a run had reached a steady state: a trend in its per-second medians.
//!
//! If the median falls through the measured phase, the target was still warming up; if it rises,
//! something fills up. Either way the percentiles of the whole phase describe no state that the
//! system was in.
//!
//! The test is Mann and Kendall's: of all pairs of seconds, how many more rise than fall? It
//! assumes nothing about the distribution and forgives outliers. Neighbouring seconds are alike,
//! which makes it see trends where there are none; so a trend counts only if it is also *large*:
//! Sen's slope (the median slope of all pairs) over the whole phase must come to a quarter of the
//! phase's median.

use serde::{Deserialize, Serialize};

use super::{TimelinePoint, Window};

const SECOND_NS: u64 = 1_000_000_000;

/// The least number of seconds in which a trend is looked for: with fewer, the normal
/// approximation of the test is off.
const MIN_SECONDS: usize = 10;

/// The most seconds that are compared pair by pair; in a longer run, each stretch is represented
/// by its median.
const MAX_SECONDS: usize = 300;

/// z beyond which chance is ruled out: 1 in 1,000, both sides together.
const CERTAIN_Z: f64 = 3.29;

/// The change over the phase, as a share of its median, from which on it matters.
const LARGE: f64 = 0.25;

/// A trend that is neither chance nor small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Drift {
    /// The median relay latency that the trend begins with, fitted, in the phase's first second.
    #[serde(rename = "relay_p50_from_ns")]
    pub from_ns: u64,
    /// The one that it ends with, in its last second.
    #[serde(rename = "relay_p50_to_ns")]
    pub to_ns: u64,
    /// How sure the trend is: how many standard deviations the test lies from chance; negative for
    /// falling.
    pub z: f64,
}

/// The trend of the relays' medians over the whole seconds within `window`, if there is one.
#[must_use]
pub fn drift(timeline: &[TimelinePoint], window: Window) -> Option<Drift> {
    let medians: Vec<f64> = timeline
        .iter()
        .filter(|p| p.t_ns >= window.start_ns && p.t_ns + SECOND_NS <= window.end_ns)
        .filter(|p| p.delivered >= super::percentile::min_samples(50.0))
        .map(|p| p.relay_p50_ns as f64)
        .collect();
    if medians.len() < MIN_SECONDS {
        return None;
    }
    let stretch = medians.len().div_ceil(MAX_SECONDS);
    let medians: Vec<f64> = medians
        .chunks_exact(stretch)
        .map(|seconds| median(&mut seconds.to_vec()))
        .collect();
    let z = mann_kendall(&medians);
    let slope = sen_slope(&medians);
    let middle = median(&mut medians.clone());
    let change = slope * (medians.len() - 1) as f64;
    (z.abs() >= CERTAIN_Z && change.abs() >= LARGE * middle).then(|| Drift {
        from_ns: (middle - change / 2.0).max(0.0) as u64,
        to_ns: (middle + change / 2.0).max(0.0) as u64,
        z,
    })
}

/// The standardised Mann–Kendall statistic, corrected for ties.
fn mann_kendall(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mut s = 0.0;
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            s += (b - a)
                .partial_cmp(&0.0)
                .map_or(0.0, |o| f64::from(o as i8));
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|tied| tied.len() as f64)
        .map(|t| t * (t - 1.0) * (2.0 * t + 5.0))
        .sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0;
    if variance <= 0.0 || s == 0.0 {
        return 0.0;
    }
    // Continuity correction: s is discrete, the normal distribution is not.
    (s - s.signum()) / variance.sqrt()
}

/// The median of the slopes of all pairs, per step.
fn sen_slope(values: &[f64]) -> f64 {
    let mut slopes: Vec<f64> = values
        .iter()
        .enumerate()
        .flat_map(|(i, a)| {
            let later = values[i + 1..].iter().enumerate();
            later.map(move |(gap, b)| (b - a) / (gap + 1) as f64)
        })
        .collect();
    median(&mut slopes)
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let (below, &mut median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(other) if middle * 2 == values.len() => (median + other) / 2.0,
        _ => median,
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    /// The drift of one point per second with these medians, all within the window.
    fn drift_of(medians_us: impl IntoIterator<Item = f64>) -> Option<Drift> {
        let timeline: Vec<_> = (0..)
            .zip(medians_us)
            .map(|(second, us)| TimelinePoint {
                t_ns: second * SECOND_NS,
                delivered: 100,
                relay_p50_ns: (us * 1e3) as u64,
                ..TimelinePoint::default()
            })
            .collect();
        let window = Window {
            start_ns: 0,
            end_ns: timeline.len() as u64 * SECOND_NS,
        };
        drift(&timeline, window)
    }

    #[test]
    fn the_statistic_is_the_textbooks() {
        // Ten rising values: s = 45, variance 125, z = 44/√125.
        let rising: Vec<_> = (0..10).map(f64::from).collect();
        assert!((mann_kendall(&rising) - 44.0 / 125f64.sqrt()).abs() < 1e-12);
        // With ties (2, 2 and 3, 3, 3): s = 8, variance (300 − 18 − 66)/18 = 12 for n = 6.
        let tied = [1.0, 2.0, 2.0, 3.0, 3.0, 3.0];
        let variance = (6.0 * 5.0 * 17.0 - 18.0 - 66.0) / 18.0_f64;
        assert!((mann_kendall(&tied) - 10.0 / variance.sqrt()).abs() < 1e-12);
        assert_eq!(mann_kendall(&[5.0; 20]), 0.0);
    }

    #[test]
    fn a_warm_up_and_a_backlog_are_noticed() {
        let falling = drift_of((0..20).map(|s| 1_000.0 * 0.9f64.powi(s))).unwrap();
        assert!(
            falling.to_ns < falling.from_ns && falling.z < 0.0,
            "{falling:?}"
        );
        let rising = drift_of((0..12).map(|s| 200.0 + 50.0 * f64::from(s))).unwrap();
        assert!((190_000..=210_000).contains(&rising.from_ns), "{rising:?}");
        assert!((740_000..=760_000).contains(&rising.to_ns), "{rising:?}");
    }

    #[test]
    fn what_is_no_trend_is_not_called_one() {
        assert_eq!(drift_of([1.0; 60]), None, "the same for a minute");
        assert_eq!(drift_of((0..9).map(f64::from)), None, "too short to tell");
        let slight = (0..60).map(|s| 1_000.0 + f64::from(s));
        assert_eq!(drift_of(slight), None, "certain, but 6 % in a minute");
        let outlier = (0..60).map(|s| if s == 59 { 1e6 } else { 100.0 });
        assert_eq!(drift_of(outlier), None, "one bad second at the end");
        assert_eq!(drift_of([]), None);
    }

    /// A thousand steady runs of 20 seconds: with a fixed seed the same ones every time.
    #[test]
    fn a_steady_run_is_hardly_ever_called_drifting() {
        let mut rng = Pcg64::seed_from_u64(7);
        let alarms = (0..1_000)
            .filter(|_| drift_of((0..20).map(|_| rng.random_range(100.0..300.0))).is_some())
            .count();
        assert!(alarms <= 3, "{alarms} of 1,000");
    }

    #[test]
    fn only_whole_seconds_of_the_window_count() {
        let timeline: Vec<_> = (0..30)
            .map(|second| TimelinePoint {
                t_ns: second * SECOND_NS,
                delivered: if second < 15 { 100 } else { 5 },
                relay_p50_ns: 1_000 * (second + 1),
                ..TimelinePoint::default()
            })
            .collect();
        let window = |start_ns| Window {
            start_ns,
            end_ns: 30 * SECOND_NS,
        };
        assert!(drift(&timeline, window(0)).is_some());
        // From second 6 on, 9 seconds are left whose five deliveries do not fall short of six.
        assert_eq!(drift(&timeline, window(5 * SECOND_NS + 1)), None);
    }

    #[test]
    fn an_hour_is_compared_in_stretches() {
        let hour = drift_of((0..3_600).map(|s| 100.0 + f64::from(s))).unwrap();
        assert!(hour.z > CERTAIN_Z, "{hour:?}");
    }
}
