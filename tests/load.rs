//! `chatbench load`: a load without a file, verified, saved and run again.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "doubles/application.rs"]
mod double;
#[path = "binary/probe.rs"]
mod probe;

use std::fs;

use binary::{output, stderr};
use double::{Bug, Double};
use probe::stdout;
use serde_json::Value;

const MOMENT: [&str; 8] = [
    "--clients",
    "5",
    "--talkers",
    "2",
    "--rate",
    "200",
    "--duration",
    "300ms",
];

#[test]
fn a_load_is_verified_and_ends_as_a_run_does() {
    let load =
        |more: &[&str]| output(&[&["load", "embedded", "--quiet"], &MOMENT[..], more].concat());
    let passed = load(&["--json", "-", "--threshold", "relay max < 5s"]);
    assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
    let result: Value = serde_json::from_slice(&passed.stdout).unwrap();
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["scenario"]["name"], "load");
    let rerun = result["rerun"].as_str().unwrap();
    assert_eq!(
        rerun,
        "chatbench load embedded --clients 5 --talkers 2 --rate 200 --duration 300ms --size 64 \
         --threshold 'relay max < 5s' --seed 1"
    );
    let crossed = load(&["--threshold", "rates delivered > 1000000"]);
    assert_eq!(crossed.status.code(), Some(99), "{}", stdout(&crossed));
    let failed = load(&["--set", "target.faults=['drop-relay=once']"]);
    assert_eq!(failed.status.code(), Some(1), "{}", stdout(&failed));
}

#[test]
fn what_is_saved_is_a_scenario_that_runs_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("begun.toml");
    let file = file.to_str().unwrap();
    let load = |more: &[&str]| {
        let args = [
            "load",
            "embedded",
            "--no-progress",
            "--save",
            file,
            "--rooms",
            "2",
        ];
        output(&[&args, &MOMENT[..], more].concat())
    };
    let loaded = load(&[]);
    assert_eq!(loaded.status.code(), Some(0), "{}", stderr(&loaded));
    assert!(
        stderr(&loaded).contains(&format!("the scenario is in {file}\n")),
        "{}",
        stderr(&loaded)
    );
    let saved = fs::read_to_string(file).unwrap();
    let run = output(&["run", file, "--quiet"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let refused = load(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        stderr(&refused),
        format!("chatbench: --save {file}: it exists already; --force overwrites it\n")
    );
    assert_eq!(load(&["--force"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(file).unwrap(), saved);
}

/// The chat of `tests/doubles/application.rs`, by options alone.
const CHAT: [&str; 6] = [
    "--join",
    r#"{ send = '{"type":"join","room":"{room}"}', expect = { type = "joined" } }"#,
    "--publish",
    r#"{"type":"say","room":"{room}","id":{id},"text":"{payload}"}"#,
    "--ack",
    r#"{ type = "ok", id = "{id}" }"#,
];

#[test]
fn an_application_is_loaded_and_tried_by_its_messages_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("begun.toml");
    let file = file.to_str().unwrap();
    let double = Double::start(Bug::None);
    let url = format!("ws://{}/chat", double.address());
    let load = |more: &[&str]| {
        let args = ["load", &url, "--quiet", "--set", "run.warmup=0s"];
        output(&[&args, &MOMENT[..], &CHAT, more].concat())
    };
    let loaded = load(&["--json", "-", "--save", file]);
    assert_eq!(loaded.status.code(), Some(0), "{}", stderr(&loaded));
    let result: Value = serde_json::from_slice(&loaded.stdout).unwrap();
    assert!(
        result["counts"]["acked"].as_u64() > Some(0),
        "{:#}",
        result["counts"]
    );
    // Its messages name a room, so everyone is in one; what is saved says so, and runs.
    let saved = fs::read_to_string(file).unwrap();
    assert!(
        saved.contains("rooms = 1\n") && saved.contains("[protocol]\njoin = ["),
        "{saved}"
    );
    let run = output(&["run", file, "--quiet"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    // The command that does it again has all of it, fit for a shell.
    let rerun = result["rerun"].as_str().unwrap();
    assert!(
        rerun.contains(r#"--ack '{ type = "ok", id = "{id}" }'"#),
        "{rerun}"
    );
    let buggy = Double::start(Bug::LostToOne);
    let url = format!("ws://{}/chat", buggy.address());
    let more = ["--rate", "400", "--duration", "1s", "--quiet"];
    let failed = output(&[&["load", &url], &CHAT[..], &more].concat());
    assert_eq!(failed.status.code(), Some(1), "{}", stdout(&failed));

    let shown = output(
        &[
            &["try", &format!("ws://{}/chat", double.address())],
            &CHAT[..],
        ]
        .concat(),
    );
    assert_eq!(
        shown.status.code(),
        Some(0),
        "{}{}",
        stdout(&shown),
        stderr(&shown)
    );
    assert!(
        stdout(&shown).contains("joined, by join.0.expect"),
        "{}",
        stdout(&shown)
    );
}

#[test]
fn options_of_a_protocol_that_make_no_sense_say_why() {
    let refused = |args: &[&str]| {
        let refused = output(args);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        stderr(&refused)
    };
    let url = "ws://127.0.0.1:1";
    for (args, said) in [
        (
            vec!["load", url, "--protocol", "soket.io"],
            "did you mean \"socket.io\"?",
        ),
        (
            vec!["load", url, "--ack", "ok"],
            "`protocol.publish` is missing",
        ),
        (
            vec!["load", url, "--publish", "{paylod}"],
            "did you mean `{payload}`?",
        ),
        (
            vec!["load", "embedded", "--publish", "{payload}"],
            "only of a target at ws://",
        ),
        (vec!["load", "tcp://127.0.0.1:1"], "--publish TEMPLATE"),
        (
            vec!["try", "a.toml", "--publish", "x"],
            "a.toml is a file, which says itself",
        ),
        (vec!["try", "embedded"], "start one with `chatbench serve`"),
        (
            vec!["try", "classic://127.0.0.1:1"],
            "chatbench chat talks to it",
        ),
        (vec!["try", url, "--target", url], "is the target already"),
    ] {
        let error = refused(&args);
        assert!(error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_scenario_that_it_would_be() {
    let refused = |args: &[&str]| {
        let refused = output(&[&["load"], args].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        stderr(&refused)
    };
    let error = refused(&["embedded", "--duration", "soon"]);
    assert!(error.contains("error: `run.duration`: expected"), "{error}");
    assert!(error.contains("duration = \"soon\""), "{error}");
    let error = refused(&["gopher://h:1"]);
    assert!(
        error.contains("`target.url`: expected a scheme that chatbench knows"),
        "{error}"
    );
    let error = refused(&["embedded", "--threshold", "rely p99 < 1ms"]);
    assert!(
        error.contains("`thresholds.rely`: no such key") && error.contains("did you mean `relay`"),
        "{error}"
    );
    let error = refused(&["embedded", "--insecure"]);
    assert!(
        error.contains("`target.tls`: the target is not reached by TLS"),
        "{error}"
    );
    let error = refused(&["embedded", "--talkers", "11"]);
    assert_eq!(
        error,
        "chatbench: --talkers 11: they are some of the --clients, of which there are 10\n"
    );
}
