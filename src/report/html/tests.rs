//! The page's words, as text; that a browser draws it is shown in tests/browser.rs.

use super::chart::data_of;
use super::*;
use crate::measure::health::Doubt;
use crate::report::{RunResult, figures, sample};
use crate::verify::findings::Example;
use crate::verify::kind::Kind;

fn page(change: sample::Change) -> String {
    render(&sample::result(change))
}

#[test]
fn the_verdict_comes_first_and_the_figures_are_those_of_the_run() {
    let page = page(|_, _| ());
    let verdict = page
        .find("<span class=\"verdict pass\">PASS</span>")
        .unwrap();
    assert!(verdict < page.find("<table").unwrap());
    for text in [
        "<title>fanout: PASS · chatbench</title>",
        "515 000",
        "51.5 k/s",
        "1.95 ms",
        "p99 &lt; 50ms",
        "chatbench run fanout.toml --seed 42",
        "kernel 6.18.0",
        "<th scope=\"row\">talkers</th>",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn rooms_have_a_table_and_only_where_there_are_any() {
    let with = page(sample::rooms);
    for text in [
        "<h2>Rooms</h2>",
        "<th scope=\"row\">lobby</th>",
        "<td class=\"n bad\" data-head=\"violations\">1</td>",
        "<td class=\"n\" data-head=\"max\">7.00 ms</td>",
        "<td class=\"n\" data-head=\"p99\">–</td>",
    ] {
        assert!(with.contains(text), "{text}");
    }
    assert!(!page(|_, _| ()).contains("Rooms"));
}

#[test]
fn the_charts_have_the_histograms_and_the_timeline() {
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    let result = report.result;
    let data = data_of(&render(&result));
    let chart = |id: &str| {
        let charts = data["charts"].as_array().unwrap();
        charts.iter().find(|c| c["id"] == id).unwrap().clone()
    };
    let percentiles = chart("percentiles");
    let classes = percentiles["lines"].as_array().unwrap();
    let names: Vec<_> = classes
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..3], ["ack", "relay", "last receiver"]);
    assert_eq!(
        names.len(),
        result.latency_ns.values().filter(|l| l.count > 0).count()
    );
    // The column at x = 10 is p90.
    assert_eq!(percentiles["at"][20], 10);
    assert_eq!(
        classes[1]["values"][20],
        result.latency_ns["relay"].p90.unwrap()
    );
    assert_eq!(chart("deliveries")["lines"][0]["values"][2], 51_500);
    assert_eq!(
        data["marks"],
        serde_json::json!([
            { "name": "violations", "of": [{ "says": "lost-relay", "at": [4.211] }] }
        ])
    );
}

#[test]
fn groups_intervals_doubts_and_what_is_missing_are_shown() {
    let page = page(|_, outcome| {
        outcome.measured.due_and_sent += 3;
        outcome.measured.unsent = 40;
        outcome.health.longest_pause_ns = 150_000_000;
        outcome.health.doubts.push(Doubt {
            metric: "relay".into(),
            percentile: 99.0,
            figure_ns: 9_000_000,
            own_ns: 7_000_000,
        });
    });
    for text in [
        "<h2>Latency by group</h2>",
        "<th scope=\"row\">listeners (100)</th>",
        "<th scope=\"row\">talkers (4)</th>",
        "ack, from the actual send",
        "3 acks that did not come · 3 messages with no known delivery · 40 messages due",
        "relay p99, up to 7.00 ms of 9.00 ms",
        "<th scope=\"row\">longest pause</th><td class=\"n\">150 ms</td>",
        "<th scope=\"row\">busiest</th><td class=\"n\">3 %</td>",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let result = sample::result(|_, _| ());
    let [low, high] = result.latency_ns["relay"].ci95.p50.unwrap();
    let interval = format!("<small>{}</small>", figures::latency_range(low, high));
    assert!(page.contains(&interval), "{interval}");
}

#[test]
fn one_group_is_no_comparison_and_an_older_result_has_none() {
    let mut result = sample::result(|_, _| ());
    result.groups.truncate(1);
    assert!(!render(&result).contains("Latency by group"));
    result.groups.clear();
    assert!(!render(&result).contains("Latency by group"));
}

/// Everything a hostile target may have said, in every place where a page could take it for its
/// own.
const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;<!--";

#[test]
fn nothing_that_a_target_or_a_scenario_says_becomes_markup() {
    let page = page(|plan, outcome| {
        plan.name = HOSTILE.to_owned();
        plan.description = Some(HOSTILE.to_owned());
        plan.resolved =
            serde_json::json!({ "clients": { HOSTILE: { "count": 1 } }, HOSTILE: HOSTILE });
        plan.thresholds[0].expr = HOSTILE.to_owned();
        outcome.target_url = HOSTILE.to_owned();
        outcome.inconclusive.push(HOSTILE.to_owned());
        outcome.findings.violation(Kind::PhantomRelay, || Example {
            text: HOSTILE.to_owned(),
            sender: Some(HOSTILE.to_owned()),
            receiver: Some(HOSTILE.to_owned()),
            ..sample::example()
        });
    });
    assert_eq!(page.matches("<script").count(), 3, "the page's own");
    assert_eq!(page.matches("</script").count(), 3, "the page's own");
    assert!(!page.contains("<img") && !page.contains("<!--"));
    assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
    data_of(&page);
}

#[test]
fn data_cannot_close_its_own_element() {
    let mut result = sample::result(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    // A result from elsewhere may hold anything.
    let relay = result.latency_ns["relay"].clone();
    result.latency_ns.insert(HOSTILE.to_owned(), relay);
    result.violations[0].kind = HOSTILE.to_owned();
    let page = render(&result);
    assert_eq!(page.matches("</script").count(), 3);
    let lines = data_of(&page)["charts"][0]["lines"].clone();
    let mut names = lines.as_array().unwrap().iter().map(|line| &line["name"]);
    assert!(names.any(|name| name == HOSTILE));
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let page = page(|_, _| ());
    for attribute in [
        "src=",
        "href=",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
    ] {
        assert!(!page.contains(attribute), "{attribute}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(
        page.contains("Copyright (c) 2022 Leon Sorokin"),
        "uPlot's licence"
    );
}

#[test]
fn a_last_second_that_the_run_did_not_fill_is_said_to_be_short() {
    assert!(!page(|_, _| ()).contains("into its last second"));
    let page = page(|_, outcome| {
        outcome.elapsed = std::time::Duration::from_millis(11_250);
        outcome.measured.window.end_ns = 11_200_000_000;
    });
    assert!(page.contains("The run ended 0.250 s into its last second"));
    assert!(page.contains("11<small>0.250 s of it</small>"));
}

#[test]
fn a_run_without_a_sample_still_has_a_page() {
    let page = page(|_, outcome| {
        let none = crate::measure::Collector::new(crate::measure::Window::NEVER, 1);
        outcome.measured = none.finish(None);
        outcome.server = None;
        outcome.inconclusive.push("the target is gone".to_owned());
    });
    assert!(page.contains("the target is gone"));
    assert_eq!(data_of(&page)["spans"], Value::Array(vec![]));
}

#[test]
fn however_bad_and_long_the_run_the_page_stays_below_a_mebibyte() {
    let report = sample::report(|_, outcome| {
        for &kind in Kind::ALL {
            for _ in 0..200 {
                outcome.findings.violation(kind, || Example {
                    text: "\"<&>".repeat(5_000),
                    ..sample::example()
                });
            }
        }
    });
    let mut file: Value = serde_json::from_slice(&report.result.json()).unwrap();
    let point = file["timeline"][5].clone();
    file["timeline"] = Value::Array(vec![point; 86_400]);
    let bytes = serde_json::to_vec(&file).unwrap();
    let result = RunResult::parse(std::path::Path::new("a-bad-day.json"), &bytes).unwrap();
    let page = render(&result);
    assert!(
        page.len() < 1024 * 1024,
        "{}",
        figures::bytes(page.len() as f64)
    );
    assert!(page.contains("190 more; result.json has the first 100"));
}

#[test]
fn a_group_is_described_by_what_it_does() {
    let table = [
        (
            r#"{"rate": 500, "arrival": "poisson"}"#,
            "sends 500/s on a poisson schedule",
        ),
        (r#"{"stages": [{}, {}]}"#, "sends at a rate of 2 stages"),
        (
            r#"{"in_flight": 16}"#,
            "sends as fast as acks come, 16 in flight each",
        ),
        (r#"{"script": [{}]}"#, "follows a script of 1 steps"),
        ("{}", "listens"),
    ];
    for (group, says) in table {
        assert_eq!(load(&serde_json::from_str(group).unwrap()), says);
    }
}
