//! A run's result: the one model of `result.json`, written and read.
//!
//! Everything that is shown of a run (the summary, the HTML report, JUnit, files for other tools,
//! comparisons) is made from this type, whether the run has just ended or ended last year. The doc
//! comments of its fields are the descriptions in `docs/result.schema.json`, which is generated.
//!
//! Keys may be added and never renamed; their order is fixed. What a later version added has a
//! default, so that older results can be read; what a newer version adds is ignored, and the
//! schema's number says when keys mean something else. Integers are nanoseconds or counts, with the
//! unit in the key. A figure that the samples do not carry is `null`. The histograms are in the
//! result, so that a reader can take any percentile and add results up.

mod generator;
mod judged;
mod latency;
mod new;
mod reading;
mod rooms;

use std::ops::Range;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Environment, Verdict};
use crate::measure::WindowCounts;
use crate::measure::drift::Drift;
use crate::verify::findings;
pub use generator::{Generator, Process, Shard, Unread};
pub use judged::{Promised, Threshold, Violations};
use latency::CLASSES;
pub use latency::{Group, GroupLatencies, Intervals, Latency, Outstanding};
pub use reading::{Error, MAX_FILE_BYTES};
pub(crate) use reading::{document, kind};
pub use rooms::{ByRoom, Room, Rooms, Spread};

/// The version of the format.
pub const SCHEMA: u64 = 1;

/// A run's result, as `chatbench run --json` writes it: schema 1. Keys may be added and are never
/// renamed: a reader ignores what it does not know. Integers are nanoseconds or counts; the unit is
/// in the key. Times of the run count from its first connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunResult {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u64,
    /// The version of chatbench that made the result.
    pub chatbench: String,
    /// When the run began.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub started: String,
    /// From the first connection to the end of the drain.
    pub elapsed_ns: u64,
    /// The scenario that was run.
    pub scenario: Scenario,
    /// The target that was driven.
    pub target: Target,
    /// Where the driver ran.
    pub environment: Environment,
    /// The one word for the run.
    #[cfg_attr(test, schemars(with = "Verdict"))]
    pub verdict: String,
    /// The exit code that goes with the verdict.
    #[cfg_attr(test, schemars(extend("enum" = Verdict::ALL.map(Verdict::exit_code))))]
    pub exit_code: u8,
    /// Why it is not a pass, the weightiest first; empty for a pass.
    pub reasons: Vec<String>,
    /// Notes for a reader of the figures, beside the verdict.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The command that runs the same again.
    pub rerun: String,
    /// The reason why the run did not come about (an unreachable target, too few descriptors), or
    /// was not judged (a second Ctrl-C); null otherwise. Then counts and coverage are null, and
    /// there are no figures.
    #[serde(default)]
    pub error: Option<String>,
    /// By what the target was judged, and what it promised, in the words of a scenario's `verify`.
    #[serde(default)]
    #[cfg_attr(test, schemars(required))]
    pub judged: Option<Promised>,
    /// Over the whole run, warm-up and drain included. null with an error.
    pub counts: Option<Counts>,
    /// Violations, a kind each; empty if there are none.
    pub violations: Vec<Violations>,
    /// Coverage: how much the run really exercised. null with an error.
    pub coverage: Option<findings::Coverage>,
    /// The measured phase.
    pub window: Window,
    /// Latencies of messages due in the measured phase, by class.
    #[serde(deserialize_with = "reading::classes")]
    #[cfg_attr(test, schemars(schema_with = "tests::classes_schema"))]
    pub latency_ns: IndexMap<String, Latency>,
    /// Latencies by group of clients, in the order of the scenario, observers last; of more than 16
    /// groups the last stand together as "others". Those of the whole run are the sum.
    #[serde(default, deserialize_with = "reading::groups")]
    pub groups: Vec<Group>,
    /// The rooms that have names; absent where the scenario has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(required))]
    pub rooms: Option<Rooms>,
    /// Events a second in the measured phase; null if there was none.
    pub rates: Rates,
    /// The driver's own process.
    pub generator: Generator,
    /// The embedded server's process; null for another target.
    pub server: Option<Process>,
    /// The scenario's thresholds, judged, in its order.
    pub thresholds: Vec<Threshold>,
    /// Whether latency rose or fell over the measured phase; null if that cannot be told.
    #[serde(default)]
    pub drift: Option<Drift>,
    /// One point a second, from the run's beginning. The last second ends with the run, at
    /// elapsed_ns: counts in it are of that part of a second.
    pub timeline: Vec<Point>,
}

/// The scenario that was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// The question that the scenario asks.
    pub description: Option<String>,
    /// Where all randomness came from.
    pub seed: u64,
    /// Every key of the scenario with its value, defaults and `--set` included.
    #[cfg_attr(test, schemars(extend("type" = "object")))]
    pub resolved: Value,
}

/// The target that was driven.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// Its address.
    pub url: String,
    /// Whether it was the reference server, started for this run.
    pub embedded: bool,
    /// Faults that an embedded server said that it committed, as it was told to, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Counts over a whole run, warm-up and drain included.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counts {
    /// Clients that the scenario has, observers included.
    pub clients: u64,
    /// Clients that were welcomed.
    pub connected: u64,
    /// Messages and deliveries.
    #[serde(flatten)]
    pub verified: findings::Counts,
}

/// The measured phase: when it was, and what happened in it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Window {
    /// Its first nanosecond; null if the run did not come to it.
    pub start_ns: Option<u64>,
    /// The first nanosecond after it; null if the run did not come to it.
    pub end_ns: Option<u64>,
    /// Messages that the schedules made due in it; null without schedules.
    pub offered: Option<u64>,
    /// Events within it.
    #[serde(flatten)]
    pub counts: WindowCounts,
    /// Latencies over an hour, recorded as one hour.
    pub saturated_latencies: u64,
    /// Messages due in it that were sent, whenever.
    #[serde(default)]
    pub due_and_sent: u64,
    /// Messages due in it that were never sent.
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

/// Events a second in the measured phase.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rates {
    /// Messages due; null without schedules.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub offered: Option<f64>,
    /// Messages sent.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub sent: Option<f64>,
    /// Acks received.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub acked: Option<f64>,
    /// Deliveries.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub delivered: Option<f64>,
    /// Bytes received.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub bytes_in: Option<f64>,
    /// Bytes sent.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub bytes_out: Option<f64>,
}

/// One second of the run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Point {
    /// When the second began, in ns since the run began.
    pub t_ns: u64,
    /// Messages sent in it.
    pub sent: u64,
    /// Acks received in it.
    pub acked: u64,
    /// Deliveries in it.
    pub delivered: u64,
    /// Clients connected at its end.
    pub clients: u64,
    /// Median latency of the deliveries in it.
    pub relay_p50_ns: Option<u64>,
    /// 99th percentile of them.
    pub relay_p99_ns: Option<u64>,
    /// Greatest of them.
    pub relay_max_ns: Option<u64>,
}

/// The name of a class of latency for people.
pub(super) fn class_name(class: &str) -> &str {
    let known = CLASSES.iter().find(|(key, _)| *key == class);
    known.map_or(class, |(_, name)| name)
}

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

    /// The verdict; of a word that this version does not know nothing can be said.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut all = Verdict::ALL.into_iter();
        let named = all.find(|verdict| verdict.name() == self.verdict);
        named.unwrap_or(Verdict::Inconclusive)
    }

    /// Violations of all kinds, but for relays that came late where these count as something else.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        let failures = self.violations.iter().filter(|kind| kind.fails());
        let counts = failures.map(|kind| kind.count);
        counts.fold(0, u64::saturating_add)
    }

    /// CPU time of the embedded server per delivery, in ns.
    #[must_use]
    pub fn server_cpu_per_delivery(&self) -> Option<f64> {
        let counts = self.counts?.verified;
        let deliveries = counts.delivered.saturating_add(counts.optional);
        let cpu_s = self.server?.cpu_s;
        (deliveries > 0).then(|| cpu_s * 1e9 / deliveries as f64)
    }
}

#[cfg(test)]
mod tests;
