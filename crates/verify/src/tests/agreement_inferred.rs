//! The verifier and the brute-force checker [`oracle_inferred`](super::oracle_inferred) come to the same
//! verdict on a target that states no order, right or wrong, in either dialect.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::agreement::{afflict, found};
use super::bugs::BUGS;
use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::liberties;
use super::oracle_inferred;
use super::world::{Play, Played, World, rng};
use crate::kind::Kind;
use crate::promises::{AckPromise, Promises};

pub(super) type Verdict = BTreeMap<Kind, u64>;

/// That something is out of order, and not where: what a cycle is made of is certain, and what of
/// it is wrong is not.
pub(super) const ORDER: [Kind; 4] = [
    Kind::ReorderedRelay,
    Kind::OrderDivergence,
    Kind::Causality,
    Kind::RealTime,
];

/// Lines that may have come in the place of others.
const WRONG_LINE: [Kind; 4] = [
    Kind::AlteredRelay,
    Kind::PhantomRelay,
    Kind::StaleRelay,
    Kind::StrayAck,
];

/// What did not come, and to how many.
pub(super) const LOSS: [Kind; 2] = [Kind::LostRelay, Kind::AckWithoutRelay];

/// A history, and both verdicts on it.
pub(super) struct Judged {
    promises: Promises,
    bugs: Vec<&'static str>,
    pub(super) streaming: Verdict,
    brute: Verdict,
    /// By brute force, but for what follows only from when another session joined.
    near: Verdict,
    played: Played,
}

impl Judged {
    fn new(seed: u64, classic: bool, bugs: &[usize]) -> Self {
        let mut world = World::new(seed, 1).judged_by(INFERRED_ORDER);
        if classic {
            world = world.in_classic();
        }
        Self::of(world, seed, bugs)
    }

    /// Of a target that promises anything, and no more than that.
    fn promising(seed: u64, classic: bool, bugs: &[usize]) -> Self {
        let promises = liberties::promises(&mut rng(seed));
        Self::of(World::at_liberty(seed, promises, classic), seed, bugs)
    }

    pub(super) fn of(mut world: World, seed: u64, bugs: &[usize]) -> Self {
        let protocol = conns::protocol(&world.terms);
        let promises = world.terms.promises;
        let bugs = afflict(&mut world, seed, bugs);
        let seed = rng(seed).random();
        let played = world.play(Play {
            seed,
            slowly: false,
        });
        Self {
            promises,
            bugs,
            streaming: found(&played),
            brute: oracle_inferred::verdict(&played.observations, protocol, promises, true),
            near: oracle_inferred::verdict(&played.observations, protocol, promises, false),
            played,
        }
    }

    /// What is out of order or lost is inferred from what others got when; the rest is looked up.
    fn looked_up(verdict: &Verdict) -> Verdict {
        let mut looked_up = verdict.clone();
        looked_up.retain(|kind, _| !ORDER.contains(kind) && !LOSS.contains(kind));
        looked_up
    }

    /// Whether both find the same kinds, each as often, but for what the table in
    /// `docs/VERIFICATION.md` has.
    fn is_alike(&self) -> bool {
        self.is_alike_to(&self.brute) || self.is_alike_to(&self.near)
    }

    fn is_alike_to(&self, brute: &Verdict) -> bool {
        let out_of_order = |v: &Verdict| ORDER.iter().any(|kind| v.contains_key(kind));
        match [&self.streaming, brute].map(out_of_order) {
            [false, false] => self.compared(&self.streaming) == self.compared(brute),
            [true, true] => Self::looked_up(&self.streaming) == Self::looked_up(brute),
            _ => false,
        }
    }

    /// Without what is not certain of a history in which nothing is out of order.
    fn compared(&self, verdict: &Verdict) -> Verdict {
        let mut compared = verdict.clone();
        let lost: u64 = LOSS.iter().filter_map(|kind| compared.remove(kind)).sum();
        let starved = self.bugs.contains(&"starves a receiver");
        let wrong_line = WRONG_LINE.iter().any(|kind| verdict.contains_key(kind));
        if verdict.contains_key(&Kind::MalformedFrame) {
            compared.remove(&Kind::MissingAck);
        } else if starved {
            compared.insert(Kind::LostRelay, lost.min(1));
        } else if wrong_line {
            // Of an echo and a message that others got later, the line may stand for either.
            let certain = if self.promises.echo { 0 } else { lost };
            compared.insert(Kind::LostRelay, certain);
            if self.promises.ack == AckPromise::Echo {
                compared.remove(&Kind::MissingAck); // likewise
            }
        } else {
            return verdict.clone();
        }
        compared
    }
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            promises,
            bugs,
            streaming,
            brute,
            near: _,
            played,
        } = self;
        let violations = &played.findings.violations;
        write!(
            f,
            "{bugs:?}: {streaming:?}, by brute force {brute:?}: {violations:#?}, {promises:?}"
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
pub(super) fn assert_alike_of_each_bug(of: fn(u64, bool, &[usize]) -> Judged) {
    let usual = 60;
    let histories = u64::from(super::cases(usual));
    let (mut all, mut different) = (0, Vec::new());
    for (bug, (name, _)) in BUGS.iter().enumerate() {
        let mut occasions = 0;
        for (seed, classic) in (0..histories).flat_map(|seed| [(seed, false), (seed, true)]) {
            let judged = of(seed, classic, &[bug]);
            occasions += judged.bugs.len();
            if !judged.is_alike() {
                different.push(format!("seed {seed}, classic {classic}: {judged:?}"));
            }
        }
        all += occasions;
        assert!(occasions > 0, "{name}: never");
    }
    assert_none_differs(all, &different);
}

/// Likewise of several bugs: both fail or neither.
pub(super) fn assert_both_fail_or_neither(of: fn(u64, bool, &[usize]) -> Judged) {
    let histories = super::cases(2000) as usize;
    let mut different = Vec::new();
    for seed in 0..histories as u64 {
        let mut rng = rng(seed ^ 0x5e7e);
        let bugs: Vec<usize> = (0..rng.random_range(2..6))
            .map(|_| rng.random_range(0..BUGS.len()))
            .collect();
        let judged = of(seed, rng.random_bool(0.5), &bugs);
        if judged.streaming.is_empty() != judged.brute.is_empty() {
            different.push(format!("seed {seed}: {judged:?}"));
        }
    }
    assert_none_differs(histories, &different);
}

fn assert_none_differs(all: usize, different: &[String]) {
    let some = different.len();
    println!("{some} of {all} differ");
    assert!(some == 0, "{some} of {all} differ: {different:#?}");
}

#[test]
fn of_each_bug_both_find_the_same() {
    assert_alike_of_each_bug(Judged::new);
}

#[test]
fn of_several_bugs_both_fail_or_neither() {
    assert_both_fail_or_neither(Judged::new);
}

/// Where less is promised, or other things, and the target takes every liberty.
#[test]
fn whatever_is_promised_both_find_the_same_of_each_bug() {
    assert_alike_of_each_bug(Judged::promising);
}

#[test]
fn whatever_is_promised_both_fail_or_neither_of_several_bugs() {
    assert_both_fail_or_neither(Judged::promising);
}

/// Histories of which the verifier once made less, or other things, than the brute-force checker:
/// seeds, with ndjson and in the classic dialect.
const ONCE_DIFFERENT: &[(&str, &[u64], &[u64])] = &[
    (
        "drops a relay",
        &[3220, 3334],
        &[1093, 1119, 1781, 3334, 3483, 4758],
    ),
    ("drops any frame", &[2853], &[3745]),
    (
        "starves a receiver",
        &[844, 2225, 2890, 3188, 4459, 4777, 100729],
        &[
            162, 576, 2469, 2617, 2864, 3188, 3888, 4132, 4459, 4481, 4724, 4758,
        ],
    ),
    ("sends an ack twice", &[], &[3068]),
    ("exchanges two frames", &[3082, 4891], &[5631, 4891]),
    (
        "holds a frame back",
        &[4301, 101850],
        &[4301, 101850, 102741],
    ),
    ("numbers a message too late", &[3492], &[2364, 3492]),
    (
        "sends an old message to a newcomer",
        &[1836, 100492, 101202, 103589, 104671],
        &[2423, 100492, 101202],
    ),
    (
        "misroutes an ack",
        &[],
        &[
            83, 696, 773, 911, 981, 1002, 1328, 1399, 1918, 2788, 3100, 3211, 3505, 3520, 3562,
            3808, 3851, 4031, 4223, 4267, 4581, 4869,
        ],
    ),
    ("hangs up", &[], &[2584, 2889, 3257, 102947, 104272]),
    ("tears a frame", &[101215], &[101215]),
];

#[test]
fn what_once_differed_is_alike() {
    for (name, ndjson, classic) in ONCE_DIFFERENT {
        let bug = BUGS.iter().position(|(bug, _)| bug == name).unwrap();
        let seeds = ndjson.iter().map(|seed| (*seed, false));
        for (seed, classic) in seeds.chain(classic.iter().map(|seed| (*seed, true))) {
            let judged = Judged::new(seed, classic, &[bug]);
            assert!(
                judged.is_alike(),
                "seed {seed}, classic {classic}: {judged:?}"
            );
        }
    }
}
