//! Cuts a byte stream into frames whose beginning says how long they are.
//!
//! A connection keeps nothing but the beginning of a frame that has not ended. A frame that lies in
//! one read is borrowed from it.

/// What is known of the frame that some bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It is all there, and has so many bytes.
    Whole(usize),
    /// It has so many bytes at least, which is more than are there.
    AtLeast(usize),
    /// It goes on to the end of the present line at least, which is not there yet.
    Line,
}

/// The beginning of a frame that has not ended.
#[derive(Debug, Default)]
pub struct Frames {
    tail: Vec<u8>,
    /// `tail` is a whole frame that was lent out: the next call forgets it.
    lent: bool,
    /// The stream cannot be read any more.
    broken: bool,
}

/// A tail's allocation up to this size is kept for the next partial frame.
const KEEP_TAIL_BYTES: usize = 512;

impl Frames {
    /// Takes what comes next if it is `frame`.
    #[inline]
    pub fn take_if(&mut self, input: &mut &[u8], frame: &[u8]) -> bool {
        self.release();
        let is_it = self.tail.is_empty() && !frame.is_empty() && input.starts_with(frame);
        if is_it {
            *input = &input[frame.len()..];
        }
        is_it
    }

    /// Takes the next frame of a read, whose extent `extent` tells by its beginning; `None` when the
    /// read is used up. After an error nothing of the stream is read any more.
    pub fn next<'a, 'r: 'a, E>(
        &'a mut self,
        input: &mut &'r [u8],
        extent: impl Fn(&[u8]) -> Result<Extent, E>,
    ) -> Option<Result<&'a [u8], E>> {
        self.release();
        if self.broken {
            *input = &[];
        }
        if input.is_empty() {
            return None;
        }
        if self.tail.is_empty() {
            let bytes: &'r [u8] = input;
            match extent(bytes) {
                Ok(Extent::Whole(length)) => {
                    let (frame, rest) = bytes.split_at(length);
                    *input = rest;
                    return Some(Ok(frame));
                }
                Ok(Extent::AtLeast(_) | Extent::Line) => {}
                Err(wrong) => return Some(Err(self.give_up(input, wrong))),
            }
        }
        self.next_after_tail(input, extent)
    }

    /// The same where an earlier read began a frame, or this one ends inside of one.
    fn next_after_tail<E>(
        &mut self,
        input: &mut &[u8],
        extent: impl Fn(&[u8]) -> Result<Extent, E>,
    ) -> Option<Result<&[u8], E>> {
        loop {
            let wanted = match extent(&self.tail) {
                Ok(Extent::Whole(_)) => break,
                Ok(Extent::AtLeast(length)) => length - self.tail.len(),
                Ok(Extent::Line) => memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1),
                Err(wrong) => return Some(Err(self.give_up(input, wrong))),
            };
            if input.is_empty() {
                return None;
            }
            let (taken, rest) = input.split_at(wanted.min(input.len()));
            self.tail.extend_from_slice(taken);
            *input = rest;
        }
        self.lent = true;
        Some(Ok(&self.tail))
    }

    /// The bytes of a frame that has begun and not ended.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        match self.lent || self.broken {
            true => &[],
            false => &self.tail,
        }
    }

    #[inline]
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

    #[cold]
    fn give_up<E>(&mut self, input: &mut &[u8], wrong: E) -> E {
        *input = &[];
        self.tail = vec![0]; // later bytes are compared with nothing, either
        self.broken = true;
        wrong
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of `bytes` between cuts at any places.
    pub(crate) fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        pieces.collect()
    }

    /// A frame is a line of 9 bytes at most, the last of which says how many bytes follow it; an
    /// `x` begins none.
    fn extent(bytes: &[u8]) -> Result<Extent, u8> {
        if bytes.first() == Some(&b'x') {
            return Err(b'x');
        }
        let line = bytes.iter().position(|byte| *byte == b'\n');
        if line.unwrap_or(bytes.len()) > 9 {
            return Err(0);
        }
        let Some(line) = line else {
            return Ok(Extent::Line);
        };
        let last = line.checked_sub(1).map_or(b'0', |last| bytes[last]);
        let length = line + 1 + usize::from(last.saturating_sub(b'0') % 10);
        Ok(match bytes.len() >= length {
            true => Extent::Whole(length),
            false => Extent::AtLeast(length),
        })
    }

    fn all(reads: &[&[u8]]) -> (Vec<Result<Vec<u8>, u8>>, Vec<u8>) {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for read in reads {
            let mut input = *read;
            while let Some(frame) = frames.next(&mut input, extent) {
                found.push(frame.map(<[u8]>::to_vec));
            }
            assert!(input.is_empty());
        }
        (found, frames.unread().to_vec())
    }

    proptest! {
        /// However a stream is cut, it is the same frames, and they are all of it.
        #[test]
        fn frames_are_the_same_however_the_stream_is_cut(
            bytes in "[ax3\\n]{0,60}", cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let bytes = bytes.as_bytes();
            let (whole, rest) = all(&[bytes]);
            prop_assert_eq!(&all(&pieces(bytes, &cuts)), &(whole.clone(), rest.clone()));
            if whole.iter().all(Result::is_ok) {
                let frames = whole.into_iter().map(Result::unwrap_or_default);
                prop_assert_eq!([frames.collect::<Vec<_>>().concat(), rest].concat(), bytes);
            }
        }
    }

    #[test]
    fn what_is_expected_is_taken_where_no_frame_has_begun() {
        let mut frames = Frames::default();
        let mut input = &b"2\nab1\nc2"[..];
        assert!(!frames.take_if(&mut input, b""));
        assert!(frames.take_if(&mut input, b"2\nab"));
        assert!(!frames.take_if(&mut input, b"2\nab"));
        assert_eq!(frames.next(&mut input, extent), Some(Ok(&b"1\nc"[..])));
        assert_eq!(frames.next(&mut input, extent), None);
        assert_eq!(frames.unread(), b"2");
        assert!(!frames.take_if(&mut &b"2\nab"[..], b"2\nab"));
    }

    #[test]
    fn nothing_is_read_after_an_error() {
        let mut frames = Frames::default();
        let mut input = &b"x\n1\na"[..];
        assert_eq!(frames.next(&mut input, extent), Some(Err(b'x')));
        assert_eq!(frames.next(&mut &b"1\na"[..], extent), None);
        assert!(!frames.take_if(&mut &b"1\na"[..], b"1\na"));
        assert_eq!(frames.unread(), b"");
    }
}
