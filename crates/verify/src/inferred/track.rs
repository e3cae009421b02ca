//! The track of one session through the order: it got everything after its start and up to its
//! cursor, except its own messages and a few holes.

use std::collections::BTreeMap;

use super::sequence::{Sequence, Slot, SlotId};
use crate::directory::ClientId;
use crate::sessions::NEVER;
use chatbench_wire::payload::SenderId;

/// A session's deliveries.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: SenderId,
    pub(super) client: ClientId,
    /// Sessions from this number on began to connect when this one stood.
    pub(super) later: SenderId,
    /// It is owed its own messages, too.
    pub(super) echo: bool,
    /// The last slot when it began to connect.
    pub(super) born: SlotId,
    /// The slot before the first that it may have got. At first the last slot when it began to
    /// connect; but messages on their way by then may turn out to stand before that.
    pub(super) start: SlotId,
    /// The furthest slot that it got (or sent).
    pub(super) cursor: SlotId,
    /// At its end it was not known of some message that it did not get whether it was owed it.
    pub(super) in_doubt: bool,
    /// The slot up to which it was not waited for: nothing can be said of what it gets up to there.
    /// 0 for none.
    pub(super) left_behind: SlotId,
    /// Slots before the cursor that it has not got.
    pub(super) holes: BTreeMap<SlotId, Hole>,
    /// For the senders of late messages, how far the messages after the late one were found to be
    /// holes, too.
    pub(super) ahead: BTreeMap<SenderId, Ahead>,
    /// Deliveries that filled holes.
    pub(super) fills: BTreeMap<SlotId, Fill>,
    /// Something was not waited for any longer.
    pub(super) gave_up: bool,
    /// The end of the session: nothing more will come, and nothing that came may have been another
    /// message.
    pub(super) parted: Option<Parted>,
}

/// The end of a session, as far as messages that get their place later are judged by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parted {
    /// By when the target had provably registered it.
    pub(super) joined_at: u64,
    /// It left, and the target answered.
    pub(super) answered: bool,
    /// When.
    pub(super) at: u64,
}

/// A slot that was passed over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hole {
    /// When it was passed over.
    pub(super) at_ns: u64,
    /// That was too long ago: it is not waited for any longer.
    pub(super) given_up: bool,
    /// It was owed by then, and is lost unless it comes all the same.
    pub(super) lost: bool,
}

/// Knowledge of one sender's messages after its last late one: when that came, the k's after
/// `filled` up to `holes_until` were holes. So with many messages late in the order sent none is
/// looked at twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    pub(super) filled: u64,
    pub(super) holes_until: u64,
}

/// A message that came after later ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    /// The furthest slot by then.
    pub(super) cursor: SlotId,
    /// When, in the ledger's own order of events.
    pub(super) at: u64,
    pub(super) at_ns: u64,
}

impl Track {
    /// A session that begins to connect where `tail` is the last slot.
    pub(super) const fn new(id: SenderId, client: ClientId, echo: bool, tail: SlotId) -> Self {
        Self {
            id,
            client,
            later: SenderId(u32::MAX),
            echo,
            born: tail,
            start: tail,
            cursor: tail,
            in_doubt: false,
            left_behind: 0,
            holes: BTreeMap::new(),
            ahead: BTreeMap::new(),
            fills: BTreeMap::new(),
            gave_up: false,
            parted: None,
        }
    }

    /// The furthest slot that it got (or sent); 0 while there is none.
    pub(super) fn seen(&self) -> SlotId {
        if self.cursor == self.start {
            0
        } else {
            self.cursor
        }
    }

    /// Whether it may get `slot` at all.
    #[inline]
    pub(super) fn wants(&self, sender: SenderId) -> bool {
        self.echo || sender != self.id
    }

    /// Whether it got `slot`, which is there. Nobody knows it of slots up to `left_behind`.
    pub(super) fn got(&self, slot: SlotId, sequence: &Sequence) -> bool {
        self.passed(slot, sequence) && !self.is_left_behind(slot, sequence)
    }

    /// Whether it was not waited for up to `slot`.
    pub(super) fn is_left_behind(&self, slot: SlotId, sequence: &Sequence) -> bool {
        sequence.label(slot) <= sequence.label(self.left_behind)
    }

    /// Whether nothing of `slot`, which is there, is waited for.
    pub(super) fn passed(&self, slot: SlotId, sequence: &Sequence) -> bool {
        let Some(sender) = sequence.get(slot).map(Slot::sender) else {
            return false;
        };
        let label = sequence.label(slot);
        let passed = label > sequence.label(self.start) && label <= sequence.label(self.cursor);
        self.wants(sender) && passed && !self.holes.contains_key(&slot)
    }

    /// When it got `slot` late, if it did; [`NEVER`] if it was in its place.
    pub(super) fn filled_at(&self, slot: SlotId) -> u64 {
        self.fills.get(&slot).map_or(NEVER, |fill| fill.at)
    }

    /// Whether it had got `slot` when it got `fill`, which came after its cursor.
    pub(super) fn got_before(&self, slot: SlotId, fill: &Fill, sequence: &Sequence) -> bool {
        let filled_at = self.filled_at(slot);
        self.got(slot, sequence) && (filled_at == NEVER || filled_at < fill.at)
    }

    /// Whether it got `then` before `first`, which stands before it.
    pub(super) fn is_inverted(&self, first: SlotId, then: SlotId, sequence: &Sequence) -> bool {
        self.fills.get(&first).is_some_and(|fill| {
            sequence.label(then) <= sequence.label(fill.cursor)
                && self.got_before(then, fill, sequence)
        })
    }

    /// The label of the slot up to which it has everything; a hole that is not given up ends that.
    pub(super) fn horizon(&self, sequence: &Sequence) -> u64 {
        let open = self.holes.iter().filter(|(_, hole)| !hole.given_up);
        let first = open.map(|(&slot, _)| sequence.label(slot)).min();
        let cursor = sequence.label(self.cursor);
        first.map_or(cursor, |first| cursor.min(first.saturating_sub(1)))
    }

    /// Forgets everything about slots that were released.
    pub(super) fn forget(&mut self, sequence: &Sequence) {
        if self.holes.is_empty() && self.fills.is_empty() {
            return;
        }
        self.holes.retain(|&slot, _| sequence.get(slot).is_some());
        if self.holes.is_empty() {
            self.ahead.clear();
        }
        self.fills.retain(|&slot, _| sequence.get(slot).is_some());
    }
}
