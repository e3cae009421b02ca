//! Anomalies that wait until their number is settled, and who judges each.

use super::deferred::Awaited;
use super::deliveries::Irregular;
use super::missing::{Missing, Unacked};
use super::order::Displaced;
use super::{Judge, Relayed, exchange_span};
use crate::verify::batch::{Anomaly, ClaimDoubt, Message, NO_NUMBER, NoAck};
use crate::verify::bounds;
use crate::verify::kind::Kind;
use crate::verify::session::Since;
use crate::wire::payload::SenderId;

/// An anomaly that waits for its number to be settled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Open {
    /// Relayed under a number that is another message to others.
    Conflict(Relayed),
    Behind {
        message: Message,
        seen: u64,
        at_ns: u64,
    },
    Late {
        receiver: SenderId,
        message: Message,
        intended_ns: u64,
        at_ns: u64,
    },
    /// Under the number that was due.
    Claim(Contest),
    Displaced {
        receiver: SenderId,
        low: u64,
        own: bool,
        fifo: bool,
        since: Since,
        disorder: Option<u64>,
        at_ns: u64,
    },
    /// Under the number that was due, then under its own.
    LastWord(LastWord),
    Echoed {
        message: Message,
        at_ns: u64,
    },
    /// An echo whose number is settled, and not reported while its ack may still show up astray.
    EchoedThen {
        seq: u64,
        message: Message,
        at_ns: u64,
    },
    /// Its sender got its ack under a number that it had given up, or may have.
    AckAfterAll {
        message: Message,
        forgotten: bool,
        at_ns: u64,
    },
    /// Something came under a number that had been given up.
    Came {
        receiver: SenderId,
        message: Option<Message>,
    },
    /// This message's ack went to another.
    Stray(Message),
    /// More than one message under a number, once it is known what the numbers around are.
    Contested(Contest),
}

impl Open {
    /// Whether it says that its number was given to something.
    pub(super) fn speaks_for_its_number(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_) | Self::Behind { .. } | Self::Echoed { .. } | Self::Stray(_)
        )
    }

    /// The number and the message that `receiver` got in place of number `due`, if this says so:
    /// `message` (any, if it is not known).
    pub(super) fn claim_of(
        &self,
        receiver: SenderId,
        due: u64,
        message: Option<Message>,
    ) -> Option<(u64, Message)> {
        let (of, seq, claim) = match *self {
            Self::Claim(contest) | Self::Contested(contest) => {
                if contest.doubt != ClaimDoubt::None {
                    message?; // it may as well be what its number says
                }
                ((contest.receiver, contest.due), contest.seq, contest.claim)
            }
            // It may as well be what its number says, where that is not known.
            Self::LastWord(word) => {
                message?;
                ((word.receiver, Some(word.due)), word.seq, word.message?)
            }
            _ => return None,
        };
        (of == (receiver, Some(due)) && message.is_none_or(|m| m == claim)).then_some((seq, claim))
    }
}

/// Who got what under a number that is another's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contest {
    pub(super) receiver: SenderId,
    pub(super) seq: u64,
    pub(super) claim: Message,
    /// The number that was due, where that was another.
    pub(super) due: Option<u64>,
    /// What the number is; `None` if it is to be looked up.
    pub(super) truth: Option<Message>,
    /// The last number not owed, where `seq` is none that ever was.
    pub(super) joined: Option<u64>,
    pub(super) doubt: ClaimDoubt,
    pub(super) at_ns: u64,
}

/// A frame that was ahead of its time when the stream broke off behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastWord {
    pub(super) receiver: SenderId,
    pub(super) seq: u64,
    pub(super) message: Option<Message>,
    pub(super) due: u64,
    /// If its number is right, the ones from here on were lost.
    pub(super) from: u64,
    pub(super) at_ns: u64,
}

impl Judge {
    pub(super) fn anomaly(&mut self, anomaly: Anomaly) {
        match anomaly {
            Anomaly::Certain(kind, example) => self.findings.violation(kind, || example),
            Anomaly::HungUp {
                kind,
                seen,
                example,
            } => self.hung_up.entry(kind).or_default().add(seen, example),
            Anomaly::NumberedAnew { added, example } => self.numbered_anew(added, example),
            Anomaly::Missing {
                receiver,
                from,
                until,
                proof,
                given_up,
                disordered,
                at_ns,
            } => {
                self.missing.push(Missing {
                    receiver,
                    from,
                    until,
                    proof,
                    given_up,
                    disordered,
                    at_ns,
                });
            }
            Anomaly::LostUnless {
                kind,
                receiver,
                message,
                doubt,
                example,
            } => self.defer(kind, Awaited::Message(message), receiver, doubt, example),
            Anomaly::DisorderNear { message } => self.deferred.disorder_near(message),
            Anomaly::HadAll { receiver } => self.deferred.had_all(receiver),
            Anomaly::CameAfterAll { receiver, message } => {
                if self.came_after_all(Awaited::Message(message), receiver) {
                    self.tally.lost = self.tally.lost.saturating_sub(1);
                }
            }
            Anomaly::CameLongAfter {
                receiver,
                message,
                example,
            } => {
                if self.came_after_all(Awaited::Message(message), receiver) {
                    self.tally.lost -= 1;
                    self.tally.delivered += 1;
                    self.tally.uncompared += 1; // nobody knows what it came behind
                } else {
                    self.tally.duplicated += 1;
                    self.findings.violation(Kind::DuplicateRelay, || example);
                }
            }
            Anomaly::Conflict {
                receiver,
                seq,
                claim,
                intended_ns,
                at_ns,
            } => {
                let conflict = Relayed {
                    first_receiver: receiver,
                    message: claim,
                    intended_ns,
                    first_ns: at_ns,
                    last_ns: at_ns,
                    receivers: 1,
                };
                self.open(seq, Open::Conflict(conflict));
            }
            Anomaly::AckBehind {
                seq,
                message,
                seen,
                at_ns,
            } => {
                let behind = Open::Behind {
                    message,
                    seen,
                    at_ns,
                };
                self.open(seq, behind);
            }
            Anomaly::AckAfterAll {
                seq,
                message,
                forgotten,
                at_ns,
            } => {
                let acked = Open::AckAfterAll {
                    message,
                    forgotten,
                    at_ns,
                };
                self.open(seq, acked);
            }
            Anomaly::NumberCame {
                receiver,
                seq,
                message,
            } => self.open(seq, Open::Came { receiver, message }),
            Anomaly::Claim {
                receiver,
                seq,
                message,
                due,
                joined,
                doubt,
                at_ns,
            } => {
                if doubt == ClaimDoubt::Unplaced {
                    self.may_be(seq, message, receiver);
                }
                let claim = Contest {
                    receiver,
                    seq,
                    claim: message,
                    due: Some(due),
                    truth: None,
                    joined,
                    doubt,
                    at_ns,
                };
                self.open(due, Open::Claim(claim));
            }
            Anomaly::Displaced {
                receiver,
                low,
                high,
                own,
                fifo,
                since,
                disorder,
                at_ns,
            } => {
                let displaced = Open::Displaced {
                    receiver,
                    low,
                    own,
                    fifo,
                    since,
                    disorder,
                    at_ns,
                };
                self.open(high, displaced);
            }
            Anomaly::Echoed {
                seq,
                message,
                at_ns,
            } => self.open(seq, Open::Echoed { message, at_ns }),
            Anomaly::LastWord {
                receiver,
                seq,
                message,
                due,
                from,
                at_ns,
            } => {
                if let Some(message) = message {
                    self.may_be(seq, message, receiver);
                }
                let last_word = LastWord {
                    receiver,
                    seq,
                    message,
                    due,
                    from,
                    at_ns,
                };
                self.open(due, Open::LastWord(last_word));
            }
            Anomaly::Unacked {
                message,
                by: by @ NoAck::Unknown { .. },
                at_ns,
            } => {
                let unacked = Unacked { message, by, at_ns };
                self.broken_off.insert(message, unacked);
                if self.broken_off.len() > bounds::remembered()
                    && let Some((_, oldest)) = self.broken_off.pop_first()
                {
                    self.judge_one_unacked(oldest);
                }
            }
            Anomaly::Unacked { message, by, at_ns } => {
                match self.unacked.len() < bounds::remembered() {
                    true => self.unacked.push(Unacked { message, by, at_ns }),
                    false => self.beyond.unanswered += 1,
                }
            }
            Anomaly::Overdue { messages, example } => {
                match self.overdue.len() < bounds::remembered() {
                    true => self.overdue.push((messages, example)),
                    false => self.beyond.unanswered += 1,
                }
            }
            Anomaly::Refused { message, example } => self.refused(message, example),
            Anomaly::StrayError { message, example } => {
                match self.errors_astray.len() < bounds::remembered() {
                    true => self.errors_astray.extend(message),
                    false => self.forgot_stray |= message.is_some(),
                }
                self.findings.violation(Kind::StrayError, || example);
            }
            Anomaly::AckOfRefused {
                message,
                seq,
                forgotten,
                at_ns,
            } => {
                let is_refused = self.refused.contains_key(&message);
                self.beyond.contested += u64::from(forgotten && !is_refused);
                self.check_refused(message, seq, at_ns);
            }
            Anomaly::StrayAck {
                receiver,
                seq,
                message,
                at_ns,
            } => self.stray_ack(receiver, seq, message, at_ns),
            Anomaly::Irregular {
                kind,
                receiver,
                seq,
                line,
                message,
                text,
                at_ns,
            } => {
                let owed = seq < self.base && self.known(seq).is_some();
                let first = || Irregular {
                    receiver,
                    receivers: 0,
                    message,
                    text,
                    at_ns,
                    owed,
                };
                let key = (seq, kind, line);
                if seq < self.irregular_until && !self.irregular.contains_key(&key) {
                    self.beyond.repeats += 1;
                    return;
                }
                self.irregular.entry(key).or_insert_with(first).receivers += 1;
            }
            Anomaly::Late {
                receiver,
                seq,
                message,
                intended_ns,
                at_ns,
            } => {
                let late = Open::Late {
                    receiver,
                    message,
                    intended_ns,
                    at_ns,
                };
                self.open(seq, late);
            }
        }
    }

    /// Judges what waits for the numbers under `until`.
    pub(super) fn judge_open(&mut self, until: u64) {
        while let Some((&seq, _)) = self.open.first_key_value()
            && seq < until
        {
            let speaks = |list: &Vec<Open>| list.iter().any(Open::speaks_for_its_number);
            if seq >= self.told && self.open.get(&seq).is_some_and(speaks) {
                self.forget_of(seq); // this will be gone when the number is judged
            }
            self.judge_conflicts(seq); // those that came behind its settlement
            let list = self.open.remove(&seq).unwrap_or_default();
            self.open_count -= list.len();
            for open in list {
                match open {
                    Open::Conflict(_) => {}
                    Open::Behind {
                        message,
                        seen,
                        at_ns,
                    } => self.judge_behind(seq, message, seen, at_ns),
                    Open::Late {
                        receiver,
                        message,
                        intended_ns,
                        at_ns,
                    } => self.judge_late(seq, receiver, message, intended_ns, at_ns),
                    Open::Claim(claim) => self.contest(seq, claim),
                    Open::Displaced {
                        receiver,
                        low,
                        own,
                        fifo,
                        since,
                        disorder,
                        at_ns,
                    } => {
                        let displaced = Displaced {
                            receiver,
                            low,
                            high: seq,
                            own,
                            fifo,
                            since,
                            disorder,
                            at_ns,
                        };
                        self.judge_displaced(displaced);
                    }
                    Open::LastWord(last_word) => self.judge_last_word(seq, last_word),
                    Open::Echoed { message, at_ns } => {
                        let then = Open::EchoedThen {
                            seq,
                            message,
                            at_ns,
                        };
                        let later = seq.saturating_add(exchange_span()).min(NO_NUMBER);
                        self.open(later, then);
                    }
                    Open::EchoedThen {
                        seq,
                        message,
                        at_ns,
                    } => self.judge_echo(seq, message, at_ns),
                    Open::AckAfterAll {
                        message,
                        forgotten,
                        at_ns,
                    } => self.ack_after_all(seq, message, forgotten, at_ns),
                    Open::Came { receiver, message } => self.number_came(seq, receiver, message),
                    Open::Stray(_) => {}
                    // The numbers around are not known yet.
                    Open::Contested(contest) if seq >= self.told => self.leave_contested(contest),
                    Open::Contested(contest) => self.judge_contest(contest),
                }
            }
        }
    }

    pub(super) fn open(&mut self, seq: u64, open: Open) {
        self.open.entry(seq).or_default().push(open);
        self.open_count += 1;
    }
}
