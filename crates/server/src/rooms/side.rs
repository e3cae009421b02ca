//! What one session is owed in its rooms, and how far it has taken it.
//!
//! Its memberships with something to be sent wait in a list and are served in turn. A line that
//! the socket took in part is ended before anything else is sent, by a write of its own: so lines
//! of several rooms and of the unnamed one never run into each other, and nothing is kept for a
//! session but what its rooms keep.

use std::collections::VecDeque;
use std::mem;

use slab::Slab;

use super::{Membership, Rooms};
use crate::cursor::Cursor;
use crate::log::Log;

/// A part of one write: bytes of the unnamed room, or of a membership.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Unnamed(usize),
    Member(u32, usize),
}

/// The rooms of one session.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Its memberships, in the order of joining.
    joined: Vec<u32>,
    /// The number of its memberships that have ended and are still owed something.
    leaving: u32,
    /// The memberships that have something to be sent, in the order of their turns.
    pending: VecDeque<u32>,
    /// The one of which a line was sent in part.
    begun: Option<u32>,
    /// The session ends: its rooms come before the rest of the unnamed one, each to its end, in
    /// the order of joining.
    ends: bool,
    /// Bytes of rooms' logs that it is behind, and that it has taken.
    behind_bytes: u64,
    taken_bytes: u64,
    /// Lines of its own (joined, left) that are not sent.
    lines_queued: u32,
    /// It is in the list of sessions that have something to be sent.
    pub(super) busy: bool,
}

impl Side {
    /// The rooms that it is in, and the number of those that it is still leaving.
    pub(crate) fn memberships(&self) -> (&[u32], u32) {
        (&self.joined, self.leaving)
    }

    /// The number of rooms that it is in or is still leaving.
    pub(super) fn rooms(&self) -> usize {
        self.joined.len() + self.leaving as usize
    }

    /// Whether there is anything to send.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether its rooms must be sent to their ends before the rest of the unnamed one.
    pub(crate) fn ends(&self) -> bool {
        self.ends
    }

    /// Whether a line was sent in part.
    pub(crate) fn is_mid_line(&self) -> bool {
        self.begun.is_some()
    }

    /// Bytes of rooms' logs that it is behind.
    #[inline]
    pub(crate) fn behind_bytes(&self) -> u64 {
        self.behind_bytes
    }

    /// Bytes of rooms' logs that it has taken.
    #[inline]
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// Lines of its own that are not sent.
    pub(crate) fn lines_queued(&self) -> u32 {
        self.lines_queued
    }

    /// The memberships that have something to be sent.
    pub(super) fn pending(&self) -> impl Iterator<Item = u32> {
        self.pending.iter().copied()
    }

    /// Takes in a new membership, the `joined` of which is to be sent.
    pub(super) fn joined(&mut self, membership: u32, member: &mut Membership) {
        self.joined.push(membership);
        self.lines_queued += 1;
        self.pend(membership, member);
    }

    /// Queues a line of its own after all that it is owed in a room.
    pub(super) fn reply(
        &mut self,
        membership: u32,
        member: &mut Membership,
        log: &Log,
        line: Vec<u8>,
    ) {
        member.cursor.reply(log, line);
        self.lines_queued += 1;
        self.pend(membership, member);
    }

    /// Changes what is to be sent in a room.
    pub(super) fn change<T>(
        &mut self,
        membership: u32,
        member: &mut Membership,
        change: impl FnOnce(&mut Cursor) -> T,
    ) -> T {
        let (behind, lines) = (member.behind_bytes(), member.cursor.lines_queued());
        let outcome = change(&mut member.cursor);
        self.behind_bytes = self.behind_bytes - behind + member.behind_bytes();
        self.lines_queued = self.lines_queued - lines + member.cursor.lines_queued();
        if member.is_behind() {
            self.pend(membership, member);
        }
        outcome
    }

    fn pend(&mut self, membership: u32, member: &mut Membership) {
        if !mem::replace(&mut member.pending, true) {
            self.pending.push_back(membership);
        }
    }

    /// Notes that a room's log now ends at `end`.
    #[inline]
    pub(super) fn note(&mut self, membership: u32, member: &mut Membership, end: u64) {
        let before = member.behind_bytes();
        member.noted = end;
        self.behind_bytes += member.behind_bytes() - before;
        if member.is_behind() {
            self.pend(membership, member);
        }
    }

    /// A membership has ended.
    pub(super) fn leaves(&mut self, membership: u32) {
        self.joined.retain(|joined| *joined != membership);
        self.leaving += 1;
    }

    /// All that was owed in a membership that had ended was sent.
    pub(super) fn finished(&mut self) {
        self.leaving -= 1;
    }

    /// The session ends: returns its memberships in the order in which they are to be left.
    pub(super) fn begin_to_leave(&mut self, memberships: &mut Slab<Membership>) -> Vec<u32> {
        self.ends = true;
        // They lose their turns and are given others as they are left. Those that were left before
        // come first.
        self.pending.retain(|pending| {
            let member = &mut memberships[*pending as usize];
            member.pending = member.cursor.is_leaving();
            member.pending
        });
        mem::take(&mut self.joined)
    }

    /// Takes out all memberships: those that it is in, and those that it is still leaving.
    pub(super) fn take_all(&mut self, memberships: &Slab<Membership>) -> (Vec<u32>, Vec<u32>) {
        let joined = mem::take(&mut self.joined);
        let has_ended = |id: &u32| memberships[*id as usize].cursor.is_leaving();
        let mut leaving: Vec<u32> = self.pending.drain(..).collect();
        leaving.retain(has_ended);
        *self = Self::default();
        (joined, leaving)
    }

    /// Appends to `out` the rest of a line that was sent in part; `false` if there is none.
    pub(crate) fn copy_line_rest(
        &self,
        rooms: &Rooms,
        out: &mut Vec<u8>,
        parts: &mut Vec<Part>,
    ) -> bool {
        let Some(begun) = self.begun else {
            return false;
        };
        let member = &rooms.memberships[begun as usize];
        let log = &rooms.rooms[member.room as usize].log;
        let bytes = member.cursor.copy_line_rest(log, out);
        parts.push(Part::Member(begun, bytes));
        true
    }

    /// Appends to `out` what is to be sent, up to about `max_bytes`. Returns whether that is all.
    pub(crate) fn copy(
        &self,
        rooms: &Rooms,
        max_bytes: usize,
        out: &mut Vec<u8>,
        parts: &mut Vec<Part>,
    ) -> bool {
        for &pending in &self.pending {
            let Some(left) = max_bytes.checked_sub(out.len()).filter(|left| *left > 0) else {
                return false;
            };
            let member = &rooms.memberships[pending as usize];
            let log = &rooms.rooms[member.room as usize].log;
            let (bytes, whole) = member.cursor.copy(log, member.noted, left, out);
            parts.push(Part::Member(pending, bytes));
            if !whole {
                return false;
            }
        }
        true
    }

    /// Advances a membership over `bytes` that were sent.
    pub(crate) fn advance(&mut self, rooms: &mut Rooms, membership: u32, bytes: usize) {
        let member = &mut rooms.memberships[membership as usize];
        let log = &rooms.rooms[member.room as usize].log;
        let (behind, lines) = (member.behind_bytes(), member.cursor.lines_queued());
        member.cursor.advance(log, bytes);
        member.cursor.shrink();
        let taken = behind - member.behind_bytes();
        self.behind_bytes -= taken;
        self.taken_bytes += taken;
        self.lines_queued -= lines - member.cursor.lines_queued();
        self.begun = member.cursor.is_mid_line().then_some(membership);
    }

    /// Ends the turns of those that are caught up, and gives the next one its turn if another was
    /// sent some.
    pub(crate) fn end_turns(&mut self, rooms: &mut Rooms) {
        while let Some(&first) = self.pending.front() {
            let member = &mut rooms.memberships[first as usize];
            if member.is_behind() {
                break;
            }
            member.pending = false;
            self.pending.pop_front();
            if member.cursor.is_leaving() {
                rooms.finish(self, first);
            }
        }
        // One that is being left keeps its turn: the room may have been joined again since, and
        // what is owed there comes after the `left`.
        if let Some(&first) = self.pending.front()
            && !rooms.memberships[first as usize].cursor.is_leaving()
        {
            self.pending.rotate_left(1);
        }
        // It is wanted again in the next pass; but not, if it is left from more rooms than these.
        if self.pending.is_empty() && self.pending.capacity() > 8.max(2 * self.rooms()) {
            self.pending = VecDeque::new();
        }
    }
}
