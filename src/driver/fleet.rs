//! The clients of one shard and everything they share: its ledger, its recorder, its buffers.
//!
//! One thread owns a fleet, so nothing in here is locked, and a delivery allocates nothing. The
//! methods never wait: the tasks of a shard call them between two awaits.

mod connection;
mod leaving;
mod reading;
mod returning;
mod rooms;
mod sending;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub(super) use self::connection::ConnId;
use self::connection::Connection;
use self::reading::READ_BYTES;
pub(super) use self::reading::Read;
pub(super) use self::sending::WRITE_BYTES;
use super::channel::Totals;
use super::clock::Clock;
use super::inbox::Inbox;
use super::live::Live;
use super::member::{Member, Rank};
use super::pulse::Pulse;
use super::source::Source;
use crate::measure::rooms::ByRoom;
use crate::measure::{Interval, ShardRecorder, Window};
use crate::net::Stream;
use crate::scenario::draws::Draws;
use crate::scenario::pace::derive_seed;
use crate::scenario::plan::PayloadSize;
use crate::verify::batch::Batch;
use crate::verify::directory::{ClientId, Directory};
use crate::verify::ledger::{Ending, Handle, Ledger, Terms};
use crate::wire::line::DEFAULT_MAX_LINE_BYTES;
use crate::wire::protocol::{Me, Opening, Spoken};
use crate::wire::rooms::{RoomId, RoomNames};
use crate::wire::seen::Conn;

/// A client of this shard.
#[derive(Debug)]
struct Client {
    id: ClientId,
    rank: Rank,
    /// Where its latencies go ([`crate::measure::group::place`]).
    group: usize,
    payload: PayloadSize,
    source: Source,
    /// Whose address its messages claim, by its place in this fleet; its own if absent.
    claims: Option<usize>,
    connection: Option<Connection>,
    /// Connections that it has had, the present one included.
    connections: u32,
    /// How often it set out to connect again, after the target had closed its connection.
    returns: u32,
    /// The errors that came and its script has not looked at; absent for clients without a script.
    inbox: Option<Rc<Inbox>>,
    /// Whether it holds back what is due, because its socket is full or too much is unacked.
    held: bool,
    /// Whether it is queued in [`Fleet::due`] to go on filling its window.
    filling: bool,
    /// A session whose connection is not established yet.
    unbound: Option<Handle>,
    /// Payload sizes and pauses.
    draws: Draws,
    /// The rooms that it joins when it connects.
    rooms: Box<[RoomId]>,
}

impl Client {
    /// A client that has not connected yet.
    fn new(member: Member) -> Self {
        Self {
            id: member.id,
            rank: member.rank,
            group: member.group,
            payload: member.payload,
            source: member.source,
            // Where clients claim anything, one shard has all of them.
            claims: member.claims.map(|client| client.0 as usize),
            connection: None,
            connections: 0,
            returns: 0,
            inbox: (member.rank == Rank::Scripted).then(Rc::default),
            held: false,
            filling: false,
            unbound: None,
            draws: member.draws,
            rooms: member.rooms,
        }
    }

    /// The connection of that id, if it is still there.
    fn connection_of(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connection.as_mut().filter(|c| c.id == id)
    }
}

/// Everything that a connection of a fleet is opened with, but for whose it is.
#[derive(Debug)]
pub(super) struct Speech {
    /// What is spoken with the target.
    pub(super) spoken: Spoken,
    /// The path in the target's URL.
    pub(super) path: String,
    pub(super) directory: Arc<Directory>,
    /// The longest frame that a client reads, in bytes.
    pub(super) max_read_bytes: usize,
    pub(super) rooms: Arc<RoomNames>,
}

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Fleet {
    clock: Clock,
    clients: Vec<Client>,
    ledger: Ledger,
    recorder: ShardRecorder,
    live: Arc<Live>,
    /// Clients by when their next message is due.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// The load is over: nothing more is sent on a schedule.
    load_over: bool,
    seed: u64,
    run: u32,
    /// The number of unacked messages of one client at which an open loop or a script waits. The
    /// wait is recorded as the target's.
    most_unacked: usize,
    speech: Speech,
    /// Why the last connection that ended before its client was taken in did so.
    last_words: Option<(ConnId, String)>,
    /// Connections by when their protocol next has something to do.
    timers: BinaryHeap<Reverse<(u64, ConnId)>>,
    /// The longest frame that the target takes, as far as it has said so.
    max_frame_bytes: usize,
    /// The read buffer.
    scratch: Box<[u8]>,
    last_read_bytes: usize,
    /// What the stream said of the connection that broke last, if anything.
    broken: Option<String>,
    /// The load message that is being composed.
    text: Vec<u8>,
    /// The write buffer, shared by all clients.
    out: Vec<u8>,
    /// Connections whose sockets have become full.
    blocked: Vec<ConnId>,
    /// When the target last said anything to any of them.
    heard_ns: u64,
    totals: Totals,
    /// The latencies in each room.
    by_room: ByRoom,
    window: Window,
    pulse: Pulse,
    /// The next client whose socket is looked at.
    next_look: usize,
    /// Notified when a socket has become full.
    pub(super) wake_flusher: Rc<Notify>,
    /// Notified when something is due earlier than the pacer knows.
    pub(super) wake_pacer: Rc<Notify>,
    /// Clients whose connections the target closed, and that are to connect again.
    returning: Vec<usize>,
    /// Notified when there are any.
    pub(super) wake_returning: Rc<Notify>,
    /// Notified when a client learns that it will not be taken in.
    pub(super) wake_connecting: Rc<Notify>,
    /// Readers that wait until the judge has been handed all that there is.
    parked: Vec<Waker>,
    /// Notified when much has gathered for the judge.
    pub(super) wake_hand_over: Rc<Notify>,
}

impl Fleet {
    pub(super) fn new(
        members: Vec<Member>,
        clock: Clock,
        terms: &Terms,
        ledger: Ledger,
        live: Arc<Live>,
        most_unacked: usize,
        speech: Speech,
    ) -> Self {
        let groups = members.iter().map(|m| m.group + 1).max();
        let recorder = ShardRecorder::of_groups(Window::NEVER, groups.unwrap_or_default());
        Self {
            clock,
            clients: members.into_iter().map(Client::new).collect(),
            ledger,
            recorder,
            live,
            due: BinaryHeap::new(),
            load_over: false,
            seed: terms.seed,
            run: terms.run,
            most_unacked,
            speech,
            last_words: None,
            timers: BinaryHeap::new(),
            max_frame_bytes: DEFAULT_MAX_LINE_BYTES,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            last_read_bytes: 0,
            broken: None,
            text: Vec::new(),
            out: Vec::new(),
            blocked: Vec::new(),
            heard_ns: 0,
            totals: Totals::default(),
            by_room: ByRoom::default(),
            window: Window::NEVER,
            pulse: Pulse::default(),
            next_look: 0,
            wake_flusher: Rc::default(),
            wake_pacer: Rc::default(),
            wake_connecting: Rc::default(),
            returning: Vec::new(),
            wake_returning: Rc::default(),
            parked: Vec::new(),
            wake_hand_over: Rc::default(),
        }
    }

    /// Which of all clients `client` is.
    pub(super) fn id_of(&self, client: usize) -> ClientId {
        self.clients[client].id
    }

    pub(super) fn rank_of(&self, client: usize) -> Rank {
        self.clients[client].rank
    }

    /// The inbox of the script of `client`, if it has one.
    pub(super) fn inbox_of(&self, client: usize) -> Option<Rc<Inbox>> {
        self.clients[client].inbox.clone()
    }

    /// A pause of `client`, drawn evenly from `min` to `max`.
    pub(super) fn draw_pause(&mut self, client: usize, min: Duration, max: Duration) -> Duration {
        self.clients[client].draws.pause(min, max)
    }

    pub(super) fn is_load_over(&self) -> bool {
        self.load_over
    }

    /// `client` begins to connect: its new session, or `None` when no more can be told apart.
    pub(super) fn connecting(&mut self, client: usize) -> Option<Handle> {
        let handle = self.ledger.connecting(self.clients[client].id);
        self.clients[client].unbound = handle;
        handle
    }

    /// The connection of `client` to `host` is established; the handshake and the welcome are still
    /// to come, if the protocol has them.
    pub(super) fn connected(
        &mut self,
        client: usize,
        handle: Handle,
        stream: Stream,
        host: &str,
    ) -> ConnId {
        let local = stream.local_addr().ok();
        if let Some(local) = local {
            self.ledger.connected(handle, local);
        }
        let one = &mut self.clients[client];
        one.connections += 1;
        one.held = false;
        one.unbound = None;
        let id = ConnId::new(client, one.connections);
        let speech = &self.speech;
        let opening = Opening {
            local,
            max_frame_bytes: speech.max_read_bytes,
            rooms: speech.rooms.clone(),
            host,
            path: &speech.path,
            me: Me {
                name: speech.directory.client_name(one.id),
                number: one.id.0,
            },
            room: one.rooms.first().copied().unwrap_or(RoomId::UNNAMED),
            run: self.run,
            draw: derive_seed(
                derive_seed(self.seed, one.id.0.into()),
                one.connections.into(),
            ),
        };
        let conn = speech.spoken.open(&opening, &mut self.out);
        let welcomed = !speech.spoken.capabilities().welcome && conn.is_ready();
        one.connection = Some(Connection::new(id, conn, stream, handle, welcomed));
        self.arrive(client);
        self.set_timer(client);
        self.write_out(client); // the beginning of a handshake
        id
    }

    /// Why the target will not take in the client of `id`, in its protocol's words.
    pub(super) fn trouble(&mut self, id: ConnId) -> Option<String> {
        if let Some(connection) = self.connection(id) {
            return connection.conn.trouble();
        }
        let last = self.last_words.take_if(|(of, _)| *of == id);
        last.map(|(_, why)| why)
    }

    /// What the client of `id` waits for before it is taken in.
    pub(super) fn awaited(&mut self, id: ConnId) -> Cow<'static, str> {
        let connection = self.connection(id);
        connection.map_or("welcome".into(), |c| c.conn.awaited())
    }

    /// Lets the protocol of `client`'s connection do whatever is due, and asks it when to be called
    /// again. What it says is appended to what [`Fleet::write_out`] sends.
    pub(super) fn set_timer(&mut self, client: usize) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        let now_ns = self.clock.now_ns();
        let next_ns = connection.conn.timer(now_ns, &mut self.out);
        if next_ns != connection.timer_ns
            && let Some(next_ns) = next_ns
        {
            self.timers.push(Reverse((next_ns, connection.id)));
            self.wake_pacer.notify_one();
        }
        connection.timer_ns = next_ns;
        if connection.conn.trouble().is_some() {
            self.wake_connecting.notify_waiters();
        }
    }

    /// Runs the timers that are due by `now_ns`.
    pub(super) fn run_timers(&mut self, now_ns: u64) {
        while let Some(&Reverse((due_ns, id))) = self.timers.peek() {
            if due_ns > now_ns {
                return;
            }
            self.timers.pop();
            if let Some(connection) = self.connection(id)
                && connection.timer_ns == Some(due_ns)
            {
                connection.timer_ns = None;
                self.set_timer(id.client);
                self.write_out(id.client);
            }
        }
    }

    /// From here on a task reads this connection, which took `took_ns` to establish.
    pub(super) fn reads(&mut self, id: ConnId, reader: AbortHandle, took_ns: u64) {
        self.recorder.connected(took_ns);
        if let Some(connection) = self.connection(id) {
            connection.set_reader(reader);
        }
    }

    /// Whether a connection is there and was welcomed.
    pub(super) fn is_welcomed(&mut self, id: ConnId) -> bool {
        self.connection(id).is_some_and(|c| c.welcomed)
    }

    fn connection(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.clients[id.client].connection_of(id)
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

    /// The time for `client`'s welcome is up. If it is connected, and others were welcomed, the
    /// missing welcome is a violation and the client goes on.
    pub(super) fn connected_without_welcome(&mut self, client: usize) -> Option<ConnId> {
        let now_ns = self.clock.now_ns();
        let connection = self.clients[client]
            .connection
            .as_mut()
            .filter(|_| self.live.connected() > 0)?;
        self.ledger.no_welcome(connection.handle, now_ns);
        connection.welcomed = true;
        let id = connection.id;
        self.arrive(client);
        Some(id)
    }

    /// `client` failed to establish a session.
    pub(super) fn abandon(&mut self, client: usize, handle: Handle) {
        if self.is_connected(client) {
            self.ended(client, Ending::Ours);
        } else if self.clients[client].unbound == Some(handle) {
            self.clients[client].unbound = None;
            let now_ns = self.clock.now_ns();
            self.ledger.ended(handle, Ending::Ours, &[], now_ns);
        }
    }

    /// Stops connecting: clients without a session no longer get one.
    pub(super) fn give_up_connecting(&mut self) {
        for client in 0..self.clients.len() {
            let one = &self.clients[client];
            match (&one.connection, one.unbound) {
                (Some(connection), _) if !connection.arrived => {
                    self.ended(client, Ending::Ours);
                }
                (None, Some(handle)) => self.abandon(client, handle),
                _ => {}
            }
        }
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

    /// The script of `client` asks the target something, by its number in the description.
    ///
    /// # Errors
    /// Why nothing could be sent.
    pub(super) fn ask(&mut self, client: usize, nth: usize) -> Result<(), String> {
        let Some(connection) = &mut self.clients[client].connection else {
            return Ok(());
        };
        connection.conn.ask(&mut self.out, nth);
        let trouble = connection.conn.trouble();
        self.set_timer(client);
        self.write_out(client);
        trouble.map_or(Ok(()), Err)
    }

    /// Whether the script of `client` waits for the answer to that.
    pub(super) fn is_asking(&self, client: usize) -> bool {
        let connection = self.clients[client].connection.as_ref();
        connection.is_some_and(|connection| connection.conn.is_asking())
    }

    /// The answer is given up: a violation if it was waited for.
    pub(super) fn give_up_asking(&mut self, client: usize, within: &str) {
        let now_ns = self.clock.now_ns();
        if let Some(connection) = &mut self.clients[client].connection
            && let Some((expected, instead)) = connection.conn.give_up_asking()
        {
            let handle = connection.handle;
            self.ledger
                .missing_answer(handle, &expected, within, &instead, now_ns);
        }
    }

    /// A scripted `await_acks` took too long.
    pub(super) fn overdue_acks(&mut self, client: usize, within: &str) {
        let now_ns = self.clock.now_ns();
        if let Some(connection) = &self.clients[client].connection {
            self.ledger.overdue_acks(connection.handle, within, now_ns);
        }
    }

    /// A script has come to its end.
    pub(super) fn script_ends(&self) {
        self.live.script_ends();
    }

    /// The measured phase is known.
    pub(super) fn set_window(&mut self, window: Window) {
        self.window = window;
        self.recorder.set_window(window);
    }

    /// The measured phase ended at `end_ns`, which is earlier than planned for a run cut short.
    fn end_window(&mut self, end_ns: u64) {
        let start_ns = self.window.start_ns;
        self.set_window(Window {
            start_ns,
            end_ns: end_ns.max(start_ns),
        });
    }

    /// A beat of the shard's pulse that was due at `due_ns` comes at `now_ns`.
    pub(super) fn beat(&mut self, due_ns: u64, now_ns: u64) {
        self.recorder.heartbeat(due_ns, now_ns);
        self.pulse.beat(self.window, due_ns, now_ns);
    }

    /// The total length of this shard's pauses so far.
    pub(super) fn stood_still_ns(&self) -> u64 {
        self.pulse.stood_still_ns(self.clock.now_ns())
    }

    /// Looks at the thread's use, and at one client's socket after another: what has come and was
    /// not read.
    pub(super) fn look(&mut self, now_ns: u64) {
        self.pulse.watch(self.window, now_ns);
        let Some(client) = self.clients.get(self.next_look) else {
            return;
        };
        let connection = client.connection.as_ref();
        if let Some(bytes) = connection.and_then(Connection::unread_bytes) {
            self.recorder.unread(now_ns, bytes);
        }
        self.next_look = (self.next_look + 1) % self.clients.len();
    }

    /// The recordings of each second before `second`, and how many connections are open.
    pub(super) fn take_seconds(&mut self, second: u64) -> (Vec<(u64, Interval)>, u64) {
        let open = self.clients.iter().filter(|c| c.connection.is_some());
        let open = open.count() as u64;
        (self.recorder.take_before(second), open)
    }

    /// Some of what is left for the judge when all sessions are over, and whether there is more.
    pub(super) fn take_rest(&mut self) -> (Batch, bool) {
        self.ledger.take_rest()
    }

    /// There is no time to judge what is left.
    pub(super) fn stop_judging(&mut self) {
        self.ledger.stop_judging();
    }

    /// New observations of the ledger since the last call, for the judge.
    pub(super) fn take_batch(&mut self) -> Batch {
        let batch = self.ledger.take_batch();
        self.parked.drain(..).for_each(Waker::wake);
        batch
    }
}
