//! The ndjson codec, both ways: one JSON object per line (rule F4, and the frames of section 3 of
//! `docs/PROTOCOL.md`).
//!
//! Decoding borrows: a string without escapes is a slice of the line. Every optional key is strict:
//! absent, or of its type; `null` is not absent. The value of an unknown key is only checked to be
//! JSON and skipped, in constant memory however deep it nests. Frames that stand as this codec
//! writes them are taken apart without a parser ([`plain`]). Encoding appends to a buffer that the
//! caller reuses, keys in the documented order and without spaces. Frames that name a room are
//! written by [`rooms`].

mod client;
mod encode;
mod plain;
pub mod rooms;
mod server;
pub mod welcome;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

pub use client::{decode_client, decode_publish};
pub use encode::{
    RELAY_BEGINS, RELAY_ENDS, encode_ack, encode_bye, encode_error, encode_publish, encode_relay,
    encode_welcome, publish_line_bytes, push_relay_sender,
};
pub use server::decode_server;

/// The protocol version that `welcome` states.
pub const PROTOCOL_VERSION: u64 = 1;

/// The largest `id` a publish may carry: the largest integer that every JSON reader keeps exact.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// `detail` is cut to this many bytes: a parser's message may quote the whole of a long line.
pub const MAX_DETAIL_BYTES: usize = 160;

/// A frame that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// A message for a room.
    Publish(Publish<'a>),
    /// The wish to be a member of a room.
    Join {
        /// The room's name, as it came: whether a room may have it is the server's to say.
        room: Cow<'a, str>,
        /// Chosen by the client, echoed in the answer.
        id: Option<u64>,
    },
    /// The wish to be a member no longer.
    Leave {
        /// The room's name, as it came.
        room: Cow<'a, str>,
        /// Chosen by the client, echoed in the answer.
        id: Option<u64>,
    },
}

/// A message that a client publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The text to broadcast. May be empty here: refusing that is the server's decision.
    pub message: Cow<'a, str>,
    /// Chosen by the client, echoed in its ack.
    pub id: Option<u64>,
    /// The address that the client believes to have. Never trusted.
    pub client_ip: Option<Cow<'a, str>>,
    /// The room that it is for, as it came; the unnamed room where there is none.
    pub room: Option<Cow<'a, str>>,
}

/// A frame that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// The first frame on a connection (J1): everything numbered after `seq` is owed.
    Welcome {
        /// Protocol version, [`PROTOCOL_VERSION`].
        protocol: u64,
        /// The client's address as the server saw it (S7).
        client_ip: Cow<'a, str>,
        /// The last number that is not owed.
        seq: u64,
        /// The longest line the server takes, in bytes with its LF.
        max_line: u64,
    },
    /// The publish was accepted as number `seq` (S3).
    Ack {
        /// The room whose number it is; the unnamed room where there is none.
        room: Option<Cow<'a, str>>,
        /// The number it got.
        seq: u64,
        /// The publish's own `id`, where it had one.
        id: Option<u64>,
    },
    /// Another client's message (S3).
    Relay {
        /// The room that it was published in; the unnamed room where there is none.
        room: Option<Cow<'a, str>>,
        /// Its number.
        seq: u64,
        /// Its sender's address as the server saw it (S7).
        client_ip: Cow<'a, str>,
        /// The text, code point for code point (S6).
        message: Cow<'a, str>,
    },
    /// The client is a member of the room from here on: everything numbered after `seq` is owed.
    Joined {
        /// The room.
        room: Cow<'a, str>,
        /// The last number of the room that is not owed.
        seq: u64,
        /// The join's own `id`, where it had one.
        id: Option<u64>,
    },
    /// The client is a member no longer, and was sent all that it was owed in the room.
    Left {
        /// The room.
        room: Cow<'a, str>,
        /// The last number of the room that was owed.
        seq: u64,
        /// The leave's own `id`, where it had one.
        id: Option<u64>,
    },
    /// A complaint (section 6).
    Error {
        /// The room that the refused frame named, where it could be read.
        room: Option<Cow<'a, str>>,
        /// For programs.
        code: Cow<'a, str>,
        /// For people.
        detail: Cow<'a, str>,
        /// The refused frame's `id`, where it could be read.
        id: Option<u64>,
    },
    /// The last frame of a polite leave (J2): `seq` is the last number owed.
    Bye {
        /// The last number owed.
        seq: u64,
    },
    /// A `type` this version does not know: counted, not fatal.
    Unknown,
}

/// A text to be encoded, and whether it is known to need no escapes, which saves the search for
/// them.
#[derive(Debug, Clone, Copy)]
pub struct MessageText<'a> {
    text: &'a str,
    plain: bool,
}

impl<'a> MessageText<'a> {
    /// A string that a decoder of this file returned. A borrowed one stood between two quotes as it
    /// is, so it holds nothing that needs an escape.
    #[must_use]
    #[allow(clippy::ptr_arg)] // whether it is borrowed matters
    pub fn decoded(text: &'a Cow<'_, str>) -> Self {
        Self {
            text,
            plain: matches!(text, Cow::Borrowed(_)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The text, if a frame can hold it without escapes.
    #[inline]
    #[must_use]
    pub fn plain(self) -> Option<&'a [u8]> {
        debug_assert!(!self.plain || plain::is_plain(self.text.as_bytes()));
        let text = self.text.as_bytes();
        (self.plain || plain::is_plain(text)).then_some(text)
    }
}

/// A text of which nothing is known.
impl<'a> From<&'a str> for MessageText<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, plain: false }
    }
}

/// A line that is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Malformed {
    /// The expected syntax and the place of the error, for people.
    pub detail: String,
    /// The frame's `id`, where the line was JSON enough to read it.
    pub id: Option<u64>,
    /// The room that a client's frame named, where the line was JSON enough to read it.
    pub room: Option<String>,
}

/// Why a server answers with an `error` frame, by its `code` (section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not a frame of the dialect.
    Malformed,
    /// `message` is empty.
    EmptyMessage,
    /// F2 exceeded.
    LineTooLong,
    /// The connection fell further behind than the log retains.
    SlowConsumer,
    /// More connections than `--max-clients`.
    ServerFull,
    /// No room can have the name.
    BadRoom,
    /// A join of a room that the client is in.
    AlreadyJoined,
    /// A publish in a room that the client is not in, or the leaving of one.
    NotJoined,
    /// A join of one room more than the client may be in, or than the server has.
    TooManyRooms,
}

impl ErrorCode {
    /// Every code, in the order of the protocol's table.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::EmptyMessage,
        Self::LineTooLong,
        Self::SlowConsumer,
        Self::ServerFull,
        Self::BadRoom,
        Self::AlreadyJoined,
        Self::NotJoined,
        Self::TooManyRooms,
    ];

    /// The code as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::EmptyMessage => "empty-message",
            Self::LineTooLong => "line-too-long",
            Self::SlowConsumer => "slow-consumer",
            Self::ServerFull => "server-full",
            Self::BadRoom => "bad-room",
            Self::AlreadyJoined => "already-joined",
            Self::NotJoined => "not-joined",
            Self::TooManyRooms => "too-many-rooms",
        }
    }
}

/// A string that borrows from the line where it has no escapes.
///
/// `Option<Cow<str>>` would not do: serde's `borrow` reaches a bare `Cow` only, and an `Option`
/// around one always allocates.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A key that may be absent but not `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// An `id`: an integer from 0 to [`MAX_ID`].
fn present_id<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    let id = u64::deserialize(d)?;
    if id > MAX_ID {
        return Err(serde::de::Error::custom(format_args!(
            "expected an id of at most {MAX_ID}"
        )));
    }
    Ok(Some(id))
}

/// The line as text, if it is UTF-8 (F1) and begins as an object does (F4: derived decoders take
/// an array for a struct). serde_json checks neither in values that it skips.
#[inline]
fn object(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("invalid UTF-8 at column {}", error.valid_up_to() + 1))?;
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    match line.iter().find(|b| !is_space(b)) {
        Some(b'{') => Ok(text),
        _ => Err("expected a JSON object".to_owned()),
    }
}

#[inline]
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| detail_of(&error))
}

/// serde_json's words, without the line number (it is always 1), and cut to a sane length in the
/// middle: the column stays.
#[cold]
fn detail_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let line_and_column = format!(" at line {} column {}", error.line(), error.column());
    let column = format!(" at column {}", error.column());
    let what = text.strip_suffix(&line_and_column).unwrap_or(&text);
    if what.len() + column.len() <= MAX_DETAIL_BYTES {
        return format!("{what}{column}");
    }
    let room = MAX_DETAIL_BYTES - column.len() - 3;
    let cut = (0..=room).rev().find(|&at| what.is_char_boundary(at));
    format!("{}...{column}", &what[..cut.unwrap_or(0)])
}

#[cfg(test)]
mod tests;
