//! Estimates of a plan before it is run: messages, deliveries, peak rates, descriptors, bytes.

use super::plan::{Arrival, Group, Load, Plan, Repeat, Step};
use super::rooms::Present;
use crate::scenario::pace::Profile;
use crate::wire::protocol::Spoken;

pub mod rooms;

use rooms::{Rooms, Shares};

/// Descriptors a driver needs besides its connections: standard streams, pollers, timers, the
/// embedded server's pipes, result files.
const FDS_BESIDES: u64 = 32;

/// A number of messages or deliveries, and how it is to be understood.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// The number.
    pub count: f64,
    /// It is an average: the sends are drawn.
    pub random: bool,
    /// There are more, as many as the target takes in the time.
    pub open_ended: bool,
    /// There are fewer where receivers are away meanwhile.
    pub at_most: bool,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            random: self.random || other.random,
            open_ended: self.open_ended || other.open_ended,
            at_most: self.at_most || other.at_most,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            count: self.count * factor,
            ..self
        }
    }
}

/// The estimate of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Messages of each group, warm-up included, in the order of the plan's groups.
    pub group_messages: Vec<Amount>,
    /// Messages of all groups.
    pub messages: Amount,
    /// Deliveries: each message to every client in its room but its sender.
    pub deliveries: Amount,
    /// The most messages per second that schedules make due, and the scripts' average; closed loops
    /// come on top of it.
    pub peak_messages_per_s: f64,
    /// The most deliveries per second that follow from it.
    pub peak_deliveries_per_s: f64,
    /// The most messages that scripts send at once.
    pub burst: u64,
    /// File descriptors the driver needs; an embedded server, a process of its own, needs as many.
    pub fds: u64,
    /// Bytes of all publishes.
    pub bytes_out: Amount,
    /// Bytes of all relays and acks.
    pub bytes_in: Amount,
    /// The rooms, if there are any but the one that has no name.
    pub rooms: Option<Rooms>,
}

impl Estimate {
    /// Estimates `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let clients = plan.clients();
        let present = Present::of(plan);
        let shares: Vec<Shares> = (0..plan.groups.len())
            .map(|group| Shares::of(plan, group))
            .collect();
        let away = plan.groups.iter().any(comes_and_goes);
        let load_s = (plan.run.warmup + plan.run.duration).as_secs_f64();
        let group_messages: Vec<Amount> = plan
            .groups
            .iter()
            .map(|group| messages(group, load_s))
            .collect();
        let mut estimate = Self {
            messages: Amount::default(),
            deliveries: Amount::default(),
            peak_messages_per_s: peak_scheduled(plan.groups.iter().map(|group| (group, 1.0))),
            peak_deliveries_per_s: 0.0,
            burst: 0,
            fds: clients + FDS_BESIDES,
            bytes_out: Amount::default(),
            bytes_in: Amount::default(),
            rooms: Rooms::of(plan, &present, &shares),
            group_messages: Vec::new(),
        };
        let mut receivers = Vec::new();
        for ((group, &messages), shares) in plan.groups.iter().zip(&group_messages).zip(&shares) {
            let each = shares.receivers(&present);
            receivers.push(each);
            let mut deliveries = messages.times(each);
            deliveries.at_most |= away;
            let named = shares.name_bytes(plan);
            let frames = Frames::of(group, &plan.target.spoken, named);
            let acks = messages.times(frames.ack);
            let relays = deliveries.times(frames.relay);
            estimate.messages = estimate.messages.plus(messages);
            estimate.deliveries = estimate.deliveries.plus(deliveries);
            estimate.bytes_out = estimate.bytes_out.plus(messages.times(frames.publish));
            estimate.bytes_in = estimate.bytes_in.plus(acks).plus(relays);
            let scripted = scripted_rate(group);
            estimate.peak_messages_per_s += scripted;
            estimate.peak_deliveries_per_s += scripted * each;
            estimate.burst += burst(group);
        }
        estimate.peak_deliveries_per_s += peak_scheduled(plan.groups.iter().zip(receivers));
        if plan.rooms.is_empty() {
            // The same, but for rounding.
            let receivers = clients.saturating_sub(1) as f64;
            estimate.peak_deliveries_per_s = estimate.peak_messages_per_s * receivers;
        }
        estimate.group_messages = group_messages;
        estimate
    }
}

fn comes_and_goes(group: &Group) -> bool {
    matches!(group.load, Load::Script { .. })
}

/// The messages of a group in `load_s` seconds of warm-up and measured phase.
fn messages(group: &Group, load_s: f64) -> Amount {
    match &group.load {
        Load::Listen => Amount::default(),
        Load::Open { profile, arrival } => match arrival {
            Arrival::Constant => Amount {
                count: profile.messages().ceil(),
                ..Amount::default()
            },
            Arrival::Poisson => Amount {
                count: profile.messages(),
                random: true,
                ..Amount::default()
            },
        },
        Load::Closed { .. } => Amount {
            open_ended: true,
            ..Amount::default()
        },
        Load::Script { steps, repeat } => {
            let once: u64 = publishes(steps).map(|(count, _)| u64::from(count)).sum();
            let all = once as f64 * f64::from(group.count);
            let pass_s = waits_s(steps);
            match repeat {
                Repeat::Times(times) => Amount {
                    count: all * f64::from(*times),
                    ..Amount::default()
                },
                Repeat::Forever if pass_s > 0.0 => Amount {
                    count: (all * load_s / pass_s).max(all),
                    random: once > 0,
                    at_most: once > 0,
                    ..Amount::default()
                },
                Repeat::Forever => Amount {
                    count: all,
                    open_ended: once > 0,
                    ..Amount::default()
                },
            }
        }
    }
}

/// How long the pauses of one pass of a script take, on average. The target's answers come on top
/// of that, so the passes of a script are at least so far apart.
fn waits_s(steps: &[Step]) -> f64 {
    steps
        .iter()
        .map(|step| match step {
            Step::Pause { min, max } => (min.as_secs_f64() + max.as_secs_f64()) / 2.0,
            Step::StopReading(time) => time.as_secs_f64(),
            Step::Publish { count, every, .. } => f64::from(count - 1) * every.as_secs_f64(),
            Step::SendRaw { bytes, every } => {
                (bytes.len().saturating_sub(1)) as f64 * every.as_secs_f64()
            }
            _ => 0.0,
        })
        .sum()
}

/// The publishes of a script: how many, and how many seconds apart.
fn publishes(steps: &[Step]) -> impl Iterator<Item = (u32, f64)> {
    steps.iter().filter_map(|step| match step {
        Step::Publish { count, every, .. } => Some((*count, every.as_secs_f64())),
        _ => None,
    })
}

/// The highest sum of the open groups' rates, each times its factor. It lies at a joint of one of
/// the profiles, on one side of it or the other: between joints all are straight lines.
fn peak_scheduled<'g>(groups: impl IntoIterator<Item = (&'g Group, f64)>) -> f64 {
    let groups = groups.into_iter();
    let profiles: Vec<(&Profile, f64)> = groups
        .filter_map(|(group, factor)| match &group.load {
            Load::Open { profile, .. } => Some((&**profile, factor)),
            _ => None,
        })
        .collect();
    let mut joints: Vec<u64> = profiles
        .iter()
        .flat_map(|(profile, _)| profile.pieces())
        .flat_map(|piece| [piece.start_ns, piece.end_ns - 1])
        .collect();
    joints.sort_unstable();
    joints.dedup(); // thousands of groups may have the same two
    joints
        .into_iter()
        .map(|t_ns| {
            let rates = profiles.iter();
            rates
                .map(|(profile, factor)| profile.rate_at(t_ns) * factor)
                .sum()
        })
        .fold(0.0, f64::max)
}

/// The average rate of a script while it goes on.
fn scripted_rate(group: &Group) -> f64 {
    let Load::Script { steps, .. } = &group.load else {
        return 0.0;
    };
    let once: u64 = publishes(steps).map(|(count, _)| u64::from(count)).sum();
    match waits_s(steps) {
        0.0 => 0.0,
        pass_s => once as f64 * f64::from(group.count) / pass_s,
    }
}

/// The largest publish without an interval, all clients of the group at it at once.
fn burst(group: &Group) -> u64 {
    let Load::Script { steps, .. } = &group.load else {
        return 0;
    };
    publishes(steps)
        .filter(|(_, every_s)| *every_s == 0.0)
        .map(|(count, _)| u64::from(count) * u64::from(group.count))
        .max()
        .unwrap_or(0)
}

/// Bytes of a group's frames, its messages at their mean size and numbers of seven digits.
struct Frames {
    publish: f64,
    ack: f64,
    relay: f64,
}

impl Frames {
    /// Of a group whose messages' rooms have names that take `named` bytes.
    fn of(group: &Group, spoken: &Spoken, named: f64) -> Self {
        let payload = (f64::from(group.payload.min) + f64::from(group.payload.max)) / 2.0;
        let beside = spoken.frame_bytes();
        Self {
            publish: beside.publish as f64 + payload + named,
            ack: beside.ack as f64 + named,
            relay: beside.relay as f64 + payload + named,
        }
    }
}
