//! Rooms are broadcasts of their own: of a house of several the verifier finds what brute force
//! finds of each by itself, and besides what came to somebody who was not to get it in that room.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::RngExt;

use super::agreement::{afflict, kinds};
use super::bugs::BUGS;
use super::fault_table::INFERRED_ORDER;
use super::house::{House, Lived};
use super::oracle;
use super::oracle_inferred;
use super::room_bugs::ROOM_BUGS;
use super::several_shards::comparable;
use super::world::{RUN, SEED, rng, terms};
use crate::findings::{Counts, RoomFindings};
use crate::kind::Kind;
use crate::ledger::Terms;
use crate::promises::{OrderPromise, Promises};
use crate::trace;
use chatbench_wire::payload::{self, SenderId};
use chatbench_wire::protocol::Protocol;

type Verdict = BTreeMap<Kind, u64>;

fn inferred() -> Terms {
    Terms {
        promises: INFERRED_ORDER,
        ..terms()
    }
}

/// A target that promises each sender's own order, and no more.
fn fifo() -> Terms {
    Terms {
        promises: Promises {
            order: OrderPromise::Fifo,
            ..INFERRED_ORDER
        },
        ..terms()
    }
}

/// What came to clients in rooms that they were not to get it in, by brute force: line by line, with
/// who is where by what it was told.
fn in_the_wrong_room(house: &House, lived: &Lived) -> u64 {
    let mut count = 0;
    for (connection, lines) in lived.lines.iter().enumerate() {
        let frames: Vec<_> = lines.iter().map(|line| said(line)).collect();
        let mut there = BTreeSet::from([0]);
        for (at, frame) in frames.iter().enumerate() {
            let Some((kind, room, seq, sender)) = frame else {
                continue;
            };
            match kind.as_str() {
                "joined" => drop(there.insert(*room)),
                "left" => drop(there.remove(room)),
                "relay" => {
                    let of_room = frames[at + 1..]
                        .iter()
                        .flatten()
                        .find(|next| next.1 == *room);
                    let answer = of_room.filter(|next| next.0 == "joined");
                    let is_early = answer.is_some_and(|answer| answer.2 < *seq);
                    // Of an answer that never comes it is not known when it would have.
                    let is_answer =
                        |frame: &&Frame| (frame.0.as_str(), frame.1) == ("joined", *room);
                    let answers = frames.iter().flatten().filter(is_answer).count();
                    let is_lost = answers < house.asked(lived, connection, *room);
                    let is_there = there.contains(room) || is_early || is_lost;
                    let of = sender.map_or(*room, House::room_of);
                    count += u64::from(of != *room || !is_there);
                }
                _ => {}
            }
        }
    }
    count
}

type Frame = (String, usize, u64, Option<SenderId>);

/// What a line says: its type, its room, its number, and if it is a message of the run its sender.
fn said(line: &[u8]) -> Option<Frame> {
    let frame: serde_json::Value = serde_json::from_slice(line).ok()?;
    let room = frame["room"].as_str().map_or(0, |name| {
        name.strip_prefix("room-").unwrap().parse().unwrap()
    });
    let text = frame["message"].as_str().unwrap_or_default();
    let header = payload::decode(text.as_bytes(), SEED, RUN).ok();
    let kind = frame["type"].as_str()?.to_owned();
    let seq = frame["seq"].as_u64().unwrap_or_default();
    Some((kind, room, seq, header.map(|header| header.sender)))
}

/// What brute force finds, room by room, and in the wrong ones.
fn brute(house: &House, lived: &Lived) -> Verdict {
    let mut all = Verdict::new();
    for (room, observations) in lived.by_room.iter().enumerate() {
        let verdict = house.of_room(room, || match house.terms.are_numbered() {
            true => oracle::verdict(observations),
            false => {
                let promises = house.terms.promises;
                oracle_inferred::verdict(observations, Protocol::Ndjson, promises, true)
            }
        });
        for (kind, count) in verdict {
            *all.entry(kind).or_default() += count;
        }
    }
    all.insert(Kind::WrongRoom, in_the_wrong_room(house, lived));
    all.retain(|_, count| *count > 0);
    all
}

proptest! {
    #![proptest_config(super::config(300))]

    #[test]
    fn a_house_in_order_is_not_accused(seed: u64, rooms in 1_usize..5, shards in 1_usize..4) {
        for (terms, shards) in [(terms(), shards), (inferred(), shards), (fifo(), shards)] {
            let house = House::new(seed, terms, rooms, shards);
            let lived = house.play(seed ^ 1);
            prop_assert_eq!(brute(&house, &lived), Verdict::new());
            let findings = &lived.findings;
            prop_assert_eq!(kinds(findings), Verdict::new(), "{:#?}", findings.violations);
            prop_assert_eq!(&findings.undecided, &[""; 0]);
        }
    }
}

/// Bugs that concern one room alone, and not the whole connection.
fn is_of_a_room(bug: usize) -> bool {
    !matches!(
        BUGS[bug].0,
        "tears a frame" | "sends garbage" | "hangs up" | "is slow"
    )
}

proptest! {
    #![proptest_config(super::config(600))]

    #[test]
    fn of_a_bug_in_one_room_both_find_the_same(
        seed: u64,
        rooms in 1_usize..5,
        shards in 1_usize..4,
        bug in 0..BUGS.len(),
    ) {
        for terms in [terms(), fifo()].into_iter().filter(|_| is_of_a_room(bug)) {
            let mut house = House::new(seed, terms, rooms, shards);
            let room = rng(seed ^ 2).random_range(1..=rooms);
            let applied = house.in_room(room, |world| afflict(world, seed, &[bug]));
            let lived = house.play(seed ^ 1);
            prop_assert_eq!(
                kinds(&lived.findings), brute(&house, &lived),
                "{:?} in room {}: by brute force on the right: {:#?}",
                applied, room, lived.findings.violations
            );
        }
    }
}

proptest! {
    #![proptest_config(super::config(600))]

    /// Rooms are judged as on one shard however their clients are dealt out: to a shard for each where
    /// the order of several senders is promised, and else to any.
    #[test]
    fn rooms_on_several_shards_are_judged_as_on_one(
        seed: u64,
        rooms in 2_usize..6,
        shards in 2_usize..4,
        bugs in prop::collection::vec((1..6_usize, 0..BUGS.len()), 1..3),
        by_fifo: bool,
    ) {
        let terms = if by_fifo { fifo() } else { inferred() };
        let mut house = House::new(seed, terms, rooms, shards);
        let mut applied = Vec::new();
        for (room, bug) in bugs {
            if is_of_a_room(bug) {
                let room = room.min(rooms);
                applied.extend(house.in_room(room, |world| afflict(world, seed, &[bug])));
            }
        }
        let several = house.play(seed ^ 1);
        house.on_one_shard();
        let one = house.play(seed ^ 1);
        let (several, one) = (several.findings, one.findings);
        // Where rooms are not pinned: see `several_shards`.
        let comparable = |findings| match by_fifo {
            true => comparable(&kinds(findings), applied.len()),
            false => kinds(findings),
        };
        let verdicts = [&several, &one].map(comparable);
        prop_assert_eq!(
            &verdicts[0], &verdicts[1], "{:?}: {:#?}", applied, several.violations
        );
        if by_fifo && applied.len() > 1 {
            return Ok(());
        }
        prop_assert_eq!(several.undecided, one.undecided);
        // Beside a loss, what is known of other messages when it is judged depends on when batches
        // are taken; that is not the same here and there.
        let is_right = applied.is_empty();
        let counts = |counts: Counts| Counts {
            optional: if is_right { counts.optional } else { 0 },
            ..counts
        };
        prop_assert_eq!(counts(several.counts), counts(one.counts));
        let violations = |f: &RoomFindings| if by_fifo { f.violations.min(1) } else { f.violations };
        let figures = |of: &[RoomFindings]| {
            let figures = of.iter();
            let figures = figures.map(|f| (f.name.clone(), counts(f.counts), violations(f)));
            figures.collect::<Vec<_>>()
        };
        prop_assert_eq!(figures(&several.rooms), figures(&one.rooms));
    }
}

/// Gives a house one of these bugs; its name, if it found an occasion.
fn misled(house: &mut House, seed: u64, bug: usize) -> Option<&'static str> {
    let mut rng = rng(seed ^ 3);
    let (name, apply) = ROOM_BUGS[bug];
    (0..5).find_map(|_| apply(house, &mut rng)).map(|()| name)
}

proptest! {
    #![proptest_config(super::config(1000))]

    /// One violation, whatever number the message comes under, and nothing else follows from it.
    #[test]
    fn a_message_in_the_wrong_room_is_found_and_nothing_else(
        seed: u64,
        rooms in 1_usize..5,
        shards in 1_usize..4,
        bug in 0..ROOM_BUGS.len(),
    ) {
        for (terms, shards) in [(terms(), shards), (inferred(), shards), (fifo(), shards)] {
            let mut house = House::new(seed, terms, rooms, shards);
            let name = misled(&mut house, seed, bug);
            let lived = house.play(seed ^ 1);
            let brute = brute(&house, &lived);
            let most = u64::from(name.is_some()); // who breaks off may not read it
            prop_assert!(brute.values().all(|&count| count <= most), "{:?}", brute);
            let findings = &lived.findings;
            prop_assert_eq!(
                kinds(findings), brute,
                "{:?}, by brute force on the right: {:#?}", name, findings.violations
            );
            prop_assert_eq!(&findings.undecided, &[""; 0]);
        }
    }

    /// Bugs of all sorts, in all rooms: what each comes to in company can differ, that something is
    /// wrong cannot.
    #[test]
    fn of_several_bugs_in_several_rooms_both_fail_or_neither(
        seed: u64,
        rooms in 1_usize..5,
        shards in 1_usize..4,
        bugs in prop::collection::vec((0..5_usize, 0..BUGS.len() + ROOM_BUGS.len()), 1..6),
    ) {
        let mut house = House::new(seed, terms(), rooms, shards);
        let mut applied = Vec::new();
        for (room, bug) in bugs {
            if let Some(bug) = bug.checked_sub(BUGS.len()) {
                applied.extend(misled(&mut house, seed, bug));
            } else if is_of_a_room(bug) {
                let room = room.min(rooms);
                applied.extend(house.in_room(room, |world| afflict(world, seed, &[bug])));
            }
        }
        let lived = house.play(seed ^ 1);
        let (found, brute) = (kinds(&lived.findings), brute(&house, &lived));
        prop_assert_eq!(
            found.is_empty(), brute.is_empty(),
            "{:?}: {:?}, by brute force {:?}: {:#?}",
            applied, found, brute, lived.findings.violations
        );
    }
}

/// One after the other, in one room of several.
#[test]
fn each_bug_of_rooms_has_its_occasions() {
    for (bug, (name, _)) in ROOM_BUGS.iter().enumerate() {
        let mut found = 0;
        for seed in 0..40 {
            let mut house = House::new(seed, terms(), 3, 2);
            misled(&mut house, seed, bug);
            found += kinds(&house.play(seed).findings)
                .get(&Kind::WrongRoom)
                .map_or(0, |&n| n);
        }
        assert!(found > 10, "{name}: {found}");
    }
}

proptest! {
    #![proptest_config(super::config(200))]

    /// Whatever is wrong in whichever room, its trace comes to the same findings.
    #[test]
    fn a_recorded_house_comes_to_the_same(
        seed: u64,
        rooms in 1_usize..5,
        shards in 1_usize..4,
        bugs in prop::collection::vec((0..5_usize, 0..BUGS.len() + ROOM_BUGS.len()), 0..4),
    ) {
        for (terms, shards) in [(terms(), shards), (inferred(), 1)] {
            let mut house = House::new(seed, terms, rooms, shards);
            for &(room, bug) in &bugs {
                match bug.checked_sub(BUGS.len()) {
                    Some(bug) => drop(misled(&mut house, seed, bug)),
                    None if !is_of_a_room(bug) => {}
                    None => {
                        house.in_room(room.min(rooms), |world| afflict(world, seed, &[bug]));
                    }
                }
            }
            let (lived, recorded) = house.record(seed ^ 1);
            let verified = trace::verify(&recorded[..]).unwrap();
            prop_assert_eq!(verified.doubts, Vec::<String>::new());
            prop_assert_eq!(&verified.findings, &lived.findings);
        }
    }
}

/// The answer to a leave is lost, and its client joins again.
#[test]
fn a_join_after_a_leave_that_is_not_answered_is_a_join() {
    let (seed, rooms, bug) = (9_145_530_317_531_770_680, 2, 2);
    let mut house = House::new(seed, terms(), rooms, 1);
    let applied = house.in_room(1, |world| afflict(world, seed, &[bug]));
    assert_eq!(applied, ["drops any frame"]);
    let lived = house.play(seed ^ 1);
    let expected = Verdict::from([(Kind::MissingBye, 1)]);
    assert_eq!(brute(&house, &lived), expected);
    assert_eq!(
        kinds(&lived.findings),
        expected,
        "{:#?}",
        lived.findings.violations
    );
}
