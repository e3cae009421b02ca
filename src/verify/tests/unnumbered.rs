//! Targets that state no order: the same worlds, judged from outside.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Play, World};
use crate::scenario::plan::{OrderPromise, Promises};

/// Everything that the reference server promises, but for the numbers.
const FROM_OUTSIDE: Promises = Promises {
    ack: crate::scenario::plan::AckPromise::ExactlyOnce,
    relay: crate::scenario::plan::RelayPromise::ExactlyOnce,
    order: OrderPromise::Total,
    echo: false,
    use_seq: false,
    late_after: None,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_correct_server_raises_nothing(seed: u64, play: u64, slowly: bool, classic: bool) {
        let mut world = World::new(seed, 1).judged_by(FROM_OUTSIDE);
        if classic {
            world = world.in_classic();
        }
        let played = world.play(Play { seed: play, slowly });
        let findings = &played.findings;
        prop_assert_eq!(&findings.violations, &BTreeMap::new());
        prop_assert_eq!(&findings.undecided, &Vec::<String>::new());
        let numbered = World::new(seed, 1).play(Play { seed: play, slowly: false });
        let (counts, exact) = (findings.counts, numbered.findings.counts);
        prop_assert_eq!(counts.sent, exact.sent);
        prop_assert_eq!(counts.acked, exact.acked);
        prop_assert_eq!(counts.delivered, exact.delivered);
        prop_assert_eq!(counts.owed, exact.owed);
    }
}
