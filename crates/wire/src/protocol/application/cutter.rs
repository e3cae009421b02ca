//! Cuts a byte stream into messages that a separator divides.
//!
//! A connection keeps nothing but the tail of a message that has not ended. A message that ends with
//! the read is borrowed from it.

use memchr::memmem;

use crate::line::LineTooLong;

/// The tail of an unfinished message, and what ends one.
#[derive(Debug)]
pub(super) struct Cutter {
    separator: Box<[u8]>,
    max_bytes: usize,
    tail: Vec<u8>,
    /// `tail` is a whole message that was lent out: the next call forgets it.
    lent: bool,
    overrun: bool,
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut<'a> {
    /// All of it, with what ends it.
    pub(super) whole: &'a [u8],
    /// It without that. Of a line, also without the CR before its LF.
    pub(super) text: &'a [u8],
}

/// A tail's allocation up to this size is kept for the next partial message.
const KEEP_TAIL_BYTES: usize = 512;

impl Cutter {
    /// Messages of at most `max_bytes`, which `separator` ends.
    pub(super) fn new(separator: Box<[u8]>, max_bytes: usize) -> Self {
        Self {
            separator,
            max_bytes,
            tail: Vec::new(),
            lent: false,
            overrun: false,
        }
    }

    /// Takes what comes next if it is `frame`, a message with what ends it.
    #[inline]
    pub(super) fn take_if(&mut self, input: &mut &[u8], frame: &[u8]) -> bool {
        self.release();
        let is_it = self.tail.is_empty() && !frame.is_empty() && input.starts_with(frame);
        if is_it {
            *input = &input[frame.len()..];
        }
        is_it
    }

    /// Takes the next message of a read; `None` when that is used up. Empty ones are left out.
    pub(super) fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
    ) -> Option<Result<Cut<'a>, LineTooLong>> {
        self.release();
        if self.overrun {
            *input = &[];
            return None;
        }
        while self.tail.is_empty() {
            let Some(at) = memmem::find(input, &self.separator) else {
                break;
            };
            if at + self.separator.len() > self.max_bytes {
                return Some(Err(self.too_long(input)));
            }
            let (whole, rest) = input.split_at(at + self.separator.len());
            *input = rest;
            let text = self.text(whole);
            if !text.is_empty() {
                return Some(Ok(Cut { whole, text }));
            }
        }
        self.next_after_tail(input)
    }

    /// The same where an earlier read began a message, or this one ends inside of one.
    fn next_after_tail<'a>(
        &'a mut self,
        input: &mut &[u8],
    ) -> Option<Result<Cut<'a>, LineTooLong>> {
        loop {
            if input.is_empty() {
                return None;
            }
            // The separator may have come in part.
            let before = self.tail.len();
            let look_from = before.saturating_sub(self.separator.len() - 1);
            let reach = input.len().min(self.separator.len() - 1);
            self.tail.extend_from_slice(&input[..reach]);
            let split = memmem::find(&self.tail[look_from..], &self.separator);
            self.tail.truncate(before);
            let taken = match split {
                Some(at) => look_from + at + self.separator.len() - before,
                None => match memmem::find(input, &self.separator) {
                    Some(at) => at + self.separator.len(),
                    None => input.len(),
                },
            };
            let ended = split.is_some() || memmem::find(&input[..taken], &self.separator).is_some();
            if before + taken + usize::from(!ended) > self.max_bytes {
                return Some(Err(self.too_long(input)));
            }
            self.tail.extend_from_slice(&input[..taken]);
            *input = &input[taken..];
            if !ended {
                return None;
            }
            if self.text(&self.tail).is_empty() {
                self.tail.clear();
                continue;
            }
            self.lent = true;
            let whole = &self.tail[..];
            let text = self.text(whole);
            return Some(Ok(Cut { whole, text }));
        }
    }

    /// The unfinished message, at the end of the stream; `None` if there is none.
    pub(super) fn finish(&mut self) -> Option<&[u8]> {
        self.release();
        if self.tail.is_empty() || self.overrun {
            return None;
        }
        self.lent = true;
        Some(&self.tail)
    }

    /// The bytes of a message that has begun and not ended.
    pub(super) fn unread(&self) -> &[u8] {
        match self.lent || self.overrun {
            true => &[],
            false => &self.tail,
        }
    }

    fn text<'a>(&self, whole: &'a [u8]) -> &'a [u8] {
        let text = &whole[..whole.len() - self.separator.len()];
        match &*self.separator {
            b"\n" => text.strip_suffix(b"\r").unwrap_or(text),
            _ => text,
        }
    }

    fn release(&mut self) {
        if self.lent {
            self.lent = false;
            if self.tail.capacity() > KEEP_TAIL_BYTES {
                self.tail = Vec::new();
            } else {
                self.tail.clear();
            }
        }
    }

    /// Gives up on the stream: nothing of it is read any more.
    #[cold]
    fn too_long(&mut self, input: &mut &[u8]) -> LineTooLong {
        *input = &[];
        self.tail = vec![0]; // later bytes are compared with nothing, either
        self.overrun = true;
        LineTooLong {
            max_line_bytes: self.max_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(cutter: &mut Cutter, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(cut) = cutter.next(&mut input) {
                texts.push(cut.map_or(b"too long".to_vec(), |cut| cut.text.to_vec()));
            }
            assert!(input.is_empty());
        }
        texts.extend(cutter.finish().map(|rest| [b"rest: ", rest].concat()));
        texts
    }

    proptest! {
        /// However a stream is cut, its messages are what stands between the separators.
        #[test]
        fn messages_are_what_stands_between_separators(
            bytes in "[a\\r\\n;]{0,40}", cuts in prop::collection::vec(0..40_usize, 0..6),
            separator in prop::sample::select(vec!["\n", "\r\n", ";", ";;\n"]),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> =
                cuts.windows(2).map(|cut| &bytes.as_bytes()[cut[0]..cut[1]]).collect();
            let mut cutter = Cutter::new(separator.as_bytes().into(), 100);
            let mut expected: Vec<String> = bytes.split(separator).map(str::to_owned).collect();
            let rest = expected.pop().unwrap_or_default();
            if separator == "\n" {
                for line in &mut expected {
                    *line = line.strip_suffix('\r').unwrap_or(line).to_owned();
                }
            }
            expected.retain(|text| !text.is_empty());
            if !rest.is_empty() {
                expected.push(format!("rest: {rest}"));
            }
            let expected: Vec<Vec<u8>> = expected.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(all(&mut cutter, &pieces), expected);
        }
    }

    #[test]
    fn a_message_is_bounded_however_it_comes() {
        for pieces in [
            &[&b"0123456789\nx\n"[..]][..],
            &[b"01234", b"56789", b"\nx\n"],
        ] {
            let mut cutter = Cutter::new(b"\n"[..].into(), 10);
            assert_eq!(all(&mut cutter, pieces), [b"too long"]);
            let mut cutter = Cutter::new(b"\n"[..].into(), 11);
            assert_eq!(all(&mut cutter, pieces), [&b"0123456789"[..], b"x"]);
        }
    }

    #[test]
    fn what_is_due_is_taken_by_comparing() {
        let mut cutter = Cutter::new(b"\n"[..].into(), 100);
        let mut input = &b"one\ntwo\non"[..];
        assert!(cutter.take_if(&mut input, b"one\n"));
        assert!(!cutter.take_if(&mut input, b"one\n"));
        assert_eq!(cutter.next(&mut input).unwrap().unwrap().text, b"two");
        assert_eq!(cutter.next(&mut input), None);
        assert_eq!(cutter.unread(), b"on");
        assert!(!cutter.take_if(&mut &b"e\n"[..], b"one\n"));
    }
}
