//! How connections of a fleet come to their end.

use super::Fleet;
use super::reading::{Read, Tally, Told};
use crate::driver::channel::Totals;
use crate::driver::member::Rank;
use crate::verify::ledger::Ending;
use crate::wire::seen::{Conn, Goodbye};

impl Fleet {
    /// The clients of `rank` leave politely.
    pub(in crate::driver) fn leave_all(&mut self, rank: Rank) {
        for client in 0..self.clients.len() {
            if self.clients[client].rank == rank {
                self.leave(client);
            }
        }
    }

    /// `client` leaves politely once everything is sent; the target's bye ends it.
    pub(in crate::driver) fn leave(&mut self, client: usize) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        if connection.leaving {
            return;
        }
        connection.leaves_when_acked = !connection.conn.is_answered_after_goodbye()
            && self.ledger.unacked(connection.handle) > 0;
        if connection.leaves_when_acked {
            return; // what was read calls again
        }
        connection.leaving = true;
        connection.set_paused(false);
        let now_ns = self.clock.now_ns();
        self.ledger.leaving(connection.handle, now_ns);
        connection.half_close = connection.conn.close(&mut self.out) == Goodbye::HalfClose;
        self.write_out(client);
        let connection = self.clients[client].connection.as_mut();
        if let Some(connection) = connection.filter(|c| c.half_close && c.unsent.is_empty()) {
            connection.stream.half_close();
        }
    }

    /// `client` is gone the moment this returns: reset (`abort`) or plainly closed.
    pub(in crate::driver) fn let_go(&mut self, client: usize, abort: bool) {
        let Some(connection) = &mut self.clients[client].connection else {
            return;
        };
        self.ledger.letting_go(connection.handle);
        if abort {
            connection.stream.reset_when_closed();
        }
        self.ended(client, Ending::Ours);
    }

    /// The connection of `client` is over.
    pub(super) fn ended(&mut self, client: usize, ending: Ending) -> Read {
        let now_ns = self.clock.now_ns();
        let may_be_closed = self.may_be_closed(client, ending);
        let returns = may_be_closed && self.may_return(client);
        let one = &mut self.clients[client];
        if let Some(mut connection) = one.connection.take() {
            if may_be_closed {
                self.ledger.may_close(connection.handle);
            }
            if !connection.welcomed && !connection.leaving {
                // The end may be what shows why: the rest of a refused handshake has come.
                while connection.conn.finish().is_some() {}
                self.last_words = connection.conn.trouble().map(|why| (connection.id, why));
            }
            let behind = connection.may_be_slow(now_ns);
            let handle = connection.handle;
            let mut tally = Tally::of_group(one.group);
            if ending == Ending::Eof && connection.leaving {
                // An unfinished frame counts as complete if the target ended the stream in answer
                // to a half-close. Any other end may have cut it short.
                let mut told = Told {
                    recorder: &mut self.recorder,
                    window: self.window,
                    by_room: &mut self.by_room,
                    rooms: &mut connection.rooms,
                    script: None,
                    now_ns,
                };
                let conn = &mut connection.conn;
                self.ledger.finish(handle, conn, now_ns, |room, event| {
                    tally.take(room, event, &mut told);
                });
                self.live.memberships(tally.memberships);
            }
            self.live.memberships(-(connection.rooms.count() as i64));
            if behind {
                self.ledger.fell_behind(handle);
            }
            let unread = connection.conn.unread();
            self.ledger.ended(handle, ending, unread, now_ns);
            if ending == Ending::Ours {
                connection.abort_reader();
            }
            if connection.welcomed && !connection.arrived {
                // It is gone before all rooms have answered: nobody waits for it any more.
                self.live.welcomed(one.rank, one.connections == 1);
            }
            if connection.welcomed {
                self.live.closed(one.rank);
            }
            if let Some(inbox) = &one.inbox {
                inbox.news.notify_one();
            }
            if returns {
                self.is_gone(client);
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
                let unread_bytes = connection.unread_bytes();
                if unread_bytes.is_some_and(|bytes| bytes > 0) {
                    // Unread bytes count: the target did send them.
                    self.heard_ns = now_ns;
                }
                let heard_all = unread_bytes == Some(0);
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

    /// The run is over: cuts what is still connected. Returns the totals.
    pub(in crate::driver) fn end(&mut self) -> Totals {
        let longest_pause_ns = self.pulse.longest_pause_ns(self.clock.now_ns());
        let unanswered = self.leaving();
        let cut = self.cut_all();
        Totals {
            cut,
            unanswered,
            heard_ns: self.heard_ns,
            loads: vec![self.pulse.load()],
            by_room: std::mem::take(&mut self.by_room),
            longest_pause_ns,
            ..std::mem::take(&mut self.totals)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::Speech;
    use super::super::connection::tests::terms;
    use super::*;
    use crate::driver::clock::{Clock, Time};
    use crate::driver::live::Live;
    use crate::driver::member::Member;
    use crate::driver::source::Source;
    use crate::scenario::draws::Draws;
    use crate::scenario::plan::PayloadSize;
    use crate::verify::directory::{ClientId, Directory};
    use crate::verify::judge::Judge;
    use crate::verify::kind::Kind;
    use crate::verify::ledger::{Ledger, Terms};
    use crate::wire::classic;
    use crate::wire::protocol::Protocol;

    fn fleet_of_one(protocol: Protocol) -> Fleet {
        let terms = Terms {
            capabilities: protocol.capabilities(),
            ..terms()
        };
        let member = Member {
            id: ClientId(0),
            rank: Rank::Listener,
            group: 0,
            payload: PayloadSize { min: 0, max: 0 },
            draws: Draws::new(1, 1),
            source: Source::None,
            script: None,
            claims: None,
            connect_after: Duration::ZERO,
            rooms: Box::default(),
        };
        let directory = Arc::new(Directory::new(vec!["c".to_owned()]));
        let ledger = Ledger::new(terms, directory.clone());
        let live = Arc::new(Live::default());
        let clock = Clock::start(Time::Real);
        Fleet::new(
            vec![member],
            clock,
            &terms,
            ledger,
            live,
            1,
            Speech {
                spoken: protocol.into(),
                path: String::new(),
                directory,
                max_read_bytes: 1_000,
                rooms: Arc::default(),
            },
        )
    }

    #[tokio::test]
    async fn a_target_whose_words_were_not_read_was_not_silent() {
        for speaks in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut target, _) = listener.accept().await.unwrap();
            let mut fleet = fleet_of_one(Protocol::Ndjson);
            let handle = fleet.connecting(0).unwrap();
            if speaks {
                target.write_all(b"late\n").await.unwrap();
                stream.readable().await.unwrap();
            }
            fleet.connected(0, handle, stream.into(), "");
            let totals = fleet.end();
            assert_eq!((totals.heard_ns > 0, totals.cut), (speaks, 1));
        }
    }

    #[tokio::test]
    async fn a_classic_text_that_is_cut_is_the_targets_doing_only_where_the_target_ended_it() {
        let text = format!("127.0.0.1:9{}cbmAA", classic::RELAY);
        type End = fn(&mut Fleet);
        let answered: End = |fleet| fleet.leave(0);
        let hung_up: End = |_| {};
        let own: End = |fleet| fleet.let_go(0, true);
        let time_up: End = |fleet| drop(fleet.end());
        for (end, kinds) in [
            (answered, &[Kind::AlteredRelay][..]),
            (hung_up, &[Kind::UnexpectedClose]),
            (own, &[]),
            (time_up, &[]),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut target, _) = listener.accept().await.unwrap();
            let mut fleet = fleet_of_one(Protocol::Classic);
            let handle = fleet.connecting(0).unwrap();
            let id = fleet.connected(0, handle, stream.into(), "");
            target.write_all(text.as_bytes()).await.unwrap();
            let read = poll_fn(|cx| fleet.poll_read(id, cx)).await;
            assert_eq!(read, Read::Frames);
            end(&mut fleet);
            drop(target);
            poll_fn(|cx| fleet.poll_read(id, cx)).await;
            let directory = Arc::new(Directory::new(vec!["c".to_owned()]));
            let mut judge = Judge::new(directory, 1, None);
            judge.absorb(0, fleet.take_batch(), |_| {});
            judge.absorb(0, fleet.take_rest().0, |_| {});
            let findings = judge.finish(false, |_| {});
            let found: Vec<_> = findings.violations.into_keys().collect();
            assert_eq!(found, kinds);
        }
    }
}
