//! Load messages in frames of any form, found by this run's number, which each of them has in it.
//!
//! No schema says where a message stands in a frame, or that it stands there once: it is searched
//! for. All of its bytes are such that no encoding along the way has a reason to change them
//! ([`crate::payload`]), so it stands in JSON, in JSON inside of JSON, in XML or in a form as it was
//! sent.

use std::ops::Range;

use memchr::memmem;

use crate::payload::{self, HEADER_BYTES, K_AT, RUN_AT, SENDER_AT};

/// What this run's messages are found by.
#[derive(Debug)]
pub struct Marker {
    run: [u8; SENDER_AT - RUN_AT],
    /// Where the run's number stood in the last frame: it mostly stands there in the next one too,
    /// and looking takes half of the time of searching.
    learnt: usize,
}

/// Bytes of a message that may be damaged for it still to be recognised without its run's number.
const DAMAGED_BYTES: usize = 8;

impl Marker {
    /// That of a run.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self {
            run: payload::run_digits(run),
            learnt: RUN_AT,
        }
    }

    /// The first message of this run in `frame` from `from` on, intact or not.
    #[inline]
    pub fn find(&mut self, frame: &[u8], from: usize) -> Option<Range<usize>> {
        let at = self.learnt;
        if from == 0 && frame.get(at..at + self.run.len()) == Some(&self.run) {
            // Where another message has room before it, that may be one, too.
            let first = match at < RUN_AT + HEADER_BYTES {
                true => None,
                false => memmem::find(&frame[..at], &self.run),
            };
            return Some(extent(frame, first.unwrap_or(at)));
        }
        let at = from + memmem::find(frame.get(from..)?, &self.run)?;
        if from == 0 {
            self.learnt = at;
        }
        Some(extent(frame, at))
    }
}

/// The place of the message whose run's number stands at `run_at`.
#[inline]
fn extent(frame: &[u8], run_at: usize) -> Range<usize> {
    if let Some(start) = run_at.checked_sub(RUN_AT)
        && let Some(length) = payload::stated_length(&frame[start..])
        && length <= frame.len() - start
    {
        return start..start + length;
    }
    damaged(frame, run_at)
}

/// The same where its beginning is damaged, or its end is cut off: as far as bytes go that may be
/// its own.
#[cold]
fn damaged(frame: &[u8], run_at: usize) -> Range<usize> {
    let before = frame[..run_at].iter().rev().take(RUN_AT);
    let start = run_at - before.take_while(|byte| payload::is_digit(**byte)).count();
    let after = frame[run_at..].iter();
    let end = run_at + after.take_while(|byte| payload::is_digit(**byte)).count();
    start..end
}

/// A message in `frame` that does not have this run's number: another run's, or one that is
/// damaged.
#[must_use]
pub fn find_foreign(frame: &[u8]) -> Option<Range<usize>> {
    memmem::find_iter(frame, payload::MAGIC).find_map(|start| {
        let rest = &frame[start..];
        let length = payload::stated_length(rest)?;
        let whole = rest.get(..length).or_else(|| {
            // Cut off at its end.
            let digits = rest.iter().take_while(|byte| payload::is_digit(**byte));
            rest.get(..digits.count())
                .filter(|cut| cut.len() >= HEADER_BYTES)
        })?;
        let damaged = whole
            .iter()
            .filter(|byte| !payload::is_digit(**byte))
            .count();
        let is_message = matches!(whole[2], b'm' | b'f') && damaged <= DAMAGED_BYTES;
        is_message.then_some(start..start + whole.len())
    })
}

/// The digits by which a message names its sender; `None` if it is too short.
#[must_use]
pub fn sender_digits(message: &[u8]) -> Option<[u8; K_AT - SENDER_AT]> {
    message.get(SENDER_AT..K_AT)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::{Header, SenderId};

    const RUN: u32 = 0xdead_beef;

    fn message(run: u32, k: u64, size: usize) -> String {
        let header = Header {
            run,
            sender: SenderId(77),
            k,
            last: false,
            intended_ns: 1_000_000_007,
            previous_ns: 3,
        };
        let mut text = Vec::new();
        payload::encode(&mut text, 42, &header, size);
        String::from_utf8(text).unwrap()
    }

    fn found(frame: &str) -> Option<&str> {
        let mut marker = Marker::new(RUN);
        let found = marker.find(frame.as_bytes(), 0)?;
        frame.get(found)
    }

    #[test]
    fn a_message_is_found_in_any_envelope_twice_over_and_in_turn() {
        let (one, two) = (message(RUN, 1, 60), message(RUN, 2, 200));
        for (before, after) in [
            ("", ""),
            (r#"42["message",""#, r#"","Q8NYfJ5"]"#),
            (r#"{"message":"{\"a\":\""#, r#"\"}"}"#),
            ("<message to='x'><body>", "</body></message>"),
            (":talkers-1 PRIVMSG #room-", " trailing"),
        ] {
            let frame = format!("{before}{one}{after}{two}");
            let mut marker = Marker::new(RUN);
            for _ in 0..2 {
                let first = marker.find(frame.as_bytes(), 0).unwrap();
                assert_eq!(&frame[first.clone()], one);
                let second = marker.find(frame.as_bytes(), first.end).unwrap();
                assert_eq!(&frame[second.clone()], two);
                assert_eq!(marker.find(frame.as_bytes(), second.end), None);
            }
        }
        assert_eq!(found("{}"), None);
        assert_eq!(found(""), None);
        assert_eq!(found(&message(RUN + 1, 1, 60)), None);
    }

    #[test]
    fn what_is_damaged_is_found_as_far_as_it_goes() {
        let whole = message(RUN, 1, 60);
        let cut = &whole[..55];
        assert_eq!(found(&format!("[\"{cut}\"]")), Some(cut));
        let headless = &whole[4..];
        assert_eq!(found(&format!("[\"{headless}\"]")), Some(headless));
        let other = message(RUN + 1, 1, 60);
        let frame = format!("{{\"a\":\"cb\",\"b\":\"{other}\"}}");
        assert_eq!(&frame[find_foreign(frame.as_bytes()).unwrap()], other);
        let no_run = format!("{}??????{}", &whole[..13], &whole[19..]);
        assert_eq!(find_foreign(no_run.as_bytes()), Some(0..60));
        for other in ["", "cb", "cbm", "cbmAAA0 is a token", "{\"cbm\":1}"] {
            assert_eq!(find_foreign(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        /// Wherever it stands, and whatever one byte of it becomes.
        #[test]
        fn a_message_with_one_wrong_byte_is_found(
            before in "[ -~]{0,30}", after in "[ -~]{0,30}",
            size in 48..120_usize, at in 0..120_usize, byte in b' '..b'~',
        ) {
            let mut frame = format!("{before}{}{after}", message(RUN, 9, size)).into_bytes();
            let at = before.len() + at % size;
            frame[at] = byte;
            let found = Marker::new(RUN).find(&frame, 0).or_else(|| find_foreign(&frame));
            // Two digits tell the length and the magic: without these it may look shorter.
            let found = found.expect("it was found");
            prop_assert!(found.start <= before.len() + RUN_AT && found.end > before.len());
        }

        #[test]
        fn no_frame_makes_it_panic(frame in prop::collection::vec(any::<u8>(), 0..200), at in 0..200_usize) {
            let mut frame = frame;
            let digits = payload::run_digits(RUN);
            let at = at.min(frame.len());
            frame.splice(at..at, digits);
            let found = Marker::new(RUN).find(&frame, 0).unwrap();
            prop_assert!(found.start <= at && at + digits.len() <= found.end.max(at + digits.len()));
            prop_assert!(found.end <= frame.len());
            let _ = find_foreign(&frame);
        }
    }
}
