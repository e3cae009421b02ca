//! A correct server raises nothing, whatever the churn, and every count is exact.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{Play, Played, What, World};
use crate::judge::Settled;
use crate::promises::{AckPromise, OrderPromise, RelayPromise};
use chatbench_wire::rooms::RoomId;

/// What a correct server's world must come to, whatever that promises.
pub(super) fn assert_exact(world: &World, played: &Played) {
    let findings = &played.findings;
    let promises = world.terms.promises;
    assert_eq!(findings.violations, BTreeMap::new(), "{promises:?}");
    if promises.order != OrderPromise::None {
        assert_eq!(findings.undecided, [""; 0]);
    }
    let (mut acked, mut again) = (0, 0);
    let mut had = BTreeSet::new();
    let mut messages: BTreeMap<u64, Settled> = BTreeMap::new();
    for (life, read_ns) in played.read_ns.iter().enumerate() {
        for (frame, read_ns) in world.lives[life].frames.iter().zip(read_ns) {
            let Some(read_ns) = *read_ns else { continue };
            match frame.what {
                What::Ack(_) => acked += 1,
                What::Relay(id) if !had.insert((life, id)) => again += 1,
                What::Relay(id) if promises.ack == AckPromise::Echo && id.life == life => {
                    acked += 1;
                }
                What::Relay(id) => {
                    let settled = messages.entry(frame.seq).or_insert(Settled {
                        room: RoomId::UNNAMED,
                        intended_ns: world.sent_ns[&id],
                        first_ns: read_ns,
                        last_ns: read_ns,
                        receivers: 0,
                    });
                    settled.receivers += 1;
                    settled.first_ns = settled.first_ns.min(read_ns);
                    settled.last_ns = settled.last_ns.max(read_ns);
                }
                _ => {}
            }
        }
    }
    let counts = &findings.counts;
    assert_eq!(counts.sessions, world.lives.len() as u64);
    assert_eq!(counts.sent, played.sent);
    assert_eq!(counts.acked, acked);
    let echoes = match promises.ack {
        AckPromise::Echo => acked,
        AckPromise::ExactlyOnce | AckPromise::None => 0,
    };
    assert_eq!(counts.delivered + echoes, had.len() as u64);
    let lost = match promises.relay {
        RelayPromise::AtMostOnce => counts.lost,
        RelayPromise::ExactlyOnce | RelayPromise::AtLeastOnce => 0,
    };
    assert_eq!(counts.owed, counts.delivered + lost);
    assert_eq!((counts.lost, counts.duplicated), (lost, again));
    let mut settled: Vec<Settled> = messages.into_values().collect();
    let mut found = played.settled.clone();
    if !promises.use_seq {
        // Which came first is what it finds out itself.
        let key = |s: &Settled| (s.intended_ns, s.first_ns, s.last_ns, s.receivers);
        settled.sort_unstable_by_key(key);
        found.sort_unstable_by_key(key);
    }
    assert_eq!(found, settled, "once each, in order");
}

proptest! {
    #![proptest_config(super::config(600))]

    #[test]
    fn a_correct_server_raises_nothing(seed: u64, play: u64, shards in 1_usize..4) {
        let world = World::new(seed, shards);
        let played = world.play(Play { seed: play, slowly: false });
        assert_exact(&world, &played);
    }

    /// The comparison with other receivers' bytes changes nothing but the time it takes.
    #[test]
    fn decoding_every_line_finds_the_same(seed: u64, play: u64, shards in 1_usize..4) {
        let world = World::new(seed, shards);
        let played = world.play(Play { seed: play, slowly: true });
        assert_exact(&world, &played);
    }
}
