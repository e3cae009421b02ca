//! The log: every accepted message once, as its finished relay line, in order.
//!
//! A byte of the log has an absolute offset that never changes; a [`Cursor`](super::cursor) is
//! such an offset. The bytes lie in fixed-size chunks, so a line may straddle two of them, and
//! chunks that every cursor has passed are used again. When nobody is behind, the next line goes
//! to the start of the chunk at hand: the bytes that a busy server touches are one batch, which
//! stays in the first levels of cache, not a ring of the size of the whole backlog.

use std::collections::VecDeque;

use memchr::memchr;

use crate::wire::{Dialect, classic, ndjson};

/// Bytes of one chunk: several batches of relays, and small beside any sensible backlog.
const CHUNK_BYTES: usize = 256 * 1024;

/// What [`Log::append`] put into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The message's number (S1).
    pub seq: u64,
    /// The offset of its relay line's first byte.
    pub at: u64,
    /// Bytes of its relay line, LF included.
    pub line_bytes: u32,
}

/// Why [`Log::append`] took nothing. The log is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The relay line would be longer than a line may be (F2), so no reader would have to take
    /// it.
    LineTooLong {
        /// Bytes that the relay line would have, LF included.
        line_bytes: usize,
    },
    /// The backlog is full. It fits once every cursor before `keep_from` is gone and the log was
    /// trimmed.
    Backlogged {
        /// The oldest offset that the log could still hold.
        keep_from: u64,
    },
}

/// An append-only byte log of relay lines, bounded at the old end by trimming.
#[derive(Debug)]
pub struct Log {
    dialect: Dialect,
    chunks: VecDeque<Box<[u8]>>,
    /// One chunk that was passed and not yet needed again.
    spare: Option<Box<[u8]>>,
    chunk_bytes: usize,
    /// Offset of the first byte of `chunks[0]`.
    base: u64,
    /// Offset of the oldest byte that is kept.
    start: u64,
    end: u64,
    seq: u64,
    max_line_bytes: usize,
    backlog_bytes: usize,
    /// The line being appended.
    line: Vec<u8>,
}

impl Log {
    /// An empty log for relay lines of at most `max_line_bytes` that keeps at most
    /// `backlog_bytes` of them.
    #[must_use]
    pub fn new(max_line_bytes: usize, backlog_bytes: usize) -> Self {
        Self::with_chunks_of(CHUNK_BYTES, max_line_bytes, backlog_bytes)
    }

    /// The same for readers of the classic dialect: the relays' texts, nothing in between.
    #[must_use]
    pub fn new_classic(max_text_bytes: usize, backlog_bytes: usize) -> Self {
        Self {
            dialect: Dialect::Classic,
            ..Self::new(max_text_bytes, backlog_bytes)
        }
    }

    pub(super) fn with_chunks_of(
        chunk_bytes: usize,
        max_line_bytes: usize,
        backlog_bytes: usize,
    ) -> Self {
        assert!(chunk_bytes > 0, "a chunk holds something");
        assert!(
            backlog_bytes >= max_line_bytes,
            "a backlog of {backlog_bytes} bytes could not hold one line of {max_line_bytes}"
        );
        Self {
            dialect: Dialect::Ndjson,
            chunks: VecDeque::new(),
            spare: None,
            chunk_bytes,
            base: 0,
            start: 0,
            end: 0,
            seq: 0,
            max_line_bytes,
            backlog_bytes,
            line: Vec::new(),
        }
    }

    /// The offset behind the last line: where a newcomer's cursor starts.
    #[must_use]
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the oldest byte that is kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The number of the last message, 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Has the next message numbered `seq` + 1: only a server that is to number wrongly does.
    pub(super) fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Numbers a message and appends its relay line.
    ///
    /// # Errors
    /// [`Refused`] where the line is too long, or where the backlog has no room for it.
    pub fn append(&mut self, client_ip: &str, message: &str) -> Result<Entry, Refused> {
        self.line.clear();
        match self.dialect {
            Dialect::Ndjson => {
                ndjson::encode_relay(&mut self.line, self.seq + 1, client_ip, message);
            }
            Dialect::Classic => classic::encode_relay(&mut self.line, client_ip, message),
        }
        let line_bytes = self.line.len();
        if line_bytes > self.max_line_bytes {
            return Err(Refused::LineTooLong { line_bytes });
        }
        let keep_from = (self.end + line_bytes as u64).saturating_sub(self.backlog_bytes as u64);
        if keep_from > self.start {
            return Err(Refused::Backlogged { keep_from });
        }
        let entry = Entry {
            seq: self.seq + 1,
            at: self.end,
            line_bytes: line_bytes as u32,
        };
        self.push_line();
        self.seq = entry.seq;
        Ok(entry)
    }

    /// Copies `line` to the end, over as many chunks as it takes.
    fn push_line(&mut self) {
        let mut rest = &self.line[..];
        while !rest.is_empty() {
            let position = (self.end - self.base) as usize;
            let (chunk, within) = (position / self.chunk_bytes, position % self.chunk_bytes);
            if chunk == self.chunks.len() {
                let fresh = self.spare.take();
                self.chunks
                    .push_back(fresh.unwrap_or_else(|| vec![0; self.chunk_bytes].into()));
            }
            let take = rest.len().min(self.chunk_bytes - within);
            self.chunks[chunk][within..within + take].copy_from_slice(&rest[..take]);
            self.end += take as u64;
            rest = &rest[take..];
        }
    }

    /// The bytes from `at` on, up to `limit` or to where the chunk ends, whichever is first.
    ///
    /// # Panics
    /// If the range is not in the log: a cursor that fell off the tail must not read.
    #[must_use]
    #[inline]
    pub fn run(&self, at: u64, limit: u64) -> &[u8] {
        assert!(
            self.start <= at && at <= limit && limit <= self.end,
            "{at}..{limit} is not in a log of {}..{}",
            self.start,
            self.end
        );
        if at == limit {
            return &[];
        }
        let position = (at - self.base) as usize;
        let (chunk, within) = (position / self.chunk_bytes, position % self.chunk_bytes);
        let take = (limit - at).min((self.chunk_bytes - within) as u64) as usize;
        &self.chunks[chunk][within..within + take]
    }

    /// Whether a line begins at `at` (or the log ends there).
    pub(super) fn is_line_start(&self, at: u64) -> bool {
        at == self.end || (at > self.start && self.run(at - 1, at) == b"\n")
    }

    /// Appends to `out` the bytes from `at` to the end of the line that they are in.
    pub(super) fn copy_line_rest(&self, mut at: u64, out: &mut Vec<u8>) {
        while at < self.end {
            let run = self.run(at, self.end);
            if let Some(lf) = memchr(b'\n', run) {
                out.extend_from_slice(&run[..=lf]);
                return;
            }
            out.extend_from_slice(run);
            at += run.len() as u64;
        }
    }

    /// Forgets what lies before `offset`, which every cursor has passed.
    ///
    /// # Panics
    /// If `offset` is not in the log.
    pub fn trim_to(&mut self, offset: u64) {
        assert!(
            self.start <= offset && offset <= self.end,
            "trim to {offset} in a log of {}..{}",
            self.start,
            self.end
        );
        self.start = offset;
        if offset == self.end {
            self.base = offset;
            self.chunks.truncate(1);
            return;
        }
        while self.base + self.chunk_bytes as u64 <= offset {
            self.spare = self.chunks.pop_front();
            self.base += self.chunk_bytes as u64;
        }
    }

    /// Bytes of memory that the log holds, chunks that wait to be used again included.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        (self.chunks.len() + usize::from(self.spare.is_some())) * self.chunk_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything from `at` on, gathered over chunks.
    fn bytes_from(log: &Log, mut at: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while at < log.end() {
            let run = log.run(at, log.end());
            out.extend_from_slice(run);
            at += run.len() as u64;
        }
        out
    }

    fn relay(seq: u64, text: &str) -> Vec<u8> {
        let mut line = Vec::new();
        ndjson::encode_relay(&mut line, seq, "c", text);
        line
    }

    #[test]
    fn numbers_run_from_one_and_lines_straddle_chunks() {
        let mut log = Log::with_chunks_of(7, 100, 1000);
        let mut expected = Vec::new();
        for seq in 1..=5 {
            let entry = log.append("c", "text").unwrap();
            assert_eq!((entry.seq, entry.at), (seq, expected.len() as u64));
            expected.extend(relay(seq, "text"));
            assert_eq!(log.end(), expected.len() as u64);
        }
        assert_eq!(bytes_from(&log, 0), expected);
        for cut in 0..=expected.len() {
            log.trim_to(cut as u64);
            assert_eq!(bytes_from(&log, cut as u64), &expected[cut..]);
        }
    }

    #[test]
    fn a_line_that_would_pass_the_limit_is_refused_and_takes_no_number() {
        let line_bytes = relay(1, "12345").len();
        let mut log = Log::new(line_bytes, 1000);
        assert_eq!(
            log.append("c", "123456"),
            Err(Refused::LineTooLong {
                line_bytes: line_bytes + 1
            })
        );
        assert_eq!(log.append("c", "12345").unwrap().seq, 1);
    }

    #[test]
    fn a_full_backlog_refuses_until_it_is_trimmed() {
        let line_bytes = relay(1, "x").len() as u64;
        let mut log = Log::with_chunks_of(16, 100, 2 * line_bytes as usize);
        log.append("c", "x").unwrap();
        log.append("c", "y").unwrap();
        let refused = log.append("c", "z");
        assert_eq!(
            refused,
            Err(Refused::Backlogged {
                keep_from: line_bytes
            })
        );
        log.trim_to(line_bytes);
        assert_eq!(log.append("c", "z").unwrap().seq, 3);
        let kept = [relay(2, "y"), relay(3, "z")].concat();
        assert_eq!(bytes_from(&log, line_bytes), kept);
    }

    #[test]
    fn a_log_that_nobody_is_behind_in_keeps_to_one_chunk() {
        let mut log = Log::with_chunks_of(64, 60, 100_000);
        for _ in 0..1000 {
            log.append("c", "x").unwrap();
            log.trim_to(log.end());
        }
        assert!(log.held_bytes() <= 2 * 64, "{} bytes", log.held_bytes());
        for _ in 0..1000 {
            log.append("c", "x").unwrap();
        }
        assert!(log.held_bytes() > 40_000);
        log.trim_to(log.end());
        assert!(log.held_bytes() <= 2 * 64, "{} bytes", log.held_bytes());
    }

    #[test]
    fn line_starts_and_line_rests_are_found_over_chunks() {
        let mut log = Log::with_chunks_of(5, 100, 1000);
        log.append("c", "one").unwrap();
        let second = log.append("c", "two").unwrap();
        for at in 1..log.end() {
            assert_eq!(log.is_line_start(at), at == second.at, "{at}");
        }
        assert!(log.is_line_start(log.end()));
        let mut rest = Vec::new();
        log.copy_line_rest(second.at - 3, &mut rest);
        assert_eq!(rest, b"\"}\n");
    }

    #[test]
    #[should_panic(expected = "is not in a log of")]
    fn a_cursor_that_fell_off_cannot_read() {
        let mut log = Log::with_chunks_of(8, 100, 1000);
        log.append("c", "one").unwrap();
        log.trim_to(3);
        let _ = log.run(2, 5);
    }
}
