//! The log and the sessions that read it: it handles a client's line, makes the pass that writes to
//! all sessions that are behind, and ends those that are too far behind.
//!
//! Writing limits a server's throughput: a `send` costs about 2.7 µs whether it takes one relay
//! or a hundred. So a publish only appends to the log. The flush pass runs after the readers that
//! are ready have run, and gives each session everything new in one write, straight into the
//! socket, without waking its task. Only a session whose socket is full is left out: its own
//! task writes once the socket takes something again. No session waits for another.

use std::borrow::Cow;
use std::mem;
use std::task::Context;
use std::time::Duration;

use tracing::{debug, info};

use super::cursor::MAX_WRITE_BYTES;
use super::fault::{Faults, Seat};
use super::flow::{self, Flow};
use super::log::{Entry, Log, Refused};
use super::rooms::Rooms;
use super::session::{NextWrite, Phase, Session, Stream, Turn, Writer};
use super::unfinished::Unfinished;
use super::{Config, Stats};
use chatbench_wire::Dialect;
use chatbench_wire::foreign::{self, Foreign};
use chatbench_wire::line::{LineBuffer, SERVER_EXTRA_BYTES};
use chatbench_wire::ndjson::{self, ClientFrame, ErrorCode, Malformed, MessageText};
use chatbench_wire::rooms::check_name;

/// The log, and the sessions that read it.
pub(super) struct Broadcast<S> {
    pub(super) log: Log,
    /// The same messages for sessions of the classic dialect, if the server has a listener for it.
    pub(super) classic_log: Option<Log>,
    /// The rooms with a name.
    pub(super) rooms: Rooms,
    /// By session id.
    pub(super) sessions: Vec<Option<Session<S>>>,
    vacant: Vec<usize>,
    pub(super) writer: Writer,
    pub(super) flow: Flow,
    /// The end of the log at the last pass.
    flushed: u64,
    /// The last pass wrote to no session, because of a fault.
    blocked: bool,
    /// The number of the last message at the last pass.
    flushed_seq: u64,
    /// Some session could take more when the last pass left it.
    unfinished: bool,
    /// This many bytes in the log that no session was offered yet make a pass due at once: bytes
    /// to be written stay in cache, and a sender cannot make sessions fall off the log that the
    /// pass has not reached.
    flush_at_bytes: u64,
    pub(super) begun_lines: Unfinished,
    backlog_bytes: usize,
    max_line_bytes: usize,
    max_errors: u32,
    pub(super) stats: Stats,
    /// The faults to commit; nearly always none.
    faults: Option<Box<Faults>>,
}

impl<S: Stream> Broadcast<S> {
    pub(super) fn new(config: &Config) -> Self {
        let flow = Flow::new(config);
        Self {
            // A relay holds its publish's message in a longer envelope (F2).
            log: Log::new(
                config.max_line_bytes + SERVER_EXTRA_BYTES,
                config.backlog_bytes,
            ),
            classic_log: None,
            rooms: Rooms::new(config),
            sessions: Vec::new(),
            vacant: Vec::new(),
            writer: Writer::new(flow.limits),
            flow,
            flushed: 0,
            blocked: false,
            flushed_seq: 0,
            unfinished: false,
            flush_at_bytes: MAX_WRITE_BYTES.min(config.backlog_bytes / 2) as u64,
            begun_lines: Unfinished::new(config.max_unfinished_bytes),
            backlog_bytes: config.backlog_bytes,
            max_line_bytes: config.max_line_bytes,
            max_errors: config.max_errors,
            stats: Stats::default(),
            faults: Faults::new(&config.faults, config.seed),
        }
    }

    /// Begins to keep a second log, for sessions of the classic dialect (C4).
    pub(super) fn keep_classic_log(&mut self) {
        // A text is never longer than the line of the same message: its envelope is shorter, and
        // it has no escapes. So whatever the first log takes fits this one.
        let max_text_bytes = self.max_line_bytes + SERVER_EXTRA_BYTES;
        let log = Log::new_classic(max_text_bytes, self.backlog_bytes);
        self.classic_log.get_or_insert(log);
    }

    /// Makes a connection a session.
    pub(super) fn join(&mut self, dialect: Dialect, stream: S, client_ip: &str) -> usize {
        debug!(client_ip, %dialect, "joined");
        self.stats.joined += 1;
        let session = match dialect {
            Dialect::Ndjson => Session::join(stream, client_ip, &self.log, self.max_line_bytes),
            Dialect::Classic => {
                let log = self.classic_log.as_ref().expect("there is such a listener");
                Session::join_classic(stream, client_ip, log, self.max_line_bytes)
            }
        };
        let id = self.vacant.pop().unwrap_or_else(|| {
            if self.sessions.len() == self.sessions.capacity() {
                // Grow by an eighth and not, as a Vec does, to double: half of that would lie idle.
                self.sessions.reserve_exact(64.max(self.sessions.len() / 8));
            }
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.sessions[id] = Some(session);
        self.with_faults((), |faults, broadcast| faults.joined(broadcast, id));
        id
    }

    /// Frees a session's place. `complete` is whether it was sent all that it was owed.
    pub(super) fn remove(&mut self, id: usize, complete: bool) -> Session<S> {
        let mut session = self.sessions[id].take().expect("a session ends once");
        debug!(client_ip = %session.client_ip, complete, "left");
        self.leave_queue(id, &session);
        self.forget_unfinished(&session);
        self.vacant.push(id);
        self.stats.aborted += u64::from(!complete);
        self.with_faults((), |faults, broadcast| {
            faults.removed(broadcast, id, complete);
        });
        if let Some(side) = &mut session.rooms {
            self.rooms.remove(side);
        }
        session
    }

    /// Counts input that was refused.
    pub(super) fn count_error(&mut self) {
        self.stats.errors += 1;
    }

    /// Runs `commit` if the server has faults to commit; otherwise returns `otherwise`.
    #[inline]
    pub(super) fn with_faults<T>(
        &mut self,
        otherwise: T,
        commit: impl FnOnce(&mut Faults, &mut Self) -> T,
    ) -> T {
        let Some(mut faults) = self.faults.take() else {
            return otherwise;
        };
        let outcome = commit(&mut faults, self);
        self.faults = Some(faults);
        outcome
    }

    /// Whether the server has faults to commit.
    #[inline]
    pub(super) fn has_faults(&self) -> bool {
        self.faults.is_some()
    }

    /// Takes out the faults, with those that were committed.
    pub(super) fn take_faults(&mut self) -> Option<Box<Faults>> {
        self.faults.take()
    }

    /// Counts a connection that found the server full.
    pub(super) fn count_refused(&mut self) {
        self.stats.refused += 1;
    }

    /// The number of sessions.
    pub(super) fn clients(&self) -> usize {
        self.sessions.len() - self.vacant.len()
    }

    /// A session, by the id that its task holds.
    #[inline]
    pub(super) fn session(&mut self, id: usize) -> &mut Session<S> {
        self.sessions[id]
            .as_mut()
            .expect("a session stays until its own task removes it")
    }

    /// Wakes every session's task.
    pub(super) fn wake_all(&self) {
        self.sessions.iter().flatten().for_each(Session::wake);
    }

    /// The counters so far.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            clients: self.clients() as u64,
            published: self.log.seq() + self.rooms.messages(),
            rooms: self.rooms.count() as u64,
            memberships: self.rooms.memberships() as u64,
            writes: self.writer.writes,
            bytes_out: self.writer.written_bytes,
            unfinished_bytes: self.begun_lines.bytes() as u64,
            backlog_bytes: kept(&self.log)
                + self.classic_log.as_ref().map_or(0, kept)
                + self.rooms.kept_bytes(),
            ..self.stats.clone()
        }
    }

    /// Whether a pass would find a session that is behind.
    #[inline]
    pub(super) fn is_flush_due(&self) -> bool {
        self.unfinished || self.log.end() > self.flushed || self.rooms.is_flush_due()
    }

    /// Whether the last pass wrote to no session, because of a fault: neither would another now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Sets the time since the server began.
    pub(super) fn set_time(&mut self, now: Duration) {
        self.writer.now = now;
    }

    /// One pass over all sessions that are behind, one write each; `try_full` has it try sockets
    /// that were full, too. If there is something new in rooms alone, it is over their members.
    pub(super) fn flush(&mut self, try_full: bool) {
        // The pass does not wait, so it leaves no waker with a socket: the task of a session whose
        // socket is full is woken here, polls the socket itself, and leaves its own waker there.
        if self.with_faults(false, |faults, broadcast| faults.blocks(broadcast)) {
            // The new messages count as handled: otherwise the flush task would take them for a
            // single message, and make the next pass without letting the sockets be polled.
            self.flushed_seq = self.log.seq() + self.rooms.messages();
            self.blocked = true;
            return;
        }
        self.blocked = false;
        let in_rooms_alone = self.rooms.is_flush_due()
            && !self.unfinished
            && !try_full
            && self.log.end() == self.flushed
            && !self.do_publishers_wait();
        self.rooms.note_news(&mut self.sessions);
        if in_rooms_alone {
            self.flush_rooms();
        } else {
            self.flush_all(try_full);
        }
        self.conclude_rooms();
        self.flushed = self.log.end();
        self.flushed_seq = self.log.seq() + self.rooms.messages();
    }

    fn flush_all(&mut self, try_full: bool) {
        let mut survey = self.survey();
        self.unfinished = false;
        let mut tries = self.flow.tries(try_full);
        for (id, session) in self.sessions.iter_mut().enumerate() {
            let Some(session) = session else { continue };
            if session.phase == Phase::Gone {
                continue; // it holds nothing back, so the log may be trimmed past it
            }
            let log = session.log(&self.log, &self.classic_log);
            let in_pass = matches!(session.next_write, NextWrite::InPass | NextWrite::Soon);
            let turn = if in_pass && session.is_behind(log) {
                session.write_in_pass(log, &mut self.writer, &mut self.rooms)
            } else if tries.take_one(id, || flow::is_worth_a_try(session, log, &self.flow.limits)) {
                // Its own task makes the next attempt, since its waker is with the socket.
                match session.write_a_little(log, &mut self.writer, &mut self.rooms) {
                    Turn::CaughtUp | Turn::More => Turn::Blocked,
                    turn => turn,
                }
            } else {
                Turn::CaughtUp
            };
            if !wrote(turn, session, log, &mut self.unfinished, &mut self.rooms) {
                continue;
            }
            survey.look_at(session, log, &self.flow.limits, self.writer.now);
        }
        self.conclude(&survey, &tries);
    }

    /// Makes one write to a session that a pass over the rooms found busy.
    pub(super) fn flush_one(&mut self, id: usize) {
        let Some(session) = &mut self.sessions[id] else {
            return;
        };
        let log = session.log(&self.log, &self.classic_log);
        let in_pass = matches!(session.next_write, NextWrite::InPass | NextWrite::Soon);
        if session.phase == Phase::Gone || !in_pass || !session.is_behind(log) {
            return;
        }
        let turn = session.write_in_pass(log, &mut self.writer, &mut self.rooms);
        wrote(turn, session, log, &mut self.unfinished, &mut self.rooms);
    }

    /// Whether more than one message has come since the last pass.
    pub(super) fn has_traffic(&self) -> bool {
        self.log.seq() + self.rooms.messages() != self.flushed_seq + 1
    }

    /// Lets a session's own task write once.
    pub(super) fn write(&mut self, id: usize, cx: &mut Context<'_>) -> Turn {
        let session = self.sessions[id].as_mut().expect("its own task calls");
        let log = session.log(&self.log, &self.classic_log);
        session.write(log, &mut self.writer, &mut self.rooms, cx)
    }

    /// Ends a session politely.
    pub(super) fn send_bye(&mut self, id: usize, phase: Phase) {
        let bids = self.with_faults(true, |faults, broadcast| faults.bids_bye(broadcast, id));
        let session = self.sessions[id].as_mut().expect("its own task calls");
        session.pace.begin_anew(self.writer.now);
        let log = session.log(&self.log, &self.classic_log);
        if bids {
            session.send_bye(log, &mut self.rooms, phase);
        } else {
            session.leave(log, &mut self.rooms, phase);
        }
        self.attend_to(id);
    }

    /// Queues a line after all that a session is owed so far; `false` if it takes no more.
    pub(super) fn reply(&mut self, id: usize, line: Vec<u8>) -> bool {
        let Some(session) = &mut self.sessions[id] else {
            return false;
        };
        if session.cursor.is_leaving() {
            return false;
        }
        let log = session.log(&self.log, &self.classic_log);
        session.reply(log, line);
        session.wake();
        true
    }

    /// The dialect of the clients towards which faults are committed: a faulty server has only one.
    pub(super) fn dialect(&self) -> Dialect {
        match self.classic_log {
            None => Dialect::Ndjson,
            Some(_) => Dialect::Classic,
        }
    }

    /// Ends a session without notice: it is sent what it is owed so far and no bye.
    pub(super) fn hang_up(&mut self, id: usize) {
        self.close(id);
        self.session(id).wake();
    }

    /// Takes the input of one read from a client.
    pub(super) fn take_input(&mut self, id: usize, bytes: &[u8]) {
        self.stats.reads += 1;
        self.stats.bytes_in += bytes.len() as u64;
        self.note_read(id, bytes.len());
        if self.with_faults(false, |faults, broadcast| {
            let lines = match &broadcast.session(id).websocket {
                None => Cow::Borrowed(bytes),
                Some(side) => Cow::Owned(side.whole_lines(bytes)),
            };
            faults.loses_read(broadcast, id, &lines)
        }) {
            return;
        }
        if self.session(id).websocket.is_some() {
            self.take_messages(id, bytes);
        } else if self.session(id).classic.is_some() {
            self.take_objects(id, bytes);
        } else {
            self.take_lines(id, bytes);
        }
        self.note_unfinished(id, bytes.len());
    }

    /// Takes the input of one read from a client of the ndjson dialect.
    fn take_lines(&mut self, id: usize, bytes: &[u8]) {
        // The buffer is taken out while its lines are read, because they need the session itself.
        let mut lines = mem::replace(&mut self.session(id).lines, LineBuffer::new(1));
        let mut chunk = lines.feed(bytes);
        while self.session(id).phase == Phase::Open
            && let Some(line) = chunk.next()
        {
            match line {
                Ok(line) => self.take_line(id, line),
                Err(too_long) => {
                    self.answer(id, ErrorCode::LineTooLong, &too_long.to_string(), None);
                    self.close(id);
                }
            }
            self.flush_if_much();
        }
        // A TLS record has no line end, so it is found in the unfinished line.
        if self.session(id).phase == Phase::Open
            && let Some(foreign) = foreign::recognise(lines.pending())
        {
            self.hang_up_on(id, foreign);
        }
        self.session(id).lines = lines;
    }

    /// Ends the session of a client that speaks another protocol: what follows is not meant for
    /// this server, and may be forged by a web page.
    fn hang_up_on(&mut self, id: usize, foreign: Foreign) {
        let client_ip = &self.session(id).client_ip;
        info!(%client_ip, "closed: this is {foreign}");
        let detail = format!("this is {foreign}, and here the broadcast protocol is spoken");
        self.answer(id, ErrorCode::Malformed, &detail, None);
        self.close(id);
    }

    /// Makes a pass if so much is new that it should not wait for other clients to be read from.
    #[inline]
    pub(super) fn flush_if_much(&mut self) {
        let unflushed_bytes = self.log.end() - self.flushed + self.rooms.unflushed_bytes();
        if unflushed_bytes >= self.flush_at_bytes {
            self.flush(false);
        }
    }

    /// Takes one line: a publish is numbered, anything else is answered with an error (S9).
    pub(super) fn take_line(&mut self, id: usize, line: &[u8]) {
        if self.with_faults(false, |faults, broadcast| {
            faults.loses_line(broadcast, id, line)
        }) {
            return;
        }
        match ndjson::decode_client(line) {
            Err(malformed) => {
                if let Some(foreign) = foreign::recognise(line) {
                    return self.hang_up_on(id, foreign);
                }
                self.refuse(id, line, &malformed);
                self.count_malformed(id);
            }
            Ok(ClientFrame::Publish(publish)) if publish.room.is_none() => {
                self.session(id).malformed_in_row = 0;
                if publish.message.is_empty() {
                    let detail = "a message has 1 or more characters";
                    self.answer(id, ErrorCode::EmptyMessage, detail, publish.id);
                } else {
                    let message = MessageText::decoded(&publish.message);
                    self.publish(id, message, publish.id);
                }
            }
            Ok(frame) => {
                self.session(id).malformed_in_row = 0;
                self.take_room_frame(id, &frame);
            }
        }
    }

    /// Counts a malformed line, and closes the session after too many in a row.
    pub(super) fn count_malformed(&mut self, id: usize) {
        let session = self.session(id);
        session.malformed_in_row += 1;
        if session.malformed_in_row >= self.max_errors {
            self.close(id);
        }
    }

    /// Numbers a message: an ack for its sender, a relay for everyone else (S3).
    pub(super) fn publish(&mut self, id: usize, message: MessageText<'_>, publish_id: Option<u64>) {
        if self.faults.is_some() {
            return self.with_faults((), |faults, broadcast| {
                let seat = Seat {
                    session: id,
                    membership: None,
                };
                faults.publish(broadcast, seat, message.as_str(), publish_id);
            });
        }
        if let Some(entry) = self.number(id, message, publish_id) {
            self.session(id).ack(entry, publish_id);
        }
    }

    /// Puts a message into the log; `None` if that ended its sender's session.
    pub(super) fn number(
        &mut self,
        id: usize,
        message: MessageText<'_>,
        publish_id: Option<u64>,
    ) -> Option<Entry> {
        let entry = loop {
            let session = self.sessions[id].as_mut().expect("it was just read from");
            if session.phase != Phase::Open {
                return None; // making room ended this session: it floods and reads no acks
            }
            match self.log.append(&session.client_ip, message) {
                Ok(entry) => break entry,
                Err(Refused::Backlogged { keep_from }) => {
                    self.end_behind(Dialect::Ndjson, keep_from);
                }
                Err(Refused::LineTooLong { line_bytes }) => {
                    let detail = format!("its relay would be a line of {line_bytes} bytes");
                    self.answer(id, ErrorCode::LineTooLong, &detail, publish_id);
                    self.close(id);
                    return None;
                }
            }
        };
        self.stats.relays += self.clients() as u64 - 1;
        if self.classic_log.is_none() {
            return Some(entry);
        }
        let text = self.append_text(id, message.as_str());
        debug_assert_eq!(text.seq, entry.seq, "the logs are in step");
        let session = self.session(id);
        match session.dialect() {
            Dialect::Ndjson => Some(entry),
            // As above, but the message is numbered, so it is relayed all the same.
            Dialect::Classic => (session.phase == Phase::Open).then_some(text),
        }
    }

    /// Puts a message that was just numbered into the log of the classic dialect too. If there is
    /// no room, slow consumers of that log are ended: the message is in the other log already.
    fn append_text(&mut self, id: usize, message: &str) -> Entry {
        loop {
            let session = self.sessions[id].as_ref().expect("it was just read from");
            let log = self.classic_log.as_mut().expect("the caller looked");
            match log.append(&session.client_ip, message) {
                Ok(text) => return text,
                Err(Refused::Backlogged { keep_from }) => {
                    self.end_behind(Dialect::Classic, keep_from);
                }
                Err(Refused::LineTooLong { line_bytes }) => {
                    unreachable!("{line_bytes} bytes, and the relay line was short enough")
                }
            }
        }
    }

    /// Answers a malformed line.
    fn refuse(&mut self, id: usize, line: &[u8], malformed: &Malformed) {
        let (code, detail) = (ErrorCode::Malformed, &malformed.detail);
        let room = malformed.room.as_deref();
        let room = room.filter(|room| check_name(room).is_ok());
        let kept_back = self.with_faults(false, |faults, broadcast| {
            let error = error_line(room, code, detail, malformed.id);
            faults.refused(broadcast, id, room, line, &error)
        });
        if !kept_back {
            self.answer_about(id, room, code, detail, malformed.id);
        }
    }

    /// Answers a line with an error, after all that the client is owed so far. A client of the
    /// classic dialect is not answered (C3): it is closed, which the caller must do.
    pub(super) fn answer(
        &mut self,
        id: usize,
        code: ErrorCode,
        detail: &str,
        publish_id: Option<u64>,
    ) {
        self.answer_about(id, None, code, detail, publish_id);
    }

    /// The same for a frame that named a room.
    pub(super) fn answer_about(
        &mut self,
        id: usize,
        room: Option<&str>,
        code: ErrorCode,
        detail: &str,
        frame_id: Option<u64>,
    ) {
        self.stats.errors += 1;
        let session = self.sessions[id].as_mut().expect("it was just read from");
        if session.classic.is_none() {
            session.reply(&self.log, error_line(room, code, detail, frame_id));
        }
    }

    /// Ends a session after an error: it is still sent what it is owed so far, the error last.
    pub(super) fn close(&mut self, id: usize) {
        let session = self.sessions[id].as_mut().expect("it was just read from");
        let log = session.log(&self.log, &self.classic_log);
        session.leave(log, &mut self.rooms, Phase::Closing);
        self.attend_to(id);
    }
}

/// Notes the outcome of the write that a pass made to a session. Returns whether its connection
/// still stands.
#[inline]
fn wrote<S: Stream>(
    turn: Turn,
    session: &mut Session<S>,
    log: &Log,
    unfinished: &mut bool,
    rooms: &mut Rooms,
) -> bool {
    match turn {
        Turn::CaughtUp => {}
        Turn::More if session.cursor.is_behind(log) => *unfinished = true,
        Turn::More if session.is_behind_but_for_lines() => *unfinished = true,
        Turn::More => rooms.leave_unfinished(),
        Turn::Blocked => session.wake(),
        Turn::Broken => {
            session.phase = Phase::Gone;
            session.wake();
            return false;
        }
    }
    true
}

/// Bytes that a log keeps for sessions that are behind.
fn kept(log: &Log) -> u64 {
    log.end() - log.start()
}

/// An error frame, LF included.
pub(super) fn error_line(
    room: Option<&str>,
    code: ErrorCode,
    detail: &str,
    id: Option<u64>,
) -> Vec<u8> {
    let mut line = Vec::new();
    match room {
        None => ndjson::encode_error(&mut line, code.as_str(), detail, id),
        Some(room) => ndjson::rooms::encode_error(&mut line, room, code.as_str(), detail, id),
    }
    line
}
