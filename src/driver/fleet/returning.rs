//! Clients that connect again after the target has closed their connections, where its protocol says
//! that it may.

use std::cmp::Reverse;

use super::Fleet;
use crate::driver::member::Rank;
use crate::verify::ledger::Ending;

impl Fleet {
    /// Whether the target may end the connection of `client` so, which did not want it to end.
    pub(super) fn may_be_closed(&self, client: usize, ending: Ending) -> bool {
        let closed = matches!(ending, Ending::Eof | Ending::Broken);
        let stays = |c: &super::Connection| c.welcomed && !c.leaving;
        let stays = self.clients[client].connection.as_ref().is_some_and(stays);
        closed && stays && self.has_tries_left(client)
    }

    fn has_tries_left(&self, client: usize) -> bool {
        let reconnect = self.speech.spoken.reconnect();
        reconnect.is_some_and(|reconnect| self.clients[client].returns < reconnect.at_most)
    }

    /// Whether `client` may set out to connect once more. One with a script goes on by that.
    pub(in crate::driver) fn may_return(&self, client: usize) -> bool {
        let is_scripted = self.clients[client].rank == Rank::Scripted;
        !is_scripted && !self.load_over && self.has_tries_left(client)
    }

    /// `client` sets out to connect once more.
    pub(in crate::driver) fn sets_out(&mut self, client: usize) {
        self.clients[client].returns += 1;
    }

    /// `client` is to connect again.
    pub(super) fn is_gone(&mut self, client: usize) {
        self.live.returns();
        self.returning.push(client);
        self.wake_returning.notify_one();
    }

    /// The clients that are to connect again, since the last call.
    pub(in crate::driver) fn take_returning(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.returning)
    }

    /// `client` is connected again, or gave up. What was due while it was gone is not sent, since
    /// nobody was there to send it.
    pub(in crate::driver) fn returned(&mut self, client: usize) {
        self.live.has_returned();
        if !self.is_connected(client) {
            return;
        }
        self.totals.reconnected += 1;
        let now_ns = self.clock.now_ns();
        let window = self.window;
        let source = &mut self.clients[client].source;
        source.count_due_before(window.start_ns.min(now_ns));
        let missed = source.count_due_before(now_ns);
        self.totals.offered += missed;
        self.totals.unsent += missed;
        self.totals.cut_off += missed;
        let is_queued = |&Reverse((_, other)): &Reverse<(u64, u32)>| other == client as u32;
        match self.clients[client].source.due_ns() {
            None => self.fill_window(client, now_ns),
            Some(due_ns) if !self.due.iter().any(is_queued) => {
                self.due.push(Reverse((due_ns, client as u32)));
                self.wake_pacer.notify_one();
            }
            Some(_) => {}
        }
    }
}
