//! The clients of one shard and everything they share: its ledger, its recorder, its buffers.
//!
//! One thread owns a fleet, so nothing in here is locked, and a delivery allocates nothing. The
//! methods never wait: they are called from the tasks of [`super::client`], [`super::pacer`] and
//! [`super::script`] between two awaits.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::connection::{Connection, Talk};
use super::live::Live;
use super::shard::Member;
use super::source::Source;
use crate::measure::{ShardRecorder, Window};
use crate::scenario::draws::Draws;
use crate::scenario::plan::PayloadSize;
use crate::verify::batch::Batch;
use crate::verify::directory::ClientId;
use crate::verify::ledger::{Ending, Event, Handle, Ledger};
use crate::wire::Dialect;

/// Bytes of one read at most. One clock read stamps every line in it: the last of 64 KiB of short
/// lines is stamped about 30 µs early by the work done for those before it.
const READ_BYTES: usize = 64 << 10;

/// When a client leaves at the end of the run. Who sends leaves first, so that everyone else is
/// still there for its last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Joins first and leaves last.
    Observer,
    /// Has nothing to say.
    Listener,
    /// Publishes on a schedule or in a closed loop.
    Talker,
    /// Goes by a script, and leaves by it.
    Scripted,
}

/// A client of this shard.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) rank: Rank,
    /// Where its latencies go ([`crate::measure::group::place`]).
    group: usize,
    pub(super) payload: PayloadSize,
    pub(super) source: Source,
    /// Whose address its messages claim, by its place in this fleet; its own if absent.
    pub(super) claims: Option<usize>,
    pub(super) connection: Option<Connection>,
    /// What a script waits for; absent for everyone else.
    pub(super) signals: Option<Rc<Signals>>,
    /// Connections this client has had: tells a task that its connection is not the present one.
    pub(super) generation: u32,
    /// It holds back what is due: its socket is full, or too much is unacked.
    pub(super) held: bool,
    /// It stands in [`Fleet::due`] to go on filling its window.
    pub(super) filling: bool,
    /// A session whose connection does not stand yet.
    unbound: Option<Handle>,
    /// Payload sizes and pauses.
    pub(super) draws: Draws,
}

/// What a script waits for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Something came, or the connection ended.
    pub(super) news: Notify,
    /// Codes of the errors that came and were not expected yet.
    pub(super) errors: RefCell<VecDeque<Box<str>>>,
}

impl Signals {
    /// An error came. Of a target that complains without end the latest are kept.
    fn error(&self, code: Box<str>) {
        const KEPT: usize = 1024;
        let mut errors = self.errors.borrow_mut();
        if errors.len() == KEPT {
            errors.pop_front();
        }
        errors.push_back(code);
    }
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Frames.
    Frames,
    /// The end: the connection is gone from the fleet.
    Ended(Ending),
}

/// What came in one read.
#[derive(Debug, Default)]
struct Tally {
    /// The client's.
    group: usize,
    frames: u64,
    acks: u64,
    welcomed: bool,
}

impl Tally {
    /// Takes what a frame was to the recorder and to the client's script.
    #[inline]
    fn take(
        &mut self,
        event: Event,
        recorder: &mut ShardRecorder,
        script: Option<&Signals>,
        now_ns: u64,
    ) {
        self.frames += 1;
        match event {
            Event::Relay {
                intended_ns,
                sent_ns,
            } => {
                recorder.relay(self.group, intended_ns, now_ns);
                if let Some(sent_ns) = sent_ns {
                    recorder.relay_service(intended_ns, sent_ns, now_ns);
                }
            }
            Event::Ack {
                intended_ns,
                sent_ns,
            } => {
                recorder.ack(self.group, intended_ns, now_ns);
                recorder.ack_service(intended_ns, sent_ns, now_ns);
                self.acks += 1;
            }
            Event::Error { code } => {
                recorder.error();
                if let Some(script) = script {
                    script.error(code);
                }
            }
            Event::Welcome => self.welcomed = true,
            Event::Bye | Event::Other => {}
        }
    }
}

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) clock: Clock,
    pub(super) clients: Vec<Client>,
    pub(super) ledger: Ledger,
    pub(super) recorder: ShardRecorder,
    pub(super) live: Arc<Live>,
    /// Clients by when their next message is due.
    pub(super) due: BinaryHeap<Reverse<(u64, u32)>>,
    /// The load is over: nothing more is sent on a schedule.
    pub(super) load_over: bool,
    pub(super) seed: u64,
    /// Unacked messages of one client from which on an open loop or a script waits. The wait is
    /// recorded as the target's.
    pub(super) most_unacked: usize,
    pub(super) dialect: Dialect,
    max_read_line_bytes: usize,
    scratch: Box<[u8]>,
    pub(super) text: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) blocked: Vec<usize>,
    last_read_bytes: usize,
    /// When the target last said anything to any of them.
    pub(super) heard_ns: u64,
    /// Messages of open loops that were due within the window.
    pub(super) offered: u64,
    /// Messages of open loops that were due when the load ended and not sent, through no fault of
    /// the target.
    pub(super) behind_at_end: u64,
    /// Of those, messages of clients whose connections were gone: nobody could have sent them.
    pub(super) cut_off_at_end: u64,
    /// Messages of open loops that were due when the load ended and not sent, whosever fault.
    pub(super) unsent_at_end: u64,
    pub(super) window: Window,
    /// Rung when a socket has become full.
    pub(super) wake_flusher: Rc<Notify>,
    /// Rung when something is due earlier than the pacer knows.
    pub(super) wake_pacer: Rc<Notify>,
    /// Who reads on once the judge has been handed what there is.
    parked: Vec<Waker>,
    /// Rung when much has gathered for the judge.
    pub(super) wake_hand_over: Rc<Notify>,
}

impl Fleet {
    pub(super) fn new(
        clock: Clock,
        ledger: Ledger,
        recorder: ShardRecorder,
        live: Arc<Live>,
        seed: u64,
        dialect: Dialect,
        max_read_line_bytes: usize,
    ) -> Self {
        Self {
            clock,
            clients: Vec::new(),
            ledger,
            recorder,
            live,
            due: BinaryHeap::new(),
            load_over: false,
            seed,
            most_unacked: usize::MAX,
            dialect,
            max_read_line_bytes,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            text: Vec::new(),
            out: Vec::new(),
            blocked: Vec::new(),
            parked: Vec::new(),
            wake_flusher: Rc::default(),
            wake_pacer: Rc::default(),
            wake_hand_over: Rc::default(),
            offered: 0,
            behind_at_end: 0,
            unsent_at_end: 0,
            cut_off_at_end: 0,
            window: Window::NEVER,
            last_read_bytes: 0,
            heard_ns: 0,
        }
    }

    pub(super) fn add(&mut self, member: Member) {
        let Member { id, rank, .. } = member;
        let signals = (rank == Rank::Scripted).then(Rc::default);
        self.clients.push(Client {
            id,
            rank,
            group: member.group,
            payload: member.payload,
            source: member.source,
            // Only a classic client's messages claim anything, and one shard has all of those.
            claims: member.claims.map(|client| client.0 as usize),
            connection: None,
            signals,
            generation: 0,
            held: false,
            filling: false,
            unbound: None,
            draws: member.draws,
        });
    }

    /// `client` begins to connect: its new session, or `None` when no more can be told apart.
    pub(super) fn connecting(&mut self, client: usize) -> Option<Handle> {
        let handle = self.ledger.connecting(self.clients[client].id);
        self.clients[client].unbound = handle;
        handle
    }

    /// The connection stands; the welcome is still to come, if the dialect has one. Returns the
    /// connection's generation.
    pub(super) fn connected(&mut self, client: usize, handle: Handle, stream: TcpStream) -> u32 {
        if let Ok(local) = stream.local_addr() {
            self.ledger.connected(handle, local);
        }
        let client = &mut self.clients[client];
        client.generation += 1;
        client.held = false;
        client.unbound = None;
        let connection = Connection::new(self.dialect, stream, handle, self.max_read_line_bytes);
        if connection.welcomed {
            self.live.welcomed(client.rank, client.generation == 1);
        }
        client.connection = Some(connection);
        client.generation
    }

    /// Remembers the task that reads `client`'s connection.
    pub(super) fn set_reader(&mut self, client: usize, generation: u32, reader: AbortHandle) {
        if let Some(connection) = self.connection(client, generation) {
            connection.set_reader(reader);
        }
    }

    /// The connection of `client`, if it still is that of `generation`.
    pub(super) fn connection(&mut self, client: usize, generation: u32) -> Option<&mut Connection> {
        let client = &mut self.clients[client];
        if client.generation != generation {
            return None;
        }
        client.connection.as_mut()
    }

    /// Whether `client` has a connection.
    pub(super) fn is_connected(&self, client: usize) -> bool {
        self.clients[client].connection.is_some()
    }

    /// Messages of `client` that wait for their acks.
    pub(super) fn unacked(&self, client: usize) -> usize {
        let connection = self.clients[client].connection.as_ref();
        connection.map_or(0, |c| self.ledger.unacked(c.handle))
    }

    /// Reads once from `client`'s connection and goes through what came.
    pub(super) fn poll_read(
        &mut self,
        client: usize,
        generation: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Read> {
        let Self {
            clients,
            scratch,
            ledger,
            parked,
            clock,
            ..
        } = self;
        let one = &mut clients[client];
        let Some(connection) = one
            .connection
            .as_mut()
            .filter(|_| one.generation == generation)
        else {
            return Poll::Ready(Read::Ended(Ending::Ours));
        };
        if connection.is_paused(cx.waker()) {
            return Poll::Pending;
        }
        if ledger.is_full() {
            // Where each delivery is a finding, the judge decides how fast this shard reads.
            connection.fall_behind(clock.now_ns());
            parked.push(cx.waker().clone());
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(scratch);
        let polled = Pin::new(&mut connection.stream).poll_read(cx, &mut buffer);
        if polled.is_pending() {
            connection.caught_up();
        }
        match ready!(polled) {
            Ok(()) if !buffer.filled().is_empty() => {
                let n = buffer.filled().len();
                self.last_read_bytes = n;
                self.received(client, n);
                Poll::Ready(Read::Frames)
            }
            Ok(()) => {
                self.last_read_bytes = 0;
                Poll::Ready(self.ended(client, Ending::Eof))
            }
            Err(_) => {
                self.last_read_bytes = 0;
                Poll::Ready(self.ended(client, Ending::Broken))
            }
        }
    }

    /// What the ledger has learned since the last call, for the judge.
    pub(super) fn take_batch(&mut self) -> Batch {
        let batch = self.ledger.take_batch();
        self.parked.drain(..).for_each(Waker::wake);
        batch
    }

    /// The bytes of the last read, to say what a target is that is not this protocol's.
    pub(super) fn last_read(&self) -> &[u8] {
        &self.scratch[..self.last_read_bytes]
    }

    /// The time for `client`'s welcome is up. If the connection stands, and others were welcomed,
    /// its absence is a violation and the client goes on.
    pub(super) fn connected_without_welcome(&mut self, client: usize) -> bool {
        let now_ns = self.clock.now_ns();
        let one = &mut self.clients[client];
        let Some(connection) = one
            .connection
            .as_mut()
            .filter(|_| self.live.connected() > 0)
        else {
            return false;
        };
        self.ledger.no_welcome(connection.handle, now_ns);
        connection.welcomed = true;
        self.live.welcomed(one.rank, one.generation == 1);
        true
    }

    /// `client` did not get as far as a session that can be used.
    pub(super) fn abandon(&mut self, client: usize, handle: Handle) {
        if self.is_connected(client) {
            self.ended(client, Ending::Ours);
        } else if self.clients[client].unbound == Some(handle) {
            self.clients[client].unbound = None;
            let now_ns = self.clock.now_ns();
            self.ledger.ended(handle, Ending::Ours, &[], now_ns);
        }
    }

    /// No client that has no session yet gets one any more.
    pub(super) fn give_up_connecting(&mut self) {
        for client in 0..self.clients.len() {
            let one = &self.clients[client];
            match (&one.connection, one.unbound) {
                (Some(connection), _) if !connection.welcomed => {
                    self.ended(client, Ending::Ours);
                }
                (None, Some(handle)) => self.abandon(client, handle),
                _ => {}
            }
        }
    }

    /// Goes through the `n` bytes that were read for `client`.
    fn received(&mut self, client: usize, n: usize) {
        let now_ns = self.clock.now_ns();
        let Self {
            clients,
            ledger,
            recorder,
            scratch,
            live,
            wake_hand_over,
            heard_ns,
            ..
        } = self;
        let one = &mut clients[client];
        let Some(connection) = one.connection.as_mut() else {
            return;
        };
        connection.took(n, now_ns);
        recorder.received_bytes(now_ns, n as u64);
        *heard_ns = now_ns;
        let handle = connection.handle;
        let mut tally = Tally {
            group: one.group,
            ..Tally::default()
        };
        let split = match &mut connection.talk {
            Talk::Ndjson(lines) => {
                let split = lines.pending_bytes() > 0;
                let mut lines = lines.feed(&scratch[..n]);
                while let Some(event) = ledger.next(handle, &mut lines, now_ns) {
                    tally.take(event, recorder, one.signals.as_deref(), now_ns);
                }
                split
            }
            Talk::Classic { texts, .. } => {
                let split = texts.pending_bytes() > 0;
                let mut pieces = texts.feed(&scratch[..n]);
                while let Some(event) = ledger.next_text(handle, &mut pieces, now_ns) {
                    tally.take(event, recorder, one.signals.as_deref(), now_ns);
                }
                split
            }
        };
        let Tally {
            frames,
            acks,
            welcomed,
            ..
        } = tally;
        ledger.read_done(frames, split);
        if !connection.welcomed && (welcomed || ledger.is_open(handle)) {
            // Perhaps open without its welcome, which is on record.
            connection.welcomed = true;
            if welcomed {
                live.heard_max_line(ledger.max_line_bytes() as u64);
            }
            live.welcomed(one.rank, one.generation == 1);
        }
        if ledger.wants_flush() {
            wake_hand_over.notify_one();
        }
        if let Some(signals) = &one.signals {
            signals.news.notify_one();
        }
        if acks > 0 {
            self.after_acks(client, now_ns);
        }
    }

    /// `client` leaves politely: half-closes once everything is sent; the target's bye ends it.
    pub(super) fn leave(&mut self, client: usize) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        if connection.leaving {
            return;
        }
        connection.leaving = true;
        connection.set_paused(false);
        let now_ns = self.clock.now_ns();
        self.ledger.leaving(connection.handle, now_ns);
        if connection.unsent.is_empty() {
            connection.half_close();
        }
    }

    /// `client` is gone the moment this returns: reset (`abort`) or plainly closed.
    pub(super) fn let_go(&mut self, client: usize, abort: bool) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        self.ledger.letting_go(connection.handle);
        if abort {
            connection.reset_when_closed();
        }
        self.ended(client, Ending::Ours);
    }

    /// The script of `client` stops reading, or goes on.
    pub(super) fn pause_reading(&mut self, client: usize, paused: bool) {
        if let Some(connection) = &mut self.clients[client].connection {
            if paused {
                self.ledger.stops_reading(connection.handle);
            }
            connection.set_paused(paused);
        }
    }

    /// A scripted `expect_error` did not come.
    pub(super) fn missing_error(&mut self, client: usize, code: &str, within: &str) {
        let now_ns = self.clock.now_ns();
        if let Some(connection) = &self.clients[client].connection {
            self.ledger
                .missing_error(connection.handle, code, within, now_ns);
        }
    }

    /// A scripted `await_acks` took too long.
    pub(super) fn overdue_acks(&mut self, client: usize, within: &str) {
        let now_ns = self.clock.now_ns();
        if let Some(connection) = &self.clients[client].connection {
            self.ledger.overdue_acks(connection.handle, within, now_ns);
        }
    }

    /// The connection of `client` is over.
    pub(super) fn ended(&mut self, client: usize, ending: Ending) -> Read {
        let now_ns = self.clock.now_ns();
        let one = &mut self.clients[client];
        if let Some(mut connection) = one.connection.take() {
            let behind = connection.may_be_slow(now_ns);
            let unread = match &mut connection.talk {
                Talk::Ndjson(lines) => lines.pending(),
                Talk::Classic { texts, .. } => {
                    // What could have been the beginning of something longer is what it is.
                    let mut pieces = texts.finish();
                    let mut tally = Tally {
                        group: one.group,
                        ..Tally::default()
                    };
                    while let Some(event) =
                        self.ledger
                            .next_text(connection.handle, &mut pieces, now_ns)
                    {
                        tally.take(event, &mut self.recorder, None, now_ns);
                    }
                    &[]
                }
            };
            if behind {
                self.ledger.fell_behind(connection.handle);
            }
            self.ledger.ended(connection.handle, ending, unread, now_ns);
            if ending == Ending::Ours {
                connection.abort_reader();
            }
            if connection.welcomed {
                self.live.closed(one.rank);
            }
            if let Some(signals) = &one.signals {
                signals.news.notify_one();
            }
        }
        Read::Ended(ending)
    }

    /// Clients that have left, and whose connections the target has not ended.
    pub(super) fn leaving(&self) -> u64 {
        let connections = self.clients.iter().filter_map(|c| c.connection.as_ref());
        connections.filter(|connection| connection.leaving).count() as u64
    }

    /// The time is up: what is still connected is cut. Returns how many that were.
    pub(super) fn cut_all(&mut self) -> u64 {
        let now_ns = self.clock.now_ns();
        for client in &self.clients {
            if let Some(connection) = &client.connection {
                let heard_all = connection.unread_bytes() == Some(0);
                self.ledger.time_up(connection.handle, heard_all, now_ns);
            }
        }
        let mut cut = 0;
        for client in 0..self.clients.len() {
            if self.is_connected(client) {
                self.ended(client, Ending::TimeUp);
                cut += 1;
            }
        }
        cut
    }

    /// The measured phase is known.
    pub(super) fn set_window(&mut self, window: Window) {
        self.window = window;
        self.recorder.set_window(window);
    }

    /// The measured phase ended at `end_ns`, which is earlier than planned for a run cut short.
    pub(super) fn end_window(&mut self, end_ns: u64) {
        let start_ns = self.window.start_ns;
        self.set_window(Window {
            start_ns,
            end_ns: end_ns.max(start_ns),
        });
    }

    /// Bytes that lie unread in the socket of `client`; `None` if it has none or does not read.
    pub(super) fn unread_bytes(&self, client: usize) -> Option<u64> {
        self.clients
            .get(client)?
            .connection
            .as_ref()?
            .unread_bytes()
    }
}
