//! The messages of a shard in the one order that they seem to have, inferred as they come.
//!
//! A linked list of slots. Under total order a message that nobody has had yet is put right after
//! the previous message of its first receiver: every receiver sees a part of the same order, so the
//! list grows into that order whichever receiver is ahead. (Appending messages as they come would
//! not do: a sender that reads ahead never gets its own messages, so all of them would come out of
//! place for everybody else.) Where the target promises less, messages stand in the order in which
//! they first come.
//!
//! Slots are named by the order in which they were made, and never renamed; their order is that of
//! their labels, which are spread so far apart that there is room between any two.

use std::collections::VecDeque;

use crate::batch::Message;
use crate::frames::{KeptFrames, Place};
use crate::reference::NOBODY;
use chatbench_wire::payload::SenderId;
use chatbench_wire::seen::{Due, Relay};

/// Names a slot; larger ones were made later. 0 names none.
pub(super) type SlotId = u64;

/// Room between the labels of two slots of which the later one was appended.
const STRIDE: u64 = 1 << 20;

/// A message in the order.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) message: Message,
    label: u64,
    before: SlotId,
    pub(super) next: SlotId,
    /// The bytes that receivers get, while they may be compared.
    frame: Option<Place>,
    pub(super) intended_ns: u64,
    /// When it was really sent, or due if that was later.
    pub(super) sent_ns: u64,
    /// When the target had provably taken it.
    pub(super) accepted_at: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// How many got it.
    pub(super) receivers: u32,
    /// A receiver of another shard got it.
    pub(super) elsewhere: bool,
    /// It cannot be judged before this slot can: the evidence about its order reaches so far.
    pub(super) until: SlotId,
    /// It stands before something that had been seen, or acked, when it was sent: that is on
    /// record.
    pub(super) late: bool,
    /// That a receiver lost it is on record.
    pub(super) lost: bool,
    /// That something near it is out of order is on record, too.
    pub(super) doubtful: bool,
    /// Its place among others is in dispute, and proves nothing.
    pub(super) disputed: bool,
    /// Somebody got it after later ones.
    pub(super) filled: bool,
    /// It is not known any more which messages its receivers got it before or after.
    pub(super) unordered: bool,
    freed: bool,
}

/// The slots that may still matter.
#[derive(Debug)]
pub(super) struct Sequence {
    slots: VecDeque<Slot>,
    /// The name of `slots[0]`.
    base: SlotId,
    head: SlotId,
    tail: SlotId,
    frames: KeptFrames,
}

impl Default for Sequence {
    /// One slot without a message: every session begins after some slot.
    fn default() -> Self {
        let root = Message {
            sender: NOBODY,
            k: 0,
        };
        Self {
            slots: [Slot::new(root, STRIDE, 0, 0)].into(),
            base: 1,
            head: 1,
            tail: 1,
            frames: KeptFrames::default(),
        }
    }
}

impl Slot {
    /// The number under which its frame is kept.
    pub(super) fn frame_number(&self) -> Option<u32> {
        self.frame.map(Place::number)
    }

    fn new(message: Message, label: u64, before: SlotId, next: SlotId) -> Self {
        Self {
            message,
            label,
            before,
            next,
            frame: None,
            intended_ns: 0,
            sent_ns: 0,
            accepted_at: 0,
            first_ns: 0,
            last_ns: 0,
            receivers: 0,
            elsewhere: false,
            until: 0,
            late: false,
            lost: false,
            doubtful: false,
            disputed: false,
            filled: false,
            unordered: false,
            freed: false,
        }
    }

    pub(super) fn sender(&self) -> SenderId {
        self.message.sender
    }

    /// Whether nobody is known to have got it, here or in another shard.
    pub(super) fn reached_nobody(&self) -> bool {
        self.receivers == 0 && !self.elsewhere
    }
}

impl Sequence {
    /// That of a room that has a name: it takes next to nothing while it is empty.
    pub(super) fn of_room() -> Self {
        Self {
            frames: KeptFrames::of_room(),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn head(&self) -> SlotId {
        self.head
    }

    pub(super) fn tail(&self) -> SlotId {
        self.tail
    }

    /// Bytes of frames that are held.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frames.bytes()
    }

    /// The slot, unless it was released.
    #[inline]
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        let slot = self.slots.get(id.checked_sub(self.base)? as usize)?;
        (!slot.freed).then_some(slot)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.checked_sub(self.base)? as usize)?;
        (!slot.freed).then_some(slot)
    }

    /// The label of the slot; 0, which is before all others, if it was released.
    #[inline]
    pub(super) fn label(&self, id: SlotId) -> u64 {
        self.get(id).map_or(0, |slot| slot.label)
    }

    /// The slot after `id`, 0 at the end.
    #[inline]
    pub(super) fn next(&self, id: SlotId) -> SlotId {
        self.get(id).map_or(0, |slot| slot.next)
    }

    /// The slot before `id`, 0 if there is none any more.
    pub(super) fn before(&self, id: SlotId) -> SlotId {
        self.get(id).map_or(0, |slot| slot.before)
    }

    /// The slot after `id` and the frame that it is expected as.
    #[inline]
    pub(super) fn due(&mut self, id: SlotId) -> Option<(SlotId, &mut Slot, Due<'_>)> {
        let next = self.slots.get(id.checked_sub(self.base)? as usize)?.next;
        let slot = self.slots.get_mut(next.checked_sub(self.base)? as usize)?;
        let due = self.frames.get(slot.frame?);
        Some((next, slot, due))
    }

    /// `id` and the slots before it, the nearest first.
    pub(super) fn back_from(&self, id: SlotId) -> impl Iterator<Item = SlotId> {
        let before = |at: &SlotId| Some(self.before(*at)).filter(|at| *at != 0);
        std::iter::successors(Some(id), before)
    }

    /// The slots after `id` up to the end.
    pub(super) fn after(&self, id: SlotId) -> impl Iterator<Item = (SlotId, &Slot)> {
        let mut at = id;
        std::iter::from_fn(move || {
            at = self.next(at);
            self.get(at).map(|slot| (at, slot))
        })
    }

    /// Makes a new slot right after `place`; if that was released, as early as may be.
    pub(super) fn insert_after(&mut self, place: SlotId, message: Message) -> SlotId {
        let place = self.get(place).map_or(self.head, |_| place);
        let next = self.next(place);
        let label = if next == 0 {
            self.label(place) + STRIDE
        } else {
            if self.label(next) - self.label(place) < 2 {
                self.spread();
            }
            let (low, high) = (self.label(place), self.label(next));
            low + (high - low) / 2
        };
        let id = self.base + self.slots.len() as u64;
        self.slots.push_back(Slot::new(message, label, place, next));
        if let Some(slot) = self.get_mut(place) {
            slot.next = id;
        }
        match self.get_mut(next) {
            Some(slot) => slot.before = id,
            None => self.tail = id,
        }
        id
    }

    /// Gives all slots new labels: there was no room left between two of them.
    fn spread(&mut self) {
        let (mut at, mut label) = (self.head, STRIDE);
        while let Some(slot) = self.get_mut(at) {
            slot.label = label;
            label += STRIDE;
            at = slot.next;
        }
    }

    /// Keeps the bytes that `id` came as, to compare the others with; `false` if it has some.
    pub(super) fn keep_frame(&mut self, id: SlotId, relay: &Relay<'_>) -> bool {
        let slot = self.slots.get_mut((id - self.base) as usize);
        let Some(slot) = slot.filter(|slot| slot.frame.is_none()) else {
            return false;
        };
        slot.frame = Some(
            self.frames
                .keep(relay.frame, relay.span().unwrap_or_default()),
        );
        true
    }

    /// The number of the first frame that may still be kept.
    pub(super) fn first_frame(&self) -> u32 {
        self.frames.first()
    }

    /// Drops the bytes of `id`: nothing is compared with them any more.
    pub(super) fn drop_frame(&mut self, id: SlotId) {
        let frames = &mut self.frames;
        if let Some(index) = id.checked_sub(self.base)
            && let Some(slot) = self.slots.get_mut(index as usize)
            && let Some(place) = slot.frame.take()
        {
            frames.release(place);
        }
    }

    /// Releases the first slot; never the only one that is left.
    pub(super) fn free_head(&mut self) -> Option<Message> {
        if self.head == self.tail {
            return None;
        }
        let head = self.head;
        self.drop_frame(head);
        let slot = self.get_mut(head)?;
        slot.freed = true;
        let (message, next) = (slot.message, slot.next);
        self.head = next;
        if let Some(slot) = self.get_mut(next) {
            slot.before = 0;
        }
        while self.slots.front().is_some_and(|slot| slot.freed) {
            self.slots.pop_front();
            self.base += 1;
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn message(k: u64) -> Message {
        Message {
            sender: SenderId(1),
            k,
        }
    }

    fn order(sequence: &Sequence) -> Vec<u64> {
        sequence
            .after(sequence.head())
            .map(|(_, s)| s.message.k)
            .collect()
    }

    #[test]
    fn slots_stand_where_they_were_put() {
        let mut sequence = Sequence::default();
        let root = sequence.tail();
        let one = sequence.insert_after(root, message(1));
        let three = sequence.insert_after(one, message(3));
        let two = sequence.insert_after(one, message(2));
        assert_eq!(order(&sequence), [1, 2, 3]);
        assert!(sequence.label(one) < sequence.label(two));
        assert!(sequence.label(two) < sequence.label(three));
        assert_eq!(sequence.tail(), three);
        assert_eq!(sequence.before(three), two);
    }

    #[test]
    fn there_is_always_room_between_two() {
        let mut sequence = Sequence::default();
        let root = sequence.tail();
        for k in (1..=200).rev() {
            sequence.insert_after(root, message(k));
        }
        assert_eq!(order(&sequence), (1..=200).collect::<Vec<_>>());
        let labels: Vec<u64> = sequence
            .after(root)
            .map(|(id, _)| sequence.label(id))
            .collect();
        assert!(labels.is_sorted_by(|a, b| a < b), "{labels:?}");
    }

    #[test]
    fn what_is_let_go_stands_before_everything_and_frees_its_frame() {
        let mut sequence = Sequence::default();
        let root = sequence.tail();
        let one = sequence.insert_after(root, message(1));
        let two = sequence.insert_after(one, message(2));
        let relay = Relay {
            frame: b"<one>",
            text: Cow::Borrowed(b"one"),
            from: "".into(),
            seq: 0,
        };
        sequence.keep_frame(one, &relay);
        assert_eq!(sequence.due(root).unwrap().2.frame, b"<one>");
        assert!(sequence.free_head().is_some());
        assert!(sequence.free_head().is_some());
        assert_eq!(sequence.free_head(), None, "the last one stays");
        assert_eq!((sequence.label(one), sequence.head()), (0, two));
        assert_eq!(sequence.len(), 1);
    }
}
