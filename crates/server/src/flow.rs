//! Flow control: which clients are read from, and what the log keeps for slow readers. It applies
//! [`pace`](super::pace) and [`turns`](super::turns). For users it is described under S11 in
//! `docs/PROTOCOL.md`.

use std::time::Duration;

use tracing::info;

use super::Config;
use super::broadcast::{Broadcast, error_line};
use super::log::Log;
use super::pace::{Limits, Patience, Standing};
use super::rooms::Rooms;
use super::session::{NextWrite, Phase, Session, Stream};
use super::turns::{MAX_GROWTH, Turns};
use chatbench_wire::Dialect;
use chatbench_wire::line::SERVER_EXTRA_BYTES;
use chatbench_wire::ndjson::ErrorCode;

/// A client with this many unsent lines of its own (errors) is not read from until they are sent:
/// the sender of garbage bears its cost. One read may exceed the limit once.
const MAX_LINES_QUEUED: u32 = 64;

/// Sockets, at most, that were full and are tried in one pass all the same. More often than not
/// that is a system call in vain: of a thousand clients that do not read, each is tried six times
/// per second.
const MAX_TRIES: usize = 64;

/// The state that decides which clients are read from.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) limits: Limits,
    patience: Patience,
    turns: Turns,
    /// The offsets from which on the logs must keep everything, so that no reader that is entitled
    /// to it falls off.
    keep_from: Offsets,
    /// Publishers wait for some reader.
    held: bool,
    /// The session whose full socket is tried next.
    try_from: usize,
    /// A client that is this far behind is not read from until it has caught up. So one that
    /// floods and reads no acks stalls itself before it is a slow consumer.
    stall_at_bytes: u64,
    backlog_bytes: u64,
    /// The longest relay line. Room is left for one, of which the beginning was read before.
    line_bytes: u64,
}

impl Flow {
    pub(super) fn new(config: &Config) -> Self {
        let backlog_bytes = config.backlog_bytes as u64;
        let line_bytes = (config.max_line_bytes + SERVER_EXTRA_BYTES) as u64;
        Self {
            limits: Limits::beside(config.backlog_bytes),
            patience: Patience::default(),
            turns: Turns::new(input_bytes(backlog_bytes.saturating_sub(line_bytes))),
            keep_from: Offsets { line: 0, text: 0 },
            held: false,
            try_from: 0,
            stall_at_bytes: backlog_bytes / 2,
            backlog_bytes,
            line_bytes,
        }
    }

    /// The attempts at full sockets for one pass.
    pub(super) fn tries(&self, try_full: bool) -> Tries {
        Tries {
            from: self.try_from,
            left: if try_full { MAX_TRIES } else { 0 },
            next: if try_full { 0 } else { self.try_from },
        }
    }

    /// How long a reader that has stopped is waited for now.
    pub(super) fn patience(&mut self, now: Duration) -> Duration {
        self.patience.left(now)
    }

    /// How much input the logs have room for without losing bytes that they must keep.
    fn room_bytes(&self, log: &Log, classic_log: Option<&Log>, rooms: &Rooms) -> usize {
        let room = |log: &Log, keep_from: u64| {
            let kept_bytes = log.end() - keep_from + self.line_bytes;
            self.backlog_bytes.saturating_sub(kept_bytes)
        };
        let lines = room(log, self.keep_from.line);
        let texts = classic_log.map_or(u64::MAX, |log| room(log, self.keep_from.text));
        input_bytes(lines.min(texts).min(rooms.room_bytes()))
    }
}

/// The input that grows to no more than `log_bytes` in the log.
fn input_bytes(log_bytes: u64) -> usize {
    (log_bytes / MAX_GROWTH) as usize
}

/// The full sockets that a pass tries: a bounded number; the next pass goes on after them.
#[derive(Debug)]
pub(super) struct Tries {
    from: usize,
    left: usize,
    next: usize,
}

impl Tries {
    /// Whether to try the socket of session `id`, if it is worth it.
    #[inline]
    pub(super) fn take_one(&mut self, id: usize, is_worth_it: impl FnOnce() -> bool) -> bool {
        if self.left == 0 || id < self.from || !is_worth_it() {
            return false;
        }
        self.left -= 1;
        if self.left == 0 {
            self.next = id + 1;
        }
        true
    }
}

/// The state of all readers, as a pass finds it.
#[derive(Debug)]
pub(super) struct Survey {
    patience: Duration,
    oldest: Offsets,
    keep_from: Offsets,
    held: bool,
}

impl<S: Stream> Broadcast<S> {
    /// Begins a survey of all readers.
    pub(super) fn survey(&mut self) -> Survey {
        let end = Offsets::at_the_end(&self.log, self.classic_log.as_ref());
        Survey {
            patience: self.flow.patience(self.writer.now),
            oldest: end,
            keep_from: end,
            held: false,
        }
    }

    /// Ends it: trims the logs to the bytes that some reader needs.
    pub(super) fn conclude(&mut self, survey: &Survey, tries: &Tries) {
        self.flow.try_from = tries.next;
        survey.oldest.trim(&mut self.log, &mut self.classic_log);
        self.flow.keep_from = survey.keep_from;
        self.flow.held = survey.held;
    }

    /// Whether a client reads its own output well enough to go on sending. If not, the session's
    /// task writes by itself, and the client may send again once enough is written.
    pub(super) fn is_read_from(&mut self, id: usize) -> bool {
        let session = self.sessions[id].as_ref().expect("its own task calls");
        let log = session.log(&self.log, &self.classic_log);
        let (at, end) = session.offsets(session.cursor.needs().unwrap_or(log.end()), log.end());
        session.lines_queued() < MAX_LINES_QUEUED
            && at >= end.saturating_sub(self.flow.stall_at_bytes)
    }

    /// How many bytes may be read from a client now. If none, its session is woken once some may
    /// be, which takes a pass.
    #[inline]
    pub(super) fn may_read(&mut self, id: usize) -> usize {
        let (log, rooms) = (&self.log, &self.rooms);
        let room_bytes = (self.flow).room_bytes(log, self.classic_log.as_ref(), rooms);
        let end = log.end() + rooms.appended_bytes();
        let session = self.sessions[id].as_mut().expect("its own task calls");
        let turns = &mut self.flow.turns;
        let bytes = turns.may_read(&mut session.share, end, room_bytes);
        if bytes == 0 {
            turns.queue(id, &mut session.share);
        }
        bytes
    }

    /// Counts `bytes` that were read from a client.
    #[inline]
    pub(super) fn note_read(&mut self, id: usize, bytes: usize) {
        let session = self.sessions[id].as_mut().expect("its own task calls");
        self.flow.turns.read(&mut session.share, bytes);
    }

    /// Removes a session that ends from the queue.
    pub(super) fn leave_queue(&mut self, id: usize, session: &Session<S>) {
        self.flow.turns.leave(id, &session.share);
    }

    /// Whether clients wait to be read from.
    #[inline]
    pub(super) fn do_publishers_wait(&self) -> bool {
        self.flow.turns.does_anyone_wait()
    }

    /// Lets queued clients be read from, unless publishers wait for some reader.
    pub(super) fn begin_round(&mut self) {
        let flow = &mut self.flow;
        if flow.held || self.rooms.is_held() {
            return;
        }
        let room_bytes = flow.room_bytes(&self.log, self.classic_log.as_ref(), &self.rooms);
        let end = self.log.end() + self.rooms.appended_bytes();
        let mut round = flow.turns.begin_round(end, room_bytes);
        while let Some(id) = flow.turns.next(&mut round) {
            let session = self.sessions[id].as_mut().expect("it left the queue else");
            flow.turns.grant(&mut session.share, &round);
            session.wake();
        }
    }

    /// Ends the sessions that are at an offset below `keep_from` in the log of a dialect.
    ///
    /// It is called when that log is full, so at least one session is there: it costs one pass per
    /// slow consumer, not one per message.
    pub(super) fn end_behind(&mut self, dialect: Dialect, keep_from: u64) {
        self.end_slow_consumers(|_, session| {
            session.dialect() == dialect && session.cursor.needs().is_some_and(|at| at < keep_from)
        });
    }

    /// Ends the sessions that `is_too_slow` picks, and trims what only they needed.
    pub(super) fn end_slow_consumers(&mut self, is_too_slow: impl Fn(usize, &Session<S>) -> bool) {
        self.flow.patience.lose(self.writer.now);
        let mut oldest = Offsets::at_the_end(&self.log, self.classic_log.as_ref());
        for (id, session) in self.sessions.iter_mut().enumerate() {
            let Some(session) = session else { continue };
            if session.phase == Phase::Gone {
                continue; // its task is about to remove it
            }
            if !is_too_slow(id, session) {
                oldest.needed_by(session);
                continue;
            }
            let log = session.log(&self.log, &self.classic_log);
            let at = session.cursor.needs().unwrap_or(log.end());
            let (at, end) = session.offsets(at, log.end());
            let behind_bytes = end - at;
            info!(client_ip = %session.client_ip, behind_bytes, "slow consumer");
            self.stats.slow_consumers += 1;
            self.stats.errors += 1;
            session.wake();
            if session.classic.is_some() {
                session.phase = Phase::Gone; // the dialect has no error frame (C3)
                continue;
            }
            let detail = "further behind than messages are kept for";
            let error = error_line(None, ErrorCode::SlowConsumer, detail, None);
            session.fall_off(log, &mut self.rooms, &error);
        }
        oldest.trim(&mut self.log, &mut self.classic_log);
    }
}

impl<S: Stream> Broadcast<S> {
    /// Ends sessions that have stopped reading and from which the server no longer reads: after
    /// `leaving`, those that half-closed; after `stalled`, those that are not read from because
    /// they do not take their answers.
    pub(super) fn end_stuck(&mut self, leaving: Duration, stalled: Duration) {
        let now = self.writer.now;
        for id in 0..self.sessions.len() {
            let patience = match self.sessions[id].as_ref().map(|session| session.phase) {
                Some(Phase::Leaving) => leaving,
                Some(Phase::Open) if !self.is_read_from(id) => stalled,
                _ => continue,
            };
            let session = self.sessions[id].as_mut().expect("it was just looked at");
            if session.next_write == NextWrite::WhenWritable {
                let log = session.log(&self.log, &self.classic_log);
                session.write_a_little(log, &mut self.writer, &mut self.rooms);
                session.wake();
            }
            if now.saturating_sub(session.pace.steady_at()) >= patience {
                info!(client_ip = %session.client_ip, "does not read what it is owed: closed");
                session.phase = Phase::Gone;
                session.wake();
            }
        }
    }
}

impl Survey {
    /// Takes one reader into account, after it was written to.
    #[inline]
    pub(super) fn look_at<S: Stream>(
        &mut self,
        session: &Session<S>,
        log: &Log,
        limits: &Limits,
        now: Duration,
    ) {
        let Some(needs) = session.cursor.needs() else {
            return;
        };
        self.oldest.needed_by(session);
        let (at, end) = session.offsets(needs, log.end());
        match session.pace.standing(at, end, limits, self.patience, now) {
            Standing::GivenUp => return,
            // A session that is leaving is not sent what comes from here on.
            Standing::WaitedFor => self.held |= !session.cursor.is_leaving(),
            Standing::KeptFor | Standing::Near => {}
        }
        self.keep_from.needed_by(session);
    }
}

/// Whether to try the socket of a session although it was full: publishers may be waiting for it.
#[inline]
pub(super) fn is_worth_a_try<S: Stream>(session: &Session<S>, log: &Log, limits: &Limits) -> bool {
    let (at, end) = session.offsets(session.cursor.needs().unwrap_or(log.end()), log.end());
    session.next_write == NextWrite::WhenWritable && end > at + limits.slack_bytes
}

/// What a reader is entitled to.
pub(super) fn standing<S: Stream>(
    session: &Session<S>,
    log: &Log,
    limits: &Limits,
    patience: Duration,
    now: Duration,
) -> Standing {
    let (at, end) = session.offsets(session.cursor.needs().unwrap_or(log.end()), log.end());
    session.pace.standing(at, end, limits, patience, now)
}

/// An offset of each log.
#[derive(Debug, Clone, Copy)]
struct Offsets {
    line: u64,
    text: u64,
}

impl Offsets {
    fn at_the_end(log: &Log, classic_log: Option<&Log>) -> Self {
        Self {
            line: log.end(),
            text: classic_log.map_or(0, Log::end),
        }
    }

    /// Lowers the offset of its log to the one that a session needs.
    #[inline]
    fn needed_by<S: Stream>(&mut self, session: &Session<S>) {
        let Some(needs) = session.cursor.needs() else {
            return;
        };
        match session.dialect() {
            Dialect::Ndjson => self.line = self.line.min(needs),
            Dialect::Classic => self.text = self.text.min(needs),
        }
    }

    fn trim(&self, log: &mut Log, classic_log: &mut Option<Log>) {
        log.trim_to(self.line);
        if let Some(classic_log) = classic_log {
            classic_log.trim_to(self.text);
        }
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
