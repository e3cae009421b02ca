//! Where a fault is committed: towards a session in the unnamed room, or in one with a name.
//!
//! All that faults do to what a session is sent goes by here, so that each can be committed in any
//! room.

use std::rc::Rc;

use crate::broadcast::Broadcast;
use crate::cursor::Cursor;
use crate::log::{Entry, Log};
use crate::session::{Phase, Session, Stream};
use chatbench_wire::{Dialect, classic, ndjson};

/// A session's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) session: usize,
    /// `None` in the unnamed room.
    pub(crate) membership: Option<u32>,
}

/// The room of a seat, as the lines in it name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) room: Option<Rc<str>>,
    pub(super) dialect: Dialect,
}

impl Place {
    /// An ack frame, LF included.
    pub(super) fn ack(&self, seq: u64, publish_id: Option<u64>) -> Vec<u8> {
        let mut line = Vec::new();
        match &self.room {
            None => ndjson::encode_ack(&mut line, seq, publish_id),
            Some(room) => ndjson::rooms::encode_ack(&mut line, room, seq, publish_id),
        }
        line
    }

    /// A relay as the clients get it.
    pub(super) fn relay(&self, seq: u64, client_ip: &str, message: &str) -> Vec<u8> {
        let mut line = Vec::new();
        match (self.dialect, &self.room) {
            (Dialect::Ndjson, None) => ndjson::encode_relay(&mut line, seq, client_ip, message),
            (Dialect::Ndjson, Some(room)) => {
                ndjson::rooms::encode_relay(&mut line, room, seq, client_ip, message);
            }
            (Dialect::Classic, _) => classic::encode_relay(&mut line, client_ip, message),
        }
        line
    }

    /// The room, as it ends a sentence.
    pub(super) fn of_room(&self) -> String {
        match &self.room {
            None => String::new(),
            Some(room) => format!(" of room {room:?}"),
        }
    }

    /// A number of the room, in words.
    pub(super) fn number(&self, seq: u64) -> String {
        match &self.room {
            None => format!("number {seq}"),
            Some(room) => format!("number {seq} of room {room:?}"),
        }
    }
}

impl<S: Stream> Broadcast<S> {
    pub(super) fn place_of(&mut self, seat: Seat) -> Place {
        Place {
            dialect: self.dialect(),
            room: seat
                .membership
                .and_then(|_| self.log_at(seat).room().cloned()),
        }
    }

    pub(super) fn log_at(&mut self, seat: Seat) -> &mut Log {
        match seat.membership {
            None => &mut self.log,
            Some(membership) => &mut self.rooms.room_of(membership).log,
        }
    }

    /// Changes what a session is sent in a room.
    pub(super) fn at<T>(&mut self, seat: Seat, change: impl FnOnce(&mut Cursor) -> T) -> T {
        let session = self.sessions[seat.session].as_mut().expect("it is there");
        match (seat.membership, &mut session.rooms) {
            (Some(membership), Some(side)) => {
                self.rooms
                    .change_cursor(seat.session, side, membership, change)
            }
            _ => change(&mut session.cursor),
        }
    }

    /// Acknowledges a session's own message.
    pub(super) fn ack_at(&mut self, seat: Seat, entry: Entry, publish_id: Option<u64>) {
        match seat.membership {
            None => self.session(seat.session).ack(entry, publish_id),
            Some(_) => self.at(seat, |cursor| cursor.ack(entry, publish_id)),
        }
    }

    /// Queues a line after all that a session is owed so far in a room; `false` if it takes no more.
    pub(super) fn reply_at(&mut self, seat: Seat, line: Vec<u8>) -> bool {
        let Some(membership) = seat.membership else {
            return self.reply(seat.session, line);
        };
        let Some(session) = &mut self.sessions[seat.session] else {
            return false;
        };
        let Some(side) = &mut session.rooms else {
            return false;
        };
        if !self.rooms.reply(seat.session, side, membership, line) {
            return false;
        }
        session.write_soon();
        session.wake();
        true
    }

    /// Numbers a message; `None` if that ended its sender's session.
    pub(super) fn number_at(
        &mut self,
        seat: Seat,
        message: &str,
        publish_id: Option<u64>,
    ) -> Option<Entry> {
        let (id, message) = (seat.session, message.into());
        match seat.membership {
            None => self.number(id, message, publish_id),
            Some(membership) => self.number_in_room(id, membership, message, publish_id),
        }
    }

    /// Appends a message to the log of a seat's room that is no publish of anyone who waits for an
    /// ack. `None` if the log takes it not.
    pub(super) fn append_at(&mut self, seat: Seat, client_ip: &str, text: &str) -> Option<Entry> {
        match seat.membership {
            None => self.log.append(client_ip, text).ok(),
            Some(membership) => {
                self.make_room_in_rooms();
                (self.rooms).append(membership, client_ip, text.into()).ok()
            }
        }
    }

    /// Everyone who gets what is said in a seat's room.
    pub(super) fn seats_beside(&self, seat: Seat) -> Vec<Seat> {
        let listens =
            |session: &Session<S>| session.phase == Phase::Open && !session.cursor.is_leaving();
        let sessions = self.sessions.iter().enumerate();
        let listening = |id: usize| self.sessions[id].as_ref().is_some_and(listens);
        let Some(membership) = seat.membership else {
            return sessions
                .filter(|(id, _)| listening(*id))
                .map(|(session, _)| Seat {
                    session,
                    membership: None,
                })
                .collect();
        };
        let mut seats: Vec<Seat> = (self.rooms.members_beside(membership))
            .filter(|(id, _)| listening(*id))
            .map(|(session, membership)| Seat {
                session,
                membership: Some(membership),
            })
            .collect();
        seats.sort_by_key(|seat| seat.session);
        seats
    }

    /// The seat of another session in the same room, if it is there.
    pub(super) fn seat_beside(&self, seat: Seat, session: usize) -> Option<Seat> {
        let mut seats = self.seats_beside(seat).into_iter();
        seats.find(|other| other.session == session)
    }

    /// The name that a session is known by: its address.
    pub(super) fn name_of(&mut self, seat: Seat) -> String {
        self.session(seat.session).client_ip.to_string()
    }
}
