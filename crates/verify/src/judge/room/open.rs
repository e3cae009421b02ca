//! Anomalies that wait until their number is settled, and the function that judges each.

use super::deferred::Awaited;
use super::{RoomJudge, exchange_span};
use crate::anomaly::{Anomaly, ClaimDoubt, Open};
use crate::batch::{Message, NO_NUMBER};
use chatbench_wire::payload::SenderId;

impl Open {
    /// Whether it says that its number was given to something.
    pub(super) fn claims_its_number(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_) | Self::AckBelowSeen { .. } | Self::Echoed { .. } | Self::Stray(_)
        )
    }

    /// The number and the message that `receiver` got in place of number `due`, if this is such an
    /// anomaly, for `message` (any message if `None`).
    pub(super) fn claim_of(
        &self,
        receiver: SenderId,
        due: u64,
        message: Option<Message>,
    ) -> Option<(u64, Message)> {
        let (of, seq, claim) = match *self {
            Self::Claim(contest) | Self::Contested(contest) => {
                if contest.doubt != ClaimDoubt::None {
                    message?; // it may be what its number says
                }
                ((contest.receiver, contest.due), contest.seq, contest.claim)
            }
            // It may be what its number says, where that is not known.
            Self::LastFrame(last) => {
                message?;
                ((last.receiver, Some(last.due)), last.seq, last.message?)
            }
            _ => return None,
        };
        (of == (receiver, Some(due)) && message.is_none_or(|m| m == claim)).then_some((seq, claim))
    }
}

impl RoomJudge {
    pub(super) fn anomaly(&mut self, anomaly: Anomaly) {
        match anomaly {
            Anomaly::Certain(violation) => self.found.add(violation),
            Anomaly::HungUp { seen, violation } => self.hung_up(seen, violation),
            Anomaly::NumberedAnew { added, violation } => self.numbered_anew(added, violation),
            Anomaly::Missing(missing) => self.missing.push(missing),
            Anomaly::LostUnless {
                receiver,
                message,
                doubt,
                violation,
            } => self.defer(Awaited::Message(message), receiver, doubt, violation),
            Anomaly::LostHere(lost) => self.lost_here(lost),
            Anomaly::WrongHere {
                line,
                violations,
                violation,
            } => self.wrong_here(line, violations, violation),
            Anomaly::DisorderNear { message } => self.deferred.disorder_near(message),
            Anomaly::HadAll { receiver } => self.deferred.had_all(receiver),
            Anomaly::CameAfterAll { receiver, message } => {
                if self.parts.came_after_all(message, receiver) {
                    return; // it did not count as lost yet
                }
                if self.came_after_all(Awaited::Message(message), receiver) {
                    self.tally.lost = self.tally.lost.saturating_sub(1);
                }
            }
            Anomaly::CameLongAfter {
                receiver,
                message,
                violation,
            } => {
                let waited = self.parts.came_after_all(message, receiver);
                if waited || self.came_after_all(Awaited::Message(message), receiver) {
                    self.tally.lost -= u64::from(!waited);
                    self.tally.delivered += 1;
                    self.tally.uncompared += 1; // it is unknown what came before it
                } else {
                    self.tally.duplicated += 1;
                    self.found.add(violation);
                }
            }
            Anomaly::At(seq, open) => {
                match open {
                    Open::Claim(claim) if claim.doubt == ClaimDoubt::Unplaced => {
                        self.numbers.may_be(claim.seq, claim.claim, claim.receiver);
                    }
                    Open::LastFrame(last) => {
                        if let Some(message) = last.message {
                            self.numbers.may_be(last.seq, message, last.receiver);
                        }
                    }
                    _ => {}
                }
                self.open(seq, open);
            }
            Anomaly::Unacked(unacked) => self.unacked(unacked),
            Anomaly::Overdue {
                messages,
                violation,
            } => self.overdue(messages, violation),
            Anomaly::Refused { message, violation } => self.refused(message, violation),
            Anomaly::StrayError { message, violation } => self.stray_error(message, violation),
            Anomaly::AckOfRefused {
                message,
                seq,
                forgotten,
                at_ns,
            } => self.ack_of_refused(message, seq, forgotten, at_ns),
            Anomaly::StrayAck {
                receiver,
                seq,
                message,
                at_ns,
            } => self.stray_ack(receiver, seq, message, at_ns),
            Anomaly::Irregular {
                seq,
                line,
                irregular,
            } => self.irregular(seq, line, irregular),
        }
    }

    /// Judges what waits for the numbers under `until`.
    pub(super) fn judge_open(&mut self, until: u64) {
        while let Some((&seq, _)) = self.open.first_key_value()
            && seq < until
        {
            let speaks = |list: &Vec<Open>| list.iter().any(Open::claims_its_number);
            if seq >= self.numbers.told && self.open.get(&seq).is_some_and(speaks) {
                self.numbers.forget_of(seq); // this will be gone when the number is judged
            }
            self.judge_conflicts(seq); // those that came after it was settled
            let list = self.open.remove(&seq).unwrap_or_default();
            self.open_count -= list.len();
            for open in list {
                self.judge_one(seq, open);
            }
        }
    }

    /// Judges what waited for number `at`.
    fn judge_one(&mut self, at: u64, open: Open) {
        match open {
            Open::Conflict(_) | Open::Stray(_) => {}
            Open::AckBelowSeen {
                message,
                seen,
                at_ns,
            } => self.judge_ack_below_seen(at, message, seen, at_ns),
            Open::Late {
                receiver,
                message,
                intended_ns,
                at_ns,
            } => self.judge_late(at, receiver, message, intended_ns, at_ns),
            Open::Claim(claim) => self.contest(at, claim),
            Open::Displaced(displaced) => self.judge_displaced(displaced),
            Open::LastFrame(last) => self.judge_last_frame(at, last),
            Open::Echoed { seq, .. } if at == seq && seq != NO_NUMBER => {
                let later = seq.saturating_add(exchange_span()).min(NO_NUMBER);
                self.open(later, open);
            }
            Open::Echoed {
                seq,
                message,
                at_ns,
            } => self.judge_echo(seq, message, at_ns),
            Open::AckAfterAll {
                message,
                forgotten,
                at_ns,
            } => self.ack_after_all(at, message, forgotten, at_ns),
            Open::Came { receiver, message } => self.number_came(at, receiver, message),
            // The numbers around are not known yet.
            Open::Contested(contest) if at >= self.numbers.told => self.leave_contested(contest),
            Open::Contested(contest) => self.judge_contest(contest),
        }
    }

    pub(super) fn open(&mut self, seq: u64, open: Open) {
        self.open.entry(seq).or_default().push(open);
        self.open_count += 1;
    }
}
