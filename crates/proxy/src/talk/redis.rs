//! Redis: values of RESP3. What is published, and what is pushed for it, are arrays of texts, of which
//! the last is the message.

use std::borrow::Cow;

use chatbench_wire::frames::Extent;
use chatbench_wire::redis::extent;
use memchr::memchr;

use super::{Acks, Frame, Frames, Talk, Way};

/// How a Redis server talks.
#[derive(Debug)]
pub struct Redis;

/// The longest value that is cut as one, in bytes: Redis takes no longer text by default.
const MAX_VALUE_BYTES: usize = 512 << 20;

impl Talk for Redis {
    fn frames(&self, _way: Way) -> Box<dyn Frames> {
        Box::new(Values)
    }

    /// Commands are answered in turn.
    fn acks(&self) -> Acks {
        Acks::InTurn
    }

    /// A `PUBLISH` is answered with a number, and nothing else that clients send is.
    fn is_ack(&self, body: &[u8], sent: &mut dyn Iterator<Item = &[u8]>) -> bool {
        body.starts_with(b":") && sent.next().is_some()
    }
}

/// Cuts values. A line that is not understood is one by itself.
#[derive(Debug)]
struct Values;

/// Where the last text of an array states its length, and where the text itself begins.
fn last_text(body: &[u8]) -> Option<(usize, usize)> {
    let line = |at: usize| -> Option<(&[u8], usize)> {
        let lf = at + memchr(b'\n', body.get(at..)?)?;
        Some((body[at..lf].trim_ascii_end(), lf + 1))
    };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<usize>().ok();
    let (head, mut at) = line(0)?;
    let count = number(
        head.strip_prefix(b"*")
            .or_else(|| head.strip_prefix(b">"))?,
    )?;
    for _ in 1..count {
        let (stated, text) = line(at)?;
        at = (text.checked_add(number(stated.strip_prefix(b"$")?)?)?).checked_add(2)?;
    }
    let (stated, text) = line(at)?;
    stated.starts_with(b"$").then_some((at + 1, text))
}

impl Frames for Values {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let length = match extent(bytes, MAX_VALUE_BYTES) {
            Ok(Extent::Whole(length)) => length,
            Ok(Extent::AtLeast(_) | Extent::Line) => return None,
            Err(_) => memchr(b'\n', bytes)? + 1,
        };
        let bytes = &bytes[..length];
        Some(Frame {
            bytes,
            body: Cow::Borrowed(bytes),
            is_message: true,
        })
    }

    /// With the length that the last text has now.
    fn write(&self, _frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        match last_text(body) {
            Some((at, text)) if body.ends_with(b"\r\n") && body.len() >= text + 2 => {
                out.extend_from_slice(&body[..at]);
                out.extend_from_slice((body.len() - text - 2).to_string().as_bytes());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&body[text..]);
            }
            _ => out.extend_from_slice(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_end() {
        let stream = b"%1\r\n+a\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$4\r\nhall\r\n$5\r\nhe\r\no\r\n:2\r\n??\r\n$9\r\nunfi";
        let mut rest = &stream[..];
        let mut frames = Vec::new();
        while let Some(frame) = Values.cut(rest) {
            frames.push(frame.bytes.escape_ascii().to_string());
            rest = &rest[frame.bytes.len()..];
        }
        let expected = [
            r"%1\r\n+a\r\n:1\r\n",
            r">3\r\n$7\r\nmessage\r\n$4\r\nhall\r\n$5\r\nhe\r\no\r\n",
            r":2\r\n",
            r"??\r\n",
        ];
        assert_eq!(frames, expected);
        assert_eq!(rest, b"$9\r\nunfi");
    }

    #[test]
    fn a_message_that_is_cut_short_says_so_in_its_length() {
        let whole = b">3\r\n$7\r\nmessage\r\n$4\r\nhall\r\n$11\r\nhello there\r\n";
        let frame = Values.cut(whole).unwrap();
        let mut out = Vec::new();
        let short = b">3\r\n$7\r\nmessage\r\n$4\r\nhall\r\n$11\r\nhello\r\n";
        Values.write(&frame, short, &mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            r">3\r\n$7\r\nmessage\r\n$4\r\nhall\r\n$5\r\nhello\r\n"
        );
        for same in [&whole[..], b":12\r\n", b"+OK\r\n", b"*0\r\n", b"?\r\n"] {
            out.clear();
            Values.write(&frame, same, &mut out);
            assert_eq!(out, same);
        }
    }

    #[test]
    fn the_answer_to_a_message_is_its_ack() {
        let is_ack = |body: &[u8], sent: &[&[u8]]| Redis.is_ack(body, &mut sent.iter().copied());
        assert!(is_ack(b":3\r\n", &[b"x"]));
        assert!(!is_ack(b":3\r\n", &[]));
        assert!(!is_ack(b"+PONG\r\n", &[b"x"]));
    }
}
