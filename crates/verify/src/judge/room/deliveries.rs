//! Deliveries that were wrong in themselves: altered, invented, echoed, sent to the wrong session,
//! late.

use super::{NO_NUMBER, RoomJudge};
use crate::anomaly::Irregular;
use crate::batch::Message;
use crate::kind::Kind;
use crate::violation::Evidence;
use chatbench_wire::payload::SenderId;

/// A line that is irregular in itself, and the number of its receivers.
#[derive(Debug)]
pub(super) struct Alike {
    /// The first receiver's.
    pub(super) first: Irregular,
    pub(super) receivers: u64,
    /// Its number is a message of the run, and the line came in place of that.
    pub(super) owed: bool,
}

impl RoomJudge {
    /// Number `seq` is a message of the run.
    pub(super) fn note_owed(&mut self, seq: u64) {
        let of_it = (seq, Kind::LostRelay, 0)..(seq + 1, Kind::LostRelay, 0);
        for (_, irregular) in self.irregular.range_mut(of_it) {
            irregular.owed = true;
        }
    }

    /// A line that is wrong in itself came under number `seq`; `line` is the hash of its bytes.
    pub(super) fn irregular(&mut self, seq: u64, line: u64, irregular: Irregular) {
        let key = (seq, irregular.what.kind(), line);
        if seq < self.irregular_until && !self.irregular.contains_key(&key) {
            self.beyond.repeats += 1;
            return;
        }
        let owed = seq < self.numbers.base && self.numbers.known(seq).is_some();
        let first = Alike {
            first: irregular,
            receivers: 0,
            owed,
        };
        self.irregular.entry(key).or_insert(first).receivers += 1;
    }

    /// Lines that were wrong in themselves, under numbers below `until`: alike for several
    /// receivers they are one violation.
    pub(super) fn judge_irregular(&mut self, until: u64) {
        while let Some(entry) = self.irregular.first_entry()
            && entry.key().0 < until
        {
            let ((seq, kind, _), alike) = entry.remove_entry();
            // A relay with a wrong address is a delivery all the same, and counted as that; one of
            // another room comes besides what is owed.
            let stands_in = !matches!(kind, Kind::MisattributedRelay | Kind::WrongRoom);
            if stands_in && (alike.owed || self.numbers.known(seq).is_some()) {
                self.irregular_deliveries += alike.receivers;
            }
            let Irregular {
                receiver,
                message,
                what,
                at_ns,
            } = alike.first;
            let others = alike.receivers - 1;
            let wrong = Evidence::WrongRelay { what, others };
            self.accuse(wrong, Some(receiver), message, seq, at_ns);
        }
    }

    /// Lateness is measured from when the message was really sent: a generator that was late itself
    /// is not held against the target.
    pub(super) fn judge_late(
        &mut self,
        seq: u64,
        receiver: SenderId,
        message: Message,
        intended_ns: u64,
        at_ns: u64,
    ) {
        let known = self.numbers.known(seq).filter(|k| k.message == message);
        if self.numbers.is_unsure(seq) && !known.is_some_and(|k| k.acked) {
            self.beyond.contested += 1; // when it was sent may not be known yet
            return;
        }
        let sent_ns = known.map_or(intended_ns, |k| k.sent_ns.max(intended_ns));
        let took_ns = at_ns.saturating_sub(sent_ns);
        let Some(limit_ns) = self.late_after_ns.filter(|&limit| took_ns > limit) else {
            return;
        };
        let late = Evidence::Late { took_ns, limit_ns };
        self.accuse(late, Some(receiver), Some(message), seq, at_ns);
    }

    /// A sender got its own message relayed: an echo, unless the ack of that message went to
    /// another session.
    pub(super) fn judge_echo(&mut self, seq: u64, message: Message, at_ns: u64) {
        if self.answers.stray.contains(&message)
            || self.answers.stray_unnamed.contains_key(&message.sender)
        {
            return;
        }
        if self.answers.forgot_stray || seq != NO_NUMBER && self.numbers.is_unsure(seq) {
            self.beyond.contested += 1; // its ack may have gone to another
            return;
        }
        let receiver = Some(message.sender);
        self.accuse(Evidence::Echoed, receiver, Some(message), seq, at_ns);
    }
}
