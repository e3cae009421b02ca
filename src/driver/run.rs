//! A run from beginning to end: start the target, connect, warm up and measure, drain, judge.

mod conclusion;
mod phases;

use std::future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior};

use super::barriers::Barriers;
use super::channel::{Command, Report, Totals};
use super::clock::{Clock, Time, ns};
use super::live::Live;
use super::outcome::{Interruption, Outcome, ProcessUse};
use super::preflight::{self, Shortage};
use super::process;
use super::roster;
use super::shard::Spec;
use super::snapshot::{Phase, Snapshot};
use super::thread::{run_shard, serve};
use crate::measure::{Collector, Window};
use crate::proxy::meddler::{Meddler, Task};
use crate::proxy::talk::Talk;
use crate::proxy::{Proxy, Served, Towards};
use crate::scenario::footprint::most_unacked;
use crate::scenario::plan::{Plan, Target, TargetUrl};
use crate::signals::Signals;
use crate::target::Secure;
use crate::target::embedded::Embedded;
use crate::target::host::Host;
use crate::target::{self, TargetError};
use crate::verify::directory::{ClientId, Directory};
use crate::verify::judge::{Judge, Settled};
use crate::verify::ledger::Terms;
use crate::verify::trace::Header;
use crate::verify::trace::file::Recording;
use crate::wire::line::{DEFAULT_MAX_LINE_BYTES, SERVER_EXTRA_BYTES};

/// How often the coordinator looks whether a phase is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often the watcher is told how it goes.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Reports that may wait for the coordinator, besides one per shard: with a full batch each, 40
/// MiB. A shard that finds the channel full waits, and the wait shows in its send lag.
const REPORTS_AT_ONCE: usize = 16;

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
        /// The error that it met.
        what: String,
    },
    /// A group's messages do not fit the longest line that the target takes.
    #[error(
        "{url}: a publish of {payload_bytes} bytes, as `{group}` sends them, makes a line of up to \
         {line_bytes} bytes, and the target takes {max_line_bytes} (`max_line` in its welcome): \
         lower clients.{group}.payload, or raise the target's limit"
    )]
    PayloadTooLong {
        /// The target.
        url: String,
        /// Whose payload it is.
        group: String,
        /// The size of its longest payload.
        payload_bytes: u32,
        /// The length of the line that it makes.
        line_bytes: u64,
        /// The limit that its welcome states.
        max_line_bytes: u64,
    },
    /// The system refused what a run needs.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A signal came before the first client began to connect.
    #[error("ended by {0} before the target was ready: nothing was run")]
    NotBegun(&'static str),
    /// A second signal came, and the results so far could not be collected within
    /// [`conclusion::HAND_IN_WITHIN`], or a third came.
    #[error("ended at once by a second signal: nothing of the run was judged")]
    Aborted,
}

/// Carries out `plan`, whose embedded target is the server of `program`, a chatbench binary.
/// `watch` is told ten times per second how it goes, with all that was recorded so far, and `trace`
/// takes down everything that verification is told.
///
/// The first SIGINT, SIGTERM or SIGHUP ends the load early: the run still drains, and its outcome
/// says that it was interrupted. The second ends the run at once, with the results so far.
///
/// # Errors
/// [`RunError`] if the load could not begin, or if nothing is to be known at once.
pub async fn run(
    plan: &Plan,
    program: &Path,
    trace: Option<&Recording>,
    watch: &mut dyn FnMut(&Snapshot, &Collector),
) -> Result<Outcome, RunError> {
    let setting = set_up(plan, program).await?;
    carry_out(plan, setting, trace, watch).await
}

/// As [`run`], by way of a proxy: it knows how the target talks, and commits the fault of `task`
/// once. Returns what the proxy did, too.
///
/// # Errors
/// As [`run`].
pub async fn run_by_proxy(
    plan: &Plan,
    program: &Path,
    talk: Arc<dyn Talk>,
    task: Option<Task>,
) -> Result<(Outcome, Served), RunError> {
    let mut setting = set_up(plan, program).await?;
    let meddler = Meddler::new(talk, setting.run, &plan.rooms, task);
    let towards = setting.hosts.iter().map(|host| Towards {
        addresses: host.addresses().to_vec(),
        net: host.net(),
    });
    let proxy = Proxy::start(towards.collect(), meddler)?;
    let by_proxy = setting.hosts.iter().zip(proxy.addresses());
    setting.hosts = by_proxy
        .map(|(host, proxy)| host.by_way_of(*proxy))
        .collect();
    let outcome = carry_out(plan, setting, None, &mut |_, _| {}).await;
    let served = proxy.stop();
    match (outcome, &served.trouble) {
        (Ok(outcome), _) => Ok((outcome, served)),
        // The proxy knows better than its clients why.
        (Err(RunError::Unreachable { url, client, .. }), Some(trouble)) => {
            let what = trouble.clone();
            Err(RunError::Unreachable { url, client, what })
        }
        (Err(error), _) => Err(error),
    }
}

/// Starts or finds the target.
async fn set_up(plan: &Plan, program: &Path) -> Result<Setting, RunError> {
    let mut signals = Signals::catch()?;
    let (hosts, url, embedded) = tokio::select! {
        ready = prepare(plan, program) => ready?,
        signal = signals.next() => return Err(RunError::NotBegun(signal)),
    };
    let started = SystemTime::now();
    Ok(Setting {
        addresses_known: are_known(&hosts),
        hosts,
        url,
        embedded,
        signals,
        time: Time::Real,
        started,
        run: run_id(started),
    })
}

/// Whether a client's address is to the target what it is to the client: nothing in between
/// translates it.
fn are_known(hosts: &[Host]) -> bool {
    let mut addresses = hosts.iter().flat_map(Host::addresses);
    addresses.all(|address| address.ip().is_loopback())
}

/// Carries out `plan` against a target in this process, in the time of the runtime that polls this,
/// with all shards as tasks of the calling thread. `signals` end it as they end any run. The same
/// `run`, which tells its messages from those of other runs, makes the same run again.
///
/// Must be polled within a [`tokio::task::LocalSet`], on a runtime whose time is paused.
///
/// # Errors
/// As [`run`].
pub async fn simulate(
    plan: &Plan,
    hosts: Vec<Host>,
    signals: Signals,
    run: u32,
    trace: Option<&Recording>,
    watch: &mut dyn FnMut(&Snapshot, &Collector),
) -> Result<Outcome, RunError> {
    let setting = Setting {
        addresses_known: are_known(&hosts),
        hosts,
        url: plan.target_url().to_owned(),
        embedded: None,
        signals,
        time: Time::Virtual,
        started: SystemTime::UNIX_EPOCH,
        run,
    };
    carry_out(plan, setting, trace, watch).await
}

/// Where and when a run takes place.
struct Setting {
    hosts: Vec<Host>,
    addresses_known: bool,
    url: String,
    embedded: Option<Embedded>,
    signals: Signals,
    time: Time,
    started: SystemTime,
    run: u32,
}

async fn carry_out(
    plan: &Plan,
    setting: Setting,
    trace: Option<&Recording>,
    watch: &mut dyn FnMut(&Snapshot, &Collector),
) -> Result<Outcome, RunError> {
    let mut coordinator = Coordinator::start(plan, setting, trace, watch)?;
    let result = coordinator.go_through_phases().await;
    match result {
        Ok(()) => coordinator.conclude().await,
        Err(RunError::Aborted) => coordinator.conclude_at_once().await,
        Err(error) => {
            // The shards' threads end when their commands do; whether they do so in time is of
            // no interest any more.
            if let Some(embedded) = coordinator.embedded.take() {
                embedded.stop().await;
            }
            Err(error)
        }
    }
}

/// Starts or resolves the target, and checks that there are enough resources to drive it.
async fn prepare(
    plan: &Plan,
    program: &Path,
) -> Result<(Vec<Host>, String, Option<Embedded>), RunError> {
    Ok(match &plan.target.url {
        TargetUrl::Embedded(protocol) => {
            preflight::check(plan, u64::from(plan.target.addresses))?;
            let Target {
                addresses, faults, ..
            } = &plan.target;
            let server = Embedded::start(program, *protocol, *addresses, faults, plan.seed).await?;
            let addresses = server.addresses().to_vec();
            let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            let hosts = addresses.into_iter().map(Host::from).collect();
            let url = format!("{protocol}://{}", list.join(","));
            (hosts, url, Some(server))
        }
        TargetUrl::Described(url) => {
            let hosts = target::resolve(&url.addresses, Secure::with(&plan.target)).await?;
            preflight::check(plan, hosts.len() as u64)?;
            (hosts, url.to_string(), None)
        }
        TargetUrl::At(url) => {
            let hosts = target::resolve(&url.addresses, Secure::with(&plan.target)).await?;
            preflight::check(plan, hosts.len() as u64)?;
            (hosts, url.to_string(), None)
        }
    })
}

/// The coordinator: it directs the shards and takes their reports.
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
    /// Empty where the shards are tasks of the coordinator's own thread.
    threads: Vec<thread::JoinHandle<std::io::Result<()>>>,
    reports: mpsc::Receiver<Report>,
    signals: Signals,
    look: tokio::time::Interval,
    told: Instant,
    phase: Phase,
    phase_began_ns: u64,
    window: Window,
    interrupted: Option<Interruption>,
    /// The time at which judging stops: later reports of the shards are not judged.
    judge_until_ns: u64,
    /// The time that the drain may take was used up.
    drain_over: bool,
    /// When the whole target went away.
    target_gone_ns: Option<u64>,
    unreachable: Vec<(ClientId, String)>,
    /// Scripts that could not go on, and why.
    stuck: Vec<(ClientId, String)>,
    /// Who heard that the target is another kind of server, and what it heard.
    foreign: Option<(ClientId, String)>,
    shards_done: usize,
    totals: Totals,
}

impl<'a> Coordinator<'a> {
    fn start(
        plan: &'a Plan,
        setting: Setting,
        trace: Option<&Recording>,
        watch: &'a mut dyn FnMut(&Snapshot, &Collector),
    ) -> Result<Self, RunError> {
        let Setting {
            hosts,
            addresses_known,
            url,
            embedded,
            signals,
            time,
            started,
            run,
        } = setting;
        let clock = Clock::start(time);
        let (names, members) = roster::deal(plan, trace.is_some());
        let shard_count = members.len();
        let clients = trace.map(|_| names.clone()).unwrap_or_default();
        let groups = roster::groups(&members);
        let directory = Directory::new(names).with_groups(groups);
        let by_room = roster::members_by_room(&members, plan.rooms.len());
        let directory = directory.with_rooms(plan.rooms.clone());
        let directory = directory.with_members(by_room);
        let by_room = roster::shards_by_room(plan, &members);
        let directory = directory.with_shards_by_room(&by_room);
        let directory = Arc::new(directory.with_shards(shard_count));
        let live = Arc::new(Live::default());
        let scripts = members
            .iter()
            .flatten()
            .filter(|m| m.script.is_some())
            .count();
        live.expect_scripts(scripts as u64);
        let late_after_ns = plan.promises.late_after.map(ns);
        let spoken = &plan.target.spoken;
        let terms = Terms {
            run,
            seed: plan.seed,
            late_after_ns,
            addresses_known,
            promises: plan.promises,
            capabilities: spoken.capabilities(),
        };
        let max_read_bytes = DEFAULT_MAX_LINE_BYTES + SERVER_EXTRA_BYTES;
        let mut judge = Judge::new(directory.clone(), shard_count, late_after_ns)
            .with_relays(plan.promises.relay);
        if let Some(trace) = trace {
            let rooms = directory.room_names().iter();
            trace.begin(&Header {
                rooms: rooms.map(|(_, name)| name.to_owned()).collect(),
                scenario: plan.name.clone(),
                target: url.clone(),
                terms,
                shards: shard_count as u16,
                clients,
            });
            judge.record_on(trace.judge());
        }
        let barriers = Arc::new(Barriers::of(&plan.groups));
        let hosts: Arc<[Host]> = hosts.into();
        let (report, reports) = mpsc::channel(REPORTS_AT_ONCE);
        let mut commands = Vec::new();
        let mut threads = Vec::new();
        for (index, members) in members.into_iter().enumerate() {
            let spec = Spec {
                index,
                members,
                hosts: hosts.clone(),
                connect_timeout: plan.target.connect_timeout,
                clock,
                most_unacked: most_unacked(plan),
                terms,
                spoken: spoken.clone(),
                path: plan.target.url.path().to_owned(),
                max_read_bytes,
                directory: directory.clone(),
                rooms: plan.rooms.clone(),
                live: live.clone(),
                barriers: barriers.clone(),
                tape: trace.map(|trace| trace.shard(index)),
            };
            let (command, receiver) = mpsc::unbounded_channel();
            let report = report.clone();
            commands.push(command);
            match time {
                Time::Real => {
                    let thread = thread::Builder::new().name(format!("shard-{index}"));
                    threads.push(thread.spawn(move || run_shard(spec, receiver, report))?);
                }
                Time::Virtual => drop(spawn_local(serve(spec, receiver, report))),
            }
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
            signals,
            look,
            told: Instant::now(),
            phase: Phase::Connect,
            phase_began_ns: 0,
            window: Window::NEVER,
            interrupted: None,
            judge_until_ns: u64::MAX,
            drain_over: false,
            target_gone_ns: None,
            unreachable: Vec::new(),
            stuck: Vec::new(),
            foreign: None,
            shards_done: 0,
            totals: Totals::default(),
        })
    }

    /// Handles the next event.
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
        // Rare events go first, so that an endless stream of reports does not starve them.
        tokio::select! {
            biased;
            signal = self.signals.next() => self.interrupt(signal)?,
            _ = child_ended => self.target_gone_ns = Some(self.clock.now_ns()),
            _ = self.look.tick() => {
                self.notice_target_gone();
                self.tell_watcher_in_turn();
            }
            Some(report) = self.reports.recv() => {
                self.take(report);
                if let Some((client, what)) = self.foreign.take() {
                    return Err(self.unreachable_by(client, what));
                }
            }
        }
        Ok(())
    }

    fn interrupt(&mut self, signal: &'static str) -> Result<(), RunError> {
        match &mut self.interrupted {
            Some(interruption) => {
                interruption.at_once = true;
                Err(RunError::Aborted)
            }
            None => {
                self.interrupted = Some(Interruption {
                    signal,
                    phase: self.phase,
                    at_once: false,
                });
                Ok(())
            }
        }
    }

    fn take(&mut self, report: Report) {
        let in_time = self.clock.now_ns() < self.judge_until_ns;
        let Self {
            judge, collector, ..
        } = self;
        match report {
            Report::Batch { shard, batch } => {
                let complete = |message: Settled| settled(collector, &message);
                match in_time {
                    true => judge.absorb(shard, *batch, complete),
                    false => judge.pass_over(shard, *batch, complete),
                }
            }
            Report::Interval {
                shard,
                second,
                interval,
                clients,
            } => {
                collector.absorb(shard, second, *interval, clients);
            }
            Report::Unreachable { client, what } => self.unreachable.push((client, what)),
            Report::Stuck { client, what } => self.stuck.push((client, what)),
            Report::Foreign { client, what } => self.foreign = Some((client, what)),
            Report::Done(totals) => {
                self.shards_done += 1;
                self.totals.add(totals);
            }
        }
    }

    /// Under load somebody is connected, or the target is gone.
    fn notice_target_gone(&mut self) {
        let loading = matches!(self.phase, Phase::WarmUp | Phase::Measure);
        let anybody = self.live.all_open() + self.live.scripts() + self.live.returning();
        if loading && anybody == 0 {
            self.target_gone_ns.get_or_insert(self.clock.now_ns());
        }
    }

    /// Tells the watcher ten times per second.
    fn tell_watcher_in_turn(&mut self) {
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
            rooms: self.plan.rooms.len() as u64,
            memberships: self.live.all_memberships(),
            elapsed: Duration::from_nanos(now_ns - self.phase_began_ns),
            total,
            live: self.collector.live(),
            violations: self.judge.violation_count(),
            interrupted: self.interrupted.is_some(),
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
}

/// Records a message about which everything is known.
fn settled(collector: &mut Collector, message: &Settled) {
    let Settled {
        room,
        intended_ns,
        first_ns,
        last_ns,
        receivers,
    } = *message;
    if room.is_named() && receivers == 0 {
        return collector.message_to_nobody(intended_ns);
    }
    collector.message(intended_ns, first_ns, last_ns, receivers);
}

/// A number that tells this run's messages from every other's. It does not depend on the seed,
/// which runs share.
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
