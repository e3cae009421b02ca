//! The reference protocol as a client speaks it: one JSON object per line.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr2;
use serde::Deserialize;

use super::wrong::{WrongTarget, first_line, quoted};
use super::{FrameBytes, USUAL_ADDRESS};
use crate::classic;
use crate::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer, SERVER_EXTRA_BYTES};
use crate::ndjson::welcome::{self, NotAWelcome};
use crate::ndjson::{self, ClientFrame, ErrorCode, Publish, ServerFrame};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::{
    AckOf, Capabilities, Complaint, Conn, Due, Glued, GluedFate, Malformed, Publishing, RawFrame,
    RawSent, Relay, Seen,
};

pub(super) const SCHEME: &str = "ndjson";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    numbers: true,
    welcome: true,
    bye: true,
    errors: true,
    claims: false,
    joins_in_order: false,
    rooms: true,
    senders: true,
    joined: true,
    left: true,
    at_once: true,
};

/// The shortest frame there is, with its LF: `{"type":"bye","seq":0}`.
pub(super) const SHORTEST_FRAME_BYTES: usize = 22;

/// More frames than any run has.
pub(super) const EVERYTHING: u64 = 1 << 56;

/// The longest line that is read from a target whose welcome allows longer ones.
const MAX_READ_LINE_BYTES: u64 = 64 << 20;

/// One connection.
#[derive(Debug)]
pub struct Ndjson {
    lines: LineBuffer,
    raw: Raw,
    welcomed: Welcomed,
    /// The rooms of the run, if it has any.
    rooms: Option<Arc<RoomNames>>,
}

/// The unfinished line of the bytes that a script sent.
#[derive(Debug, Default)]
pub(super) struct Raw(Option<Box<LineBuffer>>);

impl Raw {
    /// What bytes are that a script sends as they stand, to a target that takes lines of
    /// `max_frame_bytes`.
    pub(super) fn sent(&mut self, bytes: &[u8], max_frame_bytes: usize) -> RawSent {
        let raw = (self.0).get_or_insert_with(|| Box::new(LineBuffer::new(max_frame_bytes)));
        let mut sent = RawSent::default();
        let mut lines = raw.feed(bytes);
        while let Some(line) = lines.next() {
            sent.frames.push(match line {
                Ok(line) => raw_frame(line),
                Err(_) => RawFrame::Refused(Vec::new()),
            });
        }
        sent.unfinished = raw.pending_bytes() > 0;
        sent.is_right = !sent.unfinished && sent.frames.iter().all(RawFrame::is_right);
        sent
    }

    /// The fate of a publish that runs together with bytes that a script sent before.
    pub(super) fn glued(&mut self, publish: &[u8], id: u64) -> Option<Glued> {
        let raw = self.0.as_mut().filter(|raw| raw.pending_bytes() > 0)?;
        let mut lines = raw.feed(publish);
        let survives = matches!(
            lines.next(),
            Some(Ok(line)) if ndjson::decode_publish(line).is_ok_and(|p| p.id == Some(id))
        );
        Some(Glued {
            fate: match survives {
                true => GluedFate::Survives,
                false => GluedFate::Refused,
            },
            unfinished: raw.pending_bytes() > 0,
        })
    }
}

/// What a connection learns of its target by the welcome.
#[derive(Debug, Default)]
pub(super) struct Welcomed {
    /// The longest frame that the target takes, as its welcome states; 0 before that.
    max_line: u64,
    /// The welcome was just read: from the next frame on, frames may be as long as it says.
    is_news: bool,
}

impl Welcomed {
    /// The longest frame that the target sends, if it was just welcomed: it takes frames as its
    /// welcome says, and its own may be as long, and somewhat longer (F2).
    #[inline]
    pub(super) fn longest_frame(&mut self) -> Option<usize> {
        if !self.is_news {
            return None;
        }
        self.is_news = false;
        let longest = self.max_line.saturating_add(SERVER_EXTRA_BYTES as u64);
        Some(longest.min(MAX_READ_LINE_BYTES) as usize)
    }

    /// The longest frame that the target takes, if it has said so.
    pub(super) fn max_frame_bytes(&self) -> Option<u64> {
        (self.max_line > 0).then_some(self.max_line)
    }
}

/// The beginning of a relay in a named room, as servers write it.
const RELAY_IN_ROOM: &[u8] = br#"{"type":"relay","room":""#;

impl Ndjson {
    /// A connection that reads lines of at most `max_line_bytes`, until its welcome allows longer
    /// ones.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            lines: LineBuffer::new(max_line_bytes),
            raw: Raw::default(),
            welcomed: Welcomed::default(),
            rooms: None,
        }
    }

    /// The same connection, of a run that has these rooms.
    pub(super) fn with_rooms(mut self, rooms: Arc<RoomNames>) -> Self {
        self.rooms = (!rooms.is_empty()).then_some(rooms);
        self
    }

    /// The name of a room of the run, if it has one.
    fn name(&self, room: RoomId) -> Option<&str> {
        let rooms = self.rooms.as_ref()?;
        room.is_named().then(|| rooms.name(room))
    }

    /// The fate of a publish that runs together with bytes that a script sent before.
    pub(super) fn glued(&mut self, publish: &[u8], id: u64) -> Option<Glued> {
        self.raw.glued(publish, id)
    }
}

impl Conn for Ndjson {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        self.lines.take_if(input, due.frame)
    }

    #[inline]
    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        _out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        if let Some(longest) = self.welcomed.longest_frame() {
            self.lines.allow(longest);
        }
        let line = match self.lines.next_in(input)? {
            Ok(line) => line,
            // After it the stream cannot be read: whatever is missing then follows from it.
            Err(too_long) => {
                let malformed = Malformed {
                    what: too_long.to_string().into(),
                    frame: Cow::Borrowed(&[]),
                    could_hide: EVERYTHING,
                };
                return Some((RoomId::UNNAMED, Seen::Malformed(malformed)));
            }
        };
        let rooms = self.rooms.as_deref();
        Some(observe(line.text, line.whole, rooms, &mut self.welcomed))
    }

    #[inline]
    fn room_of_next(&self, input: &[u8]) -> RoomId {
        if self.rooms.is_none() || self.lines.pending_bytes() > 0 {
            return RoomId::UNNAMED;
        }
        room_of_relay(input, self.rooms.as_deref())
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        let name = self.name(room);
        name.map(|name| ndjson::rooms::encode_join(out, name, None))
            .is_some()
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        let name = self.name(room);
        name.map(|name| ndjson::rooms::encode_leave(out, name, None))
            .is_some()
    }

    fn unread(&self) -> &[u8] {
        self.lines.pending()
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        let start = out.len();
        let frame = Publish {
            message: publish.text.into(),
            id: Some(publish.id),
            client_ip: publish.claims.map(Cow::Borrowed),
            room: self.name(publish.room).map(Cow::Borrowed),
        };
        ndjson::encode_publish(out, &frame);
        self.glued(&out[start..], publish.id)
    }

    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], max_frame_bytes: usize) -> RawSent {
        out.extend_from_slice(bytes);
        self.raw.sent(bytes, max_frame_bytes)
    }

    fn max_frame_bytes(&self) -> Option<u64> {
        self.welcomed.max_frame_bytes()
    }
}

/// What a frame says, and in which room: `text` is the frame, and `whole` all that stands for it on
/// the wire. Whoever carries frames in something else than lines takes them from here, too.
#[inline(always)] // a line costs 40 instructions more where it is a call
pub(super) fn observe<'a>(
    text: &'a [u8],
    whole: &'a [u8],
    rooms: Option<&RoomNames>,
    welcomed: &mut Welcomed,
) -> (RoomId, Seen<'a>) {
    let mut room = RoomId::UNNAMED;
    let mut of = |name: &Option<Cow<'_, str>>| {
        if let Some(name) = name {
            room = room_of(rooms, name);
        }
    };
    let seen = match ndjson::decode_server(text) {
        Ok(ServerFrame::Relay {
            room,
            seq,
            client_ip,
            message,
        }) => {
            of(&room);
            Seen::Relay(Relay {
                frame: whole,
                text: match message {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                },
                from: client_ip,
                seq,
            })
        }
        Ok(ServerFrame::Ack { room, seq, id }) => {
            of(&room);
            Seen::Ack {
                of: id.map_or(AckOf::NoId, AckOf::Id),
                seq,
            }
        }
        Ok(ServerFrame::Welcome { protocol, .. }) if protocol != ndjson::PROTOCOL_VERSION => {
            let ours = ndjson::PROTOCOL_VERSION;
            Seen::Malformed(Malformed {
                what: format!("a welcome to protocol {protocol}, where {ours} is spoken").into(),
                frame: Cow::Borrowed(&[]),
                could_hide: 0,
            })
        }
        Ok(ServerFrame::Welcome {
            client_ip,
            seq,
            max_line,
            ..
        }) => {
            welcomed.max_line = max_line.max(1);
            welcomed.is_news = true;
            Seen::Open { seq, me: client_ip }
        }
        Ok(ServerFrame::Joined { room, seq, .. }) => {
            of(&Some(room));
            let me = Cow::Borrowed("");
            Seen::Open { seq, me }
        }
        Ok(ServerFrame::Left { room, seq, .. }) => {
            of(&Some(room));
            Seen::Bye { seq }
        }
        Ok(ServerFrame::Error {
            room,
            code,
            detail,
            id,
        }) => {
            of(&room);
            Seen::Error(Complaint {
                cuts_off: code == ErrorCode::SlowConsumer.as_str(),
                code,
                detail,
                of: id,
            })
        }
        Ok(ServerFrame::Bye { seq }) => Seen::Bye { seq },
        Ok(ServerFrame::Unknown) => Seen::Unknown,
        Err(malformed) => Seen::Malformed(Malformed {
            what: malformed.detail.into(),
            frame: text.into(),
            could_hide: (text.len() / SHORTEST_FRAME_BYTES) as u64,
        }),
    };
    (room, seen)
}

/// The room of the relay that `input` begins with, as far as its first bytes tell.
#[inline]
pub(super) fn room_of_relay(input: &[u8], rooms: Option<&RoomNames>) -> RoomId {
    let name = input.strip_prefix(RELAY_IN_ROOM).and_then(|rest| {
        let end = memchr2(b'"', b'\\', rest)?;
        (rest[end] == b'"').then_some(&rest[..end])
    });
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    name.map_or(RoomId::UNNAMED, |name| room_of(rooms, name))
}

/// The room of this name.
fn room_of(rooms: Option<&RoomNames>, name: &str) -> RoomId {
    rooms.map_or(RoomId::UNKNOWN, |rooms| rooms.id(name))
}

impl RawFrame {
    pub(super) const fn is_right(&self) -> bool {
        matches!(self, Self::Publish(_))
    }
}

/// A frame that a script sent, as a server takes it.
fn raw_frame(frame: &[u8]) -> RawFrame {
    match ndjson::decode_client(frame) {
        Ok(
            ClientFrame::Join { .. }
            | ClientFrame::Leave { .. }
            | ClientFrame::Publish(Publish { room: Some(_), .. }),
        ) => RawFrame::InRoom,
        _ => raw_publish(frame),
    }
}

/// A frame that a script sent, as a server takes it that has no rooms.
pub(super) fn raw_publish(frame: &[u8]) -> RawFrame {
    match ndjson::decode_publish(frame) {
        Ok(publish) if !publish.message.is_empty() => {
            RawFrame::Publish(publish.message.into_owned())
        }
        _ => RawFrame::Refused(texts_of_refused(frame)),
    }
}

/// The texts that a server may relay which relays `frame` instead of refusing it: the frame as it
/// is, or the message in it.
fn texts_of_refused(frame: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct MessageOnly<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    let message = serde_json::from_slice::<MessageOnly<'_>>(frame).ok();
    let message = message.map(|m| m.message.into_owned());
    let whole = String::from_utf8_lossy(frame).into_owned();
    message.into_iter().chain([whole]).collect()
}

/// The fault in what a target said in place of a welcome, once that is a whole line, or longer than
/// one may be.
pub(super) fn wrong(heard: &[u8], ended: bool, max_seq: u64) -> Option<WrongTarget> {
    let too_long = heard.len() > DEFAULT_MAX_LINE_BYTES + SERVER_EXTRA_BYTES;
    let line = first_line(heard);
    if !ended && line.is_none() && !too_long {
        return None;
    }
    if classic::is_spoken_in(heard) {
        return Some(WrongTarget::Speaks(super::Protocol::Classic));
    }
    let Some(line) = line else {
        return Some(WrongTarget::NoLine {
            bytes: heard.len(),
            got: quoted(heard),
        });
    };
    match ndjson::decode_server(line) {
        Ok(ServerFrame::Error { code, detail, .. }) => {
            return Some(WrongTarget::Refused {
                code: code.into_owned(),
                detail: detail.into_owned(),
            });
        }
        Ok(ServerFrame::Welcome { seq, .. }) if seq > max_seq => {
            return Some(WrongTarget::NumbersTooLarge { seq, max_seq });
        }
        _ => {}
    }
    let got = quoted(line);
    Some(match welcome::not_a_welcome(line) {
        Some(
            what @ (NotAWelcome::NoObject(_) | NotAWelcome::NoType | NotAWelcome::AnotherType(_)),
        ) => WrongTarget::NotNdjson { what, got },
        Some(what) => WrongTarget::WrongWelcome { what, got },
        // A right welcome came after something that is none.
        None => WrongTarget::NoLine {
            bytes: heard.len(),
            got,
        },
    })
}

pub(super) fn frame_bytes() -> FrameBytes {
    let (seq, id) = (1_000_000, Some(1_000_000));
    let (mut publish, mut ack, mut relay) = (Vec::new(), Vec::new(), Vec::new());
    ndjson::encode_publish(
        &mut publish,
        &Publish {
            message: "".into(),
            id,
            client_ip: None,
            room: None,
        },
    );
    ndjson::encode_ack(&mut ack, seq, id);
    ndjson::encode_relay(&mut relay, seq, USUAL_ADDRESS, "");
    FrameBytes {
        publish: publish.len(),
        ack: ack.len(),
        relay: relay.len(),
    }
}
