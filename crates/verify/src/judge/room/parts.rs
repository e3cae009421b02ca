//! Messages of a target that states no order, driven by several shards: each of these tells its part
//! of every message, and when all have, it is known how many got it, and whether anybody did.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::{RoomJudge, Settled};
use crate::anomaly::{Anomaly, LostHere};
use crate::batch::{Ended, Message, NO_NUMBER, Part, Unjudged};
use crate::bounds;
use crate::irregulars::Irregulars;
use crate::outstanding::PassedOver;
use crate::violation::Violation;
use chatbench_wire::payload::SenderId;

/// What the shards have told of messages, as far as it matters yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Messages of which some have not told their part.
    open: FxHashMap<Message, Whole>,
    /// These, and some that are not among them any more, in the order of their first parts.
    order: VecDeque<Message>,
    /// The latest of which all have.
    decided: FxHashMap<Message, Decided>,
    latest: VecDeque<Message>,
    /// Messages that listeners still waited for when the run stopped listening.
    passed_over: BTreeMap<Message, PassedOver>,
    /// Messages that receivers of one shard got though they had been refused, and when: the shard
    /// of the sender, which was told so, has not handed that over yet.
    refused: FxHashMap<Message, u64>,
    /// Lines that were wrong in themselves.
    irregulars: Irregulars,
    /// How many shards have nothing more to say of each session that is over.
    ended: FxHashMap<SenderId, usize>,
}

/// A message, as far as the shards have told their parts.
#[derive(Debug, Default)]
struct Whole {
    told: usize,
    /// Somebody still waited for it when the run stopped listening.
    is_incomplete: bool,
    figures: Option<Settled>,
    /// A receiver got it that its shard had given up.
    came_after_all: bool,
    losses: Vec<LostHere>,
}

/// What is known of a message that is complete.
#[derive(Debug, Clone, Copy)]
struct Decided {
    reached_somebody: bool,
    /// That it reached nobody is on record.
    on_record: bool,
}

impl Whole {
    fn add(&mut self, part: &Part) {
        self.told += 1;
        self.is_incomplete |= !part.is_complete;
        let figures = part.figures;
        if figures.receivers == 0 {
            return;
        }
        self.figures = Some(match self.figures {
            None => figures,
            Some(others) => Settled {
                first_ns: others.first_ns.min(figures.first_ns),
                last_ns: others.last_ns.max(figures.last_ns),
                receivers: others.receivers + figures.receivers,
                ..others
            },
        });
    }
}

impl Parts {
    /// `receiver` got a message that its shard had given up. Returns whether that loss was not
    /// judged yet: then it never will be.
    pub(super) fn came_after_all(&mut self, message: Message, receiver: SenderId) -> bool {
        if let Some(decided) = self.decided.get_mut(&message) {
            decided.reached_somebody = true;
        }
        let Some(whole) = self.open.get_mut(&message) else {
            return false;
        };
        whole.came_after_all = true;
        let before = whole.losses.len();
        whole.losses.retain(|lost| lost.receiver != receiver);
        whole.losses.len() < before
    }

    /// Listeners of one shard still waited for a message.
    pub(super) fn passed_over(&mut self, passed: PassedOver) {
        let message = passed.message;
        let passed = match self.passed_over.remove(&message) {
            Some(others) => others.and(passed),
            None => passed,
        };
        self.passed_over.insert(message, passed);
    }

    /// A message was relayed though it had been refused, which nobody has handed over yet; or that
    /// is on record.
    pub(super) fn relayed_though_refused(&mut self, message: Message, at_ns: u64) {
        if self.refused.len() < bounds::remembered() {
            self.refused.entry(message).or_insert(at_ns);
        }
    }

    /// A message was refused: when a receiver of another shard had got it before that came in.
    pub(super) fn relayed_before_refused(&mut self, message: Message) -> Option<u64> {
        self.refused.remove(&message)
    }

    /// How many losses are not judged yet.
    pub(super) fn losses(&self) -> usize {
        self.open.values().map(|whole| whole.losses.len()).sum()
    }

    fn open(&mut self, message: Message) -> &mut Whole {
        self.open.entry(message).or_insert_with(|| {
            self.order.push_back(message);
            Whole::default()
        })
    }

    fn decide(&mut self, message: Message, decided: Decided) {
        self.decided.insert(message, decided);
        self.latest.push_back(message);
        if self.latest.len() > bounds::parted_messages()
            && let Some(oldest) = self.latest.pop_front()
        {
            self.decided.remove(&oldest);
        }
    }
}

impl RoomJudge {
    /// A shard has told its part of a message.
    pub(super) fn part(&mut self, part: Part, settled: &mut impl FnMut(Settled)) {
        let shards = self.directory.shards();
        let whole = self.parts.open(part.message);
        whole.add(&part);
        if whole.told == shards {
            self.conclude_one(part.message, true, settled);
        }
        while self.parts.open.len() > bounds::parted_messages()
            && let Some(oldest) = self.parts.order.pop_front()
        {
            self.conclude_one(oldest, false, settled);
        }
        let is_done = |message: &Message| !self.parts.open.contains_key(message);
        while self.parts.order.front().is_some_and(is_done) {
            self.parts.order.pop_front();
        }
    }

    /// A shard has found a loss of a message that nobody is known to have got.
    pub(super) fn lost_here(&mut self, lost: LostHere) {
        let message = lost.message;
        match self.parts.decided.get(&message).copied() {
            Some(decided) => {
                let on_record = self.judge_lost(vec![lost], decided);
                if let Some(decided) = self.parts.decided.get_mut(&message) {
                    decided.on_record |= on_record;
                }
            }
            None => self.parts.open(message).losses.push(lost),
        }
    }

    /// Every shard has told everything.
    pub(super) fn conclude_parts(&mut self, settled: &mut impl FnMut(Settled)) {
        let all_told = self.unjudged.total == Unjudged::default();
        while let Some(oldest) = self.parts.order.pop_front() {
            self.conclude_one(oldest, all_told, settled);
        }
        self.judge_passed_over();
    }

    /// Judges what the listeners of all shards still waited for.
    pub(super) fn judge_passed_over(&mut self) {
        for passed in std::mem::take(&mut self.parts.passed_over).values() {
            self.passed_over(passed);
        }
    }

    /// Nothing more is waited for of a message; `all_told` unless some shards may have more to tell.
    fn conclude_one(
        &mut self,
        message: Message,
        all_told: bool,
        settled: &mut impl FnMut(Settled),
    ) {
        let Some(whole) = self.parts.open.remove(&message) else {
            return;
        };
        let decided = Decided {
            reached_somebody: whole.figures.is_some() || whole.came_after_all,
            on_record: false,
        };
        let room = self.room();
        match whole.figures {
            Some(figures) if !whole.is_incomplete => settled(Settled { room, ..figures }),
            Some(Settled { first_ns, .. }) => {
                if let Some(passed) = self.parts.passed_over.get_mut(&message) {
                    let first = passed
                        .first_ns
                        .map_or(first_ns, |other| other.min(first_ns));
                    passed.first_ns = Some(first);
                }
            }
            None => {}
        }
        let mut on_record = false;
        if self.unjudged.passed_over {
            self.unjudged.total.findings += whole.losses.len() as u64;
        } else if !all_told && !decided.reached_somebody {
            // Whether they are owed it depends on whether anybody got it.
            self.tally.uncompared += 1;
            self.tally.unresolved += whole.losses.len() as u64;
        } else if !whole.losses.is_empty() {
            on_record = self.judge_lost(whole.losses, decided);
        }
        let decided = Decided {
            on_record,
            ..decided
        };
        self.parts.decide(message, decided);
    }

    /// Judges losses of one message, of which it is known now whether it reached anybody: one for
    /// each receiver, unless nobody got it. Returns whether that is on record then.
    fn judge_lost(&mut self, mut losses: Vec<LostHere>, decided: Decided) -> bool {
        let nobody = !decided.reached_somebody;
        let is_acked = losses.iter().any(|lost| lost.is_acked);
        let is_reported = nobody && !is_acked && losses.iter().any(|lost| lost.is_reported);
        let given_up = losses.iter().any(|lost| lost.doubt.given_up);
        let deferred = losses.iter().any(|lost| lost.doubt.is_any());
        let mut on_record = decided.on_record;
        losses.sort_by_key(|lost| lost.receiver);
        for (at, lost) in losses.into_iter().enumerate() {
            if nobody && !is_acked && lost.may_be_none {
                self.tally.unresolved += 1;
                continue;
            }
            self.tally.lost += 1;
            if lost.is_silent || is_reported {
                continue;
            }
            if !(nobody && is_acked) {
                let in_doubt = lost.doubt.is_any();
                self.report_lost(lost, false, in_doubt);
            } else if decided.on_record && !given_up {
                let in_doubt = u64::from(lost.doubt.is_undecided(false));
                self.tally.lost -= in_doubt;
                self.tally.unresolved += in_doubt;
            } else if at == 0 || deferred {
                self.report_lost(lost, true, deferred);
                on_record = true;
            }
        }
        on_record
    }

    fn report_lost(&mut self, lost: LostHere, reached_nobody: bool, deferred: bool) {
        let LostHere {
            receiver,
            message,
            doubt,
            mut violation,
            ..
        } = lost;
        if reached_nobody {
            violation.reached_nobody();
        }
        self.anomaly(match doubt {
            _ if deferred => Anomaly::LostUnless {
                receiver,
                message,
                doubt,
                violation,
            },
            _ if doubt.by_close => Anomaly::HungUp {
                seen: NO_NUMBER,
                violation,
            },
            _ => Anomaly::Certain(violation),
        });
    }

    /// Receivers of one shard got a line that is wrong in itself: alike for those of several it is
    /// one violation.
    pub(super) fn wrong_here(&mut self, line: u64, violations: u64, violation: Violation) {
        let irregulars = &mut self.parts.irregulars;
        if irregulars.found(violation.kind(), line, violations) {
            self.found.add(violation);
        }
    }

    /// A shard has nothing more to say of these sessions: when all have not, they are forgotten.
    pub(super) fn ended_in_one(&mut self, ended: Vec<Ended>) {
        for ended in ended {
            let shards = self.parts.ended.entry(ended.session).or_default();
            *shards += 1;
            if *shards == self.directory.shards() {
                self.parts.ended.remove(&ended.session);
                self.ended.push_back(ended);
            }
        }
    }
}
