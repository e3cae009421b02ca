//! Recorders: a histogram for each class of latency, a one-second timeline, and counters for
//! rates. Times come in as arguments; nothing here reads a clock.
//!
//! Each shard owns one [`ShardRecorder`] and hands over its recordings once per second; one
//! [`Collector`] adds the shards up. Percentiles are never averaged: histograms are added.
//!
//! Every time is in ns since the run's epoch, one monotonic clock for the whole process.

pub mod censored;
pub mod collector;
pub mod confidence;
pub mod drift;
pub mod group;
pub mod health;
pub mod percentile;
pub mod recorder;
pub mod rooms;
pub mod stretches;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use censored::Censored;
pub use collector::{Collector, Counted, Live};
pub use group::GroupLatencies;
pub use recorder::{Interval, ShardRecorder};
pub use stretches::Stretch;

/// The longest latency that a histogram holds: one hour. Longer ones are recorded as this and
/// counted as saturated.
pub const CEILING_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits of every recorded latency.
pub const DIGITS: u8 = 3;

/// The measured phase, in ns since the run's epoch. A latency belongs to it if its message was
/// *due* in it; a count (sent, acked, delivered) if it happened in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first nanosecond.
    pub start_ns: u64,
    /// The first nanosecond after it.
    pub end_ns: u64,
}

impl Window {
    /// An empty window, which a recorder has until it is known when measuring begins.
    pub const NEVER: Self = Self {
        start_ns: u64::MAX,
        end_ns: u64::MAX,
    };

    /// Whether `at_ns` lies within the measured phase.
    #[inline]
    #[must_use]
    pub const fn contains(&self, at_ns: u64) -> bool {
        self.start_ns <= at_ns && at_ns < self.end_ns
    }

    /// How long the measured phase is; 0 if it ends before it begins.
    #[must_use]
    pub const fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// An empty histogram of latencies: 1 ns to [`CEILING_NS`], [`DIGITS`] digits, 264 KiB.
///
/// All histograms of a run have these bounds, so adding two of them cannot fail.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, CEILING_NS, DIGITS).expect("the bounds are valid constants")
}

/// Adds `part` to `whole`, both made by [`histogram`].
pub(crate) fn add(whole: &mut Histogram<u64>, part: &Histogram<u64>) {
    whole
        .add(part)
        .expect("all histograms of a run have the same bounds");
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    /// The measured phase as it really was (a run that was cut short has a shorter one).
    pub window: Window,
    /// Response times by group, in the order of the scenario, observers last
    /// ([`group::place`]); the whole run's are their sum.
    pub groups: Vec<GroupLatencies>,
    /// From the intended send to the ack.
    pub ack: Histogram<u64>,
    /// From the intended send to each delivery.
    pub relay: Histogram<u64>,
    /// From the intended send to the last receiver's delivery.
    pub last_relay: Histogram<u64>,
    /// From the first to the last receiver of one message.
    pub spread: Histogram<u64>,
    /// Actual minus intended send, of sends that the target did not hold up.
    pub send_lag: Histogram<u64>,
    /// From the actual send to the ack: what a closed-loop tool would call the latency.
    pub ack_service: Histogram<u64>,
    /// From the actual send to each delivery, where the actual send is known.
    pub relay_service: Histogram<u64>,
    /// How late the shards' heartbeats were: how long bytes that had arrived waited to be read.
    pub heartbeat: Histogram<u64>,
    /// Bytes that lay unread in a client's socket, sampled at each heartbeat.
    pub unread_bytes: Histogram<u64>,
    /// From connecting to the welcome; every connection of the run.
    pub connect: Histogram<u64>,
    /// Lower bounds for acks and relays that had not come when the run stopped listening.
    pub censored: Censored,
    /// Counts of events within the window.
    pub counts: WindowCounts,
    /// Messages sent that were due within the window, whenever they were sent.
    pub due_and_sent: u64,
    /// Messages that were due within the window and never sent.
    pub unsent: u64,
    /// Messages due within the window that were published in a named room when nobody else was in
    /// it.
    pub to_nobody: u64,
    /// Messages that the schedules made due within the window; `None` for closed loops and
    /// scripts alone.
    pub offered: Option<u64>,
    /// One point per second, from the run's epoch on.
    pub timeline: Vec<TimelinePoint>,
    /// Latencies over time, in stretches of a second and more.
    pub stretches: Vec<Stretch>,
    /// Latencies over [`CEILING_NS`], recorded as that.
    pub saturated: u64,
}

/// Events within the measured phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowCounts {
    /// Messages sent in it.
    pub sent: u64,
    /// Of these, messages that were late because the target did not take them.
    pub held_by_target: u64,
    /// Acks received in it.
    pub acked: u64,
    /// Deliveries in it, over all receivers.
    pub delivered: u64,
    /// Bytes received in it.
    pub bytes_in: u64,
    /// Bytes sent in it.
    pub bytes_out: u64,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimelinePoint {
    /// When the second began, ns since the run's epoch.
    pub t_ns: u64,
    /// Messages sent in it.
    pub sent: u64,
    /// Acks received in it.
    pub acked: u64,
    /// Relays received in it.
    pub delivered: u64,
    /// Clients connected at its end.
    pub clients: u64,
    /// Median latency of the relays received in it.
    pub relay_p50_ns: u64,
    /// 99th percentile of them.
    pub relay_p99_ns: u64,
    /// Largest of them.
    pub relay_max_ns: u64,
}

impl WindowCounts {
    /// Adds another shard's or second's counts.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.held_by_target += other.held_by_target;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_first_nanosecond_and_not_its_end() {
        let window = Window {
            start_ns: 10,
            end_ns: 20,
        };
        assert_eq!(
            [9, 10, 19, 20].map(|t| window.contains(t)),
            [false, true, true, false]
        );
        assert_eq!(window.length_ns(), 10);
    }

    #[test]
    fn nothing_falls_into_never() {
        assert!(
            [0, 1, u64::MAX - 1, u64::MAX]
                .iter()
                .all(|&t| !Window::NEVER.contains(t))
        );
        assert_eq!(Window::NEVER.length_ns(), 0);
    }

    #[test]
    fn a_histogram_takes_264_kib_and_holds_three_digits_up_to_an_hour() {
        let mut h = histogram();
        assert_eq!(h.distinct_values() * size_of::<u64>(), 264 * 1024);
        for ns in [0, 1, 999, 123_456, CEILING_NS] {
            h.reset();
            h.record(ns).unwrap();
            assert!(h.max() - ns <= ns / 1000, "{ns} became {}", h.max());
        }
    }
}
