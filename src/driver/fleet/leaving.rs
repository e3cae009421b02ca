//! How connections of a fleet come to their end.

use super::Fleet;
use super::connection::Talk;
use super::reading::{Read, Tally};
use crate::driver::channel::Totals;
use crate::driver::member::Rank;
use crate::verify::ledger::Ending;

impl Fleet {
    /// The clients of `rank` leave politely.
    pub(in crate::driver) fn leave_all(&mut self, rank: Rank) {
        for client in 0..self.clients.len() {
            if self.clients[client].rank == rank {
                self.leave(client);
            }
        }
    }

    /// `client` leaves politely: half-closes once everything is sent; the target's bye ends it.
    pub(in crate::driver) fn leave(&mut self, client: usize) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        if connection.leaving {
            return;
        }
        connection.leaving = true;
        connection.set_paused(false);
        let now_ns = self.clock.now_ns();
        self.ledger.leaving(connection.handle, now_ns);
        if connection.unsent.is_empty() {
            connection.half_close();
        }
    }

    /// `client` is gone the moment this returns: reset (`abort`) or plainly closed.
    pub(in crate::driver) fn let_go(&mut self, client: usize, abort: bool) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        self.ledger.letting_go(connection.handle);
        if abort {
            connection.reset_when_closed();
        }
        self.ended(client, Ending::Ours);
    }

    /// The connection of `client` is over.
    pub(super) fn ended(&mut self, client: usize, ending: Ending) -> Read {
        let now_ns = self.clock.now_ns();
        let one = &mut self.clients[client];
        if let Some(mut connection) = one.connection.take() {
            let behind = connection.may_be_slow(now_ns);
            let unread = match &mut connection.talk {
                Talk::Ndjson(lines) => lines.pending(),
                Talk::Classic { texts, .. } => {
                    // What could have been the beginning of something longer is what it is.
                    let mut pieces = texts.finish();
                    let mut tally = Tally::of_group(one.group);
                    while let Some(event) =
                        self.ledger
                            .next_text(connection.handle, &mut pieces, now_ns)
                    {
                        tally.take(event, &mut self.recorder, None, now_ns);
                    }
                    &[]
                }
            };
            if behind {
                self.ledger.fell_behind(connection.handle);
            }
            self.ledger.ended(connection.handle, ending, unread, now_ns);
            if ending == Ending::Ours {
                connection.abort_reader();
            }
            if connection.welcomed {
                self.live.closed(one.rank);
            }
            if let Some(inbox) = &one.inbox {
                inbox.news.notify_one();
            }
        }
        Read::Ended(ending)
    }

    /// Clients that have left, and whose connections the target has not ended.
    fn leaving(&self) -> u64 {
        let connections = self.clients.iter().filter_map(|c| c.connection.as_ref());
        connections.filter(|connection| connection.leaving).count() as u64
    }

    /// The time is up: what is still connected is cut. Returns how many that were.
    fn cut_all(&mut self) -> u64 {
        let now_ns = self.clock.now_ns();
        for client in &self.clients {
            if let Some(connection) = &client.connection {
                let heard_all = connection.unread_bytes() == Some(0);
                self.ledger.time_up(connection.handle, heard_all, now_ns);
            }
        }
        let mut cut = 0;
        for client in 0..self.clients.len() {
            if self.is_connected(client) {
                self.ended(client, Ending::TimeUp);
                cut += 1;
            }
        }
        cut
    }

    /// The run is over: cuts what is still connected. What was counted.
    pub(in crate::driver) fn end(&mut self) -> Totals {
        let longest_pause_ns = self.pulse.longest_pause_ns(self.clock.now_ns());
        let unanswered = self.leaving();
        Totals {
            cut: self.cut_all(),
            unanswered,
            heard_ns: self.heard_ns,
            loads: vec![self.pulse.load()],
            longest_pause_ns,
            ..std::mem::take(&mut self.totals)
        }
    }
}
