//! The verifier, proved by the binary: every fault that can be committed is seen for what it is,
//! and what is seen of each is as it is written down here, for better or worse.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::process::Output;

use assert_cmd::Command;
use predicates::str::contains;

/// What each fault comes to: its name, how it is reported, and the selftest's verdict.
const EXPECTED: &str = include_str!("selftest.expected");

fn chatbench(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("chatbench").expect("it is built");
    command.args(args).output().expect("it starts")
}

/// The first, the second and the last column of the table: the counts between them depend on
/// when clients come and go.
fn columns(table: &str) -> Vec<String> {
    let rows = table
        .lines()
        .take_while(|line| !line.contains("clean runs"));
    rows.map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let verdict = words[5..].iter().filter(|w| w.parse::<u32>().is_err());
        let verdict: Vec<&str> = verdict.copied().collect();
        format!("{} {} {}", words[0], words[1], verdict.join(" "))
    })
    .collect()
}

#[test]
fn every_fault_comes_to_what_is_expected_of_it() {
    let output = chatbench(&["selftest", "--seeds", "2", "--clean", "3", "--no-progress"]);
    let table = String::from_utf8(output.stdout).unwrap();
    let rows = table.split_once('\n').unwrap().1; // without its head
    let expected: Vec<&str> = EXPECTED.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(columns(rows), expected, "{table}");
    assert!(table.contains("27 clean runs: 0 false alarms"), "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
}

/// Without the numbers: nothing is missed, misnamed or imagined. Faults that are in the numbers
/// alone are left out, and some that clients under way may excuse are not caught in every run.
#[test]
fn with_inferred_order_every_fault_comes_to_what_is_expected_of_it() {
    let args = [
        "selftest",
        "--judge",
        "outside",
        "--seeds",
        "1",
        "--clean",
        "1",
        "--no-progress",
    ];
    let output = chatbench(&args);
    let table = String::from_utf8(output.stdout).unwrap();
    let (head, rows) = table.split_once("verdict\n").unwrap();
    assert!(head.starts_with("judged by inferred order"), "{table}");
    let rows = columns(rows);
    let expected = EXPECTED.lines().filter(|l| !l.starts_with('#'));
    let expected: Vec<&str> = expected
        .filter(|l| !["skip-number", "reuse-number"].contains(&l.split(' ').next().unwrap()))
        .collect();
    assert_eq!(rows.len(), expected.len(), "{table}");
    let caught = rows.iter().zip(&expected).filter(|(row, e)| row == *e);
    assert!(caught.count() >= rows.len() - 5, "{table}");
    assert!(table.contains("9 clean runs: 0 false alarms"), "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
}

/// Nor on two shards, of a target that is held to each sender's own order: what is done to the order
/// between senders is left out.
#[test]
fn as_fifo_on_two_shards_every_fault_is_what_it_is_or_unseen() {
    let output = chatbench(&[
        "selftest",
        "--judge",
        "fifo",
        "--seeds",
        "1",
        "--clean",
        "1",
        "--no-progress",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    let (head, rows) = table.split_once("verdict\n").unwrap();
    assert!(head.contains("as FIFO, on two shards"), "{table}");
    let rows = columns(rows);
    let expected = EXPECTED.lines().filter(|l| !l.starts_with('#'));
    let needs_more = [
        "skip-number",
        "reuse-number",
        "swap-senders",
        "effect-first",
        "renumber-late",
    ];
    let expected: Vec<&str> = expected
        .filter(|l| !needs_more.contains(&l.split(' ').next().unwrap()))
        .collect();
    assert_eq!(rows.len(), expected.len(), "{table}");
    let caught = rows.iter().zip(&expected).filter(|(row, e)| row == *e);
    assert!(caught.count() >= rows.len() - 7, "{table}");
    assert!(table.contains("9 clean runs: 0 false alarms"), "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
}

/// Nor in the classic dialect: what is committed there is seen, unless nothing proves that whom it
/// was done to had joined.
#[test]
fn in_classic_every_fault_is_what_it_is_or_unseen() {
    let output = chatbench(&[
        "selftest",
        "--judge",
        "classic",
        "--seeds",
        "1",
        "--clean",
        "1",
        "--no-progress",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    let (head, rows) = table.split_once("verdict\n").unwrap();
    assert!(head.contains("in the classic dialect"), "{table}");
    let rows = columns(rows);
    assert_eq!(rows.len(), 23, "{table}");
    let caught = rows.iter().filter(|row| row.ends_with(" caught"));
    assert!(caught.count() >= rows.len() - 6, "{table}");
    let spoofed = "spoofable-ack stray-ack caught".to_owned();
    assert!(rows.contains(&spoofed), "{table}");
    assert!(table.contains("6 clean runs: 0 false alarms"), "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
}

#[test]
fn a_fault_that_the_clients_dialect_has_no_place_for_is_refused() {
    let classic = "classic://127.0.0.1:0";
    for (args, why) in [
        (
            &["--listen", classic, "--fault", "no-bye"][..],
            "`no-bye` is not committed towards classic clients",
        ),
        (
            &["--fault", "spoofable-ack"],
            "`spoofable-ack` is not committed towards ndjson clients",
        ),
        (
            &[
                "--listen",
                classic,
                "--listen",
                "ndjson://127.0.0.1:0",
                "--fault",
                "echo",
            ],
            "towards clients of one dialect",
        ),
    ] {
        let mut command = Command::cargo_bin("chatbench").unwrap();
        let assert = command.arg("serve").args(args).assert();
        assert.code(2).stderr(contains(why));
    }
}

#[test]
fn one_row_can_be_run_again_and_says_what_was_done_and_seen() {
    let args = [
        "selftest",
        "--fault",
        "drop-relay",
        "--scenario",
        "talk",
        "--seed",
        "7",
        "--verbose",
    ];
    let output = chatbench(&args);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("fault drop-relay applied: number "), "{text}");
    assert!(text.contains("lost-relay, 1 in all"), "{text}");
    let again = "chatbench selftest --fault drop-relay --scenario talk --seed 7 --verbose";
    assert!(text.contains(again), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn a_fault_that_there_is_not_is_refused_wherever_it_is_asked_for() {
    for args in [
        &["selftest", "--fault", "drop-realy"][..],
        &["serve", "--fault", "drop-realy"],
        &[
            "run",
            "scenarios/fanout.toml",
            "--set",
            "target.faults=[\"drop-realy\"]",
        ],
    ] {
        let assert = Command::cargo_bin("chatbench").unwrap().args(args).assert();
        assert
            .code(2)
            .stderr(contains("did you mean `drop-relay`?"));
    }
    let args = ["selftest", "--fault", "skip-number", "--judge", "outside"];
    let assert = Command::cargo_bin("chatbench").unwrap().args(args).assert();
    assert.code(2).stderr(contains("or by that judge"));
    let args = ["selftest", "--fault", "echo", "--scenario", "slow"];
    let assert = Command::cargo_bin("chatbench").unwrap().args(args).assert();
    assert
        .code(2)
        .stderr(contains("cannot be seen in that scenario"));
}

#[test]
fn a_run_against_a_faulty_server_fails_and_says_what_the_server_did() {
    let file = "src/cli/selftest/talk.toml";
    let output = chatbench(&["run", file, "--quiet", "--set", "target.faults=[\"echo\"]"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("echoed-relay · 1 · rule S3"), "{text}");
    assert!(
        text.contains("owed: an ack to who sent the message"),
        "{text}"
    );
    assert!(text.contains("fault echo applied: number "), "{text}");
}

#[test]
fn the_catalogue_is_listed() {
    let text = String::from_utf8(chatbench(&["faults"]).stdout).unwrap();
    for name in EXPECTED.lines().filter(|l| !l.starts_with('#')) {
        let name = name.split(' ').next().unwrap();
        assert!(text.contains(name), "{name}\n{text}");
    }
    assert!(text.contains("spoofable-ack"), "{text}");
}
