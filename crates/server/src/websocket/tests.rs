//! Clients over WebSocket and over ndjson, in memory and in paused time.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::shake_hands;
use crate::accept::admit;
use crate::connection::{flush, watch_stuck};
use crate::hub::Hub;
use crate::{Config, log::Log};
use chatbench_wire::Dialect;
use chatbench_wire::websocket::{Client, Incoming, Kind, Request};

use crate::cursor::{Cursor, Gather, MAX_WRITE_BYTES};

async fn beside_a_server(config: Config, test: impl AsyncFnOnce(Rc<Hub<DuplexStream>>)) {
    let hub = Rc::new(Hub::new(config));
    LocalSet::new()
        .run_until(async {
            spawn_local(flush(Rc::clone(&hub)));
            spawn_local(watch_stuck(Rc::clone(&hub)));
            let in_time = timeout(Duration::from_secs(3600), test(hub)).await;
            in_time.expect("what the test waits for does not come");
        })
        .await;
}

/// A client over WebSocket.
struct Guest {
    stream: DuplexStream,
    client: Client,
    /// What was read and not looked at.
    read: Vec<u8>,
}

const REQUEST: Request<'static> = Request {
    host: "here",
    path: "/",
    subprotocols: &[],
    fields: &[],
};

/// What a client hears.
#[derive(Debug, PartialEq)]
enum Heard {
    Open,
    Frame(Value),
    Pong(Vec<u8>),
    Closed(Option<u16>, String),
    /// The stream ended, or the handshake failed.
    Over(String),
}

impl Guest {
    fn dial(hub: &Rc<Hub<DuplexStream>>, name: &str, pipe_bytes: usize) -> Self {
        let (ours, theirs) = duplex(pipe_bytes);
        spawn_local(shake_hands(Rc::clone(hub), theirs, name.to_owned()));
        let mut read = Vec::new();
        let client = Client::open(&REQUEST, 5, 1 << 20, &mut read);
        Self {
            stream: ours,
            client,
            read,
        }
    }

    async fn welcomed(hub: &Rc<Hub<DuplexStream>>, name: &str, pipe_bytes: usize) -> Self {
        let mut guest = Self::dial(hub, name, pipe_bytes);
        let request = std::mem::take(&mut guest.read);
        guest.write(&request).await;
        assert_eq!(guest.next().await, Heard::Open);
        guest.expect("welcome").await;
        guest
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, frame: Value) {
        self.say_text(&frame.to_string()).await;
    }

    async fn say_text(&mut self, text: &str) {
        let mut out = Vec::new();
        self.client.send(&mut out, Kind::Text, text.as_bytes());
        self.write(&out).await;
    }

    async fn close(&mut self, code: u16) {
        let mut out = Vec::new();
        self.client.close(&mut out, code);
        self.write(&out).await;
    }

    async fn next(&mut self) -> Heard {
        loop {
            let (mut input, mut out) = (&self.read[..], Vec::new());
            let heard = match self.client.next(&mut input, &mut out) {
                None => None,
                Some(Incoming::Open { .. }) => Some(Heard::Open),
                Some(Incoming::Message { payload, .. }) => {
                    Some(Heard::Frame(serde_json::from_slice(payload).unwrap()))
                }
                Some(Incoming::Pong(payload)) => Some(Heard::Pong(payload.to_vec())),
                Some(Incoming::Closed { code, reason }) => {
                    Some(Heard::Closed(code, reason.to_owned()))
                }
                Some(Incoming::Refused(refused)) => Some(Heard::Over(refused.to_string())),
                Some(other) => panic!("{other:?}"),
            };
            self.read = input.to_vec();
            if let Some(heard) = heard {
                return heard;
            }
            let mut chunk = [0; 512];
            match self.stream.read(&mut chunk).await.unwrap() {
                0 => return Heard::Over(String::new()),
                bytes => self.read.extend_from_slice(&chunk[..bytes]),
            }
        }
    }

    async fn expect(&mut self, kind: &str) -> Value {
        match self.next().await {
            Heard::Frame(frame) => {
                assert_eq!(frame["type"], kind, "{frame}");
                frame
            }
            other => panic!("{other:?} in place of {kind}"),
        }
    }
}

/// Those of both protocols are in the same broadcast, and in the same rooms, through pipes of any
/// width: frames are sent in parts then.
#[tokio::test(start_paused = true)]
async fn clients_over_websocket_and_over_ndjson_hear_each_other() {
    for pipe_bytes in [1, 7, 100, 1 << 16] {
        beside_a_server(Config::default(), async |hub| {
            let mut web = Guest::welcomed(&hub, "web:1", pipe_bytes).await;
            let (ours, theirs) = duplex(pipe_bytes);
            admit(&hub, Dialect::Ndjson, theirs, "line:2");
            let mut line = BufReader::new(ours);
            let mut text = String::new();
            line.read_line(&mut text).await.unwrap();

            for id in 1..=20 {
                web.say(json!({ "message": "from the web", "id": id }))
                    .await;
                let ack = json!({ "type": "ack", "seq": id, "id": id });
                assert_eq!(web.next().await, Heard::Frame(ack));
                text.clear();
                line.read_line(&mut text).await.unwrap();
                let relay: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    (&relay["seq"], &relay["client_ip"]),
                    (&json!(id), &json!("web:1"))
                );
            }
            web.say(json!({ "join": "lobby", "id": 7 })).await;
            let joined = json!({ "type": "joined", "room": "lobby", "seq": 0, "id": 7 });
            assert_eq!(web.next().await, Heard::Frame(joined));
            for text in [
                "{\"join\":\"lobby\"}\n",
                "{\"message\":\"x\",\"room\":\"lobby\"}\n",
            ] {
                line.write_all(text.as_bytes()).await.unwrap();
            }
            line.write_all(&b"{\"message\":\"from a line\"}\n".repeat(3))
                .await
                .unwrap();
            let mut rooms = Vec::new();
            for _ in 0..4 {
                let relay = web.expect("relay").await;
                rooms.push(relay["room"].as_str().map(str::to_owned));
            }
            rooms.sort_unstable();
            assert_eq!(rooms, [None, None, None, Some("lobby".to_owned())]);

            // The bye comes before the close that answers the client's.
            web.close(4000).await;
            assert_eq!(web.expect("left").await["room"], "lobby");
            assert_eq!(web.expect("bye").await["seq"], 23);
            assert_eq!(web.next().await, Heard::Closed(Some(4000), String::new()));
            assert_eq!(web.next().await, Heard::Over(String::new()));
        })
        .await;
    }
}

/// A reader that has fallen off the log is sent the rest of its message, then the reason, then a
/// close; wherever its pipe was full.
#[tokio::test(start_paused = true)]
async fn a_slow_consumer_gets_the_rest_of_its_message_and_the_reason() {
    let small = Config {
        max_line_bytes: 512,
        backlog_bytes: 2048,
        ..Config::default()
    };
    for pipe_bytes in 200..280 {
        beside_a_server(small.clone(), async |hub| {
            let mut deaf = Guest::welcomed(&hub, "deaf:1", pipe_bytes).await;
            let mut ann = Guest::welcomed(&hub, "ann:2", 1 << 16).await;
            for seq in 1..=40 {
                ann.say(json!({ "message": "can you hear me?" })).await;
                assert_eq!(ann.expect("ack").await["seq"], seq);
            }
            let mut heard = 0;
            let reason = loop {
                match deaf.next().await {
                    Heard::Frame(frame) if frame["type"] == "relay" => {
                        heard += 1;
                        assert_eq!(frame["seq"], heard);
                    }
                    other => break other,
                }
            };
            let Heard::Frame(error) = reason else {
                panic!("{reason:?}");
            };
            assert_eq!(error["code"], "slow-consumer");
            assert!(heard < 40);
            assert_eq!(deaf.next().await, Heard::Closed(Some(1000), String::new()));
        })
        .await;
    }
}

/// What is wrong in a message is answered, and the session goes on; what is wrong in a frame ends it.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_answered() {
    let small = Config {
        max_line_bytes: 512,
        ..Config::default()
    };
    beside_a_server(small, async |hub| {
        let mut ann = Guest::welcomed(&hub, "ann:1", 1 << 16).await;
        for text in ["nonsense", "", "{\"message\":\"a\"}\n{\"message\":\"b\"}"] {
            ann.say_text(text).await;
            assert_eq!(ann.expect("error").await["code"], "malformed", "{text}");
        }
        let mut out = Vec::new();
        ann.client
            .send(&mut out, Kind::Binary, b"{\"message\":\"a\"}");
        ann.client.ping(&mut out, b"still there?");
        ann.write(&out).await;
        assert_eq!(ann.next().await, Heard::Pong(b"still there?".to_vec()));
        let error = ann.expect("error").await;
        assert_eq!(
            error["detail"],
            "a binary message, and frames are text messages"
        );
        ann.say(json!({ "message": "x".repeat(490), "id": 1 }))
            .await;
        assert_eq!(ann.expect("ack").await["id"], 1);
        ann.say(json!({ "message": "x".repeat(501), "id": 1 }))
            .await;
        assert_eq!(ann.expect("error").await["code"], "line-too-long");
        let long = "a message is longer than 511 bytes".to_owned();
        assert_eq!(ann.next().await, Heard::Closed(Some(1009), long));

        let mut bob = Guest::welcomed(&hub, "bob:1", 1 << 16).await;
        bob.write(b"\x81\x02hi").await;
        let unmasked = "a frame of the client is not masked, and each has to be";
        assert_eq!(bob.expect("error").await["detail"], unmasked);
        assert_eq!(
            bob.next().await,
            Heard::Closed(Some(1002), unmasked.to_owned())
        );
    })
    .await;
}

/// A client that pings and reads nothing has one answer wait for it, not all.
#[tokio::test(start_paused = true)]
async fn answers_to_pings_do_not_pile_up() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = Guest::welcomed(&hub, "ann:1", 64).await;
        let mut out = Vec::new();
        for n in 0..200_u8 {
            ann.client.ping(&mut out, &[n; 100]);
        }
        let last = ann.client.next(&mut &[][..], &mut Vec::new()).is_none();
        assert!(last);
        ann.write(&out).await;
        ann.say(json!({ "message": "x", "id": 1 })).await;
        let mut pongs = 0;
        loop {
            match ann.next().await {
                Heard::Pong(_) => pongs += 1,
                Heard::Frame(frame) => {
                    assert_eq!(frame["type"], "ack");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!((1..200).contains(&pongs), "{pongs}");
    })
    .await;
}

/// What is no handshake, and one for which there is no place, is answered in HTTP; what never
/// becomes one is answered in time. Others do not notice.
#[tokio::test(start_paused = true)]
async fn what_is_no_handshake_is_answered_and_ends() {
    let one = Config {
        max_clients: 1,
        ..Config::default()
    };
    beside_a_server(one, async |hub| {
        let ask = async |request: &[u8]| {
            let mut guest = Guest::dial(&hub, "stranger:1", 1 << 16);
            guest.write(request).await;
            let mut answer = String::new();
            guest.stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let mut silent = Guest::dial(&hub, "silent:1", 1 << 16);
        silent.write(b"GET / HT").await;
        let mut ann = Guest::welcomed(&hub, "ann:1", 1 << 16).await;
        for (request, status, said) in [
            (
                &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                "200 OK",
                "<!DOCTYPE html>",
            ),
            (
                b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
                "404 Not Found",
                "nothing is here",
            ),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
                "405 Method",
                "only GET",
            ),
            (
                b"{\"message\":\"x\"}\n",
                "400 Bad Request",
                "expected an HTTP request",
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
                "400 Bad Request",
                "expected Connection: Upgrade, got none",
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Origin: https://evil.example\r\n\r\n",
                "403 Forbidden",
                "pages of https://evil.example may not talk to this server: open one at http://a:1",
            ),
        ] {
            let answer = ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.contains(said), "{answer}");
        }
        assert_eq!(
            ask(b"\x16\x03\x01\x02\x00\x01\n\n").await,
            "",
            "no answer that TLS reads"
        );

        let mut second = Guest::dial(&hub, "second:1", 1 << 16);
        let request = std::mem::take(&mut second.read);
        second.write(&request).await;
        let full = "it answered the WebSocket handshake with HTTP 503 Service Unavailable; it said \
                    `there are 1 clients already`";
        assert_eq!(second.next().await, Heard::Over(full.to_owned()));

        let mut answer = String::new();
        silent.stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{answer}"
        );
        ann.say(json!({ "message": "x" })).await;
        ann.expect("ack").await;
    })
    .await;
}

/// What comes right after the request is read once the session is there.
#[tokio::test(start_paused = true)]
async fn messages_may_follow_the_request_at_once() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = Guest::dial(&hub, "ann:1", 1 << 16);
        let mut bytes = std::mem::take(&mut ann.read);
        let mut ready = Client::opened(1 << 16);
        ready.send(&mut bytes, Kind::Text, b"{\"message\":\"early\",\"id\":3}");
        ann.write(&bytes).await;
        assert_eq!(ann.next().await, Heard::Open);
        ann.expect("welcome").await;
        assert_eq!(ann.expect("ack").await["id"], 3);
    })
    .await;
}

/// The server's end: everyone gets what they are owed, a bye and a close.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_with_a_bye_and_a_close() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = Guest::welcomed(&hub, "ann:1", 1 << 16).await;
        ann.say(json!({ "message": "x" })).await;
        ann.expect("ack").await;
        hub.drain();
        assert_eq!(ann.expect("bye").await["seq"], 1);
        assert_eq!(ann.next().await, Heard::Closed(Some(1000), String::new()));
        drop(ann);
        hub.empty().await;
    })
    .await;
}

/// A line that is longer than a write goes in fragments, and whatever is sent of it in whatever
/// parts is one message.
#[test]
fn a_line_of_any_length_is_one_message_however_it_is_sent() {
    let mut log = Log::new(4 * MAX_WRITE_BYTES, 16 * MAX_WRITE_BYTES);
    let mut cursor = Cursor::join_silently(&log);
    let texts = [
        "a".repeat(3 * MAX_WRITE_BYTES),
        "b".repeat(2000),
        "c".to_owned(),
    ];
    for text in &texts {
        log.append("ann:1", text.as_str()).unwrap();
    }
    let (mut gather, mut frames) = (Gather::default(), super::Frames::default());
    let mut side = super::Side::new(9, Vec::new());
    let (mut client, mut heard, mut step) = (Client::opened(1 << 20), Vec::new(), 1);
    loop {
        cursor.gather(&log, &mut gather);
        side.frame(&mut frames, &gather, &log);
        if frames.bytes().is_empty() {
            break;
        }
        step = (step * 7 + 3) % 100_003;
        let sent = step.min(frames.bytes().len());
        let mut input = &frames.bytes()[..sent];
        while let Some(Incoming::Message { payload, .. }) =
            client.next_but_pings(&mut input, &mut Vec::new())
        {
            let relay: Value = serde_json::from_slice(payload).unwrap();
            heard.push(relay["message"].as_str().unwrap().to_owned());
        }
        let lines_bytes = side.took(sent, &frames);
        cursor.advance(&log, lines_bytes);
    }
    assert!(
        heard == texts,
        "{:?}",
        heard.iter().map(String::len).collect::<Vec<_>>()
    );
    assert!(!cursor.is_behind(&log));
}
