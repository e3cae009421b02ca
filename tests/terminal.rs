//! Text from elsewhere on its way to the terminal: whatever a target, a client, a scenario, a file
//! name or a result says, it is shown and cannot act.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/pty.rs"]
mod pty;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;

use binary::{chatbench, output, stderr};
use chatbench::terminal::is_visible;
use pty::Terminal;
use serde_json::{Value, json};

/// What a stranger would like to write to a terminal: clear it, set its title, blink (escape
/// sequences with ESC and with C1), ring, write over a line, begin one of their own, delete, turn
/// the writing around in either way, hide.
const HOSTILE: &str = "<\u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[5m\u{9b}5m\u{90}q\u{9c}\u{85}\r\nPASS \
                       forged\nPASS forged\u{8}\u{b}\u{c}\u{7f}\u{202e}\u{202d}\u{202a}\u{2066}\
                       \u{2067}\u{200b}\u{200f}\u{feff}\u{2028}\u{2029}\u{ad}>";

/// Holds what was written against what may be, and wants to have seen the stranger's text in it.
fn assert_harmless(what: &str, written: &[u8]) {
    let text = std::str::from_utf8(written).unwrap();
    if let Some(c) = text.chars().find(|c| *c != '\n' && !is_visible(*c)) {
        panic!("{what}: {c:?} in {text:?}");
    }
    let forged = text.lines().find(|line| line.starts_with("PASS forged"));
    assert_eq!(forged, None, "{what}: {text}");
}

fn both(output: &Output) -> Vec<u8> {
    [&output.stdout[..], &output.stderr].concat()
}

/// Runs it with its output in pipes, and on a terminal, where it is in colour. What it shows is
/// harmless and has the stranger's text in it, from its `<` on.
fn assert_shows_harmlessly(args: &[&str]) -> Output {
    let piped = output(args);
    let what = args.join(" ");
    assert_harmless(&what, &both(&piped));
    let shown = String::from_utf8_lossy(&both(&piped)).into_owned();
    let escaped = |shown: &str| shown.contains("<\\u{1b}[2J") || shown.contains("<\\x1b[2J");
    assert!(escaped(&shown), "{what}: {shown}");

    let (_, shown) = Terminal::start(chatbench(args), 200).end();
    assert_harmless(&what, without_own_sequences(&shown).as_bytes());
    assert!(escaped(&shown), "{what}: {shown:?}");
    piped
}

/// What is left of a terminal's output without the colours that this program uses, what clap does
/// (underlines), and the terminal's own line ends.
fn without_own_sequences(shown: &str) -> String {
    let own = [
        "0",
        "1",
        "2",
        "3",
        "4",
        "31",
        "32",
        "33",
        "34",
        "36",
        "1;31",
        "1;32",
        "1;33",
        "1m\x1b[91",
        "1m\x1b[94",
        "1m\x1b[92",
        "1m\x1b[93",
        "1m\x1b[96",
        "91",
        "92",
        "93",
        "94",
        "96",
        "38;5;9",
        "38;5;12",
        "38;5;14",
    ];
    let mut rest = shown.replace("\r\n", "\n").replace("\x1b[m", "");
    for code in own {
        rest = rest.replace(&format!("\x1b[{code}m"), "");
    }
    rest
}

/// Where a test keeps its files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A TOML string with the stranger's text in it.
fn hostile_toml() -> String {
    let mut text = String::from("\"");
    for c in HOSTILE.chars() {
        text.push_str(&format!("\\U{:08x}", u32::from(c)));
    }
    text + "\""
}

fn small(description: &str) -> String {
    format!(
        "description = {description}\n[run]\nwarmup = \"0s\"\nduration = \"200ms\"\n\
         [clients.talkers]\ncount = 1\nrate = 50\n[clients.listeners]\ncount = 1\n"
    )
}

/// A name that a file may have.
fn hostile_name() -> String {
    HOSTILE.replace('/', "")
}

/// Serves `connection` to every client, on threads that end with the test.
fn target(connection: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || connection(stream));
        }
    });
    format!("ndjson://{address}")
}

fn send(mut stream: &TcpStream, frame: &Value) {
    let _ = writeln!(stream, "{frame}");
}

fn welcome(stream: &TcpStream) {
    let address = stream.peer_addr().unwrap().to_string();
    send(
        stream,
        &json!({"type": "welcome", "protocol": 1, "client_ip": address, "seq": 0, "max_line": 65536}),
    );
}

/// Reads to the half-close.
fn read_all(stream: &TcpStream) {
    for line in BufReader::new(stream).split(b'\n') {
        if line.is_err() {
            break;
        }
    }
}

#[test]
fn a_target_that_turns_clients_away() {
    let place = Place::new();
    let scenario = place.write("small.toml", &small("\"\""));
    for connection in [
        (|stream| {
            send(
                &stream,
                &json!({"type": "error", "code": HOSTILE, "detail": HOSTILE}),
            );
            read_all(&stream);
        }) as fn(TcpStream),
        |mut stream| {
            let _ = stream.write_all(HOSTILE.as_bytes());
            read_all(&stream);
        },
        |stream| {
            send(&stream, &json!({"type": HOSTILE, "client_ip": HOSTILE}));
            read_all(&stream);
        },
    ] {
        let url = target(connection);
        let args = ["run", &scenario, "--target", &url];
        let output = output(&args);
        assert_harmless("run", &both(&output));
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let output = binary::output(&["chat", &url]);
        assert_harmless("chat", &both(&output));
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    }
}

/// Everything that a client may be sent after its welcome, and a hostile word wherever one fits.
fn insult(stream: &TcpStream) {
    welcome(stream);
    let relay =
        |seq: u64| json!({"type": "relay", "seq": seq, "client_ip": HOSTILE, "message": HOSTILE});
    send(stream, &relay(1));
    send(
        stream,
        &json!({"type": "error", "code": HOSTILE, "detail": HOSTILE, "id": 1}),
    );
    send(stream, &json!({"type": HOSTILE, "seq": 2}));
    send(
        stream,
        &json!({"type": "ack", "seq": HOSTILE, "id": HOSTILE}),
    );
    let _ = writeln!(&*stream, "{}", HOSTILE.replace('\n', " "));
    read_all(stream);
    send(stream, &json!({"type": "bye", "seq": 1}));
}

#[test]
fn a_target_that_says_all_kinds_of_things() {
    let place = Place::new();
    let scenario = place.write("small.toml", &small(&hostile_toml()));
    let url = target(|stream| insult(&stream));
    let trace = place.path("trace");
    let args = [
        "run",
        &scenario,
        "--target",
        &url,
        "--no-progress",
        "--force",
        "--trace",
        trace.to_str().unwrap(),
    ];
    let output = assert_shows_harmlessly(&args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_shows_harmlessly(&["verify", trace.to_str().unwrap()]);

    let output = binary::output(&["run", &scenario, "--target", &url, "--json", "-"]);
    assert_harmless("run --json -", &both(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["scenario"]["resolved"]["description"], HOSTILE);
}

#[test]
fn others_in_a_chat() {
    let url = target(|stream| insult(&stream));
    let mut chat = chatbench(&["chat", &url]);
    let mut chat = chat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(chat.stdin.take().unwrap(), "hello").unwrap();
    let output = chat.wait_with_output().unwrap();
    assert_harmless("chat", &both(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("  <\\u{1b}[2J"), "{said}");
}

#[test]
fn a_scenario_and_its_file_name() {
    let place = Place::new();
    let name = format!("{}.toml", hostile_name());
    let good = place.write(&name, &small(&hostile_toml()));
    assert_shows_harmlessly(&["validate", &good]);
    assert_shows_harmlessly(&["run", &good, "--no-progress"]);
    assert_shows_harmlessly(&["run", &good, "--no-progress", "--repeat", "2"]);
    let searched = output(&["search", &good, "--max", "60", "--no-progress"]);
    assert_harmless("search", &both(&searched));
    let output = assert_shows_harmlessly(&[
        "run",
        &good,
        "--no-progress",
        "--target",
        "ndjson://127.0.0.1:1",
    ]);
    assert_eq!(output.status.code(), Some(3));

    let comment = HOSTILE.replace(['\n', '\r'], " ");
    for bad in [
        format!("{}\n{} = 1\n", small("\"\""), hostile_toml()),
        small("\"\"").replace("duration", &hostile_toml()),
        small("\"\"").replace("\"200ms\"", &hostile_toml()),
        small("\"\"").replace("200ms", &format!("{comment}ms")),
        small("\"\"").replace(
            "[clients.talkers]",
            &format!("[clients.{}]", hostile_toml()),
        ),
        format!("x = # {comment}\n"),
        format!("{}\nrate = 1 \u{feff} # \u{202e}\n", small("\"\"")),
    ] {
        let path = place.write(&name, &bad);
        for verb in ["validate", "run", "search"] {
            let output = assert_shows_harmlessly(&[verb, &path]);
            assert_eq!(output.status.code(), Some(2), "{bad:?}");
        }
    }
    let good = place.write("good.toml", &small("\"\""));
    for set in [
        format!("description={HOSTILE}"),
        format!("{HOSTILE}=1"),
        format!("run.duration={HOSTILE}"),
    ] {
        assert_harmless("validate --set", &both(&output_of_set(&good, &set)));
    }
}

fn output_of_set(path: &str, set: &str) -> Output {
    output(&["validate", path, "--set", set])
}

#[test]
fn the_command_line() {
    let missing = hostile_name();
    for args in [
        &["run", &missing][..],
        &["validate", &missing],
        &["search", &missing],
        &["verify", &missing],
        &["report", &missing],
        &["compare", &missing, &missing],
        &["chat", &missing],
        &["chat", &format!("{missing}:1")],
        &["serve", "--listen", &format!("ndjson://{missing}:1")],
        &["serve", "--fault", &missing],
        &["serve", "--prometheus", &missing],
        &["selftest", "--fault", &missing],
        &["selftest", "--scenario", &missing],
        &["completions", &missing],
        &["run", &format!("--{missing}")],
        &[&missing],
    ] {
        let output = assert_shows_harmlessly(args);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn observations_of_another_program() {
    let place = Place::new();
    let opened = json!({"at_ns": 1, "session": HOSTILE, "event": "opened"});
    let welcome = json!({"at_ns": 2, "session": HOSTILE, "event": "welcome", "seq": 0});
    let relayed = json!({"at_ns": 3, "session": HOSTILE, "event": "relayed", "seq": 5, "from": HOSTILE, "k": 1});
    for (lines, code) in [
        (
            vec![json!({"at_ns": 1, "session": "a", "event": HOSTILE})],
            2,
        ),
        (
            vec![json!({"at_ns": 1, HOSTILE: "a", "event": "opened"})],
            2,
        ),
        (vec![opened, welcome, relayed], 1),
    ] {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let path = place.write("observed.ndjson", &(lines.join("\n") + "\n"));
        let output = assert_shows_harmlessly(&["verify", &path]);
        assert_eq!(output.status.code(), Some(code), "{lines:?}");
        let output = binary::output(&["verify", &path, "--json", "-"]);
        assert_harmless("verify --json -", &both(&output));
    }
}

/// Every string of a result in turn, keys too, is a stranger's: results come from pull requests.
#[test]
fn results_of_another_machine() {
    let place = Place::new();
    let scenario = place.write("small.toml", &small("\"A question\""));
    let out = place.path("out");
    let ran = output(&["run", &scenario, "-q", "--out", out.to_str().unwrap()]);
    assert!(ran.status.code().is_some(), "{}", stderr(&ran));
    let base = out.join("result.json");
    let result: Value = serde_json::from_slice(&fs::read(&base).unwrap()).unwrap();
    let mut strings = Vec::new();
    find_strings(&result, String::new(), &mut strings);
    assert!(strings.len() > 20, "{strings:?}");
    let mut shown = 0;
    for pointer in strings {
        let mut changed = result.clone();
        *changed.pointer_mut(&pointer).unwrap() = json!(HOSTILE);
        changed["violations"] = json!([{"kind": HOSTILE, "rule": HOSTILE, "count": 1,
            "examples": [{"text": HOSTILE, "at_ns": 0}]}]);
        shown += usize::from(compares_harmlessly(&place, &base, &changed));
    }
    assert!(shown > 0, "no string of a result is ever shown");
}

fn find_strings(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                find_strings(item, format!("{at}/{i}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                find_strings(member, format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Whether the stranger's text was shown at all.
fn compares_harmlessly(place: &Place, base: &Path, changed: &Value) -> bool {
    let new = place.write("new.json", &changed.to_string());
    let mut shown = false;
    for extra in [
        &[][..],
        &["--markdown"],
        &["--allow-different"],
        &["--allow-different", "--markdown"],
    ] {
        let mut args = vec!["compare", base.to_str().unwrap(), &new];
        args.extend(extra);
        let output = output(&args);
        assert_harmless("compare", &both(&output));
        shown |= String::from_utf8_lossy(&both(&output)).contains("\\u{1b}");
    }
    shown
}

#[test]
fn a_servers_log() {
    let mut server = chatbench(&[
        "serve",
        "--listen",
        "ndjson://127.0.0.1:0",
        "--listen",
        "classic://127.0.0.1:0",
        "-vv",
        "--exit-on-stdin-eof",
    ]);
    let mut server = server
        .env("RUST_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().rsplit_once("://").unwrap().1.to_owned();
        for object in [
            json!({"client_ip": HOSTILE, "message": HOSTILE, "id": HOSTILE}).to_string() + "\n",
            HOSTILE.to_owned(),
        ] {
            let mut client = TcpStream::connect(&address).unwrap();
            client.write_all(object.as_bytes()).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            read_all(&client);
        }
    }
    drop(server.stdin.take());
    let output = server.wait_with_output().unwrap();
    assert_harmless("serve", &output.stderr);
    assert!(!output.stderr.is_empty());
}
