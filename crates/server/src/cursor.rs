//! A session's position in the log, and the few bytes of its output that are its own.
//!
//! A session receives the log from its join on, with *splices*: a splice puts a reply of the
//! session's own at an offset of the log, in place of its own relay line (an ack, rule S3) or
//! between lines (a welcome, an error, a bye). Splices wait in a short queue ahead of the cursor;
//! nothing else is stored per session, and nothing per message and session.
//!
//! Writing is two steps, so that this file opens no socket: [`Cursor::gather`] lists the next
//! bytes as a few slices, [`Cursor::advance`] records how many of them the socket took. That may
//! end inside a line of the log or inside a reply; the next `gather` goes on at that byte.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::log::{Entry, Log};

/// Bytes gathered for one write. It bounds how long one session can keep the others waiting: a
/// 256 KiB write takes about 30 µs.
pub const MAX_WRITE_BYTES: usize = 256 * 1024;

/// Slices gathered for one write.
pub const MAX_SLICES: usize = 32;

/// A stretch of the log below this size is copied next to the adjacent replies and not listed as
/// a slice of its own: a slice costs a vectored write about 20 ns, copying 1 KiB about as much.
const COPY_BELOW_BYTES: usize = 1024;

/// Capacity that a session keeps for splices once they are all sent.
const KEEP_SPLICES: usize = 8;

/// A reply to a session at an offset of the log, in place of `skip_bytes` there.
#[derive(Debug)]
struct Splice {
    at: u64,
    skip_bytes: u32,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    /// Rendered when it is sent: a queued ack is two integers.
    Ack {
        seq: u64,
        id: Option<u64>,
    },
    Line(Box<[u8]>),
    /// An ack of the classic dialect: the same text for every message of the session.
    Text(Rc<[u8]>),
}

impl Splice {
    /// The offset that the session is at once it has the reply.
    #[inline]
    fn ends(&self) -> u64 {
        self.at + u64::from(self.skip_bytes)
    }
}

impl Reply {
    fn len(&self, log: &Log) -> usize {
        match self {
            Self::Ack { seq, id } => ack_bytes(log, *seq, *id),
            Self::Line(bytes) => bytes.len(),
            Self::Text(bytes) => bytes.len(),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Line(bytes) if bytes.is_empty())
    }

    #[inline]
    fn render(&self, log: &Log, out: &mut Vec<u8>) {
        match self {
            Self::Ack { seq, id } => log.encode_ack(out, *seq, *id),
            Self::Line(bytes) => out.extend_from_slice(bytes),
            Self::Text(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// Bytes that [`Log::encode_ack`] writes, LF included.
fn ack_bytes(log: &Log, seq: u64, id: Option<u64>) -> usize {
    fn digits(n: u64) -> usize {
        n.checked_ilog10().unwrap_or(0) as usize + 1
    }
    let id_bytes = id.map_or(0, |id| ",\"id\":".len() + digits(id));
    log.ack_begin_bytes() + digits(seq) + id_bytes + "}\n".len()
}

/// A session's position in the log.
#[derive(Debug)]
pub struct Cursor {
    /// The offset of the next byte of the log; within a reply, that of the reply.
    at: u64,
    /// The offset at which the session ends, once it is leaving.
    end: Option<u64>,
    /// Ascending by `at`.
    splices: VecDeque<Splice>,
    /// Bytes of the first splice's reply that are sent.
    reply_sent: usize,
    /// Splices that are lines: welcome, errors, bye.
    lines_queued: u32,
    /// Whether `at` is inside a line of the log.
    mid_line: bool,
}

impl Cursor {
    /// A session that joins now: it is owed `welcome` and what is appended from here on.
    #[must_use]
    pub fn join(log: &Log, welcome: Vec<u8>) -> Self {
        let mut cursor = Self::join_silently(log);
        cursor.reply(log, welcome);
        cursor
    }

    /// The same without a welcome (C3).
    #[must_use]
    pub fn join_silently(log: &Log) -> Self {
        Self {
            at: log.end(),
            end: None,
            splices: VecDeque::new(),
            reply_sent: 0,
            lines_queued: 0,
            mid_line: false,
        }
    }

    /// Puts an ack in place of the session's own message in the log.
    pub fn ack(&mut self, entry: Entry, id: Option<u64>) {
        self.push(
            entry.at,
            entry.line_bytes,
            Reply::Ack { seq: entry.seq, id },
        );
    }

    /// The same in the classic dialect, where an ack is `text`.
    pub fn ack_in_text(&mut self, entry: Entry, text: Rc<[u8]>) {
        self.push(entry.at, entry.line_bytes, Reply::Text(text));
    }

    /// Queues a line of the session's own after all that it is owed so far.
    pub fn reply(&mut self, log: &Log, line: Vec<u8>) {
        self.lines_queued += 1;
        self.push(log.end(), 0, Reply::Line(line.into()));
    }

    /// Puts `lines`, or nothing, in place of a message that is in the log. Only a faulty server
    /// uses this and the next two.
    pub(super) fn replace(&mut self, entry: Entry, lines: Vec<u8>) {
        self.lines_queued += 1;
        self.push(entry.at, entry.line_bytes, Reply::Line(lines.into()));
        self.skip_empty();
    }

    /// Puts `line` before a message that is in the log.
    pub(super) fn insert_before(&mut self, entry: Entry, line: Vec<u8>) {
        self.lines_queued += 1;
        self.push(entry.at, 0, Reply::Line(line.into()));
    }

    /// Takes back the lines and acks that are queued.
    pub(super) fn clear_queued(&mut self) {
        self.splices.clear();
        self.lines_queued = 0;
    }

    fn push(&mut self, at: u64, skip_bytes: u32, reply: Reply) {
        assert!(self.end.is_none(), "a session that is leaving gets no more");
        self.splices.push_back(Splice {
            at,
            skip_bytes,
            reply,
        });
    }

    /// Ends the session at the current end of the log: it is owed nothing that comes later.
    pub fn leave(&mut self, log: &Log) {
        self.end = Some(log.end());
    }

    /// Ends a session that is behind by more than the log keeps: it gets the rest of the line it is
    /// in, then `line`, and no more of the log.
    pub fn fall_off(&mut self, log: &Log, line: &[u8]) {
        let mut last = Vec::new();
        self.copy_line_rest(log, &mut last);
        last.extend_from_slice(line);
        *self = Self {
            at: self.at,
            end: None,
            splices: VecDeque::new(),
            reply_sent: 0,
            lines_queued: 1,
            mid_line: false,
        };
        self.push(self.at, 0, Reply::Line(last.into()));
        self.end = Some(self.at);
    }

    /// Whether a line or a reply was sent in part.
    #[inline]
    pub(super) fn is_mid_line(&self) -> bool {
        self.mid_line || self.reply_sent > 0
    }

    /// Appends to `out` the rest of the line or the reply that was sent in part. Returns its length.
    pub(super) fn copy_line_rest(&self, log: &Log, out: &mut Vec<u8>) -> usize {
        let from = out.len();
        if self.reply_sent > 0 {
            self.splices[0].reply.render(log, out);
            out.drain(from..from + self.reply_sent);
        } else if self.mid_line {
            log.copy_line_rest(self.at, out);
        }
        out.len() - from
    }

    /// The offset of the log that the session is at.
    #[inline]
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether there is anything to send of the log up to `to`.
    #[inline]
    pub(super) fn is_behind_at(&self, to: u64) -> bool {
        self.at < to || self.splices.front().is_some_and(|s| s.ends() <= to)
    }

    /// Appends to `out` the next bytes, of the log up to `to`, and about `max_bytes` at most: a
    /// reply is never cut. Returns how many, and whether these are all.
    pub(super) fn copy(
        &self,
        log: &Log,
        to: u64,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> (usize, bool) {
        let from = out.len();
        let (mut at, mut reply_sent) = (self.at, self.reply_sent);
        for splice in &self.splices {
            if splice.ends() > to || !log.copy(&mut at, splice.at, max_bytes, from, out) {
                break;
            }
            if out.len() - from >= max_bytes {
                return (out.len() - from, false);
            }
            let begins = out.len();
            splice.reply.render(log, out);
            out.drain(begins..begins + reply_sent);
            (at, reply_sent) = (splice.ends(), 0);
        }
        let whole = log.copy(&mut at, to, max_bytes, from, out);
        (out.len() - from, whole)
    }

    /// Frees the capacity for splices, if there are none.
    pub(super) fn shrink(&mut self) {
        if self.splices.is_empty() {
            self.splices = VecDeque::new();
        }
    }

    /// The oldest offset of the log that the session still needs; `None` where it needs no more.
    #[must_use]
    #[inline]
    pub fn needs(&self) -> Option<u64> {
        (self.end != Some(self.at)).then_some(self.at)
    }

    /// Whether there is anything to send.
    #[must_use]
    #[inline]
    pub fn is_behind(&self, log: &Log) -> bool {
        !self.splices.is_empty() || self.at < self.end.unwrap_or(log.end())
    }

    /// Whether the session is leaving.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.end.is_some()
    }

    /// Whether the session has left: all that it was owed is sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.end == Some(self.at) && self.splices.is_empty()
    }

    /// Lines of the session's own (welcome, errors, bye) that are not sent.
    #[must_use]
    pub fn lines_queued(&self) -> u32 {
        self.lines_queued
    }

    /// Lists the next bytes in `out`, up to [`MAX_WRITE_BYTES`] and [`MAX_SLICES`].
    #[inline]
    pub fn gather(&self, log: &Log, out: &mut Gather) {
        out.begin(self.at);
        self.gather_on(log, out);
    }

    /// As [`Self::gather`], after what `out` holds already.
    #[inline]
    pub(super) fn gather_on(&self, log: &Log, out: &mut Gather) {
        out.at = self.at;
        let mut reply_sent = self.reply_sent;
        for splice in &self.splices {
            if !out.push_log(log, splice.at) || !out.push_splice(log, splice, reply_sent) {
                return;
            }
            reply_sent = 0;
        }
        out.push_log(log, self.end.unwrap_or(log.end()));
    }

    /// Advances over the first `sent_bytes` of what was gathered.
    #[inline]
    pub fn advance(&mut self, log: &Log, mut sent_bytes: usize) {
        while sent_bytes > 0 {
            let splice_at = self.splices.front().map(|splice| splice.at);
            if splice_at == Some(self.at) {
                sent_bytes -= self.advance_in_reply(log, sent_bytes);
            } else {
                let to = splice_at.or(self.end).unwrap_or(log.end());
                let step = (sent_bytes as u64).min(to - self.at);
                assert!(step > 0, "more was sent than was gathered");
                self.at += step;
                self.mid_line = !log.is_line_start(self.at);
                sent_bytes -= step as usize;
            }
        }
        self.give_back();
    }

    /// Completes an advance: passes empty replies, and frees unused capacity.
    #[inline]
    fn give_back(&mut self) {
        self.skip_empty();
        if self.splices.is_empty() && self.splices.capacity() > KEEP_SPLICES {
            self.splices = VecDeque::new();
        }
    }

    /// Advances over all that was gathered. This is the usual case, and for a client with a hundred
    /// acks in a write it costs a fifth of going through them one by one.
    #[inline]
    pub fn advance_all(&mut self, log: &Log, gather: &Gather) {
        debug_assert!(gather.total_bytes > 0, "there was something to send");
        self.at = gather.at;
        if gather.splices > 0 {
            self.splices.drain(..gather.splices);
            self.lines_queued -= gather.lines;
            self.reply_sent = 0;
        }
        self.mid_line = gather.ends_in_log && !log.is_line_start(self.at);
        self.give_back();
    }

    /// Passes empty replies, over which no byte sent would ever take the cursor.
    #[inline]
    fn skip_empty(&mut self) {
        while let Some(splice) = self.splices.front()
            && splice.at == self.at
            && splice.reply.is_empty()
        {
            self.at = splice.ends();
            self.lines_queued -= 1;
            self.splices.pop_front();
        }
    }

    /// Advances in the reply that the cursor is at. Returns how many of `sent_bytes` belong to it.
    fn advance_in_reply(&mut self, log: &Log, sent_bytes: usize) -> usize {
        let splice = &self.splices[0];
        let left = splice.reply.len(log) - self.reply_sent;
        if sent_bytes < left {
            self.reply_sent += sent_bytes;
            return sent_bytes;
        }
        self.at = splice.ends();
        self.reply_sent = 0;
        if matches!(splice.reply, Reply::Line(_)) {
            self.lines_queued -= 1;
        }
        self.splices.pop_front();
        left
    }
}

/// The content of one write: stretches of the log, and replies rendered in between. One is enough
/// for all sessions of a thread; its memory is reused.
#[derive(Debug, Default)]
pub struct Gather {
    segments: Vec<Segment>,
    rendered: Vec<u8>,
    total_bytes: usize,
    /// The cursor's offset once all of it is sent.
    at: u64,
    /// Splices that it completes, and how many of these are lines.
    splices: usize,
    lines: u32,
    /// Whether its last byte is from the log, and so may be inside a line.
    ends_in_log: bool,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Log { at: u64, bytes: usize },
    Rendered { from: usize, to: usize },
}

impl Gather {
    fn begin(&mut self, at: u64) {
        self.segments.clear();
        self.rendered.clear();
        self.total_bytes = 0;
        self.at = at;
        self.splices = 0;
        self.lines = 0;
        self.ends_in_log = false;
    }

    /// Begins anew with what `render` appends, which is not of the log.
    pub(super) fn begin_with(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        self.begin(0);
        render(&mut self.rendered);
        let to = self.rendered.len();
        if to > 0 {
            self.segments.push(Segment::Rendered { from: 0, to });
        }
        self.total_bytes = to;
    }

    /// Bytes gathered.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// The gathered bytes as slices for a vectored write, and how many there are.
    #[must_use]
    pub fn slices<'a>(&'a self, log: &'a Log) -> ([IoSlice<'a>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = IoSlice::new(self.bytes_of(*segment, log));
        }
        (slices, self.segments.len())
    }

    /// The gathered bytes if they are one slice, as they are for a session that only listens.
    #[must_use]
    #[inline]
    pub fn single_slice<'a>(&'a self, log: &'a Log) -> Option<&'a [u8]> {
        match self.segments[..] {
            [segment] => Some(self.bytes_of(segment, log)),
            _ => None,
        }
    }

    /// The stretch of the log that was gathered, and its length, if it is one and nothing else is.
    #[inline]
    pub(super) fn run_of_log(&self) -> Option<(u64, usize)> {
        match self.segments[..] {
            [Segment::Log { at, bytes }] => Some((at, bytes)),
            _ => None,
        }
    }

    /// The first of the slices, if anything was gathered.
    pub(super) fn first_slice<'a>(&'a self, log: &'a Log) -> Option<&'a [u8]> {
        let first = self.segments.first()?;
        Some(self.bytes_of(*first, log))
    }

    #[inline]
    fn bytes_of<'a>(&'a self, segment: Segment, log: &'a Log) -> &'a [u8] {
        match segment {
            Segment::Log { at, bytes } => log.run(at, at + bytes as u64),
            Segment::Rendered { from, to } => &self.rendered[from..to],
        }
    }

    /// Adds the log up to `to`; `false` once full.
    #[inline]
    fn push_log(&mut self, log: &Log, to: u64) -> bool {
        while self.at < to {
            let at = self.at;
            let room = MAX_WRITE_BYTES - self.total_bytes.min(MAX_WRITE_BYTES);
            if room == 0 {
                return false;
            }
            let run = log.run(at, to.min(at + room as u64));
            if run.len() < COPY_BELOW_BYTES {
                let Some(rendered) = self.rendered_segment() else {
                    return false;
                };
                rendered.extend_from_slice(run);
                self.close_rendered_segment();
            } else {
                if self.segments.len() == MAX_SLICES {
                    return false;
                }
                self.segments.push(Segment::Log {
                    at,
                    bytes: run.len(),
                });
            }
            self.total_bytes += run.len();
            self.at += run.len() as u64;
            self.ends_in_log = true;
        }
        true
    }

    /// Adds the rest of a reply; `false` once full. A reply is never cut here, so a write may
    /// exceed its limit by one line.
    #[inline]
    fn push_splice(&mut self, log: &Log, splice: &Splice, already_sent: usize) -> bool {
        let reply = &splice.reply;
        if self.total_bytes >= MAX_WRITE_BYTES {
            return false;
        }
        let Some(rendered) = self.rendered_segment() else {
            return false;
        };
        let from = rendered.len();
        reply.render(log, rendered);
        debug_assert_eq!(rendered.len() - from, reply.len(log));
        if already_sent > 0 {
            rendered.drain(from..from + already_sent);
        }
        self.total_bytes += rendered.len() - from;
        self.close_rendered_segment();
        self.at = splice.ends();
        self.ends_in_log = false;
        self.splices += 1;
        self.lines += u32::from(matches!(reply, Reply::Line(_)));
        true
    }

    /// The rendered bytes, with a segment open at their end; `None` where no segment is left.
    fn rendered_segment(&mut self) -> Option<&mut Vec<u8>> {
        if !matches!(self.segments.last(), Some(Segment::Rendered { .. })) {
            if self.segments.len() == MAX_SLICES {
                return None;
            }
            let from = self.rendered.len();
            self.segments.push(Segment::Rendered { from, to: from });
        }
        Some(&mut self.rendered)
    }

    fn close_rendered_segment(&mut self) {
        if let Some(Segment::Rendered { to, .. }) = self.segments.last_mut() {
            *to = self.rendered.len();
        }
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
