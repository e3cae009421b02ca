//! Targets that send every receiver everything, and in no order: each frame is held back by a
//! number of places of its own, a few or hundreds. Then what is out of order is wrong, and nothing
//! else is: nothing is lost, nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::{Rng, RngExt};

use super::agreement::{found, kinds};
use super::agreement_inferred::{LOSS, ORDER};
use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::history::{self, What as Said};
use super::world::{End, Id, Observation, Play, What, World, rng};
use super::{oracle, oracle_inferred};
use crate::findings::Findings;
use crate::kind::Kind;

type Verdict = BTreeMap<Kind, u64>;

/// That something did not come.
const MISSING: [Kind; 4] = [
    Kind::LostRelay,
    Kind::AckWithoutRelay,
    Kind::MissingAck,
    Kind::SequenceGap,
];

impl World {
    /// Holds every frame back by fewer than `places`, but for welcomes and byes.
    pub(super) fn shuffle(&mut self, rng: &mut dyn Rng, places: usize) {
        for life in &mut self.lives {
            let mut frames: Vec<_> = life.frames.drain(..).enumerate().collect();
            frames.sort_by_cached_key(|(at, frame)| match frame.what {
                What::Welcome => 0,
                What::Bye => usize::MAX,
                _ => at + rng.random_range(0..places),
            });
            let mut at_ns = 0;
            life.frames.extend(frames.into_iter().map(|(_, mut frame)| {
                at_ns = frame.at_ns.max(at_ns); // none comes before it was sent
                frame.at_ns = at_ns;
                frame
            }));
        }
    }
}

/// Without the kinds that say that something is out of order.
fn but_for_order(verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    verdict.retain(|kind, _| !ORDER.contains(kind) && *kind != Kind::ReorderedAck);
    verdict
}

/// What can be out of order in a history, looked up in what each session got: of two frames the
/// one that came later was numbered, or sent, before.
pub(super) fn out_of_order(observations: &[Observation]) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    for session in history::read(observations) {
        let mut came: Vec<(u64, Option<Id>)> = Vec::new();
        for frame in &session.frames {
            let (n, message) = match &frame.what {
                Said::Relay { n, message, .. } => (*n, Some(*message)),
                Said::Ack { n, .. } => (*n, None),
                _ => continue,
            };
            for (_, other) in came.iter().filter(|(before, _)| *before > n) {
                kinds.insert(Kind::OrderDivergence);
                match (message, other) {
                    (Some(one), Some(other)) if one.life == other.life => {
                        kinds.insert(Kind::ReorderedRelay);
                    }
                    (Some(_), Some(_)) => {}
                    _ => drop(kinds.insert(Kind::ReorderedAck)),
                }
            }
            came.push((n, message));
        }
    }
    kinds
}

/// Whether it says that something did not come, and may have been on its way.
fn is_misplaced(said: &str) -> bool {
    said.contains("only their place")
}

/// Of what was observed in disorder, with numbers, the checker finds the same; and each kind of
/// disorder that is named is there. What had not come when a session was cut amid disorder may have
/// been on its way: of that less is said, and that it is undecided.
pub(super) fn assert_found(findings: &Findings, observations: &[Observation]) {
    let streaming: Verdict = kinds(findings);
    let brute = oracle::verdict(observations);
    let told = format!("{:#?}", findings.violations);
    let missing = |verdict: &Verdict| {
        let mut missing = verdict.clone();
        missing.retain(|kind, _| MISSING.contains(kind));
        missing
    };
    let (said_missing, is_missing) = (missing(&streaming), missing(&brute));
    let within = |(kind, n): (&Kind, &u64)| is_missing.get(kind) >= Some(n);
    assert!(said_missing.iter().all(within), "{is_missing:?}: {told}");
    let said = &findings.undecided;
    let undecided = said.iter().any(|said| is_misplaced(said));
    assert!(undecided || said_missing == is_missing, "{said:?}: {told}");
    let certain = |verdict: &Verdict| {
        let mut certain = but_for_order(verdict);
        certain.retain(|kind, _| !MISSING.contains(kind));
        certain
    };
    assert_eq!(certain(&streaming), certain(&brute), "{told}");
    let really = out_of_order(observations);
    let named: BTreeSet<Kind> = streaming.keys().copied().collect();
    let named: BTreeSet<Kind> = named
        .difference(&but_for_order(&streaming).into_keys().collect())
        .copied()
        .collect();
    assert!(named.is_subset(&really), "{named:?} of {really:?}: {told}");
    assert_eq!(named.is_empty(), really.is_empty(), "{really:?}");
}

/// What the verifier makes of a shuffled world is what the checker makes of it; and each kind of
/// disorder that it names is there.
fn assert_borne_out(seed: u64, shards: usize, messages: usize, places: usize) {
    let mut world = World::talking(seed, shards, messages);
    world.shuffle(&mut rng(seed ^ 0xd15), places);
    let played = world.play(Play {
        seed,
        slowly: false,
    });
    assert_found(&played.findings, &played.observations);
    let said = &played.findings.undecided;
    let known = |said: &String| said.contains("judged one by one") || is_misplaced(said);
    assert!(said.iter().all(known), "{said:?}");
}

proptest! {
    #![proptest_config(super::config(300))]

    #[test]
    fn with_numbers_what_is_out_of_order_is_only_that(seed: u64, shards in 1_usize..4, places in 1_usize..60) {
        assert_borne_out(seed, shards, 12, places);
    }
}

proptest! {
    #![proptest_config(super::config(20))]

    /// Many frames are ahead of their time at once, and far.
    #[test]
    fn with_numbers_far_out_of_order_is_only_that(seed: u64, shards in 1_usize..4, places in 16_usize..400) {
        assert_borne_out(seed, shards, 100, places);
    }
}

/// The same without looking at the numbers: disorder if and only if there is some. Whoever stays to
/// its end has lost nothing: where that is not known to be disorder, a message that one receiver got
/// in the wrong place is to another, who got what stands around it, as if it were lost.
fn assert_borne_out_inferred(seed: u64, classic: bool, messages: usize, places: usize) {
    let mut world = World::talking(seed, 1, messages).judged_by(INFERRED_ORDER);
    world.shuffle(&mut rng(seed ^ 0xd15), places);
    if classic {
        world = world.in_classic();
    }
    let played = world.play(Play {
        seed,
        slowly: false,
    });
    let streaming = found(&played);
    let told = format!("{:#?}", played.findings.violations);
    let is_out_of_order = |v: &Verdict| ORDER.iter().any(|kind| v.contains_key(kind));
    let all_stay = world.lives.iter().all(|life| life.end == End::Polite);
    if all_stay && is_out_of_order(&streaming) {
        assert_eq!(but_for_order(&streaming), Verdict::new(), "{told}");
        assert_eq!(played.findings.counts.lost, 0, "{told}");
    }
    let undecided = played.findings.undecided.iter();
    assert!(
        undecided
            .clone()
            .all(|what| what.contains("only their place")),
        "{undecided:?}"
    );
    let certain = |verdict: &Verdict| {
        let mut certain = but_for_order(verdict);
        certain.retain(|kind, _| !LOSS.contains(kind));
        certain
    };
    // The graph of the checker has a bit for each node.
    if messages > 12 {
        assert_eq!(certain(&streaming), Verdict::new(), "{told}");
        return;
    }
    let terms = world.terms;
    let brute = |joins_prove| {
        let seen = &played.observations;
        oracle_inferred::verdict(seen, conns::protocol(&terms), terms.promises, joins_prove)
    };
    let brute = [true, false].map(brute);
    let alike = brute.iter().any(|brute| {
        let in_order = !is_out_of_order(brute) && !is_out_of_order(&streaming);
        match in_order {
            true => but_for_order(brute) == but_for_order(&streaming),
            false => {
                is_out_of_order(brute) == is_out_of_order(&streaming)
                    && certain(brute) == certain(&streaming)
            }
        }
    });
    assert!(alike, "{brute:?}: {told}");
}

proptest! {
    #![proptest_config(super::config(300))]

    #[test]
    fn inferred_order_what_is_out_of_order_is_only_that(seed: u64, classic: bool, places in 1_usize..60) {
        assert_borne_out_inferred(seed, classic, 12, places);
    }
}

proptest! {
    #![proptest_config(super::config(20))]

    #[test]
    fn inferred_order_far_out_of_order_is_only_that(seed: u64, classic: bool, places in 16_usize..400) {
        assert_borne_out_inferred(seed, classic, 100, places);
    }
}
