//! What did not come: relays, whole numbers, acks.

use super::deferred::Awaited;
use super::{Cause, Judge, Known, exchange_span};
use crate::verify::anomaly::{LastFrame, LossDoubt, Missing, NoAck, Open, Proof, Unacked};
use crate::verify::batch::Message;
use crate::verify::bounds;
use crate::verify::kind::Kind;
use crate::verify::violation::{AnswerProof, Evidence, LossProof, Violation, Who};
use crate::wire::payload::SenderId;

/// Numbers say themselves that they were owed.
const fn given_up(disordered: bool) -> LossDoubt {
    LossDoubt {
        given_up: true,
        by_place: false,
        by_later: true,
        by_close: false,
        disordered,
    }
}

/// What it is that a sender passed its own message's number without the ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The ack is missing.
    Passed,
    /// It was sent after that: numbered too late to be acked in time, which is on record.
    NumberedLate,
}

/// Numbers that nobody got anything under.
#[derive(Debug)]
pub(super) struct Gap {
    from: u64,
    until: u64,
    /// How many of them an unacked message does not explain.
    unexplained: u64,
    /// Who missed them; of the first so many.
    witnesses: Vec<Missing>,
    /// The first.
    witness: Who,
    /// How many besides.
    more_witnesses: u64,
}

impl Judge {
    /// Judges the missing ranges that lie wholly under `told`: nobody will say more about them.
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
        let known = self.known(at);
        let oldest = self.recent.front().map_or(self.base, |&(n, _)| n);
        let forgot_some = self.recent.len() >= bounds::settled_numbers();
        if forgot_some && at < oldest.min(self.base) {
            return self.leave_undecided(missing, at, missing.until.min(oldest));
        }
        let unsure = self.is_unsure(at) || at < self.irregular_until;
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
            if self.is_spoken_for(at) {
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

    /// What is missing is the ack: counted when it is known that it never came.
    fn unanswered(&mut self, missing: &Missing, seq: u64, message: Message, sent_ns: u64) {
        let mut why = Unanswered::Passed;
        if sent_ns > missing.at_ns {
            why = Unanswered::NumberedLate;
            self.numbered_late(missing.receiver, seq, message, missing.at_ns);
        }
        if self.unanswered.len() < bounds::remembered() {
            self.unanswered.insert(message, why);
        } else if !self.unanswered.contains_key(&message) {
            self.beyond.unanswered += 1;
        }
    }

    /// A frame was ahead of its time when the stream broke off. If what was due is the message
    /// that it carried, its number was wrong; else, once everyone is past its number, what lies
    /// before it was lost.
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
        if self.is_unsure(seq) {
            self.beyond.contested += 1;
            return;
        }
        if let Some(message) = message.filter(|&m| !self.is(seq, m)) {
            let right = self.number_of(message, seq);
            if right.is_some() || self.known_for_certain(seq).is_some() {
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

    /// Of numbers that were settled and forgotten before this shard came to speak of them, or not
    /// all of which is known that was told, nobody can say what they were; nor, of a run longer
    /// than any record, whether there ever were so many.
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

    /// Numbers from `at` on of which nobody knows anything.
    fn missing_to_all(&mut self, missing: &Missing, at: u64) -> u64 {
        let until = self.next_known(at + 1, missing.until);
        self.sequence_gap(missing, at, until);
        until
    }

    /// The first number from `from` on, and under `until`, that something is known of.
    fn next_known(&self, from: u64, until: u64) -> u64 {
        let after = self.recent.partition_point(|&(n, _)| n < from);
        let settled = self.recent.get(after).map_or(u64::MAX, |&(n, _)| n);
        let passed = from.saturating_sub(self.base) as usize;
        let mut waiting = (from.max(self.base)..until).zip(self.records.iter().skip(passed));
        let waiting = waiting.find(|(_, record)| record.known().is_some());
        let waiting = waiting.map_or(u64::MAX, |(n, _)| n);
        let mut spoken_for = self.open.range(from..).take_while(|(n, _)| **n < until);
        let spoken_for = spoken_for.find(|(_, open)| open.iter().any(Open::speaks_for_its_number));
        let anomaly = spoken_for.map_or(u64::MAX, |(&n, _)| n);
        let irregular = self.irregular.range((from, Kind::LostRelay, 0)..).next();
        let irregular = irregular.map_or(u64::MAX, |(&(n, ..), _)| n);
        let hearsay = self.hearsay.range(from..).next();
        let hearsay = hearsay.map_or(u64::MAX, |(&n, _)| n);
        let known = settled.min(waiting).min(hearsay);
        until.min(known).min(anomaly).min(irregular)
    }

    /// The message whose ack went astray under number `seq`.
    fn strayed(&self, seq: u64) -> Option<Message> {
        self.open.get(&seq)?.iter().find_map(|open| match open {
            Open::Stray(message) => Some(*message),
            _ => None,
        })
    }

    /// Whether somebody claims that number `seq` was given to something.
    fn is_spoken_for(&self, seq: u64) -> bool {
        let open = self.open.get(&seq);
        open.is_some_and(|list| list.iter().any(Open::speaks_for_its_number))
            || self.has_irregular(seq)
    }

    /// Whether somebody got a line under number `seq` that is wrong in itself.
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

    /// What `receiver` got in place of number `due`: `message` (any, if not known) under another
    /// number.
    fn take_claim(
        &mut self,
        receiver: SenderId,
        due: u64,
        message: Option<Message>,
    ) -> Option<(u64, Message)> {
        // A claim is kept under the number that was due, and then where it is contested.
        let contested = due.saturating_add(exchange_span());
        [due, contested].into_iter().find_map(|at| {
            let mut list = self.open.get(&at)?.iter().enumerate();
            let (index, claim) = list.find_map(|(index, open)| {
                let claim = open.claim_of(receiver, due, message)?;
                // What has a number of its own is not this one, whatever this one is.
                let is_it = message.is_some() || self.number_of(claim.1, due).is_none();
                is_it.then_some((index, claim))
            })?;
            self.open.get_mut(&at)?.remove(index);
            self.open_count -= 1;
            Some(claim)
        })
    }

    /// Whether number `seq` is `message`.
    pub(super) fn is(&self, seq: u64, message: Message) -> bool {
        self.known_for_certain(seq)
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

    fn lost_relay(&mut self, missing: &Missing, seq: u64, message: Option<Message>) {
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

    /// `missing` does not come to number `seq`, which is a violation; if it may come all the same,
    /// that is known at the end.
    fn lose(&mut self, missing: &Missing, seq: u64, may_come: bool, violation: Violation) {
        if may_come {
            let doubt = given_up(missing.disordered);
            self.defer(Awaited::Number(seq), missing.receiver, doubt, violation);
        } else {
            self.found.add(violation);
        }
    }

    /// One violation for each message, however many receivers miss it; but of those that may yet
    /// get it, each is remembered.
    fn reached_nobody(&mut self, missing: &Missing, seq: u64, message: Message, may_come: bool) {
        self.lost += 1;
        // Others who miss it may be waited for.
        let may_come = may_come || self.deferred.is_waited_for(Awaited::Number(seq));
        if !may_come && !self.first_time(Cause::ReachedNobody(seq)) {
            return;
        }
        let nobody = Evidence::ReachedNobody(self.directory.who(missing.receiver));
        let violation = self.violation(nobody, None, Some(message), Some(seq), missing.at_ns);
        self.lose(missing, seq, may_come, violation);
    }

    /// One violation for each run of skipped numbers, however many sessions noticed.
    fn sequence_gap(&mut self, missing: &Missing, from: u64, until: u64) {
        let overlaps = |g: &&mut Gap| from < g.until && g.from < until;
        if let Some(gap) = self.gaps.iter_mut().rev().find(overlaps) {
            match gap.witnesses.len() < bounds::gap_witnesses() {
                true => gap.witnesses.push(*missing),
                false => gap.more_witnesses += 1,
            }
            return;
        }
        if self.gaps.len() >= bounds::gaps() {
            // Several sessions tell of the same.
            let is_known = from < self.gaps_until;
            self.beyond.gaps += u64::from(!is_known);
            self.gaps_until = self.gaps_until.max(until);
            return;
        }
        self.gaps.push(Gap {
            from,
            until,
            unexplained: until - from,
            witnesses: vec![*missing],
            witness: self.directory.who(missing.receiver),
            more_witnesses: 0,
        });
    }

    /// `receiver` got number `seq` after all, before it was judged for missing it. Whether it was to
    /// be.
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

    /// `receiver` got number `seq`, which is `message`, and nobody had got anything under it: it was
    /// not skipped, and whoever else missed it has lost it. Whether it was taken for skipped.
    pub(super) fn was_no_gap(
        &mut self,
        seq: u64,
        receiver: SenderId,
        message: Option<Message>,
    ) -> bool {
        let lies_in = |g: &Gap| g.from <= seq && seq < g.until;
        let Some(at) = self.gaps.iter().position(lies_in) else {
            return false;
        };
        let gap = self.gaps.remove(at);
        let parts = [(gap.from, seq), (seq + 1, gap.until)];
        for (from, until) in parts.into_iter().filter(|(from, until)| from < until) {
            let part = Gap {
                from,
                until,
                unexplained: gap.unexplained.min(until - from),
                witnesses: gap.witnesses.clone(),
                witness: gap.witness,
                more_witnesses: gap.more_witnesses,
            };
            self.gaps.insert(at, part);
        }
        self.beyond.losses += gap.more_witnesses;
        let acked = message.filter(|message| message.sender == receiver);
        for missing in gap.witnesses {
            let its_own = message.is_some_and(|m| m.sender == missing.receiver);
            if missing.receiver == receiver
                || its_own
                || !(missing.from..missing.until).contains(&seq)
            {
                continue;
            }
            match acked {
                Some(message) => self.reached_nobody(&missing, seq, message, true),
                None => self.lost_relay(&missing, seq, message),
            }
        }
        true
    }

    /// Counts what nothing explains.
    pub(super) fn report_gaps(&mut self) {
        let gaps = std::mem::take(&mut self.gaps);
        // Each message without an ack that is not remembered may explain one; and so may what had not
        // come when its session was cut amid disorder, which may have been an ack.
        let misplaced = self.misplaced.saturating_add(self.tally.misplaced);
        let mut may_explain = self.beyond.unanswered.saturating_add(misplaced);
        for gap in gaps.into_iter().filter(|g| g.unexplained > 0) {
            if gap.unexplained <= may_explain {
                may_explain -= gap.unexplained;
                self.beyond.gaps += 1;
                continue;
            }
            let skipped = Evidence::Skipped {
                last: self.stated(gap.until - 1),
                witness: gap.witness,
            };
            self.accuse(skipped, None, None, gap.from, gap.witnesses[0].at_ns);
        }
    }

    /// Acks that were waited for too long. One that went to another is on record as that.
    pub(super) fn judge_overdue(&mut self) {
        for (messages, violation) in std::mem::take(&mut self.overdue) {
            if !self.all_strayed(&messages) {
                self.found.add(violation);
            }
        }
    }

    /// Whether the acks of `messages`, all of one sender, went to others; uses up those that do not
    /// say which of its messages they are for.
    fn all_strayed(&mut self, messages: &[Message]) -> bool {
        let Some(first) = messages.first() else {
            return false;
        };
        let unknown = messages.iter().filter(|m| !self.stray.contains(m)).count() as u64;
        let unnamed = self.stray_unnamed.get_mut(&first.sender);
        let unnamed = unnamed.filter(|strayed| **strayed >= unknown);
        if let Some(strayed) = unnamed {
            *strayed -= unknown;
            // Who waits once more is told of them by name.
            let room = bounds::remembered().saturating_sub(self.stray.len());
            self.stray.extend(messages.iter().take(room));
            return true;
        }
        unknown == 0
    }

    /// Messages that their senders' byes left without an ack.
    pub(super) fn judge_unacked(&mut self) {
        self.judge_overdue();
        for unacked in std::mem::take(&mut self.unacked) {
            self.judge_one_unacked(unacked);
        }
        let mut refused: Vec<(Message, Violation)> = self
            .refused
            .drain()
            .filter_map(|(message, violation)| Some((message, violation?)))
            .collect();
        refused.sort_by_key(|(m, violation)| (violation.at_ns, m.sender, m.k));
        for (message, violation) in refused {
            // Under a number that was settled long before it was refused, or without it.
            if self.is_numbered(message) || self.unsure_until > 0 {
                self.beyond.unanswered += 1;
            } else {
                self.found.add(violation);
            }
        }
    }

    /// The session of a message ended before its ack came.
    pub(super) fn unacked(&mut self, unacked: Unacked) {
        if let NoAck::Unknown { .. } = unacked.by {
            self.broken_off.insert(unacked.message, unacked);
            if self.broken_off.len() > bounds::remembered()
                && let Some((_, oldest)) = self.broken_off.pop_first()
            {
                self.judge_one_unacked(oldest);
            }
        } else if self.unacked.len() < bounds::remembered() {
            self.unacked.push(unacked);
        } else {
            self.beyond.unanswered += 1;
        }
    }

    /// A message that was sent, and was neither acked nor refused by the end of its session.
    pub(super) fn judge_one_unacked(&mut self, unacked: Unacked) {
        let Unacked { message, by, at_ns } = unacked;
        if self.stray.contains(&message) || self.errors_astray.contains(&message) {
            return; // its answer went to another, which is on record
        }
        let numbered = match self.unanswered.remove(&message) {
            Some(Unanswered::NumberedLate) => return,
            Some(Unanswered::Passed) => true,
            None => false,
        };
        if !numbered && self.dropped.contains(&message.sender) {
            self.beyond.unanswered += 1; // it may have been numbered too late, which is its cause
            return;
        }
        let swallowed = match by {
            NoAck::Unknown { joined } if !numbered => {
                let track = self.senders.get(&message.sender);
                let swallowed = track.map_or(Some(false), |t| t.is_swallowed(message.k, joined));
                self.beyond.unanswered += u64::from(swallowed.is_none());
                if swallowed != Some(true) {
                    return; // nobody knows whether it was numbered in time
                }
                true
            }
            _ => false,
        };
        if self.forgot_stray {
            self.beyond.unanswered += 1; // its answer may have gone to another
            return;
        }
        if let Some(strayed) = self.stray_unnamed.get_mut(&message.sender)
            && *strayed > 0
        {
            *strayed -= 1;
            return;
        }
        // With nobody else to see the relay, the missing ack leaves a gap in the numbers.
        // If its sender is not among those who are known to miss them, it may be among the others.
        if !numbered && !swallowed {
            let its_own = |g: &Gap| g.witnesses.iter().any(|m| m.receiver == message.sender);
            let undecided = self.beyond.losses.saturating_add(self.beyond.contested);
            let not_all_known = undecided > 0 || self.tally.after_wrong > 0;
            let may_be = |g: &Gap| g.more_witnesses > 0 || not_all_known;
            let is_own = self.gaps.iter().any(|g| g.unexplained > 0 && its_own(g));
            let mut open = self.gaps.iter_mut().filter(|g| g.unexplained > 0);
            let gap = open.find(|g| if is_own { its_own(g) } else { may_be(g) });
            if let Some(gap) = gap {
                gap.unexplained -= 1;
                self.beyond.gaps += u64::from(!is_own);
            }
        }
        let proof = match by {
            NoAck::ByBye => AnswerProof::End,
            NoAck::ByLaterAck => AnswerProof::LaterAck,
            NoAck::Unknown { .. } if swallowed => AnswerProof::LaterNumber,
            NoAck::Unknown { .. } => AnswerProof::LargerNumbers,
        };
        let unanswered = Evidence::Unanswered(proof);
        let violation = self.violation(unanswered, None, Some(message), None, at_ns);
        self.found.add(violation);
    }

    /// `message` was answered with an error: a violation if it was in order.
    pub(super) fn refused(&mut self, message: Message, violation: Option<Violation>) {
        let numbered = self.recent.iter().find(|(_, k)| k.message == message);
        let numbered = numbered.map(|&(n, known)| (n, known.sent_ns));
        if self.refused.len() < bounds::remembered() {
            self.refused.insert(message, violation);
        } else {
            self.beyond.unanswered += u64::from(violation.is_some());
        }
        if let Some((seq, sent_ns)) = numbered {
            self.check_refused(message, seq, sent_ns);
        }
    }

    /// `message` was acked or relayed: was it refused, too?
    pub(super) fn check_refused(&mut self, message: Message, seq: u64, at_ns: u64) {
        if self.refused.remove(&message).is_none() {
            return;
        }
        self.accuse(
            Evidence::TakenThoughRefused,
            None,
            Some(message),
            seq,
            at_ns,
        );
    }
}
