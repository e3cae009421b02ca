//! Rooms, driven by hand: what is said to whom, and what follows from it, whether the target is
//! held to its numbers or judged by inferred order.

use std::sync::Arc;

use super::world::{SEED, address, terms};
use crate::directory::{ClientId, Directory};
use crate::findings::Findings;
use crate::ids::publish_id;
use crate::judge::{Judge, Settled};
use crate::kind::Kind;
use crate::ledger::{Ending, Event, Handle, Ledger, Terms};
use crate::promises::{AckPromise, OrderPromise};
use chatbench_wire::ndjson;
use chatbench_wire::payload::{self, Header};
use chatbench_wire::protocol::{AnyConn, Opening, Protocol};
use chatbench_wire::rooms::{RoomId, RoomNames};
use chatbench_wire::seen::{Capabilities, RawFrame, RawSent, Relay, Seen};

pub(super) const LOBBY: RoomId = RoomId(1);
pub(super) const HALL: RoomId = RoomId(2);

/// Held to its numbers, and judged by inferred order.
pub(super) fn both() -> [Terms; 2] {
    let inferred = Terms {
        promises: super::fault_table::INFERRED_ORDER,
        ..terms()
    };
    [terms(), inferred]
}

/// Clients of a target that has rooms, in shards of one judge.
pub(super) struct House {
    pub(super) ledgers: Vec<Ledger>,
    pub(super) judge: Judge,
    pub(super) names: Arc<RoomNames>,
    pub(super) clients: Vec<Guest>,
    now_ns: u64,
}

/// A client.
pub(super) struct Guest {
    pub(super) shard: usize,
    pub(super) handle: Handle,
    conn: AnyConn,
    /// What its last frame was taken for.
    pub(super) events: Vec<(RoomId, Event)>,
}

impl House {
    pub(super) fn new(terms: Terms, shards: usize) -> Self {
        let names = Arc::new(RoomNames::new(["lobby", "hall"]));
        let clients = (0..8).map(|i| format!("c{i}")).collect();
        let all: Vec<usize> = (0..shards).collect();
        let directory = Directory::new(clients).with_rooms(names.clone());
        let directory =
            directory
                .with_shards(shards)
                .with_shards_by_room(&[all.clone(), all.clone(), all]);
        let directory = Arc::new(directory);
        let ledger = |shard| Ledger::of_shard(shard, terms, directory.clone());
        let ledgers = (0..shards).map(ledger);
        Self {
            ledgers: ledgers.collect(),
            judge: Judge::new(directory, shards, terms.late_after_ns),
            names,
            clients: Vec::new(),
            now_ns: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.now_ns += 1000;
        self.now_ns
    }

    fn at(&self, who: usize) -> (usize, Handle) {
        (self.clients[who].shard, self.clients[who].handle)
    }

    /// One more client connects, and is welcomed.
    pub(super) fn enter(&mut self, shard: usize, seq: u64) -> usize {
        let who = self.clients.len();
        let ledger = &mut self.ledgers[shard];
        let handle = ledger.connecting(ClientId(who as u32)).unwrap();
        ledger.connected(handle, address(who).parse().unwrap());
        let opening = Opening {
            rooms: self.names.clone(),
            ..Opening::reading(65_536)
        };
        let conn = Protocol::Ndjson.open(&opening, &mut Vec::new());
        self.clients.push(Guest {
            shard,
            handle,
            conn,
            events: Vec::new(),
        });
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address(who), seq, 65_536);
        self.hears(who, &welcome);
        who
    }

    /// A client is sent these bytes.
    pub(super) fn hears(&mut self, who: usize, bytes: &[u8]) -> &[(RoomId, Event)] {
        let now_ns = self.tick();
        let Guest {
            shard,
            handle,
            conn,
            events,
        } = &mut self.clients[who];
        events.clear();
        let out = &mut Vec::new();
        self.ledgers[*shard].read(*handle, conn, bytes, out, now_ns, |room, event| {
            events.push((room, event));
        });
        events
    }

    fn line(&self, room: RoomId) -> String {
        self.names.name(room).to_owned()
    }

    pub(super) fn asks_to_join(&mut self, who: usize, room: RoomId) {
        let (shard, handle) = self.at(who);
        assert!(self.ledgers[shard].joining(handle, room));
    }

    pub(super) fn joined(&mut self, who: usize, room: RoomId, seq: u64) {
        let line = format!(
            r#"{{"type":"joined","room":"{}","seq":{seq}}}"#,
            self.line(room)
        );
        self.hears(who, format!("{line}\n").as_bytes());
    }

    pub(super) fn joins(&mut self, who: usize, room: RoomId, seq: u64) {
        self.asks_to_join(who, room);
        self.joined(who, room, seq);
    }

    pub(super) fn asks_to_leave(&mut self, who: usize, room: RoomId) {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        self.ledgers[shard].leaving_room(handle, room, now_ns);
    }

    pub(super) fn left(&mut self, who: usize, room: RoomId, seq: u64) {
        let line = format!(
            r#"{{"type":"left","room":"{}","seq":{seq}}}"#,
            self.line(room)
        );
        self.hears(who, format!("{line}\n").as_bytes());
    }

    pub(super) fn says(&mut self, who: usize, room: RoomId) -> Header {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        let ledger = &mut self.ledgers[shard];
        ledger
            .sending_in(handle, room, now_ns, now_ns, false)
            .unwrap()
    }

    fn label(&self, room: RoomId) -> String {
        match room {
            RoomId::UNNAMED => String::new(),
            room => format!(r#""room":"{}","#, self.line(room)),
        }
    }

    pub(super) fn acked(&mut self, who: usize, room: RoomId, seq: u64, header: &Header) {
        let id = publish_id(header.sender, header.k);
        let label = self.label(room);
        let line = format!(r#"{{"type":"ack",{label}"seq":{seq},"id":{id}}}"#);
        self.hears(who, format!("{line}\n").as_bytes());
    }

    /// `who` is relayed a message of `from`.
    pub(super) fn relayed(&mut self, who: usize, room: RoomId, seq: u64, from: usize, h: &Header) {
        let line = self.relay(room, seq, from, h);
        self.hears(who, line.as_bytes());
    }

    pub(super) fn relay(&self, room: RoomId, seq: u64, from: usize, header: &Header) -> String {
        let mut text = Vec::new();
        payload::encode(&mut text, SEED, header, 80);
        let (label, text) = (self.label(room), String::from_utf8(text).unwrap());
        let from = address(from);
        format!(
            "{{\"type\":\"relay\",{label}\"seq\":{seq},\"client_ip\":\"{from}\",\
             \"message\":\"{text}\"}}\n"
        )
    }

    /// Every shard hands over what it has learned; returns what is complete then.
    pub(super) fn hand_over(&mut self) -> Vec<Settled> {
        let mut complete = Vec::new();
        for (shard, ledger) in self.ledgers.iter_mut().enumerate() {
            let batch = ledger.take_batch();
            self.judge
                .absorb(shard, batch, |settled| complete.push(settled));
        }
        complete
    }

    /// Half-closes, and is told these last numbers of its rooms, then that of the unnamed one.
    pub(super) fn leaves(&mut self, who: usize, rooms: &[(RoomId, u64)], bye: u64) {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        self.ledgers[shard].leaving(handle, now_ns);
        for &(room, seq) in rooms {
            self.left(who, room, seq);
        }
        self.hears(
            who,
            format!("{{\"type\":\"bye\",\"seq\":{bye}}}\n").as_bytes(),
        );
        self.ends(who, Ending::Eof);
    }

    pub(super) fn ends(&mut self, who: usize, ending: Ending) {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        self.ledgers[shard].ended(handle, ending, b"", now_ns);
    }

    pub(super) fn finish(mut self) -> Findings {
        self.hand_over();
        self.judge.finish(false, |_| ())
    }
}

/// A target that promises each sender's own order, and no more.
fn fifo() -> Terms {
    let mut terms = both()[1];
    terms.promises.order = OrderPromise::Fifo;
    terms
}

/// Nobody's clients but those of one shard are in a room, or nobody else's do anything there any more:
/// the other shards tell their part of what happens there all the same, and of other rooms nothing.
#[test]
fn a_shard_in_which_nothing_happens_in_a_room_tells_its_part_of_it() {
    let mut house = House::new(fifo(), 3);
    let [ann, bob, cat] = [0, 0, 1].map(|shard| house.enter(shard, 0));
    for who in [ann, bob, cat] {
        house.joins(who, LOBBY, 0);
    }
    house.joins(cat, HALL, 0);
    house.asks_to_leave(cat, LOBBY);
    house.left(cat, LOBBY, 0);
    house.hand_over();
    house.hand_over(); // those that were told of after they had handed over
    let batches: Vec<usize> = house
        .ledgers
        .iter_mut()
        .map(|l| l.take_batch().named.len())
        .collect();
    assert_eq!(batches, [0, 0, 0], "nothing has happened since");
    for seq in 1..=3 {
        let header = house.says(ann, LOBBY);
        house.acked(ann, LOBBY, seq, &header);
        house.relayed(bob, LOBBY, seq, ann, &header);
        let mut complete = house.hand_over();
        complete.extend(house.hand_over());
        let told: Vec<_> = complete.iter().map(|s| (s.room, s.receivers)).collect();
        assert_eq!(told, [(LOBBY, 1)], "message {seq}");
    }
    assert_eq!(kinds(&house.finish()), []);
}

/// Who is lost a message is found by the shard that drives it, where the sender is on another one.
#[test]
fn a_message_lost_to_a_member_on_another_shard_is_lost_once() {
    let mut house = House::new(fifo(), 2);
    let [ann, bob, cat] = [0, 0, 1].map(|shard| house.enter(shard, 0));
    for who in [ann, bob, cat] {
        house.joins(who, LOBBY, 0);
    }
    for seq in 1..=3 {
        let header = house.says(ann, LOBBY);
        house.acked(ann, LOBBY, seq, &header);
        house.relayed(bob, LOBBY, seq, ann, &header);
        if seq != 2 {
            house.relayed(cat, LOBBY, seq, ann, &header);
        }
    }
    for who in [ann, bob, cat] {
        house.leaves(who, &[(LOBBY, 3)], 0);
    }
    let findings = house.finish();
    assert_eq!(kinds(&findings), [(Kind::LostRelay, 1)]);
    assert!(
        only_text(&findings).contains("c2 was owed message 2 of c0"),
        "{}",
        only_text(&findings)
    );
}

fn kinds(findings: &Findings) -> Vec<(Kind, u64)> {
    let violations = findings.violations.iter();
    violations
        .map(|(&kind, tally)| (kind, tally.count))
        .collect()
}

fn only_text(findings: &Findings) -> &str {
    assert_eq!(findings.violation_count(), 1, "{:#?}", findings.violations);
    let examples = findings
        .violations
        .values()
        .flat_map(|tally| &tally.examples);
    &examples.into_iter().next().unwrap().text
}

#[test]
fn what_is_right_in_rooms_is_not_accused() {
    for terms in both() {
        for shards in 1..=if terms.are_numbered() { 2 } else { 1 } {
            let mut house = House::new(terms, shards);
            let [ann, bob, cat] = [0, 1, 2].map(|i| house.enter(i % shards, 0));
            house.joins(ann, LOBBY, 0);
            house.joins(bob, LOBBY, 0);
            house.joins(bob, HALL, 0);
            house.joins(cat, HALL, 0);
            let one = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, 1, &one);
            house.relayed(bob, LOBBY, 1, ann, &one);
            let two = house.says(bob, HALL);
            house.acked(bob, HALL, 1, &two);
            house.relayed(cat, HALL, 1, bob, &two);
            let three = house.says(cat, RoomId::UNNAMED);
            house.acked(cat, RoomId::UNNAMED, 1, &three);
            for who in [ann, bob] {
                house.relayed(who, RoomId::UNNAMED, 1, cat, &three);
            }
            house.hand_over();
            house.asks_to_leave(bob, LOBBY);
            house.left(bob, LOBBY, 1);
            let four = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, 2, &four);
            house.joins(bob, LOBBY, 2);
            let five = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, 3, &five);
            house.relayed(bob, LOBBY, 3, ann, &five);
            house.leaves(ann, &[(LOBBY, 3)], 1);
            house.leaves(bob, &[(HALL, 1), (LOBBY, 3)], 1);
            house.leaves(cat, &[(HALL, 1)], 1);
            let findings = house.finish();
            assert_eq!(kinds(&findings), [], "{:#?}", findings.violations);
            assert_eq!(findings.undecided, [""; 0]);
            let counts = findings.counts;
            assert_eq!((counts.sessions, counts.sent, counts.acked), (3, 5, 5));
            assert_eq!((counts.delivered, counts.owed, counts.lost), (5, 5, 0));
            let by_room = findings.rooms.iter().map(|room| {
                let counts = room.counts;
                (room.name.as_str(), counts.sessions, counts.delivered)
            });
            let by_room: Vec<_> = by_room.collect();
            assert_eq!(by_room, [("lobby", 3, 2), ("hall", 2, 1)]);
        }
    }
}

/// A script that sent bytes about rooms may be told anything for that; that its client was let into
/// the room that it asks for afterwards counts, and that it was not is not held against the target.
#[test]
fn who_sent_raw_bytes_about_rooms_is_let_in_all_the_same() {
    for terms in both() {
        for answered in [true, false] {
            let mut house = House::new(terms, 1);
            let [ann, bob] = [0; 2].map(|shard| house.enter(shard, 0));
            house.joins(bob, LOBBY, 0);
            let raw = RawSent {
                frames: vec![RawFrame::InRoom],
                is_right: true,
                unfinished: false,
            };
            let (shard, handle) = house.at(ann);
            house.ledgers[shard].sending_raw(handle, &raw);
            house.joined(ann, HALL, 0);
            assert_eq!(house.clients[ann].events, [(HALL, Event::Other)]);
            house.asks_to_join(ann, LOBBY);
            if answered {
                house.joined(ann, LOBBY, 0);
                assert_eq!(house.clients[ann].events, [(LOBBY, Event::Welcome)]);
                let one = house.says(bob, LOBBY);
                house.acked(bob, LOBBY, 1, &one);
                house.relayed(ann, LOBBY, 1, bob, &one);
            } else {
                let now_ns = house.tick();
                house.ledgers[shard].not_let_in(handle, LOBBY, now_ns);
            }
            let last = u64::from(answered);
            house.leaves(bob, &[(LOBBY, last)], 0);
            let left: &[_] = if answered { &[(LOBBY, last)] } else { &[] };
            house.leaves(ann, left, 0);
            let findings = house.finish();
            assert_eq!(kinds(&findings), [], "{:#?}", findings.violations);
            assert_eq!(findings.counts.delivered, last);
        }
    }
}

/// Ann and Bob are in the lobby, Bob and Cat in the hall.
fn house(terms: Terms) -> (House, [usize; 3]) {
    let mut house = House::new(terms, 1);
    let all = [0; 3].map(|shard| house.enter(shard, 0));
    house.joins(0, LOBBY, 0);
    house.joins(1, LOBBY, 0);
    house.joins(1, HALL, 0);
    house.joins(2, HALL, 0);
    (house, all)
}

/// A message comes to somebody in another room of its own, labelled with a room that it is in: that
/// is one violation, and nothing else follows from it, whichever number it is given.
#[test]
fn a_message_under_the_name_of_another_room_is_in_the_wrong_room() {
    for terms in both() {
        for number in [1, 2, 7] {
            let (mut house, [ann, bob, cat]) = house(terms);
            let said = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, 1, &said);
            house.relayed(bob, LOBBY, 1, ann, &said);
            house.relayed(cat, HALL, number, ann, &said);
            for seq in 1..=2 {
                let said = house.says(bob, HALL);
                house.acked(bob, HALL, seq, &said);
                house.relayed(cat, HALL, seq, bob, &said);
            }
            house.leaves(ann, &[(LOBBY, 1)], 0);
            house.leaves(bob, &[(LOBBY, 1), (HALL, 2)], 0);
            house.leaves(cat, &[(HALL, 2)], 0);
            let findings = house.finish();
            let of_number = match terms.are_numbered() {
                true => format!(" (number {number})"),
                false => String::new(),
            };
            let expected = format!(
                "c2 got message 1 of c0{of_number} in room hall, and it was published in room lobby"
            );
            assert_eq!(only_text(&findings), expected);
            assert_eq!(findings.violations[&Kind::WrongRoom].count, 1);
            let example = &findings.violations[&Kind::WrongRoom].examples[0];
            assert_eq!(example.room.as_deref(), Some("hall"));
            let counts = findings.counts;
            assert_eq!((counts.delivered, counts.owed, counts.lost), (3, 3, 0));
            assert_eq!(findings.undecided, [""; 0]);
        }
    }
}

/// What comes under another label is lost in its own room, if it does not come there as well.
#[test]
fn a_message_in_the_wrong_room_is_lost_in_its_own() {
    for terms in both() {
        let (mut house, [ann, bob, cat]) = house(terms);
        let said = house.says(ann, LOBBY);
        house.acked(ann, LOBBY, 1, &said);
        house.relayed(bob, HALL, 1, ann, &said);
        let other = house.says(cat, HALL);
        house.acked(cat, HALL, 1, &other);
        house.relayed(bob, HALL, 1, cat, &other);
        house.leaves(ann, &[(LOBBY, 1)], 0);
        house.leaves(bob, &[(LOBBY, 1), (HALL, 1)], 0);
        house.leaves(cat, &[(HALL, 1)], 0);
        let findings = house.finish();
        let expected = [(Kind::WrongRoom, 1), (Kind::AckWithoutRelay, 1)];
        assert_eq!(kinds(&findings), expected, "{:#?}", findings.violations);
        let lost = &findings.violations[&Kind::AckWithoutRelay].examples[0];
        assert_eq!(lost.room.as_deref(), Some("lobby"));
        assert!(
            lost.text.starts_with("in room lobby, message 1 of c0"),
            "{}",
            lost.text
        );
    }
}

/// Who left a room, or never was in it, gets nothing of it.
#[test]
fn a_message_of_a_room_that_its_receiver_is_not_in_is_in_the_wrong_room() {
    for terms in both() {
        for had_left in [true, false] {
            let (mut house, [ann, bob, cat]) = house(terms);
            let receiver = if had_left { bob } else { cat };
            if had_left {
                house.asks_to_leave(bob, LOBBY);
                house.left(bob, LOBBY, 0);
            }
            let said = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, 1, &said);
            house.relayed(receiver, LOBBY, 1, ann, &said);
            if !had_left {
                house.relayed(bob, LOBBY, 1, ann, &said);
            }
            house.leaves(ann, &[(LOBBY, 1)], 0);
            match had_left {
                true => house.leaves(bob, &[(HALL, 0)], 0),
                false => house.leaves(bob, &[(LOBBY, 1), (HALL, 0)], 0),
            }
            house.leaves(cat, &[(HALL, 0)], 0);
            let findings = house.finish();
            let number = if terms.are_numbered() {
                " (number 1)"
            } else {
                ""
            };
            let (who, why) = match had_left {
                true => ("c1", "had left"),
                false => ("c2", "is not in"),
            };
            let expected =
                format!("{who} got message 1 of c0{number} in room lobby, which it {why}");
            assert_eq!(only_text(&findings), expected);
            assert_eq!(kinds(&findings), [(Kind::WrongRoom, 1)]);
        }
    }
}

/// A relay that came while the answer to the join was out: the number in the answer says whether it
/// was sent to somebody who was not there, or before the answer.
#[test]
fn a_relay_before_the_answer_to_a_join_is_judged_by_that_answer() {
    for (joined, kind) in [(1, Kind::WrongRoom), (0, Kind::MissingWelcome)] {
        let mut house = House::new(terms(), 1);
        let [ann, bob] = [0; 2].map(|shard| house.enter(shard, 0));
        house.joins(ann, LOBBY, 0);
        house.asks_to_join(bob, LOBBY);
        let said = house.says(ann, LOBBY);
        house.relayed(bob, LOBBY, 1, ann, &said);
        house.acked(ann, LOBBY, 1, &said);
        house.joined(bob, LOBBY, joined);
        let next = house.says(ann, LOBBY);
        house.acked(ann, LOBBY, 2, &next);
        house.relayed(bob, LOBBY, 2, ann, &next);
        house.leaves(ann, &[(LOBBY, 2)], 0);
        house.leaves(bob, &[(LOBBY, 2)], 0);
        let findings = house.finish();
        assert_eq!(kinds(&findings), [(kind, 1)], "{:#?}", findings.violations);
        assert_eq!(findings.undecided, [""; 0]);
    }
}

/// The answer to a join names a number, and the first message after it does not come.
#[test]
fn who_joined_too_late_has_lost_its_first_message() {
    for terms in both() {
        let (mut house, [ann, bob, cat]) = house(terms);
        house.joins(cat, LOBBY, 0);
        for seq in 1..=2 {
            let said = house.says(ann, LOBBY);
            house.acked(ann, LOBBY, seq, &said);
            house.relayed(bob, LOBBY, seq, ann, &said);
            if seq == 2 {
                house.relayed(cat, LOBBY, seq, ann, &said);
            }
        }
        house.leaves(ann, &[(LOBBY, 2)], 0);
        house.leaves(bob, &[(LOBBY, 2), (HALL, 0)], 0);
        house.leaves(cat, &[(HALL, 0), (LOBBY, 2)], 0);
        let findings = house.finish();
        assert_eq!(kinds(&findings), [(Kind::LostRelay, 1)]);
        assert!(only_text(&findings).starts_with("in room lobby, c2 was owed message 1 of c0"));
    }
}

/// The terms of a target that answers neither joins nor leaves, and does not say in which room a
/// message was published.
fn silent() -> Terms {
    let mut promises = super::fault_table::INFERRED_ORDER;
    promises.ack = AckPromise::None;
    Terms {
        promises,
        capabilities: Capabilities {
            rooms: true,
            ..Capabilities::default()
        },
        ..terms()
    }
}

impl House {
    /// A client connects that nobody welcomes, and asks to be let into these rooms.
    fn enters_unwelcomed(&mut self, rooms: &[RoomId]) -> usize {
        let who = self.clients.len();
        let handle = self.ledgers[0].connecting(ClientId(who as u32)).unwrap();
        self.ledgers[0].connected(handle, address(who).parse().unwrap());
        self.clients.push(Guest {
            shard: 0,
            handle,
            conn: Protocol::Ndjson.open(&Opening::reading(65_536), &mut Vec::new()),
            events: Vec::new(),
        });
        for &room in rooms {
            self.asks_to_join(who, room);
        }
        who
    }

    /// `who` is told that it is taken in, and as nobody.
    fn is_let_in(&mut self, who: usize) {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        let open = Seen::Open {
            seq: 0,
            me: "".into(),
        };
        self.ledgers[shard].saw_in(handle, RoomId::UNNAMED, &open, now_ns);
    }

    /// `who` gets a message, with nothing around it.
    fn gets(&mut self, who: usize, header: &Header) -> Event {
        let now_ns = self.tick();
        let mut text = Vec::new();
        payload::encode(&mut text, SEED, header, 80);
        let relay = Relay {
            frame: &text,
            text: text.as_slice().into(),
            from: "".into(),
            seq: 0,
        };
        let (shard, handle) = self.at(who);
        self.ledgers[shard].saw_in(handle, RoomId::UNSTATED, &Seen::Relay(relay), now_ns)
    }

    fn goes(&mut self, who: usize) {
        let now_ns = self.tick();
        let (shard, handle) = self.at(who);
        self.ledgers[shard].leaving(handle, now_ns);
        self.ends(who, Ending::Eof);
    }
}

#[test]
fn where_nothing_says_so_the_sender_tells_the_room_and_what_comes_first_the_join() {
    let mut house = House::new(silent(), 1);
    let ann = house.enters_unwelcomed(&[LOBBY]);
    let bob = house.enters_unwelcomed(&[LOBBY, HALL]);
    let cat = house.enters_unwelcomed(&[HALL]);
    let missed = house.says(ann, LOBBY); // nothing says that bob was there by then
    let one = house.says(ann, LOBBY);
    assert!(matches!(house.gets(bob, &one), Event::Relay { .. }));
    let two = house.says(cat, HALL);
    assert!(matches!(house.gets(bob, &two), Event::Relay { .. }));
    assert_eq!((missed.k, one.k, two.k), (1, 2, 1));
    for who in [ann, cat, bob] {
        house.goes(who);
    }
    let findings = house.finish();
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.counts.delivered, 2);
}

#[test]
fn without_answers_a_message_that_is_lost_or_in_the_wrong_room_is_found() {
    let mut house = House::new(silent(), 1);
    let ann = house.enters_unwelcomed(&[LOBBY]);
    let bob = house.enters_unwelcomed(&[LOBBY, HALL]);
    let cat = house.enters_unwelcomed(&[HALL]);
    let said = [0; 3].map(|_| house.says(ann, LOBBY));
    house.gets(bob, &said[0]);
    house.gets(bob, &said[2]);
    house.gets(cat, &said[1]);
    for who in [ann, bob, cat] {
        house.goes(who);
    }
    let findings = house.finish();
    let expected = [(Kind::LostRelay, 1), (Kind::WrongRoom, 1)];
    assert_eq!(kinds(&findings), expected);
}

#[test]
fn who_left_without_an_answer_may_get_what_was_on_its_way() {
    let mut house = House::new(silent(), 1);
    let ann = house.enters_unwelcomed(&[LOBBY]);
    let bob = house.enters_unwelcomed(&[LOBBY]);
    let said = [0; 3].map(|_| house.says(ann, LOBBY));
    house.gets(bob, &said[0]);
    house.asks_to_leave(bob, LOBBY);
    house.gets(bob, &said[1]);
    for who in [ann, bob] {
        house.goes(who);
    }
    assert_eq!(kinds(&house.finish()), []);
}

#[test]
fn who_is_welcomed_without_an_address_is_not_misnamed() {
    let mut terms = silent();
    terms.capabilities.welcome = true;
    terms.addresses_known = true;
    let mut house = House::new(terms, 1);
    let ann = house.enters_unwelcomed(&[LOBBY]);
    house.is_let_in(ann);
    house.goes(ann);
    assert_eq!(kinds(&house.finish()), []);
}
