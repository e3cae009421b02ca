//! A house of several rooms: each is a [`World`] of its own, whose lives are memberships, and the
//! unnamed room is one whose lives are the connections that they share. A connection's stream is
//! made of all of them, each line with its room in it. So whatever a world can have done to it, one
//! room of many can.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::conns;
use super::world::{
    End, InHouse, LATE_AFTER_NS, Life, Observation, SPAN_NS, Saw, What, World, address, draw_life,
    rng, session,
};
use crate::batch::Batch;
use crate::directory::{ClientId, Directory};
use crate::findings::Findings;
use crate::judge::Judge;
use crate::ledger::{Ending, Handle, Ledger, Terms};
use crate::trace;
use crate::trace::file::Recording;
use chatbench_wire::payload::SenderId;
use chatbench_wire::protocol::AnyConn;
use chatbench_wire::rooms::{RoomId, RoomNames};

/// Sessions of a room have numbers from a multiple of this on.
const NUMBERS: u32 = 64;

/// Clients are at it in the rooms so much later than they would be in a world of its own: their
/// connections stand by then.
const AFTER_NS: u64 = 5_000;

/// When clients leave that do not before.
const LEAVE_NS: u64 = SPAN_NS + 2 * AFTER_NS;

#[derive(Debug, Clone)]
pub(super) struct House {
    pub(super) terms: Terms,
    shards: usize,
    /// The unnamed room first.
    pub(super) worlds: Vec<World>,
    rooms: Vec<InHouse>,
    /// Of each world, the connection of each life.
    connection_of: Vec<Vec<usize>>,
    /// Frames besides: to which connection, after which of its frames, and what.
    extra: Vec<Extra>,
}

/// A frame that no room accounts for.
#[derive(Debug, Clone)]
pub(super) struct Extra {
    pub(super) connection: usize,
    /// After so many frames of its stream.
    pub(super) after: usize,
    pub(super) line: Vec<u8>,
}

/// A frame of a connection's stream.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) at_ns: u64,
    /// World, life and frame; `None` for an extra one.
    pub(super) of: Option<(usize, usize, usize)>,
    /// With its room in it.
    pub(super) line: Vec<u8>,
}

/// What came of playing a house.
pub(super) struct Lived {
    pub(super) findings: Findings,
    /// What each room's members saw of it, as in a world of its own.
    pub(super) by_room: Vec<Vec<Observation>>,
    /// The whole lines that each connection got.
    pub(super) lines: Vec<Vec<Vec<u8>>>,
}

pub(super) fn name(room: usize) -> String {
    format!("room-{room}")
}

/// A line of a world, as it is in a named room.
pub(super) fn labelled(line: &[u8], room: usize) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(line) else {
        return line.to_vec();
    };
    let label = format!(r#""room":"{}","#, name(room));
    for kind in ["relay", "ack", "error"] {
        let begin = format!(r#"{{"type":"{kind}","#);
        if let Some(rest) = text.strip_prefix(&begin) {
            return format!("{begin}{label}{rest}").into_bytes();
        }
    }
    if let Some(rest) = text.strip_prefix(r#"{"type":"bye","#) {
        return format!(r#"{{"type":"left",{label}{rest}"#).into_bytes();
    }
    if text.starts_with(r#"{"type":"welcome","#)
        && let Ok(serde_json::Value::Object(welcome)) = serde_json::from_str(text)
    {
        return format!(
            "{{\"type\":\"joined\",{label}\"seq\":{}}}\n",
            welcome["seq"]
        )
        .into_bytes();
    }
    line.to_vec()
}

/// The lives of a room's members.
fn draw_members(rng: &mut Pcg64Mcg) -> Vec<Life> {
    let count = rng.random_range(2..6_usize);
    let mut lives: Vec<Life> = (0..count)
        .map(|i| {
            let mut life = draw_life(rng, i < 2, 1, 12);
            let ends_last = life.end_ns == SPAN_NS;
            life.connect_ns += AFTER_NS;
            life.end_ns += AFTER_NS;
            life.fin_ns += AFTER_NS;
            for send in &mut life.sends {
                send.at_ns += AFTER_NS;
                send.arrives_ns += AFTER_NS;
            }
            if ends_last && rng.random_bool(0.5) {
                // It leaves the room by leaving altogether.
                life.end_ns = LEAVE_NS;
                life.fin_ns += AFTER_NS;
            }
            life
        })
        .collect();
    lives.sort_by_key(|life| life.connect_ns);
    lives
}

/// The life of a connection, in the unnamed room.
fn draw_connection(rng: &mut Pcg64Mcg, broke_off: Option<&Life>) -> Life {
    let mut life = draw_life(rng, true, 1, 6);
    (life.end_ns, life.fin_ns) = (LEAVE_NS, LEAVE_NS + 400_000);
    if let Some(other) = broke_off {
        (life.end, life.end_ns, life.fin_ns) = (End::Abort, other.end_ns, other.fin_ns);
        life.sends.retain(|send| send.at_ns < other.end_ns);
    }
    life
}

/// Has all connections that meet in a room on the shard of one of them.
fn pin(connections: &mut [Life], rooms: &[Vec<usize>]) {
    let mut moved = true;
    while std::mem::take(&mut moved) {
        for members in rooms {
            let least = members.iter().map(|&c| connections[c].shard).min();
            for &c in members {
                let shard = least.unwrap_or(0);
                moved |= std::mem::replace(&mut connections[c].shard, shard) != shard;
            }
        }
    }
}

impl House {
    /// Draws a house of so many named rooms, whose clients are dealt over the shards: as they come
    /// unless the order of several senders is inferred: then whoever meets in a room is on one.
    pub(super) fn new(seed: u64, terms: Terms, named: usize, shards: usize) -> Self {
        let pinned = shards > 1 && !terms.are_numbered() && terms.promises.need_one_shard();
        let rng = &mut rng(seed);
        let mut lives: Vec<Vec<Life>> = vec![Vec::new()];
        lives.extend((0..named).map(|_| draw_members(rng)));
        // Who breaks off has a connection of its own; the others share some.
        let mut connections: Vec<Vec<(usize, usize)>> = Vec::new();
        for room in 1..=named {
            for (at, life) in lives[room].iter().enumerate() {
                let fits = |&(of, other): &(usize, usize)| {
                    let other = &lives[of][other];
                    let apart = other.fin_ns < life.connect_ns || life.fin_ns < other.connect_ns;
                    let meets = !pinned || (of + room) % 2 == 0; // so that not all do
                    other.end == End::Polite && (of != room || apart) && meets
                };
                let mut shared: Vec<usize> = (0..connections.len()).collect();
                shared.retain(|&c| connections[c].iter().all(fits));
                if life.end == End::Abort || shared.is_empty() || rng.random_bool(0.2) {
                    connections.push(vec![(room, at)]);
                } else {
                    let shared = shared[rng.random_range(0..shared.len())];
                    connections[shared].push((room, at));
                }
            }
        }
        let connection = |members: &Vec<(usize, usize)>| {
            let lives = members.iter().map(|&(room, at)| &lives[room][at]);
            let broke_off = lives.into_iter().find(|life| life.end == End::Abort);
            (draw_connection(rng, broke_off), members.clone())
        };
        let mut drawn: Vec<(Life, Vec<(usize, usize)>)> =
            connections.iter().map(connection).collect();
        drawn.sort_by_key(|(life, _)| life.connect_ns);
        let mut connection_of: Vec<Vec<usize>> =
            lives.iter().map(|lives| vec![0; lives.len()]).collect();
        connection_of[0] = (0..drawn.len()).collect();
        for (c, (_, members)) in drawn.iter().enumerate() {
            members
                .iter()
                .for_each(|&(room, at)| connection_of[room][at] = c);
        }
        lives[0] = drawn.into_iter().map(|(life, _)| life).collect();
        for life in &mut lives[0] {
            life.shard = rng.random_range(0..shards);
            if pinned {
                life.sends.clear(); // more than FIFO is not told of the unnamed room then
            }
        }
        if pinned {
            pin(&mut lives[0], &connection_of[1..]);
        }
        let rooms: Vec<InHouse> = (0..=named)
            .map(|room| InHouse {
                first: NUMBERS * room as u32,
                addresses: connection_of[room].iter().map(|&c| address(c)).collect(),
            })
            .collect();
        let worlds = lives.into_iter().zip(&rooms);
        let worlds = worlds.map(|(lives, room)| room.within(|| World::of(lives, 1, rng)));
        Self {
            terms,
            shards,
            worlds: worlds.collect(),
            rooms,
            connection_of,
            extra: Vec::new(),
        }
    }

    /// Has one shard drive all of it.
    pub(super) fn on_one_shard(&mut self) {
        self.shards = 1;
        for life in &mut self.worlds[0].lives {
            life.shard = 0;
        }
    }

    /// The shards on which each room ever has members.
    fn shards_by_room(&self) -> Vec<Vec<usize>> {
        let connections = &self.worlds[0].lives;
        let shards = |of: &Vec<usize>| {
            let shards: BTreeSet<usize> = of.iter().map(|&c| connections[c].shard).collect();
            shards.into_iter().collect()
        };
        self.connection_of.iter().map(shards).collect()
    }

    /// Does something to the world of a room.
    pub(super) fn in_room<T>(&mut self, room: usize, act: impl FnOnce(&mut World) -> T) -> T {
        let world = &mut self.worlds[room];
        self.rooms[room].within(|| act(world))
    }

    /// Looks something up with the numbers and addresses of a room.
    pub(super) fn of_room<T>(&self, room: usize, look: impl FnOnce() -> T) -> T {
        self.rooms[room].within(look)
    }

    /// The room that a session's number belongs to.
    pub(super) fn room_of(session: SenderId) -> usize {
        (session.0 / NUMBERS) as usize
    }

    /// How often a connection asked to join a room.
    pub(super) fn asked(&self, lived: &Lived, connection: usize, room: usize) -> usize {
        let asked = lived.by_room[room]
            .iter()
            .filter(|o| o.saw == Saw::Connecting);
        asked
            .filter(|o| self.connection_of[room][o.life] == connection)
            .count()
    }

    /// A frame comes besides.
    pub(super) fn add(&mut self, extra: Extra) {
        self.extra.push(extra);
    }

    /// The stream of each connection.
    pub(super) fn streams(&self) -> Vec<Vec<Piece>> {
        let mut streams = vec![Vec::new(); self.worlds[0].lives.len()];
        for (room, world) in self.worlds.iter().enumerate() {
            for (life, it) in world.lives.iter().enumerate() {
                let stream = &mut streams[self.connection_of[room][life]];
                let mut at_ns = 0;
                for (at, frame) in it.frames.iter().enumerate() {
                    at_ns = frame.at_ns.max(at_ns);
                    let line = match room {
                        0 => frame.bytes.clone(),
                        _ => labelled(&frame.bytes, room),
                    };
                    let of = Some((room, life, at));
                    stream.push(Piece { at_ns, of, line });
                }
            }
        }
        for stream in &mut streams {
            stream.sort_by_key(|piece| piece.at_ns);
        }
        // From the end on, so that the places of the others stay as they are.
        let mut extra: Vec<&Extra> = self.extra.iter().collect();
        extra.sort_by_key(|extra| std::cmp::Reverse(extra.after));
        for Extra {
            connection,
            after,
            line,
        } in extra
        {
            let stream = &mut streams[*connection];
            let after = (*after).min(stream.len());
            let at_ns = stream[..after].last().map_or(0, |before| before.at_ns);
            let line = line.clone();
            stream.insert(
                after,
                Piece {
                    at_ns,
                    of: None,
                    line,
                },
            );
        }
        streams
    }

    pub(super) fn play(&self, seed: u64) -> Lived {
        Player::new(self, seed).run()
    }

    /// Plays it, and returns its trace as well.
    pub(super) fn record(&self, seed: u64) -> (Lived, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("house.trace");
        let recording = Recording::create(&path, false).unwrap();
        let mut player = Player::new(self, seed);
        recording.begin(&trace::Header {
            scenario: "a house".to_owned(),
            target: "itself".to_owned(),
            terms: self.terms,
            shards: self.shards as u16,
            clients: player.directory.names().to_vec(),
            rooms: (1..self.worlds.len()).map(name).collect(),
        });
        for (index, ledger) in player.ledgers.iter_mut().enumerate() {
            ledger.record_on(recording.shard(index));
        }
        player.judge.record_on(recording.judge());
        let lived = player.run();
        recording.finish(Vec::new()).unwrap();
        (lived, std::fs::read(path).unwrap())
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect(usize),
    Join(usize, usize),
    Send(usize, usize, usize),
    LeaveRoom(usize, usize),
    End(usize),
    Read(usize),
    LastRead(usize),
    HandOver,
}

struct Connection {
    handle: Handle,
    conn: AnyConn,
    /// Bytes read so far, and whole frames.
    taken: usize,
    frames: usize,
}

struct Player<'h> {
    house: &'h House,
    rng: Pcg64Mcg,
    /// Draws which shard hands over, or is absorbed: clients see the same things at the same times
    /// over however many shards they are dealt.
    shard_rng: Pcg64Mcg,
    streams: Vec<Vec<Piece>>,
    directory: Arc<Directory>,
    ledgers: Vec<Ledger>,
    judge: Judge,
    batches: Vec<VecDeque<Batch>>,
    connections: Vec<Option<Connection>>,
    /// Of each world, whether each life is over, and whether it was about to leave.
    over: Vec<Vec<bool>>,
    leaving: Vec<Vec<bool>>,
    by_room: Vec<Vec<Observation>>,
    lines: Vec<Vec<Vec<u8>>>,
}

impl<'h> Player<'h> {
    fn new(house: &'h House, seed: u64) -> Self {
        let count = house.worlds[0].lives.len();
        let named: Vec<String> = (1..house.worlds.len()).map(name).collect();
        let rooms = Arc::new(RoomNames::new(named.iter().map(String::as_str)));
        let clients = (0..count).map(|i| format!("c{i}")).collect();
        let directory = Directory::new(clients).with_rooms(rooms);
        let directory = match house.terms.are_numbered() {
            true => directory,
            false => {
                let by_room = house.shards_by_room();
                directory
                    .with_shards(house.shards)
                    .with_shards_by_room(&by_room)
            }
        };
        let directory = Arc::new(directory);
        let ledger = |shard| Ledger::of_shard(shard, house.terms, directory.clone());
        let blank = || house.worlds.iter().map(|w| vec![false; w.lives.len()]);
        Self {
            house,
            rng: rng(seed),
            shard_rng: rng(seed ^ 0x54a3d),
            streams: house.streams(),
            ledgers: (0..house.shards).map(ledger).collect(),
            judge: Judge::new(directory.clone(), house.shards, Some(LATE_AFTER_NS)),
            batches: (0..house.shards).map(|_| VecDeque::new()).collect(),
            connections: (0..count).map(|_| None).collect(),
            over: blank().collect(),
            leaving: blank().collect(),
            by_room: vec![Vec::new(); house.worlds.len()],
            lines: vec![Vec::new(); count],
            directory,
        }
    }

    fn run(mut self) -> Lived {
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
        Lived {
            findings: self.judge.finish(false, |_| ()),
            by_room: self.by_room,
            lines: self.lines,
        }
    }

    fn schedule(&mut self) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        for (room, world) in self.house.worlds.iter().enumerate() {
            for (at, life) in world.lives.iter().enumerate() {
                let begin = match room {
                    0 => Step::Connect(at),
                    _ => Step::Join(room, at),
                };
                steps.push((life.connect_ns, begin));
                let sends = life.sends.iter().enumerate();
                steps.extend(sends.map(|(n, send)| (send.at_ns, Step::Send(room, at, n))));
                if room == 0 {
                    steps.push((life.end_ns, Step::End(at)));
                    for _ in 0..self.rng.random_range(0..60) {
                        let at_ns = self.rng.random_range(0..SPAN_NS * 2);
                        steps.push((at_ns, Step::Read(at)));
                    }
                    let last_ns = SPAN_NS * 2 + self.rng.random_range(1..1_000_000);
                    steps.push((last_ns, Step::LastRead(at)));
                } else if life.end == End::Polite && life.end_ns < LEAVE_NS {
                    steps.push((life.end_ns, Step::LeaveRoom(room, at)));
                }
            }
        }
        for _ in 0..self.rng.random_range(0..60) {
            let at_ns = self.rng.random_range(0..SPAN_NS * 2);
            steps.push((at_ns, Step::HandOver));
        }
        steps.sort_by_key(|&(ns, _)| ns);
        steps
    }

    /// The ledger of a connection, and its handle there; `None` once that is over.
    fn at(&mut self, connection: usize) -> Option<(&mut Ledger, Handle)> {
        let shard = self.house.worlds[0].lives[connection].shard;
        let handle = self.connections[connection].as_ref()?.handle;
        Some((&mut self.ledgers[shard], handle))
    }

    fn step(&mut self, now_ns: u64, step: Step) {
        let house = self.house;
        match step {
            Step::Connect(c) => {
                let ledger = &mut self.ledgers[house.worlds[0].lives[c].shard];
                let open = || ledger.connecting(ClientId(c as u32)).unwrap();
                let id = house.of_room(0, || session(c));
                let handle = self.directory.opens_as(id, open);
                ledger.connected(handle, address(c).parse().unwrap());
                let rooms = self.directory.room_names();
                self.connections[c] = Some(Connection {
                    handle,
                    conn: conns::open_in(conns::protocol(&house.terms), rooms),
                    taken: 0,
                    frames: 0,
                });
                self.saw(0, c, now_ns, Saw::Connecting);
            }
            Step::Join(room, life) => {
                let id = house.of_room(room, || session(life));
                let directory = self.directory.clone();
                if let Some((ledger, handle)) = self.at(house.connection_of[room][life]) {
                    let join = || assert!(ledger.joining(handle, RoomId(room as u32)));
                    directory.opens_as(id, join);
                    self.saw(room, life, now_ns, Saw::Connecting);
                }
            }
            Step::Send(room, life, n) => {
                let send = &house.worlds[room].lives[life].sends[n];
                let id = house.of_room(room, || session(life));
                if let Some((ledger, handle)) = self.at(house.connection_of[room][life]) {
                    let at = RoomId(room as u32);
                    let header = ledger
                        .sending_in(handle, at, send.at_ns, now_ns, false)
                        .unwrap();
                    assert_eq!((header.sender, header.k), (id, send.k));
                    self.saw(room, life, now_ns, Saw::Sent { k: send.k });
                }
            }
            Step::LeaveRoom(room, life) => {
                if let Some((ledger, handle)) = self.at(house.connection_of[room][life]) {
                    ledger.leaving_room(handle, RoomId(room as u32), now_ns);
                    self.leaving[room][life] = true;
                    self.saw(room, life, now_ns, Saw::Leaving);
                }
            }
            Step::End(c) => {
                let end = house.worlds[0].lives[c].end;
                let Some((ledger, handle)) = self.at(c) else {
                    return;
                };
                let saw = match end {
                    End::Polite => {
                        ledger.leaving(handle, now_ns);
                        Saw::Leaving
                    }
                    End::Abort => {
                        ledger.letting_go(handle);
                        Saw::LettingGo
                    }
                };
                for (room, life) in self.memberships(c) {
                    if !(saw == Saw::Leaving && self.leaving[room][life]) {
                        self.saw(room, life, now_ns, saw.clone());
                    }
                }
                if end == End::Abort {
                    self.end(c, Ending::Ours, now_ns);
                }
            }
            Step::Read(c) => self.read(c, now_ns, false),
            Step::LastRead(c) => {
                self.read(c, now_ns, true);
                self.end(c, Ending::Eof, now_ns);
            }
            Step::HandOver => {
                let shard = self.shard_rng.random_range(0..self.ledgers.len());
                let batch = self.ledgers[shard].take_batch();
                self.batches[shard].push_back(batch);
                if self.rng.random_bool(0.7) {
                    self.absorb();
                }
            }
        }
    }

    /// The memberships of a connection that are not over, that in the unnamed room among them.
    fn memberships(&self, connection: usize) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        for (room, of) in self.house.connection_of.iter().enumerate() {
            let begun = |life: usize| self.by_room[room].iter().any(|o| o.life == life);
            let its = (0..of.len()).filter(|&life| of[life] == connection && begun(life));
            all.extend(its.map(|life| (room, life)));
        }
        all.retain(|&(room, life)| !self.over[room][life]);
        all
    }

    fn absorb(&mut self) {
        let waiting: Vec<usize> = (0..self.batches.len())
            .filter(|&s| !self.batches[s].is_empty())
            .collect();
        if waiting.is_empty() {
            return;
        }
        let shard = waiting[self.shard_rng.random_range(0..waiting.len())];
        let batch = self.batches[shard].pop_front().unwrap();
        self.judge.absorb(shard, batch, |_| ());
    }

    fn read(&mut self, c: usize, now_ns: u64, everything: bool) {
        let house = self.house;
        let Some(connection) = &mut self.connections[c] else {
            return;
        };
        let there = self.streams[c].iter().take_while(|p| p.at_ns <= now_ns);
        let stream: Vec<u8> = there.flat_map(|p| p.line.iter().copied()).collect();
        let ledger = &mut self.ledgers[house.worlds[0].lives[c].shard];
        let mut came = Vec::new();
        while connection.taken < stream.len() {
            let left = stream.len() - connection.taken;
            let piece = self.rng.random_range(1..=left);
            let chunk = &stream[connection.taken..connection.taken + piece];
            conns::read_on(
                ledger,
                connection.handle,
                &mut connection.conn,
                chunk,
                now_ns,
            );
            connection.taken += piece;
            if !everything && self.rng.random_bool(0.3) {
                break;
            }
        }
        let mut end: usize = self.streams[c][..connection.frames]
            .iter()
            .map(|p| p.line.len())
            .sum();
        for piece in &self.streams[c][connection.frames..] {
            end += piece.line.len();
            if end > connection.taken {
                break;
            }
            connection.frames += 1;
            came.push(piece.clone());
        }
        let mut said_goodbye = false;
        for Piece { of, line, .. } in came {
            let lines = line.split_inclusive(|&b| b == b'\n');
            self.lines[c].extend(lines.map(<[u8]>::to_vec));
            let Some((room, life, at)) = of else { continue };
            let frame = &house.worlds[room].lives[life].frames[at];
            for line in frame.bytes.split_inclusive(|&b| b == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
                self.saw(room, life, now_ns, Saw::Line(line));
            }
            if frame.what == What::Bye {
                self.closed(room, life, now_ns);
                said_goodbye |= room == 0;
            }
        }
        if said_goodbye {
            self.end(c, Ending::Eof, now_ns);
        }
    }

    fn closed(&mut self, room: usize, life: usize, now_ns: u64) {
        if !std::mem::replace(&mut self.over[room][life], true) {
            self.saw(room, life, now_ns, Saw::Closed { unread_bytes: 0 });
        }
    }

    fn saw(&mut self, room: usize, life: usize, at_ns: u64, saw: Saw) {
        self.by_room[room].push(Observation { life, at_ns, saw });
    }

    fn end(&mut self, c: usize, ending: Ending, now_ns: u64) {
        let Some((ledger, handle)) = self.at(c) else {
            return;
        };
        ledger.ended(handle, ending, b"", now_ns);
        self.connections[c] = None;
        for (room, life) in self.memberships(c) {
            match ending {
                Ending::Ours => self.over[room][life] = true,
                _ => self.closed(room, life, now_ns),
            }
        }
    }
}
