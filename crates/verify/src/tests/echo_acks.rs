//! Targets whose ack of a message is that its sender gets it, too: in whatever order they promise,
//! whatever liberty they take, and with every bug, by brute force as by the verifier.

use proptest::prelude::*;
use rand::RngExt;

use super::agreement_inferred::{Judged, assert_alike_of_each_bug, assert_both_fail_or_neither};
use super::clean::assert_exact;
use super::liberties;
use super::world::{Play, World, rng};
use crate::promises::{AckPromise, OrderPromise, Promises};

/// Promises of such a target.
fn promises(seed: u64) -> Promises {
    Promises {
        ack: AckPromise::Echo,
        echo: true,
        ..liberties::promises(&mut rng(seed))
    }
}

fn world(seed: u64, classic: bool) -> World {
    World::at_liberty(seed, promises(seed), classic)
}

fn judged(seed: u64, classic: bool, bugs: &[usize]) -> Judged {
    Judged::of(world(seed, classic), seed, bugs)
}

/// The same on two to four shards, of a target that promises no more than FIFO.
fn dealt(seed: u64, classic: bool) -> World {
    let mut promises = promises(seed);
    if promises.need_one_shard() {
        promises.order = OrderPromise::Fifo;
    }
    let rng = &mut rng(seed ^ 0xdea1);
    let shards = rng.random_range(2..5);
    World::at_liberty(seed, promises, classic).dealt_over(shards, rng)
}

fn judged_apart(seed: u64, classic: bool, bugs: &[usize]) -> Judged {
    Judged::of(dealt(seed, classic), seed, bugs)
}

proptest! {
    #![proptest_config(super::config(1000))]

    #[test]
    fn what_was_not_promised_is_no_violation(
        seed: u64, play: u64, slowly: bool, classic: bool, apart: bool,
    ) {
        let world = match apart {
            true => dealt(seed, classic),
            false => world(seed, classic),
        };
        let played = world.play(Play { seed: play, slowly });
        assert_exact(&world, &played);
    }
}

#[test]
fn each_bug_is_what_it_is_by_brute_force() {
    assert_alike_of_each_bug(judged);
}

#[test]
fn each_bug_on_several_shards_is_what_it_is_by_brute_force() {
    assert_alike_of_each_bug(judged_apart);
}

#[test]
fn of_several_bugs_both_fail_or_neither() {
    assert_both_fail_or_neither(judged);
}
