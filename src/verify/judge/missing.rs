//! What did not come: relays, whole numbers, acks.

use super::deferred::Awaited;
use super::open::LastWord;
use super::{Cause, EXCHANGE_SPAN, Judge, MAX_REMEMBERED, NEIGHBOURS, NO_NUMBER, Open, Proof};
use crate::verify::batch::{LossDoubt, Message, NoAck};
use crate::verify::findings::Example;
use crate::verify::kind::Kind;
use crate::wire::payload::SenderId;

/// Skipped runs of numbers that wait for the end, when unacked messages may explain them.
const MAX_GAPS: usize = 1 << 12;

/// Sessions remembered for each of them.
const MAX_WITNESSES: usize = 64;

/// A longer run of numbers that were settled without a receiver is no longer believed to have
/// existed number by number.
const MAX_SETTLED_RUN: u64 = 1 << 18;

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

/// `receiver` is past `from..until` and never saw them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) receiver: SenderId,
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) proof: Proof,
    /// They may come all the same.
    pub(super) given_up: bool,
    /// They were overtaken, as others were that did come.
    pub(super) disordered: bool,
    pub(super) at_ns: u64,
}

/// A session ended before this ack came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unacked {
    pub(super) message: Message,
    pub(super) by: NoAck,
    pub(super) at_ns: u64,
}

/// What it is that a sender passed its own message's number without the ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The ack is missing.
    Passed,
    /// It was sent behind that: numbered too late to be acked in time, which is on record.
    NumberedLate,
}

/// Numbers that nobody got anything under.
#[derive(Debug)]
pub(super) struct Gap {
    from: u64,
    until: u64,
    /// How many of them an unacked message does not explain.
    unexplained: u64,
    witnesses: Vec<SenderId>,
    at_ns: u64,
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
        for missing in ready {
            let mut at = missing.from;
            while at < missing.until {
                at = self.judge_missing_number(&missing, at);
            }
        }
    }

    /// Judges number `at` of a missing range (or a run of numbers unknown to all that begins
    /// there); returns the number behind it.
    fn judge_missing_number(&mut self, missing: &Missing, at: u64) -> u64 {
        let known = self.known(at);
        let oldest = self.recent.front().map_or(self.base, |&(n, _)| n);
        let forgot_some = self.recent.len() == NEIGHBOURS as usize;
        if forgot_some && at < oldest.min(self.base) {
            return self.missing_long_ago(missing, at, oldest);
        }
        let message = known.map(|k| k.message);
        if let Some((claimed, message)) = self.take_claim(missing.receiver, at, message) {
            self.misnumbered(missing.receiver, at, claimed, message, missing.at_ns);
            return at + 1;
        }
        let Some(known) = known else {
            if let Some(message) = self.strayed(at) {
                if message.sender != missing.receiver {
                    self.lost_relay(missing, at, 1, Some(message));
                }
                return at + 1;
            }
            if self.is_spoken_for(at) {
                self.lost_relay(missing, at, 1, None);
                return at + 1;
            }
            return self.missing_to_all(missing, at);
        };
        let message = known.message;
        if message.sender == missing.receiver {
            self.unanswered(missing, at, message, known.sent_ns);
            return at + 1;
        }
        if self.has_behind(at) {
            self.lost += 1; // numbered too late to be delivered: reported as its cause
        } else if known.sent_ns > missing.at_ns {
            self.lost += 1;
            self.numbered_late(Kind::RealTime, missing.receiver, at, message, missing.at_ns);
        } else if known.acked && !known.relayed && !self.has_irregular(at) {
            self.reached_nobody(missing, at, message);
        } else {
            self.lost_relay(missing, at, 1, Some(message));
        }
        at + 1
    }

    /// What is missing is the ack: counted when it is known that it never came.
    fn unanswered(&mut self, missing: &Missing, seq: u64, message: Message, sent_ns: u64) {
        let mut why = Unanswered::Passed;
        if sent_ns > missing.at_ns {
            why = Unanswered::NumberedLate;
            let (kind, receiver) = (Kind::Causality, missing.receiver);
            self.numbered_late(kind, receiver, seq, message, missing.at_ns);
        }
        if self.unanswered.len() < MAX_REMEMBERED {
            self.unanswered.insert(message, why);
        }
    }

    /// A frame was ahead of its time when the stream broke off. If what was due is the message
    /// that it carried, its number was wrong; else, once everyone is past its number, what lies
    /// before it was lost.
    pub(super) fn judge_last_word(&mut self, settled: u64, word: LastWord) {
        let LastWord {
            receiver,
            seq,
            message,
            due,
            from,
            at_ns,
        } = word;
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
                None => self.open(seq, Open::LastWord(word)),
            }
            return;
        }
        if let Some(message) = message.filter(|&m| !self.is(seq, m)) {
            let right = self.number_of(message, seq);
            if right.is_some() || self.known(seq).is_some() {
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

    /// Numbers that were settled, and forgotten, before this shard came to speak of them.
    fn missing_long_ago(&mut self, missing: &Missing, at: u64, oldest: u64) -> u64 {
        let until = missing.until.min(oldest);
        if until - at > MAX_SETTLED_RUN {
            self.sequence_gap(missing, at, until);
        } else {
            self.lost_relay(missing, at, until - at, None);
        }
        until
    }

    /// Numbers from `at` on of which nobody knows anything.
    fn missing_to_all(&mut self, missing: &Missing, at: u64) -> u64 {
        let until = self.next_known(at + 1, missing.until);
        self.sequence_gap(missing, at, until);
        until
    }

    /// The first number from `from` on, and under `until`, that something is known of.
    fn next_known(&self, from: u64, until: u64) -> u64 {
        let behind = self.recent.partition_point(|&(n, _)| n < from);
        let settled = self.recent.get(behind).map_or(u64::MAX, |&(n, _)| n);
        let passed = from.saturating_sub(self.base) as usize;
        let mut waiting = (from.max(self.base)..until).zip(self.records.iter().skip(passed));
        let waiting = waiting.find(|(_, record)| record.known().is_some());
        let waiting = waiting.map_or(u64::MAX, |(n, _)| n);
        let anomaly = self.open.range(from..).next().map_or(u64::MAX, |(&n, _)| n);
        let irregular = self.irregular.range((from, Kind::LostRelay, 0)..).next();
        let irregular = irregular.map_or(u64::MAX, |(&(n, ..), _)| n);
        until.min(settled).min(waiting).min(anomaly).min(irregular)
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
        let speaks = |open: &Open| {
            matches!(
                open,
                Open::Conflict(_) | Open::Behind { .. } | Open::Echoed { .. }
            )
        };
        let open = self.open.get(&seq);
        open.is_some_and(|list| list.iter().any(speaks)) || self.has_irregular(seq)
    }

    /// Whether somebody got a line under number `seq` that is wrong in itself.
    fn has_irregular(&self, seq: u64) -> bool {
        let mut irregular = self.irregular.range((seq, Kind::LostRelay, 0)..);
        irregular.next().is_some_and(|(&(n, ..), _)| n == seq)
    }

    fn has_behind(&self, seq: u64) -> bool {
        let behind = |open: &Open| matches!(open, Open::Behind { .. });
        self.open
            .get(&seq)
            .is_some_and(|list| list.iter().any(behind))
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
        let contested = due.saturating_add(EXCHANGE_SPAN);
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
        self.known(seq).is_some_and(|k| k.message == message)
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
        let name = self.directory.name(receiver);
        let (kind, text) = if message.sender == receiver {
            let text = format!(
                "{name} got the ack of its message {} as number {}, where number {} was due",
                message.k,
                self.stated(claimed),
                self.stated(due),
            );
            (Kind::StrayAck, text)
        } else {
            self.irregular_deliveries += 1;
            let sender = self.directory.name(message.sender);
            let text = format!(
                "{name} got message {} of {sender}, which is number {}, as number {}",
                message.k,
                self.stated(due),
                self.stated(claimed),
            );
            (Kind::AlteredRelay, text)
        };
        self.violation(kind, Some(receiver), Some(message), due, text, at_ns);
    }

    fn lost_relay(&mut self, missing: &Missing, seq: u64, count: u64, message: Option<Message>) {
        self.lost += count;
        let receiver = self.directory.name(missing.receiver);
        let what = match count {
            1 => self.describe(message, seq),
            _ => {
                let (from, last) = (self.stated(seq), self.stated(seq + count - 1));
                format!("numbers {from} to {last}")
            }
        };
        let proof = match missing.proof {
            Proof::Later(later) => format!("it got number {} without it", self.stated(later)),
            Proof::Bye(bye) => {
                format!("its bye says that number {} was its last", self.stated(bye))
            }
        };
        let text = format!("{receiver} was owed {what} and never got it: {proof}");
        let receiver = missing.receiver;
        let example = self.example(Some(receiver), message, Some(seq), text, missing.at_ns);
        if !missing.given_up {
            self.findings.violations(Kind::LostRelay, count, || example);
            return;
        }
        for number in seq..seq + count {
            let awaited = Awaited::Number(number);
            self.defer(
                Kind::LostRelay,
                awaited,
                receiver,
                given_up(missing.disordered),
                example.clone(),
            );
        }
    }

    /// One violation for each message, however many receivers miss it; but of those that may yet
    /// get it, each is remembered.
    fn reached_nobody(&mut self, missing: &Missing, seq: u64, message: Message) {
        self.lost += 1;
        if !missing.given_up && !self.first_time(Cause::ReachedNobody(seq)) {
            return;
        }
        let what = self.describe(Some(message), seq);
        let text = format!(
            "{what} was acked and relayed to none of the receivers present: {}, for one, never \
             got it",
            self.directory.name(missing.receiver)
        );
        let kind = Kind::AckWithoutRelay;
        let example = self.example(None, Some(message), Some(seq), text, missing.at_ns);
        if missing.given_up {
            let (awaited, receiver) = (Awaited::Number(seq), missing.receiver);
            self.defer(
                kind,
                awaited,
                receiver,
                given_up(missing.disordered),
                example,
            );
        } else {
            self.findings.violation(kind, || example);
        }
    }

    /// One violation for each run of skipped numbers, however many sessions noticed.
    fn sequence_gap(&mut self, missing: &Missing, from: u64, until: u64) {
        let overlaps = |g: &&mut Gap| from < g.until && g.from < until;
        if let Some(gap) = self.gaps.iter_mut().rev().find(overlaps) {
            if gap.witnesses.len() < MAX_WITNESSES {
                gap.witnesses.push(missing.receiver);
            }
            return;
        }
        self.gaps.push(Gap {
            from,
            until,
            unexplained: until - from,
            witnesses: vec![missing.receiver],
            at_ns: missing.at_ns,
        });
        if self.gaps.len() > MAX_GAPS {
            self.report_gaps(MAX_GAPS / 2);
        }
    }

    /// Somebody got a number that nobody had got anything under: it was not skipped. Whether it was
    /// taken for that.
    pub(super) fn was_no_gap(&mut self, seq: u64) -> bool {
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
                at_ns: gap.at_ns,
            };
            self.gaps.insert(at, part);
        }
        true
    }

    /// Counts all gaps but the latest `keep`.
    pub(super) fn report_gaps(&mut self, keep: usize) {
        let count = self.gaps.len().saturating_sub(keep);
        let gaps: Vec<Gap> = self.gaps.drain(..count).collect();
        for gap in gaps.into_iter().filter(|g| g.unexplained > 0) {
            let (from, last) = (self.stated(gap.from), self.stated(gap.until - 1));
            let witness = self.directory.name(gap.witnesses[0]);
            let text = if from == last {
                format!(
                    "number {from} was skipped: {witness} got what comes before and after it, and \
                     no session got anything under it"
                )
            } else {
                format!(
                    "numbers {from} to {last} were skipped: {witness} got what comes before and \
                     after them, and no session got anything under them"
                )
            };
            let example = self.example(None, None, Some(gap.from), text, gap.at_ns);
            self.findings.violation(Kind::SequenceGap, || example);
        }
    }

    /// Acks that were waited for too long. One that went to another is on record as that.
    pub(super) fn judge_overdue(&mut self) {
        for (messages, example) in std::mem::take(&mut self.overdue) {
            if !self.all_strayed(&messages) {
                self.findings.violation(Kind::MissingAck, || example);
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
            let room = MAX_REMEMBERED.saturating_sub(self.stray.len());
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
        let mut refused: Vec<(Message, Example)> = self
            .refused
            .drain()
            .filter_map(|(message, example)| Some((message, example?)))
            .collect();
        refused.sort_by_key(|(m, example)| (example.at_ns, m.sender, m.k));
        for (_, example) in refused {
            self.findings.violation(Kind::MissingAck, || example);
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
        let swallowed = match by {
            NoAck::Unknown { joined } if !numbered => {
                let track = self.senders.get(&message.sender);
                if !track.is_some_and(|track| track.is_swallowed(message.k, joined)) {
                    return; // nobody knows whether it was numbered in time
                }
                true
            }
            _ => false,
        };
        if let Some(strayed) = self.stray_unnamed.get_mut(&message.sender)
            && *strayed > 0
        {
            *strayed -= 1;
            return;
        }
        // With nobody else to see the relay, the missing ack leaves a gap in the numbers.
        let its_own = |g: &&mut Gap| {
            !numbered && !swallowed && g.unexplained > 0 && g.witnesses.contains(&message.sender)
        };
        if let Some(gap) = self.gaps.iter_mut().find(its_own) {
            gap.unexplained -= 1;
        }
        let sender = self.directory.name(message.sender);
        let until = match by {
            NoAck::ByBye => "read to its end",
            NoAck::ByLaterAck => "got the ack of a later one",
            NoAck::Unknown { .. } if swallowed => {
                "a later one, whose number shows that this one was given none"
            }
            NoAck::Unknown { .. } => "got later numbers",
        };
        let text = format!(
            "{sender} sent its message {} and {until}, and was neither acked nor refused",
            message.k
        );
        let example = self.example(None, Some(message), None, text, at_ns);
        self.findings.violation(Kind::MissingAck, || example);
    }

    /// `message` was answered with an error; `example` if it was in order.
    pub(super) fn refused(&mut self, message: Message, example: Option<Example>) {
        let numbered = self.recent.iter().find(|(_, k)| k.message == message);
        let numbered = numbered.map(|&(n, known)| (n, known.sent_ns));
        if self.refused.len() < MAX_REMEMBERED {
            self.refused.insert(message, example);
        } else if let Some(example) = example {
            self.findings.violation(Kind::MissingAck, || example);
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
        let sender = self.directory.name(message.sender);
        let what = if seq == NO_NUMBER {
            "was relayed or acked".to_owned()
        } else {
            format!("became number {}", self.stated(seq))
        };
        let text = format!(
            "message {} of {sender} was answered with an error, and {what} all the same",
            message.k
        );
        let example = self.example(None, Some(message), Some(seq), text, at_ns);
        self.findings.violation(Kind::RelayOfRejected, || example);
    }
}
