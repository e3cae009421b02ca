//! A search in words: the curve of latency against load, and where it ends.

use super::probe::{RELAY_P50, RELAY_P99};
use super::{Found, Limit, Probe, shown};
use crate::report::style::{Paint, Style, left, right};
use crate::report::{bars, figures};

/// Columns of the value, and of a figure.
const VALUE: usize = 12;
const FIGURE: usize = 11;

/// Columns of the curve.
const BAR: usize = 18;

/// A search for a terminal.
#[must_use]
pub fn render(found: &Found, style: Style) -> String {
    let mut out = String::new();
    let mut head = right(found.unit(), VALUE);
    for name in figures_shown(style, ["acked", "delivered", "relay p50", "relay p99"]) {
        head.push_str(&right(name, FIGURE));
    }
    if has_curve(style) {
        head.push_str("  ");
        head.push_str(&left("relay p99, log", BAR));
    }
    out.push_str(&style.paint(Paint::Strong, head.trim_end()));
    out.push('\n');
    let p99s = found.probes.iter().filter_map(|probe| probe.relay_p99_ns);
    let range = (p99s.clone().min().unwrap_or(1), p99s.max().unwrap_or(1));
    for probe in &found.probes {
        row(probe, range, style, &mut out);
    }
    out.push('\n');
    let (paint, words) = answer(found);
    style.conclusion(&mut out, paint, &words);
    out
}

fn row(probe: &Probe, range: (u64, u64), style: Style, out: &mut String) {
    let rate = |rate| figures::known(rate, figures::rate);
    let mut line = right(&shown(probe.value), VALUE);
    let all = [
        rate(probe.acked_per_s),
        rate(probe.delivered_per_s),
        probe.latency(RELAY_P50),
        probe.latency(RELAY_P99),
    ];
    for figure in figures_shown(style, all) {
        line.push_str(&right(&style.text(&figure), FIGURE));
    }
    if has_curve(style)
        && let Some(ns) = probe.relay_p99_ns
    {
        line.push_str("  ");
        line.push_str(&bars::logarithmic(ns, range, BAR, style));
    }
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

/// Whether there is room for the curve.
const fn has_curve(style: Style) -> bool {
    style.width >= VALUE + 4 * FIGURE + 2 + BAR
}

/// The figures of a row that there is room for, the last ones first.
fn figures_shown<T>(style: Style, all: [T; 4]) -> impl Iterator<Item = T> {
    let room = (style.width - VALUE) / FIGURE;
    all.into_iter().skip(4_usize.saturating_sub(room))
}

/// The answer of a search, and how sure it is.
pub(super) fn answer(found: &Found) -> (Paint, String) {
    let vary = &found.vary;
    let unsure = matches!(
        found.limit,
        Some(Limit::Generator | Limit::Inconclusive) | None
    );
    let (paint, words) = match (found.holds, found.fails) {
        (None, None) => (Paint::Doubt, "no probe came to its end".to_owned()),
        (None, Some(fails)) => {
            let met = match found.limit {
                Some(Limit::Generator) => {
                    "the generator is the limit, and nothing is known about the target".to_owned()
                }
                Some(Limit::Inconclusive) | None => "that run said nothing".to_owned(),
                Some(limit) => format!("the limit is {}: start lower, with --from", limit.name()),
            };
            let paint = if unsure { Paint::Doubt } else { Paint::Bad };
            let fails = shown(fails);
            (
                paint,
                format!("{vary} = {fails} does not hold already; {met}"),
            )
        }
        (Some(holds), None) => (
            Paint::Doubt,
            format!(
                "{vary} = {} holds, and nothing higher was tried",
                shown(holds)
            ),
        ),
        (Some(holds), Some(fails)) => {
            let met = match found.limit {
                Some(Limit::Generator) => {
                    "; the generator is the limit, the target may carry more".to_owned()
                }
                Some(Limit::Inconclusive) => {
                    "; that run said nothing, so it may be higher".to_owned()
                }
                Some(limit) => format!("; the limit is {}", limit.name()),
                None => String::new(),
            };
            let paint = if unsure || found.interrupted {
                Paint::Doubt
            } else {
                Paint::Good
            };
            let (holds, fails) = (shown(holds), shown(fails));
            (
                paint,
                format!("{vary} = {holds} holds, {fails} does not{met}"),
            )
        }
    };
    let stopped = if found.interrupted {
        "Interrupted: "
    } else {
        ""
    };
    (paint, format!("{stopped}{words}"))
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use insta::assert_snapshot;

    use super::*;
    use crate::search::sample;

    #[test]
    fn a_search_reads_as_expected() {
        let mut found = sample::found(Limit::Latency);
        assert_snapshot!("found", render(&found, Style::FILE));
        let ascii = Style {
            unicode: false,
            ..Style::FILE
        };
        found.interrupted = true;
        let text = render(&found, ascii);
        assert!(text.is_ascii(), "{text}");
        for width in 40..=80 {
            let text = render(&found, Style { width, ..ascii });
            for line in text.lines() {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn the_answer_claims_no_more_than_is_known() {
        let says = |change: sample::Change| {
            let mut found = sample::found(Limit::Latency);
            found.vary = "n".to_owned();
            change(&mut found);
            answer(&found).1
        };
        let table: [(sample::Change, &str); 7] = [
            (
                |f| f.limit = Some(Limit::Generator),
                "n = 3000 holds, 3500 does not; the generator is the limit, the target may carry more",
            ),
            (
                |f| (f.limit, f.interrupted) = (Some(Limit::Loss), true),
                "Interrupted: n = 3000 holds, 3500 does not; the limit is loss",
            ),
            (
                |f| (f.holds, f.fails, f.interrupted) = (None, None, true),
                "Interrupted: no probe came to its end",
            ),
            (
                |f| (f.holds, f.fails) = (Some(5.0), None),
                "n = 5 holds, and nothing higher was tried",
            ),
            (
                |f| (f.holds, f.fails) = (None, Some(5.0)),
                "n = 5 does not hold already; the limit is latency: start lower, with --from",
            ),
            (
                |f| (f.holds, f.limit) = (None, Some(Limit::Generator)),
                "n = 3500 does not hold already; the generator is the limit, and nothing is known \
                 about the target",
            ),
            (
                |f| (f.holds, f.limit) = (None, Some(Limit::Inconclusive)),
                "n = 3500 does not hold already; that run said nothing",
            ),
        ];
        for (change, words) in table {
            assert_eq!(says(change), words);
        }
    }
}
