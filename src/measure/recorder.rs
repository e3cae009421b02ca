//! The recordings of one shard, which it hands over once per second.
//!
//! It is called for every delivery, so there is no lock and no allocation: a delivery is one
//! subtraction, two comparisons and one histogram record: 4.1 ns, and with its service time 7.9 ns
//! (`benches/measure.rs`; budget 15 ns).

use hdrhistogram::Histogram;

use super::group::{self, GroupLatencies};
use super::{CEILING_NS, Window, WindowCounts, add, histogram};

/// The recorder of one shard. Owned by the shard's thread; never shared.
///
/// A latency counts as measured if its message was *due* within the window, whenever it arrived:
/// cutting by arrival would drop the slowest ones. A count belongs to the window if the event
/// happened in it.
#[derive(Debug)]
pub struct ShardRecorder {
    window: Window,
    /// The recordings of the second that begins at `begins_ns`.
    current: Interval,
    begins_ns: u64,
    /// Other seconds that were not handed over yet: as many as a thread was stopped for, at most.
    others: Vec<(u64, Interval)>,
}

const SECOND_NS: u64 = 1_000_000_000;

/// A shard's recordings since it last handed over.
#[derive(Debug, PartialEq)]
pub struct Interval {
    /// Messages sent, inside the window or not.
    pub sent: u64,
    /// Acks received, inside the window or not.
    pub acked: u64,
    /// Counts of events within the window.
    pub in_window: WindowCounts,
    /// Latencies over [`CEILING_NS`], recorded as that.
    pub saturated: u64,
    /// Bytes received, inside the window or not.
    pub bytes_in: u64,
    /// Bytes sent, inside the window or not.
    pub bytes_out: u64,
    /// Error frames received.
    pub errors: u64,
    /// Latencies of acks and relays whose message was due within the window, by group.
    pub groups: Vec<GroupLatencies>,
    /// Latency of all other relays: warm-up, scripts, drain. Only the timeline shows them.
    pub relay_outside: Histogram<u64>,
    /// Send lag of messages due within the window that the target did not hold up.
    pub send_lag: Histogram<u64>,
    /// Actual send to ack, of the acks in `groups`.
    pub ack_service: Histogram<u64>,
    /// Actual send to delivery, of the deliveries in `groups` whose actual send is known.
    pub relay_service: Histogram<u64>,
    /// Lateness of heartbeats due within the window.
    pub heartbeat: Histogram<u64>,
    /// Bytes that lay unread in a socket at a heartbeat within the window.
    pub unread_bytes: Histogram<u64>,
    /// From connecting to the welcome.
    pub connect: Histogram<u64>,
    /// Messages sent that were due within the window.
    pub due_and_sent: u64,
}

impl ShardRecorder {
    /// A recorder of clients that are all of one group, number 0. [`Window::NEVER`] serves until
    /// the window is known.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self::of_groups(window, 1)
    }

    /// A recorder of clients of `groups` groups, at most [`group::MAX_GROUPS`].
    #[must_use]
    pub fn of_groups(window: Window, groups: usize) -> Self {
        Self {
            window,
            current: Interval::of_groups(groups),
            begins_ns: 0,
            others: Vec::new(),
        }
    }

    /// Makes `current` the second of `now_ns`: if a thread was stopped for a while, its recordings
    /// before and after belong to different seconds, whenever they are handed over.
    #[inline]
    fn turn_to(&mut self, now_ns: u64) {
        if now_ns.wrapping_sub(self.begins_ns) >= SECOND_NS {
            self.turn_page(now_ns / SECOND_NS);
        }
    }

    #[cold]
    fn turn_page(&mut self, second: u64) {
        let known = self.others.iter().position(|(other, _)| *other == second);
        let next = match known {
            Some(place) => self.others.swap_remove(place).1,
            None => Interval::of_groups(self.current.groups.len()),
        };
        let last = std::mem::replace(&mut self.current, next);
        if !last.is_empty() {
            self.others.push((self.begins_ns / SECOND_NS, last));
        }
        self.begins_ns = second * SECOND_NS;
    }

    /// Replaces the window: once it is known when measuring begins, or when a run is cut short.
    /// Earlier recordings stay.
    pub const fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Records that a client of `group` received a relay at `now_ns` of a message that was due at
    /// `intended_ns`.
    ///
    /// # Panics
    ///
    /// If `group` is not below the number given to [`Self::of_groups`].
    #[inline]
    pub fn relay(&mut self, group: usize, intended_ns: u64, now_ns: u64) {
        self.turn_to(now_ns);
        let latency_ns = self.clamped(intended_ns, now_ns);
        if self.window.contains(intended_ns) {
            let relay = &mut self.current.groups[group].relay;
            let relay = relay.get_or_insert_with(histogram);
            relay.saturating_record(latency_ns);
        } else {
            self.current.relay_outside.saturating_record(latency_ns);
        }
        self.current.in_window.delivered += u64::from(self.window.contains(now_ns));
    }

    /// Records that a client of `group` received an ack at `now_ns` for a message that was due at
    /// `intended_ns`.
    ///
    /// # Panics
    ///
    /// As [`Self::relay`].
    #[inline]
    pub fn ack(&mut self, group: usize, intended_ns: u64, now_ns: u64) {
        self.turn_to(now_ns);
        if self.window.contains(intended_ns) {
            let latency_ns = self.clamped(intended_ns, now_ns);
            let ack = &mut self.current.groups[group].ack;
            let ack = ack.get_or_insert_with(histogram);
            ack.saturating_record(latency_ns);
        }
        self.current.acked += 1;
        self.current.in_window.acked += u64::from(self.window.contains(now_ns));
    }

    /// Records that the relay given to [`Self::relay`] belongs to a message that was really sent at
    /// `sent_ns`.
    #[inline]
    pub fn relay_service(&mut self, intended_ns: u64, sent_ns: u64, now_ns: u64) {
        if self.window.contains(intended_ns) {
            let service_ns = now_ns.saturating_sub(sent_ns).min(CEILING_NS);
            self.current.relay_service.saturating_record(service_ns);
        }
    }

    /// Records that the ack given to [`Self::ack`] belongs to a message that was really sent at
    /// `sent_ns`.
    #[inline]
    pub fn ack_service(&mut self, intended_ns: u64, sent_ns: u64, now_ns: u64) {
        if self.window.contains(intended_ns) {
            let service_ns = now_ns.saturating_sub(sent_ns).min(CEILING_NS);
            self.current.ack_service.saturating_record(service_ns);
        }
    }

    /// Records that a heartbeat that was due at `due_ns` came at `now_ns`.
    #[inline]
    pub fn heartbeat(&mut self, due_ns: u64, now_ns: u64) {
        if self.window.contains(due_ns) {
            let late_ns = now_ns.saturating_sub(due_ns).min(CEILING_NS);
            self.current.heartbeat.saturating_record(late_ns);
        }
    }

    /// Records that `bytes` were unread in a client's socket at `now_ns`.
    #[inline]
    pub fn unread(&mut self, now_ns: u64, bytes: u64) {
        if self.window.contains(now_ns) {
            let bytes = bytes.min(CEILING_NS);
            self.current.unread_bytes.saturating_record(bytes);
        }
    }

    /// Records that a message of `bytes` that was due at `intended_ns` was sent at `actual_ns`.
    ///
    /// `held_by_target` says that the socket would not take it when it was due: that lateness is
    /// the target's, and would hide the generator's own in the send lag.
    #[inline]
    pub fn sent(&mut self, intended_ns: u64, actual_ns: u64, held_by_target: bool, bytes: u64) {
        self.turn_to(actual_ns);
        if self.window.contains(intended_ns) && !held_by_target {
            let lag_ns = self.clamped(intended_ns, actual_ns);
            self.current.send_lag.saturating_record(lag_ns);
        }
        self.current.due_and_sent += u64::from(self.window.contains(intended_ns));
        self.current.sent += 1;
        self.current.bytes_out += bytes;
        if self.window.contains(actual_ns) {
            let counts = &mut self.current.in_window;
            counts.sent += 1;
            counts.held_by_target += u64::from(held_by_target);
            counts.bytes_out += bytes;
        }
    }

    /// Records that a connection got its welcome `took_ns` after connecting began.
    #[inline]
    pub fn connected(&mut self, took_ns: u64) {
        let took_ns = self.clamped(0, took_ns);
        self.current.connect.saturating_record(took_ns);
    }

    /// Records that `n` bytes were read at `now_ns`.
    #[inline]
    pub fn received_bytes(&mut self, now_ns: u64, n: u64) {
        self.turn_to(now_ns);
        self.current.bytes_in += n;
        if self.window.contains(now_ns) {
            self.current.in_window.bytes_in += n;
        }
    }

    /// Counts an error frame that was received.
    #[inline]
    pub fn error(&mut self) {
        self.current.errors += 1;
    }

    /// Hands over the recordings of the seconds before `second`, each by itself; that of the one
    /// just before it always, even if nothing happened in it.
    #[must_use = "what is taken is no longer in the recorder"]
    pub fn take_before(&mut self, second: u64) -> Vec<(u64, Interval)> {
        if self.begins_ns / SECOND_NS < second {
            self.turn_page(second);
        }
        let over = self.others.extract_if(.., |(other, _)| *other < second);
        let mut over: Vec<_> = over.collect();
        over.sort_by_key(|(other, _)| *other);
        let last = second.saturating_sub(1);
        if over.last().is_none_or(|(other, _)| *other != last) {
            over.push((last, Interval::of_groups(self.current.groups.len())));
        }
        over
    }

    /// Hands over all that was recorded since the last call, and begins anew.
    ///
    /// Fresh histograms are 3.5 MB of zeros and cost a full recorder 64 µs, once per second
    /// (`benches/measure.rs`; 0.5 ms on a machine that is busy with other things).
    #[must_use = "what is taken is no longer in the recorder"]
    pub fn take_interval(&mut self) -> Interval {
        let groups = self.current.groups.len();
        let mut all = std::mem::replace(&mut self.current, Interval::of_groups(groups));
        for (_, other) in self.others.drain(..) {
            all.merge(&other);
        }
        all
    }

    /// The time from `from_ns` to `to_ns`, at most [`CEILING_NS`]; 0 if it would be negative (a
    /// message sent a little early, or one clock reading shared by a batch).
    #[inline]
    fn clamped(&mut self, from_ns: u64, to_ns: u64) -> u64 {
        let latency_ns = to_ns.saturating_sub(from_ns);
        self.current.saturated += u64::from(latency_ns > CEILING_NS);
        latency_ns.min(CEILING_NS)
    }
}

impl Interval {
    /// An interval in which nothing happened, to clients of `groups` groups.
    #[must_use]
    pub fn of_groups(groups: usize) -> Self {
        Self {
            sent: 0,
            acked: 0,
            in_window: WindowCounts::default(),
            saturated: 0,
            bytes_in: 0,
            bytes_out: 0,
            errors: 0,
            groups: vec![GroupLatencies::default(); groups],
            relay_outside: histogram(),
            send_lag: histogram(),
            ack_service: histogram(),
            relay_service: histogram(),
            heartbeat: histogram(),
            unread_bytes: histogram(),
            connect: histogram(),
            due_and_sent: 0,
        }
    }

    /// Whether nothing happened in it.
    fn is_empty(&self) -> bool {
        let histograms = [
            &self.relay_outside,
            &self.heartbeat,
            &self.unread_bytes,
            &self.connect,
        ];
        let counts = [self.sent, self.acked, self.bytes_in, self.errors];
        counts == [0; 4]
            && histograms.iter().all(|histogram| histogram.is_empty())
            && self.relays().next().is_none()
    }

    /// Relays received, inside the window or not.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.relays().map(Histogram::len).sum::<u64>() + self.relay_outside.len()
    }

    /// Acks of messages due within the window, one histogram per group that has any.
    pub fn acks(&self) -> impl Iterator<Item = &Histogram<u64>> {
        group::acks(&self.groups)
    }

    /// Relays of messages due within the window, one histogram per group that has any.
    pub fn relays(&self) -> impl Iterator<Item = &Histogram<u64>> {
        group::relays(&self.groups)
    }

    /// Adds the recordings of another shard, or of the same one earlier.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.in_window.add(&other.in_window);
        self.saturated += other.saturated;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.errors += other.errors;
        group::merge(&mut self.groups, &other.groups);
        add(&mut self.relay_outside, &other.relay_outside);
        add(&mut self.send_lag, &other.send_lag);
        add(&mut self.ack_service, &other.ack_service);
        add(&mut self.relay_service, &other.relay_service);
        add(&mut self.heartbeat, &other.heartbeat);
        add(&mut self.unread_bytes, &other.unread_bytes);
        self.due_and_sent += other.due_and_sent;
        add(&mut self.connect, &other.connect);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window {
        start_ns: 1_000,
        end_ns: 2_000,
    };

    fn len<'a>(histograms: impl Iterator<Item = &'a Histogram<u64>>) -> u64 {
        histograms.map(Histogram::len).sum()
    }

    #[test]
    fn latency_goes_by_when_a_message_was_due_and_counts_by_when_it_came() {
        // (due, came, measured, counted): one row for each position relative to the window's ends.
        let table = [
            (500, 900, false, false),
            (999, 1_000, false, true),
            (1_000, 1_000, true, true),
            (1_999, 1_999, true, true),
            (1_999, 2_000, true, false),
            (2_000, 2_000, false, false),
        ];
        for (due, came, measured, counted) in table {
            let mut recorder = ShardRecorder::new(WINDOW);
            recorder.relay(0, due, came);
            recorder.ack(0, due, came);
            recorder.sent(due, came, false, 100);
            recorder.received_bytes(came, 7);
            let interval = recorder.take_interval();
            let row = format!("due {due}, came {came}");
            assert_eq!(len(interval.relays()), u64::from(measured), "{row}");
            assert_eq!(interval.relay_outside.len(), u64::from(!measured), "{row}");
            assert_eq!(len(interval.acks()), u64::from(measured), "{row}");
            assert_eq!(interval.send_lag.len(), u64::from(measured), "{row}");
            let n = u64::from(counted);
            let expected = WindowCounts {
                sent: n,
                held_by_target: 0,
                acked: n,
                delivered: n,
                bytes_in: 7 * n,
                bytes_out: 100 * n,
            };
            assert_eq!(interval.in_window, expected, "{row}");
            assert_eq!(
                (interval.sent, interval.acked, interval.delivered()),
                (1, 1, 1),
                "{row}"
            );
        }
    }

    /// A thread is stopped from 3.4 s to 6.2 s, and hands over at 6.3 s.
    #[test]
    fn what_was_seen_before_a_stall_belongs_to_the_second_before_it() {
        let at = |tenths: u64| tenths * SECOND_NS / 10;
        let mut recorder = ShardRecorder::new(WINDOW);
        for now in [at(31), at(34), at(62)] {
            recorder.sent(0, now, false, 10);
            recorder.ack(0, 0, now);
        }
        recorder.relay(0, 0, at(34));
        let seen = |over: Vec<(u64, Interval)>| {
            let over = over.into_iter();
            over.map(|(second, i)| (second, i.sent, i.acked, i.delivered()))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(recorder.take_before(6)), [(3, 2, 2, 1), (5, 0, 0, 0)]);
        // Recordings of the current second stay.
        assert_eq!(seen(recorder.take_before(7)), [(6, 1, 1, 0)]);
        assert_eq!(seen(recorder.take_before(8)), [(7, 0, 0, 0)]);
        recorder.sent(0, at(85), false, 10);
        recorder.sent(0, at(92), false, 10);
        assert_eq!(
            recorder.take_interval().sent,
            2,
            "all of it, for who asks for all"
        );
    }

    #[test]
    fn service_time_and_heartbeats_go_by_when_they_were_due() {
        let mut recorder = ShardRecorder::new(WINDOW);
        for due in [999, 1_000, 1_999, 2_000] {
            recorder.ack_service(due, due + 50, due + 70);
            recorder.relay_service(due, due + 50, due + 80);
            recorder.heartbeat(due, due + 5_000);
            recorder.unread(due, 4_096);
            recorder.sent(due, due + 5_000, false, 1);
        }
        let interval = recorder.take_interval();
        let seen = [
            &interval.ack_service,
            &interval.relay_service,
            &interval.heartbeat,
            &interval.unread_bytes,
        ]
        .map(|h| (h.len(), h.max()));
        // 4,096 and 5,000 as the histogram's three digits hold them.
        assert_eq!(seen, [(2, 20), (2, 30), (2, 5_003), (2, 4_099)]);
        assert_eq!(interval.due_and_sent, 2, "sent late, and due all the same");
    }

    #[test]
    fn a_send_that_the_target_held_up_is_counted_and_is_no_lag_of_ours() {
        let mut recorder = ShardRecorder::new(WINDOW);
        recorder.sent(1_100, 1_500, true, 100);
        let interval = recorder.take_interval();
        assert_eq!(interval.send_lag.len(), 0);
        assert_eq!(interval.in_window.held_by_target, 1);
        assert_eq!(interval.in_window.sent, 1);
    }

    #[test]
    fn a_latency_over_the_ceiling_is_recorded_as_the_ceiling_and_counted() {
        let mut recorder = ShardRecorder::new(Window {
            start_ns: 0,
            end_ns: u64::MAX,
        });
        recorder.relay(0, 1, CEILING_NS + 1);
        assert_eq!(recorder.current.saturated, 0);
        recorder.relay(0, 0, CEILING_NS + 1);
        recorder.ack(0, 0, u64::MAX);
        recorder.sent(0, u64::MAX, false, 0);
        recorder.connected(u64::MAX);
        let interval = recorder.take_interval();
        assert_eq!(interval.saturated, 4);
        let relay = interval.groups[0].relay.as_ref().unwrap();
        assert_eq!(relay.len(), 2);
        assert!(relay.equivalent(relay.max(), CEILING_NS));
    }

    #[test]
    fn taking_an_interval_leaves_nothing_behind() {
        let mut recorder = ShardRecorder::new(WINDOW);
        recorder.relay(0, 1_000, 1_200);
        recorder.connected(5);
        assert_eq!(recorder.take_interval().delivered(), 1);
        let empty = recorder.take_interval();
        assert_eq!(
            (
                empty.delivered(),
                empty.connect.len(),
                empty.in_window.delivered
            ),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_new_window_rules_what_is_recorded_from_then_on() {
        let mut recorder = ShardRecorder::new(Window::NEVER);
        recorder.relay(0, 1_500, 1_600);
        recorder.set_window(WINDOW);
        recorder.relay(0, 1_500, 1_600);
        let interval = recorder.take_interval();
        assert_eq!(
            (interval.relay_outside.len(), len(interval.relays())),
            (1, 1)
        );
    }

    proptest! {
        /// Any two times, in any order: nothing panics, and a negative latency is 0.
        #[test]
        fn times_in_any_order_are_recorded(events: Vec<(u64, u64)>, start: u64, end: u64) {
            let mut recorder = ShardRecorder::new(Window { start_ns: start, end_ns: end });
            for &(intended, now) in &events {
                recorder.relay(0, intended, now);
                recorder.ack(0, intended, now);
                recorder.sent(intended, now, now % 2 == 0, 1);
            }
            let interval = recorder.take_interval();
            prop_assert_eq!(interval.delivered(), events.len() as u64);
            let negative = events.iter().filter(|(intended, now)| now <= intended).count() as u64;
            let zeros = interval.relays().map(|h| h.count_at(0)).sum::<u64>()
                + interval.relay_outside.count_at(0);
            prop_assert_eq!(zeros, negative);
        }

        /// Two shards merged record what one shard would have.
        #[test]
        fn merging_is_recording_in_one_place(
            events in prop::collection::vec((0u64..3_000, 0u64..3_000, any::<bool>()), 0..200),
        ) {
            let mut one = ShardRecorder::of_groups(WINDOW, 3);
            let mut halves = [0, 1].map(|_| ShardRecorder::of_groups(WINDOW, 3));
            for &(intended, now, first) in &events {
                for recorder in [&mut one, &mut halves[usize::from(first)]] {
                    let group = (now % 3) as usize;
                    recorder.relay(group, intended, now);
                    recorder.ack(group, intended, now);
                    recorder.error();
                    recorder.sent(intended, now, first, 3);
                    recorder.received_bytes(now, 5);
                    recorder.connected(now);
                    recorder.ack_service(intended, now / 2, now);
                    recorder.relay_service(intended, now / 2, now);
                    recorder.heartbeat(intended, now);
                    recorder.unread(now, intended);
                }
            }
            let whole = one.take_interval();
            let [mut merged, second] = halves.map(|mut half| half.take_interval());
            merged.merge(&second);
            // Not prop_assert_eq: a histogram prints as 33,792 counters.
            prop_assert!(merged == whole);
        }
    }
}
