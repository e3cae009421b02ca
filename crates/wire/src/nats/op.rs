//! What a server sends: lines, and after those of messages so many bytes as they say.

use thiserror::Error;

use crate::frames::Extent;

/// The longest line that is read: an `INFO` names all servers of a cluster.
const MAX_LINE_BYTES: usize = 64 << 10;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// What it says of itself, as JSON.
    Info(&'a [u8]),
    /// A message.
    Msg(Msg<'a>),
    /// It wants to know whether the client is there.
    Ping,
    /// The answer to a `PING`: what was sent before it has been processed.
    Pong,
    /// It took something, in its verbose mode.
    Ok,
    /// A complaint, without the quotation marks around it.
    Err(&'a [u8]),
    /// Nothing that the protocol has.
    Unknown(&'a [u8]),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msg<'a> {
    /// Where it was published.
    pub subject: &'a [u8],
    /// The subscription by which it came.
    pub sid: u64,
    /// What was published.
    pub payload: &'a [u8],
}

/// Bytes that are no NATS.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A line longer than is read.
    #[error("a line has more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// A message longer than is read.
    #[error("a message has {bytes} bytes, and {max} are read at most")]
    TooLong {
        /// Its length, with its line.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// The line of a message is not one.
    #[error("the line of a message is not understood: `{0}`")]
    MessageLine(String),
    /// The length of a message is not where it ends.
    #[error("a message does not end where its line says: `{0}`")]
    NoEnd(String),
}

/// The numbers in the line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head<'a> {
    subject: &'a [u8],
    sid: u64,
    header_bytes: usize,
    total_bytes: usize,
}

/// The extent of the frame that `bytes` begin with, of at most `max` bytes.
///
/// # Errors
/// [`Fault`]: the stream cannot be read any more.
#[inline]
pub fn extent(bytes: &[u8], max: usize) -> Result<Extent, Fault> {
    let end = memchr::memchr(b'\n', bytes);
    if end.unwrap_or(bytes.len()) > MAX_LINE_BYTES {
        return Err(Fault::LongLine);
    }
    let Some(end) = end else {
        return Ok(Extent::Line);
    };
    let line = end + 1;
    let Some(head) = head(&bytes[..end]) else {
        return Ok(Extent::Whole(line));
    };
    let head = head.ok_or_else(|| Fault::MessageLine(shown(&bytes[..end])))?;
    let length = line.saturating_add(head.total_bytes).saturating_add(2);
    if length > max {
        return Err(Fault::TooLong { bytes: length, max });
    }
    if bytes.len() < length {
        return Ok(Extent::AtLeast(length));
    }
    match bytes[..length].ends_with(b"\r\n") {
        true => Ok(Extent::Whole(length)),
        false => Err(Fault::NoEnd(shown(&bytes[..end]))),
    }
}

/// What the line of a message says; the outer `None` if it is another's line, the inner one if it is
/// not understood.
#[inline]
fn head(line: &[u8]) -> Option<Option<Head<'_>>> {
    let (verb, rest) = split_verb(line);
    match verb {
        verb if verb.eq_ignore_ascii_case(b"MSG") => Some(message_head(rest, false)),
        verb if verb.eq_ignore_ascii_case(b"HMSG") => Some(message_head(rest, true)),
        _ => None,
    }
}

fn message_head(rest: &[u8], has_headers: bool) -> Option<Head<'_>> {
    let mut parts = rest
        .split(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .filter(|part| !part.is_empty());
    let (subject, sid) = (parts.next()?, digits(parts.next()?)?);
    // A subject to reply to may stand before the lengths.
    let (mut lengths, mut count) = ([&b""[..]; 3], 0);
    for part in parts {
        *lengths.get_mut(count)? = part;
        count += 1;
    }
    let own = if has_headers { 2 } else { 1 };
    let lengths = match count.checked_sub(own)? {
        more @ (0 | 1) => &lengths[more..count],
        _ => return None,
    };
    let total_bytes = digits(lengths.last()?)?;
    let header_bytes = if has_headers { digits(lengths[0])? } else { 0 };
    (header_bytes <= total_bytes).then_some(Head {
        subject,
        sid,
        header_bytes: usize::try_from(header_bytes).ok()?,
        total_bytes: usize::try_from(total_bytes).ok()?,
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// The first word of a line, and what follows it.
fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .unwrap_or(line.len());
    line.split_at(end)
}

fn shown(line: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    let line = line.trim_ascii_end();
    line[..line.len().min(SHOWN_BYTES)]
        .escape_ascii()
        .to_string()
}

impl<'a> Op<'a> {
    /// Reads a whole frame, as [`extent`] measured it.
    #[must_use]
    pub fn read(frame: &'a [u8]) -> Self {
        let end = memchr::memchr(b'\n', frame).unwrap_or(frame.len());
        let line = &frame[..end];
        if let Some(Some(head)) = head(line) {
            let payload = frame.get(end + 1 + head.header_bytes..end + 1 + head.total_bytes);
            return Self::Msg(Msg {
                subject: head.subject,
                sid: head.sid,
                payload: payload.unwrap_or_default(),
            });
        }
        let line = line.trim_ascii_end();
        let (verb, rest) = split_verb(line);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"INFO") {
            Self::Info(rest.trim_ascii())
        } else if is(b"PING") {
            Self::Ping
        } else if is(b"PONG") {
            Self::Pong
        } else if is(b"+OK") {
            Self::Ok
        } else if is(b"-ERR") {
            let said = rest.trim_ascii();
            let quoted = said.strip_prefix(b"'").and_then(|s| s.strip_suffix(b"'"));
            Self::Err(quoted.unwrap_or(said))
        } else {
            Self::Unknown(line)
        }
    }
}

/// The subscription by which the message comes that `bytes` begin with, if it is one and enough of
/// it is there.
#[inline]
#[must_use]
pub fn sid_of_next(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(b"MSG ")?;
    let rest = &rest[memchr::memchr(b' ', rest)? + 1..];
    digits(&rest[..memchr::memchr(b' ', rest)?])
}
