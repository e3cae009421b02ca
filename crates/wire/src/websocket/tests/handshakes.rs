use proptest::prelude::*;

use super::*;

/// A request that offers two subprotocols, and the answer that agrees to it with the first.
fn agreed() -> (Client, Vec<u8>, String) {
    let mut request = Vec::new();
    let wanted = Request {
        subprotocols: &["chat.2", "chat.1"],
        fields: &[
            ("Authorization", "Bearer x"),
            ("Origin", "http://localhost:7"),
        ],
        ..REQUEST
    };
    let client = Client::open(&wanted, 7, MAX_BYTES, &mut request);
    let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut &request[..]) else {
        panic!("{}", String::from_utf8_lossy(&request));
    };
    let mut answer = Vec::new();
    upgrade.accept(Some("chat.2"), &mut answer);
    (client, request, String::from_utf8(answer).unwrap())
}

/// Section 1.3's key and its answer; and what a request of ours is understood as.
#[test]
fn a_request_is_understood_and_agreed_to() {
    let request =
        b"GET /chat?room=a HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n\x81";
    let mut input = &request[..];
    let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut input) else {
        panic!("it is the RFC's own");
    };
    assert_eq!(input, b"\x81", "what follows is left");
    let mut out = Vec::new();
    upgrade.accept(Some("chat"), &mut out);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(upgrade.path, "/chat?room=a");
    assert_eq!(upgrade.subprotocols, ["chat", "superchat"]);
    assert!(!upgrade.is_same_origin());

    let (_, request, _) = agreed();
    let text = String::from_utf8(request.clone()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("GET /chat HTTP/1.1"));
    assert!(text.contains("\r\nAuthorization: Bearer x\r\n"));
    let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut &request[..]) else {
        panic!("{text}");
    };
    assert_eq!((&*upgrade.path, &*upgrade.host), ("/chat", "localhost:7"));
    assert_eq!(upgrade.subprotocols, ["chat.2", "chat.1"]);
    assert!(upgrade.is_same_origin());
}

#[test]
fn keys_and_masks_differ_by_seed_and_repeat_with_it() {
    let request = |seed| {
        let mut out = Vec::new();
        let mut client = Client::open(&REQUEST, seed, MAX_BYTES, &mut out);
        for _ in 0..2 {
            client.send(&mut out, Kind::Text, b"1234");
        }
        out
    };
    assert_eq!(request(1), request(1));
    let (one, two) = (request(1), request(2));
    let frames = |bytes: &[u8]| bytes[bytes.len() - 20..].to_vec();
    assert_ne!(one[..one.len() - 20], two[..two.len() - 20]);
    assert_ne!(frames(&one), frames(&two));
    let (first, second) = one[one.len() - 20..].split_at(10);
    assert_ne!(first, second, "each frame has a mask of its own");
}

/// Each way in which a target is no WebSocket, or another one than was asked for, in words.
#[test]
#[rustfmt::skip] // a target a row
fn each_refusal_is_said_in_words_with_what_came() {
    let (_, _, right) = agreed();
    let instead = |of: &str, new: &str| {
        assert!(right.contains(of), "{right}");
        right.replace(of, new).into_bytes()
    };
    let accept = right.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Accept: ")).unwrap();
    let wrong_accept = format!(
        "its answer to the handshake is wrong: Sec-WebSocket-Accept has to be `{accept}`, and is `xyz`");
    let no_accept = format!(
        "its answer to the handshake is wrong: Sec-WebSocket-Accept has to be `{accept}`, and is missing");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES)).into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
            "it answered the WebSocket handshake with HTTP 200 OK: it serves HTTP, and at this path no WebSocket; is the path right?; it said `hello`"),
        (b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://a/b\r\n\r\n".to_vec(),
            "it answered the WebSocket handshake with HTTP 301 Moved Permanently: name https://a/b instead"),
        (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n".to_vec(),
            "it answered the WebSocket handshake with HTTP 401 Unauthorized: it wants credentials, or another Origin, in the headers"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 27\r\n\r\n<h1>Not\r\n  \"Found\"</h1>\x1b\xff--more".to_vec(),
            "it answered the WebSocket handshake with HTTP 404 Not Found: is the path right?; it said `<h1>Not \"Found\"</h1>\\u{1b}\u{fffd}--`"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 \r\n\r\n".to_vec(),
            "it answered the WebSocket handshake with HTTP 500"),
        (b"220 mail.example.com ESMTP\r\n".to_vec(),
            "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said `220 mail.example.com ESMTP`"),
        (b"{\"type\":\"welcome\"}\n\n".to_vec(),
            "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said `{\\\"type\\\":\\\"welcome\\\"}`"),
        (vec![0; 90],
            "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said `\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00`"),
        (vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x16], "it speaks TLS: name it wss:// in place of ws://"),
        (b"HTTP/1.1 OK\r\n\r\n".to_vec(), "its answer to the handshake is no HTTP: invalid response status, got `HTTP/1.1 OK`"),
        (b"HTTP/2 101\r\n\r\n".to_vec(), "its answer to the handshake is no HTTP: invalid HTTP version, got `HTTP/2 101`"),
        (long, "the head of its answer to the handshake is longer than 16384 bytes"),
        (instead("Upgrade: websocket", "Upgrade: h2c"), "its answer to the handshake is wrong: Upgrade has to be `websocket`, and is `h2c`"),
        (instead("Connection: Upgrade\r\n", ""), "its answer to the handshake is wrong: Connection has to be `Upgrade`, and is missing"),
        (instead(accept, "xyz"), &wrong_accept),
        (instead(&format!("Sec-WebSocket-Accept: {accept}\r\n"), ""), &no_accept),
        (instead("Sec-WebSocket-Protocol: chat.2\r\n", ""), "it took none of the subprotocols offered: chat.2, chat.1"),
        (instead("chat.2", "mqtt"), "it took the subprotocol `mqtt`, and offered were: chat.2, chat.1"),
        (instead("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; x=1\r\n\r\n"),
            "it took the extension `permessage-deflate; x=1`, and none was offered"),
    ];
    for (answer, said) in cases {
        for chunks in [vec![&answer[..]], answer.chunks(1).collect(), answer.chunks(17).collect()] {
            let (mut client, ..) = agreed();
            let mut got = Vec::new();
            for mut chunk in chunks {
                while let Some(incoming) = client.next(&mut chunk, &mut Vec::new()) {
                    got.push(Got::from(incoming));
                }
            }
            let [Got::Refused(refused)] = &got[..] else {
                panic!("{said}: {got:?}");
            };
            assert_eq!(refused.to_string(), said);
            assert!(client.is_closed() && !client.is_open());
            assert_eq!(client.finish(), None);
        }
    }
    let (mut client, ..) = agreed();
    let answer = instead("Sec-WebSocket-Protocol: chat.2", "Sec-WebSocket-Protocol:  chat.1 ");
    let opened = client.next(&mut &answer[..], &mut Vec::new()).map(Got::from);
    assert_eq!(opened, Some(Got::Open(Some("chat.1".to_owned()))));
}

/// A target that hangs up, or says half of something.
#[test]
fn a_stream_that_ends_before_the_answer_is_said_to() {
    for (heard, said) in [
        (
            &b""[..],
            "it hung up in place of an answer to the WebSocket handshake",
        ),
        (
            b"HTTP/1.1 101 Sw",
            "it hung up in the middle of its answer to the handshake: `HTTP/1.1 101 Sw`",
        ),
        (
            b"HT",
            "it hung up in the middle of its answer to the handshake: `HT`",
        ),
        (
            b"hello",
            "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said `hello`",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\nno",
            "it answered the WebSocket handshake with HTTP 400 Bad Request; it said `no`",
        ),
    ] {
        let (mut client, ..) = agreed();
        let mut input = heard;
        assert_eq!(client.next(&mut input, &mut Vec::new()), None);
        let Some(Incoming::Refused(refused)) = client.finish() else {
            panic!("{said}");
        };
        assert_eq!(refused.to_string(), said);
        assert_eq!(client.finish(), None);
    }
    let mut open = client();
    assert_eq!(open.finish(), None);
    assert!(!open.is_closed(), "it did not say that it ends");
}

/// Each way in which a request is none, with its answer.
#[test]
#[rustfmt::skip] // a request a row
fn each_bad_request_is_answered_with_why() {
    let (_, request, _) = agreed();
    let request = String::from_utf8(request).unwrap();
    let instead = |of: &str, new: &str| {
        assert!(request.contains(of), "{request}");
        request.replace(of, new).into_bytes()
    };
    let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES)).into_bytes();
    let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)).into_bytes();
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"{\"message\":\"x\"}\n".to_vec(), "400 Bad Request", "expected an HTTP request, `GET /… HTTP/1.1`, got `{\\\"message\\\":\\\"x\\\"}`"),
        (b"\r\n\r\n".to_vec(), "400 Bad Request", "expected an HTTP request, `GET /… HTTP/1.1`, got ``"),
        (b"GET / HTTP/3.0\r\n\r\n".to_vec(), "400 Bad Request", "the request is no HTTP: invalid HTTP version"),
        (long, "431 Request Header Fields Too Large", "the head of the request is longer than 16384 bytes"),
        (fields, "400 Bad Request", "the request is no HTTP: too many headers"),
        (instead("GET /chat", "POST /chat"), "405 Method Not Allowed", "a WebSocket handshake is a GET, got POST"),
        (instead("HTTP/1.1", "HTTP/1.0"), "400 Bad Request", "the request is no HTTP: a WebSocket handshake is HTTP/1.1"),
        (instead("Host: localhost:7\r\n", ""), "400 Bad Request", "expected Host: the name of this server, got none"),
        (instead("Connection: Upgrade", "Connection: close"), "400 Bad Request", "expected Connection: Upgrade, got close"),
        (instead("Version: 13", "Version: 8"), "426 Upgrade Required", "expected Sec-WebSocket-Version: 13, got 8"),
        (instead("Sec-WebSocket-Version: 13\r\n", ""), "426 Upgrade Required", "expected Sec-WebSocket-Version: 13, got none"),
        (instead(key, "c2hvcnQ="), "400 Bad Request", "expected Sec-WebSocket-Key: 16 bytes in base64, got c2hvcnQ="),
        (instead("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n"), "400 Bad Request", "a WebSocket handshake has no body"),
        (instead("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"), "400 Bad Request", "a WebSocket handshake has no body"),
    ];
    for (bytes, status, said) in cases {
        for chunks in [vec![&bytes[..]], bytes.chunks(1).collect()] {
            let mut handshake = Handshake::default();
            let asked = chunks.into_iter().find_map(|mut chunk| handshake.next(&mut chunk));
            let Some(Asked::Bad(bad)) = asked else {
                panic!("{said}: {asked:?}");
            };
            assert_eq!((bad.status(), &*bad.to_string()), (status, said));
            let mut out = Vec::new();
            bad.answer(&mut out);
            let out = String::from_utf8(out).unwrap();
            assert!(out.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{out}");
            assert!(out.ends_with(&format!("Connection: close\r\n\r\n{said}\n")), "{out}");
        }
    }
    let tls = Handshake::default().next(&mut &[0x16, 0x03, 0x01, 0x00][..]);
    let Some(Asked::Bad(bad)) = tls else {
        panic!("{tls:?}");
    };
    let mut out = Vec::new();
    bad.answer(&mut out);
    assert_eq!((bad, out), (BadRequest::Tls, vec![]));
    let plain = b"HEAD /x?y HTTP/1.0\r\n\r\n";
    let expected = Asked::Plain(Plain {
        method: "HEAD".to_owned(),
        path: "/x?y".to_owned(),
    });
    assert_eq!(Handshake::default().next(&mut &plain[..]), Some(expected));
}

/// A page of another host must not talk to this server through its reader's browser.
#[test]
fn a_page_of_another_host_is_known() {
    let upgrade = |host: &str, origin: &str| {
        let (_, request, _) = agreed();
        let request = String::from_utf8(request).unwrap();
        let request = request.replace("localhost:7\r\nUp", &format!("{host}\r\nUp"));
        let request = request.replace("http://localhost:7", origin);
        match Handshake::default().next(&mut request.as_bytes()) {
            Some(Asked::Upgrade(upgrade)) => upgrade.is_same_origin(),
            other => panic!("{other:?}"),
        }
    };
    assert!(upgrade("a:7", "http://a:7"));
    assert!(upgrade("a", "https://A"));
    assert!(upgrade("127.0.0.1", "127.0.0.1"), "as tsung says it");
    assert!(!upgrade("null", "null"));
    assert!(!upgrade("a:7", "http://a:8"));
    assert!(!upgrade("a:7", "http://a"));
    assert!(!upgrade("a", "null"));
    assert!(!upgrade("a", "http://evil.example/a"));
}

#[test]
fn what_cannot_stand_in_a_request_is_known() {
    let with = |host, path, subprotocols, fields| {
        let request = Request {
            host,
            path,
            subprotocols,
            fields,
        };
        request.check().map_err(|error| error.to_string())
    };
    assert_eq!(with("a", "/a?b=%20", &["x"], &[("A", "b\tc€")]), Ok(()));
    for (checked, said) in [
        (with("a b", "/", &[], &[]), "a host has neither"),
        (with("", "/", &[], &[]), "a host has neither"),
        (with("a", "x", &[], &[]), "a path begins with `/`"),
        (with("a", "/a b", &[], &[]), "a path begins with `/`"),
        (with("a", "/ä", &[], &[]), "a path begins with `/`"),
        (with("a", "/a#b", &[], &[]), "a path begins with `/`"),
        (
            with("a", "/", &["a,b"], &[]),
            "`a,b` is no name for a subprotocol",
        ),
        (
            with("a", "/", &[], &[("a b", "")]),
            "`a b` is no name for a header",
        ),
        (
            with("a", "/", &[], &[("HOST", "")]),
            "the handshake writes the header `HOST` itself",
        ),
        (
            with("a", "/", &[], &[("A", "b\r\nC: d")]),
            "the value of the header `A` has a control",
        ),
    ] {
        let error = checked.unwrap_err();
        assert!(error.starts_with(said), "{error}");
    }
}

proptest! {
    /// However the answer is cut, and whatever follows it.
    #[test]
    fn an_answer_is_the_same_however_it_is_cut(
        cuts in proptest::collection::vec(0_usize..60, 0..12),
        crlf in any::<bool>(),
    ) {
        let (_, request, answer) = agreed();
        let answer = if crlf { answer } else { answer.replace('\r', "") };
        let bytes = [answer.as_bytes(), b"\x81\x02hi"].concat();
        let (mut client, ..) = agreed();
        let mut got = Vec::new();
        for mut chunk in cut(&bytes, &cuts) {
            while let Some(incoming) = client.next(&mut chunk, &mut Vec::new()) {
                got.push(Got::from(incoming));
            }
        }
        let opened = Got::Open(Some("chat.2".to_owned()));
        prop_assert_eq!(got, [opened, Got::Message(Kind::Text, b"hi".to_vec())]);

        let mut handshake = Handshake::default();
        let whole = Handshake::default().next(&mut &request[..]);
        let asked = cut(&request, &cuts).into_iter().find_map(|mut part| handshake.next(&mut part));
        prop_assert_eq!(asked, whole);
    }

    #[test]
    fn rubbish_never_panics(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        begins in prop_oneof![Just("HTTP/1.1 101 x\r\n"), Just("GET / HTTP/1.1\r\n"), Just("")],
    ) {
        let (mut client, ..) = agreed();
        let mut handshake = Handshake::default();
        let begins = begins.as_bytes();
        for chunk in std::iter::once(begins).chain(chunks.iter().map(|chunk| &chunk[..])) {
            let mut input = chunk;
            while client.next(&mut input, &mut Vec::new()).is_some() {}
            if handshake.next(&mut &chunk[..]).is_some() {
                handshake = Handshake::default();
            }
        }
        while client.finish().is_some() {}
    }
}
