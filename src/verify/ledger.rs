//! What is owed to each session of a shard, and whether it came (targets that number their
//! messages, rules S1 to S10, J1, J2).
//!
//! The target states its order, so the stronger property is checked: each session's frames run on
//! from its welcome without gap, and number ↔ message is one-to-one over all sessions. A session
//! is an integer (the number that must come next); the shard shares one window of lines
//! ([`Reference`]), against which all but the first receiver of a message compare bytes. What
//! does not go by the book is handed to the [`Judge`](super::judge::Judge), who knows what the
//! other shards saw.

mod acks;
mod ends;
mod relays;
mod sending;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::{Anomaly, Batch, Fact, Message};
use super::directory::{ClientId, Directory};
use super::findings::Example;
use super::kind::Kind;
use super::reference::{Reference, Slot};
use super::session::{NEVER, Session, Stage};
use super::trace::tape::{Tag, Taken, Tape, Writing};
use super::trace::view::View;
use crate::wire::line::Lines;
use crate::wire::ndjson::{self, ServerFrame};
use relays::is_late;

/// A number skipped for this many numbers is given up: what still comes of it is reordered.
const REORDER_WINDOW: u64 = 1024;

/// Numbers and anomalies that may gather before [`Ledger::wants_flush`] asks for a hand-over.
const FLUSH_AFTER: usize = 4096;

/// The largest number taken for one: what every JSON reader keeps exact.
const MAX_SEQ: u64 = ndjson::MAX_ID;

/// Bytes of an offending line that an example quotes.
const QUOTED_BYTES: usize = 120;

/// What a shard verifies against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The run's id, in every load message.
    pub run: u32,
    /// The seed of the fillers.
    pub seed: u64,
    /// A delivery slower than this is a violation; `None` for no limit.
    pub late_after_ns: Option<u64>,
    /// Whether the clients and the target see each other's addresses as they are (loopback), so
    /// that the welcome's can be checked too.
    pub addresses_known: bool,
    /// The longest line that the target takes, in bytes.
    pub max_line_bytes: usize,
}

/// A session of this shard, until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle(u32);

impl Handle {
    /// Sessions that are open at the same time have different ones, from 0 on without gaps.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a frame was, as far as the client's script or the recorder care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is open.
    Welcome,
    /// A relay that was owed.
    Relay {
        /// When its message was due.
        intended_ns: u64,
        /// When it was really sent, if that is still known.
        sent_ns: Option<u64>,
    },
    /// An ack that was owed.
    Ack {
        /// When its message was due.
        intended_ns: u64,
        /// When it was really sent.
        sent_ns: u64,
    },
    /// The target complained.
    Error {
        /// The error's code.
        code: Box<str>,
    },
    /// The target said goodbye.
    Bye,
    /// Anything else; if it was wrong, that is on record.
    Other,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// End of stream.
    Eof,
    /// The connection was reset or broke.
    Broken,
    /// The client let go of it itself.
    Ours,
    /// The time was up before the target had finished.
    TimeUp,
}

/// The ledger of one shard.
#[derive(Debug)]
pub struct Ledger {
    terms: Terms,
    directory: View,
    sessions: Vec<Session>,
    free: Vec<u32>,
    reference: Reference,
    batch: Batch,
    /// Messages of this shard that wait for their acks.
    unacked: u64,
    /// Lines kept since the last hand-over.
    kept_since_flush: usize,
    #[cfg(test)]
    never_compare: bool,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(terms: Terms, directory: Arc<Directory>) -> Self {
        Self {
            terms,
            directory: View::new(directory),
            sessions: Vec::new(),
            free: Vec::new(),
            reference: Reference::default(),
            batch: Batch::default(),
            unacked: 0,
            kept_since_flush: 0,
            #[cfg(test)]
            never_compare: false,
        }
    }

    /// Decodes every line from here on: what the comparison must be equivalent to.
    #[cfg(test)]
    pub(super) fn never_compare(&mut self) {
        self.never_compare = true;
    }

    /// Writes down from here on what this ledger is told.
    pub(crate) fn record_on(&mut self, tape: Writing) {
        self.directory.set_tape(Tape::Writing(Box::new(tape)));
    }

    /// Where a replay's events come from.
    pub(super) fn tape(&mut self) -> &mut View {
        &mut self.directory
    }

    /// The session number `index`, if there is one that has not ended.
    pub(super) fn handle(&self, index: u64) -> Option<Handle> {
        let session = self.sessions.get(usize::try_from(index).ok()?)?;
        (session.stage != Stage::Free).then_some(Handle(index as u32))
    }

    /// The line that the reference holds for the number that is due to this session, LF included.
    pub(super) fn due_line(&mut self, handle: Handle) -> Option<&[u8]> {
        let due = self.sessions[handle.0 as usize].next;
        self.reference.get(due).map(|(_, line)| line)
    }

    /// `client` is about to connect: a new session. `None` when all session numbers are used up.
    pub fn connecting(&mut self, client: ClientId) -> Option<Handle> {
        if let Some(tape) = self.directory.writing() {
            tape.event(Tag::Connecting).number(u64::from(client.0));
        }
        // Whatever anyone has seen by now was numbered before this connection: not owed.
        let joined = self.directory.highest_seq();
        let session = Session::new(self.directory.open(client)?, client, joined);
        self.batch.tally.sessions += 1;
        let index = match self.free.pop() {
            Some(index) => {
                self.sessions[index as usize] = session;
                index
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() as u32 - 1
            }
        };
        Some(Handle(index))
    }

    /// The connection stands; `local` is its own end's address.
    pub fn connected(&mut self, handle: Handle, local: SocketAddr) {
        let local = local.to_string();
        if let Some(tape) = self.directory.writing() {
            tape.of_session(Tag::Connected, handle.0)
                .bytes(local.as_bytes());
        }
        let id = self.session(handle).id;
        self.directory.set_address(id, &local);
        self.session(handle).conduct.stood = true;
    }

    /// Messages of this session that wait for their acks.
    #[must_use]
    pub fn unacked(&self, handle: Handle) -> usize {
        let own = self.sessions[handle.0 as usize].own.as_deref();
        own.map_or(0, |own| {
            own.pending.len() + own.raw.as_ref().map_or(0, |r| r.acks_owed as usize)
        })
    }

    /// One read gave `frames` whole frames, the first of which began in an earlier read if
    /// `split`.
    pub fn read_done(&mut self, frames: u64, split: bool) {
        if let Some(tape) = self.directory.writing() {
            tape.read_done(split);
        }
        self.batch.coverage.joined_frames += frames.saturating_sub(1);
        self.batch.coverage.split_frames += u64::from(split);
    }

    /// Takes the next frame of a read and says what it was; `None` when the read is used up.
    /// `now_ns` is when the read returned.
    #[inline]
    pub fn next(&mut self, handle: Handle, lines: &mut Lines<'_>, now_ns: u64) -> Option<Event> {
        #[cfg(test)]
        if self.never_compare {
            return self.next_slowly(handle, lines, now_ns);
        }
        let session = &mut self.sessions[handle.0 as usize];
        if let Some((slot, line)) = self.reference.get(session.next)
            && slot.sender != session.id
            && lines.take_if(line)
        {
            session.next += 1;
            slot.receivers += 1;
            slot.last_ns = now_ns;
            let (intended_ns, sent_ns) = (slot.intended_ns, slot.sent_ns);
            self.batch.tally.delivered += 1;
            if let Some(tape) = self.directory.writing() {
                tape.matched(handle.0, now_ns);
            }
            if is_late(self.terms.late_after_ns, intended_ns, now_ns) || session.trouble.is_some() {
                self.after_match(handle, now_ns);
            }
            return Some(Event::Relay {
                intended_ns,
                sent_ns,
            });
        }
        self.next_slowly(handle, lines, now_ns)
    }

    /// What the fast path leaves out because it hardly ever applies.
    #[cold]
    fn after_match(&mut self, handle: Handle, now_ns: u64) {
        let mut moves = Vec::new();
        let session = &mut self.sessions[handle.0 as usize];
        session.went_on(&mut moves);
        let (receiver, seq) = (session.id, session.next - 1);
        if let Some(slot) = self.reference.slot(seq) {
            let message = Message {
                sender: slot.sender,
                k: slot.k,
            };
            self.check_lateness(receiver, seq, message, slot.intended_ns, now_ns);
        }
        self.explain(handle, moves, now_ns);
    }

    #[inline(never)]
    fn next_slowly(&mut self, handle: Handle, lines: &mut Lines<'_>, now_ns: u64) -> Option<Event> {
        let before = lines.rest();
        match self.directory.writing() {
            Some(tape) if !before.is_empty() => tape.settle(),
            _ => return self.step(handle, lines, now_ns),
        }
        // Split lines are told by what they are split of: of long lines every read splits one.
        let begun = lines.pending();
        let begun_bytes = begun.len();
        let due = self.due_line(handle).and_then(|d| d.strip_prefix(begun));
        let rest = due.map(<[u8]>::to_vec);
        let event = self.step(handle, lines, now_ns);
        let taken = &before[..before.len() - lines.rest().len()];
        let taken = match rest {
            Some(rest) if begun_bytes > 0 && rest == taken => Taken::Rest,
            Some(rest) if begun_bytes == 0 && event.is_none() && rest.starts_with(taken) => {
                Taken::Part(taken.len())
            }
            _ => Taken::Bytes(taken),
        };
        if let Some(tape) = self.directory.writing() {
            tape.step(handle.0, now_ns, taken);
        }
        event
    }

    fn step(&mut self, handle: Handle, lines: &mut Lines<'_>, now_ns: u64) -> Option<Event> {
        let event = match lines.next()? {
            Ok(line) => match ndjson::decode_server(line) {
                Ok(frame) => self.frame(handle, line, frame, now_ns),
                Err(malformed) => {
                    let text = format!("{}: {}", malformed.detail, quote(line));
                    self.malformed(handle, &text, line.len(), now_ns)
                }
            },
            Err(too_long) => {
                // Behind it the stream cannot be read: whatever is missing then follows from it.
                self.malformed(handle, &too_long.to_string(), usize::MAX, now_ns)
            }
        };
        Some(event)
    }

    fn frame(&mut self, handle: Handle, line: &[u8], frame: ServerFrame<'_>, now_ns: u64) -> Event {
        if let ServerFrame::Relay { seq, .. }
        | ServerFrame::Ack { seq, .. }
        | ServerFrame::Welcome { seq, .. }
        | ServerFrame::Bye { seq } = frame
            && seq > MAX_SEQ
        {
            let what = format!("number {seq} is over {MAX_SEQ}: {}", quote(line));
            return self.malformed(handle, &what, line.len(), now_ns);
        }
        match frame {
            ServerFrame::Relay {
                seq,
                client_ip,
                message,
            } => self.relay(handle, line, seq, &client_ip, &message, now_ns),
            ServerFrame::Ack { seq, id } => self.ack(handle, seq, id, now_ns),
            ServerFrame::Welcome { protocol, .. } if protocol != ndjson::PROTOCOL_VERSION => {
                let ours = ndjson::PROTOCOL_VERSION;
                let what = format!("a welcome to protocol {protocol}, where {ours} is spoken");
                self.malformed(handle, &what, 0, now_ns)
            }
            ServerFrame::Welcome { client_ip, seq, .. } => {
                self.welcome(handle, &client_ip, seq, now_ns)
            }
            ServerFrame::Error { code, detail, id } => {
                self.error(handle, &code, &detail, id, now_ns)
            }
            ServerFrame::Bye { seq } => self.bye(handle, seq, now_ns),
            ServerFrame::Unknown => {
                self.batch.tally.unknown_frames += 1;
                Event::Other
            }
        }
    }

    fn malformed(&mut self, handle: Handle, what: &str, bytes: usize, now_ns: u64) -> Event {
        let text = format!("{} got what is no frame: {what}", self.name(handle));
        self.session(handle).malformed(bytes);
        self.certain(Kind::MalformedFrame, handle, text, now_ns);
        Event::Other
    }

    /// Whether enough has gathered that [`Ledger::take_batch`] should be called before its time.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        self.kept_since_flush + self.batch.len() >= FLUSH_AFTER
    }

    /// Hands over everything learned since the last call. O(sessions): call it on a timer, and
    /// when [`Ledger::wants_flush`] says so.
    pub fn take_batch(&mut self) -> Batch {
        if let Some(tape) = self.directory.writing() {
            tape.event(Tag::TakeBatch);
        }
        // Sessions yet to come are owed nothing up to here.
        let mut watermark = self.directory.highest_seq() + 1;
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if session.next != NEVER
                && session.oldest_open.saturating_add(REORDER_WINDOW) < session.next
            {
                let before = session.next - REORDER_WINDOW;
                self.give_up_holes(Handle(index as u32), before);
            }
            watermark = watermark.min(self.sessions[index].horizon());
        }
        let facts = &mut self.batch.facts;
        self.reference
            .retire_before(watermark, |seq, slot| facts.push(relayed(seq, slot)));
        self.kept_since_flush = 0;
        let mut batch = std::mem::take(&mut self.batch);
        batch.watermark = watermark;
        batch
    }

    fn session(&mut self, handle: Handle) -> &mut Session {
        &mut self.sessions[handle.0 as usize]
    }

    fn name(&self, handle: Handle) -> String {
        let client = self.sessions[handle.0 as usize].client;
        self.directory.client_name(client).to_owned()
    }

    fn certain(&mut self, kind: Kind, handle: Handle, text: String, now_ns: u64) {
        let example = self.example(handle, None, None, text, now_ns);
        self.batch.anomalies.push(Anomaly::Certain(kind, example));
    }

    fn certain_about(
        &mut self,
        kind: Kind,
        handle: Handle,
        seq: u64,
        message: Option<Message>,
        text: String,
        now_ns: u64,
    ) {
        let seq = (seq > 0).then_some(seq);
        let example = self.example(handle, seq, message, text, now_ns);
        self.batch.anomalies.push(Anomaly::Certain(kind, example));
    }

    fn example(
        &self,
        handle: Handle,
        seq: Option<u64>,
        message: Option<Message>,
        text: String,
        at_ns: u64,
    ) -> Example {
        Example {
            text,
            sender: message.map(|m| self.directory.name(m.sender)),
            receiver: Some(self.name(handle)),
            k: message.map(|m| m.k),
            seq,
            at_ns,
        }
    }
}

fn relayed(seq: u64, slot: &Slot) -> Fact {
    Fact::Relayed {
        seq,
        message: Message {
            sender: slot.sender,
            k: slot.k,
        },
        intended_ns: slot.intended_ns,
        first_ns: slot.first_ns,
        last_ns: slot.last_ns,
        receivers: u64::from(slot.receivers),
        first_receiver: slot.first_receiver,
    }
}

/// The beginning of what came, fit for a terminal.
fn quote(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(QUOTED_BYTES)];
    let mut text = format!("`{}`", shown.escape_ascii());
    if shown.len() < bytes.len() {
        text.push_str(&format!(" … {} bytes", bytes.len()));
    }
    text
}
