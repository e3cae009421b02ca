//! Numbers that did not come to a session: each is a lost relay, a missing ack, or a number that
//! was given to no message.

use super::deferred::Awaited;
use super::{Cause, Known, RoomJudge, exchange_span};
use crate::anomaly::{LastFrame, LossDoubt, Missing, Open, Proof};
use crate::batch::Message;
use crate::bounds;
use crate::kind::Kind;
use crate::violation::{Evidence, LossProof, Violation};
use chatbench_wire::payload::SenderId;

/// The doubt about a loss by number: numbers prove by themselves that they were owed.
const fn given_up(disordered: bool) -> LossDoubt {
    LossDoubt {
        given_up: true,
        by_place: false,
        by_later: true,
        by_close: false,
        disordered,
    }
}

impl RoomJudge {
    /// Judges the missing ranges that lie wholly under `told`: nothing more will be told about
    /// them.
    pub(super) fn judge_missing(&mut self, told: u64) {
        if self.missing.is_empty() {
            return;
        }
        let (mut ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.missing)
            .into_iter()
            .partition(|m| m.until <= told);
        self.missing = waiting;
        ready.sort_by_key(|m| (m.from, m.receiver));
        let all = ready.iter().chain(&self.missing);
        let given_up = all.filter(|m| m.given_up).map(|m| m.from..m.until);
        self.given_up = given_up.collect();
        for missing in ready {
            let mut at = missing.from;
            while at < missing.until {
                at = self.judge_missing_number(&missing, at);
            }
        }
    }

    /// Judges number `at` of a missing range (or a run of numbers unknown to all that begins
    /// there); returns the number after it.
    fn judge_missing_number(&mut self, missing: &Missing, at: u64) -> u64 {
        let known = self.numbers.known(at);
        let oldest = self
            .numbers
            .recent
            .front()
            .map_or(self.numbers.base, |&(n, _)| n);
        let forgot_some = self.numbers.recent.len() >= bounds::settled_numbers();
        if forgot_some && at < oldest.min(self.numbers.base) {
            return self.leave_undecided(missing, at, missing.until.min(oldest));
        }
        let unsure = self.numbers.is_unsure(at) || at < self.irregular_until;
        let is_anothers = |k: Known| k.certain && k.relayed && k.message.sender != missing.receiver;
        if at < self.contested_until || unsure && !known.is_some_and(is_anothers) {
            let until = match known {
                Some(_) => at + 1,
                None => self.next_known(at + 1, missing.until),
            };
            return self.leave_undecided(missing, at, until);
        }
        let message = known.map(|k| k.message);
        if let Some((claimed, message)) = self.take_claim(missing.receiver, at, message) {
            self.misnumbered(missing.receiver, at, claimed, message, missing.at_ns);
            return at + 1;
        }
        let Some(known) = known else {
            if let Some(message) = self.strayed(at) {
                if message.sender != missing.receiver {
                    self.lost_relay(missing, at, Some(message));
                }
                return at + 1;
            }
            if self.has_claim(at) {
                self.lost_relay(missing, at, None);
                return at + 1;
            }
            return self.missing_to_all(missing, at);
        };
        let message = known.message;
        if message.sender == missing.receiver {
            self.unanswered(missing, at, message, known.sent_ns);
            return at + 1;
        }
        if self.is_acked_below_seen(at) {
            self.lost += 1; // numbered too late to be delivered: reported as its cause
        } else if known.sent_ns > missing.at_ns {
            self.lost += 1;
            self.numbered_late(missing.receiver, at, message, missing.at_ns);
        } else if known.acked && !known.relayed && !self.has_irregular(at) {
            self.reached_nobody(missing, at, message, self.may_come(missing, at));
        } else {
            self.lost_relay(missing, at, Some(message));
        }
        at + 1
    }

    /// A frame was ahead of the number due when the stream broke off. If its message is the one
    /// that was due, its number was wrong; else, once everyone is past its number, the numbers
    /// before it were lost.
    pub(super) fn judge_last_frame(&mut self, settled: u64, last: LastFrame) {
        let LastFrame {
            receiver,
            seq,
            message,
            due,
            from,
            at_ns,
        } = last;
        let missing = Missing {
            receiver,
            from,
            until: seq,
            proof: Proof::Later(seq),
            given_up: false,
            disordered: false,
            at_ns,
        };
        if settled == due {
            match message.filter(|&m| self.is(due, m)) {
                Some(message) => self.misnumbered(receiver, due, seq, message, at_ns),
                None => self.open(seq, Open::LastFrame(last)),
            }
            return;
        }
        if self.numbers.is_unsure(seq) {
            self.beyond.contested += 1;
            return;
        }
        if let Some(message) = message.filter(|&m| !self.is(seq, m)) {
            let right = self.numbers.number_of(message, seq);
            if right.is_some() || self.numbers.known_for_certain(seq).is_some() {
                let right = right.unwrap_or(due);
                return self.misnumbered(receiver, right, seq, message, at_ns);
            }
        }
        self.tally.delivered += 1;
        let mut at = from;
        while at < seq {
            at = self.judge_missing_number(&missing, at);
        }
    }

    /// Leaves numbers undecided: those that were settled and forgotten before this shard told of
    /// them, or of which part of what was told is forgotten; and of a run longer than any record it
    /// is not even known whether there ever were so many.
    fn leave_undecided(&mut self, missing: &Missing, from: u64, until: u64) -> u64 {
        if until - from > bounds::settled_run() {
            self.beyond.gaps += 1;
        } else {
            self.beyond.losses = self.beyond.losses.saturating_add(until - from);
        }
        self.dropped.insert(missing.receiver);
        until
    }

    /// Whether a receiver that misses number `at` may get it all the same.
    fn may_come(&self, missing: &Missing, at: u64) -> bool {
        missing.given_up || self.given_up.iter().any(|range| range.contains(&at))
    }

    /// Numbers from `at` on of which nothing is known.
    fn missing_to_all(&mut self, missing: &Missing, at: u64) -> u64 {
        let until = self.next_known(at + 1, missing.until);
        self.sequence_gap(missing, at, until);
        until
    }

    /// The first number from `from` on, and under `until`, that something is known of.
    fn next_known(&self, from: u64, until: u64) -> u64 {
        let after = self.numbers.recent.partition_point(|&(n, _)| n < from);
        let settled = self.numbers.recent.get(after).map_or(u64::MAX, |&(n, _)| n);
        let passed = from.saturating_sub(self.numbers.base) as usize;
        let mut waiting =
            (from.max(self.numbers.base)..until).zip(self.numbers.records.iter().skip(passed));
        let waiting = waiting.find(|(_, record)| record.known().is_some());
        let waiting = waiting.map_or(u64::MAX, |(n, _)| n);
        let mut spoken_for = self.open.range(from..).take_while(|(n, _)| **n < until);
        let spoken_for = spoken_for.find(|(_, open)| open.iter().any(Open::claims_its_number));
        let anomaly = spoken_for.map_or(u64::MAX, |(&n, _)| n);
        let irregular = self.irregular.range((from, Kind::LostRelay, 0)..).next();
        let irregular = irregular.map_or(u64::MAX, |(&(n, ..), _)| n);
        let hearsay = self.numbers.hearsay.range(from..).next();
        let hearsay = hearsay.map_or(u64::MAX, |(&n, _)| n);
        let known = settled.min(waiting).min(hearsay);
        until.min(known).min(anomaly).min(irregular)
    }

    /// The message whose ack went to another session under number `seq`.
    fn strayed(&self, seq: u64) -> Option<Message> {
        self.open.get(&seq)?.iter().find_map(|open| match open {
            Open::Stray(message) => Some(*message),
            _ => None,
        })
    }

    /// Whether an observation says that number `seq` was given to something.
    fn has_claim(&self, seq: u64) -> bool {
        let open = self.open.get(&seq);
        open.is_some_and(|list| list.iter().any(Open::claims_its_number)) || self.has_irregular(seq)
    }

    /// Whether somebody got a line under number `seq` that is irregular in itself.
    fn has_irregular(&self, seq: u64) -> bool {
        let mut irregular = self.irregular.range((seq, Kind::LostRelay, 0)..);
        irregular.next().is_some_and(|(&(n, ..), _)| n == seq)
    }

    fn is_acked_below_seen(&self, seq: u64) -> bool {
        let is_it = |open: &Open| matches!(open, Open::AckBelowSeen { .. });
        self.open
            .get(&seq)
            .is_some_and(|list| list.iter().any(is_it))
    }

    /// Takes out the claim that `receiver` got `message` (any message if `None`) in place of number
    /// `due`, under another number. Returns both.
    fn take_claim(
        &mut self,
        receiver: SenderId,
        due: u64,
        message: Option<Message>,
    ) -> Option<(u64, Message)> {
        // A claim is kept under the number that was due, and then at the end of the span in which
        // it is contested.
        let contested = due.saturating_add(exchange_span());
        [due, contested].into_iter().find_map(|at| {
            let mut list = self.open.get(&at)?.iter().enumerate();
            let (index, claim) = list.find_map(|(index, open)| {
                let claim = open.claim_of(receiver, due, message)?;
                // A message that has a number of its own is not this one, whatever this one is.
                let is_it = message.is_some() || self.numbers.number_of(claim.1, due).is_none();
                is_it.then_some((index, claim))
            })?;
            self.open.get_mut(&at)?.remove(index);
            self.open_count -= 1;
            Some(claim)
        })
    }

    /// Whether number `seq` is `message`.
    pub(super) fn is(&self, seq: u64, message: Message) -> bool {
        self.numbers
            .known_for_certain(seq)
            .is_some_and(|k| k.message == message)
    }

    /// The message that was due as number `due` came, as number `claimed`.
    pub(super) fn misnumbered(
        &mut self,
        receiver: SenderId,
        due: u64,
        claimed: u64,
        message: Message,
        at_ns: u64,
    ) {
        let claimed = self.stated(claimed);
        let evidence = if message.sender == receiver {
            Evidence::AckMisnumbered(claimed)
        } else {
            self.irregular_deliveries += 1;
            Evidence::Misnumbered(claimed)
        };
        self.accuse(evidence, Some(receiver), Some(message), due, at_ns);
    }

    pub(super) fn lost_relay(&mut self, missing: &Missing, seq: u64, message: Option<Message>) {
        self.lost += 1;
        let proof = match missing.proof {
            Proof::Later(later) => LossProof::Number(self.stated(later)),
            Proof::Bye(last) => LossProof::LastNumber(self.stated(last)),
        };
        let (receiver, at_ns) = (missing.receiver, missing.at_ns);
        let lost = Evidence::Lost(proof);
        let violation = self.violation(lost, Some(receiver), message, Some(seq), at_ns);
        self.lose(missing, seq, missing.given_up, violation);
    }

    /// `missing` does not get number `seq`, which is a violation; if it may still come, the end of
    /// the run decides.
    fn lose(&mut self, missing: &Missing, seq: u64, may_come: bool, violation: Violation) {
        if may_come {
            let doubt = given_up(missing.disordered);
            self.defer(Awaited::Number(seq), missing.receiver, doubt, violation);
        } else {
            self.found.add(violation);
        }
    }

    /// Reports one violation for each message, however many receivers miss it; but receivers that
    /// may yet get it are remembered one by one.
    pub(super) fn reached_nobody(
        &mut self,
        missing: &Missing,
        seq: u64,
        message: Message,
        may_come: bool,
    ) {
        self.lost += 1;
        // Other receivers that miss it may still be waited for.
        let may_come = may_come || self.deferred.is_waited_for(Awaited::Number(seq));
        if !may_come && !self.first_time(Cause::ReachedNobody(seq)) {
            return;
        }
        let nobody = Evidence::ReachedNobody(self.directory.who(missing.receiver));
        let violation = self.violation(nobody, None, Some(message), Some(seq), missing.at_ns);
        self.lose(missing, seq, may_come, violation);
    }

    /// `receiver` got number `seq` after all, before it was judged for missing it. Returns whether
    /// it was about to be.
    pub(super) fn was_not_missed(&mut self, seq: u64, receiver: SenderId) -> bool {
        let misses = |m: &Missing| m.receiver == receiver && (m.from..m.until).contains(&seq);
        let Some(at) = self.missing.iter().position(misses) else {
            return false;
        };
        let missing = self.missing.swap_remove(at);
        let parts = [(missing.from, seq), (seq + 1, missing.until)];
        let parts = parts.into_iter().filter(|(from, until)| from < until);
        self.missing.extend(parts.map(|(from, until)| Missing {
            from,
            until,
            ..missing
        }));
        true
    }
}
