//! Errors: which of them something asked for, and which nobody did, whoever judges.

use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::guards::{Bench, ack, kinds, relay};
use super::world::{Id, terms, wire_id};
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle, Terms};
use chatbench_wire::ndjson;
use chatbench_wire::protocol::Protocol;
use chatbench_wire::seen::Conn;

fn error(code: &str, id: Option<u64>) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_error(&mut line, code, "said why", id);
    line
}

fn id(life: usize, k: u64) -> Option<u64> {
    Some(wire_id(Id { life, k }))
}

fn send(bench: &mut Bench, handle: Handle) {
    bench.ledgers[0].sending(handle, 0, 0, false).unwrap();
}

/// Has two clients play, the first of which sends; the findings of both judges, which are alike.
fn played(play: impl Fn(&mut Bench, [Handle; 2])) -> Findings {
    let outside = Terms {
        promises: INFERRED_ORDER,
        ..terms()
    };
    let [findings, outside] = [terms(), outside].map(|terms| {
        let mut bench = Bench::new(1, terms);
        let clients = [0, 1].map(|i| bench.join(0, i, 0));
        play(&mut bench, clients);
        bench.finish()
    });
    assert_eq!(
        kinds(&findings),
        kinds(&outside),
        "{findings:#?} {outside:#?}"
    );
    findings
}

/// The first sends two messages, of which the second waits while `lines` come; then it is acked, or
/// not, and both leave.
fn while_one_waits(lines: &[Vec<u8>], acked: bool) -> Vec<(Kind, u64)> {
    kinds(&played(|bench, [sender, listener]| {
        send(bench, sender);
        bench.read(0, sender, &ack(1, 0, 1));
        bench.read(0, listener, &relay(1, 0, 1));
        send(bench, sender);
        lines
            .iter()
            .for_each(|line| drop(bench.read(0, sender, line)));
        let last = if acked {
            bench.read(0, sender, &ack(2, 0, 2));
            bench.read(0, listener, &relay(2, 0, 2));
            2
        } else {
            1
        };
        bench.leave(0, sender, last);
        bench.leave(0, listener, last);
    }))
}

#[test]
fn an_error_that_names_what_its_receiver_did_not_send_is_stray() {
    for named in [id(0, 3), id(1, 1), id(7, 1), Some(0), Some(ndjson::MAX_ID)] {
        let lines = [error("malformed", named)];
        assert_eq!(
            while_one_waits(&lines, true),
            [(Kind::StrayError, 1)],
            "{named:?}"
        );
    }
}

#[test]
fn an_error_without_a_name_is_for_a_message_that_has_no_other_answer() {
    let unnamed = || error("malformed", None);
    assert_eq!(while_one_waits(&[unnamed()], true), [(Kind::StrayError, 1)]);
    assert_eq!(
        while_one_waits(&[unnamed()], false),
        [(Kind::MissingAck, 1)]
    );
    let two = [unnamed(), unnamed()];
    let expected = [(Kind::MissingAck, 1), (Kind::StrayError, 1)];
    assert_eq!(while_one_waits(&two, false), expected);
}

#[test]
fn a_message_is_refused_once() {
    let refusal = || error("malformed", id(0, 2));
    assert_eq!(
        while_one_waits(&[refusal()], false),
        [(Kind::MissingAck, 1)]
    );
    let expected = [(Kind::MissingAck, 1), (Kind::StrayError, 1)];
    assert_eq!(while_one_waits(&[refusal(), refusal()], false), expected);
    let after_its_ack = error("malformed", id(0, 1));
    let expected = [(Kind::RelayOfRejected, 1)];
    assert_eq!(while_one_waits(&[after_its_ack], true), expected);
}

/// Without end: to a client that only listens, and to one of whose messages one always waits.
#[test]
fn of_many_errors_each_is_counted_but_those_that_a_message_may_account_for() {
    const MESSAGES: u64 = 20;
    const ERRORS: u64 = 1000;
    for named in [None, Some(1 << 40)] {
        let findings = played(|bench, [sender, listener]| {
            for k in 1..=MESSAGES {
                send(bench, sender);
                for _ in 0..ERRORS {
                    bench.read(0, sender, &error("malformed", named));
                    bench.read(0, listener, &error("malformed", named));
                }
                if k < MESSAGES {
                    bench.read(0, sender, &ack(k, 0, k));
                    bench.read(0, listener, &relay(k, 0, k));
                }
                bench.hand_over(0);
            }
            // The last one is under way.
            bench.ledgers[0].letting_go(sender);
            bench.ledgers[0].ended(sender, Ending::Ours, b"", bench.now_ns);
            bench.leave(0, listener, MESSAGES - 1);
        });
        let accounted_for = u64::from(named.is_none());
        let stray = 2 * MESSAGES * ERRORS - accounted_for;
        assert_eq!(kinds(&findings), [(Kind::StrayError, stray)], "{named:?}");
        assert_eq!(findings.counts.errors_received, 2 * MESSAGES * ERRORS);
    }
}

/// Its sender is told nothing: that is the same event.
#[test]
fn a_refusal_that_goes_to_another_is_one_violation() {
    let findings = played(|bench, [sender, listener]| {
        send(bench, sender);
        bench.read(0, listener, &error("malformed", id(0, 1)));
        bench.leave(0, sender, 0);
        bench.leave(0, listener, 0);
    });
    assert_eq!(kinds(&findings), [(Kind::StrayError, 1)]);
    let example = &findings.violations[&Kind::StrayError].examples[0];
    assert_eq!(
        example.text,
        "c1 got an error that nothing it sent accounts for, about message 1 of c0: malformed (said \
         why)"
    );
}

/// Each frame that a script sends and that is to be refused asks for one, and no more.
#[test]
fn what_a_script_sends_byte_for_byte_asks_for_as_many_errors_as_it_has_wrong_frames() {
    for (raw, asked_for) in [
        (&b"garbage\n"[..], 1),
        (b"garbage\n{}\n\n[]\n", 3),
        (b"{\"message\":\"\"}\n", 1),
        (b"half a li", 1),
        (&[b'x'; 70_000], 1),
    ] {
        for errors in 0..asked_for + 3 {
            let findings = played(|bench, [writer, listener]| {
                bench.ledgers[0].sending_raw(writer, &conns::raw(raw));
                for _ in 0..errors {
                    bench.read(0, writer, &error("malformed", None));
                }
                bench.leave(0, writer, 0);
                bench.leave(0, listener, 0);
            });
            let half = raw == b"half a li"; // never at its end: it may be refused again and again
            let stray = if half {
                0
            } else {
                errors - asked_for.min(errors)
            };
            let expected = [(Kind::StrayError, stray as u64)];
            let expected = &expected[..usize::from(stray > 0)];
            assert_eq!(kinds(&findings), expected, "{errors} to {:?}", raw.first());
        }
    }
}

/// A script's publish that is in order is one like any other.
#[test]
fn a_refused_publish_of_a_script_is_missing_its_ack() {
    let findings = played(|bench, [writer, listener]| {
        bench.ledgers[0].sending_raw(writer, &conns::raw(b"{\"message\":\"hello\"}\n"));
        bench.read(0, writer, &error("malformed", None));
        bench.leave(0, writer, 0);
        bench.leave(0, listener, 0);
    });
    assert_eq!(kinds(&findings), [(Kind::MissingAck, 1)]);
}

/// Of a target that takes less: its welcome says so.
#[test]
fn a_line_longer_than_the_welcome_allows_is_to_be_refused() {
    for (max_line, expected) in [(512, &[][..]), (65_536, &[(Kind::MissingAck, 1)])] {
        let mut bench = Bench::new(1, terms());
        let ledger = &mut bench.ledgers[0];
        let handle = ledger.connecting(crate::directory::ClientId(0)).unwrap();
        let address = super::world::address(0);
        ledger.connected(handle, address.parse().unwrap());
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address, 0, max_line);
        let mut conn = conns::open(Protocol::Ndjson);
        conns::read_on(&mut bench.ledgers[0], handle, &mut conn, &welcome, 1);
        let most = conn.max_frame_bytes().unwrap() as usize;
        let raw = format!("{{\"message\":\"{}\"}}\n", "x".repeat(600));
        let raw = conn.raw(&mut Vec::new(), raw.as_bytes(), most);
        bench.ledgers[0].sending_raw(handle, &raw);
        bench.read(0, handle, &error("line-too-long", None));
        bench.leave(0, handle, 0);
        assert_eq!(kinds(&bench.finish()), expected, "{max_line}");
    }
}

#[test]
fn who_is_turned_away_is_told_so_once_and_is_not_welcomed_then() {
    for (errors, welcomed, stray) in [(1, false, 0), (3, false, 2), (1, true, 1), (2, true, 2)] {
        for promises in [terms().promises, INFERRED_ORDER] {
            let mut bench = Bench::new(
                1,
                Terms {
                    promises,
                    ..terms()
                },
            );
            let ledger = &mut bench.ledgers[0];
            let handle = ledger.connecting(crate::directory::ClientId(0)).unwrap();
            let address = super::world::address(0);
            ledger.connected(handle, address.parse().unwrap());
            for _ in 0..errors {
                bench.read(0, handle, &error("server-full", None));
            }
            if welcomed {
                let mut welcome = Vec::new();
                ndjson::encode_welcome(&mut welcome, &address, 0, 65_536);
                bench.read(0, handle, &welcome);
                bench.leave(0, handle, 0);
            } else {
                bench.ledgers[0].ended(handle, Ending::Eof, b"", bench.now_ns);
            }
            let expected = [(Kind::StrayError, stray)];
            let expected = &expected[..usize::from(stray > 0)];
            assert_eq!(kinds(&bench.finish()), expected, "{errors}, {welcomed}");
        }
    }
}

#[test]
fn who_is_too_slow_is_told_so_once() {
    let findings = played(|bench, [slow, other]| {
        for _ in 0..3 {
            bench.read(0, slow, &error("slow-consumer", None));
        }
        bench.ledgers[0].ended(slow, Ending::Eof, b"", bench.now_ns);
        bench.leave(0, other, 0);
    });
    assert_eq!(kinds(&findings), [(Kind::StrayError, 2)]);
}
