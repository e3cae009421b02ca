//! The frames that a shard's receivers have seen, by number.
//!
//! A broadcast gives every receiver the same bytes. The first receiver of number n in a shard has
//! its line decoded and every byte of it checked; if nothing is wrong with it, it is kept here,
//! and the shard's other receivers compare bytes. The window reaches from the number that the
//! slowest session still waits for to the newest; it is bounded, and a session that falls out of
//! it has its lines decoded one by one.

use std::collections::VecDeque;

use super::bounds;
use super::frames::{BLOCK_BYTES, KeptFrames, NOWHERE, Place};
use chatbench_wire::payload::SenderId;
use chatbench_wire::seen::{Due, Relay};

/// One number of the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// The message's sender; [`NOBODY`] while no clean frame was seen.
    pub(super) sender: SenderId,
    /// Its place among its sender's messages.
    pub(super) k: u64,
    /// When it was due.
    pub(super) intended_ns: u64,
    /// When it was really sent, if that is known.
    pub(super) sent_ns: Option<u64>,
    /// When the first receiver of this shard got it.
    pub(super) first_ns: u64,
    /// When the latest one did.
    pub(super) last_ns: u64,
    /// How many did.
    pub(super) receivers: u32,
    /// The first of them.
    pub(super) first_receiver: SenderId,
    frame: Place,
}

/// No session has this number.
pub(super) const NOBODY: SenderId = SenderId(u32::MAX);

const EMPTY: Slot = Slot {
    sender: NOBODY,
    k: 0,
    intended_ns: 0,
    sent_ns: None,
    first_ns: 0,
    last_ns: 0,
    receivers: 0,
    first_receiver: NOBODY,
    frame: NOWHERE,
};

impl Slot {
    /// Its frame, among those that the window keeps.
    #[inline]
    pub(super) fn due<'f>(&self, frames: &'f KeptFrames) -> Due<'f> {
        frames.get(self.frame)
    }

    /// Whether a clean frame of this number was seen.
    pub(super) fn is_known(&self) -> bool {
        self.sender != NOBODY
    }

    /// The number under which its frame is kept.
    pub(super) const fn frame_number(&self) -> u32 {
        self.frame.number()
    }
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// The number of `slots[0]`.
    base: u64,
    /// Numbers under this one were retired.
    floor: u64,
    slots: VecDeque<Slot>,
    frames: KeptFrames,
}

impl Reference {
    /// The window of a room that has a name: it takes next to nothing while it is empty.
    pub(super) fn of_room() -> Self {
        Self {
            frames: KeptFrames::of_room(),
            ..Self::default()
        }
    }

    /// Lets go of room that is not needed now.
    pub(super) fn shrink(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    /// The number of the first frame that may still be kept.
    pub(super) fn first_frame(&self) -> u32 {
        self.frames.first()
    }

    /// The slot of number `seq` with its frame; `None` while it is not known.
    #[inline]
    pub(super) fn get(&mut self, seq: u64) -> Option<(&mut Slot, Due<'_>)> {
        let index = seq.wrapping_sub(self.base);
        if index >= self.slots.len() as u64 {
            return None;
        }
        let slot = &mut self.slots[index as usize];
        if !slot.is_known() {
            return None;
        }
        let due = self.frames.get(slot.frame);
        Some((slot, due))
    }

    /// The slots from number `seq` on, as far as the next numbers are known, and the frames that
    /// they are places of.
    #[inline]
    pub(super) fn from(&mut self, seq: u64) -> (impl Iterator<Item = &mut Slot>, &KeptFrames) {
        let index = seq.wrapping_sub(self.base).min(self.slots.len() as u64) as usize;
        let slots = self.slots.range_mut(index..);
        (slots.take_while(|slot| slot.is_known()), &self.frames)
    }

    /// The slot of number `seq`, without its frame.
    pub(super) fn slot(&self, seq: u64) -> Option<&Slot> {
        let index = seq.checked_sub(self.base)?;
        self.slots
            .get(usize::try_from(index).ok()?)
            .filter(|s| s.is_known())
    }

    /// Keeps the clean frame of number `seq`, seen for the first time at `now_ns` by `receiver`.
    /// Slots that the bounded window had to give up for it go to `retired`. `false` if the number
    /// fell out of the window before: nothing is left to compare it with.
    #[allow(clippy::too_many_arguments)] // the fields of a slot
    pub(super) fn insert(
        &mut self,
        seq: u64,
        relay: &Relay<'_>,
        (sender, k): (SenderId, u64),
        intended_ns: u64,
        receiver: SenderId,
        now_ns: u64,
        mut retired: impl FnMut(u64, &Slot),
    ) -> bool {
        if self.slots.is_empty() {
            self.base = seq;
        }
        // The receiver that is furthest ahead need not have received every number before.
        let missing_below = self.base.saturating_sub(seq);
        if seq < self.floor
            || missing_below + self.slots.len() as u64 > bounds::reference_numbers() as u64
        {
            return false;
        }
        for _ in 0..missing_below {
            self.slots.push_front(EMPTY);
            self.base -= 1;
        }
        while !self.slots.is_empty()
            && (seq.saturating_sub(self.base) >= bounds::reference_numbers() as u64
                || self.frames.blocks() > bounds::reference_bytes() / BLOCK_BYTES)
        {
            let next = self.base + 1;
            self.retire_before(next, &mut retired);
        }
        if self.slots.is_empty() {
            self.base = seq;
        }
        if seq < self.floor {
            return false; // its frame would not have fitted, and later ones are kept
        }
        let index = (seq - self.base) as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, EMPTY);
        }
        let frame = self
            .frames
            .keep(relay.frame, relay.span().unwrap_or_default());
        self.slots[index] = Slot {
            sender,
            k,
            intended_ns,
            sent_ns: None,
            first_ns: now_ns,
            last_ns: now_ns,
            receivers: 1,
            first_receiver: receiver,
            frame,
        };
        true
    }

    /// Forgets every number under `seq`; `retired` gets each that was known, in order.
    pub(super) fn retire_before(&mut self, seq: u64, mut retired: impl FnMut(u64, &Slot)) {
        let end = self.base + self.slots.len() as u64;
        self.floor = self.floor.max(seq.min(end));
        while self.base < seq {
            let Some(slot) = self.slots.pop_front() else {
                break;
            };
            if slot.is_known() {
                self.frames.release(slot.frame);
                retired(self.base, &slot);
            }
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(reference: &mut Reference, seq: u64, frame: &[u8]) -> Vec<u64> {
        let mut retired = Vec::new();
        let message = (SenderId(1), seq);
        let relay = Relay {
            frame,
            text: frame.into(),
            from: "".into(),
            seq,
        };
        reference.insert(seq, &relay, message, 0, SenderId(2), 5, |n, _| {
            retired.push(n);
        });
        retired
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut reference = Reference::default();
        insert(&mut reference, 41, b"one");
        insert(&mut reference, 43, b"three");
        assert_eq!(reference.get(41).unwrap().1.frame, b"one");
        assert!(reference.get(42).is_none(), "a number nobody saw");
        assert_eq!(reference.get(43).unwrap().1.frame, b"three");
        assert!(reference.get(40).is_none() && reference.get(44).is_none());
    }

    /// No room is left for the number's own frame before that of a later number.
    #[test]
    fn a_frame_for_which_later_ones_leave_no_room_is_not_kept() {
        let bounds = bounds::Bounds {
            reference_bytes: 0,
            ..bounds::Bounds::USUAL
        };
        bounds::within(bounds, || {
            let mut reference = Reference::default();
            insert(&mut reference, 12, b"twelve");
            assert_eq!(insert(&mut reference, 10, b"ten"), [12]);
            assert!(reference.get(10).is_none());
            insert(&mut reference, 13, b"thirteen");
            assert_eq!(reference.get(13).unwrap().1.frame, b"thirteen");
        });
    }

    #[test]
    fn a_number_out_of_order_blocks_nothing_and_frees_nothing_too_early() {
        let mut reference = Reference::default();
        insert(&mut reference, 10, b"ten");
        insert(&mut reference, 12, &[b'x'; BLOCK_BYTES]);
        insert(&mut reference, 11, b"eleven");
        let mut retired = Vec::new();
        reference.retire_before(11, |n, _| retired.push(n));
        assert_eq!(retired, [10]);
        assert_eq!(reference.get(11).unwrap().1.frame, b"eleven");
        assert_eq!(reference.get(12).unwrap().1.frame.len(), BLOCK_BYTES);
    }

    #[test]
    fn the_window_is_bounded_in_numbers_and_in_bytes() {
        let mut reference = Reference::default();
        insert(&mut reference, 1, b"a");
        assert_eq!(
            insert(&mut reference, bounds::reference_numbers() as u64 + 1, b"b"),
            [1]
        );
        assert_eq!(
            insert(&mut reference, u64::MAX - 1, b"far"),
            [bounds::reference_numbers() as u64 + 1]
        );
        assert_eq!(reference.slots.len(), 1);

        let mut reference = Reference::default();
        let line = vec![b'x'; BLOCK_BYTES];
        for seq in 1..=400 {
            insert(&mut reference, seq, &line);
        }
        let held = reference.frames.bytes();
        assert!(
            held <= bounds::reference_bytes() + 2 * (BLOCK_BYTES + 1),
            "{held} bytes held"
        );
    }
}
