//! Single values: durations, sizes, rates, counts, choices. Each reader takes a node and gives
//! the value, or says what it expected.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::nearest;
use super::section::Expected;
use super::tree::{Node, Value};

/// The longest duration a key takes. A load message states its due time in 54 bits of ns, which
/// last 208 days.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The highest rate a key takes, messages or connections per second: far above what any target
/// does, far below where due times would fall together.
pub(super) const MAX_RATE: f64 = 1e8;

pub(super) fn string(node: &Node) -> Result<String, Expected> {
    match &node.value {
        Value::String(text) => Ok(text.clone()),
        _ => Err("a string".into()),
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, Expected> {
    match node.value {
        Value::Boolean(truth) => Ok(truth),
        _ => Err("true or false".into()),
    }
}

/// A whole number within `range`.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, Expected>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |node| {
        let number = match node.value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        };
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            format!("a whole number from {} to {}", range.start(), range.end()).into()
        })
    }
}

/// A rate above zero.
pub(super) fn rate(node: &Node) -> Result<f64, Expected> {
    rate_or_silence(node)
        .ok()
        .filter(|rate| *rate > 0.0)
        .ok_or_else(|| format!("a rate above 0, at most {MAX_RATE} a second").into())
}

/// A rate that may be zero.
pub(super) fn rate_or_silence(node: &Node) -> Result<f64, Expected> {
    let rate = match node.value {
        Value::Integer(number) => number as f64,
        Value::Float(number) => number,
        _ => f64::NAN,
    };
    if (0.0..=MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("a rate from 0 to {MAX_RATE} a second").into())
    }
}

/// New connections per second: one in a quarter of an hour at least, so that the last of a million
/// clients has a time that can be told.
pub(super) fn connect_rate(node: &Node) -> Result<f64, Expected> {
    const LEAST: f64 = 0.001;
    rate(node)
        .ok()
        .filter(|rate| *rate >= LEAST)
        .ok_or_else(|| format!("a rate from {LEAST} to {MAX_RATE} a second").into())
}

/// A duration, which may be zero.
pub(super) fn duration(node: &Node) -> Result<Duration, Expected> {
    let text = match &node.value {
        Value::String(text) => text.as_str(),
        _ => "",
    };
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("a duration of 30 days at most".into()),
        Err(_) => Err(Expected {
            what: "a duration with its unit, such as \"250ms\", \"10s\" or \"1m30s\"".to_owned(),
            help: match node.value {
                Value::Integer(number) => Some(format!("if seconds are meant: \"{number}s\"")),
                _ => None,
            },
        }),
    }
}

/// A duration above zero.
pub(super) fn some_time(node: &Node) -> Result<Duration, Expected> {
    match duration(node)? {
        Duration::ZERO => Err("a duration above 0".into()),
        some => Ok(some),
    }
}

/// A duration, or `"none"`.
pub(super) fn duration_or_none(node: &Node) -> Result<Option<Duration>, Expected> {
    match &node.value {
        Value::String(text) if text == "none" => Ok(None),
        _ => match some_time(node) {
            Ok(duration) => Ok(Some(duration)),
            Err(expected) => Err(Expected {
                what: format!("{}, or \"none\"", expected.what),
                ..expected
            }),
        },
    }
}

/// A number of bytes within `range`: `64`, `"64"`, `"4KiB"`, `"1MB"`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, Expected> {
    move |node| {
        let bytes = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => bytes(text),
            _ => None,
        };
        bytes.filter(|n| range.contains(n)).ok_or_else(|| {
            format!(
                "a size from {} to {} bytes, such as 64 or \"4KiB\"",
                range.start(),
                range.end()
            )
            .into()
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// One of several words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Node) -> Result<T, Expected> {
    move |node| {
        let word = match &node.value {
            Value::String(word) => word.as_str(),
            _ => "",
        };
        let found = choices.iter().find(|(name, _)| *name == word);
        found.map(|(_, value)| *value).ok_or_else(|| Expected {
            what: one_of(choices.iter().map(|(name, _)| *name)),
            help: nearest(word, choices.iter().map(|(name, _)| *name))
                .map(|meant| format!("did you mean {meant:?}?")),
        })
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = words.into_iter().map(|word| format!("{word:?}")).collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(json: serde_json::Value) -> Node {
        Node::from(json)
    }

    #[test]
    fn durations_carry_their_unit() {
        let ms = |text: &str| duration(&node(json!(text))).map(|d| d.as_millis());
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(ms("30days"), Ok(2_592_000_000));
        for wrong in [
            "",
            "10",
            "s",
            "-1s",
            "10 parsecs",
            "31days",
            "99999999years",
        ] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
        assert!(duration(&node(json!(10))).is_err());
        assert!(some_time(&node(json!("0s"))).is_err());
        assert_eq!(duration_or_none(&node(json!("none"))), Ok(None));
    }

    #[test]
    fn sizes_are_bytes_or_carry_their_unit() {
        let size = |json| size(48..=65_536)(&node(json));
        assert_eq!(size(json!(64)), Ok(64));
        assert_eq!(size(json!("4KiB")), Ok(4096));
        assert_eq!(size(json!("4 kB")), Ok(4000));
        assert_eq!(size(json!("64B")), Ok(64));
        for wrong in [
            json!(47),
            json!(65_537),
            json!(-64),
            json!(64.0),
            json!("KiB"),
            json!("4Kib"),
            json!("99999999999999999999"),
            json!("18446744073709551615MiB"),
            json!(true),
        ] {
            assert!(size(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_finite_and_above_zero() {
        assert_eq!(rate(&node(json!(0.2))), Ok(0.2));
        assert_eq!(rate(&node(json!(500))), Ok(500.0));
        let float = |value| Node {
            span: 0..0,
            value: Value::Float(value),
        };
        for wrong in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, 1e8 + 1.0] {
            assert!(rate(&float(wrong)).is_err(), "{wrong}");
        }
        for wrong in [0.0, 1e-300, 0.000_99, f64::NAN, 1e9] {
            assert!(connect_rate(&float(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(connect_rate(&float(0.001)), Ok(0.001));
        assert_eq!(rate_or_silence(&float(0.0)), Ok(0.0));
        assert!(rate(&node(json!("500"))).is_err());
    }

    #[test]
    fn a_choice_names_all_and_the_nearest() {
        let read = choice(&[("poisson", 1), ("constant", 2)]);
        assert_eq!(read(&node(json!("constant"))), Ok(2));
        let expected = read(&node(json!("poison"))).unwrap_err();
        assert_eq!(expected.what, "\"poisson\" or \"constant\"");
        assert_eq!(expected.help.as_deref(), Some("did you mean \"poisson\"?"));
    }
}
