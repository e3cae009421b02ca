//! Response times of relays by room, of thousands of rooms at once.
//!
//! A histogram of three digits takes 264 KiB, which is too much per room. These have 16 buckets per
//! power of two, so that a figure is at most 3 % off, and only those up to the longest latency: a
//! room whose relays take 1 ms has some 150 of them, 600 bytes.

use super::percentile::min_samples;
use crate::wire::rooms::RoomId;

/// Buckets per power of two, as a power of two.
const DIGITS: u32 = 4;

/// Latencies below this many ns share one bucket.
const LEAST_NS: u64 = 1 << 10;

/// The response times of the relays in one room, of messages due in the measured phase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomLatencies {
    /// How often each bucket was hit; none after the last that was.
    buckets: Vec<u32>,
    count: u64,
    max_ns: u64,
}

impl RoomLatencies {
    #[inline]
    fn record(&mut self, latency_ns: u64) {
        let at = bucket(latency_ns);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] = self.buckets[at].saturating_add(1);
        self.count += 1;
        self.max_ns = self.max_ns.max(latency_ns);
    }

    fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (whole, part) in self.buckets.iter_mut().zip(&other.buckets) {
            *whole = whole.saturating_add(*part);
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many relays came.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly; `None` if none came.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// A percentile, at most 3 % off; `None` if there are too few samples for it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        if self.count < min_samples(percent) {
            return None;
        }
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|hits| {
            seen += u64::from(*hits);
            seen >= rank
        })?;
        Some(middle_ns(at).min(self.max_ns))
    }
}

/// The bucket of a latency.
#[inline]
fn bucket(ns: u64) -> usize {
    if ns < LEAST_NS {
        return 0;
    }
    let power = ns.ilog2();
    let within = (ns >> (power - DIGITS)) - (1 << DIGITS);
    ((u64::from(power - LEAST_NS.ilog2()) << DIGITS) + within + 1) as usize
}

/// The middle of a bucket.
fn middle_ns(bucket: usize) -> u64 {
    let Some(at) = (bucket as u64).checked_sub(1) else {
        return LEAST_NS / 2;
    };
    let power = (at >> DIGITS) as u32 + LEAST_NS.ilog2();
    let width = 1_u64 << (power - DIGITS);
    let from = (1 << power) + (at & ((1 << DIGITS) - 1)) * width;
    from + width / 2
}

/// The response times of the relays in each room that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByRoom(Vec<RoomLatencies>);

impl ByRoom {
    /// Records that a relay of a message that was due in the measured phase came `latency_ns` after
    /// that. The room without a name has none here: its relays are among those of all.
    #[inline]
    pub fn relay(&mut self, room: RoomId, latency_ns: u64) {
        let at = room.0 as usize;
        if at >= self.0.len() {
            self.0.resize_with(at + 1, RoomLatencies::default);
        }
        self.0[at].record(latency_ns);
    }

    /// Adds the recordings of another shard.
    pub fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize_with(other.0.len(), RoomLatencies::default);
        }
        for (whole, part) in self.0.iter_mut().zip(&other.0) {
            whole.add(part);
        }
    }

    /// Those of each room, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &RoomLatencies> {
        self.0.iter()
    }

    /// Those of one room; `None` if nothing came there.
    #[must_use]
    pub fn of(&self, room: RoomId) -> Option<&RoomLatencies> {
        self.0.get(room.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(latencies: &[u64]) -> RoomLatencies {
        let mut all = RoomLatencies::default();
        latencies.iter().for_each(|ns| all.record(*ns));
        all
    }

    proptest! {
        #[test]
        fn a_latency_is_found_again_to_three_percent(ns in LEAST_NS..super::super::CEILING_NS) {
            let found = middle_ns(bucket(ns)) as f64;
            prop_assert!((found / ns as f64 - 1.0).abs() <= 1.0 / 32.0, "{ns} is {found}");
        }

        #[test]
        fn buckets_are_in_the_order_of_their_latencies(a in any::<u64>(), b in any::<u64>()) {
            prop_assert_eq!(bucket(a.min(b)) <= bucket(a.max(b)), true);
        }
    }

    #[test]
    fn percentiles_need_samples_and_the_longest_is_exact() {
        let few = of(&[2_000_000, 3_000_017]);
        assert_eq!((few.count(), few.max_ns()), (2, Some(3_000_017)));
        assert_eq!(few.percentile(99.0), None);
        let many: Vec<u64> = (1..=1_000).map(|n| n * 10_000).collect();
        let many = of(&many);
        for (percent, expected) in [(50.0, 5_000_000.0), (99.0, 9_900_000.0)] {
            let found = many.percentile(percent).unwrap() as f64;
            assert!(
                (found / expected - 1.0).abs() < 0.033,
                "p{percent}: {found}"
            );
        }
        assert_eq!(of(&[]).max_ns(), None);
        assert!(many.buckets.len() < 250, "{} buckets", many.buckets.len());
    }

    #[test]
    fn shards_are_added_room_by_room() {
        let (mut one, mut other) = (ByRoom::default(), ByRoom::default());
        one.relay(RoomId(2), 5_000);
        other.relay(RoomId(2), 7_000_000);
        other.relay(RoomId(4), 1);
        one.add(&other);
        assert_eq!(one.of(RoomId(2)), Some(&of(&[5_000, 7_000_000])));
        assert_eq!(one.of(RoomId(4)).and_then(RoomLatencies::max_ns), Some(1));
        assert_eq!(one.of(RoomId(3)).map(RoomLatencies::count), Some(0));
        assert_eq!(one.of(RoomId(9)), None);
    }
}
