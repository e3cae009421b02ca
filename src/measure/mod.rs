//! Recorders: a histogram for each class of latency, a one-second timeline, and the counters that
//! rates come from. Times come in as arguments; nothing here reads a clock.
//!
//! Each shard owns one [`ShardRecorder`] and hands over what it recorded once a second; one
//! [`Collector`] adds the shards up. Percentiles are never averaged: histograms are added.
//!
//! Every time is in ns since the run's epoch, one monotonic clock for the whole process.

use hdrhistogram::Histogram;

/// The measured phase, in ns since the run's epoch. A latency belongs to it if its message was
/// *due* in it; a count (sent, acked, delivered) if it happened in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first nanosecond.
    pub start_ns: u64,
    /// The first nanosecond after it.
    pub end_ns: u64,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    /// The measured phase as it really was (a run that was cut short has a shorter one).
    pub window: Window,
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
    /// From connecting to the welcome; every connection of the run.
    pub connect: Histogram<u64>,
    /// What happened within the window.
    pub counts: WindowCounts,
    /// Messages that the schedules made due within the window; `None` for closed loops and
    /// scripts alone.
    pub offered: Option<u64>,
    /// One point a second, from the run's epoch on.
    pub timeline: Vec<TimelinePoint>,
}

/// What happened within the measured window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Messages sent.
    pub sent: u64,
    /// Of these, messages that were late because the target did not take them.
    pub held_by_target: u64,
    /// Acks received.
    pub acked: u64,
    /// Relays received, over all receivers.
    pub delivered: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
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
