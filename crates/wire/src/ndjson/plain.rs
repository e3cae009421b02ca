//! The three frames that there are millions of (publish, relay, ack) and those that there may be
//! thousands of at once (join, leave), where they stand exactly as this codec writes them: keys in
//! its order, no spaces, no escapes.
//!
//! Such a line is taken apart by position, at a tenth of a JSON parser's instructions (`cargo bench
//! --bench instructions`): with a few receivers per message, decoding it takes most of a server's
//! CPU time. Anything else gives `None` and is left to the parser; so is everything wrong, since
//! only the parser says what. Whatever is accepted here the parser accepts too, with the same
//! result: a property test and the fuzzer see to that.

use std::borrow::Cow;
use std::str;

use memchr::memchr2;

use super::{ClientFrame, MAX_ID, Publish, ServerFrame};

/// The longest number taken here, in digits: [`MAX_ID`]'s.
const MAX_DIGITS: usize = 16;

/// A publish: `message`, and before it `client_ip`, and after it `id` and `room`, if they are
/// there.
#[inline]
pub(super) fn publish(line: &[u8]) -> Option<Publish<'_>> {
    let rest = line.strip_prefix(b"{\"")?;
    let (client_ip, rest) = match rest.strip_prefix(b"client_ip\":\"") {
        Some(rest) => {
            let (client_ip, rest) = string(rest)?;
            (Some(client_ip.into()), rest.strip_prefix(b",\"")?)
        }
        None => (None, rest),
    };
    let (message, rest) = string(rest.strip_prefix(b"message\":\"")?)?;
    let (id, rest) = optional_id(rest)?;
    let room = match rest {
        b"}" => None,
        rest => Some(last_room(rest)?.into()),
    };
    Some(Publish {
        message: message.into(),
        id,
        client_ip,
        room,
    })
}

/// A join or a leave.
pub(super) fn membership(line: &[u8]) -> Option<ClientFrame<'_>> {
    let rest = line.strip_prefix(b"{\"")?;
    let (joins, rest) = match rest.strip_prefix(b"join\":\"") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix(b"leave\":\"")?),
    };
    let (room, rest) = string(rest)?;
    let (room, id) = (room.into(), last_id(rest)?);
    Some(match joins {
        true => ClientFrame::Join { room, id },
        false => ClientFrame::Leave { room, id },
    })
}

/// A relay or an ack.
#[inline]
pub(super) fn server_frame(line: &[u8]) -> Option<ServerFrame<'_>> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    if let Some(rest) = rest.strip_prefix(b"relay\",\"seq\":") {
        return relay(None, rest);
    }
    if let Some(rest) = rest.strip_prefix(b"ack\",\"seq\":") {
        return ack(None, rest);
    }
    if let Some(rest) = rest.strip_prefix(b"relay\",\"room\":\"") {
        let (room, rest) = string(rest)?;
        return relay(Some(room), rest.strip_prefix(b",\"seq\":")?);
    }
    let (room, rest) = string(rest.strip_prefix(b"ack\",\"room\":\"")?)?;
    ack(Some(room), rest.strip_prefix(b",\"seq\":")?)
}

/// A relay, from its number on.
#[inline]
fn relay<'a>(room: Option<&'a str>, rest: &'a [u8]) -> Option<ServerFrame<'a>> {
    let (seq, rest) = number(rest)?;
    let (client_ip, rest) = string(rest.strip_prefix(b",\"client_ip\":\"")?)?;
    let (message, rest) = string(rest.strip_prefix(b",\"message\":\"")?)?;
    (rest == b"}").then(|| ServerFrame::Relay {
        room: room.map(Cow::Borrowed),
        seq,
        client_ip: client_ip.into(),
        message: message.into(),
    })
}

/// An ack, from its number on.
#[inline]
fn ack<'a>(room: Option<&'a str>, rest: &'a [u8]) -> Option<ServerFrame<'a>> {
    let (seq, rest) = number(rest)?;
    let (room, id) = (room.map(Cow::Borrowed), last_id(rest)?);
    Some(ServerFrame::Ack { room, seq, id })
}

/// The text up to the next quote, without escapes, and the rest after the quote.
#[inline]
fn string(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr2(b'"', b'\\', text)?;
    let (string, rest) = text.split_at(end);
    let rest = rest.strip_prefix(b"\"")?; // else it is an escape
    if !none(string, below_space) {
        return None;
    }
    Some((str::from_utf8(string).ok()?, rest))
}

/// Whether a string's bytes stand in JSON as they are.
#[inline]
pub(super) fn is_plain(string: &[u8]) -> bool {
    none(string, |word| {
        below_space(word) | equal_to(word, b'"') | equal_to(word, b'\\')
    })
}

/// Eight bytes of a text, as a number.
type Word = u64;

/// One in every byte, and the highest bit of every byte.
const ONES: Word = 0x0101_0101_0101_0101;
const HIGHS: Word = ONES << 7;

/// Not zero where a byte is under a space's: a control.
#[inline]
fn below_space(word: Word) -> Word {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}

/// Not zero where a byte is `b`.
#[inline]
fn equal_to(word: Word, b: u8) -> Word {
    let difference = word ^ (ONES * Word::from(b));
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// Whether `found` is zero for every eight bytes of a text.
///
/// The last eight are taken so that they end where the text does, and a short text is filled up
/// with letters. A loop byte by byte is made a vector one, too, but the rest after the last whole
/// vector, up to 31 bytes, takes it more instructions than a hundred bytes before.
#[inline]
fn none(text: &[u8], found: impl Fn(Word) -> Word) -> bool {
    let (words, _) = text.as_chunks::<8>();
    let last = text.last_chunk::<8>().copied().unwrap_or_else(|| {
        let mut filled = [b'x'; 8];
        filled[..text.len()].copy_from_slice(text);
        filled
    });
    let last = found(Word::from_ne_bytes(last));
    words
        .iter()
        .fold(last, |sum, word| sum | found(Word::from_ne_bytes(*word)))
        == 0
}

/// The `id` that ends the object, if there is one.
#[inline]
#[allow(clippy::option_option)] // no id, and no such line
fn last_id(rest: &[u8]) -> Option<Option<u64>> {
    let (id, rest) = optional_id(rest)?;
    (rest == b"}").then_some(id)
}

/// The `id`, if it comes next, and the text after it.
#[inline]
fn optional_id(rest: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let Some(id) = rest.strip_prefix(b",\"id\":") else {
        return Some((None, rest));
    };
    let (id, rest) = number(id)?;
    (id <= MAX_ID).then_some((Some(id), rest))
}

/// The `room` that ends the object.
fn last_room(rest: &[u8]) -> Option<&str> {
    let (room, rest) = string(rest.strip_prefix(b",\"room\":\"")?)?;
    (rest == b"}").then_some(room)
}

/// A whole number as JSON writes it, and the text after its digits.
///
/// One loop by hand: as two, over the digits that `take_while` found, a number of six digits took
/// 112 instructions and not 60.
#[inline]
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut digits) = (0, 0);
    while let Some(digit) = text.get(digits).map(|b| b.wrapping_sub(b'0'))
        && digit < 10
    {
        if digits == MAX_DIGITS {
            return None;
        }
        value = value * 10 + u64::from(digit);
        digits += 1;
    }
    if digits == 0 || (text[0] == b'0' && digits > 1) {
        return None;
    }
    Some((value, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a parser reads it, whatever comes after it.
        #[test]
        fn a_number_is_read_as_it_stands(value in 0..=9_999_999_999_999_999_u64, cut in 0..16_u32, rest in "[^0-9]\\PC{0,9}|") {
            let value = value / 10_u64.pow(cut);
            let text = format!("{value}{rest}");
            prop_assert_eq!(number(text.as_bytes()), Some((value, rest.as_bytes())));
        }

        #[test]
        fn bytes_that_are_no_digits_end_a_number(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
            let expected = str::from_utf8(&bytes[..digits]).unwrap().parse().ok();
            let expected = expected.filter(|_| digits <= MAX_DIGITS && (digits == 1 || bytes[0] != b'0'));
            prop_assert_eq!(number(&bytes), expected.map(|value: u64| (value, &bytes[digits..])));
        }
    }

    #[test]
    fn a_number_of_too_many_digits_or_with_a_zero_in_front_is_left_to_the_parser() {
        for text in [
            "",
            "x",
            "01",
            "00",
            "-1",
            "12345678901234567",
            "123456789012345678901",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        let most = "9999999999999999";
        assert_eq!(
            number(most.as_bytes()),
            Some((9_999_999_999_999_999, &b""[..]))
        );
    }
}
