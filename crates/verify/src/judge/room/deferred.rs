//! Losses that become certain only at the end of the run: a message that is not waited for any
//! longer may come all the same; and where only the order of others says that it was owed, or that
//! it will not come, others near it may turn out to be out of order.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use super::{Cause, RoomJudge};
use crate::anomaly::LossDoubt;
use crate::batch::Message;
use crate::bounds;
use crate::findings::EXAMPLES_PER_KIND;
use crate::kind::Kind;
use crate::violation::Violation;
use chatbench_wire::payload::SenderId;

/// A delivery that a receiver has not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    Number(u64),
    Message(Message),
}

/// Losses that wait for the end.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// By delivery and the receiver that has not got it.
    losses: BTreeMap<(Awaited, SenderId), Loss>,
    /// Losses for which there was no room, and which are certain if they do not come.
    beyond: u64,
    /// Sessions that gave something up, and left with all that they were owed.
    had_all: HashSet<SenderId>,
    /// Some of the numbers under this one for which there was no room were relayed to nobody else.
    forgotten_until: u64,
}

#[derive(Debug)]
struct Loss {
    kind: Kind,
    doubt: LossDoubt,
    /// Of the first loss.
    violation: Option<Box<Violation>>,
}

impl Deferred {
    pub(super) fn count(&self) -> u64 {
        self.losses.len() as u64 + self.beyond
    }

    /// Whether somebody may get it yet.
    pub(super) fn is_waited_for(&self, awaited: Awaited) -> bool {
        awaited < Awaited::Number(self.forgotten_until)
            || self.losses.range(every_loss_of(awaited)).next().is_some()
    }

    /// `receiver` got it after all. A message that counted as relayed to nobody was relayed to it
    /// alone.
    fn withdraw(&mut self, awaited: Awaited, receiver: SenderId) -> bool {
        for (_, loss) in self.losses.range_mut(every_loss_of(awaited)) {
            if loss.kind == Kind::AckWithoutRelay {
                (loss.kind, loss.violation) = (Kind::LostRelay, None);
            }
        }
        self.losses.remove(&(awaited, receiver)).is_some()
    }

    /// Something near `message` is out of order.
    pub(super) fn disorder_near(&mut self, message: Message) {
        let losses = self
            .losses
            .range_mut(every_loss_of(Awaited::Message(message)));
        losses.for_each(|(_, loss)| loss.doubt.disordered = true);
    }

    /// `receiver` was told by the target that it had got everything.
    pub(super) fn had_all(&mut self, receiver: SenderId) {
        if self.had_all.len() < bounds::remembered() {
            self.had_all.insert(receiver);
        }
    }
}

/// The key range of all losses of `awaited`.
fn every_loss_of(awaited: Awaited) -> RangeInclusive<(Awaited, SenderId)> {
    (awaited, SenderId(0))..=(awaited, SenderId(u32::MAX))
}

impl RoomJudge {
    /// `receiver` has lost it, if nothing says otherwise by the end of the run.
    pub(super) fn defer(
        &mut self,
        awaited: Awaited,
        receiver: SenderId,
        doubt: LossDoubt,
        violation: Violation,
    ) {
        let kind = violation.kind();
        let losses = &mut self.deferred.losses;
        if losses.len() >= bounds::deferred_losses() {
            // By its number it is certain, unless it was relayed to others or comes itself.
            let is_numbered = matches!(awaited, Awaited::Number(_));
            let plain = is_numbered && kind == Kind::LostRelay && !doubt.disordered;
            match plain {
                true => self.deferred.beyond += 1,
                false => self.misplaced += 1,
            }
            if let (false, Awaited::Number(seq)) = (plain, awaited) {
                let forgotten = &mut self.deferred.forgotten_until;
                *forgotten = seq.saturating_add(1).max(*forgotten);
            }
            return;
        }
        let violation = (losses.len() < EXAMPLES_PER_KIND).then(|| Box::new(violation));
        let loss = Loss {
            kind,
            doubt,
            violation,
        };
        losses.insert((awaited, receiver), loss);
    }

    /// Whether what `receiver` got had been given up: then it was no loss. If that is not known any
    /// more, it is counted as undecided.
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

    /// Whether it is on record that this reached nobody.
    fn is_known(&mut self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Number(seq) => !self.first_time(Cause::ReachedNobody(seq)),
            Awaited::Message(_) => false,
        }
    }

    /// Reports at the end of the run: what did not come is lost, unless it is in doubt whether it
    /// was owed.
    pub(super) fn report_deferred(&mut self, target_gone: bool) {
        let mut deferred = std::mem::take(&mut self.deferred);
        let beyond = deferred.beyond;
        let mut reached_nobody = None;
        for ((awaited, receiver), loss) in std::mem::take(&mut deferred.losses) {
            let Loss {
                kind,
                doubt,
                violation,
            } = loss;
            if doubt.is_undecided(deferred.had_all.contains(&receiver)) {
                self.misplaced += 1;
            } else if target_gone && doubt.by_close {
                self.tally.unfinished += 1;
            } else if kind == Kind::AckWithoutRelay
                && (reached_nobody.replace(awaited) == Some(awaited) || self.is_known(awaited))
            {
                // One violation, however many receivers it did not reach.
            } else {
                match violation {
                    Some(violation) => self.found.add(*violation),
                    None => self.found.count(kind, 1),
                }
            }
        }
        self.found.count(Kind::LostRelay, beyond);
    }
}
