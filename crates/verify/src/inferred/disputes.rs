//! Messages that were got out of order. The order of the slots is only a proposal; where a session
//! got two messages the other way round, the receivers that got both decide.

use std::collections::{BTreeMap, BTreeSet};

use super::Inferred;
use super::sequence::SlotId;
use crate::batch::Message;
use crate::directory::ClientId;
use crate::promises::OrderPromise;
use crate::reference::NOBODY;
use crate::violation::Evidence;

/// Pairs that one late delivery can be part of; if there are more, the nearest count.
pub(super) const MAX_PAIRS: usize = 256;

/// Two slots that some got the other way round, the earlier one first.
pub(super) type Pair = (SlotId, SlotId);

/// The receivers that got a pair the other way round, by their place among the tracks, and when.
pub(super) type Inverted = BTreeMap<Pair, Vec<(usize, u64)>>;

/// Slots that one session got in a wrong order with respect to each other: one violation.
#[derive(Debug)]
pub(super) struct Tangle {
    slots: BTreeSet<SlotId>,
    wrong: Wrong,
    pair: Pair,
    at_ns: u64,
}

/// The fault of a pair that somebody got the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// Nothing: all who got both agree. Still it is part of the other moves there.
    Nothing,
    /// Others got it as its slots stand.
    Order,
    /// They are one sender's.
    Fifo,
}

/// The receivers that got a pair, by the order in which they got it.
struct Votes<'a> {
    /// The other way round than its slots stand, and when.
    by: &'a [(usize, u64)],
    /// As its slots stand.
    keepers: &'a [usize],
    keepers_wrong: bool,
}

/// A violation that several receivers share.
pub(super) struct Alike {
    evidence: Evidence,
    message: Message,
    receiver: ClientId,
    /// The receiver's place among the tracks, and the message it got.
    who: usize,
    pair: Pair,
    at_ns: u64,
}

impl Inferred {
    /// Judges the order of slots that everyone has passed.
    pub(super) fn judge_order(&mut self, slots: &[SlotId]) {
        if !self.promises_order(OrderPromise::Fifo) {
            return;
        }
        let receivers = slots.iter().filter_map(|&id| self.sequence.get(id));
        let deliveries = receivers.map(|slot| u64::from(slot.receivers)).sum();
        self.settling.effort.earn(deliveries);
        match self.inverted(slots) {
            Some(inverted) if self.judge_pairs(slots, &inverted) => {}
            _ => self.judge_disorder(slots),
        }
    }

    /// Judges pair by pair. `false`, and nothing is reported, if that is too much.
    fn judge_pairs(&mut self, slots: &[SlotId], inverted: &Inverted) -> bool {
        let mut tangles: BTreeMap<usize, Vec<Tangle>> = BTreeMap::new();
        let mut late: BTreeMap<SlotId, Alike> = BTreeMap::new();
        let mut alike = Vec::new();
        let mut ties = Vec::new();
        for (&pair, by) in inverted {
            let keepers = self.keepers(pair, by);
            if keepers.len() == by.len() && self.is_disputed(pair) {
                ties.push((pair, by, keepers));
            } else {
                let votes = Votes {
                    by,
                    keepers: &keepers,
                    keepers_wrong: by.len() > keepers.len(),
                };
                self.judge_pair(pair, &votes, &mut tangles, &mut late, &mut alike);
            }
        }
        // As many say one as the other. A receiver that is known to have something else wrong is
        // taken to be wrong here, too.
        for (pair, by, keepers) in ties {
            let is_wrong = |who: &usize| {
                let tangles = tangles.get(who).into_iter().flatten();
                tangles.into_iter().any(|t| t.wrong != Wrong::Nothing)
            };
            let known = keepers.iter().any(is_wrong) && !by.iter().any(|(who, _)| is_wrong(who));
            let votes = Votes {
                by,
                keepers: &keepers,
                keepers_wrong: known,
            };
            self.judge_pair(pair, &votes, &mut tangles, &mut late, &mut alike);
        }
        if self.promises_order(OrderPromise::Causal) {
            for &slot in slots {
                if !self.judge_cause(slot, &mut late) {
                    return false;
                }
            }
        }
        let mut suspects = Vec::new();
        if self.promises_order(OrderPromise::Total) {
            for &slot in slots {
                if !self.judge_real_time(slot, &mut late, &mut suspects) {
                    return false;
                }
            }
        }
        let is_wrong = |tangles: &Vec<Tangle>| tangles.iter().any(|t| t.wrong != Wrong::Nothing);
        let nothing_wrong = late.is_empty() && alike.is_empty() && !tangles.values().any(is_wrong);
        if self.promises_order(OrderPromise::Total)
            && nothing_wrong
            && !self.judge_circles(&suspects, inverted, &mut tangles, &mut late)
        {
            return false;
        }
        // For a receiver that got more in a wrong order it is part of that.
        late.retain(|_, alike| {
            let tangles = tangles.get(&alike.who).into_iter().flatten();
            let (first, then) = alike.pair;
            let mut wrong = tangles.filter(|t| t.wrong != Wrong::Nothing);
            wrong.all(|t| !t.slots.contains(&first) && !t.slots.contains(&then))
        });
        for (who, tangles) in tangles {
            for tangle in tangles.iter().filter(|t| t.wrong != Wrong::Nothing) {
                for &slot in &tangle.slots {
                    self.dispute(slot);
                }
                self.report_tangle(who, tangle);
            }
        }
        for (slot, violation) in late {
            self.dispute(violation.pair.1);
            let known = self.sequence.get_mut(slot);
            if known.is_some_and(|slot| std::mem::replace(&mut slot.late, true)) {
                continue;
            }
            self.dispute(slot);
            alike.push(violation);
        }
        for Alike {
            evidence,
            message,
            receiver,
            at_ns,
            ..
        } in alike
        {
            self.context
                .certain_to(evidence, receiver, Some(message), at_ns);
        }
        true
    }

    /// Steps that it takes to ask everybody about a pair.
    pub(super) fn asking_all(&self) -> u64 {
        (self.context.sessions.len() + self.past.len()) as u64
    }

    /// Every pair of one of `slots` and a later slot that somebody got the other way round; `None`
    /// if there are too many to look at each.
    fn inverted(&self, slots: &[SlotId]) -> Option<Inverted> {
        let mut inverted = Inverted::new();
        if self.tracks().all(|track| track.fills.is_empty()) {
            return Some(inverted);
        }
        let settled: BTreeSet<SlotId> = slots.iter().copied().collect();
        let effort = &self.settling.effort;
        for (who, track) in self.tracks().enumerate() {
            let fills = track
                .fills
                .iter()
                .filter(|(slot, _)| settled.contains(*slot));
            for (&late, fill) in fills.filter(|(slot, _)| !self.is_unordered(**slot)) {
                let until = self.sequence.label(fill.cursor);
                let after = self.sequence.after(late);
                let mut pairs = 0;
                for (other, slot) in after {
                    if self.sequence.label(other) > until || pairs == MAX_PAIRS {
                        break;
                    }
                    if !effort.spend(1) {
                        return None;
                    }
                    if slot.unordered || !track.got_before(other, fill, &self.sequence) {
                        continue;
                    }
                    pairs += 1;
                    // For each, all are to be asked in which order they got it.
                    if !effort.spend(self.asking_all()) {
                        return None;
                    }
                    let by = inverted.entry((late, other)).or_default();
                    by.push((who, fill.at_ns));
                }
            }
        }
        Some(inverted)
    }

    /// The receivers that got both of a pair in the order of their slots.
    fn keepers(&self, pair: Pair, by: &[(usize, u64)]) -> Vec<usize> {
        let both = self
            .tracks()
            .enumerate()
            .filter(|(_, t)| t.got(pair.0, &self.sequence) && t.got(pair.1, &self.sequence));
        let both = both.map(|(who, _)| who);
        both.filter(|who| by.iter().all(|(by, _)| by != who))
            .collect()
    }

    /// Whether only others can say in which order a pair belongs.
    fn is_disputed(&self, pair: Pair) -> bool {
        let sender = |slot| self.message(slot).map(|m| m.sender);
        self.promises_order(OrderPromise::Total) && sender(pair.0) != sender(pair.1)
    }

    /// Judges a pair that some (`by`) got the other way round, and `keepers` did not.
    fn judge_pair(
        &self,
        pair: Pair,
        votes: &Votes<'_>,
        tangles: &mut BTreeMap<usize, Vec<Tangle>>,
        late: &mut BTreeMap<SlotId, Alike>,
        alike: &mut Vec<Alike>,
    ) {
        let (Some(first), Some(then)) = (self.message(pair.0), self.message(pair.1)) else {
            return;
        };
        let Votes { by, keepers, .. } = *votes;
        let mut all_by = |wrong: Wrong| {
            for &(who, at_ns) in by {
                tangle(tangles.entry(who).or_default(), pair, wrong, at_ns);
            }
        };
        let at_ns = by.first().map_or(0, |&(_, at_ns)| at_ns);
        if first.sender == then.sender {
            if keepers.is_empty() && by.len() > 1 && self.sharing.is_none() {
                // Every receiver got them so: one cause. Pairs in between are not counted again.
                if alike.iter().all(|a| a.message != first) {
                    let all = Evidence::AllGotAfterLater(then.k);
                    alike.push(self.alike(all, pair, by[0].0, at_ns));
                }
                return;
            }
            all_by(Wrong::Fifo);
            return;
        }
        if self.promises_order(OrderPromise::Total) && !keepers.is_empty() {
            if votes.keepers_wrong {
                for &who in keepers {
                    tangle(tangles.entry(who).or_default(), pair, Wrong::Order, at_ns);
                }
            } else {
                all_by(Wrong::Order);
            }
            return;
        }
        all_by(Wrong::Nothing);
        // All who got both agree: the second of the pair came first.
        if self.saw_before_sending(pair.1, pair.0) {
            self.effect_first(pair.1, pair.0, by[0].0, at_ns, late);
        }
    }

    /// A violation about the first of `pair`, which `who` got so, and so did the others.
    pub(super) fn alike(&self, evidence: Evidence, pair: Pair, who: usize, at_ns: u64) -> Alike {
        let nothing = Message {
            sender: NOBODY,
            k: 0,
        };
        let message = self.message(pair.0).unwrap_or(nothing);
        let receiver = self
            .tracks()
            .nth(who)
            .map_or(ClientId(u32::MAX), |t| t.client);
        Alike {
            evidence,
            message,
            receiver,
            who,
            pair,
            at_ns,
        }
    }

    pub(super) fn message(&self, slot: SlotId) -> Option<Message> {
        self.sequence.get(slot).map(|slot| slot.message)
    }

    /// How many got both in the order of their slots, how many the other way round, and one of the
    /// former.
    pub(super) fn votes(&self, first: SlotId, then: SlotId) -> (usize, usize, Option<usize>) {
        let (mut kept, mut inverted) = (0, 0);
        let mut who = None;
        for (index, track) in self.tracks().enumerate() {
            if !track.got(first, &self.sequence) || !track.got(then, &self.sequence) {
                continue;
            }
            if track.is_inverted(first, then, &self.sequence) {
                inverted += 1;
            } else {
                kept += 1;
                who.get_or_insert(index);
            }
        }
        (kept, inverted, who)
    }

    /// One violation for everything that one session got in a wrong order with respect to each
    /// other.
    fn report_tangle(&mut self, who: usize, tangle: &Tangle) {
        let (Some(first), Some(then)) = (self.message(tangle.pair.0), self.message(tangle.pair.1))
        else {
            return;
        };
        let Some(client) = self.tracks().nth(who).map(|track| track.client) else {
            return;
        };
        let inverted = Evidence::Inverted {
            first: self.context.directory.message(then),
            one_sender: tangle.wrong == Wrong::Fifo,
        };
        self.context
            .certain_to(inverted, client, Some(first), tangle.at_ns);
    }
}

/// Adds a pair to those that its session got the other way round: pairs that share a slot become
/// one.
pub(super) fn tangle(tangles: &mut Vec<Tangle>, pair: Pair, wrong: Wrong, at_ns: u64) {
    let mut joined = Tangle {
        slots: [pair.0, pair.1].into(),
        wrong,
        pair,
        at_ns,
    };
    let touching = |t: &mut Tangle| t.slots.contains(&pair.0) || t.slots.contains(&pair.1);
    for mut other in tangles.extract_if(.., touching) {
        joined.slots.append(&mut other.slots);
        if other.wrong > joined.wrong {
            joined.wrong = other.wrong;
            (joined.pair, joined.at_ns) = (other.pair, other.at_ns);
        }
    }
    tangles.push(joined);
}
