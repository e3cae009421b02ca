use proptest::prelude::*;

use super::*;
use crate::naming::Naming;
use crate::payload::{self, Header, SenderId};
use crate::redis::Login;

const RUN: u32 = 0xdead_beef;

const HELLO: &str = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n";

fn open(rooms: &[&str], logins: Vec<Login>, out: &mut Vec<u8>) -> Redis {
    let settings = Arc::new(Settings {
        channel: Naming::parse("chat.{room}").unwrap(),
        sharded: false,
        logins,
    });
    let opening = Opening {
        run: RUN,
        rooms: Arc::new(RoomNames::new(rooms.iter().copied())),
        ..Opening::reading(10_000)
    };
    Redis::open(&settings, &opening, out)
}

fn push(kind: &str, room: &str, payload: &str) -> String {
    let channel = format!("chat.{room}");
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    format!(">3\r\n{}{}{}", bulk(kind), bulk(&channel), bulk(payload))
}

fn subscribed(room: &str, ends: bool) -> String {
    let kind = if ends { "unsubscribe" } else { "subscribe" };
    push(kind, room, "").replace("$0\r\n\r\n", ":1\r\n")
}

fn message(room: &str, k: u64) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(7),
        k,
        last: false,
        intended_ns: 5,
        previous_ns: 1,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 42, &header, payload::HEADER_BYTES);
    push("message", room, &String::from_utf8(text).unwrap())
}

fn observed(conn: &mut Redis, pieces: &[&[u8]]) -> Vec<String> {
    let (mut seen, mut out) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some((room, one)) = conn.next(&mut input, &mut out) {
            seen.push(match one {
                Seen::Control => continue,
                Seen::Relay(relay) => format!("{} relay {}", room.0, relay.frame.len()),
                Seen::Error(complaint) => {
                    format!("{} {} of {:?}", room.0, complaint.code, complaint.of)
                }
                Seen::Ack { of, .. } => format!("{} ack {of:?}", room.0),
                Seen::Open { .. } => format!("{} open", room.0),
                Seen::Bye { .. } => format!("{} bye", room.0),
                other => format!("{} {other:?}", room.0),
            });
        }
    }
    assert!(out.is_empty());
    seen
}

fn seen(conn: &mut Redis, stream: &str) -> Vec<String> {
    observed(conn, &[stream.as_bytes()])
}

/// One that is in these rooms.
fn joined(rooms: &[&str]) -> Redis {
    let mut conn = open(rooms, Vec::new(), &mut Vec::new());
    assert_eq!(seen(&mut conn, HELLO), ["0 open"]);
    for (at, room) in rooms.iter().enumerate() {
        let id = at as u32 + 1;
        assert!(conn.join(&mut Vec::new(), RoomId(id)));
        let told = seen(&mut conn, &subscribed(room, false));
        assert_eq!(told, [format!("{id} open")]);
    }
    conn
}

fn publish(conn: &mut Redis, room: u32, id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let publish = Publishing {
        room: RoomId(room),
        text: "hello",
        id,
        claims: None,
    };
    assert_eq!(conn.publish(&mut out, publish), None);
    out
}

#[test]
fn a_client_is_in_once_it_is_subscribed() {
    let mut out = Vec::new();
    let login = Login {
        user: None,
        password: "secret".into(),
    };
    let mut conn = open(&[], vec![login], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n\
         *2\r\n$9\r\nSUBSCRIBE\r\n$14\r\nchat.chatbench\r\n"
    );
    assert!(!format!("{conn:?}").contains("secret"));
    assert!(seen(&mut conn, HELLO).is_empty());
    assert_eq!(seen(&mut conn, &subscribed("chatbench", false)), ["0 open"]);
}

#[test]
fn whoever_is_not_taken_in_knows_why() {
    for (stream, expected) in [
        (
            "-NOAUTH HELLO must be called with AUTH\r\n",
            "it does not take the client in: NOAUTH HELLO must be called with AUTH",
        ),
        (
            "INFO {\"server_id\":\"N\"} \r\n",
            "it is no Redis server: it speaks NATS: name it nats://HOST:PORT",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "it is no Redis server: it speaks HTTP",
        ),
        (
            "hello\r\n",
            "it does not speak the protocol of Redis: a value begins with `h`, as none does",
        ),
    ] {
        let mut conn = open(&[], Vec::new(), &mut Vec::new());
        seen(&mut conn, stream);
        assert_eq!(conn.trouble().unwrap_or_default(), expected);
    }
}

#[test]
fn answers_are_for_what_waits_the_longest() {
    let mut conn = joined(&["a", "b"]);
    assert_eq!(
        publish(&mut conn, 1, 11),
        b"*3\r\n$7\r\nPUBLISH\r\n$6\r\nchat.a\r\n$5\r\nhello\r\n"
    );
    publish(&mut conn, 2, 12);
    publish(&mut conn, 1, 13);
    let relay = message("a", 1);
    let stream = format!("{relay}:2\r\n-NOPERM no access\r\n:2\r\n:2\r\n");
    assert_eq!(
        seen(&mut conn, &stream),
        [
            &format!("1 relay {}", relay.len()),
            "1 ack Id(11)",
            "2 noperm of Some(12)",
            "1 ack Id(13)",
            "0 ack NoId"
        ]
    );
}

#[test]
fn a_room_that_may_not_be_joined_is_refused() {
    let mut conn = open(&["a", "b"], Vec::new(), &mut Vec::new());
    seen(&mut conn, HELLO);
    conn.join(&mut Vec::new(), RoomId(2));
    conn.join(&mut Vec::new(), RoomId(1));
    let stream = format!("-NOPERM no channel\r\n{}", subscribed("a", false));
    assert_eq!(seen(&mut conn, &stream), ["2 noperm of None", "1 open"]);
}

#[test]
fn the_answer_to_the_goodbye_ends_every_room_and_the_connection() {
    let mut conn = joined(&["a", "b"]);
    assert!(conn.leave(&mut Vec::new(), RoomId(1)));
    assert_eq!(seen(&mut conn, &subscribed("a", true)), ["1 bye"]);
    let mut out = Vec::new();
    assert_eq!(conn.close(&mut out), Goodbye::Said);
    assert_eq!(out, b"*1\r\n$4\r\nPING\r\n");
    let relay = message("b", 1);
    let told = seen(&mut conn, &format!("{relay}+PONG\r\n{relay}"));
    let came = format!("2 relay {}", relay.len());
    assert_eq!(told, [&came, "2 bye", "0 bye"]);
    assert!(conn.is_over());
}

#[test]
fn a_message_is_of_the_room_of_its_channel() {
    let mut conn = joined(&["a", "b"]);
    for (channel, room) in [("a", 1), ("b", 2), ("c", u32::MAX)] {
        let relay = message(channel, 1);
        let told = seen(&mut conn, &relay);
        assert_eq!(told, [format!("{room} relay {}", relay.len())]);
    }
    let next = |bytes: &str| conn.room_of_next(bytes.as_bytes());
    assert_eq!(next(&message("b", 1)), RoomId(2));
    assert_eq!(next(&message("c", 1)), RoomId::UNNAMED);
    assert_eq!(next(":1\r\n"), RoomId::UNNAMED);
    let other = push("message", "a", "hello");
    assert_eq!(seen(&mut conn, &other), ["0 Unknown"], "somebody else's");
    let relay = message("a", 2);
    let due = Due {
        frame: relay.as_bytes(),
        text: 0..0,
    };
    let mut input = relay.as_bytes();
    assert!(conn.take_if(&mut input, &due));
    assert!(input.is_empty());
}

proptest! {
    #[test]
    fn a_stream_is_the_same_observations_however_it_is_cut(
        says in prop::collection::vec(0..9_usize, 0..20),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let stream: String = says.iter().map(|one| match one {
            0 => ":3\r\n".to_owned(),
            1 => "-READONLY You can't write against a read only replica.\r\n".to_owned(),
            2 => subscribed("a", false),
            3 => subscribed("b", true),
            4 => "+PONG\r\n".to_owned(),
            5 => HELLO.to_owned(),
            _ => message(["a", "b", "c"][one % 3], *one as u64),
        }).collect();
        let conn = || {
            let mut conn = joined(&["a", "b"]);
            for id in 1..4 {
                publish(&mut conn, 1 + id as u32 % 2, id);
            }
            conn.leave(&mut Vec::new(), RoomId(2));
            conn
        };
        let whole = observed(&mut conn(), &[stream.as_bytes()]);
        let pieces = crate::frames::tests::pieces(stream.as_bytes(), &cuts);
        prop_assert_eq!(observed(&mut conn(), &pieces), whole);
    }

    #[test]
    fn rubbish_never_panics(chunks: Vec<Vec<u8>>) {
        let mut conn = joined(&["a"]);
        for chunk in &chunks {
            let (mut input, mut out) = (&chunk[..], Vec::new());
            let _ = conn.room_of_next(input);
            while conn.next(&mut input, &mut out).is_some() {}
        }
    }
}
