//! Runs with rooms: who joins, speaks and leaves where, and what is said of a target that lets
//! nobody in, or somebody into the wrong room.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/schema.rs"]
mod schema;

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use chatbench::wire::ndjson;
use probe::{Scenario, result_of};
use serde_json::{Value, json};

/// People in rooms, and others who come, speak and go.
const COMING_AND_GOING: &str = r#"
[run]
warmup = "100ms"
duration = "1s"
drain = "30s"
[clients.people]
count = 30
rate = 100
rooms = { names = ["room-1", "room-2", "a \"b\\ é"], each = 2 }
[clients.guests]
count = 3
repeat = "forever"
script = [
    { join = "room-1" },
    { publish = { count = 2, every = "2ms" } },
    { join = "room-2" },
    { publish = { count = 3 } },
    { leave = "room-1" },
    { publish = { count = 1, room = "room-2" } },
    { await_acks = {} },
    { pause = "5ms" },
]
[clients.vanishing]
rooms = 2
repeat = "forever"
script = [{ publish = {} }, { pause = "20ms" }, { disconnect = "abort" }]
[thresholds]
rooms = ["max < 30s"]
"#;

fn kinds(result: &Value) -> Vec<&str> {
    let kinds = result["violations"].as_array().unwrap().iter();
    kinds.map(|kind| kind["kind"].as_str().unwrap()).collect()
}

#[test]
fn everything_stays_in_its_room_whoever_comes_and_goes() {
    let judges: [&[&str]; 3] = [
        &["verify.use_seq=true"],
        &["verify.use_seq=false"],
        &[
            "verify.use_seq=false",
            "verify.order='fifo'",
            "run.shards=2",
        ],
    ];
    for judge in judges {
        let scenario = Scenario::new(COMING_AND_GOING);
        let mut arguments = vec![scenario.path()];
        judge
            .iter()
            .for_each(|set| arguments.extend(["--set", set]));
        let (code, result) = result_of(&arguments);
        assert_eq!(
            kinds(&result),
            [] as [&str; 0],
            "{:#}",
            result["violations"]
        );
        // A starved generator may say so, or leave a question open.
        assert!(
            matches!(code, Some(0 | 3)),
            "{code:?} {}",
            result["reasons"]
        );
        schema::assert_valid(schema::RESULT, &result);
        schema::assert_described(schema::RESULT, &result, 100);
        let (counts, rooms) = (&result["counts"], &result["rooms"]);
        assert_eq!(counts["delivered"], counts["owed"], "{counts:#}");
        let each = rooms["each"].as_array().unwrap();
        let names: Vec<_> = each
            .iter()
            .map(|room| room["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["room-1", "room-2", "a \"b\\ é"]);
        let sum = |key: &str| {
            each.iter()
                .map(|room| room[key].as_u64().unwrap())
                .sum::<u64>()
        };
        // Nobody publishes in the room without a name.
        assert_eq!(sum("sent"), counts["sent"].as_u64().unwrap());
        assert_eq!(sum("delivered"), counts["delivered"].as_u64().unwrap());
        assert_eq!(sum("members"), rooms["memberships"].as_u64().unwrap());
        assert!(
            sum("members") > 60 + 6,
            "who comes back joins again: {rooms:#}"
        );
        assert!(
            each.iter().all(|room| room["samples"].as_u64() > Some(0)),
            "{rooms:#}"
        );
    }
}

/// By inferred order each message is in another room here, and so is each fence.
#[test]
fn a_client_ends_with_a_fence_in_each_room_in_which_it_has_published() {
    let scenario = Scenario::new(
        "[run]\nwarmup = '0s'\nduration = '300ms'\n[verify]\nuse_seq = false\n\
         [clients.people]\ncount = 2\nrate = 40\nrooms = { count = 50, each = 50 }\n",
    );
    let (_, result) = result_of(&[scenario.path()]);
    let n = |value: &Value| value.as_u64().unwrap();
    let scheduled = n(&result["window"]["offered"]) - n(&result["window"]["unsent"]);
    assert!(scheduled > 0);
    assert_eq!(n(&result["counts"]["sent"]), 2 * scheduled);
    assert_eq!(n(&result["counts"]["delivered"]), 2 * scheduled);
    assert_eq!(kinds(&result), [] as [&str; 0]);
}

#[test]
fn without_rooms_a_result_says_nothing_of_them() {
    let scenario = Scenario::new(
        "[run]\nwarmup = '0s'\nduration = '200ms'\n[clients.people]\ncount = 2\nrate = 50",
    );
    let (_, result) = result_of(&[scenario.path()]);
    assert!(result.get("rooms").is_none());
    assert!(result.get("latency_ns").is_some());
}

/// What a target does with a client that asks to join a room.
#[derive(Clone, Copy)]
enum Joins {
    /// Nothing.
    Unanswered,
    /// It says that the client has joined the other one.
    Elsewhere,
    /// It refuses.
    Refused,
}

/// A target with two rooms in which nobody gets anything. Its threads end with the test's process.
fn target(joins: Joins) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), joins));
        }
    });
    format!("ndjson://{address}")
}

fn serve(mut stream: TcpStream, joins: Joins) {
    let mut line = Vec::new();
    let peer = stream.peer_addr().unwrap().to_string();
    ndjson::encode_welcome(&mut line, &peer, 0, 65_536);
    let _ = stream.write_all(&line);
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let frame: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Some(room) = frame["join"].as_str() else {
            continue;
        };
        let other = if room == "lobby" { "cellar" } else { "lobby" };
        let answer = match joins {
            Joins::Unanswered => continue,
            Joins::Elsewhere => json!({ "type": "joined", "room": other, "seq": 0 }),
            Joins::Refused => json!({ "type": "error", "room": room, "code": "too-many-rooms",
                                      "detail": "full" }),
        };
        let _ = stream.write_all(format!("{answer}\n").as_bytes());
    }
    line.clear();
    ndjson::encode_bye(&mut line, 0);
    let _ = stream.write_all(&line);
    let _ = stream.shutdown(Shutdown::Both);
}

#[test]
fn a_join_that_leads_nowhere_is_a_violation_that_names_the_room() {
    let scenario = Scenario::new(
        r#"
[target]
connect_timeout = "300ms"
[run]
warmup = "0s"
duration = "200ms"
[clients.people]
count = 2
rooms = { names = ["lobby", "cellar"] }
"#,
    );
    for (joins, expected, says) in [
        (Joins::Unanswered, "missing-welcome", "lobby"),
        (Joins::Refused, "missing-welcome", "too-many-rooms"),
        (Joins::Elsewhere, "missing-welcome", "lobby"),
    ] {
        let (code, result) = result_of(&[scenario.path(), "--target", &target(joins)]);
        assert_eq!(code, Some(1), "{}", result["reasons"]);
        assert!(
            kinds(&result).contains(&expected),
            "{:#}",
            result["violations"]
        );
        assert!(
            result["violations"].to_string().contains(says),
            "{:#}",
            result["violations"]
        );
        assert_eq!(result["counts"]["connected"], 3);
        let rooms = result["rooms"]["each"].as_array().unwrap();
        assert!(
            rooms
                .iter()
                .all(|room| room["violations"].as_u64() > Some(0)),
            "{rooms:#?}"
        );
    }
}

/// Each bug that only rooms can have, committed once, is found and rightly named; so is an old one,
/// in one room of many.
#[test]
fn what_goes_wrong_in_one_room_once_is_found_and_named_with_the_room() {
    for (fault, kind) in [
        ("wrong-room", "wrong-room"),
        ("leak-on-join", "wrong-room"),
        ("stays-after-leave", "wrong-room"),
        ("lost-in-one-room", "lost-relay"),
        ("joined-too-late", "lost-relay"),
        ("duplicate-relay", "duplicate-relay"),
    ] {
        let scenario = Scenario::new(COMING_AND_GOING);
        let faults = format!("target.faults=[\"{fault}=once\"]");
        let (code, result) = result_of(&[scenario.path(), "--set", &faults]);
        let committed = result["target"]["faults"].to_string();
        assert_eq!(code, Some(1), "{fault}: {committed} {}", result["reasons"]);
        assert_eq!(
            kinds(&result),
            [kind],
            "{fault}: {:#}",
            result["violations"]
        );
        let example = &result["violations"][0]["examples"][0];
        let room = example["room"].as_str().unwrap();
        // A name of several words stands in quotes.
        let text = example["text"].as_str().unwrap();
        let named = text.contains(room) || text.contains(&format!("{room:?}"));
        assert!(named, "{fault}: {example:#}");
    }
}
