//! The JSON result, schema 1: what other programs read.
//!
//! Keys may be added and never renamed; their order is fixed. Integers are nanoseconds or counts,
//! with the unit in the key. A figure that the samples do not carry is `null`. The histograms are
//! in the result, so that a reader can take any percentile and add results up.

mod findings;
mod groups;
mod measured;
mod processes;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;

use super::thresholds::Judged;
use super::{Environment, Report};
use crate::scenario::plan::Promises;
use crate::terminal;
use findings::Counts;
pub(super) use findings::{Coverage, Seen, Violations};
use groups::Group;
use measured::{Latencies, Point, Rates, Trend, Window};
use processes::{Generator, Process};

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// The report as JSON, indented, with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> Vec<u8> {
    document(&Result::new(report))
}

/// `value` as an indented JSON document with a newline at its end, which is harmless on a terminal
/// too.
#[must_use]
pub(crate) fn document(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_string_pretty(value).expect("string keys and plain values");
    json.push('\n');
    match terminal::visible_json(&json) {
        Cow::Owned(visible) => visible.into_bytes(),
        Cow::Borrowed(_) => json.into_bytes(),
    }
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
    error: Option<&'a str>,
    judged: Promised,
    counts: Option<Counts>,
    violations: Vec<Violations<'a>>,
    coverage: Option<Coverage>,
    window: Window,
    latency_ns: Latencies,
    groups: Vec<Group<'a>>,
    rates: Rates,
    generator: Generator,
    server: Option<Process>,
    thresholds: Vec<Threshold<'a>>,
    drift: Option<Trend>,
    timeline: Vec<Point>,
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

impl<'a> Result<'a> {
    fn new(report: &'a Report) -> Self {
        let outcome = &report.outcome;
        let measured = &outcome.measured;
        let ran = outcome.error.is_none();
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
            error: outcome.error.as_ref().map(|error| error.what.as_str()),
            judged: Promised::new(&report.promises),
            counts: ran.then(|| Counts::new(report)),
            violations: Violations::all(&outcome.findings, report.late),
            coverage: ran.then(|| Coverage::new(&outcome.findings.coverage)),
            window: Window::new(measured),
            latency_ns: Latencies::new(report),
            groups: Group::all(report),
            rates: Rates::new(measured),
            generator: Generator::new(report),
            server: outcome.server.as_ref().map(Process::new),
            thresholds: report.thresholds.iter().map(Threshold::new).collect(),
            drift: report.drift.as_ref().map(Trend::new),
            timeline: measured.timeline.iter().map(Point::new).collect(),
        }
    }
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

#[derive(Serialize)]
struct Threshold<'a> {
    metric: &'a str,
    expr: &'a str,
    observed: Option<Number>,
    ok: Option<bool>,
    samples: u64,
    samples_wanted: u64,
    /// It is only known to be no less than `observed`.
    at_least: bool,
    /// Samples that had not come when the run stopped listening.
    outstanding: u64,
    /// Why it is not held against the target that it was crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    excuse: Option<&'a str>,
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
            metric: &judged.metric,
            expr: &judged.expr,
            observed: judged.observed.and_then(number),
            ok: judged.ok,
            samples: judged.samples,
            samples_wanted: judged.wanted,
            at_least: judged.at_least,
            outstanding: judged.outstanding,
            excuse: judged.excuse.as_deref(),
        }
    }
}

/// A wall-clock time as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(time: std::time::SystemTime) -> String {
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

#[cfg(test)]
mod tests;
