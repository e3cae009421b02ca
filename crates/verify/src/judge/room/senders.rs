//! The progress of each sender's messages in the numbers, and whether they are numbered in the
//! order sent.

use super::{Record, RoomJudge};
use crate::batch::Message;
use crate::bounds;
use crate::violation::Evidence;

/// The progress of a sender's messages in the numbers.
#[derive(Debug, Default)]
pub(super) struct Track {
    last_k: u64,
    last_seq: u64,
    /// Messages that were passed over: reordered if they are numbered later.
    passed_over: Vec<PassedOver>,
    /// Some of those up to this k are forgotten.
    forgotten_k: u64,
}

/// A message that had no number when a later one of its sender had.
#[derive(Debug)]
struct PassedOver {
    k: u64,
    /// It has no number between this one and that later message's: all of these are others'.
    none_after: u64,
    /// The number of an earlier message of its sender; 0 if there is none.
    earlier_seq: u64,
}

impl Track {
    /// Whether message `k` has a number, or a later one of its sender has.
    pub(super) fn has_come_to(&self, k: u64) -> bool {
        k <= self.last_k
    }

    /// Whether message `k` had no number when a later one had, as far as is remembered.
    fn is_passed_over(&self, k: u64) -> bool {
        self.passed_over.iter().any(|p| p.k == k)
    }

    /// Whether message `k`, of a session that joined after number `joined`, was given no number
    /// though a later one was: all that it could have are others'. `None` if that is forgotten.
    pub(super) fn is_swallowed(&self, k: u64, joined: u64) -> Option<bool> {
        match self.passed_over.iter().find(|p| p.k == k) {
            Some(p) => Some(p.none_after <= p.earlier_seq.max(joined)),
            None if k <= self.forgotten_k => None,
            None => Some(false),
        }
    }
}

impl RoomJudge {
    /// Whether `message` has a number, though perhaps it is forgotten which.
    pub(super) fn is_numbered(&self, message: Message) -> bool {
        let track = self.senders.get(&message.sender);
        track.is_some_and(|track| track.has_come_to(message.k) && !track.is_passed_over(message.k))
    }

    /// Whether `message` may have a number that is forgotten.
    pub(super) fn may_be_numbered(&self, message: Message) -> bool {
        let forgotten = self.forgot_early && !self.senders.contains_key(&message.sender);
        forgotten || self.is_numbered(message)
    }

    /// S5 over all receivers: a sender's messages must be numbered in the order of their k.
    pub(super) fn check_fifo(&mut self, seq: u64, message: Message, record: &Record) {
        let at_ns = record.relayed.map_or(0, |r| r.first_ns);
        let forgotten = !self.senders.contains_key(&message.sender)
            && !self.directory.remembers(message.sender);
        if forgotten {
            // Its session is over: following it again would never end. All that it sent had its
            // number by then, unless there was no room to wait for that.
            let may_be_new = self.numbers.unsure_until.max(self.numbers.forced_until) > 0
                || self.beyond.contested > 0;
            if may_be_new && !self.forgot_early {
                self.beyond.contested += 1; // its number was unknown when its session was forgotten
            } else if !self.forgot_early {
                self.relayed_again(seq, message, at_ns);
            }
            return;
        }
        let track = self.senders.entry(message.sender).or_default();
        if message.k > track.last_k {
            let (none_after, earlier_seq) = (self.last_unknown, track.last_seq);
            let passed_over = track.last_k + 1..message.k;
            let room = bounds::passed_over();
            let first = passed_over.end.saturating_sub(room as u64);
            if first > passed_over.start {
                track.forgotten_k = first - 1;
            }
            let passed_over = first.max(passed_over.start)..passed_over.end;
            track.passed_over.extend(passed_over.map(|k| PassedOver {
                k,
                none_after,
                earlier_seq,
            }));
            let surplus = track.passed_over.len().saturating_sub(room);
            let forgotten = track.passed_over.drain(..surplus).map(|p| p.k).max();
            track.forgotten_k = track.forgotten_k.max(forgotten.unwrap_or(0));
            (track.last_k, track.last_seq) = (message.k, seq);
            return;
        }
        let Some(at) = track.passed_over.iter().position(|p| p.k == message.k) else {
            if message.k <= track.forgotten_k {
                self.beyond.contested += 1; // it may have been passed over, or had a number before
                return;
            }
            return self.relayed_again(seq, message, at_ns);
        };
        track.passed_over.remove(at);
        self.accuse(
            Evidence::NumberedAfterLater,
            None,
            Some(message),
            seq,
            at_ns,
        );
    }

    fn relayed_again(&mut self, seq: u64, message: Message, at_ns: u64) {
        self.accuse(Evidence::NumberedAgain, None, Some(message), seq, at_ns);
    }
}
