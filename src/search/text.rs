//! A search in words: the curve of latency against load, and where it ends.

use serde::Serialize;

use super::{Limit, Probe, Search, shown};
use crate::report::style::{Paint, Style, left, right};
use crate::report::{bars, figures};

/// Columns of the value, and of a figure.
const VALUE: usize = 12;
const FIGURE: usize = 11;

/// Columns of the curve.
const BAR: usize = 18;

/// What is known, for a terminal.
#[must_use]
pub fn render(
    vary: &str,
    search: &Search,
    probes: &[Probe],
    interrupted: bool,
    style: Style,
) -> String {
    let mut out = String::new();
    let probes = sorted(probes);
    let mut head = right(&unit(vary), VALUE);
    for name in ["acked", "delivered", "relay p50", "relay p99"] {
        head.push_str(&right(name, FIGURE));
    }
    head.push_str("  ");
    head.push_str(&left("relay p99, log", BAR));
    out.push_str(&style.paint(Paint::Strong, head.trim_end()));
    out.push('\n');
    let p99s = probes.iter().filter_map(|probe| probe.relay_p99_ns);
    let range = (p99s.clone().min().unwrap_or(1), p99s.max().unwrap_or(1));
    for probe in &probes {
        row(probe, range, style, &mut out);
    }
    out.push('\n');
    let (paint, words) = answer(vary, search, &probes, interrupted);
    style.conclusion(&mut out, paint, &words);
    out
}

/// The last key of a path, which names what is varied.
fn unit(vary: &str) -> String {
    vary.rsplit('.').next().unwrap_or(vary).to_owned()
}

/// By load, what held before what did not.
fn sorted(probes: &[Probe]) -> Vec<&Probe> {
    let mut probes: Vec<_> = probes.iter().collect();
    probes.sort_by(|a, b| a.value.total_cmp(&b.value).then(b.held().cmp(&a.held())));
    probes
}

fn row(probe: &Probe, range: (u64, u64), style: Style, out: &mut String) {
    let rate = |rate: Option<f64>| rate.map_or("–".to_owned(), figures::rate);
    let latency = |ns: Option<u64>| ns.map_or("–".to_owned(), figures::latency);
    let mut line = right(&shown(probe.value), VALUE);
    for figure in [
        rate(probe.acked_per_s),
        rate(probe.delivered_per_s),
        latency(probe.relay_p50_ns),
        latency(probe.relay_p99_ns),
    ] {
        line.push_str(&right(&style.text(&figure), FIGURE));
    }
    line.push_str("  ");
    let bar = probe
        .relay_p99_ns
        .map_or(String::new(), |ns| bars::logarithmic(ns, range, BAR, style));
    line.push_str(&left(&bar, BAR));
    out.push_str(line.trim_end());
    out.push('\n');
    if let (Some(limit), Some(reason)) = (probe.limit, &probe.reason) {
        let mark = style.paint(Paint::Bad, "✗");
        let head = format!("{}{mark} ", " ".repeat(VALUE - 1));
        style.paragraph(
            out,
            &head,
            VALUE + 1,
            &format!("{}: {reason}", limit.name()),
        );
    }
}

/// What the search found, and how sure that is.
fn answer(vary: &str, search: &Search, probes: &[&Probe], interrupted: bool) -> (Paint, String) {
    let limit = probes
        .iter()
        .find(|probe| !probe.held() && Some(probe.value) == search.fails())
        .and_then(|probe| probe.limit);
    let stopped = if interrupted { "Interrupted: " } else { "" };
    match (search.holds(), search.fails()) {
        (None, None) => (Paint::Doubt, format!("{stopped}no probe came to its end")),
        (None, Some(fails)) => (
            Paint::Bad,
            format!(
                "{stopped}{vary} = {} does not hold already: start lower, with --from",
                shown(fails)
            ),
        ),
        (Some(holds), None) => (
            Paint::Doubt,
            format!(
                "{stopped}{vary} = {} holds, and nothing higher was tried",
                shown(holds)
            ),
        ),
        (Some(holds), Some(fails)) => {
            let met = match limit {
                Some(Limit::Generator) => {
                    "; the generator is the limit, the target may carry more".to_owned()
                }
                Some(Limit::Inconclusive) => {
                    "; that run said nothing, so it may be higher".to_owned()
                }
                Some(limit) => format!("; the limit is {}", limit.name()),
                None => String::new(),
            };
            let paint = match limit {
                Some(Limit::Generator | Limit::Inconclusive) => Paint::Doubt,
                _ if interrupted => Paint::Doubt,
                _ => Paint::Good,
            };
            (
                paint,
                format!(
                    "{stopped}{vary} = {} holds, {} does not{met}",
                    shown(holds),
                    shown(fails)
                ),
            )
        }
    }
}

/// The search as JSON, schema 1, with a newline at its end.
#[must_use]
pub fn json(vary: &str, search: &Search, probes: &[Probe], interrupted: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Found<'a> {
        schema: u32,
        kind: &'static str,
        chatbench: &'static str,
        vary: &'a str,
        from: f64,
        max: f64,
        precision: f64,
        interrupted: bool,
        holds: Option<f64>,
        fails: Option<f64>,
        limit: Option<Limit>,
        probes: Vec<&'a Probe>,
    }
    let probes = sorted(probes);
    let found = Found {
        schema: 1,
        kind: "search",
        chatbench: env!("CARGO_PKG_VERSION"),
        vary,
        from: search.from,
        max: search.max,
        precision: search.precision,
        interrupted,
        holds: search.holds,
        fails: search.fails,
        limit: probes
            .iter()
            .find(|probe| Some(probe.value) == search.fails)
            .and_then(|probe| probe.limit),
        probes,
    };
    let mut json = serde_json::to_vec_pretty(&found).expect("string keys and plain values");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use insta::assert_snapshot;

    use super::*;

    fn probe(value: f64, p99_ns: u64, limit: Option<Limit>) -> Probe {
        Probe {
            value,
            limit,
            reason: limit.map(|_| "relay p99 < 50ms: it was 73.9 ms".to_owned()),
            verdict: "pass",
            offered_per_s: Some(value),
            acked_per_s: Some(value),
            delivered_per_s: Some(value * 100.0),
            relay_p50_ns: Some(p99_ns / 4),
            relay_p99_ns: Some(p99_ns),
            last_relay_p99_ns: Some(p99_ns * 2),
        }
    }

    fn searched(limit: Limit) -> (Search, Vec<Probe>) {
        let mut search = Search::new(500.0, 1e5, 0.1);
        let probes = vec![
            probe(500.0, 900_000, None),
            probe(1_000.0, 1_300_000, None),
            probe(2_000.0, 4_000_000, None),
            probe(4_000.0, 900_000_000, Some(limit)),
            probe(3_000.0, 20_000_000, None),
            probe(3_500.0, 73_900_000, Some(limit)),
        ];
        for probe in &probes {
            search.record(probe.value, probe.held());
        }
        (search, probes)
    }

    #[test]
    fn a_search_reads_as_expected() {
        let (search, probes) = searched(Limit::Latency);
        let vary = "clients.talkers.rate";
        assert_snapshot!("found", render(vary, &search, &probes, false, Style::FILE));
        let ascii = Style {
            unicode: false,
            ..Style::FILE
        };
        let text = render(vary, &search, &probes, true, ascii);
        assert!(text.is_ascii(), "{text}");
        for line in text.lines() {
            assert!(measure_text_width(line) <= 80, "{line}");
        }
    }

    #[test]
    fn the_answer_claims_no_more_than_is_known() {
        let answers = |search: &Search, probes: &[Probe], interrupted| {
            answer("n", search, &sorted(probes), interrupted).1
        };
        let (search, probes) = searched(Limit::Generator);
        assert_eq!(
            answers(&search, &probes, false),
            "n = 3000 holds, 3500 does not; the generator is the limit, the target may carry more"
        );
        let (search, probes) = searched(Limit::Loss);
        assert_eq!(
            answers(&search, &probes, true),
            "Interrupted: n = 3000 holds, 3500 does not; the limit is loss"
        );
        let new = Search::new(5.0, 10.0, 0.1);
        assert_eq!(
            answers(&new, &[], true),
            "Interrupted: no probe came to its end"
        );
        let mut up = new.clone();
        up.record(5.0, true);
        assert_eq!(
            answers(&up, &[], false),
            "n = 5 holds, and nothing higher was tried"
        );
        let mut down = new;
        down.record(5.0, false);
        assert!(answers(&down, &[], false).contains("does not hold already"));
    }

    #[test]
    fn the_json_has_the_curve_in_order() {
        let (search, probes) = searched(Limit::Latency);
        let found: serde_json::Value =
            serde_json::from_slice(&json("clients.talkers.rate", &search, &probes, false)).unwrap();
        let values: Vec<_> = found["probes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["value"].as_f64().unwrap())
            .collect();
        assert_eq!(values, [500.0, 1_000.0, 2_000.0, 3_000.0, 3_500.0, 4_000.0]);
        assert_eq!(
            (&found["holds"], &found["limit"]),
            (&3_000.0.into(), &"latency".into())
        );
    }
}
