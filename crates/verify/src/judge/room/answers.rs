//! Acks and errors: messages without an answer, and answers that went to another session.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::RoomJudge;
use super::gaps::Gap;
use crate::anomaly::{Missing, NoAck, Open, Unacked};
use crate::batch::{Message, NO_NUMBER};
use crate::bounds;
use crate::violation::{AnswerProof, Evidence, StrayAck, Violation};
use chatbench_wire::payload::SenderId;

/// Messages whose answers did not come as they should.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Messages whose sessions ended without their acks.
    pub(super) unacked: Vec<Unacked>,
    /// Messages that were under way when their sessions broke off.
    broken_off: BTreeMap<Message, Unacked>,
    /// Messages whose senders passed their numbers without having got the ack.
    unanswered: FxHashMap<Message, Unanswered>,
    /// Acks that were waited for too long; without messages where the target cannot name them.
    overdue: Vec<(Vec<Message>, Violation)>,
    /// Messages that were answered with an error; with a violation where they were in order.
    pub(super) refused: FxHashMap<Message, Option<Violation>>,
    /// Messages whose acks went to another.
    pub(super) stray: FxHashSet<Message>,
    /// More answers went to another session than are remembered.
    pub(super) forgot_stray: bool,
    /// Messages whose errors went to another.
    errors_astray: FxHashSet<Message>,
    /// For each sender, how many of its acks went to another session without naming their message.
    pub(super) stray_unnamed: FxHashMap<SenderId, u64>,
}

/// The reason why a sender passed its own message's number without the ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The ack is missing.
    Passed,
    /// It was sent after that: numbered too late to be acked in time, which is on record.
    NumberedLate,
}

impl RoomJudge {
    /// The ack of a message is missing: counted when it is known that it never came.
    pub(super) fn unanswered(
        &mut self,
        missing: &Missing,
        seq: u64,
        message: Message,
        sent_ns: u64,
    ) {
        let mut why = Unanswered::Passed;
        if sent_ns > missing.at_ns {
            why = Unanswered::NumberedLate;
            self.numbered_late(missing.receiver, seq, message, missing.at_ns);
        }
        if self.answers.unanswered.len() < bounds::remembered() {
            self.answers.unanswered.insert(message, why);
        } else if !self.answers.unanswered.contains_key(&message) {
            self.beyond.unanswered += 1;
        }
    }

    /// Reports acks that were waited for too long. An ack that went to another session is on record
    /// as that.
    pub(super) fn judge_overdue(&mut self) {
        for (messages, violation) in std::mem::take(&mut self.answers.overdue) {
            if !self.all_strayed(&messages) {
                self.found.add(violation);
            }
        }
    }

    /// Whether the acks of `messages`, all of one sender, went to others; uses up the acks that do
    /// not name their message.
    fn all_strayed(&mut self, messages: &[Message]) -> bool {
        let Some(first) = messages.first() else {
            return false;
        };
        let unknown = messages
            .iter()
            .filter(|m| !self.answers.stray.contains(m))
            .count() as u64;
        let unnamed = self.answers.stray_unnamed.get_mut(&first.sender);
        let unnamed = unnamed.filter(|strayed| **strayed >= unknown);
        if let Some(strayed) = unnamed {
            *strayed -= unknown;
            // A later wait for the same acks finds them by name.
            let room = bounds::remembered().saturating_sub(self.answers.stray.len());
            self.answers.stray.extend(messages.iter().take(room));
            return true;
        }
        unknown == 0
    }

    /// Messages that their senders' byes left without an ack.
    pub(super) fn judge_unacked(&mut self) {
        self.judge_overdue();
        for unacked in std::mem::take(&mut self.answers.unacked) {
            self.judge_one_unacked(unacked);
        }
        let mut refused: Vec<(Message, Violation)> = self
            .answers
            .refused
            .drain()
            .filter_map(|(message, violation)| Some((message, violation?)))
            .collect();
        refused.sort_by_key(|(m, violation)| (violation.at_ns, m.sender, m.k));
        for (message, violation) in refused {
            // It may have a number all the same: one that was settled long before the refusal, or
            // without this message being known for it.
            if self.is_numbered(message) || self.numbers.unsure_until > 0 {
                self.beyond.unanswered += 1;
            } else {
                self.found.add(violation);
            }
        }
    }

    /// The session of a message ended before its ack came.
    pub(super) fn unacked(&mut self, unacked: Unacked) {
        if let NoAck::Unknown { .. } = unacked.by {
            self.answers.broken_off.insert(unacked.message, unacked);
            if self.answers.broken_off.len() > bounds::remembered()
                && let Some((_, oldest)) = self.answers.broken_off.pop_first()
            {
                self.judge_one_unacked(oldest);
            }
        } else if self.answers.unacked.len() < bounds::remembered() {
            self.answers.unacked.push(unacked);
        } else {
            self.beyond.unanswered += 1;
        }
    }

    /// A message that was sent, and was neither acked nor refused by the end of its session.
    pub(super) fn judge_one_unacked(&mut self, unacked: Unacked) {
        let Unacked { message, by, at_ns } = unacked;
        if self.answers.stray.contains(&message) || self.answers.errors_astray.contains(&message) {
            return; // its answer went to another, which is on record
        }
        let numbered = match self.answers.unanswered.remove(&message) {
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
        if self.answers.forgot_stray {
            self.beyond.unanswered += 1; // its answer may have gone to another
            return;
        }
        if let Some(strayed) = self.answers.stray_unnamed.get_mut(&message.sender)
            && *strayed > 0
        {
            *strayed -= 1;
            return;
        }
        // With nobody else to see the relay, the missing ack leaves a gap in the numbers. If its
        // sender is not among the sessions that are known to miss these, it may be among the
        // others.
        if !numbered && !swallowed {
            let its_own = |g: &Gap| g.witnesses.iter().any(|m| m.receiver == message.sender);
            let undecided = self.beyond.losses.saturating_add(self.beyond.contested);
            let not_all_known = undecided > 0 || self.tally.after_wrong > 0;
            let may_be = |g: &Gap| g.more_witnesses > 0 || not_all_known;
            let is_own = self
                .gaps
                .runs
                .iter()
                .any(|g| g.unexplained > 0 && its_own(g));
            let mut open = self.gaps.runs.iter_mut().filter(|g| g.unexplained > 0);
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
        let numbered = self
            .numbers
            .recent
            .iter()
            .find(|(_, k)| k.message == message);
        let numbered = numbered.map(|&(n, known)| (n, known.sent_ns));
        if self.answers.refused.len() < bounds::remembered() {
            self.answers.refused.insert(message, violation);
        } else {
            self.beyond.unanswered += u64::from(violation.is_some());
        }
        if let Some((seq, sent_ns)) = numbered {
            self.check_refused(message, seq, sent_ns);
        }
        if let Some(at_ns) = self.parts.relayed_before_refused(message) {
            self.check_refused(message, NO_NUMBER, at_ns);
        }
    }

    /// `message` was acked or relayed: that is a violation if it was refused, too.
    pub(super) fn check_refused(&mut self, message: Message, seq: u64, at_ns: u64) {
        if self.answers.refused.remove(&message).is_none() {
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

    /// `receiver` was acked a message that is another's, or that nobody sent.
    pub(super) fn stray_ack(
        &mut self,
        receiver: SenderId,
        seq: u64,
        message: Option<Message>,
        at_ns: u64,
    ) {
        if let Some(Message { sender, k: 0 }) = message {
            if self.answers.stray_unnamed.len() < bounds::remembered() {
                *self.answers.stray_unnamed.entry(sender).or_default() += 1;
            } else {
                self.answers.forgot_stray = true;
            }
        } else if self.answers.stray.len() < bounds::remembered() {
            self.answers.stray.extend(message);
        } else {
            self.answers.forgot_stray = true;
        }
        if let Some(message) = message.filter(|_| seq != NO_NUMBER) {
            self.open(seq, Open::Stray(message));
        }
        let what = match message {
            Some(message) if message.sender == receiver => StrayAck::NeverSent,
            Some(Message { k: 0, .. }) => StrayAck::AnotherSenders,
            Some(_) => StrayAck::Anothers,
            None if seq == NO_NUMBER => StrayAck::Nobodys,
            None => StrayAck::WithoutId,
        };
        let stray = Evidence::StrayAck(what);
        self.accuse(stray, Some(receiver), message, seq, at_ns);
    }

    /// A client waited too long for the acks of `messages`.
    pub(super) fn overdue(&mut self, messages: Vec<Message>, violation: Violation) {
        match self.answers.overdue.len() < bounds::remembered() {
            true => self.answers.overdue.push((messages, violation)),
            false => self.beyond.unanswered += 1,
        }
    }

    /// An error came that nothing its receiver sent accounts for; it names `message`.
    pub(super) fn stray_error(&mut self, message: Option<Message>, violation: Violation) {
        match self.answers.errors_astray.len() < bounds::remembered() {
            true => self.answers.errors_astray.extend(message),
            false => self.answers.forgot_stray |= message.is_some(),
        }
        self.found.add(violation);
    }

    /// `message` was acked though it was refused, or that is `forgotten`.
    pub(super) fn ack_of_refused(
        &mut self,
        message: Message,
        seq: u64,
        forgotten: bool,
        at_ns: u64,
    ) {
        let is_refused = self.answers.refused.contains_key(&message);
        self.beyond.contested += u64::from(forgotten && !is_refused);
        if !is_refused && seq == NO_NUMBER {
            self.parts.relayed_though_refused(message, at_ns);
        }
        self.check_refused(message, seq, at_ns);
    }

    /// Nothing more will be said of `session`: judges what it still waited for.
    pub(super) fn judge_broken_off(&mut self, session: SenderId) {
        let first = Message {
            sender: session,
            k: 0,
        };
        while let Some((&message, _)) = self.answers.broken_off.range(first..).next()
            && message.sender == session
            && let Some(unacked) = self.answers.broken_off.remove(&message)
        {
            self.judge_one_unacked(unacked);
        }
    }

    /// Nothing more will be said of any session.
    pub(super) fn judge_answers(&mut self) {
        for unacked in std::mem::take(&mut self.answers.broken_off).into_values() {
            self.judge_one_unacked(unacked);
        }
        self.judge_unacked();
    }
}
