use super::*;
use crate::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer};
use proptest::prelude::*;

fn publish<'a>(message: &'a str, id: Option<u64>, client_ip: Option<&'a str>) -> Publish<'a> {
    Publish {
        message: message.into(),
        id,
        client_ip: client_ip.map(Cow::Borrowed),
        room: None,
    }
}

fn publish_in<'a>(room: &'a str, message: &'a str, id: Option<u64>) -> Publish<'a> {
    Publish {
        room: Some(room.into()),
        ..publish(message, id, None)
    }
}

fn relay<'a>(seq: u64, client_ip: &'a str, message: &'a str) -> ServerFrame<'a> {
    ServerFrame::Relay {
        room: None,
        seq,
        client_ip: client_ip.into(),
        message: message.into(),
    }
}

fn relay_in<'a>(room: &'a str, seq: u64, client_ip: &'a str, message: &'a str) -> ServerFrame<'a> {
    ServerFrame::Relay {
        room: Some(room.into()),
        seq,
        client_ip: client_ip.into(),
        message: message.into(),
    }
}

/// The one line that was encoded, its LF cut off by the framing that readers use.
fn only_line(encoded: &[u8]) -> Vec<u8> {
    let mut buffer = LineBuffer::new(usize::MAX);
    let mut lines = buffer.feed(encoded);
    let line = lines.next().unwrap().unwrap().to_vec();
    assert_eq!(lines.next(), None, "one frame, one line");
    assert_eq!(buffer.pending_bytes(), 0, "a frame ends its line");
    line
}

fn encode(frame: &ServerFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        ServerFrame::Welcome {
            client_ip,
            seq,
            max_line,
            ..
        } => encode_welcome(&mut out, client_ip, *seq, *max_line),
        ServerFrame::Ack { room, seq, id } => match room {
            None => encode_ack(&mut out, *seq, *id),
            Some(room) => rooms::encode_ack(&mut out, room, *seq, *id),
        },
        ServerFrame::Relay {
            room,
            seq,
            client_ip,
            message,
        } => match room {
            None => encode_relay(&mut out, *seq, client_ip, message),
            Some(room) => rooms::encode_relay(&mut out, room, *seq, client_ip, message),
        },
        ServerFrame::Joined { room, seq, id } => rooms::encode_joined(&mut out, room, *seq, *id),
        ServerFrame::Left { room, seq, id } => rooms::encode_left(&mut out, room, *seq, *id),
        ServerFrame::Error {
            room,
            code,
            detail,
            id,
        } => match room {
            None => encode_error(&mut out, code, detail, *id),
            Some(room) => rooms::encode_error(&mut out, room, code, detail, *id),
        },
        ServerFrame::Bye { seq } => encode_bye(&mut out, *seq),
        ServerFrame::Unknown => unreachable!("no server writes one"),
    }
    out
}

#[test]
#[rustfmt::skip] // a sentence a row
fn publishes_that_are_accepted() {
    let cases: &[(&str, &str, Publish<'_>)] = &[
        ("all keys", r#"{"client_ip":"1.2.3.4:5","message":"hello","id":7}"#, publish("hello", Some(7), Some("1.2.3.4:5"))),
        ("the message alone", r#"{"message":"hello"}"#, publish("hello", None, None)),
        ("an empty message is the server's to refuse", r#"{"message":""}"#, publish("", None, None)),
        ("any order, any white space", "  { \"id\" : 1 ,\t\"message\" : \"a\" }\r", publish("a", Some(1), None)),
        ("unknown keys are ignored", r#"{"x":{"message":"no"},"message":"a","Message":"no","y":[null,1e400,"\ud800"]}"#, publish("a", None, None)),
        ("an unknown key may come twice", r#"{"x":1,"message":"a","x":2}"#, publish("a", None, None)),
        ("a key may be written with escapes", r#"{"\u006dessage":"a","\u0069d":3}"#, publish("a", Some(3), None)),
        ("escapes are resolved", r#"{"message":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00"}"#, publish("\"\\/\u{8}\u{c}\n\r\t\0é😀", None, None)),
        ("text beyond ASCII stands as it is", "{\"message\":\"é 😀 \u{7f} \u{2028} \u{ffff}\"}", publish("é 😀 \u{7f} \u{2028} \u{ffff}", None, None)),
        ("the smallest id", r#"{"message":"a","id":0}"#, publish("a", Some(0), None)),
        ("the largest id", r#"{"message":"a","id":9007199254740991}"#, publish("a", Some(MAX_ID), None)),
    ];
    for (sentence, line, expected) in cases {
        assert_eq!(
            decode_publish(line.as_bytes()).as_ref(),
            Ok(expected),
            "{sentence}: {line}"
        );
    }
}

fn encode_client(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        ClientFrame::Publish(publish) => encode_publish(&mut out, publish),
        ClientFrame::Join { room, id } => rooms::encode_join(&mut out, room, *id),
        ClientFrame::Leave { room, id } => rooms::encode_leave(&mut out, room, *id),
    }
    out
}

#[test]
#[rustfmt::skip] // a sentence a row
fn client_frames_that_are_accepted() {
    use ClientFrame::{Join, Leave};
    let message = |text, id| ClientFrame::Publish(publish(text, id, None));
    let cases: &[(&str, &str, ClientFrame<'_>)] = &[
        ("a publish", r#"{"message":"hello","id":7}"#, message("hello", Some(7))),
        ("a publish in a room", r#"{"message":"hello","id":3,"room":"lobby"}"#, ClientFrame::Publish(publish_in("lobby", "hello", Some(3)))),
        ("a publish in a room, in another order", r#"{"room":"lobby","message":"hello"}"#, ClientFrame::Publish(publish_in("lobby", "hello", None))),
        ("a join", r#"{"join":"lobby","id":1}"#, Join { room: "lobby".into(), id: Some(1) }),
        ("a join without an id", r#"{"join":"lobby"}"#, Join { room: "lobby".into(), id: None }),
        ("a leave", r#"{"leave":"lobby","id":2}"#, Leave { room: "lobby".into(), id: Some(2) }),
        ("a name that none can have is the server's to refuse", r#"{"join":""}"#, Join { room: "".into(), id: None }),
        ("any order, any white space", " { \"id\" : 1 , \"join\" : \"a\" }", Join { room: "a".into(), id: Some(1) }),
        ("names in escapes", r#"{"\u006aoin":"\u0000\"\ud83d\ude00"}"#, Join { room: "\0\"😀".into(), id: None }),
        ("another kind's keys are unknown ones", r#"{"join":"a","room":5,"client_ip":null}"#, Join { room: "a".into(), id: None }),
        ("and may come twice", r#"{"leave":"a","room":1,"room":2}"#, Leave { room: "a".into(), id: None }),
    ];
    for (sentence, line, expected) in cases {
        assert_eq!(decode_client(line.as_bytes()).as_ref(), Ok(expected), "{sentence}: {line}");
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn lines_that_are_no_client_frame() {
    let cases: &[(&str, &str, Option<u64>, Option<&str>)] = &[
        ("none of the three keys", r#"{"id":7,"room":"a"}"#, Some(7), None),
        ("two of them", r#"{"message":"a","join":"b","id":7}"#, Some(7), None),
        ("two of them, one of which is null", r#"{"message":"a","leave":null}"#, None, None),
        ("a join and a leave", r#"{"join":"a","leave":"a"}"#, None, None),
        ("a join twice", r#"{"join":"a","join":"a"}"#, None, None),
        ("a join of a number", r#"{"join":1,"id":7}"#, Some(7), None),
        ("a leave of null", r#"{"leave":null}"#, None, None),
        ("a lone surrogate in a name", r#"{"join":"\ud800"}"#, None, None),
        ("a join with a wrong id", r#"{"join":"a","id":-1}"#, None, Some("a")),
        ("a leave with a wrong id", r#"{"leave":"a","id":"x"}"#, None, Some("a")),
        ("a room of null", r#"{"message":"a","id":7,"room":null}"#, Some(7), None),
        ("a room twice", r#"{"message":"a","room":"a","room":"a"}"#, None, None),
        ("a wrong message in a room", r#"{"message":5,"id":7,"room":"a"}"#, Some(7), Some("a")),
        ("a line cut short", r#"{"join":"a""#, None, None),
    ];
    for (sentence, line, id, room) in cases {
        let malformed = decode_client(line.as_bytes()).expect_err(sentence);
        let named = (malformed.id, malformed.room.as_deref());
        assert_eq!(named, (*id, *room), "{sentence}: {line}");
    }
}

/// Who knows no rooms reads every publish, whatever it says about rooms.
#[test]
fn where_there_are_no_rooms_their_keys_are_unknown_ones() {
    for line in [
        r#"{"message":"a","room":"lobby"}"#,
        r#"{"message":"a","room":null}"#,
        r#"{"message":"a","join":"b","leave":3}"#,
    ] {
        let decoded = decode_publish(line.as_bytes());
        assert_eq!(decoded, Ok(publish("a", None, None)), "{line}");
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn lines_that_are_no_publish() {
    let cases: &[(&str, &[u8], Option<u64>)] = &[
        ("not JSON", b"hello", None),
        ("nothing", b"", None),
        ("an array in place of the object (F4)", br#"["hello",7,null]"#, None),
        ("an array after white space", br#"  ["hello"]"#, None),
        ("a byte order mark", b"\xef\xbb\xbf{\"message\":\"a\"}", None),
        ("form feed is no JSON white space", b"\x0c{\"message\":\"a\"}", None),
        ("an object cut short", br#"{"message":"a""#, None),
        ("bytes after the object", br#"{"message":"a","id":7}x"#, None),
        ("two objects in a line", br#"{"message":"a"}{"message":"b"}"#, None),
        ("no message", br#"{"id":7}"#, Some(7)),
        ("a message that is no string", br#"{"message":5,"id":7}"#, Some(7)),
        ("a null message", br#"{"message":null,"id":7}"#, Some(7)),
        ("the message twice", br#"{"message":"a","id":7,"message":"a"}"#, Some(7)),
        ("the message twice, once in escapes", br#"{"message":"a","\u006dessage":"b"}"#, None),
        ("the id twice", br#"{"message":"a","id":7,"id":7}"#, None),
        ("the id twice, once in escapes", br#"{"message":"a","id":7,"\u0069d":7}"#, None),
        ("client_ip twice", br#"{"client_ip":"a","client_ip":"a","message":"a","id":7}"#, Some(7)),
        ("a null id is not an absent one", br#"{"message":"a","id":null}"#, None),
        ("a null client_ip is not an absent one", br#"{"message":"a","client_ip":null}"#, None),
        ("a client_ip that is no string", br#"{"message":"a","client_ip":1}"#, None),
        ("an id of 2^53", br#"{"message":"a","id":9007199254740992}"#, None),
        ("an id of 2^64", br#"{"message":"a","id":18446744073709551616}"#, None),
        ("a negative id", br#"{"message":"a","id":-1}"#, None),
        ("minus zero", br#"{"message":"a","id":-0}"#, None),
        ("an id with a fraction", br#"{"message":"a","id":1.0}"#, None),
        ("an id with an exponent", br#"{"message":"a","id":1e0}"#, None),
        ("an id with a leading zero", br#"{"message":"a","id":01}"#, None),
        ("an id in quotes", br#"{"message":"a","id":"7"}"#, None),
        ("a lone high surrogate", br#"{"message":"\ud800","id":7}"#, Some(7)),
        ("a lone low surrogate", br#"{"message":"\udc00","id":7}"#, Some(7)),
        ("surrogates the wrong way round", br#"{"message":"\ude00\ud83d","id":7}"#, Some(7)),
        ("a raw control character", b"{\"message\":\"a\tb\"}", None),
        ("a raw NUL", b"{\"message\":\"a\0b\"}", None),
        ("invalid UTF-8 in the message", b"{\"message\":\"\xff\"}", None),
        ("invalid UTF-8 in what is ignored", b"{\"message\":\"a\",\"x\":\"\xff\"}", None),
        ("a surrogate as UTF-8 bytes", b"{\"message\":\"\xed\xa0\x80\"}", None),
        ("a comma too many", br#"{"message":"a",}"#, None),
        ("single quotes", br"{'message':'a'}", None),
    ];
    for (sentence, line, id) in cases {
        let shown = String::from_utf8_lossy(line);
        let malformed = decode_publish(line).expect_err(sentence);
        assert_eq!(malformed.id, *id, "{sentence}: {shown}");
        assert!(!malformed.detail.is_empty(), "{sentence}: {shown}");
        // With rooms, such a line is no frame either, for the same reason.
        assert_eq!(decode_client(line), Err(malformed), "{sentence}: {shown}");
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn server_frames_that_are_accepted() {
    let cases: &[(&str, &str, ServerFrame<'_>)] = &[
        ("welcome", r#"{"type":"welcome","protocol":1,"client_ip":"127.0.0.1:50412","seq":41,"max_line":65536}"#, ServerFrame::Welcome { protocol: 1, client_ip: "127.0.0.1:50412".into(), seq: 41, max_line: 65536 }),
        ("ack", r#"{"type":"ack","seq":42,"id":7}"#, ServerFrame::Ack { room: None, seq: 42, id: Some(7) }),
        ("ack of a publish without id", r#"{"type":"ack","seq":42}"#, ServerFrame::Ack { room: None, seq: 42, id: None }),
        ("ack in a room", r#"{"type":"ack","room":"lobby","seq":42,"id":7}"#, ServerFrame::Ack { room: Some("lobby".into()), seq: 42, id: Some(7) }),
        ("relay in a room", r#"{"type":"relay","room":"lobby","seq":42,"client_ip":"a","message":"hello"}"#, relay_in("lobby", 42, "a", "hello")),
        ("relay in a room, the room last", r#"{"type":"relay","seq":42,"client_ip":"a","message":"hello","room":"lob\u0062y"}"#, relay_in("lobby", 42, "a", "hello")),
        ("joined", r#"{"type":"joined","room":"lobby","seq":41,"id":1}"#, ServerFrame::Joined { room: "lobby".into(), seq: 41, id: Some(1) }),
        ("joined without id, keys in another order", r#"{"seq":41,"room":"lobby","type":"joined"}"#, ServerFrame::Joined { room: "lobby".into(), seq: 41, id: None }),
        ("left", r#"{"type":"left","room":"lobby","seq":99}"#, ServerFrame::Left { room: "lobby".into(), seq: 99, id: None }),
        ("error about a room", r#"{"type":"error","room":"lobby","code":"not-joined","detail":"why","id":7}"#, ServerFrame::Error { room: Some("lobby".into()), code: "not-joined".into(), detail: "why".into(), id: Some(7) }),
        ("relay", r#"{"type":"relay","seq":42,"client_ip":"a","message":"hello"}"#, relay(42, "a", "hello")),
        ("relay, keys in another order", r#"{"message":"hello","client_ip":"a","seq":42,"type":"relay"}"#, relay(42, "a", "hello")),
        ("relay, type in escapes", r#"{"\u0074ype":"rela\u0079","seq":42,"client_ip":"a","message":"b"}"#, relay(42, "a", "b")),
        ("relay, unknown keys", r#"{"type":"relay","seq":1,"at":[[{}]],"client_ip":"a","message":"b","id":null}"#, relay(1, "a", "b")),
        ("the largest number", r#"{"type":"relay","seq":18446744073709551615,"client_ip":"","message":""}"#, relay(u64::MAX, "", "")),
        ("error", r#"{"type":"error","code":"malformed","detail":"why","id":7}"#, ServerFrame::Error { room: None, code: "malformed".into(), detail: "why".into(), id: Some(7) }),
        ("error without detail or id", r#"{"type":"error","code":"new-code"}"#, ServerFrame::Error { room: None, code: "new-code".into(), detail: "".into(), id: None }),
        ("bye", r#"{"type":"bye","seq":99}"#, ServerFrame::Bye { seq: 99 }),
        ("an unknown type, whatever its keys hold", r#"{"type":"pong","seq":"x","message":null,"id":-1,"id":2}"#, ServerFrame::Unknown),
        ("a known type cut short is an unknown one", r#"{"type":"rela"}"#, ServerFrame::Unknown),
        ("a known type with more is an unknown one", r#"{"type":"relayed"}"#, ServerFrame::Unknown),
        ("another type's key is an unknown key", r#"{"type":"ack","seq":1,"message":null,"code":2}"#, ServerFrame::Ack { room: None, seq: 1, id: None }),
        ("a bye names no room", r#"{"type":"bye","seq":1,"room":null}"#, ServerFrame::Bye { seq: 1 }),
        ("and may come twice", r#"{"seq":1,"type":"bye","id":"a","id":"b"}"#, ServerFrame::Bye { seq: 1 }),
    ];
    for (sentence, line, expected) in cases {
        assert_eq!(
            decode_server(line.as_bytes()).as_ref(),
            Ok(expected),
            "{sentence}: {line}"
        );
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn lines_that_are_no_server_frame() {
    let cases: &[(&str, &[u8])] = &[
        ("not JSON", b"hello"),
        ("an array (F4)", br#"["relay",1,"a","b",null,null,null,null,null]"#),
        ("no type", br#"{"seq":1}"#),
        ("a type that is no string", br#"{"type":1}"#),
        ("a type as an enum might be written", br#"{"type":{"relay":null}}"#),
        ("the type twice, the second in escapes", br#"{"type":"bye","seq":1,"\u0074ype":"bye"}"#),
        ("the type twice, both the same", br#"{"type":"bye","type":"bye","seq":1}"#),
        ("the type twice, an unknown one first", br#"{"type":"x","seq":1,"type":"bye"}"#),
        ("a welcome without protocol", br#"{"type":"welcome","client_ip":"a","seq":1,"max_line":1}"#),
        ("a welcome without client_ip", br#"{"type":"welcome","protocol":1,"seq":1,"max_line":1}"#),
        ("a welcome without seq", br#"{"type":"welcome","protocol":1,"client_ip":"a","max_line":1}"#),
        ("a welcome without max_line", br#"{"type":"welcome","protocol":1,"client_ip":"a","seq":1}"#),
        ("an ack without seq", br#"{"type":"ack","id":1}"#),
        ("an ack of a null id", br#"{"type":"ack","seq":1,"id":null}"#),
        ("an ack of id 2^53", br#"{"type":"ack","seq":1,"id":9007199254740992}"#),
        ("a relay of a null room", br#"{"type":"relay","room":null,"seq":1,"client_ip":"a","message":"b"}"#),
        ("a relay of two rooms", br#"{"type":"relay","room":"a","seq":1,"client_ip":"a","message":"b","room":"a"}"#),
        ("an ack of a room that is no string", br#"{"type":"ack","seq":1,"room":1}"#),
        ("an error of a room that is no string", br#"{"type":"error","code":"a","room":[]}"#),
        ("a joined without room", br#"{"type":"joined","seq":1}"#),
        ("a joined without seq", br#"{"type":"joined","room":"a"}"#),
        ("a left with a null id", br#"{"type":"left","room":"a","seq":1,"id":null}"#),
        ("a relay without seq", br#"{"type":"relay","client_ip":"a","message":"b"}"#),
        ("a relay without client_ip", br#"{"type":"relay","seq":1,"message":"b"}"#),
        ("a relay without message", br#"{"type":"relay","seq":1,"client_ip":"a"}"#),
        ("a relay of seq 2^64", br#"{"type":"relay","seq":18446744073709551616,"client_ip":"a","message":"b"}"#),
        ("a relay of seq 1.0", br#"{"type":"relay","seq":1.0,"client_ip":"a","message":"b"}"#),
        ("the seq twice", br#"{"type":"relay","seq":1,"client_ip":"a","message":"b","seq":1}"#),
        ("an error without code", br#"{"type":"error","detail":"a"}"#),
        ("an error with a null detail", br#"{"type":"error","code":"a","detail":null}"#),
        ("a bye without seq", br#"{"type":"bye"}"#),
        ("a bye cut short", br#"{"type":"bye","seq":1"#),
        ("bytes after the object", br#"{"type":"bye","seq":1},"#),
        ("an unknown type in what is no JSON", br#"{"type":"x",]"#),
        ("invalid UTF-8 in what is ignored", b"{\"type\":\"bye\",\"seq\":1,\"x\":\"\xff\"}"),
        ("a torn frame", br#"{"type":"relay","seq":1,"client_{"type":"relay","seq":2}"#),
    ];
    for (sentence, line) in cases {
        let malformed = decode_server(line).expect_err(sentence);
        assert!(!malformed.detail.is_empty(), "{sentence}");
        assert_eq!(malformed.id, None, "{sentence}");
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn frames_are_written_as_the_protocol_shows_them() {
    let cases = [
        (encode(&ServerFrame::Welcome { protocol: PROTOCOL_VERSION, client_ip: "127.0.0.1:50412".into(), seq: 41, max_line: 65536 }), r#"{"type":"welcome","protocol":1,"client_ip":"127.0.0.1:50412","seq":41,"max_line":65536}"#),
        (encode(&ServerFrame::Ack { room: None, seq: 42, id: Some(7) }), r#"{"type":"ack","seq":42,"id":7}"#),
        (encode(&ServerFrame::Ack { room: None, seq: 42, id: None }), r#"{"type":"ack","seq":42}"#),
        (encode(&relay(42, "127.0.0.1:50412", "hello")), r#"{"type":"relay","seq":42,"client_ip":"127.0.0.1:50412","message":"hello"}"#),
        (encode(&relay(1, "a", "\"\\\n\0é😀")), r#"{"type":"relay","seq":1,"client_ip":"a","message":"\"\\\n\u0000é😀"}"#),
        (encode(&ServerFrame::Ack { room: Some("lobby".into()), seq: 42, id: Some(7) }), r#"{"type":"ack","room":"lobby","seq":42,"id":7}"#),
        (encode(&relay_in("a\"b", 42, "c", "hello")), r#"{"type":"relay","room":"a\"b","seq":42,"client_ip":"c","message":"hello"}"#),
        (encode(&ServerFrame::Joined { room: "lobby".into(), seq: 41, id: Some(1) }), r#"{"type":"joined","room":"lobby","seq":41,"id":1}"#),
        (encode(&ServerFrame::Left { room: "lobby".into(), seq: 99, id: None }), r#"{"type":"left","room":"lobby","seq":99}"#),
        (encode(&ServerFrame::Error { room: Some("lobby".into()), code: "not-joined".into(), detail: "why".into(), id: Some(7) }), r#"{"type":"error","room":"lobby","code":"not-joined","detail":"why","id":7}"#),
        (encode_client(&ClientFrame::Publish(publish_in("lobby", "hello", Some(3)))), r#"{"message":"hello","id":3,"room":"lobby"}"#),
        (encode_client(&ClientFrame::Join { room: "lobby".into(), id: Some(1) }), r#"{"join":"lobby","id":1}"#),
        (encode_client(&ClientFrame::Leave { room: "lobby".into(), id: None }), r#"{"leave":"lobby"}"#),
        (encode(&ServerFrame::Error { room: None, code: "malformed".into(), detail: "expected a string at column 12".into(), id: Some(7) }), r#"{"type":"error","code":"malformed","detail":"expected a string at column 12","id":7}"#),
        (encode(&ServerFrame::Bye { seq: 99 }), r#"{"type":"bye","seq":99}"#),
    ];
    for (encoded, expected) in cases {
        assert_eq!(String::from_utf8(encoded).unwrap(), format!("{expected}\n"));
    }
    let mut out = Vec::new();
    encode_publish(
        &mut out,
        &publish("hello", Some(7), Some("127.0.0.1:50412")),
    );
    assert_eq!(
        out,
        b"{\"client_ip\":\"127.0.0.1:50412\",\"message\":\"hello\",\"id\":7}\n"
    );
}

/// F2: a publish that fits has a relay that fits, however its text must be escaped.
#[test]
fn the_relay_of_the_longest_publish_is_within_the_extra() {
    let longest_ip = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535";
    for char in ["x", "\"", "\u{1}", "é", "😀"] {
        let message = char.repeat(1000);
        let (mut publish_line, mut relay_line) = (Vec::new(), Vec::new());
        encode_publish(&mut publish_line, &publish(&message, None, None));
        encode_relay(&mut relay_line, u64::MAX, longest_ip, &message);
        let extra = relay_line.len() - publish_line.len();
        assert!(extra <= crate::line::SERVER_EXTRA_BYTES, "{extra} bytes");
        for room in ["\"".repeat(crate::rooms::MAX_NAME_BYTES), "r".to_owned()] {
            publish_line.clear();
            relay_line.clear();
            encode_publish(&mut publish_line, &publish_in(&room, &message, None));
            rooms::encode_relay(&mut relay_line, &room, u64::MAX, longest_ip, &message);
            let in_room = relay_line.len() - publish_line.len();
            assert_eq!(in_room, extra, "the room takes what it took");
        }
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let decoded = decode_publish(br#"{"message":"plain","client_ip":"plain"}"#).unwrap();
    assert!(matches!(decoded.message, Cow::Borrowed("plain")));
    assert!(matches!(decoded.client_ip, Some(Cow::Borrowed("plain"))));
    let decoded = decode_server(br#"{"type":"relay","seq":1,"client_ip":"a","message":"b"}"#);
    assert!(matches!(
        decoded,
        Ok(ServerFrame::Relay {
            client_ip: Cow::Borrowed("a"),
            message: Cow::Borrowed("b"),
            ..
        })
    ));
}

/// serde_json's recursion limit does not reach what it skips: it must not recurse there.
#[test]
fn nesting_within_the_line_limit_is_ignored_at_any_depth() {
    const DEPTH: usize = 1_000_000;
    let nested = ["[".repeat(DEPTH), "]".repeat(DEPTH)].concat();
    let line = format!(r#"{{"x":{nested},"message":"a"}}"#);
    assert!(
        line.len() > DEFAULT_MAX_LINE_BYTES,
        "deeper than any line gets"
    );
    assert_eq!(
        decode_publish(line.as_bytes()),
        Ok(publish("a", None, None))
    );
    let line = format!(r#"{{"x":{nested},"type":"bye","seq":1}}"#);
    assert_eq!(
        decode_server(line.as_bytes()),
        Ok(ServerFrame::Bye { seq: 1 })
    );

    let as_message = format!(r#"{{"message":{nested},"id":7}}"#);
    assert_eq!(
        decode_publish(as_message.as_bytes()).unwrap_err().id,
        Some(7)
    );
    let unclosed = format!(r#"{{"x":{}"#, "[".repeat(DEPTH));
    assert!(decode_publish(unclosed.as_bytes()).is_err());
    let as_type = format!(r#"{{"type":{}"#, r#"{"a":"#.repeat(DEPTH));
    assert!(decode_server(as_type.as_bytes()).is_err());
}

#[test]
#[rustfmt::skip] // a sentence a row
fn details_say_what_and_where() {
    let cases: &[(&[u8], &str)] = &[
        (b"[1]", "expected a JSON object"),
        (br#"{"id":7}"#, "missing field `message` at column 8"),
        (br#"{"message":5}"#, "invalid type: integer `5`, expected a string at column 12"),
        (br#"{"message":"a","message":"b"}"#, "duplicate field `message` at column 24"),
        (br#"{"message":"a","id":9007199254740992}"#, "expected an id of at most 9007199254740991 at column 37"),
        (b"{\"message\":\"\xff\"}", "invalid UTF-8 at column 13"),
    ];
    for (line, detail) in cases {
        assert_eq!(decode_publish(line).unwrap_err().detail, *detail);
    }
}

#[test]
fn a_detail_that_quotes_a_long_line_is_cut_and_keeps_its_column() {
    for filler in ["x", "é", "😀", "\\n", "\\u0007"] {
        let line = format!(r#"{{"message":"a","id":"{}"}}"#, filler.repeat(10_000));
        let detail = decode_publish(line.as_bytes()).unwrap_err().detail;
        assert!(detail.len() <= MAX_DETAIL_BYTES, "{detail}");
        assert!(detail.starts_with("invalid type: string \""), "{detail}");
        assert!(detail.contains("... at column "), "{detail}");
    }
}

#[test]
fn codes_are_distinct_and_in_the_order_of_the_table() {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "malformed",
            "empty-message",
            "line-too-long",
            "slow-consumer",
            "server-full",
            "bad-room",
            "already-joined",
            "not-joined",
            "too-many-rooms"
        ]
    );
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "would be malformed")]
fn an_id_that_no_reader_accepts_is_not_written() {
    encode_ack(&mut Vec::new(), 1, Some(MAX_ID + 1));
}

/// Text of which much is what JSON must escape, and what lies around the surrogates.
fn text() -> impl Strategy<Value = String> {
    let awkward = prop::sample::select(vec![
        '"',
        '\\',
        '/',
        '\0',
        '\u{1f}',
        '\n',
        '\r',
        '\t',
        '\u{7f}',
        '\u{2028}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{feff}',
        '\u{ffff}',
        '\u{10000}',
        '😀',
        '\u{10ffff}',
    ]);
    let char = prop_oneof![awkward, any::<char>(), prop::char::range(' ', '~')];
    prop::collection::vec(char, 0..40).prop_map(String::from_iter)
}

fn id() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop_oneof![0..=MAX_ID, Just(MAX_ID)])
}

fn room() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    prop::option::of(text().prop_map(Cow::Owned))
}

fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let publish = (text(), id(), prop::option::of(text()), room());
    prop_oneof![
        publish.prop_map(|(message, id, client_ip, room)| {
            ClientFrame::Publish(Publish {
                message: message.into(),
                id,
                client_ip: client_ip.map(Cow::Owned),
                room,
            })
        }),
        (text(), id()).prop_map(|(room, id)| ClientFrame::Join {
            room: room.into(),
            id
        }),
        (text(), id()).prop_map(|(room, id)| ClientFrame::Leave {
            room: room.into(),
            id
        }),
    ]
}

/// The pairs of an object in another order, with spaces between, and an unknown key among them.
fn shuffled(line: &[u8], order: [u8; 8], unknown: String) -> String {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(line) else {
        panic!("a frame is an object");
    };
    let mut pairs: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    pairs.push(format!("\"x-y\":[{}]", serde_json::Value::from(unknown)));
    let mut keyed: Vec<(u8, String)> = order.into_iter().zip(pairs).collect();
    keyed.sort();
    let pairs: Vec<String> = keyed.into_iter().map(|(_, pair)| pair).collect();
    format!(" {{ {} }}", pairs.join(" ,"))
}

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    prop_oneof![
        (text(), any::<u64>(), any::<u64>()).prop_map(|(ip, seq, max_line)| ServerFrame::Welcome {
            protocol: PROTOCOL_VERSION,
            client_ip: ip.into(),
            seq,
            max_line,
        }),
        (room(), any::<u64>(), id()).prop_map(|(room, seq, id)| ServerFrame::Ack { room, seq, id }),
        (room(), any::<u64>(), text(), text()).prop_map(|(room, seq, ip, message)| {
            ServerFrame::Relay {
                room,
                seq,
                client_ip: ip.into(),
                message: message.into(),
            }
        }),
        (text(), any::<u64>(), id()).prop_map(|(room, seq, id)| ServerFrame::Joined {
            room: room.into(),
            seq,
            id
        }),
        (text(), any::<u64>(), id()).prop_map(|(room, seq, id)| ServerFrame::Left {
            room: room.into(),
            seq,
            id
        }),
        (room(), text(), text(), id()).prop_map(|(room, code, detail, id)| ServerFrame::Error {
            room,
            code: code.into(),
            detail: detail.into(),
            id,
        }),
        any::<u64>().prop_map(|seq| ServerFrame::Bye { seq }),
    ]
}

/// Fragments that combine into many almost-frames.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"type\"",
            "\"relay\"",
            "\"message\"",
            "\"room\"",
            "\"join\"",
            "\"leave\"",
            "\"id\"",
            "\"seq\"",
            "null",
            "7",
            "-0",
            "1.0",
            "\"a\"",
            "\\u0069",
            "\\ud800",
            " ",
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..20)
        .prop_map(|pieces| pieces.concat())
        .prop_map(|bytes| [b"{".as_slice(), &bytes].concat())
}

proptest! {
    #[test]
    fn a_client_frame_comes_back_as_it_was_written(frame in client_frame()) {
        let line = only_line(&encode_client(&frame));
        if let ClientFrame::Publish(publish) = &frame {
            let unnamed = Publish { room: None, ..publish.clone() };
            prop_assert_eq!(decode_publish(&line), Ok(unnamed));
        }
        prop_assert_eq!(decode_client(&line), Ok(frame));
    }

    #[test]
    fn a_server_frame_comes_back_as_it_was_written(frame in server_frame()) {
        let line = only_line(&encode(&frame));
        prop_assert_eq!(decode_server(&line), Ok(frame));
    }

    /// The same frame, its keys in any order and among unknown ones: a reader must not rely on
    /// the order that the reference server writes (the fast path by prefix does not).
    #[test]
    fn the_order_of_keys_changes_nothing(
        frame in server_frame(),
        order in any::<[u8; 8]>(),
        unknown in text(),
    ) {
        let line = only_line(&encode(&frame));
        let shuffled = shuffled(&line, order, unknown);
        prop_assert_eq!(decode_server(shuffled.as_bytes()), Ok(frame));
    }

    #[test]
    fn the_order_of_keys_changes_nothing_for_a_server(
        frame in client_frame(),
        order in any::<[u8; 8]>(),
        unknown in text(),
    ) {
        let line = only_line(&encode_client(&frame));
        let shuffled = shuffled(&line, order, unknown);
        prop_assert_eq!(decode_client(shuffled.as_bytes()), Ok(frame));
    }

    #[test]
    fn a_detail_is_one_short_line(line in almost_json()) {
        for detail in [
            decode_publish(&line).err().map(|m| m.detail),
            decode_client(&line).err().map(|m| m.detail),
            decode_server(&line).err().map(|m| m.detail),
        ].into_iter().flatten() {
            prop_assert!(!detail.is_empty());
            prop_assert!(detail.len() <= MAX_DETAIL_BYTES);
            prop_assert!(!detail.chars().any(char::is_control), "{detail:?}");
        }
    }

    /// Section 6: a malformed line costs itself and nothing else.
    #[test]
    fn after_a_bad_line_the_next_good_line_decodes(bad in almost_json(), message in text()) {
        let bad: Vec<u8> = bad.into_iter().filter(|&b| b != b'\n').collect();
        let good = publish(&message, Some(1), None);
        let mut stream = [bad.as_slice(), b"\n"].concat();
        encode_publish(&mut stream, &good);
        let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
        let mut lines = buffer.feed(&stream);
        let first = lines.next().unwrap().unwrap();
        prop_assert_eq!(decode_publish(first).ok(), decode_publish(&bad).ok());
        let second = lines.next().unwrap().unwrap();
        prop_assert_eq!(decode_publish(second), Ok(good));
    }
}

/// A frame as this codec writes it, with some bytes put in, taken out or changed.
fn nearly_plain() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        client_frame().prop_map(|frame| encode_client(&frame)),
        server_frame().prop_map(|frame| encode(&frame)),
    ];
    let byte = prop_oneof![
        any::<u8>(),
        proptest::sample::select(&b"\"\\{}:,0123456789 \n\t\x1f\x7f\xc3\xa9e.-"[..]),
    ];
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), 0..3, byte), 0..3);
    (frame, edits).prop_map(|(mut line, edits)| {
        line.pop(); // the LF
        for (at, edit, byte) in edits {
            let at = at.index(line.len() + 1);
            match edit {
                0 => line.insert(at, byte),
                1 if at < line.len() => line[at] = byte,
                _ if at < line.len() => drop(line.remove(at)),
                _ => {}
            }
        }
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_taken_apart_without_a_parser_is_what_the_parser_reads(line in nearly_plain()) {
        if let Some(publish) = plain::publish(&line) {
            if publish.room.is_none() {
                prop_assert_eq!(Ok(publish.clone()), client::parse_publish(&line));
            }
            prop_assert_eq!(Ok(ClientFrame::Publish(publish)), client::parse_client(&line));
        }
        if let Some(frame) = plain::membership(&line) {
            prop_assert_eq!(Ok(frame), client::parse_client(&line));
        }
        if let Some(frame) = plain::server_frame(&line) {
            prop_assert_eq!(Ok(frame), server::parse_server(&line));
        }
    }
}

#[test]
fn the_frames_that_this_codec_writes_need_no_parser() {
    let mut out = Vec::new();
    for (id, client_ip) in [
        (None, None),
        (Some(0), Some("1.2.3.4:5")),
        (Some(MAX_ID), None),
    ] {
        out.clear();
        encode_publish(&mut out, &publish("héllo, 世界", id, client_ip));
        let line = only_line(&out);
        assert_eq!(
            plain::publish(&line),
            Some(publish("héllo, 世界", id, client_ip))
        );
    }
    out.clear();
    encode_publish(&mut out, &publish_in("lobby", "hello", Some(7)));
    let decoded = plain::publish(&out[..out.len() - 1]);
    assert_eq!(decoded, Some(publish_in("lobby", "hello", Some(7))));
    for (room, id) in [("lobby", None), ("a b", Some(MAX_ID))] {
        let room = Cow::Borrowed(room);
        for frame in [
            ClientFrame::Join {
                room: room.clone(),
                id,
            },
            ClientFrame::Leave { room, id },
        ] {
            let line = only_line(&encode_client(&frame));
            assert_eq!(plain::membership(&line), Some(frame));
        }
    }
    let ack = |room: Option<&'static str>, id| ServerFrame::Ack {
        room: room.map(Cow::Borrowed),
        seq: 7,
        id,
    };
    for frame in [
        relay(1, "127.0.0.1:1", "hello"),
        relay_in("lobby", 1, "127.0.0.1:1", "hello"),
        ack(None, None),
        ack(None, Some(MAX_ID)),
        ack(Some("lobby"), None),
        ack(Some("lobby"), Some(MAX_ID)),
    ] {
        let line = only_line(&encode(&frame));
        assert_eq!(plain::server_frame(&line), Some(frame));
    }
}

#[test]
fn whatever_is_not_plain_is_the_parsers() {
    for line in [
        r#"{"message":"a\"b"}"#,
        r#"{"message":"a" }"#,
        r#"{"message":"a","id":01}"#,
        r#"{"message":"a","id":9007199254740992}"#,
        r#"{"message":"a","id":1.0}"#,
        r#"{"message":"a","id":-1}"#,
        r#"{"message":"a","id":}"#,
        r#"{"message":"a","message":"b"}"#,
        r#"{"message":"a"#,
        "{\"message\":\"a\tb\"}",
    ] {
        assert_eq!(plain::publish(line.as_bytes()), None, "{line}");
    }
    assert_eq!(plain::publish(b"{\"message\":\"\xff\"}"), None);
    assert_eq!(plain::server_frame(br#"{"type":"bye","seq":1}"#), None);
}
