//! NATS, as a client speaks it that gets and publishes messages on the subjects of its rooms.
//!
//! A subscription's number is its room's, the same for all clients, so that all get a message in
//! the same bytes. A `PING` is answered once everything before it has been processed: its `PONG`
//! proves that a client is subscribed, that its messages are taken, and that all is there that it is
//! owed when it leaves.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::known::speaker;
use super::{FrameBytes, Opening};
use crate::application::delivery::{Marker, find_foreign};
use crate::frames::Frames;
use crate::nats::{Ack, Msg, Op, Settings, encode, extent, sid_of_next};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::{
    AckOf, Capabilities, Complaint, Conn, Due, Glued, Goodbye, Malformed, Publishing, RawSent,
    Relay, Seen,
};

/// What may be expected of a NATS server. It names no sender, states no numbers, and refuses
/// messages by their subjects. It goes from one subscriber to the next with a message, so that one
/// may have it when another still leaves without it.
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
    at_once: false,
};

/// More frames than any run has.
const EVERYTHING: u64 = 1 << 56;

/// The fewest bytes of a load message with its line.
const SHORTEST_MESSAGE_BYTES: usize = 60;

/// One connection.
#[derive(Debug)]
pub struct Nats {
    frames: Frames,
    state: Box<State>,
}

/// What it knows and waits for.
#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    rooms: Arc<RoomNames>,
    name: Box<str>,
    number: u32,
    max_frame_bytes: usize,
    marker: Marker,
    stage: Stage,
    /// What the server has not answered yet, in the order in which it answers.
    waiting: VecDeque<Waiting>,
    /// Messages of which it is not known whether they are taken.
    sent: VecDeque<Sent>,
    /// How many of them are, and were not passed on yet.
    taken: usize,
    /// A message that came before the answer to its room's subscription.
    held: Option<Vec<u8>>,
    /// The same, once it is passed on.
    lent: Vec<u8>,
    /// The rooms that it is in.
    joined: Vec<RoomId>,
    /// The server has answered the goodbye: these rooms were not passed on yet.
    left: Vec<RoomId>,
    /// The longest text that the server takes, in bytes.
    max_payload: Option<u64>,
    /// A script has sent bytes as they stand: what answers them is not known.
    raw: bool,
    trouble: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has not said what it is.
    Greeting,
    /// It has not answered the first `PING`.
    LoggingIn,
    In,
    /// The goodbye is answered, and not yet passed on.
    Leaving,
    Over,
}

/// Something that the server has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// `+OK`, for something that is not waited for.
    Ok,
    /// `+OK`, for a message.
    OkOfMessage,
    /// `PONG`, after the first subscriptions.
    Login,
    /// `PONG`, after a subscription.
    Join(RoomId),
    /// The same, of a subscription of which is known by now what became of it.
    Settled,
    /// `PONG`, after the end of a subscription.
    Leave(RoomId),
    /// `PONG`, after so many messages.
    Messages(usize),
    /// `PONG`, after the goodbye.
    Goodbye,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    room: RoomId,
    id: u64,
    refused: bool,
}

/// The number of a room's subscription.
fn sid(room: RoomId) -> u64 {
    u64::from(room.0) + 1
}

fn room_of(sid: u64) -> RoomId {
    let room = sid.checked_sub(1).and_then(|room| u32::try_from(room).ok());
    room.map_or(RoomId::UNKNOWN, RoomId)
}

impl Nats {
    /// A connection that is opened as `opening` says. The server speaks first.
    #[must_use]
    pub fn open(settings: &Arc<Settings>, opening: &Opening<'_>) -> Self {
        Self {
            frames: Frames::default(),
            state: Box::new(State {
                settings: Arc::clone(settings),
                rooms: Arc::clone(&opening.rooms),
                name: opening.me.name.into(),
                number: opening.me.number,
                max_frame_bytes: opening.max_frame_bytes,
                marker: Marker::new(opening.run),
                stage: Stage::Greeting,
                waiting: VecDeque::new(),
                sent: VecDeque::new(),
                taken: 0,
                held: None,
                lent: Vec::new(),
                joined: Vec::new(),
                left: Vec::new(),
                max_payload: None,
                raw: false,
                trouble: None,
            }),
        }
    }
}

impl State {
    fn is_verbose(&self) -> bool {
        self.settings.ack == Ack::Ok
    }

    /// Something was sent that a verbose server answers with `+OK`.
    fn expects_ok(&mut self, waiting: Waiting) {
        if self.is_verbose() {
            self.waiting.push_back(waiting);
        }
    }

    fn ping(&mut self, out: &mut Vec<u8>, waiting: Waiting) {
        out.extend_from_slice(encode::PING);
        self.waiting.push_back(waiting);
    }

    /// The server has said what it is: the client says who it is.
    fn greeted(&mut self, info: &[u8], out: &mut Vec<u8>) {
        let info: Info = serde_json::from_slice(info).unwrap_or_default();
        self.max_payload = info.max_payload;
        if self.stage != Stage::Greeting {
            return;
        }
        let settings = Arc::clone(&self.settings);
        if info.tls_required && !settings.tls {
            self.fail("it wants TLS: name it tls+nats://HOST:PORT".into());
            return;
        }
        let login = settings.login(self.number);
        let nonce = info.nonce.unwrap_or_default();
        if login.is_some_and(|login| login.nkey.is_some()) && nonce.is_empty() {
            self.fail("it has drawn nothing to be signed with an NKEY: it knows no NKEYs".into());
            return;
        }
        let shown = login.map_or_else(Default::default, |login| login.shown(nonce.as_bytes()));
        encode::connect(out, &self.name, self.is_verbose(), settings.echo, shown);
        self.expects_ok(Waiting::Ok);
        // Where there are rooms, nobody publishes in the one without a name.
        if self.rooms.is_empty() {
            self.subscribe(out, RoomId::UNNAMED);
        }
        self.ping(out, Waiting::Login);
        self.stage = Stage::LoggingIn;
    }

    fn subscribe(&mut self, out: &mut Vec<u8>, room: RoomId) {
        encode::sub(out, &self.settings.subject, &self.rooms, room, sid(room));
        self.expects_ok(Waiting::Ok);
    }

    fn fail(&mut self, why: String) {
        self.stage = Stage::Over;
        self.trouble.get_or_insert(why.into());
    }

    /// The answer `PONG` has come. Answers come in the order of what they answer.
    fn ponged(&mut self) -> (RoomId, Seen<'static>) {
        // What a verbose server has not answered by now it will not answer.
        while let Some(Waiting::Ok | Waiting::OkOfMessage) = self.waiting.front() {
            if self.waiting.pop_front() == Some(Waiting::OkOfMessage) {
                self.sent.pop_front();
            }
        }
        let me = Cow::Borrowed("");
        match self.waiting.pop_front() {
            Some(Waiting::Login) => {
                self.stage = Stage::In;
                (RoomId::UNNAMED, Seen::Open { seq: 0, me })
            }
            Some(Waiting::Join(room)) => {
                self.joined.push(room);
                (room, Seen::Open { seq: 0, me })
            }
            Some(Waiting::Leave(room)) => (room, Seen::Bye { seq: 0 }),
            Some(Waiting::Messages(count)) => {
                self.taken += count;
                self.next_taken().unwrap_or(CONTROL)
            }
            Some(Waiting::Goodbye) => {
                self.left = std::mem::take(&mut self.joined);
                self.stage = Stage::Leaving;
                self.next_left()
            }
            Some(Waiting::Settled) => CONTROL,
            Some(Waiting::Ok | Waiting::OkOfMessage) | None => self.unasked(),
        }
    }

    /// The answer `+OK` has come.
    fn said_ok(&mut self) -> (RoomId, Seen<'static>) {
        match self.waiting.front() {
            Some(Waiting::Ok) => {
                self.waiting.pop_front();
                CONTROL
            }
            Some(Waiting::OkOfMessage) => {
                self.waiting.pop_front();
                self.taken += 1;
                self.next_taken().unwrap_or(CONTROL)
            }
            _ => self.unasked(),
        }
    }

    /// A message has come in a room: if nothing has answered its subscription yet, it does.
    fn proves_joined(&mut self, room: RoomId) -> bool {
        let answer = match room.is_named() {
            true => Waiting::Join(room),
            false => Waiting::Login,
        };
        let Some(waiting) = self.waiting.iter_mut().find(|one| **one == answer) else {
            return false;
        };
        *waiting = Waiting::Settled;
        match room.is_named() {
            true => self.joined.push(room),
            false => self.stage = Stage::In,
        }
        true
    }

    /// What a message is.
    fn message<'f>(&mut self, frame: &'f [u8], msg: &Msg<'f>) -> (RoomId, Seen<'f>) {
        let room = self.room_of(msg);
        let is_load =
            self.marker.find(msg.payload, 0).is_some() || find_foreign(msg.payload).is_some();
        if !is_load {
            return (RoomId::UNNAMED, Seen::Unknown); // somebody else's
        }
        if !self.waiting.is_empty() && self.proves_joined(room) {
            self.held = Some(frame.to_vec());
            let me = Cow::Borrowed("");
            return (room, Seen::Open { seq: 0, me });
        }
        relay(room, frame, msg)
    }

    /// The message that was held.
    fn relay_lent(&self) -> (RoomId, Seen<'_>) {
        match Op::read(&self.lent) {
            Op::Msg(msg) => relay(self.room_of(&msg), &self.lent, &msg),
            _ => CONTROL,
        }
    }

    /// An answer to nothing that this client sent.
    fn unasked(&self) -> (RoomId, Seen<'static>) {
        if self.raw || self.stage != Stage::In {
            return CONTROL;
        }
        let (of, seq) = (AckOf::NoId, 0);
        (RoomId::UNNAMED, Seen::Ack { of, seq })
    }

    /// The next message that the server has taken and that was not passed on.
    fn next_taken(&mut self) -> Option<(RoomId, Seen<'static>)> {
        while self.taken > 0 {
            self.taken -= 1;
            let sent = self.sent.pop_front()?;
            if !sent.refused {
                let (of, seq) = (AckOf::Id(sent.id), 0);
                return Some((sent.room, Seen::Ack { of, seq }));
            }
        }
        None
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

    /// What a complaint refuses: a room, and the id of a message in it.
    fn refused(&mut self, said: &str) -> (RoomId, Option<u64>) {
        let nothing = (RoomId::UNNAMED, None);
        let Some((what, subject)) = violated(said) else {
            return nothing;
        };
        let is_it = |room| self.settings.subject.of(&self.rooms, room) == subject;
        match what {
            Violated::Subscription => {
                let join = self.waiting.iter_mut().find_map(|waiting| match waiting {
                    Waiting::Join(room) if is_it(*room) => Some((*room, waiting)),
                    _ => None,
                });
                let Some((room, waiting)) = join else {
                    return nothing;
                };
                *waiting = Waiting::Settled;
                if self.is_verbose() {
                    // The complaint stands in place of the `+OK`.
                    self.drop_ok(false);
                }
                (room, None)
            }
            Violated::Publish => {
                // Complaints come in the order of what they are about, and before the answer to
                // anything that was sent after it.
                let mut sent = self.sent.iter();
                let at = sent.position(|sent| !sent.refused && is_it(sent.room));
                let Some(at) = at else {
                    return nothing;
                };
                let sent = self.sent[at];
                match self.settings.ack {
                    Ack::Flush => self.sent[at].refused = true,
                    Ack::Ok => {
                        self.sent.remove(at);
                        self.drop_ok(true);
                    }
                    Ack::None => drop(self.sent.remove(at)),
                }
                (sent.room, Some(sent.id))
            }
        }
    }

    /// Does not wait any more for the next `+OK`, or for the next of a message.
    fn drop_ok(&mut self, of_message: bool) {
        let wanted = match of_message {
            true => Waiting::OkOfMessage,
            false => Waiting::Ok,
        };
        if let Some(at) = self.waiting.iter().position(|one| *one == wanted) {
            self.waiting.remove(at);
        }
    }

    /// A complaint has come.
    fn complained(&mut self, said: &[u8]) -> (RoomId, Seen<'static>) {
        let said = String::from_utf8_lossy(said).into_owned();
        match self.stage {
            Stage::Greeting | Stage::LoggingIn => {
                self.fail(format!("it does not take the client in: {said}"));
                CONTROL
            }
            Stage::In | Stage::Leaving | Stage::Over => {
                let (room, of) = self.refused(&said);
                let complaint = Complaint {
                    code: code_of(&said).into(),
                    of,
                    cuts_off: said.eq_ignore_ascii_case("Slow Consumer"),
                    detail: said.into(),
                };
                (room, Seen::Error(complaint))
            }
        }
    }
}

const CONTROL: (RoomId, Seen<'static>) = (RoomId::UNNAMED, Seen::Control);

/// What of an `INFO` matters here.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Info {
    nonce: Option<String>,
    max_payload: Option<u64>,
    tls_required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violated {
    Subscription,
    Publish,
}

/// What a complaint says that the client may not do, and the subject.
fn violated(said: &str) -> Option<(Violated, &str)> {
    let rest = said.strip_prefix("Permissions Violation for ")?;
    let (what, rest) = rest.split_once(" to ")?;
    let what = match what {
        "Subscription" => Violated::Subscription,
        "Publish" => Violated::Publish,
        _ => return None,
    };
    let subject = rest.strip_prefix('"')?.split('"').next()?;
    Some((what, subject))
}

/// A complaint as a code: its words up to a subject or a detail, small and joined by hyphens.
fn code_of(said: &str) -> String {
    let words = said.split(['"', '\'', ':', '(']).next().unwrap_or(said);
    let words = words.split_ascii_whitespace().map(str::to_ascii_lowercase);
    let code = words.collect::<Vec<_>>().join("-");
    code.trim_end_matches("-to").to_owned()
}

impl Conn for Nats {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        let is_between = self.state.taken == 0 && self.state.held.is_none();
        is_between && self.frames.take_if(input, due.frame)
    }

    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        let Self { frames, state } = self;
        if let Some(taken) = state.next_taken() {
            return Some(taken);
        }
        if !state.lent.is_empty() {
            state.lent = Vec::new();
        }
        if let Some(held) = state.held.take() {
            state.lent = held; // what it proved is passed on
            return Some(state.relay_lent());
        }
        if state.stage == Stage::Leaving {
            return Some(state.next_left());
        }
        if state.stage == Stage::Over {
            *input = &[];
            return None;
        }
        let max = state.max_frame_bytes;
        let begins = *input;
        let frame = match frames.next(input, |bytes| extent(bytes, max))? {
            Ok(frame) => frame,
            Err(fault) => {
                let what = match (state.stage, speaker(begins)) {
                    (Stage::Greeting, Some(speaker)) => format!("it is no NATS server: {speaker}"),
                    _ => format!("it does not speak NATS: {fault}"),
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
        let op = Op::read(frame);
        if state.stage == Stage::Greeting && !matches!(op, Op::Info(_) | Op::Err(_)) {
            let said = match speaker(frame) {
                Some(speaker) => speaker.to_owned(),
                None => format!("it said `{}`", super::wrong::quoted(frame.trim_ascii_end())),
            };
            state.fail(format!("it is no NATS server: {said}"));
            return Some(CONTROL);
        }
        Some(match op {
            Op::Msg(msg) => state.message(frame, &msg),
            Op::Pong => state.ponged(),
            Op::Ok => state.said_ok(),
            Op::Ping => {
                out.extend_from_slice(encode::PONG);
                CONTROL
            }
            Op::Info(info) => {
                state.greeted(info, out);
                CONTROL
            }
            Op::Err(said) => state.complained(said),
            Op::Unknown(b"") => CONTROL,
            Op::Unknown(line) => {
                let malformed = Malformed {
                    what: "a line that NATS does not have".into(),
                    frame: Cow::Borrowed(line),
                    could_hide: (1 + line.len() / SHORTEST_MESSAGE_BYTES) as u64,
                };
                (RoomId::UNNAMED, Seen::Malformed(malformed))
            }
        })
    }

    #[inline]
    fn room_of_next(&self, input: &[u8]) -> RoomId {
        if self.state.rooms.is_empty() || !self.frames.unread().is_empty() {
            return RoomId::UNNAMED;
        }
        match sid_of_next(input).map(room_of) {
            Some(room) if room.0 as usize <= self.state.rooms.len() => room,
            _ => RoomId::UNNAMED,
        }
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        self.state.subscribe(out, room);
        self.state.ping(out, Waiting::Join(room));
        true
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        let state = &mut self.state;
        state.joined.retain(|one| *one != room);
        encode::unsub(out, sid(room));
        state.expects_ok(Waiting::Ok);
        state.ping(out, Waiting::Leave(room));
        true
    }

    fn unread(&self) -> &[u8] {
        self.frames.unread()
    }

    fn awaited(&self) -> Cow<'static, str> {
        match self.state.stage {
            Stage::Greeting => "INFO of a NATS server".into(),
            _ => "answer to CONNECT and PING".into(),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.state.trouble.as_deref().map(str::to_owned)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Goodbye {
        let state = &mut self.state;
        for at in 0..state.joined.len() {
            encode::unsub(out, sid(state.joined[at]));
            state.expects_ok(Waiting::Ok);
        }
        state.ping(out, Waiting::Goodbye);
        Goodbye::Said
    }

    fn is_over(&self) -> bool {
        self.state.stage == Stage::Over
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        let Publishing { room, text, id, .. } = publish;
        let state = &mut self.state;
        // Of messages that go out at once, the last alone is followed by a PING.
        let is_followed = out.ends_with(encode::PING)
            && matches!(state.waiting.back(), Some(Waiting::Messages(_)));
        if is_followed {
            out.truncate(out.len() - encode::PING.len());
        }
        let Settings { subject, ack, .. } = &*state.settings;
        encode::publish(out, subject, &state.rooms, room, text.as_bytes());
        let refused = false;
        state.sent.push_back(Sent { room, id, refused });
        match ack {
            Ack::Flush => {
                out.extend_from_slice(encode::PING);
                match state.waiting.back_mut() {
                    Some(Waiting::Messages(count)) if is_followed => *count += 1,
                    _ => state.waiting.push_back(Waiting::Messages(1)),
                }
            }
            Ack::Ok => state.waiting.push_back(Waiting::OkOfMessage),
            Ack::None => {
                if state.sent.len() > MOST_REMEMBERED {
                    state.sent.pop_front();
                }
            }
        }
        None
    }

    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], _max_frame_bytes: usize) -> RawSent {
        self.state.raw = true;
        out.extend_from_slice(bytes);
        RawSent::default()
    }

    fn max_frame_bytes(&self) -> Option<u64> {
        self.state.max_payload
    }
}

/// Messages of which refusals may still come, where nothing says that one was taken.
const MOST_REMEMBERED: usize = 256;

impl State {
    /// The room in which a message was published, as it says itself.
    fn room_of(&self, msg: &Msg<'_>) -> RoomId {
        if self.rooms.is_empty() {
            return RoomId::UNNAMED;
        }
        let naming = &self.settings.subject;
        let room = room_of(msg.sid);
        let is_it = |room| naming.of(&self.rooms, room).as_bytes() == msg.subject;
        if is_it(room) {
            return room;
        }
        // Not of this subscription: the subject says where it was published.
        let other = self.rooms.iter().find(|(room, _)| is_it(*room));
        other.map_or(RoomId::UNKNOWN, |(room, _)| room)
    }
}

fn relay<'f>(room: RoomId, frame: &'f [u8], msg: &Msg<'f>) -> (RoomId, Seen<'f>) {
    let relay = Relay {
        frame,
        text: Cow::Borrowed(msg.payload),
        from: Cow::Borrowed(""),
        seq: 0,
    };
    (room, Seen::Relay(relay))
}

/// Bytes of the frames that a message makes, beside its text.
pub(super) fn frame_bytes(settings: &Settings) -> FrameBytes {
    let subject = settings.subject.len_with("room-1".len());
    let publish = "PUB  128\r\n\r\n".len() + subject;
    let relay = "MSG  2 128\r\n\r\n".len() + subject;
    match settings.ack {
        Ack::Flush => FrameBytes {
            publish: publish + encode::PING.len(),
            ack: encode::PONG.len(),
            relay,
        },
        Ack::Ok => FrameBytes {
            publish,
            ack: "+OK\r\n".len(),
            relay,
        },
        Ack::None => FrameBytes {
            publish,
            ack: 0,
            relay,
        },
    }
}

#[cfg(test)]
mod tests;
