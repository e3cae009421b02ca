//! A lower bound on the lateness of messages that had not come when the run stopped listening.
//!
//! How much is certain of a message depends on what is known of it:
//!
//! - Its number is known, because it was acked or somebody got it: it is owed to every session that
//!   was still reading and had not come to that number.
//! - Nothing is known. It was sent in order, over a connection that stood to the end, so the target
//!   has to take it, and will give it a number above that of every welcome that came before it was
//!   sent: it is owed to every session that was welcomed by then and was still reading. Whether
//!   the target took it and kept silent, or never read it: it is at least so late.
//!
//! A session that left of its own accord waited until it left. Nothing is held against the target
//! that a session may have failed to read: bytes lay in its socket, its script had stopped reading,
//! or a line could not be read.

use std::collections::{BTreeMap, HashMap};

use super::known::Record;
use super::{NO_NUMBER, RoomJudge};
use crate::batch::Message;
use crate::outstanding::{
    Class, Crowd, Crowds, Cut, Listener, Outstanding, PassedOver, Unanswered, Waiting,
};
use crate::promises::RelayPromise;
use crate::violation::Evidence;
use chatbench_wire::payload::SenderId;

/// The sessions that were still listening at the end, and the messages that had no answer.
#[derive(Debug, Default)]
pub(super) struct Ends {
    listeners: HashMap<SenderId, Listener>,
    /// Listeners that have got the number that is being settled, by the first number that they have
    /// not got.
    coming: BTreeMap<u64, Vec<SenderId>>,
    /// Listeners that have not got it.
    behind: Crowds,
    unanswered: BTreeMap<Message, Unanswered>,
}

/// A message, and what is known of it.
#[derive(Debug, Clone, Copy)]
struct Known {
    message: Message,
    seq: u64,
    intended_ns: u64,
    /// When it was really sent, if that is known.
    sent_ns: Option<u64>,
    first_ns: Option<u64>,
}

impl Ends {
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.unanswered.is_empty()
    }

    /// Moves the sessions that had not got number `seq` from `coming` to `behind`.
    fn come_to(&mut self, seq: u64) {
        while let Some(entry) = self.coming.first_entry()
            && *entry.key() <= seq
        {
            for session in entry.remove() {
                let listener = &self.listeners[&session];
                let crowd = self.behind.entry(listener.class()).or_default();
                crowd.add(listener);
            }
        }
    }
}

impl RoomJudge {
    /// The sessions of a shard are cut. If the order is inferred on several shards (`is_shared`),
    /// others may have listeners that wait for the same messages.
    pub(super) fn cut(&mut self, cut: Cut, is_shared: bool) {
        for listener in cut.listeners {
            let session = listener.session;
            let coming = self.ends.coming.entry(listener.next).or_default();
            coming.push(session);
            self.ends.listeners.insert(session, listener);
        }
        for unanswered in cut.unanswered {
            self.ends.unanswered.insert(unanswered.message, unanswered);
        }
        for passed in cut.passed_over {
            match is_shared {
                true => self.parts.passed_over(passed),
                false => self.passed_over(&passed),
            }
        }
    }

    /// A message that has a place in the order, and its listeners that waited for it.
    pub(super) fn passed_over(&mut self, passed: &PassedOver) {
        let known = Known {
            message: passed.message,
            seq: NO_NUMBER,
            intended_ns: passed.intended_ns,
            sent_ns: Some(passed.sent_ns),
            first_ns: passed.first_ns,
        };
        self.outstanding_message(known, &passed.crowds);
    }

    /// Number `seq` is settled. Returns whether somebody was still waiting for its relay.
    pub(super) fn settle_outstanding(&mut self, seq: u64, record: &Record) -> bool {
        if self.ends.is_empty() {
            return false;
        }
        self.ends.come_to(seq);
        let Some(message) = record.known().map(|known| known.message) else {
            return false;
        };
        let mut crowds = self.ends.behind.clone();
        if let Some(listener) = self.ends.listeners.get(&message.sender)
            && listener.next <= seq
            && let Some(crowd) = crowds.get_mut(&listener.class())
        {
            *crowd = crowd.without(message.sender); // it is owed the ack alone
        }
        let (acked, relayed) = (record.acked, record.relayed);
        let unanswered = self.ends.unanswered.get(&message);
        let sent_ns = acked.map(|acked| acked.sent_ns);
        let intended_ns = relayed.map(|relayed| relayed.intended_ns);
        let known = Known {
            message,
            seq,
            intended_ns: intended_ns.or(acked.map(|a| a.intended_ns)).unwrap_or(0),
            sent_ns: sent_ns.or(unanswered.map(|unanswered| unanswered.sent_ns)),
            first_ns: relayed.map(|relayed| relayed.first_ns),
        };
        self.outstanding_message(known, &crowds)
    }

    /// Everything is settled: nothing more is known of the messages that are left without an
    /// answer.
    pub(super) fn judge_unanswered(&mut self) {
        let mut joined: BTreeMap<Class, Vec<(u64, SenderId)>> = BTreeMap::new();
        for listener in self.ends.listeners.values() {
            let joined = joined.entry(listener.class()).or_default();
            joined.push((listener.joined_at, listener.session));
        }
        joined
            .values_mut()
            .for_each(|sessions| sessions.sort_unstable());
        let unanswered: Vec<Unanswered> = self.ends.unanswered.values().copied().collect();
        for one in unanswered {
            let sender = one.message.sender;
            let its_class = self.ends.listeners.get(&sender).map(Listener::class);
            // Messages that were settled before, without their acks, came to those that were to get
            // them, or are lost.
            let track = self.senders.get(&sender);
            let to_all = one.to_all && !track.is_some_and(|t| t.has_come_to(one.message.k));
            let mut crowds = Crowds::new();
            for (&class, sessions) in joined.iter().filter(|_| to_all) {
                let there = sessions.partition_point(|(at, _)| *at <= one.sent_at);
                let crowd = Crowd {
                    clients: there as u64,
                    first: sessions[..there].iter().copied().take(2).collect(),
                };
                let crowd = match its_class == Some(class) {
                    true => crowd.without(sender),
                    false => crowd,
                };
                crowds.insert(class, crowd);
            }
            let known = Known {
                message: one.message,
                seq: NO_NUMBER,
                intended_ns: one.intended_ns,
                sent_ns: Some(one.sent_ns),
                first_ns: None,
            };
            self.outstanding_message(known, &crowds);
        }
    }

    /// Records the sessions that waited for a message, and reports the target where it is certainly
    /// late. Returns whether anybody waited for its relay.
    fn outstanding_message(&mut self, known: Known, crowds: &Crowds) -> bool {
        let owed = self.relay != RelayPromise::AtMostOnce;
        let waiting = crowds.iter().filter(|&(&(_, until_ns), crowd)| {
            // Sessions that left before the message was due were not waiting for it.
            owed && !crowd.first.is_empty() && until_ns > known.intended_ns
        });
        let relays: Vec<Waiting> = waiting
            .clone()
            .map(|(&(group, until_ns), crowd)| Waiting {
                group,
                clients: crowd.clients,
                until_ns,
            })
            .collect();
        self.late_at_least(known, waiting);
        let unanswered = self.ends.unanswered.remove(&known.message);
        let ack = unanswered.and_then(|one| {
            Some(Waiting {
                group: one.group,
                clients: 1,
                until_ns: one.ack_until_ns?,
            })
        });
        let waited = !relays.is_empty();
        if waited || ack.is_some() {
            self.outstanding.push(Outstanding {
                intended_ns: known.intended_ns,
                first_ns: known.first_ns,
                ack,
                relays,
            });
        }
        waited
    }

    /// Reports messages that are late already, whenever they may still come.
    fn late_at_least<'a>(
        &mut self,
        known: Known,
        waiting: impl Iterator<Item = (&'a Class, &'a Crowd)>,
    ) {
        let Some((sent_ns, limit_ns)) = known.sent_ns.zip(self.late_after_ns) else {
            return;
        };
        let from_ns = sent_ns.max(known.intended_ns);
        let late = waiting.filter(|((_, until_ns), _)| until_ns.saturating_sub(from_ns) > limit_ns);
        let mut clients = 0;
        let mut least_ns = u64::MAX;
        let mut first = (u64::MAX, known.message.sender);
        for (&(_, until_ns), crowd) in late {
            clients += crowd.clients;
            least_ns = least_ns.min(until_ns - from_ns);
            first = first.min(crowd.first[0]);
        }
        if clients == 0 {
            return;
        }
        let awaited = Evidence::StillAwaited {
            others: clients - 1,
            waited_ns: least_ns,
            limit_ns,
        };
        let (receiver, message) = (Some(first.1), Some(known.message));
        let at_ns = from_ns + limit_ns;
        let violation = self.violation(awaited, receiver, message, Some(known.seq), at_ns);
        self.found.add_many(clients, violation);
    }
}
