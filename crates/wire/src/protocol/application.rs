//! An application's own protocol, as its description says ([`Spec`]): over WebSocket messages, or over
//! a byte stream that a separator divides.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use super::{FrameBytes, Opening};
use crate::application::session::{Session, What};
use crate::application::spec::{Spec, Transport};
use crate::application::template::NoValue;
use crate::application::variables::Values;
use crate::rooms::RoomId;
use crate::seen::{
    AckOf, Complaint, Conn, Due, Glued, Goodbye, Malformed, Publishing, RawSent, Relay, Seen,
};
use crate::websocket::{Client, Incoming, Kind, Request, code};

mod cutter;

use cutter::{Cut, Cutter};

/// One connection.
#[derive(Debug)]
pub struct Application {
    link: Link,
    session: Box<Session>,
    /// What is left of a frame that has several messages in it.
    rest: Rest,
    /// Messages can be sent and come.
    ready: bool,
    /// The target has said that nothing follows.
    over: bool,
    trouble: Option<Box<str>>,
    /// Whether the run has rooms, so that it is not clear in which a message was published.
    has_rooms: bool,
}

/// How messages become bytes.
#[derive(Debug)]
enum Link {
    WebSocket(Box<Client>, Kind),
    Stream(Cutter),
}

/// The rest of a frame that has several messages in it.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    at: usize,
    /// It begins inside of a message, of which only further deliveries are of interest.
    inside: bool,
}

/// A buffer up to this size is kept for the next frame with several messages.
const KEEP_REST_BYTES: usize = 512;

/// The fewest bytes that a frame takes which a longer one could hide.
const SHORTEST_FRAME_BYTES: usize = 16;

/// More frames than any run has.
const EVERYTHING: u64 = 1 << 56;

impl Application {
    /// A connection that is opened as `opening` says; what it begins with is appended to `out`.
    #[must_use]
    pub fn open(spec: &Arc<Spec>, opening: &Opening<'_>, out: &mut Vec<u8>) -> Self {
        let rooms = Arc::clone(&opening.rooms);
        let has_rooms = !rooms.is_empty();
        let me = opening.me;
        let session = Box::new(Session::new(
            Arc::clone(spec),
            rooms,
            opening.run,
            me.name,
            me.number,
        ));
        let mut trouble = None;
        let (link, ready) = match &spec.transport {
            Transport::Stream => {
                let separator = spec.split.clone().unwrap_or_else(|| b"\n"[..].into());
                let cutter = Cutter::new(separator, opening.max_frame_bytes);
                (Link::Stream(cutter), true)
            }
            Transport::WebSocket { binary, .. } => {
                let kind = if *binary { Kind::Binary } else { Kind::Text };
                let asked = Asked::of(&session, opening);
                let client = match asked {
                    Ok(asked) => asked.open(opening, out),
                    Err(wrong) => {
                        trouble = Some(wrong.into());
                        Asked::default().open(opening, &mut Vec::new())
                    }
                };
                (Link::WebSocket(Box::new(client), kind), false)
            }
        };
        let mut conn = Self {
            link,
            session,
            rest: Rest::default(),
            ready,
            over: false,
            trouble,
            has_rooms,
        };
        if ready {
            conn.session.begin();
            conn.flush(out);
        }
        conn
    }

    /// The state of its client over messages.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Appends the messages that are to be sent.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let Self { link, session, .. } = self;
        session.drain(|message| match link {
            Link::WebSocket(client, kind) => client.send(out, *kind, message),
            Link::Stream(_) => out.extend_from_slice(message),
        });
    }

    /// The next message of a frame that has several.
    fn next_of_rest(&mut self) -> (RoomId, Seen<'_>) {
        let Self { rest, session, .. } = self;
        let Rest { bytes, at, inside } = rest;
        let left = &bytes[*at..];
        let split = session.spec().split.clone();
        let end = split.as_ref().and_then(|split| memmem::find(left, split));
        let (part, after) = match (end, &split) {
            (Some(end), Some(split)) => (&left[..end], *at + end + split.len()),
            _ => (left, bytes.len()),
        };
        let begin = *at;
        let found = match *inside {
            true => session.next_delivery(part, 0).map(What::Delivery),
            false => Some(session.take(part).what),
        };
        if let Some(What::Delivery(place)) = &found
            && let Some(next) = next_distinct(session, part, place)
        {
            (*at, *inside) = (begin + next, true);
        } else {
            (*at, *inside) = (after, false);
        }
        let has_rooms = self.has_rooms;
        match found {
            Some(what) => observe(&self.session, has_rooms, what, part, part),
            None => (RoomId::UNNAMED, Seen::Control),
        }
    }
}

/// Where the next message in a frame begins that is not the one at `place` over again.
fn next_distinct(session: &mut Session, frame: &[u8], place: &Range<usize>) -> Option<usize> {
    let mut from = place.end;
    while let Some(next) = session.next_delivery(frame, from) {
        if frame[next.clone()] != frame[place.clone()] {
            return Some(next.start);
        }
        from = next.end;
    }
    None
}

/// Takes a frame apart: the first message in it is taken now, and what follows it is kept.
fn first_of<'f>(session: &mut Session, rest: &mut Rest, payload: &'f [u8]) -> (What, &'f [u8]) {
    let spec = Arc::clone(session.spec());
    let (begin, end, after) = first_part(payload, spec.split.as_deref());
    let part = &payload[begin..end];
    let what = session.take(part).what;
    if let What::Delivery(place) = &what
        && let Some(next) = next_distinct(session, part, place)
    {
        rest.keep(&payload[begin + next..], true); // of this message, and all that follows it
    } else if after < payload.len() {
        rest.keep(&payload[after..], false);
    }
    (what, part)
}

/// Where the first part of a frame that is not empty begins and ends, and what follows it begins.
fn first_part(payload: &[u8], split: Option<&[u8]>) -> (usize, usize, usize) {
    let whole = payload.len();
    let Some(split) = split else {
        return (0, whole, whole);
    };
    let mut begin = 0;
    while let Some(length) = memmem::find(&payload[begin..], split) {
        let after = begin + length + split.len();
        if length > 0 {
            return (begin, begin + length, after);
        }
        begin = after;
    }
    (begin, whole, whole)
}

impl Rest {
    fn keep(&mut self, bytes: &[u8], inside: bool) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        (self.at, self.inside) = (0, inside);
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn release(&mut self) {
        if self.bytes.capacity() > KEEP_REST_BYTES {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
        (self.at, self.inside) = (0, false);
    }
}

/// What a message is to a verifier. `whole` is its frame, `part` the message in it.
fn observe<'f>(
    session: &Session,
    has_rooms: bool,
    what: What,
    part: &'f [u8],
    whole: &'f [u8],
) -> (RoomId, Seen<'f>) {
    let unnamed = RoomId::UNNAMED;
    match what {
        What::Delivery(place) => {
            let relay = Relay {
                frame: whole,
                text: Cow::Borrowed(&part[place]),
                from: Cow::Borrowed(""),
                seq: 0,
            };
            let room = match session.only_room() {
                Some(only) if only.is_named() || !has_rooms => only,
                _ => RoomId::UNSTATED,
            };
            (room, Seen::Relay(relay))
        }
        What::LoggedIn => {
            let me = Cow::Borrowed("");
            (unnamed, Seen::Open { seq: 0, me })
        }
        What::Joined(room) => {
            let me = Cow::Borrowed("");
            (room, Seen::Open { seq: 0, me })
        }
        What::Left(room) => (room, Seen::Bye { seq: 0 }),
        What::Ack { room, of } => {
            let of = of.map_or(AckOf::NoId, AckOf::Id);
            (room, Seen::Ack { of, seq: 0 })
        }
        What::Refused { room, of } => {
            let complaint = Complaint {
                code: Cow::Borrowed("refused"),
                detail: session.shown(part).into(),
                of,
                cuts_off: false,
            };
            (room, Seen::Error(complaint))
        }
        What::Error => {
            let complaint = Complaint {
                code: Cow::Borrowed("error"),
                detail: session.shown(part).into(),
                of: None,
                cuts_off: false,
            };
            (unnamed, Seen::Error(complaint))
        }
        What::Other => (unnamed, Seen::Unknown),
        What::Step | What::Answered | What::Heartbeat | What::Ignored => (unnamed, Seen::Control),
    }
}

/// The request that opens a WebSocket, filled in.
#[derive(Debug, Default)]
struct Asked {
    path: String,
    subprotocol: Option<String>,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn of(session: &Session, opening: &Opening<'_>) -> Result<Self, String> {
        let Transport::WebSocket {
            path,
            subprotocol,
            headers,
            ..
        } = session.transport()
        else {
            return Ok(Self::default());
        };
        let names = &session.spec().names;
        let fill = |template| {
            session
                .request(template, opening.room)
                .map_err(|NoValue(name)| {
                    let name = names.name(name);
                    format!("the request needs {{{name}}}, which has no value before it is sent")
                })
        };
        let asked = Self {
            path: fill(path)?,
            subprotocol: subprotocol.as_ref().map(fill).transpose()?,
            headers: headers
                .iter()
                .map(|(name, value)| Ok((name.to_string(), fill(value)?)))
                .collect::<Result<_, String>>()?,
        };
        asked.with(opening, |request| {
            request
                .check()
                .map_err(|wrong| session.shown(wrong.to_string().as_bytes()))
        })?;
        Ok(asked)
    }

    fn with<T>(&self, opening: &Opening<'_>, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let subprotocols: Vec<&str> = self.subprotocol.as_deref().into_iter().collect();
        let fields = self.headers.iter().map(|(name, value)| (&**name, &**value));
        then(&Request {
            host: opening.host,
            path: if self.path.is_empty() {
                "/"
            } else {
                &self.path
            },
            subprotocols: &subprotocols,
            fields: &fields.collect::<Vec<_>>(),
        })
    }

    fn open(&self, opening: &Opening<'_>, out: &mut Vec<u8>) -> Client {
        self.with(opening, |request| {
            Client::open(request, opening.draw, opening.max_frame_bytes, out)
        })
    }
}

impl Conn for Application {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        match &mut self.link {
            Link::WebSocket(client, _) => client.take_if(input, due.frame),
            Link::Stream(cutter) => cutter.take_if(input, due.frame),
        }
    }

    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        self.flush(out);
        if !self.rest.is_empty() {
            return Some(self.next_of_rest());
        }
        self.rest.release();
        let Self {
            link,
            session,
            rest,
            ready,
            over,
            trouble,
            has_rooms,
        } = self;
        let control = Some((RoomId::UNNAMED, Seen::Control));
        let malformed = |what: String, could_hide: u64| {
            let malformed = Malformed {
                what: what.into(),
                frame: Cow::Borrowed(&[]),
                could_hide,
            };
            Some((RoomId::UNNAMED, Seen::Malformed(malformed)))
        };
        match link {
            Link::Stream(cutter) => {
                let Cut { whole, text } = match cutter.next(input)? {
                    Ok(cut) => cut,
                    Err(too_long) => return malformed(too_long.to_string(), EVERYTHING),
                };
                let what = session.take(text).what;
                if let What::Delivery(place) = &what
                    && let Some(next) = next_distinct(session, text, place)
                {
                    rest.keep(&text[next..], true);
                }
                Some(observe(session, *has_rooms, what, text, whole))
            }
            Link::WebSocket(client, _) => match client.next(input, out)? {
                Incoming::Message { payload, frame, .. } => {
                    let (what, part) = first_of(session, rest, payload);
                    let whole = if rest.is_empty() { frame } else { part };
                    Some(observe(session, *has_rooms, what, part, whole))
                }
                Incoming::Open { .. } => {
                    *ready = true;
                    session.begin();
                    control
                }
                Incoming::Refused(refused) => {
                    *over = true;
                    *trouble = Some(session.shown(refused.to_string().as_bytes()).into());
                    control
                }
                Incoming::Ping(_) | Incoming::Pong(_) => control,
                Incoming::Closed { code, reason } => {
                    *over = true;
                    let code = code.map_or("without a code".to_owned(), |code| code.to_string());
                    let said = session.shown(reason.as_bytes());
                    let said = if said.is_empty() {
                        said
                    } else {
                        format!(": {said}")
                    };
                    *trouble = Some(format!("it closed the WebSocket, {code}{said}").into());
                    control
                }
                Incoming::Fault(fault) => {
                    *over = true;
                    *trouble = Some(fault.to_string().into());
                    malformed(fault.to_string(), EVERYTHING)
                }
            },
        }
    }

    fn finish(&mut self) -> Option<(RoomId, Seen<'_>)> {
        if !self.rest.is_empty() {
            return Some(self.next_of_rest());
        }
        match &mut self.link {
            Link::Stream(cutter) => {
                // The end of the stream ends a message, too.
                let text = cutter.finish()?;
                let what = self.session.take(text).what;
                Some(observe(&self.session, self.has_rooms, what, text, text))
            }
            Link::WebSocket(client, _) => {
                let refused = match client.finish()? {
                    Incoming::Refused(refused) => refused.to_string(),
                    _ => return None,
                };
                self.trouble = Some(self.session.shown(refused.as_bytes()).into());
                None
            }
        }
    }

    fn room_of_next(&self, _input: &[u8]) -> RoomId {
        self.session.only_room().unwrap_or(RoomId::UNNAMED)
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.session.join(room);
        self.flush(out);
        self.session
            .spec()
            .join
            .iter()
            .any(|step| step.expect.is_some())
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.session.leave(room);
        self.flush(out);
        self.session
            .spec()
            .leave
            .iter()
            .any(|step| step.expect.is_some())
    }

    fn ask(&mut self, out: &mut Vec<u8>, nth: usize) {
        self.session.ask(nth);
        self.flush(out);
    }

    fn is_asking(&self) -> bool {
        self.session.is_asking()
    }

    fn give_up_asking(&mut self) -> Option<(String, String)> {
        self.session.give_up_asking()
    }

    fn unread(&self) -> &[u8] {
        match &self.link {
            Link::WebSocket(client, _) => client.unread(),
            Link::Stream(cutter) => cutter.unread(),
        }
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    fn awaited(&self) -> Cow<'static, str> {
        match self.session.awaited() {
            Some(answer) => answer.into(),
            None if !self.ready => "answer to the WebSocket's handshake".into(),
            None => "first message".into(),
        }
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.as_deref().or_else(|| self.session.trouble());
        trouble.map(str::to_owned)
    }

    fn timer(&mut self, now_ns: u64, out: &mut Vec<u8>) -> Option<u64> {
        if !self.ready || self.over {
            return None;
        }
        let next = self.session.timer(now_ns);
        self.flush(out);
        next
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Goodbye {
        self.session.goodbye();
        self.flush(out);
        match &mut self.link {
            Link::WebSocket(client, _) => {
                client.close(out, code::NORMAL);
                Goodbye::Said
            }
            Link::Stream(_) => Goodbye::HalfClose,
        }
    }

    /// A WebSocket's close ends both directions (RFC 6455, 5.5.1), and what an application makes of
    /// a half-close is its own affair: `PART` and `QUIT` put a client out at once.
    fn is_answered_after_goodbye(&self) -> bool {
        false
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        match &mut self.link {
            Link::WebSocket(client, kind) => {
                let begun = client.begin(out, *kind);
                self.session.publish(&publish, out);
                client.end(out, begun);
            }
            Link::Stream(_) => self.session.publish(&publish, out),
        }
        None
    }

    /// Sends bytes as one message. What the target makes of it is not known.
    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], _max_frame_bytes: usize) -> RawSent {
        match &mut self.link {
            Link::WebSocket(client, kind) => client.send(out, *kind, bytes),
            Link::Stream(_) => out.extend_from_slice(bytes),
        }
        RawSent::default()
    }
}

/// Bytes of the frames that a message makes, as far as a description tells.
#[must_use]
pub fn frame_bytes(spec: &Spec) -> FrameBytes {
    let values = Values {
        id: Some(1_000_000),
        payload: Some(""),
        room: Some("room-1"),
        ..Values::of_client(&spec.names, "talkers-1")
    };
    let publish = spec.publish.text(&values).map_or(0, |text| text.len()) + spec.end.len();
    FrameBytes {
        publish,
        ack: SHORTEST_FRAME_BYTES,
        relay: publish,
    }
}
