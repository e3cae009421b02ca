//! A comparison as a table: on a terminal, or in a pull request.

use super::{Change, Comparison, Outcome, Row, Side, percent};
use crate::report::columns::{Align, Columns, Listed};
use crate::report::figures;
use crate::report::markdown::{code, plain};
use crate::report::style::{Paint, Style, left};

/// Columns of a figure's name and the fewest of it, of a value, and of an interval.
const NAME: usize = 24;
const LEAST_NAME: usize = 20;
const VALUE: usize = 10;
const INTERVAL: usize = 14;

/// The comparison for a terminal, its last line ended.
#[must_use]
pub fn render(comparison: &Comparison<'_>, style: Style) -> String {
    let mut out = String::new();
    for (label, side) in [("base", comparison.base), ("new", comparison.new)] {
        let head = left(&style.paint(Paint::Faint, label), 6);
        let items = [side.name.clone(), runs(side)];
        let items: Vec<_> = items.iter().map(|item| style.text(item)).collect();
        style.flow(&mut out, &head, 6, " · ", &items);
    }
    out.push('\n');
    let mut table = Columns::new("figure", NAME, LEAST_NAME);
    for head in ["base", "new", "change"] {
        table.column(head, VALUE, Align::Right, Listed::Named);
    }
    table.column("90 % within", INTERVAL, Align::Right, Listed::Named);
    table.column("outcome", 0, Align::Left, Listed::Bare);
    for row in &comparison.rows {
        let (paint, word) = word(row.judged.outcome);
        let figures = cells(row).map(|cell| style.text(&cell).into_owned());
        let cells = figures.into_iter().chain([style.paint(paint, word)]);
        table.row(&style.text(&row.name), cells.collect());
    }
    table.render(style, &mut out);
    out.push('\n');
    for caveat in &comparison.caveats {
        let head = left(&style.paint(Paint::Doubt, "note"), 6);
        style.paragraph(&mut out, &head, 6, caveat);
    }
    if !comparison.caveats.is_empty() {
        out.push('\n');
    }
    let (paint, words) = conclusion(comparison);
    style.conclusion(&mut out, paint, &words);
    out
}

/// The comparison as GitHub-flavoured Markdown.
#[must_use]
pub fn markdown(comparison: &Comparison<'_>) -> String {
    let (_, words) = conclusion(comparison);
    let mut out = format!("**{}**\n\n", plain(&words));
    for (label, side) in [("base", comparison.base), ("new", comparison.new)] {
        out.push_str(&format!(
            "- {label}: {} · {}\n",
            code(&side.name),
            plain(&runs(side))
        ));
    }
    out.push_str(
        "\n| figure | base | new | change | 90 % within | outcome |\n|:--|--:|--:|--:|--:|:--|\n",
    );
    for row in &comparison.rows {
        let [base, new, change, interval] = cells(row);
        let (paint, word) = word(row.judged.outcome);
        let mark = if paint == Paint::Bad { "**" } else { "" };
        let name = plain(&row.name);
        out.push_str(&format!(
            "| {name} | {base} | {new} | {change} | {interval} | {mark}{word}{mark} |\n"
        ));
    }
    if !comparison.caveats.is_empty() {
        out.push('\n');
    }
    for caveat in &comparison.caveats {
        out.push_str(&format!("> {}\n", code(caveat)));
    }
    out
}

pub(in crate::report) fn runs(side: &Side) -> String {
    let plural = if side.runs.len() == 1 { "" } else { "s" };
    format!(
        "{} run{plural} · {}",
        figures::count(side.runs.len() as u64),
        side.verdicts().join(", ")
    )
}

/// The outcome of a figure in a word.
pub(in crate::report) const fn word(outcome: Outcome) -> (Paint, &'static str) {
    match outcome {
        Outcome::Worse => (Paint::Bad, "worse"),
        Outcome::Better => (Paint::Good, "better"),
        Outcome::Same => (Paint::Faint, "same"),
        Outcome::TooNoisy => (Paint::Doubt, "too noisy"),
        Outcome::Undecided => (Paint::Doubt, "undecided"),
        Outcome::OneSided => (Paint::Doubt, "one side"),
    }
}

/// Base, new, change and its interval, as every form of the table has them.
pub(in crate::report) fn cells(row: &Row) -> [String; 4] {
    let show = |figure: Option<f64>, at_least| match figure {
        None => "–".to_owned(),
        Some(figure) if at_least => format!("≥{}", row.unit.show(figure)),
        Some(figure) => row.unit.show(figure),
    };
    let (change, interval) = match row.judged.change {
        Some(Change {
            share, low, high, ..
        }) => (
            signed(share, true),
            format!("{}…{} %", signed(low, false), signed(high, false)),
        ),
        None => ("–".to_owned(), "–".to_owned()),
    };
    let base = show(row.judged.base, row.judged.base_at_least);
    [
        base,
        show(row.judged.new, row.judged.new_at_least),
        change,
        interval,
    ]
}

/// A share with its sign, in percent; with one more digit below 10 %.
fn signed(share: f64, alone: bool) -> String {
    let unit = if alone { " %" } else { "" };
    let sign = if share < 0.0 { "−" } else { "+" };
    let percent = share.abs() * 100.0;
    if percent >= 9.95 {
        format!("{sign}{percent:.0}{unit}")
    } else {
        format!("{sign}{percent:.1}{unit}")
    }
}

/// The conclusion of a comparison.
pub(in crate::report) fn conclusion(comparison: &Comparison<'_>) -> (Paint, String) {
    let names: Vec<_> = comparison
        .regressions()
        .map(|row| row.name.as_str())
        .collect();
    let undecided = comparison.undecided().count();
    match names.len() {
        0 if comparison.is_inconclusive() => (
            Paint::Doubt,
            "Inconclusive: a run that nothing can be said about".to_owned(),
        ),
        0 if undecided > 0 => (
            Paint::Doubt,
            format!(
                "Inconclusive: {} of {} figures cannot be told from these runs; no regression \
                 among the others",
                undecided,
                comparison.rows.len()
            ),
        ),
        0 => (
            Paint::Good,
            format!(
                "No regression: every figure is better, or the same within {}",
                percent(comparison.terms.tolerance)
            ),
        ),
        1 => (Paint::Bad, format!("1 regression: {}", names[0])),
        n => (Paint::Bad, format!("{n} regressions: {}", names.join(", "))),
    }
}
