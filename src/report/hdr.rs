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
/// One class stands there a second time without a tag, for readers that ask for none:
/// HdrHistogram's own `HistogramLogProcessor` fails on a log without such a line.
#[must_use]
pub fn hlog(result: &RunResult, stretches: &[Stretch]) -> Vec<u8> {
    let mut log = Log {
        out: heading(result),
        untagged: untagged(result),
    };
    // A run that never measured still has connect latencies.
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

/// The head of a log.
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
        // Readers of CSV look for this line; those of logs skip it.
        .and_then(|mut log| log.write_comment("[Columns: \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"]"))
        .expect("a Vec takes all");
    out
}

/// The class that a reader without a tag gets: relays, or the most similar class that there is.
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

/// The first number of a compressed histogram in V2 form.
const COMPRESSED_V2: u32 = 0x1c84_9314;

/// A histogram in V2 form as logs hold it: deflated, after eight bytes that say so. The crate's
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
mod tests;
