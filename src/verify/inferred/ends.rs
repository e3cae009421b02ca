//! The ends of a session: how it joins, how it leaves, and what it was owed between.

use std::collections::{BTreeMap, HashMap};

use super::messages::Sent;
use super::sequence::SlotId;
use super::settle::{Doubt, Known, Loss};
use super::track::{Parted, Track};
use super::witnesses::NEAR_SLOTS;
use super::{Event, Handle, Inferred, Progress};
use crate::verify::anomaly::{Anomaly, LossDoubt};
use crate::verify::batch::{Ended, Message, NO_NUMBER};
use crate::verify::bounds;
use crate::verify::flags::Parting;
use crate::verify::ledger::Ending;
use crate::verify::promises::OrderPromise;
use crate::verify::sessions::{NEVER, Stage};
use crate::verify::violation::{Evidence, LossProof, NoFrame, Quote};
use crate::wire::payload::SenderId;

/// Irregular frames remembered for each session, to tell what follows from them.
const MAX_EXCUSES: usize = 64;

/// How far from its place something may come that stands for a message.
const EXCUSED_SLOTS: usize = 32;

/// Everything that went wrong in a session, as far as the rest depends on it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// A malformed line came last.
    pub(super) after_malformed: bool,
    excuses: Vec<Excuse>,
    /// How many messages those can have been that were forgotten for want of room.
    forgotten: u64,
}

/// Something came that may have been messages.
#[derive(Debug)]
struct Excuse {
    /// The furthest slot by then.
    after: SlotId,
    /// So many came before it without moving that: each a place further on than the one before.
    in_row: usize,
    /// Which message it seems to have been.
    claim: Option<Message>,
    /// How many it can have been.
    room: u64,
    /// Not a relay that was wrong, but bytes that are no frame: acks may be among them.
    malformed: bool,
}

/// The reason why no more deliveries come to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It left, and the target answered: all that it had taken by then was owed. `by_bye` if the
    /// target said so itself.
    Answered { by_bye: bool },
    /// It is owed nothing more.
    Gone,
    /// Nobody knows.
    Unknown,
}

/// The first and the last message that a session got of each sender.
pub(super) type Runs = HashMap<SenderId, Option<(u64, u64)>>;

impl Inferred {
    /// A session got something: it has joined. Connections are taken in the order they were made,
    /// so whoever stood before this one began to connect has, too.
    fn proves_join(&mut self, handle: Handle, now_ns: u64) {
        let at = self.tick();
        let session = &mut self.context.sessions[handle];
        session.progress.joined_at = at;
        session.progress.first_ns = now_ns;
        let connecting_at = session.progress.connecting_at;
        let in_order = self.context.terms.capabilities.joins_in_order;
        let mut unjoined = std::mem::take(&mut self.unjoined);
        unjoined.retain(|&handle| {
            let other = &mut self.context.sessions[handle];
            if other.progress.joined_at == NEVER && other.progress.connected_at < connecting_at {
                // A welcome says itself from when on it counts.
                if in_order {
                    other.progress.joined_at = at;
                    other.progress.first_ns = now_ns;
                    other.update_may_compare();
                    return false;
                }
            }
            other.progress.joined_at == NEVER
        });
        self.unjoined = unjoined;
    }

    pub(super) fn welcome(&mut self, handle: Handle, client_ip: &str, now_ns: u64) -> Event {
        if self.session(handle).stage != Stage::Connecting {
            return self.malformed(handle, NoFrame::SecondWelcome, 0, now_ns);
        }
        self.context.welcomed(handle, client_ip, now_ns);
        let traffic = self.context.unacked > 0;
        self.context.batch.coverage.joins_during_traffic += u64::from(traffic);
        self.session(handle).stage = Stage::Open;
        self.proves_join(handle, now_ns);
        Event::Welcome
    }

    pub(in crate::verify) fn no_welcome(&mut self, handle: Handle, now_ns: u64) {
        if self.session(handle).stage == Stage::Connecting {
            self.context
                .certain(Evidence::NeverWelcomed, handle, None, now_ns);
            self.session(handle).stage = Stage::Open;
        }
    }

    /// A frame that only comes to who has joined.
    pub(super) fn require_welcome(&mut self, handle: Handle, frame: &'static str, now_ns: u64) {
        let session = self.session(handle);
        if session.stage == Stage::Connecting {
            session.stage = Stage::Open;
            // A welcome that came malformed is on record.
            if !session.progress.is_after_malformed() {
                self.context
                    .certain(Evidence::FirstFrame(frame), handle, None, now_ns);
            }
        }
        let session = self.session(handle);
        if let Some(trouble) = &mut session.progress.trouble {
            trouble.after_malformed = false;
        }
        if session.progress.joined_at == NEVER {
            let traffic = self.context.unacked > 0;
            self.context.batch.coverage.joins_during_traffic += u64::from(traffic);
            self.proves_join(handle, now_ns);
        }
    }

    pub(super) fn malformed(
        &mut self,
        handle: Handle,
        what: NoFrame,
        could_hide: u64,
        now_ns: u64,
    ) -> Event {
        let after = self.session(handle).progress.track.cursor;
        let trouble = self.session(handle).progress.trouble();
        trouble.after_malformed = true;
        trouble.excuse(Excuse {
            after,
            in_row: 0,
            claim: None,
            room: could_hide.saturating_add(1),
            malformed: true,
        });
        self.context
            .certain(Evidence::NoFrame(what), handle, None, now_ns);
        Event::Other
    }

    /// Something came that may have been the message that belongs here; likely `claim`, if that is
    /// there.
    pub(super) fn excuse(&mut self, handle: Handle, claim: Option<Message>) {
        let after = self.session(handle).progress.track.cursor;
        self.session(handle).progress.trouble().excuse(Excuse {
            after,
            in_row: 0,
            claim,
            room: 1,
            malformed: false,
        });
    }

    /// Something came that stands for this message, and for no other.
    pub(super) fn excuse_only(&mut self, handle: Handle, message: Message) {
        self.session(handle).progress.trouble().excuse(Excuse {
            after: 0,
            in_row: 0,
            claim: Some(message),
            room: 1,
            malformed: false,
        });
    }

    pub(super) fn bye(&mut self, handle: Handle, now_ns: u64) -> Event {
        self.require_welcome(handle, "bye", now_ns);
        let session = &mut self.context.sessions[handle];
        if session.stage == Stage::Finished {
            return self.malformed(handle, NoFrame::SecondBye, 0, now_ns);
        }
        let rest = if session.flags.leaving {
            Rest::Answered { by_bye: true }
        } else {
            self.context.batch.tally.unasked_byes += 1;
            session.flags.gone = true;
            Rest::Gone
        };
        self.left(handle, rest, now_ns);
        self.session(handle).stage = Stage::Finished;
        self.over.push(handle);
        Event::Bye
    }

    /// The target has said all that it has to say to a session.
    fn left(&mut self, handle: Handle, rest: Rest, now_ns: u64) {
        self.took_all(handle, rest);
        self.account(handle, rest, now_ns);
        let track = &self.session(handle).progress.track;
        if matches!(rest, Rest::Answered { .. }) && track.gave_up {
            let receiver = track.id;
            self.context
                .batch
                .anomalies
                .push(Anomaly::HadAll { receiver });
        }
        let trouble = self.session(handle).progress.trouble.as_deref();
        let swallowed = trouble.map_or(0, Trouble::malformed_room);
        self.report_unacked(handle, swallowed, now_ns);
        self.context.left(handle);
    }

    /// Where no acks are promised, an answered goodbye is what proves that the target had taken all
    /// that was sent before it.
    fn took_all(&mut self, handle: Handle, rest: Rest) {
        let session = &self.context.sessions[handle];
        let excused = session.flags.may_not_have_arrived();
        if matches!(rest, Rest::Answered { .. }) && !self.promises_acks() && !excused {
            let id = session.id;
            let at = self.tick();
            self.messages.took_all(id, at);
        }
    }

    /// The connection is over; `unread` are its last bytes without a line end. The handle is free.
    pub(in crate::verify) fn ended(
        &mut self,
        handle: Handle,
        ending: Ending,
        unread: &[u8],
        now_ns: u64,
    ) {
        let session = &self.context.sessions[handle];
        let (stage, flags) = (session.stage, session.flags);
        let says_bye = self.context.terms.capabilities.bye;
        match stage {
            Stage::Finished if !unread.is_empty() => {
                let what = NoFrame::AfterBye(Quote::of(unread));
                self.malformed(handle, what, 0, now_ns);
            }
            // Half-close is answered by the rest of what is owed, then close (C3).
            Stage::Open if !says_bye && flags.leaving && ending == Ending::Eof && !flags.gone => {
                self.left(handle, Rest::Answered { by_bye: false }, now_ns);
            }
            Stage::Open => self.broke_off(handle, ending, now_ns),
            Stage::Connecting => {
                let malformed = self.session(handle).progress.is_after_malformed();
                self.context
                    .parted_early(handle, ending, malformed, NO_NUMBER, now_ns);
            }
            Stage::Finished | Stage::Free => {}
        }
        self.context.drop_pending(handle);
        self.put_away(handle);
    }

    /// The end of a session that was open.
    fn broke_off(&mut self, handle: Handle, ending: Ending, now_ns: u64) {
        let session = self.session(handle);
        let parting = session
            .flags
            .parting(ending, session.progress.is_after_malformed());
        let rest = match parting {
            Parting::Gone | Parting::CutOff { .. } | Parting::MayBeSlow => Rest::Gone,
            Parting::TimeUp | Parting::NoGoodbye | Parting::HungUp | Parting::Excused => {
                Rest::Unknown
            }
        };
        let unresolved = self.account(handle, rest, now_ns);
        // Where nobody says bye, who got everything that was sent got it all.
        let is_unfinished = unresolved > 0 || self.context.terms.capabilities.bye;
        if parting == Parting::TimeUp && is_unfinished {
            self.context.batch.tally.unfinished += 1;
        }
        self.context
            .parted(handle, (parting, ending), NO_NUMBER, now_ns);
    }

    /// The slot of a session that is over is free; what it got is still needed.
    fn put_away(&mut self, handle: Handle) {
        let track = {
            self.context.sessions.end(handle);
            let progress = &mut self.context.sessions[handle].progress;
            progress.trouble = None;
            let track = &mut progress.track;
            // It is remembered as long as its own last messages are.
            while let Some(next) = self.sequence.get(self.sequence.next(track.cursor))
                && !track.wants(next.sender())
            {
                track.cursor = self.sequence.next(track.cursor);
            }
            Track {
                holes: std::mem::take(&mut track.holes),
                ahead: BTreeMap::new(),
                fills: std::mem::take(&mut track.fills),
                ..*track
            }
        };
        self.over.retain(|&other| other != handle);
        self.unjoined.retain(|&other| other != handle);
        let (forgotten, unjudged) = self.messages.ended(track.id);
        self.context.batch.tally.uncompared += unjudged;
        for forgotten in forgotten {
            self.forget(forgotten);
        }
        if track.in_doubt || self.sequence.label(track.cursor) > self.judged_label() {
            self.past.push_back(track);
        } else {
            self.addresses.done(track.id);
        }
        if self.past.len() > bounds::past_sessions()
            && let Some(oldest) = self.past.pop_front()
        {
            self.addresses.done(oldest.id);
            self.settling.witness_forgotten = true;
            self.context.batch.tally.uncompared += 1;
        }
    }

    /// Nothing more will be said of a session.
    pub(super) fn forget(&mut self, session: SenderId) {
        self.addresses.done(session);
        self.context.batch.ended.push(Ended {
            session,
            last_seq: 0,
            in_flight: false,
        });
    }

    /// Goes through what a session has not got at its end. Returns how much of it nobody knows
    /// whether it would have come.
    fn account(&mut self, handle: Handle, rest: Rest, now_ns: u64) -> u64 {
        let answered = matches!(rest, Rest::Answered { .. });
        if answered {
            self.skip_own(handle);
        }
        let at = self.tick();
        let session = &mut self.context.sessions[handle];
        session.progress.track.parted =
            (!session.progress.may_have_got_others()).then_some(Parted {
                joined_at: session.progress.joined_at,
                answered,
                at,
            });
        let track = &self.context.sessions[handle].progress.track;
        let mut passed: Vec<(SlotId, u64)> = Vec::new();
        for (&slot, hole) in track.holes.iter().filter(|(_, hole)| !hole.given_up) {
            passed.push((slot, hole.at_ns));
        }
        passed.sort_by_key(|&(id, ..)| self.sequence.label(id));
        let after = self.sequence.after(track.cursor);
        passed.extend(after.map(|(id, _)| (id, now_ns)));
        let message = |slot| self.sequence.get(slot).map(|slot| slot.message);
        let missed = passed.into_iter();
        let missed = missed.filter_map(|(slot, at_ns)| Some((message(slot)?, at_ns)));
        let mut missed: Vec<(Message, u64)> = missed.collect();
        if answered {
            missed.extend(self.messages.unrelayed().map(|message| (message, now_ns)));
        }
        missed.retain(|(message, _)| track.wants(message.sender));
        let mut unresolved = 0;
        let mut runs = Runs::new();
        for (message, at_ns) in missed {
            let at_ns = if at_ns == 0 { now_ns } else { at_ns };
            unresolved += self.judge_missed(handle, message, rest, at_ns, &mut runs);
        }
        if self.context.sessions[handle]
            .progress
            .track
            .parted
            .is_some()
        {
            self.doubt_what_is_before(handle, rest, now_ns, &mut runs);
        }
        unresolved
    }

    /// The messages of `sender` that are acked and of which nobody got anything, nor anything
    /// after them, get their places.
    pub(super) fn place_unrelayed(&mut self, sender: SenderId) {
        for k in self.messages.take_acked(sender) {
            let tail = self.sequence.tail();
            self.place_one(tail, Message { sender, k }, NEVER);
        }
    }

    /// Judges one message that a session has not got. Of one that has no place yet, since nobody
    /// got it, it is not known where it belongs, unless it was owed.
    fn judge_missed(
        &mut self,
        handle: Handle,
        message: Message,
        rest: Rest,
        at_ns: u64,
        runs: &mut Runs,
    ) -> u64 {
        let Some(sent) = self.messages.get(message).copied() else {
            return 0;
        };
        let Some(known) = self.known_of(handle, message, &sent, rest, runs) else {
            return 0;
        };
        let session = &self.context.sessions[handle];
        let excuses = session.progress.may_have_got_others();
        // Where something may stand for it, that is looked up while it is known.
        let owed =
            known.is_owed() || excuses && self.is_owed(&session.progress.track, sent.slot, known);
        if !owed {
            let unknown = rest == Rest::Unknown;
            self.context.batch.tally.optional += u64::from(!unknown);
            self.context.batch.tally.unresolved += u64::from(unknown);
            if !excuses {
                self.doubt(handle, message, known, at_ns);
            }
            return u64::from(unknown);
        }
        if sent.slot == 0 {
            self.place_unrelayed(message.sender);
        }
        let slot = self.messages.get(message).map_or(0, |sent| sent.slot);
        if slot == 0 {
            // Whether the target ever took it is not known yet.
            self.doubt(handle, message, known, at_ns);
        } else if !self.is_excused(handle, slot, message) {
            let doubt = LossDoubt {
                given_up: false,
                by_place: !known.is_owed(),
                by_later: known.proof == LossProof::Later && !known.answered,
                by_close: known.proof == LossProof::Close,
                disordered: false,
            };
            self.lose_to(handle, slot, known.proof, doubt, at_ns);
        }
        0
    }

    /// Knowledge of a message that a session has not got by its end; `None` if it was not to get it.
    fn known_of(
        &self,
        handle: Handle,
        message: Message,
        sent: &Sent,
        rest: Rest,
        runs: &mut Runs,
    ) -> Option<Known> {
        let session = &self.context.sessions[handle];
        if sent.accepted_at() < session.progress.connecting_at {
            return None;
        }
        let run = *runs
            .entry(message.sender)
            .or_insert_with(|| self.own_run(handle, message.sender));
        let (earlier, later) = within(run, message.k);
        let answered = matches!(rest, Rest::Answered { .. });
        // What it sent itself came between its joining and its goodbye.
        let own = message.sender == session.progress.track.id && !sent.refused;
        let taken = answered && (own || sent.accepted_at() < session.progress.leaving_at);
        Some(Known {
            joined: own
                || session.progress.joined_at < sent.sent_at
                || earlier
                || self.is_taken_before(&session.progress.track, message.sender),
            still_there: taken || later,
            answered,
            proof: match rest {
                _ if later => LossProof::Later,
                Rest::Answered { by_bye: true } => LossProof::Bye,
                _ => LossProof::Close,
            },
        })
    }

    fn doubt(&mut self, handle: Handle, message: Message, known: Known, at_ns: u64) {
        let track = &mut self.context.sessions[handle].progress.track;
        track.in_doubt = true;
        self.settling.doubt(Doubt {
            message,
            session: track.id,
            receiver: track.client,
            known,
            at_ns,
        });
    }

    /// Leaves in doubt what stands a little before a session's start, and was on its way when it joined: others may
    /// show that it comes after something that the session got.
    fn doubt_what_is_before(&mut self, handle: Handle, rest: Rest, now_ns: u64, runs: &mut Runs) {
        let track = &self.context.sessions[handle].progress.track;
        let slots = self.sequence.back_from(track.start).take(NEAR_SLOTS);
        let messages = slots.filter_map(|at| self.sequence.get(at).map(|slot| slot.message));
        let messages: Vec<Message> = messages.filter(|m| track.wants(m.sender)).collect();
        for message in messages {
            let sent = self.messages.get(message).copied();
            let known = sent.and_then(|sent| self.known_of(handle, message, &sent, rest, runs));
            if let Some(known) = known {
                self.doubt(handle, message, known, now_ns);
            }
        }
    }

    /// A session has passed `slot` so long ago that it is not waited for any longer.
    pub(super) fn give_up(&mut self, handle: Handle, slot: SlotId, runs: &mut Runs) {
        let Some(message) = self.sequence.get(slot).map(|s| s.message) else {
            return;
        };
        let Some(sent) = self.messages.get(message).copied() else {
            return;
        };
        let Some(known) = self.known_of(handle, message, &sent, Rest::Unknown, runs) else {
            return;
        };
        if !known.still_there && !self.promises_order(OrderPromise::Total) {
            return; // nothing says that it cannot come
        }
        let session = &mut self.context.sessions[handle];
        let Some(hole) = session.progress.track.holes.get_mut(&slot) else {
            return;
        };
        hole.given_up = true;
        session.progress.track.gave_up = true;
        let at_ns = hole.at_ns;
        let doubt = LossDoubt {
            given_up: true,
            by_place: !known.is_owed(),
            by_later: true,
            by_close: false,
            disordered: false,
        };
        let known = Known {
            still_there: true,
            ..known
        };
        if !self.is_owed(&self.context.sessions[handle].progress.track, slot, known) {
            self.context.batch.tally.optional += 1;
        } else if !self.is_excused(handle, slot, message) {
            if let Some(hole) = self.session(handle).progress.track.holes.get_mut(&slot) {
                hole.lost = true;
            }
            self.lose_to(handle, slot, LossProof::Later, doubt, at_ns);
        }
    }

    /// `handle` was owed `slot`, and it will not come, as far as is known.
    fn lose_to(
        &mut self,
        handle: Handle,
        slot: SlotId,
        proof: LossProof,
        doubt: LossDoubt,
        at_ns: u64,
    ) {
        let track = &self.context.sessions[handle].progress.track;
        let loss = Loss {
            slot,
            session: track.id,
            receiver: track.client,
            proof,
            doubt,
            at_ns,
        };
        self.lose(loss);
    }

    /// The first and the last message of `sender` that a session got, where those between were
    /// to come between.
    fn own_run(&self, handle: Handle, sender: SenderId) -> Option<(u64, u64)> {
        if !self.promises_order(OrderPromise::Fifo) {
            return None;
        }
        let track = &self.context.sessions[handle].progress.track;
        let sender = self.messages.sender(sender)?;
        let got = |k: &u64| {
            let slot = sender.get(*k).map_or(0, |sent| sent.slot);
            slot != 0 && track.got(slot, &self.sequence)
        };
        Some((sender.ks().find(got)?, sender.ks().rev().find(got)?))
    }

    /// Whether an excuse covers that `slot` did not come; it covers no other then.
    pub(super) fn is_excused(&mut self, handle: Handle, slot: SlotId, message: Message) -> bool {
        let session = &mut self.context.sessions[handle];
        let Some(trouble) = session.progress.trouble.as_deref_mut() else {
            return false;
        };
        // What came in its place came about where it belongs: where exactly a message belongs
        // that few have had is not known to the slot.
        let (mut low, mut high) = (slot, slot);
        let excuses = &trouble.excuses;
        let longest_row = excuses.iter().map(|e| e.in_row).max().unwrap_or(0);
        let mut about = Vec::with_capacity(longest_row + 1);
        for step in 1..=EXCUSED_SLOTS + longest_row {
            low = match self.sequence.before(low) {
                0 => low,
                before => before,
            };
            high = match self.sequence.next(high) {
                0 => high,
                next => next,
            };
            if step >= EXCUSED_SLOTS {
                about.push(self.sequence.label(low)..=self.sequence.label(high));
            }
        }
        let claims = |e: &Excuse| e.claim == Some(message);
        let stands = |e: &Excuse| about[e.in_row].contains(&self.sequence.label(e.after));
        let at = excuses.iter().position(claims);
        let Some(at) = at.or_else(|| excuses.iter().position(stands)) else {
            // It may have come as one of those that are forgotten.
            let undecided = trouble.forgotten > 0;
            trouble.forgotten -= u64::from(undecided);
            self.context.batch.tally.after_wrong += u64::from(undecided);
            return undecided;
        };
        trouble.excuses[at].room -= 1;
        // A wrong line came in its place.
        self.context.batch.tally.irregular += u64::from(!trouble.excuses[at].malformed);
        trouble.excuses.retain(|e| e.room > 0);
        true
    }
}

/// Whether message `k` lies after the first, and before the last of a run.
fn within(run: Option<(u64, u64)>, k: u64) -> (bool, bool) {
    run.map_or((false, false), |(first, last)| (first < k, k < last))
}

impl Progress {
    /// Whether something came that may stand for a message that did not.
    fn may_have_got_others(&self) -> bool {
        let trouble = self.trouble.as_deref();
        trouble.is_some_and(|t| !t.excuses.is_empty() || t.forgotten > 0)
    }
}

impl Trouble {
    fn excuse(&mut self, mut excuse: Excuse) {
        let last = self.excuses.last().filter(|e| e.after == excuse.after);
        excuse.in_row = last.map_or(0, |e| (e.in_row + 1).min(MAX_EXCUSES));
        if self.excuses.len() == MAX_EXCUSES {
            let oldest = self.excuses.remove(0);
            self.forgotten = self.forgotten.saturating_add(oldest.room);
        }
        self.excuses.push(excuse);
    }

    /// How many acks the malformed lines can have swallowed.
    fn malformed_room(&self) -> u64 {
        let malformed = self.excuses.iter().filter(|e| e.malformed);
        malformed.fold(0, |room, e| room.saturating_add(e.room))
    }
}
