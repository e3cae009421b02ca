//! The messages between the coordinator of a run and its shards.

use super::member::Rank;
use crate::measure::health::ShardLoad;
use crate::measure::rooms::ByRoom;
use crate::measure::{Interval, Window};
use crate::verify::batch::Batch;
use crate::verify::directory::ClientId;

/// A command of the coordinator to a shard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    /// Connect the observers, or everyone else; the phase began at `start_ns`.
    Connect { observers: bool, start_ns: u64 },
    /// Stop connecting: clients that are not connected yet stay so.
    StopConnecting,
    /// The load begins at `start_ns`.
    BeginLoad { start_ns: u64, window: Window },
    /// The load is over at `end_ns`: what was due before is sent, then nothing more.
    EndLoad { end_ns: u64 },
    /// The clients of a rank leave politely.
    Leave(Rank),
    /// Cut what is still connected, hand over the rest, end. Judging stops at `judge_until_ns`.
    Stop { judge_until_ns: u64 },
}

/// A report of a shard to the coordinator.
#[derive(Debug)]
pub(super) enum Report {
    /// New observations of its ledger, for the judge.
    Batch { shard: usize, batch: Box<Batch> },
    /// Everything that it recorded up to the end of a second of the run.
    Interval {
        shard: usize,
        second: u64,
        interval: Box<Interval>,
        clients: u64,
    },
    /// A client could not connect.
    Unreachable { client: ClientId, what: String },
    /// A script cannot go on, through no fault of the target.
    Stuck { client: ClientId, what: String },
    /// The first bytes of the target show that it is another kind of server: nothing can be judged.
    Foreign { client: ClientId, what: String },
    /// It has ended.
    Done(Totals),
}

/// The counts of a shard, over the whole run.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Messages of open loops that were due within the window.
    pub(super) offered: u64,
    /// Messages of open loops that were due when the load ended and never sent, through no
    /// fault of the target.
    pub(super) behind: u64,
    /// Messages of open loops that were due when the load ended and never sent.
    pub(super) unsent: u64,
    /// Of these, messages of clients whose connections were gone.
    pub(super) cut_off: u64,
    /// Messages sent by the clients of each group, whenever; none for groups after the last that
    /// sent any.
    pub(super) sent_by_group: Vec<u64>,
    /// The load of each shard's thread in the measured phase.
    pub(super) loads: Vec<ShardLoad>,
    /// Clients that were still connected.
    pub(super) cut: u64,
    /// Of these, clients that had left and were not answered.
    pub(super) unanswered: u64,
    /// Connections that the target closed, and that were made again.
    pub(super) reconnected: u64,
    /// When the target last said anything to a client of this shard; 0 for never.
    pub(super) heard_ns: u64,
    /// The longest pause of its thread, from the beginning of the measured phase to the shard's
    /// end.
    pub(super) longest_pause_ns: u64,
    /// Latencies in each room.
    pub(super) by_room: ByRoom,
}

impl Totals {
    /// Counts messages that clients of `group` sent.
    pub(super) fn sent(&mut self, group: usize, messages: u64) {
        if self.sent_by_group.len() <= group {
            self.sent_by_group.resize(group + 1, 0);
        }
        self.sent_by_group[group] += messages;
    }

    /// Adds those of another shard.
    pub(super) fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.behind += other.behind;
        self.unsent += other.unsent;
        self.cut_off += other.cut_off;
        for (group, messages) in other.sent_by_group.into_iter().enumerate() {
            self.sent(group, messages);
        }
        self.loads.extend(other.loads);
        self.cut += other.cut;
        self.unanswered += other.unanswered;
        self.reconnected += other.reconnected;
        self.heard_ns = self.heard_ns.max(other.heard_ns);
        self.longest_pause_ns = self.longest_pause_ns.max(other.longest_pause_ns);
        self.by_room.add(&other.by_room);
    }
}
