//! Messages so far out of order that they are not compared pair by pair: here only what is certain
//! all the same is reported.
//!
//! That a receiver got a message after a later one of its sender is certain by itself. That there
//! is no one order is certain by two receivers that got the same two messages the other way round
//! from each other: one such pair is looked for, and reported once per run. How much else differs,
//! and which receivers are wrong, stays undecided.

use std::collections::HashSet;

use super::Inferred;
use super::sequence::SlotId;
use super::track::{Fill, Track};
use crate::batch::Message;
use crate::directory::ClientId;
use crate::promises::OrderPromise;
use crate::violation::{Evidence, Who};

/// Later messages of its sender that a late one is compared with.
const LATER_OF_ITS_OWN: u64 = 16;

/// Receivers that are asked whether they got a pair the other way round.
const ASKED: usize = 32;

/// Two receivers that got the same two messages the other way round from each other.
struct Contradiction {
    receivers: [ClientId; 2],
    messages: [Message; 2],
    at_ns: u64,
}

impl Inferred {
    /// Judges the order of `slots`, too much of which is out of order.
    pub(super) fn judge_disorder(&mut self, slots: &[SlotId]) {
        let settled: HashSet<SlotId> = slots.iter().copied().collect();
        let mut reordered = Vec::new();
        let mut contradiction = None;
        let wanted = self.promises_order(OrderPromise::Total) && !self.settling.no_order;
        let mut late = 0;
        for track in self.tracks() {
            let fills = track
                .fills
                .iter()
                .filter(|(slot, _)| settled.contains(*slot));
            let mut overtaken = None;
            for (&slot, fill) in fills {
                late += 1;
                overtaken = overtaken.or_else(|| self.overtaken_by(track, slot, fill));
                if wanted && contradiction.is_none() {
                    contradiction = self.contradiction(track, slot, fill);
                }
            }
            reordered
                .extend(overtaken.map(|(one, later, at_ns)| (track.client, one, later, at_ns)));
        }
        self.context.batch.tally.disordered += late;
        for &slot in slots {
            if let Some(slot) = self.sequence.get_mut(slot) {
                slot.unordered = true;
            }
            self.dispute(slot);
        }
        for (receiver, one, later, at_ns) in reordered {
            self.report_overtaken(receiver, one, later, at_ns);
        }
        if let Some(contradiction) = contradiction {
            self.settling.no_order = true;
            self.report_no_order(&contradiction);
        }
    }

    /// A later message of the same sender that `track` got before `slot`, which came as `fill`.
    fn overtaken_by(
        &self,
        track: &Track,
        slot: SlotId,
        fill: &Fill,
    ) -> Option<(Message, u64, u64)> {
        let message = self.sequence.get(slot)?.message;
        let sender = self.messages.sender(message.sender)?;
        let mut later = message.k + 1..=message.k + LATER_OF_ITS_OWN;
        let later = later.find(|&k| {
            let other = sender.get(k).map_or(0, |sent| sent.slot);
            other != 0
                && self.sequence.label(other) <= self.sequence.label(fill.cursor)
                && track.got_before(other, fill, &self.sequence)
                && !self.is_unordered(other)
        });
        Some((message, later?, fill.at_ns))
    }

    /// Another receiver that got `slot` before what `track` had got when that came, as `fill`.
    fn contradiction(&self, track: &Track, slot: SlotId, fill: &Fill) -> Option<Contradiction> {
        let (first, then) = (self.sequence.get(slot)?, self.sequence.get(fill.cursor)?);
        let undecided = first.unordered || then.unordered;
        if undecided || !track.got_before(fill.cursor, fill, &self.sequence) {
            return None;
        }
        let others = self
            .tracks()
            .filter(|other| other.id != track.id)
            .take(ASKED);
        let mut others = others.filter(|other| {
            other.got(slot, &self.sequence) && other.got(fill.cursor, &self.sequence)
        });
        let other = others.find(|other| !other.is_inverted(slot, fill.cursor, &self.sequence))?;
        Some(Contradiction {
            receivers: [track.client, other.client],
            messages: [first.message, then.message],
            at_ns: fill.at_ns,
        })
    }

    /// Whether it is not known who got `slot` in which order.
    pub(super) fn is_unordered(&self, slot: SlotId) -> bool {
        self.sequence.get(slot).is_some_and(|slot| slot.unordered)
    }

    /// `receiver` got `message` only after the one that its sender sent as number `later`.
    pub(super) fn report_overtaken(
        &mut self,
        receiver: ClientId,
        message: Message,
        later: u64,
        at_ns: u64,
    ) {
        let overtaken = Evidence::CameAfterLater(later);
        self.context
            .certain_to(overtaken, receiver, Some(message), at_ns);
    }

    fn report_no_order(&mut self, contradiction: &Contradiction) {
        let Contradiction {
            receivers: [one, other],
            messages: [late, early],
            at_ns,
        } = *contradiction;
        let no_order = Evidence::NoOrder {
            first: self.context.directory.message(early),
            other: Who::Client(other),
        };
        self.context.certain_to(no_order, one, Some(late), at_ns);
    }
}
