//! The server's state of one connection, and how it writes to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::classic::ClassicSide;
use super::cursor::{Cursor, Gather, MAX_WRITE_BYTES};
use super::log::{Entry, Log};
use super::pace::{self, Pace};
use super::rooms::{Part, Rooms, Side};
use super::turns::Share;
use super::unfinished::Begun;
use super::websocket::{self, Frames};
use chatbench_net as net;
use chatbench_wire::Dialect;
use chatbench_wire::line::LineBuffer;
use chatbench_wire::ndjson;

/// The stream of a session: a [`net::Stream`], or in tests a pipe in memory.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Writes as much as it takes at once, and never waits.
    ///
    /// # Errors
    /// The system's error; `WouldBlock` if it takes nothing.
    fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_write(&mut nobody, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Stream for net::Stream {
    #[inline]
    fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_now(bytes)
    }
}

/// The phase of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is read from.
    Open,
    /// The client half-closed (J2): nothing more will come from it.
    Leaving,
    /// The server ends it, for an error or to shut down: the client may still be sending.
    Closing,
    /// Reset, or broken otherwise: it is owed nothing (J3).
    Gone,
}

/// The maker of a session's next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextWrite {
    /// The flush pass, once there is something new in the log.
    InPass,
    /// The session's task, which is about to run, unless a pass comes first: there is a line of
    /// the session's own (welcome, error, bye), or more than fits into one write.
    Soon,
    /// The session's task, once the socket takes something again. A pass must not try: it would
    /// replace the task's waker at the socket by one that wakes no task.
    WhenWritable,
    /// The session's task, at this time: a fault delays it.
    NotBefore(Instant),
}

/// One connection that was welcomed.
///
/// It owns no buffer while it is idle: reads go through one that all sessions share, of which
/// `lines` keeps an unfinished line, and bytes to be written are in the log.
#[derive(Debug)]
pub(super) struct Session<S> {
    pub(super) stream: S,
    pub(super) client_ip: Box<str>,
    pub(super) phase: Phase,
    pub(super) cursor: Cursor,
    pub(super) lines: LineBuffer,
    pub(super) malformed_in_row: u32,
    /// Bytes read since the server began to shut down.
    pub(super) drain_bytes: u32,
    pub(super) pace: Pace,
    pub(super) share: Share,
    pub(super) begun: Begun,
    pub(super) next_write: NextWrite,
    /// The additional state of a session of the classic dialect.
    pub(super) classic: Option<Box<ClassicSide>>,
    /// The additional state of a session over WebSocket.
    pub(super) websocket: Option<Box<websocket::Side>>,
    /// The additional state of a session that is or was in a room with a name.
    pub(super) rooms: Option<Box<Side>>,
    /// Wakes the session's task.
    waker: Option<Waker>,
}

/// The shared state for the writes of a thread's sessions: the buffer, the time, and counters.
#[derive(Debug)]
pub(super) struct Writer {
    gather: Gather,
    /// What was gathered as messages, for a session over WebSocket.
    frames: Frames,
    /// The rooms that what was gathered belongs to, if the session is in any.
    parts: Vec<Part>,
    /// Time since the server began, as of the last look at a clock.
    pub(super) now: Duration,
    pub(super) limits: pace::Limits,
    /// Writes of which a socket took something.
    pub(super) writes: u64,
    /// Bytes that the sockets took.
    pub(super) written_bytes: u64,
}

impl Writer {
    pub(super) fn new(limits: pace::Limits) -> Self {
        Self {
            gather: Gather::default(),
            frames: Frames::default(),
            parts: Vec::new(),
            now: Duration::ZERO,
            limits,
            writes: 0,
            written_bytes: 0,
        }
    }
}

/// How an attempt to write ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// All that is owed was sent.
    CaughtUp,
    /// The socket took some, and there is more.
    More,
    /// The socket took nothing; the context is woken when it will.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl<S: Stream> Session<S> {
    /// A session that joins now, with its welcome queued (J1).
    pub(super) fn join(stream: S, client_ip: &str, log: &Log, max_line_bytes: usize) -> Self {
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, client_ip, log.seq(), max_line_bytes as u64);
        let cursor = Cursor::join(log, welcome);
        Self::new(stream, client_ip, cursor, max_line_bytes, None)
    }

    pub(super) fn new(
        stream: S,
        client_ip: &str,
        cursor: Cursor,
        max_line_bytes: usize,
        classic: Option<Box<ClassicSide>>,
    ) -> Self {
        Self {
            stream,
            client_ip: client_ip.into(),
            phase: Phase::Open,
            cursor,
            classic,
            websocket: None,
            rooms: None,
            lines: LineBuffer::new(max_line_bytes),
            malformed_in_row: 0,
            drain_bytes: 0,
            pace: Pace::new(Duration::ZERO),
            share: Share::default(),
            begun: Begun::default(),
            next_write: NextWrite::Soon,
            waker: None,
        }
    }

    #[inline]
    pub(super) fn dialect(&self) -> Dialect {
        match &self.classic {
            None => Dialect::Ndjson,
            Some(_) => Dialect::Classic,
        }
    }

    /// The log that the session reads. A session of the classic dialect has a log of that dialect.
    #[inline]
    pub(super) fn log<'a>(&self, ndjson: &'a Log, classic: &'a Option<Log>) -> &'a Log {
        match &self.classic {
            None => ndjson,
            Some(_) => classic.as_ref().expect("it came by a classic listener"),
        }
    }

    /// Makes one write of what the session is owed, in a pass. A session that only listens, as
    /// nearly all do, is written to without a lookup of what tokio knows of the socket.
    #[inline]
    pub(super) fn write_in_pass(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
    ) -> Turn {
        if self.websocket.is_some() {
            return self.write_framed(log, writer, rooms, Self::send_now);
        }
        self.gather(log, writer, rooms);
        let Some(bytes) = writer.gather.single_slice(log) else {
            // No waker is left with the socket: see `Broadcast::flush`.
            let mut nobody = Context::from_waker(Waker::noop());
            return self.write_gathered(log, writer, rooms, &mut nobody);
        };
        let written = self.send_now(bytes);
        self.written(log, writer, rooms, written)
    }

    /// Gathers the next write.
    #[inline]
    fn gather(&self, log: &Log, writer: &mut Writer, rooms: &Rooms) {
        match &self.rooms {
            None => self.cursor.gather(log, &mut writer.gather),
            Some(side) => self.gather_with_rooms(side, log, writer, rooms),
        }
    }

    /// Gathers the next write of a session that is in rooms: these first, then the unnamed one.
    fn gather_with_rooms(&self, side: &Side, log: &Log, writer: &mut Writer, rooms: &Rooms) {
        let Writer { gather, parts, .. } = writer;
        parts.clear();
        if self.cursor.is_mid_line() {
            gather.begin_with(|out| {
                let bytes = self.cursor.copy_line_rest(log, out);
                parts.push(Part::Unnamed(bytes));
            });
            return;
        }
        let is_behind = self.cursor.is_behind(log);
        let max_bytes = if is_behind && !side.ends() {
            MAX_WRITE_BYTES / 2 // so that neither waits for ever for the other
        } else {
            MAX_WRITE_BYTES
        };
        let mut whole = true;
        gather.begin_with(|out| {
            whole =
                !side.copy_line_rest(rooms, out, parts) && side.copy(rooms, max_bytes, out, parts);
        });
        if is_behind && (whole || !side.ends()) && !side.is_mid_line() {
            let before = gather.total_bytes();
            self.cursor.gather_on(log, gather);
            parts.push(Part::Unnamed(gather.total_bytes() - before));
        }
    }

    #[inline]
    fn send_now(&mut self, bytes: &[u8]) -> Poll<Option<usize>> {
        match self.stream.send_now(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Pending,
            written => Poll::Ready(written.ok()),
        }
    }

    /// Tries a socket that was full. The kernel reports it as writable only when a good part of
    /// its buffer is free, which for a slow reader may be megabytes later.
    pub(super) fn write_a_little(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
    ) -> Turn {
        if self.websocket.is_some() {
            return self.write_framed(log, writer, rooms, Self::send_now);
        }
        self.gather(log, writer, rooms);
        let Some(bytes) = writer.gather.first_slice(log) else {
            return Turn::CaughtUp;
        };
        let written = self.send_now(bytes);
        self.written(log, writer, rooms, written)
    }

    /// Makes one write of what the session is owed; if the socket is full, `cx` is woken when it
    /// no longer is.
    pub(super) fn write(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
        cx: &mut Context<'_>,
    ) -> Turn {
        if self.websocket.is_some() {
            return self.write_framed(log, writer, rooms, |session, bytes| {
                let written = Pin::new(&mut session.stream).poll_write(cx, bytes);
                written.map(Result::ok)
            });
        }
        self.gather(log, writer, rooms);
        self.write_gathered(log, writer, rooms, cx)
    }

    /// Makes one write to a session over WebSocket, by `send`: what it is owed, as messages.
    fn write_framed(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
        send: impl FnOnce(&mut Self, &[u8]) -> Poll<Option<usize>>,
    ) -> Turn {
        self.gather(log, writer, rooms);
        let are_lines_sent = self.are_lines_sent();
        let side = self.websocket.as_mut().expect("the caller looked");
        if are_lines_sent {
            side.end();
        }
        side.frame(&mut writer.frames, &writer.gather, log);
        if writer.frames.bytes().is_empty() {
            if let Some(side) = &mut self.rooms {
                side.end_turns(rooms);
            }
            return Turn::CaughtUp;
        }
        let written = send(self, writer.frames.bytes());
        self.written(log, writer, rooms, written)
    }

    fn write_gathered(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
        cx: &mut Context<'_>,
    ) -> Turn {
        let gather = &writer.gather;
        if gather.total_bytes() == 0 {
            if let Some(side) = &mut self.rooms {
                side.end_turns(rooms);
            }
            return Turn::CaughtUp;
        }
        let stream = Pin::new(&mut self.stream);
        let written = if let Some(bytes) = gather.single_slice(log) {
            stream.poll_write(cx, bytes)
        } else {
            let (slices, count) = gather.slices(log);
            stream.poll_write_vectored(cx, &slices[..count])
        };
        self.written(log, writer, rooms, written.map(Result::ok))
    }

    /// Records the result of a write; `None` means that the connection is broken.
    #[inline]
    fn written(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        rooms: &mut Rooms,
        written: Poll<Option<usize>>,
    ) -> Turn {
        match written {
            Poll::Pending => {
                self.next_write = NextWrite::WhenWritable;
                self.pace.fall_behind(writer.now);
                Turn::Blocked
            }
            Poll::Ready(None | Some(0)) => Turn::Broken,
            Poll::Ready(Some(sent_bytes)) => {
                writer.writes += 1;
                writer.written_bytes += sent_bytes as u64;
                let sent_bytes = match &mut self.websocket {
                    None => sent_bytes,
                    Some(side) => side.took(sent_bytes, &writer.frames),
                };
                if self.rooms.is_some() {
                    self.advance_with_rooms(log, &writer.parts, rooms, sent_bytes);
                } else if sent_bytes == writer.gather.total_bytes() && sent_bytes > 0 {
                    self.cursor.advance_all(log, &writer.gather);
                } else {
                    self.cursor.advance(log, sent_bytes);
                }
                if self.is_behind(log) {
                    let (bytes, now) = (sent_bytes as u64, writer.now);
                    let (_, end) = self.offsets(log.end(), log.end());
                    self.pace.take(bytes, end, &writer.limits, now);
                    Turn::More
                } else {
                    self.pace.catch_up();
                    Turn::CaughtUp
                }
            }
        }
    }

    /// Advances over what was sent to a session that is in rooms.
    fn advance_with_rooms(&mut self, log: &Log, parts: &[Part], rooms: &mut Rooms, sent: usize) {
        let side = self.rooms.as_mut().expect("the caller looked");
        let mut left = sent;
        for part in parts {
            let (Part::Unnamed(bytes) | Part::Member(_, bytes)) = *part;
            let bytes = bytes.min(left);
            left -= bytes;
            match *part {
                Part::Unnamed(_) => self.cursor.advance(log, bytes),
                Part::Member(membership, _) => side.advance(rooms, membership, bytes),
            }
            if left == 0 {
                break;
            }
        }
        side.end_turns(rooms);
    }

    /// Whether there is anything to send.
    #[inline]
    pub(super) fn is_behind(&self, log: &Log) -> bool {
        self.cursor.is_behind(log)
            || self.rooms.as_ref().is_some_and(|side| side.is_behind())
            || self.is_behind_but_for_lines()
    }

    /// Whether a session over WebSocket has anything to send that is no line.
    #[inline]
    pub(super) fn is_behind_but_for_lines(&self) -> bool {
        let side = self.websocket.as_ref();
        side.is_some_and(|side| side.is_behind(self.are_lines_sent()))
    }

    /// Whether the session has left: all that it was owed is sent.
    pub(super) fn is_done(&self) -> bool {
        self.are_lines_sent() && !self.is_behind_but_for_lines()
    }

    /// Whether all lines are sent, and none will follow.
    fn are_lines_sent(&self) -> bool {
        self.cursor.is_done() && self.rooms.as_ref().is_none_or(|side| !side.is_behind())
    }

    /// Lines of the session's own that are not sent.
    pub(super) fn lines_queued(&self) -> u32 {
        let in_rooms = self.rooms.as_ref().map_or(0, |side| side.lines_queued());
        self.cursor.lines_queued() + in_rooms
    }

    /// Where it is and where what it is owed ends, if it is `at` an offset of the log, which ends
    /// at `end`: those of the unnamed room and of its others together, since one socket takes both.
    #[inline]
    pub(super) fn offsets(&self, at: u64, end: u64) -> (u64, u64) {
        match &self.rooms {
            None => (at, end),
            Some(side) => {
                let at = at + side.taken_bytes();
                (at, end + side.taken_bytes() + side.behind_bytes())
            }
        }
    }

    /// Bytes of a line or an object that has begun and not ended.
    #[inline]
    pub(super) fn pending_bytes(&self) -> usize {
        match (&self.classic, &self.websocket) {
            (None, None) => self.lines.pending_bytes(),
            (Some(side), _) => side.pending_bytes(),
            (None, Some(side)) => side.pending_bytes(),
        }
    }

    /// Frees the bytes that are kept of it: nothing more is read.
    pub(super) fn forget_input(&mut self) {
        self.lines = LineBuffer::new(1);
        if let Some(side) = &mut self.classic {
            side.forget_input();
        }
        if let Some(side) = &mut self.websocket {
            side.forget_input();
        }
    }

    /// Stores the waker of the session's task.
    pub(super) fn remember(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// The waker of the session's task.
    pub(super) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    /// Wakes the session's task, so that it sees what has changed.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Makes the session's task write when it runs next, unless it is waiting for the socket.
    pub(super) fn write_soon(&mut self) {
        if self.next_write == NextWrite::InPass {
            self.next_write = NextWrite::Soon;
        }
    }

    /// Acknowledges the session's own message at its offset in the log.
    #[inline]
    pub(super) fn ack(&mut self, entry: Entry, id: Option<u64>) {
        match &self.classic {
            None => self.cursor.ack(entry, id),
            Some(side) => self.cursor.ack_in_text(entry, side.ack()),
        }
    }

    /// Ends the session of a slow consumer: it is sent the rest of the line that it is in, then
    /// `error`, and nothing else.
    pub(super) fn fall_off(&mut self, log: &Log, rooms: &mut Rooms, error: &[u8]) {
        let mut last = Vec::new();
        if let Some(side) = &mut self.rooms {
            side.copy_line_rest(rooms, &mut last, &mut Vec::new());
            rooms.remove(side);
        }
        last.extend_from_slice(error);
        self.cursor.fall_off(log, &last);
        self.phase = Phase::Closing;
    }

    /// Queues a line of the session's own after all that it is owed so far.
    pub(super) fn reply(&mut self, log: &Log, line: Vec<u8>) {
        self.cursor.reply(log, line);
        self.write_soon();
    }

    /// Ends the session: it is sent what it is owed so far and no more.
    pub(super) fn leave(&mut self, log: &Log, rooms: &mut Rooms, phase: Phase) {
        if let Some(side) = &mut self.rooms {
            rooms.leave_all(side, false);
        }
        self.cursor.leave(log);
        self.phase = phase;
        self.write_soon();
    }

    /// Ends the session with a bye (J2, J4), which states the last number owed, after a `left` for
    /// each room that it is in. The classic dialect
    /// has none (C3).
    pub(super) fn send_bye(&mut self, log: &Log, rooms: &mut Rooms, phase: Phase) {
        if let Some(side) = &mut self.rooms {
            rooms.leave_all(side, true);
        }
        if self.classic.is_none() {
            let mut bye = Vec::new();
            ndjson::encode_bye(&mut bye, log.seq());
            self.reply(log, bye);
        }
        self.leave(log, rooms, phase);
    }
}
