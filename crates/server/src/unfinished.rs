//! Bounds the memory of all clients' unfinished lines together.
//!
//! Up to the longest line (F2) may have to be kept for each client, so ten thousand that never end
//! theirs would hold half a gigabyte for good. At the bound, the session whose line began first is
//! closed: honest clients end their lines in milliseconds, so the oldest belongs to one that does
//! not. Its memory is freed at once.

use std::mem;

use tracing::info;

use super::broadcast::Broadcast;
use super::session::{Phase, Session, Stream};
use chatbench_wire::ndjson::ErrorCode;

/// A client's unfinished line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begun {
    /// The order in which lines began.
    order: u64,
    bytes: usize,
}

/// The unfinished lines of all clients.
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

    /// Bytes of all unfinished lines.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that a client has `bytes` of an unfinished line after a read of `read_bytes`.
    fn change(&mut self, begun: &mut Begun, bytes: usize, read_bytes: usize) {
        self.bytes = self.bytes - begun.bytes + bytes;
        if bytes != begun.bytes + read_bytes || begun.bytes == 0 {
            self.begun += 1; // another line has begun
            begun.order = self.begun;
        }
        begun.bytes = bytes;
    }
}

impl<S: Stream> Broadcast<S> {
    /// Records the unfinished line that a read leaves, and enforces the bound.
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

    /// Forgets the unfinished line of a session that is gone.
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
            return; // it is ending, and its line will never be taken
        }
        let detail = "its line was the first to begin of all that are unfinished, and there is no \
                      more room for them";
        self.answer(id, ErrorCode::LineTooLong, detail, None);
        self.close(id);
        self.session(id).wake();
    }
}
