//! Section 6: each error, what follows, and what nobody else sees of it (S9).

use chatbench::server::Config;

use crate::client::{Client, Server};

#[test]
fn errors_that_go_on_come_in_order_with_acks_and_relays_and_touch_nobody_else() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    bob.publish("from bob", 1);
    bob.expect("ack");
    assert_eq!(ann.expect("relay")["seq"], 1);
    ann.send(concat!(
        "{\"message\":\"one\",\"id\":1}\n",
        "not json\n",
        "{\"message\":\"\",\"id\":2}\n",
        "{\"id\":3}\n",
        "[\"an array\"]\n",
        "{\"message\":4,\"id\":4}\n",
        "{\"message\":\"a\",\"message\":\"b\"}\n",
        "{\"message\":\"two\",\"id\":5}\n",
    ));
    ann.send(b"{\"message\":\"\xff\"}\n");
    assert_eq!(ann.expect("ack")["seq"], 2);
    assert!(ann.expect_error("malformed").get("id").is_none());
    assert_eq!(ann.expect_error("empty-message")["id"], 2);
    assert_eq!(ann.expect_error("malformed")["id"], 3);
    ann.expect_error("malformed");
    assert_eq!(ann.expect_error("malformed")["id"], 4);
    ann.expect_error("malformed");
    let ack = ann.expect("ack");
    assert_eq!((&ack["seq"], &ack["id"]), (&3.into(), &5.into()));
    assert!(ann.expect_error("malformed")["detail"].is_string());
    assert_eq!(ann.leave(), (vec![], 3));
    assert_eq!(bob.expect("relay")["message"], "one");
    assert_eq!(bob.expect("relay")["message"], "two");
    assert_eq!(bob.leave(), (vec![], 3));
    assert_eq!(server.stop().errors, 7);
}

#[test]
fn malformed_lines_in_a_row_end_the_session_and_one_good_line_starts_the_row_anew() {
    let server = Server::start(Config {
        max_errors: 3,
        ..Config::default()
    });
    let mut ann = server.join();
    ann.send("x\nx\n{\"message\":\"good\"}\nx\nx\n{\"message\":\"\"}\nx\nx\nx\n{\"message\":\"too late\"}\n");
    for kind in ["error", "error", "ack", "error", "error", "error"] {
        ann.expect(kind);
    }
    for _ in 0..3 {
        ann.expect_error("malformed");
    }
    ann.expect_end();
    drop(ann);
    let stats = server.stop();
    assert_eq!((stats.published, stats.errors), (1, 8));
}

#[test]
fn by_default_a_hundred_malformed_lines_are_the_limit() {
    let server = Server::with_defaults();
    let mut ann = server.join();
    ann.send("x\n".repeat(150));
    for _ in 0..100 {
        ann.expect_error("malformed");
    }
    ann.expect_end();
}

#[test]
fn a_line_without_end_is_answered_and_the_answer_survives_what_still_comes() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    ann.publish("first", 1);
    let mut stream = ann.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Far more than the kernel holds: the server must read on, or close and reset.
        let _ = std::io::Write::write_all(&mut stream, &vec![b'a'; 4 << 20]);
    });
    sending.join().unwrap();
    assert_eq!(ann.expect("ack")["seq"], 1);
    ann.expect_error("line-too-long");
    ann.expect_end();
    assert_eq!(bob.expect("relay")["message"], "first");
    assert_eq!(bob.leave(), (vec![], 1));
}

#[test]
fn who_comes_when_the_server_is_full_is_told_so_and_a_place_given_up_is_a_place() {
    let server = Server::start(Config {
        max_clients: 2,
        ..Config::default()
    });
    let (ann, bob) = (server.join(), server.join());
    for _ in 0..20 {
        let mut eve = Client::connect(server.address);
        // Talking before being asked must not cost it the answer.
        let _ = std::io::Write::write_all(&mut eve.stream, b"{\"message\":\"let me in\"}\n");
        eve.expect_error("server-full");
        eve.expect_end();
    }
    assert_eq!(ann.leave(), (vec![], 0));
    let mut cal = server.join();
    cal.publish("in", 1);
    assert_eq!(cal.expect("ack")["seq"], 1);
    assert_eq!(bob.leave().1, 1);
    drop(cal);
    let stats = server.stop();
    assert_eq!((stats.joined, stats.refused), (3, 20));
}
