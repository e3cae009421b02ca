//! One side of a simulated connection.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use rand::RngExt;
use rand_pcg::Pcg32;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

use super::pipe::{Input, Pipe, wake};
use super::{Conditions, lock};

/// A full socket is writable again once a third of its buffer is free, as with the kernel's.
const WRITABLE_SHARE: usize = 3;

/// A connection, shared by its two sides.
#[derive(Debug)]
pub(super) struct Connection {
    /// Its number in its network, from 0.
    nth: u64,
    conditions: Arc<Conditions>,
    rng: Pcg32,
    /// From the client to the server, and from the server to the client.
    pipes: [Pipe; 2],
}

impl Connection {
    pub(super) fn new(nth: u64, conditions: Arc<Conditions>, rng: Pcg32, now: Instant) -> Self {
        let mut pipes: [Pipe; 2] = Default::default();
        if let Some(at) = conditions.first_break(nth, now) {
            pipes.iter_mut().for_each(|pipe| pipe.reset(at));
        }
        Self {
            nth,
            conditions,
            rng,
            pipes,
        }
    }

    /// The arrival time of something that `side` sends at `now`.
    pub(super) fn arrival(&mut self, side: usize, now: Instant) -> Instant {
        let then = now + self.conditions.draw_delay(&mut self.rng);
        let then = self.conditions.after_partitions(self.nth, then);
        self.pipes[side].in_order(then)
    }

    /// Resets the connection from `side` at `now`: some of its output in transit may be lost.
    fn abort(&mut self, side: usize, now: Instant) {
        let keep = self.rng.random_range(0..=self.pipes[side].under_way(now));
        self.pipes[side].withdraw(now, keep);
        let arrives = self.arrival(side, now);
        self.pipes[side].reset(arrives);
    }

    /// How much of `wanted` bytes one call moves: all that a call can, or at random less.
    fn piece(&mut self, wanted: usize) -> usize {
        let most = wanted.min(self.conditions.piece_bytes.max(1));
        match self.rng.random_bool(self.conditions.partial) {
            true => self.rng.random_range(1..=most),
            false => most,
        }
    }

    fn is_writable(&self, side: usize) -> bool {
        let capacity = self.conditions.buffer_bytes;
        self.pipes[side].room(capacity) * WRITABLE_SHARE >= capacity
    }
}

/// One side of a simulated connection.
pub struct Socket {
    connection: Arc<Mutex<Connection>>,
    /// The index of the pipe it writes to.
    side: usize,
    /// The addresses of both sides, by the pipe that each writes to.
    addresses: [SocketAddr; 2],
    /// The timer of the task that waits for bytes in transit.
    arrival: Option<Pin<Box<Sleep>>>,
    half_closed: bool,
    resets: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("side", &self.side)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Both sides of a connection: the client's and the server's.
    pub(super) fn pair(connection: Connection, addresses: [SocketAddr; 2]) -> (Self, Self) {
        let connection = Arc::new(Mutex::new(connection));
        let socket = |side| Self {
            connection: Arc::clone(&connection),
            side,
            addresses,
            arrival: None,
            half_closed: false,
            resets: false,
        };
        (socket(0), socket(1))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// The arrival time of a packet that this side sends at `at`.
    pub(super) fn arrival(&self, at: Instant) -> Instant {
        self.lock().arrival(self.side, at)
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addresses[self.side]
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.addresses[1 - self.side]
    }

    pub(crate) fn unread_bytes(&self) -> u64 {
        let mut connection = self.lock();
        let unread = connection.pipes[1 - self.side].unread_bytes(Instant::now());
        unread as u64
    }

    pub(crate) fn half_close(&mut self) {
        if !self.half_closed {
            self.half_closed = true;
            let mut connection = self.lock();
            let arrives = connection.arrival(self.side, Instant::now());
            connection.pipes[self.side].end(arrives);
        }
    }

    pub(crate) fn reset_when_closed(&mut self) {
        self.resets = true;
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut guard = self.lock();
            let connection = &mut *guard;
            let discards = connection.conditions.reset_discards;
            let side = 1 - self.side;
            let at = match connection.pipes[side].look(Instant::now(), discards) {
                Input::Bytes(bytes) => {
                    let count = connection.piece(bytes.min(buffer.remaining()));
                    connection.pipes[side].take(count, |bytes| buffer.put_slice(bytes));
                    if connection.is_writable(side) {
                        wake(&mut connection.pipes[side].writer);
                    }
                    return Poll::Ready(Ok(()));
                }
                Input::End => return Poll::Ready(Ok(())),
                Input::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Input::Nothing => {
                    connection.pipes[side].reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Input::NotBefore(at) => {
                    // A reset may arrive earlier.
                    connection.pipes[side].reader = Some(cx.waker().clone());
                    at
                }
            };
            drop(guard);
            match self.poll_until(at, cx) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .arrival
            .get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&[IoSlice::new(bytes)])
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let now = Instant::now();
        let side = self.side;
        let mut guard = self.lock();
        let connection = &mut *guard;
        if self.half_closed || connection.pipes[1 - side].is_reset(now) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if bytes == 0 {
            return Ok(0);
        }
        let arrives = connection.arrival(side, now);
        if connection.pipes[side].reader_gone {
            // The write succeeds, and the peer answers with a reset.
            let answered = connection.arrival(1 - side, arrives);
            connection.pipes[1 - side].reset(answered);
            return Ok(bytes);
        }
        let room = connection.pipes[side].room(connection.conditions.buffer_bytes);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = connection.piece(bytes.min(room));
        Ok(connection.pipes[side].send(slices, count, arrives))
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.write(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let side = self.side;
                self.lock().pipes[side].writer = Some(cx.waker().clone());
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }

    pub(crate) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.side;
        let mut connection = self.lock();
        let broken = connection.pipes[side].reader_gone
            || connection.pipes[1 - side].is_reset(Instant::now());
        if broken || connection.is_writable(side) {
            return Poll::Ready(Ok(())); // the write reports the error
        }
        connection.pipes[side].writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = Instant::now();
        let side = self.side;
        let mut guard = self.lock();
        let connection = &mut *guard;
        let unread = connection.pipes[1 - side].close(now);
        if self.resets || unread.is_some_and(|arrives| arrives <= now) {
            connection.abort(side, now);
            return;
        }
        if !self.half_closed {
            let arrives = connection.arrival(side, now);
            connection.pipes[side].end(arrives);
        }
        if let Some(arrives) = unread {
            // Bytes still in transit find nobody there and are answered with a reset.
            let answered = connection.arrival(side, arrives);
            connection.pipes[side].reset(answered);
        }
    }
}
