//! Redis, as a client speaks it that gets and publishes messages on the channels of its rooms, by
//! RESP3: subscriptions and publishes share a connection.
//!
//! A server does one thing after another. So the answer to a `PUBLISH` says that the message was
//! handed to all subscribers, that of a `SUBSCRIBE` that its client gets whatever follows, and the
//! answer to a `PING` at the end that it has got everything until then.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::known::speaker;
use super::{FrameBytes, Opening};
use crate::application::delivery::{Marker, find_foreign};
use crate::frames::Frames;
use crate::redis::{Reply, Settings, channel_of_next, command, extent};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::{
    AckOf, Capabilities, Complaint, Conn, Due, Glued, Goodbye, Malformed, Publishing, RawSent,
    Relay, Seen,
};

/// What may be expected of a Redis server.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    numbers: false,
    welcome: true,
    bye: true,
    errors: true,
    claims: false,
    joins_in_order: false,
    rooms: true,
    senders: false,
    joined: true,
    left: true,
    at_once: true,
};

/// More frames than any run has.
const EVERYTHING: u64 = 1 << 56;

/// One connection.
#[derive(Debug)]
pub struct Redis {
    frames: Frames,
    state: Box<State>,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    rooms: Arc<RoomNames>,
    max_frame_bytes: usize,
    marker: Marker,
    stage: Stage,
    /// What the server has not answered yet, in the order in which it answers.
    waiting: VecDeque<Waiting>,
    /// The rooms that it is in.
    joined: Vec<RoomId>,
    /// The server has answered the goodbye: these rooms were not passed on yet.
    left: Vec<RoomId>,
    /// A script has sent bytes as they stand: what answers them is not known.
    raw: bool,
    trouble: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not answered `HELLO` and the first subscription.
    LoggingIn,
    In,
    /// The goodbye is answered, and not yet passed on.
    Leaving,
    Over,
}

/// Something that the server has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Hello,
    Subscribe(RoomId),
    Unsubscribe(RoomId),
    Message { room: RoomId, id: u64 },
    Goodbye,
}

const CONTROL: (RoomId, Seen<'static>) = (RoomId::UNNAMED, Seen::Control);

impl Redis {
    /// A connection that is opened as `opening` says; what it begins with is appended to `out`.
    #[must_use]
    pub fn open(settings: &Arc<Settings>, opening: &Opening<'_>, out: &mut Vec<u8>) -> Self {
        let mut state = State {
            settings: Arc::clone(settings),
            rooms: Arc::clone(&opening.rooms),
            max_frame_bytes: opening.max_frame_bytes,
            marker: Marker::new(opening.run),
            stage: Stage::LoggingIn,
            waiting: VecDeque::new(),
            joined: Vec::new(),
            left: Vec::new(),
            raw: false,
            trouble: None,
        };
        match settings.login(opening.me.number) {
            Some(login) => {
                let user = login.user.as_deref().unwrap_or("default");
                let password = login.password.as_bytes();
                command(out, &[b"HELLO", b"3", b"AUTH", user.as_bytes(), password]);
            }
            None => command(out, &[b"HELLO", b"3"]),
        }
        state.waiting.push_back(Waiting::Hello);
        // Where there are rooms, nobody publishes in the one without a name.
        if state.rooms.is_empty() {
            state.subscribe(out, RoomId::UNNAMED);
        }
        Self {
            frames: Frames::default(),
            state: Box::new(state),
        }
    }
}

impl State {
    fn channel(&self, room: RoomId) -> String {
        self.settings.channel.of(&self.rooms, room)
    }

    /// `SUBSCRIBE` and its like, as they are called in a cluster or not.
    fn word(&self, plain: &'static [u8]) -> &'static [u8] {
        match (self.settings.sharded, plain) {
            (true, b"SUBSCRIBE") => b"SSUBSCRIBE",
            (true, b"UNSUBSCRIBE") => b"SUNSUBSCRIBE",
            (true, b"PUBLISH") => b"SPUBLISH",
            _ => plain,
        }
    }

    fn subscribe(&mut self, out: &mut Vec<u8>, room: RoomId) {
        let channel = self.channel(room);
        command(out, &[self.word(b"SUBSCRIBE"), channel.as_bytes()]);
        self.waiting.push_back(Waiting::Subscribe(room));
    }

    fn room_of(&self, channel: &[u8]) -> RoomId {
        match self.rooms.is_empty() {
            true => RoomId::UNNAMED,
            false => self.settings.channel.room_of(&self.rooms, channel),
        }
    }

    fn fail(&mut self, why: String) {
        self.stage = Stage::Over;
        self.trouble.get_or_insert(why.into());
    }

    /// A number, a word or another value has come: the answer to what waits the longest.
    fn answered(&mut self, reply: &Reply<'_>) -> (RoomId, Seen<'static>) {
        let front = self.waiting.front().copied();
        match (front, reply) {
            (Some(Waiting::Hello), Reply::Other) => {
                self.waiting.pop_front();
                if self.rooms.is_empty() {
                    return CONTROL; // in once it is subscribed
                }
                self.logged_in()
            }
            (Some(Waiting::Message { room, id }), Reply::Integer(_)) => {
                self.waiting.pop_front();
                let of = AckOf::Id(id);
                (room, Seen::Ack { of, seq: 0 })
            }
            // Answers come in turn: what still waits before it will not be answered any more.
            (Some(_), Reply::Simple(_)) if self.waiting.contains(&Waiting::Goodbye) => {
                let goodbye = |one: Waiting| one == Waiting::Goodbye;
                while !self.waiting.pop_front().is_none_or(goodbye) {}
                self.left = std::mem::take(&mut self.joined);
                self.stage = Stage::Leaving;
                self.next_left()
            }
            _ if self.raw => CONTROL,
            _ => {
                let of = AckOf::NoId;
                (RoomId::UNNAMED, Seen::Ack { of, seq: 0 })
            }
        }
    }

    fn logged_in(&mut self) -> (RoomId, Seen<'static>) {
        self.stage = Stage::In;
        let me = Cow::Borrowed("");
        (RoomId::UNNAMED, Seen::Open { seq: 0, me })
    }

    /// A subscription has begun or ended.
    fn subscribed(&mut self, room: RoomId, begins: bool) -> (RoomId, Seen<'static>) {
        let answered = match begins {
            true => Waiting::Subscribe(room),
            false => Waiting::Unsubscribe(room),
        };
        let Some(at) = self.waiting.iter().position(|one| *one == answered) else {
            return (room, Seen::Control);
        };
        self.waiting.remove(at);
        match begins {
            true if !room.is_named() => self.logged_in(),
            true => {
                self.joined.push(room);
                let me = Cow::Borrowed("");
                (room, Seen::Open { seq: 0, me })
            }
            false => (room, Seen::Bye { seq: 0 }),
        }
    }

    /// The next room that the client has left by its goodbye; last the one without a name.
    fn next_left(&mut self) -> (RoomId, Seen<'static>) {
        let bye = Seen::Bye { seq: 0 };
        match self.left.pop() {
            Some(room) => (room, bye),
            None => {
                self.stage = Stage::Over;
                (RoomId::UNNAMED, bye)
            }
        }
    }

    /// A complaint has come: the answer to what waits the longest.
    fn complained(&mut self, said: &[u8]) -> (RoomId, Seen<'static>) {
        let said = String::from_utf8_lossy(said).into_owned();
        if self.stage == Stage::LoggingIn {
            self.fail(format!("it does not take the client in: {said}"));
            return CONTROL;
        }
        let (room, of) = match self.waiting.pop_front() {
            Some(Waiting::Message { room, id }) => (room, Some(id)),
            Some(Waiting::Subscribe(room) | Waiting::Unsubscribe(room)) => (room, None),
            Some(Waiting::Hello | Waiting::Goodbye) | None => (RoomId::UNNAMED, None),
        };
        let code = said.split(' ').next().unwrap_or_default();
        let complaint = Complaint {
            code: code.to_ascii_lowercase().into(),
            of,
            cuts_off: false,
            detail: said.into(),
        };
        (room, Seen::Error(complaint))
    }

    fn message<'f>(
        &mut self,
        frame: &'f [u8],
        channel: &[u8],
        payload: &'f [u8],
    ) -> (RoomId, Seen<'f>) {
        let is_load = self.marker.find(payload, 0).is_some() || find_foreign(payload).is_some();
        if !is_load {
            return (RoomId::UNNAMED, Seen::Unknown); // somebody else's
        }
        let relay = Relay {
            frame,
            text: Cow::Borrowed(payload),
            from: Cow::Borrowed(""),
            seq: 0,
        };
        (self.room_of(channel), Seen::Relay(relay))
    }
}

impl Conn for Redis {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        self.frames.take_if(input, due.frame)
    }

    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        _out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        let Self { frames, state } = self;
        match state.stage {
            Stage::LoggingIn | Stage::In => {}
            Stage::Leaving => return Some(state.next_left()),
            Stage::Over => {
                *input = &[];
                return None;
            }
        }
        let max = state.max_frame_bytes;
        let begins = *input;
        let frame = match frames.next(input, |bytes| extent(bytes, max))? {
            Ok(frame) => frame,
            Err(fault) => {
                let what = match (state.stage, speaker(begins)) {
                    (Stage::LoggingIn, Some(speaker)) => {
                        format!("it is no Redis server: {speaker}")
                    }
                    _ => format!("it does not speak the protocol of Redis: {fault}"),
                };
                state.fail(what);
                let malformed = Malformed {
                    what: fault.to_string().into(),
                    frame: Cow::Borrowed(&[]),
                    could_hide: EVERYTHING,
                };
                return Some((RoomId::UNNAMED, Seen::Malformed(malformed)));
            }
        };
        Some(match Reply::read(frame) {
            Reply::Push {
                kind: b"message" | b"smessage",
                channel,
                payload,
            } => state.message(frame, channel, payload),
            Reply::Push { kind, channel, .. } => {
                let room = state.room_of(channel);
                match kind {
                    b"subscribe" | b"ssubscribe" => state.subscribed(room, true),
                    b"unsubscribe" | b"sunsubscribe" => state.subscribed(room, false),
                    _ => (RoomId::UNNAMED, Seen::Unknown),
                }
            }
            Reply::Error(said) => state.complained(said),
            reply => state.answered(&reply),
        })
    }

    #[inline]
    fn room_of_next(&self, input: &[u8]) -> RoomId {
        if self.state.rooms.is_empty() || !self.frames.unread().is_empty() {
            return RoomId::UNNAMED;
        }
        let room = channel_of_next(input).map(|channel| self.state.room_of(channel));
        room.filter(|room| *room != RoomId::UNKNOWN)
            .unwrap_or(RoomId::UNNAMED)
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.state.subscribe(out, room);
        true
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        let state = &mut self.state;
        state.joined.retain(|one| *one != room);
        let channel = state.channel(room);
        command(out, &[state.word(b"UNSUBSCRIBE"), channel.as_bytes()]);
        state.waiting.push_back(Waiting::Unsubscribe(room));
        true
    }

    fn unread(&self) -> &[u8] {
        self.frames.unread()
    }

    fn awaited(&self) -> Cow<'static, str> {
        "answer to HELLO 3".into()
    }

    fn trouble(&self) -> Option<String> {
        self.state.trouble.as_deref().map(str::to_owned)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Goodbye {
        command(out, &[b"PING"]);
        self.state.waiting.push_back(Waiting::Goodbye);
        Goodbye::Said
    }

    fn is_over(&self) -> bool {
        self.state.stage == Stage::Over
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        let Publishing { room, text, id, .. } = publish;
        let channel = self.state.channel(room);
        let word = self.state.word(b"PUBLISH");
        command(out, &[word, channel.as_bytes(), text.as_bytes()]);
        self.state.waiting.push_back(Waiting::Message { room, id });
        None
    }

    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], _max_frame_bytes: usize) -> RawSent {
        self.state.raw = true;
        out.extend_from_slice(bytes);
        RawSent::default()
    }
}

/// Bytes of the frames that a message makes, beside its text.
pub(super) fn frame_bytes(settings: &Settings) -> FrameBytes {
    let channel = settings.channel.len_with("room-1".len());
    FrameBytes {
        publish: "*3\r\n$7\r\nPUBLISH\r\n$12\r\n\r\n$128\r\n\r\n".len() + channel,
        ack: ":100\r\n".len(),
        relay: ">3\r\n$7\r\nmessage\r\n$12\r\n\r\n$128\r\n\r\n".len() + channel,
    }
}

#[cfg(test)]
mod tests;
