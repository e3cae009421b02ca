//! Results that are written and read, and damaged ones.

mod written;

use std::fs;
use std::path::Path;

use super::*;
use crate::report::files::RESULT;
use crate::report::sample;
use crate::verify::kind::Kind;

/// The classes of latency in the schema: those of today, and whatever else is one.
pub(super) fn classes_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let latency = generator.subschema_for::<Latency>();
    let described = |(class, description): (&str, &str)| {
        let mut latency = latency.clone();
        latency.insert("description".to_owned(), description.into());
        (class.to_owned(), latency.to_value())
    };
    let classes = [
        ("ack", "From the intended send to the ack."),
        ("relay", "From the intended send to each delivery."),
        (
            "last_relay",
            "From the intended send to the last receiver's delivery.",
        ),
        (
            "spread",
            "From the first to the last receiver of one message.",
        ),
        (
            "send_lag",
            "Actual minus intended send: the generator's own health.",
        ),
        (
            "connect",
            "From connecting to the welcome, of every connection of the run.",
        ),
        ("ack_service", "From the actual send to the ack."),
        ("relay_service", "From the actual send to each delivery."),
    ];
    // Those from the actual send came later.
    let required: Vec<_> = classes[..6].iter().map(|(class, _)| *class).collect();
    let properties: serde_json::Map<_, _> = classes.into_iter().map(described).collect();
    schemars::json_schema!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": latency,
    })
}

fn file() -> Value {
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    serde_json::from_slice(&report.result.json()).unwrap()
}

fn read(file: &Value) -> Result<RunResult, Error> {
    RunResult::parse(Path::new("dir/result.json"), file.to_string().as_bytes())
}

#[test]
fn what_is_written_is_read() {
    let report = sample::report(|_, _| ());
    let result = RunResult::parse(Path::new("result.json"), &report.result.json()).unwrap();
    assert_eq!(result.verdict, "pass");
    assert_eq!(result.counts.unwrap().verified.delivered, 515_000);
    assert_eq!(result.rates.sent, Some(500.0));
    assert!(result.latency_ns["relay"].histogram == report.outcome.measured.relay);
    assert_eq!(result.environment.host, "bench");
    assert_eq!(result.timeline.len(), 12);
    assert_eq!(result.json(), report.result.json(), "to the last digit");
}

#[test]
fn classes_come_in_the_order_of_a_message_and_unknown_ones_last() {
    let mut file = file();
    file["latency_ns"]["a_new_one"] = file["latency_ns"]["ack"].clone();
    let result = read(&file).unwrap();
    let keys: Vec<_> = result.classes().map(|(key, ..)| key).collect();
    assert_eq!(keys[..4], ["ack", "relay", "last_relay", "spread"]);
    assert_eq!(keys.last(), Some(&"a_new_one"));
    assert_eq!(keys.len(), result.latency_ns.len(), "each once");
}

#[test]
fn a_damaged_result_is_named_with_its_damage() {
    type Damage = fn(&mut Value);
    let table: [(Damage, &str); 6] = [
        (
            |v| v["counts"]["sent"] = "many".into(),
            "counts: invalid type: string \"many\", expected u64",
        ),
        (
            |v| v["thresholds"][1]["samples"] = (-1).into(),
            "thresholds[1].samples: invalid value",
        ),
        (
            |v| drop(v.as_object_mut().unwrap().remove("verdict")),
            "missing field `verdict`",
        ),
        (
            |v| v["latency_ns"]["ack"]["histogram"] = "?".into(),
            "latency_ns.ack.histogram: Invalid symbol",
        ),
        (
            |v| v["latency_ns"]["ack"]["histogram"] = "SElTVA==".into(),
            "not a histogram",
        ),
        (|v| *v = Value::Array(vec![1.into()]), "no JSON object"),
    ];
    for (damage, says) in table {
        let mut file = file();
        damage(&mut file);
        let error = read(&file).unwrap_err().to_string();
        assert!(error.starts_with("dir/result.json: damaged"), "{error}");
        assert!(error.contains(says), "{says}: {error}");
    }
    let cut = &sample::result(|_, _| ()).json()[..5_000];
    let error = RunResult::parse(Path::new("cut.json"), cut).unwrap_err();
    assert!(error.to_string().contains("EOF"), "{error}");
}

#[test]
fn another_schema_is_not_guessed_at() {
    let mut file = file();
    file["schema"] = 2.into();
    let error = read(&file).unwrap_err().to_string();
    assert!(
        error.contains("schema 2") && error.contains("reads schema 1"),
        "{error}"
    );
}

#[test]
fn a_directory_stands_for_the_result_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let error = RunResult::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("result.json"), "{error}");
    fs::write(directory.path().join(RESULT), file().to_string()).unwrap();
    assert_eq!(
        RunResult::load(directory.path()).unwrap().violation_count(),
        1
    );
}
