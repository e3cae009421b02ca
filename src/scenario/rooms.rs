//! Which rooms each client of a group is in: dealt by the scenario's seed.
//!
//! The rooms of a client depend on the seed, its group's name, the group's rooms and the client's
//! number in the group, and on nothing else.

use std::collections::HashMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::pace::derive_seed;
use super::plan::{Load, Plan, Step};
use crate::wire::rooms::RoomId;

/// Salts of a group's streams, above those of its clients and of their draws ([`super::draws`]).
const DECKS: u64 = 1 << 33;
const HANDS: u64 = DECKS + (1 << 32);

/// The rooms that the clients of a group join when they connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRooms {
    /// The rooms that are dealt out. The first are the most popular where some are.
    pub rooms: Vec<RoomId>,
    /// How many of them each client is in.
    pub each: u32,
    /// How they are dealt out.
    pub pick: Pick,
}

/// How rooms are dealt out to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// All rooms have as many members, but for one.
    Even,
    /// The nth room is joined with a probability in proportion to 1/n: a few rooms have most of the
    /// members.
    Zipf,
}

/// The rooms of all clients of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dealt {
    each: usize,
    /// Client after client.
    rooms: Vec<RoomId>,
}

impl Dealt {
    /// Deals the rooms of a group of `count` clients whose seed is `group_seed`
    /// ([`Plan::group_seed`](super::plan::Plan::group_seed)).
    #[must_use]
    pub fn new(rooms: &GroupRooms, group_seed: u64, count: u32) -> Self {
        let each = rooms.each as usize;
        let mut dealt = Vec::with_capacity(count as usize * each);
        match rooms.pick {
            Pick::Even => deal_evenly(rooms, group_seed, count, &mut dealt),
            Pick::Zipf => deal_by_popularity(rooms, group_seed, count, &mut dealt),
        }
        Self { each, rooms: dealt }
    }

    /// The rooms of client `client`, in the order in which it joins them and publishes in them.
    #[must_use]
    pub fn of(&self, client: u32) -> &[RoomId] {
        let first = client as usize * self.each;
        &self.rooms[first..first + self.each]
    }

    /// Every membership: the rooms of one client after another.
    pub fn memberships(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().copied()
    }
}

/// Deals as cards are dealt: from a shuffled deck with one card a room, and when it is used up from
/// another. A client whose hand comes from two decks gets no room twice.
fn deal_evenly(rooms: &GroupRooms, group_seed: u64, count: u32, dealt: &mut Vec<RoomId>) {
    let each = rooms.each as usize;
    let wanted = count as usize * each;
    let mut deck = rooms.rooms.clone();
    for nth in 0_u64.. {
        let mut random = Pcg64Mcg::seed_from_u64(derive_seed(group_seed, DECKS + nth));
        deck.clone_from(&rooms.rooms);
        deck.shuffle(&mut random);
        // The cards that complete the hand that the last deck began.
        let begun = dealt.len() % each;
        let rest = if begun == 0 { 0 } else { each - begun };
        let hand = &dealt[dealt.len() - begun..];
        let mut spare = rest;
        for at in 0..rest {
            if hand.contains(&deck[at]) {
                // The deck has `each` cards at least, so enough of them are not in the hand.
                while hand.contains(&deck[spare]) {
                    spare += 1;
                }
                deck.swap(at, spare);
                spare += 1;
            }
        }
        let missing = wanted - dealt.len();
        dealt.extend(deck.iter().take(missing));
        if missing <= deck.len() {
            return;
        }
    }
}

/// Draws each client's rooms without putting them back, the nth with a weight of 1/n.
fn deal_by_popularity(rooms: &GroupRooms, group_seed: u64, count: u32, dealt: &mut Vec<RoomId>) {
    let mut urn = Urn::new((1..=rooms.rooms.len() as u64).map(|n| WHOLE / n));
    for client in 0..count {
        let hand_seed = derive_seed(group_seed, HANDS + u64::from(client));
        let mut random = Pcg64Mcg::seed_from_u64(hand_seed);
        let first = dealt.len();
        let mut taken = Vec::with_capacity(rooms.each as usize);
        for _ in 0..rooms.each {
            let (at, weight) = urn.take(random.random_range(0..urn.total));
            taken.push((at, weight));
            dealt.push(rooms.rooms[at]);
        }
        for (at, weight) in taken {
            urn.add(at, weight);
        }
        // Drawn in this order, the most popular of them would mostly be the first.
        dealt[first..].shuffle(&mut random);
    }
}

/// The weight of the first room. The ten-thousandth has a ten-thousandth of it, to six digits.
const WHOLE: u64 = 1 << 40;

/// Things of different weight, of which one is drawn after the other: a binary indexed tree.
struct Urn {
    /// At `i`, from 1: the weight of the things up to it, as many as the lowest bit of `i` says.
    sums: Vec<u64>,
    weights: Vec<u64>,
    total: u64,
}

impl Urn {
    fn new(weights: impl Iterator<Item = u64>) -> Self {
        let weights: Vec<u64> = weights.collect();
        let mut urn = Self {
            sums: vec![0; weights.len() + 1],
            weights: vec![0; weights.len()],
            total: 0,
        };
        for (at, weight) in weights.into_iter().enumerate() {
            urn.add(at, weight);
        }
        urn
    }

    fn add(&mut self, at: usize, weight: u64) {
        self.weights[at] += weight;
        self.total += weight;
        let mut i = at + 1;
        while i < self.sums.len() {
            self.sums[i] += weight;
            i += i & i.wrapping_neg();
        }
    }

    /// Takes the thing at which the sum of all weights up to it exceeds `drawn`: its place, and its
    /// weight.
    fn take(&mut self, mut drawn: u64) -> (usize, u64) {
        let mut at = 0;
        let mut step = self.weights.len().next_power_of_two();
        while step > 0 {
            if let Some(&sum) = self.sums.get(at + step)
                && sum <= drawn
            {
                at += step;
                drawn -= sum;
            }
            step /= 2;
        }
        let weight = std::mem::take(&mut self.weights[at]);
        self.total -= weight;
        let mut i = at + 1;
        while i < self.sums.len() {
            self.sums[i] -= weight;
            i += i & i.wrapping_neg();
        }
        (at, weight)
    }
}

/// How many clients of a plan are in each of its rooms.
#[derive(Debug, Clone)]
pub struct Present {
    /// By the number of the room: those that join when they connect, and all that may be in it.
    rooms: Vec<(u32, u32)>,
    clients: u64,
}

impl Present {
    /// The clients of `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut rooms = vec![(0, 0); plan.rooms.len() + 1];
        for (index, group) in plan.groups.iter().enumerate() {
            let dealt = plan.dealt_rooms(index);
            for room in dealt.memberships() {
                rooms[room.0 as usize].0 += 1;
                rooms[room.0 as usize].1 += 1;
            }
            let Load::Script { steps, .. } = &group.load else {
                continue;
            };
            let joined = steps.iter().filter_map(|step| match step {
                Step::Join(name) => Some(plan.rooms.id(name)),
                _ => None,
            });
            let mut joined: HashMap<RoomId, u32> = joined.map(|room| (room, 0)).collect();
            if !joined.is_empty() {
                for room in dealt.memberships() {
                    joined.entry(room).and_modify(|members| *members += 1);
                }
            }
            for (room, members) in joined {
                rooms[room.0 as usize].1 += group.count - members;
            }
        }
        Self {
            rooms,
            clients: plan.clients(),
        }
    }

    /// How many clients join `room` when they connect: all of them the unnamed one.
    #[must_use]
    pub fn dealt(&self, room: RoomId) -> u64 {
        match room {
            RoomId::UNNAMED => self.clients,
            room => u64::from(self.rooms[room.0 as usize].0),
        }
    }

    /// How many clients are in `room` at most, with those whose scripts join it.
    #[must_use]
    pub fn at_most(&self, room: RoomId) -> u64 {
        match room {
            RoomId::UNNAMED => self.clients,
            room => u64::from(self.rooms[room.0 as usize].1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deal(rooms: u32, each: u32, pick: Pick, seed: u64, count: u32) -> (Vec<Vec<u32>>, Vec<u32>) {
        let group = GroupRooms {
            rooms: (0..rooms).map(RoomId).collect(),
            each,
            pick,
        };
        let dealt = Dealt::new(&group, seed, count);
        let mut members = vec![0; rooms as usize];
        for room in dealt.memberships() {
            members[room.0 as usize] += 1;
        }
        let hand = |client| dealt.of(client).iter().map(|room| room.0).collect();
        ((0..count).map(hand).collect(), members)
    }

    proptest! {
        #[test]
        fn a_client_is_in_no_room_twice_and_its_rooms_are_its_own(
            rooms in 1..40_u32,
            each in 1..40_u32,
            seed in any::<u64>(),
            count in 1..60_u32,
            zipf in any::<bool>(),
        ) {
            let each = each.min(rooms);
            let pick = if zipf { Pick::Zipf } else { Pick::Even };
            let (hands, members) = deal(rooms, each, pick, seed, count);
            for hand in &hands {
                let mut sorted = hand.clone();
                sorted.sort_unstable();
                sorted.dedup();
                prop_assert_eq!(sorted.len(), each as usize, "{:?}", hand);
            }
            if !zipf {
                let (least, most) = (members.iter().min(), members.iter().max());
                prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", members);
            }
            // More clients change nothing for those that are there.
            let (more, _) = deal(rooms, each, pick, seed, count + 7);
            prop_assert_eq!(&more[..count as usize], &hands[..]);
        }
    }

    #[test]
    fn clients_that_share_a_room_do_not_share_all_of_them() {
        let (mut hands, _) = deal(100, 10, Pick::Even, 1, 1_000);
        hands.iter_mut().for_each(|hand| hand.sort_unstable());
        hands.sort();
        hands.dedup();
        assert_eq!(hands.len(), 1_000);
    }

    #[test]
    fn the_first_rooms_are_the_most_popular_in_proportion() {
        let (hands, members) = deal(100, 1, Pick::Zipf, 1, 100_000);
        // The harmonic number of 100 is 5.187.
        for (nth, expected) in [(1, 19_278.0), (2, 9_639.0), (10, 1_928.0), (100, 192.8)] {
            let members = f64::from(members[nth - 1]);
            let deviation = (members - expected) / f64::sqrt(expected);
            assert!(deviation.abs() < 4.0, "room {nth} has {members} members");
        }
        let (again, _) = deal(100, 1, Pick::Zipf, 2, 100_000);
        assert_ne!(hands, again, "another seed deals otherwise");
    }

    #[test]
    fn the_first_of_a_clients_rooms_is_any_of_them() {
        let (hands, _) = deal(4, 4, Pick::Zipf, 1, 4_000);
        let begin_with_the_largest = hands.iter().filter(|hand| hand[0] == 0).count();
        assert!((900..1_100).contains(&begin_with_the_largest));
    }
}
