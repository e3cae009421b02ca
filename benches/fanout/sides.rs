//! Servers side by side, taking turns, so that whatever else the machine does meets them all.
//!
//! Each is given as its CPU time per delivery by that of the first in the same round: the median of
//! the rounds, and the middle half of them. The second should be the first once more: how far it is
//! from 1 is how much of a difference is none.

use std::time::Duration;

use super::server::{Clients, Row, Server, broadcast};

/// A server with its clients, and what it came to in each round.
pub(crate) struct Side {
    name: String,
    row: Row,
    server: Server,
    clients: Clients,
    delivery_ns: Vec<f64>,
}

impl Side {
    pub(crate) fn start(name: &str, binary: &str, row: Row) -> Self {
        let server = Server::start(binary, row.framing, row.arguments);
        Self {
            name: name.to_owned(),
            row,
            clients: Clients::connect(&server, row.receivers + row.talkers, row.framing),
            server,
            delivery_ns: Vec::new(),
        }
    }

    fn deliver(&mut self, time: Duration) {
        let before_ns = self.server.cpu_ns();
        let messages = broadcast(&mut self.clients, self.row, time);
        let cpu_ns = (self.server.cpu_ns() - before_ns) as f64;
        let lines = messages * (self.row.receivers + self.row.talkers - 1) as u64;
        self.delivery_ns.push(cpu_ns / lines as f64);
    }
}

/// Has all of them deliver, each `time` a round.
pub(crate) fn take_turns(sides: &mut [Side], rounds: usize, time: Duration) {
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            sides[at].deliver(time);
        }
    }
}

pub(crate) fn print_head() {
    println!(
        "{:>20} {:>12} {:>8} {:>18} {:>12} {:>14}",
        "server", "ns/delivery", "ratio", "middle half", "bytes/write", "writes/message"
    );
}

/// One line each.
pub(crate) fn print_and_stop(sides: Vec<Side>) {
    let first = sides[0].delivery_ns.clone();
    for side in sides {
        let paired = side.delivery_ns.iter().zip(&first);
        let ratios = sorted(paired.map(|(ns, first)| ns / first).collect());
        let part = |quarters: usize| ratios[(ratios.len() - 1) * quarters / 4];
        let middle = format!("{:.3} to {:.3}", part(1), part(3));
        let delivery_ns = sorted(side.delivery_ns.clone())[side.delivery_ns.len() / 2];
        drop(side.clients);
        let stats = side.server.stop();
        println!(
            "{:>20} {delivery_ns:>12.1} {:>8.3} {middle:>18} {:>12.0} {:>14.2}",
            side.name,
            part(2),
            stats.bytes_out / stats.writes,
            stats.writes / stats.published,
        );
    }
}

/// The same values, least first.
pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
