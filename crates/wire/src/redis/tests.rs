//! Values, held against those of another implementation.

use proptest::prelude::*;
use redis_protocol::resp3::decode::complete;
use redis_protocol::resp3::types::{OwnedFrame, Resp3Frame};

use super::*;
use crate::frames::tests::pieces;
use crate::frames::{Extent, Frames};

const MAX: usize = 10_000;

/// A value, as text.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let bulk = prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
        let head = format!("${}\r\n", bytes.len()).into_bytes();
        [head, bytes, b"\r\n".to_vec()].concat()
    });
    let line = prop::sample::select(vec![
        "+OK\r\n",
        "-ERR no\r\n",
        ":12\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
    ]);
    let leaf = prop_oneof![bulk, line.prop_map(|line| line.as_bytes().to_vec())];
    // No sets and maps: the other implementation has no keys that are values of every kind.
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|all| {
            let head = format!("*{}\r\n", all.len()).into_bytes();
            [head, all.concat()].concat()
        })
    })
}

fn message() -> impl Strategy<Value = (String, Vec<u8>)> {
    ("[a-z.]{0,9}", prop::collection::vec(any::<u8>(), 0..40))
}

fn read(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, Fault>> {
    let (mut frames, mut all) = (Frames::default(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(frame) = frames.next(&mut input, |bytes| extent(bytes, MAX)) {
            all.push(frame.map(<[u8]>::to_vec));
        }
    }
    all
}

proptest! {
    /// A value is as long as another implementation has it, whole or cut.
    #[test]
    fn values_are_as_long_as_others_have_them(value in value(), cut in any::<usize>()) {
        let decoded = complete::decode(&value).unwrap();
        prop_assert_eq!(decoded.map(|(_, length)| length), Some(value.len()));
        prop_assert_eq!(extent(&value, MAX), Ok(Extent::Whole(value.len())));
        let cut = &value[..cut % value.len()];
        match extent(cut, MAX) {
            Ok(Extent::AtLeast(length)) => {
                prop_assert!(cut.len() < length && length <= value.len());
            }
            other => prop_assert_eq!(other, Ok(Extent::Line)),
        }
    }

    #[test]
    fn messages_are_what_others_read((channel, payload) in message()) {
        let mut frame = b">3\r\n".to_vec();
        for word in [b"message", channel.as_bytes(), &payload] {
            header(&mut frame, b'$', word.len());
            frame.extend_from_slice(word);
            frame.extend_from_slice(b"\r\n");
        }
        prop_assert_eq!(channel_of_next(&frame), Some(channel.as_bytes()));
        let push = Reply::Push { kind: b"message", channel: channel.as_bytes(), payload: &payload };
        prop_assert_eq!(Reply::read(&frame), push);
        let (theirs, _) = complete::decode(&frame).unwrap().unwrap();
        prop_assert!(theirs.is_normal_pubsub_message());
    }

    #[test]
    fn commands_are_what_others_read(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4)) {
        let mut out = Vec::new();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        command(&mut out, &words);
        let (frame, length) = complete::decode(&out).unwrap().unwrap();
        prop_assert_eq!(length, out.len());
        let OwnedFrame::Array { data, .. } = frame else {
            return Err(TestCaseError::fail("no array"));
        };
        let theirs: Vec<&[u8]> = data.iter().map(|word| match word {
            OwnedFrame::BlobString { data, .. } => &data[..],
            _ => b"?",
        }).collect();
        prop_assert_eq!(theirs, words);
    }

    #[test]
    fn a_stream_is_the_same_values_however_it_is_cut(
        values in prop::collection::vec(value(), 0..6), rubbish in "[*$>%\\-0-9a\\r\\n]{0,20}",
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let stream = [values.concat(), rubbish.into_bytes()].concat();
        let whole = read(&[&stream]);
        prop_assert_eq!(read(&pieces(&stream, &cuts)), whole);
    }
}

#[test]
fn what_is_no_value_is_a_fault_that_says_why() {
    for (bytes, why) in [
        (&b"hello\r\n"[..], "a value begins with `h`, as none does"),
        (b"$x\r\n", "a length is no number"),
        (
            b"$2\r\nabc\r\n",
            "a text does not end where its length says",
        ),
        (
            b"$99999\r\n",
            "a value has more than 10000 bytes, which are read at most",
        ),
        (
            b"*9999\r\n",
            "a value has more than 10000 bytes, which are read at most",
        ),
        (
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            "values are within each other more than 8 deep",
        ),
    ] {
        assert_eq!(extent(bytes, MAX).unwrap_err().to_string(), why);
    }
}
