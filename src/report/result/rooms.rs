//! The rooms of a run: how many there were, how much went on in them, and how far they differ.

use serde::{Deserialize, Serialize};

use crate::driver::outcome::Outcome;
use crate::measure::rooms::RoomLatencies;
use crate::scenario::plan::Plan;
use crate::verify::findings::RoomFindings;
use crate::wire::rooms::RoomId;

/// Each room has figures of its own where there are no more.
const FEW: usize = 16;

/// The rooms shown of those with the longest latencies, and of those with the most violations.
const WORST: usize = 3;

/// The rooms of a scenario that have names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rooms {
    /// How many there are.
    pub count: u64,
    /// How often clients joined one, over the whole run.
    pub memberships: u64,
    /// Deliveries in each room, over the whole run.
    pub deliveries: ByRoom,
    /// How far the latencies of the rooms differ; null where no room has enough samples.
    pub spread: Option<Spread>,
    /// The rooms with the longest latencies (p99, or the greatest where that has too few samples),
    /// the worst first; then those with the most violations.
    pub worst: Vec<Room>,
    /// Every room, in the order of the scenario; empty where there are more than 16.
    #[serde(default)]
    pub each: Vec<Room>,
}

/// The least, the mean and the most that a room has of something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ByRoom {
    /// In the room that has least.
    pub min: u64,
    /// On average.
    pub mean: f64,
    /// In the room that has most.
    pub max: u64,
}

/// The 99th percentiles of the relays' latency in the rooms that have enough samples for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// How many rooms these are.
    pub rooms: u64,
    /// That of the room with the shortest.
    pub relay_p99_min_ns: u64,
    /// Half of the rooms have no longer one.
    pub relay_p99_median_ns: u64,
    /// That of the room with the longest.
    pub relay_p99_max_ns: u64,
}

/// One room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Room {
    /// Its name.
    pub name: String,
    /// How often clients joined it, over the whole run.
    pub members: u64,
    /// Messages sent in it, over the whole run.
    pub sent: u64,
    /// Deliveries in it, over the whole run.
    pub delivered: u64,
    /// Deliveries of messages due in the measured phase: the samples of its latencies, from the
    /// intended send.
    pub samples: u64,
    /// Their median, at most 3 % off; null with too few samples.
    pub relay_p50_ns: Option<u64>,
    /// Their 99th percentile, likewise.
    pub relay_p99_ns: Option<u64>,
    /// Their greatest.
    pub relay_max_ns: Option<u64>,
    /// Violations in it, of every kind.
    pub violations: u64,
}

impl Room {
    fn new(name: &str, found: Option<&RoomFindings>, latencies: &RoomLatencies) -> Self {
        let counts = found.map(|found| found.counts).unwrap_or_default();
        Self {
            name: name.to_owned(),
            members: counts.sessions,
            sent: counts.sent,
            delivered: counts.delivered,
            samples: latencies.count(),
            relay_p50_ns: latencies.percentile(50.0),
            relay_p99_ns: latencies.percentile(99.0),
            relay_max_ns: latencies.max_ns(),
            violations: found.map_or(0, |found| found.violations),
        }
    }

    /// How late its relays are, for an order among rooms.
    fn lateness(&self) -> (bool, Option<u64>) {
        let p99 = self.relay_p99_ns;
        (p99.is_some(), p99.or(self.relay_max_ns))
    }
}

impl Rooms {
    /// The rooms of a run of `plan`; `None` if it has none that have names.
    pub(in crate::report) fn new(plan: &Plan, outcome: &Outcome) -> Option<Self> {
        if plan.rooms.is_empty() {
            return None;
        }
        let nothing = RoomLatencies::default();
        let found = &outcome.findings.rooms;
        let found_in = |room: RoomId| {
            let at = found.binary_search_by_key(&room, |found| found.room);
            at.ok().map(|at| &found[at])
        };
        let each = plan.rooms.iter().map(|(room, name)| {
            let latencies = outcome.by_room.of(room).unwrap_or(&nothing);
            Room::new(name, found_in(room), latencies)
        });
        let each: Vec<Room> = each.collect();
        let delivered = || each.iter().map(|room| room.delivered);
        Some(Self {
            count: each.len() as u64,
            memberships: each.iter().map(|room| room.members).sum(),
            deliveries: ByRoom {
                min: delivered().min().unwrap_or(0),
                mean: delivered().sum::<u64>() as f64 / each.len() as f64,
                max: delivered().max().unwrap_or(0),
            },
            spread: Spread::of(&each),
            worst: worst(&each),
            each: if each.len() > FEW { Vec::new() } else { each },
        })
    }
}

impl Spread {
    fn of(rooms: &[Room]) -> Option<Self> {
        let mut all: Vec<u64> = rooms.iter().filter_map(|room| room.relay_p99_ns).collect();
        all.sort_unstable();
        Some(Self {
            rooms: all.len() as u64,
            relay_p99_min_ns: *all.first()?,
            relay_p99_median_ns: all[(all.len() - 1) / 2],
            relay_p99_max_ns: *all.last()?,
        })
    }
}

/// The rooms with the longest latencies, then those with the most violations.
fn worst(rooms: &[Room]) -> Vec<Room> {
    let mut late: Vec<&Room> = rooms.iter().filter(|room| room.samples > 0).collect();
    late.sort_by_key(|room| std::cmp::Reverse(room.lateness()));
    late.truncate(WORST);
    let shown = |room: &&Room| !late.iter().any(|late| std::ptr::eq(*late, *room));
    let broken = rooms.iter().filter(|room| room.violations > 0);
    let mut broken: Vec<&Room> = broken.filter(shown).collect();
    broken.sort_by_key(|room| std::cmp::Reverse(room.violations));
    broken.truncate(WORST);
    late.into_iter().chain(broken).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str, p99: Option<u64>, max: Option<u64>, violations: u64) -> Room {
        Room {
            name: name.to_owned(),
            members: 2,
            sent: 1,
            delivered: 1,
            samples: u64::from(max.is_some()),
            relay_p50_ns: None,
            relay_p99_ns: p99,
            relay_max_ns: max,
            violations,
        }
    }

    #[test]
    fn the_worst_are_the_latest_and_then_those_with_violations() {
        let rooms = [
            room("few samples", None, Some(900), 0),
            room("late", Some(500), Some(600), 0),
            room("silent", None, None, 0),
            room("broken", Some(10), Some(20), 2),
            room("later", Some(700), Some(700), 1),
            room("early", Some(5), Some(5), 0),
            room("more broken", None, None, 7),
        ];
        let names: Vec<String> = worst(&rooms).into_iter().map(|room| room.name).collect();
        assert_eq!(names, ["later", "late", "broken", "more broken"]);
        let spread = Spread::of(&rooms).unwrap();
        assert_eq!(spread.rooms, 4);
        let Spread {
            relay_p99_min_ns: min,
            relay_p99_median_ns: median,
            relay_p99_max_ns: max,
            ..
        } = spread;
        assert_eq!([min, median, max], [5, 10, 700]);
        assert_eq!(Spread::of(&rooms[..1]), None);
    }
}
