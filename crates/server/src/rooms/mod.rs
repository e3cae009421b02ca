//! Rooms with a name (`docs/PROTOCOL.md`, section 9): each is a broadcast of its own.
//!
//! A room is a [`Log`] with members; a *membership* is a [`Cursor`] into it. So what holds of the
//! unnamed room holds in every room. Beside it, a session that is in rooms has a [`Side`]: which
//! memberships are its own, and which of them have something to be sent.
//!
//! A pass costs what changed. A room in which something was said is noted once; the next pass
//! notes it in turn with each of its members (`pass`), and writes to the sessions that have
//! something noted. The lines of a session's rooms are copied together for one write, since a
//! system call costs more than copying a hundred of them.
//!
//! In reading order: `mod` has the rooms and who is in them; `side` what a session is owed in its
//! rooms; `frames` what clients ask for; `pass` the notes of a pass, and the bound on what is kept.

mod frames;
mod pass;
mod side;

use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use slab::Slab;

use super::Config;
use super::cursor::Cursor;
use super::log::{Entry, Log, Refused};
use chatbench_wire::line::SERVER_EXTRA_BYTES;
use chatbench_wire::ndjson::{self, MessageText};

pub(super) use side::{Part, Side};

/// Bytes of a chunk of a room's log, at most: some relays. What is kept for members that are behind
/// in a room takes a whole chunk at least.
const CHUNK_BYTES: usize = 1024;

/// Chunks that wait to be used again, at most: those of a pass over as many rooms.
const SPARE_CHUNKS: usize = 1024;

/// The rooms with a name, and who is in them.
#[derive(Debug)]
pub(super) struct Rooms {
    max_rooms: usize,
    max_rooms_per_client: usize,
    max_line_bytes: usize,
    backlog_bytes: usize,
    chunk_bytes: usize,
    names: HashMap<Rc<str>, u32>,
    rooms: Slab<Room>,
    memberships: Slab<Membership>,
    /// The memberships that have not ended, by session and room.
    by_member: HashMap<(u32, u32), u32>,
    /// No room that was forgotten gave out a larger number.
    floor: u64,
    /// Rooms in which something was said since the last pass.
    changed: Vec<u32>,
    /// Rooms of which something is kept.
    kept: Vec<u32>,
    /// Sessions that have something to be sent in some room.
    busy: Vec<u32>,
    /// A session could take more when the last pass left it.
    unfinished: bool,
    spare_chunks: Vec<Box<[u8]>>,
    /// The number of messages so far, and the bytes of their lines.
    messages: u64,
    appended_bytes: u64,
    /// `appended_bytes` at the last pass.
    noted_bytes: u64,
    kept_bytes: u64,
    /// The part of `kept_bytes` at the last pass that readers are entitled to.
    entitled_bytes: u64,
    /// Publishers wait for some reader.
    held: bool,
}

/// A room that has members, or had some that are still to be sent something.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) log: Log,
    /// Those who get what is said from here on.
    members: Vec<u32>,
    /// Memberships that have ended and are still owed something.
    leaving: u32,
    /// It is in the list of that name.
    changed: bool,
    kept: bool,
    /// As a pass finds them: the oldest byte that some member needs, and that one needs who is
    /// entitled to it.
    oldest: u64,
    keep_from: u64,
}

/// A session's place in a room.
#[derive(Debug)]
pub(super) struct Membership {
    session: u32,
    room: u32,
    /// Its place in the list of members.
    place: u32,
    pub(super) cursor: Cursor,
    /// The end of the log when a pass noted it last. The session is not sent what comes later, so
    /// that nothing has to be looked at but what was noted.
    noted: u64,
    /// It is in its session's list of those that have something to be sent.
    pending: bool,
}

impl Membership {
    fn is_behind(&self) -> bool {
        self.cursor.is_behind_at(self.noted)
    }

    /// Bytes of the log that it is behind.
    fn behind_bytes(&self) -> u64 {
        self.noted.saturating_sub(self.cursor.at())
    }
}

/// Why a client does not become a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoEntry {
    AlreadyJoined,
    /// It is in as many rooms as a client may be in.
    TooManyOfTheClient,
    /// There are as many rooms as there may be.
    TooMany,
}

impl Rooms {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_rooms: config.max_rooms,
            max_rooms_per_client: config.max_rooms_per_client,
            max_line_bytes: config.max_line_bytes + SERVER_EXTRA_BYTES,
            backlog_bytes: config.backlog_bytes,
            chunk_bytes: (config.backlog_bytes / 64).clamp(64, CHUNK_BYTES),
            names: HashMap::new(),
            rooms: Slab::new(),
            memberships: Slab::new(),
            by_member: HashMap::new(),
            floor: 0,
            changed: Vec::new(),
            kept: Vec::new(),
            busy: Vec::new(),
            unfinished: false,
            spare_chunks: Vec::new(),
            messages: 0,
            appended_bytes: 0,
            noted_bytes: 0,
            kept_bytes: 0,
            entitled_bytes: 0,
            held: false,
        }
    }

    /// The number of rooms.
    pub(super) fn count(&self) -> usize {
        self.rooms.len()
    }

    /// The number of memberships.
    pub(super) fn memberships(&self) -> usize {
        self.by_member.len()
    }

    /// The number of messages so far, of all rooms.
    #[inline]
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of their lines.
    #[inline]
    pub(super) fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    /// Bytes of messages that are kept for members that are behind.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// A session's membership in a room.
    pub(super) fn find(&self, session: usize, name: &str) -> Option<u32> {
        let room = self.names.get(name)?;
        self.by_member.get(&(session as u32, *room)).copied()
    }

    pub(super) fn membership(&mut self, membership: u32) -> &mut Membership {
        &mut self.memberships[membership as usize]
    }

    /// The room of a membership.
    pub(super) fn room_of(&mut self, membership: u32) -> &mut Room {
        let room = self.memberships[membership as usize].room;
        &mut self.rooms[room as usize]
    }

    /// The members of a membership's room: their sessions, and their memberships.
    pub(super) fn members_beside(&self, membership: u32) -> impl Iterator<Item = (usize, u32)> {
        let room = self.memberships[membership as usize].room;
        let members = self.rooms[room as usize].members.iter();
        members.map(|&member| {
            let session = self.memberships[member as usize].session;
            (session as usize, member)
        })
    }

    /// Changes what a session is sent in a room. Only a faulty server uses this and the next.
    pub(super) fn change_cursor<T>(
        &mut self,
        session: usize,
        side: &mut Side,
        membership: u32,
        change: impl FnOnce(&mut Cursor) -> T,
    ) -> T {
        let member = &mut self.memberships[membership as usize];
        let outcome = side.change(membership, member, change);
        self.note_busy(session, side);
        outcome
    }

    /// Queues a line after all that a session is owed so far in a room; `false` if it takes no more.
    pub(super) fn reply(
        &mut self,
        session: usize,
        side: &mut Side,
        membership: u32,
        line: Vec<u8>,
    ) -> bool {
        let member = &mut self.memberships[membership as usize];
        if member.cursor.is_leaving() {
            return false;
        }
        let log = &self.rooms[member.room as usize].log;
        side.reply(membership, member, log, line);
        self.note_busy(session, side);
        true
    }

    /// Makes a session a member of a room, with its `joined` to be sent.
    pub(super) fn join(
        &mut self,
        session: usize,
        side: &mut Side,
        name: &str,
        id: Option<u64>,
    ) -> Result<u32, NoEntry> {
        let known = self.names.get(name).copied();
        let session = session as u32;
        if known.is_some_and(|room| self.by_member.contains_key(&(session, room))) {
            return Err(NoEntry::AlreadyJoined);
        }
        if side.rooms() >= self.max_rooms_per_client {
            return Err(NoEntry::TooManyOfTheClient);
        }
        let room_id = match known {
            Some(room) => room,
            None if self.rooms.len() >= self.max_rooms => return Err(NoEntry::TooMany),
            None => self.found(name),
        };
        let room = &mut self.rooms[room_id as usize];
        let mut joined = Vec::new();
        ndjson::rooms::encode_joined(&mut joined, name, room.log.seq(), id);
        let mut cursor = Cursor::join_silently(&room.log);
        cursor.reply(&room.log, joined);
        reserve(&mut self.memberships);
        let membership = self.memberships.insert(Membership {
            session,
            room: room_id,
            place: room.members.len() as u32,
            cursor,
            noted: room.log.end(),
            pending: false,
        }) as u32;
        room.members.push(membership);
        self.by_member.insert((session, room_id), membership);
        side.joined(membership, &mut self.memberships[membership as usize]);
        Ok(membership)
    }

    /// A new room of that name.
    fn found(&mut self, name: &str) -> u32 {
        let name: Rc<str> = name.into();
        let log = Log::new_named(
            Rc::clone(&name),
            self.floor,
            self.chunk_bytes,
            self.max_line_bytes,
            self.backlog_bytes,
        );
        reserve(&mut self.rooms);
        let room = self.rooms.insert(Room {
            log,
            members: Vec::new(),
            leaving: 0,
            changed: false,
            kept: false,
            oldest: 0,
            keep_from: 0,
        }) as u32;
        self.names.insert(name, room);
        room
    }

    /// Ends a membership: the session is sent what it is owed so far, then a `left` if it is
    /// `answered`, which has the `id` of the leave.
    pub(super) fn leave(
        &mut self,
        side: &mut Side,
        membership: u32,
        answered: bool,
        id: Option<u64>,
    ) {
        self.strike_off(membership);
        let member = &mut self.memberships[membership as usize];
        let room = &mut self.rooms[member.room as usize];
        room.leaving += 1;
        let end = room.log.end();
        side.note(membership, member, end);
        if answered {
            let mut left = Vec::new();
            let name = room.log.room().expect("it has a name");
            ndjson::rooms::encode_left(&mut left, name, room.log.seq(), id);
            side.reply(membership, member, &room.log, left);
        }
        member.cursor.leave(&room.log);
        side.leaves(membership);
        if !member.pending {
            self.finish(side, membership);
        }
    }

    /// Ends all memberships of a session that ends: see [`Self::leave`].
    pub(super) fn leave_all(&mut self, side: &mut Side, answered: bool) {
        for membership in side.begin_to_leave(&mut self.memberships) {
            self.leave(side, membership, answered, None);
        }
    }

    /// Takes a membership out of what its room and others know.
    fn strike_off(&mut self, membership: u32) {
        let Membership {
            session,
            room: room_id,
            place,
            ..
        } = self.memberships[membership as usize];
        self.by_member.remove(&(session, room_id));
        let room = &mut self.rooms[room_id as usize];
        room.members.swap_remove(place as usize);
        if let Some(&moved) = room.members.get(place as usize) {
            self.memberships[moved as usize].place = place;
        }
    }

    /// Forgets a membership that has ended, all of which was sent.
    fn finish(&mut self, side: &mut Side, membership: u32) {
        let member = self.memberships.remove(membership as usize);
        side.finished();
        self.rooms[member.room as usize].leaving -= 1;
        self.forget_if_empty(member.room);
    }

    /// Forgets all memberships of a session that is over.
    pub(super) fn remove(&mut self, side: &mut Side) {
        let (joined, leaving) = side.take_all(&self.memberships);
        for membership in joined {
            self.strike_off(membership);
            let member = self.memberships.remove(membership as usize);
            self.forget_if_empty(member.room);
        }
        for membership in leaving {
            let member = self.memberships.remove(membership as usize);
            self.rooms[member.room as usize].leaving -= 1;
            self.forget_if_empty(member.room);
        }
    }

    fn forget_if_empty(&mut self, room_id: u32) {
        let room = &self.rooms[room_id as usize];
        if !room.members.is_empty() || room.leaving > 0 {
            return;
        }
        let Room { mut log, .. } = self.rooms.remove(room_id as usize);
        self.names.remove(log.room().expect("it has a name"));
        self.floor = self.floor.max(log.seq());
        self.kept_bytes -= log.end() - log.start();
        log.trim_to(log.end());
        self.take_chunks(&mut log);
    }

    fn take_chunks(&mut self, log: &mut Log) {
        let left = SPARE_CHUNKS.saturating_sub(self.spare_chunks.len());
        self.spare_chunks.extend(log.take_back().take(left));
    }

    /// Numbers a message in a membership's room and appends its line.
    ///
    /// # Errors
    /// [`Refused`] as [`Log::append`]. That there is room is for the caller to see to.
    pub(super) fn append(
        &mut self,
        membership: u32,
        client_ip: &str,
        message: MessageText<'_>,
    ) -> Result<Entry, Refused> {
        let room_id = self.memberships[membership as usize].room;
        let room = &mut self.rooms[room_id as usize];
        if room.log.held_bytes() == 0 {
            room.log.lend(self.spare_chunks.pop());
        }
        let entry = room.log.append(client_ip, message);
        let line_bytes = entry.map_or(0, |entry| u64::from(entry.line_bytes));
        self.messages += u64::from(entry.is_ok());
        self.appended_bytes += line_bytes;
        self.kept_bytes += line_bytes;
        // Also where it was refused: it may have been given a chunk.
        if !mem::replace(&mut room.changed, true) {
            self.changed.push(room_id);
        }
        if !mem::replace(&mut room.kept, true) {
            self.kept.push(room_id);
        }
        entry
    }
}

/// Grows by an eighth and not, as a `Vec` does, to double: half of that would lie idle.
fn reserve<T>(slab: &mut Slab<T>) {
    if slab.len() == slab.capacity() {
        slab.reserve_exact(64.max(slab.len() / 8));
    }
}

#[cfg(test)]
#[path = "../rooms_tests.rs"]
mod tests;
