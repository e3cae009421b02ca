//! Framing: bytes in, whole lines out, bounded (rules F1, F2, F3 and F5).
//!
//! A [`LineBuffer`] belongs to one connection and keeps nothing but the tail of a line that has
//! not ended yet, so an idle connection costs the three words of an empty `Vec`. The bytes of a
//! `read` are lent to [`LineBuffer::feed`]; whole lines come back as slices of those same bytes.

use memchr::memchr;
use thiserror::Error;

/// The longest line the protocol allows unless told otherwise, in bytes with its LF (F2).
pub const DEFAULT_MAX_LINE_BYTES: usize = 65_536;

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
    overrun: bool,
}

impl LineBuffer {
    /// An empty buffer for lines of at most `max_line_bytes`, LF included. Allocates nothing.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            tail: Vec::new(),
            max_line_bytes,
            overrun: false,
        }
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
            tail_lent: false,
        }
    }

    /// Bytes of a line that has begun and not ended. At end of stream they are no frame (F3).
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.tail.len()
    }

    /// The bytes of a line that has begun and not ended: what an error message shows of it.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.tail
    }

    fn too_long(&mut self) -> LineTooLong {
        self.overrun = true;
        self.tail = Vec::new();
        LineTooLong {
            max_line_bytes: self.max_line_bytes,
        }
    }
}

/// The lines of one chunk. A lending iterator: each line is valid until the next call.
#[derive(Debug)]
pub struct Lines<'a> {
    buffer: &'a mut LineBuffer,
    rest: &'a [u8],
    tail_lent: bool,
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
        self.release_tail();
        if self.buffer.overrun {
            return None;
        }
        if !self.buffer.tail.is_empty() {
            return self.finish_tail();
        }
        loop {
            let Some(lf) = memchr(b'\n', self.rest) else {
                return self.keep_rest();
            };
            let (line, rest) = self.rest.split_at(lf);
            self.rest = &rest[1..];
            if lf + 1 > self.buffer.max_line_bytes {
                return Some(Err(self.buffer.too_long()));
            }
            let line = without_cr(line);
            if !is_blank(line) {
                return Some(Ok(line));
            }
        }
    }

    /// Takes the next line if it is, byte for byte, `expected` (its LF included).
    ///
    /// This is the receiver's fast path: a broadcast sends everyone the same bytes, and comparing
    /// them costs a few nanoseconds where finding and decoding the line costs a hundred or more.
    /// `false` changes nothing: the line, whatever it is, is still there for [`Lines::next`].
    #[inline]
    pub fn take_if(&mut self, expected: &[u8]) -> bool {
        self.release_tail();
        if self.buffer.tail.is_empty() && self.rest.starts_with(expected) {
            debug_assert_eq!(expected.last(), Some(&b'\n'));
            self.rest = &self.rest[expected.len()..];
            return true;
        }
        false
    }

    /// Whether the next line began in an earlier chunk.
    #[must_use]
    pub fn in_split_line(&self) -> bool {
        !self.tail_lent && !self.buffer.tail.is_empty()
    }

    /// The line that was lent from the tail has been read: forget it.
    #[inline]
    fn release_tail(&mut self) {
        if self.tail_lent {
            self.tail_lent = false;
            if self.buffer.tail.capacity() > KEEP_TAIL_BYTES {
                self.buffer.tail = Vec::new();
            } else {
                self.buffer.tail.clear();
            }
        }
    }

    /// Completes the line that an earlier chunk began.
    fn finish_tail(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        let Some(lf) = memchr(b'\n', self.rest) else {
            return self.keep_rest();
        };
        if self.buffer.tail.len() + lf + 1 > self.buffer.max_line_bytes {
            return Some(Err(self.buffer.too_long()));
        }
        self.buffer.tail.reserve_exact(lf);
        self.buffer.tail.extend_from_slice(&self.rest[..lf]);
        self.rest = &self.rest[lf + 1..];
        self.tail_lent = true;
        if is_blank(without_cr(&self.buffer.tail)) {
            return self.next();
        }
        Some(Ok(without_cr(&self.buffer.tail)))
    }

    /// No LF in what is left: it becomes (part of) the tail, unless no LF can come in time.
    #[cold]
    fn keep_rest(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        if self.buffer.tail.len() + self.rest.len() >= self.buffer.max_line_bytes {
            return Some(Err(self.buffer.too_long()));
        }
        self.buffer.tail.extend_from_slice(self.rest);
        self.rest = &[];
        None
    }
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
