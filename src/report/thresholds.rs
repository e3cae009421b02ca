//! Thresholds against what was measured.
//!
//! A threshold is met, crossed, or cannot be judged: without a sample, or with too few for its
//! percentile, there is nothing to compare, and that is never a pass.
//!
//! What had not come when the run stopped listening has a known lower bound ([`Censored`]). A
//! threshold that is crossed with these bounds is crossed whatever would still have come; one that
//! holds if nothing of it ever comes holds; what lies between cannot be judged.

use hdrhistogram::Histogram;

use super::generator;
use super::result::Threshold as Judged;
use crate::driver::outcome::Outcome;
use crate::measure::censored::{highest, together};
use crate::measure::group::place;
use crate::measure::percentile::min_samples;
use crate::measure::{Censored, GroupLatencies, Measured, histogram};
use crate::scenario::plan::{Comparison, Metric, Plan, RateName, Stat, Threshold};
use serde_json::Number;

/// The thresholds of a plan against what was seen, in the order of the file.
pub(super) fn all(plan: &Plan, outcome: &Outcome) -> Vec<Judged> {
    let unresolved = outcome.findings.counts.unresolved;
    let unresolved = unresolved.saturating_sub(outcome.findings.outstanding_relays());
    let thresholds = plan.thresholds.iter();
    thresholds
        .map(|threshold| {
            let mut judged = judge(threshold, &outcome.measured, unresolved);
            judged.excuse = generator::excuse(threshold, &judged, outcome);
            if judged.excuse.is_some() {
                judged.ok = None;
            }
            judged
        })
        .collect()
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

/// What a threshold is about, by its name in scenarios and results: `relay.listeners`.
#[must_use]
pub fn name(threshold: &Threshold) -> String {
    let metric = metric_name(threshold.metric);
    match &threshold.group {
        Some(group) => format!("{metric}.{}", group.name),
        None => metric.to_owned(),
    }
}

/// What a figure lies between.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    /// `None` if nothing bounds it from above.
    high: Option<f64>,
}

/// Compares one threshold with what was measured. `unresolved` deliveries may have been owed
/// besides, and never came: nobody knows.
#[must_use]
pub fn judge(threshold: &Threshold, measured: &Measured, unresolved: u64) -> Judged {
    let mut judged = Judged {
        metric: name(threshold),
        expr: threshold.expr.clone(),
        observed: None,
        ok: None,
        samples: 0,
        samples_wanted: 1,
        at_least: false,
        outstanding: 0,
        excuse: None,
    };
    let nothing = histogram();
    if let Stat::Rate(name) = threshold.stat {
        let (observed, events) = rate(name, measured);
        judged.observed = observed.and_then(Number::from_f64);
        judged.samples = events;
        judged.samples_wanted = 0;
        judged.ok = observed.map(|observed| holds(observed, threshold.op, threshold.limit));
    } else if let Some((came, outstanding)) = histograms(threshold, measured, &nothing) {
        let relays = matches!(
            threshold.metric,
            Metric::Relay | Metric::LastRelay | Metric::Spread
        );
        let never = outstanding.len() + if relays { unresolved } else { 0 };
        judged.samples = came.len() + outstanding.len();
        judged.outstanding = outstanding.len();
        judged.samples_wanted = match threshold.stat {
            Stat::Percentile(p) => min_samples(p),
            Stat::Stddev => 2,
            Stat::Min | Stat::Mean | Stat::Max | Stat::Rate(_) => 1,
        };
        if judged.samples >= judged.samples_wanted
            && let Some(range) = latency(threshold.stat, came, outstanding, never)
        {
            judged.observed = Some(Number::from(range.low.round() as u64));
            judged.at_least = range.high != Some(range.low);
            judged.ok = decided(range, threshold.op, threshold.limit);
        }
    }
    // The schema has no other expressions; were there one, it would not hold.
    judged
}

/// What a figure lies between, of samples that came, of lower bounds of others, and if `never`
/// samples (these, and what nobody knows of) are later than any.
fn latency(
    stat: Stat,
    came: &Histogram<u64>,
    outstanding: &Histogram<u64>,
    never: u64,
) -> Option<Range> {
    let all = together(came, outstanding);
    let certain = never == 0;
    let at_most = |figure: f64| certain.then_some(figure);
    Some(match stat {
        Stat::Min => Range {
            low: all.min() as f64,
            high: (!came.is_empty()).then(|| came.min() as f64),
        },
        Stat::Max => Range {
            low: all.max() as f64,
            high: at_most(all.max() as f64),
        },
        Stat::Mean => Range {
            low: all.mean(),
            high: at_most(all.mean()),
        },
        // It can be anything, by what is still to come.
        Stat::Stddev if !certain => return None,
        Stat::Stddev => Range {
            low: all.stdev(),
            high: Some(all.stdev()),
        },
        Stat::Percentile(p) => Range {
            low: all.value_at_quantile(p / 100.0) as f64,
            high: highest(came, never, p).map(|ns| ns as f64),
        },
        Stat::Rate(_) => return None,
    })
}

/// Whether a figure holds wherever in its range it is; `None` if that depends.
fn decided(range: Range, op: Comparison, limit: f64) -> Option<bool> {
    let low = holds(range.low, op, limit);
    let high = match range.high {
        Some(high) => holds(high, op, limit),
        None => holds(f64::INFINITY, op, limit),
    };
    (low == high).then_some(low)
}

/// The same for a rate: an event that never came is an observation, a window that never was is
/// none.
fn rate(name: RateName, measured: &Measured) -> (Option<f64>, u64) {
    let events = match name {
        RateName::Sent => measured.counts.sent,
        RateName::Acked => measured.counts.acked,
        RateName::Delivered => measured.counts.delivered,
    };
    (per_second(events, measured), events)
}

/// Events of the measured phase as a rate; `None` if there was no measured phase.
#[must_use]
pub fn per_second(events: u64, measured: &Measured) -> Option<f64> {
    let length_ns = measured.window.length_ns();
    (length_ns > 0).then(|| events as f64 * 1e9 / length_ns as f64)
}

/// What came, and how late at least is what did not; `nothing` where that is not asked.
fn histograms<'a>(
    threshold: &Threshold,
    measured: &'a Measured,
    nothing: &'a Histogram<u64>,
) -> Option<(&'a Histogram<u64>, &'a Histogram<u64>)> {
    let outstanding: &Censored = &measured.censored;
    if let Some(group) = &threshold.group {
        let place = place(group.position);
        let of = |groups: &'a [GroupLatencies]| {
            let group = groups.get(place)?;
            match threshold.metric {
                Metric::Ack => group.ack.as_ref(),
                Metric::Relay => group.relay.as_ref(),
                // Nothing else is measured by group; scenarios cannot ask for it.
                _ => None,
            }
        };
        let of = |groups| of(groups).unwrap_or(nothing);
        return Some((of(&measured.groups), of(&outstanding.groups)));
    }
    Some(match threshold.metric {
        Metric::Ack => (&measured.ack, &outstanding.ack),
        Metric::Relay => (&measured.relay, &outstanding.relay),
        Metric::LastRelay => (&measured.last_relay, &outstanding.last_relay),
        Metric::Spread => (&measured.spread, &outstanding.spread),
        Metric::SendLag => (&measured.send_lag, nothing),
        Metric::Connect => (&measured.connect, nothing),
        Metric::Rates => return None,
    })
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
    use crate::scenario::plan::OfGroup;

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
            group: None,
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
            let judged = judge(&threshold(metric, stat, op, limit), &relays_500, 0);
            assert_eq!(judged.ok, ok, "{says}: {judged:?}");
            assert_eq!(judged.observed.is_some(), ok.is_some(), "{says}");
        }
    }

    #[test]
    fn a_threshold_of_a_group_is_about_its_clients_alone() {
        const US: f64 = 1_000.0;
        let window = Window {
            start_ns: 0,
            end_ns: 2 * SECOND_NS,
        };
        // The second group is ten times as late, and two more relays to it never came.
        let mut recorder = ShardRecorder::of_groups(window, 2);
        for i in 1..=500 {
            recorder.relay(0, 0, i * 1_000);
            recorder.relay(1, 0, i * 10_000);
        }
        let mut collector = Collector::new(window, 1);
        collector.absorb(0, 0, recorder.take_interval(), 1);
        collector.message_outstanding(0, None, [(1, 2, SECOND_NS)]);
        let measured = collector.finish(None);
        let of = |position: Option<usize>, stat, limit| {
            let mut threshold = threshold(Metric::Relay, stat, Comparison::Less, limit);
            threshold.group = position.map(|position| OfGroup {
                name: format!("group-{position}"),
                position,
            });
            judge(&threshold, &measured, 0)
        };
        let p99 = Stat::Percentile(99.0);
        for (position, stat, limit, ok) in [
            (Some(0), p99, 500.0 * US, Some(true)),
            (Some(1), p99, 500.0 * US, Some(false)),
            (Some(1), p99, 5_000.0 * US, Some(true)),
            (None, p99, 500.0 * US, Some(false)),
            (Some(1), Stat::Max, 900_000.0 * US, Some(false)),
            (Some(2), p99, 1e12, None),
        ] {
            let judged = of(position, stat, limit);
            assert_eq!(judged.ok, ok, "{judged:?}");
        }
        assert_eq!(of(Some(0), Stat::Max, 600.0 * US).ok, Some(true));
        assert_eq!(of(Some(1), p99, 1e12).metric, "relay.group-1");
        assert_eq!(of(None, p99, 1e12).metric, "relay");
        assert_eq!(of(Some(0), p99, 1e12).samples, 500);
        assert_eq!(of(Some(1), p99, 1e12).samples, 502);
    }

    /// As [`measured`], and so many more had waited for a second when the run stopped listening.
    fn hung(came: u64, outstanding: u64) -> Measured {
        let window = Window {
            start_ns: 0,
            end_ns: 2 * SECOND_NS,
        };
        let mut recorder = ShardRecorder::new(window);
        for i in 1..=came {
            recorder.relay(0, 0, i * 1_000);
        }
        let mut collector = Collector::new(window, 1);
        collector.absorb(0, 0, recorder.take_interval(), 1);
        collector.message_outstanding(0, None, [(0, outstanding, SECOND_NS)]);
        collector.finish(None)
    }

    #[test]
    fn what_is_outstanding_crosses_what_its_bound_reaches_and_leaves_open_what_it_might() {
        use Comparison::{Greater, Less};
        use Stat::{Max, Mean, Min, Percentile, Stddev};
        const MS: f64 = 1e6;
        const S: f64 = 1e9;
        // Of 1,000, ten were outstanding.
        let table = [
            (
                "the greatest is over it",
                Max,
                Less,
                500.0 * MS,
                Some(false),
            ),
            ("or may be", Max, Less, 2.0 * S, None),
            (
                "over the least that it can be",
                Max,
                Greater,
                500.0 * MS,
                Some(true),
            ),
            (
                "p50 is among those that came",
                Percentile(50.0),
                Less,
                MS,
                Some(true),
            ),
            ("so is p98", Percentile(98.0), Less, MS, Some(true)),
            (
                "p99.5 is not",
                Percentile(99.5),
                Less,
                500.0 * MS,
                Some(false),
            ),
            ("nor is it known", Percentile(99.5), Less, 2.0 * S, None),
            ("the mean is over 5 ms", Mean, Less, 5.0 * MS, Some(false)),
            ("and has no upper bound", Mean, Less, 2.0 * S, None),
            ("the least came", Min, Less, MS, Some(true)),
            (
                "nothing is known of the deviation",
                Stddev,
                Less,
                1e12,
                None,
            ),
        ];
        for (says, stat, op, limit, ok) in table {
            let judged = judge(
                &threshold(Metric::Relay, stat, op, limit),
                &hung(990, 10),
                0,
            );
            assert_eq!(judged.ok, ok, "{says}: {judged:?}");
            assert_eq!((judged.samples, judged.outstanding), (1_000, 10), "{says}");
        }
        let max = threshold(Metric::Relay, Max, Less, 500.0 * MS);
        let judged = judge(&max, &hung(990, 10), 0);
        assert_eq!(judged.observed_text().as_deref(), Some("at least 1.00 s"));
        let last = threshold(Metric::LastRelay, Max, Less, 500.0 * MS);
        assert_eq!(judge(&last, &hung(990, 10), 0).ok, Some(false));
        let ack = threshold(Metric::Ack, Max, Less, 500.0 * MS);
        assert_eq!(judge(&ack, &hung(990, 10), 0).ok, None, "none was sent");
    }

    #[test]
    fn what_nobody_knows_whether_it_was_owed_lets_no_upper_limit_hold() {
        use Comparison::Less;
        let max = threshold(Metric::Relay, Stat::Max, Less, 1e12);
        assert_eq!(judge(&max, &measured(500), 0).ok, Some(true));
        assert_eq!(judge(&max, &measured(500), 1).ok, None);
        let p90 = threshold(Metric::Relay, Stat::Percentile(90.0), Less, 1e12);
        assert_eq!(
            judge(&p90, &measured(500), 1).ok,
            Some(true),
            "however it is"
        );
        assert_eq!(judge(&p90, &measured(500), 100).ok, None);
        let crossed = threshold(Metric::Relay, Stat::Max, Less, 1.0);
        assert_eq!(judge(&crossed, &measured(500), 100).ok, Some(false));
    }

    #[test]
    fn one_sample_has_no_deviation() {
        let stddev = threshold(Metric::Relay, Stat::Stddev, Comparison::Less, 1e12);
        assert_eq!(judge(&stddev, &measured(1), 0).ok, None);
        assert_eq!(judge(&stddev, &measured(2), 0).ok, Some(true));
    }

    #[test]
    fn without_a_measured_phase_there_is_no_rate() {
        let mut measured = measured(10);
        measured.window = Window::NEVER;
        let stat = Stat::Rate(RateName::Delivered);
        let rate = threshold(Metric::Rates, stat, Comparison::GreaterOrEqual, 0.0);
        assert_eq!(judge(&rate, &measured, 0).ok, None);
    }

    #[test]
    fn what_was_observed_is_said_in_its_unit() {
        let mut judged = judge(
            &threshold(Metric::Relay, Stat::Max, Comparison::Less, 1.0),
            &measured(50),
            0,
        );
        assert_eq!(judged.observed_text().as_deref(), Some("50.0 µs"));
        judged.metric = metric_name(Metric::Rates).to_owned();
        judged.observed = Number::from_f64(51_500.0);
        assert_eq!(judged.observed_text().as_deref(), Some("51.5 k/s"));
        judged.observed = None;
        assert_eq!(judged.observed_text(), None);
    }
}
