//! What a driver asks a ledger, and tells it, besides the frames it reads: the same for targets
//! judged by their numbers and for those judged by inferred order.

use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::guards::{Bench, ack, kinds, relay};
use super::world::{address, terms};
use crate::directory::ClientId;
use crate::kind::Kind;
use crate::ledger::{Ending, Terms};
use chatbench_wire::ndjson;

/// By its numbers, and by inferred order.
fn both() -> [Terms; 2] {
    let outside = Terms {
        promises: INFERRED_ORDER,
        ..terms()
    };
    [terms(), outside]
}

#[test]
fn a_session_is_open_once_it_is_welcomed_or_the_time_for_that_is_up() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let welcomed = bench.join(0, 0, 0);
        let ledger = &mut bench.ledgers[0];
        let waiting = ledger.connecting(ClientId(1)).unwrap();
        ledger.connected(waiting, address(1).parse().unwrap());
        assert!(ledger.is_open(welcomed));
        assert!(!ledger.is_open(waiting));
        // It is late for who waits, and nothing to who is there.
        ledger.no_welcome(welcomed, 8);
        ledger.no_welcome(waiting, 9);
        assert!(ledger.is_open(waiting));
        bench.read(0, waiting, &relay(1, 0, 1));
        bench.ledgers[0].letting_go(waiting);
        bench.ledgers[0].ended(waiting, Ending::Ours, b"", 10);
        let findings = bench.finish();
        let example = &findings.violations[&Kind::MissingWelcome].examples[0];
        assert_eq!(findings.violations[&Kind::MissingWelcome].count, 1);
        assert_eq!(example.text, "c1 connected and was never welcomed");
        assert_eq!(findings.coverage.aborts, 1);
    }
}

#[test]
fn a_message_waits_for_its_ack() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let (sender, other) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        for k in 1..=3 {
            let header = bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
            assert_eq!(header.k, k);
        }
        let unacked = |bench: &Bench| [sender, other].map(|h| bench.ledgers[0].unacked(h));
        assert_eq!(unacked(&bench), [3, 0]);
        bench.read(0, sender, &ack(1, 0, 1));
        bench.read(0, sender, &ack(2, 0, 2));
        assert_eq!(unacked(&bench), [1, 0]);
        // A raw publish is answered, too.
        bench.ledgers[0].sending_raw(sender, &conns::raw(b"{\"message\":\"raw\"}\n"));
        assert_eq!(unacked(&bench), [2, 0]);
        let mut raw = Vec::new();
        ndjson::encode_ack(&mut raw, 3, None);
        bench.read(0, sender, &ack(3, 0, 3));
        bench.read(0, sender, &raw);
        assert_eq!(unacked(&bench), [0, 0]);
    }
}

/// Sent while another's was unacked: by somebody of the same shard.
#[test]
fn what_a_run_exercised_is_counted() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let senders = [bench.join(0, 0, 0), bench.join(0, 1, 0)];
        let send = |bench: &mut Bench, who: usize| {
            let handle = senders[who];
            bench.ledgers[0].sending(handle, 0, 0, false).unwrap();
        };
        send(&mut bench, 0);
        send(&mut bench, 0); // its own is under way, and nobody else's
        send(&mut bench, 1);
        send(&mut bench, 1);
        bench.ledgers[0].read_done(3, true);
        bench.ledgers[0].read_done(1, true);
        bench.ledgers[0].read_done(0, false);
        let newcomer = bench.join(0, 2, 0); // what is under way may be numbered meanwhile
        for handle in [senders[0], senders[1], newcomer] {
            bench.ledgers[0].letting_go(handle);
            bench.ledgers[0].ended(handle, Ending::Ours, b"", 9);
        }
        let coverage = bench.finish().coverage;
        assert_eq!(coverage.overlapping_sends, 2);
        assert_eq!((coverage.joined_frames, coverage.split_frames), (2, 2));
        assert_eq!(coverage.joins_during_traffic, 1);
        assert_eq!((coverage.aborts, coverage.polite_leaves), (3, 0));
        assert_eq!(coverage.fences_seen, 0);
    }
}

#[test]
fn an_error_that_a_script_expects_in_vain_is_missing() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let writer = bench.join(0, 0, 0);
        bench.ledgers[0].missing_error(writer, "malformed", "2s", 7);
        bench.leave(0, writer, 0);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::MissingError, 1)]);
        let example = &findings.violations[&Kind::MissingError].examples[0];
        let expected = "c0 expected an error `malformed` within 2s, and none came";
        assert_eq!((example.text.as_str(), example.at_ns), (expected, 7));
    }
}

#[test]
fn an_answer_that_a_script_expects_in_vain_is_missing_and_what_came_is_shown() {
    for terms in both() {
        for (instead, said) in [("", ""), ("{\"no\":1}", "; what came instead: {\"no\":1}")] {
            let mut bench = Bench::new(1, terms);
            let writer = bench.join(0, 0, 0);
            bench.ledgers[0].missing_answer(writer, "{ type = \"me\" }", "2s", instead, 7);
            bench.leave(0, writer, 0);
            let findings = bench.finish();
            assert_eq!(kinds(&findings), [(Kind::MissingAnswer, 1)]);
            let example = &findings.violations[&Kind::MissingAnswer].examples[0];
            let expected =
                format!("c0 expected {{ type = \"me\" }} within 2s, and it did not come{said}");
            assert_eq!((&example.text, example.at_ns), (&expected, 7));
        }
    }
}

/// Half a line of a script and a publish after it are one line, which no server can take; after
/// a whole line, or where the half is blank, it is a publish like any other.
#[test]
fn what_follows_half_a_line_is_a_publish_only_if_the_line_still_is_one() {
    for terms in both() {
        for (raw, taken) in [
            (&b"{\"mess"[..], false),
            (b"  ", true),
            (b"not json\n", true),
        ] {
            let mut bench = Bench::new(1, terms);
            let writer = bench.join(0, 0, 0);
            bench.publish_after_raw(writer, raw);
            let unacked = bench.ledgers[0].unacked(writer);
            assert_eq!(unacked, usize::from(taken), "{raw:?}");
            // What is not owed an ack is not under way either.
            let other = bench.join(0, 1, 0);
            bench.ledgers[0].sending(other, 6, 6, false).unwrap();
            let coverage = bench.finish().coverage;
            assert_eq!(coverage.overlapping_sends, u64::from(taken), "{raw:?}");
        }
    }
}

/// Who sent what no server can take may be hung up on, and who sent what it can may not.
#[test]
fn a_script_that_provokes_a_target_may_be_hung_up_on() {
    for terms in both() {
        for (raw, provoking) in [
            (&b"{\"message\":\"hello\"}\n"[..], false),
            (b"not json\n", true),
            (b"{\"message\":\"hello\"}\nnot json\n", true),
            (b"not json\n{\"message\":\"hello\"}\n", true),
        ] {
            let mut bench = Bench::new(1, terms);
            let writer = bench.join(0, 0, 0);
            bench.ledgers[0].sending_raw(writer, &conns::raw(raw));
            let mut answer = Vec::new();
            ndjson::encode_error(&mut answer, "malformed", "no", None);
            if provoking {
                bench.read(0, writer, &answer);
            }
            bench.ledgers[0].ended(writer, Ending::Eof, b"", 9);
            let found = kinds(&bench.finish());
            let hung_up = found.contains(&(Kind::UnexpectedClose, 1));
            assert_eq!(hung_up, !provoking, "{raw:?}: {found:?}");
        }
    }
}

/// Enough has gathered: hand it over before its time.
#[test]
fn a_ledger_says_when_enough_has_gathered() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let (sender, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        let mut flushes = Vec::new();
        for n in 1..=20_000 {
            bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
            bench.read(0, sender, &ack(n, 0, n));
            bench.read(0, listener, &relay(n, 0, n));
            if bench.ledgers[0].wants_flush() {
                flushes.push(n);
                bench.hand_over(0);
                assert!(!bench.ledgers[0].wants_flush());
            }
        }
        // Neither at every message nor never.
        assert!((2..200).contains(&flushes.len()), "{}", flushes.len());
    }
}

#[test]
fn frames_of_an_unknown_type_and_texts_that_come_again_are_counted() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let (writer, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        for _ in 0..2 {
            bench.read(0, listener, b"{\"type\":\"news\"}\n");
        }
        bench.ledgers[0].sending_raw(writer, &conns::raw(b"{\"message\":\"hello\"}\n"));
        let mut ack = Vec::new();
        ndjson::encode_ack(&mut ack, 1, None);
        bench.read(0, writer, &ack);
        let mut relay = Vec::new();
        ndjson::encode_relay(&mut relay, 1, &address(0), "hello");
        for _ in 0..2 {
            bench.read(0, listener, &relay);
        }
        bench.leave(0, writer, 1);
        bench.ledgers[0].letting_go(listener);
        bench.ledgers[0].ended(listener, Ending::Ours, b"", 9);
        let findings = bench.finish();
        assert_eq!(findings.counts.unknown_frames, 2);
        // A text that anybody may have said twice is one said again only by its number.
        let again = u64::from(terms.are_numbered());
        assert_eq!(findings.counts.duplicated, again);
        assert_eq!(kinds(&findings).len() as u64, again);
    }
}

/// It is no welcome, so the session goes on as one that never got one.
#[test]
fn a_welcome_to_another_protocol_is_none() {
    for terms in both() {
        let mut bench = Bench::new(1, terms);
        let ledger = &mut bench.ledgers[0];
        let handle = ledger.connecting(ClientId(0)).unwrap();
        ledger.connected(handle, address(0).parse().unwrap());
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address(0), 0, 65_536);
        let welcome = String::from_utf8(welcome).unwrap();
        let ours = format!("\"protocol\":{}", ndjson::PROTOCOL_VERSION);
        assert!(welcome.contains(&ours), "{welcome}");
        bench.read(
            0,
            handle,
            welcome.replace(&ours, "\"protocol\":77").as_bytes(),
        );
        bench.ledgers[0].letting_go(handle);
        bench.ledgers[0].ended(handle, Ending::Ours, b"", 9);
        let findings = bench.finish();
        let malformed = &findings.violations[&Kind::MalformedFrame];
        let text = &malformed.examples[0].text;
        assert!(text.contains("a welcome to protocol 77"), "{text}");
    }
}

/// Turned away, before it was welcomed; or with half a line after the goodbye.
#[test]
fn an_error_may_stand_for_the_welcome_and_nothing_after_the_bye() {
    for terms in both() {
        for told in [false, true] {
            let mut bench = Bench::new(1, terms);
            let ledger = &mut bench.ledgers[0];
            let handle = ledger.connecting(ClientId(0)).unwrap();
            ledger.connected(handle, address(0).parse().unwrap());
            if told {
                let mut error = Vec::new();
                ndjson::encode_error(&mut error, "server-full", "no room", None);
                bench.read(0, handle, &error);
            }
            bench.ledgers[0].ended(handle, Ending::Eof, b"", 9);
            let closed = u64::from(!told);
            assert_eq!(bench.finish().counts.unexpected_closes, closed);
        }
        for (unread, malformed) in [(&b""[..], 0), (b"and another", 1)] {
            let mut bench = Bench::new(1, terms);
            let handle = bench.join(0, 0, 0);
            bench.ledgers[0].leaving(handle, 0);
            let mut bye = Vec::new();
            ndjson::encode_bye(&mut bye, 0);
            bench.read(0, handle, &bye);
            bench.ledgers[0].ended(handle, Ending::Eof, unread, 9);
            assert_eq!(bench.finish().violation_count(), malformed);
        }
    }
}

/// What it sent and was not acked is under way no more.
#[test]
fn nothing_is_under_way_of_a_session_that_is_over() {
    for terms in both() {
        for polite in [false, true] {
            let mut bench = Bench::new(1, terms);
            let (leaver, other) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
            bench.ledgers[0].sending(leaver, 0, 0, false).unwrap();
            if polite {
                bench.leave(0, leaver, 0);
            } else {
                bench.ledgers[0].letting_go(leaver);
                bench.ledgers[0].ended(leaver, Ending::Ours, b"", 9);
            }
            bench.join(0, 2, 0);
            bench.ledgers[0].sending(other, 9, 9, false).unwrap();
            let coverage = bench.finish().coverage;
            let exercised = (coverage.overlapping_sends, coverage.joins_during_traffic);
            assert_eq!(exercised, (0, 0), "polite: {polite}");
        }
    }
}
