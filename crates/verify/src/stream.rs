//! The stream of numbers that one session gets: which is due, and which did not come. For a session
//! that has seen nothing unusual it takes a few words.
//!
//! [`placing`] finds the place of each numbered frame; [`trouble`] is the state that it needs where
//! frames do not come one after the other, [`excused`] the numbers that irregular frames stood for.

mod excused;
mod moves;
mod placing;
mod trouble;

use super::bounds;
use super::sessions::{NEVER, Stage};
pub(super) use excused::Excused;
pub(super) use moves::{Move, Moves};
pub(super) use placing::Place;
pub(super) use trouble::{Carried, Early, Form, Hole, Trouble};

/// A session's progress in the numbers.
#[derive(Debug)]
pub(super) struct Stream {
    /// The number that must come next; [`NEVER`] outside welcome … bye.
    pub(super) next: u64,
    /// No number up to this one is owed: the welcome's, and before it the highest that anyone had
    /// seen when the connection began.
    pub(super) joined: u64,
    /// The amount that is added to the numbers that the target states: 0 unless it has begun anew.
    pub(super) added: u64,
    /// The first number that is still open: skipped and not given up, or due when an early frame
    /// came that is not explained.
    pub(super) oldest_open: u64,
    /// When its welcome came; [`NEVER`] before, and without one.
    pub(super) welcomed_ns: u64,
    /// Everything that went wrong; absent nearly always.
    pub(super) trouble: Option<Box<Trouble>>,
}

impl Stream {
    pub(super) const fn new(joined: u64, added: u64) -> Self {
        Self {
            next: NEVER,
            joined,
            added,
            oldest_open: NEVER,
            welcomed_ns: NEVER,
            trouble: None,
        }
    }

    pub(super) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// The last number seen (or never owed).
    pub(super) fn seen(&self) -> u64 {
        if self.next == NEVER {
            self.joined
        } else {
            self.next - 1
        }
    }

    /// Numbers up to `highest_seq` under which nothing came.
    pub(super) fn unseen(&self, highest_seq: u64) -> u64 {
        let unseen = self.seen() + 1..highest_seq.saturating_add(1);
        let excused = self.trouble.as_ref().map(|t| &t.excused);
        let irregular = excused.map_or(0, |excused| excused.count_within(&unseen));
        (unseen.end.saturating_sub(unseen.start)).saturating_sub(irregular)
    }

    /// The number due; after many irregular frames in a row, one that is [`bounds::reorder_window`]
    /// before their end: frames under earlier numbers are not waited for.
    fn passed(&self) -> u64 {
        let excused = self.trouble.as_ref().map(|t| &t.excused);
        let end = excused.map_or(self.next, |excused| excused.end_of_run(self.next));
        self.next
            .max(end.saturating_sub(bounds::reorder_window() as u64))
    }

    /// The first number about which a session at this stage may still report something.
    pub(super) fn horizon(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Connecting => self.joined + 1,
            Stage::Open => self.passed().min(self.oldest_open),
            Stage::Finished | Stage::Free => NEVER,
        }
    }
}
