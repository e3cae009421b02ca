//! The load message: the text a driver publishes, which describes itself.
//!
//! Whoever receives it can tell, from the text alone, which run and which sender it came from,
//! its place among that sender's messages, when it was due, when the one before it was due, how
//! long it must be, and whether a single byte of it was changed.
//!
//! Every byte is from the alphabet `A–Z a–z 0–9 - _`, so no encoding along the way has a reason to
//! escape, normalise or re-encode it. Fields have fixed widths, most significant digit first, six
//! bits per digit:
//!
//! | at | width | field |
//! |---|---|---|
//! | 0 | 2 | magic, `cb` |
//! | 2 | 1 | `m`, or `f` for the sender's last message (a fence) |
//! | 3 | 4 | length of the whole text in bytes, header included |
//! | 7 | 6 | checksum: CRC-32 of every other byte |
//! | 13 | 6 | run id |
//! | 19 | 5 | sender: one session of one client, never used again |
//! | 24 | 6 | k: 1 for the sender's first message, then 2, 3, … |
//! | 30 | 9 | intended send time, ns since the run's epoch |
//! | 39 | 9 | intended send time of the sender's previous message (0 for its first) |
//! | 48 | … | filler, generated from (seed, sender, k) up to the length asked for |
//!
//! The length stands at a fixed place near the front, so that a stream of such texts without any
//! framing can be cut (the classic dialect needs that).

use std::fmt;

/// Bytes of the header: the shortest load message.
pub const HEADER_BYTES: usize = 48;

/// The longest load message: what four digits of length can state.
pub const MAX_BYTES: usize = (1 << 24) - 1;

/// The latest time that a load message can state: nine digits of six bits, 208 days of a run.
pub const MAX_TIME_NS: u64 = (1 << 54) - 1;

/// The first bytes of every load message.
pub const MAGIC: &[u8; 2] = b"cb";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Digit value of each byte, 255 where the byte is no digit.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut i = 0;
    while i < 64 {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

const LENGTH_AT: usize = 3;
const CHECKSUM_AT: usize = 7;
pub(crate) const RUN_AT: usize = 13;
pub(crate) const SENDER_AT: usize = 19;
pub(crate) const K_AT: usize = 24;
const INTENDED_AT: usize = 30;
const PREVIOUS_AT: usize = 39;

/// One session of one client of a run: a number that is never used again, reconnects included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(pub u32);

/// The largest sender number a header holds.
pub const MAX_SENDER: u32 = (1 << 30) - 1;

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

/// The fields of a load message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The run it belongs to.
    pub run: u32,
    /// Its sender.
    pub sender: SenderId,
    /// Its place among that sender's messages, from 1.
    pub k: u64,
    /// Whether it says that it is its sender's last.
    pub last: bool,
    /// When it was due, ns since the run's epoch.
    pub intended_ns: u64,
    /// When its sender's previous message was due, ns since the run's epoch; 0 for the first.
    pub previous_ns: u64,
}

/// Why a text is not an intact load message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIntact {
    /// It bears no resemblance to a load message, or is empty: nobody here sent it.
    Foreign,
    /// It was a load message, and its length, a digit, its filler or its checksum is wrong.
    Altered,
}

/// Appends the load message of `header`, `size` bytes in all, filler drawn from `seed`.
///
/// # Panics
/// If `size` is under [`HEADER_BYTES`] or over [`MAX_BYTES`], or a field does not fit its width:
/// the scenario's checks exclude both.
pub fn encode(out: &mut Vec<u8>, seed: u64, header: &Header, size: usize) {
    assert!(
        (HEADER_BYTES..=MAX_BYTES).contains(&size),
        "load message of {size} bytes"
    );
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.push(if header.last { b'f' } else { b'm' });
    push_digits(out, 4, size as u64);
    push_digits(out, 6, 0);
    push_digits(out, 6, u64::from(header.run));
    push_digits(out, 5, u64::from(header.sender.0));
    push_digits(out, 6, header.k);
    push_digits(out, 9, header.intended_ns);
    push_digits(out, 9, header.previous_ns);
    let mut filler = Filler::new(seed, header.sender, header.k);
    let mut left = size - HEADER_BYTES;
    while left > 0 {
        let block = filler.next_block();
        let take = left.min(block.len());
        out.extend_from_slice(&block[..take]);
        left -= take;
    }
    let sum = checksum(&out[start..]);
    write_digits(
        &mut out[start + CHECKSUM_AT..start + RUN_AT],
        u64::from(sum),
    );
}

/// Reads a load message and checks every byte of it: digits, length, checksum and filler.
///
/// The filler of another run's message is not checked (its seed is not known here), and belonging
/// to another run is no error: the header says so.
///
/// # Errors
/// [`NotIntact`] says whether the text was a load message once.
pub fn decode(text: &[u8], seed: u64, run: u32) -> Result<Header, NotIntact> {
    let intact = read_header(text)
        .filter(|_| digits(&text[LENGTH_AT..CHECKSUM_AT]) == Some(text.len() as u64))
        .filter(|_| digits(&text[CHECKSUM_AT..RUN_AT]) == Some(u64::from(checksum(text))))
        .filter(|header| header.run != run || filler_intact(text, seed, header));
    intact.ok_or_else(|| why_not(text, run))
}

/// The message that a text that is not intact seems to have been: the sender and k at their places
/// in it. They may be what was altered.
#[must_use]
pub fn claimed(text: &[u8]) -> Option<(SenderId, u64)> {
    let sender = digits(text.get(SENDER_AT..K_AT)?)?;
    let k = digits(text.get(K_AT..INTENDED_AT)?)?;
    Some((SenderId(sender as u32), k))
}

/// The digits by which every load message of a run names it.
#[must_use]
pub fn run_digits(run: u32) -> [u8; SENDER_AT - RUN_AT] {
    let mut digits = [0; SENDER_AT - RUN_AT];
    write_digits(&mut digits, u64::from(run));
    digits
}

/// Whether a byte may stand in a load message.
#[must_use]
pub fn is_digit(byte: u8) -> bool {
    VALUES[usize::from(byte)] != 255
}

/// The length a stream that continues with `text` states for its next load message, once enough
/// of it is there to tell; `None` where more bytes are needed or where it is no load message.
#[must_use]
pub fn stated_length(text: &[u8]) -> Option<usize> {
    if text.len() < CHECKSUM_AT || !text.starts_with(MAGIC) {
        return None;
    }
    let length = digits(&text[LENGTH_AT..CHECKSUM_AT])? as usize;
    // A shorter length than the header's would let a caller that cuts by it stand still.
    (length >= HEADER_BYTES).then_some(length)
}

fn read_header(text: &[u8]) -> Option<Header> {
    if text.len() < HEADER_BYTES || !text.starts_with(MAGIC) {
        return None;
    }
    Some(Header {
        last: match text[2] {
            b'm' => false,
            b'f' => true,
            _ => return None,
        },
        run: u32::try_from(digits(&text[RUN_AT..SENDER_AT])?).ok()?,
        sender: SenderId(digits(&text[SENDER_AT..K_AT])? as u32),
        k: digits(&text[K_AT..INTENDED_AT])?,
        intended_ns: digits(&text[INTENDED_AT..PREVIOUS_AT])?,
        previous_ns: digits(&text[PREVIOUS_AT..HEADER_BYTES])?,
    })
}

fn filler_intact(text: &[u8], seed: u64, header: &Header) -> bool {
    let mut filler = Filler::new(seed, header.sender, header.k);
    text[HEADER_BYTES..]
        .chunks(FILLER_BLOCK)
        .all(|chunk| chunk == &filler.next_block()[..chunk.len()])
}

/// Whether a broken text was a load message once: its magic or this run's id survived.
///
/// One wrong character, one byte too many or too few, or a cut anywhere leaves at least one of
/// the two: the run id may have moved by a few bytes, and the magic vouches for a text that is
/// otherwise of the alphabet but for one character.
#[cold]
fn why_not(text: &[u8], run: u32) -> NotIntact {
    let run_id = run_digits(run);
    let front = &text[..text.len().min(K_AT)];
    let run_intact = front.windows(run_id.len()).any(|place| place == run_id);

    let is_foreign = |b: &u8| !is_digit(*b);
    let foreign_bytes = match text.iter().position(is_foreign) {
        Some(first) => text.iter().rposition(is_foreign).unwrap_or(first) - first + 1,
        None => 0,
    };
    let magic_there = MAGIC.len().min(text.len());
    let magic_intact = !text.is_empty() && text[..magic_there] == MAGIC[..magic_there];

    if run_intact || (magic_intact && foreign_bytes <= LONGEST_CHAR_BYTES) {
        NotIntact::Altered
    } else {
        NotIntact::Foreign
    }
}

/// A server that passes text through UTF-8 puts up to so many bytes in the place of one.
const LONGEST_CHAR_BYTES: usize = 4;

/// CRC-32 of everything but the checksum's own digits.
fn checksum(text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&text[..CHECKSUM_AT]);
    hasher.update(&text[RUN_AT..]);
    hasher.finalize()
}

fn push_digits(out: &mut Vec<u8>, width: usize, value: u64) {
    let at = out.len();
    out.resize(at + width, 0);
    write_digits(&mut out[at..], value);
}

fn write_digits(out: &mut [u8], value: u64) {
    assert!(
        value >> (6 * out.len() as u32).min(63) == 0,
        "{value} does not fit {} digits",
        out.len()
    );
    let mut left = value;
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[(left & 63) as usize];
        left >>= 6;
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &byte in text {
        let digit = VALUES[byte as usize];
        if digit == 255 {
            return None;
        }
        value = value << 6 | u64::from(digit);
    }
    Some(value)
}

/// Bytes of filler that one 64-bit draw gives: ten digits of six bits.
const FILLER_BLOCK: usize = 10;

/// The filler of one message: a SplitMix64 stream from (seed, sender, k), ten digits per draw.
struct Filler(u64);

impl Filler {
    fn new(seed: u64, sender: SenderId, k: u64) -> Self {
        Self(mix(seed ^ mix(mix(u64::from(sender.0)) ^ k)))
    }

    fn next_block(&mut self) -> [u8; FILLER_BLOCK] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut draw = mix(self.0);
        let mut block = [0; FILLER_BLOCK];
        for digit in &mut block {
            *digit = ALPHABET[(draw & 63) as usize];
            draw >>= 6;
        }
        block
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests;
