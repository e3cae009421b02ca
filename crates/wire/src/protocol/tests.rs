use proptest::prelude::*;

use super::*;
use crate::payload::{self, Header, SenderId};
use crate::seen::{GluedFate, RawFrame};
use crate::{classic as classic_wire, ndjson as ndjson_wire};

const ADDRESS: &str = "127.0.0.1:7";
const MAX_BYTES: usize = 65_536;

/// What a target says.
#[derive(Debug, Clone)]
enum Says {
    Welcome,
    /// A load message of so many bytes.
    Load(usize),
    /// A text of somebody else's.
    Text(String),
    Ack,
    Error,
    Bye,
    /// The client is in this room from here on, or no longer.
    Joined(String),
    Left(String),
    /// An ack in this room.
    AckIn(String),
    /// A load message in this room, of so many bytes.
    LoadIn(String, usize),
    /// Something that is no frame.
    Rubbish(String),
}

fn says() -> impl Strategy<Value = Says> {
    let text = "[a-z\u{e9}\"\\\\ ]{0,40}";
    prop_oneof![
        1 => Just(Says::Welcome),
        4 => (payload::HEADER_BYTES..300).prop_map(Says::Load),
        2 => text.prop_map(Says::Text),
        2 => Just(Says::Ack),
        1 => Just(Says::Error),
        1 => Just(Says::Bye),
        1 => room().prop_map(Says::Joined),
        1 => room().prop_map(Says::Left),
        1 => room().prop_map(Says::AckIn),
        2 => (room(), payload::HEADER_BYTES..300).prop_map(|(room, bytes)| Says::LoadIn(room, bytes)),
        1 => text.prop_map(Says::Rubbish),
    ]
}

/// Rooms of the run, one of which has a name that needs escapes; and a room that is none of them.
const ROOMS: [&str; 3] = ["lobby", "a \"b\" \\ c", "elsewhere"];

fn room() -> impl Strategy<Value = String> {
    proptest::sample::select(&ROOMS[..]).prop_map(str::to_owned)
}

fn open(protocol: Protocol, out: &mut Vec<u8>) -> AnyConn {
    let opening = Opening {
        local: ADDRESS.parse().ok(),
        rooms: Arc::new(RoomNames::new(ROOMS[..2].iter().copied())),
        ..Opening::reading(MAX_BYTES)
    };
    protocol.open(&opening, out)
}

fn load(bytes: usize) -> String {
    let header = Header {
        run: 1,
        sender: SenderId(2),
        k: 3,
        last: false,
        intended_ns: 4,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 5, &header, bytes);
    String::from_utf8(text).unwrap()
}

/// The bytes, and how many observations they are.
fn stream(protocol: Protocol, all: &[Says]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut frames = 0;
    for (seq, says) in all.iter().enumerate() {
        let (seq, before) = (seq as u64, out.len());
        match (protocol, says) {
            (Protocol::Ndjson, Says::Welcome) => {
                ndjson_wire::encode_welcome(&mut out, ADDRESS, seq, 1_000);
            }
            (Protocol::Ndjson, Says::Load(bytes)) => {
                ndjson_wire::encode_relay(&mut out, seq, ADDRESS, &load(*bytes));
            }
            (Protocol::Ndjson, Says::Text(text)) => {
                ndjson_wire::encode_relay(&mut out, seq, ADDRESS, text);
            }
            (Protocol::Ndjson, Says::Ack) => ndjson_wire::encode_ack(&mut out, seq, Some(seq)),
            (Protocol::Ndjson, Says::Error) => {
                ndjson_wire::encode_error(&mut out, "malformed", "no", Some(seq));
            }
            (Protocol::Ndjson, Says::Bye) => ndjson_wire::encode_bye(&mut out, seq),
            (Protocol::Ndjson, Says::Joined(room)) => {
                ndjson_wire::rooms::encode_joined(&mut out, room, seq, None);
            }
            (Protocol::Ndjson, Says::Left(room)) => {
                ndjson_wire::rooms::encode_left(&mut out, room, seq, None);
            }
            (Protocol::Ndjson, Says::AckIn(room)) => {
                ndjson_wire::rooms::encode_ack(&mut out, room, seq, Some(seq));
            }
            (Protocol::Ndjson, Says::LoadIn(room, bytes)) => {
                ndjson_wire::rooms::encode_relay(&mut out, room, seq, ADDRESS, &load(*bytes));
            }
            (Protocol::Ndjson, Says::Rubbish(text)) => {
                if !text.trim().is_empty() {
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'\n');
                }
            }
            (Protocol::Classic, Says::Load(bytes)) => {
                classic_wire::encode_relay(&mut out, ADDRESS, &load(*bytes));
            }
            (Protocol::Classic, Says::Text(text)) => {
                classic_wire::encode_relay(&mut out, ADDRESS, text);
            }
            (Protocol::Classic, Says::Ack) => classic_wire::encode_ack(&mut out, ADDRESS),
            // Of bare text nobody knows how many there are.
            (Protocol::Classic, _) => {}
        }
        frames += usize::from(out.len() > before);
    }
    (out, frames)
}

/// What a connection makes of a stream that is read in these chunks.
fn observations<'a>(
    protocol: Protocol,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Vec<u8>) {
    let mut out = Vec::new();
    let mut conn = open(protocol, &mut out);
    let mut seen = Vec::new();
    for mut chunk in chunks {
        while let Some(one) = conn.next(&mut chunk, &mut out) {
            seen.push(format!("{one:?}"));
        }
    }
    while let Some(one) = conn.finish() {
        seen.push(format!("{one:?}"));
    }
    assert_eq!(out, b"", "neither protocol answers what it reads");
    (seen, conn.unread().to_vec())
}

proptest! {
    /// Each frame is one observation, and it does not matter how a stream is cut.
    #[test]
    fn a_stream_is_the_same_observations_however_it_is_cut(
        all in proptest::collection::vec(says(), 0..20),
        cuts in proptest::collection::vec(1_usize..90, 0..60),
        tail in "[a-z{\"]{0,20}",
    ) {
        for protocol in Protocol::ALL {
            let (mut bytes, frames) = stream(protocol, &all);
            if protocol == Protocol::Ndjson {
                bytes.extend_from_slice(tail.as_bytes());
            }
            let whole = observations(protocol, [&bytes[..]]);
            prop_assert_eq!(whole.0.len(), frames, "{:?}", whole);
            let mut chunks = Vec::new();
            let mut rest = &bytes[..];
            for cut in &cuts {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            prop_assert_eq!(&observations(protocol, chunks), &whole);
            prop_assert_eq!(&observations(protocol, bytes.chunks(1)), &whole);
        }
    }

    /// What is due is taken by comparison exactly where it would have been decoded as that.
    #[test]
    fn what_is_compared_is_what_would_be_decoded(
        bytes in payload::HEADER_BYTES..300,
        others in proptest::collection::vec(says(), 0..4),
        cut in 0_usize..400,
    ) {
        for protocol in Protocol::ALL {
            let (due, _) = stream(protocol, &[Says::Load(bytes)]);
            let (rest, _) = stream(protocol, &others);
            let bytes = [&due[..], &rest].concat();
            let mut conn = open(protocol, &mut Vec::new());
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let due = Due { frame: &due, text: 0..0 };
            let mut input = first;
            let whole = conn.take_if(&mut input, &due);
            prop_assert_eq!(whole, first.len() >= due.frame.len());
            let mut seen = Vec::new();
            for mut input in [input, second] {
                while let Some(one) = conn.next(&mut input, &mut Vec::new()) {
                    seen.push(format!("{one:?}"));
                }
            }
            while let Some(one) = conn.finish() {
                seen.push(format!("{one:?}"));
            }
            let (mut all, _) = observations(protocol, [&bytes[..]]);
            if whole {
                prop_assert!(all.remove(0).contains("Relay"));
            }
            prop_assert_eq!(seen, all);
        }
    }

    /// The room that the first bytes of a message tell is the one that decoding it gives.
    #[test]
    fn the_room_of_what_comes_next_is_told_by_its_first_bytes(says in says()) {
        let (bytes, frames) = stream(Protocol::Ndjson, std::slice::from_ref(&says));
        let mut conn = open(Protocol::Ndjson, &mut Vec::new());
        let told = conn.room_of_next(&bytes);
        let mut input = &bytes[..];
        let decoded = conn.next(&mut input, &mut Vec::new()).map(|(room, _)| room);
        prop_assert_eq!(decoded.is_some(), frames > 0);
        match says {
            // Where the name has escapes, it is not looked for.
            Says::LoadIn(room, _) => {
                let is_plain = !room.contains('"');
                let expected = if is_plain { decoded } else { Some(RoomId::UNNAMED) };
                prop_assert_eq!(Some(told), expected);
            }
            _ => prop_assert_eq!(told, RoomId::UNNAMED),
        }
    }

    #[test]
    fn rubbish_never_panics(protocol in 0_usize..2, chunks: Vec<Vec<u8>>) {
        let protocol = Protocol::ALL[protocol];
        observations(protocol, chunks.iter().map(|chunk| &chunk[..]));
    }
}

#[test]
fn schemes_are_found_and_nothing_else_is() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::of_scheme(&protocol.to_string()), Some(protocol));
        assert_eq!(Protocol::from(protocol.dialect()), protocol);
    }
    assert_eq!(Protocol::of_scheme("nats"), None);
}

/// Each frame of a named room is seen in it, and what is sent names it.
#[test]
fn frames_that_name_a_room_are_of_that_room() {
    let mut conn = open(Protocol::Ndjson, &mut Vec::new());
    let [lobby, quoted] = [RoomId(1), RoomId(2)];
    let mut out = Vec::new();
    conn.join(&mut out, quoted);
    conn.leave(&mut out, lobby);
    let publish = Publishing {
        room: lobby,
        text: "hello",
        id: 7,
        claims: None,
    };
    assert_eq!(conn.publish(&mut out, publish), None);
    let sent = "{\"join\":\"a \\\"b\\\" \\\\ c\"}\n{\"leave\":\"lobby\"}\n\
                {\"message\":\"hello\",\"id\":7,\"room\":\"lobby\"}\n";
    assert_eq!(String::from_utf8(out).unwrap(), sent);

    let error = br#"{"type":"error","room":"lobby","code":"not-joined","id":7}"#;
    let frames: [(&[u8], RoomId); 6] = [
        (br#"{"type":"joined","room":"lobby","seq":3}"#, lobby),
        (br#"{"type":"left","room":"a \"b\" \\ c","seq":3}"#, quoted),
        (br#"{"type":"ack","room":"lobby","seq":4,"id":7}"#, lobby),
        (br#"{"type":"ack","room":"other","seq":4}"#, RoomId::UNKNOWN),
        (br#"{"type":"ack","seq":4}"#, RoomId::UNNAMED),
        (error, lobby),
    ];
    for (frame, room) in frames {
        let line = [frame, b"\n"].concat();
        let seen = conn.next(&mut &line[..], &mut Vec::new());
        assert_eq!(seen.map(|(room, _)| room), Some(room), "{line:?}");
    }
}

/// Frames of named rooms that a script sends byte for byte are known as such, and are text like any
/// other to a target that has no rooms.
#[test]
fn what_a_script_sends_to_a_room_is_not_followed() {
    let frames = b"{\"join\":\"lobby\"}\n{\"message\":\"hello\",\"room\":\"lobby\"}\n";
    let sent = |protocol| open(protocol, &mut Vec::new()).raw(&mut Vec::new(), frames, MAX_BYTES);
    let in_rooms = sent(Protocol::Ndjson);
    assert_eq!(in_rooms.frames, [RawFrame::InRoom, RawFrame::InRoom]);
    assert!(!in_rooms.is_right);
    let [join, publish] = &sent(Protocol::Classic).frames[..] else {
        panic!("two objects");
    };
    assert!(matches!(join, RawFrame::Refused(_)));
    assert_eq!(*publish, RawFrame::Publish("hello".to_owned()));
}

/// What a script sends byte for byte, and its next publish behind that.
#[test]
fn what_is_sent_after_half_a_frame_runs_together_with_it() {
    let publish = |conn: &mut AnyConn| {
        let publish = Publishing {
            room: RoomId::UNNAMED,
            text: "hello",
            id: 7,
            claims: None,
        };
        conn.publish(&mut Vec::new(), publish)
    };
    let publish_line = b"{\"message\":\"x\"}\n";
    for (protocol, raw, right, unfinished, glued) in [
        (Protocol::Ndjson, &publish_line[..], true, false, None),
        (Protocol::Ndjson, b"rubbish\n", false, false, None),
        (
            Protocol::Ndjson,
            b"rubb",
            false,
            true,
            Some(GluedFate::Refused),
        ),
        (
            Protocol::Ndjson,
            b"  ",
            false,
            true,
            Some(GluedFate::Survives),
        ),
        (Protocol::Classic, b"{\"message\":\"x\"}", true, false, None),
        (
            Protocol::Classic,
            b"{\"mess",
            false,
            true,
            Some(GluedFate::Swallowed),
        ),
    ] {
        let mut conn = protocol.open(&Opening::reading(MAX_BYTES), &mut Vec::new());
        let mut out = Vec::new();
        let sent = conn.raw(&mut out, raw, MAX_BYTES);
        let shown = String::from_utf8_lossy(raw);
        assert_eq!(out, raw);
        assert_eq!(
            (sent.is_right, sent.unfinished),
            (right, unfinished),
            "{shown}"
        );
        let glued_fate = publish(&mut conn).map(|glued| glued.fate);
        assert_eq!(glued_fate, glued, "{protocol} {shown}");
    }
    let mut conn = Protocol::Ndjson.open(&Opening::reading(MAX_BYTES), &mut Vec::new());
    let sent = conn.raw(
        &mut Vec::new(),
        b"{\"message\":1}\n{\"message\":\"a\"}\n",
        MAX_BYTES,
    );
    let refused = RawFrame::Refused(vec!["{\"message\":1}".to_owned()]);
    assert_eq!(sent.frames, [refused, RawFrame::Publish("a".to_owned())]);
}

/// Each says which, and with a word for whoever named the address.
#[test]
fn a_target_that_speaks_something_else_is_known_by_what_it_says_first() {
    let mut welcome = Vec::new();
    ndjson_wire::encode_welcome(&mut welcome, ADDRESS, 9, 1_000);
    let mut relay = Vec::new();
    classic_wire::encode_relay(&mut relay, ADDRESS, "x");
    let wrong = |protocol: Protocol, heard: &[u8], ended| {
        protocol
            .wrong(heard, ended, 8)
            .map(|wrong| wrong.to_string())
    };
    assert_eq!(wrong(Protocol::Ndjson, b"{\"type\":", false), None);
    for (protocol, heard, ended, expected) in [
        (
            Protocol::Ndjson,
            &relay[..],
            true,
            "it speaks the classic dialect",
        ),
        (
            Protocol::Ndjson,
            &welcome,
            false,
            "its welcome stands at number 9",
        ),
        (
            Protocol::Ndjson,
            b"HTTP/1.1 400\r\n",
            false,
            "it is no ndjson broadcast server",
        ),
        (
            Protocol::Ndjson,
            b"half",
            true,
            "its first line has no end: 4 bytes",
        ),
        (
            Protocol::Ndjson,
            b"{\"type\":\"error\",\"code\":\"server-full\",\"detail\":\"no\"}\n",
            false,
            "it answered with the error `server-full`: no",
        ),
        (
            Protocol::Classic,
            &welcome,
            false,
            "it speaks the ndjson dialect",
        ),
        (
            Protocol::Classic,
            b"hello",
            false,
            "it is no classic broadcast server",
        ),
    ] {
        let said = wrong(protocol, heard, ended).unwrap();
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(wrong(Protocol::Classic, &relay, false), None);
}
