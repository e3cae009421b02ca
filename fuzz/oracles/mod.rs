//! What must hold of the wire codec for every input there is.
//!
//! An input is a socket's life. Its first line says how it is read: byte one is the line limit
//! less one, each byte after that the length of a chunk, over and over. If that line is empty,
//! the limit is the protocol's and everything comes in one read. The rest is the stream.
//!
//! - Framing is what F1 to F3 say, byte by byte; splitting and joining changes nothing (F5).
//! - The fast path, `take_if`, changes nothing either.
//! - A line is accepted just where a plain reading accepts it, and as the same frame. The plain
//!   reading: JSON by its grammar (`json.rs`), then the protocol's rules key by key, single
//!   values read as `serde_json::Value`. A `Value` of the whole line would not do: it keeps the
//!   last of two equal keys and says nothing, it gives up at 128 levels, and it looks into values
//!   that nobody asked for.
//! - An accepted frame, written and read again, is the same frame, in one line.
//! - A bad line costs itself: a good one after it is read.
//! - Texts and error details are no longer than their line, or than their limit.
//! - The classic dialect's two streams, objects in and texts out, are cut alike however they are
//!   split, and nothing of them is lost (`classic.rs`).
//! - The load message's reader takes any bytes, accepts only what its writer writes, and calls it
//!   altered when one byte of it is changed.

mod classic;
pub(crate) mod json;

use std::borrow::Cow;

use chatbench::wire::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer, LineTooLong};
use chatbench::wire::ndjson::{self, ClientFrame, Malformed, Publish, ServerFrame, rooms};
use chatbench::wire::payload::{self, NotIntact};
use serde_json::Value;

/// The run and seed of the corpus' load messages.
const RUN: u32 = 0x00c0_ffee;
const SEED: u64 = 42;

/// Runs the decoders over the input and nothing else, for oracles of time and memory.
#[allow(dead_code)] // the corpus test has no such oracle
pub(crate) fn decode_only(data: &[u8]) {
    let input = Input::of(data);
    let mut buffer = LineBuffer::new(input.max_line_bytes);
    for chunk in input.chunks() {
        let mut lines = buffer.feed(chunk);
        while let Some(Ok(line)) = lines.next() {
            let _ = ndjson::decode_publish(line);
            let _ = ndjson::decode_client(line);
            let _ = ndjson::decode_server(line);
            let _ = payload::decode(line, SEED, RUN);
        }
    }
    let _ = ndjson::decode_publish(input.stream);
    let _ = ndjson::decode_client(input.stream);
    let _ = ndjson::decode_server(input.stream);
    classic::decode_only(&input);
}

/// Holds the input against every oracle.
///
/// # Panics
/// Where one of them does not hold.
pub(crate) fn check(data: &[u8]) {
    let input = Input::of(data);
    let lines = check_framing(&input);
    check_take_if(&input, &lines);
    for line in lines.iter().flatten() {
        check_publish(line);
        check_client_frame(line);
        check_server_frame(line);
        check_payload(line);
        check_recovery(line);
    }
    // What framing would have cut, in one piece: the codec is safe without it.
    check_publish(input.stream);
    check_client_frame(input.stream);
    check_server_frame(input.stream);
    classic::check(&input);
}

struct Input<'a> {
    max_line_bytes: usize,
    chunk_bytes: &'a [u8],
    stream: &'a [u8],
}

impl<'a> Input<'a> {
    fn of(data: &'a [u8]) -> Self {
        let head_bytes = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
        let (head, stream) = data.split_at(head_bytes);
        let stream = stream.strip_prefix(b"\n").unwrap_or(stream);
        let (max_line_bytes, chunk_bytes) = match head {
            [] => (DEFAULT_MAX_LINE_BYTES, head),
            [limit, rest @ ..] => (usize::from(*limit) + 1, rest),
        };
        Self {
            max_line_bytes,
            chunk_bytes,
            stream,
        }
    }

    /// The stream, cut. An iterator, so that the oracle of memory sees the decoders' alone.
    fn chunks(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut lengths = self.chunk_bytes.iter().cycle();
        let mut left = self.stream;
        // A length of 0 is an empty read; nothing else may come of it for ever.
        let mut chunks_left = 2 * self.stream.len();
        std::iter::from_fn(move || {
            let wanted = match lengths.next() {
                Some(&bytes) if chunks_left > 0 => usize::from(bytes),
                _ => left.len(),
            };
            chunks_left = chunks_left.saturating_sub(1);
            let ended = left.is_empty();
            let (chunk, rest) = left.split_at(left.len().min(wanted));
            left = rest;
            (!ended).then_some(chunk)
        })
    }
}

type Lines = Vec<Result<Vec<u8>, LineTooLong>>;

fn read<'a>(max_line_bytes: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Lines, Vec<u8>) {
    let mut buffer = LineBuffer::new(max_line_bytes);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut lines = buffer.feed(chunk);
        while let Some(line) = lines.next() {
            seen.push(line.map(<[u8]>::to_vec));
        }
        assert!(buffer.pending_bytes() < max_line_bytes);
    }
    (seen, buffer.pending().to_vec())
}

fn check_framing(input: &Input<'_>) -> Lines {
    let expected = lines_by_the_rules(input.max_line_bytes, input.stream);
    let whole = read(input.max_line_bytes, [input.stream]);
    assert_eq!(whole, expected, "in one read");
    let split = read(input.max_line_bytes, input.chunks());
    assert_eq!(split, expected, "in chunks");
    let bytewise = read(input.max_line_bytes, input.stream.chunks(1));
    assert_eq!(bytewise, expected, "byte by byte");
    let stopping = read_stopping_at_each_line(input);
    assert_eq!(stopping, expected.0, "by a reader that stops at each line");
    expected.0
}

/// A reader that drops its iterator at each line and not at the end of a chunk. Chunks end where
/// lines do, so it misses nothing; a line that was lent must not come again with the next.
fn read_stopping_at_each_line(input: &Input<'_>) -> Lines {
    let mut buffer = LineBuffer::new(input.max_line_bytes);
    let mut seen = Vec::new();
    for chunk in input.chunks() {
        for part in chunk.split_inclusive(|&b| b == b'\n') {
            if let Some(line) = buffer.feed(part).next() {
                seen.push(line.map(<[u8]>::to_vec));
            }
        }
    }
    seen
}

/// F1, F2 and F3, one byte at a time.
fn lines_by_the_rules(max_line_bytes: usize, stream: &[u8]) -> (Lines, Vec<u8>) {
    let mut seen = Vec::new();
    let mut line = Vec::new();
    for &byte in stream {
        line.push(byte);
        if byte == b'\n' {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.iter().all(|b| b" \t\r".contains(b)) {
                seen.push(Ok(line.clone()));
            }
            line.clear();
        } else if line.len() == max_line_bytes {
            seen.push(Err(LineTooLong { max_line_bytes }));
            return (seen, Vec::new());
        }
    }
    (seen, line)
}

/// A receiver tries, before every line, whether it is the one some other receiver just decoded.
fn check_take_if(input: &Input<'_>, lines: &Lines) {
    for ending in ["\n", "\r\n"] {
        let mut expected = None::<Vec<u8>>;
        let mut seen = Vec::new();
        let mut buffer = LineBuffer::new(input.max_line_bytes);
        for chunk in input.chunks() {
            let mut rest = buffer.feed(chunk);
            loop {
                if let Some(whole) = &expected
                    && whole.len() <= input.max_line_bytes
                    && rest.take_if(whole)
                {
                    let line = &whole[..whole.len() - ending.len()];
                    seen.push(Ok(line.to_vec()));
                } else if let Some(line) = rest.next() {
                    // After an overrun the last good line is tried on: it must not be found.
                    if let Ok(line) = line {
                        expected = Some([line, ending.as_bytes()].concat());
                    }
                    seen.push(line.map(<[u8]>::to_vec));
                } else {
                    break;
                }
            }
        }
        assert_eq!(&seen, lines, "with take_if");
    }
}

fn check_publish(line: &[u8]) {
    match (ndjson::decode_publish(line), publish_by_the_rules(line)) {
        (Ok(decoded), Some(expected)) => {
            assert_eq!(decoded, expected);
            assert_is_object(line);
            assert_text_from(line, &decoded.message);
            if let Some(client_ip) = &decoded.client_ip {
                assert_text_from(line, client_ip);
            }
            let mut encoded = Vec::new();
            ndjson::encode_publish(&mut encoded, &decoded);
            assert_eq!(ndjson::decode_publish(only_line(&encoded)), Ok(decoded));
        }
        (Err(malformed), None) => {
            assert_detail(&malformed);
            assert_eq!(malformed.id, id_by_the_rules(line), "{}", malformed.detail);
        }
        (decoded, expected) => panic!("read as {decoded:?}, by the rules {expected:?}"),
    }
}

fn check_client_frame(line: &[u8]) {
    let decoded = match (ndjson::decode_client(line), client_frame_by_the_rules(line)) {
        (Ok(decoded), Some(expected)) => {
            assert_eq!(decoded, expected);
            decoded
        }
        (Err(malformed), None) => {
            assert_detail(&malformed);
            assert_eq!(malformed.id, id_by_the_rules(line), "{}", malformed.detail);
            assert_eq!(malformed.room, room_by_the_rules(line));
            return;
        }
        (decoded, expected) => panic!("read as {decoded:?}, by the rules {expected:?}"),
    };
    assert_is_object(line);
    let mut encoded = Vec::new();
    match &decoded {
        ClientFrame::Publish(publish) => {
            if let Some(room) = &publish.room {
                assert_text_from(line, room);
            }
            ndjson::encode_publish(&mut encoded, publish);
        }
        ClientFrame::Join { room, id } => {
            assert_text_from(line, room);
            rooms::encode_join(&mut encoded, room, *id);
        }
        ClientFrame::Leave { room, id } => {
            assert_text_from(line, room);
            rooms::encode_leave(&mut encoded, room, *id);
        }
    }
    assert_eq!(ndjson::decode_client(only_line(&encoded)), Ok(decoded));
}

fn check_server_frame(line: &[u8]) {
    match (ndjson::decode_server(line), server_frame_by_the_rules(line)) {
        (Ok(decoded), Some(expected)) => {
            assert_eq!(decoded, expected);
            assert_is_object(line);
            let mut encoded = Vec::new();
            match &decoded {
                ServerFrame::Welcome {
                    client_ip,
                    seq,
                    max_line,
                    protocol,
                } => {
                    assert_text_from(line, client_ip);
                    if *protocol != ndjson::PROTOCOL_VERSION {
                        return; // only this version's is written
                    }
                    ndjson::encode_welcome(&mut encoded, client_ip, *seq, *max_line);
                }
                ServerFrame::Ack { room, seq, id } => match room {
                    None => ndjson::encode_ack(&mut encoded, *seq, *id),
                    Some(room) => {
                        assert_text_from(line, room);
                        rooms::encode_ack(&mut encoded, room, *seq, *id);
                    }
                },
                ServerFrame::Relay {
                    room,
                    seq,
                    client_ip,
                    message,
                } => {
                    assert_text_from(line, client_ip);
                    assert_text_from(line, message);
                    match room {
                        None => ndjson::encode_relay(&mut encoded, *seq, client_ip, message),
                        Some(room) => {
                            assert_text_from(line, room);
                            rooms::encode_relay(&mut encoded, room, *seq, client_ip, message);
                        }
                    }
                }
                ServerFrame::Joined { room, seq, id } => {
                    assert_text_from(line, room);
                    rooms::encode_joined(&mut encoded, room, *seq, *id);
                }
                ServerFrame::Left { room, seq, id } => {
                    assert_text_from(line, room);
                    rooms::encode_left(&mut encoded, room, *seq, *id);
                }
                ServerFrame::Error {
                    room,
                    code,
                    detail,
                    id,
                } => {
                    assert_text_from(line, code);
                    match room {
                        None => ndjson::encode_error(&mut encoded, code, detail, *id),
                        Some(room) => {
                            assert_text_from(line, room);
                            rooms::encode_error(&mut encoded, room, code, detail, *id);
                        }
                    }
                }
                ServerFrame::Bye { seq } => ndjson::encode_bye(&mut encoded, *seq),
                ServerFrame::Unknown => return, // nobody writes one
            }
            assert_eq!(ndjson::decode_server(only_line(&encoded)), Ok(decoded));
        }
        (Err(malformed), None) => assert_detail(&malformed),
        (decoded, expected) => panic!("read as {decoded:?}, by the rules {expected:?}"),
    }
}

/// Section 6: after a malformed line the session goes on.
fn check_recovery(line: &[u8]) {
    let good = br#"{"message":"good","id":1}"#;
    let stream = [line, b"\n", good, b"\n"].concat();
    let mut buffer = LineBuffer::new(stream.len());
    let mut lines = buffer.feed(&stream);
    assert_eq!(
        lines.next(),
        Some(Ok(line.strip_suffix(b"\r").unwrap_or(line)))
    );
    let next = lines.next().expect("a line").expect("within the limit");
    let publish = ndjson::decode_publish(next).expect("a good line");
    assert_eq!((&*publish.message, publish.id), ("good", Some(1)));
}

fn check_payload(text: &[u8]) {
    if let Some(length) = payload::stated_length(text) {
        assert!((payload::HEADER_BYTES..=payload::MAX_BYTES).contains(&length));
    }
    let Ok(header) = payload::decode(text, SEED, RUN) else {
        return;
    };
    if header.run != RUN {
        return;
    }
    let mut encoded = Vec::new();
    payload::encode(&mut encoded, SEED, &header, text.len());
    assert_eq!(encoded, text, "only what the writer writes is intact");
    for (at, &intact) in text.iter().enumerate() {
        for byte in [b' ', b'A', b'B'].into_iter().filter(|&b| b != intact) {
            encoded[at] = byte;
            let altered = payload::decode(&encoded, SEED, RUN);
            assert_eq!(altered, Err(NotIntact::Altered), "{byte} at {at}");
        }
        encoded[at] = intact;
    }
}

fn assert_is_object(line: &[u8]) {
    let first = line.iter().find(|b| !b" \t\r\n".contains(b));
    assert_eq!(first, Some(&b'{'), "F4");
}

/// Decoded text takes no more than its line did, and a copy only where there are escapes.
#[allow(clippy::ptr_arg)] // whether it was copied is the question
fn assert_text_from(line: &[u8], text: &Cow<'_, str>) {
    assert!(text.len() <= line.len());
    let escapes = line.contains(&b'\\');
    assert!(
        escapes || matches!(text, Cow::Borrowed(_)),
        "copied: {text:?}"
    );
}

fn assert_detail(malformed: &Malformed) {
    let detail = &malformed.detail;
    assert!(!detail.is_empty());
    assert!(detail.len() <= ndjson::MAX_DETAIL_BYTES, "{detail}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
}

fn only_line(encoded: &[u8]) -> &[u8] {
    let line = encoded.strip_suffix(b"\n").expect("an LF at the end");
    assert!(!line.contains(&b'\n'), "one line");
    line
}

/// One JSON object, read without any opinion on its keys. Keys are text; values are looked at
/// when they are asked for.
struct Object<'a> {
    pairs: Vec<(String, &'a [u8])>,
}

impl<'a> Object<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(line).ok()?;
        let pairs = json::object(line)?
            .into_iter()
            .map(|(key, value)| Some((serde_json::from_slice::<String>(key).ok()?, value)))
            .collect::<Option<_>>()?;
        Some(Self { pairs })
    }

    /// What the key holds: `Ok(None)` if it is absent, `Err` if it comes twice or holds a value
    /// that `Value` does not take.
    fn get(&self, key: &str) -> Result<Option<Value>, ()> {
        let mut values = self.pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| v);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => serde_json::from_slice(value).map(Some).map_err(drop),
            (Some(_), Some(_)) => Err(()),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ()> {
        match self.get(key)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(()),
        }
    }

    fn integer(&self, key: &str) -> Result<Option<u64>, ()> {
        match self.get(key)? {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(()),
        }
    }

    fn id(&self) -> Result<Option<u64>, ()> {
        match self.integer("id")? {
            Some(id) if id > ndjson::MAX_ID => Err(()),
            id => Ok(id),
        }
    }
}

fn id_by_the_rules(line: &[u8]) -> Option<u64> {
    Object::of(line)?.id().ok()?
}

fn publish_by_the_rules(line: &[u8]) -> Option<Publish<'static>> {
    let object = Object::of(line)?;
    Some(Publish {
        message: object.text("message").ok()??.into(),
        id: object.id().ok()?,
        client_ip: object.text("client_ip").ok()?.map(Cow::Owned),
        room: None,
    })
}

/// The only one of the keys that say a client frame's kind, if there is only one.
fn kind_of(object: &Object<'_>) -> Option<&'static str> {
    let mut kinds = ["message", "join", "leave"].into_iter().flat_map(|kind| {
        let same = object.pairs.iter().filter(move |(key, _)| key == kind);
        same.map(move |_| kind)
    });
    let kind = kinds.next()?;
    kinds.next().is_none().then_some(kind)
}

fn client_frame_by_the_rules(line: &[u8]) -> Option<ClientFrame<'static>> {
    let object = Object::of(line)?;
    let kind = kind_of(&object)?;
    let text = object.text(kind).ok()??.into();
    let id = object.id().ok()?;
    Some(match kind {
        "join" => ClientFrame::Join { room: text, id },
        "leave" => ClientFrame::Leave { room: text, id },
        _ => ClientFrame::Publish(Publish {
            message: text,
            id,
            client_ip: object.text("client_ip").ok()?.map(Cow::Owned),
            room: object.text("room").ok()?.map(Cow::Owned),
        }),
    })
}

/// The room that a line which is no frame names.
fn room_by_the_rules(line: &[u8]) -> Option<String> {
    let object = Object::of(line)?;
    let key = match kind_of(&object)? {
        "message" => "room",
        kind => kind,
    };
    object.text(key).ok()?
}

fn server_frame_by_the_rules(line: &[u8]) -> Option<ServerFrame<'static>> {
    let object = Object::of(line)?;
    let frame = match object.text("type").ok()??.as_str() {
        "welcome" => ServerFrame::Welcome {
            protocol: object.integer("protocol").ok()??,
            client_ip: object.text("client_ip").ok()??.into(),
            seq: object.integer("seq").ok()??,
            max_line: object.integer("max_line").ok()??,
        },
        "ack" => ServerFrame::Ack {
            room: object.text("room").ok()?.map(Cow::Owned),
            seq: object.integer("seq").ok()??,
            id: object.id().ok()?,
        },
        "relay" => ServerFrame::Relay {
            room: object.text("room").ok()?.map(Cow::Owned),
            seq: object.integer("seq").ok()??,
            client_ip: object.text("client_ip").ok()??.into(),
            message: object.text("message").ok()??.into(),
        },
        "joined" => ServerFrame::Joined {
            room: object.text("room").ok()??.into(),
            seq: object.integer("seq").ok()??,
            id: object.id().ok()?,
        },
        "left" => ServerFrame::Left {
            room: object.text("room").ok()??.into(),
            seq: object.integer("seq").ok()??,
            id: object.id().ok()?,
        },
        "error" => ServerFrame::Error {
            room: object.text("room").ok()?.map(Cow::Owned),
            code: object.text("code").ok()??.into(),
            detail: object.text("detail").ok()?.unwrap_or_default().into(),
            id: object.id().ok()?,
        },
        "bye" => ServerFrame::Bye {
            seq: object.integer("seq").ok()??,
        },
        _ => ServerFrame::Unknown,
    };
    Some(frame)
}
