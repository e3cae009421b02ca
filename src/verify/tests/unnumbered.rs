//! Targets that state no order: the same worlds, judged from outside.

use proptest::prelude::*;

use super::clean::assert_exact;
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
        assert_exact(&world, &played);
    }
}

#[test]
fn probe() {
    let mut bad = 0;
    let one = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse::<u64>().ok());
    for seed in 0..4000_u64 {
        if one.is_some_and(|one| one != seed) {
            continue;
        }
        for classic in [false, true] {
            if one.is_some() {
                println!("DBG classic {classic}");
            }
            let mut world = World::new(seed, 1).judged_by(FROM_OUTSIDE);
            if classic {
                world = world.in_classic();
            }
            let played = world.play(Play {
                seed,
                slowly: false,
            });
            if played.findings.violation_count() > 0 || !played.findings.undecided.is_empty() {
                bad += 1;
                if bad < 4 {
                    println!("seed {seed} classic {classic} {:#?}", played.findings);
                    if std::env::var("TELL").is_ok() {
                        for (i, life) in world.lives.iter().enumerate() {
                            println!(
                                "life {i}: connect {} end {:?} {}",
                                life.connect_ns, life.end, life.end_ns
                            );
                            println!(
                                "   sends {:?}",
                                life.sends
                                    .iter()
                                    .map(|s| (s.k, s.at_ns))
                                    .collect::<Vec<_>>()
                            );
                            for (f, r) in life.frames.iter().zip(&played.read_ns[i]) {
                                println!("   {} {:?} at {} read {:?}", f.seq, f.what, f.at_ns, r);
                            }
                        }
                    }
                }
            }
        }
    }
    println!("bad {bad}");
    assert_eq!(bad, 0);
}
