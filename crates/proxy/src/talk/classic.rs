//! The original's dialect: JSON objects up, texts that run together down.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;

use chatbench_wire::classic::objects::ObjectBuffer;
use chatbench_wire::classic::{ACK, RELAY};
use chatbench_wire::payload;
use memchr::memmem;

use super::{Acks, Frame, Frames, Talk, Way, client_ip};

/// How a server of the original's dialect talks.
#[derive(Debug)]
pub struct Classic;

/// The longest address: IPv6 with a scope.
const MAX_ADDRESS_BYTES: usize = 64;

/// Bytes of a load message up to the end of its length.
const LENGTH_STATED_BYTES: usize = 7;

impl Talk for Classic {
    fn frames(&self, way: Way) -> Box<dyn Frames> {
        match way {
            Way::Up => Box::new(Objects),
            Way::Down => Box::new(Texts),
        }
    }

    fn acks(&self) -> Acks {
        Acks::InTurn
    }

    fn is_ack(&self, body: &[u8], _sent: &mut dyn Iterator<Item = &[u8]>) -> bool {
        body.ends_with(ACK.as_bytes())
    }

    fn address(&self, way: Way, body: &[u8]) -> Option<Range<usize>> {
        match way {
            Way::Up => client_ip(body),
            Way::Down => {
                let (phrase, _) = first_phrase(body)?;
                address_before(body, phrase)
            }
        }
    }

    fn names_senders(&self) -> bool {
        true
    }
}

/// Objects, one after another.
#[derive(Debug)]
struct Objects;

impl Frames for Objects {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let begins = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let mut buffer = ObjectBuffer::new(bytes.len() + 1);
        let length = match buffer.feed(bytes).next()? {
            Ok(object) => begins + object.len(),
            Err(_) => bytes.len(), // the target closes
        };
        Some(Frame {
            bytes: &bytes[..length],
            body: Cow::Borrowed(&bytes[..length]),
            is_message: true,
        })
    }

    fn write(&self, _frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
    }
}

/// Acks, and relays of load messages. A relay of anything else is cut after its phrase, and its text
/// goes on with what follows it.
#[derive(Debug)]
struct Texts;

impl Frames for Texts {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let (at, phrase) = first_phrase(bytes)?;
        let end = at + phrase.len();
        let text = &bytes[end..];
        let length = match phrase == RELAY && may_be_load_message(text) {
            false => 0,
            true if text.len() < LENGTH_STATED_BYTES => return None,
            true => payload::stated_length(text).unwrap_or(0),
        };
        let bytes = bytes.get(..end + length)?;
        Some(Frame {
            bytes,
            body: Cow::Borrowed(bytes),
            is_message: true,
        })
    }

    fn write(&self, _frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
    }
}

fn may_be_load_message(text: &[u8]) -> bool {
    let there = text.len().min(payload::MAGIC.len());
    text[..there] == payload::MAGIC[..there]
}

/// The first of the two phrases, and where it stands.
fn first_phrase(text: &[u8]) -> Option<(usize, &'static str)> {
    let found = [ACK, RELAY].into_iter().filter_map(|phrase| {
        let at = memmem::find(text, phrase.as_bytes())?;
        Some((at, phrase))
    });
    found.min_by_key(|(at, _)| *at)
}

/// The longest address that ends at `end`.
fn address_before(text: &[u8], end: usize) -> Option<Range<usize>> {
    (end.saturating_sub(MAX_ADDRESS_BYTES)..end).find_map(|at| {
        let address = std::str::from_utf8(&text[at..end]).ok()?;
        address.parse::<SocketAddr>().ok().map(|_| at..end)
    })
}
