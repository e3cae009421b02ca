//! What was measured, as JSON: the window's counts and rates, the latencies with their intervals
//! and histograms, the timeline.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::measure::censored;
use crate::measure::confidence::{Range, range};
use crate::measure::drift::Drift;
use crate::measure::percentile::{min_samples, percentile};
use crate::measure::{Measured, TimelinePoint};
use crate::report::Report;
use crate::report::caveats::Missing;
use crate::report::histogram::encode;
use crate::report::thresholds::per_second;

/// Over the measured phase alone; `rates` are these by its length.
#[derive(Serialize)]
pub(super) struct Window {
    start_ns: Option<u64>,
    end_ns: Option<u64>,
    offered: Option<u64>,
    sent: u64,
    held_by_target: u64,
    acked: u64,
    delivered: u64,
    bytes_in: u64,
    bytes_out: u64,
    saturated_latencies: u64,
    due_and_sent: u64,
    unsent: u64,
}

impl Window {
    pub(super) fn new(measured: &Measured) -> Self {
        let counts = &measured.counts;
        // A run that was cut short before it measured anything has no such phase.
        let window = Some(measured.window).filter(|window| window.length_ns() > 0);
        Self {
            start_ns: window.map(|window| window.start_ns),
            end_ns: window.map(|window| window.end_ns),
            offered: measured.offered,
            sent: counts.sent,
            held_by_target: counts.held_by_target,
            acked: counts.acked,
            delivered: counts.delivered,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            saturated_latencies: measured.saturated,
            due_and_sent: measured.due_and_sent,
            unsent: measured.unsent,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Latencies {
    ack: Latency,
    relay: Latency,
    last_relay: Latency,
    spread: Latency,
    send_lag: Latency,
    connect: Latency,
    ack_service: Latency,
    relay_service: Latency,
}

impl Latencies {
    pub(super) fn new(report: &Report) -> Self {
        let measured = &report.outcome.measured;
        let missing = Missing::of(&report.promises, &report.outcome);
        // Each sample a message, but for deliveries.
        let each =
            |histogram: &Histogram<u64>, missing| Latency::new(histogram, histogram.len(), missing);
        let messages = measured.last_relay.len();
        let censored = &measured.censored;
        let relay = Latency::new(&measured.relay, messages, missing.relays());
        let last_relay = each(&measured.last_relay, missing.last_relays);
        Self {
            ack: each(&measured.ack, missing.acks).with(&measured.ack, &censored.ack),
            relay: relay.with(&measured.relay, &censored.relay),
            last_relay: last_relay.with(&measured.last_relay, &censored.last_relay),
            spread: each(&measured.spread, 0).with(&measured.spread, &censored.spread),
            send_lag: each(&measured.send_lag, measured.unsent),
            connect: each(&measured.connect, 0),
            ack_service: each(&measured.ack_service, missing.acks),
            relay_service: Latency::new(&measured.relay_service, messages, missing.relays()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Latency {
    count: u64,
    min: Option<u64>,
    mean: Option<u64>,
    stddev: Option<u64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    p99_99: Option<u64>,
    max: Option<u64>,
    /// Messages behind the samples: what the intervals go by.
    messages: u64,
    /// Samples that are not there because what they would measure never came.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    ci95: Intervals,
    histogram: String,
    /// Those that had not come when the run stopped listening, as late as they are at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    outstanding: Option<Outstanding>,
}

/// The percentiles are those of all samples, these taken to be as late as they are at least.
#[derive(Serialize)]
struct Outstanding {
    count: u64,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    p99_99: Option<u64>,
    max: Option<u64>,
    /// Their lower bounds.
    histogram: String,
}

impl Outstanding {
    fn new(came: &Histogram<u64>, at_least: &Histogram<u64>) -> Self {
        let bound = |p| censored::percentile(came, at_least, p).map(|bound| bound.ns);
        Self {
            count: at_least.len(),
            p50: bound(50.0),
            p90: bound(90.0),
            p99: bound(99.0),
            p99_9: bound(99.9),
            p99_99: bound(99.99),
            max: bound(100.0),
            histogram: encode(at_least),
        }
    }
}

/// 95 % intervals, each `[low, high]` or `null`.
#[derive(Serialize)]
struct Intervals {
    p50: Option<[u64; 2]>,
    p99: Option<[u64; 2]>,
    p99_9: Option<[u64; 2]>,
}

impl Latency {
    pub(super) fn new(histogram: &Histogram<u64>, messages: u64, missing: u64) -> Self {
        let interval = |percentile| {
            let Range { low_ns, high_ns } = range(histogram, percentile, messages)?;
            Some([low_ns, high_ns])
        };
        let any = !histogram.is_empty();
        Self {
            count: histogram.len(),
            min: any.then(|| histogram.min()),
            mean: any.then(|| histogram.mean().round() as u64),
            stddev: (histogram.len() > 1).then(|| histogram.stdev().round() as u64),
            p50: percentile(histogram, 50.0),
            p90: percentile(histogram, 90.0),
            p99: percentile(histogram, 99.0),
            p99_9: percentile(histogram, 99.9),
            p99_99: percentile(histogram, 99.99),
            max: any.then(|| histogram.max()),
            messages: messages.min(histogram.len()),
            missing: Some(missing),
            ci95: Intervals {
                p50: interval(50.0),
                p99: interval(99.0),
                p99_9: interval(99.9),
            },
            histogram: encode(histogram),
            outstanding: None,
        }
    }
}

impl Latency {
    /// With what had not come: `at_least` so late.
    pub(super) fn with(self, came: &Histogram<u64>, at_least: &Histogram<u64>) -> Self {
        Self {
            outstanding: (!at_least.is_empty()).then(|| Outstanding::new(came, at_least)),
            ..self
        }
    }

    /// That of one group: what never came is counted for all groups together.
    pub(super) fn of_group(histogram: &Histogram<u64>, messages: u64) -> Self {
        Self {
            missing: None,
            ..Self::new(histogram, messages, 0)
        }
    }
}

#[derive(Serialize)]
pub(super) struct Rates {
    offered: Option<f64>,
    sent: Option<f64>,
    acked: Option<f64>,
    delivered: Option<f64>,
    bytes_in: Option<f64>,
    bytes_out: Option<f64>,
}

impl Rates {
    pub(super) fn new(measured: &Measured) -> Self {
        let counts = &measured.counts;
        let rate = |events| per_second(events, measured);
        Self {
            offered: measured.offered.and_then(rate),
            sent: rate(counts.sent),
            acked: rate(counts.acked),
            delivered: rate(counts.delivered),
            bytes_in: rate(counts.bytes_in),
            bytes_out: rate(counts.bytes_out),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Trend {
    relay_p50_from_ns: u64,
    relay_p50_to_ns: u64,
    z: f64,
}

impl Trend {
    pub(super) const fn new(drift: &Drift) -> Self {
        Self {
            relay_p50_from_ns: drift.from_ns,
            relay_p50_to_ns: drift.to_ns,
            z: drift.z,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Point {
    t_ns: u64,
    sent: u64,
    acked: u64,
    delivered: u64,
    clients: u64,
    relay_p50_ns: Option<u64>,
    relay_p99_ns: Option<u64>,
    relay_max_ns: Option<u64>,
}

impl Point {
    pub(super) fn new(point: &TimelinePoint) -> Self {
        let carried = |percentile| point.delivered >= min_samples(percentile);
        Self {
            t_ns: point.t_ns,
            sent: point.sent,
            acked: point.acked,
            delivered: point.delivered,
            clients: point.clients,
            relay_p50_ns: carried(50.0).then_some(point.relay_p50_ns),
            relay_p99_ns: carried(99.0).then_some(point.relay_p99_ns),
            relay_max_ns: carried(100.0).then_some(point.relay_max_ns),
        }
    }
}
