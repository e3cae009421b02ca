//! The verification part of a report on its own: the verdict of `chatbench verify` on a trace, in
//! the words of a run's summary and the keys of its JSON result.

use serde::Serialize;

use super::result::{SCHEMA, Violations};
use super::style::Style;
use super::{Verdict, json, summary, verdict, violations};
use crate::verify::findings::{Counts, Coverage};
use crate::verify::trace::Verified;

/// A judged trace, as `chatbench verify --json` writes it: schema 1, in the keys of a run's result.
/// Keys may be added and are never renamed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    schema: u64,
    /// The version of chatbench that verified.
    chatbench: &'static str,
    /// The scenario and the target of the trace.
    pub trace: String,
    /// The one word: pass, fail or inconclusive.
    #[serde(serialize_with = "name")]
    pub verdict: Verdict,
    /// The exit code that goes with the verdict.
    #[cfg_attr(test, schemars(extend("enum" = [0, 1, 3])))]
    exit_code: u8,
    /// Why it is not a pass, the weightiest first; empty for a pass.
    pub reasons: Vec<String>,
    /// Messages and deliveries.
    counts: Counts,
    /// Violations, a kind each; empty if there are none.
    violations: Vec<Violations>,
    /// Coverage: how much was really exercised.
    coverage: Coverage,
}

fn name<S: serde::Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.name())
}

impl Verification {
    /// Judges the findings.
    #[must_use]
    pub fn new(verified: Verified) -> Self {
        let findings = verified.findings;
        let violations = Violations::all(&findings, Verdict::Fail);
        let violated = verdict::violated(&violations);
        let mut reasons = verified.doubts;
        reasons.extend(findings.undecided.iter().cloned());
        let verdict = match (&violated, reasons.is_empty()) {
            (Some(_), _) => Verdict::Fail,
            (None, false) => Verdict::Inconclusive,
            (None, true) => Verdict::Pass,
        };
        reasons.splice(..0, violated);
        Self {
            schema: SCHEMA,
            chatbench: env!("CARGO_PKG_VERSION"),
            trace: verified.title,
            verdict,
            exit_code: verdict.exit_code(),
            reasons,
            counts: findings.counts,
            violations,
            coverage: findings.coverage,
        }
    }

    /// For a terminal, its last line ended.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        style.paragraph(&mut out, "", 2, &self.trace);
        out.push('\n');
        let mut counts = summary::counted(&self.counts, &self.violations, false);
        if self.violations.is_empty() {
            counts.push("no violation seen".to_owned());
        }
        summary::verdict(self.verdict, &self.reasons, &counts, style, &mut out);
        violations::render(&self.violations, style, &mut out);
        let exercised = summary::exercised(&self.coverage);
        if !exercised.is_empty() {
            out.push('\n');
            summary::labelled("exercised", exercised, style, &mut out);
        }
        out
    }

    /// As JSON, indented, with a newline at its end.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        json::document(self)
    }
}
