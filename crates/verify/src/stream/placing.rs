//! The place of a numbered frame in its session's stream, and what it reveals about earlier frames.
//!
//! A frame ahead of the number due is not believed at once: were frames lost before it, did it
//! overtake them, or is its number wrong? The cursor follows the reading under which the later
//! frames continue without a gap.

use std::cmp::Ordering;
use std::iter;
use std::ops::Range;

use super::Stream;
use super::moves::Moves;
use super::trouble::{Carried, Early, Hole};
use crate::anomaly::{ClaimDoubt, Proof, Since};
use crate::batch::Message;
use crate::bounds;
use crate::sessions::NEVER;

/// The place of a number in a session's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The next one, or a later one (then the numbers that it skipped are on record).
    Onward,
    /// One that had been skipped.
    Skipped,
    /// Ahead of the one due; the frames after it decide what it is.
    Early,
    /// One that had come, or that was never owed.
    Behind,
    /// One that had not come when it was given up.
    Late,
    /// One that had come, or that had been given up: that is forgotten.
    Forgotten,
}

impl Stream {
    /// Takes number `seq` where it belongs; skipped numbers become a hole. Conclusions about
    /// earlier frames go to `moves`. Numbers over `plausible` are not believed on the word of one
    /// frame.
    pub(crate) fn place(
        &mut self,
        seq: u64,
        carried: Carried,
        plausible: u64,
        moves: &mut Moves,
    ) -> Place {
        let message = carried.relayed();
        let trouble = self.trouble.as_deref_mut();
        let overtaken = trouble.zip(message).is_some_and(|(t, m)| t.is_overtaken(m));
        let place = match seq.cmp(&self.next) {
            Ordering::Greater => self.jump(seq, carried, plausible, moves),
            Ordering::Less => self.fall_back(seq, carried, overtaken, moves),
            Ordering::Equal => {
                self.next += 1;
                self.went_on(moves);
                Place::Onward
            }
        };
        if let Some(trouble) = self.trouble.as_deref_mut() {
            // A number that had been skipped is on record itself.
            if place == Place::Onward {
                trouble.came_after_early(seq);
            }
            if let Some(message) = message {
                trouble.remember(message);
            }
        }
        place
    }

    /// The frame due has come, with `message`: the same as [`Stream::place`] would do.
    pub(crate) fn went_on_with(&mut self, message: Message, moves: &mut Moves) {
        let Some(trouble) = self.trouble.as_deref_mut() else {
            return;
        };
        trouble.is_overtaken(message);
        let seq = self.next - 1;
        self.went_on(moves);
        self.trouble().came_after_early(seq);
        self.trouble().remember(message);
    }

    /// The frame due has come: no early frame is fresh any more, and those under it are
    /// unexplained.
    fn went_on(&mut self, moves: &mut Moves) {
        let next = self.next;
        let Some(trouble) = self.trouble.as_deref_mut() else {
            return;
        };
        trouble.swallowing = 0;
        for early in &mut trouble.early {
            early.fresh = false;
        }
        let passed = trouble.early.extract_if(.., |e| e.seq < next);
        passed.for_each(|early| moves.unexplained(early, ClaimDoubt::None));
        self.oldest_open = trouble.oldest();
    }

    /// Number `seq` is under the one due: it fills a hole, or does not belong here.
    fn fall_back(
        &mut self,
        seq: u64,
        carried: Carried,
        overtaken: bool,
        moves: &mut Moves,
    ) -> Place {
        // Taken before the hole is filled: with the last hole the disorder may end.
        let disorder = self.trouble.as_deref().and_then(|t| t.disorder);
        let Some(hole) = self.fill(seq) else {
            let trouble = self.trouble.as_deref_mut();
            return trouble.map_or(Place::Behind, |trouble| trouble.was_given_up(seq));
        };
        let newest = self.next - 1;
        let trouble = self.trouble();
        for early in &mut trouble.early {
            early.fresh = false;
        }
        // Two frames exchanged make one early and one late frame: one displacement.
        let partner = trouble
            .early
            .iter_mut()
            .find(|e| e.due <= seq && !e.reported);
        let (mut own, mut fifo) = (carried.is_ack(), overtaken);
        let high = partner.map_or(newest, |early| {
            early.reported = true;
            own |= early.carried.is_ack();
            fifo |= early.overtook;
            early.seq.max(newest)
        });
        let (Proof::Later(proof) | Proof::Bye(proof)) = hole.proof;
        let since = Since {
            seq: proof,
            at_ns: hole.at_ns,
        };
        moves.displaced((seq, high), own, fifo, since, disorder);
        trouble.came_late = !trouble.holes.is_empty();
        Place::Skipped
    }

    /// Number `seq` is ahead of the one due. Frames were lost, or overtaken, or a number is wrong:
    /// the cursor follows the reading under which the stream continues.
    fn jump(&mut self, seq: u64, carried: Carried, plausible: u64, moves: &mut Moves) -> Place {
        self.absorb(seq, moves);
        let due = self.next;
        let trouble = self.trouble();
        if seq - due <= trouble.swallowing {
            trouble.swallowed += seq - due; // nothing, where all before it is accounted for
        } else if let Some(at) = trouble.early.iter().position(|e| e.fresh) {
            let early = trouble.early[at];
            if early.seq < seq && trouble.excused.end_of_run(early.seq + 1) >= seq {
                // It was what its number says, and the numbers before it were lost.
                self.commit(at, moves);
            } else if due + 1 == seq {
                // It stood where `due` belongs.
                let proof = Proof::Later(early.seq);
                self.skip_to(seq, proof, early.carried.at_ns, moves);
            } else {
                if early.seq < seq {
                    self.commit(at, moves);
                    self.absorb(seq, moves);
                }
                if self.next < seq {
                    return self.set_aside(seq, carried, plausible, moves);
                }
            }
        } else {
            return self.set_aside(seq, carried, plausible, moves);
        }
        self.next = seq + 1;
        self.went_on(moves);
        Place::Onward
    }

    /// Moves the cursor over numbers that are accounted for, up to `seq`: early frames among them
    /// are what they say, and came too early.
    fn absorb(&mut self, seq: u64, moves: &mut Moves) {
        let next = self.next;
        let trouble = self.trouble();
        let due = trouble.first_open(next).min(seq);
        if due == next {
            return;
        }
        trouble.excused.pass(due);
        let early = (trouble.early).extract_if(.., |e| (next..due).contains(&e.seq));
        early.for_each(|early| early.confirm(moves));
        self.next = due;
        self.oldest_open = self.trouble().oldest();
    }

    /// The early frame at `at` is what it says; the numbers before it were skipped.
    fn commit(&mut self, at: usize, moves: &mut Moves) {
        let early = self.trouble().early.remove(at);
        let proof = Proof::Later(early.seq);
        self.skip_to(early.seq, proof, early.carried.at_ns, moves);
        self.next = early.seq + 1;
        moves.confirmed(early);
    }

    fn set_aside(
        &mut self,
        seq: u64,
        carried: Carried,
        plausible: u64,
        moves: &mut Moves,
    ) -> Place {
        let early = Early {
            seq,
            due: self.next,
            carried,
            fresh: true,
            reported: false,
            overtook: false,
            lowest_after: NEVER,
        };
        let trouble = self.trouble();
        if trouble.disorder.is_some() {
            if seq > plausible {
                self.leave_unplaced(early, moves);
                return Place::Early;
            }
            self.skip_to(seq, Proof::Later(seq), carried.at_ns, moves);
            self.next = seq + 1;
            return Place::Onward;
        }
        for early in &mut trouble.early {
            early.fresh = false;
        }
        trouble.came_after_early(seq);
        trouble.early.push(early);
        self.oldest_open = trouble.oldest();
        if self.trouble().early.len() > bounds::early_frames() {
            self.take_at_their_word(plausible, moves);
        }
        Place::Early
    }

    /// All early frames are what they say: the numbers between them were skipped.
    pub(crate) fn take_at_their_word(&mut self, plausible: u64, moves: &mut Moves) {
        let from = self.next;
        let mut early = std::mem::take(&mut self.trouble().early);
        early.sort_unstable_by_key(|e| e.seq);
        for early in early {
            if early.seq < self.next {
                moves.unexplained(early, ClaimDoubt::None); // it came twice
            } else if early.seq > plausible {
                self.leave_unplaced(early, moves);
            } else {
                let proof = Proof::Later(early.seq);
                self.skip_to(early.seq, proof, early.carried.at_ns, moves);
                self.next = early.seq + 1;
                moves.confirmed(early);
                if early.overtook_a_lower_one() {
                    moves.overtook(&early, early.lowest_after, Some(from));
                }
            }
        }
        let trouble = self.trouble();
        trouble.disorder = Some(from);
        trouble.end_disorder();
        self.oldest_open = trouble.oldest();
    }

    /// Nothing shows what `early` was; its number is not missed.
    fn leave_unplaced(&mut self, early: Early, moves: &mut Moves) {
        self.excuse(early.seq);
        moves.unexplained(early, ClaimDoubt::Unplaced);
    }

    /// The stream ends, and `last` is the last number owed: numbers that did not come are holes.
    pub(crate) fn close(&mut self, last: u64, now_ns: u64, moves: &mut Moves) {
        let mut early = std::mem::take(&mut self.trouble().early);
        early.sort_unstable_by_key(|e| e.seq);
        for early in early {
            if early.seq < self.next || early.seq > last {
                moves.unexplained(early, ClaimDoubt::None);
                continue;
            }
            let in_place = early.seq == self.next;
            let proof = Proof::Later(early.seq);
            self.skip_to(early.seq, proof, early.carried.at_ns, moves);
            self.next = early.seq + 1;
            moves.confirmed(early);
            if early.overtook_a_lower_one() {
                moves.overtook(&early, early.lowest_after, None);
            } else if in_place && !early.reported && !early.fresh {
                moves.overtook(&early, early.due, None);
            }
        }
        let (from, until) = (self.next, last.saturating_add(1));
        if from < until {
            let trouble = self.trouble();
            if until - from <= trouble.swallowing {
                trouble.swallowed += until - from;
            } else {
                self.skip_to(until, Proof::Bye(last), now_ns, moves);
            }
            self.next = until;
        }
        self.oldest_open = self.trouble().oldest();
    }

    /// Number `seq` stands in an irregular frame: if it never comes properly, that is no second
    /// violation.
    pub(crate) fn excuse(&mut self, seq: u64) {
        if self.fill(seq).is_some() || seq < self.next {
            return;
        }
        self.trouble().excused.insert(seq);
    }

    /// Numbers `next..seq` did not come, except those that irregular frames stood for, and those
    /// that came early.
    fn skip_to(&mut self, seq: u64, proof: Proof, at_ns: u64, moves: &mut Moves) {
        let skipped = self.next..seq;
        let trouble = self.trouble();
        let certain_from = trouble.excused.certain_from(&skipped);
        let mut came: Vec<Range<u64>> = trouble.excused.within(&skipped).collect();
        let was_real = |e: &mut Early| !e.fresh && skipped.contains(&e.seq);
        for early in trouble.early.extract_if(.., was_real) {
            came.push(early.seq..early.seq + 1);
            early.confirm(moves);
        }
        came.sort_unstable_by_key(|came| came.start);
        let mut from = skipped.start;
        for came in came.into_iter().chain(iter::once(seq..seq)) {
            let until = came.start;
            let certain = from.max(certain_from).min(until);
            let undecided = certain.saturating_sub(from);
            trouble.undecided = trouble.undecided.saturating_add(undecided);
            if undecided > 0 {
                trouble.forgotten_until = trouble.forgotten_until.max(certain);
            }
            if certain < until {
                let hole = Hole {
                    from: certain,
                    until,
                    proof,
                    at_ns,
                };
                trouble.holes.insert(certain, hole);
            }
            from = came.end;
        }
        trouble.excused.pass(seq);
        self.oldest_open = trouble.oldest();
    }

    /// Takes `seq` out of the hole it lies in.
    fn fill(&mut self, seq: u64) -> Option<Hole> {
        let trouble = self.trouble.as_deref_mut()?;
        let holes = &mut trouble.holes;
        let (&from, &hole) = holes.range(..=seq).next_back()?;
        if seq >= hole.until {
            return None;
        }
        holes.remove(&from);
        for part in [
            Hole {
                from: seq + 1,
                ..hole
            },
            Hole { until: seq, ..hole },
        ] {
            if part.from < part.until {
                holes.insert(part.from, part);
            }
        }
        trouble.end_disorder();
        self.oldest_open = trouble.oldest();
        Some(hole)
    }

    /// The stream broke off, and no later frame will explain an early one. Where everything that it
    /// overtook has come it was what it says; elsewhere it may prove a loss, or be misnumbered.
    pub(crate) fn broke_off(&mut self, moves: &mut Moves) {
        let Some(trouble) = self.trouble.as_deref_mut() else {
            return;
        };
        let mut early = std::mem::take(&mut trouble.early);
        early.sort_unstable_by_key(|e| e.seq);
        for early in early {
            if early.seq < self.next {
                moves.unexplained(early, ClaimDoubt::None);
                continue;
            }
            let due = self.next;
            let from = self.pass_wrong_lines(early.seq);
            self.next = early.seq + 1;
            let holes = &self.trouble().holes;
            let before = holes.range(..=early.due).next_back();
            let lacking = before.is_some_and(|(_, hole)| early.due < hole.until);
            if early.seq > from || lacking {
                moves.last_frame(early, from);
                continue;
            }
            moves.confirmed(early);
            if !early.reported && from == due {
                moves.overtook(&early, early.due, None);
            }
        }
        self.oldest_open = self.trouble().oldest();
    }

    /// The first number up to `seq` from which on no irregular line stands for a number. Numbers
    /// missing before it count as undecided: their frames may have come as such a line.
    fn pass_wrong_lines(&mut self, seq: u64) -> u64 {
        let before = self.next..seq;
        let trouble = self.trouble();
        let last = trouble.excused.within(&before).last();
        let certain_from = trouble.excused.certain_from(&before);
        let from = last.map_or(certain_from, |last| last.end.max(certain_from));
        let passed = before.start..from;
        let undecided = (from - before.start).saturating_sub(trouble.excused.count_within(&passed));
        trouble.undecided = trouble.undecided.saturating_add(undecided);
        from
    }

    /// Takes out the holes that begin under `seq`: they are given up, and the early frames of that
    /// time stay unexplained.
    pub(crate) fn give_up_before(&mut self, seq: u64, moves: &mut Moves) -> Vec<Hole> {
        let Some(trouble) = &mut self.trouble else {
            return Vec::new();
        };
        let stale: Vec<Early> = trouble.early.extract_if(.., |e| e.due < seq).collect();
        let left = trouble.holes.split_off(&seq);
        let given_up = std::mem::replace(&mut trouble.holes, left);
        trouble.end_disorder();
        for early in stale {
            self.leave_unplaced(early, moves);
        }
        let trouble = self.trouble();
        if seq != NEVER {
            given_up.values().for_each(|hole| trouble.give_up(hole));
        }
        self.oldest_open = trouble.oldest();
        given_up.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
