//! The directory, which every shard may ask about any session: whose it is, in which room, from
//! which address it sends, and how far the target's numbers had got in each room.
//!
//! The one piece of verification that threads share. It is asked once per message and shard, when a
//! line is decoded for the first time, never per delivery.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rustc_hash::FxHashMap;

use super::ids::MAX_SESSIONS;
use super::numbered::MAX_SEQ;
use super::numberings::Numberings;
use super::public::{Public, RoomNews, Seat};
use super::sends::Sends;
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::{RoomId, RoomNames};

/// A client of the plan, by its place among all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// Sessions by number; clients and rooms by name; the highest number seen in each room.
#[derive(Debug)]
pub struct Directory {
    names: Vec<String>,
    room_names: Arc<RoomNames>,
    /// By [`RoomId`]: how many members a shard is to have in each room, as far as that is known.
    members: Vec<u32>,
    /// The place of each client's latencies; clients that are not in it have the first place.
    groups: Vec<usize>,
    sessions: RwLock<Sessions>,
    /// Where there are rooms besides the unnamed one: the client and the room of every session that
    /// there ever was, by number. Long after a session is over a message of it may still come in a
    /// room that is not its own.
    ever: RwLock<Vec<(ClientId, RoomId)>>,
    next_session: AtomicU32,
    /// By [`RoomId`]; the first is the unnamed one.
    rooms: Box<[Room]>,
    /// How many events have been counted: the order of the events of a recorded run.
    moment: AtomicU64,
    /// Held while an event of a recorded run is counted, or the highest number rises.
    counting: Mutex<()>,
    raw: RwLock<RawTexts>,
    /// A script sent bytes that concern a named room.
    raw_in_rooms: AtomicBool,
    /// When the latest messages were really sent.
    pub(super) sends: Sends,
    /// What the ledgers tell one another of the unnamed room, where the order is inferred on several
    /// shards.
    public: Arc<Public>,
    /// Of each shard, the named rooms of which others have told something.
    news: Arc<[RoomNews]>,
}

/// The sessions that are not forgotten. There may be millions, most of them memberships of
/// connections in rooms, so that what is kept of one is small.
#[derive(Debug, Default)]
struct Sessions {
    entries: FxHashMap<SenderId, Entry>,
    /// The address of each connection, by the session that it has in the unnamed room.
    addresses: FxHashMap<SenderId, Address>,
    /// How many sessions have the address of this one, itself included, where several have.
    sharing: FxHashMap<SenderId, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    client: ClientId,
    /// The session of the same connection that has the address.
    connection: SenderId,
}

#[derive(Debug)]
struct Address {
    text: Box<str>,
    /// The connection's own session is forgotten, and not all that share the address.
    is_kept_for_others: bool,
}

impl Sessions {
    /// The address of a session. That of a connection's own is found at once: it is asked for with
    /// every message.
    fn address(&self, session: SenderId) -> Option<&str> {
        let address = match self.addresses.get(&session) {
            Some(address) => Some(address).filter(|address| !address.is_kept_for_others),
            None => self.addresses.get(&self.entries.get(&session)?.connection),
        };
        address.map(|address| &*address.text)
    }

    fn forget(&mut self, session: SenderId) {
        let Some(Entry { connection, .. }) = self.entries.remove(&session) else {
            return;
        };
        if let Some(others) = self.sharing.get_mut(&connection) {
            *others -= 1;
            if *others > 0 {
                if let Some(address) = self.addresses.get_mut(&session) {
                    address.is_kept_for_others = true;
                }
                return;
            }
            self.sharing.remove(&connection);
        }
        self.addresses.remove(&connection);
    }
}

/// The shared part of what is known of a room.
#[derive(Debug, Default)]
struct Room {
    highest_seq: AtomicU64,
    numberings: Mutex<Numberings>,
    /// For each ledger of the room, in the order in which they were enrolled, how often it got its
    /// first member after a time without.
    occupied: Mutex<Vec<u32>>,
    /// What the ledgers tell one another of it, where the order is inferred and several shards are to
    /// have members in it.
    public: Option<Arc<Public>>,
}

/// Texts that scripts sent byte for byte, by hash: a set, so that a script that repeats itself
/// adds nothing.
#[derive(Debug, Default)]
struct RawTexts {
    accepted: HashSet<u64>,
    rejected: HashSet<u64>,
}

/// The fate of a text that a script sent byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawFate {
    /// It was a publish in order: relays of it are owed.
    Accepted,
    /// It was no frame, or one the protocol refuses: relays of it break S9.
    Rejected,
}

impl Directory {
    /// A directory of clients with these names; [`ClientId`] is the index.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            room_names: Arc::default(),
            members: Vec::new(),
            groups: Vec::new(),
            sessions: RwLock::default(),
            ever: RwLock::default(),
            next_session: AtomicU32::new(0),
            rooms: [Room::default()].into(),
            moment: AtomicU64::new(0),
            counting: Mutex::default(),
            raw: RwLock::default(),
            raw_in_rooms: AtomicBool::new(false),
            sends: Sends::default(),
            public: Arc::new(Public::new(1)),
            news: Arc::new([]),
        }
    }

    /// Adds the rooms of the run that have names.
    #[must_use]
    pub fn with_rooms(mut self, names: Arc<RoomNames>) -> Self {
        self.rooms = (0..=names.len()).map(|_| Room::default()).collect();
        self.room_names = names;
        self
    }

    /// States how many members a shard is to have in each room, by [`RoomId`]: so much room is made
    /// at once. (Thousands of rooms that grow bit by bit leave as much unusable between them as they
    /// take: it was 225 bytes a membership in the driver in place of 140.)
    #[must_use]
    pub fn with_members(mut self, members: Vec<u32>) -> Self {
        self.members = members;
        self
    }

    /// How many members a shard is to have in a room; 0 if that is not known.
    pub(super) fn members(&self, room: RoomId) -> usize {
        let members = self.members.get(room.0 as usize);
        members.map_or(0, |members| *members as usize)
    }

    /// The rooms of the run that have names.
    #[must_use]
    pub fn room_names(&self) -> &Arc<RoomNames> {
        &self.room_names
    }

    /// Whether there are rooms besides the unnamed one.
    #[inline]
    pub(super) fn has_rooms(&self) -> bool {
        self.rooms.len() > 1
    }

    fn room(&self, room: RoomId) -> &Room {
        &self.rooms[room.0 as usize]
    }

    /// Whether it is a named room of the run.
    pub(super) fn knows_room(&self, room: RoomId) -> bool {
        room.is_named() && (room.0 as usize) < self.rooms.len()
    }

    /// One more shard has a ledger of this room: returns its place among them.
    pub(super) fn enroll(&self, room: RoomId) -> usize {
        let mut occupied = self
            .room(room)
            .occupied
            .lock()
            .expect("no panic while held");
        occupied.push(0);
        occupied.len() - 1
    }

    /// The ledger of a room at `place` is about to get its first member: from here on the judge
    /// waits for it. Returns how often that has happened. Comes before [`Self::highest_seq`] is
    /// asked what the member is not owed: so the judge either knows of the member, or has settled
    /// no number that it is owed.
    pub(super) fn occupy(&self, room: RoomId, place: usize) -> u32 {
        let mut occupied = self
            .room(room)
            .occupied
            .lock()
            .expect("no panic while held");
        occupied[place] += 1;
        occupied[place]
    }

    /// How often each ledger of a room got its first member.
    pub(super) fn occupied<T>(&self, room: RoomId, ask: impl FnOnce(&[u32]) -> T) -> T {
        ask(&self
            .room(room)
            .occupied
            .lock()
            .expect("no panic while held"))
    }

    /// Sets the number of the shards that infer one order together: each is to have a ledger
    /// ([`Ledger::of_shard`](super::ledger::Ledger::of_shard)). Needless where the target states its
    /// order.
    #[must_use]
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.public = Arc::new(Public::new(shards));
        self
    }

    /// States, by [`RoomId`], which shards are ever to have members in each room, where these infer
    /// its order together. Comes after [`Self::with_rooms`].
    #[must_use]
    pub fn with_shards_by_room(mut self, by_room: &[Vec<usize>]) -> Self {
        let shards = by_room.iter().flatten().max().map_or(0, |&last| last + 1);
        self.news = (0..shards).map(|_| RoomNews::default()).collect();
        for (id, shards) in by_room.iter().enumerate() {
            let room = RoomId(id as u32);
            if shards.len() > 1 && self.knows_room(room) {
                let public = Public::of_room(room, shards, Arc::clone(&self.news));
                self.rooms[id].public = Some(Arc::new(public));
            }
        }
        self
    }

    fn public(&self, room: RoomId) -> Option<&Arc<Public>> {
        match room.is_named() {
            true => self.room(room).public.as_ref(),
            false => Some(&self.public),
        }
    }

    /// The seat of a shard among those that infer the order of a room together; `None` if it is the
    /// only one.
    pub(super) fn seat(&self, room: RoomId, shard: usize) -> Option<Seat> {
        self.public(room)?.seat(shard)
    }

    /// How many shards infer the order of a room together.
    pub(super) fn shards_of(&self, room: RoomId) -> usize {
        self.public(room).map_or(1, |public| public.shard_count())
    }

    /// The named rooms in which others than this shard have posted something since the last call.
    pub(super) fn rooms_with_news(&self, shard: usize) -> Vec<RoomId> {
        self.news.get(shard).map_or_else(Vec::new, RoomNews::take)
    }

    /// Sets the place of each client's latencies (`measure::group::place`).
    #[must_use]
    pub fn with_groups(mut self, groups: Vec<usize>) -> Self {
        self.groups = groups;
        self
    }

    /// The place of a client's latencies.
    pub(super) fn group(&self, client: ClientId) -> usize {
        self.groups.get(client.0 as usize).copied().unwrap_or(0)
    }

    /// A number for a new session of `client`, never given out before; `None` once all of
    /// [`MAX_SESSIONS`] were (two hours of 1,000 connections a second).
    pub(super) fn open(&self, client: ClientId, room: RoomId) -> Option<SenderId> {
        let take = |n| (n < MAX_SESSIONS).then_some(n + 1);
        let id = self
            .next_session
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        let id = SenderId(id);
        self.enter(id, client, room);
        Some(id)
    }

    /// A new session of `client` has the number `session`, as it was recorded. `false` if that was
    /// given out before.
    pub(super) fn open_as(&self, session: SenderId, client: ClientId, room: RoomId) -> bool {
        if session.0 >= MAX_SESSIONS || self.remembers(session) {
            return false;
        }
        self.next_session
            .fetch_max(session.0 + 1, Ordering::Relaxed);
        self.enter(session, client, room);
        true
    }

    /// Has the next session open as this one: as the world of a test numbers it.
    #[cfg(test)]
    pub(super) fn opens_as<T>(&self, session: SenderId, open: impl FnOnce() -> T) -> T {
        let before = self.next_session.swap(session.0, Ordering::Relaxed);
        let opened = open();
        self.next_session.fetch_max(before, Ordering::Relaxed);
        opened
    }

    /// The number `session` was given out, as is known from elsewhere.
    pub(super) fn was_given(&self, session: SenderId) {
        if session.0 < MAX_SESSIONS {
            self.next_session
                .fetch_max(session.0 + 1, Ordering::Relaxed);
        }
    }

    fn enter(&self, session: SenderId, client: ClientId, room: RoomId) {
        if self.has_rooms() {
            let mut ever = self.ever.write().expect("no panic while held");
            let index = session.0 as usize;
            if index >= ever.len() {
                ever.resize(index + 1, (client, RoomId::UNKNOWN));
            }
            ever[index] = (client, room);
        }
        let entry = Entry {
            client,
            connection: session,
        };
        let mut sessions = self.sessions.write().expect("no panic while held");
        sessions.entries.insert(session, entry);
    }

    /// The sessions of one connection have the same address.
    pub(super) fn share_address(&self, of: SenderId, with: SenderId) {
        let mut sessions = self.sessions.write().expect("no panic while held");
        if !sessions.entries.contains_key(&of) {
            return;
        }
        if let Some(entry) = sessions.entries.get_mut(&with) {
            entry.connection = of;
            *sessions.sharing.entry(of).or_insert(1) += 1;
        }
    }

    /// The address that the target sees `session` under.
    pub(super) fn set_address(&self, session: SenderId, address: &str) {
        let mut sessions = self.sessions.write().expect("no panic while held");
        if sessions.entries.contains_key(&session) {
            let address = Address {
                text: address.into(),
                is_kept_for_others: false,
            };
            sessions.addresses.insert(session, address);
        }
    }

    /// Forgets a session of which no message is under way any more.
    pub(super) fn forget(&self, session: SenderId) {
        let mut sessions = self.sessions.write().expect("no panic while held");
        sessions.forget(session);
    }

    /// How many sessions are not forgotten.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let sessions = self.sessions.read().expect("no panic while held");
        sessions.entries.len()
    }

    /// Whether `session` is not forgotten.
    pub(super) fn remembers(&self, session: SenderId) -> bool {
        let sessions = self.sessions.read().expect("no panic while held");
        sessions.entries.contains_key(&session)
    }

    /// The number of the next session.
    pub(super) fn next_session(&self) -> SenderId {
        SenderId(self.next_session.load(Ordering::Relaxed))
    }

    /// Whether this number was given to a session of this run, forgotten ones included.
    pub(super) fn was_opened(&self, session: SenderId) -> bool {
        session.0 < self.next_session.load(Ordering::Relaxed)
    }

    /// Whether `claimed` is the address of `session`; the true one if it is not. A session that
    /// is unknown or has no address yet is given the benefit of the doubt.
    pub(super) fn check_address(&self, session: SenderId, claimed: &str) -> Result<(), String> {
        let sessions = self.sessions.read().expect("no panic while held");
        match sessions.address(session) {
            Some(address) if !same_address(address, claimed) => Err(address.to_owned()),
            _ => Ok(()),
        }
    }

    /// The client that `session` belongs to; `None` if it is forgotten, or never was.
    pub(super) fn client_of(&self, session: SenderId) -> Option<ClientId> {
        if let Some((client, _)) = self.ever(session) {
            return Some(client);
        }
        let sessions = self.sessions.read().expect("no panic while held");
        sessions.entries.get(&session).map(|entry| entry.client)
    }

    /// The room that `session` is or was in, where there are rooms besides the unnamed one.
    #[inline]
    pub(super) fn room_of(&self, session: SenderId) -> Option<RoomId> {
        self.ever(session).map(|(_, room)| room)
    }

    #[inline]
    fn ever(&self, session: SenderId) -> Option<(ClientId, RoomId)> {
        if !self.has_rooms() {
            return None;
        }
        let ever = self.ever.read().expect("no panic while held");
        let ever = ever.get(session.0 as usize).copied();
        ever.filter(|&(_, room)| room != RoomId::UNKNOWN)
    }

    /// The name of a client.
    #[must_use]
    pub fn client_name(&self, client: ClientId) -> &str {
        self.names
            .get(client.0 as usize)
            .map_or("?", String::as_str)
    }

    /// The names of all clients, by [`ClientId`].
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The highest number that any session has seen in a room. A session that begins now is owed
    /// nothing up to it.
    #[inline]
    pub(super) fn highest_seq(&self, room: RoomId) -> u64 {
        self.room(room).highest_seq.load(Ordering::Acquire)
    }

    /// Some session has seen `seq` in a room.
    #[inline]
    pub(super) fn saw(&self, room: RoomId, seq: u64) {
        let highest_seq = &self.room(room).highest_seq;
        highest_seq.fetch_max(seq, Ordering::Release);
    }

    /// Events counted so far.
    pub(super) fn moment(&self) -> u64 {
        self.moment.load(Ordering::Acquire)
    }

    /// Counts an event of a recorded run, in a room. Returns its number, and the highest message
    /// number that had been seen in the room at that moment, at which `also` is called, too.
    pub(super) fn count_event_with(&self, room: RoomId, also: impl FnOnce()) -> (u64, u64) {
        let _counting = self.counting.lock().expect("no panic while held");
        also();
        let moment = self.moment.fetch_add(1, Ordering::AcqRel) + 1;
        (moment, self.highest_seq(room))
    }

    /// Some session of a recorded run has seen `seq` in a room. That is an event of its own if
    /// `seq` is the highest; returns at which moment it is known.
    pub(super) fn count_highest(&self, room: RoomId, seq: u64) -> u64 {
        let _counting = self.counting.lock().expect("no panic while held");
        if seq <= self.highest_seq(room) {
            return self.moment();
        }
        self.saw(room, seq);
        self.moment.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Asks the numberings of a room.
    pub(super) fn numberings<T>(&self, room: RoomId, ask: impl FnOnce(&Numberings) -> T) -> T {
        let numberings = &self.room(room).numberings;
        ask(&numberings.lock().expect("no panic while held"))
    }

    /// A session of a room that began to connect when `joined` had been seen gets smaller numbers,
    /// and by now `highest` has been seen: see [`Numberings::begin`].
    pub(super) fn begin_numbering(
        &self,
        room: RoomId,
        joined: u64,
        highest: u64,
    ) -> Option<(u64, bool)> {
        let numberings = &self.room(room).numberings;
        let mut numberings = numberings.lock().expect("no panic while held");
        numberings.begin(joined, highest, MAX_SEQ)
    }

    /// A script sent bytes that concern a named room: nobody knows which texts are among them.
    pub(super) fn sent_raw_in_room(&self) {
        self.raw_in_rooms.store(true, Ordering::Release);
    }

    /// Whether a script sent bytes that concern a named room.
    pub(super) fn was_raw_in_rooms(&self) -> bool {
        self.raw_in_rooms.load(Ordering::Acquire)
    }

    /// A script sent `text` byte for byte.
    pub(super) fn sent_raw(&self, text: &[u8], fate: RawFate) {
        let mut raw = self.raw.write().expect("no panic while held");
        match fate {
            RawFate::Accepted => raw.accepted.insert(hash_of(text)),
            RawFate::Rejected => raw.rejected.insert(hash_of(text)),
        };
    }

    /// The fate of `text`, if a script sent it byte for byte.
    pub(super) fn raw_fate(&self, text: &str) -> Option<RawFate> {
        let raw = self.raw.read().expect("no panic while held");
        let hash = hash_of(text.as_bytes());
        if raw.accepted.contains(&hash) {
            Some(RawFate::Accepted)
        } else if raw.rejected.contains(&hash) {
            Some(RawFate::Rejected)
        } else {
            None
        }
    }
}

/// The same bytes, the same hash, within one process.
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Addresses are compared as addresses: servers differ in how they write IPv6.
fn same_address(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<SocketAddr>(), other.parse::<SocketAddr>()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_same_however_they_are_written() {
        for (one, other, same) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("[::1]:80", "[0:0:0:0:0:0:0:1]:80", true),
            ("nowhere", "nowhere", true),
            ("nowhere", "elsewhere", false),
        ] {
            assert_eq!(same_address(one, other), same, "{one}, {other}");
        }
    }

    #[test]
    fn memberships_have_the_address_of_their_connection_until_the_last_is_forgotten() {
        let directory = Directory::new(vec!["c0".to_owned()]);
        let open = || directory.open(ClientId(0), RoomId::UNNAMED).unwrap();
        let [connection, one, other, alone] = [open(), open(), open(), open()];
        directory.set_address(connection, "127.0.0.1:7");
        directory.set_address(alone, "127.0.0.1:8");
        directory.share_address(connection, one);
        directory.share_address(connection, other);
        let checked = |session| directory.check_address(session, "127.0.0.1:9");
        let truth = Err("127.0.0.1:7".to_owned());
        directory.forget(connection);
        assert_eq!(
            (checked(one), checked(other)),
            (truth.clone(), truth.clone())
        );
        assert_eq!(checked(connection), Ok(()), "it is forgotten");
        directory.forget(one);
        assert_eq!(checked(other), truth);
        directory.forget(other);
        directory.forget(alone);
        let sessions = directory.sessions.read().unwrap();
        assert!(sessions.addresses.is_empty() && sessions.sharing.is_empty());
    }

    #[test]
    fn no_session_number_is_given_out_twice() {
        let directory = Directory::new(vec!["c0".to_owned()]);
        directory
            .next_session
            .store(MAX_SESSIONS - 1, Ordering::Relaxed);
        let last = directory.open(ClientId(0), RoomId::UNNAMED);
        assert_eq!(last, Some(SenderId(MAX_SESSIONS - 1)));
        for _ in 0..2 {
            assert_eq!(directory.open(ClientId(0), RoomId::UNNAMED), None);
        }
        assert!(directory.remembers(SenderId(MAX_SESSIONS - 1)));
        assert!(!directory.was_opened(SenderId(MAX_SESSIONS)));
    }
}
