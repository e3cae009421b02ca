use proptest::prelude::*;

use super::*;
use crate::naming::Naming;
use crate::nats::login::Login;
use crate::payload::{self, Header, SenderId};

const RUN: u32 = 0xdead_beef;

const INFO: &str = "INFO {\"server_id\":\"N\",\"max_payload\":1048576,\"nonce\":\"drawn\"} \r\n";

fn settings(ack: Ack) -> Arc<Settings> {
    Arc::new(Settings {
        subject: Naming::parse("chat.{room}").unwrap(),
        echo: false,
        ack,
        logins: Vec::new(),
        tls: false,
    })
}

fn open(settings: &Arc<Settings>, rooms: &[&str]) -> Nats {
    let opening = Opening {
        run: RUN,
        rooms: Arc::new(RoomNames::new(rooms.iter().copied())),
        ..Opening::reading(10_000)
    };
    Nats::open(settings, &opening)
}

fn text(k: u64) -> String {
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
    String::from_utf8(text).unwrap()
}

fn message(room: &str, sid: u64, k: u64) -> String {
    let text = text(k);
    format!("MSG chat.{room} {sid} {}\r\n{text}\r\n", text.len())
}

/// What is observed of a stream that comes in these pieces, and what is sent in answer.
fn observed(conn: &mut Nats, pieces: &[&[u8]]) -> (Vec<String>, String) {
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
    (seen, String::from_utf8(out).unwrap())
}

fn seen(conn: &mut Nats, stream: &str) -> Vec<String> {
    observed(conn, &[stream.as_bytes()]).0
}

/// One that is logged in, and in these rooms.
fn joined(ack: Ack, rooms: &[&str]) -> Nats {
    let mut conn = open(&settings(ack), rooms);
    let oks = if ack == Ack::Ok { "+OK\r\n" } else { "" };
    let unnamed = if rooms.is_empty() { oks } else { "" };
    let told = seen(&mut conn, &format!("{INFO}{oks}{unnamed}PONG\r\n"));
    assert_eq!(told, ["0 open"]);
    for room in 1..=rooms.len() as u32 {
        assert!(conn.join(&mut Vec::new(), RoomId(room)));
        let told = seen(&mut conn, &format!("{oks}PONG\r\n"));
        assert_eq!(told, [format!("{room} open")]);
    }
    conn
}

fn publish(conn: &mut Nats, out: &mut Vec<u8>, room: u32, id: u64) {
    let publish = Publishing {
        room: RoomId(room),
        text: "hello",
        id,
        claims: None,
    };
    assert_eq!(conn.publish(out, publish), None);
}

#[test]
fn a_client_says_who_it_is_when_the_server_has_said_what_it_is() {
    let mut settings = (*settings(Ack::Flush)).clone();
    settings.logins = vec![Login {
        user: Some("ann".into()),
        password: Some("secret".into()),
        ..Login::default()
    }];
    let mut conn = open(&Arc::new(settings.clone()), &[]);
    assert_eq!(conn.awaited(), "INFO of a NATS server");
    let (told, sent) = observed(&mut conn, &[INFO.as_bytes()]);
    assert!(told.is_empty());
    let (connect, rest) = sent.split_once("\r\n").unwrap();
    let json: serde_json::Value =
        serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap();
    assert_eq!(
        (
            &json["user"],
            &json["pass"],
            &json["echo"],
            &json["verbose"]
        ),
        (
            &"ann".into(),
            &"secret".into(),
            &false.into(),
            &false.into()
        )
    );
    assert_eq!(rest, "SUB chat.chatbench 1\r\nPING\r\n");
    assert_eq!(conn.max_frame_bytes(), Some(1_048_576));
    assert!(!format!("{conn:?}").contains("secret"));
    // With rooms, nobody publishes in the one without a name.
    let mut conn = open(&Arc::new(settings), &["lobby"]);
    let (_, sent) = observed(&mut conn, &[INFO.as_bytes()]);
    assert!(sent.ends_with("}\r\nPING\r\n"), "{sent}");
}

#[test]
fn whoever_is_not_taken_in_knows_why() {
    let trouble = |stream: &str| {
        let mut conn = open(&settings(Ack::Flush), &[]);
        seen(&mut conn, stream);
        conn.trouble().unwrap_or_default()
    };
    for (stream, expected) in [
        (
            format!("{INFO}-ERR 'Authorization Violation'\r\n"),
            "it does not take the client in: Authorization Violation",
        ),
        (
            "INFO {\"tls_required\":true}\r\n".to_owned(),
            "it wants TLS: name it tls+nats://HOST:PORT",
        ),
        (
            "-ERR 'maximum connections exceeded'\r\n".to_owned(),
            "it does not take the client in: maximum connections exceeded",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n".to_owned(),
            "it is no NATS server: it speaks HTTP",
        ),
        (
            "220 mail.example ESMTP\r\n".to_owned(),
            "it is no NATS server: it said `220 mail.example ESMTP`",
        ),
        (
            "{\"type\":\"welcome\",\"protocol\":1}\n".to_owned(),
            "it is no NATS server: it speaks the ndjson dialect: name it ndjson://HOST:PORT",
        ),
        (
            format!("INFO {}", "x".repeat(100_000)),
            "it does not speak NATS: a line has more than 65536 bytes",
        ),
    ] {
        assert_eq!(trouble(&stream), expected);
    }
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let mut settings = (*settings(Ack::Flush)).clone();
    settings.logins = vec![Login {
        nkey: crate::nats::login::Seed::parse(seed).ok(),
        ..Login::default()
    }];
    let mut conn = open(&Arc::new(settings), &[]);
    seen(&mut conn, "INFO {}\r\n");
    assert_eq!(
        conn.trouble().unwrap(),
        "it has drawn nothing to be signed with an NKEY: it knows no NKEYs"
    );
}

#[test]
fn one_ping_follows_messages_that_go_out_at_once_and_its_answer_acks_them_all() {
    let mut conn = joined(Ack::Flush, &["a", "b"]);
    let mut out = Vec::new();
    publish(&mut conn, &mut out, 1, 11);
    publish(&mut conn, &mut out, 2, 12);
    assert_eq!(
        String::from_utf8(std::mem::take(&mut out)).unwrap(),
        "PUB chat.a 5\r\nhello\r\nPUB chat.b 5\r\nhello\r\nPING\r\n"
    );
    publish(&mut conn, &mut out, 1, 13);
    let stream = format!("PONG\r\n{}", message("a", 2, 1));
    let relay = message("a", 2, 1).into_bytes();
    let mut input = stream.as_bytes();
    let due = Due {
        frame: &relay,
        text: 0..0,
    };
    assert!(!conn.take_if(&mut input, &due));
    let first = conn.next(&mut input, &mut out);
    let of = |id| Seen::Ack {
        of: AckOf::Id(id),
        seq: 0,
    };
    assert_eq!(first, Some((RoomId(1), of(11))));
    assert!(
        !conn.take_if(&mut input, &due),
        "an ack is to come before it"
    );
    assert_eq!(conn.next(&mut input, &mut out), Some((RoomId(2), of(12))));
    assert!(conn.take_if(&mut input, &due));
    assert_eq!(seen(&mut conn, "PONG\r\n"), ["1 ack Id(13)"]);
    assert_eq!(seen(&mut conn, "PONG\r\n"), ["0 ack NoId"], "of nothing");
}

#[test]
fn a_message_that_may_not_be_published_is_refused_and_not_acked() {
    let denied = "-ERR 'Permissions Violation for Publish to \"chat.b\"'\r\n";
    let refused = "2 permissions-violation-for-publish of Some(2)";
    for (ack, answers, told) in [
        (
            Ack::Flush,
            format!("{denied}PONG\r\n"),
            vec![refused, "1 ack Id(1)", "1 ack Id(3)"],
        ),
        (
            Ack::Ok,
            format!("+OK\r\n{denied}+OK\r\n"),
            vec!["1 ack Id(1)", refused, "1 ack Id(3)"],
        ),
        (Ack::None, denied.to_owned(), vec![refused]),
    ] {
        let mut conn = joined(ack, &["a", "b"]);
        let mut out = Vec::new();
        for (room, id) in [(1, 1), (2, 2), (1, 3)] {
            publish(&mut conn, &mut out, room, id);
        }
        assert_eq!(seen(&mut conn, &answers), told, "{ack:?}");
    }
}

#[test]
fn a_room_that_may_not_be_joined_is_refused_and_not_joined() {
    let denied = "-ERR 'Permissions Violation for Subscription to \"chat.b\"'\r\n";
    for ack in [Ack::Flush, Ack::Ok] {
        let mut conn = open(&settings(ack), &["a", "b"]);
        let oks = if ack == Ack::Ok { "+OK\r\n" } else { "" };
        seen(&mut conn, &format!("{INFO}{oks}PONG\r\n"));
        conn.join(&mut Vec::new(), RoomId(2));
        conn.join(&mut Vec::new(), RoomId(1));
        let told = seen(&mut conn, &format!("{denied}PONG\r\n{oks}PONG\r\n"));
        let refused = "2 permissions-violation-for-subscription of None";
        assert_eq!(told, [refused, "1 open"], "{ack:?}");
    }
}

/// Between the subscription and the answer to the `PING` after it, messages may come.
#[test]
fn a_message_proves_that_its_receiver_has_joined() {
    let mut conn = open(&settings(Ack::Flush), &["a"]);
    seen(&mut conn, &format!("{INFO}PONG\r\n"));
    conn.join(&mut Vec::new(), RoomId(1));
    let relay = message("a", 2, 1);
    let stream = format!("{relay}{relay}PONG\r\n");
    let told = format!("1 relay {}", relay.len());
    assert_eq!(seen(&mut conn, &stream), ["1 open", &told, &told]);
    let mut conn = open(&settings(Ack::Flush), &[]);
    let relay = message("chatbench", 1, 1);
    let told = seen(&mut conn, &format!("{INFO}{relay}PONG\r\n"));
    assert_eq!(
        told,
        ["0 open".to_owned(), format!("0 relay {}", relay.len())]
    );
}

#[test]
fn the_answer_to_the_goodbye_ends_every_room_and_the_connection() {
    let mut conn = joined(Ack::Flush, &["a", "b"]);
    let mut out = Vec::new();
    assert!(conn.leave(&mut out, RoomId(1)));
    assert_eq!(seen(&mut conn, "PONG\r\n"), ["1 bye"]);
    out.clear();
    assert_eq!(conn.close(&mut out), Goodbye::Said);
    assert_eq!(out, b"UNSUB 3\r\nPING\r\n");
    let relay = message("b", 3, 1);
    let told = seen(&mut conn, &format!("{relay}PONG\r\n{relay}"));
    let came = format!("2 relay {}", relay.len());
    assert_eq!(told, [&came, "2 bye", "0 bye"]);
    assert!(conn.is_over());
}

#[test]
fn a_message_is_of_the_room_that_its_subject_says() {
    let mut conn = joined(Ack::Flush, &["a", "b"]);
    for (subject, sid, room) in [("a", 2, 1), ("b", 2, 2), ("c", 2, u32::MAX), ("a", 77, 1)] {
        let told = seen(&mut conn, &message(subject, sid, 1));
        assert!(told[0].starts_with(&format!("{room} relay")), "{told:?}");
    }
    assert_eq!(conn.room_of_next(message("b", 3, 1).as_bytes()), RoomId(2));
    assert_eq!(
        conn.room_of_next(message("b", 9, 1).as_bytes()),
        RoomId::UNNAMED
    );
    assert_eq!(conn.room_of_next(b"PONG\r\n"), RoomId::UNNAMED);
    let other = "MSG chat.a 2 5\r\nhello\r\n";
    assert_eq!(seen(&mut conn, other), ["0 Unknown"], "somebody else's");
    let (told, sent) = observed(&mut conn, &[b"PING\r\n"]);
    assert_eq!((told.len(), &*sent), (0, "PONG\r\n"));
}

proptest! {
    /// However a stream is cut, it is the same observations.
    #[test]
    fn a_stream_is_the_same_observations_however_it_is_cut(
        says in prop::collection::vec(0..9_usize, 0..20),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let stream: String = says.iter().map(|one| match one {
            0 => "PONG\r\n".to_owned(),
            1 => "PING\r\n".to_owned(),
            2 => "-ERR 'Permissions Violation for Publish to \"chat.a\"'\r\n".to_owned(),
            3 => "+OK\r\n".to_owned(),
            4 => "rubbish\r\n".to_owned(),
            5 => INFO.to_owned(),
            _ => message(["a", "b", "c"][one % 3], *one as u64 - 4, *one as u64),
        }).collect();
        let conn = || {
            let mut conn = joined(Ack::Flush, &["a", "b"]);
            for id in 1..4 {
                publish(&mut conn, &mut Vec::new(), 1 + id as u32 % 2, id);
            }
            conn.join(&mut Vec::new(), RoomId(1));
            conn
        };
        let whole = observed(&mut conn(), &[stream.as_bytes()]);
        let pieces = crate::frames::tests::pieces(stream.as_bytes(), &cuts);
        prop_assert_eq!(observed(&mut conn(), &pieces), whole);
    }

    #[test]
    fn rubbish_never_panics(chunks: Vec<Vec<u8>>) {
        let mut conn = joined(Ack::Ok, &["a"]);
        let pieces: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        for piece in pieces {
            let (mut input, mut out) = (piece, Vec::new());
            let _ = conn.room_of_next(input);
            while conn.next(&mut input, &mut out).is_some() {}
        }
    }
}
