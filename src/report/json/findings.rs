//! What verification found, as JSON: the counts, the violations with their examples, the coverage.
//! `chatbench verify` writes the same keys.

use serde::Serialize;

use crate::report::{Report, Verdict};
use crate::verify::findings::{self, Example, Findings};
use crate::verify::kind::Kind;

/// Over the whole run, warm-up and drain included.
#[derive(Serialize)]
pub(super) struct Counts {
    clients: u64,
    connected: u64,
    #[serde(flatten)]
    seen: Seen,
}

impl Counts {
    pub(super) const fn new(report: &Report) -> Self {
        Self {
            clients: report.outcome.clients,
            connected: report.outcome.connected,
            seen: Seen::new(&report.outcome.findings.counts),
        }
    }
}

/// What verification counted.
#[derive(Serialize)]
pub(in crate::report) struct Seen {
    sessions: u64,
    sent: u64,
    acked: u64,
    owed: u64,
    delivered: u64,
    optional: u64,
    lost: u64,
    duplicated: u64,
    errors_received: u64,
    unexpected_closes: u64,
    unknown_frames: u64,
    unresolved: u64,
}

impl Seen {
    pub(in crate::report) const fn new(counts: &findings::Counts) -> Self {
        Self {
            sessions: counts.sessions,
            sent: counts.sent,
            acked: counts.acked,
            owed: counts.owed,
            delivered: counts.delivered,
            optional: counts.optional,
            lost: counts.lost,
            duplicated: counts.duplicated,
            errors_received: counts.errors_received,
            unexpected_closes: counts.unexpected_closes,
            unknown_frames: counts.unknown_frames,
            unresolved: counts.unresolved,
        }
    }
}

#[derive(Serialize)]
pub(in crate::report) struct Violations<'a> {
    kind: &'static str,
    rule: &'static str,
    /// The verdict that these lead to on their own.
    counts_as: &'static str,
    count: u64,
    examples: Vec<Violation<'a>>,
}

impl<'a> Violations<'a> {
    /// All kinds; late relays count as `late`.
    pub(in crate::report) fn all(findings: &'a Findings, late: Verdict) -> Vec<Self> {
        let kinds = findings.violations.iter();
        kinds
            .map(|(kind, tally)| Self {
                kind: kind.name(),
                rule: kind.rule(),
                counts_as: match kind {
                    Kind::LateRelay => late.name(),
                    _ => Verdict::Fail.name(),
                },
                count: tally.count,
                examples: tally.examples.iter().map(Violation::new).collect(),
            })
            .collect()
    }
}

#[derive(Serialize)]
struct Violation<'a> {
    text: &'a str,
    sender: Option<&'a str>,
    receiver: Option<&'a str>,
    k: Option<u64>,
    seq: Option<u64>,
    at_ns: u64,
}

impl<'a> Violation<'a> {
    pub(super) fn new(example: &'a Example) -> Self {
        Self {
            text: &example.text,
            sender: example.sender.as_deref(),
            receiver: example.receiver.as_deref(),
            k: example.k,
            seq: example.seq,
            at_ns: example.at_ns,
        }
    }
}

#[derive(Serialize)]
pub(in crate::report) struct Coverage {
    overlapping_sends: u64,
    joins_during_traffic: u64,
    polite_leaves: u64,
    aborts: u64,
    split_frames: u64,
    joined_frames: u64,
    fences_seen: u64,
}

impl Coverage {
    pub(in crate::report) const fn new(coverage: &findings::Coverage) -> Self {
        Self {
            overlapping_sends: coverage.overlapping_sends,
            joins_during_traffic: coverage.joins_during_traffic,
            polite_leaves: coverage.polite_leaves,
            aborts: coverage.aborts,
            split_frames: coverage.split_frames,
            joined_frames: coverage.joined_frames,
            fences_seen: coverage.fences_seen,
        }
    }
}
