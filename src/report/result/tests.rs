//! What is written is read, and what is damaged is said to be.

use std::fs;
use std::path::Path;

use super::*;
use crate::report::files::RESULT;
use crate::report::json;
use crate::report::sample;
use crate::verify::kind::Kind;

fn file() -> Value {
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    serde_json::from_slice(&json::render(&report)).unwrap()
}

fn read(file: &Value) -> Result<RunResult, Error> {
    RunResult::parse(Path::new("dir/result.json"), file.to_string().as_bytes())
}

#[test]
fn what_is_written_is_read() {
    let report = sample::report(|_, _| ());
    let result = RunResult::of(&report);
    assert_eq!(result.verdict, "pass");
    assert_eq!(result.counts.unwrap().delivered, 515_000);
    assert_eq!(result.rate("sent"), Some(500.0));
    assert_eq!(result.rate("no such rate"), None);
    assert!(result.latency_ns["relay"].histogram == report.outcome.measured.relay);
    assert_eq!(result.environment, report.environment);
    assert_eq!(result.timeline.len(), 12);
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
    let table: [(Damage, &str); 5] = [
        (|v| v["counts"]["sent"] = "many".into(), "expected u64"),
        (
            |v| drop(v.as_object_mut().unwrap().remove("verdict")),
            "missing field `verdict`",
        ),
        (
            |v| v["latency_ns"]["ack"]["histogram"] = "?".into(),
            "nvalid symbol",
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
    let cut = &json::render(&sample::report(|_, _| ()))[..5_000];
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
