//! The server, published to and read by bare sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use memchr::memchr_iter;

use super::bare::receivers::Receivers;
use super::{Load, bare, receivers, times};

/// Messages that a talker with a full window sends in one write at most.
const BATCH: usize = 16;

/// What it costs to be asked for a fault that never comes.
pub(crate) const FAULT_ARMED: &[&str] = &["--fault", "drop-relay=after=1000000000000"];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) receivers: usize,
    pub(crate) talkers: usize,
    pub(crate) payload: usize,
    pub(crate) load: Load,
    pub(crate) arguments: &'static [&'static str],
}

/// What one measurement of a row found.
#[derive(Debug, Clone, Copy)]
struct Figures {
    delivery_ns: f64,
    write_ns: f64,
    write_bytes: f64,
    /// The bare `send`, and the write's share of the bare `recv`s that brought the messages.
    floor_ns: f64,
}

pub(crate) fn table() {
    println!("\nserver, CPU time; deliveries are relays that arrived");
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12} {:>11} {:>9} {:>10} {:>10}",
        "receivers",
        "talkers",
        "payload",
        "load",
        "ns/delivery",
        "bytes/write",
        "ns/write",
        "floor ns",
        "efficiency"
    );
    for &receivers in receivers() {
        for payload in [16, 100, 1 << 10, 16 << 10] {
            for (talkers, load) in [(1, Load::Unbatched), (1, Load::Full), (16, Load::Full)] {
                print_row(Row {
                    receivers,
                    talkers,
                    payload,
                    load,
                    arguments: &[],
                });
            }
        }
    }
}

fn print_row(row: Row) {
    let figures: Vec<Figures> = (0..times()).map(|_| measure(row)).collect();
    let median = |of: fn(&Figures) -> f64| bare::median(figures.iter().map(of).collect());
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12.1} {:>11.0} {:>9.0} {:>10.0} {:>10.2}",
        row.receivers,
        row.talkers,
        row.payload,
        row.load.name(),
        median(|f| f.delivery_ns),
        median(|f| f.write_bytes),
        median(|f| f.write_ns),
        median(|f| f.floor_ns),
        median(|f| f.floor_ns / f.write_ns),
    );
}

fn measure(row: Row) -> Figures {
    let time = Duration::from_millis(if bare::only_test() { 10 } else { 400 });
    let server = Server::start(row.arguments);
    let sessions = row.receivers + row.talkers;
    let mut clients = Receivers::connect(server.address, sessions);
    let mut welcomes = 0;
    while welcomes < sessions {
        clients.read_ready(|_, bytes| welcomes += memchr_iter(b'\n', bytes).count());
    }
    let before_ns = server.cpu_ns();
    let messages = broadcast(&mut clients, row, time);
    let cpu_ns = (server.cpu_ns() - before_ns) as f64;
    drop(clients);
    let stats = server.stop();
    // Each session got its welcome in a write of its own.
    let writes = stats.writes - sessions as f64;
    let write_bytes = stats.bytes_out / writes;
    let lines = messages * sessions as u64;
    let rounds = (lines as f64 / writes).max(1.0);
    let in_flight = (row.load.in_flight(row.payload) as f64 / rounds).ceil() as u64;
    let floor = bare::measure(sessions, write_bytes as usize, in_flight, time);
    let read_bytes = (stats.read_bytes / stats.reads) as usize;
    let published = bare::measure(row.talkers, read_bytes, 1, time / 4);
    Figures {
        delivery_ns: cpu_ns / (lines - messages) as f64,
        write_ns: cpu_ns / writes,
        write_bytes,
        floor_ns: floor.send_ns + published.recv_ns * stats.reads / writes,
    }
}

/// Publishes for `time`, by turns, and waits until every session has its line of every message.
/// Returns how many there were.
pub(crate) fn broadcast(clients: &mut Receivers, row: Row, time: Duration) -> u64 {
    let publish = format!("{{\"message\":\"{}\"}}\n", "x".repeat(row.payload));
    let window = row.load.in_flight(row.payload);
    let batch = BATCH.min(window.div_ceil(2));
    let writes = publish.repeat(batch);
    let sessions = clients.count() as u64;
    let (mut sent, mut lines, mut turn) = (0_u64, 0_u64, 0);
    let until = Instant::now() + time;
    loop {
        let over = Instant::now() >= until;
        if over && lines == sent * sessions {
            return sent;
        }
        while !over && sent + batch as u64 <= lines / sessions + window as u64 {
            clients.send(row.receivers + turn, writes.as_bytes());
            turn = (turn + 1) % row.talkers;
            sent += batch as u64;
        }
        clients.read_ready(|_, bytes| lines += memchr_iter(b'\n', bytes).count() as u64);
    }
}

/// What a server says at its end.
pub(crate) struct Stats {
    writes: f64,
    bytes_out: f64,
    reads: f64,
    read_bytes: f64,
}

/// The server process; it ends when its stdin is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatbench"))
            .args(["serve", "--listen", "ndjson://127.0.0.1:0"])
            .args(["--stats", "--exit-on-stdin-eof"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the server says where it listens");
        let address = line.trim_end().rsplit('/').next().expect("a URL");
        Self {
            address: address.parse().expect("an address"),
            stdout,
            child,
        }
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let ran_ns = tasks.map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("schedstat");
            let first = text.split(' ').next().expect("a number");
            first.parse::<u64>().expect("a number")
        });
        ran_ns.sum()
    }

    /// Ends it; what it did in its life.
    pub(crate) fn stop(mut self) -> Stats {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        self.child.wait().expect("it ends");
        let figure = |key: &str| {
            let value = said
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key));
            value
                .and_then(|v| v.parse().ok())
                .expect("it tells its stats")
        };
        Stats {
            writes: figure("writes="),
            bytes_out: figure("bytes_out="),
            reads: figure("reads="),
            read_bytes: figure("bytes_in="),
        }
    }
}
