//! The ndjson codec, both ways: one JSON object per line (rule F4, and the frames of section 3 of
//! `docs/PROTOCOL.md`).
//!
//! Decoding borrows: a string without escapes is a slice of the line. Every optional key is strict:
//! absent, or of its type; `null` is not absent. The value of an unknown key is only checked to be
//! JSON and skipped, in constant memory however deep it nests. Frames that stand as this codec
//! writes them are taken apart without a parser ([`plain`]). Encoding appends to a buffer that the
//! caller reuses, keys in the documented order and without spaces.

mod plain;
pub mod welcome;

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// The protocol version that `welcome` states.
pub const PROTOCOL_VERSION: u64 = 1;

/// The largest `id` a publish may carry: the largest integer that every JSON reader keeps exact.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// `detail` is cut to this many bytes: a parser's message may quote the whole of a long line.
pub const MAX_DETAIL_BYTES: usize = 160;

/// The one frame that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The text to broadcast. May be empty here: refusing that is the server's decision.
    pub message: Cow<'a, str>,
    /// Chosen by the client, echoed in its ack.
    pub id: Option<u64>,
    /// The address that the client believes to have. Never trusted.
    pub client_ip: Option<Cow<'a, str>>,
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
        /// The number it got.
        seq: u64,
        /// The publish's own `id`, where it had one.
        id: Option<u64>,
    },
    /// Another client's message (S3).
    Relay {
        /// Its number.
        seq: u64,
        /// Its sender's address as the server saw it (S7).
        client_ip: Cow<'a, str>,
        /// The text, code point for code point (S6).
        message: Cow<'a, str>,
    },
    /// A complaint (section 6).
    Error {
        /// For programs.
        code: Cow<'a, str>,
        /// For people.
        detail: Cow<'a, str>,
        /// The refused publish's `id`, where it could be read.
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
    /// The publish's `id`, where the line was JSON enough to read it.
    pub id: Option<u64>,
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
}

impl ErrorCode {
    /// Every code, in the order of the protocol's table.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::EmptyMessage,
        Self::LineTooLong,
        Self::SlowConsumer,
        Self::ServerFull,
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

#[derive(Deserialize)]
struct RawPublish<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    client_ip: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct IdOnly {
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

/// Decodes one line (without its LF) that a client sent.
///
/// # Errors
/// [`Malformed`] where the line is not a JSON object with a string `message`, where a known key
/// has the wrong type or comes twice, or where the line is not UTF-8.
#[inline]
pub fn decode_publish(line: &[u8]) -> Result<Publish<'_>, Malformed> {
    match plain::publish(line) {
        Some(publish) => Ok(publish),
        None => parse_publish(line),
    }
}

fn parse_publish(line: &[u8]) -> Result<Publish<'_>, Malformed> {
    let raw: RawPublish<'_> = object(line).and_then(parse).map_err(|detail| Malformed {
        detail,
        id: id_of(line),
    })?;
    Ok(Publish {
        message: raw.message,
        id: raw.id,
        client_ip: raw.client_ip.map(|t| t.0),
    })
}

/// The `id` of a line that is no publish, so that its error can name it.
#[cold]
fn id_of(line: &[u8]) -> Option<u64> {
    let text = object(line).ok()?;
    serde_json::from_str::<IdOnly>(text).ok()?.id
}

// One struct per type, chosen by the type read first: an internally tagged enum buffers the whole
// frame before it knows the variant, at twice the time (314 against 140 to 190 ns for a relay), and
// one struct of all keys judges keys that the frame's type does not have. `type` is read as text: a
// derived enum would also take `{"relay":null}` for it.

#[derive(Deserialize)]
struct TypeOnly<'a> {
    #[serde(rename = "type", borrow)]
    frame_type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawWelcome<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    protocol: u64,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    seq: u64,
    max_line: u64,
}

#[derive(Deserialize)]
struct RawAck {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    seq: u64,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawRelay<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    seq: u64,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawError<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(default, borrow)]
    detail: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawBye {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    seq: u64,
}

/// Decodes one line (without its LF) that a server sent.
///
/// A key that the frame's type does not have is an unknown key, whatever it holds: ignored. A
/// missing `detail` counts as empty.
///
/// # Errors
/// [`Malformed`] where the line is not UTF-8 or not a JSON object with a string `type`, or where
/// a key of that type is missing, of the wrong type, or comes twice. A `type` this version does
/// not know is [`ServerFrame::Unknown`].
#[inline]
pub fn decode_server(line: &[u8]) -> Result<ServerFrame<'_>, Malformed> {
    match plain::server_frame(line) {
        Some(frame) => Ok(frame),
        None => server_frame(line).map_err(|detail| Malformed { detail, id: None }),
    }
}

fn server_frame(line: &[u8]) -> Result<ServerFrame<'_>, String> {
    let text = object(line)?;
    let frame_type = match leading_type(text) {
        Some(frame_type) => Cow::Borrowed(frame_type),
        None => parse::<TypeOnly<'_>>(text)?.frame_type,
    };
    Ok(match &*frame_type {
        "relay" => {
            let raw: RawRelay<'_> = parse(text)?;
            ServerFrame::Relay {
                seq: raw.seq,
                client_ip: raw.client_ip,
                message: raw.message,
            }
        }
        "ack" => {
            let RawAck { seq, id, .. } = parse(text)?;
            ServerFrame::Ack { seq, id }
        }
        "welcome" => {
            let raw: RawWelcome<'_> = parse(text)?;
            ServerFrame::Welcome {
                protocol: raw.protocol,
                client_ip: raw.client_ip,
                seq: raw.seq,
                max_line: raw.max_line,
            }
        }
        "error" => {
            let raw: RawError<'_> = parse(text)?;
            ServerFrame::Error {
                code: raw.code,
                detail: raw.detail,
                id: raw.id,
            }
        }
        "bye" => {
            let RawBye { seq, .. } = parse(text)?;
            ServerFrame::Bye { seq }
        }
        _ => ServerFrame::Unknown,
    })
}

/// The type of a frame that states it first and plainly, as the reference server does: saves
/// going over the line twice. Only a known type counts, since only its struct then sees to it
/// that the rest of the line is JSON and that no second `type` comes.
#[inline]
fn leading_type(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix("{\"type\":\"")?;
    ["relay", "ack", "welcome", "error", "bye"]
        .into_iter()
        .find(|known| {
            rest.strip_prefix(known)
                .is_some_and(|rest| rest.starts_with('"'))
        })
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

/// The greatest length of the line of a publish of `payload_bytes` that need no escapes, LF
/// included, whatever its `id`.
#[must_use]
pub fn publish_line_bytes(payload_bytes: usize) -> usize {
    let mut line = Vec::new();
    let empty = Publish {
        message: "".into(),
        id: Some(MAX_ID),
        client_ip: None,
    };
    encode_publish(&mut line, &empty);
    line.len() + payload_bytes
}

/// Appends a publish, LF included.
pub fn encode_publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    out.push(b'{');
    if let Some(client_ip) = &publish.client_ip {
        out.extend_from_slice(b"\"client_ip\":");
        push_string(out, client_ip);
        out.push(b',');
    }
    out.extend_from_slice(b"\"message\":");
    push_string(out, &publish.message);
    push_id(out, publish.id);
    out.extend_from_slice(b"}\n");
}

/// Appends a welcome, LF included.
pub fn encode_welcome(out: &mut Vec<u8>, client_ip: &str, seq: u64, max_line: u64) {
    out.extend_from_slice(b"{\"type\":\"welcome\",\"protocol\":");
    push_u64(out, PROTOCOL_VERSION);
    out.extend_from_slice(b",\"client_ip\":");
    push_string(out, client_ip);
    out.extend_from_slice(b",\"seq\":");
    push_u64(out, seq);
    out.extend_from_slice(b",\"max_line\":");
    push_u64(out, max_line);
    out.extend_from_slice(b"}\n");
}

/// Appends an ack, LF included.
#[inline]
pub fn encode_ack(out: &mut Vec<u8>, seq: u64, id: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"ack\",\"seq\":");
    push_u64(out, seq);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// The part of a relay before its number.
pub const RELAY_BEGINS: &[u8] = b"{\"type\":\"relay\",\"seq\":";

/// The part of a relay after its message.
pub const RELAY_ENDS: &[u8] = b"\"}\n";

/// Appends a relay, LF included.
#[inline]
pub fn encode_relay(out: &mut Vec<u8>, seq: u64, client_ip: &str, message: &str) {
    out.extend_from_slice(RELAY_BEGINS);
    push_u64(out, seq);
    push_relay_sender(out, client_ip);
    out.pop(); // the quote, which is the string's
    push_string(out, message);
    out.extend_from_slice(b"}\n");
}

/// Appends the part of a relay between its number and its message, if that is plain: the same for
/// all messages of a sender.
pub fn push_relay_sender(out: &mut Vec<u8>, client_ip: &str) {
    out.extend_from_slice(b",\"client_ip\":");
    push_string(out, client_ip);
    out.extend_from_slice(b",\"message\":\"");
}

/// Appends an error, LF included.
pub fn encode_error(out: &mut Vec<u8>, code: &str, detail: &str, id: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"error\",\"code\":");
    push_string(out, code);
    out.extend_from_slice(b",\"detail\":");
    push_string(out, detail);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// Appends a bye, LF included.
pub fn encode_bye(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b"{\"type\":\"bye\",\"seq\":");
    push_u64(out, seq);
    out.extend_from_slice(b"}\n");
}

#[inline]
fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn push_id(out: &mut Vec<u8>, id: Option<u64>) {
    if let Some(id) = id {
        debug_assert!(id <= MAX_ID, "id {id} would be malformed");
        out.extend_from_slice(b",\"id\":");
        push_u64(out, id);
    }
}

/// Appends a JSON string. Text that needs no escape, nearly all there is, is copied whole.
#[inline]
fn push_string(out: &mut Vec<u8>, text: &str) {
    if plain::is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string always encodes into memory");
    }
}

#[cfg(test)]
mod tests;
