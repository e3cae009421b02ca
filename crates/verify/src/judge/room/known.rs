//! Knowledge of each number: from acks, from relays, and from receivers that got something else.
//!
//! A number is recorded from the first fact about it until it is settled, and remembered among the
//! latest [`bounds::settled_numbers`] for a while after that.

use std::collections::{BTreeMap, VecDeque};

use super::{RoomJudge, Settled, exchange_span};
use crate::anomaly::Open;
use crate::batch::{Acked, Fact, Message, Relayed};
use crate::bounds;
use chatbench_wire::payload::SenderId;

/// Everything that was told of one number.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) acked: Option<Acked>,
    /// A second message that was acked with this number.
    pub(super) acked_too: Option<Message>,
    /// A message that was acked with this number out of the order sent.
    pub(super) acked_out_of_order: Option<Acked>,
    pub(super) relayed: Option<Relayed>,
}

/// A frame that was ahead of the number due, and whose number no later frame confirmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hearsay {
    pub(super) message: Message,
    /// It was the ack, to the sender.
    pub(super) is_ack: bool,
}

/// The message that a number is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) message: Message,
    /// When it was sent: from its ack, else when it was due, which is no later.
    pub(super) sent_ns: u64,
    pub(super) acked: bool,
    pub(super) relayed: bool,
    /// It is known by more than an ack out of the order sent, which may have been exchanged with
    /// another.
    pub(super) certain: bool,
}

/// The numbers that are not settled yet, and the latest that are.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Every shard has told all about the numbers under this one.
    pub(super) told: u64,
    /// Some numbers under this one were settled before everything was told of them.
    pub(super) forced_until: u64,
    /// Of some numbers under this one, part of what was told is forgotten.
    pub(super) unsure_until: u64,
    /// The number of `records[0]`.
    pub(super) base: u64,
    pub(super) records: VecDeque<Record>,
    /// Numbers that somebody got an unconfirmed frame under, and that frame.
    pub(super) hearsay: BTreeMap<u64, Hearsay>,
    /// The latest [`bounds::settled_numbers`] settled numbers, and what they were.
    pub(super) recent: VecDeque<(u64, Known)>,
}

impl RoomJudge {
    /// The record of `seq`, made if need be; `None` if that number was settled before.
    pub(super) fn record(
        &mut self,
        seq: u64,
        settled: &mut impl FnMut(Settled),
    ) -> Option<&mut Record> {
        if self.numbers.records.is_empty() {
            self.numbers.base = self.numbers.base.max(self.numbers.told.min(seq));
        }
        // Before anything was settled, shards may report from different starts.
        while seq < self.numbers.base
            && self.numbers.recent.is_empty()
            && self.numbers.records.len() < bounds::records()
        {
            self.numbers.records.push_front(Record::default());
            self.numbers.base -= 1;
        }
        if seq < self.numbers.base {
            return None;
        }
        while seq - self.numbers.base >= bounds::records() as u64 {
            if self.numbers.records.is_empty() {
                self.numbers.base = seq;
                self.numbers.forced_until = self.numbers.forced_until.max(seq);
                break;
            }
            self.settle_next(settled);
        }
        let index = (seq - self.numbers.base) as usize;
        if index >= self.numbers.records.len() {
            self.numbers.records.resize_with(index + 1, Record::default);
        }
        Some(&mut self.numbers.records[index])
    }

    pub(super) fn fact(&mut self, fact: &Fact, settled: &mut impl FnMut(Settled)) {
        match *fact {
            Fact::Acked {
                seq,
                acked,
                in_order,
            } => match self.record(seq, settled) {
                None => self.came_too_late(seq, acked.message, acked.acked_ns),
                Some(record) if !in_order => record.acked_out_of_order = Some(acked),
                Some(record) if record.acked.is_none() => record.acked = Some(acked),
                Some(record) => record.acked_too = Some(acked.message),
            },
            Fact::Relayed { seq, relayed } => {
                let Some(record) = self.record(seq, settled) else {
                    self.tally.uncompared += relayed.receivers;
                    self.came_too_late(seq, relayed.message, relayed.first_ns);
                    return;
                };
                match &mut record.relayed {
                    None => record.relayed = Some(relayed),
                    Some(known) if known.message == relayed.message => {
                        known.first_ns = known.first_ns.min(relayed.first_ns);
                        known.last_ns = known.last_ns.max(relayed.last_ns);
                        known.receivers += relayed.receivers;
                    }
                    Some(_) => self.open(seq, Open::Conflict(relayed)),
                }
            }
        }
    }

    /// `message` was acked or relayed under number `seq`, which is settled.
    fn came_too_late(&mut self, seq: u64, message: Message, at_ns: u64) {
        self.check_refused(message, seq, at_ns);
        if seq < self.numbers.forced_until {
            self.numbers.forget_of(seq);
        }
    }
}

impl Numbers {
    pub(super) fn get(&self, seq: u64) -> Option<&Record> {
        let index = seq.checked_sub(self.base)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    /// The message that number `seq` is, if it is not settled too long ago.
    pub(super) fn known(&self, seq: u64) -> Option<Known> {
        let known = if seq >= self.base {
            self.get(seq).and_then(Record::known)
        } else {
            let at = self.recent.binary_search_by_key(&seq, |&(n, _)| n).ok();
            at.map(|at| self.recent[at].1)
        };
        let Some(&Hearsay { message, is_ack }) = self.hearsay.get(&seq) else {
            return known;
        };
        let hearsay = Known {
            message,
            sent_ns: 0,
            acked: is_ack,
            relayed: !is_ack,
            certain: false,
        };
        Some(known.map_or(hearsay, |known| Known {
            acked: known.acked || is_ack,
            relayed: known.relayed || !is_ack,
            ..known
        }))
    }

    /// Somebody got `message` under number `seq`, if that number is right.
    pub(super) fn may_be(&mut self, seq: u64, message: Message, receiver: SenderId) {
        let is_ack = message.sender == receiver;
        let hearsay = Hearsay { message, is_ack };
        match self.hearsay.get_mut(&seq) {
            Some(known) if is_ack => known.message = message,
            Some(known) => known.is_ack = false,
            None => drop(self.hearsay.insert(seq, hearsay)),
        }
        if self.hearsay.len() > bounds::remembered()
            && let Some((forgotten, _)) = self.hearsay.pop_first()
        {
            self.forget_of(forgotten);
        }
    }

    /// The message that number `seq` certainly is, if it is not settled too long ago.
    pub(super) fn known_for_certain(&self, seq: u64) -> Option<Known> {
        self.known(seq).filter(|known| known.certain)
    }

    /// Part of what could be known of number `seq` is lost.
    pub(super) fn forget_of(&mut self, seq: u64) {
        self.unsure_until = self.unsure_until.max(seq.saturating_add(1));
    }

    /// Whether more will be told of number `seq`, or some of it was not told in time, or is
    /// forgotten.
    pub(super) fn is_unsure(&self, seq: u64) -> bool {
        seq >= self.told || seq < self.unsure_until
    }

    /// The number under which `message` is known, if it is one near `seq` but not `seq` itself.
    pub(super) fn number_of(&self, message: Message, seq: u64) -> Option<u64> {
        let is_it = |r: &Record| {
            r.acked.is_some_and(|a| a.message == message)
                || r.relayed.is_some_and(|r| r.message == message)
        };
        let mut ahead = (self.base..seq.saturating_add(exchange_span())).zip(&self.records);
        let ahead = ahead.find(|&(n, record)| n != seq && is_it(record));
        ahead.map(|(n, _)| n).or_else(|| {
            let mut settled = self.recent.iter().rev();
            let found =
                settled.find(|(n, known)| *n != seq && known.certain && known.message == message);
            found.map(|&(n, _)| n)
        })
    }

    /// The numbers from `low` to `high` whose messages are certain.
    pub(super) fn known_between(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, Known)> {
        let high = high.min(low.saturating_add(bounds::settled_numbers() as u64));
        let from = self.recent.partition_point(|&(n, _)| n < low);
        let settled = self.recent.range(from..).copied();
        let settled = settled.take_while(move |&(n, _)| n <= high);
        let settled = settled.filter(|(_, known)| known.certain);
        let passed = low.saturating_sub(self.base) as usize;
        let waiting = self.records.range(passed.min(self.records.len())..);
        let waiting = (low.max(self.base)..=high).zip(waiting);
        let waiting = waiting.filter_map(|(n, record)| Some((n, record.known()?)));
        settled.chain(waiting.filter(|(_, known)| known.certain))
    }
}

impl Record {
    /// The message that the number is: by its ack, else by its relays, else by an ack out of order.
    pub(super) fn known(&self) -> Option<Known> {
        let (acked, relayed) = (self.acked, self.relayed);
        let certain = acked.is_some() || relayed.is_some();
        let acked = if certain {
            acked
        } else {
            self.acked_out_of_order
        };
        let message = acked.map(|a| a.message).or(relayed.map(|r| r.message))?;
        let due_ns = relayed.map_or(0, |r| r.intended_ns);
        Some(Known {
            message,
            sent_ns: acked.map_or(due_ns, |a| a.sent_ns),
            acked: acked.is_some(),
            relayed: relayed.is_some(),
            certain,
        })
    }
}
