//! The `id` of a load publish: its session and its k in one integer.
//!
//! A plain per-session counter would do for matching acks. With the session in it, another client's
//! ack can be recognised: with bare counters it would be taken for the session's own.

use chatbench_wire::payload::SenderId;

const K_BITS: u32 = 30;

/// Sessions that one run may open: the rest of the protocol's 53 bits, and fewer than a load
/// message's header can name.
pub const MAX_SESSIONS: u32 = 1 << (53 - K_BITS);

/// Messages that one session may send.
pub const MAX_K: u64 = (1 << K_BITS) - 1;

/// The `id` of message `k` of `sender`.
#[inline]
#[must_use]
pub fn publish_id(sender: SenderId, k: u64) -> u64 {
    debug_assert!(k <= MAX_K && sender.0 < MAX_SESSIONS);
    (u64::from(sender.0) << K_BITS) + k
}

/// The session and the message of it that an `id` names.
#[inline]
#[must_use]
pub fn split_id(id: u64) -> (SenderId, u64) {
    (SenderId((id >> K_BITS) as u32), id & MAX_K)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatbench_wire::ndjson::MAX_ID;

    #[test]
    fn ids_fit_the_protocol_and_come_apart_again() {
        let largest = (SenderId(MAX_SESSIONS - 1), MAX_K);
        assert_eq!(publish_id(largest.0, largest.1), MAX_ID);
        for (sender, k) in [(SenderId(0), 1), (SenderId(7), 300), largest] {
            assert_eq!(split_id(publish_id(sender, k)), (sender, k));
        }
    }
}
