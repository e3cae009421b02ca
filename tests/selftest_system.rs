//! `chatbench selftest --target URL`: the verifier tried on a running system, by a proxy that
//! commits one fault a run. Every fault is found and rightly named, whatever the target talks; a
//! proxy that does nothing raises nothing.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "doubles/application.rs"]
mod double;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/secure.rs"]
mod secure;

use binary::{output, stderr};
use double::{Bug, Double};
use probe::{Scenario, stdout};
use secure::{Certificates, Server};

/// The faults that have a place with every target that numbers nothing and names nobody.
const EVERYWHERE: [&str; 11] = [
    "drop-relay lost-relay",
    "drop-publish missing-ack",
    "duplicate-relay duplicate-relay",
    "swap-same-sender reordered-relay",
    "swap-senders order-divergence",
    "flip-byte altered-relay",
    "truncate-message altered-relay",
    "ack-then-lose ack-without-relay",
    "drop-ack missing-ack",
    "double-ack duplicate-ack",
    "hang-up unexpected-close",
];

/// Runs the selftest against a system: its exit code and its table.
fn selftest(args: &[&str]) -> (Option<i32>, String) {
    let fixed = ["selftest", "--seeds", "1", "--clean", "1", "--no-progress"];
    let ran = output(&[&fixed[..], args].concat());
    (ran.status.code(), stdout(&ran) + &stderr(&ran))
}

/// All of `faults` were caught but `unseen`, the clean run was clean, and nothing went wrong.
fn assert_caught(args: &[&str], further: &[&str], without: &[&str], unseen: &[&str]) {
    let (code, text) = selftest(args);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .take_while(|line| !line.contains("clean runs"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let found = |fault: &str| rows.iter().find(|row| row[0] == fault);
    let all = EVERYWHERE.iter().chain(&["delay-relay late-relay"]);
    let all: Vec<&&str> = all.chain(further).collect();
    for row in &all {
        let (fault, kind) = row.split_once(' ').unwrap();
        if without.contains(&fault) {
            assert_eq!(found(fault), None, "{text}");
            assert!(text.contains(&format!("  {fault}: ")), "{text}");
            continue;
        }
        let row = found(fault).unwrap_or_else(|| panic!("{fault}\n{text}"));
        let kinds = row[1..].iter().take_while(|word| !word.contains('/'));
        let kinds: Vec<&str> = kinds.map(|word| word.trim_end_matches(',')).collect();
        assert!(kinds.contains(&kind), "{text}");
        let verdict = row[kinds.len() + 3..].join(" ");
        let is_fine = verdict == "caught" || unseen.contains(&fault) && verdict == "not observable";
        assert!(is_fine, "{fault}\n{text}");
    }
    assert_eq!(rows.len(), all.len() - without.len(), "{text}");
    assert!(
        text.contains("1 clean runs: 0 false alarms, 0 inconclusive"),
        "{text}"
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn on_the_reference_server_in_rooms_every_fault_is_caught() {
    let further = ["wrong-sender misattributed-relay", "wrong-room wrong-room"];
    assert_caught(
        &["--target", "embedded", "--rooms", "2"],
        &further,
        &[],
        &[],
    );
}

#[test]
fn over_websocket_judged_without_numbers_every_fault_is_caught() {
    let args = ["--target", "embedded+ws", "--set", "verify.use_seq=false"];
    let further = ["wrong-sender misattributed-relay"];
    assert_caught(&args, &further, &[], &[]);
}

#[test]
fn in_the_classic_dialect_every_fault_that_has_a_place_is_caught() {
    let further = ["wrong-sender misattributed-relay"];
    // There is no welcome: who has joined need not have been owed it.
    let unseen = ["drop-relay", "ack-then-lose"];
    assert_caught(
        &["--target", "embedded+classic"],
        &further,
        &["drop-publish"],
        &unseen,
    );
}

/// TLS is spoken by the proxy with the target; the clients talk to the proxy in clear.
#[test]
fn over_tls_every_fault_is_caught() {
    let certificates = Certificates::new();
    let server = Server::start(&certificates, "server", &["wss://127.0.0.1:0"]);
    let cacert = certificates.name("ca.pem");
    let further = ["wrong-sender misattributed-relay"];
    let args = ["--target", &server.urls[0], "--cacert", &cacert];
    assert_caught(&args, &further, &[], &[]);
    // Without the authority nobody gets in, and the proxy says why.
    let (code, text) = selftest(&args[..2]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("certificate"), "{text}");
}

/// The chat of an application: the target and its protocol out of a scenario, the load not.
fn application(double: &Double, verify: &str) -> Scenario {
    Scenario::new(&format!(
        r#"
[target]
url = "ws://{}/chat?user={{client}}"
[protocol]
join = [{{ send = '{{"type":"join","room":"{{room}}"}}', expect = {{ type = "joined", room = "{{room}}" }} }}]
leave = [{{ send = '{{"type":"leave","room":"{{room}}"}}', expect = {{ type = "left", room = "{{room}}" }} }}]
publish = '{{"type":"say","room":"{{room}}","id":{{id}},"text":"{{payload}}"}}'
ack = {{ type = "ok", id = "{{id}}" }}
{verify}
[run]
duration = "1h"
[clients.people]
count = 5000
rate = 100000
rooms = {{ names = ["lobby", "hall", "attic"] }}
"#,
        double.address()
    ))
}

#[test]
fn on_an_application_with_rooms_every_fault_is_caught() {
    let double = Double::start(Bug::None);
    let scenario = application(&double, "");
    let unseen = ["drop-relay", "ack-then-lose"];
    assert_caught(&[scenario.path()], &["wrong-room wrong-room"], &[], &unseen);
}

/// The same described by options, without a file.
#[test]
fn an_application_can_be_described_by_options() {
    let double = Double::start(Bug::None);
    let url = format!("ws://{}/chat", double.address());
    let args = [
        "--target",
        &url,
        "--publish",
        r#"{"type":"say","room":"{room}","id":{id},"text":"{payload}"}"#,
        "--join",
        r#"{ send = '{"type":"join","room":"{room}"}', expect = { type = "joined" } }"#,
        "--ack",
        r#"{ type = "ok", id = "{id}" }"#,
        "--fault",
        "wrong-room",
        "--fault",
        "drop-ack",
        "--fault",
        "none",
    ];
    let (code, text) = selftest(&args);
    assert_eq!(text.matches("  caught").count(), 2, "{text}");
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn what_a_target_does_not_promise_is_no_fault_there() {
    let double = Double::start(Bug::None);
    let weak = "[verify]\nrelay = \"at-most-once\"\norder = \"none\"\n";
    let scenario = application(&double, weak);
    let args = [
        "--fault",
        "swap-senders",
        "--fault",
        "drop-relay",
        "--fault",
        "none",
    ];
    let (code, text) = selftest(&[&[scenario.path()][..], &args].concat());
    assert!(
        text.contains("  drop-relay: it may skip messages"),
        "{text}"
    );
    assert!(
        text.contains("  swap-senders: it promises no order"),
        "{text}"
    );
    assert_eq!(code, Some(0), "{text}");
}

/// A system with a bug of its own: nothing that is committed on top of it could be told from it.
#[test]
fn where_clean_runs_are_not_clean_no_fault_is_committed() {
    let double = Double::start(Bug::Doubled);
    let scenario = application(&double, "");
    let (code, text) = selftest(&[scenario.path(), "--fault", "drop-relay", "--fault", "none"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("clean, seed 1: imagined"), "{text}");
    assert!(text.contains("duplicate-relay, 1 in all"), "{text}");
    assert!(text.contains("though the proxy did nothing"), "{text}");
    assert!(!text.contains("the proxy committed"), "{text}");
}

#[test]
fn one_run_can_be_made_again_and_says_what_was_done_and_seen() {
    let args = ["--target", "embedded", "--fault", "flip-byte", "--verbose"];
    let (code, text) = selftest(&args);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("the proxy committed flip-byte: message "),
        "{text}"
    );
    assert!(text.contains("altered-relay, 1 in all"), "{text}");
    let again = "again: chatbench selftest --target embedded --clients 12 --rate 200 --size 64 \
                 --fault flip-byte --seed 1 --verbose";
    assert!(text.contains(again), "{text}");
}

#[test]
fn what_cannot_be_tried_is_said_before_anything_runs() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ndjson://{}", nobody.local_addr().unwrap());
    drop(nobody);
    for (args, code, said) in [
        (&["--target", &*url][..], 3, "refused"),
        (&["--target", "gopher://127.0.0.1:1"], 2, "gopher"),
        (&["no-such-file.toml"], 2, "no-such-file.toml"),
        (
            &["--target", &url, "--fault", "echo"],
            2,
            "only the reference server commits it",
        ),
        (&["--fault", "drop-publish"], 2, "only the proxy commits it"),
        (
            &["--target", &url, "--judge", "fifo"],
            2,
            "cannot be used with",
        ),
        (&["--rooms", "2"], 2, "required"),
        (&["--cacert", "x.pem"], 2, "a system of yours"),
        (
            &["--target", &url, "--clients", "3"],
            2,
            "--clients 3: it takes 8",
        ),
        (
            &["--target", &url, "--clients", "11", "--rooms", "2"],
            2,
            "it takes 12 in 2 rooms",
        ),
        (&["--target", &url, "--rooms", "0"], 2, "--rooms"),
        (
            &["--target", &url, "--set", "verify.order=\"sorted\""],
            2,
            "order",
        ),
        (&["--target", &url, "--rate", "0"], 2, "rate"),
    ] {
        let (found, text) = selftest(args);
        assert_eq!(found, Some(code), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
}
