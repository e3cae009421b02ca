//! Several scenarios run one after another end in one table.

use console::{measure_text_width, truncate_str};

use super::style::{Paint, Style, left, right};
use super::{Report, Verdict, figures};
use crate::measure::percentile::percentile;

/// The columns, the name's first; the figures, from the third on, are aligned on the right.
const HEAD: [&str; 7] = [
    "scenario",
    "verdict",
    "sent",
    "delivered",
    "violations",
    "ack p99",
    "relay p99",
];

/// Between two columns.
const GAP: usize = 2;

/// The narrowest that names are cut to.
const NAME_MIN: usize = 12;

/// A line a report, and what they come to; empty without reports.
#[must_use]
pub fn render(reports: &[Report], style: Style) -> String {
    let Some(worst) = reports.iter().map(|report| report.verdict).max() else {
        return String::new();
    };
    let mut rows: Vec<_> = reports.iter().map(|report| row(report, style)).collect();
    rows.insert(0, HEAD.map(|name| style.paint(Paint::Strong, name)));
    let widths = widths(&rows, style);

    let mut out = String::new();
    for row in &rows {
        out.push_str(&line(row, &widths, style));
        out.push('\n');
    }
    out.push('\n');
    let tally = Verdict::ALL.into_iter().filter_map(|verdict| {
        let n = reports
            .iter()
            .filter(|report| report.verdict == verdict)
            .count();
        (n > 0).then(|| format!("{n} {verdict}"))
    });
    let head = format!(
        "{}   ",
        style.paint(paint(worst), &worst.name().to_uppercase())
    );
    style.flow(&mut out, &head, 7, " · ", tally);
    out
}

fn row(report: &Report, style: Style) -> [String; HEAD.len()] {
    let outcome = &report.outcome;
    let counts = &outcome.findings.counts;
    let p99 = |histogram| {
        let text = percentile(histogram, 99.0).map_or("–".to_owned(), figures::latency);
        style.text(&text).into_owned()
    };
    [
        style.text(&report.name).into_owned(),
        style.paint(paint(report.verdict), report.verdict.name()),
        figures::short_count(counts.sent),
        figures::short_count(counts.delivered),
        figures::short_count(outcome.findings.violation_count()),
        p99(&outcome.measured.ack),
        p99(&outcome.measured.relay),
    ]
}

/// What each column needs; names give way where it is more than there is.
fn widths(rows: &[[String; HEAD.len()]], style: Style) -> [usize; HEAD.len()] {
    let mut widths = [0; HEAD.len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    let others: usize = widths[1..].iter().map(|width| width + GAP).sum();
    widths[0] = widths[0].min(style.width.saturating_sub(others).max(NAME_MIN));
    widths
}

fn line(row: &[String; HEAD.len()], widths: &[usize; HEAD.len()], style: Style) -> String {
    let [name, verdict, figures @ ..] = row;
    let name = truncate_str(name, widths[0], &style.text("…")).into_owned();
    let gap = " ".repeat(GAP);
    let mut line = left(&name, widths[0]) + &gap + &left(verdict, widths[1]);
    for (figure, width) in figures.iter().zip(&widths[2..]) {
        line.push_str(&right(figure, width + GAP));
    }
    line
}

const fn paint(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Pass => Paint::Good,
        Verdict::Fail => Paint::Bad,
        Verdict::Threshold | Verdict::Inconclusive | Verdict::Interrupted => Paint::Doubt,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::report::sample;
    use crate::verify::kind::Kind;

    fn reports() -> Vec<Report> {
        vec![
            sample::report(|_, _| ()),
            sample::report(|plan, outcome| {
                plan.name = "a-name-that-nobody-would-give-a-scenario".to_owned();
                outcome.findings.violation(Kind::LostRelay, sample::example);
                outcome.findings.counts.delivered = 481_919_996;
            }),
            sample::report(|plan, outcome| {
                plan.name = "silence".to_owned();
                outcome.measured.ack.reset();
                outcome.measured.relay.reset();
            }),
        ]
    }

    #[test]
    fn several_scenarios_end_in_one_table() {
        assert_snapshot!("table", render(&reports(), Style::FILE));
        assert_eq!(render(&[], Style::FILE), "");
    }

    #[test]
    fn the_table_fits_and_its_columns_stand_below_each_other() {
        for style in [
            Style::FILE,
            Style {
                unicode: false,
                ..Style::FILE
            },
            Style {
                width: 120,
                colour: true,
                ..Style::FILE
            },
        ] {
            let table = render(&reports(), style);
            let lines: Vec<_> = table.lines().take(4).map(measure_text_width).collect();
            assert!(
                lines.iter().all(|&width| width == lines[0]),
                "{lines:?}\n{table}"
            );
            assert!(lines[0] <= style.width, "{table}");
        }
    }
}
