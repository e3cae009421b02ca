//! Numbers that are more than one message: given twice, exchanged, or wrong.

use super::known::Known;
use super::{Cause, RoomJudge, exchange_span};
use crate::anomaly::{ClaimDoubt, Contest, Open};
use crate::batch::{Message, NO_NUMBER, Relayed};
use crate::bounds;
use crate::violation::Evidence;

impl RoomJudge {
    /// More than one message is claimed to be number `seq`. The acks say which it is; failing
    /// that, what most receivers got.
    pub(super) fn judge_conflicts(&mut self, seq: u64) {
        let mut claims = self.take_conflicts(seq);
        let record = self.numbers.get(seq).cloned().unwrap_or_default();
        let acked = record.acked.map(|a| a.message);
        let both = acked.zip(record.relayed);
        let contradicted = both.is_some_and(|(acked, relayed)| acked != relayed.message);
        if claims.is_empty() && record.acked_too.is_none() && !contradicted {
            return;
        }
        claims.extend(record.relayed);
        // What it was settled as it stays, whoever comes late.
        let settled = self
            .numbers
            .known_for_certain(seq)
            .filter(|_| seq < self.numbers.base);
        let settled = settled.map(|k| k.message);
        let Some(truth) = acked.or(settled).or_else(|| majority(&claims)) else {
            return;
        };
        self.correct(seq, truth, &claims);
        if let Some(second) = record.acked_too {
            self.reused(seq, truth, second, claims.first().map_or(0, |c| c.first_ns));
        }
        for conflict in claims.iter().filter(|c| c.message != truth) {
            let contest = Contest {
                receiver: conflict.first_receiver,
                seq,
                claim: conflict.message,
                due: None,
                truth: Some(truth),
                joined: None,
                doubt: ClaimDoubt::None,
                at_ns: conflict.first_ns,
            };
            self.contest(seq, contest);
        }
    }

    /// Waits until the numbers around `due` are known, and which of them is the claim's own.
    pub(super) fn contest(&mut self, due: u64, contest: Contest) {
        self.open(
            due.saturating_add(exchange_span()),
            Open::Contested(contest),
        );
    }

    fn take_conflicts(&mut self, seq: u64) -> Vec<Relayed> {
        let Some(list) = self.open.get_mut(&seq) else {
            return Vec::new();
        };
        let mut conflicts = Vec::new();
        list.retain(|open| match open {
            Open::Conflict(conflict) => {
                conflicts.push(*conflict);
                false
            }
            _ => true,
        });
        if list.is_empty() {
            self.open.remove(&seq);
        }
        self.open_count -= conflicts.len();
        conflicts
    }

    /// The first relay seen under `seq` may have been the odd one out: it is settled with those of
    /// its own message.
    fn correct(&mut self, seq: u64, truth: Message, claims: &[Relayed]) {
        let Some(index) = seq.checked_sub(self.numbers.base) else {
            return;
        };
        let record = self.numbers.records.get_mut(index as usize);
        let Some(relayed) = record.and_then(|record| record.relayed.as_mut()) else {
            return;
        };
        let right = || claims.iter().filter(|c| c.message == truth);
        relayed.message = truth;
        relayed.receivers = right().map(|c| c.receivers).sum();
        if let Some(first) = right().min_by_key(|c| c.first_ns) {
            (relayed.intended_ns, relayed.first_ns) = (first.intended_ns, first.first_ns);
        }
        if let Some(last) = right().max_by_key(|c| c.last_ns) {
            relayed.last_ns = last.last_ns;
        }
    }

    /// Two messages that are two numbers to the others were each other's to this receiver.
    fn diverged(&mut self, other: u64, truth: Message, contest: &Contest) {
        let (seq, conflict) = (contest.seq, contest);
        let cause = Cause::Exchange(seq.min(other), seq.max(other), conflict.receiver);
        if !self.first_time(cause) {
            return; // the other half of the same exchange
        }
        let known: Vec<_> = self
            .numbers
            .known_between(seq.min(other), seq.max(other))
            .collect();
        let exchanged = Evidence::Exchanged {
            number: self.stated(other),
            other: self.directory.message(truth),
            one_sender: is_one_sender_twice(&known),
        };
        let (receiver, claim) = (Some(conflict.receiver), Some(conflict.claim));
        self.accuse(exchanged, receiver, claim, seq, conflict.at_ns);
    }

    pub(super) fn reused(&mut self, seq: u64, truth: Message, second: Message, at_ns: u64) {
        if self.first_time(Cause::Reuse(seq)) {
            let reused = Evidence::NumberReused(self.directory.message(truth));
            self.accuse(reused, None, Some(second), seq, at_ns);
        }
    }

    /// A receiver got an intact message under a number that is another's, or that was not due,
    /// and misses none that the message could stand for.
    pub(super) fn judge_contest(&mut self, contest: Contest) {
        let Contest {
            receiver,
            seq,
            claim,
            due,
            truth,
            joined,
            doubt,
            at_ns,
        } = contest;
        // What a number is by its ack stays true.
        let by_ack = |n| {
            self.numbers
                .known_for_certain(n)
                .is_some_and(|known| known.acked)
        };
        let is_unsure = |n| self.numbers.is_unsure(n) && !by_ack(n);
        if is_unsure(seq) || due.is_some_and(is_unsure) {
            return self.leave_contested(contest);
        }
        let on_record = self.counted.contains(Cause::Reuse(seq));
        if on_record != Some(false) {
            // One number for two messages, which is on record, or may be.
            if matches!(doubt, ClaimDoubt::GivenUp | ClaimDoubt::Forgotten) {
                self.number_came(seq, receiver, None);
            }
            self.beyond.repeats += u64::from(on_record.is_none());
            return;
        }
        if let Some(due) = due.filter(|&due| due != seq && self.is(due, claim)) {
            return self.misnumbered(receiver, due, seq, claim, at_ns);
        }
        let truth = truth.or_else(|| self.numbers.known_for_certain(seq).map(|k| k.message));
        if joined.is_none() && truth.is_none_or(|truth| truth == claim) {
            match doubt {
                ClaimDoubt::None => {}
                ClaimDoubt::Unplaced => {
                    // It is what it says, and when it was due is not known.
                    self.tally.delivered += 1;
                    self.tally.uncompared += 1;
                    return;
                }
                ClaimDoubt::GivenUp => {
                    self.number_came(seq, receiver, Some(claim));
                    self.tally.delivered += 1;
                    let late = Evidence::CameAfterGivenUp { is_ack: false };
                    return self.accuse(late, Some(receiver), Some(claim), seq, at_ns);
                }
                ClaimDoubt::Forgotten => {
                    self.number_came(seq, receiver, Some(claim));
                    self.tally.delivered += 1;
                    self.tally.uncompared += 1;
                    return;
                }
            }
        }
        let other = self.numbers.number_of(claim, seq);
        let evidence = match (joined, truth) {
            (_, Some(truth)) if truth != claim && other.is_none() => {
                if self.may_be_numbered(claim) || self.numbers.unsure_until > 0 {
                    self.beyond.contested += 1;
                    return;
                }
                if self.numbers.told != u64::MAX {
                    // It may come to be numbered yet.
                    match self.open_count < bounds::open_anomalies() {
                        true => self.open(NO_NUMBER, Open::Contested(contest)),
                        false => self.beyond.contested += 1,
                    }
                    return;
                }
                return self.reused(seq, truth, claim, at_ns);
            }
            (Some(joined), _) => Evidence::NotOwed(self.stated(joined)),
            (None, Some(truth)) if truth != claim => {
                if claim.sender != receiver {
                    return self.diverged(other.unwrap_or(seq), truth, &contest);
                }
                Evidence::AckUnderAnothers
            }
            // What is undecided may be that the number was given to two messages.
            _ if self.beyond.contested > 0 => {
                self.beyond.contested += 1;
                return;
            }
            _ => {
                self.tally.duplicated += 1;
                Evidence::CameAgain
            }
        };
        self.accuse(evidence, Some(receiver), Some(claim), seq, at_ns);
    }

    /// Leaves it undecided what a receiver got under a number that is another's, or that was not due.
    pub(super) fn leave_contested(&mut self, contest: Contest) {
        let Contest {
            receiver,
            seq,
            claim,
            due,
            doubt,
            ..
        } = contest;
        let until = due.map_or(0, |due| due.saturating_add(1));
        self.contested_until = self.contested_until.max(until);
        if matches!(doubt, ClaimDoubt::GivenUp | ClaimDoubt::Forgotten) {
            self.number_came(seq, receiver, Some(claim));
        }
        if seq < self.numbers.told {
            self.numbers.forget_of(seq); // it may be on its way to being one number for two messages
        }
        self.beyond.contested += 1;
    }
}

/// Whether the first or the last of these is of the same sender as another one: exchanging the
/// two breaks that sender's order, too.
fn is_one_sender_twice(known: &[(u64, Known)]) -> bool {
    let repeats = |at: usize| {
        let sender = known[at].1.message.sender;
        let others = known.iter().enumerate().filter(|&(i, _)| i != at);
        others
            .into_iter()
            .any(|(_, (_, k))| k.message.sender == sender)
    };
    !known.is_empty() && (repeats(0) || repeats(known.len() - 1))
}

/// The claim that most receivers share; of equals the first.
fn majority(claims: &[Relayed]) -> Option<Message> {
    let mut votes: Vec<(Message, u64)> = Vec::new();
    for conflict in claims {
        match votes.iter_mut().find(|(m, _)| *m == conflict.message) {
            Some((_, n)) => *n += conflict.receivers,
            None => votes.push((conflict.message, conflict.receivers)),
        }
    }
    let most = votes.into_iter().rev().max_by_key(|&(_, n)| n);
    most.map(|(m, _)| m)
}
