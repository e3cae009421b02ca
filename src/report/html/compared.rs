//! The page of a comparison: what changed, as a table, and the sides drawn over each other.
//!
//! A side of several runs is drawn as it is compared: the median of its runs, and the range
//! between the least and the greatest of them around it.

use std::ops::Range;

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::chart::{Axis, Chart, Column, Drawing, Line, Marks, Moments, Scale};
use super::judged::shortened;
use super::{chart, charts, document};
use crate::report::compare::{
    Comparison, Outcome, Row, Side, cells, conclusion, median, runs, word,
};
use crate::report::figures;
use crate::report::result::{Point, RunResult, Violations};
use crate::report::style::Paint;

/// Classes of latency that are drawn: the key in a result, the chart, its caption.
const CLASSES: [(&str, &str, &str); 3] = [
    ("relay", "relay", "Relay latency by percentile"),
    ("ack", "ack", "Ack latency by percentile"),
    (
        "last_relay",
        "last-relay",
        "Latency of the last receiver by percentile",
    ),
];

/// The page, complete: one base, and whatever it is compared with.
///
/// # Panics
///
/// If there is no comparison.
#[must_use]
pub fn render(comparisons: &[Comparison<'_>]) -> String {
    let base = comparisons[0].base;
    let name = &base.runs[0].scenario.name;
    let mut sides = vec![("base".to_owned(), base)];
    for (i, comparison) in comparisons.iter().enumerate() {
        let label = match comparisons.len() {
            1 => "new".to_owned(),
            _ => format!("new {}", i + 1),
        };
        sides.push((label, comparison.new));
    }
    let (paint, word) = verdict(comparisons);
    let body = html! {
        header {
            div.title {
                span.verdict.(paint) { (word) }
                h1 { (name) ", compared" }
            }
            @if let Some(description) = &base.runs[0].scenario.description {
                p.question { (description) }
            }
            (participants(&sides))
        }
        main {
            @for (comparison, (label, _)) in comparisons.iter().zip(&sides[1..]) {
                (changes(comparison, label))
            }
            (violations(&sides))
            section {
                h2 { "Latency by percentile" }
                p.note {
                    "From the moment a message was due. Of several runs the line is their median, \
                     the band around it reaches from the least to the greatest. What had not come \
                     when a run stopped listening is drawn as late as it was by then."
                }
                @for (_, id, says) in CLASSES {
                    (chart(id, &format!("{says}, a line a side, both axes logarithmic")))
                }
            }
            @if sides.iter().flat_map(|(_, side)| &side.runs).any(|run| !whole_seconds(run).is_empty()) {
                section {
                    h2 { "Over time" }
                    p.note {
                        "Whole seconds of the measured phase, from its first on."
                        @if sides.iter().any(|(_, side)| any_violation(side)) {
                            " ▼ marks a violation, in the colour of its side."
                        }
                    }
                    (chart("p99", "99th percentile of relay latency over time, a line a side"))
                    (chart("deliveries", "Deliveries a second over time, a line a side"))
                }
            }
        }
    };
    let title = format!("{name} compared: {word}");
    let version = env!("CARGO_PKG_VERSION");
    document(&title, version, &body, &drawing(&sides))
}

/// The one word over all comparisons, and how it is painted.
fn verdict(comparisons: &[Comparison<'_>]) -> (&'static str, &'static str) {
    let any = |wanted: Paint| comparisons.iter().any(|c| conclusion(c).0 == wanted);
    if any(Paint::Bad) {
        ("fail", "REGRESSION")
    } else if any(Paint::Doubt) {
        ("inconclusive", "INCONCLUSIVE")
    } else {
        ("pass", "NO REGRESSION")
    }
}

/// Who is compared with whom.
fn participants(sides: &[(String, &Side)]) -> Markup {
    html! {
        div.scroll { table.stack {
            thead { tr {
                th scope="col" { "side" } th scope="col" { "result" } th scope="col" { "runs" }
                th scope="col" { "first run" } th scope="col" { "target" }
                th scope="col" { "machine" } th scope="col" { "chatbench" }
            } }
            tbody { @for (label, side) in sides { @let run = &side.runs[0]; tr {
                th scope="row" { (label) }
                td.name data-head="result" { (side.name) }
                td data-head="runs" { (runs(side)) }
                td data-head="first run" { time datetime=(run.started) { (run.started) } }
                td data-head="target" { @if run.target.embedded { "embedded" } @else { (run.target.url) } }
                td data-head="machine" { (run.environment.host) ", " (run.environment.cpus) " cpus" }
                td data-head="chatbench" { (run.chatbench) }
            } } }
        } }
    }
}

/// One comparison as a table.
fn changes(comparison: &Comparison<'_>, label: &str) -> Markup {
    let (paint, words) = conclusion(comparison);
    let class = match paint {
        Paint::Bad => "bad",
        Paint::Good => "good",
        _ => "doubt",
    };
    html! {
        section {
            h2 { "What changed: " (label) " against base" }
            p.(class) { strong { (words) } }
            @for caveat in &comparison.caveats { p.note { strong.doubt { "Note" } " " (caveat) } }
            div.scroll { table.stack {
                thead { tr {
                    th scope="col" { "figure" } th scope="col" { "outcome" }
                    th.n scope="col" { "base" } th.n scope="col" { (label) }
                    th.n scope="col" { "change" } th.n scope="col" { "90 % within" }
                } }
                tbody { @for row in &comparison.rows { (change(row, label)) } }
            } }
        }
    }
}

fn change(row: &Row, label: &str) -> Markup {
    let class = match word(row.outcome).0 {
        Paint::Bad => "bad",
        Paint::Good => "good",
        Paint::Doubt => "doubt",
        _ => "faint",
    };
    // The arrow says which way the figure went; of a rate down is the worse way.
    let up = row.change.map_or(row.new > row.base, |c| c.share > 0.0);
    let arrow = match row.outcome {
        Outcome::Worse | Outcome::Better if up => "▲ ",
        Outcome::Worse | Outcome::Better => "▼ ",
        _ => "",
    };
    let word = match row.outcome {
        Outcome::TooNoisy => "too noisy to tell",
        Outcome::Undecided => "undecided: something was outstanding",
        Outcome::OneSided => "on one side only",
        outcome => word(outcome).1,
    };
    html! {
        tr {
            th scope="row" { (row.name) }
            td.(class) data-head="outcome" { (arrow) (word) }
            @for (head, cell) in ["base", label, "change", "90 % within"].iter().zip(cells(row)) {
                td.n data-head=(head) { (cell) }
            }
        }
    }
}

/// Rows of the table of violations: twenty runs with five kinds each.
const VIOLATION_ROWS: usize = 100;

/// Marks on a chart, so that the page stays small however much went wrong in however many runs.
const MAX_MARKS: usize = 20_000;

fn any_violation(side: &Side) -> bool {
    side.runs.iter().any(|run| !run.violations.is_empty())
}

/// What each run of each side got wrong, with the first of each kind.
fn violations(sides: &[(String, &Side)]) -> Markup {
    let mut rows = Vec::new();
    for (label, side) in sides {
        for (i, run) in side.runs.iter().enumerate() {
            let kinds = run.violations.iter();
            rows.extend(kinds.map(|kind| (label.as_str(), i + 1, run, kind)));
        }
    }
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Violations" }
                p.note {
                    "Of each kind the first. Seconds count from where the charts over time begin: \
                     what is below 0 was found before."
                }
                div.scroll { table.stack {
                    thead { tr {
                        th scope="col" { "side" } th.n scope="col" { "run" }
                        th.n scope="col" { "at" } th scope="col" { "what happened" }
                        th.n scope="col" { "count" }
                    } }
                    tbody { @for (label, number, run, kind) in rows.iter().take(VIOLATION_ROWS) { tr {
                        th.short scope="row" { (label) }
                        td.n data-head="run" { (number) }
                        @let first = kind.examples.first();
                        td.n data-head="at" { (first.map_or("–".to_owned(), |e| signed_s(since_start_s(run, e.at_ns)))) }
                        td.wide data-head="what happened" {
                            strong.bad { (kind.kind) }
                            @if let Some(first) = first { ": " (shortened(&first.text)) }
                        }
                        td.n data-head="count" { (figures::count(kind.count)) }
                    } } }
                } }
                @if rows.len() > VIOLATION_ROWS {
                    p.note {
                        "… and " (figures::count((rows.len() - VIOLATION_ROWS) as u64))
                        " rows more; each run's own report has all."
                    }
                }
            }
        }
    }
}

fn signed_s(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "−" } else { "" };
    format!("{sign}{:.3} s", seconds.abs())
}

/// The violations of each side that has any: its runs told apart, and only what lies within the
/// seconds that are drawn.
fn marks(sides: &[(String, &Side)]) -> Vec<Marks> {
    let runs = sides.iter().flat_map(|(_, side)| &side.runs);
    let kinds = runs.map(|run| run.violations.len()).sum::<usize>();
    let most = (MAX_MARKS / kinds.max(1)).max(1);
    let sides = sides.iter().enumerate();
    let marks = sides.map(|(shade, (label, side))| {
        let runs = side.runs.iter().enumerate();
        let of = runs.flat_map(|(i, run)| {
            let of_run = match side.runs.len() {
                1 => String::new(),
                _ => format!(" in run {}", i + 1),
            };
            run.violations.iter().map(move |kind| Moments {
                says: format!("{}{of_run}", kind.kind),
                at: drawn_s(run, kind).take(most).collect(),
            })
        });
        Marks {
            name: format!("{label}, violations"),
            shade: Some(shade),
            of: of.filter(|moments| !moments.at.is_empty()).collect(),
        }
    });
    marks.filter(|marks| !marks.of.is_empty()).collect()
}

/// When violations of a kind were found, on the axis of time.
fn drawn_s(run: &RunResult, kind: &Violations) -> impl Iterator<Item = f64> {
    let length_s = whole_seconds(run).len() as f64;
    let found = kind.examples.iter();
    found
        .map(|example| since_start_s(run, example.at_ns))
        .filter(move |at_s| (0.0..=length_s).contains(at_s))
}

/// Seconds from where a run is drawn from; from where it was measured, if it is not drawn; from
/// its beginning, if it was not measured.
fn since_start_s(run: &RunResult, at_ns: u64) -> f64 {
    let first_ns = run
        .timeline
        .iter()
        .find(|p| is_whole(run, p))
        .map(|p| p.t_ns);
    let measured_ns = run.window.measured().map(|phase| phase.start);
    let zero_ns = first_ns.or(measured_ns).unwrap_or(0);
    charts::seconds(at_ns) - charts::seconds(zero_ns)
}

fn drawing(sides: &[(String, &Side)]) -> Drawing {
    let mut all: Vec<_> = CLASSES
        .iter()
        .filter_map(|(class, id, _)| percentiles(sides, class, id))
        .collect();
    all.extend(over_time(sides));
    Drawing {
        charts: all,
        marks: marks(sides),
        ..Drawing::default()
    }
}

/// A class of latency on all sides; `None` where no run has any.
fn percentiles(sides: &[(String, &Side)], class: &str, id: &'static str) -> Option<Chart> {
    let histograms = |side: &Side| -> Vec<_> {
        let all = side.runs.iter().filter_map(|run| run.latency_ns.get(class));
        let all = all.map(|latency| latency.all().into_owned());
        all.filter(|all| !all.is_empty()).collect()
    };
    let sides: Vec<_> = sides
        .iter()
        .map(|(label, side)| (label, histograms(side)))
        .collect();
    let counts = sides.iter().flat_map(|(_, h)| h).map(Histogram::len);
    counts.clone().next()?;
    let at = charts::columns(counts);
    let lines = sides
        .iter()
        .enumerate()
        .map(|(shade, (label, histograms))| {
            let runs = histograms.iter().map(|h| {
                let column = at.iter().map(|&x| charts::at(h, x));
                column.map(|ns| ns.map(|ns| ns as f64)).collect()
            });
            line(label, shade, &runs.collect::<Vec<_>>(), at.len())
        })
        .collect();
    Some(Chart {
        id,
        x: Axis::Percentile,
        y: Scale::Latency,
        height_px: 260,
        dots: false,
        at,
        lines,
    })
}

/// What is drawn of each run over time: a value a point.
type Drawn = fn(&[Point], usize) -> Vec<Option<f64>>;

fn over_time(sides: &[(String, &Side)]) -> Vec<Chart> {
    let measured: Vec<(&String, Vec<Vec<Point>>)> = sides
        .iter()
        .map(|(label, side)| (label, side.runs.iter().map(whole_seconds).collect()))
        .collect();
    let all = measured.iter().flat_map(|(_, runs)| runs);
    let longest = all.max_by_key(|run| run.len());
    let Some(longest) = longest.filter(|run| !run.is_empty()) else {
        return Vec::new();
    };
    let step = charts::step_s(longest.len());
    let at = charts::middles(longest, step, WHOLE);
    let chart = |id, y, drawn: Drawn| {
        let lines = measured.iter().enumerate().map(|(shade, (label, runs))| {
            let runs: Vec<_> = runs.iter().map(|run| drawn(run, step)).collect();
            line(label, shade, &runs, at.len())
        });
        Chart {
            id,
            x: Axis::Time {
                step_s: step as u64,
                end_s: longest.len() as f64,
            },
            y,
            height_px: 180,
            dots: false,
            at: at.clone(),
            lines: lines.collect(),
        }
    };
    vec![
        chart("p99", Scale::Latency, |points, step| {
            charts::worst(points, step, |p| p.relay_p99_ns)
        }),
        chart("deliveries", Scale::Amount, |points, step| {
            charts::rate(points, step, WHOLE, |p| p.delivered)
        }),
    ]
}

/// A run that ends within none of its seconds: only whole ones are compared.
const WHOLE: u64 = u64::MAX;

const SECOND_NS: u64 = 1_000_000_000;

/// Whether a second of a run lies within its measured phase as a whole.
fn is_whole(run: &RunResult, point: &Point) -> bool {
    let whole = |phase: Range<u64>| {
        phase.start <= point.t_ns && point.t_ns.saturating_add(SECOND_NS) <= phase.end
    };
    run.window.measured().is_some_and(whole)
}

/// Those seconds, counted from the first.
fn whole_seconds(run: &RunResult) -> Vec<Point> {
    let inside = run.timeline.iter().filter(|point| is_whole(run, point));
    inside
        .enumerate()
        .map(|(i, point)| Point {
            t_ns: i as u64 * SECOND_NS,
            ..*point
        })
        .collect()
}

/// The median of the runs at each of so many places, and of more than one their range.
fn line(label: &str, shade: usize, runs: &[Vec<Option<f64>>], places: usize) -> Line {
    let (mut middle, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..places {
        let values = runs
            .iter()
            .filter_map(|run| run.get(place).copied().flatten());
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        middle.push(median(&values));
        low.push(values.first().copied());
        high.push(values.last().copied());
    }
    let range = (runs.len() > 1).then_some([Column(low), Column(high)]);
    let name = match runs.len() {
        0 | 1 => label.to_owned(),
        n => format!("{label}, {} runs", figures::count(n as u64)),
    };
    Line {
        range,
        ..Line::new(&name, shade, middle)
    }
}

#[cfg(test)]
mod tests {
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
            RunResult::of(&sample::report(|_, outcome| {
                let relay = &mut outcome.measured.relay;
                relay.reset();
                relay.record_n(us * 1_000, 50_000).unwrap();
            }))
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
        delivered.outcome = Outcome::Worse;
        delivered.change = Some(Change {
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
            *run = RunResult::of(&sample::report(|_, outcome| {
                for _ in 0..lost {
                    outcome.findings.violation(Kind::LostRelay, || Example {
                        at_ns,
                        ..sample::example()
                    });
                }
            }));
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
        let bad = RunResult::of(&sample::report(|_, outcome| {
            for &kind in Kind::ALL {
                for i in 0..200 {
                    outcome.findings.violation(kind, || Example {
                        text: "\"<&>".repeat(5_000),
                        at_ns: 2_000_000_000 + i * 12_345_678,
                        ..sample::example()
                    });
                }
            }
        }));
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
}
