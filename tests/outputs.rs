//! What `chatbench run` writes for other programs, read back by other code than wrote it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use binary::{output, stderr};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use probe::SMALL;
use serde_json::Value;

/// With a threshold, for its place in the outputs.
fn small() -> String {
    format!("{SMALL}[thresholds]\nrelay = [\"max < 1h\"]\n")
}

fn succeeds(args: &[&str]) -> Output {
    let output = output(args);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    output
}

/// Runs scenarios that nothing is wrong with; that a starved machine may say so is not this
/// file's question.
fn runs(args: &[&str]) -> Output {
    let output = output(args);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 3)),
        "{args:?}: {code:?}, {}",
        stderr(&output)
    );
    output
}

fn refused(args: &[&str], says: &str) {
    let output = output(args);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.contains(says), "{says}: {stderr}");
    assert!(output.stdout.is_empty());
}

/// A directory with a scenario and the results of one run of it.
struct Run(tempfile::TempDir);

impl Run {
    fn new(scenario: &str, sets: &[&str]) -> Self {
        let run = Self(tempfile::tempdir().unwrap());
        fs::write(run.0.path().join("probe.toml"), scenario).unwrap();
        let (file, out) = (run.path("probe.toml"), run.path("out"));
        let mut args = vec!["run", &file, "--out", &out, "-q"];
        for set in sets {
            args.extend(["--set", set]);
        }
        let output = output(&args);
        assert!(
            Path::new(&run.path("out/result.json")).exists(),
            "{}",
            stderr(&output)
        );
        run
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&self.read("out/result.json")).unwrap()
    }
}

#[test]
fn a_real_result_is_what_the_schema_says_key_by_key() {
    let result = Run::new(&small(), &[]).result();
    schema::assert_valid(schema::RESULT, &result);
    schema::assert_described(schema::RESULT, &result, 100);
}

#[test]
fn a_result_without_samples_is_what_the_schema_says_too() {
    let scenario = "[run]\nwarmup = \"0s\"\nduration = \"50ms\"\n[clients.idle]\ncount = 1\n";
    schema::assert_valid(schema::RESULT, &Run::new(scenario, &[]).result());
}

#[test]
fn every_place_gets_the_same_bytes() {
    let run = Run::new(&small(), &[]);
    let [file, out, json, html] =
        ["probe.toml", "all", "one.json", "one.html"].map(|name| run.path(name));
    runs(&[
        "run", &file, "-q", "--out", &out, "--json", &json, "--html", &html,
    ]);
    assert!(run.read("one.json") == run.read("all/result.json"));
    assert!(run.read("one.html") == run.read("all/report.html"));
}

#[test]
fn the_histogram_log_holds_what_the_result_says() {
    let run = Run::new(&small(), &["run.duration=1500ms"]);
    let result = run.result();
    let log = run.read("out/latency.hlog");
    let decoded = |base64: &str| -> Histogram<u64> {
        let bytes = BASE64.decode(base64).unwrap();
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .unwrap()
    };
    let mut sums: BTreeMap<String, (u64, Histogram<u64>)> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let part = decoded(interval.encoded_histogram());
            let class = interval.tag().map_or("", |tag| tag.as_str()).to_owned();
            let (intervals, sum) = sums
                .entry(class)
                .or_insert_with(|| (0, chatbench::measure::histogram()));
            sum.add(&part).unwrap();
            *intervals += 1;
        }
    }
    // Without a tag, the relays once more.
    let untagged = sums.remove("").unwrap();
    assert!(untagged.0 == sums["relay"].0 && untagged.1 == sums["relay"].1);
    let filled = result["latency_ns"].as_object().unwrap().iter();
    let filled: Vec<_> = filled.filter(|(_, l)| l["count"] != 0).collect();
    assert_eq!(sums.len(), filled.len());
    for (class, latency) in filled {
        let whole = decoded(latency["histogram"].as_str().unwrap());
        assert!(sums[class].1 == whole, "{class}");
    }
    // Over a second long, so that there is more than one of them.
    assert!(
        sums["relay"].0 > 1 && sums["spread"].0 == 1,
        "{:?}",
        sums["relay"].0
    );
    let table = String::from_utf8(run.read("out/relay.hgrm")).unwrap();
    let count = result["latency_ns"]["relay"]["count"].to_string();
    let last = table.lines().rfind(|line| !line.starts_with('#')).unwrap();
    assert!(last.ends_with(&format!(" {count}")), "{count}: {last}");
}

#[test]
fn several_scenarios_are_one_junit_document() {
    let run = Run::new(&small(), &[]);
    let (file, xml) = (run.path("probe.toml"), run.path("verdicts.xml"));
    runs(&["run", &file, &file, "-q", "--junit", &xml]);
    let xml = String::from_utf8(run.read("verdicts.xml")).unwrap();
    assert_eq!(
        xml.matches("<testsuite name=\"probe\" tests=\"3\"").count(),
        2,
        "{xml}"
    );
}

#[test]
fn a_report_made_again_is_the_same_page() {
    let run = Run::new(&small(), &[]);
    let out = run.path("out");
    let page = run.read("out/report.html");
    refused(
        &["report", &out],
        "report.html exists already: name another file, or add --force",
    );
    let again = run.path("again.html");
    succeeds(&["report", &out, "--html", &again]);
    assert!(run.read("again.html") == page, "not the same bytes");
    let result = run.path("out/result.json");
    fs::write(run.path("out/report.html"), "old").unwrap();
    succeeds(&["report", &result, "--force"]);
    assert!(run.read("out/report.html") == page, "not the same bytes");
}

#[test]
fn a_result_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("result.json");
    let path = path.to_str().unwrap();
    refused(&["report", path], "result.json: No such file");
    fs::write(path, "{\"schema\": 1, \"chatbench\": ").unwrap();
    refused(
        &["report", path],
        "result.json: damaged, or no chatbench result: EOF",
    );
    fs::write(path, "{\"schema\": 7}").unwrap();
    refused(
        &["report", path],
        "a result of schema 7; this chatbench reads schema 1",
    );
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing was written"
    );
}

#[test]
fn a_single_file_is_not_overwritten_without_force_nor_shared() {
    let run = Run::new(&small(), &[]);
    let file = run.path("probe.toml");
    for option in ["--json", "--html", "--junit"] {
        let kept = run.path("kept");
        fs::write(&kept, "dear").unwrap();
        refused(&["run", &file, option, &kept], "--force");
        assert_eq!(run.read("kept"), b"dear");
    }
    let page = run.path("page.html");
    refused(
        &["run", &file, &file, "--html", &page],
        "--html takes one result, not 2",
    );
    runs(&["run", &file, "-q", "--html", &page]);
    assert!(run.read("page.html").starts_with(b"<!DOCTYPE html>"));
}

#[test]
fn repeats_are_a_side_that_is_compared() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (file, base) = (path("probe.toml"), path("base"));
    fs::write(&file, small()).unwrap();
    runs(&["run", &file, "-q", "--repeat", "3", "--out", &base]);
    for repeat in ["1", "2", "3"] {
        let result = Path::new(&base).join(repeat).join("result.json");
        let text = fs::read_to_string(&result).unwrap();
        let passed = text.replace("\"verdict\": \"inconclusive\"", "\"verdict\": \"pass\"");
        fs::write(&result, passed).unwrap();
    }
    // However slow this machine is today, it is not ten thousand times slower.
    let generous = ["--tolerance", "1000000"];
    let same = succeeds(&["compare", &base, &base, generous[0], generous[1]]);
    let text = String::from_utf8(same.stdout).unwrap();
    assert!(
        text.contains("3 runs · pass") && text.contains("No regression"),
        "{text}"
    );
    // One run says nothing of the noise, so that it is not even the same as itself.
    let one = path("base/1");
    let alone = output(&["compare", &one, &one, "--json", "-"]);
    assert_eq!(alone.status.code(), Some(3), "{}", stderr(&alone));
    let written: Value = serde_json::from_slice(&alone.stdout).unwrap();
    schema::assert_valid(schema::COMPARISON, &written);
    assert_eq!(written["comparisons"][0]["outcome"], "inconclusive");
    refused(
        &["compare", &base, &base, "--figures", "relay p98"],
        "no such figure; did you mean",
    );

    // The same results, but one of them has lost something.
    let worse = path("worse");
    fs::create_dir_all(Path::new(&worse).join("1")).unwrap();
    let mut result: Value =
        serde_json::from_slice(&fs::read(Path::new(&base).join("1/result.json")).unwrap()).unwrap();
    result["violations"] = serde_json::json!([
        { "kind": "lost-relay", "rule": "S2", "count": 1, "examples": [] }
    ]);
    fs::write(Path::new(&worse).join("1/result.json"), result.to_string()).unwrap();
    let compared = output(&["compare", &base, &worse, "--markdown"]);
    assert_eq!(compared.status.code(), Some(1));
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(text.starts_with("**1 regression: violations**\n"), "{text}");
    assert!(text.contains("| violations | 0 | 1 |"), "{text}");

    // Another load.
    result["scenario"]["resolved"]["clients"]["talkers"]["rate"] = 900.into();
    fs::write(Path::new(&worse).join("1/result.json"), result.to_string()).unwrap();
    refused(
        &["compare", &base, &worse],
        "clients.talkers.rate was 400, is 900",
    );
    let page = path("page.html");
    let mut args = vec![
        "compare",
        &base,
        &worse,
        "--allow-different",
        "--html",
        &page,
    ];
    let anyway = output(&args);
    assert_eq!(anyway.status.code(), Some(1));
    let text = String::from_utf8(anyway.stdout).unwrap();
    assert!(text.contains("not the same scenario: clients"), "{text}");
    let drawn = fs::read_to_string(&page).unwrap();
    assert!(drawn.contains(">REGRESSION<") && drawn.len() < 1 << 20);
    refused(
        &args,
        "page.html exists already: name another file, or add --force",
    );
    args.push("--force");
    assert_eq!(output(&args).status.code(), Some(1));
}

#[test]
fn a_run_is_compared_with_its_baseline_at_once() {
    let run = Run::new(&small(), &[]);
    let (file, out) = (run.path("probe.toml"), run.path("out"));
    // However slow this machine is today, it is not ten thousand times slower.
    let generous = ["--tolerance", "1000000", "--noise", "0"];
    let mut args = vec!["run", &file, "-q", "--baseline", &out];
    args.extend(generous);
    let compared = runs(&args);
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(text.contains("new   this run · 1 run · "), "{text}");

    let beside = run.path("new");
    let mut kept = args.clone();
    kept.extend(["--out", &beside]);
    runs(&kept);
    let page = String::from_utf8(run.read("new/compare.html")).unwrap();
    assert!(page.contains(">NO REGRESSION<") || page.contains(">INCONCLUSIVE<"));
    // The page is not lost, even where the result beside it is gone.
    for file in fs::read_dir(&beside).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("compare.html") {
            fs::remove_file(path).unwrap();
        }
    }
    refused(&kept, "compare.html exists already");

    // Against a server that took no time at all, everything is a regression.
    let mut result = run.result();
    for class in ["ack", "relay", "last_relay"] {
        result["latency_ns"][class]["p50"] = 1.into();
    }
    fs::write(run.path("out/result.json"), result.to_string()).unwrap();
    let worse = output(&args);
    assert_eq!(
        worse.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&worse.stdout)
    );

    let set = ["--set", "clients.talkers.rate=10"];
    refused(
        &["run", &file, "--baseline", &out, set[0], set[1]],
        "clients.talkers.rate was 400, is 10",
    );
    refused(
        &["run", &file, "--baseline", "/no/such/result.json"],
        "/no/such/result.json",
    );
}

#[test]
fn two_scenarios_of_one_name_do_not_share_a_directory() {
    let run = Run::new(&small(), &[]);
    let (file, out) = (run.path("probe.toml"), run.path("both"));
    refused(
        &["run", &file, &file, "--out", &out],
        "two scenarios are named probe",
    );
}
