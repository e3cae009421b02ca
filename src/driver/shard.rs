//! The state that the tasks of a shard share: one thread's part of the clients, and how to reach
//! the target and the coordinator.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt::Display;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use super::barriers::Barriers;
use super::channel::Report;
use super::clock::{Clock, ns};
use super::fleet::{ConnId, Fleet, Speech};
use super::live::Live;
use super::member::{Member, Script};
use crate::target::host::Host;
use crate::verify::directory::{ClientId, Directory};
use crate::verify::ledger::{Ledger, Terms};
use crate::verify::trace::Writing;
use crate::wire::protocol::Spoken;
use crate::wire::rooms::RoomNames;

/// Everything a shard needs to begin.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) index: usize,
    pub(super) members: Vec<Member>,
    /// Dialled in turn.
    pub(super) hosts: Arc<[Host]>,
    pub(super) connect_timeout: Duration,
    pub(super) clock: Clock,
    /// The number of unacked messages of one client at which it waits.
    pub(super) most_unacked: u64,
    pub(super) terms: Terms,
    /// What is spoken with the target.
    pub(super) spoken: Spoken,
    /// The path in the target's URL.
    pub(super) path: String,
    /// The longest frame that a client reads, in bytes.
    pub(super) max_read_bytes: usize,
    pub(super) directory: Arc<Directory>,
    pub(super) rooms: Arc<RoomNames>,
    pub(super) live: Arc<Live>,
    pub(super) barriers: Arc<Barriers>,
    /// Where its observations are recorded.
    pub(super) tape: Option<Writing>,
}

/// The state that the tasks of a shard share.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) clock: Clock,
    hosts: Arc<[Host]>,
    pub(super) connect_timeout: Duration,
    pub(super) barriers: Arc<Barriers>,
    pub(super) spoken: Spoken,
    pub(super) rooms: Arc<RoomNames>,
    /// The target has said something to any client of this shard.
    pub(super) heard: Cell<bool>,
    /// Whether senders end with a fence: the target states no order, or its numbers are not to be
    /// trusted.
    fences: bool,
    /// Its place among the shards.
    pub(super) index: usize,
    fleet: RefCell<Fleet>,
    /// Of each client.
    scripts: Vec<Option<Script>>,
    connect_after: Vec<Duration>,
    load_ends: Notify,
    reports: mpsc::Sender<Report>,
}

impl Shard {
    /// The shard of `spec`, which tells `reports`.
    pub(super) fn new(spec: Spec, reports: mpsc::Sender<Report>) -> Rc<Self> {
        let Spec { terms, clock, .. } = spec;
        let mut ledger = Ledger::of_shard(spec.index, terms, spec.directory.clone());
        if let Some(tape) = spec.tape {
            ledger.record_on(tape);
        }
        let mut members = spec.members;
        let scripts = members.iter_mut().map(|m| m.script.take()).collect();
        let connect_after = members.iter().map(|m| m.connect_after).collect();
        let fleet = Fleet::new(
            members,
            clock,
            &terms,
            ledger,
            spec.live,
            spec.most_unacked as usize,
            Speech {
                spoken: spec.spoken.clone(),
                path: spec.path,
                directory: spec.directory,
                max_read_bytes: spec.max_read_bytes,
                rooms: spec.rooms.clone(),
            },
        );
        Rc::new(Self {
            clock,
            hosts: spec.hosts,
            connect_timeout: spec.connect_timeout,
            barriers: spec.barriers,
            spoken: spec.spoken,
            rooms: spec.rooms,
            heard: Cell::default(),
            fences: !terms.promises.use_seq,
            index: spec.index,
            fleet: RefCell::new(fleet),
            scripts,
            connect_after,
            load_ends: Notify::new(),
            reports,
        })
    }

    /// The fleet, for as long as the caller does not wait.
    pub(super) fn fleet(&self) -> RefMut<'_, Fleet> {
        self.fleet.borrow_mut()
    }

    /// Where `client` connects: clients are spread evenly over the hosts, since each host has
    /// ephemeral ports of its own to connect from.
    pub(super) fn host_for(&self, client: usize) -> &Host {
        let ClientId(id) = self.fleet().id_of(client);
        &self.hosts[id as usize % self.hosts.len()]
    }

    // These are methods of their own because a `fleet()` borrow inside a longer condition lives
    // until its end, and another part of the condition may borrow the fleet as well.

    /// Whether `client` has a connection.
    pub(super) fn is_connected(&self, client: usize) -> bool {
        self.fleet().is_connected(client)
    }

    /// Whether `client` may set out to connect once more.
    pub(super) fn may_return(&self, client: usize) -> bool {
        self.fleet().may_return(client)
    }

    /// Whether `id` was taken in.
    pub(super) fn is_welcomed(&self, id: ConnId) -> bool {
        self.fleet().is_welcomed(id)
    }

    /// Whether the load is over.
    pub(super) fn load_over(&self) -> bool {
        self.fleet().is_load_over()
    }

    /// The script of `client`, if it has one.
    pub(super) fn script(&self, client: usize) -> Option<&Script> {
        self.scripts[client].as_ref()
    }

    /// When `client` connects, after its phase began.
    pub(super) fn connect_after(&self, client: usize) -> Duration {
        self.connect_after[client]
    }

    /// How many clients there are.
    pub(super) fn clients(&self) -> usize {
        self.scripts.len()
    }

    /// The load ended at `end_ns`: whoever waits for that goes on.
    pub(super) fn end_load(&self, end_ns: u64) {
        self.fleet()
            .end_load(end_ns, self.clock.now_ns(), self.fences);
        self.load_ends.notify_waiters();
    }

    /// Returns when the load is over.
    pub(super) async fn load_ends(&self) {
        let ended = self.load_ends.notified();
        if !self.load_over() {
            ended.await;
        }
    }

    /// The output of `future`, if it completes within `limit`. Time in which this shard's thread
    /// did not run does not count: the awaited event may have come, and nobody looked.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let began_ns = self.clock.now_ns();
        let still_before_ns = self.fleet().stood_still_ns();
        loop {
            let still_ns = self.fleet().stood_still_ns() - still_before_ns;
            let until_ns = began_ns.saturating_add(ns(limit)).saturating_add(still_ns);
            let until = self.clock.instant(until_ns);
            if let Ok(come) = timeout_at(until, future.as_mut()).await {
                return Some(come);
            }
            if self.fleet().stood_still_ns() - still_before_ns == still_ns {
                return None;
            }
        }
    }

    /// A duration for `client`, drawn evenly from `min` to `max`.
    pub(super) fn draw(&self, client: usize, min: Duration, max: Duration) -> Duration {
        self.fleet().draw_pause(client, min, max)
    }

    /// A scripted client cannot go on.
    pub(super) fn trouble(&self, client: usize, what: &dyn Display) {
        let client = self.fleet().id_of(client);
        self.tell(Report::Unreachable {
            client,
            what: what.to_string(),
        });
    }

    /// A script cannot go on, through no fault of the target.
    pub(super) fn stuck(&self, client: usize, what: String) {
        let client = self.fleet().id_of(client);
        self.tell(Report::Stuck { client, what });
    }

    /// The target is another kind of server.
    pub(super) fn foreign(&self, client: usize, what: &dyn Display) {
        let client = self.fleet().id_of(client);
        self.tell(Report::Foreign {
            client,
            what: what.to_string(),
        });
    }

    /// Tells the coordinator, and waits while it is behind.
    pub(super) async fn report(&self, report: Report) {
        let _ = self.reports.send(report).await; // it may have ended
    }

    /// The same without waiting: where the coordinator is behind it hears of it later.
    fn tell(&self, report: Report) {
        let reports = self.reports.clone();
        spawn_local(async move {
            let _ = reports.send(report).await;
        });
    }
}
