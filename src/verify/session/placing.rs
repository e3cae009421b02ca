//! Where a numbered frame falls in its session's stream, and what it says of the frames before it.
//!
//! A frame that is ahead of its time is not believed at once: were frames lost before it, did it
//! overtake them, or is its number wrong? The stream runs on under one of these readings, and the
//! cursor follows that.

use std::cmp::Ordering;
use std::iter;
use std::ops::Range;

use super::moves::Moves;
use super::trouble::{Carried, Early, Hole};
use super::{NEVER, Session};
use crate::verify::anomaly::{ClaimDoubt, Proof, Since};
use crate::verify::batch::Message;
use crate::verify::bounds;

/// Where a number falls in a session's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verify) enum Place {
    /// The next one, or a later one (then what it skipped is on record).
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

impl Session {
    /// Takes number `seq` where it belongs; skipped numbers become a hole. What that reveals
    /// about earlier frames goes to `moves`. Numbers over `plausible` are not believed for their
    /// own sake.
    pub(in crate::verify) fn place(
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
            // One that had been skipped is on record itself.
            if place == Place::Onward {
                trouble.came_after_early(seq);
            }
            if let Some(message) = message {
                trouble.remember(message);
            }
        }
        place
    }

    /// The frame due has come, with `message`: what [`Session::place`] would make of it.
    pub(in crate::verify) fn went_on_with(&mut self, message: Message, moves: &mut Moves) {
        let Some(trouble) = self.trouble.as_deref_mut() else {
            return;
        };
        trouble.is_overtaken(message);
        let seq = self.next - 1;
        self.went_on(moves);
        self.trouble().came_after_early(seq);
        self.trouble().remember(message);
    }

    /// The frame due has come: nothing is fresh any more, and what it overtook is unexplained.
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

    /// Number `seq` under the one due: fills a hole, or has no business here.
    fn fall_back(
        &mut self,
        seq: u64,
        carried: Carried,
        overtaken: bool,
        moves: &mut Moves,
    ) -> Place {
        // Before what may be the last that was missing is there.
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
        // Two frames exchanged make one early and one late: one displacement.
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

    /// Number `seq` is ahead of the one due. Frames were lost, or overtaken, or a number is
    /// wrong: the cursor follows the reading under which the stream runs on.
    fn jump(&mut self, seq: u64, carried: Carried, plausible: u64, moves: &mut Moves) -> Place {
        self.absorb(seq, moves);
        let due = self.next;
        let trouble = self.trouble();
        if seq - due <= trouble.swallowing {
            trouble.swallowed += seq - due; // nothing, where all before it is accounted for
        } else if let Some(at) = trouble.early.iter().position(|e| e.fresh) {
            let early = trouble.early[at];
            if early.seq < seq && trouble.excused.end_of_run(early.seq + 1) >= seq {
                // It was what it said, and what lies before it was lost.
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

    /// Moves the cursor over numbers that are accounted for, up to `seq`: early frames among them are
    /// what they said, and came before their time.
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

    /// The early frame at `at` is what it said; what lies before it was skipped.
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

    /// All early frames are what they say: what lies between them was skipped.
    pub(in crate::verify) fn take_at_their_word(&mut self, plausible: u64, moves: &mut Moves) {
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

    /// Nobody can say what `early` was; its number is not missed.
    fn leave_unplaced(&mut self, early: Early, moves: &mut Moves) {
        self.excuse(early.seq);
        moves.unexplained(early, ClaimDoubt::Unplaced);
    }

    /// The stream ends, and `last` is the last number owed: whatever did not come is a hole.
    pub(in crate::verify) fn close(&mut self, last: u64, now_ns: u64, moves: &mut Moves) {
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
    pub(in crate::verify) fn excuse(&mut self, seq: u64) {
        if self.fill(seq).is_some() || seq < self.next {
            return;
        }
        self.trouble().excused.insert(seq);
    }

    /// Numbers `next..seq` did not come, but those that irregular frames stood for, and those that
    /// came ahead of their time.
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

    /// The stream broke off, and no later frame will say what an early one was. Where all that it
    /// overtook has come it was what it said; elsewhere it may prove a loss, or be misnumbered.
    pub(in crate::verify) fn broke_off(&mut self, moves: &mut Moves) {
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

    /// The first number under `seq` that did not come, and before which no wrong line stands for one:
    /// what did not come before such a line may have come as that.
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

    /// Takes out the holes that begin under `seq`: they are given up, as is hope of explaining
    /// the early frames of that time.
    pub(in crate::verify) fn give_up_before(&mut self, seq: u64, moves: &mut Moves) -> Vec<Hole> {
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
mod tests {
    use proptest::prelude::*;

    use super::super::moves::Move;
    use super::super::{Form, NEVER, Stage};
    use super::*;
    use crate::verify::anomaly::Open;
    use crate::verify::directory::ClientId;
    use crate::wire::payload::SenderId;

    const RELAY: Carried = Carried {
        message: Some(Message {
            sender: SenderId(9),
            k: 1,
        }),
        intended_ns: 0,
        at_ns: 0,
        form: Form::Relay { clean: true },
    };

    fn open_at(joined: u64) -> Session {
        let mut session = Session::new(SenderId(1), ClientId(0), joined);
        session.next = joined + 1;
        session.stage = Stage::Open;
        session
    }

    /// Feeds numbers to a session that joined at 10; returns the holes, and the moves as text.
    fn feed(session: &mut Session, numbers: &[u64]) -> (Vec<(u64, u64)>, String) {
        let mut moves = moves();
        for &n in numbers {
            session.place(n, RELAY, NEVER, &mut moves);
        }
        (holes_of(session), in_words(moves))
    }

    fn holes_of(session: &Session) -> Vec<(u64, u64)> {
        let holes = session.trouble.iter().flat_map(|t| t.holes.values());
        holes.map(|h| (h.from, h.until)).collect()
    }

    fn in_words(moves: Moves) -> String {
        let words = moves.into_iter().map(|m| match m {
            Move::Confirmed(e) => format!("{} was real", e.seq),
            Move::Open(due, Open::Claim(claim)) => match claim.doubt {
                ClaimDoubt::None => format!("{} at {due}?", claim.seq),
                _ => format!("{} at {due}, whatever it was", claim.seq),
            },
            Move::Open(high, Open::Displaced(d)) => format!("{high} before {}", d.low),
            Move::Open(_, Open::LastFrame(last)) => {
                format!("{} where {} was due", last.seq, last.from)
            }
            Move::Open(..) => unreachable!("{m:?}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn moves() -> Moves {
        Moves::new(SenderId(1), 0)
    }

    /// Every way a stream can go on after a frame that is ahead of its time.
    #[test]
    fn what_follows_an_early_frame_says_what_it_was() {
        // Numbers as they come; the holes they leave; what they reveal; the number then due.
        type Row = (&'static [u64], &'static [(u64, u64)], &'static str, u64);
        let table: &[Row] = &[
            (&[11, 12, 13], &[], "", 14),
            (&[12, 13, 14], &[(11, 12)], "12 was real", 15),
            (&[12, 11, 13], &[], "12 was real, 12 before 11", 14),
            (&[12, 13, 11, 14], &[], "12 was real, 13 before 11", 15),
            (&[13, 11, 12, 14], &[], "13 was real, 13 before 11", 15),
            (&[14, 12, 13, 11, 15], &[], "14 before 11, 14 was real", 16),
            (
                &[15, 13, 14, 11, 12, 16],
                &[],
                "13 was real, 15 before 11, 14 before 12, 15 was real",
                17,
            ),
            (
                &[13, 12, 15, 16],
                &[(11, 12), (14, 15)],
                "13 was real, 13 before 11, 15 was real",
                17,
            ),
            (&[61, 12, 13], &[(11, 12)], "", 14),
            (&[12, 12, 13], &[(11, 12)], "12 at 11?", 14),
            (
                &[12, 14, 15],
                &[(11, 12), (13, 14)],
                "12 was real, 14 was real",
                16,
            ),
        ];
        for (numbers, holes, moves, next) in table {
            let mut session = open_at(10);
            let found = feed(&mut session, numbers);
            assert_eq!(found, (holes.to_vec(), (*moves).to_owned()), "{numbers:?}");
            assert_eq!(session.next, *next, "{numbers:?}");
        }
    }

    /// Something else never comes, and the bye says so.
    #[test]
    fn a_frame_came_before_its_time_if_a_lower_number_came_after_it() {
        for (numbers, last, expected) in [
            (&[13_u64, 11][..], 13, "13 was real, 13 before 11"),
            (&[14, 12], 14, "14 was real, 14 before 12"),
            (&[13, 14], 14, "13 was real"),
        ] {
            let mut session = open_at(10);
            let (_, mut words) = feed(&mut session, numbers);
            let mut moves = moves();
            session.close(last, 0, &mut moves);
            words += &in_words(moves);
            assert_eq!(words, expected, "{numbers:?}");
        }
    }

    /// Numbers that each come once, in any order, up to the bye.
    fn assert_all_explained(numbers: &[u64]) {
        let mut session = open_at(10);
        let (_, mut words) = feed(&mut session, numbers);
        let mut moves = moves();
        let last = 10 + numbers.len() as u64;
        session.close(last, 0, &mut moves);
        words += &in_words(moves);
        let unexplained = words.contains('?') || words.contains("whatever");
        assert!(!unexplained, "{numbers:?}: {words}");
        assert_eq!(holes_of(&session), [], "{numbers:?}: {words}");
        assert_eq!(session.next, last + 1, "{numbers:?}");
    }

    /// The fourth was once taken to stand in the place of the twelfth, and to come twice.
    #[test]
    fn a_frame_that_an_early_one_accounts_for_is_in_place() {
        assert_all_explained(&[11, 13, 12, 17, 14, 16, 18, 20, 19, 21, 15, 22]);
    }

    /// More are ahead of their time than are remembered.
    #[test]
    fn numbers_in_reverse_have_all_come() {
        for count in [2, 15, 16, 17, 18, 1000] {
            let reversed: Vec<u64> = (11..11 + count).rev().collect();
            assert_all_explained(&reversed);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_once_has_come_in_whatever_order(
            delays in prop::collection::vec(0..400_u64, 1..600),
            most in 1..400_u64,
        ) {
            let mut numbers: Vec<(u64, u64)> = (11..).zip(&delays).map(|(n, d)| (n + d % most, n)).collect();
            numbers.sort_unstable();
            let numbers: Vec<u64> = numbers.into_iter().map(|(_, n)| n).collect();
            assert_all_explained(&numbers);
        }
    }

    #[test]
    fn a_bye_explains_what_is_left() {
        for (numbers, last, holes, words) in [
            (&[12_u64][..], 12, &[(11, 12)][..], "12 was real"),
            (&[61], 11, &[(11, 12)], "61 at 11?"),
            (&[12, 11], 12, &[], "12 was real, 12 before 11"),
            (&[], 12, &[(11, 13)], ""),
        ] {
            let mut session = open_at(10);
            feed(&mut session, numbers);
            let mut moves = moves();
            session.close(last, 0, &mut moves);
            assert_eq!(holes_of(&session), holes, "{numbers:?}");
            assert_eq!(in_words(moves), words, "{numbers:?}");
        }
    }

    /// Where no frame follows, only what had come before can say what an early one was.
    #[test]
    fn at_a_break_what_an_early_frame_was_stays_open_unless_all_it_overtook_has_come() {
        // Numbers as they come, the holes they leave, what the break reveals, the number then due.
        type Row = (&'static [u64], &'static [(u64, u64)], &'static str, u64);
        let table: &[Row] = &[
            (&[11, 12], &[], "", 13),
            (&[13], &[], "13 where 11 was due", 14),
            (&[11, 13], &[], "13 where 12 was due", 14),
            (&[12, 11], &[], "12 was real, 12 before 11", 13),
            (&[14, 12, 13], &[(11, 12)], "14 where 14 was due", 15),
            (&[15, 12, 13], &[(11, 12)], "15 where 14 was due", 16),
            (
                &[12, 13, 15, 14],
                &[(11, 12)],
                "15 was real, 15 before 14",
                16,
            ),
        ];
        for (numbers, holes, words, next) in table {
            let mut session = open_at(10);
            feed(&mut session, numbers);
            let mut moves = moves();
            session.broke_off(&mut moves);
            assert_eq!(in_words(moves), *words, "{numbers:?}");
            assert_eq!(holes_of(&session), *holes, "{numbers:?}");
            assert_eq!(session.next, *next, "{numbers:?}");
            assert!(!session.has_early(), "{numbers:?}");
        }
    }

    /// A displacement dates from the first frame that came after the number skipped.
    #[test]
    fn a_number_had_passed_when_the_first_after_it_came() {
        for (numbers, seq, at_ns) in [
            (&[12_u64, 13, 14, 11][..], 12, 1),
            (&[12, 11, 13], 12, 1),
            (&[11, 14, 12, 13, 15], 14, 2),
        ] {
            let mut session = open_at(10);
            let mut moves = moves();
            for (&n, at_ns) in numbers.iter().zip(1..) {
                let carried = Carried { at_ns, ..RELAY };
                session.place(n, carried, NEVER, &mut moves);
            }
            let since: Vec<Since> = moves
                .into_iter()
                .filter_map(|m| match m {
                    Move::Open(_, Open::Displaced(displaced)) => Some(displaced.since),
                    _ => None,
                })
                .collect();
            assert_eq!(since, [Since { seq, at_ns }], "{numbers:?}");
        }
    }

    #[test]
    fn the_horizon_waits_for_what_is_open() {
        let connecting = Session::new(SenderId(1), ClientId(0), 10);
        assert_eq!(connecting.horizon(), 11, "owed what comes after its join");
        let mut session = open_at(10);
        feed(&mut session, &[14]);
        assert_eq!(session.horizon(), 11, "early, unexplained");
        feed(&mut session, &[15]);
        assert_eq!(session.horizon(), 11, "a hole");
        feed(&mut session, &[12, 11, 13]);
        assert_eq!(session.horizon(), 16);
    }

    #[test]
    fn an_irregular_frame_accounts_for_its_number_and_no_other() {
        let mut session = open_at(0);
        session.excuse(2);
        assert_eq!(feed(&mut session, &[4, 5]).0, [(1, 2), (3, 4)]);
        session.excuse(3);
        assert_eq!(feed(&mut session, &[]).0, [(1, 2)], "it fills a hole");
    }

    /// Irregular frames for some numbers, then these; the holes, what they reveal, the number due.
    #[test]
    fn irregular_frames_stand_for_their_numbers_among_others_too() {
        type Row = (
            &'static [u64],
            &'static [u64],
            &'static [(u64, u64)],
            &'static str,
            u64,
        );
        let table: &[Row] = &[
            (&[11, 13], &[12, 14, 15], &[], "", 16),
            (&[12], &[13, 14], &[(11, 12)], "13 was real", 15),
            (&[14], &[13, 15], &[(11, 13)], "13 was real", 16),
            (
                &[12, 17],
                &[14, 15, 16, 18, 19],
                &[(11, 12), (13, 14)],
                "14 was real",
                20,
            ),
            (&[30], &[12, 13], &[(11, 12)], "12 was real", 14),
            (
                &[12],
                &[11, 12, 13, 14, 17, 18],
                &[(15, 17)],
                "17 was real",
                19,
            ),
        ];
        for (irregular, numbers, holes, words, next) in table {
            let mut session = open_at(10);
            irregular.iter().for_each(|&n| session.excuse(n));
            let found = feed(&mut session, numbers);
            let expected = (holes.to_vec(), (*words).to_owned());
            assert_eq!(found, expected, "{irregular:?}, {numbers:?}");
            assert_eq!(session.next, *next, "{irregular:?}, {numbers:?}");
        }
        let mut session = open_at(10);
        feed(&mut session, &[12]);
        session.excuse(11);
        let found = feed(&mut session, &[13]);
        assert_eq!(
            found,
            (vec![], "12 was real".to_owned()),
            "12 stood after it"
        );
    }

    /// One more of a number that had come takes no room from those that had not.
    #[test]
    fn an_irregular_frame_for_a_number_that_had_passed_excuses_nothing() {
        let mut session = open_at(10);
        feed(&mut session, &[11]);
        // As many runs as are remembered, each of one number.
        let ahead = || (12..).step_by(2).take(bounds::excused_runs());
        ahead().for_each(|n| session.excuse(n));
        session.excuse(11);
        let last = ahead().last().unwrap();
        let between: Vec<_> = ahead()
            .take(bounds::excused_runs() - 1)
            .map(|n| (n + 1, n + 2))
            .collect();
        assert_eq!(feed(&mut session, &[last + 1, last + 2]).0, between);
    }

    #[test]
    fn what_was_skipped_long_ago_is_given_up() {
        for (until, holes, words, left) in [
            (11, &[][..], "", &[(11, 12), (14, 15)][..]),
            (12, &[(11, 12)], "61 at 11, whatever it was", &[(14, 15)]),
            (15, &[(11, 12), (14, 15)], "61 at 11, whatever it was", &[]),
        ] {
            let mut session = open_at(10);
            feed(&mut session, &[61, 12, 13, 15, 16]);
            let mut moves = moves();
            let given_up = session.give_up_before(until, &mut moves);
            let given_up: Vec<_> = given_up.iter().map(|h| (h.from, h.until)).collect();
            assert_eq!(
                (&given_up[..], &in_words(moves)[..]),
                (holes, words),
                "{until}"
            );
            assert_eq!(holes_of(&session), left, "{until}");
        }
    }

    /// The bye counts in what a malformed line had room for, and what it had none for.
    #[test]
    fn at_a_bye_a_malformed_line_has_swallowed_what_it_has_room_for() {
        for (last, swallowed, holes) in [(12, 2, &[][..]), (13, 0, &[(11, 14)])] {
            let mut session = open_at(10);
            session.malformed(1);
            session.close(last, 0, &mut moves());
            assert_eq!(session.trouble().swallowed, swallowed, "{last}");
            assert_eq!(holes_of(&session), holes, "{last}");
        }
    }

    #[test]
    fn a_malformed_line_swallows_as_many_numbers_as_it_has_room_for() {
        let mut session = open_at(0);
        session.malformed(1);
        assert_eq!(feed(&mut session, &[3]).0, []);
        assert_eq!(session.trouble().swallowed, 2);
        assert_eq!(feed(&mut session, &[5, 6]).0, [(4, 5)], "once");
        session.malformed(0);
        assert_eq!(
            feed(&mut session, &[9, 10]).0,
            [(4, 5), (7, 9)],
            "one at most"
        );
    }
}
