//! The documented keys, and their figures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::{Value, json};

use crate::report::summary::Detail;
use crate::report::{Report, sample};
use crate::verify::kind::Kind;

fn parsed(report: &Report) -> Value {
    serde_json::from_slice(&report.result.json()).unwrap()
}

/// Every key of the documented schema, as JSON pointers.
const KEYS: &str = "/schema /chatbench /started /elapsed_ns /scenario/name /scenario/seed \
    /scenario/resolved /target/url /target/embedded /environment/os /environment/kernel \
    /environment/cpus /environment/host /verdict /exit_code /reasons /counts/clients \
    /counts/connected /counts/sent /counts/acked /counts/owed /counts/delivered \
    /counts/optional /counts/lost /counts/duplicated /counts/errors_received \
    /counts/unexpected_closes /violations/0/kind /violations/0/rule /violations/0/count \
    /violations/0/examples/0/text /violations/0/examples/0/sender \
    /violations/0/examples/0/receiver /violations/0/examples/0/k \
    /violations/0/examples/0/seq /violations/0/examples/0/at_ns \
    /coverage/overlapping_sends /coverage/joins_during_traffic /coverage/polite_leaves \
    /coverage/aborts /coverage/split_frames /coverage/joined_frames /coverage/fences_seen \
    /rates/offered /rates/sent /rates/acked /rates/delivered /rates/bytes_in \
    /rates/bytes_out /generator/cpu_s /generator/max_rss_bytes /generator/saturated \
    /generator/behind /generator/longest_pause_ns /generator/heartbeat_ns/p99 \
    /generator/unread_bytes/p99 /generator/shards/0/busy /generator/shards/0/waited \
    /generator/doubts /notes /window/unsent /window/due_and_sent /counts/unresolved \
    /latency_ns/relay/ci95/p50/0 /latency_ns/relay/ci95/p99/1 /latency_ns/relay/missing \
    /latency_ns/relay/messages /groups/0/name /groups/0/clients \
    /groups/0/latency_ns/ack/p99 /groups/0/latency_ns/relay/ci95/p50/0 \
    /groups/1/latency_ns/relay/histogram \
    /server/cpu_s /server/max_rss_bytes /thresholds/0/metric /thresholds/0/expr \
    /thresholds/0/observed /thresholds/0/ok /timeline/0/t_ns /timeline/0/sent \
    /timeline/0/acked /timeline/0/delivered /timeline/0/clients /timeline/0/relay_p50_ns \
    /timeline/0/relay_p99_ns /timeline/0/relay_max_ns";

#[test]
fn every_documented_key_is_there_and_filled() {
    let report = sample::report(|_, o| {
        o.findings.violation(Kind::LostRelay, sample::example);
        // From the first second on, so that the first point of the timeline is filled too.
        o.measured.timeline.drain(..2);
        for latency in [&mut o.measured.ack, &mut o.measured.connect] {
            latency.record_n(1_000, 40_000).unwrap();
        }
    });
    let result = parsed(&report);
    for key in KEYS.split_whitespace() {
        let value = result.pointer(key);
        assert!(value.is_some_and(|v| !v.is_null()), "{key}: {value:?}");
    }
    for class in [
        "ack",
        "relay",
        "last_relay",
        "spread",
        "send_lag",
        "connect",
        "ack_service",
        "relay_service",
    ] {
        let latency = &result["latency_ns"][class];
        for key in ["count", "min", "mean", "stddev", "p50", "max", "histogram"] {
            assert!(!latency[key].is_null(), "{class} {key}");
        }
        for key in ["p90", "p99", "p99_9", "p99_99"] {
            assert!(latency.get(key).is_some(), "{class} {key}");
        }
    }
}

#[test]
fn the_figures_are_those_of_the_run() {
    let result = parsed(&sample::report(|_, _| ()));
    assert_eq!(result["started"], "2026-01-01T12:00:00.25Z");
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["rates"]["sent"], 500.0);
    // 9 of the last message's 103 relays came after the window.
    assert_eq!(result["rates"]["delivered"], 51_499.1);
    assert_eq!(result["window"]["sent"], 5_000);
    assert_eq!(result["latency_ns"]["relay"]["count"], 515_000);
    assert_eq!(result["thresholds"][0]["ok"], true);
    assert_eq!(
        result["thresholds"][0]["observed"],
        result["latency_ns"]["relay"]["p99"]
    );
    assert_eq!(result["timeline"].as_array().unwrap().len(), 12);
    assert_eq!(result["timeline"][2]["delivered"], 51_500);
}

#[test]
fn groups_have_their_shares_and_these_are_the_whole() {
    let result = parsed(&sample::report(|_, _| ()));
    let groups = result["groups"].as_array().unwrap();
    let group = |i: usize| (&groups[i]["name"], &groups[i]["clients"]);
    assert_eq!(groups.len(), 2);
    assert_eq!(group(0), (&json!("talkers"), &json!(4)));
    assert_eq!(group(1), (&json!("listeners"), &json!(100)));
    let count = |i: usize, class: &str| groups[i]["latency_ns"][class]["count"].as_u64();
    assert_eq!((count(0, "ack"), count(1, "ack")), (Some(5_000), None));
    assert_eq!(
        (count(0, "relay"), count(1, "relay")),
        (Some(15_000), Some(500_000))
    );
    let missing = &groups[0]["latency_ns"]["ack"].get("missing");
    assert!(
        missing.is_none(),
        "what never came is known of all together"
    );
}

#[test]
fn a_histogram_reads_back_as_the_one_that_was_measured() {
    let report = sample::report(|_, _| ());
    let result = parsed(&report);
    let base64 = result["latency_ns"]["relay"]["histogram"].as_str().unwrap();
    assert!(
        base64.starts_with("HISTFAAAA"),
        "what .hlog readers look for"
    );
    let bytes = BASE64.decode(base64).unwrap();
    let read: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .unwrap();
    assert!(read == report.outcome.measured.relay);
}

#[test]
fn what_the_samples_do_not_carry_is_null() {
    let result = parsed(&sample::report(|_, o| {
        o.measured.ack.reset();
        o.measured.relay.reset();
        o.measured.relay.record_n(5_000, 367).unwrap();
        o.measured.offered = None;
        o.server = None;
    }));
    let ack = result["latency_ns"]["ack"].as_object().unwrap();
    let filled: Vec<_> = ack
        .iter()
        .filter(|(_, v)| !v.is_null())
        .map(|(k, _)| k)
        .collect();
    assert_eq!(
        filled,
        ["ci95", "count", "histogram", "messages", "missing"]
    );
    assert_eq!(ack["missing"], 5_000, "what was sent and not acked");
    assert_eq!(ack["ci95"]["p50"], Value::Null);
    let relay = &result["latency_ns"]["relay"];
    assert_eq!(
        (&relay["p90"], &relay["p99"]),
        (&json!(5_003), &Value::Null)
    );
    assert_eq!(result["rates"]["offered"], Value::Null);
    assert_eq!(result["server"], Value::Null);
    assert_eq!(result["thresholds"][0]["ok"], Value::Null);
    assert_eq!(result["thresholds"][0]["observed"], Value::Null);
    assert_eq!(
        result["timeline"][0]["relay_max_ns"],
        Value::Null,
        "a second of silence"
    );
}

#[test]
fn the_same_report_is_the_same_bytes() {
    let make = || sample::result(|_, _| ()).json();
    assert_eq!(make(), make());
    let text = String::from_utf8(make()).unwrap();
    assert!(text.starts_with("{\n  \"schema\": 1,\n  \"chatbench\": "));
    assert!(text.ends_with("}\n"));
}

/// Interrupted while connecting, and in the warm-up: there was no measured phase, and no figure
/// stands in for it.
#[test]
fn a_run_that_did_not_come_to_measuring_has_no_window() {
    use crate::driver::outcome::Interruption;
    use crate::driver::snapshot::Phase;
    use crate::measure::Window;
    let second_ns = 1_000_000_000;
    let warming_up = Window {
        start_ns: 60 * second_ns,
        end_ns: 60 * second_ns,
    };
    for window in [Window::NEVER, warming_up] {
        let report = sample::report(|_, outcome| {
            outcome.interrupted = Some(Interruption {
                signal: "Ctrl-C",
                phase: Phase::WarmUp,
                at_once: false,
            });
            outcome.measured.window = window;
        });
        let result = parsed(&report);
        assert_eq!(result["window"]["start_ns"], Value::Null);
        assert_eq!(result["window"]["end_ns"], Value::Null);
        assert_eq!(result["rates"]["sent"], Value::Null);
        let text = String::from_utf8(report.result.json()).unwrap();
        assert!(!text.contains(&u64::MAX.to_string()), "{text}");
        assert_eq!(report.result.clone().window.measured(), None);
    }
}

#[test]
fn a_run_that_did_not_come_about_has_a_reason_and_no_figures() {
    use crate::driver::outcome::Outcome;
    use crate::driver::run::RunError;
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    for (error, verdict) in [
        (RunError::System(refused), "inconclusive"),
        (RunError::Aborted, "interrupted"),
    ] {
        let report = sample::report(|plan, outcome| {
            *outcome = Outcome::of_error(plan, std::time::SystemTime::now(), &error);
        });
        let result = parsed(&report);
        let reasons = json!([error.to_string()]);
        assert_eq!(
            (&result["verdict"], &result["reasons"], &result["error"]),
            (&verdict.into(), &reasons, &reasons[0])
        );
        assert_eq!(
            (&result["counts"], &result["coverage"]),
            (&Value::Null, &Value::Null)
        );
        let schema = include_str!("../../../../docs/result.schema.json");
        let schema = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&result).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let says = error.to_string();
        let style = crate::report::Style::FILE;
        let summary =
            crate::report::summary::render(&report, style, Detail::Full).replace("\n       ", " ");
        assert!(summary.contains(&says), "{says}: {summary}");
        assert!(
            !summary.contains("0 sent") && !summary.contains("no violation"),
            "{summary}"
        );
        let page = crate::report::html::render(&report.result);
        assert!(
            page.contains(&says) && !page.contains("relay p99"),
            "{says}"
        );
    }
}
