//! `chatbench serve` as a process: what it prints, how it stops, how it exits.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;

const BINARY: &str = env!("CARGO_BIN_EXE_chatbench");

/// A running server. It is a child with a piped stdin, so it ends with the test that started it.
struct Serve {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Serve {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--listen", "ndjson://127.0.0.1:0"]);
        Self::spawn(command.args(args))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .arg("--exit-on-stdin-eof")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = listening_on(&mut stdout);
        Self {
            child,
            stdout,
            address,
        }
    }

    fn join(&self) -> Client {
        let mut client = Client::connect(self.address);
        client.expect("welcome");
        client
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end: exit code, the rest of stdout, and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        let mut stderr = self.child.stderr.take().unwrap();
        self.stdout.read_to_string(&mut out).unwrap();
        stderr.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

fn listening_on(stdout: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line.trim_end()
        .strip_prefix("listening on ndjson://")
        .unwrap_or_else(|| panic!("{line:?}"))
        .parse()
        .unwrap()
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY)
        .arg("serve")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The exit code and the error of a server that must not start.
fn refused(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(output.stdout, b"");
    stderr
}

#[test]
fn a_signal_drains_and_exits_with_0_and_nothing_is_said_that_was_not_asked_for() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Serve::start(&[]);
        let (mut ann, mut bob) = (server.join(), server.join());
        ann.publish("hello", 1);
        ann.expect("ack");
        server.signal(signal);
        assert_eq!(bob.expect("relay")["message"], "hello");
        for client in [&mut ann, &mut bob] {
            assert_eq!(client.expect("bye")["seq"], 1);
            client.expect_end();
        }
        drop((ann, bob));
        assert_eq!(server.end(), (Some(0), String::new(), String::new()));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Serve::start(&["--drain", "1h"]);
    let mut ann = server.join();
    server.signal(Signal::TERM);
    ann.expect("bye"); // the first was heard; ann does not hang up, so the drain goes on
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(130));
    ann.read_to_any_end();
}

#[test]
fn the_end_of_stdin_drains_where_asked_for() {
    let mut server = Serve::start(&[]);
    let mut ann = server.join();
    drop(server.child.stdin.take());
    assert_eq!(ann.expect("bye")["seq"], 0);
    ann.expect_end();
    drop(ann);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn stats_count_what_was_read_and_written_to_the_byte() {
    let server = Serve::start(&["--stats"]);
    let (mut alice, bob) = (server.join(), server.join());
    alice.publish("hello", 1);
    let published = "{\"message\":\"hello\",\"id\":1}\n".len();
    let ack = alice.line();
    let (frames, _) = bob.leave();
    drop(alice);
    server.signal(Signal::TERM);
    let (code, out, _) = server.end();
    assert_eq!((code, frames.len()), (Some(0), 1), "a relay: {frames:?}");
    let stat = |key: &str| -> u64 {
        let value = out
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key));
        value
            .unwrap_or_else(|| panic!("no {key} in {out:?}"))
            .parse()
            .unwrap()
    };
    assert_eq!((stat("joined="), stat("published=")), (2, 1));
    assert_eq!((stat("reads="), stat("bytes_in=")), (1, published as u64));
    // Two welcomes, an ack, a relay, two byes; whatever comes at once may go in one write.
    assert!((3..=6).contains(&stat("writes=")), "{out}");
    let least = 2 * "{\"type\":\"welcome\"}".len() + ack.len() + "hello".len();
    assert!(stat("bytes_out=") > least as u64, "{out}");
    assert_eq!(stat("bytes_a_write="), stat("bytes_out=") / stat("writes="));
}

#[test]
fn each_listener_is_announced_and_all_share_one_log() {
    let mut server = Serve::start(&["--listen", "ndjson://[::1]:0", "-v"]);
    let second = listening_on(&mut server.stdout);
    assert!(second.is_ipv6());
    let mut ann = server.join();
    let mut bob = Client::connect(second);
    assert_eq!(bob.expect("welcome")["client_ip"], bob.address());
    bob.publish("over six", 1);
    bob.expect("ack");
    assert_eq!(ann.expect("relay")["client_ip"], bob.address());
    server.signal(Signal::TERM);
    drop((ann, bob));
    let (code, _, err) = server.end();
    assert_eq!(code, Some(0));
    assert!(err.contains("published: 1"), "{err}");
}

#[test]
fn limits_are_taken_from_the_command_line() {
    let server = Serve::start(&[
        "--max-line",
        "1KiB",
        "--max-clients",
        "2",
        "--max-errors",
        "1",
        "--backlog",
        "2KiB",
        "--max-rooms",
        "2",
        "--max-rooms-per-client",
        "1",
    ]);
    let mut ann = Client::connect(server.address);
    assert_eq!(ann.expect("welcome")["max_line"], 1024);
    ann.send("x\n");
    ann.expect_error("malformed");
    ann.expect_end();
    let mut two = [server.join(), server.join()];
    for (client, (first, second)) in two.iter_mut().zip([("a", "b"), ("b", "a")]) {
        client.send(format!(
            "{{\"join\":\"{first}\"}}\n{{\"join\":\"{second}\"}}\n"
        ));
        client.expect("joined");
        client.expect_error("too-many-rooms");
    }
    Client::connect(server.address).expect_error("server-full");
}

#[test]
fn an_address_in_use_is_named_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let stderr = refused(&["--listen", &format!("ndjson://{address}")]);
    assert!(stderr.contains(&address.to_string()), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
}

#[test]
fn bad_usage_says_what_would_do() {
    for (args, cure) in [
        (&["--listen", "ndjson://0.0.0.0:0"][..], "--allow-remote"),
        (&["--listen", "morse://127.0.0.1:0"], "classic://HOST:PORT"),
        (&["--listen", "127.0.0.1:port"], "is not HOST:PORT"),
        (
            &[
                "--listen",
                "classic://127.0.0.1:0",
                "--fault",
                "skip-number",
            ],
            "towards whom each is",
        ),
        (&["--fault", "spoofable-ack"], "towards whom each is"),
        (
            &[
                "--listen=classic://127.0.0.1:0",
                "--listen=ndjson://127.0.0.1:0",
                "--fault=drop-ack",
            ],
            "listen for one alone",
        ),
        (
            &["--listen", "ndjson://no-such-host.invalid:1"],
            "no-such-host.invalid:1",
        ),
        (&["--max-line", "100"], "at least 512"),
        (&["--backlog", "100KiB"], "at least twice"),
        (&["--max-clients", "0"], "at least 1"),
        (&["--max-errors", "0"], "at least 1"),
        (&["--backlog", "12 parsecs"], "16MiB"),
        (&["--drain", "soon"], "--drain"),
    ] {
        let stderr = refused(args);
        assert!(stderr.contains(cure), "{args:?}: {stderr}");
    }
}

#[test]
fn other_machines_are_let_in_where_that_is_asked_for() {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "ndjson://0.0.0.0:0", "--allow-remote"]);
    let server = Serve::spawn(&mut command);
    assert!(server.address.ip().is_unspecified());
    let mut ann = Client::connect(SocketAddr::from(([127, 0, 0, 1], server.address.port())));
    ann.expect("welcome");
}

#[test]
fn out_of_descriptors_it_waits_and_goes_on() {
    // 40 descriptors: room for 20 clients, and for about 10 that linger after being refused.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", BINARY]);
    command.args(["serve", "--listen", "ndjson://127.0.0.1:0"]);
    let server = Serve::spawn(&mut command);
    // Everyone connects before anyone is let go.
    let mut members: Vec<Client> = (0..20).map(|_| server.join()).collect();
    let crowd: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
    members[0].publish("all is well", 1);
    members[0].expect("ack");
    for member in &mut members[1..] {
        assert_eq!(member.expect("relay")["message"], "all is well");
    }
    // Whoever hangs up gives a descriptor back, and then the next one is told too.
    for mut client in crowd {
        client.expect_error("server-full");
    }
    server.signal(Signal::TERM);
    drop(members);
    let (code, _, err) = server.end();
    assert_eq!(code, Some(0));
    assert_eq!(err.matches("cannot accept").count(), 1, "{err}");
}
