//! Every bound of the ledger that judges without numbers drawn small, as in [`bounded`](super::bounded):
//! what it finds, the brute-force checker finds as well; and where only the checker finds anything,
//! the run says that something stayed undecided.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::Rng;

use super::agreement::{afflict, found};
use super::agreement_inferred::{LOSS, ORDER};
use super::bounded::small;
use super::bugs::BUGS;
use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::oracle_inferred;
use super::world::{Play, Played, World, rng};
use crate::bounds::{self, Bounds};
use crate::kind::Kind;

type Verdict = BTreeMap<Kind, u64>;

/// Each bound is as small as can be in every second history, but for `history`: it has to be longer
/// than a session may begin before its start, which is no bound of memory.
fn draw(rng: &mut dyn Rng) -> Bounds {
    let usual = Bounds::USUAL;
    let mut small = small(rng);
    Bounds {
        reorder_window: small(usual.reorder_window, 1, 8),
        excused_runs: small(usual.excused_runs, 0, 2),
        waived_acks: small(usual.waived_acks, 0, 2),
        remembered: small(usual.remembered, 0, 2),
        deferred_losses: small(usual.deferred_losses, 0, 2),
        slots: small(usual.slots, 1, 12),
        slot_bytes: small(usual.slot_bytes, 0, 0),
        doubts: small(usual.doubts, 0, 2),
        late_deliveries: small(usual.late_deliveries, 0, 2),
        past_sessions: small(usual.past_sessions, 0, 2),
        ended_senders: small(usual.ended_senders, 0, 2),
        saved_effort: small(usual.saved_effort, 0, 32),
        ..usual
    }
}

/// Loss and disorder go by several names, of which the evidence may allow either.
fn named(verdict: &Verdict) -> BTreeSet<Kind> {
    let name = |kind: &Kind| match kind {
        kind if ORDER.contains(kind) => ORDER[0],
        kind if LOSS.contains(kind) => LOSS[0],
        kind => *kind,
    };
    verdict.keys().map(name).collect()
}

struct History {
    bugs: Vec<&'static str>,
    bounds: Bounds,
    played: Played,
    brute: BTreeSet<Kind>,
}

fn history(seed: u64, classic: bool, bugs: &[usize]) -> History {
    let mut world = World::new(seed, 1).judged_by(INFERRED_ORDER);
    if classic {
        world = world.in_classic();
    }
    let bugs = afflict(&mut world, seed, bugs);
    let bounds = draw(&mut rng(seed ^ 0xb0d));
    let play = Play {
        seed,
        slowly: false,
    };
    let played = bounds::within(bounds, || world.play(play));
    let protocol = conns::protocol(&world.terms);
    let promises = world.terms.promises;
    let brute = [true, false].map(|far| {
        let verdict = oracle_inferred::verdict(&played.observations, protocol, promises, far);
        named(&verdict)
    });
    History {
        bugs,
        bounds,
        played,
        brute: &brute[0] | &brute[1],
    }
}

impl History {
    /// What of the verdict is false, and whether it passes over something in silence.
    fn wrong(&self) -> Option<String> {
        let named = named(&found(&self.played));
        let mut wrong: Vec<String> = (named.difference(&self.brute))
            .map(|kind| format!("false {kind:?}"))
            .collect();
        let undecided = !self.played.findings.undecided.is_empty();
        if named.is_empty() && !self.brute.is_empty() && !undecided {
            wrong.push("silent".to_owned());
        }
        (!wrong.is_empty()).then(|| {
            format!(
                "{wrong:?} of {:?} within {:?}: by brute force {:?}, {:#?}",
                self.bugs, self.bounds, self.brute, self.played.findings
            )
        })
    }
}

/// The same histories each time; as many more as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..super::config(400)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bound_accuses_a_right_server_that_states_no_order(seed: u64, classic: bool) {
        let history = history(seed, classic, &[]);
        prop_assert_eq!(&history.brute, &BTreeSet::new());
        prop_assert_eq!(found(&history.played), Verdict::new(), "within {:?}", history.bounds);
    }

    #[test]
    fn within_small_bounds_one_bug_with_inferred_order_is_what_it_is_or_undecided(
        seed: u64,
        classic: bool,
        bug in 0..BUGS.len(),
    ) {
        let history = history(seed, classic, &[bug]);
        if let Some(wrong) = history.wrong() {
            return Err(TestCaseError::fail(wrong));
        }
    }
}
