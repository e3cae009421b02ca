//! Every verb on a narrow terminal: no line is wider than it, and none is broken within a word.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/pty.rs"]
mod pty;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use binary::{chatbench, output, stderr};
use pty::Terminal;

/// Columns of the terminals.
const WIDTHS: [u16; 3] = [40, 60, 79];

const SCENARIO: &str = r#"
description = "Two talkers and three listeners, for a moment: does everyone get everything?"
[run]
warmup = "0s"
duration = "300ms"
[clients.talkers]
count = 2
rate = 400
[clients.listeners-of-some-length]
count = 3
[clients.comers-and-goers]
count = 2
script = [ { connect = {} }, { publish = { count = 3 } }, { await_acks = {} }, { disconnect = "polite" } ]
repeat = "forever"
[thresholds]
relay = ["p99 < 10s", "max < 1m", "p50 < 1ns"]
"last_relay" = ["p99 < 10s"]
"#;

/// What a terminal `columns` wide shows of a command, and its exit code.
fn shown(args: &[&str], columns: u16) -> (Option<i32>, String) {
    let (status, shown) = Terminal::start(chatbench(args), columns).end();
    let plain = console::strip_ansi_codes(&shown).replace("\r\n", "\n");
    (status.code(), plain)
}

/// Every line is as wide as the terminal at most, unless it is one word. Of a line that is written
/// over, each form of it.
fn assert_fits(args: &[&str], shown: &str, columns: u16) {
    let lines = shown.split(['\n', '\r']);
    for line in lines.filter(|line| line.trim().contains(' ')) {
        let width = console::measure_text_width(line);
        assert!(
            width <= usize::from(columns),
            "{width} of {columns}: {line:?} of {args:?}\n{shown}"
        );
    }
}

/// Shows the command on terminals of each width; it ends with `code` on all.
fn assert_narrow(args: &[&str], code: i32) {
    for columns in WIDTHS {
        let (ended, shown) = shown(args, columns);
        assert_fits(args, &shown, columns);
        assert_eq!(ended, Some(code), "{args:?}: {shown}");
        assert!(!shown.trim().is_empty(), "{args:?} says nothing");
    }
}

fn write(place: &Path, name: &str, text: &str) -> String {
    let path = place.join(name);
    fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// The words of a text, wherever its lines end.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn runs() {
    let place = tempfile::tempdir().unwrap();
    let scenario = write(place.path(), "probe.toml", SCENARIO);
    assert_narrow(&["run", &scenario], 99);
    let faulty = ["run", &scenario, "--set", r#"target.faults=["drop-relay"]"#];
    assert_narrow(&faulty, 1);
    assert_narrow(&["run", &scenario, "--repeat", "2"], 99);
    let nobody = ["run", &scenario, "--target", "ndjson://127.0.0.1:1"];
    assert_narrow(&nobody, 3);
}

#[test]
fn checks_of_scenarios() {
    assert_narrow(&["validate", "scenarios"], 0);
    assert_narrow(&["validate", "tests/bad-scenarios"], 2);
    assert_narrow(
        &["validate", "no-such-file.toml", "and/no/such/directory"],
        2,
    );
    // Whatever the width, the words are the same.
    let (_, wide) = shown(&["validate", "tests/bad-scenarios/promises.toml"], 200);
    let (_, narrow) = shown(&["validate", "tests/bad-scenarios/promises.toml"], 60);
    for word in words(&wide).into_iter().filter(|word| word.len() > 12) {
        assert!(words(&narrow).contains(&word), "{word}: {narrow}");
    }
}

#[test]
fn results_traces_and_searches() {
    let place = tempfile::tempdir().unwrap();
    let scenario = write(place.path(), "probe.toml", SCENARIO);
    let path = |name: &str| {
        place
            .path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let (out, trace) = (path("out"), path("trace"));
    let args = ["run", &scenario, "-q", "--out", &out, "--trace", &trace];
    let ran = output(&args);
    assert_eq!(ran.status.code(), Some(99), "{}", stderr(&ran));
    // One run against itself tells nothing, but for what is counted.
    assert_narrow(&["compare", &out, &out], 3);
    assert_narrow(&["compare", &out, "no-such-directory"], 2);
    assert_narrow(&["report", &out, "--force"], 0);
    assert_narrow(&["report", "no-such-directory"], 2);
    assert_narrow(&["verify", &trace], 0);
    assert_narrow(&["verify", &scenario], 2);
    let search = write(
        place.path(),
        "search.toml",
        "[run]\nwarmup = \"0s\"\nduration = \"200ms\"\n[clients.talkers]\ncount = 1\nrate = 50\n\
         [clients.listeners]\n",
    );
    assert_narrow(&["search", &search, "--max", "60"], 0);
}

#[test]
fn the_catalogue_and_its_proof() {
    assert_narrow(&["faults"], 0);
    let one = [
        "selftest",
        "--fault",
        "ack-then-lose",
        "--scenario",
        "talk",
        "--seed",
        "1",
    ];
    assert_narrow(&[&one[..], &["--verbose"]].concat(), 0);
}

#[test]
fn help_and_what_is_wrong_with_a_command() {
    for verb in [
        "run",
        "serve",
        "chat",
        "validate",
        "try",
        "verify",
        "search",
        "compare",
        "report",
        "selftest",
        "protocols",
        "faults",
        "completions",
    ] {
        assert_narrow(&[verb, "--help"], 0);
    }
    assert_narrow(&["--help"], 0);
    assert_narrow(&["run", "--no-such-option-of-this-program"], 2);
    assert_narrow(&["serve", "--listen", "ndjson://0.0.0.0:0"], 2);
    assert_narrow(&["chat", "ndjson://127.0.0.1:1"], 3);
}

#[test]
fn a_chat() {
    let mut server = chatbench(&[
        "serve",
        "--listen",
        "ndjson://127.0.0.1:0",
        "--exit-on-stdin-eof",
    ])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let url = line.trim_end().rsplit_once(' ').unwrap().1;
    for columns in WIDTHS {
        let args = ["chat", url];
        let mut terminal = Terminal::start(chatbench(&args), columns);
        let mut shown = terminal.wait_for("more");
        terminal.wait_for("> ");
        terminal.press("/help\r");
        shown.push_str(&terminal.wait_for("accepted"));
        shown.push_str(&terminal.wait_for("42"));
        terminal.press("\u{4}");
        let (status, _) = terminal.end();
        assert!(status.success(), "{shown:?}");
        let plain = console::strip_ansi_codes(&shown).replace("\r\n", "\n");
        assert_fits(&args, &plain, columns);
    }
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}
