//! The table at the end of several scenarios run one after another.

use console::{measure_text_width, truncate_str};

use super::style::{Paint, Style, left, right};
use super::{RunResult, Verdict, figures};

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

/// The gap between two columns.
const GAP: usize = 2;

/// The narrowest that names are cut to.
const NAME_MIN: usize = 12;

/// One line per result, and the overall verdict; empty without results.
#[must_use]
pub fn render(results: &[RunResult], style: Style) -> String {
    let Some(worst) = results.iter().map(RunResult::verdict).max() else {
        return String::new();
    };
    let mut rows: Vec<_> = results.iter().map(|result| row(result, style)).collect();
    rows.insert(0, HEAD.map(|name| style.paint(Paint::Strong, name)));
    let columns = columns(&rows, style);

    let mut out = String::new();
    for row in &rows {
        out.push_str(&line(row, &columns, style));
        out.push('\n');
    }
    out.push('\n');
    let tally = Verdict::ALL.into_iter().filter_map(|verdict| {
        let same = results.iter().filter(|result| result.verdict() == verdict);
        let n = same.count();
        (n > 0).then(|| format!("{n} {verdict}"))
    });
    let head = format!(
        "{}   ",
        style.paint(worst.paint(), &worst.name().to_uppercase())
    );
    style.flow(&mut out, &head, 7, " · ", tally);
    out
}

fn row(result: &RunResult, style: Style) -> [String; HEAD.len()] {
    let verdict = result.verdict();
    let counts = result.counts.map(|counts| counts.verified);
    let counts = counts.unwrap_or_default();
    let violations = result.violations.iter().map(|kind| kind.count).sum();
    let p99 = |class: &str| {
        let latency = result.latency_ns.get(class);
        let p99 = latency.and_then(|latency| latency.at(99.0));
        style.text(&figures::at_least(p99)).into_owned()
    };
    [
        style.text(&result.scenario.name).into_owned(),
        style.paint(verdict.paint(), verdict.name()),
        figures::short_count(counts.sent),
        figures::short_count(counts.delivered),
        figures::short_count(violations),
        p99("ack"),
        p99("relay"),
    ]
}

/// The columns that there is room for, each with its width. Where there is too little, names give
/// way, then the figures that say least.
fn columns(rows: &[[String; HEAD.len()]], style: Style) -> Vec<(usize, usize)> {
    let mut columns: Vec<_> = (0..HEAD.len())
        .map(|column| {
            let widths = rows.iter().map(|row| measure_text_width(&row[column]));
            (column, widths.max().unwrap_or(0))
        })
        .collect();
    let others = |columns: &[(usize, usize)]| -> usize {
        columns[1..].iter().map(|(_, width)| width + GAP).sum()
    };
    for name in ["sent", "ack p99", "delivered", "relay p99"] {
        if others(&columns) + NAME_MIN <= style.width {
            break;
        }
        columns.retain(|(column, _)| HEAD[*column] != name);
    }
    let room = style.width.saturating_sub(others(&columns));
    columns[0].1 = columns[0].1.min(room.max(NAME_MIN));
    columns
}

fn line(row: &[String; HEAD.len()], columns: &[(usize, usize)], style: Style) -> String {
    let mut line = String::new();
    for &(column, width) in columns {
        let cell = &row[column];
        match column {
            0 => line.push_str(&left(&truncate_str(cell, width, &style.text("…")), width)),
            1 => line.push_str(&(" ".repeat(GAP) + &left(cell, width))),
            _ => line.push_str(&right(cell, width + GAP)),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::report::sample;
    use crate::verify::kind::Kind;

    fn results() -> Vec<RunResult> {
        vec![
            sample::result(|_, _| ()),
            sample::result(|plan, outcome| {
                plan.name = "a-name-that-nobody-would-give-a-scenario".to_owned();
                outcome.findings.violation(Kind::LostRelay, sample::example);
                outcome.findings.counts.delivered = 481_919_996;
            }),
            sample::result(|plan, outcome| {
                plan.name = "silence".to_owned();
                outcome.measured.ack.reset();
                outcome.measured.relay.reset();
            }),
        ]
    }

    #[test]
    fn several_scenarios_end_in_one_table() {
        assert_snapshot!("table", render(&results(), Style::FILE));
        assert_eq!(render(&[], Style::FILE), "");
    }

    #[test]
    fn what_is_outstanding_is_in_the_table_as_late_as_it_is_at_least() {
        let hung = sample::result(|_, outcome| {
            let relays = &mut outcome.measured.censored.relay;
            relays.record_n(5_000_000_000, 50_000).unwrap();
        });
        let table = render(&[hung], Style::FILE);
        assert!(table.contains("≥5.00 s"), "{table}");
    }

    #[test]
    fn the_table_fits_and_its_columns_stand_below_each_other() {
        for style in [
            Style::FILE,
            Style {
                width: 60,
                ..Style::FILE
            },
            Style {
                width: 40,
                ..Style::FILE
            },
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
            let table = render(&results(), style);
            let lines: Vec<_> = table.lines().take(4).map(measure_text_width).collect();
            assert!(
                lines.iter().all(|&width| width == lines[0]),
                "{lines:?}\n{table}"
            );
            assert!(lines[0] <= style.width, "{table}");
        }
    }
}
