//! The charts of a comparison: each side a line, or a band around its median.

use std::ops::Range;

use hdrhistogram::Histogram;

use super::super::chart::{Axis, Chart, Column, Drawing, Line, Marks, Moments, Scale};
use super::super::charts;
use crate::report::compare::{Side, median};
use crate::report::figures;
use crate::report::result::{Point, RunResult, Violations};

/// Classes of latency that are drawn: the key in a result, the chart, its caption.
pub(super) const CLASSES: [(&str, &str, &str); 3] = [
    ("relay", "relay", "Relay latency by percentile"),
    ("ack", "ack", "Ack latency by percentile"),
    (
        "last_relay",
        "last-relay",
        "Latency of the last receiver by percentile",
    ),
];

/// Marks on a chart, so that the page stays small however much went wrong in however many runs.
const MAX_MARKS: usize = 20_000;

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

/// Seconds since the first second of a run that is drawn; since its measured phase if none is
/// drawn; since its beginning if it was not measured.
pub(super) fn since_start_s(run: &RunResult, at_ns: u64) -> f64 {
    let first_ns = run
        .timeline
        .iter()
        .find(|p| is_whole(run, p))
        .map(|p| p.t_ns);
    let measured_ns = run.window.measured().map(|phase| phase.start);
    let zero_ns = first_ns.or(measured_ns).unwrap_or(0);
    charts::seconds(at_ns) - charts::seconds(zero_ns)
}

pub(super) fn drawing(sides: &[(String, &Side)]) -> Drawing {
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

/// A figure of each run over time: a value per point.
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

/// Stands for the end of a run that lies within none of its seconds: only whole seconds are
/// compared.
const WHOLE: u64 = u64::MAX;

/// Whether a second of a run lies within its measured phase as a whole.
fn is_whole(run: &RunResult, point: &Point) -> bool {
    let whole = |phase: Range<u64>| {
        phase.start <= point.t_ns && point.t_ns.saturating_add(charts::SECOND_NS) <= phase.end
    };
    run.window.measured().is_some_and(whole)
}

/// The whole seconds of the measured phase, counted from the first.
pub(super) fn whole_seconds(run: &RunResult) -> Vec<Point> {
    let inside = run.timeline.iter().filter(|point| is_whole(run, point));
    inside
        .enumerate()
        .map(|(i, point)| Point {
            t_ns: i as u64 * charts::SECOND_NS,
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
