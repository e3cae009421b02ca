//! A correct broadcast server, its clients and the network between, in virtual time.
//!
//! [`World::new`] draws who connects, sends, leaves and breaks off when, lets the server number
//! what arrives, and writes down each connection's frames with the time they were sent at. A fault
//! is then a change to those frames. [`World::play`] reads them through ledgers and a judge as a
//! driver would: cut at any byte, in any interleaving, with hand-overs at any moment. All that a
//! client does follows the virtual clock, so causes come before their effects.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::conns;
use crate::directory::{ClientId, Directory};
use crate::findings::Findings;
use crate::ids::publish_id;
use crate::judge::{Judge, Settled};
use crate::ledger::{Ending, Event, Handle, Ledger, Terms};
use crate::promises::Promises;
use crate::trace;
use crate::trace::file::Recording;
use chatbench_wire::Dialect;
use chatbench_wire::classic;
use chatbench_wire::ndjson;
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::protocol::{AnyConn, Protocol};
use chatbench_wire::seen::Conn;

pub(super) const RUN: u32 = 0x00c0_ffee;
pub(super) const SEED: u64 = 42;
pub(super) const LATE_AFTER_NS: u64 = 10_000_000_000;

/// How long the clients are at it.
pub(super) const SPAN_NS: u64 = 10_000_000;

pub(super) fn terms() -> Terms {
    Terms {
        run: RUN,
        seed: SEED,
        late_after_ns: Some(LATE_AFTER_NS),
        addresses_known: true,
        promises: Promises::default(),
        capabilities: Protocol::Ndjson.capabilities(),
    }
}

pub(super) fn rng(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// Message `k` of session `life`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) life: usize,
    pub(super) k: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Welcome,
    Ack(Id),
    Relay(Id),
    Bye,
    /// Something a correct server never sends.
    Wrong,
}

#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) at_ns: u64,
    pub(super) seq: u64,
    pub(super) what: What,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Half-closes and reads to the end.
    Polite,
    Abort,
}

#[derive(Debug, Clone)]
pub(super) struct Send {
    pub(super) at_ns: u64,
    pub(super) k: u64,
    pub(super) arrives_ns: u64,
}

/// A session from connect to end.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) shard: usize,
    pub(super) connect_ns: u64,
    pub(super) sends: Vec<Send>,
    pub(super) end: End,
    pub(super) end_ns: u64,
    /// When the server learns of the end.
    pub(super) fin_ns: u64,
    pub(super) reads: Vec<u64>,
    pub(super) frames: Vec<Frame>,
    /// The server closes the connection of its own accord, at this time.
    pub(super) hung_up_ns: Option<u64>,
    /// When the client reads to that end at the latest.
    pub(super) notice_ns: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    /// What its target promises, and speaks.
    pub(super) terms: Terms,
    pub(super) shards: usize,
    pub(super) lives: Vec<Life>,
    pub(super) texts: BTreeMap<Id, String>,
    pub(super) sent_ns: BTreeMap<Id, u64>,
    /// What each number is, in order from 1.
    pub(super) log: Vec<Id>,
}

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saw {
    Connecting,
    Sent {
        k: u64,
    },
    /// It half-closed.
    Leaving,
    /// It reset the connection.
    LettingGo,
    /// A whole line, without its LF.
    Line(Vec<u8>),
    /// What one read of a classic stream brought.
    Bytes(Vec<u8>),
    /// The target closed the connection, after this many bytes that are no whole line.
    Closed {
        unread_bytes: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) life: usize,
    pub(super) at_ns: u64,
    pub(super) saw: Saw,
}

/// What came of playing a world.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) findings: Findings,
    /// Everything that the ledgers were told, in order.
    pub(super) observations: Vec<Observation>,
    pub(super) settled: Vec<Settled>,
    /// When frame j of life i was read.
    pub(super) read_ns: Vec<Vec<Option<u64>>>,
    pub(super) sent: u64,
}

/// Which of a player's liberties to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Play {
    pub(super) seed: u64,
    /// Decode every line, never compare with what others of the shard got.
    pub(super) slowly: bool,
}

pub(super) fn address(life: usize) -> String {
    ROOM.with_borrow(|room| match room.addresses.get(life) {
        Some(address) => address.clone(),
        None => format!("127.0.0.1:{}", 10_000 + life % 50_000),
    })
}

/// What sets the world of a room in a house of several apart from one that is alone.
#[derive(Debug, Clone, Default)]
pub(super) struct InHouse {
    /// The number of the session of its first life.
    pub(super) first: u32,
    /// Of each life, that of its connection.
    pub(super) addresses: Vec<String>,
}

thread_local! {
    static ROOM: RefCell<InHouse> = RefCell::default();
}

impl InHouse {
    /// Does something with the world of this room.
    pub(super) fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = ROOM.replace(self.clone());
        let done = act();
        ROOM.replace(before);
        done
    }
}

/// The number of a life's session.
pub(super) fn session(life: usize) -> SenderId {
    SenderId(ROOM.with_borrow(|room| room.first) + life as u32)
}

/// The life of a session.
pub(super) fn life_of(session: SenderId) -> usize {
    let first = ROOM.with_borrow(|room| room.first);
    session.0.wrapping_sub(first) as usize
}

impl World {
    pub(super) fn new(seed: u64, shards: usize) -> Self {
        Self::talking(seed, shards, 12)
    }

    /// A world in which each client sends fewer than `messages`.
    pub(super) fn talking(seed: u64, shards: usize, messages: usize) -> Self {
        let mut rng = rng(seed);
        let count = rng.random_range(3..9_usize);
        let mut lives: Vec<Life> = (0..count)
            .map(|i| draw_life(&mut rng, i < 2, shards, messages))
            .collect();
        lives.sort_by_key(|life| life.connect_ns);
        Self::of(lives, shards, &mut rng)
    }

    /// The world of these lives, in the order in which they connect.
    pub(super) fn of(lives: Vec<Life>, shards: usize, rng: &mut impl Rng) -> Self {
        let mut world = Self {
            terms: terms(),
            shards,
            lives,
            texts: BTreeMap::new(),
            sent_ns: BTreeMap::new(),
            log: Vec::new(),
        };
        world.write_texts(rng);
        world.serve();
        world
    }

    /// The same world, judged by what its clients promise themselves of it: in one shard.
    pub(super) fn judged_by(mut self, promises: Promises) -> Self {
        self.terms.promises = promises;
        self.shards = 1;
        for life in &mut self.lives {
            life.shard = 0;
        }
        self
    }

    /// The same world, its clients dealt out over so many shards, which infer one order together.
    pub(super) fn dealt_over(mut self, shards: usize, rng: &mut impl Rng) -> Self {
        self.shards = shards;
        for life in &mut self.lives {
            life.shard = rng.random_range(0..shards);
        }
        self
    }

    /// The same world, its target speaking the classic dialect: the frames without their numbers,
    /// and no welcomes and byes.
    pub(super) fn in_classic(mut self) -> Self {
        self.terms.capabilities = Protocol::Classic.capabilities();
        for life in 0..self.lives.len() {
            for at in 0..self.lives[life].frames.len() {
                let Frame { seq, what, .. } = self.lives[life].frames[at].clone();
                self.lives[life].frames[at].bytes = self.render(life, seq, &what);
            }
        }
        self
    }

    fn write_texts(&mut self, rng: &mut impl Rng) {
        for (life, drawn) in self.lives.iter().enumerate() {
            let mut previous_ns = 0;
            for send in &drawn.sends {
                let header = Header {
                    run: RUN,
                    sender: session(life),
                    k: send.k,
                    last: false,
                    intended_ns: send.at_ns,
                    previous_ns,
                };
                previous_ns = send.at_ns;
                let mut text = Vec::new();
                let size = payload::HEADER_BYTES + rng.random_range(0..60_usize);
                payload::encode(&mut text, SEED, &header, size);
                let id = Id { life, k: send.k };
                self.texts.insert(id, String::from_utf8(text).unwrap());
                self.sent_ns.insert(id, send.at_ns);
            }
        }
    }

    /// The correct server.
    fn serve(&mut self) {
        #[derive(Clone, Copy)]
        enum Arrival {
            Connect,
            Publish(u64),
            Gone,
        }
        let mut arrivals = Vec::new();
        for (i, life) in self.lives.iter().enumerate() {
            arrivals.push((life.connect_ns + 1, i, Arrival::Connect));
            arrivals.push((life.fin_ns, i, Arrival::Gone));
            let publishes = life.sends.iter();
            arrivals.extend(publishes.map(|s| (s.arrives_ns, i, Arrival::Publish(s.k))));
        }
        arrivals.sort_by_key(|&(ns, i, _)| (ns, i));
        let mut present = vec![false; self.lives.len()];
        for (at_ns, i, arrival) in arrivals {
            let head = self.log.len() as u64;
            match arrival {
                Arrival::Connect => {
                    present[i] = true;
                    self.push(i, at_ns, head, What::Welcome);
                }
                Arrival::Publish(k) if present[i] => {
                    let id = Id { life: i, k };
                    self.log.push(id);
                    for to in (0..present.len()).filter(|&to| present[to]) {
                        let what = if to == i {
                            What::Ack(id)
                        } else {
                            What::Relay(id)
                        };
                        self.push(to, at_ns, head + 1, what);
                    }
                }
                Arrival::Gone if present[i] => {
                    present[i] = false;
                    if self.lives[i].end == End::Polite {
                        self.push(i, at_ns, head, What::Bye);
                    }
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, life: usize, at_ns: u64, seq: u64, what: What) {
        let frame = self.frame_of(life, at_ns, seq, what);
        self.lives[life].frames.push(frame);
    }

    pub(super) fn frame_of(&self, life: usize, at_ns: u64, seq: u64, what: What) -> Frame {
        let bytes = self.render(life, seq, &what);
        Frame {
            at_ns,
            seq,
            what,
            bytes,
        }
    }

    /// The line of a frame to `life`.
    pub(super) fn render(&self, life: usize, seq: u64, what: &What) -> Vec<u8> {
        let mut out = Vec::new();
        if conns::protocol(&self.terms) == Protocol::Classic {
            match what {
                What::Ack(id) => classic::encode_ack(&mut out, &address(id.life)),
                What::Relay(id) => {
                    classic::encode_relay(&mut out, &address(id.life), &self.texts[id]);
                }
                What::Welcome | What::Bye | What::Wrong => {}
            }
            return out;
        }
        match what {
            What::Welcome => ndjson::encode_welcome(&mut out, &address(life), seq, 65_536),
            What::Ack(id) => ndjson::encode_ack(&mut out, seq, Some(wire_id(*id))),
            What::Relay(id) => {
                ndjson::encode_relay(&mut out, seq, &address(id.life), &self.texts[id]);
            }
            What::Bye => ndjson::encode_bye(&mut out, seq),
            What::Wrong => unreachable!("wrong frames are written by hand"),
        }
        out
    }

    /// The line of a relay of any text, as this world's dialect has it.
    pub(super) fn relay_line(&self, seq: u64, from: &str, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        match conns::protocol(&self.terms).dialect() {
            Dialect::Ndjson => ndjson::encode_relay(&mut out, seq, from, text),
            Dialect::Classic => classic::encode_relay(&mut out, from, text),
        }
        out
    }

    /// Gives every number a new one.
    pub(super) fn renumber(&mut self, new: impl Fn(u64) -> u64) {
        for life in 0..self.lives.len() {
            for at in 0..self.lives[life].frames.len() {
                self.set_seq(life, at, &new);
            }
        }
    }

    pub(super) fn set_seq(&mut self, life: usize, at: usize, new: impl Fn(u64) -> u64) {
        let frame = self.lives[life].frames[at].clone();
        if frame.what == What::Wrong {
            return;
        }
        let seq = new(frame.seq);
        let bytes = self.render(life, seq, &frame.what);
        self.lives[life].frames[at] = Frame {
            seq,
            bytes,
            ..frame
        };
    }

    /// Gives every number a new one, except that of one frame, which is left as it is.
    pub(super) fn renumber_but(&mut self, spot: (usize, usize), new: impl Fn(u64) -> u64) {
        for life in 0..self.lives.len() {
            for at in 0..self.lives[life].frames.len() {
                if (life, at) != spot {
                    self.set_seq(life, at, &new);
                }
            }
        }
    }

    /// How long the right line of a frame is.
    pub(super) fn render_len(&self, (life, at): (usize, usize)) -> usize {
        let frame = &self.lives[life].frames[at];
        self.render(life, frame.seq, &frame.what).len()
    }

    /// Puts `what` in place of a frame.
    pub(super) fn replace(&mut self, life: usize, at: usize, seq: u64, what: What) {
        let at_ns = self.lives[life].frames[at].at_ns;
        self.lives[life].frames[at] = self.frame_of(life, at_ns, seq, what);
    }

    /// Puts a frame in front of the one at `at`, sent at the same time.
    pub(super) fn insert(&mut self, life: usize, at: usize, seq: u64, bytes: Vec<u8>) {
        let at_ns = self.lives[life].frames[at].at_ns;
        let frame = Frame {
            at_ns,
            seq,
            what: What::Wrong,
            bytes,
        };
        self.lives[life].frames.insert(at, frame);
    }

    /// Plays the world; `seed` draws the cuts and hand-overs.
    pub(super) fn play(&self, play: Play) -> Played {
        Player::new(self, play).run()
    }

    /// Plays the world, and records it into `trace`.
    pub(super) fn play_recorded(&self, play: Play, recording: &Recording) -> Played {
        let mut player = Player::new(self, play);
        recording.begin(&trace::Header {
            scenario: "a world".to_owned(),
            target: "itself".to_owned(),
            terms: self.terms,
            shards: self.shards as u16,
            clients: (0..self.lives.len()).map(|i| format!("c{i}")).collect(),
            rooms: Vec::new(),
        });
        for (index, ledger) in player.ledgers.iter_mut().enumerate() {
            ledger.record_on(recording.shard(index));
        }
        player.judge.record_on(recording.judge());
        player.run()
    }
}

pub(super) fn wire_id(id: Id) -> u64 {
    publish_id(session(id.life), id.k)
}

pub(super) fn draw_life(rng: &mut impl Rng, core: bool, shards: usize, messages: usize) -> Life {
    let connect_ns = if core {
        rng.random_range(0..1000)
    } else {
        rng.random_range(0..SPAN_NS * 7 / 10)
    };
    let (end, end_ns) = match rng.random_range(0..4) {
        _ if core => (End::Polite, SPAN_NS),
        0 => (End::Abort, rng.random_range(connect_ns + 1000..SPAN_NS)),
        1 => (End::Polite, rng.random_range(connect_ns + 1000..SPAN_NS)),
        _ => (End::Polite, SPAN_NS),
    };
    let count = if rng.random_bool(0.7) {
        rng.random_range(1..messages)
    } else {
        0
    };
    // At it all along, or in one burst, in which several are on their way at once.
    let mut talks_ns = connect_ns + 500..end_ns;
    if rng.random_bool(0.3) {
        let from = rng.random_range(talks_ns.clone());
        talks_ns = from..end_ns.min(from + 100_000);
    }
    let mut times: Vec<u64> = (0..count)
        .map(|_| rng.random_range(talks_ns.clone()))
        .collect();
    times.sort_unstable();
    times.dedup();
    let mut arrived_ns = connect_ns + 2;
    let hop = |rng: &mut dyn Rng| rng.random_range(1..200_000_u64);
    let sends = times.into_iter().zip(1..).map(|(at_ns, k)| {
        let arrives_ns = (at_ns + hop(rng)).max(arrived_ns + 1);
        arrived_ns = arrives_ns;
        Send {
            at_ns,
            k,
            arrives_ns,
        }
    });
    let sends: Vec<Send> = sends.collect();
    let fin_ns = match end {
        End::Polite => (end_ns + hop(rng)).max(arrived_ns + 1),
        // What is under way at a reset may or may not arrive.
        End::Abort => end_ns + hop(rng),
    };
    let last = if end == End::Polite { fin_ns } else { end_ns };
    let reads = rng.random_range(0..40);
    let reads = (0..reads).map(|_| rng.random_range(connect_ns + 1..=last));
    Life {
        shard: 0,
        connect_ns,
        sends,
        end,
        end_ns,
        fin_ns,
        reads: reads.collect(),
        frames: Vec::new(),
        hung_up_ns: None,
        notice_ns: None,
    }
    .in_shard(rng.random_range(0..shards))
}

impl Life {
    fn in_shard(mut self, shard: usize) -> Self {
        self.shard = shard;
        self
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect(usize),
    Send(usize, usize),
    End(usize),
    Read(usize),
    /// Reads all there is.
    CatchUp(usize),
    LastRead(usize),
    HandOver,
}

/// A connection as the client holds it.
struct Connection {
    handle: Handle,
    conn: AnyConn,
    /// Bytes read so far.
    taken: usize,
    /// Of these, the ones after the last LF.
    unfinished: Vec<u8>,
}

/// What came and is not whole yet.
struct Player<'w> {
    world: &'w World,
    rng: Pcg64Mcg,
    /// Draws which shard hands over, or is absorbed. Where one order is inferred together, clients
    /// see the same things at the same times over however many shards they are dealt.
    shard_rng: Option<Pcg64Mcg>,
    ledgers: Vec<Ledger>,
    judge: Judge,
    batches: Vec<VecDeque<crate::batch::Batch>>,
    connections: Vec<Option<Connection>>,
    over: Vec<bool>,
    read_ns: Vec<Vec<Option<u64>>>,
    settled: Vec<Settled>,
    observations: Vec<Observation>,
    sent: u64,
}

impl<'w> Player<'w> {
    fn new(world: &'w World, play: Play) -> Self {
        let names = (0..world.lives.len()).map(|i| format!("c{i}")).collect();
        let infers = !world.terms.are_numbered();
        let inferring = if infers { world.shards } else { 1 };
        let directory = Arc::new(Directory::new(names).with_shards(inferring));
        let ledger = |shard| {
            let mut ledger = Ledger::of_shard(shard, world.terms, Arc::clone(&directory));
            if play.slowly {
                ledger.never_compare();
            }
            ledger
        };
        Self {
            world,
            rng: rng(play.seed),
            shard_rng: (inferring > 1).then(|| rng(play.seed ^ 0x54a3d)),
            ledgers: (0..world.shards).map(ledger).collect(),
            judge: Judge::new(directory, world.shards, Some(LATE_AFTER_NS)),
            batches: (0..world.shards).map(|_| VecDeque::new()).collect(),
            connections: world.lives.iter().map(|_| None).collect(),
            over: vec![false; world.lives.len()],
            read_ns: world
                .lives
                .iter()
                .map(|l| vec![None; l.frames.len()])
                .collect(),
            settled: Vec::new(),
            observations: Vec::new(),
            sent: 0,
        }
    }

    fn run(mut self) -> Played {
        for (at_ns, step) in self.schedule() {
            self.step(at_ns, step);
        }
        for shard in 0..self.ledgers.len() {
            let batch = self.ledgers[shard].take_batch();
            self.batches[shard].push_back(batch);
        }
        while self.batches.iter().any(|b| !b.is_empty()) {
            self.absorb();
        }
        let settled = &mut self.settled;
        let findings = self.judge.finish(false, |s| settled.push(s));
        Played {
            findings,
            observations: self.observations,
            settled: self.settled,
            read_ns: self.read_ns,
            sent: self.sent,
        }
    }

    fn schedule(&mut self) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        let end_ns = SPAN_NS * 2;
        for (i, life) in self.world.lives.iter().enumerate() {
            steps.push((life.connect_ns, Step::Connect(i)));
            steps.push((life.end_ns, Step::End(i)));
            let sends = life.sends.iter().enumerate();
            steps.extend(sends.map(|(n, s)| (s.at_ns, Step::Send(i, n))));
            steps.extend(life.reads.iter().map(|&ns| (ns, Step::Read(i))));
            let sent_ns = life.frames.last().map_or(0, |f| f.at_ns);
            if sent_ns > end_ns {
                steps.push((end_ns, Step::CatchUp(i)));
            }
            let last_ns = end_ns.max(sent_ns) + self.rng.random_range(1..1_000_000);
            let last_ns = life.notice_ns.unwrap_or(last_ns);
            steps.push((last_ns, Step::LastRead(i)));
        }
        for _ in 0..self.rng.random_range(0..60) {
            let at_ns = self.rng.random_range(0..end_ns + 1_000_000);
            steps.push((at_ns, Step::HandOver));
        }
        steps.sort_by_key(|&(ns, _)| ns);
        steps
    }

    fn step(&mut self, now_ns: u64, step: Step) {
        match step {
            Step::Connect(i) => {
                let ledger = &mut self.ledgers[self.world.lives[i].shard];
                let handle = ledger.connecting(ClientId(i as u32)).unwrap();
                ledger.connected(handle, address(i).parse().unwrap());
                self.connections[i] = Some(Connection {
                    handle,
                    conn: conns::open(conns::protocol(&self.world.terms)),
                    taken: 0,
                    unfinished: Vec::new(),
                });
                self.saw(i, now_ns, Saw::Connecting);
            }
            Step::Send(i, n) => {
                let send = &self.world.lives[i].sends[n];
                let Some(connection) = &self.connections[i] else {
                    return;
                };
                let ledger = &mut self.ledgers[self.world.lives[i].shard];
                let header = ledger
                    .sending(connection.handle, send.at_ns, now_ns, false)
                    .unwrap();
                assert_eq!((header.sender, header.k), (SenderId(i as u32), send.k));
                self.sent += 1;
                self.saw(i, now_ns, Saw::Sent { k: send.k });
            }
            Step::End(i) => {
                let life = &self.world.lives[i];
                let Some(connection) = &self.connections[i] else {
                    return;
                };
                let ledger = &mut self.ledgers[life.shard];
                match life.end {
                    End::Polite => {
                        ledger.leaving(connection.handle, now_ns);
                        self.saw(i, now_ns, Saw::Leaving);
                    }
                    End::Abort => {
                        ledger.letting_go(connection.handle);
                        self.saw(i, now_ns, Saw::LettingGo);
                        self.end(i, Ending::Ours, now_ns);
                    }
                }
            }
            Step::Read(i) => self.read(i, now_ns, false),
            Step::CatchUp(i) => self.read(i, now_ns, true),
            Step::LastRead(i) => {
                self.read(i, now_ns, true);
                self.end(i, Ending::Eof, now_ns);
            }
            Step::HandOver => {
                let shard = self.draw_one_of(self.ledgers.len());
                let batch = self.ledgers[shard].take_batch();
                self.batches[shard].push_back(batch);
                if self.rng.random_bool(0.7) {
                    self.absorb();
                }
            }
        }
    }

    fn draw_one_of(&mut self, shards: usize) -> usize {
        let Some(shard_rng) = &mut self.shard_rng else {
            return self.rng.random_range(0..shards);
        };
        let _: usize = self.rng.random_range(0..1); // as if there were one
        shard_rng.random_range(0..shards)
    }

    /// Absorbs the oldest batch of a random shard that has one.
    fn absorb(&mut self) {
        let waiting: Vec<usize> = (0..self.batches.len())
            .filter(|&s| !self.batches[s].is_empty())
            .collect();
        if waiting.is_empty() {
            return;
        }
        let shard = waiting[self.draw_one_of(waiting.len())];
        let batch = self.batches[shard].pop_front().unwrap();
        let settled = &mut self.settled;
        self.judge.absorb(shard, batch, |s| settled.push(s));
    }

    fn read(&mut self, i: usize, now_ns: u64, everything: bool) {
        let life = &self.world.lives[i];
        let Some(connection) = &mut self.connections[i] else {
            return;
        };
        let mut stream = Vec::new();
        let mut ends = Vec::new();
        for frame in life.frames.iter().take_while(|f| f.at_ns <= now_ns) {
            stream.extend_from_slice(&frame.bytes);
            ends.push(stream.len());
        }
        let ledger = &mut self.ledgers[life.shard];
        let mut bye = false;
        while connection.taken < stream.len() {
            let left = stream.len() - connection.taken;
            let piece = self.rng.random_range(1..=left);
            let chunk = &stream[connection.taken..connection.taken + piece];
            let (handle, conn) = (connection.handle, &mut connection.conn);
            let events = conns::read_on(ledger, handle, conn, chunk, now_ns);
            bye |= events.contains(&Event::Bye);
            connection.taken += piece;
            let lines = match conns::protocol(&self.world.terms).dialect() {
                Dialect::Ndjson => chunk,
                Dialect::Classic => {
                    self.observations.push(Observation {
                        life: i,
                        at_ns: now_ns,
                        saw: Saw::Bytes(chunk.to_vec()),
                    });
                    &[]
                }
            };
            for &byte in lines {
                if byte != b'\n' {
                    connection.unfinished.push(byte);
                    continue;
                }
                self.observations.push(Observation {
                    life: i,
                    at_ns: now_ns,
                    saw: Saw::Line(std::mem::take(&mut connection.unfinished)),
                });
            }
            if !everything && self.rng.random_bool(0.3) {
                break;
            }
        }
        let taken = connection.taken;
        for (at, end) in ends.iter().enumerate() {
            if *end <= taken && self.read_ns[i][at].is_none() {
                self.read_ns[i][at] = Some(now_ns);
            }
        }
        let hung_up = life.hung_up_ns.is_some_and(|ns| ns <= now_ns) && taken == stream.len();
        // Without a bye the end is the end of the stream.
        let closed = conns::protocol(&self.world.terms) == Protocol::Classic
            && life
                .frames
                .last()
                .is_some_and(|f| f.what == What::Bye && f.at_ns <= now_ns);
        if (bye || closed) && taken == stream.len() || hung_up {
            self.end(i, Ending::Eof, now_ns);
        }
    }

    fn saw(&mut self, life: usize, at_ns: u64, saw: Saw) {
        self.observations.push(Observation { life, at_ns, saw });
    }

    fn end(&mut self, i: usize, ending: Ending, now_ns: u64) {
        if let Some(mut connection) = self.connections[i].take() {
            let ledger = &mut self.ledgers[self.world.lives[i].shard];
            let conn = &mut connection.conn;
            if ending == Ending::Eof {
                ledger.finish(connection.handle, conn, now_ns, |_, _| ());
            }
            let unread = match conns::protocol(&self.world.terms).dialect() {
                Dialect::Ndjson => conn.unread(),
                Dialect::Classic => &[],
            };
            ledger.ended(connection.handle, ending, unread, now_ns);
            self.over[i] = true;
            if ending != Ending::Ours {
                let unread_bytes = connection.unfinished.len();
                self.saw(i, now_ns, Saw::Closed { unread_bytes });
            }
        }
    }
}
