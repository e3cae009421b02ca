//! Targets that promise less, or other things, than the reference protocol: what must be reported
//! then and what must not, by hand, and that nothing a target sends panics.

use std::sync::Arc;

use proptest::prelude::*;

use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::world::{Observation, RUN, SEED, Saw, address, terms};
use crate::directory::{ClientId, Directory};
use crate::findings::Findings;
use crate::ids::publish_id;
use crate::judge::Judge;
use crate::kind::Kind;
use crate::ledger::{Ending, Event, Handle, Ledger, Terms};
use crate::promises::{AckPromise, OrderPromise, Promises, RelayPromise};
use chatbench_wire::Dialect;
use chatbench_wire::classic;
use chatbench_wire::ndjson;
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::protocol::Protocol;
use chatbench_wire::seen::Capabilities;

/// Clients of one target, driven by hand. Client n is session n.
pub(super) struct Bench {
    pub(super) ledger: Ledger,
    pub(super) judge: Judge,
    pub(super) clients: Vec<Handle>,
    sent: Vec<Vec<Header>>,
    dialect: Protocol,
    pub(super) now_ns: u64,
    /// Bytes of each message.
    pub(super) size: usize,
    /// What the clients did and saw, where that is judged by brute force, too.
    pub(super) observations: Option<Vec<Observation>>,
}

impl Bench {
    pub(super) fn new(promises: Promises, dialect: Protocol, clients: usize) -> Self {
        Self::of(promises, dialect, dialect.capabilities(), clients)
    }

    /// One of a target with these capabilities.
    pub(super) fn of(
        promises: Promises,
        dialect: Protocol,
        capabilities: Capabilities,
        clients: usize,
    ) -> Self {
        let terms = Terms {
            promises,
            capabilities,
            ..terms()
        };
        let names = (0..100).map(|i| format!("c{i}")).collect();
        let directory = Arc::new(Directory::new(names));
        let mut bench = Self {
            ledger: Ledger::new(terms, Arc::clone(&directory)),
            judge: Judge::new(directory, 1, terms.late_after_ns),
            clients: Vec::new(),
            sent: Vec::new(),
            dialect,
            now_ns: 0,
            size: payload::HEADER_BYTES,
            observations: None,
        };
        (0..clients).for_each(|_| bench.join());
        bench
    }

    /// These begin to connect before any of them is connected.
    pub(super) fn connect_at_once(&mut self, count: usize) {
        let first = self.clients.len();
        for client in first..first + count {
            let handle = self.ledger.connecting(ClientId(client as u32)).unwrap();
            self.clients.push(handle);
            self.sent.push(Vec::new());
        }
        for client in first..first + count {
            let local = address(client).parse().unwrap();
            self.ledger.connected(self.clients[client], local);
        }
    }

    pub(super) fn join(&mut self) {
        let client = self.clients.len();
        let handle = self.ledger.connecting(ClientId(client as u32)).unwrap();
        let local = address(client).parse().unwrap();
        self.ledger.connected(handle, local);
        self.clients.push(handle);
        self.sent.push(Vec::new());
        self.saw(client, Saw::Connecting);
        if self.dialect == Protocol::Ndjson {
            let mut welcome = Vec::new();
            ndjson::encode_welcome(&mut welcome, &address(client), 0, 65_536);
            assert_eq!(self.read(client, &welcome), [Event::Welcome]);
        }
    }

    fn saw(&mut self, life: usize, saw: Saw) {
        let at_ns = self.now_ns;
        if let Some(observations) = &mut self.observations {
            observations.push(Observation { life, at_ns, saw });
        }
    }

    pub(super) fn read(&mut self, client: usize, bytes: &[u8]) -> Vec<Event> {
        self.now_ns += 1;
        match self.dialect.dialect() {
            Dialect::Ndjson => {
                let lines = bytes.split(|byte| *byte == b'\n');
                for line in lines.filter(|line| !line.is_empty()) {
                    self.saw(client, Saw::Line(line.to_vec()));
                }
            }
            Dialect::Classic => self.saw(client, Saw::Bytes(bytes.to_vec())),
        }
        let (handle, now_ns) = (self.clients[client], self.now_ns);
        let ledger = &mut self.ledger;
        conns::read(self.dialect, ledger, handle, bytes, now_ns)
    }

    pub(super) fn send(&mut self, client: usize, last: bool) {
        self.now_ns += 1;
        let handle = self.clients[client];
        let header = self.ledger.sending(handle, self.now_ns, self.now_ns, last);
        self.sent[client].push(header.unwrap());
        let k = self.sent[client].len() as u64;
        self.saw(client, Saw::Sent { k });
    }

    /// How many messages a client has sent.
    pub(super) fn sent(&self, client: usize) -> usize {
        self.sent[client].len()
    }

    /// `to` gets message `k` of `from`.
    pub(super) fn relay(&mut self, to: usize, from: usize, k: usize) {
        let bytes = self.relay_of(from, k);
        self.read(to, &bytes);
    }

    /// `to` gets message `k` of `from` with a wrong letter in it.
    pub(super) fn relay_altered(&mut self, to: usize, from: usize, k: usize) {
        let mut bytes = self.relay_of(from, k);
        let at = bytes.len() - 4;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        self.read(to, &bytes);
    }

    fn relay_of(&self, from: usize, k: usize) -> Vec<u8> {
        let mut text = Vec::new();
        let header = &self.sent[from][k - 1];
        payload::encode(&mut text, SEED, header, self.size);
        let text = String::from_utf8(text).unwrap();
        let mut bytes = Vec::new();
        match self.dialect.dialect() {
            Dialect::Ndjson => ndjson::encode_relay(&mut bytes, 0, &address(from), &text),
            Dialect::Classic => classic::encode_relay(&mut bytes, &address(from), &text),
        }
        bytes
    }

    pub(super) fn ack(&mut self, client: usize, k: u64) {
        let mut bytes = Vec::new();
        let id = publish_id(SenderId(client as u32), k);
        match self.dialect.dialect() {
            Dialect::Ndjson => ndjson::encode_ack(&mut bytes, 0, Some(id)),
            Dialect::Classic => classic::encode_ack(&mut bytes, &address(client)),
        }
        self.read(client, &bytes);
    }

    /// The target answers message `k` of `client` with an error.
    pub(super) fn refuse(&mut self, client: usize, k: u64) {
        let mut error = Vec::new();
        let id = publish_id(SenderId(client as u32), k);
        ndjson::encode_error(&mut error, "malformed", "no", Some(id));
        self.read(client, &error);
    }

    pub(super) fn half_close(&mut self, client: usize) {
        self.ledger.leaving(self.clients[client], self.now_ns);
        self.saw(client, Saw::Leaving);
    }

    pub(super) fn bye(&mut self, client: usize) {
        let mut bye = Vec::new();
        ndjson::encode_bye(&mut bye, 0);
        self.read(client, &bye);
    }

    pub(super) fn leave(&mut self, client: usize) {
        self.half_close(client);
        if self.dialect == Protocol::Ndjson {
            self.bye(client);
        }
        self.end(client, Ending::Eof);
    }

    pub(super) fn end(&mut self, client: usize, ending: Ending) {
        self.ledger
            .ended(self.clients[client], ending, b"", self.now_ns);
        self.saw(
            client,
            match ending {
                Ending::Ours => Saw::LettingGo,
                _ => Saw::Closed { unread_bytes: 0 },
            },
        );
    }

    pub(super) fn hand_over(&mut self) {
        let batch = self.ledger.take_batch();
        self.judge.absorb(0, batch, |_| ());
    }

    pub(super) fn finish(mut self) -> Findings {
        self.hand_over();
        self.judge.finish(false, |_| ())
    }
}

pub(super) fn kinds(findings: &Findings) -> Vec<(Kind, u64)> {
    let all = findings.violations.iter();
    all.map(|(kind, tally)| (*kind, tally.count)).collect()
}

const ORDERS: [OrderPromise; 4] = [
    OrderPromise::None,
    OrderPromise::Fifo,
    OrderPromise::Causal,
    OrderPromise::Total,
];

pub(super) fn in_order(order: OrderPromise) -> Promises {
    Promises {
        order,
        ..INFERRED_ORDER
    }
}

/// What each promise of order makes of a history in which `play` happens.
fn by_order(play: fn(&mut Bench)) -> Vec<Vec<(Kind, u64)>> {
    let found = ORDERS.map(|order| {
        let mut bench = Bench::new(in_order(order), Protocol::Ndjson, 4);
        play(&mut bench);
        (0..4).for_each(|client| bench.leave(client));
        let findings = bench.finish();
        assert_eq!(findings.undecided, [""; 0], "{order:?}");
        kinds(&findings)
    });
    found.into()
}

#[test]
fn one_senders_messages_exchanged_break_every_order_but_none() {
    let found = by_order(|bench| {
        bench.send(0, false);
        bench.send(0, false);
        for (to, ks) in [(1, [1, 2]), (2, [2, 1]), (3, [1, 2])] {
            ks.into_iter().for_each(|k| bench.relay(to, 0, k));
        }
        bench.ack(0, 1);
        bench.ack(0, 2);
    });
    let reordered = vec![(Kind::ReorderedRelay, 1)];
    assert_eq!(
        found,
        [vec![], reordered.clone(), reordered.clone(), reordered]
    );
}

#[test]
fn an_effect_before_its_cause_breaks_causal_and_total_order() {
    let found = by_order(|bench| {
        bench.send(0, false);
        bench.relay(1, 0, 1);
        bench.send(1, false);
        bench.relay(0, 1, 1);
        for to in [2, 3] {
            bench.relay(to, 1, 1);
            bench.relay(to, 0, 1);
        }
        bench.ack(0, 1);
        bench.ack(1, 1);
    });
    let causality = vec![(Kind::Causality, 1)];
    assert_eq!(found, [vec![], vec![], causality.clone(), causality]);
}

#[test]
fn two_receivers_with_two_orders_break_total_order_alone() {
    let found = by_order(|bench| {
        bench.send(0, false);
        bench.send(1, false);
        bench.relay(0, 1, 1);
        bench.relay(1, 0, 1);
        for (to, first, then) in [(2, 0, 1), (3, 1, 0)] {
            bench.relay(to, first, 1);
            bench.relay(to, then, 1);
        }
        bench.ack(0, 1);
        bench.ack(1, 1);
    });
    assert_eq!(
        found,
        [vec![], vec![], vec![], vec![(Kind::OrderDivergence, 1)]]
    );
}

#[test]
fn what_comes_again_or_not_at_all_is_counted_and_a_violation_where_that_is_promised() {
    let again = |relay: RelayPromise, times: usize| {
        let promises = Promises {
            relay,
            ..INFERRED_ORDER
        };
        let mut bench = Bench::new(promises, Protocol::Ndjson, 3);
        bench.send(0, false);
        bench.send(0, false);
        (0..times).for_each(|_| bench.relay(1, 0, 1));
        bench.relay(1, 0, 2);
        bench.relay(2, 0, 1);
        bench.relay(2, 0, 2);
        bench.ack(0, 1);
        bench.ack(0, 2);
        (0..3).for_each(|client| bench.leave(client));
        let findings = bench.finish();
        let counts = findings.counts;
        (kinds(&findings), counts.duplicated, counts.lost)
    };
    use RelayPromise::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let twice = vec![(Kind::DuplicateRelay, 1)];
    let lost = vec![(Kind::LostRelay, 1)];
    assert_eq!(again(ExactlyOnce, 2), (twice.clone(), 1, 0));
    assert_eq!(again(AtMostOnce, 2), (twice, 1, 0));
    assert_eq!(again(AtLeastOnce, 2), (vec![], 1, 0));
    assert_eq!(again(ExactlyOnce, 0), (lost.clone(), 0, 1));
    assert_eq!(again(AtLeastOnce, 0), (lost, 0, 1));
    assert_eq!(again(AtMostOnce, 0), (vec![], 0, 1));
}

#[test]
fn an_echo_is_owed_where_it_is_promised_and_wrong_where_it_is_not() {
    for (promised, comes) in [(true, true), (true, false), (false, true), (false, false)] {
        let promises = Promises {
            echo: promised,
            ..INFERRED_ORDER
        };
        let mut bench = Bench::new(promises, Protocol::Ndjson, 2);
        bench.send(0, false);
        if comes {
            bench.relay(0, 0, 1);
        }
        bench.relay(1, 0, 1);
        bench.ack(0, 1);
        (0..2).for_each(|client| bench.leave(client));
        let expected = match (promised, comes) {
            (true, false) => vec![(Kind::LostRelay, 1)],
            (false, true) => vec![(Kind::EchoedRelay, 1)],
            _ => vec![],
        };
        assert_eq!(kinds(&bench.finish()), expected, "{promised} {comes}");
    }
}

#[test]
fn where_no_acks_are_promised_none_is_missed_and_any_is_stray() {
    for acked in [false, true] {
        let promises = Promises {
            ack: AckPromise::None,
            ..INFERRED_ORDER
        };
        let mut bench = Bench::new(promises, Protocol::Ndjson, 2);
        bench.send(0, false);
        bench.relay(1, 0, 1);
        if acked {
            bench.ack(0, 1);
        }
        (0..2).for_each(|client| bench.leave(client));
        let expected = if acked {
            vec![(Kind::StrayAck, 1)]
        } else {
            vec![]
        };
        assert_eq!(kinds(&bench.finish()), expected);
    }
}

/// Its own message does not stand before what a client reads next because it was acked: it will
/// read it itself.
#[test]
fn an_echo_may_come_after_its_ack() {
    let promises = Promises {
        echo: true,
        ..INFERRED_ORDER
    };
    let mut bench = Bench::new(promises, Protocol::Ndjson, 2);
    bench.send(0, false);
    bench.ack(0, 1);
    bench.relay(0, 0, 1);
    bench.relay(1, 0, 1);
    (0..2).for_each(|client| bench.leave(client));
    assert_eq!(kinds(&bench.finish()), []);
}

/// A client was there for what it sent itself, whenever others get that.
#[test]
fn an_echo_is_missed_by_who_left_before_anybody_got_the_message() {
    let promises = Promises {
        ack: AckPromise::None,
        echo: true,
        ..in_order(OrderPromise::None)
    };
    for dialect in [Protocol::Ndjson, Protocol::Classic] {
        let mut bench = Bench::new(promises, dialect, 2);
        bench.send(0, false);
        bench.leave(0);
        bench.relay(1, 0, 1);
        bench.leave(1);
        assert_eq!(kinds(&bench.finish()), [(Kind::LostRelay, 1)]);
    }
}

/// Without acks, what was swallowed whole is missed once the target has answered its sender's
/// goodbye: by then it had read the message.
#[test]
fn what_nobody_got_is_lost_though_no_acks_are_promised() {
    for order in ORDERS {
        let promises = Promises {
            ack: AckPromise::None,
            ..in_order(order)
        };
        let mut bench = Bench::new(promises, Protocol::Ndjson, 3);
        bench.send(0, true);
        (0..3).for_each(|client| bench.leave(client));
        assert_eq!(kinds(&bench.finish()), [(Kind::LostRelay, 2)], "{order:?}");
        let mut bench = Bench::new(promises, Protocol::Ndjson, 3);
        bench.send(0, true);
        bench.end(0, Ending::Ours);
        (1..3).for_each(|client| bench.leave(client));
        assert_eq!(kinds(&bench.finish()), [], "nothing says that it was read");
    }
}

/// Who was cut off has proof of everything that its senders said before their last words.
#[test]
fn a_fence_decides_what_no_goodbye_does() {
    for (fence, lost) in [(true, false), (true, true), (false, false)] {
        let mut bench = Bench::new(in_order(OrderPromise::Fifo), Protocol::Classic, 3);
        bench.send(0, false);
        bench.send(0, false);
        bench.send(0, true);
        for k in 1..=3 {
            bench.relay(2, 0, k);
            bench.ack(0, k as u64);
            if !(lost && k == 2) && (fence || k < 3) {
                bench.relay(1, 0, k);
            }
        }
        bench.leave(0);
        bench.leave(2);
        bench.end(1, Ending::TimeUp);
        let findings = bench.finish();
        let expected = if lost {
            vec![(Kind::LostRelay, 1)]
        } else {
            vec![]
        };
        assert_eq!(kinds(&findings), expected);
        assert_eq!(
            findings.undecided.len(),
            usize::from(!fence),
            "{:?}",
            findings.undecided
        );
    }
}

/// Acks that name an address and nothing else.
#[test]
fn anonymous_acks_are_counted() {
    let acks = |play: fn(&mut Bench)| {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 3);
        for k in 1..=2 {
            bench.send(0, false);
            bench.relay(1, 0, k);
            bench.relay(2, 0, k);
        }
        play(&mut bench);
        (0..3).for_each(|client| bench.leave(client));
        kinds(&bench.finish())
    };
    let both = |bench: &mut Bench| (1..=2).for_each(|k| bench.ack(0, k));
    assert_eq!(acks(both), []);
    assert_eq!(acks(|bench| bench.ack(0, 1)), [(Kind::MissingAck, 1)]);
    assert_eq!(acks(|_| ()), [(Kind::MissingAck, 2)]);
    let thrice = acks(|bench| (1..=3).for_each(|k| bench.ack(0, k)));
    assert_eq!(thrice, [(Kind::DuplicateAck, 1)]);
    let never_sent = acks(|bench| {
        (1..=2).for_each(|k| bench.ack(0, k));
        bench.ack(1, 1);
    });
    assert_eq!(never_sent, [(Kind::StrayAck, 1)]);
    let astray = acks(|bench| {
        bench.ack(0, 1);
        let mut ack = Vec::new();
        classic::encode_ack(&mut ack, &address(0));
        bench.read(1, &ack);
    });
    assert_eq!(astray, [(Kind::StrayAck, 1)], "and not a missing ack, too");
}

/// An ack of the classic dialect does not say which message it is for: each that went astray
/// excuses one.
#[test]
fn an_ack_astray_excuses_one_message_and_no_more() {
    for overdue in [false, true] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 2);
        bench.send(0, false);
        bench.send(0, true);
        for k in [1, 2] {
            bench.relay(1, 0, k);
        }
        let mut ack = Vec::new();
        classic::encode_ack(&mut ack, &address(0));
        bench.read(1, &ack);
        if overdue {
            bench.ledger.overdue_acks(bench.clients[0], "1s", 1_000);
        }
        bench.leave(0);
        bench.leave(1);
        let expected = [(Kind::MissingAck, 1), (Kind::StrayAck, 1)];
        assert_eq!(kinds(&bench.finish()), expected, "overdue: {overdue}");
    }
}

#[test]
fn text_that_is_no_frame_and_a_relay_cut_short_are_named() {
    let text = |bytes: &'static [u8]| {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 3);
        bench.send(0, false);
        bench.relay(2, 0, 1);
        bench.relay(1, 0, 1);
        bench.ack(0, 1);
        bench.read(1, bytes);
        (0..3).for_each(|client| bench.leave(client));
        kinds(&bench.finish())
    };
    assert_eq!(text(b"and another thing"), [(Kind::MalformedFrame, 1)]);
    let blank = "127.0.0.1:10000 地址发送了请求消息：".as_bytes();
    assert_eq!(text(blank), [(Kind::PhantomRelay, 1)]);
    let cut = "127.0.0.1:10000 地址发送了请求消息：cbmAAAwABC".as_bytes();
    assert_eq!(text(cut), [(Kind::AlteredRelay, 1)]);
}

/// Sends `count` messages of client 0, each to all of `to`.
pub(super) fn talk(bench: &mut Bench, count: usize, to: &[usize]) {
    for n in 1..=count {
        bench.send(0, false);
        let k = bench.sent[0].len();
        bench.ack(0, k as u64);
        to.iter().for_each(|&client| bench.relay(client, 0, k));
        if n % 1000 == 0 {
            bench.hand_over();
        }
    }
}

/// What came long ago is still told from what never came, and that from what was never owed.
#[test]
fn an_old_message_is_a_duplicate_to_who_was_there_and_stale_to_who_was_not() {
    for (to, kind) in [(1, Kind::DuplicateRelay), (3, Kind::StaleRelay)] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, 10_000, &[1, 2]);
        bench.join();
        bench.relay(to, 0, 1);
        talk(&mut bench, 1, &[1, 2, 3]);
        (0..4).for_each(|client| bench.leave(client));
        assert_eq!(kinds(&bench.finish()), [(kind, 1)]);
    }
}

/// A message that checks out, of somebody who is there and never sent it, or of nobody.
#[test]
fn a_message_that_its_sender_never_sent_is_a_phantom() {
    for (sender, sent, k) in [(0, 0, 1), (0, 2, 3), (0, 2, 0), (77, 0, 1)] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, sent, &[1, 2]);
        let header = Header {
            run: RUN,
            sender: SenderId(sender),
            k,
            last: false,
            intended_ns: 5,
            previous_ns: 0,
        };
        let mut text = Vec::new();
        payload::encode(&mut text, SEED, &header, bench.size);
        let mut relay = Vec::new();
        let text = String::from_utf8(text).unwrap();
        ndjson::encode_relay(&mut relay, 0, &address(sender as usize), &text);
        bench.read(1, &relay);
        (0..3).for_each(|client| bench.leave(client));
        let found = kinds(&bench.finish());
        assert_eq!(found, [(Kind::PhantomRelay, 1)], "{k} of {sender}");
    }
}

/// A message that so many others have overtaken is given up, and reported while the run goes on.
#[test]
fn what_a_thousand_others_have_overtaken_is_lost() {
    for comes_late in [false, true] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, 5, &[1, 2]);
        talk(&mut bench, 1, &[1]);
        talk(&mut bench, 1100, &[1, 2]);
        bench.hand_over();
        assert_eq!(bench.judge.violation_count(), 1);
        if comes_late {
            bench.relay(2, 0, 6);
        }
        (0..3).for_each(|client| bench.leave(client));
        let findings = bench.finish();
        let expected = match comes_late {
            true => (Kind::ReorderedRelay, 1),
            false => (Kind::LostRelay, 1),
        };
        assert_eq!(kinds(&findings), [expected]);
        assert_eq!(findings.counts.lost, u64::from(!comes_late));
        assert_eq!(findings.undecided, [""; 0]);
    }
}

/// It was given up so long ago that nothing is known of it but that.
#[test]
fn what_comes_long_after_it_was_given_up_is_neither_lost_nor_a_duplicate() {
    for again in [false, true] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, 5, &[1, 2]);
        talk(&mut bench, 1, &[1]);
        talk(&mut bench, 8000, &[1, 2]);
        bench.hand_over();
        bench.relay(2, 0, 6);
        if again {
            bench.relay(2, 0, 5);
        }
        (0..3).for_each(|client| bench.leave(client));
        let findings = bench.finish();
        let expected = [(Kind::DuplicateRelay, 1)];
        assert_eq!(kinds(&findings), expected[..usize::from(again)]);
        assert_eq!(findings.counts.lost, 0);
        assert_eq!(findings.undecided.len(), 1, "{:?}", findings.undecided);
    }
}

/// Acked, and nobody has it when all have got a thousand later ones: then one gets it.
#[test]
fn what_reaches_one_long_after_is_lost_to_the_other_alone() {
    let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
    talk(&mut bench, 5, &[1, 2]);
    talk(&mut bench, 1, &[]);
    talk(&mut bench, 1100, &[1, 2]);
    bench.hand_over();
    bench.relay(2, 0, 6);
    (0..3).for_each(|client| bench.leave(client));
    let expected = [(Kind::LostRelay, 1), (Kind::ReorderedRelay, 1)];
    assert_eq!(kinds(&bench.finish()), expected);
}

/// Client 3 joins while client 0's message is under way, and never gets it. Whether it was owed it
/// is shown by who got that after something that 3 got, if anybody did.
#[test]
fn what_a_newcomer_passed_over_long_ago_is_lost_if_it_was_owed() {
    for owed in [false, true] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        talk(&mut bench, 1, &[1, 2]);
        bench.send(0, false);
        bench.join();
        if !owed {
            [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 2));
        }
        bench.send(1, false);
        [0, 2, 3].into_iter().for_each(|to| bench.relay(to, 1, 1));
        if owed {
            [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 2));
        }
        bench.ack(0, 2);
        bench.ack(1, 1);
        for k in 2..1200 {
            bench.send(1, false);
            bench.ack(1, k as u64);
            [0, 2, 3].into_iter().for_each(|to| bench.relay(to, 1, k));
        }
        bench.hand_over();
        assert_eq!(bench.judge.violation_count(), u64::from(owed));
        (0..4).for_each(|client| bench.leave(client));
        let findings = bench.finish();
        let lost = if owed {
            vec![(Kind::LostRelay, 1)]
        } else {
            vec![]
        };
        assert_eq!(kinds(&findings), lost);
        assert_eq!(findings.counts.optional, u64::from(!owed));
    }
}

/// Without an order among senders nothing that others send says that a message will not come.
#[test]
fn what_was_passed_over_may_yet_come_where_only_each_senders_order_is_promised() {
    for own_later in [false, true] {
        let mut bench = Bench::new(in_order(OrderPromise::Fifo), Protocol::Ndjson, 3);
        bench.send(1, false);
        bench.relay(2, 1, 1);
        bench.ack(1, 1);
        bench.relay(0, 1, 1);
        talk(&mut bench, 1, &[1]);
        if own_later {
            talk(&mut bench, 1, &[1, 2]);
        }
        for k in 2..1200 {
            bench.send(1, false);
            bench.ack(1, k as u64);
            [0, 2].into_iter().for_each(|to| bench.relay(to, 1, k));
        }
        bench.hand_over();
        // Not lost: with none of its sender's before it, it may have been sent before the join.
        bench.relay(2, 0, 1);
        (0..3).for_each(|client| bench.leave(client));
        let expected = if own_later {
            vec![(Kind::ReorderedRelay, 1)]
        } else {
            vec![]
        };
        assert_eq!(kinds(&bench.finish()), expected);
    }
}

/// What stands for a message that did not come stands for it long after, too.
#[test]
fn what_came_altered_long_ago_is_not_lost_besides() {
    let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
    talk(&mut bench, 5, &[1, 2]);
    talk(&mut bench, 1, &[1]);
    bench.relay_altered(2, 0, 6);
    talk(&mut bench, 1100, &[1, 2]);
    bench.hand_over();
    (0..3).for_each(|client| bench.leave(client));
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::AlteredRelay, 1)]);
    assert_eq!(findings.counts.optional, 0);
}

/// Of two that connect at the same time nobody knows which the target takes first.
#[test]
fn who_began_to_connect_before_another_stood_need_not_have_been_taken_after_it() {
    let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 0);
    bench.connect_at_once(2);
    bench.send(1, false);
    bench.ack(1, 1);
    (0..2).for_each(|client| bench.leave(client));
    assert_eq!(kinds(&bench.finish()), []);
}

/// What everybody has passed is judged and counted while the run goes on: nothing waits for an
/// ack that is still to come, nor for a newcomer who will not get it.
#[test]
fn what_everybody_has_passed_is_settled_at_once() {
    for (acked, newcomer) in [(false, false), (true, true)] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
        bench.send(0, false);
        [1, 2].into_iter().for_each(|to| bench.relay(to, 0, 1));
        if acked {
            bench.ack(0, 1);
        }
        bench.send(1, false);
        bench.ack(1, 1);
        [0, 2].into_iter().for_each(|to| bench.relay(to, 1, 1));
        if newcomer {
            bench.join();
        }
        let mut settled = 0;
        let batch = bench.ledger.take_batch();
        bench.judge.absorb(0, batch, |_| settled += 1);
        assert_eq!(settled, 2, "acked {acked}, newcomer {newcomer}");
    }
}

/// More messages than the window holds: that nothing was compared is said.
#[test]
fn a_receiver_further_behind_than_the_window_leaves_the_run_undecided() {
    let mut bench = Bench::new(INFERRED_ORDER, Protocol::Ndjson, 3);
    let count = (1 << 18) + 1000;
    talk(&mut bench, count, &[1]);
    (1..=count).for_each(|k| bench.relay(2, 0, k));
    (0..3).for_each(|client| bench.leave(client));
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [], "it got everything");
    assert_eq!(findings.counts.delivered, 2 * count as u64);
    assert_eq!(findings.undecided.len(), 1, "{:?}", findings.undecided);
    assert!(findings.undecided[0].contains("far behind"));
}

/// Without a promised order nothing is out of order, and what is late is not lost.
#[test]
fn without_order_nothing_is_lost_before_the_end() {
    let mut bench = Bench::new(in_order(OrderPromise::None), Protocol::Ndjson, 3);
    talk(&mut bench, 5, &[1, 2]);
    talk(&mut bench, 1, &[1]);
    talk(&mut bench, 1100, &[1, 2]);
    bench.relay(2, 0, 6);
    (0..3).for_each(|client| bench.leave(client));
    let findings = bench.finish();
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.counts.delivered, 2 * 1106);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let text =
        (0_u32..6, 0_u64..5, any::<bool>(), 0_usize..60).prop_map(|(sender, k, last, cut)| {
            let header = Header {
                run: RUN,
                sender: SenderId(sender),
                k,
                last,
                intended_ns: k,
                previous_ns: 0,
            };
            let mut text = Vec::new();
            payload::encode(&mut text, SEED, &header, payload::HEADER_BYTES);
            text.truncate(cut);
            String::from_utf8(text).unwrap()
        });
    let relay = (0_usize..6, text).prop_flat_map(|(from, text)| {
        let mut line = Vec::new();
        ndjson::encode_relay(&mut line, 1, &address(from), &text);
        let mut bare = Vec::new();
        classic::encode_relay(&mut bare, &address(from), &text);
        prop_oneof![Just(line), Just(bare)]
    });
    let ack = (0_usize..6, 0_u64..5).prop_flat_map(|(of, k)| {
        let mut line = Vec::new();
        ndjson::encode_ack(&mut line, k, Some(publish_id(SenderId(of as u32), k)));
        let mut bare = Vec::new();
        classic::encode_ack(&mut bare, &address(of));
        prop_oneof![Just(line), Just(bare)]
    });
    let frame = prop_oneof![
        Just(br#"{"type":"bye","seq":1}"#.to_vec()),
        Just(br#"{"type":"error","code":"malformed","id":1}"#.to_vec()),
        Just(br#"{"type":"welcome","protocol":1,"client_ip":"x","seq":1,"max_line":9}"#.to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![4 => relay, 2 => ack, 1 => frame.prop_map(|mut f| { f.push(b'\n'); f })]
}

proptest! {
    #![proptest_config(super::config(300))]

    /// Nothing that a target sends panics, whatever it promised.
    #[test]
    fn a_hostile_target_is_data(
        order in prop::sample::select(ORDERS.to_vec()),
        echo: bool,
        classic: bool,
        steps in prop::collection::vec((0_usize..5, 0_u32..9, hostile()), 0..120),
    ) {
        let promises = Promises { echo, ..in_order(order) };
        let dialect = if classic { Protocol::Classic } else { Protocol::Ndjson };
        let mut bench = Bench::new(promises, dialect, 5);
        for (client, action, bytes) in steps {
            let handle = bench.clients[client];
            match action {
                0 => bench.send(client, false),
                1 => bench.ledger.leaving(handle, bench.now_ns),
                2 => bench.hand_over(),
                3 => {
                    bench.ledger.ended(handle, Ending::Eof, &bytes, bench.now_ns);
                    bench.clients[client] = bench.ledger.connecting(ClientId(client as u32)).unwrap();
                }
                _ => drop(bench.read(client, &bytes)),
            }
        }
        (0..5).for_each(|client| bench.end(client, Ending::Eof));
        let counts = bench.finish().counts;
        prop_assert!(counts.delivered + counts.lost <= counts.owed);
    }
}

/// The ack says by whom, and not of which message: each that went astray excuses one.
#[test]
fn an_anonymous_ack_astray_excuses_one_message_that_is_waited_for() {
    for (astray, expected) in [
        (1, &[(Kind::MissingAck, 1), (Kind::StrayAck, 1)][..]),
        (2, &[(Kind::StrayAck, 2)]),
    ] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 3);
        let mut acked = Vec::new();
        classic::encode_ack(&mut acked, &address(0));
        for wait in 0..2 {
            bench.send(0, false);
            if wait < astray {
                bench.read(1, &acked);
            }
            let handle = bench.clients[0];
            bench.ledger.overdue_acks(handle, "1s", bench.now_ns);
        }
        bench.end(0, Ending::Ours);
        bench.leave(1);
        bench.leave(2);
        assert_eq!(kinds(&bench.finish()), expected, "{astray}");
    }
}

/// Who sent what a classic target cannot take may be hung up on, and who sent what it can may not.
#[test]
fn a_classic_script_that_provokes_a_target_may_be_hung_up_on() {
    for (raw, provoking) in [
        (&b"{\"message\":\"hello\"}"[..], false),
        (b"{\"message\":\"\"}", true),
        (b"{\"message\":\"\"}{\"message\":\"hello\"}", true),
        (b"not json", true),
    ] {
        let mut bench = Bench::new(INFERRED_ORDER, Protocol::Classic, 2);
        bench
            .ledger
            .sending_raw(bench.clients[0], &conns::raw_in(Protocol::Classic, raw));
        bench.end(0, Ending::Eof);
        bench.leave(1);
        let found = kinds(&bench.finish());
        let hung_up = found.contains(&(Kind::UnexpectedClose, 1));
        assert_eq!(hung_up, !provoking, "{raw:?}: {found:?}");
    }
}
