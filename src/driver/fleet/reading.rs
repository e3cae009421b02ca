//! The reading half of a fleet: what comes goes to the ledger, the recorder and the scripts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::Fleet;
use super::connection::ConnId;
use super::rooms::Rooms;
use crate::driver::inbox::Inbox;
use crate::measure::rooms::ByRoom;
use crate::measure::{CEILING_NS, ShardRecorder, Window};
use crate::verify::ledger::{Ending, Event};
use crate::wire::protocol::each_conn;
use crate::wire::rooms::RoomId;
use crate::wire::seen::Conn;

/// Bytes of one read at most. One clock read stamps every line in it: the last of 64 KiB of short
/// lines is stamped about 30 µs early by the work done for those before it.
pub(super) const READ_BYTES: usize = 64 << 10;

/// The result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Read {
    /// Frames.
    Frames,
    /// The end: the connection is gone from the fleet.
    Ended(Ending),
}

/// The counts of one read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The group of the client that was read for.
    group: usize,
    acks: u64,
    welcomed: bool,
    /// Memberships gained, less those that ended.
    pub(super) memberships: i64,
    /// A room has answered.
    answered: bool,
}

/// What a frame's meaning is passed on to.
pub(super) struct Told<'a> {
    pub(super) recorder: &'a mut ShardRecorder,
    pub(super) window: Window,
    pub(super) by_room: &'a mut ByRoom,
    /// Those of the connection.
    pub(super) rooms: &'a mut Rooms,
    /// That of the client's script, if it has one and is still to be told.
    pub(super) script: Option<&'a Inbox>,
    /// When it was read.
    pub(super) now_ns: u64,
}

impl Tally {
    pub(super) fn of_group(group: usize) -> Self {
        Self {
            group,
            ..Self::default()
        }
    }

    /// Passes the meaning of a frame in `room` on to the recorder and to the client's script.
    #[inline]
    pub(super) fn take(&mut self, room: RoomId, event: Event, told: &mut Told<'_>) {
        let (now_ns, recorder) = (told.now_ns, &mut *told.recorder);
        if room.is_named() && !matches!(event, Event::Relay { .. } | Event::Ack { .. }) {
            self.memberships += told.rooms.take(room, &event);
            self.answered = true;
        }
        match event {
            Event::Relay {
                intended_ns,
                sent_ns,
            } => {
                recorder.relay(self.group, intended_ns, now_ns);
                if room.is_named() && told.window.contains(intended_ns) {
                    let latency_ns = now_ns.saturating_sub(intended_ns);
                    told.by_room.relay(room, latency_ns.min(CEILING_NS));
                }
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
                if let Some(script) = told.script {
                    script.add_error(code);
                }
            }
            Event::Welcome => self.welcomed |= !room.is_named(),
            Event::Bye | Event::Other => {}
        }
    }
}

impl Fleet {
    /// Reads once from a connection and goes through what came.
    pub(in crate::driver) fn poll_read(&mut self, id: ConnId, cx: &mut Context<'_>) -> Poll<Read> {
        let Self {
            clients,
            scratch,
            ledger,
            parked,
            clock,
            ..
        } = self;
        let client = id.client;
        let Some(connection) = clients[client].connection_of(id) else {
            return Poll::Ready(Read::Ended(Ending::Ours));
        };
        if connection.is_paused(cx.waker()) {
            return Poll::Pending;
        }
        if ledger.is_full() {
            // The ledger's backlog for the judge is full: this shard reads no faster than the judge
            // works.
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
                self.broken = None;
                Poll::Ready(self.ended(client, Ending::Eof))
            }
            Err(error) => {
                self.last_read_bytes = 0;
                // TLS says in words what it did not understand.
                self.broken =
                    (error.kind() == io::ErrorKind::InvalidData).then(|| error.to_string());
                Poll::Ready(self.ended(client, Ending::Broken))
            }
        }
    }

    /// What the stream itself said of the connection that was the last to break, if anything.
    pub(in crate::driver) fn take_broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    /// The bytes of the last read, to name what a target of another protocol is.
    pub(in crate::driver) fn last_read(&self) -> &[u8] {
        &self.scratch[..self.last_read_bytes]
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
            out,
            max_frame_bytes,
            by_room,
            window,
            speech,
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
        let mut tally = Tally::of_group(one.group);
        let mut told = Told {
            recorder,
            window: *window,
            by_room,
            rooms: &mut connection.rooms,
            script: one.inbox.as_deref(),
            now_ns,
        };
        each_conn!(&mut connection.conn, conn => {
            ledger.read(handle, conn, &scratch[..n], out, now_ns, |room, event| {
                tally.take(room, event, &mut told);
            });
        });
        let Tally {
            acks,
            welcomed,
            answered,
            ..
        } = tally;
        let was_there = connection.arrived;
        // Without a welcome to come, a session is open from the start, and a connection once its
        // handshake is over. Else it may be open without its welcome, which is on record.
        let is_in = match speech.spoken.capabilities().welcome {
            true => welcomed || ledger.is_open(handle),
            false => connection.conn.is_ready(),
        };
        if !connection.welcomed && is_in {
            connection.welcomed = true;
            if welcomed && let Some(bytes) = connection.conn.max_frame_bytes() {
                *max_frame_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                live.heard_max_line(bytes);
            }
        }
        if tally.memberships != 0 {
            live.memberships(tally.memberships);
        }
        let arrives = !connection.arrived && (connection.welcomed || answered);
        if ledger.wants_flush() {
            wake_hand_over.notify_one();
        }
        if let Some(inbox) = &one.inbox {
            inbox.news.notify_one();
        }
        let is_over = connection.conn.is_over() && connection.welcomed;
        if arrives {
            self.arrive(client);
        }
        if !was_there || answered {
            self.set_timer(client);
        }
        if !self.out.is_empty() {
            self.write_out(client); // the answers to what was read
        }
        if is_over {
            self.ended(client, Ending::Eof);
            return;
        }
        if acks > 0 {
            self.after_acks(client, now_ns);
        }
        let connection = self.clients[client].connection.as_ref();
        if connection.is_some_and(|connection| connection.leaves_when_acked) {
            self.leave(client);
        }
    }
}
