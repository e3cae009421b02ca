//! The page of a comparison: what changed, as a table, and the sides drawn over each other.
//!
//! A side of several runs is drawn as it is compared: the median of its runs, and the range
//! between the least and the greatest of them around it.

mod drawing;

use maud::{Markup, html};

use super::judged::shortened;
use super::{chart, document};
use crate::report::compare::{Comparison, Outcome, Row, Side, cells, conclusion, runs, word};
use crate::report::figures;
use crate::report::style::Paint;
use drawing::{CLASSES, drawing, since_start_s, whole_seconds};

/// The page, complete: one base, and whatever it is compared with.
///
/// # Panics
///
/// If there is no comparison.
#[must_use]
pub fn render(comparisons: &[Comparison<'_>]) -> String {
    let base = comparisons[0].base;
    let name = &base.runs[0].scenario.name;
    let mut sides = vec![("base".to_owned(), base)];
    for (i, comparison) in comparisons.iter().enumerate() {
        let label = match comparisons.len() {
            1 => "new".to_owned(),
            _ => format!("new {}", i + 1),
        };
        sides.push((label, comparison.new));
    }
    let (paint, word) = verdict(comparisons);
    let body = html! {
        header {
            div.title {
                span.verdict.(paint) { (word) }
                h1 { (name) ", compared" }
            }
            @if let Some(description) = &base.runs[0].scenario.description {
                p.question { (description) }
            }
            (participants(&sides))
        }
        main {
            @for (comparison, (label, _)) in comparisons.iter().zip(&sides[1..]) {
                (changes(comparison, label))
            }
            (violations(&sides))
            section {
                h2 { "Latency by percentile" }
                p.note {
                    "From the moment a message was due. Of several runs the line is their median, \
                     the band around it reaches from the least to the greatest. What had not come \
                     when a run stopped listening is drawn as late as it was by then."
                }
                @for (_, id, says) in CLASSES {
                    (chart(id, &format!("{says}, a line a side, both axes logarithmic")))
                }
            }
            @if sides.iter().flat_map(|(_, side)| &side.runs).any(|run| !whole_seconds(run).is_empty()) {
                section {
                    h2 { "Over time" }
                    p.note {
                        "Whole seconds of the measured phase, from its first on."
                        @if sides.iter().any(|(_, side)| any_violation(side)) {
                            " ▼ marks a violation, in the colour of its side."
                        }
                    }
                    (chart("p99", "99th percentile of relay latency over time, a line a side"))
                    (chart("deliveries", "Deliveries a second over time, a line a side"))
                }
            }
        }
    };
    let title = format!("{name} compared: {word}");
    let version = env!("CARGO_PKG_VERSION");
    document(&title, version, &body, &drawing(&sides))
}

/// The one word over all comparisons, and how it is painted.
fn verdict(comparisons: &[Comparison<'_>]) -> (&'static str, &'static str) {
    let any = |wanted: Paint| comparisons.iter().any(|c| conclusion(c).0 == wanted);
    if any(Paint::Bad) {
        ("fail", "REGRESSION")
    } else if any(Paint::Doubt) {
        ("inconclusive", "INCONCLUSIVE")
    } else {
        ("pass", "NO REGRESSION")
    }
}

/// The sides that are compared.
fn participants(sides: &[(String, &Side)]) -> Markup {
    html! {
        div.scroll { table.stack {
            thead { tr {
                th scope="col" { "side" } th scope="col" { "result" } th scope="col" { "runs" }
                th scope="col" { "first run" } th scope="col" { "target" }
                th scope="col" { "machine" } th scope="col" { "chatbench" }
            } }
            tbody { @for (label, side) in sides { @let run = &side.runs[0]; tr {
                th scope="row" { (label) }
                td.name data-head="result" { (side.name) }
                td data-head="runs" { (runs(side)) }
                td data-head="first run" { time datetime=(run.started) { (run.started) } }
                td data-head="target" { @if run.target.embedded { "embedded" } @else { (run.target.url) } }
                td data-head="machine" { (run.environment.host) ", " (run.environment.cpus) " cpus" }
                td data-head="chatbench" { (run.chatbench) }
            } } }
        } }
    }
}

/// One comparison as a table.
fn changes(comparison: &Comparison<'_>, label: &str) -> Markup {
    let (paint, words) = conclusion(comparison);
    let class = match paint {
        Paint::Bad => "bad",
        Paint::Good => "good",
        _ => "doubt",
    };
    html! {
        section {
            h2 { "What changed: " (label) " against base" }
            p.(class) { strong { (words) } }
            @for caveat in &comparison.caveats { p.note { strong.doubt { "Note" } " " (caveat) } }
            div.scroll { table.stack {
                thead { tr {
                    th scope="col" { "figure" } th scope="col" { "outcome" }
                    th.n scope="col" { "base" } th.n scope="col" { (label) }
                    th.n scope="col" { "change" } th.n scope="col" { "90 % within" }
                } }
                tbody { @for row in &comparison.rows { (change(row, label)) } }
            } }
        }
    }
}

fn change(row: &Row, label: &str) -> Markup {
    let class = match word(row.judged.outcome).0 {
        Paint::Bad => "bad",
        Paint::Good => "good",
        Paint::Doubt => "doubt",
        _ => "faint",
    };
    // The arrow says which way the figure went; of a rate down is the worse way.
    let up = row
        .judged
        .change
        .map_or(row.judged.new > row.judged.base, |c| c.share > 0.0);
    let arrow = match row.judged.outcome {
        Outcome::Worse | Outcome::Better if up => "▲ ",
        Outcome::Worse | Outcome::Better => "▼ ",
        _ => "",
    };
    let word = match row.judged.outcome {
        Outcome::TooNoisy => "too noisy to tell",
        Outcome::Undecided => "undecided: something was outstanding",
        Outcome::OneSided => "on one side only",
        outcome => word(outcome).1,
    };
    html! {
        tr {
            th scope="row" { (row.name) }
            td.(class) data-head="outcome" { (arrow) (word) }
            @for (head, cell) in ["base", label, "change", "90 % within"].iter().zip(cells(row)) {
                td.n data-head=(head) { (cell) }
            }
        }
    }
}

/// Rows of the table of violations: twenty runs with five kinds each.
const VIOLATION_ROWS: usize = 100;

fn any_violation(side: &Side) -> bool {
    side.runs.iter().any(|run| !run.violations.is_empty())
}

/// The violations of each run of each side, with the first of each kind.
fn violations(sides: &[(String, &Side)]) -> Markup {
    let mut rows = Vec::new();
    for (label, side) in sides {
        for (i, run) in side.runs.iter().enumerate() {
            let kinds = run.violations.iter();
            rows.extend(kinds.map(|kind| (label.as_str(), i + 1, run, kind)));
        }
    }
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Violations" }
                p.note {
                    "Of each kind the first. Seconds count from where the charts over time begin: \
                     what is below 0 was found before."
                }
                div.scroll { table.stack {
                    thead { tr {
                        th scope="col" { "side" } th.n scope="col" { "run" }
                        th.n scope="col" { "at" } th scope="col" { "what happened" }
                        th.n scope="col" { "count" }
                    } }
                    tbody { @for (label, number, run, kind) in rows.iter().take(VIOLATION_ROWS) { tr {
                        th.short scope="row" { (label) }
                        td.n data-head="run" { (number) }
                        @let first = kind.examples.first();
                        td.n data-head="at" { (figures::known(first, |e| signed_s(since_start_s(run, e.at_ns)))) }
                        td.wide data-head="what happened" {
                            strong.bad { (kind.kind) }
                            @if let Some(first) = first { ": " (shortened(&first.text)) }
                        }
                        td.n data-head="count" { (figures::count(kind.count)) }
                    } } }
                } }
                @if rows.len() > VIOLATION_ROWS {
                    p.note {
                        "… and " (figures::count((rows.len() - VIOLATION_ROWS) as u64))
                        " rows more; each run's own report has all."
                    }
                }
            }
        }
    }
}

fn signed_s(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "−" } else { "" };
    format!("{sign}{:.3} s", seconds.abs())
}

#[cfg(test)]
mod tests;
