//! The log and the sessions that read it: what a client's line does, the pass that writes to all
//! who are behind, and the end of those who are too far behind.
//!
//! Writing decides what a server can carry: a `send` costs about 2.7 µs whether it takes one relay
//! or a hundred. So a publish only appends to the log. The flush pass runs after the readers that
//! are ready have run and gives each session all that came meanwhile in one write, straight into
//! the socket, without waking its task. Only a session whose socket is full is left out: its own
//! task writes once the socket takes something again. Nobody waits for anybody.

use std::mem;
use std::task::Context;
use std::time::Duration;

use tracing::{debug, info};

use super::cursor::MAX_WRITE_BYTES;
use super::fault::Faults;
use super::flow::{self, Flow};
use super::log::{Entry, Log, Refused};
use super::session::{NextWrite, Phase, Session, Stream, Turn, Writer};
use super::unfinished::Unfinished;
use super::{Config, Stats};
use chatbench_wire::Dialect;
use chatbench_wire::foreign::{self, Foreign};
use chatbench_wire::line::{LineBuffer, SERVER_EXTRA_BYTES};
use chatbench_wire::ndjson::{self, ErrorCode, Malformed, MessageText};

/// The log, and who reads it.
pub(super) struct Broadcast<S> {
    pub(super) log: Log,
    /// The same messages for the sessions of the classic dialect, where there may be some.
    pub(super) classic_log: Option<Log>,
    /// By session id.
    pub(super) sessions: Vec<Option<Session<S>>>,
    vacant: Vec<usize>,
    pub(super) writer: Writer,
    pub(super) flow: Flow,
    /// The end of the log at the last pass.
    flushed: u64,
    /// The last pass wrote to nobody, because of a fault.
    blocked: bool,
    /// The number of the last message at the last pass.
    flushed_seq: u64,
    /// Some session could take more when the last pass left it.
    unfinished: bool,
    /// So much in the log that no session was offered yet makes a pass due at once: what is being
    /// written stays in cache, and a sender cannot push out whom the pass has not reached.
    flush_at_bytes: u64,
    pub(super) begun_lines: Unfinished,
    backlog_bytes: usize,
    max_line_bytes: usize,
    max_errors: u32,
    pub(super) stats: Stats,
    /// What this server does wrong on purpose; nearly always nothing.
    faults: Option<Box<Faults>>,
}

impl<S: Stream> Broadcast<S> {
    pub(super) fn new(config: &Config) -> Self {
        let flow = Flow::new(config);
        Self {
            // A relay holds what its publish held, and the envelope besides (F2).
            log: Log::new(
                config.max_line_bytes + SERVER_EXTRA_BYTES,
                config.backlog_bytes,
            ),
            classic_log: None,
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

    /// Has a second log kept, for sessions of the classic dialect (C4).
    pub(super) fn keep_classic_log(&mut self) {
        // A text is never longer than the line of the same message: it has the shorter envelope,
        // and no escapes. So what the first log takes fits this one.
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
                // By an eighth and not, as a Vec does, by as much again: half of that lay idle.
                self.sessions.reserve_exact(64.max(self.sessions.len() / 8));
            }
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.sessions[id] = Some(session);
        self.with_faults((), |faults, broadcast| faults.joined(broadcast, id));
        id
    }

    /// Gives a session's place free. `complete` says whether it was sent all that it was owed.
    pub(super) fn remove(&mut self, id: usize, complete: bool) -> Session<S> {
        let session = self.sessions[id].take().expect("a session ends once");
        debug!(client_ip = %session.client_ip, complete, "left");
        self.leave_queue(id, &session);
        self.forget_unfinished(&session);
        self.vacant.push(id);
        self.stats.aborted += u64::from(!complete);
        self.with_faults((), |faults, broadcast| {
            faults.removed(broadcast, id, complete);
        });
        session
    }

    /// Counts input that was refused.
    pub(super) fn count_error(&mut self) {
        self.stats.errors += 1;
    }

    /// What a faulty server does where `otherwise` is what any other comes to.
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

    /// What this server did wrong on purpose.
    pub(super) fn take_faults(&mut self) -> Option<Box<Faults>> {
        self.faults.take()
    }

    /// Counts a connection that found the server full.
    pub(super) fn count_refused(&mut self) {
        self.stats.refused += 1;
    }

    /// The sessions there are.
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

    /// What happened so far.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            clients: self.clients() as u64,
            published: self.log.seq(),
            writes: self.writer.writes,
            bytes_out: self.writer.written_bytes,
            unfinished_bytes: self.begun_lines.bytes() as u64,
            backlog_bytes: kept(&self.log) + self.classic_log.as_ref().map_or(0, kept),
            ..self.stats.clone()
        }
    }

    /// Whether a pass would find someone behind.
    #[inline]
    pub(super) fn is_flush_due(&self) -> bool {
        self.unfinished || self.log.end() > self.flushed
    }

    /// Whether the last pass wrote to nobody, because of a fault: another at once would not either.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Takes note of the time since the server began.
    pub(super) fn set_time(&mut self, now: Duration) {
        self.writer.now = now;
    }

    /// One pass over all sessions that are behind, one write each; `try_full` has it try sockets
    /// that were full, too.
    pub(super) fn flush(&mut self, try_full: bool) {
        // The pass waits for nobody, so the sockets are to wake nobody: the task of a session whose
        // socket is full is woken here, asks the socket itself, and leaves its own waker there.
        if self.with_faults(false, |faults, broadcast| faults.blocks(broadcast)) {
            // What came is seen to: or whoever asks for passes would take it for a message that
            // comes alone, and ask for the next one without letting a socket have its say.
            self.flushed_seq = self.log.seq();
            self.blocked = true;
            return;
        }
        self.blocked = false;
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
            let turn = if in_pass && session.cursor.is_behind(log) {
                session.write_in_pass(log, &mut self.writer)
            } else if tries.take_one(id, || flow::is_worth_a_try(session, log, &self.flow.limits)) {
                // The next try is its own task's: what is left there is its waker.
                match session.write_a_little(log, &mut self.writer) {
                    Turn::CaughtUp | Turn::More => Turn::Blocked,
                    turn => turn,
                }
            } else {
                Turn::CaughtUp
            };
            match turn {
                Turn::CaughtUp => {}
                Turn::More => self.unfinished = true,
                Turn::Blocked => session.wake(),
                Turn::Broken => {
                    session.phase = Phase::Gone;
                    session.wake();
                    continue;
                }
            }
            survey.look_at(session, log, &self.flow.limits, self.writer.now);
        }
        self.conclude(&survey, &tries);
        self.flushed = self.log.end();
        self.flushed_seq = self.log.seq();
    }

    /// Whether more than one message has come since the last pass.
    pub(super) fn has_traffic(&self) -> bool {
        self.log.seq() != self.flushed_seq + 1
    }

    /// Lets a session's own task write once.
    pub(super) fn write(&mut self, id: usize, cx: &mut Context<'_>) -> Turn {
        let session = self.sessions[id].as_mut().expect("its own task calls");
        let log = session.log(&self.log, &self.classic_log);
        session.write(log, &mut self.writer, cx)
    }

    /// Ends a session politely.
    pub(super) fn send_bye(&mut self, id: usize, phase: Phase) {
        let bids = self.with_faults(true, |faults, broadcast| faults.bids_bye(broadcast, id));
        let session = self.sessions[id].as_mut().expect("its own task calls");
        session.pace.begin_anew(self.writer.now);
        let log = session.log(&self.log, &self.classic_log);
        if bids {
            session.send_bye(log, phase);
        } else {
            session.leave(log, phase);
        }
    }

    /// Queues a line behind all that a session is owed so far; `false` if it takes no more.
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

    /// What the clients speak that a fault is committed towards: of a faulty server all the same.
    pub(super) fn dialect(&self) -> Dialect {
        match self.classic_log {
            None => Dialect::Ndjson,
            Some(_) => Dialect::Classic,
        }
    }

    /// Ends a session out of the blue: it is sent what it is owed so far and no bye.
    pub(super) fn hang_up(&mut self, id: usize) {
        self.close(id);
        self.session(id).wake();
    }

    /// Takes what one read brought from a client.
    pub(super) fn take_input(&mut self, id: usize, bytes: &[u8]) {
        self.stats.reads += 1;
        self.stats.bytes_in += bytes.len() as u64;
        self.note_read(id, bytes.len());
        if self.with_faults(false, |faults, broadcast| {
            faults.loses_read(broadcast, id, bytes)
        }) {
            return;
        }
        if self.session(id).classic.is_some() {
            self.take_objects(id, bytes);
        } else {
            self.take_lines(id, bytes);
        }
        self.note_unfinished(id, bytes.len());
    }

    /// Takes what one read brought from a client of the ndjson dialect.
    fn take_lines(&mut self, id: usize, bytes: &[u8]) {
        // A stand-in for as long as the lines are read: the session itself is needed meanwhile.
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
        // A record of TLS has no line end: it shows in what is not finished.
        if self.session(id).phase == Phase::Open
            && let Some(foreign) = foreign::recognise(lines.pending())
        {
            self.hang_up_on(id, foreign);
        }
        self.session(id).lines = lines;
    }

    /// Ends the session of who speaks another protocol: what follows is not for this server, and
    /// may be what a web page would have it believe.
    fn hang_up_on(&mut self, id: usize, foreign: Foreign) {
        let client_ip = &self.session(id).client_ip;
        info!(%client_ip, "closed: this is {foreign}");
        let detail = format!("this is {foreign}, and here the broadcast protocol is spoken");
        self.answer(id, ErrorCode::Malformed, &detail, None);
        self.close(id);
    }

    /// Makes a pass where so much is new that it should not wait for the readers.
    #[inline]
    pub(super) fn flush_if_much(&mut self) {
        if self.log.end() - self.flushed >= self.flush_at_bytes {
            self.flush(false);
        }
    }

    /// Takes one line: a publish is numbered, anything else is answered with an error (S9).
    fn take_line(&mut self, id: usize, line: &[u8]) {
        if self.with_faults(false, |faults, broadcast| {
            faults.loses_line(broadcast, id, line)
        }) {
            return;
        }
        match ndjson::decode_publish(line) {
            Err(malformed) => {
                if let Some(foreign) = foreign::recognise(line) {
                    return self.hang_up_on(id, foreign);
                }
                self.refuse(id, line, &malformed);
                let session = self.session(id);
                session.malformed_in_row += 1;
                if session.malformed_in_row >= self.max_errors {
                    self.close(id);
                }
            }
            Ok(publish) => {
                self.session(id).malformed_in_row = 0;
                if publish.message.is_empty() {
                    let detail = "a message has 1 or more characters";
                    self.answer(id, ErrorCode::EmptyMessage, detail, publish.id);
                } else {
                    let message = MessageText::decoded(&publish.message);
                    self.publish(id, message, publish.id);
                }
            }
        }
    }

    /// Numbers a message: an ack for its sender, a relay for everyone else (S3).
    pub(super) fn publish(&mut self, id: usize, message: MessageText<'_>, publish_id: Option<u64>) {
        if self.faults.is_some() {
            return self.with_faults((), |faults, broadcast| {
                faults.publish(broadcast, id, message.as_str(), publish_id);
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
                return None; // making room has ended this very session: a flood that reads no acks
            }
            match self.log.append(&session.client_ip, message) {
                Ok(entry) => break entry,
                Err(Refused::Backlogged { keep_from }) => {
                    self.end_slow_consumers(Dialect::Ndjson, keep_from);
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
            // As above: but the message is numbered, so it is relayed.
            Dialect::Classic => (session.phase == Phase::Open).then_some(text),
        }
    }

    /// Puts a message that was just numbered into the log of the classic dialect too. Who has no
    /// room for it there is slow, whoever sent it: the message is in.
    fn append_text(&mut self, id: usize, message: &str) -> Entry {
        loop {
            let session = self.sessions[id].as_ref().expect("it was just read from");
            let log = self.classic_log.as_mut().expect("the caller looked");
            match log.append(&session.client_ip, message) {
                Ok(text) => return text,
                Err(Refused::Backlogged { keep_from }) => {
                    self.end_slow_consumers(Dialect::Classic, keep_from);
                }
                Err(Refused::LineTooLong { line_bytes }) => {
                    unreachable!("{line_bytes} bytes, and the relay line was short enough")
                }
            }
        }
    }

    /// Answers a malformed line.
    fn refuse(&mut self, id: usize, line: &[u8], malformed: &Malformed) {
        let kept_back = self.with_faults(false, |faults, broadcast| {
            let error = error_line(ErrorCode::Malformed, &malformed.detail, malformed.id);
            faults.refused(broadcast, id, line, &error)
        });
        if !kept_back {
            self.answer(id, ErrorCode::Malformed, &malformed.detail, malformed.id);
        }
    }

    /// Answers a line with an error, behind all that the client is owed so far. A client of the
    /// classic dialect is not answered (C3): it is closed, which is for the caller to do.
    pub(super) fn answer(
        &mut self,
        id: usize,
        code: ErrorCode,
        detail: &str,
        publish_id: Option<u64>,
    ) {
        self.stats.errors += 1;
        let session = self.sessions[id].as_mut().expect("it was just read from");
        if session.classic.is_none() {
            session.reply(&self.log, error_line(code, detail, publish_id));
        }
    }

    /// Ends a session after an error: what it is owed so far, the error last, is still sent.
    pub(super) fn close(&mut self, id: usize) {
        let session = self.sessions[id].as_mut().expect("it was just read from");
        let log = session.log(&self.log, &self.classic_log);
        session.leave(log, Phase::Closing);
    }
}

/// Bytes that a log keeps for who is behind.
fn kept(log: &Log) -> u64 {
    log.end() - log.start()
}

/// An error frame, LF included.
pub(super) fn error_line(code: ErrorCode, detail: &str, id: Option<u64>) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_error(&mut line, code.as_str(), detail, id);
    line
}
