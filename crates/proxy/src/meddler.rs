//! What becomes of each frame: it is passed on, or the one fault of the run is committed on it.
//!
//! Sans-IO: frames in, bytes out. All connections of a run share one [`Meddler`], which counts
//! messages, remembers who published what, and commits its fault once.
//!
//! A fault is committed where its effect is certain to be seen and is one effect alone. So a
//! receiver that is made to miss something has got [`SETTLED`] messages before, a sender has
//! published [`SPOKEN`], and a sender's last message, which others are judged by, is left alone.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chatbench_wire::application::delivery::Marker;
use chatbench_wire::payload::{self, SenderId};
use chatbench_wire::rooms::RoomNames;
use memchr::memmem;

use super::fault::Fault;
use super::talk::{Acks, Frame, Frames, Talk, Way};

/// Messages that a receiver has got before anything is done to it: it is there to stay, and
/// whatever it misses is followed by more.
pub const SETTLED: u64 = 20;

/// Messages that a client has published before anything is done to one of its own.
pub const SPOKEN: u64 = 5;

/// How long a receiver is sent nothing.
pub const DELAY: Duration = Duration::from_millis(1200);

/// Latest publishes of a client that an ack may be for.
const REMEMBERED: usize = 256;

/// The fault to commit, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The fault.
    pub fault: Fault,
    /// It is committed at the first chance after so many messages were published in all.
    pub after: u64,
}

/// A fault that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The fault.
    pub fault: Fault,
    /// On which message, and to whom.
    pub what: String,
    /// Whether whoever it was done to stayed to see it; otherwise it reset its connection.
    pub seen: bool,
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy committed {}: {}", self.fault, self.what)?;
        match self.seen {
            true => Ok(()),
            false => f.write_str(", who reset its connection"),
        }
    }
}

/// What to do once the bytes that were appended are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    GoOn,
    /// Wait before anything else goes the same way.
    Wait(Duration),
    /// Close the connection, both ways.
    HangUp,
}

/// A connection, by its place in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(usize);

/// What is known of a connection.
#[derive(Debug)]
struct Connection {
    /// The client's address.
    client: SocketAddr,
    /// Load messages that the client has published.
    published: u64,
    /// Load messages of others that it was sent.
    delivered: u64,
    /// The senders that it publishes as: one for each room.
    senders: Vec<SenderId>,
    /// The rooms that it has named in anything that it sent.
    rooms: BTreeSet<usize>,
    /// The latest publishes, without their messages.
    sent: VecDeque<Vec<u8>>,
}

/// A load message in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    place: Range<usize>,
    sender: SenderId,
    k: u64,
    /// It is its sender's last one.
    is_last: bool,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {}", self.k, self.sender)
    }
}

/// A frame that waits for the next one, to be sent after it.
#[derive(Debug)]
struct Held {
    to: ConnectionId,
    bytes: Vec<u8>,
    message: Message,
}

/// A frame on its way to a room where it does not belong.
#[derive(Debug)]
struct Stray {
    bytes: Vec<u8>,
    message: Message,
    room: usize,
}

/// The state that all connections share.
#[derive(Debug)]
pub struct Meddler {
    talk: Arc<dyn Talk>,
    task: Option<Task>,
    rooms: Vec<Box<str>>,
    /// What load messages are found by, each way.
    up: Marker,
    down: Marker,
    published: u64,
    connections: Vec<Connection>,
    /// The room in which a sender publishes, where that is known.
    room_of: HashMap<SenderId, usize>,
    /// The addresses of clients by those that the target knows, and the other way round.
    clients: HashMap<SocketAddr, SocketAddr>,
    owns: HashMap<SocketAddr, SocketAddr>,
    /// The message that nobody is to get.
    lost: Option<(SenderId, u64)>,
    held: Option<Held>,
    stray: Option<Stray>,
    committed: Option<(Committed, ConnectionId)>,
}

impl Meddler {
    /// That of the run whose load messages have the number `run`.
    #[must_use]
    pub fn new(talk: Arc<dyn Talk>, run: u32, rooms: &RoomNames, task: Option<Task>) -> Self {
        Self {
            talk,
            task,
            rooms: rooms.iter().map(|(_, name)| name.into()).collect(),
            up: Marker::new(run),
            down: Marker::new(run),
            published: 0,
            connections: Vec::new(),
            room_of: HashMap::new(),
            clients: HashMap::new(),
            owns: HashMap::new(),
            lost: None,
            held: None,
            stray: None,
            committed: None,
        }
    }

    /// What cuts one direction of a connection into frames.
    #[must_use]
    pub fn frames(&self, way: Way) -> Box<dyn Frames> {
        self.talk.frames(way)
    }

    /// What was committed so far.
    #[must_use]
    pub fn committed(&self) -> Option<&Committed> {
        self.committed.as_ref().map(|(committed, _)| committed)
    }

    /// A connection of `client`, whom the target knows as `own`.
    pub fn opened(&mut self, client: SocketAddr, own: SocketAddr) -> ConnectionId {
        self.connections.push(Connection {
            client,
            published: 0,
            delivered: 0,
            senders: Vec::new(),
            rooms: BTreeSet::new(),
            sent: VecDeque::new(),
        });
        self.clients.insert(own, client);
        self.owns.insert(client, own);
        ConnectionId(self.connections.len() - 1)
    }

    /// The client of a connection has reset it.
    pub fn reset_by_client(&mut self, id: ConnectionId) {
        if let Some((committed, to)) = &mut self.committed
            && *to == id
        {
            committed.seen = false;
        }
    }

    /// The target sends nothing any more on a connection: appends what was held back.
    pub fn ended(&mut self, id: ConnectionId, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take_if(|held| held.to == id) {
            out.extend_from_slice(&held.bytes);
        }
    }

    /// A frame goes `way` on a connection: appends what becomes of it.
    pub fn take(
        &mut self,
        id: ConnectionId,
        way: Way,
        frame: &Frame<'_>,
        frames: &dyn Frames,
        out: &mut Vec<u8>,
    ) -> Then {
        if way == Way::Up {
            self.note_rooms(id, &frame.body, None);
        }
        if !frame.is_message {
            out.extend_from_slice(frame.bytes);
            return Then::GoOn;
        }
        let talk = Arc::clone(&self.talk);
        let parts = parts(&frame.body, talk.split());
        let passing = Passing {
            frame,
            frames,
            is_whole: parts.len() == 1,
        };
        if parts.len() > 1 && !self.is_concerned(way) {
            out.extend_from_slice(frame.bytes);
            for part in parts {
                self.note(id, way, part);
            }
            return Then::GoOn;
        }
        let mut then = Then::GoOn;
        for part in parts {
            let next = match way {
                Way::Up => self.take_up(id, &passing, part, out),
                Way::Down => self.take_down(id, &passing, part, out),
            };
            if next != Then::GoOn {
                then = next;
            }
        }
        then
    }

    /// Whether something may be done to a part of a frame.
    fn is_concerned(&self, way: Way) -> bool {
        way == Way::Down && (self.is_due().is_some() || self.lost.is_some() || self.held.is_some())
    }

    /// Counts what is passed on in any case.
    fn note(&mut self, id: ConnectionId, way: Way, body: &[u8]) {
        if let Some(message) = self.message_in(way, body)
            && way == Way::Down
            && !self.connection(id).senders.contains(&message.sender)
        {
            self.connections[id.0].delivered += 1;
        }
    }

    fn connection(&self, id: ConnectionId) -> &Connection {
        &self.connections[id.0]
    }

    /// The fault that is to be committed at the next chance.
    fn is_due(&self) -> Option<Fault> {
        let task = self.task.filter(|task| self.published >= task.after)?;
        self.committed.is_none().then_some(task.fault)
    }

    fn commit(&mut self, fault: Fault, id: ConnectionId, what: String) {
        let committed = Committed {
            fault,
            what,
            seen: true,
        };
        self.committed = Some((committed, id));
    }

    /// The only load message in a body.
    fn message_in(&mut self, way: Way, body: &[u8]) -> Option<Message> {
        let marker = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        let place = marker.find(body, 0)?;
        let text = &body[place.clone()];
        let is_alone = marker
            .find(body, place.end)
            .is_none_or(|again| body[again] == *text);
        let (sender, k) = payload::claimed(text).filter(|_| is_alone)?;
        let is_last = text.get(2) == Some(&b'f');
        Some(Message {
            place,
            sender,
            k,
            is_last,
        })
    }

    /// Notes which rooms a client names; returns the only one in this body.
    fn note_rooms(
        &mut self,
        id: ConnectionId,
        body: &[u8],
        message: Option<&Range<usize>>,
    ) -> Option<usize> {
        let (before, after) = match message {
            Some(place) => (&body[..place.start], &body[place.end..]),
            None => (body, &[][..]),
        };
        let mut named = Vec::new();
        for (nth, room) in self.rooms.iter().enumerate() {
            if names(before, room.as_bytes()) || names(after, room.as_bytes()) {
                named.push(nth);
            }
        }
        let rooms = &mut self.connections[id.0].rooms;
        rooms.extend(&named);
        match (&named[..], rooms.len()) {
            ([only], _) => Some(*only),
            ([], 1) => rooms.first().copied(),
            _ => None,
        }
    }

    /// The body with the address in it translated, as the other side knows it.
    fn translated<'b>(&self, way: Way, body: &'b [u8]) -> Cow<'b, [u8]> {
        let translate = || {
            let place = self.talk.address(way, body)?;
            let address = std::str::from_utf8(&body[place.clone()]).ok()?;
            let known = match way {
                Way::Up => &self.owns,
                Way::Down => &self.clients,
            };
            let other = known.get(&address.parse().ok()?)?;
            Some(replaced(body, place, other.to_string().as_bytes()))
        };
        translate().map_or(Cow::Borrowed(body), Cow::Owned)
    }

    fn take_up(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Then {
        let translated = self.translated(Way::Up, body);
        let Some(message) = self.message_in(Way::Up, &translated) else {
            passing.pass(&translated, out);
            return Then::GoOn;
        };
        let room = self.note_rooms(id, &translated, Some(&message.place));
        if let Some(room) = room {
            self.room_of.insert(message.sender, room);
        }
        self.published += 1;
        let connection = &mut self.connections[id.0];
        connection.published += 1;
        if !connection.senders.contains(&message.sender) {
            connection.senders.push(message.sender);
        }
        if connection.sent.len() == REMEMBERED {
            connection.sent.pop_front();
        }
        let envelope = replaced(&translated, message.place.clone(), b"\0");
        connection.sent.push_back(envelope);
        let may = connection.published > SPOKEN && !message.is_last;
        let client = connection.client;
        match self.is_due().filter(|_| may) {
            Some(fault @ Fault::DropPublish) => {
                self.commit(fault, id, format!("{message} from {client}"));
                return Then::GoOn;
            }
            Some(fault @ Fault::AckThenLose) => {
                self.lost = Some((message.sender, message.k));
                self.commit(fault, id, format!("{message} from {client}"));
            }
            _ => {}
        }
        passing.pass(&translated, out);
        Then::GoOn
    }

    fn take_down(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Then {
        let translated = self.translated(Way::Down, body);
        let body = &*translated;
        let message = self.message_in(Way::Down, body);
        if self.held.as_ref().is_some_and(|held| held.to == id) {
            self.release(id, passing, body, message.as_ref(), out);
            return Then::GoOn;
        }
        let Some(message) = message else {
            self.pass_answer(id, passing, body, out);
            return Then::GoOn;
        };
        let is_own = self.connection(id).senders.contains(&message.sender);
        if is_own && self.talk.acks() == Acks::Echo {
            self.pass_ack(id, passing, body, &message.to_string(), out);
            return Then::GoOn;
        }
        if self.lost == Some((message.sender, message.k)) {
            return Then::GoOn;
        }
        if is_own {
            passing.pass(body, out);
            return Then::GoOn;
        }
        self.connections[id.0].delivered += 1;
        self.put_astray(id, passing, body, &message, out);
        let connection = self.connection(id);
        let only_listens = connection.published == 0;
        let may = connection.delivered > SETTLED && !message.is_last;
        let what = format!("{message} to {}", connection.client);
        let Some(fault) = self.is_due().filter(|_| may) else {
            passing.pass(body, out);
            return Then::GoOn;
        };
        match fault {
            Fault::DropRelay => {
                self.commit(fault, id, what);
                return Then::GoOn;
            }
            Fault::DuplicateRelay => {
                self.commit(fault, id, what);
                passing.pass(body, out);
                passing.pass(body, out);
                return Then::GoOn;
            }
            Fault::FlipByte => {
                self.commit(fault, id, what);
                passing.pass(&flipped(body, &message.place), out);
                return Then::GoOn;
            }
            Fault::TruncateMessage => {
                self.commit(fault, id, what);
                passing.pass(&truncated(body, &message.place), out);
                return Then::GoOn;
            }
            Fault::WrongSender => {
                if let Some((body, other)) = self.misattributed(id, body) {
                    self.commit(fault, id, format!("{what}, as from {other}"));
                    passing.pass(&body, out);
                    return Then::GoOn;
                }
            }
            Fault::SwapSameSender | Fault::SwapSenders if only_listens && self.held.is_none() => {
                let mut bytes = Vec::new();
                passing.pass(body, &mut bytes);
                let to = id;
                self.held = Some(Held { to, bytes, message });
                return Then::GoOn;
            }
            Fault::DelayRelay if only_listens => {
                self.commit(fault, id, what);
                passing.pass(body, out);
                return Then::Wait(DELAY);
            }
            Fault::HangUp if only_listens => {
                self.commit(fault, id, what);
                passing.pass(body, out);
                return Then::HangUp;
            }
            _ => {}
        }
        passing.pass(body, out);
        Then::GoOn
    }

    /// Passes on what is no message, and may be an ack.
    fn pass_answer(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        let concerns_acks = matches!(self.is_due(), Some(Fault::DropAck | Fault::DoubleAck));
        let sent = &self.connections[id.0].sent;
        let mut sent = sent.iter().map(Vec::as_slice);
        if concerns_acks && self.talk.is_ack(body, &mut sent) {
            self.pass_ack(id, passing, body, "an ack", out);
        } else {
            passing.pass(body, out);
        }
    }

    fn pass_ack(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        which: &str,
        out: &mut Vec<u8>,
    ) {
        let connection = self.connection(id);
        let may = connection.published > SPOKEN;
        let what = format!("{which} to {}", connection.client);
        match self.is_due().filter(|_| may) {
            Some(fault @ Fault::DropAck) => self.commit(fault, id, what),
            Some(fault @ Fault::DoubleAck) => {
                self.commit(fault, id, what);
                passing.pass(body, out);
                passing.pass(body, out);
            }
            _ => passing.pass(body, out),
        }
    }

    /// Sends what was held back for the next frame: after it, if they can change places.
    fn release(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        message: Option<&Message>,
        out: &mut Vec<u8>,
    ) {
        let Some(held) = self.held.take() else {
            return;
        };
        let fault = self.is_due();
        let is_other = |sender: &SenderId| !self.connection(id).senders.contains(sender);
        let next = message.filter(|message| !message.is_last && is_other(&message.sender));
        let same_room = |next: &Message| {
            self.room_of.get(&next.sender) == self.room_of.get(&held.message.sender)
        };
        let swapped = next.filter(|next| match fault {
            Some(Fault::SwapSameSender) => next.sender == held.message.sender,
            Some(Fault::SwapSenders) => next.sender != held.message.sender && same_room(next),
            _ => false,
        });
        self.connections[id.0].delivered += u64::from(next.is_some());
        if let (Some(next), Some(fault)) = (swapped, fault) {
            let client = self.connection(id).client;
            let what = format!("{next} before {} to {client}", held.message);
            self.commit(fault, id, what);
            passing.pass(body, out);
            out.extend_from_slice(&held.bytes);
        } else {
            out.extend_from_slice(&held.bytes);
            passing.pass(body, out);
        }
    }

    /// Takes a message for one that is to come to a room where it does not belong; or brings the
    /// one that was taken before to a client that is in other rooms only.
    fn put_astray(
        &mut self,
        id: ConnectionId,
        passing: &Passing<'_, '_>,
        body: &[u8],
        message: &Message,
        out: &mut Vec<u8>,
    ) {
        let Some(fault @ Fault::WrongRoom) = self.is_due() else {
            return;
        };
        let connection = self.connection(id);
        let Some(stray) = &self.stray else {
            if let Some(room) = self.room_of.get(&message.sender)
                && !message.is_last
            {
                let mut bytes = Vec::new();
                passing.pass(body, &mut bytes);
                self.stray = Some(Stray {
                    bytes,
                    message: message.clone(),
                    room: *room,
                });
            }
            return;
        };
        let is_elsewhere = !connection.rooms.is_empty() && !connection.rooms.contains(&stray.room);
        if is_elsewhere && connection.delivered > SETTLED {
            let (client, room) = (connection.client, &self.rooms[stray.room]);
            let what = format!("{} of room {room:?} to {client}", stray.message);
            out.extend_from_slice(&stray.bytes);
            self.commit(fault, id, what);
        }
    }

    /// The body with the address of another client in place of the sender's.
    fn misattributed(&self, to: ConnectionId, body: &[u8]) -> Option<(Vec<u8>, SocketAddr)> {
        let place = self.talk.address(Way::Down, body)?;
        let stated = std::str::from_utf8(&body[place.clone()]).ok()?;
        let stated: SocketAddr = stated.parse().ok()?;
        let own = self.connection(to).client;
        let mut speakers = self.connections.iter().filter(|one| one.published > 0);
        let other = speakers.find(|one| one.client != stated && one.client != own)?;
        let body = replaced(body, place, other.client.to_string().as_bytes());
        Some((body, other.client))
    }
}

/// A frame on its way.
struct Passing<'f, 'b> {
    frame: &'f Frame<'b>,
    frames: &'f dyn Frames,
    /// What is passed is all that the frame carries.
    is_whole: bool,
}

impl Passing<'_, '_> {
    /// Appends a frame that carries `body`: the frame itself, if that is what it carries.
    fn pass(&self, body: &[u8], out: &mut Vec<u8>) {
        if self.is_whole && *body == *self.frame.body {
            out.extend_from_slice(self.frame.bytes);
        } else {
            self.frames.write(self.frame, body, out);
        }
    }
}

/// The parts of a body that `split` divides, without empty ones; all of it if nothing divides it.
fn parts<'b>(body: &'b [u8], split: Option<&[u8]>) -> Vec<&'b [u8]> {
    let Some(split) = split.filter(|split| memmem::find(body, split).is_some()) else {
        return vec![body];
    };
    let mut parts = Vec::new();
    let mut from = 0;
    for at in memmem::find_iter(body, split) {
        parts.push(&body[from..at]);
        from = at + split.len();
    }
    parts.push(&body[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether a room is named in `text`, and not one whose name is longer.
fn names(text: &[u8], room: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    memmem::find_iter(text, room).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        !is_part(before) && !is_part(text.get(at + room.len()))
    })
}

fn replaced(body: &[u8], place: Range<usize>, by: &[u8]) -> Vec<u8> {
    [&body[..place.start], by, &body[place.end..]].concat()
}

/// The body with the last character of the message changed: who sent it still shows.
fn flipped(body: &[u8], message: &Range<usize>) -> Vec<u8> {
    let mut body = body.to_vec();
    let last = &mut body[message.end - 1];
    *last = if *last == b'A' { b'B' } else { b'A' };
    body
}

/// The body with the first half of the message, at least so much that it shows who sent it.
fn truncated(body: &[u8], message: &Range<usize>) -> Vec<u8> {
    const SHOWS_ITS_SENDER_BYTES: usize = 30;
    let length = (message.len() / 2).max(SHOWS_ITS_SENDER_BYTES.min(message.len()));
    replaced(body, message.start + length..message.end, b"")
}

#[cfg(test)]
mod tests;
