//! Deliveries and acks that had not come when the run stopped listening, and a lower bound on their
//! lateness.
//!
//! A run ends at some moment, whether the target has finished or not. The deliveries that it still
//! owes then have no latency, but a known lower bound of one: from the send to that moment.
//! Statistics calls such a sample right-censored.
//!
//! As its sessions are cut, a ledger reports which of them were still listening and which messages
//! had no answer. The [`Judge`](super::judge::Judge) combines the reports, since a message that one
//! shard sent is owed to the sessions of all.

use std::collections::BTreeMap;

use super::batch::Message;
use chatbench_wire::payload::SenderId;

/// A message of which something was certainly owed, and had not come when the run stopped
/// listening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// When it was due.
    pub intended_ns: u64,
    /// When its first receiver got it, if one did.
    pub first_ns: Option<u64>,
    /// Its sender, if that waited for the ack.
    pub ack: Option<Waiting>,
    /// The clients that waited for the relay.
    pub relays: Vec<Waiting>,
}

/// Clients of one group that waited for the same message until the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The place of their latencies (`measure::group::place`).
    pub group: usize,
    /// Their number.
    pub clients: u64,
    /// Until when they waited: the end of the run, or when they left themselves.
    pub until_ns: u64,
}

/// A ledger's report, handed over as its sessions are cut.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) listeners: Vec<Listener>,
    pub(super) unanswered: Vec<Unanswered>,
    pub(super) passed_over: Vec<PassedOver>,
}

/// A session that was still reading, and was owed whatever the target took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    pub(super) session: SenderId,
    pub(super) group: usize,
    /// The first number that it had not got, where the target states numbers.
    pub(super) next: u64,
    /// By when it had joined: a moment such as [`Unanswered::sent_at`].
    pub(super) joined_at: u64,
    /// Until when it waited: the end of the run, or when it left.
    pub(super) until_ns: u64,
}

/// A message that was sent over a connection that stood to the end, and was not acked, or is not
/// known to have been received by anybody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unanswered {
    pub(super) message: Message,
    /// Its sender's group.
    pub(super) group: usize,
    pub(super) intended_ns: u64,
    pub(super) sent_ns: u64,
    /// When it was sent: a time, or a place in the ledger's own order of events.
    pub(super) sent_at: u64,
    /// Until when its sender waited for the ack; `None` if it got it, or is owed none.
    pub(super) ack_until_ns: Option<u64>,
    /// Nobody is known to have got it: it is owed to all who had joined, unless its number is
    /// known and says more.
    pub(super) to_all: bool,
}

/// A message of a target that states no numbers, and the listeners that were owed it for certain
/// and had not got it, though others had, or its sender the ack.
#[derive(Debug)]
pub(super) struct PassedOver {
    pub(super) message: Message,
    pub(super) intended_ns: u64,
    pub(super) sent_ns: u64,
    pub(super) first_ns: Option<u64>,
    pub(super) crowds: Crowds,
}

/// The class of listeners that are counted together: their group, and until when they waited.
pub(super) type Class = (usize, u64);

/// Listeners that waited for the same message.
pub(super) type Crowds = BTreeMap<Class, Crowd>;

/// Listeners of one class.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd {
    pub(super) clients: u64,
    /// The two that joined first, with when: so at least one of them is not the sender.
    pub(super) first: Vec<(u64, SenderId)>,
}

impl Listener {
    pub(super) const fn class(&self) -> Class {
        (self.group, self.until_ns)
    }
}

impl PassedOver {
    /// The same message, as the listeners of another shard waited for it.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.first_ns = [self.first_ns, other.first_ns].into_iter().flatten().min();
        for (class, others) in other.crowds {
            let crowd = self.crowds.entry(class).or_default();
            crowd.clients += others.clients;
            crowd.first.extend(others.first);
            crowd.first.sort_unstable();
            crowd.first.truncate(2);
        }
        self
    }
}

impl Crowd {
    pub(super) fn add(&mut self, listener: &Listener) {
        self.clients += 1;
        self.first.push((listener.joined_at, listener.session));
        self.first.sort_unstable();
        self.first.truncate(2);
    }

    /// All of them but `sender`, who is one of them.
    pub(super) fn without(&self, sender: SenderId) -> Self {
        let mut first = self.first.clone();
        first.retain(|&(_, one)| one != sender);
        Self {
            clients: self.clients.saturating_sub(1),
            first,
        }
    }
}

/// The time at which a session that left before the end is taken to have left: a little early, so
/// that few moments have to be told apart.
pub(super) const fn rounded_down(left_ns: u64) -> u64 {
    const STEP_NS: u64 = 10_000_000;
    left_ns / STEP_NS * STEP_NS
}
