//! Lines that receivers are expected to get, kept side by side.
//!
//! They lie in blocks, so that neighbours share cache lines and whole blocks are recycled while
//! they are still in the cache.

use std::collections::VecDeque;

/// Lines are kept in blocks of this size.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Lines side by side, and how many of them are still pointed to.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    live: u32,
    /// The number of its first line.
    first_line: u32,
}

/// Where a line lies. Blocks and lines are numbered in the order kept; far fewer than 2^32 are held
/// at any time, so their numbers may wrap around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    block: u32,
    at: u32,
    len: u32,
    line: u32,
}

impl Place {
    /// The number of the line: so many were kept before it.
    pub(super) const fn line(self) -> u32 {
        self.line
    }
}

/// No line.
pub(super) const NOWHERE: Place = Place {
    block: 0,
    at: 0,
    len: 0,
    line: 0,
};

/// The lines.
#[derive(Debug, Default)]
pub(super) struct KeptLines {
    blocks: VecDeque<Block>,
    /// The number of `blocks[0]`.
    first_block: u32,
    spare: Option<Vec<u8>>,
    /// Lines kept so far.
    kept: u32,
}

impl KeptLines {
    /// Blocks held, of [`BLOCK_BYTES`] each or of one longer line.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// No line under this number is held.
    pub(super) fn first(&self) -> u32 {
        self.blocks
            .front()
            .map_or(self.kept, |block| block.first_line)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let block = &self.blocks[self.index(place)];
        &block.bytes[place.at as usize..(place.at + place.len) as usize]
    }

    /// Keeps the line that `parts` make.
    pub(super) fn keep(&mut self, parts: &[&[u8]]) -> Place {
        let needed = parts.iter().map(|part| part.len()).sum();
        let full = |b: &Block| b.bytes.len() + needed > b.bytes.capacity();
        if self.blocks.back().is_none_or(full) {
            let bytes = match self.spare.take() {
                Some(bytes) if bytes.capacity() >= needed => bytes,
                _ => Vec::with_capacity(needed.max(BLOCK_BYTES)),
            };
            self.blocks.push_back(Block {
                bytes,
                live: 0,
                first_line: self.kept,
            });
        }
        let block = self.blocks.back_mut().expect("one was pushed");
        let at = block.bytes.len() as u32;
        for part in parts {
            block.bytes.extend_from_slice(part);
        }
        block.live += 1;
        let newest = (self.blocks.len() - 1) as u32;
        let place = Place {
            block: self.first_block.wrapping_add(newest),
            at,
            len: needed as u32,
            line: self.kept,
        };
        self.kept = self.kept.wrapping_add(1);
        place
    }

    /// The line at `place` is not needed any more.
    pub(super) fn release(&mut self, place: Place) {
        let index = self.index(place);
        self.blocks[index].live -= 1;
        while self.blocks.front().is_some_and(|b| b.live == 0) {
            let mut bytes = self.blocks.pop_front().expect("there is one").bytes;
            self.first_block = self.first_block.wrapping_add(1);
            bytes.clear();
            self.spare = Some(bytes);
        }
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
    fn lines_are_numbered_as_they_are_kept() {
        let mut lines = KeptLines::default();
        assert_eq!((lines.first(), lines.kept), (0, 0));
        let one = lines.keep(&[b"one", b"\n"]);
        let long = lines.keep(&[&[b'x'; BLOCK_BYTES]]);
        let last = lines.keep(&[b"last\n"]);
        assert_eq!([one, long, last].map(Place::line), [0, 1, 2]);
        lines.release(one);
        assert_eq!(lines.first(), 1, "the block of the first is gone");
        lines.release(long);
        lines.release(last);
        assert_eq!((lines.first(), lines.kept), (3, 3));
    }

    /// A run that lasts: every number comes round again.
    #[test]
    fn numbers_wrap_around() {
        let mut lines = KeptLines {
            first_block: u32::MAX,
            kept: u32::MAX,
            ..KeptLines::default()
        };
        let before = lines.keep(&[&[b'x'; BLOCK_BYTES]]);
        let behind = lines.keep(&[b"behind"]);
        assert_eq!([before, behind].map(Place::line), [u32::MAX, 0]);
        assert_eq!(lines.get(behind), b"behind");
        lines.release(before);
        assert_eq!(lines.get(behind), b"behind");
        assert_eq!(lines.first(), 0);
    }
}
