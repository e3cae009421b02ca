//! A pass over the rooms: what changed is noted with the sessions concerned, what nobody needs any
//! more is freed, and what is kept is bounded.

use std::mem;
use std::time::Duration;

use super::{Rooms, SPARE_CHUNKS, Side};
use crate::broadcast::Broadcast;
use crate::flow;
use crate::pace::Standing;
use crate::session::{Phase, Session, Stream};

impl Rooms {
    /// Whether a pass over the rooms would find anything to do.
    #[inline]
    pub(crate) fn is_flush_due(&self) -> bool {
        self.unfinished || !self.changed.is_empty()
    }

    /// Whether publishers wait for some reader.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// A session could take more when a pass left it.
    pub(crate) fn leave_unfinished(&mut self) {
        self.unfinished = true;
    }

    /// Bytes that no session was offered yet.
    #[inline]
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.appended_bytes - self.noted_bytes
    }

    /// The sessions that have something to be sent.
    pub(crate) fn busy(&self) -> &[u32] {
        &self.busy
    }

    /// Notes that a session has something to be sent.
    pub(super) fn note_busy(&mut self, session: usize, side: &mut Side) {
        if !mem::replace(&mut side.busy, true) {
            self.busy.push(session as u32);
        }
    }

    /// Notes what was said since the last pass with all who are in the rooms concerned.
    pub(crate) fn note_news<S>(&mut self, sessions: &mut [Option<Session<S>>]) {
        self.unfinished = false;
        self.noted_bytes = self.appended_bytes;
        for room in mem::take(&mut self.changed) {
            let Some(room) = self.rooms.get_mut(room as usize) else {
                continue; // forgotten since
            };
            if !mem::take(&mut room.changed) {
                continue; // another room, in the place of a forgotten one
            }
            let end = room.log.end();
            for &membership in &room.members {
                let member = &mut self.memberships[membership as usize];
                let session = sessions[member.session as usize].as_mut();
                let side = session.and_then(|session| session.rooms.as_deref_mut());
                let side = side.expect("a member is a session in a room");
                side.note(membership, member, end);
                if !mem::replace(&mut side.busy, true) {
                    self.busy.push(member.session);
                }
            }
        }
        self.busy.sort_unstable(); // written to in the order of their places in memory
    }

    /// Ends a pass: frees what no member needs, and finds out what is kept for whom. Only sessions
    /// that are behind are looked at, and rooms of which something is kept.
    pub(crate) fn conclude<S: Stream>(
        &mut self,
        sessions: &mut [Option<Session<S>>],
        standing: impl Fn(&Session<S>) -> Standing,
    ) {
        debug_assert!(self.changed.is_empty(), "everything was noted");
        let mut kept = mem::take(&mut self.kept);
        kept.retain(|room| match self.rooms.get_mut(*room as usize) {
            Some(room) => {
                room.oldest = room.log.end();
                room.keep_from = room.oldest;
                mem::take(&mut room.kept) // not so in the place of one that is forgotten
            }
            None => false,
        });
        self.held = false;
        for id in mem::take(&mut self.busy) {
            let Some(session) = &mut sessions[id as usize] else {
                continue;
            };
            let Some(side) = &mut session.rooms else {
                continue;
            };
            if !mem::take(&mut side.busy) || !side.is_behind() || session.phase == Phase::Gone {
                continue;
            }
            side.busy = true;
            self.busy.push(id);
            let standing = standing(session);
            self.held |= standing == Standing::WaitedFor && !session.cursor.is_leaving();
            let side = session.rooms.as_deref().expect("it has one");
            for pending in side.pending() {
                let member = &self.memberships[pending as usize];
                let room = &mut self.rooms[member.room as usize];
                let at = member.cursor.at();
                room.oldest = room.oldest.min(at);
                if standing != Standing::GivenUp {
                    room.keep_from = room.keep_from.min(at);
                }
            }
        }
        (self.kept_bytes, self.entitled_bytes) = (0, 0);
        for id in kept {
            let room = &mut self.rooms[id as usize];
            room.log.trim_to(room.oldest);
            if room.log.start() < room.log.end() {
                self.kept_bytes += room.log.end() - room.log.start();
                self.entitled_bytes += room.log.end() - room.keep_from;
                room.kept = true;
                self.kept.push(id);
            } else {
                let left = SPARE_CHUNKS.saturating_sub(self.spare_chunks.len());
                self.spare_chunks.extend(room.log.take_back().take(left));
            }
        }
    }

    /// How much may be added to what is kept without losing bytes that a reader is entitled to.
    pub(crate) fn room_bytes(&self) -> u64 {
        let kept = self.entitled_bytes + self.unflushed_bytes() + self.max_line_bytes as u64;
        (self.backlog_bytes as u64).saturating_sub(kept)
    }

    /// Whether the longest line would be too much to keep.
    fn is_full(&self) -> bool {
        self.kept_bytes + self.max_line_bytes as u64 > self.backlog_bytes as u64
    }
}

impl<S: Stream> Broadcast<S> {
    /// Writes to the sessions that have something to be sent in a room, and to no others.
    pub(crate) fn flush_rooms(&mut self) {
        for place in 0..self.rooms.busy().len() {
            let id = self.rooms.busy()[place] as usize;
            self.flush_one(id);
        }
    }

    /// Sees to it that the longest line can be kept, if need be by ending slow consumers.
    pub(crate) fn make_room_in_rooms(&mut self) {
        if !self.rooms.is_full() {
            return;
        }
        self.flush(false);
        self.rooms.note_news(&mut self.sessions); // a fault may have kept the pass from it
        self.conclude_rooms();
        while self.rooms.is_full()
            && let Some(slowest) = self.slowest_in_rooms()
        {
            self.end_slow_consumers(|id, _| id == slowest);
            self.conclude_rooms();
        }
    }

    /// The session that is furthest behind in its rooms, among those that are given up if there
    /// are any.
    fn slowest_in_rooms(&mut self) -> Option<usize> {
        let patience = self.flow.patience(self.writer.now);
        let candidates = self.rooms.busy().iter().filter_map(|&id| {
            let session = self.sessions[id as usize].as_ref()?;
            let behind_bytes = session.rooms.as_deref()?.behind_bytes();
            let is_there = behind_bytes > 0 && session.phase != Phase::Gone;
            let given_up = self.standing(session, patience) == Standing::GivenUp;
            is_there.then_some((given_up, behind_bytes, id as usize))
        });
        candidates.max().map(|(_, _, id)| id)
    }

    /// Ends a pass over the rooms: see [`Rooms::conclude`].
    pub(crate) fn conclude_rooms(&mut self) {
        let patience = self.flow.patience(self.writer.now);
        let Self {
            log,
            classic_log,
            writer,
            flow,
            ..
        } = self;
        self.rooms.conclude(&mut self.sessions, |session| {
            let log = session.log(log, classic_log);
            flow::standing(session, log, &flow.limits, patience, writer.now)
        });
    }

    fn standing(&self, session: &Session<S>, patience: Duration) -> Standing {
        let log = session.log(&self.log, &self.classic_log);
        flow::standing(session, log, &self.flow.limits, patience, self.writer.now)
    }
}
