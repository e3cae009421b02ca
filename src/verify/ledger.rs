//! What is owed to each session of a shard, and whether it came (targets that number their
//! messages, rules S1 to S10, J1, J2).
//!
//! The target states its order, so the stronger property is checked: each session's frames run on
//! from its welcome without gap, and number ↔ message is one-to-one over all sessions. A session
//! is an integer (the number that must come next); the shard shares one window of lines
//! ([`Reference`]), against which all but the first receiver of a message compare bytes. What
//! does not go by the book is handed to the [`Judge`](super::judge::Judge), who knows what the
//! other shards saw.

use std::net::SocketAddr;
use std::sync::Arc;

use super::batch::{Anomaly, Batch, Fact, Message, Proof};
use super::directory::{ClientId, Directory, RawFate, hash_of};
use super::findings::Example;
use super::ids::{MAX_K, publish_id, split_id};
use super::kind::Kind;
use super::reference::{Reference, Slot};
use super::session::{Hole, NEVER, Own, Pending, Place, Raw, Session, Stage};
use crate::wire::line::{LineBuffer, Lines};
use crate::wire::ndjson::{self, ErrorCode, ServerFrame};
use crate::wire::payload::{self, Header, NotIntact, SenderId};

/// A number skipped for this many numbers is given up: what still comes of it is reordered.
const REORDER_WINDOW: u64 = 1024;

/// Numbers and anomalies that may gather before [`Ledger::wants_flush`] asks for a hand-over.
const FLUSH_AFTER: usize = 4096;

/// Refused or echoed messages that a session remembers, to know a late ack for what it is.
const SETTLED_OTHERWISE: usize = 4096;

/// The largest number taken for one: what every JSON reader keeps exact.
const MAX_SEQ: u64 = ndjson::MAX_ID;

/// Bytes of an offending line that an example quotes.
const QUOTED_BYTES: usize = 120;

/// What a shard verifies against.
#[derive(Debug, Clone, Copy)]
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
    directory: Arc<Directory>,
    sessions: Vec<Session>,
    free: Vec<u32>,
    reference: Reference,
    batch: Batch,
    /// Messages of this shard that wait for their acks.
    unacked: u64,
    /// Lines kept since the last hand-over.
    kept_since_flush: usize,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(terms: Terms, directory: Arc<Directory>) -> Self {
        Self {
            terms,
            directory,
            sessions: Vec::new(),
            free: Vec::new(),
            reference: Reference::default(),
            batch: Batch::default(),
            unacked: 0,
            kept_since_flush: 0,
        }
    }

    /// `client` is about to connect: a new session. `None` when all session numbers are used up.
    pub fn connecting(&mut self, client: ClientId) -> Option<Handle> {
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
        let id = self.session(handle).id;
        self.directory.set_address(id, &local.to_string());
    }

    /// A message is about to be sent: gives it its k. `now_ns` is taken before the write. `None`
    /// when the session has sent all it can number.
    pub fn sending(&mut self, handle: Handle, intended_ns: u64, now_ns: u64) -> Option<Header> {
        let run = self.terms.run;
        let others_unacked = self.unacked;
        let session = &mut self.sessions[handle.0 as usize];
        let (sender, seen) = (session.id, session.seen());
        let own = session.own();
        if own.last_k == MAX_K {
            return None;
        }
        own.last_k += 1;
        let header = Header {
            run,
            sender,
            k: own.last_k,
            last: false,
            intended_ns,
            previous_ns: own.previous_ns,
        };
        own.previous_ns = intended_ns;
        if others_unacked > own.pending.len() as u64 {
            self.batch.coverage.overlapping_sends += 1;
        }
        own.pending.push_back(Pending {
            k: header.k,
            intended_ns,
            sent_ns: now_ns,
            seen,
        });
        let lag_ns = now_ns.saturating_sub(intended_ns);
        self.directory.sends.sent(sender, header.k, lag_ns);
        self.unacked += 1;
        self.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` as it goes over the wire. Needed only behind raw bytes without a
    /// line end: they run together with it, and then the message is not what the target reads.
    pub fn sent_publish(&mut self, handle: Handle, header: &Header, line: &[u8]) {
        let session = &mut self.sessions[handle.0 as usize];
        let Some(own) = session.own.as_deref_mut() else {
            return;
        };
        let Some(raw) = own.raw.as_mut().filter(|r| r.lines.pending_bytes() > 0) else {
            return;
        };
        let id = publish_id(header.sender, header.k);
        let mut lines = raw.lines.feed(line);
        let intact = matches!(
            lines.next(),
            Some(Ok(line)) if ndjson::decode_publish(line).is_ok_and(|p| p.id == Some(id))
        );
        if !intact {
            session.conduct.provoked = true;
            if own.pending.pop_back().is_some() {
                self.unacked -= 1;
            }
            own.settle_otherwise(header.k);
        }
    }

    /// A script sends `bytes` as they stand.
    pub fn sending_raw(&mut self, handle: Handle, bytes: &[u8]) {
        let max_line_bytes = self.terms.max_line_bytes;
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        let raw = own.raw.get_or_insert_with(|| Raw {
            lines: LineBuffer::new(max_line_bytes),
            acks_owed: 0,
        });
        let mut lines = raw.lines.feed(bytes);
        while let Some(line) = lines.next() {
            let Ok(line) = line else {
                session.conduct.provoked = true;
                break;
            };
            match ndjson::decode_publish(line) {
                Ok(publish) if !publish.message.is_empty() => {
                    self.directory
                        .sent_raw(publish.message.as_bytes(), RawFate::Accepted);
                    raw.acks_owed += 1;
                }
                _ => {
                    session.conduct.provoked = true;
                    self.directory.sent_raw(line, RawFate::Rejected);
                }
            }
        }
        if raw.lines.pending_bytes() > 0 {
            session.conduct.provoked = true;
        }
    }

    /// The client stops reading for a while: it may be cut off as slow.
    pub fn stops_reading(&mut self, handle: Handle) {
        self.session(handle).conduct.stopped_reading = true;
    }

    /// The client half-closes: the rest and a bye are owed (J2).
    pub fn leaving(&mut self, handle: Handle) {
        self.session(handle).conduct.leaving = true;
    }

    /// The client resets or closes the connection: nothing more is owed (J3).
    pub fn letting_go(&mut self, handle: Handle) {
        self.session(handle).conduct.gone = true;
        self.batch.coverage.aborts += 1;
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
        self.batch.coverage.joined_frames += frames.saturating_sub(1);
        self.batch.coverage.split_frames += u64::from(split);
    }

    /// Takes the next frame of a read and says what it was; `None` when the read is used up.
    /// `now_ns` is when the read returned.
    #[inline]
    pub fn next(&mut self, handle: Handle, lines: &mut Lines<'_>, now_ns: u64) -> Option<Event> {
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
        let session = &mut self.sessions[handle.0 as usize];
        if let Some(trouble) = &mut session.trouble {
            trouble.after_malformed = false;
        }
        let (receiver, seq) = (session.id, session.next - 1);
        if let Some(slot) = self.reference.slot(seq) {
            let message = Message {
                sender: slot.sender,
                k: slot.k,
            };
            self.check_lateness(receiver, seq, message, slot.intended_ns, now_ns);
        }
    }

    #[inline(never)]
    fn next_slowly(&mut self, handle: Handle, lines: &mut Lines<'_>, now_ns: u64) -> Option<Event> {
        let event = match lines.next()? {
            Ok(line) => match ndjson::decode_server(line) {
                Ok(frame) => self.frame(handle, line, frame, now_ns),
                Err(malformed) => {
                    let text = format!("{}: {}", malformed.detail, quote(line));
                    self.malformed(handle, &text, now_ns)
                }
            },
            Err(too_long) => self.malformed(handle, &too_long.to_string(), now_ns),
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
            return self.malformed(handle, &what, now_ns);
        }
        match frame {
            ServerFrame::Relay {
                seq,
                client_ip,
                message,
            } => self.relay(handle, line, seq, &client_ip, &message, now_ns),
            ServerFrame::Ack { seq, id } => self.ack(handle, seq, id, now_ns),
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

    fn malformed(&mut self, handle: Handle, what: &str, now_ns: u64) -> Event {
        let text = format!("{} got what is no frame: {what}", self.name(handle));
        self.session(handle).trouble().after_malformed = true;
        self.certain(Kind::MalformedFrame, handle, text, now_ns);
        Event::Other
    }

    fn welcome(&mut self, handle: Handle, client_ip: &str, seq: u64, now_ns: u64) -> Event {
        if self.session(handle).stage != Stage::Connecting {
            return self.malformed(handle, "a second welcome", now_ns);
        }
        let id = self.session(handle).id;
        if self.terms.addresses_known
            && let Err(truth) = self.directory.check_address(id, client_ip)
        {
            let name = self.name(handle);
            let text = format!("{name} connected from {truth} and was welcomed as {client_ip}");
            self.certain(Kind::MisattributedRelay, handle, text, now_ns);
        } else {
            self.directory.set_address(id, client_ip);
        }
        let traffic = self.unacked > 0 || seq > self.session(handle).joined;
        self.batch.coverage.joins_during_traffic += u64::from(traffic);
        self.open_at(handle, seq);
        Event::Welcome
    }

    /// Everything after `seq` is owed, but nothing that was known before the connection began.
    fn open_at(&mut self, handle: Handle, seq: u64) {
        let session = self.session(handle);
        session.joined = session.joined.max(seq);
        session.next = session.joined + 1;
        session.stage = Stage::Open;
    }

    /// A numbered frame before the welcome: J1 is broken, and the session begins where it does.
    fn require_welcome(&mut self, handle: Handle, seq: u64, now_ns: u64) {
        if self.session(handle).stage == Stage::Connecting {
            let name = self.name(handle);
            let text = format!("{name} got number {seq} before any welcome");
            self.certain(Kind::MissingWelcome, handle, text, now_ns);
            self.open_at(handle, seq.saturating_sub(1));
        }
    }

    fn relay(
        &mut self,
        handle: Handle,
        line: &[u8],
        seq: u64,
        client_ip: &str,
        text: &str,
        now_ns: u64,
    ) -> Event {
        self.require_welcome(handle, seq, now_ns);
        let header = match payload::decode(text.as_bytes(), self.terms.seed, self.terms.run) {
            Ok(header) => header,
            Err(NotIntact::Altered) => {
                let what = format!("altered: {}", quote(text.as_bytes()));
                return self.irregular(Kind::AlteredRelay, handle, line, seq, None, what, now_ns);
            }
            Err(NotIntact::Foreign) => return self.foreign(handle, line, seq, text, now_ns),
        };
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        if header.run != self.terms.run {
            let what = format!("from another run ({:08x})", header.run);
            return self.irregular(Kind::StaleRelay, handle, line, seq, None, what, now_ns);
        }
        if !self.directory.was_opened(header.sender) || header.k == 0 {
            let what = format!("from {}, which does not exist", header.sender);
            return self.irregular(Kind::PhantomRelay, handle, line, seq, None, what, now_ns);
        }
        if header.sender == self.session(handle).id {
            return self.echoed(handle, seq, message, now_ns);
        }
        let attribution = self.directory.check_address(header.sender, client_ip);
        if let Err(truth) = &attribution {
            let what = format!("attributed to {client_ip}, sent from {truth}");
            let kind = Kind::MisattributedRelay;
            self.report_irregular(kind, handle, line, seq, Some(message), what, now_ns);
        }
        self.intact(handle, line, seq, &header, attribution.is_ok(), now_ns)
    }

    /// A relay whose message is intact, of this run, and another's: is its number in place?
    fn intact(
        &mut self,
        handle: Handle,
        line: &[u8],
        seq: u64,
        header: &Header,
        clean: bool,
        now_ns: u64,
    ) -> Event {
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        let known = self.known(seq);
        let next = self.session(handle).next;
        if seq > next && known.is_none() && self.known(next) == Some(message) {
            // Everyone else has this message as the number that is due here: the number is wrong.
            let what = format!("number {next}, sent as number {seq}");
            self.report_irregular(
                Kind::AlteredRelay,
                handle,
                line,
                next,
                Some(message),
                what,
                now_ns,
            );
            self.session(handle).next += 1;
            return Event::Other;
        }
        let session = &mut self.sessions[handle.0 as usize];
        let receiver = session.id;
        let place = session.place(seq, now_ns);
        if place == Place::Behind {
            return self.behind(handle, seq, message, known, now_ns);
        }
        if place == Place::Skipped {
            self.reordered(handle, seq, message, now_ns);
        }
        self.batch.tally.delivered += 1;
        self.check_lateness(receiver, seq, message, header.intended_ns, now_ns);
        let lag_ns = self.directory.sends.lag_ns(header.sender, header.k);
        let sent_ns = lag_ns.map(|lag_ns| header.intended_ns.saturating_add(lag_ns));
        match known {
            None if clean => {
                self.keep(handle, line, seq, header, now_ns);
                if let Some((slot, _)) = self.reference.get(seq) {
                    slot.sent_ns = sent_ns;
                }
            }
            Some(known) if known != message => {
                let conflict = Anomaly::Conflict {
                    receiver,
                    seq,
                    claim: message,
                    at_ns: now_ns,
                };
                self.batch.anomalies.push(conflict);
            }
            _ => {
                // The same message in other bytes (or misattributed, which is on record), or one
                // that the window has let go.
                if let Some((slot, _)) = self.reference.get(seq) {
                    slot.receivers += 1;
                    slot.last_ns = now_ns;
                } else if clean {
                    self.batch.tally.uncompared += 1;
                }
            }
        }
        Event::Relay {
            intended_ns: header.intended_ns,
            sent_ns,
        }
    }

    /// The message that this shard knows number `seq` to be.
    fn known(&self, seq: u64) -> Option<Message> {
        self.reference.slot(seq).map(|s| Message {
            sender: s.sender,
            k: s.k,
        })
    }

    /// Keeps the first clean line of a number for the shard's other receivers.
    fn keep(&mut self, handle: Handle, line: &[u8], seq: u64, header: &Header, now_ns: u64) {
        let receiver = self.session(handle).id;
        let facts = &mut self.batch.facts;
        let message = (header.sender, header.k);
        self.reference.insert(
            seq,
            line,
            message,
            header.intended_ns,
            receiver,
            now_ns,
            |n, s| {
                facts.push(relayed(n, s));
            },
        );
        self.kept_since_flush += 1;
        self.directory.saw(seq);
    }

    /// An intact relay under a number that had come, or that was never owed.
    fn behind(
        &mut self,
        handle: Handle,
        seq: u64,
        message: Message,
        known: Option<Message>,
        now_ns: u64,
    ) -> Event {
        let name = self.name(handle);
        let what = self.describe(message);
        let session = self.session(handle);
        let (receiver, joined, ended) = (session.id, session.joined, session.next == NEVER);
        if seq <= joined || ended {
            let text = format!(
                "{name} joined after number {joined} and was sent {what} (number {seq}), \
                 which it was not owed"
            );
            self.certain_about(Kind::StaleRelay, handle, seq, Some(message), text, now_ns);
        } else if known.is_some_and(|known| known != message) {
            let conflict = Anomaly::Conflict {
                receiver,
                seq,
                claim: message,
                at_ns: now_ns,
            };
            self.batch.anomalies.push(conflict);
        } else {
            self.batch.tally.duplicated += 1;
            let text = format!("{name} got {what} (number {seq}) again");
            self.certain_about(
                Kind::DuplicateRelay,
                handle,
                seq,
                Some(message),
                text,
                now_ns,
            );
        }
        Event::Other
    }

    /// A relay filled a hole: it came behind later ones. Whose they were decides what it is.
    fn reordered(&mut self, handle: Handle, seq: u64, message: Message, now_ns: u64) {
        let next = self.session(handle).next;
        let overtakers = seq + 1..next.min(seq + 1 + REORDER_WINDOW);
        let same_sender = overtakers
            .filter_map(|n| self.reference.slot(n))
            .any(|slot| slot.sender == message.sender && slot.k > message.k);
        let name = self.name(handle);
        let what = self.describe(message);
        let (kind, by) = if same_sender {
            (Kind::ReorderedRelay, "a later message of the same sender")
        } else {
            (Kind::OrderDivergence, "another sender's later number")
        };
        let text = format!("{name} got {what} (number {seq}) only behind {by}");
        self.certain_about(kind, handle, seq, Some(message), text, now_ns);
    }

    fn echoed(&mut self, handle: Handle, seq: u64, message: Message, now_ns: u64) -> Event {
        let name = self.name(handle);
        let text = format!(
            "{name} was relayed its own message {} (number {seq}): a sender gets the ack alone",
            message.k
        );
        let session = self.session(handle);
        session.excuse(seq);
        session.own().settle_otherwise(message.k);
        self.certain_about(Kind::EchoedRelay, handle, seq, Some(message), text, now_ns);
        Event::Other
    }

    /// A relay of a text that no load message ever was.
    fn foreign(&mut self, handle: Handle, line: &[u8], seq: u64, text: &str, now_ns: u64) -> Event {
        let kind = match self.directory.raw_fate(text) {
            Some(RawFate::Accepted) => {
                let session = &mut self.sessions[handle.0 as usize];
                if session.place(seq, now_ns) == Place::Behind {
                    let name = self.name(handle);
                    let text = format!("{name} got a scripted text (number {seq}) again");
                    self.certain_about(Kind::DuplicateRelay, handle, seq, None, text, now_ns);
                } else {
                    self.batch.tally.delivered += 1;
                    self.directory.saw(seq);
                }
                return Event::Other;
            }
            Some(RawFate::Rejected) => Kind::RelayOfRejected,
            None => Kind::PhantomRelay,
        };
        let what = match (kind, text) {
            (Kind::RelayOfRejected, _) => format!("refused before: {}", quote(text.as_bytes())),
            (_, "") => "blank".to_owned(),
            _ => format!("sent by nobody: {}", quote(text.as_bytes())),
        };
        self.irregular(kind, handle, line, seq, None, what, now_ns)
    }

    /// A relay that is wrong in itself. Its number counts as accounted for.
    #[allow(clippy::too_many_arguments)] // an anomaly's fields
    fn irregular(
        &mut self,
        kind: Kind,
        handle: Handle,
        line: &[u8],
        seq: u64,
        message: Option<Message>,
        what: String,
        now_ns: u64,
    ) -> Event {
        self.session(handle).excuse(seq);
        self.report_irregular(kind, handle, line, seq, message, what, now_ns);
        Event::Other
    }

    #[allow(clippy::too_many_arguments)] // an anomaly's fields
    fn report_irregular(
        &mut self,
        kind: Kind,
        handle: Handle,
        line: &[u8],
        seq: u64,
        message: Option<Message>,
        what: String,
        now_ns: u64,
    ) {
        let receiver = self.session(handle).id;
        self.batch.anomalies.push(Anomaly::Irregular {
            kind,
            receiver,
            seq,
            line: hash_of(line),
            message,
            text: what,
            at_ns: now_ns,
        });
    }

    fn ack(&mut self, handle: Handle, seq: u64, id: Option<u64>, now_ns: u64) -> Event {
        self.require_welcome(handle, seq, now_ns);
        let session = &mut self.sessions[handle.0 as usize];
        let me = session.id;
        let own = session.own.get_or_insert_default();
        let k = match id.map(split_id) {
            Some((sender, k)) if sender == me && k <= own.last_k && k > 0 => k,
            named => {
                if let Some(raw) = own.raw.as_mut().filter(|r| r.acks_owed > 0) {
                    raw.acks_owed -= 1;
                    session.place(seq, now_ns);
                    self.directory.saw(seq);
                    return Event::Other;
                }
                session.excuse(seq);
                let message = named.map(|(sender, k)| Message { sender, k });
                let stray = Anomaly::StrayAck {
                    receiver: me,
                    seq,
                    message,
                    at_ns: now_ns,
                };
                self.batch.anomalies.push(stray);
                return Event::Other;
            }
        };
        let Some((pending, in_order)) = own.take(k) else {
            return self.unowed_ack(handle, seq, k, now_ns);
        };
        if in_order.acked_now {
            self.unacked -= 1 + in_order.overtook;
        }
        self.batch.tally.acked += 1;
        let place = session.place(seq, now_ns);
        self.directory.saw(seq);
        let message = Message { sender: me, k };
        if seq <= pending.seen {
            let seen = pending.seen;
            self.batch.anomalies.push(Anomaly::AckBehind {
                seq,
                message,
                seen,
                at_ns: now_ns,
            });
        } else {
            if !in_order.acked_now || place == Place::Skipped {
                let name = self.name(handle);
                let text =
                    format!("{name} got the ack of its message {k} (number {seq}) out of order");
                self.certain_about(Kind::ReorderedAck, handle, seq, Some(message), text, now_ns);
            }
            if in_order.acked_now && in_order.overtook == 0 {
                let (sent_ns, acked_ns) = (pending.sent_ns, now_ns);
                self.batch.facts.push(Fact::Acked {
                    seq,
                    message,
                    sent_ns,
                    acked_ns,
                });
            }
        }
        Event::Ack {
            intended_ns: pending.intended_ns,
            sent_ns: pending.sent_ns,
        }
    }

    /// An ack for a message of this session that waits for none.
    fn unowed_ack(&mut self, handle: Handle, seq: u64, k: u64, now_ns: u64) -> Event {
        let name = self.name(handle);
        let session = self.session(handle);
        let message = Message {
            sender: session.id,
            k,
        };
        let refused = session.own().settled_otherwise.contains(&k);
        let echoed_only = refused && session.next <= seq;
        session.excuse(seq);
        if echoed_only && !session.conduct.provoked {
            // The echo of this message was reported; its ack is in place.
            session.place(seq, now_ns);
            return Event::Other;
        }
        let (kind, text) = if refused {
            let text = format!("{name} was acked its message {k} (number {seq}), refused before");
            (Kind::RelayOfRejected, text)
        } else {
            let text = format!("{name} was acked its message {k} twice, now as number {seq}");
            (Kind::DuplicateAck, text)
        };
        self.certain_about(kind, handle, seq, Some(message), text, now_ns);
        Event::Other
    }

    fn error(
        &mut self,
        handle: Handle,
        code: &str,
        detail: &str,
        id: Option<u64>,
        now_ns: u64,
    ) -> Event {
        self.batch.tally.errors_received += 1;
        let session = &mut self.sessions[handle.0 as usize];
        if code == ErrorCode::SlowConsumer.as_str() {
            session.conduct.cut_off = true;
        }
        let refused = match id.map(split_id) {
            Some((sender, k)) if sender == session.id => session.own().take(k).map(|t| (k, t)),
            _ => None,
        };
        if let Some((k, (_, in_order))) = refused {
            if in_order.acked_now {
                self.unacked -= 1 + in_order.overtook;
            }
            session.own().settle_otherwise(k);
            if !session.conduct.provoked {
                let message = Message {
                    sender: session.id,
                    k,
                };
                let name = self.name(handle);
                let text = format!(
                    "{name} sent message {k} in order and was answered {code} ({detail}), not acked"
                );
                self.certain_about(Kind::MissingAck, handle, 0, Some(message), text, now_ns);
            }
        }
        Event::Error { code: code.into() }
    }

    fn bye(&mut self, handle: Handle, seq: u64, now_ns: u64) -> Event {
        self.require_welcome(handle, seq + 1, now_ns);
        let session = &mut self.sessions[handle.0 as usize];
        if session.stage == Stage::Finished {
            return self.malformed(handle, "a second bye", now_ns);
        }
        if !session.conduct.leaving {
            self.batch.tally.unasked_byes += 1;
            session.conduct.gone = true;
        }
        if seq >= session.next {
            session.skip_to(seq + 1, Proof::Bye(seq), now_ns);
            session.next = seq + 1;
        } else if seq + 1 < session.next {
            let last = session.next - 1;
            let text = format!(
                "{} was told by its bye that number {seq} is the last, but number {last} had come",
                self.name(handle)
            );
            self.certain(Kind::MissingBye, handle, text, now_ns);
        }
        self.give_up_holes(handle, NEVER);
        self.report_unacked(handle, now_ns);
        let session = &mut self.sessions[handle.0 as usize];
        session.joined = session.seen();
        session.next = NEVER;
        session.stage = Stage::Finished;
        self.batch.coverage.polite_leaves += u64::from(session.conduct.leaving);
        self.batch.coverage.fences_seen += 1;
        Event::Bye
    }

    /// The connection is over; `unread` are its last bytes without a line end. The handle is free.
    pub fn ended(&mut self, handle: Handle, ending: Ending, unread: &[u8], now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let (id, stage, conduct) = (session.id, session.stage, session.conduct);
        match stage {
            Stage::Finished => {
                if !unread.is_empty() {
                    let what = format!("behind the bye: {}", quote(unread));
                    self.malformed(handle, &what, now_ns);
                }
            }
            Stage::Open => {
                let unseen = self.directory.highest_seq().saturating_sub(session.seen());
                self.give_up_holes(handle, NEVER);
                self.ended_early(handle, ending, conduct, unseen, now_ns);
            }
            Stage::Connecting | Stage::Free => {}
        }
        self.drop_pending(handle);
        let session = &mut self.sessions[handle.0 as usize];
        session.stage = Stage::Free;
        session.next = NEVER;
        session.own = None;
        session.trouble = None;
        self.batch.ended.push((id, self.directory.highest_seq()));
        self.free.push(handle.0);
    }

    /// The end of a session that got no bye.
    fn ended_early(
        &mut self,
        handle: Handle,
        ending: Ending,
        conduct: super::session::Conduct,
        unseen: u64,
        now_ns: u64,
    ) {
        let excused = conduct.gone || conduct.provoked;
        if conduct.gone || ending == Ending::Ours {
            self.batch.tally.optional += unseen;
        } else if ending == Ending::TimeUp {
            self.batch.tally.unfinished += 1;
            self.batch.tally.unresolved += unseen;
        } else if conduct.cut_off {
            self.batch.tally.optional += unseen;
            self.batch.tally.cut_off += u64::from(!conduct.stopped_reading && !excused);
        } else if conduct.leaving && !excused {
            let name = self.name(handle);
            let text = format!("{name} half-closed and was closed without a bye");
            self.certain(Kind::MissingBye, handle, text, now_ns);
        } else if !excused {
            let how = if ending == Ending::Eof {
                "closed"
            } else {
                "broke"
            };
            let name = self.name(handle);
            let text =
                format!("the target {how} the connection of {name}, which did nothing wrong");
            let client = self.session(handle).client;
            let example = self.example(handle, None, None, text, now_ns);
            self.batch.tally.unresolved += unseen;
            self.batch
                .anomalies
                .push(Anomaly::HungUp { client, example });
        }
    }

    /// Reports the holes that begin under `seq` as missing.
    fn give_up_holes(&mut self, handle: Handle, seq: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let receiver = session.id;
        for Hole {
            from,
            until,
            proof,
            at_ns,
        } in session.give_up_before(seq)
        {
            self.batch.anomalies.push(Anomaly::Missing {
                receiver,
                from,
                until,
                proof,
                at_ns,
            });
        }
    }

    /// At a bye: what was sent and neither acked nor refused never will be.
    fn report_unacked(&mut self, handle: Handle, now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let sender = session.id;
        // Of a client that sent rubbish, or that the target closed, nobody knows what arrived.
        let excused = session.conduct.provoked || session.conduct.gone;
        let Some(own) = session.own.as_deref().filter(|_| !excused) else {
            return;
        };
        let waiting = own.overtaken.iter().chain(&own.pending);
        for pending in waiting.filter(|p| !own.settled_otherwise.contains(&p.k)) {
            let message = Message {
                sender,
                k: pending.k,
            };
            let sent_ns = pending.sent_ns;
            self.batch.anomalies.push(Anomaly::Unacked {
                message,
                sent_ns,
                at_ns: now_ns,
            });
        }
        self.drop_pending(handle);
    }

    fn drop_pending(&mut self, handle: Handle) {
        if let Some(own) = self.sessions[handle.0 as usize].own.as_deref_mut() {
            self.unacked -= own.pending.len() as u64;
            own.pending.clear();
            own.overtaken.clear();
        }
    }

    #[inline]
    fn check_lateness(
        &mut self,
        receiver: SenderId,
        seq: u64,
        message: Message,
        intended_ns: u64,
        now_ns: u64,
    ) {
        if is_late(self.terms.late_after_ns, intended_ns, now_ns) {
            let at_ns = now_ns;
            self.batch.anomalies.push(Anomaly::Late {
                receiver,
                seq,
                message,
                intended_ns,
                at_ns,
            });
        }
    }

    /// Whether the session is welcomed, or goes on as if it were.
    #[must_use]
    pub fn is_open(&self, handle: Handle) -> bool {
        self.sessions[handle.0 as usize].stage == Stage::Open
    }

    /// The time is up and no welcome came, nor anything else: J1 is broken, and what the session
    /// is owed begins with what no one has seen yet.
    pub fn no_welcome(&mut self, handle: Handle, now_ns: u64) {
        if self.session(handle).stage == Stage::Connecting {
            let text = format!("{} connected and was never welcomed", self.name(handle));
            self.certain(Kind::MissingWelcome, handle, text, now_ns);
            self.open_at(handle, self.directory.highest_seq());
        }
    }

    /// A scripted `expect_error` did not come.
    pub fn missing_error(&mut self, handle: Handle, code: &str, within: &str, now_ns: u64) {
        let name = self.name(handle);
        let text = format!("{name} expected an error `{code}` within {within}, and none came");
        self.certain(Kind::MissingError, handle, text, now_ns);
    }

    /// A scripted `await_acks` took too long.
    pub fn overdue_acks(&mut self, handle: Handle, within: &str, now_ns: u64) {
        let waiting = self.unacked(handle);
        let name = self.name(handle);
        let text = format!("{name} waited {within} for {waiting} acks that did not come");
        self.certain(Kind::MissingAck, handle, text, now_ns);
        // Reported once: at the end they are not counted again.
        let session = &mut self.sessions[handle.0 as usize];
        if let Some(own) = session.own.as_deref_mut() {
            let ks: Vec<u64> = own.pending.iter().map(|p| p.k).collect();
            for k in ks {
                own.settle_otherwise(k);
            }
        }
    }

    /// Whether enough has gathered that [`Ledger::take_batch`] should be called before its time.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        self.kept_since_flush + self.batch.len() >= FLUSH_AFTER
    }

    /// Hands over everything learned since the last call. O(sessions): call it on a timer, and
    /// when [`Ledger::wants_flush`] says so.
    pub fn take_batch(&mut self) -> Batch {
        let mut watermark = NEVER;
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if session.next != NEVER
                && session.oldest_hole.saturating_add(REORDER_WINDOW) < session.next
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

    fn describe(&self, message: Message) -> String {
        format!(
            "message {} of {}",
            message.k,
            self.directory.name(message.sender)
        )
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

/// How an ack (or a refusal) stood among those still awaited.
#[derive(Debug, Clone, Copy)]
struct AckOrder {
    /// It was awaited; `false` if it had been overtaken.
    acked_now: bool,
    /// Earlier messages that it overtook.
    overtook: u64,
}

impl Own {
    /// No ack is waited for any more. Bounded: a target that refuses everything is told so often
    /// enough.
    fn settle_otherwise(&mut self, k: u64) {
        if self.settled_otherwise.len() == SETTLED_OTHERWISE {
            self.settled_otherwise.pop_front();
        }
        self.settled_otherwise.push_back(k);
    }

    /// Takes message `k` off the waiting list; `None` if it is not on it.
    fn take(&mut self, k: u64) -> Option<(Pending, AckOrder)> {
        if let Some(at) = self.overtaken.iter().position(|p| p.k == k) {
            let order = AckOrder {
                acked_now: false,
                overtook: 0,
            };
            return Some((self.overtaken.remove(at), order));
        }
        // In order, and nearly always: the front.
        let at = self.pending.iter().position(|p| p.k == k)?;
        self.overtaken.extend(self.pending.drain(..at));
        let pending = self.pending.pop_front().expect("it was found");
        self.last_acked_k = self.last_acked_k.max(k);
        Some((
            pending,
            AckOrder {
                acked_now: true,
                overtook: at as u64,
            },
        ))
    }
}

#[inline]
fn is_late(late_after_ns: Option<u64>, intended_ns: u64, now_ns: u64) -> bool {
    late_after_ns.is_some_and(|limit| now_ns.saturating_sub(intended_ns) > limit)
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
