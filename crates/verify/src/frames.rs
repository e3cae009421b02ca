//! Frames that receivers are expected to get, kept side by side.
//!
//! They lie in blocks, so that neighbours share cache lines and whole blocks are recycled while
//! they are still in the cache.

use std::collections::VecDeque;
use std::ops::Range;

use chatbench_wire::seen::Due;

/// Frames are kept in blocks of this size.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// The first block of a room that has a name: there may be thousands, and little is under way in
/// most.
const FIRST_BLOCK_BYTES: usize = 1 << 10;

/// Frames side by side, and how many of them are still pointed to.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    live: u32,
    /// The number of its first frame.
    first_frame: u32,
}

/// The place of a frame, and of its text in it. Blocks and frames are numbered in the order kept;
/// far fewer than 2^32 are held at any time, so their numbers may wrap around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    block: u32,
    at: u32,
    len: u32,
    frame: u32,
    /// The place where the text begins in it, and its length.
    text: (u32, u32),
}

impl Place {
    /// The number of the frame: so many were kept before it, modulo 2^32.
    pub(super) const fn number(self) -> u32 {
        self.frame
    }
}

/// No frame.
pub(super) const NOWHERE: Place = Place {
    block: 0,
    at: 0,
    len: 0,
    frame: 0,
    text: (0, 0),
};

/// The frames.
#[derive(Debug, Default)]
pub(super) struct KeptFrames {
    blocks: VecDeque<Block>,
    /// The number of `blocks[0]`.
    first_block: u32,
    spare: Option<Vec<u8>>,
    /// Frames kept so far.
    kept: u32,
    /// The size of the next block, where few frames are expected: each is twice as large as the one
    /// before, for as long as there are any.
    next_bytes: Option<usize>,
}

impl KeptFrames {
    /// For a room in which little may be under way: it takes next to nothing while it is empty.
    pub(super) fn of_room() -> Self {
        Self {
            next_bytes: Some(FIRST_BLOCK_BYTES),
            ..Self::default()
        }
    }

    /// Blocks held, of [`BLOCK_BYTES`] each or of one longer frame.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// No frame under this number is held.
    pub(super) fn first(&self) -> u32 {
        self.blocks
            .front()
            .map_or(self.kept, |block| block.first_frame)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> Due<'_> {
        let block = &self.blocks[self.index(place)];
        let (begins, len) = place.text;
        Due {
            frame: &block.bytes[place.at as usize..(place.at + place.len) as usize],
            text: begins as usize..(begins + len) as usize,
        }
    }

    /// Keeps a frame, in which the text lies there.
    pub(super) fn keep(&mut self, frame: &[u8], text: Range<usize>) -> Place {
        let needed = frame.len();
        let full = |b: &Block| b.bytes.len() + needed > b.bytes.capacity();
        if self.blocks.back().is_none_or(full) {
            let bytes = match self.spare.take() {
                Some(bytes) if bytes.capacity() >= needed => bytes,
                _ => Vec::with_capacity(needed.max(self.next_block_bytes())),
            };
            self.blocks.push_back(Block {
                bytes,
                live: 0,
                first_frame: self.kept,
            });
        }
        let block = self.blocks.back_mut().expect("one was pushed");
        let at = block.bytes.len() as u32;
        block.bytes.extend_from_slice(frame);
        block.live += 1;
        let newest = (self.blocks.len() - 1) as u32;
        let place = Place {
            block: self.first_block.wrapping_add(newest),
            at,
            len: needed as u32,
            frame: self.kept,
            text: (text.start as u32, text.len() as u32),
        };
        self.kept = self.kept.wrapping_add(1);
        place
    }

    /// Releases the frame at `place`, which is not needed any more.
    pub(super) fn release(&mut self, place: Place) {
        let index = self.index(place);
        self.blocks[index].live -= 1;
        while self.blocks.front().is_some_and(|b| b.live == 0) {
            let mut bytes = self.blocks.pop_front().expect("there is one").bytes;
            self.first_block = self.first_block.wrapping_add(1);
            bytes.clear();
            self.spare = Some(bytes);
        }
        if self.next_bytes.is_some() && self.blocks.is_empty() {
            self.next_bytes = Some(FIRST_BLOCK_BYTES);
            self.spare = self
                .spare
                .take()
                .filter(|b| b.capacity() <= FIRST_BLOCK_BYTES);
        }
    }

    fn next_block_bytes(&mut self) -> usize {
        let Some(next) = &mut self.next_bytes else {
            return BLOCK_BYTES;
        };
        let bytes = *next;
        *next = (bytes * 2).min(BLOCK_BYTES);
        bytes
    }

    #[inline]
    fn index(&self, place: Place) -> usize {
        place.block.wrapping_sub(self.first_block) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_numbered_as_they_are_kept() {
        let mut frames = KeptFrames::default();
        assert_eq!((frames.first(), frames.kept), (0, 0));
        let one = frames.keep(b"one\n", 0..3);
        let long = frames.keep(&[b'x'; BLOCK_BYTES], 0..0);
        let last = frames.keep(b"last\n", 0..0);
        assert_eq!([one, long, last].map(Place::number), [0, 1, 2]);
        frames.release(one);
        assert_eq!(frames.first(), 1, "the block of the first is gone");
        frames.release(long);
        frames.release(last);
        assert_eq!((frames.first(), frames.kept), (3, 3));
    }

    /// A room's blocks grow while frames wait, and when none does nearly nothing is left.
    #[test]
    fn a_room_takes_as_much_as_is_under_way() {
        let mut frames = KeptFrames::of_room();
        let places: Vec<Place> = (0..4000).map(|_| frames.keep(&[b'x'; 200], 0..0)).collect();
        let capacity = |frames: &KeptFrames| -> usize {
            let blocks = frames.blocks.iter().map(|block| block.bytes.capacity());
            blocks.chain(frames.spare.iter().map(Vec::capacity)).sum()
        };
        assert!((800_000..1_800_000).contains(&capacity(&frames)));
        assert!(frames.blocks() < 16, "{}", frames.blocks());
        assert!(
            places
                .iter()
                .all(|place| frames.get(*place).frame == [b'x'; 200])
        );
        places.into_iter().for_each(|place| frames.release(place));
        assert!(capacity(&frames) <= FIRST_BLOCK_BYTES);
        let place = frames.keep(b"again", 0..0);
        assert_eq!(frames.get(place).frame, b"again");
        assert_eq!(capacity(&frames), FIRST_BLOCK_BYTES);
    }

    /// In a long run every number comes round again.
    #[test]
    fn numbers_wrap_around() {
        let mut frames = KeptFrames {
            first_block: u32::MAX,
            kept: u32::MAX,
            ..KeptFrames::default()
        };
        let before = frames.keep(&[b'x'; BLOCK_BYTES], 0..0);
        let behind = frames.keep(b"behind", 0..0);
        assert_eq!([before, behind].map(Place::number), [u32::MAX, 0]);
        assert_eq!(frames.get(behind).frame, b"behind");
        frames.release(before);
        assert_eq!(frames.get(behind).frame, b"behind");
        assert_eq!(frames.first(), 0);
    }
}
