//! A checked scenario: what the driver carries out and the report repeats. Plain data; every
//! combination that a [`Plan`] can hold and the schema allows makes sense.

use std::sync::Arc;
use std::time::Duration;

use crate::scenario::addresses::Url;
use crate::scenario::diagnostic::Diagnostics;
use crate::scenario::draws::Draws;
use crate::scenario::membership::line_bytes;
use crate::scenario::pace::{Profile, Schedule, derive_seed};
use crate::scenario::protocol::url::DescribedUrl;
use crate::scenario::rooms::{Dealt, GroupRooms};
use crate::scenario::tls::Tls;
pub use crate::verify::promises::{AckPromise, OrderPromise, Promises, RelayPromise};
use crate::wire::protocol::{Protocol, Spoken};
use crate::wire::rooms::RoomNames;

/// A whole scenario, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenario file's stem.
    pub name: String,
    /// The question the file asks, where it states one.
    pub description: Option<String>,
    /// All randomness of the run comes from here.
    pub seed: u64,
    /// The target that is driven.
    pub target: Target,
    /// Phases and connecting.
    pub run: Run,
    /// The groups of clients, in the order of the file.
    pub groups: Vec<Group>,
    /// All rooms that groups and scripts name.
    pub rooms: Arc<RoomNames>,
    /// The promises of the target, which are verified.
    pub promises: Promises,
    /// How deliveries are counted that came later than promised.
    pub late: LateCounts,
    /// The limits that the measured figures must meet.
    pub thresholds: Vec<Threshold>,
    /// Every key with its value, defaults filled in: the report's `scenario.resolved`.
    pub resolved: serde_json::Value,
    /// Warnings of what is allowed but probably not meant.
    pub warnings: Diagnostics,
}

impl Plan {
    /// The target as the scenario names it.
    #[must_use]
    pub fn target_url(&self) -> &str {
        let url = self.resolved.pointer("/target/url");
        url.and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// The seed of group `group`'s own randomness: schedules, sizes, pauses.
    ///
    /// It depends on the group's name and not on its place, so that adding a group leaves the
    /// others' traffic as it was.
    #[must_use]
    pub fn group_seed(&self, group: usize) -> u64 {
        self.groups[group]
            .name
            .bytes()
            .fold(self.seed, |seed, byte| derive_seed(seed, u64::from(byte)))
    }

    /// The schedule of client `client` of group `group`; `None` unless the group is an open loop.
    #[must_use]
    pub fn schedule(&self, group: usize, client: u32) -> Option<Schedule> {
        let Group { count, load, .. } = &self.groups[group];
        let Load::Open { profile, arrival } = load else {
            return None;
        };
        let seed = self.group_seed(group);
        Some(Schedule::new(
            Arc::clone(profile),
            *arrival,
            seed,
            client,
            *count,
        ))
    }

    /// The draws of client `client` of group `group` besides its arrivals.
    #[must_use]
    pub fn draws(&self, group: usize, client: u32) -> Draws {
        Draws::new(self.group_seed(group), client)
    }

    /// The rooms of the clients of group `group`, dealt by the seed.
    #[must_use]
    pub fn dealt_rooms(&self, group: usize) -> Dealt {
        let Group { count, rooms, .. } = &self.groups[group];
        let rooms = rooms.as_ref();
        rooms.map_or_else(Dealt::default, |rooms| {
            Dealt::new(rooms, self.group_seed(group), *count)
        })
    }

    /// The bytes that the name of a room takes at most in a message of group `group`.
    #[must_use]
    pub fn room_bytes(&self, group: usize) -> u64 {
        let Group { rooms, load, .. } = &self.groups[group];
        let dealt = rooms.iter().flat_map(|dealt| &dealt.rooms);
        let dealt = dealt.map(|room| self.rooms.name(*room));
        let steps = match load {
            Load::Script { steps, .. } => &**steps,
            _ => &[],
        };
        let joined = steps.iter().filter_map(|step| match step {
            Step::Join(name) => Some(name.as_str()),
            _ => None,
        });
        let bytes = dealt.chain(joined).map(line_bytes);
        bytes.max().unwrap_or(0) as u64
    }

    /// How long a run takes by plan, from the first connection to the end of the load. Its drain
    /// comes on top of it, and may take up to [`Run::drain`].
    #[must_use]
    pub fn planned(&self) -> Duration {
        let connecting = Duration::from_secs_f64(self.clients() as f64 / self.run.connect_rate);
        connecting + self.run.warmup + self.run.duration
    }

    /// How many clients the plan has, observers included.
    #[must_use]
    pub fn clients(&self) -> u64 {
        let grouped: u64 = self.groups.iter().map(|g| u64::from(g.count)).sum();
        grouped + u64::from(self.run.observers)
    }
}

/// The target that is driven, and how it is reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub url: TargetUrl,
    /// What is spoken with it.
    pub spoken: Spoken,
    /// Addresses that the embedded server is to listen on, from 127.0.0.1 up.
    pub addresses: u8,
    /// Faults that the embedded server is to commit (`NAME[=RATE]`).
    pub faults: Vec<String>,
    /// How long a connection may take until its welcome.
    pub connect_timeout: Duration,
    /// How TLS is spoken with it, if it is.
    pub tls: Tls,
}

/// Where the target is, and what is spoken with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetUrl {
    /// The reference server, started as a child process on a free port that speaks this.
    Embedded(Protocol),
    /// A server that is there already.
    At(Url),
    /// One that talks as `[protocol]` says.
    Described(DescribedUrl),
}

impl TargetUrl {
    /// The protocol of the clients.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Embedded(protocol) => *protocol,
            Self::At(url) => url.protocol,
            // Until its description is read.
            Self::Described(_) => Protocol::Ndjson,
        }
    }

    /// The path in its URL, from its slash on; empty where there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Embedded(_) => "",
            Self::At(url) => &url.path,
            Self::Described(url) => &url.path,
        }
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::At(url) => url.tls,
            Self::Described(url) => url.scheme.is_tls(),
        }
    }

    /// The application protocols that are offered to it, where it is reached by TLS.
    #[must_use]
    pub fn alpn(&self) -> &'static [&'static [u8]] {
        match self {
            Self::Described(url) if url.scheme.is_websocket() => Protocol::WebSocket.alpn(),
            Self::Described(_) => &[],
            Self::Embedded(protocol) => protocol.alpn(),
            Self::At(url) => url.protocol.alpn(),
        }
    }

    /// Whether it is the reference server, as a child process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }
}

/// Phases and connecting.
#[derive(Debug, Clone)]
pub struct Run {
    /// Real load, verified, but not in the histograms.
    pub warmup: Duration,
    /// The measured phase.
    pub duration: Duration,
    /// The most that the drain may take.
    pub drain: Duration,
    /// New connections per second.
    pub connect_rate: f64,
    /// Silent clients that join first and leave last.
    pub observers: u32,
    /// Threads of the driver; chosen from the machine's cores where absent.
    pub shards: Option<u32>,
}

/// A group of clients that behave alike.
#[derive(Debug, Clone)]
pub struct Group {
    /// The name in the file: `talkers` of `[clients.talkers]`.
    pub name: String,
    /// How many clients.
    pub count: u32,
    /// The load that they make.
    pub load: Load,
    /// The client whose address their messages claim to come from; absent for their own.
    pub claims: Option<String>,
    /// How long their messages are.
    pub payload: PayloadSize,
    /// The rooms that they join when they connect; absent for none.
    pub rooms: Option<GroupRooms>,
}

/// The load that the clients of a group make.
#[derive(Debug, Clone)]
pub enum Load {
    /// Connect, listen, leave politely.
    Listen,
    /// Open loop: the group's messages fall due on a schedule, whatever the target does.
    Open {
        /// The group's rate over time. Time 0 is the start of the warm-up.
        profile: Arc<Profile>,
        /// How the arrivals lie within that rate.
        arrival: Arrival,
    },
    /// Closed loop: so many unacked messages per client, as fast as the target acks.
    Closed {
        /// Unacked messages per client.
        in_flight: u32,
    },
    /// Steps in order, from the start of the warm-up on.
    Script {
        /// Begins with [`Step::Connect`] and leaves no session open: a last polite
        /// [`Step::Disconnect`] is there where the file had none. It may follow an expected error
        /// that closes the session; then there is nothing left to do but read to the end.
        steps: Arc<[Step]>,
        /// How often the steps are gone through.
        repeat: Repeat,
    },
}

/// How arrivals lie within a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Evenly spaced.
    Constant,
    /// Independent: exponential gaps.
    Poisson,
}

/// How often a script is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// So many times.
    Times(u32),
    /// Until the measured phase ends.
    Forever,
}

impl Repeat {
    /// Whether a script of these steps asks anything of the target but to let a client connect
    /// once, and leave.
    #[must_use]
    pub fn puts_to_the_test(self, steps: &[Step]) -> bool {
        let asks = |step: &&Step| {
            !matches!(
                step,
                Step::Connect
                    | Step::Pause { .. }
                    | Step::Barrier(_)
                    | Step::Disconnect(Leave::Polite)
            )
        };
        let connects = steps.iter().filter(|step| **step == Step::Connect);
        self != Self::Times(1) || connects.count() > 1 || steps.iter().any(|step| asks(&step))
    }
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Connect and read the welcome. Every session is a new sender.
    Connect,
    /// Publish `count` messages, one every `every` (zero: all at once).
    Publish {
        /// How many.
        count: u32,
        /// The interval between their intended send times.
        every: Duration,
        /// The room; absent for the rooms that the client is in, in turn, or the one without a name
        /// if it is in none.
        room: Option<String>,
    },
    /// Join a room and wait for the answer.
    Join(String),
    /// Leave a room and wait for the answer.
    LeaveRoom(String),
    /// Wait until nothing of this client is unacked; a violation if it takes longer.
    AwaitAcks {
        /// The longest it may take.
        within: Duration,
    },
    /// Do nothing for a time drawn evenly from `min` to `max`; the client keeps reading.
    Pause {
        /// Shortest pause.
        min: Duration,
        /// Longest pause; equal to `min` for a fixed one.
        max: Duration,
    },
    /// Read nothing for so long: a slow consumer.
    StopReading(Duration),
    /// Bytes as they stand.
    SendRaw {
        /// The bytes that are sent.
        bytes: Raw,
        /// Zero: all in one go. Otherwise one byte per write, and so much time between two of them.
        every: Duration,
    },
    /// An `error` frame of this code must have come since the last step that sent something, or
    /// must come in time.
    ExpectError {
        /// The code expected.
        code: String,
        /// The longest it may take.
        within: Duration,
    },
    /// Send a message of the application's protocol, wait for an answer, or both; a violation if
    /// the answer does not come in time, or is a refusal.
    Ask {
        /// Its number among those of all scripts: its place in the protocol's description.
        nth: usize,
        /// The longest that the answer may take.
        within: Duration,
    },
    /// Wait until every client whose script names this barrier arrives.
    Barrier(String),
    /// Leave.
    Disconnect(Leave),
}

/// Bytes sent as they stand: some, so often in a row. They are not laid out in memory, since a
/// script may have many such steps of 16 MiB each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    once: Arc<[u8]>,
    repeat: u64,
}

impl Raw {
    /// `once`, `repeat` times.
    #[must_use]
    pub fn new(once: impl Into<Arc<[u8]>>, repeat: u64) -> Self {
        let once = once.into();
        Self { once, repeat }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.once.len() as u64 * self.repeat
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them in order, in pieces of `bytes` and one of what is left.
    pub fn pieces(&self, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
        let total = self.len();
        (0..total).step_by(bytes).map(move |at| {
            let from = (at % self.once.len() as u64) as usize;
            let wanted = (total - at).min(bytes as u64) as usize;
            let mut piece = Vec::with_capacity(wanted);
            piece.extend(self.once.iter().cycle().skip(from).take(wanted));
            piece
        })
    }
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Half-close, then read to the end (J2).
    Polite,
    /// Reset the connection (J3).
    Abort,
    /// Plain close, whatever is unread.
    Close,
}

/// How long a group's messages are, in bytes of `message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSize {
    /// Shortest.
    pub min: u32,
    /// Longest; equal to `min` for a fixed size, else sizes are drawn evenly.
    pub max: u32,
}

/// How deliveries are counted that came later than promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateCounts {
    /// Violations: a broken promise like any other.
    AsViolations,
    /// A crossed threshold.
    AsThreshold,
}

/// The most groups whose latencies are told apart; of more the last are put together.
pub const GROUPS_APART: usize = 16;

/// The name of the observers in results, among the groups.
pub const OBSERVERS: &str = "observers";

/// The name in results of the groups that are not told apart.
pub const OTHERS: &str = "others";

/// One threshold: `p99 < 20ms` on `ack`, or `delivered >= 50000` on `rates`.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The metric that is measured.
    pub metric: Metric,
    /// Of which group of clients; `None` for all of them together.
    pub group: Option<OfGroup>,
    /// Which figure of it.
    pub stat: Stat,
    /// How it must compare.
    pub op: Comparison,
    /// With what: nanoseconds for latencies, messages per second for rates.
    pub limit: f64,
    /// The expression as it was written.
    pub expr: String,
}

/// The group that a threshold is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfGroup {
    /// Its name.
    pub name: String,
    /// Its position in the file; the observers' is after all of these.
    pub position: usize,
}

/// The metric that a threshold is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// From the intended send to the ack.
    Ack,
    /// From the intended send to each delivery.
    Relay,
    /// From the intended send to the last receiver's delivery.
    LastRelay,
    /// From the first to the last receiver of one message.
    Spread,
    /// Actual minus intended send.
    SendLag,
    /// From connecting to the welcome.
    Connect,
    /// From the intended send to each delivery in the room that is worst.
    Rooms,
    /// Messages per second, by the name in [`Stat::Rate`].
    Rates,
}

/// Which figure of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stat {
    /// Smallest.
    Min,
    /// Arithmetic mean.
    Mean,
    /// Largest.
    Max,
    /// Standard deviation.
    Stddev,
    /// A percentile, 0 to 100.
    Percentile(f64),
    /// A rate.
    Rate(RateName),
}

/// The rates that a threshold may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateName {
    /// Publishes sent.
    Sent,
    /// Acks received.
    Acked,
    /// Relays received, over all receivers.
    Delivered,
}

/// How an observed figure must compare with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}
