//! The log: every accepted message once, as its finished relay line, in order.
//!
//! A byte of the log has an absolute offset that never changes; a [`Cursor`](super::cursor) is
//! such an offset. The bytes lie in fixed-size chunks, so a line may straddle two of them, and
//! chunks that every cursor has passed are reused. When no session is behind, the next line goes
//! to the start of the current chunk: a busy server touches the bytes of one batch, which stays in
//! the first levels of cache, and not a ring of the size of the whole backlog.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use memchr::memchr;

use chatbench_wire::ndjson::{MessageText, RELAY_BEGINS, RELAY_ENDS};
use chatbench_wire::{Dialect, classic, ndjson};

/// Bytes of one chunk: several batches of relays, and small compared with any sensible backlog.
const CHUNK_BYTES: usize = 256 * 1024;

/// A message that [`Log::append`] put into the log.
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
    /// The relay line would be longer than a line may be (F2), so readers could refuse it.
    LineTooLong {
        /// Bytes that the relay line would have, LF included.
        line_bytes: usize,
    },
    /// The backlog is full. The message fits once every cursor before `keep_from` is gone and the
    /// log was trimmed.
    Backlogged {
        /// The oldest offset that the log could still hold.
        keep_from: u64,
    },
}

/// A room that has a name, which its lines state.
#[derive(Debug)]
struct Named {
    room: Rc<str>,
    /// The part of its relays before their number.
    relay_begins: Box<[u8]>,
}

impl Named {
    #[inline(never)]
    fn encode_ack(&self, out: &mut Vec<u8>, seq: u64, id: Option<u64>) {
        ndjson::rooms::encode_ack(out, &self.room, seq, id);
    }
}

/// An append-only byte log of relay lines, bounded at the old end by trimming.
#[derive(Debug)]
pub struct Log {
    dialect: Dialect,
    /// `None` for the unnamed room.
    named: Option<Box<Named>>,
    chunks: VecDeque<Box<[u8]>>,
    /// One chunk that was passed and is not yet reused.
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
    /// The buffer for a line that is not written straight into its place.
    line: Vec<u8>,
    /// The sender of the last message, and the bytes before the message in its line: the next
    /// message is often from the same sender.
    sender: Option<Box<str>>,
    says: Vec<u8>,
}

impl Log {
    /// An empty log for relay lines of at most `max_line_bytes` that keeps at most
    /// `backlog_bytes` of them.
    #[must_use]
    pub fn new(max_line_bytes: usize, backlog_bytes: usize) -> Self {
        Self::with_chunks_of(CHUNK_BYTES, max_line_bytes, backlog_bytes)
    }

    /// The same for readers of the classic dialect: the relays' texts, with nothing in between.
    #[must_use]
    pub fn new_classic(max_text_bytes: usize, backlog_bytes: usize) -> Self {
        Self {
            dialect: Dialect::Classic,
            ..Self::new(max_text_bytes, backlog_bytes)
        }
    }

    /// An empty log for the messages of a room with a name, which are numbered from `seq` + 1. It
    /// holds chunks of `chunk_bytes`, and none while it is empty: see [`Self::lend`].
    pub(super) fn new_named(
        room: Rc<str>,
        seq: u64,
        chunk_bytes: usize,
        max_line_bytes: usize,
        backlog_bytes: usize,
    ) -> Self {
        let mut relay_begins = Vec::new();
        ndjson::rooms::push_relay_begin(&mut relay_begins, &room);
        let named = Named {
            room,
            relay_begins: relay_begins.into(),
        };
        Self {
            named: Some(Box::new(named)),
            seq,
            ..Self::with_chunks_of(chunk_bytes, max_line_bytes, backlog_bytes)
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
            named: None,
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
            sender: None,
            says: Vec::new(),
        }
    }

    /// The offset after the last line, where the cursor of a new session starts.
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

    /// Makes the next message number `seq` + 1. Only a faulty server uses this.
    pub(super) fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Numbers a message and appends its relay line.
    ///
    /// # Errors
    /// [`Refused`] if the line is too long, or if the backlog has no room for it.
    pub fn append<'a>(
        &mut self,
        client_ip: &str,
        message: impl Into<MessageText<'a>>,
    ) -> Result<Entry, Refused> {
        let message = message.into();
        let plain = match self.dialect {
            Dialect::Ndjson => message.plain(),
            Dialect::Classic => None,
        };
        if let Some(plain) = plain {
            return self.append_plain(client_ip, plain);
        }
        self.line.clear();
        let (line, seq, text) = (&mut self.line, self.seq + 1, message.as_str());
        match (self.dialect, &self.named) {
            (Dialect::Ndjson, None) => ndjson::encode_relay(line, seq, client_ip, text),
            (Dialect::Ndjson, Some(named)) => {
                ndjson::rooms::encode_relay(line, &named.room, seq, client_ip, text);
            }
            (Dialect::Classic, _) => classic::encode_relay(line, client_ip, text),
        }
        let entry = self.next(self.line.len())?;
        let line = mem::take(&mut self.line);
        self.push(&line);
        self.line = line;
        self.seq = entry.seq;
        Ok(entry)
    }

    /// The same for a message that needs no escapes, without building its line first.
    fn append_plain(&mut self, client_ip: &str, message: &[u8]) -> Result<Entry, Refused> {
        if self.sender.as_deref() != Some(client_ip) {
            self.sender = Some(client_ip.into());
            self.says.clear();
            ndjson::push_relay_sender(&mut self.says, client_ip);
        }
        match self.named.take() {
            None => self.append_parts(RELAY_BEGINS, message),
            Some(named) => {
                let entry = self.append_in_room(&named.relay_begins, message);
                self.named = Some(named);
                entry
            }
        }
    }

    #[inline(never)]
    fn append_in_room(&mut self, begins: &[u8], message: &[u8]) -> Result<Entry, Refused> {
        self.append_parts(begins, message)
    }

    /// Appends the relay that begins with `begins`, the sender being known.
    #[inline(always)] // 20 instructions less per message where `begins` is a constant
    fn append_parts(&mut self, begins: &[u8], message: &[u8]) -> Result<Entry, Refused> {
        let mut number = itoa::Buffer::new();
        let number = number.format(self.seq + 1).as_bytes();
        let says = mem::take(&mut self.says);
        let parts = [begins, number, &says, message, RELAY_ENDS];
        let line_bytes = parts.iter().map(|part| part.len()).sum();
        let entry = self.next(line_bytes);
        if let Ok(entry) = entry {
            if let Some(mut place) = self.place(line_bytes) {
                for part in parts {
                    place = put(place, part);
                }
                self.end += line_bytes as u64;
            } else {
                parts.iter().for_each(|part| self.push(part));
            }
            self.seq = entry.seq;
        }
        self.says = says;
        entry
    }

    /// Appends the ack of a message in this log to `out`.
    #[inline]
    pub(super) fn encode_ack(&self, out: &mut Vec<u8>, seq: u64, id: Option<u64>) {
        match &self.named {
            None => ndjson::encode_ack(out, seq, id),
            Some(named) => named.encode_ack(out, seq, id),
        }
    }

    /// Bytes of an ack before its number.
    #[inline]
    pub(super) fn ack_begin_bytes(&self) -> usize {
        let begins = match &self.named {
            None => RELAY_BEGINS.len(),
            Some(named) => named.relay_begins.len(),
        };
        begins - ("relay".len() - "ack".len())
    }

    /// The name of the room, if it has one.
    pub(super) fn room(&self) -> Option<&Rc<str>> {
        self.named.as_ref().map(|named| &named.room)
    }

    /// The entry that a line of `line_bytes` would be.
    #[inline]
    fn next(&self, line_bytes: usize) -> Result<Entry, Refused> {
        if line_bytes > self.max_line_bytes {
            return Err(Refused::LineTooLong { line_bytes });
        }
        let keep_from = (self.end + line_bytes as u64).saturating_sub(self.backlog_bytes as u64);
        if keep_from > self.start {
            return Err(Refused::Backlogged { keep_from });
        }
        Ok(Entry {
            seq: self.seq + 1,
            at: self.end,
            line_bytes: line_bytes as u32,
        })
    }

    /// The room at the end, if `bytes` fit into the chunk.
    #[inline]
    fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let (chunk, within) = self.locate(self.end);
        self.chunks.get_mut(chunk)?.get_mut(within..within + bytes)
    }

    /// Copies `rest` to the end, over as many chunks as it takes.
    fn push(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            let (chunk, within) = self.locate(self.end);
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

    /// The chunk that an offset is in, and the byte in it.
    #[inline]
    fn locate(&self, offset: u64) -> (usize, usize) {
        let position = (offset - self.base) as usize;
        (position / self.chunk_bytes, position % self.chunk_bytes)
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
        let (chunk, within) = self.locate(at);
        let take = (limit - at).min((self.chunk_bytes - within) as u64) as usize;
        &self.chunks[chunk][within..within + take]
    }

    /// Whether a line begins at `at` (or the log ends there). The byte before it is still kept.
    pub(super) fn is_line_start(&self, at: u64) -> bool {
        at == self.end || self.run(at - 1, at) == b"\n"
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

    /// Appends to `out` the bytes from `at` to `to`, and moves `at` on; no more than make it
    /// `max_bytes` longer than `from`. Returns whether these are all.
    pub(super) fn copy(
        &self,
        at: &mut u64,
        to: u64,
        max_bytes: usize,
        from: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        while *at < to {
            let left = max_bytes.saturating_sub(out.len() - from) as u64;
            if left == 0 {
                return false;
            }
            let run = self.run(*at, to.min(*at + left));
            out.extend_from_slice(run);
            *at += run.len() as u64;
        }
        true
    }

    /// Frees the bytes before `offset`, which every cursor has passed.
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

    /// Gives an empty log a chunk to write to, which it would otherwise allocate. Logs of rooms share
    /// chunks: a room in which nobody is behind holds none.
    pub(super) fn lend(&mut self, chunk: Option<Box<[u8]>>) {
        if self.chunks.is_empty() {
            debug_assert_eq!(self.base, self.end, "nothing is written yet");
            let fresh = || vec![0; self.chunk_bytes].into();
            self.chunks.push_back(chunk.unwrap_or_else(fresh));
        }
    }

    /// Takes the chunks of an empty log back.
    pub(super) fn take_back(&mut self) -> impl Iterator<Item = Box<[u8]>> {
        debug_assert_eq!(self.start, self.end, "everything was read");
        let spare = self.spare.take();
        self.chunks.drain(..).chain(spare)
    }

    /// Bytes of memory that the log holds, including chunks that wait to be reused.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        (self.chunks.len() + usize::from(self.spare.is_some())) * self.chunk_bytes
    }
}

/// Copies `part` to the front of `place`; returns the rest of `place`.
#[inline]
fn put<'a>(place: &'a mut [u8], part: &[u8]) -> &'a mut [u8] {
    let (front, rest) = place.split_at_mut(part.len());
    front.copy_from_slice(part);
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use chatbench_wire::ndjson::Publish;

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

    proptest! {
        /// However a line gets into the log, it is what the codec writes.
        #[test]
        fn lines_are_the_codecs_whoever_says_whatever(
            said in proptest::collection::vec(("[ab\"]{0,12}", "\\PC{0,40}|[a-z\"\\\\\n]{0,40}"), 1..30),
            chunk_bytes in 1_usize..400,
            trimmed in proptest::collection::vec(proptest::bool::ANY, 30),
        ) {
            let mut log = Log::with_chunks_of(chunk_bytes, 1000, 1 << 20);
            for (seq, ((sender, text), trim)) in (1..).zip(said.iter().zip(trimmed)) {
                let mut line = Vec::new();
                ndjson::encode_relay(&mut line, seq, sender, text);
                // A publish as it comes, so that what is known of its text is used.
                let mut publish = Vec::new();
                let message = text.as_str().into();
                let unread = Publish { message, id: None, client_ip: None, room: None };
                ndjson::encode_publish(&mut publish, &unread);
                let read = ndjson::decode_publish(&publish[..publish.len() - 1]).unwrap();
                let entry = log.append(sender, MessageText::decoded(&read.message)).unwrap();
                prop_assert_eq!((entry.seq, entry.line_bytes as usize), (seq, line.len()));
                prop_assert_eq!(bytes_from(&log, entry.at), line);
                if trim {
                    log.trim_to(log.end());
                }
            }
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
    fn what_is_held_is_the_chunks_in_use_and_one_that_waits() {
        let mut log = Log::with_chunks_of(10, 100, 1000);
        let line_bytes = relay(1, "x").len();
        log.append("c", "x").unwrap();
        let in_use = line_bytes.div_ceil(10);
        assert_eq!(log.held_bytes(), in_use * 10);
        // Two chunks are passed, of which one is kept to be used again.
        log.trim_to(25);
        assert_eq!(log.held_bytes(), (in_use - 2 + 1) * 10);
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
