//! The judge over all shards, which ends in the findings of a run. A room is a broadcast of its
//! own, so each has a judge of its own ([`room`]), who is asked only when something new is known of
//! the room; what all of them find is summed up here.

mod room;
mod summary;

use std::sync::Arc;

use super::batch::{Batch, RoomBatch};
use super::directory::Directory;
use super::findings::{Findings, RoomFindings};
use super::promises::RelayPromise;
use super::trace::tag::Tag;
use super::trace::tape::Writing;
use super::trace::view::View;
use chatbench_wire::rooms::RoomId;
use room::RoomJudge;

/// A message about which everything is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The room that it was sent in.
    pub room: RoomId,
    /// When it was due.
    pub intended_ns: u64,
    /// When its first receiver got it.
    pub first_ns: u64,
    /// When its last receiver got it.
    pub last_ns: u64,
    /// How many got it.
    pub receivers: u64,
}

/// The judge of a run.
#[derive(Debug)]
pub struct Judge {
    /// It sees the unnamed room.
    directory: View,
    late_after_ns: Option<u64>,
    relay: RelayPromise,
    unnamed: RoomJudge,
    /// Of the rooms that have names, by [`RoomId`]; absent while nothing is known of them.
    named: Vec<Option<Box<RoomJudge>>>,
    /// Violations in the named rooms so far.
    in_named: u64,
}

impl Judge {
    /// A judge over `shards` shards.
    #[must_use]
    pub fn new(directory: Arc<Directory>, shards: usize, late_after_ns: Option<u64>) -> Self {
        let view = View::new(directory);
        let watermarks = vec![0; shards];
        Self {
            unnamed: RoomJudge::new(view.in_room(RoomId::UNNAMED), watermarks, late_after_ns),
            directory: view,
            late_after_ns,
            relay: RelayPromise::ExactlyOnce,
            named: Vec::new(),
            in_named: 0,
        }
    }

    /// Takes the promise of relays into account.
    #[must_use]
    pub fn with_relays(mut self, relay: RelayPromise) -> Self {
        self.relay = relay;
        self.unnamed = self.unnamed.with_relays(relay);
        self
    }

    /// Sets how late a delivery may be, in ns.
    #[cfg(test)]
    pub(super) fn with_late_after(mut self, ns: u64) -> Self {
        self.late_after_ns = Some(ns);
        self.unnamed = self.unnamed.with_late_after(ns);
        self
    }

    /// Writes down from here on the order in which batches come.
    pub fn record_on(&mut self, tape: Writing) {
        self.directory.record_on(tape);
    }

    /// Violations found so far. Later frames may still explain some of them, so the number can
    /// shrink.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        self.unnamed.violation_count() + self.in_named
    }

    /// Takes in what `shard` has learned; `settled` gets each message that is now complete.
    pub fn absorb(&mut self, shard: usize, mut batch: Batch, mut settled: impl FnMut(Settled)) {
        if let Some(tape) = self.directory.begin_event() {
            tape.event(Tag::Absorb).number(shard as u64);
        }
        let named = std::mem::take(&mut batch.named);
        self.unnamed.absorb(shard, batch, &mut settled);
        for batch in named {
            self.in_room(
                batch,
                |judge,
                 RoomBatch {
                     ledger,
                     left,
                     batch,
                     ..
                 }| {
                    judge.ledger_left(ledger, left);
                    judge.absorb(ledger, batch, &mut settled);
                },
            );
        }
    }

    /// Takes from a batch of `shard` only what needs no judgement: the time is up. From here on
    /// nothing is settled.
    pub fn pass_over(&mut self, shard: usize, mut batch: Batch, mut settled: impl FnMut(Settled)) {
        if let Some(tape) = self.directory.begin_event() {
            tape.event(Tag::PassOver).number(shard as u64);
        }
        let named = std::mem::take(&mut batch.named);
        self.unnamed.pass_over(batch, &mut settled);
        for batch in named {
            self.in_room(batch, |judge, one| judge.pass_over(one.batch, &mut settled));
        }
    }

    /// Tells the judge of a named room something.
    fn in_room(&mut self, batch: RoomBatch, tell: impl FnOnce(&mut RoomJudge, RoomBatch)) {
        let index = batch.room.0 as usize;
        if index >= self.named.len() {
            self.named.resize_with(index + 1, || None);
        }
        let judge = self.named[index].get_or_insert_with(|| {
            let view = self.directory.in_room(batch.room);
            let judge = RoomJudge::new(view, Vec::new(), self.late_after_ns);
            Box::new(judge.with_relays(self.relay))
        });
        let before = judge.violation_count();
        tell(judge, batch);
        self.in_named = self.in_named + judge.violation_count() - before;
    }

    /// Makes the final judgement: every batch is in. `target_gone` says that the whole target went
    /// away, so that a closed connection is not counted against it for each client.
    #[must_use]
    pub fn finish(mut self, target_gone: bool, settled: impl FnMut(Settled)) -> Findings {
        self.conclude(target_gone, settled);
        self.summed_up()
    }

    /// Judges all that is still open.
    pub(super) fn conclude(&mut self, target_gone: bool, mut settled: impl FnMut(Settled)) {
        if let Some(tape) = self.directory.begin_event() {
            tape.event(Tag::Finish).number(u64::from(target_gone));
        }
        self.unnamed.conclude(target_gone, &mut settled);
        for judge in self.named.iter_mut().flatten() {
            judge.conclude(target_gone, &mut settled);
        }
    }

    /// Findings by now: everything, or, where the observations break off, what is certain.
    #[must_use]
    pub(super) fn summed_up(self) -> Findings {
        let Self {
            directory,
            unnamed,
            named,
            ..
        } = self;
        let (clients, rooms) = (directory.names(), directory.room_names());
        let mut sum = unnamed.summed_up();
        let mut by_room = Vec::new();
        for judge in named.into_iter().flatten() {
            let room = judge.room();
            let one = judge.summed_up();
            by_room.push(RoomFindings {
                room,
                name: rooms.name(room).to_owned(),
                counts: one.counts,
                coverage: one.coverage,
                violations: one.found.total(),
            });
            sum.add_room(one);
        }
        sum.in_words(clients, rooms, by_room)
    }
}
