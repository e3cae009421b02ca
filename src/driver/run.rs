//! A run from beginning to end: start the target, connect, warm up and measure, drain, judge.

use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::clock::{Clock, ns};
use super::fleet::Rank;
use super::live::Live;
use super::outcome::{Outcome, ProcessUse};
use super::preflight::{self, Shortage};
use super::process;
use super::roster;
use super::script::Barriers;
use super::shard::{self, Command, Report, Spec};
use super::snapshot::{Phase, Snapshot};
use crate::measure::health::{Health, ShardLoad};
use crate::measure::{Collector, Window};
use crate::scenario::plan::{Load, Plan, Target, TargetUrl};
use crate::target::embedded::Embedded;
use crate::target::{self, TargetError};
use crate::verify::directory::{ClientId, Directory};
use crate::verify::judge::Judge;
use crate::verify::ledger::Terms;
use crate::verify::trace::Header;
use crate::verify::trace::file::Recording;
use crate::wire::line::{DEFAULT_MAX_LINE_BYTES, SERVER_EXTRA_BYTES};

/// Between telling the shards when the load begins and its beginning.
const LEAD: Duration = Duration::from_millis(20);

/// How often the coordinator looks whether a phase is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often whoever watches is told how it goes.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Reports that may wait for the coordinator. A shard that finds the channel full waits, and the
/// wait shows in its send lag.
const REPORTS_AT_ONCE: usize = 64;

/// Why a run did not come about.
#[derive(Debug, Error)]
pub enum RunError {
    /// Too few files or ports.
    #[error(transparent)]
    Shortage(#[from] Shortage),
    /// The target could not be started or found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A client could not connect before the load began, or to no such server as was named.
    #[error("{url}: {client} could not connect: {what}")]
    Unreachable {
        /// The target.
        url: String,
        /// The first client that failed.
        client: String,
        /// What was seen.
        what: String,
    },
    /// The system refused what a run needs.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The second Ctrl-C.
    #[error("interrupted")]
    Aborted,
}

/// Carries out `plan`; `watch` is told ten times a second how it goes, with all that was recorded
/// so far, and `trace` takes down everything that verification is told.
///
/// The first SIGINT or SIGTERM ends the load early: the run still drains, and its outcome says
/// that it was interrupted.
///
/// # Errors
/// [`RunError`] if the load could not begin, or on the second signal.
pub async fn run(
    plan: &Plan,
    trace: Option<&Recording>,
    watch: &mut dyn FnMut(&Snapshot, &Collector),
) -> Result<Outcome, RunError> {
    let mut embedded = None;
    let (addresses, url) = match &plan.target.url {
        TargetUrl::Embedded(dialect) => {
            preflight::check(plan.clients(), u64::from(plan.target.addresses))?;
            let Target {
                addresses, faults, ..
            } = &plan.target;
            let server = Embedded::start(*dialect, *addresses, faults, plan.seed).await?;
            let addresses = embedded.insert(server).addresses().to_vec();
            let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            (addresses, format!("{dialect}://{}", list.join(",")))
        }
        TargetUrl::At(dialect, list) => {
            let addresses = target::resolve_all(list).await?;
            preflight::check(plan.clients(), addresses.len() as u64)?;
            (addresses, format!("{dialect}://{list}"))
        }
    };
    let mut coordinator = Coordinator::start(plan, &addresses, url, embedded, trace, watch)?;
    let result = coordinator.go_through_phases().await;
    match result {
        Ok(()) => Ok(coordinator.conclude().await),
        Err(error) => {
            // The shards' threads end when their commands do; whether they do so in time is of
            // no interest any more.
            if let Some(embedded) = coordinator.embedded.take()
                && !matches!(error, RunError::Aborted)
            {
                embedded.stop().await;
            }
            Err(error)
        }
    }
}

/// Whoever directs the shards and hears their reports.
struct Coordinator<'a> {
    plan: &'a Plan,
    watch: &'a mut dyn FnMut(&Snapshot, &Collector),
    clock: Clock,
    started: SystemTime,
    url: String,
    used_before: ProcessUse,
    embedded: Option<Embedded>,
    directory: Arc<Directory>,
    live: Arc<Live>,
    judge: Judge,
    collector: Collector,
    commands: Vec<mpsc::UnboundedSender<Command>>,
    threads: Vec<thread::JoinHandle<std::io::Result<()>>>,
    reports: mpsc::Receiver<Report>,
    interrupts: [Signal; 2],
    look: tokio::time::Interval,
    told: Instant,
    phase: Phase,
    phase_began_ns: u64,
    window: Window,
    interrupted: bool,
    /// When the whole target went away.
    target_gone_ns: Option<u64>,
    unreachable: Vec<(ClientId, String)>,
    /// Who heard that the target is another kind of server, and what it heard.
    foreign: Option<(ClientId, String)>,
    shards_done: usize,
    offered: u64,
    behind: u64,
    unsent: u64,
    loads: Vec<ShardLoad>,
    cut: u64,
}

impl<'a> Coordinator<'a> {
    fn start(
        plan: &'a Plan,
        addresses: &[SocketAddr],
        url: String,
        embedded: Option<Embedded>,
        trace: Option<&Recording>,
        watch: &'a mut dyn FnMut(&Snapshot, &Collector),
    ) -> Result<Self, RunError> {
        let clock = Clock::start();
        let started = SystemTime::now();
        let shard_count = roster::shard_count(plan);
        let (names, members) = roster::members(plan, shard_count);
        let clients = trace.map(|_| names.clone()).unwrap_or_default();
        let directory = Arc::new(Directory::new(names));
        let live = Arc::new(Live::default());
        let scripts = members
            .iter()
            .flatten()
            .filter(|m| m.script.is_some())
            .count();
        live.expect_scripts(scripts as u64);
        let late_after_ns = plan.promises.late_after.map(ns);
        let terms = Terms {
            run: run_id(started),
            seed: plan.seed,
            late_after_ns,
            addresses_known: addresses.iter().all(|address| address.ip().is_loopback()),
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
            promises: plan.promises,
            dialect: plan.target.url.dialect(),
        };
        let max_read_line_bytes = DEFAULT_MAX_LINE_BYTES + SERVER_EXTRA_BYTES;
        let mut judge = Judge::new(directory.clone(), shard_count, late_after_ns);
        if let Some(trace) = trace {
            trace.begin(&Header {
                scenario: plan.name.clone(),
                target: url.clone(),
                terms,
                max_read_line_bytes,
                shards: shard_count as u16,
                clients,
            });
            judge.record_on(trace.judge());
        }
        let barriers = Arc::new(Barriers::of(&plan.groups));
        let (report, reports) = mpsc::channel(REPORTS_AT_ONCE);
        let mut commands = Vec::new();
        let mut threads = Vec::new();
        for (index, members) in members.into_iter().enumerate() {
            let spec = Spec {
                index,
                members,
                addresses: addresses.into(),
                connect_timeout: plan.target.connect_timeout,
                clock,
                seed: plan.seed,
                terms,
                max_read_line_bytes,
                directory: directory.clone(),
                live: live.clone(),
                barriers: barriers.clone(),
                tape: trace.map(|trace| trace.shard(index)),
            };
            let (command, receiver) = mpsc::unbounded_channel();
            let report = report.clone();
            let thread = thread::Builder::new().name(format!("shard-{index}"));
            threads.push(thread.spawn(move || shard::run(spec, receiver, report))?);
            commands.push(command);
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            plan,
            watch,
            clock,
            started,
            url,
            used_before: process::own_use(),
            embedded,
            judge,
            collector: Collector::new(Window::NEVER, shard_count),
            directory,
            live,
            commands,
            threads,
            reports,
            interrupts: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ],
            look,
            told: Instant::now(),
            phase: Phase::Connect,
            phase_began_ns: 0,
            window: Window::NEVER,
            interrupted: false,
            target_gone_ns: None,
            unreachable: Vec::new(),
            foreign: None,
            shards_done: 0,
            offered: 0,
            behind: 0,
            unsent: 0,
            loads: Vec::new(),
            cut: 0,
        })
    }

    async fn go_through_phases(&mut self) -> Result<(), RunError> {
        self.connect().await?;
        self.load().await?;
        self.drain().await
    }

    /// Observers first, then everyone.
    async fn connect(&mut self) -> Result<(), RunError> {
        let observers = u64::from(self.plan.run.observers);
        for (only_observers, goal) in [(true, observers), (false, self.plan.clients())] {
            let start_ns = self.clock.now_ns();
            self.tell_shards(Command::Connect {
                observers: only_observers,
                start_ns,
            });
            self.wait(u64::MAX, |c| {
                c.live.connected() >= goal || !c.unreachable.is_empty()
            })
            .await?;
        }
        match self.unreachable.first() {
            Some((client, what)) if !self.interrupted => {
                Err(self.unreachable_by(*client, what.clone()))
            }
            _ => Ok(()),
        }
    }

    fn unreachable_by(&self, client: ClientId, what: String) -> RunError {
        RunError::Unreachable {
            url: self.url.clone(),
            client: self.directory.client_name(client).to_owned(),
            what,
        }
    }

    /// Warm-up and the measured phase.
    async fn load(&mut self) -> Result<(), RunError> {
        if self.interrupted {
            return Ok(());
        }
        let start_ns = self.clock.now_ns() + ns(LEAD);
        let warm_ns = start_ns + ns(self.plan.run.warmup);
        let end_ns = warm_ns + ns(self.plan.run.duration);
        self.window = Window {
            start_ns: warm_ns,
            end_ns,
        };
        self.collector.set_window(self.window);
        self.tell_shards(Command::BeginLoad {
            start_ns,
            window: self.window,
        });
        let only_scripts = self
            .plan
            .groups
            .iter()
            .all(|g| matches!(g.load, Load::Script { .. } | Load::Listen))
            && self.live.scripts() > 0;
        let over =
            move |c: &Self| c.target_gone_ns.is_some() || only_scripts && c.live.scripts() == 0;
        if warm_ns > start_ns {
            self.enter(Phase::WarmUp);
            self.wait(warm_ns, over).await?;
        }
        self.enter(Phase::Measure);
        self.wait(end_ns, over).await?;
        let end_ns = end_ns.min(self.clock.now_ns());
        self.window.end_ns = end_ns.max(self.window.start_ns);
        self.collector.set_window(self.window);
        self.tell_shards(Command::EndLoad { end_ns });
        Ok(())
    }

    /// Whoever sends leaves first, so that its last message still finds everyone else.
    async fn drain(&mut self) -> Result<(), RunError> {
        self.enter(Phase::Drain);
        let until_ns = self.clock.now_ns() + ns(self.plan.run.drain);
        if self.window != Window::NEVER {
            self.wait_in_drain(until_ns, |c| c.live.scripts() == 0)
                .await?;
        }
        for rank in [Rank::Scripted, Rank::Talker, Rank::Listener, Rank::Observer] {
            if self.target_gone_ns.is_some() {
                break; // nobody is there to say goodbye to
            }
            self.tell_shards(Command::Leave(rank));
            self.wait_in_drain(until_ns, move |c| c.live.open(rank) == 0)
                .await?;
        }
        if self.target_gone_ns.is_some() {
            // Its connections end by themselves; what they still hold was delivered.
            self.wait_in_drain(until_ns, |c| c.live.all_open() == 0)
                .await?;
        }
        self.tell_shards(Command::Stop);
        self.wait_in_drain(u64::MAX, |c| c.shards_done == c.commands.len())
            .await?;
        self.tell_watcher(); // all is in, but for what the judgement brings
        Ok(())
    }

    /// Waits until `over` says so, the time comes, or the run is interrupted.
    async fn wait(&mut self, until_ns: u64, over: impl Fn(&Self) -> bool) -> Result<(), RunError> {
        while !over(self) && self.clock.now_ns() < until_ns && !self.interrupted {
            self.step().await?;
        }
        Ok(())
    }

    /// As [`Self::wait`]; an interrupted run drains as well.
    async fn wait_in_drain(
        &mut self,
        until_ns: u64,
        over: impl Fn(&Self) -> bool,
    ) -> Result<(), RunError> {
        while !over(self) && self.clock.now_ns() < until_ns {
            self.step().await?;
        }
        Ok(())
    }

    /// Takes the next thing that happens.
    async fn step(&mut self) -> Result<(), RunError> {
        let child = self
            .embedded
            .as_mut()
            .filter(|_| self.target_gone_ns.is_none());
        let child_ended = async move {
            match child {
                Some(child) => child.ended().await,
                None => future::pending().await,
            }
        };
        let [interrupt, terminate] = &mut self.interrupts;
        tokio::select! {
            Some(report) = self.reports.recv() => {
                self.take(report);
                if let Some((client, what)) = self.foreign.take() {
                    return Err(self.unreachable_by(client, what));
                }
            }
            _ = self.look.tick() => self.look_around(),
            _ = interrupt.recv() => self.interrupt()?,
            _ = terminate.recv() => self.interrupt()?,
            _ = child_ended => self.target_gone_ns = Some(self.clock.now_ns()),
        }
        Ok(())
    }

    fn interrupt(&mut self) -> Result<(), RunError> {
        if self.interrupted {
            return Err(RunError::Aborted);
        }
        self.interrupted = true;
        Ok(())
    }

    fn take(&mut self, report: Report) {
        let Self {
            judge, collector, ..
        } = self;
        match report {
            Report::Batch { shard, batch } => judge.absorb(shard, *batch, |message| {
                collector.message(
                    message.intended_ns,
                    message.first_ns,
                    message.last_ns,
                    message.receivers,
                );
            }),
            Report::Interval {
                shard,
                second,
                interval,
                clients,
            } => {
                collector.absorb(shard, second, *interval, clients);
            }
            Report::Unreachable { client, what } => self.unreachable.push((client, what)),
            Report::Foreign { client, what } => self.foreign = Some((client, what)),
            Report::Done {
                offered,
                behind,
                unsent,
                load,
                cut,
            } => {
                self.shards_done += 1;
                self.offered += offered;
                self.behind += behind;
                self.unsent += unsent;
                self.loads.push(load);
                self.cut += cut;
            }
        }
    }

    /// Is the target still there, and is it time to say how it goes?
    fn look_around(&mut self) {
        let loading = matches!(self.phase, Phase::WarmUp | Phase::Measure);
        if loading && self.live.all_open() == 0 && self.live.scripts() == 0 {
            self.target_gone_ns.get_or_insert(self.clock.now_ns());
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.tell_watcher();
        }
    }

    fn tell_watcher(&mut self) {
        let now_ns = self.clock.now_ns();
        let clients = self.plan.clients();
        let done = match self.phase {
            Phase::Drain => clients.saturating_sub(self.live.all_open()),
            _ => self.live.connected(),
        };
        let total = match self.phase {
            Phase::Connect => Duration::ZERO,
            Phase::WarmUp => self.plan.run.warmup,
            Phase::Measure => self.plan.run.duration,
            Phase::Drain => self.plan.run.drain,
        };
        let snapshot = Snapshot {
            phase: self.phase,
            done,
            of: clients,
            open: self.live.all_open(),
            elapsed: Duration::from_nanos(now_ns - self.phase_began_ns),
            total,
            live: self.collector.live(),
            violations: self.judge.violation_count(),
        };
        (self.watch)(&snapshot, &self.collector);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_began_ns = self.clock.now_ns();
        self.told = self.told.checked_sub(TELL_EVERY).unwrap_or(self.told);
    }

    fn tell_shards(&self, command: Command) {
        for shard in &self.commands {
            let _ = shard.send(command); // a shard that has ended needs no telling
        }
    }

    /// Everything is in: the judgement and the figures.
    async fn conclude(mut self) -> Outcome {
        let elapsed = Duration::from_nanos(self.clock.now_ns());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let server = self
            .embedded
            .as_ref()
            .and_then(Embedded::pid)
            .and_then(process::use_of);
        let embedded = self.embedded.is_some();
        let mut faults = Vec::new();
        if let Some(embedded) = self.embedded.take() {
            faults = embedded.stop().await;
        }
        let Self {
            judge,
            mut collector,
            ..
        } = self;
        let findings = judge.finish(self.target_gone_ns.is_some(), |message| {
            collector.message(
                message.intended_ns,
                message.first_ns,
                message.last_ns,
                message.receivers,
            );
        });
        let open_loop = self
            .plan
            .groups
            .iter()
            .any(|g| matches!(g.load, Load::Open { .. }));
        let mut measured = collector.finish(open_loop.then_some(self.offered));
        measured.unsent = self.unsent;
        let mut inconclusive = Vec::new();
        if let Some(gone_ns) = self.target_gone_ns {
            inconclusive.push(format!(
                "the target went away {:.1} s into the run",
                gone_ns as f64 / 1e9
            ));
        }
        if self.cut > 0 {
            inconclusive.push(format!(
                "{} clients had not got to their end when the drain's {} were over; give \
                 run.drain more time",
                self.cut,
                humantime::format_duration(self.plan.run.drain)
            ));
        }
        for (client, what) in self.unreachable.iter().take(3) {
            let client = self.directory.client_name(*client);
            inconclusive.push(format!("{client} could not connect again: {what}"));
        }
        let health = Health::new(&measured, self.behind, self.loads);
        let used = process::own_use();
        Outcome {
            started: self.started,
            epoch: self.clock.instant(0),
            elapsed,
            target_url: self.url,
            embedded,
            clients: self.plan.clients(),
            connected: self.live.connected(),
            interrupted: self.interrupted,
            findings,
            measured,
            generator: ProcessUse {
                cpu: used.cpu.saturating_sub(self.used_before.cpu),
                max_rss_bytes: used.max_rss_bytes,
            },
            health,
            server,
            faults,
            inconclusive,
        }
    }
}

/// Tells this run's messages from every other's; not from the seed, which runs share.
fn run_id(started: SystemTime) -> u32 {
    let since = started
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let text = [
        since.as_nanos().to_le_bytes(),
        u128::from(std::process::id()).to_le_bytes(),
    ];
    crc32fast::hash(text.as_flattened())
}
