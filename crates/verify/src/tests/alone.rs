//! What a session tells by itself, by its numbers: its own acks, its ends, and relays that are wrong
//! whoever else got them; each where nothing else would notice.

use super::conns;
use super::guards::{Bench, ack, kinds, relay, text};
use super::world::{address, terms};
use crate::directory::ClientId;
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::{Ending, Event, Handle};
use chatbench_wire::ndjson;

/// A client and a listener, in one shard.
fn two() -> (Bench, Handle, Handle) {
    let mut bench = Bench::new(1, terms());
    let (client, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
    (bench, client, listener)
}

fn sends(bench: &mut Bench, handle: Handle) {
    let now_ns = bench.now_ns;
    let ledger = &mut bench.ledgers[0];
    ledger.sending(handle, now_ns, now_ns, false).unwrap();
}

fn said(findings: &Findings, kind: Kind) -> Vec<&str> {
    let tally = findings.violations.get(&kind);
    let examples = tally.into_iter().flat_map(|tally| &tally.examples);
    examples.map(|example| example.text.as_str()).collect()
}

/// A name for one message, and no header that any client of the run has made.
#[test]
fn an_intact_message_of_a_session_that_never_was_is_a_phantom() {
    for (sender, k, said_to_be) in [
        (77, 1, "from session 77, which does not exist"),
        (0, 0, "from session 0, which does not exist"),
    ] {
        let (mut bench, client, listener) = two();
        bench.read(0, listener, &relay(1, sender, k));
        bench.leave(0, client, 1);
        bench.leave(0, listener, 1);
        let findings = bench.finish();
        let phantom = said(&findings, Kind::PhantomRelay);
        assert_eq!(phantom.len(), 1, "{:?}", kinds(&findings));
        assert!(phantom[0].ends_with(said_to_be), "{phantom:?}");
    }
}

#[test]
fn a_relay_that_nobody_sent_says_what_it_is() {
    for (message, kind, said_to_be) in [
        (
            "not json",
            Kind::RelayOfRejected,
            "refused before: `not json`",
        ),
        (
            "not sent",
            Kind::PhantomRelay,
            "sent by no client of this run, in the name of `127.0.0.1:10000` (the target made it up, \
             or another client uses this target): `not sent`",
        ),
        ("", Kind::PhantomRelay, "a relay numbered 1 blank"),
    ] {
        let (mut bench, client, listener) = two();
        bench.ledgers[0].sending_raw(client, &conns::raw(b"not json\n"));
        let mut line = Vec::new();
        ndjson::encode_relay(&mut line, 1, &address(0), message);
        bench.read(0, listener, &line);
        bench.leave(0, listener, 1);
        bench.ledgers[0].letting_go(client);
        bench.ledgers[0].ended(client, Ending::Ours, b"", 9);
        let findings = bench.finish();
        let [text] = said(&findings, kind)[..] else {
            panic!("{message}: {:?}", kinds(&findings));
        };
        assert!(text.ends_with(said_to_be), "{text}");
    }
}

/// It says how far the numbers had got, as the welcome would have.
#[test]
fn a_bye_without_a_welcome_is_a_missing_welcome_and_no_loss() {
    let mut bench = Bench::new(1, terms());
    let ledger = &mut bench.ledgers[0];
    let handle = ledger.connecting(ClientId(0)).unwrap();
    ledger.connected(handle, address(0).parse().unwrap());
    bench.leave(0, handle, 5);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::MissingWelcome, 1)]);
    assert_eq!(findings.counts.lost, 0);
}

/// Of what a client sent after rubbish, or to a target that shuts down, nobody knows what arrived.
#[test]
fn what_may_not_have_arrived_is_owed_no_ack() {
    for (rubbish, asked, expected) in [
        (false, true, &[(Kind::MissingAck, 1)][..]),
        (true, true, &[]),
        (false, false, &[]),
    ] {
        let (mut bench, client, listener) = two();
        if rubbish {
            bench.ledgers[0].sending_raw(client, &conns::raw(b"rubbish\n"));
        }
        sends(&mut bench, client);
        if asked {
            bench.leave(0, client, 0);
        } else {
            let mut bye = Vec::new();
            ndjson::encode_bye(&mut bye, 0);
            bench.read(0, client, &bye);
            bench.ledgers[0].ended(client, Ending::Eof, b"", 9);
        }
        bench.leave(0, listener, 0);
        let found = kinds(&bench.finish());
        assert_eq!(found, expected, "rubbish: {rubbish}, asked: {asked}");
    }
}

/// Its script has given up waiting; one of the two still comes.
#[test]
fn an_ack_that_was_waited_for_in_vain_is_not_missed_again() {
    for (acked, expected) in [(0, 1), (1, 1), (2, 1)] {
        let (mut bench, client, listener) = two();
        sends(&mut bench, client);
        sends(&mut bench, client);
        bench.ledgers[0].overdue_acks(client, "1s", 5);
        for seq in 1..=2 {
            if seq <= acked {
                bench.read(0, client, &ack(seq, 0, seq));
            }
            bench.read(0, listener, &relay(seq, 0, seq));
        }
        bench.leave(0, client, acked);
        bench.leave(0, listener, 2);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::MissingAck, expected)], "{acked}");
        let text = said(&findings, Kind::MissingAck)[0];
        assert_eq!(text, "c0 waited 1s for 2 acks that did not come");
    }
}

/// One that is waited for stands alone in its sentence; and of bytes that a script sent as they
/// stood nobody can say that their ack went elsewhere.
#[test]
fn an_ack_of_raw_bytes_is_missed_even_if_the_others_went_astray() {
    for raw in [false, true] {
        let (mut bench, client, listener) = two();
        if raw {
            bench.ledgers[0].sending_raw(client, &conns::raw(b"{\"message\":\"hello\"}\n"));
        }
        sends(&mut bench, client);
        bench.read(0, listener, &ack(1, 0, 1));
        bench.ledgers[0].overdue_acks(client, "1s", 5);
        bench.ledgers[0].letting_go(client);
        bench.ledgers[0].ended(client, Ending::Ours, b"", 6);
        bench.leave(0, listener, 1);
        let findings = bench.finish();
        let missed = said(&findings, Kind::MissingAck);
        let expected: &[_] = if raw {
            &["c0 waited 1s for 2 acks that did not come"]
        } else {
            &[]
        };
        assert_eq!(
            (missed, said(&findings, Kind::StrayAck).len()),
            (expected.to_vec(), 1)
        );
    }
}

#[test]
fn an_ack_waited_for_in_vain_is_one() {
    let (mut bench, client, listener) = two();
    sends(&mut bench, client);
    bench.ledgers[0].overdue_acks(client, "2s", 5);
    bench.leave(0, client, 0);
    bench.leave(0, listener, 0);
    let findings = bench.finish();
    let expected = ["c0 waited 2s for 1 ack that did not come"];
    assert_eq!(said(&findings, Kind::MissingAck), expected);
}

/// Whether it is the first to decode the line or its bytes are compared.
#[test]
fn a_relay_says_when_it_was_due_and_when_it_was_really_sent() {
    let (mut bench, client, listener) = two();
    let other = bench.join(0, 2, 0);
    bench.ledgers[0].sending(client, 100, 130, false).unwrap();
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, 1, &address(0), &text(0, 1, 100));
    for handle in [listener, other] {
        let relay = Event::Relay {
            intended_ns: 100,
            sent_ns: Some(130),
        };
        assert_eq!(bench.read(0, handle, &line), [relay]);
    }
}
