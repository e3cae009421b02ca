//! What a client does in named rooms, and what it sees there.

use super::rooms::Room;
use super::{Ending, Event, Handle, Ledger, RoomLedger, either};
use crate::sessions::Stage;
use crate::trace::tag::Tag;
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{AckOf, Conn, Due, Seen};

impl Ledger {
    /// The rooms, and that of this name: it is made if need be.
    fn open_room(&mut self, room: RoomId) -> Option<&mut Room> {
        let view = self.unnamed.view();
        if !view.directory().knows_room(room) {
            return None;
        }
        let rooms = self.rooms.get_or_insert_default();
        rooms.add(room, || {
            let place = view.directory().enroll(room);
            let mut ledger = RoomLedger::new(self.terms.in_rooms(), view.in_room(room), self.shard);
            let members = view.directory().members(room);
            either!(ledger, ledger => ledger.context.sessions.reserve(members));
            #[cfg(test)]
            either!(ledger, ledger => ledger.never_compare = self.never_compare);
            Room::new(ledger, place)
        });
        rooms.touch(room)
    }

    /// Something happened in named rooms in other shards: they are handed over next time here, too,
    /// though none of this shard's clients may ever have been in them.
    pub(super) fn open_rooms_with_news(&mut self) {
        let shard = self.shard;
        for room in self.unnamed.view().directory().rooms_with_news(shard) {
            if let Some(one) = self.open_room(room)
                && let RoomLedger::Inferred(ledger) = &one.ledger
            {
                ledger.is_off_the_list();
            }
        }
    }

    /// A named room in which a client of this shard is or was.
    pub(super) fn room_mut(&mut self, room: RoomId) -> Option<&mut Room> {
        self.rooms.as_mut()?.room_mut(room)
    }

    /// The same, in which something happens.
    pub(super) fn touch(&mut self, room: RoomId) -> Option<&mut Room> {
        self.rooms.as_mut()?.touch(room)
    }

    /// Begins an event of a session in a named room on the tape, if there is one.
    fn note_in(&mut self, tag: Tag, handle: Handle, room: RoomId) {
        let Some(rooms) = &mut self.rooms else { return };
        let Some(one) = rooms.room_mut(room) else {
            return;
        };
        let (view, seen) = (self.unnamed.view(), one.ledger.view());
        let tape = match tag.is_counted() {
            true => view.begin_event_in(seen),
            false => view.writing_in(seen),
        };
        if let Some(tape) = tape {
            tape.of_session(tag, handle.0);
        }
    }

    /// As [`Ledger::joining`], of a run that is told again: the session that it opened then.
    pub(crate) fn joining_as(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Option<SenderId>,
    ) -> bool {
        if let Some(one) = self.open_room(room) {
            one.ledger.view().opens(session);
        }
        self.joining(handle, room)
    }

    /// As [`View::make_known`](crate::trace::view::View::make_known), of a named room.
    pub(crate) fn make_known_in(&mut self, room: RoomId) {
        if let Some(one) = self.room_mut(room) {
            one.ledger.view().make_known();
        }
    }

    fn end_event_in(&mut self, room: RoomId) {
        if let Some(rooms) = &mut self.rooms
            && let Some(one) = rooms.room_mut(room)
        {
            self.unnamed.view().end_event_in(one.ledger.view());
            rooms.weigh(room);
        }
    }

    /// The client of a session is about to ask to be let into a named room: a new session in it. If
    /// it is there already that is to be refused. `false` when all session numbers are used up, or
    /// the run has no such room.
    #[must_use]
    pub fn joining(&mut self, handle: Handle, room: RoomId) -> bool {
        let refused = self
            .rooms
            .as_ref()
            .is_some_and(|r| r.is_refused(handle, room));
        let speaking = self.rooms.as_ref().and_then(|r| r.speaking(handle, room));
        let again = speaking.filter(|_| !refused);
        let Some(one) = self.open_room(room) else {
            return false;
        };
        if speaking.is_none() && one.members == 0 {
            let place = one.place;
            let occupied = self.unnamed.view().directory().occupy(room, place);
            if let Some(one) = self.room_mut(room) {
                one.occupied = occupied;
            }
        }
        self.note_in(Tag::Joining, handle, room);
        if refused && let Some(session) = speaking {
            self.stays_refused(handle, room);
            self.end_membership(handle, room, session, Ending::Ours, 0);
        }
        let opened = match again {
            Some(_) => {
                self.rooms
                    .get_or_insert_default()
                    .odd(handle, room)
                    .refusals += 1;
                None
            }
            None => self.open_session(handle, room),
        };
        if let Some(tape) = self.unnamed.view().writing() {
            tape.membership(opened.map(|session| session.0), handle.0);
        }
        self.end_event_in(room);
        again.is_some() || opened.is_some()
    }

    /// A new session of a connection in a room.
    fn open_session(&mut self, handle: Handle, room: RoomId) -> Option<SenderId> {
        let (connection, client, flags) = either!(&self.unnamed, ledger => {
            let session = &ledger.context.sessions[handle];
            (session.id, session.client, session.flags)
        });
        let rooms = self.rooms.as_deref_mut()?;
        let one = rooms.room_mut(room)?;
        let (session, id) = either!(one.ledger, ledger => {
            let opened = ledger.connecting(client)?;
            ledger.connected(opened.0, None);
            ledger.context.sessions[opened.0].flags = flags.of_membership();
            ledger.context.directory.share_address(connection, opened.1);
            opened
        });
        rooms.begin(handle, room, session);
        Some(id)
    }

    /// The client of a session is about to ask to leave a named room: the rest is owed, and the
    /// answer. If it is not there that is to be refused.
    pub fn leaving_room(&mut self, handle: Handle, room: RoomId, now_ns: u64) {
        if self.open_room(room).is_none() {
            return;
        }
        self.note_in(Tag::LeavingRoom, handle, room);
        if let Some(tape) = self.unnamed.view().writing() {
            tape.time(now_ns);
        }
        let rooms = self.rooms.get_or_insert_default();
        match rooms.speaking(handle, room) {
            Some(session) => {
                if let Some(one) = rooms.room_mut(room) {
                    either!(one.ledger, ledger => ledger.leaving(session, now_ns));
                }
            }
            None => rooms.odd(handle, room).refusals += 1,
        }
        self.end_event_in(room);
    }

    /// The number of a session of this connection in a room, or else of the connection.
    pub(crate) fn sender(&self, handle: Handle, room: RoomId) -> SenderId {
        let rooms = self.rooms.as_deref();
        let named = rooms.and_then(|rooms| {
            let session = rooms.session(handle, room)?;
            let one = rooms.room(room)?;
            Some(either!(&one.ledger, ledger => ledger.context.sessions[session].id))
        });
        let of_connection = either!(&self.unnamed, ledger => ledger.context.sessions[handle].id);
        named.unwrap_or(of_connection)
    }

    /// Whether the client of a session is in a named room: let in, and not about to leave.
    #[must_use]
    pub fn is_member(&self, handle: Handle, room: RoomId) -> bool {
        let Some(rooms) = &self.rooms else {
            return false;
        };
        let session = rooms.speaking(handle, room);
        session.zip(rooms.room(room)).is_some_and(
            |(session, one)| either!(&one.ledger, ledger => ledger.context.is_open(session)),
        )
    }

    /// Whether the client of a session has published in a named room since it asked to be let in.
    #[must_use]
    pub fn has_published(&self, handle: Handle, room: RoomId) -> bool {
        let rooms = self.rooms.as_deref();
        let session = rooms.and_then(|rooms| rooms.speaking(handle, room).zip(rooms.room(room)));
        session.is_some_and(|(session, one)| {
            either!(&one.ledger, ledger => {
                let outbox = ledger.context.sessions[session].outbox.as_ref();
                outbox.is_some_and(|outbox| outbox.last_k > 0)
            })
        })
    }

    /// The time for the answer to a join is up: that is a violation, and the client goes on as if
    /// it had come.
    pub fn not_let_in(&mut self, handle: Handle, room: RoomId, now_ns: u64) {
        let Some(rooms) = self.rooms.as_ref() else {
            return;
        };
        let Some(session) = rooms.session(handle, room) else {
            return;
        };
        if rooms.raw.contains(&handle) {
            return; // a script sent bytes that concern rooms, and the answer may be due to these
        }
        self.open_room(room);
        self.note_in(Tag::NotLetIn, handle, room);
        if let Some(tape) = self.unnamed.view().writing() {
            tape.time(now_ns);
        }
        if let Some(one) = self.room_mut(room) {
            either!(one.ledger, ledger => ledger.no_welcome(session, now_ns));
        }
        self.end_event_in(room);
    }

    /// As [`Ledger::sending`], in any room. `None` also where the client has not asked to be let
    /// in.
    pub fn sending_in(
        &mut self,
        handle: Handle,
        room: RoomId,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        if room == RoomId::UNNAMED {
            return self.sending(handle, intended_ns, now_ns, last);
        }
        let session = self.rooms.as_ref()?.speaking(handle, room)?;
        let tag = if last { Tag::SendingLast } else { Tag::Sending };
        self.note_in(tag, handle, room);
        if let Some(tape) = self.unnamed.view().writing() {
            tape.time(now_ns).number(now_ns.wrapping_sub(intended_ns));
        }
        let rooms = self.rooms.as_deref_mut()?;
        let one = rooms.touch(room)?;
        either!(one.ledger, ledger => ledger.sending(session, intended_ns, now_ns, last))
    }

    /// As [`Ledger::read`], of a connection that is in named rooms.
    pub(super) fn read_in_rooms(
        &mut self,
        handle: Handle,
        conn: &mut impl Conn,
        bytes: &[u8],
        out: &mut Vec<u8>,
        now_ns: u64,
        mut each: impl FnMut(RoomId, Event),
    ) {
        let split = !conn.unread().is_empty();
        let (mut input, mut frames) = (bytes, 0);
        loop {
            let room = conn.room_of_next(input);
            let take_if = |due: Due<'_>| conn.take_if(&mut input, &due);
            let taken = self.take_due_in(handle, room, now_ns, take_if, |event| each(room, event));
            if taken > 0 {
                frames += taken;
                continue;
            }
            let Some((room, seen)) = conn.next(&mut input, out) else {
                break;
            };
            let room = self.stated(room, &seen);
            each(room, self.saw_in(handle, room, &seen, now_ns));
            frames += 1;
        }
        self.read_done(frames, split);
    }

    /// As [`Ledger::take_due`], in any room.
    #[inline]
    pub fn take_due_in(
        &mut self,
        handle: Handle,
        room: RoomId,
        now_ns: u64,
        take_if: impl FnMut(Due<'_>) -> bool,
        each: impl FnMut(Event),
    ) -> u64 {
        if room == RoomId::UNNAMED {
            return self.take_due(handle, now_ns, take_if, each);
        }
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return 0;
        };
        let Some(session) = rooms.session(handle, room) else {
            return 0;
        };
        let Some(one) = rooms.touch(room) else {
            return 0;
        };
        let taken = either!(one.ledger, ledger => ledger.take_due(session, now_ns, take_if, each));
        if taken > 0 {
            self.unnamed
                .view()
                .matched_in(one.ledger.view(), handle.0, now_ns);
            rooms.weigh(room);
        }
        taken
    }

    /// Takes an observation of a session in any room, and says what it was.
    pub fn saw_in(&mut self, handle: Handle, room: RoomId, seen: &Seen<'_>, now_ns: u64) -> Event {
        let room = self.stated(room, seen);
        if room == RoomId::UNNAMED
            || matches!(seen, Seen::Unknown | Seen::Control | Seen::Malformed(_))
        {
            return self.saw(handle, seen, now_ns);
        }
        if self.open_room(room).is_none() {
            return self.saw_in_unknown_room(handle, room, seen, now_ns);
        }
        let is_recorded = self.begin_saw(room);
        let again = is_recorded
            .then(|| self.is_due_in(handle, room, seen))
            .flatten();
        let event = self.observe_in(handle, room, seen, now_ns);
        if let Some(one) = self.rooms.as_mut().and_then(|r| r.room_mut(room))
            && let Some(tape) = self.unnamed.view().writing_in(one.ledger.view())
        {
            tape.saw(handle.0, now_ns, seen, again);
        }
        self.end_event_in(room);
        event
    }

    /// The room of an observation. Of a message that does not say so it is that of its sender's
    /// membership; what is no load message, or of nobody known, is none of any room's.
    pub(super) fn stated(&mut self, room: RoomId, seen: &Seen<'_>) -> RoomId {
        let relay = match (room, seen) {
            (RoomId::UNSTATED, Seen::Relay(relay)) => relay,
            (RoomId::UNSTATED, _) => return RoomId::UNNAMED,
            _ => return room,
        };
        let directory = self.unnamed.view().directory();
        let room = payload::claimed(&relay.text).and_then(|(sender, _)| directory.room_of(sender));
        room.unwrap_or(RoomId::UNNAMED)
    }

    /// Begins an observation on the tape, if there is one.
    fn begin_saw(&mut self, room: RoomId) -> bool {
        let rooms = self.rooms.as_deref_mut();
        let one = rooms.and_then(|rooms| rooms.room_mut(room));
        one.is_some_and(|one| {
            let view = self.unnamed.view();
            view.begin_event_in(one.ledger.view()).is_some()
        })
    }

    /// The number of the kept frame that a session sees, and that was due to it.
    fn is_due_in(&mut self, handle: Handle, room: RoomId, seen: &Seen<'_>) -> Option<u32> {
        let Seen::Relay(relay) = seen else {
            return None;
        };
        let rooms = self.rooms.as_deref_mut()?;
        let session = rooms.session(handle, room)?;
        let one = rooms.room_mut(room)?;
        let (frame, due) = either!(one.ledger, ledger => ledger.due(session))?;
        (due == relay.frame).then_some(frame)
    }

    fn observe_in(&mut self, handle: Handle, room: RoomId, seen: &Seen<'_>, now_ns: u64) -> Event {
        if let Seen::Error(complaint) = seen
            && complaint.of.is_none()
            && let Some(event) = self.refused_in(handle, room, complaint, now_ns)
        {
            return event;
        }
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return Event::Other;
        };
        let is_raw = rooms.raw.contains(&handle);
        let may_answer_raw = match seen {
            Seen::Ack { of, .. } => *of == AckOf::NoId,
            // Whatever it answers: a client that waits to be let in is there from here on.
            Seen::Open { .. } => !rooms.waits(handle, room),
            _ => false,
        };
        if is_raw && may_answer_raw {
            return Event::Other; // it may answer what a script sent
        }
        if matches!(seen, Seen::Open { .. }) {
            self.leave_was_not_answered(handle, room, now_ns);
        }
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return Event::Other;
        };
        let Some(session) = rooms.session(handle, room) else {
            return match is_raw {
                true => Event::Other,
                false => self.outside(handle, room, seen, now_ns),
            };
        };
        let Some(one) = rooms.room_mut(room) else {
            return Event::Other;
        };
        let (stage, leaving) = either!(&one.ledger, ledger => {
            let session = &ledger.context.sessions[session];
            (session.stage, session.flags.leaving)
        });
        if let Seen::Relay(relay) = seen
            && stage == Stage::Connecting
            && self.came_early(handle, room, session, relay, now_ns)
        {
            return Event::Other;
        }
        if stage == Stage::Connecting && !matches!(seen, Seen::Open { .. }) {
            self.not_answered(handle, room, session);
        }
        let Some(one) = self.room_mut(room) else {
            return Event::Other;
        };
        let event = either!(one.ledger, ledger => ledger.observe(session, seen, now_ns));
        match (seen, &event) {
            (Seen::Open { seq, .. }, Event::Welcome) => {
                self.answered(handle, room, session, *seq, now_ns);
            }
            (Seen::Bye { .. }, Event::Bye) => {
                self.has_left(handle, room, session, leaving, now_ns);
            }
            (_, Event::Ack { sent_ns, .. }) => self.judge_put_out(handle, Some(*sent_ns)),
            _ => {}
        }
        event
    }
}
