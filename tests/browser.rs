//! The HTML report in a real browser: it opens without a complaint, on a phone and on a desk, and
//! draws what the run measured.
//!
//! Needs Chromium: Debian's `chromium`, or what `CHROMIUM` names. Without one the tests say so and
//! check nothing, unless `CHROMIUM` is set: then it has to be there.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/schema.rs"]
mod schema;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use binary::{output, stderr};
use chatbench::report::RunResult;
use chatbench::report::compare::{self, Side, Terms};
use chatbench::report::html::compared;
use chatbench::search::Found;
use serde_json::Value;

/// Two talkers, three listeners, a moment long; the faulty server loses one relay.
const SCENARIO: &str = r#"
[run]
warmup = "200ms"
duration = "1500ms"
[clients.talkers]
count = 2
rate = 400
[clients.listeners]
count = 3
[thresholds]
relay = ["max < 1h"]
"#;

/// Looks at the page in a frame of a given width, walks through its charts by keyboard, and says what it saw. What the
/// page complains about is collected from its first script on.
const VIEWER: &str = r#"<!DOCTYPE html><meta charset="utf-8"><pre id="seen"></pre><script>
const page = PAGE;
window.complaints = [];
const frame = document.createElement("iframe");
frame.width = WIDTH;
frame.height = 900;
frame.onload = () => {
  const inside = frame.contentDocument, charts = [...inside.querySelectorAll(".chart")];
  const first = charts[0];
  // What a reader of the screen is told, from a chart's first point to its last.
  const press = (chart, key) => {
    chart.dispatchEvent(new frame.contentWindow.KeyboardEvent("keydown", { key, bubbles: true }));
    return chart.querySelector(".sr").textContent;
  };
  const walk = (chart) => {
    const last = press(chart, "End"), told = [press(chart, "Home")];
    while (told[told.length - 1] !== last) told.push(press(chart, "ArrowRight"));
    return told;
  };
  const inked = (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte !== 0);
  };
  const seen = {
    complaints: window.complaints,
    verdict: inside.querySelector(".verdict").textContent,
    text: inside.body.innerText,
    charts: charts.filter((chart) => !chart.hidden).length,
    inked: [...inside.querySelectorAll("canvas")].filter(inked).length,
    scrolling: [...inside.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth).length,
    cut: [...inside.querySelectorAll("td, tbody th, dd, code")]
      .filter((cell) => cell.offsetWidth > 0 && cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).display !== "inline")
      .map((cell) => cell.textContent),
    inner: frame.contentWindow.innerWidth,
    wide: inside.documentElement.scrollWidth,
    told: Object.fromEntries(charts.filter((chart) => !chart.hidden).map((chart) => [chart.id, walk(chart)])),
    spoken: press(first, "End"),
    legend: [...inside.querySelectorAll(".u-series")].filter((row) => row.offsetWidth > 0).map((row) => row.textContent),
  };
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
frame.srcdoc = page;
document.body.append(frame);
</script>"#;

const COMPLAIN: &str = r#"<script>
addEventListener("error", (event) => parent.complaints.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => parent.complaints.push(event.violatedDirective));
for (const level of ["error", "warn"]) console[level] = (...words) => parent.complaints.push(words.join(" "));
</script>"#;

fn browser() -> OsString {
    std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into())
}

/// What the browser makes of `page` at `width`; `None` if there is no browser.
fn look(page: &str, width: u32) -> Option<Value> {
    let directory = tempfile::tempdir().unwrap();
    let watched = page.replacen("<meta charset", &format!("{COMPLAIN}<meta charset"), 1);
    let literal = serde_json::to_string(&watched)
        .unwrap()
        .replace('<', "\\u003c");
    let viewer = VIEWER
        .replace("WIDTH", &width.to_string())
        .replace("PAGE", &literal);
    let path = directory.path().join("viewer.html");
    fs::write(&path, viewer).unwrap();
    let profile = directory.path().join("profile");
    let output = Command::new(browser())
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
        ])
        .args(["--disable-component-update", "--window-size=1400,1000"])
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", path.display()))
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && std::env::var_os("CHROMIUM").is_none() =>
        {
            eprintln!(
                "skipped: there is no {:?}; install it, or set CHROMIUM",
                browser()
            );
            return None;
        }
        output => output.unwrap(),
    };
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom
        .split_once("<pre id=\"seen\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(seen, _)| {
            seen.replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&")
        })
        .filter(|seen| !seen.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let seen = seen.unwrap_or_else(|| panic!("the page did not load: {stderr}"));
    Some(serde_json::from_str(&seen).unwrap())
}

/// The result and the report of a run.
fn run(directory: &Path) -> (Value, String) {
    let scenario = directory.join("probe.toml");
    fs::write(&scenario, SCENARIO).unwrap();
    let out = directory.join("out");
    let args = [
        Path::new("run"),
        &scenario,
        Path::new("-q"),
        Path::new("--out"),
        &out,
    ];
    let output = output(&args);
    let result =
        fs::read(out.join("result.json")).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    (serde_json::from_slice(&result).unwrap(), page)
}

#[test]
fn the_report_opens_without_a_complaint_on_a_phone_and_on_a_desk() {
    let directory = tempfile::tempdir().unwrap();
    let (result, page) = run(directory.path());
    for width in [360, 390, 1280] {
        let Some(seen) = look(&page, width) else {
            return;
        };
        assert_eq!(seen["complaints"], Value::Array(vec![]), "at {width}");
        let verdict = result["verdict"].as_str().unwrap().to_uppercase();
        assert_eq!(seen["verdict"], verdict);
        assert_eq!(seen["charts"], 5, "at {width}");
        assert_eq!(
            seen["inked"], 5,
            "every chart has something on it, at {width}"
        );
        assert_eq!(seen["inner"], width);
        assert_whole(&seen, width);
        let text = seen["text"].as_str().unwrap();
        for count in ["sent", "delivered"] {
            let n = chatbench::report::figures::count(result["counts"][count].as_u64().unwrap());
            assert!(text.contains(&n), "{count} {n} at {width}");
        }
        let p99 = result["latency_ns"]["relay"]["p99"].as_u64().unwrap();
        assert!(
            text.contains(&chatbench::report::figures::latency(p99)),
            "at {width}"
        );
        // The last column is the one that the class with the most samples reaches.
        let spoken = seen["spoken"].as_str().unwrap();
        assert!(
            spoken.contains("percentile p99") && spoken.contains("relay"),
            "{spoken}"
        );
    }
}

/// The widest that a latency and its interval can be, everywhere: on a desk nobody has to push a
/// table to and fro.
#[test]
fn no_table_scrolls_on_a_small_desk_or_a_phone() {
    let directory = tempfile::tempdir().unwrap();
    let (mut result, _) = run(directory.path());
    let widen = |latency: &mut Value| {
        for key in ["min", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
            latency[key] = 888_000.into();
        }
        for key in ["p50", "p99", "p99_9"] {
            latency["ci95"][key] = serde_json::json!([888_000, 28_800_000]);
        }
    };
    let latencies = result["latency_ns"].as_object_mut().unwrap();
    latencies.values_mut().for_each(widen);
    for group in result["groups"].as_array_mut().unwrap() {
        let latencies = group["latency_ns"].as_object_mut().unwrap();
        latencies
            .values_mut()
            .filter(|l| l.is_object())
            .for_each(widen);
    }
    let bytes = serde_json::to_vec(&result).unwrap();
    let result = RunResult::parse(Path::new("wide.json"), &bytes).unwrap();
    let page = chatbench::report::html::render(&result);
    for width in [360, 390, 1000, 1280] {
        let Some(seen) = look(&page, width) else {
            return;
        };
        assert!(seen["text"].as_str().unwrap().contains("28.8 ms"));
        assert_whole(&seen, width);
    }
}

/// Nothing that was measured is out of sight: no table scrolls, no cell is cut, nor does the page
/// scroll sideways.
fn assert_whole(seen: &Value, width: u32) {
    assert_eq!(seen["scrolling"], 0, "at {width}");
    assert_eq!(seen["cut"], Value::Array(vec![]), "at {width}");
    assert!(
        seen["wide"].as_u64() <= seen["inner"].as_u64(),
        "it scrolls sideways at {width}"
    );
}

/// What every page owes its reader, whatever it shows.
fn assert_opens(page: &str, width: u32, charts: u64) -> Option<Value> {
    let seen = look(page, width)?;
    assert_eq!(seen["complaints"], Value::Array(vec![]), "at {width}");
    assert_eq!(seen["charts"], charts, "at {width}");
    assert_eq!(seen["inked"], charts, "at {width}");
    // What uPlot calls a line that has no name: the ends of a range are no lines.
    let told = [&seen["legend"], &seen["told"]].map(Value::to_string);
    assert!(!told.iter().any(|told| told.contains("Value")), "{told:?}");
    assert_whole(&seen, width);
    Some(seen)
}

/// The page opens, holds these texts, and tells a reader of its first chart's last point these, on a
/// phone and on a desk; what was seen there, unless there is no browser.
fn assert_reads(page: &str, charts: u64, texts: &[&str], spoken: &[&str]) -> Option<[Value; 2]> {
    let at = |width| {
        let seen = assert_opens(page, width, charts)?;
        for (key, wanted) in [("text", texts), ("spoken", spoken)] {
            let found = seen[key].as_str().unwrap();
            for part in wanted {
                assert!(found.contains(part), "{part} at {width}: {found}");
            }
        }
        Some(seen)
    };
    at(390)?;
    Some([at(360)?, at(1280)?])
}

#[test]
fn compared_sides_lie_over_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (mut result, _) = run(directory.path());
    // As if it had all been measured: so that there are whole seconds.
    result["window"]["start_ns"] = 0.into();
    result["window"]["end_ns"] = 60_000_000_000_u64.into();
    let bytes = serde_json::to_vec(&result).unwrap();
    let read = || RunResult::parse(Path::new("result.json"), &bytes).unwrap();
    let side = |name: &str, runs: usize| Side {
        name: name.to_owned(),
        runs: (0..runs).map(|_| read()).collect(),
    };
    let (base, new) = (side("last-week", 3), side("today", 1));
    let terms = Terms::default();
    let page = compared::render(&[compare::compare(&base, &new, &terms)]);
    let texts = ["last-week", "90 % within"];
    assert_reads(&page, 5, &texts, &["base, 3 runs ", "new "]);
}

#[test]
fn a_search_is_a_curve_with_dots() {
    let probe = |value: u64, limit: Option<&str>| {
        serde_json::json!({
            "value": value, "limit": limit, "reason": limit, "verdict": "pass",
            "offered_per_s": value, "acked_per_s": value, "delivered_per_s": value * 9,
            "ack_p99_ns": value * 900, "relay_p50_ns": value * 500,
            "relay_p99_ns": value * 1_000, "last_relay_p99_ns": null
        })
    };
    let found = serde_json::json!({
        "schema": 1, "kind": "search", "chatbench": "0.1.0", "vary": "clients.talkers.rate",
        "from": 100.0, "max": 1e5, "precision": 0.05, "interrupted": false,
        "holds": 300.0, "fails": 400.0, "limit": "latency",
        "thresholds": [{ "metric": "relay", "expr": "p99 < 350us", "limit_ns": 350_000.0 }],
        "probes": [probe(100, None), probe(200, None), probe(300, None), probe(400, Some("latency"))]
    });
    schema::assert_valid(schema::SEARCH, &found);
    let found = Found::parse(Path::new("search.json"), found.to_string().as_bytes()).unwrap();
    let page = chatbench::search::page(&found);
    let texts = ["LIMIT FOUND", "relay p99 < 350us"];
    assert_reads(&page, 2, &texts, &["rate 400", "relay p99 400 µs"]);
}

/// Both sides of a comparison have lost something, one of them in its third run alone, and the page
/// of a run has, too.
#[test]
fn violations_are_told_where_they_were_found() {
    let directory = tempfile::tempdir().unwrap();
    let (mut result, _) = run(directory.path());
    result["window"]["start_ns"] = 0.into();
    result["window"]["end_ns"] = 60_000_000_000_u64.into();
    result["violations"] = Value::Array(vec![]);
    let read = |found_ns: &[u64]| {
        let mut result = result.clone();
        let example = |at_ns: &u64| {
            serde_json::json!({
                "text": "lost", "sender": null, "receiver": null, "k": 1, "seq": 1, "at_ns": at_ns
            })
        };
        if !found_ns.is_empty() {
            result["violations"] = serde_json::json!([{
                "kind": "lost-relay", "rule": "S2", "count": found_ns.len(),
                "examples": found_ns.iter().map(example).collect::<Vec<_>>()
            }]);
        }
        let bytes = serde_json::to_vec(&result).unwrap();
        RunResult::parse(Path::new("result.json"), &bytes).unwrap()
    };
    let side = |name: &str, runs: &[&[u64]]| Side {
        name: name.to_owned(),
        runs: runs.iter().map(|found_ns| read(found_ns)).collect(),
    };
    let terms = Terms::default();
    let twice = [250_000_000, 260_000_000];
    let base = side("last-week", &[&[], &[], &twice]);
    let new = side("today", &[&[1_200_000_000]]);
    let compared = compared::render(&[compare::compare(&base, &new, &terms)]);
    let texts = ["▼ marks a violation", "lost-relay"];
    let Some(seen) = assert_reads(&compared, 5, &texts, &[]) else {
        return;
    };
    for seen in seen {
        for chart in ["chart-p99", "chart-deliveries"] {
            let told = seen["told"][chart].as_array().unwrap();
            let (first, second) = (told[0].as_str().unwrap(), told[1].as_str().unwrap());
            assert!(
                first.contains("▼ base, violations 2 lost-relay in run 3"),
                "{first}"
            );
            assert!(first.contains("▼ new, violations none"), "{first}");
            assert!(second.contains("▼ base, violations none"), "{second}");
            assert!(second.contains("▼ new, violations lost-relay"), "{second}");
        }
        let percentiles = seen["told"]["chart-relay"].to_string();
        assert!(!percentiles.contains('▼'), "{percentiles}");
    }
    let page = chatbench::report::html::render(&read(&[250_000_000, 1_200_000_000]));
    for seen in assert_reads(&page, 5, &texts, &[]).into_iter().flatten() {
        let told = seen["told"]["chart-deliveries"].as_array().unwrap();
        for told in &told[..2] {
            let told = told.as_str().unwrap();
            assert!(told.ends_with("▼ violations lost-relay"), "{told}");
        }
        assert!(seen["legend"].to_string().contains("▼ violations"));
    }
}

#[test]
fn a_hostile_target_gets_no_script_into_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let (mut result, _) = run(directory.path());
    let hostile = "</script><script>parent.complaints.push('ran')</script><img src=x onerror=\"parent.complaints.push('ran')\">";
    result["scenario"]["name"] = hostile.into();
    result["reasons"] = Value::Array(vec![hostile.into()]);
    result["violations"] = serde_json::json!([{
        "kind": hostile, "rule": "S2", "count": 1, "examples": [{
            "text": hostile, "sender": hostile, "receiver": hostile,
            "k": 1, "seq": 1, "at_ns": 900_000_000_u64 }] }]);
    let bytes = serde_json::to_vec(&result).unwrap();
    let result = RunResult::parse(Path::new("hostile.json"), &bytes).unwrap();
    let page = chatbench::report::html::render(&result);
    let Some(seen) = look(&page, 1280) else {
        return;
    };
    assert_eq!(seen["complaints"], Value::Array(vec![]));
    assert!(
        seen["text"].as_str().unwrap().contains(hostile),
        "shown as the text it is"
    );
}
