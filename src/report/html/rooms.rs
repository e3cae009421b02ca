//! The rooms of a run: how far they differ, and the worst of them, or each where there are few.

use maud::{Markup, html};

use super::plain_table;
use crate::report::figures;
use crate::report::result::{Room, RunResult};

/// The section about rooms, if the run has any.
pub(super) fn rooms(result: &RunResult) -> Markup {
    let Some(rooms) = &result.rooms else {
        return html! {};
    };
    let deliveries = &rooms.deliveries;
    let mut rows = vec![
        ("rooms", figures::count(rooms.count)),
        ("memberships", figures::count(rooms.memberships)),
        ("fewest deliveries", figures::count(deliveries.min)),
        (
            "deliveries on average",
            figures::count(deliveries.mean.round() as u64),
        ),
        ("most deliveries", figures::count(deliveries.max)),
    ];
    if let Some(spread) = &rooms.spread {
        rows.push((
            "shortest relay p99",
            figures::latency(spread.relay_p99_min_ns),
        ));
        rows.push((
            "median relay p99",
            figures::latency(spread.relay_p99_median_ns),
        ));
        rows.push((
            "longest relay p99",
            figures::latency(spread.relay_p99_max_ns),
        ));
        rows.push(("rooms with a p99", figures::count(spread.rooms)));
    }
    let (head, shown) = match rooms.each.is_empty() {
        true => ("worst rooms", &rooms.worst),
        false => ("room", &rooms.each),
    };
    html! {
        section {
            h2 { "Rooms" }
            p.note {
                "Each room is a broadcast of its own. Counts are of the whole run, latencies of \
                 messages due in the measured phase, at most 3 % off."
            }
            (plain_table(rows.into_iter().map(|(name, value)| (name.to_owned(), value))))
            @if !shown.is_empty() { (table(head, shown)) }
        }
    }
}

fn table(head: &str, rooms: &[Room]) -> Markup {
    let latency = |ns| figures::known(ns, figures::latency);
    html! {
        div.scroll { table.stack {
            thead { tr {
                th scope="col" { (head) }
                @for name in ["memberships", "sent", "delivered", "p50", "p99", "max", "violations"] {
                    th.n scope="col" { (name) }
                }
            } }
            tbody { @for room in rooms { tr {
                th scope="row" { (room.name) }
                td.n data-head="memberships" { (figures::count(room.members)) }
                td.n data-head="sent" { (figures::count(room.sent)) }
                td.n data-head="delivered" { (figures::count(room.delivered)) }
                td.n data-head="p50" { (latency(room.relay_p50_ns)) }
                td.n data-head="p99" { (latency(room.relay_p99_ns)) }
                td.n data-head="max" { (latency(room.relay_max_ns)) }
                td.n.bad[room.violations > 0] data-head="violations" {
                    (figures::count(room.violations))
                }
            } } }
        } }
    }
}
