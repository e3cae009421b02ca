//! `chatbench chat` against a server that does what a script says, over a real socket.

#![allow(clippy::unwrap_used)] // all of this is a test

#[path = "binary/pty.rs"]
mod pty;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chatbench::wire::ndjson;
use pty::Terminal;

/// Longer than anything here takes: a hang becomes a failure.
const BOUND: Duration = Duration::from_secs(30);

/// The server's end of one connection.
struct Peer {
    reader: BufReader<TcpStream>,
    seq: u64,
}

impl Peer {
    fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.reader.get_mut().write_all(&bytes).unwrap();
    }

    fn welcome(&mut self, max_line: u64) {
        let (address, seq) = (self.address().to_string(), self.seq);
        self.send(|out| ndjson::encode_welcome(out, &address, seq, max_line));
    }

    fn address(&self) -> SocketAddr {
        self.reader.get_ref().peer_addr().unwrap()
    }

    /// The next publish: its text and its id. `None` at the half-close.
    fn hear(&mut self) -> Option<(String, Option<u64>)> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).unwrap() == 0 {
            return None;
        }
        let publish = ndjson::decode_publish(&line).unwrap();
        assert_eq!(publish.client_ip, None);
        Some((publish.message.into_owned(), publish.id))
    }

    /// Hears the publish that is expected and acks it.
    fn hear_and_ack(&mut self, expected: &str) {
        let (message, id) = self.hear().unwrap();
        assert_eq!(message, expected);
        self.seq += 1;
        let seq = self.seq;
        self.send(|out| ndjson::encode_ack(out, seq, id));
    }

    /// Sees the half-close and says goodbye.
    fn part(&mut self) {
        assert_eq!(self.hear(), None, "the client says nothing more");
        let seq = self.seq;
        self.send(|out| ndjson::encode_bye(out, seq));
    }
}

/// A server for one client, that follows the script.
fn serve(script: impl FnOnce(&mut Peer) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let reader = BufReader::new(stream);
        script(&mut Peer { reader, seq: 41 });
    });
    (address, server)
}

/// A running client.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    output: mpsc::Receiver<(String, String)>,
}

impl Client {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatbench"))
            .arg("chat")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (send, output) = mpsc::channel();
        thread::spawn(move || {
            let errors = thread::spawn(move || read_all(&mut stderr));
            let said = read_all(&mut stdout);
            let _ = send.send((said, errors.join().unwrap()));
        });
        Self {
            child,
            stdin,
            output,
        }
    }

    /// Types. A client that has left already takes nothing any more.
    fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        if let Err(error) = stdin.write_all(text.as_bytes()) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }

    /// Closes stdin (Ctrl-D) and waits for the end.
    fn end_of_input(mut self) -> (Option<i32>, String, String) {
        drop(self.stdin.take());
        self.ended()
    }

    /// Waits for the end, stdin still open if nobody closed it.
    fn ended(mut self) -> (Option<i32>, String, String) {
        let Ok((stdout, stderr)) = self.output.recv_timeout(BOUND) else {
            self.child.kill().unwrap();
            panic!("the client did not end");
        };
        let status: ExitStatus = self.child.wait().unwrap();
        (status.code(), stdout, stderr)
    }
}

fn read_all(stream: &mut impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The whole of a conversation in which everything is typed at once.
fn chat(
    input: &str,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Option<i32>, String, String) {
    let (address, server) = serve(script);
    let mut client = Client::start(&[&address.to_string()]);
    client.type_in(input);
    let ended = client.end_of_input();
    server.join().unwrap();
    ended
}

#[test]
fn piped_lines_are_published_acked_and_followed_by_a_polite_leave() {
    let (code, stdout, stderr) = chat("hello\n\n  \r\nwörld \"2\"\r\nlast, without LF", |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("hello");
        peer.hear_and_ack("wörld \"2\"");
        peer.hear_and_ack("last, without LF");
        peer.part();
    });
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "", "nobody else said anything");
    let (first, rest) = stderr.split_once('\n').unwrap();
    assert!(first.starts_with("you are 127.0.0.1:"), "{first}");
    assert_eq!(rest, "✓ 42\n✓ 43\n✓ 44\n");
}

#[test]
fn what_others_say_goes_to_stdout_and_cannot_drive_the_terminal() {
    let (code, stdout, _) = chat("", |peer| {
        peer.welcome(65_536);
        peer.send(|out| {
            ndjson::encode_relay(out, 42, "127.0.0.1:50412", "hello");
            ndjson::encode_relay(out, 43, "127.0.0.1:50413", "\x1b[2J\nevil");
        });
        peer.part();
    });
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "127.0.0.1:50412  hello\n127.0.0.1:50413  \\u{1b}[2J\\nevil\n"
    );
}

#[test]
fn quit_leaves_at_once_and_what_follows_is_not_sent() {
    for quit in ["/q", "/quit", "  /q  "] {
        let (address, server) = serve(|peer| {
            peer.welcome(65_536);
            peer.hear_and_ack("hello");
            peer.part();
        });
        let mut client = Client::start(&[&format!("ndjson://{address}")]);
        client.type_in(&format!("hello\n{quit}\nnot this\n"));
        let (code, _, stderr) = client.ended();
        assert_eq!(code, Some(0), "{quit}: {stderr}");
        server.join().unwrap();
    }
}

#[test]
fn ctrl_c_leaves_politely() {
    let (heard, wait) = mpsc::channel();
    let (address, server) = serve(move |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("hello");
        heard.send(()).unwrap();
        peer.part();
    });
    let mut client = Client::start(&[&address.to_string()]);
    client.type_in("hello\n");
    wait.recv_timeout(BOUND).unwrap();
    interrupt(&client.child);
    let (code, _, stderr) = client.ended();
    assert_eq!(code, Some(0), "{stderr}");
    server.join().unwrap();
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_goodbye() {
    let (parting, wait) = mpsc::channel();
    let (ended, hold) = mpsc::channel::<()>();
    let (address, server) = serve(move |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("hello");
        parting.send(()).unwrap();
        assert_eq!(peer.hear(), None);
        parting.send(()).unwrap();
        let _ = hold.recv_timeout(BOUND); // says no bye
    });
    let mut client = Client::start(&[&address.to_string()]);
    client.type_in("hello\n");
    wait.recv_timeout(BOUND).unwrap();
    interrupt(&client.child);
    wait.recv_timeout(BOUND).unwrap();
    interrupt(&client.child);
    let (code, _, stderr) = client.ended();
    assert_eq!(code, Some(130), "{stderr}");
    ended.send(()).unwrap();
    server.join().unwrap();
}

#[test]
fn a_lost_server_ends_the_client_though_stdin_is_open() {
    for (sentence, reset) in [("closed", false), ("reset", true)] {
        let (address, server) = serve(move |peer| {
            peer.welcome(65_536);
            if reset {
                // Closing with bytes unread resets: the hello is waited for, not taken.
                let mut first = [0];
                peer.reader.get_ref().peek(&mut first).unwrap();
            }
            peer.reader.get_ref().shutdown(Shutdown::Write).unwrap();
        });
        let mut client = Client::start(&[&address.to_string()]);
        client.type_in("hello\n");
        let stdin = client.stdin.take();
        let (code, _, stderr) = client.ended();
        drop(stdin);
        assert_eq!(code, Some(3), "{sentence}: {stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(
            last.contains("was killed, or hung up"),
            "{sentence}: {last}"
        );
        assert!(!last.contains("says goodbye"), "{last}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_shuts_down_says_goodbye() {
    let (address, server) = serve(|peer| {
        peer.welcome(65_536);
        peer.send(|out| ndjson::encode_bye(out, 41));
    });
    let mut client = Client::start(&[&address.to_string()]);
    let stdin = client.stdin.take();
    let (code, _, stderr) = client.ended();
    drop(stdin);
    assert_eq!(code, Some(3), "{stderr}");
    let words = "the server says goodbye: it is shutting down\n";
    assert!(stderr.ends_with(words), "{stderr}");
    server.join().unwrap();
}

#[test]
fn who_is_no_such_server_is_told_apart() {
    let (code, _, stderr) = chat("hello\n", |peer| {
        peer.send(|out| out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("does not speak this protocol"), "{stderr}");

    let (code, _, stderr) = chat("hello\n", |peer| {
        peer.send(|out| ndjson::encode_error(out, "server-full", "2 clients at most", None));
    });
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(
        stderr,
        "the server turned this client away: it is full (2 clients at most)\n"
    );
}

#[test]
fn a_line_too_long_is_refused_in_words_and_the_rest_goes_on() {
    let long = "x".repeat(101);
    let (code, _, stderr) = chat(&format!("{long}\nshort\n"), |peer| {
        peer.welcome(100);
        peer.hear_and_ack("short");
        peer.part();
    });
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("✗ not sent: that makes a line of"),
        "{stderr}"
    );
    let last = stderr.lines().last();
    let words = "lines that were not taken: 1, each as said above";
    assert_eq!(last, Some(words), "{stderr}");
    assert!(stderr.contains("at most 100"), "{stderr}");
}

#[test]
fn an_error_is_an_answer_in_words() {
    let (code, _, stderr) = chat("hello\n", |peer| {
        peer.welcome(65_536);
        let (_, id) = peer.hear().unwrap();
        peer.send(|out| ndjson::encode_error(out, "malformed", "why\x1b[2J", id));
        peer.part();
    });
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("✗ the server could not read that (why\\u{1b}[2J)\n"),
        "{stderr}"
    );
}

#[test]
fn a_goodbye_before_every_line_is_answered_is_no_success() {
    let (code, _, stderr) = chat("one\ntwo\n", |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("one");
        assert_eq!(peer.hear().unwrap().0, "two");
        // The client leaves after two acks or its patience; the server does not wait for either.
        let seq = peer.seq;
        peer.send(|out| ndjson::encode_bye(out, seq));
    });
    assert_eq!(code, Some(3), "{stderr}");
}

#[test]
fn a_long_file_is_published_whole_and_in_order() {
    const LINES: usize = 5_000; // several times what may be unanswered
    let file: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    let (address, server) = serve(|peer| {
        peer.welcome(65_536);
        for n in 0..LINES {
            peer.hear_and_ack(&format!("line {n}"));
        }
        peer.part();
    });
    let mut client = Client::start(&[&address.to_string()]);
    client.type_in(&file);
    let (code, _, stderr) = client.end_of_input();
    server.join().unwrap();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        stderr.lines().filter(|line| line.starts_with('✓')).count(),
        LINES
    );
}

/// A server of the original's kind, for one client: what it says at each object, and what it says
/// after the half-close. Returns what came.
fn classic_chat(
    input: &str,
    answers: Vec<&'static [u8]>,
    last_words: &'static str,
) -> (Option<i32>, String, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut came = String::new();
        let mut objects = 0;
        let mut chunk = [0; 1024];
        loop {
            let bytes = stream.read(&mut chunk).unwrap();
            if bytes == 0 {
                break;
            }
            came.push_str(std::str::from_utf8(&chunk[..bytes]).unwrap());
            while came.matches('}').count() > objects && objects < answers.len() {
                stream.write_all(answers[objects]).unwrap();
                objects += 1;
            }
        }
        stream.write_all(last_words.as_bytes()).unwrap();
        came.replace(&peer.to_string(), "ME")
    });
    let mut client = Client::start(&[&format!("classic://{address}")]);
    client.type_in(input);
    let (code, stdout, stderr) = client.end_of_input();
    (code, stdout, stderr, server.join().unwrap())
}

#[test]
fn a_classic_server_is_talked_to_in_its_own_words() {
    let ack = "127.0.0.1:5: 已经收到信息".as_bytes();
    let (code, stdout, stderr, came) = classic_chat(
        "one\n\n\"2\"\n/q\nnever sent\n",
        vec![ack, ack],
        "127.0.0.1:6 地址发送了请求消息：bye\x1b[2J127.0.0.1:7 地址发送了请求消息：你",
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        came,
        r#"{"client_ip":"ME","message":"one"}{"client_ip":"ME","message":"\"2\""}"#
    );
    let acks = "127.0.0.1:5: 已经收到信息\n".repeat(2);
    let relays =
        "127.0.0.1:6 地址发送了请求消息：bye\\u{1b}[2J\n127.0.0.1:7 地址发送了请求消息：你\n";
    assert_eq!(stdout, acks + relays);
    assert!(stderr.starts_with("connected as 127.0.0.1:"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (code, _, stderr) = Client::start(&[&address.to_string()]).end_of_input();
    assert_eq!(code, Some(3));
    assert!(
        stderr.starts_with(&format!("cannot connect to ndjson://{address}: ")),
        "{stderr}"
    );
}

#[test]
fn what_is_no_address_is_bad_usage() {
    for (given, words) in [
        ("morse://127.0.0.1:1253", "no such protocol"),
        ("127.0.0.1:", "is not HOST:PORT"),
    ] {
        let (code, _, stderr) = Client::start(&[given]).end_of_input();
        assert_eq!(code, Some(2), "{given}: {stderr}");
        assert!(stderr.contains(words), "{given}: {stderr}");
    }
}

#[test]
fn commands_are_answered_and_not_sent() {
    let (code, stdout, stderr) = chat("/help\n/quti\n//quti\nend\n", |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("/quti");
        peer.hear_and_ack("end");
        peer.part();
    });
    assert_eq!(code, Some(1), "one line was refused: {stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains("/q, /quit    leaves"), "{stderr}");
    assert!(
        stderr.contains(
            "✗ not sent: /quti is no command, see /help; to send it as it is, write //quti\n"
        ),
        "{stderr}"
    );
}

/// A client on a terminal of its own, past the welcome.
fn on_a_terminal(address: SocketAddr) -> Terminal {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatbench"));
    command.args(["chat", &address.to_string()]);
    let mut terminal = Terminal::start(command, 100);
    terminal.wait_for("/help says more");
    terminal.wait_for("> "); // before it or not, the prompt stands below it now
    terminal
}

/// Waits until the ack of message `seq` is shown, and the prompt below it.
fn wait_for_ack(terminal: &mut Terminal, seq: u64) {
    terminal.wait_for(&format!("✓ {seq}"));
    terminal.wait_for("> ");
}

#[test]
fn a_long_paste_is_sent_whole_and_a_paste_of_lines_is_a_message_a_line() {
    let long = "0123456789".repeat(500);
    let expected = long.clone();
    let (address, server) = serve(move |peer| {
        peer.welcome(65_536);
        peer.hear_and_ack(&expected);
        peer.hear_and_ack(&expected);
        peer.hear_and_ack("one");
        peer.hear_and_ack("two");
        peer.part();
    });
    let mut terminal = on_a_terminal(address);
    terminal.press(&format!("{long}\r"));
    wait_for_ack(&mut terminal, 42);
    terminal.paste(&long);
    terminal.press("\r");
    wait_for_ack(&mut terminal, 43);
    terminal.paste("one\rtwo");
    terminal.press("\r");
    wait_for_ack(&mut terminal, 45);
    terminal.press("/q\r");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(0));
    server.join().unwrap();
}

#[test]
fn what_is_typed_survives_what_arrives_and_can_be_edited_and_called_back() {
    let (say, saying) = mpsc::channel::<()>();
    let (address, server) = serve(move |peer| {
        peer.welcome(65_536);
        saying.recv_timeout(BOUND).unwrap();
        peer.send(|out| ndjson::encode_relay(out, 42, "127.0.0.1:9", "an \x1b[2Jinterruption"));
        peer.seq = 42;
        peer.hear_and_ack("hello");
        peer.hear_and_ack("hello");
        peer.part();
    });
    let mut terminal = on_a_terminal(address);
    // Left twice and back over a wrong letter: `hel|lo`, then `x` typed and rubbed out.
    terminal.press("hello\x1b[D\x1b[Dx\x7f");
    say.send(()).unwrap();
    let shown = terminal.wait_for("interruption");
    assert!(!shown.contains("\x1b[2J"), "{shown:?}");
    let again = terminal.wait_for("hello");
    assert!(again.contains("> "), "the line is written again: {again:?}");
    terminal.press("\r");
    wait_for_ack(&mut terminal, 43);
    terminal.press("\x1b[A\r");
    wait_for_ack(&mut terminal, 44);
    terminal.press("\x04");
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    server.join().unwrap();
}

/// In the mode in which a terminal edits lines itself, a Ctrl-D that comes between two lines is lost.
#[test]
fn keys_between_two_lines_are_passed_on() {
    let (address, server) = serve(move |peer| {
        peer.welcome(65_536);
        peer.part();
    });
    let mut terminal = on_a_terminal(address);
    for _ in 0..100 {
        terminal.press("/help\r");
        // The help is shown while the editor is between two lines, or soon after.
        for _ in 0..50 {
            assert!(!terminal.is_cooked(), "an editor has it");
        }
        terminal.wait_for("accepted");
        terminal.wait_for("42");
    }
    terminal.press("\x04");
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    server.join().unwrap();
}

#[test]
fn the_terminal_is_given_back_however_the_conversation_ends() {
    for ending in ["killed", "goodbye", "interrupt", "terminate"] {
        let (end, ending_now) = mpsc::channel::<()>();
        let (address, server) = serve(move |peer| {
            peer.welcome(65_536);
            ending_now.recv_timeout(BOUND).unwrap();
            match ending {
                "killed" => {}
                "goodbye" => peer.send(|out| ndjson::encode_bye(out, 41)),
                _ => peer.part(),
            }
        });
        let mut terminal = on_a_terminal(address);
        assert!(!terminal.is_cooked(), "an editor has it");
        terminal.press("half a li");
        terminal.wait_for("half a li");
        end.send(()).unwrap();
        match ending {
            "interrupt" => terminal.press("\x03"),
            "terminate" => {
                let id = i32::try_from(terminal.id()).unwrap();
                let pid = rustix::process::Pid::from_raw(id).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            }
            _ => {}
        }
        let (code, cooked, rest) = terminal.left();
        assert!(cooked, "{ending}");
        let (expected, words) = match ending {
            "killed" => (3, "without a goodbye"),
            "goodbye" => (3, "the server says goodbye"),
            _ => (0, ""),
        };
        assert_eq!(code, Some(expected), "{ending}: {rest}");
        assert!(rest.contains(words), "{ending}: {rest}");
        server.join().unwrap();
    }
}

#[test]
fn a_line_that_a_terminal_cut_is_not_sent() {
    let (address, server) = serve(|peer| {
        peer.welcome(65_536);
        peer.hear_and_ack("short");
        peer.part();
    });
    // A dumb terminal has no line editor.
    let mut command = Command::new("env");
    command.args(["TERM=dumb", env!("CARGO_BIN_EXE_chatbench"), "chat"]);
    command.arg(address.to_string());
    let mut terminal = Terminal::start(command, 100);
    terminal.wait_for("/help says more");
    terminal.press(&format!("{}\nshort\n", "x".repeat(5_000)));
    terminal.wait_for("✗ not sent: that is 4095 bytes, all that this terminal passes on");
    terminal.wait_for("✓ 42");
    terminal.press("/q\n");
    assert_eq!(terminal.end().0.code(), Some(0));
    server.join().unwrap();
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_chatbench"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for verb in ["run", "serve", "chat", "validate"] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}
