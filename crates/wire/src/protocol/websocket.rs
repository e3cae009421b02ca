//! The reference protocol over WebSocket, as a client speaks it: the same frames as over
//! [`ndjson`](super::ndjson), each a text message, without line ends.

use std::borrow::Cow;
use std::sync::Arc;

use super::ndjson::{EVERYTHING, Raw, Welcomed, observe, room_of_relay};
use super::wrong::WrongTarget;
use super::{FrameBytes, Opening};
use crate::line::{DEFAULT_MAX_LINE_BYTES, SERVER_EXTRA_BYTES};
use crate::ndjson::{self, Publish};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::{Capabilities, Conn, Due, Glued, Goodbye, Malformed, Publishing, RawSent, Seen};
use crate::websocket::{Client, Incoming, Kind, Refused, Request, code, end_of_head};

pub(super) const SCHEME: &str = "ws";

pub(super) const CAPABILITIES: Capabilities = super::ndjson::CAPABILITIES;

/// One connection.
#[derive(Debug)]
pub struct WebSocket {
    client: Client,
    welcomed: Welcomed,
    /// The rooms of the run, if it has any.
    rooms: Option<Arc<RoomNames>>,
    /// Why the client will not be taken in.
    trouble: Option<Box<str>>,
    /// The unfinished line of the bytes that a script sent.
    raw: Raw,
    /// Fragments of it were sent.
    is_in_message: bool,
}

impl WebSocket {
    /// A connection that begins with the request to upgrade.
    #[must_use]
    pub(super) fn open(opening: &Opening<'_>, out: &mut Vec<u8>) -> Self {
        let request = Request {
            host: match opening.host {
                "" => "localhost",
                host => host,
            },
            path: &match opening.path {
                path if path.starts_with('/') => Cow::Borrowed(path),
                query => Cow::Owned(format!("/{query}")), // or nothing at all
            },
            subprotocols: &[],
            fields: &[],
        };
        let rooms = &opening.rooms;
        Self {
            client: Client::open(&request, opening.draw, opening.max_frame_bytes, out),
            welcomed: Welcomed::default(),
            rooms: (!rooms.is_empty()).then(|| Arc::clone(rooms)),
            trouble: None,
            raw: Raw::default(),
            is_in_message: false,
        }
    }

    /// The name of a room of the run, if it has one.
    fn name(&self, room: RoomId) -> Option<&str> {
        let rooms = self.rooms.as_ref()?;
        room.is_named().then(|| rooms.name(room))
    }

    /// Appends a frame, which `encode` writes as a line, if it writes any. Returns whether it did.
    fn send(&mut self, out: &mut Vec<u8>, encode: impl FnOnce(&Self, &mut Vec<u8>)) -> bool {
        let start = out.len();
        let begun = self.client.begin(out, Kind::Text);
        let before = out.len();
        encode(self, out);
        if out.len() == before {
            out.truncate(start);
            return false;
        }
        out.pop(); // the LF
        self.client.end(out, begun);
        true
    }
}

impl Conn for WebSocket {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        self.client.take_if(input, due.frame)
    }

    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        if self.client.is_shaking_hands() {
            self.shake_hands(input, out);
        }
        if let Some(longest) = self.welcomed.longest_frame() {
            self.client.allow(longest);
        }
        let malformed = |what, frame| {
            let malformed = Malformed {
                what,
                frame,
                could_hide: EVERYTHING,
            };
            Some((RoomId::UNNAMED, Seen::Malformed(malformed)))
        };
        match self.client.next_but_pings(input, out)? {
            Incoming::Message {
                kind: Kind::Text,
                payload,
                frame,
            } => {
                let rooms = self.rooms.as_deref();
                Some(observe(payload, frame, rooms, &mut self.welcomed))
            }
            Incoming::Message {
                kind: Kind::Binary,
                payload,
                ..
            } => {
                let malformed = Malformed {
                    what: "a binary message, where frames are text".into(),
                    frame: payload.into(),
                    could_hide: 1,
                };
                Some((RoomId::UNNAMED, Seen::Malformed(malformed)))
            }
            Incoming::Fault(fault) => malformed(fault.to_string().into(), Cow::Borrowed(&[])),
            Incoming::Closed { code, reason } => {
                if self.welcomed.max_frame_bytes().is_none() {
                    self.trouble = Some(closed_before_welcome(code, reason).into());
                }
                None
            }
            // The handshake is over, and pings are passed over.
            Incoming::Open { .. }
            | Incoming::Refused(_)
            | Incoming::Ping(_)
            | Incoming::Pong(_) => None,
        }
    }

    #[inline]
    fn room_of_next(&self, input: &[u8]) -> RoomId {
        if self.rooms.is_none() || !self.client.unread().is_empty() {
            return RoomId::UNNAMED;
        }
        let header_bytes = match input.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        let payload = input.get(header_bytes..).unwrap_or_default();
        room_of_relay(payload, self.rooms.as_deref())
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.send(out, |conn, out| {
            if let Some(name) = conn.name(room) {
                ndjson::rooms::encode_join(out, name, None);
            }
        })
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.send(out, |conn, out| {
            if let Some(name) = conn.name(room) {
                ndjson::rooms::encode_leave(out, name, None);
            }
        })
    }

    fn unread(&self) -> &[u8] {
        self.client.unread()
    }

    fn is_ready(&self) -> bool {
        self.client.is_open()
    }

    fn awaited(&self) -> Cow<'static, str> {
        match self.client.is_open() {
            true => "welcome".into(),
            false => "answer to the WebSocket handshake".into(),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.as_deref().map(str::to_owned)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Goodbye {
        self.client.close(out, code::NORMAL);
        Goodbye::Said
    }

    fn is_over(&self) -> bool {
        self.client.is_closed()
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        let encode = |conn: &Self, out: &mut Vec<u8>| {
            let frame = Publish {
                message: publish.text.into(),
                id: Some(publish.id),
                client_ip: publish.claims.map(Cow::Borrowed),
                room: conn.name(publish.room).map(Cow::Borrowed),
            };
            ndjson::encode_publish(out, &frame);
        };
        if !self.is_in_message {
            self.send(out, encode);
            return None;
        }
        let mut line = Vec::new();
        encode(self, &mut line);
        self.send_piece(out, &line);
        self.raw.glued(&line, publish.id)
    }

    /// Each line of it is a message, so that a script does the same here as over ndjson; a line
    /// without its end is the first fragment of one.
    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], max_frame_bytes: usize) -> RawSent {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.send_piece(out, piece);
        }
        self.raw.sent(bytes, max_frame_bytes)
    }

    fn max_frame_bytes(&self) -> Option<u64> {
        self.welcomed.max_frame_bytes()
    }
}

impl WebSocket {
    /// Appends a line, or a part of one, that a script sends.
    fn send_piece(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        let is_last = piece.ends_with(b"\n");
        let payload = piece.strip_suffix(b"\n").unwrap_or(piece);
        if payload.trim_ascii().is_empty() && is_last && !self.is_in_message {
            return; // a blank line
        }
        let kind = match std::str::from_utf8(payload) {
            Ok(_) => Kind::Text,
            Err(_) => Kind::Binary,
        };
        let first = (!self.is_in_message).then_some(kind);
        self.client.fragment(out, first, payload, is_last);
        self.is_in_message = !is_last;
    }

    /// The fate of a publish that was sent as these bytes, if it runs together with others.
    pub(super) fn glued(&mut self, publish: &[u8], id: u64) -> Option<Glued> {
        self.raw.glued(publish, id)
    }

    /// Takes what of the handshake is in the read.
    #[cold]
    fn shake_hands(&mut self, input: &mut &[u8], out: &mut Vec<u8>) {
        if let Some(Incoming::Refused(refused)) = self.client.next(input, out) {
            self.trouble = Some(refused.to_string().into());
        }
    }
}

fn closed_before_welcome(code: Option<u16>, reason: &str) -> String {
    let code = code.map_or("no code".to_owned(), |code| format!("code {code}"));
    match reason {
        "" => format!("it closed the WebSocket with {code} before the welcome"),
        reason => format!("it closed the WebSocket with {code} before the welcome: {reason}"),
    }
}

/// The fault in what a target said in place of a welcome, once that is a whole message. What is
/// wrong with an answer to the handshake that came whole, [`Conn::trouble`] says.
pub(super) fn wrong(heard: &[u8], ended: bool, max_seq: u64) -> Option<WrongTarget> {
    if ended && let Some(refused) = refused_in_the_middle(heard) {
        return Some(WrongTarget::Handshake(refused));
    }
    let mut frames = &heard[end_of_head(heard)?..];
    let mut client = Client::opened(DEFAULT_MAX_LINE_BYTES + SERVER_EXTRA_BYTES);
    let first = client.next_but_pings(&mut frames, &mut Vec::new());
    let Some(Incoming::Message { payload, .. }) = first else {
        return None;
    };
    let line = [payload, b"\n"].concat();
    match super::ndjson::wrong(&line, false, max_seq)? {
        WrongTarget::NotNdjson { what, got } => Some(WrongTarget::NotReference { what, got }),
        // A right welcome, and something after it that is none.
        WrongTarget::NoLine { .. } => None,
        wrong => Some(wrong),
    }
}

/// What an answer to the handshake amounts to that ends before it is whole.
fn refused_in_the_middle(heard: &[u8]) -> Option<Refused> {
    let request = Request {
        host: "-",
        path: "/",
        subprotocols: &[],
        fields: &[],
    };
    let mut client = Client::open(&request, 0, 0, &mut Vec::new());
    let whole = client.next(&mut &heard[..], &mut Vec::new());
    whole.is_none().then_some(())?;
    match client.finish() {
        Some(Incoming::Refused(refused)) => Some(refused),
        _ => None,
    }
}

pub(super) fn frame_bytes() -> FrameBytes {
    let FrameBytes {
        publish,
        ack,
        relay,
    } = super::ndjson::frame_bytes();
    // A header in place of the LF: of two bytes for an ack, of four for a usual text, and a mask.
    FrameBytes {
        publish: publish - 1 + 4 + 4,
        ack: ack - 1 + 2,
        relay: relay - 1 + 4,
    }
}
