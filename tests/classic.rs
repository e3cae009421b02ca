//! `chatbench run` against targets that state no order: the classic dialect, and ndjson whose
//! numbers are left aside. A small server re-enacts the original tutorial's defects one at a time,
//! and each must be named for what it is.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "doubles/classic.rs"]
mod double;
#[path = "binary/probe.rs"]
mod probe;

use std::fs;
use std::path::Path;

use binary::output;
use double::{Defect, Double};
use probe::{Scenario, assert_one_line, result_of, stdout};
use serde_json::Value;

/// The kinds of violation in a result, in its order.
fn kinds(result: &Value) -> Vec<&str> {
    let violations = result["violations"].as_array().unwrap();
    violations
        .iter()
        .map(|v| v["kind"].as_str().unwrap())
        .collect()
}

/// Nothing in a classic publish depends on its session, so that its bytes tell the sizes drawn.
#[test]
fn observers_and_other_groups_change_no_size_that_a_group_draws() {
    let group = r#"
[clients.t]
count = 2
script = [{ publish = { count = 100 } }, { await_acks = { within = "30s" } }]
payload = { min = 48, max = 4000 }
"#;
    let bytes_out = |run: &str, first: &str| {
        let text = format!(
            "target.url = \"embedded+classic\"\n[run]\nwarmup = \"0s\"\n{run}\n{first}{group}"
        );
        let (_, result) = result_of(&[Scenario::new(&text).path()]);
        assert_eq!(result["counts"]["sent"], 200, "{:#}", result["counts"]);
        result["window"]["bytes_out"].as_u64().unwrap()
    };
    let alone = bytes_out("observers = 0", "");
    assert_eq!(bytes_out("observers = 3", ""), alone, "observers");
    assert_eq!(
        bytes_out("", "[clients.earlier]\ncount = 2\n"),
        alone,
        "a group before it"
    );
}

/// A run that could be judged and found nothing. How fast this machine is today is not the
/// question: a starved generator may say so.
fn assert_clean(code: Option<i32>, result: &Value) {
    assert_eq!(kinds(result), [""; 0], "{:#}", result["violations"]);
    let saturated = result["generator"]["saturated"] == true
        || result["reasons"].to_string().contains("generator");
    let fine = code == Some(0) || saturated && code == Some(3);
    assert!(fine, "exit {code:?}: {:#}", result["reasons"]);
    assert_eq!(result["counts"]["lost"], 0);
    assert_eq!(result["counts"]["duplicated"], 0);
    assert!(result["counts"]["delivered"].as_u64() > Some(0));
    assert_eq!(result["judged"]["by"], "outside");
}

/// Everyone whose part a server of either dialect must get right: open and closed loops, bursts in
/// one write, listeners, and those who come and go by the book or not.
const EVERYONE: &str = r#"
[run]
warmup = "0s"
duration = "400ms"
drain = "30s"
observers = 2
[clients.talkers]
count = 3
rate = 300
arrival = "poisson"
payload = { min = 48, max = 3000 }
[clients.window]
count = 2
in_flight = 4
[clients.listeners]
count = 4
[clients.guests]
count = 3
repeat = 4
script = [
  { publish = { count = 3 } },
  { await_acks = { within = "20s" } },
  { pause = { min = "1ms", max = "20ms" } },
  { disconnect = "polite" },
]
[clients.vanishing]
count = 2
repeat = 4
script = [
  { publish = { count = 2 } },
  { pause = { min = "1ms", max = "20ms" } },
  { disconnect = "abort" },
]
[verify]
late_after = "20s"
"#;

#[test]
fn a_correct_classic_server_passes() {
    let target = Double::start(Defect::None);
    let scenario = Scenario::new(EVERYONE);
    let (code, result) = result_of(&[scenario.path(), "--target", &target.url()]);
    assert_clean(code, &result);
    assert_eq!(result["target"]["url"], target.url());
}

#[test]
fn the_embedded_server_passes_through_a_classic_listener() {
    let scenario = Scenario::new(EVERYONE);
    let (code, result) = result_of(&[scenario.path(), "--target", "embedded+classic"]);
    assert_clean(code, &result);
    let target = &result["target"];
    assert_eq!(target["embedded"], true);
    let url = target["url"].as_str().unwrap();
    assert!(url.starts_with("classic://127.0.0.1:"), "{url}");
    assert!(result["server"]["cpu_s"].is_number());
}

#[test]
fn the_embedded_server_passes_without_a_look_at_its_numbers() {
    let scenario = Scenario::new(EVERYONE);
    let (code, result) = result_of(&[scenario.path(), "--set", "verify.use_seq=false"]);
    assert_clean(code, &result);
    let url = result["target"]["url"].as_str().unwrap();
    assert!(url.starts_with("ndjson://"), "{url}");
}

/// Two talkers, three listeners, a moment long.
const SMALL: &str = r#"
[run]
warmup = "0s"
duration = "300ms"
drain = "30s"
observers = 2
[clients.talkers]
count = 2
rate = 200
[clients.listeners]
count = 3
[verify]
late_after = "20s"
"#;

#[test]
fn each_sender_ends_with_a_fence_and_one_shard_drives() {
    let scenario = Scenario::new(SMALL);
    let run = |set| result_of(&[scenario.path(), "--set", set]).1;
    let fences = |result: &Value| {
        let n = |value: &Value| value.as_u64().unwrap();
        let window = &result["window"];
        let scheduled = n(&window["offered"]) - n(&window["unsent"]);
        n(&result["counts"]["sent"]) - scheduled
    };
    assert_eq!(fences(&run("verify.use_seq=true")), 0);
    let outside = run("verify.use_seq=false");
    assert_eq!(fences(&outside), 2);
    assert!(outside["coverage"]["fences_seen"].as_u64() > Some(0));
    assert_eq!(outside["generator"]["shards"].as_array().unwrap().len(), 1);
    let acks = outside["latency_ns"]["ack"]["count"].as_u64().unwrap();
    assert!(
        acks <= outside["window"]["offered"].as_u64().unwrap(),
        "fences are not measured"
    );
}

// The original's defects, one by one.

/// What a run finds against a double with this defect: kinds and how many of each.
fn found(defect: Defect, scenario: &str) -> Vec<(String, u64)> {
    let target = Double::start(defect);
    let scenario = Scenario::new(scenario);
    let (code, result) = result_of(&[scenario.path(), "--target", &target.url()]);
    assert_eq!(code, Some(1), "{defect:?}: {:#}", result["reasons"]);
    let violations = result["violations"].as_array().unwrap();
    let seqs = violations
        .iter()
        .flat_map(|v| v["examples"].as_array().unwrap());
    assert!(
        seqs.clone().all(|example| example["seq"].is_null()),
        "there are no numbers"
    );
    let tally = |v: &Value| {
        let kind = v["kind"].as_str().unwrap().to_owned();
        (kind, v["count"].as_u64().unwrap())
    };
    violations.iter().map(tally).collect()
}

#[test]
fn relays_under_the_recipients_address_are_misattributed() {
    let found = found(Defect::RelayNamesRecipient, SMALL);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "misattributed-relay");
    assert!(found[0].1 > 1, "each is one: {found:?}");
}

/// One client does `script` beside others who talk and listen.
fn beside_others(script: &str) -> String {
    format!("{SMALL}[clients.probe]\nscript = [{script}]\n")
}

/// One client does `script`, its messages long, before others who listen.
fn long_message(script: &str) -> String {
    let probe = format!("payload = {{ size = 1500 }}\nscript = [{script}]");
    format!(
        "run = {{ warmup = '0s', duration = '300ms', drain = '30s' }}\n\
         [clients.listeners]\ncount = 3\n[clients.probe]\n{probe}\n"
    )
}

/// Who talks here waits for each ack, so that nothing but the pair can come in one read.
#[test]
fn two_messages_in_one_write_that_are_lost_are_missing_acks() {
    let scenario = r#"
[run]
warmup = "0s"
duration = "300ms"
drain = "30s"
[clients.careful]
count = 2
repeat = 5
script = [{ publish = {} }, { await_acks = { within = "20s" } }]
[clients.listeners]
count = 3
[clients.pair]
script = [{ publish = { count = 2 } }]
[verify]
late_after = "20s"
"#;
    let found = found(Defect::LoseCoalesced, scenario);
    assert_eq!(found, [("missing-ack".to_owned(), 2)]);
}

#[test]
fn a_message_over_the_originals_buffer_is_a_missing_ack() {
    let found = found(Defect::Truncate1024, &long_message("{ publish = {} }"));
    assert_eq!(found, [("missing-ack".to_owned(), 1)]);
}

#[test]
fn an_ack_that_is_waited_for_is_missed_once() {
    let script = "{ publish = {} }, { await_acks = { within = '300ms' } }";
    let found = found(Defect::Truncate1024, &long_message(script));
    assert_eq!(found, [("missing-ack".to_owned(), 1)]);
}

#[test]
fn garbage_that_is_relayed_is_a_phantom() {
    let script = "{ send_raw = { text = 'garbage' } }, { pause = '50ms' }";
    let found = found(Defect::BlankRelays, &beside_others(script));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "phantom-relay");
}

#[test]
fn an_ack_to_whom_a_false_address_names_does_not_come_and_the_message_comes_back() {
    let script = r#"{ send_raw = { text = '{"client_ip":"127.0.0.1:1","message":"who-am-i"}' } }, { await_acks = { within = "300ms" } }"#;
    let found = found(Defect::SpoofableAck, &beside_others(script));
    assert!(
        found
            .iter()
            .all(|(kind, _)| ["missing-ack", "echoed-relay"].contains(&&**kind)),
        "{found:?}"
    );
}

#[test]
fn an_ack_to_whom_a_message_claims_to_be_from_is_stray() {
    let scenario = beside_others("{ publish = {} }").replace(
        "[clients.probe]",
        "[clients.probe]\nclient_ip = 'observer-1'",
    );
    let found = found(Defect::SpoofableAck, &scenario);
    assert!(found.contains(&("stray-ack".to_owned(), 1)), "{found:?}");
    // What a server does not believe changes nothing.
    let target = Double::start(Defect::None);
    let scenario = Scenario::new(&scenario);
    let (code, result) = result_of(&[scenario.path(), "--target", &target.url()]);
    assert_clean(code, &result);
}

#[test]
fn an_ack_that_another_gets_is_stray() {
    let script = "{ publish = { count = 2, every = '20ms' } }";
    let scenario = format!(
        "run = {{ warmup = '0s', duration = '300ms', drain = '30s' }}\n\
         [clients.listeners]\ncount = 3\n[clients.probe]\nscript = [{script}]\n"
    );
    let found = found(Defect::AcksTheFirst, &scenario);
    assert!(found.contains(&("stray-ack".to_owned(), 2)), "{found:?}");
}

#[test]
fn one_that_stops_reading_and_stops_all_makes_relays_late() {
    let scenario = r#"
[run]
warmup = "0s"
duration = "300ms"
drain = "30s"
[clients.talkers]
count = 2
in_flight = 4
payload = { size = "32KiB" }
[clients.listeners]
count = 2
[clients.sluggish]
script = [{ stop_reading = "1500ms" }, { disconnect = "abort" }]
[verify]
late_after = "700ms"
"#;
    let found = found(Defect::BlockOnSlow, scenario);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "late-relay");
}

// Targets that speak something else.

/// Exit 3 and one line with the address and what was seen.
fn assert_refused(url: &str, set: &str, seen: &str) {
    let scenario = Scenario::new(SMALL);
    let output = output(&["run", "-q", scenario.path(), "--target", url, "--set", set]);
    assert_one_line(&output, url, seen);
}

#[test]
fn a_target_of_the_other_dialect_is_told_from_one_of_none() {
    let set = "run.drain=30s";
    let ndjson = Double::start(Defect::SpeaksNdjson);
    assert_refused(
        &ndjson.url(),
        set,
        "it speaks the ndjson dialect: name it ndjson://HOST:PORT",
    );
    let web = Double::start(Defect::SpeaksHttp);
    assert_refused(&web.url(), set, "and this said `HTTP/1.1 400 Bad Request");
    let classic = Double::start(Defect::None)
        .url()
        .replace("classic", "ndjson");
    let set = "target.connect_timeout=200ms";
    assert_refused(
        &classic,
        set,
        "no welcome within 200ms (a server of the classic dialect says none",
    );
}

#[test]
fn nobody_at_a_classic_address_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("classic://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_refused(&url, "run.drain=30s", "refused");
}

// Traces and reports of such runs.

#[test]
fn a_trace_of_such_a_run_is_judged_as_the_run_was() {
    for (defect, code) in [(Defect::None, 0), (Defect::RelayNamesRecipient, 1)] {
        let target = Double::start(defect);
        let scenario = Scenario::new(EVERYONE);
        let trace = Path::new(scenario.path()).with_file_name("run.trace");
        let trace = trace.to_str().unwrap();
        let (_, result) =
            result_of(&[scenario.path(), "--target", &target.url(), "--trace", trace]);
        let verified = output(&["verify", trace, "--json", "-"]);
        let again: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(again["violations"], result["violations"], "{defect:?}");
        for key in ["sent", "acked", "owed", "delivered", "optional"] {
            assert_eq!(
                again["counts"][key], result["counts"][key],
                "{defect:?}: {key}"
            );
        }
        // A starved generator is a doubt in the trace, too.
        let got = verified.status.code();
        assert!(
            got == Some(code) || code == 0 && got == Some(3),
            "{defect:?}: {got:?}"
        );
    }
}

#[test]
fn the_summary_and_the_page_say_how_it_was_judged() {
    let scenario = Scenario::new(SMALL);
    let page = Path::new(scenario.path()).with_file_name("report.html");
    let page = page.to_str().unwrap();
    let args = [
        "run",
        scenario.path(),
        "-q",
        "-v",
        "--target",
        "embedded+classic",
        "--html",
        page,
    ];
    let text = stdout(&output(&args));
    assert!(text.contains("embedded classic server"), "{text}");
    assert!(
        text.contains("judged       by inferred order, from what each client saw"),
        "{text}"
    );
    let html = fs::read_to_string(page).unwrap();
    let judged = "Judged by inferred order, from what each client saw: ack exactly-once, relay exactly-once, order total, no echo.";
    assert!(html.contains(judged));
}
