//! Deliveries that were wrong in themselves: altered, invented, echoed, astray, late.

use super::{Judge, NO_NUMBER, Open};
use crate::verify::batch::Message;
use crate::verify::bounds;
use crate::verify::kind::Kind;
use crate::wire::payload::SenderId;

/// A line that is wrong in itself.
#[derive(Debug)]
pub(super) struct Irregular {
    pub(super) receiver: SenderId,
    pub(super) receivers: u64,
    pub(super) message: Option<Message>,
    pub(super) text: String,
    pub(super) at_ns: u64,
    /// Its number is a message of the run's, in whose place it came.
    pub(super) owed: bool,
}

impl Judge {
    /// Number `seq` is a message of the run's.
    pub(super) fn note_owed(&mut self, seq: u64) {
        let of_it = (seq, Kind::LostRelay, 0)..(seq + 1, Kind::LostRelay, 0);
        for (_, irregular) in self.irregular.range_mut(of_it) {
            irregular.owed = true;
        }
    }

    /// Lines that were wrong in themselves, under numbers below `until`: alike for several
    /// receivers they are one violation.
    pub(super) fn judge_irregular(&mut self, until: u64) {
        while let Some(entry) = self.irregular.first_entry()
            && entry.key().0 < until
        {
            let ((seq, kind, _), irregular) = entry.remove_entry();
            // One with a wrong address is a delivery all the same, and counted as that.
            let stands_in = kind != Kind::MisattributedRelay;
            if stands_in && (irregular.owed || self.known(seq).is_some()) {
                self.irregular_deliveries += irregular.receivers;
            }
            let receiver = self.directory.name(irregular.receiver);
            let others = match irregular.receivers - 1 {
                0 => String::new(),
                1 => " and one other".to_owned(),
                n => format!(" and {n} others"),
            };
            let what = match irregular.message {
                Some(message) => self.describe(Some(message), seq),
                None => format!("a relay numbered {}", self.stated(seq)),
            };
            let text = format!("{receiver}{others} got {what} {}", irregular.text);
            let (receiver, message) = (Some(irregular.receiver), irregular.message);
            self.violation(kind, receiver, message, seq, text, irregular.at_ns);
        }
    }

    /// Late is measured from when the message was really sent: a generator that was late itself
    /// accuses nobody.
    pub(super) fn judge_late(
        &mut self,
        seq: u64,
        receiver: SenderId,
        message: Message,
        intended_ns: u64,
        at_ns: u64,
    ) {
        let known = self.known(seq).filter(|k| k.message == message);
        if self.is_unsure(seq) && !known.is_some_and(|k| k.acked) {
            self.beyond.contested += 1; // when it was sent may not be known yet
            return;
        }
        let sent_ns = known.map_or(intended_ns, |k| k.sent_ns.max(intended_ns));
        let took_ns = at_ns.saturating_sub(sent_ns);
        let Some(limit_ns) = self.late_after_ns.filter(|&limit| took_ns > limit) else {
            return;
        };
        if self.findings.counts_without_example(Kind::LateRelay, 1) {
            return;
        }
        let text = format!(
            "{} got {} {:.3} s after it was sent; {:.3} s are allowed",
            self.directory.name(receiver),
            self.describe(Some(message), seq),
            took_ns as f64 / 1e9,
            limit_ns as f64 / 1e9
        );
        self.violation(
            Kind::LateRelay,
            Some(receiver),
            Some(message),
            seq,
            text,
            at_ns,
        );
    }

    /// A sender got its own message relayed: unless its ack went to another at that, it is that.
    pub(super) fn judge_echo(&mut self, seq: u64, message: Message, at_ns: u64) {
        if self.stray.contains(&message) || self.stray_unnamed.contains_key(&message.sender) {
            return;
        }
        if self.forgot_stray || seq != NO_NUMBER && self.is_unsure(seq) {
            self.beyond.contested += 1; // its ack may have gone to another
            return;
        }
        let text = format!(
            "{} was relayed its own message {}{}: a sender gets the ack alone",
            self.directory.name(message.sender),
            message.k,
            self.number(seq)
        );
        let receiver = Some(message.sender);
        self.violation(Kind::EchoedRelay, receiver, Some(message), seq, text, at_ns);
    }

    /// `receiver` was acked a message that is another's, or that nobody sent.
    pub(super) fn stray_ack(
        &mut self,
        receiver: SenderId,
        seq: u64,
        message: Option<Message>,
        at_ns: u64,
    ) {
        if let Some(Message { sender, k: 0 }) = message {
            if self.stray_unnamed.len() < bounds::remembered() {
                *self.stray_unnamed.entry(sender).or_default() += 1;
            } else {
                self.forgot_stray = true;
            }
        } else if self.stray.len() < bounds::remembered() {
            self.stray.extend(message);
        } else {
            self.forgot_stray = true;
        }
        if let Some(message) = message.filter(|_| seq != NO_NUMBER) {
            self.open(seq, Open::Stray(message));
        }
        let name = self.directory.name(receiver);
        let at = self.number(seq);
        let text = match message {
            Some(m) if m.sender == receiver => format!(
                "{name} was sent an ack for its message {}{at}, which it never sent",
                m.k
            ),
            Some(Message { sender, k: 0 }) => {
                let sender = self.directory.name(sender);
                format!("{name} was sent an ack that is {sender}'s")
            }
            Some(m) => {
                let sender = self.directory.name(m.sender);
                format!(
                    "{name} was sent the ack for message {} of {sender}{at}",
                    m.k
                )
            }
            None if seq == NO_NUMBER => format!("{name} was sent an ack that is nobody's"),
            None => format!("{name} was sent an ack without id{at}; it sends all with one"),
        };
        self.violation(Kind::StrayAck, Some(receiver), message, seq, text, at_ns);
    }
}
