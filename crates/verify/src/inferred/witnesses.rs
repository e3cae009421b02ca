//! Witnesses: what others' deliveries prove about a message that a session has not got. In a total
//! order it was owed if something that the session sent or got comes before it, and something that
//! it got comes after it.

use super::Inferred;
use super::losses::Known;
use super::sequence::{Slot, SlotId};
use super::track::Track;
use crate::anomaly::Anomaly;
use crate::batch::Message;
use crate::promises::OrderPromise;
use chatbench_wire::payload::SenderId;

/// The distance from a slot, on either side, within which messages that come before or after it are
/// looked for.
pub(super) const NEAR_SLOTS: usize = 16;

/// The distance from a slot that is out of order within which a loss that only the order proves is
/// in doubt. The proof of that loss stands within [`NEAR_SLOTS`] of it, and what contradicts the
/// proof within as many of the slots that are found to be out of order.
const DISORDERED_SLOTS: usize = 2 * NEAR_SLOTS;

/// A slot near the one that is asked about.
#[derive(Debug, Clone, Copy)]
struct Near {
    id: SlotId,
    message: Message,
    sent_at: u64,
    /// When the target had provably taken it.
    taken_at: u64,
    disputed: bool,
}

/// Evidence that may show that one message comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The order in which they were got, or sent by one sender.
    Deliveries,
    /// That, or that one was taken before the other was sent.
    Time,
}

/// The slots near one, in the order of the list, and the place of that one among them.
#[derive(Debug)]
struct Neighbourhood {
    slots: Vec<Near>,
    middle: usize,
    /// Everybody got these in the order in which they stand.
    tidy: bool,
}

/// The direction from a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    Before,
    After,
}

impl Inferred {
    /// Whether a session was owed a slot that it has not got.
    pub(super) fn is_owed(&self, track: &Track, slot: SlotId, known: Known) -> bool {
        (known.joined || self.is_witnessed_before(track, slot))
            && (known.still_there || self.is_witnessed_after(track, slot, known.answered))
    }

    /// `slot` is out of order: its place proves nothing, and what was lost near it may not have
    /// been.
    pub(super) fn dispute(&mut self, slot: SlotId) {
        let Some(disputed) = self.sequence.get_mut(slot) else {
            return;
        };
        if std::mem::replace(&mut disputed.disputed, true) {
            return;
        }
        let lost = |slot: &Slot| slot.lost && !slot.doubtful;
        let near = self.disordered_by(slot);
        let near: Vec<SlotId> = near
            .filter(|&at| self.sequence.get(at).is_some_and(lost))
            .collect();
        for at in near {
            if let Some(slot) = self.sequence.get_mut(at) {
                slot.doubtful = true;
                let message = slot.message;
                let doubtful = Anomaly::DisorderNear { message };
                self.context.batch.anomalies.push(doubtful);
            }
        }
    }

    /// Whether something near `slot` is out of order.
    pub(super) fn is_near_disorder(&self, slot: SlotId) -> bool {
        let disputed = |at| self.sequence.get(at).is_some_and(|slot| slot.disputed);
        self.disordered_by(slot).any(disputed)
    }

    /// A slot and those near it.
    fn disordered_by(&self, slot: SlotId) -> impl Iterator<Item = SlotId> {
        let before = self.sequence.back_from(slot).take(DISORDERED_SLOTS + 1);
        let after = self.sequence.after(slot).map(|(at, _)| at);
        before.chain(after.take(DISORDERED_SLOTS))
    }

    /// Whether something that a session sent or got comes before `slot`.
    pub(super) fn is_witnessed_before(&self, track: &Track, slot: SlotId) -> bool {
        self.is_witnessed(track, slot, Towards::Before, true)
    }

    /// Whether something that a session got comes after `slot`, or that it sent, if all of that
    /// was taken while it was `still_there`.
    pub(super) fn is_witnessed_after(
        &self,
        track: &Track,
        slot: SlotId,
        still_there: bool,
    ) -> bool {
        self.is_witnessed(track, slot, Towards::After, still_there)
    }

    fn is_witnessed(
        &self,
        track: &Track,
        slot: SlotId,
        towards: Towards,
        sent_counts: bool,
    ) -> bool {
        if !self.promises_order(OrderPromise::Total) {
            return false;
        }
        let Some(near) = self.neighbourhood(slot) else {
            return false;
        };
        let has_part = |near: &Near| {
            sent_counts && near.message.sender == track.id
                || track.got(near.id, &self.sequence)
                || towards == Towards::Before && self.is_after_join(track, near)
        };
        near.slots.iter().any(has_part)
            && (self
                .reached(&near, near.middle, towards, Proof::Time)
                .into_iter())
            .any(|at| has_part(&near.slots[at]))
    }

    /// Whether the target took the connection of `track` before that of session `other`: it takes
    /// them in the order in which they were made. (A welcome itself states from when on it
    /// counts.)
    pub(super) fn is_taken_before(&self, track: &Track, other: SenderId) -> bool {
        self.context.terms.capabilities.joins_in_order && track.later <= other
    }

    /// Whether a session that was taken later sent a message, or got it.
    fn is_after_join(&self, track: &Track, near: &Near) -> bool {
        if !self.context.terms.capabilities.joins_in_order {
            return false;
        }
        let later = |id| self.is_taken_before(track, id);
        let mut others = self.tracks().filter(|other| later(other.id));
        later(near.message.sender)
            || !near.disputed && others.any(|other| other.got(near.id, &self.sequence))
    }

    /// Whether `first`, which stands before `then`, must come before it by the messages between
    /// them, though nobody who got both shows that.
    pub(super) fn is_forced(&self, first: SlotId, then: SlotId, by: Proof) -> bool {
        self.neighbourhood(first).is_some_and(|near| {
            let then = near.slots.iter().position(|n| n.id == then);
            let reached = self.reached(&near, near.middle, Towards::After, by);
            then.is_some_and(|then| reached.contains(&then))
        })
    }

    fn neighbourhood(&self, slot: SlotId) -> Option<Neighbourhood> {
        let before = self.sequence.back_from(slot).skip(1).take(NEAR_SLOTS);
        let mut ids: Vec<SlotId> = before.collect();
        ids.reverse();
        let after = self.sequence.after(slot).map(|(id, _)| id);
        ids.push(slot);
        ids.extend(after.take(NEAR_SLOTS));
        let mut tidy = true;
        let near = |&id: &SlotId| {
            let slot = self.sequence.get(id)?;
            let message = slot.message;
            let sent = self.messages.get(message)?;
            tidy &= !slot.filled;
            Some(Near {
                id,
                message,
                sent_at: sent.sent_at,
                taken_at: sent.accepted_at(),
                disputed: slot.disputed,
            })
        };
        let slots: Vec<Near> = ids.iter().filter_map(near).collect();
        let middle = slots.iter().position(|n| n.id == slot)?;
        Some(Neighbourhood {
            slots,
            middle,
            tidy,
        })
    }

    /// The places of a slot and of those that come before (or after) it, directly or through
    /// others.
    fn reached(
        &self,
        near: &Neighbourhood,
        from: usize,
        towards: Towards,
        by: Proof,
    ) -> Vec<usize> {
        let mut reached = vec![from];
        let mut next = 0;
        while let Some(&at) = reached.get(next) {
            next += 1;
            for other in 0..near.slots.len() {
                let linked = || match towards {
                    Towards::Before => self.comes_before(near, other, at, by),
                    Towards::After => self.comes_before(near, at, other, by),
                };
                if !reached.contains(&other) && linked() {
                    reached.push(other);
                }
            }
        }
        reached
    }

    /// Whether one provably comes before the other: they are one sender's, or the target had taken
    /// it before the other was sent, or everybody who got both says so.
    fn comes_before(&self, near: &Neighbourhood, one: usize, other: usize, by: Proof) -> bool {
        let (first, then) = (near.slots[one], near.slots[other]);
        if first.message.sender == then.message.sender {
            return one < other;
        }
        if by == Proof::Time && first.taken_at < then.sent_at {
            return true;
        }
        if first.disputed || then.disputed {
            return false;
        }
        if one < other && near.tidy {
            let got = |track: &Track, id| track.got(id, &self.sequence);
            return self.tracks().any(|t| got(t, first.id) && got(t, then.id));
        }
        if near.tidy {
            return false;
        }
        if one < other {
            let (kept, inverted, _) = self.votes(first.id, then.id);
            return kept > 0 && inverted == 0;
        }
        let (kept, inverted, _) = self.votes(then.id, first.id);
        inverted > 0 && kept == 0
    }
}
