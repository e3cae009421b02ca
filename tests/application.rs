//! `chatbench run` and `chatbench try` against a chat with messages of its own: ten lines of
//! `[protocol]` are enough for a right verdict on it, whatever its bug.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "doubles/application.rs"]
mod double;
#[path = "binary/probe.rs"]
mod probe;

use binary::{output, stderr};
use double::{Bug, Double};
use probe::{Scenario, result_of, stdout};
use serde_json::Value;

/// The lines of the documentation, and how to leave a room.
const PROTOCOL: &str = r#"
[protocol]
join = [{ send = '{"type":"join","room":"{room}"}', expect = { type = "joined", room = "{room}" } }]
leave = [{ send = '{"type":"leave","room":"{room}"}', expect = { type = "left", room = "{room}" } }]
publish = '{"type":"say","room":"{room}","id":{id},"text":"{payload}"}'
ack = { type = "ok", id = "{id}" }
"#;

/// Members who talk, members who come and go, and one who does not read for a while.
const PEOPLE: &str = r#"
[run]
warmup = "0s"
duration = "1500ms"
drain = "30s"
[verify]
late_after = "20s"
[clients.people]
count = 12
rate = 200
rooms = 3
[clients.guests]
count = 2
script = [{ pause = "600ms" }, { join = "room-1" }, { pause = "600ms" }, { leave = "room-1" }]
[clients.slow]
count = 1
rooms = { names = ["room-2"] }
script = [{ pause = "100ms" }, { stop_reading = "1s" }, { pause = "300ms" }]
"#;

fn scenario(double: &Double, rest: &str) -> Scenario {
    let url = format!(
        "[target]\nurl = \"ws://{}/chat?user={{client}}\"\n",
        double.address()
    );
    Scenario::new(&format!("{url}{rest}"))
}

/// The kinds of violation in a result, in its order.
fn kinds(result: &Value) -> Vec<&str> {
    let violations = result["violations"].as_array().unwrap();
    violations
        .iter()
        .map(|v| v["kind"].as_str().unwrap())
        .collect()
}

fn run(bug: Bug, people: &str) -> (Option<i32>, Value) {
    let double = Double::start(bug);
    let scenario = scenario(&double, &format!("{PROTOCOL}{people}"));
    result_of(&[scenario.path()])
}

#[test]
fn a_chat_without_a_bug_passes() {
    let (code, result) = run(Bug::None, PEOPLE);
    assert_eq!(kinds(&result), [""; 0], "{:#}", result["violations"]);
    let saturated = result["generator"]["saturated"] == true
        || result["reasons"].to_string().contains("generator");
    assert!(
        code == Some(0) || saturated,
        "exit {code:?}: {:#}",
        result["reasons"]
    );
    let counts = &result["counts"];
    assert_eq!(counts["sent"], counts["acked"], "{counts:#}");
    assert!(
        counts["delivered"].as_u64() > counts["sent"].as_u64(),
        "{counts:#}"
    );
    assert_eq!(
        (&counts["lost"], &counts["unresolved"]),
        (&0.into(), &0.into()),
        "{counts:#}"
    );
}

#[test]
fn a_target_that_may_hang_up_is_held_to_the_rest() {
    let double = Double::start(Bug::HangsUp);
    let reconnect = "reconnect = { after = \"1ms..20ms\", at_most = 1000 }\n";
    let scenario = scenario(&double, &format!("{PROTOCOL}{reconnect}{PEOPLE}"));
    let (_, result) = result_of(&[scenario.path()]);
    assert_eq!(kinds(&result), [""; 0], "{:#}", result["violations"]);
    let counts = &result["counts"];
    let sessions = counts["sessions"].as_u64();
    assert!(sessions > counts["connected"].as_u64(), "{counts:#}");
    assert!(
        counts["delivered"].as_u64() > counts["sent"].as_u64(),
        "{counts:#}"
    );
    let notes = result["notes"].to_string();
    assert!(notes.contains("the target closed"), "{notes}");
    // Who has not said so holds it to connections that last.
    let (code, result) = run(Bug::HangsUp, PEOPLE);
    assert_eq!(code, Some(1), "{:#}", result["reasons"]);
    assert_eq!(
        kinds(&result),
        ["unexpected-close"],
        "{:#}",
        result["violations"]
    );
}

#[test]
fn each_of_eight_bugs_is_named_for_what_it_is() {
    // So much that the sockets of one who does not read are full.
    let large = PEOPLE.replace("rate = 200", "rate = 400\npayload = { size = 32000 }");
    for (bug, kind) in [
        (Bug::LostToOne, "lost-relay"),
        (Bug::Doubled, "duplicate-relay"),
        (Bug::WrongRoom, "wrong-room"),
        (Bug::Reordered, "order-divergence"),
        (Bug::Altered, "altered-relay"),
        (Bug::AckedAndDropped, "ack-without-relay"),
        (Bug::SlowReaderSkipped, "lost-relay"),
        (Bug::LateJoinLost, "lost-relay"),
    ] {
        let people = if bug == Bug::SlowReaderSkipped {
            &large
        } else {
            PEOPLE
        };
        let (code, result) = run(bug, people);
        assert_eq!(code, Some(1), "{bug:?}: {:#}", result["reasons"]);
        assert!(
            kinds(&result).contains(&kind),
            "{bug:?}: {:#}",
            result["violations"]
        );
        let others: Vec<&str> = kinds(&result)
            .into_iter()
            .filter(|one| *one != kind)
            .collect();
        // What is altered or comes twice may leave its place empty, or come out of order.
        let follows = [
            "lost-relay",
            "reordered-relay",
            "order-divergence",
            "ack-without-relay",
        ];
        assert!(
            others.iter().all(|one| follows.contains(one)),
            "{bug:?}: {others:?}"
        );
    }
}

#[test]
fn a_session_is_shown_message_by_message() {
    let double = Double::start(Bug::None);
    let people = "[clients.people]\ncount = 2\nrate = 1\nrooms = { names = [\"lobby\"] }\n";
    let good = scenario(&double, &format!("{PROTOCOL}{people}"));
    let shown = output(&["try", good.path()]);
    let (text, complaint) = (stdout(&shown), stderr(&shown));
    assert_eq!(shown.status.code(), Some(0), "{text}\n{complaint}");
    for part in [
        r#"> {"type":"join","room":"lobby"}"#,
        "join.0.send",
        r#"< {"room":"lobby","type":"joined"}"#,
        "joined, by join.0.expect",
        "an ack, by ack",
        "the other client a delivery",
        "left, by leave.0.expect",
        "logged in, joined, published; acked and delivered within",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let validated = stdout(&output(&["validate", good.path()]));
    for part in [
        r#"> {"type":"join","room":"lobby"} (join.0.send)"#,
        r#"> {"type":"say","room":"lobby","id":1,"text":"{payload}"} (publish)"#,
        r#"< { type = "ok", id = "{id}" } (ack)"#,
    ] {
        assert!(validated.contains(part), "no {part:?} in\n{validated}");
    }
    // A stranger to the protocol sees what came, and what it was compared with.
    let wrong = PROTOCOL.replace("type = \"joined\"", "type = \"welcome\"");
    let wrong = scenario(&double, &format!("{wrong}{people}"));
    let shown = output(&["try", wrong.path(), "--within", "500ms"]);
    let (text, complaint) = (stdout(&shown), stderr(&shown));
    assert_eq!(shown.status.code(), Some(1), "{text}\n{complaint}");
    assert!(text.contains("nothing that [protocol] knows"), "{text}");
    for part in [
        "this did not come: join, which waits for { type = \"welcome\", room = \"{room}\" }",
        "which came: {\"room\":\"lobby\",\"type\":\"joined\"}",
    ] {
        assert!(complaint.contains(part), "no {part:?} in\n{complaint}");
    }
}

/// Steps of a script in the application's own messages: answered, and in vain.
#[test]
fn a_script_asks_and_what_it_learns_goes_into_the_next_step() {
    let asks = |expected: &str| {
        format!(
            r#"
[run]
warmup = "0s"
duration = "300ms"
[clients.people]
count = 2
rate = 50
rooms = 1
[clients.guests]
script = [
    {{ send = '{{"type":"join","room":"hall"}}', expect = {{ type = "{expected}", room = "{{where}}" }}, within = "400ms" }},
    {{ send = '{{"type":"leave","room":"{{where}}"}}', expect = {{ type = "left", room = "hall" }} }},
]
"#
        )
    };
    let double = Double::start(Bug::None);
    let good = scenario(&double, &format!("{PROTOCOL}{}", asks("joined")));
    let (code, result) = result_of(&[good.path()]);
    assert_eq!(kinds(&result), [""; 0], "{:#}", result["violations"]);
    assert_eq!(code, Some(0), "{:#}", result["reasons"]);
    assert_eq!(
        result["counts"]["unknown_frames"], 0,
        "{:#}",
        result["counts"]
    );
    let bad = scenario(&double, &format!("{PROTOCOL}{}", asks("welcome")));
    let (code, result) = result_of(&[bad.path()]);
    assert_eq!(code, Some(1), "{:#}", result["reasons"]);
    assert_eq!(
        kinds(&result),
        ["missing-answer"],
        "{:#}",
        result["violations"]
    );
    let said = result["violations"].to_string();
    for part in [
        "guests-1 expected",
        "welcome",
        "within 400ms",
        "what came instead",
        "joined",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    // The second step has no value to send then: said, and not held against the target.
    let reasons = result["reasons"].to_string();
    assert!(reasons.contains("script.send needs {where}"), "{reasons}");
}

/// The target is no WebSocket, or is not there for this path: said with what came.
#[test]
fn a_target_that_refuses_is_quoted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let people = "[clients.people]\ncount = 2\nrate = 1\nrooms = 1\n";
    let text = format!("[target]\nurl = \"ws://{address}/nowhere\"\n{PROTOCOL}{people}");
    let scenario = Scenario::new(&text);
    let shown = output(&["try", scenario.path()]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(stderr(&shown).contains("404"), "{}", stderr(&shown));
    let ran = output(&["run", scenario.path(), "--no-progress"]);
    assert_eq!(ran.status.code(), Some(3));
    let said = format!("{}{}", stdout(&ran), stderr(&ran));
    assert!(said.contains("404"), "{said}");
}
