//! What the server promises (S1 to S11), and joining and leaving (J1 to J4).

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use chatbench::server::Config;
use serde_json::Value;

use crate::client::{Client, PATIENCE, Server};

/// Everything a session received between its welcome and its bye.
struct Seen {
    address: String,
    welcome_seq: u64,
    frames: Vec<Value>,
    bye_seq: u64,
    /// Texts published, by id, in order.
    sent: Vec<String>,
}

/// Joins, publishes while the others do, and leaves politely.
fn talk(server: &Server, who: usize, messages: usize, together: &Arc<Barrier>) -> Seen {
    let client = server.join();
    let together = Arc::clone(together);
    let texts = [
        "plain",
        "gr\u{fc}\u{df}e",
        "\u{1f469}\u{200d}\u{1f680}",
        "q\"\\\n\t\u{0}",
    ];
    let sent: Vec<String> = (0..messages)
        .map(|k| format!("{who}/{k} {}", texts[k % texts.len()]))
        .collect();
    let (address, welcome_seq) = (client.address(), client.welcome["seq"].as_u64().unwrap());
    let publishing = {
        let (mut stream, sent) = (client.stream.try_clone().unwrap(), sent.clone());
        std::thread::spawn(move || {
            together.wait();
            for (id, message) in sent.iter().enumerate() {
                let frame = serde_json::json!({ "message": message, "id": id });
                std::io::Write::write_all(&mut stream, format!("{frame}\n").as_bytes()).unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        })
    };
    let mut client = client;
    let mut frames: Vec<Value> = std::iter::from_fn(|| client.frame()).collect();
    publishing.join().unwrap();
    let bye = frames.pop().unwrap();
    assert_eq!(bye["type"], "bye");
    Seen {
        address,
        welcome_seq,
        frames,
        bye_seq: bye["seq"].as_u64().unwrap(),
        sent,
    }
}

#[test]
fn s1_to_s7_hold_while_everyone_talks_at_once() {
    const TALKERS: usize = 8;
    const MESSAGES: usize = 300;
    let server = Server::with_defaults();
    let together = Arc::new(Barrier::new(TALKERS));
    let observer = server.join();
    let sessions: Vec<Seen> = std::thread::scope(|scope| {
        let talkers: Vec<_> = (0..TALKERS)
            .map(|who| {
                let (server, together) = (&server, &together);
                scope.spawn(move || talk(server, who, MESSAGES, together))
            })
            .collect();
        talkers.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (log, last) = observer.leave();
    assert_eq!(last as usize, TALKERS * MESSAGES);

    // S1: the observer, who sent nothing, has all numbers, each once, in order.
    let mut by_seq = BTreeMap::new();
    for (relay, seq) in log.iter().zip(1..) {
        assert_eq!(
            (&relay["type"], &relay["seq"]),
            (&"relay".into(), &Value::from(seq))
        );
        by_seq.insert(seq, relay);
    }
    assert_eq!(by_seq.len(), TALKERS * MESSAGES);

    for session in &sessions {
        let mut acks = 0;
        // S2: no number is missing, twice or out of order from the welcome to the bye.
        let owed = session.welcome_seq + 1..=session.bye_seq;
        assert_eq!(session.frames.len(), owed.clone().count());
        for (frame, seq) in session.frames.iter().zip(owed) {
            assert_eq!(frame["seq"], seq);
            let said = by_seq[&seq];
            if said["client_ip"] == session.address.as_str() {
                // S3, S5: its own is an ack, in the order sent. S6: and says what it said.
                assert_eq!(frame["type"], "ack");
                assert_eq!(frame["id"], acks);
                assert_eq!(said["message"], session.sent[acks]);
                acks += 1;
            } else {
                // S4, S7: everyone else's is the same for all, sender included.
                assert_eq!(&frame, &said);
            }
        }
        assert_eq!(acks, MESSAGES);
    }
    assert_eq!(server.stop().published as usize, TALKERS * MESSAGES);
}

#[test]
fn s7_what_a_client_claims_to_be_changes_nothing() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    let claim = bob.address();
    ann.send(format!(
        "{{\"client_ip\":\"{claim}\",\"message\":\"it is me, bob\"}}\n"
    ));
    ann.expect("ack");
    assert_eq!(bob.expect("relay")["client_ip"], ann.address());
    assert_eq!(ann.welcome["client_ip"], ann.address());
}

#[test]
fn s8_what_is_sent_after_an_ack_gets_a_larger_number() {
    let server = Server::with_defaults();
    let mut clients = [server.join(), server.join(), server.join()];
    let mut latest = 0;
    for turn in 0..300 {
        let client = &mut clients[turn % 3];
        client.publish("next", 0);
        let ack = std::iter::from_fn(|| client.frame())
            .find(|frame| frame["type"] == "ack")
            .unwrap();
        let seq = ack["seq"].as_u64().unwrap();
        assert!(seq > latest, "{seq} after {latest}");
        latest = seq;
    }
}

#[test]
fn s10_an_acked_message_reaches_everyone_though_its_sender_is_gone() {
    let server = Server::with_defaults();
    let mut bob = server.join();
    for k in 1..=50 {
        let mut ann = server.join();
        ann.publish("last words", k);
        ann.expect("ack");
        ann.reset();
        let relay = bob.expect("relay");
        assert_eq!(
            (&relay["seq"], &relay["message"]),
            (&k.into(), &"last words".into())
        );
    }
    drop(bob);
    assert_eq!(server.stop().joined, 51);
}

#[test]
fn s11_a_flood_costs_nobody_a_message_and_its_acks_may_be_read_at_the_end() {
    // Less than the backlog in all, so that it does not matter who is how fast.
    const FLOOD: u64 = 100_000;
    let server = Server::with_defaults();
    let flooder = server.join();
    let mut stream = flooder.stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let frames = "{\"message\":\"noise\"}\n".repeat(FLOOD as usize);
        std::io::Write::write_all(&mut stream, frames.as_bytes()).unwrap();
    });
    let mut ann = server.join();
    let joined_at = ann.welcome["seq"].as_u64().unwrap();
    for id in 0..50 {
        ann.publish("may I", id);
        let ack = std::iter::from_fn(|| ann.frame())
            .find(|frame| frame["type"] == "ack")
            .unwrap();
        assert_eq!(ack["id"], id);
    }
    flood.join().unwrap();
    let (frames, last) = flooder.leave();
    assert_eq!(frames.len() as u64, FLOOD + 50);
    let mut heard = joined_at;
    while heard < last {
        ann.publish("more?", 50);
        heard = std::iter::from_fn(|| ann.frame())
            .find(|frame| frame["type"] == "ack")
            .unwrap()["seq"]
            .as_u64()
            .unwrap();
    }
    drop(ann);
    assert_eq!(server.stop().slow_consumers, 0);
}

#[test]
fn j1_the_welcome_comes_first_and_nothing_older_comes_after_it() {
    let server = Server::with_defaults();
    let mut ann = server.join();
    for id in 0..5 {
        ann.publish("before", id);
        ann.expect("ack");
    }
    let mut bob = server.join();
    assert_eq!(bob.welcome["seq"], 5);
    ann.publish("after", 5);
    let relay = bob.expect("relay");
    assert_eq!(
        (&relay["seq"], &relay["message"]),
        (&6.into(), &"after".into())
    );
}

#[test]
fn j2_who_half_closes_gets_all_that_is_owed_then_bye_then_the_end() {
    let server = Server::with_defaults();
    let mut ann = server.join();
    let frames: String = (0..1000)
        .map(|id| format!("{{\"message\":\"x\",\"id\":{id}}}\n"))
        .collect();
    ann.send(frames);
    let (acks, last) = ann.leave();
    assert_eq!(last, 1000);
    let ids: Vec<_> = acks.iter().map(|ack| ack["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    assert_eq!(server.stop().aborted, 0);
}

#[test]
fn j3_a_reset_in_the_middle_of_a_line_publishes_what_was_whole_and_no_more() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    ann.send("{\"message\":\"whole\"}\n{\"message\":\"cut o");
    assert_eq!(bob.expect("relay")["message"], "whole");
    ann.reset();
    let mut cal = server.join();
    assert_eq!(cal.welcome["seq"], 1);
    cal.publish("still here", 0);
    cal.expect("ack");
    assert_eq!(bob.expect("relay")["seq"], 2);
    drop((bob, cal));
    server.stop();
}

#[test]
fn j4_a_shutdown_takes_what_had_come_and_says_bye_to_all() {
    let server = Server::with_defaults();
    let address = server.address;
    let (idle, mut talker) = (server.join(), server.join());
    talker.send("{\"message\":\"one\"}\n{\"message\":\"two\"}\n{\"message\":\"half of thr");
    assert_eq!(talker.expect("ack")["seq"], 1);
    assert_eq!(talker.expect("ack")["seq"], 2);
    let mut idle = idle;
    let stopping = server.begin_stop();
    assert_eq!(talker.expect("bye")["seq"], 2);
    talker.expect_end();
    assert_eq!(idle.expect("relay")["message"], "one");
    assert_eq!(idle.expect("relay")["message"], "two");
    assert_eq!(idle.expect("bye")["seq"], 2);
    idle.expect_end();
    drop((idle, talker));
    let stats = stopping.join().unwrap();
    assert_eq!((stats.published, stats.aborted), (2, 0));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn j4_a_shutdown_waits_no_longer_than_it_is_told_to() {
    let drain = Duration::from_millis(300);
    let server = Server::start(Config {
        drain,
        ..Config::default()
    });
    let deaf = Client::connect_narrow(server.address);
    let mut ann = server.join();
    // More than the kernel takes for somebody who does not read: it cannot all be sent.
    let text = "z".repeat(60_000);
    for id in 0..200 {
        ann.publish(&text, id);
        ann.expect("ack");
    }
    drop(ann);
    let begun = Instant::now();
    let stats = server.stop();
    assert!(begun.elapsed() >= drain, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(stats.slow_consumers, 0);
    drop(deaf);
}
