//! A shard: one thread, one runtime, its share of the clients.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::client;
use super::clock::Clock;
use super::fleet::{Fleet, Rank};
use super::live::Live;
use super::pacer;
use super::pulse::{self, Pulse};
use super::script::{self, Barriers, Script};
use super::source::Source;
use crate::measure::health::ShardLoad;
use crate::measure::{Interval, ShardRecorder, Window};
use crate::scenario::draws::Draws;
use crate::scenario::plan::PayloadSize;
use crate::target::host::Host;
use crate::verify::batch::Batch;
use crate::verify::directory::{ClientId, Directory};
use crate::verify::ledger::{Ledger, Terms};
use crate::verify::trace::tape::Writing;
use crate::wire::Dialect;

/// Connections of one shard that may be under way at once: well under the 4,096 of a listen
/// queue.
const CONNECTING_AT_ONCE: usize = 256;

/// How often a shard hands over what it has learned, at least.
const HAND_OVER_EVERY: Duration = Duration::from_millis(50);

const SECOND_NS: u64 = 1_000_000_000;

/// What the coordinator tells a shard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    /// Connect the observers, or everyone else; the phase began at `start_ns`.
    Connect { observers: bool, start_ns: u64 },
    /// Whoever has not connected yet does not any more.
    StopConnecting,
    /// The load begins at `start_ns`.
    BeginLoad { start_ns: u64, window: Window },
    /// The load is over at `end_ns`: what was due before is sent, then nothing more.
    EndLoad { end_ns: u64 },
    /// The clients of a rank leave politely.
    Leave(Rank),
    /// Cut what is still connected, hand over the rest, end.
    Stop,
}

/// What a shard tells the coordinator.
#[derive(Debug)]
pub(super) enum Report {
    /// What its ledger has learned.
    Batch { shard: usize, batch: Box<Batch> },
    /// What it recorded up to the end of a second of the run.
    Interval {
        shard: usize,
        second: u64,
        interval: Box<Interval>,
        clients: u64,
    },
    /// A client could not connect.
    Unreachable { client: ClientId, what: String },
    /// What the target said first shows that it is another kind of server: nothing can be judged.
    Foreign { client: ClientId, what: String },
    /// It has ended.
    Done {
        /// Messages of open loops that were due within the window.
        offered: u64,
        /// Messages of open loops that were due when the load ended and never sent, through no
        /// fault of the target.
        behind: u64,
        /// Messages of open loops that were due when the load ended and never sent.
        unsent: u64,
        /// Of these, messages of clients whose connections were gone.
        cut_off: u64,
        /// What its thread did in the measured phase.
        load: ShardLoad,
        /// Clients that were still connected.
        cut: u64,
        /// Of these, clients that had left and were not answered.
        unanswered: u64,
        /// When the target last said anything to a client of this shard; 0 for never.
        heard_ns: u64,
        /// The longest that it stood still, from the beginning of the measured phase to its end.
        longest_pause_ns: u64,
    },
}

/// A client of a shard, before it begins.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ClientId,
    pub(super) rank: Rank,
    /// Where its latencies go ([`crate::measure::group::place`]).
    pub(super) group: usize,
    pub(super) payload: PayloadSize,
    pub(super) draws: Draws,
    pub(super) source: Source,
    pub(super) script: Option<Script>,
    /// Whose address its messages claim, if not its own.
    pub(super) claims: Option<ClientId>,
    /// When it connects, after its phase began.
    pub(super) connect_after: Duration,
}

/// Everything a shard needs to begin.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) index: usize,
    pub(super) members: Vec<Member>,
    /// Dialled in turn.
    pub(super) hosts: Arc<[Host]>,
    pub(super) connect_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) seed: u64,
    /// Unacked messages of one client from which on it waits.
    pub(super) most_unacked: u64,
    pub(super) terms: Terms,
    /// The longest line or text that a client reads, in bytes.
    pub(super) max_read_line_bytes: usize,
    pub(super) directory: Arc<Directory>,
    pub(super) live: Arc<Live>,
    pub(super) barriers: Arc<Barriers>,
    /// Where its observations are recorded.
    pub(super) tape: Option<Writing>,
}

/// What the tasks of a shard share.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) clock: Clock,
    hosts: Arc<[Host]>,
    pub(super) connect_timeout: Duration,
    pub(super) barriers: Arc<Barriers>,
    pub(super) dialect: Dialect,
    /// The target has said something to any client of this shard.
    pub(super) heard: Cell<bool>,
    /// Senders end with a fence: the target states no order, or is not to be taken at its word.
    fences: bool,
    index: usize,
    fleet: RefCell<Fleet>,
    scripts: Vec<Option<Script>>,
    connect_after: Vec<Duration>,
    load_ends: Notify,
    reports: mpsc::Sender<Report>,
    pub(super) pulse: RefCell<Pulse>,
}

impl Shard {
    /// The fleet, for as long as the caller does not wait.
    pub(super) fn fleet(&self) -> RefMut<'_, Fleet> {
        self.fleet.borrow_mut()
    }

    /// Where `client` connects: to each host as many as to any other, since every one has ports
    /// of its own to connect from.
    pub(super) fn host_for(&self, client: usize) -> &Host {
        let ClientId(id) = self.fleet().clients[client].id;
        &self.hosts[id as usize % self.hosts.len()]
    }

    // These two, because a `fleet()` inside a longer condition lives until its end, and whatever
    // else is in it may want the fleet as well.

    /// Whether `client` has a connection.
    pub(super) fn is_connected(&self, client: usize) -> bool {
        self.fleet().is_connected(client)
    }

    /// Whether the load is over.
    pub(super) fn load_over(&self) -> bool {
        self.fleet().load_over
    }

    /// Returns when the load is over.
    pub(super) async fn load_ends(&self) {
        let ended = self.load_ends.notified();
        if !self.load_over() {
            ended.await;
        }
    }

    /// A duration for `client`, drawn evenly from `min` to `max`.
    pub(super) fn draw(&self, client: usize, min: Duration, max: Duration) -> Duration {
        self.fleet().clients[client].draws.pause(min, max)
    }

    /// A scripted client cannot go on.
    pub(super) fn trouble(&self, client: usize, what: &dyn Display) {
        let client = self.fleet().clients[client].id;
        self.tell(Report::Unreachable {
            client,
            what: what.to_string(),
        });
    }

    /// The target is another kind of server.
    pub(super) fn foreign(&self, client: usize, what: &dyn Display) {
        let client = self.fleet().clients[client].id;
        self.tell(Report::Foreign {
            client,
            what: what.to_string(),
        });
    }

    /// The channel is only full if the coordinator is behind; then the word comes later.
    fn tell(&self, report: Report) {
        let reports = self.reports.clone();
        spawn_local(async move {
            let _ = reports.send(report).await;
        });
    }
}

/// Runs a shard to its end. Blocks its thread.
pub(super) fn run(
    spec: Spec,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Sender<Report>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(spec, commands, reports));
    Ok(())
}

async fn serve(
    spec: Spec,
    mut commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Sender<Report>,
) {
    let shard = Rc::new(new_shard(spec, reports));
    spawn_local(client::flush_blocked(shard.clone()));
    let pacer = spawn_local(pacer::pace(shard.clone()));
    let pulse = spawn_local(pulse::beat(shard.clone()));
    let ticker = spawn_local(hand_over_regularly(shard.clone()));
    let mut connecting = JoinSet::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Connect {
                observers,
                start_ns,
            } => {
                connecting.spawn_local(connect_all(shard.clone(), observers, start_ns));
            }
            Command::StopConnecting => {
                connecting.shutdown().await;
                shard.fleet().give_up_connecting();
            }
            Command::BeginLoad { start_ns, window } => {
                spawn_local(begin_load(shard.clone(), start_ns, window));
            }
            Command::EndLoad { end_ns } => end_load(&shard, end_ns),
            Command::Leave(rank) => leave(&shard, rank),
            Command::Stop => break,
        }
    }
    ticker.abort();
    pacer.abort();
    pulse.abort();
    let longest_pause_ns = shard.pulse.borrow().longest_pause_ns(shard.clock.now_ns());
    let unanswered = shard.fleet().leaving();
    let cut = shard.fleet().cut_all();
    let heard_ns = shard.fleet().heard_ns;
    let offered = shard.fleet().offered;
    let behind = shard.fleet().behind_at_end;
    let unsent = shard.fleet().unsent_at_end;
    let cut_off = shard.fleet().cut_off_at_end;
    let load = shard.pulse.borrow().load();
    hand_over(&shard).await;
    let second = shard.clock.now_ns() / SECOND_NS;
    hand_over_seconds(&shard, second + 1).await;
    let _ = shard
        .reports
        .send(Report::Done {
            offered,
            behind,
            unsent,
            cut_off,
            load,
            cut,
            unanswered,
            heard_ns,
            longest_pause_ns,
        })
        .await;
}

fn new_shard(spec: Spec, reports: mpsc::Sender<Report>) -> Shard {
    let fences = !spec.terms.promises.use_seq;
    let dialect = spec.terms.dialect;
    let mut ledger = Ledger::new(spec.terms, spec.directory);
    if let Some(tape) = spec.tape {
        ledger.record_on(tape);
    }
    let groups = spec.members.iter().map(|m| m.group + 1).max();
    let groups = groups.unwrap_or_default();
    let mut fleet = Fleet::new(
        spec.clock,
        ledger,
        ShardRecorder::of_groups(Window::NEVER, groups),
        spec.live,
        spec.seed,
        dialect,
        spec.max_read_line_bytes,
    );
    fleet.most_unacked = spec.most_unacked as usize;
    let mut scripts = Vec::with_capacity(spec.members.len());
    let mut connect_after = Vec::with_capacity(spec.members.len());
    for mut member in spec.members {
        scripts.push(member.script.take());
        connect_after.push(member.connect_after);
        fleet.add(member);
    }
    Shard {
        clock: spec.clock,
        hosts: spec.hosts,
        connect_timeout: spec.connect_timeout,
        barriers: spec.barriers,
        dialect,
        heard: Cell::default(),
        fences,
        index: spec.index,
        fleet: RefCell::new(fleet),
        scripts,
        connect_after,
        load_ends: Notify::new(),
        reports,
        pulse: RefCell::default(),
    }
}

/// Connects the observers, or everyone else, each at its time.
async fn connect_all(shard: Rc<Shard>, observers: bool, start_ns: u64) {
    let slots = Arc::new(Semaphore::new(CONNECTING_AT_ONCE));
    let start = Instant::from_std(shard.clock.instant(start_ns));
    let mut attempts = JoinSet::new();
    for client in 0..shard.connect_after.len() {
        if (shard.fleet().clients[client].rank == Rank::Observer) != observers {
            continue;
        }
        sleep_until(start + shard.connect_after[client]).await;
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("it is never closed");
        let shard = shard.clone();
        attempts.spawn_local(async move {
            if let Err(error) = client::connect(&shard, client).await {
                shard.trouble(client, &error);
            }
            drop(slot);
        });
        while attempts.try_join_next().is_some() {}
    }
    while attempts.join_next().await.is_some() {}
}

async fn begin_load(shard: Rc<Shard>, start_ns: u64, window: Window) {
    shard.fleet().set_window(window);
    sleep_until(Instant::from_std(shard.clock.instant(start_ns))).await;
    let mut fleet = shard.fleet();
    let now_ns = shard.clock.now_ns();
    for client in 0..fleet.clients.len() {
        if let Some(script) = &shard.scripts[client] {
            spawn_local(script::play(shard.clone(), client, script.clone()));
            continue;
        }
        fleet.clients[client].source.begin(start_ns);
        fleet.send_due(client, now_ns, false);
        fleet.fill_window(client, now_ns);
    }
    fleet.wake_pacer.notify_one();
}

fn end_load(shard: &Rc<Shard>, end_ns: u64) {
    let mut fleet = shard.fleet();
    shard.pulse.borrow_mut().load_ends(shard.clock.now_ns());
    for client in 0..fleet.clients.len() {
        if fleet.clients[client]
            .source
            .due_ns()
            .is_some_and(|due_ns| due_ns < end_ns)
        {
            fleet.send_due(client, end_ns - 1, false);
        }
    }
    fleet.count_unsent(end_ns);
    fleet.end_window(end_ns);
    fleet.load_over = true;
    if shard.fences {
        fleet.send_fences(shard.clock.now_ns());
    }
    drop(fleet);
    shard.load_ends.notify_waiters();
}

fn leave(shard: &Rc<Shard>, rank: Rank) {
    let mut fleet = shard.fleet();
    for client in 0..fleet.clients.len() {
        if fleet.clients[client].rank == rank {
            fleet.leave(client);
        }
    }
}

/// Hands over what the ledger has learned 20 times a second, sooner where much comes together,
/// and what was recorded once a second.
async fn hand_over_regularly(shard: Rc<Shard>) {
    let filled = shard.fleet().wake_hand_over.clone();
    let mut second = shard.clock.now_ns() / SECOND_NS;
    let mut tick = tokio::time::interval(HAND_OVER_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = filled.notified() => {}
        }
        hand_over(&shard).await;
        let now_second = shard.clock.now_ns() / SECOND_NS;
        if now_second > second {
            hand_over_seconds(&shard, now_second).await;
            second = now_second;
        }
    }
}

async fn hand_over(shard: &Rc<Shard>) {
    let batch = Box::new(shard.fleet().take_batch());
    let _ = shard
        .reports
        .send(Report::Batch {
            shard: shard.index,
            batch,
        })
        .await;
}

/// Hands over every second before `second`: of a thread that was stopped there are several.
async fn hand_over_seconds(shard: &Rc<Shard>, second: u64) {
    let (seconds, clients) = {
        let mut fleet = shard.fleet();
        let open = fleet
            .clients
            .iter()
            .filter(|c| c.connection.is_some())
            .count();
        (fleet.recorder.take_before(second), open as u64)
    };
    for (second, interval) in seconds {
        let report = Report::Interval {
            shard: shard.index,
            second,
            interval: Box::new(interval),
            clients,
        };
        let _ = shard.reports.send(report).await;
    }
}
