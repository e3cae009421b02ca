//! `chatbench run --trace` and `chatbench verify` as their users run them, and traces whose
//! verdicts are known.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/schema.rs"]
mod schema;

use std::fs;
use std::path::Path;

use binary::{output, stderr};
use probe::SMALL;
use serde_json::Value;

fn verified(path: &Path) -> (Option<i32>, Value) {
    let output = output(&["verify", path.to_str().unwrap(), "--json", "-"]);
    let result = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}): {}", stderr(&output)));
    schema::assert_valid(schema::VERIFICATION, &result);
    (output.status.code(), result)
}

#[test]
fn a_run_and_its_trace_come_to_the_same() {
    run_and_trace_come_to_the_same(&[]);
}

/// Threads come one after the other in the trace as they did.
#[test]
fn a_run_of_several_threads_and_its_trace_come_to_the_same() {
    let faulty = r#"target.faults=["drop-relay=0.1", "swap-senders=0.1"]"#;
    run_and_trace_come_to_the_same(&["--set", "run.shards=3", "--set", faulty]);
}

fn run_and_trace_come_to_the_same(settings: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (scenario, trace) = (file("small.toml"), file("small.trace"));
    fs::write(&scenario, SMALL).unwrap();
    let mut run = vec!["run", &scenario, "--json", "-", "-q", "--trace", &trace];
    run.extend(settings);
    let ran = output(&run);
    let result: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let (code, verification) = verified(Path::new(&trace));
    assert!(result["counts"]["delivered"].as_u64() > Some(0));
    assert_eq!(verification["exit_code"].as_i64(), code.map(i64::from));
    // There is no threshold: what was seen decides, or this machine was too busy, and then the
    // trace says so, too.
    assert_eq!(verification["verdict"], result["verdict"]);
    for (key, value) in verification["counts"].as_object().unwrap() {
        assert_eq!(value, &result["counts"][key], "{key}");
    }
    assert_eq!(verification["violations"], result["violations"]);
    assert_eq!(verification["coverage"], result["coverage"]);

    // It is not overwritten, unless that is what is asked for.
    let before = fs::read(&trace).unwrap();
    let again = output(&run);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(fs::read(&trace).unwrap(), before);
    let mut forced = run.to_vec();
    forced.push("--force");
    assert_ne!(output(&forced).status.code(), Some(2));
    assert_ne!(fs::read(&trace).unwrap(), before, "another run");
}

#[test]
fn a_trace_that_cannot_be_read_or_written_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.trace");
    let golden = fs::read(format!("{GOLDEN}/pass.trace")).unwrap();
    fs::write(&path, &golden[..golden.len() - 1]).unwrap();
    let damaged = output(&["verify", path.to_str().unwrap()]);
    assert_eq!(damaged.status.code(), Some(2));
    let error = stderr(&damaged);
    assert!(error.contains("cut.trace: cut off at byte "), "{error}");

    let missing = output(&["verify", "no/such.trace"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("no/such.trace: "));

    let scenario = directory.path().join("small.toml");
    fs::write(&scenario, SMALL).unwrap();
    let scenario = scenario.to_str().unwrap();
    let unwritable = output(&["run", scenario, "--trace", "/no/such/dir/x.trace"]);
    assert_eq!(unwritable.status.code(), Some(2));
    assert!(stderr(&unwritable).contains("/no/such/dir/x.trace"));
    let several = output(&["run", scenario, scenario, "--trace", "x.trace"]);
    assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces");

/// Each trace in `tests/traces` beside the JSON that it must give, byte for byte, twice.
#[test]
fn golden_traces_keep_their_verdicts() {
    let mut verdicts = Vec::new();
    for entry in fs::read_dir(GOLDEN).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e == "json") {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("json")).unwrap();
        for _ in 0..2 {
            let output = output(&["verify", path.to_str().unwrap(), "--json", "-"]);
            let found = String::from_utf8(output.stdout).unwrap();
            assert_eq!(found, expected, "{}", path.display());
        }
        let result: Value = serde_json::from_str(&expected).unwrap();
        verdicts.push(result["verdict"].as_str().unwrap().to_owned());
    }
    verdicts.sort();
    verdicts.dedup();
    assert_eq!(verdicts, ["fail", "inconclusive", "pass"]);
}

/// Observations without numbers are judged by inferred order, by what is promised.
#[test]
fn what_an_observed_system_promises_decides_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("observed.ndjson");
    let observed = include_str!("traces/observed-pass.ndjson");
    let mut lines: Vec<String> = Vec::new();
    for line in observed.lines().filter(|line| !line.trim().is_empty()) {
        let mut object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        object.remove("seq");
        lines.push(serde_json::to_string(&object).unwrap());
        if object["event"] == "relayed" {
            lines.push(lines.last().unwrap().clone());
        }
    }
    fs::write(&path, lines.join("\n")).unwrap();
    let path = path.to_str().unwrap();
    for (promise, code) in [
        (&[][..], 1),
        (&["--relay", "at-least-once"], 0),
        (&["--order", "none"], 1),
        (&["--order", "sideways"], 2),
    ] {
        let mut arguments = vec!["verify", path];
        arguments.extend(promise);
        let output = output(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{promise:?}: {}",
            stderr(&output)
        );
    }
    let recorded = output(&["verify", "tests/traces/pass.trace", "--echo"]);
    assert_eq!(recorded.status.code(), Some(2));
    assert!(
        stderr(&recorded).contains("says itself"),
        "{}",
        stderr(&recorded)
    );
}
