//! The charts of a run's page: latency by percentile, and everything over time.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::chart::{Axis, Chart, Drawing, Line, Marks, Moments, Scale, Span};
use crate::report::result::{Point, RunResult};

/// Points of a timeline beyond which neighbours are drawn as one: more than a screen has columns
/// for, and the page must stay small however long the run.
const MAX_POINTS: usize = 1_000;

/// The least part of a second of which a rate is drawn: the count in a shorter one is mere chance.
const MIN_RATE_S: f64 = 0.1;

/// Columns of the percentile chart for each power of ten.
const COLUMNS_PER_DECADE: i32 = 20;

/// Everything that the page of a run draws.
pub(super) fn drawing(result: &RunResult) -> Drawing {
    let mut charts = vec![percentiles(result)];
    charts.extend(over_time(result));
    let violations = result.violations.iter().map(|kind| Moments {
        says: kind.kind.clone(),
        at: kind.examples.iter().map(|e| seconds(e.at_ns)).collect(),
    });
    let violations = Marks {
        name: "violations".to_owned(),
        shade: None,
        of: violations.collect(),
    };
    let any = !violations.of.is_empty();
    Drawing {
        charts,
        spans: phases(result),
        marks: any.then_some(violations).into_iter().collect(),
    }
}

/// All classes that have samples; samples that had not come are drawn at their lower bounds.
/// Latencies from the actual send are dotted, in the colour of those from the intended one.
fn percentiles(result: &RunResult) -> Chart {
    let shown: Vec<_> = result
        .classes()
        .map(|(class, name, latency)| (class, name, latency.all()))
        .filter(|(.., all)| !all.is_empty())
        .collect();
    let at = columns(shown.iter().map(|(.., all)| all.len()));
    let lines = shown
        .into_iter()
        .enumerate()
        .map(|(i, (class, name, all))| {
            let ns = at.iter().map(|&x| self::at(&all, x));
            let line = |shade| Line::of_ns(name, shade, ns);
            match class {
                "ack" => line(0),
                "relay" => line(1),
                "last_relay" => line(2),
                "spread" => line(3),
                "ack_service" => line(0).dashed([2, 4]),
                "relay_service" => line(1).dashed([2, 4]),
                "send_lag" => line(4).dashed([6, 4]),
                "connect" => line(5).dashed([6, 4]),
                _ => line(i),
            }
        })
        .collect();
    Chart {
        id: "percentiles",
        x: Axis::Percentile,
        y: Scale::Latency,
        height_px: 320,
        dots: false,
        at,
        lines,
    }
}

/// The columns of a percentile chart, up to the last that one of these sample counts reaches.
pub(super) fn columns(counts: impl Iterator<Item = u64>) -> Vec<f64> {
    let most = counts.max().unwrap_or(1).max(1);
    let columns = ((most as f64).log10() * f64::from(COLUMNS_PER_DECADE)).floor() as i32;
    (0..=columns)
        .map(|i| 10_f64.powf(f64::from(i) / f64::from(COLUMNS_PER_DECADE)))
        .collect()
}

/// The latency that all but one of `x` samples stay within; `None` where there are fewer than `x`.
pub(super) fn at(histogram: &Histogram<u64>, x: f64) -> Option<u64> {
    (histogram.len() as f64 >= x).then(|| histogram.value_at_quantile(1.0 - 1.0 / x))
}

/// A second in ns.
pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// Seconds that one point of a timeline of so many seconds stands for.
pub(super) const fn step_s(seconds: usize) -> usize {
    let step = seconds.div_ceil(MAX_POINTS);
    if step == 0 { 1 } else { step }
}

/// When a point of the timeline is over, in seconds: a second after it began, or when the run
/// ended, if that was within it.
fn end_s(point: &Point, run_ns: u64) -> f64 {
    let whole_ns = point.t_ns.saturating_add(SECOND_NS);
    // A run does not end before its last second begins; a result from elsewhere may say so.
    let ends_within = point.t_ns < run_ns && run_ns < whole_ns;
    seconds(if ends_within { run_ns } else { whole_ns })
}

/// The length of a second that the run did not fill, in seconds.
pub(super) fn part_s(point: &Point, run_ns: u64) -> Option<f64> {
    let length_s = end_s(point, run_ns) - seconds(point.t_ns);
    // A length that would be shown as a whole second is one.
    (length_s < 0.9995).then_some(length_s)
}

/// The begin and the end of each row of a timeline, in seconds, if the run ended after `run_ns`.
fn extents(points: &[Point], step_s: usize, run_ns: u64) -> impl Iterator<Item = (f64, f64)> {
    let rows = points.chunks(step_s);
    rows.map(move |row| (seconds(row[0].t_ns), end_s(&row[row.len() - 1], run_ns)))
}

/// Where the points of a timeline are, each in the middle of the time it stands for.
pub(super) fn middles(points: &[Point], step_s: usize, run_ns: u64) -> Vec<f64> {
    extents(points, step_s, run_ns)
        .map(|(from, to)| f64::midpoint(from, to))
        .collect()
}

/// Events per second, by the time that each point really stands for: a run ends within its last
/// second, and fewer events in it are no drop.
pub(super) fn rate(
    points: &[Point],
    step_s: usize,
    run_ns: u64,
    count: fn(&Point) -> u64,
) -> Vec<Option<f64>> {
    let rows = points.chunks(step_s);
    rows.zip(extents(points, step_s, run_ns))
        .map(|(row, (from, to))| {
            let events: f64 = row.iter().map(|point| count(point) as f64).sum();
            // Seconds are whole except the last: this removes rounding errors.
            let length_s = ((to - from) * 1e9).round() / 1e9;
            (length_s >= MIN_RATE_S).then_some(events / length_s)
        })
        .collect()
}

/// Percentiles cannot be averaged: of the seconds that a point stands for, the worst is drawn.
pub(super) fn worst(
    points: &[Point],
    step_s: usize,
    figure: fn(&Point) -> Option<u64>,
) -> Vec<Option<f64>> {
    let rows = points.chunks(step_s);
    rows.map(|row| row.iter().filter_map(figure).max().map(|n| n as f64))
        .collect()
}

/// The last value of the seconds that each point stands for.
fn last_of(points: &[Point], step_s: usize, figure: fn(&Point) -> u64) -> Vec<Option<f64>> {
    let rows = points.chunks(step_s);
    rows.map(|row| row.last().map(|point| figure(point) as f64))
        .collect()
}

fn over_time(result: &RunResult) -> [Chart; 4] {
    let points = &result.timeline;
    let (step, run_ns) = (step_s(points.len()), result.elapsed_ns);
    let at = middles(points, step, run_ns);
    let last_s = points.last().map_or(1.0, |point| end_s(point, run_ns));
    let end_s = phases(result).iter().map(|p| p.to).fold(last_s, f64::max);
    let chart = |id, y, height_px, lines: &[(&str, Vec<Option<f64>>)]| Chart {
        id,
        x: Axis::Time {
            step_s: step as u64,
            end_s,
        },
        y,
        height_px,
        // A line through one point cannot be seen.
        dots: at.len() == 1,
        at: at.clone(),
        lines: lines
            .iter()
            .enumerate()
            .map(|(shade, (name, values))| Line::new(name, shade, values.clone()))
            .collect(),
    };
    let rate = |count| rate(points, step, run_ns, count);
    let worst = |figure| worst(points, step, figure);
    [
        chart(
            "latency",
            Scale::Latency,
            230,
            &[
                ("p50", worst(|p| p.relay_p50_ns)),
                ("p99", worst(|p| p.relay_p99_ns)),
                ("max", worst(|p| p.relay_max_ns)),
            ],
        ),
        chart(
            "deliveries",
            Scale::Amount,
            130,
            &[("delivered/s", rate(|p| p.delivered))],
        ),
        chart(
            "publishes",
            Scale::Amount,
            130,
            &[("sent/s", rate(|p| p.sent)), ("acked/s", rate(|p| p.acked))],
        ),
        // Clients are counted at the end of each second: drawn in the middle, those who left in the
        // run's last second would seem to have left over two seconds.
        Chart {
            at: extents(points, step, run_ns).map(|(_, to)| to).collect(),
            ..chart(
                "clients",
                Scale::Amount,
                110,
                &[("clients", last_of(points, step, |p| p.clients))],
            )
        },
    ]
}

/// The phases before and after the measured one, if that ever began.
fn phases(result: &RunResult) -> Vec<Span> {
    let elapsed_s = seconds(result.elapsed_ns);
    let Some(measured) = result.window.measured() else {
        return Vec::new();
    };
    let (begins_s, ends_s) = (seconds(measured.start), seconds(measured.end));
    let warm_s = (begins_s - warmup(result).as_secs_f64()).max(0.0);
    let all = [
        ("connect", 0.0, warm_s),
        ("warm-up", warm_s, begins_s),
        ("drain", ends_s, elapsed_s.max(ends_s)),
    ];
    all.into_iter()
        .filter(|(_, from, to)| to > from)
        .map(|(name, from, to)| Span { name, from, to })
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

pub(super) fn seconds(ns: u64) -> f64 {
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
        let result = sample::result(|plan, _| {
            plan.resolved["run"] = serde_json::json!({ "warmup": "1s" });
        });
        let phases: Vec<_> = phases(&result)
            .into_iter()
            .map(|p| (p.name, p.from, p.to))
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
        let step = step_s(points.len());
        assert_eq!(step, 87);
        let at = middles(&points, step, u64::MAX);
        assert!(at.len() <= MAX_POINTS);
        assert_eq!(&at[..2], [43.5, 130.5]);
        let p99 = worst(&points, step, |p| p.relay_p99_ns);
        assert_eq!(p99.len(), at.len());
        assert_eq!(p99.iter().flatten().copied().reduce(f64::max), Some(77e3));
        let sent = rate(&points, step, u64::MAX, |p| p.sent);
        assert!(sent.iter().flatten().all(|rate| (rate - 10.0).abs() < 1e-9));
        let p50 = worst(&points, step, |p| p.relay_p50_ns);
        assert!(p50.iter().all(Option::is_none));
        assert_eq!((step_s(30), step_s(0)), (1, 1));
        assert_eq!(middles(&[], 1, 0).len(), 0);
    }

    /// A steady 1,000 per second, ended in the middle of a second: the line stays level to its end.
    #[test]
    fn the_second_in_which_a_run_ends_is_as_long_as_the_run_makes_it() {
        let points = |last: u64| -> Vec<Point> {
            let sent = [1_000, 1_000, 1_000, last];
            let point = |(i, sent): (u64, u64)| Point {
                t_ns: i * SECOND_NS,
                sent,
                acked: 0,
                delivered: 0,
                clients: 0,
                relay_p50_ns: None,
                relay_p99_ns: None,
                relay_max_ns: None,
            };
            (0..).zip(sent).map(point).collect()
        };
        // (sent in the last second, where the run ended, where the last point is, its rate)
        let table = [
            (1_000, 4_000_000_000, 3.5, Some(1_000.0)),
            (250, 3_250_000_000, 3.125, Some(1_000.0)),
            (125, 3_125_000_000, 3.0625, Some(1_000.0)),
            (9, 3_015_625_000, 3.007_812_5, None),
            // An impossible end is ignored.
            (500, 2_000_000_000, 3.5, Some(500.0)),
        ];
        for (last, run_ns, at, rate) in table {
            let points = points(last);
            let rates = super::rate(&points, 1, run_ns, |p| p.sent);
            let expected = [Some(1_000.0), Some(1_000.0), Some(1_000.0), rate];
            assert_eq!(rates, expected, "ended at {run_ns}");
            assert_eq!(middles(&points, 1, run_ns)[3], at, "ended at {run_ns}");
            assert_eq!(middles(&points, 1, run_ns)[0], 0.5, "the first is whole");
        }
        // Drawn by the two, the last point is of 1.25 s.
        let rates = rate(&points(250), 2, 3_250_000_000, |p| p.sent);
        assert_eq!(rates, [Some(1_000.0), Some(1_000.0)]);
    }

    /// The last of them is 0 when the run has ended, and not before.
    #[test]
    fn clients_are_drawn_at_the_end_of_each_second() {
        let mut result = sample::result(|_, _| ());
        result.elapsed_ns = 11_250_000_000;
        result.timeline[11].clients = 0;
        let [.., clients] = over_time(&result);
        assert_eq!(clients.at[..2], [1.0, 2.0]);
        assert_eq!(clients.at[10..], [11.0, 11.25]);
        assert_eq!(clients.lines[0].values[10..], [Some(104.0), Some(0.0)]);
        let of_two = last_of(&result.timeline, 2, |p| p.clients);
        assert_eq!(of_two[4..], [Some(104.0), Some(0.0)]);
    }

    #[test]
    fn the_time_axis_ends_with_the_run() {
        let mut result = sample::result(|_, _| ());
        let end_of = |result: &RunResult| match over_time(result)[0].x {
            Axis::Time { end_s, .. } => end_s,
            _ => panic!("no time axis"),
        };
        assert_eq!(
            end_of(&result),
            12.345,
            "the drain goes on after the last point"
        );
        (result.elapsed_ns, result.window.end_ns) = (11_250_000_000, Some(11_200_000_000));
        assert_eq!(end_of(&result), 11.25);
    }
}
