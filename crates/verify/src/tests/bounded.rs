//! Every bound drawn small, so that histories of a few dozen messages reach it. Past a bound less
//! is known, and nothing else than is true may be said: each finding is one that the brute-force
//! checker, which has no bounds, comes to as well; and where it finds more, the run says that
//! something stayed undecided.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{Rng, RngExt};

use super::agreement::{afflict, found};
use super::agreement_inferred::ORDER;
use super::bugs::BUGS;
use super::disorder::out_of_order;
use super::oracle;
use super::world::{End, Play, Played, World, rng};
use crate::bounds::{self, Bounds};
use crate::kind::Kind;

type Verdict = BTreeMap<Kind, u64>;

/// Draws a bound: one from `least` to `most` in every second history, else the usual one.
pub(super) fn small(rng: &mut dyn Rng) -> impl FnMut(usize, usize, usize) -> usize {
    |usual, least, most| match rng.random_bool(0.5) {
        true => rng.random_range(least..=most),
        false => usual,
    }
}

/// Each bound is as small as can be in every second history.
fn draw(rng: &mut dyn Rng) -> Bounds {
    let usual = Bounds::USUAL;
    let mut small = small(rng);
    Bounds {
        reorder_window: small(usual.reorder_window, 1, 8),
        given_up_runs: small(usual.given_up_runs, 0, 2),
        early_frames: small(usual.early_frames, 1, 3),
        excused_runs: small(usual.excused_runs, 0, 2),
        waived_acks: small(usual.waived_acks, 0, 2),
        reference_numbers: small(usual.reference_numbers, 1, 8),
        reference_bytes: small(usual.reference_bytes, 0, 0),
        records: small(usual.records, 1, 12),
        settled_numbers: small(usual.settled_numbers, 2, 8),
        passed_over: small(usual.passed_over, 0, 2),
        remembered: small(usual.remembered, 0, 2),
        open_anomalies: small(usual.open_anomalies, 0, 3),
        deferred_losses: small(usual.deferred_losses, 0, 2),
        gaps: small(usual.gaps, 0, 2),
        gap_witnesses: small(usual.gap_witnesses, 1, 2),
        settled_run: small(usual.settled_run as usize, 0, 3) as u64,
        ..usual
    }
}

/// Kinds of which is compared whether there are any, not how many: what is out of order can be
/// counted in more ways than one.
fn is_of_order(kind: Kind) -> bool {
    ORDER.contains(&kind) || kind == Kind::ReorderedAck
}

struct History {
    played: Played,
    brute: Verdict,
    bugs: Vec<&'static str>,
    aborts: bool,
    remembers_few: bool,
}

fn history(seed: u64, shards: usize, places: usize, bugs: &[usize], bounds: Bounds) -> History {
    let mut world = World::talking(seed, shards, 24);
    let bugs = afflict(&mut world, seed, bugs);
    world.shuffle(&mut rng(seed ^ 0xd15), places);
    let play = Play {
        seed,
        slowly: false,
    };
    let played = bounds::within(bounds, || world.play(play));
    let brute = oracle::verdict(&played.observations);
    History {
        played,
        brute,
        bugs,
        aborts: world.lives.iter().any(|life| life.end == End::Abort),
        remembers_few: bounds.remembered < Bounds::USUAL.remembered,
    }
}

/// What of a verdict is false, and what it passes over in silence.
fn judge(history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let streaming = found(&history.played);
    let really = out_of_order(&history.played.observations);
    let undecided = !history.played.findings.undecided.is_empty();
    let kinds: BTreeSet<Kind> = streaming
        .keys()
        .chain(history.brute.keys())
        .copied()
        .collect();
    for kind in kinds {
        let count = |verdict: &Verdict| verdict.get(&kind).copied().unwrap_or(0);
        let (named, there) = (count(&streaming), count(&history.brute));
        if is_of_order(kind) {
            let any = history.brute.keys().any(|&kind| is_of_order(kind));
            if named > 0 && !any && !really.contains(&kind) {
                wrong.push(format!("false {kind:?}: {named}"));
            }
            continue;
        }
        if named > there {
            wrong.push(format!("false {kind:?}: {named}, there are {there}"));
        }
        // What is under way when its sender breaks off may be numbered or not: past the bound nobody
        // misses it.
        let under_way = kind == Kind::MissingAck && history.aborts && history.remembers_few;
        if named < there && !undecided && !under_way {
            wrong.push(format!("silent about {kind:?}: {named}, there are {there}"));
        }
    }
    let orders = |verdict: &Verdict| verdict.keys().any(|&kind| is_of_order(kind));
    if orders(&history.brute) && !orders(&streaming) && !undecided {
        wrong.push("silent about disorder".to_owned());
    }
    wrong
}

/// The same histories each time; as many more as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..super::config(400)
    }
}

/// Holds a history of these bugs, each frame held back by fewer than `places`, against the checker.
fn assert_borne_out(seed: u64, shards: usize, places: usize, bugs: &[usize]) {
    let mut bounds = draw(&mut rng(seed ^ 0xb0d));
    if bugs.contains(&bug("changes a number")) {
        // Taken at its word it would be believed.
        bounds.early_frames = Bounds::USUAL.early_frames;
    }
    let history = history(seed, shards, places, bugs, bounds);
    let wrong = judge(&history);
    assert!(
        wrong.is_empty(),
        "{wrong:?} of {:?} within {bounds:?}: by brute force {:?}, {:#?}",
        history.bugs,
        history.brute,
        history.played.findings
    );
}

fn bug(name: &str) -> usize {
    BUGS.iter().position(|(known, _)| *known == name).unwrap()
}

/// What does not come; whatever else is out of order, that is what it is.
const LOSSES: [&str; 6] = [
    "drops a relay",
    "drops an ack",
    "starves a receiver",
    "acks and relays to nobody",
    "swallows a message whole",
    "skips numbers",
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bound_accuses_a_right_server(seed: u64, shards in 1_usize..4) {
        let bounds = draw(&mut rng(seed ^ 0xb0d));
        let history = history(seed, shards, 1, &[], bounds);
        prop_assert_eq!(&history.brute, &Verdict::new());
        prop_assert_eq!(found(&history.played), Verdict::new(), "within {:?}", bounds);
    }

    #[test]
    fn within_small_bounds_what_is_out_of_order_is_only_that(
        seed: u64,
        shards in 1_usize..4,
        places in 2_usize..12,
    ) {
        assert_borne_out(seed, shards, places, &[]);
    }

    #[test]
    fn within_small_bounds_what_is_lost_amid_disorder_is_only_that(
        seed: u64,
        shards in 1_usize..4,
        places in 1_usize..12,
        loss in 0..LOSSES.len(),
    ) {
        assert_borne_out(seed, shards, places, &[bug(LOSSES[loss])]);
    }

    #[test]
    fn within_small_bounds_one_bug_is_what_it_is_or_undecided(
        seed: u64,
        shards in 1_usize..4,
        bug in 0..BUGS.len(),
    ) {
        assert_borne_out(seed, shards, 1, &[bug]);
    }
}
