//! Clients that do not read, do not stop, or do not say goodbye (S11).

use std::sync::mpsc;

use chatbench::server::Config;
use serde_json::Value;

use crate::client::{Client, PATIENCE, Server};

#[test]
fn a_client_that_never_reads_is_cut_off_and_costs_the_others_nothing() {
    let server = Server::start(Config {
        backlog_bytes: 256 * 1024,
        ..Config::default()
    });
    let mut deaf = Client::connect_narrow(server.address);
    let (mut ann, bob) = (server.join(), server.join());
    // Enough to fill the kernel's buffers for one connection and the backlog, several times.
    const MESSAGES: u64 = 600;
    // Who reads is to keep up, however busy the machine is: the next message waits for it.
    let (heard, bob_heard) = mpsc::channel();
    let listening = std::thread::spawn(move || {
        let mut bob = bob;
        for seq in 1..=MESSAGES {
            assert_eq!(bob.expect("relay")["seq"], seq);
            heard.send(seq).unwrap();
        }
        bob
    });
    let text = "w".repeat(60_000);
    for id in 1..=MESSAGES {
        ann.publish(&text, id);
        assert_eq!(ann.expect("ack")["seq"], id);
        assert_eq!(bob_heard.recv_timeout(PATIENCE), Ok(id));
    }
    let bob = listening.join().unwrap();
    // What reached it before is whole lines in order; the reason follows if its socket took it.
    let got = String::from_utf8(deaf.read_to_any_end()).unwrap();
    let mut expected = 0..;
    for line in got
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let frame: Value = serde_json::from_str(line).unwrap();
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "slow-consumer");
            assert!(got.ends_with(line));
        } else {
            assert_eq!(frame["seq"], expected.next().unwrap());
        }
    }
    assert!((1..MESSAGES).contains(&expected.start));
    drop((ann, bob, deaf));
    let stats = server.stop();
    assert_eq!((stats.slow_consumers, stats.published), (1, MESSAGES));
}

#[test]
fn connections_past_the_limit_do_not_disturb_those_within() {
    let server = Server::start(Config {
        max_clients: 10,
        ..Config::default()
    });
    let mut ann = server.join();
    let mut bob = server.join();
    // More than may linger at once; none of them reads, says anything or hangs up meanwhile.
    let crowd: Vec<Client> = (0..400).map(|_| Client::connect(server.address)).collect();
    for id in 1..=20 {
        ann.publish("calm", id);
        assert_eq!(ann.expect("ack")["seq"], id);
        assert_eq!(bob.expect("relay")["seq"], id);
    }
    let refused = crowd
        .into_iter()
        .map(|mut client| client.frame().unwrap())
        .filter(|frame| frame["code"] == "server-full")
        .count();
    assert_eq!(refused, 392);
    drop((ann, bob));
    assert_eq!(server.stop().refused, 392);
}

#[test]
fn resets_with_everything_in_flight_leave_the_server_as_it_was() {
    let server = Server::with_defaults();
    let mut ann = server.join();
    for k in 0..100 {
        let mut client = Client::connect(server.address);
        match k % 4 {
            0 => {}
            1 => client.send("{\"mess"),
            2 => client.send("{\"message\":\"x\"}\n".repeat(100)),
            _ => client.send("garbage\n".repeat(200)),
        }
        client.reset();
    }
    ann.publish("still well", 7);
    let ack = std::iter::from_fn(|| ann.frame())
        .find(|frame| frame["type"] == "ack")
        .unwrap();
    assert_eq!(ack["id"], 7);
    drop(ann);
    server.stop();
}
