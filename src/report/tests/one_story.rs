//! A report tells one story: whatever happens together in a run, no two sentences of its summary,
//! its JUnit file and its page contradict each other.

use std::time::Duration;

use crate::driver::outcome::{Interruption, Unfinished};
use crate::driver::snapshot::Phase;
use crate::report::summary::{self, Detail};
use crate::report::{Style, html, junit, sample};
use crate::scenario::plan::{LateCounts, Stat};
use crate::verify::kind::Kind;

/// Things that happen in runs, each with what it takes for granted.
const HAPPENS: [(&str, sample::Change); 18] = [
    ("the target hung", sample::hang),
    ("the drain was short", |_, o| {
        o.unfinished = Some(Unfinished {
            clients: 3,
            unanswered: 3,
            drain: Some(Duration::from_secs(5)),
            heard_ns: 16_900_000_000,
            ended_ns: 17_000_000_000,
        });
        o.findings.unfinished = 3;
        o.findings.undecided = Vec::from_iter(o.findings.unproved());
        o.findings.counts.unresolved = 1_763;
    }),
    ("relays were late", |plan, o| {
        plan.promises.late_after = Some(Duration::from_secs(2));
        o.findings.violation(Kind::LateRelay, sample::example);
    }),
    ("late is a threshold", |plan, _| {
        plan.late = LateCounts::AsThreshold;
    }),
    ("relays were lost", |_, o| {
        o.findings.counts.lost = 217_454;
        for _ in 0..9 {
            o.findings.violation(Kind::LostRelay, sample::example);
        }
        o.findings.violation(Kind::AckWithoutRelay, sample::example);
    }),
    ("nothing was understood", |_, o| {
        o.findings.counts.delivered = 0;
        o.findings.counts.owed = 0;
        o.findings.counts.acked = 0;
        o.findings.violation(Kind::MalformedFrame, sample::example);
    }),
    ("nothing was delivered", |_, o| {
        o.findings.counts.delivered = 0;
    }),
    ("a group sent nothing", |_, o| o.sent_by_group = vec![0, 0]),
    ("listeners got nothing", |_, o| {
        o.measured.groups[1].relay = None;
    }),
    ("the target hung up", |_, o| {
        o.measured.unsent = 2_000;
        o.health.unsent = 2_000;
        o.health.offered = 5_000;
        o.health.cut_off = 2_000;
        o.findings.counts.unexpected_closes = 4;
        o.findings.violation(Kind::UnexpectedClose, sample::example);
    }),
    ("a shard was never idle", |_, o| {
        o.health.shards[0].cpu_ns = 2_800_000_000;
        o.health.shards[0].waited_ns = 6_600_000_000;
    }),
    ("the generator paused", |_, o| {
        o.health.longest_pause_ns = 12_000_000_000;
    }),
    ("the generator fell behind", |_, o| {
        o.health.offered = 5_000;
        o.health.behind = 700;
        o.measured.unsent = 700;
    }),
    ("a threshold is crossed", |plan, _| {
        plan.thresholds[0].stat = Stat::Max;
        plan.thresholds[0].limit = 1e6;
        plan.thresholds[0].expr = "max < 1ms".to_owned();
    }),
    ("the heartbeat was late", |_, o| {
        o.measured.heartbeat.reset();
        o.measured.heartbeat.record_n(5_000_000, 5_000).unwrap();
    }),
    ("it was interrupted", |_, o| {
        o.interrupted = Some(Interruption {
            signal: "Ctrl-C",
            phase: Phase::Measure,
            at_once: false,
        });
    }),
    ("clients were not welcomed", |_, o| o.connected = 90),
    ("an end was not proved", |_, o| {
        o.findings.unfinished = 3;
        o.findings.undecided = Vec::from_iter(o.findings.unproved());
        o.findings.counts.unresolved = 12;
    }),
];

/// Pairs of sentences that contradict each other: one report has at most one of each.
const CONTRADICTORY: [(&str, &str); 22] = [
    ("nothing was verified", "violations: "),
    ("nothing was verified", "violation: "),
    ("nothing lost", "violations: "),
    ("nothing lost", "lost ("),
    ("nothing lost", "at least as late as"),
    ("nothing lost", "unresolved"),
    ("nothing lost", "not got to their end"),
    ("no violation seen", "violations: "),
    ("no violation seen", "violation: "),
    ("not saturated", "never idle"),
    ("not saturated", "the generator, not the target"),
    ("give run.drain more time", "the target was silent"),
    ("ended without a bye", "not got to their end"),
    (GONE, " owed"),
    (
        "cannot be held against the target",
        "violation: 1 late-relay",
    ),
    (
        "cannot be held against the target",
        "<failure message=\"1 late-relay\"",
    ),
    (
        "relay max < 1ms cannot be judged",
        "\u{2717} relay max < 1ms",
    ),
    (
        "relay max < 1ms cannot be judged",
        "<failure message=\"it was",
    ),
    ("is the target up", "INTERRUPTED"),
    ("PASS", "counts as"),
    ("got a message of the measured phase", "not one delivery"),
    (
        "sent a message, and what it was to show",
        "nothing was verified",
    ),
];

/// A sentence that once stood beside "507 213 owed, 507 213 delivered", and does not any more:
/// there are lost deliveries, and such of which nobody knows whether they were owed.
const GONE: &str = "deliveries that did not come";

/// Everything that is said of a run: for the terminal, for CI, and as a page without its charts.
fn told(changes: &[sample::Change]) -> String {
    let report = sample::report(|plan, outcome| {
        changes.iter().for_each(|change| change(plan, outcome));
    });
    let wide = Style {
        width: 10_000,
        ..Style::FILE
    };
    let result = report.result.clone();
    let page = html::render(&result);
    let page = page.split("<script").next().unwrap_or_default();
    let mut told = summary::render(&report, wide, Detail::Full);
    told.push_str(&junit::render([junit::Suite::Result(&result)]));
    told.push_str(page);
    told
}

#[test]
fn no_two_sentences_of_a_report_contradict_each_other() {
    let mut said = vec![told(&[])];
    for (i, one) in HAPPENS.iter().enumerate() {
        said.push(checked(&[*one]));
        for other in &HAPPENS[i + 1..] {
            said.push(checked(&[*one, *other]));
        }
    }
    // And all that a run can be at once, each left out once.
    for out in 0..HAPPENS.len() {
        let mut together = HAPPENS.to_vec();
        together.remove(out);
        said.push(checked(&together));
    }
    // A sentence that nothing here says would contradict nothing.
    let sentences = CONTRADICTORY.iter().flat_map(|&(a, b)| [a, b]);
    for sentence in sentences.filter(|&sentence| sentence != GONE) {
        let is_said = said.iter().any(|text| text.contains(sentence));
        assert!(is_said, "{sentence:?} is said of no run that is tried here");
    }
}

fn checked(together: &[(&str, sample::Change)]) -> String {
    let changes: Vec<_> = together.iter().map(|(_, change)| *change).collect();
    let told = told(&changes);
    for (one, other) in CONTRADICTORY {
        assert!(
            !(told.contains(one) && told.contains(other)),
            "{one:?} beside {other:?} where {:?}:\n{told}",
            together.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        );
    }
    told
}

#[test]
fn what_was_lost_is_counted_as_it_is_reported() {
    let report = sample::report(|plan, outcome| HAPPENS[4].1(plan, outcome));
    let text = summary::render(&report, Style::FILE, Detail::Full);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("217 454 lost (9 as lost-relay, 217 445 as ack-without-relay)"),
        "{text}"
    );
}
