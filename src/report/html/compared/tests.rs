//! The page of a comparison: its words, and what it draws.

use serde_json::Value;

use super::super::chart::data_of;
use super::*;
use crate::report::compare::{Change, Terms, compare};
use crate::report::sample;
use crate::verify::findings::Example;
use crate::verify::kind::Kind;

/// Two runs of the same are within a hundredth: so that single ones can be told apart.
static TERMS: Terms = Terms {
    tolerance: 0.05,
    assumed_noise: 0.01,
    figures: Vec::new(),
};

/// Runs whose relays are all so many µs late.
fn side(name: &str, runs_us: &[u64]) -> Side {
    let runs = runs_us.iter().map(|us| {
        sample::result(|_, outcome| {
            let relay = &mut outcome.measured.relay;
            relay.reset();
            relay.record_n(us * 1_000, 50_000).unwrap();
        })
    });
    Side {
        name: name.to_owned(),
        runs: runs.collect(),
    }
}

fn chart(data: &Value, id: &str) -> Value {
    let charts = data["charts"].as_array().unwrap();
    charts.iter().find(|c| c["id"] == id).unwrap().clone()
}

#[test]
fn the_verdict_comes_first_and_the_table_marks_what_changed() {
    let (base, same) = (side("base", &[100, 101, 102]), side("same", &[100, 101]));
    let worse = side("<b>worse</b>", &[200, 201]);
    let [same, worse] = [&same, &worse].map(|new| compare(&base, new, &TERMS));
    let page = render(&[worse]);
    assert!(page.contains("<span class=\"verdict fail\">REGRESSION</span>"));
    let row = page.split("<tr>").find(|row| row.contains("relay p99<"));
    let row = row.unwrap();
    assert!(
        row.contains("<td class=\"bad\" data-head=\"outcome\">▲ worse</td>"),
        "{row}"
    );
    assert!(row.contains("101 µs") && row.contains("201 µs"), "{row}");
    assert!(page.contains("&lt;b&gt;worse&lt;/b&gt;") && !page.contains("<b>"));
    let page = render(&[same]);
    assert!(page.contains("<span class=\"verdict pass\">NO REGRESSION</span>"));
    assert!(!page.contains("▲ worse"));
}

#[test]
fn what_is_too_noisy_is_not_green() {
    let (base, noisy) = (
        side("base", &[100, 100, 100]),
        side("noisy", &[70, 100, 150]),
    );
    let page = render(&[compare(&base, &noisy, &TERMS)]);
    assert!(page.contains("<span class=\"verdict inconclusive\">INCONCLUSIVE</span>"));
    assert!(page.contains("data-head=\"outcome\">too noisy to tell</td>"));
    assert!(!page.contains("NO REGRESSION"));
}

#[test]
fn a_figure_that_falls_is_marked_as_falling() {
    let (base, new) = (side("base", &[100]), side("new", &[100]));
    let mut comparison = compare(&base, &new, &TERMS);
    let delivered = comparison.rows.iter_mut().find(|r| r.name == "delivered");
    let delivered = delivered.unwrap();
    delivered.judged.outcome = Outcome::Worse;
    delivered.judged.change = Some(Change {
        share: -0.5,
        low: -0.6,
        high: -0.4,
        p: None,
    });
    assert!(render(&[comparison]).contains("▼ worse"));
}

#[test]
fn a_side_is_drawn_as_the_median_of_its_runs_with_their_range() {
    let (base, one) = (side("base", &[100, 140, 110]), side("one", &[300]));
    let page = render(&[compare(&base, &one, &TERMS), compare(&base, &base, &TERMS)]);
    let relay = chart(&data_of(&page), "relay");
    let lines = relay["lines"].as_array().unwrap();
    let names: Vec<_> = lines.iter().map(|line| &line["name"]).collect();
    assert_eq!(names, ["base, 3 runs", "new 1", "new 2, 3 runs"]);
    let us = |value: &Value| value.as_f64().unwrap().round() as u64 / 1_000;
    assert_eq!(us(&lines[0]["values"][20]), 110);
    let [low, high] = [0, 1].map(|end| us(&lines[0]["range"][end][20]));
    assert_eq!((low, high), (100, 140));
    assert_eq!(us(&lines[1]["values"][20]), 300);
    assert!(lines[1].get("range").is_none(), "one run has no range");
}

#[test]
fn time_is_that_of_the_measured_phase_whenever_it_began() {
    let mut late = side("late", &[100]);
    let second_ns = 1_000_000_000;
    let run = &mut late.runs[0];
    let window = run.window;
    // The same run, begun five seconds and a half later.
    for point in &mut run.timeline {
        point.t_ns += 5 * second_ns;
    }
    let measured = window.measured().unwrap();
    run.window.start_ns = Some(measured.start + 5 * second_ns - 1);
    run.window.end_ns = Some(measured.end + 5 * second_ns);
    let base = side("base", &[100]);
    let data = data_of(&render(&[compare(&base, &late, &TERMS)]));
    let deliveries = chart(&data, "deliveries");
    assert_eq!(deliveries["at"].as_array().unwrap().len(), 10);
    assert_eq!(deliveries["x"]["end_s"], 10.0);
    let lines = deliveries["lines"].as_array().unwrap();
    assert_eq!(lines[0]["values"], lines[1]["values"]);
    assert!(lines[0]["values"][3].as_f64().unwrap() > 0.0);
}

/// Every run of the side has lost something at so many ns, and the last of them twice.
fn losing(name: &str, runs: usize, at_ns: u64) -> Side {
    let mut side = side(name, &vec![100; runs]);
    let last = runs - 1;
    for (i, run) in side.runs.iter_mut().enumerate() {
        let lost = if i == last { 2 } else { 1 };
        *run = sample::result(|_, outcome| {
            for _ in 0..lost {
                outcome.findings.violation(Kind::LostRelay, || Example {
                    at_ns,
                    ..sample::example()
                });
            }
        });
    }
    side
}

#[test]
fn violations_are_marked_in_their_sides_colour_and_told_apart_by_run() {
    // Measured is from 2 s on.
    let (base, new) = (
        losing("base", 1, 4_211_000_000),
        losing("new", 2, 5_500_000_000),
    );
    let page = render(&[compare(&base, &new, &TERMS)]);
    assert_eq!(
        data_of(&page)["marks"],
        serde_json::json!([
            { "name": "base, violations", "shade": 0, "of": [{ "says": "lost-relay", "at": [2.211, 2.211] }] },
            { "name": "new, violations", "shade": 1, "of": [
                { "says": "lost-relay in run 1", "at": [3.5] },
                { "says": "lost-relay in run 2", "at": [3.5, 3.5] },
            ] },
        ])
    );
    assert!(page.contains("▼ marks a violation, in the colour of its side"));
    let rows: Vec<_> = page
        .split("<tr>")
        .filter(|r| r.contains(">lost-relay<"))
        .collect();
    assert_eq!(rows.len(), 3, "a row for each run");
    for (row, [side, run, count, at]) in rows.iter().zip([
        ["base", "1", "2", "2.211 s"],
        ["new", "1", "1", "3.500 s"],
        ["new", "2", "2", "3.500 s"],
    ]) {
        let cells = format!(
            "<th class=\"short\" scope=\"row\">{side}</th>\
             <td class=\"n\" data-head=\"run\">{run}</td>\
             <td class=\"n\" data-head=\"at\">{at}</td>\
             <td class=\"wide\" data-head=\"what happened\"><strong class=\"bad\">lost-relay</strong>: listeners-17 was owed"
        );
        assert!(row.starts_with(&cells), "{row}");
        let count = format!("data-head=\"count\">{count}</td></tr>");
        assert!(row.contains(&count), "{row}");
    }
}

#[test]
fn what_was_found_before_or_after_what_is_drawn_is_in_the_table_alone() {
    let (early, late) = (
        losing("early", 1, 500_000_000),
        losing("late", 1, 12_300_000_000),
    );
    let page = render(&[compare(&early, &late, &TERMS)]);
    assert_eq!(data_of(&page)["marks"], Value::Array(vec![]));
    assert!(
        page.contains(">−1.500 s<") && page.contains(">10.300 s<"),
        "{page}"
    );
    let fine = side("fine", &[100]);
    let page = render(&[compare(&fine, &fine, &TERMS)]);
    assert!(!page.contains("Violations") && !page.contains("▼ marks"));
}

#[test]
fn however_much_went_wrong_the_page_stays_below_a_mebibyte() {
    let bad = sample::result(|_, outcome| {
        for &kind in Kind::ALL {
            for i in 0..200 {
                outcome.findings.violation(kind, || Example {
                    text: "\"<&>".repeat(5_000),
                    at_ns: 2_000_000_000 + i * 12_345_678,
                    ..sample::example()
                });
            }
        }
    });
    let side = Side {
        name: "bad".to_owned(),
        runs: vec![bad; 20],
    };
    let page = render(&[compare(&side, &side, &TERMS)]);
    assert!(
        page.len() < 1 << 20,
        "{}",
        figures::bytes(page.len() as f64)
    );
    assert!(page.contains("rows more; each run's own report has all"));
}

#[test]
fn a_run_without_a_sample_is_compared_on_a_page_too() {
    let mut none = side("none", &[100]);
    none.runs[0].latency_ns.clear();
    none.runs[0].timeline.clear();
    none.runs[0].verdict = "inconclusive".to_owned();
    let base = side("base", &[100]);
    let page = render(&[compare(&base, &none, &TERMS)]);
    assert!(page.contains("INCONCLUSIVE") && page.contains("on one side only"));
    let page = render(&[compare(&none, &none, &TERMS)]);
    assert_eq!(data_of(&page)["charts"], Value::Array(vec![]));
    assert!(!page.contains("Over time"));
}
