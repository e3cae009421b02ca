//! Thresholds against what was measured.
//!
//! A threshold is met, crossed, or cannot be judged: without a sample, or with too few for its
//! percentile, there is nothing to compare, and that is never a pass.

use hdrhistogram::Histogram;

use super::figures;
use crate::measure::Measured;
use crate::measure::percentile::{min_samples, percentile};
use crate::scenario::plan::{Comparison, Metric, RateName, Stat, Threshold};

/// A threshold and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What is measured, by its name in the scenario: `last_relay`.
    pub metric: &'static str,
    /// The expression as it was written.
    pub expr: String,
    /// The observed figure, if there is one: ns, or messages a second.
    pub observed: Option<f64>,
    /// Whether `observed` is a rate and not a time.
    pub is_rate: bool,
    /// Samples behind it; for rates, the events counted.
    pub samples: u64,
    /// Samples that it takes.
    pub wanted: u64,
    /// Whether it holds; `None` if that cannot be judged.
    pub ok: Option<bool>,
}

impl Judged {
    /// The observed figure in words; `None` if there is none.
    #[must_use]
    pub fn observed_text(&self) -> Option<String> {
        self.observed.map(|observed| {
            if self.is_rate {
                figures::rate(observed)
            } else {
                figures::latency(observed.round() as u64)
            }
        })
    }
}

/// The name of a metric in scenarios and results.
#[must_use]
pub const fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Ack => "ack",
        Metric::Relay => "relay",
        Metric::LastRelay => "last_relay",
        Metric::Spread => "spread",
        Metric::SendLag => "send_lag",
        Metric::Connect => "connect",
        Metric::Rates => "rates",
    }
}

/// Compares one threshold with what was measured.
#[must_use]
pub fn judge(threshold: &Threshold, measured: &Measured) -> Judged {
    let (observed, samples, wanted) = match (threshold.stat, histogram(threshold.metric, measured))
    {
        (Stat::Rate(name), _) => rate(name, measured),
        (stat, Some(histogram)) => latency(stat, histogram),
        // The schema has no such expression; were there one, it would not hold.
        (_, None) => (None, 0, 1),
    };
    Judged {
        metric: metric_name(threshold.metric),
        expr: threshold.expr.clone(),
        observed,
        is_rate: matches!(threshold.stat, Stat::Rate(_)),
        samples,
        wanted,
        ok: observed.map(|observed| holds(observed, threshold.op, threshold.limit)),
    }
}

/// The figure, the samples behind it and the samples that it takes.
fn latency(stat: Stat, histogram: &Histogram<u64>) -> (Option<f64>, u64, u64) {
    let samples = histogram.len();
    let wanted = match stat {
        Stat::Percentile(p) => min_samples(p),
        Stat::Stddev => 2,
        Stat::Min | Stat::Mean | Stat::Max | Stat::Rate(_) => 1,
    };
    if samples < wanted {
        return (None, samples, wanted);
    }
    let observed = match stat {
        Stat::Min => Some(histogram.min() as f64),
        Stat::Max => Some(histogram.max() as f64),
        Stat::Mean => Some(histogram.mean()),
        Stat::Stddev => Some(histogram.stdev()),
        Stat::Percentile(p) => percentile(histogram, p).map(|ns| ns as f64),
        Stat::Rate(_) => None,
    };
    (observed, samples, wanted)
}

/// The same for a rate: an event that never came is an observation, a window that never was is
/// none.
fn rate(name: RateName, measured: &Measured) -> (Option<f64>, u64, u64) {
    let events = match name {
        RateName::Sent => measured.counts.sent,
        RateName::Acked => measured.counts.acked,
        RateName::Delivered => measured.counts.delivered,
    };
    (per_second(events, measured), events, 0)
}

/// Events of the measured phase as a rate; `None` if there was no measured phase.
#[must_use]
pub fn per_second(events: u64, measured: &Measured) -> Option<f64> {
    let length_ns = measured.window.length_ns();
    (length_ns > 0).then(|| events as f64 * 1e9 / length_ns as f64)
}

const fn histogram(metric: Metric, measured: &Measured) -> Option<&Histogram<u64>> {
    match metric {
        Metric::Ack => Some(&measured.ack),
        Metric::Relay => Some(&measured.relay),
        Metric::LastRelay => Some(&measured.last_relay),
        Metric::Spread => Some(&measured.spread),
        Metric::SendLag => Some(&measured.send_lag),
        Metric::Connect => Some(&measured.connect),
        Metric::Rates => None,
    }
}

fn holds(observed: f64, op: Comparison, limit: f64) -> bool {
    match op {
        Comparison::Less => observed < limit,
        Comparison::LessOrEqual => observed <= limit,
        Comparison::Greater => observed > limit,
        Comparison::GreaterOrEqual => observed >= limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Collector, ShardRecorder, Window};

    const SECOND_NS: u64 = 1_000_000_000;

    /// Two seconds in which `n` relays came 1, 2, 3, … µs late, and nothing else happened.
    fn measured(n: u64) -> Measured {
        let window = Window {
            start_ns: 0,
            end_ns: 2 * SECOND_NS,
        };
        let mut recorder = ShardRecorder::new(window);
        for i in 1..=n {
            recorder.relay(0, 0, i * 1_000);
        }
        let mut collector = Collector::new(window, 1);
        collector.absorb(0, 0, recorder.take_interval(), 1);
        collector.finish(None)
    }

    fn threshold(metric: Metric, stat: Stat, op: Comparison, limit: f64) -> Threshold {
        Threshold {
            metric,
            stat,
            op,
            limit,
            expr: "as written".to_owned(),
        }
    }

    #[test]
    fn a_threshold_is_met_crossed_or_cannot_be_judged() {
        use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
        use Metric::{Ack, Rates, Relay};
        use Stat::{Max, Mean, Min, Percentile, Rate, Stddev};
        const US: f64 = 1_000.0;

        let relays_500 = measured(500);
        let table = [
            (
                "below the limit",
                Relay,
                Percentile(99.0),
                Less,
                500.0 * US,
                Some(true),
            ),
            (
                "above the limit",
                Relay,
                Percentile(99.0),
                Less,
                400.0 * US,
                Some(false),
            ),
            (
                "500 samples carry no p99.9",
                Relay,
                Percentile(99.9),
                Less,
                1e12,
                None,
            ),
            (
                "the median is there",
                Relay,
                Percentile(50.0),
                Less,
                251.0 * US,
                Some(true),
            ),
            (
                "least, at the limit",
                Relay,
                Min,
                GreaterOrEqual,
                1.0 * US,
                Some(true),
            ),
            (
                "least, not over the limit",
                Relay,
                Min,
                Greater,
                1.0 * US,
                Some(false),
            ),
            ("greatest", Relay, Max, LessOrEqual, 501.0 * US, Some(true)),
            ("mean is 250.5", Relay, Mean, Less, 250.0 * US, Some(false)),
            (
                "deviation is 144",
                Relay,
                Stddev,
                Less,
                145.0 * US,
                Some(true),
            ),
            ("no ack ever came", Ack, Max, Less, 1e12, None),
            (
                "no percentile of nothing",
                Ack,
                Percentile(50.0),
                Less,
                1e12,
                None,
            ),
            (
                "250 a second",
                Rates,
                Rate(RateName::Delivered),
                GreaterOrEqual,
                250.0,
                Some(true),
            ),
            (
                "not 251",
                Rates,
                Rate(RateName::Delivered),
                GreaterOrEqual,
                251.0,
                Some(false),
            ),
            (
                "none sent is a rate of 0",
                Rates,
                Rate(RateName::Sent),
                Greater,
                0.0,
                Some(false),
            ),
            (
                "and of acks",
                Rates,
                Rate(RateName::Acked),
                LessOrEqual,
                0.0,
                Some(true),
            ),
            ("a metric without histogram", Rates, Max, Less, 1e12, None),
        ];
        for (says, metric, stat, op, limit, ok) in table {
            let judged = judge(&threshold(metric, stat, op, limit), &relays_500);
            assert_eq!(judged.ok, ok, "{says}: {judged:?}");
            assert_eq!(judged.observed.is_some(), ok.is_some(), "{says}");
        }
    }

    #[test]
    fn one_sample_has_no_deviation() {
        let stddev = threshold(Metric::Relay, Stat::Stddev, Comparison::Less, 1e12);
        assert_eq!(judge(&stddev, &measured(1)).ok, None);
        assert_eq!(judge(&stddev, &measured(2)).ok, Some(true));
    }

    #[test]
    fn without_a_measured_phase_there_is_no_rate() {
        let mut measured = measured(10);
        measured.window = Window::NEVER;
        let stat = Stat::Rate(RateName::Delivered);
        let rate = threshold(Metric::Rates, stat, Comparison::GreaterOrEqual, 0.0);
        assert_eq!(judge(&rate, &measured).ok, None);
    }

    #[test]
    fn what_was_observed_is_said_in_its_unit() {
        let mut judged = judge(
            &threshold(Metric::Relay, Stat::Max, Comparison::Less, 1.0),
            &measured(50),
        );
        assert_eq!(judged.observed_text().as_deref(), Some("50.0 µs"));
        judged.is_rate = true;
        judged.observed = Some(51_500.0);
        assert_eq!(judged.observed_text().as_deref(), Some("51.5 k/s"));
        judged.observed = None;
        assert_eq!(judged.observed_text(), None);
    }
}
