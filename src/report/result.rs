//! A result read back: what `result.json` says, as typed figures.
//!
//! The reader takes what it needs and ignores the rest, so that a newer chatbench may have added
//! keys; the schema's version says when they mean something else. Everything that is made *from*
//! a result (the HTML report, files for other tools, comparisons) is made from this type, whether
//! the run has just ended or ended last year.

mod reading;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Environment, figures, generator};
use crate::measure::censored::{self, AtLeast, together};
use crate::measure::percentile::percentile as exactly;
pub use reading::{Error, MAX_FILE_BYTES};

/// One run's result.
#[derive(Debug, Clone, Deserialize)]
pub struct RunResult {
    /// The version of chatbench that made it.
    pub chatbench: String,
    /// When the run began, RFC 3339.
    pub started: String,
    /// From the first connection to the end of the drain.
    pub elapsed_ns: u64,
    /// What was asked.
    pub scenario: Scenario,
    /// What was driven.
    pub target: Target,
    /// Where the driver ran.
    pub environment: Environment,
    /// The one word.
    pub verdict: String,
    /// Why it is not a pass.
    pub reasons: Vec<String>,
    /// What a reader of the figures should know beside the verdict.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The command that runs the same again.
    #[serde(default)]
    pub rerun: String,
    /// By what the target was judged; earlier versions do not say.
    pub judged: Option<Promised>,
    /// What kept the run from coming about, or from being judged.
    pub error: Option<String>,
    /// What was counted over the whole run, if it came about.
    pub counts: Option<Counts>,
    /// What was broken, a kind each.
    pub violations: Vec<Violations>,
    /// What the run exercised.
    pub coverage: Option<BTreeMap<String, u64>>,
    /// The measured phase.
    pub window: Window,
    /// Latencies by class; see [`RunResult::classes`] for an order.
    #[serde(deserialize_with = "reading::classes")]
    pub latency_ns: BTreeMap<String, Latency>,
    /// Latencies by group of clients; an older result has none.
    #[serde(default, deserialize_with = "reading::groups")]
    pub groups: Vec<Group>,
    /// Events a second in the measured phase.
    pub rates: BTreeMap<String, Option<f64>>,
    /// The driver's process.
    pub generator: Generator,
    /// The embedded server's process.
    pub server: Option<Process>,
    /// The thresholds, judged.
    pub thresholds: Vec<Threshold>,
    /// One point a second.
    pub timeline: Vec<Point>,
}

/// The scenario of a result.
#[derive(Debug, Clone, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The question it asks.
    pub description: Option<String>,
    /// Where all randomness came from.
    pub seed: u64,
    /// Every key with its value.
    pub resolved: Value,
}

/// The target of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its address.
    pub url: String,
    /// Whether it was the embedded server.
    pub embedded: bool,
}

/// By what a target was judged, and what it promised, in a scenario's words.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Promised {
    /// `numbers`, those that the target states, or `outside`.
    pub by: String,
    pub ack: String,
    pub relay: String,
    pub order: String,
    pub echo: bool,
}

/// What was counted over a whole run.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs)] // the keys of the result, described in docs/result.schema.json
pub struct Counts {
    pub clients: u64,
    pub connected: u64,
    pub sent: u64,
    pub acked: u64,
    pub owed: u64,
    pub delivered: u64,
    pub optional: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub errors_received: u64,
    pub unexpected_closes: u64,
}

/// All violations of one kind.
#[derive(Debug, Clone, Deserialize)]
pub struct Violations {
    /// The kind's name.
    pub kind: String,
    /// The rule it breaks; `–` if none of the protocol's.
    pub rule: String,
    /// The verdict that these lead to on their own: `fail` but for late relays.
    #[serde(default = "fail")]
    pub counts_as: String,
    /// How many there were.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// What older results do not say.
fn fail() -> String {
    "fail".to_owned()
}

impl Violations {
    /// Whether a run fails for these.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.counts_as == "fail"
    }
}

/// One violation.
#[derive(Debug, Clone, Deserialize)]
pub struct Example {
    /// What happened, in words.
    pub text: String,
    /// Whose message it was about.
    pub sender: Option<String>,
    /// Who should, or should not, have got it.
    pub receiver: Option<String>,
    /// The sender's count of it.
    pub k: Option<u64>,
    /// The server's number of it.
    pub seq: Option<u64>,
    /// When it was found, since the run began.
    pub at_ns: u64,
}

/// The measured phase, since the run began.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs)]
pub struct Window {
    pub start_ns: Option<u64>,
    pub end_ns: Option<u64>,
    #[serde(default)]
    pub unsent: u64,
}

impl Window {
    /// From when to when was measured; `None` if the run did not come to that. Earlier versions
    /// wrote a phase without a length then.
    #[must_use]
    pub fn measured(&self) -> Option<Range<u64>> {
        let phase = self.start_ns?..self.end_ns?;
        (!phase.is_empty()).then_some(phase)
    }

    /// How long that was.
    #[must_use]
    pub fn length(&self) -> Duration {
        let length = self.measured().map(|phase| phase.end - phase.start);
        Duration::from_nanos(length.unwrap_or(0))
    }
}

/// One group of clients.
#[derive(Debug, Clone, Deserialize)]
pub struct Group {
    /// Its name in the scenario.
    pub name: String,
    /// How many clients it has.
    pub clients: u64,
    /// Its latencies.
    pub latency_ns: GroupLatencies,
}

/// A group's latencies; `None` where there is no sample.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct GroupLatencies {
    pub ack: Option<Latency>,
    pub relay: Option<Latency>,
}

/// One class of latency. A figure that the samples do not carry is `None`.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub count: u64,
    pub min: Option<u64>,
    pub mean: Option<u64>,
    pub stddev: Option<u64>,
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p99_9: Option<u64>,
    pub p99_99: Option<u64>,
    pub max: Option<u64>,
    /// Samples that are not there because what they would measure never came.
    #[serde(default)]
    pub missing: u64,
    /// How far the percentiles can be trusted.
    #[serde(default)]
    pub ci95: Intervals,
    /// All of them.
    #[serde(deserialize_with = "reading::histogram")]
    pub histogram: Histogram<u64>,
    /// Those that had not come when the run stopped listening.
    #[serde(default)]
    pub outstanding: Option<Outstanding>,
}

/// What had not come when the run stopped listening.
#[derive(Debug, Clone, Deserialize)]
pub struct Outstanding {
    /// How many.
    pub count: u64,
    /// How late each is at least.
    #[serde(deserialize_with = "reading::histogram")]
    pub histogram: Histogram<u64>,
}

impl Latency {
    /// A percentile of all samples, and whether it may be more by what had not come; `None` if they
    /// do not carry it.
    #[must_use]
    pub fn at(&self, percentile: f64) -> Option<AtLeast> {
        if let Some(outstanding) = &self.outstanding {
            return censored::percentile(&self.histogram, &outstanding.histogram, percentile);
        }
        let ns = match percentile {
            50.0 => self.p50,
            90.0 => self.p90,
            99.0 => self.p99,
            99.9 => self.p99_9,
            99.99 => self.p99_99,
            100.0 => self.max,
            _ => exactly(&self.histogram, percentile),
        };
        ns.map(|ns| AtLeast { ns, open: false })
    }

    /// All samples, what had not come as late as it is at least.
    #[must_use]
    pub fn all(&self) -> Cow<'_, Histogram<u64>> {
        match &self.outstanding {
            None => Cow::Borrowed(&self.histogram),
            Some(outstanding) => Cow::Owned(together(&self.histogram, &outstanding.histogram)),
        }
    }
}

/// 95 % intervals of percentiles, `[low, high]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Intervals {
    pub p50: Option<[u64; 2]>,
    pub p99: Option<[u64; 2]>,
    pub p99_9: Option<[u64; 2]>,
}

/// The driver's process.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Generator {
    pub cpu_s: f64,
    pub max_rss_bytes: u64,
    pub saturated: bool,
    /// The longest time that a shard stood still.
    #[serde(default)]
    pub longest_pause_ns: u64,
    /// How late the shards' heartbeats were.
    #[serde(default)]
    pub heartbeat_ns: Option<Latency>,
    /// Each shard's thread in the measured phase.
    #[serde(default)]
    pub shards: Vec<Shard>,
    /// Figures that say more about the generator than about the target.
    #[serde(default)]
    pub doubts: Vec<Doubt>,
}

/// One shard's thread in the measured phase, as shares of its time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs)]
pub struct Shard {
    pub busy: f64,
    pub waited: f64,
}

impl Generator {
    /// How it did, in a word or two.
    pub(super) fn state(&self) -> &'static str {
        let occupied = self.shards.iter().map(|shard| shard.busy + shard.waited);
        generator::state_of(self.saturated, occupied.fold(0.0, f64::max))
    }
}

/// A latency of which more than half may be the generator's own.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Doubt {
    pub metric: String,
    pub percentile: f64,
    pub figure_ns: u64,
    pub own_ns: u64,
}

/// The embedded server's process.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs)]
pub struct Process {
    pub cpu_s: f64,
    pub max_rss_bytes: u64,
}

/// A judged threshold.
#[derive(Debug, Clone, Deserialize)]
pub struct Threshold {
    /// What is measured.
    pub metric: String,
    /// The expression as it was written.
    pub expr: String,
    /// What was seen, if anything: ns, or events a second.
    pub observed: Option<f64>,
    /// Whether it holds; `None` if that cannot be judged.
    pub ok: Option<bool>,
    /// Samples behind it.
    #[serde(default)]
    pub samples: u64,
    /// Samples that it takes.
    #[serde(default)]
    pub samples_wanted: u64,
    /// Whether it is only known to be no less than `observed`.
    #[serde(default)]
    pub at_least: bool,
    /// Samples that had not come when the run stopped listening.
    #[serde(default)]
    pub outstanding: u64,
    /// Why it is not held against the target that it was crossed.
    #[serde(default)]
    pub excuse: Option<String>,
}

impl Threshold {
    /// What was seen, in words: `at least 5.20 s`; `None` for nothing.
    #[must_use]
    pub fn observed_text(&self) -> Option<String> {
        let observed = self.observed?;
        Some(match (self.metric.as_str(), self.at_least) {
            ("rates", _) => figures::rate(observed),
            (_, true) => format!("at least {}", figures::latency(observed.round() as u64)),
            (_, false) => figures::latency(observed.round() as u64),
        })
    }

    /// Why it cannot be judged.
    #[must_use]
    pub fn doubt(&self) -> String {
        if let (Some(excuse), Some(was)) = (&self.excuse, self.observed_text()) {
            return format!("it was {was}, {excuse}: it cannot be judged");
        }
        if self.samples < self.samples_wanted {
            let (samples, wanted) = (self.samples, self.samples_wanted);
            return format!("{samples} of {wanted} samples: it cannot be judged");
        }
        let outstanding = figures::count(self.outstanding);
        let was = self.observed_text().map(|was| format!("it was {was}, "));
        let was = was.unwrap_or_default();
        format!("{was}with {outstanding} outstanding: it cannot be judged")
    }
}

/// One second of the run.
#[derive(Debug, Clone, Copy, Deserialize)]
#[allow(missing_docs)]
pub struct Point {
    pub t_ns: u64,
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub clients: u64,
    pub relay_p50_ns: Option<u64>,
    pub relay_p99_ns: Option<u64>,
    pub relay_max_ns: Option<u64>,
}

/// The classes of latency in the order of a message's life, with their names for people.
const CLASSES: [(&str, &str); 8] = [
    ("ack", "ack"),
    ("relay", "relay"),
    ("last_relay", "last receiver"),
    ("spread", "spread first → last"),
    ("ack_service", "ack, from the actual send"),
    ("relay_service", "relay, from the actual send"),
    ("send_lag", "send lag"),
    ("connect", "connect"),
];

/// The keys of the classes of latency.
pub(super) fn class_names() -> impl Iterator<Item = &'static str> {
    CLASSES.into_iter().map(|(key, _)| key)
}

impl RunResult {
    /// The classes of latency with their names for people: those of a message's life first, what
    /// a later version added after them.
    pub fn classes(&self) -> impl Iterator<Item = (&str, &str, &Latency)> {
        let known = CLASSES
            .into_iter()
            .filter_map(|(key, name)| Some((key, name, self.latency_ns.get(key)?)));
        let others = self
            .latency_ns
            .iter()
            .filter(|(key, _)| CLASSES.iter().all(|(known, _)| known != key))
            .map(|(key, latency)| (key.as_str(), key.as_str(), latency));
        known.chain(others)
    }

    /// Violations of all kinds, but for relays that came late where these count as something else.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        let failures = self.violations.iter().filter(|kind| kind.fails());
        let counts = failures.map(|kind| kind.count);
        counts.fold(0, u64::saturating_add)
    }

    /// A rate by its name; `None` if nothing was measured.
    #[must_use]
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.rates.get(name).copied().flatten()
    }
}

#[cfg(test)]
mod tests;
