use proptest::prelude::*;

use super::super::Form;
use super::super::moves::Move;
use super::*;
use crate::anomaly::Open;
use crate::sessions::{NEVER, Stage};
use chatbench_wire::payload::SenderId;

const RELAY: Carried = Carried {
    message: Some(Message {
        sender: SenderId(9),
        k: 1,
    }),
    intended_ns: 0,
    at_ns: 0,
    form: Form::Relay { clean: true },
};

fn open_at(joined: u64) -> Stream {
    let mut session = Stream::new(joined, 0);
    session.next = joined + 1;
    session
}

/// Feeds numbers to a session that joined at 10; returns the holes, and the moves as text.
fn feed(session: &mut Stream, numbers: &[u64]) -> (Vec<(u64, u64)>, String) {
    let mut moves = moves();
    for &n in numbers {
        session.place(n, RELAY, NEVER, &mut moves);
    }
    (holes_of(session), in_words(moves))
}

fn holes_of(session: &Stream) -> Vec<(u64, u64)> {
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
    let connecting = Stream::new(10, 0);
    assert_eq!(
        connecting.horizon(Stage::Connecting),
        11,
        "owed what comes after its join"
    );
    let mut session = open_at(10);
    feed(&mut session, &[14]);
    assert_eq!(session.horizon(Stage::Open), 11, "early, unexplained");
    feed(&mut session, &[15]);
    assert_eq!(session.horizon(Stage::Open), 11, "a hole");
    feed(&mut session, &[12, 11, 13]);
    assert_eq!(session.horizon(Stage::Open), 16);
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
