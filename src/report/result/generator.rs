//! The generator and the server in a result: their CPU time and memory, and how far the generator
//! itself determined the figures.

use serde::{Deserialize, Serialize};

use super::Latency;
use crate::measure::health::Doubt;
use crate::report::generator;

/// The driver's own process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Generator {
    /// CPU time, user and system, in seconds.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub cpu_s: f64,
    /// Peak resident memory.
    pub max_rss_bytes: u64,
    /// Whether the driver, and not the target, set the numbers.
    pub saturated: bool,
    /// Messages that were sent late by the driver's own doing.
    #[serde(default)]
    pub behind: u64,
    /// The longest that a thread of the driver stood still.
    #[serde(default)]
    pub longest_pause_ns: u64,
    /// How late the driver's own timer fired.
    #[serde(default)]
    #[cfg_attr(test, schemars(required))]
    pub heartbeat_ns: Option<Latency>,
    /// Bytes that lay unread in a client's socket, sampled at each heartbeat.
    #[serde(default)]
    pub unread_bytes: Unread,
    /// Each thread of the driver, in the measured phase.
    #[serde(default)]
    pub shards: Vec<Shard>,
    /// Figures that the driver's own delays may have made.
    #[serde(default)]
    pub doubts: Vec<Doubt>,
}

/// Bytes that lay unread in a client's socket.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unread {
    /// Samples.
    pub count: u64,
    /// The median.
    pub p50: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// The greatest.
    pub max: Option<u64>,
}

/// One thread of the driver in the measured phase.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// CPU time, in seconds.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub cpu_s: f64,
    /// Share of the time that it ran.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub busy: f64,
    /// Share of the time that it wanted to run and did not.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub waited: f64,
}

/// CPU time and memory that a process used over the run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Process {
    /// CPU time, user and system, in seconds.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub cpu_s: f64,
    /// Peak resident memory.
    pub max_rss_bytes: u64,
}

impl Generator {
    /// Its state in a word or two.
    pub(in crate::report) fn state(&self) -> &'static str {
        let occupied = self.shards.iter().map(|shard| shard.busy + shard.waited);
        generator::state_of(self.saturated, occupied.fold(0.0, f64::max))
    }
}
