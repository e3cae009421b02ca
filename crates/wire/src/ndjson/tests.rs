use super::*;
use crate::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer};
use proptest::prelude::*;

fn publish<'a>(message: &'a str, id: Option<u64>, client_ip: Option<&'a str>) -> Publish<'a> {
    Publish {
        message: message.into(),
        id,
        client_ip: client_ip.map(Cow::Borrowed),
    }
}

fn relay<'a>(seq: u64, client_ip: &'a str, message: &'a str) -> ServerFrame<'a> {
    ServerFrame::Relay {
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
        ServerFrame::Ack { seq, id } => encode_ack(&mut out, *seq, *id),
        ServerFrame::Relay {
            seq,
            client_ip,
            message,
        } => encode_relay(&mut out, *seq, client_ip, message),
        ServerFrame::Error { code, detail, id } => encode_error(&mut out, code, detail, *id),
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
    }
}

#[test]
#[rustfmt::skip] // a sentence a row
fn server_frames_that_are_accepted() {
    let cases: &[(&str, &str, ServerFrame<'_>)] = &[
        ("welcome", r#"{"type":"welcome","protocol":1,"client_ip":"127.0.0.1:50412","seq":41,"max_line":65536}"#, ServerFrame::Welcome { protocol: 1, client_ip: "127.0.0.1:50412".into(), seq: 41, max_line: 65536 }),
        ("ack", r#"{"type":"ack","seq":42,"id":7}"#, ServerFrame::Ack { seq: 42, id: Some(7) }),
        ("ack of a publish without id", r#"{"type":"ack","seq":42}"#, ServerFrame::Ack { seq: 42, id: None }),
        ("relay", r#"{"type":"relay","seq":42,"client_ip":"a","message":"hello"}"#, relay(42, "a", "hello")),
        ("relay, keys in another order", r#"{"message":"hello","client_ip":"a","seq":42,"type":"relay"}"#, relay(42, "a", "hello")),
        ("relay, type in escapes", r#"{"\u0074ype":"rela\u0079","seq":42,"client_ip":"a","message":"b"}"#, relay(42, "a", "b")),
        ("relay, unknown keys", r#"{"type":"relay","seq":1,"at":[[{}]],"client_ip":"a","message":"b","room":null}"#, relay(1, "a", "b")),
        ("the largest number", r#"{"type":"relay","seq":18446744073709551615,"client_ip":"","message":""}"#, relay(u64::MAX, "", "")),
        ("error", r#"{"type":"error","code":"malformed","detail":"why","id":7}"#, ServerFrame::Error { code: "malformed".into(), detail: "why".into(), id: Some(7) }),
        ("error without detail or id", r#"{"type":"error","code":"new-code"}"#, ServerFrame::Error { code: "new-code".into(), detail: "".into(), id: None }),
        ("bye", r#"{"type":"bye","seq":99}"#, ServerFrame::Bye { seq: 99 }),
        ("an unknown type, whatever its keys hold", r#"{"type":"pong","seq":"x","message":null,"id":-1,"id":2}"#, ServerFrame::Unknown),
        ("a known type cut short is an unknown one", r#"{"type":"rela"}"#, ServerFrame::Unknown),
        ("a known type with more is an unknown one", r#"{"type":"relayed"}"#, ServerFrame::Unknown),
        ("another type's key is an unknown key", r#"{"type":"ack","seq":1,"message":null,"code":2}"#, ServerFrame::Ack { seq: 1, id: None }),
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
        (encode(&ServerFrame::Ack { seq: 42, id: Some(7) }), r#"{"type":"ack","seq":42,"id":7}"#),
        (encode(&ServerFrame::Ack { seq: 42, id: None }), r#"{"type":"ack","seq":42}"#),
        (encode(&relay(42, "127.0.0.1:50412", "hello")), r#"{"type":"relay","seq":42,"client_ip":"127.0.0.1:50412","message":"hello"}"#),
        (encode(&relay(1, "a", "\"\\\n\0é😀")), r#"{"type":"relay","seq":1,"client_ip":"a","message":"\"\\\n\u0000é😀"}"#),
        (encode(&ServerFrame::Error { code: "malformed".into(), detail: "expected a string at column 12".into(), id: Some(7) }), r#"{"type":"error","code":"malformed","detail":"expected a string at column 12","id":7}"#),
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
            "server-full"
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

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    prop_oneof![
        (text(), any::<u64>(), any::<u64>()).prop_map(|(ip, seq, max_line)| ServerFrame::Welcome {
            protocol: PROTOCOL_VERSION,
            client_ip: ip.into(),
            seq,
            max_line,
        }),
        (any::<u64>(), id()).prop_map(|(seq, id)| ServerFrame::Ack { seq, id }),
        (any::<u64>(), text(), text()).prop_map(|(seq, ip, message)| ServerFrame::Relay {
            seq,
            client_ip: ip.into(),
            message: message.into(),
        }),
        (text(), text(), id()).prop_map(|(code, detail, id)| ServerFrame::Error {
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
    fn a_publish_comes_back_as_it_was_written(
        message in text(), id in id(), client_ip in prop::option::of(text()),
    ) {
        let publish = publish(&message, id, client_ip.as_deref());
        let mut out = Vec::new();
        encode_publish(&mut out, &publish);
        let line = only_line(&out);
        prop_assert_eq!(decode_publish(&line), Ok(publish));
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
        let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(&line) else {
            panic!("a frame is an object");
        };
        let mut pairs: Vec<String> = object
            .iter()
            .map(|(key, value)| format!("\"{key}\": {value}"))
            .collect();
        pairs.push(format!("\"x-{}\":[{}]", "y", serde_json::Value::from(unknown)));
        let mut keyed: Vec<(u8, String)> = order.into_iter().zip(pairs).collect();
        keyed.sort();
        let pairs: Vec<String> = keyed.into_iter().map(|(_, pair)| pair).collect();
        let shuffled = format!(" {{ {} }}", pairs.join(" ,"));
        prop_assert_eq!(decode_server(shuffled.as_bytes()), Ok(frame));
    }

    #[test]
    fn a_detail_is_one_short_line(line in almost_json()) {
        for detail in [
            decode_publish(&line).err().map(|m| m.detail),
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
    let publish =
        (text(), id(), proptest::option::of(text())).prop_map(|(message, id, client_ip)| {
            let mut out = Vec::new();
            encode_publish(&mut out, &publish(&message, id, client_ip.as_deref()));
            out
        });
    let frame = prop_oneof![publish, server_frame().prop_map(|frame| encode(&frame))];
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
            prop_assert_eq!(Ok(publish), parse_publish(&line));
        }
        if let Some(frame) = plain::server_frame(&line) {
            prop_assert_eq!(Ok(frame), super::server_frame(&line));
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
    for frame in [
        relay(1, "127.0.0.1:1", "hello"),
        ServerFrame::Ack { seq: 7, id: None },
        ServerFrame::Ack {
            seq: 7,
            id: Some(MAX_ID),
        },
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
