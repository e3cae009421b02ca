//! Lines that have begun and not ended: what they may take, of all clients together.
//!
//! A line may be as long as the longest (F2), so each client may have that much kept for it, and
//! ten thousand that never end theirs would hold half a gigabyte for good. At the bound the session
//! closes whose line began first: who sends lines ends them in milliseconds, so the oldest is of
//! one who does not. Its memory is free at once.

use std::mem;

use tracing::info;

use super::broadcast::Broadcast;
use super::session::{Phase, Session, Stream};
use chatbench_wire::ndjson::ErrorCode;

/// What a client has sent of a line that has not ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begun {
    /// Lines are counted as they begin.
    order: u64,
    bytes: usize,
}

/// What all clients have sent of such lines.
#[derive(Debug)]
pub(super) struct Unfinished {
    max_bytes: usize,
    bytes: usize,
    begun: u64,
}

impl Unfinished {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            begun: 0,
        }
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// After a read of `read_bytes` a client has `bytes` of an unfinished line.
    fn change(&mut self, begun: &mut Begun, bytes: usize, read_bytes: usize) {
        self.bytes = self.bytes - begun.bytes + bytes;
        if bytes != begun.bytes + read_bytes || begun.bytes == 0 {
            self.begun += 1; // a line has ended in between
            begun.order = self.begun;
        }
        begun.bytes = bytes;
    }
}

impl<S: Stream> Broadcast<S> {
    /// Takes note of what a read has left of an unfinished line, and sees to the bound.
    #[inline]
    pub(super) fn note_unfinished(&mut self, id: usize, read_bytes: usize) {
        let session = self.sessions[id].as_mut().expect("it was just read from");
        let bytes = if session.phase == Phase::Open {
            session.pending_bytes()
        } else {
            session.forget_input();
            0
        };
        if bytes == 0 && session.begun.bytes == 0 {
            return; // nearly always: a read ends where a line does
        }
        self.begun_lines
            .change(&mut session.begun, bytes, read_bytes);
        while self.begun_lines.bytes > self.begun_lines.max_bytes {
            self.end_oldest_line();
        }
    }

    /// A session is gone.
    pub(super) fn forget_unfinished(&mut self, session: &Session<S>) {
        self.begun_lines.bytes -= session.begun.bytes;
    }

    fn end_oldest_line(&mut self) {
        let unfinished = |(id, session): (usize, &Option<Session<S>>)| {
            let begun = session.as_ref()?.begun;
            (begun.bytes > 0).then_some((begun.order, id))
        };
        let oldest = self.sessions.iter().enumerate().filter_map(unfinished);
        let (_, id) = oldest.min().expect("all together have some");
        let session = self.session(id);
        session.forget_input();
        let bytes = mem::take(&mut session.begun.bytes);
        let phase = session.phase;
        let client_ip = &session.client_ip;
        info!(%client_ip, bytes, "closed: its unfinished line is the oldest of too many");
        self.begun_lines.bytes -= bytes;
        if phase != Phase::Open {
            return; // its end is under way, and its line will never be taken
        }
        let detail = "its line was the first to begin of all that are unfinished, and there is no \
                      more room for them";
        self.answer(id, ErrorCode::LineTooLong, detail, None);
        self.close(id);
        self.session(id).wake();
    }
}
