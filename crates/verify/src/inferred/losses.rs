//! Deliveries that were owed and did not come, or of which that is in doubt: judged with the
//! deliveries of all.

use std::collections::{HashMap, HashSet};

use super::Inferred;
use super::sequence::{Slot, SlotId};
use super::track::{Parted, Track};
use super::witnesses::NEAR_SLOTS;
use crate::anomaly::{Anomaly, LossDoubt, LostHere};
use crate::batch::{Message, NO_NUMBER};
use crate::directory::ClientId;
use crate::promises::RelayPromise;
use crate::sessions::NEVER;
use crate::violation::{Evidence, LossProof, Violation};
use chatbench_wire::payload::SenderId;

/// A delivery that was owed and will not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) slot: SlotId,
    pub(super) session: SenderId,
    pub(super) receiver: ClientId,
    pub(super) proof: LossProof,
    pub(super) doubt: LossDoubt,
    pub(super) at_ns: u64,
}

/// A delivery that did not come, and of which it is not known whether it was owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    pub(super) message: Message,
    pub(super) session: SenderId,
    pub(super) receiver: ClientId,
    pub(super) known: Known,
    pub(super) at_ns: u64,
}

/// Knowledge of a delivery that did not come, from its session's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// It was sent when the session had joined.
    pub(super) joined: bool,
    /// The target had taken it when the session left.
    pub(super) still_there: bool,
    /// The session left, and the target answered.
    pub(super) answered: bool,
    pub(super) proof: LossProof,
}

impl Doubt {
    /// A message has got its place after a session that it belonged to was over.
    pub(super) fn of_parted(track: &Track, parted: Parted, message: Message, joined: bool) -> Self {
        let known = Known {
            joined,
            still_there: false,
            answered: parted.answered,
            proof: LossProof::Close,
        };
        Self {
            message,
            session: track.id,
            receiver: track.client,
            known,
            at_ns: 0,
        }
    }
}

impl Known {
    /// Whether that is enough to say that the message was owed.
    pub(super) fn is_owed(self) -> bool {
        self.joined && self.still_there
    }
}

impl Inferred {
    /// A delivery that will not come, as far as is known: judged when its slot is settled.
    pub(super) fn lose(&mut self, loss: Loss) {
        let sender = self.sequence.get(loss.slot).map(Slot::sender);
        if self.acks_are_echoes() && sender == Some(loss.session) {
            return; // what is missing is its ack
        }
        let settled = self.is_settled(loss.slot);
        let settling = &mut self.settling;
        settling.lost_since.extend(settled.then_some(loss.slot));
        settling.losses.insert((loss.slot, loss.session), loss);
    }

    /// Judges the losses that were found after their slots had been settled.
    pub(super) fn judge_losses_since(&mut self) {
        let mut slots = std::mem::take(&mut self.settling.lost_since);
        slots.sort_by_key(|&slot| self.sequence.label(slot));
        for slot in slots {
            self.judge_losses_of(slot);
        }
    }

    /// Judges the losses of one slot: one for each receiver, unless nobody got the message.
    pub(super) fn judge_losses_of(&mut self, id: SlotId) {
        let mut losses = self.settling.take_losses(id);
        let Some(slot) = self.sequence.get_mut(id).filter(|_| !losses.is_empty()) else {
            return;
        };
        let (message, late, nobody) = (slot.message, slot.late, slot.reached_nobody());
        let on_record = std::mem::replace(&mut slot.lost, true);
        let sent = self.messages.get(message);
        let acked = sent.is_some_and(|m| m.acked_at != NEVER);
        let reported = sent.is_some_and(|m| m.unanswered || m.refused);
        let is_silent = self.context.terms.promises.relay == RelayPromise::AtMostOnce || late; // too late to be delivered: reported as its cause
        // Its outcome instead of an ack is on record.
        let silent = is_silent || nobody && !acked && reported;
        let reached_nobody = nobody && acked;
        let given_up = losses.iter().any(|loss| loss.doubt.given_up);
        let disordered = self.settling.witness_forgotten || self.is_near_disorder(id);
        // Settled early, for lack of room: the target may not have taken it. Or its outcome is
        // forgotten.
        let may_come = !acked && self.promises_acks() && self.messages.is_open(message.sender);
        let is_forgotten = self.messages.has_given_up(message.sender);
        let may_be_none = nobody && may_come || is_forgotten;
        let is_shared = self.sharing.is_some() && nobody && !is_forgotten;
        // A message that is lost to one receiver for certain and to another perhaps is decided at
        // the end for each.
        let deferred = losses.iter().any(|loss| loss.doubt.is_any());
        losses.sort_by_key(|loss| loss.receiver);
        for (at, mut loss) in losses.into_iter().enumerate() {
            loss.doubt.disordered = disordered;
            if is_shared {
                self.context
                    .batch
                    .anomalies
                    .push(Anomaly::LostHere(LostHere {
                        receiver: loss.session,
                        message,
                        doubt: loss.doubt,
                        is_silent,
                        is_acked: acked,
                        is_reported: reported,
                        may_be_none,
                        violation: self.lost(&loss, message),
                    }));
                continue;
            }
            if may_be_none {
                self.context.batch.tally.unresolved += 1;
                continue;
            }
            self.context.batch.tally.lost += 1;
            if silent {
                continue;
            }
            if !reached_nobody {
                self.report_loss(&loss, message, false, loss.doubt.is_any());
            } else if on_record && !given_up {
                let in_doubt = loss.doubt.is_undecided(false);
                self.context.batch.tally.lost -= u64::from(in_doubt);
                self.context.batch.tally.unresolved += u64::from(in_doubt);
            } else if at == 0 || deferred {
                self.report_loss(&loss, message, true, deferred);
            }
        }
    }

    /// Judges doubtful deliveries with what others got since; after so many messages no new
    /// evidence comes up.
    pub(super) fn judge_doubts(&mut self, over: bool) {
        if self.settling.doubts.is_empty() {
            return;
        }
        let mut settled = self.settling.last;
        for _ in 0..NEAR_SLOTS {
            settled = self.sequence.before(settled);
        }
        let until = match over {
            true => NEVER,
            false => self.sequence.label(settled),
        };
        let doubts = std::mem::take(&mut self.settling.doubts);
        let (due, waiting): (Vec<_>, Vec<_>) =
            (doubts.into_iter()).partition(|doubt| match self.slot_of(doubt.message) {
                Some(0) => over,
                Some(slot) => self.sequence.label(slot) <= until,
                None => true,
            });
        self.settling.doubts = waiting;
        if due.is_empty() {
            return;
        }
        let tracks: HashMap<SenderId, &Track> = self.tracks().map(|t| (t.id, t)).collect();
        // A message that was placed late may have been in doubt before, too.
        let mut judged = HashSet::new();
        let mut losses = Vec::new();
        for doubt in due {
            let Some(track) = tracks.get(&doubt.session) else {
                continue;
            };
            let Some(slot) = self.slot_of(doubt.message) else {
                continue;
            };
            let known = doubt.known;
            if !self.is_owed(track, slot, known) || !judged.insert((slot, doubt.session)) {
                continue;
            }
            let first_ns = self.sequence.get(slot).map_or(0, |s| s.first_ns);
            let proof = match self.is_witnessed_after(track, slot, false) {
                true => LossProof::Later,
                false => known.proof,
            };
            losses.push(Loss {
                slot,
                session: doubt.session,
                receiver: doubt.receiver,
                proof,
                doubt: LossDoubt {
                    given_up: false,
                    by_place: !known.is_owed(),
                    by_later: proof == LossProof::Later && !known.answered,
                    by_close: proof == LossProof::Close,
                    disordered: false,
                },
                at_ns: doubt.at_ns.max(first_ns),
            });
        }
        losses.into_iter().for_each(|loss| self.lose(loss));
        self.judge_losses_since();
    }

    /// The slot of a message, 0 if it has none yet; `None` if it is forgotten.
    pub(super) fn slot_of(&self, message: Message) -> Option<SlotId> {
        self.messages.get(message).map(|sent| sent.slot)
    }

    /// Reports one loss for each receiver, or, where the message reached nobody, one for all;
    /// `deferred` if the end of the run decides.
    fn report_loss(&mut self, loss: &Loss, message: Message, reached_nobody: bool, deferred: bool) {
        let mut violation = self.lost(loss, message);
        if reached_nobody {
            violation.reached_nobody();
        }
        self.context.batch.anomalies.push(match loss.proof {
            _ if deferred => Anomaly::LostUnless {
                receiver: loss.session,
                message,
                doubt: loss.doubt,
                violation,
            },
            LossProof::Close => Anomaly::HungUp {
                seen: NO_NUMBER,
                violation,
            },
            _ => Anomaly::Certain(violation),
        });
    }

    /// The violation of a loss, while others may have got the message.
    fn lost(&self, loss: &Loss, message: Message) -> Violation {
        let lost = Evidence::Lost(loss.proof);
        self.context
            .violation(lost, loss.receiver, Some(message), loss.at_ns)
    }
}
