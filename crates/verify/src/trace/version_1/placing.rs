//! The number that was due to a session, by the rules of the ledgers that wrote version 1.
//!
//! They waited longer than today's for the explanation of a frame ahead of the number due, and
//! accepted other frames as one.

use std::collections::VecDeque;
use std::iter;
use std::ops::Range;

use crate::sessions::NEVER;
use crate::stream::Excused;

/// Early frames remembered for each session.
const MAX_EARLY: usize = 16;

/// Numbers that a session skipped before it did not wait for them any longer.
const REORDER_WINDOW: u64 = 1024;

/// The place of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Onward,
    Skipped,
    Early,
    Behind,
}

/// The place of one session in the numbers.
#[derive(Debug)]
pub(super) struct Placing {
    /// The number due; [`NEVER`] outside welcome … bye.
    pub(super) next: u64,
    early: Vec<Early>,
    /// Numbers skipped: ascending, apart.
    holes: VecDeque<Range<u64>>,
    excused: Excused,
    swallowing: u64,
}

#[derive(Debug, Clone, Copy)]
struct Early {
    seq: u64,
    due: u64,
    fresh: bool,
    reported: bool,
}

impl Placing {
    pub(super) fn new() -> Self {
        Self {
            next: NEVER,
            early: Vec::new(),
            holes: VecDeque::new(),
            excused: Excused::default(),
            swallowing: 0,
        }
    }

    pub(super) fn place(&mut self, seq: u64) -> Place {
        if seq > self.next {
            return self.jump(seq);
        }
        if seq < self.next {
            return self.fall_back(seq);
        }
        self.next += 1;
        self.went_on();
        Place::Onward
    }

    /// The frame due has come.
    pub(super) fn went_on(&mut self) {
        self.swallowing = 0;
        let next = self.next;
        self.early.retain(|e| e.seq >= next);
        self.early.iter_mut().for_each(|e| e.fresh = false);
    }

    fn fall_back(&mut self, seq: u64) -> Place {
        if !self.fill(seq) {
            return Place::Behind;
        }
        self.early.iter_mut().for_each(|e| e.fresh = false);
        let partner = self.early.iter_mut().find(|e| e.due <= seq && !e.reported);
        if let Some(early) = partner {
            early.reported = true;
        }
        Place::Skipped
    }

    fn jump(&mut self, seq: u64) -> Place {
        let due = self.first_open(self.next).min(seq);
        if due == seq {
            self.excused.pass(seq);
            let next = self.next;
            self.early.retain(|e| !(next..seq).contains(&e.seq));
        } else if seq - due <= self.swallowing {
            // The malformed line had room for the numbers in between.
        } else if let Some(at) = self.early.iter().position(|e| e.fresh) {
            let early = self.early[at];
            if early.seq < seq && self.excused.end_of_run(early.seq + 1) >= seq {
                self.commit(at);
            } else if due + 1 == seq {
                self.skip_to(seq);
            } else {
                if early.seq < seq {
                    self.commit(at);
                }
                return self.set_aside(seq);
            }
        } else {
            return self.set_aside(seq);
        }
        self.next = seq + 1;
        self.went_on();
        Place::Onward
    }

    fn commit(&mut self, at: usize) {
        let early = self.early.remove(at);
        self.skip_to(early.seq);
        self.next = early.seq + 1;
    }

    fn set_aside(&mut self, seq: u64) -> Place {
        self.early.iter_mut().for_each(|e| e.fresh = false);
        if self.early.len() == MAX_EARLY {
            self.early.remove(0);
        }
        self.early.push(Early {
            seq,
            due: self.next,
            fresh: true,
            reported: false,
        });
        Place::Early
    }

    /// An irregular frame stands for number `seq`.
    pub(super) fn excuse(&mut self, seq: u64) {
        if !self.fill(seq) && seq >= self.next {
            self.excused.insert(seq);
        }
    }

    fn skip_to(&mut self, seq: u64) {
        let skipped = self.next..seq;
        let certain_from = self.excused.certain_from(&skipped);
        let mut came: Vec<Range<u64>> = self.excused.within(&skipped).collect();
        let was_real = |e: &mut Early| !e.fresh && skipped.contains(&e.seq);
        let early = self.early.extract_if(.., was_real);
        came.extend(early.map(|e| e.seq..e.seq + 1));
        came.sort_unstable_by_key(|came| came.start);
        let mut from = skipped.start;
        for came in came.into_iter().chain(iter::once(seq..seq)) {
            let certain = from.max(certain_from).min(came.start);
            if certain < came.start {
                self.holes.push_back(certain..came.start);
            }
            from = came.end;
        }
        self.excused.pass(seq);
    }

    /// Takes `seq` out of the skipped numbers; returns whether it was one.
    fn fill(&mut self, seq: u64) -> bool {
        let Some(at) = self.holes.iter().position(|hole| hole.contains(&seq)) else {
            return false;
        };
        let Some(hole) = self.holes.remove(at) else {
            return false;
        };
        for part in [seq + 1..hole.end, hole.start..seq] {
            if !part.is_empty() {
                self.holes.insert(at, part);
            }
        }
        true
    }

    /// The first number from `seq` on for which nothing came.
    fn first_open(&self, mut seq: u64) -> u64 {
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

    /// Something malformed came, with room for so many other frames.
    pub(super) fn malformed(&mut self, could_hide: u64) {
        self.swallowing = self.swallowing.saturating_add(1);
        self.swallowing = self.swallowing.saturating_add(could_hide);
    }

    /// Counts all numbers that the malformed lines can have swallowed as swallowed.
    pub(super) fn swallow(&mut self) {
        self.swallowing = 0;
    }

    pub(super) fn is_after_malformed(&self) -> bool {
        self.swallowing > 0
    }

    /// Whether some early frame waits for its explanation.
    pub(super) fn has_early(&self) -> bool {
        self.early.iter().any(|early| !early.reported)
    }

    /// A batch is handed over: numbers that were skipped long ago are given up.
    pub(super) fn give_up(&mut self) {
        let hole = self.holes.front().map_or(NEVER, |hole| hole.start);
        let early = self.early.iter().map(|e| e.due).min().unwrap_or(NEVER);
        let open = hole.min(early);
        if self.next == NEVER || open.saturating_add(REORDER_WINDOW) >= self.next {
            return;
        }
        let before = self.next - REORDER_WINDOW;
        self.early.retain(|e| e.due >= before);
        self.holes.retain(|hole| hole.start >= before);
    }
}
