//! The rooms of a fleet's connections: who is in which, who waits for an answer, whose turn it is.

use super::Fleet;
use super::connection::ConnId;
use crate::verify::ledger::Event;
use crate::wire::rooms::RoomId;
use crate::wire::seen::Conn;

/// The named rooms of one connection.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    all: Vec<(RoomId, Stage)>,
    /// The place of the room in which it publishes next.
    turn: usize,
    /// It was not let into a room, or put out of one: what it would have published there is not
    /// published elsewhere.
    shut_out: bool,
}

/// How far a connection has got with a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for the answer to its join.
    Joining,
    /// It is a member.
    In,
    /// It waits for the answer to its leave.
    Leaving,
}

impl Rooms {
    fn stage(&self, room: RoomId) -> Option<Stage> {
        let found = self.all.iter().find(|(one, _)| *one == room);
        found.map(|(_, stage)| *stage)
    }

    fn set(&mut self, room: RoomId, stage: Stage) {
        match self.all.iter_mut().find(|(one, _)| *one == room) {
            Some((_, known)) => *known = stage,
            None => self.all.push((room, stage)),
        }
    }

    fn forget(&mut self, room: RoomId) {
        self.all.retain(|(one, _)| *one != room);
    }

    /// Whether it waits for an answer of any room.
    pub(super) fn is_waiting(&self) -> bool {
        self.all.iter().any(|(_, stage)| *stage != Stage::In)
    }

    /// The rooms that it is in.
    pub(super) fn members_of(&self) -> impl Iterator<Item = RoomId> {
        let members = self.all.iter().filter(|(_, stage)| *stage == Stage::In);
        members.map(|(room, _)| *room)
    }

    /// How many rooms it is in.
    pub(super) fn count(&self) -> u64 {
        self.members_of().count() as u64
    }

    /// The room in which it publishes next: those that it is in take turns. `None` if it was not
    /// let into the rooms in which it was to publish.
    pub(super) fn next(&mut self) -> Option<RoomId> {
        for _ in 0..self.all.len() {
            let (room, stage) = self.all[self.turn % self.all.len()];
            self.turn = (self.turn + 1) % self.all.len();
            if stage == Stage::In {
                return Some(room);
            }
        }
        (!self.shut_out).then_some(RoomId::UNNAMED)
    }

    /// Takes what came in a room as the answer that it may be. Returns by how many the rooms that
    /// it is in become more.
    pub(super) fn take(&mut self, room: RoomId, event: &Event) -> i64 {
        let stage = self.stage(room);
        match (event, stage) {
            (Event::Welcome, Some(Stage::Joining)) => {
                self.set(room, Stage::In);
                1
            }
            (Event::Bye, Some(stage)) => {
                self.forget(room);
                self.shut_out |= stage != Stage::Leaving;
                -i64::from(stage == Stage::In)
            }
            (Event::Error { .. }, Some(Stage::Joining)) => {
                self.forget(room);
                self.shut_out = true;
                0
            }
            (Event::Error { .. }, Some(Stage::Leaving)) => {
                self.forget(room);
                0
            }
            _ => 0,
        }
    }
}

impl Fleet {
    /// The connection `id` asks to be let into all of the rooms of its client's group. It counts as
    /// connected when each has answered ([`Fleet::has_arrived`]).
    pub(in crate::driver) fn join_dealt(&mut self, id: ConnId) {
        let client = id.client;
        let dealt = self.clients[client].rooms.len();
        if let Some(connection) = self.connection(id) {
            connection.rooms.all.reserve_exact(dealt);
        }
        for nth in 0..dealt {
            let room = self.clients[client].rooms[nth];
            self.ask_to_join(client, room);
        }
        self.set_timer(client);
        self.write_out(client);
        if let Some(connection) = self.connection(id) {
            connection.asked = true;
        }
        self.arrive(client);
    }

    /// The script of `client` asks to be let into a room.
    pub(in crate::driver) fn join(&mut self, client: usize, room: RoomId) {
        self.ask_to_join(client, room);
        self.set_timer(client);
        self.write_out(client);
    }

    fn ask_to_join(&mut self, client: usize, room: RoomId) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        if self.ledger.joining(connection.handle, room) {
            if connection.conn.join(&mut self.out, room) {
                connection.rooms.set(room, Stage::Joining);
            } else {
                connection.rooms.set(room, Stage::In);
                self.live.memberships(1);
            }
        }
    }

    /// The script of `client` leaves a room.
    pub(in crate::driver) fn leave_room(&mut self, client: usize, room: RoomId) {
        let now_ns = self.clock.now_ns();
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        if connection.rooms.stage(room) != Some(Stage::In) {
            return; // it was not let in, or was put out
        }
        self.ledger.leaving_room(connection.handle, room, now_ns);
        if connection.conn.leave(&mut self.out, room) {
            connection.rooms.set(room, Stage::Leaving);
        } else {
            connection.rooms.forget(room);
        }
        self.live.memberships(-1);
        self.set_timer(client);
        self.write_out(client);
    }

    /// Whether `client` waits for the answer of a room.
    pub(in crate::driver) fn is_waiting_for(&self, client: usize, room: RoomId) -> bool {
        let connection = self.clients[client].connection.as_ref();
        let stage = connection.and_then(|connection| connection.rooms.stage(room));
        stage.is_some_and(|stage| stage != Stage::In)
    }

    /// The time for the answers that `client` waits for is up. A join without one is a violation,
    /// and the client goes on as if it had come. A leave without one is judged when the connection
    /// is over.
    pub(in crate::driver) fn stop_waiting(&mut self, client: usize) {
        let now_ns = self.clock.now_ns();
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        let rooms = &mut connection.rooms;
        rooms.all.retain(|(_, stage)| *stage != Stage::Leaving);
        for (room, stage) in &mut rooms.all {
            if *stage == Stage::Joining {
                self.ledger.not_let_in(connection.handle, *room, now_ns);
                *stage = Stage::In;
                self.live.memberships(1);
            }
        }
        self.arrive(client);
    }

    /// Whether `id` was welcomed and all rooms have answered that it had to join first, or it is
    /// gone.
    pub(in crate::driver) fn has_arrived(&mut self, id: ConnId) -> bool {
        self.connection(id).is_none_or(|c| c.arrived)
    }

    /// Counts `client` as connected, if it is welcomed and in all rooms that it joins first.
    pub(super) fn arrive(&mut self, client: usize) {
        let one = &mut self.clients[client];
        let Some(connection) = &mut one.connection else {
            return;
        };
        let asked = connection.asked || one.rooms.is_empty();
        let there = connection.welcomed && asked && !connection.rooms.is_waiting();
        if there && !connection.arrived {
            connection.arrived = true;
            self.live.welcomed(one.rank, one.connections == 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(all: &[(u32, Stage)]) -> Rooms {
        Rooms {
            all: all
                .iter()
                .map(|(room, stage)| (RoomId(*room), *stage))
                .collect(),
            ..Rooms::default()
        }
    }

    fn refused() -> Event {
        let code = "too-many-rooms".into();
        Event::Error { code }
    }

    #[test]
    fn the_rooms_that_it_is_in_take_turns() {
        use Stage::{In, Joining, Leaving};
        let mut rooms = rooms(&[(1, In), (2, Joining), (3, In), (4, Leaving)]);
        let next: Vec<u32> = (0..5).map(|_| rooms.next().unwrap().0).collect();
        assert_eq!(next, [1, 3, 1, 3, 1]);
        assert!(rooms.is_waiting());
        assert_eq!(rooms.take(RoomId(2), &Event::Welcome), 1);
        assert_eq!(rooms.take(RoomId(4), &Event::Bye), 0);
        assert!(!rooms.is_waiting());
        assert_eq!(rooms.count(), 3);
    }

    #[test]
    fn who_was_in_no_room_publishes_in_the_one_without_a_name() {
        let mut none = Rooms::default();
        assert_eq!(none.next(), Some(RoomId::UNNAMED));
        none.set(RoomId(1), Stage::Leaving);
        assert_eq!(none.take(RoomId(1), &Event::Bye), 0);
        assert_eq!(
            none.next(),
            Some(RoomId::UNNAMED),
            "it left as it wanted to"
        );
    }

    #[test]
    fn who_was_refused_or_put_out_publishes_nowhere_else() {
        let mut refused_one = rooms(&[(1, Stage::Joining)]);
        assert_eq!(refused_one.take(RoomId(1), &refused()), 0);
        assert_eq!(
            (refused_one.is_waiting(), refused_one.next()),
            (false, None)
        );
        let mut put_out = rooms(&[(1, Stage::In)]);
        assert_eq!(
            put_out.take(RoomId(1), &refused()),
            0,
            "a publish was refused"
        );
        assert_eq!(put_out.next(), Some(RoomId(1)));
        assert_eq!(put_out.take(RoomId(1), &Event::Bye), -1);
        assert_eq!(put_out.next(), None);
    }
}
