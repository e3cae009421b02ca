//! The slices of one write, piece by piece.

use std::io::IoSlice;

/// A cursor over slices.
pub(super) struct Slices<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first slice that are gone.
    gone: usize,
}

impl<'a> Slices<'a> {
    pub(super) fn new(slices: &'a [IoSlice<'a>]) -> Self {
        let mut all = Self { slices, gone: 0 };
        all.skip(0);
        all
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<&u8> {
        self.slices.first()?.get(self.gone)
    }

    /// Skips `count` bytes, which there are, and empty slices.
    pub(super) fn skip(&mut self, count: usize) {
        self.gone += count;
        while let [first, rest @ ..] = self.slices
            && self.gone >= first.len()
        {
            self.gone -= first.len();
            self.slices = rest;
        }
    }

    /// The next bytes, up to `most`: as they are if one slice holds them, or else gathered, so that
    /// several short slices make one record.
    pub(super) fn next<'b>(&mut self, most: usize, gathered: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let slices = self.slices;
        let Some(first) = slices.first() else {
            return &[];
        };
        let here = &first[self.gone..];
        if here.len() >= most || slices.len() == 1 {
            let piece = &here[..here.len().min(most)];
            self.skip(piece.len());
            return piece;
        }
        gathered.clear();
        while let Some(first) = self.slices.first()
            && gathered.len() < most
        {
            let here = &first[self.gone..];
            let piece = &here[..here.len().min(most - gathered.len())];
            gathered.extend_from_slice(piece);
            self.skip(piece.len());
        }
        gathered
    }
}
