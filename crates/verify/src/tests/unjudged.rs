//! What there is no time to judge when a run ends: it is counted, and accuses nobody; what is
//! certain is reported all the same.

use super::fault_table::INFERRED_ORDER;
use super::guards::{self, ack, kinds, relay};
use super::weaker::{Bench, talk};
use super::world::terms;
use crate::bounds;
use crate::kind::Kind;
use chatbench_wire::protocol::Protocol;

/// Two shards, three messages. The listener of the second loses one, and what its shard says of
/// that comes too late to be judged; so does what the first says of its own listener's.
#[test]
fn batches_that_are_passed_over_accuse_nobody() {
    for malformed in [false, true] {
        let mut bench = guards::Bench::new(2, terms());
        let [sender, near] = [0, 1].map(|i| bench.join(0, i, 0));
        let far = bench.join(1, 2, 0);
        for n in 1..=3 {
            bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
            bench.read(0, sender, &ack(n, 0, n));
            if n != 2 {
                bench.read(0, near, &relay(n, 0, n));
                bench.read(1, far, &relay(n, 0, n));
            }
        }
        if malformed {
            bench.read(1, far, b"?\n");
        }
        bench.hand_over(0);
        for (shard, handle) in [(0, sender), (0, near), (1, far)] {
            bench.leave(shard, handle, 3);
        }
        for shard in [1, 0] {
            let batch = bench.ledgers[shard].take_rest().0;
            bench.judge.pass_over(shard, batch, |_| ());
        }
        let findings = bench.judge.finish(false, |_| ());
        let expected = [(Kind::MalformedFrame, 1)];
        assert_eq!(kinds(&findings), expected[..usize::from(malformed)]);
        assert_eq!((findings.counts.sent, findings.counts.acked), (3, 3));
        assert_eq!((findings.counts.delivered, findings.counts.lost), (4, 0));
        let [unjudged] = &findings.undecided[..] else {
            panic!("{:?}", findings.undecided);
        };
        let begins = "the verifier was behind when the run had to end, and 3 messages, from 0.0 s";
        assert!(unjudged.starts_with(begins), "{unjudged}");
    }
}

/// More messages wait for the end than are settled at once. One of the first is lost, and one of
/// the last.
#[test]
fn of_messages_that_there_is_no_time_to_settle_nothing_is_said() {
    let at_once = bounds::settled_at_once();
    for in_time in [false, true] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, 5, &[1, 2]);
        talk(&mut bench, 1, &[1]);
        // One waits for nothing but its goodbye, so all wait for that.
        talk(&mut bench, at_once, &[1]);
        let all: Vec<usize> = (7..=6 + at_once).filter(|k| *k != at_once + 6).collect();
        all.iter().for_each(|&k| bench.relay(2, 0, k));
        (0..3).for_each(|client| bench.leave(client));
        let (batch, more) = bench.ledger.take_rest();
        assert!(more);
        bench.judge.absorb(0, batch, |_| ());
        if !in_time {
            bench.ledger.stop_judging();
        }
        let (batch, more) = bench.ledger.take_rest();
        assert!(!more);
        bench.judge.absorb(0, batch, |_| ());
        let findings = bench.judge.finish(false, |_| ());
        let lost = if in_time { 2 } else { 1 };
        assert_eq!(kinds(&findings), [(Kind::LostRelay, lost)]);
        assert_eq!(findings.counts.lost, lost);
        assert_eq!(findings.undecided.is_empty(), in_time);
        let told = findings.undecided.concat();
        let begins = "the verifier was behind when the run had to end, and ";
        assert!(in_time || told.starts_with(begins), "{told}");
    }
}
