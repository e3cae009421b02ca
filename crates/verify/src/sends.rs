//! Times at which messages were really sent, for their receivers in other shards.
//!
//! The load message states when it was due; it cannot state when it left, and service time counts
//! from that. So every send leaves its lag here and the first receiver of a shard looks it up: one
//! atomic store per message, one load per message and shard, none per delivery.
//!
//! The table has a fixed size and overwrites old entries: a lookup of a message after [`SLOTS`]
//! others finds another's entry, recognises that by its tag, and the send time is not known. A tag
//! of 24 bits fits another message by chance once in 16 million such lookups.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chatbench_wire::payload::SenderId;

/// Messages that are remembered: 512 KiB.
const SLOTS: usize = 1 << 16;

/// Bits of an entry that hold the lag: up to 18 minutes.
const LAG_BITS: u32 = 40;

/// Send lags of the latest messages. An entry is the tag above the lag, plus one so that an empty
/// one is told from no lag.
#[derive(Debug)]
pub(super) struct Sends(Box<[AtomicU64]>);

impl Default for Sends {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Sends {
    /// Message `k` of `sender` was sent `lag_ns` after it was due. A longer lag than an entry
    /// holds is not remembered.
    pub(super) fn sent(&self, sender: SenderId, k: u64, lag_ns: u64) {
        let (slot, tag) = place(sender, k);
        let lag = lag_ns + 1;
        let entry = if lag >> LAG_BITS == 0 {
            tag << LAG_BITS | lag
        } else {
            0
        };
        self.0[slot].store(entry, Relaxed);
    }

    /// How much later than due message `k` of `sender` was sent, if that is still known.
    pub(super) fn lag_ns(&self, sender: SenderId, k: u64) -> Option<u64> {
        let (slot, tag) = place(sender, k);
        let entry = self.0[slot].load(Relaxed);
        let lag = entry & ((1 << LAG_BITS) - 1);
        (lag > 0 && entry >> LAG_BITS == tag).then(|| lag - 1)
    }
}

/// One sender's messages lie side by side, so that none of its latest [`SLOTS`] meet; an odd
/// multiplier keeps those of others apart who are at the same k.
fn place(sender: SenderId, k: u64) -> (usize, u64) {
    let slot = k.wrapping_add(u64::from(sender.0).wrapping_mul(40_503)) as usize % SLOTS;
    let mixed = (u64::from(sender.0) << 36 ^ k).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (slot, mixed >> LAG_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_known_until_so_many_others_have_followed() {
        let sends = Sends::default();
        let sender = SenderId(7);
        assert_eq!(sends.lag_ns(sender, 1), None, "nothing was sent");
        for k in 1..=SLOTS as u64 {
            sends.sent(sender, k, k - 1);
        }
        for k in 1..=SLOTS as u64 {
            assert_eq!(sends.lag_ns(sender, k), Some(k - 1));
        }
        sends.sent(sender, SLOTS as u64 + 1, 5);
        assert_eq!(sends.lag_ns(sender, 1), None, "its place is another's");
        assert_eq!(sends.lag_ns(sender, SLOTS as u64 + 1), Some(5));
    }

    #[test]
    fn senders_in_step_do_not_meet() {
        let sends = Sends::default();
        for sender in 0..10_000 {
            sends.sent(SenderId(sender), 3, u64::from(sender));
        }
        for sender in 0..10_000 {
            let known = sends.lag_ns(SenderId(sender), 3);
            assert_eq!(known, Some(u64::from(sender)));
        }
    }

    #[test]
    fn a_lag_too_long_to_hold_is_not_known_rather_than_wrong() {
        let sends = Sends::default();
        let longest = (1 << LAG_BITS) - 2;
        sends.sent(SenderId(1), 1, longest);
        assert_eq!(sends.lag_ns(SenderId(1), 1), Some(longest));
        sends.sent(SenderId(1), 1, longest + 1);
        assert_eq!(sends.lag_ns(SenderId(1), 1), None);
    }
}
