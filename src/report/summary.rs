//! The terminal summary: the verdict first, then its grounds; all of them, or those that decide
//! what to do next.

mod brief;
mod labelled;
mod latencies;
mod rooms;

use std::iter;

use super::caveats::{Missing, Outstanding};
use super::result::{Promised, RunResult, Target, Threshold, Violations};
use super::style::{Paint, Style, left};
use super::{Report, Verdict, figures, violations};
use crate::scenario::plan::{OrderPromise, RelayPromise};
use crate::verify::findings::Counts;
use crate::verify::kind::Kind;
pub(super) use labelled::{coverage, exercised};

/// Columns of the labels (`throughput`) and so the indent of what goes with them.
const LABEL: usize = 13;

/// Indent, in columns, of the verdict's details.
const VERDICT: usize = 7;

/// How much a summary says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The verdict, what it rests on, and the figures that most look at: of a pass, no more lines
    /// than are read.
    Brief,
    /// Everything.
    Full,
}

/// A summary, its last line ended.
#[must_use]
pub fn render(report: &Report, style: Style, detail: Detail) -> String {
    let result = &report.result;
    let mut page = Page {
        style,
        out: String::new(),
    };
    page.title(report, detail);
    if detail == Detail::Full || report.verdict != Verdict::Pass {
        page.blank();
    }
    verdict(
        report.verdict,
        &result.reasons,
        &counts(report),
        style,
        &mut page.out,
    );
    if result.error.is_some() {
        // No run, no figures.
        page.blank();
        page.rerun(result);
        return page.out;
    }
    violations::render(&result.violations, style, &mut page.out);
    page.blank();
    if detail == Detail::Brief {
        page.brief(report);
        return page.out;
    }
    page.latencies(result);
    page.shape(result);
    page.intervals(result);
    page.caveats(result);
    page.rooms(result);
    page.figures(result);
    page.thresholds(&result.thresholds);
    if report.verdict != Verdict::Pass {
        page.rerun(result);
    }
    page.out
}

/// The one word, its reasons, and the counts that it rests on.
pub(super) fn verdict(
    verdict: Verdict,
    reasons: &[String],
    counts: &[String],
    style: Style,
    out: &mut String,
) {
    let word = verdict.name().to_uppercase();
    let word = style.paint(verdict.paint(), &word);
    let head = left(&format!("{word}   "), VERDICT);
    let indent = " ".repeat(VERDICT);
    let counts: Vec<_> = counts.iter().map(|item| style.text(item)).collect();
    let Some((first, others)) = reasons.split_first() else {
        style.flow(out, &head, VERDICT, " · ", &counts);
        return;
    };
    style.paragraph(out, &head, VERDICT, first);
    for reason in others {
        let head = format!("{indent}{} ", style.text("–"));
        style.paragraph(out, &head, VERDICT + 2, reason);
    }
    if !counts.is_empty() {
        style.flow(out, &indent, VERDICT, " · ", &counts);
    }
}

/// A label, and items with dots between them.
pub(super) fn labelled<T: AsRef<str>>(
    label: &str,
    items: impl IntoIterator<Item = T>,
    style: Style,
    out: &mut String,
) {
    let head = left(&style.paint(Paint::Faint, label), LABEL);
    let items: Vec<_> = items
        .into_iter()
        .map(|item| style.text(item.as_ref()).into_owned())
        .collect();
    style.flow(out, &head, LABEL, " · ", &items);
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

    fn labelled<T: AsRef<str>>(&mut self, label: &str, items: impl IntoIterator<Item = T>) {
        labelled(label, items, self.style, &mut self.out);
    }

    /// The command that runs it again.
    fn rerun(&mut self, result: &RunResult) {
        let style = self.style;
        let head = left(&style.paint(Paint::Faint, "run again"), LABEL);
        style.command(&mut self.out, &head, LABEL, &result.rerun);
    }

    /// Which run this is.
    fn title(&mut self, report: &Report, detail: Detail) {
        let style = self.style;
        let result = &report.result;
        let Target { url, embedded, .. } = &result.target;
        let dialect = url.split("://").next().unwrap_or_default();
        let target = match embedded {
            true => format!("embedded {dialect} server"),
            false => url.clone(),
        };
        let clients = figures::count(report.outcome.clients);
        let items = [
            style.paint(Paint::Strong, &result.scenario.name),
            format!("seed {}", result.scenario.seed),
            style
                .text(&format!("{clients} clients → {target}"))
                .into_owned(),
            style.text(&length(report)).into_owned(),
        ];
        style.flow(&mut self.out, "", 2, " · ", items);
        let description = result.scenario.description.as_ref();
        let description = description.filter(|_| detail == Detail::Full);
        if let Some(question) = description.and_then(|d| d.trim().lines().next()) {
            style.paragraph(&mut self.out, "", 0, question);
        }
    }

    /// Writes what these figures leave out, and other notes on them.
    fn caveats(&mut self, result: &RunResult) {
        self.omissions(result);
        self.notes(result);
    }

    /// What these figures leave out.
    fn omissions(&mut self, result: &RunResult) {
        let outstanding = Outstanding::of(result);
        let waited_for = outstanding.in_words();
        if !waited_for.is_empty() {
            self.labelled("outstanding", waited_for);
        }
        let missing = Missing::of(result).but_for(outstanding).in_words();
        if !missing.is_empty() {
            self.labelled("not in these", missing);
        }
    }

    /// What else is to be known of the figures.
    fn notes(&mut self, result: &RunResult) {
        let style = self.style;
        for note in &result.notes {
            let head = left(&style.paint(Paint::Doubt, "note"), LABEL);
            style.paragraph(&mut self.out, &head, LABEL, note);
        }
    }

    /// A line per threshold.
    fn thresholds<'t>(&mut self, thresholds: impl IntoIterator<Item = &'t Threshold>) {
        let style = self.style;
        for (i, threshold) in thresholds.into_iter().enumerate() {
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

/// The length of the measured phase, beside the planned one where that differs.
fn length(report: &Report) -> String {
    let planned = figures::span(report.duration);
    let measured = figures::span(report.result.window.length());
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

/// The counts that the verdict rests on, and what can be claimed from them; none of a run that did
/// not come about.
fn counts(report: &Report) -> Vec<String> {
    let (Some(counts), Some(judged)) = (&report.result.counts, &report.result.judged) else {
        return Vec::new();
    };
    let violations = &report.result.violations;
    let may_lose = judged.relay == RelayPromise::AtMostOnce.word();
    let mut items = counted(&counts.verified, violations, may_lose);
    if violations.is_empty() {
        items.push(claim(report, judged));
    }
    items
}

/// The counts that a verdict rests on; exceptions only where there are any. `may_lose` is whether
/// that is allowed.
pub(super) fn counted(counts: &Counts, violations: &[Violations], may_lose: bool) -> Vec<String> {
    let mut items = vec![
        format!("{} sent", figures::count(counts.sent)),
        format!("{} acked", figures::count(counts.acked)),
        format!("{} owed", figures::count(counts.owed)),
        format!("{} delivered", figures::count(counts.delivered)),
    ];
    let lost = match may_lose {
        true => "lost, which is allowed".to_owned(),
        false => lost(counts.lost, violations),
    };
    let exceptions = [
        (counts.optional, "optional"),
        (counts.unresolved, "unresolved"),
        (counts.lost, &lost),
        (counts.duplicated, "duplicated"),
        (counts.errors_received, "errors received"),
        (counts.unexpected_closes, "unexpected closes"),
        (counts.unknown_frames, "frames of unknown type"),
    ];
    for (n, what) in exceptions {
        if n > 0 {
            items.push(format!("{} {what}", figures::count(n)));
        }
    }
    items
}

/// `lost`, and how it is reported if not every lost delivery is a lost-relay of its own: a message
/// that reached nobody is one violation, however many receivers it was owed to.
fn lost(lost: u64, violations: &[Violations]) -> String {
    let tally = |kind: Kind| {
        let mut all = violations.iter();
        all.find(|all| all.kind == kind.name())
            .map_or(0, |all| all.count)
    };
    let named = tally(Kind::LostRelay);
    let others = lost.saturating_sub(named);
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
    let causes: Vec<_> = causes.map(Kind::name).collect();
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

/// The claim of a run without violations: no more than was promised and so checked.
fn claim(report: &Report, judged: &Promised) -> String {
    let outcome = &report.outcome;
    let unfinished = outcome.unfinished.is_some() || outcome.findings.unfinished > 0;
    if unfinished || matches!(report.verdict, Verdict::Inconclusive | Verdict::Interrupted) {
        return "no violation seen".to_owned();
    }
    let mut words = Vec::new();
    if judged.relay != RelayPromise::AtMostOnce.word() {
        words.push("lost");
    }
    if judged.relay != RelayPromise::AtLeastOnce.word() {
        words.push("doubled");
    }
    if judged.order != OrderPromise::None.word() {
        words.push("reordered");
    }
    let elsewhere = match report.result.rooms {
        Some(_) => ", and nothing in a wrong room",
        None => "",
    };
    format!("nothing {} or altered{elsewhere}", words.join(", "))
}

#[cfg(test)]
mod tests;
