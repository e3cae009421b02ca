//! Inferred order on several shards, where no more than FIFO is promised: messages are public and
//! deliveries local, and nothing that one shard would have found is missed or misnamed for it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::agreement::{afflict, found};
use super::agreement_inferred::{
    Judged, Verdict, assert_alike_of_each_bug, assert_both_fail_or_neither,
};
use super::bugs::BUGS;
use super::clean::assert_exact;
use super::liberties;
use super::world::{Play, World, rng};
use crate::kind::Kind;
use crate::promises::{OrderPromise, Promises};

/// Promises that several shards can be held to.
fn promises(seed: u64) -> Promises {
    let rng = &mut rng(seed);
    let order = match rng.random_bool(0.6) {
        true => OrderPromise::Fifo,
        false => OrderPromise::None,
    };
    Promises {
        order,
        ..liberties::promises(rng)
    }
}

fn on_one_shard(seed: u64, classic: bool) -> World {
    World::at_liberty(seed, promises(seed), classic)
}

/// The same on two to four.
fn dealt(world: World, seed: u64) -> World {
    let rng = &mut rng(seed ^ 0xdea1);
    let shards = rng.random_range(2..5);
    world.dealt_over(shards, rng)
}

fn judged(seed: u64, classic: bool, bugs: &[usize]) -> Judged {
    Judged::of(dealt(on_one_shard(seed, classic), seed), seed, bugs)
}

proptest! {
    #![proptest_config(super::config(1000))]

    #[test]
    fn what_was_not_promised_is_no_violation(seed: u64, play: u64, slowly: bool, classic: bool) {
        let world = dealt(on_one_shard(seed, classic), seed);
        let played = world.play(Play { seed: play, slowly });
        assert_exact(&world, &played);
    }

    /// The same history comes to the same verdict, however its clients are dealt out.
    #[test]
    fn several_shards_find_what_one_does(
        seed: u64,
        play: u64,
        classic: bool,
        bugs in prop::collection::vec(0..BUGS.len(), 0..4),
    ) {
        let mut world = on_one_shard(seed, classic);
        let bugs = afflict(&mut world, seed, &bugs);
        let play = Play { seed: play, slowly: false };
        let alone = world.play(play);
        let together = dealt(world, seed).play(play);
        prop_assert_eq!(&alone.observations, &together.observations);
        let verdicts = [&alone, &together].map(|played| comparable(&found(played), bugs.len()));
        prop_assert_eq!(&verdicts[0], &verdicts[1], "{:?}: {:#?}", bugs, together.findings);
        let counts = |played: &super::world::Played| {
            let c = &played.findings.counts;
            (c.owed, c.delivered, c.lost, c.duplicated, c.optional, c.unresolved)
        };
        if bugs.len() < 2 {
            prop_assert_eq!(counts(&alone), counts(&together), "{:?}", bugs);
        }
        // What is uncertain beside what two bugs made of each other may differ, where both fail.
        if bugs.len() < 2 || verdicts[0].is_empty() {
            let undecided = [&alone, &together].map(|played| played.findings.undecided.clone());
            prop_assert_eq!(&undecided[0], &undecided[1], "{:?}", bugs);
        }
    }
}

/// What all receivers of two messages got in the wrong order is one violation on one shard, and on
/// several one for each receiver. Of several bugs, what else is lost depends there on the places
/// that messages are given.
pub(super) fn comparable(verdict: &Verdict, bugs: usize) -> BTreeMap<Kind, u64> {
    let mut verdict = verdict.clone();
    if let Some(count) = verdict.get_mut(&Kind::ReorderedRelay) {
        *count = 1;
        if bugs > 1 {
            verdict.remove(&Kind::LostRelay);
            verdict.remove(&Kind::AckWithoutRelay);
        }
    }
    verdict
}

#[test]
fn of_each_bug_both_find_the_same() {
    assert_alike_of_each_bug(judged);
}

#[test]
fn of_several_bugs_both_fail_or_neither() {
    assert_both_fail_or_neither(judged);
}
