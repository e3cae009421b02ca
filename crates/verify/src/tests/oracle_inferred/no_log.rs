//! Where no log is promised: each receiver has an order of its own, and a message is owed to who
//! was there before it was sent, or had an earlier one of its sender, and was there after it was
//! taken, or had a later one of its sender.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Id, Session};
use crate::kind::Kind;
use crate::promises::OrderPromise;
use chatbench_wire::protocol::Protocol;

impl Case<'_> {
    pub(super) fn without_a_log(&mut self) {
        self.order();
        let sessions = 0..self.sessions.len();
        let ids = || self.taken.keys().copied();
        let owed = sessions.map(|index| ids().filter(|id| self.is_owed(index, *id)).collect());
        let owed: Vec<Vec<Id>> = owed.collect();
        let sent: BTreeMap<Id, usize> = ids().map(|id| (id, self.sent_at(id))).collect();
        self.missing(owed, |_, id, excuse| sent[id] < excuse.at);
    }

    fn sent_at(&self, id: Id) -> usize {
        let sender = self.sessions.iter().find(|s| s.life == id.life).unwrap();
        sender.sent[&id.k].0
    }

    /// S4, S8: nobody got a message before what it comes behind.
    fn order(&mut self) {
        if !self.is_fifo() {
            return;
        }
        let overtaken = |got: &super::Got| {
            let mut after = got.messages.iter().enumerate();
            after.any(|(at, (_, one))| {
                let mut before = got.messages[..at].iter();
                before.any(|(_, other)| other.life == one.life && other.k > one.k)
            })
        };
        let reordered = self.got.iter().filter(|got| overtaken(got)).count();
        self.add(Kind::ReorderedRelay, reordered);
        if self.promises.order == OrderPromise::Causal && reordered == 0 {
            let causes = self.causes();
            let too_early = self.got.iter().filter(|got| {
                let mut after = got.messages.iter().enumerate();
                after.any(|(at, (_, one))| {
                    let mut before = got.messages[..at].iter();
                    before.any(|(_, other)| causes[other].contains(one))
                })
            });
            let too_early = too_early.count();
            self.add(Kind::Causality, too_early);
        }
    }

    /// By message: what its sender had got, or sent, when it sent it, and what that comes behind.
    fn causes(&self) -> BTreeMap<Id, BTreeSet<Id>> {
        let mut sent: Vec<(usize, Id)> = Vec::new();
        for session in self.sessions {
            let life = session.life;
            sent.extend(
                session
                    .sent
                    .iter()
                    .map(|(&k, &(at, _))| (at, Id { life, k })),
            );
        }
        sent.sort_unstable();
        let mut causes: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
        for (sent_at, id) in sent {
            let index = self
                .sessions
                .iter()
                .position(|s| s.life == id.life)
                .unwrap();
            let had = self.got[index].messages.iter();
            let had = had.filter(|(at, _)| *at < sent_at).map(|(_, m)| *m);
            let direct: BTreeSet<Id> = had.chain((1..id.k).map(|k| Id { k, ..id })).collect();
            let further = direct.iter().flat_map(|cause| &causes[cause]);
            let all = further.chain(&direct).copied().collect();
            causes.insert(id, all);
        }
        causes
    }

    fn is_owed(&self, index: usize, id: Id) -> bool {
        let (session, got) = (&self.sessions[index], &self.got[index]);
        if !self.is_for(session, id) {
            return false;
        }
        let sender = self.sessions.iter().find(|s| s.life == id.life).unwrap();
        let of_sender = || {
            let all = got.messages.iter().filter(|_| self.is_fifo());
            all.filter(|(_, m)| m.life == id.life)
        };
        // A classic target takes connections in the order in which they were made.
        let in_turn = |other: &Session| {
            self.dialect == Protocol::Classic && session.connected < other.connected
        };
        let all = self.sessions.iter().zip(&self.got);
        let joined = all.filter(|(other, _)| other.life == session.life || in_turn(other));
        let joined = joined.filter_map(|(_, got)| got.joined_before).min();
        let sent_at = self.sent_at(id);
        let before = id.life == session.life
            || in_turn(sender)
            || joined.is_some_and(|joined| joined <= sent_at)
            || of_sender().any(|(_, m)| m.k < id.k);
        let left = session.left.filter(|_| got.answered.is_some());
        let after = left.is_some_and(|left| id.life == session.life || self.taken[&id] <= left)
            || of_sender().any(|(_, m)| m.k > id.k);
        before && after
    }
}
