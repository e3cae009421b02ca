//! Losses that are certain only when all is in: what nobody waits for any longer may come all the
//! same, and where only a message's place among others says that it was owed, that order may turn
//! out to be in dispute.

use std::collections::BTreeMap;

use super::Judge;
use crate::verify::batch::{LossDoubt, Message};
use crate::verify::bounds;
use crate::verify::findings::{EXAMPLES_PER_KIND, Example};
use crate::verify::kind::Kind;
use crate::wire::payload::SenderId;

/// What a receiver has not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    Number(u64),
    Message(Message),
}

/// Losses that wait for the end.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// By what it is and who has not got it.
    losses: BTreeMap<(Awaited, SenderId), Loss>,
    /// Losses for which there was no room.
    beyond: u64,
}

#[derive(Debug)]
struct Loss {
    kind: Kind,
    doubt: LossDoubt,
    /// Of the first.
    example: Option<Box<Example>>,
}

impl Deferred {
    pub(super) fn count(&self) -> u64 {
        self.losses.len() as u64 + self.beyond
    }

    /// `receiver` got it after all. What was relayed to nobody was relayed to it alone.
    fn withdraw(&mut self, awaited: Awaited, receiver: SenderId) -> bool {
        let of_all = (awaited, SenderId(0))..=(awaited, SenderId(u32::MAX));
        let mut found = false;
        for (_, loss) in self.losses.range_mut(of_all) {
            if loss.kind == Kind::AckWithoutRelay {
                found = true;
                (loss.kind, loss.example) = (Kind::LostRelay, None);
            }
        }
        self.losses.remove(&(awaited, receiver)).is_some() || found
    }
}

impl Judge {
    /// `receiver` has lost it, if nothing says otherwise by the end of the run.
    pub(super) fn defer(
        &mut self,
        kind: Kind,
        awaited: Awaited,
        receiver: SenderId,
        doubt: LossDoubt,
        example: Example,
    ) {
        let losses = &mut self.deferred.losses;
        if losses.len() >= bounds::deferred_losses() {
            self.deferred.beyond += 1;
            return;
        }
        let example = (losses.len() < EXAMPLES_PER_KIND).then(|| Box::new(example));
        let loss = Loss {
            kind,
            doubt,
            example,
        };
        losses.insert((awaited, receiver), loss);
    }

    /// Whether what `receiver` got had been given up: then it was no loss. If it cannot be known
    /// any more, that is said.
    pub(super) fn came_after_all(&mut self, awaited: Awaited, receiver: SenderId) -> bool {
        let deferred = &mut self.deferred;
        if deferred.withdraw(awaited, receiver) {
            return true;
        }
        let may_be = deferred.beyond > 0;
        deferred.beyond = deferred.beyond.saturating_sub(1);
        self.tally.uncompared += u64::from(may_be);
        may_be
    }

    /// All is in: what did not come is lost, unless it is in doubt whether it was owed.
    pub(super) fn report_deferred(&mut self, target_gone: bool) {
        const ORDER: [Kind; 4] = [
            Kind::ReorderedRelay,
            Kind::OrderDivergence,
            Kind::Causality,
            Kind::RealTime,
        ];
        let violations = &self.findings.violations;
        let disputed = ORDER.iter().any(|kind| violations.contains_key(kind));
        let Deferred { losses, beyond } = std::mem::take(&mut self.deferred);
        for Loss {
            kind,
            doubt,
            example,
        } in losses.into_values()
        {
            if disputed && doubt.by_place {
                self.misplaced += 1;
            } else if target_gone && doubt.by_close {
                self.tally.unfinished += 1;
            } else {
                match example {
                    Some(example) => self.findings.violation(kind, || *example),
                    None => self.findings.count(kind, 1),
                }
            }
        }
        if disputed {
            self.misplaced += beyond;
        } else {
            self.findings.count(Kind::LostRelay, beyond);
        }
    }
}
