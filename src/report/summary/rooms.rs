//! The lines about rooms: how many there were, how far they differ, and which were the worst.

use super::Page;
use crate::report::figures;
use crate::report::result::{Room, RunResult};

impl Page {
    /// Writes the rooms of a run, if it has any.
    pub(super) fn rooms(&mut self, result: &RunResult) {
        let Some(rooms) = &result.rooms else {
            return;
        };
        let deliveries = &rooms.deliveries;
        let (min, max) = (
            figures::count(deliveries.min),
            figures::count(deliveries.max),
        );
        let mean = figures::count(deliveries.mean.round() as u64);
        let delivered = match min == max {
            true => format!("{max} deliveries in each"),
            false => format!("{min} to {max} deliveries, {mean} on average"),
        };
        let count = figures::count(rooms.count);
        let memberships = figures::count(rooms.memberships);
        self.labelled(
            "rooms",
            [count, format!("{memberships} memberships"), delivered],
        );
        if let Some(spread) = &rooms.spread {
            let range = figures::latency_range(spread.relay_p99_min_ns, spread.relay_p99_max_ns);
            let median = figures::latency(spread.relay_p99_median_ns);
            let of = match spread.rooms == rooms.count {
                true => String::new(),
                false => format!(" (of {} with enough samples)", figures::count(spread.rooms)),
            };
            let items = [
                format!("relay p99 {range}"),
                format!("half up to {median}{of}"),
            ];
            self.labelled("by room", items);
        }
        let (label, shown) = match rooms.each.is_empty() {
            true => ("worst", &rooms.worst),
            false => ("", &rooms.each),
        };
        for (nth, room) in shown.iter().enumerate() {
            self.labelled(if nth == 0 { label } else { "" }, of_room(room));
        }
    }
}

/// One room in words.
fn of_room(room: &Room) -> Vec<String> {
    let mut items = vec![room.name.clone()];
    let known = [
        ("p50", room.relay_p50_ns),
        ("p99", room.relay_p99_ns),
        ("max", room.relay_max_ns),
    ];
    for (figure, ns) in known {
        items.extend(ns.map(|ns| format!("{figure} {}", figures::latency(ns))));
    }
    items.push(format!("{} delivered", figures::count(room.delivered)));
    items.push(format!("{} memberships", figures::count(room.members)));
    match room.violations {
        0 => {}
        1 => items.push("1 violation".to_owned()),
        n => items.push(format!("{} violations", figures::count(n))),
    }
    items
}
