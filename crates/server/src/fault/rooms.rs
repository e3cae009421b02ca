//! Faults of rooms: a message that comes to whom it is not for, or to whom it is and does not.

use std::rc::Rc;

use super::catalogue::Fault;
use super::commit::Faults;
use super::delivery::Delivery;
use super::seat::{Place, Seat};
use crate::broadcast::Broadcast;
use crate::session::Stream;

/// Rooms of which the latest message is remembered, at most.
const MAX_LATEST: usize = 1000;

/// The latest message of a room.
#[derive(Debug, Clone)]
pub(super) struct Latest {
    pub(super) place: Place,
    seq: u64,
    client_ip: String,
    message: String,
}

impl Latest {
    /// Its relay line.
    pub(super) fn line(&self) -> Vec<u8> {
        self.place.relay(self.seq, &self.client_ip, &self.message)
    }
}

/// Who left a room and may be sent its next message.
#[derive(Debug)]
pub(super) struct Stays {
    pub(super) session: usize,
    room: Option<Rc<str>>,
}

impl Faults {
    /// Called when a session has joined a room, with its `joined` queued.
    pub(crate) fn joined_room<S>(&mut self, b: &mut Broadcast<S>, session: usize, membership: u32)
    where
        S: Stream,
    {
        let seat = Seat {
            session,
            membership: Some(membership),
        };
        let (name, place) = (b.name_of(seat), b.place_of(seat));
        (self.stays).retain(|stays| (stays.session, &stays.room) != (session, &place.room));
        self.seated(b, seat);
        if self.take_due(Fault::JoinedTooLate) {
            self.late.push((seat, Fault::JoinedTooLate));
        }
        // A number that the next message of the room has not, or that would be the one missing.
        let next = b.log_at(seat).seq() + 1;
        let mut others = self.latest.iter().rev();
        let foreign = others.find(|latest| {
            latest.place.room != place.room && latest.client_ip != name && latest.seq != next
        });
        if let Some(foreign) = foreign.cloned()
            && self.take_due(Fault::LeakOnJoin)
        {
            let line = place.relay(foreign.seq, &foreign.client_ip, &foreign.message);
            b.reply_at(seat, line);
            let number = foreign.place.number(foreign.seq);
            let what = format!("{number} to {name}, who joined{}", place.of_room());
            self.tell(Fault::LeakOnJoin, &[session], what);
        }
    }

    /// Whether a session that leaves a room is sent a `left`.
    pub(crate) fn bids_left<S>(
        &mut self,
        b: &mut Broadcast<S>,
        session: usize,
        membership: u32,
    ) -> bool
    where
        S: Stream,
    {
        let seat = Seat {
            session,
            membership: Some(membership),
        };
        if self.reserved.as_ref().is_some_and(|r| r.involves(session)) {
            self.give_up(b);
        }
        let (name, place) = (b.name_of(seat), b.place_of(seat));
        self.release_to(b, |leaves| leaves == seat);
        self.forget(|gone| gone == seat);
        if self.due(Fault::StaysAfterLeave).is_some() {
            self.stays.push(Stays {
                session,
                room: place.room.clone(),
            });
        }
        if self.take_due(Fault::NoBye) {
            let what = format!("none to {name}{}", place.of_room());
            self.tell(Fault::NoBye, &[session], what);
            return false;
        }
        true
    }

    /// Sends a message that was just numbered to whom it is not for, if that is due.
    pub(super) fn leak<S>(&mut self, b: &mut Broadcast<S>, d: &Delivery<'_>)
    where
        S: Stream,
    {
        if d.place.room.is_none() {
            return; // everyone is in the unnamed room
        }
        self.leak_to_another_room(b, d);
        self.send_to_who_left(b, d);
    }

    fn leak_to_another_room<S>(&mut self, b: &mut Broadcast<S>, d: &Delivery<'_>)
    where
        S: Stream,
    {
        let Some(at) = self.due(Fault::WrongRoom) else {
            return;
        };
        let members = b.seats_beside(d.sender);
        let is_in = |session| members.iter().any(|member| member.session == session);
        let mut others = b.seats_in_rooms();
        others.retain(|seat| {
            // A number that the next message of the other room has would be that one's place.
            !is_in(seat.session) && b.log_at(*seat).seq() + 1 != d.entry.seq
        });
        let Some(seat) = self.dice[at].pick(&others) else {
            return;
        };
        self.dice[at].spend();
        let (name, place) = (b.name_of(seat), b.place_of(seat));
        b.reply_at(seat, place.relay(d.entry.seq, &d.client_ip, d.message));
        let what = format!("{} to {name}, as if it were{}", d.number(), place.of_room());
        self.tell(Fault::WrongRoom, &[seat.session], what);
    }

    fn send_to_who_left<S>(&mut self, b: &mut Broadcast<S>, d: &Delivery<'_>)
    where
        S: Stream,
    {
        let stays = self.stays.iter().position(|stays| {
            // Not before it was sent its `left`, and that it was said goodbye to.
            stays.room == d.place.room
                && stays.session != d.sender.session
                && b.has_left(stays.session)
        });
        let Some(stays) = stays else { return };
        let Stays { session, .. } = self.stays.swap_remove(stays);
        let Some(at) = self.due(Fault::StaysAfterLeave) else {
            return;
        };
        let seat = Seat {
            session,
            membership: None,
        };
        if b.reply_at(seat, d.line.clone()) {
            self.dice[at].spend();
            let what = format!("{} to {}, who had left", d.number(), b.name_of(seat));
            self.tell(Fault::StaysAfterLeave, &[session], what);
        }
    }

    /// Remembers a message that was just numbered.
    pub(super) fn note_latest(&mut self, d: &Delivery<'_>) {
        self.latest.retain(|latest| latest.place != d.place);
        if self.latest.len() == MAX_LATEST {
            self.latest.remove(0);
        }
        self.latest.push(Latest {
            place: d.place.clone(),
            seq: d.entry.seq,
            client_ip: d.client_ip.clone(),
            message: d.message.to_owned(),
        });
    }
}

impl<S: Stream> Broadcast<S> {
    /// The number of rooms with a name that a session is in.
    pub(super) fn rooms_of(&self, seat: Seat) -> usize {
        let session = self.sessions[seat.session].as_ref();
        let side = session.and_then(|session| session.rooms.as_deref());
        side.map_or(0, |side| side.memberships().0.len())
    }

    /// Whether a session is there, and was sent all of the rooms that it has left.
    fn has_left(&self, session: usize) -> bool {
        let session = self.sessions[session].as_ref();
        let side = session.and_then(|session| session.rooms.as_deref());
        side.is_some_and(|side| side.memberships().1 == 0)
    }

    /// The seats of all in rooms with a name.
    fn seats_in_rooms(&self) -> Vec<Seat> {
        let sessions = self.sessions.iter().enumerate();
        let seats = sessions.filter_map(|(session, state)| {
            let side = state.as_ref()?.rooms.as_deref()?;
            let memberships = side.memberships().0.iter();
            Some(memberships.map(move |&membership| Seat {
                session,
                membership: Some(membership),
            }))
        });
        seats.flatten().collect()
    }
}
