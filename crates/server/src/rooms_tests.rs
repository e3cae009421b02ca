//! Rooms, without sockets: first any order of joins, leaves, publishes, passes and slow readers,
//! then what clients may do wrong, over pipes in memory and in paused time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
    ReadBuf, duplex,
};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::Stats;
use crate::accept::admit;
use crate::broadcast::Broadcast;
use crate::connection::{flush, watch_stuck};
use crate::fault::catalogue::{Chance, Fault};
use crate::fault::request::Request;
use crate::hub::Hub;
use crate::session::{NextWrite, Phase, Stream};
use chatbench_wire::Dialect;

/// A socket that takes as much as the test lets it.
#[derive(Debug, Default)]
struct Pipe {
    takes_bytes: usize,
    taken: Vec<u8>,
}

impl Stream for Pipe {}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let take = bytes.len().min(self.takes_bytes);
        if take == 0 {
            return Poll::Pending;
        }
        self.takes_bytes -= take;
        self.taken.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const ROOMS: [&str; 4] = ["a", "b", "\"\\", "été"];

#[derive(Debug, Clone)]
enum Step {
    Connect,
    Join(usize, usize),
    Leave(usize, usize),
    /// In a room, or in the unnamed one.
    Publish(usize, Option<usize>, usize),
    Garbage(usize),
    /// A pass.
    Flush(bool),
    /// A socket takes so many bytes, and the session's task writes.
    Take(usize, usize),
    HalfClose(usize),
    Abort(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..6_usize;
    let room = 0..ROOMS.len();
    prop_oneof![
        1 => Just(Step::Connect),
        4 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Join(who, room)),
        2 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Leave(who, room)),
        8 => (who.clone(), prop::option::weighted(0.8, room), 1..120_usize)
            .prop_map(|(who, room, bytes)| Step::Publish(who, room, bytes)),
        1 => who.clone().prop_map(Step::Garbage),
        3 => any::<bool>().prop_map(Step::Flush),
        6 => (who.clone(), 1..600_usize).prop_map(|(who, bytes)| Step::Take(who, bytes)),
        1 => who.clone().prop_map(Step::HalfClose),
        1 => who.prop_map(Step::Abort),
    ]
}

/// A server, and what its clients should be sent.
struct World {
    broadcast: Broadcast<Pipe>,
    /// By session id; those that are over have an end.
    open: Vec<usize>,
    published: u64,
    /// The sender and the text of each number of each room; the unnamed one has an empty name.
    truth: HashMap<(String, u64), (String, String)>,
    /// The rooms that each client is in, in the order of joining.
    joined: HashMap<String, Vec<String>>,
    /// What was sent to each client that was not aborted, by its address.
    ended: Vec<(String, Vec<u8>)>,
    addresses: usize,
}

impl World {
    fn new() -> Self {
        Self::with_faults(Vec::new())
    }

    fn with_faults(faults: Vec<Request>) -> Self {
        let config = Config {
            max_line_bytes: 512,
            backlog_bytes: 1 << 20,
            faults,
            ..Config::default()
        };
        Self {
            broadcast: Broadcast::new(&config),
            open: Vec::new(),
            published: 0,
            truth: HashMap::new(),
            joined: HashMap::new(),
            ended: Vec::new(),
            addresses: 0,
        }
    }

    fn connect(&mut self) {
        self.addresses += 1;
        let address = format!("client:{}", self.addresses);
        let id = self
            .broadcast
            .join(Dialect::Ndjson, Pipe::default(), &address);
        self.open.push(id);
    }

    fn send(&mut self, id: usize, frame: &Value) {
        let line = format!("{frame}\n");
        self.broadcast.take_input(id, line.as_bytes());
    }

    /// The session's task writes, as it does when its socket becomes writable.
    fn write(&mut self, id: usize) {
        let mut nobody = Context::from_waker(Waker::noop());
        if self.broadcast.session(id).next_write != NextWrite::InPass {
            self.broadcast.session(id).next_write = NextWrite::InPass;
            self.broadcast.write(id, &mut nobody);
        }
    }

    fn step(&mut self, step: &Step) {
        if let Step::Connect = step {
            return self.connect();
        }
        if let Step::Flush(try_full) = step {
            return self.broadcast.flush(*try_full);
        }
        let (Step::Join(who, _)
        | Step::Leave(who, _)
        | Step::Publish(who, ..)
        | Step::Garbage(who)
        | Step::Take(who, _)
        | Step::HalfClose(who)
        | Step::Abort(who)) = *step
        else {
            unreachable!("the others are done");
        };
        if self.open.is_empty() {
            return;
        }
        let place = who % self.open.len();
        let id = self.open[place];
        match *step {
            Step::Join(_, room) => {
                self.send(id, &json!({ "join": ROOMS[room] }));
                let joined = self.joined(id);
                if !joined.iter().any(|joined| joined == ROOMS[room]) {
                    joined.push(ROOMS[room].to_owned());
                }
            }
            Step::Leave(_, room) => {
                self.send(id, &json!({ "leave": ROOMS[room], "id": 1 }));
                self.joined(id).retain(|joined| joined != ROOMS[room]);
            }
            Step::Publish(_, room, bytes) => self.publish(id, room, bytes),
            Step::Garbage(_) => self.broadcast.take_input(id, b"garbage\n"),
            Step::Take(_, bytes) => {
                self.broadcast.session(id).stream.takes_bytes += bytes;
                self.write(id);
            }
            Step::HalfClose(_) => {
                self.open.remove(place);
                self.half_close(id);
            }
            Step::Abort(_) => {
                self.open.remove(place);
                self.broadcast.remove(id, false);
            }
            Step::Connect | Step::Flush(_) => unreachable!("they are done"),
        }
    }

    fn joined(&mut self, id: usize) -> &mut Vec<String> {
        let address = self.broadcast.session(id).client_ip.to_string();
        self.joined.entry(address).or_default()
    }

    fn publish(&mut self, id: usize, room: Option<usize>, bytes: usize) {
        let text = format!("{}{}", self.published, "x".repeat(bytes));
        self.published += 1;
        let name = room.map_or("", |room| ROOMS[room]);
        let address = self.broadcast.session(id).client_ip.to_string();
        let membership = self.broadcast.rooms.find(id, name);
        let mut frame = json!({ "message": text, "id": self.published });
        if room.is_some() {
            frame["room"] = name.into();
        }
        self.send(id, &frame);
        let seq = match (room, membership) {
            (None, _) => self.broadcast.log.seq(),
            (Some(_), Some(membership)) => self.broadcast.rooms.room_of(membership).log.seq(),
            (Some(_), None) => return,
        };
        let before = self.truth.insert((name.to_owned(), seq), (address, text));
        assert_eq!(before, None, "a number is never given twice");
    }

    /// A session leaves politely and takes all that it is owed.
    fn half_close(&mut self, id: usize) {
        self.broadcast.send_bye(id, Phase::Leaving);
        self.broadcast.session(id).stream.takes_bytes = usize::MAX;
        let mut nobody = Context::from_waker(Waker::noop());
        let mut writes = 0;
        while !self.broadcast.session(id).is_done() {
            self.broadcast.write(id, &mut nobody);
            writes += 1;
            assert!(writes < 100, "it is never done");
        }
        let session = self.broadcast.remove(id, true);
        let (address, taken) = (session.client_ip.to_string(), session.stream.taken);
        self.ended.push((address, taken));
    }

    /// What a client was sent: in each room every number from its welcome to its goodbye, as the
    /// ack of its own message or the relay of another's, and nothing else.
    fn check(&self, address: &str, sent: &[u8]) {
        let text = std::str::from_utf8(sent).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let mut last: HashMap<String, u64> = HashMap::new();
        let mut said_goodbye = false;
        let mut left_in_the_end = Vec::new();
        for line in text.lines() {
            let frame: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}"));
            assert!(!said_goodbye, "after the bye: {line}");
            let room = frame["room"].as_str().unwrap_or("").to_owned();
            let seq = frame["seq"].as_u64();
            match frame["type"].as_str().unwrap() {
                "welcome" | "joined" => {
                    let before = last.insert(room, seq.unwrap());
                    assert_eq!(before, None, "in it already: {line}");
                }
                "left" => {
                    assert_eq!(last.remove(&room), seq, "{line}");
                    if frame["id"].is_null() {
                        left_in_the_end.push(room); // nobody asked for it
                    }
                }
                "bye" => {
                    assert_eq!(last.remove(""), seq, "{line}");
                    assert!(last.is_empty(), "still in {last:?}");
                    said_goodbye = true;
                }
                "error" => {}
                kind @ ("ack" | "relay") => {
                    let at = last
                        .get_mut(&room)
                        .unwrap_or_else(|| panic!("not in it: {line}"));
                    *at += 1;
                    assert_eq!(Some(*at), seq, "{line}");
                    let (sender, said) = &self.truth[&(room, *at)];
                    assert_eq!(kind == "ack", sender == address, "{line}");
                    if kind == "relay" {
                        assert_eq!(frame["client_ip"], **sender);
                        assert_eq!(frame["message"], **said);
                    }
                }
                other => panic!("no {other} is owed: {line}"),
            }
        }
        assert!(said_goodbye, "{text}");
        let joined = self.joined.get(address);
        assert_eq!(left_in_the_end, joined.map_or(&[][..], Vec::as_slice));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whoever comes and goes, and however slowly they read: each is sent, in each room, what was
    /// said there while it was a member; nothing is left of those who went.
    #[test]
    fn each_member_is_sent_all_that_was_said_while_it_was_one(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new();
        world.connect();
        world.connect();
        for step in &steps {
            world.step(step);
        }
        world.broadcast.flush(false);
        for id in mem::take(&mut world.open) {
            world.half_close(id);
        }
        for (address, sent) in &world.ended {
            world.check(address, sent);
        }
        world.broadcast.flush(false);
        let rooms = &world.broadcast.rooms;
        prop_assert_eq!((rooms.count(), rooms.memberships(), rooms.memberships.len()), (0, 0, 0));
        prop_assert_eq!((rooms.kept_bytes(), rooms.busy.len(), rooms.kept.len()), (0, 0, 0));
    }
}

/// What a membership takes beyond its session's first: the rest is in `docs/PERFORMANCE.md`, as
/// measured from outside.
#[test]
fn a_membership_is_small() {
    let own = size_of::<Membership>() + size_of::<usize>(); // with what the slab adds
    let noted = 2 * size_of::<u32>(); // by its room, and by its session
    let found = size_of::<((u32, u32), u32)>() + 1;
    // Lists grow to double, the table of those to be found to 8/7 of that, memberships by an eighth.
    let most = own + own / 8 + 2 * noted + found * 16 / 7;
    assert!(most <= 200, "{most} bytes");
}

/// A pass over rooms looks at those in which something was said, and at nobody else.
#[test]
fn a_pass_costs_what_changed() {
    let mut world = World::new();
    for pair in 0..500 {
        for _ in 0..2 {
            world.connect();
            let id = *world.open.last().unwrap();
            world.broadcast.session(id).stream.takes_bytes = usize::MAX;
            world.send(id, &json!({ "join": format!("pair-{pair}") }));
        }
    }
    world.broadcast.flush(false);
    assert_eq!(world.broadcast.rooms.busy.len(), 0, "all have their joined");
    let writes = world.broadcast.stats().writes;
    let id = world.open[77];
    world.send(id, &json!({ "message": "hello", "room": "pair-38" }));
    let broadcast = &mut world.broadcast;
    broadcast.rooms.note_news(&mut broadcast.sessions);
    assert_eq!(broadcast.rooms.busy.len(), 2);
    broadcast.flush(false);
    assert_eq!(broadcast.stats().writes, writes + 2);
    assert_eq!(
        (
            broadcast.rooms.kept.len(),
            broadcast.rooms.spare_chunks.len()
        ),
        (0, 1)
    );
}

/// What a server did that was told to commit `fault`, to clients all of whom talk in rooms.
fn committed_in_rooms(fault: Fault) -> Vec<String> {
    const CLIENTS: usize = 8;
    let chance = match (fault, fault.entry().chance) {
        (Fault::BeforeJoin | Fault::LeakOnJoin | Fault::JoinedTooLate, _) => 0,
        (_, Chance::Join) => CLIENTS, // the first to join a room, and not the server
        (_, Chance::Error | Chance::Leave) => 0,
        _ => 3,
    };
    let request = format!("{fault}=after={chance}").parse().unwrap();
    let mut world = World::with_faults(vec![request]);
    (0..CLIENTS).for_each(|_| world.connect());
    let ids = world.open.clone();
    for &id in &ids {
        world.broadcast.session(id).stream.takes_bytes = usize::MAX;
    }
    let [ann, bob, carl, dora, eve, fay, gus, _] = ids[..] else {
        unreachable!("there are so many");
    };
    for (who, room) in [
        (ann, "r"),
        (bob, "r"),
        (eve, "q"),
        (carl, "r"),
        (dora, "q"),
        (dora, "r"),
        (gus, "r"),
    ] {
        world.send(who, &json!({ "join": room }));
    }
    for turn in 0..30 {
        if turn == 10 {
            world.send(fay, &json!({ "join": "r" }));
        }
        if turn == 12 {
            world.send(gus, &json!({ "leave": "r" }));
        }
        world.broadcast.flush(false);
        // One asks amiss and says something only once it has its error; another goes once it has
        // its ack.
        if turn == 14 {
            world.send(carl, &json!({ "message": 5, "room": "r" }));
        }
        for who in [ann, ann, bob, eve, eve] {
            let room = if who == eve { "q" } else { "r" };
            world.send(
                who,
                &json!({ "message": format!("in turn {turn}"), "id": 1, "room": room }),
            );
        }
        world.broadcast.flush(false);
        if turn == 14 {
            world.send(carl, &json!({ "message": "at last", "room": "r" }));
        }
        let is_open = |id: &usize| {
            world.broadcast.sessions[*id]
                .as_ref()
                .is_some_and(|s| s.phase == Phase::Open)
        };
        if !ids.iter().all(is_open) {
            break; // it was hung up on
        }
    }
    for id in ids {
        if world.broadcast.session(id).phase == Phase::Open {
            world.half_close(id);
        }
    }
    let faults = world.broadcast.take_faults().unwrap();
    let (committed, _) = faults.into_committed();
    committed
        .into_iter()
        .map(|committed| {
            assert_eq!(committed.fault, fault);
            committed.what
        })
        .collect()
}

/// Each fault that a message, a join or a leave can have is committed in a room, too.
#[test]
fn every_fault_is_committed_in_rooms() {
    for &fault in Fault::ALL {
        let elsewhere = matches!(
            fault,
            // Not of the dialect; of input, of a pass, and of a clock.
            Fault::SpoofableAck
                | Fault::Truncate1024
                | Fault::LoseCoalesced
                | Fault::BlockOnSlow
                | Fault::DelayRelay
                // Its witness resets its connection.
                | Fault::RenumberLate
        );
        if elsewhere {
            continue;
        }
        let committed = committed_in_rooms(fault);
        assert!(!committed.is_empty(), "{fault} was never committed");
        for what in committed {
            assert!(
                what.contains("room \"r\"") || what.contains("room \"q\""),
                "{fault}: {what}"
            );
        }
    }
}

type Client = BufReader<DuplexStream>;

async fn beside_a_server(config: Config, test: impl AsyncFnOnce(Rc<Hub<DuplexStream>>)) {
    let hub = Rc::new(Hub::new(config));
    LocalSet::new()
        .run_until(async {
            spawn_local(flush(Rc::clone(&hub)));
            spawn_local(watch_stuck(Rc::clone(&hub)));
            let in_time = timeout(Duration::from_secs(3600), test(hub)).await;
            in_time.expect("what the test waits for does not come");
        })
        .await;
}

fn dial(hub: &Rc<Hub<DuplexStream>>, name: &str, pipe_bytes: usize) -> Client {
    let (ours, theirs) = duplex(pipe_bytes);
    admit(hub, Dialect::Ndjson, theirs, name);
    BufReader::new(ours)
}

async fn send(client: &mut Client, frame: Value) {
    let line = format!("{frame}\n");
    client.get_mut().write_all(line.as_bytes()).await.unwrap();
}

async fn next(client: &mut Client) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    assert!(line.ends_with('\n'), "hung up, or torn: {line}");
    serde_json::from_str(&line).unwrap()
}

async fn welcomed(hub: &Rc<Hub<DuplexStream>>, name: &str) -> Client {
    let mut client = dial(hub, name, 1 << 16);
    assert_eq!(next(&mut client).await["type"], "welcome");
    client
}

async fn in_room(hub: &Rc<Hub<DuplexStream>>, name: &str, room: &str) -> Client {
    let mut client = welcomed(hub, name).await;
    send(&mut client, json!({ "join": room })).await;
    assert_eq!(next(&mut client).await["type"], "joined");
    client
}

#[tokio::test(start_paused = true)]
async fn members_hear_each_other_and_nobody_else_does() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = in_room(&hub, "ann:1", "lobby").await;
        let mut bob = welcomed(&hub, "bob:1").await;
        let mut eve = in_room(&hub, "eve:1", "cellar").await;
        send(&mut bob, json!({ "join": "lobby", "id": 7 })).await;
        let joined = json!({ "type": "joined", "room": "lobby", "seq": 0, "id": 7 });
        assert_eq!(next(&mut bob).await, joined);
        send(
            &mut ann,
            json!({ "message": "hi", "id": 1, "room": "lobby" }),
        )
        .await;
        let ack = json!({ "type": "ack", "room": "lobby", "seq": 1, "id": 1 });
        assert_eq!(next(&mut ann).await, ack);
        let relay = json!({
            "type": "relay", "room": "lobby", "seq": 1, "client_ip": "ann:1", "message": "hi",
        });
        assert_eq!(next(&mut bob).await, relay);
        send(&mut ann, json!({ "leave": "lobby", "id": 2 })).await;
        let left = json!({ "type": "left", "room": "lobby", "seq": 1, "id": 2 });
        assert_eq!(next(&mut ann).await, left);
        send(&mut bob, json!({ "message": "anyone?", "room": "lobby" })).await;
        assert_eq!(next(&mut bob).await["seq"], 2);
        // The unnamed room is everyone's, and its numbers are its own.
        send(&mut bob, json!({ "message": "all", "id": 3 })).await;
        for client in [&mut ann, &mut eve] {
            let relay =
                json!({ "type": "relay", "seq": 1, "client_ip": "bob:1", "message": "all" });
            assert_eq!(next(client).await, relay);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_and_the_session_goes_on() {
    beside_a_server(Config::default(), async |hub| {
        let mut client = in_room(&hub, "c:1", "lobby").await;
        let long = "x".repeat(129);
        for (frame, room, code) in [
            (
                json!({ "join": "lobby", "id": 9 }),
                Some("lobby"),
                "already-joined",
            ),
            (
                json!({ "leave": "cellar", "id": 9 }),
                Some("cellar"),
                "not-joined",
            ),
            (
                json!({ "message": "m", "id": 9, "room": "cellar" }),
                Some("cellar"),
                "not-joined",
            ),
            (
                json!({ "message": "", "id": 9, "room": "lobby" }),
                Some("lobby"),
                "empty-message",
            ),
            (
                json!({ "message": 5, "id": 9, "room": "lobby" }),
                Some("lobby"),
                "malformed",
            ),
            (
                json!({ "message": 5, "id": 9, "room": "a\nb" }),
                None,
                "malformed",
            ),
            (
                json!({ "message": "m", "id": 9, "join": "lobby" }),
                None,
                "malformed",
            ),
            (json!({ "join": "", "id": 9 }), None, "bad-room"),
            (json!({ "join": "a\u{7f}", "id": 9 }), None, "bad-room"),
            (json!({ "leave": "a\u{85}", "id": 9 }), None, "bad-room"),
            (
                json!({ "message": "m", "id": 9, "room": long }),
                None,
                "bad-room",
            ),
        ] {
            send(&mut client, frame.clone()).await;
            let answer = next(&mut client).await;
            assert_eq!(answer["type"], "error", "{frame}");
            assert_eq!(answer["code"], code, "{frame}");
            assert_eq!(answer["id"], 9, "{frame}");
            assert_eq!(answer["room"].as_str(), room, "{frame}");
        }
        send(
            &mut client,
            json!({ "message": "still here", "id": 1, "room": "lobby" }),
        )
        .await;
        assert_eq!(
            next(&mut client).await["seq"],
            1,
            "nothing else took a number"
        );
        assert_eq!(hub.stats().errors, 11);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_name_that_is_allowed_is_a_room_of_its_own() {
    let names = [
        " ",
        "lobby",
        "Lobby",
        "\"",
        "\\",
        "\\u0061",
        "{}",
        "a/+/#",
        "a.b.*.>",
        "$SYS/x",
        "été",
        "e\u{301}te\u{301}",
        "😀",
        "\u{2028}",
        "\u{feff}",
        "null",
        "a,b",
        &"\"".repeat(128),
    ];
    beside_a_server(Config::default(), async |hub| {
        let mut client = welcomed(&hub, "c:1").await;
        for name in names {
            send(&mut client, json!({ "join": name })).await;
            let answer = next(&mut client).await;
            assert_eq!(
                (&answer["type"], &answer["room"]),
                (&"joined".into(), &name.into())
            );
        }
        let mut others = Vec::new();
        for name in names {
            others.push((name, in_room(&hub, "o:1", name).await));
        }
        for name in names {
            send(&mut client, json!({ "message": name, "room": name })).await;
            let ack = json!({ "type": "ack", "room": name, "seq": 1 });
            assert_eq!(next(&mut client).await, ack);
        }
        for (name, other) in &mut others {
            let relay = next(other).await;
            assert_eq!(
                (&relay["room"], &relay["message"]),
                (&(*name).into(), &(*name).into())
            );
        }
        assert_eq!(hub.stats().rooms, names.len() as u64);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_joins_in_one_write_are_answered_in_order_up_to_the_limit() {
    let config = Config {
        max_rooms_per_client: 900,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut client = welcomed(&hub, "c:1").await;
        let frames = (0..1000).map(|n| format!("{{\"join\":\"room-{n}\",\"id\":{n}}}\n"));
        let frames: String = frames.collect();
        client.get_mut().write_all(frames.as_bytes()).await.unwrap();
        let (mut joined, mut refused) = (0, 900);
        for _ in 0..1000 {
            let answer = next(&mut client).await;
            let next = match answer["type"].as_str().unwrap() {
                "joined" => &mut joined,
                _ => {
                    assert_eq!(answer["code"], "too-many-rooms");
                    &mut refused
                }
            };
            assert_eq!(answer["room"], format!("room-{next}"));
            assert_eq!(answer["id"], *next);
            *next += 1;
        }
        assert_eq!((joined, refused), (900, 1000));
        let stats = hub.stats();
        assert_eq!((stats.rooms, stats.memberships), (900, 900));
        // A half-close leaves them in the order of joining.
        client.get_mut().shutdown().await.unwrap();
        for n in 0..900 {
            let left = json!({ "type": "left", "room": format!("room-{n}"), "seq": 0 });
            assert_eq!(next(&mut client).await, left);
        }
        assert_eq!(next(&mut client).await, json!({ "type": "bye", "seq": 0 }));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(hub.stats().rooms, 0);
    })
    .await;
}

/// A client asks for more rooms than there may be, each with a name of its own: it is in as many
/// as it may be, the others go on, and of those that it has left nothing is kept.
#[tokio::test(start_paused = true)]
async fn a_million_names_from_one_client_take_no_more_than_they_may() {
    const NAMES: usize = 1_000_000;
    let config = Config {
        max_rooms: 100,
        max_rooms_per_client: 50,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut ann = in_room(&hub, "ann:1", "lobby").await;
        let mut bob = in_room(&hub, "bob:1", "lobby").await;
        let flooder = welcomed(&hub, "flooder:1").await;
        let (mut from, mut to) = tokio::io::split(flooder.into_inner());
        let flood = spawn_local(async move {
            for n in 0..NAMES / 1000 {
                let mut frames = String::new();
                for n in n * 1000..(n + 1) * 1000 {
                    frames += &format!("{{\"join\":\"room-{n}\"}}\n");
                    if n % 2 == 0 {
                        frames += &format!("{{\"leave\":\"room-{n}\"}}\n");
                    }
                }
                to.write_all(frames.as_bytes()).await.unwrap();
            }
            to.shutdown().await.unwrap();
        });
        let mut heard = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let bytes = from.read(&mut buffer).await.unwrap();
            if bytes == 0 {
                break;
            }
            heard += bytes;
            let stats = hub.stats();
            assert!(stats.rooms <= 51 && stats.memberships <= 52, "{stats:?}");
            if heard % 64 == 0 {
                send(&mut ann, json!({ "message": "hi", "room": "lobby" })).await;
                assert_eq!(next(&mut ann).await["type"], "ack");
                assert_eq!(next(&mut bob).await["message"], "hi");
            }
        }
        flood.await.unwrap();
        let Stats { rooms, errors, .. } = hub.stats();
        assert_eq!(rooms, 1, "the lobby");
        assert!(errors > NAMES as u64 / 4, "{errors}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_rooms_than_there_may_be() {
    let config = Config {
        max_rooms: 1,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut ann = in_room(&hub, "ann:1", "one").await;
        let mut bob = in_room(&hub, "bob:1", "one").await;
        send(&mut bob, json!({ "join": "two" })).await;
        assert_eq!(next(&mut bob).await["code"], "too-many-rooms");
        for client in [&mut ann, &mut bob] {
            send(client, json!({ "leave": "one" })).await;
            assert_eq!(next(client).await["type"], "left");
        }
        send(&mut bob, json!({ "join": "two" })).await;
        assert_eq!(next(&mut bob).await["type"], "joined");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_numbers_of_a_room_are_never_given_twice() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = in_room(&hub, "ann:1", "lobby").await;
        for seq in 1..=5 {
            send(&mut ann, json!({ "message": "m", "room": "lobby" })).await;
            assert_eq!(next(&mut ann).await["seq"], seq);
        }
        drop(ann); // a reset: the room is forgotten, with its log
        let mut bob = welcomed(&hub, "bob:1").await;
        while hub.stats().rooms > 0 {
            tokio::task::yield_now().await;
        }
        send(&mut bob, json!({ "join": "lobby" })).await;
        assert_eq!(next(&mut bob).await["seq"], 5);
        send(&mut bob, json!({ "message": "m", "room": "lobby" })).await;
        assert_eq!(next(&mut bob).await["seq"], 6);
    })
    .await;
}

/// Who does not read in one room holds up nobody, there or elsewhere, and is cut off once what is
/// kept for it is too much; who reads is not.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_in_a_room_harms_only_itself() {
    let config = Config {
        max_line_bytes: 512,
        backlog_bytes: 16 * 1024,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut stopped = dial(&hub, "stopped:1", 256);
        assert_eq!(next(&mut stopped).await["type"], "welcome");
        send(&mut stopped, json!({ "join": "busy" })).await;
        assert_eq!(next(&mut stopped).await["type"], "joined");
        let mut ann = in_room(&hub, "ann:1", "busy").await;
        let mut bob = in_room(&hub, "bob:1", "busy").await;
        let mut carl = in_room(&hub, "carl:1", "calm").await;
        let text = "x".repeat(200);
        for seq in 1..=300 {
            send(&mut ann, json!({ "message": text, "room": "busy" })).await;
            assert_eq!(next(&mut ann).await["seq"], seq);
            assert_eq!(next(&mut bob).await["seq"], seq);
            send(&mut carl, json!({ "message": "m", "room": "calm" })).await;
            assert_eq!(next(&mut carl).await["seq"], seq);
            let kept = hub.stats().backlog_bytes;
            assert!(kept <= 16 * 1024, "{kept}");
        }
        assert_eq!(hub.stats().slow_consumers, 1);
        let mut last = json!({});
        let mut line = String::new();
        while stopped.read_line(&mut line).await.unwrap() > 0 {
            assert!(line.ends_with('\n'), "torn: {line}");
            last = serde_json::from_str(&line).unwrap();
            line.clear();
        }
        assert_eq!(
            (&last["type"], &last["code"]),
            (&"error".into(), &"slow-consumer".into())
        );
        assert_eq!(hub.stats().memberships, 3);
    })
    .await;
}

/// A session that is in no room is sent what it would be sent if there were none.
#[tokio::test(start_paused = true)]
async fn who_is_in_no_room_sees_nothing_of_them() {
    let mut sent = Vec::new();
    for with_rooms in [false, true] {
        beside_a_server(Config::default(), async |hub| {
            let mut ann = welcomed(&hub, "ann:1").await;
            let mut eve = dial(&hub, "eve:1", 1 << 16);
            if with_rooms {
                send(&mut ann, json!({ "join": "lobby" })).await;
                assert_eq!(next(&mut ann).await["type"], "joined");
            }
            for id in 1..20 {
                send(&mut ann, json!({ "message": "hi", "id": id })).await;
                assert_eq!(next(&mut ann).await["seq"], id);
                if with_rooms {
                    send(&mut ann, json!({ "message": "psst", "room": "lobby" })).await;
                    assert_eq!(next(&mut ann).await["room"], "lobby");
                }
            }
            eve.get_mut().write_all(b"{}\n").await.unwrap();
            eve.get_mut().shutdown().await.unwrap();
            let mut all = String::new();
            eve.read_to_string(&mut all).await.unwrap();
            sent.push(all);
        })
        .await;
    }
    assert_eq!(sent[0], sent[1]);
    assert_eq!(sent[0].lines().count(), 1 + 19 + 2);
}

/// The publishes of many in one read are in one write, rooms and all.
#[tokio::test(start_paused = true)]
async fn rooms_are_written_together() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = welcomed(&hub, "ann:1").await;
        let mut bob = welcomed(&hub, "bob:1").await;
        for client in [&mut ann, &mut bob] {
            for n in 0..20 {
                send(client, json!({ "join": format!("r{n}") })).await;
                assert_eq!(next(client).await["type"], "joined");
            }
        }
        let writes = hub.stats().writes;
        let said: String = (0..20)
            .map(|n| format!("{{\"message\":\"m\",\"room\":\"r{n}\"}}\n"))
            .collect();
        ann.get_mut().write_all(said.as_bytes()).await.unwrap();
        let mut heard = HashSet::new();
        for _ in 0..20 {
            heard.insert(next(&mut bob).await["room"].to_string());
        }
        assert_eq!((heard.len(), hub.stats().writes), (20, writes + 2));
    })
    .await;
}
