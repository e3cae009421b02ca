//! What can be switched on costs nothing while it is off, nor while it has nothing to do.
//!
//! Servers side by side, taking turns, so that whatever else the machine does meets them all. Each
//! is given as its CPU time a delivery by that of the first in the same round: the median of the
//! rounds, and the middle half of them. The second is the first once more: how far it is from 1
//! is how much of a difference is none.

use std::time::Duration;

use memchr::memchr_iter;

use super::Load;
use super::bare;
use super::bare::receivers::Receivers;
use super::server::{FAULT_ARMED, Row, Server, broadcast};

const RECEIVERS: usize = 100;

const CLASSIC_BESIDE: &[&str] = &["--listen", "classic://127.0.0.1:0"];

/// A server with its clients, and what it came to in each round.
struct Side {
    name: &'static str,
    server: Server,
    clients: Receivers,
    delivery_ns: Vec<f64>,
}

pub(crate) fn table() {
    let (rounds, time) = if bare::only_test() {
        (2, Duration::from_millis(5))
    } else {
        (60, Duration::from_millis(100))
    };
    let mut sides = [
        ("plain", &[][..]),
        ("plain, once more", &[]),
        ("a fault armed", FAULT_ARMED),
        ("a classic listener", CLASSIC_BESIDE),
    ]
    .map(|(name, arguments)| Side::start(name, arguments));
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            sides[at].deliver(time);
        }
    }
    println!("\nswitches, CPU time a delivery by that of the plain server, {rounds} rounds");
    println!("{:>20} {:>8} {:>20}", "server", "ratio", "middle half");
    let plain = sides[0].delivery_ns.clone();
    for side in sides {
        let ratios = side
            .delivery_ns
            .iter()
            .zip(&plain)
            .map(|(ns, plain)| ns / plain);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let part = |quarters: usize| ratios[(ratios.len() - 1) * quarters / 4];
        let middle = format!("{:.3} to {:.3}", part(1), part(3));
        println!("{:>20} {:>8.3} {middle:>20}", side.name, part(2));
        drop(side.clients);
        side.server.stop();
    }
}

impl Side {
    fn start(name: &'static str, arguments: &[&str]) -> Self {
        let server = Server::start(arguments);
        let sessions = RECEIVERS + 1;
        let mut clients = Receivers::connect(server.address, sessions);
        let mut welcomes = 0;
        while welcomes < sessions {
            clients.read_ready(|_, bytes| welcomes += memchr_iter(b'\n', bytes).count());
        }
        Self {
            name,
            server,
            clients,
            delivery_ns: Vec::new(),
        }
    }

    fn deliver(&mut self, time: Duration) {
        let row = Row {
            receivers: RECEIVERS,
            talkers: 1,
            payload: 100,
            load: Load::Full,
            arguments: &[],
        };
        let before_ns = self.server.cpu_ns();
        let messages = broadcast(&mut self.clients, row, time);
        let cpu_ns = (self.server.cpu_ns() - before_ns) as f64;
        let deliveries = messages * RECEIVERS as u64;
        self.delivery_ns.push(cpu_ns / deliveries as f64);
    }
}
