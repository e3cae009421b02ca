//! Adds up the shards: totals, the timeline, and the figures of the progress display.
//!
//! Shards hand in one interval per second, each at its own moment. A second is complete, and
//! becomes a point of the timeline, when every shard has handed in that second or a later one.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::percentile::percentile;
use super::stretches::{Classes, Stretches};
use super::{
    CEILING_NS, Censored, Interval, Measured, TimelinePoint, Window, add, group, histogram,
};

const SECOND_NS: u64 = 1_000_000_000;

/// Seconds that may wait for a shard. With more, the oldest is closed as it is: one stalled shard
/// must not make the collector grow.
const OPEN_SECONDS: usize = 8;

/// The most seconds that a settled message may be ahead of all that the shards handed in.
const SECONDS_AHEAD: u64 = 3_600;

/// Adds up the shards' intervals. Memory does not depend on the length of the run, except for one
/// [`TimelinePoint`] (64 bytes) per second; whole histograms over time are kept in at most
/// [`super::stretches::MAX`] stretches.
#[derive(Debug)]
pub struct Collector {
    window: Window,
    totals: Interval,
    delivered: u64,
    last_relay: Histogram<u64>,
    spread: Histogram<u64>,
    saturated_messages: u64,
    to_nobody: u64,
    censored: Censored,
    shards: Vec<Shard>,
    open: BTreeMap<u64, Second>,
    timeline: Vec<TimelinePoint>,
    stretches: Stretches,
    /// Messages settled in seconds that are closed, until there are too many such seconds.
    late: BTreeMap<u64, Classes>,
    live: Live,
}

/// The progress of one shard.
#[derive(Debug, Clone, Copy, Default)]
struct Shard {
    /// The first second that it has not handed in.
    next_second: u64,
    /// Its clients when it last handed in.
    clients: u64,
}

/// A second that some shard has not handed in yet.
#[derive(Debug)]
struct Second {
    sent: u64,
    acked: u64,
    relay: Histogram<u64>,
    /// Its histograms for [`Stretches`].
    classes: Classes,
    /// Each shard's clients at its end, where it has handed in.
    clients: Vec<Option<u64>>,
}

/// The figures of the progress display: the last complete second, and the totals so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Messages sent in the last complete second.
    pub sent_per_s: u64,
    /// Acks received in it.
    pub acked_per_s: u64,
    /// Relays received in it.
    pub delivered_per_s: u64,
    /// Median latency of these relays, if enough of them came.
    pub relay_p50_ns: Option<u64>,
    /// 99th percentile of it, if enough of them came.
    pub relay_p99_ns: Option<u64>,
    /// Clients connected at its end.
    pub clients: u64,
    /// Messages sent since the run began.
    pub sent: u64,
    /// Acks received since the run began.
    pub acked: u64,
    /// Relays received since the run began.
    pub delivered: u64,
}

/// Counts since the beginning of a run, inside the measured phase or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Connections that were welcomed.
    pub connections: u64,
    /// Messages sent.
    pub sent: u64,
    /// Acks received.
    pub acked: u64,
    /// Relays received.
    pub delivered: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Error frames received.
    pub errors: u64,
}

impl Collector {
    /// A collector for `shards` shards. [`Window::NEVER`] serves until the window is known.
    #[must_use]
    pub fn new(window: Window, shards: usize) -> Self {
        Self {
            window,
            totals: Interval::of_groups(0),
            delivered: 0,
            last_relay: histogram(),
            spread: histogram(),
            saturated_messages: 0,
            to_nobody: 0,
            censored: Censored::default(),
            shards: vec![Shard::default(); shards],
            open: BTreeMap::new(),
            timeline: Vec::new(),
            stretches: Stretches::default(),
            late: BTreeMap::new(),
            live: Live::default(),
        }
    }

    /// Replaces the window: once it is known when measuring begins, or when a run is cut short.
    pub const fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Takes the recordings of `shard` up to the end of second `second` of the run.
    ///
    /// `clients` is how many of the shard's clients are connected now. A shard may skip a second
    /// (it was stalled) or hand in one that was closed without it: the counts still go to the
    /// point of that second, but its percentiles stay as they were closed.
    ///
    /// # Panics
    ///
    /// If `shard` is not below the number given to [`Collector::new`].
    // By value: a shard gives its interval away through a channel.
    #[allow(clippy::needless_pass_by_value)]
    pub fn absorb(&mut self, shard: usize, second: u64, interval: Interval, clients: u64) {
        self.totals.merge(&interval);
        self.delivered += interval.delivered();
        let state = &mut self.shards[shard];
        state.next_second = state.next_second.max(second + 1);
        state.clients = clients;

        if let Some(point) = self.timeline.get_mut(second as usize) {
            point.sent += interval.sent;
            point.acked += interval.acked;
            point.delivered += interval.delivered();
            let max_ns = interval.relays().map(Histogram::max).max();
            let max_ns = max_ns.unwrap_or(0).max(interval.relay_outside.max());
            point.relay_max_ns = point.relay_max_ns.max(max_ns);
            let mut late = Classes::new();
            late.absorb(&interval);
            self.stretches.add(second, &late);
        } else {
            let shards = self.shards.len();
            let open = self
                .open
                .entry(second)
                .or_insert_with(|| Second::new(shards));
            open.sent += interval.sent;
            open.acked += interval.acked;
            for relay in interval.relays() {
                add(&mut open.relay, relay);
            }
            add(&mut open.relay, &interval.relay_outside);
            open.classes.absorb(&interval);
            open.clients[shard] = Some(clients);
        }

        let complete = self.shards.iter().map(|s| s.next_second).min().unwrap_or(0);
        while self.open.len() > OPEN_SECONDS
            || self
                .open
                .first_key_value()
                .is_some_and(|(&first, _)| first < complete)
        {
            self.close_first();
        }
    }

    /// Records a settled message that was published in a named room when nobody else was in it.
    pub const fn message_to_nobody(&mut self, intended_ns: u64) {
        if self.window.contains(intended_ns) {
            self.to_nobody += 1;
        }
    }

    /// Records a settled message: all its `receivers` have it, the first since `first_ns`, the last
    /// since `last_ns`. Without a receiver nothing is recorded, with one no spread.
    pub fn message(&mut self, intended_ns: u64, first_ns: u64, last_ns: u64, receivers: u64) {
        if receivers == 0 || !self.window.contains(intended_ns) {
            return;
        }
        let last_relay_ns = last_ns.saturating_sub(intended_ns);
        self.saturated_messages += u64::from(last_relay_ns > CEILING_NS);
        let last_relay_ns = last_relay_ns.min(CEILING_NS);
        self.last_relay.saturating_record(last_relay_ns);
        self.classes_at(last_ns).last_relay(last_relay_ns);
        if receivers > 1 {
            let spread_ns = last_ns.saturating_sub(first_ns);
            self.spread.saturating_record(spread_ns.min(CEILING_NS));
        }
    }

    /// The histograms, for [`Stretches`], of the second in which `at_ns` lies.
    fn classes_at(&mut self, at_ns: u64) -> &mut Classes {
        let known = self.shards.iter().map(|s| s.next_second).max().unwrap_or(0);
        let second = (at_ns / SECOND_NS).min(known + SECONDS_AHEAD);
        if second >= self.timeline.len() as u64 {
            let shards = self.shards.len();
            let open = self.open.entry(second);
            return &mut open.or_insert_with(|| Second::new(shards)).classes;
        }
        while self.late.len() >= OPEN_SECONDS && !self.late.contains_key(&second) {
            let Some((first, classes)) = self.late.pop_first() else {
                break;
            };
            self.stretches.add(first, &classes);
        }
        self.late.entry(second).or_insert_with(Classes::new)
    }

    /// Records that the ack of a message of `group`, due at `intended_ns`, had not come by
    /// `until_ns`, when the run stopped listening.
    pub fn ack_outstanding(&mut self, group: usize, intended_ns: u64, until_ns: u64) {
        self.censored.ack(self.window, group, intended_ns, until_ns);
    }

    /// Records that a message due at `intended_ns` had not come to some receivers when they, or the
    /// run, stopped listening: by group, how many clients and until when. Its first receiver had
    /// got it at `first_ns`, if any had.
    pub fn message_outstanding(
        &mut self,
        intended_ns: u64,
        first_ns: Option<u64>,
        waiting: impl IntoIterator<Item = (usize, u64, u64)>,
    ) {
        let (mut receivers, mut latest_ns) = (u64::from(first_ns.is_some()), 0);
        for (group, clients, until_ns) in waiting {
            let censored = &mut self.censored;
            censored.relays(self.window, group, intended_ns, until_ns, clients);
            receivers += clients;
            latest_ns = latest_ns.max(until_ns);
        }
        if latest_ns > 0 {
            let several = receivers > 1;
            let censored = &mut self.censored;
            censored.message(self.window, intended_ns, first_ns, latest_ns, several);
        }
    }

    /// The last complete second and the totals.
    #[must_use]
    pub const fn live(&self) -> Live {
        Live {
            sent: self.totals.sent,
            acked: self.totals.acked,
            delivered: self.delivered,
            ..self.live
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let totals = &self.totals;
        Counted {
            connections: totals.connect.len(),
            sent: totals.sent,
            acked: totals.acked,
            delivered: self.delivered,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            errors: totals.errors,
        }
    }

    /// The sum of all intervals handed in so far.
    #[must_use]
    pub const fn totals(&self) -> &Interval {
        &self.totals
    }

    /// From the intended send to the last receiver of each settled message, so far.
    #[must_use]
    pub const fn last_relay(&self) -> &Histogram<u64> {
        &self.last_relay
    }

    /// From the first to the last receiver of each settled message, so far.
    #[must_use]
    pub const fn spread(&self) -> &Histogram<u64> {
        &self.spread
    }

    /// Closes the seconds that are still open, and returns everything.
    ///
    /// `offered` is how many messages the schedules made due within the window; `None` if there
    /// were no schedules.
    #[must_use]
    pub fn finish(mut self, offered: Option<u64>) -> Measured {
        while !self.open.is_empty() {
            self.close_first();
        }
        for (second, classes) in &self.late {
            self.stretches.add(*second, classes);
        }
        Measured {
            window: self.window,
            ack: group::sum(self.totals.acks()),
            relay: group::sum(self.totals.relays()),
            groups: self.totals.groups,
            last_relay: self.last_relay,
            spread: self.spread,
            send_lag: self.totals.send_lag,
            ack_service: self.totals.ack_service,
            relay_service: self.totals.relay_service,
            heartbeat: self.totals.heartbeat,
            unread_bytes: self.totals.unread_bytes,
            due_and_sent: self.totals.due_and_sent,
            unsent: 0,
            to_nobody: self.to_nobody,
            connect: self.totals.connect,
            censored: self.censored.finish(),
            counts: self.totals.in_window,
            offered,
            timeline: self.timeline,
            stretches: self.stretches.finish(),
            saturated: self.totals.saturated + self.saturated_messages,
        }
    }

    /// Makes the first open second a point, and empty points of those before it that no shard
    /// handed in: the timeline has one point per second.
    fn close_first(&mut self) {
        let Some((second, open)) = self.open.pop_first() else {
            return;
        };
        if open.clients.iter().all(Option::is_none) {
            // Messages were settled in it, but no shard has come to its end: no point yet.
            self.stretches.add(second, &open.classes);
            return;
        }
        let clients = open
            .clients
            .iter()
            .zip(&self.shards)
            .map(|(handed_in, shard)| handed_in.unwrap_or(shard.clients))
            .sum();
        for empty in self.timeline.len() as u64..second {
            self.timeline.push(TimelinePoint {
                t_ns: empty * SECOND_NS,
                clients,
                ..TimelinePoint::default()
            });
        }
        let point = TimelinePoint {
            t_ns: second * SECOND_NS,
            sent: open.sent,
            acked: open.acked,
            delivered: open.relay.len(),
            clients,
            relay_p50_ns: open.relay.value_at_quantile(0.5),
            relay_p99_ns: open.relay.value_at_quantile(0.99),
            relay_max_ns: open.relay.max(),
        };
        self.live = Live {
            sent_per_s: point.sent,
            acked_per_s: point.acked,
            delivered_per_s: point.delivered,
            relay_p50_ns: percentile(&open.relay, 50.0),
            relay_p99_ns: percentile(&open.relay, 99.0),
            clients,
            ..self.live
        };
        self.timeline.push(point);
        self.stretches.add(second, &open.classes);
    }
}

impl Second {
    fn new(shards: usize) -> Self {
        Self {
            sent: 0,
            acked: 0,
            relay: histogram(),
            classes: Classes::new(),
            clients: vec![None; shards],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::ShardRecorder;
    use crate::measure::stretches::Stretch;

    const WINDOW: Window = Window {
        start_ns: 0,
        end_ns: 100 * SECOND_NS,
    };

    /// An interval with `n` sends, acks and relays, the relays `latency_ns` late.
    fn interval(n: u64, latency_ns: u64) -> Interval {
        let mut recorder = ShardRecorder::new(WINDOW);
        for _ in 0..n {
            recorder.sent(0, 0, false, 10);
            recorder.ack(0, 0, 1);
            recorder.relay(0, 0, latency_ns);
        }
        recorder.take_interval()
    }

    #[test]
    fn a_second_is_a_point_when_its_last_shard_has_handed_in() {
        let mut collector = Collector::new(WINDOW, 2);
        collector.absorb(0, 0, interval(400, 100), 10);
        assert_eq!(collector.live().delivered_per_s, 0, "one shard is missing");
        assert_eq!(collector.live().delivered, 400, "but it is in the totals");
        collector.absorb(1, 0, interval(100, 900), 5);
        let live = collector.live();
        assert_eq!(
            (live.sent_per_s, live.acked_per_s, live.delivered_per_s),
            (500, 500, 500)
        );
        assert_eq!(
            (live.relay_p50_ns, live.relay_p99_ns),
            (Some(100), Some(900))
        );
        assert_eq!(live.clients, 15);
    }

    #[test]
    fn live_percentiles_need_enough_deliveries() {
        let mut collector = Collector::new(WINDOW, 1);
        collector.absorb(0, 0, interval(367, 100), 1);
        assert_eq!(collector.live().relay_p99_ns, None);
        assert_eq!(collector.live().relay_p50_ns, Some(100));
    }

    #[test]
    fn a_shard_that_skips_a_second_holds_nothing_up() {
        let mut collector = Collector::new(WINDOW, 2);
        collector.absorb(0, 0, interval(1, 100), 3);
        collector.absorb(1, 2, interval(5, 100), 4);
        assert_eq!(
            collector.timeline.len(),
            1,
            "shard 1 is past second 0, shard 0 is not past 2"
        );
        assert_eq!(collector.timeline[0].clients, 7);
        let measured = collector.finish(None);
        let sent: Vec<_> = measured.timeline.iter().map(|p| (p.t_ns, p.sent)).collect();
        assert_eq!(sent, [(0, 1), (SECOND_NS, 0), (2 * SECOND_NS, 5)]);
    }

    #[test]
    fn a_stalled_shard_does_not_make_the_collector_grow() {
        let mut collector = Collector::new(WINDOW, 2);
        for second in 0..50 {
            collector.absorb(0, second, interval(1, 100), 1);
            assert!(collector.open.len() <= OPEN_SECONDS);
        }
        assert_eq!(collector.timeline.len(), 50 - OPEN_SECONDS);
        collector.absorb(1, 3, interval(7, 4_000), 1);
        assert_eq!(
            collector.timeline[3].sent, 8,
            "what comes late goes to its own second"
        );
        assert!(collector.timeline[3].relay_max_ns >= 4_000);
        assert_eq!(collector.finish(None).relay.len(), 57);
    }

    #[test]
    fn a_settled_message_counts_by_its_receivers() {
        // (receivers, last relays, spreads)
        for (receivers, last_relays, spreads) in [(0, 0, 0), (1, 1, 0), (2, 1, 1), (100, 1, 1)] {
            let mut collector = Collector::new(WINDOW, 1);
            collector.message(1_000, 1_200, 1_700, receivers);
            let measured = collector.finish(None);
            assert_eq!(
                measured.last_relay.len(),
                last_relays,
                "{receivers} receivers"
            );
            assert_eq!(measured.spread.len(), spreads, "{receivers} receivers");
            if spreads == 1 {
                assert_eq!(
                    (measured.last_relay.max(), measured.spread.max()),
                    (700, 500)
                );
            }
        }
    }

    #[test]
    fn a_message_due_outside_the_window_is_not_measured() {
        let mut collector = Collector::new(WINDOW, 1);
        collector.set_window(Window {
            start_ns: 1_000,
            end_ns: 2_000,
        });
        collector.message(999, 1_100, 1_200, 2);
        collector.message(2_000, 2_100, 2_200, 2);
        assert_eq!(collector.last_relay.len(), 0);
        collector.message(1_999, 2_100, 2_200, 2);
        let measured = collector.finish(Some(1));
        assert_eq!((measured.last_relay.len(), measured.spread.len()), (1, 1));
        assert_eq!(
            measured.window,
            Window {
                start_ns: 1_000,
                end_ns: 2_000
            }
        );
        assert_eq!(measured.offered, Some(1));
    }

    #[test]
    fn a_settled_message_over_the_ceiling_saturates_and_is_counted() {
        let mut collector = Collector::new(
            Window {
                start_ns: 0,
                end_ns: u64::MAX,
            },
            1,
        );
        collector.message(0, 0, u64::MAX, 2);
        let measured = collector.finish(None);
        assert_eq!(
            (
                measured.saturated,
                measured.last_relay.len(),
                measured.spread.len()
            ),
            (1, 1, 1)
        );
    }

    /// Shard 0 is stopped from second 1 to second 4 and then hands in both, shard 1 is not.
    #[test]
    fn a_stall_of_a_shard_moves_nothing_into_another_second() {
        let mut collector = Collector::new(WINDOW, 2);
        for second in 0..5 {
            collector.absorb(1, second, interval(10, 100), 1);
        }
        collector.message(SECOND_NS, SECOND_NS, SECOND_NS + 300, 2);
        for (second, n) in [(0, 1), (1, 2), (4, 3)] {
            collector.absorb(0, second, interval(n, 100), 1);
        }
        // Messages of seconds that are closed, recently and long ago.
        collector.message(2 * SECOND_NS, 2 * SECOND_NS, 2 * SECOND_NS + 300, 2);
        let measured = collector.finish(None);
        let sent: Vec<_> = measured.timeline.iter().map(|p| p.sent).collect();
        assert_eq!(sent, [11, 12, 10, 10, 13]);
        let stretches = measured.stretches.iter();
        let kept = |class: usize| {
            let count = |s: &Stretch| s.encoded(class).map_or(0, |e| e.decoded().len());
            let all = stretches.clone().map(|s| (s.begins_s, count(s)));
            all.collect::<Vec<_>>()
        };
        assert_eq!(kept(1), [(0, 11), (1, 12), (2, 10), (3, 10), (4, 13)]);
        assert_eq!(kept(2), [(0, 0), (1, 1), (2, 1), (3, 0), (4, 0)]);
    }

    proptest! {
        /// Intervals in any order of shards and seconds: nothing is lost or counted twice, in the
        /// totals or in the timeline.
        #[test]
        fn the_timeline_adds_up_to_the_totals(
            handed_in in prop::collection::vec((0usize..3, 0u64..20, 0u64..5), 0..60),
        ) {
            let mut collector = Collector::new(WINDOW, 3);
            for &(shard, second, n) in &handed_in {
                collector.absorb(shard, second, interval(n, 100), 1);
            }
            let total: u64 = handed_in.iter().map(|&(_, _, n)| n).sum();
            prop_assert_eq!(collector.live().delivered, total);
            let measured = collector.finish(None);
            let sum = |f: fn(&TimelinePoint) -> u64| measured.timeline.iter().map(f).sum::<u64>();
            prop_assert_eq!(sum(|p| p.sent), total);
            prop_assert_eq!(sum(|p| p.acked), total);
            prop_assert_eq!(sum(|p| p.delivered), total);
            prop_assert_eq!(measured.relay.len(), total);
            prop_assert_eq!(measured.counts.sent, total);
            let seconds: Vec<_> = measured.timeline.iter().map(|p| p.t_ns / SECOND_NS).collect();
            prop_assert_eq!(seconds, (0..measured.timeline.len() as u64).collect::<Vec<_>>());
        }
    }
}
