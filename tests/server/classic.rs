//! Section 7: the original's dialect, C1 to C4.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use chatbench::server::Config;
use socket2::Socket;

use crate::client::{Client, PATIENCE, Server};

/// One connection of the original's kind.
struct Classic {
    stream: TcpStream,
}

impl Classic {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// A client that the server knows of: an ack can only come to one that has joined.
    fn join(server: &Server) -> Self {
        let mut client = Self::connect(server.classic_address);
        client.send(r#"{"message":"I am here"}"#);
        client.expect(&client.ack());
        client
    }

    fn address(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    fn ack(&self) -> String {
        format!("{}: 已经收到信息", self.address())
    }

    fn relay(&self, message: &str) -> String {
        relay(&self.address(), message)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// What comes next is this text, to the byte.
    fn expect(&mut self, text: &str) {
        let mut next = vec![0; text.len()];
        self.stream.read_exact(&mut next).unwrap();
        assert_eq!(String::from_utf8(next).unwrap(), text);
    }

    /// Nothing comes any more: the server hangs up.
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8(rest).unwrap(), "");
    }

    /// Half-closes and reads to the end.
    fn leave(mut self) -> String {
        self.stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn relay(address: &str, message: &str) -> String {
    format!("{address} 地址发送了请求消息：{message}")
}

#[test]
fn c1_objects_may_be_joined_and_split_anywhere() {
    let server = Server::with_defaults();
    let mut ann = Classic::join(&server);
    let mut bob = Classic::join(&server);
    ann.expect(&bob.relay("I am here"));
    let objects = "{\"client_ip\":\"x\",\"message\":\"h\u{e9}\"}{\"message\":\"{}\"} \r\n\t{ \"message\" : \"\\u4f60\" }";
    ann.send(objects);
    for byte in objects.as_bytes() {
        ann.send([*byte]);
    }
    for _ in 0..2 {
        ann.expect(&ann.ack().repeat(3));
        for message in ["h\u{e9}", "{}", "\u{4f60}"] {
            bob.expect(&ann.relay(message));
        }
    }
    assert_eq!(ann.leave(), "");
    assert_eq!(bob.leave(), "");
    assert_eq!(server.stop().published, 8);
}

#[test]
fn c1_what_is_no_such_object_closes_the_connection_and_is_not_relayed() {
    let server = Server::with_defaults();
    let witness = server.join();
    for input in [
        &b"garbage"[..],
        b"[\"client_ip\",\"message\"]",
        b"\"message\"",
        b"{\"client_ip\":\"1.2.3.4:5\"}",
        b"{\"message\":7}",
        b"{\"message\":\"\"}",
        b"{\"message\":\"a\",\"message\":\"b\"}",
        b"{\"message\":\"\xff\"}",
        b"{\"message\":\"a\"]}",
        b"{oops",
    ] {
        let mut eve = Classic::connect(server.classic_address);
        // What came before it counts; what comes behind it does not.
        eve.send([b"{\"message\":\"good\"}", input].concat());
        let _ = eve.stream.write_all(b"{\"message\":\"too late\"}");
        eve.expect(&eve.ack());
        eve.expect_end();
    }
    let (frames, last) = witness.leave();
    assert_eq!((frames.len(), last), (10, 10));
    assert!(frames.iter().all(|relay| relay["message"] == "good"));
    let stats = server.stop();
    assert_eq!((stats.published, stats.errors, stats.aborted), (10, 10, 0));
}

#[test]
fn f2_an_object_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::start(Config {
        max_line_bytes: 600,
        ..Config::default()
    });
    let mut ann = Classic::connect(server.classic_address);
    let object = |bytes: usize| {
        let text = "y".repeat(bytes - "{\"message\":\"\"}".len());
        (format!("{{\"message\":\"{text}\"}}"), text)
    };
    let (longest, text) = object(600);
    let mut bob = Classic::join(&server);
    // White space between objects is no part of any.
    ann.send(" ".repeat(2000) + &longest);
    bob.expect(&ann.relay(&text));
    ann.expect(&(bob.relay("I am here") + &ann.ack()));
    ann.send(object(601).0);
    ann.expect_end();
    let mut cal = Classic::connect(server.classic_address);
    cal.send("{\"message\":\"".to_owned() + &"z".repeat(600));
    cal.expect_end();
    assert_eq!(bob.leave(), "");
    assert_eq!(server.stop().published, 2);
}

#[test]
fn f3_half_an_object_at_the_end_is_never_published() {
    let server = Server::with_defaults();
    let mut ann = Classic::connect(server.classic_address);
    ann.send(r#"{"message":"whole"}{"message":"half"#);
    let ack = ann.ack();
    assert_eq!(ann.leave(), ack);
    let stats = server.stop();
    assert_eq!((stats.published, stats.errors, stats.aborted), (1, 0, 0));
}

#[test]
fn c2_and_c4_everyone_hears_everyone_in_their_own_words_and_in_one_order() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    let mut cal = Classic::join(&server);
    let mut dee = Classic::join(&server);
    cal.expect(&dee.relay("I am here"));
    for _ in 0..2 {
        ann.expect("relay");
        bob.expect("relay");
    }
    for k in 0..100 {
        // Whoever claims to be another is known by the address it has.
        let spoof = serde_json::json!({"client_ip": dee.address(), "message": format!("c{k}")});
        cal.send(spoof.to_string());
        cal.expect(&cal.ack());
        dee.expect(&cal.relay(&format!("c{k}")));
        for client in [&mut ann, &mut bob] {
            let frame = client.expect("relay");
            assert_eq!(frame["message"], format!("c{k}"));
            assert_eq!(frame["client_ip"], cal.address());
            assert_eq!(frame["seq"], 2 * k + 3);
        }
        ann.publish(&format!("a\n\"{k}"), k);
        assert_eq!(ann.expect("ack")["seq"], 2 * k + 4);
        assert_eq!(bob.expect("relay")["message"], format!("a\n\"{k}"));
        for client in [&mut cal, &mut dee] {
            client.expect(&relay(&ann.address(), &format!("a\n\"{k}")));
        }
    }
    assert_eq!((cal.leave(), dee.leave()), (String::new(), String::new()));
    assert_eq!(ann.leave(), (vec![], 202));
    assert_eq!(bob.leave(), (vec![], 202));
    assert_eq!(server.stop().published, 202);
}

#[test]
fn c2_acks_stand_where_the_senders_own_relays_stand_for_others() {
    const EACH: usize = 2000;
    let server = Server::with_defaults();
    let mut witness = server.join();
    let mut clients = [Classic::join(&server), Classic::join(&server)];
    clients[0].expect(&clients[1].relay("I am here"));
    let senders: Vec<_> = clients
        .iter()
        .map(|client| {
            let mut stream = client.stream.try_clone().unwrap();
            std::thread::spawn(move || {
                let objects: String = (0..EACH)
                    .map(|k| format!("{{\"message\":\"{k}\"}}"))
                    .collect();
                stream.write_all(objects.as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            })
        })
        .collect();
    for _ in 0..2 {
        witness.expect("relay");
    }
    // Who leaves first is owed nothing of what the other sends later: read both, then compare.
    let heard: Vec<_> = clients
        .iter()
        .map(|client| {
            let mut stream = client.stream.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut heard = String::new();
                stream.read_to_string(&mut heard).unwrap();
                heard
            })
        })
        .collect();
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    let heard: Vec<String> = heard.into_iter().map(|h| h.join().unwrap()).collect();
    let (mut expected, mut acks) = ([String::new(), String::new()], [0, 0]);
    for _ in 0..2 * EACH {
        let frame = witness.expect("relay");
        let message = frame["message"].as_str().unwrap();
        for (i, client) in clients.iter().enumerate() {
            if frame["client_ip"] == client.address() {
                expected[i].push_str(&client.ack());
                acks[i] += 1;
            } else if acks[i] < EACH || expected[i].len() < heard[i].len() {
                let sender = frame["client_ip"].as_str().unwrap();
                expected[i].push_str(&relay(sender, message));
            }
        }
    }
    assert_eq!(acks, [EACH, EACH]);
    assert!(heard[0] == expected[0], "the first heard something else");
    assert!(heard[1] == expected[1], "the second heard something else");
    drop(witness);
    assert_eq!(server.stop().aborted, 0);
}

#[test]
fn c3_no_welcome_no_bye_and_who_half_closes_gets_the_rest_first() {
    let server = Server::with_defaults();
    let idle = Classic::connect(server.classic_address);
    let mut ann = Classic::connect(server.classic_address);
    ann.send(r#"{"message":"x"}"#.repeat(1000));
    let acks = ann.ack().repeat(1000);
    assert!(ann.leave() == acks);
    drop(idle);
    assert_eq!(server.stop().published, 1000);
}

#[test]
fn c3_a_server_that_is_full_just_hangs_up() {
    let server = Server::start(Config {
        max_clients: 1,
        ..Config::default()
    });
    let ann = Classic::join(&server);
    let mut eve = Classic::connect(server.classic_address);
    let _ = eve.stream.write_all(b"{\"message\":\"let me in\"}");
    eve.expect_end();
    drop(eve);
    assert_eq!(ann.leave(), "");
    let stats = server.stop();
    assert_eq!((stats.refused, stats.published), (1, 1));
}

#[test]
fn c3_a_shutdown_sends_what_is_owed_and_hangs_up() {
    let server = Server::with_defaults();
    let mut ann = Classic::join(&server);
    let mut bob = Classic::join(&server);
    ann.expect(&bob.relay("I am here"));
    ann.send(r#"{"message":"last words"}{"mess"#);
    ann.expect(&ann.ack());
    let stopping = server.begin_stop();
    bob.expect(&ann.relay("last words"));
    bob.expect_end();
    ann.expect_end();
    drop((ann, bob));
    let stats = stopping.join().unwrap();
    assert_eq!((stats.published, stats.aborted), (3, 0));
}

#[test]
fn s11_a_classic_client_that_never_reads_is_cut_off_and_costs_the_others_nothing() {
    let server = Server::start(Config {
        backlog_bytes: 256 * 1024,
        ..Config::default()
    });
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.classic_address.into()).unwrap();
    let mut deaf = Classic {
        stream: socket.into(),
    };
    deaf.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    deaf.send(r#"{"message":"I am here"}"#);
    let mut ann = server.join();
    // Far more than the kernel takes for somebody who does not read, and the backlog besides.
    let text = "z".repeat(60_000);
    for id in 0..200 {
        ann.publish(&text, id);
        while ann.frame().unwrap()["type"] != "ack" {}
    }
    let (_, last) = ann.leave();
    let mut got = Vec::new();
    let _ = deaf.stream.read_to_end(&mut got); // an end or a reset: it is over
    assert!(got.len() < 200 * text.len(), "{} bytes", got.len());
    let stats = server.stop();
    assert_eq!((last, stats.slow_consumers, stats.aborted), (201, 1, 1));
}

#[test]
fn an_ndjson_client_at_a_classic_listener_is_understood_as_far_as_it_goes() {
    let server = Server::with_defaults();
    let mut lost = Client::connect(server.classic_address);
    lost.publish("hello", 7);
    lost.half_close();
    let ack = format!("{}: 已经收到信息", lost.address());
    assert_eq!(lost.read_to_any_end(), ack.as_bytes());
    server.stop();
}
