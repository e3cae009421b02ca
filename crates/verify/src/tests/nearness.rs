//! What is out of order says nothing of what happened far from it. By inferred order, a loss that only
//! the order of others proves is in doubt where something near it is out of order, and certain
//! everywhere else.

use super::fault_table::INFERRED_ORDER;
use super::weaker::{Bench, kinds, talk};
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::Ending;
use chatbench_wire::protocol::Protocol;

type Fault = fn(&mut Bench);

const CLIENTS: usize = 4;

fn bench() -> Bench {
    let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, CLIENTS);
    chat(&mut bench, 5);
    bench
}

/// Messages of client 0, to everybody and in order.
fn chat(bench: &mut Bench, count: usize) {
    let others: Vec<usize> = (1..bench.clients.len()).collect();
    talk(bench, count, &others);
    bench.hand_over();
}

/// Sends a message of `sender`; returns its number.
fn send(bench: &mut Bench, sender: usize) -> usize {
    bench.send(sender, false);
    bench.sent(sender)
}

/// Everybody but its sender and `but` gets message `k` of `sender`.
fn relay(bench: &mut Bench, sender: usize, k: usize, but: &[usize]) {
    let others = (0..bench.clients.len()).filter(|to| *to != sender && !but.contains(to));
    let others: Vec<usize> = others.collect();
    others.iter().for_each(|&to| bench.relay(to, sender, k));
    bench.ack(sender, k as u64);
}

/// A client joins while a message of 0 and one of 1 are under way. It gets that of 0, and what 2
/// says later, and not that of 1, which stands between them.
fn lose_by_place(bench: &mut Bench) {
    let (first, between) = (send(bench, 0), send(bench, 1));
    bench.join();
    let newcomer = bench.clients.len() - 1;
    let last = send(bench, 2);
    relay(bench, 0, first, &[]);
    relay(bench, 1, between, &[newcomer]);
    relay(bench, 2, last, &[]);
}

/// Client 1 gets a message of 0 and one of 2 the other way round than everybody else.
fn exchange(bench: &mut Bench) {
    let (one, other) = (send(bench, 0), send(bench, 2));
    bench.relay(1, 2, other);
    relay(bench, 0, one, &[]);
    relay(bench, 2, other, &[1]);
}

/// Client 1 gets two messages of client 2 the other way round than they were sent.
fn reorder(bench: &mut Bench) {
    let (one, other) = (send(bench, 2), send(bench, 2));
    bench.relay(1, 2, other);
    relay(bench, 2, one, &[]);
    relay(bench, 2, other, &[1]);
}

/// Client 1 does not get a message of client 0.
fn lose(bench: &mut Bench) {
    let k = send(bench, 0);
    relay(bench, 0, k, &[1]);
}

fn of(faults: [Fault; 2], between: usize) -> Findings {
    let mut bench = bench();
    for fault in faults {
        fault(&mut bench);
        chat(&mut bench, between);
    }
    (0..bench.clients.len()).for_each(|client| bench.leave(client));
    bench.finish()
}

#[test]
fn a_loss_that_its_place_proves_is_in_doubt_only_near_what_is_out_of_order() {
    let orders: [[Fault; 2]; 2] = [[exchange, lose_by_place], [lose_by_place, exchange]];
    for faults in orders {
        let far = of(faults, 40);
        let both = [(Kind::LostRelay, 1), (Kind::OrderDivergence, 1)];
        assert_eq!(kinds(&far), both);
        assert_eq!(far.undecided, [""; 0]);
        assert_eq!((far.counts.lost, far.counts.unresolved), (1, 0));

        let near = of(faults, 3);
        assert_eq!(kinds(&near), [(Kind::OrderDivergence, 1)]);
        assert_eq!(near.undecided.len(), 1, "{:?}", near.undecided);
        assert!(near.undecided[0].starts_with("1 deliveries did not come"));
        assert_eq!((near.counts.lost, near.counts.unresolved), (0, 1));
    }
}

/// Its session is cut with the rest still on its way, as far as anybody knows; or the target says
/// that there is no rest.
#[test]
fn a_loss_that_only_later_messages_prove_is_in_doubt_near_what_is_out_of_order() {
    for (between, bye, lost) in [(3, false, 0), (3, true, 1), (40, false, 1)] {
        for overtaken in [false, true] {
            let mut bench = bench();
            reorder(&mut bench);
            chat(&mut bench, between);
            lose(&mut bench);
            // So many that it is given up, or too few for that.
            chat(&mut bench, if overtaken { 1100 } else { 50 });
            match bye {
                true => bench.leave(1),
                false => bench.end(1, Ending::TimeUp),
            }
            for client in [0, 2, 3] {
                bench.leave(client);
            }
            let findings = bench.finish();
            let expected = [(Kind::LostRelay, lost), (Kind::ReorderedRelay, 1)];
            let expected = expected.into_iter().filter(|(_, count)| *count > 0);
            assert_eq!(kinds(&findings), expected.collect::<Vec<_>>());
            assert_eq!(findings.counts.lost, lost, "{between}, {bye}, {overtaken}");
            let undecided = findings.undecided.iter();
            let misplaced = undecided.filter(|what| what.contains("only their place"));
            assert_eq!(misplaced.count(), usize::from(lost == 0));
        }
    }
}

/// Acked, and relayed to nobody by the time that everybody is cut.
#[test]
fn what_reached_nobody_is_in_doubt_near_what_is_out_of_order() {
    for (between, lost) in [(3, 0), (40, 3)] {
        let mut bench = bench();
        reorder(&mut bench);
        chat(&mut bench, between);
        let k = send(&mut bench, 0);
        bench.ack(0, k as u64);
        chat(&mut bench, 50);
        (0..CLIENTS).for_each(|client| bench.end(client, Ending::TimeUp));
        let findings = bench.finish();
        let expected = [(Kind::ReorderedRelay, 1), (Kind::AckWithoutRelay, 1)];
        assert_eq!(kinds(&findings), expected[..1 + usize::from(lost > 0)]);
        assert_eq!(findings.counts.lost, lost);
    }
}

/// Acked, and nobody has it when all have got a thousand later ones: then two of them get it.
#[test]
fn what_reaches_some_long_after_is_lost_to_each_of_the_others_once() {
    let mut bench = bench();
    let k = send(&mut bench, 0);
    bench.ack(0, k as u64);
    bench.join();
    chat(&mut bench, 1100);
    [1, 2].into_iter().for_each(|to| bench.relay(to, 0, k));
    (0..bench.clients.len()).for_each(|client| bench.leave(client));
    let findings = bench.finish();
    let expected = [(Kind::LostRelay, 1), (Kind::ReorderedRelay, 1)];
    assert_eq!(kinds(&findings), expected);
    assert_eq!(findings.counts.lost, 1);
}
