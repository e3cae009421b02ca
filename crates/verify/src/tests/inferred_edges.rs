//! What follows from others' deliveries about a message that did not come: each of these was once
//! missed, and found by holding the verifier against [`oracle_inferred`](super::oracle_inferred).
//!
//! Clients are numbered; each history ends with the polite leave of those who are left.

use super::fault_table::INFERRED_ORDER;
use super::weaker::{Bench, kinds};
use super::world::address;
use crate::kind::Kind;
use crate::ledger::Ending;
use crate::promises::{OrderPromise, Promises};
use chatbench_wire::classic;
use chatbench_wire::protocol::Protocol;
use chatbench_wire::seen::Capabilities;

fn bench(dialect: Protocol, clients: usize) -> Bench {
    Bench::new(INFERRED_ORDER, dialect, clients)
}

/// `sender` says its next message, is acked it, and these get it.
fn say(bench: &mut Bench, sender: usize, receivers: &[usize]) -> usize {
    bench.send(sender, false);
    let k = bench.sent(sender);
    bench.ack(sender, k as u64);
    receivers.iter().for_each(|&to| bench.relay(to, sender, k));
    k
}

fn found(mut bench: Bench, left: &[usize]) -> Vec<(Kind, u64)> {
    left.iter().for_each(|&client| bench.leave(client));
    let findings = bench.finish();
    assert_eq!(findings.undecided, [""; 0]);
    kinds(&findings)
}

/// A later one of its sender shows that the target had it. Nobody is left to miss the ack.
#[test]
fn a_message_swallowed_before_its_sender_broke_off_is_lost() {
    let mut bench = bench(Protocol::Ndjson, 3);
    say(&mut bench, 0, &[1, 2]);
    bench.send(0, false);
    bench.send(0, false);
    [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 3));
    bench.end(0, Ending::Ours);
    assert_eq!(found(bench, &[1, 2]), [(Kind::LostRelay, 2)]);
}

/// Client 3 joins, and gets what client 0 said before and after; `between` was said by client 1
/// before 3 was welcomed, so that only its place says that 3 was owed it.
fn owed_by_place(leaves_first: bool) -> Vec<(Kind, u64)> {
    let mut bench = bench(Protocol::Ndjson, 3);
    say(&mut bench, 2, &[0, 1]);
    bench.send(0, false);
    bench.send(1, false);
    bench.join();
    bench.send(2, false);
    let all = [(0, 1), (1, 1), (2, 2)];
    for (from, k) in [all[0], all[2]] {
        bench.relay(3, from, k);
    }
    if leaves_first {
        bench.end(3, Ending::Ours);
    }
    for to in 0..3 {
        for (from, k) in all.into_iter().filter(|(from, _)| *from != to) {
            bench.relay(to, from, k);
        }
    }
    (all.into_iter()).for_each(|(client, k)| bench.ack(client, k as u64));
    let left: &[usize] = if leaves_first {
        &[0, 1, 2]
    } else {
        &[0, 1, 2, 3]
    };
    found(bench, left)
}

/// Client 0 got it before 2's message, and client 2 after 0's.
#[test]
fn one_who_got_it_between_two_is_enough() {
    assert_eq!(owed_by_place(false), [(Kind::LostRelay, 1)]);
}

#[test]
fn it_is_lost_though_others_show_that_only_after_the_session_has_ended() {
    assert_eq!(owed_by_place(true), [(Kind::LostRelay, 1)]);
}

/// Who was owed it is not known if nobody says where it belongs.
#[test]
fn what_may_lie_before_the_join_is_not_lost() {
    let mut bench = bench(Protocol::Ndjson, 3);
    bench.send(0, false);
    bench.join();
    bench.send(1, false);
    bench.relay(3, 1, 1);
    for to in [1, 2] {
        bench.relay(to, 0, 1);
    }
    bench.relay(0, 1, 1);
    bench.relay(2, 1, 1);
    bench.ack(0, 1);
    bench.ack(1, 1);
    assert_eq!(found(bench, &[0, 1, 2, 3]), []);
}

/// Of each two messages only one client got both, and no two of them got the same two.
#[test]
fn three_who_contradict_each_other_are_out_of_order() {
    let circle = [(1, [0, 2]), (0, [2, 1]), (2, [1, 0])];
    let line = [(1, [0, 2]), (0, [1, 2]), (2, [0, 1])];
    let disorder = vec![(Kind::OrderDivergence, 1)];
    for (orders, expected) in [(circle, disorder), (line, vec![])] {
        let mut bench = bench(Protocol::Ndjson, 3);
        (0..3).for_each(|client| bench.send(client, false));
        for (to, from) in orders {
            from.into_iter().for_each(|from| bench.relay(to, from, 1));
        }
        (0..3).for_each(|client| bench.ack(client, 1));
        assert_eq!(found(bench, &[0, 1, 2]), expected);
    }
}

/// That somebody had it says as much as its ack: it was in the log by then. All who got both
/// agree, so it is not they who are wrong.
#[test]
fn what_was_sent_after_another_had_been_relayed_comes_after_it() {
    let mut bench = bench(Protocol::Ndjson, 4);
    bench.send(0, false);
    bench.relay(1, 0, 1);
    bench.end(1, Ending::Ours);
    bench.send(2, false);
    bench.relay(3, 2, 1);
    bench.relay(3, 0, 1);
    bench.relay(0, 2, 1);
    bench.relay(2, 0, 1);
    bench.ack(0, 1);
    bench.ack(2, 1);
    assert_eq!(found(bench, &[0, 2, 3]), [(Kind::RealTime, 1)]);
}

/// Connections are taken in the order in which they were made: whatever a later one sent, or got,
/// was sent to the earlier one, too.
#[test]
fn a_classic_client_was_there_before_whoever_connected_later() {
    let mut bench = bench(Protocol::Classic, 3);
    let lost = say(&mut bench, 1, &[2]);
    assert_eq!(lost, 1);
    say(&mut bench, 2, &[0, 1]);
    say(&mut bench, 1, &[0, 2]);
    assert_eq!(found(bench, &[0, 1, 2]), [(Kind::LostRelay, 1)]);
}

/// An ack that names the address of one who has left by then.
#[test]
fn an_ack_astray_is_known_though_its_owner_has_gone() {
    let mut bench = bench(Protocol::Classic, 3);
    bench.send(0, false);
    [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 1));
    bench.leave(0);
    let mut ack = Vec::new();
    classic::encode_ack(&mut ack, &address(0));
    bench.read(1, &ack);
    assert_eq!(found(bench, &[1, 2]), [(Kind::StrayAck, 1)]);
}

/// Its sender's next one was acked before the newcomer began to connect, so this one had been
/// taken, too.
#[test]
fn what_was_taken_before_a_later_one_of_its_sender_is_stale() {
    let mut bench = bench(Protocol::Ndjson, 2);
    bench.send(0, false);
    bench.send(0, false);
    bench.ack(0, 2);
    bench.join();
    bench.relay(2, 0, 1);
    [1, 2].into_iter().for_each(|k| bench.relay(1, 0, k));
    let found = found(bench, &[0, 1, 2]);
    let expected = [(Kind::StaleRelay, 1), (Kind::MissingAck, 1)];
    assert_eq!(found, expected);
}

/// It connected before one that was sent the message, and the target had it before it left. It got
/// nothing at all, so that nothing but that doubt keeps what is known of it.
#[test]
fn who_got_nothing_is_not_forgotten_while_it_may_have_been_owed_something() {
    let mut bench = bench(Protocol::Classic, 4);
    bench.send(0, false);
    bench.relay(1, 0, 1);
    bench.ledger.leaving(bench.clients[2], bench.now_ns);
    bench.relay(3, 0, 1);
    bench.end(3, Ending::Ours);
    bench.ack(0, 1);
    bench.end(2, Ending::Eof);
    assert_eq!(found(bench, &[0, 1]), [(Kind::LostRelay, 1)]);
}

/// Its ack goes to another after it has broken off, before anybody got its message.
#[test]
fn an_ack_astray_is_known_though_its_owner_broke_off_unheard() {
    let mut bench = bench(Protocol::Classic, 3);
    bench.send(0, false);
    bench.relay(0, 0, 1);
    bench.end(0, Ending::Ours);
    let mut ack = Vec::new();
    classic::encode_ack(&mut ack, &address(0));
    bench.read(1, &ack);
    [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 1));
    assert_eq!(found(bench, &[1, 2]), [(Kind::StrayAck, 1)]);
}

/// Where a message belongs is said by its first receiver, not by who leaves before anybody has it.
#[test]
fn a_message_has_no_place_before_somebody_gets_it() {
    let mut bench = bench(Protocol::Ndjson, 4);
    bench.send(1, false);
    bench.send(2, false);
    bench.relay(0, 2, 1);
    bench.leave(0);
    bench.relay(1, 2, 1);
    bench.ack(2, 1);
    bench.ack(1, 1);
    bench.leave(1);
    bench.relay(2, 1, 1);
    bench.relay(3, 1, 1);
    bench.relay(3, 2, 1);
    // Client 1 got the other one, and its own comes before that.
    assert_eq!(found(bench, &[2, 3]), [(Kind::LostRelay, 1)]);
}

/// It left when all that it had sent was taken; what comes before that was owed to it, though the
/// target is not known to have had it by then.
#[test]
fn what_comes_before_ones_own_message_was_owed_whoever_shows_that_later() {
    let mut bench = bench(Protocol::Ndjson, 3);
    say(&mut bench, 2, &[0, 1]);
    bench.send(1, false);
    bench.send(0, false);
    bench.ack(0, 1);
    bench.leave(0);
    bench.ack(1, 1);
    bench.relay(2, 1, 1);
    bench.relay(2, 0, 1);
    bench.relay(1, 0, 1);
    assert_eq!(found(bench, &[1, 2]), [(Kind::LostRelay, 1)]);
}

/// What stands before a newcomer's start and comes to it all the same is a delivery like others;
/// but if more lies between than can be looked through, nothing is said of it.
#[test]
fn a_newcomer_may_begin_before_its_start_but_not_any_distance() {
    for (between, is_undecided) in [(1024, false), (1025, true)] {
        let mut bench = bench(Protocol::Ndjson, 3);
        say(&mut bench, 1, &[0, 2]);
        bench.send(0, false);
        for _ in 0..between {
            say(&mut bench, 1, &[0]);
        }
        bench.join();
        bench.relay(2, 0, 1);
        bench.relay(3, 0, 1);
        bench.relay(3, 0, 1);
        bench.hand_over();
        let findings = bench.finish();
        assert_eq!(findings.undecided.len(), usize::from(is_undecided));
        let twice = findings.violations.contains_key(&Kind::DuplicateRelay);
        assert_eq!(twice, !is_undecided);
    }
}

/// Client 2 leaves without a message that client 1 has. Where the target goes from one receiver to
/// the next with it, that proves nothing, but the ack does.
#[test]
fn who_leaves_is_owed_what_was_handed_to_all_by_then() {
    let lost = vec![(Kind::LostRelay, 1)];
    for (at_once, acked, expected) in [
        (true, false, lost.clone()),
        (true, true, lost.clone()),
        (false, false, vec![]),
        (false, true, lost),
    ] {
        let promises = Promises {
            order: OrderPromise::Fifo,
            ..INFERRED_ORDER
        };
        let capabilities = Capabilities {
            at_once,
            ..Protocol::Ndjson.capabilities()
        };
        let mut bench = Bench::of(promises, Protocol::Ndjson, capabilities, 3);
        bench.send(0, false);
        bench.relay(1, 0, 1);
        if acked {
            bench.ack(0, 1);
        }
        bench.leave(2);
        if !acked {
            bench.ack(0, 1);
        }
        assert_eq!(found(bench, &[0, 1]), expected, "{at_once} {acked}");
    }
}
