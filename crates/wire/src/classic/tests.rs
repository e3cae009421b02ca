use std::net::SocketAddr;

use proptest::prelude::*;

use super::objects::{NotObjects, ObjectBuffer};
use super::texts::{Piece, TextBuffer};
use super::*;
use crate::payload::{self, Header, SenderId};

/// Cuts `stream` behind each of `cuts`, in turn.
fn split<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks.push(rest);
    chunks
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let cut = prop_oneof![0_usize..4, 0_usize..120];
    proptest::collection::vec(cut, 0..200)
}

// Objects

type Read = Vec<Result<Vec<u8>, NotObjects>>;

fn objects(max_object_bytes: usize, chunks: &[&[u8]]) -> (Read, usize) {
    let mut buffer = ObjectBuffer::new(max_object_bytes);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut rest = buffer.feed(chunk);
        while let Some(object) = rest.next() {
            seen.push(object.map(<[u8]>::to_vec));
        }
        assert!(buffer.pending_bytes() < max_object_bytes.max(1));
    }
    (seen, buffer.pending_bytes())
}

#[test]
#[rustfmt::skip] // a sentence a row
fn objects_are_cut_at_their_braces() {
    let too_long = NotObjects::TooLong { max_object_bytes: 24 };
    let stray = |byte| Some(NotObjects::Stray(byte));
    /// A sentence, a stream, the objects in it, the error behind them, the bytes of half a one.
    type Case = (&'static str, &'static str, &'static [&'static str], Option<NotObjects>, usize);
    let cases: &[Case] = &[
        ("nothing", "", &[], None, 0),
        ("white space alone", " \r\n\t", &[], None, 0),
        ("one", "{}", &["{}"], None, 0),
        ("joined", "{}{\"a\":1}", &["{}", "{\"a\":1}"], None, 0),
        ("with white space between", " {}\n{} ", &["{}", "{}"], None, 0),
        ("braces in strings", r#"{"}":"{"}{}"#, &[r#"{"}":"{"}"#, "{}"], None, 0),
        ("quotes escaped", r#"{"\"}":"\\"}{}"#, &[r#"{"\"}":"\\"}"#, "{}"], None, 0),
        ("nested", r#"{"a":{"b":[{}]}}{}"#, &[r#"{"a":{"b":[{}]}}"#, "{}"], None, 0),
        ("unfinished", "{}{\"a", &["{}"], None, 3),
        ("an array", "[{}]", &[], stray(b'['), 0),
        ("garbage", "garbage", &[], stray(b'g'), 0),
        ("garbage behind an object", "{}x{}", &["{}"], stray(b'x'), 0),
        ("garbage within", "{oops", &[], stray(b'o'), 0),
        ("a closing brace first", "}{}", &[], stray(b'}'), 0),
        ("a line end in a string", "{\"a\n\":1}", &[], stray(b'\n'), 0),
        ("no ASCII outside strings", "{é", &[], stray(0xc3), 0),
        ("as long as may be", "{\"a\":\"6789012345678901\"}", &["{\"a\":\"6789012345678901\"}"], None, 0),
        ("a byte longer", "{\"a\":\"67890123456789012\"}", &[], Some(too_long), 0),
        ("a byte longer and no end", "{\"a\":\"678901234567890123", &[], Some(too_long), 0),
        ("white space counts for none", "{}                          {}", &["{}", "{}"], None, 0),
    ];
    for (sentence, stream, expected, error, pending) in cases {
        let mut expected: Read = expected.iter().map(|o| Ok(o.as_bytes().to_vec())).collect();
        expected.extend(error.map(Err));
        let expected = (expected, *pending);
        let stream = stream.as_bytes();
        assert_eq!(objects(24, &[stream]), expected, "{sentence}");
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(objects(24, &bytewise), expected, "{sentence}, byte by byte");
    }
}

#[test]
fn nothing_comes_after_an_error() {
    let mut buffer = ObjectBuffer::new(24);
    let mut first = buffer.feed(b"x{}");
    assert_eq!(first.next(), Some(Err(NotObjects::Stray(b'x'))));
    assert_eq!(first.next(), None);
    assert_eq!(buffer.feed(b"{}").next(), None);
}

#[test]
fn an_array_is_no_publish_though_a_struct_could_be_read_from_it() {
    assert!(decode_publish(br#"["a","b"]"#).is_err());
    assert!(decode_publish(br#"{"client_ip":"a"}"#).is_err());
    assert!(decode_publish(br#"{"message":"a","message":"b"}"#).is_err());
    assert!(decode_publish(b"{\"message\":\"\xff\"}").is_err());
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_read_however_it_is_split(
        sent in proptest::collection::vec((any::<String>(), any::<String>()), 0..8),
        space in "[ \r\n\t]{0,3}",
        cuts in cuts(),
    ) {
        let mut stream = Vec::new();
        for (client_ip, message) in &sent {
            encode_publish(&mut stream, client_ip, message);
            stream.extend_from_slice(space.as_bytes());
        }
        let (read, pending) = objects(1 << 16, &split(&stream, &cuts));
        prop_assert_eq!(pending, 0);
        prop_assert_eq!(read.len(), sent.len());
        for (object, (client_ip, message)) in read.iter().zip(&sent) {
            let publish = decode_publish(object.as_ref().unwrap()).unwrap();
            prop_assert_eq!(publish.client_ip.as_deref(), Some(&**client_ip));
            prop_assert_eq!(&*publish.message, &**message);
        }
    }

    #[test]
    fn any_split_of_any_input_reads_the_same(
        stream in r#"([{}\[\]",:\\ a1tx]|\{"a":[0-9]\}){0,40}"#,
        max_object_bytes in 1_usize..30,
        cuts in cuts(),
    ) {
        let whole = objects(max_object_bytes, &[stream.as_bytes()]);
        let in_parts = objects(max_object_bytes, &split(stream.as_bytes(), &cuts));
        prop_assert_eq!(in_parts, whole);
    }

    #[test]
    fn a_publish_in_any_json_that_serde_writes_is_cut_whole(
        message in any::<String>(),
        other in proptest::collection::vec(any::<Option<f64>>(), 0..4),
    ) {
        let value = serde_json::json!({"message": message, "x": [other, {"y": true, "z": [false]}]});
        let object = serde_json::to_vec_pretty(&value).unwrap();
        let (read, _) = objects(1 << 16, &[&object]);
        prop_assert_eq!(read, [Ok(object.clone())]);
        prop_assert_eq!(&*decode_publish(&object).unwrap().message, &*message);
    }
}

// Texts

/// A piece that outlives its buffer.
#[derive(Debug, Clone, PartialEq)]
enum Cut {
    Ack(SocketAddr),
    Relay(SocketAddr, Vec<u8>),
    RelayBegins(SocketAddr),
    Text(Vec<u8>),
}

const MAX_MESSAGE_BYTES: usize = 300;

/// The pieces of a stream, texts in a row as one.
fn pieces(chunks: &[&[u8]]) -> Vec<Cut> {
    let mut buffer = TextBuffer::new(MAX_MESSAGE_BYTES);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut ready = buffer.feed(chunk);
        while let Some(piece) = ready.next() {
            push(&mut seen, piece);
        }
        assert!(buffer.pending_bytes() <= MAX_MESSAGE_BYTES + 128);
    }
    let mut rest = buffer.finish();
    while let Some(piece) = rest.next() {
        push(&mut seen, piece);
    }
    assert_eq!(buffer.pending_bytes(), 0);
    seen
}

fn push(seen: &mut Vec<Cut>, piece: Piece<'_>) {
    match (piece, seen.last_mut()) {
        (Piece::Text(more), Some(Cut::Text(text))) => text.extend_from_slice(more),
        (Piece::Text(text), _) => seen.push(Cut::Text(text.to_vec())),
        (Piece::Ack { by }, _) => seen.push(Cut::Ack(by)),
        (Piece::Relay { by, message }, _) => seen.push(Cut::Relay(by, message.to_vec())),
        (Piece::RelayBegins { by }, _) => seen.push(Cut::RelayBegins(by)),
    }
}

/// The stream that such pieces were cut from.
fn joined(pieces: &[Cut]) -> Vec<u8> {
    let mut stream = Vec::new();
    for piece in pieces {
        match piece {
            Cut::Ack(by) => encode_ack(&mut stream, &by.to_string()),
            Cut::Relay(by, message) => {
                let message = std::str::from_utf8(message).unwrap();
                encode_relay(&mut stream, &by.to_string(), message);
            }
            Cut::RelayBegins(by) => encode_relay(&mut stream, &by.to_string(), ""),
            Cut::Text(text) => stream.extend_from_slice(text),
        }
    }
    stream
}

fn load_message(k: u64, size: usize) -> Vec<u8> {
    let header = Header {
        run: 7,
        sender: SenderId(3),
        k,
        last: false,
        intended_ns: 1000 * k,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 42, &header, size);
    text
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>().prop_map(|mut address| {
        if let SocketAddr::V6(address) = &mut address {
            address.set_flowinfo(0); // an address as text has none
        }
        address
    })
}

/// What a server sends in a run of load messages.
fn load_texts() -> impl Strategy<Value = Vec<Cut>> {
    let ack = address().prop_map(Cut::Ack);
    let relay = (address(), 1_u64..1000, 48_usize..=MAX_MESSAGE_BYTES)
        .prop_map(|(by, k, size)| Cut::Relay(by, load_message(k, size)));
    proptest::collection::vec(prop_oneof![ack, relay], 0..8)
}

fn a() -> SocketAddr {
    "127.0.0.1:5".parse().unwrap()
}

#[test]
fn texts_are_as_documented_to_the_byte() {
    let mut out = Vec::new();
    encode_ack(&mut out, "127.0.0.1:5");
    encode_relay(&mut out, "[::1]:6", "hello");
    let expected = "127.0.0.1:5: 已经收到信息[::1]:6 地址发送了请求消息：hello";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
#[rustfmt::skip] // a sentence a row
fn texts_are_cut_as_far_as_they_can_be() {
    let text = |text: &str| Cut::Text(text.as_bytes().to_vec());
    let load = String::from_utf8(load_message(1, 60)).unwrap();
    let relay = || Cut::Relay(a(), load.clone().into_bytes());
    let long = String::from_utf8(load_message(1, MAX_MESSAGE_BYTES + 1)).unwrap();
    let ack = "127.0.0.1:5: 已经收到信息";
    let begins = "127.0.0.1:5 地址发送了请求消息：";
    let cases: Vec<(&str, String, Vec<Cut>)> = vec![
        ("acks run together", [ack, ack].concat(), vec![Cut::Ack(a()), Cut::Ack(a())]),
        ("a load message ends where it says", [begins, &load, ack].concat(), vec![relay(), Cut::Ack(a())]),
        ("another goes on to the next text", [begins, "hello", ack].concat(), vec![Cut::RelayBegins(a()), text("hello"), Cut::Ack(a())]),
        ("a blank one", [begins, begins, &load].concat(), vec![Cut::RelayBegins(a()), relay()]),
        ("one that begins like a load message", [begins, "cb"].concat(), vec![Cut::RelayBegins(a()), text("cb")]),
        ("a load message cut short", [begins, &load[..50], begins, &load].concat(), vec![Cut::RelayBegins(a()), text(&load[..50]), relay()]),
        ("a load message cut short at the end", [begins, &load[..50]].concat(), vec![Cut::RelayBegins(a()), text(&load[..50])]),
        ("a load message that is too long", [begins, &long].concat(), vec![Cut::RelayBegins(a()), text(&long)]),
        ("a phrase without an address", [": 已经收到信息", ack].concat(), vec![text(": 已经收到信息"), Cut::Ack(a())]),
        ("digits before an address are none of it", ["message 1", ack].concat(), vec![text("message 1"), Cut::Ack(a())]),
        ("and then the cut is a digit off", "room 1 27.0.0.1:5: 已经收到信息".replace("1 2", "12"), vec![text("room "), Cut::Ack(a())]),
        ("free text", "anything 你好".to_owned(), vec![text("anything 你好")]),
    ];
    for (sentence, stream, expected) in cases {
        assert_eq!(pieces(&[stream.as_bytes()]), expected, "{sentence}");
    }
}

#[test]
fn a_text_is_ready_with_its_last_byte() {
    let mut stream = Vec::new();
    let load = load_message(9, 77);
    encode_ack(&mut stream, "127.0.0.1:5");
    let ack_bytes = stream.len();
    encode_relay(
        &mut stream,
        "127.0.0.1:5",
        std::str::from_utf8(&load).unwrap(),
    );
    let mut buffer = TextBuffer::new(MAX_MESSAGE_BYTES);
    for (at, byte) in stream.iter().enumerate() {
        let mut ready = buffer.feed(&[*byte]);
        let expected = match at + 1 {
            at if at == ack_bytes => Some(Piece::Ack { by: a() }),
            at if at == stream.len() => Some(Piece::Relay {
                by: a(),
                message: &load,
            }),
            _ => None,
        };
        assert_eq!(ready.next(), expected, "byte {at}");
    }
}

proptest! {
    #[test]
    fn the_texts_of_a_load_run_are_cut_exactly_however_they_are_split(
        sent in load_texts(),
        cuts in cuts(),
    ) {
        let stream = joined(&sent);
        prop_assert_eq!(pieces(&split(&stream, &cuts)), sent);
    }

    #[test]
    fn any_split_of_any_texts_is_cut_the_same_and_loses_nothing(
        parts in proptest::collection::vec(
            prop_oneof![
                3 => load_texts().prop_map(|texts| joined(&texts)),
                1 => any::<Vec<u8>>(),
                1 => any::<String>().prop_map(String::into_bytes),
                1 => Just(ACK.as_bytes().to_vec()),
                1 => Just(RELAY.as_bytes().to_vec()),
                1 => (0_usize..48).prop_map(|bytes| load_message(1, 48)[..bytes].to_vec()),
                1 => "[0-9.:]{1,12}".prop_map(String::into_bytes),
            ],
            0..8,
        ),
        cuts in cuts(),
    ) {
        let stream = parts.concat();
        let whole = pieces(&[&stream]);
        let in_parts = pieces(&split(&stream, &cuts));
        prop_assert_eq!(&in_parts, &whole);
        if whole.iter().all(|cut| matches!(cut, Cut::Text(_))) {
            prop_assert_eq!(joined(&whole), stream);
        }
    }

    #[test]
    fn no_character_is_torn_apart(text in any::<String>(), cuts in cuts()) {
        let mut buffer = TextBuffer::new(MAX_MESSAGE_BYTES);
        for chunk in split(text.as_bytes(), &cuts) {
            let mut ready = buffer.feed(chunk);
            while let Some(piece) = ready.next() {
                if let Piece::Text(part) = piece {
                    prop_assert!(std::str::from_utf8(part).is_ok());
                }
            }
        }
    }
}
