//! The sending half of a fleet: composes and writes load messages when they are due, and writes
//! later what a full socket did not take.
//!
//! The socket sets the pace, whatever the load: a client composes one piece of at most
//! [`WRITE_BYTES`] and one message, and composes no more until the socket has taken all of it. So
//! memory does not depend on how much a scenario wants in flight.

use std::cmp::Reverse;
use std::io;
use std::task::{Context, Poll, ready};

use super::Fleet;
use super::connection::ConnId;
use crate::driver::member::Rank;
use crate::driver::source::Source;
use crate::verify::ids::publish_id;
use crate::wire::payload;
use crate::wire::rooms::RoomId;
use crate::wire::seen::{Conn, Publishing};

/// Messages that a client behind its schedule sends in one write at most.
const SEND_BATCH: usize = 256;

/// Bytes of one write, from which on no message is added to it.
pub(in crate::driver) const WRITE_BYTES: usize = 64 << 10;

/// How a message is sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    now_ns: u64,
    /// The target kept it from being sent when it was due.
    held_by_target: bool,
    /// It is its sender's fence.
    last: bool,
    /// The room; absent for those that the client is in, in turn.
    room: Option<RoomId>,
}

impl Sent {
    fn at(now_ns: u64) -> Self {
        Self {
            now_ns,
            held_by_target: false,
            last: false,
            room: None,
        }
    }
}

impl Fleet {
    /// The load began at `start_ns`: whoever has no script sends what is due, and fills its window.
    pub(in crate::driver) fn begin_load(&mut self, start_ns: u64, now_ns: u64) {
        for client in 0..self.clients.len() {
            if self.clients[client].rank == Rank::Scripted {
                continue;
            }
            self.clients[client].source.begin(start_ns);
            self.send_due(client, now_ns, false);
            self.fill_window(client, now_ns);
        }
        self.wake_pacer.notify_one();
    }

    /// The load is over at `end_ns`: what was due before is sent, with a fence from each sender if
    /// `fences`, and then nothing more.
    pub(in crate::driver) fn end_load(&mut self, end_ns: u64, now_ns: u64, fences: bool) {
        self.pulse.load_ends(now_ns);
        for client in 0..self.clients.len() {
            let due_ns = self.clients[client].source.due_ns();
            if due_ns.is_some_and(|due_ns| due_ns < end_ns) {
                self.send_due(client, end_ns - 1, false);
            }
        }
        self.count_unsent(end_ns);
        self.end_window(end_ns);
        self.load_over = true;
        if fences {
            self.send_fences(now_ns);
        }
    }

    /// When the next message of any client is due, or the timer of a connection.
    pub(in crate::driver) fn next_due_ns(&self) -> Option<u64> {
        let message = self.due.peek().map(|&Reverse((due_ns, _))| due_ns);
        let timer = self.timers.peek().map(|&Reverse((due_ns, _))| due_ns);
        message.into_iter().chain(timer).min()
    }

    /// Sends whatever is due by `now_ns`.
    pub(in crate::driver) fn send_all_due(&mut self, now_ns: u64) {
        self.run_timers(now_ns);
        while let Some(&Reverse((due_ns, client))) = self.due.peek() {
            if due_ns > now_ns {
                return;
            }
            self.due.pop();
            self.send_due(client as usize, now_ns, false);
        }
    }

    /// The script of `client` sends `count` messages, the first now and one each `every_ns`, in
    /// `room` or in the rooms that it is in.
    pub(in crate::driver) fn begin_burst(
        &mut self,
        client: usize,
        count: u32,
        every_ns: u64,
        room: Option<RoomId>,
    ) {
        let now_ns = self.clock.now_ns();
        self.clients[client].source = Source::Burst {
            next_ns: now_ns,
            every_ns,
            left: count,
            room,
        };
        self.send_due(client, now_ns, false);
        self.wake_pacer.notify_one();
    }

    /// Whether everything of a burst of `client` was sent, or can be sent no more.
    pub(in crate::driver) fn is_burst_over(&self, client: usize) -> bool {
        self.clients[client].source.due_ns().is_none()
    }

    /// Drops the unsent rest of a burst of `client`.
    pub(in crate::driver) fn end_burst(&mut self, client: usize) {
        self.clients[client].source = Source::None;
    }

    /// Acks came: a closed loop goes on, and an open one that was held back for them.
    pub(super) fn after_acks(&mut self, client: usize, now_ns: u64) {
        match self.clients[client].source {
            Source::Closed { .. } => self.fill_window(client, now_ns),
            _ if self.clients[client].held && self.unacked(client) < self.most_unacked => {
                self.release(client, now_ns);
            }
            _ => {}
        }
    }

    /// Closed loop: sends messages until as many are unacked as `client` may have in flight. More
    /// than one write's worth waits its turn, after the clients that have something to read.
    pub(super) fn fill_window(&mut self, client: usize, now_ns: u64) {
        let Source::Closed { in_flight } = self.clients[client].source else {
            return;
        };
        if self.load_over || !self.is_sent(client) {
            return; // a full socket calls again once it has taken what it was given
        }
        let mut missing = (in_flight as usize).saturating_sub(self.unacked(client));
        let mut count = 0;
        while missing > 0 && self.write_has_room(count) {
            if !self.compose(client, now_ns, Sent::at(now_ns)) {
                missing = 0;
                break;
            }
            missing -= 1;
            count += 1;
        }
        self.write_out(client);
        if missing > 0 && self.is_sent(client) && !self.clients[client].filling {
            self.clients[client].filling = true;
            self.due.push(Reverse((now_ns + 1, client as u32)));
            self.wake_pacer.notify_one();
        }
    }

    /// Whether a write that holds `count` messages takes another.
    fn write_has_room(&self, count: usize) -> bool {
        count < SEND_BATCH && self.out.len() < WRITE_BYTES
    }

    /// Whether the socket of `client` took everything that it was given.
    pub(in crate::driver) fn is_sent(&self, client: usize) -> bool {
        let connection = self.clients[client].connection.as_ref();
        connection.is_none_or(|c| c.unsent.is_empty())
    }

    /// The load is over: each client that went by a schedule or in a closed loop sends its fence, a
    /// message which says that it is its sender's last. Where the target states no order, only this
    /// proves that nothing is missing at the end. It is sent in each room in which the client has
    /// published: elsewhere nobody waits for anything of its, and in a thousand rooms fences would be
    /// most of what is sent.
    fn send_fences(&mut self, now_ns: u64) {
        for client in 0..self.clients.len() {
            let connection = self.clients[client].connection.as_ref();
            let talks = self.clients[client].rank == Rank::Talker;
            let Some(connection) = connection.filter(|c| talks && !c.leaving) else {
                continue;
            };
            let rooms = match self.clients[client].rooms.is_empty() {
                true => vec![RoomId::UNNAMED],
                false => connection.rooms.members_of().collect(),
            };
            let handle = connection.handle;
            let has_published =
                |room: &RoomId| !room.is_named() || self.ledger.has_published(handle, *room);
            let rooms: Vec<RoomId> = rooms.into_iter().filter(has_published).collect();
            for room in rooms {
                let fence = Sent {
                    last: true,
                    room: Some(room),
                    ..Sent::at(now_ns)
                };
                self.compose(client, now_ns, fence);
            }
            self.write_out(client);
        }
    }

    /// Sends everything of `client` that is due by `now_ns`, and queues it for the next.
    fn send_due(&mut self, client: usize, now_ns: u64, held_by_target: bool) {
        let Some(mut due_ns) = self.clients[client].source.due_ns() else {
            self.clients[client].filling = false;
            return self.fill_window(client, now_ns);
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
        if !connection.unsent.is_empty() || self.unacked(client) >= self.most_unacked {
            self.clients[client].held = true;
            return;
        }
        let mut count = 0;
        while due_ns <= now_ns && self.write_has_room(count) {
            let sent = Sent {
                held_by_target,
                room: self.clients[client].source.room(),
                ..Sent::at(now_ns)
            };
            self.compose(client, due_ns, sent);
            if scheduled && self.window.contains(due_ns) {
                self.totals.offered += 1;
            }
            count += 1;
            match self.clients[client].source.next_due_ns() {
                Some(next_ns) => due_ns = next_ns,
                None => break,
            }
        }
        self.write_out(client);
        if let Some(due_ns) = self.clients[client].source.due_ns() {
            self.due.push(Reverse((due_ns, client as u32)));
        } else if let Some(inbox) = &self.clients[client].inbox {
            inbox.news.notify_one();
        }
    }

    /// Drops a script's burst that can no longer be sent.
    fn drop_source(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let (Source::Burst { .. }, Some(inbox)) = (&client.source, &client.inbox) {
            client.source = Source::None;
            inbox.news.notify_one();
        }
    }

    /// Lets `client` send again: everything that has become due while it was held back.
    fn release(&mut self, client: usize, now_ns: u64) {
        if std::mem::take(&mut self.clients[client].held) && !self.load_over {
            self.send_due(client, now_ns, true);
        }
    }

    /// Appends one load message of `client` to what [`Fleet::write_out`] sends. `false` if it has
    /// no connection, is not in the room, or has sent all that a session can number.
    fn compose(&mut self, client: usize, intended_ns: u64, sent: Sent) -> bool {
        let claimed = self.clients[client]
            .claims
            .map(|other| self.claim_of(other));
        let one = &mut self.clients[client];
        let Some(connection) = &mut one.connection else {
            return false;
        };
        let handle = connection.handle;
        let size = one.draws.size(one.payload);
        let Sent { now_ns, last, .. } = sent;
        let Some(room) = sent.room.or_else(|| connection.rooms.next()) else {
            return false;
        };
        let ledger = &mut self.ledger;
        let Some(header) = ledger.sending_in(handle, room, intended_ns, now_ns, last) else {
            return false;
        };
        self.text.clear();
        payload::encode(&mut self.text, self.seed, &header, size as usize);
        let text = std::str::from_utf8(&self.text).expect("a load message is ASCII");
        let publish = Publishing {
            room,
            text,
            id: publish_id(header.sender, header.k),
            claims: claimed.as_deref(),
        };
        let start = self.out.len();
        if let Some(glued) = connection.conn.publish(&mut self.out, publish) {
            self.ledger.sent_glued(handle, &header, glued);
        }
        let bytes = (self.out.len() - start) as u64;
        self.recorder
            .sent(intended_ns, now_ns, sent.held_by_target, bytes);
        self.totals.sent(self.clients[client].group, 1);
        true
    }

    /// The address that a client's messages claim, in protocols that state one; empty while it is
    /// not connected.
    fn claim_of(&self, client: usize) -> Box<str> {
        let connection = self.clients.get(client).and_then(|c| c.connection.as_ref());
        let claim = connection.and_then(|connection| connection.conn.claim());
        claim.unwrap_or_default().into()
    }

    /// Sends a piece of a script's bytes as they are.
    pub(in crate::driver) fn send_raw(&mut self, client: usize, bytes: &[u8]) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        let sent = connection
            .conn
            .raw(&mut self.out, bytes, self.max_frame_bytes);
        self.ledger.sending_raw(connection.handle, &sent);
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
            connection.unsent.add(&out[written..]);
            if !blocked_before && !connection.unsent.is_empty() {
                blocked.push(connection.id);
                self.wake_flusher.notify_one();
            }
        }
        self.out.clear();
    }

    /// Connections whose sockets have become full since the last call.
    pub(in crate::driver) fn take_blocked(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.blocked)
    }

    /// Writes what is unsent as the socket takes it; ready when it is gone, or the connection is.
    pub(in crate::driver) fn poll_flush(&mut self, id: ConnId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection(id) else {
            return Poll::Ready(());
        };
        while !connection.unsent.is_empty() {
            if ready!(connection.stream.poll_write_ready(cx)).is_err() {
                connection.unsent.clear();
                break;
            }
            match connection.stream.try_write(connection.unsent.rest()) {
                Ok(n) => connection.unsent.took(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => connection.unsent.clear(),
            }
        }
        if connection.half_close {
            connection.stream.half_close();
        }
        let client = id.client;
        let now_ns = self.clock.now_ns();
        self.release(client, now_ns);
        self.fill_window(client, now_ns);
        if let Some(inbox) = &self.clients[client].inbox {
            inbox.news.notify_one();
        }
        Poll::Ready(())
    }

    /// The load ended at `end_ns`: counts what open loops had to send by then and did not.
    fn count_unsent(&mut self, end_ns: u64) {
        for client in &mut self.clients {
            let unsent = client.source.count_due_before(end_ns);
            self.totals.offered += unsent;
            self.totals.unsent += unsent;
            if client.connection.is_none() {
                self.totals.cut_off += unsent;
            } else if !client.held {
                self.totals.behind += unsent;
            }
        }
    }
}
