//! Thresholds judged by what was measured.
//!
//! A threshold is met, crossed, or cannot be judged: without a sample, or with too few for its
//! percentile, there is nothing to compare, and that is never a pass.
//!
//! A latency that had not come when the run stopped listening has a known lower bound
//! ([`Censored`]). A threshold that is crossed with these bounds is crossed whatever would still
//! have come; one that holds even if none of these ever comes holds; anything between cannot be
//! judged.

use hdrhistogram::Histogram;

use super::generator;
use super::result::Threshold as Judged;
use crate::driver::outcome::Outcome;
use crate::measure::censored::{highest, together};
use crate::measure::group::place;
use crate::measure::percentile::min_samples;
use crate::measure::rooms::RoomLatencies;
use crate::measure::{Censored, GroupLatencies, Measured, histogram};
use crate::scenario::plan::{Comparison, Metric, Plan, RateName, Stat, Threshold};
use serde_json::Number;

/// The thresholds of a plan against what was seen, in the order of the file.
pub(super) fn all(plan: &Plan, outcome: &Outcome) -> Vec<Judged> {
    let unresolved = outcome.findings.counts.unresolved;
    let unresolved = unresolved.saturating_sub(outcome.findings.outstanding_relays());
    let thresholds = plan.thresholds.iter();
    thresholds
        .map(|threshold| {
            let mut judged = match threshold.metric {
                Metric::Rooms => in_worst_room(threshold, outcome),
                _ => judge(threshold, &outcome.measured, unresolved),
            };
            judged.excuse = generator::excuse(threshold, &judged, outcome);
            if judged.excuse.is_some() {
                judged.ok = None;
            }
            judged
        })
        .collect()
}

/// The name of a metric in scenarios and results.
#[must_use]
pub const fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Ack => "ack",
        Metric::Relay => "relay",
        Metric::LastRelay => "last_relay",
        Metric::Spread => "spread",
        Metric::SendLag => "send_lag",
        Metric::Connect => "connect",
        Metric::Rooms => "rooms",
        Metric::Rates => "rates",
    }
}

/// The metric of a threshold, by its name in scenarios and results: `relay.listeners`.
#[must_use]
pub fn name(threshold: &Threshold) -> String {
    let metric = metric_name(threshold.metric);
    match &threshold.group {
        Some(group) => format!("{metric}.{}", group.name),
        None => metric.to_owned(),
    }
}

/// The range that a figure lies in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    /// `None` if nothing bounds it from above.
    high: Option<f64>,
}

/// Compares one threshold with what was measured. A further `unresolved` deliveries never came, and
/// nobody knows whether they were owed.
#[must_use]
pub fn judge(threshold: &Threshold, measured: &Measured, unresolved: u64) -> Judged {
    let mut judged = unjudged(threshold);
    let nothing = histogram();
    if let Stat::Rate(name) = threshold.stat {
        let (observed, events) = rate(name, measured);
        judged.observed = observed.and_then(Number::from_f64);
        judged.samples = events;
        judged.samples_wanted = 0;
        judged.ok = observed.map(|observed| holds(observed, threshold.op, threshold.limit));
    } else if let Some((came, outstanding)) = histograms(threshold, measured, &nothing) {
        let relays = matches!(
            threshold.metric,
            Metric::Relay | Metric::LastRelay | Metric::Spread
        );
        let never = outstanding.len() + if relays { unresolved } else { 0 };
        judged.samples = came.len() + outstanding.len();
        judged.outstanding = outstanding.len();
        judged.samples_wanted = match threshold.stat {
            Stat::Percentile(p) => min_samples(p),
            Stat::Stddev => 2,
            Stat::Min | Stat::Mean | Stat::Max | Stat::Rate(_) => 1,
        };
        if judged.samples >= judged.samples_wanted
            && let Some(range) = latency(threshold.stat, came, outstanding, never)
        {
            judged.observed = Some(Number::from(range.low.round() as u64));
            judged.at_least = range.high != Some(range.low);
            judged.ok = decided(range, threshold.op, threshold.limit);
        }
    }
    // The schema has no other expressions; were there one, it would not hold.
    judged
}

/// A threshold of which nothing is known.
fn unjudged(threshold: &Threshold) -> Judged {
    Judged {
        metric: name(threshold),
        expr: threshold.expr.clone(),
        observed: None,
        ok: None,
        samples: 0,
        samples_wanted: 1,
        at_least: false,
        outstanding: 0,
        excuse: None,
    }
}

/// Judges a threshold that every room must meet, by the room that is furthest from it. It is
/// crossed if any room crosses it, and met only if each room in which anything came has the samples
/// for it: of the room with the fewest it is said how many these are.
fn in_worst_room(threshold: &Threshold, outcome: &Outcome) -> Judged {
    let mut judged = unjudged(threshold);
    let all = outcome.by_room.iter().filter(|room| room.count() > 0);
    let rooms: Vec<&RoomLatencies> = all.collect();
    let figure = |room: &RoomLatencies| match threshold.stat {
        Stat::Percentile(p) => room.percentile(p),
        _ => room.max_ns(),
    };
    let upper = matches!(threshold.op, Comparison::Less | Comparison::LessOrEqual);
    let figures = || rooms.iter().filter_map(|room| figure(room));
    let worst = if upper {
        figures().max()
    } else {
        figures().min()
    };
    judged.samples = rooms.iter().map(|room| room.count()).min().unwrap_or(0);
    judged.samples_wanted = match threshold.stat {
        Stat::Percentile(p) => min_samples(p),
        _ => 1,
    };
    judged.outstanding = outcome.findings.outstanding_relays();
    let unknown = judged.outstanding.max(outcome.findings.counts.unresolved) > 0;
    judged.at_least = unknown && worst.is_some();
    judged.observed = worst.map(Number::from);
    judged.ok = worst.and_then(|worst| {
        let low = worst as f64;
        let high = (!unknown).then_some(low);
        let decided = decided(Range { low, high }, threshold.op, threshold.limit);
        let all_have_samples = judged.samples >= judged.samples_wanted;
        decided.filter(|ok| all_have_samples || !ok)
    });
    judged
}

/// The range of a figure, of samples that came, of lower bounds of others, and if `never`
/// samples (these, and what nobody knows of) are later than any.
fn latency(
    stat: Stat,
    came: &Histogram<u64>,
    outstanding: &Histogram<u64>,
    never: u64,
) -> Option<Range> {
    let all = together(came, outstanding);
    let certain = never == 0;
    let at_most = |figure: f64| certain.then_some(figure);
    Some(match stat {
        Stat::Min => Range {
            low: all.min() as f64,
            high: (!came.is_empty()).then(|| came.min() as f64),
        },
        Stat::Max => Range {
            low: all.max() as f64,
            high: at_most(all.max() as f64),
        },
        Stat::Mean => Range {
            low: all.mean(),
            high: at_most(all.mean()),
        },
        // Its range is unbounded while samples are still to come.
        Stat::Stddev if !certain => return None,
        Stat::Stddev => Range {
            low: all.stdev(),
            high: Some(all.stdev()),
        },
        Stat::Percentile(p) => Range {
            low: all.value_at_quantile(p / 100.0) as f64,
            high: highest(came, never, p).map(|ns| ns as f64),
        },
        Stat::Rate(_) => return None,
    })
}

/// Whether a figure holds wherever in its range it is; `None` if that depends.
fn decided(range: Range, op: Comparison, limit: f64) -> Option<bool> {
    let low = holds(range.low, op, limit);
    let high = match range.high {
        Some(high) => holds(high, op, limit),
        None => holds(f64::INFINITY, op, limit),
    };
    (low == high).then_some(low)
}

/// The same for a rate: an event that never came is an observation, a window that never was is
/// none.
fn rate(name: RateName, measured: &Measured) -> (Option<f64>, u64) {
    let events = match name {
        RateName::Sent => measured.counts.sent,
        RateName::Acked => measured.counts.acked,
        RateName::Delivered => measured.counts.delivered,
    };
    (per_second(events, measured), events)
}

/// Events of the measured phase as a rate; `None` if there was no measured phase.
#[must_use]
pub fn per_second(events: u64, measured: &Measured) -> Option<f64> {
    let length_ns = measured.window.length_ns();
    (length_ns > 0).then(|| events as f64 * 1e9 / length_ns as f64)
}

/// The samples that came, and lower bounds of those that did not; `nothing` for metrics without
/// them.
fn histograms<'a>(
    threshold: &Threshold,
    measured: &'a Measured,
    nothing: &'a Histogram<u64>,
) -> Option<(&'a Histogram<u64>, &'a Histogram<u64>)> {
    let outstanding: &Censored = &measured.censored;
    if let Some(group) = &threshold.group {
        let place = place(group.position);
        let of = |groups: &'a [GroupLatencies]| {
            let group = groups.get(place)?;
            match threshold.metric {
                Metric::Ack => group.ack.as_ref(),
                Metric::Relay => group.relay.as_ref(),
                // Nothing else is measured by group; scenarios cannot ask for it.
                _ => None,
            }
        };
        let of = |groups| of(groups).unwrap_or(nothing);
        return Some((of(&measured.groups), of(&outstanding.groups)));
    }
    Some(match threshold.metric {
        Metric::Ack => (&measured.ack, &outstanding.ack),
        Metric::Relay => (&measured.relay, &outstanding.relay),
        Metric::LastRelay => (&measured.last_relay, &outstanding.last_relay),
        Metric::Spread => (&measured.spread, &outstanding.spread),
        Metric::SendLag => (&measured.send_lag, nothing),
        Metric::Connect => (&measured.connect, nothing),
        Metric::Rooms | Metric::Rates => return None,
    })
}

fn holds(observed: f64, op: Comparison, limit: f64) -> bool {
    match op {
        Comparison::Less => observed < limit,
        Comparison::LessOrEqual => observed <= limit,
        Comparison::Greater => observed > limit,
        Comparison::GreaterOrEqual => observed >= limit,
    }
}

#[cfg(test)]
mod tests;
