//! Latencies in a result: by class and by group, with their intervals, their histograms, and what
//! had not come when the run stopped listening.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::measure::censored::{self, AtLeast, together};
use crate::measure::confidence::{Range, range};
use crate::measure::percentile::percentile as exactly;
use crate::report::histogram;

/// One class of latency, in ns. A figure that the samples do not carry is null: p90 takes 36 of
/// them, p99 368, p99.9 3,688, p99.99 36,887.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// The least.
    pub min: Option<u64>,
    /// The mean.
    pub mean: Option<u64>,
    /// The standard deviation.
    pub stddev: Option<u64>,
    /// The median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p99_9: Option<u64>,
    /// 99.99th percentile.
    pub p99_99: Option<u64>,
    /// The greatest.
    pub max: Option<u64>,
    /// Messages that the samples are of: what the intervals go by.
    #[serde(default)]
    pub messages: u64,
    /// Samples that are not there because what they would measure never came, or had not when the
    /// run stopped listening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(required))]
    pub missing: Option<u64>,
    /// 95 % intervals of percentiles, `[low, high]`; null where the samples do not carry one.
    #[serde(default)]
    pub ci95: Intervals,
    /// All samples: HdrHistogram V2, deflated, in base64.
    #[serde(with = "histogram")]
    #[cfg_attr(test, schemars(schema_with = "histogram::schema"))]
    pub histogram: Histogram<u64>,
    /// Samples owed for certain that had not come when the run stopped listening (right-censored);
    /// absent where there is none. Its percentiles are those of all samples, if these had come at
    /// that moment: the true ones are no less. `count` and the other figures of the class are of
    /// those that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(required))]
    pub outstanding: Option<Outstanding>,
}

/// 95 % intervals of percentiles, `[low, high]`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Intervals {
    /// Of the median.
    pub p50: Option<[u64; 2]>,
    /// Of the 99th percentile.
    pub p99: Option<[u64; 2]>,
    /// Of the 99.9th percentile.
    pub p99_9: Option<[u64; 2]>,
}

/// Samples that had not come when the run stopped listening.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outstanding {
    /// How many.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub count: u64,
    /// The median of all is no less.
    pub p50: Option<u64>,
    /// Nor the 90th percentile.
    pub p90: Option<u64>,
    /// Nor the 99th.
    pub p99: Option<u64>,
    /// Nor the 99.9th.
    pub p99_9: Option<u64>,
    /// Nor the 99.99th.
    pub p99_99: Option<u64>,
    /// Nor the greatest.
    pub max: Option<u64>,
    /// Their lower bounds: HdrHistogram V2, deflated, in base64.
    #[serde(with = "histogram")]
    #[cfg_attr(test, schemars(schema_with = "histogram::schema"))]
    pub histogram: Histogram<u64>,
}

/// One group of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Group {
    /// The group's name in the scenario.
    pub name: String,
    /// How many clients it has.
    pub clients: u64,
    /// Its latencies of messages due in the measured phase; null where there is no sample. Without
    /// `missing`, which is known of all groups together.
    pub latency_ns: GroupLatencies,
}

/// The latencies of one group of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GroupLatencies {
    /// From the intended send to the ack, of messages that the group sent.
    pub ack: Option<Latency>,
    /// From the intended send to each delivery to a client of the group.
    pub relay: Option<Latency>,
}

/// The classes of latency in the order of a message's life, with their names for people.
pub(super) const CLASSES: [(&str, &str); 8] = [
    ("ack", "ack"),
    ("relay", "relay"),
    ("last_relay", "last receiver"),
    ("spread", "spread first → last"),
    ("ack_service", "ack, from the actual send"),
    ("relay_service", "relay, from the actual send"),
    ("send_lag", "send lag"),
    ("connect", "connect"),
];

/// The percentiles that a result states.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

impl Latency {
    /// The figures of the samples that came, of so many messages; `missing` counts those that never
    /// did, where that is known.
    pub(super) fn new(came: &Histogram<u64>, messages: u64, missing: Option<u64>) -> Self {
        let interval = |percentile| {
            let Range { low_ns, high_ns } = range(came, percentile, messages)?;
            Some([low_ns, high_ns])
        };
        let any = !came.is_empty();
        let [p50, p90, p99, p99_9, p99_99] = PERCENTILES.map(|p| exactly(came, p));
        Self {
            count: came.len(),
            min: any.then(|| came.min()),
            mean: any.then(|| came.mean().round() as u64),
            stddev: (came.len() > 1).then(|| came.stdev().round() as u64),
            p50,
            p90,
            p99,
            p99_9,
            p99_99,
            max: any.then(|| came.max()),
            messages: messages.min(came.len()),
            missing,
            ci95: Intervals {
                p50: interval(50.0),
                p99: interval(99.0),
                p99_9: interval(99.9),
            },
            histogram: came.clone(),
            outstanding: None,
        }
    }

    /// The same with samples that had not come; `at_least` holds their lower bounds.
    pub(super) fn with(mut self, at_least: &Histogram<u64>) -> Self {
        let bound = |p| censored::percentile(&self.histogram, at_least, p).map(|bound| bound.ns);
        let [p50, p90, p99, p99_9, p99_99] = PERCENTILES.map(bound);
        self.outstanding = (!at_least.is_empty()).then(|| Outstanding {
            count: at_least.len(),
            p50,
            p90,
            p99,
            p99_9,
            p99_99,
            max: bound(100.0),
            histogram: at_least.clone(),
        });
        self
    }

    /// A percentile of all samples, and whether it may be more because some had not come; `None` if
    /// there are too few samples for it.
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

    /// How many samples had not come when the run stopped listening.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.outstanding
            .as_ref()
            .map_or(0, |at_least| at_least.count)
    }

    /// All samples, those that had not come at their lower bounds.
    #[must_use]
    pub fn all(&self) -> Cow<'_, Histogram<u64>> {
        match &self.outstanding {
            None => Cow::Borrowed(&self.histogram),
            Some(outstanding) => Cow::Owned(together(&self.histogram, &outstanding.histogram)),
        }
    }
}
