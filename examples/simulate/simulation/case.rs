//! The case of a seed: a scenario, a network, a fault or none, and an event in the run.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use chatbench::cli::selftest::cell::{Judge, SCENARIOS, scenarios_of};
use chatbench::server::fault::catalogue::Fault;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// The case that a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    /// How the run is judged.
    pub(crate) judge: Judge,
    /// The fault that the server commits.
    pub(crate) fault: Option<Fault>,
    /// The clients' scenario, as the TOML of a scenario file.
    pub(crate) scenario: String,
    /// The scenario's name if it is one of the selftest's, or `drawn`.
    pub(crate) origin: &'static str,
    /// Shards of the driver, independent of this machine's cores. One if the judge has to find the
    /// order.
    pub(crate) shards: u32,
    pub(crate) network: Network,
    pub(crate) event: Event,
}

/// The network's conditions. Times count from the beginning of the run.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) buffer_bytes: usize,
    pub(crate) delay: RangeInclusive<Duration>,
    pub(crate) piece_bytes: usize,
    pub(crate) partial: f64,
    pub(crate) reset_discards: bool,
    /// Times in which one in the given number of connections is cut off.
    pub(crate) partitions: Vec<(Span, u64)>,
}

/// A time span; both ends count from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// An event in a run besides those of its scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Nothing,
    /// The driver stands still while time goes on: stopped, or swapped out.
    DriverPaused(Vec<Span>),
    /// The server stands still.
    ServerPaused(Vec<Span>),
    /// Both stand still: the machine was suspended, and its clock jumped.
    MachineSuspended(Vec<Span>),
    /// The server is killed.
    ServerKilled(Duration),
    /// At each time the network resets one in the given number of connections, as a router does
    /// that lost its state.
    ConnectionsBroken(Vec<(Duration, u64)>),
    /// A signal ends the load early, and perhaps another one the drain.
    Interrupted(Vec<Duration>),
}

impl Case {
    /// Draws the case of `seed`.
    pub(crate) fn draw(seed: u64) -> Self {
        let rng = &mut Pcg64Mcg::seed_from_u64(seed);
        let judges = [Judge::Numbers, Judge::Outside, Judge::Classic];
        let mut judge = *judges.choose(rng).expect("there are three");
        let fault = rng.random_bool(0.5).then(|| draw_fault(rng, judge));
        let (origin, scenario) = draw_scenario(rng, judge, fault);
        let mut shards = match judge {
            Judge::Numbers | Judge::Websocket => rng.random_range(1..=3),
            Judge::Outside | Judge::Fifo | Judge::Classic => 1,
        };
        // Drawn apart, so that all else of a seed stays what it was.
        let apart = &mut Pcg64Mcg::seed_from_u64(seed ^ 0xf1f0);
        let needs_one_shard = SCENARIOS
            .iter()
            .any(|s| s.name == origin && !Judge::Fifo.runs(s));
        let may_be_fifo = judge == Judge::Outside
            && !needs_one_shard
            && fault.is_none_or(|f| Judge::Fifo.sees(f));
        if may_be_fifo && apart.random_bool(0.5) {
            (judge, shards) = (Judge::Fifo, apart.random_range(1..=3));
        }
        let network = Network::draw(rng);
        let event = match rng.random_bool(0.4) {
            true => Event::draw(rng),
            false => Event::Nothing,
        };
        Self {
            seed,
            judge,
            fault,
            scenario,
            origin,
            shards,
            network,
            event,
        }
    }

    /// Whether the run is disturbed by an event or by the network.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.event != Event::Nothing || !self.network.partitions.is_empty()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.map_or("no fault", Fault::name);
        write!(
            f,
            "seed {}: {fault}, judged by {:?}, {} shard(s), {} scenario, {:?}\n{:?}\n{}",
            self.seed,
            self.judge,
            self.shards,
            self.origin,
            self.event,
            self.network,
            self.scenario
        )
    }
}

fn draw_fault(rng: &mut Pcg64Mcg, judge: Judge) -> Fault {
    let seen: Vec<_> = Fault::ALL.iter().filter(|f| judge.sees(**f)).collect();
    **seen.choose(rng).expect("every judge sees some")
}

/// Draws a scenario of the selftest or makes one up; for a fault, one in which it can be seen.
fn draw_scenario(rng: &mut Pcg64Mcg, judge: Judge, fault: Option<Fault>) -> (&'static str, String) {
    let fit = fault.map_or(SCENARIOS, scenarios_of);
    // A fault that is seen in only one scenario needs that one.
    let particular = fit.len() == 1;
    if particular || rng.random_bool(0.3) {
        let fit: Vec<_> = fit.iter().filter(|s| judge.runs(s)).collect();
        let scenario = fit.choose(rng).expect("a judge runs what it sees");
        return (scenario.name, scenario.text.to_owned());
    }
    ("drawn", draw_text(rng, judge))
}

/// Makes up a scenario with some clients that send, and some of the other kinds.
fn draw_text(rng: &mut Pcg64Mcg, judge: Judge) -> String {
    let text = &mut String::new();
    let mut add = |line: fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    add(format_args!("[run]"));
    add(format_args!(
        "warmup = \"{}ms\"",
        rng.random_range(0..2) * 100
    ));
    add(format_args!(
        "duration = \"{}ms\"",
        rng.random_range(100..600)
    ));
    add(format_args!(
        "connect_rate = {}",
        rng.random_range(100..5000)
    ));
    add(format_args!("observers = {}", rng.random_range(1..3)));
    let arrival = ["poisson", "constant"][rng.random_range(0..2)];
    let max = [48, 300, 2000][rng.random_range(0..3)];
    add(format_args!(
        "[clients.talkers]\ncount = {}",
        rng.random_range(2..5)
    ));
    add(format_args!(
        "rate = {}\narrival = \"{arrival}\"",
        rng.random_range(50..600)
    ));
    add(format_args!("payload = {{ min = 48, max = {max} }}"));
    add(format_args!(
        "[clients.listeners]\ncount = {}",
        rng.random_range(1..5)
    ));
    if rng.random_bool(0.3) {
        add(format_args!(
            "[clients.loops]\ncount = {}",
            rng.random_range(1..3)
        ));
        add(format_args!("in_flight = {}", rng.random_range(1..6)));
    }
    if rng.random_bool(0.5) {
        add(format_args!(
            "[clients.guests]\ncount = {}",
            rng.random_range(1..5)
        ));
        add(format_args!("repeat = \"forever\"\nscript = ["));
        add(format_args!("  {{ connect = {{}} }},"));
        add(format_args!(
            "  {{ publish = {{ count = {}, every = \"{}ms\" }} }},",
            rng.random_range(1..4),
            rng.random_range(0..3)
        ));
        if rng.random_bool(0.3) {
            add(format_args!("  {{ await_acks = {{ within = \"5s\" }} }},"));
        }
        add(format_args!(
            "  {{ pause = {{ min = \"1ms\", max = \"40ms\" }} }},"
        ));
        add(format_args!("  {{ disconnect = \"polite\" }},\n]"));
    }
    if rng.random_bool(0.4) {
        add(format_args!(
            "[clients.vanishing]\ncount = {}",
            rng.random_range(1..4)
        ));
        add(format_args!("repeat = \"forever\"\nscript = ["));
        add(format_args!("  {{ connect = {{}} }},"));
        add(format_args!(
            "  {{ publish = {{ count = {} }} }},",
            rng.random_range(1..4)
        ));
        add(format_args!(
            "  {{ pause = {{ min = \"1ms\", max = \"40ms\" }} }},"
        ));
        add(format_args!("  {{ disconnect = \"abort\" }},\n]"));
    }
    if rng.random_bool(0.2) {
        add(format_args!("[clients.sluggish]\ncount = 1\nscript = ["));
        add(format_args!("  {{ connect = {{}} }},"));
        add(format_args!(
            "  {{ stop_reading = \"{}ms\" }},",
            rng.random_range(10..900)
        ));
        add(format_args!("  {{ disconnect = \"polite\" }},\n]"));
    }
    if judge != Judge::Classic && rng.random_bool(0.3) {
        add(format_args!(
            "[clients.hecklers]\ncount = {}",
            rng.random_range(1..3)
        ));
        add(format_args!("repeat = \"forever\"\nscript = ["));
        add(format_args!(
            "  {{ send_raw = {{ text = \"this is no frame\\n\" }} }},"
        ));
        add(format_args!(
            "  {{ expect_error = {{ code = \"malformed\", within = \"5s\" }} }},"
        ));
        add(format_args!("  {{ publish = {{ count = 1 }} }},"));
        add(format_args!("  {{ await_acks = {{ within = \"5s\" }} }},"));
        add(format_args!(
            "  {{ pause = {{ min = \"1ms\", max = \"20ms\" }} }},\n]"
        ));
    }
    std::mem::take(text)
}

impl Network {
    /// Whether a message of 32 KiB may take longer than a scenario allows.
    pub(crate) fn is_slow(&self) -> bool {
        self.buffer_bytes < 64 << 10 || *self.delay.end() > Duration::from_millis(5)
    }

    fn draw(rng: &mut Pcg64Mcg) -> Self {
        // There is always some delay: without any, paused time would never go on.
        let longest_us = [500, 5_000, 60_000][rng.random_range(0..3)];
        let from = rng.random_range(1..=longest_us);
        let to = rng.random_range(from..=longest_us);
        let mut partitions = Vec::new();
        if rng.random_bool(0.15) {
            for _ in 0..rng.random_range(1..3) {
                partitions.push((Span::draw(rng), rng.random_range(1..4)));
            }
        }
        Self {
            buffer_bytes: [4 << 10, 64 << 10, 1 << 20][rng.random_range(0..3)],
            delay: Duration::from_micros(from)..=Duration::from_micros(to),
            piece_bytes: [50, 1_000, usize::MAX][rng.random_range(0..3)],
            partial: [0.0, 0.1, 0.9][rng.random_range(0..3)],
            reset_discards: rng.random_bool(0.5),
            partitions,
        }
    }
}

impl Span {
    /// Draws a span within a run that is shorter than the server's patience with a client.
    fn draw(rng: &mut Pcg64Mcg) -> Self {
        let from = Duration::from_millis(rng.random_range(0..700));
        let to = from + Duration::from_millis(rng.random_range(1..900));
        Self { from, to }
    }
}

impl Event {
    fn draw(rng: &mut Pcg64Mcg) -> Self {
        let mut spans = || {
            (0..rng.random_range(1..4))
                .map(|_| Span::draw(rng))
                .collect()
        };
        let (one, two, three) = (spans(), spans(), spans());
        let at = Duration::from_millis(rng.random_range(1..900));
        match rng.random_range(0..6) {
            0 => Self::DriverPaused(one),
            1 => Self::ServerPaused(two),
            2 => Self::MachineSuspended(three),
            3 => Self::ServerKilled(at),
            4 => {
                let mut breaks = vec![(at, rng.random_range(1..6))];
                breaks.extend(rng.random_bool(0.3).then_some((at / 2, 3)));
                Self::ConnectionsBroken(breaks)
            }
            _ => {
                let later = at + Duration::from_millis(rng.random_range(1..300));
                let mut signals = vec![at];
                signals.extend(rng.random_bool(0.3).then_some(later));
                Self::Interrupted(signals)
            }
        }
    }
}
