//! What happens at the limits: hostile targets, windows that overflow, scripts that send bytes of
//! their own, clients that come and go for ever.

use std::sync::Arc;

use proptest::prelude::*;

use super::conns;
use super::world::{RUN, SEED, address, terms};
use crate::directory::{ClientId, Directory};
use crate::findings::{EXAMPLES_PER_KIND, Findings};
use crate::ids::publish_id;
use crate::judge::{Judge, Settled};
use crate::kind::Kind;
use crate::ledger::{Ending, Event, Handle, Ledger, Terms};
use chatbench_wire::ndjson::{self, MAX_ID};
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::protocol::{Opening, Protocol};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Conn, Publishing};

/// Shards of one judge, driven by hand.
pub(super) struct Bench {
    pub(super) directory: Arc<Directory>,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) judge: Judge,
    pub(super) now_ns: u64,
}

impl Bench {
    pub(super) fn new(shards: usize, terms: Terms) -> Self {
        let names = (0..100).map(|i| format!("c{i}")).collect();
        let directory = Arc::new(Directory::new(names));
        let ledger = |_| Ledger::new(terms, Arc::clone(&directory));
        Self {
            ledgers: (0..shards).map(ledger).collect(),
            judge: Judge::new(Arc::clone(&directory), shards, terms.late_after_ns),
            directory,
            now_ns: 0,
        }
    }

    /// A session that is welcomed at `seq`; sessions are numbered from 0 in this order.
    pub(super) fn join(&mut self, shard: usize, session: usize, seq: u64) -> Handle {
        let ledger = &mut self.ledgers[shard];
        let handle = ledger.connecting(ClientId(session as u32)).unwrap();
        ledger.connected(handle, address(session).parse().unwrap());
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address(session), seq, 65_536);
        assert_eq!(self.read(shard, handle, &welcome), [Event::Welcome]);
        handle
    }

    pub(super) fn read(&mut self, shard: usize, handle: Handle, bytes: &[u8]) -> Vec<Event> {
        self.now_ns += 1;
        let ledger = &mut self.ledgers[shard];
        conns::read(Protocol::Ndjson, ledger, handle, bytes, self.now_ns)
    }

    /// A session of the first shard sends `raw`, and its next message after that.
    pub(super) fn publish_after_raw(&mut self, handle: Handle, raw: &[u8]) {
        let ledger = &mut self.ledgers[0];
        let mut conn = conns::open(Protocol::Ndjson);
        ledger.sending_raw(handle, &conn.raw(&mut Vec::new(), raw, 65_536));
        let header = ledger.sending(handle, 5, 5, false).unwrap();
        let publish = Publishing {
            room: RoomId::UNNAMED,
            text: &text(header.sender.0, header.k, 5),
            id: publish_id(header.sender, header.k),
            claims: None,
        };
        if let Some(glued) = conn.publish(&mut Vec::new(), publish) {
            ledger.sent_glued(handle, &header, glued);
        }
    }

    pub(super) fn leave(&mut self, shard: usize, handle: Handle, last: u64) {
        self.ledgers[shard].leaving(handle, self.now_ns);
        let mut bye = Vec::new();
        ndjson::encode_bye(&mut bye, last);
        assert_eq!(self.read(shard, handle, &bye), [Event::Bye]);
        self.ledgers[shard].ended(handle, Ending::Eof, b"", self.now_ns);
    }

    pub(super) fn hand_over(&mut self, shard: usize) {
        self.hand_over_to(shard, |_| ());
    }

    pub(super) fn hand_over_to(&mut self, shard: usize, settled: impl FnMut(Settled)) {
        let batch = self.ledgers[shard].take_batch();
        self.judge.absorb(shard, batch, settled);
    }

    pub(super) fn finish(mut self) -> Findings {
        for shard in 0..self.ledgers.len() {
            self.hand_over(shard);
        }
        self.judge.finish(false, |_| ())
    }
}

pub(super) fn kinds(findings: &Findings) -> Vec<(Kind, u64)> {
    let all = findings.violations.iter();
    all.map(|(kind, tally)| (*kind, tally.count)).collect()
}

pub(super) fn text(sender: u32, k: u64, intended_ns: u64) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(sender),
        k,
        last: false,
        intended_ns,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, SEED, &header, payload::HEADER_BYTES);
    String::from_utf8(text).unwrap()
}

pub(super) fn relay(seq: u64, sender: u32, k: u64) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_relay(
        &mut line,
        seq,
        &address(sender as usize),
        &text(sender, k, 0),
    );
    line
}

pub(super) fn ack(seq: u64, sender: u32, k: u64) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_ack(&mut line, seq, Some(publish_id(SenderId(sender), k)));
    line
}

/// A script waits for an ack in vain: because it never came, or because another client got it.
#[test]
fn an_ack_that_is_waited_for_in_vain_is_one_violation_whoever_got_it() {
    for (astray, expected) in [(false, (Kind::MissingAck, 1)), (true, (Kind::StrayAck, 1))] {
        let mut bench = Bench::new(1, terms());
        let sender = bench.join(0, 0, 0);
        let other = bench.join(0, 1, 0);
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        let got = if astray { ack(1, 0, 1) } else { relay(1, 0, 1) };
        bench.read(0, other, &got);
        bench.ledgers[0].overdue_acks(sender, "1s", 1_000_000_000);
        bench.ledgers[0].letting_go(sender);
        bench.ledgers[0].ended(sender, Ending::Ours, b"", 1_000_000_001);
        bench.leave(0, other, 1);
        assert_eq!(kinds(&bench.finish()), [expected], "astray: {astray}");
    }
}

/// More numbers than the judge keeps: what comes later than that is stated, not passed over.
#[test]
fn a_shard_that_lags_behind_the_records_leaves_the_run_undecided() {
    const COUNT: u64 = (1 << 18) + 10;
    let mut bench = Bench::new(2, terms());
    let sender = bench.join(0, 0, 0);
    let ahead = bench.join(0, 1, 0);
    let behind = bench.join(1, 2, 0);
    let odd = bench.join(1, 3, 0);
    for n in 1..=COUNT {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(n, 0, n));
        bench.read(0, ahead, &relay(n, 0, n));
        if n % 4096 == 0 {
            bench.hand_over(0);
        }
    }
    bench.hand_over(0);
    // What was settled long ago still says that the odd one's third and fourth are exchanged.
    for n in 1..=COUNT {
        let exchanged = [n, 4, 3][(n == 3) as usize + 2 * (n == 4) as usize];
        bench.read(1, behind, &relay(n, 0, n));
        bench.read(1, odd, &relay(n, 0, exchanged));
    }
    bench.leave(0, sender, COUNT);
    bench.leave(0, ahead, COUNT);
    bench.leave(1, behind, COUNT);
    bench.leave(1, odd, COUNT);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::ReorderedRelay, 1)]);
    assert_eq!(findings.counts.delivered, 3 * COUNT);
    assert_eq!(findings.undecided.len(), 1, "{:?}", findings.undecided);
    assert!(findings.undecided[0].contains("far behind"));
}

/// A receiver further behind than the shard's window is checked for itself, and says so.
#[test]
fn a_receiver_that_falls_out_of_the_window_leaves_the_run_undecided() {
    const COUNT: u64 = (1 << 18) + 10;
    let mut bench = Bench::new(1, terms());
    let sender = bench.join(0, 0, 0);
    let ahead = bench.join(0, 1, 0);
    let behind = bench.join(0, 2, 0);
    for n in 1..=COUNT {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(n, 0, n));
        bench.read(0, ahead, &relay(n, 0, n));
    }
    for n in 1..=COUNT {
        bench.read(0, behind, &relay(n, 0, n));
    }
    for handle in [sender, ahead, behind] {
        bench.leave(0, handle, COUNT);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.undecided.len(), 1, "{:?}", findings.undecided);
}

#[test]
fn absurd_numbers_are_violations_and_cost_nothing() {
    let followed = u64::MAX - (1 << 32);
    for seq in [MAX_ID, MAX_ID + 1, followed, followed + 1, u64::MAX] {
        let mut bench = Bench::new(1, terms());
        let listener = bench.join(0, 0, 0);
        let sender = bench.join(0, 1, 0);
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(1, 1, 1));
        bench.read(0, listener, &relay(seq, 1, 1));
        bench.leave(0, listener, 1);
        bench.leave(0, sender, 1);
        let expected = if seq > followed {
            // No frame, and room enough in it to have been number 1.
            [(Kind::MalformedFrame, 1)]
        } else {
            [(Kind::AlteredRelay, 1)]
        };
        assert_eq!(kinds(&bench.finish()), expected, "{seq}");
    }
}

/// Its own lines may be that long, and 256 bytes longer.
#[test]
fn lines_may_be_as_long_as_the_welcome_allows() {
    for (max_line, malformed) in [(65_536, 1), (150_000, 0), (u64::MAX, 0)] {
        for promises in [terms().promises, super::fault_table::INFERRED_ORDER] {
            let mut bench = Bench::new(
                1,
                Terms {
                    promises,
                    ..terms()
                },
            );
            let ledger = &mut bench.ledgers[0];
            let handle = ledger.connecting(ClientId(0)).unwrap();
            ledger.connected(handle, address(0).parse().unwrap());
            let mut lines = Vec::new();
            ndjson::encode_welcome(&mut lines, &address(0), 0, max_line);
            let detail = "x".repeat(150_100);
            lines.extend_from_slice(
                format!("{{\"type\":\"news\",\"x\":\"{detail}\"}}\n").as_bytes(),
            );
            let mut conn = Protocol::Ndjson.open(&Opening::reading(65_536 + 256), &mut Vec::new());
            for chunk in lines.chunks(10_000) {
                conns::read_on(&mut bench.ledgers[0], handle, &mut conn, chunk, 1);
            }
            bench.ledgers[0].letting_go(handle);
            bench.ledgers[0].ended(handle, Ending::Ours, b"", 2);
            let expected = [(Kind::MalformedFrame, malformed)];
            let expected = &expected[..malformed as usize];
            assert_eq!(kinds(&bench.finish()), expected, "{max_line}");
        }
    }
}

/// What the protocol allows is followed, up to where sums of numbers would have no room.
#[test]
fn numbers_may_be_as_large_as_they_are() {
    for joined in [MAX_ID - 2, MAX_ID, u64::MAX / 2, u64::MAX - (1 << 32) - 3] {
        let mut bench = Bench::new(1, terms());
        let [sender, listener, breaks_off] = [0, 1, 2].map(|i| bench.join(0, i, joined));
        for k in 1..=3 {
            bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
            bench.read(0, sender, &ack(joined + k, 0, k));
            if k != 2 {
                bench.read(0, listener, &relay(joined + k, 0, k));
            }
        }
        bench.ledgers[0].letting_go(breaks_off);
        bench.ledgers[0].ended(breaks_off, Ending::Ours, b"", bench.now_ns);
        bench.leave(0, sender, joined + 3);
        bench.leave(0, listener, joined + 3);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::AckWithoutRelay, 1)], "{joined}");
        assert_eq!(findings.undecided, [""; 0], "{joined}");
    }
}

/// Where they have none, that is said, and nobody is accused.
#[test]
fn numbers_at_the_very_end_are_not_followed() {
    let mut bench = Bench::new(1, terms());
    let [sender, listener] = [0, 1].map(|i| bench.join(0, i, u64::MAX - (1 << 32) - 1));
    for k in 1..=3 {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(u64::MAX - (1 << 32) - 1 + k, 0, k));
        bench.read(0, listener, &relay(u64::MAX - (1 << 32) - 1 + k, 0, k));
    }
    for (client, seq) in [(2, u64::MAX - 9), (3, u64::MAX)] {
        let ledger = &mut bench.ledgers[0];
        let handle = ledger.connecting(ClientId(client)).unwrap();
        ledger.connected(handle, address(client as usize).parse().unwrap());
        let mut lines = Vec::new();
        ndjson::encode_welcome(&mut lines, &address(client as usize), seq, 65_536);
        ndjson::encode_relay(&mut lines, u64::MAX, &address(0), &text(0, 3, 0));
        ndjson::encode_bye(&mut lines, u64::MAX);
        bench.read(0, handle, &lines);
        bench.ledgers[0].ended(handle, Ending::Eof, b"", bench.now_ns);
    }
    for handle in [sender, listener] {
        bench.ledgers[0].leaving(handle, bench.now_ns);
        bench.ledgers[0].ended(handle, Ending::Eof, b"", bench.now_ns);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.undecided.len(), 1, "{:?}", findings.undecided);
    assert!(
        findings.undecided[0].starts_with("4 sessions"),
        "{:?}",
        findings.undecided
    );
}

/// A target whose numbers leap is one gap each time, not millions.
#[test]
fn a_leap_of_2_to_the_50_is_one_gap() {
    const LEAP: u64 = 1 << 50;
    let mut bench = Bench::new(1, terms());
    let listeners = [bench.join(0, 0, 0), bench.join(0, 1, 0)];
    let sender = bench.join(0, 2, 0);
    for (k, seq) in [
        (1, 1),
        (2, LEAP),
        (3, LEAP + 1),
        (4, 2 * LEAP),
        (5, 2 * LEAP + 1),
    ] {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(seq, 2, k));
        for listener in listeners {
            bench.read(0, listener, &relay(seq, 2, k));
        }
        bench.hand_over(0);
    }
    for handle in [listeners[0], listeners[1], sender] {
        bench.leave(0, handle, 2 * LEAP + 1);
    }
    assert_eq!(kinds(&bench.finish()), [(Kind::SequenceGap, 2)]);
}

#[test]
fn a_scripted_text_may_be_relayed_if_it_was_in_order_and_not_if_it_was_refused() {
    let scripted = |message: &str, script: &[u8]| {
        let mut bench = Bench::new(1, terms());
        let (writer, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        bench.ledgers[0].sending_raw(writer, &conns::raw(script));
        let mut line = Vec::new();
        ndjson::encode_relay(&mut line, 1, &address(0), message);
        bench.read(0, listener, &line);
        let mut ack = Vec::new();
        ndjson::encode_ack(&mut ack, 1, None);
        bench.read(0, writer, &ack);
        bench.leave(0, writer, 1);
        bench.leave(0, listener, 1);
        kinds(&bench.finish())
    };
    assert_eq!(scripted("hello", b"{\"message\":\"hello\"}\n"), []);
    assert_eq!(
        scripted("other", b"{\"message\":\"hello\"}\n"),
        [(Kind::PhantomRelay, 1)]
    );
    for (message, script) in [
        ("not json", &b"not json\n"[..]),
        ("", b"{\"message\":\"\"}\n"),
        ("hi", b"{\"message\":\"hi\",\"id\":-1}\n"),
        ("\u{fffd}", b"\xff\n"),
    ] {
        let found = scripted(message, script);
        assert!(
            found.contains(&(Kind::RelayOfRejected, 1)),
            "{message:?}: {found:?}"
        );
    }
}

/// Half a line of a script and a publish after it are one line, which no server can take.
#[test]
fn a_publish_glued_to_half_a_raw_line_is_not_owed_an_ack() {
    for accepted in [false, true] {
        let mut bench = Bench::new(1, terms());
        let (writer, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        bench.publish_after_raw(writer, b"{\"mess");
        assert_eq!(bench.ledgers[0].unacked(writer), 0);
        let mut error = Vec::new();
        ndjson::encode_error(&mut error, "malformed", "no", None);
        bench.read(0, writer, &error);
        if accepted {
            bench.read(0, listener, &relay(1, 0, 1));
        }
        let last = u64::from(accepted);
        bench.leave(0, writer, last);
        bench.leave(0, listener, last);
        let expected: &[_] = if accepted {
            &[(Kind::RelayOfRejected, 1)]
        } else {
            &[]
        };
        assert_eq!(kinds(&bench.finish()), expected);
    }
}

#[test]
fn being_cut_off_as_slow_is_undecided_unless_the_script_asked_for_it() {
    for stops in [false, true] {
        let mut bench = Bench::new(1, terms());
        let slow = bench.join(0, 0, 0);
        if stops {
            bench.ledgers[0].stops_reading(slow);
        }
        let mut error = Vec::new();
        ndjson::encode_error(&mut error, "slow-consumer", "too far behind", None);
        bench.read(0, slow, &error);
        bench.ledgers[0].ended(slow, Ending::Eof, b"", 9);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), []);
        assert_eq!(findings.undecided.len(), usize::from(!stops));
    }
}

/// Late counts from when the message was sent, not from when it was due.
#[test]
fn a_generator_that_was_late_itself_accuses_nobody() {
    for (sent_ns, late) in [(0, true), (990, false)] {
        let limit = Terms {
            late_after_ns: Some(100),
            ..terms()
        };
        let mut bench = Bench::new(1, limit);
        let (sender, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
        bench.ledgers[0].sending(sender, 0, sent_ns, false).unwrap();
        bench.now_ns = 1000;
        bench.read(0, sender, &ack(1, 0, 1));
        bench.read(0, listener, &relay(1, 0, 1));
        bench.leave(0, sender, 1);
        bench.leave(0, listener, 1);
        let found = kinds(&bench.finish());
        assert_eq!(!found.is_empty(), late, "{found:?}");
    }
}

/// Where every delivery is a finding a ledger asks for room, and all are counted all the same.
#[test]
fn a_ledger_with_much_to_hand_over_says_that_it_is_full() {
    const COUNT: u64 = 2_000;
    const LISTENERS: usize = 20;
    let limit = Terms {
        late_after_ns: Some(100),
        ..terms()
    };
    let mut bench = Bench::new(1, limit);
    let sender = bench.join(0, 0, 0);
    let listeners: Vec<_> = (1..=LISTENERS).map(|n| bench.join(0, n, 0)).collect();
    bench.now_ns = 1_000;
    let mut was_full = 0;
    for n in 1..=COUNT {
        bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
        bench.read(0, sender, &ack(n, 0, n));
        for &listener in &listeners {
            bench.read(0, listener, &relay(n, 0, n));
            if bench.ledgers[0].is_full() {
                was_full += 1;
                bench.hand_over(0);
                assert!(!bench.ledgers[0].is_full());
            }
        }
    }
    for &handle in listeners.iter().chain([&sender]) {
        bench.leave(0, handle, COUNT);
    }
    let findings = bench.finish();
    assert_eq!(was_full, 2);
    let all = COUNT * LISTENERS as u64;
    assert_eq!(kinds(&findings), [(Kind::LateRelay, all)]);
    let kept = findings.violations[&Kind::LateRelay].examples.len();
    assert_eq!(kept, EXAMPLES_PER_KIND);
}

#[test]
fn a_connection_closed_before_its_welcome_is_a_hang_up_unless_it_was_turned_away() {
    for turned_away in [false, true] {
        let mut bench = Bench::new(1, terms());
        let ledger = &mut bench.ledgers[0];
        let handle = ledger.connecting(ClientId(0)).unwrap();
        ledger.connected(handle, address(0).parse().unwrap());
        if turned_away {
            let mut error = Vec::new();
            ndjson::encode_error(&mut error, "server-full", "full", None);
            bench.read(0, handle, &error);
        }
        bench.ledgers[0].ended(handle, Ending::Eof, b"", 9);
        let found = kinds(&bench.finish());
        let hung_up: &[_] = &[(Kind::UnexpectedClose, 1)];
        assert_eq!(found, if turned_away { &[] } else { hung_up });
    }
}

#[test]
fn a_target_that_goes_away_wrongs_no_single_client() {
    let mut bench = Bench::new(1, terms());
    let listener = bench.join(0, 0, 0);
    bench.ledgers[0].ended(listener, Ending::Broken, b"", 9);
    let batch = bench.ledgers[0].take_batch();
    bench.judge.absorb(0, batch, |_| ());
    let findings = bench.judge.finish(true, |_| ());
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.undecided.len(), 1);
}

/// What a session had not seen when it was hung up on, or when the time was up, is counted: nobody
/// knows whether it would have come.
#[test]
fn what_was_still_owed_at_an_end_without_a_bye_is_unresolved() {
    for ending in [Ending::Eof, Ending::TimeUp] {
        let mut bench = Bench::new(2, terms());
        let (sender, listener) = (bench.join(0, 0, 0), bench.join(1, 1, 0));
        for n in 1..=3 {
            bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
            bench.read(0, sender, &ack(n, 0, n));
        }
        bench.read(1, listener, &relay(1, 0, 1));
        bench.ledgers[1].ended(listener, ending, b"", 9);
        bench.leave(0, sender, 3);
        let findings = bench.finish();
        assert_eq!(findings.counts.unresolved, 2, "{ending:?}");
        assert_eq!(
            findings.undecided.len(),
            usize::from(ending == Ending::TimeUp)
        );
    }
}

/// With traffic or without, what is over is forgotten.
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    for traffic in [false, true] {
        let mut bench = Bench::new(2, terms());
        let observer = bench.join(0, 99, 0);
        let mut head = 0;
        for session in 1..2000_u32 {
            let handle = bench.join(1, session as usize, head);
            if traffic {
                head += 1;
                bench.ledgers[1].sending(handle, 0, 0, false).unwrap();
                bench.read(1, handle, &ack(head, session, 1));
                let mut line = Vec::new();
                let from = address(session as usize);
                ndjson::encode_relay(&mut line, head, &from, &text(session, 1, 0));
                bench.read(0, observer, &line);
            }
            bench.leave(1, handle, head);
            bench.hand_over(1);
            bench.hand_over(0);
            assert!(bench.directory.remembered() <= 3, "session {session}");
        }
        bench.leave(0, observer, head);
        assert_eq!(kinds(&bench.finish()), []);
    }
}

/// A message that was under way when its sender broke off may be numbered long after: who sent it
/// is still checked.
#[test]
fn a_sender_that_broke_off_is_remembered_while_its_messages_are_under_way() {
    let mut bench = Bench::new(1, terms());
    let (sender, listener) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
    bench.ledgers[0].sending(sender, 0, 0, false).unwrap();
    bench.ledgers[0].letting_go(sender);
    bench.ledgers[0].ended(sender, Ending::Ours, b"", 9);
    bench.hand_over(0);
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, 1, &address(77), &text(0, 1, 0));
    bench.read(0, listener, &line);
    bench.leave(0, listener, 1);
    assert_eq!(kinds(&bench.finish()), [(Kind::MisattributedRelay, 1)]);
}

/// A line that a hostile target may send, from numbers and ids that collide.
fn hostile_line() -> impl Strategy<Value = Vec<u8>> {
    let seq = || {
        prop_oneof![
            8 => 0_u64..40,
            1 => Just(MAX_ID),
            1 => Just(u64::MAX),
            1 => any::<u64>(),
        ]
    };
    let id = || prop_oneof![Just(None), (0_u32..4, 0_u64..9).prop_map(Some)];
    prop_oneof![
        6 => (seq(), 0_u32..5, 0_u64..9).prop_map(|(seq, sender, k)| relay(seq, sender, k)),
        4 => (seq(), id()).prop_map(|(seq, id)| {
            let mut line = Vec::new();
            let id = id.map(|(sender, k)| publish_id(SenderId(sender), k));
            ndjson::encode_ack(&mut line, seq, id);
            line
        }),
        1 => seq().prop_map(|seq| {
            let mut line = Vec::new();
            ndjson::encode_welcome(&mut line, "nowhere", seq, 1);
            line
        }),
        1 => seq().prop_map(|seq| {
            let mut line = Vec::new();
            ndjson::encode_bye(&mut line, seq);
            line
        }),
        1 => id().prop_map(|id| {
            let mut line = Vec::new();
            let id = id.map(|(sender, k)| publish_id(SenderId(sender), k));
            ndjson::encode_error(&mut line, "malformed", "", id);
            line
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut line| {
            line.push(b'\n');
            line
        }),
    ]
}

proptest! {
    #![proptest_config(super::config(400))]

    #[test]
    fn a_hostile_target_is_data(
        steps in prop::collection::vec((0..4_usize, 0..8_u8, hostile_line()), 1..120),
    ) {
        let mut bench = Bench::new(2, terms());
        let mut handles: Vec<Handle> = (0..4).map(|i| bench.join(i % 2, i, 0)).collect();
        for (i, action, line) in steps {
            let shard = i % 2;
            match action {
                0 => drop(bench.ledgers[shard].sending(handles[i], 0, bench.now_ns, false)),
                1 => bench.hand_over(shard),
                2 => {
                    bench.ledgers[shard].ended(handles[i], Ending::Eof, &line, bench.now_ns);
                    handles[i] = bench.join(shard, i, 0);
                }
                3 => {
                    bench.ledgers[shard].leaving(handles[i], bench.now_ns);
                }
                _ => drop(bench.read(shard, handles[i], &line)),
            }
        }
        for (i, handle) in handles.into_iter().enumerate() {
            bench.ledgers[i % 2].ended(handle, Ending::Eof, b"", bench.now_ns);
        }
        let counts = bench.finish().counts;
        prop_assert!(counts.delivered + counts.lost <= counts.owed);
    }
}
