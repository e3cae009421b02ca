//! Frames, held against a second reader of them that is slow and simple.

use proptest::prelude::*;

use super::*;
use crate::frames::Frames;
use crate::frames::tests::pieces;

const MAX: usize = 100_000;

/// What is read of a stream that comes in these pieces.
fn read(pieces: &[&[u8]]) -> Vec<String> {
    let (mut frames, mut ops) = (Frames::default(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(frame) = frames.next(&mut input, |bytes| extent(bytes, MAX)) {
            ops.push(match frame {
                Ok(frame) => format!("{:?}", Op::read(frame)),
                Err(fault) => format!("{fault:?}"),
            });
        }
    }
    ops
}

/// The reader: whole lines as text, by words.
fn oracle(mut bytes: &[u8]) -> Vec<String> {
    let mut ops = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let text = String::from_utf8_lossy(line).into_owned();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let number = |word: &str| word.parse::<usize>().ok();
        let message = match words[..] {
            ["MSG", subject, sid, size] | ["MSG", subject, sid, _, size] => {
                Some((subject, number(sid), Some(0), number(size)))
            }
            ["HMSG", subject, sid, head, size] | ["HMSG", subject, sid, _, head, size] => {
                Some((subject, number(sid), number(head), number(size)))
            }
            _ => None,
        };
        if let Some((subject, Some(sid), Some(head), Some(size))) = message {
            if rest.len() < size + 2 {
                break;
            }
            let msg = Msg {
                subject: subject.as_bytes(),
                sid: sid as u64,
                payload: &rest[head..size],
            };
            ops.push(format!("{:?}", Op::Msg(msg)));
            bytes = &rest[size + 2..];
            continue;
        }
        let op = match words[..] {
            ["PING"] => Op::Ping,
            ["PONG"] => Op::Pong,
            ["+OK"] => Op::Ok,
            ["INFO", json] => Op::Info(json.as_bytes()),
            ["-ERR", said] => Op::Err(said.trim_matches('\'').as_bytes()),
            _ => Op::Unknown(text.trim_ascii_end().as_bytes()),
        };
        ops.push(format!("{op:?}"));
        bytes = rest;
    }
    ops
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    let subject = "[a-z.\\-]{1,12}";
    let message = (subject, 0..10_000_u64, any::<bool>(), payload.clone()).prop_map(
        |(subject, sid, reply, payload)| {
            let reply = if reply { " _INBOX.x" } else { "" };
            let size = payload.len();
            let head = format!("MSG {subject} {sid}{reply} {size}\r\n").into_bytes();
            [head, payload, b"\r\n".to_vec()].concat()
        },
    );
    let with_headers = ("[a-z]{1,5}", any::<bool>(), payload).prop_map(|(name, reply, payload)| {
        let headers = format!("NATS/1.0\r\n{name}: 1\r\n\r\n");
        let (head, size) = (headers.len(), headers.len() + payload.len());
        let reply = if reply { " r" } else { "" };
        let line = format!("HMSG s 7{reply} {head} {size}\r\n{headers}").into_bytes();
        [line, payload, b"\r\n".to_vec()].concat()
    });
    let line = prop::sample::select(vec![
        "PING\r\n",
        "PONG\r\n",
        "+OK\r\n",
        "INFO {\"a\":1}\r\n",
        "-ERR 'No'\r\n",
        "\r\n",
        "?\n",
    ]);
    prop_oneof![message, with_headers, line.prop_map(|line| line.into())]
}

proptest! {
    #[test]
    fn what_is_read_is_what_a_simple_reader_reads(
        frames in prop::collection::vec(frame(), 0..8),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        cut_off in 0..20_usize,
    ) {
        let stream = frames.concat();
        let stream = &stream[..stream.len().saturating_sub(cut_off)];
        let expected = oracle(stream);
        prop_assert_eq!(&read(&[stream]), &expected);
        prop_assert_eq!(&read(&pieces(stream, &cuts)), &expected);
    }

    /// Whatever comes is read the same however it is cut, and makes nothing panic.
    #[test]
    fn anything_is_read_the_same_however_it_is_cut(
        bytes in "([MSGH ]|MSG a 1 |HMSG a 1 2 |[0-9]|\\r\\n|\\n|x){0,30}",
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let bytes = bytes.as_bytes();
        prop_assert_eq!(read(&pieces(bytes, &cuts)), read(&[bytes]));
        let _ = sid_of_next(bytes);
    }
}

#[test]
fn what_is_no_nats_is_a_fault_that_says_why() {
    let fault = |bytes: &[u8]| extent(bytes, 100).unwrap_err().to_string();
    assert_eq!(
        fault(b"MSG a 1 200\r\n"),
        "a message has 215 bytes, and 100 are read at most"
    );
    for line in [
        "MSG a 1 x",
        "MSG a",
        "MSG a b 1",
        "HMSG a 1 9 2",
        "MSG a 1 b c 2",
    ] {
        let said = fault(format!("{line}\r\n").as_bytes());
        let expected = format!("the line of a message is not understood: `{line}`");
        assert_eq!(said, expected);
    }
    assert_eq!(
        fault(b"MSG a 1 2\r\nabcd"),
        "a message does not end where its line says: `MSG a 1 2`"
    );
    assert_eq!(fault(&[b'a'; 70_000]), "a line has more than 65536 bytes");
    assert_eq!(sid_of_next(b"MSG a 12 3\r\n"), Some(12));
    assert_eq!(sid_of_next(b"MSG a 12"), None);
    assert_eq!(sid_of_next(b"PING\r\n"), None);
}
