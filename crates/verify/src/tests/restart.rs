//! A target that is killed and started again in mid-run: its numbers begin anew.

use super::guards::{Bench, ack, kinds, relay};
use super::world::{address, terms};
use crate::directory::ClientId;
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle};

/// `count` messages of `sender` from its `first` on, numbered from `number` on, get to everyone
/// else.
fn talk(
    bench: &mut Bench,
    (sender, shard, handle): (u32, usize, Handle),
    others: &[(usize, Handle)],
    number: u64,
    count: u64,
) {
    for k in 1..=count {
        let n = number + k;
        bench.ledgers[shard]
            .sending(handle, bench.now_ns, bench.now_ns, false)
            .unwrap();
        bench.read(shard, handle, &ack(n, sender, k));
        for &(shard, other) in others {
            bench.read(shard, other, &relay(n, sender, k));
        }
    }
}

/// Three clients, in so many shards; their target is killed after 100 messages and then every one
/// connects again. How many messages they get then, and what else goes wrong, is `then`'s to say.
fn restarted(
    shards: usize,
    then: impl Fn(&mut Bench, [(usize, Handle); 3]) -> u64,
) -> (Findings, u64) {
    let mut bench = Bench::new(shards, terms());
    let place = |i: usize| i % shards;
    let before = [0, 1, 2].map(|i| (place(i), bench.join(place(i), i, 0)));
    let [(shard, sender), others @ ..] = before;
    talk(&mut bench, (0, shard, sender), &others, 0, 100);
    // Under way when it was killed.
    bench.ledgers[shard]
        .sending(sender, bench.now_ns, bench.now_ns, false)
        .unwrap();
    for (shard, handle) in before {
        bench.now_ns += 1;
        bench.ledgers[shard].ended(handle, Ending::Eof, b"", bench.now_ns);
    }
    (0..shards).for_each(|shard| bench.hand_over(shard));
    // Sessions 3 to 5 of the same clients.
    let after = [0, 1, 2].map(|i| {
        let handle = bench.ledgers[place(i)]
            .connecting(ClientId(i as u32))
            .unwrap();
        bench.ledgers[place(i)].connected(handle, address(3 + i).parse().unwrap());
        let mut welcome = Vec::new();
        chatbench_wire::ndjson::encode_welcome(&mut welcome, &address(3 + i), 0, 65_536);
        bench.read(place(i), handle, &welcome);
        (place(i), handle)
    });
    let last = then(&mut bench, after);
    for (shard, handle) in after {
        bench.leave(shard, handle, last);
    }
    let findings = bench.finish();
    (findings, last)
}

#[test]
fn a_target_that_was_started_again_is_one_finding_and_is_judged_as_before() {
    for shards in [1, 2, 3] {
        let (findings, _) = restarted(shards, |bench, after| {
            let [(shard, sender), others @ ..] = after;
            talk(bench, (3, shard, sender), &others, 0, 50);
            (0..shards).for_each(|shard| bench.hand_over(shard));
            let [others_first, (shard, sender), other] = after;
            talk(bench, (4, shard, sender), &[others_first, other], 50, 200);
            250
        });
        assert_eq!(kinds(&findings), [(Kind::SequenceReuse, 1)], "{shards}");
        let example = &findings.violations[&Kind::SequenceReuse].examples[0];
        assert_eq!(
            example.text,
            "the numbers began anew: c0 was welcomed at number 0, though number 100 had been given \
             out before it connected; 3 connections had broken off by then"
        );
        assert_eq!(findings.undecided, [""; 0], "{shards}");
        let counts = findings.counts;
        assert_eq!((counts.acked, counts.lost), (350, 0));
        assert_eq!((counts.delivered, counts.owed), (700, 700));
        assert_eq!((counts.unresolved, counts.unexpected_closes), (0, 3));
    }
}

/// What goes wrong then is named by the numbers that the target states.
#[test]
fn what_is_lost_after_it_is_named_by_its_own_number() {
    for shards in [1, 3] {
        let (findings, _) = restarted(shards, |bench, after| {
            let [(shard, sender), one, other] = after;
            talk(bench, (3, shard, sender), &[one, other], 0, 10);
            bench.ledgers[shard]
                .sending(sender, bench.now_ns, bench.now_ns, false)
                .unwrap();
            bench.read(shard, sender, &ack(11, 3, 11));
            bench.read(one.0, one.1, &relay(11, 3, 11));
            11
        });
        let expected = [(Kind::LostRelay, 1), (Kind::SequenceReuse, 1)];
        assert_eq!(kinds(&findings), expected, "{shards}");
        let lost = &findings.violations[&Kind::LostRelay].examples[0];
        assert_eq!(lost.seq, Some(11));
        assert_eq!(
            lost.text,
            "c2 was owed message 11 of c0 (number 11) and never got it: its bye says that number \
             11 was its last"
        );
    }
}

/// With no message after it, its bye tells.
#[test]
fn a_goodbye_alone_tells_that_the_numbers_began_anew() {
    let (findings, _) = restarted(2, |_, _| 0);
    assert_eq!(kinds(&findings), [(Kind::SequenceReuse, 1)]);
}

/// A welcome at a number that is too small, and then the numbers that everyone else has: they did
/// not begin anew.
#[test]
fn a_welcome_that_states_too_small_a_number_is_no_new_beginning() {
    let mut bench = Bench::new(1, terms());
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
    talk(&mut bench, (0, 0, sender), &[(0, listener)], 0, 10);
    let newcomer = bench.join(0, 2, 3);
    for k in 11..=12 {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(k, 0, k));
        bench.read(0, listener, &relay(k, 0, k));
        bench.read(0, newcomer, &relay(k, 0, k));
    }
    for handle in [sender, listener, newcomer] {
        bench.leave(0, handle, 12);
    }
    assert_eq!(kinds(&bench.finish()), []);
}

/// A connection that was closed while others still got what was due was closed for itself.
#[test]
fn a_hang_up_long_before_the_restart_is_a_violation_of_its_own() {
    let mut bench = Bench::new(1, terms());
    let [sender, listener, odd] = [0, 1, 2].map(|i| bench.join(0, i, 0));
    bench.ledgers[0].ended(odd, Ending::Eof, b"", bench.now_ns);
    bench.now_ns += 5_000_000_000;
    talk(&mut bench, (0, 0, sender), &[(0, listener)], 0, 10);
    for handle in [sender, listener] {
        bench.ledgers[0].ended(handle, Ending::Broken, b"", bench.now_ns);
    }
    let again = bench.join(0, 3, 0);
    bench.leave(0, again, 0);
    let findings = bench.finish();
    let expected = [(Kind::SequenceReuse, 1), (Kind::UnexpectedClose, 1)];
    assert_eq!(kinds(&findings), expected);
    let close = &findings.violations[&Kind::UnexpectedClose].examples[0];
    assert_eq!(close.receiver.as_deref(), Some("c2"));
}

/// Twice.
#[test]
fn each_restart_is_one_finding() {
    let mut bench = Bench::new(1, terms());
    for restart in 0..3 {
        let [sender, listener] = [0, 1].map(|i| bench.join(0, 2 * restart + i, 0));
        let me = 2 * restart as u32;
        talk(
            &mut bench,
            (me, 0, sender),
            &[(0, listener)],
            0,
            5 + restart as u64,
        );
        for handle in [sender, listener] {
            bench.ledgers[0].ended(handle, Ending::Broken, b"", bench.now_ns);
        }
        bench.hand_over(0);
    }
    let findings = bench.finish();
    let expected = [(Kind::SequenceReuse, 2), (Kind::UnexpectedClose, 2)];
    assert_eq!(kinds(&findings), expected);
    assert_eq!(findings.counts.lost, 0);
}
