//! What had not come when the run stopped listening: what is certain of it, and what is not.

use super::guards::{Bench, ack, kinds, relay};
use super::weaker::{self, in_order};
use super::world::terms;
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle, Terms};
use crate::outstanding::Waiting;
use crate::promises::{OrderPromise, Promises, RelayPromise};
use chatbench_wire::ndjson;
use chatbench_wire::protocol::Protocol;

const SECOND_NS: u64 = 1_000_000_000;

/// When the run stops listening.
const END_NS: u64 = 9 * SECOND_NS;

fn five_seconds() -> Terms {
    Terms {
        late_after_ns: Some(5 * SECOND_NS),
        ..terms()
    }
}

/// A sender and two listeners in two shards. Message 1 is acked and came to everybody; message 2
/// was sent after a second, and to it nobody ever says anything.
fn hung() -> (Bench, [(usize, Handle); 3]) {
    let mut bench = Bench::new(2, five_seconds());
    let sender = bench.join(0, 0, 0);
    let near = bench.join(0, 1, 0);
    let far = bench.join(1, 2, 0);
    bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
    bench.read(0, sender, &ack(1, 0, 1));
    bench.read(0, near, &relay(1, 0, 1));
    bench.read(1, far, &relay(1, 0, 1));
    let due_ns = SECOND_NS;
    bench.ledgers[0]
        .sending(sender, due_ns, due_ns, false)
        .unwrap();
    (bench, [(0, sender), (0, near), (1, far)])
}

/// The time is up for all of these; of the named one bytes lie unread.
fn cut(mut bench: Bench, sessions: &[(usize, Handle)], unread: Option<usize>) -> Findings {
    for (i, &(shard, handle)) in sessions.iter().enumerate() {
        bench.ledgers[shard].time_up(handle, unread != Some(i), END_NS);
    }
    for &(shard, handle) in sessions {
        bench.ledgers[shard].ended(handle, Ending::TimeUp, b"", END_NS);
    }
    bench.finish()
}

const fn waiting(clients: u64, until_ns: u64) -> Waiting {
    Waiting {
        group: 0,
        clients,
        until_ns,
    }
}

#[test]
fn what_a_silent_target_was_sent_is_late_for_all_who_were_there() {
    let (bench, sessions) = hung();
    let findings = cut(bench, &sessions, None);
    assert_eq!(kinds(&findings), [(Kind::LateRelay, 2)]);
    let [message] = &findings.outstanding[..] else {
        panic!("{:?}", findings.outstanding);
    };
    assert_eq!(message.intended_ns, SECOND_NS);
    assert_eq!(message.first_ns, None);
    assert_eq!(message.ack, Some(waiting(1, END_NS)));
    assert_eq!(message.relays, [waiting(2, END_NS)]);
    assert_eq!(
        (findings.outstanding_relays(), findings.outstanding_acks()),
        (2, 1)
    );
    let text = &findings.violations[&Kind::LateRelay].examples[0].text;
    assert!(
        text.starts_with("c1 and one other waited 8.000 s and more for message 2 of c0"),
        "{text}"
    );
}

#[test]
fn what_a_client_may_not_have_read_is_held_against_nobody() {
    let (bench, sessions) = hung();
    let findings = cut(bench, &sessions, Some(2));
    assert_eq!(
        kinds(&findings),
        [(Kind::LateRelay, 1)],
        "for the one who had read it all"
    );
    // The ack may lie among what its sender has not read; its relay does not.
    let (bench, sessions) = hung();
    let findings = cut(bench, &sessions, Some(0));
    assert_eq!(findings.outstanding_acks(), 0);
    assert_eq!(findings.outstanding_relays(), 2);
}

#[test]
fn one_receiver_that_is_left_out_is_the_only_one_who_waits() {
    let (mut bench, sessions) = hung();
    let [(_, sender), (_, near), _] = sessions;
    bench.read(0, sender, &ack(2, 0, 2));
    bench.read(0, near, &relay(2, 0, 2));
    let findings = cut(bench, &sessions, None);
    assert_eq!(kinds(&findings), [(Kind::LateRelay, 1)]);
    let [message] = &findings.outstanding[..] else {
        panic!("{:?}", findings.outstanding);
    };
    assert!(message.first_ns.is_some());
    assert_eq!(
        (message.ack, &message.relays[..]),
        (None, &[waiting(1, END_NS)][..])
    );
    let text = &findings.violations[&Kind::LateRelay].examples[0].text;
    assert!(
        text.starts_with("c2 waited 8.000 s and more for message 2 of c0 (number 2)"),
        "{text}"
    );
}

#[test]
fn who_joined_after_it_was_sent_or_left_before_it_was_late_does_not_wait() {
    let (mut bench, sessions) = hung();
    let [(_, sender), (_, near), (_, far)] = sessions;
    bench.now_ns = 2 * SECOND_NS;
    let late_comer = bench.join(1, 3, 1);
    bench.ledgers[0].leaving(near, 4 * SECOND_NS);
    let all = [(0, sender), (0, near), (1, far), (1, late_comer)];
    let findings = cut(bench, &all, None);
    assert_eq!(
        kinds(&findings),
        [(Kind::LateRelay, 1)],
        "the one who stayed"
    );
    let mut relays = findings.outstanding[0].relays.clone();
    relays.sort_by_key(|waiting| waiting.until_ns);
    assert_eq!(relays, [waiting(1, 4 * SECOND_NS), waiting(1, END_NS)]);
}

#[test]
fn what_was_refused_or_came_is_not_outstanding() {
    let (mut bench, sessions) = hung();
    let mut error = Vec::new();
    let id = crate::ids::publish_id(chatbench_wire::payload::SenderId(0), 2);
    ndjson::encode_error(&mut error, "malformed", "no", Some(id));
    let [(_, sender), ..] = sessions;
    bench.read(0, sender, &error);
    let findings = cut(bench, &sessions, None);
    assert_eq!(findings.outstanding, []);
    assert!(!findings.violations.contains_key(&Kind::LateRelay));
}

#[test]
fn what_all_got_long_ago_is_not_late_because_its_ack_never_came() {
    for later_acked in [false, true] {
        let (mut bench, sessions) = hung();
        let [(_, sender), (_, near), (_, far)] = sessions;
        bench.read(0, near, &relay(2, 0, 2));
        bench.read(1, far, &relay(2, 0, 2));
        if later_acked {
            bench.ledgers[0]
                .sending(sender, SECOND_NS, SECOND_NS, false)
                .unwrap();
            bench.read(0, sender, &ack(3, 0, 3));
            bench.read(0, near, &relay(3, 0, 3));
            bench.read(1, far, &relay(3, 0, 3));
        }
        for _ in 0..2 {
            bench.hand_over(0);
            bench.hand_over(1);
        }
        let findings = cut(bench, &sessions, None);
        assert!(
            !findings.violations.contains_key(&Kind::LateRelay),
            "{findings:#?}"
        );
        assert_eq!(findings.outstanding_relays(), 0);
    }
}

#[test]
fn late_is_by_when_it_was_sent_and_not_by_when_it_was_due() {
    for (sent_s, late) in [(3, 2), (5, 0)] {
        let (mut bench, sessions) = hung();
        let [(_, sender), ..] = sessions;
        bench.read(0, sender, &ack(2, 0, 2));
        let (shard, near) = sessions[1];
        bench.read(shard, near, &relay(2, 0, 2));
        let (shard, far) = sessions[2];
        bench.read(shard, far, &relay(2, 0, 2));
        let sent_ns = sent_s * SECOND_NS;
        bench.ledgers[0]
            .sending(sender, SECOND_NS, sent_ns, false)
            .unwrap();
        let findings = cut(bench, &sessions, None);
        let found = findings
            .violations
            .get(&Kind::LateRelay)
            .map_or(0, |t| t.count);
        assert_eq!(found, late, "sent after {sent_s} s");
        assert_eq!(
            findings.outstanding_relays(),
            2,
            "outstanding they are all the same"
        );
    }
}

/// The same of a target that states no order, in either dialect.
#[test]
fn inferred_order_a_silent_target_is_as_late() {
    for dialect in [Protocol::Ndjson, Protocol::Classic] {
        for relay in [RelayPromise::ExactlyOnce, RelayPromise::AtMostOnce] {
            let promises = Promises {
                relay,
                ..in_order(OrderPromise::Total)
            };
            let mut bench = weaker::Bench::new(promises, dialect, 4);
            bench.judge = bench
                .judge
                .with_late_after(5 * SECOND_NS)
                .with_relays(relay);
            bench.send(0, false);
            bench.ack(0, 1);
            for to in 1..4 {
                bench.relay(to, 0, 1);
            }
            // Others get the second message, client 3 does not; the third has no answer.
            bench.send(0, false);
            bench.ack(0, 2);
            bench.relay(1, 0, 2);
            bench.relay(2, 0, 2);
            bench.send(0, false);
            let clients = bench.clients.clone();
            for &client in &clients {
                bench.ledger.time_up(client, true, END_NS);
            }
            for &client in &clients {
                bench.ledger.ended(client, Ending::TimeUp, b"", END_NS);
            }
            let findings = bench.finish();
            let late = findings
                .violations
                .get(&Kind::LateRelay)
                .map_or(0, |t| t.count);
            let owed = relay == RelayPromise::ExactlyOnce;
            assert_eq!(
                late,
                if owed { 4 } else { 0 },
                "{dialect} {relay:?}: {findings:#?}"
            );
            assert_eq!(findings.outstanding_relays(), late);
            // Client 0 got no relay, so in the classic dialect it is its ack that says it is there.
            assert_eq!(findings.outstanding_acks(), 1);
        }
    }
}

/// A client that had much to read may have been cut off as slow, and the word for it not have come.
#[test]
fn a_hang_up_on_who_fell_behind_is_undecided_and_on_who_kept_up_is_not() {
    for leaving in [false, true] {
        for behind in [false, true] {
            let mut bench = Bench::new(1, terms());
            let client = bench.join(0, 0, 0);
            if leaving {
                bench.ledgers[0].leaving(client, 0);
            }
            if behind {
                bench.ledgers[0].fell_behind(client);
            }
            bench.ledgers[0].ended(client, Ending::Broken, b"", 9);
            let findings = bench.finish();
            let kind = if leaving {
                Kind::MissingBye
            } else {
                Kind::UnexpectedClose
            };
            let expected = if behind { vec![] } else { vec![(kind, 1)] };
            assert_eq!(kinds(&findings), expected, "leaving {leaving}");
            assert_eq!(findings.undecided.len(), usize::from(behind));
        }
        let promises = in_order(OrderPromise::Total);
        let mut bench = weaker::Bench::new(promises, Protocol::Classic, 2);
        let client = bench.clients[1];
        bench.ledger.fell_behind(client);
        bench.end(1, Ending::Broken);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), []);
        assert_eq!(findings.undecided.len(), 1);
    }
}
