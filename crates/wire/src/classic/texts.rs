//! A classic client's side of the stream: texts that run together, cut apart as far as that is
//! possible (C2).
//!
//! A text begins with an address and goes on with one of two phrases, which nothing but chance or
//! malice writes elsewhere. An ack ends with its phrase; a relay of a load message where that says
//! it does. So a load run can be cut exactly. The end of any other relay cannot be known: its text
//! goes on to the next address with a phrase, and if it ends in a digit that makes an address
//! together with the next one (`1` and `27.0.0.1:5`), the cut is a digit off.

use std::net::SocketAddr;
use std::ops::Range;

use memchr::memmem;

use super::{ACK, RELAY};
use crate::payload;

/// The longest address: IPv6 with a scope.
const MAX_ADDRESS_BYTES: usize =
    "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535".len();

/// The longest text that may be the incomplete beginning of an address and a phrase.
const HELD_BYTES: usize = MAX_ADDRESS_BYTES + RELAY.len() - 1;

/// Bytes of a load message up to the end of its length field.
const LENGTH_STATED_BYTES: usize = 7;

/// A part of what a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// `ADDR: 已经收到信息`, whole.
    Ack {
        /// The address it begins with.
        by: SocketAddr,
    },
    /// `ADDR 地址发送了请求消息：MESSAGE`, whole, MESSAGE a load message from its first bytes and of
    /// the length that they state.
    Relay {
        /// The address it begins with.
        by: SocketAddr,
        /// A load message, if nothing has changed it.
        message: &'a [u8],
    },
    /// `ADDR 地址发送了请求消息：`. Its message is in the [`Piece::Text`]s that follow, and ends
    /// where they do.
    RelayBegins {
        /// The address it begins with.
        by: SocketAddr,
    },
    /// Anything else, or a part of it. Where the server sends UTF-8, it ends with a character.
    Text(&'a [u8]),
}

/// The bytes that have come and cannot be cut yet, and the limit on how many these may be.
#[derive(Debug)]
pub struct TextBuffer {
    held: Vec<u8>,
    /// Bytes at the start of `held` that were lent out already.
    taken: usize,
    /// The next cut needs at least so many bytes, from `taken` on.
    wanted: usize,
    max_message_bytes: usize,
}

impl TextBuffer {
    /// An empty buffer, which takes load messages of at most `max_message_bytes` for such.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            held: Vec::new(),
            taken: 0,
            wanted: 0,
            max_message_bytes,
        }
    }

    /// Takes the bytes of one read and lends out what they complete.
    pub fn feed(&mut self, chunk: &[u8]) -> Pieces<'_> {
        self.held.drain(..self.taken);
        self.taken = 0;
        self.held.extend_from_slice(chunk);
        Pieces {
            buffer: self,
            at_end: false,
        }
    }

    /// Lends out all that is left, as what it is if nothing follows.
    pub fn finish(&mut self) -> Pieces<'_> {
        self.wanted = 0;
        Pieces {
            buffer: self,
            at_end: true,
        }
    }

    /// The number of bytes that cannot be cut yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending().len()
    }

    /// The bytes that cannot be cut yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.held[self.taken..]
    }

    /// The bytes of a [`Cut`].
    pub(crate) fn held(&self, range: Range<usize>) -> &[u8] {
        &self.held[range]
    }
}

/// The pieces that are ready. A lending iterator: each is valid until the next call. Pieces that
/// are not taken come with the next [`TextBuffer::feed`] or [`TextBuffer::finish`], once.
#[derive(Debug)]
pub struct Pieces<'a> {
    buffer: &'a mut TextBuffer,
    at_end: bool,
}

/// An address and a phrase, found.
struct Beginning {
    /// Bytes before the address.
    at: usize,
    by: SocketAddr,
    /// Bytes up to the end of the phrase.
    end: usize,
    is_ack: bool,
}

/// A [`Piece`], by the place of its bytes in the buffer.
#[derive(Debug)]
pub(crate) enum Cut {
    Ack(SocketAddr),
    Relay {
        by: SocketAddr,
        whole: Range<usize>,
        message: Range<usize>,
    },
    RelayBegins(SocketAddr),
    Text(Range<usize>),
}

impl Pieces<'_> {
    /// The next piece; `None` where more must come first.
    #[allow(clippy::should_implement_trait)] // lends from itself, which Iterator cannot
    pub fn next(&mut self) -> Option<Piece<'_>> {
        let cut = self.buffer.cut(self.at_end)?;
        let held = &self.buffer.held;
        Some(match cut {
            Cut::Ack(by) => Piece::Ack { by },
            Cut::Relay { by, message, .. } => Piece::Relay {
                by,
                message: &held[message],
            },
            Cut::RelayBegins(by) => Piece::RelayBegins { by },
            Cut::Text(text) => Piece::Text(&held[text]),
        })
    }

    /// Takes the next piece if it is, byte for byte, `expected`: a whole relay of a load message,
    /// as [`Piece::Relay`] has it. `false` changes nothing.
    ///
    /// The receiver's fast path, like [`LineBuffer::take_if`](crate::line::LineBuffer::take_if).
    #[inline]
    pub fn take_if(&mut self, expected: &[u8]) -> bool {
        self.buffer.take_if(expected)
    }
}

impl TextBuffer {
    #[inline]
    pub(crate) fn take_if(&mut self, expected: &[u8]) -> bool {
        if !self.held[self.taken..].starts_with(expected) {
            return false;
        }
        self.take(expected.len());
        true
    }

    /// Cuts the next piece off; `None` where more must come first.
    pub(crate) fn cut(&mut self, at_end: bool) -> Option<Cut> {
        let text = &self.held[self.taken..];
        if text.is_empty() || text.len() < self.wanted {
            return None;
        }
        let Some(begins) = first_beginning(text) else {
            let ready = if at_end {
                text.len()
            } else {
                char_start(text, text.len().saturating_sub(HELD_BYTES))
            };
            if ready == 0 {
                return None;
            }
            return Some(Cut::Text(self.take(ready)));
        };
        let Beginning { at, by, end, .. } = begins;
        if at > 0 {
            return Some(Cut::Text(self.take(at)));
        }
        if begins.is_ack {
            self.take(end);
            return Some(Cut::Ack(by));
        }
        match self.load_message(&text[end..], at_end) {
            LoadMessage::Of(bytes) => {
                let whole = self.take(end + bytes);
                let message = whole.start + end..whole.end;
                Some(Cut::Relay { by, whole, message })
            }
            LoadMessage::None => {
                self.take(end);
                Some(Cut::RelayBegins(by))
            }
            LoadMessage::NeedsBytes(bytes) => {
                self.wanted = end + bytes;
                None
            }
        }
    }

    /// Whether a relay's message, which `body` begins with, is a load message.
    fn load_message(&self, body: &[u8], at_end: bool) -> LoadMessage {
        if body.len() < LENGTH_STATED_BYTES {
            let magic = payload::MAGIC;
            let there = body.len().min(magic.len());
            return if at_end || body[..there] != magic[..there] {
                LoadMessage::None
            } else {
                LoadMessage::NeedsBytes(body.len() + 1)
            };
        }
        let stated = payload::stated_length(body);
        match stated.filter(|bytes| *bytes <= self.max_message_bytes) {
            None => LoadMessage::None,
            Some(bytes) if body.len() < bytes && at_end => LoadMessage::None,
            Some(bytes) if body.len() < bytes => LoadMessage::NeedsBytes(bytes),
            // One that was cut short must not swallow the text that follows it.
            Some(bytes) if !body[..bytes].iter().all(is_of_load_message) => LoadMessage::None,
            Some(bytes) => LoadMessage::Of(bytes),
        }
    }

    fn take(&mut self, bytes: usize) -> Range<usize> {
        let from = self.taken;
        self.taken += bytes;
        self.wanted = 0;
        from..self.taken
    }
}

/// Knowledge of a relay's message, from its beginning.
enum LoadMessage {
    /// It is no load message, or one that is too long or was cut short.
    None,
    /// It is a load message of so many bytes, and all of them are there.
    Of(usize),
    /// So many bytes are needed to tell.
    NeedsBytes(usize),
}

/// Whether the byte is of the alphabet of load messages. An address has others.
fn is_of_load_message(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The first place in `text` where an address and a phrase stand.
///
/// Nearly always that is at its start, so it is looked for there first: one read brings hundreds of
/// texts, and looking through all of them for each would cost the square of their number.
fn first_beginning(text: &[u8]) -> Option<Beginning> {
    let near = &text[..text.len().min(2 * HELD_BYTES)];
    match beginning_in(near) {
        None if near.len() < text.len() => beginning_in(text),
        found => found,
    }
}

fn beginning_in(text: &[u8]) -> Option<Beginning> {
    let mut from = 0;
    loop {
        let ack = memmem::find(&text[from..], ACK.as_bytes());
        // Only the text before the nearer phrase matters: do not look beyond it.
        let until = ack.map_or(text.len(), |ack| from + ack);
        let relay = memmem::find(&text[from..until], RELAY.as_bytes());
        let (phrase_at, phrase, is_ack) = match (ack, relay) {
            (_, Some(relay)) => (from + relay, RELAY, false),
            (Some(ack), None) => (from + ack, ACK, true),
            (None, None) => return None,
        };
        if let Some((at, by)) = address_before(text, phrase_at) {
            return Some(Beginning {
                at,
                by,
                end: phrase_at + phrase.len(),
                is_ack,
            });
        }
        from = phrase_at + phrase.len();
    }
}

/// The longest address that ends at `end`, and where it begins.
fn address_before(text: &[u8], end: usize) -> Option<(usize, SocketAddr)> {
    (end.saturating_sub(MAX_ADDRESS_BYTES)..end).find_map(|at| {
        let address = std::str::from_utf8(&text[at..end]).ok()?;
        Some((at, address.parse().ok()?))
    })
}

/// The start of the character that `at` is in the middle of, if it is in one.
fn char_start(text: &[u8], at: usize) -> usize {
    let is_start = |at: &usize| text[*at] & 0xc0 != 0x80;
    (at.saturating_sub(3)..=at)
        .rev()
        .find(is_start)
        .unwrap_or(at)
}
