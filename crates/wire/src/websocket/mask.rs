//! Masking (section 5.3): what a client sends is XORed with four bytes that change with each frame.

/// Masks `bytes`, or takes their mask away.
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The masks of one connection, drawn from a seed, so that a run can be repeated.
///
/// The RFC wants masks that nobody can guess, so that a page cannot choose the bytes that a proxy
/// sees. Here both the bytes and their sender are the user's own.
#[derive(Debug, Clone)]
pub(super) struct Masks(u64);

impl Masks {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits of the sequence (SplitMix64).
    pub(super) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) const fn next(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.draw().to_le_bytes();
        [a, b, c, d]
    }
}
