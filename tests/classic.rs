//! `chatbench run` against targets that state no order: the classic dialect, and ndjson whose
//! numbers are left aside. A small server re-enacts the original tutorial's defects one at a time,
//! and each must be named for what it is.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

#[path = "doubles/classic.rs"]
mod double;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use double::{Defect, Double};
use serde_json::Value;

fn output(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chatbench"))
        .args(args)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A scenario file of its own, in a directory that lives as long as it does.
struct Scenario {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scenario {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe.toml");
        fs::write(&path, text).unwrap();
        Self { directory, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn result_of(args: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["run", "--json", "-", "-q"];
    all.extend(args);
    let output = output(&all);
    let code = output.status.code();
    let result = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}), exit {code:?}: {}", stderr(&output)));
    (code, result)
}

/// The kinds of violation in a result, in its order.
fn kinds(result: &Value) -> Vec<&str> {
    let violations = result["violations"].as_array().unwrap();
    violations
        .iter()
        .map(|v| v["kind"].as_str().unwrap())
        .collect()
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
