//! Framing: bytes in, whole lines out, bounded (rules F1, F2, F3 and F5).
//!
//! A [`LineBuffer`] belongs to one connection and keeps nothing but the tail of a line that has
//! not ended yet: an idle connection costs a few words, and at most 512 bytes more once a line
//! of its was split between two reads. The bytes of a `read` are lent to [`LineBuffer::feed`];
//! whole lines come back as slices of those same bytes.

use memchr::memchr;
use thiserror::Error;

/// The longest line the protocol allows unless told otherwise, in bytes with its LF (F2).
pub const DEFAULT_MAX_LINE_BYTES: usize = 65_536;

/// How much longer than `max_line` a server's line may be (F2). A relay holds what its publish
/// held, and a number and an address besides: so the longest publish still has a relay.
pub const SERVER_EXTRA_BYTES: usize = 256;

/// A tail's allocation up to this size is kept for the next partial line; a larger one is given
/// back as soon as its line is done, so that one long line does not fatten a connection for life.
const KEEP_TAIL_BYTES: usize = 512;

/// A line grew past the limit before its LF came (F2). The stream cannot be read on: the caller
/// answers, if that is its role, and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a line is longer than {max_line_bytes} bytes")]
pub struct LineTooLong {
    /// The limit that was passed, in bytes, LF included.
    pub max_line_bytes: usize,
}

/// The tail of an unfinished line, and the limit on how long a line may grow.
#[derive(Debug)]
pub struct LineBuffer {
    tail: Vec<u8>,
    max_line_bytes: usize,
    /// `tail` is a whole line that [`Lines::next`] lent out: the next call forgets it. Kept here
    /// and not in [`Lines`], which may be dropped while the loan is on.
    tail_lent: bool,
    overrun: bool,
}

impl LineBuffer {
    /// An empty buffer for lines of at most `max_line_bytes`, LF included. Allocates nothing.
    ///
    /// # Panics
    /// If `max_line_bytes` is 0: not even a blank line would fit.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        assert!(max_line_bytes > 0, "a line limit of no bytes at all");
        Self {
            tail: Vec::new(),
            max_line_bytes,
            tail_lent: false,
            overrun: false,
        }
    }

    /// Raises the limit on lines to this from here on, if it was lower.
    pub fn allow(&mut self, max_line_bytes: usize) {
        self.max_line_bytes = self.max_line_bytes.max(max_line_bytes);
    }

    /// Takes the bytes of one read and lends out the lines they complete.
    ///
    /// Iterate until `None`: only then is the unfinished rest kept for the next read. Dropping
    /// the iterator earlier drops the rest of the chunk, which is what a caller about to close
    /// wants.
    pub fn feed<'a>(&'a mut self, chunk: &'a [u8]) -> Lines<'a> {
        Lines {
            buffer: self,
            rest: chunk,
        }
    }

    /// Takes the next line of a read, the bytes of which are left in `rest`: without blank lines;
    /// `None` when the read is used up. As [`LineBuffer::feed`], for callers that keep the rest
    /// themselves.
    ///
    /// # Errors
    /// [`LineTooLong`] once; after that nothing comes any more.
    #[inline(always)] // a line costs 40 instructions more where it is a call
    pub fn next_in<'a, 'r: 'a>(
        &'a mut self,
        rest: &mut &'r [u8],
    ) -> Option<Result<Line<'a>, LineTooLong>> {
        self.release_tail();
        if !self.tail.is_empty() {
            return self.next_after_tail(rest);
        }
        loop {
            let Some(lf) = memchr(b'\n', rest) else {
                return self.keep_rest(rest).map(Err);
            };
            if lf >= self.max_line_bytes {
                return Some(Err(self.too_long(rest)));
            }
            let (whole, after) = rest.split_at(lf + 1);
            *rest = after;
            let text = without_cr(&whole[..lf]);
            if !is_blank(text) {
                return Some(Ok(Line { whole, text }));
            }
        }
    }

    /// The same where an earlier read began a line.
    #[inline(never)]
    fn next_after_tail<'a, 'r: 'a>(
        &'a mut self,
        rest: &mut &'r [u8],
    ) -> Option<Result<Line<'a>, LineTooLong>> {
        if self.overrun {
            *rest = &[]; // after an overrun no line start is known
            return None;
        }
        match self.finish_tail(rest) {
            Tail::Unfinished => None,
            Tail::TooLong => Some(Err(self.too_long(rest))),
            Tail::Line => Some(Ok(Line::of(&self.tail))),
            Tail::Blank => self.next_in(rest),
        }
    }

    /// Takes the next line of a read if it is, byte for byte, `expected`: one whole line as
    /// [`Line::whole`] has it, neither blank nor over the limit.
    ///
    /// This is the receiver's fast path: a broadcast sends everyone the same bytes, and comparing
    /// them costs a few nanoseconds where finding and decoding the line costs a hundred or more.
    /// `false` changes nothing: the line, whatever it is, is still there for
    /// [`LineBuffer::next_in`].
    #[inline]
    pub fn take_if(&mut self, rest: &mut &[u8], expected: &[u8]) -> bool {
        debug_assert_eq!(memchr(b'\n', expected), expected.len().checked_sub(1));
        debug_assert!(!is_blank(Line::of(expected).text));
        self.release_tail();
        if self.tail.is_empty() && rest.starts_with(expected) {
            *rest = &rest[expected.len()..];
            return true;
        }
        false
    }

    /// The line that was lent from the tail has been read: forget it.
    #[inline]
    fn release_tail(&mut self) {
        if self.tail_lent {
            self.tail_lent = false;
            if self.tail.capacity() > KEEP_TAIL_BYTES {
                self.tail = Vec::new();
            } else {
                self.tail.clear();
            }
        }
    }

    /// Completes the line that an earlier read began, as far as this one goes.
    fn finish_tail(&mut self, rest: &mut &[u8]) -> Tail {
        let lf = memchr(b'\n', rest);
        let more = lf.map_or(rest.len(), |lf| lf + 1);
        // Without its LF in sight it has at least one byte more.
        let at_least = self.tail.len() + more + usize::from(lf.is_none());
        if at_least > self.max_line_bytes {
            return Tail::TooLong;
        }
        if lf.is_some() {
            self.tail.reserve_exact(more); // nothing will follow: no growth to allow for
        }
        let (taken, after) = rest.split_at(more);
        self.tail.extend_from_slice(taken);
        *rest = after;
        if lf.is_none() {
            return Tail::Unfinished;
        }
        self.tail_lent = true;
        if is_blank(Line::of(&self.tail).text) {
            Tail::Blank
        } else {
            Tail::Line
        }
    }

    /// No LF in what is left: it becomes the tail, unless no LF can come in time.
    #[cold]
    fn keep_rest(&mut self, rest: &mut &[u8]) -> Option<LineTooLong> {
        if rest.len() >= self.max_line_bytes {
            return Some(self.too_long(rest));
        }
        self.tail.extend_from_slice(rest);
        *rest = &[];
        None
    }

    /// Gives up on the stream: nothing of this read or a later one is lent any more.
    #[cold]
    fn too_long(&mut self, rest: &mut &[u8]) -> LineTooLong {
        *rest = &[];
        self.tail = vec![0]; // later bytes are compared with nothing, either
        self.overrun = true;
        LineTooLong {
            max_line_bytes: self.max_line_bytes,
        }
    }

    /// Bytes of a line that has begun and not ended. At end of stream they are no frame (F3).
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending().len()
    }

    /// The bytes of a line that has begun and not ended: what an error message shows of it.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        match self.tail_lent || self.overrun {
            true => &[],
            false => &self.tail,
        }
    }
}

/// A whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// All of it, with the LF (and CR) that ends it.
    pub whole: &'a [u8],
    /// It without these.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    fn of(whole: &'a [u8]) -> Self {
        let text = without_cr(whole.strip_suffix(b"\n").unwrap_or(whole));
        Self { whole, text }
    }
}

/// The lines of one chunk. A lending iterator: each line is valid until the next call.
#[derive(Debug)]
pub struct Lines<'a> {
    buffer: &'a mut LineBuffer,
    rest: &'a [u8],
}

impl Lines<'_> {
    /// The next line without its LF (and CR), blank lines left out; `None` when the chunk is
    /// used up.
    ///
    /// # Errors
    /// [`LineTooLong`] once; after that the connection's buffer yields nothing any more.
    #[allow(clippy::should_implement_trait)] // lends from itself, which Iterator cannot
    #[inline]
    pub fn next(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        let line = self.buffer.next_in(&mut self.rest)?;
        Some(line.map(|line| line.text))
    }

    /// See [`LineBuffer::take_if`].
    #[inline]
    pub fn take_if(&mut self, expected: &[u8]) -> bool {
        self.buffer.take_if(&mut self.rest, expected)
    }

    /// Whether the next line began in an earlier chunk.
    #[must_use]
    pub fn in_split_line(&self) -> bool {
        !self.buffer.pending().is_empty()
    }
}

/// The outcome for the line that an earlier chunk began.
enum Tail {
    /// Its LF is not in this chunk either.
    Unfinished,
    /// It is over the limit, or will be with its LF.
    TooLong,
    /// It is whole, and stands in the buffer.
    Line,
    /// It is whole, and blank (F1).
    Blank,
}

/// F1: a CR before the LF is ignored.
#[inline]
fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// F1: a blank line is ignored. JSON's white space, no more.
#[inline]
fn is_blank(line: &[u8]) -> bool {
    match line.first() {
        None => true,
        Some(b'{') => false, // every frame but a rare one
        Some(_) => line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')),
    }
}

#[cfg(test)]
mod tests;
