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
}

/// Where a line lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    block: u64,
    at: u32,
    len: u32,
}

/// No line.
pub(super) const NOWHERE: Place = Place {
    block: 0,
    at: 0,
    len: 0,
};

/// The lines.
#[derive(Debug, Default)]
pub(super) struct KeptLines {
    blocks: VecDeque<Block>,
    /// The index of `blocks[0]`.
    first_block: u64,
    spare: Option<Vec<u8>>,
}

impl KeptLines {
    /// Blocks held, of [`BLOCK_BYTES`] each or of one longer line.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let block = &self.blocks[(place.block - self.first_block) as usize];
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
            self.blocks.push_back(Block { bytes, live: 0 });
        }
        let block = self.blocks.back_mut().expect("one was pushed");
        let at = block.bytes.len() as u32;
        for part in parts {
            block.bytes.extend_from_slice(part);
        }
        block.live += 1;
        Place {
            block: self.first_block + self.blocks.len() as u64 - 1,
            at,
            len: needed as u32,
        }
    }

    /// The line at `place` is not needed any more.
    pub(super) fn release(&mut self, place: Place) {
        self.blocks[(place.block - self.first_block) as usize].live -= 1;
        while self.blocks.front().is_some_and(|b| b.live == 0) {
            let mut bytes = self.blocks.pop_front().expect("there is one").bytes;
            self.first_block += 1;
            bytes.clear();
            self.spare = Some(bytes);
        }
    }
}
