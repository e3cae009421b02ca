//! Thresholds that are met, crossed, or cannot be judged.

use super::*;
use crate::measure::{Collector, ShardRecorder, Window};
use crate::report::sample;
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

#[test]
fn a_threshold_on_rooms_is_judged_in_the_room_that_is_worst() {
    const MS: f64 = 1e6;
    let judged = |stat, op, limit, change: fn(&mut Outcome)| {
        let report = sample::report(|plan, outcome| {
            sample::rooms(plan, outcome);
            change(outcome);
            plan.thresholds = vec![threshold(Metric::Rooms, stat, op, limit)];
        });
        let judged = report.result.thresholds[0].clone();
        assert_eq!(judged.metric, "rooms");
        (judged.ok, judged.samples)
    };
    use Comparison::{Greater, Less};
    use Stat::{Max, Percentile};
    let nothing = |_: &mut Outcome| ();
    assert_eq!(judged(Max, Less, 8.0 * MS, nothing), (Some(true), 5));
    assert_eq!(judged(Max, Less, 6.0 * MS, nothing), (Some(false), 5));
    assert_eq!(judged(Max, Greater, 0.6 * MS, nothing), (Some(false), 5));
    // The hall has too few samples for a percentile; the lobby crosses the limit all the same.
    let p99 = Percentile(99.0);
    assert_eq!(judged(p99, Less, MS, nothing), (None, 5));
    assert_eq!(judged(p99, Less, 0.4 * MS, nothing), (Some(false), 5));
    // What is still to come may be later than any limit, and no earlier than it is now.
    let unresolved = |outcome: &mut Outcome| outcome.findings.counts.unresolved = 1;
    assert_eq!(judged(Max, Less, 8.0 * MS, unresolved), (None, 5));
    assert_eq!(judged(Max, Less, 6.0 * MS, unresolved), (Some(false), 5));
    let silent = |outcome: &mut Outcome| outcome.by_room = Default::default();
    assert_eq!(judged(Max, Less, 8.0 * MS, silent), (None, 0));
}
