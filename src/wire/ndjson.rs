//! The ndjson codec, both ways: one JSON object a line (rule F4, and the frames of section 3 of
//! `docs/PROTOCOL.md`).
//!
//! Decoding borrows: a string without escapes is a slice of the line. Every optional key is
//! strict: absent, or of its type; `null` is not absent. Encoding appends to a buffer that the
//! caller reuses, keys in the documented order and without spaces.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The protocol version that `welcome` states.
pub const PROTOCOL_VERSION: u64 = 1;

/// The largest `id` a publish may carry: the largest integer that every JSON reader keeps exact.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// `detail` is cut to this many bytes: a parser's message may quote the whole of a long line.
const MAX_DETAIL_BYTES: usize = 160;

/// What a client sends: the one frame of that direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The text to broadcast. May be empty here: refusing that is the server's decision.
    pub message: Cow<'a, str>,
    /// Chosen by the client, echoed in its ack.
    pub id: Option<u64>,
    /// What the client believes its address to be. Never trusted.
    pub client_ip: Option<Cow<'a, str>>,
}

/// What a server sends.
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
    /// Section 6: what was wrong.
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

/// A line that is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Malformed {
    /// What was expected and where, for people.
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
#[derive(Deserialize, Serialize)]
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
/// has the wrong type or comes twice, or where it is not UTF-8.
pub fn decode_publish(line: &[u8]) -> Result<Publish<'_>, Malformed> {
    require_object(line)?;
    match serde_json::from_slice::<RawPublish<'_>>(line) {
        Ok(raw) => Ok(Publish {
            message: raw.message,
            id: raw.id,
            client_ip: raw.client_ip.map(|t| t.0),
        }),
        Err(error) => Err(Malformed {
            detail: detail_of(&error),
            id: serde_json::from_slice::<IdOnly>(line).map_or(None, |o| o.id),
        }),
    }
}

// One flat struct: an internally tagged enum buffers the whole frame before it knows the variant,
// which costs twice the time (314 against 140 to 190 ns for a relay). `type` is read as text: a
// derived enum would also take `{"relay":null}` for it.
#[derive(Deserialize)]
struct RawServerFrame<'a> {
    #[serde(rename = "type", borrow)]
    frame_type: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    seq: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    client_ip: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    message: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    protocol: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    max_line: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    code: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    detail: Option<Text<'a>>,
}

/// Decodes one line (without its LF) that a server sent.
///
/// # Errors
/// [`Malformed`] where the line is not a JSON object with a `type`, or where a key that its type
/// needs is missing or of the wrong type. A `type` this version does not know is
/// [`ServerFrame::Unknown`].
pub fn decode_server(line: &[u8]) -> Result<ServerFrame<'_>, Malformed> {
    require_object(line)?;
    let raw: RawServerFrame<'_> = serde_json::from_slice(line).map_err(|error| Malformed {
        detail: detail_of(&error),
        id: None,
    })?;
    let frame = match &*raw.frame_type {
        "relay" => ServerFrame::Relay {
            seq: need(raw.seq, "seq")?,
            client_ip: need(raw.client_ip, "client_ip")?.0,
            message: need(raw.message, "message")?.0,
        },
        "ack" => ServerFrame::Ack {
            seq: need(raw.seq, "seq")?,
            id: raw.id,
        },
        "welcome" => ServerFrame::Welcome {
            protocol: need(raw.protocol, "protocol")?,
            client_ip: need(raw.client_ip, "client_ip")?.0,
            seq: need(raw.seq, "seq")?,
            max_line: need(raw.max_line, "max_line")?,
        },
        "error" => ServerFrame::Error {
            code: need(raw.code, "code")?.0,
            detail: raw.detail.map_or(Cow::Borrowed(""), |t| t.0),
            id: raw.id,
        },
        "bye" => ServerFrame::Bye {
            seq: need(raw.seq, "seq")?,
        },
        _ => ServerFrame::Unknown,
    };
    Ok(frame)
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed {
        detail: format!("missing key `{key}`"),
        id: None,
    })
}

/// F4: derived decoders take a JSON array for a struct, so the object is asked for here.
fn require_object(line: &[u8]) -> Result<(), Malformed> {
    match line
        .iter()
        .find(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
    {
        Some(b'{') => Ok(()),
        _ => Err(Malformed {
            detail: "expected a JSON object".to_owned(),
            id: None,
        }),
    }
}

/// serde_json's words, without the line number (it is always 1) and cut to a sane length.
fn detail_of(error: &serde_json::Error) -> String {
    let mut detail = error
        .to_string()
        .replace(" at line 1 column ", " at column ");
    if detail.len() > MAX_DETAIL_BYTES {
        let end = (0..=MAX_DETAIL_BYTES - 3)
            .rev()
            .find(|&i| detail.is_char_boundary(i))
            .unwrap_or(0);
        detail.truncate(end);
        detail.push_str("...");
    }
    detail
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

/// Appends a relay, LF included.
#[inline]
pub fn encode_relay(out: &mut Vec<u8>, seq: u64, client_ip: &str, message: &str) {
    out.extend_from_slice(b"{\"type\":\"relay\",\"seq\":");
    push_u64(out, seq);
    out.extend_from_slice(b",\"client_ip\":");
    push_string(out, client_ip);
    out.extend_from_slice(b",\"message\":");
    push_string(out, message);
    out.extend_from_slice(b"}\n");
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
        out.extend_from_slice(b",\"id\":");
        push_u64(out, id);
    }
}

/// Appends a JSON string. Text that needs no escape, nearly all there is, is copied whole.
#[inline]
fn push_string(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    // A fold rather than `all`: without the early exit the compiler vectorises it.
    if text.bytes().fold(true, |clean, b| clean & plain(b)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string always encodes into memory");
    }
}
