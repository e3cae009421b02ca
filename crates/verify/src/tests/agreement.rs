//! The verifier and the brute-force [`oracle`](super::oracle) come to the same verdict on any
//! history, of a correct server and of a wrong one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::bugs::BUGS;
use super::oracle;
use super::world::{Play, Played, World, rng};
use crate::findings::Findings;
use crate::kind::Kind;

type Verdict = BTreeMap<Kind, u64>;

pub(super) fn found(played: &Played) -> Verdict {
    kinds(&played.findings)
}

/// How often which kind was found.
pub(super) fn kinds(findings: &Findings) -> Verdict {
    let violations = findings.violations.iter();
    violations
        .map(|(kind, tally)| (*kind, tally.count))
        .collect()
}

/// Gives the server of a world these bugs; which of them found an occasion.
pub(super) fn afflict(world: &mut World, seed: u64, bugs: &[usize]) -> Vec<&'static str> {
    let mut applied = Vec::new();
    for &bug in bugs {
        // Alone or in company, a bug has the same luck; an occasion need not come at first.
        let mut rng = rng(seed ^ 0xb06 ^ (bug as u64) << 32);
        let (name, apply) = BUGS[bug];
        if (0..5).any(|_| apply(world, &mut rng).is_some()) {
            applied.push(name);
        }
    }
    applied
}

/// A history of a server with so many bugs; what they are, and both verdicts.
fn both(seed: u64, shards: usize, bugs: &[usize]) -> (Vec<&'static str>, Verdict, Verdict, Played) {
    let mut world = World::new(seed, shards);
    let applied = afflict(&mut world, seed, bugs);
    let seed = rng(seed).random();
    let played = world.play(Play {
        seed,
        slowly: false,
    });
    let (streaming, brute) = (found(&played), oracle::verdict(&played.observations));
    (applied, streaming, brute, played)
}

proptest! {
    #![proptest_config(super::config(1000))]

    #[test]
    fn without_a_bug_both_find_nothing(seed: u64, shards in 1_usize..4) {
        let (_, streaming, brute, _) = both(seed, shards, &[]);
        prop_assert_eq!(brute, Verdict::new());
        prop_assert_eq!(streaming, Verdict::new());
    }

    /// Drawn at random.
    #[test]
    fn of_one_bug_both_find_the_same(seed: u64, shards in 1_usize..4, bug in 0..BUGS.len()) {
        let (applied, streaming, brute, played) = both(seed, shards, &[bug]);
        prop_assert_eq!(
            &streaming, &brute,
            "{:?}: streaming on the left, by brute force on the right: {:#?}",
            applied, played.findings.violations
        );
    }

    /// Two bugs may meet in one frame, and one may be made of what another made: what each of the
    /// two then calls it can differ (of two bugs in one history in fifty). That something is wrong
    /// never does.
    #[test]
    fn of_several_bugs_both_fail_or_neither(
        seed: u64,
        shards in 1_usize..4,
        bugs in prop::collection::vec(0..BUGS.len(), 2..6),
    ) {
        let (applied, streaming, brute, played) = both(seed, shards, &bugs);
        prop_assert_eq!(
            streaming.is_empty(), brute.is_empty(),
            "{:?}: {:?}, by brute force {:?}: {:#?}",
            applied, streaming, brute, played.findings.violations
        );
    }
}

/// A client is told an error before its welcome, and then hung up on: it was turned away, whatever
/// the error's code, and that is the target's to do.
#[test]
fn who_is_hung_up_on_after_an_error_in_place_of_the_welcome_was_turned_away() {
    let (applied, streaming, brute, _) = both(11539840131085468163, 1, &[31, 29]);
    assert_eq!(applied.len(), 2);
    assert_eq!(streaming, brute);
    assert_eq!(brute, Verdict::new());
}

/// One after the other.
#[test]
fn of_each_bug_both_find_the_same() {
    for (bug, (name, _)) in BUGS.iter().enumerate() {
        let mut occasions = 0;
        for seed in 0..u64::from(super::cases(60)) {
            let (applied, streaming, brute, played) = both(seed, 1 + (seed % 3) as usize, &[bug]);
            occasions += applied.len();
            assert_eq!(
                streaming, brute,
                "{name}, seed {seed}: streaming on the left, by brute force on the right: {:#?}",
                played.findings.violations
            );
        }
        assert!(occasions > 0, "{name}: never");
    }
}
