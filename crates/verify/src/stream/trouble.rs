//! Trouble of a session, as far as later frames depend on it: numbers that did not come, frames
//! that came too early, irregular frames that stand for others. Absent nearly always.

use std::collections::{BTreeMap, HashMap};

use super::Stream;
use super::excused::Excused;
use super::moves::Moves;
use super::placing::Place;
use crate::anomaly::Proof;
use crate::batch::Message;
use crate::bounds;
use crate::sessions::NEVER;
use chatbench_wire::payload::SenderId;

/// Everything that went wrong in a session, as far as later frames depend on it.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Numbers skipped, as disjoint runs; by the first of each.
    pub(crate) holes: BTreeMap<u64, Hole>,
    /// Numbers that are not waited for any longer, as runs by their first.
    given_up: BTreeMap<u64, u64>,
    /// It is forgotten which numbers under this one were given up, or did not come.
    pub(super) forgotten_until: u64,
    /// Frames whose number was ahead of the one due, not yet explained.
    pub(super) early: Vec<Early>,
    /// The number that was due when there came to be more early frames than can be explained: while
    /// numbers are missing from there on, each frame is taken for what its number says.
    pub(super) disorder: Option<u64>,
    /// An overtaken frame has come since numbers began to be missing: so those that are missing now
    /// are not lost just for having been overtaken.
    pub(crate) came_late: bool,
    /// The latest message that came of each sender while numbers were missing.
    latest: HashMap<SenderId, u64>,
    /// Numbers that an irregular frame stood for: not missed a second time.
    pub(crate) excused: Excused,
    /// Numbers that did not come to a session that got more irregular frames than are remembered:
    /// whether one of these stood for them is not known.
    pub(crate) undecided: u64,
    /// It was welcomed at this number, and larger ones had been seen when it began to connect. The
    /// next frame that has one tells whether the target began its numbers anew.
    pub(crate) welcomed_at: Option<u64>,
    /// How many numbers the malformed lines that came last can have swallowed.
    pub(super) swallowing: u64,
    /// Numbers that malformed lines did swallow, perhaps own acks among them.
    pub(crate) swallowed: u64,
}

/// Numbers `from..until` that were skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// The number that came instead, or the bye.
    pub(crate) proof: Proof,
    pub(crate) at_ns: u64,
}

/// The content of a numbered frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    /// `None` for a text that a script sent byte for byte.
    pub(crate) message: Option<Message>,
    pub(crate) intended_ns: u64,
    pub(crate) at_ns: u64,
    pub(crate) form: Form,
}

/// The form of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A relay; `clean` if nothing else was wrong with it.
    Relay { clean: bool },
    /// The ack of a message sent at `sent_ns`, in the order sent or not.
    Ack { sent_ns: u64, in_order: bool },
}

/// A frame that was ahead of the number due. Whether frames were lost before it, whether it
/// overtook them, or whether its number is wrong, only the frames after it tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Early {
    pub(crate) seq: u64,
    /// The number that was due.
    pub(crate) due: u64,
    pub(crate) carried: Carried,
    /// No numbered frame has come since.
    pub(super) fresh: bool,
    /// A displacement that it is part of is on record.
    pub(super) reported: bool,
    /// It is a relay, and an earlier message of its sender came after it.
    pub(super) overtook: bool,
    /// The lowest number that came after it, if that is lower than its own; else [`NEVER`].
    pub(super) lowest_after: u64,
}

impl Stream {
    /// Something malformed came, which can have swallowed a number, and `could_hide` others.
    pub(crate) fn malformed(&mut self, could_hide: u64) {
        let trouble = self.trouble();
        let swallowing = trouble.swallowing.saturating_add(1);
        trouble.swallowing = swallowing.saturating_add(could_hide);
    }

    /// Whether a malformed line came last.
    pub(crate) fn is_after_malformed(&self) -> bool {
        self.trouble.as_ref().is_some_and(|t| t.swallowing > 0)
    }

    /// Whether some early frame waits for its explanation.
    pub(crate) fn has_early(&self) -> bool {
        let unreported = |t: &Trouble| t.early.iter().any(|e| !e.reported);
        self.trouble.as_deref().is_some_and(unreported)
    }
}

impl Carried {
    pub(super) fn is_ack(&self) -> bool {
        matches!(self.form, Form::Ack { .. })
    }

    /// The message, if it is another's.
    pub(super) fn relayed(&self) -> Option<Message> {
        self.message.filter(|_| !self.is_ack())
    }
}

impl Early {
    /// It was what its number says. If others came after it, it came too early.
    pub(super) fn confirm(self, moves: &mut Moves) {
        moves.confirmed(self);
        if !self.reported && !self.fresh {
            moves.overtook(&self, self.due, None);
        }
    }

    /// Whether a lower number came after it and that is not on record, even if others are missing.
    pub(super) fn overtook_a_lower_one(&self) -> bool {
        self.lowest_after != NEVER && !self.reported
    }
}

impl Trouble {
    /// Once nothing is missing any more, there may be an order from here on.
    pub(super) fn end_disorder(&mut self) {
        if self.holes.is_empty() {
            (self.disorder, self.came_late) = (None, false);
        }
    }

    /// Whether numbers were given up.
    pub(crate) fn gave_up(&self) -> bool {
        !self.given_up.is_empty() || self.forgotten_until > 0
    }

    /// Counts all numbers that the malformed lines can have swallowed as swallowed.
    pub(crate) fn swallow(&mut self) {
        self.swallowed = self.swallowed.saturating_add(self.swallowing);
        self.swallowing = 0;
    }

    /// The first number from `seq` on for which nothing came, neither an irregular frame nor one
    /// ahead of the number due.
    pub(super) fn first_open(&self, mut seq: u64) -> u64 {
        loop {
            let end = self.excused.end_of_run(seq);
            if end > seq {
                seq = end;
            } else if self.early.iter().any(|early| early.seq == seq) {
                seq += 1;
            } else {
                return seq;
            }
        }
    }

    /// The numbers of `hole` are not waited for any longer.
    pub(super) fn give_up(&mut self, hole: &Hole) {
        self.given_up.insert(hole.from, hole.until);
        while self.given_up.len() > bounds::given_up_runs()
            && let Some((_, until)) = self.given_up.pop_first()
        {
            self.forgotten_until = self.forgotten_until.max(until);
        }
    }

    /// The place of number `seq`, which is below the one due and in no hole.
    pub(super) fn was_given_up(&mut self, seq: u64) -> Place {
        let run = self.given_up.range(..=seq).next_back();
        if let Some((&from, &until)) = run.filter(|(_, until)| seq < **until) {
            self.given_up.remove(&from);
            let parts = [(from, seq), (seq + 1, until)];
            self.given_up
                .extend(parts.into_iter().filter(|(from, until)| from < until));
            Place::Late
        } else if seq < self.forgotten_until {
            Place::Forgotten
        } else {
            Place::Behind
        }
    }

    /// Whether a later message of the sender of `message`, which comes now, came before it.
    pub(super) fn is_overtaken(&mut self, message: Message) -> bool {
        let is_later = |m: Message| m.sender == message.sender && m.k > message.k;
        for early in &mut self.early {
            early.overtook |= early.carried.relayed().is_some_and(is_later);
        }
        let latest = self.latest.get(&message.sender);
        latest.is_some_and(|&k| k > message.k)
    }

    /// Number `seq` comes after the early frames.
    pub(super) fn came_after_early(&mut self, seq: u64) {
        for early in self.early.iter_mut().filter(|early| early.seq > seq) {
            early.lowest_after = early.lowest_after.min(seq);
        }
    }

    /// `message` has come, and has its place.
    pub(super) fn remember(&mut self, message: Message) {
        if self.holes.is_empty() && self.early.is_empty() {
            self.latest = HashMap::new();
            return;
        }
        let latest = self.latest.entry(message.sender).or_default();
        *latest = message.k.max(*latest);
    }

    pub(super) fn oldest(&self) -> u64 {
        let hole = self
            .holes
            .first_key_value()
            .map_or(NEVER, |(&from, _)| from);
        let early = self.early.iter().map(|e| e.due).min().unwrap_or(NEVER);
        hole.min(early)
    }
}
