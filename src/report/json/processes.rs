//! The generator and the server, as JSON: what they used, and how far the generator itself set the
//! figures.

use serde::Serialize;

use super::measured::Latency;
use crate::driver::outcome::ProcessUse;
use crate::measure::health::{Doubt, ShardLoad};
use crate::measure::percentile::percentile;
use crate::report::Report;

#[derive(Serialize)]
pub(super) struct Generator {
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

impl Generator {
    pub(super) fn new(report: &Report) -> Self {
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

impl Shard {
    pub(super) fn new(load: &ShardLoad) -> Self {
        Self {
            cpu_s: load.cpu_ns as f64 / 1e9,
            busy: load.busy(),
            waited: load.waited(),
        }
    }
}

#[derive(Serialize)]
struct Doubtful {
    metric: &'static str,
    percentile: f64,
    figure_ns: u64,
    own_ns: u64,
}

impl Doubtful {
    pub(super) const fn new(doubt: &Doubt) -> Self {
        Self {
            metric: doubt.metric,
            percentile: doubt.percentile,
            figure_ns: doubt.figure_ns,
            own_ns: doubt.own_ns,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Process {
    cpu_s: f64,
    max_rss_bytes: u64,
}

impl Process {
    pub(super) const fn new(process: &ProcessUse) -> Self {
        Self {
            cpu_s: process.cpu.as_secs_f64(),
            max_rss_bytes: process.max_rss_bytes,
        }
    }
}
