//! The original's protocol as its client speaks it: JSON objects out, texts that run together in.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::ndjson::{SHORTEST_FRAME_BYTES, raw_publish};
use super::wrong::{WrongTarget, quoted};
use super::{FrameBytes, Protocol, USUAL_ADDRESS};
use crate::classic::objects::ObjectBuffer;
use crate::classic::texts::{Cut, TextBuffer};
use crate::classic::{self, RELAY};
use crate::ndjson::{ServerFrame, decode_server};
use crate::rooms::RoomId;
use crate::seen::{
    AckOf, Capabilities, Conn, Due, Glued, GluedFate, Malformed, Publishing, RawFrame, RawSent,
    Relay, Seen,
};

pub(super) const SCHEME: &str = "classic";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    numbers: false,
    welcome: false,
    bye: false,
    errors: false,
    claims: true,
    joins_in_order: true,
    rooms: false,
    senders: true,
    joined: true,
    left: true,
    at_once: true,
};

/// Bytes of an unfinished text that are kept.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct Classic {
    texts: TextBuffer,
    /// A text whose end is not known yet.
    open: Option<Box<OpenText>>,
    /// A text that has ended and is lent out; and in `after` the piece that came next, which shows
    /// that it has ended.
    ended: Option<Box<OpenText>>,
    after: Option<Box<Cut>>,
    /// The unfinished object of the bytes that a script sent.
    raw: Option<Box<ObjectBuffer>>,
    /// The address that this side claims, as the original's client does: its own.
    claim: Box<str>,
}

/// A text without a stated length. It ends where the next one begins.
#[derive(Debug, Default)]
struct OpenText {
    /// All of it; a relay from its address on.
    frame: Vec<u8>,
    /// Whose relay it is, and where its message begins; `None` for what is no relay at all.
    relay: Option<(SocketAddr, usize)>,
}

impl Classic {
    /// A connection whose own end is `local`, which takes load messages of at most
    /// `max_message_bytes` for such.
    #[must_use]
    pub fn new(local: Option<SocketAddr>, max_message_bytes: usize) -> Self {
        let claim = local.map(|address| address.to_string());
        Self {
            texts: TextBuffer::new(max_message_bytes),
            open: None,
            ended: None,
            after: None,
            raw: None,
            claim: claim.unwrap_or_default().into(),
        }
    }

    /// The address that this side claims.
    #[must_use]
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The fate of a publish that runs together with bytes that a script sent before: an object
    /// that has begun takes the next one's brace for its own.
    pub(super) fn glued(&mut self, publish: &[u8]) -> Option<Glued> {
        let raw = self.raw.as_mut().filter(|raw| raw.pending_bytes() > 0)?;
        let mut objects = raw.feed(publish);
        while let Some(Ok(_)) = objects.next() {}
        Some(Glued {
            fate: GluedFate::Swallowed,
            unfinished: raw.pending_bytes() > 0,
        })
    }

    /// Moves the bytes of a read into the buffer.
    #[inline]
    fn feed(&mut self, input: &mut &[u8]) {
        if !input.is_empty() {
            self.texts.feed(input);
            *input = &[];
        }
    }

    /// The text that has just ended.
    fn ended(&self) -> Option<Seen<'_>> {
        let OpenText { frame, relay } = &**self.ended.as_ref()?;
        Some(match relay {
            Some((by, begins)) => Seen::Relay(Relay {
                frame,
                text: Cow::Borrowed(&frame[*begins..]),
                from: by.to_string().into(),
                seq: 0,
            }),
            None => Seen::Malformed(Malformed {
                what: Cow::Borrowed(""),
                frame: frame.into(),
                could_hide: (frame.len() / SHORTEST_FRAME_BYTES) as u64,
            }),
        })
    }

    fn cut(&mut self, at_end: bool) -> Option<Seen<'_>> {
        loop {
            let after = self.after.take().map(|cut| *cut);
            let Some(cut) = after.or_else(|| self.texts.cut(at_end)) else {
                // At the end of the stream, an open text has ended too.
                self.ended = self.open.take_if(|_| at_end);
                return self.ended();
            };
            if self.open.is_some() && !matches!(cut, Cut::Text(_)) {
                self.ended = self.open.take();
                self.after = Some(Box::new(cut));
                return self.ended();
            }
            match cut {
                Cut::Ack(by) => {
                    return Some(Seen::Ack {
                        of: AckOf::Oldest(by),
                        seq: 0,
                    });
                }
                Cut::Relay { by, whole, message } => {
                    return Some(Seen::Relay(Relay {
                        frame: self.texts.held(whole),
                        text: Cow::Borrowed(self.texts.held(message)),
                        from: by.to_string().into(),
                        seq: 0,
                    }));
                }
                Cut::RelayBegins(by) => {
                    let frame = [by.to_string().as_bytes(), RELAY.as_bytes()].concat();
                    let relay = Some((by, frame.len()));
                    self.open = Some(Box::new(OpenText { frame, relay }));
                }
                Cut::Text(text) => {
                    let open = self.open.get_or_insert_default();
                    let begins = open.relay.map_or(0, |(_, begins)| begins);
                    let room = (begins + MAX_TEXT_BYTES).saturating_sub(open.frame.len());
                    let text = self.texts.held(text);
                    open.frame.extend_from_slice(&text[..text.len().min(room)]);
                }
            }
        }
    }
}

impl Conn for Classic {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        self.feed(input);
        self.open.is_none() && self.after.is_none() && self.texts.take_if(due.frame)
    }

    #[inline]
    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        _out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        self.feed(input);
        Some((RoomId::UNNAMED, self.cut(false)?))
    }

    /// Takes what might have begun something longer as what it is: nothing follows.
    fn finish(&mut self) -> Option<(RoomId, Seen<'_>)> {
        self.texts.finish();
        Some((RoomId::UNNAMED, self.cut(true)?))
    }

    fn unread(&self) -> &[u8] {
        self.texts.pending()
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        let start = out.len();
        let client_ip = publish.claims.unwrap_or(&self.claim);
        classic::encode_publish(out, client_ip, publish.text);
        self.glued(&out[start..])
    }

    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], max_frame_bytes: usize) -> RawSent {
        out.extend_from_slice(bytes);
        let raw = (self.raw).get_or_insert_with(|| Box::new(ObjectBuffer::new(max_frame_bytes)));
        let mut sent = RawSent::default();
        let mut objects = raw.feed(bytes);
        let mut is_right = true;
        while let Some(object) = objects.next() {
            let Ok(object) = object else {
                // No object at all: whatever a server makes of it, it was not to.
                sent.frames.push(raw_publish(bytes));
                is_right = false;
                break;
            };
            sent.frames.push(raw_publish(object));
        }
        sent.unfinished = raw.pending_bytes() > 0;
        sent.is_right = is_right && !sent.unfinished && sent.frames.iter().all(RawFrame::is_right);
        sent
    }
}

/// The reason why the first text that a target said to any client is no classic server's, if it is
/// none. An address stands first in whatever such a server says, right or wrong.
pub(super) fn wrong(heard: &[u8]) -> Option<WrongTarget> {
    match heard.first()? {
        b'0'..=b'9' | b'[' => None,
        _ => {
            let line = heard.split(|&b| b == b'\n').next().unwrap_or(heard);
            Some(match decode_server(line) {
                Ok(ServerFrame::Welcome { .. }) => WrongTarget::Speaks(Protocol::Ndjson),
                _ => WrongTarget::NotClassic { got: quoted(line) },
            })
        }
    }
}

pub(super) fn frame_bytes() -> FrameBytes {
    let (mut publish, mut ack, mut relay) = (Vec::new(), Vec::new(), Vec::new());
    classic::encode_publish(&mut publish, USUAL_ADDRESS, "");
    classic::encode_ack(&mut ack, USUAL_ADDRESS);
    classic::encode_relay(&mut relay, USUAL_ADDRESS, "");
    FrameBytes {
        publish: publish.len(),
        ack: ack.len(),
        relay: relay.len(),
    }
}
