//! Frames that a separator ends.

use std::borrow::Cow;

use memchr::memmem;

use super::{Frame, Frames};

/// Cuts at a separator. Of a line, a CR before its LF is no part of the body.
#[derive(Debug)]
pub struct Lines {
    separator: Box<[u8]>,
    /// Bytes that were searched without finding it.
    searched: usize,
}

impl Lines {
    /// Frames that `separator` ends.
    #[must_use]
    pub fn new(separator: &[u8]) -> Self {
        Self {
            separator: separator.into(),
            searched: 0,
        }
    }
}

impl Frames for Lines {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let from = self.searched.min(bytes.len());
        let Some(at) = memmem::find(&bytes[from..], &self.separator) else {
            self.searched = bytes.len().saturating_sub(self.separator.len() - 1);
            return None;
        };
        self.searched = 0;
        let end = from + at;
        let body = &bytes[..end];
        let is_line = &*self.separator == b"\n";
        let body = body.strip_suffix(b"\r").filter(|_| is_line).unwrap_or(body);
        Some(Frame {
            bytes: &bytes[..end + self.separator.len()],
            body: Cow::Borrowed(body),
            is_message: true,
        })
    }

    fn write(&self, frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
        out.extend_from_slice(&frame.bytes[frame.body.len()..]);
    }
}
