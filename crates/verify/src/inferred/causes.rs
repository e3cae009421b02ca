//! Messages that came before their causes: before what their senders had got when they sent them
//! (causality), or before what the target had taken by then (real time).

use std::collections::BTreeMap;

use super::Inferred;
use super::disputes::{Alike, Inverted, MAX_PAIRS, Pair, Tangle, Wrong, tangle};
use super::sequence::SlotId;
use super::witnesses::Proof;
use crate::sessions::NEVER;
use crate::violation::Evidence;

/// Steps that it takes, for each receiver, to look for a cycle that a pair closes.
const CIRCLE: u64 = 256;

impl Inferred {
    /// S8 where all agree with the slots' order: does something stand before a message that its
    /// sender had seen when it sent it? `false` if looking it up is too much.
    pub(super) fn judge_cause(&self, slot: SlotId, late: &mut BTreeMap<SlotId, Alike>) -> bool {
        let sent = self.message(slot).and_then(|m| self.messages.get(m));
        let Some(seen) = sent.map(|sent| sent.seen) else {
            return true;
        };
        let until = self.sequence.label(seen);
        let after = self.sequence.after(slot).map(|(id, _)| id);
        let causes = after.take_while(|&id| self.sequence.label(id) <= until);
        for cause in causes.take(MAX_PAIRS) {
            if !self.settling.effort.spend(self.asking_all()) {
                return false;
            }
            if self.saw_before_sending(slot, cause)
                && let Some((who, at_ns)) = self.in_order(slot, cause)
            {
                self.effect_first(slot, cause, who, at_ns, late);
                break;
            }
        }
        true
    }

    /// S8 likewise: was something that stands before `slot` sent after the target had provably
    /// taken `slot`? `suspects` are such pairs of which nobody got both. `false` if looking it up
    /// is too much.
    pub(super) fn judge_real_time(
        &mut self,
        slot: SlotId,
        late: &mut BTreeMap<SlotId, Alike>,
        suspects: &mut Vec<Pair>,
    ) -> bool {
        let Some(sent) = self
            .message(slot)
            .and_then(|m| self.messages.get(m))
            .copied()
        else {
            return true;
        };
        let suspected = self
            .settling
            .latest_sent
            .is_some_and(|(at, _)| at > sent.accepted_at());
        if suspected {
            let mut before = slot;
            for _ in 0..MAX_PAIRS {
                before = self.sequence.before(before);
                let Some(earlier) = self.message(before) else {
                    break;
                };
                if !self.settling.effort.spend(1) {
                    return false;
                }
                let sent_at = self.messages.get(earlier).map_or(0, |m| m.sent_at);
                if sent_at > sent.accepted_at() {
                    if !self.settling.effort.spend(self.asking_all()) {
                        return false;
                    }
                    match self.in_order(before, slot) {
                        Some((who, at_ns)) => self.ordered_late(before, slot, who, at_ns, late),
                        None => suspects.push((before, slot)),
                    }
                }
            }
        }
        if self
            .settling
            .latest_sent
            .is_none_or(|(at, _)| sent.sent_at > at)
        {
            self.settling.latest_sent = Some((sent.sent_at, slot));
        }
        true
    }

    pub(super) fn effect_first(
        &self,
        effect: SlotId,
        caused_by: SlotId,
        who: usize,
        at_ns: u64,
        late: &mut BTreeMap<SlotId, Alike>,
    ) {
        let (Some(_), Some(cause)) = (self.message(effect), self.message(caused_by)) else {
            return;
        };
        let first = Evidence::EffectFirst(self.context.directory.message(cause));
        late.insert(effect, self.alike(first, (effect, caused_by), who, at_ns));
    }

    fn ordered_late(
        &self,
        slot: SlotId,
        acked: SlotId,
        who: usize,
        at_ns: u64,
        late: &mut BTreeMap<SlotId, Alike>,
    ) {
        let (Some(_), Some(taken)) = (self.message(slot), self.message(acked)) else {
            return;
        };
        let before = Evidence::OrderedBeforeTaken(self.context.directory.message(taken));
        let violation = self.alike(before, (slot, acked), who, at_ns);
        late.entry(slot).or_insert(violation);
    }

    /// Whether the sender of `effect` had got `cause` when it sent it.
    pub(super) fn saw_before_sending(&self, effect: SlotId, cause: SlotId) -> bool {
        let Some(message) = self.message(effect) else {
            return false;
        };
        let Some(sent) = self.messages.get(message) else {
            return false;
        };
        let track = self.tracks().find(|track| track.id == message.sender);
        track
            .filter(|_| !self.is_unordered(cause))
            .is_some_and(|track| {
                let filled_at = track.filled_at(cause);
                self.sequence.label(cause) <= self.sequence.label(sent.seen)
                    && track.got(cause, &self.sequence)
                    && (filled_at == NEVER || filled_at < sent.sent_at)
            })
    }

    /// Somebody who got both in the order of their slots, if more did than the other way round, and
    /// when.
    fn in_order(&self, first: SlotId, then: SlotId) -> Option<(usize, u64)> {
        if self.is_unordered(first) || self.is_unordered(then) {
            return None;
        }
        let (kept, inverted, who) = self.votes(first, then);
        let at_ns = self.sequence.get(then).map_or(0, |slot| slot.first_ns);
        who.filter(|_| kept > inverted).map(|who| (who, at_ns))
    }

    /// S4, S8 where no two receivers of the same two messages contradict each other, and nothing
    /// else is wrong: do three or more contradict each other in a cycle, or they and the time?
    /// `false` if looking it up is too much.
    pub(super) fn judge_circles(
        &self,
        suspects: &[Pair],
        inverted: &Inverted,
        tangles: &mut BTreeMap<usize, Vec<Tangle>>,
        late: &mut BTreeMap<SlotId, Alike>,
    ) -> bool {
        let effort = || self.settling.effort.spend(CIRCLE * self.asking_all());
        for (&pair, by) in inverted {
            if !effort() {
                return false;
            }
            let (who, at_ns) = by[0];
            if self.is_forced(pair.0, pair.1, Proof::Deliveries) {
                tangle(tangles.entry(who).or_default(), pair, Wrong::Order, at_ns);
                return true;
            }
            if self.is_forced(pair.0, pair.1, Proof::Time) {
                self.ordered_late(pair.1, pair.0, who, at_ns, late);
                return true;
            }
        }
        for &(before, slot) in suspects {
            if !effort() {
                return false;
            }
            if self.is_forced(before, slot, Proof::Time) {
                let at_ns = self.sequence.get(slot).map_or(0, |slot| slot.first_ns);
                let mut tracks = self.tracks();
                let who = tracks.position(|t| t.got(slot, &self.sequence));
                self.ordered_late(before, slot, who.unwrap_or(0), at_ns, late);
                return true;
            }
        }
        true
    }
}
