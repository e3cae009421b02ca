//! Whole histograms over time, in bounded memory, for HdrHistogram's log tools.
//!
//! A second's histogram is 264 KiB, nearly all zeros; written in HdrHistogram's own V2 form it is
//! one to two KiB. [`Stretches`] keeps a second in that form until there are [`MAX`] of them. From
//! then on, for each new one, the two neighbours that are shortest together become one: earlier
//! times are in longer stretches than recent ones, and the sum loses nothing. It costs nothing per
//! delivery: histograms come from the shards once per second anyway.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::{Interval, add, group, histogram};

/// Stretches that are kept: two minutes by the second, an hour by the half minute. With the
/// classes' histograms at 1 to 3 KiB each, about 1 MiB.
pub const MAX: usize = 120;

/// The classes of latency that are kept over time, by their names in results.
pub const CLASSES: [&str; 4] = ["ack", "relay", "last_relay", "send_lag"];

/// Some seconds of a run, and the latencies that were recorded in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its first second, counted from the run's epoch.
    pub begins_s: u64,
    /// The number of its seconds.
    pub seconds: u64,
    /// A histogram for each of [`CLASSES`]; `None` without a sample.
    encoded: [Option<Encoded>; CLASSES.len()],
}

/// An encoded histogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// In HdrHistogram's V2 form, not compressed.
    pub v2: Box<[u8]>,
    /// Its greatest latency.
    pub max_ns: u64,
}

impl Stretch {
    /// The latencies of a class, by its place in [`CLASSES`]; `None` without a sample.
    #[must_use]
    pub const fn encoded(&self, class: usize) -> Option<&Encoded> {
        self.encoded[class].as_ref()
    }

    const fn end_s(&self) -> u64 {
        self.begins_s + self.seconds
    }
}

/// A second's histograms, one for each of [`CLASSES`].
#[derive(Debug)]
pub(super) struct Classes([Histogram<u64>; CLASSES.len()]);

impl Classes {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| histogram()))
    }

    /// Adds the recordings of a shard in it.
    pub(super) fn absorb(&mut self, interval: &Interval) {
        let [ack, relay, _, send_lag] = &mut self.0;
        group::acks(&interval.groups).for_each(|part| add(ack, part));
        group::relays(&interval.groups).for_each(|part| add(relay, part));
        add(send_lag, &interval.send_lag);
    }

    /// Adds a message that its last receiver got in it.
    pub(super) fn last_relay(&mut self, latency_ns: u64) {
        let [_, _, last_relay, _] = &mut self.0;
        last_relay.saturating_record(latency_ns);
    }
}

/// The stretches of a run so far.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    /// In their order, with gaps where nothing happened.
    closed: Vec<Stretch>,
}

impl Stretches {
    /// Adds the histograms of second `second`, or some that came late.
    pub(super) fn add(&mut self, second: u64, classes: &Classes) {
        let Classes(parts) = classes;
        if parts.iter().all(Histogram::is_empty) {
            return;
        }
        let place = self.closed.partition_point(|s| s.begins_s <= second);
        let holds = place > 0 && second < self.closed[place - 1].end_s();
        if !holds {
            let empty = Stretch {
                begins_s: second,
                seconds: 1,
                encoded: [const { None }; CLASSES.len()],
            };
            self.closed.insert(place, empty);
        }
        let stretch = &mut self.closed[if holds { place - 1 } else { place }];
        for (encoded, part) in stretch.encoded.iter_mut().zip(parts) {
            if part.is_empty() {
                continue;
            }
            *encoded = Some(match encoded.take() {
                None => Encoded::new(part),
                Some(earlier) => earlier.and(part),
            });
        }
        if self.closed.len() > MAX {
            self.join_shortest();
        }
    }

    /// All of them, in their order.
    pub(super) fn finish(self) -> Vec<Stretch> {
        self.closed
    }

    /// Joins the two neighbours that are shortest together; the earliest if several are.
    fn join_shortest(&mut self) {
        let length = |pair: &[Stretch]| pair[1].end_s() - pair[0].begins_s;
        let pairs = self.closed.windows(2).enumerate();
        let Some((first, _)) = pairs.min_by_key(|(_, pair)| length(pair)) else {
            return;
        };
        let second = self.closed.remove(first + 1);
        let joined = &mut self.closed[first];
        joined.seconds = second.end_s() - joined.begins_s;
        for (one, other) in joined.encoded.iter_mut().zip(second.encoded) {
            *one = match (one.take(), other) {
                (Some(one), Some(other)) => Some(one.and(&other.decoded())),
                (one, other) => one.or(other),
            };
        }
    }
}

impl Encoded {
    /// Encodes a histogram.
    #[must_use]
    pub fn new(histogram: &Histogram<u64>) -> Self {
        let mut v2 = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut v2)
            .expect("a Vec takes all, and no count exceeds an i64");
        Self {
            v2: v2.into(),
            max_ns: histogram.max(),
        }
    }

    /// This one with another one added.
    fn and(&self, other: &Histogram<u64>) -> Self {
        let mut sum = self.decoded();
        add(&mut sum, other);
        Self::new(&sum)
    }

    /// Decodes it.
    #[must_use]
    pub fn decoded(&self) -> Histogram<u64> {
        Deserializer::new()
            .deserialize(&mut &*self.v2)
            .expect("it was encoded here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{ShardRecorder, Window};

    const ALWAYS: Window = Window {
        start_ns: 0,
        end_ns: u64::MAX,
    };

    /// `n` acks, and twice as many relays, all so late.
    fn interval(n: u64, latency_ns: u64) -> Interval {
        let mut recorder = ShardRecorder::new(ALWAYS);
        for _ in 0..n {
            recorder.ack(0, 0, latency_ns);
            recorder.relay(0, 0, latency_ns);
            recorder.relay(0, 0, latency_ns);
        }
        recorder.take_interval()
    }

    fn counts(stretch: &Stretch) -> [u64; 4] {
        std::array::from_fn(|class| stretch.encoded(class).map_or(0, |e| e.decoded().len()))
    }

    fn classes(interval: &Interval) -> Classes {
        let mut classes = Classes::new();
        classes.absorb(interval);
        classes
    }

    #[test]
    fn a_second_has_what_came_in_it_and_one_without_a_sample_is_left_out() {
        let mut stretches = Stretches::default();
        let mut third = classes(&interval(1, 1_000));
        third.absorb(&interval(2, 5_000));
        third.last_relay(7_000);
        stretches.add(3, &third);
        stretches.add(4, &Classes::new());
        stretches.add(5, &classes(&interval(4, 9_000)));
        // A late sample still belongs to its second, whether or not that had any before.
        let mut late = Classes::new();
        late.last_relay(8_000);
        stretches.add(3, &late);
        stretches.add(1, &late);
        let all = stretches.finish();
        let seen: Vec<_> = all
            .iter()
            .map(|s| (s.begins_s, s.seconds, counts(s)))
            .collect();
        assert_eq!(
            seen,
            [
                (1, 1, [0, 0, 1, 0]),
                (3, 1, [3, 6, 2, 0]),
                (5, 1, [4, 8, 0, 0]),
            ]
        );
        let relays = all[1].encoded(1).unwrap();
        assert_eq!(relays.decoded().count_at(5_000), 4);
        assert_eq!(relays.max_ns, relays.decoded().max());
    }

    #[test]
    fn however_long_the_run_there_are_so_many_and_nothing_is_lost() {
        let mut stretches = Stretches::default();
        let mut whole = histogram();
        let seconds = 3_000_u64;
        for second in 0..seconds {
            let part = interval(1 + second % 3, 1_000 * (1 + second));
            part.acks().for_each(|acks| add(&mut whole, acks));
            stretches.add(second, &classes(&part));
            assert!(stretches.closed.len() <= MAX);
        }
        let all = stretches.finish();
        assert_eq!(all.len(), MAX);
        assert_eq!((all[0].begins_s, all[MAX - 1].end_s()), (0, seconds));
        assert!(all.windows(2).all(|w| w[0].end_s() == w[1].begins_s));
        // 25 s each, had they all the same length.
        let longest = all.iter().map(|stretch| stretch.seconds).max().unwrap();
        assert!(longest <= 64, "{longest}");
        let mut sum = histogram();
        for stretch in &all {
            add(&mut sum, &stretch.encoded(0).unwrap().decoded());
        }
        assert!(sum == whole);
    }
}
