//! Whether the generator, and not the target, set the figures.
//!
//! A response time includes two delays that are the generator's own. A message may leave after it
//! was due: the *send lag*, recorded for every message. Bytes that have arrived may wait until the
//! shard reads them: that wait cannot be measured, so each shard has a *heartbeat*, a timer event
//! every few milliseconds that has to wait for the shard's current work, like the bytes do; its
//! lateness is the wait of a delivery at that moment. Beats fall due on a schedule: a shard that
//! stood still for 200 ms has missed forty and records each.
//!
//! The sum of both at a percentile bounds from above what the generator added to a latency at
//! that percentile. So a figure is *doubtful* where more than half of it may be the generator's.
//! Lateness can only add to a latency: a threshold that holds in spite of it certainly holds, and
//! only a threshold that is crossed is in doubt. Hence three grades:
//!
//! - a doubtful figure up to [`NOTED_OWN_NS`] is noise, beyond that it is pointed out;
//! - doubtful by more than [`SATURATED_OWN_NS`] up to p99: the figures describe the generator;
//! - messages that fell due and were never sent, through no fault of the target, over
//!   [`BEHIND_SHARE`]: the target did not get the load that was asked for.
//!
//! A shard that is never idle is no problem in itself: in a closed loop it is meant to be busy. It
//! is reported, and matters if a rate was asked for, by a threshold or by a schedule: messages that
//! the target seemed to hold up may then have waited in the generator, for acks not yet read.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Measured;
use super::percentile::percentile;

/// The part of a figure that may be the generator's own before it is pointed out. A wake-up on a
/// shared machine takes a few hundred µs on bad days.
pub const NOTED_OWN_NS: u64 = 1_000_000;

/// The part of a figure up to p99 that may be the generator's own before the run says nothing about
/// the target: a dozen scheduler slices (3 to 4 ms each), more than a busy machine normally delays
/// one thread among several.
pub const SATURATED_OWN_NS: u64 = 50_000_000;

/// The share of the offered messages that may be left unsent: offered and achieved rate agree
/// within 1 %, or the run says why not.
pub const BEHIND_SHARE: f64 = 0.01;

/// The share of the time from which on a shard counts as never idle.
pub const OCCUPIED_SHARE: f64 = 0.9;

/// A heartbeat that late is a pause.
pub const PAUSE_NS: u64 = 100_000_000;

/// The highest percentile whose doubtfulness saturates a run. Beyond it a single hiccup decides.
const SATURATED_PERCENTILE: f64 = 99.0;

/// The percentiles that are checked: those that a summary of any width shows.
const SHOWN: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// The load of a shard's thread in the measured phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardLoad {
    /// How long it was watched.
    pub wall_ns: u64,
    /// CPU time it used.
    pub cpu_ns: u64,
    /// How long it was ready to run and had no core.
    pub waited_ns: u64,
}

impl ShardLoad {
    /// The share of the time that it used a core.
    #[must_use]
    pub fn busy(&self) -> f64 {
        share(self.cpu_ns, self.wall_ns)
    }

    /// The share of the time that it waited for a core.
    #[must_use]
    pub fn waited(&self) -> f64 {
        share(self.waited_ns, self.wall_ns)
    }

    /// The share of the time that it had something to do.
    #[must_use]
    pub fn occupied(&self) -> f64 {
        self.busy() + self.waited()
    }
}

/// A latency of which more than half may be the generator's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Doubt {
    /// The class of latency: `ack` or `relay`.
    pub metric: Cow<'static, str>,
    /// Which percentile of it.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub percentile: f64,
    /// The figure that is reported.
    pub figure_ns: u64,
    /// How much of it may be the generator's own.
    pub own_ns: u64,
}

/// The generator's own condition in the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// Each shard's thread.
    pub shards: Vec<ShardLoad>,
    /// Messages that open loops were to send in the measured phase.
    pub offered: u64,
    /// Of these, never sent, through no fault of the target.
    pub behind: u64,
    /// Of these, never sent, for any reason.
    pub unsent: u64,
    /// Of these, messages of clients without a connection: the target closed it, or they never had
    /// one.
    pub cut_off: u64,
    /// Figures that say more about the generator than about the target.
    pub doubts: Vec<Doubt>,
    /// The longest time that a shard stood still.
    pub longest_pause_ns: u64,
}

impl Health {
    /// Assesses the measurements.
    #[must_use]
    pub fn new(measured: &Measured, behind: u64, shards: Vec<ShardLoad>) -> Self {
        let doubts = [("ack", &measured.ack), ("relay", &measured.relay)]
            .into_iter()
            .flat_map(|(metric, latency)| {
                SHOWN.iter().filter_map(move |&p| {
                    let figure_ns = percentile(latency, p)?;
                    let own_ns = own_ns(measured, p).min(figure_ns);
                    let doubtful = own_ns >= NOTED_OWN_NS && own_ns > figure_ns / 2;
                    doubtful.then_some(Doubt {
                        metric: metric.into(),
                        percentile: p,
                        figure_ns,
                        own_ns,
                    })
                })
            })
            .collect();
        Self {
            shards,
            offered: measured.offered.unwrap_or(0),
            behind,
            unsent: measured.unsent,
            cut_off: 0,
            doubts,
            longest_pause_ns: measured.heartbeat.max(),
        }
    }

    /// Whether the generator, and not the target, set the figures.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.fell_behind() || self.worst_doubt().is_some()
    }

    /// Whether more was left unsent than a rate may be off by.
    #[must_use]
    pub fn fell_behind(&self) -> bool {
        let too_many = |messages| messages as f64 > self.offered as f64 * BEHIND_SHARE;
        let held = self.unsent.saturating_sub(self.cut_off);
        too_many(self.behind) || too_many(held) && self.occupied() >= OCCUPIED_SHARE
    }

    /// The doubt that voids the run, if any does: the one with the largest part of the generator.
    #[must_use]
    pub fn worst_doubt(&self) -> Option<&Doubt> {
        let grave =
            |d: &&Doubt| d.percentile <= SATURATED_PERCENTILE && d.own_ns >= SATURATED_OWN_NS;
        self.doubts.iter().filter(grave).max_by_key(|d| d.own_ns)
    }

    /// The largest share of the time that any shard was busy.
    #[must_use]
    pub fn busiest(&self) -> f64 {
        self.shards.iter().map(ShardLoad::busy).fold(0.0, f64::max)
    }

    /// The largest share of the time that any shard had something to do.
    #[must_use]
    pub fn occupied(&self) -> f64 {
        let shares = self.shards.iter().map(ShardLoad::occupied);
        shares.fold(0.0, f64::max)
    }

    /// The largest share of the time that any shard waited for a core.
    #[must_use]
    pub fn longest_wait(&self) -> f64 {
        self.shards
            .iter()
            .map(ShardLoad::waited)
            .fold(0.0, f64::max)
    }
}

/// The largest part of a latency at `percentile` that may be the generator's own.
#[must_use]
pub fn own_ns(measured: &Measured, percentile: f64) -> u64 {
    let at = |h: &Histogram<u64>| h.value_at_quantile(percentile / 100.0);
    at(&measured.send_lag) + at(&measured.heartbeat)
}

fn share(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 {
        return 0.0;
    }
    part_ns as f64 / whole_ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Collector, ShardRecorder, Window};

    const MS: u64 = 1_000_000;

    /// Ten seconds at 1,000 messages and 200 beats per second; functions of the due time give the
    /// extra delay of each.
    fn measured(
        lag_ns: impl Fn(u64) -> u64,
        beat_ns: impl Fn(u64) -> u64,
        target_ns: u64,
    ) -> Measured {
        let window = Window {
            start_ns: 0,
            end_ns: 10_000 * MS,
        };
        let mut recorder = ShardRecorder::new(window);
        for due_ns in (0..10_000).map(|i| i * MS) {
            let sent_ns = due_ns + lag_ns(due_ns);
            let answered_ns = sent_ns + target_ns;
            let seen_ns = answered_ns + beat_ns(answered_ns);
            recorder.sent(due_ns, sent_ns, false, 100);
            recorder.ack(0, due_ns, seen_ns);
            recorder.relay(0, due_ns, seen_ns);
        }
        for due_ns in (0..2_000).map(|i| i * 5 * MS) {
            recorder.heartbeat(due_ns, due_ns + beat_ns(due_ns));
        }
        let mut collector = Collector::new(window, 1);
        collector.absorb(0, 0, recorder.take_interval(), 1);
        collector.finish(Some(10_000))
    }

    /// Late by what is left of a pause of `length_ns` that begins after one second.
    fn pause(length_ns: u64) -> impl Fn(u64) -> u64 + Copy {
        move |at_ns| {
            let end_ns = 1_000 * MS + length_ns;
            if (1_000 * MS..end_ns).contains(&at_ns) {
                end_ns - at_ns
            } else {
                50_000
            }
        }
    }

    #[test]
    fn a_generator_that_stood_still_blames_itself() {
        let stopped = measured(pause(200 * MS), pause(200 * MS), 300_000);
        let health = Health::new(&stopped, 0, Vec::new());
        assert!(health.is_saturated() && !health.fell_behind(), "{health:?}");
        assert!(health.longest_pause_ns >= 195 * MS);
        let worst = health.worst_doubt().unwrap();
        assert_eq!(worst.percentile, 99.0, "2 % of the time is in no p90");
    }

    #[test]
    fn a_short_pause_is_pointed_out_and_voids_nothing() {
        let stopped = measured(pause(30 * MS), pause(30 * MS), 300_000);
        let health = Health::new(&stopped, 0, Vec::new());
        assert!(!health.is_saturated());
        let doubtful: Vec<_> = health
            .doubts
            .iter()
            .map(|d| (&*d.metric, d.percentile))
            .collect();
        assert_eq!(doubtful, [("ack", 99.9), ("relay", 99.9)], "{health:?}");
    }

    #[test]
    fn a_busy_shard_blames_itself_however_steadily_it_is_late() {
        let busy = measured(|_| 40 * MS, |_| 40 * MS, MS);
        assert!(Health::new(&busy, 0, Vec::new()).is_saturated());
    }

    #[test]
    fn a_slow_target_is_not_the_generators_fault() {
        let slow = measured(|_| 60_000, |_| 80_000, 200 * MS);
        let health = Health::new(&slow, 0, Vec::new());
        assert_eq!((health.is_saturated(), health.doubts.len()), (false, 0));
        // Nor a generator that is late by less than the target is slow.
        let both = measured(|_| 30 * MS, |_| 30 * MS, 200 * MS);
        let health = Health::new(&both, 0, Vec::new());
        assert_eq!((health.is_saturated(), health.doubts.len()), (false, 0));
    }

    #[test]
    fn one_percent_unsent_is_the_limit() {
        let healthy = measured(|_| 0, |_| 0, MS);
        assert!(!Health::new(&healthy, 100, Vec::new()).is_saturated());
        assert!(Health::new(&healthy, 101, Vec::new()).is_saturated());
    }

    #[test]
    fn what_the_target_seemed_to_hold_up_counts_where_a_shard_was_never_idle() {
        let mut held = measured(|_| 0, |_| 0, MS);
        held.unsent = 5_000;
        let never_idle = ShardLoad {
            wall_ns: 100,
            cpu_ns: 50,
            waited_ns: 45,
        };
        assert!(!Health::new(&held, 0, vec![ShardLoad::default()]).is_saturated());
        assert!(Health::new(&held, 0, vec![never_idle]).is_saturated());
    }

    #[test]
    fn what_clients_without_a_connection_did_not_send_is_nobodys_lateness() {
        let mut hung_up = measured(|_| 0, |_| 0, MS);
        hung_up.unsent = 5_000;
        let never_idle = ShardLoad {
            wall_ns: 100,
            cpu_ns: 95,
            waited_ns: 0,
        };
        let mut health = Health::new(&hung_up, 0, vec![never_idle]);
        assert!(health.is_saturated());
        health.cut_off = 5_000;
        assert!(!health.is_saturated());
    }

    #[test]
    fn a_busy_shard_alone_voids_nothing() {
        let healthy = measured(|_| 0, |_| 0, MS);
        let shards = vec![
            ShardLoad {
                wall_ns: 1_000,
                cpu_ns: 990,
                waited_ns: 5,
            },
            ShardLoad::default(),
        ];
        let health = Health::new(&healthy, 0, shards);
        assert!(!health.is_saturated());
        assert_eq!((health.busiest(), health.longest_wait()), (0.99, 0.005));
    }
}
