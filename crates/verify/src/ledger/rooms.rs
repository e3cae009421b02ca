//! The rooms of a shard that have names, and the memberships of its connections in them.
//!
//! A membership is to a room what a session is to the unnamed one: asking to join is its connect,
//! the answer its welcome, leaving its half-close, the answer its bye. So the ledger of a room is
//! one like that of the unnamed room. Here is what only rooms have: who is in which, and relays
//! that come to somebody who is not. What a client does to its connection, and what bytes that are
//! no frame may hide, concerns all its memberships.

use std::collections::BTreeMap;

use super::{Handle, RoomLedger, either};
use crate::batch::{Batch, Message, RoomBatch};
use crate::sessions::Stage;
use crate::violation::ErrorFrame;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::Relay;

/// The named rooms in which the clients of a shard are or were.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// By [`RoomId`].
    all: Vec<Option<Box<Room>>>,
    /// The memberships of each connection, by room, and those in one room in the order of its joins: a
    /// client may be in hundreds, and each frame looks one up.
    of: Vec<Vec<Membership>>,
    /// Rooms in which something happened since the last hand-over.
    changed: Vec<RoomId>,
    /// Frames and anomalies that have gathered in them.
    pub(super) gathered: usize,
    /// What is remembered of few memberships.
    pub(super) odd: BTreeMap<(Handle, RoomId), Odd>,
    /// Connections over which a script sent bytes that concern rooms: nobody knows what they are
    /// in, and what they are to be told.
    pub(super) raw: Vec<Handle>,
}

/// One room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) ledger: RoomLedger,
    /// The place of this ledger among those that the room has in other shards.
    pub(super) place: usize,
    pub(super) members: u32,
    /// How often it got its first member.
    pub(super) occupied: u32,
    changed: bool,
    /// What had gathered when that was last looked at.
    gathered: usize,
}

/// A connection in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) room: RoomId,
    /// Its session in the room's ledger; [`LEFT`] once it has left.
    pub(super) session: Handle,
}

const LEFT: Handle = Handle(u32::MAX);

/// What is remembered of a membership with which something is not as usual.
#[derive(Debug, Default)]
pub(super) struct Odd {
    /// Joins and leaves that are to be refused, and were not yet.
    pub(super) refusals: u32,
    /// The error that its join was answered with, and when.
    pub(super) refused: Option<(ErrorFrame, u64)>,
    /// A relay that came before the answer to its join, until it is known what comes next.
    pub(super) held: Option<Box<Held>>,
    /// When it was told that it had left, and had not asked to.
    pub(super) put_out_ns: Option<u64>,
}

/// A relay that came before the answer to a join.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) frame: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) from: String,
    pub(super) seq: u64,
    pub(super) message: Message,
    pub(super) at_ns: u64,
}

impl Held {
    pub(super) fn relay(&self) -> Relay<'_> {
        Relay {
            frame: &self.frame,
            text: self.text.as_slice().into(),
            from: self.from.as_str().into(),
            seq: self.seq,
        }
    }
}

impl Room {
    pub(super) const fn new(ledger: RoomLedger, place: usize) -> Self {
        Self {
            ledger,
            place,
            members: 0,
            occupied: 0,
            changed: false,
            gathered: 0,
        }
    }
}

impl Rooms {
    /// Whether this connection is or was in a named room.
    #[inline]
    pub(super) fn has_members(&self, handle: Handle) -> bool {
        self.of.get(handle.index()).is_some_and(|of| !of.is_empty())
    }

    pub(super) fn memberships(&self, handle: Handle) -> &[Membership] {
        self.of.get(handle.index()).map_or(&[], Vec::as_slice)
    }

    /// Those in one room.
    #[inline]
    fn in_room(&self, handle: Handle, room: RoomId) -> &[Membership] {
        let all = self.memberships(handle);
        let from = all.partition_point(|one| one.room < room);
        let its = all[from..].iter().take_while(|one| one.room == room);
        &all[from..from + its.count()]
    }

    /// The memberships of a connection that have not ended.
    pub(super) fn active(&self, handle: Handle) -> impl Iterator<Item = Membership> {
        let all = self.memberships(handle).iter().copied();
        all.filter(|one| one.session != LEFT)
    }

    /// The session of a connection to which the target speaks now in this room: the first that has
    /// not ended.
    #[inline]
    pub(super) fn session(&self, handle: Handle, room: RoomId) -> Option<Handle> {
        let mut of = self.in_room(handle, room).iter();
        Some(of.find(|m| m.session != LEFT)?.session)
    }

    /// Whether it waits for the answer to a join there.
    pub(super) fn waits(&self, handle: Handle, room: RoomId) -> bool {
        let session = self.session(handle, room);
        session.zip(self.room(room)).is_some_and(|(session, one)| {
            either!(&one.ledger, ledger => {
                ledger.context.sessions[session].stage == Stage::Connecting
            })
        })
    }

    /// Its session there for which it speaks: the last that it has not left.
    pub(super) fn speaking(&self, handle: Handle, room: RoomId) -> Option<Handle> {
        let mut of = self.in_room(handle, room).iter();
        let session = of.rfind(|m| m.session != LEFT)?.session;
        let leaving = either!(&self.room(room)?.ledger, ledger => {
            ledger.context.sessions[session].flags.leaving
        });
        (!leaving).then_some(session)
    }

    /// Whether its join was answered with an error.
    pub(super) fn is_refused(&self, handle: Handle, room: RoomId) -> bool {
        let odd = self.odd.get(&(handle, room));
        odd.is_some_and(|odd| odd.refused.is_some())
    }

    pub(super) fn had_left(&self, handle: Handle, room: RoomId) -> bool {
        let mut of = self.in_room(handle, room).iter();
        of.any(|m| m.session == LEFT)
    }

    pub(super) fn room(&self, room: RoomId) -> Option<&Room> {
        self.all.get(room.0 as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn room_mut(&mut self, room: RoomId) -> Option<&mut Room> {
        self.all.get_mut(room.0 as usize)?.as_deref_mut()
    }

    /// Something happens in a room: it is handed over next time.
    #[inline]
    pub(super) fn touch(&mut self, room: RoomId) -> Option<&mut Room> {
        let one = self.all.get_mut(room.0 as usize)?.as_deref_mut()?;
        if !std::mem::replace(&mut one.changed, true) {
            self.changed.push(room);
        }
        Some(one)
    }

    /// Something has happened in a room.
    #[inline]
    pub(super) fn weigh(&mut self, room: RoomId) {
        if let Some(one) = self.room_mut(room) {
            let gathered = either!(&one.ledger, ledger => ledger.context.gathered());
            let more = gathered - one.gathered;
            one.gathered = gathered;
            self.gathered += more;
        }
    }

    /// Messages of a connection that wait for their acks in named rooms.
    pub(super) fn unacked(&self, handle: Handle) -> usize {
        let unacked = |m: Membership| {
            let ledger = self.room(m.room).map(|room| &room.ledger);
            ledger.map_or(
                0,
                |l| either!(&*l, ledger => ledger.context.unacked(m.session)),
            )
        };
        self.active(handle).map(unacked).sum()
    }

    /// Hands over what is new in the rooms; those of which `take` says that there is more are asked
    /// again next time.
    pub(super) fn take_batches(
        &mut self,
        mut take: impl FnMut(&mut RoomLedger) -> (Batch, bool),
    ) -> Vec<RoomBatch> {
        let changed = std::mem::take(&mut self.changed);
        let mut batches = Vec::with_capacity(changed.len());
        for room in changed {
            let Some(one) = self.room_mut(room) else {
                continue;
            };
            let (batch, more) = take(&mut one.ledger);
            (one.changed, one.gathered) = (more, 0);
            batches.push(RoomBatch {
                room,
                ledger: one.place,
                left: (one.members == 0).then_some(one.occupied),
                batch,
            });
            if more {
                self.changed.push(room);
            }
        }
        self.gathered = 0;
        batches
    }

    pub(super) fn stop_judging(&mut self) {
        for room in self.all.iter_mut().flatten() {
            room.ledger.stop_judging();
        }
    }

    /// Updates the highest number of each room that is handed over next, or of those of one
    /// connection, for a run that is recorded.
    pub(super) fn refresh(&mut self, of: Option<Handle>) {
        let rooms: Vec<RoomId> = match of {
            Some(handle) => self.active(handle).map(|m| m.room).collect(),
            None => self.changed.clone(),
        };
        for room in rooms {
            if let Some(one) = self.room_mut(room) {
                one.ledger.view().refresh();
            }
        }
    }

    /// The connection is over.
    pub(super) fn end(&mut self, handle: Handle) {
        if let Some(of) = self.of.get_mut(handle.index()) {
            *of = Vec::new();
        }
        self.odd.retain(|(of, _), _| *of != handle);
        self.raw.retain(|of| *of != handle);
    }

    /// The room of this name and nobody in it yet.
    pub(super) fn add(&mut self, room: RoomId, make: impl FnOnce() -> Room) {
        let index = room.0 as usize;
        if index >= self.all.len() {
            self.all.resize_with(index + 1, || None);
        }
        self.all[index].get_or_insert_with(|| Box::new(make()));
    }

    pub(super) fn odd(&mut self, handle: Handle, room: RoomId) -> &mut Odd {
        self.odd.entry((handle, room)).or_default()
    }

    /// A membership begins.
    pub(super) fn begin(&mut self, handle: Handle, room: RoomId, session: Handle) {
        if handle.index() >= self.of.len() {
            self.of.resize_with(handle.index() + 1, Vec::new);
        }
        let of = &mut self.of[handle.index()];
        let at = of.partition_point(|one| one.room <= room);
        of.insert(at, Membership { room, session });
        if let Some(one) = self.room_mut(room) {
            one.members += 1;
        }
    }

    /// A membership has ended; it is remembered that it was there, if it was.
    pub(super) fn forget(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Handle,
        was_there: bool,
    ) {
        let remove = !was_there || self.had_left(handle, room);
        let all = &mut self.of[handle.index()];
        let at = all
            .iter()
            .position(|m| m.room == room && m.session == session);
        if let Some(at) = at {
            match remove {
                true => drop(all.remove(at)),
                false => all[at].session = LEFT,
            }
        }
        if let Some(one) = self.room_mut(room) {
            one.members -= 1;
        }
    }
}
