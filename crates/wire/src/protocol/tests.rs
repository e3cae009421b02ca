use proptest::prelude::*;

use super::*;
use crate::payload::{self, Header, SenderId};
use crate::seen::{GluedFate, RawFrame};
use crate::websocket::{Asked, Handshake, Kind, Received, Sender, Server};
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
    let mut conn = protocol.open(&opening, out);
    if protocol == Protocol::WebSocket {
        let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut &out[..]) else {
            panic!("{}", String::from_utf8_lossy(out));
        };
        out.clear();
        assert!(!conn.is_ready());
        let mut answer = Vec::new();
        upgrade.accept(None, &mut answer);
        assert_eq!(conn.next(&mut &answer[..], out), None);
        assert!(conn.is_ready());
    }
    conn
}

/// The frames of lines, as a WebSocket server sends them.
fn messages(lines: &[u8]) -> Vec<u8> {
    let (mut server, mut out) = (Sender::of_server(), Vec::new());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        server.send(&mut out, Kind::Text, &line[..line.len() - 1]);
    }
    out
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
    if protocol == Protocol::WebSocket {
        let (lines, frames) = stream(Protocol::Ndjson, all);
        return (messages(&lines), frames);
    }
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
            (Protocol::Classic | Protocol::WebSocket, _) => {}
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
    assert_eq!(out, b"", "no protocol answers what was said here");
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
    fn the_room_of_what_comes_next_is_told_by_its_first_bytes(
        says in says(),
        over_websocket in any::<bool>(),
    ) {
        let protocol = if over_websocket { Protocol::WebSocket } else { Protocol::Ndjson };
        let (bytes, frames) = stream(protocol, std::slice::from_ref(&says));
        let mut conn = open(protocol, &mut Vec::new());
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
    fn rubbish_never_panics(protocol in 0_usize..3, chunks: Vec<Vec<u8>>) {
        let protocol = Protocol::ALL[protocol];
        let mut out = Vec::new();
        let mut conn = open(protocol, &mut out);
        for chunk in &chunks {
            let mut input = &chunk[..];
            while conn.next(&mut input, &mut out).is_some() {}
        }
        while conn.finish().is_some() {}
    }
}

#[test]
fn schemes_are_found_and_nothing_else_is() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::of_scheme(&protocol.to_string()), Some(protocol));
    }
    for dialect in [Dialect::Ndjson, Dialect::Classic] {
        assert_eq!(Protocol::from(dialect).dialect(), dialect);
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

/// What a WebSocket server reads of the client's bytes.
fn heard_by_server(mut bytes: &[u8]) -> Vec<String> {
    let (mut server, mut heard) = (Server::new(MAX_BYTES), Vec::new());
    while let Some(received) = server.next(&mut bytes, &mut Vec::new()) {
        heard.push(match received {
            Received::Message {
                kind: Kind::Text,
                payload,
                ..
            } => String::from_utf8_lossy(payload).into_owned(),
            other => format!("{other:?}"),
        });
    }
    heard
}

/// Over WebSocket the same is sent as over ndjson, each frame a text message and without its LF.
#[test]
fn what_is_sent_over_websocket_is_a_message_per_frame() {
    let mut conn = open(Protocol::WebSocket, &mut Vec::new());
    let mut out = Vec::new();
    let lobby = RoomId(1);
    conn.join(&mut out, lobby);
    conn.join(&mut out, RoomId::UNNAMED);
    let publish = Publishing {
        room: lobby,
        text: "hello",
        id: 7,
        claims: None,
    };
    assert_eq!(conn.publish(&mut out, publish), None);
    conn.leave(&mut out, lobby);
    let raw = b"{\"message\":\"x\"}\r\n\nrubbish\n\xff\n{\"join\":\"a\"}";
    let sent = conn.raw(&mut out, raw, MAX_BYTES);
    let refused = |text: &[&str]| RawFrame::Refused(text.iter().map(|&t| t.to_owned()).collect());
    let expected = [
        RawFrame::Publish("x".to_owned()),
        refused(&["rubbish"]),
        refused(&["\u{fffd}"]),
    ];
    assert_eq!(sent.frames, expected);
    assert!(!sent.is_right && sent.unfinished);
    let glued = conn.publish(&mut out, Publishing { id: 8, ..publish });
    let refused = Glued {
        fate: GluedFate::Refused,
        unfinished: false,
    };
    assert_eq!(glued, Some(refused));
    assert_eq!(conn.close(&mut out), Goodbye::Said);
    let heard = [
        "{\"join\":\"lobby\"}",
        "{\"message\":\"hello\",\"id\":7,\"room\":\"lobby\"}",
        "{\"leave\":\"lobby\"}",
        "{\"message\":\"x\"}\r",
        "rubbish",
        "Message { kind: Binary, payload: [255], frame: [130, 1, 255] }",
        "{\"join\":\"a\"}{\"message\":\"hello\",\"id\":8,\"room\":\"lobby\"}",
        "Closed { code: Some(1000), reason: \"\" }",
    ];
    assert_eq!(heard_by_server(&out), heard);
}

/// A bye is the last frame, a close comes after it, and nothing that follows is read.
#[test]
fn a_websocket_is_over_with_the_targets_close() {
    let mut conn = open(Protocol::WebSocket, &mut Vec::new());
    let (mut bytes, mut server) = (Vec::new(), Server::new(MAX_BYTES));
    server.ping(&mut bytes, b"are you there");
    server.send(&mut bytes, Kind::Text, br#"{"type":"bye","seq":3}"#);
    server.close(&mut bytes, 1000, "");
    bytes.extend_from_slice(&messages(b"{\"type\":\"bye\",\"seq\":4}\n"));
    let (mut out, mut input) = (Vec::new(), &bytes[..]);
    let seen = conn.next(&mut input, &mut out);
    assert_eq!(seen, Some((RoomId::UNNAMED, Seen::Bye { seq: 3 })));
    assert!(!conn.is_over());
    assert_eq!(conn.next(&mut input, &mut out), None);
    assert!(conn.is_over() && input.is_empty());
    let heard = heard_by_server(&out);
    assert_eq!(heard[1], "Closed { code: Some(1000), reason: \"\" }");
}

/// What is no frame is an observation, and what is no WebSocket ends the stream as one.
#[test]
fn what_is_wrong_with_messages_is_malformed() {
    for (bytes, what) in [
        (&[0x82, 1, 0][..], "a binary message, where frames are text"),
        (
            &[0x81, 1, 0xff],
            "a text message is not UTF-8: the fault is at byte 0",
        ),
        (
            &[0x81, 0x81, 0, 0, 0, 0, b'{'],
            "a frame of the server is masked, and only a client's may be",
        ),
        (&[0x81, 2, b'[', b']'], "expected a JSON object"),
    ] {
        let mut conn = open(Protocol::WebSocket, &mut Vec::new());
        let seen = conn.next(&mut &bytes[..], &mut Vec::new());
        let Some((_, Seen::Malformed(malformed))) = seen else {
            panic!("{what}: {seen:?}");
        };
        assert_eq!(malformed.what, what);
    }
}

#[test]
fn a_client_that_no_websocket_takes_in_knows_why() {
    let begun = || {
        let opening = Opening {
            host: "chat.example:80",
            ..Opening::reading(MAX_BYTES)
        };
        let mut out = Vec::new();
        (Protocol::WebSocket.open(&opening, &mut out), out)
    };
    let (mut conn, request) = begun();
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET / HTTP/1.1\r\nHost: chat.example:80\r\n"));
    assert_eq!(conn.awaited(), "answer to the WebSocket handshake");
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(conn.next(&mut &answer[..], &mut Vec::new()), None);
    assert_eq!(conn.trouble(), None, "more is to come");
    assert_eq!(conn.next(&mut &b"nono"[..], &mut Vec::new()), None);
    let said = "it answered the WebSocket handshake with HTTP 404 Not Found: is the path right?; \
                it said `nono`";
    assert_eq!(conn.trouble().as_deref(), Some(said));

    let mut conn = open(Protocol::WebSocket, &mut Vec::new());
    assert_eq!(conn.awaited(), "welcome");
    let mut bytes = Vec::new();
    Server::new(9).close(&mut bytes, 1008, "no entry");
    assert_eq!(conn.next(&mut &bytes[..], &mut Vec::new()), None);
    let said = "it closed the WebSocket with code 1008 before the welcome: no entry";
    assert_eq!(conn.trouble().as_deref(), Some(said));

    let ws = |heard: &[u8], ended| {
        let wrong = Protocol::WebSocket.wrong(heard, ended, 8);
        wrong.map(|wrong| wrong.to_string())
    };
    let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let said_first = |line: &[u8]| ws(&[&head[..], &messages(line)].concat(), false);
    let mut welcome = Vec::new();
    ndjson_wire::encode_welcome(&mut welcome, ADDRESS, 9, 1_000);
    let expected = "its welcome stands at number 9, and numbers are followed up to 8";
    assert_eq!(said_first(&welcome).as_deref(), Some(expected));
    let said = said_first(b"0{\"sid\":1}\n").unwrap();
    assert!(said.starts_with("its first message is no welcome of the reference protocol"));
    assert!(said.ends_with("is described in [protocol])"), "{said}");
    assert_eq!(ws(head, false), None);
    assert_eq!(ws(b"HTT", false), None);
    let said = ws(b"SSH-2.0", true).unwrap();
    let expected = "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said \
                    `SSH-2.0`";
    assert_eq!(said, expected);
}

#[test]
fn a_target_that_answers_with_a_record_of_tls_is_told_so_in_every_protocol() {
    let alert = [21, 3, 3, 0, 2, 2, 50];
    for protocol in Protocol::ALL {
        let said = |heard: &[u8]| Some(protocol.wrong(heard, false, u64::MAX)?.to_string());
        let tls = format!(
            "it speaks TLS: name it {}://HOST:PORT",
            protocol.tls_scheme()
        );
        assert_eq!(said(&alert), Some(tls.clone()));
        assert_ne!(said(&alert[..1]), Some(tls));
    }
}
