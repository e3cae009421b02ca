//! A classic server's side of the stream: bytes in, whole JSON objects out, bounded (C1).
//!
//! Nothing frames the objects, so they are cut by their own braces. The cut looks at no more than
//! it needs to find the end, and at each byte once: reading an object again from its start whenever
//! another piece of it comes would let a client that sends byte by byte cost the server the square
//! of the bytes that it sends. Whether an object is a publish is for
//! [`decode_publish`](super::decode_publish) to say.

use thiserror::Error;

/// An object's allocation up to this size is kept for the next one that comes in pieces.
const KEEP_TAIL_BYTES: usize = 512;

/// The stream is no sequence of JSON objects of the allowed length. Without framing there is no
/// telling where the next one would begin: the caller closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotObjects {
    /// Something other than an object begins (F4), or a byte in it occurs in no JSON.
    #[error("expected a JSON object, not the byte 0x{0:02x}")]
    Stray(u8),
    /// An object does not end within the limit.
    #[error("an object is longer than {max_object_bytes} bytes")]
    TooLong {
        /// The limit that was passed, in bytes.
        max_object_bytes: usize,
    },
}

/// The beginning of an unfinished object, and the limit on how long one may grow.
#[derive(Debug)]
pub struct ObjectBuffer {
    tail: Vec<u8>,
    scan: Scan,
    max_object_bytes: usize,
    /// `tail` is a whole object that [`Objects::next`] lent out: the next call forgets it.
    tail_lent: bool,
    failed: bool,
}

impl ObjectBuffer {
    /// An empty buffer for objects of at most `max_object_bytes`. Allocates nothing.
    #[must_use]
    pub fn new(max_object_bytes: usize) -> Self {
        Self {
            tail: Vec::new(),
            scan: Scan::default(),
            max_object_bytes,
            tail_lent: false,
            failed: false,
        }
    }

    /// Takes the bytes of one read and lends out the objects they complete.
    ///
    /// Iterate until `None`: only then is the unfinished rest kept for the next read.
    pub fn feed<'a>(&'a mut self, chunk: &'a [u8]) -> Objects<'a> {
        let rest = if self.failed { &[] } else { chunk };
        Objects { buffer: self, rest }
    }

    /// Bytes of an object that has begun and not ended. At end of stream they are dropped (F3).
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        if self.tail_lent { 0 } else { self.tail.len() }
    }
}

/// The objects of one chunk. A lending iterator: each is valid until the next call.
#[derive(Debug)]
pub struct Objects<'a> {
    buffer: &'a mut ObjectBuffer,
    rest: &'a [u8],
}

impl Objects<'_> {
    /// The next object, from brace to brace; `None` when the chunk is used up.
    ///
    /// # Errors
    /// [`NotObjects`] once; after that the connection's buffer yields nothing any more.
    #[allow(clippy::should_implement_trait)] // lends from itself, which Iterator cannot
    pub fn next(&mut self) -> Option<Result<&[u8], NotObjects>> {
        self.release_tail();
        if self.buffer.tail.is_empty() {
            let begins = self.rest.iter().position(|b| !is_space(*b));
            self.rest = &self.rest[begins.unwrap_or(self.rest.len())..];
            match self.rest.first() {
                None => return None,
                Some(b'{') => {}
                Some(stray) => return Some(Err(self.fail(NotObjects::Stray(*stray)))),
            }
        }
        let max_object_bytes = self.buffer.max_object_bytes;
        let room = max_object_bytes - self.buffer.tail.len();
        let window = &self.rest[..self.rest.len().min(room)];
        match self.buffer.scan.find_end(window) {
            Err(stray) => Some(Err(self.fail(stray))),
            Ok(Some(end)) => {
                let (object, rest) = self.rest.split_at(end);
                self.rest = rest;
                if self.buffer.tail.is_empty() {
                    return Some(Ok(object));
                }
                self.buffer.tail.extend_from_slice(object);
                self.buffer.tail_lent = true;
                Some(Ok(&self.buffer.tail))
            }
            Ok(None) if window.len() == room => {
                Some(Err(self.fail(NotObjects::TooLong { max_object_bytes })))
            }
            Ok(None) => {
                self.buffer.tail.extend_from_slice(window);
                self.rest = &[];
                None
            }
        }
    }

    fn release_tail(&mut self) {
        if self.buffer.tail_lent {
            self.buffer.tail_lent = false;
            if self.buffer.tail.capacity() > KEEP_TAIL_BYTES {
                self.buffer.tail = Vec::new();
            } else {
                self.buffer.tail.clear();
            }
        }
    }

    #[cold]
    fn fail(&mut self, why: NotObjects) -> NotObjects {
        self.rest = &[];
        self.buffer.tail = Vec::new();
        self.buffer.failed = true;
        why
    }
}

/// The state of the scan of an object that has begun.
#[derive(Debug, Default)]
struct Scan {
    /// Braces that are open.
    depth: usize,
    in_string: bool,
    /// The byte before was a backslash that escapes this one.
    escaped: bool,
}

impl Scan {
    /// Scans `bytes` and returns the place after the brace that ends the object, if it is there.
    ///
    /// A byte that occurs in no JSON ends the stream at once. Waiting for the brace would do too,
    /// but `{oops` would then hold the connection until the limit, and the sender would wonder.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NotObjects> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    0..0x20 => return Err(NotObjects::Stray(byte)),
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1; // the first byte is an opening brace
                    if self.depth == 0 {
                        return Ok(Some(at + 1));
                    }
                }
                b'[' | b']' | b':' | b',' => {}
                b'0'..=b'9' | b'+' | b'-' | b'.' | b'E' => {}
                b'a' | b'e' | b'f' | b'l' | b'n' | b'r' | b's' | b't' | b'u' => {}
                _ if is_space(byte) => {}
                _ => return Err(NotObjects::Stray(byte)),
            }
        }
        Ok(None)
    }
}

/// JSON's white space, no more.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
