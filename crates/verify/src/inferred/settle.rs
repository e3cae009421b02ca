//! The final judgement of a message: once every session has passed it, nothing more will be learned
//! of it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::effort::Effort;
use super::losses::{Doubt, Loss};
use super::missed::Runs;
use super::sequence::{Sequence, SlotId};
use super::track::Track;
use super::witnesses::NEAR_SLOTS;
use super::{Inferred, Progress, figures};
use crate::batch::Unjudged;
use crate::bounds;
use crate::sessions::{NEVER, Session, Stage};
use chatbench_wire::payload::SenderId;

/// Progress of the settlement, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// The last slot that is settled; 0 for none yet.
    pub(super) last: SlotId,
    /// Slots that are settled and not released.
    pub(super) remembered: usize,
    /// Slots that are settled, but for the figures: sessions that began after them may still turn
    /// out to get them.
    uncounted: Vec<SlotId>,
    /// Owed and not got, by slot and session, until they are judged with the slot.
    pub(super) losses: BTreeMap<(SlotId, SenderId), Loss>,
    /// Slots that were settled when they were found to be lost to somebody.
    pub(super) lost_since: Vec<SlotId>,
    /// Not got, and not known to be owed.
    pub(super) doubts: Vec<Doubt>,
    /// The latest send among the settled messages, and its slot.
    pub(super) latest_sent: Option<(u64, SlotId)>,
    /// The budget for comparisons pair by pair.
    pub(super) effort: Effort,
    /// It is on record that there is no order at all.
    pub(super) no_order: bool,
    /// Sessions that got more out of order than is remembered, which is on record since the last
    /// hand-over.
    disordered: HashSet<SenderId>,
    /// A session that is over was forgotten before the messages that it had got were settled. It
    /// might have shown another order.
    pub(super) witness_forgotten: bool,
    /// Nothing is settled any more.
    stopped: bool,
}

impl Settling {
    /// A message has got its place. Where a session turned out to begin before settled messages,
    /// the message may be among these: its figures are handed over all the same.
    pub(super) fn placed(&mut self, id: SlotId, sequence: &Sequence) {
        if self.last != 0 && sequence.label(id) <= sequence.label(self.last) {
            self.remembered += 1;
            self.uncounted.push(id);
        }
    }

    pub(super) fn is_known_disordered(&self, session: SenderId) -> bool {
        self.disordered.contains(&session)
    }

    pub(super) fn know_disordered(&mut self, session: SenderId) {
        self.disordered.insert(session);
    }

    pub(super) fn take_losses(&mut self, slot: SlotId) -> Vec<Loss> {
        if self.losses.is_empty() {
            return Vec::new();
        }
        let of_slot = (slot, SenderId(0))..=(slot, SenderId(u32::MAX));
        let keys: Vec<_> = self.losses.range(of_slot).map(|(&key, _)| key).collect();
        let losses = keys.iter().filter_map(|key| self.losses.remove(key));
        losses.collect()
    }

    /// Withdraws a loss that is not judged yet. `false` if there is none.
    pub(super) fn withdraw_loss(&mut self, slot: SlotId, session: SenderId) -> bool {
        self.losses.remove(&(slot, session)).is_some()
    }

    pub(super) fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() < bounds::doubts() {
            self.doubts.push(doubt);
        }
    }
}

impl Inferred {
    /// Whether `slot` is judged already.
    pub(super) fn is_settled(&self, slot: SlotId) -> bool {
        let last = self.settling.last;
        last != 0 && self.sequence.label(slot) <= self.sequence.label(last)
    }

    /// Settles the messages that every session has passed, at most `at_most`. Returns whether there
    /// may be more.
    pub(super) fn settle(&mut self, at_most: usize) -> bool {
        if self.settling.stopped {
            return false;
        }
        self.give_up_old_holes();
        while self.sequence.len() > bounds::slots()
            || self.sequence.frame_bytes() > bounds::slot_bytes()
        {
            if !self.leave_slowest_behind() {
                break;
            }
        }
        self.count_settled();
        let mut until = NEVER;
        for handle in self.context.sessions.handles() {
            let stage = self.context.sessions[handle].stage;
            if matches!(stage, Stage::Free | Stage::Finished) {
                continue;
            }
            self.skip_own(handle);
            let track = &self.context.sessions[handle].progress.track;
            until = until.min(track.horizon(&self.sequence));
        }
        // Nobody is there any more, in any shard.
        let over = until == NEVER && !self.are_others_there();
        if over {
            for sender in self.messages.unplaced.clone() {
                self.place_unrelayed(sender);
            }
        }
        let settled = self.settled_until(until, over, at_most);
        let more = settled.len() == at_most;
        self.settle_slots(&settled);
        self.judge_losses_since();
        self.judge_doubts(over && !more);
        self.settling.disordered.clear();
        self.context.batch.tally.disordered += self.settling.effort.take_refused();
        self.forget_past();
        more
    }

    /// There is no time to settle the rest: only its amount is reported.
    pub(crate) fn stop_judging(&mut self) {
        let from = match self.settling.last {
            0 => self.sequence.head(),
            last => last,
        };
        let left = self.sequence.after(from);
        let unjudged = left.fold(Unjudged::default(), |unjudged, (_, slot)| {
            unjudged.and(Unjudged::one(slot.sent_ns))
        });
        self.context.batch.unjudged = self.context.batch.unjudged.and(unjudged);
        self.settling = Settling {
            last: self.settling.last,
            stopped: true,
            ..Settling::default()
        };
    }

    /// The first `at_most` slots that can be settled, in order: those up to the label `until` of
    /// which nothing is still awaited; `over` if everybody has gone.
    fn settled_until(&self, until: u64, over: bool, at_most: usize) -> Vec<SlotId> {
        let from = match self.settling.last {
            0 => self.sequence.head(),
            last => last,
        };
        let mut settled = Vec::new();
        for (id, slot) in self.sequence.after(from).take(at_most) {
            if self.sequence.label(id) > until || self.sequence.label(slot.until) > until {
                break;
            }
            // Nobody got it, and its ack may still come.
            let sent = self.messages.get(slot.message);
            if slot.reached_nobody()
                && sent.is_some_and(|sent| sent.acked_at == NEVER)
                && self.promises_acks()
                && self.messages.is_open(slot.sender())
                && !over
            {
                break;
            }
            settled.push(id);
        }
        settled
    }

    fn settle_slots(&mut self, slots: &[SlotId]) {
        let Some(&last) = slots.last() else {
            return;
        };
        self.judge_order(slots);
        for &id in slots {
            self.judge_losses_of(id);
        }
        for &id in slots {
            self.sequence.drop_frame(id);
        }
        self.settling.last = last;
        self.settling.uncounted.extend(slots);
        self.count_settled();
        self.settling.remembered += slots.len();
        while self.settling.remembered > bounds::history() {
            let head = self.sequence.head();
            if self.settling.uncounted.contains(&head) {
                self.settling.uncounted.retain(|&id| id != head);
                self.count(head);
            }
            let Some(message) = self.sequence.free_head() else {
                break;
            };
            self.settling.remembered -= 1;
            if let Some(sender) = self.messages.free(message) {
                self.forget(sender);
            }
        }
        let sequence = &self.sequence;
        for session in self.context.sessions.iter_mut() {
            session.progress.track.forget(sequence);
        }
        for track in &mut self.past {
            track.forget(sequence);
        }
    }

    /// Forgets the sessions that are over and whose deliveries will not be looked at any more.
    fn forget_past(&mut self) {
        let label = self.judged_label();
        let sequence = &self.sequence;
        let got_later = |track: &Track| sequence.label(track.cursor) > label;
        if self.past.iter().all(got_later) {
            return;
        }
        let doubts = self.settling.doubts.iter();
        let doubted: HashSet<SenderId> = doubts.map(|doubt| doubt.session).collect();
        let may_matter = |track: &Track| got_later(track) || doubted.contains(&track.id);
        let past = std::mem::take(&mut self.past).into_iter();
        let (past, done): (VecDeque<Track>, VecDeque<Track>) = past.partition(may_matter);
        self.past = past;
        done.iter().for_each(|track| self.addresses.done(track.id));
    }

    /// The label up to which nobody's deliveries will be looked at any more. (The messages that a
    /// session saw before it sent a message are looked at with that message; those near a slot,
    /// with that slot.)
    pub(super) fn judged_label(&self) -> u64 {
        let mut settled = match self.settling.last {
            0 => self.sequence.head(),
            last => last,
        };
        for _ in 0..2 * NEAR_SLOTS {
            settled = match self.sequence.before(settled) {
                0 => break,
                before => before,
            };
        }
        self.sequence.label(settled)
    }

    /// Hands over the figures of settled messages that nobody may get any more.
    ///
    /// A message can turn out to stand before the start of a session that gets it all the same: a
    /// receiver cannot always tell where its own messages stand among the others.
    fn count_settled(&mut self) {
        let open = |s: &&Session<Progress>| s.stage != Stage::Finished;
        let born = self
            .context
            .sessions
            .iter()
            .filter(open)
            .map(|s| s.progress.track.born);
        let newest = born.map(|born| self.sequence.label(born)).max();
        let uncounted = std::mem::take(&mut self.settling.uncounted);
        for id in uncounted {
            let Some(slot) = self.sequence.get(id) else {
                continue;
            };
            let label = self.sequence.label(id);
            let may_come = |session: &Session<Progress>| {
                let track = &session.progress.track;
                slot.accepted_at >= session.progress.connecting_at
                    && track.wants(slot.sender())
                    && !track.passed(id, &self.sequence)
            };
            if newest >= Some(label) && self.context.sessions.iter().filter(open).any(may_come) {
                self.settling.uncounted.push(id);
            } else {
                self.count(id);
            }
        }
    }

    fn count(&mut self, id: SlotId) {
        let complete = self.waited_for.remove(&id).is_none();
        if self.sharing.is_some() {
            return self.tell_part(id, complete);
        }
        let slot = self.sequence.get(id).filter(|slot| slot.receivers > 0);
        if let Some(slot) = slot.filter(|_| complete) {
            self.context.batch.settled.push(figures(slot));
        }
    }

    /// Gives up messages that were passed over long ago, where later messages prove that they will
    /// not come.
    fn give_up_old_holes(&mut self) {
        for handle in self.context.sessions.handles() {
            let session = &self.context.sessions[handle];
            if session.stage != Stage::Open {
                continue;
            }
            let track = &session.progress.track;
            let old = track.cursor.saturating_sub(bounds::reorder_window() as u64);
            let holes = track.holes.range(..old).filter(|(_, h)| !h.given_up);
            let holes: Vec<SlotId> = holes.map(|(&slot, _)| slot).collect();
            let mut runs = Runs::new();
            for slot in holes {
                self.give_up(handle, slot, &mut runs);
            }
        }
    }

    /// The window is full: sessions that have not got the first slot that is not settled are not
    /// waited for any longer up to there. `false` if there is no such slot.
    fn leave_slowest_behind(&mut self) -> bool {
        let from = match self.settling.last {
            0 => self.sequence.head(),
            last => last,
        };
        let next = self.sequence.next(from);
        if next == 0 {
            return false;
        }
        let label = self.sequence.label(next);
        for session in self.context.sessions.iter_mut() {
            let track = &mut session.progress.track;
            let lags = self.sequence.label(track.cursor) < label;
            let hole = track.holes.get_mut(&next).filter(|h| !h.given_up);
            let waited = lags || hole.is_some();
            if let Some(hole) = hole {
                hole.given_up = true;
            }
            if lags {
                track.cursor = next;
            }
            if waited {
                track.left_behind = next;
            }
            self.context.batch.tally.uncompared += u64::from(waited);
        }
        if let Some(slot) = self.sequence.get_mut(next) {
            slot.until = 0;
        }
        self.settle_slots(&[next]);
        true
    }
}
