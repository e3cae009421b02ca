//! HdrHistogram's own formats, read back as its tools read them.

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;
use crate::measure::histogram;
use crate::report::sample;

/// The intervals of a log: class, beginning, length, histogram. What has no tag is of class "".
fn read(log: &[u8]) -> Vec<(String, Duration, Duration, Histogram<u64>)> {
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(log) {
        match entry.unwrap() {
            LogEntry::StartTime(time) | LogEntry::BaseTime(time) => {
                assert_eq!(time, Duration::from_millis(1_767_268_800_250));
            }
            LogEntry::Interval(interval) => {
                let bytes = BASE64.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> = Deserializer::new()
                    .deserialize(&mut bytes.as_slice())
                    .unwrap();
                let max_ms = histogram.max() as f64 / 1e6;
                assert!((interval.max() - max_ms).abs() < 0.001);
                let class = interval.tag().map_or("", |tag| tag.as_str()).to_owned();
                let (begins, length) = (interval.start_timestamp(), interval.duration());
                intervals.push((class, begins, length, histogram));
            }
        }
    }
    intervals
}

#[test]
fn the_log_reads_back_as_what_was_measured_a_second_at_a_time() {
    let report = sample::report(|_, _| ());
    let result = report.result.clone();
    let stretches = &report.outcome.measured.stretches;
    assert!(stretches.len() >= 10, "{}", stretches.len());
    let intervals = read(&hlog(&result, stretches));
    for (class, _, latency) in result.classes().filter(|(.., l)| l.count > 0) {
        let of_class: Vec<_> = intervals.iter().filter(|(c, ..)| c == class).collect();
        let mut sum = histogram();
        for (.., part) in &of_class {
            crate::measure::add(&mut sum, part);
        }
        assert!(sum == latency.histogram, "{class}");
        if let Some(i) = CLASSES.iter().position(|kept| *kept == class) {
            let kept = stretches.iter().filter(|s| s.encoded(i).is_some());
            let kept: Vec<_> = kept.collect();
            assert_eq!(of_class.len(), kept.len(), "{class}");
            for ((_, begins, length, _), stretch) in of_class.iter().zip(kept) {
                assert_eq!(begins.as_secs_f64(), stretch.begins_s as f64);
                let run = report.outcome.elapsed.as_secs_f64();
                let rest = run - begins.as_secs_f64();
                let expected = rest.min(stretch.seconds as f64);
                assert!((length.as_secs_f64() - expected).abs() < 1e-6, "{class}");
            }
        } else {
            let [(_, begins, length, _)] = of_class[..] else {
                panic!("{class}: {}", of_class.len());
            };
            let measured = (Duration::from_secs(2), Duration::from_secs(10));
            assert_eq!((*begins, *length), measured);
        }
    }
}

/// A result that was read back has no histograms over time.
#[test]
fn without_stretches_a_class_is_one_interval() {
    let result = sample::result(|_, _| ());
    let intervals = read(&hlog(&result, &[]));
    let classes = intervals.iter().map(|(class, ..)| class.as_str());
    let classes: Vec<_> = classes.filter(|class| !class.is_empty()).collect();
    let filled = result.classes().filter(|(.., latency)| latency.count > 0);
    let filled: Vec<_> = filled.map(|(class, ..)| class).collect();
    assert!(filled.len() >= 6, "{filled:?}");
    assert_eq!(classes, filled);
}

#[test]
fn whoever_asks_for_no_tag_gets_the_relays_or_what_there_is() {
    type Change = fn(&mut RunResult);
    let table: [(&str, Change); 3] = [
        ("relay", |_| ()),
        ("ack", |r| r.latency_ns.get_mut("relay").unwrap().count = 0),
        ("spread", |r| {
            r.latency_ns
                .retain(|class, _| class == "spread" || class == "connect");
        }),
    ];
    for (class, change) in table {
        let report = sample::report(|_, _| ());
        let mut result = report.result.clone();
        change(&mut result);
        let intervals = read(&hlog(&result, &report.outcome.measured.stretches));
        let of = |class: &str| -> Vec<_> {
            let of = intervals.iter().filter(|(c, ..)| c == class);
            of.map(|(_, begins, length, h)| (begins, length, h))
                .collect()
        };
        assert!(!of("").is_empty() && of("") == of(class), "{class}");
    }
}

/// Rates by an interval's length are then those of the time that there was.
#[test]
fn the_interval_in_which_a_run_ends_ends_with_it() {
    let report = sample::report(|_, outcome| {
        outcome.elapsed = Duration::from_millis(11_250);
    });
    let stretches = &report.outcome.measured.stretches;
    let intervals = read(&hlog(&report.result, stretches));
    let relays: Vec<_> = intervals.iter().filter(|(c, ..)| c == "relay").collect();
    let lengths: Vec<_> = relays.iter().map(|i| i.2.as_millis()).collect();
    let (last, others) = lengths.split_last().unwrap();
    assert_eq!(*last, 250);
    assert!(others.iter().all(|length| *length == 1_000), "{others:?}");
}

#[test]
fn a_run_without_a_sample_gives_a_log_without_an_interval() {
    let report = sample::report(|_, outcome| {
        let none = crate::measure::Collector::new(crate::measure::Window::NEVER, 1);
        outcome.measured = none.finish(None);
    });
    let log = hlog(&report.result, &[]);
    let intervals =
        IntervalLogIterator::new(&log).filter(|entry| matches!(entry, Ok(LogEntry::Interval(_))));
    assert_eq!(intervals.count(), 0);
}

/// Value, percentile, count, and whether there is a fourth column.
fn rows(table: &str) -> Vec<(f64, f64, u64, bool)> {
    table
        .lines()
        .skip(2)
        .take_while(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let number = |i: usize| columns[i].parse::<f64>().unwrap();
            (
                number(0),
                number(1),
                columns[2].parse().unwrap(),
                columns.len() == 4,
            )
        })
        .collect()
}

#[test]
fn the_table_goes_from_the_least_to_the_greatest_sample() {
    let mut latencies = histogram();
    for i in 1..=10_000_u64 {
        latencies.record(i * 1_000).unwrap();
    }
    let table = hgrm(&latencies);
    let rows = rows(&table);
    assert!(
        rows.windows(2)
            .all(|w| w[0].0 <= w[1].0 && w[0].1 <= w[1].1 && w[0].2 <= w[1].2)
    );
    let (max, all, count, inverse) = *rows.last().unwrap();
    assert!((max - latencies.max() as f64 / 1e6).abs() < 1e-6);
    assert_eq!((all, count, inverse), (1.0, 10_000, false));
    let median = rows.iter().find(|row| row.1 >= 0.5).unwrap();
    assert!((4.99..5.02).contains(&median.0), "{median:?}");
    assert!(rows.iter().filter(|row| row.3).count() + 1 >= rows.len() - 1);
    assert!(table.contains("Total count    =        10000]"), "{table}");
    assert!(table.contains("SubBuckets     =         2048]"), "{table}");
}

/// Everything that HdrHistogram's plotter (`plotFiles.html`) takes from a table: of every line that
/// does not begin with `#` and has four columns that are numbers, the fourth and the first. It puts
/// the rows of several files side by side *by their place*, not by their percentile.
fn plotted(table: &str) -> Vec<(f64, f64)> {
    let lines = table.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    lines
        .filter_map(|line| {
            let columns: Vec<_> = line.split(' ').filter(|c| !c.is_empty()).collect();
            let [value, _, _, x] = columns[..] else {
                return None;
            };
            Some((x.parse().ok()?, value.parse().ok()?))
        })
        .collect()
}

#[test]
fn the_plotter_finds_every_row_but_the_last_and_can_put_two_tables_side_by_side() {
    let (mut few, mut many) = (histogram(), histogram());
    for i in 1..=100_u64 {
        few.record(i * 10_000).unwrap();
    }
    for i in 1..=100_000_u64 {
        many.record(50_000 + i * i / 100).unwrap();
    }
    let tables = [&few, &many].map(hgrm);
    let [few, many] = [&tables[0], &tables[1]].map(|table| plotted(table));
    for (table, plotted) in [(&tables[0], &few), (&tables[1], &many)] {
        let rows = rows(table);
        assert_eq!(plotted.len() + 1, rows.len(), "{table}");
        assert!(plotted.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        for ((x, ms), row) in plotted.iter().zip(&rows) {
            assert_eq!(*ms, row.0);
            assert!((x * (1.0 - row.1) - 1.0).abs() < 0.005, "{x} at {}", row.1);
        }
    }
    assert!(few.len() > 10 && many.len() > few.len());
    let same = few.iter().zip(&many).all(|(a, b)| a.0 == b.0);
    assert!(
        same,
        "one file's rows would stand at the other's percentiles"
    );
}

#[test]
fn an_empty_table_is_a_table() {
    let table = hgrm(&histogram());
    assert_eq!(rows(&table).len(), 0, "{table}");
    assert!(table.ends_with("2048]\n"));
}
