//! The grounds of the verdict: violations with their evidence, thresholds.

use maud::{Markup, html};

use crate::report::figures;
use crate::report::result::{RunResult, Threshold, Violations};

/// Examples of a kind of violation that the page shows; the result has more.
const EXAMPLES_SHOWN: usize = 10;

/// Characters of an example's text that the page shows: it may quote a target at any length.
const EXAMPLE_CHARS: usize = 380;

pub(super) fn thresholds(result: &RunResult) -> Markup {
    html! {
        @if !result.thresholds.is_empty() {
            section {
                h2 { "Thresholds" }
                div.scroll { table.stack {
                    thead { tr {
                        th scope="col" { "" } th scope="col" { "metric" }
                        th scope="col" { "must be" } th.n scope="col" { "was" }
                        th.n scope="col" { "samples" }
                    } }
                    tbody { @for threshold in &result.thresholds { (threshold_row(threshold)) } }
                } }
            }
        }
    }
}

fn threshold_row(threshold: &Threshold) -> Markup {
    let (class, word) = match threshold.ok {
        Some(true) => ("good", "✓ met"),
        Some(false) => ("bad", "✗ crossed"),
        None if threshold.excuse.is_some() => ("doubt", "? perhaps the generator"),
        None if threshold.samples < threshold.samples_wanted => ("doubt", "? too few samples"),
        None => ("doubt", "? not decided"),
    };
    let observed = figures::known(threshold.observed_text(), |was| was);
    html! {
        tr {
            td.(class) { (word) }
            td data-head="metric" { (threshold.metric) }
            td data-head="must be" { code { (threshold.expr) } }
            td.n data-head="was" { (observed) }
            td.n data-head="samples" { (figures::count(threshold.samples)) }
        }
    }
}

pub(super) fn violations(result: &RunResult) -> Markup {
    html! {
        @if !result.violations.is_empty() {
            section {
                h2 { "Violations" }
                @for kind in &result.violations { (violation_kind(kind)) }
                p.note {
                    "Run again: " code { (result.rerun) }
                }
            }
        }
    }
}

fn violation_kind(kind: &Violations) -> Markup {
    let text = |value: &Option<String>| figures::known(value.clone(), |name| name);
    let number = |value| figures::known(value, figures::count);
    let shown = kind.examples.len().min(EXAMPLES_SHOWN);
    html! {
        details open {
            summary {
                strong.bad[kind.fails()].doubt[!kind.fails()] { (kind.kind) } " · " (figures::count(kind.count))
                @if kind.rule != "–" { " · rule " (kind.rule) }
                @if !kind.fails() { " · counts as " (kind.counts_as) }
            }
            div.scroll { table.stack {
                thead { tr {
                    th.n scope="col" { "at" } th scope="col" { "what happened" }
                    th scope="col" { "sender" } th.n scope="col" { "its message" }
                    th scope="col" { "receiver" } th.n scope="col" { "number" }
                } }
                tbody { @for example in kind.examples.iter().take(shown) { tr {
                    td.n data-head="at" { (figures::moment(example.at_ns)) }
                    td.wide data-head="what happened" { (shortened(&example.text)) }
                    td data-head="sender" { (text(&example.sender)) }
                    td.n data-head="its message" { (number(example.k)) }
                    td data-head="receiver" { (text(&example.receiver)) }
                    td.n data-head="number" { (number(example.seq)) }
                } } }
            } }
            @if kind.count > shown as u64 {
                p.note {
                    "… and " (figures::count(kind.count - shown as u64))
                    " more; result.json has the first " (kind.examples.len()) "."
                }
            }
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(EXAMPLE_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
