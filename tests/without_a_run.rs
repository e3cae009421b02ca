//! What is left behind where a run did not come about, or could not be written down: never nothing,
//! and never anything green.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/schema.rs"]
mod schema;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use binary::{output, stderr};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

const SCENARIO: &str = "\
[run]
warmup = \"0s\"
duration = \"100ms\"
[clients.talkers]
count = 2
rate = 50
[thresholds]
relay = [\"p50 < 1s\"]
";

/// A directory with a scenario in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.0.path().join("fine.toml"), SCENARIO).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// An address at which nobody listens: a port that was free a moment ago.
fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    format!("ndjson://{}", listener.local_addr().unwrap())
}

/// `chatbench run fine.toml` with every output, and what is in each: the code, the reason, and
/// nothing green.
fn everything_says(further: &[&str], limit: Option<&str>, reason: &str) {
    let place = Place::new();
    let [file, json, html, junit, out] =
        ["fine.toml", "one.json", "one.html", "one.xml", "all"].map(|name| place.path(name));
    let mut args = vec![
        "run", &file, "-q", "--json", &json, "--html", &html, "--junit", &junit, "--out", &out,
    ];
    args.extend(further);
    let ran = match limit {
        None => output(&args),
        Some(limit) => {
            let words = args.iter().map(|word| format!("'{word}'"));
            let words: Vec<_> = words.collect();
            let command = format!(
                "{limit}; exec '{}' {}",
                env!("CARGO_BIN_EXE_chatbench"),
                words.join(" ")
            );
            Command::new("sh").args(["-c", &command]).output().unwrap()
        }
    };
    assert_eq!(ran.status.code(), Some(3), "{}", stderr(&ran));
    assert!(stderr(&ran).contains(reason), "{}", stderr(&ran));
    for name in ["one.json", "all/result.json"] {
        let result = schema::valid_file(schema::RESULT, place.path(name));
        assert_eq!(result["verdict"], "inconclusive", "{name}");
        assert_eq!(result["reasons"].as_array().unwrap().len(), 1, "{result:#}");
        assert!(result["error"].as_str().unwrap().contains(reason), "{name}");
        assert_eq!(
            (&result["counts"], &result["window"]["start_ns"]),
            (&Value::Null, &Value::Null)
        );
    }
    for name in ["one.xml", "all/junit.xml"] {
        let xml = place.text(name);
        assert!(
            xml.contains("tests=\"3\" skipped=\"2\" errors=\"1\""),
            "{xml}"
        );
        assert_eq!(xml.matches("<error ").count(), 1, "{xml}");
    }
    for name in ["one.html", "all/report.html", "all/summary.txt"] {
        let text = place.text(name);
        assert!(text.contains("INCONCLUSIVE"), "{name}: {text}");
        assert!(!text.contains("nothing lost"), "{name}");
    }
    // And it can be read back.
    for verb in [["report", &out], ["compare", &out]] {
        let again = place.path("again.html");
        let mut args = vec![verb[0], verb[1]];
        if verb[0] == "compare" {
            args.push(&out);
        }
        args.extend(["--html", &again, "--force"]);
        let code = output(&args).status.code();
        assert_eq!(
            code,
            Some(if verb[0] == "compare" { 3 } else { 0 }),
            "{verb:?}"
        );
    }
}

#[test]
fn an_unreachable_target_is_an_error_in_every_output() {
    everything_says(&["--target", &nobody()], None, "could not connect");
}

#[test]
fn too_few_descriptors_are_an_error_in_every_output() {
    let set = ["--set", "clients.talkers.count=200"];
    everything_says(&set, Some("ulimit -n 100"), "open files");
}

#[test]
fn a_server_that_does_not_start_is_an_error_in_every_output() {
    // It has no room for a socket to listen on.
    let set = ["--set", "target.addresses=200"];
    everything_says(&set, Some("ulimit -n 80"), "");
}

#[test]
fn an_invalid_scenario_among_others_is_an_error_in_junit() {
    let place = Place::new();
    fs::write(place.path("wrong.toml"), "[clients.a]\ncuont = 1\n").unwrap();
    let junit = place.path("verdicts.xml");
    let directory = place.path("");
    let ran = output(&["run", &directory, "-q", "--junit", &junit]);
    assert_eq!(ran.status.code(), Some(2), "{}", stderr(&ran));
    let xml = place.text("verdicts.xml");
    assert_eq!(xml.matches("<error ").count(), 2, "{xml}");
    assert!(
        xml.contains("testsuite name=\"wrong\"") && xml.contains("cuont"),
        "{xml}"
    );
    assert!(xml.contains("another scenario is invalid"), "{xml}");
    // An earlier document is not lost for that.
    let again = output(&["run", &directory, "-q", "--junit", &junit]);
    assert_eq!(again.status.code(), Some(2));
    assert!(
        stderr(&again).contains("exists already"),
        "{}",
        stderr(&again)
    );
    // Nor is the scenario.
    let wrong = place.path("wrong.toml");
    let over = output(&["run", &wrong, "-q", "--junit", &wrong, "--force"]);
    assert!(
        stderr(&over).contains("would overwrite the scenario"),
        "{}",
        stderr(&over)
    );
    assert!(place.text("wrong.toml").contains("cuont"));
}

#[test]
fn outputs_that_are_one_file_are_refused_before_anything_runs() {
    let place = Place::new();
    let [file, one, other, out] = ["fine.toml", "one", "./one", "out"].map(|name| place.path(name));
    let [inside, hgrm, base] =
        ["out/result.json", "out/sub/../relay.hgrm", "base"].map(|name| place.path(name));
    fs::create_dir(&base).unwrap();
    let table: [(&[&str], &str); 10] = [
        (&["--json", &one, "--trace", &one], "are one file"),
        (&["--html", &other, "--json", &one], "are one file"),
        (&["--junit", &other, "--html", &one], "are one file"),
        (&["--out", &out, "--trace", &inside], "are one file"),
        (&["--out", &out, "--json", &inside], "are one file"),
        (&["--out", &out, "--junit", &hgrm], "are one file"),
        (&["--json", &file], "would overwrite the scenario"),
        (&["--trace", &file], "would overwrite the scenario"),
        (
            &["--html", &file, "--force"],
            "would overwrite the scenario",
        ),
        (
            &["--junit", &file, "--force"],
            "would overwrite the scenario",
        ),
    ];
    for (further, says) in table {
        let mut args = vec!["run", &file, "-q"];
        args.extend(further);
        let ran = output(&args);
        assert_eq!(ran.status.code(), Some(2), "{further:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(says), "{further:?}: {}", stderr(&ran));
        assert_eq!(place.names(), ["base", "fine.toml"], "{further:?}");
        assert_eq!(place.text("fine.toml"), SCENARIO);
    }
    let search = ["search", &file, "-q", "--json", &one, "--html", &other];
    let searched = output(&search);
    assert_eq!(searched.status.code(), Some(2));
    assert!(stderr(&searched).contains("are one file"));
}

#[test]
fn results_that_are_read_are_not_written_over() {
    let place = Place::new();
    let [file, base, new] = ["fine.toml", "base", "new"].map(|name| place.path(name));
    output(&["run", &file, "-q", "--out", &base]);
    let result = place.path("base/result.json");
    let before = place.text("base/result.json");
    let page = place.path("base/page");
    std::os::unix::fs::symlink("result.json", &page).unwrap();
    let all: [&[&str]; 5] = [
        &["report", &base, "--html", &result, "--force"],
        &["compare", &base, &base, "--html", &page, "--force"],
        &["compare", &base, &base, "--json", &result, "--force"],
        &[
            "run",
            &file,
            "-q",
            "--baseline",
            &base,
            "--out",
            &base,
            "--force",
        ],
        &[
            "run",
            &file,
            "-q",
            "--baseline",
            &result,
            "--json",
            &page,
            "--force",
        ],
    ];
    for args in all {
        let ran = output(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        assert!(
            stderr(&ran).contains("would overwrite the"),
            "{args:?}: {}",
            stderr(&ran)
        );
        assert_eq!(place.text("base/result.json"), before);
    }
    assert!(!Path::new(&new).exists());
}

/// With its standard output on a full disk.
fn into_a_full_disk(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chatbench"))
        .args(args)
        .stdout(File::create("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap()
}

#[test]
fn what_a_full_disk_does_not_take_is_an_error_of_every_verb() {
    let place = Place::new();
    let [file, out, junit] = ["fine.toml", "out", "one.xml"].map(|name| place.path(name));
    let trace = place.path("trace");
    output(&["run", &file, "-q", "--out", &out, "--trace", &trace]);
    let all: [&[&str]; 8] = [
        &["run", &file, "-q", "--junit", &junit],
        &["run", &file, "-q", "--json", "-"],
        &["validate", &file],
        &["faults"],
        &["completions", "bash"],
        &["compare", &out, &out],
        &["compare", &out, &out, "--json", "-"],
        &["verify", &trace],
    ];
    for args in all {
        let ran = into_a_full_disk(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        let says = stderr(&ran);
        assert!(
            says.contains("standard output: No space left"),
            "{args:?}: {says}"
        );
    }
    // The other outputs are there all the same.
    assert!(place.text("one.xml").contains("<testsuite name=\"fine\""));
}

/// A result of some KiB whose histogram claims two GiB, and one whose histogram inflates to as much:
/// both are refused in the memory that any result takes.
#[test]
fn a_result_that_claims_gigabytes_is_refused_in_little_memory() {
    let place = Place::new();
    let [file, out, bad] = ["fine.toml", "out", "bad.json"].map(|name| place.path(name));
    output(&["run", &file, "-q", "--out", &out]);
    let result: Value = serde_json::from_str(&place.text("out/result.json")).unwrap();
    let header = |payload: u32, highest: u64| {
        let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
        plain.extend(payload.to_be_bytes());
        plain.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        plain.extend(1_u64.to_be_bytes());
        plain.extend(highest.to_be_bytes());
        plain.extend(1.0_f64.to_be_bytes());
        plain
    };
    let hour = 3_600_000_000_000;
    let mut zeros = header(1 << 30, hour);
    zeros.resize(1 << 30, 0);
    for plain in [
        header(i32::MAX as u32, hour),
        header(8, u64::MAX >> 1),
        zeros,
    ] {
        let mut result = result.clone();
        result["latency_ns"]["relay"]["histogram"] = deflated(&plain).into();
        fs::write(&bad, result.to_string()).unwrap();
        for command in [
            format!("report '{bad}'"),
            format!("compare '{out}' '{bad}'"),
        ] {
            let binary = env!("CARGO_BIN_EXE_chatbench");
            let command = format!("ulimit -v 500000; exec '{binary}' {command}");
            let ran = Command::new("sh").args(["-c", &command]).output().unwrap();
            let says = stderr(&ran);
            assert_eq!(ran.status.code(), Some(2), "{command}: {says}");
            assert!(
                says.contains("bad.json: damaged") && says.contains("not a histogram"),
                "{says}"
            );
        }
    }
}

/// As HdrHistogram deflates what it has: zlib behind a header with the length.
fn deflated(plain: &[u8]) -> String {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(plain).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut bytes = 0x1c84_9314_u32.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(zlib.len()).unwrap().to_be_bytes());
    bytes.extend(zlib);
    BASE64.encode(bytes)
}
