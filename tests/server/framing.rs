//! Rules F1 to F5 and the shapes of section 3.

use chatbench::server::Config;

use crate::client::Server;

#[test]
fn the_servers_frames_are_as_documented_to_the_byte() {
    let server = Server::with_defaults();
    let (mut ann, mut bob) = (server.join(), server.join());
    let (a, b) = (ann.address(), bob.address());
    ann.send(r#"{"client_ip":"1.2.3.4:5","message":"hello","id":7}"#);
    ann.send("\n{\"message\":\"no id\"}\nnot json\n");
    ann.half_close();
    assert_eq!(ann.line(), "{\"type\":\"ack\",\"seq\":1,\"id\":7}\n");
    assert_eq!(ann.line(), "{\"type\":\"ack\",\"seq\":2}\n");
    let error = ann.line();
    let prefix = "{\"type\":\"error\",\"code\":\"malformed\",\"detail\":\"";
    assert!(error.starts_with(prefix), "{error}");
    assert_eq!(ann.line(), "{\"type\":\"bye\",\"seq\":2}\n");
    assert_eq!(ann.line(), "");
    let relay = |seq, message| {
        format!(
            "{{\"type\":\"relay\",\"seq\":{seq},\"client_ip\":\"{a}\",\"message\":\"{message}\"}}\n"
        )
    };
    assert_eq!(bob.line(), relay(1, "hello"));
    assert_eq!(bob.line(), relay(2, "no id"));
    let welcome = &bob.welcome;
    assert_eq!(
        *welcome,
        serde_json::json!({"type": "welcome", "protocol": 1, "client_ip": b, "seq": 0, "max_line": 65536})
    );
}

#[test]
fn f1_blank_lines_and_carriage_returns_are_ignored() {
    let server = Server::with_defaults();
    let mut ann = server.join();
    ann.send("\n\r\n  \n{\"message\":\"crlf\"}\r\n\n { \"message\" : \"spaces\" } \n");
    assert_eq!(ann.expect("ack")["seq"], 1);
    assert_eq!(ann.expect("ack")["seq"], 2);
    assert_eq!(ann.leave(), (vec![], 2));
    assert_eq!(server.stop().errors, 0);
}

#[test]
fn f2_a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::start(Config {
        max_line_bytes: 600,
        ..Config::default()
    });
    let (mut ann, mut bob) = (server.join(), server.join());
    assert_eq!(ann.welcome["max_line"], 600);
    let line_of = |bytes: usize| {
        let frame = r#"{"message":"x"}"#;
        format!("{frame}{}\n", " ".repeat(bytes - frame.len() - 1))
    };
    ann.send(line_of(600));
    assert_eq!(ann.expect("ack")["seq"], 1);
    ann.send(line_of(601));
    ann.expect_error("line-too-long");
    ann.expect_end();
    // The longest publish is all message; its relay is longer by the envelope, and no more.
    let mut eve = server.join();
    let text = "y".repeat(600 - "{\"message\":\"\"}\n".len());
    eve.send(format!("{{\"message\":\"{text}\"}}\n"));
    assert_eq!(eve.expect("ack")["seq"], 2);
    assert_eq!(bob.expect("relay")["message"], "x");
    assert_eq!(bob.expect("relay")["message"], text);
    assert_eq!(bob.leave(), (vec![], 2));
}

#[test]
fn f3_what_follows_the_last_line_end_is_never_published() {
    let server = Server::with_defaults();
    let (mut ann, bob) = (server.join(), server.join());
    ann.send("{\"message\":\"whole\"}\n{\"message\":\"cut off\"}");
    let (frames, last) = ann.leave();
    assert_eq!((frames.len(), last), (1, 1));
    let (frames, last) = bob.leave();
    assert_eq!((frames.len(), last), (1, 1));
    assert_eq!(server.stop().errors, 0);
}

#[test]
fn f5_one_byte_a_write_and_ten_thousand_frames_a_write_mean_the_same() {
    let server = Server::with_defaults();
    let (mut ann, bob) = (server.join(), server.join());
    for byte in "{\"message\":\"h\u{e9}\u{1f600}\",\"id\":9}\r\n".as_bytes() {
        ann.send([*byte]);
    }
    assert_eq!(ann.expect("ack")["id"], 9);

    let many: String = (0..10_000)
        .map(|id| format!("{{\"message\":\"m{id}\",\"id\":{id}}}\n"))
        .collect();
    let writer = {
        let mut stream = ann.stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::Write::write_all(&mut stream, many.as_bytes()).unwrap())
    };
    let reader = std::thread::spawn(move || {
        let mut bob = bob;
        assert_eq!(bob.expect("relay")["message"], "h\u{e9}\u{1f600}");
        for k in 0..10_000 {
            let relay = bob.expect("relay");
            assert_eq!(relay["seq"], k + 2);
            assert_eq!(relay["message"], format!("m{k}"));
        }
    });
    for k in 0..10_000 {
        let ack = ann.expect("ack");
        assert_eq!((&ack["seq"], &ack["id"]), (&(k + 2).into(), &k.into()));
    }
    writer.join().unwrap();
    reader.join().unwrap();
    drop(ann);
    assert_eq!(server.stop().published, 10_001);
}
