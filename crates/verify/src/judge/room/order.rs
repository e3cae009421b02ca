//! Numbers that came or were given out too late: after larger ones, or after their effects.

use super::deferred::Awaited;
use super::{Cause, RoomJudge};
use crate::anomaly::Displaced;
use crate::batch::{Acked, Message};
use crate::kind::Kind;
use crate::violation::{Evidence, Order, Violation};
use chatbench_wire::payload::SenderId;

impl RoomJudge {
    /// `message` was acked with a number that its sender had passed before it sent it.
    pub(super) fn judge_ack_below_seen(
        &mut self,
        seq: u64,
        message: Message,
        seen: u64,
        at_ns: u64,
    ) {
        let taken = self.numbers.get(seq).and_then(|record| {
            let relayed = record.relayed.map(|r| r.message);
            relayed.or(record.acked.map(|a| a.message))
        });
        let taken = taken.or_else(|| self.numbers.known_for_certain(seq).map(|k| k.message));
        if self.numbers.is_unsure(seq) {
            self.beyond.contested += 1;
            return;
        }
        if let Some(other) = taken.filter(|&m| m != message) {
            return self.reused(seq, other, message, at_ns);
        }
        let below = Evidence::NumberedBelowSeen(self.stated(seen));
        let violation = self.violation(below, None, Some(message), Some(seq), at_ns);
        self.late_numbered(seq, violation);
    }

    /// `receiver` got number `seq` after all, which is `message`: neither is it lost, nor was it
    /// given to nothing.
    pub(super) fn number_came(&mut self, seq: u64, receiver: SenderId, message: Option<Message>) {
        if let Some(message) = message.filter(|_| seq >= self.numbers.told) {
            self.numbers.may_be(seq, message, receiver); // others may be judged for it yet
        }
        if !self.was_not_missed(seq, receiver)
            && !self.was_no_gap(seq, receiver, message)
            && self.came_after_all(Awaited::Number(seq), receiver)
        {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// `message` was acked under number `seq`, which its sender had given up, or may have.
    pub(super) fn ack_after_all(
        &mut self,
        seq: u64,
        message: Message,
        forgotten: bool,
        at_ns: u64,
    ) {
        self.number_came(seq, message.sender, Some(message));
        let taken = self
            .numbers
            .known_for_certain(seq)
            .map(|known| known.message);
        if let Some(other) = taken.filter(|&other| other != message && !self.numbers.is_unsure(seq))
        {
            return self.reused(seq, other, message, at_ns);
        }
        if forgotten {
            self.tally.uncompared += 1;
            return;
        }
        let late = Evidence::CameAfterGivenUp { is_ack: true };
        let receiver = Some(message.sender);
        self.accuse(late, receiver, Some(message), seq, at_ns);
    }

    /// `receiver` got number `low` after number `high`. The kind depends on whose messages they
    /// are: its own acks, one sender's messages, two senders'; or a message that was not even sent
    /// when a later number had come.
    pub(super) fn judge_displaced(&mut self, displaced: Displaced) {
        let Displaced {
            receiver,
            low,
            high,
            own,
            fifo,
            since,
            disorder,
            at_ns,
        } = displaced;
        let mut before = self
            .numbers
            .known_between(low, high.min(since.seq.saturating_sub(1)));
        let sent_later = before.find(|(_, known)| known.sent_ns > since.at_ns);
        drop(before);
        if let Some((n, known)) = sent_later {
            return self.numbered_late(receiver, n, known.message, since.at_ns);
        }
        let is_own = |n: u64| {
            let known = self.numbers.known(n);
            known.is_some_and(|known| known.message.sender == receiver)
        };
        let order = if own || is_own(low) || is_own(high) {
            Order::Answers
        } else if fifo {
            Order::OneSender
        } else {
            Order::All
        };
        if let Some(from) = disorder
            && !self.first_time(Cause::Disorder(receiver, from, order.broken()))
        {
            self.tally.disordered += 1;
            return;
        }
        let displaced = Evidence::Displaced {
            after: self.stated(high),
            order,
            and_more: disorder.is_some(),
        };
        let message = self.numbers.known(low).map(|k| k.message);
        self.accuse(displaced, Some(receiver), message, low, at_ns);
    }

    /// `receiver` had seen a later number by `since_ns`, before the message that became number
    /// `seq` was sent.
    pub(super) fn numbered_late(
        &mut self,
        receiver: SenderId,
        seq: u64,
        message: Message,
        since_ns: u64,
    ) {
        let sent_after = Evidence::SentAfterSeen {
            by: self.directory.who(receiver),
            is_sender: message.sender == receiver,
        };
        let (receiver, message) = (Some(receiver), Some(message));
        let violation = self.violation(sent_after, receiver, message, Some(seq), since_ns);
        self.late_numbered(seq, violation);
    }

    /// Number `seq` was given out too late. One violation however many noticed it; causality, which
    /// only the sender can notice, goes before real time.
    fn late_numbered(&mut self, seq: u64, violation: Violation) {
        if self.counted.contains(Cause::LateNumbered(seq)) == Some(true) {
            return;
        }
        let known = self.late_numbered.get(&seq).map(Violation::kind);
        let says_more = (Kind::RealTime, Kind::Causality);
        if known.is_none_or(|known| (known, violation.kind()) == says_more) {
            self.late_numbered.insert(seq, violation);
        }
    }

    /// Counts messages under `until` that were numbered late: nothing more will be told of them.
    pub(super) fn report_late_numbered(&mut self, until: u64) {
        while let Some(entry) = self.late_numbered.first_entry()
            && *entry.key() < until
        {
            let (seq, violation) = entry.remove_entry();
            if self.first_time(Cause::LateNumbered(seq)) {
                self.found.add(violation);
            }
        }
    }

    /// S8: nothing numbered before this message may have been sent after its ack.
    pub(super) fn check_real_time(&mut self, seq: u64, acked: &Acked) {
        if let Some((sent_ns, earlier, earlier_seq)) = self.latest_sent
            && sent_ns > acked.acked_ns
        {
            let sent_after = Evidence::SentAfterAck {
                after_ns: sent_ns - acked.acked_ns,
                acked: self.directory.message(acked.message),
                number: self.stated(seq),
            };
            let (message, at_ns) = (Some(earlier), acked.acked_ns);
            let violation = self.violation(sent_after, None, message, Some(earlier_seq), at_ns);
            self.late_numbered(earlier_seq, violation);
        }
        let latest = self.latest_sent.is_none_or(|(ns, ..)| acked.sent_ns > ns);
        if latest {
            self.latest_sent = Some((acked.sent_ns, acked.message, seq));
        }
    }
}
