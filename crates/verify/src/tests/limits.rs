//! Every limit of the verifier, reached: that it holds, and what the run says then. (Those of the
//! windows that all receivers share are in [`super::guards`] and [`super::weaker`].)

use super::fault_table::INFERRED_ORDER;
use super::guards::{Bench, ack, kinds, relay, text};
use super::weaker::{self, in_order, talk};
use super::world::{address, terms};
use crate::findings::{EXAMPLES_PER_KIND, Findings};
use crate::ids::publish_id;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle, Terms};
use crate::promises::OrderPromise;
use chatbench_wire::classic;
use chatbench_wire::ndjson;
use chatbench_wire::payload::SenderId;
use chatbench_wire::protocol::Protocol;

/// What the judge remembers of each sort.
const MAX_REMEMBERED: u64 = 1 << 16;

/// What goes wrong.
type Play = fn(&mut Bench, Handle);

fn counted(bench: Bench) -> Vec<(Kind, u64)> {
    kinds(&bench.finish())
}

/// A relay that names another sender's address than the message's own.
fn relay_from(from: usize, seq: u64, sender: u32, k: u64) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, seq, &address(from), &text(sender, k, 0));
    line
}

/// A relay of which one letter is another.
fn altered(seq: u64, sender: u32, k: u64) -> Vec<u8> {
    let mut line = relay(seq, sender, k);
    let at = line.len() - 4;
    line[at] = if line[at] == b'A' { b'B' } else { b'A' };
    line
}

fn send(bench: &mut Bench, shard: usize, handle: Handle) {
    bench.ledgers[shard].sending(handle, 0, 0, false).unwrap();
}

// What numbers decide.

#[test]
fn a_number_that_a_thousand_later_ones_have_overtaken_is_lost_while_the_run_goes_on() {
    for comes_late in [false, true] {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        for n in 1..=1100 {
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, other, &relay(n, 0, n));
            if n != 6 {
                bench.read(0, listener, &relay(n, 0, n));
            }
        }
        bench.hand_over(0);
        assert_eq!(bench.judge.violation_count(), 1, "nobody has left yet");
        let mut expected = [(Kind::LostRelay, 1)];
        if comes_late {
            bench.read(0, listener, &relay(6, 0, 6));
            expected = [(Kind::OrderDivergence, 1)];
        }
        for handle in [sender, listener, other] {
            bench.leave(0, handle, 1100);
        }
        assert_eq!(counted(bench), expected);
    }
}

/// Every session had given the number up when its sender got the ack, and then perhaps a listener the
/// relay: it was not skipped, and whoever else missed it has lost it.
#[test]
fn a_number_that_comes_after_everyone_had_given_it_up_was_not_skipped() {
    let reordered = (Kind::ReorderedAck, 1);
    for (acked, relayed, expected) in [
        (true, false, vec![reordered, (Kind::AckWithoutRelay, 1)]),
        (
            false,
            true,
            vec![
                (Kind::LostRelay, 1),
                (Kind::OrderDivergence, 1),
                (Kind::MissingAck, 1),
            ],
        ),
        (
            true,
            true,
            vec![(Kind::LostRelay, 1), (Kind::OrderDivergence, 1), reordered],
        ),
    ] {
        let mut bench = Bench::new(1, terms());
        let [sender, talker, listener] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        send(&mut bench, 0, sender); // number 1
        for n in 2..=1100 {
            send(&mut bench, 0, talker);
            bench.read(0, talker, &ack(n, 1, n - 1));
            bench.read(0, sender, &relay(n, 1, n - 1));
            bench.read(0, listener, &relay(n, 1, n - 1));
        }
        bench.hand_over(0);
        if relayed {
            bench.read(0, listener, &relay(1, 0, 1));
            bench.hand_over(0);
        }
        if acked {
            bench.read(0, sender, &ack(1, 0, 1));
        }
        for handle in [sender, talker, listener] {
            bench.leave(0, handle, 1100);
        }
        let findings = bench.finish();
        let mut found = kinds(&findings);
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{acked}, {relayed}");
        assert_eq!(findings.undecided, [""; 0], "{acked}, {relayed}");
    }
}

/// Seventeen frames ahead of their time, none of which the frames after it explain: all are taken
/// to be what they say, and what they overtook is late: one violation, whatever there is of it.
#[test]
fn more_frames_ahead_of_their_time_than_are_remembered_are_what_they_say() {
    for early in [16, 17] {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        for n in 1..=100 {
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, other, &relay(n, 0, n));
        }
        // Every other one from the end, backwards; then all that were left out.
        let ahead: Vec<u64> = (0..early).map(|i| 100 - 2 * i).collect();
        for &n in &ahead {
            bench.read(0, listener, &relay(n, 0, n));
        }
        for n in (1..=100).filter(|n| !ahead.contains(n)) {
            bench.read(0, listener, &relay(n, 0, n));
        }
        for handle in [sender, listener, other] {
            bench.leave(0, handle, 100);
        }
        let findings = bench.finish();
        let (late, others) = if early > 16 { (1, 1) } else { (early, 0) };
        let expected = [(Kind::ReorderedRelay, late)];
        assert_eq!(kinds(&findings), expected, "{early}");
        let said = findings.undecided.iter();
        let said = said.filter(|what| what.starts_with("98 deliveries came out of the order"));
        assert_eq!(said.count(), others, "{:?}", findings.undecided);
    }
}

/// What is still missing when a session is cut was on its way, for all that is known, if others that
/// were overtaken did come. If none did, or the bye says that there is no more, it is lost.
#[test]
fn what_was_overtaken_may_be_on_its_way_where_others_came_late() {
    for (late, bye, lost) in [(0, false, 50), (5, false, 0), (5, true, 45)] {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        for n in 1..=100 {
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, other, &relay(n, 0, n));
        }
        for n in (2..=100).step_by(2).chain((1..).step_by(2).take(late)) {
            bench.read(0, listener, &relay(n, 0, n));
        }
        match bye {
            true => bench.leave(0, listener, 100),
            false => bench.ledgers[0].ended(listener, Ending::TimeUp, b"", 0),
        }
        for handle in [sender, other] {
            bench.leave(0, handle, 100);
        }
        let findings = bench.finish();
        let expected = [(Kind::LostRelay, lost), (Kind::ReorderedRelay, late as u64)];
        let (from, until) = (usize::from(lost == 0), 1 + usize::from(late > 0));
        assert_eq!(kinds(&findings), expected[from..until], "{late}, {bye}");
        assert_eq!(findings.counts.lost, lost);
        let undecided = findings.undecided.iter();
        let told = undecided.filter(|what| what.starts_with("45 deliveries did not come"));
        assert_eq!(told.count(), usize::from(lost == 0));
    }
}

/// A text of a client that is none of the run's.
fn foreign_relay(seq: u64) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, seq, "127.0.0.1:9", "hello");
    line
}

/// However many come one after the other: each is one violation, and nothing is lost for it.
#[test]
fn a_burst_of_wrong_lines_loses_nothing() {
    type Line = fn(u64, u32, u64) -> Vec<u8>;
    let wrong: [(Kind, Line); 2] = [
        (Kind::AlteredRelay, altered),
        (Kind::PhantomRelay, |seq, _, _| foreign_relay(seq)),
    ];
    for (kind, line) in wrong {
        for count in [64, 65, 1000, 5000] {
            let mut bench = Bench::new(1, terms());
            let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
            let last = count + 2;
            for n in 1..=last {
                send(&mut bench, 0, sender);
                bench.read(0, sender, &ack(n, 0, n));
                bench.read(0, other, &relay(n, 0, n));
            }
            bench.read(0, listener, &relay(1, 0, 1));
            for n in 2..last {
                bench.read(0, listener, &line(n, 0, n));
            }
            bench.hand_over(0);
            bench.read(0, listener, &relay(last, 0, last));
            for handle in [sender, listener, other] {
                bench.leave(0, handle, last);
            }
            let findings = bench.finish();
            assert_eq!(kinds(&findings), [(kind, count)], "{count}");
            assert_eq!(findings.undecided, [""; 0], "{count}");
            let counts = findings.counts;
            assert_eq!((counts.lost, counts.owed), (0, 2 * last), "{count}");
        }
    }
}

/// A client that is none of the run's sends a thousand lines amid messages of the run's own.
#[test]
fn what_a_foreign_client_sends_costs_no_one_a_delivery() {
    for shards in [1, 2] {
        let mut bench = Bench::new(shards, terms());
        let sender = bench.join(0, 0, 0);
        let listeners = [1, 2].map(|i| (i % shards, bench.join(i % shards, i, 0)));
        let mut number = 0;
        for k in 1..=20 {
            send(&mut bench, 0, sender);
            for _ in 0..100 {
                number += 1;
                bench.read(0, sender, &foreign_relay(number));
                for (shard, listener) in listeners {
                    bench.read(shard, listener, &foreign_relay(number));
                }
            }
            number += 1;
            bench.read(0, sender, &ack(number, 0, k));
            for (shard, listener) in listeners {
                bench.read(shard, listener, &relay(number, 0, k));
            }
            (0..shards).for_each(|shard| bench.hand_over(shard));
        }
        bench.leave(0, sender, number);
        for (shard, listener) in listeners {
            bench.leave(shard, listener, number);
        }
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::PhantomRelay, 2000)]);
        let told = &findings.violations[&Kind::PhantomRelay].examples[0].text;
        assert!(
            told.contains("or another client uses this target"),
            "{told}"
        );
        let counts = findings.counts;
        assert_eq!((counts.delivered, counts.lost, counts.owed), (40, 0, 40));
        assert_eq!(findings.undecided, [""; 0]);
    }
}

/// It is owed nothing twice, and nothing is waited for that came wrong.
#[test]
fn of_a_target_that_alters_every_relay_every_one_is_altered_and_none_lost() {
    const COUNT: u64 = 3000;
    let mut bench = Bench::new(1, terms());
    let [one, other, listener] = [0, 1, 2].map(|i| bench.join(0, i, 0));
    for n in (1..=2 * COUNT).step_by(2) {
        let k = n / 2 + 1;
        send(&mut bench, 0, one);
        send(&mut bench, 0, other);
        bench.read(0, one, &[ack(n, 0, k), altered(n + 1, 1, k)].concat());
        bench.read(0, other, &[altered(n, 0, k), ack(n + 1, 1, k)].concat());
        bench.read(
            0,
            listener,
            &[altered(n, 0, k), altered(n + 1, 1, k)].concat(),
        );
        if n % 50 == 1 {
            bench.hand_over(0);
        }
    }
    bench.leave(0, one, 2 * COUNT);
    bench.leave(0, other, 2 * COUNT);
    bench.ledgers[0].ended(listener, Ending::TimeUp, b"", bench.now_ns);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::AlteredRelay, 2 * COUNT)]);
    let counts = findings.counts;
    assert_eq!((counts.lost, counts.unresolved), (0, 0));
    assert_eq!((counts.delivered, counts.owed), (0, 4 * COUNT));
}

/// Someone got something under its number: it was not relayed to nobody.
#[test]
fn an_acked_message_that_one_got_wrong_and_another_not_at_all_is_lost_to_that_one() {
    let wrong = [
        (Kind::AlteredRelay, altered(1, 0, 1)),
        (Kind::MisattributedRelay, relay_from(2, 1, 0, 1)),
    ];
    for (kind, line) in wrong {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        send(&mut bench, 0, sender);
        bench.read(0, sender, &ack(1, 0, 1));
        bench.read(0, listener, &line);
        for handle in [sender, listener, other] {
            bench.leave(0, handle, 1);
        }
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::LostRelay, 1), (kind, 1)]);
        assert_eq!(
            (findings.counts.lost, findings.counts.owed),
            (1, 2),
            "{kind}"
        );
    }
}

/// Wrong lines under numbers that are not next to each other: between any two of them something
/// was lost. Of the numbers of those that are forgotten nothing is said, nor of those between.
#[test]
fn of_more_runs_of_wrong_lines_than_a_session_remembers_the_oldest_leave_losses_undecided() {
    for runs in [64, 65, 70] {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
        let last = 2 * runs + 2;
        for n in 1..=last {
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, other, &relay(n, 0, n));
        }
        for n in (2..=2 * runs).step_by(2) {
            bench.read(0, listener, &altered(n, 0, n));
        }
        bench.read(0, listener, &relay(last - 1, 0, last - 1));
        bench.read(0, listener, &relay(last, 0, last));
        for handle in [sender, listener, other] {
            bench.leave(0, handle, last);
        }
        let findings = bench.finish();
        let forgotten = runs - 64;
        let expected = [(Kind::LostRelay, 64), (Kind::AlteredRelay, runs)];
        assert_eq!(kinds(&findings), expected, "{runs}");
        assert_eq!(findings.counts.lost, 64, "{runs}");
        let undecided = format!(
            "{} deliveries did not come where more wrong lines",
            2 * forgotten
        );
        let said = findings.undecided.iter().any(|u| u.starts_with(&undecided));
        assert_eq!(said, forgotten > 0, "{runs}: {:?}", findings.undecided);
    }
}

/// A relay that comes properly after a thousand wrong lines had taken its place is a delivery; only
/// what the others got it cannot be held against any more.
#[test]
fn what_comes_after_a_thousand_wrong_lines_in_its_place_accuses_nobody() {
    let mut bench = Bench::new(1, terms());
    let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
    for n in 1..=1500 {
        send(&mut bench, 0, sender);
        bench.read(0, sender, &ack(n, 0, n));
        bench.read(0, other, &relay(n, 0, n));
        bench.read(0, listener, &altered(n, 0, n));
    }
    bench.hand_over(0);
    bench.read(0, listener, &relay(1, 0, 1));
    bench.read(0, listener, &relay(2, 0, 2));
    for handle in [sender, listener, other] {
        bench.leave(0, handle, 1500);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::AlteredRelay, 1500)]);
    assert_eq!(findings.counts.delivered, 1502);
}

/// With the wrong address it is a delivery like any other.
#[test]
fn a_misattributed_relay_is_owed_once() {
    let mut bench = Bench::new(1, terms());
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
    send(&mut bench, 0, sender);
    bench.read(0, sender, &ack(1, 0, 1));
    bench.read(0, listener, &relay_from(1, 1, 0, 1));
    bench.leave(0, sender, 1);
    bench.leave(0, listener, 1);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::MisattributedRelay, 1)]);
    assert_eq!((findings.counts.owed, findings.counts.delivered), (1, 1));
}

#[test]
fn anomalies_beyond_what_may_wait_are_judged_with_what_is_known() {
    const COUNT: u64 = (1 << 17) + 500;
    let limit = Terms {
        late_after_ns: Some(100),
        ..terms()
    };
    let mut bench = Bench::new(2, limit);
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
    let silent = bench.join(1, 2, 0);
    bench.now_ns = 1000;
    for n in 1..=COUNT {
        send(&mut bench, 0, sender);
        bench.read(0, sender, &ack(n, 0, n));
        bench.read(0, listener, &relay(n, 0, n));
        if n % 4096 == 0 {
            bench.hand_over(0);
        }
        if n == 1 << 16 {
            assert_eq!(
                bench.judge.violation_count(),
                0,
                "the silent one may know more"
            );
        }
    }
    bench.hand_over(0);
    assert!(bench.judge.violation_count() >= 500);
    bench.ledgers[1].letting_go(silent);
    bench.ledgers[1].ended(silent, Ending::Ours, b"", bench.now_ns);
    for handle in [sender, listener] {
        bench.leave(0, handle, COUNT);
    }
    assert_eq!(counted(bench), [(Kind::LateRelay, COUNT)]);
}

/// One shard's session reads nothing while another's loses every other message.
#[test]
fn losses_beyond_what_may_wait_are_judged_with_what_is_known_or_undecided() {
    const LOST: u64 = (1 << 17) + 500;
    let mut bench = Bench::new(2, terms());
    let [sender, listener, other] = [0, 1, 2].map(|i| bench.join(0, i, 0));
    let silent = bench.join(1, 3, 0);
    let mut n = 0;
    for _ in 0..LOST {
        for lost in [false, true, false] {
            n += 1;
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, other, &relay(n, 0, n));
            if !lost {
                bench.read(0, listener, &relay(n, 0, n));
            }
        }
        if n % 1024 == 0 {
            bench.hand_over(0);
        }
    }
    // What the session skipped long enough ago is given up.
    bench.hand_over(0);
    assert!(bench.judge.violation_count() > 0, "the silent one still is");
    bench.ledgers[1].letting_go(silent);
    bench.ledgers[1].ended(silent, Ending::Ours, b"", bench.now_ns);
    for handle in [sender, listener, other] {
        bench.leave(0, handle, n);
    }
    let findings = bench.finish();
    let counts = findings.counts;
    assert!(counts.lost > LOST / 2, "{counts:?}");
    assert_eq!(kinds(&findings), [(Kind::LostRelay, counts.lost)]);
    // Of the oldest nothing is known any more.
    assert_eq!(counts.lost + counts.unresolved, LOST);
}

/// Wrong lines under numbers that one shard's session has not come to.
#[test]
fn of_wrong_lines_beyond_what_is_remembered_the_oldest_are_reported_at_once() {
    const COUNT: u64 = MAX_REMEMBERED + 10;
    let mut bench = Bench::new(2, terms());
    let listener = bench.join(0, 0, 0);
    let silent = bench.join(1, 1, 0);
    for n in 1..=COUNT {
        bench.read(0, listener, &altered(n, 0, n));
        if n == MAX_REMEMBERED {
            bench.hand_over(0);
            assert_eq!(
                bench.judge.violation_count(),
                0,
                "the silent one may get them, too"
            );
        }
    }
    bench.hand_over(0);
    assert_eq!(bench.judge.violation_count(), COUNT - MAX_REMEMBERED);
    bench.ledgers[1].letting_go(silent);
    bench.ledgers[1].ended(silent, Ending::Ours, b"", 9);
    bench.leave(0, listener, 0);
    assert_eq!(counted(bench), [(Kind::AlteredRelay, COUNT)]);
}

/// A message whose sender broke off before its ack may come at any time: whose it is is known as
/// long as there is room for that.
#[test]
fn of_more_senders_that_broke_off_than_are_remembered_the_oldest_are_not_checked() {
    const COUNT: u32 = MAX_REMEMBERED as u32 + 1;
    let mut bench = Bench::new(1, terms());
    let listener = bench.join(0, 0, 0);
    for session in 1..=COUNT {
        let handle = bench.join(0, session as usize, 0);
        send(&mut bench, 0, handle);
        bench.ledgers[0].letting_go(handle);
        bench.ledgers[0].ended(handle, Ending::Ours, b"", 9);
        if session % 1000 == 0 {
            bench.hand_over(0);
        }
    }
    bench.hand_over(0);
    assert_eq!(bench.directory.remembered(), MAX_REMEMBERED as usize + 1);
    bench.read(0, listener, &relay_from(7, 1, 1, 1));
    bench.read(0, listener, &relay_from(7, 2, 2, 1));
    bench.leave(0, listener, 2);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::MisattributedRelay, 1)]);
    assert_eq!(findings.counts.delivered, 2);
}

/// One shard's session reads nothing, and clients of the other come and go.
#[test]
fn of_more_sessions_that_left_than_are_remembered_the_oldest_are_forgotten() {
    let mut bench = Bench::new(2, terms());
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
    let silent = bench.join(1, 2, 0);
    send(&mut bench, 0, sender);
    bench.read(0, sender, &ack(1, 0, 1));
    bench.read(0, listener, &relay(1, 0, 1));
    // One of those who leave had sent the second.
    let talker = bench.join(0, 3, 1);
    send(&mut bench, 0, talker);
    bench.read(0, talker, &ack(2, 3, 1));
    for handle in [sender, listener] {
        bench.read(0, handle, &relay(2, 3, 1));
    }
    bench.leave(0, talker, 2);
    for session in 4..MAX_REMEMBERED as usize + 500 {
        let handle = bench.join(0, session, 2);
        bench.leave(0, handle, 2);
        if session % 1000 == 0 {
            bench.hand_over(0);
        }
    }
    bench.hand_over(0);
    assert!(bench.directory.remembered() <= MAX_REMEMBERED as usize + 3);
    bench.read(1, silent, &relay(1, 0, 1));
    bench.read(1, silent, &relay(2, 3, 1));
    bench.leave(1, silent, 2);
    for handle in [sender, listener] {
        bench.leave(0, handle, 2);
    }
    assert_eq!(counted(bench), []);
}

/// Answered with an error, or not at all; waited for in vain: each is one missing ack. Of those
/// beyond what is remembered it is not known whether their acks go to others yet.
#[test]
fn missing_acks_beyond_what_is_remembered_are_undecided() {
    const COUNT: u64 = MAX_REMEMBERED + 1;
    let refused = |bench: &mut Bench, sender: Handle| {
        for n in 1..=COUNT {
            send(bench, 0, sender);
            let mut error = Vec::new();
            let id = publish_id(SenderId(0), n);
            ndjson::encode_error(&mut error, "malformed", "no", Some(id));
            bench.read(0, sender, &error);
        }
    };
    let ignored = |bench: &mut Bench, sender: Handle| {
        for _ in 1..=COUNT {
            send(bench, 0, sender);
        }
        bench.leave(0, sender, 0);
    };
    let overdue = |bench: &mut Bench, sender: Handle| {
        send(bench, 0, sender);
        for _ in 1..=COUNT {
            bench.ledgers[0].overdue_acks(sender, "1s", 5);
        }
    };
    let plays: [(&str, Play); 3] = [
        ("refused", refused),
        ("ignored", ignored),
        ("overdue", overdue),
    ];
    for (what, play) in plays {
        let mut bench = Bench::new(1, terms());
        let sender = bench.join(0, 0, 0);
        let listener = bench.join(0, 1, 0);
        play(&mut bench, sender);
        bench.hand_over(0);
        assert_eq!(bench.judge.violation_count(), 0, "{what}");
        if what != "ignored" {
            bench.leave(0, sender, 0);
        }
        bench.leave(0, listener, 0);
        let findings = bench.finish();
        let expected = [(Kind::MissingAck, MAX_REMEMBERED)];
        assert_eq!(kinds(&findings), expected, "{what}");
        let undecided = &findings.undecided;
        let said = undecided
            .iter()
            .any(|u| u.starts_with("1 messages were not acked, or were refused"));
        assert!(said, "{what}: {undecided:?}");
    }
}

/// Acks that went to another are not missed; beyond what is remembered it is not known whether
/// they did.
#[test]
fn an_ack_astray_beyond_what_is_remembered_is_not_missed_besides() {
    const COUNT: u64 = MAX_REMEMBERED + 1;
    let mut bench = Bench::new(1, terms());
    let [sender, other, listener] = [0, 1, 2].map(|i| bench.join(0, i, 0));
    for n in 1..=COUNT {
        send(&mut bench, 0, sender);
        bench.read(0, listener, &relay(n, 0, n));
        bench.read(0, other, &relay(n, 0, n));
        bench.read(0, other, &ack(n, 0, n));
        if n % 1000 == 0 {
            bench.hand_over(0);
        }
    }
    for handle in [sender, other, listener] {
        bench.leave(0, handle, COUNT);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::StrayAck, COUNT)]);
    let undecided = &findings.undecided;
    let said = undecided
        .iter()
        .any(|u| u.contains("messages were not acked, or were refused"));
    assert!(said, "{undecided:?}");
}

/// A refused message that is acked all the same, after so many others that its session has forgotten
/// the refusal: the judge remembers it.
#[test]
fn a_refusal_that_its_session_has_forgotten_makes_no_ack_a_second_one() {
    for (refusals, expected) in [
        (
            4096,
            vec![(Kind::RelayOfRejected, 1), (Kind::MissingAck, 4095)],
        ),
        (
            4097,
            vec![(Kind::RelayOfRejected, 1), (Kind::MissingAck, 4096)],
        ),
    ] {
        let mut bench = Bench::new(1, terms());
        let sender = bench.join(0, 0, 0);
        for n in 1..=refusals {
            send(&mut bench, 0, sender);
            let mut error = Vec::new();
            let id = publish_id(SenderId(0), n);
            ndjson::encode_error(&mut error, "malformed", "no", Some(id));
            bench.read(0, sender, &error);
        }
        bench.read(0, sender, &ack(1, 0, 1));
        bench.leave(0, sender, 1);
        let mut found = counted(bench);
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{refusals}");
    }
}

#[test]
fn skipped_numbers_beyond_what_may_wait_are_undecided() {
    const COUNT: u64 = (1 << 12) + 100;
    let mut bench = Bench::new(1, terms());
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
    for n in 1..=COUNT {
        send(&mut bench, 0, sender);
        bench.read(0, sender, &ack(2 * n, 0, n));
        bench.read(0, listener, &relay(2 * n, 0, n));
        if n % 1000 == 0 {
            bench.hand_over(0);
        }
    }
    for handle in [sender, listener] {
        bench.leave(0, handle, 2 * COUNT);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::SequenceGap, 1 << 12)]);
    let undecided = &findings.undecided;
    let said = undecided
        .iter()
        .any(|u| u.starts_with("100 runs of numbers came to nobody"));
    assert!(said, "{undecided:?}");
}

/// A number that nobody saw and a message nobody acked are one event, to the first 64 who noticed;
/// to more it may be.
#[test]
fn of_a_skipped_number_so_many_sessions_are_remembered() {
    for (sender, undecided) in [(63, 0), (64, 1)] {
        let mut bench = Bench::new(1, terms());
        let handles: Vec<Handle> = (0..70).map(|i| bench.join(0, i, 0)).collect();
        send(&mut bench, 0, handles[sender]);
        for n in 1..=2 {
            send(&mut bench, 0, handles[69]);
            bench.read(0, handles[69], &ack(n + 1, 69, n));
            for &handle in &handles[..69] {
                bench.read(0, handle, &relay(n + 1, 69, n));
            }
        }
        for handle in handles {
            bench.leave(0, handle, 3);
        }
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::MissingAck, 1)], "{sender}");
        let said = findings.undecided.len();
        assert_eq!(said, undecided, "{sender}: {:?}", findings.undecided);
    }
}

/// Of numbers that were settled long before a session came to speak of them nobody can say what they
/// were, nor whether there were any.
#[test]
fn a_run_of_numbers_that_were_settled_long_ago_is_undecided() {
    const LEAP: u64 = 1 << 50;
    // Between leaps. Of the third 1,024 are remembered, and of the fourth all that was compared.
    const RUN: u64 = 1100;
    const LOST: u64 = 1024 + RUN - 1;
    for reads in [None, Some(LEAP), Some(2 * LEAP)] {
        let mut bench = Bench::new(2, terms());
        let [sender, listener] = [0, 1].map(|i| bench.join(0, i, 0));
        let behind = bench.join(1, 2, 0);
        let numbers = [1, LEAP, 2 * LEAP, 3 * LEAP].map(|from| from..from + RUN);
        for (k, n) in (1..).zip(numbers.into_iter().flatten()) {
            send(&mut bench, 0, sender);
            bench.read(0, sender, &ack(n, 0, k));
            bench.read(0, listener, &relay(n, 0, k));
            if k % (RUN / 2) == 0 {
                bench.hand_over(0);
            }
        }
        if let Some(n) = reads {
            bench.read(1, behind, &relay(n, 0, n / LEAP * RUN + 1));
        }
        let last = 3 * LEAP + RUN - 1;
        bench.read(1, behind, &relay(last, 0, 4 * RUN));
        bench.leave(1, behind, last);
        for handle in [sender, listener] {
            bench.leave(0, handle, last);
        }
        let findings = bench.finish();
        let expected = [(Kind::LostRelay, LOST), (Kind::SequenceGap, 1)];
        assert_eq!(kinds(&findings), expected, "{reads:?}");
        let undecided = &findings.undecided;
        let said = undecided
            .iter()
            .any(|u| u.contains("runs of numbers came to nobody"));
        assert!(said, "{reads:?}: {undecided:?}");
    }
}

#[test]
fn of_each_kind_so_many_are_told_and_all_are_counted() {
    let mut bench = Bench::new(1, terms());
    let listener = bench.join(0, 0, 0);
    for _ in 0..EXAMPLES_PER_KIND + 5 {
        bench.read(0, listener, format!("{}\n", "x".repeat(500)).as_bytes());
    }
    bench.leave(0, listener, 0);
    let findings = bench.finish();
    let tally = &findings.violations[&Kind::MalformedFrame];
    assert_eq!(tally.count, EXAMPLES_PER_KIND as u64 + 5);
    assert_eq!(tally.examples.len(), EXAMPLES_PER_KIND);
    let text = &tally.examples[0].text;
    assert!(text.contains("… 500 bytes") && text.len() < 300, "{text}");
}

// What an inferred order says.

fn outside(order: OrderPromise, clients: usize) -> weaker::Bench {
    weaker::Bench::new(in_order(order), Protocol::Ndjson, clients)
}

fn all_leave(mut bench: weaker::Bench, clients: usize) -> Findings {
    (0..clients).for_each(|client| bench.leave(client));
    bench.finish()
}

/// Pairs of messages exchanged for one receiver, more than are remembered of it.
#[test]
fn more_late_deliveries_than_a_session_remembers_leave_the_run_undecided() {
    for (pairs, undecided) in [(4096, 0), (4100, 1)] {
        let mut bench = outside(OrderPromise::Total, 3);
        for pair in 0..pairs {
            for k in [2 * pair + 1, 2 * pair + 2] {
                bench.send(0, false);
                bench.ack(0, k as u64);
                bench.relay(1, 0, k);
            }
            bench.relay(2, 0, 2 * pair + 2);
            bench.relay(2, 0, 2 * pair + 1);
        }
        let findings = all_leave(bench, 3);
        // That there are more of them is certain; how many is not looked up.
        let expected = 4096 + undecided as u64;
        assert_eq!(kinds(&findings), [(Kind::ReorderedRelay, expected)]);
        assert_eq!(findings.undecided.len(), undecided, "{pairs}");
    }
}

/// Of what one late delivery was overtaken by the nearest counts: it is one violation anyway.
#[test]
fn a_message_overtaken_by_more_than_are_looked_at_is_one_violation() {
    for overtaken_by in [255, 400] {
        let mut bench = outside(OrderPromise::Total, 4);
        talk(&mut bench, overtaken_by + 1, &[1, 3]);
        for k in 2..=overtaken_by + 1 {
            bench.relay(2, 0, k);
        }
        bench.relay(2, 0, 1);
        let found = kinds(&all_leave(bench, 4));
        assert_eq!(found, [(Kind::ReorderedRelay, 1)], "{overtaken_by}");
    }
}

/// Altered relays in the place of others: what they stood for is not lost besides; of what more of
/// them stood for than are remembered it is not known.
#[test]
fn what_more_wrong_relays_than_a_session_remembers_stood_for_is_undecided() {
    for count in [64, 70, 500] {
        let mut bench = outside(OrderPromise::Total, 3);
        talk(&mut bench, 5, &[1, 2]);
        for k in 6..6 + count {
            bench.send(0, false);
            bench.ack(0, k as u64);
            bench.relay(1, 0, k);
            bench.relay_altered(2, 0, k);
        }
        talk(&mut bench, 5, &[1, 2]);
        let findings = all_leave(bench, 3);
        assert_eq!(kinds(&findings), [(Kind::AlteredRelay, count as u64)]);
        assert_eq!(findings.counts.lost, 0);
        let forgotten = count - 64;
        let undecided = format!("{forgotten} deliveries did not come where more wrong lines");
        let said = findings.undecided.iter().any(|u| u.starts_with(&undecided));
        assert_eq!(said, forgotten > 0, "{count}: {:?}", findings.undecided);
    }
}

/// Texts that nobody sent, in the place of others: each stands for one, wherever in the row.
#[test]
fn as_many_wrong_relays_in_a_row_as_a_session_remembers_stand_for_as_many() {
    for count in [32, 33, 64] {
        let mut bench = outside(OrderPromise::Total, 3);
        talk(&mut bench, 5, &[1, 2]);
        for k in 6..6 + count {
            bench.send(0, false);
            bench.ack(0, k as u64);
            bench.relay(1, 0, k);
            bench.read(2, &foreign(k));
        }
        talk(&mut bench, 5, &[1, 2]);
        let findings = all_leave(bench, 3);
        let expected = [(Kind::PhantomRelay, count as u64)];
        assert_eq!(kinds(&findings), expected, "{count}");
        let counts = findings.counts;
        assert_eq!(
            (counts.lost, counts.owed - counts.delivered),
            (0, count as u64)
        );
    }
}

fn foreign(n: usize) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, 0, &address(0), &format!("phantom {n}"));
    line
}

/// One line that nobody sent, for two receivers, with as many others between.
#[test]
fn wrong_lines_beyond_what_is_remembered_count_again() {
    for (others, expected) in [(4095, 4096), (4096, 4098)] {
        let mut bench = outside(OrderPromise::Total, 2);
        (0..=others).for_each(|n| drop(bench.read(0, &foreign(n))));
        bench.read(1, &foreign(0));
        let found = kinds(&all_leave(bench, 2));
        assert_eq!(found, [(Kind::PhantomRelay, expected)], "{others}");
    }
}

/// One wrong line for ever new sessions: they are forgotten at some point, and it counts again.
#[test]
fn so_many_receivers_of_a_wrong_line_are_remembered() {
    const COUNT: usize = (1 << 17) + 10;
    let mut bench = outside(OrderPromise::Total, 1);
    bench.read(0, &foreign(0));
    for client in 1..COUNT {
        bench.join();
        bench.read(client, &foreign(0));
        bench.end(client, Ending::Ours);
    }
    bench.leave(0);
    assert_eq!(kinds(&bench.finish()), [(Kind::PhantomRelay, 2)]);
}

/// Senders that broke off with a message under way, which may yet come.
#[test]
fn what_comes_of_a_sender_forgotten_for_want_of_room_leaves_the_run_undecided() {
    const COUNT: usize = 1 << 16;
    for forgotten in [0, 1] {
        let mut bench = outside(OrderPromise::Total, 1);
        for client in 1..=COUNT + forgotten {
            bench.join();
            bench.send(client, false);
            bench.end(client, Ending::Ours);
        }
        bench.relay(0, 1, 1);
        bench.relay(0, 2, 1);
        bench.leave(0);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), []);
        assert_eq!(
            findings.undecided.len(),
            forgotten,
            "{:?}",
            findings.undecided
        );
        assert_eq!(findings.counts.delivered, 2);
    }
}

/// Sessions that got what one that reads nothing has not come to.
#[test]
fn of_more_sessions_that_left_than_are_remembered_the_run_is_undecided() {
    const COUNT: usize = 1 << 16;
    for (count, undecided) in [(COUNT - 2, 0), (COUNT + 1, 1)] {
        let mut bench = outside(OrderPromise::Total, 2 + count);
        bench.send(0, false);
        bench.ack(0, 1);
        for client in 2..2 + count {
            bench.relay(client, 0, 1);
            bench.leave(client);
        }
        bench.relay(1, 0, 1);
        let findings = all_leave(bench, 2);
        assert_eq!(kinds(&findings), []);
        assert_eq!(findings.undecided.len(), undecided, "{count}");
    }
}

/// More bytes of lines than are kept for who is behind.
#[test]
fn a_receiver_further_behind_than_lines_are_kept_leaves_the_run_undecided() {
    for (count, undecided) in [(1000, 0), (1040, 1)] {
        let mut bench = outside(OrderPromise::Total, 3);
        bench.size = 60_000;
        talk(&mut bench, count, &[1]);
        bench.hand_over();
        for k in 1..=count {
            bench.relay(2, 0, k);
        }
        let findings = all_leave(bench, 3);
        assert_eq!(kinds(&findings), []);
        assert_eq!(findings.counts.delivered, 2 * count as u64);
        assert_eq!(findings.undecided.len(), undecided, "{count}");
    }
}

/// A text without an end, longer than is kept of one.
#[test]
fn of_a_text_without_end_a_part_is_kept_and_it_is_one_violation() {
    for bytes in [1000, 300_000] {
        let mut bench = weaker::Bench::new(INFERRED_ORDER, Protocol::Classic, 2);
        bench.read(1, &vec![b'x'; bytes]);
        let findings = all_leave(bench, 2);
        assert_eq!(kinds(&findings), [(Kind::MalformedFrame, 1)]);
    }
    // A relay is as long as its text; of one that is longer the rest is cut off.
    let mut bench = weaker::Bench::new(INFERRED_ORDER, Protocol::Classic, 2);
    let mut relay = Vec::new();
    classic::encode_relay(&mut relay, &address(0), &"x".repeat(300_000));
    bench.read(1, &relay);
    let findings = all_leave(bench, 2);
    assert_eq!(kinds(&findings), [(Kind::PhantomRelay, 1)]);
}
