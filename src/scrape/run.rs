//! A run's figures.

use super::buckets::Buckets;
use super::families::Families;
use crate::driver::snapshot::{Phase, Snapshot};
use crate::measure::{Collector, Counted};
use crate::scenario::plan::Plan;

/// The figures of a run in progress.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The scenario's name, its seed, and the target; empty before the first run.
    pub which: Option<Which>,
    /// The phase that the run is in.
    pub phase: Option<Phase>,
    /// Clients that the scenario has.
    pub clients: u64,
    /// Of these, connected.
    pub connections: u64,
    /// Rooms that the scenario has and that have names.
    pub rooms: u64,
    /// Memberships in them now.
    pub memberships: u64,
    /// Counts since the run began.
    pub counted: Counted,
    /// Violations found so far.
    pub violations: u64,
    /// Latencies by class, in the order of [`CLASSES`].
    pub latencies: [Buckets; CLASSES.len()],
}

/// The identity of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    scenario: String,
    seed: String,
    target: String,
}

impl Which {
    /// The identity of a run of `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            scenario: plan.name.clone(),
            seed: plan.seed.to_string(),
            target: plan.target_url().to_owned(),
        }
    }
}

/// The classes of latency: the metric's name and its description.
const CLASSES: [(&str, &str); 7] = [
    (
        "chatbench_ack_latency_seconds",
        "From the intended send to the ack, of messages due in the measured phase.",
    ),
    (
        "chatbench_relay_latency_seconds",
        "From the intended send to each delivery, of messages due in the measured phase.",
    ),
    (
        "chatbench_last_relay_latency_seconds",
        "From the intended send to the last receiver's delivery, of messages due in the measured \
         phase.",
    ),
    (
        "chatbench_spread_seconds",
        "From the first to the last receiver of one message due in the measured phase.",
    ),
    (
        "chatbench_connect_seconds",
        "From connecting to the welcome, of every connection.",
    ),
    (
        "chatbench_send_lag_seconds",
        "How late the generator sent what was due in the measured phase.",
    ),
    (
        "chatbench_wakeup_lag_seconds",
        "How long what had arrived waited for the generator to look at it, in the measured phase.",
    ),
];

const PHASES: [Phase; 4] = [Phase::Connect, Phase::WarmUp, Phase::Measure, Phase::Drain];

impl Figures {
    /// The figures of a run as of `snapshot`.
    ///
    /// Goes through seven histograms, 13 µs each (`cargo bench --bench measure`): cheap enough for
    /// once per second.
    #[must_use]
    pub fn new(which: Which, snapshot: &Snapshot, collector: &Collector) -> Self {
        let totals = collector.totals();
        Self {
            which: Some(which),
            phase: Some(snapshot.phase),
            clients: snapshot.of,
            connections: snapshot.open,
            rooms: snapshot.rooms,
            memberships: snapshot.memberships,
            counted: collector.counted(),
            violations: snapshot.violations,
            latencies: [
                Buckets::of_all(totals.acks()),
                Buckets::of_all(totals.relays()),
                Buckets::of(collector.last_relay()),
                Buckets::of(collector.spread()),
                Buckets::of(&totals.connect),
                Buckets::of(&totals.send_lag),
                Buckets::of(&totals.heartbeat),
            ],
        }
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = Families::of_this_build();
        if let Some(which) = &self.which {
            let labels = [
                ("scenario", which.scenario.as_str()),
                ("seed", &which.seed),
                ("target", &which.target),
            ];
            page.info(
                "chatbench_run_info",
                "The run that these figures are of.",
                &labels,
            );
        }
        page.gauges(
            "chatbench_phase",
            "Where the run is: 1 for the present phase.",
            "phase",
            PHASES.map(|phase| (phase.name(), f64::from(self.phase == Some(phase)))),
        );
        page.gauge(
            "chatbench_clients",
            "Clients that the scenario has.",
            self.clients as f64,
        );
        page.gauge(
            "chatbench_connections",
            "Clients connected now.",
            self.connections as f64,
        );
        if self.rooms > 0 {
            page.gauge(
                "chatbench_rooms",
                "Rooms that the scenario has.",
                self.rooms as f64,
            );
            page.gauge(
                "chatbench_memberships",
                "Memberships of clients in rooms now.",
                self.memberships as f64,
            );
        }
        let counted = &self.counted;
        for (name, help, value) in [
            (
                "chatbench_connections_total",
                "Connections that were welcomed.",
                counted.connections,
            ),
            ("chatbench_publishes_total", "Messages sent.", counted.sent),
            ("chatbench_acks_total", "Acks received.", counted.acked),
            (
                "chatbench_deliveries_total",
                "Relays received, over all receivers.",
                counted.delivered,
            ),
            (
                "chatbench_received_bytes_total",
                "Bytes received.",
                counted.bytes_in,
            ),
            (
                "chatbench_sent_bytes_total",
                "Bytes sent.",
                counted.bytes_out,
            ),
            (
                "chatbench_errors_total",
                "Error frames received.",
                counted.errors,
            ),
            (
                "chatbench_violations_total",
                "Broken promises found so far; what only the end proves is in the result.",
                self.violations,
            ),
        ] {
            page.counter(name, help, value);
        }
        for ((name, help), buckets) in CLASSES.iter().zip(&self.latencies) {
            page.histogram(name, help, buckets);
        }
        page.text()
    }
}
