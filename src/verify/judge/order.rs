//! What came at the wrong place: numbers given twice, exchanged, or too late.

use super::deferred::Awaited;
use super::{Cause, Judge, Known, Record, exchange_span};
use crate::verify::anomaly::{ClaimDoubt, Contest, Displaced, Open};
use crate::verify::batch::{Acked, Message, NO_NUMBER, Relayed};
use crate::verify::bounds;
use crate::verify::kind::Kind;
use crate::verify::violation::{Evidence, Order, Violation};
use crate::wire::payload::SenderId;

/// How far a sender's messages were numbered.
#[derive(Debug, Default)]
pub(super) struct Track {
    last_k: u64,
    last_seq: u64,
    /// Reordered if they are numbered later.
    passed_over: Vec<PassedOver>,
    /// Some of those up to this k are forgotten.
    forgotten_k: u64,
}

/// A message that had no number when a later one of its sender had.
#[derive(Debug)]
struct PassedOver {
    k: u64,
    /// It has none between this one and that later one: all of these are others'.
    none_after: u64,
    /// The number of an earlier message of its sender; 0 if there is none.
    earlier_seq: u64,
}

impl Track {
    /// Whether message `k` has a number, or a later one of its sender has.
    pub(super) fn has_come_to(&self, k: u64) -> bool {
        k <= self.last_k
    }

    /// Whether message `k` had no number when a later one had, as far as is remembered.
    fn is_passed_over(&self, k: u64) -> bool {
        self.passed_over.iter().any(|p| p.k == k)
    }

    /// Whether message `k`, of a session that joined after number `joined`, was given no number
    /// though a later one was: all that it could have are others'. `None` if that is forgotten.
    pub(super) fn is_swallowed(&self, k: u64, joined: u64) -> Option<bool> {
        match self.passed_over.iter().find(|p| p.k == k) {
            Some(p) => Some(p.none_after <= p.earlier_seq.max(joined)),
            None if k <= self.forgotten_k => None,
            None => Some(false),
        }
    }
}

impl Judge {
    /// More than one message is claimed to be number `seq`. The acks say which it is; failing
    /// that, what most receivers got.
    pub(super) fn judge_conflicts(&mut self, seq: u64) {
        let mut claims = self.take_conflicts(seq);
        let record = self.get(seq).cloned().unwrap_or_default();
        let acked = record.acked.map(|a| a.message);
        let both = acked.zip(record.relayed);
        let contradicted = both.is_some_and(|(acked, relayed)| acked != relayed.message);
        if claims.is_empty() && record.acked_too.is_none() && !contradicted {
            return;
        }
        claims.extend(record.relayed);
        // What it was settled as it stays, whoever comes late.
        let settled = self.known_for_certain(seq).filter(|_| seq < self.base);
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
        let Some(index) = seq.checked_sub(self.base) else {
            return;
        };
        let record = self.records.get_mut(index as usize);
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

    /// What the numbers from `low` to `high` are.
    fn known_between(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, Known)> {
        let high = high.min(low.saturating_add(bounds::settled_numbers() as u64));
        let from = self.recent.partition_point(|&(n, _)| n < low);
        let settled = self.recent.range(from..).copied();
        let settled = settled.take_while(move |&(n, _)| n <= high);
        let settled = settled.filter(|(_, known)| known.certain);
        let passed = low.saturating_sub(self.base) as usize;
        let waiting = self.records.range(passed.min(self.records.len())..);
        let waiting = (low.max(self.base)..=high).zip(waiting);
        let waiting = waiting.filter_map(|(n, record)| Some((n, record.known()?)));
        settled.chain(waiting.filter(|(_, known)| known.certain))
    }

    /// Two messages that are two numbers to the others were each other's to this receiver.
    fn diverged(&mut self, other: u64, truth: Message, contest: &Contest) {
        let (seq, conflict) = (contest.seq, contest);
        let cause = Cause::Exchange(seq.min(other), seq.max(other), conflict.receiver);
        if !self.first_time(cause) {
            return; // the other half of the same exchange
        }
        let known: Vec<_> = self.known_between(seq.min(other), seq.max(other)).collect();
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

    /// `message` was acked with a number that its sender had passed before it sent it.
    pub(super) fn judge_ack_below_seen(
        &mut self,
        seq: u64,
        message: Message,
        seen: u64,
        at_ns: u64,
    ) {
        let taken = self.get(seq).and_then(|record| {
            let relayed = record.relayed.map(|r| r.message);
            relayed.or(record.acked.map(|a| a.message))
        });
        let taken = taken.or_else(|| self.known_for_certain(seq).map(|k| k.message));
        if self.is_unsure(seq) {
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
        let by_ack = |n| self.known_for_certain(n).is_some_and(|known| known.acked);
        let is_unsure = |n| self.is_unsure(n) && !by_ack(n);
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
        let truth = truth.or_else(|| self.known_for_certain(seq).map(|k| k.message));
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
        let other = self.number_of(claim, seq);
        let evidence = match (joined, truth) {
            (_, Some(truth)) if truth != claim && other.is_none() => {
                if self.may_be_numbered(claim) || self.unsure_until > 0 {
                    self.beyond.contested += 1;
                    return;
                }
                if self.told != u64::MAX {
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

    /// What a receiver got under a number that is another's, or that was not due, stays undecided.
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
        if seq < self.told {
            self.forget_of(seq); // it may be on its way to being one number for two messages
        }
        self.beyond.contested += 1;
    }

    /// Whether `message` has a number, though perhaps it is forgotten which.
    pub(super) fn is_numbered(&self, message: Message) -> bool {
        let track = self.senders.get(&message.sender);
        track.is_some_and(|track| track.has_come_to(message.k) && !track.is_passed_over(message.k))
    }

    /// Whether `message` may have a number that is forgotten.
    fn may_be_numbered(&self, message: Message) -> bool {
        let forgotten = self.forgot_early && !self.senders.contains_key(&message.sender);
        forgotten || self.is_numbered(message)
    }

    /// `receiver` got number `seq` after all, which is `message`: neither is it lost, nor was it
    /// given to nothing.
    pub(super) fn number_came(&mut self, seq: u64, receiver: SenderId, message: Option<Message>) {
        if let Some(message) = message.filter(|_| seq >= self.told) {
            self.may_be(seq, message, receiver); // others may be judged for it yet
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
        let taken = self.known_for_certain(seq).map(|known| known.message);
        if let Some(other) = taken.filter(|&other| other != message && !self.is_unsure(seq)) {
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

    /// `receiver` got number `low` after number `high`. Whose messages they are decides what it
    /// is: its own acks, one sender's messages, two senders'; or one that was not even sent when a
    /// later number had come.
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
        let mut before = self.known_between(low, high.min(since.seq.saturating_sub(1)));
        let sent_later = before.find(|(_, known)| known.sent_ns > since.at_ns);
        drop(before);
        if let Some((n, known)) = sent_later {
            return self.numbered_late(receiver, n, known.message, since.at_ns);
        }
        let is_own = |n: u64| {
            let known = self.known(n);
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
        let message = self.known(low).map(|k| k.message);
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

    /// Number `seq` was given out too late. One violation however many noticed, and causality,
    /// which only the sender can notice, before real time.
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

    /// Counts what was numbered late under `until`: nobody has anything to add.
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

    /// S5 over all receivers: a sender's messages must be numbered in the order of their k.
    pub(super) fn check_fifo(&mut self, seq: u64, message: Message, record: &Record) {
        let at_ns = record.relayed.map_or(0, |r| r.first_ns);
        let forgotten = !self.senders.contains_key(&message.sender)
            && !self.directory.remembers(message.sender);
        if forgotten {
            // Its session is over: following it again would never end. All that it sent had its
            // number by then, unless there was no room to wait for that.
            let may_be_new =
                self.unsure_until.max(self.forced_until) > 0 || self.beyond.contested > 0;
            if may_be_new && !self.forgot_early {
                self.beyond.contested += 1; // its number was not known when its session was forgotten
            } else if !self.forgot_early {
                self.relayed_again(seq, message, at_ns);
            }
            return;
        }
        let track = self.senders.entry(message.sender).or_default();
        if message.k > track.last_k {
            let (none_after, earlier_seq) = (self.last_unknown, track.last_seq);
            let passed_over = track.last_k + 1..message.k;
            let room = bounds::passed_over();
            let first = passed_over.end.saturating_sub(room as u64);
            if first > passed_over.start {
                track.forgotten_k = first - 1;
            }
            let passed_over = first.max(passed_over.start)..passed_over.end;
            track.passed_over.extend(passed_over.map(|k| PassedOver {
                k,
                none_after,
                earlier_seq,
            }));
            let surplus = track.passed_over.len().saturating_sub(room);
            let forgotten = track.passed_over.drain(..surplus).map(|p| p.k).max();
            track.forgotten_k = track.forgotten_k.max(forgotten.unwrap_or(0));
            (track.last_k, track.last_seq) = (message.k, seq);
            return;
        }
        let Some(at) = track.passed_over.iter().position(|p| p.k == message.k) else {
            if message.k <= track.forgotten_k {
                self.beyond.contested += 1; // it may have been passed over, or had a number before
                return;
            }
            return self.relayed_again(seq, message, at_ns);
        };
        track.passed_over.remove(at);
        self.accuse(
            Evidence::NumberedAfterLater,
            None,
            Some(message),
            seq,
            at_ns,
        );
    }

    fn relayed_again(&mut self, seq: u64, message: Message, at_ns: u64) {
        self.accuse(Evidence::NumberedAgain, None, Some(message), seq, at_ns);
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
