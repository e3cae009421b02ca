//! Places in the order: where a message that nobody had goes, and how a session's cursor moves when
//! it gets one.

use super::losses::Doubt;
use super::sequence::SlotId;
use super::track::{Ahead, Fill, Hole};
use super::{Handle, Inferred};
use crate::batch::Message;
use crate::bounds;
use crate::promises::OrderPromise;
use crate::sessions::NEVER;

impl Inferred {
    /// Makes a slot for a message that nobody has had. Earlier messages of its sender that nobody
    /// has had either get one, too: they are to come before it.
    pub(super) fn place(&mut self, handle: Handle, message: Message, at: u64) -> SlotId {
        let total = self.promises_order(OrderPromise::Total);
        let track = &self.context.sessions[handle].progress.track;
        let newcomer = track.cursor == track.start;
        let mut after = if total && !newcomer {
            self.skip_own(handle);
            self.place_own(handle);
            self.context.sessions[handle].progress.track.cursor
        } else {
            self.sequence.tail()
        };
        let to_place = self.messages.take_unplaced(message.sender, message.k);
        for k in to_place {
            let message = Message { k, ..message };
            after = self.place_one(after, message, at);
        }
        after
    }

    /// The messages of `handle` that are acked, and that nobody has had, come before what it reads
    /// next; unless it gets them, too: then that shows where they stand.
    fn place_own(&mut self, handle: Handle) {
        let track = &self.context.sessions[handle].progress.track;
        if track.echo {
            return;
        }
        let (sender, mut after) = (track.id, track.cursor);
        for k in self.messages.take_acked(sender) {
            after = self.place_one(after, Message { sender, k }, NEVER);
        }
        self.skip_own(handle);
    }

    /// Puts `message` after slot `after`. Whoever has passed that place has missed it.
    pub(super) fn place_one(&mut self, after: SlotId, message: Message, at: u64) -> SlotId {
        let Some(&sent) = self.messages.get(message) else {
            return after;
        };
        // A sender's messages stand in the order sent, whichever comes first.
        let last = message.k.checked_sub(1).map(|k| Message { k, ..message });
        let last = last
            .and_then(|last| self.messages.get(last))
            .map(|m| m.slot);
        let after = last.map_or(after, |last| {
            if self.sequence.label(last) > self.sequence.label(after) {
                last
            } else {
                after
            }
        });
        let id = self.sequence.insert_after(after, message);
        if let Some(slot) = self.sequence.get_mut(id) {
            slot.intended_ns = sent.intended_ns;
            slot.sent_ns = sent.sent_ns.max(sent.intended_ns);
            slot.accepted_at = sent.accepted_at().min(at);
            slot.until = sent.seen;
        }
        if let Some(sent) = self.messages.get_mut(message) {
            sent.slot = id;
        }
        self.doubt_of_leavers(message, sent.sent_at);
        let label = self.sequence.label(id);
        self.settling.placed(id, &self.sequence);
        if id != self.sequence.tail() {
            let open = self.context.sessions.iter_mut();
            let tracks = open
                .map(|session| &mut session.progress.track)
                .chain(&mut self.past);
            for track in tracks {
                if self.sequence.label(track.cursor) > label
                    && self.sequence.label(track.start) < label
                    && track.wants(message.sender)
                {
                    track.holes.insert(id, Hole::default());
                }
            }
        }
        self.context.kept_since_flush += 1;
        id
    }

    /// A message that was sent before a session was over has got a place, after everything that the
    /// session got, or before it, or between. That place is a proposal: others may show where the
    /// message belongs, and that the session was owed it.
    fn doubt_of_leavers(&mut self, message: Message, sent_at: u64) {
        let in_order = self.context.terms.capabilities.joins_in_order;
        let over = self
            .over
            .iter()
            .map(|&handle| &self.context.sessions[handle].progress.track);
        let past = self.past.iter().rev();
        // Sessions that left before it was sent were put away before those that left after that.
        let past = past.take_while(|track| track.parted.is_none_or(|parted| parted.at > sent_at));
        for track in over.chain(past) {
            let parted = track.parted.filter(|parted| parted.at > sent_at);
            if let Some(parted) = parted.filter(|_| track.wants(message.sender)) {
                let joined =
                    parted.joined_at < sent_at || in_order && track.later <= message.sender;
                let doubt = Doubt::of_parted(track, parted, message, joined);
                self.settling.doubt(doubt);
            }
        }
    }

    /// `handle` gets `slot` now: slots in between become holes, or a hole is filled.
    pub(super) fn pass_to(&mut self, handle: Handle, slot: SlotId, at: u64, now_ns: u64) {
        let total = self.promises_order(OrderPromise::Causal);
        let label = self.sequence.label(slot);
        let start = self.context.sessions[handle].progress.track.start;
        if label <= self.sequence.label(start) && !self.begins_before(handle, slot) {
            self.context.batch.tally.uncompared += 1;
            return;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        if label > self.sequence.label(track.cursor) {
            let mut passed = self.sequence.next(track.cursor);
            while passed != slot && passed != 0 {
                let Some(between) = self.sequence.get(passed) else {
                    break;
                };
                if track.wants(between.sender()) {
                    let hole = Hole {
                        at_ns: now_ns,
                        ..Hole::default()
                    };
                    track.holes.insert(passed, hole);
                }
                passed = between.next;
            }
            track.cursor = slot;
            return;
        }
        if track.holes.remove(&slot).is_none() {
            return;
        }
        let fill = Fill {
            cursor: track.cursor,
            at,
            at_ns: now_ns,
        };
        if !(total || self.overtaken_by_its_own(handle, slot).is_some()) {
            return;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        if track.fills.len() >= bounds::late_deliveries() {
            self.context.batch.tally.uncompared += 1;
            if let Some(slot) = self.sequence.get_mut(slot) {
                (slot.unordered, slot.filled) = (true, true);
            }
            self.dispute(slot);
            self.report_beyond_memory(handle, slot, now_ns);
            return;
        }
        track.fills.insert(slot, fill);
        let cursor = fill.cursor;
        let until = self.sequence.get(slot).map_or(0, |s| s.until);
        let is_further = self.sequence.label(cursor) > self.sequence.label(until);
        if let Some(slot) = self.sequence.get_mut(slot) {
            slot.filled = true;
            if is_further {
                slot.until = cursor;
            }
        }
    }

    /// `handle` got `slot` late, and so many others before that there is no room to remember when.
    /// It is known now whether it comes after a later one of its sender: one violation for each
    /// hand-over.
    fn report_beyond_memory(&mut self, handle: Handle, slot: SlotId, now_ns: u64) {
        let (client, session) = {
            let track = &self.context.sessions[handle].progress.track;
            (track.client, track.id)
        };
        if self.settling.is_known_disordered(session) {
            return;
        }
        let message = self.sequence.get(slot).map(|slot| slot.message);
        if let Some(message) = message
            && let Some(later) = self.overtaken_by_its_own(handle, slot)
        {
            self.settling.know_disordered(session);
            self.report_overtaken(client, message, later, now_ns);
        }
    }

    /// `handle` gets `slot`, which stands before its start: it begins there. `false` if that is too
    /// far away to say anything about the messages between.
    fn begins_before(&mut self, handle: Handle, slot: SlotId) -> bool {
        let track = &mut self.context.sessions[handle].progress.track;
        let start = self.sequence.label(track.start);
        let after = self
            .sequence
            .after(slot)
            .map(|(id, slot)| (id, slot.sender()));
        let between = after.take_while(|(id, _)| self.sequence.label(*id) <= start);
        let between: Vec<_> = between.take(bounds::reorder_window() + 1).collect();
        if between.len() > bounds::reorder_window() {
            return false;
        }
        let has_nothing = track.cursor == track.start;
        track.start = self.sequence.before(slot);
        if has_nothing {
            track.cursor = track.start;
            return true;
        }
        let hole = Hole::default();
        let wanted = between
            .into_iter()
            .filter(|(_, sender)| track.wants(*sender));
        let wanted: Vec<SlotId> = wanted.map(|(id, _)| id).collect();
        track.holes.insert(slot, hole);
        track.holes.extend(wanted.into_iter().map(|id| (id, hole)));
        true
    }

    /// A later message of the same sender that `handle` had before `slot`, where that matters.
    pub(super) fn overtaken_by_its_own(&mut self, handle: Handle, slot: SlotId) -> Option<u64> {
        if !self.promises_order(OrderPromise::Fifo) {
            return None;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        let Message { sender, k } = self.sequence.get(slot)?.message;
        let sent = self.messages.sender(sender)?;
        let cursor = self.sequence.label(track.cursor);
        let known = track.ahead.get(&sender).filter(|a| a.filled < k);
        let mut holes_until = known.map_or(k, |ahead| ahead.holes_until.max(k));
        // One sender's messages stand in the order sent: after the cursor nothing was got.
        let overtaken = loop {
            let next = sent.get(holes_until + 1).map_or(0, |sent| sent.slot);
            if next == 0 || self.sequence.label(next) > cursor {
                break None;
            }
            if track.got(next, &self.sequence) {
                break Some(holes_until + 1);
            }
            holes_until += 1;
        };
        let ahead = Ahead {
            filled: k,
            holes_until,
        };
        track.ahead.insert(sender, ahead);
        overtaken
    }
}
