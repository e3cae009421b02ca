//! A comparison as a table: on a terminal, or in a pull request.

use super::{Change, Comparison, Row, Side, percent};
use crate::report::figures;
use crate::report::markdown::{code, plain};
use crate::report::style::{Paint, Style, left, right};

/// Columns of a figure's name, and of a value.
const NAME: usize = 24;
const VALUE: usize = 11;

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
    let head = format!(
        "{}{}{}{}{}",
        left("figure", NAME),
        right("base", VALUE),
        right("new", VALUE),
        right("change", VALUE),
        right("noise band", VALUE)
    );
    out.push_str(&style.paint(Paint::Strong, &head));
    out.push('\n');
    for row in &comparison.rows {
        let cells = cells(row);
        out.push_str(&left(&style.text(&row.name), NAME));
        for cell in &cells {
            out.push_str(&right(&style.text(cell), VALUE));
        }
        match row.change {
            Change::Worse => out.push_str(&format!("  {}", style.paint(Paint::Bad, "worse"))),
            Change::Better => out.push_str(&format!("  {}", style.paint(Paint::Good, "better"))),
            Change::None | Change::Unknown => (),
        }
        out.push('\n');
    }
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
    out.push_str("\n| figure | base | new | change | noise band | |\n|:--|--:|--:|--:|--:|:--|\n");
    for row in &comparison.rows {
        let [base, new, change, noise] = cells(row);
        let mark = match row.change {
            Change::Worse => "**worse**",
            Change::Better => "better",
            Change::None | Change::Unknown => "",
        };
        let name = plain(&row.name);
        out.push_str(&format!(
            "| {name} | {base} | {new} | {change} | {noise} | {mark} |\n"
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

/// Base, new, change and the band of noise, as every form of the table has them.
pub(in crate::report) fn cells(row: &Row) -> [String; 4] {
    let show = |figure: Option<f64>| figure.map_or("–".to_owned(), |f| row.unit.show(f));
    let (change, noise) = match row.difference {
        Some(share) => (
            format!(
                "{}{}",
                if share < 0.0 { "−" } else { "+" },
                percent(share.abs())
            ),
            format!("±{}", percent(row.band)),
        ),
        None => ("–".to_owned(), "–".to_owned()),
    };
    [show(row.base), show(row.new), change, noise]
}

pub(in crate::report) fn conclusion(comparison: &Comparison<'_>) -> (Paint, String) {
    let names: Vec<_> = comparison
        .regressions()
        .map(|row| row.name.as_str())
        .collect();
    match names.len() {
        0 if comparison.is_inconclusive() => (
            Paint::Doubt,
            "Inconclusive: a run that nothing can be said about".to_owned(),
        ),
        0 => (Paint::Good, "No regression".to_owned()),
        1 => (Paint::Bad, format!("1 regression: {}", names[0])),
        n => (Paint::Bad, format!("{n} regressions: {}", names.join(", "))),
    }
}
