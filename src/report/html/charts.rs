//! What the report's charts draw, as JSON in the page.
//!
//! Times along the run are in seconds, latencies in ns; `null` is a gap in a line.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::report::result::{Point, RunResult};

/// Points of a timeline beyond which neighbours are drawn as one: more than a screen has columns
/// for, and the page must stay small however long the run.
const MAX_POINTS: usize = 1_000;

/// Columns of the percentile chart for each power of ten.
const COLUMNS_PER_DECADE: i32 = 20;

/// Everything that the charts draw.
#[derive(Serialize)]
pub(super) struct Charts<'a> {
    percentiles: Percentiles<'a>,
    timeline: Timeline,
    phases: Vec<Phase>,
    violations: Vec<Mark<'a>>,
}

/// Latency over 1/(1−q): each power of ten is another nine.
#[derive(Serialize)]
struct Percentiles<'a> {
    x: Vec<f64>,
    classes: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    ns: Vec<Option<u64>>,
}

/// The points of a timeline, thinned.
#[derive(Serialize)]
pub(super) struct Timeline {
    /// Seconds that one point stands for.
    pub(super) step_s: u64,
    t_s: Vec<f64>,
    sent: Vec<f64>,
    acked: Vec<f64>,
    delivered: Vec<f64>,
    clients: Vec<u64>,
    p50: Vec<Option<u64>>,
    p99: Vec<Option<u64>>,
    max: Vec<Option<u64>>,
}

/// A phase of the run that was not measured.
#[derive(Serialize)]
struct Phase {
    name: &'static str,
    from_s: f64,
    to_s: f64,
}

/// A violation on the time axis.
#[derive(Serialize)]
struct Mark<'a> {
    t_s: f64,
    kind: &'a str,
}

impl<'a> Charts<'a> {
    pub(super) fn new(result: &'a RunResult) -> Self {
        let violations = result.violations.iter().flat_map(|kind| {
            kind.examples.iter().map(|example| Mark {
                t_s: seconds(example.at_ns),
                kind: &kind.kind,
            })
        });
        Self {
            percentiles: Percentiles::new(result),
            timeline: Timeline::new(&result.timeline),
            phases: phases(result),
            violations: violations.collect(),
        }
    }
}

impl<'a> Percentiles<'a> {
    fn new(result: &'a RunResult) -> Self {
        let shown: Vec<_> = result
            .classes()
            .filter(|(_, _, latency)| latency.count > 0)
            .collect();
        let most = shown.iter().map(|(.., l)| l.count).max().unwrap_or(1);
        let columns = ((most as f64).log10() * f64::from(COLUMNS_PER_DECADE)).floor() as i32;
        let x: Vec<f64> = (0..=columns)
            .map(|i| 10_f64.powf(f64::from(i) / f64::from(COLUMNS_PER_DECADE)))
            .collect();
        let classes = shown
            .into_iter()
            .map(|(_, name, latency)| Class {
                name,
                ns: x.iter().map(|&x| at(&latency.histogram, x)).collect(),
            })
            .collect();
        Self { x, classes }
    }
}

/// The latency that all but one of `x` samples stay within; `None` where there are fewer than `x`.
fn at(histogram: &Histogram<u64>, x: f64) -> Option<u64> {
    (histogram.len() as f64 >= x).then(|| histogram.value_at_quantile(1.0 - 1.0 / x))
}

impl Timeline {
    pub(super) fn new(points: &[Point]) -> Self {
        let step = points.len().div_ceil(MAX_POINTS).max(1);
        let rows: Vec<_> = points.chunks(step).collect();
        let rate = |count: fn(&Point) -> u64| {
            rows.iter()
                .map(|row| row.iter().map(count).sum::<u64>() as f64 / row.len() as f64)
                .collect()
        };
        // Percentiles cannot be averaged: of the seconds in a row, the worst is drawn.
        let worst = |figure: fn(&Point) -> Option<u64>| {
            rows.iter()
                .map(|row| row.iter().filter_map(figure).max())
                .collect()
        };
        Self {
            step_s: step as u64,
            t_s: rows
                .iter()
                .map(|row| seconds(row[0].t_ns) + row.len() as f64 / 2.0)
                .collect(),
            sent: rate(|p| p.sent),
            acked: rate(|p| p.acked),
            delivered: rate(|p| p.delivered),
            clients: rows
                .iter()
                .filter_map(|row| row.iter().map(|p| p.clients).max())
                .collect(),
            p50: worst(|p| p.relay_p50_ns),
            p99: worst(|p| p.relay_p99_ns),
            max: worst(|p| p.relay_max_ns),
        }
    }
}

/// What was before and after the measured phase, if that ever began.
fn phases(result: &RunResult) -> Vec<Phase> {
    let elapsed_s = seconds(result.elapsed_ns);
    let window = result.window;
    if window.start_ns > result.elapsed_ns {
        return Vec::new();
    }
    let (begins_s, ends_s) = (seconds(window.start_ns), seconds(window.end_ns));
    let warm_s = (begins_s - warmup(result).as_secs_f64()).max(0.0);
    let all = [
        ("connect", 0.0, warm_s),
        ("warm-up", warm_s, begins_s),
        ("drain", ends_s, elapsed_s.max(ends_s)),
    ];
    all.into_iter()
        .filter(|(_, from_s, to_s)| to_s > from_s)
        .map(|(name, from_s, to_s)| Phase { name, from_s, to_s })
        .collect()
}

fn warmup(result: &RunResult) -> Duration {
    result
        .scenario
        .resolved
        .pointer("/run/warmup")
        .and_then(|value| value.as_str())
        .and_then(|text| humantime::parse_duration(text).ok())
        .unwrap_or_default()
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::histogram;
    use crate::report::sample;

    #[test]
    fn a_line_ends_where_its_samples_do() {
        let mut h = histogram();
        for ns in 1..=100 {
            h.record(ns).unwrap();
        }
        assert_eq!(at(&h, 1.0), Some(1));
        assert_eq!(at(&h, 2.0), Some(50));
        assert_eq!(at(&h, 100.0), Some(99));
        assert_eq!(at(&h, 100.1), None);
        assert_eq!(at(&histogram(), 1.0), None);
    }

    #[test]
    fn phases_enclose_what_was_measured() {
        let result = RunResult::of(&sample::report(|plan, _| {
            plan.resolved["run"] = serde_json::json!({ "warmup": "1s" });
        }));
        let phases: Vec<_> = phases(&result)
            .into_iter()
            .map(|p| (p.name, p.from_s, p.to_s))
            .collect();
        assert_eq!(
            phases,
            [
                ("connect", 0.0, 1.0),
                ("warm-up", 1.0, 2.0),
                ("drain", 12.0, 12.345)
            ]
        );
    }

    #[test]
    fn a_day_is_drawn_in_a_thousand_points_and_its_worst_second_still_shows() {
        let point = |i: u64| Point {
            t_ns: i * 1_000_000_000,
            sent: 10,
            acked: 10,
            delivered: 100,
            clients: 5,
            relay_p50_ns: None,
            relay_p99_ns: Some(if i == 50_001 { 77_000 } else { 1_000 }),
            relay_max_ns: Some(2_000),
        };
        let points: Vec<_> = (0..86_400).map(point).collect();
        let timeline = Timeline::new(&points);
        assert_eq!(timeline.step_s, 87);
        assert!(timeline.t_s.len() <= MAX_POINTS);
        assert_eq!(timeline.p99.iter().flatten().max(), Some(&77_000));
        assert!(timeline.sent.iter().all(|rate| (rate - 10.0).abs() < 1e-9));
        assert!(timeline.p50.iter().all(Option::is_none));
        assert_eq!(Timeline::new(&points[..30]).step_s, 1);
        assert_eq!(Timeline::new(&[]).t_s.len(), 0);
    }
}
