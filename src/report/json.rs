//! The JSON result, schema 1: what other programs read.
//!
//! Keys may be added and never renamed; their order is fixed. Integers are nanoseconds or counts,
//! with the unit in the key. A figure that the samples do not carry is `null`. The histograms are
//! in the result, so that a reader can take any percentile and add results up.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;

use super::caveats::Missing;
use super::thresholds::{Judged, per_second};
use super::{Environment, Report};
use crate::driver::outcome::ProcessUse;
use crate::measure::confidence::{Range, range};
use crate::measure::health::{Doubt, ShardLoad};
use crate::measure::percentile::{min_samples, percentile};
use crate::measure::{Measured, TimelinePoint};
use crate::scenario::plan::Promises;
use crate::verify::findings::{self, Example, Findings};

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// The report as JSON, indented, with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> Vec<u8> {
    let result = Result::new(report);
    let mut json = serde_json::to_vec_pretty(&result).expect("string keys and plain values");
    json.push(b'\n');
    json
}

#[derive(Serialize)]
struct Result<'a> {
    schema: u32,
    chatbench: &'static str,
    started: String,
    elapsed_ns: u64,
    scenario: Scenario<'a>,
    target: Target<'a>,
    environment: &'a Environment,
    verdict: &'static str,
    exit_code: u8,
    reasons: &'a [String],
    notes: &'a [String],
    rerun: &'a str,
    judged: Promised,
    counts: Counts,
    violations: Vec<Violations<'a>>,
    coverage: Coverage,
    window: Window,
    latency_ns: Latencies,
    rates: Rates,
    generator: Generator,
    server: Option<Process>,
    thresholds: Vec<Threshold<'a>>,
    drift: Option<Trend>,
    timeline: Vec<Point>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    description: Option<&'a str>,
    seed: u64,
    resolved: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Target<'a> {
    url: &'a str,
    embedded: bool,
    /// What a server with `target.faults` said that it did wrong, a line each.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [String],
}

/// By what the target was judged, and what it promised.
#[derive(Serialize)]
struct Promised {
    by: &'static str,
    ack: &'static str,
    relay: &'static str,
    order: &'static str,
    echo: bool,
}

/// Over the whole run, warm-up and drain included.
#[derive(Serialize)]
struct Counts {
    clients: u64,
    connected: u64,
    #[serde(flatten)]
    seen: Seen,
}

/// What verification counted.
#[derive(Serialize)]
pub(super) struct Seen {
    sessions: u64,
    sent: u64,
    acked: u64,
    owed: u64,
    delivered: u64,
    optional: u64,
    lost: u64,
    duplicated: u64,
    errors_received: u64,
    unexpected_closes: u64,
    unknown_frames: u64,
    unresolved: u64,
}

#[derive(Serialize)]
pub(super) struct Violations<'a> {
    kind: &'static str,
    rule: &'static str,
    count: u64,
    examples: Vec<Violation<'a>>,
}

#[derive(Serialize)]
struct Violation<'a> {
    text: &'a str,
    sender: Option<&'a str>,
    receiver: Option<&'a str>,
    k: Option<u64>,
    seq: Option<u64>,
    at_ns: u64,
}

#[derive(Serialize)]
pub(super) struct Coverage {
    overlapping_sends: u64,
    joins_during_traffic: u64,
    polite_leaves: u64,
    aborts: u64,
    split_frames: u64,
    joined_frames: u64,
    fences_seen: u64,
}

/// Over the measured phase alone; `rates` are these by its length.
#[derive(Serialize)]
struct Window {
    start_ns: u64,
    end_ns: u64,
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

#[derive(Serialize)]
struct Latencies {
    ack: Latency,
    relay: Latency,
    last_relay: Latency,
    spread: Latency,
    send_lag: Latency,
    connect: Latency,
    ack_service: Latency,
    relay_service: Latency,
}

#[derive(Serialize)]
struct Latency {
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
    missing: u64,
    ci95: Intervals,
    histogram: String,
}

/// 95 % intervals, each `[low, high]` or `null`.
#[derive(Serialize)]
struct Intervals {
    p50: Option<[u64; 2]>,
    p99: Option<[u64; 2]>,
    p99_9: Option<[u64; 2]>,
}

#[derive(Serialize)]
struct Trend {
    relay_p50_from_ns: u64,
    relay_p50_to_ns: u64,
    z: f64,
}

#[derive(Serialize)]
struct Rates {
    offered: Option<f64>,
    sent: Option<f64>,
    acked: Option<f64>,
    delivered: Option<f64>,
    bytes_in: Option<f64>,
    bytes_out: Option<f64>,
}

#[derive(Serialize)]
struct Generator {
    cpu_s: f64,
    max_rss_bytes: u64,
    saturated: bool,
    behind: u64,
    longest_pause_ns: u64,
    heartbeat_ns: Latency,
    unread_bytes: Unread,
    shards: Vec<Shard>,
    doubts: Vec<Doubtful>,
}

/// Bytes that lay unread in a client's socket, sampled at each heartbeat.
#[derive(Serialize)]
struct Unread {
    count: u64,
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

/// One shard's thread in the measured phase.
#[derive(Serialize)]
struct Shard {
    cpu_s: f64,
    busy: f64,
    waited: f64,
}

#[derive(Serialize)]
struct Doubtful {
    metric: &'static str,
    percentile: f64,
    figure_ns: u64,
    own_ns: u64,
}

#[derive(Serialize)]
struct Process {
    cpu_s: f64,
    max_rss_bytes: u64,
}

#[derive(Serialize)]
struct Threshold<'a> {
    metric: &'static str,
    expr: &'a str,
    observed: Option<Number>,
    ok: Option<bool>,
    samples: u64,
    samples_wanted: u64,
}

#[derive(Serialize)]
struct Point {
    t_ns: u64,
    sent: u64,
    acked: u64,
    delivered: u64,
    clients: u64,
    relay_p50_ns: Option<u64>,
    relay_p99_ns: Option<u64>,
    relay_max_ns: Option<u64>,
}

impl<'a> Result<'a> {
    fn new(report: &'a Report) -> Self {
        let outcome = &report.outcome;
        let measured = &outcome.measured;
        Self {
            schema: SCHEMA,
            chatbench: env!("CARGO_PKG_VERSION"),
            started: rfc3339(outcome.started),
            elapsed_ns: u64::try_from(outcome.elapsed.as_nanos()).unwrap_or(u64::MAX),
            scenario: Scenario {
                name: &report.name,
                description: report.description.as_deref(),
                seed: report.seed,
                resolved: &report.resolved,
            },
            target: Target {
                url: &outcome.target_url,
                embedded: outcome.embedded,
                faults: &outcome.faults,
            },
            environment: &report.environment,
            verdict: report.verdict.name(),
            exit_code: report.verdict.exit_code(),
            reasons: &report.reasons,
            notes: &report.notes,
            rerun: &report.rerun,
            judged: Promised::new(&report.promises),
            counts: Counts::new(report),
            violations: Violations::all(&outcome.findings),
            coverage: Coverage::new(&outcome.findings.coverage),
            window: Window::new(measured),
            latency_ns: Latencies::new(report),
            rates: Rates::new(measured),
            generator: Generator::new(report),
            server: outcome.server.as_ref().map(Process::new),
            thresholds: report.thresholds.iter().map(Threshold::new).collect(),
            drift: report.drift.as_ref().map(|drift| Trend {
                relay_p50_from_ns: drift.from_ns,
                relay_p50_to_ns: drift.to_ns,
                z: drift.z,
            }),
            timeline: measured.timeline.iter().map(Point::new).collect(),
        }
    }
}

/// A wall-clock time as RFC 3339 in UTC, to the millisecond.
fn rfc3339(time: std::time::SystemTime) -> String {
    // Out of jiff's range is before the year −9999 or after 9999: a clock that is not set.
    Timestamp::try_from(time)
        .and_then(|timestamp| timestamp.round(jiff::Unit::Millisecond))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

impl Promised {
    fn new(promises: &Promises) -> Self {
        Self {
            by: if promises.use_seq {
                "numbers"
            } else {
                "outside"
            },
            ack: promises.ack.word(),
            relay: promises.relay.word(),
            order: promises.order.word(),
            echo: promises.echo,
        }
    }
}

impl Counts {
    const fn new(report: &Report) -> Self {
        Self {
            clients: report.outcome.clients,
            connected: report.outcome.connected,
            seen: Seen::new(&report.outcome.findings.counts),
        }
    }
}

impl Seen {
    pub(super) const fn new(counts: &findings::Counts) -> Self {
        Self {
            sessions: counts.sessions,
            sent: counts.sent,
            acked: counts.acked,
            owed: counts.owed,
            delivered: counts.delivered,
            optional: counts.optional,
            lost: counts.lost,
            duplicated: counts.duplicated,
            errors_received: counts.errors_received,
            unexpected_closes: counts.unexpected_closes,
            unknown_frames: counts.unknown_frames,
            unresolved: counts.unresolved,
        }
    }
}

impl<'a> Violations<'a> {
    pub(super) fn all(findings: &'a Findings) -> Vec<Self> {
        let kinds = findings.violations.iter();
        kinds
            .map(|(kind, tally)| Self {
                kind: kind.name(),
                rule: kind.rule(),
                count: tally.count,
                examples: tally.examples.iter().map(Violation::new).collect(),
            })
            .collect()
    }
}

impl<'a> Violation<'a> {
    fn new(example: &'a Example) -> Self {
        Self {
            text: &example.text,
            sender: example.sender.as_deref(),
            receiver: example.receiver.as_deref(),
            k: example.k,
            seq: example.seq,
            at_ns: example.at_ns,
        }
    }
}

impl Coverage {
    pub(super) const fn new(coverage: &findings::Coverage) -> Self {
        Self {
            overlapping_sends: coverage.overlapping_sends,
            joins_during_traffic: coverage.joins_during_traffic,
            polite_leaves: coverage.polite_leaves,
            aborts: coverage.aborts,
            split_frames: coverage.split_frames,
            joined_frames: coverage.joined_frames,
            fences_seen: coverage.fences_seen,
        }
    }
}

impl Window {
    const fn new(measured: &Measured) -> Self {
        let counts = &measured.counts;
        Self {
            start_ns: measured.window.start_ns,
            end_ns: measured.window.end_ns,
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

impl Latencies {
    fn new(report: &Report) -> Self {
        let measured = &report.outcome.measured;
        let missing = Missing::of(&report.promises, &report.outcome);
        // Each sample a message, but for deliveries.
        let each =
            |histogram: &Histogram<u64>, missing| Latency::new(histogram, histogram.len(), missing);
        let messages = measured.last_relay.len();
        Self {
            ack: each(&measured.ack, missing.acks),
            relay: Latency::new(&measured.relay, messages, missing.relays),
            last_relay: each(&measured.last_relay, missing.last_relays),
            spread: each(&measured.spread, 0),
            send_lag: each(&measured.send_lag, measured.unsent),
            connect: each(&measured.connect, 0),
            ack_service: each(&measured.ack_service, missing.acks),
            relay_service: Latency::new(&measured.relay_service, messages, missing.relays),
        }
    }
}

impl Generator {
    fn new(report: &Report) -> Self {
        let outcome = &report.outcome;
        let measured = &outcome.measured;
        let health = &outcome.health;
        let unread = &measured.unread_bytes;
        Self {
            cpu_s: outcome.generator.cpu.as_secs_f64(),
            max_rss_bytes: outcome.generator.max_rss_bytes,
            saturated: health.is_saturated(),
            behind: health.behind,
            longest_pause_ns: health.longest_pause_ns,
            heartbeat_ns: Latency::new(&measured.heartbeat, measured.heartbeat.len(), 0),
            unread_bytes: Unread {
                count: unread.len(),
                p50: percentile(unread, 50.0),
                p99: percentile(unread, 99.0),
                max: percentile(unread, 100.0),
            },
            shards: health.shards.iter().map(Shard::new).collect(),
            doubts: health.doubts.iter().map(Doubtful::new).collect(),
        }
    }
}

impl Shard {
    fn new(load: &ShardLoad) -> Self {
        Self {
            cpu_s: load.cpu_ns as f64 / 1e9,
            busy: load.busy(),
            waited: load.waited(),
        }
    }
}

impl Doubtful {
    const fn new(doubt: &Doubt) -> Self {
        Self {
            metric: doubt.metric,
            percentile: doubt.percentile,
            figure_ns: doubt.figure_ns,
            own_ns: doubt.own_ns,
        }
    }
}

impl Latency {
    fn new(histogram: &Histogram<u64>, messages: u64, missing: u64) -> Self {
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
            missing,
            ci95: Intervals {
                p50: interval(50.0),
                p99: interval(99.0),
                p99_9: interval(99.9),
            },
            histogram: encoded(histogram),
        }
    }
}

/// HdrHistogram V2, deflated, in base64: the form that every HdrHistogram implementation reads.
fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a Vec takes all, and no count exceeds an i64");
    BASE64.encode(bytes)
}

impl Rates {
    fn new(measured: &Measured) -> Self {
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

impl Process {
    const fn new(process: &ProcessUse) -> Self {
        Self {
            cpu_s: process.cpu.as_secs_f64(),
            max_rss_bytes: process.max_rss_bytes,
        }
    }
}

impl<'a> Threshold<'a> {
    fn new(judged: &'a Judged) -> Self {
        let number = |observed: f64| {
            if judged.is_rate {
                Number::from_f64(observed)
            } else {
                Some(Number::from(observed.round() as u64))
            }
        };
        Self {
            metric: judged.metric,
            expr: &judged.expr,
            observed: judged.observed.and_then(number),
            ok: judged.ok,
            samples: judged.samples,
            samples_wanted: judged.wanted,
        }
    }
}

impl Point {
    fn new(point: &TimelinePoint) -> Self {
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

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample;
    use crate::verify::kind::Kind;

    fn parsed(report: &Report) -> Value {
        serde_json::from_slice(&render(report)).unwrap()
    }

    /// Every key of the documented schema, as JSON pointers.
    const KEYS: &str = "/schema /chatbench /started /elapsed_ns /scenario/name /scenario/seed \
        /scenario/resolved /target/url /target/embedded /environment/os /environment/kernel \
        /environment/cpus /environment/host /verdict /exit_code /reasons /counts/clients \
        /counts/connected /counts/sent /counts/acked /counts/owed /counts/delivered \
        /counts/optional /counts/lost /counts/duplicated /counts/errors_received \
        /counts/unexpected_closes /violations/0/kind /violations/0/rule /violations/0/count \
        /violations/0/examples/0/text /violations/0/examples/0/sender \
        /violations/0/examples/0/receiver /violations/0/examples/0/k \
        /violations/0/examples/0/seq /violations/0/examples/0/at_ns \
        /coverage/overlapping_sends /coverage/joins_during_traffic /coverage/polite_leaves \
        /coverage/aborts /coverage/split_frames /coverage/joined_frames /coverage/fences_seen \
        /rates/offered /rates/sent /rates/acked /rates/delivered /rates/bytes_in \
        /rates/bytes_out /generator/cpu_s /generator/max_rss_bytes /generator/saturated \
        /generator/behind /generator/longest_pause_ns /generator/heartbeat_ns/p99 \
        /generator/unread_bytes/p99 /generator/shards/0/busy /generator/shards/0/waited \
        /generator/doubts /notes /window/unsent /window/due_and_sent /counts/unresolved \
        /latency_ns/relay/ci95/p50/0 /latency_ns/relay/ci95/p99/1 /latency_ns/relay/missing \
        /latency_ns/relay/messages \
        /server/cpu_s /server/max_rss_bytes /thresholds/0/metric /thresholds/0/expr \
        /thresholds/0/observed /thresholds/0/ok /timeline/0/t_ns /timeline/0/sent \
        /timeline/0/acked /timeline/0/delivered /timeline/0/clients /timeline/0/relay_p50_ns \
        /timeline/0/relay_p99_ns /timeline/0/relay_max_ns";

    #[test]
    fn every_documented_key_is_there_and_filled() {
        let report = sample::report(|_, o| {
            o.findings.violation(Kind::LostRelay, sample::example);
            // From the first second on, so that the first point of the timeline is filled too.
            o.measured.timeline.drain(..2);
            for latency in [&mut o.measured.ack, &mut o.measured.connect] {
                latency.record_n(1_000, 40_000).unwrap();
            }
        });
        let result = parsed(&report);
        for key in KEYS.split_whitespace() {
            let value = result.pointer(key);
            assert!(value.is_some_and(|v| !v.is_null()), "{key}: {value:?}");
        }
        for class in [
            "ack",
            "relay",
            "last_relay",
            "spread",
            "send_lag",
            "connect",
            "ack_service",
            "relay_service",
        ] {
            let latency = &result["latency_ns"][class];
            for key in ["count", "min", "mean", "stddev", "p50", "max", "histogram"] {
                assert!(!latency[key].is_null(), "{class} {key}");
            }
            for key in ["p90", "p99", "p99_9", "p99_99"] {
                assert!(latency.get(key).is_some(), "{class} {key}");
            }
        }
    }

    #[test]
    fn the_figures_are_those_of_the_run() {
        let result = parsed(&sample::report(|_, _| ()));
        assert_eq!(result["started"], "2026-01-01T12:00:00.25Z");
        assert_eq!(result["verdict"], "pass");
        assert_eq!(result["rates"]["sent"], 500.0);
        // 9 of the last message's 103 relays came after the window.
        assert_eq!(result["rates"]["delivered"], 51_499.1);
        assert_eq!(result["window"]["sent"], 5_000);
        assert_eq!(result["latency_ns"]["relay"]["count"], 515_000);
        assert_eq!(result["thresholds"][0]["ok"], true);
        assert_eq!(
            result["thresholds"][0]["observed"],
            result["latency_ns"]["relay"]["p99"]
        );
        assert_eq!(result["timeline"].as_array().unwrap().len(), 12);
        assert_eq!(result["timeline"][2]["delivered"], 51_500);
    }

    #[test]
    fn a_histogram_reads_back_as_the_one_that_was_measured() {
        let report = sample::report(|_, _| ());
        let result = parsed(&report);
        let base64 = result["latency_ns"]["relay"]["histogram"].as_str().unwrap();
        assert!(
            base64.starts_with("HISTFAAAA"),
            "what .hlog readers look for"
        );
        let bytes = BASE64.decode(base64).unwrap();
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .unwrap();
        assert!(read == report.outcome.measured.relay);
    }

    #[test]
    fn what_the_samples_do_not_carry_is_null() {
        let result = parsed(&sample::report(|_, o| {
            o.measured.ack.reset();
            o.measured.relay.reset();
            o.measured.relay.record_n(5_000, 367).unwrap();
            o.measured.offered = None;
            o.server = None;
        }));
        let ack = result["latency_ns"]["ack"].as_object().unwrap();
        let filled: Vec<_> = ack
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, _)| k)
            .collect();
        assert_eq!(
            filled,
            ["ci95", "count", "histogram", "messages", "missing"]
        );
        assert_eq!(ack["missing"], 5_000, "what was sent and not acked");
        assert_eq!(ack["ci95"]["p50"], Value::Null);
        let relay = &result["latency_ns"]["relay"];
        assert_eq!(
            (&relay["p90"], &relay["p99"]),
            (&json!(5_003), &Value::Null)
        );
        assert_eq!(result["rates"]["offered"], Value::Null);
        assert_eq!(result["server"], Value::Null);
        assert_eq!(result["thresholds"][0]["ok"], Value::Null);
        assert_eq!(result["thresholds"][0]["observed"], Value::Null);
        assert_eq!(
            result["timeline"][0]["relay_max_ns"],
            Value::Null,
            "a second of silence"
        );
    }

    #[test]
    fn the_same_report_is_the_same_bytes() {
        let make = || render(&sample::report(|_, _| ()));
        assert_eq!(make(), make());
        let text = String::from_utf8(make()).unwrap();
        assert!(text.starts_with("{\n  \"schema\": 1,\n  \"chatbench\": "));
        assert!(text.ends_with("}\n"));
    }
}
