//! The part of an estimate that is about rooms: where the messages of a group go, and how many
//! clients get them.

use std::collections::HashMap;

use super::{messages, peak_scheduled, scripted_rate};
use crate::scenario::membership::line_bytes;
use crate::scenario::plan::{Load, Plan, Step};
use crate::scenario::rooms::Present;
use crate::wire::rooms::RoomId;

/// The least, the mean and the most of something that each room has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ByRoom {
    /// The room that has least of it.
    pub min: f64,
    /// The average.
    pub mean: f64,
    /// The room that has most of it.
    pub max: f64,
}

/// The estimate of a plan's rooms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rooms {
    /// How many rooms have a name.
    pub count: u64,
    /// Memberships of clients in them, when all have connected.
    pub memberships: u64,
    /// Members of a room.
    pub members: ByRoom,
    /// The same with those of all scripts that join rooms.
    pub memberships_at_most: u64,
    /// The most deliveries a second in a room that schedules and scripts make.
    pub peak_deliveries_per_s: ByRoom,
}

impl Rooms {
    /// Estimates the rooms of `plan`, in which each group's messages go where `shares` say; `None`
    /// if it has none.
    pub(super) fn of(plan: &Plan, present: &Present, shares: &[Shares]) -> Option<Self> {
        if plan.rooms.is_empty() {
            return None;
        }
        let rooms = || plan.rooms.iter().map(|(room, _)| room);
        let mut delivered_per_s = vec![0.0; plan.rooms.len() + 1];
        for (index, shares) in shares.iter().enumerate() {
            let group = &plan.groups[index];
            let rate = peak_scheduled([(group, 1.0)]) + scripted_rate(group);
            for (room, share) in &shares.0 {
                delivered_per_s[room.0 as usize] += rate * share * receivers(present, *room);
            }
        }
        Some(Self {
            count: plan.rooms.len() as u64,
            memberships: rooms().map(|room| present.dealt(room)).sum(),
            members: by_room(rooms().map(|room| present.dealt(room) as f64)),
            memberships_at_most: rooms().map(|room| present.at_most(room)).sum(),
            peak_deliveries_per_s: by_room(rooms().map(|room| delivered_per_s[room.0 as usize])),
        })
    }
}

fn by_room(figures: impl Iterator<Item = f64>) -> ByRoom {
    let mut count = 0_u32;
    let mut all = ByRoom {
        min: f64::INFINITY,
        ..ByRoom::default()
    };
    for figure in figures {
        count += 1;
        all.min = all.min.min(figure);
        all.max = all.max.max(figure);
        all.mean += (figure - all.mean) / f64::from(count);
    }
    all
}

/// How many clients get what one of its members publishes in `room`.
fn receivers(present: &Present, room: RoomId) -> f64 {
    present.at_most(room).saturating_sub(1) as f64
}

/// Whether clients of group `index` of `plan` publish in the room without a name.
pub(in crate::scenario) fn publishes_in_unnamed(plan: &Plan, index: usize) -> bool {
    let group = &plan.groups[index];
    match group.load {
        Load::Listen => false,
        _ => {
            let shares = Shares::of(plan, index).0;
            shares.iter().any(|(room, _)| *room == RoomId::UNNAMED)
        }
    }
}

/// The deliveries of a run in each room, by its number, as far as they can be told: each place in
/// flight of a closed loop counts for one message a second.
pub(in crate::scenario) fn deliveries(plan: &Plan) -> Vec<f64> {
    let present = Present::of(plan);
    let load_s = (plan.run.warmup + plan.run.duration).as_secs_f64();
    let mut deliveries = vec![0.0; plan.rooms.len() + 1];
    for (index, group) in plan.groups.iter().enumerate() {
        let sent = match &group.load {
            Load::Listen => continue,
            Load::Closed { in_flight } => f64::from(*in_flight) * f64::from(group.count) * load_s,
            _ => messages(group, load_s).count,
        };
        for (room, share) in Shares::of(plan, index).0 {
            deliveries[room.0 as usize] += sent * share * receivers(&present, room);
        }
    }
    deliveries
}

/// Where the messages of a group go: each room with its share of them, all together 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shares(Vec<(RoomId, f64)>);

impl Shares {
    /// The shares of group `index` of `plan`.
    pub(super) fn of(plan: &Plan, index: usize) -> Self {
        let group = &plan.groups[index];
        let mut sent = match (&group.load, &group.rooms) {
            (Load::Script { steps, .. }, dealt) => {
                of_script(plan, steps, dealt.as_ref().map_or(0, |dealt| dealt.each))
            }
            (_, Some(_)) => Sent {
                in_dealt_rooms: 1.0,
                ..Sent::default()
            },
            (_, None) => return Self(vec![(RoomId::UNNAMED, 1.0)]),
        };
        let dealt = plan.dealt_rooms(index);
        let each = sent.in_dealt_rooms / dealt.memberships().count().max(1) as f64;
        for room in dealt.memberships() {
            *sent.in_room.entry(room).or_default() += each;
        }
        let sent = sent.in_room.into_iter().filter(|(_, sent)| *sent > 0.0);
        let mut shares: Vec<(RoomId, f64)> = sent.collect();
        shares.sort_unstable_by_key(|(room, _)| *room);
        let all: f64 = shares.iter().map(|(_, sent)| sent).sum();
        shares.iter_mut().for_each(|(_, sent)| *sent /= all);
        Self(shares)
    }

    /// To how many clients each message goes, on average.
    pub(super) fn receivers(&self, present: &Present) -> f64 {
        let shares = self.0.iter();
        shares
            .map(|(room, share)| share * receivers(present, *room))
            .sum()
    }

    /// The bytes that the name of its room takes in a message's line, on average.
    pub(super) fn name_bytes(&self, plan: &Plan) -> f64 {
        let named = self.0.iter().filter(|(room, _)| room.is_named());
        named
            .map(|(room, share)| share * line_bytes(plan.rooms.name(*room)) as f64)
            .sum()
    }
}

/// How many messages a client sends where.
#[derive(Debug, Default)]
struct Sent {
    in_room: HashMap<RoomId, f64>,
    /// In the rooms that it joins when it connects, evenly.
    in_dealt_rooms: f64,
}

/// The messages of one pass of a script whose client joins `dealt` rooms when it connects.
fn of_script(plan: &Plan, steps: &[Step], dealt: u32) -> Sent {
    let mut sent = Sent::default();
    // What each room that the client is in has got so far, of all that it publishes in turn; and
    // how much of that was before the client joined it.
    let mut in_turn = 0.0;
    let mut joined: HashMap<RoomId, f64> = HashMap::new();
    let mut left = 0;
    let end = Step::Connect;
    for step in steps.iter().chain([&end]) {
        match step {
            Step::Connect => {
                for (room, before) in joined.drain() {
                    *sent.in_room.entry(room).or_default() += in_turn - before;
                }
                left = 0;
            }
            Step::Join(name) => _ = joined.insert(plan.rooms.id(name), in_turn),
            Step::LeaveRoom(name) => {
                let room = plan.rooms.id(name);
                match joined.remove(&room) {
                    Some(before) => *sent.in_room.entry(room).or_default() += in_turn - before,
                    None => left += 1,
                }
            }
            Step::Publish { count, room, .. } => {
                let count = f64::from(*count);
                let of_dealt = f64::from(dealt.saturating_sub(left));
                let rooms = of_dealt + joined.len() as f64;
                match room {
                    Some(name) => *sent.in_room.entry(plan.rooms.id(name)).or_default() += count,
                    None if rooms == 0.0 => {
                        *sent.in_room.entry(RoomId::UNNAMED).or_default() += count;
                    }
                    None => {
                        in_turn += count / rooms;
                        sent.in_dealt_rooms += count / rooms * of_dealt;
                    }
                }
            }
            _ => {}
        }
    }
    sent
}
