//! What a server sends: replies, and what it pushes of its own accord.

use thiserror::Error;

use crate::frames::Extent;

/// The longest line that is read: an error, or a length.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Values within values that are read; replies to what is sent here have two.
const MAX_DEPTH: usize = 8;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A word: `OK`, `PONG`.
    Simple(&'a [u8]),
    /// A complaint, which begins with its code.
    Error(&'a [u8]),
    /// A number.
    Integer(u64),
    /// Not an answer: a message, or that a subscription has begun or ended.
    Push {
        /// `message`, `subscribe` and the like.
        kind: &'a [u8],
        /// The channel.
        channel: &'a [u8],
        /// What was published, or how many subscriptions there are.
        payload: &'a [u8],
    },
    /// Any other value.
    Other,
}

/// Bytes that are no RESP3.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A value of no kind that there is.
    #[error("a value begins with `{}`, as none does", char::from(*.0).escape_default())]
    Kind(u8),
    /// A length that is no number.
    #[error("a length is no number")]
    Length,
    /// A line longer than is read.
    #[error("a line has more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// A value longer than is read.
    #[error("a value has more than {0} bytes, which are read at most")]
    TooLong(usize),
    /// A text whose length is not where it ends.
    #[error("a text does not end where its length says")]
    NoEnd,
    /// Values within values within values.
    #[error("values are within each other more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// The end of a value, or what has to come before it is known.
type End = Result<Result<usize, Extent>, Fault>;

/// The extent of the value that `bytes` begin with, of at most `max` bytes.
///
/// # Errors
/// [`Fault`]: the stream cannot be read any more.
#[inline]
pub fn extent(bytes: &[u8], max: usize) -> Result<Extent, Fault> {
    let extent = match end_of(bytes, 0, max, 0)? {
        Ok(end) => Extent::Whole(end),
        Err(extent) => extent,
    };
    match extent {
        Extent::Whole(length) | Extent::AtLeast(length) if length > max => Err(Fault::TooLong(max)),
        extent => Ok(extent),
    }
}

fn end_of(bytes: &[u8], at: usize, max: usize, depth: usize) -> End {
    let rest = &bytes[at..];
    let lf = memchr::memchr(b'\n', rest);
    if lf.unwrap_or(rest.len()) > MAX_LINE_BYTES {
        return Err(Fault::LongLine);
    }
    if let Some(kind) = rest.first()
        && !b"+-:,#(_$=!*>~%|".contains(kind)
    {
        return Err(Fault::Kind(*kind));
    }
    let Some(lf) = lf else {
        return Ok(Err(Extent::Line));
    };
    let line = rest[..lf].strip_suffix(b"\r").unwrap_or(&rest[..lf]);
    let next = at + lf + 1;
    let [kind, length @ ..] = line else {
        return Err(Fault::Kind(b'\n'));
    };
    match kind {
        b'$' | b'=' | b'!' => {
            let Some(length) = self::length(length)? else {
                return Ok(Ok(next)); // null, as before RESP3
            };
            let end = next.saturating_add(length).saturating_add(2);
            if bytes.len() < end {
                return Ok(Err(Extent::AtLeast(end)));
            }
            match &bytes[end - 2..end] == b"\r\n" {
                true => Ok(Ok(end)),
                false => Err(Fault::NoEnd),
            }
        }
        b'*' | b'>' | b'~' | b'%' | b'|' => {
            let count = self::length(length)?.unwrap_or(0);
            if depth == MAX_DEPTH {
                return Err(Fault::TooDeep);
            }
            let count = match kind {
                b'%' | b'|' => count.saturating_mul(2),
                _ => count,
            };
            // A value has three bytes at least.
            if count > max / 3 {
                return Err(Fault::TooLong(max));
            }
            let mut at = next;
            for _ in 0..count {
                match end_of(bytes, at, max, depth + 1)? {
                    Ok(end) => at = end,
                    more => return Ok(more),
                }
            }
            Ok(Ok(at))
        }
        _ => Ok(Ok(next)),
    }
}

/// A length; `None` where it is -1.
fn length(digits: &[u8]) -> Result<Option<usize>, Fault> {
    if digits == b"-1" {
        return Ok(None);
    }
    number(digits)
        .and_then(|number| usize::try_from(number).ok())
        .map(Some)
        .ok_or(Fault::Length)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// Takes the line that `rest` begins with.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let lf = memchr::memchr(b'\n', rest)?;
    let line = &rest[..lf];
    *rest = &rest[lf + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Takes the text, or the number, that `rest` begins with.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (kind, value) = line(rest)?.split_first()?;
    if *kind != b'$' {
        return Some(value);
    }
    let length = usize::try_from(number(value)?).ok()?;
    let text = rest.get(..length)?;
    *rest = rest.get(length + 2..)?;
    Some(text)
}

impl<'a> Reply<'a> {
    /// Reads a whole value, as [`extent`] measured it.
    #[must_use]
    pub fn read(frame: &'a [u8]) -> Self {
        let mut rest = frame;
        let Some((kind, value)) = line(&mut rest).and_then(<[u8]>::split_first) else {
            return Self::Other;
        };
        match kind {
            b'+' => Self::Simple(value),
            b'-' => Self::Error(value),
            b'!' => {
                let length = number(value).and_then(|length| usize::try_from(length).ok());
                Self::Error(length.and_then(|length| rest.get(..length)).unwrap_or(rest))
            }
            b':' => number(value).map_or(Self::Other, Self::Integer),
            b'>' => {
                let mut next = || text(&mut rest);
                match (next(), next(), next()) {
                    (Some(kind), Some(channel), Some(payload)) => Self::Push {
                        kind,
                        channel,
                        payload,
                    },
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }
}

/// The channel of the message that `bytes` begin with, if it is one and enough of it is there.
#[inline]
#[must_use]
pub fn channel_of_next(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes
        .strip_prefix(b">3\r\n$7\r\nmessage\r\n")
        .or_else(|| bytes.strip_prefix(b">3\r\n$8\r\nsmessage\r\n"))?;
    text(&mut rest)
}
