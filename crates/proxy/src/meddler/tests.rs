//! A small house: two who talk, one who only listens, one in another room. What goes in and what
//! comes out is compared frame by frame.

use std::net::SocketAddr;
use std::sync::Arc;

use chatbench_wire::ndjson::{self, Publish};
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::protocol::Protocol;
use chatbench_wire::rooms::RoomNames;
use proptest::prelude::*;

use super::*;
use crate::talk;

const RUN: u32 = 0xbeef;

/// The clients' addresses, and those under which the target knows them.
fn client(nth: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1000 + nth as u16))
}

fn own(nth: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + nth as u16))
}

fn text(sender: u32, k: u64, last: bool) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(sender),
        k,
        last,
        intended_ns: 1,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 7, &header, 64);
    String::from_utf8(text).unwrap()
}

/// The frames of one direction of one connection.
type Frames = Vec<String>;

struct House {
    meddler: Meddler,
    ids: Vec<ConnectionId>,
    /// What each client would get without a proxy, and what it gets.
    sent: Vec<Frames>,
    got: Vec<Frames>,
    /// What the target gets, and what it would.
    published: Frames,
    arrived: Frames,
    hung_up: usize,
    waits: usize,
    seq: u64,
}

/// Clients 0 and 1 talk, 2 listens, 3 is in another room, where it talks to 4.
const ROOMS: [&str; 5] = ["hall", "hall", "hall", "attic", "attic"];

impl House {
    fn new(fault: Option<Fault>) -> Self {
        let talk = talk::of(&Protocol::Ndjson.into());
        let rooms = RoomNames::new(["hall", "attic", "hall-2"]);
        let task = fault.map(|fault| Task { fault, after: 60 });
        let mut meddler = Meddler::new(talk, RUN, &rooms, task);
        let ids = (0..ROOMS.len())
            .map(|nth| meddler.opened(client(nth), own(nth)))
            .collect();
        let mut house = Self {
            meddler,
            ids,
            sent: vec![Vec::new(); ROOMS.len()],
            got: vec![Vec::new(); ROOMS.len()],
            published: Vec::new(),
            arrived: Vec::new(),
            hung_up: 0,
            waits: 0,
            seq: 0,
        };
        for (nth, room) in ROOMS.iter().enumerate() {
            let mut join = Vec::new();
            ndjson::rooms::encode_join(&mut join, room, None);
            house.up(nth, &join);
        }
        house
    }

    fn pass(&mut self, nth: usize, way: Way, line: &[u8]) -> Frames {
        let mut frames = self.meddler.frames(way);
        let frame = frames.cut(line).expect("a line");
        let mut out = Vec::new();
        match (self.meddler).take(self.ids[nth], way, &frame, &*frames, &mut out) {
            Then::GoOn => {}
            Then::Wait(time) => {
                assert_eq!(time, DELAY);
                self.waits += 1;
            }
            Then::HangUp => self.hung_up += 1,
        }
        lines(&out)
    }

    fn up(&mut self, nth: usize, line: &[u8]) {
        self.published.extend(lines(line));
        let arrived = self.pass(nth, Way::Up, line);
        self.arrived.extend(arrived);
    }

    /// `line` is as the target says it; `as_sent` as its client is to get it.
    fn down(&mut self, nth: usize, line: &[u8], as_sent: &[u8]) {
        self.sent[nth].extend(lines(as_sent));
        let got = self.pass(nth, Way::Down, line);
        self.got[nth].extend(got);
    }

    /// A client publishes; the target acks and relays it, if it gets it.
    fn talk(&mut self, nth: usize, k: u64, last: bool) {
        let (room, text) = (ROOMS[nth], text(nth as u32, k, last));
        let mut line = Vec::new();
        let publish = Publish {
            message: text.as_str().into(),
            id: Some(k),
            client_ip: None,
            room: Some(room.into()),
        };
        ndjson::encode_publish(&mut line, &publish);
        let before = self.arrived.len();
        self.up(nth, &line);
        if self.arrived.len() == before {
            return;
        }
        self.seq += 1;
        for other in (0..ROOMS.len()).filter(|other| ROOMS[*other] == room) {
            let (mut said, mut as_sent) = (Vec::new(), Vec::new());
            if other == nth {
                ndjson::rooms::encode_ack(&mut said, room, self.seq, Some(k));
                as_sent.clone_from(&said);
            } else {
                for (line, from) in [(&mut said, own(nth)), (&mut as_sent, client(nth))] {
                    ndjson::rooms::encode_relay(line, room, self.seq, &from.to_string(), &text);
                }
            }
            self.down(other, &said, &as_sent);
        }
    }

    /// Everybody who talks does, now and then twice running.
    fn play(mut self) -> Self {
        for k in 1..=60 {
            self.talk(0, 2 * k - 1, false);
            self.talk(0, 2 * k, false);
            self.talk(1, k, false);
            self.talk(3, k, false);
        }
        self.talk(0, 121, true);
        for nth in 0..ROOMS.len() {
            let mut out = Vec::new();
            self.meddler.ended(self.ids[nth], &mut out);
            self.got[nth].extend(lines(&out));
        }
        self
    }

    /// The clients that got something else than the target said.
    fn concerned(&self) -> Vec<usize> {
        let all = 0..ROOMS.len();
        all.filter(|nth| self.sent[*nth] != self.got[*nth])
            .collect()
    }

    fn committed(&self) -> &Committed {
        self.meddler.committed().expect("it was committed")
    }
}

fn lines(bytes: &[u8]) -> Frames {
    let text = std::str::from_utf8(bytes).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// The lines of `sent` that `got` does not have at their place, and of `got` likewise.
fn difference(sent: &[String], got: &[String]) -> (Frames, Frames) {
    let same = |(a, b): &(&String, &String)| a == b;
    let first = sent.iter().zip(got).take_while(same).count();
    let (sent, got) = (&sent[first..], &got[first..]);
    let last = sent.iter().rev().zip(got.iter().rev()).take_while(same);
    let last = last.count();
    let end = |all: &[String]| all[..all.len() - last].to_vec();
    (end(sent), end(got))
}

#[test]
fn without_a_fault_everything_is_passed_on() {
    let house = House::new(None).play();
    assert_eq!(house.concerned(), [0; 0]);
    assert_eq!(house.published, house.arrived);
    assert_eq!(house.meddler.committed(), None);
    // Who said it stands in it as its client's address, not as the proxy's.
    assert!(house.got.concat().concat().contains("127.0.0.1:1000"));
    assert!(!house.got.concat().concat().contains("127.0.0.1:500"));
}

#[test]
fn each_fault_is_committed_once_and_as_what_it_is() {
    for fault in Fault::ALL {
        let house = House::new(Some(*fault)).play();
        let concerned = house.concerned();
        let changes: Vec<_> = concerned
            .iter()
            .map(|nth| difference(&house.sent[*nth], &house.got[*nth]))
            .collect();
        assert_eq!(house.committed().fault, *fault);
        assert!(house.committed().seen);
        let what = &house.committed().what;
        let context = format!("{fault}: {what}: {changes:#?}");
        assert_eq!(
            house.waits,
            usize::from(*fault == Fault::DelayRelay),
            "{context}"
        );
        assert_eq!(
            house.hung_up,
            usize::from(*fault == Fault::HangUp),
            "{context}"
        );
        let lost_up = house.published.len() - house.arrived.len();
        assert_eq!(
            lost_up,
            usize::from(*fault == Fault::DropPublish),
            "{context}"
        );
        let counts: Vec<_> = changes.iter().map(|(a, b)| (a.len(), b.len())).collect();
        let expected: &[(usize, usize)] = match fault {
            Fault::DropPublish | Fault::DelayRelay | Fault::HangUp => &[],
            Fault::DropRelay | Fault::DropAck => &[(1, 0)],
            Fault::AckThenLose => &[(1, 0); 2][..counts.len().min(2)],
            Fault::DuplicateRelay | Fault::DoubleAck | Fault::WrongRoom => &[(0, 1)],
            Fault::SwapSameSender | Fault::SwapSenders => &[(2, 2)],
            Fault::FlipByte | Fault::TruncateMessage | Fault::WrongSender => &[(1, 1)],
        };
        assert_eq!(counts, expected, "{context}");
        for (sent, got) in &changes {
            assert_change(*fault, sent, got, &context);
        }
        if *fault == Fault::AckThenLose {
            let (lost, _) = &changes[0];
            let body = lost[0].split("\"message\"").nth(1).unwrap();
            assert!(!house.got.concat().concat().contains(body), "{context}");
        }
        if *fault == Fault::WrongRoom {
            let got = &changes[0].1[0];
            let [to] = concerned[..] else {
                panic!("{context}")
            };
            assert!(!got.contains(ROOMS[to]), "{context}");
        }
    }
}

/// What became of the frames of one client is what the fault says.
fn assert_change(fault: Fault, sent: &[String], got: &[String], context: &str) {
    let text = |line: &String| {
        let start = line.find("cbm").expect("a load message");
        line[start..].split('"').next().unwrap().to_owned()
    };
    let decoded = |line: &String| payload::decode(text(line).as_bytes(), 7, RUN);
    match fault {
        Fault::DropAck | Fault::DoubleAck => {
            assert!(
                sent.iter().chain(got).all(|line| line.contains("\"ack\"")),
                "{context}"
            );
        }
        Fault::FlipByte | Fault::TruncateMessage => {
            let (was, is) = (text(&sent[0]), text(&got[0]));
            let whole = payload::decode(was.as_bytes(), 7, RUN).unwrap();
            assert!(decoded(&got[0]).is_err(), "{context}");
            let claimed = payload::claimed(is.as_bytes());
            assert_eq!(claimed, Some((whole.sender, whole.k)), "{context}");
            let shorter = fault == Fault::TruncateMessage;
            assert_eq!(is.len() < was.len(), shorter, "{context}");
        }
        Fault::SwapSameSender | Fault::SwapSenders => {
            let [a, b] = [decoded(&sent[0]).unwrap(), decoded(&sent[1]).unwrap()];
            let same = fault == Fault::SwapSameSender;
            assert_eq!(a.sender == b.sender, same, "{context}");
            assert_eq!((&sent[0], &sent[1]), (&got[1], &got[0]), "{context}");
        }
        Fault::WrongSender => {
            assert_eq!(text(&sent[0]), text(&got[0]), "{context}");
        }
        _ => {}
    }
}

#[test]
fn a_victim_that_resets_its_connection_has_not_seen_it() {
    let mut house = House::new(Some(Fault::DropRelay)).play();
    let (_, victim) = house.meddler.committed.clone().unwrap();
    for id in house.ids.clone() {
        house.meddler.reset_by_client(id);
        assert_eq!(
            house.committed().seen,
            id != victim && house.committed().seen
        );
    }
    assert!(!house.committed().seen);
    assert!(
        house
            .committed()
            .to_string()
            .ends_with("who reset its connection")
    );
}

#[test]
fn a_room_whose_name_begins_as_another_one_is_not_that_one() {
    assert!(names(b"{\"room\":\"hall\"}", b"hall"));
    assert!(names(b"hall", b"hall"));
    for text in [&b"hall-2"[..], b"shall", b"hall_", b"halls", b""] {
        assert!(!names(text, b"hall"), "{text:?}");
    }
    assert!(names(b"hall-2 hall", b"hall"));
}

#[test]
fn a_body_is_divided_where_its_protocol_says_so() {
    let joined = |parts: Vec<&[u8]>| {
        let parts = parts.into_iter().map(String::from_utf8_lossy);
        parts.collect::<Vec<_>>().join("|")
    };
    assert_eq!(joined(parts(b"a\x1eb\x1e\x1ec", Some(b"\x1e"))), "a|b|c");
    assert_eq!(joined(parts(b"a\x1eb", None)), "a\x1eb");
    assert_eq!(joined(parts(b"ab", Some(b"\x1e"))), "ab");
}

/// A stream of every protocol, as a target or a client would send it.
fn streams() -> Vec<(Arc<dyn Talk>, Way, Vec<u8>)> {
    use chatbench_wire::classic;
    use chatbench_wire::websocket::{Client, Kind, Sender};

    let own = |protocol: Protocol| talk::of(&protocol.into());
    let (mut down, mut up) = (Vec::new(), Vec::new());
    ndjson::encode_welcome(&mut down, "127.0.0.1:1", 0, 65_536);
    for k in 1..4 {
        ndjson::encode_relay(&mut down, k, "127.0.0.1:2", &text(1, k, false));
        ndjson::encode_ack(&mut down, k, Some(k));
        down.extend_from_slice(b"not JSON at all\r\n\n");
    }
    down.extend_from_slice(b"{\"unfinished");
    let mut all = vec![(own(Protocol::Ndjson), Way::Down, down)];

    let mut down = Vec::new();
    for k in 1..4 {
        classic::encode_ack(&mut down, "127.0.0.1:1");
        classic::encode_relay(&mut down, "127.0.0.1:2", &text(1, k, false));
        classic::encode_relay(&mut down, "[::1]:2", "no load message");
        classic::encode_publish(&mut up, "127.0.0.1:1", &text(2, k, false));
        up.push(b' ');
    }
    down.extend_from_slice(b"127.0.0.1:1: ");
    all.push((own(Protocol::Classic), Way::Down, down));
    all.push((own(Protocol::Classic), Way::Up, up));

    let mut down = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
    let mut up = b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let (mut server, mut client) = (Sender::of_server(), Client::opened(1 << 20));
    for size in [0, 1, 125, 126, 70_000] {
        let payload = vec![b'x'; size];
        server.send(&mut down, Kind::Text, &payload);
        server.ping(&mut down, b"?");
        server.fragment(&mut down, Some(Kind::Binary), &payload, false);
        server.ping(&mut down, b"!");
        server.fragment(&mut down, None, text(1, 2, false).as_bytes(), true);
        client.send(&mut up, Kind::Text, &payload);
    }
    server.close(&mut down, Some(1000), "done");
    all.push((own(Protocol::WebSocket), Way::Down, down));
    all.push((own(Protocol::WebSocket), Way::Up, up));
    let refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!".to_vec();
    all.push((own(Protocol::WebSocket), Way::Down, refused));

    let nats: Arc<dyn Talk> = Arc::new(talk::nats::Nats::new(Acks::Cumulative));
    let (mut down, mut up) = (b"INFO {}\r\n".to_vec(), b"CONNECT {}\r\n".to_vec());
    for k in 1..4 {
        let text = text(1, k, false);
        let length = text.len();
        down.extend(format!("MSG hall {k} {length}\r\n{text}\r\nPONG\r\n").bytes());
        up.extend(format!("PUB hall {length}\r\n{text}\r\nPING\r\n").bytes());
    }
    down.extend_from_slice(b"MSG hall 1 99\r\nand no");
    all.push((Arc::clone(&nats), Way::Down, down));
    all.push((nats, Way::Up, up));

    let redis: Arc<dyn Talk> = Arc::new(talk::redis::Redis);
    let (mut down, mut up) = (b"%1\r\n+server\r\n+redis\r\n".to_vec(), Vec::new());
    for k in 1..4 {
        let text = text(1, k, false);
        let said = format!("$4\r\nhall\r\n${}\r\n{text}\r\n", text.len());
        down.extend(format!(">3\r\n$7\r\nmessage\r\n{said}:{k}\r\n").bytes());
        up.extend(format!("*3\r\n$7\r\nPUBLISH\r\n{said}").bytes());
    }
    down.extend_from_slice(b">3\r\n$7\r\nmess");
    all.push((Arc::clone(&redis), Way::Down, down));
    all.push((redis, Way::Up, up));
    all
}

/// Passes a stream on in pieces, as a link does.
fn passed(talk: &Arc<dyn Talk>, way: Way, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut meddler = Meddler::new(Arc::clone(talk), RUN, &RoomNames::default(), None);
    let id = meddler.opened(client(0), own(0));
    let mut frames = meddler.frames(way);
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    let mut from = 0;
    for cut in cuts.iter().copied().chain([stream.len()]) {
        let until = cut.clamp(from, stream.len());
        rest.extend_from_slice(&stream[from..until]);
        from = until;
        let mut at = 0;
        while let Some(frame) = frames.cut(&rest[at..]) {
            assert!(!frame.bytes.is_empty());
            at += frame.bytes.len();
            meddler.take(id, way, &frame, &*frames, &mut out);
        }
        rest.drain(..at);
    }
    meddler.ended(id, &mut out);
    [out, rest].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a stream is cut, what is passed on is what came.
    #[test]
    fn what_comes_is_what_goes_on(cuts in prop::collection::vec(0..400_usize, 0..12)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        for (talk, way, stream) in streams() {
            prop_assert!(passed(&talk, way, &stream, &cuts) == stream, "{talk:?} {way:?}");
        }
    }

    /// Whatever comes, of whatever protocol.
    #[test]
    fn no_bytes_make_it_panic_and_none_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..300_usize) {
        for (talk, way, mut stream) in streams() {
            let at = at.min(stream.len());
            stream.splice(at..at, bytes.iter().copied());
            prop_assert!(passed(&talk, way, &stream, &[at, at + 1]) == stream, "{talk:?} {way:?}");
        }
    }
}
