//! What clients ask for in rooms: to join, to leave, to publish.

use super::NoEntry;
use crate::broadcast::Broadcast;
use crate::fault::Seat;
use crate::log::{Entry, Refused};
use crate::session::{Phase, Stream};
use chatbench_wire::ndjson::{ClientFrame, ErrorCode, MessageText};
use chatbench_wire::rooms::check_name;

/// A frame that names a room, apart from its kind.
struct Asked<'a> {
    room: &'a str,
    id: Option<u64>,
}

impl<S: Stream> Broadcast<S> {
    /// Takes a frame that names a room.
    pub(crate) fn take_room_frame(&mut self, session: usize, frame: &ClientFrame<'_>) {
        match frame {
            ClientFrame::Join { room, id } => self.join_room(session, &Asked { room, id: *id }),
            ClientFrame::Leave { room, id } => self.leave_room(session, &Asked { room, id: *id }),
            ClientFrame::Publish(publish) => {
                let room = publish.room.as_deref().unwrap_or("");
                let id = publish.id;
                let message = MessageText::decoded(&publish.message);
                self.publish_in_room(session, &Asked { room, id }, message);
            }
        }
    }

    fn join_room(&mut self, id: usize, asked: &Asked<'_>) {
        if let Err(bad) = check_name(asked.room) {
            return self.answer(id, ErrorCode::BadRoom, &bad.to_string(), asked.id);
        }
        let session = self.sessions[id].as_mut().expect("it was just read from");
        let side = session.rooms.get_or_insert_default();
        match self.rooms.join(id, side, asked.room, asked.id) {
            Ok(membership) => {
                self.attend_to(id);
                self.with_faults((), |faults, broadcast| {
                    faults.joined_room(broadcast, id, membership);
                });
            }
            Err(NoEntry::AlreadyJoined) => {
                let detail = "this client is in the room already";
                self.answer_in(id, asked, ErrorCode::AlreadyJoined, detail);
            }
            Err(NoEntry::TooManyOfTheClient) => {
                let most = self.rooms.max_rooms_per_client;
                let detail = format!("this client is in {most} rooms already, the most allowed");
                self.answer_in(id, asked, ErrorCode::TooManyRooms, &detail);
            }
            Err(NoEntry::TooMany) => {
                let most = self.rooms.max_rooms;
                let detail = format!("there are {most} rooms already, the most allowed");
                self.answer_in(id, asked, ErrorCode::TooManyRooms, &detail);
            }
        }
    }

    fn leave_room(&mut self, id: usize, asked: &Asked<'_>) {
        let Some(membership) = self.find_membership(id, asked) else {
            return;
        };
        let answered = self.with_faults(true, |faults, broadcast| {
            faults.bids_left(broadcast, id, membership)
        });
        let session = self.sessions[id].as_mut().expect("it was just read from");
        let side = session.rooms.as_mut().expect("it has a membership");
        self.rooms.leave(side, membership, answered, asked.id);
        self.attend_to(id);
    }

    /// A session's membership in the room that it names. If it is in no such room, it is told so.
    fn find_membership(&mut self, id: usize, asked: &Asked<'_>) -> Option<u32> {
        let found = self.rooms.find(id, asked.room);
        if found.is_none() {
            match check_name(asked.room) {
                Ok(()) => {
                    let detail = "this client is not in the room";
                    self.answer_in(id, asked, ErrorCode::NotJoined, detail);
                }
                Err(bad) => self.answer(id, ErrorCode::BadRoom, &bad.to_string(), asked.id),
            }
        }
        found
    }

    fn publish_in_room(&mut self, id: usize, asked: &Asked<'_>, message: MessageText<'_>) {
        let Some(membership) = self.find_membership(id, asked) else {
            return;
        };
        if message.as_str().is_empty() {
            let detail = "a message has 1 or more characters";
            return self.answer_in(id, asked, ErrorCode::EmptyMessage, detail);
        }
        if self.has_faults() {
            return self.with_faults((), |faults, broadcast| {
                let seat = Seat {
                    session: id,
                    membership: Some(membership),
                };
                faults.publish(broadcast, seat, message.as_str(), asked.id);
            });
        }
        if let Some(entry) = self.number_in_room(id, membership, message, asked.id) {
            self.rooms
                .membership(membership)
                .cursor
                .ack(entry, asked.id);
        }
    }

    /// Numbers a message in a room; `None` if that ended its sender's session.
    pub(crate) fn number_in_room(
        &mut self,
        id: usize,
        membership: u32,
        message: MessageText<'_>,
        publish_id: Option<u64>,
    ) -> Option<Entry> {
        self.make_room_in_rooms();
        let session = self.sessions[id].as_mut().expect("it was just read from");
        if session.phase != Phase::Open {
            return None; // making room ended this session: it floods and reads no acks
        }
        match self.rooms.append(membership, &session.client_ip, message) {
            Ok(entry) => {
                self.stats.relays += self.rooms.room_of(membership).members.len() as u64 - 1;
                Some(entry)
            }
            Err(Refused::Backlogged { .. }) => unreachable!("room was made for the longest line"),
            Err(Refused::LineTooLong { line_bytes }) => {
                let detail = format!("its relay would be a line of {line_bytes} bytes");
                let room = self.rooms.room_of(membership).log.room().cloned();
                let room = room.as_deref().unwrap_or("");
                let asked = Asked {
                    room,
                    id: publish_id,
                };
                self.answer_in(id, &asked, ErrorCode::LineTooLong, &detail);
                self.close(id);
                None
            }
        }
    }

    fn answer_in(&mut self, id: usize, asked: &Asked<'_>, code: ErrorCode, detail: &str) {
        self.answer_about(id, Some(asked.room), code, detail, asked.id);
    }

    /// Sees to it that what a session is now owed in a room is sent soon.
    pub(crate) fn attend_to(&mut self, id: usize) {
        let session = self.sessions[id].as_mut().expect("it was just read from");
        session.write_soon();
        if let Some(side) = &mut session.rooms {
            self.rooms.note_busy(id, side);
        }
    }
}
