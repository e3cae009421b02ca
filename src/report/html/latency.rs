//! Latencies: the percentiles with their intervals, those of each group, and how far all of them
//! may be the generator's own.

use maud::{Markup, html};

use super::{chart, plain_table};
use crate::measure::censored::AtLeast;
use crate::report::caveats::{Missing, Outstanding};
use crate::report::figures;
use crate::report::result::{Latency, RunResult};

/// The columns of percentiles.
const HEADS: [&str; 8] = ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// The latencies of all clients.
pub(super) fn by_class(result: &RunResult) -> Markup {
    html! {
        section {
            h2 { "Latency by percentile" }
            p.note {
                "From the moment a message was due to each event, so that a stalled sender hides \
                 nothing; “from the actual send” is what a closed-loop tool would call the latency. \
                 Beneath a percentile stands its 95 % interval. What the samples cannot carry is –."
            }
            (chart("percentiles", "Latency by percentile, one line a class, both axes logarithmic; \
                the table below has the same figures"))
            (table("class", result.classes().map(|(_, name, latency)| (name.to_owned(), latency))))
            @let outstanding = Outstanding::of(result);
            @let waited_for = outstanding.in_words();
            @if !waited_for.is_empty() {
                p.note { "Outstanding: " (waited_for.join(" · ")) "." }
            }
            @let missing = Missing::of(result).but_for(outstanding).in_words();
            @if !missing.is_empty() {
                p.note { "Not in these figures: " (missing.join(" · ")) "." }
            }
        }
    }
}

/// The latencies of each group, where there is more than one with any.
pub(super) fn by_group(result: &RunResult) -> Markup {
    let rows = |of: fn(&crate::report::result::Group) -> Option<&Latency>| {
        let groups = result.groups.iter();
        let rows: Vec<_> = groups
            .filter_map(|group| {
                let clients = figures::count(group.clients);
                Some((format!("{} ({clients})", group.name), of(group)?))
            })
            .collect();
        rows
    };
    let (acks, relays) = (
        rows(|group| group.latency_ns.ack.as_ref()),
        rows(|group| group.latency_ns.relay.as_ref()),
    );
    html! {
        @if acks.len() > 1 || relays.len() > 1 {
            section {
                h2 { "Latency by group" }
                p.note {
                    "Acks by the group that sent, deliveries by the group that received, from the \
                     moment the message was due; in brackets the group's clients."
                }
                @if !acks.is_empty() { (table("ack, sent by", acks.into_iter())) }
                @if !relays.is_empty() { (table("relay, received by", relays.into_iter())) }
            }
        }
    }
}

/// A row per latency: percentiles, beneath three of them their intervals.
fn table<'a>(head: &str, rows: impl Iterator<Item = (String, &'a Latency)>) -> Markup {
    html! {
        div.scroll { table.stack {
            thead { tr {
                th scope="col" { (head) }
                @for name in HEADS { th.n scope="col" { (name) } }
                th.n scope="col" { "samples" }
            } }
            tbody { @for (name, l) in rows { tr {
                th scope="row" { (name) }
                @for (head, (figure, interval)) in HEADS.into_iter().zip(cells(l)) {
                    td.n data-head=(head) {
                        (figures::at_least(figure))
                        @if let Some([low_ns, high_ns]) = interval {
                            small { (figures::latency_range(low_ns, high_ns)) }
                        }
                    }
                }
                @let outstanding = l.outstanding.as_ref().map_or(0, |o| o.count);
                td.n data-head="samples" { (figures::count(l.count + outstanding)) }
            } } }
        } }
    }
}

/// A figure and its interval.
type Cell = (Option<AtLeast>, Option<[u64; 2]>);

/// The columns of a class: each figure, and its interval where nothing was outstanding.
fn cells(l: &Latency) -> [Cell; 8] {
    let complete = l.outstanding.is_none();
    let exactly = |ns: Option<u64>| {
        let ns = ns.filter(|_| complete);
        (ns.map(|ns| AtLeast { ns, open: false }), None)
    };
    let interval = |interval: Option<[u64; 2]>| interval.filter(|_| complete);
    [
        exactly(l.min),
        exactly(l.mean),
        (l.at(50.0), interval(l.ci95.p50)),
        (l.at(90.0), None),
        (l.at(99.0), interval(l.ci95.p99)),
        (l.at(99.9), interval(l.ci95.p99_9)),
        (l.at(99.99), None),
        (l.at(100.0), None),
    ]
}

/// The generator's own share in the figures.
pub(super) fn generator(result: &RunResult) -> Markup {
    let generator = &result.generator;
    let p99 =
        |latency: Option<&Latency>| figures::known(latency.and_then(|l| l.p99), figures::latency);
    let mut rows = vec![
        ("send lag p99", p99(result.latency_ns.get("send_lag"))),
        ("wake-up p99", p99(generator.heartbeat_ns.as_ref())),
        (
            "longest pause",
            figures::latency(generator.longest_pause_ns),
        ),
    ];
    let busy = generator.shards.iter().map(|s| s.busy);
    if let Some(busiest) = busy.reduce(f64::max) {
        let waited = generator.shards.iter().map(|s| s.waited);
        let waited = waited.fold(0.0, f64::max);
        rows.push(("threads", generator.shards.len().to_string()));
        rows.push(("busiest", figures::share(busiest)));
        rows.push(("waited for a core", figures::share(waited)));
    }
    html! {
        section {
            h2 { "The generator" }
            p.note {
                "What it may have added to the figures itself: a message that left late, an \
                 arrival that waited to be looked at."
                @if generator.saturated { " It was " strong.doubt { "SATURATED" } "." }
            }
            (plain_table(rows.into_iter().map(|(name, value)| (name.to_owned(), value))))
            @if !generator.doubts.is_empty() {
                p.note.doubt {
                    "More the generator's than the target's may be: "
                    @for (i, doubt) in generator.doubts.iter().enumerate() {
                        @if i > 0 { " · " }
                        (doubt.metric) " p" (doubt.percentile) ", up to "
                        (figures::latency(doubt.own_ns)) " of " (figures::latency(doubt.figure_ns))
                    }
                    "."
                }
            }
        }
    }
}
