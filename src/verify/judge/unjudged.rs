//! What there was no time to judge: the run has to end some time after its drain, whatever is left.
//! What was certain is reported. Of the rest it is said how much it is, and it accuses nobody.

use super::{Judge, Settled};
use crate::verify::batch::{Anomaly, Batch, Fact, Unjudged};
use crate::verify::kind::Kind;
use crate::verify::trace::tag::Tag;

impl Judge {
    /// Takes in of what `shard` has learned only what needs no judgement: the time is up. From here
    /// on nothing is settled.
    pub fn pass_over(&mut self, shard: usize, batch: Batch, settled: impl FnMut(Settled)) {
        if let Some(tape) = self.directory.begin_event() {
            tape.event(Tag::PassOver).number(shard as u64);
        }
        self.passed_over = true;
        self.tally.add(&batch.tally);
        self.findings.coverage.add(&batch.coverage);
        self.unjudged = self.unjudged.and(batch.unjudged);
        batch.settled.into_iter().for_each(settled);
        self.cut(batch.cut);
        for fact in &batch.facts {
            let (seq, at_ns) = match *fact {
                Fact::Acked { seq, acked_ns, .. } => (seq, acked_ns),
                Fact::Relayed { seq, first_ns, .. } => (seq, first_ns),
            };
            self.last_passed = self.last_passed.max(seq);
            self.unjudged_since(at_ns);
        }
        for anomaly in batch.anomalies {
            match anomaly {
                Anomaly::Certain(kind, example) => self.findings.violation(kind, || example),
                Anomaly::StrayError { example, .. } => {
                    self.findings.violation(Kind::StrayError, || example);
                }
                Anomaly::HungUp {
                    kind,
                    seen,
                    example,
                } => self.hung_up.entry(kind).or_default().add(seen, example),
                other => {
                    let is_loss = matches!(other, Anomaly::LostUnless { .. });
                    self.lost_in_passed += u64::from(is_loss);
                    self.unjudged.findings += 1;
                }
            }
        }
    }

    fn unjudged_since(&mut self, at_ns: u64) {
        let since = Unjudged {
            since_ns: Some(at_ns),
            ..Unjudged::default()
        };
        self.unjudged = self.unjudged.and(since);
    }

    /// The last word where batches were passed over: what is certain of what was judged.
    pub(super) fn conclude_without(&mut self, target_gone: bool) {
        self.judge_irregular(u64::MAX);
        self.report_hung_up(target_gone);
        let first = self.records.iter().find_map(|record| {
            let relayed = record.relayed.as_ref().map(|relayed| relayed.first_ns);
            relayed.or(record.acked.as_ref().map(|acked| acked.acked_ns))
        });
        first
            .into_iter()
            .for_each(|at_ns| self.unjudged_since(at_ns));
        let end = (self.base + self.records.len() as u64).max(self.last_passed + 1);
        self.unjudged.messages += end.saturating_sub(self.base.max(1));
        let waiting = self.open_count + self.missing.len();
        self.unjudged.findings += waiting as u64 + self.deferred.count();
        self.state_undecided();
    }

    /// How much was left unjudged, in words.
    pub(super) fn left_unjudged(&self) -> Option<String> {
        let Unjudged {
            messages,
            findings,
            since_ns,
        } = self.unjudged;
        if self.unjudged == Unjudged::default() {
            return None;
        }
        let since = since_ns.unwrap_or_default() as f64 / 1e9;
        Some(format!(
            "the verifier was behind when the run had to end, and {messages} messages, from {since:.1} \
             s into the run on, and {findings} findings were left unjudged: lower the load, or give \
             run.drain more time"
        ))
    }
}
