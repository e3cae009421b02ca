//! Figures as people read them: three significant digits, which is what a histogram holds.

use std::time::Duration;

use crate::measure::censored::AtLeast;

/// A count, its digits in groups of three: `515 000`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count in at most nine columns: `9 999 999`, then `10.0 M`.
#[must_use]
pub fn short_count(n: u64) -> String {
    if n < 10_000_000 {
        return count(n);
    }
    scaled(n as f64, 1_000.0, &["", " k", " M", " G", " T", " P", " E"])
}

/// A latency in at most seven columns up to a quarter of an hour: `118 µs`, `4.10 ms`, `0 ns`.
#[must_use]
pub fn latency(ns: u64) -> String {
    if ns == 0 {
        return "0 ns".to_owned();
    }
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    scaled(ns as f64, 1_000.0, &[" ns", " µs", " ms", " s"])
}

/// A figure as `shown` has it; `–` where there is none.
pub fn known<T>(figure: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    figure.map_or("–".to_owned(), shown)
}

/// A moment of the run: `4.211 s`.
#[must_use]
pub fn moment(at_ns: u64) -> String {
    format!("{:.3} s", at_ns as f64 / 1e9)
}

/// A share, in whole percent: `45 %`.
#[must_use]
pub fn share(of: f64) -> String {
    format!("{:.0} %", of * 100.0)
}

/// A latency that may be more than it is known to be: `1.20 ms`, `≥5.20 s`, `–` where there is
/// none.
#[must_use]
pub fn at_least(latency: Option<AtLeast>) -> String {
    match latency {
        None => "–".to_owned(),
        Some(AtLeast { ns, open: false }) => self::latency(ns),
        Some(AtLeast { ns: 0, .. }) => "–".to_owned(), // as if nothing were known
        Some(AtLeast { ns, open: true }) => format!("≥{}", self::latency(ns)),
    }
}

/// Two latencies in at most 17 columns, the unit once where it is the same: `490–494 µs`.
#[must_use]
pub fn latency_range(low_ns: u64, high_ns: u64) -> String {
    let (low, high) = (latency(low_ns), latency(high_ns));
    if low == high {
        return low;
    }
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number}–{high}"),
        _ => format!("{low} – {high}"),
    }
}

/// A rate: `500/s`, `51.5 k/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    let text = scaled(per_second, 1_000.0, &["", " k", " M", " G"]);
    format!("{}/s", trimmed(&text))
}

/// An amount of memory or of data: `6.11 MiB`.
#[must_use]
pub fn bytes(n: f64) -> String {
    trimmed(&scaled(n, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]))
}

/// Data per second: `1.20 MiB/s`.
#[must_use]
pub fn volume(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// The length of a phase: `250 ms`, `10 s`, `2m 30s`.
#[must_use]
pub fn span(duration: Duration) -> String {
    if duration >= Duration::from_secs(120) {
        return humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    }
    if duration.is_zero() {
        return "0 s".to_owned();
    }
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    trimmed(&latency(ns))
}

/// `value` with three significant digits, in the first unit in which it is less than `step`.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // A value that would round up to a whole step belongs to the next unit: 999.6 µs is 1.00 ms.
    while value >= step - 0.5 {
        let Some(next) = units.next() else { break };
        value /= step;
        unit = next;
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

/// `text` without trailing zeros: `10.0 s` is `10 s`.
fn trimmed(text: &str) -> String {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_come_in_groups_of_three() {
        let table = [
            (0, "0"),
            (999, "999"),
            (1_000, "1 000"),
            (515_000, "515 000"),
            (1_234_567, "1 234 567"),
        ];
        for (n, text) in table {
            assert_eq!(count(n), text);
        }
        assert_eq!(short_count(9_999_999), "9 999 999");
        assert_eq!(short_count(481_919_996), "482 M");
        assert_eq!(short_count(u64::MAX), "18.4 E");
    }

    #[test]
    fn latencies_have_three_digits_and_the_nearest_unit() {
        let table = [
            (0, "0 ns"),
            (1, "1 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (118_400, "118 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (4_100_000, "4.10 ms"),
            (12_345_678, "12.3 ms"),
            (60_000_000_000, "60.0 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (ns, text) in table {
            assert_eq!(latency(ns), text, "{ns}");
        }
    }

    #[test]
    fn a_range_names_its_unit_once() {
        let table = [
            (490_000, 494_000, "490–494 µs"),
            (999_000, 1_020_000, "999 µs – 1.02 ms"),
            (5_000, 5_001, "5.00 µs"),
            (0, 900, "0–900 ns"),
        ];
        for (low, high, text) in table {
            assert_eq!(latency_range(low, high), text);
        }
    }

    #[test]
    fn rates_bytes_and_spans_say_no_more_than_they_know() {
        let rates = [
            (0.0, "0/s"),
            (0.25, "0.25/s"),
            (500.0, "500/s"),
            (499.97, "500/s"),
            (8_000.0, "8 k/s"),
            (51_500.0, "51.5 k/s"),
            (47.0e6, "47 M/s"),
        ];
        for (per_second, text) in rates {
            assert_eq!(rate(per_second), text, "{per_second}");
        }
        let sizes = [
            (0.0, "0 B"),
            (1_023.0, "1023 B"),
            (1_024.0, "1 KiB"),
            (6.4e6, "6.1 MiB"),
        ];
        for (n, text) in sizes {
            assert_eq!(bytes(n), text, "{n}");
        }
        let spans = [
            (0, "0 s"),
            (250, "250 ms"),
            (1_000, "1 s"),
            (10_000, "10 s"),
            (90_000, "90 s"),
            (150_400, "2m 30s"),
        ];
        for (ms, text) in spans {
            assert_eq!(span(Duration::from_millis(ms)), text, "{ms}");
        }
    }

    proptest! {
        /// A figure is shown to within half a unit of its third digit.
        #[test]
        fn a_latency_reads_back_within_three_digits(ns in 1u64..900_000_000_000) {
            let text = latency(ns);
            prop_assert!(text.chars().count() <= 7, "{text}");
            let (number, unit) = text.split_once(' ').unwrap();
            let factor = match unit {
                "ns" => 1.0,
                "µs" => 1e3,
                "ms" => 1e6,
                _ => 1e9,
            };
            let shown = number.parse::<f64>().unwrap() * factor;
            prop_assert!((shown - ns as f64).abs() <= ns as f64 * 0.005_001, "{ns} as {text}");
        }
    }
}
