//! The shared state of a server's tasks: the broadcast, one read buffer, and the signals between
//! them. All of it belongs to one thread; a borrow is never held across an `await`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::broadcast::Broadcast;
use super::fault::committed::Committed;
use super::session::{NextWrite, Phase, Session, Stream, Turn};
use super::turns::READ_BYTES;
use super::websocket;
use super::{Config, Stats};
use chatbench_wire::Dialect;

/// Bytes, at most, that are still read from one client when the server shuts down. All that had
/// arrived by then is to be accepted, but a client that never stops must not delay the end.
const MAX_DRAIN_BYTES: u32 = 16 * READ_BYTES as u32;

/// How often it is checked, while publishers wait for readers, whether they still must.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Time for a client that is being closed to take its last lines. It may be busy, and megabytes
/// that the kernel has taken for it come first.
pub(super) const LAST_LINES: Duration = Duration::from_secs(10);

/// Time for it to close after that.
pub(super) const HANGING_UP: Duration = Duration::from_secs(2);

/// Time for a client that half-closed to take what it is owed, or enough of it to show that it
/// still reads.
pub(super) const LEAVING: Duration = Duration::from_secs(30);

/// The same for a client that is not read from because it does not take its answers.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// Connections, at most, that wait for their client to take the last lines or to close. Beyond
/// them there is little time for the one and none for the other.
const MAX_LINGERING: usize = 256;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All that it was owed was sent.
    Done,
    /// The server is ending it; what it is owed is still to be sent, against a deadline.
    Closing,
    /// The connection is gone.
    Gone,
}

/// How an attempt to read ended.
enum Input {
    /// Nothing has come; the context is woken when something does.
    None,
    /// Less than asked for: there was no more.
    Part,
    /// As much as asked for: there may be more.
    Full,
    /// The client has half-closed.
    End,
    Broken,
}

/// The shared state of a server's tasks.
pub(super) struct Hub<S> {
    pub(super) config: Config,
    /// The buffer of every read, so that an idle session holds none.
    pub(super) input: RefCell<Box<[u8]>>,
    broadcast: RefCell<Broadcast<S>>,
    /// A pass is due.
    behind: Notify,
    /// A session or a lingering connection ended.
    gone: Notify,
    draining: Cell<bool>,
    lingering: Cell<usize>,
    /// Held by each connection whose handshake is under way.
    handshakes: Rc<()>,
    begun: Instant,
    /// When full sockets were last tried all the same.
    tried_full: Cell<Duration>,
}

impl<S: Stream> Hub<S> {
    pub(super) fn new(config: Config) -> Self {
        Self {
            input: RefCell::new(vec![0; READ_BYTES].into()),
            broadcast: RefCell::new(Broadcast::new(&config)),
            behind: Notify::new(),
            gone: Notify::new(),
            draining: Cell::new(false),
            lingering: Cell::new(0),
            handshakes: Rc::new(()),
            begun: Instant::now(),
            tried_full: Cell::new(Duration::ZERO),
            config,
        }
    }

    /// Makes a connection a session; gives it back if the server is full.
    pub(super) fn join(&self, dialect: Dialect, stream: S, client_ip: &str) -> Result<usize, S> {
        let mut broadcast = self.broadcast.borrow_mut();
        if broadcast.clients() >= self.config.max_clients {
            broadcast.count_refused();
            return Err(stream);
        }
        Ok(broadcast.join(dialect, stream, client_ip))
    }

    /// Makes a connection a session over WebSocket, whose handshake is done but for its `answer`;
    /// `rest` is what came after the request. Gives the connection back if the server is full.
    pub(super) fn join_websocket(
        &self,
        stream: S,
        client_ip: &str,
        answer: Vec<u8>,
        rest: &[u8],
    ) -> Result<usize, S> {
        let id = self.join(Dialect::Ndjson, stream, client_ip)?;
        let mut broadcast = self.broadcast.borrow_mut();
        let side = websocket::Side::new(self.config.max_line_bytes, answer);
        broadcast.session(id).websocket = Some(Box::new(side));
        if !rest.is_empty() {
            broadcast.take_input(id, rest);
            self.behind.notify_one();
        }
        Ok(id)
    }

    /// A place among the connections whose handshake is under way, if there are fewer than `most`.
    pub(super) fn begin_handshake(&self, most: usize) -> Option<Rc<()>> {
        (Rc::strong_count(&self.handshakes) <= most).then(|| Rc::clone(&self.handshakes))
    }

    /// Prepares for clients of the classic dialect: their log must exist before they join.
    pub(super) fn expect_classic(&self) {
        self.broadcast.borrow_mut().keep_classic_log();
    }

    /// Frees a session's place.
    pub(super) fn remove(&self, id: usize, end: End) -> Session<S> {
        self.gone.notify_one();
        self.broadcast.borrow_mut().remove(id, end == End::Done)
    }

    /// Writes what the session's task has to write itself, then reads from its client, until
    /// neither makes progress. Its task calls this, and is woken for either.
    pub(super) fn poll_session(&self, id: usize, cx: &mut Context<'_>) -> Poll<End> {
        let mut guard = self.broadcast.borrow_mut();
        let broadcast = &mut *guard;
        broadcast.session(id).remember(cx.waker());
        loop {
            if broadcast.session(id).phase == Phase::Gone {
                return Poll::Ready(End::Gone);
            }
            if let NextWrite::NotBefore(then) = broadcast.session(id).next_write
                && Instant::now() >= then
            {
                broadcast.session(id).next_write = NextWrite::Soon;
            }
            let next_write = broadcast.session(id).next_write;
            if !matches!(next_write, NextWrite::InPass | NextWrite::NotBefore(_)) {
                broadcast.set_time(self.begun.elapsed());
                let turn = broadcast.write(id, cx);
                if broadcast.do_publishers_wait() && matches!(turn, Turn::CaughtUp | Turn::More) {
                    self.behind.notify_one(); // publishers may be waiting for this session
                }
                match turn {
                    Turn::CaughtUp => broadcast.session(id).next_write = NextWrite::InPass,
                    Turn::More => {
                        broadcast.session(id).next_write = NextWrite::Soon;
                        return yield_turn(cx);
                    }
                    Turn::Blocked => {}
                    Turn::Broken => return Poll::Ready(End::Gone),
                }
            }
            let session = broadcast.session(id);
            if session.is_done() {
                return Poll::Ready(End::Done);
            }
            match session.phase {
                Phase::Open => {}
                Phase::Closing => return Poll::Ready(End::Closing),
                Phase::Leaving | Phase::Gone => return Poll::Pending,
            }
            if !broadcast.is_read_from(id) {
                // It waits for its own output to be written: write now rather than in a pass.
                let session = broadcast.session(id);
                if session.next_write == NextWrite::InPass {
                    session.write_soon();
                    continue;
                }
            } else {
                let max_bytes = broadcast.may_read(id);
                if max_bytes == 0 {
                    self.behind.notify_one();
                    return Poll::Pending;
                }
                match self.read(broadcast, id, max_bytes, cx) {
                    Input::None => {}
                    Input::Part => continue,
                    Input::Full => {
                        let session = broadcast.session(id);
                        if self.draining.get() {
                            session.drain_bytes += max_bytes as u32;
                        }
                        if session.drain_bytes < MAX_DRAIN_BYTES {
                            return yield_turn(cx);
                        }
                    }
                    Input::End => {
                        broadcast.set_time(self.begun.elapsed());
                        broadcast.send_bye(id, Phase::Leaving);
                        continue;
                    }
                    Input::Broken => return Poll::Ready(End::Gone),
                }
            }
            if broadcast.session(id).phase == Phase::Open {
                if !self.draining.get() {
                    return Poll::Pending;
                }
                broadcast.send_bye(id, Phase::Closing);
            }
        }
    }

    /// Reads once from a session's client, up to a number of bytes, and takes the input.
    fn read(
        &self,
        broadcast: &mut Broadcast<S>,
        id: usize,
        max_bytes: usize,
        cx: &mut Context<'_>,
    ) -> Input {
        let mut input = self.input.borrow_mut();
        let mut buffer = ReadBuf::new(&mut input[..max_bytes]);
        match Pin::new(&mut broadcast.session(id).stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Input::None,
            Poll::Ready(Err(_)) => Input::Broken,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Input::End,
            Poll::Ready(Ok(())) => {
                broadcast.take_input(id, buffer.filled());
                if broadcast.is_flush_due() {
                    self.behind.notify_one();
                }
                if buffer.remaining() == 0 {
                    Input::Full
                } else {
                    Input::Part
                }
            }
        }
    }

    /// Writes the rest of what is owed to a session that the server is ending.
    pub(super) fn poll_closing(&self, id: usize, cx: &mut Context<'_>) -> Poll<End> {
        let mut broadcast = self.broadcast.borrow_mut();
        broadcast.session(id).remember(cx.waker());
        match broadcast.write(id, cx) {
            Turn::CaughtUp => Poll::Ready(End::Done),
            Turn::More => {
                broadcast.session(id).next_write = NextWrite::Soon;
                yield_turn(cx)
            }
            Turn::Blocked => Poll::Pending,
            Turn::Broken => Poll::Ready(End::Gone),
        }
    }

    /// How long a session that the server ends may take to be sent what it is owed.
    pub(super) fn closing_time(&self, has_place: bool) -> Duration {
        if self.draining.get() {
            self.config.drain // the whole server ends: a slow reader has all that time
        } else if has_place {
            LAST_LINES
        } else {
            HANGING_UP
        }
    }

    /// Waits until a pass is due. While publishers wait, or a fault makes everyone wait, one is due
    /// every [`LOOK_AGAIN`].
    pub(super) async fn behind(&self) {
        let due = self.behind.notified();
        if self.waits_for_readers() {
            let _ = timeout(LOOK_AGAIN, due).await;
        } else {
            due.await;
        }
    }

    fn waits_for_readers(&self) -> bool {
        let broadcast = self.broadcast.borrow();
        broadcast.do_publishers_wait() || broadcast.is_blocked()
    }

    /// Whether more than one message has come since the last pass.
    pub(super) fn has_traffic(&self) -> bool {
        self.broadcast.borrow().has_traffic()
    }

    /// Makes one pass, and asks for another if some session could take more.
    pub(super) fn flush(&self) {
        let now = self.begun.elapsed();
        let mut broadcast = self.broadcast.borrow_mut();
        broadcast.set_time(now);
        let try_full = broadcast.do_publishers_wait() && now - self.tried_full.get() >= LOOK_AGAIN;
        if try_full {
            self.tried_full.set(now);
        }
        broadcast.flush(try_full);
        broadcast.begin_round();
        if broadcast.is_flush_due() && !broadcast.is_blocked() {
            self.behind.notify_one();
        }
    }

    /// Ends sessions that do not take what they are owed and that the server no longer reads from.
    pub(super) fn end_stuck(&self) {
        let mut broadcast = self.broadcast.borrow_mut();
        broadcast.set_time(self.begun.elapsed());
        broadcast.end_stuck(LEAVING, STALLED);
    }

    /// Begins the shutdown (J4): every session leaves once all that has arrived from it is read.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.broadcast.borrow().wake_all();
    }

    /// Waits until there is no session and no lingering connection.
    pub(super) async fn empty(&self) {
        while self.broadcast.borrow().clients() + self.lingering.get() > 0 {
            self.gone.notified().await;
        }
    }

    /// Takes the faults that were committed, and the number of those beyond that were not kept.
    pub(super) fn take_committed(&self) -> (Vec<Committed>, u64) {
        let faults = self.broadcast.borrow_mut().take_faults();
        faults.map_or_else(Default::default, |faults| faults.into_committed())
    }

    /// The counters so far.
    pub(super) fn stats(&self) -> Stats {
        self.broadcast.borrow().stats()
    }

    /// A place among the connections that wait for their client to close, if one is left.
    pub(super) fn linger(&self) -> Option<Lingering<'_, S>> {
        if self.lingering.get() == MAX_LINGERING {
            return None;
        }
        self.lingering.set(self.lingering.get() + 1);
        Some(Lingering(self))
    }
}

/// Holds a place among the connections that wait for their client to close.
pub(super) struct Lingering<'a, S>(&'a Hub<S>);

impl<S> Drop for Lingering<'_, S> {
    fn drop(&mut self) {
        self.0.lingering.set(self.0.lingering.get() - 1);
        self.0.gone.notify_one();
    }
}

/// Lets every other task run, including those whose sockets became ready meanwhile.
///
/// Waking the task directly would queue it after those that are known to be ready, and tokio polls
/// for others only every 61 polls: one client that never stops sending would get most of them.
pub(super) fn yield_turn<T>(cx: &mut Context<'_>) -> Poll<T> {
    let turn: Poll<()> = pin!(yield_now()).poll(cx);
    debug_assert!(turn.is_pending());
    Poll::Pending
}
