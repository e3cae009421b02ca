//! A run whose time is up: it has to end some time after its drain, whatever is left to judge. Only
//! certain findings are reported; the rest is counted, and not held against the target.

use super::{RoomJudge, Settled};
use crate::anomaly::Anomaly;
use crate::batch::{Batch, Unjudged};

/// How much there was no time to judge.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    pub(super) total: Unjudged,
    /// There was no time to judge the last batches.
    pub(super) passed_over: bool,
    /// Losses in these, which later observations may explain.
    pub(super) lost: u64,
    /// The largest number in these.
    last: u64,
}

impl RoomJudge {
    /// Takes from a batch only what needs no judgement: the time is up. From here on
    /// nothing is settled.
    pub(in crate::judge) fn pass_over(&mut self, batch: Batch, mut settled: impl FnMut(Settled)) {
        self.unjudged.passed_over = true;
        self.tally.add(&batch.tally);
        self.coverage.add(&batch.coverage);
        self.unjudged.total = self.unjudged.total.and(batch.unjudged);
        let room = self.room();
        let complete = batch.settled.into_iter();
        complete.for_each(|one| settled(Settled { room, ..one }));
        for part in batch.parts {
            self.part(part, &mut settled);
        }
        self.cut(batch.cut, batch.is_shared);
        for fact in &batch.facts {
            self.unjudged.last = self.unjudged.last.max(fact.seq());
            self.unjudged_since(fact.at_ns());
        }
        for anomaly in batch.anomalies {
            match anomaly {
                Anomaly::Certain(violation) | Anomaly::StrayError { violation, .. } => {
                    self.found.add(violation);
                }
                Anomaly::HungUp { seen, violation } => self.hung_up(seen, violation),
                Anomaly::WrongHere {
                    line,
                    violations,
                    violation,
                } => self.wrong_here(line, violations, violation),
                other => {
                    let is_loss = matches!(other, Anomaly::LostUnless { .. });
                    self.unjudged.lost += u64::from(is_loss);
                    self.unjudged.total.findings += 1;
                }
            }
        }
    }

    fn unjudged_since(&mut self, at_ns: u64) {
        let since = Unjudged {
            since_ns: Some(at_ns),
            ..Unjudged::default()
        };
        self.unjudged.total = self.unjudged.total.and(since);
    }

    /// Concludes a run with batches that were passed over: reports what is certain of what was
    /// judged.
    pub(super) fn conclude_without(&mut self, target_gone: bool) {
        self.judge_irregular(u64::MAX);
        self.judge_passed_over();
        self.report_hung_up(target_gone);
        let first = self.numbers.records.iter().find_map(|record| {
            let relayed = record.relayed.as_ref().map(|relayed| relayed.first_ns);
            relayed.or(record.acked.as_ref().map(|acked| acked.acked_ns))
        });
        first
            .into_iter()
            .for_each(|at_ns| self.unjudged_since(at_ns));
        let end =
            (self.numbers.base + self.numbers.records.len() as u64).max(self.unjudged.last + 1);
        self.unjudged.total.messages += end.saturating_sub(self.numbers.base.max(1));
        let waiting = self.open_count + self.missing.len() + self.parts.losses();
        self.unjudged.total.findings += waiting as u64 + self.deferred.count();
        self.state_undecided();
    }
}
