//! Latencies in HdrHistogram's own file formats: `.hgrm`, the table by percentile that its plotter
//! draws, and `.hlog`, the histograms themselves over time for its log tools.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use jiff::Timestamp;

use super::result::RunResult;
use crate::measure::Stretch;
use crate::measure::stretches::{CLASSES, Encoded};

/// Rows for each halving of the distance to 100 %, as in HdrHistogram's own tools.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Nanoseconds in the unit of both formats, a millisecond: the plotter's default.
const NS_PER_MS: f64 = 1e6;

/// The table of one class of latency, in ms.
///
/// The last line has no fourth column, for it would divide by zero; that is how readers know the
/// end of the distribution.
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let ms = |ns: f64| ns / NS_PER_MS;
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("a String takes all");
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let value = ms(step.value_iterated_to() as f64);
        let quantile = step.quantile_iterated_to();
        // An f64 holds counts exactly to 2^53; a quantile of them is exact to the last sample.
        let count = (step.quantile() * histogram.len() as f64).round() as u64;
        if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            put(format_args!(
                "{value:12.6} {quantile:14.12} {count:10} {inverse:14.2}\n"
            ));
        } else {
            put(format_args!("{value:12.6} {quantile:14.12} {count:10}\n"));
        }
    }
    let (mean, deviation, max) = if histogram.is_empty() {
        (0.0, 0.0, 0.0)
    } else {
        (histogram.mean(), histogram.stdev(), histogram.max() as f64)
    };
    put(format_args!(
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]\n",
        ms(mean),
        ms(deviation)
    ));
    put(format_args!(
        "#[Max     = {:12.6}, Total count    = {:12}]\n",
        ms(max),
        histogram.len()
    ));
    put(format_args!(
        "#[Buckets = {:12}, SubBuckets     = {:12}]\n",
        histogram.buckets(),
        2 * 10_u64.pow(histogram.sigfig().into()).next_power_of_two()
    ));
    out
}

/// All classes of latency that have samples, tagged with the class. The [`CLASSES`] that are kept
/// over time have an interval for each of `stretches`, and their sum is the result's; the others
/// have one over the measured phase. Values are in ns, maxima in ms.
///
/// One class stands there a second time without a tag, for readers that ask for none: HdrHistogram's
/// own `HistogramLogProcessor` fails on a log without such a line.
#[must_use]
pub fn hlog(result: &RunResult, stretches: &[Stretch]) -> Vec<u8> {
    let mut log = Log {
        out: heading(result),
        untagged: untagged(result),
    };
    // A run that never came to measuring still has connected.
    let begins = Duration::from_nanos(result.window.measured().map_or(0, |phase| phase.start));
    let length = result.window.length();
    for (class, _, latency) in result.classes() {
        let over_time = CLASSES.contains(&class) && !stretches.is_empty();
        if !latency.histogram.is_empty() && !over_time {
            log.put(class, begins, length, &Encoded::new(&latency.histogram));
        }
    }
    let run = Duration::from_nanos(result.elapsed_ns);
    for stretch in stretches {
        let begins = Duration::from_secs(stretch.begins_s);
        let whole = Duration::from_secs(stretch.seconds);
        // The run ends within its last second.
        let length = match run.checked_sub(begins) {
            Some(rest) if !rest.is_zero() => rest.min(whole),
            _ => whole,
        };
        for (i, class) in CLASSES.into_iter().enumerate() {
            if let Some(encoded) = stretch.encoded(i) {
                log.put(class, begins, length, encoded);
            }
        }
    }
    log.out
}

/// What a log begins with.
fn heading(result: &RunResult) -> Vec<u8> {
    let began = result
        .started
        .parse::<Timestamp>()
        .map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
    let mut out = Vec::new();
    let mut unused = V2Serializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!(
            "[chatbench {}: {}, in ns, one tag a class]",
            result.chatbench,
            result.scenario.name.escape_default()
        ))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(NS_PER_MS);
    builder
        .begin_log_with(&mut out, &mut unused)
        // What readers of CSV look for; those of logs skip it.
        .and_then(|mut log| log.write_comment("[Columns: \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"]"))
        .expect("a Vec takes all");
    out
}

/// The class that a reader without a tag gets: relays, or what comes next to them.
fn untagged(result: &RunResult) -> Option<&str> {
    let filled = |class: &str| {
        let latency = result.latency_ns.get(class);
        latency.is_some_and(|latency| latency.count > 0)
    };
    let mut classes = result.classes().map(|(class, ..)| class);
    let preferred = ["relay", "ack"].into_iter().find(|class| filled(class));
    preferred.or_else(|| classes.find(|class| filled(class)))
}

/// The lines of a log.
struct Log<'a> {
    out: Vec<u8>,
    untagged: Option<&'a str>,
}

impl Log<'_> {
    fn put(&mut self, class: &str, begins: Duration, length: Duration, histogram: &Encoded) {
        let line = format!(
            "{:.3},{:.3},{:.3},{}\n",
            begins.as_secs_f64(),
            length.as_secs_f64(),
            histogram.max_ns as f64 / NS_PER_MS,
            BASE64.encode(compressed(&histogram.v2))
        );
        if let Some(tag) = Tag::new(class) {
            self.out.extend(format!("Tag={},", tag.as_str()).bytes());
            self.out.extend(line.bytes());
        }
        if self.untagged == Some(class) {
            self.out.extend(line.bytes());
        }
    }
}

/// What a compressed histogram in V2 form begins with.
const COMPRESSED_V2: u32 = 0x1c84_9314;

/// A histogram in V2 form as logs hold it: deflated, behind eight bytes that say so. The crate's
/// own serialiser takes a histogram, and those that are kept over time would have to be unpacked
/// for it; and it compresses as hard as it can, which takes five times as long for a tenth less.
fn compressed(v2: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + v2.len());
    bytes.extend(COMPRESSED_V2.to_be_bytes());
    bytes.extend([0; 4]);
    let mut deflate = ZlibEncoder::new(bytes, Compression::fast());
    let mut bytes = deflate
        .write_all(v2)
        .and_then(|()| deflate.finish())
        .expect("a Vec takes all");
    let length = u32::try_from(bytes.len() - 8).expect("a histogram is some KiB");
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
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
        let intervals = IntervalLogIterator::new(&log)
            .filter(|entry| matches!(entry, Ok(LogEntry::Interval(_))));
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

    /// What HdrHistogram's plotter (`plotFiles.html`) takes from a table: of every line that does
    /// not begin with `#` and has four columns that are numbers, the fourth and the first. It puts
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
}
