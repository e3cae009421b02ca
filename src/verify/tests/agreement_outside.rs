//! The verifier and the brute-force checker [`from_outside`](super::from_outside) come to the same
//! verdict on a target that states no order, right or wrong, in either dialect.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::agreement::{afflict, found};
use super::bugs::BUGS;
use super::from_outside;
use super::unnumbered::FROM_OUTSIDE;
use super::world::{Play, Played, World, rng};
use crate::verify::kind::Kind;
use crate::wire::Dialect;

type Verdict = BTreeMap<Kind, u64>;

/// That something is out of order, and not where: what a cycle is made of is certain, and what of
/// it is wrong is not.
const ORDER: [Kind; 4] = [
    Kind::ReorderedRelay,
    Kind::OrderDivergence,
    Kind::Causality,
    Kind::RealTime,
];

/// What did not come, and to how many.
const LOSS: [Kind; 2] = [Kind::LostRelay, Kind::AckWithoutRelay];

/// A history, and both verdicts on it.
struct Judged {
    bugs: Vec<&'static str>,
    streaming: Verdict,
    brute: Verdict,
    played: Played,
}

impl Judged {
    fn new(seed: u64, classic: bool, bugs: &[usize]) -> Self {
        let mut world = World::new(seed, 1).judged_by(FROM_OUTSIDE);
        let mut dialect = Dialect::Ndjson;
        if classic {
            dialect = Dialect::Classic;
            world = world.in_classic();
        }
        let bugs = afflict(&mut world, seed, bugs);
        let seed = rng(seed).random();
        let played = world.play(Play {
            seed,
            slowly: false,
        });
        Self {
            bugs,
            streaming: found(&played),
            brute: from_outside::verdict(&played.observations, dialect),
            played,
        }
    }

    /// What is out of order or lost is inferred from what others got when; the rest is looked up.
    fn looked_up(verdict: &Verdict) -> Verdict {
        let mut looked_up = verdict.clone();
        looked_up.retain(|kind, _| !ORDER.contains(kind) && !LOSS.contains(kind));
        looked_up
    }

    /// Whether both find the same kinds, each as often. Where something is out of order, a message
    /// that has lost its place may be counted as lost, or not; of all that a receiver is starved
    /// of, the brute-force checker proves more.
    fn is_alike(&self) -> bool {
        let out_of_order = |v: &Verdict| ORDER.iter().any(|kind| v.contains_key(kind));
        let disorder = [&self.streaming, &self.brute].map(out_of_order);
        let starved = self.bugs.contains(&"starves a receiver");
        let compared = |verdict: &Verdict| {
            let mut compared = verdict.clone();
            for kind in LOSS.iter().filter(|_| starved) {
                compared.entry(*kind).and_modify(|count| *count = 1);
            }
            compared
        };
        match disorder {
            [false, false] => compared(&self.streaming) == compared(&self.brute),
            [true, true] => Self::looked_up(&self.streaming) == Self::looked_up(&self.brute),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            bugs,
            streaming,
            brute,
            played,
        } = self;
        let violations = &played.findings.violations;
        write!(
            f,
            "{bugs:?}: {streaming:?}, by brute force {brute:?}: {violations:#?}"
        )
    }
}

proptest! {
    #![proptest_config(super::config(1000))]

    #[test]
    fn without_a_bug_both_find_nothing(seed: u64, classic: bool) {
        let judged = Judged::new(seed, classic, &[]);
        prop_assert_eq!(&judged.brute, &Verdict::new());
        prop_assert_eq!(&judged.streaming, &Verdict::new());
    }

    /// Whatever the bugs: nobody is accused of what a correct server can explain, and what needs
    /// no inference is found by both.
    #[test]
    fn what_the_verifier_finds_no_correct_server_explains(
        seed: u64,
        classic: bool,
        bugs in prop::collection::vec(0..BUGS.len(), 1..6),
    ) {
        let judged = Judged::new(seed, classic, &bugs);
        let Judged { streaming, brute, .. } = &judged;
        prop_assert!(streaming.is_empty() || !brute.is_empty(), "{:?}", judged);
        let plain = !Judged::looked_up(brute).is_empty();
        prop_assert!(!plain || !streaming.is_empty(), "{:?}", judged);
    }
}

/// One after the other, the same histories each time: what is lost or out of order is inferred,
/// and the verifier infers from what is near. `PROPTEST_CASES` asks for more of each, and then
/// prints how many of all differ.
#[test]
fn of_each_bug_both_find_the_same() {
    let usual = 60;
    let histories = u64::from(super::cases(usual));
    let (mut all, mut different) = (0, Vec::new());
    for (bug, (name, _)) in BUGS.iter().enumerate() {
        let mut occasions = 0;
        for (seed, classic) in (0..histories).flat_map(|seed| [(seed, false), (seed, true)]) {
            let judged = Judged::new(seed, classic, &[bug]);
            occasions += judged.bugs.len();
            if !judged.is_alike() {
                different.push(format!("seed {seed}, classic {classic}: {judged:?}"));
            }
        }
        all += occasions;
        assert!(occasions > 0, "{name}: never");
    }
    println!("{} of {all} differ", different.len());
    assert!(
        different.len() * 2000 <= all,
        "{} of {all} differ: {different:#?}",
        different.len()
    );
}

/// Likewise of several bugs: both fail or neither.
#[test]
fn of_several_bugs_both_fail_or_neither() {
    let histories = u64::from(super::cases(2000));
    let mut different = Vec::new();
    for seed in 0..histories {
        let mut rng = rng(seed ^ 0x5e7e);
        let bugs: Vec<usize> = (0..rng.random_range(2..6))
            .map(|_| rng.random_range(0..BUGS.len()))
            .collect();
        let judged = Judged::new(seed, rng.random_bool(0.5), &bugs);
        if judged.streaming.is_empty() != judged.brute.is_empty() {
            different.push(format!("seed {seed}: {judged:?}"));
        }
    }
    println!("{} of {histories} differ", different.len());
    assert!(
        different.len() as u64 * 2000 <= histories,
        "{} of {histories} differ: {different:#?}",
        different.len()
    );
}
