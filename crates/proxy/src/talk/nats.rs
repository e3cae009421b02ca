//! NATS: lines, and after those of messages so many bytes as their last number says.

use std::borrow::Cow;

use chatbench_wire::nats::{Ack, Settings};
use memchr::memchr;

use super::{Acks, Frame, Frames, Talk, Way};

/// How a NATS server talks.
#[derive(Debug)]
pub struct Nats {
    acks: Acks,
}

impl Nats {
    /// As a scenario says.
    #[must_use]
    pub const fn of(settings: &Settings) -> Self {
        Self::new(match settings.ack {
            Ack::Flush => Acks::Cumulative,
            Ack::Ok => Acks::InTurn,
            Ack::None => Acks::None,
        })
    }

    /// With acks of this kind: `PONG`s are cumulative, `+OK`s come in turn.
    #[must_use]
    pub const fn new(acks: Acks) -> Self {
        Self { acks }
    }
}

impl Talk for Nats {
    fn frames(&self, _way: Way) -> Box<dyn Frames> {
        Box::new(Operations)
    }

    fn acks(&self) -> Acks {
        self.acks
    }

    fn is_ack(&self, body: &[u8], sent: &mut dyn Iterator<Item = &[u8]>) -> bool {
        let is_ok = body.trim_ascii_end().eq_ignore_ascii_case(b"+OK");
        self.acks == Acks::InTurn && is_ok && sent.next().is_some()
    }
}

/// Cuts operations. A line that is not understood is one by itself.
#[derive(Debug)]
struct Operations;

/// The operations that have a payload.
const WITH_PAYLOAD: [&[u8]; 4] = [b"PUB", b"HPUB", b"MSG", b"HMSG"];

/// The length of the payload after a line, and where that is stated.
fn payload_bytes(line: &[u8]) -> Option<(usize, usize)> {
    let line = line.trim_ascii_end();
    let verb = line.split(u8::is_ascii_whitespace).next()?;
    let has = |one: &&[u8]| verb.eq_ignore_ascii_case(one);
    WITH_PAYLOAD.iter().find(|one| has(one))?;
    let at = line.iter().rposition(u8::is_ascii_whitespace)? + 1;
    let stated = std::str::from_utf8(&line[at..]).ok()?;
    Some((stated.parse().ok()?, at))
}

impl Frames for Operations {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let line = memchr(b'\n', bytes)? + 1;
        let length = match payload_bytes(&bytes[..line]) {
            Some((payload, _)) => line.saturating_add(payload).saturating_add(2),
            None => line,
        };
        let bytes = bytes.get(..length)?;
        Some(Frame {
            bytes,
            body: Cow::Borrowed(bytes),
            is_message: true,
        })
    }

    /// With the length that the payload has now.
    fn write(&self, _frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        let line = memchr(b'\n', body).map_or(body.len(), |lf| lf + 1);
        let payload = body.len().saturating_sub(line + 2);
        match payload_bytes(&body[..line]) {
            Some((stated, at)) if stated != payload => {
                out.extend_from_slice(&body[..at]);
                out.extend_from_slice(payload.to_string().as_bytes());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&body[line..]);
            }
            _ => out.extend_from_slice(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_length_that_its_line_says() {
        let stream = b"PING\r\nMSG chat.hall 1 5\r\nhe\r\no\r\nmsg a 2 inbox 0\r\n\r\n+OK\r\nMSG a 1 9\r\nunfi";
        let mut rest = &stream[..];
        let mut frames = Vec::new();
        while let Some(frame) = Operations.cut(rest) {
            frames.push(frame.bytes.escape_ascii().to_string());
            rest = &rest[frame.bytes.len()..];
        }
        let expected = [
            r"PING\r\n",
            r"MSG chat.hall 1 5\r\nhe\r\no\r\n",
            r"msg a 2 inbox 0\r\n\r\n",
            r"+OK\r\n",
        ];
        assert_eq!(frames, expected);
        assert_eq!(rest, b"MSG a 1 9\r\nunfi");
    }

    #[test]
    fn a_message_that_is_cut_short_says_so_in_its_line() {
        let whole = b"MSG chat.hall 12 inbox 11\r\nhello there\r\n";
        let frame = Operations.cut(whole).unwrap();
        let mut out = Vec::new();
        Operations.write(&frame, b"MSG chat.hall 12 inbox 11\r\nhello\r\n", &mut out);
        assert_eq!(out, b"MSG chat.hall 12 inbox 5\r\nhello\r\n");
        out.clear();
        Operations.write(&frame, whole, &mut out);
        assert_eq!(out, whole);
    }
}
