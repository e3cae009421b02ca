//! The terminal summary: the verdict first, then what it rests on.

mod labelled;
mod latencies;

use std::iter;

use super::caveats::{Missing, Outstanding};
use super::style::{Paint, Style, left};
use super::{Report, Verdict, figures, violations};
use crate::scenario::plan::{OrderPromise, RelayPromise};
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;
pub(super) use labelled::exercised;

/// Columns of the labels (`throughput`) and so the indent of what goes with them.
const LABEL: usize = 13;

/// Columns that the verdict's details are indented by.
const VERDICT: usize = 7;

/// The whole summary, its last line ended.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut page = Page {
        style,
        out: String::new(),
    };
    page.title(report);
    page.blank();
    page.verdict(report);
    if report.outcome.error.is_some() {
        // No run, no figures.
        page.blank();
        page.rerun(report);
        return page.out;
    }
    violations::render(&report.outcome.findings, report.late, style, &mut page.out);
    page.blank();
    page.latencies(report);
    page.shape(report);
    page.intervals(report);
    page.caveats(report);
    page.figures(report);
    page.thresholds(report);
    if report.verdict != Verdict::Pass {
        page.rerun(report);
    }
    page.out
}

/// A summary being written.
struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A label, and items with dots between them.
    fn labelled<T: AsRef<str>>(&mut self, label: &str, items: impl IntoIterator<Item = T>) {
        let style = self.style;
        let head = left(&style.paint(Paint::Faint, label), LABEL);
        let items: Vec<_> = items
            .into_iter()
            .map(|item| style.text(item.as_ref()).into_owned())
            .collect();
        style.flow(&mut self.out, &head, LABEL, " · ", &items);
    }

    /// The command that runs it again.
    fn rerun(&mut self, report: &Report) {
        let style = self.style;
        let head = left(&style.paint(Paint::Faint, "run again"), LABEL);
        style.command(&mut self.out, &head, LABEL, &report.rerun);
    }

    /// Which run this is.
    fn title(&mut self, report: &Report) {
        let style = self.style;
        let outcome = &report.outcome;
        let dialect = outcome.target_url.split("://").next().unwrap_or_default();
        let target = if outcome.embedded {
            format!("embedded {dialect} server")
        } else {
            outcome.target_url.clone()
        };
        let items = [
            style.paint(Paint::Strong, &report.name),
            format!("seed {}", report.seed),
            style
                .text(&format!(
                    "{} clients → {target}",
                    figures::count(outcome.clients)
                ))
                .into_owned(),
            style.text(&length(report)).into_owned(),
        ];
        style.flow(&mut self.out, "", 2, " · ", items);
        if let Some(question) = report
            .description
            .as_ref()
            .and_then(|d| d.trim().lines().next())
        {
            style.paragraph(&mut self.out, "", 0, question);
        }
    }

    /// The one word, its reasons, and the counts behind it.
    fn verdict(&mut self, report: &Report) {
        let style = self.style;
        let word = report.verdict.name().to_uppercase();
        let paint = match report.verdict {
            Verdict::Pass => Paint::Good,
            Verdict::Fail => Paint::Bad,
            Verdict::Threshold | Verdict::Inconclusive | Verdict::Interrupted => Paint::Doubt,
        };
        let head = left(&format!("{}   ", style.paint(paint, &word)), VERDICT);
        let indent = " ".repeat(VERDICT);
        let counts: Vec<_> = counts(report)
            .iter()
            .map(|item| style.text(item).into_owned())
            .collect();
        let Some((first, others)) = report.reasons.split_first() else {
            style.flow(&mut self.out, &head, VERDICT, " · ", &counts);
            return;
        };
        style.paragraph(&mut self.out, &head, VERDICT, first);
        for reason in others {
            let head = format!("{indent}{} ", style.text("–"));
            style.paragraph(&mut self.out, &head, VERDICT + 2, reason);
        }
        if report.outcome.error.is_none() {
            style.flow(&mut self.out, &indent, VERDICT, " · ", &counts);
        }
    }

    /// What is not in these figures, and what else must be known about them.
    fn caveats(&mut self, report: &Report) {
        let outstanding = Outstanding::of(&report.outcome.measured);
        let waited_for = outstanding.in_words();
        if !waited_for.is_empty() {
            self.labelled("outstanding", waited_for);
        }
        let missing = Missing::of(&report.promises, &report.outcome);
        let missing = missing.but_for(outstanding).in_words();
        if !missing.is_empty() {
            self.labelled("not in these", missing);
        }
        let style = self.style;
        for note in &report.notes {
            let head = left(&style.paint(Paint::Doubt, "note"), LABEL);
            style.paragraph(&mut self.out, &head, LABEL, note);
        }
    }

    /// A line a threshold.
    fn thresholds(&mut self, report: &Report) {
        let style = self.style;
        for (i, threshold) in report.thresholds.iter().enumerate() {
            let mark = match threshold.ok {
                Some(true) => style.paint(Paint::Good, "✓"),
                Some(false) => style.paint(Paint::Bad, "✗"),
                None => style.paint(Paint::Doubt, "?"),
            };
            let observed = threshold.observed_text();
            let observed = observed.unwrap_or_else(|| threshold.samples_text());
            let label = if i == 0 {
                style.paint(Paint::Faint, "thresholds")
            } else {
                String::new()
            };
            let head = format!("{}{mark} ", left(&label, LABEL));
            let excuse = threshold.excuse.iter().map(|excuse| format!(", {excuse}"));
            let observed: String = iter::once(observed).chain(excuse).collect();
            let text = format!("{} {} ({observed})", threshold.metric, threshold.expr);
            style.paragraph(&mut self.out, &head, LABEL + 2, &text);
        }
    }
}

/// How long was measured, beside what was planned where that differs.
fn length(report: &Report) -> String {
    let planned = figures::span(report.duration);
    let measured_ns = report.outcome.measured.window.length_ns();
    let measured = figures::span(std::time::Duration::from_nanos(measured_ns));
    let measured = if measured == planned {
        planned
    } else {
        format!("{measured} of {planned}")
    };
    if report.warmup.is_zero() {
        return measured;
    }
    format!("{measured} (+{} warm-up)", figures::span(report.warmup))
}

/// The counts that the verdict rests on, and what can be claimed from them.
fn counts(report: &Report) -> Vec<String> {
    let findings = &report.outcome.findings;
    let mut items = counted(findings, report.promises.relay);
    if findings.violation_count() == 0 {
        items.push(claim(report));
    }
    items
}

/// The counts that a verdict rests on; exceptions only where there are any.
pub(super) fn counted(findings: &Findings, promised: RelayPromise) -> Vec<String> {
    let counts = &findings.counts;
    let mut items = vec![
        format!("{} sent", figures::count(counts.sent)),
        format!("{} acked", figures::count(counts.acked)),
        format!("{} owed", figures::count(counts.owed)),
        format!("{} delivered", figures::count(counts.delivered)),
    ];
    let exceptions = [
        (counts.optional, "optional".to_owned()),
        (counts.unresolved, "unresolved".to_owned()),
        (counts.lost, lost(findings, promised)),
        (counts.duplicated, "duplicated".to_owned()),
        (counts.errors_received, "errors received".to_owned()),
        (counts.unexpected_closes, "unexpected closes".to_owned()),
        (counts.unknown_frames, "frames of unknown type".to_owned()),
    ];
    for (n, what) in exceptions {
        if n > 0 {
            items.push(format!("{} {what}", figures::count(n)));
        }
    }
    items
}

/// `lost`, and as what it is reported where not every lost delivery is a lost-relay of its own: of a
/// message that reached nobody there is one violation, whoever it was owed to.
fn lost(findings: &Findings, promised: RelayPromise) -> String {
    if promised == RelayPromise::AtMostOnce {
        return "lost, which is allowed".to_owned();
    }
    let tally = |kind| {
        findings
            .violations
            .get(&kind)
            .map_or(0, |tally| tally.count)
    };
    let named = tally(Kind::LostRelay);
    let others = findings.counts.lost.saturating_sub(named);
    if others == 0 {
        return "lost".to_owned();
    }
    let causes = [
        Kind::AckWithoutRelay,
        Kind::MissingAck,
        Kind::Causality,
        Kind::RealTime,
        Kind::OrderDivergence,
    ];
    let causes = causes.into_iter().filter(|&kind| tally(kind) > 0);
    let causes: Vec<_> = causes.map(|kind| kind.name().to_owned()).collect();
    let of_them = if named == 0 {
        "all of them".to_owned()
    } else {
        format!(
            "{} as lost-relay, {}",
            figures::count(named),
            figures::count(others)
        )
    };
    match causes.is_empty() {
        true => "lost".to_owned(),
        false => format!("lost ({of_them} as {})", causes.join(", ")),
    }
}

/// What a run without violations has shown: no more than was promised and so checked.
fn claim(report: &Report) -> String {
    let unfinished = report.outcome.unfinished.is_some() || report.outcome.findings.unfinished > 0;
    if unfinished || matches!(report.verdict, Verdict::Inconclusive | Verdict::Interrupted) {
        return "no violation seen".to_owned();
    }
    let promises = &report.promises;
    let mut words = Vec::new();
    if promises.relay != RelayPromise::AtMostOnce {
        words.push("lost");
    }
    if promises.relay != RelayPromise::AtLeastOnce {
        words.push("doubled");
    }
    if promises.order != OrderPromise::None {
        words.push("reordered");
    }
    format!("nothing {} or altered", words.join(", "))
}

fn latency(ns: Option<u64>) -> String {
    ns.map_or("–".to_owned(), figures::latency)
}

#[cfg(test)]
mod tests;
