//! The clients of one shard and everything they share: its ledger, its recorder, its buffers.
//!
//! One thread owns a fleet, so nothing in here is locked, and a delivery allocates nothing. The
//! methods never wait: they are called from the tasks of [`super::client`], [`super::pacer`] and
//! [`super::script`] between two awaits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::live::Live;
use super::source::Source;
use crate::measure::{ShardRecorder, Window};
use crate::scenario::plan::PayloadSize;
use crate::verify::directory::ClientId;
use crate::verify::ids::publish_id;
use crate::verify::ledger::{Ending, Event, Handle, Ledger};
use crate::wire::line::LineBuffer;
use crate::wire::ndjson::{self, Publish};
use crate::wire::payload;

/// Bytes of one read at most. One clock read stamps every line in it: the last of 64 KiB of short
/// lines is stamped about 30 µs early by the work done for those before it.
const READ_BYTES: usize = 64 << 10;

/// Messages that a client behind its schedule sends in one write at most.
const SEND_BATCH: usize = 256;

/// Unacked messages of one client past which an open loop waits: what a target never acks must
/// not pile up here. The wait is recorded as the target's.
const MAX_UNACKED: usize = 1 << 16;

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
    pub(super) payload: PayloadSize,
    pub(super) source: Source,
    pub(super) connection: Option<Connection>,
    /// What a script waits for; absent for everyone else.
    pub(super) signals: Option<Rc<Signals>>,
    /// Connections this client has had: tells a task that its connection is not the present one.
    pub(super) generation: u32,
    /// It holds back what is due: its socket is full, or too much is unacked.
    held: bool,
    /// A session whose connection does not stand yet.
    unbound: Option<Handle>,
}

/// What a script waits for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Something came, or the connection ended.
    pub(super) news: Notify,
    /// Codes of the errors that came and were not expected yet.
    pub(super) errors: std::cell::RefCell<VecDeque<Box<str>>>,
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    handle: Handle,
    lines: LineBuffer,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// The welcome came.
    pub(super) welcomed: bool,
    /// Half-close once `unsent` is gone.
    leaving: bool,
    /// The script has stopped reading; whoever reads is woken by this.
    paused: bool,
    parked: Option<Waker>,
    reader: Option<AbortHandle>,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Frames.
    Frames,
    /// The end: the connection is gone from the fleet.
    Ended(Ending),
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
    seed: u64,
    random: Pcg64Mcg,
    max_line_bytes: usize,
    scratch: Box<[u8]>,
    text: Vec<u8>,
    out: Vec<u8>,
    blocked: Vec<usize>,
    last_read_bytes: usize,
    /// Rung when a socket has become full.
    pub(super) wake_flusher: Rc<Notify>,
    /// Rung when much has gathered for the judge.
    pub(super) wake_hand_over: Rc<Notify>,
    /// Messages of open loops that were due within the window.
    pub(super) offered: u64,
    /// Messages of open loops that were due when the load ended and not sent, through no fault of
    /// the target.
    pub(super) behind_at_end: u64,
    /// Messages of open loops that were due when the load ended and not sent, whosever fault.
    pub(super) unsent_at_end: u64,
    window: Window,
    /// Rung when something is due earlier than the pacer knows.
    pub(super) wake_pacer: Rc<Notify>,
}

impl Fleet {
    pub(super) fn new(
        clock: Clock,
        ledger: Ledger,
        recorder: ShardRecorder,
        live: Arc<Live>,
        seed: u64,
        shard: usize,
        max_line_bytes: usize,
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
            random: Pcg64Mcg::seed_from_u64(seed ^ (shard as u64) << 32),
            max_line_bytes,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            text: Vec::new(),
            out: Vec::new(),
            blocked: Vec::new(),
            wake_flusher: Rc::default(),
            wake_pacer: Rc::default(),
            wake_hand_over: Rc::default(),
            offered: 0,
            behind_at_end: 0,
            unsent_at_end: 0,
            window: Window::NEVER,
            last_read_bytes: 0,
        }
    }

    pub(super) fn add(&mut self, id: ClientId, rank: Rank, payload: PayloadSize, source: Source) {
        let signals = (rank == Rank::Scripted).then(Rc::default);
        self.clients.push(Client {
            id,
            rank,
            payload,
            source,
            connection: None,
            signals,
            generation: 0,
            held: false,
            unbound: None,
        });
    }

    /// `client` begins to connect: its new session, or `None` when no more can be told apart.
    pub(super) fn connecting(&mut self, client: usize) -> Option<Handle> {
        let handle = self.ledger.connecting(self.clients[client].id);
        self.clients[client].unbound = handle;
        handle
    }

    /// The connection stands; the welcome is still to come. Returns the connection's generation.
    pub(super) fn connected(&mut self, client: usize, handle: Handle, stream: TcpStream) -> u32 {
        if let Ok(local) = stream.local_addr() {
            self.ledger.connected(handle, local);
        }
        let client = &mut self.clients[client];
        client.generation += 1;
        client.held = false;
        client.unbound = None;
        client.connection = Some(Connection {
            stream,
            handle,
            lines: LineBuffer::new(self.max_line_bytes),
            unsent: Vec::new(),
            welcomed: false,
            leaving: false,
            paused: false,
            parked: None,
            reader: None,
        });
        client.generation
    }

    /// Remembers the task that reads `client`'s connection.
    pub(super) fn set_reader(&mut self, client: usize, generation: u32, reader: AbortHandle) {
        if let Some(connection) = self.connection(client, generation) {
            connection.reader = Some(reader);
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
            clients, scratch, ..
        } = self;
        let one = &mut clients[client];
        let Some(connection) = one
            .connection
            .as_mut()
            .filter(|_| one.generation == generation)
        else {
            return Poll::Ready(Read::Ended(Ending::Ours));
        };
        if connection.paused {
            connection.parked = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(scratch);
        match ready!(Pin::new(&mut connection.stream).poll_read(cx, &mut buffer)) {
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
            ..
        } = self;
        let one = &mut clients[client];
        let Some(connection) = one.connection.as_mut() else {
            return;
        };
        recorder.received_bytes(now_ns, n as u64);
        let handle = connection.handle;
        let split = connection.lines.pending_bytes() > 0;
        let mut lines = connection.lines.feed(&scratch[..n]);
        let mut frames = 0;
        let mut acks = 0;
        while let Some(event) = ledger.next(handle, &mut lines, now_ns) {
            frames += 1;
            match event {
                Event::Relay {
                    intended_ns,
                    sent_ns,
                } => {
                    recorder.relay(intended_ns, now_ns);
                    if let Some(sent_ns) = sent_ns {
                        recorder.relay_service(intended_ns, sent_ns, now_ns);
                    }
                }
                Event::Ack {
                    intended_ns,
                    sent_ns,
                } => {
                    recorder.ack(intended_ns, now_ns);
                    recorder.ack_service(intended_ns, sent_ns, now_ns);
                    acks += 1;
                }
                Event::Welcome => {
                    connection.welcomed = true;
                    live.welcomed(one.rank, one.generation == 1);
                }
                Event::Error { code } => {
                    if let Some(signals) = &one.signals {
                        signals.errors.borrow_mut().push_back(code);
                    }
                }
                Event::Bye | Event::Other => {}
            }
        }
        ledger.read_done(frames, split && frames > 0);
        if !connection.welcomed && ledger.is_open(handle) {
            // Without its welcome, which is on record.
            connection.welcomed = true;
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

    /// Acks came: a closed loop goes on, and an open one that was held back for them.
    fn after_acks(&mut self, client: usize, now_ns: u64) {
        match self.clients[client].source {
            Source::Closed { .. } => self.fill_window(client, now_ns),
            _ if self.clients[client].held && self.unacked(client) < MAX_UNACKED => {
                self.release(client, now_ns);
            }
            _ => {}
        }
    }

    /// Closed loop: sends as many messages as `client` may have in flight.
    pub(super) fn fill_window(&mut self, client: usize, now_ns: u64) {
        let Source::Closed { in_flight } = self.clients[client].source else {
            return;
        };
        if self.load_over {
            return;
        }
        let missing = (in_flight as usize).saturating_sub(self.unacked(client));
        for _ in 0..missing {
            self.compose(client, now_ns, now_ns, false);
        }
        self.write_out(client);
    }

    /// Sends everything of `client` that is due by `now_ns`, and queues it for the next.
    pub(super) fn send_due(&mut self, client: usize, now_ns: u64, held_by_target: bool) {
        let Some(mut due_ns) = self.clients[client].source.due_ns() else {
            return;
        };
        let scheduled = matches!(self.clients[client].source, Source::Open { .. });
        if self.load_over && scheduled {
            return;
        }
        let Some(connection) = &self.clients[client].connection else {
            return self.drop_source(client);
        };
        if connection.leaving {
            return self.drop_source(client);
        }
        if due_ns > now_ns {
            return self.due.push(Reverse((due_ns, client as u32)));
        }
        if !connection.unsent.is_empty() || self.unacked(client) >= MAX_UNACKED {
            self.clients[client].held = true;
            return;
        }
        let mut sent = 0;
        while due_ns <= now_ns && sent < SEND_BATCH {
            self.compose(client, due_ns, now_ns, held_by_target);
            if scheduled && self.window.contains(due_ns) {
                self.offered += 1;
            }
            sent += 1;
            match self.clients[client].source.next_due_ns() {
                Some(next_ns) => due_ns = next_ns,
                None => break,
            }
        }
        self.write_out(client);
        if let Some(due_ns) = self.clients[client].source.due_ns() {
            self.due.push(Reverse((due_ns, client as u32)));
        } else if let Some(signals) = &self.clients[client].signals {
            signals.news.notify_one();
        }
    }

    /// A script's burst has nobody to be sent to any more.
    fn drop_source(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let (Source::Burst { .. }, Some(signals)) = (&client.source, &client.signals) {
            client.source = Source::None;
            signals.news.notify_one();
        }
    }

    /// What held `client` back is gone: it sends what has become due meanwhile.
    fn release(&mut self, client: usize, now_ns: u64) {
        if std::mem::take(&mut self.clients[client].held) && !self.load_over {
            self.send_due(client, now_ns, true);
        }
    }

    /// Appends one load message of `client` to what [`Fleet::write_out`] sends.
    pub(super) fn compose(&mut self, client: usize, intended_ns: u64, now_ns: u64, held: bool) {
        let one = &self.clients[client];
        let Some(connection) = &one.connection else {
            return;
        };
        let handle = connection.handle;
        let PayloadSize { min, max } = one.payload;
        let size = if min == max {
            min
        } else {
            self.random.random_range(min..=max)
        };
        let Some(header) = self.ledger.sending(handle, intended_ns, now_ns) else {
            return;
        };
        self.text.clear();
        payload::encode(&mut self.text, self.seed, &header, size as usize);
        let text = std::str::from_utf8(&self.text).expect("a load message is ASCII");
        let start = self.out.len();
        let publish = Publish {
            message: text.into(),
            id: Some(publish_id(header.sender, header.k)),
            client_ip: None,
        };
        ndjson::encode_publish(&mut self.out, &publish);
        self.ledger
            .sent_publish(handle, &header, &self.out[start..]);
        let bytes = (self.out.len() - start) as u64;
        self.recorder.sent(intended_ns, now_ns, held, bytes);
    }

    /// A script's bytes, as they stand.
    pub(super) fn send_raw(&mut self, client: usize, bytes: &[u8]) {
        let Some(connection) = &self.clients[client].connection else {
            return;
        };
        self.ledger.sending_raw(connection.handle, bytes);
        self.out.extend_from_slice(bytes);
        self.write_out(client);
    }

    /// Writes what was composed for `client`. What the socket does not take waits for
    /// [`Fleet::poll_flush`].
    pub(super) fn write_out(&mut self, client: usize) {
        let Self {
            clients,
            out,
            blocked,
            ..
        } = self;
        if let Some(connection) = &mut clients[client].connection {
            let blocked_before = !connection.unsent.is_empty();
            let written = if blocked_before || out.is_empty() {
                0
            } else {
                match connection.stream.try_write(out) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(_) => out.len(), // broken: the reader will say so
                }
            };
            connection.unsent.extend_from_slice(&out[written..]);
            if !blocked_before && !connection.unsent.is_empty() {
                blocked.push(client);
                self.wake_flusher.notify_one();
            }
        }
        self.out.clear();
    }

    /// Clients whose sockets have become full since the last call.
    pub(super) fn take_blocked(&mut self) -> Vec<(usize, u32)> {
        let blocked = std::mem::take(&mut self.blocked);
        blocked
            .into_iter()
            .map(|client| (client, self.clients[client].generation))
            .collect()
    }

    /// Writes what is unsent as the socket takes it; ready when it is gone, or the connection is.
    pub(super) fn poll_flush(
        &mut self,
        client: usize,
        generation: u32,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(connection) = self.connection(client, generation) else {
            return Poll::Ready(());
        };
        while !connection.unsent.is_empty() {
            if ready!(connection.stream.poll_write_ready(cx)).is_err() {
                connection.unsent.clear();
                break;
            }
            match connection.stream.try_write(&connection.unsent) {
                Ok(n) => drop(connection.unsent.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => connection.unsent.clear(),
            }
        }
        connection.unsent = Vec::new();
        if connection.leaving {
            connection.half_close();
        }
        let now_ns = self.clock.now_ns();
        self.release(client, now_ns);
        if matches!(self.clients[client].source, Source::Closed { .. }) {
            self.fill_window(client, now_ns);
        }
        Poll::Ready(())
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
        self.ledger.leaving(connection.handle);
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
            let socket = socket2::SockRef::from(&connection.stream);
            // Lingering for zero seconds makes close send a reset.
            let _ = socket.set_linger(Some(std::time::Duration::ZERO));
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
        if let Some(connection) = one.connection.take() {
            let unread = connection.lines.pending();
            self.ledger.ended(connection.handle, ending, unread, now_ns);
            if ending == Ending::Ours
                && let Some(reader) = &connection.reader
            {
                reader.abort();
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

    /// The time is up: what is still connected is cut. Returns how many that were.
    pub(super) fn cut_all(&mut self) -> u64 {
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

    /// The measured phase.
    pub(super) fn window(&self) -> Window {
        self.window
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
        let connection = self.clients.get(client)?.connection.as_ref()?;
        if connection.paused {
            return None;
        }
        rustix::io::ioctl_fionread(&connection.stream).ok()
    }

    /// The load ended at `end_ns`: counts what open loops had to send by then and did not.
    pub(super) fn count_unsent(&mut self, end_ns: u64) {
        for client in &mut self.clients {
            let unsent = client.source.count_due_before(end_ns);
            self.offered += unsent;
            self.unsent_at_end += unsent;
            if !client.held {
                self.behind_at_end += unsent;
            }
        }
    }
}

impl Connection {
    fn half_close(&self) {
        // A failure means that the connection is broken, which the reader will say.
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        if !paused && let Some(reader) = self.parked.take() {
            reader.wake();
        }
    }
}
