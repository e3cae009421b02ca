//! What only a server that has rooms can do wrong, to a [`House`]: a message comes to somebody who
//! was not to get it in that room.

use rand::{Rng, RngExt};

use super::faults::pick;
use super::house::{Extra, House, Piece, labelled};
use super::world::{Id, What, address};

/// A bug: what it is, and how it changes a house; `None` where there is no occasion for it.
pub(super) type RoomBug = (&'static str, fn(&mut House, &mut dyn Rng) -> Option<()>);

pub(super) const ROOM_BUGS: &[RoomBug] = &[
    (
        "relays a message under the name of another room",
        wrong_room,
    ),
    ("relays another room's message to who joins", leak_on_join),
    ("relays a message to who has left", stays_after_leave),
    ("relays a message to who never joined", never_joined),
];

/// A message of a room, and when some member of that got it.
#[derive(Debug, Clone, Copy)]
struct Relayed {
    room: usize,
    id: Id,
    seq: u64,
    at_ns: u64,
}

/// A membership's part of its connection's stream: the places of its first frame and of its last.
#[derive(Debug, Clone, Copy)]
struct Stay {
    connection: usize,
    room: usize,
    joined: usize,
    /// Where it was told so.
    left: Option<usize>,
}

fn relays(house: &House) -> Vec<Relayed> {
    let mut all = Vec::new();
    for (room, world) in house.worlds.iter().enumerate() {
        for frame in world.lives.iter().flat_map(|life| &life.frames) {
            if let What::Relay(id) = frame.what {
                let (seq, at_ns) = (frame.seq, frame.at_ns);
                all.push(Relayed {
                    room,
                    id,
                    seq,
                    at_ns,
                });
            }
        }
    }
    all
}

fn stays(house: &House, streams: &[Vec<Piece>]) -> Vec<Stay> {
    let mut stays: Vec<(Stay, usize)> = Vec::new();
    for (connection, stream) in streams.iter().enumerate() {
        for (place, piece) in stream.iter().enumerate() {
            let Some((room, life, at)) = piece.of else {
                continue;
            };
            match house.worlds[room].lives[life].frames[at].what {
                What::Welcome => {
                    let (joined, left) = (place, None);
                    let stay = Stay {
                        connection,
                        room,
                        joined,
                        left,
                    };
                    stays.push((stay, life));
                }
                What::Bye => {
                    let is_it = |(stay, of): &&mut (Stay, usize)| stay.room == room && *of == life;
                    if let Some((stay, _)) = stays.iter_mut().find(is_it) {
                        stay.left = Some(place);
                    }
                }
                _ => {}
            }
        }
    }
    stays.into_iter().map(|(stay, _)| stay).collect()
}

/// Has a message come in `label`, under the number `seq`, after so many frames of a connection.
fn come(
    house: &mut House,
    (relayed, label, seq): (Relayed, usize, u64),
    connection: usize,
    after: usize,
) {
    let line = house.in_room(relayed.room, |world| {
        let text = &world.texts[&relayed.id];
        world.relay_line(seq, &address(relayed.id.life), text)
    });
    let line = match label {
        0 => line,
        _ => labelled(&line, label),
    };
    house.add(Extra {
        connection,
        after,
        line,
    });
}

/// Places of a stream, from one on and before another, by when the message had been relayed.
fn places(stream: &[Piece], from: usize, until: usize, at_ns: u64) -> Vec<usize> {
    let places = from..=until.min(stream.len().saturating_sub(1));
    places
        .filter(|&after| after > 0 && stream[after - 1].at_ns >= at_ns)
        .collect()
}

fn leak(house: &mut House, rng: &mut dyn Rng, at_once: bool) -> Option<()> {
    let streams = house.streams();
    let relayed = pick(rng, &relays(house))?;
    let mut stays = stays(house, &streams);
    stays.retain(|stay| stay.room != relayed.room);
    let Stay {
        connection,
        room,
        joined,
        left,
    } = pick(rng, &stays)?;
    let stream = &streams[connection];
    let last = if at_once {
        joined + 1
    } else {
        left.unwrap_or(stream.len())
    };
    let after = pick(rng, &places(stream, joined + 1, last, relayed.at_ns))?;
    let of_room = |piece: &Piece| piece.of.filter(|&(of, ..)| of == room);
    let before = stream[..after].iter().rev().find_map(of_room);
    let due = before.map_or(0, |(of, life, at)| {
        house.worlds[of].lives[life].frames[at].seq
    }) + 1;
    let seq = [relayed.seq, due, rng.random_range(1..40)][rng.random_range(0..3_usize)];
    come(house, (relayed, room, seq), connection, after);
    Some(())
}

fn wrong_room(house: &mut House, rng: &mut dyn Rng) -> Option<()> {
    leak(house, rng, false)
}

fn leak_on_join(house: &mut House, rng: &mut dyn Rng) -> Option<()> {
    leak(house, rng, true)
}

fn stays_after_leave(house: &mut House, rng: &mut dyn Rng) -> Option<()> {
    let streams = house.streams();
    let relayed = pick(rng, &relays(house)).filter(|relayed| relayed.room > 0)?;
    let stays = stays(house, &streams);
    let its = stays
        .iter()
        .filter(|stay| stay.room == relayed.room && stay.left.is_some());
    let its: Vec<Stay> = its.copied().collect();
    let Stay {
        connection,
        room,
        left,
        ..
    } = pick(rng, &its)?;
    let left = left?;
    let stream = &streams[connection];
    // It may come back.
    let back = stays
        .iter()
        .filter(|s| (s.connection, s.room) == (connection, room));
    let back = back.map(|s| s.joined).filter(|&joined| joined > left).min();
    let until = back.unwrap_or(stream.len() - 1);
    let after = pick(rng, &places(stream, left + 1, until, relayed.at_ns))?;
    come(house, (relayed, room, relayed.seq), connection, after);
    Some(())
}

fn never_joined(house: &mut House, rng: &mut dyn Rng) -> Option<()> {
    let streams = house.streams();
    let relayed = pick(rng, &relays(house)).filter(|relayed| relayed.room > 0)?;
    let stays = stays(house, &streams);
    let is_there = |c: usize| {
        stays
            .iter()
            .any(|s| (s.connection, s.room) == (c, relayed.room))
    };
    let outside: Vec<usize> = (0..streams.len()).filter(|&c| !is_there(c)).collect();
    let connection = pick(rng, &outside)?;
    let stream = &streams[connection];
    let after = pick(rng, &places(stream, 1, stream.len(), relayed.at_ns))?;
    come(
        house,
        (relayed, relayed.room, relayed.seq),
        connection,
        after,
    );
    Some(())
}
