//! The judge of one room over all shards: every number is settled once, in order, when no session can add
//! anything to what is known of it.
//!
//! Each [`Batch`] states up to which number its shard has told everything. Numbers under the least
//! of these are settled for good: with all observations of a number collected, a lost relay can be
//! told from a skipped number, a reused number from two receivers that saw different orders, a
//! wrong number from a wrong message, and it is known whose ack went to another session. No timeout
//! is involved anywhere.
//!
//! This module decides when each number is settled, and calls the checks. [`known`] keeps what is
//! known of each number, [`open`] the anomalies that wait for it. [`missing`] and [`gaps`] judge
//! numbers that did not come, [`answers`] acks and errors, [`contests`] numbers that are more than
//! one message, [`senders`] and [`order`] what came too late, [`deliveries`] what was wrong in
//! itself, [`restart`] that a target began anew, and [`outstanding`] what had not come when the run
//! stopped listening. [`parts`] puts together what each shard tells of a message whose order is
//! inferred. [`deferred`] holds losses that may yet turn out to be none, [`causes`] remembers what
//! is counted once, [`beyond`] counts what bounds leave undecided, and [`unjudged`] is for a run
//! that has no time left.

mod answers;
mod beyond;
mod causes;
mod contests;
mod deferred;
mod deliveries;
mod gaps;
mod known;
mod missing;
mod open;
mod order;
mod outstanding;
mod parts;
mod restart;
mod senders;
mod unjudged;

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use self::outstanding::Ends;
use super::Settled;
use super::summary::{Summary, Undecideds};
use crate::anomaly::{Missing, Open, Unacked};
use crate::batch::{Batch, Ended, Fact, Message, NO_NUMBER, Tally};
use crate::bounds;
use crate::findings::{Counts, Coverage, Found, Reason};
use crate::kind::Kind;
use crate::outstanding::Outstanding;
use crate::promises::RelayPromise;
use crate::trace::view::View;
use crate::violation::{Evidence, Violation};
use answers::Answers;
use beyond::Beyond;
use causes::{Cause, Causes};
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::RoomId;
use deferred::Deferred;
use deliveries::Alike;
use gaps::Gaps;
use known::{Known, Numbers, Record};
use parts::Parts;
use restart::{HungUp, Restarts};
use senders::Track;
use unjudged::PassedOver;

/// The distance around a number within which another number of the same message is looked for.
fn exchange_span() -> u64 {
    bounds::settled_numbers() as u64 / 2
}

/// The judge of one room.
#[derive(Debug)]
pub(super) struct RoomJudge {
    directory: View,
    late_after_ns: Option<u64>,
    /// The promise of relays: where they may be lost, none is late.
    relay: RelayPromise,
    /// Of each shard; in a named room, of each ledger that it has.
    watermarks: Vec<u64>,
    /// How often the last member of each ledger of a named room was gone.
    left: Vec<u32>,
    numbers: Numbers,
    answers: Answers,
    gaps: Gaps,
    restarts: Restarts,
    unjudged: PassedOver,
    /// Some frames under wrong numbers, or in place of numbers under this one, were forgotten
    /// before it was known what they stood for.
    contested_until: u64,
    /// Receivers that missed numbers of which it is not known what they were.
    dropped: FxHashSet<SenderId>,
    missing: Vec<Missing>,
    /// Missing numbers that are being judged and may come all the same.
    given_up: Vec<Range<u64>>,
    deferred: Deferred,
    beyond: Beyond,
    /// Messages of which the shards have told parts.
    parts: Parts,
    /// Losses that are none if other deliveries are out of order, as they are here.
    misplaced: u64,
    /// Anomalies by the number with which they are judged.
    open: BTreeMap<u64, Vec<Open>>,
    open_count: usize,
    /// Irregular lines by number, kind and hash.
    irregular: BTreeMap<(u64, Kind, u64), Alike>,
    /// Some of those under numbers below this one are judged already, and forgotten.
    irregular_until: u64,
    /// Messages numbered before what had been seen when they were sent (causality or real time), by
    /// number.
    late_numbered: BTreeMap<u64, Violation>,
    counted: Causes,
    senders: FxHashMap<SenderId, Track>,
    /// The last number that was settled.
    last_settled: u64,
    /// The last settled number of which it is not known which message it is.
    last_unknown: u64,
    ended: VecDeque<Ended>,
    /// Sessions that are over, with messages that may yet be numbered: remembered as long as there
    /// is room.
    in_flight: VecDeque<SenderId>,
    /// For lack of room some of these were forgotten before all their messages were numbered.
    forgot_early: bool,
    /// The latest send among the settled numbers, its message and its number.
    latest_sent: Option<(u64, Message, u64)>,
    ends: Ends,
    tally: Tally,
    found: Found,
    coverage: Coverage,
    outstanding: Vec<Outstanding>,
    unexpected_closes: u64,
    undecided: Undecideds,
    unfinished: u64,
    lost: u64,
    irregular_deliveries: u64,
}

impl RoomJudge {
    /// The judge of the room that `directory` sees; a shard each has one of these `watermarks`.
    pub(super) fn new(directory: View, watermarks: Vec<u64>, late_after_ns: Option<u64>) -> Self {
        Self {
            directory,
            late_after_ns,
            relay: RelayPromise::ExactlyOnce,
            watermarks,
            left: Vec::new(),
            numbers: Numbers::default(),
            answers: Answers::default(),
            gaps: Gaps::default(),
            restarts: Restarts::default(),
            unjudged: PassedOver::default(),
            contested_until: 0,
            dropped: FxHashSet::default(),
            missing: Vec::new(),
            given_up: Vec::new(),
            beyond: Beyond::default(),
            deferred: Deferred::default(),
            parts: Parts::default(),
            misplaced: 0,
            open: BTreeMap::new(),
            open_count: 0,
            irregular: BTreeMap::new(),
            irregular_until: 0,
            late_numbered: BTreeMap::new(),
            counted: Causes::default(),
            senders: FxHashMap::default(),
            last_settled: 0,
            last_unknown: 0,
            ended: VecDeque::new(),
            in_flight: VecDeque::new(),
            forgot_early: false,
            latest_sent: None,
            ends: Ends::default(),
            tally: Tally::default(),
            found: Found::default(),
            coverage: Coverage::default(),
            outstanding: Vec::new(),
            unexpected_closes: 0,
            undecided: Undecideds::default(),
            unfinished: 0,
            lost: 0,
            irregular_deliveries: 0,
        }
    }

    /// Takes the promise of relays into account.
    pub(super) const fn with_relays(mut self, relay: RelayPromise) -> Self {
        self.relay = relay;
        self
    }

    /// Sets how late a delivery may be, in ns.
    #[cfg(test)]
    pub(super) fn with_late_after(mut self, ns: u64) -> Self {
        self.late_after_ns = Some(ns);
        self
    }

    /// The room that it judges.
    pub(super) const fn room(&self) -> RoomId {
        self.directory.room()
    }

    /// Violations found so far. Later frames may still explain some of them, so the number can
    /// shrink.
    pub(super) fn violation_count(&self) -> u64 {
        let pending = self.gaps.runs.len() + self.late_numbered.len() + self.restarts.anew.len();
        let hung_up: u64 = self.restarts.hung_up.values().map(|h| h.kept.count).sum();
        self.found.total() + self.deferred.count() + hung_up + pending as u64
    }

    /// Takes in what `shard` has learned, in a named room the ledger at that place; `settled` gets
    /// each message that is now complete.
    pub(super) fn absorb(&mut self, shard: usize, batch: Batch, mut settled: impl FnMut(Settled)) {
        let Batch {
            watermark,
            mut facts,
            settled: complete,
            parts,
            is_shared,
            anomalies,
            ended,
            cut,
            tally,
            coverage,
            unjudged,
            named: _,
        } = batch;
        self.tally.add(&tally);
        self.coverage.add(&coverage);
        self.unjudged.total = self.unjudged.total.and(unjudged);
        let room = self.room();
        let complete = complete.into_iter();
        complete.for_each(|one| settled(Settled { room, ..one }));
        self.cut(cut, is_shared);
        // Where numbers leap, none is to be settled before all of the batch is known of it.
        let far = self.numbers.base.saturating_add(bounds::records() as u64);
        if facts.iter().any(|fact| fact.seq() >= far) {
            facts.sort_by_key(Fact::seq);
        }
        for fact in facts {
            self.fact(&fact, &mut settled);
        }
        for anomaly in anomalies {
            self.anomaly(anomaly);
        }
        for part in parts {
            self.part(part, &mut settled);
        }
        match is_shared {
            true => self.ended_in_one(ended),
            false => self.ended.extend(ended),
        }
        self.watermarks[shard] = watermark;
        self.numbers.told = self.told();
        self.settle_told(&mut settled);
        self.forget_ended();
    }

    /// The number up to which every shard has told everything. In a named room a ledger without
    /// members tells nothing more of the numbers so far, and is not waited for.
    fn told(&self) -> u64 {
        let watermarks = self.watermarks.iter().copied();
        if !self.room().is_named() {
            return watermarks.min().unwrap_or(0);
        }
        let told = self.directory.occupied(|occupied| {
            let left = self.left.iter().copied().chain(iter::repeat(0));
            let watermarks = watermarks.clone().chain(iter::repeat(0));
            let ledgers = occupied.iter().zip(left).zip(watermarks);
            let members = ledgers.filter(|&((&occupied, left), _)| occupied != left);
            members.map(|(_, watermark)| watermark).min()
        });
        let told = told.or_else(|| watermarks.max()).unwrap_or(0);
        told.max(self.numbers.told) // a ledger that has got members owes nothing up to there
    }

    /// The ledger at this place of a named room hands over a batch; `left` if it has no members any
    /// more: how often that was so.
    pub(super) fn ledger_left(&mut self, ledger: usize, left: Option<u32>) {
        if ledger >= self.watermarks.len() {
            self.watermarks.resize(ledger + 1, 0);
            self.left.resize(ledger + 1, 0);
        }
        if let Some(left) = left {
            self.left[ledger] = left;
        }
    }

    /// Judges all that is still open.
    pub(super) fn conclude(&mut self, target_gone: bool, mut settled: impl FnMut(Settled)) {
        if self.unjudged.passed_over {
            return self.conclude_without(target_gone);
        }
        self.numbers.told = u64::MAX;
        self.settle_told(&mut settled);
        debug_assert_eq!((self.open_count, self.open.len()), (0, 0), "all is judged");
        self.judge_answers();
        self.conclude_parts(&mut settled);
        self.report_deferred(target_gone);
        self.judge_unanswered();
        self.report_gaps();
        self.report_late_numbered(u64::MAX);
        self.report_hung_up(target_gone);
        self.state_undecided();
    }

    /// Reports closed connections, and that numbers began anew.
    fn report_hung_up(&mut self, target_gone: bool) {
        let mut hung_up = std::mem::take(&mut self.restarts.hung_up);
        if let Some(closes) = hung_up.get(&Kind::UnexpectedClose).filter(|_| !target_gone) {
            self.unexpected_closes = closes.kept.count;
        }
        self.report_numbered_anew(&mut hung_up);
        for (kind, HungUp { kept, .. }) in hung_up {
            if target_gone {
                self.tally.unfinished += kept.count;
            } else if kept.count > 0 {
                self.found.merge(kind, kept);
            }
        }
    }

    /// Findings by now: everything, or, where the observations break off, what is certain.
    pub(super) fn summed_up(self) -> Summary {
        // Deliveries that may still come are lost when everything is in.
        let uncertain = self.deferred.count() + self.misplaced + self.unjudged.lost;
        let lost = (self.lost + self.tally.lost).saturating_sub(uncertain);
        let irregular = self.irregular_deliveries + self.tally.irregular;
        let undecided = self.misplaced.saturating_add(self.beyond.losses);
        let undecided = undecided.saturating_add(self.tally.misplaced);
        let mut unresolved = self.tally.unresolved.saturating_add(undecided);
        if self.unjudged.passed_over {
            let passed_over = self.deferred.count() + self.unjudged.lost;
            unresolved = unresolved.saturating_add(passed_over);
        }
        let counts = Counts {
            sessions: self.tally.sessions,
            sent: self.tally.sent,
            acked: self.tally.acked,
            delivered: self.tally.delivered,
            lost,
            owed: self.tally.delivered + lost + irregular,
            optional: self.tally.optional,
            duplicated: self.tally.duplicated,
            errors_received: self.tally.errors_received,
            unexpected_closes: self.unexpected_closes,
            unknown_frames: self.tally.unknown_frames,
            unresolved,
        };
        Summary {
            found: self.found,
            counts,
            coverage: self.coverage,
            outstanding: self.outstanding,
            unfinished: self.unfinished,
            undecided: self.undecided,
        }
    }

    /// Says how much of the run could not be judged, and why.
    fn state_undecided(&mut self) {
        let (t, beyond) = (&self.tally, &self.beyond);
        let reasons = [
            (Reason::CutOff, t.cut_off),
            (Reason::MayBeSlow, t.may_be_slow),
            (Reason::Unfinished, t.unfinished),
            (Reason::UnaskedByes, t.unasked_byes),
            (Reason::AfterWrong, t.after_wrong),
            (Reason::NotFollowed, t.not_followed),
            (Reason::Uncompared, t.uncompared),
            (Reason::UnknownAcks, t.unknown_acks),
            (Reason::Losses, beyond.losses),
            (Reason::Gaps, beyond.gaps),
            (Reason::Unanswered, beyond.unanswered),
            (Reason::Repeats, beyond.repeats),
            (Reason::Contested, beyond.contested),
            (Reason::HungUp, beyond.hung_up),
            (
                Reason::Misplaced,
                self.misplaced.saturating_add(t.misplaced),
            ),
            (Reason::Disordered, t.disordered),
        ];
        self.unfinished = self.tally.unfinished;
        self.undecided = Undecideds {
            unjudged: self.unjudged.total,
            by_reason: reasons.into(),
        };
    }

    /// Settles every number that nothing more will be told of.
    fn settle_told(&mut self, settled: &mut impl FnMut(Settled)) {
        let told = self.numbers.told;
        self.judge_missing(told);
        if self.missing.len() > bounds::open_anomalies() {
            self.judge_missing(NO_NUMBER);
        }
        let unjudged = self.missing.iter().map(|m| m.from).min();
        let until = told.min(unjudged.unwrap_or(u64::MAX));
        while self.numbers.base < until && !self.numbers.records.is_empty() {
            self.settle_next(settled);
        }
        self.judge_open(until);
        while self.open_count > bounds::open_anomalies() {
            let Some((&oldest, _)) = self.open.first_key_value() else {
                break;
            };
            self.judge_open(oldest + 1);
        }
        self.numbers.hearsay = self.numbers.hearsay.split_off(&until);
        self.judge_irregular(until);
        while self.irregular.len() > bounds::remembered()
            && let Some((&(oldest, ..), _)) = self.irregular.first_key_value()
        {
            self.irregular_until = oldest + 1;
            self.judge_irregular(oldest + 1);
        }
        self.report_late_numbered(until.saturating_sub(bounds::settled_numbers() as u64));
    }

    /// Settles the oldest number.
    fn settle_next(&mut self, settled: &mut impl FnMut(Settled)) {
        let seq = self.numbers.base;
        self.judge_conflicts(seq);
        self.judge_open(seq + 1);
        let Some(record) = self.numbers.records.pop_front() else {
            return;
        };
        self.numbers.base += 1;
        if seq >= self.numbers.told {
            self.numbers.forced_until = self.numbers.base;
        }
        let complete = !self.settle_outstanding(seq, &record);
        if let Some(relayed) = record.relayed.as_ref().filter(|_| complete) {
            settled(Settled {
                room: self.room(),
                intended_ns: relayed.intended_ns,
                first_ns: relayed.first_ns,
                last_ns: relayed.last_ns,
                receivers: relayed.receivers,
            });
        }
        self.heard(seq, &record);
        if seq != self.last_settled + 1 {
            self.last_unknown = seq.saturating_sub(1);
        }
        self.last_settled = seq;
        let Some(mut known) = record.known() else {
            self.last_unknown = seq;
            return;
        };
        if seq >= self.numbers.told && record.acked.is_none() {
            // A number that only its first receivers state may be wrong.
            known.certain = false;
            self.numbers.forget_of(seq);
        }
        if self.numbers.recent.len() >= bounds::settled_numbers() {
            self.numbers.recent.pop_front();
        }
        self.numbers.recent.push_back((seq, known));
        self.note_owed(seq);
        if !self.answers.refused.is_empty() {
            let seen_ns = record.relayed.map(|r| r.first_ns);
            let seen_ns = seen_ns.or(record.acked.map(|a| a.acked_ns));
            self.check_refused(known.message, seq, seen_ns.unwrap_or(0));
        }
        if !known.certain {
            self.last_unknown = seq;
            return;
        }
        self.check_fifo(seq, known.message, &record);
        if let Some(acked) = record.acked {
            self.check_real_time(seq, &acked);
        }
    }

    /// Whether this cause has not been counted yet. Where that is forgotten, it is undecided.
    fn first_time(&mut self, cause: Cause) -> bool {
        let first = self.counted.insert(cause);
        self.beyond.repeats += u64::from(first.is_none());
        first == Some(true)
    }

    /// Lets go of sessions none of whose messages is under way any more.
    fn forget_ended(&mut self) {
        if !self.ends.is_empty() {
            return; // outstanding messages are judged at the end, and name their sessions then
        }
        while let Some(&ended) = self.ended.front() {
            // Violations that are not judged yet name their sessions.
            let waiting = !self.missing.is_empty() || self.open_count > 0;
            let needed = self.numbers.told <= ended.last_seq || waiting;
            if needed && self.ended.len() < bounds::remembered() {
                break;
            }
            self.ended.pop_front();
            self.forgot_early |= needed;
            // Unacked messages are judged at the end, and named then.
            let is_its_own = |u: &Unacked| u.message.sender == ended.session;
            if ended.in_flight || self.answers.unacked.iter().any(is_its_own) {
                self.in_flight.push_back(ended.session);
            } else {
                self.forget(ended.session);
            }
        }
        while self.in_flight.len() > bounds::remembered()
            && let Some(session) = self.in_flight.pop_front()
        {
            self.forgot_early = true;
            self.forget(session);
        }
    }

    fn forget(&mut self, session: SenderId) {
        self.judge_broken_off(session);
        self.directory.forget(session);
        self.senders.remove(&session);
        self.dropped.remove(&session);
    }

    /// The number that the target states for `seq`.
    fn stated(&self, seq: u64) -> u64 {
        if seq == NO_NUMBER {
            return seq;
        }
        self.directory.stated(seq)
    }

    fn violation(
        &self,
        evidence: Evidence,
        receiver: Option<SenderId>,
        message: Option<Message>,
        seq: Option<u64>,
        at_ns: u64,
    ) -> Violation {
        Violation {
            evidence,
            receiver: receiver.map(|receiver| self.directory.who(receiver)),
            message: message.map(|message| self.directory.message(message)),
            seq: seq
                .filter(|&seq| seq != NO_NUMBER)
                .map(|seq| self.stated(seq)),
            room: self.room(),
            at_ns,
        }
    }

    /// Counts what `receiver` got as `message`, number `seq`.
    fn accuse(
        &mut self,
        evidence: Evidence,
        receiver: Option<SenderId>,
        message: Option<Message>,
        seq: u64,
        at_ns: u64,
    ) {
        let violation = self.violation(evidence, receiver, message, Some(seq), at_ns);
        self.found.add(violation);
    }
}
