//! `chatbench search` as its users run it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/schema.rs"]
mod schema;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use binary::{chatbench, output, stderr};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Two talkers, three listeners, a moment long.
const SMALL: &str = r#"
[run]
warmup = "0s"
duration = "200ms"
[clients.talkers]
count = 2
rate = 100
[clients.listeners]
count = 3
[thresholds]
relay = ["max < 1h"]
rates = ["delivered > 1000000000"]
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new(scenario: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("probe.toml"), scenario).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn words(&self, args: &[&str]) -> Vec<String> {
        let mut words = vec!["search".to_owned(), self.path("probe.toml")];
        words.extend(args.iter().map(|&arg| arg.to_owned()));
        words
    }

    fn search(&self, args: &[&str]) -> Output {
        output(&self.words(args))
    }
}

#[test]
fn what_holds_everywhere_is_searched_up_to_the_end_and_every_probe_is_kept() {
    let place = Place::new(SMALL);
    let out = place.path("out");
    let output = place.search(&[
        "--max",
        "350",
        "--attempts",
        "20",
        "--out",
        &out,
        "--json",
        "-",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    schema::assert_valid(schema::SEARCH, &found);
    schema::assert_described(schema::SEARCH, &found, 20);
    assert_eq!(found["vary"], "clients.talkers.rate");
    assert_eq!(
        (&found["holds"], &found["fails"]),
        (&350.0.into(), &Value::Null)
    );
    let mut values: Vec<_> = found["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["value"].clone())
        .collect();
    // A starved machine may need another attempt.
    values.dedup();
    assert_eq!(values, [100.0, 200.0, 350.0]);
    for value in ["100", "200", "350"] {
        let result = fs::read(Path::new(&out).join(value).join("result.json")).unwrap();
        let result: Value = serde_json::from_slice(&result).unwrap();
        let rate = result["scenario"]["resolved"]["clients"]["talkers"]["rate"].to_string();
        assert_eq!(rate, value);
    }
    assert_eq!(
        fs::read(Path::new(&out).join("search.json")).unwrap(),
        output.stdout
    );
    let page = fs::read(Path::new(&out).join("search.html")).unwrap();
    assert!(
        String::from_utf8_lossy(&page).contains("<dt>highest rate that holds</dt><dd>350</dd>")
    );
    // Made again, from the directory or from the file, it is the same.
    for (from, to) in [
        (out.clone(), "1.html"),
        (format!("{out}/search.json"), "2.html"),
    ] {
        let to = place.path(to);
        let made = binary::output(&["report", &from, "--html", &to]);
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        assert!(fs::read(to).unwrap() == page, "{from}");
    }
    let again = binary::output(&["report", &out]);
    assert!(
        stderr(&again).contains("search.html exists already"),
        "{}",
        stderr(&again)
    );
    let compared = binary::output(&[
        "compare",
        &format!("{out}/100"),
        &format!("{out}/search.json"),
    ]);
    assert_eq!(compared.status.code(), Some(2));
    let says = stderr(&compared);
    assert!(
        says.contains("what a search found, not the result of a run"),
        "{says}"
    );
    let damaged = place.path("damaged.json");
    fs::write(&damaged, r#"{"schema": 9, "kind": "search"}"#).unwrap();
    let refused = binary::output(&["report", &damaged]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("of schema 9"),
        "{}",
        stderr(&refused)
    );
    fs::write(&damaged, r#"{"schema": 1, "kind": "search", "vary": 7}"#).unwrap();
    let refused = binary::output(&["report", &damaged]);
    assert!(
        stderr(&refused).contains("damaged.json: damaged"),
        "{}",
        stderr(&refused)
    );
    let again = place.search(&["--out", &out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
}

#[test]
fn what_never_holds_says_which_threshold() {
    let place = Place::new(&SMALL.replace("max < 1h", "max > 1h"));
    let json = place.path("search.json");
    let output = place.search(&["-q", "--vary", "clients.listeners.count", "--json", &json]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "{text}");
    let found = schema::valid_file(schema::SEARCH, &json);
    assert_eq!(found["limit"], "latency");
    assert!(text.contains("latency: relay max > 1h"), "{text}");
    assert!(
        text.contains("clients.listeners.count = 3 does not hold already"),
        "{text}"
    );
}

#[test]
fn a_key_that_cannot_be_varied_is_refused_before_anything_runs() {
    let place = Place::new(SMALL);
    for (args, says) in [
        (
            vec!["--vary", "clients.nobody.rate", "--from", "5"],
            "the file has no such group",
        ),
        (
            vec!["--vary", "run.duration"],
            "`run.duration` is no number",
        ),
        (
            vec!["--from", "50", "--max", "20"],
            "nothing lies between --from 50 and --max 20",
        ),
        (vec!["--from", "-3"], "expected a number above 0"),
        (
            vec!["--vary", "clients.talkers.count", "--from", "0.5"],
            "probe.toml",
        ),
        (vec!["--json", "/no-such-directory/x"], "/no-such-directory"),
    ] {
        let output = place.search(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        if says != "probe.toml" {
            assert!(
                stderr(&output).contains(says),
                "{says}: {}",
                stderr(&output)
            );
        }
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let two = SMALL.replace(
        "[clients.listeners]\ncount = 3",
        "[clients.others]\nrate = 5",
    );
    let output = Place::new(&two).search(&[]);
    assert!(
        stderr(&output).contains("several groups have a rate"),
        "{}",
        stderr(&output)
    );
}

/// Is killed if a test ends before it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ctrl_c_reports_what_is_known() {
    let place = Place::new(SMALL);
    // Values without end: it can only end by being interrupted.
    let out = place.path("out");
    let words = place.words(&[
        "--from",
        "1",
        "--max",
        "1000000",
        "--no-progress",
        "--out",
        &out,
    ]);
    let mut command = chatbench(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let pid = Pid::from_child(&running.0);
    kill_process(pid, Signal::INT).unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let mut text = String::new();
    std::io::Read::read_to_string(running.0.stdout.as_mut().unwrap(), &mut text).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{first} {rest:?} {text}");
    assert!(
        text.contains("Interrupted: clients.talkers.rate = "),
        "{text}"
    );
    let found = schema::valid_file(schema::SEARCH, Path::new(&out).join("search.json"));
    assert_eq!(found["interrupted"], true);
}
