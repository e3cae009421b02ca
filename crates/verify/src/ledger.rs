//! The ledger of a shard: what its clients did and saw, compared with what is owed to each of them.
//!
//! A room is a broadcast of its own, so each has a ledger of its own: here is that of the unnamed
//! room, in which every connection is, and those of the rooms that have names ([`rooms`]).
//!
//! There are two kinds of ledger with one set of calls. A target that states its order is held to
//! it ([`Numbered`]): each session must see every number once, in order. Where a target states
//! none, or promises less, the order is inferred from the deliveries of all ([`Inferred`]).
//! Everything that a ledger is told is also written down here, if the run is recorded.

mod connections;
mod members;
mod outside;
mod rooms;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::bounds;
use super::context::FLUSH_AFTER;
use super::directory::{ClientId, Directory};
use super::inferred::Inferred;
pub use super::numbered::MAX_SEQ;
use super::numbered::Numbered;
use super::promises::Promises;
use super::trace::tag::Tag;
use super::trace::tape::Writing;
use super::trace::view::View;
use super::violation::Evidence;
use chatbench_wire::payload::Header;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Capabilities, Conn, Due, Glued, RawSent, Seen};
use rooms::Rooms;

/// The terms that a shard verifies against.
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
    /// The promises of the target.
    pub promises: Promises,
    /// Capabilities of its protocol.
    pub capabilities: Capabilities,
}

impl Terms {
    /// Whether the target is held to the order that it states. Only the reference protocol's
    /// promises can be checked against numbers; weaker ones are judged by inferred order.
    #[must_use]
    pub fn are_numbered(&self) -> bool {
        let promises = Promises {
            late_after: Promises::default().late_after,
            ..self.promises
        };
        self.capabilities.numbers && promises == Promises::default()
    }

    /// The terms in one of the named rooms.
    const fn in_rooms(self) -> Self {
        Self {
            capabilities: self.capabilities.in_rooms(),
            ..self
        }
    }
}

/// A session of this shard, until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub(super) u32);

impl Handle {
    /// Sessions that are open at the same time have different ones, from 0 on without gaps.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A frame, as far as the client's script or the recorder care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is open, or its client has joined a room.
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
    /// The target said goodbye, or that its client has left a room.
    Bye,
    /// Anything else; if it was wrong, that is on record.
    Other,
}

/// The way in which a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// End of stream.
    Eof,
    /// The connection was reset or broke.
    Broken,
    /// The client closed it itself.
    Ours,
    /// The time was up before the target had finished.
    TimeUp,
}

/// The ledger of one shard.
#[derive(Debug)]
pub struct Ledger {
    terms: Terms,
    shard: usize,
    unnamed: RoomLedger,
    /// The rooms that have names; absent until a client asks to join one.
    rooms: Option<Box<Rooms>>,
    #[cfg(test)]
    never_compare: bool,
}

/// The ledger of one room.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // all of a shard are of one kind
enum RoomLedger {
    Numbered(Numbered),
    Inferred(Inferred),
}

/// Calls the same method of either kind.
macro_rules! either {
    (&$of:expr, $ledger:ident => $call:expr) => {
        match &$of {
            $crate::ledger::RoomLedger::Numbered($ledger) => $call,
            $crate::ledger::RoomLedger::Inferred($ledger) => $call,
        }
    };
    ($of:expr, $ledger:ident => $call:expr) => {
        match &mut $of {
            $crate::ledger::RoomLedger::Numbered($ledger) => $call,
            $crate::ledger::RoomLedger::Inferred($ledger) => $call,
        }
    };
}
use either;

impl RoomLedger {
    /// An empty ledger of a shard, of the room that `view` sees and the kind that `terms` ask for.
    fn new(terms: Terms, view: View, shard: usize) -> Self {
        match terms.are_numbered() {
            true => Self::Numbered(Numbered::new(terms, view)),
            false => Self::Inferred(Inferred::new(terms, view, shard)),
        }
    }

    /// Its view of the directory.
    fn view(&mut self) -> &mut View {
        either!(*self, ledger => &mut ledger.context.directory)
    }

    /// Judges a part of the rest. Returns whether there is more.
    fn take_rest(&mut self) -> (Batch, bool) {
        match self {
            Self::Numbered(ledger) => (ledger.take_batch(), false), // the judge decides
            Self::Inferred(ledger) => ledger.take_up_to(bounds::settled_at_once()),
        }
    }

    fn stop_judging(&mut self) {
        if let Self::Inferred(ledger) = self {
            ledger.stop_judging();
        }
    }
}

impl Ledger {
    /// An empty ledger, of the kind that `terms` ask for.
    #[must_use]
    pub fn new(terms: Terms, directory: Arc<Directory>) -> Self {
        Self::of_shard(0, terms, directory)
    }

    /// An empty ledger of the shard with this number, from 0 on, of several.
    #[must_use]
    pub fn of_shard(shard: usize, terms: Terms, directory: Arc<Directory>) -> Self {
        Self {
            terms,
            shard,
            unnamed: RoomLedger::new(terms, View::new(directory), shard),
            rooms: None,
            #[cfg(test)]
            never_compare: false,
        }
    }

    /// Decodes every line from here on: comparing lines must give the same results.
    #[cfg(test)]
    pub(super) fn never_compare(&mut self) {
        self.never_compare = true;
        either!(self.unnamed, ledger => ledger.never_compare = true);
    }

    /// Writes down what this ledger is told. Call it before anything else: the trace numbers the
    /// lines that are kept from the first one on.
    pub fn record_on(&mut self, tape: Writing) {
        self.tape().record_on(tape);
    }

    /// The tape that this ledger's events are written on or come from.
    pub(super) fn tape(&mut self) -> &mut View {
        self.unnamed.view()
    }

    /// Begins an event of a session on the tape, if there is one.
    fn note(&mut self, tag: Tag, handle: Handle) -> Option<&mut Writing> {
        let view = self.tape();
        let tape = match tag.is_counted() {
            true => view.begin_event(),
            false => view.writing_here(),
        };
        Some(tape?.of_session(tag, handle.0))
    }

    /// The session number `index`, if it has not ended.
    pub(super) fn handle(&self, index: u64) -> Option<Handle> {
        let index = u32::try_from(index).ok()?;
        let handle = Handle(index);
        either!(&self.unnamed, ledger => ledger.context.sessions.is_there(handle)).then_some(handle)
    }

    /// The frame that is known to be due to this session next, and under which number it is kept.
    pub(super) fn due(&mut self, handle: Handle) -> Option<(u32, &[u8])> {
        either!(self.unnamed, ledger => ledger.due(handle))
    }

    /// `client` is about to connect: a new session. `None` when all session numbers are used up.
    pub fn connecting(&mut self, client: ClientId) -> Option<Handle> {
        self.tape().begin_event();
        let opened = either!(self.unnamed, ledger => ledger.connecting(client));
        if let Some(tape) = self.tape().writing() {
            tape.event(Tag::Connecting).number(u64::from(client.0));
            tape.session(opened.map(|(handle, session)| (session.0, handle.0)));
        }
        Some(opened?.0)
    }

    /// The connection stands; `local` is its own end's address. Where no welcome is owed the
    /// session is open.
    pub fn connected(&mut self, handle: Handle, local: SocketAddr) {
        if let Some(tape) = self.note(Tag::Connected, handle) {
            tape.bytes(local.to_string().as_bytes());
        }
        either!(self.unnamed, ledger => ledger.connected(handle, Some(local)));
    }

    /// Messages of this session that wait for their acks, in all rooms.
    #[must_use]
    pub fn unacked(&self, handle: Handle) -> usize {
        let named = self.rooms.as_ref().map_or(0, |r| r.unacked(handle));
        either!(&self.unnamed, ledger => ledger.context.unacked(handle)) + named
    }

    /// One read gave `frames` whole frames, the first of which, if there is one, began in an
    /// earlier read if `split`. Comes after every read, so that a trace knows where it ended.
    pub fn read_done(&mut self, frames: u64, split: bool) {
        let split = split && frames > 0;
        if let Some(tape) = self.tape().writing() {
            tape.read_done(split);
        }
        self.tape().end_event();
        let coverage = either!(self.unnamed, ledger => &mut ledger.context.batch.coverage);
        coverage.joined_frames += frames.saturating_sub(1);
        coverage.split_frames += u64::from(split);
    }

    /// Goes through the bytes of one read of a session: takes the messages that are due by
    /// comparing them, and everything else as `conn` decodes it, and says of each in which room and
    /// what it was. `now_ns` is when the read returned. Anything that the target is to be answered
    /// with is appended to `out`.
    #[inline]
    pub fn read(
        &mut self,
        handle: Handle,
        conn: &mut impl Conn,
        bytes: &[u8],
        out: &mut Vec<u8>,
        now_ns: u64,
        mut each: impl FnMut(RoomId, Event),
    ) {
        if self.rooms.as_ref().is_some_and(|r| r.has_members(handle)) {
            return self.read_in_rooms(handle, conn, bytes, out, now_ns, each);
        }
        let split = !conn.unread().is_empty();
        let (mut input, mut frames) = (bytes, 0);
        loop {
            let take_if = |due: Due<'_>| conn.take_if(&mut input, &due);
            frames += self.take_due(handle, now_ns, take_if, |event| {
                each(RoomId::UNNAMED, event);
            });
            let next = conn.next(&mut input, out);
            let Some((room, seen)) = &next else {
                break;
            };
            let event = match room.is_named() {
                false => self.saw(handle, seen, now_ns),
                true => self.saw_in(handle, *room, seen, now_ns),
            };
            each(*room, event);
            frames += 1;
        }
        self.read_done(frames, split);
    }

    /// The target ended the stream: takes the observations that its end completes.
    pub fn finish(
        &mut self,
        handle: Handle,
        conn: &mut impl Conn,
        now_ns: u64,
        mut each: impl FnMut(RoomId, Event),
    ) {
        let mut frames = 0;
        while let Some((room, seen)) = conn.finish() {
            let room = self.stated(room, &seen);
            each(room, self.saw_in(handle, room, &seen, now_ns));
            frames += 1;
        }
        if frames > 0 {
            self.read_done(frames, true);
        }
    }

    /// Takes the next bytes of a session for as long as they are the message that others got and
    /// that is due to it now: `take_if` compares, and takes them if they are. Returns how many
    /// messages that were. The fast path; where `take_if` says `false` nothing is changed.
    #[inline]
    pub fn take_due(
        &mut self,
        handle: Handle,
        now_ns: u64,
        take_if: impl FnMut(Due<'_>) -> bool,
        each: impl FnMut(Event),
    ) -> u64 {
        either!(self.unnamed, ledger => ledger.take_due(handle, now_ns, take_if, each))
    }

    /// Takes an observation of a session in the unnamed room, or of its connection, and says what it
    /// was.
    #[inline(never)]
    pub fn saw(&mut self, handle: Handle, seen: &Seen<'_>, now_ns: u64) -> Event {
        // Nothing else to be done, as in most runs: 20 instructions less per observation.
        if self.rooms.is_none() && self.tape().writing().is_none() {
            return either!(self.unnamed, ledger => ledger.observe(handle, seen, now_ns));
        }
        let event = self.saw_unnamed(handle, seen, now_ns);
        if self.rooms.is_some() {
            self.concerns_memberships(handle, seen, &event, now_ns);
        }
        event
    }

    fn saw_unnamed(&mut self, handle: Handle, seen: &Seen<'_>, now_ns: u64) -> Event {
        if matches!(seen, Seen::Control) {
            return Event::Other; // not worth a record
        }
        if self.tape().begin_event().is_none() {
            return either!(self.unnamed, ledger => ledger.observe(handle, seen, now_ns));
        }
        // A frame that came in two reads is not compared, but is recorded by the frame that it
        // equals all the same: every read splits one where frames are long.
        let due = self.due(handle);
        let again = match seen {
            Seen::Relay(relay) => due.filter(|(_, due)| *due == relay.frame),
            _ => None,
        };
        let again = again.map(|(frame, _)| frame);
        let event = either!(self.unnamed, ledger => ledger.observe(handle, seen, now_ns));
        if let Some(tape) = self.tape().writing() {
            tape.saw(handle.0, now_ns, seen, again);
        }
        self.tape().end_event();
        event
    }

    /// A message is about to be sent: gives it its k. `now_ns` is taken before the write; `last`
    /// says that it is its session's last one (a fence). `None` when the session has sent all it
    /// can number.
    pub fn sending(
        &mut self,
        handle: Handle,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        let tag = if last { Tag::SendingLast } else { Tag::Sending };
        if let Some(tape) = self.note(tag, handle) {
            tape.time(now_ns).number(now_ns.wrapping_sub(intended_ns));
        }
        either!(self.unnamed, ledger => ledger.sending(handle, intended_ns, now_ns, last))
    }

    /// The publish of `header` ran together with bytes that a script had sent before.
    pub fn sent_glued(&mut self, handle: Handle, header: &Header, glued: Glued) {
        if let Some(tape) = self.note(Tag::SentGlued, handle) {
            tape.glued(glued);
        }
        if !self.sent_glued_in_room(handle, header, glued) {
            either!(self.unnamed, ledger => ledger.sent_glued(handle, header, glued));
        }
    }

    /// A script sends bytes as they stand.
    pub fn sending_raw(&mut self, handle: Handle, sent: &RawSent) {
        if let Some(tape) = self.note(Tag::SentRaw, handle) {
            tape.raw(sent);
        }
        either!(self.unnamed, ledger => ledger.sending_raw(handle, sent));
        self.sent_raw_in_rooms(handle, sent);
    }

    /// The client stops reading for a while: it may be cut off as slow.
    pub fn stops_reading(&mut self, handle: Handle) {
        self.note(Tag::StopsReading, handle);
        self.flag(handle, |flags| flags.stopped_reading = true);
    }

    /// The client had so much to read lately that it may be cut off as slow, though it never
    /// stopped reading.
    pub fn fell_behind(&mut self, handle: Handle) {
        self.note(Tag::FellBehind, handle);
        self.flag(handle, |flags| flags.fell_behind = true);
    }

    /// The client half-closes: the rest is owed and, where the protocol has one, a bye (J2).
    pub fn leaving(&mut self, handle: Handle, now_ns: u64) {
        if let Some(tape) = self.note(Tag::LeavingAt, handle) {
            tape.time(now_ns);
        }
        either!(self.unnamed, ledger => ledger.leaving(handle, now_ns));
        self.leaving_rooms(handle, now_ns);
    }

    /// The client resets or closes the connection: nothing more is owed (J3).
    pub fn letting_go(&mut self, handle: Handle) {
        self.may_close(handle);
        either!(self.unnamed, ledger => ledger.context.batch.coverage.aborts += 1);
    }

    /// The target closes the connection of a session, which it may: nothing more is owed, and what
    /// its client sent last need not have arrived.
    pub fn may_close(&mut self, handle: Handle) {
        self.note(Tag::LettingGo, handle);
        self.flag(handle, |flags| flags.gone = true);
    }

    /// Whether the session is open: welcomed, or goes on as if it were.
    #[must_use]
    pub fn is_open(&self, handle: Handle) -> bool {
        either!(&self.unnamed, ledger => ledger.context.is_open(handle))
    }

    /// The time is up and neither a welcome came nor anything else: J1 is broken, and the session
    /// is owed everything from the first number on that no one has seen yet.
    pub fn no_welcome(&mut self, handle: Handle, now_ns: u64) {
        if let Some(tape) = self.note(Tag::NoWelcome, handle) {
            tape.time(now_ns);
        }
        either!(self.unnamed, ledger => ledger.no_welcome(handle, now_ns));
        self.tape().end_event();
    }

    /// A scripted `await_acks` took too long.
    pub fn overdue_acks(&mut self, handle: Handle, within: &str, now_ns: u64) {
        if let Some(tape) = self.note(Tag::OverdueAcks, handle) {
            tape.time(now_ns).bytes(within.as_bytes());
        }
        let named = self.overdue_in_rooms(handle, within, now_ns);
        either!(self.unnamed, ledger => {
            if !named || ledger.context.unacked(handle) > 0 {
                ledger.context.overdue_acks(handle, within, now_ns);
            }
        });
    }

    /// A scripted `expect_error` did not come.
    pub fn missing_error(&mut self, handle: Handle, code: &str, within: &str, now_ns: u64) {
        if let Some(tape) = self.note(Tag::MissingError, handle) {
            let tape = tape.time(now_ns).bytes(code.as_bytes());
            tape.bytes(within.as_bytes());
        }
        let (code, within) = (code.into(), within.into());
        let missing = Evidence::NoError { code, within };
        either!(self.unnamed, ledger => ledger.context.certain(missing, handle, None, now_ns));
    }

    /// The answer that a script expected did not come; `instead` is what did, empty if nothing.
    pub fn missing_answer(
        &mut self,
        handle: Handle,
        expected: &str,
        within: &str,
        instead: &str,
        now_ns: u64,
    ) {
        if let Some(tape) = self.note(Tag::MissingAnswer, handle) {
            let tape = tape.time(now_ns).bytes(expected.as_bytes());
            tape.bytes(within.as_bytes()).bytes(instead.as_bytes());
        }
        let missing = Evidence::NoAnswer {
            expected: expected.into(),
            within: within.into(),
            instead: instead.into(),
        };
        either!(self.unnamed, ledger => ledger.context.certain(missing, handle, None, now_ns));
    }

    /// The run stops listening: every session is told so, and then cut. `heard_all` says that
    /// everything that had arrived for this one was read.
    pub fn time_up(&mut self, handle: Handle, heard_all: bool, now_ns: u64) {
        if let Some(tape) = self.note(Tag::TimeUp, handle) {
            tape.time(now_ns).number(u64::from(heard_all));
        }
        either!(self.unnamed, ledger => ledger.time_up(handle, heard_all, now_ns));
        self.time_up_in_rooms(handle, heard_all, now_ns);
        self.tape().end_event();
    }

    /// The connection is over; `unread` are its last bytes, which are no whole frame. Frames that
    /// the end of the stream completes ([`Conn::finish`]) are taken before. The handle is free.
    pub fn ended(&mut self, handle: Handle, ending: Ending, unread: &[u8], now_ns: u64) {
        if let Some(tape) = self.begin_event_of_rooms(Some(handle)) {
            let tape = tape.of_session(Tag::Ended, handle.0);
            tape.time(now_ns).number(ending as u64).bytes(unread);
        }
        self.rooms_ended(handle, ending, now_ns);
        either!(self.unnamed, ledger => ledger.ended(handle, ending, unread, now_ns));
        self.tape().end_event();
    }

    /// Whether enough has gathered that [`Ledger::take_batch`] should be called early.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        self.gathered() >= FLUSH_AFTER
    }

    /// Whether so much has gathered that nothing should be read before it is handed over. This
    /// bounds memory where the judge cannot keep up, or where each delivery is a finding.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let named = self.rooms.as_ref().map_or(0, |r| r.gathered);
        either!(&self.unnamed, ledger => ledger.context.batch.len()) + named >= Batch::FULL
    }

    /// Frames and anomalies that have gathered since the last hand-over.
    fn gathered(&self) -> usize {
        let named = self.rooms.as_ref().map_or(0, |r| r.gathered);
        either!(&self.unnamed, ledger => ledger.context.gathered()) + named
    }

    /// As [`Ledger::take_batch`] when all sessions are over, but in parts, so that a caller that
    /// waits for the end can look at a clock in between. Returns whether there is more.
    pub fn take_rest(&mut self) -> (Batch, bool) {
        self.open_rooms_with_news();
        if let Some(tape) = self.begin_event_of_rooms(None) {
            tape.event(Tag::TakeRest);
        }
        let (mut batch, mut more) = self.unnamed.take_rest();
        if let Some(rooms) = &mut self.rooms {
            batch.named = rooms.take_batches(|ledger| {
                let (batch, of_it) = ledger.take_rest();
                more |= of_it;
                (batch, of_it)
            });
        }
        self.batch_taken(&batch);
        (batch, more)
    }

    /// There is no time for more: messages that are not judged by now are only counted, and handed
    /// over as that.
    pub fn stop_judging(&mut self) {
        if let Some(tape) = self.tape().begin_event() {
            tape.event(Tag::StopJudging);
        }
        self.unnamed.stop_judging();
        if let Some(rooms) = &mut self.rooms {
            rooms.stop_judging();
        }
    }

    /// Hands over everything learned since the last call. O(sessions), and in named rooms those of
    /// the rooms where anything happened, here or in another shard: call it on a timer, and when [`Ledger::wants_flush`] says
    /// so.
    pub fn take_batch(&mut self) -> Batch {
        self.open_rooms_with_news();
        if let Some(tape) = self.begin_event_of_rooms(None) {
            tape.event(Tag::TakeBatch);
        }
        let mut batch = either!(self.unnamed, ledger => ledger.take_batch());
        if let Some(rooms) = &mut self.rooms {
            batch.named = rooms.take_batches(|ledger| {
                let batch = either!(*ledger, ledger => ledger.take_batch());
                (batch, false)
            });
        }
        self.batch_taken(&batch);
        batch
    }

    /// A batch was handed over, and with it lines were released.
    fn batch_taken(&mut self, batch: &Batch) {
        self.tape().end_event();
        let first_frame = either!(self.unnamed, ledger => ledger.first_frame());
        if self.tape().writing().is_none() {
            return;
        }
        for one in &batch.named {
            self.frames_released(one.room);
        }
        if let Some(tape) = self.tape().writing_here() {
            tape.takes_batch(first_frame);
        }
    }
}

/// Whether a delivery took longer than is promised.
#[inline]
pub(super) fn is_late(late_after_ns: Option<u64>, intended_ns: u64, now_ns: u64) -> bool {
    late_after_ns.is_some_and(|limit| now_ns.saturating_sub(intended_ns) > limit)
}
