//! The verification part of a report on its own: what `chatbench verify` makes of a trace, in the
//! words of a run's summary and the keys of its JSON result.

use serde::Serialize;

use super::json::{Coverage, SCHEMA, Seen, Violations, document};
use super::style::{Paint, Style, left};
use super::{Verdict, summary, verdict, violations};
use crate::scenario::plan::RelayPromise;
use crate::verify::trace::Verified;

/// Columns that the verdict's details are indented by.
const INDENT: usize = 7;

/// Columns of the label.
const LABEL: usize = 13;

/// A judged trace.
#[derive(Debug)]
pub struct Verification {
    /// What was found in it.
    pub verified: Verified,
    /// The one word: pass, fail or inconclusive.
    pub verdict: Verdict,
    /// Why it is not a pass, the weightiest first; empty for a pass.
    pub reasons: Vec<String>,
}

impl Verification {
    /// Judges what was found.
    #[must_use]
    pub fn new(verified: Verified) -> Self {
        let violated = verdict::violated(&verified.findings, Verdict::Fail);
        let mut reasons: Vec<String> = verified.doubts.clone();
        reasons.extend(verified.findings.undecided.iter().cloned());
        let verdict = match (&violated, reasons.is_empty()) {
            (Some(_), _) => Verdict::Fail,
            (None, false) => Verdict::Inconclusive,
            (None, true) => Verdict::Pass,
        };
        reasons.splice(..0, violated);
        Self {
            verified,
            verdict,
            reasons,
        }
    }

    /// For a terminal, its last line ended.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let findings = &self.verified.findings;
        let mut out = String::new();
        style.paragraph(&mut out, "", 2, &self.verified.title);
        out.push('\n');
        let paint = match self.verdict {
            Verdict::Pass => Paint::Good,
            Verdict::Fail => Paint::Bad,
            _ => Paint::Doubt,
        };
        let word = self.verdict.name().to_uppercase();
        let head = left(&format!("{}   ", style.paint(paint, &word)), INDENT);
        let mut counts = summary::counted(findings, RelayPromise::ExactlyOnce);
        if findings.violation_count() == 0 {
            counts.push("no violation seen".to_owned());
        }
        let counts: Vec<_> = counts.iter().map(|c| style.text(c).into_owned()).collect();
        if let Some((first, others)) = self.reasons.split_first() {
            let indent = " ".repeat(INDENT);
            style.paragraph(&mut out, &head, INDENT, first);
            for reason in others {
                let head = format!("{indent}{} ", style.text("–"));
                style.paragraph(&mut out, &head, INDENT + 2, reason);
            }
            style.flow(&mut out, &indent, INDENT, " · ", &counts);
        } else {
            style.flow(&mut out, &head, INDENT, " · ", &counts);
        }
        violations::render(findings, Verdict::Fail, style, &mut out);
        let exercised = summary::exercised(&findings.coverage);
        if !exercised.is_empty() {
            out.push('\n');
            let head = left(&style.paint(Paint::Faint, "exercised"), LABEL);
            style.flow(&mut out, &head, LABEL, " · ", &exercised);
        }
        out
    }

    /// As JSON, indented, with a newline at its end: the keys are those of a run's result.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Result<'a> {
            schema: u32,
            chatbench: &'static str,
            trace: &'a str,
            verdict: &'static str,
            exit_code: u8,
            reasons: &'a [String],
            counts: Seen,
            violations: Vec<Violations<'a>>,
            coverage: Coverage,
        }
        let findings = &self.verified.findings;
        let result = Result {
            schema: SCHEMA,
            chatbench: env!("CARGO_PKG_VERSION"),
            trace: &self.verified.title,
            verdict: self.verdict.name(),
            exit_code: self.verdict.exit_code(),
            reasons: &self.reasons,
            counts: Seen::new(&findings.counts),
            violations: Violations::all(findings, Verdict::Fail),
            coverage: Coverage::new(&findings.coverage),
        };
        document(&result)
    }
}
