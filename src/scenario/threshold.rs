//! `[thresholds]`: what the measured figures must meet. `p99 < 20ms` on a latency, `delivered >=
//! 50000` on the rates.
//!
//! `rooms = ["p99 < 50ms"]` is the relays' latency in each room: the worst of them must meet it.
//!
//! Acks and relays are measured by group of clients, too: `relay.listeners = ["p99 < 20ms"]`. As
//! such a metric is a table then, `"*"` in it is what an array would have been: all clients.

use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, Span, nearest};
use super::plan::{Comparison, GROUPS_APART, Metric, OfGroup, RateName, Stat, Threshold};
use super::section::{Expected, Section, mismatch};
use super::tree::{Entry, Node, Table, Value};

/// Stands for all clients beside the names of groups.
pub(super) const ALL_CLIENTS: &str = "*";

/// The metrics, by the key they have in a scenario and in a result.
pub(super) const METRICS: [(&str, Metric); 8] = [
    ("ack", Metric::Ack),
    ("relay", Metric::Relay),
    ("last_relay", Metric::LastRelay),
    ("spread", Metric::Spread),
    ("send_lag", Metric::SendLag),
    ("connect", Metric::Connect),
    ("rooms", Metric::Rooms),
    ("rates", Metric::Rates),
];

pub(super) const RATES: [(&str, RateName); 3] = [
    ("sent", RateName::Sent),
    ("acked", RateName::Acked),
    ("delivered", RateName::Delivered),
];

pub(super) const FIGURES: [(&str, Stat); 4] = [
    ("min", Stat::Min),
    ("mean", Stat::Mean),
    ("max", Stat::Max),
    ("stddev", Stat::Stddev),
];

/// The figures of a latency, for the error about an unknown one.
const LATENCY_FIGURES: &str =
    "min, mean, max, stddev, p50, p90, p99, p99.9, p99.99 (or any other percentile)";

/// Reads every threshold of the section and where it stands, metric by metric. `groups` are the
/// names of the groups of clients, the observers' last.
pub(super) fn read(section: &mut Section<'_>, groups: &[&str]) -> Vec<(Threshold, Span)> {
    let mut thresholds = Vec::new();
    for (key, metric) in METRICS {
        let Some(entry) = section.entry(key) else {
            continue;
        };
        let path = section.path_of(key);
        let resolved = match &entry.node.value {
            Value::Table(table) => by_group(section, metric, entry, table, groups, &mut thresholds),
            _ => exprs(section, metric, None, &path, &entry.node, &mut thresholds),
        };
        if let Some(resolved) = resolved {
            section.resolve(key, resolved);
        }
    }
    thresholds
}

/// Reads the thresholds of one metric, group by group, and gives them as they were written.
fn by_group(
    section: &Section<'_>,
    metric: Metric,
    entry: &Entry,
    table: &Table,
    groups: &[&str],
    thresholds: &mut Vec<(Threshold, Span)>,
) -> Option<Json> {
    let path = section.path_of(&entry.key);
    if !matches!(metric, Metric::Ack | Metric::Relay) {
        let expected = Expected {
            what: "an array, in square brackets".to_owned(),
            help: Some("only `ack` and `relay` are measured by group of clients".to_owned()),
        };
        section.problem(mismatch(&path, &entry.node, &expected));
        return None;
    }
    let mut resolved = Map::new();
    for entry in &table.entries {
        let group = match position(&entry.key, groups) {
            Ok(position) => position.map(|position| OfGroup {
                name: entry.key.clone(),
                position,
            }),
            Err(Expected { what, help }) => {
                let title = format!("`{path}.{}`: {what}", entry.key);
                let label = help.unwrap_or_default();
                section.problem(Diagnostic::error(title).at(&entry.key_span, label));
                continue;
            }
        };
        let path = format!("{path}.{}", entry.key);
        if let Some(exprs) = exprs(
            section,
            metric,
            group.as_ref(),
            &path,
            &entry.node,
            thresholds,
        ) {
            resolved.insert(entry.key.clone(), exprs);
        }
    }
    (!resolved.is_empty()).then_some(Json::Object(resolved))
}

/// The position of the group called `name`; `None` for all clients.
fn position(name: &str, groups: &[&str]) -> Result<Option<usize>, Expected> {
    if name == ALL_CLIENTS {
        return Ok(None);
    }
    let Some(position) = groups.iter().position(|group| *group == name) else {
        let known = groups.iter().copied().chain([ALL_CLIENTS]);
        return Err(Expected {
            what: "no group of clients is called so".to_owned(),
            help: Some(match nearest(name, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}, and \"*\" for all clients", groups.join(", ")),
            }),
        });
    };
    if groups.len() > GROUPS_APART && position >= GROUPS_APART - 1 {
        return Err(Expected {
            what: "the group has no figures of its own".to_owned(),
            help: Some(format!(
                "of more than {GROUPS_APART} groups only the first {} have",
                GROUPS_APART - 1
            )),
        });
    }
    Ok(Some(position))
}

/// Reads an array of thresholds, and gives them as they were written.
fn exprs(
    section: &Section<'_>,
    metric: Metric,
    group: Option<&OfGroup>,
    path: &str,
    node: &Node,
    thresholds: &mut Vec<(Threshold, Span)>,
) -> Option<Json> {
    let mut exprs = Vec::new();
    for (path, node) in section.elements_of(path, node) {
        match threshold(metric, node) {
            Ok(mut threshold) => {
                threshold.group = group.cloned();
                exprs.push(threshold.expr.clone());
                thresholds.push((threshold, node.span.clone()));
            }
            Err(expected) => section.problem(mismatch(&path, node, &expected)),
        }
    }
    (!exprs.is_empty()).then(|| exprs.into())
}

fn threshold(metric: Metric, node: &Node) -> Result<Threshold, Expected> {
    let form = if metric == Metric::Rates {
        "a threshold such as \"delivered >= 50000\""
    } else {
        "a threshold such as \"p99 < 20ms\""
    };
    let Value::String(expr) = &node.value else {
        return Err(form.into());
    };
    let (name, op, limit) = split(expr).ok_or(form)?;
    let (stat, limit) = if metric == Metric::Rates {
        (rate_name(name)?, rate_limit(limit)?)
    } else if metric == Metric::Rooms {
        (figure_of_room(name)?, latency_limit(limit)?)
    } else {
        (figure(name)?, latency_limit(limit)?)
    };
    Ok(Threshold {
        metric,
        group: None,
        stat,
        op,
        limit,
        expr: expr.clone(),
    })
}

/// `p99 < 20ms` into `p99`, `<` and `20ms`.
fn split(expr: &str) -> Option<(&str, Comparison, &str)> {
    let (name, rest) = expr.split_at(expr.find(['<', '>'])?);
    let (op, limit) = [
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ]
    .into_iter()
    .find_map(|(sign, op)| rest.strip_prefix(sign).map(|limit| (op, limit)))?;
    Some((name.trim(), op, limit.trim()))
}

fn rate_name(name: &str) -> Result<Stat, Expected> {
    let names = RATES.map(|(name, _)| name);
    RATES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, rate)| Stat::Rate(*rate))
        .ok_or_else(|| Expected {
            what: format!("one of the rates {}, not `{name}`", names.join(", ")),
            help: nearest(name, names).map(|meant| format!("did you mean `{meant}`?")),
        })
}

fn figure(name: &str) -> Result<Stat, Expected> {
    let known = FIGURES.iter().find(|(known, _)| *known == name);
    let percentile = || {
        let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
        let plain = name[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.');
        (plain && percent > 0.0 && percent < 100.0).then_some(Stat::Percentile(percent))
    };
    known
        .map(|(_, stat)| *stat)
        .or_else(percentile)
        .ok_or_else(|| Expected {
            what: format!("a figure of a latency, not `{name}`"),
            help: Some(match nearest(name, FIGURES.map(|(name, _)| name)) {
                Some(meant) => format!("did you mean `{meant}`? There are {LATENCY_FIGURES}"),
                None => format!("there are {LATENCY_FIGURES}"),
            }),
        })
}

/// A figure that each room has: a percentile or the greatest.
fn figure_of_room(name: &str) -> Result<Stat, Expected> {
    match figure(name)? {
        stat @ (Stat::Percentile(_) | Stat::Max) => Ok(stat),
        _ => Err(Expected {
            what: format!("a figure of a room, not `{name}`"),
            help: Some("rooms have max, p50, p99 and any other percentile".to_owned()),
        }),
    }
}

fn latency_limit(limit: &str) -> Result<f64, Expected> {
    match humantime::parse_duration(limit) {
        Ok(duration) => Ok(duration.as_nanos() as f64),
        Err(_) if limit.parse::<f64>().is_ok() => Err(Expected {
            what: "a latency with its unit".to_owned(),
            help: Some(format!("did you mean `{limit}ms`?")),
        }),
        Err(_) => Err(format!("a latency such as `20ms`, not `{limit}`").into()),
    }
}

fn rate_limit(limit: &str) -> Result<f64, Expected> {
    match limit.replace('_', "").parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err(format!("a plain number a second, not `{limit}`").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(metric: Metric, expr: &str) -> Result<(Stat, Comparison, f64), String> {
        threshold(metric, &Node::from(serde_json::Value::from(expr)))
            .map(|t| (t.stat, t.op, t.limit))
            .map_err(|expected| expected.what)
    }

    #[test]
    fn the_grammar_takes_every_figure_and_comparison() {
        use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
        for (expr, expected) in [
            ("p99 < 20ms", (Stat::Percentile(99.0), Less, 2e7)),
            ("p99.99<=1s", (Stat::Percentile(99.99), LessOrEqual, 1e9)),
            ("min > 5us", (Stat::Min, Greater, 5e3)),
            (
                "mean >= 1s 500ms",
                (Stat::Mean, GreaterOrEqual, 1_500_000_000.0),
            ),
            ("stddev < 100ns", (Stat::Stddev, Less, 100.0)),
            (" max  <  1m ", (Stat::Max, Less, 6e10)),
        ] {
            assert_eq!(parse(Metric::Relay, expr), Ok(expected), "{expr}");
        }
        assert_eq!(
            parse(Metric::Rates, "delivered >= 50_000.5"),
            Ok((Stat::Rate(RateName::Delivered), GreaterOrEqual, 50_000.5))
        );
    }

    #[test]
    fn what_is_no_threshold_is_refused() {
        for expr in [
            "",
            "p99",
            "p99 20ms",
            "p99 = 20ms",
            "p99 == 20ms",
            "< 20ms",
            "p99 < 20",
            "p99 < ",
            "p99 < -20ms",
            "p99 < 20ms ms",
            "p0 < 1s",
            "p100 < 1s",
            "p+99 < 1s",
            "pNaN < 1s",
            "p1e1 < 1s",
            "median < 1s",
            "delivered > 5ms",
        ] {
            assert!(parse(Metric::Ack, expr).is_err(), "{expr}");
        }
        for expr in ["min < 5ms", "mean < 5ms", "stddev < 5ms", "delivered > 5"] {
            assert!(parse(Metric::Rooms, expr).is_err(), "{expr}");
        }
        assert!(parse(Metric::Rooms, "p99.9 < 5ms").is_ok());
        for expr in [
            "p99 < 5",
            "sent > 5ms",
            "sent > inf",
            "sent > -1",
            "sent > NaN",
        ] {
            assert!(parse(Metric::Rates, expr).is_err(), "{expr}");
        }
    }
}
