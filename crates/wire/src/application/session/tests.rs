//! Sessions against what servers say: the frames are those of real ones.

use proptest::prelude::*;

use super::*;
use crate::application::matching::{Match, Written};
use crate::application::spec::Step;
use crate::application::variables::{Names, Source};
use crate::payload::{self, Header, SenderId};

const RUN: u32 = 0x0bad_cafe;

fn step(names: &mut Names, send: &str, expect: &str) -> Step {
    let expect = (!expect.is_empty()).then(|| Match::whole(expect, names).unwrap());
    Step {
        send: (!send.is_empty()).then(|| Template::parse(send, names).unwrap()),
        expect,
        within_ns: 5_000_000_000,
    }
}

fn json(names: &mut Names, conditions: &[(&str, &str)]) -> Match {
    let written = conditions
        .iter()
        .map(|(path, text)| (*path, Written::Text(text)));
    Match::json(written, names).unwrap()
}

/// Socket.IO, with a token and an answer to each event.
fn socket_io() -> Spec {
    let mut names = Names::default();
    names.define("token", Source::Constant("s3cr3t".into()), true);
    let login = vec![
        step(&mut names, "", r#"0{"sid":"{sid}"*"#),
        step(&mut names, r#"40{"token":"{token}"}"#, "40{*"),
    ];
    let join = vec![step(&mut names, r#"42{id}["join","{room}"]"#, "43{id}[*")];
    let ack = Ack::Match(vec![Match::whole("43{id}[*", &mut names).unwrap()]);
    let refusal = vec![
        Match::whole("44{*", &mut names).unwrap(),
        Match::whole(r#"43{id}[{"error"*"#, &mut names).unwrap(),
    ];
    let ping = Match::whole("2", &mut names).unwrap();
    let noop = Match::whole("6", &mut names).unwrap();
    let publish = r#"42{id}["message","{room}","{payload}"]"#;
    let publish = Template::parse(publish, &names).unwrap();
    let pong = Template::parse("3", &names).unwrap();
    let leave = vec![step(&mut names, "41", "")];
    Spec {
        login,
        join,
        leave,
        ack,
        refusal,
        ignore: vec![noop],
        heartbeats: vec![Heartbeat::On {
            when: ping,
            send: pong,
        }],
        ..Spec::new(names, Transport::Stream, publish)
    }
}

/// The chat of the documentation: JSON both ways.
fn own_chat(ack: Ack) -> Spec {
    let mut names = Names::default();
    let mut join = step(&mut names, r#"{"type":"join","room":"{room}"}"#, "");
    join.expect = Some(json(&mut names, &[("type", "joined"), ("room", "{room}")]));
    let refusal = vec![json(&mut names, &[("type", "no"), ("id", "{id}")])];
    let publish = r#"{"type":"say","room":"{room}","id":{id},"text":"{payload}"}"#;
    let publish = Template::parse(publish, &names).unwrap();
    Spec {
        join: vec![join],
        ack,
        refusal,
        ..Spec::new(names, Transport::Stream, publish)
    }
}

fn ack_by_id() -> Ack {
    Ack::Match(vec![json(
        &mut Names::default(),
        &[("type", "ok"), ("id", "{id}")],
    )])
}

fn session(spec: Spec) -> Session {
    let rooms = Arc::new(RoomNames::new(["lobby", "hall"]));
    Session::new(Arc::new(spec), rooms, RUN, "talkers-3", 2)
}

fn sent(session: &mut Session) -> Vec<String> {
    let mut all = Vec::new();
    session.drain(|message| all.push(String::from_utf8_lossy(message).into_owned()));
    all
}

fn message(sender: u32, k: u64) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(sender),
        k,
        last: false,
        intended_ns: 5,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 1, &header, 60);
    String::from_utf8(text).unwrap()
}

fn publish(session: &mut Session, room: RoomId, sender: u32, k: u64) -> String {
    let mut out = Vec::new();
    let publishing = Publishing {
        room,
        text: &message(sender, k),
        id: u64::from(sender) * 1000 + k,
        claims: None,
    };
    session.publish(&publishing, &mut out);
    String::from_utf8(out).unwrap()
}

fn what(session: &mut Session, frame: &str) -> What {
    session.take(frame.as_bytes()).what
}

const LOBBY: RoomId = RoomId(1);
const HALL: RoomId = RoomId(2);
const NOBODY: RoomId = RoomId::UNNAMED;

fn ack(room: RoomId, of: u64) -> What {
    let of = Some(of);
    What::Ack { room, of }
}

#[test]
fn a_login_a_join_a_publish_its_ack_and_a_goodbye() {
    let mut one = session(socket_io());
    one.begin();
    assert!(sent(&mut one).is_empty(), "the server speaks first");
    let hello = r#"0{"sid":"JF7v","upgrades":[],"pingInterval":25000}"#;
    assert_eq!(what(&mut one, hello), What::Step);
    assert_eq!(sent(&mut one), [r#"40{"token":"s3cr3t"}"#]);
    let taken = one.take(br#"40{"sid":"5jC7"}"#);
    assert_eq!(
        (taken.what, taken.rule.to_string()),
        (What::LoggedIn, "login.1.expect".into())
    );
    one.join(LOBBY);
    one.join(HALL);
    assert_eq!(
        sent(&mut one),
        [r#"421["join","lobby"]"#, r#"422["join","hall"]"#]
    );
    assert_eq!(what(&mut one, r#"432["ok"]"#), What::Joined(HALL));
    assert_eq!(what(&mut one, r#"431["ok"]"#), What::Joined(LOBBY));
    let first = publish(&mut one, LOBBY, 7, 1);
    assert_eq!(
        first,
        format!(r#"423["message","lobby","{}"]"#, message(7, 1))
    );
    assert!(publish(&mut one, HALL, 8, 1).starts_with(r#"424["message","hall""#));
    assert_eq!(what(&mut one, r#"434[{"ok":true}]"#), ack(HALL, 8001));
    assert_eq!(what(&mut one, r#"433[{"ok":true}]"#), ack(LOBBY, 7001));
    // Again: for the same message. An answer to a join, again: for none.
    assert_eq!(what(&mut one, r#"433[{"ok":true}]"#), ack(LOBBY, 7001));
    assert_eq!(what(&mut one, r#"431["ok"]"#), What::Other);
    assert_eq!(
        what(&mut one, r#"4399["ok"]"#),
        What::Ack {
            room: NOBODY,
            of: None
        }
    );
    let relay = format!(r#"42["message","{}"]"#, message(9, 4));
    assert_eq!(what(&mut one, &relay), What::Delivery(14..74));
    assert_eq!(what(&mut one, "2"), What::Heartbeat);
    assert_eq!(sent(&mut one), ["3"]);
    assert_eq!(what(&mut one, "6"), What::Ignored);
    assert_eq!(what(&mut one, "41x"), What::Other);
    one.goodbye();
    assert_eq!(sent(&mut one), ["41"], "once, though there are two rooms");
    assert_eq!(one.spec().tally.acks(), 3);
    assert_eq!(
        (one.spec().tally.others(), one.spec().tally.first_other()),
        (2, Some(r#"431["ok"]"#))
    );
}

#[test]
fn a_refusal_is_looked_at_before_everything_else_that_would_match() {
    let mut one = session(socket_io());
    one.begin();
    let refused = What::Refused {
        room: NOBODY,
        of: None,
    };
    assert_eq!(what(&mut one, r#"44{"message":"no s3cr3t"}"#), refused);
    let trouble = one.trouble().unwrap();
    assert_eq!(
        trouble,
        r#"it refused login.0 (by refusal.0): it said 44{"message":"no {token}"}"#
    );

    let mut one = session(socket_io());
    one.join(LOBBY);
    let refused = What::Refused {
        room: LOBBY,
        of: None,
    };
    assert_eq!(what(&mut one, r#"431[{"error":"full"}]"#), refused);
    assert!(!one.is_waiting());
    publish(&mut one, HALL, 8, 1);
    let refused = What::Refused {
        room: HALL,
        of: Some(8001),
    };
    assert_eq!(what(&mut one, r#"432[{"error":"too long"}]"#), refused);
}

#[test]
fn a_join_whose_answer_names_no_room_is_answered_in_turn() {
    let mut spec = own_chat(Ack::None);
    spec.join[0].expect = Some(json(&mut Names::default(), &[("type", "joined")]));
    let mut one = session(spec);
    one.join(HALL);
    one.join(LOBBY);
    assert_eq!(one.only_room(), None);
    assert_eq!(what(&mut one, r#"{"type": "joined"}"#), What::Joined(HALL));
    assert_eq!(what(&mut one, r#"{"type": "joined"}"#), What::Joined(LOBBY));
    assert_eq!(what(&mut one, r#"{"type": "joined"}"#), What::Other);
}

#[test]
fn what_nothing_answers_is_not_claimed() {
    let mut one = session(Spec {
        join: vec![step(&mut Names::default(), "JOIN #x", "")],
        ..own_chat(Ack::Echo)
    });
    one.begin();
    one.join(LOBBY);
    assert!(!one.is_waiting());
    assert_eq!(one.only_room(), Some(LOBBY));
    assert_eq!(what(&mut one, "welcome"), What::Other);
    one.leave(LOBBY);
    assert_eq!(one.only_room(), Some(NOBODY));
    assert_eq!(sent(&mut one), ["JOIN #x"]);
}

#[test]
fn acks_without_ids_are_for_the_oldest() {
    let by_order = Ack::Match(vec![json(&mut Names::default(), &[("type", "ok")])]);
    for (spec, frame) in [
        (own_chat(by_order), r#"{"type":"ok"}"#),
        (own_chat(Ack::Next), "+OK"),
    ] {
        let mut one = session(spec);
        assert_eq!(what(&mut one, frame), What::Other, "nothing was sent");
        publish(&mut one, LOBBY, 7, 1);
        publish(&mut one, HALL, 8, 1);
        assert_eq!(what(&mut one, frame), ack(LOBBY, 7001));
        assert_eq!(what(&mut one, frame), ack(HALL, 8001));
        assert_eq!(what(&mut one, frame), What::Other);
    }
}

/// A mutation that answers with the text is an ack, and what a subscription brings is a delivery,
/// though both look alike.
#[test]
fn an_ack_may_have_the_message_in_it() {
    let next = Ack::Match(vec![json(
        &mut Names::default(),
        &[("type", "next"), ("id", "{id}")],
    )]);
    let mut one = session(own_chat(next));
    publish(&mut one, LOBBY, 7, 1);
    let own = message(7, 1);
    let with =
        |id: &str, text: &str| format!(r#"{{"type":"next","id":"{id}","payload":"{text}"}}"#);
    assert!(matches!(
        what(&mut one, &with("r1", &own)),
        What::Delivery(_)
    ));
    assert!(matches!(
        what(&mut one, &with("1", &message(9, 1))),
        What::Delivery(_)
    ));
    assert_eq!(what(&mut one, &with("1", &own)), ack(LOBBY, 7001));
    assert!(matches!(
        what(&mut one, &with("r1", &own)),
        What::Delivery(_)
    ));
}

#[test]
fn what_is_damaged_or_of_another_run_is_a_delivery_all_the_same() {
    let mut one = session(own_chat(ack_by_id()));
    let own = message(9, 1);
    let damaged = own.replace(&own[13..16], "!!!");
    let frame = format!(r#"{{"text":"{damaged}"}}"#);
    assert_eq!(what(&mut one, &frame), What::Delivery(9..69));
    let frame = format!(r#"{{"text":"{own}","html":"<b>{}</b>"}}"#, message(9, 2));
    let What::Delivery(at) = what(&mut one, &frame) else {
        panic!("no delivery");
    };
    let next = one.next_delivery(frame.as_bytes(), at.end).unwrap();
    assert_eq!(&frame[next.clone()], message(9, 2));
    assert_eq!(one.next_delivery(frame.as_bytes(), next.end), None);
}

#[test]
fn heartbeats_are_sent_in_time_and_their_values_are_their_own() {
    let mut names = Names::default();
    let when = Match::whole("PING {token}", &mut names).unwrap();
    let pong = Template::parse("PONG {token}", &names).unwrap();
    let ping = Template::parse("PING", &names).unwrap();
    let publish = Template::parse("{payload}", &names).unwrap();
    let second = 1_000_000_000;
    let mut one = session(Spec {
        heartbeats: vec![
            Heartbeat::On { when, send: pong },
            Heartbeat::Every {
                interval_ns: 30 * second,
                send: ping,
            },
        ],
        end: (*b"\r\n").into(),
        ..Spec::new(names, Transport::Stream, publish)
    });
    for token in ["a", "b"] {
        assert_eq!(what(&mut one, &format!("PING {token}")), What::Heartbeat);
        assert_eq!(sent(&mut one), [format!("PONG {token}\r\n")]);
    }
    assert_eq!(one.timer(5 * second), Some(35 * second));
    assert!(sent(&mut one).is_empty());
    assert_eq!(one.timer(36 * second), Some(66 * second));
    assert_eq!(sent(&mut one), ["PING\r\n"]);
}

#[test]
fn a_login_that_is_not_answered_in_time_says_what_came_instead() {
    let mut one = session(socket_io());
    one.begin();
    assert_eq!(
        one.awaited().unwrap(),
        r#"answer to login.0 (0{"sid":"{sid}"*)"#
    );
    assert_eq!(one.timer(10), Some(5_000_000_010));
    assert_eq!(what(&mut one, "0[s3cr3t]"), What::Other);
    assert_eq!(one.timer(5_000_000_010), None);
    assert_eq!(
        one.trouble().unwrap(),
        "it did not send what login.0.expect waits for within 5 s (0{\"sid\":\"{sid}\"*); what came \
         instead: 0[{token}]"
    );
}

#[test]
fn a_value_that_is_missing_where_it_is_needed_is_trouble() {
    let mut names = Names::default();
    names.define("sid", Source::Captured, false);
    let login = vec![step(&mut names, "hello {sid}", "")];
    let publish = Template::parse("{payload}", &names).unwrap();
    let mut one = session(Spec {
        login,
        ..Spec::new(names, Transport::Stream, publish)
    });
    one.begin();
    assert_eq!(
        one.trouble(),
        Some("login.0.send needs {sid}, which has no value by then")
    );
    assert!(sent(&mut one).is_empty());
}

/// One answer of a server to a chat of its own.
/// Two steps of a script, the second of which sends what the first one captured.
fn asking() -> Session {
    let mut spec = own_chat(ack_by_id());
    let who = json(&mut spec.names, &[("type", "you"), ("key", "{key}")]);
    let mut first = step(&mut spec.names, "WHO", "");
    first.expect = Some(who);
    let mut second = step(&mut spec.names, "USE {key}", "");
    second.expect = Some(json(&mut spec.names, &[("type", "no"), ("id", "0")]));
    spec.asks = vec![first, second];
    session(spec)
}

#[test]
fn what_a_script_asks_is_answered_and_captured_for_the_next_step() {
    let mut one = asking();
    one.ask(0);
    assert_eq!(sent(&mut one), ["WHO"]);
    assert!(one.is_asking());
    assert_eq!(what(&mut one, r#"{"type":"news"}"#), What::Other);
    assert!(one.is_asking());
    assert_eq!(
        what(&mut one, r#"{"key":"k1","type":"you"}"#),
        What::Answered
    );
    assert!(!one.is_asking());
    assert_eq!(one.give_up_asking(), None);
    // What it expects is looked for before refusals, of which this would be one.
    one.ask(1);
    assert_eq!(sent(&mut one), ["USE k1"]);
    assert_eq!(what(&mut one, r#"{"type":"no","id":0}"#), What::Answered);
    assert_eq!(one.give_up_asking(), None);
    assert_eq!(one.trouble(), None);
}

#[test]
fn what_a_script_asks_in_vain_is_given_up_with_what_came_instead() {
    let expected = r#"type = "you""#;
    for (frames, instead) in [
        (&[][..], ""),
        (&[r#"{"a":1}"#, r#"{"b":2}"#], r#"{"a":1}"#),
        (&[r#"{"type":"no","id":"x"}"#], r#"{"type":"no","id":"x"}"#),
    ] {
        let mut one = asking();
        one.ask(0);
        for frame in frames {
            what(&mut one, frame);
        }
        let (match_text, came) = one.give_up_asking().unwrap();
        assert!(match_text.contains(expected), "{match_text}");
        assert_eq!(came, instead);
        assert!(!one.is_asking() && one.give_up_asking().is_none());
    }
    // What has no value is not sent, and nobody waits for its answer.
    let mut one = asking();
    one.ask(1);
    assert_eq!(sent(&mut one), [""; 0]);
    assert!(!one.is_asking());
    assert_eq!(one.give_up_asking(), None);
    let trouble = one.trouble().unwrap();
    assert!(trouble.contains("script.send needs {key}"), "{trouble}");
}

#[derive(Debug, Clone)]
enum Answer {
    Ack(usize),
    Relay(u64),
    Noise(String),
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        (0..20_usize).prop_map(Answer::Ack),
        (1..9_u64).prop_map(Answer::Relay),
        "[ -~]{0,20}".prop_map(Answer::Noise),
    ];
    prop::collection::vec(answer, 0..40)
}

proptest! {
    /// Whatever is answered in whichever order: each ack is for the message whose number it has, and
    /// each relay is the message that was published.
    #[test]
    fn answers_are_for_what_they_name(answers in answers()) {
        let mut one = session(own_chat(ack_by_id()));
        let rooms = [LOBBY, HALL];
        for k in 0..20 {
            publish(&mut one, rooms[k % 2], 7 + (k % 2) as u32, k as u64 / 2 + 1);
        }
        for answer in answers {
            match answer {
                Answer::Ack(k) => {
                    let frame = format!("{{ \"id\" : {}, \"type\":\"ok\"}}", k + 1);
                    let id = 7000 + (k % 2) as u64 * 1000 + k as u64 / 2 + 1;
                    prop_assert_eq!(what(&mut one, &frame), ack(rooms[k % 2], id));
                }
                Answer::Relay(k) => {
                    let text = message(99, k);
                    let frame = format!("{{\"type\":\"said\",\"text\":\"{text}\"}}");
                    let What::Delivery(at) = what(&mut one, &frame) else {
                        panic!("no delivery");
                    };
                    prop_assert_eq!(&frame[at], text);
                }
                Answer::Noise(frame) => {
                    prop_assert_eq!(what(&mut one, &frame), What::Other);
                }
            }
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9)) {
        for spec in [socket_io(), own_chat(ack_by_id()), own_chat(Ack::Next)] {
            let mut one = session(spec);
            one.begin();
            one.join(LOBBY);
            for (at, frame) in frames.iter().enumerate() {
                let _ = one.take(frame);
                let _ = one.timer(at as u64 * 3_000_000_000);
            }
            let _ = sent(&mut one);
        }
    }
}
