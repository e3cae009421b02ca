//! JUnit XML: verdicts as CI systems show them.
//!
//! A scenario is a test suite. Its tests are: that the run could be judged at all, that nothing was
//! violated, and one for each threshold. A failure says what was seen and how to run it again.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::figures;
use super::result::{RunResult, Threshold, Violations};

/// The name of the test that every scenario has.
const JUDGED: &str = "the run can be judged";

/// Examples of each kind of violation in a failure's text.
const EXAMPLES: usize = 10;

/// The outcome of a scenario that was to run.
#[derive(Debug)]
pub enum Suite<'a> {
    /// It ran, or was to and did not come about.
    Result(&'a RunResult),
    /// It has no result: its file is invalid, or its turn never came.
    NotRun {
        /// Its name.
        name: &'a str,
        /// Why.
        why: &'a str,
    },
}

/// The results of one command as one document.
#[must_use]
pub fn render<'a>(suites: impl IntoIterator<Item = Suite<'a>>) -> String {
    let mut report = Report::new("chatbench");
    for of in suites {
        report.add_test_suite(match of {
            Suite::Result(result) => suite(result),
            Suite::NotRun { name, why } => not_run(name, why),
        });
    }
    let xml = report.to_string().expect("a String takes all");
    // The crate drops control characters; what else XML cannot hold are these two.
    xml.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn suite(result: &RunResult) -> TestSuite {
    let mut suite = TestSuite::new(result.scenario.name.as_str());
    suite
        .set_time(Duration::from_nanos(result.elapsed_ns))
        .add_property(("seed", result.scenario.seed.to_string().as_str()))
        .add_property(("target", result.target.url.as_str()))
        .add_property(("verdict", result.verdict.as_str()))
        .add_property(("rerun", result.rerun.as_str()));
    let judged = match result.verdict.as_str() {
        "inconclusive" | "interrupted" => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_message(result.reasons.join("; "))
                .set_type(result.verdict.as_str());
            status
        }
        _ => TestCaseStatus::success(),
    };
    suite.add_test_case(case(result, JUDGED, judged));
    // Of a run that did not come about nothing else was looked at, and nothing is green.
    let looked_at = |status: TestCaseStatus| match &result.error {
        None => status,
        Some(_) => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message("the run did not come about");
            skipped
        }
    };
    let status = looked_at(violations(result));
    suite.add_test_case(case(result, "no violations", status));
    for late in result.violations.iter().filter(|kind| !kind.fails()) {
        let name = format!("no {}", late.kind);
        suite.add_test_case(case(result, &name, not_failed(late, result)));
    }
    for threshold in &result.thresholds {
        let name = format!("{} {}", threshold.metric, threshold.expr);
        let status = looked_at(crossed(threshold, result));
        suite.add_test_case(case(result, &name, status));
    }
    suite
}

fn case(result: &RunResult, name: &str, status: TestCaseStatus) -> TestCase {
    case_of(&result.scenario.name, name, status)
}

fn case_of(scenario: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("chatbench.{scenario}"));
    case
}

/// The suite of a scenario that has no result.
fn not_run(name: &str, why: &str) -> TestSuite {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status
        .set_message(why.lines().next().unwrap_or_default())
        .set_type("not-run")
        .set_description(why);
    let mut suite = TestSuite::new(name);
    suite.add_test_case(case_of(name, JUDGED, status));
    suite
}

fn violations(result: &RunResult) -> TestCaseStatus {
    if result.violation_count() == 0 {
        return TestCaseStatus::success();
    }
    let failures = || result.violations.iter().filter(|kind| kind.fails());
    let kinds: Vec<_> = failures()
        .map(|kind| format!("{} {}", kind.count, kind.kind))
        .collect();
    let mut text = String::new();
    failures().for_each(|kind| text.push_str(&in_words(kind)));
    text.push_str(&format!("run again: {}\n", result.rerun));
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status
        .set_message(kinds.join(", "))
        .set_type("violation")
        .set_description(text);
    status
}

/// A kind with its first examples.
fn in_words(kind: &Violations) -> String {
    let mut text = format!("{} (rule {}): {}\n", kind.kind, kind.rule, kind.count);
    for example in kind.examples.iter().take(EXAMPLES) {
        let at = figures::moment(example.at_ns);
        text.push_str(&format!("  {at}  {}\n", example.text));
    }
    text
}

/// Violations that do not fail the run: late relays that count as a crossed threshold, or may
/// be the generator's.
fn not_failed(kind: &Violations, result: &RunResult) -> TestCaseStatus {
    let how = match kind.counts_as.as_str() {
        "threshold" => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(how);
    status
        .set_message(format!("{} {}", kind.count, kind.kind))
        .set_type(kind.counts_as.as_str())
        .set_description(format!("{}run again: {}\n", in_words(kind), result.rerun));
    status
}

fn crossed(threshold: &Threshold, result: &RunResult) -> TestCaseStatus {
    let (kind, message) = match threshold.ok {
        Some(true) => return TestCaseStatus::success(),
        Some(false) => {
            let observed = threshold.observed_text();
            let observed = observed.unwrap_or_else(|| "nothing".to_owned());
            (NonSuccessKind::Failure, format!("it was {observed}"))
        }
        None => (NonSuccessKind::Error, threshold.doubt()),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_message(message)
        .set_type("threshold")
        .set_description(format!("run again: {}\n", result.rerun));
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::verify::findings::Example;
    use crate::verify::kind::Kind;

    fn rendered(change: sample::Change) -> String {
        render([Suite::Result(&sample::result(change))])
    }

    #[test]
    fn a_pass_is_a_suite_of_passed_tests() {
        let xml = rendered(|_, _| ());
        assert!(
            xml.contains(r#"<testsuite name="fanout" tests="4" skipped="0" errors="0" failures="0" time="12.345""#),
            "{xml}"
        );
        assert!(
            xml.contains(r#"<testcase name="relay p99 &lt; 50ms" classname="chatbench.fanout""#),
            "{xml}"
        );
    }

    /// A file may be called anything, and a target say anything.
    #[test]
    fn what_xml_cannot_hold_is_not_in_it() {
        let all: String = (0..=0x2_ffff).filter_map(char::from_u32).collect();
        let mut result = sample::result(|_, _| ());
        result.scenario.name = all.clone();
        result.rerun = all.clone();
        result.target.url = all.clone();
        let not_run = Suite::NotRun {
            name: &all,
            why: &all,
        };
        let xml = render([Suite::Result(&result), not_run]);
        let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        let bad: Vec<_> = xml.chars().filter(|c| !legal(*c)).collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(xml.contains('\u{fffd}'));
    }

    #[test]
    fn a_violation_fails_its_test_with_the_evidence_escaped() {
        let xml = rendered(|_, outcome| {
            outcome.findings.violation(Kind::PhantomRelay, || Example {
                text: "came ]]> </failure><script>\x1b\u{0}".to_owned(),
                ..sample::example()
            });
        });
        assert!(xml.contains(r#"failures="1""#), "{xml}");
        assert!(xml.contains(r#"message="1 phantom-relay""#), "{xml}");
        assert!(xml.contains("4.211 s  came"), "{xml}");
        assert!(!xml.contains("<script>") && !xml.contains('\x1b'), "{xml}");
        assert_eq!(xml.matches("</failure>").count(), 1, "{xml}");
    }

    #[test]
    fn a_crossed_threshold_fails_and_one_without_samples_is_an_error() {
        let xml = rendered(|plan, outcome| {
            plan.thresholds[0].limit = 1.0;
            outcome.measured.last_relay.reset();
        });
        assert!(
            xml.contains(r#"<failure message="it was 1.95 ms" type="threshold">"#),
            "{xml}"
        );
        assert!(
            xml.contains("0 of 368 samples: it cannot be judged"),
            "{xml}"
        );
        assert!(xml.contains(r#"errors="1" failures="1""#), "{xml}");
    }
}
